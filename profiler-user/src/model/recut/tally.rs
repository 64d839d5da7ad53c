//! What flows gained, as windows have it.
//!
//! In: bookings, and the events themselves. Out: the flows of a window. Must not know: windows, time.

use std::collections::BTreeMap;

use courtside_wire::bucket_of;
use foldhash::HashMap;

use super::super::books::{Booked, Books, add_parts};
use crate::{
    event::{Event, Flow as Key, What},
    frame::{DistRaw, Flow, Role, Transport},
};

const UNIX: u8 = 3;
const CLOSED: u8 = 7;
/// Sends of a connection that wait for its other end to show itself.
const HOLD: u64 = 4;

/// A distribution in the making.
#[derive(Default)]
pub(super) struct Dist {
    raw: DistRaw,
    buckets: BTreeMap<u16, u64>,
}

impl Dist {
    pub(super) fn add(&mut self, ns: u64) {
        let raw = &mut self.raw;
        raw.min_ns = if self.buckets.is_empty() {
            ns
        } else {
            raw.min_ns.min(ns)
        };
        raw.max_ns = raw.max_ns.max(ns);
        raw.sum_ns = raw.sum_ns.saturating_add(ns);
        // There are 304 buckets.
        let bucket = u16::try_from(bucket_of(ns)).unwrap_or(u16::MAX);
        *self.buckets.entry(bucket).or_default() += 1;
    }

    pub(super) fn finish(self) -> DistRaw {
        DistRaw {
            buckets: self.buckets.into_iter().collect(),
            ..self.raw
        }
    }
}

#[derive(Default)]
struct Sums {
    flow: Flow,
    answer: Dist,
    queued: Dist,
    turnaround: Dist,
}

/// What a connection sent before its other end was known.
struct Held {
    flow: Key,
    messages: u64,
    bytes: u64,
    sends: u64,
}

/// Flows of the present window.
#[derive(Default)]
pub(super) struct Tally {
    flows: Vec<(Key, Sums)>,
    /// Where each flow is among them.
    places: HashMap<Key, usize>,
    /// The one that was looked for last: one transfer books several things.
    last: usize,
    held: HashMap<u64, Held>,
}

impl Tally {
    /// What happened, apart from what it means to flows.
    pub(super) fn see(&mut self, event: &Event) {
        match &event.what {
            What::Connection(told) => {
                if let Some(held) = self.held.get_mut(&told.number) {
                    held.flow = told.flow;
                }
            }
            What::State {
                connection, after, ..
            } if *after == CLOSED => self.release(*connection, None),
            _ => {}
        }
    }

    /// Nothing that waits comes to be known any more.
    pub(super) fn settle(&mut self) {
        let mut held: Vec<u64> = self.held.keys().copied().collect();
        held.sort_unstable();
        for connection in held {
            self.release(connection, None);
        }
    }

    /// The flows of the window; the next one begins.
    pub(super) fn take(&mut self) -> Vec<Flow> {
        let finish = |(key, sums): (Key, Sums)| Flow {
            image: key.image,
            peer: key.peer,
            port: key.port,
            transport: match key.transport {
                2 => Transport::Udp,
                UNIX => Transport::Unix,
                _ => Transport::Tcp,
            },
            role: match key.role {
                1 => Role::Initiator,
                2 => Role::Acceptor,
                _ => Role::Unknown,
            },
            answer: sums.answer.finish(),
            queued: sums.queued.finish(),
            turnaround: sums.turnaround.finish(),
            ..sums.flow
        };
        self.places.clear();
        let mut flows: Vec<Flow> = self.flows.drain(..).map(finish).collect();
        flows.sort_by_key(|flow| (flow.image, flow.peer, flow.port, flow.transport, flow.role));
        flows
    }

    fn flow(&mut self, key: Key) -> &mut Sums {
        if self
            .flows
            .get(self.last)
            .is_none_or(|(last, _)| *last != key)
        {
            self.last = *self.places.entry(key).or_insert_with(|| {
                self.flows.push((key, Sums::default()));
                self.flows.len() - 1
            });
        }
        &mut self.flows[self.last].1
    }

    /// Books what waited on the flow that it turned out to be of.
    fn release(&mut self, connection: u64, flow: Option<Key>) {
        // Mostly nothing waits.
        if self.held.is_empty() {
            return;
        }
        if let Some(held) = self.held.remove(&connection) {
            let sums = self.flow(flow.unwrap_or(held.flow));
            sums.flow.messages_sent += held.messages;
            sums.flow.bytes_sent += held.bytes;
        }
    }

    fn sent(&mut self, connection: u64, flow: Key, bytes: u32, message: bool) {
        let is_known = flow.peer != 0 && (flow.port != 0 || flow.transport == UNIX);
        let waits = !is_known && self.held.get(&connection).is_none_or(|h| h.sends < HOLD);
        if waits {
            let held = self.held.entry(connection).or_insert(Held {
                flow,
                messages: 0,
                bytes: 0,
                sends: 0,
            });
            held.flow = flow;
            held.messages += u64::from(message);
            held.bytes += u64::from(bytes);
            held.sends += 1;
            return;
        }
        self.release(connection, Some(flow));
        let sums = self.flow(flow);
        sums.flow.messages_sent += u64::from(message);
        sums.flow.bytes_sent += u64::from(bytes);
    }
}

impl Books for Tally {
    fn book(&mut self, connection: u64, flow: Key, what: Booked) {
        match what {
            Booked::Sent { bytes, message } => {
                return self.sent(connection, flow, bytes, message);
            }
            Booked::WaitsBack(_) => return,
            Booked::Received { .. } => self.release(connection, Some(flow)),
            _ => {}
        }
        let sums = self.flow(flow);
        match what {
            Booked::Sent { .. } | Booked::WaitsBack(_) => {}
            Booked::Received { bytes } => sums.flow.bytes_received += u64::from(bytes),
            Booked::Message { queued_ns, known } => {
                sums.flow.messages_received += 1;
                sums.flow.arrival_unknown += u64::from(!known);
                sums.queued.add(queued_ns);
            }
            Booked::Answered(ns) => {
                sums.flow.answered += 1;
                sums.answer.add(ns);
            }
            Booked::MidlifeTurn => sums.flow.midlife_turns += 1,
            Booked::BelowFloor => sums.flow.below_floor += 1,
            Booked::Ambiguous => sums.flow.ambiguous += 1,
            Booked::Turnaround(parts) => {
                sums.flow.turnarounds += 1;
                add_parts(&mut sums.flow.turnaround_parts, &parts);
                let waits = parts.run_queue_ns + parts.block_io_ns;
                let rest = parts.sleep_ns + parts.queued_ns;
                sums.turnaround.add(parts.on_cpu_ns + waits + rest);
            }
            Booked::Handover => sums.flow.handovers += 1,
            Booked::Unprompted(ns) => {
                sums.flow.unprompted += 1;
                sums.flow.unprompted_ns += ns;
            }
        }
    }
}
