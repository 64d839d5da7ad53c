//! A loop of a fixed length, and what the CPU's counters say it took.
//!
//! In: how long. Out: cycles and instructions, read by the process itself. Must not know: who else counts.

use anyhow::Context as _;
use clap::Args;
use perf_event::{Builder, Counter, events::Hardware};

use super::process::say;

/// Counts its own cycles and instructions.
#[derive(Clone, Debug, Args)]
pub struct Count {
    /// Rounds of the loop.
    #[arg(long, default_value_t = 50_000_000)]
    rounds: u64,
    /// Only go round, and count nothing.
    #[arg(long)]
    blind: bool,
}

impl Count {
    /// Goes round, then says what that took.
    ///
    /// # Errors
    /// When the machine has no such counters.
    pub fn run(self) -> anyhow::Result<()> {
        if self.blind {
            go_round(self.rounds);
            return say(&serde_json::json!({ "workload": "count", "tgid": std::process::id() }));
        }
        let mut cycles = counter(Hardware::CPU_CYCLES)?;
        let mut instructions = counter(Hardware::INSTRUCTIONS)?;
        cycles.enable()?;
        instructions.enable()?;
        go_round(self.rounds);
        instructions.disable()?;
        cycles.disable()?;
        say(&serde_json::json!({
            "workload": "count", "tgid": std::process::id(),
            "cycles": cycles.read()?, "instructions": instructions.read()?,
        }))
    }
}

fn go_round(rounds: u64) {
    let mut sum = 0_u64;
    for round in 0..rounds {
        sum = std::hint::black_box(sum.wrapping_add(round));
    }
    std::hint::black_box(sum);
}

/// A counter of this thread, in the kernel too.
fn counter(kind: Hardware) -> anyhow::Result<Counter> {
    let what = format!("{kind:?}");
    let mut builder = Builder::new().kind(kind);
    builder.include_kernel().include_hv();
    builder
        .build()
        .with_context(|| format!("cannot count {what}"))
}
