//! Roundtrips, requests served, turnarounds and their parts, from single events: the rules of ARCHITECTURE.md once more,
//! written to be read, not to be fast. What the kernel programs add up is held against it.
//!
//! In: single events. Out: what each flow ought to have. Must not know: how the kernel programs do it.
//!
//! It differs from them in its means: a send takes its place where it began, not where it was told; the history of a
//! task's waits is kept whole, not as totals and the last few; nothing is shared between CPUs.

use std::collections::{BTreeMap, HashMap};

use crate::{
    event::{Event, Flow, Off, Task as Told, What},
    frame::PartsRaw,
};

const TCP: u8 = 1;
const UNIX: u8 = 3;
const INITIATOR: u8 = 1;
const ACCEPTOR: u8 = 2;
const SYN_SENT: u8 = 2;

/// What a flow ought to have; fields as in [`crate::frame::Flow`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages sent. The kernel books those from before the other end was known when it is, on the peer of then.
    pub messages_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Bytes sent; as above.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Initiator: roundtrips. Acceptor: requests served.
    pub answered: u64,
    /// Sum of their latencies or service times.
    pub answered_ns: u64,
    /// First turns of connections older than the attach.
    pub midlife_turns: u64,
    /// Receives that answer nothing: too soon after a send, or nobody prompted their sender.
    pub below_floor: u64,
    /// Turnarounds.
    pub turnarounds: u64,
    /// Their parts.
    pub parts: PartsRaw,
    /// Sends that no message prompted.
    pub unprompted: u64,
    /// Sum of the gaps before those.
    pub unprompted_ns: u64,
    /// Turnarounds that began in another thread.
    pub handovers: u64,
}

/// A wait: off the CPU, runnable again, on the CPU.
#[derive(Clone, Copy, Debug)]
struct Wait {
    off_ns: u64,
    wake_ns: u64,
    on_ns: u64,
    off: Off,
}

#[derive(Debug, Default)]
struct Task {
    tgid: u32,
    born_ns: u64,
    prompted: bool,
    /// All waits since its last send.
    waits: Vec<Wait>,
    /// The wait that goes on.
    waiting: Option<(u64, Off)>,
    wake_ns: u64,
    /// Waits that it asked for.
    voluntary: u64,
    /// When its last send began.
    sent_ns: u64,
    /// The first message since then: its arrival, and when it was read.
    prompt: Option<(u64, u64)>,
    /// The last message since then: its arrival, and `voluntary` when it was read.
    holds: Option<(u64, u64)>,
    /// A message that a thread of the same process held when it woke this one: its arrival, and the wake-up.
    handed: Option<Handed>,
}

#[derive(Clone, Copy, Debug)]
struct Handed {
    arrived_ns: u64,
    /// 0 if the task was not waiting.
    wake_ns: u64,
}

impl Task {
    /// How much of each wait lies in an interval; `read_ns` parts the sleep into queued and sleep.
    fn parts(&self, from_ns: u64, to_ns: u64, read_ns: u64) -> PartsRaw {
        let mut parts = PartsRaw::default();
        let within =
            |from: u64, to: u64, start: u64, end: u64| to.min(end).saturating_sub(from.max(start));
        for wait in &self.waits {
            let runnable = within(wait.wake_ns, wait.on_ns, from_ns, to_ns);
            let waited = within(wait.off_ns, wait.wake_ns, from_ns, to_ns);
            parts.run_queue_ns += runnable;
            if wait.off == Off::BlockIo {
                parts.block_io_ns += waited;
            } else {
                let unread = within(wait.off_ns, wait.wake_ns, from_ns, to_ns.min(read_ns));
                parts.queued_ns += unread;
                parts.sleep_ns += waited - unread;
            }
        }
        let off = parts.run_queue_ns + parts.block_io_ns + parts.queued_ns + parts.sleep_ns;
        parts.on_cpu_ns = (to_ns - from_ns).saturating_sub(off);
        parts
    }

    fn leaves(&mut self, time_ns: u64, off: Off) {
        self.waiting = Some((time_ns, off));
        if off != Off::RunQueue {
            self.voluntary += 1;
        }
    }

    fn comes(&mut self, on_ns: u64) {
        let Some((off_ns, off)) = self.waiting.take() else {
            return;
        };
        // A wake-up from before it left ended the wait at once.
        let woken = off != Off::RunQueue && self.wake_ns >= off_ns;
        let wake_ns = if woken { self.wake_ns } else { off_ns };
        self.waits.push(Wait {
            off_ns,
            wake_ns: wake_ns.min(on_ns),
            on_ns,
            off,
        });
    }
}

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
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    began_ns: u64,
    /// Nothing that arrived earlier can answer it.
    after_ns: u64,
}

/// One step of the calculation: a send is two, one where it began and one where its thread was done with it.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Begins(&'a Event),
    Happens(&'a Event),
}

impl Step<'_> {
    fn time_ns(&self) -> u64 {
        match self {
            Self::Begins(event) => match event.what {
                What::Send { began_ns, .. } => began_ns,
                _ => event.time_ns,
            },
            Self::Happens(event) => event.time_ns,
        }
    }
}

#[derive(Debug, Default)]
struct Model {
    tasks: HashMap<u32, Task>,
    /// When each CPU switched last.
    switched: HashMap<u16, u64>,
    connections: HashMap<u64, Connection>,
    /// The unanswered request that each send found when it began, by its thread.
    found: HashMap<u32, Option<u64>>,
    counts: BTreeMap<Flow, Counts>,
}

/// What each flow ought to have after these events, which are in the order of time and begin at the attach.
#[must_use]
pub fn reference(events: &[Event]) -> BTreeMap<Flow, Counts> {
    let mut steps = Vec::with_capacity(events.len());
    let mut model = Model::default();
    for event in events {
        if let What::Connection(told) = &event.what {
            let connection = model.connections.entry(told.number);
            connection.or_insert_with(|| Connection {
                midlife: told.midlife,
                ..Connection::default()
            });
        }
        if matches!(event.what, What::Send { .. }) {
            steps.push(Step::Begins(event));
        }
        steps.push(Step::Happens(event));
    }
    steps.sort_by_key(Step::time_ns);
    for step in steps {
        match step {
            Step::Begins(event) => model.send_begins(event),
            Step::Happens(event) => model.happens(event),
        }
    }
    model.counts
}

impl Model {
    fn happens(&mut self, event: &Event) {
        let now = event.time_ns;
        match &event.what {
            What::Task(told) => self.told(event.tid, told),
            What::Switch { off, next_tid } => {
                if event.tid != 0 {
                    self.runs(event);
                    self.task(event.tid).leaves(now, *off);
                }
                self.switched.insert(event.cpu, now);
                if *next_tid != 0 {
                    self.task(*next_tid).comes(now);
                }
            }
            What::Wake { tid, waited } => self.wakes(event.tid, *tid, *waited, now),
            What::Send { began_ns, flow, .. } => {
                self.runs(event);
                self.sent(event.tid, *began_ns, *flow);
            }
            What::Receive { arrived_ns, .. } => {
                self.runs(event);
                self.receive(event);
                let task = self.task(event.tid);
                task.prompted = true;
                task.holds = Some((*arrived_ns, task.voluntary));
                task.prompt.get_or_insert((*arrived_ns, now));
            }
            What::State {
                connection, after, ..
            } if *after == SYN_SENT => {
                // The same socket may have been connected before.
                let connection = self.connections.entry(*connection).or_default();
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
            _ => {}
        }
    }

    /// Whoever does something is on a CPU. If nobody saw it come, it came with the last switch that was seen there: some
    /// kernels run no tracing program while certain tasks run, and the switch away from those is missing.
    fn runs(&mut self, event: &Event) {
        let switched_ns = self.switched.get(&event.cpu).copied();
        let task = self.task(event.tid);
        if let Some((off_ns, _)) = task.waiting {
            task.comes(switched_ns.unwrap_or(event.time_ns).max(off_ns));
        }
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
    fn send_begins(&mut self, event: &Event) {
        let What::Send {
            connection,
            bytes,
            began_ns,
            known,
            flow,
        } = event.what
        else {
            return;
        };
        let prompted = self.task(event.tid).prompted;
        let connection = self.connections.entry(connection).or_default();
        let counts = self.counts.entry(flow).or_default();
        counts.bytes_sent += u64::from(bytes);
        let unanswered = connection.pending.filter(|_| flow.role == ACCEPTOR);
        self.found.insert(event.tid, unanswered);
        if connection.last_was_send != Some(true) {
            counts.messages_sent += 1;
            let first_turn = connection.midlife && connection.last_was_send == Some(false);
            connection.midlife &= !first_turn;
            // On a Unix socket, whoever was never prompted answers nothing.
            if let Some(arrived_ns) = unanswered
                && (flow.transport != UNIX || prompted)
            {
                if first_turn {
                    counts.midlife_turns += 1;
                } else {
                    counts.answered += 1;
                    counts.answered_ns += began_ns.saturating_sub(arrived_ns);
                }
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
    fn receive(&mut self, event: &Event) {
        let What::Receive {
            connection,
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
        let connection = self.connections.entry(connection).or_default();
        let counts = self.counts.entry(flow).or_default();
        counts.bytes_received += u64::from(bytes);
        let turns = connection.last_was_send != Some(false);
        let first_turn = turns && connection.midlife && connection.last_was_send == Some(true);
        if turns {
            counts.messages_received += 1;
            connection.received_ns = arrived_ns;
            connection.last_was_send = Some(false);
            connection.midlife &= !first_turn;
        }
        if let Some(sent) = connection.awaiting.filter(|_| flow.role == INITIATOR) {
            // Where the kernel tells neither the send's start nor the arrival, either may be late.
            let too_early = arrived_ns < sent.after_ns && (flow.transport == TCP || !known);
            let latency_ns = arrived_ns.saturating_sub(sent.began_ns);
            if too_early || latency_ns < u64::from(floor_ns) || from_unprompted {
                counts.below_floor += 1;
            } else {
                connection.awaiting = None;
                if first_turn {
                    counts.midlife_turns += 1;
                } else {
                    counts.answered += 1;
                    counts.answered_ns += latency_ns;
                }
            }
        }
        if connection.pending.is_none() {
            connection.pending = Some(arrived_ns);
            connection.received_ns = arrived_ns;
        }
    }

    /// What a send means to its thread: the end of a turnaround, or of a gap that nothing prompted.
    fn sent(&mut self, tid: u32, sent_ns: u64, flow: Flow) {
        let unanswered = self.found.remove(&tid).flatten();
        let task = self.tasks.entry(tid).or_default();
        let counts = self.counts.entry(flow).or_default();
        let handed = task.handed.filter(|handed| handed.arrived_ns != 0);
        let handover_ns = unanswered.or(handed.map(|handed| handed.arrived_ns));
        if let Some((arrived_ns, read_ns)) = task.prompt {
            // What arrived before the task was born, nobody had till then.
            let unborn_ns = task.born_ns.saturating_sub(arrived_ns);
            let from_ns = arrived_ns.max(task.sent_ns).max(task.born_ns).min(sent_ns);
            let mut parts = task.parts(from_ns, sent_ns, read_ns);
            parts.queued_ns += if sent_ns > from_ns { unborn_ns } else { 0 };
            counts.book(&parts);
        } else if let Some(arrived_ns) = handover_ns.filter(|arrived_ns| *arrived_ns < sent_ns) {
            counts.handovers += 1;
            // It took over when it was woken for it; else it had been busy with something else, or was not there yet.
            let wake_ns = task.handed.map_or(0, |handed| handed.wake_ns);
            let candidates = [wake_ns, task.sent_ns, task.born_ns];
            let taken_ns = candidates.into_iter().find(|taken| *taken > arrived_ns);
            let taken_ns = taken_ns.unwrap_or(arrived_ns).min(sent_ns);
            let mut parts = task.parts(taken_ns, sent_ns, 0);
            parts.queued_ns += taken_ns - arrived_ns;
            counts.book(&parts);
        } else {
            counts.unprompted += 1;
            if task.sent_ns != 0 {
                counts.unprompted_ns += sent_ns.saturating_sub(task.sent_ns);
            }
        }
        task.sent_ns = task.sent_ns.max(sent_ns);
        task.prompt = None;
        task.holds = None;
        task.handed = None;
        let since = task.sent_ns;
        task.waits.retain(|wait| wait.on_ns > since);
    }
}

impl Counts {
    fn book(&mut self, parts: &PartsRaw) {
        self.turnarounds += 1;
        self.parts.on_cpu_ns += parts.on_cpu_ns;
        self.parts.run_queue_ns += parts.run_queue_ns;
        self.parts.block_io_ns += parts.block_io_ns;
        self.parts.sleep_ns += parts.sleep_ns;
        self.parts.queued_ns += parts.queued_ns;
    }
}
