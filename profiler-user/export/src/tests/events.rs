//! Single events: told in full, in tables, and in a trace.

use std::rc::Rc;

use super::*;
use crate::perfetto::proto::TracePacket;
use crate::tables::{Cells, Kind, event_cells, events};
use courtside_core::event::{Connection, Event, Flow, Off, Task, What};
use courtside_core::model::resolve::{ComponentName, ComponentNames, ResolvedEvent, Resolver};
use courtside_core::model::turnarounds::Turnaround;
use courtside_core::parts::Part;

const OFFSET: i64 = 1_000_000;

fn who() -> ComponentNames {
    let named = |name: &str| {
        Rc::new(ComponentName {
            id: format!("program:{name}"),
            name: name.to_owned(),
        })
    };
    [(frames::LOAD, named("load")), (frames::WEB, named("web"))]
        .into_iter()
        .collect()
}

fn at(time_ns: u64, tid: u32, what: What) -> Event {
    Event {
        time_ns,
        tid,
        cpu: 1,
        what,
    }
}

fn task(tid: u32, image: u32, comm: &[u8; 16]) -> Event {
    let task = Task {
        tgid: tid,
        image,
        comm: *comm,
        ..Task::default()
    };
    at(0, tid, What::Task(Box::new(task)))
}

/// The end of load (number 1) or of web (number 2).
fn connection(number: u64) -> Event {
    let ports = [50_000, 80];
    let images = [frames::LOAD, frames::WEB];
    let own = number as usize - 1;
    let connection = Connection {
        number,
        local_port: ports[own],
        remote_port: ports[1 - own],
        flow: Flow {
            image: images[own],
            peer: images[1 - own],
            port: 80,
            transport: 1,
            role: number as u8,
        },
        ..Connection::default()
    };
    at(0, 10, What::Connection(Box::new(connection)))
}

fn send(time_ns: u64, began_ns: u64, connection: u64) -> Event {
    let send = What::Send {
        connection,
        bytes: 100,
        began_ns,
        known: true,
        flow: Flow::default(),
    };
    at(time_ns, connection as u32 * 10, send)
}

fn receive(time_ns: u64, connection: u64, bytes: u32) -> Event {
    let receive = What::Receive {
        connection,
        bytes,
        arrived_ns: time_ns - 1,
        known: false,
        floor_ns: 0,
        from_unprompted: false,
        waits: false,
        flow: Flow::default(),
    };
    at(time_ns, connection as u32 * 10, receive)
}

fn told(events: &[Event]) -> Vec<ResolvedEvent> {
    let mut resolver = Resolver::new(who());
    let before = [
        task(10, frames::LOAD, b"load\0rest-of-it."),
        task(20, frames::WEB, b"web-of-16-letter"),
        connection(1),
        connection(2),
    ];
    let all = before.iter().chain(events);
    all.map(|event| resolver.resolve(event, OFFSET)).collect()
}

/// Where each arrow begins and ends, by the monotonic clock, in the order of beginnings; and the packets.
fn arrows(events: &[Event]) -> (Vec<(u64, Option<u64>)>, Vec<TracePacket>) {
    let mut perfetto = Perfetto::default();
    let window = fold(&mut State::default(), &frames::chain(1), &View::default());
    let mut bytes: Vec<Piece> = perfetto.add(0, &window);
    bytes.extend(told(events).iter().filter_map(|told| perfetto.event(told)));
    bytes.extend(perfetto.finish());
    let trace = Trace::decode(files([bytes])[""].as_slice()).unwrap();
    let mut begun = BTreeMap::new();
    let mut ended = BTreeMap::new();
    for packet in &trace.packet {
        if let (Some(at), Some(event)) = (packet.timestamp, &packet.track_event) {
            let at = at - OFFSET as u64;
            begun.extend(event.flow_ids.iter().map(|flow| (*flow, at)));
            ended.extend(event.terminating_flow_ids.iter().map(|flow| (*flow, at)));
        }
    }
    let arrow = |(flow, at)| (at, ended.get(&flow).copied());
    (begun.into_iter().map(arrow).collect(), trace.packet)
}

#[test]
fn an_event_is_told_with_what_was_said_of_its_task_and_connection() {
    let exec = What::Exec {
        old_tid: 20,
        image: frames::LOAD,
        comm: *b"new\0\0\0\0\0\0\0\0\0\0\0\0\0",
    };
    let told = told(&[
        send(500, 400, 1),
        at(600, 20, exec),
        at(700, 20, What::Exit),
    ]);
    let [.., send, exec, exit] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(send.kind(), "send");
    assert_eq!(
        (send.tid, send.tgid, send.comm.as_deref()),
        (10, Some(10), Some("load"))
    );
    assert_eq!(send.component.as_ref().unwrap().id, "program:load");
    assert_eq!(send.peer.as_ref().unwrap().id, "program:web");
    assert_eq!(
        (send.time_unix_ns, send.since_unix_ns),
        (1_000_500, Some(1_000_400))
    );
    assert_eq!(send.bytes, Some(100));
    assert_eq!(exec.comm.as_deref(), Some("new"));
    assert_eq!(exit.component.as_ref().unwrap().id, "program:load");
}

#[test]
fn tables_hold_every_event() {
    let told = told(&[send(500, 400, 1), receive(600, 2, 100)]);
    let mut csv = Csv::new(true).unwrap();
    let mut parquet = Parquet::new(true).unwrap();
    let mut pieces = Vec::new();
    for event in &told {
        pieces.extend(csv.event(7, event).unwrap());
        pieces.extend(parquet.event(7, event).unwrap());
    }
    pieces.extend(csv.finish().unwrap());
    pieces.extend(parquet.finish().unwrap());
    let mut files = files([pieces]);
    let from_csv = read_csv(&events(), &files["events.csv"]);
    let from_parquet = read_parquet(files.remove("events.parquet").unwrap());
    assert_eq!(from_csv, from_parquet);
    assert_eq!(from_csv.len(), 6);
    let text = |text: &str| Cell::Text(text.to_owned());
    for (name, cell) in [
        ("window", Cell::Count(7)),
        ("kind", text("receive")),
        ("component", text("program:web")),
        ("peer", text("program:load")),
        ("transport", text("tcp")),
        ("role", text("acceptor")),
        ("port", Cell::Count(80)),
        ("bytes", Cell::Count(100)),
        ("since_unix_ns", Cell::Null),
        ("off", Cell::Null),
    ] {
        assert_eq!(from_csv[5][name], cell, "{name}");
    }
    // No events, no table of them.
    assert!(!self::files([Csv::new(false).unwrap().finish().unwrap()]).contains_key("events.csv"));
}

#[test]
fn arrows_lead_from_each_send_to_the_first_receive_of_its_bytes() {
    let (arrows, _) = arrows(&[
        send(110, 100, 1),
        send(130, 120, 1),
        receive(140, 2, 150), // all of the first, half of the second
        receive(150, 2, 50),
        send(170, 160, 2),
        receive(180, 1, 100),
        send(210, 200, 1), // never received
    ]);
    let expected = [
        (100, Some(140)),
        (120, Some(140)),
        (160, Some(180)),
        (200, None),
    ];
    assert_eq!(arrows, expected);
}

#[test]
fn a_receive_may_come_before_its_send_call_has_ended() {
    let (arrows, _) = arrows(&[
        receive(105, 2, 100),
        send(110, 100, 1),
        send(210, 200, 1),
        receive(220, 2, 100),
    ]);
    assert_eq!(arrows, [(100, Some(105)), (200, Some(220))]);
}

#[test]
fn what_was_on_the_way_before_anyone_looked_has_no_arrow() {
    let (arrows, packets) = arrows(&[receive(50, 2, 70), send(110, 100, 1), receive(120, 2, 100)]);
    assert_eq!(arrows, [(100, Some(120))]);
    let received = packets.iter().filter(|packet| {
        let event = packet.track_event.as_ref();
        event.is_some_and(|e| {
            e.name
                .as_deref()
                .is_some_and(|name| name.starts_with("receive"))
        })
    });
    assert_eq!(received.count(), 2);
}

#[test]
fn a_tasks_states_follow_each_other_without_a_gap() {
    let off = |time_ns, tid, off, next_tid| at(time_ns, tid, What::Switch { off, next_tid });
    let wake = |time_ns, by, tid| at(time_ns, by, What::Wake { tid, waited: true });
    let (_, packets) = arrows(&[
        off(100, 20, Off::Sleep, 10),
        wake(200, 10, 20),
        off(300, 10, Off::RunQueue, 20),
        off(400, 20, Off::BlockIo, 10),
    ]);
    let tracks: BTreeMap<u64, String> = packets
        .iter()
        .filter_map(|packet| packet.track_descriptor.as_ref())
        .filter_map(|track| Some((track.uuid, track.thread.clone()?.thread_name?)))
        .collect();
    let parents: BTreeMap<u64, u64> = packets
        .iter()
        .filter_map(|packet| packet.track_descriptor.as_ref())
        .filter_map(|track| Some((track.uuid, track.parent_uuid?)))
        .collect();
    let states: Vec<(u64, &str)> = packets
        .iter()
        .filter_map(|packet| Some((packet.timestamp?, packet.track_event.as_ref()?)))
        .filter(|(_, event)| {
            let thread = parents
                .get(&event.track_uuid)
                .and_then(|thread| tracks.get(thread));
            thread.is_some_and(|name| name == "web-of-16-letter")
        })
        .filter_map(|(at, event)| Some((at - OFFSET as u64, event.name.as_deref()?)))
        .collect();
    assert_eq!(
        states,
        [
            (100, "sleep"),
            (200, "run queue"),
            (300, "on-CPU"),
            (400, "disk")
        ]
    );
}

/// As [`connection`], of a Unix socket.
fn unix(number: u64) -> Event {
    let mut event = connection(number);
    if let What::Connection(connection) = &mut event.what {
        connection.flow.transport = 3;
        (connection.local_port, connection.remote_port) = (0, 0);
    }
    event
}

/// Data of the sending task `by` arrives at a connection.
fn arrival(time_ns: u64, by: u64, connection: u64) -> Event {
    at(time_ns, by as u32 * 10, What::Arrival { connection })
}

#[test]
fn arrows_over_unix_sockets_lead_to_the_end_at_which_the_data_arrived() {
    let (arrows, _) = arrows(&[
        unix(1),
        unix(2),
        // Before the other end is known there is no arrow.
        send(110, 100, 1),
        receive(120, 2, 100),
        arrival(200, 1, 2),
        // Whoever reads it may be done before the send call is.
        receive(205, 2, 100),
        send(210, 200, 1),
        arrival(300, 2, 1),
        send(310, 300, 2),
        receive(320, 1, 100),
        // From now on the ends are known.
        send(410, 400, 1),
        receive(420, 2, 100),
    ]);
    let expected = [(200, Some(205)), (300, Some(320)), (400, Some(420))];
    assert_eq!(arrows, expected);
}

#[test]
fn a_reader_that_is_faster_than_the_announcement_has_its_arrow() {
    let (arrows, _) = arrows(&[
        unix(1),
        unix(2),
        arrival(200, 1, 2),
        send(210, 200, 1),
        receive(220, 2, 100),
        receive(299, 2, 100),
        arrival(300, 1, 2),
        send(310, 300, 1),
        arrival(400, 1, 2),
        send(410, 400, 1),
        receive(420, 2, 100),
    ]);
    let expected = [(200, Some(220)), (298, Some(299)), (400, Some(420))];
    assert_eq!(arrows, expected);
}

#[test]
fn turnarounds_are_slices_of_their_thread_that_do_not_overlap() {
    let mut perfetto = Perfetto::default();
    let window = fold(&mut State::default(), &frames::chain(1), &View::default());
    let mut bytes: Vec<Piece> = perfetto.add(0, &window);
    let turnaround = |from_ns: u64, to_ns: u64, queued_ns| Turnaround {
        from_ns: from_ns + OFFSET as u64,
        to_ns: to_ns + OFFSET as u64,
        parts: frames::parts([
            (Part::OnCpu, to_ns - from_ns - queued_ns),
            (Part::Queued, queued_ns),
        ]),
        handed_over: queued_ns > 0,
    };
    let turnarounds = [turnaround(100, 400, 0), turnaround(300, 900, 150)];
    let told = told(&[send(500, 400, 2), send(1000, 900, 2)]);
    for (told, turnaround) in told[told.len() - 2..].iter().zip(&turnarounds) {
        bytes.extend(perfetto.event(told));
        perfetto.turnaround(told, turnaround);
    }
    bytes.extend(perfetto.finish());
    let trace = Trace::decode(files([bytes])[""].as_slice()).unwrap();
    let track = trace.packet.iter().find_map(|packet| {
        let track = packet.track_descriptor.as_ref()?;
        (track.name.as_deref() == Some("turnaround")).then_some(track)
    });
    let moments = trace.packet.iter().filter_map(|packet| {
        Some((
            packet.timestamp? - OFFSET as u64,
            packet.track_event.as_ref()?,
        ))
    });
    let own = moments.filter(|(_, event)| event.track_uuid == track.unwrap().uuid);
    let told: Vec<(u64, Option<&str>, Vec<u64>)> = own
        .map(|(at, event)| {
            let values = event.annotations.iter().map(|a| a.uint_value.unwrap());
            (at, event.name.as_deref(), values.collect())
        })
        .collect();
    let name = Some("turnaround → load");
    let expected = [
        (100, name, vec![300, 0, 0, 0, 0, 0, 0, 0, 0]),
        (400, None, vec![]),
        // It was handed over, and waited while the thread was still busy.
        (400, name, vec![450, 0, 0, 0, 150, 0, 0, 0, 1]),
        (900, None, vec![]),
    ];
    assert_eq!(told, expected);
}

/// What kind of cell comes, one after the other.
#[derive(Default)]
struct Kinds(Vec<Option<Kind>>);

impl<'a> Cells<'a> for Kinds {
    fn count(&mut self, count: Option<u64>) {
        self.0.push(count.map(|_| Kind::Count));
    }

    fn text(&mut self, text: Option<&'a str>) {
        self.0.push(text.map(|_| Kind::Text));
    }

    fn word(&mut self, word: Option<&'static str>) {
        self.0.push(word.map(|_| Kind::Text));
    }

    fn flag(&mut self, flag: Option<bool>) {
        self.0.push(flag.map(|_| Kind::Flag));
    }
}

#[test]
fn an_events_cells_are_those_of_the_columns_in_their_order() {
    let named = Some(Rc::new(ComponentName {
        id: "program:web".to_owned(),
        name: "web".to_owned(),
    }));
    let connection = Connection {
        flow: Flow {
            transport: 1,
            role: 1,
            ..Flow::default()
        },
        ..Connection::default()
    };
    let all = ResolvedEvent {
        tgid: Some(1),
        comm: Some("web".into()),
        component: named.clone(),
        connection: Some(Rc::new(connection)),
        peer: named,
        bytes: Some(1),
        since_unix_ns: Some(1),
        other_tid: Some(1),
        off: Some(Off::Sleep),
        states: Some((1, 7)),
        request: Some(1),
        write: Some(true),
        throttled_ns: Some(1),
        ..ResolvedEvent::default()
    };
    let columns = events().columns;
    for (event, is_whole) in [(all, true), (ResolvedEvent::default(), false)] {
        let mut kinds = Kinds::default();
        event_cells(0, &event, &mut kinds);
        assert_eq!(kinds.0.len(), columns.len());
        for (kind, column) in kinds.0.iter().zip(&columns) {
            match kind {
                Some(kind) => assert_eq!(*kind, column.kind, "{}", column.name),
                None => assert!(column.nullable && !is_whole, "{}", column.name),
            }
        }
    }
}

#[test]
fn the_same_events_make_the_same_trace() {
    let tasks = (10..60).map(|tid| task(tid, frames::WEB, b"web\0\0\0\0\0\0\0\0\0\0\0\0\0"));
    let runs = (10..60).map(|tid| {
        let next_tid = tid + 1;
        let off = Off::Sleep;
        at(100 + u64::from(tid), tid, What::Switch { off, next_tid })
    });
    let events: Vec<Event> = tasks.chain(runs).collect();
    let (_, first) = arrows(&events);
    assert!((0..4).all(|_| arrows(&events).1 == first));
    assert!(first.len() > 150);
}
