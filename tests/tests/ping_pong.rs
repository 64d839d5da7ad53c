//! A client sends, a server answers: every roundtrip, message and byte is counted once, whatever moves it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, process::Command};

use courtside_tests::harness::{Host, Measured, number, workload};
use serde_json::Value;

/// Plays and holds the edge from client to server, and the server, to what the two of them counted.
fn counted_exactly(arguments: &[&str]) {
    let host = Host::take().unwrap();
    let tag = host.tag();
    let arguments = [
        &["ping-pong", "--reply-size", "333", "--name", &tag],
        arguments,
    ]
    .concat();
    let names = ["client", "server"].map(|end| format!("{tag}-{end}"));
    let names @ [client_name, server_name] = names.each_ref().map(String::as_str);
    let measured = host.measure(&arguments).unwrap();
    let Measured {
        snapshot, answer, ..
    } = &measured;
    let (client, server) = (&answer["client"], &answer["server"]);
    // Only connected UDP has a port, and thus an edge, for each client.
    let edges = snapshot.edges(client_name, server_name);
    let ports = answer["ports"].as_array().unwrap();
    assert_eq!(edges.len(), ports.len(), "{arguments:?}\n{edges:?}");
    let sum = |path: &str| {
        edges
            .iter()
            .map(|edge| number(edge, path).unwrap())
            .sum::<u64>()
    };
    let most = |path: &str| edges.iter().map(|edge| number(edge, path).unwrap()).max();
    let told = |value: &Value, path: &str| number(value, path).unwrap();
    for (measured, counted) in [
        ("roundtrips", "answered"),
        ("messages_sent", "messages_sent"),
        ("messages_received", "messages_received"),
        ("bytes_sent", "bytes_sent"),
        ("bytes_received", "bytes_received"),
    ] {
        assert_eq!(
            sum(measured),
            told(client, counted),
            "{measured} of {arguments:?}\n{edges:?}\n{answer}"
        );
    }
    let served = snapshot.component(server_name).unwrap();
    assert_eq!(
        told(served, "requests/served"),
        told(server, "answered"),
        "{arguments:?}\n{answer}"
    );
    // Datagrams are messages by themselves: a message of several is several at once, counted right and not timed.
    let several = arguments.contains(&"split") && arguments.iter().any(|a| a.starts_with("udp"));
    let timed = if several { 0 } else { told(server, "answered") };
    assert_eq!(sum("service_ns/count"), timed, "{arguments:?}\n{answer}");
    for edge in &edges {
        assert!(ports.contains(&edge["port"]), "{edge}\n{answer}");
        assert_eq!(edge["lower_bound"], several, "{arguments:?}");
    }
    // The client's own clock starts before the send and stops after the receive. A negative latency would be huge.
    assert!(
        sum("latency_ns/sum_ns") <= told(client, "latency_sum_ns"),
        "{edges:?}\n{answer}"
    );
    assert!(
        most("latency_ns/max_ns") <= Some(told(client, "latency_max_ns")),
        "{edges:?}\n{answer}"
    );
    let only = BTreeSet::from([(client_name, server_name)]);
    for name in names {
        assert_eq!(snapshot.neighbours(name), only, "{arguments:?}");
    }
    assert_eq!(snapshot.lost_counts(), []);
}

/// One connection, a few, and many; a thread for each and one loop for all.
fn counted_on_any_number_of_connections(transport: &str) {
    for shape in [
        &["--connections", "1"] as &[&str],
        &["--connections", "7"],
        &["--connections", "64"],
        &["--connections", "64", "--one-loop"],
    ] {
        let arguments = ["--messages", "5003", "--transport", transport];
        counted_exactly(&[&arguments, shape].concat());
    }
}

/// The ways of moving bytes, where a transport has them.
fn counted_in_every_way_of_moving(transport: &str, variants: &[&str]) {
    for variant in variants {
        for connections in ["1", "5"] {
            counted_exactly(&[
                "--messages",
                "2001",
                "--transport",
                transport,
                "--variant",
                variant,
                "--connections",
                connections,
            ]);
        }
    }
}

#[test]
fn tcp_over_ipv4_is_counted_exactly() {
    counted_on_any_number_of_connections("tcp4");
}

#[test]
fn tcp_over_ipv6_is_counted_exactly() {
    counted_on_any_number_of_connections("tcp6");
}

#[test]
fn unix_streams_are_counted_exactly() {
    counted_on_any_number_of_connections("unix-stream");
}

#[test]
fn unix_datagrams_are_counted_exactly() {
    counted_on_any_number_of_connections("unix-dgram");
}

#[test]
fn unix_sequenced_packets_are_counted_exactly() {
    counted_on_any_number_of_connections("unix-seqpacket");
}

#[test]
fn connected_udp_is_counted_exactly() {
    counted_on_any_number_of_connections("udp-connected");
}

#[test]
fn udp_by_peer_is_counted_exactly() {
    counted_on_any_number_of_connections("udp-unconnected");
}

/// TCP at the client alone is TCP at both: a server that offers MPTCP accepts it as such.
#[test]
fn mptcp_at_either_end_or_both_is_counted_exactly() {
    for transport in ["mptcp4", "mptcp6", "mptcp-tcp", "tcp-mptcp"] {
        counted_on_any_number_of_connections(transport);
    }
}

#[test]
fn mptcp_is_counted_the_same_in_every_way_of_moving_bytes() {
    for transport in ["mptcp4", "mptcp-tcp"] {
        counted_in_every_way_of_moving(
            transport,
            &[
                "sendfile",
                "writev",
                "recvmsg",
                "peek",
                "nonblocking",
                "half-close",
                "two-threads",
                "io-uring",
            ],
        );
        counted_exactly(&[
            "--messages",
            "100",
            "--transport",
            transport,
            "--size",
            "1000001",
        ]);
    }
}

/// Newer kernels do without.
#[test]
fn udp_lite_is_counted_exactly() {
    let lite = socket2::Protocol::UDPLITE;
    if socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, Some(lite)).is_err() {
        return;
    }
    for transport in ["udplite-connected", "udplite-unconnected"] {
        counted_on_any_number_of_connections(transport);
    }
}

#[test]
fn every_way_of_moving_bytes_over_tcp_counts_the_same() {
    counted_in_every_way_of_moving(
        "tcp4",
        &[
            "sendfile",
            "writev",
            "recvmsg",
            "peek",
            "nonblocking",
            "split",
            "half-close",
            "reset",
            "two-threads",
            "io-uring",
        ],
    );
}

#[test]
fn every_way_of_moving_bytes_over_a_unix_stream_counts_the_same() {
    counted_in_every_way_of_moving(
        "unix-stream",
        &[
            "sendfile",
            "writev",
            "recvmsg",
            "peek",
            "nonblocking",
            "split",
            "half-close",
            "two-threads",
            "io-uring",
        ],
    );
}

#[test]
fn every_way_of_moving_bytes_over_datagrams_counts_the_same() {
    for transport in ["udp-connected", "unix-seqpacket"] {
        counted_in_every_way_of_moving(
            transport,
            &[
                "writev",
                "recvmsg",
                "peek",
                "nonblocking",
                "split",
                "two-threads",
                "io-uring",
            ],
        );
    }
    for transport in ["udp-unconnected", "unix-dgram"] {
        counted_in_every_way_of_moving(transport, &["peek", "nonblocking", "two-threads"]);
    }
}

/// Whoever asks again and again for a datagram has it before the kernel announces it, and tells who sent it.
#[test]
fn datagrams_that_are_read_before_they_are_announced_are_counted_exactly() {
    for transport in ["udp-connected", "udp-unconnected", "unix-dgram"] {
        for _ in 0..3 {
            counted_exactly(&[
                "--messages",
                "101",
                "--transport",
                transport,
                "--variant",
                "busy",
            ]);
        }
    }
}

#[test]
fn messages_larger_than_any_buffer_are_counted_exactly() {
    for transport in ["tcp4", "unix-stream"] {
        counted_exactly(&[
            "--messages",
            "200",
            "--transport",
            transport,
            "--size",
            "3000001",
        ]);
    }
}

/// On two CPUs a reply may arrive before the send call that asked for it has returned, which is when the kernel tells
/// of the send. With enough roundtrips that happens; none may be lost, and no latency may be negative.
#[test]
fn replies_that_arrive_before_the_send_returns_are_counted_exactly() {
    for transport in ["tcp4", "udp-connected", "unix-stream"] {
        for variant in ["plain", "two-threads"] {
            counted_exactly(&[
                "--messages",
                "100000",
                "--size",
                "1",
                "--transport",
                transport,
                "--variant",
                variant,
            ]);
        }
    }
}

/// A send call of which much is lost on the way and sent again, long before it ends and is told.
#[test]
fn what_is_sent_again_belongs_to_the_same_edge() {
    let host = Host::take().unwrap();
    let tag = host.tag();
    let narrow = "ip link set lo up mtu 1500 \
                  && tc qdisc add dev lo root tbf rate 80mbit burst 16kb limit 16kb && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--net", "sh", "-c", narrow, "sh"])
        .arg(workload().unwrap())
        .args(["ping-pong", "--messages", "5", "--size", "1000001"])
        .args(["--name", &tag]);
    let Measured { snapshot, .. } = host.stat(&[], &mut command).unwrap();
    let (client, server) = (format!("{tag}-client"), format!("{tag}-server"));
    let edge = snapshot.edge(&client, &server).unwrap();
    assert_eq!(number(edge, "roundtrips").unwrap(), 5, "{edge}");
    assert_eq!(number(edge, "bytes_sent").unwrap(), 5_000_005, "{edge}");
    assert!(number(edge, "retransmits").unwrap() > 100, "{edge}");
    let only = BTreeSet::from([(&*client, &*server)]);
    assert_eq!(snapshot.neighbours(&client), only);
    assert_eq!(snapshot.lost_counts(), []);
}
