//! `run_queue`: a request waits for a CPU while a component is ready to run.
//!
//! In: the parts of a component's court, and whom the CPU was given to meanwhile. Out: how much of a request that is, and
//! because of whom. Must not know: what may be done about it elsewhere. What a CPU quota of its own held back is not its
//! matter; where that is not measured it looks the same, and the words say so.

use courtside_core::{
    model::finding::Severity,
    units::{duration_f64, percent, rate},
};

use super::{
    Rule,
    facts::{Behind, Facts, OnWay, Stake},
    found::{Found, MEASURED, count, graded, ns, per_request, share},
};

/// From here on it is worth a change: a sixth of a request's time, which other work on the CPU may take by chance, is not.
const WARN: f64 = 0.2;
/// Most of what can be gained by any change lies here.
const BAD: f64 = 0.4;
/// A wake-up on an idle CPU takes up to some tens of microseconds, more on virtual machines; a request that waits less
/// than this in all waits for nobody.
const MIN_NS: f64 = 200_000.0;
/// From this share of the host's CPUs on it is their being busy that makes threads wait.
const BUSY: f64 = 0.8;

/// Of a request that is too short for `MIN_NS`: waiting for a CPU is most of it,
const SHORT_WARN: f64 = 0.5;
/// and is not what an idle CPU of a machine without a hypervisor takes to wake up;
const SHORT_MIN_NS: f64 = 20_000.0;
/// all requests together wait for a tenth of the window,
const SHORT_OF_WINDOW: f64 = 0.1;
/// and it is seen that CPUs are fought for, since a hypervisor may take tens of microseconds to wake one up: threads lose
/// theirs to others at every other request, or all CPUs are busy.
const SHORT_PREEMPTIONS: f64 = 0.5;

pub(super) struct RunQueue;

/// Waits for CPUs of one request.
struct Waits<'a> {
    /// Of the component that waits longest.
    way: OnWay<'a>,
    ns: f64,
    /// How many components wait; of a single one it is its own finding.
    components: usize,
}

impl Waits<'_> {
    /// How much of a request that is, and how bad. Each component adds what it takes to wake it up.
    fn judge(&self, facts: &Facts<'_>) -> Option<(Stake, Severity)> {
        let stake = |min_ns: f64| match self.components {
            1 => self.way.stake(self.ns, min_ns),
            n => self.way.stake_of_all(self.ns, min_ns * n as f64),
        };
        if let Some(stake) = stake(MIN_NS) {
            let severity = graded(stake.share, WARN, BAD)?;
            return Some((stake, severity));
        }
        let stake = stake(SHORT_MIN_NS)?;
        let fought_for = facts.preemptions(self.way.entry) >= SHORT_PREEMPTIONS
            || facts.cpus_taken().is_some_and(|taken| taken >= BUSY);
        let most = stake.share >= SHORT_WARN && stake.of_window >= SHORT_OF_WINDOW;
        (most && fought_for).then_some((stake, Severity::Warn))
    }

    fn found(&self, facts: &Facts<'_>) -> Option<Found> {
        let (stake, severity) = self.judge(facts)?;
        let Self { way, .. } = self;
        let name = facts.name(&way.court.component);
        let mut evidence = vec![
            ns("run_queue_per_request", self.ns),
            ns("request_mean", way.mean_ns),
            share("share_of_request", stake.share),
            count("requests", way.entry.requests),
        ];
        let preemptions = facts.preemptions(way.entry);
        evidence.push(per_request("preemptions_per_request", preemptions));
        let taken = facts.cpus_taken();
        evidence.extend(taken.map(|taken| share("cpus_taken", taken)));
        let behind = facts.behind(&way.court.component);
        if let Some(behind) = &behind {
            let of = format!("waits_behind:{}", behind.id);
            evidence.push(share(&of, behind.share));
        }
        let who = match self.components {
            1 => format!("{name} is ready to run, but waits"),
            n => format!("{name} and {} more are ready to run, but wait", n - 1),
        };
        Some(Found {
            severity,
            component: way.court.component.clone(),
            edge: None,
            says: format!(
                "{who} for a CPU: {} of a request's {} ({}){}",
                duration_f64(stake.ns),
                duration_f64(way.mean_ns),
                percent(stake.share),
                behind
                    .as_ref()
                    .map_or_else(String::new, |behind| behind.words(name))
            ),
            evidence,
            remedy: remedy(
                name,
                behind.as_ref(),
                taken,
                preemptions,
                facts.knows_quota(&way.court.component),
            ),
            sure: MEASURED,
            rests_on: way.entry.requests,
            at_stake_ns: Some(stake.ns),
        })
    }
}

impl Behind<'_> {
    /// Who it waits for, for the end of a sentence about `name`.
    fn words(&self, name: &str) -> String {
        let who = if self.own {
            "other threads of its own"
        } else {
            self.name
        };
        format!(
            "; for {} of the waits of {name} {who} had it",
            percent(self.share)
        )
    }
}

fn remedy(
    name: &str,
    behind: Option<&Behind<'_>>,
    taken: Option<f64>,
    preemptions: f64,
    knows_quota: bool,
) -> String {
    match (behind, taken) {
        (Some(behind), _) if behind.own => {
            return format!(
                "{name} has more threads that can run than CPUs: let fewer of them run at the same time, or give it more CPUs"
            );
        }
        (Some(behind), _) => {
            return format!(
                "Give {name} CPUs of its own, or {} other ones or a smaller share of them (cpu.weight of its control group, nice)",
                behind.name
            );
        }
        _ => {}
    }
    match taken {
        // What a quota held back is no part of these waits, where it is measured.
        Some(_) if knows_quota && preemptions >= SHORT_PREEMPTIONS && !is_busy(taken) => format!(
            "Threads lose their CPU to others {} times for each request: look for what runs on the same CPUs as {name} (threads bound to one CPU)",
            rate(preemptions)
        ),
        Some(share) if knows_quota && !is_busy(taken) => format!(
            "What is shown took {} of the CPUs: look for threads of {name} that are bound to one CPU, or for bursts shorter than the window",
            percent(share)
        ),
        Some(taken) if taken >= BUSY => format!(
            "The CPUs are busy ({}): see who else runs and run less beside {name}, or give it more CPUs",
            percent(taken)
        ),
        Some(_) if preemptions >= SHORT_PREEMPTIONS => format!(
            "Threads lose their CPU to others {} times for each request: look for what runs on the same CPUs as {name} (threads bound to one CPU), or for a CPU quota of {name} (cpu.stat of its control group)",
            rate(preemptions)
        ),
        Some(taken) => format!(
            "What is shown took {} of the CPUs: look for a CPU quota of {name} (cpu.stat of its control group), threads bound to one CPU, or bursts shorter than the window",
            percent(taken)
        ),
        None => format!("See who else runs on the CPUs that {name} may use"),
    }
}

fn is_busy(taken: Option<f64>) -> bool {
    taken.is_some_and(|taken| taken >= BUSY)
}

impl Rule for RunQueue {
    fn name(&self) -> &'static str {
        "run_queue"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let ways: Vec<OnWay<'_>> = facts.ways().collect();
        let waits = |way: &OnWay<'_>| facts.waits_ns(way);
        let alone = |way: &OnWay<'_>| {
            let found = Waits {
                way: *way,
                ns: waits(way),
                components: 1,
            };
            found.found(facts)
        };
        let mut found = Vec::new();
        for entry in &facts.snapshot.entries {
            let of_entry: Vec<&OnWay<'_>> = ways
                .iter()
                .filter(|way| std::ptr::eq(way.entry, entry) && waits(way) > 0.0)
                .collect();
            let alone: Vec<Found> = of_entry.iter().filter_map(|way| alone(way)).collect();
            let longest = of_entry.iter().max_by(|a, b| waits(a).total_cmp(&waits(b)));
            match longest {
                // Too little in each, and enough in all of them together.
                Some(longest) if alone.is_empty() && of_entry.len() > 1 => {
                    let all = Waits {
                        way: **longest,
                        ns: of_entry.iter().map(|way| waits(way)).sum(),
                        components: of_entry.len(),
                    };
                    found.extend(all.found(facts));
                }
                _ => found.extend(alone),
            }
        }
        found
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{calm, component, court, said};
    use super::*;
    use courtside_core::{
        model::{Blame, Snapshot, snapshot::Entry},
        parts::Part,
    };

    /// Half of a millisecond more for a CPU, which the request took longer for.
    fn waiting(ns: f64) -> Snapshot {
        let mut snapshot = calm();
        let entry = &mut snapshot.entries[0];
        entry.mean_ns = entry.mean_ns.map(|mean| mean + ns);
        let court = court(&mut snapshot, "program:app");
        court.parts[Part::RunQueue] += ns;
        court.turnaround_ns += ns;
        snapshot
    }

    pub(in super::super) fn loud() -> Snapshot {
        waiting(800_000.0)
    }

    #[test]
    fn a_request_that_waits_for_a_cpu_is_said() {
        let found = said("run_queue", &waiting(800_000.0));
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "app is ready to run, but waits for a CPU: 850 µs of a request's 2.80 ms (30%)"
        );
        assert_eq!(found[0].severity, Severity::Warn);
        assert_eq!(found[0].at_stake_ns, Some(850_000.0));
        assert_eq!(said("run_queue", &waiting(4e6))[0].severity, Severity::Bad);
    }

    #[test]
    fn who_had_the_cpu_is_said_if_one_had_it_for_most() {
        let behind = |by: &[(&str, u64)]| {
            let mut snapshot = waiting(800_000.0);
            let app = component(&mut snapshot, "program:app");
            app.cpu.run_queue_ns = by.iter().map(|(_, ns)| ns).sum();
            let blame = by.iter().map(|(who, ns)| Blame {
                component: (*who).to_owned(),
                ns: *ns,
            });
            app.cpu.run_queue_by = Some(blame.collect());
            said("run_queue", &snapshot).remove(0)
        };
        let web = behind(&[("unit:web", 930), ("idle", 70)]);
        assert!(
            web.says
                .ends_with(" (30%); for 93% of the waits of app web had it"),
            "{}",
            web.says
        );
        assert!(
            web.remedy
                .starts_with("Give app CPUs of its own, or web other ones")
        );
        let own = behind(&[("program:app", 800), ("unit:web", 200)]);
        assert!(
            own.says
                .ends_with("; for 80% of the waits of app other threads of its own had it")
        );
        assert!(
            own.remedy
                .starts_with("app has more threads that can run than CPUs")
        );
        // Nobody had it, nobody for most of the time, or it is not known who.
        for by in [
            &[("idle", 900), ("unit:web", 100)][..],
            &[("unit:web", 400), ("program:app", 400), ("unknown", 200)],
            &[("unknown", 100)],
        ] {
            assert!(behind(by).says.ends_with("(30%)"), "{by:?}");
        }
    }

    #[test]
    fn the_remedy_tells_busy_cpus_from_idle_ones() {
        let mut snapshot = waiting(800_000.0);
        assert!(said("run_queue", &snapshot)[0].remedy.contains("CPU quota"));
        component(&mut snapshot, "program:app").cpu.throttled_ns = Some(0);
        let measured = &said("run_queue", &snapshot)[0].remedy;
        assert!(measured.contains("bound to one CPU") && !measured.contains("quota"));
        snapshot.host.cpus = 1;
        assert!(
            said("run_queue", &snapshot)[0]
                .remedy
                .starts_with("The CPUs are busy (100%)")
        );
    }

    /// Four thousand requests of 150 µs a second, of which each waits so long for a CPU.
    fn short(waits_ns: f64, preemptions: u64) -> Snapshot {
        let mut snapshot = calm();
        snapshot.entries[0] = Entry {
            requests: 4000,
            mean_ns: Some(150_000.0),
            ..std::mem::take(&mut snapshot.entries[0])
        };
        for id in ["unit:web", "program:app"] {
            let court = court(&mut snapshot, id);
            court.parts = [(Part::OnCpu, 20_000.0)].into_iter().collect();
        }
        court(&mut snapshot, "program:app").parts[Part::RunQueue] = waits_ns;
        component(&mut snapshot, "program:app")
            .cpu
            .involuntary_switches = preemptions;
        snapshot
    }

    #[test]
    fn a_short_request_that_mostly_waits_for_a_cpu_is_said_where_cpus_are_fought_for() {
        let found = said("run_queue", &short(90_000.0, 4000));
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "app is ready to run, but waits for a CPU: 90.0 µs of a request's 150 µs (60%)"
        );
        assert_eq!(found[0].severity, Severity::Warn);
        assert!(
            found[0]
                .remedy
                .starts_with("Threads lose their CPU to others 1.00 times")
        );
        // Or where all are busy.
        let mut busy = short(90_000.0, 0);
        busy.host.cpus = 1;
        assert!(
            said("run_queue", &busy)[0]
                .remedy
                .starts_with("The CPUs are busy")
        );
    }

    #[test]
    fn what_is_little_in_each_and_much_in_all_is_said_once() {
        let both = |ns: f64| {
            let mut snapshot = calm();
            let entry = &mut snapshot.entries[0];
            entry.mean_ns = entry.mean_ns.map(|mean| mean + 2.0 * ns);
            for id in ["unit:web", "program:app"] {
                court(&mut snapshot, id).parts[Part::RunQueue] += ns;
            }
            snapshot
        };
        let found = said("run_queue", &both(350_000.0));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].says.ends_with(
                " and 1 more are ready to run, but wait for a CPU: 800 µs of a request's 2.70 ms (30%)"
            ),
            "{}",
            found[0].says
        );
        // As long as it takes to wake up each of them.
        let mut wakes = both(120_000.0);
        wakes.entries[0].mean_ns = Some(1_000_000.0);
        assert!(said("run_queue", &wakes).is_empty());
        // Beside calls that others made at once.
        let mut beside = both(350_000.0);
        court(&mut beside, "unit:web").held_ns = Some(-700_000.0);
        assert!(said("run_queue", &beside).is_empty());
    }

    #[test]
    fn what_a_hypervisor_takes_to_wake_a_cpu_up_is_no_finding() {
        // Most of it, but nobody loses a CPU.
        assert!(said("run_queue", &short(90_000.0, 100)).is_empty());
        // Threads lose their CPU, but that is not most of a request.
        assert!(said("run_queue", &short(60_000.0, 8000)).is_empty());
        // It is, and takes no time.
        let mut fast = short(15_000.0, 8000);
        fast.entries[0].mean_ns = Some(25_000.0);
        assert!(said("run_queue", &fast).is_empty());
        // Hardly anybody asks.
        let mut seldom = short(90_000.0, 8000);
        seldom.entries[0].requests = 1000;
        assert!(said("run_queue", &seldom).is_empty());
    }

    #[test]
    fn short_waits_and_waits_beside_others_are_no_finding() {
        assert!(said("run_queue", &waiting(0.0)).is_empty());
        assert!(said("run_queue", &waiting(300_000.0)).is_empty());
        // Hardly anybody asks.
        let mut seldom = waiting(800_000.0);
        seldom.window.duration_ns *= 100;
        assert!(said("run_queue", &seldom).is_empty());
        // A fast request of which the wake-up takes a third.
        let mut fast = waiting(0.0);
        fast.entries[0].mean_ns = Some(150_000.0);
        assert!(said("run_queue", &fast).is_empty());
        // The caller asked others meanwhile, and waited for those anyway.
        let mut beside = waiting(800_000.0);
        court(&mut beside, "unit:web").held_ns = Some(-700_000.0);
        assert!(said("run_queue", &beside).is_empty());
    }
}
