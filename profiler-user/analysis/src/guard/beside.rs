//! Guard beside a screen: it judges each window that is shown, and acts on nothing.
//!
//! In: snapshots in which everybody is seen. Out: a [`Judgement`] after each. Must not know: screens, where windows come from.

use std::{collections::BTreeMap, sync::Arc};

use courtside_core::model::{
    Snapshot,
    interference::{EventKind, Interference, Signal},
    judgement::{Judgement, Judges, Standing},
};

use super::{Guard, GuardOptions, LEARN_WINDOWS, inputs};

/// So many windows it is said that something is over.
const OVER_FOR: u64 = 60;

/// Guard, and what it said last.
#[derive(Debug)]
pub struct Beside {
    guard: Guard,
    told: BTreeMap<(String, Signal), Arc<Interference>>,
}

impl Default for Beside {
    fn default() -> Self {
        Self {
            guard: Guard::new(GuardOptions::default(), None),
            told: BTreeMap::new(),
        }
    }
}

impl Judges for Beside {
    fn window(&mut self, all: &Snapshot) -> Arc<Judgement> {
        let window = inputs(all);
        let components: Vec<(String, bool)> = window
            .components
            .iter()
            .map(|(id, used)| (id.clone(), window.has_value(used)))
            .collect();
        for line in self.guard.window(window, &|_| true) {
            let last_word = matches!(line.event, EventKind::Anomaly | EventKind::Cleared);
            if let Some(signal) = line.signal.filter(|_| last_word) {
                // As many as are watched, of which there is a bound.
                self.told
                    .insert((line.victim.clone(), signal), Arc::new(line));
            }
        }
        let now = self.guard.windows();
        self.told.retain(|_, line| {
            line.event == EventKind::Anomaly || now.saturating_sub(line.windows) < OVER_FOR
        });
        let standing = components.into_iter().map(|(id, has_value)| {
            let how = if has_value {
                self.guard.standing(&id)
            } else {
                Standing::TooLittle
            };
            (id, how)
        });
        Arc::new(Judgement {
            windows: now,
            needed: LEARN_WINDOWS,
            standing: standing.collect(),
            told: self.told.values().cloned().collect(),
        })
    }

    fn restart(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use courtside_core::{
        fixture::snapshots,
        model::{Blame, blame::UNKNOWN},
    };

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A window of a second in which web waits so long for a CPU, for a hog.
    fn window(number: u64, waited_ns: u64) -> Snapshot {
        let mut snapshot = snapshots::normal(0);
        snapshot.window.start_unix_ns += number * SECOND;
        let mut hog = snapshot.components[2].clone();
        "program:hog".clone_into(&mut hog.id);
        "hog".clone_into(&mut hog.name);
        hog.cpu.on_cpu_ns = waited_ns.max(1_000_000);
        for component in &mut snapshot.components {
            component.cpu.run_queue_ns = 0;
            component.cpu.run_queue_by = Some(Vec::new());
        }
        let web = snapshot.components.iter_mut().find(|c| c.name == "web");
        let cpu = &mut web.unwrap().cpu;
        // A little noise, as everywhere.
        let waited_ns = waited_ns + number % 7 * 100_000;
        cpu.run_queue_ns = waited_ns;
        cpu.run_queue_by = Some(vec![
            Blame {
                component: hog.id.clone(),
                ns: waited_ns / 10 * 9,
            },
            Blame {
                component: UNKNOWN.to_owned(),
                ns: waited_ns - waited_ns / 10 * 9,
            },
        ]);
        snapshot.components.push(hog);
        snapshot
    }

    #[test]
    fn it_learns_then_names_the_hog_and_then_says_that_it_is_over() {
        let mut beside = Beside::default();
        let standing = |judgement: &Judgement| judgement.standing.get("unit:web").copied();
        let mut number = 0;
        let mut pass = |beside: &mut Beside, windows: u64, waited_ns| {
            let mut last = None;
            for _ in 0..windows {
                last = Some(beside.window(&window(number, waited_ns)));
                number += 1;
            }
            last.unwrap()
        };
        let judged = pass(&mut beside, 12, 5_000_000);
        assert_eq!(standing(&judged), Some(Standing::Learning(12)));
        assert_eq!((judged.windows, judged.needed), (12, 60));
        // Who serves nobody is not judged.
        let hog = judged.standing.get("program:hog");
        assert_eq!(hog, Some(&Standing::TooLittle));

        let judged = pass(&mut beside, 60, 5_000_000);
        assert_eq!(standing(&judged), Some(Standing::Judged));
        assert!(judged.told.is_empty(), "{:?}", judged.told);

        let judged = pass(&mut beside, 5, 400_000_000);
        let told = judged.of("unit:web");
        let line = told
            .iter()
            .find(|line| line.signal == Some(Signal::RunQueuePerRequest));
        let line = line.unwrap();
        assert_eq!(line.event, EventKind::Anomaly);
        assert_eq!(line.suspects[0].component, "program:hog");

        let judged = pass(&mut beside, 12, 5_000_000);
        let told = judged.of("unit:web");
        assert!(!told.is_empty());
        assert!(
            told.iter().all(|line| line.event == EventKind::Cleared),
            "{told:?}"
        );
        let judged = pass(&mut beside, OVER_FOR, 5_000_000);
        assert!(judged.told.is_empty(), "{:?}", judged.told);

        beside.restart();
        let judged = pass(&mut beside, 1, 5_000_000);
        assert_eq!(standing(&judged), Some(Standing::Learning(1)));
    }
}
