//! Waits whose causes are known: what a quota held back, and locks.

use courtside_core::{fixture::frames, frame::Waits, model::scaling::CauseKind};

use super::{
    tests::{chain, named, near, one_and_four, run, sizes, web},
    *,
};

#[test]
fn what_a_quota_held_back_is_no_part_of_run_queues_where_it_was_told_apart() {
    let base = [
        (Event::OnCpu, 0.95e9),
        (Event::RunQueue, 0.0),
        (Event::Throttled, 0.0),
    ];
    let counts = [
        (Event::OnCpu, 1.9e9),
        (Event::RunQueue, 1.0e9),
        (Event::Throttled, 0.9e9),
    ];
    let mut one = run(1000, 1e9, &base);
    let mut four = run(2000, 1e9, &counts);
    (one.throttled_ns, four.throttled_ns) = (Some(0.0), Some(0.9e9));
    let both = study(sizes([(1, one.clone()), (4, four.clone())])).unwrap();
    // A millisecond of a core is lost for each request: half of it in run queues, and 0.45 of it by the quota.
    assert_eq!(named(&both), [CauseKind::Quota, CauseKind::RunQueue]);
    near(both.causes[0].loss_share.unwrap(), 0.45);
    near(both.causes[1].loss_share.unwrap(), 0.5);
    assert!(
        both.causes[1]
            .says
            .ends_with("besides what a quota held back")
    );
    // Where it was not told apart, the same time in run queues is that of the quota for the most part.
    for run in [&mut one, &mut four] {
        run.counts.remove(&Event::Throttled);
    }
    let older = study(sizes([(1, one), (4, four)])).unwrap();
    assert_eq!(named(&older), [CauseKind::Quota]);
}

#[test]
fn a_lock_is_named_where_threads_with_a_request_wait_for_it() {
    let base = [
        (Event::OnCpu, 0.9e9),
        (Event::BlockIo, 0.0),
        (Event::Lock, 0.0),
    ];
    // One works, and three wait for it.
    let locked = [
        (Event::OnCpu, 1.1e9),
        (Event::BlockIo, 0.0),
        (Event::Lock, 2.6e9),
        (Event::Voluntary, 40_000.0),
    ];
    let found = one_and_four(1200, &base, &locked);
    assert_eq!(named(&found), [CauseKind::Lock]);
    near(found.causes[0].loss_share.unwrap(), 13.0 / 14.0);
    assert_eq!(found.causes[0].component.as_deref(), Some("program:app"));
    assert!(found.needed.is_empty(), "{found:?}");
    // They wait for one that waits for the disk: that is the cause.
    let mut disk = locked;
    disk[1].1 = 2.6e9;
    let found = one_and_four(1200, &base, &disk);
    assert_eq!(named(&found), [CauseKind::Disk]);
    // They wait for nobody, and what they do is not known.
    let mut idle = locked;
    idle[2].1 = 0.0;
    let found = one_and_four(1200, &base, &idle);
    assert!(named(&found).is_empty(), "{found:?}");
    let says = &found.needed[0].says;
    assert!(says.contains("before they have a request"), "{says}");
}

#[test]
fn what_threads_wait_for_comes_from_the_turnarounds_of_the_way() {
    let measured = |waits: Option<Waits>| {
        let whole = chain(|frame| {
            for cpu in &mut frame.cpu {
                (cpu.throttled_ns, cpu.waits) = (Some(0), Some(Waits::default()));
                if cpu.image == frames::APP {
                    (cpu.throttled_ns, cpu.waits) = (Some(2_000_000), waits);
                }
            }
            for flow in &mut frame.flows {
                if flow.image == frames::APP && flow.peer == frames::WEB {
                    flow.turnaround_lock_ns = flow.turnarounds * 15_000;
                }
            }
        });
        Run::of_requests("x", &whole, &web()).unwrap()
    };
    let run = measured(Some(Waits::default()));
    // Half of what app sleeps: 30 of 60 us.
    near(run.per_task(Event::Lock).unwrap(), 30_000.0);
    near(run.throttled_ns.unwrap(), 6.0 * 2_000_000.0);
    assert!(
        run.unknown
            .iter()
            .all(|u| u.field != "throttled_ns_per_task")
    );
    // Older recordings do not tell it.
    assert_eq!(measured(None).per_task(Event::Lock), None);
}
