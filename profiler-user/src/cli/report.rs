//! `report`: a recording as one page with pictures.
//!
//! In: a recording. Out: an HTML file. Must not know: how the page is made.

use anyhow::Context;
use clap::ColorChoice;

use super::{args::ReportArgs, output::Output, recorded::Recorded, stat::Unused};
use crate::export::report::{MAX_POINTS, Report};

pub(super) fn run(args: &ReportArgs) -> anyhow::Result<u8> {
    let recorded = Recorded::open(&args.file, args.window.as_ref(), &args.select, None)?;
    let mut output = Output::open(&args.output, ColorChoice::Never)?;
    let mut unused = Unused::new(&args.select.entry);
    let mut report = Report::default();
    let whole = recorded.whole_and_pieces(MAX_POINTS, |piece| report.add(piece))?;
    unused.look(&whole);
    let name = args.file.file_stem().unwrap_or(args.file.as_os_str());
    let title = args
        .title
        .clone()
        .unwrap_or_else(|| name.to_string_lossy().into_owned());
    let page = report
        .finish(&title, &whole)
        .context("cannot make the page")?;
    output.write(&page)?;
    unused.report();
    Ok(0)
}
