//! Concurrent: services in which a request is not one thread's, on this kernel, against their own clocks.
//!
//! In: a built `courtside`. Out: how many were held to the truth. Must not know: what is true of which of them (that is
//! `concurrent`).

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::ensure;
use serde_json::{Value, json};

use super::chain::counts_instructions;
use super::games::{self, Played};
use crate::concurrent::{KINDS, Kind, Run, Slack};
use crate::harness::Host;

/// Every kind is counted and timed as it is on any host.
///
/// # Errors
/// Names what was not.
pub fn every_kind(host: &Host) -> anyhow::Result<Value> {
    let kinds: Vec<(&Kind, &str)> = KINDS
        .iter()
        .flat_map(|kind| kind.lines.iter().map(move |line| (kind, *line)))
        .collect();
    let lines: Vec<String> = kinds.iter().map(|(_, line)| (*line).to_owned()).collect();
    let Played { snapshot, games } = games::play(host, &[], &lines)?;
    let slack = slack()?;
    let failed: Vec<String> = kinds
        .iter()
        .zip(&games)
        .filter_map(|((kind, line), (name, answer))| {
            let run = Run {
                snapshot: &snapshot,
                answer,
                name,
                slack,
            };
            let panic = catch_unwind(AssertUnwindSafe(|| run.hold(kind))).err()?;
            let why = panic
                .downcast_ref::<String>()
                .map_or("it panicked", String::as_str);
            Some(format!("{} ({line}): {why}", kind.name))
        })
        .collect();
    let lost = snapshot.lost_counts();
    ensure!(
        failed.is_empty(),
        "{} of {}: {}; lost {lost:?}",
        failed.len(),
        games.len(),
        failed.join(" | ")
    );
    ensure!(lost.is_empty(), "lost {lost:?}");
    Ok(json!({ "kinds": KINDS.len(), "services": games.len() }))
}

/// A call takes a machine longer than a CPU of silicon, and most where its clock is the host's.
fn slack() -> anyhow::Result<Slack> {
    let (times, of_whole) = if counts_instructions()? {
        (5, 10)
    } else {
        (50, 50)
    };
    Ok(Slack { times, of_whole })
}
