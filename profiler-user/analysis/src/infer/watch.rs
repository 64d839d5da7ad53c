//! What happens, event by event: each process's sends, receives and waits, and what its threads did between.
//!
//! In: single events with what earlier ones told. Out: processes, links, segments. Must not know: which processes are the
//! application, how anything is told.

use std::{collections::BTreeMap, rc::Rc};

use courtside_core::{
    event::{Connection, Event, Flow, What},
    model::resolve::{ComponentName, ResolvedEvent},
};
use foldhash::HashMap;

use super::{
    booking::{Booking, For},
    court::{Epochs, Packets, Queued},
    lanes::Who,
    links::Links,
    matrix::Pair,
    rounds::{Bins, Gaps},
    segments::{Op, Segments},
    threads::{MOST_PIECES, NOBODY, Piece, Sums, Thread, Threads},
};

const TCP: u8 = 1;
const CLOSED: u8 = 7;
/// Processes that are told apart, at most.
const MOST_PROCESSES: usize = 1 << 16;
/// Time between two updates of who talks to whom.
pub(super) const UPDATE_NS: u64 = 1_000_000_000;
/// Pairs in all updates together that are kept, at most.
const MOST_UPDATED: usize = 1 << 20;
/// Updates that are kept, at most.
pub(super) const MOST_UPDATES: usize = 1 << 17;
/// What is read so soon after it arrived, without sleep, was looked for.
const AT_ONCE_NS: u64 = 50_000;
/// Tasks that announced data, at most.
const MOST_ANNOUNCED: usize = 1 << 16;

/// A process.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    pub(super) tgid: u32,
    pub(super) name: Option<Rc<str>>,
    pub(super) component: Option<Rc<ComponentName>>,
    pub(super) threads: u64,
    /// How long its threads were there, all together.
    pub(super) thread_ns: u64,
    pub(super) sums: Sums,
    /// Switches of its threads by their own will since they have talked.
    pub(super) sleeps: u64,
    /// From a send or receive to the arrival of what was read at once then, without sleep: it must have looked for it.
    pub(super) polled_ns: u64,
    pub(super) sends: u64,
    pub(super) reads: u64,
    /// Its first and its last message.
    pub(super) spoke: Option<(u64, u64)>,
    pub(super) rtt_ns: u64,
    pub(super) gaps: Gaps,
    /// A receive put a thread to sleep, and nothing was sent since.
    blocked: bool,
    pub(super) blocking: u64,
    pub(super) turns: u64,
    pub(super) bins: Option<Bins>,
    packets: Packets,
    queued: Queued,
    pub(super) court: [u64; 2],
    pub(super) epochs: Epochs,
}

impl Process {
    /// It has a message that began and ended then.
    fn speaks(&mut self, from_ns: u64, to_ns: u64) {
        let (first_ns, last_ns) = self.spoke.unwrap_or((from_ns, to_ns));
        self.spoke = Some((first_ns.min(from_ns), last_ns.max(to_ns)));
    }
}

/// Everything that is known so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    pub(super) processes: Vec<Process>,
    by_tgid: HashMap<u32, u32>,
    threads: Threads,
    pub(super) links: Links,
    pub(super) segments: Segments,
    announced: HashMap<u32, u64>,
    /// Bytes by pair, update after update from the first message on.
    pub(super) updates: Vec<BTreeMap<Pair, u64>>,
    updated: usize,
    /// So long after the first event there was no room for updates any more.
    pub(super) updated_ns: Option<u64>,
    pub(super) first_ns: Option<u64>,
    pub(super) last_ns: u64,
    pub(super) events: u64,
    /// A window was recorded with all that tells who looks in vain.
    pub(super) sees_looks: bool,
    /// What a CPU quota held back is not told in all windows.
    pub(super) misses_quotas: bool,
}

impl Watch {
    /// The next event.
    pub(super) fn event(&mut self, event: &Event, resolved: &ResolvedEvent) {
        let (now_ns, tid, cpu) = (event.time_ns, event.tid, event.cpu);
        self.events += 1;
        self.first_ns.get_or_insert(now_ns);
        self.last_ns = self.last_ns.max(now_ns);
        match &event.what {
            What::Task(task) => {
                let process = self.process(task.tgid, tid, resolved);
                let off = (task.off_ns != 0).then_some((task.off, task.wake_ns > task.off_ns));
                self.threads.told(tid, process, off, now_ns);
            }
            What::Connection(told) => self.links.told(told),
            What::Switch { off, next_tid } => {
                let process = self.process_of(tid, resolved);
                let gone = self
                    .threads
                    .switch(cpu, now_ns, (tid, process), *off, *next_tid);
                if let Some(gone) = gone {
                    self.close(gone);
                }
                self.relieve(tid);
            }
            What::Wake { tid: woken, .. } => {
                let by = self.process_of(tid, resolved);
                self.threads.wake(*woken, by, cpu, now_ns);
            }
            What::Arrival { connection } => self.arrival(tid, cpu, now_ns, *connection, resolved),
            What::Send {
                connection,
                bytes,
                began_ns,
                flow,
                ..
            } => {
                self.knows(resolved);
                let process = self.acts(tid, cpu, now_ns, resolved);
                let announced = self.announced.remove(&tid);
                if let Some(to) = announced.filter(|_| flow.transport != TCP) {
                    self.links.pair(*connection, to);
                }
                if process != NOBODY {
                    let began_ns = (*began_ns).min(now_ns);
                    self.send((tid, process), now_ns, began_ns, *connection, *bytes);
                }
                self.looks(tid, None);
            }
            What::Receive {
                connection,
                bytes,
                arrived_ns,
                known,
                floor_ns,
                flow,
                ..
            } => {
                self.knows(resolved);
                let process = self.acts(tid, cpu, now_ns, resolved);
                if process != NOBODY {
                    let arrived = ((*arrived_ns).min(now_ns), *known);
                    let rtt_ns = rtt(*flow, *floor_ns);
                    self.receive((tid, process), now_ns, arrived, *connection, *bytes, rtt_ns);
                }
                self.looks(tid, None);
            }
            What::State {
                connection, after, ..
            } => {
                if *after == CLOSED {
                    self.links.close(*connection, now_ns);
                }
            }
            What::Fork { tid: new, tgid, .. } => {
                let process = self.process(*tgid, *new, &ResolvedEvent::default());
                let parent = resolved.comm.clone();
                if let Some(process) = self.processes.get_mut(process as usize)
                    && process.name.is_none()
                {
                    process.name = parent;
                    process.component.clone_from(&resolved.component);
                }
                if let Some(before) = self.threads.fork(*new, process, now_ns) {
                    self.close(before);
                }
            }
            What::Exec { old_tid, .. } => {
                self.threads.exec(*old_tid, tid);
                if let Some(tgid) = resolved.tgid {
                    self.process(tgid, tid, resolved);
                }
            }
            What::Exit => self.threads.exit(tid, now_ns),
            What::Look { first_ns } => {
                self.acts(tid, cpu, now_ns, resolved);
                self.looks(tid, Some(*first_ns));
            }
            What::Throttled { ns } => {
                if let Some(thread) = self.threads.get(tid) {
                    let sum = &mut thread.sums.throttled_ns;
                    *sum = sum.saturating_add(*ns);
                }
            }
            What::DiskStart(_) | What::DiskEnd { .. } => {}
        }
    }

    /// What is older than the first window was told before it: whose connection it is, earlier events have said.
    fn knows(&mut self, resolved: &ResolvedEvent) {
        if let Some(connection) = &resolved.connection {
            self.links.known(connection);
        }
    }

    /// A thread looks for messages again and again since then, or not any more.
    fn looks(&mut self, tid: u32, since_ns: Option<u64>) {
        if let Some(thread) = self.threads.get(tid) {
            (thread.looks_ns, thread.looked_ns) = (since_ns, 0);
        }
    }

    /// The process of a thread, by what is known of it; its name and component are those of its leader.
    fn process(&mut self, tgid: u32, tid: u32, resolved: &ResolvedEvent) -> u32 {
        let known = self.by_tgid.get(&tgid).copied();
        let number = known.unwrap_or_else(|| {
            if self.processes.len() >= MOST_PROCESSES {
                return NOBODY;
            }
            let number = u32::try_from(self.processes.len()).unwrap_or(NOBODY);
            self.processes.push(Process {
                tgid,
                ..Process::default()
            });
            self.by_tgid.insert(tgid, number);
            self.links.books.lanes.process(tgid, number);
            number
        });
        if let Some(process) = self.processes.get_mut(number as usize) {
            if (tid == tgid || process.name.is_none()) && resolved.comm.is_some() {
                process.name.clone_from(&resolved.comm);
            }
            if resolved.component.is_some() {
                process.component.clone_from(&resolved.component);
            }
        }
        number
    }

    fn process_of(&self, tid: u32, resolved: &ResolvedEvent) -> u32 {
        let tgid = resolved.tgid.filter(|_| tid != 0);
        let known = tgid.and_then(|tgid| self.by_tgid.get(&tgid));
        known.copied().unwrap_or(NOBODY)
    }

    /// A thread does something: whose it is.
    fn acts(&mut self, tid: u32, cpu: u16, now_ns: u64, resolved: &ResolvedEvent) -> u32 {
        let mut process = self.process_of(tid, resolved);
        if process == NOBODY
            && tid != 0
            && let Some(tgid) = resolved.tgid
        {
            process = self.process(tgid, tid, resolved);
        }
        self.threads.acts(tid, process, cpu, now_ns);
        process
    }

    fn arrival(
        &mut self,
        tid: u32,
        cpu: u16,
        now_ns: u64,
        connection: u64,
        resolved: &ResolvedEvent,
    ) {
        self.threads.arrival(cpu, now_ns, connection);
        let told: Option<&Connection> = resolved.connection.as_deref();
        if told.is_some_and(|told| told.flow.transport != TCP) {
            if self.announced.len() >= MOST_ANNOUNCED {
                self.announced.clear();
            }
            self.announced.insert(tid, connection);
        }
        let owner = self.links.owner(connection);
        if let Some(process) = owner.and_then(|owner| self.processes.get_mut(owner as usize)) {
            process.packets.came(now_ns);
        }
    }

    fn send(
        &mut self,
        (tid, number): (u32, u32),
        now_ns: u64,
        began_ns: u64,
        connection: u64,
        bytes: u32,
    ) {
        let Some((link_number, end)) = self.links.sent(connection, number, began_ns, bytes) else {
            return;
        };
        let who = Who {
            process: number,
            tid,
        };
        let lanes = &mut self.links.books.lanes;
        lanes.sent(link_number, end, who, began_ns, bytes.into());
        self.settle(
            tid,
            now_ns,
            For::Send {
                link: link_number,
                end,
                began_ns,
            },
        );
        let (Some(process), Some(link)) = (
            self.processes.get_mut(number as usize),
            self.links.link(link_number),
        ) else {
            return;
        };
        process.speaks(began_ns, now_ns);
        process.sends += 1;
        process.gaps.send(began_ns, process.rtt_ns);
        if std::mem::take(&mut process.blocked) {
            process.blocking += 1;
        }
        let by_packets = process.packets.own(began_ns);
        let by_queue = process.queued.send(began_ns);
        for (sum, ns) in process.court.iter_mut().zip([by_packets, by_queue]) {
            *sum = sum.saturating_add(ns);
        }
        for (sum, ns) in link.court.iter_mut().zip([by_packets, by_queue]) {
            *sum = sum.saturating_add(ns);
        }
        process.epochs.add(by_queue);
        if link.seen_reads != process.reads {
            link.seen_reads = process.reads;
            link.turns += 1;
            if link.turns > process.turns {
                process.turns = link.turns;
                process.epochs.end();
                let bins = process.bins.get_or_insert_with(|| Bins::new(began_ns));
                bins.add(began_ns);
            }
        }
    }

    fn receive(
        &mut self,
        (tid, number): (u32, u32),
        now_ns: u64,
        arrived: (u64, bool),
        connection: u64,
        bytes: u32,
        rtt_ns: u32,
    ) {
        let read = self.links.read(connection, number, arrived, rtt_ns, bytes);
        let Some((link_number, first, end)) = read else {
            return;
        };
        let who = Who {
            process: number,
            tid,
        };
        let lanes = &mut self.links.books.lanes;
        lanes.read(link_number, end, who, arrived.0, now_ns);
        let (slept, called_ns) = self.settle(
            tid,
            now_ns,
            For::Receive {
                link: link_number,
                first,
                end,
                arrived_ns: arrived.0,
            },
        );
        if let Some(process) = self.processes.get_mut(number as usize) {
            process.speaks(arrived.0, now_ns);
            // Nobody who looks only now and then is there as soon as the data.
            if !slept && arrived.1 && now_ns.saturating_sub(arrived.0) < AT_ONCE_NS {
                let looked_ns = arrived.0.saturating_sub(called_ns);
                process.polled_ns = process.polled_ns.saturating_add(looked_ns);
            }
            process.reads += 1;
            process.gaps.receive();
            process.blocked |= slept;
            process.queued.read(arrived.0);
            if rtt_ns > 0 && (process.rtt_ns == 0 || u64::from(rtt_ns) < process.rtt_ns) {
                process.rtt_ns = rtt_ns.into();
            }
        }
        let from = self.links.link(link_number).and_then(|link| link.from);
        if let Some(from) = from.filter(|from| *from != number) {
            self.update(now_ns, (from, number), bytes);
        }
    }

    /// Bytes came from one process to another.
    fn update(&mut self, now_ns: u64, pair: Pair, bytes: u32) {
        let first_ns = self.first_ns.unwrap_or(now_ns);
        let since_ns = now_ns.saturating_sub(first_ns);
        let place = usize::try_from(since_ns / UPDATE_NS).unwrap_or(MOST_UPDATES);
        if self.updated >= MOST_UPDATED || place >= MOST_UPDATES {
            self.updated_ns.get_or_insert(since_ns);
            return;
        }
        if self.updates.len() <= place {
            self.updates.resize(place + 1, BTreeMap::new());
        }
        if let Some(update) = self.updates.get_mut(place) {
            let sum = update.entry(pair).or_insert_with(|| {
                self.updated += 1;
                0
            });
            *sum = sum.saturating_add(bytes.into());
        }
    }

    /// Says what the pieces since the last send or receive were for; whether the thread slept for a message,
    /// and when its send or receive before ended.
    fn settle(&mut self, tid: u32, now_ns: u64, what: For) -> (bool, u64) {
        let Some(thread) = self.threads.get(tid) else {
            return (true, now_ns);
        };
        let called_ns = std::mem::replace(&mut thread.called_ns, now_ns);
        thread.complete(now_ns);
        let first = thread.track.is_none();
        let process = thread.process;
        let mut pieces = std::mem::take(&mut thread.pieces);
        let slept = Booking::new(&mut self.links, &mut self.segments, thread, what).all(&pieces);
        pieces.clear();
        thread.pieces = pieces;
        if first {
            // What it did before it talked for the first time is no segment.
            thread.queue_ns = 0;
            thread.track = self.segments.begin(process, tid, now_ns);
            let op = match what {
                For::Nothing => return (slept, called_ns),
                For::Send { link, end, .. } => Op::Send { link, end },
                For::Receive { link, end, .. } => Op::Receive {
                    link,
                    end,
                    waited_ns: 0,
                },
            };
            self.segments.push(thread.track, now_ns, op);
        }
        (slept, called_ns)
    }

    /// A thread that has many pieces and no message: the older ones were for none.
    fn relieve(&mut self, tid: u32) {
        let Some(thread) = self.threads.get(tid) else {
            return;
        };
        if thread.pieces.len() < MOST_PIECES {
            return;
        }
        let older: Vec<Piece> = thread.pieces.drain(..MOST_PIECES / 2).collect();
        Booking::new(&mut self.links, &mut self.segments, thread, For::Nothing).all(&older);
    }

    /// A thread ended.
    fn close(&mut self, mut thread: Thread) {
        let pieces = std::mem::take(&mut thread.pieces);
        let (links, segments) = (&mut self.links, &mut self.segments);
        Booking::new(links, segments, &mut thread, For::Nothing).all(&pieces);
        if let Some(process) = self.processes.get_mut(thread.process as usize) {
            process.threads += 1;
            let sums = thread.sums;
            let all = &mut process.sums;
            for (sum, ns) in [
                (&mut all.on_cpu_ns, sums.on_cpu_ns),
                (&mut all.spin_ns, sums.spin_ns),
                (&mut all.run_queue_ns, sums.run_queue_ns),
                (&mut all.throttled_ns, sums.throttled_ns),
                (&mut all.block_io_ns, sums.block_io_ns),
                (&mut all.lock_ns, sums.lock_ns),
                (&mut all.send_wait_ns, sums.send_wait_ns),
                (&mut all.other_ns, sums.other_ns),
            ] {
                *sum = sum.saturating_add(ns);
            }
            process.sleeps += thread.sleeps;
            process.thread_ns = process.thread_ns.saturating_add(thread.lived_ns);
        }
    }

    /// The recording ends.
    pub(super) fn finish(&mut self) {
        let last_ns = self.last_ns;
        let threads: Vec<_> = self.threads.drain().collect();
        for (_, mut thread) in threads {
            thread.complete(last_ns);
            self.close(thread);
        }
        self.links.finish();
    }

    /// Threads and connections for which there was no room.
    pub(super) fn unknown(&self) -> (u64, u64) {
        (self.threads.unknown, self.links.unknown)
    }
}

/// Whether the floor of a receive is a round-trip time.
fn rtt(flow: Flow, floor_ns: u32) -> u32 {
    if flow.transport == TCP { floor_ns } else { 0 }
}
