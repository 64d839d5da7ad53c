//! Control groups that systemd owns: it is asked to write their limits, as it writes its own values back over those of others.
//!
//! In: the path of a control group, a unit and a limit. Out: whose group it is; a property of the unit, set until the next start
//! of the host. Must not know: why there are limits, that they end.

use std::{
    fs,
    io::Read,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::OFlags;

/// Where systemd's own program is; not looked for in `PATH`, as we are root.
const SYSTEMCTL: &str = "/usr/bin/systemctl";
/// It is ended after this: limits end after three seconds, and a change may take three calls.
const PATIENCE: Duration = Duration::from_millis(600);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Units that have a control group.
const KINDS: [&str; 6] = [".service", ".scope", ".slice", ".socket", ".mount", ".swap"];
/// More is not read of what it says.
const MAX_BYTES: usize = 4096;

/// The unit whose control group this is, if the systemd of the host owns it. Groups inside of a unit are left to that unit, and
/// units of users to the systemd of the user.
#[must_use]
pub fn unit_of(root: &Path, group: &str) -> Option<String> {
    // How sd_booted(3) tells that systemd runs.
    if !root.join("run/systemd/system").is_dir() {
        return None;
    }
    let (around, last) = group.rsplit_once('/')?;
    let of_user = |part: &str| part.starts_with("user@") && part.ends_with(".service");
    if around.split('/').any(of_user) {
        return None;
    }
    // Names that could be taken for files of the kernel have a mark in front.
    let name = last.strip_prefix('_').unwrap_or(last);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let is_unit = !name.starts_with('-')
        && name.chars().all(is_plain)
        && KINDS.iter().any(|kind| name.ends_with(kind));
    is_unit.then(|| name.to_owned())
}

/// The property that stands for this value of this file; none if there is none.
fn property(file: &Path, value: &str) -> Option<String> {
    let quota = |quota: &str, period: u64| {
        let quota: u64 = quota.parse().ok()?;
        let percent = (period > 0).then(|| quota as f64 * 100.0 / period as f64)?;
        Some(format!("CPUQuota={percent:.2}%"))
    };
    match file.file_name()?.to_str()? {
        "cpu.max" => match value.split_once(' ')? {
            ("max", _) => Some("CPUQuota=".to_owned()),
            (most, period) => quota(most, period.parse().ok()?),
        },
        "cpu.cfs_quota_us" => match value {
            "-1" => Some("CPUQuota=".to_owned()),
            most => {
                let period = fs::read_to_string(file.with_file_name("cpu.cfs_period_us")).ok()?;
                quota(most, period.trim().parse().ok()?)
            }
        },
        // What was never set stays so.
        "cpu.weight" if value == "100" => Some("CPUWeight=".to_owned()),
        "cpu.weight" => {
            let weight: u64 = value.parse().ok()?;
            Some(format!("CPUWeight={weight}"))
        }
        "cpu.idle" if value == "0" => Some("CPUWeight=".to_owned()),
        "cpu.idle" if value == "1" => Some("CPUWeight=idle".to_owned()),
        _ => None,
    }
}

/// The systemd of the host, by its program.
#[derive(Clone, Debug)]
pub struct Systemd {
    program: PathBuf,
}

impl Default for Systemd {
    fn default() -> Self {
        Self::at(Path::new(SYSTEMCTL))
    }
}

impl Systemd {
    /// By another program.
    #[must_use]
    pub fn at(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
        }
    }

    /// Whether the group of this file is that of the unit.
    ///
    /// # Errors
    /// It is not, or nobody says so.
    pub fn owns(&self, unit: &str, file: &Path) -> Result<(), String> {
        let said = self.call(&["show", "--property=ControlGroup", "--value", "--", unit])?;
        let group = said.trim().trim_start_matches('/');
        let is_it = file.parent().is_some_and(|folder| folder.ends_with(group));
        if group.is_empty() || !is_it {
            return Err(format!(
                "systemd says that the control group of {unit} is another one, {:?}",
                said.trim()
            ));
        }
        Ok(())
    }

    /// Sets what stands for this value of this file, until the next start of the host.
    ///
    /// # Errors
    /// It is refused, or does not come to an end. It may be done all the same in the second case.
    pub fn set(&self, unit: &str, file: &Path, value: &str) -> Result<(), String> {
        let Some(property) = property(file, value) else {
            return Err(format!(
                "systemd has no property for {value} in {}",
                file.display()
            ));
        };
        self.call(&["set-property", "--runtime", "--", unit, &property])
            .map(|_| ())
    }

    fn call(&self, arguments: &[&str]) -> Result<String, String> {
        let line = format!("{} {}", self.program.display(), arguments.join(" "));
        let failed = |error: std::io::Error| format!("cannot run {line}: {error}");
        let mut child = Command::new(&self.program)
            .arg("--no-ask-password")
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let begun = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if begun.elapsed() < PATIENCE => thread::sleep(LOOK_EVERY),
                waited => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(match waited {
                        Err(error) => failed(error),
                        Ok(_) => format!("{line} does not come to an end"),
                    });
                }
            }
        };
        if status.success() {
            return Ok(child.stdout.map(there).unwrap_or_default());
        }
        let said = child.stderr.map(there).unwrap_or_default();
        let first = said.lines().next().unwrap_or("it says nothing");
        Err(format!("{line}: {first}"))
    }
}

/// What is in a pipe by now. Its end is not waited for: others may hold it.
fn there(mut pipe: impl Read + AsFd) -> String {
    let mut bytes = [0u8; MAX_BYTES];
    let is_set = rustix::fs::fcntl_setfl(&pipe, OFlags::NONBLOCK).is_ok();
    let read = if is_set { pipe.read(&mut bytes) } else { Ok(0) };
    let read = bytes.get(..read.unwrap_or(0)).unwrap_or_default();
    String::from_utf8_lossy(read).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_told_by_the_path_of_its_group_where_systemd_runs() {
        let root = tempfile::tempdir().unwrap();
        let of = |group| unit_of(root.path(), group);
        assert_eq!(of("/system.slice/batch.service"), None);
        fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
        for (group, unit) in [
            ("/system.slice/batch.service", "batch.service"),
            ("/batch.slice", "batch.slice"),
            ("/system.slice/docker-a1.scope", "docker-a1.scope"),
            ("/system.slice/a@b\\x2dc.service", "a@b\\x2dc.service"),
            ("/system.slice/_cpu.service", "cpu.service"),
        ] {
            assert_eq!(of(group).as_deref(), Some(unit), "{group}");
        }
        for group in [
            "/",
            "/docker/a1",
            "/system.slice/batch.service/inner",
            "/-.slice",
            "/a b.service",
            "/user.slice/user-7.slice/user@7.service/app.slice/x.service",
        ] {
            assert_eq!(of(group), None, "{group}");
        }
    }

    #[test]
    fn each_value_has_its_property() {
        let root = tempfile::tempdir().unwrap();
        let of = |file: &str, value| property(&root.path().join(file), value);
        assert_eq!(of("cpu.max", "12340 100000").unwrap(), "CPUQuota=12.34%");
        assert_eq!(of("cpu.max", "max 100000").unwrap(), "CPUQuota=");
        assert_eq!(of("cpu.max", "25000 250000").unwrap(), "CPUQuota=10.00%");
        assert_eq!(of("cpu.cfs_quota_us", "20000"), None);
        fs::write(root.path().join("cpu.cfs_period_us"), "50000\n").unwrap();
        assert_eq!(of("cpu.cfs_quota_us", "20000").unwrap(), "CPUQuota=40.00%");
        assert_eq!(of("cpu.cfs_quota_us", "-1").unwrap(), "CPUQuota=");
        assert_eq!(of("cpu.idle", "1").unwrap(), "CPUWeight=idle");
        assert_eq!(of("cpu.idle", "0").unwrap(), "CPUWeight=");
        assert_eq!(of("cpu.weight", "1").unwrap(), "CPUWeight=1");
        assert_eq!(of("cpu.weight", "100").unwrap(), "CPUWeight=");
        assert_eq!(of("cpu.shares", "2"), None);
        assert_eq!(of("cpu.max", "nonsense"), None);
    }

    #[test]
    fn a_program_that_is_not_there_or_fails_is_named() {
        let file = Path::new("/sys/fs/cgroup/a.service/cpu.max");
        let systemd = Systemd::at(Path::new("/no/systemctl"));
        let said = systemd.set("a.service", file, "max 100000").unwrap_err();
        assert!(said.contains("/no/systemctl"), "{said}");
        let systemd = Systemd::at(Path::new("/bin/false"));
        let said = systemd.set("a.service", file, "max 100000").unwrap_err();
        assert!(
            said.contains("set-property --runtime -- a.service CPUQuota="),
            "{said}"
        );
        let systemd = Systemd::at(Path::new("/bin/true"));
        assert!(systemd.owns("a.service", file).is_err());
        assert!(systemd.set("a.service", file, "max 100000").is_ok());
    }
}
