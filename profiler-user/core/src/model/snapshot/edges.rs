//! Who talked to whom: the fields of an edge.
//!
//! In: what [`super::super::edges`] added up for an edge. Out: [`Edge`], [`Connects`]. Must not know: components, entries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Dist;
use crate::frame::{self, Transport, known_min};
use crate::model::directory::Directory;
use crate::model::dist::count;
use crate::model::edges::{EdgeKey, EdgeSum};
use crate::model::fields::{
    BELOW, BOUNDED, BYTES, EXACT, NAME, NS, NUMBER, OBJECT, RATIO, YES, fields,
};

fields! {
    /// Who talked to whom.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct Edge from (sum: &EdgeSum, key: &EdgeKey, names: &Directory, per_request: Option<f64>) {
        /// Component id of the initiator.
        from: String [NAME, EXACT] = names.identities[key.from].id.clone();
        /// Component id of the acceptor.
        to: String [NAME, EXACT] = names.identities[key.to].id.clone();
        /// `tcp` (MPTCP, too), `udp` (UDP-Lite, too) or `unix`.
        transport: Transport [NAME, EXACT] = key.transport;
        /// The acceptor's port; 0 for Unix sockets.
        port: u16 [NUMBER, EXACT] = key.port;
        /// Messages sent that were followed by one received.
        roundtrips: u64 [NUMBER, BOUNDED;
            note "If a UDP server had requests of several callers open at once, the count is that of the callers"]
        => { ROUNDTRIPS "RT/s" "roundtrips per second; ≥ where counts are a lower bound" }
        = sum.roundtrips();
        /// Roundtrips divided by the requests served at the entry; null where there is no entry.
        roundtrips_per_request: Option<f64> [RATIO, BOUNDED]
        => { PER_REQUEST "RT/req" "roundtrips for one request at the entry" }
        = per_request;
        /// Send of a request to arrival of its reply.
        latency_ns: Dist [NS, BELOW;
            note "From the start of the last send; for UDP and Unix sockets from its delivery on this host, else from the end of its call; for MPTCP from its first piece"]
        => {
            P50 "p50" "latency, send of a request to arrival of its reply: half are faster; untimed where several were open at once",
            P90 "p90" "latency: 9 in 10 are faster",
            P99 "p99" "latency: 99 in 100 are faster",
        }
        = (&sum.latency).into();
        /// The acceptor's service time on these connections; null where the acceptor is not on this host.
        service_ns: Option<Dist> [NS, BELOW] = sum.witnessed().then(|| (&sum.service).into());
        /// Messages the initiator sent.
        messages_sent: u64 [NUMBER, EXACT] = sum.seen(|own| own.messages_sent, |other| other.messages_received);
        /// Messages the initiator received.
        messages_received: u64 [NUMBER, EXACT] = sum.seen(|own| own.messages_received, |other| other.messages_sent);
        /// Bytes the initiator sent.
        bytes_sent: u64 [BYTES, EXACT]
        => { SENT "SENT/s" "bytes per second from the end that asks" }
        = sum.seen(|own| own.bytes_sent, |other| other.bytes_received);
        /// Bytes the initiator received.
        bytes_received: u64 [BYTES, EXACT]
        => { RECEIVED "RECV/s" "bytes per second back to the end that asks" }
        = sum.seen(|own| own.bytes_received, |other| other.bytes_sent);
        /// Smallest round-trip time that the kernel's TCP knows; null if it knows none.
        min_rtt_ns: Option<u64> [NS, "1 µs"]
        => { RTT "RTT" "smallest roundtrip time that the kernel knows for the connections" }
        = known_min(sum.initiator.min_rtt_ns, sum.acceptor.min_rtt_ns);
        /// TCP segments sent again, both ends.
        retransmits: u64 [NUMBER, EXACT]
        => { RETRANSMITS "RETR" "TCP segments sent again in this window" }
        = sum.both(|end| end.retransmits);
        /// Roundtrips in no distribution: several were open at once on their connection.
        #[serde(default)]
        untimed: u64 [NUMBER, EXACT; note "All of them if those of the other end are untimed"] = sum.untimed();
        /// First to last byte of messages that came in pieces, in either direction; null where none did.
        #[serde(default)]
        receiving_ns: Option<Dist> [NS, BELOW] = sum.receiving();
        /// The counts are lower bounds: several requests were open at once, a connection was older than the attach, or the
        /// two ends count differently (by more than two and a twentieth); then the smaller count is shown.
        lower_bound: bool [YES, EXACT] = sum.lower_bound;
        /// The initiator is not on this host: roundtrips is the number of requests served, and there is no latency.
        acceptor_only: bool [YES, EXACT] = !sum.booked();
        /// TCP: what became of the initiator's connects; all 0 where it is not on this host.
        #[serde(default)]
        connects: Connects [OBJECT, BELOW; prefix "connects_"] = Connects::of(&sum.connects);
    }
}

fields! {
    /// Connects of an edge, in the window in which they ended, or in which the connection was used first.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Connects from (sum: &frame::Connects) {
        /// TCP: connects that made a connection.
        count: u64 [NUMBER, EXACT; column "",
            note "Counted with the connection's first traffic, or when it closes"]
        = count(&sum.latency);
        /// TCP: connects that made no connection: refused, without an answer, or given up.
        failed: u64 [NUMBER, EXACT;
            note "Counted when they fail; if no process listens, the edge leads to the address"]
        = sum.failed;
        /// TCP: start of a connect to the connection, in the window in which it ended or was used first.
        latency_ns: Dist [NS, BELOW; column "connect", last,
            note "Includes the three-way handshake, and the wait for room in the acceptor's queue"]
        = (&sum.latency).into();
        /// TCP: first segments (SYN) of connects that the kernel sent again.
        syn_retransmits: u64 [NUMBER, EXACT; column "syn_retransmits",
            note "Counted with their connect; in retransmits, too"]
        = sum.syn_retransmits;
    }
}
