//! Opening a recording, as the command line asks for it.
//!
//! In: a file, a choice of windows and components. Out: its windows; remarks on stderr. Must not know: what is done with
//! them.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow};

use super::{
    args::{SelectArgs, nanoseconds},
    range::Range,
};
use crate::{
    model::View,
    record::{Recorded, Recording, Remarks},
    sys::privileges,
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

/// Where remarks would stand in the middle of a dashboard.
struct Nowhere;

impl Remarks for Nowhere {
    fn say(&self, _: &str) {}

    fn progress(&self, _: Option<u64>) {}
}

/// Opens a recording once more, beside a dashboard that has said what there is to say of it.
pub(super) fn again(path: &Path, select: &SelectArgs) -> anyhow::Result<Recorded> {
    let recording = Recording::open(path)?;
    let view = select.or_recorded(&recording.header().view).view();
    Recorded::new(recording, None, None, view, Box::new(Nowhere))
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

/// Opens a recording and makes no use of what this process may do for measuring, which it still has to do: a thread of its
/// own gives all of that up first. It reads what the user may who started us; for root, what the file's owner may, since after
/// `sudo` that is who recorded it. What is read from the open file later needs no privileges.
pub(super) fn open_unprivileged(path: &Path) -> anyhow::Result<Recording> {
    let body = || -> anyhow::Result<Recording> {
        if rustix::process::getuid().is_root() {
            privileges::act_as_owner_of(path);
        }
        privileges::give_up()?;
        Ok(Recording::open(path)?)
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("open".to_owned());
        let opening = thread.spawn_scoped(scope, body).context(
            "cannot start the thread that opens the recording; raise the limit of threads (ulimit -u)",
        )?;
        // A panic has already been reported by the panic hook.
        let opened = opening.join();
        opened.map_err(|_| anyhow!("the thread that opens the recording has ended"))?
    })
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
