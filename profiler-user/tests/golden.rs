//! Recordings of every version say what they said when they were made.
//!
//! In: `tests/golden/`. Out: nothing, or where what is read now differs. Later versions may say more, never else. A new
//! recording gets its answers with `COURTSIDE_GOLDEN=new`; those that exist are never changed.
#![expect(clippy::unwrap_used, reason = "what cannot be read fails the test")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use courtside::{
    event::{Connection, Disk, Event, Flow, KINDS, Off, Task, What},
    frame::{Frame, merge},
    model::{State, View, fold},
    record::{Header, Kind, Recording, Writer, encode_events},
};
use serde_json::{Value, json};

fn recordings() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let folder = |path: &Path| fs::read_dir(path).unwrap().map(|e| e.unwrap().path());
    let mut found: Vec<PathBuf> = folder(&golden)
        .filter(|version| version.is_dir())
        .flat_map(|version| folder(&version))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rec"))
        .collect();
    found.sort();
    found
}

/// All that a recording says.
fn said(path: &Path) -> Value {
    let recording = Recording::open(path).unwrap();
    let mut frames: Vec<Frame> = Vec::new();
    let mut state = State::default();
    let mut windows = Vec::new();
    for frame in recording.frames() {
        windows.push(match frame {
            Ok(frame) => {
                let snapshot = fold(&mut state, &frame, &View::default());
                frames.push(frame);
                without_version(serde_json::to_value(snapshot).unwrap())
            }
            Err(error) => json!(error.to_string()),
        });
    }
    let whole = fold(&mut State::default(), &merge(frames), &View::default());
    let faults: Vec<String> = recording
        .verify()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    json!({
        "header": recording.header(),
        "finished": recording.is_finished(),
        "faults": faults,
        "windows": windows,
        "whole": without_version(serde_json::to_value(whole).unwrap()),
    })
}

/// A snapshot names the version that made it, which is not that of the recording.
fn without_version(mut snapshot: Value) -> Value {
    snapshot.as_object_mut().unwrap().remove("tool_version");
    snapshot
}

/// Where what is said now is not what was said then; fields may have been added.
fn difference(then: &Value, now: &Value, place: &str) -> Option<String> {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => then.iter().find_map(|(name, then)| {
            let now = now.get(name).unwrap_or(&Value::Null);
            difference(then, now, &format!("{place}.{name}"))
        }),
        (Value::Array(then), Value::Array(now)) if then.len() == now.len() => (0..)
            .zip(then.iter().zip(now))
            .find_map(|(at, (then, now)): (usize, _)| {
                difference(then, now, &format!("{place}[{at}]"))
            }),
        _ if then == now => None,
        _ => Some(format!("{place}: {then} then, {now} now")),
    }
}

#[test]
fn every_golden_recording_says_what_it_always_said() {
    let recordings = recordings();
    assert!(recordings.len() >= 5);
    for path in recordings {
        let now = said(&path);
        let answers = path.with_extension("json");
        if !answers.exists() && env::var_os("COURTSIDE_GOLDEN").is_some_and(|wish| wish == "new") {
            fs::write(&answers, serde_json::to_string(&now).unwrap() + "\n").unwrap();
        }
        let then = fs::read_to_string(&answers).unwrap();
        let then: Value = serde_json::from_str(&then).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        assert_eq!(difference(&then, &now, &name), None);
        // And the same again.
        assert_eq!(now.to_string(), said(&path).to_string());
    }
}

/// One event of each kind, with numbers small and large.
fn one_of_each() -> Vec<Event> {
    let disk = Disk {
        request: 0xFFFF_8880_1234_5678,
        bytes: 4096,
        image: 7,
        write: true,
    };
    let task = Task {
        tgid: 42,
        image: 7,
        born_ns: 1_000_000,
        off_ns: 2_000_000,
        wake_ns: 3_000_000,
        off: Off::Sleep,
        prompted: true,
        comm: *b"web\0\0\0\0\0\0\0\0\0\0\0\0\0",
    };
    let flow = Flow {
        image: 7,
        peer: 0x8000_0001,
        port: 8080,
        transport: 1,
        role: 2,
    };
    let connection = Connection {
        number: 900,
        local: *b"\0\0\0\0\0\0\0\0\0\0\xFF\xFF\x7F\0\0\x01",
        remote: *b"\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x01",
        local_port: 8080,
        remote_port: 65535,
        netns: 4_026_531_840,
        flow,
        midlife: true,
    };
    let whats = [
        What::Task(Box::new(task)),
        What::Connection(Box::new(connection)),
        What::Switch {
            off: Off::BlockIo,
            next_tid: 43,
        },
        What::Wake {
            tid: 42,
            waited: true,
        },
        What::Receive {
            connection: 900,
            bytes: 100,
            arrived_ns: 5_000_000_100,
            known: true,
            floor_ns: 150_000,
            from_unprompted: true,
            waits: false,
            flow,
        },
        What::Send {
            connection: 900,
            bytes: u32::MAX,
            began_ns: 5_000_000_500,
            known: true,
            flow,
        },
        What::Arrival { connection: 901 },
        What::State {
            connection: 900,
            before: 1,
            after: 7,
        },
        What::DiskStart(disk),
        What::DiskEnd { disk, last: true },
        What::Fork {
            tid: 44,
            tgid: 44,
            image: 7,
        },
        What::Exec {
            old_tid: 44,
            image: 8,
            comm: *b"app.py\0\0\0\0\0\0\0\0\0\0",
        },
        What::Exit,
    ];
    let event = |(n, what): (u64, What)| Event {
        time_ns: 5_000_001_000 + n * n * 1000,
        tid: 42 + n as u32 / 5,
        cpu: n as u16 % 3,
        what,
    };
    (0..).zip(whats).map(event).collect()
}

/// Looks for messages in vain, which were added later still.
fn looks() -> Vec<Event> {
    let looks = |time_ns, first_ns| Event {
        time_ns,
        tid: 42,
        cpu: 1,
        what: What::Look { first_ns },
    };
    vec![
        looks(5_000_001_000, 5_000_000_900),
        looks(5_900_000_000, 5_000_200_000),
    ]
}

/// What later versions added, one of each kind.
fn added_since() -> Vec<Event> {
    let ns = 89_000_000;
    vec![
        Event {
            time_ns: 5_000_001_000,
            tid: 42,
            cpu: 1,
            what: What::Throttled { ns },
        },
        Event {
            time_ns: 5_000_002_000,
            tid: 43,
            cpu: 1,
            what: What::Exit,
        },
    ]
}

#[test]
fn golden_batches_of_events_are_read_as_they_were_written() {
    is_read_as_it_was_written("events.rec", &one_of_each());
    is_read_as_it_was_written("events-added.rec", &added_since());
    is_read_as_it_was_written("events-looks.rec", &looks());
    let kinds: std::collections::BTreeSet<u8> = one_of_each()
        .iter()
        .chain(&added_since())
        .chain(&looks())
        .map(Event::kind)
        .collect();
    assert_eq!(kinds.len(), KINDS.len());
}

fn is_read_as_it_was_written(name: &str, written: &[Event]) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/v1");
    let path = golden.join(name);
    let offset = 1_800_000_000_000_000_000;
    if !path.exists() && env::var_os("COURTSIDE_GOLDEN").is_some_and(|wish| wish == "new") {
        let mut writer = Writer::new(fs::File::create(&path).unwrap(), &Header::default()).unwrap();
        let payload = encode_events(written, offset);
        let start = offset as u64 + written[0].time_ns;
        writer
            .record(Kind::EVENTS, start, 144_000, &payload)
            .unwrap();
        writer.finish().unwrap();
    }
    let recording = Recording::open(&path).unwrap();
    let mut events = recording.events();
    let read: Vec<Event> = events.by_ref().map(Result::unwrap).collect();
    assert_eq!(read, written);
    assert_eq!(events.unix_offset_ns(), offset);
}

#[test]
fn a_difference_is_found_and_an_addition_is_none() {
    let then = json!({ "a": [1, { "b": null }], "c": 0.1 });
    let more = json!({ "a": [1, { "b": null, "new": 2 }], "c": 0.1, "also": [] });
    assert_eq!(difference(&then, &more, "x"), None);
    for other in [
        json!({ "a": [1, { "b": 0 }], "c": 0.1 }),
        json!({ "a": [1], "c": 0.1 }),
        json!({ "a": [1, { "b": null }] }),
    ] {
        assert!(difference(&then, &other, "x").is_some(), "{other}");
    }
}
