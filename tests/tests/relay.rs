//! load → web → app → store: where each tier's time went, against the tiers' own clocks.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use courtside_tests::harness::{Host, Measured, list, number};
use serde_json::Value;

/// Work that is long beside the calls that bring it: what a call itself costs lies on one side of a boundary or the other.
const WORK: [&str; 7] = [
    "relay",
    "--web",
    "spin=6ms,sleep=3ms,calls=2",
    "--app",
    "spin=3ms,sleep=2ms,lock=4ms,calls=1",
    "--store",
    "spin=2ms,disk=1,block=4096",
];

fn told(value: &Value, path: &str) -> u64 {
    number(value, path).unwrap()
}

/// A measured chain, and what its processes are called.
struct Chain {
    measured: Measured,
    /// load, web, app, store.
    names: [String; 4],
}

/// Sums of a tier's own record, over both directions.
fn truth(tier: &Value, fields: &[&str]) -> u64 {
    ["to_next", "to_caller"]
        .iter()
        .flat_map(|direction| {
            fields
                .iter()
                .map(move |field| told(&tier[direction], field))
        })
        .sum()
}

/// Within 5 % of the part, and 1 % of the whole: what a call or a wake-up costs may be booked on either side of it.
fn is_close(measured: u64, truth: u64, whole: u64) -> bool {
    measured.abs_diff(truth) <= truth / 20 + whole / 100
}

fn close(what: &str, measured: u64, truth: u64, whole: u64) {
    assert!(
        is_close(measured, truth, whole),
        "{what}: measured {measured}, truth {truth} of {whole}"
    );
}

/// Holds every tier's turnaround to what the tier recorded itself.
///
/// A tier's truth of its run queue is the scheduler's, which begins when the CPU that a thread is woken on has noticed it;
/// Courtside's begins with the wake-up. Where a virtual CPU is taken away in between for some milliseconds, what the tier
/// calls sleep or disk is run queue here. `Err` where that is all that differs: the sum of the waits is true all the same.
fn parts_are_true(chain: &Chain) -> Result<(), String> {
    let mut noticed_late = Vec::new();
    let Chain { measured, names } = chain;
    for (number, tier) in list(&measured.answer, "tiers").enumerate() {
        let (caller, name, next) = (&names[number], &names[number + 1], names.get(number + 2));
        assert_eq!(tier["name"], *name);
        let component = measured.snapshot.component(name).unwrap();
        let turnaround = &component["turnaround"];
        let (requests, calls) = (told(tier, "requests"), told(tier, "calls"));
        assert_eq!(told(component, "requests/served"), requests, "{name}");
        assert_eq!(told(turnaround, "count"), requests + calls, "{name}");
        assert_eq!(told(turnaround, "unprompted_count"), 0, "{name}");
        let whole = truth(tier, &["total_ns"]);
        let part = |part: &str, fields: &[&str]| {
            let what = format!("{name} {part}");
            close(&what, told(turnaround, part), truth(tier, fields), whole);
        };
        part("on_cpu_ns", &["on_cpu_ns"]);
        part("queued_ns", &[]);
        part("total_ns", &["total_ns"]);
        let waits = [
            ("sleep_ns", &["timer_ns", "lock_ns"] as &[&str]),
            ("block_io_ns", &["disk_ns"]),
        ];
        let waits = waits.map(|(part, fields)| (part, told(turnaround, part), truth(tier, fields)));
        let run_queue = told(turnaround, "run_queue_ns");
        let true_run_queue = truth(tier, &["run_queue_ns"]);
        let sum = |of: fn(&(&str, u64, u64)) -> u64| waits.iter().map(of).sum::<u64>();
        let what = format!("{name} waits");
        let (waited, truly) = (run_queue + sum(|it| it.1), true_run_queue + sum(|it| it.2));
        close(&what, waited, truly, whole);
        let all =
            format!("{name} run queue {run_queue}, truth {true_run_queue}; {waits:?} of {whole}");
        for (_, measured, truth) in waits {
            assert!(
                measured < truth || is_close(measured, truth, whole),
                "{all}"
            );
        }
        let apart = waits
            .iter()
            .any(|(_, measured, truth)| !is_close(*measured, *truth, whole));
        if apart || !is_close(run_queue, true_run_queue, whole) {
            assert!(run_queue > true_run_queue, "{all}");
            noticed_late.push(all);
        }
        // Every tier has a thread for each connection, whose turnarounds never overlap.
        let wall_ns = told(tier, "threads") * told(&measured.snapshot.0, "window/duration_ns");
        assert!(
            told(turnaround, "total_ns") <= wall_ns,
            "{name}: {turnaround}"
        );
        // Turnarounds that end in a call are booked on the tier called, those that end in a reply on the caller.
        let booked_on = |to: &str, truth: &Value| {
            let booked = list(turnaround, "by_recipient")
                .find(|recipient| measured.snapshot.name(&recipient["to"]) == to)
                .unwrap();
            assert_eq!(told(booked, "count"), told(truth, "count"), "{name} → {to}");
            let what = format!("{name} → {to} on_cpu_ns");
            let (part, whole) = (told(truth, "on_cpu_ns"), told(truth, "total_ns"));
            close(&what, told(booked, "on_cpu_ns"), part, whole);
        };
        booked_on(caller, &tier["to_caller"]);
        if let Some(next) = next {
            booked_on(next, &tier["to_next"]);
        }
    }
    if noticed_late.is_empty() {
        return Ok(());
    }
    Err(noticed_late.join("\n"))
}

/// One request's time is the sum of the courts it lay in, and next to nothing is left over.
fn request_is_explained(Chain { measured, names }: &Chain) {
    let entry = measured.snapshot.entry(&names[1]).unwrap();
    let web = &measured.answer["tiers"][0];
    assert_eq!(told(entry, "requests"), told(web, "requests"));
    let mean_ns = entry["mean_ns"].as_f64().unwrap();
    let true_mean_ns = told(web, "service_sum_ns") as f64 / told(web, "requests") as f64;
    let difference = (mean_ns - true_mean_ns).abs();
    assert!(
        difference <= 0.05 * true_mean_ns,
        "measured {mean_ns}, truth {true_mean_ns}"
    );
    let other_ns = entry["other_ns"].as_f64().unwrap();
    assert!(other_ns.abs() < 0.02 * mean_ns, "{entry}");
    let courts: Vec<_> = list(entry, "courts")
        .map(|court| measured.snapshot.name(&court["component"]))
        .collect();
    assert_eq!(courts, names[1..], "{entry}");
}

/// Roundtrips and requests served, edge by edge.
fn calls_are_counted(Chain { measured, names }: &Chain) {
    let requests = told(&measured.answer["load"], "requests");
    let [load, web, app, store] = names;
    let edges = [
        (load, web, requests, 1.0),
        (web, app, 2 * requests, 2.0),
        (app, store, 2 * requests, 2.0),
    ];
    for (from, to, roundtrips, per_request) in edges {
        let edge = measured.snapshot.edge(from, to).unwrap();
        assert_eq!(told(edge, "roundtrips"), roundtrips, "{from} → {to}");
        assert_eq!(told(edge, "service_ns/count"), roundtrips, "{from} → {to}");
        assert_eq!(edge["roundtrips_per_request"], per_request, "{from} → {to}");
        assert_eq!(edge["lower_bound"], false, "{from} → {to}");
    }
    assert_eq!(measured.snapshot.lost_counts(), []);
}

/// How often a chain may be measured until no wake-up was noticed late.
const TRIES: usize = 3;

fn measure(host: &Host, more: &[&str]) -> Chain {
    let tag = host.tag();
    let suffix = format!("--suffix=-{tag}");
    let mut differences = Vec::new();
    while differences.len() < TRIES {
        let chain = Chain {
            measured: host
                .measure(&[&WORK[..], &[suffix.as_str()], more].concat())
                .unwrap(),
            names: ["load", "web", "app", "store"].map(|name| format!("{name}-{tag}")),
        };
        calls_are_counted(&chain);
        request_is_explained(&chain);
        match parts_are_true(&chain) {
            Ok(()) => return chain,
            Err(difference) => differences.push(difference),
        }
    }
    panic!("{differences:#?}");
}

#[test]
fn every_part_of_every_tier_is_true() {
    let host = Host::take().unwrap();
    measure(&host, &["--requests", "100"]);
}

#[test]
fn every_part_is_true_with_several_clients_on_few_cpus() {
    let host = Host::take().unwrap();
    measure(&host, &["--requests", "200", "--clients", "6"]);
}

#[test]
fn every_part_is_true_whatever_joins_the_tiers() {
    let host = Host::take().unwrap();
    for hops in [
        "tcp6,unix-stream,tcp4",
        "unix-seqpacket,tcp4,unix-seqpacket",
    ] {
        measure(&host, &["--requests", "40", "--hops", hops]);
    }
}

#[test]
fn a_hog_on_the_same_cpu_adds_run_queue_and_no_on_cpu_time() {
    let host = Host::take().unwrap();
    let alone = measure(&host, &["--requests", "80", "--core", "0"]);
    let beside = measure(&host, &["--requests", "80", "--core", "0", "--hog"]);
    for tier in 1..4 {
        let part = |chain: &Chain, part: &str| {
            let component = chain.measured.snapshot.component(&chain.names[tier]);
            told(component.unwrap(), &format!("turnaround/{part}"))
        };
        let name = &alone.names[tier];
        let (before, after) = (part(&alone, "on_cpu_ns"), part(&beside, "on_cpu_ns"));
        assert!(
            after.abs_diff(before) <= before / 10,
            "{name} on-CPU: {before}, {after}"
        );
        let (before, after) = (part(&alone, "run_queue_ns"), part(&beside, "run_queue_ns"));
        let spun = part(&alone, "on_cpu_ns");
        assert!(
            after > before + spun / 10,
            "{name} run queue: {before}, {after}"
        );
    }
}
