//! `guard`: who slows a service, live or in a recording, and holding that back.
//!
//! In: what to watch, what is usual. Out: lines for people or programs, each as soon as it is known; a spec. Must not know:
//! how it is told who slows whom, how limits are written.

mod hold;
mod learn;
mod limits;
mod live;
mod replay;
pub(super) mod state;
mod victims;
mod watching;

pub(super) use watching::Watching;

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, ensure};
use courtside_agent::measure::Kernel;

use super::{
    args::{Format, GuardArgs, GuardCommand, JudgeArgs},
    output::{Output, Reader},
    place::Inputs,
};
use crate::{
    analysis::guard::{Guard, GuardOptions},
    export::{guard as tables, json},
    model::{
        View,
        interference::Interference,
        spec::{SPEC_SCHEMA, Spec},
    },
};

/// Largest spec that is read.
const MAX_BYTES: u64 = 256 << 20;

pub(super) fn run(args: &GuardArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    match &args.command {
        None => live::run(args, kernel, root),
        Some(GuardCommand::Learn(args)) => learn::run(args, kernel, root),
        Some(GuardCommand::Replay(args)) => replay::run(args),
        Some(GuardCommand::Restore(args)) => hold::restore(args, root),
        Some(GuardCommand::Hold(args)) => hold::run(args, root),
        Some(GuardCommand::Helper(args)) => hold::helper(args),
    }
}

/// Reads what is usual.
fn spec(path: &Path) -> anyhow::Result<Spec> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {name}"))?;
    ensure!(
        bytes.len() as u64 <= MAX_BYTES,
        "cannot read {name}: it is larger than {MAX_BYTES} bytes"
    );
    let no_spec =
        || format!("{name} is not a spec; make one with: courtside guard learn -d 5m -o SPEC.json");
    let spec: Spec = serde_json::from_slice(&bytes).with_context(no_spec)?;
    ensure!(spec.schema == SPEC_SCHEMA, no_spec());
    Ok(spec)
}

/// Begins to judge.
fn begin(judge: &JudgeArgs) -> anyhow::Result<(Guard, Inputs)> {
    let given = judge.spec.as_deref().map(spec).transpose()?;
    let inputs = judge.spec.as_deref().map(Inputs::of_file);
    let options = GuardOptions {
        mode: judge.mode.into(),
        min_samples: judge.min_samples,
    };
    Ok((Guard::new(options, given), inputs.unwrap_or_default()))
}

/// Everything is seen, whatever is selected: everybody may be a suspect.
fn everything(view: &View) -> View {
    View {
        group_by: view.group_by,
        ..View::default()
    }
}

/// Writes lines as they come.
struct Printer {
    output: Output,
    format: Format,
}

impl Printer {
    fn print(&mut self, lines: &[Interference]) -> anyhow::Result<Reader> {
        let mut text = String::new();
        for line in lines {
            text += &match self.format {
                Format::Json => json::line_of(line)?,
                Format::Table => tables::line(line, self.output.style()),
            };
        }
        if text.is_empty() {
            return Ok(Reader::There);
        }
        self.output.write(text)
    }
}
