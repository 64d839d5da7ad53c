//! `antagonist`: a component that no request passes has the CPU while those that requests pass could run.
//!
//! In: the parts of each court, and whom the CPU was given to meanwhile. Out: how much of a request that is. Must not know: how
//! the CPU was shared out, hardware counters.

use courtside_core::{
    model::finding::Severity,
    units::{duration_f64, percent},
};

use super::{
    Rule,
    facts::{Facts, OnWay, Stake},
    found::{Found, MEASURED, count, graded, ns, share},
};

/// As for `run_queue`.
const WARN: f64 = 0.2;
/// As for `run_queue`.
const BAD: f64 = 0.4;
/// As for `run_queue`.
const MIN_NS: f64 = 200_000.0;

pub(super) struct Antagonist;

/// Who waits because of one component, of the requests at one entry.
struct Victims<'a> {
    first: OnWay<'a>,
    more: usize,
    stake: Stake,
    severity: Severity,
}

/// How long each request waits in a court while `id` has the CPU.
fn due_ns(facts: &Facts<'_>, way: &OnWay<'_>, id: &str) -> f64 {
    let share = facts.component(&way.court.component).and_then(|victim| {
        let blame = victim.cpu.run_queue_by.as_ref()?;
        let by = blame.iter().find(|by| by.component == id)?;
        Some(by.ns as f64 / victim.cpu.run_queue_ns.max(1) as f64)
    });
    facts.waits_ns(way) * share.unwrap_or(0.0)
}

fn victims<'a>(facts: &Facts<'a>, ways: &[OnWay<'a>], id: &str) -> Option<Victims<'a>> {
    let mut worst: Option<Victims<'a>> = None;
    for entry in &facts.snapshot.entries {
        let mut waiting: Vec<(f64, &OnWay<'a>)> = ways
            .iter()
            .filter(|way| std::ptr::eq(way.entry, entry))
            .map(|way| (due_ns(facts, way, id), way))
            .filter(|(ns, _)| *ns > 0.0)
            .collect();
        waiting.sort_by(|a, b| b.0.total_cmp(&a.0));
        let Some((_, first)) = waiting.first() else {
            continue;
        };
        let all = waiting.iter().map(|(ns, _)| ns).sum();
        let stake = match waiting.len() {
            1 => first.stake(all, MIN_NS),
            n => first.stake_of_all(all, MIN_NS * n as f64),
        };
        let found = stake.and_then(|stake| {
            Some(Victims {
                first: **first,
                more: waiting.len() - 1,
                stake,
                severity: graded(stake.share, WARN, BAD)?,
            })
        });
        let at_stake = |victims: &Victims<'_>| victims.stake.of_window;
        if let Some(found) = found
            && worst
                .as_ref()
                .is_none_or(|worst| at_stake(worst) < at_stake(&found))
        {
            worst = Some(found);
        }
    }
    worst
}

impl Rule for Antagonist {
    fn name(&self) -> &'static str {
        "antagonist"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let ways: Vec<OnWay<'_>> = facts.ways().collect();
        let strangers = facts
            .local()
            .filter(|other| facts.on_way(&other.id).is_none());
        let found = strangers.filter_map(|other| {
            let Victims {
                first,
                more,
                stake,
                severity,
            } = victims(facts, &ways, &other.id)?;
            let name = facts.name(&other.id);
            let victim = facts.name(&first.court.component);
            let who = match more {
                0 => victim.to_owned(),
                n => format!("{victim} and {n} more"),
            };
            Some(Found {
                severity,
                component: other.id.clone(),
                edge: None,
                says: format!(
                    "{name}, which no request passes, has the CPU while {who} could run: {} of a request's {} ({})",
                    duration_f64(stake.ns),
                    duration_f64(first.mean_ns),
                    percent(stake.share)
                ),
                evidence: vec![
                    ns("run_queue_per_request", stake.ns),
                    ns("request_mean", first.mean_ns),
                    share("share_of_request", stake.share),
                    share("on_cpu_of_one_core", facts.of_window(other.cpu.on_cpu_ns)),
                    count("requests", first.entry.requests),
                ],
                remedy: format!(
                    "Give {name} other CPUs than {victim}, or a smaller share of them (cpu.weight of its control group, nice); run it at another time"
                ),
                sure: MEASURED,
                rests_on: first.entry.requests,
                at_stake_ns: Some(stake.ns),
            })
        });
        found.collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{calm, component, court, said};
    use super::*;
    use courtside_core::{
        model::{
            Blame, Snapshot,
            snapshot::{Component, ComponentKind, Cpu},
        },
        parts::Part,
    };

    /// App waits 0.85 ms of a request for the CPU, of which a hog has it for nine tenths.
    fn beside(hog: &str) -> Snapshot {
        let mut snapshot = calm();
        let entry = &mut snapshot.entries[0];
        entry.mean_ns = entry.mean_ns.map(|mean| mean + 800_000.0);
        let court = court(&mut snapshot, "program:app");
        court.parts[Part::RunQueue] += 800_000.0;
        court.turnaround_ns += 800_000.0;
        let app = component(&mut snapshot, "program:app");
        app.cpu.run_queue_ns = 1_000_000_000;
        app.cpu.run_queue_by = Some(vec![
            Blame {
                component: hog.to_owned(),
                ns: 900_000_000,
            },
            Blame {
                component: "idle".to_owned(),
                ns: 100_000_000,
            },
        ]);
        if hog == "program:hog" {
            snapshot.components.push(Component {
                id: hog.to_owned(),
                name: "hog".to_owned(),
                kind: ComponentKind::Program,
                cpu: Cpu {
                    on_cpu_ns: 900_000_000,
                    ..Cpu::default()
                },
                ..Component::default()
            });
        }
        snapshot
    }

    pub(in super::super) fn loud() -> Snapshot {
        beside("program:hog")
    }

    #[test]
    fn who_has_the_cpu_is_named_with_what_it_costs() {
        let found = said("antagonist", &loud());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].component, "program:hog");
        assert_eq!(
            found[0].says,
            "hog, which no request passes, has the CPU while app could run: 765 µs of a request's 2.80 ms (27%)"
        );
        assert_eq!(found[0].severity, Severity::Warn);
    }

    #[test]
    fn those_that_requests_pass_idle_cpus_and_little_are_no_antagonists() {
        for who in ["program:app", "unit:web", "idle", "unknown"] {
            assert!(said("antagonist", &beside(who)).is_empty(), "{who}");
        }
        let mut little = loud();
        component(&mut little, "program:app").cpu.run_queue_by = Some(vec![Blame {
            component: "program:hog".to_owned(),
            ns: 200_000_000,
        }]);
        assert!(said("antagonist", &little).is_empty());
        let mut unknown = loud();
        component(&mut unknown, "program:app").cpu.run_queue_by = None;
        assert!(said("antagonist", &unknown).is_empty());
    }
}
