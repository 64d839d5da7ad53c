//! `imbalance`: of components that do the same job one does most of the work.
//!
//! In: components that run the same program, and that the same one calls on the same port. Out: how much of their CPU time
//! one of them takes, and whether by more requests or dearer ones. Must not know: how requests are spread, or ought to be.

use std::collections::{BTreeMap, BTreeSet};

use courtside_core::{
    frame::Transport,
    model::{
        finding::Severity,
        snapshot::{Component, ComponentKind, Edge},
    },
    units::percent,
};

use super::{
    Rule,
    facts::{Facts, is_counted},
    found::{CONCLUDED, Found, count, share},
};

/// One works half as much again as the mean of all: chance makes less of it with hundreds of requests.
const MORE_THAN_MEAN: f64 = 1.5;
/// What is hardly at work needs no better balance.
const MIN_CORE: f64 = 0.3;
/// Fewer requests fall unevenly by chance.
const MIN_REQUESTS: u64 = 200;
/// Its requests explain most of its work if their share is nearly as large.
const EXPLAINED: f64 = 0.8;

pub(super) struct Imbalance;

/// Those that do the same job, with how many requests each got of the one that calls them all.
struct Alike<'a> {
    caller: &'a str,
    members: Vec<(&'a Component, u64)>,
}

impl<'a> Alike<'a> {
    /// All groups of two and more; of callers that call the same ones, the busiest.
    fn groups(facts: &Facts<'a>) -> Vec<Self> {
        type Key<'a> = (&'a str, Transport, u16, BTreeSet<&'a str>);
        let mut groups: BTreeMap<Key<'a>, Vec<(&'a Edge, &'a Component)>> = BTreeMap::new();
        for edge in &facts.snapshot.edges {
            let Some(to) = facts.component(&edge.to) else {
                continue;
            };
            let program: BTreeSet<&str> = to.processes.iter().map(|p| p.comm.as_str()).collect();
            let listens = edge.port != 0 && to.kind != ComponentKind::Remote;
            if listens && !program.is_empty() && edge.from != edge.to {
                let key = (edge.from.as_str(), edge.transport, edge.port, program);
                groups.entry(key).or_default().push((edge, to));
            }
        }
        let mut of_same: BTreeMap<Vec<&str>, Self> = BTreeMap::new();
        for ((caller, ..), members) in groups {
            if members.len() < 2 || !members.iter().all(|(edge, _)| is_counted(edge)) {
                continue;
            }
            let ids = members.iter().map(|(_, to)| to.id.as_str()).collect();
            let members = members.into_iter().map(|(edge, to)| (to, edge.roundtrips));
            let group = Self {
                caller,
                members: members.collect(),
            };
            let known = of_same.get(&ids).map_or(0, Self::requests);
            if group.requests() > known {
                of_same.insert(ids, group);
            }
        }
        of_same.into_values().collect()
    }

    fn requests(&self) -> u64 {
        self.members.iter().map(|(_, requests)| requests).sum()
    }
}

impl Rule for Imbalance {
    fn name(&self) -> &'static str {
        "imbalance"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let groups = Alike::groups(facts).into_iter();
        let found = groups.filter_map(|group| {
            let requests = group.requests();
            let work = |component: &Component| component.cpu.on_cpu_ns;
            let all: u64 = group.members.iter().map(|(c, _)| work(c)).sum();
            let (most, its_requests) = group.members.iter().max_by_key(|(c, _)| work(c))?;
            let members = group.members.len() as f64;
            let of_work = work(most) as f64 / all.max(1) as f64;
            let on_cpu = facts.of_window(work(most));
            if requests < MIN_REQUESTS || on_cpu < MIN_CORE || of_work * members < MORE_THAN_MEAN {
                return None;
            }
            let of_requests = *its_requests as f64 / requests as f64;
            let name = facts.name(&most.id);
            let caller = facts.name(group.caller);
            let remedy = if of_requests >= EXPLAINED * of_work {
                format!(
                    "{name} gets {} of {caller}'s requests: spread them more evenly, and new connections with them",
                    percent(of_requests)
                )
            } else {
                format!(
                    "{name} gets only {} of {caller}'s requests: see why one costs it more CPU than the others, or what else it does",
                    percent(of_requests)
                )
            };
            Some(Found {
                severity: Severity::Warn,
                component: most.id.clone(),
                edge: None,
                says: format!(
                    "{name} does {} of the CPU work of {} components that run the same program for {caller}",
                    percent(of_work),
                    group.members.len()
                ),
                evidence: vec![
                    share("share_of_work", of_work),
                    share("share_of_requests", of_requests),
                    share("on_cpu", on_cpu),
                    count("members", group.members.len() as u64),
                    count("requests", requests),
                ],
                remedy,
                sure: CONCLUDED,
                rests_on: requests,
                at_stake_ns: None,
            })
        });
        found.collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{calm, component, edge, said};
    use super::*;
    use courtside_core::{frame::Process, model::Snapshot};

    /// Three workers behind web, the first of which works for so long.
    fn workers(on_cpu_ns: u64, requests: u64) -> Snapshot {
        let mut snapshot = calm();
        for (i, (work, got)) in [(on_cpu_ns, requests), (100_000_000, 200), (90_000_000, 200)]
            .into_iter()
            .enumerate()
        {
            let id = format!("container:worker-{i}");
            let mut worker = Component {
                id: id.clone(),
                name: format!("worker-{i}"),
                kind: ComponentKind::Container,
                processes: vec![Process {
                    comm: "node".to_owned(),
                    ..Process::default()
                }],
                ..Component::default()
            };
            worker.cpu.on_cpu_ns = work;
            snapshot.components.push(worker);
            snapshot
                .edges
                .push(edge("unit:web", &id, 9000, got, 500_000));
        }
        snapshot
    }

    pub(in super::super) fn loud() -> Snapshot {
        workers(810_000_000, 1600)
    }

    #[test]
    fn one_that_does_most_of_the_work_is_said() {
        let found = said("imbalance", &loud());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "worker-0 does 81% of the CPU work of 3 components that run the same program for web"
        );
        assert!(found[0].remedy.starts_with("worker-0 gets 80%"));
        let dear = said("imbalance", &workers(810_000_000, 200));
        assert!(dear[0].remedy.starts_with("worker-0 gets only 33%"));
    }

    #[test]
    fn even_work_little_work_and_other_programs_are_no_imbalance() {
        assert!(said("imbalance", &calm()).is_empty());
        assert!(said("imbalance", &workers(130_000_000, 200)).is_empty());
        let mut idle = loud();
        idle.window.duration_ns *= 10;
        assert!(said("imbalance", &idle).is_empty());
        let mut others = loud();
        component(&mut others, "container:worker-0").processes[0].comm = "ruby".to_owned();
        assert!(said("imbalance", &others).is_empty());
        let mut unsure = loud();
        unsure.edges[3].untimed = 150;
        assert!(said("imbalance", &unsure).is_empty());
    }
}
