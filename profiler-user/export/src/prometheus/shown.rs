//! Who has series of their own: at most so many components, those with the most work; all others are one, `other`.
//!
//! In: the components and edges of a window, and who of them still lives. Out: the label of each, and who gives series up.
//! Must not know: sums, text.
//!
//! A series that is given up goes into `other` and, if it comes back, begins at nothing. So it is given up only if its
//! component is gone, or another one has done twice as much for a while.

use std::{collections::BTreeMap, sync::Arc};

use courtside_core::model::{
    snapshot::{Component, ComponentKind, Snapshot},
    visible::visible,
};

use super::OTHER;

/// The id of a component as it is written, or `other`.
pub(super) type Id = Arc<str>;

/// In this time what a component did counts half.
const HALF_LIFE_NS: f64 = 60e9;
/// How much more another one has to do for it to get the series of the one that does least.
pub(super) const MORE: f64 = 2.0;
/// A remote end has no process that could be seen to end. It is gone if it did nothing for so many times as long.
const REMOTE_PATIENCE: u64 = 5;

/// What is known of a component.
#[derive(Clone, Debug)]
struct Known {
    /// When it did something last, on the clock of the windows.
    last_ns: u64,
    tgids: Vec<u32>,
    /// How much it did lately.
    score: f64,
    shown: bool,
    name: String,
    kind: ComponentKind,
}

/// All that are known, by their ids as these are written: two that are written alike have one series, and not one twice.
#[derive(Debug)]
pub(super) struct Shown {
    known: BTreeMap<Id, Known>,
    most: usize,
    linger_ns: u64,
    now_ns: u64,
    other: Id,
}

impl Shown {
    /// At most `most` have series; who is gone keeps them for this long.
    pub(super) fn new(most: usize, linger_ns: u64) -> Self {
        Self {
            known: BTreeMap::new(),
            most: most.max(1),
            linger_ns,
            now_ns: 0,
            other: OTHER.into(),
        }
    }

    /// One more window. `lives` says of processes whether any is still there. Returns those that give up their series.
    pub(super) fn window(
        &mut self,
        snapshot: &Snapshot,
        lives: &dyn Fn(&[u32]) -> bool,
    ) -> Vec<Id> {
        let duration_ns = snapshot.window.duration_ns;
        self.now_ns = self.now_ns.saturating_add(duration_ns);
        let less = less(duration_ns);
        for known in self.known.values_mut() {
            known.score *= less;
        }
        let work = work(snapshot);
        for component in &snapshot.components {
            self.see(
                component,
                work.get(component.id.as_str()).copied().unwrap_or(0.0),
            );
        }
        let mut leaving = self.gone(lives);
        self.admit();
        leaving.extend(self.exchange());
        self.forget();
        leaving
    }

    fn see(&mut self, component: &Component, work: f64) {
        let now_ns = self.now_ns;
        let known = self
            .known
            .entry(Arc::from(&*visible(&component.id)))
            .or_insert_with(|| Known {
                last_ns: now_ns,
                tgids: Vec::new(),
                score: 0.0,
                shown: false,
                name: String::new(),
                kind: component.kind,
            });
        known.last_ns = now_ns;
        known.score += work;
        known.kind = component.kind;
        known.name.clone_from(&component.name);
        known.tgids.clear();
        known
            .tgids
            .extend(component.processes.iter().map(|process| process.tgid));
    }

    /// Forgets those that are gone. Who is only idle has processes that live.
    fn gone(&mut self, lives: &dyn Fn(&[u32]) -> bool) -> Vec<Id> {
        let (now_ns, linger_ns) = (self.now_ns, self.linger_ns);
        let is_gone = |known: &Known| {
            let idle_ns = now_ns.saturating_sub(known.last_ns);
            let patience_ns = match known.kind {
                ComponentKind::Remote => linger_ns.saturating_mul(REMOTE_PATIENCE),
                _ => linger_ns,
            };
            idle_ns > patience_ns && (known.tgids.is_empty() || !lives(&known.tgids))
        };
        let mut leaving = Vec::new();
        self.known.retain(|id, known| {
            let stays = !is_gone(known);
            if !stays && known.shown {
                leaving.push(Arc::clone(id));
            }
            stays
        });
        leaving
    }

    /// Gives series to those that do most, as long as there are any.
    fn admit(&mut self) {
        let shown = self.known.values().filter(|known| known.shown).count();
        let mut waiting: Vec<(&Id, &mut Known)> = self
            .known
            .iter_mut()
            .filter(|(_, known)| !known.shown)
            .collect();
        waiting.sort_by(|(a, x), (b, y)| y.score.total_cmp(&x.score).then_with(|| a.cmp(b)));
        for (_, known) in waiting.into_iter().take(self.most.saturating_sub(shown)) {
            known.shown = true;
        }
    }

    /// The one that does most without series takes the place of the one that does least with them, if it does much more.
    fn exchange(&mut self) -> Option<Id> {
        let least = self
            .known
            .iter()
            .filter(|(_, known)| known.shown)
            .min_by(|(_, x), (_, y)| x.score.total_cmp(&y.score));
        let most = self
            .known
            .iter()
            .filter(|(_, known)| !known.shown)
            .max_by(|(_, x), (_, y)| x.score.total_cmp(&y.score));
        let ((least, x), (most, y)) = least.zip(most)?;
        if y.score <= x.score * MORE {
            return None;
        }
        let (least, most) = (Arc::clone(least), Arc::clone(most));
        for (id, shown) in [(&least, false), (&most, true)] {
            if let Some(known) = self.known.get_mut(id) {
                known.shown = shown;
            }
        }
        Some(least)
    }

    /// Of those without series only so many are remembered as may matter.
    fn forget(&mut self) {
        let room = self.most.saturating_mul(4).saturating_add(64);
        if self.known.len() <= self.most.saturating_add(room) {
            return;
        }
        let mut scores: Vec<f64> = self
            .known
            .values()
            .filter(|known| !known.shown)
            .map(|known| known.score)
            .collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        let Some(least) = scores.get(room).copied() else {
            return;
        };
        self.known
            .retain(|_, known| known.shown || known.score > least);
    }

    /// The label of a component.
    pub(super) fn label(&self, id: &str) -> Id {
        match self.known.get_key_value(&*visible(id)) {
            Some((id, known)) if known.shown => Arc::clone(id),
            _ => Arc::clone(&self.other),
        }
    }

    /// `other`.
    pub(super) fn other(&self) -> Id {
        Arc::clone(&self.other)
    }

    /// Id, name and kind of all that have series.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Id, &str, ComponentKind)> {
        self.known
            .iter()
            .filter(|(_, known)| known.shown)
            .map(|(id, known)| (id, known.name.as_str(), known.kind))
    }
}

/// How much of what was done before a window of this length still counts after it.
pub(super) fn less(duration_ns: u64) -> f64 {
    0.5f64.powf(duration_ns as f64 / HALF_LIFE_NS)
}

/// How much each component did: messages, turnarounds, and milliseconds on a CPU.
fn work(snapshot: &Snapshot) -> BTreeMap<&str, f64> {
    let mut work: BTreeMap<&str, f64> = BTreeMap::new();
    for component in &snapshot.components {
        *work.entry(&component.id).or_default() += component.turnaround.count as f64
            + component.turnaround.unprompted_count as f64
            + component.cpu.on_cpu_ns as f64 / 1e6;
    }
    for edge in &snapshot.edges {
        for end in [&edge.from, &edge.to] {
            *work.entry(end).or_default() +=
                edge.messages_sent as f64 + edge.messages_received as f64;
        }
    }
    work
}
