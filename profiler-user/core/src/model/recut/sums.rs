//! What flows gained, as windows have it.
//!
//! In: bookings, and the events themselves. Out: the flows of a window. Must not know: windows, time.

use courtside_wire::gap_squared;
use foldhash::HashMap;

use super::super::{
    dist::DistBuilder,
    idle::Idle,
    ledger::{Booking, Ledger},
};
use crate::{
    event::{Event, Flow as Key, What},
    frame::{Flow, Role, Transport, plus},
};

const UNIX: u8 = 3;
const CLOSED: u8 = 7;
/// Sends of a connection that wait for its other end to show itself.
const HOLD: u64 = 4;

#[derive(Default)]
struct Sums {
    flow: Flow,
    answer: DistBuilder,
    queued: DistBuilder,
    turnaround: DistBuilder,
    receiving: DistBuilder,
}

impl Sums {
    fn message(&mut self, queued_ns: u64, known: bool) {
        plus(&mut self.flow.messages_received, 1);
        plus(&mut self.flow.arrival_unknown, u64::from(!known));
        self.queued.add(queued_ns);
    }

    fn receive(&mut self, received: &Received) {
        plus(&mut self.flow.bytes_received, u64::from(received.bytes));
        self.message(received.queued_ns, received.known);
    }
}

/// What a connection moved before its other end was known.
struct Held {
    flow: Key,
    messages: u64,
    bytes: u64,
    sends: u64,
    received: Option<Received>,
}

impl Held {
    fn of(flow: Key) -> Self {
        Self {
            flow,
            messages: 0,
            bytes: 0,
            sends: 0,
            received: None,
        }
    }
}

/// A message that was read before its sender was known.
struct Received {
    bytes: u32,
    queued_ns: u64,
    known: bool,
}

/// Flows of the present window.
#[derive(Default)]
pub(super) struct WindowSums {
    flows: Vec<(Key, Sums)>,
    /// Where each flow is among them.
    places: HashMap<Key, usize>,
    /// The one that was looked for last: one transfer books several things.
    last: usize,
    held: HashMap<u64, Held>,
    /// No event marks the end of connections that are not TCP; those that were silent for longest are booked as they are.
    silent: Idle<u64>,
}

impl WindowSums {
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
            receiving: sums.receiving.finish(),
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
            self.silent.ends(&connection);
            let sums = self.flow(flow.unwrap_or(held.flow));
            plus(&mut sums.flow.messages_sent, held.messages);
            plus(&mut sums.flow.bytes_sent, held.bytes);
            if let Some(received) = held.received {
                sums.receive(&received);
            }
        }
    }

    /// A message that waits for its sender to be known. If another one waits already, that one has waited enough.
    fn received(&mut self, connection: u64, flow: Key, received: Received) {
        let held = self.held.entry(connection).or_insert(Held::of(flow));
        held.flow = flow;
        if let Some(before) = held.received.replace(received) {
            self.flow(flow).receive(&before);
        }
        self.uses(connection);
    }

    /// Something waits on this connection; nothing may wait for ever on many.
    fn uses(&mut self, connection: u64) {
        for silent in self.silent.uses(connection) {
            self.release(silent, None);
        }
    }

    fn sent(&mut self, connection: u64, flow: Key, bytes: u32, message: bool) {
        let is_known = flow.peer != 0 && (flow.port != 0 || flow.transport == UNIX);
        let waits = !is_known && self.held.get(&connection).is_none_or(|h| h.sends < HOLD);
        if waits {
            let held = self.held.entry(connection).or_insert(Held::of(flow));
            held.flow = flow;
            plus(&mut held.messages, u64::from(message));
            plus(&mut held.bytes, u64::from(bytes));
            plus(&mut held.sends, 1);
            self.uses(connection);
            return;
        }
        self.release(connection, Some(flow));
        let sums = self.flow(flow);
        plus(&mut sums.flow.messages_sent, u64::from(message));
        plus(&mut sums.flow.bytes_sent, u64::from(bytes));
    }
}

impl Ledger for WindowSums {
    fn book(&mut self, connection: u64, flow: Key, what: Booking) {
        match what {
            Booking::Sent { bytes, message } => {
                return self.sent(connection, flow, bytes, message);
            }
            Booking::MessageWaits {
                bytes,
                queued_ns,
                known,
            } => {
                let received = Received {
                    bytes,
                    queued_ns,
                    known,
                };
                return self.received(connection, flow, received);
            }
            Booking::WaitsSinceStart(_) => return,
            Booking::Received { .. } => self.release(connection, Some(flow)),
            _ => {}
        }
        let sums = self.flow(flow);
        match what {
            Booking::Sent { .. } | Booking::MessageWaits { .. } | Booking::WaitsSinceStart(_) => {}
            Booking::Received { bytes } => plus(&mut sums.flow.bytes_received, u64::from(bytes)),
            Booking::Message { queued_ns, known } => sums.message(queued_ns, known),
            Booking::Answered(ns) => {
                plus(&mut sums.flow.answered, 1);
                sums.answer.add(ns);
            }
            Booking::MidlifeTurn => plus(&mut sums.flow.midlife_turns, 1),
            Booking::BelowFloor => plus(&mut sums.flow.below_floor, 1),
            Booking::Untimed => {
                plus(&mut sums.flow.answered, 1);
                plus(&mut sums.flow.untimed, 1);
            }
            Booking::Ambiguous => plus(&mut sums.flow.ambiguous, 1),
            Booking::InPieces(ns) => sums.receiving.add(ns),
            Booking::Within(ns) => plus(&mut sums.flow.unread_within_ns, ns),
            Booking::Turnaround(parts) => {
                plus(&mut sums.flow.turnarounds, 1);
                sums.flow.turnaround_parts.add(parts);
                sums.turnaround.add(parts.total_ns());
            }
            Booking::Handover => plus(&mut sums.flow.handovers, 1),
            Booking::Unprompted(ns) => {
                plus(&mut sums.flow.unprompted, 1);
                plus(&mut sums.flow.unprompted_ns, ns);
                plus(&mut sums.flow.unprompted_gaps, u64::from(ns > 0));
                plus(&mut sums.flow.unprompted_squares, gap_squared(ns));
            }
        }
    }
}
