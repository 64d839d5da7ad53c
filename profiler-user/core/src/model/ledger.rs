//! What single events add to a flow, and the trait of what adds it up.
//!
//! In: bookings, one after the other. Out: sums. Must not know: what makes a booking.

use std::collections::BTreeMap;

use courtside_wire::gap_squared;

use super::exchange::{Answer, Exchange};
use crate::{event::Flow, frame::plus, parts::Parts};

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
    /// Receives that count as no reply: too soon after a send, or their sender was never prompted.
    pub below_floor: u64,
    /// Turnarounds.
    pub turnarounds: u64,
    /// Their parts.
    pub parts: Parts<u64>,
    /// Sends that no message prompted.
    pub unprompted: u64,
    /// Sum of the gaps before those.
    pub unprompted_ns: u64,
    /// How many of those have a length, and the sum of their squares, as `courtside_wire::gap_squared` has them.
    pub unprompted_gaps: u64,
    /// See `unprompted_gaps`.
    pub unprompted_squares: u64,
    /// Turnarounds that began in another thread.
    pub handovers: u64,
    /// Of `answered`: those that are in no distribution.
    pub untimed: u64,
    /// Signs that what is counted is a lower bound.
    pub ambiguous: u64,
    /// What of the time that requests lay unread is part of turnarounds.
    pub unread_within_ns: u64,
    /// Messages that came in pieces with waits between, and the sum of their first to last byte.
    pub received_in_pieces: u64,
    /// See `received_in_pieces`.
    pub receiving_ns: u64,
    /// How many waits ago a turnaround had begun, or a further piece of its message had arrived, at most, when its thread
    /// first could know. With fewer waits remembered its length is known, but not its parts. Not part of a Frame.
    pub waits_since_start: u64,
}

/// What one step adds to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Booking {
    /// A send.
    Sent {
        /// What it took.
        bytes: u32,
        /// It began a message.
        message: bool,
    },
    /// A receive.
    Received {
        /// What it gave.
        bytes: u32,
    },
    /// It began a message.
    Message {
        /// How long that lay unread.
        queued_ns: u64,
        /// Whether the kernel told its arrival.
        known: bool,
    },
    /// Both of a receive whose sender was not known yet.
    MessageWaits {
        /// What it gave.
        bytes: u32,
        /// How long that lay unread.
        queued_ns: u64,
        /// Whether the kernel told its arrival.
        known: bool,
    },
    /// A roundtrip's latency, or a request's service time.
    Answered(u64),
    /// The first turn of a connection older than the attach.
    MidlifeTurn,
    /// A receive that counts as no reply.
    BelowFloor,
    /// An answer on a connection where several requests were open: how long it took has no meaning.
    Untimed,
    /// A send on the sender's own account, where an answer was due.
    Ambiguous,
    /// A message came in pieces with waits between: first to last byte.
    InPieces(u64),
    /// How much of that turnaround had passed when the request that prompted it was read.
    Within(u64),
    /// A turnaround, by its parts.
    Turnaround(Parts<u64>),
    /// That turnaround began in another thread.
    Handover,
    /// How many waits ago that turnaround had begun, or a further piece of its message had arrived, when its thread first
    /// could know.
    WaitsSinceStart(u64),
    /// A send that nothing prompted, and the gap before it.
    Unprompted(u64),
}

/// Adds up what the steps say.
pub(super) trait Ledger {
    /// Adds to a flow; the connection is the one on which it happened.
    fn book(&mut self, connection: u64, flow: Flow, what: Booking);

    /// Takes note of what a transfer was in its conversation. That adds nothing to any flow.
    fn note(&mut self, _exchange: Exchange) {}
}

impl From<Answer> for Booking {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Timed(ns) => Self::Answered(ns),
            Answer::Untimed => Self::Untimed,
            Answer::Midlife => Self::MidlifeTurn,
        }
    }
}

impl Ledger for BTreeMap<Flow, Counts> {
    fn book(&mut self, _connection: u64, flow: Flow, what: Booking) {
        let counts = self.entry(flow).or_default();
        match what {
            Booking::Sent { bytes, message } => {
                plus(&mut counts.bytes_sent, u64::from(bytes));
                plus(&mut counts.messages_sent, u64::from(message));
            }
            Booking::Received { bytes } => plus(&mut counts.bytes_received, u64::from(bytes)),
            Booking::Message { .. } => plus(&mut counts.messages_received, 1),
            Booking::MessageWaits { bytes, .. } => {
                plus(&mut counts.bytes_received, u64::from(bytes));
                plus(&mut counts.messages_received, 1);
            }
            Booking::Answered(ns) => {
                plus(&mut counts.answered, 1);
                plus(&mut counts.answered_ns, ns);
            }
            Booking::MidlifeTurn => plus(&mut counts.midlife_turns, 1),
            Booking::BelowFloor => plus(&mut counts.below_floor, 1),
            Booking::Untimed => {
                plus(&mut counts.answered, 1);
                plus(&mut counts.untimed, 1);
            }
            Booking::Ambiguous => plus(&mut counts.ambiguous, 1),
            Booking::InPieces(ns) => {
                plus(&mut counts.received_in_pieces, 1);
                plus(&mut counts.receiving_ns, ns);
            }
            Booking::Within(ns) => plus(&mut counts.unread_within_ns, ns),
            Booking::Turnaround(parts) => {
                plus(&mut counts.turnarounds, 1);
                counts.parts.add(parts);
            }
            Booking::Handover => plus(&mut counts.handovers, 1),
            Booking::WaitsSinceStart(waits) => {
                counts.waits_since_start = counts.waits_since_start.max(waits);
            }
            Booking::Unprompted(ns) => {
                plus(&mut counts.unprompted, 1);
                plus(&mut counts.unprompted_ns, ns);
                plus(&mut counts.unprompted_gaps, u64::from(ns > 0));
                plus(&mut counts.unprompted_squares, gap_squared(ns));
            }
        }
    }
}
