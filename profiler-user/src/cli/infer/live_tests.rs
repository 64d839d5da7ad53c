//! `infer` without a file, over ranks whose run is known.

use std::{cell::RefCell, fs, path::Path, time::Duration};

use clap::Parser;
use courtside_agent::measure::Measurement;
use serde_json::Value;

use super::*;
use crate::{
    cli::args::{Cli, Command},
    collect::{Sink, Wishes},
    event::Event,
    fixture::ring::Ring,
    frame::ProbeStatus,
};

const SECOND: u64 = 1_000_000_000;
/// When the events begin, on the clock of the kernel.
const BEGIN_NS: u64 = 1000 * SECOND;

/// A kernel in which ranks run; each window that is read is a second of their run, with its events.
struct Fake {
    ring: Option<Ring>,
    lost: u64,
    sink: RefCell<Option<Vec<Event>>>,
}

struct Running {
    ring: Ring,
    events: std::collections::VecDeque<Event>,
    sink: Sink,
    lost: u64,
    windows: u64,
}

impl Kernel for Fake {
    fn attach(&self, _: &Wishes) -> anyhow::Result<Box<dyn Measurement>> {
        anyhow::bail!("single events are wanted")
    }

    fn attach_with_events(&self, _: &Wishes, sink: Sink) -> anyhow::Result<Box<dyn Measurement>> {
        let ring = self.ring.unwrap_or_default();
        let mut events = ring.events(BEGIN_NS + 1);
        if self.ring.is_none() {
            events.clear();
        }
        *self.sink.borrow_mut() = Some(events.clone());
        Ok(Box::new(Running {
            ring,
            events: events.into(),
            sink,
            lost: self.lost,
            windows: 0,
        }))
    }

    fn drop_privileges(&self) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Measurement for Running {
    fn window(&mut self) -> anyhow::Result<Frame> {
        let mut frame = self.ring.window(self.windows, SECOND);
        self.windows += 1;
        let offset_ns = i64::try_from(self.ring.window(0, SECOND).start_unix_ns - BEGIN_NS)?;
        let end_ns = BEGIN_NS + self.windows * SECOND;
        let mut batch = Vec::new();
        while let Some(event) = self.events.pop_front_if(|event| event.time_ns < end_ns) {
            batch.push(event);
        }
        for events in batch.chunks(500) {
            (self.sink)(events, offset_ns)?;
        }
        if self.lost > 0 {
            frame.lost.insert("events".to_owned(), self.lost);
        }
        Ok(frame)
    }

    fn finish(&mut self) -> anyhow::Result<Frame> {
        let mut last = crate::frame::Merge::default();
        last.add(self.window()?);
        while !self.events.is_empty() {
            last.add(self.window()?);
        }
        Ok(last.finish())
    }

    fn probes(&self) -> &[ProbeStatus] {
        &[]
    }
}

fn parsed(arguments: &[&str]) -> InferArgs {
    let line = ["courtside", "infer"].iter().chain(arguments);
    match Cli::try_parse_from(line).unwrap().command {
        Some(Command::Infer(args)) => *args,
        other => panic!("{other:?}"),
    }
}

/// Runs `infer` over these ranks; status and output.
fn with(ring: Option<Ring>, lost: u64, arguments: &[&str]) -> anyhow::Result<(u8, String)> {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let arguments = [&["-o", out.to_str().unwrap()], arguments].concat();
    let kernel = Fake {
        ring,
        lost,
        sink: RefCell::default(),
    };
    let status = run(&parsed(&arguments), &kernel, Path::new("/"));
    Ok((status?, fs::read_to_string(out).unwrap_or_default()))
}

fn iterations(found: &Value) -> Vec<u64> {
    let processes = found["processes"].as_array().unwrap().iter();
    processes
        .map(|process| process["iterations"]["by_turn"]["count"].as_u64().unwrap())
        .collect()
}

/// A whole run, however many windows it takes.
fn long() -> Ring {
    Ring {
        iterations: 1000,
        ..Ring::default()
    }
}

#[test]
fn what_runs_now_is_told_at_the_end_in_one_document() {
    for arguments in [
        &["--json", "-d", "10ms"][..],
        &["--live", "--json", "-d", "10ms"],
    ] {
        let (status, text) = with(Some(long()), 0, arguments).unwrap();
        assert_eq!(status, 0);
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found["source"]["file"], "now");
        assert_eq!(found["source"]["live"], true);
        assert_eq!(found["source"]["lost"], serde_json::json!({}));
        assert_eq!(found["topology"]["shape"], "ring");
        assert_eq!(iterations(&found), [1000; 4]);
        assert!(found["what_if"][0]["predicted_ns"].is_u64());
    }
}

#[test]
fn while_it_runs_there_is_a_line_for_each_interval_and_the_last_one_has_all() {
    let arguments = ["--live", "--json", "-i", "20ms", "-d", "200ms"];
    let (_, text) = with(Some(long()), 3, &arguments).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.len() > 1, "{text}");
    let counts: Vec<u64> = lines.iter().map(|line| iterations(line)[1]).collect();
    assert!(counts.is_sorted() && counts[0] > 0, "{counts:?}");
    assert_eq!(counts.last(), Some(&1000));
    assert!(
        lines
            .iter()
            .all(|line| line["schema"] == "courtside.inference/1")
    );
    let lost: Vec<u64> = lines
        .iter()
        .map(|line| line["source"]["lost"]["events"].as_u64().unwrap())
        .collect();
    assert!(lost.is_sorted() && lost[0] >= 3, "{lost:?}");
}

#[test]
fn for_people_it_is_short_while_it_runs_and_whole_at_the_end() {
    let arguments = ["--live", "-i", "20ms", "-d", "100ms"];
    let (_, text) = with(Some(long()), 0, &arguments).unwrap();
    assert!(
        text.contains("MOST FOR") && text.contains("WHAT IF"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn a_commands_status_is_passed_on_after_what_was_told() {
    let arguments = ["--live", "--json", "--", "sh", "-c", "exit 7"];
    let (status, text) = with(Some(long()), 0, &arguments).unwrap();
    assert_eq!(status, 7);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(iterations(&found), [1000; 4]);
}

#[test]
fn where_nothing_can_be_told_it_is_an_error_with_the_reason() {
    let arguments = ["--live", "--json", "-i", "10ms", "-d", "30ms"];
    let said = format!("{:#}", with(None, 0, &arguments).unwrap_err());
    assert!(said.contains("record --events"), "{said}");
    let arguments = ["--live", "-d", "30ms", "-n", "nobody"];
    let said = format!("{:#}", with(Some(long()), 0, &arguments).unwrap_err());
    assert!(said.contains("no messages between processes"), "{said}");
}

#[test]
fn windows_are_never_longer_than_from_answer_to_answer() {
    let ms = Duration::from_millis;
    assert_eq!(windows(ms(20)), (ms(20), 1));
    assert_eq!(windows(ms(1000)), (ms(1000), 1));
    assert_eq!(windows(ms(2500)), (Duration::from_nanos(833_333_333), 3));
    assert_eq!(over(0), "");
    assert!(over(3).starts_with("\x1b[3A"));
}
