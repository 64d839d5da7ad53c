//! `courtside infer` as its users call it, over recordings of ranks whose run is known, and over some that nothing can be told
//! from.
//!
//! In: windows and single events made here. Out: exit status, stdout, stderr.

use courtside::event::{Event, What};
use courtside_core::fixture::ring::Ring;
use serde_json::Value;

use crate::shared::{Folder, SECOND, courtside, json, record, record_events, seconds, text, valid};

/// A recording of these ranks, without the events that are not wanted.
fn recorded_of(path: &str, ring: Ring, wanted: impl Fn(&Event) -> bool) {
    let begin_ns = 1000 * SECOND;
    let mut events = ring.events(begin_ns + 1);
    events.retain(wanted);
    record_events(
        path,
        |number| ring.window(number, SECOND),
        begin_ns,
        &events,
    );
}

pub fn recorded(folder: &Folder, name: &str, ring: Ring) -> String {
    let path = folder.path(name);
    recorded_of(&path, ring, |_| true);
    path
}

/// Rank 1's CPU is a hog's for 3 ms in each iteration of 2 ms.
pub fn hogged() -> Ring {
    Ring {
        hog: Some((1, 3_000_000)),
        ..Ring::default()
    }
}

/// JSON that is valid by its schema.
fn told(schema: &str, arguments: &[&str]) -> Value {
    let value = json(&courtside(&[arguments, &["--json"]].concat()));
    valid(schema, [&value]);
    value
}

#[test]
fn a_ring_with_a_hog_is_told_and_what_it_would_take_without() {
    let folder = Folder::new();
    let free = recorded(&folder, "free.rec", Ring::default());
    let file = recorded(&folder, "x.rec", hogged());
    let truth = told("inference", &["infer", &free]);
    let wish = "rank0->rank1: latency=+1ms";
    let found = told("inference", &["infer", &file, "--what-if", wish]);
    assert_eq!(found["schema"], "courtside.inference/1");
    let processes = found["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 4);
    for process in processes {
        assert_eq!(process["iterations"]["by_turn"]["count"], 200);
    }
    assert_eq!(found["topology"]["shape"], "ring");
    assert_eq!(found["topology"]["match"], 1.0);
    assert_eq!(found["outsiders"][0]["name"], "hog");
    let scenario = |name: &str| {
        let all = found["what_if"].as_array().unwrap().iter();
        all.clone()
            .find(|scenario| scenario["scenario"] == name)
            .unwrap()
    };
    let predicted = scenario("no_outside_load")["predicted_ns"]
        .as_f64()
        .unwrap();
    let took = truth["self_check"]["measured_ns"].as_f64().unwrap();
    assert!((predicted / took - 1.0).abs() < 0.01, "{predicted} {took}");
    assert!(scenario(wish)["predicted_ns"].is_u64());
    assert!(found["processes"][0]["time"]["spin_ns"].is_null());
    // For people the same.
    let output = courtside(&["infer", &file]);
    let said = text(&output.stdout);
    assert!(
        said.contains("ring") && said.contains("no_outside_load") && said.contains("self-check"),
        "{said}"
    );
    assert!(!said.contains('\u{1b}'), "{said}");
}

#[test]
fn the_report_shows_the_application_as_it_is_told() {
    let folder = Folder::new();
    let file = recorded(&folder, "x.rec", hogged());
    let page = |file: &str| {
        let page = folder.path("x.html");
        let output = courtside(&["report", file, "-o", &page]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        std::fs::read_to_string(page).unwrap()
    };
    let shown = page(&file);
    let found = told("inference", &["infer", &file]);
    let said = found["findings"][0]["says"].as_str().unwrap();
    assert!(
        shown.contains("<section id=\"parallel\">") && shown.contains(said),
        "{said}"
    );
    // Every place of the heat map is a link, and no other.
    let links = found["network"].as_array().unwrap();
    assert!(links.len() >= 4, "{}", links.len());
    assert_eq!(shown.matches(", messages: ").count(), links.len());
    for link in links {
        let number = |name: &str| link[name].as_u64().unwrap();
        let (from, to) = (link["from"].as_str().unwrap(), link["to"].as_str().unwrap());
        let title = format!(
            "<title>{from} → {to}: {}, messages: {}</title>",
            courtside::units::bytes(number("bytes")),
            courtside::units::count(number("messages"))
        );
        assert!(shown.contains(&title), "{title}");
    }
    // The same events are seen, though those of requests are looked at in the same pass.
    let events = found["source"]["events"].as_u64().unwrap();
    let events = courtside::units::count(events);
    assert!(
        shown.contains(&format!("rests on {events} single events")),
        "{events}"
    );
    // Without single events, and of two processes, there is nothing to show.
    let silent = folder.path("silent.rec");
    recorded_of(&silent, Ring::default(), |_| false);
    assert!(!page(&silent).contains("id=\"parallel\""));
    let two = Ring {
        ranks: 2,
        ..Ring::default()
    };
    let two = recorded(&folder, "two.rec", two);
    assert!(!page(&two).contains("id=\"parallel\""));
}

#[test]
fn two_runs_are_compared_and_a_load_is_calibrated() {
    let folder = Folder::new();
    let free = recorded(&folder, "free.rec", Ring::default());
    let loaded = recorded(&folder, "loaded.rec", hogged());
    let found = told("inference-compare", &["infer", "compare", &free, &loaded]);
    let ratio = found["time_ratio"].as_f64().unwrap();
    assert!((ratio - 5.0 / 2.0).abs() < 0.05, "{ratio}");
    assert!(found["fingerprint_distance"].is_null());
    assert!(found["fingerprint_unknown"].is_string());
    let arguments = ["infer", "calibrate", "--pair", &free, &loaded, &free];
    let found = told("inference-calibration", &arguments);
    let slower = found["slowdown"]["work_conserving"].as_f64().unwrap();
    assert!((slower - 5.0 / 2.0).abs() < 0.05, "{slower}");
    let wrong = courtside(&["infer", "calibrate", "--pair", &loaded, &free]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("is not slower"));
}

#[test]
fn what_cannot_be_told_is_status_1_and_says_which_command_helps() {
    let folder = Folder::new();
    let [plain, silent] = ["plain.rec", "silent.rec"].map(|name| folder.path(name));
    record(&plain, &seconds(), [Ring::default().window(0, SECOND)]);
    recorded_of(&silent, Ring::default(), |event| {
        !matches!(event.what, What::Send { .. } | What::Receive { .. })
    });
    for (file, words) in [
        (&plain, "has no single events"),
        (&silent, "Shared memory is invisible"),
    ] {
        let output = courtside(&["infer", file]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(words) && said.contains("courtside record --events -o FILE"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(output.stdout.is_empty());
        // What is read is not written over.
        let output = courtside(&["infer", &silent, "-o", &silent]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains("is the recording that is read"), "{said}");
    }
    for wrong in [
        &["infer", &silent, "--what-if", "rank3"][..],
        &["infer", &silent, "-d", "5s"],
        &["infer", "compare", &silent],
    ] {
        assert_eq!(courtside(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
