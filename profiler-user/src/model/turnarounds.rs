//! Single turnarounds, as events tell them.
//!
//! In: single events in the order of time. Out: the same, each send with the turnaround that it ended. Must not know:
//! where events come from, how turnarounds are shown.

use super::{
    books::{Booked, Books},
    reference::Calculation,
};
use crate::{
    event::{Event, Flow, What},
    frame::PartsRaw,
};

/// From the arrival of a message to the send that ended its stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turnaround {
    /// When it began, on the events' clock.
    pub from_ns: u64,
    /// When the send began.
    pub to_ns: u64,
    /// What it was made of: the parts add up to its length.
    pub parts: PartsRaw,
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
    parts: Option<PartsRaw>,
    handed_over: bool,
}

impl Books for Step {
    fn book(&mut self, _connection: u64, _flow: Flow, what: Booked) {
        match what {
            Booked::Turnaround(parts) => self.parts = Some(parts),
            Booked::Handover => self.handed_over = true,
            _ => {}
        }
    }
}

impl Turnarounds {
    /// Takes the next event.
    pub fn add(&mut self, event: Event) {
        self.calculation.add(event);
    }

    /// The next event of which all is known; at the end it is known of all.
    pub fn next(&mut self, at_end: bool) -> Option<(Event, Option<Turnaround>)> {
        while self.calculation.next_ns(at_end).is_some() {
            let mut step = Step::default();
            if let Some(event) = self.calculation.step(&mut step) {
                let turnaround = step.turnaround(&event);
                return Some((event, turnaround));
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
        let waits = parts.run_queue_ns + parts.block_io_ns + parts.sleep_ns + parts.queued_ns;
        Some(Turnaround {
            from_ns: began_ns.saturating_sub(parts.on_cpu_ns + waits),
            to_ns: began_ns,
            parts,
            handed_over: self.handed_over,
        })
    }
}
