//! `guard`: who slows a service, live or in a recording, and holding that back.
//!
//! In: what to watch, what is usual. Out: lines for people or programs, each as soon as it is known; a spec. Must not know:
//! how it is told who slows whom, how limits are written.

mod hold;
mod learn;
mod limits;
mod live;
mod state;
mod victims;

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, ensure};
use courtside_agent::measure::Kernel;

use super::{
    args::{Format, GuardArgs, GuardCommand, GuardReplayArgs, JudgeArgs},
    output::{Output, Reader},
    place::Inputs,
    recorded,
};
use crate::{
    analysis::guard::{Guard, GuardOptions, inputs},
    export::{guard as tables, json},
    model::{
        View,
        interference::Interference,
        spec::{SPEC_SCHEMA, Spec},
    },
    pass::{Consumer, PassWindow},
    record::Recording,
};
use victims::Victims;

/// Largest spec that is read.
const MAX_BYTES: u64 = 256 << 20;

pub(super) fn run(args: &GuardArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    match &args.command {
        None => live::run(args, kernel, root),
        Some(GuardCommand::Learn(args)) => learn::run(args, kernel, root),
        Some(GuardCommand::Replay(args)) => replay(args),
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

/// Judges window after window of a recording.
struct Judge<'a> {
    guard: Guard,
    victims: Victims,
    printer: &'a mut Printer,
    told: Vec<Interference>,
    reader: Reader,
}

/// Lines that are kept for the summary, at most.
const MAX_TOLD: usize = 100_000;

impl Consumer for Judge<'_> {
    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        if self.reader == Reader::Gone {
            return Ok(());
        }
        let victims = self.victims.of(window.frame, window.snapshot);
        let watched = |id: &str| victims.as_ref().is_none_or(|ids| ids.contains(id));
        let lines = self.guard.window(inputs(window.snapshot), &watched);
        self.reader = self.printer.print(&lines)?;
        if self.told.len() < MAX_TOLD {
            self.told.extend(lines);
        }
        Ok(())
    }
}

fn replay(args: &GuardReplayArgs) -> anyhow::Result<u8> {
    args.select.view().selection.check()?;
    let (guard, inputs) = begin(&args.judge)?;
    let inputs = inputs.and(Inputs::of_recording(&args.file));
    let recording = Recording::open(&args.file)?;
    let view = args.select.or_recorded(&recording.header().view).view();
    let seen = recorded::seen(&args.file, recording, None, everything(&view), None)?;
    let mut printer = Printer {
        output: Output::open(&args.output.output, args.output.color, &inputs)?,
        format: args.output.format(),
    };
    let mut judge = Judge {
        guard,
        victims: Victims::new(&view),
        printer: &mut printer,
        told: Vec::new(),
        reader: Reader::There,
    };
    seen.pass(&mut [&mut judge])?;
    let Judge { guard, told, .. } = judge;
    if printer.format == Format::Table {
        let style = printer.output.style();
        printer
            .output
            .write(tables::summary(&told, guard.windows(), style))?;
    }
    printer.output.place()?;
    Ok(0)
}
