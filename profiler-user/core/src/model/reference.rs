//! Roundtrips, requests served, turnarounds and their parts, from single events: the rules of ARCHITECTURE.md once more,
//! written to be read, not to be fast. What the kernel programs add up is held against it, and windows of another length
//! are made with it.
//!
//! In: single events. Out: what each flow ought to have, step by step or in all. Must not know: how the kernel programs
//! do it, windows.
//!
//! It differs from them in its means: a send takes its place where it began, not where it was told; the history of a
//! task's waits is kept whole, not as totals and the last few; nothing is shared between CPUs.

mod connection;
mod forget;
mod reason;
mod steps;
mod task;
#[cfg(test)]
mod throttled_tests;
mod transfer;

use std::collections::{BTreeMap, VecDeque};

use foldhash::HashMap;

use self::{
    connection::Connection,
    forget::{Silent, forget},
    steps::{Step, Steps},
    task::{Read, TaskState},
};
pub use super::ledger::Counts;
use super::ledger::Ledger;
use crate::event::{Event, Flow, Off, Task, What};

const SYN_SENT: u8 = 2;
const CLOSED: u8 = 7;

#[derive(Debug)]
struct Model {
    tasks: HashMap<u32, TaskState>,
    /// When each CPU switched last, by its number; 0 for never.
    switched: Vec<u64>,
    connections: HashMap<u64, Connection>,
    silent: Silent,
    /// When a call began, the last one that was answered, of which nobody saw for whom it was, by the caller's image.
    unseen: BTreeMap<u32, u64>,
    /// Waits of a task that are kept.
    keep_waits: usize,
    /// What ended, and when.
    gone: VecDeque<(u64, Gone)>,
}

#[derive(Clone, Copy, Debug)]
enum Gone {
    Task(u32),
    Connection(u64),
}

/// The calculation, step by step.
#[derive(Debug)]
pub(super) struct Calculation {
    model: Model,
    steps: Steps,
    newest_ns: u64,
}

/// How long a step waits for sends that began before it and have not ended. One that lasts longer takes its place late.
const PATIENCE_NS: u64 = 1_000_000_000;
/// Steps that wait, at most.
const PATIENCE: usize = 1 << 18;
/// What ended this long ago does nothing any more.
const GONE_NS: u64 = 10_000_000_000;
/// Waits of a task that are kept where memory is bounded.
const KEEP_WAITS: usize = 256;

impl Default for Calculation {
    fn default() -> Self {
        Self::keeping(KEEP_WAITS)
    }
}

impl Calculation {
    fn keeping(keep_waits: usize) -> Self {
        Self {
            model: Model {
                tasks: HashMap::default(),
                switched: Vec::new(),
                connections: HashMap::default(),
                silent: match keep_waits {
                    usize::MAX => Silent::keeping(usize::MAX),
                    _ => Silent::default(),
                },
                unseen: BTreeMap::new(),
                keep_waits,
                gone: VecDeque::new(),
            },
            steps: Steps::default(),
            newest_ns: 0,
        }
    }

    /// Takes the next event; they come in the order of time and begin at the attach.
    pub(super) fn add(&mut self, event: Event) {
        if let What::Connection(told) = &event.what {
            let connection = self.model.connections.entry(told.number);
            connection.or_insert_with(|| Connection {
                midlife: told.midlife,
                ..Connection::default()
            });
        }
        self.newest_ns = self.newest_ns.max(event.time_ns);
        self.steps.add(event);
    }

    /// When the next step happens; `None` if there is none, or something that came first may still be told. At the end
    /// nothing can.
    #[must_use]
    pub(super) fn next_ns(&self, at_end: bool) -> Option<u64> {
        let first = self.steps.next_ns()?;
        let waited = self.newest_ns.saturating_sub(first) > PATIENCE_NS;
        (at_end || waited || self.steps.len() > PATIENCE).then_some(first)
    }

    /// Takes the next step; returns what happened, if it is not the beginning of a send.
    pub(super) fn step(&mut self, ledger: &mut impl Ledger) -> Option<Event> {
        match self.steps.next()? {
            Step::Begins(event) => {
                self.model.send_begins(event, ledger);
                None
            }
            Step::Happens(event) => {
                self.model.happens(&event, ledger);
                Some(event)
            }
        }
    }
}

/// What each flow ought to have after these events, which are in the order of time and begin at the attach.
#[must_use]
pub fn reference(events: &[Event]) -> BTreeMap<Flow, Counts> {
    let mut calculation = Calculation::keeping(usize::MAX);
    let mut counts = BTreeMap::new();
    for event in events {
        calculation.add(event.clone());
    }
    while calculation.next_ns(true).is_some() {
        calculation.step(&mut counts);
    }
    counts
}

impl Model {
    fn happens(&mut self, event: &Event, ledger: &mut impl Ledger) {
        let now = event.time_ns;
        self.forget(now);
        forget(&mut self.silent, &mut self.connections, event);
        match &event.what {
            What::Task(told) => self.told(event.tid, told),
            What::Switch { off, next_tid } => {
                if event.tid != 0 {
                    self.runs(event).leaves(now, *off);
                }
                self.switches(event.cpu, now);
                if *next_tid != 0 {
                    let keep = self.keep_waits;
                    let task = self.task(*next_tid);
                    task.comes(now);
                    task.forget(keep);
                }
            }
            What::Throttled { ns } if self.tasks.contains_key(&event.tid) => {
                self.runs(event).was_held_back(*ns);
            }
            What::Throttled { .. } => {}
            What::Wake { tid, waited } => self.wakes(event.tid, *tid, *waited, now),
            What::Send { .. } => {
                self.runs(event);
                self.sent(event, ledger);
            }
            What::Receive { .. } => {
                self.runs(event);
                self.receive(event, ledger);
            }
            What::State {
                connection, after, ..
            } if *after == SYN_SENT => {
                // The same socket may have been connected before.
                let connection = self.connections.entry(*connection).or_default();
                connection.closed = false;
                connection.begin();
            }
            What::Fork { tid, tgid, .. } => {
                let prompted = self.task(event.tid).prompted;
                let child = TaskState {
                    tgid: *tgid,
                    born_ns: now,
                    prompted,
                    waiting: Some((now, Off::RunQueue)),
                    ..TaskState::default()
                };
                self.tasks.insert(*tid, child);
            }
            What::Exec { old_tid, .. } => {
                if *old_tid != event.tid
                    && let Some(task) = self.tasks.remove(old_tid)
                {
                    self.tasks.insert(event.tid, task);
                }
                self.task(event.tid).prompted = false;
            }
            What::State {
                connection, after, ..
            } if *after == CLOSED => {
                let number = *connection;
                if let Some(connection) = self.connections.get_mut(&number) {
                    connection.closed = true;
                    self.gone.push_back((now, Gone::Connection(number)));
                }
            }
            What::Exit => {
                self.task(event.tid).ended = true;
                self.gone.push_back((now, Gone::Task(event.tid)));
            }
            _ => {}
        }
    }

    /// Whoever does something is on a CPU. If nobody saw it come, it came with the last switch that was seen there: some
    /// kernels run no tracing program while certain tasks run, and the switch away from those is missing.
    fn runs(&mut self, event: &Event) -> &mut TaskState {
        self.runs_at(event, event.time_ns)
    }

    /// The same where the event is the end of what the task does, and this is when that began.
    fn runs_at(&mut self, event: &Event, at_ns: u64) -> &mut TaskState {
        let switched_ns = self.switched.get(usize::from(event.cpu)).copied();
        let task = self.tasks.entry(event.tid).or_default();
        if let Some((off_ns, _)) = task.waiting {
            let switched_ns = switched_ns.filter(|ns| *ns != 0);
            task.comes(switched_ns.unwrap_or(at_ns).max(off_ns));
        }
        task
    }

    fn switches(&mut self, cpu: u16, now: u64) {
        let cpu = usize::from(cpu);
        if cpu >= self.switched.len() {
            self.switched.resize(cpu + 1, 0);
        }
        self.switched[cpu] = now;
    }

    fn task(&mut self, tid: u32) -> &mut TaskState {
        self.tasks.entry(tid).or_default()
    }

    /// A task is seen for the first time; what it is told with again is known.
    fn told(&mut self, tid: u32, told: &Task) {
        let task = self.tasks.entry(tid).or_insert_with(|| TaskState {
            prompted: told.prompted,
            waiting: (told.off_ns != 0).then_some((told.off_ns, told.off)),
            wake_ns: told.wake_ns,
            ..TaskState::default()
        });
        task.tgid = told.tgid;
        task.born_ns = told.born_ns;
    }

    fn wakes(&mut self, waker: u32, woken: u32, waited: bool, now: u64) {
        let (tgid, prompted, read, given) = {
            let waker = self.task(waker);
            // Until it waits, whoever it wakes may be given the message.
            let read = waker
                .last_read
                .map(|read| (read, waker.read_voluntary == waker.voluntary));
            // What it was given itself it may give on.
            let given = waker
                .handed
                .filter(|_| waker.handed_voluntary == waker.voluntary);
            (
                waker.tgid,
                waker.prompted,
                read,
                given.map(|(read, _)| read),
            )
        };
        // A request it holds until that is answered, a reply until it waits: nobody can tell when it is done with one.
        let is_held = |(read, at_once): &(Read, bool)| {
            *at_once || read.is_request && !self.is_ended(read.message)
        };
        let holds = read.filter(is_held).map(|(read, _)| read).or(given);
        let task = self.task(woken);
        if waited {
            task.wake_ns = now;
        } else {
            task.early_wake_ns = now;
        }
        task.woken_by_own = waker != 0 && task.tgid == tgid;
        if !task.woken_by_own {
            return;
        }
        task.prompted |= prompted;
        let before = task.handed.map_or(0, |(_, wake_ns)| wake_ns);
        let known = task.handed.map(|(read, _)| read.message);
        if holds.is_some() && holds.map(|read| read.message) == known {
            // It was given that one before, and may have waited since.
            task.handed_voluntary = task.voluntary;
        }
        if let Some(read) = holds
            && before < read.arrived_ns
        {
            let wake_ns = if waited { now } else { before };
            task.handed = Some((read, wake_ns));
            task.handed_voluntary = task.voluntary;
        }
    }

    /// Forgets what is gone for good; a task that ended still has to leave its CPU.
    fn forget(&mut self, now: u64) {
        while let Some((_, gone)) = self
            .gone
            .pop_front_if(|(since_ns, _)| now.saturating_sub(*since_ns) > GONE_NS)
        {
            match gone {
                Gone::Task(tid) => {
                    if self.tasks.get(&tid).is_some_and(|task| task.ended) {
                        self.tasks.remove(&tid);
                    }
                }
                Gone::Connection(number) => {
                    if self.connections.get(&number).is_some_and(|c| c.closed) {
                        self.connections.remove(&number);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        connection::{ACCEPTOR, INITIATOR, TCP, UNIX},
        *,
    };
    use crate::parts::{Part, Parts};

    /// What a thread does that was made at 100: it sends at 200, reads at 300 what arrived at 50, and answers at 400.
    #[test]
    fn what_arrived_before_a_thread_was_made_counts_from_its_last_send() {
        let flow = Flow {
            image: 1,
            peer: 2,
            port: 80,
            transport: TCP,
            role: ACCEPTOR,
        };
        let event = |time_ns, tid, what| Event {
            time_ns,
            tid,
            cpu: 0,
            what,
        };
        let send = |time_ns| What::Send {
            connection: 1,
            bytes: 1,
            began_ns: time_ns,
            known: true,
            flow,
        };
        let made = What::Fork {
            tid: 8,
            tgid: 7,
            image: 1,
        };
        let runs = What::Switch {
            off: Off::Sleep,
            next_tid: 8,
        };
        let reads = What::Receive {
            connection: 1,
            bytes: 1,
            arrived_ns: 50,
            known: true,
            floor_ns: 0,
            from_unprompted: false,
            waits: false,
            flow,
        };
        let counts = reference(&[
            event(100, 7, made),
            event(100, 7, runs),
            event(200, 8, send(200)),
            event(300, 8, reads),
            event(400, 8, send(400)),
        ]);
        let parts = [(Part::OnCpu, 200)].into_iter().collect::<Parts<_>>();
        assert_eq!(counts[&flow].turnarounds, 1);
        assert_eq!(counts[&flow].parts, parts);
    }

    /// The worked example of the rule that a reply comes later than the network takes (Stewart and Shen, 2005), with 150 us: of the
    /// replies at 400, 560 and 1300 us the second comes 60 us after its write, and what is read at 420 us is the first once more.
    #[test]
    fn a_read_after_a_write_by_more_than_the_floor_is_a_roundtrip_and_there_are_two() {
        const US: u64 = 1000;
        const START: u64 = 1_000_000_000;
        let flow = Flow {
            image: 1,
            peer: 2,
            port: 80,
            transport: TCP,
            role: INITIATOR,
        };
        let event = |at_us: u64, what| Event {
            time_ns: START + at_us * US,
            tid: 8,
            cpu: 0,
            what,
        };
        let write = |at_us| {
            let began_ns = START + at_us * US;
            let what = What::Send {
                connection: 1,
                bytes: 1,
                began_ns,
                known: true,
                flow,
            };
            event(at_us, what)
        };
        let read = |at_us| {
            let arrived_ns = START + at_us * US;
            let what = What::Receive {
                connection: 1,
                bytes: 1,
                arrived_ns,
                known: true,
                floor_ns: 150_000,
                from_unprompted: false,
                waits: false,
                flow,
            };
            event(at_us, what)
        };
        let counts = reference(&[
            write(0),
            write(10),
            read(400),
            read(420),
            write(500),
            read(560),
            write(1000),
            read(1300),
        ]);
        let counts = &counts[&flow];
        assert_eq!((counts.answered, counts.below_floor), (2, 1));
        assert_eq!(counts.answered_ns, (390 + 300) * US);
    }

    /// A thread whose coming to its CPU was not told has waited all the same: since before the request was read that another
    /// thread read, so it sends on its own account.
    #[test]
    fn who_sends_is_on_a_cpu_though_nobody_saw_it_come() {
        let flow = Flow {
            image: 1,
            peer: 2,
            port: 0,
            transport: UNIX,
            role: ACCEPTOR,
        };
        let event = |time_ns, tid, what| Event {
            time_ns,
            tid,
            cpu: 0,
            what,
        };
        let send = |began_ns| What::Send {
            connection: 1,
            bytes: 1,
            began_ns,
            known: true,
            flow,
        };
        let sleeps = |next_tid| What::Switch {
            off: Off::Sleep,
            next_tid,
        };
        let reads = What::Receive {
            connection: 1,
            bytes: 1,
            arrived_ns: 150,
            known: true,
            floor_ns: 0,
            from_unprompted: false,
            waits: false,
            flow,
        };
        let counts = reference(&[
            event(100, 9, send(90)),
            event(110, 9, sleeps(8)),
            event(200, 8, reads),
            event(210, 8, sleeps(69)),
            event(300, 9, send(290)),
        ]);
        assert_eq!(counts[&flow].ambiguous, 1);
    }
}
