//! A recorder that windows and single events go into from two threads.
//!
//! In: Frames, batches of events. Out: records, one after the other. Must not know: where they come from.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use courtside_core::{event::Event, frame::Frame};
use courtside_kernel::collect::Sink;
use courtside_record::{Recorder, Summary, WriteError, encode_events};

/// A recorder for several threads.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    recorder: Option<Recorder>,
    /// Batches from before there was a recorder: events come from the first hook on, and only when everything is attached
    /// a file is begun.
    early: Vec<Early>,
    early_bytes: usize,
    /// Events for which there was no room among those.
    early_lost: u64,
}

/// What waits for a file takes at most about this much: attaching takes a second, on a busy host with hundreds of thousands
/// of events.
const EARLY_BYTES: usize = 64 << 20;

struct Early {
    events: Vec<Event>,
    unix_offset_ns: i64,
    payload: Vec<u8>,
}

impl Shared {
    /// From now on there is something to record into.
    pub fn begin(&self, recorder: Recorder) -> Result<(), WriteError> {
        let mut state = self.lock();
        let early = std::mem::take(&mut state.early);
        state.early_bytes = 0;
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

    /// Events that came before there was something to record into, and for which there was no room; once.
    pub fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.lock().early_lost)
    }

    /// Adds one window.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn frame(&self, frame: &Frame) -> Result<(), WriteError> {
        self.lock()
            .recorder
            .as_mut()
            .map_or(Ok(()), |recorder| recorder.frame(frame))
    }

    /// What was written so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let state = self.lock();
        state
            .recorder
            .as_ref()
            .map_or_else(Summary::default, Recorder::summary)
    }

    /// How many windows were written so far.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.lock().recorder.as_ref().map_or(0, Recorder::windows)
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// The rest cannot be written.
    pub fn finish(&self) -> Result<Summary, WriteError> {
        let recorder = self.lock().recorder.take();
        recorder.map_or(Ok(Summary::default()), Recorder::finish)
    }

    /// Takes batches of events. While one is written no window is, and the other way round.
    pub fn sink(&self) -> Sink {
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
                    let bytes = size_of_val(events).saturating_add(payload.len());
                    let all = state.early_bytes.saturating_add(bytes);
                    if all > EARLY_BYTES {
                        state.early_lost = state.early_lost.saturating_add(events.len() as u64);
                        return Ok(());
                    }
                    state.early_bytes = all;
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

#[cfg(test)]
mod tests {
    use super::*;
    use courtside_core::event::What;

    #[test]
    fn what_waits_for_a_file_is_bounded_and_the_rest_is_counted() {
        let shared = Shared::default();
        let mut sink = shared.sink();
        let event = Event {
            time_ns: 1,
            tid: 1,
            cpu: 0,
            what: What::Exit,
        };
        let batch = vec![event; 10_000];
        let mut given = 0;
        while given < 4_000_000 {
            sink(&batch, 0).unwrap();
            given += batch.len() as u64;
        }
        let (held, bytes) = {
            let state = shared.lock();
            let held: usize = state.early.iter().map(|early| early.events.len()).sum();
            (held as u64, state.early_bytes)
        };
        assert!(bytes <= EARLY_BYTES && held > 500_000, "{held} {bytes}");
        assert_eq!(held + shared.take_lost(), given);
        assert_eq!(shared.take_lost(), 0);
    }
}
