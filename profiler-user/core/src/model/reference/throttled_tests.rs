//! What a quota holds back, in turnarounds of known length.

use super::{
    connection::{ACCEPTOR, TCP},
    reference,
};
use crate::{
    event::{Event, Flow, Off, What},
    parts::{Part, Parts},
};

const FLOW: Flow = Flow {
    image: 1,
    peer: 2,
    port: 80,
    transport: TCP,
    role: ACCEPTOR,
};

fn event(time_ns: u64, tid: u32, what: What) -> Event {
    Event {
        time_ns,
        tid,
        cpu: 0,
        what,
    }
}

fn switch(time_ns: u64, tid: u32, off: Off, next_tid: u32) -> Event {
    event(time_ns, tid, What::Switch { off, next_tid })
}

fn reads(time_ns: u64, arrived_ns: u64) -> Event {
    let what = What::Receive {
        connection: 1,
        bytes: 1,
        arrived_ns,
        known: true,
        floor_ns: 0,
        from_unprompted: false,
        waits: false,
        flow: FLOW,
    };
    event(time_ns, 8, what)
}

fn sends(time_ns: u64) -> Event {
    let what = What::Send {
        connection: 1,
        bytes: 1,
        began_ns: time_ns,
        known: true,
        flow: FLOW,
    };
    event(time_ns, 8, what)
}

/// The parts of one turnaround.
fn parts(events: &[Event]) -> Parts<u64> {
    let counts = reference(events)[&FLOW];
    assert_eq!(counts.turnarounds, 1);
    counts.parts
}

/// A message arrives at 1000 and wakes a thread, which comes at 1100, loses its CPU at 2000 and has it again at 5000.
fn held_back(ns: u64) -> Vec<Event> {
    vec![
        switch(500, 8, Off::Sleep, 0),
        event(
            1000,
            0,
            What::Wake {
                tid: 8,
                waited: true,
            },
        ),
        switch(1100, 0, Off::Sleep, 8),
        reads(1110, 1000),
        switch(2000, 8, Off::RunQueue, 9),
        switch(5000, 9, Off::RunQueue, 8),
        event(5010, 8, What::Throttled { ns }),
        sends(6000),
    ]
}

#[test]
fn what_a_quota_held_back_is_no_run_queue_and_the_parts_add_up() {
    let told = parts(&held_back(2500));
    let expected = [
        (Part::OnCpu, 900 + 1000),
        (Part::RunQueue, 100 + 500),
        (Part::Throttled, 2500),
    ];
    assert_eq!(told, expected.into_iter().collect());
    assert_eq!(told.total_ns(), 5000);
    // No quota holds back for longer than a wait lasts.
    let told = parts(&held_back(u64::MAX));
    assert_eq!(told[Part::Throttled], 3000);
    assert_eq!(told[Part::RunQueue], 100);
    assert_eq!(told.total_ns(), 5000);
}

#[test]
fn without_the_event_it_is_run_queue_as_before() {
    let mut events = held_back(0);
    events.retain(|event| !matches!(event.what, What::Throttled { .. }));
    let told = parts(&events);
    assert_eq!((told[Part::Throttled], told[Part::RunQueue]), (0, 3100));
}

/// The thread has sent before it is held back from 2000 to 4500; the message arrives at 3500.
#[test]
fn of_a_message_that_comes_while_its_reader_is_held_back_the_rest_counts() {
    let told = parts(&[
        switch(900, 9, Off::Sleep, 8),
        sends(1500),
        switch(2000, 8, Off::RunQueue, 9),
        switch(5000, 9, Off::RunQueue, 8),
        event(5010, 8, What::Throttled { ns: 2500 }),
        reads(5200, 3500),
        sends(6000),
    ]);
    let expected = [
        (Part::OnCpu, 1000),
        (Part::RunQueue, 500),
        (Part::Throttled, 1000),
    ];
    assert_eq!(told, expected.into_iter().collect());
}

#[test]
fn of_a_thread_that_nobody_knows_nothing_is_told() {
    assert!(reference(&[event(100, 8, What::Throttled { ns: 50 })]).is_empty());
}
