//! What single events leave open: there the kernel's sums and a calculation from events may differ, and neither is wrong.
//!
//! In: single events. Out: which flows. Must not know: what either made of it.

use std::collections::{BTreeMap, BTreeSet};

use courtside::event::{Event, Flow, Off, What};

const TCP: u8 = 1;
/// Longest that a program takes to book a transfer after it has read the clock, interrupts and all: 20 µs were seen, on
/// a virtual machine. On one CPU programs come one after the other.
const BOOKING_NS: u64 = 50_000;

/// What is open.
pub struct Uncertain {
    /// Messages and bytes that datagram sockets sent whose other end never came to be known. The kernel programs wait for
    /// that with the first few sends, and nothing tells them that such a socket has closed.
    pub waiting: BTreeMap<Flow, [u64; 2]>,
    /// Sends told with another flow than their connection was told with later: what of them waited until then is booked there.
    pub moved: BTreeMap<Flow, [u64; 2]>,
    /// Flows of connections on which a thread sent or received while a send call of another thread was running at the
    /// same end, or being booked on another CPU: nobody can tell which of the two came first. All flows of such a connection: what came first while the
    /// other end was not known decides what the first answer is booked with on the flow that is known then.
    ///
    /// And flows of sends on two CPUs that one message may have prompted, which a thread had read and woken another one for:
    /// nobody can tell which of them it was; nor what prompts what they send until they wait.
    pub at_once: BTreeSet<Flow>,
}

/// A send or receive.
struct Transfer {
    from_ns: u64,
    until_ns: u64,
    tid: u32,
    cpu: u16,
    /// 0 for a receive.
    sent_bytes: u32,
    flow: Flow,
}

impl Uncertain {
    /// What these events leave open.
    pub fn of(events: &[Event]) -> Self {
        let mut connections: BTreeMap<u64, Vec<Transfer>> = BTreeMap::new();
        for event in events {
            let (connection, from_ns, sent_bytes, flow) = match event.what {
                What::Send {
                    connection,
                    bytes,
                    began_ns,
                    flow,
                    ..
                } => (connection, began_ns, bytes, flow),
                What::Receive {
                    connection, flow, ..
                } => (connection, event.time_ns, 0, flow),
                _ => continue,
            };
            connections.entry(connection).or_default().push(Transfer {
                from_ns,
                until_ns: event.time_ns,
                tid: event.tid,
                cpu: event.cpu,
                sent_bytes,
                flow,
            });
        }
        let mut open = Self {
            waiting: BTreeMap::new(),
            moved: BTreeMap::new(),
            at_once: BTreeSet::new(),
        };
        for transfers in connections.values_mut() {
            transfers.sort_unstable_by_key(|it| it.from_ns);
            open.waits(transfers);
            open.moves(transfers);
            open.overlaps(transfers);
        }
        open.contested(events);
        open
    }

    fn contested(&mut self, events: &[Event]) {
        let mut tgids = BTreeMap::new();
        let mut has_read = BTreeSet::new();
        let mut given_by = BTreeMap::new();
        let mut open = BTreeSet::new();
        // The last send of each thread: when it ended, its CPU and flow, and whose message its thread had.
        let mut sends: BTreeMap<u32, (u64, u16, Flow, Option<u32>)> = BTreeMap::new();
        for event in events {
            let tid = event.tid;
            match &event.what {
                What::Task(told) => {
                    tgids.insert(tid, told.tgid);
                }
                What::Fork { tid, tgid, .. } => {
                    tgids.insert(*tid, *tgid);
                }
                What::Receive { .. } => {
                    has_read.insert(tid);
                }
                What::Wake { tid: woken, .. } => {
                    let is_own = tgids.get(&tid) == tgids.get(woken);
                    if tid != 0 && is_own && has_read.contains(&tid) {
                        given_by.insert(*woken, tid);
                    }
                }
                What::Switch { off, .. } if *off != Off::RunQueue => {
                    open.remove(&tid);
                }
                What::Send { flow, .. } => {
                    has_read.remove(&tid);
                    let giver = given_by.remove(&tid);
                    for (other, (ended_ns, cpu, its_flow, its_giver)) in &sends {
                        let near = event.time_ns <= ended_ns + BOOKING_NS && *cpu != event.cpu;
                        let one = giver == Some(*other)
                            || *its_giver == Some(tid)
                            || giver.is_some() && giver == *its_giver;
                        if *other != tid && near && one {
                            open.extend([tid, *other]);
                            self.at_once.insert(*its_flow);
                        }
                    }
                    if open.contains(&tid) {
                        self.at_once.insert(*flow);
                    }
                    sends.insert(tid, (event.time_ns, event.cpu, *flow, giver));
                }
                _ => {}
            }
        }
    }

    fn waits(&mut self, transfers: &[Transfer]) {
        if transfers
            .iter()
            .any(|it| it.flow.peer != 0 || it.flow.transport == TCP)
        {
            return;
        }
        for sent in transfers.iter().filter(|it| it.sent_bytes > 0) {
            let waiting = self.waiting.entry(sent.flow).or_default();
            waiting[0] += 1;
            waiting[1] += u64::from(sent.sent_bytes);
        }
    }

    fn moves(&mut self, transfers: &[Transfer]) {
        let Some(last) = transfers.last() else {
            return;
        };
        for sent in transfers.iter().filter(|it| it.flow != last.flow) {
            let moved = self.moved.entry(sent.flow).or_default();
            moved[0] += u64::from(sent.sent_bytes > 0);
            moved[1] += u64::from(sent.sent_bytes);
        }
    }

    fn overlaps(&mut self, transfers: &[Transfer]) {
        for (n, one) in transfers.iter().enumerate() {
            let later = transfers[n + 1..].iter();
            let mut near = later.take_while(|it| it.from_ns <= one.until_ns + BOOKING_NS);
            let at_once = |it: &Transfer| {
                it.tid != one.tid && (it.cpu != one.cpu || it.from_ns <= one.until_ns)
            };
            if near.any(at_once) {
                self.at_once.extend(transfers.iter().map(|it| it.flow));
                return;
            }
        }
    }
}
