//! Every JSON that is printed fits its printed schema, has every field that was promised, and adds up.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use courtside_tests::{
    harness::{Host, Running, Snapshot, courtside, finish, list, number, schema, workload},
    sound,
};
use serde_json::Value;

const DIST: &str = "count sum_ns min_ns p50_ns p90_ns p99_ns max_ns buckets";
const PARTS: &str = "on_cpu_ns run_queue_ns block_io_ns sleep_ns queued_ns receiving_ns handed_over_ns throttled_ns";

/// What programs may rely on: fields of the objects at a place, where `*` is each item of a list.
const PROMISED: [(&str, &[&str]); 32] = [
    (
        "",
        &["schema tool_version host window quality cost components edges entries findings"],
    ),
    ("host", &["hostname kernel arch cpus boot_id"]),
    ("window", &["start_unix_ns duration_ns"]),
    (
        "quality",
        &["lost midlife_connections folded_remotes lower_bound probes pmu"],
    ),
    ("quality/probes/*", &["name hook state reason"]),
    ("quality/pmu", &["state reason running_ratio"]),
    ("cost", &["programs user_cpu_ns rss_bytes"]),
    ("cost/programs/*", &["name runs run_time_ns"]),
    (
        "components/*",
        &["id name kind processes cpu counters disk requests turnaround"],
    ),
    ("components/*/processes/*", &["tgid comm"]),
    (
        "components/*/cpu",
        &["on_cpu_ns run_queue_ns block_io_ns voluntary_switches involuntary_switches"],
    ),
    (
        "components/*/counters",
        &["cycles instructions llc_references llc_misses cpi running_ratio"],
    ),
    (
        "components/*/disk",
        &["reads writes read_bytes write_bytes latency_ns"],
    ),
    ("components/*/disk/latency_ns", &[DIST]),
    (
        "components/*/requests",
        &["served untimed lower_bound service_ns queued_ns held_ns held_unknown"],
    ),
    ("components/*/requests/service_ns", &[DIST]),
    ("components/*/requests/queued_ns", &[DIST]),
    (
        "components/*/turnaround",
        &[
            "count total_ns unprompted_count unprompted_ns each_ns by_recipient unprompted_to",
            PARTS,
        ],
    ),
    ("components/*/turnaround/each_ns", &[DIST]),
    (
        "components/*/turnaround/by_recipient/*",
        &["to count total_ns", PARTS],
    ),
    (
        "edges/*",
        &[
            "from to transport port roundtrips roundtrips_per_request latency_ns service_ns",
            "messages_sent messages_received bytes_sent bytes_received min_rtt_ns retransmits lower_bound",
            "untimed receiving_ns connects",
        ],
    ),
    ("edges/*/latency_ns", &[DIST]),
    (
        "edges/*/connects",
        &["count failed latency_ns syn_retransmits"],
    ),
    ("edges/*/connects/latency_ns", &[DIST]),
    ("edges/*/service_ns", &[DIST]),
    (
        "entries/*",
        &["component port requests untimed lower_bound mean_ns courts network_ns other_ns adds_up"],
    ),
    (
        "entries/*/courts/*",
        &[
            "component unread_ns turnaround_ns held_ns held_unknown",
            PARTS,
        ],
    ),
    // What is there besides belongs to no list of fields, but has its form.
    ("quality/lost", &[]),
    ("quality/unplaced_protocols", &[]),
    ("components/*/processes", &[]),
    ("components/*/turnaround/by_recipient", &[]),
    ("entries/*/courts", &[]),
];

/// Everything at a place; nothing where a value is null.
fn at<'a>(value: &'a mut Value, place: &str) -> Vec<&'a mut Value> {
    let mut found = vec![value];
    for step in place.split('/').filter(|step| !step.is_empty()) {
        found = found
            .into_iter()
            .flat_map(|value| match (step, value) {
                ("*", Value::Array(items)) => items.iter_mut().collect(),
                (_, Value::Object(fields)) => fields.get_mut(step).into_iter().collect(),
                _ => Vec::new(),
            })
            .filter(|value| !value.is_null())
            .collect();
    }
    found
}

/// A service of three tiers, measured.
fn relay(host: &Host, options: &[&str]) -> Snapshot {
    let mut command = Command::new(workload().unwrap());
    command.args(["relay", "--requests", "20"]);
    host.stat(options, &mut command).unwrap().snapshot
}

/// Whatever is named by its id is there, once. Where some were selected, a request's way and the recipients of neighbours
/// lead out of sight; edges do not.
fn every_id_has_its_component(snapshot: &Snapshot, selected: bool) {
    let ids = || list(&snapshot.0, "components").map(|component| component["id"].as_str().unwrap());
    let known: BTreeSet<_> = ids().collect();
    assert_eq!(known.len(), ids().count(), "an id is not unique");
    let mut value = snapshot.0.clone();
    let places = [
        ("edges/*", "from"),
        ("edges/*", "to"),
        ("entries/*", "component"),
        ("entries/*/courts/*", "component"),
        ("components/*/turnaround/by_recipient/*", "to"),
    ];
    for (place, field) in &places[..if selected { 2 } else { places.len() }] {
        for object in at(&mut value, place) {
            let id = object[*field].as_str().unwrap();
            assert!(known.contains(id), "{field} of {place}: {id}");
        }
    }
}

#[test]
fn every_promised_field_is_there_and_the_schema_insists_on_it() {
    let host = Host::take().unwrap();
    let mut snapshot = relay(&host, &["--program-cost"]).0;
    let schema = jsonschema::validator_for(&schema("snapshot").unwrap()).unwrap();
    assert_eq!(snapshot["schema"], "courtside.snapshot/1");
    for (place, fields) in PROMISED {
        // Without hardware counters there are none.
        let may_be_missing = place == "components/*/counters";
        let many = at(&mut snapshot, place).len();
        assert!(many > 0 || may_be_missing, "nothing at {place}");
        for field in fields.iter().flat_map(|fields| fields.split(' ')) {
            for object in at(&mut snapshot, place) {
                assert!(
                    object.get(field).is_some(),
                    "{place} without {field}: {object}"
                );
            }
            if many > 0 {
                let mut without = snapshot.clone();
                let object = at(&mut without, place).remove(0);
                object.as_object_mut().unwrap().remove(field);
                assert!(
                    !schema.is_valid(&without),
                    "{place} without {field} is valid"
                );
            }
        }
    }
    assert!(schema.is_valid(&snapshot));
    for (name, count) in snapshot["quality"]["lost"].as_object().unwrap() {
        assert!(count.is_u64(), "{name}: {count}");
    }
}

#[test]
fn every_way_of_grouping_is_sound() {
    let host = Host::take().unwrap();
    let mut told = BTreeMap::new();
    for group_by in ["auto", "process", "comm", "cgroup", "unit", "container"] {
        let snapshot = relay(&host, &["--group-by", group_by]);
        every_id_has_its_component(&snapshot, false);
        let roundtrips: u64 = list(&snapshot.0, "edges")
            .filter_map(|edge| number(edge, "roundtrips").ok())
            .sum();
        told.insert(group_by, roundtrips);
    }
    // Whatever a component is, load asked web 20 times, web asked app 40 times, and app asked store 120 times.
    assert!(
        told.values().all(|&roundtrips| roundtrips >= 180),
        "{told:?}"
    );
}

#[test]
fn every_selection_is_sound() {
    let host = Host::take().unwrap();
    let mut other = Running::start(Command::new("sleep").arg("60")).unwrap();
    let tgid = other.tgid().to_string();
    for options in [
        &["-n", "web"] as &[&str],
        &["-n", "ap?", "-n", "st*", "--group-by", "process"],
        &["-p", &tgid],
        &["-c", "/"],
        &["--port", "1,2,3"],
        &["--entry", "web"],
        &["--entry", "app", "--entry", "store"],
        &["--rtt-floor", "20us", "--no-pmu"],
        &["--rtt-floor", "1h"],
    ] {
        every_id_has_its_component(&relay(&host, options), true);
    }
    other.signal(rustix::process::Signal::KILL).unwrap();
    other.wait().unwrap();
}

/// Those selected, those that they talk to, and the courts of the requests that enter there.
#[test]
fn a_selection_shows_what_was_selected_and_its_neighbours() {
    let host = Host::take().unwrap();
    let names = |options: &[&str]| -> BTreeSet<String> {
        let snapshot = relay(&host, options);
        list(&snapshot.0, "components")
            .map(|component| component["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let expected = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(names(&["-n", "load"]), expected(&["load", "web"]));
    assert_eq!(
        names(&["-n", "we?"]),
        expected(&["load", "web", "app", "store"])
    );
    assert_eq!(names(&["-n", "none"]), expected(&[]));
}

#[test]
fn every_window_of_many_is_sound_and_nothing_is_lost_between_them() {
    let host = Host::take().unwrap();
    let path = host.dir().join("windows");
    let mut command = Command::new(courtside().unwrap());
    command
        .args(["stat", "-i", "50ms", "--json", "-o"])
        .arg(&path)
        .arg("--")
        .arg(workload().unwrap())
        .args(["relay", "--requests", "50"]);
    assert!(finish(command).unwrap().status.success());
    let text = fs::read_to_string(path).unwrap();
    let schema = schema("snapshot").unwrap();
    let (mut roundtrips, mut starts) = (0, Vec::new());
    for window in serde_json::Deserializer::from_str(&text).into_iter() {
        let snapshot = Snapshot(window.unwrap());
        sound::check(&snapshot, &schema).unwrap();
        every_id_has_its_component(&snapshot, false);
        starts.push(number(&snapshot.0, "window/start_unix_ns").unwrap());
        roundtrips += snapshot
            .edges("app", "store")
            .iter()
            .map(|edge| number(edge, "roundtrips").unwrap())
            .sum::<u64>();
    }
    assert!(starts.len() > 1 && starts.is_sorted(), "{starts:?}");
    assert_eq!(roundtrips, 50 * 2 * 3);
}

#[test]
fn what_check_prints_fits_its_schema() {
    let _host = Host::take().unwrap();
    let courtside = courtside().unwrap();
    let unprivileged = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    for (before, ok) in [(&["env"] as &[&str], true), (&unprivileged, false)] {
        let mut command = Command::new(before[0]);
        command.args(&before[1..]).arg(&courtside);
        command.args(["check", "-F", "json"]);
        let output = finish(command).unwrap();
        assert_eq!(output.status.success(), ok);
        let mut check: Value = serde_json::from_slice(&output.stdout).unwrap();
        jsonschema::validate(&schema("check").unwrap(), &check).unwrap();
        assert_eq!(check["schema"], "courtside.check/1");
        assert_eq!(check["ok"], ok);
        for (place, fields) in [
            ("", "schema tool_version host ok checks probes"),
            ("host", "hostname kernel arch cpus boot_id"),
            ("checks/*", "name state found fix"),
            (
                "probes/*",
                "name hook state reason serves verified_instructions",
            ),
        ] {
            let objects = at(&mut check, place);
            assert!(!objects.is_empty(), "{place}");
            for (object, field) in objects
                .iter()
                .flat_map(|o| fields.split(' ').map(move |f| (o, f)))
            {
                assert!(
                    object.get(field).is_some(),
                    "{place} without {field}: {object}"
                );
            }
        }
        // Whatever is not well comes with what mends it.
        for item in list(&check, "checks") {
            assert_eq!(item["state"] == "ok", item["fix"].is_null(), "{item}");
        }
    }
}
