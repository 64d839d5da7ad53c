//! `infer`: what a parallel application does, from a recording with single events or from what is measured now.
//!
//! In: recordings, or how to measure. Out: tables or JSON, and the command's exit status. Must not know: how anything is
//! told, how that is shown.

mod live;

use std::path::Path;

use courtside_agent::measure::Kernel;

use super::{
    args::{CalibrateArgs, Format, InferArgs, InferCommand, InferCompareArgs, SelectArgs},
    output::Output,
    place::Inputs,
    recorded,
    unused::Unused,
};
use crate::{
    analysis::infer::{self, CannotTell, Inferring, Wish},
    export::{infer as tables, json},
    model::{View, inference::Inference},
    pass::Analysis as _,
    record::{Recorded, Recording},
};

pub(super) fn run(args: &InferArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    match (&args.command, &args.file) {
        (Some(InferCommand::Compare(args)), _) => compare(args),
        (Some(InferCommand::Calibrate(args)), _) => calibrate(args),
        (None, Some(file)) => of_recording(args, file),
        (None, None) => live::run(args, kernel, root),
    }
}

fn of_recording(args: &InferArgs, file: &Path) -> anyhow::Result<u8> {
    args.select.view().selection.check()?;
    let inputs = Inputs::of_recording(file);
    let (recorded, view) = opened(file, &args.select)?;
    let mut output = Output::open(&args.output.output, args.output.color, &inputs)?;
    let found = inferred(file, &recorded, &view, &args.what_if)?;
    tell(args, &found, &mut output)?;
    Ok(0)
}

/// Opens a recording; what is selected, or else what it was recorded for.
fn opened(file: &Path, select: &SelectArgs) -> anyhow::Result<(Recorded, View)> {
    let recording = Recording::open(file)?;
    let view = select.or_recorded(&recording.header().view).view();
    let recorded = recorded::seen(file, recording, None, view.clone(), None)?;
    Ok((recorded, view))
}

fn inferred(
    file: &Path,
    recorded: &Recorded,
    view: &View,
    wishes: &[Wish],
) -> anyhow::Result<Inference> {
    let name = file.display().to_string();
    if !recorded.has_events() {
        return Err(CannotTell::NoEvents { file: name }.into());
    }
    let mut inferring = Inferring::new(&name).of(&view.selection).what_if(wishes);
    let mut unused = Unused::new(&view.entries);
    recorded.pass(&mut [&mut inferring, &mut unused])?;
    unused.report()?;
    Ok(inferring.finish()?)
}

fn tell(args: &InferArgs, found: &Inference, output: &mut Output) -> anyhow::Result<()> {
    let text = match args.output.format() {
        Format::Json => json::to_string(found)?,
        Format::Table => tables::render(found, output.style()),
    };
    output.write(text)?;
    output.place()
}

fn compare(args: &InferCompareArgs) -> anyhow::Result<u8> {
    args.select.view().selection.check()?;
    let inputs = Inputs::of_recording(&args.a).and(Inputs::of_recording(&args.b));
    let mut output = Output::open(&args.output.output, args.output.color, &inputs)?;
    let of = |file: &Path| -> anyhow::Result<Inference> {
        let (recorded, view) = opened(file, &args.select)?;
        inferred(file, &recorded, &view, &[])
    };
    let found = infer::compare(&of(&args.a)?, &of(&args.b)?);
    output.write(match args.output.format() {
        Format::Json => json::to_string(&found)?,
        Format::Table => tables::compared(&found, output.style()),
    })?;
    output.place()?;
    Ok(0)
}

fn calibrate(args: &CalibrateArgs) -> anyhow::Result<u8> {
    args.select.view().selection.check()?;
    let files = args.pair.iter().chain(&args.file);
    let inputs = files
        .map(|file| Inputs::of_recording(file))
        .fold(Inputs::default(), Inputs::and);
    let mut output = Output::open(&args.output.output, args.output.color, &inputs)?;
    let of = |file: &Path| -> anyhow::Result<Inference> {
        let (recorded, view) = opened(file, &args.select)?;
        inferred(file, &recorded, &view, &[])
    };
    let mut pairs = Vec::new();
    for pair in args.pair.chunks(2) {
        if let [free, loaded] = pair {
            pairs.push((of(free)?, of(loaded)?));
        }
    }
    let application = args.file.as_deref().map(of).transpose()?;
    let found = infer::calibrate(&pairs, application.as_ref())?;
    output.write(match args.output.format() {
        Format::Json => json::to_string(&found)?,
        Format::Table => tables::calibrated(&found, output.style()),
    })?;
    output.place()?;
    Ok(0)
}
