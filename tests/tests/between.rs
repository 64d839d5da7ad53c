//! What people put between a client and a service, and services that do many things at once: Courtside counts what they
//! say they did, and its times lie between theirs and their clients'.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, os::unix::fs::symlink, process::Command};

use courtside_tests::{
    harness::{Host, Measured, list, number, workload},
    services::{
        Postgres, Redis,
        between::{Haproxy, Node, Pgbouncer, Upstream},
    },
};
use serde_json::Value;

fn told(value: &Value, path: &str) -> u64 {
    number(value, path).unwrap()
}

/// Within what was timed inside and what was timed outside, `count` times.
fn between(what: &str, inside: u64, measured: u64, outside: u64, count: u64) {
    let slack = count * 5_000 + outside / 500;
    assert!(
        inside <= measured + slack && measured <= outside + slack,
        "{what}: measured {measured}, inside {inside}, outside {outside}"
    );
}

/// What is called NAME asks an HTTP server on so many connections, so often on each.
struct Load {
    measured: Measured,
    name: String,
}

impl Load {
    fn of(host: &Host, server: &str, connections: u64, requests: u64) -> Self {
        let name = format!("ask-{}", host.tag());
        let program = host.dir().join(&name);
        symlink(workload().unwrap(), &program).unwrap();
        let mut command = Command::new(program);
        command.args(["http-load", "--server", server]);
        command.args(["--connections", &connections.to_string()]);
        command.args(["--requests", &requests.to_string()]);
        let measured = host.stat(&[], &mut command).unwrap();
        let latency = &measured.answer["latency"];
        assert_eq!(told(latency, "count"), connections * requests);
        Self { measured, name }
    }

    /// All that the client waited.
    fn latency(&self) -> u64 {
        told(&self.measured.answer, "latency/sum_ns")
    }

    fn component(&self, name: &str) -> &Value {
        self.measured.snapshot.component(name).unwrap()
    }
}

/// One request at a time on each connection: all counted, all timed, within what the client timed.
fn is_exact(measured: &Measured, from: &str, to: &str, roundtrips: u64) {
    let edge = measured.snapshot.edge(from, to).unwrap();
    assert_eq!(told(edge, "roundtrips"), roundtrips, "{edge}");
    assert_eq!(told(edge, "latency_ns/count"), roundtrips, "{edge}");
    assert_eq!(told(edge, "untimed"), 0, "{edge}");
    assert_eq!(edge["lower_bound"], false, "{edge}");
    let server = measured.snapshot.component(to).unwrap();
    assert_eq!(told(server, "requests/served"), roundtrips, "{server}");
    assert_eq!(told(server, "requests/untimed"), 0, "{server}");
    assert_eq!(measured.snapshot.lost_counts(), []);
}

/// The part of the entry's requests that lay in one court, over all of them.
fn court(measured: &Measured, entry: &str, part: &str, field: &str) -> u64 {
    let snapshot = &measured.snapshot;
    let entry = snapshot.entry(entry).unwrap();
    let court = list(entry, "courts")
        .find(|court| snapshot.name(&court["component"]) == part)
        .unwrap();
    let each = court[field].as_f64().unwrap();
    (each * told(entry, "requests") as f64) as u64
}

/// Each request waits 50 ms for a timer. The loop is idle: hardly anything lies unread, and nothing says it does.
#[test]
fn what_waits_for_a_timer_in_node_is_not_queued() {
    let host = Host::take().unwrap();
    let node = Node::start(&host, "wait", None).unwrap();
    let load = Load::of(&host, &node.server, 10, 20);
    let [requests, answers] = node.finish().unwrap();
    assert_eq!(requests, 200);
    is_exact(&load.measured, &load.name, "service.js", requests);
    let outside = load.latency();
    let component = load.component("service.js");
    let service = told(component, "requests/service_ns/sum_ns");
    between("service", answers, service, outside, requests);
    let unread = told(component, "requests/queued_ns/sum_ns");
    between("unread", 0, unread, outside - answers, requests);
    let turnaround = &component["turnaround"];
    assert_eq!(told(turnaround, "count"), requests, "{turnaround}");
    let (queued, total) = (told(turnaround, "queued_ns"), told(turnaround, "total_ns"));
    assert!(queued <= total / 20, "{turnaround}");
}

/// Each twentieth request holds up the loop: the others lie unread meanwhile.
#[test]
fn requests_lie_unread_while_node_is_held_up() {
    let host = Host::take().unwrap();
    let node = Node::start(&host, "hold", None).unwrap();
    let load = Load::of(&host, &node.server, 10, 30);
    let [requests, answers] = node.finish().unwrap();
    assert_eq!(requests, 300);
    is_exact(&load.measured, &load.name, "service.js", requests);
    let outside = load.latency();
    let component = load.component("service.js");
    let unread = told(component, "requests/queued_ns/sum_ns");
    let truth = outside - answers;
    between("unread", truth * 9 / 10, unread, truth, requests);
    let of_court = court(&load.measured, "service.js", "service.js", "unread_ns");
    between("court", truth * 9 / 10, of_court, truth, requests);
}

/// Two questions to an upstream for each request: they are calls, and not Node's court.
#[test]
fn what_node_asks_an_upstream_for_is_not_its_court() {
    let host = Host::take().unwrap();
    let upstream = Upstream::start(&host, "20ms").unwrap();
    let up = upstream.name.clone();
    let node = Node::start(&host, "ask", Some(upstream.port)).unwrap();
    let load = Load::of(&host, &node.server, 5, 20);
    let [requests, _] = node.finish().unwrap();
    let upstream = upstream.finish().unwrap();
    assert_eq!(requests, 100);
    is_exact(&load.measured, &load.name, "service.js", requests);
    is_exact(&load.measured, "service.js", &up, 2 * requests);
    let calls = load.measured.snapshot.edge("service.js", &up).unwrap();
    assert_eq!(calls["roundtrips_per_request"], 2.0, "{calls}");
    let (latency, inside) = (load.latency(), told(&upstream, "answer/sum_ns"));
    let called = told(calls, "latency_ns/sum_ns");
    between("calls", inside, called, latency, requests);
    let turned = court(&load.measured, "service.js", "service.js", "turnaround_ns");
    between("court", 0, turned, latency - inside, requests);
}

/// haproxy in front of an upstream that takes 40 ms: it has next to nothing to do.
#[test]
fn a_slow_upstream_is_not_haproxys_court() {
    let host = Host::take().unwrap();
    let upstream = Upstream::start(&host, "40ms").unwrap();
    let up = upstream.name.clone();
    let haproxy = Haproxy::start(&host, upstream.port).unwrap();
    let [before, ..] = haproxy.said().unwrap();
    let load = Load::of(&host, &haproxy.server, 8, 20);
    let [answered, response_ms, total_ms] = haproxy.said().unwrap();
    let requests = answered - before;
    assert_eq!(requests, 160, "haproxy's own count");
    drop(haproxy);
    let upstream = upstream.finish().unwrap();
    assert_eq!(told(&upstream, "answer/count"), requests);
    is_exact(&load.measured, &load.name, "haproxy", requests);
    is_exact(&load.measured, "haproxy", &up, requests);
    let (latency, inside) = (load.latency(), told(&upstream, "answer/sum_ns"));
    let calls = load.measured.snapshot.edge("haproxy", &up).unwrap();
    let called = told(calls, "latency_ns/sum_ns");
    between("calls", inside, called, latency, requests);
    // Its own mean of the last 1024 is in whole milliseconds.
    let mean_ms = called / requests / 1_000_000;
    assert!(
        mean_ms.abs_diff(response_ms) <= 1,
        "{mean_ms}, {response_ms}"
    );
    let component = load.component("haproxy");
    let service = told(component, "requests/service_ns/sum_ns");
    let mean_ms = service / requests / 1_000_000;
    assert!(mean_ms.abs_diff(total_ms) <= 1, "{mean_ms}, {total_ms}");
    let turnaround = &component["turnaround"];
    assert_eq!(told(turnaround, "count"), 2 * requests, "{turnaround}");
    let total = told(turnaround, "total_ns");
    between("turnaround", 0, total, latency - inside, 2 * requests);
    let turned = court(&load.measured, "haproxy", "haproxy", "turnaround_ns");
    between("court", 0, turned, latency - inside, 2 * requests);
}

/// What comes in from pgbench is what goes out to PostgreSQL, but for the logins, which are each one's own.
#[test]
fn pgbouncer_in_front_of_postgresql_is_counted_exactly() {
    let (clients, transactions) = (4, 300);
    let host = Host::take().unwrap();
    let postgres = Postgres::start(&host).unwrap();
    let pgbouncer = Pgbouncer::start(&host, &postgres).unwrap();
    let (before, queries) = (postgres.logged().unwrap(), pgbouncer.queries().unwrap());
    let mut command = pgbouncer.pgbench(&["--select-only", "--no-vacuum", "--jobs", "2"]);
    command
        .args(["--client", &clients.to_string()])
        .args(["--transactions", &transactions.to_string()]);
    let measured = host.stat(&[], &mut command).unwrap();
    let said = format!("actually processed: {0}/{0}", clients * transactions);
    assert!(measured.stdout.contains(&said), "{}", measured.stdout);
    let after = postgres.logged().unwrap();
    let (connections, statements) = (after.0 - before.0, after.1 - before.1);
    // pgbench asks two questions before it begins, on a connection of its own.
    let asked = 2 + clients * transactions;
    let queries = pgbouncer.queries().unwrap() - queries;
    assert_eq!(queries, asked, "pgbouncer's own count");
    is_exact(&measured, "pgbench", "pgbouncer", 1 + clients + asked);
    is_exact(&measured, "pgbouncer", "postgres", connections + statements);
    // Its thread never has the ball while PostgreSQL has it: the two follow one another.
    let component = measured.snapshot.component("pgbouncer").unwrap();
    let wall = told(&measured.snapshot.0, "window/duration_ns");
    assert!(
        told(component, "turnaround/total_ns") <= wall,
        "{component}"
    );
    assert_eq!(told(component, "turnaround/handed_over_ns"), 0);
}

/// Threads read and write, another one executes: each command is one roundtrip all the same.
#[test]
fn redis_with_threads_for_input_and_output_is_counted_exactly() {
    let (clients, gets) = (50, 20_000);
    let host = Host::take().unwrap();
    let options = ["--io-threads", "3", "--io-threads-do-reads", "yes"];
    let redis = Redis::start_with(&host, &options).unwrap();
    let before = redis.executed().unwrap();
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &redis.port, "-t", "get", "-n", &gets.to_string()]);
    command.args(["-c", &clients.to_string()]);
    let measured = host.stat(&[], &mut command).unwrap();
    let count = |all: &BTreeMap<String, u64>| all.get("get").copied();
    let after = redis.executed().unwrap();
    let executed = count(&after).unwrap() - count(&before).unwrap_or(0);
    assert_eq!(executed, gets, "redis' own count");
    is_exact(&measured, "redis-benchmark", "redis-server", gets + 1);
    let component = measured.snapshot.component("redis-server").unwrap();
    let turnaround = &component["turnaround"];
    assert_eq!(told(turnaround, "count"), gets + 1, "{turnaround}");
}
