//! What a profile does not hold, and why.
//!
//! In: what is there. Out: for each field that is null, the reason, and what to do about it. Must not know: how it is fitted.

use courtside_core::model::{
    profile::{ProfiledComponent, ProfiledEdge, Unknown},
    snapshot::ComponentKind,
};

/// What is there.
pub(super) struct Known<'a> {
    pub all_components: bool,
    pub think_time: bool,
    pub own_cost: bool,
    pub components: &'a [ProfiledComponent],
    pub edges: &'a [ProfiledEdge],
}

/// What is not.
pub(super) fn unknown(known: &Known) -> Vec<Unknown> {
    let mut all = Vec::new();
    let mut note = |field: &str, reason: &str| {
        all.push(Unknown {
            field: field.to_owned(),
            reason: reason.to_owned(),
        });
    };
    note(
        "components[].allowed_cpus",
        "recordings do not hold affinities and cpusets; say how many CPUs the components share with: courtside model predict --cores NODE=N",
    );
    note(
        "nodes[].quota_cpus",
        "recordings do not hold CPU quotas, only what these held back (throttled_ns_per_request); give quota_cpus in the file of --place",
    );
    note(
        "components[].threads",
        "recordings hold no number of threads, those that wait for work among them; give threads in the file of --place",
    );
    note(
        "components[].scv_cpu",
        "recordings hold no distribution of the CPU time of single requests; predictions take that of turnarounds",
    );
    note(
        "cpu_speed",
        "recordings hold no reference for the speed of the CPU, so demands are as fast as the CPU was just then; measure the rates in shuffled order, and some of them twice",
    );
    if known.components.len() > 1 {
        note(
            "edges[].remote_cpu_ns_per_message, edges[].remote_cpu_ns_per_byte",
            "recordings of one host do not hold the CPU time of sends and receives to another one; give them in the file of --place",
        );
    }
    if !known.all_components {
        note(
            "nodes[].share_available, nodes[].other_cpu",
            "only selected components were looked at; fit without a selection",
        );
    }
    if !known.think_time {
        note(
            "think_time_ns",
            "clients are not on this host, or do not send because of a reply",
        );
    }
    if !known.own_cost {
        note(
            "self_cost_ns_per_request",
            "the cost of Courtside's own programs was not measured, and is part of the CPU time of the components; record with: courtside record --program-cost",
        );
    }
    let local = |component: &&ProfiledComponent| component.kind != ComponentKind::Remote;
    let mut each = known.components.iter().filter(local);
    if each.any(|component| component.throttled_ns_per_request.is_none()) {
        note(
            "components[].throttled_ns_per_request",
            "what a CPU quota held back is not in these recordings",
        );
    }
    for component in known.components.iter().filter(local) {
        if component.holding.is_none() {
            note(
                &format!("components[{}].holding", component.id),
                "several of its requests are open at once on a connection, and have no times",
            );
        }
        if component.held_ns.is_none() {
            note(
                &format!("components[{}].held_ns", component.id),
                "the times of its requests or of its calls are not known",
            );
        }
    }
    for edge in known.edges {
        if edge.roundtrips_per_request.is_none() {
            note(
                &format!("edges[{} -> {}].roundtrips_per_request", edge.from, edge.to),
                "several requests are open at once on its connections, and the count is a lower bound",
            );
        }
        if edge.latency_ns.is_none() {
            note(
                &format!("edges[{} -> {}].latency_ns", edge.from, edge.to),
                "its roundtrips have no times",
            );
        }
    }
    all
}
