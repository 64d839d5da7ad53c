//! What single events leave open: there the kernel's sums and a calculation from events may differ, and neither is wrong.
//!
//! In: single events. Out: which flows. Must not know: what either made of it.

use std::collections::{BTreeMap, BTreeSet};

use courtside::event::{Event, Flow, What};

const TCP: u8 = 1;
/// Longest that a program takes to book a transfer after it has read the clock, interrupts and all: 20 µs were seen, on
/// a virtual machine. On one CPU programs come one after the other.
const BOOKING_NS: u64 = 50_000;

/// What is open.
pub struct Uncertain {
    /// Messages and bytes that datagram sockets sent whose other end never came to be known. The kernel programs wait for
    /// that with the first few sends, and nothing tells them that such a socket has closed.
    pub waiting: BTreeMap<Flow, [u64; 2]>,
    /// Flows of connections on which a thread sent or received while a send call of another thread was running at the
    /// same end, or being booked on another CPU: nobody can tell which of the two came first. All flows of such a connection: what came first while the
    /// other end was not known decides what the first answer is booked with on the flow that is known then.
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
            at_once: BTreeSet::new(),
        };
        for transfers in connections.values_mut() {
            transfers.sort_unstable_by_key(|it| it.from_ns);
            open.waits(transfers);
            open.overlaps(transfers);
        }
        open
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
