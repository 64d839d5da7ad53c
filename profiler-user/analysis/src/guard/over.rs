//! Guard over a whole recording, for a page about it: it learns from the first windows and judges the rest by that.
//!
//! In: one pass in which everybody is seen. Out: what it said. Must not know: files, how it is shown.

use courtside_core::{
    model::interference::Interference,
    pass::{Analysis, Consumer, PassWindow},
};

use super::{Guard, GuardOptions, LEARN_WINDOWS, inputs};

/// Lines that are kept, at most.
const MAX_LINES: usize = 1000;

/// What guard said of a recording.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Its lines, the first ones if they are too many.
    pub lines: Vec<Interference>,
    /// Lines beyond those.
    pub left_out: u64,
    /// Windows that it has seen.
    pub windows: u64,
    /// Windows from which it learns what is usual.
    pub needed: u64,
}

/// Guard over a recording.
#[derive(Debug)]
pub struct Over {
    guard: Guard,
    said: Said,
}

impl Default for Over {
    fn default() -> Self {
        Self {
            guard: Guard::new(GuardOptions::default(), None),
            said: Said {
                needed: LEARN_WINDOWS,
                ..Said::default()
            },
        }
    }
}

impl Consumer for Over {
    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        let lines = self.guard.window(inputs(window.snapshot), &|_| true);
        for line in lines {
            if self.said.lines.len() < MAX_LINES {
                self.said.lines.push(line);
            } else {
                self.said.left_out = self.said.left_out.saturating_add(1);
            }
        }
        Ok(())
    }
}

impl Analysis for Over {
    type Output = Said;

    fn finish(mut self) -> Said {
        self.said.windows = self.guard.windows();
        self.said
    }
}
