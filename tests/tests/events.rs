//! Single events: each is recorded or counted as lost, and what is recorded is what happened.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, process::Command};

use courtside::{
    event::{KINDS, What},
    record::Recording,
};
use courtside_tests::harness::{Host, Snapshot, courtside, finish, number, workload};
use recorded::{Recorded, record};

mod recorded;

/// Events in the file, by kind.
fn in_file(recorded: &Recorded) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> =
        KINDS.iter().map(|kind| ((*kind).to_owned(), 0)).collect();
    for event in &recorded.events {
        *counts.get_mut(KINDS[usize::from(event.kind())]).unwrap() += 1;
    }
    counts
}

/// Sends and receives, and their bytes, of the process that the workload calls so.
fn transfers(recorded: &Recorded, end: &str) -> [u64; 4] {
    let tgid = recorded.answer[end]["tgid"].as_u64().unwrap() as u32;
    let mut seen = [0; 4];
    for event in recorded.events.iter().filter(|event| event.tid == tgid) {
        match event.what {
            What::Send { bytes, .. } => {
                seen[0] += 1;
                seen[1] += u64::from(bytes);
            }
            What::Receive { bytes, .. } => {
                seen[2] += 1;
                seen[3] += u64::from(bytes);
            }
            _ => {}
        }
    }
    seen
}

#[test]
fn every_event_is_in_the_file() {
    let host = Host::take().unwrap();
    let workload = workload().unwrap();
    for transport in ["tcp4", "tcp6", "unix-stream", "unix-dgram", "udp-connected"] {
        let program = workload.to_str().unwrap();
        let game = [
            program,
            "ping-pong",
            "--messages",
            "2003",
            "--transport",
            transport,
        ];
        let recorded = record(&host, "", &game);
        assert_eq!(recorded.frame.lost["events"], 0, "{transport}");
        assert_eq!(in_file(&recorded), recorded.frame.events, "{transport}");
        for end in ["client", "server"] {
            let answer = &recorded.answer[end];
            let said = ["sends", "bytes_sent", "receives", "bytes_received"]
                .map(|field| answer[field].as_u64().unwrap());
            assert_eq!(transfers(&recorded, end), said, "{end} over {transport}");
        }
    }
}

/// The reader is stopped while the workload runs: the ring of a page fills, whatever the machine's speed.
#[test]
fn what_finds_no_room_is_counted() {
    let host = Host::take().unwrap();
    let play = "kill -STOP $PPID; \"$0\" ping-pong --messages 5003; kill -CONT $PPID";
    let workload = workload().unwrap();
    let game = ["sh", "-c", play, workload.to_str().unwrap()];
    let recorded = record(&host, "EVENTS=4096", &game);
    let happened: u64 = recorded.frame.events.values().sum();
    let lost = recorded.frame.lost["events"];
    assert!(lost > 2 * 5003, "{lost}");
    assert_eq!(recorded.events.len() as u64 + lost, happened);
    // Nothing is recorded that did not happen.
    for (kind, count) in in_file(&recorded) {
        assert!(count <= recorded.frame.events[&kind], "{kind}");
    }
    // Each end sends each message or its answer.
    assert!(recorded.frame.events["send"] >= 2 * 5003);
}

/// The whole of Courtside is stopped for ten seconds, in which more happens than its ring holds: each event is in the file
/// or counted as lost, what the kernel adds up misses none, and the windows that went by are one.
#[test]
fn a_collector_that_cannot_keep_up_says_what_it_lost() {
    const MESSAGES: u64 = 200_000;
    let host = Host::take().unwrap();
    let play = "kill -STOP $PPID; sleep 10 & \"$0\" ping-pong --messages 200000 --name $1; wait; kill -CONT $PPID";
    let workload = workload().unwrap();
    let name = format!("l-{}", host.tag());
    let game = ["sh", "-c", play, workload.to_str().unwrap(), &name];
    let recorded = record(&host, "", &game);
    let happened: u64 = recorded.frame.events.values().sum();
    let lost = recorded.frame.lost["events"];
    let seen = recorded.events.len() as u64;
    assert!(lost > 0, "{seen}");
    assert_eq!(seen + lost, happened);

    let file = host.dir().join("events.rec");
    let recording = Recording::open(&file).unwrap();
    let windows: Vec<u64> = recording
        .windows()
        .map(|window| window.duration_ns)
        .collect();
    let seconds = windows.iter().sum::<u64>() / 1_000_000_000;
    let longest = windows.iter().max().unwrap() / 1_000_000_000;
    assert!(longest >= 9, "{windows:?}");
    assert!(windows.len() as u64 + 8 <= seconds, "{windows:?}");

    let mut command = Command::new(courtside().unwrap());
    command
        .arg("export")
        .arg(&file)
        .args(["-F", "json", "-o", "-"]);
    let whole = finish(command).unwrap().stdout;
    let whole = Snapshot(serde_json::from_slice(&whole).unwrap());
    let edge = whole.edge(&format!("{name}-client"), &format!("{name}-server"));
    assert_eq!(number(edge.unwrap(), "roundtrips").unwrap(), MESSAGES);
    assert_eq!(whole.lost_counts(), [("events", lost)]);
    println!("{seen} seen, {lost} lost, {happened} happened, windows {windows:?}");
}
