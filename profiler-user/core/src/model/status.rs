//! Status: how an agent is. The JSON of schema `courtside.status/1`.
//!
//! In: nothing (plain data, filled by the agent). Out: what `/status` shows. Must not know: HTTP, how anything is measured.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::snapshot::{Host, Pmu, Probe, Window};

/// Name and version of the schema.
pub const STATUS_SCHEMA: &str = "courtside.status/1";

/// How an agent is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Always `courtside.status/1`.
    pub schema: String,
    /// Version of Courtside.
    pub tool_version: String,
    /// Windows come in time.
    pub healthy: bool,
    /// Why not, in words; null if it is.
    pub reason: Option<String>,
    /// When the agent began to serve, since 1970.
    pub started_unix_ns: u64,
    /// Length of a window, as asked for.
    pub interval_ns: u64,
    /// Windows measured.
    pub windows: u64,
    /// Length of all of them.
    pub measured_ns: u64,
    /// Of them: windows in which some count may be too low.
    pub lower_bound_windows: u64,
    /// What was lost in all of them, by class.
    pub lost: BTreeMap<String, u64>,
    /// The last window; null before there is one.
    pub window: Option<Window>,
    /// The machine; null before there is a window.
    pub host: Option<Host>,
    /// Every kernel program, in the last window.
    pub probes: Vec<Probe>,
    /// Hardware counters, in the last window; null before there is one.
    pub pmu: Option<Pmu>,
    /// Series of `/metrics`.
    pub series: SeriesStatus,
    /// The recording beside; null if none is made.
    pub recording: Option<RecordingStatus>,
    /// The export of finished hours; null if none is made.
    #[serde(default)]
    pub export: Option<ExportStatus>,
    /// The push to a collector; null if none is made.
    #[serde(default)]
    pub push: Option<PushStatus>,
    /// The guard beside; null if there is none.
    #[serde(default)]
    pub guard: Option<GuardStatus>,
    /// Whoever asks.
    pub http: HttpStatus,
}

/// Series of `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeriesStatus {
    /// How many components may have series of their own (`--top`).
    pub limit: u64,
    /// Components that have, `other` among them.
    pub components: u64,
    /// Edges that have.
    pub edges: u64,
    /// Pairs of a component and the recipient of what it sent that have.
    pub turnarounds: u64,
    /// Components, edges and recipients of the last window that the limit put into `other`.
    pub folded: u64,
}

/// A recording that is made beside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordingStatus {
    /// Its file.
    pub file: String,
    /// Windows that went into it, also those given up since for newer ones.
    pub windows: u64,
    /// Size of what is kept.
    pub size_bytes: u64,
    /// Why no more windows go into it; null while they do.
    pub failed: Option<String>,
}

/// An export of finished hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportStatus {
    /// Its folder.
    pub folder: String,
    /// Windows in files that are whole; those of the hour that goes on are not counted yet.
    pub windows: u64,
    /// Windows that are in no file: the disk was full, or something else was in the way.
    pub lost_windows: u64,
    /// What was in the way of the last window; null if nothing was.
    pub failed: Option<String>,
}

/// A push to a collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PushStatus {
    /// Where it is pushed to.
    pub url: String,
    /// Pushes that were taken as a whole.
    pub sent: u64,
    /// Pushes that were given up, or taken in part.
    pub lost: u64,
    /// Tries that failed and were made again.
    pub failures: u64,
    /// What was wrong with the last try; null if it was taken.
    pub failed: Option<String>,
}

/// A guard that judges what is measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuardStatus {
    /// What is done about a neighbour that slows a service: `off`, `dry_run` or `cap`.
    pub act: String,
    /// File of what is usual; null if it is learned.
    pub spec: Option<String>,
    /// Windows judged; samples in mode paper.
    pub windows: u64,
    /// Services of the last window that are judged by what is usual for them.
    pub judged: u64,
    /// Services of the last window of which it is still learned what is usual.
    pub learning: u64,
    /// Numbers of services that are too high now, and a neighbour may have made that.
    pub interference: u64,
    /// Numbers of services that are too high now by themselves, their load or the hypervisor.
    pub excused: u64,
    /// Neighbours that are held back.
    pub limits: u64,
    /// Lines told since the agent began.
    pub lines: u64,
    /// Of them: those that `/interference` still has, the newest.
    pub kept_lines: u64,
}

/// Whoever asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpStatus {
    /// Connections that are open.
    pub connections: u64,
    /// Connections that were refused because too many were open.
    pub refused: u64,
    /// Requests that were answered.
    pub requests: u64,
}
