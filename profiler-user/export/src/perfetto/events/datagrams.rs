//! Which datagram that was read is which that was sent: the one that arrived at the same socket at the same nanosecond. A
//! send over loopback delivers, so both tell that instant, if they tell any.
//!
//! In: sends and receives, in the order in which they ended. Out: what was read, and its arrow. Must not know: tracks.

use std::collections::VecDeque;

use foldhash::HashMap;

use super::{MAX_WAITING, Said};

/// A socket, and an instant.
type Place = (u64, u64);

/// Datagrams of which one half is known.
#[derive(Default)]
pub(super) struct Datagrams {
    /// Those that were sent: their arrows. Those that were read: what to say of it.
    halves: HashMap<Place, Pair>,
    /// In the order in which they came. Some are whole by now.
    order: VecDeque<Place>,
}

/// What is known of a datagram.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Pair {
    pub(super) read: Option<Said>,
    pub(super) arrow: Option<u64>,
}

impl Datagrams {
    /// A datagram arrived at this socket when it was sent. Returns what is whole now, or will never be.
    pub(super) fn sent(&mut self, socket: u64, arrived_ns: u64, arrow: u64) -> Pair {
        let place = (socket, arrived_ns);
        match self.halves.remove(&place) {
            Some(Pair { read, arrow: None }) => Pair {
                read,
                arrow: Some(arrow),
            },
            _ => self.wait(
                place,
                Pair {
                    read: None,
                    arrow: Some(arrow),
                },
            ),
        }
    }

    /// A datagram was read from this socket; when it had arrived is mostly known.
    pub(super) fn read(
        &mut self,
        socket: u64,
        arrived_ns: Option<u64>,
        read: Option<Said>,
    ) -> Pair {
        let Some(arrived_ns) = arrived_ns else {
            return Pair { read, arrow: None };
        };
        let place = (socket, arrived_ns);
        match self.halves.remove(&place) {
            Some(Pair { read: None, arrow }) => Pair { read, arrow },
            _ => self.wait(place, Pair { read, arrow: None }),
        }
    }

    /// Whatever was read and still waits.
    pub(super) fn finish(&mut self) -> Vec<Said> {
        let mut halves = std::mem::take(&mut self.halves);
        let order = std::mem::take(&mut self.order);
        let read = order.iter().filter_map(|place| halves.remove(place)?.read);
        read.collect()
    }

    /// Keeps a half; returns the oldest one if there are too many.
    fn wait(&mut self, place: Place, half: Pair) -> Pair {
        self.halves.insert(place, half);
        self.order.push_back(place);
        let oldest = self.order.pop_front_if(|_| self.halves.len() > MAX_WAITING);
        if self.order.len() > 2 * MAX_WAITING {
            self.order.retain(|place| self.halves.contains_key(place));
        }
        oldest
            .and_then(|place| self.halves.remove(&place))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(timestamp: u64) -> Option<Said> {
        Some(Said {
            at_ns: timestamp,
            thread: 1,
            bytes: 1,
            from: None,
        })
    }

    #[test]
    fn the_same_instant_at_the_same_socket_is_the_same_datagram() {
        let mut datagrams = Datagrams::default();
        assert_eq!(datagrams.sent(1, 100, 7), Pair::default());
        assert_eq!(datagrams.sent(2, 100, 8), Pair::default());
        let of = |n, arrow| Pair {
            read: packet(n),
            arrow,
        };
        assert_eq!(datagrams.read(1, Some(100), packet(1)), of(1, Some(7)));
        // It was read before its send call had ended.
        assert_eq!(datagrams.read(1, Some(200), packet(2)), Pair::default());
        assert_eq!(datagrams.sent(1, 200, 9), of(2, Some(9)));
        // Nobody knows when it had arrived.
        assert_eq!(datagrams.read(2, None, packet(3)), of(3, None));
        assert_eq!(datagrams.finish(), []);
    }

    #[test]
    fn what_never_finds_its_other_half_is_said_in_time() {
        let mut datagrams = Datagrams::default();
        let mut said = 0;
        for n in 0..5 * MAX_WAITING as u64 {
            datagrams.sent(1, n, n);
            said += usize::from(datagrams.read(2, Some(n), packet(n)).read.is_some());
            assert!(datagrams.halves.len() <= MAX_WAITING);
            assert!(datagrams.order.len() <= 2 * MAX_WAITING);
        }
        assert!(said > 4 * MAX_WAITING);
        said += datagrams.finish().len();
        assert!(said <= 5 * MAX_WAITING);
    }
}
