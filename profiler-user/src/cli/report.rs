//! `report`: a recording as one page with pictures.
//!
//! In: a recording. Out: an HTML file. Must not know: how the page is made.

use anyhow::Context;
use clap::ColorChoice;

use super::{args::ReportArgs, output::Output, place::Inputs, recorded, unused::Unused};
use crate::{
    analysis::{guard::Over, infer::Inferring, tail::Slowest},
    export::report::{Judged, MAX_POINTS, Report},
    model::Selection,
    pass::{Analysis as _, Consumer},
};

/// Most of the slowest requests that are shown one by one.
const EXEMPLARS: usize = 10;

pub(super) fn run(args: &ReportArgs) -> anyhow::Result<u8> {
    let recorded = recorded::open(&args.file, args.window.as_ref(), &args.select, None)?;
    let inputs = Inputs::of_recording(&args.file);
    let mut output = Output::open(&args.output, ColorChoice::Never, &inputs)?;
    let mut unused = Unused::new(&args.select.entry);
    let mut report = Report::default();
    let mut whole = recorded.whole();
    let mut pieces = recorded.pieces(MAX_POINTS, |piece| report.add(piece));
    let mut slowest = recorded.has_events().then(|| Slowest::new(EXEMPLARS));
    let file = args.file.display().to_string();
    let mut inferring = recorded
        .has_events()
        .then(|| Inferring::new(&file).of(&recorded.view().selection));
    // Who is hidden by a selection may be the one who slows others.
    let everybody = recorded.view().selection == Selection::default();
    let mut guard = everybody.then(Over::default);
    let mut consumers: Vec<&mut dyn Consumer> = vec![&mut whole, &mut pieces];
    if let Some(slowest) = &mut slowest {
        slowest.begin(&file);
        consumers.push(slowest);
    }
    if let Some(inferring) = &mut inferring {
        consumers.push(inferring);
    }
    if let Some(guard) = &mut guard {
        consumers.push(guard);
    }
    recorded.pass(&mut consumers)?;
    pieces.finish();
    if let Some(slowest) = slowest {
        report.set_tail(slowest.finish().map_err(|why| why.to_string()));
    }
    // Most hosts run no such application: then there is nothing to be said of it.
    if let Some(Ok(found)) = inferring.map(Inferring::finish) {
        report.set_application(found);
    }
    if let Some(said) = guard.map(Over::finish) {
        report.set_guard(Judged {
            lines: said.lines,
            left_out: said.left_out,
            windows: said.windows,
            needed: said.needed,
        });
    }
    let whole = whole.finish();
    unused.look(&whole);
    unused.report()?;
    let name = args.file.file_stem().unwrap_or(args.file.as_os_str());
    let title = args
        .title
        .clone()
        .unwrap_or_else(|| name.to_string_lossy().into_owned());
    let page = report
        .finish(&title, &whole)
        .context("cannot make the page")?;
    output.write(&page)?;
    output.place()?;
    Ok(0)
}
