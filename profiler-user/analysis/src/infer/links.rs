//! Connections between processes: whose bytes are whose, how long they take, and who was waited for.
//!
//! In: connections as they are, sends and receives with their bytes. Out: offsets, latencies, and waits by who caused them.
//! Must not know: threads, CPUs.

mod book;

use std::collections::VecDeque;

use courtside_core::event::Connection;
use foldhash::HashMap;

pub(super) use book::{Books, OUTSIDE};

const TCP: u8 = 1;
/// Ends that are known at a time, at most.
const MOST_ENDS: usize = 1 << 17;
/// Sends of a link that are not read yet, and reads whose send is not told yet, at most.
const MOST_OPEN: usize = 1 << 12;
/// What was closed so long ago is not named any more.
const CLOSED_NS: u64 = 10_000_000_000;

/// One direction of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    /// Who sends, as far as known.
    pub(super) from: Option<u32>,
    /// Who receives.
    pub(super) to: Option<u32>,
    /// Both ends are on this host.
    pub(super) paired: bool,
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Sends that answered something read since the send before.
    pub(super) turns: u64,
    /// Reads of the sender when it sent last.
    pub(super) seen_reads: u64,
    /// Court time that its sends ended: by the packet rule, and queue-corrected.
    pub(super) court: [u64; 2],
    messages: u64,
    bytes: u64,
    rtt_ns: u64,
    sends: VecDeque<Sent>,
    open: VecDeque<Read>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    start: u64,
    end: u64,
    began_ns: u64,
    /// Last arrival of its bytes; 0 before the first.
    arrived_ns: u64,
}

/// Something whose send is looked for.
#[derive(Clone, Copy, Debug)]
struct Read {
    byte: u64,
    bytes: u64,
    what: ReadWhat,
}

#[derive(Clone, Copy, Debug)]
enum ReadWhat {
    /// These bytes arrived then.
    Arrived(u64),
    /// Somebody slept until they came.
    Wait(Slept),
}

/// A sleep that a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slept {
    pub(super) process: u32,
    pub(super) tid: u32,
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    /// Of this message a part had come before.
    pub(super) rest: bool,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) out: u32,
    pub(super) inwards: u32,
    /// Who used it last.
    pub(super) owner: Option<u32>,
    key: Option<Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    netns: u32,
    local: ([u8; 16], u16),
    remote: ([u8; 16], u16),
}

impl Key {
    fn of(told: &Connection) -> Option<Self> {
        (told.flow.transport == TCP && told.local_port != 0).then_some(Self {
            netns: told.netns,
            local: (told.local, told.local_port),
            remote: (told.remote, told.remote_port),
        })
    }

    fn reversed(self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
            ..self
        }
    }
}

/// All connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    ends: HashMap<u64, End>,
    by_key: HashMap<Key, u64>,
    links: HashMap<u32, Link>,
    next: u32,
    closed: VecDeque<(u64, u64)>,
    pub(super) books: Books,
    /// Connections that there was no room for.
    pub(super) unknown: u64,
}

impl Links {
    /// A connection as it is.
    pub(super) fn told(&mut self, told: &Connection) {
        let key = Key::of(told);
        if let Some(end) = self.ends.get(&told.number) {
            if end.key == key || key.is_none() {
                return;
            }
            self.remove(told.number);
        }
        let Some(mut end) = self.new_end(told.number) else {
            return;
        };
        end.key = key;
        if let Some(key) = key {
            let other = self.by_key.get(&key.reversed()).copied();
            self.by_key.insert(key, told.number);
            if let Some(other) = other.filter(|other| *other != told.number) {
                self.join(&mut end, other);
            }
        }
        self.ends.insert(told.number, end);
    }

    /// A connection as earlier events told it, if it has not been seen yet.
    pub(super) fn known(&mut self, told: &Connection) {
        if !self.ends.contains_key(&told.number) {
            self.told(told);
        }
    }

    /// Data of a Unix socket or a datagram went from one connection to the other.
    pub(super) fn pair(&mut self, from: u64, to: u64) {
        let (Some(mut end), Some(other)) = (self.end(from), self.end(to)) else {
            return;
        };
        let paired = self.links.get(&end.out).is_some_and(|link| link.paired);
        if from == to || paired || end.key.is_some() || other.key.is_some() {
            return;
        }
        self.join(&mut end, to);
        self.ends.insert(from, end);
    }

    /// This end is the other one of that; it takes over that one's links.
    fn join(&mut self, end: &mut End, other: u64) {
        let Some(other) = self.ends.get(&other).copied() else {
            return;
        };
        for own in [end.out, end.inwards] {
            // What was sent and waited for before is booked, and not lost.
            if let Some(link) = self.links.remove(&own) {
                self.books.close(link);
            }
        }
        (end.out, end.inwards) = (other.inwards, other.out);
        for link in [other.out, other.inwards] {
            if let Some(link) = self.links.get_mut(&link) {
                link.paired = true;
            }
        }
    }

    fn new_end(&mut self, number: u64) -> Option<End> {
        if self.ends.len() >= MOST_ENDS {
            self.unknown = self.unknown.saturating_add(1);
            return None;
        }
        let mut link = || {
            let number = self.next;
            self.next = self.next.wrapping_add(1);
            self.links.insert(number, Link::default());
            number
        };
        let end = End {
            out: link(),
            inwards: link(),
            owner: None,
            key: None,
        };
        self.ends.insert(number, end);
        Some(end)
    }

    /// An end by its number, told or not.
    fn end(&mut self, number: u64) -> Option<End> {
        let known = self.ends.get(&number).copied();
        known.or_else(|| self.new_end(number))
    }

    /// Who used this connection last.
    pub(super) fn owner(&self, number: u64) -> Option<u32> {
        self.ends.get(&number)?.owner
    }

    /// The direction in which this connection receives.
    pub(super) fn inwards(&self, number: u64) -> Option<u32> {
        Some(self.ends.get(&number)?.inwards)
    }

    pub(super) fn link(&mut self, link: u32) -> Option<&mut Link> {
        self.links.get_mut(&link)
    }

    /// A process sent so many bytes: the link, and the end of the bytes on it.
    pub(super) fn sent(
        &mut self,
        number: u64,
        process: u32,
        began_ns: u64,
        bytes: u32,
    ) -> Option<(u32, u64)> {
        self.end(number)?;
        let end = self.ends.get_mut(&number)?;
        end.owner = Some(process);
        let number = end.out;
        let link = self.links.get_mut(&number)?;
        link.from = Some(process);
        link.messages += 1;
        link.bytes = link.bytes.saturating_add(bytes.into());
        // What was read before this was sent came from before the recording, or its send was lost.
        while let Some(read) = link.open.front().copied() {
            let ReadWhat::Arrived(arrived_ns) = read.what else {
                break;
            };
            if read.byte < link.sent || arrived_ns >= began_ns {
                break;
            }
            link.sent = link.sent.max(read.byte.saturating_add(read.bytes));
            link.open.pop_front();
        }
        let start = link.sent;
        link.sent = start.saturating_add(bytes.into());
        link.sends.push_back(Sent {
            start,
            end: link.sent,
            began_ns,
            arrived_ns: 0,
        });
        if link.sends.len() > MOST_OPEN {
            link.sends.pop_front();
        }
        self.books.settle(link);
        Some((number, link.sent))
    }

    /// A process read so many bytes, of which the first arrived then, if that is known: the link, the first byte and the end.
    pub(super) fn read(
        &mut self,
        number: u64,
        process: u32,
        (arrived_ns, known): (u64, bool),
        rtt_ns: u32,
        bytes: u32,
    ) -> Option<(u32, u64, u64)> {
        self.end(number)?;
        let end = self.ends.get_mut(&number)?;
        end.owner = Some(process);
        let number = end.inwards;
        let link = self.links.get_mut(&number)?;
        link.to = Some(process);
        if rtt_ns > 0 && (link.rtt_ns == 0 || u64::from(rtt_ns) < link.rtt_ns) {
            link.rtt_ns = rtt_ns.into();
        }
        let first = link.received;
        link.received = first.saturating_add(bytes.into());
        if known {
            link.note(Read {
                byte: first,
                bytes: bytes.into(),
                what: ReadWhat::Arrived(arrived_ns),
            });
        }
        let ends = (first, link.received);
        self.books.settle(link);
        Some((number, ends.0, ends.1))
    }

    /// Somebody slept until this byte came.
    pub(super) fn slept(&mut self, number: u32, byte: u64, slept: Slept) {
        match self.links.get_mut(&number) {
            Some(link) => {
                let lost = link.note(Read {
                    byte,
                    bytes: 0,
                    what: ReadWhat::Wait(slept),
                });
                if let Some(lost) = lost {
                    self.books.untold(link, lost);
                }
                self.books.settle(link);
            }
            None => self.books.lost(slept),
        }
    }

    /// A connection was closed.
    pub(super) fn close(&mut self, number: u64, at_ns: u64) {
        if let Some(key) = self.ends.get(&number).and_then(|end| end.key)
            && self.by_key.get(&key) == Some(&number)
        {
            self.by_key.remove(&key);
        }
        self.closed.push_back((at_ns, number));
        while let Some((_, number)) = self
            .closed
            .pop_front_if(|(closed_ns, _)| at_ns.saturating_sub(*closed_ns) > CLOSED_NS)
        {
            self.remove(number);
        }
    }

    /// Forgets an end; its links go with the last of their ends.
    fn remove(&mut self, number: u64) {
        let Some(end) = self.ends.remove(&number) else {
            return;
        };
        if let Some(key) = end.key {
            if self.by_key.get(&key) == Some(&number) {
                self.by_key.remove(&key);
            }
            if self.by_key.contains_key(&key.reversed()) {
                return;
            }
        }
        for link in [end.out, end.inwards] {
            if let Some(link) = self.links.remove(&link) {
                self.books.close(link);
            }
        }
    }

    /// All that is known in the end.
    pub(super) fn finish(&mut self) {
        for (_, link) in self.links.drain() {
            self.books.close(link);
        }
    }
}

impl Link {
    /// Notes something whose send is looked for; gives back a sleep that there was no room for.
    fn note(&mut self, read: Read) -> Option<Slept> {
        self.open.push_back(read);
        if self.open.len() <= MOST_OPEN {
            return None;
        }
        match self.open.pop_front()?.what {
            ReadWhat::Wait(slept) => Some(slept),
            ReadWhat::Arrived(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use courtside_core::event::Flow;

    use super::*;

    const A: u32 = 0;
    const B: u32 = 1;

    fn tcp(number: u64, local: u16, remote: u16) -> Connection {
        Connection {
            number,
            local_port: local,
            remote_port: remote,
            flow: Flow {
                transport: TCP,
                ..Flow::default()
            },
            ..Connection::default()
        }
    }

    fn joined() -> Links {
        let mut links = Links::default();
        links.told(&tcp(1, 4000, 80));
        links.told(&tcp(2, 80, 4000));
        links
    }

    fn slept(from_ns: u64, to_ns: u64) -> Slept {
        Slept {
            process: B,
            tid: 7,
            from_ns,
            to_ns,
            rest: false,
        }
    }

    #[test]
    fn latency_and_what_a_sleep_waited_for_are_told_whoever_is_told_first() {
        for read_first in [false, true] {
            let mut links = joined();
            let send = |links: &mut Links| links.sent(1, A, 100, 10).unwrap();
            if !read_first {
                send(&mut links);
            }
            let (link, first, end) = links.read(2, B, (130, true), 25, 10).unwrap();
            assert_eq!((first, end), (0, 10));
            links.slept(link, first, slept(40, 135));
            if read_first {
                send(&mut links);
            }
            links.finish();
            let pair = &links.books.pairs[&(A, B)];
            assert_eq!((pair.messages, pair.bytes, pair.rtt_ns), (1, 10, 25));
            let latency = pair.latency.clone().finish();
            assert_eq!((latency.sum_ns, latency.min_ns), (30, 30));
            assert_eq!(links.books.waits[&(B, A)], [60, 35, 0]);
        }
    }

    #[test]
    fn the_rest_of_a_message_is_transfer() {
        let mut links = joined();
        links.sent(1, A, 100, 1000);
        let (link, ..) = links.read(2, B, (130, true), 0, 400).unwrap();
        links.slept(link, 0, slept(50, 130));
        let (link, first, _) = links.read(2, B, (190, true), 0, 600).unwrap();
        assert_eq!(first, 400);
        links.slept(link, first, slept(140, 190));
        links.finish();
        let pair = &links.books.pairs[&(A, B)];
        assert_eq!(pair.transfer_ns, 60);
        assert_eq!(links.books.waits[&(B, A)], [50, 30, 50]);
    }

    #[test]
    fn bytes_from_before_the_recording_do_not_shift_what_comes_after() {
        let mut links = joined();
        links.read(2, B, (10, true), 0, 7).unwrap();
        links.sent(1, A, 100, 10);
        let (link, ..) = links.read(2, B, (120, true), 0, 10).unwrap();
        assert_eq!(links.link(link).unwrap().sent, 17);
        links.finish();
        let latency = links.books.pairs[&(A, B)].latency.clone().finish();
        assert_eq!(latency.sum_ns, 20);
    }

    #[test]
    fn whoever_sends_from_outside_is_waited_for_outside() {
        let mut links = Links::default();
        links.told(&tcp(2, 80, 4000));
        let (link, first, _) = links.read(2, B, (130, true), 0, 10).unwrap();
        links.slept(link, first, slept(100, 130));
        links.finish();
        assert_eq!(links.books.waits[&(B, OUTSIDE)], [30, 0, 0]);
        assert!(links.books.pairs.is_empty());
    }

    #[test]
    fn unix_sockets_are_paired_by_what_they_announce() {
        let mut links = Links::default();
        links.pair(1, 2);
        links.sent(1, A, 100, 10);
        links.read(2, B, (120, true), 0, 10);
        links.sent(2, B, 200, 5);
        links.read(1, A, (230, true), 0, 5);
        links.finish();
        assert_eq!(links.books.pairs.len(), 2);
    }

    #[test]
    fn what_was_waited_for_before_the_ends_were_put_together_is_not_lost() {
        let mut links = Links::default();
        // B reads what was sent before the recording, and answers.
        let (link, first, _) = links.read(2, B, (130, true), 0, 10).unwrap();
        links.slept(link, first, slept(100, 130));
        links.read(1, A, (150, true), 0, 10);
        links.pair(2, 1);
        links.sent(2, B, 200, 5);
        links.finish();
        let waits = links.books.waits.values().flatten();
        let untold = links.books.untold_ns.values();
        assert_eq!(waits.sum::<u64>() + untold.sum::<u64>(), 30);
    }

    #[test]
    fn what_is_closed_is_forgotten_and_counted() {
        let mut links = Links::default();
        for n in 0..1000u64 {
            let at_ns = n * 1_000_000_000;
            let port = n as u16 + 1;
            links.told(&tcp(2 * n, port, 80));
            links.told(&tcp(2 * n + 1, 80, port));
            links.sent(2 * n, A, at_ns, 10);
            links.read(2 * n + 1, B, (at_ns + 5, true), 0, 10);
            links.close(2 * n, at_ns + 10);
            links.close(2 * n + 1, at_ns + 10);
        }
        assert!(
            links.ends.len() < 40 && links.links.len() < 60,
            "{}",
            links.ends.len()
        );
        links.finish();
        assert_eq!(links.books.pairs[&(A, B)].messages, 1000);
    }
}
