//! The Debian package, installed, started as its unit would start it, and removed.
//!
//! In: programs that are built. Out: nothing, or what was wrong. The package is installed on this machine for as long as that
//! takes. Must not know: how anything is measured.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::files::{self, UNITS};
use super::{VERSION, deb};
use crate::vm::Arch;
use crate::{build, packages, sh};

/// Whoever has no rights of its own.
const NOBODY: &str = "65534";
/// What may be left open by a unit, out of 10 by systemd's own account.
const MOST_EXPOSED: &str = "25";
/// Longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Packs what the tests run, and tries the package.
pub fn package() -> Result<()> {
    packages::need(
        "Trying the package",
        &["libcap2-bin", "systemd", "util-linux"],
    )?;
    ensure!(
        packages::missing(&["courtside"])? == ["courtside"],
        "the package courtside is installed here; remove it first: dpkg --purge courtside"
    );
    let arch = Arch::of_this_machine()?;
    let program = build::tested()?.join("courtside");
    let scratch = tempfile::tempdir().context("no folder to pack in")?;
    let files = files::all(arch, &program, &program, scratch.path())?;
    let package = deb::build(&files, arch, scratch.path(), scratch.path())?;
    sh::run(sh::command("dpkg").arg("--install").arg(&package))?;
    let tried = installed();
    // Whatever was wrong with it, it goes.
    let purged = sh::run(sh::command("dpkg").args(["--purge", "courtside"]));
    tried?;
    purged?;
    for file in files.iter().filter_map(|file| file.in_root.as_deref()) {
        let at = Path::new("/").join(file);
        ensure!(!at.exists(), "{} was left behind", at.display());
    }
    Ok(())
}

fn installed() -> Result<()> {
    let version = sh::output(sh::command("/usr/bin/courtside").arg("--version"))?;
    ensure!(
        version.trim() == format!("courtside {VERSION}"),
        "it says it is {version}"
    );
    for unit in UNITS {
        let path = Path::new("/usr/lib/systemd/system").join(unit);
        let mut verify = sh::command("systemd-analyze");
        sh::run(verify.args(["verify", "--man=no"]).arg(&path))?;
        let mut security = sh::command("systemd-analyze");
        security.args(["security", "--no-pager", "--offline=yes"]);
        security.args(["--threshold", MOST_EXPOSED]).arg(&path);
        let said = sh::output(&mut security)?;
        let overall = said.lines().rfind(|line| line.contains("Overall exposure"));
        eprintln!("xtask: {unit}: {}", overall.unwrap_or_default().trim());
    }
    let unit = fs::read_to_string(Path::new("/usr/lib/systemd/system").join(UNITS[0]))?;
    let mut agent = Agent::start(&unit)?;
    let asked = agent.health();
    let ended = agent.end();
    asked?;
    ended
}

/// What stands behind a name in a unit.
fn value<'a>(unit: &'a str, name: &str) -> Result<&'a str> {
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.with_context(|| format!("the unit has no {name}"))
}

/// The agent, as its unit says: nobody, with these capabilities and no others.
struct Agent {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Agent {
    fn start(unit: &str) -> Result<Self> {
        let capabilities = |of: &str| -> Result<String> {
            let names = value(unit, of)?.split(' ');
            Ok(names
                .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
                .collect::<Vec<_>>()
                .join(","))
        };
        let ambient = capabilities("AmbientCapabilities")?;
        let bounding = capabilities("CapabilityBoundingSet")?;
        let mut command = sh::command("setpriv");
        command
            .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
            .arg(format!("--bounding-set=-all,{bounding}"))
            .arg(format!("--inh-caps=-all,{ambient}"))
            .arg(format!("--ambient-caps=-all,{ambient}"))
            .args(["--no-new-privs", "--"])
            .args(value(unit, "ExecStart")?.split(' '))
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped());
        eprintln!("+ {}", sh::shown(&command));
        let mut child = command.spawn().context("cannot start the agent")?;
        let output = child.stdout.take().context("the agent has no output")?;
        Ok(Self {
            child,
            output: BufReader::new(output),
        })
    }

    /// Asks whether it measures.
    fn health(&mut self) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let address = line
            .trim()
            .strip_prefix("serving http://")
            .and_then(|rest| rest.strip_suffix("/metrics"))
            .with_context(|| format!("the agent said `{}`", line.trim()))?;
        let mut connection = TcpStream::connect(address)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.write_all(
            format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        ensure!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("courtside_build_info"),
            "the agent answered: {answer}"
        );
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id())?;
        let pid = Pid::from_raw(pid).context("a process has a number")?;
        kill_process(pid, Signal::TERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the agent ended with {status}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn units() -> Vec<(PathBuf, String)> {
        let folder = sh::root().join("xtask/packaging");
        let paths = UNITS.map(|unit| folder.join(unit));
        paths
            .into_iter()
            .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
            .collect()
    }

    #[test]
    fn units_give_the_capabilities_that_measuring_takes_and_no_others() {
        for (path, unit) in units() {
            for name in ["AmbientCapabilities", "CapabilityBoundingSet"] {
                assert_eq!(
                    value(&unit, name).unwrap(),
                    "CAP_BPF CAP_PERFMON CAP_SYS_PTRACE CAP_DAC_READ_SEARCH",
                    "{}",
                    path.display()
                );
            }
            assert!(
                value(&unit, "ExecStart")
                    .unwrap()
                    .starts_with("/usr/bin/courtside ")
            );
            assert!(
                value(&unit, "User").is_err(),
                "nobody of its own, see DynamicUser"
            );
        }
    }
}
