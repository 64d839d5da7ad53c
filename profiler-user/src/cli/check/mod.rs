//! `check`: what works on this host, what does not, why, and the command that mends it.
//!
//! In: the host below a root; where privileges allow, one attach that is undone at once. Out: a report, and whether
//! everything that is needed works. Must not know: what is measured.

mod host;
pub(super) mod report;

use courtside_agent::measure::Kernel;
use std::path::Path;

use anyhow::Context;

use super::{
    args::{CheckArgs, Format},
    output::Output,
    place::Inputs,
};
use crate::{
    collect::Wishes,
    frame::{ProbeState, ProbeStatus},
    probe::{
        facts::Facts,
        plan::{Planned, plan},
        specs::SPECS,
    },
    sys,
};
use report::{Check, Probe, Report, State};

/// Programs without which there is nothing to show.
const NEEDED: [&str; 4] = [
    "sched_switch",
    "sock_send_length",
    "sock_recv_length",
    "iter_tasks",
];

pub(super) fn run(args: &CheckArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    let mut output = Output::open(&args.output.output, args.output.color, &Inputs::default())?;
    let report = inspect(kernel, root);
    let text = match args.output.format() {
        Format::Table => report.table(output.style().color, args.verbose),
        Format::Json => {
            let mut text =
                serde_json::to_string_pretty(&report).context("cannot write the report")?;
            text.push('\n');
            text
        }
    };
    output.write(&text)?;
    output.place()?;
    Ok(u8::from(!report.ok))
}

fn inspect(kernel: &dyn Kernel, root: &Path) -> Report {
    let machine = sys::host::host(root);
    let facts = Facts::read(root);
    let mut checks = host::checks(root, machine.cpus, &facts);
    let hopeless = checks.iter().any(|check| check.state == State::Missing);
    // Also what is attached only where it is asked for.
    let all = Wishes {
        polls: true,
        ..Wishes::default()
    };
    let attached = (!hopeless).then(|| kernel.attach(&all));
    let probes = match attached {
        Some(Ok(measurement)) => measurement
            .probes()
            .iter()
            .map(|status| tried(status, measurement.verified_instructions(&status.name)))
            .collect(),
        other => {
            if let Some(Err(error)) = other {
                checks.push(Check {
                    name: "attach",
                    state: State::Missing,
                    found: format!("{error:#}"),
                    fix: None,
                });
            }
            let planned = facts.map(|facts| plan(&facts)).unwrap_or_default();
            planned.iter().map(untried).collect()
        }
    };
    Report::new(machine, checks, probes)
}

/// A program that was attached, or failed to be.
fn tried(status: &ProbeStatus, verified_instructions: Option<u32>) -> Probe {
    Probe {
        name: status.name.clone(),
        hook: status.hook.clone(),
        state: match status.state {
            ProbeState::Attached | ProbeState::Disabled => State::Ok,
            ProbeState::Degraded => State::Degraded,
            ProbeState::Failed => without(&status.name),
        },
        reason: status.reason.clone(),
        serves: SPECS
            .iter()
            .find(|spec| spec.program == status.name)
            .map_or("", |spec| spec.serves)
            .to_owned(),
        verified_instructions,
    }
}

/// A program that was only planned.
fn untried(planned: &Planned) -> Probe {
    Probe {
        name: planned.program.to_owned(),
        hook: planned.hook.to_string(),
        state: match planned.verdict {
            Ok(()) => State::Untried,
            Err(_) => without(planned.program),
        },
        reason: planned.verdict.clone().err().unwrap_or_default(),
        serves: planned.serves.to_owned(),
        verified_instructions: None,
    }
}

fn without(program: &str) -> State {
    let stands_in_for = |program: &str| {
        SPECS
            .iter()
            .find(|spec| spec.program == program)
            .and_then(|spec| spec.instead_of)
    };
    let mut first = program;
    // What is stood in for comes before in the table, so this ends.
    while let Some(better) = stands_in_for(first) {
        first = better;
    }
    if NEEDED.contains(&first) {
        State::Missing
    } else {
        State::Degraded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_needed_program_is_in_the_table() {
        for name in NEEDED {
            assert!(SPECS.iter().any(|spec| spec.program == name), "{name}");
        }
    }

    #[test]
    fn a_failed_program_is_missing_only_where_it_is_needed() {
        let status = |name: &str, state| {
            let status = ProbeStatus {
                name: name.to_owned(),
                hook: "tp_btf:x".to_owned(),
                state,
                reason: "refused".to_owned(),
            };
            tried(&status, None).state
        };
        assert_eq!(status("sched_switch", ProbeState::Failed), State::Missing);
        assert_eq!(status("sk_data_ready", ProbeState::Failed), State::Degraded);
        assert_eq!(status("sched_switch", ProbeState::Attached), State::Ok);
        let stands_in_twice = status("kr_send", ProbeState::Failed);
        assert_eq!(stands_in_twice, State::Missing);
    }
}
