//! The five parts of a turnaround, as the page names and colours them.
//!
//! In: turnarounds. Out: their parts in order. Must not know: pages.

use crate::model::snapshot::{Court, Recipient, Turnaround};

/// Name and class, which gives the colour.
pub(super) const PARTS: [(&str, &str); 5] = [
    ("on-CPU", "on-cpu"),
    ("run queue", "run-queue"),
    ("disk", "disk"),
    ("sleep", "sleep"),
    ("queued", "queued"),
];

/// What has five parts.
pub(super) trait Parts {
    /// In the order of [`PARTS`].
    fn parts(&self) -> [f64; 5];
}

impl Parts for Turnaround {
    fn parts(&self) -> [f64; 5] {
        [
            self.on_cpu_ns,
            self.run_queue_ns,
            self.block_io_ns,
            self.sleep_ns,
            self.queued_ns,
        ]
        .map(|ns| ns as f64)
    }
}

impl Parts for Recipient {
    fn parts(&self) -> [f64; 5] {
        [
            self.on_cpu_ns,
            self.run_queue_ns,
            self.block_io_ns,
            self.sleep_ns,
            self.queued_ns,
        ]
        .map(|ns| ns as f64)
    }
}

impl Parts for Court {
    fn parts(&self) -> [f64; 5] {
        [
            self.on_cpu_ns,
            self.run_queue_ns,
            self.block_io_ns,
            self.sleep_ns,
            self.queued_ns,
        ]
    }
}
