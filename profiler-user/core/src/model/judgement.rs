//! Judgement: how guard sees the services of a host after a window, for those who show windows.
//!
//! In: nothing (plain data, filled by the crate `analysis`). Out: what screens show beside a snapshot. Must not know: how it
//! is told who slows whom, how it is shown.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    interference::{EventKind, Interference},
    snapshot::Snapshot,
    visible::{is_hidden, visible},
};

/// How guard sees them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// Windows that it has seen.
    pub windows: u64,
    /// Windows from which it learns what is usual of a service.
    pub needed: u64,
    /// Each component of this host.
    pub standing: BTreeMap<String, Standing>,
    /// Its last word on each signal of each service: on what lasts, and for a while on what is over. By victim.
    pub told: Vec<Arc<Interference>>,
}

/// How far a component can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It served too few requests in this window, and no counters tell anything of it.
    TooLittle,
    /// What is usual is being learned: from so many windows so far.
    Learning(u64),
    /// What is usual is known, and it was judged by that.
    Judged,
}

impl Judgement {
    /// Guard's last words on a component, what lasts before what is over, the furthest from usual first.
    pub fn of<'a>(&'a self, victim: &str) -> Vec<&'a Interference> {
        let mut told: Vec<&Interference> = self
            .told
            .iter()
            .map(AsRef::as_ref)
            .filter(|line| line.victim == victim)
            .collect();
        let urgency = |line: &Interference| {
            let lasts = line.event == EventKind::Anomaly;
            let foreign = lasts && !line.suspects.is_empty();
            (foreign, lasts, line.sigmas.unwrap_or(0.0))
        };
        told.sort_by(|a, b| {
            let (a, b) = (urgency(a), urgency(b));
            (b.0, b.1).cmp(&(a.0, a.1)).then(b.2.total_cmp(&a.2))
        });
        told
    }

    /// The same with names that can be seen.
    #[must_use]
    pub fn for_people(self: &Arc<Self>) -> Arc<Self> {
        let hidden = |text: &str| text.chars().any(is_hidden);
        let hides = |line: &Interference| {
            let mut suspects = line.suspects.iter();
            hidden(&line.victim)
                || hidden(&line.reason)
                || suspects.any(|suspect| hidden(&suspect.component))
        };
        let mut ids = self.standing.keys();
        if !ids.any(|id| hidden(id)) && !self.told.iter().any(|line| hides(line)) {
            return Arc::clone(self);
        }
        let shown = |text: &str| visible(text).into_owned();
        let told = self.told.iter().map(|line| {
            let mut line = Interference::clone(line);
            line.victim = shown(&line.victim);
            line.reason = shown(&line.reason);
            for suspect in &mut line.suspects {
                suspect.component = shown(&suspect.component);
            }
            Arc::new(line)
        });
        let standing = self.standing.iter();
        Arc::new(Self {
            standing: standing.map(|(id, how)| (shown(id), *how)).collect(),
            told: told.collect(),
            ..**self
        })
    }
}

/// Somebody who judges one window after the other.
pub trait Judges: Send {
    /// Takes a window in which everybody is seen.
    fn window(&mut self, all: &Snapshot) -> Arc<Judgement>;

    /// Forgets everything: windows of another length come next.
    fn restart(&mut self);
}
