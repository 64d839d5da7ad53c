//! Known answers: where requests enter, and where their time goes.

use super::super::*;
use super::{edge, folded, half_remote, viewed};
use crate::fixture::frames::{APP, NONE, STORE, chain, cpu, flow, frame, image, parts, remote};
use crate::frame::Role;
use crate::parts::{Part, Parts};

/// Mean, courts, network, other of the only entry.
pub(super) fn split(snapshot: &Snapshot) -> (f64, Vec<(&str, f64)>, f64, f64) {
    let [entry] = snapshot.entries.as_slice() else {
        panic!("{:#?}", snapshot.entries)
    };
    let courts = entry
        .courts
        .iter()
        .map(|c| (c.component.as_str(), c.turnaround_ns))
        .collect();
    (
        entry.mean_ns.unwrap(),
        courts,
        entry.network_ns,
        entry.other_ns.unwrap(),
    )
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6 * a.abs().max(b.abs()).max(1.0)
}

#[test]
fn a_requests_time_is_split_over_the_courts_without_rest() {
    let snapshot = folded(&chain(100));
    let (mean, courts, network, other) = split(&snapshot);
    assert_eq!(mean, 1_270_000.0);
    assert_eq!(
        courts,
        [
            ("program:web", 100_000.0),
            ("program:app", 500_000.0),
            ("program:store", 600_000.0)
        ]
    );
    assert_eq!(network, 70_000.0);
    assert_eq!(other, 0.0);
    let entry = &snapshot.entries[0];
    assert_eq!(
        (entry.component.as_str(), entry.port, entry.requests),
        ("program:web", 80, 100)
    );
    let store = &entry.courts[2];
    assert_eq!(
        (
            store.parts[Part::OnCpu],
            store.parts[Part::BlockIo],
            store.parts[Part::Sleep]
        ),
        (120_000.0, 480_000.0, 0.0)
    );
    let per_request = |from, to| edge(&snapshot, from, to).roundtrips_per_request;
    assert_eq!(per_request("program:load", "program:web"), Some(1.0));
    assert_eq!(per_request("program:app", "program:store"), Some(6.0));
}

#[test]
fn the_latency_towards_a_remote_end_is_its_court() {
    let snapshot = folded(&half_remote());
    let (mean, courts, network, other) = split(&snapshot);
    assert_eq!(mean, 1_000.0);
    assert_eq!(
        courts,
        [("program:web", 300.0), ("remote:[2001:db8::5]:5432", 700.0)]
    );
    assert_eq!((network, other), (0.0, 0.0));
}

#[test]
fn the_user_may_say_where_requests_enter() {
    let at = |name: &str, port| {
        let entries = vec![EntryWish {
            name: name.into(),
            port,
        }];
        viewed(
            &chain(10),
            &View {
                entries,
                ..View::default()
            },
        )
    };
    for snapshot in [
        at("app", None),
        at("app", Some(8080)),
        at("program:app", None),
    ] {
        let (mean, courts, network, other) = split(&snapshot);
        assert_eq!(mean, 565_000.0);
        assert_eq!(
            courts,
            [("program:app", 250_000.0), ("program:store", 300_000.0)]
        );
        assert_eq!((network, other), (15_000.0, 0.0));
        assert_eq!(
            edge(&snapshot, "program:app", "program:store").roundtrips_per_request,
            Some(3.0)
        );
        assert_eq!(
            edge(&snapshot, "program:web", "program:app").roundtrips_per_request,
            Some(1.0)
        );
        assert_eq!(
            edge(&snapshot, "program:load", "program:web").roundtrips_per_request,
            None
        );
    }
    assert!(at("app", Some(1)).entries.is_empty());
    assert!(at("load", None).entries.is_empty());
}

#[test]
fn what_several_entries_share_is_split_by_the_work_they_bring() {
    let mut frame = chain(10);
    // A second way in, with clients elsewhere: 20 requests, one roundtrip to app each, as many as web makes.
    frame.images.push(image(50, "admin", &[9000]));
    frame.remotes = half_remote().remotes;
    frame.flows.push(flow(
        (50, remote(1), 9000),
        Role::Acceptor,
        20,
        595_000,
        cpu(10_000),
    ));
    frame
        .flows
        .push(flow((50, APP, 8080), Role::Initiator, 20, 585_000, NONE));
    frame.flows.push(flow(
        (APP, 50, 8080),
        Role::Acceptor,
        20,
        565_000,
        frame_parts(),
    ));
    for i in [4, 5] {
        let twice = chain(20).flows.swap_remove(i);
        frame.flows[i] = twice;
    }
    let snapshot = folded(&frame);
    let [admin, web] = snapshot.entries.as_slice() else {
        panic!("{:#?}", snapshot.entries)
    };
    assert_eq!(
        (admin.component.as_str(), admin.requests),
        ("program:admin", 20)
    );
    let courts = |entry: &snapshot::Entry| -> Vec<f64> {
        entry.courts.iter().map(|c| c.turnaround_ns).collect()
    };
    assert_eq!(courts(admin), [10_000.0, 250_000.0, 300_000.0]);
    assert_eq!(courts(web), [100_000.0, 500_000.0, 600_000.0]);
    assert!(
        near(admin.other_ns.unwrap(), 0.0) && near(web.other_ns.unwrap(), 0.0),
        "{admin:?} {web:?}"
    );
    assert_eq!(
        edge(&snapshot, "program:app", "program:store").roundtrips_per_request,
        Some(4.0)
    );
    assert_eq!(
        edge(&snapshot, "program:web", "program:app").roundtrips_per_request,
        Some(2.0)
    );
}

/// What app keeps before it answers, as in the chain.
fn frame_parts() -> Parts<u64> {
    parts([
        (Part::OnCpu, 60_000),
        (Part::Sleep, 30_000),
        (Part::Queued, 10_000),
    ])
}

#[test]
fn components_that_call_in_a_circle_settle() {
    let mut frame = chain(10);
    // Store calls app back on another port, once for each of its own requests.
    frame
        .flows
        .push(flow((STORE, APP, 8081), Role::Initiator, 60, 1_000, NONE));
    frame
        .flows
        .push(flow((APP, STORE, 8081), Role::Acceptor, 60, 1_000, NONE));
    // And app calls itself all the time.
    for role in [Role::Initiator, Role::Acceptor] {
        frame
            .flows
            .push(flow((APP, APP, 8080), role, 100_000, 1_000, NONE));
    }
    let snapshot = folded(&frame);
    let (_, courts, _, _) = split(&snapshot);
    assert_eq!(courts.len(), 3);
    assert!(near(courts[2].1, 600_000.0), "{courts:?}");
}

#[test]
fn a_server_that_works_longer_than_a_window_stays_one() {
    let mut state = State::default();
    let full = chain(10);
    let mut quiet = full.clone();
    quiet.flows.drain(..2);
    let entries = |snapshot: Snapshot| -> Vec<String> {
        snapshot.entries.into_iter().map(|e| e.component).collect()
    };
    assert_eq!(
        entries(fold(&mut state, &full, &View::default())),
        ["program:web"]
    );
    assert!(entries(fold(&mut state, &quiet, &View::default())).is_empty());
    for _ in 0..60 {
        fold(&mut state, &quiet, &View::default());
    }
    assert_eq!(
        entries(fold(&mut state, &quiet, &View::default())),
        ["program:app"]
    );
}

#[test]
fn an_entry_within_another_is_split_on_its_own() {
    let wish = |name: &str| EntryWish {
        name: name.into(),
        port: None,
    };
    let view = View {
        entries: vec![wish("web"), wish("app")],
        ..View::default()
    };
    let snapshot = viewed(&chain(10), &view);
    let [app, web] = snapshot.entries.as_slice() else {
        panic!("{:#?}", snapshot.entries)
    };
    assert_eq!(
        (app.mean_ns, app.courts.len(), app.other_ns.map(f64::round)),
        (Some(565_000.0), 2, Some(0.0))
    );
    assert_eq!(
        (web.mean_ns, web.courts.len(), web.other_ns.map(f64::round)),
        (Some(1_270_000.0), 3, Some(0.0))
    );
}

#[test]
fn a_component_that_only_calls_itself_is_no_entry() {
    let both =
        [Role::Initiator, Role::Acceptor].map(|role| flow((APP, APP, 80), role, 5, 9, cpu(1)));
    let snapshot = folded(&frame(vec![image(APP, "app", &[])], &[], both.into()));
    assert!(snapshot.entries.is_empty());
    assert_eq!(edge(&snapshot, "program:app", "program:app").roundtrips, 5);
}
