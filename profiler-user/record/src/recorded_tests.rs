//! One pass over a recording: each consumer gets what it needs, and what is left out is said.

use std::{cell::RefCell, fs::File, rc::Rc};

use courtside_core::{
    event::{Event, What},
    fixture::frames,
    model::{State, View, fold},
    pass::{Analysis as _, Consumer, Needs, PassWindow, Seen},
};

use super::{ByNumber, Header, Kind, Recorded, Recording, Remarks, Writer, encode_events};

/// Notes what it is given.
struct Noting {
    needs: Needs,
    windows: Vec<usize>,
    events: Vec<(usize, u64)>,
}

fn noting(needs: Needs) -> Noting {
    Noting {
        needs,
        windows: Vec::new(),
        events: Vec::new(),
    }
}

impl Consumer for Noting {
    fn needs(&self) -> Needs {
        self.needs
    }

    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        assert!(self.events.is_empty(), "windows come before events");
        assert_eq!(
            window.snapshot.window.start_unix_ns,
            window.frame.start_unix_ns
        );
        self.windows.push(window.number);
        Ok(())
    }

    fn event(&mut self, seen: &Seen<'_>) -> anyhow::Result<()> {
        assert_eq!(seen.event.time_ns, seen.resolved.time_unix_ns);
        self.events.push((seen.window, seen.event.time_ns));
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Said(Rc<RefCell<Vec<String>>>);

impl Remarks for Said {
    fn say(&self, what: &str) {
        self.0.borrow_mut().push(what.to_owned());
    }
}

const SECOND: u64 = 1_000_000_000;

/// Four windows of a second from the start of the chain's, with an event in the middle of each, and a record of a later version.
fn recording(file: &File) -> (Recording, u64) {
    let start = frames::chain(1).start_unix_ns;
    let mut writer = Writer::new(file.try_clone().unwrap(), &Header::default()).unwrap();
    for n in 0..4 {
        let mut frame = frames::chain(n + 1);
        frame.start_unix_ns = start + n * SECOND;
        writer.frame(&frame).unwrap();
        let event = Event {
            time_ns: start + n * SECOND + SECOND / 2,
            tid: 7,
            cpu: 0,
            what: What::Exit,
        };
        let payload = encode_events(std::slice::from_ref(&event), 0);
        writer
            .record(Kind::EVENTS, event.time_ns, 0, &payload)
            .unwrap();
    }
    writer.record(Kind(99), start, 0, b"later").unwrap();
    writer.finish().unwrap();
    let source = Box::new(file.try_clone().unwrap());
    let recording = Recording::from_source("x.rec".as_ref(), source).unwrap();
    (recording, start)
}

#[test]
fn one_pass_gives_each_consumer_what_it_needs() {
    let file = tempfile::tempfile().unwrap();
    let (recording, start) = recording(&file);
    let said = Said::default();
    let remarks = Box::new(said.clone());
    let recorded = Recorded::new(recording, Some(1..=2), None, View::default(), remarks).unwrap();
    let [mut some, mut none, mut all] =
        [Needs::Events, Needs::Windows, Needs::Turnarounds].map(noting);
    let mut whole = recorded.whole();
    let mut requests = Vec::new();
    let mut pieces = recorded.pieces(2, |piece| requests.push(piece.entries[0].requests));
    recorded
        .pass(&mut [&mut some, &mut none, &mut all, &mut whole, &mut pieces])
        .unwrap();
    pieces.finish();
    let at = |n| start + n * SECOND + SECOND / 2;
    assert_eq!(some.events, [(1, at(1)), (2, at(2))]);
    assert_eq!(all.events, some.events);
    assert_eq!(none.events, []);
    for consumer in [&some, &none, &all] {
        assert_eq!(consumer.windows, [1, 2]);
    }
    assert_eq!(whole.finish().entries[0].requests, 2 + 3);
    assert_eq!(requests, [2, 3]);
    let said = said.0.borrow();
    let [later] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!(
        later,
        "records of kinds that only a newer courtside knows are left out: 1"
    );
}

#[test]
fn windows_that_are_not_there_are_told_with_those_that_are() {
    let file = tempfile::tempfile().unwrap();
    let (recording, _) = recording(&file);
    let remarks = Box::new(Said::default());
    let error = Recorded::new(recording, Some(3..=4), None, View::default(), remarks);
    let error = error.err().unwrap().to_string();
    assert_eq!(error, "x.rec has no window 4: it has 0 to 3");
}

#[test]
fn a_window_is_the_same_in_whatever_order_it_is_asked_for() {
    let file = tempfile::tempfile().unwrap();
    let (recording, _) = recording(&file);
    let mut state = State::default();
    let in_order: Vec<String> = recording
        .frames()
        .map(|frame| fold(&mut state, &frame.unwrap(), &View::default()))
        .map(|snapshot| serde_json::to_string(&snapshot).unwrap())
        .collect();
    assert_eq!(in_order.len(), 4);
    let remarks = Box::new(Said::default());
    let recorded = Recorded::new(recording, None, None, View::default(), remarks).unwrap();
    let mut windows = ByNumber::new(recorded, 2);
    for number in [2, 3, 0, 1, 1, 3, 2, 0] {
        let snapshot = windows.snapshot(number).unwrap().unwrap();
        assert_eq!(serde_json::to_string(&snapshot).unwrap(), in_order[number]);
        assert!(windows.kept() <= 2);
    }
    assert!(windows.snapshot(4).unwrap().is_err());
}
