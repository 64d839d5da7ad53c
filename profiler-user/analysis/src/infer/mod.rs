//! Inference: what a parallel application does, seen from outside: how fast it goes round, in what shape, who holds the others
//! up, what would have been.
//!
//! In: one pass over a recording with single events. Out: an [`Inference`], or why there is none. Must not know: files, how
//! anything is shown.

mod answer;
mod booking;
mod calibrate;
mod compare;
mod court;
mod imbalance;
#[cfg(test)]
mod known;
mod lanes;
mod links;
mod matrix;
mod members;
mod program;
mod replay;
mod rounds;
mod says;
mod scenarios;
mod schedule;
mod segments;
mod shape;
mod spectrum;
#[cfg(test)]
mod tests;
mod threads;
mod timeline;
mod topology;
mod watch;
mod wishes;

use std::{collections::BTreeSet, fmt};

use courtside_core::{
    event::What,
    model::{
        Selection,
        inference::{Inference, InferenceSource, Timeline},
        visible::visible,
    },
    pass::{Analysis, Consumer, Needs, PassWindow, Seen},
};
use foldhash::HashMap;

use self::{lanes::Lanes, watch::Watch};

pub use calibrate::{CannotCalibrate, calibrate};
pub use compare::compare;
pub use wishes::Wish;

/// Names of processes that are kept, at most.
const MOST_NAMES: usize = 1 << 17;

/// Why nothing can be told.
#[derive(Debug, PartialEq, Eq)]
pub enum CannotTell {
    /// The recording has no single events.
    NoEvents {
        /// Its file.
        file: String,
    },
    /// No two processes of this host talk to each other.
    NoMessages {
        /// The file.
        file: String,
        /// Busy processes that were seen.
        processes: usize,
        /// Some were selected.
        selected: bool,
    },
}

impl fmt::Display for CannotTell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEvents { file } => write!(
                f,
                "{} has no single events, which tell one message from another; record them with: courtside record --events -o FILE",
                visible(file)
            ),
            Self::NoMessages {
                file,
                processes,
                selected,
            } => {
                let which = if *selected {
                    " of those that were selected"
                } else {
                    ""
                };
                write!(
                    f,
                    "no messages between processes of this host are visible in {}: {processes} processes{which} were seen, and none sent another one anything over a socket. Shared memory is invisible (for MPI choose TCP, as in: mpirun --mca btl tcp,self); record while the application runs, with: courtside record --events -o FILE -- COMMAND",
                    visible(file)
                )
            }
        }
    }
}

impl std::error::Error for CannotTell {}

/// Infers what an application does. A copy can be ended while the other one goes on.
#[derive(Clone, Debug, Default)]
pub struct Inferring {
    watch: Watch,
    source: InferenceSource,
    /// Names of processes as the host has them.
    names: HashMap<u32, String>,
    selection: Selection,
    selected: BTreeSet<u32>,
    /// Images all of whose processes are meant.
    images: BTreeSet<u32>,
    wishes: Vec<Wish>,
    start_unix_ns: Option<u64>,
    /// What makes wall-clock time of the events' time.
    offset_ns: u64,
}

impl Inferring {
    /// Of this recording.
    #[must_use]
    pub fn new(file: &str) -> Self {
        Self {
            source: InferenceSource {
                file: file.to_owned(),
                ..InferenceSource::default()
            },
            ..Self::default()
        }
    }

    /// Measured now.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.source.live = true;
        self
    }

    /// Only of these processes.
    #[must_use]
    pub fn of(mut self, selection: &Selection) -> Self {
        self.selection = selection.clone();
        self
    }

    /// With a timeline of these thread groups, from the first event on.
    #[must_use]
    pub fn drawing(mut self, tgids: BTreeSet<u32>) -> Self {
        self.watch.links.books.lanes = Lanes::of(tgids);
        self
    }

    /// The answer, and the timeline of those that it was wanted of.
    ///
    /// # Errors
    /// Nothing can be told.
    pub fn drawn(mut self) -> Result<(Inference, Timeline), CannotTell> {
        self.watch.finish();
        self.source.events = self.watch.events;
        answer::answer(self)
    }

    /// With these scenarios besides.
    #[must_use]
    pub fn what_if(mut self, wishes: &[Wish]) -> Self {
        self.wishes = wishes.to_vec();
        self
    }
}

impl Consumer for Inferring {
    fn needs(&self) -> Needs {
        Needs::Events
    }

    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        let source = &mut self.source;
        source.windows += 1;
        let duration_ns = window.frame.duration_ns;
        source.duration_ns = source.duration_ns.saturating_add(duration_ns);
        for (class, lost) in &window.frame.lost {
            if *lost > 0 {
                let sum = source.lost.entry(class.clone()).or_default();
                *sum = sum.saturating_add(*lost);
            }
        }
        let mut polls = window.frame.cpu.iter().filter_map(|cpu| cpu.polls);
        self.watch.sees_looks |= polls.any(|polls| polls.zero_timeout_polls.is_some());
        self.watch.misses_quotas |= !window.frame.tells_throttled_parts;
        self.start_unix_ns.get_or_insert(window.frame.start_unix_ns);
        let selects = self.selection.matcher();
        // By number alone a process is meant, and not all that were forked from its program.
        let wider = !Selection {
            tgids: Vec::new(),
            ..self.selection.clone()
        }
        .names_no_component();
        for image in &window.frame.images {
            let all = wider && selects(image);
            if all && self.images.len() < MOST_NAMES {
                self.images.insert(image.id);
            }
            for process in &image.processes {
                if self.names.len() < MOST_NAMES || self.names.contains_key(&process.tgid) {
                    self.names.insert(process.tgid, process.comm.clone());
                }
                if (all || self.selection.tgids.contains(&process.tgid))
                    && self.selected.len() < MOST_NAMES
                {
                    self.selected.insert(process.tgid);
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, seen: &Seen<'_>) -> anyhow::Result<()> {
        let Seen {
            event, resolved, ..
        } = seen;
        if let What::Send { flow, .. } | What::Receive { flow, .. } = &event.what
            && !self.selection.shows_port(flow.port)
        {
            return Ok(());
        }
        // Windows name only those processes that are there at their end.
        if let What::Send { flow, .. } | What::Receive { flow, .. } = &event.what
            && self.images.contains(&flow.image)
            && let Some(tgid) = resolved.tgid
            && self.selected.len() < MOST_NAMES
        {
            self.selected.insert(tgid);
        }
        self.offset_ns = resolved.time_unix_ns.wrapping_sub(event.time_ns);
        self.watch.event(event, resolved);
        Ok(())
    }
}

impl Analysis for Inferring {
    type Output = Result<Inference, CannotTell>;

    fn finish(self) -> Self::Output {
        self.drawn().map(|(inference, _)| inference)
    }
}
