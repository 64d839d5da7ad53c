//! Edges: who talked to whom, with the measurements of both ends in one record.
//!
//! In: a Frame's flows, each the view from one end. Out: the other end's component of every flow, and [`EdgeSum`]s.
//! Must not know: entries, what is shown.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::directory::Directory;
use super::snapshot::{Dist, HeldUnknown};
use super::words::mostly_untimed;
use crate::frame::{
    self, DistRaw, Flow, Frame, Role, Transport, add_connects, add_counts, merge_dist, plus,
};

/// What an edge is kept for. Component indices of a [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EdgeKey {
    pub from: usize,
    pub to: usize,
    pub transport: Transport,
    pub port: u16,
}

/// The key that comes before all others.
pub(super) const LOWEST: EdgeKey = EdgeKey {
    from: 0,
    to: 0,
    transport: Transport::Tcp,
    port: 0,
};

/// Which end of an edge a flow was measured at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Initiator,
    Acceptor,
}

/// Everything counted for one edge, by end.
#[derive(Debug, Default)]
pub(super) struct EdgeSum {
    /// The initiator's measurements are here; otherwise the acceptor is the only witness.
    booked: bool,
    /// The acceptor's measurements are here.
    witnessed: bool,
    /// Roundtrips, seen by the initiator.
    answered: u64,
    /// Requests served, seen by the acceptor.
    pub served: u64,
    pub latency: DistRaw,
    pub service: DistRaw,
    /// Counts of all the initiator's flows, and of all the acceptor's; no distributions.
    pub initiator: Flow,
    pub acceptor: Flow,
    /// Roundtrips and requests in no distribution.
    untimed_answers: u64,
    pub untimed_requests: u64,
    /// Of replies, and of requests.
    receiving: DistRaw,
    receiving_requests: DistRaw,
    pub connects: frame::Connects,
    pub lower_bound: bool,
    /// Which end counted fewer, if the difference is more than can be under way when a window closes.
    fewer: Option<End>,
    /// The acceptor sent what it did not count as answers, and the initiator did.
    pushed: bool,
    /// The acceptor was seen to send on its own account.
    by_itself: bool,
    /// The acceptor took requests by calls that no hook sees (`splice`): what it says about turns does not count.
    blind: bool,
    /// The initiator sent and received without its role being known: it may have waited.
    latency_unseen: bool,
    /// The initiator says that its answers cannot be timed, so the acceptor's service times are not to be trusted.
    distrusted: bool,
    /// Something at the initiator's end makes its counts uncertain.
    asked_uncertainly: bool,
    /// How many more requests the callers counted than the acceptor, where the callers know better.
    told_by_callers: Option<u64>,
}

/// At most this number of a window's roundtrips, or a twentieth of them, are under way when the window begins or ends: they
/// are counted at one end in this window, and at the other in the next.
const UNDER_WAY: u64 = 2;

/// Whether two ends' counts cannot be of the same roundtrips.
fn apart(one: u64, other: u64) -> bool {
    one.abs_diff(other) > UNDER_WAY.max(one.max(other) / 20)
}

impl EdgeSum {
    fn add(&mut self, flow: &Flow, end: End) {
        let is_uncertain = uncertain(flow)
            || flow.role == Role::Unknown && flow.messages_sent > 0 && flow.messages_received > 0;
        let counts = match end {
            End::Initiator => {
                self.booked = true;
                self.asked_uncertainly |= is_uncertain;
                &mut self.initiator
            }
            End::Acceptor => {
                self.witnessed = true;
                self.by_itself |= flow.ambiguous > 0;
                self.blind |=
                    flow.ambiguous > 0 && flow.messages_received == 0 && flow.bytes_received > 0;
                &mut self.acceptor
            }
        };
        add_counts(counts, flow);
        match flow.role {
            Role::Initiator => {
                plus(&mut self.answered, flow.answered);
                plus(&mut self.untimed_answers, flow.untimed);
                merge_dist(&mut self.latency, &flow.answer);
            }
            Role::Acceptor => {
                plus(&mut self.served, flow.answered);
                plus(&mut self.untimed_requests, flow.untimed);
                merge_dist(&mut self.service, &flow.answer);
            }
            Role::Unknown => {
                self.latency_unseen |= flow.messages_sent > 0 && flow.messages_received > 0;
            }
        }
        let receiving = match end {
            End::Initiator => &mut self.receiving,
            End::Acceptor => &mut self.receiving_requests,
        };
        merge_dist(receiving, &flow.receiving);
        add_connects(&mut self.connects, &flow.connects);
        self.lower_bound |= is_uncertain;
    }

    /// Holds the two ends' measurements to each other, when all of them are here.
    fn judge(&mut self, transport: Transport) {
        if !(self.booked && self.witnessed) {
            return;
        }
        if transport == Transport::Udp && self.callers_know_better() {
            self.told_by_callers = Some(self.answered - self.served);
            self.served = self.answered;
            self.untimed_requests = self.served;
            self.service = DistRaw::default();
            // Of one caller after the other, not of one request.
            self.receiving_requests = DistRaw::default();
            self.lower_bound = false;
            return;
        }
        if apart(self.answered, self.served) {
            let initiator = self.answered < self.served;
            self.fewer = Some(if initiator {
                End::Initiator
            } else {
                End::Acceptor
            });
            self.lower_bound = true;
        }
        let sent_more = self.fewer == Some(End::Acceptor) && apart(self.served, self.reached())
            || self.by_itself && self.served < self.answered;
        if sent_more && !self.blind {
            // More answers than were given: which of them were answers, nobody can tell.
            self.pushed = true;
            self.latency = DistRaw::default();
            self.untimed_answers = self.answered;
        }
        let at_initiator = mostly_untimed(self.untimed_answers, self.answered);
        let at_acceptor = mostly_untimed(self.untimed_requests, self.served);
        // Where one end has no time at all, those that the other has are by chance.
        let never = |untimed: u64, of: u64| of > 0 && untimed >= of;
        let never_at_initiator = never(self.untimed_answers, self.answered);
        let never_at_acceptor = never(self.untimed_requests, self.served);
        if never_at_initiator || at_initiator && !at_acceptor {
            self.distrusted = true;
            self.service = DistRaw::default();
            self.untimed_requests = self.served;
        } else if never_at_acceptor || at_acceptor && !at_initiator {
            self.latency = DistRaw::default();
            self.untimed_answers = self.answered;
        }
    }

    /// A UDP server has one socket for all its callers. If requests of several are open there, the socket does not show which
    /// of them a send answers, or how many. Each caller's socket is one conversation: if none had two requests open, what the
    /// callers counted and timed is valid.
    fn callers_know_better(&self) -> bool {
        self.untimed_requests > 0
            && !self.by_itself
            && !self.asked_uncertainly
            && self.answered >= self.served
    }

    /// How many answers the acceptor should have given, by the bytes that it sent: the ends are not read at one instant, and
    /// of a short window one may show less than the other.
    fn reached(&self) -> u64 {
        let sent = self.acceptor.bytes_sent.max(1);
        let taken = self.initiator.bytes_received.max(1);
        let share = (sent as f64 / taken as f64).min(1.0);
        (self.answered as f64 * share) as u64
    }

    /// Whether the acceptor's measurements are here.
    pub fn witnessed(&self) -> bool {
        self.witnessed
    }

    /// Whether the acceptor's service times are not to be trusted.
    pub fn distrusted(&self) -> bool {
        self.distrusted
    }

    /// How many more requests there were than the acceptor counted, where its callers know better.
    pub fn told_by_callers(&self) -> Option<u64> {
        self.told_by_callers
    }

    /// Whether the acceptor counted fewer requests than the initiator.
    pub fn requests_unseen(&self) -> bool {
        self.distrusted || self.fewer == Some(End::Acceptor)
    }

    /// Why the latency of all these calls is not known, if it is not.
    pub fn calls_unknown(&self) -> Option<HeldUnknown> {
        if !self.booked {
            // Whoever calls without being known to have reached this end is booked with its latency elsewhere.
            None
        } else if self.untimed_answers > 0 {
            Some(HeldUnknown::UntimedCalls)
        } else if self.fewer == Some(End::Initiator) || self.latency_unseen {
            Some(HeldUnknown::UnseenCalls)
        } else {
            None
        }
    }

    /// Roundtrips that are in no distribution.
    pub fn untimed(&self) -> u64 {
        if self.booked {
            self.untimed_answers.min(self.roundtrips())
        } else {
            self.untimed_requests
        }
    }

    /// The initiator's count, or the acceptor's where that is the only witness, or where some of what the initiator took for
    /// answers were none.
    pub fn roundtrips(&self) -> u64 {
        if self.pushed {
            self.served
        } else if self.booked {
            self.answered
        } else {
            self.served
        }
    }

    /// How much work the edge brings to its acceptor: requests, or messages where nothing is answered.
    pub fn weight(&self) -> u64 {
        match self.answered.max(self.served) {
            0 => self
                .initiator
                .messages_sent
                .max(self.acceptor.messages_received),
            requests => requests,
        }
    }

    /// Whether the initiator's measurements are here.
    pub fn booked(&self) -> bool {
        self.booked
    }

    /// A count as the initiator has it; where it is not on this host, what the acceptor has of the same.
    pub fn seen(&self, own: fn(&Flow) -> u64, other: fn(&Flow) -> u64) -> u64 {
        if self.booked {
            own(&self.initiator)
        } else {
            other(&self.acceptor)
        }
    }

    /// A count of both ends together.
    pub fn both(&self, of: fn(&Flow) -> u64) -> u64 {
        of(&self.initiator).saturating_add(of(&self.acceptor))
    }

    /// Of messages that came in pieces, in either direction.
    pub fn receiving(&self) -> Option<Dist> {
        let mut receiving = self.receiving.clone();
        merge_dist(&mut receiving, &self.receiving_requests);
        (!receiving.is_empty()).then(|| (&receiving).into())
    }
}

/// Every edge of a window, and the component at the other end of every flow.
pub(super) struct Edges {
    pub sums: BTreeMap<EdgeKey, EdgeSum>,
    /// By index of the flow in the frame.
    pub peers: Vec<usize>,
    /// By index of the flow in the frame: where it is booked, if no other flow says the same.
    keys: Vec<Option<EdgeKey>>,
}

impl Edges {
    /// Resolves both ends of every flow and books each edge once.
    pub fn of(frame: &Frame, directory: &Directory) -> Self {
        let ends = ends(&frame.flows);
        let peers = resolve(frame, directory, &ends);
        let mut sums: BTreeMap<EdgeKey, EdgeSum> = BTreeMap::new();
        // Who calls a port without being known to have reached anybody there.
        let astray: BTreeSet<_> = frame
            .flows
            .iter()
            .zip(&ends)
            .zip(&peers)
            .filter(|&(_, &peer)| directory.unresolved(peer))
            .filter_map(|((flow, end), _)| match end {
                Some((End::Initiator, port)) => {
                    Some((directory.of(flow.image), flow.transport, *port))
                }
                _ => None,
            })
            .collect();
        let mut keys = Vec::with_capacity(peers.len());
        for ((flow, end), &peer) in frame.flows.iter().zip(ends).zip(&peers) {
            let Some((end, port)) = end else {
                keys.push(None);
                continue;
            };
            let own = directory.of(flow.image);
            let key = key(end, own, peer, flow.transport, port);
            keys.push(Some(key));
            // An edge is traffic, or the attempt: a gap before a send whose bytes are booked elsewhere is none.
            if flow.bytes_sent | flow.bytes_received | flow.retransmits > 0
                || !flow.connects.is_none()
            {
                let sum = sums.entry(key).or_default();
                sum.add(flow, end);
                // An initiator on this host is measured, too, and may have done nothing in this window: what it sent in
                // the one before is not to be counted again where it is read.
                sum.booked |=
                    !directory.remote(peer) && !astray.contains(&(peer, flow.transport, port));
            }
        }
        for (key, sum) in &mut sums {
            sum.judge(key.transport);
        }
        Self { sums, peers, keys }
    }

    /// The edges that a component initiates.
    pub fn from(&self, component: usize) -> impl Iterator<Item = (&EdgeKey, &EdgeSum)> {
        let first = EdgeKey {
            from: component,
            ..LOWEST
        };
        self.sums
            .range(first..)
            .take_while(move |(key, _)| key.from == component)
    }

    /// The edge on which a flow is booked, by its index in the frame.
    pub fn of_flow(&self, flow: usize) -> Option<&EdgeSum> {
        self.sums.get(self.keys.get(flow)?.as_ref()?)
    }
}

/// Whether a flow's counts may be less than what happened.
pub(super) fn uncertain(flow: &Flow) -> bool {
    flow.ambiguous > 0 || flow.midlife_turns > 0 || flow.untimed > 0
}

fn key(end: End, own: usize, peer: usize, transport: Transport, port: u16) -> EdgeKey {
    let (from, to) = match end {
        End::Initiator => (own, peer),
        End::Acceptor => (peer, own),
    };
    EdgeKey {
        from,
        to,
        transport,
        port,
    }
}

/// The end that each flow was measured at, and the acceptor's port. None if the other end's flow says all of it.
///
/// A flow of unknown role takes the role that its other end implies. If neither end knows, the lower image counts as the
/// initiator, so that the connection is booked once.
fn ends(flows: &[Flow]) -> Vec<Option<(End, u16)>> {
    let known: HashMap<_, _> = flows
        .iter()
        .filter(|flow| flow.role != Role::Unknown)
        .map(|flow| {
            (
                (flow.image, flow.peer, flow.transport),
                (flow.role, flow.port),
            )
        })
        .collect();
    let unknown: BTreeSet<_> = flows
        .iter()
        .filter(|flow| flow.role == Role::Unknown)
        .map(|flow| (flow.image, flow.peer, flow.transport))
        .collect();
    let end = |flow: &Flow| match flow.role {
        Role::Initiator => Some((End::Initiator, flow.port)),
        Role::Acceptor => Some((End::Acceptor, flow.port)),
        Role::Unknown => {
            let mirrored = (flow.peer, flow.image, flow.transport);
            match known.get(&mirrored) {
                Some((Role::Initiator, _)) => None,
                Some(&(_, port)) => Some((End::Initiator, port)),
                None if flow.peer < flow.image && unknown.contains(&mirrored) => None,
                None => Some((End::Initiator, flow.port)),
            }
        }
    };
    flows.iter().map(end).collect()
}

/// The component at the other end of every flow.
///
/// Where the kernel did not know the other end, or only a loopback address of it, it is still certain when there is
/// one candidate: for an initiator, the only component that listens or serves on that port; for an acceptor, the
/// only component that called it there and whose calls have no other witness.
fn resolve(frame: &Frame, directory: &Directory, ends: &[Option<(End, u16)>]) -> Vec<usize> {
    let mut peers: Vec<usize> = frame.flows.iter().map(|f| directory.of(f.peer)).collect();

    let mut listeners: HashMap<u16, BTreeSet<usize>> = HashMap::new();
    for image in &frame.images {
        for &port in &image.listens {
            listeners
                .entry(port)
                .or_default()
                .insert(directory.of(image.id));
        }
    }
    for (flow, end) in frame.flows.iter().zip(ends) {
        if let Some((End::Acceptor, port)) = *end {
            listeners
                .entry(port)
                .or_default()
                .insert(directory.of(flow.image));
        }
    }
    // Unix sockets have no port: there "the only one on port 0" would be a guess.
    listeners.remove(&0);
    for (end, peer) in ends.iter().zip(&mut peers) {
        if let Some((End::Initiator, port)) = end
            && directory.unresolved(*peer)
            && let Some(only) = only(listeners.get(port))
        {
            *peer = only;
        }
    }
    find_heirs(frame, directory, ends, &mut peers);

    let mut callers: HashMap<_, BTreeSet<usize>> = HashMap::new();
    let each = || frame.flows.iter().zip(ends).enumerate();
    for (i, (flow, end)) in each() {
        if let Some((End::Initiator, port)) = *end {
            let own = directory.of(flow.image);
            callers
                .entry((peers[i], flow.transport, port))
                .or_default()
                .insert(own);
        }
    }
    for (i, (flow, end)) in each() {
        if let Some((End::Acceptor, port)) = *end
            && !directory.unresolved(peers[i])
            && let Some(callers) =
                callers.get_mut(&(directory.of(flow.image), flow.transport, port))
        {
            callers.remove(&peers[i]);
        }
    }
    for (i, (flow, end)) in frame.flows.iter().zip(ends).enumerate() {
        if let Some((End::Acceptor, port)) = *end
            && directory.unresolved(peers[i])
            && let Some(only) = only(callers.get(&(directory.of(flow.image), flow.transport, port)))
        {
            peers[i] = only;
        }
    }
    peers
}

/// A process that inherits a listening socket is seen only when it reads: until then a client's sends are booked on the
/// listener. They belong to the heir if the listener read nothing of that client, and one component did that does not listen
/// there.
/// Clients are told apart by their images: in another network namespace, another may serve that port.
fn find_heirs(
    frame: &Frame,
    directory: &Directory,
    ends: &[Option<(End, u16)>],
    peers: &mut [usize],
) {
    let mut listening = BTreeSet::new();
    for image in &frame.images {
        listening.extend(image.listens.iter().map(|port| (image.id, *port)));
    }
    let mut reading: HashMap<_, BTreeSet<u32>> = HashMap::new();
    for (flow, end) in frame.flows.iter().zip(ends) {
        if let Some((End::Acceptor, port)) = *end
            && flow.transport == Transport::Tcp
        {
            let readers = reading.entry((flow.peer, port)).or_default();
            readers.insert(flow.image);
        }
    }
    for ((flow, end), peer) in frame.flows.iter().zip(ends).zip(peers) {
        if let Some((End::Initiator, port)) = *end
            && flow.transport == Transport::Tcp
            && !directory.unresolved(*peer)
            && !directory.remote(*peer)
            && let Some(readers) = reading.get(&(flow.image, port))
            && !readers.contains(&flow.peer)
            && !readers.iter().any(|id| listening.contains(&(*id, port)))
        {
            let heirs = readers.iter().map(|id| directory.of(*id)).collect();
            if let Some(heir) = only(Some(&heirs)) {
                *peer = heir;
            }
        }
    }
}

fn only(candidates: Option<&BTreeSet<usize>>) -> Option<usize> {
    candidates
        .filter(|set| set.len() == 1)
        .and_then(|set| set.first().copied())
}
