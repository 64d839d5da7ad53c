use crate::fixture::frames;
use std::convert::Infallible;

use super::*;
use crate::{
    event::{Connection, Flow as Key, Off, Task, What},
    frame::{StealUnknown, merge},
};

const OFFSET: i64 = 1_000_000;
const CLIENT: u32 = 1;
const SERVER: u32 = 2;
/// What records; in no window.
const OWN: u32 = 9;

fn key(image: u32) -> Key {
    Key {
        image,
        peer: CLIENT + SERVER - image.min(2),
        port: 80,
        transport: 1,
        role: if image == CLIENT { 1 } else { 2 },
    }
}

fn event(time_ns: u64, image: u32, what: What) -> Event {
    Event {
        time_ns,
        tid: image * 10,
        cpu: image as u16,
        what,
    }
}

fn told(image: u32) -> [Event; 2] {
    let task = Task {
        tgid: image * 10,
        image,
        prompted: true,
        ..Task::default()
    };
    let connection = Connection {
        number: image.into(),
        flow: key(image),
        ..Connection::default()
    };
    [
        What::Task(Box::new(task)),
        What::Connection(Box::new(connection)),
    ]
    .map(|what| event(1, image, what))
}

fn send(time_ns: u64, began_ns: u64, image: u32) -> Event {
    let what = What::Send {
        connection: image.into(),
        bytes: 100,
        began_ns,
        known: true,
        flow: key(image),
    };
    event(time_ns, image, what)
}

fn receive(time_ns: u64, arrived_ns: u64, image: u32) -> Event {
    let what = What::Receive {
        connection: image.into(),
        bytes: 100,
        arrived_ns,
        known: true,
        floor_ns: 0,
        from_unprompted: false,
        waits: false,
        flow: key(image),
    };
    event(time_ns, image, what)
}

/// A roundtrip of 100 ns that begins at this time: 30 ns there, 20 ns unread, 20 ns served, 30 ns back.
fn roundtrip(at: u64) -> [Event; 4] {
    [
        send(at + 10, at, CLIENT),
        receive(at + 50, at + 30, SERVER),
        send(at + 80, at + 70, SERVER),
        receive(at + 110, at + 100, CLIENT),
    ]
}

/// Recorded windows of 1 µs; what happened in them is in the events.
fn window(number: u64) -> Frame {
    let images = [CLIENT, SERVER].map(|id| frames::image(id, "x", &[]));
    let mut frame = frames::frame(images.to_vec(), &[], vec![]);
    frame.start_unix_ns = OFFSET as u64 + number * 1000;
    frame.duration_ns = 1000;
    frame.lost.insert("events".to_owned(), 1);
    frame.cpu = [CLIENT, SERVER]
        .map(|image| crate::frame::Cpu {
            image,
            on_cpu_ns: 1,
            ..Default::default()
        })
        .to_vec();
    frame.flows = vec![Flow {
        image: CLIENT,
        peer: SERVER,
        port: 80,
        role: Role::Initiator,
        retransmits: 1,
        min_rtt_ns: 7,
        ..Flow::default()
    }];
    frame.cost.user_cpu_ns = 10;
    frame
}

/// All windows that are made of these.
fn cut(interval_ns: u64, windows: &[Frame], events: &[Event]) -> Vec<Frame> {
    let mut recut = Recut::new(interval_ns);
    let mut windows = windows.iter().cloned();
    let mut made = Vec::new();
    let mut go_on = |recut: &mut Recut| {
        let made = recut.go_on(
            || Ok::<_, Infallible>(windows.next()),
            |frame| {
                made.push(frame);
                Ok(())
            },
        );
        made.expect("nothing can fail");
    };
    for event in events {
        recut.event(event.clone(), OFFSET);
        go_on(&mut recut);
    }
    recut.no_more_events();
    go_on(&mut recut);
    made
}

fn flow(frame: &Frame, image: u32) -> Flow {
    let found = frame.flows.iter().find(|flow| flow.image == image);
    found.cloned().unwrap_or_default()
}

fn events(roundtrips: impl IntoIterator<Item = u64>) -> Vec<Event> {
    let told = [CLIENT, SERVER, OWN].into_iter().flat_map(told);
    told.chain(roundtrips.into_iter().flat_map(roundtrip))
        .collect()
}

#[test]
fn a_window_has_what_happened_in_it_and_the_sums_stay() {
    let windows: Vec<Frame> = (0..3).map(window).collect();
    let events = events([100, 390, 800, 1500, 2400, 2700]);
    let made = cut(400, &windows, &events);
    let starts: Vec<u64> = made
        .iter()
        .map(|w| w.start_unix_ns - OFFSET as u64)
        .collect();
    assert_eq!(starts, [0, 400, 800, 1200, 1600, 2000, 2400, 2800]);
    let lengths: Vec<u64> = made.iter().map(|w| w.duration_ns).collect();
    assert_eq!(lengths, [400, 400, 400, 400, 400, 400, 400, 200]);
    // A roundtrip counts where its answer is read, a message where it begins.
    let answered: Vec<u64> = made.iter().map(|w| flow(w, CLIENT).answered).collect();
    assert_eq!(answered, [1, 1, 1, 0, 1, 0, 1, 1]);
    let sent: Vec<u64> = made.iter().map(|w| flow(w, CLIENT).messages_sent).collect();
    assert_eq!(sent, [2, 0, 1, 1, 0, 0, 2, 0]);
    // What no event tells is that of the recorded window, told once, where it ends.
    let lost: Vec<u64> = made.iter().map(|w| w.lost["events"]).collect();
    assert_eq!(lost, [0, 0, 1, 0, 1, 0, 0, 1]);
    let cost: Vec<u64> = made.iter().map(|w| w.cost.user_cpu_ns).collect();
    assert_eq!(cost, [4, 4, 4, 4, 4, 4, 4, 2]);
    let whole = merge(made);
    let (client, server) = (flow(&whole, CLIENT), flow(&whole, SERVER));
    assert_eq!(client.answer, frames::times(6, 100));
    assert_eq!(server.answer, frames::times(6, 40));
    assert_eq!(server.queued, frames::times(6, 20));
    assert_eq!((client.retransmits, client.min_rtt_ns), (3, 7));
    assert_eq!((client.bytes_sent, client.bytes_received), (600, 600));
    assert_eq!(server.turnarounds, 6);
    let on_cpu = frames::cpu(6 * 40);
    assert_eq!(server.turnaround_parts, on_cpu);
    assert_eq!(whole.images.len(), 2);
}

#[test]
fn what_courtside_did_itself_is_in_no_window() {
    let windows = [window(0)];
    let mut events = events([100]);
    events.push(send(500, 500, OWN));
    let whole = merge(cut(300, &windows, &events));
    assert_eq!(flow(&whole, OWN), Flow::default());
    assert_eq!(flow(&whole, CLIENT).answered, 1);
}

#[test]
fn what_happened_before_the_first_window_or_after_the_last_is_theirs() {
    let windows = [window(1)];
    let made = cut(300, &windows, &events([100, 5000]));
    assert_eq!(made.len(), 4);
    assert_eq!(flow(&made[0], CLIENT).answered, 1);
    assert_eq!(flow(&made[3], CLIENT).answered, 1);
}

#[test]
fn where_windows_are_missing_there_are_none() {
    let far = 10_000_000_000;
    let mut later = window(0);
    later.start_unix_ns += far;
    let made = cut(300, &[window(0), later], &events([100, far + 100]));
    assert_eq!(made.len(), 8);
    let answered: Vec<u64> = made.iter().map(|w| flow(w, CLIENT).answered).collect();
    assert_eq!(answered.iter().sum::<u64>(), 2);
    assert_eq!(answered[0], 1);
    let length: u64 = made.iter().map(|w| w.duration_ns).sum();
    assert_eq!(length, 2000);
    // The rhythm goes on.
    let starts = made.iter().map(|w| w.start_unix_ns - OFFSET as u64);
    let off: Vec<u64> = starts.map(|start| start % 300).collect();
    assert_eq!(off, [0, 0, 0, 0, far % 300, 0, 0, 0]);
}

#[test]
fn what_the_hypervisor_took_is_spread_over_the_window_and_what_is_unknown_stays_so() {
    let with = |steal| {
        let mut recorded = window(0);
        recorded.steal = steal;
        recorded.tells_throttled_parts = true;
        cut(300, &[recorded], &events([100]))
    };
    let made = with(Some(Steal::Ns(100)));
    let took: Vec<_> = made.iter().map(|window| window.steal).collect();
    assert_eq!(took, [30, 30, 30, 10].map(|ns| Some(Steal::Ns(ns))));
    assert!(made.iter().all(|window| window.tells_throttled_parts));
    let never = Some(Steal::Unknown(StealUnknown::NeverTold));
    for steal in [None, never] {
        assert!(with(steal).iter().all(|window| window.steal == steal));
    }
    let both = |one, other| {
        let [mut before, mut after] = [window(0), window(1)];
        (before.steal, after.steal) = (one, other);
        merge(vec![before, after]).steal
    };
    let ns = |ns| Some(Steal::Ns(ns));
    assert_eq!(both(ns(1), ns(2)), ns(3));
    assert_eq!([both(ns(1), never), both(never, ns(1))], [never, never]);
    assert_eq!([both(None, ns(1)), both(ns(1), None)], [None, None]);
}

fn switch(time_ns: u64, tid: u32, next_tid: u32, off: Off) -> Event {
    Event {
        time_ns,
        tid,
        cpu: 1,
        what: What::Switch { off, next_tid },
    }
}

/// A wake-up of the client.
fn wake(time_ns: u64, waited: bool) -> Event {
    Event {
        time_ns,
        tid: 0,
        cpu: 2,
        what: What::Wake { tid: 10, waited },
    }
}

#[test]
fn a_wait_is_counted_in_the_window_in_which_it_ends_and_running_up_to_each_border() {
    let [client, _] = told(CLIENT);
    let events = [
        client,
        switch(101, 10, 0, Off::BlockIo),
        wake(500, true),
        switch(550, 0, 10, Off::Sleep),
        switch(750, 10, 0, Off::RunQueue),
        switch(760, 0, 10, Off::Sleep),
        switch(900, 10, 0, Off::Sleep),
    ];
    let made = cut(600, &[window(0)], &events);
    let cpu: Vec<_> = made.iter().map(|window| window.cpu[0].clone()).collect();
    assert_eq!([cpu[0].on_cpu_ns, cpu[1].on_cpu_ns], [100 + 50, 150 + 140]);
    assert_eq!([cpu[0].run_queue_ns, cpu[1].run_queue_ns], [50, 10]);
    assert_eq!([cpu[0].block_io_ns, cpu[1].block_io_ns], [399, 0]);
    let switches = |cpu: &crate::frame::Cpu| (cpu.voluntary_switches, cpu.involuntary_switches);
    assert_eq!([switches(&cpu[0]), switches(&cpu[1])], [(1, 0), (1, 1)]);
}

/// Whoever sleeps and comes back without a wake-up slept; one that came before it left its CPU ended the wait at once.
#[test]
fn a_wake_up_that_was_not_told_came_when_the_sleeper_did() {
    let [client, _] = told(CLIENT);
    let events = [
        client,
        switch(101, 10, 0, Off::BlockIo),
        switch(250, 0, 10, Off::Sleep),
        wake(290, false),
        switch(300, 10, 0, Off::Sleep),
        switch(310, 0, 10, Off::Sleep),
        switch(320, 10, 0, Off::BlockIo),
        switch(350, 0, 10, Off::Sleep),
        switch(400, 10, 0, Off::RunQueue),
        switch(450, 0, 10, Off::Sleep),
    ];
    let made = cut(600, &[window(0)], &events);
    let cpu = &made[0].cpu[0];
    assert_eq!(cpu.block_io_ns, 149 + 30);
    assert_eq!(cpu.run_queue_ns, 10 + 50);
}

#[test]
fn windows_go_together_by_where_their_middle_lies() {
    let mut together = Joined::new(3000);
    let mut made = Vec::new();
    for number in 0..7 {
        let mut frame = window(number);
        // Nobody wakes up in time.
        frame.start_unix_ns += number * 20;
        made.extend(together.add(frame));
    }
    made.extend(together.finish());
    let windows: Vec<u64> = made.iter().map(|frame| frame.lost["events"]).collect();
    assert_eq!(windows, [3, 3, 1]);
    assert!(together.finish().is_none());
}

/// A clock that was set by years makes such a window.
#[test]
fn however_many_windows_there_are_few_wait() {
    let mut long = window(0);
    long.duration_ns = 100_000_000;
    let mut windows = vec![long].into_iter();
    let mut recut = Recut::new(1000);
    recut.no_more_events();
    let mut made = 0;
    let taken = recut.go_on(
        || Ok::<_, u64>(windows.next()),
        |frame| {
            assert_eq!(frame.duration_ns, 1000);
            made += 1;
            if made < 50_000 { Ok(()) } else { Err(made) }
        },
    );
    assert_eq!(taken, Err(50_000));
    assert!(recut.ready.capacity() < 10 * READY);
}
