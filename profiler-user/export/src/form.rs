//! The forms that a recording is exported in, all used in the same way.
//!
//! In: windows, single events. Out: pieces of files. Must not know: where they go.

use courtside_core::model::inference::Timeline;
use courtside_core::pass::{Analysis, Needs, PassWindow, Seen, Whole};

use super::{Error, Piece, csv::Csv, json, parquet::Parquet, perfetto::Perfetto};

/// A form of an export.
pub trait Form {
    /// What it looks at besides windows.
    fn needs(&self) -> Needs {
        Needs::Windows
    }

    /// What one more window adds.
    ///
    /// # Errors
    /// It cannot be written in this form.
    fn window(&mut self, window: &PassWindow<'_>) -> Result<Vec<Piece>, Error>;

    /// What one more single event adds. All windows have to be there before.
    ///
    /// # Errors
    /// It cannot be written in this form.
    fn event(&mut self, _seen: &Seen<'_>) -> Result<Option<Piece>, Error> {
        Ok(None)
    }

    /// What a parallel application adds, where the form shows one. All events have to be there before.
    ///
    /// # Errors
    /// It cannot be written in this form.
    fn application(&mut self, _timeline: &Timeline) -> Result<Vec<Piece>, Error> {
        Ok(Vec::new())
    }

    /// What is left.
    ///
    /// # Errors
    /// It cannot be written in this form.
    fn finish(self: Box<Self>) -> Result<Vec<Piece>, Error>;
}

/// A text that is the only file of its form.
fn text(text: String) -> Vec<Piece> {
    vec![Piece {
        file: String::new(),
        bytes: text.into_bytes(),
    }]
}

/// One snapshot of all windows, as JSON.
impl Form for Whole {
    fn window(&mut self, window: &PassWindow<'_>) -> Result<Vec<Piece>, Error> {
        self.add(window.frame);
        Ok(Vec::new())
    }

    fn finish(self: Box<Self>) -> Result<Vec<Piece>, Error> {
        Ok(text(json::to_string(&Analysis::finish(*self))?))
    }
}

/// A snapshot a line, a line a window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines;

impl Form for Lines {
    fn window(&mut self, window: &PassWindow<'_>) -> Result<Vec<Piece>, Error> {
        Ok(text(json::to_line(window.snapshot)?))
    }

    fn finish(self: Box<Self>) -> Result<Vec<Piece>, Error> {
        Ok(Vec::new())
    }
}

impl Form for Csv {
    fn needs(&self) -> Needs {
        Needs::Events
    }

    fn window(&mut self, window: &PassWindow<'_>) -> Result<Vec<Piece>, Error> {
        self.add(window.number as u64, window.snapshot)
    }

    fn event(&mut self, seen: &Seen<'_>) -> Result<Option<Piece>, Error> {
        Self::event(self, seen.window as u64, seen.resolved)
    }

    fn finish(self: Box<Self>) -> Result<Vec<Piece>, Error> {
        Self::finish(*self)
    }
}

impl Form for Parquet {
    fn needs(&self) -> Needs {
        Needs::Events
    }

    fn window(&mut self, window: &PassWindow<'_>) -> Result<Vec<Piece>, Error> {
        self.add(window.number as u64, window.snapshot)
    }

    fn event(&mut self, seen: &Seen<'_>) -> Result<Option<Piece>, Error> {
        Self::event(self, seen.window as u64, seen.resolved)
    }

    fn finish(self: Box<Self>) -> Result<Vec<Piece>, Error> {
        Self::finish(*self)
    }
}

impl Form for Perfetto {
    fn needs(&self) -> Needs {
        Needs::Turnarounds
    }

    fn window(&mut self, window: &PassWindow<'_>) -> Result<Vec<Piece>, Error> {
        Ok(self.add(window.number as u64, window.snapshot))
    }

    fn event(&mut self, seen: &Seen<'_>) -> Result<Option<Piece>, Error> {
        let piece = Self::event(self, seen.resolved);
        if let Some(turnaround) = seen.turnaround {
            self.turnaround(seen.resolved, turnaround);
        }
        Ok(piece)
    }

    fn application(&mut self, timeline: &Timeline) -> Result<Vec<Piece>, Error> {
        Ok(Self::application(self, timeline))
    }

    fn finish(self: Box<Self>) -> Result<Vec<Piece>, Error> {
        Ok(Self::finish(*self))
    }
}
