//! Connections that the threads of a tier share, as a pool of connections to a database is.
//!
//! In: connected lines. Out: one at a time for each thread, once it is free. Must not know: what is said on them.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, PoisonError},
};

use anyhow::Context as _;

use super::line::Line;

/// Lines that are free, for whoever comes first, in turn: whoever looks on sees all of them early, and not one for the first time
/// whenever more are needed than ever before.
pub struct Pool {
    free: Mutex<VecDeque<Line>>,
    freed: Condvar,
}

impl Pool {
    /// A pool of these.
    #[must_use]
    pub fn new(lines: Vec<Line>) -> Self {
        Self {
            free: Mutex::new(lines.into()),
            freed: Condvar::new(),
        }
    }

    /// A free one; waits until there is one.
    fn take(&self) -> Line {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(line) = free.pop_front() {
                return line;
            }
            free = self
                .freed
                .wait(free)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give(&self, line: Line) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push_back(line);
        self.freed.notify_one();
    }
}

/// How a thread gets at the next tier: by a line of its own, or by one of a pool.
pub struct Next<'a> {
    own: Option<Line>,
    pool: Option<&'a Pool>,
}

impl<'a> Next<'a> {
    /// A line of its own; none if there is nobody to call.
    #[must_use]
    pub fn own(line: Option<Line>) -> Self {
        Self {
            own: line,
            pool: None,
        }
    }

    /// One of a pool.
    #[must_use]
    pub fn shared(pool: &'a Pool) -> Self {
        Self {
            own: None,
            pool: Some(pool),
        }
    }

    /// The line for one call; waits for one of a pool.
    ///
    /// # Errors
    /// When there is nobody to call.
    pub fn take(&mut self) -> anyhow::Result<Line> {
        match self.pool {
            Some(pool) => Ok(pool.take()),
            None => self.own.take().context("no tier to call"),
        }
    }

    /// Back after the call.
    pub fn give(&mut self, line: Line) {
        match self.pool {
            Some(pool) => pool.give(line),
            None => self.own = Some(line),
        }
    }
}
