//! Any window of a recording by its number, the same however it is reached: in order, backwards, or out of order.
//!
//! In: the windows that were asked for. Out: what each of them means. Memory is that of the snapshots kept. Must not know:
//! who steps through them, and at what speed.

use std::{collections::BTreeMap, sync::Arc};

use courtside_core::model::{Snapshot, State, fold};

use crate::{error::ReadError, recorded::Recorded};

/// What a window means, or why that is not known.
pub type Folded = Result<Arc<Snapshot>, String>;

/// Windows by their numbers.
pub struct ByNumber {
    recorded: Recorded,
    /// Snapshots that are kept, in case somebody steps back.
    kept: BTreeMap<usize, Folded>,
    most_kept: usize,
    /// What all windows before `next` tell.
    state: State,
    next: usize,
}

impl ByNumber {
    /// Keeps at most this many snapshots: those nearest to the one asked for last.
    #[must_use]
    pub fn new(recorded: Recorded, most_kept: usize) -> Self {
        Self {
            recorded,
            kept: BTreeMap::new(),
            most_kept: most_kept.max(1),
            state: State::default(),
            next: 0,
        }
    }

    /// What the window of this number means; why not, if it is damaged.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn snapshot(&mut self, number: usize) -> Result<Folded, ReadError> {
        if let Some(known) = self.kept.get(&number) {
            return Ok(known.clone());
        }
        if number != self.next {
            self.state = self.recorded.state_before(number);
        }
        self.next = number.saturating_add(1);
        let folded = match self.recorded.recording().frame(number) {
            Ok(frame) => Ok(Arc::new(fold(
                &mut self.state,
                &frame,
                self.recorded.view(),
            ))),
            Err(ReadError::Io(error)) => return Err(ReadError::Io(error)),
            Err(error) => Err(error.to_string()),
        };
        self.kept.insert(number, folded.clone());
        if self.kept.len() > self.most_kept {
            // The one that is farthest from here goes.
            let first = self.kept.keys().next().copied().unwrap_or(0);
            let last = self.kept.keys().next_back().copied().unwrap_or(0);
            let farthest = if number.abs_diff(first) > number.abs_diff(last) {
                first
            } else {
                last
            };
            self.kept.remove(&farthest);
        }
        Ok(folded)
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }
}
