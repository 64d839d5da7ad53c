//! Who talks to whom in a parallel application, in what shape, and how long messages take.
//!
//! In: nothing (plain data). Out: what file and screen show. Must not know: how anything is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::snapshot::Dist;

/// Who talks to whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Topology {
    /// Process ids: rows and columns of the matrix.
    pub processes: Vec<String>,
    /// Bytes a second from row to column.
    pub bytes_per_s: Vec<Vec<f64>>,
    /// Pairs with at least a tenth of the greatest rate, by their places in processes.
    pub edges: Vec<(u64, u64)>,
    /// `ring`, `mesh`, `torus`, `hypercube`, `tree`, `all-to-all`, `star`, `pipeline` or `irregular`.
    pub shape: String,
    /// How well it fits: edges that both have over edges that either has, with the best numbering found; 1 is exact. For
    /// `irregular` that of the best shape.
    #[serde(rename = "match")]
    pub match_score: f64,
    /// Extent in each dimension; empty for shapes without.
    pub dimensions: Vec<u64>,
    /// Other shapes that are the same graph: a ring of 4 is a torus of 2 x 2.
    pub also: Vec<String>,
    /// Changes of the edges, smoothed over 20 updates of update_ns, told after they stayed for 3.
    pub changes: Vec<Change>,
    /// Time between two updates of the edges.
    pub update_ns: u64,
}

/// A change of the edges.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// When, from the start of the recording.
    pub at_ns: u64,
    /// The shape from then on.
    pub shape: String,
    /// Edges that are new.
    pub edges_added: Vec<(u64, u64)>,
    /// Edges that are gone.
    pub edges_removed: Vec<(u64, u64)>,
}

/// Messages from one process to another. A message is what one send call took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// Process id.
    pub from: String,
    /// Process id.
    pub to: String,
    /// The smallest round-trip time that the kernel knew; null where it knew none.
    pub min_rtt_ns: Option<u64>,
    /// Null: recordings do not hold what the kernel knows of it.
    pub delivery_bytes_per_s: Option<f64>,
    /// Null, as delivery_bytes_per_s.
    pub limited_by: Option<String>,
    /// Null: recordings hold calls, not packets.
    pub train_bytes_per_s: Option<f64>,
    /// From the begin of a send to the arrival of its first byte, of those of which both are known.
    pub latency_ns: Dist,
    /// From the arrival of a message's first byte to the last arrival of its bytes, all messages together.
    pub transfer_ns: u64,
    /// How many.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Difference of the ends' clocks: 0, since both are on this host; null where it is not known.
    pub clock_offset_ns: Option<f64>,
}

/// How two recordings of an application differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// Always `courtside.inference-compare/1`.
    pub schema: String,
    /// Name of the recording that is compared with.
    pub a: String,
    /// Name of the recording that is compared.
    pub b: String,
    /// From 0, the same, to 1, nothing in common: half the sum of the differences of the fingerprints' energy, by frequency, on a
    /// grid as fine as the shorter recording resolves. Null where one has none.
    pub fingerprint_distance: Option<f64>,
    /// Why fingerprint_distance is null.
    pub fingerprint_unknown: Option<String>,
    /// Iterations a second of A over those of B, the median over pairs of processes: how many times as long B takes for an
    /// iteration. Null where one has no iterations.
    pub time_ratio: Option<f64>,
    /// The same for each pair of processes, by their places.
    pub pairs: Vec<PairTime>,
    /// Shape of A.
    pub shape_a: String,
    /// Shape of B.
    pub shape_b: String,
    /// What has to be known to read this.
    pub remarks: Vec<String>,
}

/// How much longer an iteration of one process takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairTime {
    /// Process id in A.
    pub a: String,
    /// Process id in B.
    pub b: String,
    /// Iterations a second of A over those of B.
    pub time_ratio: f64,
}
