//! `report`: a recording as one page with pictures.
//!
//! In: a recording. Out: an HTML file. Must not know: how the page is made.

use anyhow::Context;
use clap::ColorChoice;

use super::{args::ReportArgs, output::Output, place::Inputs, recorded, unused::Unused};
use crate::{
    analysis::tail::Slowest,
    export::report::{MAX_POINTS, Report},
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
    let mut consumers: Vec<&mut dyn Consumer> = vec![&mut whole, &mut pieces];
    if let Some(slowest) = &mut slowest {
        slowest.begin(&args.file.display().to_string());
        consumers.push(slowest);
    }
    recorded.pass(&mut consumers)?;
    pieces.finish();
    if let Some(slowest) = slowest {
        report.set_tail(slowest.finish().map_err(|why| why.to_string()));
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
