//! All that can be done with the bytes of a recording. Whatever they are, nothing panics and nothing takes more memory
//! than the bytes account for.
//!
//! In: bytes. Out: nothing. Used by the fuzz target and, with bytes damaged on purpose, by a test.

use std::{convert::Infallible, path::Path};

use courtside::{
    export::{csv::Csv, parquet::Parquet, perfetto::Perfetto, table},
    frame::{Frame, Merge},
    model::resolve::Resolver,
    model::{State, View, fold, recut::Recut, turnarounds::Turnarounds},
    record::{MAX_EVENTS, Recording},
};

/// Windows of another length, of the whole time that a recording says it is.
const PIECES: u64 = 100;

/// Opens, reads, verifies, folds and cuts anew.
pub fn recording(bytes: &[u8]) {
    let name = Path::new("x.rec");
    let source = || Box::new(bytes.to_vec());
    let opened = [
        Recording::from_source(name, source()),
        Recording::from_parts(name, source(), source()),
    ];
    for recording in opened.into_iter().flatten() {
        let mut state = State::default();
        let mut merge = Merge::default();
        for frame in recording.frames().flatten() {
            look(&mut state, &frame);
            merge.add(frame);
        }
        look(&mut State::default(), &merge.finish());
        for record in recording.records() {
            drop(recording.payload(&record));
        }
        // As many as fit into the batches, which is bounded by their bytes.
        let events = recording.events().flatten().count();
        assert!(events <= recording.records().len() * MAX_EVENTS);
        for fault in recording.verify().into_iter().flatten() {
            assert!(!fault.to_string().is_empty());
        }
        cut_anew(&recording);
        export(&recording);
    }
}

/// Tells every event, to those who write them down.
fn export(recording: &Recording) {
    let (mut resolver, mut trace) = (Resolver::new(Default::default()), Perfetto::default());
    let mut turnarounds = Turnarounds::default();
    let (Ok(mut csv), Ok(mut parquet)) = (Csv::new(true), Parquet::new(true)) else {
        return;
    };
    for (number, frame) in (0..).zip(recording.frames().flatten()) {
        let snapshot = fold(&mut State::default(), &frame, &View::default());
        drop(trace.add(number, &snapshot));
        drop(csv.add(number, &snapshot));
        drop(parquet.add(number, &snapshot));
        assert!(!table::render(&snapshot, table::Style::default()).is_empty());
    }
    let mut events = recording.events();
    while let Some(event) = events.next() {
        if let Ok(event) = event {
            let told = resolver.resolve(&event, events.unix_offset_ns());
            drop((
                csv.event(0, &told),
                parquet.event(0, &told),
                trace.event(&told),
            ));
            turnarounds.add(event);
            while let Some((event, turnaround)) = turnarounds.next(false) {
                if let Some(turnaround) = turnaround {
                    trace.turnaround(&resolver.resolve(&event, i64::MAX), &turnaround);
                }
            }
        }
    }
    while turnarounds.next(true).is_some() {}
    drop((csv.finish(), parquet.finish(), trace.finish()));
}

/// Makes windows of another length, at whatever times the recorded ones are.
fn cut_anew(recording: &Recording) {
    let frames: Vec<Frame> = recording.frames().flatten().collect();
    let end = |frame: &Frame| frame.start_unix_ns.saturating_add(frame.duration_ns);
    let from = frames.iter().map(|frame| frame.start_unix_ns).min();
    let to = frames.iter().map(end).max();
    let span = to.unwrap_or(0).saturating_sub(from.unwrap_or(0));
    let most = frames.len() as u64 * (PIECES + 2);
    let mut made = 0;
    let mut recut = Recut::new(span / PIECES + 1);
    let mut frames = frames.into_iter();
    let mut go_on = |recut: &mut Recut| {
        let took = |_| {
            made += 1;
            Ok(())
        };
        assert_eq!(
            recut.go_on(|| Ok::<_, Infallible>(frames.next()), took),
            Ok(())
        );
    };
    let mut events = recording.events();
    while let Some(event) = events.next() {
        if let Ok(event) = event {
            recut.event(event, events.unix_offset_ns());
            go_on(&mut recut);
        }
    }
    recut.no_more_events();
    go_on(&mut recut);
    assert!(made <= most, "{made} windows, {most} at most");
}

/// Folds one window, and makes the text of what came of it.
pub fn look(state: &mut State, frame: &Frame) {
    let snapshot = fold(state, frame, &View::default());
    assert!(serde_json::to_string(&snapshot).is_ok());
}
