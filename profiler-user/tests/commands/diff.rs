//! `courtside diff` as its users call it, over recordings with a planted change of known size, or none.
//!
//! In: windows made here from seeds. Out: exit status, stdout, stderr.

use courtside::frame::Frame;
use courtside_core::fixture::frames;
use fastrand::Rng;
use serde_json::Value;

use crate::shared::{Folder, SECOND, courtside, record, seconds, text, valid};

/// Times the sums of an image's flows, and of those towards it where they wait for its answers.
fn slow_down(frame: &mut Frame, image: u32, by: f64) {
    let times = |ns: &mut u64| *ns = (*ns as f64 * by) as u64;
    for flow in &mut frame.flows {
        let answers = flow.image == image && flow.role == courtside::frame::Role::Acceptor;
        let asks = flow.peer == image && flow.role == courtside::frame::Role::Initiator;
        if answers || asks {
            times(&mut flow.answer.sum_ns);
        }
        if flow.image == image {
            times(&mut flow.turnaround.sum_ns);
            flow.turnaround_parts = flow.turnaround_parts.map(|ns: u64| (ns as f64 * by) as u64);
        }
    }
}

/// A recording of the chain load → web → app → store: each component's times differ by up to 3 % from window to window.
fn recorded(path: &str, windows: u64, seed: u64, change: impl Fn(&mut Frame)) {
    let mut dice = Rng::with_seed(seed);
    let windows = (0..windows).map(|window| {
        let mut frame = frames::chain(dice.u64(95..=105));
        frame.start_unix_ns += window * SECOND;
        for image in [frames::LOAD, frames::WEB, frames::APP, frames::STORE] {
            slow_down(&mut frame, image, 0.97 + 0.06 * dice.f64());
        }
        change(&mut frame);
        frame
    });
    record(path, &seconds(), windows);
}

struct Pair {
    folder: Folder,
    a: String,
    b: String,
}

fn pair(windows: [u64; 2], change: impl Fn(&mut Frame)) -> Pair {
    let folder = Folder::new();
    let [a, b] = ["a.rec", "b.rec"].map(|name| folder.path(name));
    recorded(&a, windows[0], 1, |_| {});
    recorded(&b, windows[1], 2, change);
    Pair { folder, a, b }
}

#[test]
fn a_slower_store_is_told_by_its_size_and_is_status_3_above_the_limit() {
    let Pair { a, b, .. } = &pair([30, 40], |frame| slow_down(frame, frames::STORE, 1.5));
    let output = courtside(&["diff", a, b, "--fail-above", "10%", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let diff: Value = serde_json::from_slice(&output.stdout).unwrap();
    valid("diff", [&diff]);
    assert_eq!(diff["schema"], "courtside.diff/1");
    assert_eq!(diff["worse"], true);
    let changes = diff["changes"].as_array().unwrap();
    let told: Vec<(&str, &str)> = changes
        .iter()
        .map(|change| {
            let name = |key: &str| change[key].as_str().unwrap();
            (name("component"), name("field"))
        })
        .collect();
    for wanted in [
        ("program:store", "service_ns"),
        ("program:store", "turnaround_ns"),
        ("program:store", "turnaround.block_io_ns"),
        ("program:app", "latency_ns"),
    ] {
        assert!(told.contains(&wanted), "{wanted:?}: {told:?}");
    }
    for change in changes {
        let is_store = |value: &Value| value == "program:store";
        let at_store = is_store(&change["component"]) || is_store(&change["edge"]["to"]);
        assert!(at_store, "{change}");
        if change["unit"] != "ns" {
            continue;
        }
        let ratio = change["ratio"].as_f64().unwrap();
        assert!((1.45..1.55).contains(&ratio), "{change}");
        let [low, high] = [0, 1].map(|i| change["interval95"][i].as_f64().unwrap());
        assert!(low <= 1.5 && 1.5 <= high && high - low < 0.1, "{change}");
        assert!(change["p"].as_f64().unwrap() < 0.01, "{change}");
    }
    // Without a limit, with one that is not reached, and the other way round there is nothing to fail for.
    for arguments in [
        &["diff", a, b][..],
        &["diff", a, b, "--fail-above", "60%"],
        &["diff", b, a, "--fail-above", "0%"],
    ] {
        let output = courtside(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output.stdout).contains("service_ns"), "{arguments:?}");
    }
}

#[test]
fn the_same_service_twice_has_no_change_and_is_status_0() {
    let Pair { a, b, .. } = &pair([30, 40], |_| {});
    let arguments = ["diff", a, b, "--fail-above", "0%", "--ignore-below", "0%"];
    let output = courtside(&arguments);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("numbers compared: none changed"), "{said}");
}

#[test]
fn what_cannot_be_compared_is_status_1_and_says_why() {
    let short = pair([30, 4], |_| {});
    let strange = pair([30, 30], |frame| {
        for image in &mut frame.images {
            image.program.push_str("-other");
        }
    });
    for (Pair { a, b, .. }, words) in [
        (
            &short,
            "has 4 windows to compare, and at least 15 are needed",
        ),
        (&strange, "have nothing in common"),
    ] {
        let output = courtside(&["diff", a, b]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(words) && said.contains("courtside "),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(output.stdout.is_empty());
    }
    // What is read is not written over.
    let Pair { a, b, .. } = &pair([30, 30], |_| {});
    for file in [a, b] {
        let output = courtside(&["diff", a, b, "-o", file]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains("is the recording that is read"), "{said}");
    }
    assert_eq!(courtside(&["diff"]).status.code(), Some(2));
    let output = courtside(&["diff", a, b, "--fail-above", "10"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("as in 10%"));
}

#[test]
fn a_page_says_what_the_table_says_and_loads_nothing() {
    let Pair { folder, a, b } = &pair([30, 40], |frame| slow_down(frame, frames::STORE, 1.5));
    let page = &folder.path("diff.html");
    let arguments = [
        "diff",
        a,
        b,
        "-F",
        "html",
        "-o",
        page,
        "--fail-above",
        "10%",
    ];
    let output = courtside(&arguments);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>"));
    for says in [
        "<h1>a.rec → b.rec</h1>",
        "app → store",
        "worse",
        "more than 10%",
    ] {
        assert!(html.contains(says), "{says}");
    }
    for way in ["<script", "src=", "@import", "url(", "http://", "https://"] {
        assert!(!html.contains(way), "{way}");
    }
    // Onto stdout as well.
    let output = courtside(&["diff", a, b, "-F", "html"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("app → store"));
}
