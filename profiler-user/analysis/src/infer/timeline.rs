//! The run as a timeline: lanes with the places of the application's processes, and the critical path by the recording's clock.
//!
//! In: lanes, the members, the program and the hops of its critical path. Out: a [`Timeline`]. Must not know: what it is drawn as.

use std::collections::{BTreeMap, BTreeSet};

use courtside_core::model::inference::{Lane, Message, Place, Span, Step, Timeline};

use super::{
    answer::Team,
    lanes::{Lanes, Who},
    program::{Part, Program},
    replay::Hop,
    segments::Op,
};

/// `hops` of the critical path; `offset_ns` makes wall-clock time of the events' time.
pub(super) fn timeline(
    team: &Team<'_>,
    lanes: &Lanes,
    program: &Program,
    hops: &[Hop],
    offset_ns: u64,
) -> Timeline {
    let mut tids: BTreeMap<usize, BTreeSet<u32>> = BTreeMap::new();
    let spoken = lanes.arrows.iter().flat_map(|arrow| [arrow.from, arrow.to]);
    for who in lanes.spans.iter().map(|span| span.who).chain(spoken) {
        if let Some(process) = team.place(who.process) {
            tids.entry(process).or_default().insert(who.tid);
        }
    }
    let processes: Vec<Lane> = team
        .names
        .iter()
        .enumerate()
        .map(|(process, (id, _, tgid))| Lane {
            id: id.clone(),
            tgid: *tgid,
            tids: tids.remove(&process).into_iter().flatten().collect(),
        })
        .collect();
    let place = |process: usize, tid: u32| {
        let thread = processes.get(process)?.tids.binary_search(&tid).ok()?;
        Some(Place { process, thread })
    };
    let of = |who: Who| place(team.place(who.process)?, who.tid);
    let first_ns = lanes.spans.iter().map(|span| span.from_ns).min();
    let start_ns = first_ns.unwrap_or(team.first_ns);
    let since = |ns: u64| ns.saturating_sub(start_ns);
    let mut spans: Vec<Span> = lanes
        .spans
        .iter()
        .filter_map(|span| {
            Some(Span {
                at: of(span.who)?,
                from_ns: since(span.from_ns),
                to_ns: since(span.to_ns),
                doing: span.doing,
                cpu: span.cpu,
                whose: span.whose.and_then(|whose| team.place(whose)),
            })
        })
        .collect();
    spans.sort_by_key(|span| (span.from_ns, span.at));
    let mut messages: Vec<Message> = lanes
        .arrows
        .iter()
        .filter_map(|arrow| {
            Some(Message {
                from: of(arrow.from)?,
                to: of(arrow.to)?,
                sent_ns: since(arrow.sent_ns),
                arrived_ns: since(arrow.arrived_ns),
                read_ns: since(arrow.read_ns),
                bytes: arrow.bytes,
            })
        })
        .filter(|message| message.from.process != message.to.process)
        .collect();
    messages.sort_by_key(|message| (message.sent_ns, message.from, message.to));
    let begins: Vec<Vec<u64>> = match hops {
        [] => Vec::new(),
        _ => program.parts.iter().map(begins).collect(),
    };
    let told_ns = |part: usize, op: usize| {
        let begins = begins.get(part)?;
        begins.get(op.min(begins.len().saturating_sub(1))).copied()
    };
    let mut path: Vec<Step> = hops
        .iter()
        .filter_map(|hop| {
            let part = program.parts.get(hop.part)?;
            let told = |op: usize| {
                let ns = told_ns(hop.part, op)?;
                Some(since(program.begin_ns.saturating_add(ns)))
            };
            Some(Step {
                at: place(part.process, part.tid)?,
                from_ns: told(hop.after.map_or(0, |op| op.saturating_add(1)))?,
                to_ns: told(hop.before)?,
            })
        })
        .collect();
    path.reverse();
    let ends = spans.iter().map(|span| span.to_ns);
    let cpus = spans.iter().filter_map(|span| span.cpu);
    Timeline {
        start_unix_ns: start_ns.wrapping_add(offset_ns),
        length_ns: ends.max().unwrap_or(0),
        cpus: cpus.max().map_or(1, |cpu| u32::from(cpu) + 1),
        processes,
        spans,
        messages,
        path,
        cut_ns: lanes.cut_ns.map(since),
    }
}

/// When a part began each of its segments, and ended the last, by the recording, from the begin of the program.
fn begins(part: &Part) -> Vec<u64> {
    let ns = |op: &Op| match *op {
        Op::Run { ns, queue_ns, .. } => ns.saturating_add(queue_ns),
        Op::Wait { ns, .. } => ns,
        Op::Receive { waited_ns, .. } | Op::Drain { waited_ns, .. } => waited_ns,
        Op::Send { .. } | Op::Outside { .. } => 0,
    };
    let mut at_ns = part.start_ns;
    let ends = part.ops.iter().map(|op| {
        at_ns = at_ns.saturating_add(ns(op));
        at_ns
    });
    std::iter::once(part.start_ns).chain(ends).collect()
}
