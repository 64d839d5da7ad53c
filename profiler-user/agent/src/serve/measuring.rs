//! The thread that measures: windows at an interval, into the totals and into a recording.
//!
//! In: a measurement. Out: windows on the board. Must not know: who reads them.

use std::{
    io::Write as _,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use courtside_core::{
    frame::{Frame, Merge},
    model::{State, View, fold},
};
use courtside_record::WriteError;
use rustix::process::{Pid, test_kill_process};
use tokio::sync::oneshot;

use super::{Recording, board::Board, exporting::Exporting, guarding::Guards};
use crate::measure::Measurement;

/// How often the kernel's maps are read while a window lasts longer, so that they do not fill with what is gone.
const DRAIN_EVERY: Duration = Duration::from_secs(1);
/// A window that is to be longer ends with the agent: the clock has no such time.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What is made of windows besides what is served.
#[derive(Default)]
pub(super) struct Beside {
    pub(super) recording: Option<Recording>,
    pub(super) exporting: Option<Exporting>,
    pub(super) guards: Option<Box<dyn Guards>>,
}

/// The thread.
pub(super) struct Measuring {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    failed: oneshot::Receiver<anyhow::Error>,
}

impl Measuring {
    pub(super) fn start(
        measurement: Box<dyn Measurement>,
        view: View,
        interval: Duration,
        beside: Beside,
        board: Arc<Board>,
    ) -> anyhow::Result<Self> {
        let (stop, stopped) = channel();
        let (fail, failed) = oneshot::channel();
        let mut work = Work {
            measurement,
            view,
            state: State::default(),
            begun: Merge::default(),
            beside,
            board,
        };
        let body = move || {
            let measured = work.measure(interval, &stopped);
            work.end();
            if let Err(error) = measured {
                // Nobody asks any more if it ends at this very moment.
                drop(fail.send(error));
            }
        };
        let thread = thread::Builder::new()
            .name("collect".to_owned())
            // A record of a flow is five kilobytes, and a build without optimisation copies it often.
            .stack_size(8 << 20)
            .spawn(body)
            .context(
                "cannot start the thread that collects; raise the limit of threads (ulimit -u)",
            )?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
            failed,
        })
    }

    /// Waits until it cannot go on, and says why.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        let failed = (&mut self.failed).await;
        failed.unwrap_or_else(|_| anyhow!("the thread that collects has ended"))
    }

    /// Ends the last window, and the thread. Says why that has failed, if it has and [`Self::failed`] has not said it.
    pub(super) fn finish(&mut self) -> Option<anyhow::Error> {
        self.stop = None;
        let ended = self.thread.take()?.join();
        if ended.is_err() {
            return Some(anyhow!("the thread that collects has panicked"));
        }
        self.failed.try_recv().ok()
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        drop(self.finish());
    }
}

struct Work {
    measurement: Box<dyn Measurement>,
    view: View,
    state: State,
    /// Parts of the window that were read before its end.
    begun: Merge,
    beside: Beside,
    board: Arc<Board>,
}

impl Work {
    fn measure(&mut self, interval: Duration, stopped: &Receiver<()>) -> anyhow::Result<()> {
        let interval = interval.min(FOREVER);
        let mut due = Instant::now() + interval;
        loop {
            let now = Instant::now();
            let wait = due.saturating_duration_since(now).min(DRAIN_EVERY);
            let waited = stopped.recv_timeout(wait);
            self.keep();
            match waited {
                Err(RecvTimeoutError::Timeout) if Instant::now() >= due => {
                    let frame = self.measurement.window()?;
                    self.window(frame);
                    // A window that took too long does not make the next ones shorter.
                    due = (due + interval).max(Instant::now() + interval / 2);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let frame = self.measurement.window()?;
                    self.begun.add(frame);
                }
                Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                    let frame = self.measurement.finish()?;
                    self.window(frame);
                    return Ok(());
                }
            }
        }
    }

    fn window(&mut self, mut frame: Frame) {
        if self.begun.windows() > 0 {
            self.begun.add(frame);
            frame = std::mem::take(&mut self.begun).finish();
        }
        self.record(&frame);
        let snapshot = Arc::new(fold(&mut self.state, &frame, &self.view));
        if let Some(guards) = &mut self.beside.guards {
            let lines = guards.window(&frame, &snapshot);
            self.board.guarded(&lines, Some(guards.standing()));
        }
        self.board.add(Arc::clone(&snapshot), &lives);
        if let Some(exporting) = &self.beside.exporting {
            exporting.window(snapshot);
        }
    }

    /// Keeps the limits of guard.
    fn keep(&mut self) {
        if let Some(guards) = &mut self.beside.guards {
            let lines = guards.keep();
            self.board.guarded(&lines, None);
        }
    }

    /// A recording that cannot go on is no reason not to measure.
    fn record(&mut self, frame: &Frame) {
        let Some(recording) = &self.beside.recording else {
            return;
        };
        let failed = match recording.recorder.frame(frame) {
            Err(error @ WriteError::Io { .. }) => Some(error.to_string()),
            Err(error) => {
                // One window is missing, and the next may fit again.
                say(&format!("a window is not recorded: {error}"));
                None
            }
            Ok(()) => None,
        };
        let (windows, kept) = (recording.recorder.windows(), recording.recorder.summary());
        if let Some(reason) = &failed {
            say(&format!("recording has ended, measuring goes on: {reason}"));
            self.beside.recording = None;
        }
        self.board.recorded(windows, kept.bytes, failed);
    }

    fn end(&mut self) {
        if let Some(mut guards) = self.beside.guards.take() {
            let lines = guards.end();
            self.board.guarded(&lines, None);
        }
        if let Some(recording) = self.beside.recording.take()
            && let Err(error) = recording.recorder.finish()
        {
            say(&format!("the end of the recording is missing: {error}"));
        }
        if let Some(exporting) = self.beside.exporting.take() {
            exporting.end();
        }
    }
}

/// Remarks that nobody can read are no reason to stop.
pub(super) fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "courtside: {what}");
}

/// Whether any of these processes is still there.
fn lives(tgids: &[u32]) -> bool {
    let is_there = |tgid: u32| {
        let pid = i32::try_from(tgid).ok().and_then(Pid::from_raw)?;
        // We may not be allowed to signal it; then it is there.
        Some(test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
    };
    tgids.iter().any(|&tgid| is_there(tgid).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_until_it_is_waited_for() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        assert!(lives(&[child.id()]) && lives(&[0, std::process::id()]));
        child.wait().unwrap();
        assert!(!lives(&[child.id()]));
        assert!(!lives(&[]) && !lives(&[0, u32::MAX]));
    }
}
