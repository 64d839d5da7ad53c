//! Who was suspected most over many windows.

use super::*;

#[test]
fn the_worst_come_first_and_each_window_counts_once() {
    let mut world = World::new(31);
    let mut guard = guard(world.learned(60));
    let mut ranking = Ranking::default();
    let mut pass = |world: &mut World, guard: &mut Guard, windows: u64| {
        for _ in 0..windows {
            let window = world.window();
            guard.window(window.clone(), &is_victim);
            ranking.window(guard, &window);
        }
    };
    pass(&mut world, &mut guard, 20);
    // Long enough to raise the service time, too: two numbers of one service, one window.
    world.run_queue *= 10.0;
    world.hog("program:hog", 0.6);
    world.hog("program:small", 0.2);
    world.blame = Some(vec![
        ("program:hog".to_owned(), 0.75),
        ("program:small".to_owned(), 0.2),
    ]);
    pass(&mut world, &mut guard, 30);
    let (windows, worst) = (ranking.windows(), ranking.worst());
    assert_eq!(windows, 50);
    let names: Vec<&str> = worst.iter().map(|pair| pair.component.as_str()).collect();
    assert_eq!(names[..2], ["program:hog", "program:small"], "{worst:#?}");
    let hog = &worst[0];
    assert_eq!(hog.victim, "program:victim");
    assert_eq!(hog.decided_by, DecidedBy::Blame);
    // Told with the third window, and counted from then on.
    assert_eq!((hog.slow_windows, hog.windows, hog.first), (28, 28, 28));
    assert_eq!((worst[1].windows, worst[1].first), (28, 0));
    // 28 windows of some 200 requests that wait 1.5 ms, three quarters of it for the hog.
    let waited = hog.waited_ns.unwrap() as f64;
    let expected = 28.0 * 200.0 * 1.5 * MS * 0.75;
    assert!(
        (waited / expected - 1.0).abs() < 0.1,
        "{waited} of {expected}"
    );
}

#[test]
fn what_was_not_recorded_is_not_zero_and_what_is_its_own_blames_nobody() {
    let mut world = World::new(32);
    let mut guard = guard(world.learned(60));
    let mut ranking = Ranking::default();
    world.on_cpu *= 2.0;
    for _ in 0..10 {
        let window = world.window();
        guard.window(window.clone(), &is_victim);
        ranking.window(&guard, &window);
    }
    assert_eq!(ranking.worst(), []);
    world.on_cpu /= 2.0;
    world.pass(&mut guard, 20);
    world.run_queue *= 5.0;
    world.hog("program:hog", 0.9);
    for _ in 0..10 {
        let window = world.window();
        guard.window(window.clone(), &is_victim);
        ranking.window(&guard, &window);
    }
    let worst = ranking.worst();
    assert_eq!(worst[0].component, "program:hog", "{worst:#?}");
    assert_eq!(worst[0].waited_ns, None);
}

/// Services come and go under new names for as long as a guard watches.
#[test]
fn what_was_learned_of_those_that_are_gone_makes_room_for_others() {
    let mut world = World::new(21);
    let mut guard = Guard::new(GuardOptions::default(), None);
    let mut pass = |guard: &mut Guard, names: std::ops::Range<usize>| {
        for _ in 0..LEARN_WINDOWS {
            let mut window = world.window();
            let victim = window.components["program:victim"].clone();
            let all = names.clone().map(|n| (format!("pod:{n}"), victim.clone()));
            window.components.extend(all);
            guard.window(window, &|id| id.starts_with("pod:"));
        }
    };
    let jobs = |guard: &Guard| {
        let jobs = guard.specs.keys().map(|(job, _)| job.clone());
        jobs.collect::<std::collections::BTreeSet<String>>()
    };
    pass(&mut guard, 0..MAX_VICTIMS);
    assert_eq!(jobs(&guard).len(), MAX_VICTIMS);
    pass(&mut guard, MAX_VICTIMS..MAX_VICTIMS + 20);
    let now = jobs(&guard);
    assert_eq!(now.len(), MAX_VICTIMS);
    let new = (MAX_VICTIMS..MAX_VICTIMS + 20).map(|n| format!("pod:{n}"));
    assert!(new.into_iter().all(|pod| now.contains(&pod)));
}
