//! Workloads: small programs that say exactly what they did.
//!
//! In: arguments. Out: one line of JSON on stdout when done. Processes that a workload needs are this same
//! program, started under other names, and end with it. Must not know: Courtside.

mod burn;
mod clock;
mod line;
mod ping_pong;
mod process;
mod relay;
mod socket;
mod work;

use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};

/// Programs whose right answer is known.
#[derive(Debug, Parser)]
#[command(name = "courtside-workload", version)]
pub struct Cli {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Debug, Subcommand)]
enum Workload {
    /// A client sends, a server answers.
    PingPong(ping_pong::Game),
    /// A chain of processes: load, web, app, store.
    Relay(relay::Relay),
    /// Keeps CPUs busy.
    Hog(burn::Hog),
    /// Reads and writes a disk past the page cache.
    DiskIo(burn::DiskIo),
    /// A process of another workload.
    #[command(hide = true)]
    Part {
        /// What to do, in JSON.
        part: String,
    },
}

/// What a process of a workload does.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Server of the ping-pong.
    PingPongServer(ping_pong::Server),
    /// Client of the ping-pong.
    PingPongClient(ping_pong::Client),
    /// A tier of the relay.
    RelayTier(relay::Tier),
    /// The load of the relay.
    RelayLoad(relay::Load),
    /// A process that keeps a CPU busy.
    Hog(burn::Hog),
}

impl Cli {
    /// Runs the workload.
    ///
    /// # Errors
    /// When it could not do what it was asked to.
    pub fn run(self) -> anyhow::Result<()> {
        match self.workload {
            Workload::PingPong(game) => game.run(),
            Workload::Relay(relay) => relay.run(),
            Workload::Hog(hog) => hog.run(),
            Workload::DiskIo(disk) => disk.run(),
            Workload::Part { part } => serde_json::from_str::<process::Part>(&part)?.play(),
        }
    }
}

impl Role {
    fn play(self) -> anyhow::Result<()> {
        match self {
            Self::PingPongServer(server) => server.play(),
            Self::PingPongClient(client) => client.play(),
            Self::RelayTier(tier) => tier.play(),
            Self::RelayLoad(load) => load.play(),
            Self::Hog(hog) => hog.run(),
        }
    }
}
