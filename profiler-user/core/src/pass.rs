//! One pass over a recording, or over what is measured now, for any number of consumers.
//!
//! In: windows in order, then single events in the order of time. Out: whatever each consumer makes of them. Must not
//! know: where windows come from, what is made of them.

use crate::{
    event::Event,
    frame::{Frame, Merge},
    model::{
        Snapshot, State, View, exchange::Exchange, fold, resolve::ResolvedEvent,
        turnarounds::Turnaround,
    },
};

/// One window of the pass.
#[derive(Clone, Copy, Debug)]
pub struct PassWindow<'a> {
    /// Its number, from 0.
    pub number: usize,
    /// What was measured.
    pub frame: &'a Frame,
    /// What that means.
    pub snapshot: &'a Snapshot,
}

/// One single event.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Number of the window that it is in.
    pub window: usize,
    /// As it was recorded.
    pub event: &'a Event,
    /// With what earlier events said of its task and connection.
    pub resolved: &'a ResolvedEvent,
    /// The turnaround that it ended, by the wall clock, if it ended one and somebody needs turnarounds.
    pub turnaround: Option<&'a Turnaround>,
    /// What it was in the conversation on its connection, if it is a send or a receive and somebody needs turnarounds.
    pub exchange: Option<&'a Exchange>,
}

/// What a consumer looks at besides windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// Nothing.
    #[default]
    Windows,
    /// Single events.
    Events,
    /// Single events, and the turnarounds that they ended.
    Turnarounds,
}

/// Code that makes something of a pass.
pub trait Consumer {
    /// What it looks at besides windows.
    fn needs(&self) -> Needs {
        Needs::Windows
    }

    /// Takes the next window.
    ///
    /// # Errors
    /// The pass cannot go on.
    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()>;

    /// Takes the next event; those come after all windows.
    ///
    /// # Errors
    /// The pass cannot go on.
    fn event(&mut self, _seen: &Seen<'_>) -> anyhow::Result<()> {
        Ok(())
    }
}

/// A consumer with one answer at the end.
pub trait Analysis: Consumer {
    /// The answer.
    type Output;

    /// Ends it.
    fn finish(self) -> Self::Output;
}

/// All windows as one.
pub struct Whole {
    merge: Merge,
    state: State,
    view: View,
}

impl Whole {
    /// Begins with what is known from the windows before the first one.
    #[must_use]
    pub fn new(state: State, view: View) -> Self {
        Self {
            merge: Merge::default(),
            state,
            view,
        }
    }

    /// Adds one more.
    pub fn add(&mut self, frame: &Frame) {
        self.merge.add(frame.clone());
    }
}

impl Consumer for Whole {
    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        self.add(window.frame);
        Ok(())
    }
}

impl Analysis for Whole {
    type Output = Snapshot;

    fn finish(mut self) -> Snapshot {
        fold(&mut self.state, &self.merge.finish(), &self.view)
    }
}

/// Several windows as one, again and again.
pub struct Pieces<T> {
    merge: Merge,
    state: State,
    view: View,
    /// How many windows make a piece.
    each: u64,
    take: T,
}

impl<T: FnMut(&Snapshot)> Pieces<T> {
    /// Begins with what is known from the windows before the first one; `take` gets each piece.
    pub fn new(state: State, view: View, each: u64, take: T) -> Self {
        Self {
            merge: Merge::default(),
            state,
            view,
            each,
            take,
        }
    }

    fn give(&mut self) {
        let frame = std::mem::take(&mut self.merge).finish();
        (self.take)(&fold(&mut self.state, &frame, &self.view));
    }
}

impl<T: FnMut(&Snapshot)> Consumer for Pieces<T> {
    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        self.merge.add(window.frame.clone());
        if self.merge.windows() >= self.each {
            self.give();
        }
        Ok(())
    }
}

impl<T: FnMut(&Snapshot)> Analysis for Pieces<T> {
    type Output = ();

    fn finish(mut self) {
        if self.merge.windows() > 0 {
            self.give();
        }
    }
}
