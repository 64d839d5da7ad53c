//! CPU time, waits and block I/O of program images, from switches, wake-ups and disk requests.
//!
//! In: events in the order of time. Out: what each image had until a window ended. Must not know: sockets, windows.

use std::collections::{BTreeMap, VecDeque};

use foldhash::HashMap;

use super::super::dist::DistBuilder;
use crate::{
    event::{Event, Off, What},
    frame::{Cpu, Disk, plus},
};

/// A task that ended this long ago is off its CPU.
const GONE_NS: u64 = 10_000_000_000;

/// Since when a task is where it is: off the CPU, runnable, on the CPU.
#[derive(Default)]
struct TaskClock {
    image: u32,
    off: Option<(u64, Off)>,
    wake_ns: u64,
    /// The last wake-up that came while it was still on its CPU, and when it came there.
    early_wake_ns: u64,
    on_ns: u64,
    ended: bool,
}

#[derive(Default)]
struct Requests {
    reads: u64,
    writes: u64,
    read_bytes: u64,
    write_bytes: u64,
    latency: DistBuilder,
}

/// Clocks of all images.
#[derive(Default)]
pub(super) struct Clocks {
    tasks: HashMap<u32, TaskClock>,
    /// Those that ended, and when: they still have to leave their CPU.
    gone: VecDeque<(u64, u32)>,
    /// Who runs on each CPU, and since when; of who ran before the first switch there, that is when the first event was.
    running: HashMap<u16, (u32, u64)>,
    first_ns: Option<u64>,
    cpu: BTreeMap<u32, Cpu>,
    /// When the requests that are under way started.
    requests: HashMap<u64, u64>,
    disk: BTreeMap<u32, Requests>,
}

impl Clocks {
    pub(super) fn see(&mut self, event: &Event) {
        let now = event.time_ns;
        self.forget(now);
        let first_ns = *self.first_ns.get_or_insert(now);
        match &event.what {
            What::Task(told) => {
                let task = self.tasks.entry(event.tid).or_insert_with(|| TaskClock {
                    off: (told.off_ns != 0).then_some((told.off_ns, told.off)),
                    wake_ns: told.wake_ns,
                    ..TaskClock::default()
                });
                task.image = told.image;
            }
            What::Fork { tid, image, .. } => {
                let task = TaskClock {
                    image: *image,
                    off: Some((now, Off::RunQueue)),
                    ..TaskClock::default()
                };
                self.tasks.insert(*tid, task);
            }
            What::Exec { old_tid, image, .. } => {
                self.account(event.cpu, now);
                let mut task = self.tasks.remove(old_tid).unwrap_or_default();
                task.image = *image;
                self.tasks.insert(event.tid, task);
                if let Some(running) = self.running.get_mut(&event.cpu) {
                    running.0 = event.tid;
                }
            }
            What::Wake { tid, waited } => {
                let task = self.tasks.entry(*tid).or_default();
                if *waited {
                    task.wake_ns = now;
                } else {
                    task.early_wake_ns = now;
                }
            }
            What::Switch { off, next_tid } => {
                let running = self.running.entry(event.cpu);
                // Somebody else may have come unseen; then since when is not known.
                let (tid, since_ns) = running.or_insert((event.tid, first_ns));
                if *tid != event.tid {
                    (*tid, *since_ns) = (event.tid, now);
                }
                let ran_ns = now.saturating_sub(*since_ns);
                (*tid, *since_ns) = (*next_tid, now.max(*since_ns));
                self.leaves(event.tid, now, *off, ran_ns);
                self.comes(*next_tid, now);
            }
            What::DiskStart(disk) => drop(self.requests.insert(disk.request, now)),
            What::DiskEnd { disk, last } => {
                let sums = self.disk.entry(disk.image).or_default();
                let bytes = u64::from(disk.bytes);
                let (count, moved) = if disk.write {
                    (&mut sums.writes, &mut sums.write_bytes)
                } else {
                    (&mut sums.reads, &mut sums.read_bytes)
                };
                plus(moved, bytes);
                if *last {
                    plus(count, 1);
                    if let Some(start_ns) = self.requests.remove(&disk.request) {
                        sums.latency.add(now.saturating_sub(start_ns));
                    }
                }
            }
            What::Exit => {
                if let Some(task) = self.tasks.get_mut(&event.tid) {
                    task.ended = true;
                    self.gone.push_back((now, event.tid));
                }
            }
            _ => {}
        }
    }

    fn forget(&mut self, now: u64) {
        let is_over = |gone: &mut (u64, u32)| now.saturating_sub(gone.0) > GONE_NS;
        while let Some((_, tid)) = self.gone.pop_front_if(is_over) {
            // The number may be another task's by now.
            if self.tasks.get(&tid).is_some_and(|task| task.ended) {
                self.tasks.remove(&tid);
            }
        }
    }

    /// Adds what the task on a CPU ran since it was added last.
    fn account(&mut self, cpu: u16, now: u64) {
        let Some((tid, since_ns)) = self.running.get_mut(&cpu) else {
            return;
        };
        let ran = now.saturating_sub(*since_ns);
        *since_ns = now.max(*since_ns);
        if *tid != 0
            && let Some(task) = self.tasks.get(tid)
        {
            plus(&mut sum(&mut self.cpu, task.image).on_cpu_ns, ran);
        }
    }

    /// A task leaves its CPU, on which it ran that long since it was added last.
    fn leaves(&mut self, tid: u32, now: u64, off: Off, ran_ns: u64) {
        if tid == 0 {
            return;
        }
        let task = self.tasks.entry(tid).or_default();
        task.off = Some((now, off));
        let sum = sum(&mut self.cpu, task.image);
        plus(&mut sum.on_cpu_ns, ran_ns);
        if off == Off::RunQueue {
            plus(&mut sum.involuntary_switches, 1);
        } else {
            plus(&mut sum.voluntary_switches, 1);
        }
    }

    fn comes(&mut self, tid: u32, now: u64) {
        if tid == 0 {
            return;
        }
        let task = self.tasks.entry(tid).or_default();
        if let Some((off_ns, off)) = task.off.take() {
            let wake_ns = if off == Off::RunQueue {
                off_ns
            } else if task.wake_ns >= off_ns {
                task.wake_ns.min(now)
            } else if task.early_wake_ns >= task.on_ns && task.early_wake_ns != 0 {
                off_ns
            } else {
                // It was not told.
                now
            };
            task.on_ns = now;
            let sum = sum(&mut self.cpu, task.image);
            plus(&mut sum.run_queue_ns, now.saturating_sub(wake_ns));
            if off == Off::BlockIo {
                plus(&mut sum.block_io_ns, wake_ns.saturating_sub(off_ns));
            }
        }
    }

    /// A window ends: who runs has run until now.
    pub(super) fn pause(&mut self, now: u64) {
        let cpus: Vec<u16> = self.running.keys().copied().collect();
        for cpu in cpus {
            self.account(cpu, now);
        }
    }

    pub(super) fn take_cpu(&mut self) -> Vec<Cpu> {
        let cpu = std::mem::take(&mut self.cpu);
        let happened = |cpu: &Cpu| *cpu != named(cpu.image);
        cpu.into_values().filter(happened).collect()
    }

    pub(super) fn take_disk(&mut self) -> Vec<Disk> {
        let finish = |(image, sums): (u32, Requests)| Disk {
            image,
            reads: sums.reads,
            writes: sums.writes,
            read_bytes: sums.read_bytes,
            write_bytes: sums.write_bytes,
            latency: sums.latency.finish(),
            queued_behind: None,
        };
        let disk = std::mem::take(&mut self.disk);
        disk.into_iter().map(finish).collect()
    }
}

fn named(image: u32) -> Cpu {
    Cpu {
        image,
        ..Cpu::default()
    }
}

fn sum(cpu: &mut BTreeMap<u32, Cpu>, image: u32) -> &mut Cpu {
    cpu.entry(image).or_insert_with(|| named(image))
}
