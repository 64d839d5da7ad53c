//! Guard beside what is served: the lines that it has told, and how it stands.
//!
//! In: lines, as guard tells them. Out: the newest of them as one page, counts. Must not know: how it is judged, how limits are
//! written.

use std::collections::VecDeque;

use bytes::Bytes;
use courtside_core::{
    frame::Frame,
    model::{
        Snapshot,
        interference::{EventKind, Interference},
        status::GuardStatus,
    },
};
use courtside_export::{
    json,
    prometheus::{Guarded, Slow},
};

/// Lines that are kept for whoever asks, in bytes; older ones are only counted.
const MOST_BYTES: usize = 1 << 20;

/// Somebody who judges the windows that are served, and may act.
pub trait Guards: Send {
    /// Judges a window, of which this is served, and does what follows.
    fn window(&mut self, frame: &Frame, shown: &Snapshot) -> Vec<Interference>;

    /// Keeps limits for a while more, at least once a second; says what has become of them.
    fn keep(&mut self) -> Vec<Interference>;

    /// Takes every limit back.
    fn end(&mut self) -> Vec<Interference>;

    /// How it stands after the last window.
    fn standing(&self) -> Standing;
}

/// How guard stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Windows judged; samples in mode paper.
    pub windows: u64,
    /// Services of the last window that are judged by what is usual for them.
    pub judged: u64,
    /// Services of the last window of which it is still learned what is usual.
    pub learning: u64,
    /// What is too high now.
    pub slow: Vec<Slow>,
    /// Neighbours that are held back.
    pub limits: u64,
}

/// How guard was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// What is done about a neighbour: `off`, `dry_run` or `cap`.
    pub act: String,
    /// The file of what is usual; none if it is learned.
    pub spec: Option<String>,
}

/// What guard has told so far.
#[derive(Debug)]
pub(super) struct Told {
    begun: Begun,
    standing: Standing,
    lines: VecDeque<String>,
    bytes: usize,
    /// By the kind of event.
    counts: [u64; EventKind::ALL.len()],
}

impl Told {
    pub(super) fn new(begun: Begun) -> Self {
        Self {
            begun,
            standing: Standing::default(),
            lines: VecDeque::new(),
            bytes: 0,
            counts: [0; EventKind::ALL.len()],
        }
    }

    pub(super) fn add(&mut self, lines: &[Interference], standing: Option<Standing>) {
        for line in lines {
            let counts = EventKind::ALL.iter().zip(&mut self.counts);
            for (_, count) in counts.filter(|(kind, _)| **kind == line.event) {
                *count = count.saturating_add(1);
            }
            // What guard tells can be written.
            if let Ok(text) = json::line_of(line) {
                self.bytes = self.bytes.saturating_add(text.len());
                self.lines.push_back(text);
            }
            while self.bytes > MOST_BYTES {
                let Some(oldest) = self.lines.pop_front() else {
                    break;
                };
                self.bytes = self.bytes.saturating_sub(oldest.len());
            }
        }
        if let Some(standing) = standing {
            self.standing = standing;
        }
    }

    /// The newest lines, the oldest of them first.
    pub(super) fn page(&self) -> Bytes {
        let mut text = String::with_capacity(self.bytes);
        self.lines.iter().for_each(|line| text.push_str(line));
        text.into()
    }

    /// For the metrics.
    pub(super) fn guarded(&self) -> Guarded {
        Guarded {
            judged: self.standing.judged,
            learning: self.standing.learning,
            slow: self.standing.slow.clone(),
            limits: self.standing.limits,
            told: EventKind::ALL.into_iter().zip(self.counts).collect(),
        }
    }

    pub(super) fn status(&self) -> GuardStatus {
        let standing = &self.standing;
        let excused = standing.slow.iter().filter(|slow| slow.excused).count();
        GuardStatus {
            act: self.begun.act.clone(),
            spec: self.begun.spec.clone(),
            windows: standing.windows,
            judged: standing.judged,
            learning: standing.learning,
            interference: standing.slow.len().saturating_sub(excused) as u64,
            excused: excused as u64,
            limits: standing.limits,
            lines: self.counts.iter().copied().fold(0, u64::saturating_add),
            kept_lines: self.lines.len() as u64,
        }
    }
}
