//! Known answers of the fold.

mod entries;
mod page;
mod placed;

use entries::split;

use super::snapshot::{Component, ComponentKind, Edge, Snapshot};
use super::*;
use crate::fixture::frames::{APP, NONE, STORE, WEB, chain, cpu, flow, frame, image, remote};
use crate::frame::{Counters, Cpu, DistRaw, Flow, Frame, Process, Role, Transport};

fn folded(frame: &Frame) -> Snapshot {
    viewed(frame, &View::default())
}

fn viewed(frame: &Frame, view: &View) -> Snapshot {
    fold(&mut State::default(), frame, view)
}

fn component<'a>(snapshot: &'a Snapshot, id: &str) -> &'a Component {
    snapshot.components.iter().find(|c| c.id == id).unwrap()
}

fn edge<'a>(snapshot: &'a Snapshot, from: &str, to: &str) -> &'a Edge {
    let mut found = snapshot
        .edges
        .iter()
        .filter(|e| e.from == from && e.to == to);
    let edge = found
        .next()
        .unwrap_or_else(|| panic!("no edge {from} to {to}: {:#?}", snapshot.edges));
    assert!(found.next().is_none(), "two edges {from} to {to}");
    edge
}

fn ids(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.components.iter().map(|c| c.id.as_str()).collect()
}

#[test]
fn both_ends_meet_in_one_edge() {
    let snapshot = folded(&chain(100));
    assert_eq!(
        ids(&snapshot),
        [
            "program:app",
            "program:load",
            "program:store",
            "program:web"
        ]
    );
    assert_eq!(snapshot.edges.len(), 3);
    let edge = edge(&snapshot, "program:web", "program:app");
    assert_eq!((edge.transport, edge.port), (Transport::Tcp, 8080));
    assert_eq!(
        (edge.roundtrips, edge.roundtrips_per_request),
        (200, Some(2.0))
    );
    assert_eq!(
        (edge.latency_ns.count, edge.latency_ns.sum_ns),
        (200, 200 * 585_000)
    );
    let service = edge.service_ns.as_ref().unwrap();
    assert_eq!((service.count, service.sum_ns), (200, 200 * 565_000));
    assert_eq!((edge.messages_sent, edge.messages_received), (200, 200));
    assert_eq!((edge.bytes_sent, edge.bytes_received), (20_000, 200_000));
    assert!(!edge.acceptor_only && !edge.lower_bound && !snapshot.quality.lower_bound);
}

#[test]
fn turnarounds_are_partitioned_by_recipient_and_add_up() {
    let snapshot = folded(&chain(100));
    let turnaround = &component(&snapshot, "program:app").turnaround;
    assert_eq!(turnaround.total_ns, turnaround.parts.total_ns());
    assert_eq!((turnaround.count, turnaround.total_ns), (800, 50_000_000));
    assert_eq!(
        (turnaround.each_ns.count, turnaround.each_ns.sum_ns),
        (800, 50_000_000)
    );
    let to: Vec<_> = turnaround
        .by_recipient
        .iter()
        .map(|r| (r.to.as_str(), r.count, r.total_ns))
        .collect();
    assert_eq!(
        to,
        [
            ("program:store", 600, 30_000_000),
            ("program:web", 200, 20_000_000)
        ]
    );
}

#[test]
fn requests_are_what_the_acceptor_served() {
    let snapshot = folded(&chain(100));
    let served = |id| component(&snapshot, id).requests.served;
    assert_eq!(served("program:app"), 200);
    assert_eq!(served("program:load"), 0);
    assert_eq!(
        component(&snapshot, "program:web")
            .requests
            .service_ns
            .p50_ns,
        1_270_000
    );
}

#[test]
fn an_image_not_named_by_the_traffic_is_listed_only_if_it_ran() {
    let mut frame = chain(1);
    frame.images.push(image(20, "idle", &[22]));
    frame.images.push(image(21, "busy", &[]));
    frame.cpu.push(Cpu {
        image: 20,
        ..Cpu::default()
    });
    frame.cpu.push(Cpu {
        image: 21,
        on_cpu_ns: 1,
        ..Cpu::default()
    });
    let snapshot = folded(&frame);
    assert!(ids(&snapshot).contains(&"program:busy"));
    assert!(!ids(&snapshot).contains(&"program:idle"));
}

#[test]
fn components_are_named_by_container_unit_or_program() {
    let mut nginx = image(2, "nginx", &[]);
    nginx.unit = Some("nginx.service".into());
    nginx.cgroup = "/system.slice/nginx.service".into();
    let mut boxed = image(3, "redis-server", &[]);
    boxed.unit = Some("docker.service".into());
    boxed.container = Some("0123456789ab".into());
    let plain = image(4, "app.py", &[]);
    let mut kernel = image(1, "kworker", &[]);
    kernel.kernel = true;
    let mut frame = frame(vec![nginx, boxed, plain, kernel], &[], vec![]);
    frame.cpu = (1..=4)
        .map(|image| Cpu {
            image,
            on_cpu_ns: 1,
            ..Cpu::default()
        })
        .collect();
    let by = |group_by| {
        viewed(
            &frame,
            &View {
                group_by,
                ..View::default()
            },
        )
    };
    let auto = by(GroupBy::Auto);
    assert_eq!(
        ids(&auto),
        [
            "container:0123456789ab",
            "kernel",
            "program:app.py",
            "unit:nginx.service"
        ]
    );
    let unit = component(&auto, "unit:nginx.service");
    assert_eq!(
        (unit.name.as_str(), unit.kind),
        ("nginx", ComponentKind::Unit)
    );
    assert!(component(&auto, "kernel").processes.is_empty());
    assert_eq!(
        ids(&by(GroupBy::Process)),
        [
            "kernel",
            "process:app.py/400",
            "process:nginx/200",
            "process:redis-server/300"
        ]
    );
    assert_eq!(
        ids(&by(GroupBy::Unit)),
        [
            "kernel",
            "program:app.py",
            "unit:docker.service",
            "unit:nginx.service"
        ]
    );
    assert_eq!(
        ids(&by(GroupBy::Container)),
        [
            "container:0123456789ab",
            "kernel",
            "program:app.py",
            "program:nginx"
        ]
    );
    assert_eq!(
        ids(&by(GroupBy::Cgroup)),
        ["cgroup:/", "cgroup:/system.slice/nginx.service", "kernel"]
    );
    assert_eq!(
        ids(&by(GroupBy::Comm)),
        ["comm:app.py", "comm:nginx", "comm:redis-server", "kernel"]
    );
}

#[test]
fn images_of_one_program_are_one_component() {
    let mut frame = chain(1);
    let mut second = image(30, "app", &[]);
    second.processes.push(Process {
        tgid: 400,
        comm: "app".into(),
    });
    frame.images.push(second);
    frame.cpu.push(Cpu {
        image: 30,
        on_cpu_ns: 5,
        counters: Some(Counters {
            cycles: 30,
            instructions: 20,
            enabled_ns: 4,
            running_ns: 2,
            ..Counters::default()
        }),
        ..Cpu::default()
    });
    let snapshot = folded(&frame);
    let app = component(&snapshot, "program:app");
    assert_eq!(
        app.processes.iter().map(|p| p.tgid).collect::<Vec<_>>(),
        [400, 3000]
    );
    assert_eq!(app.cpu.on_cpu_ns, 360_005);
    let counters = app.counters.unwrap();
    assert_eq!(
        (counters.cpi, counters.running_ratio, counters.llc_misses),
        (Some(1.5), Some(0.5), None)
    );
    assert_eq!(component(&snapshot, "program:web").counters, None);
}

/// Clients elsewhere → web here → a database elsewhere.
fn half_remote() -> Frame {
    frame(
        vec![image(WEB, "web", &[80])],
        &[("10.0.0.7", 0), ("2001:db8::5", 5432), ("10.0.0.8", 0)],
        vec![
            flow((WEB, remote(1), 80), Role::Acceptor, 30, 1_000, cpu(100)),
            flow((WEB, remote(3), 80), Role::Acceptor, 10, 1_000, cpu(100)),
            flow((WEB, remote(2), 5432), Role::Initiator, 80, 350, cpu(100)),
        ],
    )
}

#[test]
fn remote_ends_are_components_named_by_their_address() {
    let snapshot = folded(&half_remote());
    assert_eq!(
        ids(&snapshot),
        [
            "program:web",
            "remote:10.0.0.7",
            "remote:10.0.0.8",
            "remote:[2001:db8::5]:5432"
        ]
    );
    let client = component(&snapshot, "remote:10.0.0.7");
    assert_eq!(
        (client.name.as_str(), client.kind),
        ("10.0.0.7", ComponentKind::Remote)
    );

    let inward = edge(&snapshot, "remote:10.0.0.7", "program:web");
    assert!(inward.acceptor_only);
    assert_eq!((inward.roundtrips, inward.latency_ns.count), (30, 0));
    assert_eq!(inward.service_ns.as_ref().unwrap().count, 30);
    // As the initiator would have told it.
    assert_eq!((inward.bytes_sent, inward.bytes_received), (3_000, 30_000));
    assert_eq!(inward.roundtrips_per_request, Some(0.75));

    let outward = edge(&snapshot, "program:web", "remote:[2001:db8::5]:5432");
    assert_eq!(
        (outward.service_ns.as_ref(), outward.acceptor_only),
        (None, false)
    );
    assert_eq!(outward.roundtrips_per_request, Some(2.0));
}

#[test]
fn ends_that_the_kernel_could_not_name_meet_by_their_port() {
    let mut frame = chain(10);
    let known = folded(&frame);
    // The connections web → app stood before the attach: neither end knows the other.
    frame.remotes = half_remote().remotes;
    frame.remotes[0].address = "127.0.0.1".into();
    frame.remotes[0].port = 8080;
    frame.remotes[1].address = "::ffff:127.0.0.1".into();
    frame.remotes[1].port = 0;
    for (initiators, acceptors) in [(0, 0), (remote(1), remote(2)), (APP, 0), (0, WEB)] {
        frame.flows[2].peer = initiators;
        frame.flows[3].peer = acceptors;
        assert_eq!(folded(&frame), known, "{initiators:x} {acceptors:x}");
    }
}

#[test]
fn what_was_sent_before_an_heir_of_the_listener_began_is_the_heirs() {
    const INIT: u32 = 40;
    let mut frame = chain(10);
    frame.images[2].listens.clear();
    let mut early = flow((WEB, INIT, 8080), Role::Initiator, 7, 1, NONE);
    early.answered = 0;
    early.answer = DistRaw::default();
    frame.flows.push(early);
    for listens in [&[8080][..], &[]] {
        let mut frame = frame.clone();
        frame.images.push(image(INIT, "init", listens));
        let snapshot = folded(&frame);
        let met = edge(&snapshot, "program:web", "program:app");
        assert_eq!((met.messages_sent, met.roundtrips), (27, 20));
        // It reads of that client itself.
        let reads = flow((INIT, WEB, 8080), Role::Acceptor, 7, 1, NONE);
        frame.flows.push(reads);
        let snapshot = folded(&frame);
        let own = edge(&snapshot, "program:web", "program:init");
        assert_eq!(own.messages_sent, 7);
    }
    // Who listens there has what it reads from its own clients.
    frame.images[2].listens.push(8080);
    frame.images.push(image(INIT, "init", &[]));
    let snapshot = folded(&frame);
    let own = edge(&snapshot, "program:web", "program:init");
    assert_eq!(own.messages_sent, 7);
}

#[test]
fn ends_that_could_be_several_are_not_guessed() {
    let mut frame = chain(10);
    frame.flows[2].peer = 0;
    frame.images.push(image(40, "other", &[8080]));
    let snapshot = folded(&frame);
    assert_eq!(edge(&snapshot, "program:web", "unknown").service_ns, None);
    assert!(edge(&snapshot, "program:web", "program:app").acceptor_only);

    let mut frame = chain(10);
    frame.images.push(image(40, "other", &[]));
    frame
        .flows
        .push(flow((40, APP, 8080), Role::Initiator, 10, 1, NONE));
    frame.flows[3].peer = 0;
    let snapshot = folded(&frame);
    assert!(edge(&snapshot, "unknown", "program:app").acceptor_only);
    assert_eq!(
        edge(&snapshot, "program:web", "program:app").service_ns,
        None
    );
}

#[test]
fn what_was_sent_in_the_window_before_is_not_counted_again_where_it_is_read() {
    let mut frame = chain(10);
    // web → app, as web tells it: it waits.
    frame.flows.remove(2);
    let snapshot = folded(&frame);
    let edge = edge(&snapshot, "program:web", "program:app");
    assert!(!edge.acceptor_only);
    assert_eq!(
        (edge.messages_sent, edge.bytes_sent, edge.roundtrips),
        (0, 0, 0)
    );
    assert!(edge.service_ns.as_ref().unwrap().count > 0);
}

#[test]
fn an_unknown_role_counts_messages_but_no_roundtrips() {
    let mut frame = chain(10);
    frame.flows[4].role = Role::Unknown;
    let snapshot = folded(&frame);
    let edge = edge(&snapshot, "program:app", "program:store");
    assert_eq!(
        (edge.roundtrips, edge.messages_sent, edge.lower_bound),
        (0, 60, true)
    );
    assert!(snapshot.quality.lower_bound);
    assert_eq!(edge.service_ns.as_ref().unwrap().count, 60);
}

#[test]
fn a_connection_of_which_neither_end_knows_its_role_is_booked_once() {
    let both = vec![
        flow((APP, STORE, 0), Role::Unknown, 5, 0, NONE),
        flow((STORE, APP, 0), Role::Unknown, 5, 0, NONE),
    ];
    let snapshot = folded(&frame(
        vec![image(APP, "app", &[]), image(STORE, "store", &[])],
        &[],
        both,
    ));
    assert_eq!(snapshot.edges.len(), 1);
    assert_eq!(
        edge(&snapshot, "program:app", "program:store").messages_sent,
        5
    );
}

#[test]
fn what_makes_counts_uncertain_makes_them_lower_bounds() {
    let doubt = |change: fn(&mut Flow)| {
        let mut frame = chain(10);
        change(&mut frame.flows[5]);
        let snapshot = folded(&frame);
        let edge = edge(&snapshot, "program:app", "program:store");
        assert_eq!(edge.lower_bound, snapshot.quality.lower_bound);
        edge.lower_bound
    };
    assert!(doubt(|flow| flow.ambiguous = 1));
    assert!(doubt(|flow| flow.midlife_turns = 1));
    assert!(!doubt(|flow| flow.below_floor = 1));

    let mut frame = chain(10);
    frame.lost.insert("history".into(), 3);
    assert!(!folded(&frame).quality.lower_bound);
    frame.lost.insert("flows".into(), 3);
    let quality = folded(&frame).quality;
    assert!(quality.lower_bound);
    assert_eq!((quality.lost["flows"], quality.lost["remotes"]), (3, 0));
}

#[test]
fn retransmits_of_both_ends_and_the_smallest_rtt_are_kept() {
    let mut frame = chain(1);
    (frame.flows[2].retransmits, frame.flows[3].retransmits) = (2, 3);
    (frame.flows[2].min_rtt_ns, frame.flows[3].min_rtt_ns) = (0, 9);
    let snapshot = folded(&frame);
    let tcp = edge(&snapshot, "program:web", "program:app");
    assert_eq!((tcp.retransmits, tcp.min_rtt_ns), (5, Some(9)));
    assert_eq!(
        edge(&snapshot, "program:app", "program:store").min_rtt_ns,
        None
    );
}

#[test]
fn a_selection_keeps_what_is_named_and_whom_it_talks_to() {
    let select = |selection| {
        viewed(
            &chain(10),
            &View {
                selection,
                ..View::default()
            },
        )
    };
    let store = select(Selection {
        tgids: vec![STORE * 100],
        ..Selection::default()
    });
    assert_eq!(ids(&store), ["program:app", "program:store"]);
    assert_eq!(store.edges.len(), 1);
    // Seen from there, requests come from outside.
    assert_eq!(split(&store).1, [("program:store", 100_000.0)]);

    let port = select(Selection {
        ports: vec![80],
        ..Selection::default()
    });
    assert_eq!((port.edges.len(), port.entries.len()), (1, 1));
    // One request's time lies in courts that were not asked for; each is told all the same.
    assert_eq!(
        ids(&port),
        [
            "program:app",
            "program:load",
            "program:store",
            "program:web"
        ]
    );

    let both = Selection {
        comms: vec!["app".into()],
        ports: vec![80],
        ..Selection::default()
    };
    assert_eq!(ids(&select(both)), ["program:app"]);
    let none = select(Selection {
        units: vec!["x".into()],
        ..Selection::default()
    });
    assert!(none.components.is_empty() && none.edges.is_empty() && none.entries.is_empty());
}

#[test]
fn an_empty_frame_folds_to_an_empty_snapshot() {
    let snapshot = folded(&Frame::default());
    assert!(snapshot.components.is_empty() && snapshot.edges.is_empty());
    assert_eq!(snapshot.schema, "courtside.snapshot/1");
    assert_eq!(snapshot.quality.lost.len(), words::LOSSES.len());
}

#[test]
fn flows_of_images_that_nobody_explains_are_unknown_not_lost() {
    let orphan = vec![flow((77, 78, 9), Role::Initiator, 3, 5, cpu(1))];
    let snapshot = folded(&frame(vec![], &[], orphan));
    assert_eq!(edge(&snapshot, "unknown", "unknown").roundtrips, 3);
}

#[test]
fn what_fold_makes_is_valid_by_its_schema() {
    let schema = schema_json("snapshot").unwrap();
    assert!(schema["title"].is_string() && schema["description"].is_string());
    assert_eq!(schema_json("nonsense"), None);
    for name in SCHEMA_NAMES {
        assert!(schema_json(name).is_some());
    }
    let validator = jsonschema::validator_for(&schema).unwrap();
    for frame in [chain(10), half_remote(), Frame::default()] {
        let value = serde_json::to_value(folded(&frame)).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(&value)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
    let mut other = serde_json::to_value(folded(&chain(1))).unwrap();
    other["schema"] = "courtside.snapshot/2".into();
    assert!(!validator.is_valid(&other));
}

#[test]
fn an_acceptor_meets_the_one_caller_that_nobody_else_answers_for() {
    let mut frame = chain(10);
    frame.images.push(image(40, "other", &[]));
    frame
        .flows
        .push(flow((40, APP, 8080), Role::Initiator, 10, 1, NONE));
    frame
        .flows
        .push(flow((APP, 0, 8080), Role::Acceptor, 10, 1, NONE));
    let snapshot = folded(&frame);
    let service = |from| {
        edge(&snapshot, from, "program:app")
            .service_ns
            .as_ref()
            .unwrap()
            .count
    };
    assert_eq!((service("program:other"), service("program:web")), (10, 20));
}

#[test]
fn unix_sockets_whose_other_end_is_not_known_are_not_guessed() {
    let mut frame = chain(10);
    frame.flows[4].peer = 0;
    let snapshot = folded(&frame);
    assert_eq!(edge(&snapshot, "program:app", "unknown").roundtrips, 60);
}

#[test]
fn a_remote_end_stays_remote_though_the_same_port_is_in_use_here() {
    let mut frame = half_remote();
    frame.images.push(image(STORE, "postgres", &[5432]));
    frame.images.push(image(40, "probe", &[]));
    frame
        .flows
        .push(flow((40, WEB, 80), Role::Initiator, 1, 1, NONE));
    let snapshot = folded(&frame);
    assert_eq!(
        edge(&snapshot, "program:web", "remote:[2001:db8::5]:5432").roundtrips,
        80
    );
    assert_eq!(
        edge(&snapshot, "remote:10.0.0.7", "program:web").roundtrips,
        30
    );
    assert_eq!(
        edge(&snapshot, "program:probe", "program:web").service_ns,
        None
    );
}

#[test]
fn recipients_are_those_of_turnarounds() {
    let mut frame = chain(10);
    frame
        .flows
        .push(flow((STORE, WEB, 81), Role::Initiator, 1, 1, NONE));
    let snapshot = folded(&frame);
    let [only] = component(&snapshot, "program:store")
        .turnaround
        .by_recipient
        .as_slice()
    else {
        panic!()
    };
    assert_eq!(only.to, "program:app");
}
