//! A recording in windows of another length.
//!
//! In: a recording and a length. Out: a recording of the same time in such windows, in a file without a name that is gone
//! when we are: whoever reads it steps through it as through any other. Must not know: how windows are made.

use std::time::Duration;

use anyhow::{Context, ensure};
use courtside_core::{
    frame::Frame,
    model::recut::{Joined, Recut},
    units,
};

use crate::{
    error::ReadError,
    format::Header,
    read::Recording,
    remarks::{Remarks, later},
    write::Writer,
};

/// Nobody looks at more; it bounds what a clock that was set by years would make.
const MOST_WINDOWS: u64 = 1_000_000;

/// The same time in windows of this length; `None` if those that were recorded are.
pub(crate) fn recut(
    recording: &Recording,
    interval_ns: u64,
    remarks: &dyn Remarks,
) -> anyhow::Result<Option<Recording>> {
    let recorded_ns = recording.header().interval_ns;
    if interval_ns == recorded_ns {
        return Ok(None);
    }
    let time = |ns| humantime::format_duration(Duration::from_nanos(ns));
    let is_multiple = recorded_ns > 0 && interval_ns.is_multiple_of(recorded_ns);
    ensure!(
        is_multiple || recording.has_events(),
        "{} has windows of {} and no single events to make others from: give a multiple of that, \
         or record with: courtside record --events -o FILE",
        recording.name().display(),
        time(recorded_ns),
    );
    let span_ns = span_ns(recording);
    ensure!(
        span_ns / interval_ns.max(1) < MOST_WINDOWS,
        "{} would be more than {} windows of {}; give a longer time",
        recording.name().display(),
        units::count(MOST_WINDOWS),
        time(interval_ns),
    );
    let header = Header {
        interval_ns,
        ..recording.header().clone()
    };
    let file = tempfile::tempfile().context(
        "cannot make a file for the windows; name a folder with enough room with: TMPDIR=FOLDER",
    )?;
    let mut made = Made {
        writer: Writer::new(file.try_clone()?, &header)?,
    };
    if is_multiple {
        together(recording, interval_ns, remarks, &mut made)?;
    } else {
        anew(recording, interval_ns, remarks, &mut made)?;
    }
    made.writer.finish()?;
    Ok(Some(Recording::from_source(
        recording.name(),
        Box::new(file),
    )?))
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
    recording: &'a Recording,
    remarks: &'a dyn Remarks,
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
                remarks.say(&format!("window {number} is left out: {fault}"));
                None
            }
            Err(error) => Some(Err(error.into())),
        })
}

/// Puts recorded windows together: nothing of them is lost.
fn together(
    recording: &Recording,
    interval_ns: u64,
    remarks: &dyn Remarks,
    made: &mut Made,
) -> anyhow::Result<()> {
    let mut together = Joined::new(interval_ns);
    for frame in frames(recording, remarks) {
        made.add(together.add(frame?))?;
    }
    made.add(together.finish())
}

/// Makes windows from single events.
fn anew(
    recording: &Recording,
    interval_ns: u64,
    remarks: &dyn Remarks,
    made: &mut Made,
) -> anyhow::Result<()> {
    let mut frames = frames(recording, remarks);
    let mut lost = 0;
    let mut recut = Recut::new(interval_ns);
    let mut go_on = |recut: &mut Recut| {
        recut.go_on(
            || {
                let frame = frames.next().transpose()?;
                let events = frame.as_ref().and_then(|frame| frame.lost.get("events"));
                lost = u64::saturating_add(lost, events.copied().unwrap_or(0));
                Ok(frame)
            },
            |frame| made.add(Some(frame)),
        )
    };
    let mut events = recording.events();
    let mut taken = 0u64;
    go_on(&mut recut)?;
    while let Some(event) = events.next() {
        match event {
            Ok(event) => {
                recut.event(event, events.unix_offset_ns());
                go_on(&mut recut)?;
            }
            Err(ReadError::Fault(fault)) => remarks.say(&format!("{fault}; the rest is read")),
            Err(error) => return Err(error.into()),
        }
        taken += 1;
        if taken.is_multiple_of(1 << 20) {
            remarks.progress(Some(taken));
        }
    }
    remarks.progress(None);
    if events.unknown() > 0 {
        remarks.say(&later(events.unknown(), "events"));
    }
    recut.no_more_events();
    go_on(&mut recut)?;
    if lost > 0 {
        let events = units::count(lost);
        remarks.say(&format!(
            "{events} events were lost when it was recorded; they are missing in these windows"
        ));
    }
    Ok(())
}
