//! `cargo xtask test`: everything that must hold, in the order in which it is cheapest to learn that it does not.
//!
//! In: the workspace. Out: a verdict, step by step, with timings. Must not know: what a single test means.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{build, ebpf, metrics, packages, python, sh, vm};

/// Real services, load generators and independent readers that the truth tests hold Courtside against.
const PACKAGES: [&str; 12] = [
    "bpftool",
    "bpftrace",
    "iproute2",
    "libcap2-bin",
    "linux-perf",
    "nginx-light",
    "postgresql",
    "procps",
    "redis-server",
    "redis-tools",
    "tmux",
    "wrk",
];

/// One thing to hold, and whether it needs root.
struct Step {
    name: &'static str,
    root: bool,
    run: fn() -> Result<()>,
}

const STEPS: [Step; 10] = [
    Step {
        name: "packages",
        root: true,
        run: || packages::need("The truth tests", &PACKAGES),
    },
    Step {
        name: "readers of exports",
        root: false,
        run: python::need,
    },
    Step {
        name: "formatting",
        root: false,
        run: || cargo(&["fmt", "--all", "--check"]),
    },
    Step {
        name: "eBPF object",
        root: false,
        run: || ebpf::build().map(drop),
    },
    Step {
        name: "lints",
        root: false,
        run: lints,
    },
    Step {
        name: "unit tests",
        root: false,
        run: unit_tests,
    },
    Step {
        name: "documentation",
        root: false,
        run: documentation,
    },
    Step {
        name: "release build, and its numbers documented",
        root: false,
        run: || metrics::check(&build::courtside(true)?),
    },
    Step {
        name: "truth tests",
        root: true,
        run: truth_tests,
    },
    Step {
        name: "truth tests on other kernels",
        root: true,
        run: || vm::vm(&[], None, vm::Page::Leave),
    },
];

/// Run every step and give a verdict.
pub fn test() -> Result<()> {
    let is_root = sh::is_root();
    let before = working_tree();
    let start = Instant::now();
    let mut failed = Vec::new();
    let mut lines = Vec::new();
    for (index, step) in STEPS.iter().enumerate() {
        if step.root && !is_root {
            lines.push(format!("  not run          {} (needs root)", step.name));
            continue;
        }
        eprintln!("\nxtask: {}/{} {}", index + 1, STEPS.len(), step.name);
        let begun = Instant::now();
        let result = (step.run)();
        let took = seconds(begun.elapsed());
        if let Err(error) = result {
            eprintln!("xtask: {}: {error:#}", step.name);
            lines.push(format!("  FAILED {took:>9}  {}", step.name));
            failed.push(step.name);
            if sh::stopped() {
                break;
            }
        } else {
            lines.push(format!("  ok     {took:>9}  {}", step.name));
        }
    }
    if working_tree() != before {
        lines.push(
            "  FAILED            the tests changed files that are under version control".to_owned(),
        );
        failed.push("clean working tree");
    }

    eprintln!(
        "\nxtask test, {}:\n{}",
        seconds(start.elapsed()),
        lines.join("\n")
    );
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    if !is_root {
        bail!(
            "what needs no root passed; for the rest run: sudo --preserve-env env \"PATH=$PATH\" cargo xtask test"
        );
    }
    eprintln!("xtask: everything passed");
    Ok(())
}

fn lints() -> Result<()> {
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ])?;
    ebpf::clippy()
}

fn unit_tests() -> Result<()> {
    cargo(&["test", "--workspace", "--exclude", "courtside-tests"])?;
    cargo(&["test", "--package", "courtside-tests", "--lib", "--bins"])
}

fn documentation() -> Result<()> {
    sh::run(
        sh::cargo()
            .args([
                "doc",
                "--workspace",
                "--no-deps",
                "--document-private-items",
            ])
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )
}

fn truth_tests() -> Result<()> {
    build::workload()?;
    // One at a time: each measures the whole host.
    cargo(&[
        "test",
        "--package",
        "courtside-tests",
        "--test",
        "*",
        "--no-fail-fast",
        "--",
        "--test-threads=1",
    ])
}

fn cargo(arguments: &[&str]) -> Result<()> {
    sh::run(sh::cargo().args(arguments))
}

/// What git says differs from the last commit; nothing where this is no git checkout.
fn working_tree() -> Option<String> {
    sh::output(sh::command("git").args(["status", "--porcelain"])).ok()
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
