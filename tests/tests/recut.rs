//! Windows of another length hold together what the recorded ones hold together: every count, and every sum of times.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output},
};

use courtside_tests::harness::{Host, Snapshot, courtside, finish, list, number, workload};
use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(courtside().unwrap());
    command.args(arguments);
    finish(command).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A snapshot for each window, of this length or as recorded.
fn windows(file: &Path, interval: Option<&str>) -> Vec<Value> {
    let file = file.to_str().unwrap();
    let mut arguments = vec!["export", file, "-F", "ndjson", "-o", "-"];
    arguments.extend(interval.iter().flat_map(|interval| ["-i", interval]));
    let output = run(&arguments);
    assert_eq!((output.status.code(), &*said(&output)), (Some(0), ""));
    let windows = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    windows.map(Result::unwrap).collect()
}

const OF_AN_EDGE: [&str; 9] = [
    "roundtrips",
    "messages_sent",
    "messages_received",
    "bytes_sent",
    "bytes_received",
    "latency_ns/count",
    "latency_ns/sum_ns",
    "service_ns/count",
    "service_ns/sum_ns",
];
const OF_A_COMPONENT: [&str; 13] = [
    "requests/served",
    "requests/service_ns/sum_ns",
    "requests/queued_ns/count",
    "requests/queued_ns/sum_ns",
    "turnaround/count",
    "turnaround/on_cpu_ns",
    "turnaround/run_queue_ns",
    "turnaround/throttled_ns",
    "turnaround/sleep_ns",
    "turnaround/queued_ns",
    "turnaround/unprompted_count",
    "turnaround/unprompted_ns",
    "turnaround/each_ns/count",
];

/// What all windows together say of these components and the edges between them.
fn sums(windows: &[Value], ours: &[&str]) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    let mut add = |of: String, field: &str, value: &Value| {
        let more = number(value, field).unwrap_or(0);
        *sums.entry(format!("{of} {field}")).or_default() += more;
    };
    for window in windows {
        let window = Snapshot(window.clone());
        for edge in list(&window.0, "edges") {
            let ends = [&edge["from"], &edge["to"]].map(|id| window.name(id).to_owned());
            if ends.iter().all(|end| ours.contains(&end.as_str())) {
                for field in OF_AN_EDGE {
                    add(ends.join(" → "), field, edge);
                }
            }
        }
        for component in list(&window.0, "components") {
            let name = component["name"].as_str().unwrap();
            if ours.contains(&name) {
                for field in OF_A_COMPONENT {
                    add(name.to_owned(), field, component);
                }
            }
        }
    }
    sums
}

/// On-CPU and other time of these components outside of turnarounds: what the scheduler tells, not what is booked.
fn on_cpu_ns(windows: &[Value], name: &str) -> u64 {
    let components = windows.iter().flat_map(|window| list(window, "components"));
    let ours = components.filter(|component| component["name"] == name);
    ours.map(|component| number(component, "cpu/on_cpu_ns").unwrap())
        .sum()
}

fn record(file: &Path, interval: &str, arguments: &[&str]) -> Output {
    let program = workload().unwrap();
    let [file, program] = [file, &program].map(|path| path.to_str().unwrap());
    let record = [
        "record", "--events", "--force", "-i", interval, "-o", file, "--", program,
    ];
    let output = run(&[&record, arguments].concat());
    assert!(output.status.success(), "{}", said(&output));
    output
}

/// A recording without a turnaround whose parts are approximate; that is rare, and counted.
fn record_whole(file: &Path, interval: &str, arguments: &[&str]) -> Vec<Value> {
    for _ in 0..20 {
        record(file, interval, arguments);
        let windows = windows(file, None);
        let lost = windows.iter().flat_map(|window| {
            ["history", "events"].map(|class| number(window, &format!("quality/lost/{class}")))
        });
        if lost.map(Result::unwrap).sum::<u64>() == 0 {
            return windows;
        }
    }
    panic!("waits are lost in every recording");
}

fn holds(host: &Host, arguments: &[&str], ours: &[&str]) -> BTreeMap<String, u64> {
    let file = host.dir().join("x.rec");
    let recorded = record_whole(&file, "100ms", arguments);
    let all = sums(&recorded, ours);
    for interval in ["30ms", "70ms", "100ms", "170ms", "300ms", "1h"] {
        let cut = windows(&file, Some(interval));
        assert_eq!(sums(&cut, ours), all, "{interval} {arguments:?}");
        let length: u64 = cut
            .iter()
            .map(|w| number(w, "window/duration_ns").unwrap())
            .sum();
        let recorded_length: u64 = recorded
            .iter()
            .map(|w| number(w, "window/duration_ns").unwrap())
            .sum();
        // Between two recorded windows lies what it took to read the clocks.
        assert!(
            length.abs_diff(recorded_length) < recorded_length / 100 + 1_000_000,
            "{length} {recorded_length}"
        );
        for name in ours {
            let [is, was] = [&cut, &recorded].map(|windows| on_cpu_ns(windows, name));
            assert!(
                is.abs_diff(was) < was / 20 + 2_000_000,
                "{interval} {name}: {is} {was}"
            );
        }
        // The same recording is cut into the same windows.
        assert_eq!(windows(&file, Some(interval)), cut);
    }
    let short = windows(&file, Some("30ms"));
    assert!(short.len() > 2 * recorded.len(), "{}", short.len());
    let whole = short[..short.len() - 1].iter();
    let lengths = whole.map(|w| number(w, "window/duration_ns").unwrap());
    assert!(lengths.into_iter().all(|length| length == 30_000_000));
    all
}

#[test]
fn of_a_ping_pong() {
    let host = Host::take().unwrap();
    let tag = host.tag();
    let (client, server) = (format!("{tag}-client"), format!("{tag}-server"));
    for transport in ["tcp4", "unix-stream", "udp-connected"] {
        let arguments = [
            "ping-pong",
            "--messages",
            "20003",
            "--transport",
            transport,
            "--name",
            &tag,
        ];
        let sums = holds(&host, &arguments, &[&client, &server]);
        assert_eq!(sums[&format!("{client} → {server} roundtrips")], 20_003);
        assert_eq!(sums[&format!("{server} requests/served")], 20_003);
    }
}

#[test]
fn of_a_relay() {
    let host = Host::take().unwrap();
    let arguments = ["relay", "--requests", "300", "--rate", "200"];
    let sums = holds(&host, &arguments, &["load", "web", "app", "store"]);
    for (edge, roundtrips) in [
        ("load → web", 300),
        ("web → app", 600),
        ("app → store", 1800),
    ] {
        assert_eq!(sums[&format!("{edge} roundtrips")], roundtrips);
    }
}

#[test]
fn without_single_events_only_multiples_can_be_made() {
    let host = Host::take().unwrap();
    let file = host.dir().join("x.rec");
    let name = file.to_str().unwrap();
    let output = run(&["record", "-o", name, "-i", "50ms", "-d", "500ms"]);
    assert!(output.status.success(), "{}", said(&output));
    let recorded = windows(&file, None);
    let twice = windows(&file, Some("100ms"));
    assert!(twice.len() >= recorded.len() / 2 && twice.len() < recorded.len());
    for interval in ["75ms", "10ms"] {
        let output = run(&["replay", name, "-i", interval]);
        assert_eq!(output.status.code(), Some(1));
        let said = said(&output);
        for word in ["x.rec", "windows of 50ms", "no single events", "--events"] {
            assert!(said.contains(word), "{said}");
        }
    }
    let output = run(&["replay", name, "-i", "100ms"]);
    assert!(output.status.success(), "{}", said(&output));
    let output = run(&["replay", name, "-i", "0s"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}
