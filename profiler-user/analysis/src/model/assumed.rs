//! What a prediction takes for true though it was not measured, and what it cannot say.
//!
//! In: a profile on machines. Out: sentences. Must not know: rates.

use courtside_core::{
    model::{profile::Profile, visible::visible},
    units::percent,
};

use super::{
    load::Flows,
    machines::{Machine, Model},
};

/// In sentences, the most important first.
pub(super) fn assumed(profile: &Profile, model: &Model, flows: &Flows) -> Vec<String> {
    let mut all = Vec::new();
    let mut say = |text: String| all.push(text);
    say("Requests come in at random, one independent of the other (Poisson).".to_owned());
    let parts = || model.local().filter_map(|part| model.parts.get(part));
    if profile
        .components
        .iter()
        .any(|component| component.allowed_cpus.is_none())
    {
        let cpus: Vec<String> = model
            .machines
            .iter()
            .map(|machine| format!("{} of {}", machine.capacity(), visible(&machine.name)))
            .collect();
        say(format!(
            "Every component may use all CPUs of its node ({}): recordings do not hold affinities. If they share fewer: --cores NODE=N.",
            cpus.join(", ")
        ));
    }
    for machine in model.machines.iter().filter(|machine| has_quota(machine)) {
        say(format!(
            "The quota on {} is of all components there together, and not of what else runs there; a request takes as long as on CPUs that are slower all the time, and not as on those that stop when a period is used up.",
            visible(&machine.name)
        ));
    }
    let held_back: Vec<_> = parts()
        .filter(|part| part.had_quota)
        .filter(|part| {
            let mut machines = part.on.iter().filter_map(|&on| model.machines.get(on));
            machines.any(|machine| !has_quota(machine))
        })
        .map(|part| visible(&part.id))
        .collect();
    if !held_back.is_empty() {
        say(format!(
            "No CPU quota holds {} back. One did while it was recorded, and how many CPUs it allows is not given: if it is still there, fewer requests are served, and they take longer (quota_cpus in the file of --place).",
            listed(&held_back)
        ));
    }
    let without: Vec<_> = parts()
        .filter(|part| part.threads.is_none())
        .map(|part| visible(&part.id))
        .collect();
    if !without.is_empty() {
        say(format!(
            "It cannot be said when threads are used up: how many {} have is not known.",
            listed(&without)
        ));
    }
    let without: Vec<_> = parts()
        .filter(|part| part.threads.is_some() && part.holding.is_none())
        .map(|part| visible(&part.id))
        .collect();
    if !without.is_empty() {
        say(format!(
            "It cannot be said when the threads of {} are used up: for how long a request holds one is not known.",
            listed(&without)
        ));
    }
    if parts().any(|part| part.scv_cpu.is_none()) {
        say(
            "CPU time of single requests scatters as turnarounds did at the lowest rate: its own scatter is not recorded."
                .to_owned(),
        );
    }
    if parts().any(|part| part.disk.value(model.range[1]) > 0.0) {
        let each: Vec<String> = model
            .machines
            .iter()
            .map(|machine| format!("{} on {}", machine.disk_parallel, visible(&machine.name)))
            .collect();
        say(format!(
            "The disk works on so many requests at a time: {}, as many as were seen; if it can do more, it is used up later.",
            each.join(", ")
        ));
    }
    if model.bytes_per_s.is_none() {
        say(
            "It cannot be said when the network is used up: its bandwidth is not known.".to_owned(),
        );
    }
    for machine in model.machines.iter().filter(|m| m.elsewhere_ns > 0.0) {
        say(format!(
            "What else runs on {} has the CPUs that the components do not share.",
            visible(&machine.name)
        ));
    }
    if let Some(node) = profile.nodes.first() {
        match node.share_available {
            Some(share) => say(format!(
                "What else runs on {}, clients among it, goes on as it was recorded: without requests it leaves {} of the CPUs.",
                visible(&node.node),
                percent(share)
            )),
            None => say(format!(
                "Nothing else runs on {}: other programs were not looked at.",
                visible(&node.node)
            )),
        }
    }
    if flows.remote.iter().any(|&share| share > 0.0) {
        say(
            "A call to another machine takes the CPU time and the round-trip time that were given, at both ends, and that of this host no less."
                .to_owned(),
        );
    }
    if profile.self_cost_ns_per_request.is_none() {
        say(
            "What Courtside's own programs took is part of the CPU time: without it the service serves more."
                .to_owned(),
        );
    }
    say(
        "The CPUs are as fast as while it was recorded; outside the fitted rates lines are drawn on."
            .to_owned(),
    );
    all
}

/// Whether a quota lets components have less than all CPUs.
fn has_quota(machine: &Machine) -> bool {
    machine.capacity() < machine.cpus
}

fn listed(names: &[std::borrow::Cow<'_, str>]) -> String {
    const MOST: usize = 6;
    let shown: Vec<&str> = names.iter().take(MOST).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(MOST) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
