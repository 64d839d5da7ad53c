//! What kernels carry besides the requests on plain connections: connects, and protocols that are none of ours.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use courtside_tests::harness::{Host, Measured, number, workload};
use serde_json::Value;

/// The workload of connects in a network namespace of its own: there nobody else sends a SYN again.
fn connects(host: &Host, tag: &str, arguments: &[&str]) -> Measured {
    let mut command = Command::new("unshare");
    command
        .args([
            "--net",
            "sh",
            "-c",
            "ip link set lo up && exec \"$@\"",
            "sh",
        ])
        .arg(workload().unwrap())
        .args(["connects", "--name", tag])
        .args(arguments);
    host.stat(&[], &mut command).unwrap()
}

fn told(answer: &Value) -> Vec<u64> {
    let took = answer["client"]["connect_ns"].as_array().unwrap();
    took.iter().map(|ns| ns.as_u64().unwrap()).collect()
}

/// Five of six find no room and are let in when the kernel tries again: each has waited for that, and so it is told.
#[test]
fn connects_that_find_no_room_are_counted_with_their_time_and_what_was_sent_again() {
    let host = Host::take().unwrap();
    let tag = host.tag();
    let arguments = ["--used", "6", "--backlog", "0", "--deaf", "2200ms"];
    let Measured {
        snapshot, answer, ..
    } = connects(&host, &tag, &arguments);
    let edge = snapshot
        .edge(&format!("{tag}-client"), &format!("{tag}-server"))
        .unwrap();
    let (connects, told) = (&edge["connects"], told(&answer));
    assert_eq!(number(edge, "roundtrips").unwrap(), 6, "{edge}");
    assert_eq!(number(connects, "count").unwrap(), 6, "{edge}\n{answer}");
    assert_eq!(number(connects, "failed").unwrap(), 0, "{edge}");
    let again = number(&answer["client"], "syn_retransmits").unwrap();
    assert!(again >= 5, "{answer}");
    assert_eq!(number(connects, "syn_retransmits").unwrap(), again);
    // The client's clock starts before the call and stops after it.
    let longest = number(connects, "latency_ns/max_ns").unwrap();
    let sum: u64 = told.iter().sum();
    assert!(Some(&longest) <= told.iter().max(), "{connects}\n{answer}");
    let measured = number(connects, "latency_ns/sum_ns").unwrap();
    assert!(measured <= sum, "{connects}\n{answer}");
    assert!(measured as f64 > 0.95 * sum as f64, "{connects}\n{answer}");
    let waited = told.iter().filter(|ns| **ns > 1_000_000_000).count() as u64;
    let buckets = connects["latency_ns"]["buckets"].as_array().unwrap();
    let long: u64 = buckets
        .iter()
        .filter(|bucket| bucket[0].as_u64() > Some(1_000_000_000))
        .map(|bucket| bucket[1].as_u64().unwrap())
        .sum();
    assert_eq!((long, waited), (5, 5), "{connects}\n{answer}");
}

/// Where nobody listens there is nobody to name but the address.
#[test]
fn connects_that_fail_and_connections_that_nobody_uses_are_counted() {
    for transport in ["tcp4", "tcp6", "mptcp4"] {
        let host = Host::take().unwrap();
        let tag = host.tag();
        let arguments = ["--used", "4", "--unused", "7", "--refused", "3"];
        let arguments = [&arguments[..], &["--transport", transport]].concat();
        let Measured {
            snapshot, answer, ..
        } = connects(&host, &tag, &arguments);
        let (client, server) = (format!("{tag}-client"), format!("{tag}-server"));
        let edge = snapshot.edge(&client, &server).unwrap();
        let case = format!("{transport}\n{}\n{answer}", snapshot.0["edges"]);
        assert_eq!(number(edge, "roundtrips").unwrap(), 4, "{case}");
        assert_eq!(number(edge, "connects/count").unwrap(), 11, "{case}");
        assert_eq!(number(edge, "connects/failed").unwrap(), 0, "{case}");
        let sum: u64 = told(&answer).iter().sum();
        let measured = number(edge, "connects/latency_ns/sum_ns").unwrap();
        assert!(measured <= sum, "{case}");
        let address = if transport == "tcp6" {
            "[::1]"
        } else {
            "127.0.0.1"
        };
        let nobody = format!("{address}:{}", answer["client"]["deaf_port"]);
        let edge = snapshot.edge(&client, &nobody).unwrap();
        assert_eq!(number(edge, "connects/failed").unwrap(), 3, "{case}");
        assert_eq!(number(edge, "connects/count").unwrap(), 0, "{case}");
        assert_eq!(number(edge, "roundtrips").unwrap(), 0, "{case}");
    }
}

#[test]
fn what_no_edge_can_be_made_of_is_counted_by_the_name_of_its_protocol() {
    let host = Host::take().unwrap();
    let Measured {
        snapshot, answer, ..
    } = host.measure(&["foreign", "--messages", "77"]).unwrap();
    let quality = &snapshot.0["quality"];
    let calls = number(&answer, "calls").unwrap();
    assert_eq!(
        number(quality, "unplaced_protocols/raw-253").unwrap(),
        calls
    );
    assert!(number(quality, "lost/unplaced_protocol").unwrap() >= calls);
    let told: u64 = quality["unplaced_protocols"]
        .as_object()
        .unwrap()
        .values()
        .map(|calls| calls.as_u64().unwrap())
        .sum();
    assert_eq!(number(quality, "lost/unplaced_protocol").unwrap(), told);
}

/// No hook tells what `splice` takes from a socket. The kernel knows how far it has read: all bytes are there in the end,
/// and what was asked of the proxy and by it is a lower bound. What the client counted itself stands.
#[test]
fn what_splice_takes_from_a_socket_is_counted_in_bytes_and_marked() {
    let host = Host::take().unwrap();
    let tag = host.tag();
    let arguments = ["spliced", "--messages", "200", "--name", &tag];
    let Measured { snapshot, .. } = host.measure(&arguments).unwrap();
    let named = |end: &str| format!("{tag}-{end}");
    for (from, to) in [("client", "proxy"), ("proxy", "server")] {
        let edge = snapshot.edge(&named(from), &named(to)).unwrap();
        assert_eq!(number(edge, "bytes_sent").unwrap(), 200 * 100, "{edge}");
        assert_eq!(number(edge, "bytes_received").unwrap(), 200 * 333, "{edge}");
        assert_eq!(edge["lower_bound"], true, "{edge}");
        let roundtrips = if from == "client" { 200 } else { 0 };
        assert_eq!(number(edge, "roundtrips").unwrap(), roundtrips, "{edge}");
    }
}
