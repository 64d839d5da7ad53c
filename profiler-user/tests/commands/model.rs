//! `courtside model` as its users call it, over recordings of a service with known demands.
//!
//! In: windows made here from seeds. Out: exit status, stdout, stderr, files.

use std::{fs, path::Path, process::Output};

use courtside::frame::Frame;
use courtside_core::fixture::frames;
use fastrand::Rng;
use serde_json::Value;

use crate::shared::{Folder, SECOND, courtside, json, record, seconds, text, valid};

/// CPU time that a request takes of web, app, store and the client together (`frames::chain`), and CPUs of the host.
const ALL_NS: f64 = 590_000.0;
const CPUS: f64 = 2.0;

/// A recording of the chain load → web → app → store at about a rate; CPU times differ by up to 2 % from window to window.
fn windows(rate: u64) -> impl Iterator<Item = Frame> {
    let mut dice = Rng::with_seed(rate);
    (0..24).map(move |window| {
        let mut frame = frames::chain(rate - 3 + dice.u64(0..=6));
        frame.start_unix_ns += window * SECOND;
        for cpu in &mut frame.cpu {
            cpu.on_cpu_ns = (cpu.on_cpu_ns as f64 * (0.98 + 0.04 * dice.f64())) as u64;
        }
        frame
    })
}

struct Recordings {
    folder: Folder,
    files: Vec<String>,
}

impl Recordings {
    fn at(rates: &[u64]) -> Self {
        let folder = Folder::new();
        let recorded = |rate: &u64| {
            let path = folder.path(&format!("{rate}.rec"));
            record(&path, &seconds(), windows(*rate));
            path
        };
        let files = rates.iter().map(recorded).collect();
        Self { folder, files }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path(name)
    }

    fn fit(&self, more: &[&str]) -> Output {
        let mut arguments = vec!["model", "fit"];
        arguments.extend(self.files.iter().map(String::as_str));
        arguments.extend(more);
        courtside(&arguments)
    }

    /// Fits them into a file.
    fn fitted(&self) -> String {
        let profile = self.path("profile.json");
        let output = self.fit(&["-o", &profile]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
        profile
    }
}

/// That it is what its schema promises, and says so.
fn is_a(name: &str, value: &Value) {
    valid(name, [value]);
    assert_eq!(value["schema"], format!("courtside.{name}/1"));
}

fn near(value: &Value, expected: f64, share: f64) {
    let value = value.as_f64().unwrap();
    assert!(
        (value / expected - 1.0).abs() < share,
        "{value} for {expected}"
    );
}

#[test]
fn a_service_with_known_demands_is_fitted_predicted_and_placed() {
    let recordings = Recordings::at(&[100, 200, 400]);
    let file = recordings.fitted();
    let profile: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    is_a("profile", &profile);
    assert_eq!(profile["entry"], "program:web:80");
    assert_eq!(profile["components"].as_array().unwrap().len(), 3);
    assert_eq!(profile["components"][0]["threads"], Value::Null);
    assert!(profile["unknown"].as_array().unwrap().len() > 4);

    let predicted = json(&courtside(&[
        "model",
        "predict",
        &file,
        "--rate",
        "200,1200,9999",
        "--json",
        "--requests",
        "4000",
    ]));
    is_a("prediction", &predicted);
    let end = &predicted["saturation"];
    near(&end["rate_per_s"], CPUS * 1e9 / ALL_NS, 0.02);
    assert_eq!(end["resource"], "cpu");
    let [low, high] = [0, 1].map(|i| end["interval95"][i].as_f64().unwrap());
    assert!(
        low < CPUS * 1e9 / ALL_NS && CPUS * 1e9 / ALL_NS < high,
        "{end}"
    );
    let points = &predicted["points"];
    assert_eq!(points[0]["inside_fitted_range"], true);
    assert_eq!(points[1]["inside_fitted_range"], false);
    for model in ["base", "with_remote_invocation", "full"] {
        assert!(points[1][model]["mean_ns"].as_f64() > points[0][model]["mean_ns"].as_f64());
        assert_eq!(points[2][model]["mean_ns"], Value::Null);
    }
    assert!(points[0]["full"]["p95_ns"].as_f64() > points[0]["full"]["p50_ns"].as_f64());

    let nodes = recordings.path("nodes.toml");
    fs::write(&nodes, "[[node]]\nname = \"a\"\ncpus = 2\n[[node]]\nname = \"b\"\ncpus = 2\n[network]\nrtt_us = 100.0\ncpu_us_per_message = 2.0\n").unwrap();
    let place = [
        "model", "place", &file, "--nodes", &nodes, "--rate", "1000", "--json",
    ];
    let placed = json(&courtside(&place));
    is_a("placement", &placed);
    assert_eq!(placed["best"]["meets"], true);
    assert_eq!(placed["best"]["nodes"], 1);
    assert_eq!(json(&courtside(&place)), placed);
}

#[test]
fn tables_are_for_people_and_the_cores_can_be_said() {
    let recordings = Recordings::at(&[100, 200, 400]);
    let shown = text(&recordings.fit(&[]).stdout);
    for words in [
        "profile of program:web:80",
        "store",
        "web → app",
        "Not known",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let file = recordings.fitted();
    let output = courtside(&[
        "model",
        "predict",
        &file,
        "--cores",
        "web01=1",
        "--requests",
        "2000",
    ]);
    let shown = text(&output.stdout);
    for words in [
        "saturates at 1 7",
        "BASE",
        "FULL",
        "░",
        "Assumed",
        "outside the fitted rates",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains('\u{1b}'));
}

#[test]
fn what_cannot_be_fitted_is_status_1_says_why_and_writes_nothing() {
    let few = Recordings::at(&[100, 200]);
    let profile = few.path("profile.json");
    let output = few.fit(&["-o", &profile]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("cannot fit because there are 2 different rates"),
        "{said}"
    );
    assert!(said.contains("courtside record"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!Path::new(&profile).exists());
    // What is read is not written over.
    let three = Recordings::at(&[100, 200, 400]);
    let output = three.fit(&["-o", &three.files[0]]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is the recording that is read"));
    let output = three.fit(&["--entry", "nobody", "-o", &profile]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_cannot_be_predicted_is_status_1_and_wrong_usage_is_2() {
    let recordings = Recordings::at(&[100, 200, 400]);
    let file = recordings.fitted();
    let toml = |name: &str, content: &str| {
        let path = recordings.path(name);
        fs::write(&path, content).unwrap();
        path
    };
    let nonsense = toml("a.toml", "[[node]]\nname = \"a\"\ncpus = -1\n");
    let unknown = toml(
        "b.toml",
        "[[component]]\nid = \"nobody\"\nnode = \"web01\"\n",
    );
    let misspelt = toml("c.toml", "[[node]]\nname = \"a\"\ncores = 2\n");
    for (path, words) in [
        (&nonsense, "cpus of the node a is -1"),
        (&unknown, "there is no component nobody"),
        (&misspelt, "unknown field `cores`"),
    ] {
        let output = courtside(&["model", "predict", &file, "--place", path]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(output.stdout.is_empty());
    }
    let output = courtside(&["model", "predict", &recordings.files[0]]);
    assert_eq!(output.status.code(), Some(1));
    let output = courtside(&["model", "predict", &file, "-o", &file]);
    assert!(text(&output.stderr).contains("is a file that is read"));
    for wrong in [
        &["model"][..],
        &["model", "fit"],
        &["model", "predict", &file, "--rate", "0"],
        &["model", "predict", &file, "--cores", "web01"],
        &["model", "place", &file, "--rate", "10"],
    ] {
        assert_eq!(courtside(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_page_has_the_curves_of_a_prediction_and_loads_nothing() {
    let recordings = Recordings::at(&[100, 200, 400]);
    let (file, page) = (recordings.fitted(), recordings.path("shop.html"));
    let predict = |more: &[&str]| {
        let first = [
            "model",
            "predict",
            &file,
            "--requests",
            "1000",
            "-F",
            "html",
        ];
        courtside(&[&first, more].concat())
    };
    let output = predict(&["--rate", "100,200,400,9999", "-o", &page]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>"));
    for says in [
        "<h1>Prediction for web:80</h1>",
        "<svg",
        "mean, measured",
        "/s: cpu of web01</text>",
        "At 9 999/s full has neither mean nor percentile: more requests come in",
        "What is taken for true",
    ] {
        assert!(html.contains(says), "{says}");
    }
    for way in ["<script", "src=", "@import", "url(", "http://", "https://"] {
        assert!(!html.contains(way), "{way}");
    }
    // As with `diff`, onto stdout as well; and what is read is not written over.
    let output = predict(&["--cores", "web01=1"]);
    assert!(text(&output.stdout).contains("measured where the profile was recorded"));
    assert_eq!(predict(&["-o", &file]).status.code(), Some(1));
}
