//! What single events add to a flow, and whoever adds it up.
//!
//! In: bookings, one after the other. Out: sums. Must not know: what makes a booking.

use std::collections::BTreeMap;

use crate::{event::Flow, frame::PartsRaw};

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
    /// How many waits ago a turnaround had begun, at most, when its thread first could know. Whoever remembers fewer can
    /// tell its length, but not its parts. Not part of a Frame.
    pub waits_back: u64,
}

/// What one step adds to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Booked {
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
    /// A roundtrip's latency, or a request's service time.
    Answered(u64),
    /// The first turn of a connection older than the attach.
    MidlifeTurn,
    /// A receive that answers nothing.
    BelowFloor,
    /// A thread sent a request while it held two that it had not answered: nobody can tell for which.
    Ambiguous,
    /// A turnaround, by its parts.
    Turnaround(PartsRaw),
    /// That turnaround began in another thread.
    Handover,
    /// So many waits ago that turnaround had begun when its thread first could know.
    WaitsBack(u64),
    /// A send that nothing prompted, and the gap before it.
    Unprompted(u64),
}

/// Whoever adds up what the steps tell.
pub(super) trait Books {
    /// Adds to a flow; the connection is the one on which it happened.
    fn book(&mut self, connection: u64, flow: Flow, what: Booked);
}

impl Books for BTreeMap<Flow, Counts> {
    fn book(&mut self, _connection: u64, flow: Flow, what: Booked) {
        let counts = self.entry(flow).or_default();
        match what {
            Booked::Sent { bytes, message } => {
                counts.bytes_sent += u64::from(bytes);
                counts.messages_sent += u64::from(message);
            }
            Booked::Received { bytes } => counts.bytes_received += u64::from(bytes),
            Booked::Message { .. } => counts.messages_received += 1,
            Booked::Answered(ns) => {
                counts.answered += 1;
                counts.answered_ns += ns;
            }
            Booked::MidlifeTurn => counts.midlife_turns += 1,
            Booked::BelowFloor => counts.below_floor += 1,
            Booked::Ambiguous => {}
            Booked::Turnaround(parts) => {
                counts.turnarounds += 1;
                add_parts(&mut counts.parts, &parts);
            }
            Booked::Handover => counts.handovers += 1,
            Booked::WaitsBack(waits) => counts.waits_back = counts.waits_back.max(waits),
            Booked::Unprompted(ns) => {
                counts.unprompted += 1;
                counts.unprompted_ns += ns;
            }
        }
    }
}

/// Adds parts to parts.
pub(super) fn add_parts(sum: &mut PartsRaw, more: &PartsRaw) {
    sum.on_cpu_ns += more.on_cpu_ns;
    sum.run_queue_ns += more.run_queue_ns;
    sum.block_io_ns += more.block_io_ns;
    sum.sleep_ns += more.sleep_ns;
    sum.queued_ns += more.queued_ns;
}
