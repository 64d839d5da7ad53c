//! `courtside scale` as its users call it, over recordings whose throughput and CPU time are made by known laws.
//!
//! In: windows made here. Out: exit status, stdout, stderr.

use std::path::Path;

use courtside::{
    frame::Frame,
    record::{Header, Limit},
};
use courtside_core::fixture::frames;
use serde_json::Value;

use crate::shared::{Folder, SECOND, courtside, json, record, seconds, text, valid};

/// Ten windows of so many requests of the chain load → web → app → store, on a host of so many CPUs.
fn recorded(
    path: &str,
    cpus: u32,
    requests: u64,
    limit: Option<Limit>,
    change: impl Fn(&mut Frame),
) {
    let mut header = Header { limit, ..seconds() };
    header.host.cpus = cpus;
    if limit.is_some() {
        header.command = vec!["make".to_owned()];
    }
    let windows = (0..10).map(|window| {
        let mut frame = frames::chain(requests);
        frame.start_unix_ns += window * SECOND;
        frame.host.cpus = cpus;
        change(&mut frame);
        frame
    });
    record(path, &header, windows);
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

    fn name(&self, name: &str) -> String {
        self.folder.path(name)
    }

    /// X(N) = 1000 N / (1 + 0.1 (N − 1) + 0.02 N (N − 1)) requests a second, the CPU time of each the same.
    fn by_law(&self) -> Vec<String> {
        let sizes = [1u32, 2, 4, 8];
        for n in sizes {
            let size = f64::from(n);
            let law = 1000.0 * size / (1.0 + 0.1 * (size - 1.0) + 0.02 * size * (size - 1.0));
            recorded(
                &self.name(&format!("{n}.rec")),
                n,
                law.round() as u64,
                None,
                |_| {},
            );
        }
        sizes.map(|n| self.name(&format!("{n}.rec"))).to_vec()
    }
}

fn answer(arguments: &[&str]) -> Value {
    let answer = json(&courtside(&[&["scale", "--json"], arguments].concat()));
    valid("scaling", [&answer]);
    assert_eq!(answer["schema"], "courtside.scaling/1");
    answer
}

fn near(value: &Value, wanted: f64, within: f64) {
    let found = value.as_f64().unwrap();
    assert!((found - wanted).abs() <= within, "{found} {wanted}");
}

#[test]
fn a_law_that_made_the_recordings_is_found_in_them() {
    let files = Files::new();
    let names = files.by_law();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = answer(&names);
    assert_eq!(found["kind"], "strong");
    assert_eq!(found["unit"], "requests");
    assert_eq!(found["entry"], "program:web:80");
    let points = found["points"].as_array().unwrap();
    let sizes: Vec<u64> = points.iter().map(|p| p["n"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [1, 2, 4, 8]);
    // The first and the last window, in which load begins and ends, are left out.
    assert_eq!(points[3]["windows"], 8);
    near(&points[3]["throughput_per_s"], 2837.0, 0.5);
    near(&points[3]["speedup"], 2.837, 1e-3);
    near(&points[3]["efficiency"], 2.837 / 8.0, 1e-3);
    near(&points[0]["on_cpu_ns_per_task"], 580_000.0, 1.0);
    near(&points[0]["busy"], 0.58, 1e-6);
    near(&found["usl"]["lambda"], 1000.0, 1.0);
    near(&found["usl"]["sigma"], 0.1, 2e-3);
    near(&found["usl"]["kappa"], 0.02, 5e-4);
    near(&found["usl"]["best_n"], (0.9f64 / 0.02).sqrt(), 0.05);
    for each in found["identity"].as_array().unwrap() {
        near(&each["product"], each["measured"].as_f64().unwrap(), 1e-9);
        near(&each["work_ratio"], 1.0, 1e-9);
    }
    // The serial fraction grows: overhead, and no serial part.
    let fractions = found["karp_flatt"].as_array().unwrap();
    let of = |i: usize| fractions[i][1].as_f64().unwrap();
    assert!(of(0) < of(1) && of(1) < of(2), "{fractions:?}");
    // Cores were idle, for a reason that no recording tells: no cause is named, and what it may be is said.
    assert_eq!(found["causes"], serde_json::json!([]));
    let needed = found["needed"].as_array().unwrap();
    assert!(
        needed[0]["causes"]
            .as_array()
            .unwrap()
            .contains(&"lock".into())
    );
    for field in ["frequency", "cpi", "throttled_ns_per_task"] {
        assert_eq!(points[3][field], Value::Null, "{field}");
        let unknown = points[3]["unknown"].as_array().unwrap();
        assert!(unknown.iter().any(|u| u["field"] == field), "{field}");
    }
    let output = courtside(&[&["scale"], &names[..]].concat());
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stdout);
    for part in [
        "EFFICIENCY",
        "USL",
        "SERIAL FRACTION",
        "cannot be told: lock",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains('\u{1b}'));
}

#[test]
fn the_size_may_be_given_and_the_disk_is_named() {
    let files = Files::new();
    recorded(&files.name("a"), 8, 1000, None, |_| {});
    // Half of what would be ideal, since the store's threads wait for the disk for a millisecond more for each request.
    recorded(&files.name("b"), 8, 2000, None, |frame| {
        for cpu in &mut frame.cpu {
            if cpu.image == frames::STORE {
                cpu.block_io_ns = 2000 * 900_000;
            }
        }
    });
    let at = [
        format!("1={}", files.name("a")),
        format!("4={}", files.name("b")),
    ];
    let found = answer(&["--at", &at[0], "--at", &at[1], "--entry", "web:80"]);
    assert_eq!(found["causes"][0]["cause"], "disk");
    assert_eq!(found["causes"][0]["component"], "program:store");
    near(&found["causes"][0]["loss_share"], 0.9, 1e-6);
    let inflation = &found["inflation"][0];
    assert_eq!(inflation["event"], "block_io_ns");
    assert_eq!(inflation["factor"], Value::Null);
    assert!(found["usl"].is_null() && found["usl_unknown"].is_string());
}

#[test]
fn kept_runs_of_a_command_tell_their_sizes() {
    let files = Files::new();
    for (n, cores) in [(1, 1), (2, 2)] {
        let limit = Limit {
            n,
            cores,
            workers: n,
        };
        recorded(&files.name(&format!("{n}.rec")), 8, 10, Some(limit), |_| {});
    }
    let names = [files.name("1.rec"), files.name("2.rec")];
    let found = answer(&[&names[0], &names[1]]);
    assert_eq!(found["unit"], "commands");
    assert_eq!(found["points"][1]["cores"], 2);
    near(&found["points"][1]["speedup"], 1.0, 1e-9);
    near(&found["points"][1]["makespan"]["median_ns"], 10e9, 1.0);
    assert!(found["points"][1]["busy"].is_null());
    // What is selected is the command.
    let found = answer(&[&names[0], &names[1], "-n", "store"]);
    near(
        &found["points"][1]["on_cpu_ns_per_task"],
        10.0 * 10.0 * 120_000.0,
        1.0,
    );
    // With an entry it is requests.
    let found = answer(&[&names[0], &names[1], "--entry", "web"]);
    assert_eq!(found["unit"], "requests");
}

#[test]
fn what_cannot_be_told_is_status_1_with_the_reason_and_nothing_is_written() {
    let files = Files::new();
    recorded(&files.name("one"), 1, 100, None, |_| {});
    recorded(&files.name("two"), 2, 200, None, |_| {});
    recorded(&files.name("same"), 2, 200, None, |_| {});
    recorded(&files.name("idle"), 4, 100, None, |frame| {
        frame.flows.clear();
    });
    recorded(&files.name("few"), 4, 1, None, |_| {});
    recorded(&files.name("other"), 4, 100, None, |frame| {
        for flow in &mut frame.flows {
            if flow.port == 80 {
                flow.port = 81;
            }
        }
    });
    recorded(&files.name("interleaved"), 4, 100, None, |frame| {
        for flow in &mut frame.flows {
            if flow.port == 80 {
                flow.untimed = flow.answered;
                flow.ambiguous = 1;
            }
        }
    });
    recorded(&files.name("unsized"), 0, 100, None, |_| {});
    let name = |name: &str| files.name(name);
    for (names, words) in [
        (vec!["one"], "there is one size only"),
        (vec!["two", "same"], "are both of 2"),
        (vec!["one", "idle"], "no request came in anywhere"),
        (vec!["one", "few"], "requests at program:web:80, too few"),
        (vec!["one", "other"], "enter at program:web:80"),
        (
            vec!["one", "interleaved"],
            "several requests were open at once",
        ),
        (vec!["one", "unsized"], "does not say how many CPUs"),
    ] {
        let out = files.name("out.json");
        let paths: Vec<String> = names.iter().map(|each| name(each)).collect();
        let mut arguments = vec!["scale", "-o", &out];
        arguments.extend(paths.iter().map(String::as_str));
        let output = courtside(&arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{names:?}: {said}");
        assert!(said.contains(words), "{names:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            output.stdout.is_empty() && !Path::new(&out).exists(),
            "{names:?}"
        );
    }
    let output = courtside(&["scale"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot tell because there is no size"));
    // What is read is not written over.
    let (one, two) = (name("one"), name("two"));
    let output = courtside(&["scale", &one, &two, "-o", &two]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is the recording that is read"));
    for wrong in [
        &["scale", "--at", "two"][..],
        &["scale", "run", "--cores", "1,2"],
        &["scale", "run", "--", "true"],
        &[
            "scale",
            "run",
            "--cores",
            "1,2,4",
            "--workers",
            "1,2",
            "--",
            "true",
        ],
    ] {
        let output = courtside(wrong);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_page_has_the_curves_and_loads_nothing() {
    let files = Files::new();
    let names = files.by_law();
    let page = files.name("scaling.html");
    let mut arguments = vec!["scale", "-F", "html", "-o", &page];
    arguments.extend(names.iter().map(String::as_str));
    let output = courtside(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>"));
    for says in [
        "<h1>How web:80 scales</h1>",
        "<svg",
        "Universal Scalability Law",
        "best by the law: 6.7",
        "What is needed for the rest",
        // Eight do 2.837 times as much, and the axes end at 8: 224 - 200 x 2.837 / 8.
        "cx=\"420.0\" cy=\"153.1\"",
    ] {
        assert!(html.contains(says), "{says}");
    }
    for way in ["<script", "src=", "@import", "url(", "http://", "https://"] {
        assert!(!html.contains(way), "{way}");
    }
    // As with `diff`, onto stdout as well; and what is read is not written over.
    let output = courtside(&["scale", &names[0], &names[1], "-F", "html"]);
    assert!(text(&output.stdout).ends_with("</html>"));
    let output = courtside(&["scale", &names[0], &names[1], "-F", "html", "-o", &names[1]]);
    assert_eq!(output.status.code(), Some(1));
}
