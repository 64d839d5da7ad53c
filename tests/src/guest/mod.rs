//! Guest: what is tested inside a virtual machine, where there is nothing but static programs of ours.
//!
//! In: a kernel that has just booted. Out: a line for each test on the console. Must not know: which kernel it is;
//! what may fail on which one is in tests/vm-ledger.toml.

use std::{
    env, fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::Host;

mod attach;
mod chain;
mod concurrent;
mod cost;
mod counters;
mod faults;
mod games;
mod groups;
mod system;
mod traffic;

/// Begins each line that is meant for whoever started the machine.
pub const MARK: &str = "@courtside ";
/// Begins the word of the kernel's command line that says which tests to run; all without it.
const ONLY: &str = "courtside.only=";
/// Longest that a machine may run: a test that hangs must not hang whoever waits for the machine.
const PATIENCE: Duration = Duration::from_secs(900);

/// How often a test may be run of which the kernel skipped programs, and that says so in these words: what is admitted to
/// be lost is no wrong number. From 7.0 on it preempts programs, and may preempt both copies of one.
const ATTEMPTS: u32 = 3;
const SKIPPED: [&str; 2] = ["(\"skipped\", ", "(\"arrivals\", "];
/// A part of the test lost nothing, and failed for another reason.
const NOTHING_LOST: &str = "lost []";
const PREEMPTS_SINCE: u32 = 7;

/// The test without which no other one can hold.
const NEEDED: &str = "check";

/// Does something that has a known answer; returns figures for the report.
type Test = fn(&Host) -> anyhow::Result<Value>;

/// Every test but those of counters, and its name.
const TESTS: &[(&str, Test)] = &[
    ("check", attach::check),
    ("ping-pong", traffic::counted),
    ("ping-pong by kprobes", traffic::by_kprobes),
    ("every way of moving bytes", traffic::every_way),
    ("relay", chain::parts_are_true),
    ("timer in a request", chain::timer_hands_nothing_over),
    ("concurrent services", concurrent::every_kind),
    ("standing connections", traffic::standing),
    ("counters of the clock", counters::of_the_clock),
    ("loss", traffic::loss_is_counted),
    ("kill leaves nothing", attach::kill_leaves_nothing),
    ("ids used again", faults::same_again),
    ("clock set", faults::clock_is_set),
    ("control groups", groups::in_every_layout),
];

/// What is asked for instead of tests.
const COSTS: &[(&str, Test)] = &[("check", attach::check), ("cost", cost::of_a_roundtrip)];

/// Tests on a machine whose counters have a known answer.
const COUNTING_TESTS: &[(&str, Test)] = &[
    ("check", attach::check),
    ("counters of a process", counters::of_a_process),
    (
        "counters of two that share a CPU",
        counters::of_two_that_share,
    ),
    ("counters of nobody", counters::of_nobody),
    ("counters of turnarounds", counters::of_turnarounds),
    ("more events than counters", counters::of_too_many),
];

/// What the program is: the machine's init, or a helper that a test starts.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(helped) = help(&arguments) {
        return match helped {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("vm-init: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    if std::process::id() != 1 {
        eprintln!("vm-init: this is the first program of a virtual machine; run: cargo xtask vm");
        return ExitCode::FAILURE;
    }
    if let Err(error) = run() {
        say(&json!({ "failed": format!("{error:#}") }));
    }
    system::power_off()
}

/// What a test that started this program asks of it; `None` if nobody did.
fn help(arguments: &[String]) -> Option<anyhow::Result<()>> {
    match arguments {
        [command, tgids @ ..] if command == traffic::LET_GO => Some(traffic::let_go(tgids)),
        [command, games @ ..] if command == games::PLAY_EACH => Some(games::play_each(games)),
        [command] if command == faults::UNDER_CLOCKS => Some(faults::under_clocks_play()),
        [command, rest @ ..] if command == groups::IN_GROUPS => {
            Some(groups::become_in_groups(rest))
        }
        _ => None,
    }
}

fn run() -> anyhow::Result<()> {
    system::set_up()?;
    std::thread::spawn(|| {
        std::thread::sleep(PATIENCE);
        say(&json!({ "failed": format!("not done in {PATIENCE:?}") }));
        system::power_off()
    });
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    say(&json!({ "kernel": release.trim() }));
    let major = release.split('.').next().unwrap_or_default().parse();
    let attempts = match major {
        Ok(PREEMPTS_SINCE..) => ATTEMPTS,
        _ => 1,
    };
    let command_line = fs::read_to_string("/proc/cmdline")?;
    let only = only(&command_line);
    let tests = if command_line
        .split_whitespace()
        .any(|word| word == cost::ASKED)
    {
        COSTS
    } else if counters::known(&command_line).is_some() {
        COUNTING_TESTS
    } else {
        TESTS
    };
    let mut log = system::KernelLog::open()?;
    log.read()?;
    for (name, test) in tests {
        if only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let start = Instant::now();
        let mut result = Host::take().and_then(|host| test(&host));
        let mut skipped = Vec::new();
        while let Err(error) = &result
            && was_skipped(error)
            && skipped.len() + 1 < attempts as usize
        {
            skipped.push(format!("{error:#}"));
            result = Host::take().and_then(|host| test(&host));
        }
        let passed = result.is_ok();
        let took_ms = start.elapsed().as_millis();
        say(&match result {
            Ok(figures) => {
                json!({
                    "test": name, "ok": true, "took_ms": took_ms, "figures": figures, "skipped": skipped,
                })
            }
            Err(error) => {
                json!({ "test": name, "ok": false, "took_ms": took_ms, "error": format!("{error:#}") })
            }
        });
        if *name == NEEDED && !passed {
            break;
        }
    }
    let complaints = log.read()?;
    say(&json!({
        "test": "kernel log", "ok": complaints.is_empty(), "took_ms": 0, "error": complaints.join(" | "),
    }));
    say(&json!({ "done": true }));
    Ok(())
}

/// Whether a test failed for nothing but runs that were skipped.
fn was_skipped(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    SKIPPED.iter().any(|class| text.contains(class)) && !text.contains(NOTHING_LOST)
}

/// The part of a test's name that was asked for; `_` stands for a space.
fn only(command_line: &str) -> Option<String> {
    command_line
        .split_whitespace()
        .find_map(|word| word.strip_prefix(ONLY))
        .map(|name| name.replace('_', " "))
}

fn say(line: &Value) {
    println!("{MARK}{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_names_the_tests_to_run() {
        assert_eq!(only("quiet panic=-1\n"), None);
        let asked = only("quiet courtside.only=ping-pong_by panic=-1\n");
        assert_eq!(asked.as_deref(), Some("ping-pong by"));
    }

    #[test]
    fn the_command_line_tells_what_an_instruction_takes() {
        assert_eq!(counters::known("quiet panic=-1\n"), None);
        assert_eq!(counters::known("quiet courtside.cpi=4\n"), Some(4));
    }

    #[test]
    fn only_what_is_admitted_may_be_run_again() {
        let was = |text: &str| was_skipped(&anyhow::anyhow!("{}", text.to_owned()));
        assert!(was("lost [(\"skipped\", 2)]: roundtrips: 101, truth 103"));
        assert!(was("lost [(\"arrivals\", 1)]"));
        assert!(!was("lost []: roundtrips: 101, truth 103"));
        assert!(!was("lost [(\"skipped\", 2)] | lost []"));
    }

    #[test]
    fn no_two_tests_have_one_name() {
        for tests in [TESTS, COUNTING_TESTS, COSTS] {
            for (number, (name, _)) in tests.iter().enumerate() {
                assert!(
                    tests
                        .iter()
                        .skip(number + 1)
                        .all(|(other, _)| other != name)
                );
            }
        }
    }
}
