//! Who was suspected most over many windows: what a recording says once it has been judged.
//!
//! In: a [`Guard`] after each window, and the window. Out: [`Aggression`], the worst first. Must not know: lines, files.

use std::collections::{BTreeMap, BTreeSet};

use courtside_core::model::interference::{Aggression, Suspect};

use super::{Guard, Inputs};

/// Pairs that are kept, at most.
const MAX_PAIRS: usize = 65_536;

/// Pairs of a service and a suspect.
#[derive(Debug, Default)]
pub struct Ranking {
    pairs: BTreeMap<(String, String), Aggression>,
    /// Windows in which each service was slow, but not by itself.
    slow: BTreeMap<String, u64>,
    windows: u64,
    /// The last sample that was counted: in mode paper not every window is one.
    last: u64,
    left_out: u64,
}

impl Ranking {
    /// Takes what is suspected after a window, and whom its services waited for in it.
    pub fn window(&mut self, guard: &Guard, window: &Inputs) {
        self.windows += 1;
        if guard.windows() == self.last {
            return;
        }
        self.last = guard.windows();
        let mut slow: BTreeSet<&str> = BTreeSet::new();
        // Several numbers of a service may be too high: the most suspicious counts.
        let mut most: BTreeMap<(&str, &str), (&Suspect, bool)> = BTreeMap::new();
        for (victim, _, anomaly) in guard.anomalies().filter(|(.., anomaly)| !anomaly.excused) {
            slow.insert(victim);
            for (place, suspect) in anomaly.suspects.iter().enumerate() {
                let pair = most
                    .entry((victim, &suspect.component))
                    .or_insert((suspect, false));
                pair.1 |= place == 0;
                if suspect.score > pair.0.score {
                    pair.0 = suspect;
                }
            }
        }
        for victim in slow {
            if self.slow.len() < MAX_PAIRS || self.slow.contains_key(victim) {
                *self.slow.entry(victim.to_owned()).or_default() += 1;
            }
        }
        for ((victim, id), (suspect, is_first)) in most {
            let key = (victim.to_owned(), id.to_owned());
            if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&key) {
                self.left_out = self.left_out.saturating_add(1);
                continue;
            }
            let pair = self.pairs.entry(key).or_insert_with(|| Aggression {
                victim: victim.to_owned(),
                component: id.to_owned(),
                ..Aggression::default()
            });
            pair.windows += 1;
            pair.first += u64::from(is_first);
            if pair.windows == 1 || suspect.score > pair.score {
                (pair.score, pair.decided_by) = (suspect.score, suspect.decided_by);
            }
            if let Some(ns) = waited_for(window, victim, id) {
                pair.waited_ns = Some(pair.waited_ns.unwrap_or(0).saturating_add(ns));
            }
        }
    }

    /// All pairs, the worst first: by how often it was the first suspect, how often one at all, and how suspect.
    #[must_use]
    pub fn worst(&self) -> Vec<Aggression> {
        let slow = |victim: &str| self.slow.get(victim).copied().unwrap_or(0);
        let mut all: Vec<Aggression> = self.pairs.values().cloned().collect();
        for pair in &mut all {
            pair.slow_windows = slow(&pair.victim);
        }
        all.sort_by(|a, b| {
            let count = |of: &Aggression| (of.first, of.windows);
            count(b)
                .cmp(&count(a))
                .then_with(|| b.score.total_cmp(&a.score))
        });
        all
    }

    /// Windows that were looked at.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// How often a pair was left out, as there were too many.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// How long the service's threads were runnable in this window while the suspect had their CPU; none where that was not recorded.
fn waited_for(window: &Inputs, victim: &str, suspect: &str) -> Option<u64> {
    let used = window.components.get(victim)?;
    let by = used.run_queue_by.as_ref()?;
    let of = by.iter().find(|(id, _)| id == suspect);
    Some(of.map_or(0, |(_, ns)| *ns))
}
