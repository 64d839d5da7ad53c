//! A recorder that windows and single events go into from two threads.
//!
//! In: Frames, batches of events. Out: records, one after the other. Must not know: where they come from.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    collect::Sink,
    event::Event,
    frame::Frame,
    record::{Recorder, Summary, WriteError, encode_events},
};

/// A recorder for several threads.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    recorder: Option<Recorder>,
    /// Batches from before there was a recorder: events come from the first hook on, and only when everything is attached
    /// a file is begun.
    early: Vec<Early>,
}

struct Early {
    events: Vec<Event>,
    unix_offset_ns: i64,
    payload: Vec<u8>,
}

impl Shared {
    /// From now on there is something to record into.
    pub(super) fn begin(&self, recorder: Recorder) -> Result<(), WriteError> {
        let mut state = self.lock();
        let early = std::mem::take(&mut state.early);
        let recorder = state.recorder.insert(recorder);
        for batch in &early {
            recorder.events(&batch.events, batch.unix_offset_ns, &batch.payload)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A recorder is sound between two records, whoever failed there.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn frame(&self, frame: &Frame) -> Result<(), WriteError> {
        self.lock()
            .recorder
            .as_mut()
            .map_or(Ok(()), |recorder| recorder.frame(frame))
    }

    pub(super) fn summary(&self) -> Summary {
        let state = self.lock();
        state
            .recorder
            .as_ref()
            .map_or_else(Summary::default, Recorder::summary)
    }

    pub(super) fn windows(&self) -> u64 {
        self.lock().recorder.as_ref().map_or(0, Recorder::windows)
    }

    pub(super) fn finish(&self) -> Result<Summary, WriteError> {
        let recorder = self.lock().recorder.take();
        recorder.map_or(Ok(Summary::default()), Recorder::finish)
    }

    /// Takes batches of events. While one is written no window is, and the other way round.
    pub(super) fn sink(&self) -> Sink {
        let this = self.clone();
        Box::new(move |events: &[Event], offset: i64| {
            if events.is_empty() {
                return Ok(());
            }
            let payload = encode_events(events, offset);
            let mut state = this.lock();
            match &mut state.recorder {
                Some(recorder) => recorder
                    .events(events, offset, &payload)
                    .map_err(io::Error::other),
                None => {
                    state.early.push(Early {
                        events: events.to_vec(),
                        unix_offset_ns: offset,
                        payload,
                    });
                    Ok(())
                }
            }
        })
    }
}
