//! Reading single events out of a recording, in the order of time.
//!
//! In: an open recording. Out: events, one after the other; a batch that is damaged is an error in its place, and the
//! rest follows. Memory holds the batches that overlap in time: two, as a rule. Must not know: what events mean.

use std::collections::VecDeque;

use super::{
    error::ReadError,
    events::{Batch, Told, decode, decode_into},
    format::{Entry, Kind},
    read::{Recording, fault},
};
use courtside_core::event::Event;

impl Recording {
    /// Whether single events were recorded.
    #[must_use]
    pub fn has_events(&self) -> bool {
        self.entries()
            .iter()
            .any(|entry| entry.kind == Kind::EVENTS.0)
    }

    /// All single events in the order of time, read as they are asked for; before them come tasks and connections that
    /// only an earlier part told, if that is not there.
    pub fn events(&self) -> Events<'_> {
        self.events_between(0, u64::MAX)
    }

    /// The single events of the batches that touch this time; some may lie outside of it.
    pub fn events_between(&self, from_unix_ns: u64, to_unix_ns: u64) -> Events<'_> {
        let batches = self.entries().iter().filter(|entry| {
            // What an earlier part told is in that part, if it is there.
            let is_told = entry.kind == Kind::KNOWN.0 && entry.part == 0;
            (entry.kind == Kind::EVENTS.0 || is_told)
                && entry.start_unix_ns <= to_unix_ns
                && entry.start_unix_ns.saturating_add(entry.duration_ns) >= from_unix_ns
        });
        // How early what follows a batch may begin.
        let mut earliest = u64::MAX;
        let mut batches: VecDeque<_> = batches.copied().map(|entry| (entry, 0)).collect();
        for (entry, next_unix_ns) in batches.iter_mut().rev() {
            *next_unix_ns = earliest;
            earliest = earliest.min(entry.start_unix_ns);
        }
        Events {
            recording: self,
            batches,
            held: VecDeque::new(),
            ready: 0,
            failed: None,
            unix_offset_ns: 0,
            unknown: 0,
        }
    }

    pub(super) fn batch(&self, entry: &Entry) -> Result<Batch, ReadError> {
        let payload = self.read(entry)?;
        decode(&payload).map_err(|why| fault(entry, why).into())
    }

    /// Adds the events of a batch to others, all of them or none.
    fn batch_into(&self, entry: &Entry, events: &mut VecDeque<Event>) -> Result<Told, ReadError> {
        let payload = self.read(entry)?;
        decode_into(&payload, events).map_err(|why| fault(entry, why).into())
    }
}

/// Events of a recording in the order of time.
pub struct Events<'a> {
    recording: &'a Recording,
    /// Batches not read yet, and when the earliest of those behind each begins.
    batches: VecDeque<(Entry, u64)>,
    /// What was read, in order, and how much of it need not wait for events of the next batch.
    held: VecDeque<Event>,
    ready: usize,
    failed: Option<ReadError>,
    unix_offset_ns: i64,
    unknown: u64,
}

impl Events<'_> {
    /// What makes wall-clock time of the time of the events that came last.
    #[must_use]
    pub fn unix_offset_ns(&self) -> i64 {
        self.unix_offset_ns
    }

    /// Events read so far that are of kinds which this version does not know: they are passed over.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Reads batches until something can be given out: what no later batch can come before.
    fn refill(&mut self) {
        while let Some((entry, next_unix_ns)) = self.batches.pop_front() {
            let before = self.held.len();
            match self.recording.batch_into(&entry, &mut self.held) {
                Ok(told) => {
                    self.unix_offset_ns = told.unix_offset_ns;
                    self.unknown = self.unknown.saturating_add(told.unknown);
                    let new = self.held.range(before.saturating_sub(1)..);
                    if !new.is_sorted_by_key(|event| event.time_ns) {
                        let held = self.held.make_contiguous();
                        held.sort_by_key(|event| event.time_ns);
                    }
                }
                Err(error) => {
                    // What came before it goes first.
                    self.failed = Some(error);
                    self.give(u64::MAX);
                    return;
                }
            }
            let until = match next_unix_ns {
                u64::MAX => u64::MAX,
                start => start.wrapping_add_signed(self.unix_offset_ns.wrapping_neg()),
            };
            if self.held.front().is_some_and(|event| event.time_ns < until) {
                self.give(until);
                return;
            }
        }
        self.give(u64::MAX);
    }

    /// Makes everything before this time ready.
    fn give(&mut self, until: u64) {
        self.ready = match until {
            u64::MAX => self.held.len(),
            until => self.held.partition_point(|event| event.time_ns < until),
        };
    }
}

impl Iterator for Events<'_> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.ready > 0 {
                self.ready -= 1;
                return self.held.pop_front().map(Ok);
            }
            if let Some(error) = self.failed.take() {
                return Some(Err(error));
            }
            if self.batches.is_empty() && self.held.is_empty() {
                return None;
            }
            self.refill();
        }
    }
}
