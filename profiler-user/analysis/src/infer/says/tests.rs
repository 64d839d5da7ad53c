//! Who is said to hold the others up.

use courtside_core::model::inference::{ByTurn, InferenceSource, Iterations, ReceiveWait, Time};

use super::*;

/// Ranks that wait for each other for so many hundredths of the run.
fn run(ranks: &[&[(usize, u64)]]) -> Inference {
    let id = |rank: usize| format!("rank{rank}/{rank}");
    let wait = |(from, not_sent_ns): &(usize, u64)| ReceiveWait {
        from: id(*from),
        not_sent_ns: *not_sent_ns,
        ..ReceiveWait::default()
    };
    let process = |(rank, waits): (usize, &&[(usize, u64)])| Process {
        id: id(rank),
        threads: 1,
        iterations: Iterations {
            by_turn: Some(ByTurn {
                count: 100,
                mean_per_s: 1.0,
            }),
            ..Iterations::default()
        },
        time: Time {
            receive_wait: waits.iter().map(wait).collect(),
            ..Time::default()
        },
        ..Process::default()
    };
    Inference {
        source: InferenceSource {
            application_ns: 100,
            events: 1000,
            ..InferenceSource::default()
        },
        processes: ranks.iter().enumerate().map(process).collect(),
        ..Inference::default()
    }
}

fn held_up_by(inference: &Inference) -> Option<String> {
    let mut findings = findings(inference).into_iter();
    let found = findings.find(|finding| finding.rule == "imbalance")?;
    let (who, _) = found.says.split_once(" holds the others up").unwrap();
    Some(who.to_owned())
}

#[test]
fn who_waits_itself_is_not_to_blame_for_those_behind_it() {
    // A ring that works 5, 4, 1 and 1 of 5: most wait for ranks 1 and 2, which wait for rank 0.
    let ring = run(&[&[(3, 0)], &[(0, 20)], &[(1, 80)], &[(2, 80)]]);
    assert_eq!(held_up_by(&ring).as_deref(), Some("rank0/0"));
    // A master and its workers, of which the first is slow: the others wait for the master.
    let star = run(&[
        &[(1, 80), (2, 0), (3, 0)],
        &[(0, 0)],
        &[(0, 80)],
        &[(0, 80)],
    ]);
    assert_eq!(held_up_by(&star).as_deref(), Some("rank1/1"));
    let slow_master = run(&[
        &[(1, 5), (2, 5), (3, 5)],
        &[(0, 80)],
        &[(0, 80)],
        &[(0, 80)],
    ]);
    assert_eq!(held_up_by(&slow_master).as_deref(), Some("rank0/0"));
}

#[test]
fn those_that_wait_alike_hold_nobody_up() {
    assert_eq!(held_up_by(&run(&[&[(1, 50)], &[(0, 50)]])), None);
    let all = run(&[&[(3, 30)], &[(0, 35)], &[(1, 40)], &[(2, 33)]]);
    assert_eq!(held_up_by(&all), None);
    // Waiting for a launcher is nobody's fault here.
    let mut launched = run(&[&[(1, 40)], &[(0, 30)]]);
    launched.processes[1].time.receive_wait.push(ReceiveWait {
        from: "launcher/9".to_owned(),
        not_sent_ns: 90,
        ..ReceiveWait::default()
    });
    assert_eq!(held_up_by(&launched), None);
}

#[test]
fn where_one_polls_nobody_knows_who_waits() {
    let mut ring = run(&[&[(3, 0)], &[(0, 60)], &[(1, 60)], &[(2, 60)]]);
    assert_eq!(held_up_by(&ring).as_deref(), Some("rank0/0"));
    ring.processes[0].polls = true;
    assert_eq!(held_up_by(&ring), None);
}

#[test]
fn what_it_does_meanwhile_is_said() {
    let mut ring = run(&[&[(3, 0)], &[(0, 60)], &[(1, 60)], &[(2, 60)]]);
    let mut said = |set: &dyn Fn(&mut Process)| {
        set(&mut ring.processes[0]);
        let found = findings(&ring).into_iter();
        let mut found = found.filter(|finding| finding.rule == "imbalance");
        found.next().unwrap().says
    };
    assert!(said(&|rank| rank.time.on_cpu_ns = 20).contains("it has most to do"));
    assert!(said(&|rank| rank.time.run_queue_ns = 30).contains("it mostly waits for a CPU itself"));
    assert!(said(&|rank| rank.time.other_ns = 70).contains("it mostly sleeps"));
    // That may be a thread that has nothing to do with it.
    assert!(said(&|rank| rank.threads = 2).contains("it mostly waits for a CPU itself"));
    assert!(said(&|rank| rank.time.block_io_ns = 40).contains("it mostly waits for the disk"));
}
