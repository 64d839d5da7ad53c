//! Measuring on a thread of its own: windows at an interval, handed over without waiting for the code that shows them.
//!
//! In: a [`Source`]. Out: [`Update`]s on a bounded channel. Must not know: the screen, what a source reads.

use std::{
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::sync::mpsc;

use courtside_core::model::{Snapshot, judgement::Judgement};

/// Windows that may wait to be shown. When the screen falls further behind, windows are dropped and counted.
const WAITING: usize = 64;

/// Where snapshots come from.
pub trait Source: Send {
    /// The snapshot of the window since the last call.
    ///
    /// # Errors
    /// When nothing can be measured any more. What is partly measurable is a snapshot that says so in its `quality`.
    fn next(&mut self) -> anyhow::Result<Snapshot>;

    /// How guard sees the last window; none if it does not run.
    fn judgement(&mut self) -> Option<Arc<Judgement>> {
        None
    }

    /// Forgets what was gathered so far; the next window begins now.
    fn reset(&mut self) {}

    /// Windows have another length from now on.
    fn interval_changes(&mut self) {}
}

/// One window, or the reason why there will be no more.
pub type Update = anyhow::Result<LiveWindow>;

/// One measured window.
#[derive(Clone, Debug)]
pub struct LiveWindow {
    /// What was measured.
    pub snapshot: Arc<Snapshot>,
    /// How guard sees it; none if it does not run.
    pub judgement: Option<Arc<Judgement>>,
    /// Windows dropped before this one, because they were not taken in time.
    pub missed: u64,
}

enum Command {
    Interval(Duration),
    Reset,
}

/// A source running on its own thread. Dropping it ends the thread.
#[derive(Debug)]
pub struct Live {
    updates: mpsc::Receiver<Update>,
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Starts the thread. The first window ends one interval from now.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(mut source: Box<dyn Source>, mut interval: Duration) -> anyhow::Result<Self> {
        let (to_screen, updates) = mpsc::channel(WAITING);
        let (commands, orders) = channel();
        let body = move || {
            let mut missed = 0;
            let mut due = Instant::now() + interval;
            loop {
                match orders.recv_timeout(due.saturating_duration_since(Instant::now())) {
                    Ok(Command::Interval(new)) => {
                        // The running window is cut or stretched to the new length.
                        due = due.checked_sub(interval).unwrap_or(due) + new;
                        interval = new;
                        source.interval_changes();
                    }
                    Ok(Command::Reset) => {
                        source.reset();
                        due = Instant::now() + interval;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        let window = source.next().map(|snapshot| LiveWindow {
                            snapshot: Arc::new(snapshot),
                            judgement: source.judgement(),
                            missed,
                        });
                        let failed = window.is_err();
                        match to_screen.try_send(window) {
                            Ok(()) => missed = 0,
                            Err(mpsc::error::TrySendError::Full(_)) if !failed => missed += 1,
                            // The reason must arrive; nothing is measured any more that could be held up.
                            Err(mpsc::error::TrySendError::Full(error)) => {
                                drop(to_screen.blocking_send(error));
                            }
                            Err(mpsc::error::TrySendError::Closed(_)) => return,
                        }
                        if failed {
                            return;
                        }
                        // A window that took too long does not make the next ones shorter.
                        due = (due + interval).max(Instant::now() + interval / 2);
                    }
                }
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
            updates,
            commands: Some(commands),
            thread: Some(thread),
        })
    }

    /// The next window; `None` when the thread has ended.
    pub async fn next(&mut self) -> Option<Update> {
        self.updates.recv().await
    }

    /// Measures windows of this length from now on.
    pub fn set_interval(&self, interval: Duration) {
        self.order(Command::Interval(interval));
    }

    /// Begins to measure anew.
    pub fn reset(&self) {
        self.order(Command::Reset);
    }

    fn order(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // A thread that has ended has told why on the other channel.
            commands.send(command).ok();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.updates.close();
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been reported by the panic hook.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use super::*;

    /// Tells the number of the window as the number of CPUs; fails after `last`.
    struct Counting {
        window: u32,
        last: u32,
        /// At this window the source tells that it is there, and waits.
        gate: Option<(u32, Sender<()>, Receiver<()>)>,
    }

    fn counting(last: u32) -> Counting {
        Counting {
            window: 0,
            last,
            gate: None,
        }
    }

    impl Source for Counting {
        fn next(&mut self) -> anyhow::Result<Snapshot> {
            self.window += 1;
            if let Some((window, reached, go_on)) = &self.gate
                && *window == self.window
            {
                reached.send(()).unwrap();
                go_on.recv().unwrap();
            }
            anyhow::ensure!(self.window <= self.last, "the source has ended");
            let mut snapshot = Snapshot::default();
            snapshot.host.cpus = self.window;
            Ok(snapshot)
        }

        fn reset(&mut self) {
            self.window = 1000;
        }
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn windows_arrive_in_order_and_then_the_reason_of_the_end() {
        let source = counting(3);
        let mut live = Live::start(Box::new(source), Duration::from_millis(1)).unwrap();
        for window in 1..=3 {
            let update = wait(live.next()).unwrap().unwrap();
            assert_eq!((update.snapshot.host.cpus, update.missed), (window, 0));
        }
        assert_eq!(
            wait(live.next()).unwrap().unwrap_err().to_string(),
            "the source has ended"
        );
        assert!(wait(live.next()).is_none());
    }

    #[test]
    fn a_screen_that_hangs_holds_nothing_up_and_learns_how_much_it_missed() {
        let (reached, is_reached) = channel();
        let (go_on, may_go_on) = channel();
        let waiting = WAITING as u32;
        let source = Counting {
            gate: Some((waiting + 6, reached, may_go_on)),
            ..counting(waiting + 6)
        };
        let mut live = Live::start(Box::new(source), Duration::from_micros(10)).unwrap();
        is_reached.recv().unwrap();
        let first = wait(live.next()).unwrap().unwrap();
        assert_eq!((first.snapshot.host.cpus, first.missed), (1, 0));
        go_on.send(()).unwrap();
        let rest: Vec<_> = std::iter::from_fn(|| wait(live.next())?.ok()).collect();
        assert_eq!(rest.len(), WAITING);
        let last = rest.last().unwrap();
        assert_eq!((last.snapshot.host.cpus, last.missed), (waiting + 6, 5));
    }

    #[test]
    fn a_long_interval_can_be_cut_short_and_reset_reaches_the_source() {
        let source = counting(2000);
        let mut live = Live::start(Box::new(source), Duration::from_secs(3600)).unwrap();
        live.reset();
        live.set_interval(Duration::from_millis(1));
        let update = wait(live.next()).unwrap().unwrap();
        assert_eq!(update.snapshot.host.cpus, 1001);
    }

    #[test]
    fn dropping_ends_a_thread_in_the_middle_of_a_window() {
        let source = counting(1);
        drop(Live::start(Box::new(source), Duration::from_secs(3600)).unwrap());
    }
}
