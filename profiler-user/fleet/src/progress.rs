//! How far reading is, on standard error, where that is a terminal.
//!
//! In: a plan that runs. Out: a line that is written over again and again. Must not know: what is read.

use std::{
    io::{IsTerminal as _, Write as _},
    sync::Arc,
    time::Duration,
};

use datafusion::physical_plan::ExecutionPlan;
use tokio::task::JoinHandle;

/// How often it is told.
const EVERY: Duration = Duration::from_millis(500);

/// Tells until it is dropped.
pub(crate) struct Progress(Option<JoinHandle<()>>);

impl Progress {
    /// Begins to tell of a plan over so many rows.
    pub(crate) fn begin(plan: &Arc<dyn ExecutionPlan>, rows: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let plan = Arc::clone(plan);
        Self(Some(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            // The first tick comes at once.
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let read = read(plan.as_ref());
                let mut to = std::io::stderr().lock();
                // Nobody is harmed if it cannot be told.
                let _ = write!(to, "\r\x1b[K{read} of at most {rows} rows read");
                let _ = to.flush();
            }
        })))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// Rows that the ends of a plan have given so far.
fn read(plan: &dyn ExecutionPlan) -> usize {
    let below = plan.children();
    if below.is_empty() {
        return plan
            .metrics()
            .and_then(|metrics| metrics.output_rows())
            .unwrap_or(0);
    }
    below
        .into_iter()
        .map(|plan| read(plan.as_ref()))
        .fold(0, usize::saturating_add)
}

/// Says at which host something is.
pub(crate) fn hosts(what: &str, number: usize, of: usize) {
    if std::io::stderr().is_terminal() {
        let _ = write!(
            std::io::stderr().lock(),
            "\r\x1b[K{what} {number} of {of} hosts"
        );
    }
}

/// Nothing more is said.
pub(crate) fn end() {
    if std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
    }
}
