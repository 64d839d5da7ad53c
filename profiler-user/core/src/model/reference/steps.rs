//! The steps of the calculation, in the order of time: a send is two, one where it began and one where its thread was done
//! with it.
//!
//! In: events, in the order of time but for chance. Out: steps. Must not know: what they mean.
//!
//! Many steps wait, and most of them are where they came: the beginnings of sends are kept apart, each with the place of its
//! send among the events.

use std::collections::VecDeque;

use crate::event::{Event, What};

/// Events among which the place of a new one is looked for first.
const NEAR: usize = 32;

/// One step.
#[derive(Debug, PartialEq)]
pub(super) enum Step<'a> {
    /// This send begins.
    Begins(&'a Event),
    /// This happens; a send ends.
    Happens(Event),
}

/// Where a send began.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    at_ns: u64,
    /// The number of the send among all events.
    send: u64,
}

/// Steps that wait.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// In the order of time.
    events: VecDeque<Event>,
    /// The number of the first of them among all events.
    first: u64,
    /// In the order of time; those of one instant as their sends came.
    beginnings: VecDeque<Beginning>,
}

impl Steps {
    /// Takes the next event.
    pub(super) fn add(&mut self, event: Event) {
        let time_ns = event.time_ns;
        let at = match self.events.back() {
            Some(last) if last.time_ns > time_ns => self.place(time_ns),
            _ => self.events.len(),
        };
        let number = self.first + at as u64;
        if at < self.events.len() {
            for later in self.beginnings.iter_mut().filter(|b| b.send >= number) {
                later.send += 1;
            }
        }
        if let What::Send { began_ns, .. } = event.what {
            let beginning = Beginning {
                // It cannot begin after it ended.
                at_ns: began_ns.min(time_ns),
                send: number,
            };
            let later = self.beginnings.iter().rev();
            let later = later.take_while(|other| other.at_ns > beginning.at_ns);
            let place = self.beginnings.len() - later.count();
            self.beginnings.insert(place, beginning);
        }
        if at == self.events.len() {
            self.events.push_back(event);
        } else {
            self.events.insert(at, event);
        }
    }

    /// Behind all events up to this time: nearly always among the last few.
    fn place(&self, time_ns: u64) -> usize {
        let later = self.events.iter().rev().take(NEAR);
        let later = later.take_while(|event| event.time_ns > time_ns).count();
        if later < NEAR {
            return self.events.len() - later;
        }
        self.events
            .partition_point(|event| event.time_ns <= time_ns)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.events.len() + self.beginnings.len()
    }

    /// The beginning of a send, if that is the next step: of one instant, events that came before the send are first.
    fn beginning(&self) -> Option<Beginning> {
        let beginning = *self.beginnings.front()?;
        let event = self.events.front()?;
        let is_next = beginning.at_ns < event.time_ns
            || beginning.at_ns == event.time_ns && beginning.send == self.first;
        is_next.then_some(beginning)
    }

    /// When the next step is.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let event = self.events.front()?.time_ns;
        let beginning = self.beginnings.front();
        Some(beginning.map_or(event, |beginning| beginning.at_ns.min(event)))
    }

    /// Takes the next step.
    pub(super) fn next(&mut self) -> Option<Step<'_>> {
        if let Some(Beginning { send, .. }) = self.beginning() {
            self.beginnings.pop_front();
            let place = usize::try_from(send.saturating_sub(self.first)).ok()?;
            return self.events.get(place).map(Step::Begins);
        }
        let event = self.events.pop_front()?;
        self.first += 1;
        Some(Step::Happens(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Flow;

    fn event(time_ns: u64, what: What) -> Event {
        Event {
            time_ns,
            tid: 1,
            cpu: 0,
            what,
        }
    }

    fn send(time_ns: u64, began_ns: u64) -> Event {
        let what = What::Send {
            connection: 1,
            bytes: 1,
            began_ns,
            known: true,
            flow: Flow::default(),
        };
        event(time_ns, what)
    }

    fn exit(time_ns: u64) -> Event {
        event(time_ns, What::Exit)
    }

    /// When each step was, with a minus where a send ended or something else happened.
    fn steps(events: impl IntoIterator<Item = Event>) -> Vec<(bool, u64)> {
        let mut steps = Steps::default();
        for event in events {
            steps.add(event);
        }
        let mut all = Vec::new();
        while let Some(ns) = steps.next_ns() {
            match steps.next().unwrap() {
                Step::Begins(event) => all.push((true, event.time_ns)),
                Step::Happens(event) => {
                    assert_eq!(event.time_ns, ns);
                    all.push((false, ns));
                }
            }
        }
        assert_eq!(steps.len(), 0);
        all
    }

    #[test]
    fn a_send_begins_where_it_began_and_ends_where_it_ended() {
        let all = steps([exit(10), exit(20), send(30, 10), send(40, 15), exit(41)]);
        let expected = [
            (false, 10),
            (true, 30),
            (true, 40),
            (false, 20),
            (false, 30),
            (false, 40),
            (false, 41),
        ];
        assert_eq!(all, expected);
        // At once, and after its end, which cannot be.
        let all = steps([send(10, 10), send(20, 30), exit(30)]);
        let expected = [
            (true, 10),
            (false, 10),
            (true, 20),
            (false, 20),
            (false, 30),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn what_comes_late_takes_its_place_and_sends_stay_what_they_are() {
        let all = steps([exit(10), send(30, 25), send(50, 28), exit(20), send(27, 5)]);
        let expected = [
            (true, 27),
            (false, 10),
            (false, 20),
            (true, 30),
            (false, 27),
            (true, 50),
            (false, 30),
            (false, 50),
        ];
        assert_eq!(all, expected);
    }
}
