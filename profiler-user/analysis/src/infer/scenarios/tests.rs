//! What is told of a run that comes out right, and what is not told of one that does not.

use super::*;
use crate::infer::replay::tests::{LATENCY_NS, Steps, loaded};

/// A ring with rank 2 loaded, which took so many times what the simulation with waits as recorded takes.
fn simulated(times: f64, alone: bool) -> Simulated {
    let mut program = loaded(false, &[2]).program();
    let base = replay(&program, &Changed::default()).unwrap();
    program.measured_ns = (base.length_ns as f64 * times) as u64;
    if alone {
        // Nobody knows who had the CPU: put on it anew, the wait is gone.
        for part in &mut program.parts {
            part.ops.retain(|op| !matches!(op, Op::Outside { .. }));
        }
    }
    let members: Vec<_> = (0..4)
        .map(|n| (format!("rank{n}/{n}"), format!("rank{n}"), n))
        .collect();
    let outside = |_: u32| ("hog".to_owned(), "program:hog".to_owned());
    let names = Names {
        members: &members,
        outside: &outside,
    };
    let wishes = [
        "without: hog",
        "rank2: cpu=0.5",
        "rank2->rank3: latency=+1ms",
    ];
    let wishes: Vec<Wish> = wishes.iter().map(|wish| wish.parse().unwrap()).collect();
    simulate(&program, &names, &[0, 0, 1, 0], &wishes, None)
}

#[test]
fn a_run_that_comes_out_right_is_told() {
    for times in [0.97, 1.0, 1.04] {
        let simulated = simulated(times, false);
        for scenario in &simulated.scenarios {
            assert!(scenario.predicted_ns.is_some(), "{scenario:?}");
        }
        assert!(simulated.base.is_some() && simulated.ideal_ns.is_some());
        assert!(simulated.tolerance.iter().all(|t| t.unknown.is_none()));
    }
}

#[test]
fn of_a_run_that_comes_out_wrong_nothing_is_told_but_the_reason() {
    for (times, words) in [(0.9, "11% longer"), (1.2, "17% shorter")] {
        let simulated = simulated(times, false);
        let check = simulated.self_check.as_ref().unwrap();
        assert!(check.replay_error.abs() > MOST_OFF);
        assert_eq!(simulated.scenarios.len(), 8);
        for scenario in &simulated.scenarios {
            assert_eq!(
                (
                    scenario.predicted_ns,
                    scenario.speedup,
                    &scenario.bounded_by
                ),
                (None, None, &None)
            );
            assert!(
                scenario.says.contains("cannot tell") && scenario.says.contains(words),
                "{}",
                scenario.says
            );
        }
        assert_eq!(simulated.tolerance.len(), 3);
        for tolerance in &simulated.tolerance {
            assert_eq!(tolerance.added_ns, None);
            let why = tolerance.unknown.as_ref().unwrap();
            assert!(why.contains(words), "{why}");
        }
        assert!(simulated.base.is_none() && simulated.ideal_ns.is_none());
    }
}

/// Two steps of a minute: a run of two minutes takes two delays longer.
#[test]
fn delays_up_to_a_second_are_tried_and_longer_ones_are_not_told() {
    let program = Steps::new(false, 2, |_, _| (60_000_000_000, 0)).program();
    let base = replay(&program, &Changed::default()).unwrap();
    assert_eq!(base.length_ns, 2 * (60_000_000_000 + LATENCY_NS));
    let told = tolerance(&program, base.length_ns);
    let [one, two, five] = &told[..] else {
        panic!();
    };
    let added_ns = one.added_ns.unwrap();
    assert!(
        (590_000_000..=601_000_000).contains(&added_ns),
        "{added_ns}"
    );
    assert_eq!(one.unknown, None);
    for (none, words) in [(two, "2.0% longer"), (five, "5.0% longer")] {
        assert_eq!(none.added_ns, None);
        let why = none.unknown.as_ref().unwrap();
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn what_a_process_would_save_is_told_if_it_is_nothing() {
    let mut program = loaded(false, &[]).program();
    program.measured_ns = replay(&program, &Changed::default()).unwrap().length_ns;
    let members: Vec<_> = (0..4)
        .map(|n| (format!("rank{n}/{n}"), format!("rank{n}"), n))
        .collect();
    let outside = |_: u32| ("hog".to_owned(), "program:hog".to_owned());
    let names = Names {
        members: &members,
        outside: &outside,
    };
    let simulated = simulate(&program, &names, &[0; 4], &[], None);
    let told: Vec<(&str, usize)> = simulated
        .scenarios
        .iter()
        .map(|scenario| (scenario.scenario.as_str(), scenario.processes.len()))
        .collect();
    assert_eq!(
        told,
        [
            ("no_outside_load", 4),
            ("no_run_queue", 4),
            ("no_run_queue", 1),
            ("no_disk_wait", 4)
        ]
    );
    assert!(simulated.scenarios[2].says.contains("nothing changes"));
}

#[test]
fn each_scenario_is_held_to_the_check_of_its_own_method() {
    let simulated = simulated(1.0, true);
    let check = simulated.self_check.as_ref().unwrap();
    assert!(check.replay_error.abs() < 0.001 && check.rescheduled_error < -MOST_OFF);
    for scenario in &simulated.scenarios {
        let anew = scenario.scenario == "no_outside_load";
        // Nobody is known to have had a CPU.
        let without = scenario.scenario == "without: hog";
        assert_eq!(
            scenario.predicted_ns.is_none(),
            anew || without,
            "{scenario:?}"
        );
        if anew {
            assert!(scenario.says.contains("put on the CPUs anew"));
        }
    }
    assert!(simulated.base.is_some());
    assert!(simulated.tolerance.iter().all(|t| t.added_ns.is_some()));
}
