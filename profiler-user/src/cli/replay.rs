//! `replay`: a recording on the dashboard, or as one table where there is no terminal.
//!
//! In: a recording. Out: as `top`, or as `stat`. Must not know: how a recording is read, what a window means.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use super::{
    args::ReplayArgs, output::Output, place::Inputs, player::Player, recorded, top, unused::Unused,
    whole::Asking,
};
use crate::{
    export::table,
    pass::Analysis as _,
    record::Recorded,
    sys::local_time::utc_offset_s,
    tui::{Replay, UiState},
};

pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<u8> {
    let recorded = recorded::open(&args.file, None, &args.select, args.interval)?;
    if !io::stdout().is_terminal() {
        return whole(args, &recorded);
    }
    let options = top::Options::new(&args.screen, &args.select.entry, None);
    let recording = recorded.recording();
    let first = recording.windows().next();
    let start_s = first.map_or(0, |window| window.start_unix_ns / 1_000_000_000);
    let replay = Replay::new(recording.windows().len(), utc_offset_s(start_s));
    let interval = Duration::from_nanos(recording.header().interval_ns);
    let mut state = UiState::new(options.theme(), interval).replaying(replay);
    if let Some(fault) = recording.faults().first() {
        state.say_error(fault.to_string());
    }
    let (file, select) = (args.file.clone(), args.select.clone());
    let open = move || recorded::again(&file, &select);
    let asking = Asking::new(args.file.display().to_string(), Box::new(open));
    top::replay(Player::new(recorded), asking, state, &options)?;
    Ok(0)
}

/// Prints all windows as one.
fn whole(args: &ReplayArgs, recorded: &Recorded) -> anyhow::Result<u8> {
    let inputs = Inputs::of_recording(&args.file);
    let mut output = Output::open("-".as_ref(), args.screen.color, &inputs)?;
    let mut all = recorded.whole();
    recorded.pass(&mut [&mut all])?;
    let snapshot = all.finish();
    output.write(table::render(&snapshot, output.style()))?;
    let mut unused = Unused::new(&args.select.entry);
    unused.look(&snapshot);
    unused.report()?;
    Ok(0)
}
