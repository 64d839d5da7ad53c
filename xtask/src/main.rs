//! Build, demo, test and measure Courtside: `cargo xtask <what>`.
//!
//! In: the command line and the machine it runs on. Out: files under `target/`, and what it did, in words.
//! Must not know: how Courtside works; it is run, never linked.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod build;
mod demo;
mod dist;
mod ebpf;
mod fences;
mod packages;
mod python;
mod services;
mod sh;
mod targets;
mod test;
mod truth;
mod truth_findings;
mod truth_guard;
mod truth_infer;
mod truth_models;
mod vm;

/// Build, demo, test and measure Courtside.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the eBPF object into target/bpf/courtside.bpf.o
    BuildEbpf,
    /// Build the eBPF object, then the binary `courtside` with the object inside
    Build {
        /// Optimised: target/release/courtside
        #[arg(long)]
        release: bool,
    },
    /// Start a service of several tiers under load, and look at it with Courtside
    Demo {
        /// nginx, gunicorn, redis and PostgreSQL instead of our own workloads
        #[arg(long)]
        real: bool,
    },
    /// Measure what Courtside costs, beside nothing, empty programs and bpftrace, and write docs/overhead.md
    Bench {
        /// How often everything is measured, at least: wrk and p99 are repeated up to four times as often
        /// until they are told to 5 %, unless these are fewer than six
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// Only these figures, printed but not written
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<bench::Figure>,
        /// Something smaller instead
        #[command(subcommand)]
        of: Option<BenchOf>,
    },
    /// Hold what Courtside says to what is then measured
    Truth {
        /// What to hold
        #[command(subcommand)]
        of: TruthOf,
    },
    /// Check everything: formatting, lints, unit tests, documentation, and the truth tests against this kernel
    Test {
        /// Only the steps whose name holds this, such as `lints` or `unit`
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Build what people install: tars of static programs, Debian packages, bills of materials, checksums, in target/dist
    Dist {
        /// Only for this architecture
        #[arg(long, value_enum)]
        arch: Vec<vm::Arch>,
    },
    /// Boot other kernels in emulated machines, and check there that Courtside counts right
    Vm {
        /// Only these kernels, by name, e.g. 6.12
        #[arg(long)]
        kernel: Vec<String>,
        /// Only the tests with this in their name
        #[arg(long)]
        only: Option<String>,
        /// Boot nothing: judge what the machines said last, and write docs/kernels.md
        #[arg(long, conflicts_with_all = ["kernel", "only"])]
        last: bool,
    },
}

#[derive(Subcommand)]
enum TruthOf {
    /// Plant eight causes in services and beside them, and write what stood on top of `courtside stat` into docs/patterns.md
    Findings {
        /// Two minutes instead of three, to see that it works; printed, not written
        #[arg(long)]
        quick: bool,
        /// Only these causes, printed but not written: queries, hog, lock, disk, upstream, overload, quota, calls, nothing
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
    },
    /// Plant neighbours and other troubles beside a service, have the guard judge them, and write docs/guard-truth.md
    Guard {
        /// Three scenarios in three minutes instead of ten in eleven, to see that it works; printed, not written
        #[arg(long)]
        quick: bool,
    },
    /// Have parallel applications of ours inferred beside a load, run them without it, and write docs/infer-truth.md
    Infer {
        /// A minute instead of three, to see that it works; printed, not written
        #[arg(long)]
        quick: bool,
    },
    /// Predict services of ours at rates and placements, measure them there, and write docs/models-truth.md
    Models {
        /// A few minutes instead of twenty, to see that it works; printed, not written
        #[arg(long)]
        quick: bool,
        /// Only these parts, printed but not written
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<truth_models::Part>,
    },
}

#[derive(Subcommand)]
enum BenchOf {
    /// Measure what recordings cost, and write docs/recording-cost.md
    Record,
    /// Count instructions by kind of hook in emulated machines, and write docs/overhead-kernels.md
    Kernels,
    /// Serve beside 45 new programs a second, and print whether memory levels off
    Serve {
        /// For so long
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
        minutes: u32,
    },
}

fn run() -> anyhow::Result<()> {
    sh::catch_signals()?;
    match Cli::parse().command {
        Command::BuildEbpf => ebpf::build().map(drop),
        Command::Dist { arch } => dist::dist(&arch),
        Command::Build { release } => build::courtside(release).map(drop),
        Command::Demo { real } => demo::demo(real),
        Command::Bench {
            of: None,
            rounds,
            only,
        } => bench::bench(rounds, &only),
        Command::Bench {
            of: Some(BenchOf::Record),
            ..
        } => bench::record::bench(),
        Command::Bench {
            of: Some(BenchOf::Kernels),
            ..
        } => vm::cost::bench(),
        Command::Bench {
            of: Some(BenchOf::Serve { minutes }),
            ..
        } => bench::serve::bench(minutes),
        Command::Truth {
            of: TruthOf::Models { quick, only },
        } => truth_models::models(quick, &only),
        Command::Truth {
            of: TruthOf::Findings { quick, only },
        } => truth_findings::findings(quick, &only),
        Command::Truth {
            of: TruthOf::Guard { quick },
        } => truth_guard::guard(quick),
        Command::Truth {
            of: TruthOf::Infer { quick },
        } => truth_infer::infer(quick),
        Command::Test { only } => test::test(only.as_deref()),
        Command::Vm { last: true, .. } => vm::last(),
        Command::Vm { kernel, only, .. } => vm::vm(&kernel, only.as_deref(), vm::Page::Write),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
