//! Services that everybody knows, under the load generators that everybody uses: Courtside counts what they say they
//! did, to the last request.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, process::Command};

use courtside_tests::{
    harness::{Host, Measured, number},
    services::{Nginx, Postgres, Redis},
};

const GETS: u64 = 20_000;

/// Runs redis-benchmark, and checks what holds for any number of connections: redis has executed all of it, and the
/// roundtrips, the messages and the requests served are one for each `pipeline` commands, and one for its questions.
///
/// Before it begins, redis-benchmark opens a connection of its own and asks there, in one write, for two parameters
/// of the server (`CONFIG GET save`, `CONFIG GET appendonly`): two commands, but one message, and one roundtrip.
fn redis_counted(options: &[&str], pipeline: u64) {
    let host = Host::take().unwrap();
    let redis = Redis::start(&host).unwrap();
    let before = redis.executed().unwrap();
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &redis.port, "-t", "get", "-n", &GETS.to_string()]);
    let measured = host.stat(&[], command.args(options)).unwrap();
    let mut executed = redis.executed().unwrap();
    for (name, calls) in before {
        *executed.entry(name).or_default() -= calls;
    }
    // Our own question after the run.
    executed.remove("info");
    executed.retain(|_, calls| *calls > 0);
    let expected = [("get", GETS), ("config|get", 2)].map(|(name, calls)| (name.to_owned(), calls));
    assert_eq!(executed, BTreeMap::from(expected), "redis' own count");

    let Measured { snapshot, .. } = &measured;
    let edge = snapshot.edge("redis-benchmark", "redis-server").unwrap();
    let roundtrips = GETS / pipeline + 1;
    for count in ["roundtrips", "messages_sent", "messages_received"] {
        assert_eq!(number(edge, count).unwrap(), roundtrips, "{count}: {edge}");
    }
    assert_eq!(edge["port"].to_string(), redis.port);
    assert_eq!(edge["lower_bound"], false, "{edge}");
    let server = snapshot.component("redis-server").unwrap();
    assert_eq!(number(server, "requests/served").unwrap(), roundtrips);
    assert_eq!(snapshot.lost_counts(), []);
}

#[test]
fn redis_benchmark_on_one_connection_is_counted_exactly() {
    redis_counted(&["-c", "1"], 1);
}

#[test]
fn redis_benchmark_on_many_connections_is_counted_exactly() {
    redis_counted(&["-c", "50"], 1);
}

/// Blind to the protocol, Courtside cannot know of the sixteen commands in a message: what goes to and fro is one
/// message each way. That is exact for roundtrips, and a lower bound for commands only.
#[test]
fn pipelined_commands_are_one_roundtrip_for_each_batch() {
    redis_counted(&["-c", "1", "-P", "16"], 16);
    redis_counted(&["-c", "50", "-P", "16"], 16);
}

/// One roundtrip for each transaction of the script, which is one `SELECT`; one for the start of each connection; and
/// pgbench's own: on a first connection it asks how many branches there are, and how the tables are partitioned.
/// With prepared statements, each connection prepares the one statement, in a roundtrip that is not an execution.
#[test]
fn pgbench_over_a_unix_socket_is_counted_exactly() {
    let (clients, transactions) = (4, 500);
    for (protocol, prepared) in [("simple", 0), ("extended", 0), ("prepared", clients)] {
        let host = Host::take().unwrap();
        let postgres = Postgres::start(&host).unwrap();
        let before = postgres.logged().unwrap();
        let mut command = postgres.pgbench(&["--select-only", "--no-vacuum", "--jobs", "2"]);
        command
            .args(["--protocol", protocol])
            .args(["--client", &clients.to_string()])
            .args(["--transactions", &transactions.to_string()]);
        let Measured {
            snapshot, stdout, ..
        } = host.stat(&[], &mut command).unwrap();
        let said = format!("actually processed: {0}/{0}", clients * transactions);
        assert!(stdout.contains(&said), "{stdout}");
        let after = postgres.logged().unwrap();
        let (connections, statements) = (after.0 - before.0, after.1 - before.1);
        assert_eq!(connections, 1 + clients, "PostgreSQL's own count");
        assert_eq!(
            statements,
            2 + clients * transactions,
            "PostgreSQL's own count"
        );

        let edge = snapshot.edge("pgbench", "postgres").unwrap();
        let roundtrips = connections + statements + prepared;
        assert_eq!(number(edge, "roundtrips").unwrap(), roundtrips, "{edge}");
        assert_eq!(edge["transport"], "unix");
        assert_eq!(edge["lower_bound"], false, "{edge}");
        // Nobody answers the farewell of each connection.
        let farewells = connections;
        assert_eq!(
            number(edge, "messages_sent").unwrap(),
            roundtrips + farewells,
            "{edge}"
        );
        assert_eq!(
            number(edge, "messages_received").unwrap(),
            roundtrips,
            "{edge}"
        );
        let server = snapshot.component("postgres").unwrap();
        assert_eq!(number(server, "requests/served").unwrap(), roundtrips);
        assert_eq!(snapshot.lost_counts(), []);
    }
}

/// At its end wrk leaves at most one unread answer on each connection: those were served, but are no roundtrips.
#[test]
fn wrk_against_nginx_is_counted_exactly() {
    let connections = 8;
    let host = Host::take().unwrap();
    let nginx = Nginx::start(&host).unwrap();
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), "-d2s", &nginx.url]);
    let Measured {
        snapshot, stdout, ..
    } = host.stat(&[], &mut command).unwrap();
    let requests: u64 = stdout
        .lines()
        .find_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok())
        .unwrap();
    assert!(requests > 1000, "{stdout}");

    let edge = snapshot.edge("wrk", "nginx").unwrap();
    assert_eq!(number(edge, "roundtrips").unwrap(), requests, "{stdout}");
    assert_eq!(edge["lower_bound"], false, "{edge}");
    let server = snapshot.component("nginx").unwrap();
    let served = number(server, "requests/served").unwrap();
    let unread = requests..=requests + connections;
    assert!(unread.contains(&served), "{served} served, {requests} read");
    let logged = nginx.logged().unwrap();
    assert!(
        unread.contains(&logged),
        "{logged} logged, {requests} read, {served} served"
    );
    assert_eq!(snapshot.lost_counts(), []);
}
