//! Traffic: what is counted, against what the workloads counted themselves. Equality, whatever the machine's speed.
//!
//! In: a built `courtside`. Out: how much was compared. Must not know: how fast it was.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::games::{self, Played};
use crate::{
    harness::{Host, Measured, Running, Snapshot, courtside, finish, list, number, workload},
    sound,
};

/// First argument of this program when it is to let a workload go that waits for a line.
pub const LET_GO: &str = "--let-go";
const CONNECTIONS: u64 = 5;

/// What an end counted, under Courtside's name and the workload's.
const COUNTS: [(&str, &str); 5] = [
    ("roundtrips", "answered"),
    ("messages_sent", "messages_sent"),
    ("messages_received", "messages_received"),
    ("bytes_sent", "bytes_sent"),
    ("bytes_received", "bytes_received"),
];

/// Every roundtrip, message and byte of a ping-pong is counted once, on one connection and on several, over each
/// transport. All are played while one measurement runs: an attach takes the machine longer than ten of them.
///
/// # Errors
/// Names what was not.
pub fn counted(host: &Host) -> anyhow::Result<Value> {
    let transports = [
        "tcp4",
        "tcp6",
        "unix-stream",
        "unix-dgram",
        "unix-seqpacket",
        "udp-connected",
        "udp-unconnected",
    ];
    let shapes = [
        &["--messages", "503", "--connections", "7"] as &[&str],
        // Enough for replies that arrive before the send call has returned.
        &["--messages", "3001", "--size", "1"],
    ];
    let games: Vec<_> = transports
        .into_iter()
        .flat_map(|transport| shapes.map(|shape| [shape, &["--transport", transport]].concat()))
        .collect();
    play(host, &[], &games)?;
    Ok(json!({ "transports": transports, "roundtrips of each": 503 + 3001 }))
}

/// The same for the ways in which bytes can be moved.
///
/// # Errors
/// Names what was not counted as it was.
pub fn every_way(host: &Host) -> anyhow::Result<Value> {
    // One of each kind of call in the kernel.
    let ways: [(&str, &[&str]); 6] = [
        (
            "tcp4",
            &[
                "sendfile",
                "peek",
                "half-close",
                "reset",
                "two-threads",
                "io-uring",
            ],
        ),
        ("tcp6", &["sendfile"]),
        ("unix-stream", &["sendfile", "recvmsg", "split", "io-uring"]),
        ("udp-connected", &["writev", "peek"]),
        ("unix-seqpacket", &["split"]),
        ("unix-dgram", &["peek"]),
    ];
    let shape = ["--messages", "101", "--connections", "3"];
    let games: Vec<_> = ways
        .into_iter()
        .flat_map(|(transport, variants)| variants.iter().map(move |variant| (transport, *variant)))
        .map(|(transport, variant)| {
            let way = ["--transport", transport, "--variant", variant];
            [&shape[..], &way].concat()
        })
        .collect();
    play(host, &[], &games)?;
    Ok(json!({ "ways": games.len() }))
}

/// The same without programs on functions that know the types of their arguments: by kprobes, where the kernel has no
/// tracepoint. More threads wait for an answer than the kernel tells the return of.
///
/// # Errors
/// Names what was not counted.
pub fn by_kprobes(host: &Host) -> anyhow::Result<Value> {
    let transports = ["tcp4", "unix-stream", "unix-seqpacket", "udp-connected"];
    let shape = ["--messages", "503", "--connections", "9"];
    let games = transports.map(|transport| [&shape[..], &["--transport", transport]].concat());
    play(host, &[("COURTSIDE_NO_FENTRY", "1")], &games)?;
    Ok(json!({ "transports": transports }))
}

/// Measures ping-pongs, and holds each to what it counted itself.
fn play(host: &Host, environment: &[(&str, &str)], games: &[Vec<&str>]) -> anyhow::Result<()> {
    let lines: Vec<String> = games
        .iter()
        .map(|game| format!("ping-pong --reply-size 333 {}", game.join(" ")))
        .collect();
    let Played { snapshot, games } = games::play(host, environment, &lines)?;
    let lost = snapshot.lost_counts();
    let failed: Vec<String> = lines
        .iter()
        .zip(&games)
        .filter_map(|(line, (name, answer))| {
            let error = exact(&snapshot, answer, name).err()?;
            Some(format!("{line}\n{answer}\n{error:#}"))
        })
        .collect();
    ensure!(
        failed.is_empty(),
        "{} of {}: {}\n{}\nlost {lost:?}",
        failed.len(),
        games.len(),
        failed.join(" | "),
        snapshot.0["edges"]
    );
    Ok(())
}

/// Holds the edge from client to server, and the server, to what the two of them counted.
fn exact(snapshot: &Snapshot, answer: &Value, tag: &str) -> anyhow::Result<()> {
    let [client_name, server_name] = ["client", "server"].map(|end| format!("{tag}-{end}"));
    let (client, server) = (&answer["client"], &answer["server"]);
    let edges = snapshot.edges(&client_name, &server_name);
    // Only connected UDP has a port, and thus an edge, for each client.
    let ports = list(answer, "ports").count();
    ensure!(edges.len() == ports, "{} edges, {ports} ports", edges.len());
    let sum = |path: &str| {
        edges
            .iter()
            .map(|edge| number(edge, path))
            .sum::<anyhow::Result<u64>>()
    };
    for (measured, counted) in COUNTS {
        let (measured_sum, truth) = (sum(measured)?, number(client, counted)?);
        ensure!(
            measured_sum == truth,
            "{measured}: {measured_sum}, truth {truth}"
        );
    }
    let served = number(snapshot.component(&server_name)?, "requests/served")?;
    let answered = number(server, "answered")?;
    ensure!(served == answered, "served: {served}, truth {answered}");
    let served = sum("service_ns/count")?;
    ensure!(
        served == answered,
        "service times: {served}, truth {answered}"
    );
    // The client's own clock starts before the send and stops after the receive. A negative latency would be huge.
    let (latency, own) = (sum("latency_ns/sum_ns")?, number(client, "latency_sum_ns")?);
    ensure!(
        latency <= own,
        "latency: {latency}, by the client's own clock {own}"
    );
    let only = BTreeSet::from([(client_name.as_str(), server_name.as_str())]);
    for name in [&client_name, &server_name] {
        ensure!(snapshot.neighbours(name) == only, "others talk to {name}");
    }
    let lost = snapshot.lost_counts();
    ensure!(lost.is_empty(), "lost: {lost:?}");
    Ok(())
}

/// Connections that stood before the attach are counted from their second turn on, whatever the transport.
///
/// # Errors
/// Names the transport and what was not counted so.
pub fn standing(host: &Host) -> anyhow::Result<Value> {
    let transports = [
        "tcp4",
        "tcp6",
        "unix-stream",
        "unix-seqpacket",
        "unix-dgram",
        "udp-connected",
        "udp-unconnected",
    ];
    let games = transports
        .iter()
        .enumerate()
        .map(|(number, transport)| stands(number, transport))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut command = Command::new(env::current_exe()?);
    command
        .arg(LET_GO)
        .args(games.iter().map(|game| game.tgid().to_string()));
    let Measured {
        snapshot, stdout, ..
    } = host.stat(&[], &mut command)?;
    let answers: Vec<Value> = stdout
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context(stdout.clone())?;
    ensure!(
        answers.len() == games.len(),
        "not all games ended: {stdout}"
    );
    let failed: Vec<String> = transports
        .iter()
        .zip(&answers)
        .enumerate()
        .filter_map(|(number, (transport, answer))| {
            let error = stood_exactly(&snapshot, answer, number, transport).err()?;
            Some(format!("{transport}: {error:#}"))
        })
        .collect();
    let lost = snapshot.lost_counts();
    ensure!(failed.is_empty(), "{}: lost {lost:?}", failed.join(" | "));
    ensure!(lost.is_empty(), "lost {lost:?}");
    let midlife = number(&snapshot.0, "quality/midlife_connections")?;
    let at_least: u64 = transports
        .iter()
        .map(|transport| CONNECTIONS + server_sockets(transport))
        .sum();
    ensure!(midlife >= at_least, "{midlife} midlife connections");
    Ok(json!({ "transports": transports.len() }))
}

/// Messages of each transport in the test of standing connections.
const MESSAGES: u64 = 503;

/// A game that has warmed up and waits to be let go.
fn stands(number: usize, transport: &str) -> anyhow::Result<Running> {
    let mut command = Command::new(workload()?);
    command
        .args(["ping-pong", "--wait-go", "--warm-up", "3"])
        .args(["--name", &format!("st{number}"), "--transport", transport])
        .args(["--connections", &CONNECTIONS.to_string()])
        .args(["--messages", &MESSAGES.to_string()])
        .stdin(Stdio::piped());
    let mut game = Running::start(&mut command)?;
    let ready = game.line()?;
    ensure!(ready == "ready", "the workload said `{ready}`");
    Ok(game)
}

/// Sockets of the server that has a connection with each of its clients.
fn server_sockets(transport: &str) -> u64 {
    match transport {
        "udp-unconnected" | "unix-dgram" => 1,
        _ => CONNECTIONS,
    }
}

/// Holds what was counted of connections that stood before the attach to what the workload counted.
fn stood_exactly(
    snapshot: &Snapshot,
    answer: &Value,
    number_of_game: usize,
    transport: &str,
) -> anyhow::Result<()> {
    let [client, server] = ["client", "server"].map(|end| format!("st{number_of_game}-{end}"));
    let edges = snapshot.edges(&client, &server);
    let seen = || snapshot.0["edges"].to_string();
    let sum = |path: &str| {
        edges
            .iter()
            .map(|edge| number(edge, path))
            .sum::<anyhow::Result<u64>>()
    };
    // The first turn of each socket is not counted: nobody can tell whether the attach found the middle of a message.
    for (measured, counted) in COUNTS {
        let truth = number(&answer["client"], counted)?;
        let truth = if measured == "roundtrips" {
            truth - CONNECTIONS
        } else {
            truth
        };
        let found = sum(measured)?;
        ensure!(
            found == truth,
            "{measured}: {found}, truth {truth}: {}",
            seen()
        );
    }
    let served = number(snapshot.component(&server)?, "requests/served")?;
    ensure!(
        served == MESSAGES - server_sockets(transport),
        "{served} requests served: {}",
        seen()
    );
    Ok(())
}

/// Lets workloads go, one after the other, and takes over what each says until it ends. Both pipes of each can be opened a
/// second time.
///
/// # Errors
/// When there is no such process.
pub fn let_go(tgids: &[String]) -> anyhow::Result<()> {
    tgids.iter().try_for_each(|tgid| let_one_go(tgid))
}

fn let_one_go(tgid: &str) -> anyhow::Result<()> {
    let mut said = fs::File::open(format!("/proc/{tgid}/fd/1"))?;
    let mut hears = OpenOptions::new()
        .write(true)
        .open(format!("/proc/{tgid}/fd/0"))?;
    hears.write_all(b"go\n")?;
    io::copy(&mut said, &mut io::stdout())?;
    Ok(())
}

/// With room for one flow, what is seen and what is lost add up to what happened.
///
/// # Errors
/// When they do not.
pub fn loss_is_counted(host: &Host) -> anyhow::Result<Value> {
    let mut figures = Vec::new();
    for transport in ["tcp4", "unix-stream", "udp-connected"] {
        let path = host.dir().join("starved.json");
        let mut command = Command::new(courtside()?);
        command
            .env("COURTSIDE_MAP_LIMITS", "FLOWS=1")
            .args(["stat", "--json", "-o"])
            .arg(&path)
            .arg("--")
            .arg(workload()?)
            .args([
                "ping-pong",
                "--messages",
                "503",
                "--name",
                "l",
                "--transport",
                transport,
            ]);
        let output = finish(command)?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        let snapshot = Snapshot(serde_json::from_str(&fs::read_to_string(path)?)?);
        sound::check(&snapshot, &crate::harness::schema("snapshot")?)?;
        let mut happened = 0;
        for (end, calls) in [
            ("client", "sends"),
            ("client", "receives"),
            ("server", "sends"),
            ("server", "receives"),
        ] {
            happened += number(&answer[end], calls)?;
        }
        let lost = number(&snapshot.0, "quality/lost/flows")?;
        let seen = seen(&snapshot)?;
        ensure!(
            seen + lost == happened && lost > 0,
            "{transport}: {seen} seen, {lost} lost, {happened} happened: {}, lost in all {:?}",
            snapshot.0["edges"],
            snapshot.lost_counts()
        );
        figures.push(
            json!({ "transport": transport, "seen": seen, "lost": lost, "happened": happened }),
        );
    }
    Ok(Value::Array(figures))
}

/// Messages that each end was seen to send and to receive. An edge tells the initiator's, if it was seen; what an
/// acceptor sent ends a turnaround or was unprompted, and what it received was queued.
fn seen(snapshot: &Snapshot) -> anyhow::Result<u64> {
    let mut seen = 0;
    for edge in list(&snapshot.0, "edges").filter(|edge| edge["acceptor_only"] == false) {
        seen += number(edge, "messages_sent")? + number(edge, "messages_received")?;
    }
    for component in
        list(&snapshot.0, "components").filter(|component| component["name"] == "l-server")
    {
        for path in [
            "turnaround/count",
            "turnaround/unprompted_count",
            "requests/queued_ns/count",
        ] {
            seen += number(component, path)?;
        }
    }
    Ok(seen)
}
