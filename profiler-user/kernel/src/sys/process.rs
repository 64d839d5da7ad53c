//! Processes: which there are, and what a user would call them.
//!
//! In: `/proc` below a root. Out: [`ProcessRow`]s and [`Description`]s.
//! Must not know: the kernel programs, which processes anybody is interested in.
//! A process may end while it is looked at; then what was known of it stands.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use procfs::process::{Process, Stat, StatFlags, all_processes_with_root};

use super::{cgroup::Cgroup, program};

/// Descriptions kept; beyond that all are forgotten and read again.
const CACHE_MAX: usize = 8192;

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessRow {
    /// Thread group id.
    pub tgid: u32,
    /// Thread group id of its parent, 0 if it has none.
    pub ppid: u32,
    /// Name of its leader.
    pub comm: String,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
    /// It is a kernel thread.
    pub kernel: bool,
}

/// Every process of this process-id namespace. What ends meanwhile is left out.
///
/// # Errors
/// `/proc` cannot be listed.
pub fn processes(root: &Path) -> Result<Vec<ProcessRow>, procfs::ProcError> {
    let rows = all_processes_with_root(root.join("proc"))?
        .filter_map(|process| Some(row(process.ok()?.stat().ok()?)))
        .collect();
    Ok(rows)
}

fn row(stat: Stat) -> ProcessRow {
    ProcessRow {
        tgid: stat.pid.unsigned_abs(),
        ppid: stat.ppid.unsigned_abs(),
        start_ticks: stat.starttime,
        kernel: is_kernel_thread(&stat),
        comm: stat.comm,
    }
}

fn is_kernel_thread(stat: &Stat) -> bool {
    StatFlags::from_bits_truncate(stat.flags).contains(StatFlags::PF_KTHREAD)
}

/// What a user would call a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Name of its leader.
    pub comm: String,
    /// Name of the program: the comm, the full name where the kernel cut it, or an interpreter's script.
    pub program: String,
    /// systemd unit.
    pub unit: Option<String>,
    /// Container or pod.
    pub container: Option<String>,
    /// Control group path; empty if the process was gone before it was read.
    pub cgroup: String,
    /// It is a kernel thread.
    pub kernel: bool,
}

/// A process between one exec and the next. The stack's address is drawn anew at each exec.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Life {
    start_ticks: u64,
    start_stack: u64,
    comm: String,
    /// Number of its program, where the kernel programs gave it one: whoever may not trace it does not see the stack.
    image: u32,
}

/// Describes processes, and remembers them for when they are gone.
#[derive(Debug)]
pub struct Describer {
    proc: PathBuf,
    known: HashMap<u32, (Life, Description)>,
}

impl Describer {
    /// Reads `<root>/proc`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            proc: root.join("proc"),
            known: HashMap::new(),
        }
    }

    /// Describes a process. One that is gone is described by what was known of it under this name, or by the name alone.
    pub fn describe(&mut self, tgid: u32, fallback_comm: &str) -> Description {
        self.describe_image(tgid, 0, fallback_comm)
    }

    /// The same for a process that is known to run the program of this number: what was known of it under another one is
    /// not what it is now.
    pub fn describe_image(&mut self, tgid: u32, image: u32, fallback_comm: &str) -> Description {
        let alive = Process::new_with_root(self.proc.join(tgid.to_string()))
            .and_then(|process| Ok((process.stat()?, process)));
        let Ok((stat, process)) = alive else {
            return self.remembered(tgid, fallback_comm);
        };
        let life = Life {
            start_ticks: stat.starttime,
            start_stack: stat.startstack,
            comm: stat.comm.clone(),
            image,
        };
        let known = self.known.get(&tgid);
        if let Some((_, description)) = known.filter(|(known, _)| *known == life) {
            return description.clone();
        }
        let kernel = is_kernel_thread(&stat);
        let cmdline = if kernel {
            Vec::new()
        } else {
            process.cmdline().unwrap_or_default()
        };
        if !kernel && cmdline.is_empty() {
            // It has ended and is not yet reaped, or is in the middle of exec: nothing to remember it by.
            let same = known.filter(|(known, _)| {
                known.start_ticks == life.start_ticks
                    && known.comm == life.comm
                    && known.image == life.image
            });
            if let Some((_, description)) = same {
                return description.clone();
            }
        }
        let cgroup = cgroup_of(&process);
        let description = Description {
            program: program::name(&stat.comm, &cmdline),
            comm: stat.comm,
            unit: cgroup.unit,
            container: cgroup.container,
            cgroup: cgroup.path,
            kernel,
        };
        if kernel || !cmdline.is_empty() {
            if self.known.len() >= CACHE_MAX {
                self.known.clear();
            }
            self.known.insert(tgid, (life, description.clone()));
        }
        description
    }

    fn remembered(&self, tgid: u32, fallback_comm: &str) -> Description {
        match self.known.get(&tgid) {
            Some((life, description)) if life.comm == fallback_comm => description.clone(),
            _ => Description {
                comm: fallback_comm.to_owned(),
                program: fallback_comm.to_owned(),
                ..Description::default()
            },
        }
    }
}

fn cgroup_of(process: &Process) -> Cgroup {
    let mut text = String::new();
    let read = process
        .open_relative("cgroup")
        .map(|mut file| std::io::Read::read_to_string(&mut file, &mut text));
    match read {
        Ok(Ok(_)) => Cgroup::parse(&text),
        _ => Cgroup::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    struct FakeProc(tempfile::TempDir);

    impl FakeProc {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn put(
            &self,
            tgid: u32,
            comm: &str,
            flags: u32,
            stack: u64,
            cmdline: &[&str],
            cgroup: &str,
        ) {
            let dir = self.0.path().join(format!("proc/{tgid}"));
            fs::create_dir_all(&dir).unwrap();
            let stat = format!(
                "{tgid} ({comm}) S 1 1 1 0 -1 {flags} 0 0 0 0 7 3 0 0 20 0 1 0 4242 0 0 18446744073709551615 1 1 {stack} \
                 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
            );
            fs::write(dir.join("stat"), stat).unwrap();
            let cmdline: String = cmdline.iter().flat_map(|part| [part, "\0"]).collect();
            fs::write(dir.join("cmdline"), cmdline).unwrap();
            fs::write(dir.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
        }

        fn end(&self, tgid: u32) {
            fs::remove_dir_all(self.0.path().join(format!("proc/{tgid}"))).unwrap();
        }
    }

    #[test]
    fn a_process_is_described_from_its_files() {
        let host = FakeProc::new();
        host.put(
            7,
            "python3",
            0,
            1,
            &["python3", "/srv/app.py"],
            "/system.slice/app.service",
        );
        let found = Describer::new(host.0.path()).describe(7, "x");
        assert_eq!(found.comm, "python3");
        assert_eq!(found.program, "app.py");
        assert_eq!(found.unit.as_deref(), Some("app.service"));
        assert_eq!(found.cgroup, "/system.slice/app.service");
        assert!(!found.kernel);
    }

    #[test]
    fn one_that_is_gone_keeps_its_description_under_its_name_only() {
        let host = FakeProc::new();
        host.put(7, "sh", 0, 1, &["sh", "run.sh"], "/a");
        let mut describer = Describer::new(host.0.path());
        let alive = describer.describe(7, "");
        host.end(7);
        assert_eq!(describer.describe(7, "sh"), alive);
        let other = describer.describe(7, "redis-server");
        assert_eq!(other.program, "redis-server");
        assert_eq!(other.cgroup, "");
    }

    #[test]
    fn a_process_is_read_again_after_it_called_exec() {
        let host = FakeProc::new();
        let mut describer = Describer::new(host.0.path());
        host.put(7, "python3", 0, 1, &["python3", "a.py"], "/");
        assert_eq!(describer.describe(7, "").program, "a.py");
        host.put(7, "python3", 0, 1, &["python3", "changed-title"], "/");
        assert_eq!(describer.describe(7, "").program, "a.py");
        host.put(7, "python3", 0, 2, &["python3", "b.py"], "/");
        assert_eq!(describer.describe(7, "").program, "b.py");
    }

    #[test]
    fn another_program_of_the_same_name_is_read_again_though_its_stack_is_hidden() {
        let host = FakeProc::new();
        let mut describer = Describer::new(host.0.path());
        host.put(7, "python3", 0, 0, &["python3", "a.py"], "/");
        assert_eq!(describer.describe_image(7, 11, "").program, "a.py");
        host.put(7, "python3", 0, 0, &["python3", "b.py"], "/");
        assert_eq!(describer.describe_image(7, 12, "").program, "b.py");
    }

    #[test]
    fn one_that_ended_and_is_not_reaped_keeps_its_description() {
        let host = FakeProc::new();
        host.put(7, "sh", 0, 1, &["sh", "run.sh"], "/a");
        let mut describer = Describer::new(host.0.path());
        let alive = describer.describe(7, "");
        host.put(7, "sh", 0, 0, &[], "/");
        assert_eq!(describer.describe(7, "sh"), alive);
    }

    #[test]
    fn kernel_threads_and_odd_names_are_listed() {
        let host = FakeProc::new();
        host.put(2, "kthreadd", 0x0020_8040, 0, &[], "/");
        host.put(7, "a) R (b", 0, 1, &["x"], "/");
        fs::create_dir(host.0.path().join("proc/8")).unwrap(); // ended: nothing left in it
        let mut rows = processes(host.0.path()).unwrap();
        rows.sort_by_key(|row| row.tgid);
        let names: Vec<_> = rows
            .iter()
            .map(|row| (row.comm.as_str(), row.kernel))
            .collect();
        assert_eq!(names, [("kthreadd", true), ("a) R (b", false)]);
        assert_eq!((rows[1].ppid, rows[1].start_ticks), (1, 4242));
        assert!(Describer::new(host.0.path()).describe(2, "").kernel);
    }

    #[test]
    fn a_real_script_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("a-shop-with-a-long-name.sh");
        fs::write(&script, "read line\n").unwrap();
        let mut child = Command::new("sh")
            .arg(&script)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut describer = Describer::new(Path::new("/"));
        // The spawn returns before the kernel has put the new command line in place.
        let mut found = Description::default();
        for _ in 0..1000 {
            found = describer.describe(child.id(), "");
            if found.program != found.comm {
                break;
            }
            std::thread::yield_now();
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(found.program, "a-shop-with-a-long-name.sh");
        assert!(!found.cgroup.is_empty());
    }
}
