//! A weight before a quota, each judged.

use super::*;

fn with_weights() -> Notes {
    Notes {
        weights: true,
        ..Notes::default()
    }
}

/// Steps so many windows, in which requests wait so long for a CPU under what was written last.
fn steps(
    world: &mut World,
    guard: &mut Guard,
    (controller, notes): (&mut Controller, &mut Notes),
    windows: u64,
    wait: impl Fn(&str) -> f64,
) -> Vec<Interference> {
    let mut all = Vec::new();
    for _ in 0..windows {
        let written = if notes.set.len() > notes.released.len() {
            notes.set.last().map_or("", String::as_str)
        } else {
            ""
        };
        world.run_queue = wait(written) * MS;
        world.pass(guard, 1);
        all.extend(controller.step(guard, notes));
    }
    all
}

/// Kinds of what was done, with the event.
fn done(lines: &[Interference]) -> Vec<(EventKind, &str)> {
    let of = |line: &'_ Interference| line.action.is_some();
    let lines = lines.iter().filter(|line| of(line));
    lines
        .map(|line| (line.event, line.action.as_ref().unwrap().kind.as_str()))
        .collect()
}

#[test]
fn a_weight_that_is_enough_stays_for_five_minutes_and_no_quota_follows() {
    let (mut world, mut guard) = slowed();
    let mut notes = with_weights();
    let mut controller = Controller::new(Act::Cap, Cap::Feedback);
    let lines = controller.step(&guard, &mut notes);
    assert_eq!(done(&lines), [(EventKind::Capped, "weight")]);
    assert!(lines[0].reason.contains("nobody beside it wants"));
    let wait = |written: &str| if written == "1" { 0.15 } else { 0.75 };
    let lines = steps(
        &mut world,
        &mut guard,
        (&mut controller, &mut notes),
        299,
        wait,
    );
    assert_eq!(done(&lines), [(EventKind::Judged, "weight")]);
    assert!(lines[0].effect.unwrap().worked, "{lines:#?}");
    let lines = steps(
        &mut world,
        &mut guard,
        (&mut controller, &mut notes),
        2,
        wait,
    );
    assert_eq!(done(&lines), [(EventKind::Released, "weight")]);
    assert!(lines[0].reason.contains("five minutes"));
    assert_eq!(
        (notes.set.as_slice(), notes.released.as_slice()),
        (&["1".to_owned()][..], &["0".to_owned()][..])
    );
    // The hog is still there: the service is slow again, and the weight comes back.
    let lines = steps(
        &mut world,
        &mut guard,
        (&mut controller, &mut notes),
        10,
        wait,
    );
    assert_eq!(done(&lines)[0], (EventKind::Capped, "weight"), "{lines:#?}");
}

#[test]
fn a_weight_that_is_not_enough_is_judged_taken_back_and_a_quota_follows() {
    let (mut world, mut guard) = slowed();
    let mut notes = with_weights();
    let mut controller = Controller::new(Act::Cap, Cap::Feedback);
    controller.step(&guard, &mut notes);
    let wait = |written: &str| match written {
        "" => 0.75,
        "1" => 0.5,
        _ => 0.15,
    };
    let lines = steps(
        &mut world,
        &mut guard,
        (&mut controller, &mut notes),
        12,
        wait,
    );
    assert_eq!(
        done(&lines),
        [
            (EventKind::Judged, "weight"),
            (EventKind::Released, "weight"),
            (EventKind::Capped, "cap"),
            (EventKind::Judged, "cap"),
        ],
        "{lines:#?}"
    );
    let judged = of_kind(&lines, EventKind::Judged);
    assert!(judged.iter().all(|line| line.effect.unwrap().worked));
    // Half of what it used before the weight, which is no longer there.
    assert!(
        (35_000.0..45_000.0).contains(&notes.set[1].split(' ').next().unwrap().parse().unwrap())
    );
    assert_eq!(notes.released, ["0"]);
    let ended = controller.release_all(&guard, &mut notes);
    assert_eq!(done(&ended), [(EventKind::Released, "cap")]);
    assert_eq!(notes.released, ["0", "max 100000"]);
}

#[test]
fn without_a_quota_a_weight_stays_if_it_has_helped_and_goes_if_not() {
    for (with_weight, stays) in [(0.45, true), (0.75, false)] {
        let (mut world, mut guard) = slowed();
        let mut notes = Notes {
            no_quotas: true,
            ..with_weights()
        };
        let mut controller = Controller::new(Act::Cap, Cap::Feedback);
        controller.step(&guard, &mut notes);
        let wait = |written: &str| if written == "1" { with_weight } else { 0.75 };
        let lines = steps(
            &mut world,
            &mut guard,
            (&mut controller, &mut notes),
            30,
            wait,
        );
        assert_eq!(controller.holds(), stays, "{lines:#?}");
        assert_eq!(notes.released.is_empty(), stays);
        let judged = of_kind(&lines, EventKind::Judged);
        assert_eq!(judged[0].effect.unwrap().worked, stays);
    }
}

#[test]
fn so_many_cpus_are_what_was_asked_for_and_no_weight() {
    let (_, guard) = slowed();
    let mut notes = with_weights();
    Controller::new(Act::Cap, Cap::Cpus(0.1)).step(&guard, &mut notes);
    assert_eq!(notes.set, ["10000 100000"]);
    // A dry run says what would be first.
    let mut notes = with_weights();
    let lines = Controller::new(Act::DryRun, Cap::Feedback).step(&guard, &mut notes);
    assert_eq!(done(&lines), [(EventKind::Capped, "weight")]);
    assert!(lines[0].reason.contains("would get only"), "{lines:#?}");
    assert!(notes.set.is_empty());
}
