//! Memory grows with what lives, not with what was: a stream of connections that nobody says the end of.
//!
//! In: 300 000 short Unix and UDP connections, made up. Out: the most memory that each consumer of events held, within a
//! bound. Without forgetting they held 177 MB (windows) and 480 MB (trace).

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use courtside::{
    event::{Connection, Event, Flow, What},
    export::{csv::Csv, parquet::Parquet, perfetto::Perfetto},
    frame::Frame,
    model::resolve::Resolver,
    model::{recut::Recut, turnarounds::Turnarounds},
};

const CONNECTIONS: u64 = 300_000;
/// 65 536 connections are remembered, each of some hundred bytes; a second of events waits for sends
/// that have not ended.
const MOST_BYTES: usize = 90 << 20;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator as it is; what is counted besides allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the promises of `dealloc`, and `at` came from there.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Both ends of each connection: told, one message there, one back, and never seen again.
fn events() -> impl Iterator<Item = Event> {
    (0..CONNECTIONS).flat_map(|n| {
        let at = 1_000_000_000 + n * 50_000;
        let transport = if n % 2 == 0 { 3 } else { 2 };
        let flow = |image, peer, role| Flow {
            image,
            peer,
            // Some never learn who the other end is.
            port: if transport == 2 && n % 4 == 1 { 0 } else { 53 },
            transport,
            role,
        };
        let (client, server) = (flow(1, 2, 1), flow(2, 1, 2));
        let event = |after, tid, what| Event {
            time_ns: at + after,
            tid,
            cpu: 0,
            what,
        };
        let told = |number, flow| {
            What::Connection(Box::new(Connection {
                number,
                flow,
                ..Connection::default()
            }))
        };
        let send = |connection, flow, began_ns| What::Send {
            connection,
            bytes: 10,
            began_ns,
            known: true,
            flow,
        };
        let receive = |connection, flow, arrived_ns| What::Receive {
            connection,
            bytes: 10,
            arrived_ns,
            known: true,
            floor_ns: 0,
            from_unprompted: false,
            waits: false,
            flow,
        };
        let (a, b) = (2 * n + 1, 2 * n + 2);
        [
            event(0, 7, told(a, client)),
            event(1, 8, told(b, server)),
            event(2, 7, What::Arrival { connection: b }),
            event(3, 7, send(a, client, at + 2)),
            event(4, 8, receive(b, server, at + 2)),
            event(5, 8, What::Arrival { connection: a }),
            event(6, 8, send(b, server, at + 5)),
            event(7, 7, receive(a, client, at + 5)),
        ]
    })
}

/// The most that this holds beyond what there was.
fn peak(work: impl FnOnce()) -> usize {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    work();
    PEAK.load(Relaxed) - before
}

#[test]
fn connections_that_are_never_closed_are_forgotten_by_everybody() {
    let mut answered = 0;
    let recut = peak(|| {
        let mut recut = Recut::new(100_000_000);
        let mut windows = (0..16u64).map(|second| Frame {
            start_unix_ns: 1_000_000_000 + second * 1_000_000_000,
            duration_ns: 1_000_000_000,
            cpu: [1, 2]
                .map(|image| courtside::frame::Cpu {
                    image,
                    ..Default::default()
                })
                .into(),
            ..Frame::default()
        });
        let mut go_on = |recut: &mut Recut| {
            recut
                .go_on(
                    || Ok::<_, ()>(windows.next()),
                    |frame| {
                        answered += frame.flows.iter().map(|flow| flow.answered).sum::<u64>();
                        Ok(())
                    },
                )
                .unwrap();
        };
        go_on(&mut recut);
        for event in events() {
            recut.event(event, 0);
            go_on(&mut recut);
        }
        recut.no_more_events();
        go_on(&mut recut);
    });
    // Nothing is missed that lives shortly: an answer and a service for each.
    assert_eq!(answered, 2 * CONNECTIONS);
    let turnarounds = peak(|| {
        let mut turnarounds = Turnarounds::default();
        for event in events() {
            turnarounds.add(event);
            while turnarounds.next(false).is_some() {}
        }
        while turnarounds.next(true).is_some() {}
    });
    let csv = peak(|| {
        let (mut resolver, mut csv) = (Resolver::new(Default::default()), Csv::new(true).unwrap());
        for event in events() {
            drop(csv.event(0, &resolver.resolve(&event, 0)).unwrap());
        }
    });
    let parquet = peak(|| {
        let (mut resolver, mut parquet) = (
            Resolver::new(Default::default()),
            Parquet::new(true).unwrap(),
        );
        for event in events() {
            drop(parquet.event(0, &resolver.resolve(&event, 0)).unwrap());
        }
    });
    let perfetto = peak(|| {
        let (mut resolver, mut trace) = (Resolver::new(Default::default()), Perfetto::default());
        for event in events() {
            drop(trace.event(&resolver.resolve(&event, 0)));
        }
    });
    let all = [
        ("windows", recut),
        ("turnarounds", turnarounds),
        ("csv", csv),
        ("parquet", parquet),
        ("perfetto", perfetto),
    ];
    for (who, bytes) in all {
        println!("{who}: {} KiB at most", bytes >> 10);
    }
    for (who, bytes) in all {
        assert!(bytes < MOST_BYTES, "{who} held {bytes} bytes");
    }
}
