//! The scenarios of `cargo xtask truth guard` over simulated windows: what is planted there is planted here, with seeds, each
//! beside the same without it or with the order of its use shuffled.

use super::*;

/// Passes so many windows, each changed by hand.
fn changed(
    world: &mut World,
    guard: &mut Guard,
    windows: u64,
    mut change: impl FnMut(u64, &mut Inputs),
) -> Vec<Interference> {
    (0..windows)
        .flat_map(|number| {
            let mut window = world.window();
            change(number, &mut window);
            guard.window(window, &is_victim)
        })
        .collect()
}

/// Disk requests of a component, so many of them under way in the mean.
fn on_disk(window: &mut Inputs, id: &str, under_way: f64) {
    let used = window.components.entry(id.to_owned()).or_default();
    used.tasks = 1;
    used.disk_ns = (under_way * SECOND as f64) as u64;
    used.disk_bytes = (under_way * 2e8) as u64;
}

fn blamed(lines: &[Interference]) -> Vec<&Interference> {
    let told = of_kind(lines, EventKind::Anomaly).into_iter();
    told.filter(|line| !line.suspects.is_empty()).collect()
}

#[test]
fn a_disk_hog_is_first_and_who_always_used_the_disk_is_not() {
    for (seed, planted) in (40..50).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut world = World::new(seed);
        let mut learner = Learner::default();
        for _ in 0..60 {
            let mut window = world.window();
            on_disk(&mut window, "program:log", 0.2);
            learner.add(&window, is_victim);
        }
        let mut guard = guard(learner.finish(&[], LearnOptions::default()).unwrap());
        let quiet = |_: u64, window: &mut Inputs| on_disk(window, "program:log", 0.2);
        assert_eq!(changed(&mut world, &mut guard, 40, quiet), [], "{seed}");
        if planted {
            world.block_io *= 5.0;
        }
        let lines = changed(&mut world, &mut guard, 5, |_, window| {
            on_disk(window, "program:log", 0.2);
            if planted {
                on_disk(window, "program:hog", 1.0);
            }
        });
        if !planted {
            assert_eq!(lines, [], "{seed}");
            continue;
        }
        let line = anomaly(&lines, Signal::BlockIoPerRequest);
        assert_eq!(line.windows - 40, 3, "told with the third window");
        assert_eq!(line.suspects[0].component, "program:hog", "{line:#?}");
        assert_eq!(line.suspects[0].decided_by, DecidedBy::Exposure);
        assert!(line.suspects[0].exposure_ns.is_some());
        assert!(line.reason.contains("no proof"), "{}", line.reason);
    }
}

#[test]
fn a_service_that_moves_more_bytes_itself_blames_no_disk_hog() {
    let mut world = World::new(51);
    let mut learner = Learner::default();
    let own = |window: &mut Inputs, each: u64| {
        let victim = window.components.get_mut("program:victim").unwrap();
        victim.disk_bytes = victim.requests * each;
        // Of each block of 4 KiB a request is under way for 2 ms.
        victim.disk_ns = victim.requests * each / 4096 * 2_000_000;
    };
    for _ in 0..60 {
        let mut window = world.window();
        own(&mut window, 4096);
        learner.add(&window, is_victim);
    }
    let mut guard = guard(learner.finish(&[], LearnOptions::default()).unwrap());
    changed(&mut world, &mut guard, 20, |_, window| own(window, 4096));
    world.block_io *= 5.0;
    let lines = changed(&mut world, &mut guard, 5, |_, window| {
        own(window, 5 * 4096);
        on_disk(window, "program:bystander", 0.8);
    });
    let line = anomaly(&lines, Signal::BlockIoPerRequest);
    assert!(line.self_inflicted && line.suspects.is_empty(), "{line:#?}");
}

#[test]
fn an_offender_older_than_the_guard_is_told_by_a_spec_of_a_quiet_time_and_by_no_other() {
    let mut world = World::new(52);
    let spec = world.learned(60);
    world.run_queue *= 5.0;
    world.hog("program:hog", 0.9);
    world.blame = Some(vec![("program:hog".to_owned(), 0.95)]);
    let mut informed = guard(spec);
    let lines = world.pass(&mut informed, 5);
    let line = anomaly(&lines, Signal::RunQueuePerRequest);
    assert_eq!(
        (line.windows, line.suspects[0].component.as_str()),
        (3, "program:hog")
    );
    // Without one, it is part of what is usual: nothing is told, and the line about learning says why.
    let mut alone = Guard::new(GuardOptions::default(), None);
    let lines = world.pass(&mut alone, LEARN_WINDOWS + 60);
    assert!(of_kind(&lines, EventKind::Anomaly).is_empty(), "{lines:#?}");
    let learned = of_kind(&lines, EventKind::Learned);
    assert!(learned[0].reason.contains("counts as usual"), "{lines:#?}");
}

#[test]
fn one_of_many_processes_is_named_and_not_its_siblings() {
    for (seed, by_blame) in (60..70).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut world = World::new(seed);
        for number in 0..40 {
            world.hog(&format!("process:batch/{number}"), 0.03);
        }
        let mut guard = guard(world.learned(60));
        assert_eq!(world.pass(&mut guard, 40), [], "{seed}");
        world.run_queue *= 5.0;
        let guilty = "process:batch/17";
        world.neighbours.retain(|(id, _)| id != guilty);
        world.hog(guilty, 0.8);
        world.blame = by_blame.then(|| {
            let siblings = (0..10).map(|number| (format!("process:batch/{number}"), 0.02));
            siblings.chain([(guilty.to_owned(), 0.75)]).collect()
        });
        let lines = world.pass(&mut guard, 5);
        let line = anomaly(&lines, Signal::RunQueuePerRequest);
        let first = &line.suspects[0];
        assert_eq!(first.component, guilty, "{seed}: {line:#?}");
        assert!(first.percentile.unwrap() > 90.0, "{first:?}");
    }
}

#[test]
fn one_that_has_exited_is_still_named_and_is_not_held_back() {
    let mut world = World::new(53);
    let mut guard = guard(world.learned(60));
    world.pass(&mut guard, 20);
    world.run_queue *= 5.0;
    world.hog("program:hog", 0.9);
    world.blame = Some(vec![("program:hog".to_owned(), 0.95)]);
    // Gone by the time that it is told: what it did is in the window, and it is not.
    let lines = changed(&mut world, &mut guard, 3, |number, window| {
        if number == 2 {
            window.components.remove("program:hog");
        }
    });
    let line = anomaly(&lines, Signal::RunQueuePerRequest);
    assert_eq!(line.suspects[0].component, "program:hog", "{line:#?}");
    let mut gone = Notes {
        refuse: Some("none of its processes is there any more"),
        ..Notes::default()
    };
    let lines = Controller::new(Act::Cap, Cap::Feedback).step(&guard, &mut gone);
    assert_eq!(lines[0].event, EventKind::Refused);
    assert!(gone.set.is_empty());
    // As before without it, and that is told.
    world.neighbours.pop();
    world.run_queue /= 5.0;
    world.blame = None;
    let lines = world.pass(&mut guard, 10);
    let cleared = of_kind(&lines, EventKind::Cleared);
    assert!(!cleared.is_empty(), "{lines:#?}");
    assert!(of_kind(&lines, EventKind::Anomaly).is_empty(), "{lines:#?}");
}

#[test]
fn its_own_threads_fan_out_and_whoever_is_busy_meanwhile_is_not_blamed() {
    for seed in 70..80 {
        let mut world = World::new(seed);
        world.hog("program:busy", 0.7);
        let mut guard = guard(world.learned(60));
        assert_eq!(world.pass(&mut guard, 40), [], "{seed}");
        // Four threads of a quarter each wait for one another: as much CPU time, and six times the wait.
        world.run_queue *= 6.0;
        world.blame = Some(vec![
            ("program:victim".to_owned(), 0.93),
            ("program:busy".to_owned(), 0.07),
        ]);
        let lines = world.pass(&mut guard, 6);
        assert_eq!(blamed(&lines), Vec::<&Interference>::new(), "{seed}");
        let line = anomaly(&lines, Signal::RunQueuePerRequest);
        assert!(line.self_inflicted, "{line:#?}");
        assert!(line.reason.contains("its own threads"), "{}", line.reason);
    }
}

/// Where the scheduler's blame is not recorded: use that goes with what is too much, and the same use in another order.
#[test]
fn a_hog_that_comes_and_goes_is_first_and_its_shuffled_copy_is_not() {
    let mut first = 0;
    let seeds = 80..110;
    for seed in seeds.clone() {
        let mut world = World::new(seed);
        for number in 0..20 {
            world.hog(&format!("program:other{number}"), 0.1);
        }
        let mut guard = guard(world.learned(60));
        world.pass(&mut guard, 20);
        let mut dice = Rng::with_seed(seed + 1000);
        let at_work: Vec<bool> = (0..40).map(|number| number % 8 < 5).collect();
        let mut shuffled = at_work.clone();
        dice.shuffle(&mut shuffled);
        let lines: Vec<Interference> = at_work
            .iter()
            .zip(&shuffled)
            .flat_map(|(hog, copy)| {
                world.run_queue = if *hog { 0.75 * MS } else { 0.15 * MS };
                let mut window = world.window();
                for (id, is_at_work) in [("program:hog", hog), ("program:copy", copy)] {
                    let used = Used {
                        tasks: 1,
                        cpu_ns: if *is_at_work { SECOND * 7 / 10 } else { 0 },
                        ..Used::default()
                    };
                    window.components.insert(id.to_owned(), used);
                }
                guard.window(window, &is_victim)
            })
            .collect();
        let last = *blamed(&lines).last().unwrap();
        first += u32::from(last.suspects[0].component == "program:hog");
    }
    let all = seeds.count() as u32;
    assert!(f64::from(first) > 0.9 * f64::from(all), "{first} of {all}");
}
