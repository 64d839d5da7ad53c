//! How to measure, on the command line.
//!
//! In: nothing. Out: the parsed arguments, and wishes made of them. Must not know: how anything is measured.

use std::{str::FromStr, time::Duration};

use clap::Args;

use crate::collect::Wishes;

/// How to measure.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Measuring")]
pub struct MeasureArgs {
    /// A receive within this time of a send does not count as its reply: a time, or auto (the smallest round-trip time that the kernel knows for the connection)
    #[arg(long, value_name = "auto|TIME", default_value = "auto")]
    pub rtt_floor: RttFloor,
    /// Do not read hardware counters
    #[arg(long)]
    pub no_pmu: bool,
    /// Count cycles and instructions of each turnaround, too: this shows whether more work or slower instructions took the time
    #[arg(long, conflicts_with = "no_pmu")]
    pub pmu_turnaround: bool,
    /// Let the kernel measure the time of Courtside's own programs (costs about 20 ns more for each run)
    #[arg(long)]
    pub program_cost: bool,
    /// Count polls that are not to wait, and yields, too: what threads spin with that wait without sleep (slows every system call of the host)
    #[arg(long)]
    pub polls: bool,
    /// Print to stderr how each probe is attached
    #[arg(short, long)]
    pub verbose: bool,
}

/// A receive within this time of a send does not count as its reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RttFloor {
    /// Each connection's own minimum RTT.
    #[default]
    Auto,
    /// The same for all.
    Constant(Duration),
}

impl MeasureArgs {
    /// What the user wants measured.
    #[must_use]
    pub fn wishes(&self) -> Wishes {
        Wishes {
            pmu: !self.no_pmu,
            pmu_turnaround: self.pmu_turnaround,
            rtt_floor_ns: self.rtt_floor.constant_ns(),
            run_time_stats: self.program_cost,
            polls: self.polls,
        }
    }
}

impl RttFloor {
    /// The constant, if it is one.
    #[must_use]
    pub fn constant_ns(self) -> Option<u64> {
        match self {
            Self::Auto => None,
            Self::Constant(time) => Some(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        }
    }
}

impl FromStr for RttFloor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        humantime::parse_duration(text)
            .map(Self::Constant)
            .map_err(|error| format!("{error}; give auto, or a time with its unit, as in 150us"))
    }
}
