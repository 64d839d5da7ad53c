//! The truth tests: Courtside against services, clocks and readers on this host.
//!
//! In: the workspace. Out: a verdict, and which tests had to be run again. Must not know: what a single test means.
//!
//! A test that fails has failed, with one exception: there are machines whose kernel tells programs on tracepoints nothing
//! while a thread of process 1 runs (docs/journal has what is known of it). There single events are missing in any measurement,
//! and no count says so. Only where the machine was just seen to hide switches are the tests that failed run again.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead as _, BufReader, Read, Write as _},
    process::Stdio,
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::{build, sh, targets};

/// How often tests that failed are run again on a machine that hides switches.
const AGAIN: usize = 2;
/// Seconds for which such a machine is looked at: process 1 is seldom idle for so long.
const LOOK: &str = "3";

/// Runs all of them, one at a time since each measures the whole host; says which held only when they were run again.
pub fn tests() -> Result<Option<String>> {
    build::tested()?;
    let Outcome { is_ok, failed } = run(&[])?;
    if is_ok {
        return Ok(None);
    }
    ensure!(!failed.is_empty(), "a test program ended before its time");
    let hidden = hidden_switches().context("cannot see whether this machine tells all switches")?;
    ensure!(
        hidden > 0,
        "{} failed, and this machine tells all switches",
        failed.join(", ")
    );
    eprintln!(
        "xtask: {} failed. In {LOOK} seconds this machine told {hidden} switches without the one before: what happens \
         meanwhile on that CPU is told to no program. They are run again.",
        failed.join(", ")
    );
    let mut left = failed.clone();
    for _ in 0..AGAIN {
        let again = run(&left)?;
        if again.is_ok {
            return Ok(Some(format!(
                "{} failed and held when run again: this machine hides switches",
                failed.join(", ")
            )));
        }
        left = again.failed;
        ensure!(!left.is_empty(), "a test program ended before its time");
    }
    bail!("{} failed, also when run again", left.join(", "));
}

/// How a run of tests ended.
struct Outcome {
    is_ok: bool,
    failed: Vec<String>,
}

/// What the tests have printed.
#[derive(Default)]
struct Told {
    failed: Vec<String>,
    /// Test programs that have begun, and those that have said how they ended.
    begun: usize,
    ended: usize,
}

impl Told {
    fn line(&mut self, line: &str) {
        self.failed.extend(failed_test(line).map(str::to_owned));
        let begins = |line: &str| {
            let rest = line.strip_prefix("running ")?;
            let count = rest.strip_suffix(" tests").or(rest.strip_suffix(" test"))?;
            count.parse::<usize>().ok()
        };
        self.begun += usize::from(begins(line).is_some());
        self.ended += usize::from(line.starts_with("test result: "));
    }
}

/// Runs the tests of these names, or all; what they print is passed on.
fn run(names: &[String]) -> Result<Outcome> {
    let mut cargo = sh::cargo();
    cargo.args(["test", "--workspace", "--exclude", targets::FLEET]);
    cargo.arg("--no-fail-fast");
    for target in targets::truth_tests()? {
        cargo.args(["--test", &target]);
    }
    cargo.args(["--", "--test-threads=1"]);
    if !names.is_empty() {
        cargo.arg("--exact").args(names);
    }
    eprintln!("+ {}", sh::shown(&cargo));
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    thread::scope(|scope| {
        let reader = scope.spawn(|| pass_on(output));
        let status = sh::wait(&mut child)?;
        let told = reader.join();
        let told =
            told.map_err(|_| anyhow!("the reader of what the tests print has panicked"))??;
        ensure!(
            told.begun == told.ended,
            "{} test programs began, and {} said how they ended",
            told.begun,
            told.ended
        );
        Ok(Outcome {
            is_ok: status.success(),
            failed: told.failed,
        })
    })
}

/// Prints what the tests print, and tells what it says.
fn pass_on(output: impl Read) -> Result<Told> {
    let mut told = Told::default();
    let mut out = std::io::stdout();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read what the tests print")?;
        let line = String::from_utf8_lossy(&line);
        told.line(&line);
        writeln!(out, "{line}").context("cannot print")?;
    }
    Ok(told)
}

/// The test that such a line says has failed.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// How many switches of a few seconds were not told: a task leaves a CPU that another one had come to last.
fn hidden_switches() -> Result<u64> {
    // Built with what else the tests start: alone, it would want other features of what they share.
    let courtside = build::tested()?.join("courtside");
    let dir = tempfile::tempdir().context("no folder for a recording")?;
    let (recording, tables) = (dir.path().join("switches"), dir.path().join("tables"));
    let mut record = sh::command(&courtside);
    record.args(["record", "--events", "--output"]);
    sh::run(record.arg(&recording).args(["--", "sleep", LOOK]))?;
    let mut export = sh::command(&courtside);
    export.args(["export", "--format", "csv", "--output"]);
    sh::run(export.arg(&tables).arg(&recording))?;
    let events = File::open(tables.join("events.csv")).context("no table of events")?;
    count_hidden(csv::Reader::from_reader(events))
}

/// The same of a table of events.
fn count_hidden(mut events: csv::Reader<impl Read>) -> Result<u64> {
    let names = events.headers()?.clone();
    let column = |name: &str| {
        let found = names.iter().position(|column| column == name);
        found.with_context(|| format!("no column {name} in the table of events"))
    };
    let [kind, cpu, tid, next] = [
        column("kind")?,
        column("cpu")?,
        column("tid")?,
        column("other_tid")?,
    ];
    let mut running: HashMap<String, String> = HashMap::new();
    let mut hidden = 0;
    for event in events.records() {
        let event = event?;
        let of = |column: usize| event.get(column).unwrap_or_default().to_owned();
        if of(kind) != "switch" {
            continue;
        }
        let came = running.insert(of(cpu), of(next));
        if came.is_some_and(|came| came != of(tid)) {
            hidden += 1;
        }
    }
    Ok(hidden)
}

#[cfg(test)]
mod tests {
    use super::{Told, count_hidden, failed_test};

    #[test]
    fn a_test_program_that_crashed_has_begun_and_not_ended() {
        let mut told = Told::default();
        for line in [
            "running 2 tests",
            "test loss::some ... FAILED",
            "test result: FAILED. 1 passed; 1 failed",
            "running 1 test",
            "running away",
        ] {
            told.line(line);
        }
        assert_eq!((told.begun, told.ended), (2, 1));
        assert_eq!(told.failed, ["loss::some"]);
    }

    #[test]
    fn a_switch_from_a_task_that_had_not_come_hides_another() {
        let told = "kind,cpu,tid,other_tid\n\
                    switch,0,5,7\nswitch,1,9,0\nwake,0,0,5\nswitch,0,7,5\nswitch,1,0,3\nswitch,0,5,1\n";
        let table =
            |text: String| count_hidden(csv::Reader::from_reader(std::io::Cursor::new(text)));
        assert!(matches!(table(told.to_owned()), Ok(0)));
        assert!(matches!(table(format!("{told}switch,0,8,5\n")), Ok(1)));
        assert!(table("kind,cpu\n".to_owned()).is_err());
    }

    #[test]
    fn a_test_that_failed_is_named() {
        assert_eq!(
            failed_test("test loss::some ... FAILED"),
            Some("loss::some")
        );
        assert_eq!(failed_test("test loss::some ... ok"), None);
        assert_eq!(failed_test("test result: FAILED. 1 passed"), None);
    }
}
