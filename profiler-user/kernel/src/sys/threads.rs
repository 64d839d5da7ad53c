//! The threads of some processes: what the kernel has accounted to each, looked at again and again.
//!
//! In: `/proc` below a root, numbers of processes. Out: [`Threads`]. Must not know: components beyond their ids, windows.
//! A thread may end while it is looked at; then it is left out.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Instant,
};

use courtside_core::model::threads::{Thread, Threads, Used};
use procfs::process::{Process, Task};

/// Threads that are looked at, at most.
pub const MOST_THREADS: usize = 1024;

/// A thread among all that there ever are: a number may be given again.
type Life = (u32, u64);

/// Looks at the threads of one component.
#[derive(Debug)]
pub struct Looks {
    proc: PathBuf,
    /// Whose threads were looked at last, and when.
    last: Option<(String, Instant)>,
    before: HashMap<Life, Used>,
}

impl Looks {
    /// Of the processes below this root.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            proc: root.join("proc"),
            last: None,
            before: HashMap::new(),
        }
    }

    /// Whether the last look was at this component.
    #[must_use]
    pub fn is_at(&self, component: &str) -> bool {
        self.last.as_ref().is_some_and(|(id, _)| id == component)
    }

    /// Forgets the last look.
    pub fn forget(&mut self) {
        self.last = None;
        self.before = HashMap::new();
    }

    /// Looks at the threads of these processes, which are those of a component.
    pub fn look(&mut self, component: &str, tgids: &[u32]) -> Threads {
        let now = Instant::now();
        let last = self.last.take().filter(|(id, _)| id == component);
        if last.is_none() {
            self.before.clear();
        }
        let before = std::mem::take(&mut self.before);
        let mut found = Threads {
            component: component.to_owned(),
            between_ns: last.map(|(_, at)| {
                u64::try_from(now.duration_since(at).as_nanos()).unwrap_or(u64::MAX)
            }),
            ..Threads::default()
        };
        for &tgid in tgids {
            let Ok(tid) = i32::try_from(tgid) else {
                continue;
            };
            let process = Process::new_with_root(self.proc.join(tid.to_string()));
            let Ok(tasks) = process.and_then(|process| process.tasks()) else {
                continue;
            };
            for task in tasks.flatten() {
                if found.threads.len() >= MOST_THREADS {
                    found.more += 1;
                } else if let Some((life, total, thread)) = thread(tgid, &task) {
                    let used = before.get(&life).zip(total).map(|(before, total)| Used {
                        on_cpu_ns: total.on_cpu_ns.saturating_sub(before.on_cpu_ns),
                        waited_ns: total.waited_ns.saturating_sub(before.waited_ns),
                        runs: total.runs.saturating_sub(before.runs),
                    });
                    if let Some(total) = total {
                        self.before.insert(life, total);
                    }
                    found.threads.push(Thread { used, ..thread });
                }
            }
        }
        self.last = Some((component.to_owned(), now));
        found
    }
}

/// A thread now, and what it has used since it began, where the kernel keeps that.
fn thread(tgid: u32, task: &Task) -> Option<(Life, Option<Used>, Thread)> {
    let stat = task.stat().ok()?;
    let tid = stat.pid.unsigned_abs();
    let total = task.schedstat().ok().map(|total| Used {
        on_cpu_ns: total.sum_exec_runtime,
        waited_ns: total.run_delay,
        runs: total.pcount,
    });
    let thread = Thread {
        tgid,
        tid,
        comm: stat.comm,
        state: stat.state,
        cpu: stat.processor.and_then(|cpu| u32::try_from(cpu).ok()),
        used: None,
    };
    Some(((tid, stat.starttime), total, thread))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use rustix::{
        thread::gettid,
        time::{ClockId, clock_gettime},
    };

    use super::*;

    fn on_cpu_ns() -> u64 {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
    }

    #[test]
    fn what_a_thread_burns_between_two_looks_is_told_of_that_thread() {
        const BURNED_NS: u64 = 60_000_000;
        let (tell, told) = mpsc::channel::<u32>();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let burner = std::thread::spawn(move || {
            tell.send(gettid().as_raw_nonzero().get().unsigned_abs())
                .unwrap();
            goes_on.recv().unwrap();
            let from = on_cpu_ns();
            while on_cpu_ns() < from + BURNED_NS {
                std::hint::spin_loop();
            }
            tell.send(0).unwrap();
            goes_on.recv().unwrap();
        });
        let tid = told.recv().unwrap();
        let tgids = [std::process::id(), u32::MAX, 0];
        let mut looks = Looks::new(Path::new("/"));
        let first = looks.look("program:own", &tgids);
        assert!(looks.is_at("program:own") && !looks.is_at("program:other"));
        assert_eq!((first.between_ns, first.more), (None, 0));
        assert!(first.threads.iter().all(|thread| thread.used.is_none()));
        go_on.send(()).unwrap();
        told.recv().unwrap();
        let second = looks.look("program:own", &tgids);
        go_on.send(()).unwrap();
        burner.join().unwrap();
        let of = |threads: &Threads, tid| threads.threads.iter().find(|t| t.tid == tid).cloned();
        let thread = of(&second, tid).unwrap();
        let used = thread.used.unwrap();
        // The kernel brings a clock up to date at ticks and switches.
        assert!(used.on_cpu_ns >= BURNED_NS * 4 / 5, "{used:?}");
        assert!(used.on_cpu_ns <= second.between_ns.unwrap(), "{used:?}");
        assert!(used.runs >= 1 && thread.cpu.is_some());
        assert_eq!(thread.tgid, std::process::id());
        // Another component begins anew.
        let other = looks.look("program:other", &tgids);
        assert!(other.between_ns.is_none());
        assert!(of(&other, tid).is_none());
        looks.forget();
        assert!(!looks.is_at("program:other"));
    }
}
