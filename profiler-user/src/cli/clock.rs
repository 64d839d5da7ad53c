//! When something is due: the end of a window, the end of all, a word about progress.
//!
//! In: a limit and an interval. Out: the next instant, and what it is for; a line on the terminal.
//! Must not know: what is done then.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Widest line of progress.
const WIDTH: usize = 78;

/// When something is due.
pub(super) struct Clock {
    started: Instant,
    limit: Option<Duration>,
    interval: Option<Duration>,
    /// Intervals that are over, also those whose end was missed.
    intervals: u32,
    progress: bool,
    /// How often the kernel's maps are read in between, and when they were last.
    drain: Option<(Duration, Instant)>,
}

impl Clock {
    pub(super) fn start(
        limit: Option<Duration>,
        interval: Option<Duration>,
        progress: bool,
    ) -> Self {
        Self {
            started: Instant::now(),
            limit,
            interval,
            intervals: 0,
            progress,
            drain: None,
        }
    }

    /// Wakes up to read the kernel's maps, too.
    pub(super) fn draining(self, every: Duration) -> Self {
        Self {
            drain: Some((every, self.started)),
            ..self
        }
    }

    fn end_of_drain(&self) -> Option<Instant> {
        let (every, last) = self.drain?;
        last.checked_add(every)
    }

    /// Whether it is time to read the kernel's maps; then the next time is counted from now.
    pub(super) fn drain_is_over(&mut self) -> bool {
        let now = Instant::now();
        let over = self.end_of_drain().is_some_and(|end| now >= end);
        if let (true, Some((_, last))) = (over, &mut self.drain) {
            *last = now;
        }
        over
    }

    /// The next reading comes after an eighth of the usual time.
    pub(super) fn drain_sooner(&mut self) {
        if let Some((every, last)) = &mut self.drain {
            let sooner = last.checked_sub(*every / 8 * 7);
            *last = sooner.unwrap_or(*last);
        }
    }

    fn end(&self) -> Option<Instant> {
        self.started.checked_add(self.limit?)
    }

    fn end_of_interval(&self) -> Option<Instant> {
        let elapsed = self.interval?.checked_mul(self.intervals.checked_add(1)?)?;
        self.started.checked_add(elapsed)
    }

    /// The next instant at which something is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let progress = self.progress.then(|| Instant::now() + PROGRESS_EVERY);
        [
            self.end(),
            self.end_of_interval(),
            self.end_of_drain(),
            progress,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn is_over(&self) -> bool {
        self.end().is_some_and(|end| Instant::now() >= end)
    }

    /// Whether an interval is over. Those that went by meanwhile are not made up for by windows of no length: the window
    /// that ends now is as long as it was.
    pub(super) fn interval_is_over(&mut self) -> bool {
        let now = Instant::now();
        let over = self.end_of_interval().is_some_and(|end| now >= end);
        if let (true, Some(interval)) = (over, self.interval) {
            let elapsed = now.duration_since(self.started).as_nanos();
            let whole = elapsed / interval.as_nanos().max(1);
            self.intervals = u32::try_from(whole).unwrap_or(u32::MAX);
        }
        over
    }

    /// How long all may take.
    pub(super) fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Writes a line in place of the last one; it is told the seconds since the start.
    pub(super) fn show_progress(&self, line: impl FnOnce(u64) -> String) {
        if self.progress {
            let line = line(self.started.elapsed().as_secs());
            // A progress line that cannot be shown is no reason to stop.
            let _ = write!(io::stderr(), "\r{line:WIDTH$}");
        }
    }

    pub(super) fn clear_progress(&self) {
        if self.progress {
            let _ = write!(io::stderr(), "\r{:WIDTH$}\r", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_that_were_missed_are_one_window() {
        let interval = Duration::from_secs(10);
        let mut clock = Clock::start(None, Some(interval), false);
        assert!(!clock.interval_is_over());
        clock.started = Instant::now()
            .checked_sub(interval * 10 + interval / 2)
            .unwrap();
        assert!(clock.interval_is_over());
        assert!(!clock.interval_is_over());
        // The rhythm is what it was.
        assert_eq!(clock.next(), clock.started.checked_add(interval * 11));
    }
}
