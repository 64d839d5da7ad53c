//! A pass over what is measured now: windows and single events as they come, before anyone knows how many there will be.
//!
//! In: windows in order, batches of events nearly in the order of time. Out: what a consumer of a pass gets, in the same order
//! as from a recording as far as a window is concerned: it comes before its events. Must not know: where they come from, the clock.

use std::{collections::VecDeque, rc::Rc};

use crate::{
    event::Event,
    frame::Frame,
    model::{
        State, View, fold,
        resolve::{ComponentName, ComponentNames, Resolver},
        who_is_who,
    },
    pass::{Consumer, PassWindow, Seen},
};

/// Events that wait for their window, at most; 56 bytes each.
const MOST_HELD: usize = 1 << 21;
/// What is younger than the newest event by less than this waits: some come late.
const LATE_NS: u64 = 100_000_000;

/// Windows and events on their way to a consumer.
pub struct Stream {
    state: State,
    view: View,
    resolver: Resolver,
    held: VecDeque<Event>,
    /// What makes wall-clock time of the time of the events that came last.
    offset_ns: i64,
    newest_ns: u64,
    /// Up to here everything was handed on.
    given_ns: u64,
    /// Start and end of the windows so far.
    time: Option<(u64, u64)>,
    /// Starts of the windows that the next events may be in, with their numbers.
    starts: VecDeque<(u64, usize)>,
    windows: usize,
    lost: u64,
}

impl Stream {
    /// Begins before the first window; seen so.
    #[must_use]
    pub fn new(view: View) -> Self {
        Self {
            state: State::default(),
            view,
            resolver: Resolver::new(ComponentNames::default()),
            held: VecDeque::new(),
            offset_ns: 0,
            newest_ns: 0,
            given_ns: 0,
            time: None,
            starts: VecDeque::new(),
            windows: 0,
            lost: 0,
        }
    }

    /// How it is seen.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Windows so far.
    #[must_use]
    pub fn windows(&self) -> usize {
        self.windows
    }

    /// Events for which there was no room, or which came too late to be put in order; once.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// A window has ended.
    ///
    /// # Errors
    /// The consumer failed.
    pub fn window(&mut self, frame: &Frame, consumer: &mut dyn Consumer) -> anyhow::Result<()> {
        for (number, id, name) in who_is_who(frame, self.view.group_by) {
            self.resolver
                .name(number, Rc::new(ComponentName { id, name }));
        }
        let snapshot = fold(&mut self.state, frame, &self.view);
        let window = PassWindow {
            number: self.windows,
            frame,
            snapshot: &snapshot,
        };
        let end_ns = frame.start_unix_ns.saturating_add(frame.duration_ns);
        let (start_ns, last_ns) = self.time.unwrap_or((frame.start_unix_ns, end_ns));
        self.time = Some((start_ns, last_ns.max(end_ns)));
        self.starts.push_back((frame.start_unix_ns, self.windows));
        self.windows = self.windows.saturating_add(1);
        consumer.window(&window)
    }

    /// Takes events, and what is added to their time to get wall-clock time.
    pub fn hold(&mut self, events: Vec<Event>, offset_ns: i64) {
        self.offset_ns = offset_ns;
        let before = self.held.len();
        for event in events {
            if event.time_ns < self.given_ns || self.held.len() >= MOST_HELD {
                self.lost = self.lost.saturating_add(1);
                continue;
            }
            self.newest_ns = self.newest_ns.max(event.time_ns);
            self.held.push_back(event);
        }
        let new = self.held.range(before.saturating_sub(1)..);
        if !new.is_sorted_by_key(|event| event.time_ns) {
            let held = self.held.make_contiguous();
            held.sort_by_key(|event| event.time_ns);
        }
    }

    /// Hands on the events whose window has ended, but for the newest, which others may still come before.
    ///
    /// # Errors
    /// The consumer failed.
    pub fn give(&mut self, consumer: &mut dyn Consumer) -> anyhow::Result<()> {
        self.give_until(self.newest_ns.saturating_sub(LATE_NS), consumer)
    }

    /// Hands on all that is left: nothing comes any more.
    ///
    /// # Errors
    /// The consumer failed.
    pub fn finish(&mut self, consumer: &mut dyn Consumer) -> anyhow::Result<()> {
        self.give_until(u64::MAX, consumer)
    }

    fn give_until(&mut self, until_ns: u64, consumer: &mut dyn Consumer) -> anyhow::Result<()> {
        let Some((start_ns, end_ns)) = self.time else {
            return Ok(());
        };
        let ready = |event: &mut Event, offset_ns: i64| {
            event.time_ns < until_ns && event.time_ns.wrapping_add_signed(offset_ns) < end_ns
        };
        while let Some(event) = self.held.pop_front_if(|event| ready(event, self.offset_ns)) {
            self.given_ns = event.time_ns;
            let resolved = self.resolver.resolve(&event, self.offset_ns);
            // What happened before tells who does what later.
            if resolved.time_unix_ns < start_ns {
                continue;
            }
            let begun = |(start_ns, _): &(u64, usize)| *start_ns <= resolved.time_unix_ns;
            while self.starts.get(1).is_some_and(begun) {
                self.starts.pop_front();
            }
            let seen = Seen {
                window: self.starts.front().map_or(0, |(_, number)| *number),
                event: &event,
                resolved: &resolved,
                turnaround: None,
                exchange: None,
            };
            consumer.event(&seen)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture::ring::Ring, pass::Needs};

    const SECOND: u64 = 1_000_000_000;

    #[derive(Default)]
    struct Seens {
        windows: usize,
        /// Window and time of each event.
        events: Vec<(usize, u64)>,
        /// Windows that had come when an event came.
        least: bool,
    }

    impl Consumer for Seens {
        fn needs(&self) -> Needs {
            Needs::Events
        }

        fn window(&mut self, _: &PassWindow<'_>) -> anyhow::Result<()> {
            self.windows += 1;
            Ok(())
        }

        fn event(&mut self, seen: &Seen<'_>) -> anyhow::Result<()> {
            self.least |= seen.window >= self.windows;
            self.events.push((seen.window, seen.event.time_ns));
            Ok(())
        }
    }

    /// Batches overlap, and windows end before the events of their last part have come.
    #[test]
    fn events_come_in_order_and_after_their_window() {
        let ring = Ring::default();
        let begin_ns = 1000 * SECOND;
        let all = ring.events(begin_ns + 1);
        let offset_ns = i64::try_from(ring.window(0, SECOND).start_unix_ns).unwrap()
            - i64::try_from(begin_ns).unwrap();
        let last_ns = all.last().unwrap().time_ns;
        let windows = usize::try_from((last_ns - begin_ns) / SECOND + 1).unwrap();
        let mut shuffled = all.clone();
        // Every hundredth event comes a batch later than its neighbours.
        for at in (100..shuffled.len().saturating_sub(100)).step_by(100) {
            shuffled[at..at + 60].rotate_left(1);
        }
        let mut stream = Stream::new(View::default());
        let mut seens = Seens::default();
        let mut next = 0;
        for batch in shuffled.chunks(50) {
            stream.hold(batch.to_vec(), offset_ns);
            let newest_ns = batch.iter().map(|event| event.time_ns).max().unwrap();
            while next < windows && newest_ns > begin_ns + (next as u64 + 1) * SECOND {
                let frame = ring.window(next as u64, SECOND);
                stream.window(&frame, &mut seens).unwrap();
                next += 1;
            }
            stream.give(&mut seens).unwrap();
        }
        while next < windows {
            let frame = ring.window(next as u64, SECOND);
            stream.window(&frame, &mut seens).unwrap();
            next += 1;
        }
        stream.finish(&mut seens).unwrap();
        assert_eq!((stream.take_lost(), seens.windows), (0, windows));
        assert!(!seens.least);
        let times: Vec<u64> = all.iter().map(|event| event.time_ns).collect();
        let given: Vec<u64> = seens.events.iter().map(|(_, at_ns)| *at_ns).collect();
        assert_eq!(given, times);
        for (window, at_ns) in &seens.events {
            assert_eq!(*window as u64, (at_ns - begin_ns) / SECOND);
        }
    }

    #[test]
    fn what_comes_too_late_or_finds_no_room_is_counted() {
        let ring = Ring::default();
        let begin_ns = 1000 * SECOND;
        let offset_ns = i64::try_from(ring.window(0, SECOND).start_unix_ns).unwrap()
            - i64::try_from(begin_ns).unwrap();
        let event = |time_ns| Event {
            time_ns,
            tid: 1,
            cpu: 0,
            what: crate::event::What::Exit,
        };
        let mut stream = Stream::new(View::default());
        let mut seens = Seens::default();
        stream.hold(
            vec![event(begin_ns + 10), event(begin_ns + SECOND / 2)],
            offset_ns,
        );
        let frame = ring.window(0, SECOND);
        stream.window(&frame, &mut seens).unwrap();
        stream.give(&mut seens).unwrap();
        assert_eq!(seens.events.len(), 1);
        stream.hold(vec![event(begin_ns + 5)], offset_ns);
        assert_eq!(stream.take_lost(), 1);
        let many: Vec<Event> = (0..MOST_HELD as u64)
            .map(|n| event(begin_ns + SECOND + n))
            .collect();
        stream.hold(many, offset_ns);
        assert_eq!(stream.held.len(), MOST_HELD);
        assert_eq!(stream.take_lost(), 1);
    }
}
