//! A recorder that windows and single events go into from two threads.
//!
//! In: Frames, batches of events. Out: records, one after the other. Must not know: where they come from.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};

use crate::{
    collect::Sink,
    event::Event,
    frame::Frame,
    record::{Kind, Recorder, Summary, WriteError, encode_events},
};

/// A recorder for several threads.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    recorder: Option<Recorder>,
    /// Batches from before there was a recorder: events come from the first hook on, and only when everything is attached
    /// a file is begun.
    early: Vec<Batch>,
}

struct Batch {
    start_unix_ns: u64,
    duration_ns: u64,
    payload: Vec<u8>,
}

impl State {
    fn events(&mut self, batch: Batch) -> Result<(), WriteError> {
        match &mut self.recorder {
            Some(recorder) => recorder.record(
                Kind::EVENTS,
                batch.start_unix_ns,
                batch.duration_ns,
                &batch.payload,
            ),
            None => {
                self.early.push(batch);
                Ok(())
            }
        }
    }
}

impl Shared {
    /// From now on there is something to record into.
    pub(super) fn begin(&self, recorder: Recorder) -> Result<(), WriteError> {
        let mut state = self.lock();
        state.recorder = Some(recorder);
        for batch in std::mem::take(&mut state.early) {
            state.events(batch)?;
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
        let offset = unix_offset_ns();
        Box::new(move |events: &[Event]| {
            let (Some(first), Some(last)) = (events.first(), events.last()) else {
                return Ok(());
            };
            let payload = encode_events(events, offset);
            let start = first.time_ns.saturating_add_signed(offset);
            let duration = last.time_ns.saturating_sub(first.time_ns);
            let batch = Batch {
                start_unix_ns: start,
                duration_ns: duration,
                payload,
            };
            this.lock().events(batch).map_err(io::Error::other)
        })
    }
}

/// What makes wall-clock time of `CLOCK_MONOTONIC`.
fn unix_offset_ns() -> i64 {
    let monotonic = clock_gettime(ClockId::Monotonic);
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let monotonic = monotonic
        .tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(monotonic.tv_nsec);
    i64::try_from(unix.as_nanos())
        .unwrap_or(i64::MAX)
        .saturating_sub(monotonic)
}
