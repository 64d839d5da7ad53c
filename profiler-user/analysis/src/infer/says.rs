//! What is found in an application, in words.
//!
//! In: an [`Inference`] without findings and remarks. Out: those. Must not know: how anything is told.

use std::collections::{BTreeMap, BTreeSet};

use courtside_core::{
    model::{
        finding::{Evidence, Finding, Severity},
        inference::{Inference, Process, Scenario},
    },
    units::{count, duration, duration_f64, percent},
};

use super::{
    answer::Team,
    members::Members,
    scenarios::{Method, Simulated, exactness, withheld},
    shape::MOST_NODES,
};

/// Others have to wait for a process for this share of the run.
const HOLDS_UP: f64 = 0.1;
/// And the others wait on average so many times as long as it does itself.
const ABOVE_ITS_OWN: f64 = 1.5;
/// From this share of the run on something outside, or a scenario, is worth to be said.
const NOTABLE: f64 = 0.1;
/// It takes most of the time.
const MOST: f64 = 0.5;
/// Iterations that a finding has to rest on.
const MIN_ITERATIONS: u64 = 10;
/// Names in a remark.
const MOST_NAMES: usize = 6;

/// What is wrong, the worst first.
pub(super) fn findings(inference: &Inference) -> Vec<Finding> {
    let mut found: Vec<Finding> = [
        holds_up(inference),
        antagonist(inference),
        crowded(inference),
        polling(inference),
    ]
    .into_iter()
    .flatten()
    .collect();
    found.sort_by(|a, b| {
        let stake = |finding: &Finding| finding.at_stake_ns.unwrap_or(0.0);
        (b.severity.cmp(&a.severity)).then(stake(b).total_cmp(&stake(a)))
    });
    found
}

fn evidence(name: &str, value: f64, unit: &str) -> Evidence {
    Evidence {
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
    }
}

fn turns(inference: &Inference) -> u64 {
    let turns = inference
        .processes
        .iter()
        .filter_map(|process| process.iterations.by_turn.as_ref());
    turns.map(|turn| turn.count).max().unwrap_or(0)
}

/// Surer the more iterations it rests on; less sure where events were lost.
fn sureness(inference: &Inference, base: f64) -> f64 {
    let turns = turns(inference).max(1) as f64;
    let events = inference.source.events.max(1) as f64;
    let lost = inference.source.lost.get("events").copied().unwrap_or(0) as f64;
    base * (1.0 - 1.0 / turns.sqrt()) * events / (events + lost)
}

fn scenario(inference: &Inference, is: impl Fn(&Scenario) -> bool) -> Option<(&Scenario, u64)> {
    let scenario = inference.what_if.iter().find(|scenario| is(scenario))?;
    Some((scenario, scenario.predicted_ns?))
}

/// What the run would take without load from outside, if that is worth to be said and can be told.
fn without_load(inference: &Inference) -> String {
    let is = |s: &&Scenario| s.scenario == "no_outside_load";
    let (Some(alone), Some(check)) = (
        inference.what_if.iter().find(is),
        inference.self_check.as_ref(),
    ) else {
        return String::new();
    };
    match alone.predicted_ns {
        Some(ns) if alone.measured_ns as f64 > (1.0 + NOTABLE) * ns as f64 => format!(
            "; without load from outside the run would take {} and not {} ({})",
            duration(ns),
            duration(alone.measured_ns),
            exactness(check)
        ),
        None if !inference.outsiders.is_empty() => {
            format!(
                "; what it would take without load from outside: {}",
                alone.says
            )
        }
        _ => String::new(),
    }
}

/// One process that another one waits for, and that hardly waits itself. Who waits only passes on what it waits for, however
/// many wait for it.
fn holds_up(inference: &Inference) -> Option<Finding> {
    let length_ns = inference.source.application_ns;
    let processes = &inference.processes;
    let others = processes.len().saturating_sub(1);
    // Of one that polls nobody knows how long it waits.
    let polls = processes.iter().any(|process| process.polls);
    if turns(inference) < MIN_ITERATIONS || others == 0 || length_ns == 0 || polls {
        return None;
    }
    let ids: BTreeSet<&str> = processes
        .iter()
        .map(|process| process.id.as_str())
        .collect();
    let mut longest: BTreeMap<&str, u64> = BTreeMap::new();
    for wait in processes
        .iter()
        .flat_map(|process| &process.time.receive_wait)
    {
        let most_ns = longest.entry(wait.from.as_str()).or_default();
        *most_ns = (*most_ns).max(wait.not_sent_ns);
    }
    let longest = |process: &Process| longest.get(process.id.as_str()).copied().unwrap_or(0);
    let share = |process: &Process| longest(process) as f64 / length_ns as f64;
    let own_ns = |process: &Process| {
        let waits = process.time.receive_wait.iter();
        let waits = waits.filter(|wait| ids.contains(wait.from.as_str()));
        let sum_ns = waits.fold(0u64, |sum, wait| sum.saturating_add(wait.not_sent_ns));
        sum_ns as f64 / process.threads.max(1) as f64
    };
    let waited_for = processes
        .iter()
        .filter(|process| share(process) >= HOLDS_UP);
    let worst = waited_for.min_by(|a, b| own_ns(a).total_cmp(&own_ns(b)))?;
    let all_ns: f64 = processes.iter().map(own_ns).sum();
    let mean_ns = (all_ns - own_ns(worst)) / others as f64;
    if mean_ns < ABOVE_ITS_OWN * own_ns(worst) {
        return None;
    }
    let (longest, share) = (longest(worst), share(worst));
    let better = without_load(inference);
    let (why, remedy) = what_it_does(worst);
    Some(Finding {
        rule: "imbalance".to_owned(),
        severity: if share >= MOST {
            Severity::Bad
        } else {
            Severity::Warn
        },
        component: worst.component.clone(),
        edge: None,
        says: format!(
            "{} holds the others up: one of them waits for it for {} of {}; {why}{better}",
            worst.id,
            duration(longest),
            duration(length_ns)
        ),
        evidence: vec![
            evidence("waited_for", longest as f64, "ns"),
            evidence("share_of_the_run", share, "share"),
            evidence("its_run_queue", worst.time.run_queue_ns as f64, "ns"),
            evidence("its_time_on_cpu", worst.time.on_cpu_ns as f64, "ns"),
        ],
        confidence: sureness(inference, 0.9),
        remedy: remedy.to_owned(),
        at_stake_ns: Some(longest as f64),
    })
}

/// What a process mostly does that hardly waits for others, and what would shorten it.
fn what_it_does(process: &Process) -> (&'static str, &'static str) {
    let time = &process.time;
    // Of several threads some may sleep all the time, and have nothing to do with it.
    let asleep = |ns: u64| if process.threads > 1 { 0 } else { ns };
    let each = [
        (
            time.on_cpu_ns,
            "it has most to do",
            "give part of its work to the others, or put it on a faster CPU",
        ),
        (
            time.run_queue_ns,
            "it mostly waits for a CPU itself",
            "give it a CPU of its own, or take away who has its CPU (see outsiders)",
        ),
        (
            time.throttled_ns.unwrap_or(0),
            "its own CPU quota holds it back most of the time",
            "raise the quota, or let it do less",
        ),
        (
            time.block_io_ns,
            "it mostly waits for the disk",
            "read and write less often, or beside the work",
        ),
        (
            asleep(time.lock_ns),
            "it mostly waits for its own threads",
            "see which lock they need, and for how long it is held",
        ),
        (
            asleep(time.other_ns),
            "it mostly sleeps, for no message of theirs",
            "see what it sleeps for: a timer, or requests from elsewhere",
        ),
    ];
    // The first of those that are as long as each other.
    let longest = each.into_iter().rev().max_by_key(|(ns, ..)| *ns);
    longest.map_or(("", ""), |(_, why, remedy)| (why, remedy))
}

/// One outside that has the application's CPUs.
fn antagonist(inference: &Inference) -> Option<Finding> {
    let outsider = inference.outsiders.first()?;
    let wanted = format!("without: {}", outsider.name);
    let (without, ns) = scenario(inference, |scenario| scenario.scenario == wanted)?;
    let check = inference.self_check.as_ref()?;
    let gain_ns = without.measured_ns.saturating_sub(ns);
    let share = gain_ns as f64 / without.measured_ns.max(1) as f64;
    // A gain that is no more than what the simulation is off by is none.
    if share < NOTABLE || share < 2.0 * check.rescheduled_error.abs() {
        return None;
    }
    Some(Finding {
        rule: "antagonist".to_owned(),
        severity: if share >= MOST {
            Severity::Bad
        } else {
            Severity::Warn
        },
        component: outsider.component.clone(),
        edge: None,
        says: format!(
            "{} has the application's CPUs for {} while it waits for them: without it the run would take {} and not {} ({})",
            outsider.name,
            duration(outsider.delayed_ns),
            duration(ns),
            duration(without.measured_ns),
            exactness(check)
        ),
        evidence: vec![
            evidence("delayed", outsider.delayed_ns as f64, "ns"),
            evidence("gain", gain_ns as f64, "ns"),
            evidence("share_of_the_run", share, "share"),
            evidence("self_check", check.rescheduled_error.abs(), "share"),
        ],
        confidence: sureness(inference, 0.7),
        remedy: format!("run {} on other CPUs, or with less weight", outsider.name),
        at_stake_ns: Some(gain_ns as f64),
    })
}

/// Its own threads share CPUs.
fn crowded(inference: &Inference) -> Option<Finding> {
    let (alone, alone_ns) = scenario(inference, |s| s.scenario == "no_outside_load")?;
    let all = |s: &Scenario| s.scenario == "no_run_queue" && s.processes.len() > 1;
    let (_, free_ns) = scenario(inference, all)?;
    let measured_ns = alone.measured_ns.max(1) as f64;
    let gain_ns = alone_ns.saturating_sub(free_ns);
    let share = gain_ns as f64 / measured_ns;
    let check = inference.self_check.as_ref()?;
    if share < NOTABLE || share < 2.0 * check.rescheduled_error.abs() {
        return None;
    }
    let worst = inference
        .processes
        .iter()
        .max_by_key(|process| process.time.run_queue_ns)?;
    Some(Finding {
        rule: "run_queue".to_owned(),
        severity: Severity::Warn,
        component: worst.component.clone(),
        edge: None,
        says: format!(
            "its processes share CPUs with each other: with one for each the run would take about {} and not {} ({})",
            duration(free_ns),
            duration(alone_ns),
            exactness(check)
        ),
        evidence: vec![
            evidence("gain", gain_ns as f64, "ns"),
            evidence("share_of_the_run", share, "share"),
        ],
        confidence: sureness(inference, 0.5),
        remedy: "start fewer processes, or give them more CPUs".to_owned(),
        at_stake_ns: Some(gain_ns as f64),
    })
}

fn polling(inference: &Inference) -> Option<Finding> {
    let polls: Vec<&Process> = inference
        .processes
        .iter()
        .filter(|process| process.polls)
        .collect();
    let first = polls.first()?;
    Some(Finding {
        rule: "busy_polling".to_owned(),
        severity: Severity::Info,
        component: first.component.clone(),
        edge: None,
        says: format!(
            "{} of {} processes wait for messages without going to sleep: their time on a CPU is work and waiting, and what would have been cannot be told",
            polls.len(),
            inference.processes.len()
        ),
        evidence: vec![evidence("processes", polls.len() as f64, "count")],
        confidence: sureness(inference, 0.9),
        remedy: "where the application offers it, let it block instead of poll".to_owned(),
        at_stake_ns: None,
    })
}

/// What has to be known to read the answer.
pub(super) fn remarks(
    inference: &Inference,
    team: &Team<'_>,
    found: &Members,
    simulated: &Simulated,
    name: &impl Fn(u32) -> (String, String, u32),
) -> Vec<String> {
    let mut remarks = Vec::new();
    if !found.helpers.is_empty() {
        let names: Vec<String> = found
            .helpers
            .iter()
            .take(MOST_NAMES)
            .map(|n| name(*n).0)
            .collect();
        let more = found.helpers.len().saturating_sub(MOST_NAMES);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        remarks.push(format!(
            "not part of the application, since they hardly talk to it (launchers, helpers): {}{more}",
            names.join(", ")
        ));
    }
    if found.others > 0 {
        remarks.push(format!(
            "{} other processes talk among each other; choose them with -p, -n or --unit",
            found.others
        ));
    }
    let lost = inference.source.lost.get("events").copied().unwrap_or(0);
    if lost > 0 {
        remarks.push(format!(
            "{} events were lost: counts and times are too low, and messages may be told from each other wrongly",
            count(lost)
        ));
    }
    if inference.source.cut {
        remarks.push(format!(
            "only the first {} segments are kept: what_if, slack and the critical path rest on the run's first part",
            count(inference.source.segments)
        ));
    }
    if let Some(why) = &simulated.unknown {
        remarks.push(format!("nothing could be simulated: {why}"));
    } else {
        remarks.push(
            "what_if takes the time on a CPU as it was (caches, clock rates and hyper-threads alike), other sleeps and waits within a process as long as they were, and each thread on the CPUs that it was on"
                .to_owned(),
        );
    }
    if inference.processes.len() > MOST_NODES {
        remarks.push(format!(
            "shapes of more than {MOST_NODES} processes are not looked for"
        ));
    }
    if let Some(check) = &simulated.self_check {
        if withheld(check, Method::Recorded).is_some() {
            remarks.push(format!(
                "the self-check with waits as recorded is off by {}: slack, the critical path and what is predicted from them are not told",
                percent(check.replay_error.abs())
            ));
        }
        if withheld(check, Method::Anew).is_some() {
            remarks.push(format!(
                "the self-check put on CPUs anew is off by {}: what the run would take without others is not told",
                percent(check.rescheduled_error.abs())
            ));
        }
    }
    let long_ns = super::watch::UPDATE_NS * super::matrix::WINDOW as u64;
    if team.length_ns < long_ns {
        remarks.push(format!(
            "changes of the topology are told from about {} on; this run took {}",
            duration(long_ns),
            duration_f64(team.length_ns as f64)
        ));
    }
    if let Some(told_ns) = team.watch.updated_ns {
        remarks.push(format!(
            "changes of the topology are told for the first {} only: there is no room for more",
            duration(told_ns)
        ));
    }
    let (threads, connections) = team.watch.unknown();
    if threads + connections > 0 {
        remarks.push(format!(
            "no room for {} events of threads and {} connections: they are in nothing here",
            count(threads),
            count(connections)
        ));
    }
    let spin = if team.watch.sees_looks {
        ""
    } else {
        "; because this one was recorded without --polls: spin time"
    };
    let quota = if team.watch.misses_quotas {
        "; because what a CPU quota held back is not told here, and is in the run queue: throttled time"
    } else {
        ""
    };
    remarks.push(format!(
        "null because recordings hold calls and not packets: delivery rates, what limits them, trains{quota}{spin}. The packet rule sees arrivals at an empty queue only"
    ));
    remarks
}

#[cfg(test)]
mod tests;
