//! Threads that share CPUs, and others that have them.

use super::*;
use crate::infer::replay::{
    replay,
    tests::{Steps, loaded},
};

#[test]
fn with_a_cpu_for_each_it_is_the_recorded_run() {
    for who in [&[][..], &[2], &[0, 1, 2, 3]] {
        let program = loaded(true, who).program();
        let base = replay(&program, &Changed::default()).unwrap();
        let run = schedule(&program, &Changed::default(), |_| true).unwrap();
        assert_eq!(run.length_ns, base.length_ns);
        let free = Changed {
            queue: vec![0.0; 4],
            ..Changed::default()
        };
        let free = replay(&program, &free).unwrap();
        let run = schedule(&program, &Changed::default(), |_| false).unwrap();
        assert_eq!(run.length_ns, free.length_ns);
    }
}

#[test]
fn threads_that_share_a_cpu_take_turns() {
    let mut steps = Steps::new(true, 50, |_, _| (10_000_000, 0));
    steps.cpus = 1;
    let run = schedule(&steps.program(), &Changed::default(), |_| true).unwrap();
    let work_ns = 50 * 4 * 10_000_000;
    // One CPU has all the work; messages are under way while others compute, but for the last of each step.
    assert!(
        (work_ns..work_ns + 50 * 200_000).contains(&run.length_ns),
        "{}",
        run.length_ns
    );
    steps.cpus = 2;
    let run = schedule(&steps.program(), &Changed::default(), |_| true).unwrap();
    let work_ns = work_ns / 2;
    assert!(
        (work_ns..work_ns + 50 * 200_000).contains(&run.length_ns),
        "{}",
        run.length_ns
    );
}

#[test]
fn the_load_of_one_goes_and_that_of_others_stays() {
    let mut program = loaded(false, &[1, 2]).program();
    for op in &mut program.parts[1].ops {
        if let Op::Outside { who, beside, .. } = op {
            (*who, *beside) = (7, 7);
        }
    }
    let length = |stays: &dyn Fn(u32) -> bool| {
        schedule(&program, &Changed::default(), stays)
            .unwrap()
            .length_ns
    };
    let (all, none) = (length(&|_| true), length(&|_| false));
    let (without_7, without_99) = (length(&|who| who != 7), length(&|who| who != 99));
    assert!(
        none < without_7 && without_7 < all,
        "{none} {without_7} {all}"
    );
    assert!(
        none < without_99 && without_99 < all,
        "{none} {without_99} {all}"
    );
}

#[test]
fn what_nobody_or_one_of_two_had_stays_as_it_was() {
    let base = {
        let program = loaded(false, &[2]).program();
        replay(&program, &Changed::default()).unwrap().length_ns
    };
    let free = {
        let program = loaded(false, &[]).program();
        replay(&program, &Changed::default()).unwrap().length_ns
    };
    for (pair, without_99) in [
        ((NOBODY, NOBODY), base),
        ((99, NOBODY), base),
        ((NOBODY, 99), base),
        // Without one of them the other one is still there.
        ((99, 7), base),
        // The application's own thread goes on to have one of the CPUs, and the thread waits for it there.
        ((OWN, 99), free),
        ((99, 99), free),
    ] {
        let mut program = loaded(false, &[2]).program();
        for op in program.parts.iter_mut().flat_map(|part| &mut part.ops) {
            if let Op::Outside { who, beside, .. } = op {
                (*who, *beside) = pair;
            }
        }
        let length = |stays: &dyn Fn(u32) -> bool| {
            schedule(&program, &Changed::default(), stays)
                .unwrap()
                .length_ns
        };
        assert_eq!(length(&|_| true), base, "{pair:?}");
        assert_eq!(length(&|who| who != 99), without_99, "{pair:?}");
    }
}
