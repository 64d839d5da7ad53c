//! Studies whose answers are known: published tables, laws, and planted causes.

use courtside_core::{
    fixture::frames,
    model::{
        State, View,
        finding::{Finding, Severity},
        fold,
        scaling::{CauseKind, Scaling, ScalingKind, TaskUnit},
    },
    pass::{Consumer as _, PassWindow},
};

use super::*;

/// A run of these numbers; it is of one component.
pub(super) fn run(tasks: u64, wall_ns: f64, counts: &[(Event, f64)]) -> Run {
    let counts: Counts = counts.iter().copied().collect();
    Run {
        tasks,
        wall_ns,
        windows: 30,
        used: vec![Used {
            id: "program:app".to_owned(),
            name: "app".to_owned(),
            counts: counts.clone(),
        }],
        counts,
        host: ("web01".to_owned(), "6.18".to_owned(), 4),
        ..Run::default()
    }
}

fn size(n: u32, runs: Vec<Run>) -> Size {
    Size {
        n,
        file: format!("{n}.rec"),
        runs,
        ..Size::default()
    }
}

pub(super) fn sizes(of: impl IntoIterator<Item = (u32, Run)>) -> Study {
    Study {
        sizes: of.into_iter().map(|(n, run)| size(n, vec![run])).collect(),
        ..Study::default()
    }
}

/// One core with 1000 requests in a second, and four with so many and these counts.
pub(super) fn one_and_four(requests: u64, base: &[(Event, f64)], many: &[(Event, f64)]) -> Scaling {
    let many = run(requests, 1e9, many);
    study(sizes([(1, run(1000, 1e9, base)), (4, many)])).unwrap()
}

pub(super) fn named(scaling: &Scaling) -> Vec<CauseKind> {
    scaling.causes.iter().map(|cause| cause.cause).collect()
}

pub(super) fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{a} {b}");
}

#[test]
fn speed_up_is_that_of_the_published_table_recomputed() {
    // An autograder: tasks a second at 1 and at N. Two of the printed speed-ups (14.5, 9.62) do not follow from its table.
    for (one, many, n, speedup) in [
        (0.3, 3.37, 16, 11.233),
        (0.3, 3.4, 16, 11.333),
        (0.3, 4.45, 16, 14.833),
        (0.3, 2.78, 16, 9.267),
        (0.29, 3.5, 16, 12.069),
        (0.3, 3.32, 16, 11.067),
        (0.3, 3.3, 16, 11.0),
        (0.66, 8.75, 16, 13.258),
        (0.66, 19.56, 64, 29.636),
        (0.66, 15.03, 64, 22.773),
    ] {
        let of = |rate: f64| run((rate * 1000.0).round() as u64, 1e12, &[]);
        let found = study(sizes([(1, of(one)), (n, of(many))])).unwrap();
        let point = &found.points[1];
        assert!((point.speedup - speedup).abs() < 6e-4, "{}", point.speedup);
        near(point.efficiency, point.speedup / f64::from(n));
        near(found.identity[1].measured, point.efficiency);
        near(point.throughput_per_worker_per_s, many / f64::from(n));
        assert!(found.usl.is_none() && found.usl_unknown.unwrap().contains("at least three"));
    }
}

#[test]
fn the_three_points_of_64_cores_have_their_law_and_a_fraction_that_grows() {
    let of = |rate: f64| run((rate * 1000.0).round() as u64, 1e12, &[]);
    let found = study(sizes([(64, of(19.56)), (1, of(0.66)), (16, of(8.75))])).unwrap();
    let usl = found.usl.unwrap();
    assert!((usl.sigma - 0.012_252_3).abs() < 1e-7 && (usl.kappa - 9.613_4e-5).abs() < 1e-9);
    assert!((usl.best_n.unwrap() - 101.4).abs() < 0.05 && usl.extrapolated);
    let [(16, first), (64, second)] = found.karp_flatt[..] else {
        panic!("{:?}", found.karp_flatt);
    };
    assert!((first - 0.013_79).abs() < 1e-5 && (second - 0.018_40).abs() < 1e-5);
    let sizes: Vec<u32> = found.points.iter().map(|point| point.n).collect();
    assert_eq!(sizes, [1, 16, 64]);
    assert_eq!(found.base_n, 1);
}

#[test]
fn without_a_measurement_at_1_the_smallest_counts_as_ideal() {
    let found = study(sizes([(2, run(1000, 1e9, &[])), (8, run(3000, 1e9, &[]))])).unwrap();
    near(found.points[0].speedup, 2.0);
    near(found.points[1].speedup, 6.0);
    near(found.points[1].efficiency, 0.75);
    // Four times as many, three times as fast: e = (1/3 − 1/4) / (1 − 1/4).
    near(found.karp_flatt[0].1, 1.0 / 9.0);
    assert!(found.notes[0].contains("no measurement at 1"));
}

#[test]
fn twenty_tasks_on_four_workers_have_half_of_the_ideal_and_not_twice() {
    let of = |seconds: f64| Run {
        tasks: 20,
        wall_ns: seconds * 1e9,
        ..Run::default()
    };
    for (seconds, efficiency, overhead) in [(5.05, 0.990_1, 0.01e9), (10.0, 0.5, 1e9)] {
        let study_of = Study {
            unit: TaskUnit::Commands,
            tasks: Some(Tasks {
                each: 20,
                task_ns: Some(1e9),
            }),
            ..sizes([(1, of(20.0)), (4, of(seconds))])
        };
        let found = study(study_of).unwrap();
        let point = &found.points[1];
        assert!((point.efficiency - efficiency).abs() < 1e-4);
        assert!((point.overhead_ns_per_task - overhead).abs() < 1.0);
        near(point.latency_ns.unwrap(), seconds * 1e9 / 5.0);
        near(point.throughput_per_s, 20.0 / seconds);
        near(point.throughput_per_worker_per_s, 5.0 / seconds);
        near(point.speedup, 20.0 / seconds);
        assert_eq!(found.points[0].efficiency, 1.0);
    }
}

#[test]
fn weak_scaling_is_the_time_of_one_over_the_time_of_many() {
    let mut weak = Study {
        kind: ScalingKind::Weak,
        unit: TaskUnit::Commands,
        tasks: Some(Tasks {
            each: 5,
            task_ns: None,
        }),
        ..Study::default()
    };
    for (n, seconds) in [(1, 5.0), (2, 5.5), (4, 6.25)] {
        let run = Run {
            tasks: weak.tasks_at(n),
            wall_ns: seconds * 1e9,
            ..Run::default()
        };
        weak.sizes.push(size(n, vec![run]));
    }
    let found = study(weak).unwrap();
    for (point, efficiency) in found.points.iter().zip([1.0, 5.0 / 5.5, 0.8]) {
        near(point.efficiency, efficiency);
        near(point.speedup, efficiency * f64::from(point.n));
        near(point.overhead_ns_per_task, (1e9 / efficiency) - 1e9);
    }
    assert_eq!(found.points[2].tasks, 20);
}

#[test]
fn of_several_runs_the_median_counts_and_all_are_fitted() {
    let of = |seconds: &[f64]| -> Vec<Run> {
        let run = |seconds: &f64| Run {
            tasks: 1,
            wall_ns: seconds * 1e9,
            ..Run::default()
        };
        seconds.iter().map(run).collect()
    };
    let found = study(Study {
        unit: TaskUnit::Commands,
        sizes: vec![
            size(1, of(&[8.0, 8.1, 9.9])),
            size(2, of(&[4.2, 4.1, 4.0])),
            size(4, of(&[2.2, 2.1, 2.3])),
        ],
        ..Study::default()
    })
    .unwrap();
    let makespan = found.points[0].makespan.unwrap();
    assert_eq!(
        (makespan.min_ns, makespan.median_ns, makespan.max_ns),
        (8_000_000_000, 8_100_000_000, 9_900_000_000)
    );
    near(found.points[0].throughput_per_s, 1.0 / 8.1);
    let [low, high] = found.points[2].throughput_interval95.unwrap();
    assert!(low < 1.0 / 2.2 && 1.0 / 2.2 < high);
    let usl = found.usl.unwrap();
    assert_eq!(usl.points, 9);
    assert!(usl.sigma_interval95.is_some() && usl.interval_unknown.is_none());
}

#[test]
fn what_scales_has_no_cause() {
    let found = one_and_four(3960, &[(Event::OnCpu, 0.9e9)], &[(Event::OnCpu, 3.6e9)]);
    assert_eq!(named(&found), [CauseKind::None]);
    assert!(found.needed.is_empty());
    assert!(found.causes[0].says.contains("99%"), "{found:?}");
    assert!(found.causes[0].confidence > 0.8);
}

#[test]
fn a_quota_is_a_quota_and_never_run_queue() {
    // Four cores, of which a quota lets it have two: threads are ready to run and held back.
    let counts = [(Event::OnCpu, 1.9e9), (Event::RunQueue, 1.9e9)];
    let base = [(Event::OnCpu, 0.95e9), (Event::RunQueue, 0.0)];
    let mut one = run(1000, 1e9, &base);
    let mut four = run(2000, 1e9, &counts);
    // As long as nobody says how long it held them back, it may be either.
    let unknown = study(sizes([(1, one.clone()), (4, four.clone())])).unwrap();
    assert!(named(&unknown).is_empty(), "{unknown:?}");
    assert_eq!(
        unknown.needed[0].causes,
        [CauseKind::Quota, CauseKind::RunQueue]
    );
    (one.throttled_ns, four.throttled_ns) = (Some(0.0), Some(1.9e9));
    let known = study(sizes([(1, one.clone()), (4, four.clone())])).unwrap();
    assert_eq!(named(&known), [CauseKind::Quota]);
    assert!(known.causes[0].loss_share.unwrap() > 0.9, "{known:?}");
    // No quota, and others had the CPUs.
    four.throttled_ns = Some(0.0);
    four.others_on_cpu_ns = Some(2e9);
    let others = study(sizes([(1, one), (4, four)])).unwrap();
    assert_eq!(named(&others), [CauseKind::RunQueue]);
    assert_eq!(others.causes[0].component.as_deref(), Some("program:app"));
    assert!(others.causes[0].says.contains("others have it"));
}

#[test]
fn a_disk_that_all_wait_for_is_named_with_its_share() {
    let found = one_and_four(
        2000,
        &[
            (Event::OnCpu, 0.8e9),
            (Event::BlockIo, 0.1e9),
            (Event::DiskReads, 1000.0),
        ],
        &[
            (Event::OnCpu, 1.6e9),
            (Event::BlockIo, 1.9e9),
            (Event::DiskReads, 2000.0),
        ],
    );
    // A millisecond of a core is lost for each request, all of it idle; 0.85 of it are the disk's.
    assert_eq!(named(&found), [CauseKind::Disk]);
    near(found.causes[0].loss_share.unwrap(), 0.85);
    // What is left may be anything.
    assert_eq!(found.needed.len(), 1);
    near(found.needed[0].loss_share.unwrap(), 0.15);
}

#[test]
fn slower_instructions_are_the_caches_or_the_memorys_by_their_misses() {
    let counters = |tasks: f64, cpi: f64, misses: f64| {
        let instructions = tasks * 1e6;
        [
            (Event::OnCpu, instructions * cpi / 2.0),
            (Event::Cycles, instructions * cpi),
            (Event::Instructions, instructions),
            (Event::LlcMisses, misses * instructions),
        ]
    };
    let base = counters(1000.0, 1.8, 0.002);
    for (misses, wanted) in [
        (0.006, CauseKind::CpuCache),
        (0.002, CauseKind::MemoryBandwidth),
    ] {
        let found = one_and_four(2000, &base, &counters(2000.0, 3.6, misses));
        assert_eq!(named(&found), [wanted]);
        near(found.causes[0].loss_share.unwrap(), 0.9);
        assert!(
            found
                .needed
                .iter()
                .all(|needed| needed.loss_share.unwrap() <= 0.1 + 1e-9)
        );
        near(found.identity[1].product.unwrap(), 0.5);
    }
    // With a tenth of the misses it is neither, and nobody knows what.
    let few = counters(1000.0, 1.8, 0.0);
    let found = one_and_four(2000, &few, &counters(2000.0, 3.6, 0.0001));
    assert!(named(&found).is_empty(), "{found:?}");
    // More instructions are more work, or polling.
    let mut more = counters(2000.0, 3.6, 0.004);
    more[2].1 *= 2.0;
    let found = one_and_four(2000, &base, &more);
    assert!(named(&found).is_empty(), "{found:?}");
    assert_eq!(found.needed[0].causes, [CauseKind::BusyPolling]);
}

#[test]
fn without_counters_more_cpu_time_is_not_called_anything() {
    let found = one_and_four(2000, &[(Event::OnCpu, 0.9e9)], &[(Event::OnCpu, 3.6e9)]);
    assert!(named(&found).is_empty(), "{found:?}");
    assert!(found.needed[0].causes.contains(&CauseKind::CpuCache));
    assert!(found.needed[0].causes.contains(&CauseKind::BusyPolling));
    assert!(
        found.says.contains("more CPU time for each task"),
        "{}",
        found.says
    );
    near(found.identity[1].work_ratio.unwrap(), 2.0);
}

#[test]
fn one_thread_is_told_from_a_lock_by_how_often_it_waits() {
    let base = [(Event::OnCpu, 0.99e9), (Event::Voluntary, 10.0)];
    let alone = [(Event::OnCpu, 0.99e9), (Event::Voluntary, 12.0)];
    let found = one_and_four(1000, &base, &alone);
    assert_eq!(named(&found), [CauseKind::SaturatedComponent]);
    assert_eq!(found.causes[0].component.as_deref(), Some("program:app"));
    // The same with a lock that goes from hand to hand: that it is a lock was not measured.
    let locked = [(Event::OnCpu, 0.99e9), (Event::Voluntary, 40_000.0)];
    let found = one_and_four(1000, &base, &locked);
    assert!(named(&found).is_empty(), "{found:?}");
    assert!(found.needed[0].causes.contains(&CauseKind::Lock));
    assert!(found.needed[0].says.contains("too little load"));
}

#[test]
fn switches_are_a_cause_only_for_what_they_can_cost() {
    let base = [(Event::OnCpu, 0.9e9), (Event::Voluntary, 1000.0)];
    // 200 µs of CPU time more a task, and 90 switches of about 2 µs.
    let many = [(Event::OnCpu, 3.63e9), (Event::Voluntary, 300_000.0)];
    let found = one_and_four(3300, &base, &many);
    assert!(
        named(&found).contains(&CauseKind::ContextSwitches),
        "{found:?}"
    );
    let few = [(Event::OnCpu, 3.63e9), (Event::Voluntary, 6600.0)];
    let found = one_and_four(3300, &base, &few);
    assert!(named(&found).is_empty(), "{found:?}");
}

#[test]
fn what_rules_found_only_at_the_largest_size_is_told() {
    let finding = |rule: &str| Finding {
        rule: rule.to_owned(),
        severity: Severity::Bad,
        component: "program:app".to_owned(),
        edge: None,
        says: "app is saturated".to_owned(),
        evidence: Vec::new(),
        confidence: 0.6,
        remedy: "more".to_owned(),
        at_stake_ns: None,
    };
    let mut base = run(1000, 1e9, &[(Event::OnCpu, 0.7e9)]);
    let mut many = run(1400, 1e9, &[(Event::OnCpu, 0.98e9)]);
    many.findings = vec![finding("single_thread_limit"), finding("chatty_edge")];
    let found = study(sizes([(1, base.clone()), (4, many.clone())])).unwrap();
    assert_eq!(named(&found), [CauseKind::SaturatedComponent]);
    assert_eq!(found.causes[0].loss_share, None);
    base.findings = vec![finding("single_thread_limit")];
    let found = study(sizes([(1, base), (4, many)])).unwrap();
    assert!(named(&found).is_empty(), "{found:?}");
}

#[test]
fn bad_input_is_named_and_nothing_is_told() {
    let one = run(1000, 1e9, &[]);
    let said = |study_of: Study| study(study_of).unwrap_err().to_string();
    for (study_of, words) in [
        (sizes([]), "there is no size"),
        (sizes([(1, one.clone())]), "one size only"),
        (sizes([(2, one.clone()), (2, one.clone())]), "both of 2"),
        (
            sizes([(1, one.clone()), (2, run(0, 1e9, &[]))]),
            "nothing was done at 2",
        ),
        (
            sizes([(1, one.clone()), (2, run(5, 0.0, &[]))]),
            "nothing was done at 2",
        ),
        (sizes([(0, one.clone()), (2, one)]), "nothing was done at 0"),
    ] {
        let said = said(study_of);
        assert!(said.starts_with("cannot tell because "), "{said}");
        assert!(said.contains(words), "{said}");
    }
    let at = |port| EntryId {
        component: "program:web".to_owned(),
        port,
    };
    let entries = |entries: [Option<EntryId>; 2]| {
        let named = ["a.rec", "b.rec"].map(str::to_owned).into_iter();
        common_entry(named.zip(entries)).map_err(|error| error.to_string())
    };
    assert_eq!(entries([Some(at(80)), Some(at(80))]), Ok(at(80)));
    let said = entries([Some(at(80)), Some(at(81))]).unwrap_err();
    assert!(
        said.contains("program:web:80") && said.contains("--entry"),
        "{said}"
    );
    let said = entries([Some(at(80)), None]).unwrap_err();
    assert!(
        said.contains("no request came in anywhere in b.rec"),
        "{said}"
    );
}

/// The chain load → web → app → store as one whole.
pub(super) fn chain(change: impl Fn(&mut courtside_core::frame::Frame)) -> Whole {
    let mut steady = Steady::new(State::default(), View::default(), 0..=5, None, None);
    let mut state = State::default();
    for number in 0..6 {
        let mut frame = frames::chain(100);
        frame.start_unix_ns += number as u64 * frame.duration_ns;
        change(&mut frame);
        let snapshot = fold(&mut state, &frame, &View::default());
        let window = PassWindow {
            number,
            frame: &frame,
            snapshot: &snapshot,
        };
        steady.window(&window).unwrap();
    }
    steady.finish()
}

pub(super) fn web() -> EntryId {
    EntryId {
        component: "program:web".to_owned(),
        port: 80,
    }
}

#[test]
fn requests_and_what_is_used_for_them_come_from_the_way_of_the_entry() {
    let run = Run::of_requests("x", &chain(|_| {}), &web()).unwrap();
    assert_eq!((run.tasks, run.windows), (600, 6));
    near(run.throughput_per_s(), 100.0);
    near(run.latency_ns.unwrap(), 1_270_000.0);
    // web 100, app 360, store 120 µs; the load generator is not on the way.
    near(run.per_task(Event::OnCpu).unwrap(), 580_000.0);
    near(run.others_on_cpu_ns.unwrap(), 600.0 * 10_000.0);
    near(run.per_task(Event::Sleep).unwrap(), 60_000.0);
    // One from load, two to app, six to store.
    near(run.per_task(Event::Roundtrips).unwrap(), 9.0);
    assert_eq!(run.per_task(Event::Cycles), None);
    let reasons: Vec<&str> = run.unknown.iter().map(|u| u.field.as_str()).collect();
    for field in [
        "frequency",
        "instructions_per_task",
        "cpi",
        "throttled_ns_per_task",
    ] {
        assert!(reasons.contains(&field), "{reasons:?}");
    }
}

#[test]
fn requests_that_nobody_can_count_are_no_throughput() {
    let interleaved = chain(|frame| {
        for flow in &mut frame.flows {
            if flow.port == 80 {
                flow.untimed = flow.answered;
                flow.ambiguous = 1;
            }
        }
    });
    let error = Run::of_requests("x", &interleaved, &web()).unwrap_err();
    assert!(matches!(error, CannotTell::Interleaved { .. }), "{error}");
    let elsewhere = EntryId { port: 81, ..web() };
    let error = Run::of_requests("x", &chain(|_| {}), &elsewhere).unwrap_err();
    assert!(matches!(
        error,
        CannotTell::TooFewRequests { requests: 0, .. }
    ));
}

#[test]
fn a_command_goes_by_the_kernels_accounting_where_processes_do_not_fit() {
    let mut whole = chain(|_| {});
    let command = Command {
        wall_ns: 6_000_000_000,
        ..Command::default()
    };
    let unknown = Run::of_command(&whole, &command, 1);
    assert_eq!(unknown.busy(1), None);
    assert!(unknown.unknown.iter().any(|u| u.field == "busy"));
    whole.own = Some(whole.snapshot.clone());
    whole.others_on_cpu_ns = Some(0);
    // 590 µs for each of 600 requests.
    let own = Run::of_command(&whole, &command, 1);
    near(own.busy(1).unwrap(), 0.059);
    let accounted = |ns| Command {
        accounted_ns: Some(ns),
        ..command
    };
    let agrees = Run::of_command(&whole, &accounted(350_000_000), 1);
    assert!(agrees.notes.is_empty());
    let differs = Run::of_command(&whole, &accounted(3_000_000_000), 1);
    near(differs.busy(1).unwrap(), 0.5);
    assert_eq!(differs.per_task(Event::Voluntary), None);
    assert!(differs.notes[0].contains("accounting"));
}

#[test]
fn cpu_time_that_others_asked_for_is_no_part_of_a_request() {
    // Somebody else asks the store as often as the application does.
    let shared = chain(|frame| {
        const OTHER: u32 = 9;
        frame.images.push(frames::image(OTHER, "other", &[]));
        frame.flows.push(frames::flow(
            (OTHER, frames::STORE, 0),
            courtside_core::frame::Role::Initiator,
            600,
            105_000,
            frames::cpu(10_000),
        ));
        frame.flows.push(frames::flow(
            (frames::STORE, OTHER, 0),
            courtside_core::frame::Role::Acceptor,
            600,
            100_000,
            frames::cpu(20_000),
        ));
    });
    let run = Run::of_requests("x", &shared, &web()).unwrap();
    assert_eq!(run.tasks, 600);
    assert_eq!((run.busy(1), run.per_task(Event::OnCpu)), (None, None));
    let why = run.unknown.iter().find(|u| u.field == "busy").unwrap();
    assert!(why.why.contains("store also serves requests"), "{why:?}");
}
