//! What is told of a run that comes out right, and what is not told of one that does not.

use super::*;
use crate::infer::replay::tests::loaded;

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
