//! Attaching in the middle: connections that stood before are found, known for what they are, and counted from their
//! second turn on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use courtside_tests::{
    harness::{Host, Measured, Running, Snapshot, eventually, number, workload},
    services::{Redis, executed},
};

const CONNECTIONS: u64 = 7;
const MESSAGES: u64 = 5003;

/// A ping-pong whose connections have had a few roundtrips, and that waits for a line on its stdin.
fn standing(transport: &str, messages: u64) -> Running {
    let mut command = Command::new(workload().unwrap());
    command
        .args(["ping-pong", "--name", "st", "--wait-go", "--warm-up", "3"])
        .args(["--transport", transport])
        .args(["--connections", &CONNECTIONS.to_string()])
        .args(["--messages", &messages.to_string()])
        .stdin(Stdio::piped());
    let mut running = Running::start(&mut command).unwrap();
    assert_eq!(running.line().unwrap(), "ready");
    running
}

/// Sockets of the server that clients send to: all share one where the transport neither accepts nor connects.
fn server_sockets(transport: &str) -> u64 {
    match transport {
        "udp-unconnected" | "unix-dgram" => 1,
        _ => CONNECTIONS,
    }
}

/// Sums over the edges from client to server; there is one for each port. Nothing else may be joined to the two.
fn sum(snapshot: &Snapshot, path: &str) -> u64 {
    let only = BTreeSet::from([("st-client", "st-server")]);
    for name in ["st-server", "st-client"] {
        assert_eq!(snapshot.neighbours(name), only, "{}", snapshot.0["edges"]);
    }
    let edges = snapshot.edges("st-client", "st-server");
    edges.iter().map(|edge| number(edge, path).unwrap()).sum()
}

fn found_midlife(snapshot: &Snapshot, transport: &str) {
    let found = number(&snapshot.0, "quality/midlife_connections").unwrap();
    // Both ends are on this host.
    let least = CONNECTIONS + server_sockets(transport);
    assert!(found >= least, "{transport}: {found} midlife connections");
}

/// All that moves after the attach is counted as messages and bytes. Of the turns, the first one of each socket is
/// not: nobody can tell whether what the attach found was the middle of a message. That is one roundtrip less for
/// each of the client's sockets, and one request served less for each of the server's.
fn idle_is_counted_from_the_second_turn(transport: &str) {
    let host = Host::take().unwrap();
    let game = standing(transport, MESSAGES);
    // Both of its pipes can be opened a second time: let it go, and take over what it says until it ends.
    let go = "exec 3</proc/$0/fd/1; echo go >/proc/$0/fd/0; exec cat <&3";
    let mut command = Command::new("sh");
    command.args(["-c", go, &game.tgid().to_string()]);
    let Measured {
        snapshot, answer, ..
    } = host.stat(&[], &mut command).unwrap();
    let told = |path: &str| number(&answer, path).unwrap();
    assert_eq!(told("client/answered"), MESSAGES);

    for (measured, counted) in [
        ("roundtrips", MESSAGES - CONNECTIONS),
        ("messages_sent", told("client/messages_sent")),
        ("messages_received", told("client/messages_received")),
        ("bytes_sent", told("client/bytes_sent")),
        ("bytes_received", told("client/bytes_received")),
    ] {
        assert_eq!(
            sum(&snapshot, measured),
            counted,
            "{measured} of {transport}: {}",
            snapshot.0["edges"]
        );
    }
    let server = snapshot.component("st-server").unwrap();
    assert_eq!(
        number(server, "requests/served").unwrap(),
        MESSAGES - server_sockets(transport),
        "{transport}"
    );
    found_midlife(&snapshot, transport);
    assert_eq!(snapshot.lost_counts(), []);
}

/// The hooks see traffic from the moment they are attached, whether or not the tables of sockets have been looked
/// through by then. The client is the client all the same.
fn busy_has_the_right_roles(transport: &str) {
    for _ in 0..3 {
        let host = Host::take().unwrap();
        let mut game = standing(transport, 1 << 40);
        game.tell("go").unwrap();
        // Both ends stop before the window does, because their totals are not read at one instant. At its start they are
        // not read at one instant either, and cannot be stopped: what they do in between is one end's only.
        let play = "sleep 0.5; pkill -STOP --parent $0; sleep 0.1";
        let mut command = Command::new("sh");
        command.args(["-c", play, &game.tgid().to_string()]);
        let Measured { snapshot, .. } = host.stat(&[], &mut command).unwrap();
        let roundtrips = sum(&snapshot, "roundtrips");
        assert!(roundtrips > 100, "{transport}: {}", snapshot.0["edges"]);
        let server = snapshot.component("st-server").unwrap();
        let served = number(server, "requests/served").unwrap();
        // A wrong role would leave one of the two near nothing. Equality is the idle case's to show.
        assert!(
            roundtrips.abs_diff(served) <= 3 * CONNECTIONS + roundtrips / 10,
            "{transport}: {roundtrips} roundtrips, {served} served"
        );
        found_midlife(&snapshot, transport);
        assert_eq!(snapshot.lost_counts(), []);
    }
}

#[test]
fn standing_tcp_over_ipv4() {
    idle_is_counted_from_the_second_turn("tcp4");
    busy_has_the_right_roles("tcp4");
}

#[test]
fn standing_tcp_over_ipv6() {
    idle_is_counted_from_the_second_turn("tcp6");
    busy_has_the_right_roles("tcp6");
}

#[test]
fn standing_unix_streams() {
    idle_is_counted_from_the_second_turn("unix-stream");
    busy_has_the_right_roles("unix-stream");
}

#[test]
fn standing_unix_sequenced_packets() {
    idle_is_counted_from_the_second_turn("unix-seqpacket");
    busy_has_the_right_roles("unix-seqpacket");
}

#[test]
fn standing_unix_datagrams() {
    idle_is_counted_from_the_second_turn("unix-dgram");
    busy_has_the_right_roles("unix-dgram");
}

#[test]
fn standing_connected_udp() {
    idle_is_counted_from_the_second_turn("udp-connected");
    busy_has_the_right_roles("udp-connected");
}

#[test]
fn standing_udp_by_peer() {
    idle_is_counted_from_the_second_turn("udp-unconnected");
    busy_has_the_right_roles("udp-unconnected");
}

/// Redis is asked how much it has executed just before the attach, and twice inside the window; by the last time the
/// benchmark has been stopped.
#[test]
fn a_running_redis_benchmark_is_counted_as_redis_counts_it() {
    let host = Host::take().unwrap();
    let redis = Redis::start(&host).unwrap();
    let connections = 10;
    let mut command = Command::new("redis-benchmark");
    command
        .args(["-p", &redis.port, "-t", "get", "-n", "1000000000", "-q"])
        .args(["-c", &connections.to_string()]);
    let benchmark = Running::start(&mut command).unwrap();
    let gets = || redis.executed().unwrap().get("get").copied();
    eventually("the benchmark", || gets() > Some(1000)).unwrap();

    let ask = "redis-cli -p $0 INFO commandstats; sleep 2; kill -STOP $1; sleep 0.1; redis-cli -p $0 INFO commandstats";
    let mut command = Command::new("sh");
    command.args(["-c", ask, &redis.port, &benchmark.tgid().to_string()]);
    let before = gets().unwrap();
    let Measured {
        snapshot, stdout, ..
    } = host.stat(&[], &mut command).unwrap();
    let inside: Vec<u64> = stdout
        .split("# Commandstats")
        .filter_map(|answer| executed(answer).unwrap().get("get").copied())
        .collect();
    let [first, last] = inside[..] else {
        panic!("{stdout}");
    };
    assert!(last - first > 1000, "{stdout}");

    // On each connection the benchmark may have left one answer unread, may have read one at the start that redis had
    // counted before, and has had a first turn, which is not counted.
    let possible = last - first - 2 * connections..=last - before + connections;
    let edge = snapshot.edge("redis-benchmark", "redis-server").unwrap();
    let roundtrips = number(edge, "roundtrips").unwrap();
    assert!(possible.contains(&roundtrips), "{roundtrips}, {possible:?}");
    let served = number(edge, "service_ns/count").unwrap();
    assert!(possible.contains(&served), "{served}, {possible:?}");
    // The two ends' totals are not read at one instant.
    assert!(
        roundtrips.abs_diff(served) <= 3 * connections + roundtrips / 10,
        "{roundtrips} roundtrips, {served} served"
    );
    let midlife = number(&snapshot.0, "quality/midlife_connections").unwrap();
    assert!(midlife >= 2 * connections, "{midlife}");
    assert_eq!(snapshot.neighbours("redis-benchmark").len(), 1);
    assert_eq!(snapshot.lost_counts(), []);
}
