//! Runs by the rule that the simulation has to follow, in a few lines: supersteps whose length is known.

use super::*;
use crate::infer::program::{Part, Wire};

pub(in super::super) const LATENCY_NS: u64 = 100_000;

/// Ranks that compute, wait for a CPU, send to their neighbours, and receive from them.
#[derive(Clone, Debug)]
pub(in super::super) struct Steps {
    pub(in super::super) ranks: usize,
    pub(in super::super) all: bool,
    /// By step and rank: time on the CPU, and wait for it.
    pub(in super::super) times: Vec<Vec<(u64, u64)>>,
    pub(in super::super) cpus: usize,
}

impl Steps {
    pub(in super::super) fn new(
        all: bool,
        count: usize,
        of: impl Fn(usize, usize) -> (u64, u64),
    ) -> Self {
        let ranks = 4;
        Self {
            ranks,
            all,
            times: (0..count)
                .map(|step| (0..ranks).map(|rank| of(step, rank)).collect())
                .collect(),
            cpus: ranks,
        }
    }

    fn to(&self, rank: usize) -> Vec<usize> {
        if self.all {
            (0..self.ranks).filter(|other| *other != rank).collect()
        } else {
            vec![(rank + 1) % self.ranks]
        }
    }

    /// The rule: a step begins when everything of the one before is there.
    fn truth(&self, queue: impl Fn(usize) -> f64, latency_ns: u64) -> u64 {
        let mut begin = vec![0; self.ranks];
        for step in &self.times {
            let send: Vec<u64> = (0..self.ranks)
                .map(|rank| {
                    let (cpu_ns, queue_ns) = step[rank];
                    begin[rank] + cpu_ns + (queue_ns as f64 * queue(rank)) as u64
                })
                .collect();
            begin = (0..self.ranks)
                .map(|rank| {
                    let from = (0..self.ranks).filter(|other| self.to(*other).contains(&rank));
                    from.map(|other| send[other] + latency_ns)
                        .fold(send[rank], u64::max)
                })
                .collect();
        }
        begin.into_iter().max().unwrap()
    }

    pub(in super::super) fn program(&self) -> Program {
        let mut links = Vec::new();
        let mut number = std::collections::BTreeMap::new();
        for from in 0..self.ranks {
            for to in self.to(from) {
                number.insert((from, to), links.len() as u32);
                links.push(Wire {
                    from,
                    to,
                    latency_ns: LATENCY_NS,
                    sent: 10 * self.times.len() as u64,
                    ..Wire::default()
                });
            }
        }
        let parts = (0..self.ranks).map(|rank| {
            let mut ops = Vec::new();
            for (step, times) in self.times.iter().enumerate() {
                let (ns, queue_ns) = times[rank];
                let cpu = (rank % self.cpus) as u16;
                if queue_ns > 0 {
                    ops.push(Op::Outside {
                        who: 99,
                        beside: 99,
                        cpu,
                        ns: queue_ns,
                    });
                }
                ops.push(Op::Run { cpu, ns, queue_ns });
                let end = 10 * (step as u64 + 1);
                for to in self.to(rank) {
                    let link = number[&(rank, to)];
                    ops.push(Op::Send { link, end });
                }
                for from in (0..self.ranks).filter(|from| self.to(*from).contains(&rank)) {
                    ops.push(Op::Receive {
                        link: number[&(from, rank)],
                        end,
                        waited_ns: 0,
                    });
                }
            }
            Part {
                process: rank,
                tid: 0,
                start_ns: 0,
                ops,
            }
        });
        Program {
            processes: self.ranks,
            parts: parts.collect(),
            links,
            ..Program::default()
        }
    }
}

/// Equal work of 6 ms, and waits of 50 ms on average for those that are loaded.
pub(in super::super) fn loaded(all: bool, loaded: &[usize]) -> Steps {
    let mut random = fastrand::Rng::with_seed(7);
    let waits: Vec<u64> = (0..1200)
        .map(|_| (-50e6 * random.f64().max(1e-9).ln()) as u64)
        .collect();
    Steps::new(all, 300, |step, rank| {
        let wait = if loaded.contains(&rank) {
            waits[4 * step + rank]
        } else {
            0
        };
        (6_000_000, wait)
    })
}

#[test]
fn a_run_takes_as_long_as_it_did_and_without_waits_as_long_as_it_would_have() {
    for all in [false, true] {
        for who in [&[][..], &[2], &[0, 2], &[0, 1, 2, 3]] {
            let steps = loaded(all, who);
            let program = steps.program();
            let run = replay(&program, &Changed::default()).unwrap();
            assert_eq!(run.length_ns, steps.truth(|_| 1.0, LATENCY_NS));
            let free = Changed {
                queue: vec![0.0; 4],
                ..Changed::default()
            };
            let free = replay(&program, &free).unwrap();
            assert_eq!(free.length_ns, steps.truth(|_| 0.0, LATENCY_NS));
            let one = Changed {
                queue: vec![1.0, 1.0, 0.0, 1.0],
                ..Changed::default()
            };
            let one = replay(&program, &one).unwrap();
            let truth = steps.truth(|rank| if rank == 2 { 0.0 } else { 1.0 }, LATENCY_NS);
            assert_eq!(one.length_ns, truth);
        }
    }
}

#[test]
fn latencies_are_changed_exactly() {
    let steps = loaded(true, &[1]);
    let program = steps.program();
    for (latency, ns) in [
        (Latency::Of(0), 0),
        (Latency::More(1_000_000), LATENCY_NS + 1_000_000),
        (Latency::Less(40_000), LATENCY_NS - 40_000),
        (Latency::Less(u64::MAX), 0),
    ] {
        let changed = Changed {
            all: Some(latency),
            ..Changed::default()
        };
        let run = replay(&program, &changed).unwrap();
        assert_eq!(run.length_ns, steps.truth(|_| 1.0, ns));
    }
    let slow = Changed {
        latency: vec![((0, 1), Latency::More(7_000_000))],
        ..Changed::default()
    };
    let base = replay(&program, &Changed::default()).unwrap();
    assert!(replay(&program, &slow).unwrap().length_ns > base.length_ns);
}

#[test]
fn times_that_no_clock_holds_are_the_longest_that_one_does() {
    let program = loaded(true, &[1]).program();
    let changed = Changed {
        all: Some(Latency::Of(u64::MAX)),
        ..Changed::default()
    };
    assert_eq!(replay(&program, &changed).unwrap().length_ns, u64::MAX);
    let changed = Changed {
        cpu: vec![1e15; 4],
        ..Changed::default()
    };
    assert_eq!(replay(&program, &changed).unwrap().length_ns, u64::MAX);
}

#[test]
fn the_critical_path_is_that_of_the_loaded_one_and_the_others_have_slack() {
    let program = loaded(true, &[2]).program();
    let run = replay(&program, &Changed::default()).unwrap();
    assert_eq!(run.path.greatest(), Some(2));
    assert!(run.path.share(2) > 0.8, "{:?}", run.path);
    let all: u64 = run.path.by_process.iter().sum::<u64>() + run.path.messages_ns;
    assert_eq!(all, run.length_ns, "the path is as long as the run");
    // Where it hardly waits, its message is there within the latency.
    assert!(run.slack_ns[2] < run.length_ns / 1000, "{:?}", run.slack_ns);
    assert!(run.slack_ns[0] > run.length_ns / 2, "{:?}", run.slack_ns);
}

#[test]
fn what_cannot_happen_in_this_order_is_said() {
    let mut program = loaded(false, &[]).program();
    for part in &mut program.parts {
        // Everyone receives before anyone sends.
        part.ops.swap(0, 2);
    }
    assert_eq!(replay(&program, &Changed::default()), Err(Stuck));
    // A receive of more than is ever sent does not wait for ever.
    let mut program = loaded(false, &[]).program();
    program.links[0].sent -= 10;
    program.parts[0]
        .ops
        .retain(|op| !matches!(op, Op::Send { end: 3000, .. }));
    assert!(replay(&program, &Changed::default()).is_ok());
}

#[test]
fn a_sender_waits_for_room() {
    let run = |cpu: u16, ns: u64| Op::Run {
        cpu,
        ns,
        queue_ns: 0,
    };
    let mut sender = Vec::new();
    let mut receiver = Vec::new();
    for n in 1..=10u64 {
        sender.extend([
            run(0, 10),
            Op::Send {
                link: 0,
                end: n * 100,
            },
            Op::Drain {
                link: 0,
                end: n * 100,
                waited_ns: 0,
            },
        ]);
        receiver.extend([
            Op::Receive {
                link: 0,
                end: n * 100,
                waited_ns: 0,
            },
            run(1, 1000),
        ]);
    }
    let part = |process, ops| Part {
        process,
        tid: 0,
        start_ns: 0,
        ops,
    };
    let program = Program {
        processes: 2,
        parts: vec![part(0, sender), part(1, receiver)],
        links: vec![Wire {
            from: 0,
            to: 1,
            sent: 1000,
            room: Some(200),
            ..Wire::default()
        }],
        ..Program::default()
    };
    let found = replay(&program, &Changed::default()).unwrap();
    assert_eq!(found.length_ns, 10 + 10 * 1000);
    let rescheduled = crate::infer::schedule::schedule(&program, &Changed::default(), |_| true);
    assert_eq!(rescheduled.unwrap().length_ns, 10 + 10 * 1000);
}
