//! A calm host, from which each rule's tests take it somewhere, and what holds for all rules.

use std::collections::BTreeSet;

use courtside_core::{
    fixture::{frames, snapshots},
    model::{
        Finding, Snapshot, State, View, fold,
        snapshot::{
            Component, ComponentKind, Court, Cpu, Dist, Edge, Entry, Host, Requests, Window,
        },
    },
    parts::{Part, Parts},
};

use super::*;

/// So many times the same value.
pub(super) fn dist(count: u64, ns: u64) -> Dist {
    Dist::from(&frames::times(count, ns))
}

pub(super) fn component<'a>(snapshot: &'a mut Snapshot, id: &str) -> &'a mut Component {
    let mut components = snapshot.components.iter_mut();
    components.find(|c| c.id == id).unwrap()
}

pub(super) fn court<'a>(snapshot: &'a mut Snapshot, id: &str) -> &'a mut Court {
    let mut courts = snapshot.entries[0].courts.iter_mut();
    courts.find(|court| court.component == id).unwrap()
}

/// What one rule says of a snapshot.
pub(super) fn said(rule: &str, snapshot: &Snapshot) -> Vec<Finding> {
    assert!(RULES.iter().any(|known| known.name() == rule));
    let findings = look(snapshot).into_iter();
    findings.filter(|finding| finding.rule == rule).collect()
}

fn served(id: &str, kind: ComponentKind, requests: u64, service_ns: u64) -> Component {
    let name = id.split_once(':').unwrap().1;
    Component {
        id: id.to_owned(),
        name: name.to_owned(),
        kind,
        requests: Requests {
            served: requests,
            service_ns: dist(requests, service_ns),
            queued_ns: dist(requests, 20_000),
            ..Requests::default()
        },
        cpu: Cpu {
            on_cpu_ns: requests * 500_000,
            run_queue_ns: requests * 50_000,
            voluntary_switches: requests * 2,
            ..Cpu::default()
        },
        ..Component::default()
    }
}

/// An edge on which each roundtrip takes as long.
pub(super) fn edge(from: &str, to: &str, port: u16, roundtrips: u64, latency_ns: u64) -> Edge {
    Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        port,
        roundtrips,
        roundtrips_per_request: Some(roundtrips as f64 / 1000.0),
        latency_ns: dist(roundtrips, latency_ns),
        messages_sent: roundtrips,
        messages_received: roundtrips,
        bytes_sent: roundtrips * 200,
        bytes_received: roundtrips * 2000,
        min_rtt_ns: Some(20_000),
        ..Edge::default()
    }
}

/// A thousand requests a second of 2 ms each, of which web takes 0.8 and app, called once, 1.1.
pub(super) fn calm() -> Snapshot {
    let parts: Parts<f64> = [(Part::OnCpu, 450_000.0), (Part::RunQueue, 50_000.0)]
        .into_iter()
        .collect();
    let court = |id: &str, more: f64| {
        let mut parts = parts;
        parts[Part::Sleep] = more;
        Court {
            component: id.to_owned(),
            unread_ns: Some(0.0),
            turnaround_ns: 500_000.0 + more,
            parts,
            held_ns: Some(0.0),
            ..Court::default()
        }
    };
    Snapshot {
        host: Host {
            cpus: 4,
            ..Host::default()
        },
        window: Window {
            duration_ns: 1_000_000_000,
            ..Window::default()
        },
        components: vec![
            served("unit:web", ComponentKind::Unit, 1000, 2_000_000),
            served("program:app", ComponentKind::Program, 1000, 1_100_000),
        ],
        edges: vec![
            edge("remote:10.0.0.9", "unit:web", 80, 1000, 2_100_000),
            edge("unit:web", "program:app", 8080, 1000, 1_200_000),
        ],
        entries: vec![Entry {
            component: "unit:web".to_owned(),
            port: 80,
            requests: 1000,
            mean_ns: Some(2_000_000.0),
            courts: vec![
                court("unit:web", 300_000.0),
                court("program:app", 600_000.0),
            ],
            network_ns: 100_000.0,
            other_ns: Some(0.0),
            adds_up: true,
            ..Entry::default()
        }],
        ..Snapshot::default()
    }
}

/// The name of a rule, and a host that makes it speak.
type Loud = (&'static str, fn() -> Snapshot);

const LOUD: [Loud; RULES.len()] = [
    ("antagonist", antagonist::tests::loud),
    ("busy_polling", busy_polling::tests::loud),
    ("chatty_edge", chatty_edge::tests::loud),
    ("context_switches", context_switches::tests::loud),
    ("cpu_quota", cpu_quota::tests::loud),
    ("heartbeat", heartbeat::tests::loud),
    ("high_cpi", high_cpi::tests::loud),
    ("imbalance", imbalance::tests::loud),
    ("lock_convoy", lock_convoy::tests::loud),
    ("queued_unread", queued_unread::tests::loud),
    ("retransmits", retransmits::tests::loud),
    ("run_queue", run_queue::tests::loud),
    ("single_thread_limit", single_thread_limit::tests::loud),
    ("slow_disk", slow_disk::tests::loud),
    ("slow_peer", slow_peer::tests::loud),
];

#[test]
fn a_calm_host_and_an_idle_one_have_no_findings() {
    assert_eq!(look(&calm()), []);
    assert_eq!(look(&snapshots::empty()), []);
    assert_eq!(look(&Snapshot::default()), []);
}

/// The same, of which a hundredth was seen.
fn hundredth(mut snapshot: Snapshot) -> Snapshot {
    let dist = |dist: &mut Dist| {
        *dist = self::dist(dist.count / 100, dist.sum_ns / dist.count.max(1));
    };
    for component in &mut snapshot.components {
        component.requests.served /= 100;
        component.cpu.on_cpu_ns /= 100;
        component.cpu.run_queue_ns /= 100;
        component.cpu.throttled_ns = component.cpu.throttled_ns.map(|ns| ns / 100);
        for blame in component.cpu.run_queue_by.iter_mut().flatten() {
            blame.ns /= 100;
        }
        component.cpu.voluntary_switches /= 100;
        dist(&mut component.requests.service_ns);
        dist(&mut component.requests.queued_ns);
        dist(&mut component.disk.latency_ns);
        for to in &mut component.turnaround.unprompted_to {
            to.count /= 100;
        }
    }
    for edge in &mut snapshot.edges {
        edge.roundtrips /= 100;
        edge.messages_sent /= 100;
        edge.messages_received /= 100;
        edge.bytes_sent /= 100;
        edge.bytes_received /= 100;
        edge.retransmits /= 100;
        dist(&mut edge.latency_ns);
    }
    snapshot.entries[0].requests /= 100;
    snapshot
}

#[test]
fn each_rule_speaks_and_too_few_requests_are_not_judged() {
    for (rule, loud) in LOUD {
        let loud = loud();
        assert!(!said(rule, &loud).is_empty(), "{rule}");
        assert_eq!(look(&hundredth(loud)), [], "{rule}");
    }
}

#[test]
fn where_much_was_lost_nothing_is_judged() {
    for (rule, loud) in LOUD {
        let findings = said(rule, &loud());
        let losing = |class: &str, lost| {
            let mut snapshot = loud();
            snapshot.quality.lost.insert(class.to_owned(), lost);
            snapshot
        };
        let little = said(rule, &losing("flows", 10));
        assert!(little[0].confidence < findings[0].confidence, "{rule}");
        assert_eq!(look(&losing("flows", 1000)), [], "{rule}");
        // What only blurs where something belongs is no reason.
        assert_eq!(said(rule, &losing("history", 1000)), findings, "{rule}");
    }
}

#[test]
fn requests_that_cannot_be_told_apart_are_not_judged() {
    for (rule, loud) in LOUD {
        let mut interleaved = loud();
        for component in &mut interleaved.components {
            component.requests.untimed = component.requests.served;
        }
        for edge in &mut interleaved.edges {
            edge.untimed = edge.roundtrips;
        }
        interleaved.entries[0].untimed = interleaved.entries[0].requests;
        let findings = look(&interleaved);
        // A CPU's counters, what is looked for in vain and what is sent by a clock have nothing to do with requests.
        let others = ["busy_polling", "heartbeat", "high_cpi"];
        let known = findings
            .iter()
            .all(|finding| others.contains(&finding.rule.as_str()));
        assert!(known, "{rule}: {findings:#?}");
    }
}

#[test]
fn every_finding_is_whole() {
    for (rule, loud) in LOUD {
        let snapshot = loud();
        let ids: BTreeSet<&str> = snapshot.components.iter().map(|c| c.id.as_str()).collect();
        for finding in look(&snapshot) {
            assert!((0.3..1.0).contains(&finding.confidence), "{finding:?}");
            assert!(!finding.evidence.is_empty() && !finding.remedy.is_empty());
            assert!(finding.evidence.iter().all(|e| e.value.is_finite()));
            assert!(!finding.says.contains(" - "), "{rule}: unknown in words");
            assert!(!finding.says.ends_with('.') && !finding.remedy.ends_with('.'));
            assert!(ids.contains(finding.component.as_str()));
        }
    }
}

#[test]
fn the_worst_comes_first() {
    let mut snapshot = slow_peer::tests::loud();
    snapshot.edges[1].retransmits = 100;
    let app = component(&mut snapshot, "program:app");
    app.cpu.voluntary_switches = 40_000;
    app.requests.queued_ns = dist(1000, 1_000_000);
    let findings = look(&snapshot);
    let order: Vec<&str> = findings.iter().map(|f| f.rule.as_str()).collect();
    assert_eq!(
        order,
        [
            "slow_peer",
            "queued_unread",
            "retransmits",
            "context_switches"
        ]
    );
    let rank = |f: &Finding| (f.severity, f.at_stake_ns.unwrap_or(0.0));
    assert!(findings.is_sorted_by(|a, b| rank(a) >= rank(b)));
}

#[test]
fn every_rule_has_a_row_on_the_page_of_patterns() {
    let page = include_str!("../../../../docs/patterns.md");
    let rows: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(rows, RULES.map(Rule::name));
}

#[test]
fn rules_have_names_of_their_own_in_order() {
    let names: Vec<&str> = RULES.map(Rule::name).to_vec();
    assert!(names.is_sorted());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

#[test]
fn a_fold_finds_what_its_view_brings_the_rules_for() {
    let frame = frames::chain(100);
    let view = View {
        judge: judge(),
        ..View::default()
    };
    let judged = fold(&mut State::default(), &frame, &view);
    assert_eq!(judged.findings, look(&judged));
    let plain = fold(&mut State::default(), &frame, &View::default());
    assert_eq!(plain.findings, []);
}
