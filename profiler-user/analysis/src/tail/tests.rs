//! Mixtures in which a few requests meet something of known length, whose doing is known.

use std::rc::Rc;

use courtside_core::{
    event::{Event, Flow},
    fixture::{
        frames::{LOAD, STORE, WEB},
        requests::{BATCH, BATCH_TID, HOG, Meets, UNIX, USUAL_NS, events},
    },
    model::{
        Snapshot,
        exchange::{Answer, Message, Prompts, Received, Sent},
        resolve::{ComponentName, ComponentNames, Resolver},
        snapshot::{Component, Cpu, Entry, Window},
        tail::{By, TailCourt},
        turnarounds::{Known, Turnaround, Turnarounds},
    },
    parts::Part,
};

use super::*;

const START_NS: u64 = 1_000_000_000;
/// What makes wall-clock time of the events' time.
const OFFSET_NS: i64 = 1_700_000_000_000_000_000;
const MS: u64 = 1_000_000;

fn who() -> ComponentNames {
    let named = |(image, name): (u32, &str)| {
        let component = ComponentName {
            id: format!("program:{name}"),
            name: name.to_owned(),
        };
        (image, Rc::new(component))
    };
    [
        (LOAD, "load"),
        (WEB, "web"),
        (STORE, "store"),
        (HOG, "hog"),
        (BATCH, "batch"),
    ]
    .map(named)
    .into_iter()
    .collect()
}

fn window(lost: u64) -> Snapshot {
    let mut snapshot = Snapshot {
        window: Window {
            duration_ns: 60_000_000_000,
            ..Window::default()
        },
        entries: vec![Entry {
            component: "program:web".to_owned(),
            port: 80,
            requests: 1000,
            ..Entry::default()
        }],
        ..Snapshot::default()
    };
    snapshot.quality.lost.insert("events".to_owned(), lost);
    snapshot
}

/// Passes a recording.
fn pass(slowest: &mut Slowest, events: Vec<Event>, snapshot: &Snapshot) {
    slowest.begin("x.rec");
    let frame = courtside_core::frame::Frame::default();
    let window = PassWindow {
        number: 0,
        frame: &frame,
        snapshot,
    };
    slowest.window(&window).unwrap();
    let mut turnarounds = Turnarounds::default();
    let mut resolver = Resolver::new(who());
    let mut give = |known: Known| {
        let resolved = resolver.resolve(&known.event, OFFSET_NS);
        let unix = |ns: u64| ns.wrapping_add_signed(OFFSET_NS);
        let turnaround = known.turnaround.map(|turnaround| Turnaround {
            from_ns: unix(turnaround.from_ns),
            to_ns: unix(turnaround.to_ns),
            ..turnaround
        });
        let seen = Seen {
            window: 0,
            event: &known.event,
            resolved: &resolved,
            turnaround: turnaround.as_ref(),
            exchange: known.exchange.as_ref(),
        };
        slowest.event(&seen).unwrap();
    };
    for event in events {
        turnarounds.add(event);
        while let Some(known) = turnarounds.next_known(false) {
            give(known);
        }
    }
    while let Some(known) = turnarounds.next_known(true) {
        give(known);
    }
}

fn answer_over(transport: u8, requests: impl IntoIterator<Item = Meets>) -> Tail {
    let mut slowest = Slowest::new(5);
    let events = events(START_NS, transport, requests);
    pass(&mut slowest, events, &window(0));
    slowest.finish().unwrap()
}

/// So many requests, of which each hundredth meets this.
fn mixture(count: usize, meets: Meets) -> Vec<Meets> {
    let one = |n: usize| {
        if n % 100 == 37 { meets } else { Meets::Nothing }
    };
    (0..count).map(one).collect()
}

fn answer(meets: Meets) -> Tail {
    answer_over(1, mixture(1000, meets))
}

/// Component, part, how much more, and whose doing.
type Told<'a> = (&'a str, &'a str, f64, Vec<(&'a str, f64)>);

fn told(tail: &Tail) -> Vec<Told<'_>> {
    let differences = tail.differences.iter();
    differences
        .map(|d| {
            let by = d.by.iter().map(|by| (by.component.as_str(), by.ns));
            let component = d.component.as_deref().unwrap_or_default();
            (component, d.part.as_str(), d.more_ns, by.collect())
        })
        .collect()
}

fn part(courts: &[TailCourt], component: &str, part: Part) -> f64 {
    let mut courts = courts.iter();
    let court = courts.find(|court| court.court.component == component);
    court.unwrap().court.parts[part]
}

/// Everything that holds of an answer whatever the slow requests met.
fn is_sound(tail: &Tail) {
    assert_eq!(tail.schema, TAIL_SCHEMA);
    assert_eq!((tail.entry.as_str(), tail.port), ("program:web", 80));
    assert_eq!(tail.median.mean_ns, USUAL_NS as f64);
    for group in [&tail.slow, &tail.median] {
        let courts: f64 = group.courts.iter().map(|court| court.court.all_ns()).sum();
        let sum = courts + group.network_ns + group.other_ns;
        assert!((sum - group.mean_ns).abs() < 1e-3, "{group:#?}");
        assert_eq!(group.other_ns, 0.0);
        for TailCourt {
            court,
            run_queue_by,
            sleep_by,
            by_recipient,
        } in &group.courts
        {
            let sum = |by: &[By]| by.iter().map(|by| by.ns).sum::<f64>();
            assert!((sum(run_queue_by) - court.parts[Part::RunQueue]).abs() < 1e-3);
            assert!((sum(sleep_by) - court.parts[Part::Sleep]).abs() < 1e-3);
            assert!((sum(by_recipient) - court.turnaround_ns).abs() < 1e-3);
            assert_eq!(court.held_ns, Some(0.0), "{court:#?}");
        }
    }
    let more: f64 = tail.differences.iter().map(|d| d.more_ns).sum();
    let whole = tail.slow.mean_ns - tail.median.mean_ns;
    assert!((more - whole).abs() < 1e-3);
    assert_eq!(tail.not_told, []);
    assert_eq!((tail.untimed, tail.unfinished), (0, 0));
}

#[test]
fn a_lock_is_sleep_of_the_one_that_waits_by_the_one_that_held_it() {
    let tail = answer(Meets::Lock(5 * MS));
    is_sound(&tail);
    assert_eq!((tail.requests, tail.slow.count), (1000, 10));
    assert_eq!(tail.slow_share, 0.01);
    assert_eq!(tail.threshold_ns, USUAL_NS + 5 * MS + 3000);
    assert_eq!(
        told(&tail),
        [
            ("program:web", "sleep", 5e6, vec![("program:batch", 5e6)]),
            ("program:web", "run_queue", 3e3, vec![("idle", 3e3)]),
        ]
    );
    let first = &tail.differences[0];
    assert_eq!((first.slow_ns, first.median_ns), (5e6, 0.0));
    assert_eq!(first.seen_in, 10);
    assert_eq!(first.share, Some(5e6 / 5.003e6));
    assert_eq!(
        first.says,
        "web: sleep is 5.00 ms more, 5.00 ms and none in the median, 100% of the difference; above all of the median group in 10 of 10 slow requests; woken by batch 5.00 ms"
    );
    assert_eq!(tail.exemplars.len(), 5);
    let exemplar = &tail.exemplars[0];
    assert_eq!(exemplar.service_ns, tail.threshold_ns);
    let waker = exemplar.waker.as_ref().unwrap();
    assert_eq!(
        (waker.component.as_str(), waker.tid, waker.comm.as_deref()),
        ("program:batch", BATCH_TID, Some("batch"))
    );
    assert_eq!(
        (waker.sleeper.as_str(), waker.sleep_ns),
        ("program:web", 5 * MS)
    );
    assert_eq!(tail.remarks, Vec::<String>::new());
}

#[test]
fn a_slow_disk_is_block_io_of_the_one_that_reads() {
    let tail = answer(Meets::Disk(20 * MS));
    is_sound(&tail);
    assert_eq!(
        told(&tail),
        [
            ("program:store", "block_io", 2e7, vec![]),
            ("program:store", "run_queue", 2e3, vec![("idle", 2e3)]),
        ]
    );
    assert_eq!(tail.exemplars[0].waker, None);
    // What the others are made of.
    let courts = tail.median.courts.as_slice();
    for (component, of, ns) in [
        ("program:web", Part::OnCpu, 40e3),
        ("program:web", Part::RunQueue, 8e3),
        ("program:web", Part::Queued, 1e3),
        ("program:store", Part::OnCpu, 36e3),
        ("program:store", Part::RunQueue, 2e3),
        ("program:store", Part::Queued, 1e3),
    ] {
        assert_eq!(part(courts, component, of), ns, "{component} {of:?}");
    }
    assert_eq!(tail.median.network_ns, 2e3);
    let web = &courts[0];
    let to: Vec<_> = web
        .by_recipient
        .iter()
        .map(|by| (by.component.as_str(), by.ns))
        .collect();
    assert_eq!(to, [("program:load", 29e3), ("program:store", 20e3)]);
}

#[test]
fn what_a_quota_held_back_is_said_where_the_run_queue_is_longer() {
    let remarks = |throttled_ns: Option<u64>| {
        let mut snapshot = window(0);
        snapshot.components.push(Component {
            id: "program:web".to_owned(),
            cpu: Cpu {
                run_queue_ns: 30 * MS,
                throttled_ns,
                ..Cpu::default()
            },
            ..Component::default()
        });
        let mut slowest = Slowest::new(0);
        let events = events(START_NS, 1, mixture(1000, Meets::Hog(4 * MS)));
        pass(&mut slowest, events, &snapshot);
        slowest.finish().unwrap().remarks
    };
    let said = remarks(Some(70 * MS));
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with("web: of the time") && said[0].contains("held them back for 70%"),
        "{said:?}"
    );
    assert!(remarks(Some(MS)).is_empty() && remarks(None).is_empty());
}

#[test]
fn a_hog_is_run_queue_of_the_one_that_waits_by_the_one_that_ran() {
    let tail = answer(Meets::Hog(4 * MS));
    is_sound(&tail);
    assert_eq!(
        told(&tail),
        [(
            "program:web",
            "run_queue",
            4e6 - 3e3,
            vec![("program:hog", 4e6), ("idle", -3e3)]
        )]
    );
    let said = &tail.differences[0].says;
    assert!(said.contains("the CPU was given to hog 4.00 ms"), "{said}");
}

#[test]
fn of_several_causes_each_is_told_by_its_size_and_by_how_many_it_met() {
    let one = |n: usize| match n % 300 {
        37 => Meets::Lock(6 * MS),
        137 => Meets::Disk(3 * MS),
        237 => Meets::Hog(9 * MS),
        _ => Meets::Nothing,
    };
    let tail = answer_over(1, (0..3000).map(one));
    is_sound(&tail);
    assert_eq!(tail.slow.count, 30);
    let told: Vec<_> = tail.differences[..3]
        .iter()
        .map(|d| {
            let by = d.by.first().map_or("", |by| by.component.as_str());
            (
                d.component.as_deref().unwrap(),
                d.part.as_str(),
                d.more_ns.round(),
                d.seen_in,
                by,
            )
        })
        .collect();
    // The lock's and the disk's own wait for a CPU belongs to the run queue: 3 µs and 2 µs, of a third each.
    assert_eq!(
        told,
        [
            ("program:web", "run_queue", 3e6, 20, "program:hog"),
            ("program:web", "sleep", 2e6, 10, "program:batch"),
            ("program:store", "block_io", 1e6, 10, ""),
        ]
    );
}

#[test]
fn over_unix_sockets_it_is_the_same_but_for_when_a_send_is_told() {
    let tail = answer_over(UNIX, mixture(1000, Meets::Disk(20 * MS)));
    is_sound(&tail);
    assert_eq!(told(&tail)[0], ("program:store", "block_io", 2e7, vec![]));
    assert_eq!(tail.median.network_ns, 0.0);
    let courts = tail.median.courts.as_slice();
    assert_eq!(part(courts, "program:web", Part::OnCpu), 41e3);
    assert_eq!(part(courts, "program:store", Part::OnCpu), 37e3);
}

#[test]
fn what_cannot_be_told_is_booked_on_nobody_and_said() {
    let mut requests = mixture(200, Meets::Nothing);
    requests[100] = Meets::Company;
    let tail = answer_over(1, requests);
    assert_eq!(tail.requests, 201);
    let told: Vec<_> = tail
        .not_told
        .iter()
        .map(|n| (n.component.as_str(), n.turnarounds, n.total_ns))
        .collect();
    // Which of both requests web asked store for, nobody knows.
    assert_eq!(
        told,
        [("program:store", 1, 39_000), ("program:web", 1, 20_000)]
    );
    assert!(
        tail.not_told[0]
            .says
            .starts_with("store: 1 of 200 turnarounds"),
        "{:?}",
        tail.not_told
    );
    // The answers are known to be each request's own.
    let slowest = &tail.exemplars[0];
    assert_eq!(slowest.service_ns, 96_000);
    let [web] = slowest.courts.as_slice() else {
        panic!("{slowest:#?}");
    };
    let court = &web.court;
    assert_eq!((court.turnaround_ns, court.unread_ns), (7e3, Some(14e3)));
    assert_eq!(court.held_ns, Some(75e3));
    // Three are few.
    assert_eq!(tail.slow.count, 3);
    assert!(
        tail.remarks[0].contains("may be chance"),
        "{:?}",
        tail.remarks
    );
}

#[test]
fn several_recordings_are_one_answer_and_losses_are_said() {
    let mut slowest = Slowest::new(1);
    for n in 0..2 {
        let some = mixture(600, Meets::Lock(MS * (n + 1)));
        pass(&mut slowest, events(START_NS, 1, some), &window(7));
    }
    let tail = slowest.finish().unwrap();
    assert_eq!((tail.requests, tail.slow.count), (1200, 12));
    assert_eq!(tail.differences[0].more_ns, 1.5e6);
    assert_eq!((tail.source.windows, tail.source.files.len()), (2, 2));
    assert_eq!(tail.source.lost["events"], 14);
    assert_eq!(tail.exemplars.len(), 1);
    assert!(tail.exemplars[0].start_unix_ns > OFFSET_NS.unsigned_abs());
    assert!(tail.remarks[0].starts_with("14 lost while recording (events)"));
}

#[test]
fn what_is_not_there_is_said_with_the_command_that_gets_it() {
    let mut nothing = Slowest::new(1);
    nothing.begin("a.rec");
    let said = nothing.finish().unwrap_err().to_string();
    assert_eq!(
        said,
        "a.rec has no single events, which tell one request from another; record them with: courtside record --events -o FILE"
    );
    let few = |count, snapshot: &Snapshot| {
        let mut slowest = Slowest::new(1);
        let requests = mixture(count, Meets::Nothing);
        pass(&mut slowest, events(START_NS, 1, requests), snapshot);
        slowest.finish()
    };
    let said = few(99, &window(0)).unwrap_err().to_string();
    assert!(
        said.starts_with(
            "program:web:80 served 99 requests that have a time; at least 100 are needed"
        ),
        "{said}"
    );
    assert!(few(100, &window(0)).is_ok());
    assert_eq!(
        few(100, &Snapshot::default()).unwrap_err(),
        CannotTell::NoEntry
    );
}

/// A client's first message on a connection of its own to component 7.
fn reading(connection: u64, port: u16) -> Reading {
    Reading {
        place: Place {
            connection,
            flow: Flow {
                port,
                role: 2,
                transport: TCP,
                ..Flow::default()
            },
            address: Some(Address {
                transport: TCP,
                netns: 0,
                own: ([0; 16], port),
                other: ([(connection >> 16) as u8; 16], connection as u16),
            }),
            who: 7,
            peer: 8,
        },
        what: Received {
            begins: true,
            message: Message {
                connection,
                number: 1,
            },
            arrived_ns: connection,
            answer: None,
            several: false,
        },
        now_ns: connection,
    }
}

#[test]
fn what_comes_in_elsewhere_by_itself_is_outside_and_not_untold() {
    let mut follower = Follower::new((7, 80));
    let mut read = reading(1, 81);
    let address = read.place.address.clone().unwrap();
    let place = Place {
        connection: 2,
        flow: Flow {
            role: 1,
            ..read.place.flow
        },
        address: Some(Address {
            own: address.other,
            other: address.own,
            ..address
        }),
        who: 8,
        peer: 7,
    };
    // Nothing prompted the client, which serves nobody.
    let mut what = Sent {
        begins: true,
        answers: None,
        answer: None,
        prompts: Prompts::default(),
        several: false,
    };
    let turnaround = Some(Turnaround::default());
    let sending = |place: &Place, what, turnaround| Sending {
        place: place.clone(),
        what,
        tid: 1,
        turnaround,
        announced: None,
    };
    follower.send(&sending(&place, what, None), &Clocks::default());
    follower.receive(&read);
    what.answers = Some(read.what.message);
    what.answer = Some(Answer::Timed(1));
    read.place.who = 7;
    let late = turnaround.map(|turnaround| Turnaround {
        from_ns: 1,
        to_ns: 2,
        ..turnaround
    });
    follower.send(&sending(&read.place, what, late), &Clocks::default());
    // Nor does what a message prompts that nobody saw to come from somewhere, of one who has nothing open.
    what.answers = None;
    what.prompts = Prompts::only(Message {
        connection: 9,
        number: 1,
    });
    follower.send(&sending(&place, what, late), &Clocks::default());
    assert_eq!(follower.finish().tallies, [].into());
}

#[test]
fn requests_that_are_never_answered_take_no_more_memory_than_there_is() {
    let mut follower = Follower::new((7, 80));
    for n in 0..200_000 {
        follower.receive(&reading(n, 80));
    }
    assert!(
        follower
            .sizes()
            .into_iter()
            .all(|size| size <= (1 << 16) + 1)
    );
    assert_eq!(follower.finish().unfinished, 200_000);
}
