//! Attaching in the middle: connections that stood before are found, known for what they are, and counted from their
//! second turn on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use courtside_tests::{
    harness::{Host, Measured, Running, Snapshot, eventually, list, number, workload},
    services::{Redis, executed},
};
use serde_json::Value;

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

/// Nothing else is joined to one of the two.
fn only_between(window: &Snapshot, [client, server]: [&str; 2], either: &str) {
    let only = BTreeSet::from([(client, server)]);
    let neighbours = window.neighbours(either);
    assert!(neighbours.is_subset(&only), "{}", window.0["edges"]);
}

/// What was counted between two halts of the clients: in the windows after the first in which nobody talked. The two
/// ends' totals are not read at one instant, but they stood still at both.
struct Between(Vec<Snapshot>);

impl Between {
    fn halts(windows: Vec<Snapshot>, [client, server]: [&str; 2]) -> Self {
        let talked = |window: &Snapshot| !window.edges(client, server).is_empty();
        let all = windows.len();
        let after: Vec<_> = windows
            .into_iter()
            .skip_while(|window| !talked(window))
            .skip_while(talked)
            .skip(1)
            .collect();
        assert!(!after.is_empty(), "no halt in {all} windows");
        for window in &after {
            only_between(window, [client, server], client);
        }
        Self(after)
    }

    /// Sums over the edges between these; there is one for each port.
    fn sum(&self, [client, server]: [&str; 2], path: &str) -> u64 {
        let edges = self
            .0
            .iter()
            .flat_map(|window| window.edges(client, server));
        edges
            .filter_map(|edge| edge.pointer(&format!("/{path}")))
            .filter_map(Value::as_u64)
            .sum()
    }
}

/// The hooks see traffic from the moment they are attached, whether or not the tables of sockets have been looked
/// through by then. The client is the client all the same.
fn busy_has_the_right_roles(transport: &str) {
    const ENDS: [&str; 2] = ["st-client", "st-server"];
    for _ in 0..3 {
        let host = Host::take().unwrap();
        let mut game = standing(transport, 1 << 40);
        game.tell("go").unwrap();
        let play = "sleep 0.2; pkill -STOP --parent $0; sleep 0.5; pkill -CONT --parent $0; sleep 0.5; \
                    pkill -STOP --parent $0; sleep 0.1";
        let mut command = Command::new("sh");
        command.args(["-c", play, &game.tgid().to_string()]);
        let (windows, _) = host.windows("50ms", &mut command).unwrap();
        for window in &windows {
            assert_eq!(window.lost_counts(), []);
        }
        let unknown = |window: &Snapshot| {
            list(&window.0, "edges")
                .filter(|edge| ENDS.contains(&window.name(&edge["to"])))
                .filter(|edge| window.name(&edge["from"]) == "unknown")
                .map(|edge| number(edge, "messages_sent").unwrap())
                .sum::<u64>()
        };
        found_midlife(windows.last().unwrap(), transport);
        // Of a datagram that was under way when Courtside attached, nobody saw who sent it: its answer goes nowhere.
        let lost_sight: u64 = windows.iter().map(unknown).sum();
        assert!(lost_sight <= CONNECTIONS, "{transport}: {lost_sight}");
        let between = Between::halts(windows, ENDS);
        for window in &between.0 {
            only_between(window, ENDS, ENDS[1]);
        }
        let roundtrips = between.sum(ENDS, "roundtrips");
        let served = between.sum(ENDS, "service_ns/count");
        assert!(roundtrips > 100, "{transport}: {roundtrips} roundtrips");
        // At either halt, each connection has at most one turn that only one of its ends has seen.
        assert!(
            roundtrips.abs_diff(served) <= CONNECTIONS,
            "{transport}: {roundtrips} roundtrips, {served} served"
        );
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

/// The benchmark runs when Courtside attaches, and is halted twice. Redis is asked what it has executed at both halts,
/// when it has answered all that it was asked.
#[test]
fn a_running_redis_benchmark_is_counted_as_redis_counts_it() {
    const ENDS: [&str; 2] = ["redis-benchmark", "redis-server"];
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

    let play = "sleep 0.2; kill -STOP $1; sleep 0.5; redis-cli -p $0 INFO commandstats; kill -CONT $1; sleep 2; \
                kill -STOP $1; sleep 0.5; redis-cli -p $0 INFO commandstats";
    let mut command = Command::new("sh");
    command.args(["-c", play, &redis.port, &benchmark.tgid().to_string()]);
    let (windows, stdout) = host.windows("50ms", &mut command).unwrap();
    let inside: Vec<u64> = stdout
        .split("# Commandstats")
        .filter_map(|answer| executed(answer).unwrap().get("get").copied())
        .collect();
    let [first, last] = inside[..] else {
        panic!("{stdout}");
    };
    assert!(last - first > 1000, "{stdout}");
    for window in &windows {
        assert_eq!(window.lost_counts(), []);
    }
    let quality = &windows.last().unwrap().0;
    let midlife = number(quality, "quality/midlife_connections").unwrap();
    assert!(midlife >= 2 * connections, "{midlife}");

    let between = Between::halts(windows, ENDS);
    let served = between.sum(ENDS, "service_ns/count");
    assert_eq!(served, last - first);
    // On each connection the benchmark may have left one answer unread at either halt.
    let roundtrips = between.sum(ENDS, "roundtrips");
    assert!(
        roundtrips.abs_diff(served) <= connections,
        "{roundtrips} roundtrips, {served} served"
    );
}
