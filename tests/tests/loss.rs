//! What is not counted is counted as lost: `seen + lost = happened`, with maps that hold next to nothing.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::{fs, process::Command};

use courtside_tests::{
    harness::{Host, Measured, Snapshot, courtside, list, number, schema, workload},
    sound,
};

/// Runs a workload under a Courtside with small maps, and that under one with maps of the usual size.
fn starved(host: &Host, limits: &str, arguments: &[&str]) -> (Snapshot, Measured) {
    let path = host.dir().join("starved.json");
    let mut command = Command::new("env");
    command
        .arg(format!("COURTSIDE_MAP_LIMITS={limits}"))
        .arg(courtside().unwrap())
        .args(["stat", "--json", "-o"])
        .arg(&path)
        .arg("--")
        .arg(workload().unwrap())
        .args(arguments);
    let measured = host.stat(&[], &mut command).unwrap();
    let text = fs::read_to_string(path).unwrap();
    let snapshot = Snapshot(serde_json::from_str(&text).unwrap());
    sound::check(&snapshot, &schema("snapshot").unwrap()).unwrap();
    (snapshot, measured)
}

/// Messages that each end of the ping-pong was seen to send and to receive. An edge tells the initiator's, if it was seen;
/// what an acceptor sent ends a turnaround or was unprompted, and what it received was queued.
fn seen(snapshot: &Snapshot) -> u64 {
    let at_initiators: u64 = list(&snapshot.0, "edges")
        .filter(|edge| edge["acceptor_only"] == false)
        .flat_map(|edge| ["messages_sent", "messages_received"].map(|field| number(edge, field)))
        .map(Result::unwrap)
        .sum();
    let at_acceptors: u64 = list(&snapshot.0, "components")
        .filter(|component| component["name"].as_str().unwrap().ends_with("-server"))
        .flat_map(|component| {
            [
                "turnaround/count",
                "turnaround/unprompted_count",
                "requests/queued_ns/count",
            ]
            .map(|field| number(component, field))
        })
        .map(Result::unwrap)
        .sum();
    at_initiators + at_acceptors
}

/// Plays until nobody else on this host talked meanwhile: what others lose cannot be told from what they lose.
fn played_alone(
    host: &Host,
    limits: &str,
    arguments: &[&str],
    [client, server]: [&str; 2],
) -> (Snapshot, Measured) {
    for _ in 0..50 {
        let (starved, whole) = starved(host, limits, arguments);
        assert_eq!(whole.snapshot.lost_counts(), []);
        // A connect alone is no talk: the inner of the two looks whether its port is its own.
        let talk = list(&whole.snapshot.0, "edges")
            .filter(|edge| edge["messages_sent"] != 0 || edge["messages_received"] != 0);
        if whole.snapshot.edges(client, server).len() == talk.count() {
            return (starved, whole);
        }
    }
    panic!("others on this host talk all the time");
}

fn no_message_is_lost_unnoticed(transport: &str) {
    let host = Host::take().unwrap();
    let name = format!("l-{}", host.tag());
    let (client, server) = (format!("{name}-client"), format!("{name}-server"));
    for flows in ["1", "2", "3"] {
        for connections in ["1", "5"] {
            let arguments = [
                "ping-pong",
                "--messages",
                "1003",
                "--transport",
                transport,
                "--connections",
                connections,
                "--name",
                &name,
            ];
            let limits = format!("FLOWS={flows}");
            let (starved, whole) = played_alone(&host, &limits, &arguments, [&client, &server]);
            let calls = ["sends", "receives"];
            let happened: u64 = ["client", "server"]
                .iter()
                .flat_map(|end| calls.map(|call| &whole.answer[end][call]))
                .map(|calls| calls.as_u64().unwrap())
                .sum();
            assert_eq!(happened, 4 * 1003);
            let lost = number(&starved.0, "quality/lost/flows").unwrap();
            assert_eq!(
                seen(&starved) + lost,
                happened,
                "{limits}, {connections} connections over {transport}: {lost} lost\n{}",
                starved.0["edges"]
            );
            assert!(
                starved
                    .lost_counts()
                    .iter()
                    .all(|(class, _)| *class == "flows")
            );
        }
    }
}

#[test]
fn no_message_over_tcp_is_lost_unnoticed() {
    no_message_is_lost_unnoticed("tcp4");
}

#[test]
fn no_message_over_unix_streams_is_lost_unnoticed() {
    no_message_is_lost_unnoticed("unix-stream");
}

/// Disk requests that were completed, of these components or of all.
fn disk_requests(snapshot: &Snapshot, names: &[&str]) -> u64 {
    list(&snapshot.0, "components")
        .filter(|component| names.is_empty() || names.iter().any(|name| component["name"] == *name))
        .flat_map(|component| ["disk/reads", "disk/writes"].map(|field| number(component, field)))
        .map(Result::unwrap)
        .sum()
}

/// Ten threads read past the page cache at once, where one request has room. Disks are never idle: programs are read in,
/// the kernel writes back, a request may be under way at the end or be merged into one before it. So it takes some
/// tries until nobody else did anything.
#[test]
fn no_disk_request_is_lost_unnoticed() {
    let host = Host::take().unwrap();
    let suffix = format!("-{}", host.tag());
    let option = format!("--suffix={suffix}");
    let arguments = ["relay", "--requests=300", "--clients=10", &option];
    let work = ["--web=calls=1", "--app=calls=1", "--store=disk=2"];
    let arguments = [&arguments[..], &work].concat();
    let names = ["store", "app", "web", "load"].map(|name| format!("{name}{suffix}"));
    let names = names.each_ref().map(String::as_str);
    let mut tries = Vec::new();
    while tries.len() < 50 {
        let (starved, whole) = starved(&host, "REQUESTS=1", &arguments);
        let seen = disk_requests(&starved, &[]);
        let lost = number(&starved.0, "quality/lost/disk_requests").unwrap();
        let happened = disk_requests(&whole.snapshot, &names);
        assert!(
            happened >= 600 && lost > 0 && seen + lost >= 600,
            "{seen} {lost} {happened}"
        );
        if seen > 0 && seen + lost == happened {
            return;
        }
        tries.push((seen, lost, happened));
    }
    panic!("seen, lost, happened: {tries:?}");
}

/// Whom they send to is not known before they close: no flow has them, and all are counted. Those that send often enough are
/// booked on an unknown end, as are all sends of a socket that does.
#[test]
fn sends_of_datagram_sockets_that_close_before_their_other_end_is_known_are_counted() {
    let host = Host::take().unwrap();
    for (sends, unplaced) in [("1", 20), ("4", 80), ("5", 0)] {
        let arguments = ["unheard", "--sockets", "20", "--sends", sends];
        let measured = host.measure(&arguments).unwrap();
        let quality = &measured.snapshot.0["quality"];
        assert_eq!(quality["lost"]["unplaced"], unplaced, "{sends} sends");
        assert_eq!(quality["lower_bound"], unplaced > 0, "{sends} sends");
        // The kernel keeps fifteen characters of a name.
        let component = measured.snapshot.component("courtside-workl").unwrap();
        let turnaround = &component["turnaround"];
        let unprompted = number(turnaround, "unprompted_count").unwrap();
        assert_eq!(unprompted, number(&measured.answer, "sends").unwrap());
    }
}
