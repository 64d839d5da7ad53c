//! `tail`: why the slowest requests at an entry are slow.
//!
//! In: recordings with single events. Out: a table or JSON. Must not know: how a request is followed, how that is shown.

use super::{
    args::Format, args::TailArgs, output::Output, place::Inputs, recorded, unused::Unused,
};
use crate::{
    analysis::tail::{CannotTell, Entries, Slowest},
    export::{json, tail},
    pass::Analysis as _,
    record::{Recorded, Recording},
};

pub(super) fn run(args: &TailArgs) -> anyhow::Result<u8> {
    args.select.view().selection.check()?;
    let mut inputs = Inputs::default();
    let mut recordings: Vec<(String, Recorded)> = Vec::new();
    let mut view = None;
    for path in &args.files {
        inputs = inputs.and(Inputs::of_recording(path));
        let recording = Recording::open(path)?;
        // All are seen alike.
        let view = view.get_or_insert_with(|| {
            let recorded = &recording.header().view;
            args.select.or_recorded(recorded).view()
        });
        let recorded = recorded::seen(path, recording, None, view.clone(), None)?;
        let file = path.display().to_string();
        if !recorded.has_events() {
            return Err(CannotTell::NoEvents { file }.into());
        }
        recordings.push((file, recorded));
    }
    let mut output = Output::open(&args.output.output, args.output.color, &inputs)?;
    let mut unused = Unused::new(&args.select.entry);
    let mut slowest = Slowest::new(args.exemplars);
    if recordings.len() > 1 {
        // Which entry is the busiest of all has to be known before the first event.
        let mut entries = Entries::default();
        for (_, recorded) in &recordings {
            recorded.pass(&mut [&mut entries])?;
        }
        if let Some((component, port)) = entries.busiest() {
            slowest = slowest.at(&component, port);
        }
    }
    for (file, recorded) in &recordings {
        slowest.begin(file);
        recorded.pass(&mut [&mut slowest, &mut unused])?;
    }
    unused.report()?;
    let found = slowest.finish()?;
    output.write(match args.output.format() {
        Format::Json => json::to_string(&found)?,
        Format::Table => tail::render(&found, output.style()),
    })?;
    output.place()?;
    Ok(0)
}
