//! Tail: why the slowest requests at an entry are slow.
//!
//! In: one pass over each recording with single events. Out: a [`Tail`], the slowest hundredth held against the median part
//! by part, or why there is none. Must not know: files, how anything is shown.

mod answer;
mod clocks;
mod entry;
mod follow;
mod groups;
mod names;
mod open;
mod order;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use courtside_core::{
    event::{Connection, Off, What},
    model::{
        exchange::Exchange,
        tail::{NotTold, TAIL_SCHEMA, Tail, TailSource},
        visible::visible,
    },
    parts::Part,
    pass::{Analysis, Consumer, Needs, PassWindow, Seen},
    units::{count, percent},
};
use foldhash::HashMap;

use self::{
    clocks::{Clocks, WokenBy},
    follow::{Address, Counted, Follower, Place, Reading, Sending},
    groups::{Groups, Held},
    names::{IDLE, INTERRUPT, Names, Who},
    order::Order,
};

pub use entry::Entries;

/// With fewer requests than these the slowest hundredth is none.
pub const MIN_REQUESTS: u64 = 100;
/// Share of a request's time from which on what cannot be placed is said.
const NOTABLE: f64 = 0.1;
/// Components whose waits for a CPU are counted, at most.
const MOST_WAITING: usize = 4096;
/// Tasks that a datagram or Unix data was announced by, at most.
const MOST_ANNOUNCED: usize = 1 << 16;

const TCP: u8 = 1;
const UDP: u8 = 2;
const UNIX: u8 = 3;
const CLOSED: u8 = 7;

/// Why nothing can be told.
#[derive(Debug, PartialEq, Eq)]
pub enum CannotTell {
    /// A recording has no single events.
    NoEvents {
        /// Its file.
        file: String,
    },
    /// No request came in anywhere.
    NoEntry,
    /// Too few requests have a time.
    TooFew {
        /// The entry.
        entry: String,
        /// Those that have.
        requests: u64,
        /// Those without, since several were open at once on their connection.
        untimed: u64,
    },
}

impl fmt::Display for CannotTell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEvents { file } => write!(
                f,
                "{} has no single events, which tell one request from another; record them with: courtside record --events -o FILE",
                visible(file)
            ),
            Self::NoEntry => write!(
                f,
                "no request came in while this was recorded; see what serves requests with: courtside stat"
            ),
            Self::TooFew {
                entry,
                requests,
                untimed,
            } => {
                let s = if *requests == 1 { "" } else { "s" };
                let why = if untimed > requests {
                    format!(
                        ", {} have none because several were open at once on their connection, and nothing tells which answer is whose",
                        count(*untimed)
                    )
                } else {
                    String::new()
                };
                write!(
                    f,
                    "{} served {} request{s} that have a time{why}; at least {MIN_REQUESTS} are needed to tell the slowest hundredth from the others; record for longer with: courtside record --events -o FILE -d 60s, or choose another entry with --entry",
                    visible(entry),
                    count(*requests)
                )
            }
        }
    }
}

impl std::error::Error for CannotTell {}

/// What happened at its place in time.
#[derive(Debug)]
enum Step {
    Told {
        tid: u32,
        who: Who,
        waiting: Option<(u64, Off)>,
    },
    Switch {
        cpu: u16,
        from: (u32, Who),
        off: Off,
        to: u32,
    },
    Wake {
        tid: u32,
        waited: bool,
        by: WokenBy,
    },
    Fork {
        tid: u32,
        who: Who,
    },
    Exec {
        old: u32,
        new: u32,
        who: Who,
    },
    Exit {
        tid: u32,
    },
    Throttled {
        tid: u32,
        cpu: u16,
        ns: u64,
    },
    Close {
        connection: u64,
    },
    Receive {
        tid: u32,
        cpu: u16,
        what: Box<Reading>,
    },
    Send {
        cpu: u16,
        what: Box<Sending>,
    },
}

/// Finds the slowest requests. Takes one recording after the other.
#[derive(Debug, Default)]
pub struct Slowest {
    /// Requests that are shown one by one, at most.
    exemplars: usize,
    entries: Entries,
    /// The entry that was chosen before.
    chosen: Option<(String, u16)>,
    source: TailSource,
    names: Names,
    groups: Groups,
    counted: Counted,
    /// By component: what a CPU quota of its own held it back, and what else it waited for CPUs.
    quotas: BTreeMap<String, (u64, u64)>,
    /// Of the recording that is passed.
    steps: Order<Step>,
    clocks: Clocks,
    follower: Option<Box<Follower>>,
    announced: HashMap<u32, u64>,
}

impl Slowest {
    /// Looks at the busiest entry, and shows so many requests one by one.
    #[must_use]
    pub fn new(exemplars: usize) -> Self {
        Self {
            exemplars,
            ..Self::default()
        }
    }

    /// Looks at this entry: its component's id, and its port.
    #[must_use]
    pub fn at(mut self, component: &str, port: u16) -> Self {
        self.chosen = Some((component.to_owned(), port));
        self
    }

    /// The next recording begins.
    pub fn begin(&mut self, file: &str) {
        self.end();
        self.source.files.push(file.to_owned());
    }

    /// What is open when a recording ends stays without an answer.
    fn end(&mut self) {
        while let Some((at_ns, step)) = self.steps.next(true) {
            self.step(at_ns, step);
        }
        self.steps = Order::default();
        self.clocks = Clocks::default();
        self.announced.clear();
        if let Some(follower) = self.follower.take() {
            self.counted.add(follower.finish());
        }
    }

    fn entry(&self) -> Option<(String, u16)> {
        self.chosen.clone().or_else(|| self.entries.busiest())
    }

    /// Follows the requests of the entry that was chosen.
    fn new_follower(&mut self) -> Follower {
        let entry = self.entry();
        let entry = entry.map(|(id, port)| (self.names.named(&id), port));
        entry.map_or_else(Follower::default, Follower::new)
    }

    /// What an event is, and its place in time; `None` if it is of no use.
    fn read(&mut self, seen: &Seen<'_>) -> Option<(u64, Step)> {
        let Seen {
            event, resolved, ..
        } = seen;
        let offset_ns = resolved.time_unix_ns.wrapping_sub(event.time_ns);
        let unix = |ns: u64| ns.wrapping_add(offset_ns);
        let (now_ns, tid) = (resolved.time_unix_ns, event.tid);
        let who = match tid {
            0 => IDLE,
            _ => self.names.of(resolved.component.as_ref()),
        };
        let step = match &event.what {
            What::Task(task) => Step::Told {
                tid,
                who,
                waiting: (task.off_ns != 0).then(|| (unix(task.off_ns), task.off)),
            },
            What::Switch { off, next_tid } => Step::Switch {
                cpu: event.cpu,
                from: (tid, who),
                off: *off,
                to: *next_tid,
            },
            What::Wake { tid: woken, waited } => Step::Wake {
                tid: *woken,
                waited: *waited,
                by: WokenBy {
                    tid,
                    who: if tid == 0 { INTERRUPT } else { who },
                    comm: resolved.comm.clone().filter(|_| tid != 0),
                },
            },
            What::Fork { tid, .. } => Step::Fork { tid: *tid, who },
            What::Exec { old_tid, .. } => Step::Exec {
                old: *old_tid,
                new: tid,
                who,
            },
            What::Exit => Step::Exit { tid },
            What::Throttled { ns } => Step::Throttled {
                tid,
                cpu: event.cpu,
                ns: *ns,
            },
            What::State {
                connection, after, ..
            } if *after == CLOSED => Step::Close {
                connection: *connection,
            },
            What::Arrival { connection } => {
                let told = resolved.connection.as_ref();
                if told.is_some_and(|told| [UDP, UNIX].contains(&told.flow.transport)) {
                    if self.announced.len() >= MOST_ANNOUNCED {
                        self.announced.clear();
                    }
                    self.announced.insert(tid, *connection);
                }
                return None;
            }
            What::Receive {
                connection, flow, ..
            } => {
                let Some(Exchange::Received(mut what)) = seen.exchange.copied() else {
                    return None;
                };
                what.arrived_ns = unix(what.arrived_ns);
                Step::Receive {
                    tid,
                    cpu: event.cpu,
                    what: Box::new(Reading {
                        place: self.place(seen, *connection, *flow, who),
                        what,
                        now_ns,
                    }),
                }
            }
            What::Send {
                connection,
                began_ns,
                flow,
                ..
            } => {
                let announced = self.announced.remove(&tid);
                let Some(Exchange::Sent(what)) = seen.exchange.copied() else {
                    return None;
                };
                let step = Step::Send {
                    cpu: event.cpu,
                    what: Box::new(Sending {
                        place: self.place(seen, *connection, *flow, who),
                        what,
                        tid,
                        turnaround: seen.turnaround.copied(),
                        announced: announced.filter(|_| flow.transport != TCP),
                    }),
                };
                return Some((unix(*began_ns).min(now_ns), step));
            }
            What::Connection(_)
            | What::State { .. }
            | What::DiskStart(_)
            | What::DiskEnd { .. }
            | What::Look { .. } => return None,
        };
        Some((now_ns, step))
    }

    fn place(
        &mut self,
        seen: &Seen<'_>,
        connection: u64,
        flow: courtside_core::event::Flow,
        who: Who,
    ) -> Place {
        let told = seen.resolved.connection.as_deref();
        Place {
            connection,
            flow,
            address: told.filter(|told| told.flow.transport == TCP).map(address),
            who,
            peer: self.names.of(seen.resolved.peer.as_ref()),
        }
    }

    fn step(&mut self, at_ns: u64, step: Step) {
        let mut follower = match self.follower.take() {
            Some(follower) => follower,
            None => Box::new(self.new_follower()),
        };
        let clocks = &mut self.clocks;
        match step {
            Step::Told { tid, who, waiting } => clocks.told(tid, who, waiting),
            Step::Switch { cpu, from, off, to } => clocks.switch(cpu, at_ns, from, off, to),
            Step::Wake { tid, waited, by } => clocks.wake(tid, waited, by, at_ns),
            Step::Fork { tid, who } => clocks.fork(tid, who, at_ns),
            Step::Exec { old, new, who } => clocks.exec(old, new, who),
            Step::Exit { tid } => clocks.exit(tid),
            Step::Throttled { tid, cpu, ns } => clocks.throttled(tid, cpu, at_ns, ns),
            Step::Close { connection } => follower.close(connection),
            Step::Receive { tid, cpu, what } => {
                clocks.seen(tid, cpu, at_ns);
                follower.receive(&what);
            }
            Step::Send { cpu, what } => {
                clocks.seen(what.tid, cpu, at_ns);
                if let Some(anatomy) = follower.send(&what, clocks) {
                    self.groups.add(anatomy);
                }
                clocks.sent(what.tid, at_ns);
            }
        }
        self.follower = Some(follower);
    }
}

/// An end by the addresses of its connection.
fn address(connection: &Connection) -> Address {
    Address {
        transport: connection.flow.transport,
        netns: connection.netns,
        own: (connection.local, connection.local_port),
        other: (connection.remote, connection.remote_port),
    }
}

impl Consumer for Slowest {
    fn needs(&self) -> Needs {
        Needs::Turnarounds
    }

    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        self.entries.add(window.snapshot);
        let source = &mut self.source;
        source.windows += 1;
        let duration_ns = window.snapshot.window.duration_ns;
        source.duration_ns = source.duration_ns.saturating_add(duration_ns);
        for (class, lost) in &window.snapshot.quality.lost {
            if *lost > 0 {
                let sum = source.lost.entry(class.clone()).or_default();
                *sum = sum.saturating_add(*lost);
            }
        }
        for component in &window.snapshot.components {
            let cpu = &component.cpu;
            let Some(held_ns) = cpu.throttled_ns else {
                continue;
            };
            if component.turnaround.throttled_told {
                continue;
            }
            let has_room = self.quotas.len() < MOST_WAITING;
            if has_room || self.quotas.contains_key(&component.id) {
                let (held, waited) = self.quotas.entry(component.id.clone()).or_default();
                *held = held.saturating_add(held_ns);
                *waited = waited.saturating_add(cpu.run_queue_ns);
            }
        }
        Ok(())
    }

    fn event(&mut self, seen: &Seen<'_>) -> anyhow::Result<()> {
        self.source.events += 1;
        if let Some((at_ns, step)) = self.read(seen) {
            self.steps.add(at_ns, seen.resolved.time_unix_ns, step);
            while let Some((at_ns, step)) = self.steps.next(false) {
                self.step(at_ns, step);
            }
        }
        Ok(())
    }
}

impl Analysis for Slowest {
    type Output = Result<Tail, CannotTell>;

    fn finish(mut self) -> Self::Output {
        self.end();
        if self.source.events == 0 {
            let file = self.source.files.join(", ");
            return Err(CannotTell::NoEvents { file });
        }
        let (entry, port) = self.entry().ok_or(CannotTell::NoEntry)?;
        let requests = self.groups.count;
        let untimed = self.counted.untimed;
        if requests < MIN_REQUESTS {
            let entry = match port {
                0 => entry,
                port => format!("{entry}:{port}"),
            };
            return Err(CannotTell::TooFew {
                entry,
                requests,
                untimed,
            });
        }
        let Held {
            service_ns,
            slow,
            median,
        } = self.groups.finish();
        let compared = answer::compare(&slow, &median, &self.names);
        let mut tail = Tail {
            schema: TAIL_SCHEMA.to_owned(),
            source: self.source,
            entry,
            port,
            requests,
            untimed,
            unfinished: self.counted.unfinished,
            service_ns,
            slow_share: slow.len() as f64 / requests as f64,
            threshold_ns: slow.last().map_or(0, |slow| slow.service_ns),
            exemplars: answer::exemplars(&slow, self.exemplars, &self.names),
            slow: compared.slow,
            median: compared.median,
            differences: compared.differences,
            not_told: not_told(&self.counted, &self.names),
            remarks: Vec::new(),
        };
        tail.remarks = remarks(&tail, &compared.held_unknown);
        let of_quotas = quotas(&tail, &self.quotas);
        tail.remarks.extend(of_quotas);
        Ok(tail)
    }
}

impl Counted {
    /// Adds what another recording has.
    fn add(&mut self, more: Self) {
        self.untimed += more.untimed;
        self.unfinished += more.unfinished;
        for (who, tally) in more.tallies {
            let sum = self.tallies.entry(who).or_default();
            sum.told += tally.told;
            sum.not_told += tally.not_told;
            sum.not_told_ns = sum.not_told_ns.saturating_add(tally.not_told_ns);
        }
    }
}

fn not_told(counted: &Counted, names: &Names) -> Vec<NotTold> {
    // Others have nothing to do with the entry, as far as is known.
    let on_the_way = counted.tallies.iter().filter(|(_, tally)| tally.told > 0);
    let mut list: Vec<NotTold> = on_the_way
        .filter(|(_, tally)| tally.not_told > 0)
        .map(|(who, tally)| NotTold {
            component: names.id(*who).to_owned(),
            turnarounds: tally.not_told,
            total_ns: tally.not_told_ns,
            told: tally.told,
            says: format!(
                "{}: {} of {} turnarounds cannot be told to belong to one request: several were open at once, or the message that prompted them was not seen to come from one",
                answer::name(names.id(*who)),
                count(tally.not_told),
                count(tally.not_told.saturating_add(tally.told)),
            ),
        })
        .collect();
    list.sort_by(|a, b| (b.total_ns, &a.component).cmp(&(a.total_ns, &b.component)));
    list
}

/// Single events of older recordings do not tell what a quota held back from what others did: the windows do, of each component.
fn quotas(tail: &Tail, quotas: &BTreeMap<String, (u64, u64)>) -> Vec<String> {
    let grew = |id: &str| {
        let mut differences = tail.differences.iter();
        let field = Part::RunQueue.field().trim_end_matches("_ns");
        differences.any(|difference| {
            difference.component.as_deref() == Some(id)
                && difference.part == field
                && difference.more_ns > 0.0
        })
    };
    let share = |(held, waited): (u64, u64)| held as f64 / (held as f64 + waited as f64).max(1.0);
    let courts = tail.slow.courts.iter().map(|court| &court.court.component);
    courts
        .filter(|id| grew(id.as_str()))
        .filter_map(|id| Some((id, share(*quotas.get(id)?))))
        .filter(|(_, share)| *share > NOTABLE)
        .map(|(id, share)| {
            format!(
                "{}: of the time that its threads were ready to run and did not, a CPU quota of its own held them back for {}; that is part of its time in the run queue here, and nobody else's doing, whoever had the CPU meanwhile",
                answer::name(id),
                percent(share)
            )
        })
        .collect()
}

/// What has to be known to read it.
fn remarks(tail: &Tail, held_unknown: &[String]) -> Vec<String> {
    let mut said = Vec::new();
    let lost = tail.source.lost.values().copied();
    let lost = lost.fold(0, u64::saturating_add);
    if lost > 0 {
        let classes = tail.source.lost.keys();
        let classes: Vec<_> = classes.map(|class| visible(class)).collect();
        said.push(format!(
            "{} lost while recording ({}): requests in whose time something was lost may miss parts, which are then in held or other",
            count(lost),
            classes.join(", ")
        ));
    }
    if tail.slow.count < tail.requests.div_ceil(100) {
        said.push(format!(
            "the slow ones are the {} slowest, {} of all: more are not kept",
            count(tail.slow.count),
            percent(tail.slow_share)
        ));
    }
    if tail.slow.count < 10 {
        let s = if tail.slow.count == 1 { "" } else { "s" };
        said.push(format!(
            "the slow ones are {} request{s}: what they have in common may be chance; record for longer",
            tail.slow.count
        ));
    }
    if tail.untimed > 0 {
        said.push(format!(
            "{} requests are left out: several were open at once on their connection, and nothing tells which answer is whose",
            count(tail.untimed)
        ));
    }
    for (name, group) in [("slow", &tail.slow), ("median", &tail.median)] {
        if group.other_ns.abs() > NOTABLE * group.mean_ns {
            said.push(format!(
                "{} of the time of the {name} requests cannot be placed: calls that could not be followed, or work beside their way",
                percent(group.other_ns.abs() / group.mean_ns)
            ));
        }
    }
    for id in held_unknown {
        said.push(format!(
            "{}: not all of its requests were seen to their end, so how long it held them is not known, and is in other",
            answer::name(id)
        ));
    }
    said
}
