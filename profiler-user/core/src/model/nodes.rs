//! What a user writes about machines, and about which component runs where: the files of `--nodes` and `--place`.
//!
//! In: nothing (plain data). Out: what predictions and placements are made for. Must not know: files, profiles.

use serde::Deserialize;

/// Machines, components and the network between them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nodes {
    /// The machines: `[[node]]`.
    #[serde(default, rename = "node")]
    pub nodes: Vec<NodeSpec>,
    /// Where components run, and their threads: `[[component]]`.
    #[serde(default, rename = "component")]
    pub components: Vec<ComponentSpec>,
    /// What is between machines: `[network]`.
    #[serde(default)]
    pub network: NetworkSpec,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// CPUs; where it is the machine that was recorded, as many as that has.
    pub cpus: Option<f64>,
    /// How fast a CPU is: 1 is the one that was recorded.
    pub speed: Option<f64>,
    /// CPUs that a quota allows the components there, all together; what else runs there is not under it.
    pub quota_cpus: Option<f64>,
    /// Requests that its disk works on at a time.
    pub disk_parallel: Option<f64>,
    /// What it costs, in any unit.
    pub cost: Option<f64>,
}

/// Where a component runs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentSpec {
    /// Its id, or the name in it.
    pub id: String,
    /// The machine that it runs on.
    pub node: Option<String>,
    /// Several machines, one of it on each.
    pub nodes: Option<Vec<String>>,
    /// Threads that serve requests, on each machine.
    pub threads: Option<u32>,
}

/// What is between machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Round-trip time between two machines, in microseconds.
    pub rtt_us: Option<f64>,
    /// Bytes a second that a machine can send and receive, both together.
    pub bytes_per_s: Option<f64>,
    /// CPU time that a message to or from another machine costs at each end, in microseconds.
    pub cpu_us_per_message: Option<f64>,
    /// The same for each byte, in nanoseconds.
    pub cpu_ns_per_byte: Option<f64>,
}
