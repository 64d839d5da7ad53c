//! `courtside guard` as its users call it, over recordings with a planted neighbour, or none.
//!
//! In: windows made here from seeds. Out: exit status, stdout, stderr.

use std::{path::Path, process::Output};

use courtside::frame::{Cpu, Frame};
use courtside_core::fixture::frames;
use fastrand::Rng;
use serde_json::Value;

use crate::shared::{Folder, SECOND, courtside, record, seconds, text, valid};

const HOG: u32 = 6;

/// A window of the chain load → web → app → store, in which app waits about 150 µs for a CPU with each request.
fn window(dice: &mut Rng, number: u64, slower: f64) -> Frame {
    let requests = dice.u64(95..=105);
    let mut frame = frames::chain(requests);
    frame.start_unix_ns += number * SECOND;
    let about = 0.9 + 0.2 * dice.f64();
    for cpu in &mut frame.cpu {
        if cpu.image == frames::APP {
            cpu.run_queue_ns = (150_000.0 * about * slower * 2.0 * requests as f64) as u64;
        }
    }
    frame
}

/// Quiet windows; from `hog_from` on a hog has most of a CPU, for twenty windows.
fn windows(count: u64, seed: u64, hog_from: Option<u64>) -> impl Iterator<Item = Frame> {
    let mut dice = Rng::with_seed(seed);
    (0..count).map(move |number| {
        let hog = hog_from.is_some_and(|from| (from..from + 20).contains(&number));
        let mut frame = window(&mut dice, number, if hog { 5.0 } else { 1.0 });
        if hog {
            frame.images.push(frames::image(HOG, "hog", &[]));
            frame.cpu.push(Cpu {
                image: HOG,
                on_cpu_ns: 880_000_000 + dice.u64(0..20_000_000),
                ..Cpu::default()
            });
        }
        frame
    })
}

struct Files {
    folder: Folder,
}

impl Files {
    fn new() -> Self {
        Self {
            folder: Folder::new(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path(name)
    }

    fn record(&self, name: &str, count: u64, seed: u64, hog_from: Option<u64>) -> String {
        let path = self.path(name);
        record(&path, &seconds(), windows(count, seed, hog_from));
        path
    }

    /// A spec of 60 quiet windows.
    fn spec(&self) -> String {
        let quiet = self.record("quiet.rec", 60, 1, None);
        let spec = self.path("usual.json");
        let output = courtside(&["guard", "learn", &quiet, "-o", &spec]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        spec
    }
}

fn lines(output: &Output) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap();
    text(&output.stdout).lines().map(parse).collect()
}

#[test]
fn a_hog_of_yesterday_is_found_with_the_spec_of_a_quiet_time() {
    let files = Files::new();
    let spec = files.spec();
    let learned: Value = serde_json::from_str(&std::fs::read_to_string(&spec).unwrap()).unwrap();
    valid("spec", [&learned]);
    assert_eq!(learned["schema"], "courtside.spec/1");
    assert_eq!(learned["sources"][0]["windows"], 60);
    let day = files.record("day.rec", 120, 2, Some(60));
    let output = courtside(&["guard", "replay", &day, "--spec", &spec, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines = lines(&output);
    valid("interference", &lines);
    let of = |event: &str| -> Vec<&Value> {
        let found = lines.iter().filter(|line| line["event"] == event);
        found.collect()
    };
    let slow = of("anomaly");
    let first = slow.first().unwrap();
    assert_eq!(first["victim"], "program:app");
    assert_eq!(first["signal"], "run_queue_per_request");
    assert_eq!(first["self_inflicted"], false);
    assert_eq!(first["suspects"][0]["component"], "program:hog");
    // Told at the end of the third window with the hog.
    let start = frames::chain(1).start_unix_ns;
    assert_eq!(first["time_unix_ns"], start + 63 * SECOND);
    let value = first["value"].as_f64().unwrap();
    assert!((600_000.0..900_000.0).contains(&value), "{first}");
    assert!(slow.iter().all(|line| line["victim"] == "program:app"));
    assert_eq!(of("cleared").len(), 1);
    // The same for people, and only for the service that was asked for.
    let output = courtside(&["guard", "replay", &day, "--spec", &spec]);
    let said = text(&output.stdout);
    for part in ["slow", "run_queue_per_request", "1. hog", "FIRST SUSPECT"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let output = courtside(&[
        "guard", "replay", &day, "--spec", &spec, "-n", "web", "--json",
    ]);
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
}

#[test]
fn who_was_most_aggressive_is_told_of_the_windows_asked_for() {
    let files = Files::new();
    let spec = files.spec();
    let day = files.record("day.rec", 120, 2, Some(60));
    let replay = |window: &str, more: &[&str]| {
        let arguments = ["guard", "replay", &day, "--spec", &spec, "--window", window];
        courtside(&[&arguments[..], more].concat())
    };
    // The hog is there in windows 60 to 79, and told at the end of 62.
    let said = text(&replay("70..75", &[]).stdout);
    assert!(said.contains("MOST AGGRESSIVE"), "{said}");
    assert!(said.contains("6 windows: 1 times"), "{said}");
    let hog: Vec<String> = said
        .lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .find(|words: &Vec<String>| {
            words.len() > 5 && words[0] == "app" && words[1] == "hog" && words[2] == "6"
        })
        .unwrap_or_else(|| panic!("{said}"));
    // First, named and slow in all six.
    assert_eq!(hog[2..5], ["6", "6", "6"]);
    // What has begun before is told first, with its own time.
    let lines = lines(&replay("70..75", &["--json"]));
    assert_eq!(lines[0]["event"], "anomaly");
    let start = frames::chain(1).start_unix_ns;
    assert_eq!(lines[0]["time_unix_ns"], start + 63 * SECOND);
    // Before it, there is nobody.
    let said = text(&replay("10..20", &[]).stdout);
    assert!(said.contains("11 windows: 0 times"), "{said}");
    assert!(!said.contains("MOST AGGRESSIVE"), "{said}");
    let output = replay("119..120", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("has no window 120: it has 0 to 119"));
}

#[test]
fn what_is_told_goes_into_tables_too() {
    let files = Files::new();
    let spec = files.spec();
    let day = files.record("day.rec", 90, 2, Some(60));
    let told = files.path("told");
    let output = courtside(&[
        "guard",
        "replay",
        &day,
        "--spec",
        &spec,
        "--json",
        "--parquet",
        &told,
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!output.stdout.is_empty());
    for name in ["interference", "suspects"] {
        let path = Path::new(&told).join(name).with_extension("parquet");
        let bytes = std::fs::read(path).unwrap();
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    }
}

#[test]
fn quiet_windows_and_a_hog_that_was_always_there_are_no_interference() {
    let files = Files::new();
    let spec = files.spec();
    let quiet = files.record("other.rec", 120, 3, None);
    let output = courtside(&["guard", "replay", &quiet, "--spec", &spec]);
    let said = text(&output.stdout);
    assert!(said.contains("120 windows: 0 times"), "{said}");
    // Without a spec the first minute is what is usual, which is said.
    let output = courtside(&["guard", "replay", &quiet, "--json"]);
    let lines = lines(&output);
    assert!(!lines.is_empty());
    for line in lines {
        assert_eq!(line["event"], "learned", "{line}");
        assert!(line["reason"].as_str().unwrap().contains("60 windows"));
    }
}

#[test]
fn specs_are_joined_and_recordings_put_together() {
    let files = Files::new();
    let spec = files.spec();
    let more = files.record("more.rec", 40, 4, None);
    let joined = files.path("joined.json");
    let output = courtside(&["guard", "learn", &more, "--with", &spec, "-o", &joined]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let joined: Value = serde_json::from_str(&std::fs::read_to_string(&joined).unwrap()).unwrap();
    valid("spec", [&joined]);
    assert_eq!(joined["specs"][0]["windows"], 100);
    assert_eq!(joined["sources"].as_array().unwrap().len(), 2);
    let output = courtside(&["guard", "learn", &more]);
    let said = text(&output.stdout);
    assert!(said.contains("run_queue_per_request"), "{said}");
    assert!(said.contains("Learned from 40 windows"), "{said}");
}

#[test]
fn what_cannot_be_learned_or_read_is_status_1_and_says_why() {
    let files = Files::new();
    let short = files.record("short.rec", 7, 5, None);
    for (arguments, words) in [
        (
            vec!["guard", "learn", &short],
            "30 are needed to know what is usual",
        ),
        (
            vec!["guard", "replay", &short, "--spec", &short],
            "courtside guard learn",
        ),
        (
            vec!["guard", "learn", &short, "-o", &short],
            "is the recording that is read",
        ),
    ] {
        let output = courtside(&arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(output.stdout.is_empty());
    }
    for arguments in [&["guard", "replay"][..], &["guard", "--act", "kill"]] {
        assert_eq!(courtside(arguments).status.code(), Some(2));
    }
}
