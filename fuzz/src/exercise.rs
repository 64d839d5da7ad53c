//! All that can be done with the bytes of a recording. Whatever they are, nothing panics and nothing takes more memory
//! than the bytes account for.
//!
//! In: bytes. Out: nothing. Used by the fuzz target and, with bytes damaged on purpose, by a test.

use std::path::Path;

use courtside::{
    frame::{Frame, Merge},
    model::{State, View, fold},
    record::{MAX_EVENTS, Recording},
};

/// Opens, reads, verifies and folds.
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
    }
}

/// Folds one window, and makes the text of what came of it.
pub fn look(state: &mut State, frame: &Frame) {
    let snapshot = fold(state, frame, &View::default());
    assert!(serde_json::to_string(&snapshot).is_ok());
}
