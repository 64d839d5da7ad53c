//! A ring of ranks from its single events: what is told has to be what they did.

use std::rc::Rc;

use courtside_core::{
    event::{Event, Off, What},
    fixture::ring::{BYTES, LATENCY_NS, RTT_NS, Ring},
    frame::{Cpu, Frame, Polls},
    model::{
        Selection, State, View, fold,
        inference::Inference,
        resolve::{ComponentName, ComponentNames, Resolver},
    },
    pass::{Analysis as _, Consumer as _, PassWindow, Seen},
};

use super::*;

const START_NS: u64 = 5_000_000_000;
/// What makes wall-clock time of the events' time: windows begin with the events.
const OFFSET_NS: i64 = 1_700_000_000_000_000_000 - START_NS as i64;

fn component_names(ring: Ring) -> ComponentNames {
    let frame = ring.window(0, 1_000_000_000);
    let named = frame.images.iter().map(|image| {
        let component = ComponentName {
            id: format!("program:{}", image.program),
            name: image.program.clone(),
        };
        (image.id, Rc::new(component))
    });
    named.collect()
}

fn pass(inferring: &mut Inferring, ring: Ring, events: &[Event]) {
    let last_ns = events.last().map_or(START_NS, |event| event.time_ns);
    let frame = ring.window(0, last_ns - START_NS + 1);
    pass_in(inferring, ring, events, frame);
}

fn pass_in(inferring: &mut Inferring, ring: Ring, events: &[Event], frame: Frame) {
    pass_since(inferring, ring, events, frame, 0);
}

/// Only events from this one on are handed on: the others were before the first window.
fn pass_since(
    inferring: &mut Inferring,
    ring: Ring,
    events: &[Event],
    mut frame: Frame,
    first: usize,
) {
    frame.lost.insert("events".to_owned(), 0);
    let snapshot = fold(&mut State::default(), &frame, &View::default());
    inferring
        .window(&PassWindow {
            number: 0,
            frame: &frame,
            snapshot: &snapshot,
        })
        .unwrap();
    let mut resolver = Resolver::new(component_names(ring));
    for (number, event) in events.iter().enumerate() {
        let resolved = resolver.resolve(event, OFFSET_NS);
        if number < first {
            continue;
        }
        inferring
            .event(&Seen {
                window: 0,
                event,
                resolved: &resolved,
                turnaround: None,
                exchange: None,
            })
            .unwrap();
    }
}

fn inferred(ring: Ring) -> Inference {
    with(ring, Inferring::new("x.rec"))
}

fn with(ring: Ring, mut inferring: Inferring) -> Inference {
    pass(&mut inferring, ring, &ring.events(START_NS));
    inferring.finish().unwrap()
}

/// Rank 2's CPU is a hog's for 3 ms in each iteration.
fn hogged() -> Ring {
    Ring {
        hog: Some((2, 3_000_000)),
        ..Ring::default()
    }
}

fn near(a: u64, b: u64, share: f64) -> bool {
    a.abs_diff(b) as f64 <= share * b as f64
}

#[test]
fn ranks_are_told_from_their_launcher_and_counted_by_all_three_rules() {
    let ring = Ring::default();
    let found = inferred(ring);
    let names: Vec<&str> = found
        .processes
        .iter()
        .map(|process| process.name.as_str())
        .collect();
    assert_eq!(names, ["rank0", "rank1", "rank2", "rank3"]);
    assert!(found.remarks[0].contains("launcher"), "{:?}", found.remarks);
    for process in &found.processes {
        assert_eq!(process.component, format!("program:{}", process.name));
        assert_eq!(process.threads, 1);
        let iterations = &process.iterations;
        // The launcher's message comes before the first send.
        assert_eq!(iterations.by_turn.as_ref().unwrap().count, ring.iterations);
        let by_gap = iterations.by_gap.as_ref().unwrap();
        assert_eq!(
            (by_gap.count, by_gap.floor_ns),
            (ring.iterations - 1, RTT_NS.into())
        );
        assert!(!process.polls);
        let rates = &iterations.series.rates_per_s;
        assert!(rates.len() > 20 && iterations.stationary == Some(true));
        assert_eq!(process.period, None);
        assert!(process.period_unknown.is_some());
    }
    let topology = &found.topology;
    assert_eq!(
        (topology.shape.as_str(), topology.match_score),
        ("ring", 1.0)
    );
    assert_eq!(topology.edges, [(0, 1), (1, 2), (2, 3), (3, 0)]);
    let rate = topology.bytes_per_s[0][1];
    let expected =
        ring.iterations as f64 * f64::from(BYTES) * 1e9 / found.source.application_ns as f64;
    assert!((rate / expected - 1.0).abs() < 1e-9, "{rate} {expected}");
    assert_eq!(found.network.len(), 4);
    for link in &found.network {
        assert_eq!(link.messages, ring.iterations);
        assert_eq!(link.latency_ns.min_ns, LATENCY_NS);
        assert_eq!(link.latency_ns.max_ns, LATENCY_NS);
        assert_eq!(link.min_rtt_ns, Some(RTT_NS.into()));
    }
    assert!(found.findings.is_empty(), "{:?}", found.findings);
}

fn sum(process: &courtside_core::model::inference::Process) -> u64 {
    let time = &process.time;
    let waits = time.receive_wait.iter();
    let waits = waits.map(|wait| wait.not_sent_ns + wait.in_flight_ns + wait.transfer_ns);
    time.on_cpu_ns
        + time.run_queue_ns
        + time.throttled_ns.unwrap_or(0)
        + time.block_io_ns
        + time.lock_ns
        + time.send_wait_ns
        + time.other_ns
        + waits.sum::<u64>()
}

#[test]
fn each_processs_time_sums_up_and_the_wait_is_booked_on_the_loaded_one() {
    let ring = hogged();
    let found = inferred(ring);
    for process in &found.processes {
        let whole = process.time.wall_ns * process.threads;
        assert!(
            near(sum(process), whole, 0.0001),
            "{} {whole}",
            sum(process)
        );
    }
    let [_, _, loaded, next] = &found.processes[..] else {
        panic!();
    };
    let hog_ns = ring.iterations * 3_000_000;
    assert!(
        near(loaded.time.run_queue_ns, hog_ns, 0.01),
        "{:?}",
        loaded.time
    );
    let wait = &next.time.receive_wait;
    let wait = wait.iter().find(|wait| wait.from == loaded.id).unwrap();
    assert!(near(wait.not_sent_ns, hog_ns, 0.02), "{wait:?}");
    assert!(wait.in_flight_ns < hog_ns / 100 && wait.transfer_ns == 0);
    // Its court is its work and its wait; that of the others their work.
    let court = |place: usize| found.processes[place].court.queue_corrected_ns;
    let work_ns = (ring.iterations - 1) * ring.work_ns;
    assert!(near(court(2), work_ns + hog_ns, 0.02), "{}", court(2));
    assert!(near(court(1), work_ns, 0.02), "{}", court(1));
    let global = &found.imbalance.global;
    assert_eq!(global.len(), 3);
    assert!(global.iter().all(|pair| pair.process == loaded.id));
    assert!(near(global[0].imbalance_ns, hog_ns, 0.02), "{global:?}");
    let range = &found.imbalance.process_level[2];
    assert!(near(range.lower_ns, hog_ns, 0.02) && range.lower_ns <= range.upper_ns);
}

/// The same run, but for one of the three milliseconds that the rank waits for its CPU its own quota holds it back.
#[test]
fn what_a_quota_held_back_is_no_run_queue_where_it_is_told() {
    const HELD_NS: u64 = 1_000_000;
    let ring = hogged();
    let rank = Ring::tid(2);
    let (mut events, mut waits) = (Vec::new(), false);
    for event in ring.events(START_NS) {
        let (time_ns, cpu) = (event.time_ns, event.cpu);
        let mut comes = false;
        if let What::Switch { off, next_tid } = &event.what {
            comes = *next_tid == rank && std::mem::take(&mut waits);
            waits |= event.tid == rank && *off == Off::RunQueue;
        }
        events.push(event);
        if comes {
            events.push(Event {
                time_ns,
                tid: rank,
                cpu,
                what: What::Throttled { ns: HELD_NS },
            });
        }
    }
    let last_ns = events.last().unwrap().time_ns;
    let before = inferred(ring);
    for told in [true, false] {
        let mut frame = ring.window(0, last_ns - START_NS + 1);
        frame.tells_throttled_parts = told;
        let mut inferring = Inferring::new("x.rec");
        pass_in(&mut inferring, ring, &events, frame);
        let found = inferring.finish().unwrap();
        let held = |rank: usize| found.processes[rank].time.throttled_ns;
        let queued = |found: &Inference| found.processes[2].time.run_queue_ns;
        if told {
            let held_ns = ring.iterations * HELD_NS;
            assert_eq!((held(1), held(2)), (Some(0), Some(held_ns)));
            assert_eq!(queued(&found), queued(&before) - held_ns);
        } else {
            assert_eq!((held(2), queued(&found)), (None, queued(&before)));
        }
        assert_eq!(sum(&found.processes[2]), sum(&before.processes[2]));
        let said = found.remarks.iter().any(|said| said.contains("throttled"));
        assert_eq!(said, !told, "{:?}", found.remarks);
    }
}

#[test]
fn what_would_have_been_without_the_hog_is_what_it_is_without() {
    let alone = inferred(Ring::default());
    let found = inferred(hogged());
    let truth = alone.self_check.as_ref().unwrap().measured_ns;
    let check = found.self_check.as_ref().unwrap();
    assert!(check.replay_error.abs() < 0.005, "{check:?}");
    assert!(check.rescheduled_error.abs() < 0.01, "{check:?}");
    for name in ["no_outside_load", "without: hog"] {
        let scenario = found.what_if.iter().find(|s| s.scenario == name).unwrap();
        let predicted = scenario.predicted_ns.unwrap();
        assert!(near(predicted, truth, 0.01), "{name}: {predicted} {truth}");
        assert!(scenario.speedup.unwrap() > 2.0);
    }
    assert_eq!(found.outsiders[0].name, "hog");
    assert_eq!(found.outsiders[0].delayed_ns, 200 * 3_000_000);
    let rules: Vec<&str> = found
        .findings
        .iter()
        .map(|finding| finding.rule.as_str())
        .collect();
    assert!(
        rules.contains(&"imbalance") && rules.contains(&"antagonist"),
        "{rules:?}"
    );
    let said = &found.findings[0].says;
    assert!(said.contains("rank2") || said.contains("hog"), "{said}");
    assert_eq!(found.processes[2].slack_ns, Some(0));
    assert!(found.processes[2].critical_share.unwrap() > 0.5);
}

#[test]
fn a_finding_quotes_no_prediction_that_is_withheld() {
    let mut found = inferred(hogged());
    let imbalance = |found: &Inference| {
        let findings = says::findings(found);
        let says = findings
            .into_iter()
            .find(|finding| finding.rule == "imbalance");
        says.unwrap().says
    };
    assert!(imbalance(&found).contains("the run would take"));
    for scenario in &mut found.what_if {
        scenario.predicted_ns = None;
        scenario.says = "cannot tell: it comes out wrong".to_owned();
    }
    let said = imbalance(&found);
    assert!(!said.contains("the run would take"), "{said}");
    assert!(said.contains("cannot tell: it comes out wrong"), "{said}");
    let findings = says::findings(&found);
    assert!(findings.iter().all(|finding| finding.rule == "imbalance"));
}

#[test]
fn wishes_are_answered_or_the_reason_is_given() {
    let wishes = [
        "rank2: run_queue=0",
        "rank2->rank3: latency=+1ms",
        "without: nobody*",
        "rank9: cpu=0.5",
        "rank0->rank2: latency=+1ms",
    ];
    let wishes: Vec<Wish> = wishes.iter().map(|wish| wish.parse().unwrap()).collect();
    let found = with(hogged(), Inferring::new("x.rec").what_if(&wishes));
    let of = |name: &str| found.what_if.iter().find(|s| s.scenario == name).unwrap();
    let measured = found.self_check.as_ref().unwrap().measured_ns;
    let free = of("rank2: run_queue=0");
    assert_eq!(free.processes, [found.processes[2].id.clone()]);
    assert!(free.predicted_ns.unwrap() < measured / 2);
    // Rank 3 waits for rank 2 in each iteration: so much longer, 200 times.
    let later = of("rank2->rank3: latency=+1ms").predicted_ns.unwrap();
    assert!(later > measured);
    for (name, words) in [
        ("without: nobody*", "those that had: hog"),
        ("rank9: cpu=0.5", "there is no process rank9"),
        ("rank0->rank2: latency=+1ms", "no messages go"),
    ] {
        let none = of(name);
        assert_eq!(none.predicted_ns, None);
        assert!(none.says.contains(words), "{}", none.says);
    }
}

/// Who is older than the first window is told before it, in the time that attaching takes.
#[test]
fn connections_that_were_told_before_the_first_window_are_put_together() {
    let ring = Ring::default();
    let events = ring.events(START_NS);
    let told = |event: &Event| matches!(event.what, What::Connection(_) | What::Task(_));
    let first = events.iter().rposition(told).unwrap() + 1;
    let frame = ring.window(0, 10_000_000_000);
    let mut inferring = Inferring::new("x.rec");
    pass_since(&mut inferring, ring, &events, frame, first);
    let found = inferring.finish().unwrap();
    assert_eq!(found.topology.shape, "ring");
    assert_eq!(found.topology.match_score, 1.0);
    assert_eq!(found.processes.len(), 4);
    for process in &found.processes {
        let turns = process.iterations.by_turn.as_ref().unwrap().count;
        assert!((199..=200).contains(&turns), "{turns}");
    }
}

#[test]
fn the_factors_multiply() {
    for ring in [Ring::default(), hogged()] {
        let imbalance = inferred(ring).imbalance;
        let [balance, serial, transfer, communication, parallel] = [
            imbalance.load_balance,
            imbalance.serialisation_efficiency,
            imbalance.transfer_efficiency,
            imbalance.communication_efficiency,
            imbalance.parallel_efficiency,
        ]
        .map(Option::unwrap);
        assert!((serial * transfer - communication).abs() < 1e-9);
        assert!((balance * communication - parallel).abs() < 1e-9);
        assert!(balance > 0.98 && parallel < 1.0);
    }
}

#[test]
fn latency_that_costs_1_per_cent_is_found() {
    let found = inferred(Ring::default());
    let tolerance = &found.latency_tolerance;
    assert_eq!(tolerance.len(), 3);
    let added: Vec<u64> = tolerance.iter().map(|t| t.added_ns.unwrap()).collect();
    assert!(added.is_sorted());
    // An iteration takes 2.013 ms: so much longer as each message.
    assert!(near(added[2], 100_000, 0.15), "{added:?}");
}

#[test]
fn who_polls_gets_no_prediction_and_the_reason() {
    let ring = Ring {
        polls: true,
        ..hogged()
    };
    let found = inferred(ring);
    // Rank 2 never waits.
    let polls: Vec<bool> = found
        .processes
        .iter()
        .map(|process| process.polls)
        .collect();
    assert_eq!(polls, [true, true, false, true]);
    assert!(found.self_check.is_none() && found.latency_tolerance.is_empty());
    assert!(found.what_if.iter().all(|scenario| {
        scenario.predicted_ns.is_none() && scenario.says.contains("without going to sleep")
    }));
    assert_eq!(found.imbalance.parallel_efficiency, None);
    let process = &found.processes[0];
    assert_eq!(process.iterations.by_blocking, None);
    assert_eq!(
        process.iterations.by_turn.as_ref().unwrap().count,
        ring.iterations
    );
    assert_eq!(found.findings[0].rule, "busy_polling");
}

#[test]
fn a_helper_that_sleeps_does_not_hide_that_the_others_poll() {
    let ring = Ring {
        polls: true,
        ..hogged()
    };
    let mut events = ring.events(START_NS);
    let leader = Ring::tid(0);
    let (helper, cpu) = (leader + 1, 40);
    let mut tell = |time_ns: u64, tid: u32, what: What| {
        events.push(Event {
            time_ns,
            tid,
            cpu,
            what,
        });
    };
    let fork = What::Fork {
        tid: helper,
        tgid: leader,
        image: 50,
    };
    tell(START_NS + 2_000, leader, fork);
    for n in 1..500 {
        let at_ns = START_NS + n * 1_000_000;
        let [comes, goes] = [(Off::RunQueue, helper), (Off::Sleep, 0)]
            .map(|(off, next_tid)| What::Switch { off, next_tid });
        tell(at_ns, 0, comes);
        tell(at_ns + 5_000, helper, goes);
    }
    events.sort_by_key(|event| event.time_ns);
    let mut inferring = Inferring::new("x.rec");
    pass(&mut inferring, ring, &events);
    let found = inferring.finish().unwrap();
    assert_eq!(found.processes[0].threads, 2);
    assert!(found.processes[0].polls);
}

#[test]
fn only_those_that_are_selected_are_looked_at() {
    let selection = Selection {
        comms: vec!["rank[01]".to_owned()],
        ..Selection::default()
    };
    let found = with(Ring::default(), Inferring::new("x.rec").of(&selection));
    assert_eq!(found.processes.len(), 2);
    let selection = Selection {
        tgids: vec![Ring::tid(1), Ring::tid(2), Ring::tid(3)],
        ..Selection::default()
    };
    let found = with(Ring::default(), Inferring::new("x.rec").of(&selection));
    assert_eq!(found.topology.shape, "pipeline");
}

#[test]
fn those_that_have_ended_before_the_window_did_are_selected_as_well() {
    let ring = Ring::default();
    let selection = Selection {
        comms: vec!["rank[01]".to_owned()],
        ..Selection::default()
    };
    let mut frame = ring.window(0, 1_000_000_000);
    for image in &mut frame.images {
        image.processes.clear();
    }
    let mut inferring = Inferring::new("x.rec").of(&selection);
    pass_in(&mut inferring, ring, &ring.events(START_NS), frame);
    let found = inferring.finish().unwrap();
    let names: Vec<&str> = found.processes.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["rank0", "rank1"]);
}

#[test]
fn what_cannot_be_told_is_an_error_that_says_what_helps() {
    let error = Inferring::new("x.rec").finish().unwrap_err().to_string();
    assert!(
        error.contains("courtside record --events -o FILE"),
        "{error}"
    );
    let mut silent = Inferring::new("x.rec");
    let mut events = Ring::default().events(START_NS);
    events.retain(|event| !matches!(event.what, What::Send { .. } | What::Receive { .. }));
    pass(&mut silent, Ring::default(), &events);
    let error = silent.finish().unwrap_err().to_string();
    assert!(error.contains("Shared memory is invisible"), "{error}");
}

#[test]
fn where_there_is_no_room_for_changes_it_is_said() {
    let mut events = Ring::default().events(START_NS);
    let is_read = |event: &&Event| matches!(event.what, What::Receive { .. });
    let mut late = events.iter().rev().find(is_read).unwrap().clone();
    let told = |events: &[Event]| {
        let mut inferring = Inferring::new("x.rec");
        pass(&mut inferring, Ring::default(), events);
        let remarks = inferring.finish().unwrap().remarks;
        remarks
            .iter()
            .any(|remark| remark.contains("no room for more"))
    };
    assert!(!told(&events));
    late.time_ns += (1 << 17) * 1_000_000_000;
    events.push(late);
    assert!(told(&events));
}

#[test]
fn events_that_were_lost_end_in_no_panic() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..40 {
        let mut events = hogged().events(START_NS);
        events.retain(|_| random.u8(0..10) > 0);
        if random.bool() {
            let cut = random.usize(1..events.len());
            events.drain(..cut);
        }
        let mut inferring = Inferring::new("x.rec");
        pass(&mut inferring, hogged(), &events);
        if let Ok(found) = inferring.finish() {
            for process in &found.processes {
                let whole = process.time.wall_ns * process.threads;
                assert!(near(sum(process), whole, 0.01));
            }
        }
    }
}

/// Each rank looks from a microsecond after its send on, until the message comes.
#[test]
fn what_goes_into_looking_is_told_where_looks_were_recorded() {
    let ring = Ring {
        polls: true,
        ..hogged()
    };
    let mut events = ring.events(START_NS);
    let (mut sent, mut spun) = (HashMap::default(), HashMap::<u32, u64>::default());
    let mut looks = Vec::new();
    for event in &events {
        let (tid, cpu) = (event.tid, event.cpu);
        if let What::Send { .. } = event.what {
            sent.insert(tid, event.time_ns);
        } else if let What::Receive { arrived_ns, .. } = event.what
            && let Some(sent_ns) = sent.remove(&tid)
            && arrived_ns > sent_ns + 2000
        {
            let first_ns = sent_ns + 1000;
            looks.push(Event {
                time_ns: first_ns + 500,
                tid,
                cpu,
                what: What::Look { first_ns },
            });
            *spun.entry(tid).or_default() += arrived_ns - first_ns;
        }
    }
    events.extend(looks);
    events.sort_by_key(|event| event.time_ns);
    assert!(spun.values().all(|ns| *ns > 0) && !spun.is_empty());
    let told = |zero_timeout_polls| {
        let mut frame = ring.window(0, 1_000_000_000);
        frame.cpu.push(Cpu {
            image: frame.images[0].id,
            polls: Some(Polls {
                zero_timeout_polls,
                ..Polls::default()
            }),
            ..Cpu::default()
        });
        let mut inferring = Inferring::new("x.rec");
        pass_in(&mut inferring, ring, &events, frame);
        inferring.finish().unwrap()
    };
    let found = told(Some(0));
    assert_eq!(found.processes.len(), ring.ranks as usize);
    for process in &found.processes {
        assert_eq!(
            process.time.spin_ns,
            Some(spun.get(&process.tgid).copied().unwrap_or(0)),
            "{}",
            process.name
        );
        assert!(process.time.spin_ns.unwrap() <= process.time.on_cpu_ns);
    }
    let unknown = told(None);
    assert!(unknown.processes.iter().all(|it| it.time.spin_ns.is_none()));
    assert!(unknown.remarks.iter().any(|it| it.contains("--polls")));
}
