//! What the kernel programs add up, and what a second, simple calculation makes of the single events of the same
//! recording, are the same to the nanosecond.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use courtside::{
    event::{Flow, What},
    frame::{Role, Transport},
    model::reference::{Counts, reference},
};
use courtside_tests::harness::{Host, workload};
use recorded::{Recorded, record};

mod recorded;

/// Images of the workload's processes: what the workload's own process became, and what it and its children made.
fn images(recorded: &Recorded) -> BTreeSet<u32> {
    let mut tids = BTreeSet::new();
    let mut images = BTreeSet::new();
    for event in &recorded.events {
        match &event.what {
            // The kernel cuts names at fifteen characters.
            What::Exec { image, comm, .. }
                if comm.starts_with(b"courtside-workl") || tids.contains(&event.tid) =>
            {
                tids.insert(event.tid);
                images.insert(*image);
            }
            What::Fork { tid, image, .. } if tids.contains(&event.tid) => {
                tids.insert(*tid);
                images.insert(*image);
            }
            _ => {}
        }
    }
    images
}

/// What the kernel programs booked.
fn booked(recorded: &Recorded) -> BTreeMap<Flow, Counts> {
    let mut booked: BTreeMap<Flow, Counts> = BTreeMap::new();
    for flow in &recorded.frame.flows {
        let key = Flow {
            image: flow.image,
            peer: flow.peer,
            port: flow.port,
            transport: match flow.transport {
                Transport::Tcp => 1,
                Transport::Udp => 2,
                Transport::Unix => 3,
            },
            role: match flow.role {
                Role::Unknown => 0,
                Role::Initiator => 1,
                Role::Acceptor => 2,
            },
        };
        let counts = Counts {
            messages_sent: flow.messages_sent,
            messages_received: flow.messages_received,
            bytes_sent: flow.bytes_sent,
            bytes_received: flow.bytes_received,
            answered: flow.answered,
            answered_ns: flow.answer.sum_ns,
            midlife_turns: flow.midlife_turns,
            below_floor: flow.below_floor,
            turnarounds: flow.turnarounds,
            parts: flow.turnaround_parts,
            unprompted: flow.unprompted,
            unprompted_ns: flow.unprompted_ns,
            handovers: flow.handovers,
        };
        assert!(booked.insert(key, counts).is_none());
    }
    booked
}

/// What was sent, by flow: taken out of the counts.
fn sent(counts: &mut BTreeMap<Flow, Counts>) -> BTreeMap<Flow, [u64; 2]> {
    let take = |(key, counts): (&Flow, &mut Counts)| {
        let messages = std::mem::take(&mut counts.messages_sent);
        (*key, [messages, std::mem::take(&mut counts.bytes_sent)])
    };
    counts.iter_mut().map(take).collect()
}

/// What was sent before the other end and its port were known is booked by the kernel programs when they are, and told
/// in its event as it was then. All else is told as it is booked.
fn sent_agrees(kernel: &BTreeMap<Flow, [u64; 2]>, told: &BTreeMap<Flow, [u64; 2]>) {
    let total = |sent: &BTreeMap<Flow, [u64; 2]>| {
        let mut totals = BTreeMap::new();
        for (key, [messages, bytes]) in sent {
            let end = Flow {
                peer: 0,
                port: 0,
                ..*key
            };
            let total: &mut [u64; 2] = totals.entry(end).or_default();
            total[0] += messages;
            total[1] += bytes;
        }
        totals.retain(|_, total| *total != [0; 2]);
        totals
    };
    assert_eq!(total(kernel), total(told), "{kernel:?}\n{told:?}");
    for (key, told) in told
        .iter()
        .filter(|(key, _)| key.peer != 0 && key.port != 0)
    {
        let kernel = kernel.get(key).copied().unwrap_or_default();
        assert!(
            told[0] <= kernel[0] && told[1] <= kernel[1],
            "{key:?}: {told:?}, {kernel:?}"
        );
    }
}

/// A recording in which no task of this host waited more often within a turnaround than the kernel programs remember: the
/// parts of such a turnaround are approximate, and that is counted.
fn record_whole(host: &Host, arguments: &[&str]) -> Recorded {
    let workload = workload().unwrap();
    let measured = [&[workload.to_str().unwrap()], arguments].concat();
    let recorded = (0..20)
        .map(|_| record(host, "", &measured))
        .find(|recorded| recorded.frame.lost["history"] == 0);
    let recorded = recorded.unwrap();
    assert_eq!(recorded.frame.lost["events"], 0);
    assert!(recorded.answer.is_object());
    recorded
}

fn agree(host: &Host, arguments: &[&str]) {
    let recorded = record_whole(host, arguments);
    let images = images(&recorded);
    let ours = |key: &Flow| images.contains(&key.image);
    let mut told = reference(&recorded.events);
    told.retain(|key, _| ours(key));
    let mut kernel = booked(&recorded);
    kernel.retain(|key, _| ours(key));
    assert!(!kernel.is_empty());
    sent_agrees(&sent(&mut kernel), &sent(&mut told));
    for counts in [&mut kernel, &mut told] {
        counts.retain(|_, counts| *counts != Counts::default());
    }
    let keys: BTreeSet<Flow> = told.keys().chain(kernel.keys()).copied().collect();
    let mut wrong = Vec::new();
    for key in keys {
        let (kernel, told) = (kernel.get(&key), told.get(&key));
        if kernel != told {
            wrong.push(format!(
                "{key:?}\n  kernel    {kernel:?}\n  reference {told:?}"
            ));
        }
    }
    if let Some(path) = std::env::var_os("COURTSIDE_KEEP_EVENTS").filter(|_| !wrong.is_empty()) {
        let lines: Vec<String> = recorded.events.iter().map(|e| format!("{e:?}")).collect();
        std::fs::write(path, lines.join("\n")).unwrap();
    }
    assert!(wrong.is_empty(), "{arguments:?}\n{}", wrong.join("\n"));
}

fn ping_pong(transport: &str) {
    let host = Host::take().unwrap();
    for connections in ["1", "7"] {
        let arguments = [
            "ping-pong",
            "--messages",
            "5003",
            "--transport",
            transport,
            "--connections",
            connections,
        ];
        agree(&host, &arguments);
    }
}

#[test]
fn on_a_ping_pong_over_tcp() {
    ping_pong("tcp4");
}

#[test]
fn on_a_ping_pong_over_unix_streams() {
    ping_pong("unix-stream");
}

#[test]
fn on_a_ping_pong_over_unix_datagrams() {
    ping_pong("unix-dgram");
}

#[test]
fn on_a_ping_pong_over_connected_udp() {
    ping_pong("udp-connected");
}

#[test]
fn on_a_ping_pong_over_udp_that_nobody_connects() {
    ping_pong("udp-unconnected");
}

#[test]
fn on_a_relay() {
    let host = Host::take().unwrap();
    agree(&host, &["relay", "--requests", "400", "--clients", "3"]);
}

#[test]
fn on_a_thread_pool() {
    let host = Host::take().unwrap();
    agree(
        &host,
        &["thread-pool", "--requests", "1000", "--connections", "8"],
    );
}

#[test]
fn on_an_event_loop() {
    let host = Host::take().unwrap();
    agree(
        &host,
        &["epoll-loop", "--requests", "2000", "--connections", "50"],
    );
}

#[test]
fn on_a_process_for_each_request() {
    let host = Host::take().unwrap();
    agree(&host, &["fork-per-request", "--requests", "300"]);
}

#[test]
fn on_two_requests_at_a_time() {
    let host = Host::take().unwrap();
    agree(&host, &["interleaved", "--pairs", "500"]);
    agree(&host, &["interleaved", "--pairs", "500", "--pipelined"]);
}
