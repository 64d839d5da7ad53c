//! `cargo xtask test`: everything that must hold, in the order in which it is cheapest to learn that it does not.
//!
//! In: the workspace. Out: a verdict, step by step, with timings. Must not know: what a single test means.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{build, dist, ebpf, fences, packages, python, sh, targets, truth, vm};

/// A whole run has 90 minutes where changes are checked. What comes last begins only if it can end before that.
const LAST_BEGINS_WITHIN: Duration = Duration::from_secs(78 * 60);

/// Real services, load generators and independent readers that the truth tests hold Courtside against.
const PACKAGES: [&str; 18] = [
    "bpftool",
    "bpftrace",
    "curl",
    "haproxy",
    "iproute2",
    "libcap2-bin",
    "linux-perf",
    "nginx-light",
    "nodejs",
    "openssl",
    "pgbouncer",
    "postgresql",
    "procps",
    "prometheus",
    "redis-server",
    "redis-tools",
    "tmux",
    "wrk",
];

/// One thing to hold, and whether it needs root.
struct Step {
    name: &'static str,
    root: bool,
    /// What has to be said of it though it holds.
    run: fn() -> Result<Option<String>>,
}

/// Nothing has to be said of what holds.
const fn holds(_: ()) -> Option<String> {
    None
}

const STEPS: [Step; 13] = [
    Step {
        name: "packages",
        root: true,
        run: || packages::need("The truth tests", &PACKAGES).map(holds),
    },
    Step {
        name: "readers of exports",
        root: false,
        run: || python::need().map(holds),
    },
    Step {
        name: "formatting",
        root: false,
        run: || cargo(&["fmt", "--all", "--check"]).map(holds),
    },
    Step {
        name: "eBPF object",
        root: false,
        run: || ebpf::build().map(|_| None),
    },
    Step {
        name: "lints",
        root: false,
        run: || lints().map(holds),
    },
    Step {
        name: "fences of the crates",
        root: false,
        run: || fences::check().map(holds),
    },
    Step {
        name: "unit tests",
        root: false,
        run: || unit_tests().map(holds),
    },
    Step {
        name: "documentation",
        root: false,
        run: || documentation().map(holds),
    },
    Step {
        name: "release build",
        root: false,
        run: || build::tested().map(|_| None),
    },
    Step {
        name: "package",
        root: true,
        run: || dist::check::package().map(holds),
    },
    Step {
        name: "truth tests",
        root: true,
        run: truth::tests,
    },
    Step {
        name: "truth tests on other kernels",
        root: true,
        run: || vm::vm(&[], None, vm::Page::Leave).map(holds),
    },
    Step {
        name: "fleet",
        root: false,
        run: || fleet().map(holds),
    },
];

/// A step's whole name asks for that step alone, though another's name begins with it.
fn is_asked(name: &str, text: &str) -> bool {
    if STEPS.iter().any(|step| step.name == text) {
        name == text
    } else {
        name.contains(text)
    }
}

/// Run every step, or those whose name holds `only`, and give a verdict.
pub fn test(only: Option<&str>) -> Result<()> {
    let is_root = sh::is_root();
    let before = working_tree();
    let start = Instant::now();
    let mut failed = Vec::new();
    let mut lines = Vec::new();
    let steps: Vec<&Step> = STEPS
        .iter()
        .filter(|step| only.is_none_or(|text| is_asked(step.name, text)))
        .collect();
    if steps.is_empty() {
        let names = STEPS.map(|step| step.name).join(", ");
        bail!("no step of that name; there are: {names}");
    }
    for (index, step) in steps.iter().enumerate() {
        if step.root && !is_root {
            lines.push(format!("  not run          {} (needs root)", step.name));
            continue;
        }
        if index + 1 == STEPS.len() && start.elapsed() > LAST_BEGINS_WITHIN {
            lines.push(format!(
                "  not run          {0} (no time is left; run: cargo xtask test --only {0})",
                step.name
            ));
            continue;
        }
        eprintln!("\nxtask: {}/{} {}", index + 1, steps.len(), step.name);
        let begun = Instant::now();
        let result = (step.run)();
        let took = seconds(begun.elapsed());
        match result {
            Ok(remark) => {
                let remark = remark.map_or_else(String::new, |remark| format!(": {remark}"));
                lines.push(format!("  ok     {took:>9}  {}{remark}", step.name));
            }
            Err(error) => {
                eprintln!("xtask: {}: {error:#}", step.name);
                lines.push(format!("  FAILED {took:>9}  {}", step.name));
                failed.push(step.name);
                if sh::stopped() {
                    break;
                }
            }
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
    eprintln!(
        "xtask: {} passed",
        if only.is_some() || lines.iter().any(|line| line.starts_with("  not run")) {
            "what was run"
        } else {
            "everything"
        }
    );
    Ok(())
}

fn lints() -> Result<()> {
    cargo(&[
        "clippy",
        "--workspace",
        "--exclude",
        targets::FLEET,
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ])?;
    ebpf::clippy()
}

fn unit_tests() -> Result<()> {
    let mut compiled = sh::cargo();
    compiled.args(["test", "--workspace", "--exclude", targets::FLEET]);
    compiled.args(["--lib", "--bins"]);
    for target in targets::rootless_tests()? {
        compiled.args(["--test", &target]);
    }
    // No comment holds an example to run, and to look for some in each crate took 47 s.
    sh::run(&mut compiled)
}

fn documentation() -> Result<()> {
    sh::run(
        sh::cargo()
            .args([
                "doc",
                "--workspace",
                "--exclude",
                targets::FLEET,
                "--no-deps",
                "--document-private-items",
            ])
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )
}

/// The crate with an engine of its own, which nothing else is built with. Compiled by the linter: `cargo clippy` would go
/// through the engine once more, for nothing but what it declares.
fn fleet() -> Result<()> {
    sh::run(
        sh::cargo()
            .args(["test", "--package", targets::FLEET])
            .env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
            .env("CLIPPY_ARGS", clippy_arguments(&["--deny", "warnings"])),
    )
}

/// How `cargo clippy` hands over what stands behind `--`.
fn clippy_arguments(arguments: &[&str]) -> String {
    arguments
        .iter()
        .map(|argument| format!("{argument}__CLIPPY_HACKERY__"))
        .collect()
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
