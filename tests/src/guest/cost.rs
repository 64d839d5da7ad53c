//! Cost: what a roundtrip takes with and without Courtside, on a machine whose clock counts instructions.
//!
//! In: a built `courtside`. Out: instructions for a roundtrip, and for a run of each program. Must not know: what they may
//! be. Nothing is asserted but that the workload came to its end: a time is no test.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Host, finish, list, number, workload};

/// Begins the word of the kernel's command line that asks for this instead of tests.
pub const ASKED: &str = "courtside.cost";
const ROUNDTRIPS: u64 = 2000;
const ROUNDS: usize = 3;

/// A way to be measured: its name, the environment, and what `stat` is asked for; nothing is attached without that.
type Way = (
    &'static str,
    &'static [(&'static str, &'static str)],
    Option<&'static [&'static str]>,
);

const WAYS: [Way; 5] = [
    ("nothing attached", &[], None),
    ("Courtside", &[], Some(&["--no-pmu"])),
    (
        "Courtside, by kprobes",
        &[("COURTSIDE_NO_FENTRY", "1")],
        Some(&["--no-pmu"]),
    ),
    ("Courtside, with counters", &[], Some(&[])),
    (
        "Courtside, with counters of turnarounds",
        &[],
        Some(&["--pmu-turnaround"]),
    ),
];

/// Times a roundtrip in each way, in turns, and each program by the kernel's own account.
///
/// # Errors
/// When a workload or a measurement fails.
pub fn of_a_roundtrip(host: &Host) -> anyhow::Result<Value> {
    let mut times = vec![Vec::new(); WAYS.len()];
    for _ in 0..ROUNDS {
        for (way, times) in WAYS.iter().zip(&mut times) {
            times.push(roundtrip_ns(host, way)?);
        }
    }
    let ways: Vec<Value> = WAYS
        .iter()
        .zip(&times)
        .map(|((name, _, _), times)| json!({ "way": name, "ns": times }))
        .collect();
    let mut accounts = Vec::new();
    for (name, environment, options) in WAYS {
        let Some(options) = options else { continue };
        let mut command = ping_pong()?;
        command.envs(environment.iter().copied());
        let measured = host.stat(&[options, &["--program-cost"]].concat(), &mut command)?;
        let snapshot = &measured.snapshot.0;
        accounts.push(json!({
            "way": name,
            "pmu": snapshot["quality"]["pmu"]["state"],
            "programs": list(&snapshot["cost"], "programs").collect::<Vec<_>>(),
        }));
    }
    Ok(json!({ "roundtrips": ROUNDTRIPS, "ways": ways, "accounts": accounts }))
}

fn ping_pong() -> anyhow::Result<Command> {
    let mut command = Command::new(workload()?);
    let messages = ROUNDTRIPS.to_string();
    command.args(["ping-pong", "--transport", "tcp4", "--messages", &messages]);
    Ok(command)
}

fn roundtrip_ns(host: &Host, (_, environment, options): &Way) -> anyhow::Result<u64> {
    let mut command = ping_pong()?;
    command.envs(environment.iter().copied());
    let answer = match options {
        Some(options) => host.stat(options, &mut command)?.answer,
        None => serde_json::from_slice(&finish(command)?.stdout)?,
    };
    Ok(number(&answer, "client/wall_ns")? / ROUNDTRIPS)
}
