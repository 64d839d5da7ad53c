//! `courtside tail` as its users call it, over recordings in which some requests meet something known, and over some that
//! cannot be told from.
//!
//! In: windows and single events made here. Out: exit status, stdout, stderr, pages.

use courtside::{event::Event, frame::Frame};
use courtside_core::fixture::{
    frames,
    requests::{BATCH, HOG, Meets, USUAL_NS, events},
};

use crate::shared::{Folder, SECOND, courtside, json, record, record_events, seconds, text, valid};

const TCP: u8 = 1;

/// Windows of a second in which load, web, store and others do what the events say, about.
fn window(number: u64) -> Frame {
    let mut frame = frames::chain(100);
    frame.start_unix_ns += number * SECOND;
    frame.images.push(frames::image(HOG, "hog", &[]));
    frame.images.push(frames::image(BATCH, "batch", &[]));
    frame
}

/// A recording of these requests.
fn recorded(path: &str, requests: &[Meets]) {
    let begin_ns = 1000 * SECOND;
    let events: Vec<Event> = events(begin_ns + 1, TCP, requests.iter().copied());
    record_events(path, window, begin_ns, &events);
}

fn mixture(count: usize, meets: Meets) -> Vec<Meets> {
    let one = |n: usize| if n % 100 == 37 { meets } else { Meets::Nothing };
    (0..count).map(one).collect()
}

#[test]
fn the_slowest_hundredth_is_told_by_part_size_and_by_whom() {
    let folder = Folder::new();
    let file = folder.path("x.rec");
    recorded(&file, &mixture(1000, Meets::Hog(7_000_000)));
    let tail = json(&courtside(&["tail", &file, "--json"]));
    valid("tail", [&tail]);
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
    recorded(&a, &mixture(500, Meets::Lock(4_000_000)));
    recorded(&b, &mixture(700, Meets::Disk(2_000_000)));
    let tail = json(&courtside(&["tail", &a, &b, "--json", "--exemplars", "3"]));
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
    record(&plain, &seconds(), [window(0)]);
    recorded(&few, &mixture(40, Meets::Nothing));
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
