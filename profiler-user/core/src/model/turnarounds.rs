//! Single turnarounds, computed from single events.
//!
//! In: single events in the order of time. Out: the same, each send with the turnaround that it ended. Must not know:
//! where events come from, how turnarounds are shown.

use super::{
    exchange::Exchange,
    ledger::{Booking, Ledger},
    reference::Calculation,
};
use crate::{
    event::{Event, Flow, What},
    parts::Parts,
};

/// From the arrival of a message to the send that ended its stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turnaround {
    /// When it began, on the events' clock.
    pub from_ns: u64,
    /// When the send began.
    pub to_ns: u64,
    /// What it was made of: the parts add up to its length.
    pub parts: Parts<u64>,
    /// It began in another thread.
    pub handed_over: bool,
}

/// Finds the turnarounds in events.
#[derive(Default)]
pub struct Turnarounds {
    calculation: Calculation,
}

/// What one step booked.
#[derive(Default)]
struct Step {
    parts: Option<Parts<u64>>,
    handed_over: bool,
    exchange: Option<Exchange>,
}

/// An event of which all is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// As it was recorded.
    pub event: Event,
    /// The turnaround that it ended.
    pub turnaround: Option<Turnaround>,
    /// What it was in the conversation on its connection, if it is a send or a receive.
    pub exchange: Option<Exchange>,
}

impl Ledger for Step {
    fn book(&mut self, _connection: u64, _flow: Flow, what: Booking) {
        match what {
            Booking::Turnaround(parts) => self.parts = Some(parts),
            Booking::Handover => self.handed_over = true,
            _ => {}
        }
    }

    fn note(&mut self, exchange: Exchange) {
        self.exchange = Some(exchange);
    }
}

impl Turnarounds {
    /// Takes the next event.
    pub fn add(&mut self, event: Event) {
        self.calculation.add(event);
    }

    /// The next event of which all is known; at the end it is known of all.
    pub fn next(&mut self, at_end: bool) -> Option<(Event, Option<Turnaround>)> {
        let known = self.next_known(at_end)?;
        Some((known.event, known.turnaround))
    }

    /// The same, with what it was in its conversation.
    pub fn next_known(&mut self, at_end: bool) -> Option<Known> {
        while self.calculation.next_ns(at_end).is_some() {
            let mut step = Step::default();
            if let Some(event) = self.calculation.step(&mut step) {
                let turnaround = step.turnaround(&event);
                return Some(Known {
                    event,
                    turnaround,
                    exchange: step.exchange,
                });
            }
        }
        None
    }
}

impl Step {
    fn turnaround(&self, event: &Event) -> Option<Turnaround> {
        let What::Send { began_ns, .. } = event.what else {
            return None;
        };
        let parts = self.parts?;
        Some(Turnaround {
            from_ns: began_ns.saturating_sub(parts.total_ns()),
            to_ns: began_ns,
            parts,
            handed_over: self.handed_over,
        })
    }
}
