//! Following requests: what belongs to which request at the entry, as far as the events show it.
//!
//! In: sends and receives in the order in which they began. Out: the anatomy of each request at the entry, once it is
//! answered; counts of what could not be told. Must not know: files, how anything is shown.
//!
//! A message belongs to a request if what prompted its sender does: from the entry's request to the call that it prompted,
//! to the request that this call is at its other end, to the answer, and on. An answer belongs to what its own connection
//! has open. Nothing is concluded from time alone. It is not told
//! - on a connection that has shown more than one request open at once;
//! - of a send whose thread held messages of several requests and answers none of them, or one that nothing prompted, while
//!   its component had requests open: who has none open works for none;
//! - of a call by a thread that was handed a message, while its component had several requests open;
//! - of a turnaround that began before the request that it answers had arrived.
//!
//! Both ends of a TCP connection have the same addresses, the other way round. A Unix socket and a datagram are announced
//! to the other end by the task that sends, before its call ends.

use std::collections::{BTreeMap, VecDeque};

use courtside_core::{
    event::Flow,
    model::{
        exchange::{Answer, Message, Received, Sent},
        idle::Idle,
        turnarounds::Turnaround,
    },
};
use foldhash::HashMap;

use super::{
    clocks::Clocks,
    names::Who,
    open::{Anatomy, Open},
};

const UDP: u8 = 2;
const INITIATOR: u8 = 1;
const ACCEPTOR: u8 = 2;
/// Set in the number of a remote end.
const REMOTE: u32 = 1 << 31;
/// Messages of an end that are remembered: a thread may hold one while its connection goes on.
const READ: usize = 8;
/// Requests that are followed at once, and messages on their way, at most.
const MOST_OPEN: usize = 1 << 14;
const MOST_COMING: usize = 1 << 16;

/// What something belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Whose {
    /// A request at the entry.
    Request(u64),
    /// None of them: it came from somewhere else.
    Outside,
    /// It cannot be told.
    #[default]
    Unknown,
}

/// One end of a connection, as it names itself and the other one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) transport: u8,
    pub(super) netns: u32,
    pub(super) own: ([u8; 16], u16),
    pub(super) other: ([u8; 16], u16),
}

impl Address {
    fn opposite(&self) -> Self {
        Self {
            own: self.other,
            other: self.own,
            ..*self
        }
    }
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Way {
    To(Address),
    Socket(u64),
}

/// Who did something on which connection.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) connection: u64,
    pub(super) flow: Flow,
    pub(super) address: Option<Address>,
    pub(super) who: Who,
    pub(super) peer: Who,
}

/// A receive, all times by the wall clock.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) place: Place,
    pub(super) what: Received,
    pub(super) now_ns: u64,
}

/// A send, all times by the wall clock.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    pub(super) place: Place,
    pub(super) what: Sent,
    pub(super) tid: u32,
    pub(super) turnaround: Option<Turnaround>,
    /// The socket that it was announced to.
    pub(super) announced: Option<u64>,
}

/// A message as its reader knows it.
#[derive(Clone, Copy, Debug)]
struct Note {
    number: u64,
    whose: Whose,
    /// Of a request: arrival and first read, until a turnaround covers the time between.
    unread: Option<(u64, u64)>,
}

/// A request that is open at an acceptor.
#[derive(Clone, Copy, Debug)]
struct Serving {
    whose: Whose,
    /// It is a request at the entry, with this number.
    entry: Option<u64>,
    who: Who,
    arrived_ns: u64,
    read_ns: u64,
}

/// A call under way.
#[derive(Clone, Copy, Debug)]
struct Call {
    whose: Whose,
    who: Who,
    to: Option<u64>,
}

/// One end of a connection.
#[derive(Debug, Default)]
struct End {
    address: Option<Address>,
    read: VecDeque<Note>,
    /// What the present message belongs to.
    whose: Whose,
    serving: Option<Serving>,
    /// Its send was not told before it was read.
    missed: bool,
    /// What was answered here last, by whom, and how long that took, until the caller has it.
    served: Option<(Whose, Who, u64)>,
    /// The call under way, and the one whose reply is read.
    call: Option<Call>,
    replied: Option<Call>,
}

/// Turnarounds of a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) told: u64,
    pub(super) not_told: u64,
    pub(super) not_told_ns: u64,
}

/// What was counted on the way.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    pub(super) untimed: u64,
    pub(super) unfinished: u64,
    pub(super) tallies: BTreeMap<Who, Tally>,
}

/// Follows requests.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// The entry: its component and port.
    entry: Option<(Who, u16)>,
    ends: HashMap<u64, End>,
    idle: Idle<u64>,
    addresses: HashMap<Address, u64>,
    /// What is on its way, by where it goes.
    coming: HashMap<Way, Whose>,
    open: BTreeMap<u64, Open>,
    begun: u64,
    /// Requests that are open at each component.
    at_work: HashMap<Who, u64>,
    pub(super) counted: Counted,
}

impl Follower {
    /// Follows those of this entry.
    pub(super) fn new(entry: (Who, u16)) -> Self {
        Self {
            entry: Some(entry),
            ..Self::default()
        }
    }

    /// A message is read, or more of one.
    pub(super) fn receive(&mut self, step: &Reading) {
        let number = step.place.connection;
        self.uses(&step.place);
        let whose = if step.what.begins {
            self.begins(step)
        } else {
            self.ends
                .get(&number)
                .map_or(Whose::Unknown, |end| end.whose)
        };
        let Some(end) = self.ends.get_mut(&number) else {
            return;
        };
        end.whose = whose;
        let knows = |note: &Note| note.number == step.what.message.number;
        if step.what.begins {
            // Numbers begin anew where a connection was forgotten.
            end.read.retain(|note| !knows(note));
        }
        if !end.read.iter().any(knows) {
            if end.read.len() >= READ {
                end.read.pop_front();
            }
            let serving = end.serving.filter(|_| step.what.begins);
            end.read.push_back(Note {
                number: step.what.message.number,
                whose,
                unread: serving.map(|serving| (serving.arrived_ns, serving.read_ns)),
            });
        }
        if step.place.flow.role == INITIATOR
            && let Some(answer) = step.what.answer
            && let Some(call) = end.replied.take()
            && let Answer::Timed(latency_ns) = answer
        {
            self.called(step, call, latency_ns);
        }
    }

    /// A message is sent, or more of one. Returns the request that it answers, if that is one at the entry.
    pub(super) fn send(&mut self, step: &Sending, clocks: &Clocks) -> Option<Anatomy> {
        let Place {
            connection, flow, ..
        } = step.place;
        self.uses(&step.place);
        let whose = self.whose(step);
        let answers = step.what.begins && flow.role == ACCEPTOR;
        let end = self.ends.get_mut(&connection);
        let serving = end.and_then(|end| {
            end.missed &= !answers;
            end.serving.take_if(|_| answers)
        });
        if answers && let Some(way) = self.way_to(&step.place) {
            // What was on its way here has been read by now.
            self.coming.remove(&way);
        }
        if let Some(turnaround) = &step.turnaround {
            let fits = step.what.answers.is_none()
                || serving.is_some_and(|serving| turnaround.from_ns >= serving.arrived_ns);
            let whose = if fits { whose } else { Whose::Unknown };
            self.turnaround(step, whose, turnaround, clocks);
        }
        if let Some(serving) = &serving {
            self.leaves(serving.who);
        }
        if !step.what.begins {
            return None;
        }
        if flow.role == INITIATOR {
            self.calls(step, whose);
            return None;
        }
        self.answers(step, serving?)
    }

    /// A connection is closed: nothing that is open there will be answered.
    pub(super) fn close(&mut self, connection: u64) {
        let end = self.ends.get_mut(&connection);
        let serving = end.and_then(|end| end.serving.take());
        self.drop_unanswered(serving);
    }

    /// Nothing more comes: what is open stays without an answer.
    pub(super) fn finish(self) -> Counted {
        let mut counted = self.counted;
        counted.unfinished += self.open.len() as u64;
        counted
    }

    /// A message begins here.
    fn begins(&mut self, step: &Reading) -> Whose {
        let place = &step.place;
        let coming = self.way_to(place).and_then(|way| self.coming.remove(&way));
        let Some(end) = self.ends.get_mut(&place.connection) else {
            return Whose::Unknown;
        };
        if place.flow.role == INITIATOR {
            end.replied = end.call.take();
            let whose = end.replied.map_or(Whose::Unknown, |call| call.whose);
            return if step.what.several {
                Whose::Unknown
            } else {
                whose
            };
        }
        if place.flow.role != ACCEPTOR {
            return Whose::Unknown;
        }
        let unanswered = end.serving.take();
        self.drop_unanswered(unanswered);
        let is_remote = place.flow.peer & REMOTE != 0;
        let mut whose = match coming {
            _ if step.what.several => Whose::Unknown,
            Some(whose) => whose,
            None if is_remote => Whose::Outside,
            None => Whose::Unknown,
        };
        let mut entry = None;
        let is_entry = self.entry == Some((place.who, place.flow.port));
        if is_entry && !step.what.several && self.opened(whose).is_none() {
            entry = Some(self.begin(step.what.arrived_ns));
            whose = entry.map_or(whose, Whose::Request);
        }
        let serving = Serving {
            whose,
            entry,
            who: place.who,
            arrived_ns: step.what.arrived_ns,
            read_ns: step.now_ns,
        };
        self.reaches(&serving);
        *self.at_work.entry(place.who).or_default() += 1;
        if let Some(end) = self.ends.get_mut(&place.connection) {
            end.serving = Some(serving);
            end.served = None;
            end.missed = coming.is_none() && entry.is_none() && !is_remote;
        }
        whose
    }

    /// A new request at the entry.
    fn begin(&mut self, arrived_ns: u64) -> u64 {
        self.begun += 1;
        self.open.insert(self.begun, Open::new(arrived_ns));
        if self.open.len() > MOST_OPEN {
            self.open.pop_first();
            self.counted.unfinished += 1;
        }
        self.begun
    }

    /// A request, or a call on its behalf, is read by a component.
    fn reaches(&mut self, serving: &Serving) {
        if let Some(open) = self.opened(serving.whose) {
            let court = open.court(serving.who);
            court.received += 1;
            let unread_ns = serving.read_ns.saturating_sub(serving.arrived_ns);
            court.unread_ns = court.unread_ns.saturating_add(unread_ns);
        }
    }

    /// A component calls another one.
    fn calls(&mut self, step: &Sending, whose: Whose) {
        let place = &step.place;
        let opposite = place.address.as_ref().map(Address::opposite);
        let to = step
            .announced
            .or_else(|| self.addresses.get(opposite.as_ref()?).copied());
        if let Some(end) = self.ends.get_mut(&place.connection) {
            let who = place.who;
            end.call = Some(Call { whose, who, to });
        }
        if place.flow.peer & REMOTE != 0 {
            return;
        }
        if let Some(end) = to.and_then(|to| self.ends.get_mut(&to))
            && end.missed
            && let Some(serving) = &mut end.serving
        {
            // It was read before its send was told.
            end.missed = false;
            serving.whose = whose;
            end.whose = whose;
            if let Some(note) = end.read.back_mut() {
                note.whose = whose;
            }
            let serving = *serving;
            self.reaches(&serving);
            return;
        }
        let way = match (step.announced, opposite) {
            (Some(socket), _) => Way::Socket(socket),
            (None, Some(address)) => Way::To(address),
            (None, None) => return,
        };
        if self.coming.len() >= MOST_COMING {
            self.coming.clear();
        }
        let before = self.coming.insert(way.clone(), whose);
        if before.is_some() && place.flow.transport == UDP {
            // Two are on their way, and nothing tells which is read first.
            self.coming.insert(way, Whose::Unknown);
        }
    }

    /// A call is answered, at the caller.
    fn called(&mut self, step: &Reading, call: Call, latency_ns: u64) {
        let opposite = step.place.address.as_ref().map(Address::opposite);
        let to = call
            .to
            .or_else(|| self.addresses.get(opposite.as_ref()?).copied());
        let served = to
            .and_then(|to| self.ends.get_mut(&to))
            .and_then(|end| end.served.take())
            .filter(|(whose, ..)| *whose == call.whose)
            .map(|(_, who, service_ns)| (who, service_ns));
        let is_remote = step.place.flow.peer & REMOTE != 0;
        let remote = step.place.peer;
        if let Some(open) = self.opened(call.whose) {
            open.called(call.who, latency_ns, served);
            if is_remote {
                let court = open.court(remote);
                court.remote_ns = court.remote_ns.saturating_add(latency_ns);
            }
        }
    }

    /// A request is answered.
    fn answers(&mut self, step: &Sending, serving: Serving) -> Option<Anatomy> {
        let is_timed = match step.what.answer {
            Some(Answer::Timed(ns)) if !step.what.several => Some(ns),
            _ => None,
        };
        if let Some(number) = serving.entry {
            let open = self.open.remove(&number)?;
            match (is_timed, step.what.answer) {
                (Some(service_ns), _) => return Some(open.close(serving.who, service_ns)),
                (None, Some(Answer::Untimed | Answer::Timed(_))) => self.counted.untimed += 1,
                (None, _) => self.counted.unfinished += 1,
            }
            return None;
        }
        let is_entry = self.entry == Some((serving.who, step.place.flow.port));
        if is_entry && step.what.several && step.what.answer.is_some() {
            self.counted.untimed += 1;
        }
        let served = is_timed.map(|ns| (serving.whose, serving.who, ns));
        if let Some(end) = self.ends.get_mut(&step.place.connection) {
            end.served = served;
        }
        None
    }

    /// What a send belongs to.
    fn whose(&self, step: &Sending) -> Whose {
        let Sent {
            answers,
            answer,
            prompts,
            several,
            ..
        } = &step.what;
        if *several || *answer == Some(Answer::Untimed) {
            return Whose::Unknown;
        }
        if let Some(request) = answers {
            return self
                .note(*request)
                .map_or(Whose::Unknown, |note| note.whose);
        }
        let handed_over = step.turnaround.is_some_and(|t| t.handed_over);
        let at_work = self.at_work.get(&step.place.who).copied().unwrap_or(0);
        // Who has no request open works for none.
        let unless = match at_work {
            0 => Whose::Outside,
            _ => Whose::Unknown,
        };
        if prompts.more || handed_over && at_work > 1 {
            return unless;
        }
        let mut messages = prompts.messages.iter().flatten();
        let all = messages.try_fold(None, |before: Option<Whose>, message| {
            let whose = self
                .note(*message)
                .map_or(Whose::Unknown, |note| note.whose);
            before
                .is_none_or(|before| before == whose)
                .then_some(Some(whose))
        });
        all.flatten()
            .filter(|whose| *whose != Whose::Unknown)
            .unwrap_or(unless)
    }

    /// Books a turnaround.
    fn turnaround(
        &mut self,
        step: &Sending,
        whose: Whose,
        turnaround: &Turnaround,
        clocks: &Clocks,
    ) {
        let who = step.place.who;
        if whose == Whose::Unknown {
            let tally = self.counted.tallies.entry(who).or_default();
            tally.not_told += 1;
            let total_ns = turnaround.parts.total_ns();
            tally.not_told_ns = tally.not_told_ns.saturating_add(total_ns);
            return;
        }
        // What lay unread within it is part of it.
        let [first, ..] = step.what.prompts.messages;
        let prompt = step.what.answers.or(first);
        let unread = prompt.and_then(|message| self.note_mut(message)?.unread.take());
        let within_ns = unread.map_or(0, |(arrived_ns, read_ns)| {
            let end_ns = read_ns.min(turnaround.to_ns);
            end_ns.saturating_sub(arrived_ns.max(turnaround.from_ns))
        });
        let Some(open) = self.opened(whose) else {
            return;
        };
        let blame = clocks.blame(step.tid, turnaround);
        open.turnaround(who, step.place.peer, turnaround, blame);
        let court = open.court(who);
        court.unread_ns = court.unread_ns.saturating_sub(within_ns);
        self.counted.tallies.entry(who).or_default().told += 1;
    }

    fn note(&self, message: Message) -> Option<&Note> {
        let end = self.ends.get(&message.connection)?;
        let mut notes = end.read.iter().rev();
        notes.find(|note| note.number == message.number)
    }

    fn note_mut(&mut self, message: Message) -> Option<&mut Note> {
        let end = self.ends.get_mut(&message.connection)?;
        let mut notes = end.read.iter_mut().rev();
        notes.find(|note| note.number == message.number)
    }

    /// The request, if it is one at the entry that is not answered yet.
    fn opened(&mut self, whose: Whose) -> Option<&mut Open> {
        match whose {
            Whose::Request(number) => self.open.get_mut(&number),
            Whose::Outside | Whose::Unknown => None,
        }
    }

    /// The way that ends here.
    fn way_to(&self, place: &Place) -> Option<Way> {
        let socket = Way::Socket(place.connection);
        if self.coming.contains_key(&socket) {
            return Some(socket);
        }
        place.address.clone().map(Way::To)
    }

    fn leaves(&mut self, who: Who) {
        if let Some(open) = self.at_work.get_mut(&who) {
            *open = open.saturating_sub(1);
        }
    }

    fn drop_unanswered(&mut self, serving: Option<Serving>) {
        if let Some(serving) = serving {
            self.leaves(serving.who);
            let entry = serving.entry;
            let open = entry.and_then(|number| self.open.remove(&number));
            self.counted.unfinished += u64::from(open.is_some());
        }
    }

    /// A connection is used; what was silent for longest is forgotten.
    fn uses(&mut self, place: &Place) {
        for gone in self.idle.uses(place.connection) {
            let Some(end) = self.ends.remove(&gone) else {
                continue;
            };
            if let Some(address) = &end.address
                && self.addresses.get(address) == Some(&gone)
            {
                self.addresses.remove(address);
            }
            self.drop_unanswered(end.serving);
        }
        let end = self.ends.entry(place.connection).or_default();
        if end.address != place.address
            && let Some(address) = &place.address
        {
            end.address = Some(address.clone());
            self.addresses.insert(address.clone(), place.connection);
        }
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 4] {
        [
            self.ends.len(),
            self.addresses.len(),
            self.coming.len(),
            self.open.len(),
        ]
    }
}
