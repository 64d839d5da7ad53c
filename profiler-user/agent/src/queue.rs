//! Single events on their way from the thread that takes them from the kernel to the one that looks at them.
//!
//! In: batches of events. Out: the same, in their order, and how many found no room. Must not know: what becomes of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use courtside_core::event::Event;
use courtside_kernel::collect::Sink;

/// What waits to be looked at takes at most about this much.
const MOST_BYTES: usize = 128 << 20;

/// A batch, and what is added to the times of its events to get wall-clock time.
pub type Batch = (Vec<Event>, i64);

/// Batches that were not looked at yet.
#[derive(Clone, Default)]
pub struct Queue(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    batches: Vec<Batch>,
    bytes: usize,
    lost: u64,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Batches are whole, whoever failed meanwhile.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes batches of events; one for which there is no room is lost, and counted.
    pub fn sink(&self) -> Sink {
        let this = self.clone();
        Box::new(move |events: &[Event], offset_ns: i64| {
            let bytes = size_of_val(events);
            let mut state = this.lock();
            let all = state.bytes.saturating_add(bytes);
            if all > MOST_BYTES {
                state.lost = state.lost.saturating_add(events.len() as u64);
            } else if !events.is_empty() {
                state.bytes = all;
                state.batches.push((events.to_vec(), offset_ns));
            }
            Ok(())
        })
    }

    /// All that wait.
    #[must_use]
    pub fn take(&self) -> Vec<Batch> {
        let mut state = self.lock();
        state.bytes = 0;
        std::mem::take(&mut state.batches)
    }

    /// Events for which there was no room; once.
    #[must_use]
    pub fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.lock().lost)
    }
}

#[cfg(test)]
mod tests {
    use courtside_core::event::What;

    use super::*;

    #[test]
    fn what_waits_is_bounded_and_the_rest_is_counted() {
        let queue = Queue::default();
        let mut sink = queue.sink();
        let event = Event {
            time_ns: 1,
            tid: 1,
            cpu: 0,
            what: What::Exit,
        };
        let batch = vec![event; 50_000];
        let mut given = 0;
        while given < 5_000_000 {
            sink(&batch, 7).unwrap();
            given += batch.len() as u64;
        }
        let taken = queue.take();
        assert!(taken.iter().all(|(_, offset_ns)| *offset_ns == 7));
        let held: usize = taken.iter().map(|(events, _)| events.len()).sum();
        assert!(
            held * size_of::<Event>() <= MOST_BYTES && held > 2_000_000,
            "{held}"
        );
        assert_eq!(held as u64 + queue.take_lost(), given);
        assert_eq!((queue.take_lost(), queue.take().len()), (0, 0));
        sink(&batch, 7).unwrap();
        assert_eq!(queue.take().len(), 1);
    }
}
