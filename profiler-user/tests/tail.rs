//! `courtside tail` as its users call it, over recordings in which some requests meet something known, and over some that
//! cannot be told from.
//!
//! In: windows and single events made here. Out: exit status, stdout, stderr, pages.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::{
    fs::File,
    path::Path,
    process::{Command, Output},
};

use courtside::{
    event::Event,
    frame::Frame,
    record::{Header, Kind, MAX_EVENTS, Writer, encode_events},
};
use courtside_core::fixture::{
    frames,
    requests::{BATCH, HOG, Meets, USUAL_NS, events},
};
use serde_json::Value;

const TCP: u8 = 1;
const SECOND: u64 = 1_000_000_000;

fn courtside(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_courtside"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Windows of a second in which load, web, store and others do what the events say, about.
fn window(number: u64) -> Frame {
    let mut frame = frames::chain(100);
    frame.start_unix_ns += number * SECOND;
    frame.images.push(frames::image(HOG, "hog", &[]));
    frame.images.push(frames::image(BATCH, "batch", &[]));
    frame
}

/// A recording of these requests; `offset_ns` makes wall-clock time of the events' time.
fn record(path: &Path, requests: &[Meets]) {
    let header = Header {
        interval_ns: SECOND,
        ..Header::default()
    };
    let begin_ns = 1000 * SECOND;
    let start_unix_ns = window(0).start_unix_ns;
    let offset_ns = i64::try_from(start_unix_ns - begin_ns).unwrap();
    let all: Vec<Event> = events(begin_ns + 1, TCP, requests.iter().copied());
    let last_ns = all.last().map_or(begin_ns, |event| event.time_ns);
    let mut writer = Writer::new(File::create(path).unwrap(), &header).unwrap();
    for number in 0..=(last_ns - begin_ns) / SECOND {
        writer.frame(&window(number)).unwrap();
    }
    for batch in all.chunks(MAX_EVENTS.min(1000)) {
        let (from, to) = (batch[0].time_ns, batch[batch.len() - 1].time_ns);
        let payload = encode_events(batch, offset_ns);
        let from_unix_ns = from.wrapping_add_signed(offset_ns);
        writer
            .record(Kind::EVENTS, from_unix_ns, to - from, &payload)
            .unwrap();
    }
    writer.finish().unwrap();
}

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

fn mixture(count: usize, meets: Meets) -> Vec<Meets> {
    let one = |n: usize| if n % 100 == 37 { meets } else { Meets::Nothing };
    (0..count).map(one).collect()
}

#[test]
fn the_slowest_hundredth_is_told_by_part_size_and_by_whom() {
    let folder = Folder::new();
    let file = folder.path("x.rec");
    record(file.as_ref(), &mixture(1000, Meets::Hog(7_000_000)));
    let output = courtside(&["tail", &file, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let tail: Value = serde_json::from_slice(&output.stdout).unwrap();
    let schema = courtside(&["schema", "tail"]);
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    jsonschema::validate(&schema, &tail).unwrap();
    assert_eq!(tail["schema"], "courtside.tail/1");
    assert_eq!(tail["entry"], "program:web");
    assert_eq!(tail["port"], 80);
    assert_eq!(tail["requests"], 1000);
    assert_eq!(tail["slow"]["count"], 10);
    assert_eq!(tail["median"]["mean_ns"], USUAL_NS as f64);
    let first = &tail["differences"][0];
    assert_eq!(first["component"], "program:web");
    assert_eq!(first["part"], "run_queue");
    assert_eq!(first["more_ns"], 7e6 - 3e3);
    assert_eq!(first["by"][0]["component"], "program:hog");
    assert_eq!(first["by"][0]["ns"], 7e6);
    assert_eq!(first["seen_in"], 10);
    assert_eq!(tail["exemplars"].as_array().unwrap().len(), 10);
    // For people the same.
    let output = courtside(&["tail", &file, "--entry", "web:80"]);
    let said = text(&output.stdout);
    assert!(
        said.contains("run queue") && said.contains("hog 7.00 ms"),
        "{said}"
    );
    assert!(!said.contains('\u{1b}'), "{said}");
    // And on a page.
    let page = folder.path("x.html");
    let output = courtside(&["report", &file, "-o", &page]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("hog 7.00 ms") && page.contains("10 of 10"));
}

#[test]
fn several_recordings_are_one_answer() {
    let folder = Folder::new();
    let [a, b] = ["a.rec", "b.rec"].map(|name| folder.path(name));
    record(a.as_ref(), &mixture(500, Meets::Lock(4_000_000)));
    record(b.as_ref(), &mixture(700, Meets::Disk(2_000_000)));
    let output = courtside(&["tail", &a, &b, "--json", "--exemplars", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let tail: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(tail["requests"], 1200);
    assert_eq!(tail["source"]["files"].as_array().unwrap().len(), 2);
    let exemplars = tail["exemplars"].as_array().unwrap();
    assert_eq!(exemplars.len(), 3);
    assert_eq!(exemplars[0]["waker"]["comm"], "batch");
    assert_eq!(exemplars[0]["waker"]["component"], "program:batch");
}

#[test]
fn what_cannot_be_told_is_status_1_and_says_which_command_helps() {
    let folder = Folder::new();
    let [plain, few] = ["plain.rec", "few.rec"].map(|name| folder.path(name));
    let mut writer = Writer::new(File::create(&plain).unwrap(), &Header::default()).unwrap();
    writer.frame(&window(0)).unwrap();
    writer.finish().unwrap();
    record(few.as_ref(), &mixture(40, Meets::Nothing));
    for (file, words) in [
        (&plain, "has no single events"),
        (&few, "program:web:80 served 40 requests that have a time"),
    ] {
        let output = courtside(&["tail", file]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(words) && said.contains("courtside record --events -o FILE"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(output.stdout.is_empty());
        // What is read is not written over.
        let output = courtside(&["tail", &few, "-o", &few]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains("is the recording that is read"), "{said}");
    }
    let nowhere = courtside(&["tail", &few, "--entry", "nobody"]);
    assert_eq!(nowhere.status.code(), Some(1));
    let said = text(&nowhere.stderr);
    assert!(said.contains("there is no entry nobody"), "{said}");
    for wrong in [
        &["tail", &few, "-d", "1s"][..],
        &["tail", &few, "--exemplars", "some"],
    ] {
        assert_eq!(courtside(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
