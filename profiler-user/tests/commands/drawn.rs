//! Traces of a parallel application, read back by others' rules: Paraver's files by a reader in Python that knows nothing but the
//! format, against what `courtside infer` tells of the same recording.
//!
//! In: ranks whose run is known. Out: sums of states, messages, waits, the critical path.

use std::{collections::BTreeMap, path::Path, process::Command};

use courtside_core::fixture::ring::Ring;
use serde_json::Value;

use crate::{
    infer::{hogged, recorded},
    shared::{Folder, courtside, json, text},
};

/// What the reader found.
fn read(base: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands/read_paraver.py");
    let read = Command::new("python3").arg(script).arg(base).output();
    let output = read.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn ns(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[test]
fn paravers_files_add_up_to_what_infer_tells() {
    let folder = Folder::new();
    for (name, ring) in [("free", Ring::default()), ("hog", hogged())] {
        let file = recorded(&folder, &format!("{name}.rec"), ring);
        let base = folder.path(name);
        let output = courtside(&["export", &file, "-F", "paraver", "-o", &base]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
        let trace = read(&base);
        let found = json(&courtside(&["infer", &file, "--json"]));
        let processes = found["processes"].as_array().unwrap();
        let ids: Vec<&Value> = processes.iter().map(|process| &process["id"]).collect();
        assert_eq!(
            trace["tasks"]
                .as_array()
                .unwrap()
                .iter()
                .collect::<Vec<_>>(),
            ids
        );
        for (place, process) in processes.iter().enumerate() {
            let (time, drawn) = (&process["time"], &trace["time"][place]);
            for (field, words) in [
                ("on_cpu_ns", "on a CPU"),
                ("run_queue_ns", "runnable without a CPU"),
                ("block_io_ns", "waits for a disk"),
                ("lock_ns", "waits for its own process (a lock)"),
                ("send_wait_ns", "waits for room to send"),
                ("other_ns", "sleeps, or not told"),
            ] {
                assert_eq!(
                    ns(&drawn[words]),
                    ns(&time[field]),
                    "{name} {place} {field}"
                );
            }
            let waits = time["receive_wait"].as_array().unwrap();
            for (field, words) in [
                ("not_sent_ns", "waits for a message not sent yet"),
                ("in_flight_ns", "waits for a message on its way"),
                ("transfer_ns", "waits for the rest of a message"),
            ] {
                let all: u64 = waits.iter().map(|wait| ns(&wait[field])).sum();
                assert_eq!(ns(&drawn[words]), all, "{name} {place} {field}");
            }
            for wait in waits {
                let from = wait["from"].as_str().unwrap();
                let all =
                    ["not_sent_ns", "in_flight_ns", "transfer_ns"].map(|part| ns(&wait[part]));
                let drawn = ns(&trace["waits"][place][from]);
                assert_eq!(drawn, all.iter().sum::<u64>(), "{name} {place} {from}");
            }
        }
        let place = |id: &Value| ids.iter().position(|other| *other == id).unwrap() as u64;
        let links = found["network"].as_array().unwrap().iter();
        let sent: BTreeMap<(u64, u64), (u64, u64)> = links
            .map(|link| {
                let count = (ns(&link["messages"]), ns(&link["bytes"]));
                ((place(&link["from"]), place(&link["to"])), count)
            })
            .collect();
        let drawn = trace["sent"].as_array().unwrap().iter();
        let drawn: BTreeMap<(u64, u64), (u64, u64)> = drawn
            .map(|row| {
                let [from, to, messages, bytes] = [0, 1, 2, 3].map(|column| ns(&row[column]));
                ((from, to), (messages, bytes))
            })
            .collect();
        assert_eq!(drawn, sent, "{name}");
        // The path is simulated, and drawn by the recording's clock: they are the same to the self-check.
        let path = trace["path_ns"].as_array().unwrap();
        let all: u64 = path.iter().map(ns).sum();
        let measured_ns = ns(&found["self_check"]["measured_ns"]);
        assert!(
            all <= measured_ns && all >= measured_ns / 100 * 95,
            "{all} {measured_ns}"
        );
        for (own, process) in path.iter().zip(processes) {
            let share = process["critical_share"].as_f64().unwrap();
            let drawn = ns(own) as f64 / measured_ns as f64;
            assert!((share - drawn).abs() < 0.02, "{name}: {share} {drawn}");
        }
    }
}

#[test]
fn what_cannot_be_drawn_is_said_and_leaves_nothing() {
    let folder = Folder::new();
    let file = recorded(&folder, "x.rec", Ring::default());
    let base = folder.path("y");
    for (arguments, status, words) in [
        (
            &["export", &file, "-F", "paraver", "-o", "-"][..],
            2,
            "no text for stdout",
        ),
        (
            &[
                "export", &file, "-F", "paraver", "-o", &base, "-n", "nobody",
            ],
            1,
            "no messages between",
        ),
    ] {
        let output = courtside(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(words), "{said}");
    }
    assert!(!Path::new(&format!("{base}.prv")).exists());
    // The name of the trace does as well.
    let named = folder.path("z.prv");
    let output = courtside(&["export", &file, "-F", "paraver", "-o", &named]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(
        read(&folder.path("z"))["tasks"].as_array().unwrap().len(),
        4
    );
}

/// Perfetto's trace has the application beside everything else, and the same with each export.
#[test]
fn perfettos_trace_has_the_application() {
    let folder = Folder::new();
    let file = recorded(&folder, "x.rec", hogged());
    let trace = |name: &str| {
        let trace = folder.path(name);
        let output = courtside(&["export", &file, "-F", "perfetto", "-o", &trace]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        std::fs::read(trace).unwrap()
    };
    let bytes = trace("a");
    let said = String::from_utf8_lossy(&bytes);
    for words in [
        "parallel application",
        "critical path",
        "which has not sent yet",
    ] {
        assert!(said.contains(words), "{words}");
    }
    assert_eq!(bytes, trace("b"));
}
