//! What can be written after `tail`.
//!
//! In: nothing. Out: the parsed arguments. Must not know: what is done with them.

use std::path::PathBuf;

use clap::Args;

use super::{OutputArgs, SelectArgs};

pub(in crate::cli) const TAIL_EXAMPLES: &str = "\
Examples:
  sudo courtside record --events -o x.rec -d 60s   every single event, under the usual load
  courtside tail x.rec                             why the slowest hundredth of requests is slow
  courtside tail x.rec --entry web:8080            of the requests that come in there
  courtside tail monday.rec tuesday.rec            of several recordings together
  courtside tail x.rec --json --exemplars 100 | jq '.exemplars[] | [.start_unix_ns, .service_ns, .waker.comm]'

The slowest hundredth of the requests at the entry is held against the median, the middle fifth of
them, part by part: in which component they were longer, and of what. Time in the run queue is
booked on whom the CPU was given to meanwhile, and sleep on whose thread ended it: both as the
kernel did it, not by correlation.

A call, and what others do because of it, belongs to the request whose message prompted it. Where a
thread held messages of several requests at once, where a connection had several open, or where
one thread hands work to another while there are several requests, it cannot be told whose
the work is. It is in none of the courts then, and how much that is, is said.

At least 100 requests are needed; with 1000 or more the slow ones are 10 or more, of which is said in
how many something is longer than in all of the median. At most 4096 slow ones are kept.";

/// Arguments of `tail`.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// Recordings with single events, of one entry
    #[arg(value_name = "FILE", required = true, help_heading = "Arguments")]
    pub files: Vec<PathBuf>,
    /// Show so many of the slowest requests one by one, at most
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Output")]
    pub exemplars: usize,
    /// Which components; by default those that the first one was recorded for.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}
