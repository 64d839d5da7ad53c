//! Opening a recording, as the command line asks for it.
//!
//! In: a file, a choice of windows and components. Out: its windows; remarks on stderr. Must not know: what is done with
//! them.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    args::{SelectArgs, nanoseconds},
    range::Range,
};
use crate::{
    model::View,
    record::{Recorded, Recording, Remarks},
    units,
};

/// Remarks about a file, on stderr.
struct OnStderr {
    path: PathBuf,
}

impl Remarks for OnStderr {
    fn say(&self, what: &str) {
        // Remarks that nobody can read are no reason to stop.
        let _ = writeln!(io::stderr(), "courtside: {}: {what}", self.path.display());
    }

    fn progress(&self, events: Option<u64>) {
        let mut stderr = io::stderr();
        if stderr.is_terminal() {
            let _ = match events {
                Some(events) => {
                    write!(stderr, "\rcutting windows: {} events", units::count(events))
                }
                None => write!(stderr, "\r\x1b[K"),
            };
        }
    }
}

/// Opens a recording, in windows of another length if one is given. Where nothing is selected it is seen as whoever recorded
/// it wanted to.
pub(super) fn open(
    path: &Path,
    range: Option<&Range>,
    select: &SelectArgs,
    interval: Option<Duration>,
) -> anyhow::Result<Recorded> {
    select.view().selection.check()?;
    let recording = Recording::open(path)?;
    let view = select.or_recorded(&recording.header().view).view();
    seen(path, recording, range, view, interval)
}

/// An open recording, in this view.
pub(super) fn seen(
    path: &Path,
    recording: Recording,
    range: Option<&Range>,
    view: View,
    interval: Option<Duration>,
) -> anyhow::Result<Recorded> {
    let remarks = OnStderr {
        path: path.to_owned(),
    };
    Recorded::new(
        recording,
        range.map(|range| range.0.clone()),
        interval.map(nanoseconds),
        view,
        Box::new(remarks),
    )
}
