//! Recordings damaged on purpose, from a seed: whatever the bytes are, the reader and all behind it cope.
//!
//! In: small recordings. Out: nothing, or the seed that breaks something. `COURTSIDE_DAMAGE_SECONDS` makes it go on for
//! that time; `COURTSIDE_DAMAGE_SEED` tries one seed again.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::{
    env, fs,
    ops::Range,
    panic,
    path::Path,
    time::{Duration, Instant},
};

use courtside::{
    event::{Connection, Event, Flow, Off, What},
    frame::Frame,
    model::State,
    record::{Header, Kind, Recording, Writer, encode_events},
};
use fastrand::Rng;

#[path = "../../fuzz/src/exercise.rs"]
mod exercise;

const CASES: u64 = 1000;

/// A part of what has that length, not longer than `longest`.
fn part(dice: &mut Rng, end: usize, longest: usize) -> Range<usize> {
    let from = dice.usize(..end);
    from..(from + 1 + dice.usize(..longest)).min(end)
}

/// Damages bytes in one to four places.
fn damage(bytes: &mut Vec<u8>, dice: &mut Rng) {
    for _ in 0..1 + dice.usize(..4) {
        if bytes.is_empty() {
            return;
        }
        let at = dice.usize(..bytes.len());
        match dice.usize(..7) {
            0 => bytes[at] ^= 1 << dice.usize(..8),
            1 => bytes[at] = dice.u8(..),
            2 => bytes.truncate(at),
            3 => {
                let range = part(dice, bytes.len(), 200);
                bytes.drain(range);
            }
            4 => {
                let copy = bytes[part(dice, bytes.len(), 400)].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let numbers = [0, 1, 0xFF, u64::MAX, u64::MAX / 2, 1 << 31, 1 << 25];
                let number = numbers[dice.usize(..numbers.len())].to_le_bytes();
                let size = if dice.usize(..2) == 0 { 4 } else { 8 };
                for (byte, new) in bytes[at..].iter_mut().zip(&number[..size]) {
                    *byte = *new;
                }
            }
            _ => {
                let range = part(dice, bytes.len(), 64);
                bytes[range].fill(0);
            }
        }
    }
}

/// Damages the text of a window: other numbers, missing and repeated pieces.
fn damage_text(text: &str, dice: &mut Rng) -> String {
    let mut text = text.to_owned();
    for _ in 0..1 + dice.usize(..4) {
        let digits: Vec<(usize, &str)> = text
            .match_indices(|c: char| c.is_ascii_digit())
            .filter(|&(at, _)| !text[..at].ends_with(|c: char| c.is_ascii_digit()))
            .collect();
        if digits.is_empty() {
            return text;
        }
        let from = digits[dice.usize(..digits.len())].0;
        let rest = &text[from..];
        let length = rest.find(|c: char| !c.is_ascii_digit());
        let to = from + length.unwrap_or(rest.len());
        let numbers = [
            "0",
            "1",
            "2147483648",
            "4294967295",
            "18446744073709551615",
            "9223372036854775808",
            "65535",
            "-1",
            "1e300",
            "null",
        ];
        text.replace_range(from..to, numbers[dice.usize(..numbers.len())]);
    }
    text
}

fn frames() -> Vec<Frame> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/v1/every.rec");
    let recording = Recording::open(&golden).unwrap();
    recording.frames().map(Result::unwrap).collect()
}

fn recording(payloads: &[Vec<u8>]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = Writer::new(file.reopen().unwrap(), &Header::default()).unwrap();
    for payload in payloads {
        writer.record(Kind::WINDOW, 1, 2, payload).unwrap();
    }
    writer.record(Kind::EVENTS, 1, 2, b"events").unwrap();
    writer.finish().unwrap();
    fs::read(file.path()).unwrap()
}

/// Tries one seed after the other.
fn try_all(mut one: impl FnMut(&mut Rng)) {
    let number = |name| {
        env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    if let Some(seed) = number("COURTSIDE_DAMAGE_SEED") {
        return one(&mut Rng::with_seed(seed));
    }
    let time = number("COURTSIDE_DAMAGE_SECONDS").map(Duration::from_secs);
    let begun = Instant::now();
    let mut seed = 0;
    while time.map_or(seed < CASES, |time| begun.elapsed() < time) {
        let result =
            panic::catch_unwind(panic::AssertUnwindSafe(|| one(&mut Rng::with_seed(seed))));
        assert!(result.is_ok(), "COURTSIDE_DAMAGE_SEED={seed} breaks it");
        seed += 1;
    }
    println!("{seed} cases");
}

#[test]
fn damaged_bytes_break_nothing() {
    let payloads: Vec<_> = frames()
        .iter()
        .map(|f| serde_json::to_vec(f).unwrap())
        .collect();
    let sound = recording(&payloads);
    try_all(|dice| {
        let mut bytes = sound.clone();
        damage(&mut bytes, dice);
        exercise::recording(&bytes);
    });
}

/// All kinds that tell times and sizes.
fn what(n: u64) -> What {
    let flow = Flow {
        image: n as u32 % 2 + 1,
        peer: n as u32 % 3,
        port: 80,
        transport: n as u8 % 3 + 1,
        role: n as u8 % 3,
    };
    let connection = n % 5;
    match n % 9 {
        0 => What::Arrival { connection },
        1 => What::Wake {
            tid: n as u32 % 7,
            waited: true,
        },
        2 => What::Connection(Box::new(Connection {
            number: connection,
            flow,
            ..Connection::default()
        })),
        3 | 7 => What::Send {
            connection,
            bytes: u32::MAX,
            began_ns: n * 1000 - 10,
            known: true,
            flow,
        },
        4 | 8 => What::Receive {
            connection,
            bytes: u32::MAX,
            arrived_ns: n * 1000 - 500,
            known: true,
            floor_ns: 0,
            from_unprompted: false,
            waits: false,
            flow,
        },
        5 => What::Switch {
            off: Off::Sleep,
            next_tid: n as u32 % 7,
        },
        _ if n.is_multiple_of(2) => What::Exit,
        _ => What::Fork {
            tid: n as u32 % 7,
            tgid: 1,
            image: flow.image,
        },
    }
}

#[test]
fn batches_of_events_that_say_anything_break_nothing() {
    let events: Vec<Event> = (0..200u64)
        .map(|n| Event {
            time_ns: n * 1000,
            tid: n as u32 % 7,
            cpu: n as u16 % 2,
            what: what(n),
        })
        .collect();
    let sound = encode_events(&events, 5);
    let window = serde_json::to_vec(&frames()[0]).unwrap();
    try_all(|dice| {
        let mut payload = sound.clone();
        damage(&mut payload, dice);
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = Writer::new(file.reopen().unwrap(), &Header::default()).unwrap();
        for payload in [&sound, &payload, &sound] {
            writer.record(Kind::EVENTS, 1, 2, payload).unwrap();
        }
        writer.record(Kind::WINDOW, 1, 2, &window).unwrap();
        drop(writer);
        exercise::recording(&fs::read(file.path()).unwrap());
    });
}

#[test]
fn windows_that_say_anything_break_nothing() {
    let frames = frames();
    let text = serde_json::to_string(&frames[0]).unwrap();
    try_all(|dice| {
        let damaged = damage_text(&text, dice);
        let Ok(frame) = serde_json::from_str::<Frame>(&damaged) else {
            return;
        };
        let mut state = State::default();
        exercise::look(&mut state, &frame);
        exercise::look(
            &mut state,
            &courtside::frame::merge([frames[1].clone(), frame]),
        );
    });
}
