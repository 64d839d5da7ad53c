//! Forgetting connections whose end no event marks: Unix and UDP. For a TCP connection there is an event.
//!
//! In: events, in the order of time. Out: fewer connections. Must not know: what they mean.

use foldhash::HashMap;

use super::connection::{Connection, TCP};
use crate::{
    event::{Event, What},
    model::idle::Idle,
};

/// Connections other than TCP, by their last use.
pub(super) type Silent = Idle<u64>;

/// Notes that a connection is used, and forgets those that have been silent for longest when there are too many. One that
/// is used again afterwards begins anew: its next transfer is a message.
pub(super) fn forget(
    silent: &mut Silent,
    connections: &mut HashMap<u64, Connection>,
    event: &Event,
) {
    let (number, flow) = match &event.what {
        What::Connection(told) => (told.number, told.flow),
        What::Send {
            connection, flow, ..
        }
        | What::Receive {
            connection, flow, ..
        } => (*connection, *flow),
        _ => return,
    };
    if flow.transport != TCP {
        for gone in silent.uses(number) {
            connections.remove(&gone);
        }
    }
}
