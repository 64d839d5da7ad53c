//! Edges: who talked to whom, both ends' measurements met in one record.
//!
//! In: a Frame's flows, each the view from one end. Out: the other end's component of every flow, and [`EdgeSum`]s.
//! Must not know: entries, what is shown.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::components::Directory;
use super::snapshot::Edge;
use crate::frame::{DistRaw, Flow, Frame, Role, Transport, merge_dist, plus};

/// What an edge is kept for. Component indices of a [`Directory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EdgeKey {
    pub from: usize,
    pub to: usize,
    pub transport: Transport,
    pub port: u16,
}

/// Which end of an edge a flow tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Initiator,
    Acceptor,
}

/// Messages and bytes, as the initiator sees them.
#[derive(Debug, Default)]
struct Traffic {
    messages_sent: u64,
    messages_received: u64,
    bytes_sent: u64,
    bytes_received: u64,
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
    initiator: Traffic,
    acceptor: Traffic,
    min_rtt_ns: Option<u64>,
    retransmits: u64,
    pub lower_bound: bool,
}

impl EdgeSum {
    fn add(&mut self, flow: &Flow, end: End) {
        let traffic = match end {
            End::Initiator => {
                self.booked = true;
                &mut self.initiator
            }
            End::Acceptor => {
                self.witnessed = true;
                &mut self.acceptor
            }
        };
        let (out, back) = match end {
            End::Initiator => (
                (flow.messages_sent, flow.bytes_sent),
                (flow.messages_received, flow.bytes_received),
            ),
            End::Acceptor => (
                (flow.messages_received, flow.bytes_received),
                (flow.messages_sent, flow.bytes_sent),
            ),
        };
        plus(&mut traffic.messages_sent, out.0);
        plus(&mut traffic.bytes_sent, out.1);
        plus(&mut traffic.messages_received, back.0);
        plus(&mut traffic.bytes_received, back.1);
        match flow.role {
            Role::Initiator => {
                plus(&mut self.answered, flow.answered);
                merge_dist(&mut self.latency, &flow.answer);
            }
            Role::Acceptor => {
                plus(&mut self.served, flow.answered);
                merge_dist(&mut self.service, &flow.answer);
            }
            Role::Unknown => {}
        }
        let known = [
            self.min_rtt_ns,
            (flow.min_rtt_ns > 0).then_some(flow.min_rtt_ns),
        ];
        self.min_rtt_ns = known.into_iter().flatten().min();
        plus(&mut self.retransmits, flow.retransmits);
        self.lower_bound |= flow.ambiguous > 0
            || flow.midlife_turns > 0
            || flow.role == Role::Unknown && flow.messages_sent > 0 && flow.messages_received > 0;
    }

    /// Whether the acceptor's measurements are here.
    pub fn witnessed(&self) -> bool {
        self.witnessed
    }

    /// The initiator's count, or the acceptor's where that is the only witness.
    pub fn roundtrips(&self) -> u64 {
        if self.booked {
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
                .max(self.acceptor.messages_sent),
            requests => requests,
        }
    }

    /// The edge as shown.
    pub fn describe(&self, key: EdgeKey, directory: &Directory, per_request: Option<f64>) -> Edge {
        let traffic = if self.booked {
            &self.initiator
        } else {
            &self.acceptor
        };
        Edge {
            from: directory.identities[key.from].id.clone(),
            to: directory.identities[key.to].id.clone(),
            transport: key.transport,
            port: key.port,
            roundtrips: self.roundtrips(),
            roundtrips_per_request: per_request,
            latency_ns: (&self.latency).into(),
            service_ns: self.witnessed.then(|| (&self.service).into()),
            messages_sent: traffic.messages_sent,
            messages_received: traffic.messages_received,
            bytes_sent: traffic.bytes_sent,
            bytes_received: traffic.bytes_received,
            min_rtt_ns: self.min_rtt_ns,
            retransmits: self.retransmits,
            lower_bound: self.lower_bound,
            acceptor_only: !self.booked,
        }
    }
}

/// Every edge of a window, and the component at the other end of every flow.
pub(super) struct Edges {
    pub sums: BTreeMap<EdgeKey, EdgeSum>,
    /// By index of the flow in the frame.
    pub peers: Vec<usize>,
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
        for ((flow, end), &peer) in frame.flows.iter().zip(ends).zip(&peers) {
            let Some((end, port)) = end else { continue };
            let own = directory.of(flow.image);
            let key = key(end, own, peer, flow.transport, port);
            // An edge is traffic: a gap before a send whose bytes are booked elsewhere is none.
            if flow.bytes_sent | flow.bytes_received | flow.retransmits > 0 {
                let sum = sums.entry(key).or_default();
                sum.add(flow, end);
                // An initiator on this host is measured, too, and may have done nothing in this window: what it sent in
                // the one before is not to be counted again where it is read.
                sum.booked |=
                    !directory.remote(peer) && !astray.contains(&(peer, flow.transport, port));
            }
        }
        Self { sums, peers }
    }
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

/// The end each flow tells of, and the acceptor's port. None where the other end's flow tells it all.
///
/// A flow of unknown role goes by what its other end knows. Where neither knows, the lower image counts as the
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

fn only(candidates: Option<&BTreeSet<usize>>) -> Option<usize> {
    candidates
        .filter(|set| set.len() == 1)
        .and_then(|set| set.first().copied())
}
