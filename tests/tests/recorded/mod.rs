//! A recording of a workload with its single events, read back.
//!
//! In: a command line of the workload. Out: events, all windows as one, what the workload said. Must not know: what
//! ought to be in it.

use std::process::Command;

use courtside::{
    event::Event,
    frame::{Frame, merge},
    record::Recording,
};
use courtside_tests::harness::{self, Host};
use serde_json::Value;

/// What a recording of a workload holds, all windows as one, and what the workload said.
pub struct Recorded {
    pub events: Vec<Event>,
    pub frame: Frame,
    pub answer: Value,
}

/// Records a command that ends with what a workload said, with its single events.
pub fn record(host: &Host, limits: &str, measured: &[&str]) -> Recorded {
    let path = host.dir().join("events.rec");
    let mut command = Command::new(harness::courtside().unwrap());
    command
        .env("COURTSIDE_MAP_LIMITS", limits)
        .args(["record", "--events", "--force", "-o"])
        .arg(&path)
        .arg("--")
        .args(measured);
    let output = harness::finish(command).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording.verify().unwrap(), []);
    let answer = String::from_utf8(output.stdout).unwrap();
    Recorded {
        events: recording.events().map(Result::unwrap).collect(),
        frame: merge(recording.frames().map(Result::unwrap)),
        answer: serde_json::from_str(answer.lines().last().unwrap()).unwrap(),
    }
}
