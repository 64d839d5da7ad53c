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
    frame::{Frame, merge},
    model::{State, View, fold},
    record::Recording,
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
