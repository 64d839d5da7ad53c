//! The seam between what runs for long and the kernel.
//!
//! In: wishes and a view. Out: [`Snapshots`], one for each window. Must not know: how the kernel is measured; tests
//! put another [`Kernel`] in its place.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;

use courtside_core::{
    frame::{Frame, Merge, ProbeStatus},
    model::{
        Snapshot, State, View, fold,
        judgement::{Judgement, Judges},
    },
};
use courtside_kernel::{
    collect::{Session, Sink, Wishes},
    sys::privileges,
};
use courtside_record::Ring;

use crate::{judging::Judging, live::Source};

/// A measurement that runs.
pub trait Measurement: Send {
    /// Ends the window now and starts the next.
    ///
    /// # Errors
    /// The kernel's maps cannot be read.
    fn window(&mut self) -> anyhow::Result<Frame>;

    /// Ends the last window: nothing is measured any more, and no single event is under way when this returns.
    ///
    /// # Errors
    /// The kernel's maps cannot be read, or the events could not be handed on.
    fn finish(&mut self) -> anyhow::Result<Frame> {
        self.window()
    }

    /// How each probe is attached.
    fn probes(&self) -> &[ProbeStatus];

    /// Instructions that the kernel went through to verify a program, where it says so (5.16).
    fn verified_instructions(&self, _program: &str) -> Option<u32> {
        None
    }
}

/// Something that can be measured.
pub trait Kernel {
    /// Attaches everything.
    ///
    /// # Errors
    /// Nothing can be measured.
    fn attach(&self, wishes: &Wishes) -> anyhow::Result<Box<dyn Measurement>>;

    /// Attaches everything; single events, where there are any, go to `sink`, on a thread of their own.
    ///
    /// # Errors
    /// Nothing can be measured.
    fn attach_with_events(
        &self,
        wishes: &Wishes,
        _sink: Sink,
    ) -> anyhow::Result<Box<dyn Measurement>> {
        self.attach(wishes)
    }

    /// Gives up what attaching needed and measuring does not, for this thread and those it starts.
    ///
    /// # Errors
    /// It cannot be given up.
    fn drop_privileges(&self) -> anyhow::Result<()>;
}

/// The kernel of this host.
#[derive(Clone, Copy, Debug)]
pub struct RunningKernel;

impl Kernel for RunningKernel {
    fn attach(&self, wishes: &Wishes) -> anyhow::Result<Box<dyn Measurement>> {
        Ok(Box::new(Session::attach(wishes)?))
    }

    fn attach_with_events(
        &self,
        wishes: &Wishes,
        sink: Sink,
    ) -> anyhow::Result<Box<dyn Measurement>> {
        Ok(Box::new(Session::attach_with_events(wishes, sink)?))
    }

    fn drop_privileges(&self) -> anyhow::Result<()> {
        privileges::drop_all(Path::new("/"))?;
        Ok(())
    }
}

impl Measurement for Session {
    fn window(&mut self) -> anyhow::Result<Frame> {
        Ok(Self::window(self)?)
    }

    fn finish(&mut self) -> anyhow::Result<Frame> {
        Ok(Self::finish(self)?.0)
    }

    fn probes(&self) -> &[ProbeStatus] {
        Self::probes(self)
    }

    fn verified_instructions(&self, program: &str) -> Option<u32> {
        Self::verified_instructions(self, program)
    }
}

/// A measurement, folded as the user wants to see it.
pub struct Snapshots {
    measurement: Box<dyn Measurement>,
    state: State,
    view: View,
    /// Parts of the window that were read before its end.
    begun: Merge,
    /// Where the last minutes are kept.
    ring: Option<Arc<Mutex<Ring>>>,
    /// Who judges each window.
    judging: Option<Judging>,
}

impl Snapshots {
    /// Starts with the first window.
    #[must_use]
    pub fn new(measurement: Box<dyn Measurement>, view: View) -> Self {
        Self {
            measurement,
            state: State::default(),
            view,
            begun: Merge::default(),
            ring: None,
            judging: None,
        }
    }

    /// Reads the window so far. The kernel's maps then forget processes that are gone, which nothing does while a long
    /// window lasts; the window goes on. Says how many flows moved since the last reading.
    ///
    /// # Errors
    /// The kernel's maps cannot be read.
    pub fn drain(&mut self) -> anyhow::Result<usize> {
        let frame = self.measurement.window()?;
        let flows = frame.flows.len();
        self.begun.add(frame);
        Ok(flows)
    }

    /// Keeps the last minutes there, too.
    #[must_use]
    pub fn with_ring(self, ring: Arc<Mutex<Ring>>) -> Self {
        Self {
            ring: Some(ring),
            ..self
        }
    }

    /// Has each window judged, too.
    #[must_use]
    pub fn judged(self, judge: Box<dyn Judges>) -> Self {
        Self {
            judging: Some(Judging::new(judge, &self.view)),
            ..self
        }
    }
}

impl Source for Snapshots {
    fn next(&mut self) -> anyhow::Result<Snapshot> {
        let mut frame = self.measurement.window()?;
        if self.begun.windows() > 0 {
            self.begun.add(frame);
            frame = std::mem::take(&mut self.begun).finish();
        }
        if let Some(ring) = &self.ring {
            let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
            ring.push(&frame)
                .context("cannot keep a window in memory")?;
        }
        let snapshot = fold(&mut self.state, &frame, &self.view);
        if let Some(judging) = &mut self.judging {
            judging.window(&frame, &snapshot);
        }
        Ok(snapshot)
    }

    fn judgement(&mut self) -> Option<Arc<Judgement>> {
        self.judging.as_ref()?.newest()
    }

    fn interval_changes(&mut self) {
        if let Some(judging) = &mut self.judging {
            judging.restart();
        }
    }

    fn reset(&mut self) {
        self.state = State::default();
        self.begun = Merge::default();
        self.interval_changes();
        // If the window cannot be ended now, the next one cannot either, and tells why.
        let _ = self.measurement.window();
    }
}
