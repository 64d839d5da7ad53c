//! What is exported of a recording is what the workload counted, whatever the form.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use courtside::export::perfetto::proto::Trace;
use courtside_tests::harness::{self, Host, Snapshot, number};
use prost::Message as _;
use serde_json::Value;

const MESSAGES: u64 = 20_000;

fn courtside(arguments: &[&str]) -> Output {
    let program = harness::courtside().unwrap();
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    output
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Roundtrips from one component to another.
fn roundtrips(snapshot: &Value, from: &str, to: &str) -> u64 {
    let snapshot = Snapshot(snapshot.clone());
    let edges = snapshot.edges(from, to);
    edges
        .iter()
        .map(|edge| number(edge, "roundtrips").unwrap())
        .sum()
}

#[test]
fn every_form_holds_every_roundtrip_once() {
    let host = Host::take().unwrap();
    let tag = host.tag();
    let (client, server) = (format!("{tag}-client"), format!("{tag}-server"));
    let place = |name: &str| host.dir().join(name);
    let recording = place("shop.rec");
    let workload = harness::workload().unwrap();
    let messages = MESSAGES.to_string();
    let output = courtside(&[
        "record",
        "-o",
        recording.to_str().unwrap(),
        "--events",
        "-i",
        "100ms",
        "--",
        workload.to_str().unwrap(),
        "ping-pong",
        "--messages",
        &messages,
        "--name",
        &tag,
    ]);
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer: Value = serde_json::from_str(answer.lines().last().unwrap()).unwrap();
    assert_eq!(answer["client"]["answered"], MESSAGES);
    let export = |format: &str, out: &Path| {
        let [recording, out] = [recording.as_path(), out].map(|path| path.to_str().unwrap());
        courtside(&["export", recording, "-F", format, "-o", out]);
    };

    export("json", &place("whole.json"));
    let whole: Value = serde_json::from_str(&read(&place("whole.json"))).unwrap();
    assert_eq!(roundtrips(&whole, &client, &server), MESSAGES);

    export("ndjson", &place("windows.ndjson"));
    let windows: Vec<Value> = read(&place("windows.ndjson"))
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(windows.len() > 1);
    let each = windows.iter().map(|w| roundtrips(w, &client, &server));
    assert_eq!(each.sum::<u64>(), MESSAGES);

    export("csv", &place("tables"));
    let edges = read(&place("tables").join("edges.csv"));
    let mut lines = edges
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let [from, to, count] = ["from", "to", "roundtrips"].map(column);
    let own = lines.filter(|line| line[from].ends_with(&client) && line[to].ends_with(&server));
    let counted = own.map(|line| line[count].parse::<u64>().unwrap());
    assert_eq!(counted.sum::<u64>(), MESSAGES);

    let events = read(&place("tables").join("events.csv"));
    for (end, kind) in [
        (&client, "send"),
        (&client, "receive"),
        (&server, "send"),
        (&server, "receive"),
    ] {
        let own = format!(",{kind},");
        let id = format!("program:{end},");
        let lines = events.lines().filter(|line| line.contains(&own));
        // The first component of a line is that of the task, the second the peer.
        let counted = lines.filter(|line| {
            line.split_once("program:")
                .is_some_and(|(before, _)| line[before.len()..].starts_with(&id))
        });
        assert_eq!(counted.count() as u64, MESSAGES, "{end} {kind}");
    }

    export("parquet", &place("tables"));
    let parquet = fs::read(place("tables").join("edges.parquet")).unwrap();
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    export("perfetto", &place("trace"));
    let trace = Trace::decode(fs::read(place("trace")).unwrap().as_slice()).unwrap();
    let moments = trace
        .packet
        .iter()
        .filter_map(|packet| Some((packet.timestamp?, packet.track_event.as_ref()?)));
    let (mut begun, mut ended) = (BTreeMap::new(), BTreeMap::new());
    for (at, event) in moments {
        begun.extend(event.flow_ids.iter().map(|flow| (*flow, at)));
        ended.extend(event.terminating_flow_ids.iter().map(|flow| (*flow, at)));
    }
    // Every message is an arrow forward in time; others may have talked meanwhile.
    assert!(ended.len() as u64 >= 2 * MESSAGES, "{}", ended.len());
    assert!(ended.iter().all(|(flow, at)| begun[flow] < *at));

    let page = place("page.html");
    courtside(&[
        "report",
        recording.to_str().unwrap(),
        "-o",
        page.to_str().unwrap(),
    ]);
    let page = read(&page);
    assert!(page.contains(&client) && page.contains("20 000"));
}
