//! What tests of several commands need.
//!
//! In: command lines, windows, single events. Out: what the binary said, recordings. Must not know: what a command means.

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
use serde_json::Value;

pub const SECOND: u64 = 1_000_000_000;

pub fn courtside(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_courtside"))
        .args(arguments)
        .output()
        .unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it said on stdout, where it ended well.
pub fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// That these are what `courtside schema NAME` promises.
pub fn valid<'a>(name: &str, values: impl IntoIterator<Item = &'a Value>) {
    let schema = json(&courtside(&["schema", name]));
    for value in values {
        jsonschema::validate(&schema, value).unwrap();
    }
}

/// Files that are gone when the test ends.
pub struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

/// A header of windows of a second.
pub fn seconds() -> Header {
    Header {
        interval_ns: SECOND,
        ..Header::default()
    }
}

/// A recording of these windows.
pub fn record(path: &str, header: &Header, windows: impl IntoIterator<Item = Frame>) {
    writer(path, header, windows).finish().unwrap();
}

/// A recording of these windows and of what happened in them, which began at `begin_ns` by the events' clock.
pub fn record_events(path: &str, window: impl Fn(u64) -> Frame, begin_ns: u64, events: &[Event]) {
    let start_unix_ns = window(0).start_unix_ns;
    let offset_ns = i64::try_from(start_unix_ns - begin_ns).unwrap();
    let last_ns = events.last().map_or(begin_ns, |event| event.time_ns);
    let windows = (0..=(last_ns - begin_ns) / SECOND).map(window);
    let mut writer = writer(path, &seconds(), windows);
    for batch in events.chunks(MAX_EVENTS.min(1000)) {
        let (from, to) = (batch[0].time_ns, batch[batch.len() - 1].time_ns);
        let payload = encode_events(batch, offset_ns);
        let from_unix_ns = from.wrapping_add_signed(offset_ns);
        writer
            .record(Kind::EVENTS, from_unix_ns, to - from, &payload)
            .unwrap();
    }
    writer.finish().unwrap();
}

fn writer(
    path: impl AsRef<Path>,
    header: &Header,
    windows: impl IntoIterator<Item = Frame>,
) -> Writer {
    let mut writer = Writer::new(File::create(path).unwrap(), header).unwrap();
    for window in windows {
        writer.frame(&window).unwrap();
    }
    writer
}
