//! A recording in windows of another length.
//!
//! In: a recording and a length. Out: a recording of the same time in such windows, in a file without a name that is gone
//! when we are: whoever reads it steps through it as through any other. Must not know: how windows are made.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
};

use anyhow::{Context, ensure};

use super::recorded::say;
use crate::{
    frame::Frame,
    model::recut::{Recut, Together},
    record::{Header, ReadError, Recording, Writer},
    units,
};

/// Nobody looks at more; it bounds what a clock that was set by years would make.
const MOST_WINDOWS: u64 = 1_000_000;

/// The same time in windows of this length; `None` if those that were recorded are.
pub(super) fn recut(
    path: &Path,
    recording: &Recording,
    interval_ns: u64,
) -> anyhow::Result<Option<Recording>> {
    let recorded_ns = recording.header().interval_ns;
    if interval_ns == recorded_ns {
        return Ok(None);
    }
    let time = |ns| humantime::format_duration(std::time::Duration::from_nanos(ns));
    let is_multiple = recorded_ns > 0 && interval_ns.is_multiple_of(recorded_ns);
    ensure!(
        is_multiple || recording.has_events(),
        "{} has windows of {} and no single events to make others from: give a multiple of that, \
         or record with: courtside record --events -o FILE",
        path.display(),
        time(recorded_ns),
    );
    let span_ns = span_ns(recording);
    ensure!(
        span_ns / interval_ns.max(1) < MOST_WINDOWS,
        "{} would be more than {} windows of {}; give a longer time",
        path.display(),
        units::count(MOST_WINDOWS),
        time(interval_ns),
    );
    let header = Header {
        interval_ns,
        ..recording.header().clone()
    };
    let file = tempfile::tempfile().context(
        "cannot make a file for the windows; name a folder with room with: TMPDIR=FOLDER",
    )?;
    let mut made = Made {
        writer: Writer::new(file.try_clone()?, &header)?,
    };
    if is_multiple {
        together(path, recording, interval_ns, &mut made)?;
    } else {
        anew(path, recording, interval_ns, &mut made)?;
    }
    made.writer.finish()?;
    Ok(Some(Recording::from_source(path, Box::new(file))?))
}

struct Made {
    writer: Writer,
}

impl Made {
    fn add(&mut self, frame: Option<Frame>) -> anyhow::Result<()> {
        if let Some(frame) = frame {
            self.writer.frame(&frame)?;
        }
        Ok(())
    }
}

/// From the first window's start to the last one's end.
fn span_ns(recording: &Recording) -> u64 {
    let from = recording.windows().map(|window| window.start_unix_ns).min();
    let to = recording.windows().map(|window| window.end_unix_ns()).max();
    to.unwrap_or(0).saturating_sub(from.unwrap_or(0))
}

/// The recorded windows, in order, at the time their records say. A damaged one is left out, and told.
fn frames<'a>(
    path: &'a Path,
    recording: &'a Recording,
) -> impl Iterator<Item = anyhow::Result<Frame>> + 'a {
    recording
        .windows()
        .enumerate()
        .filter_map(move |(number, window)| match recording.frame(number) {
            Ok(frame) => Some(Ok(Frame {
                start_unix_ns: window.start_unix_ns,
                duration_ns: window.duration_ns,
                ..frame
            })),
            Err(ReadError::Fault(fault)) => {
                say(path, &format!("window {number} is left out: {fault}"));
                None
            }
            Err(error) => Some(Err(error.into())),
        })
}

/// Puts recorded windows together: nothing of them is lost.
fn together(
    path: &Path,
    recording: &Recording,
    interval_ns: u64,
    made: &mut Made,
) -> anyhow::Result<()> {
    let mut together = Together::new(interval_ns);
    for frame in frames(path, recording) {
        made.add(together.add(frame?))?;
    }
    made.add(together.finish())
}

/// Makes windows from single events.
fn anew(
    path: &Path,
    recording: &Recording,
    interval_ns: u64,
    made: &mut Made,
) -> anyhow::Result<()> {
    let mut frames = frames(path, recording);
    let mut lost = 0;
    let mut recut = Recut::new(interval_ns);
    let mut go_on = |recut: &mut Recut| {
        recut.go_on(
            || {
                let frame = frames.next().transpose()?;
                let events = frame.as_ref().and_then(|frame| frame.lost.get("events"));
                lost += events.copied().unwrap_or(0);
                Ok(frame)
            },
            |frame| made.add(Some(frame)),
        )
    };
    let progress = io::stderr().is_terminal();
    let mut events = recording.events();
    let mut taken = 0u64;
    go_on(&mut recut)?;
    while let Some(event) = events.next() {
        match event {
            Ok(event) => {
                recut.event(event, events.unix_offset_ns());
                go_on(&mut recut)?;
            }
            Err(ReadError::Fault(fault)) => say(path, &format!("{fault}; the rest is read")),
            Err(error) => return Err(error.into()),
        }
        taken += 1;
        if progress && taken.is_multiple_of(1 << 20) {
            // Remarks that nobody can read are no reason to stop.
            let _ = write!(
                io::stderr(),
                "\rcutting windows: {} events",
                units::count(taken)
            );
        }
    }
    if progress && taken >= 1 << 20 {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    recut.no_more_events();
    go_on(&mut recut)?;
    if lost > 0 {
        let events = units::count(lost);
        say(
            path,
            &format!("{events} events were lost when it was recorded; these windows lack them"),
        );
    }
    Ok(())
}
