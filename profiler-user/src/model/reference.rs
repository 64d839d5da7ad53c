//! Roundtrips, requests served, turnarounds and their parts, from single events: the rules of ARCHITECTURE.md once more,
//! written to be read, not to be fast. What the kernel programs add up is held against it, and windows of another length
//! are made with it.
//!
//! In: single events. Out: what each flow ought to have, step by step or in all. Must not know: how the kernel programs
//! do it, windows.
//!
//! It differs from them in its means: a send takes its place where it began, not where it was told; the history of a
//! task's waits is kept whole, not as totals and the last few; nothing is shared between CPUs.

mod task;

use std::collections::{BTreeMap, VecDeque};

use foldhash::HashMap;

use self::task::{Handed, Task};
pub use super::books::Counts;
use super::books::{Booked, Books};
use crate::{
    event::{Event, Flow, Off, Task as Told, What},
    frame::PartsRaw,
};

const TCP: u8 = 1;
const UNIX: u8 = 3;
const INITIATOR: u8 = 1;
const ACCEPTOR: u8 = 2;
const SYN_SENT: u8 = 2;
const CLOSED: u8 = 7;

#[derive(Debug, Default)]
struct Connection {
    /// Whether the last transfer was a send.
    last_was_send: Option<bool>,
    midlife: bool,
    /// Arrival of a message that this end has not answered.
    pending: Option<u64>,
    /// Arrival of the last message received.
    received_ns: u64,
    /// A message sent that the other end has not answered.
    awaiting: Option<Sent>,
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    began_ns: u64,
    /// Nothing that arrived earlier can answer it.
    after_ns: u64,
}

/// One step of the calculation: a send is two, one where it began and one where its thread was done with it.
#[derive(Clone, Debug)]
struct Step {
    time_ns: u64,
    event: Event,
    begins: bool,
}

#[derive(Debug)]
struct Model {
    tasks: HashMap<u32, Task>,
    /// When each CPU switched last, by its number; 0 for never.
    switched: Vec<u64>,
    connections: HashMap<u64, Connection>,
    /// The unanswered request that each send found when it began, by its thread.
    found: HashMap<u32, Option<u64>>,
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
    /// In the order of time.
    steps: VecDeque<Step>,
    newest_ns: u64,
}

/// How long a step waits for sends that began before it and have not ended. One that lasts longer takes its place late.
const PATIENCE_NS: u64 = 1_000_000_000;
/// Steps that wait, at most.
const PATIENCE: usize = 1 << 18;
/// Steps among which the place of a new one is looked for first.
const NEAR: usize = 32;
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
                found: HashMap::default(),
                keep_waits,
                gone: VecDeque::new(),
            },
            steps: VecDeque::new(),
            newest_ns: 0,
        }
    }

    /// Takes the next event; they come in the order of time and begin at the attach.
    pub(super) fn add(&mut self, event: Event) {
        match &event.what {
            What::Connection(told) => {
                let connection = self.model.connections.entry(told.number);
                connection.or_insert_with(|| Connection {
                    midlife: told.midlife,
                    ..Connection::default()
                });
            }
            What::Send { began_ns, .. } => {
                let at = self.place(*began_ns);
                let begins = Step {
                    time_ns: *began_ns,
                    event: event.clone(),
                    begins: true,
                };
                self.steps.insert(at, begins);
            }
            _ => {}
        }
        self.newest_ns = self.newest_ns.max(event.time_ns);
        let at = self.place(event.time_ns);
        let happens = Step {
            time_ns: event.time_ns,
            event,
            begins: false,
        };
        self.steps.insert(at, happens);
    }

    /// Behind all steps up to this time: nearly always among the last few.
    fn place(&self, time_ns: u64) -> usize {
        let later = self.steps.iter().rev().take(NEAR);
        let later = later.take_while(|step| step.time_ns > time_ns).count();
        if later < NEAR {
            return self.steps.len() - later;
        }
        self.steps.partition_point(|step| step.time_ns <= time_ns)
    }

    /// When the next step happens; `None` if there is none, or something that came first may still be told. At the end
    /// nothing can.
    #[must_use]
    pub(super) fn next_ns(&self, at_end: bool) -> Option<u64> {
        let first = self.steps.front()?.time_ns;
        let waited = self.newest_ns.saturating_sub(first) > PATIENCE_NS;
        (at_end || waited || self.steps.len() > PATIENCE).then_some(first)
    }

    /// Takes the next step; returns what happened, if it is not the beginning of a send.
    pub(super) fn step(&mut self, books: &mut impl Books) -> Option<Event> {
        let step = self.steps.pop_front()?;
        if step.begins {
            self.model.send_begins(&step.event, books);
            return None;
        }
        self.model.happens(&step.event, books);
        Some(step.event)
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
    fn happens(&mut self, event: &Event, books: &mut impl Books) {
        let now = event.time_ns;
        self.forget(now);
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
            What::Wake { tid, waited } => self.wakes(event.tid, *tid, *waited, now),
            What::Send {
                began_ns,
                flow,
                connection,
                ..
            } => {
                self.runs(event);
                self.sent(event.tid, *began_ns, *flow, *connection, books);
            }
            What::Receive { arrived_ns, .. } => {
                self.runs(event);
                self.receive(event, books);
                let task = self.task(event.tid);
                task.prompted = true;
                task.holds = Some((*arrived_ns, task.voluntary));
                if task.prompt.is_none() {
                    task.prompt = Some((*arrived_ns, now));
                    task.waits_back = task.waits_since(task.turnaround_start_ns(*arrived_ns));
                }
            }
            What::State {
                connection, after, ..
            } if *after == SYN_SENT => {
                // The same socket may have been connected before.
                let connection = self.connections.entry(*connection).or_default();
                connection.closed = false;
                connection.last_was_send = None;
                connection.pending = None;
                connection.awaiting = None;
            }
            What::Fork { tid, tgid, .. } => {
                let prompted = self.task(event.tid).prompted;
                let child = Task {
                    tgid: *tgid,
                    born_ns: now,
                    prompted,
                    waiting: Some((now, Off::RunQueue)),
                    ..Task::default()
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
    fn runs(&mut self, event: &Event) -> &mut Task {
        let switched_ns = self.switched.get(usize::from(event.cpu)).copied();
        let task = self.tasks.entry(event.tid).or_default();
        if let Some((off_ns, _)) = task.waiting {
            let switched_ns = switched_ns.filter(|ns| *ns != 0);
            task.comes(switched_ns.unwrap_or(event.time_ns).max(off_ns));
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

    fn task(&mut self, tid: u32) -> &mut Task {
        self.tasks.entry(tid).or_default()
    }

    /// A task is seen for the first time; what it is told with again is known.
    fn told(&mut self, tid: u32, told: &Told) {
        let task = self.tasks.entry(tid).or_insert_with(|| Task {
            prompted: told.prompted,
            waiting: (told.off_ns != 0).then_some((told.off_ns, told.off)),
            wake_ns: told.wake_ns,
            ..Task::default()
        });
        task.tgid = told.tgid;
        task.born_ns = told.born_ns;
    }

    fn wakes(&mut self, waker: u32, woken: u32, waited: bool, now: u64) {
        let (tgid, prompted, holds) = {
            let waker = self.task(waker);
            // Until it waits, whoever it wakes may be given the message.
            let holds = waker.holds.filter(|(_, read)| *read == waker.voluntary);
            (waker.tgid, waker.prompted, holds)
        };
        let task = self.task(woken);
        if waited {
            task.wake_ns = now;
        }
        if waker == 0 || task.tgid != tgid {
            return;
        }
        task.prompted |= prompted;
        let before = task.handed.map_or(0, |handed| handed.wake_ns);
        if let Some((arrived_ns, _)) = holds
            && before < arrived_ns
        {
            let wake_ns = if waited { now } else { before };
            task.handed = Some(Handed {
                arrived_ns,
                wake_ns,
            });
        }
    }

    /// What a send means to its connection.
    fn send_begins(&mut self, event: &Event, books: &mut impl Books) {
        let What::Send {
            connection: number,
            bytes,
            began_ns,
            known,
            flow,
        } = event.what
        else {
            return;
        };
        let task = self.task(event.tid);
        let (prompted, is_ambiguous) = (task.prompted, task.open.len() > 1);
        let connection = self.connections.entry(number).or_default();
        let unanswered = connection.pending.filter(|_| flow.role == ACCEPTOR);
        self.found.insert(event.tid, unanswered);
        let turns = connection.last_was_send != Some(true);
        let sent = Booked::Sent {
            bytes,
            message: turns,
        };
        books.book(number, flow, sent);
        if turns {
            if flow.role == INITIATOR && is_ambiguous {
                books.book(number, flow, Booked::Ambiguous);
            }
            let first_turn = connection.midlife && connection.last_was_send == Some(false);
            connection.midlife &= !first_turn;
            // On a Unix socket, whoever was never prompted answers nothing.
            if let Some(arrived_ns) = unanswered
                && (flow.transport != UNIX || prompted)
            {
                let service_ns = began_ns.saturating_sub(arrived_ns);
                books.book(number, flow, answered(first_turn, service_ns));
            }
            connection.last_was_send = Some(true);
        }
        connection.pending = None;
        let known = known || flow.transport == TCP;
        connection.awaiting = Some(Sent {
            began_ns,
            after_ns: if known {
                began_ns
            } else {
                connection.received_ns
            },
        });
    }

    /// What a receive means to its connection.
    fn receive(&mut self, event: &Event, books: &mut impl Books) {
        let What::Receive {
            connection: number,
            bytes,
            arrived_ns,
            known,
            floor_ns,
            from_unprompted,
            flow,
        } = event.what
        else {
            return;
        };
        let connection = self.connections.entry(number).or_default();
        books.book(number, flow, Booked::Received { bytes });
        let turns = connection.last_was_send != Some(false);
        let first_turn = turns && connection.midlife && connection.last_was_send == Some(true);
        if turns {
            let queued_ns = event.time_ns.saturating_sub(arrived_ns);
            books.book(number, flow, Booked::Message { queued_ns, known });
            connection.received_ns = arrived_ns;
            connection.last_was_send = Some(false);
            connection.midlife &= !first_turn;
        }
        if let Some(sent) = connection.awaiting.filter(|_| flow.role == INITIATOR) {
            // Where the kernel tells neither the send's start nor the arrival, either may be late.
            let too_early = arrived_ns < sent.after_ns && (flow.transport == TCP || !known);
            let latency_ns = arrived_ns.saturating_sub(sent.began_ns);
            if too_early || latency_ns < u64::from(floor_ns) || from_unprompted {
                books.book(number, flow, Booked::BelowFloor);
            } else {
                connection.awaiting = None;
                books.book(number, flow, answered(first_turn, latency_ns));
            }
        }
        if connection.pending.is_none() {
            connection.pending = Some(arrived_ns);
            connection.received_ns = arrived_ns;
            if flow.role == ACCEPTOR {
                self.task(event.tid).opens(number);
            }
        }
    }

    /// What a send means to its thread: the end of a turnaround, or of a gap that nothing prompted.
    fn sent(&mut self, tid: u32, sent_ns: u64, flow: Flow, number: u64, books: &mut impl Books) {
        let unanswered = self.found.remove(&tid).flatten();
        let task = self.tasks.entry(tid).or_default();
        let mut book = |what| books.book(number, flow, what);
        let handed = task.handed.filter(|handed| handed.arrived_ns != 0);
        let handover_ns = unanswered.or(handed.map(|handed| handed.arrived_ns));
        if let Some((arrived_ns, read_ns)) = task.prompt {
            // Of what arrived before it sent last, it had its share then.
            let before_ns = if arrived_ns > task.sent_ns {
                arrived_ns
            } else {
                task.born_ns
            };
            let unborn_ns = task.born_ns.saturating_sub(before_ns);
            let from_ns = task.turnaround_start_ns(arrived_ns).min(sent_ns);
            let mut parts = task.parts(from_ns, sent_ns, read_ns);
            parts.queued_ns += if sent_ns > from_ns { unborn_ns } else { 0 };
            book(Booked::Turnaround(parts));
            book(Booked::WaitsBack(
                task.waits_back.max(task.waits_since(sent_ns)),
            ));
        } else if let Some(arrived_ns) = handover_ns.filter(|arrived_ns| *arrived_ns < sent_ns) {
            book(Booked::Handover);
            // It took over when it was woken for it; else it had been busy with something else, or was not there yet.
            let wake_ns = task.handed.map_or(0, |handed| handed.wake_ns);
            let candidates = [wake_ns, task.sent_ns, task.born_ns];
            let taken_ns = candidates.into_iter().find(|taken| *taken > arrived_ns);
            let taken_ns = taken_ns.unwrap_or(arrived_ns).min(sent_ns);
            let mut parts = task.parts(taken_ns, sent_ns, 0);
            parts.queued_ns += taken_ns - arrived_ns;
            book(Booked::Turnaround(parts));
            let known_ns = if taken_ns > arrived_ns {
                sent_ns
            } else {
                arrived_ns
            };
            book(Booked::WaitsBack(task.waits_since(known_ns)));
        } else {
            let gap_ns = match task.sent_ns {
                0 => 0,
                before => sent_ns.saturating_sub(before),
            };
            book(Booked::Unprompted(gap_ns));
        }
        task.sent_ns = task.sent_ns.max(sent_ns);
        task.prompt = None;
        task.holds = None;
        task.handed = None;
        task.folded = PartsRaw::default();
        task.open.retain(|open| *open != number);
        let since = task.sent_ns;
        task.waits.retain(|wait| wait.on_ns > since);
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

fn answered(first_turn: bool, ns: u64) -> Booked {
    if first_turn {
        Booked::MidlifeTurn
    } else {
        Booked::Answered(ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            flow,
        };
        let counts = reference(&[
            event(100, 7, made),
            event(100, 7, runs),
            event(200, 8, send(200)),
            event(300, 8, reads),
            event(400, 8, send(400)),
        ]);
        let parts = PartsRaw {
            on_cpu_ns: 200,
            ..PartsRaw::default()
        };
        assert_eq!(counts[&flow].turnarounds, 1);
        assert_eq!(counts[&flow].parts, parts);
    }
}
