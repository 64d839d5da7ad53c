//! Where a request's time went: the fields of an entry and of its courts.
//!
//! In: nothing, [`super::super::entries`] fills them. Out: [`Entry`], [`Court`]. Must not know: components, edges.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HeldUnknown;
use crate::model::fields::{
    BELOW, BOUNDED, EXACT, LEFT, NAME, NS, NUMBER, OBJECT, SHARED, YES, fields,
};
use crate::parts::Parts;

fields! {
    /// Where a request's time went: `mean_ns` is the sum over the courts of `unread_ns`, `turnaround_ns` and `held_ns`, and of
    /// `network_ns` and `other_ns`.
    ///
    /// Nothing is counted twice: a turnaround begins when its message arrives, so unread time within turnarounds belongs to
    /// these, and `unread_ns` is the rest.
    ///
    /// If several entries lead to one component, its time is split by the requests that each brings to it: exact when
    /// they cost the same.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct Entry {
        /// Component id of the entry.
        component: String [NAME, EXACT];
        /// Its port; 0 for Unix sockets.
        port: u16 [NUMBER, EXACT];
        /// Requests served there.
        requests: u64 [NUMBER, BOUNDED];
        /// Of them in no distribution: several were open at once on their connection.
        #[serde(default)]
        untimed: u64 [NUMBER, EXACT; last];
        /// The count of requests is a lower bound.
        #[serde(default)]
        lower_bound: bool [YES, EXACT; last];
        /// Mean service time: the sum of the courts' unread, turnaround and held, network_ns and other_ns; null where none was
        /// timed.
        mean_ns: Option<f64> [NS, EXACT];
        /// The components that the request passed (courts), per request.
        courts: Vec<Court> [OBJECT, BELOW];
        /// Latency minus service time over the edges in between, per request.
        network_ns: f64 [NS, "includes the wake-up of the reader"];
        /// What cannot be assigned to a component, per request; null if the held time of a component is not known.
        other_ns: Option<f64> [NS, LEFT];
        /// No part is larger than the whole. Otherwise the parts do not add up: a component worked on after its reply, or for
        /// sends that answer no request.
        #[serde(default = "yes")]
        adds_up: bool [YES, EXACT; last, note "Entries that do not add up come last"];
    }
}

impl Entry {
    /// Whether it is of a recording from before unread time was told apart.
    #[must_use]
    pub fn not_recorded(&self) -> bool {
        let mut reasons = self.courts.iter().map(|court| court.held_unknown);
        reasons.any(|reason| reason == Some(HeldUnknown::NotRecorded))
    }
}

fn yes() -> bool {
    true
}

fields! {
    /// Time per request in one component's court. That of a remote end is the whole latency towards it, network included,
    /// and its parts, which cannot be known on this host, are 0, and so are unread and held.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct Court {
        /// Component id.
        component: String [NAME, EXACT];
        /// Arrival to first read of its requests, as far as no turnaround covers that, per request at the entry; null if
        /// a recording does not contain it.
        #[serde(default)]
        unread_ns: Option<f64> [NS, SHARED];
        /// Time in its court per request at the entry; of a remote end the whole latency.
        turnaround_ns: f64 [NS, SHARED];
        /// What it is made of.
        #[serde(flatten)]
        parts: Parts<f64> [NS, SHARED; prefix ""];
        /// Read, and waiting inside while its threads did other things, per request at the entry; negative if it calls in
        /// parallel; null if it serves no requests or held_unknown says why.
        #[serde(default)]
        held_ns: Option<f64> [NS, LEFT];
        /// Why held_ns is not known, in the words of `components`.
        #[serde(default)]
        held_unknown: Option<HeldUnknown> [NAME, EXACT];
    }
}

impl Court {
    /// All of a request's time that is placed on the component.
    #[must_use]
    pub fn all_ns(&self) -> f64 {
        self.unread_ns.unwrap_or(0.0) + self.turnaround_ns + self.held_ns.unwrap_or(0.0)
    }
}
