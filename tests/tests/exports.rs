//! What is exported of a recording is what the workload counted, whatever the form.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use courtside::{
    event::{KINDS, What},
    export::perfetto::proto::Trace,
    record::Recording,
};
use courtside_tests::harness::{self, Host, Snapshot, number};
use prost::Message as _;
use serde_json::{Value, json};

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

/// A Python that has pyarrow and Perfetto's messages.
fn python() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let own = workspace.join("target/python/bin/python");
    let given = std::env::var_os("COURTSIDE_PYTHON").map(PathBuf::from);
    let python = given.unwrap_or(own);
    assert!(
        python.exists(),
        "{} is missing; run: cargo xtask test",
        python.display()
    );
    python
}

/// Datagrams of which a send or receive does not tell when they arrived.
fn late_datagrams(recording: &Path) -> u64 {
    const UDP: u8 = 2;
    let recording = Recording::open(recording).unwrap();
    let is_late = |what: &What| match what {
        What::Send { known, flow, .. } | What::Receive { known, flow, .. } => {
            flow.transport == UDP && !known
        }
        _ => false,
    };
    let late = recording
        .events()
        .filter(|event| is_late(&event.as_ref().unwrap().what));
    late.count() as u64
}

/// Rows and sums of the events in a recording that lie in the time of its windows.
fn in_recording(recording: &Path) -> Value {
    let recording = Recording::open(recording).unwrap();
    let from = recording.windows().next().unwrap().start_unix_ns;
    let to = recording.windows().last().unwrap().end_unix_ns();
    let mut events = recording.events();
    let mut first = None;
    let mut kinds: BTreeMap<&str, [u64; 5]> = BTreeMap::new();
    while let Some(event) = events.next() {
        let event = event.unwrap();
        let at = event.time_ns.wrapping_add_signed(events.unix_offset_ns());
        if !(from..to).contains(&at) {
            continue;
        }
        let bytes = match &event.what {
            What::Send { bytes, .. } | What::Receive { bytes, .. } => *bytes,
            What::DiskStart(disk) | What::DiskEnd { disk, .. } => disk.bytes,
            _ => 0,
        };
        let since = at - *first.get_or_insert(at);
        let sums = kinds.entry(KINDS[usize::from(event.kind())]).or_default();
        let more = [1, bytes.into(), event.tid.into(), event.cpu.into(), since];
        for (sum, more) in sums.iter_mut().zip(more) {
            *sum += more;
        }
    }
    let named = kinds.into_iter().map(|(kind, [rows, bytes, tid, cpu, since])| {
        let sums = json!({"rows": rows, "bytes": bytes, "tid": tid, "cpu": cpu, "since_first_ns": since});
        (kind.to_owned(), sums)
    });
    Value::Object(named.collect())
}

#[test]
fn other_peoples_readers_find_every_event_every_turnaround_and_every_arrow() {
    let python = python();
    let host = Host::take().unwrap();
    let tag = host.tag();
    let (client, server) = (format!("{tag}-client"), format!("{tag}-server"));
    let [recording, tables, trace] =
        ["x.rec", "tables", "trace"].map(|name| host.dir().join(name).to_str().unwrap().to_owned());
    let workload = harness::workload().unwrap();
    for transport in [
        "tcp4",
        "udp-connected",
        "udp-unconnected",
        "unix-stream",
        "unix-dgram",
    ] {
        let game = [
            "record",
            "--force",
            "-o",
            &recording,
            "--events",
            "-i",
            "100ms",
            "--",
            workload.to_str().unwrap(),
            "ping-pong",
            "--messages",
            "5003",
            "--transport",
            transport,
            "--name",
            &tag,
        ];
        // Parts of a turnaround in which a task waited more often than the kernel programs remember are approximate.
        let whole = (0..20).find_map(|_| {
            courtside(&game);
            let whole = courtside(&["export", &recording, "-F", "json", "-o", "-"]);
            let whole = Snapshot(serde_json::from_slice(&whole.stdout).unwrap());
            let lost = ["history", "events"]
                .map(|class| number(&whole.0, &format!("quality/lost/{class}")).unwrap());
            (lost == [0, 0]).then_some(whole)
        });
        let whole = whole.unwrap();
        courtside(&["export", &recording, "-F", "parquet", "-o", &tables]);
        courtside(&["export", &recording, "-F", "perfetto", "-o", &trace]);

        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/read_back.py");
        let mut command = Command::new(&python);
        let output = harness::finish({
            command.args([script, &tables, &trace]);
            command
        });
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{transport}: {said}");
        let read: Value = serde_json::from_slice(&output.stdout).unwrap();

        assert_eq!(read["kinds"], in_recording(Path::new(&recording)));
        for name in [&client, &server] {
            let turnaround = &whole.component(name).unwrap()["turnaround"];
            let count = number(turnaround, "count").unwrap();
            assert_eq!(read["turnarounds"][name], count, "{transport} {name}");
            for (label, field) in [
                ("on-CPU, ns", "on_cpu_ns"),
                ("run queue, ns", "run_queue_ns"),
                ("disk, ns", "block_io_ns"),
                ("sleep, ns", "sleep_ns"),
                ("queued, ns", "queued_ns"),
            ] {
                let sum = &read["parts_ns"][name][label];
                assert_eq!(sum, &turnaround[field], "{transport} {name} {label}");
            }
        }
        // A datagram that the kernel delivered later than within the send call has no arrow.
        let late = late_datagrams(Path::new(&recording));
        for (from, to) in [(&client, &server), (&server, &client)] {
            let arrows = number(&read["arrows"], &format!("{from} → {to}")).unwrap();
            let possible = 5003 - late.min(5003)..=5003;
            assert!(
                possible.contains(&arrows),
                "{transport} {from}: {arrows}, {late} late"
            );
        }
    }
}
