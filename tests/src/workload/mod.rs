//! Workloads: small programs that say exactly what they did.
//!
//! In: arguments. Out: one line of JSON on stdout when done. Processes that a workload needs are this same
//! program, started under other names, and end with it. Must not know: Courtside.

mod burn;
mod churn;
mod clock;
mod count;
mod crossing;
mod interrupted;
mod line;
mod overload;
mod ping_pong;
mod process;
mod relay;
mod scramble;
mod servers;
mod socket;
mod unheard;
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
    /// A thread reads everything and hands requests to workers through a queue.
    ThreadPool(servers::Serving),
    /// One thread with one epoll serves all connections.
    EpollLoop(servers::Serving),
    /// A process for each request.
    ForkPerRequest(servers::Serving),
    /// Two requests at a time in one loop, which asks a backend both before it has either answer.
    Interleaved(crossing::Interleaved),
    /// A timer wakes a thread on the CPU of another one that holds a request.
    Interrupted(interrupted::Interrupted),
    /// Both ends of a connection send as fast as they can.
    DuplexStream(crossing::Duplex),
    /// Requests come faster than they can be served.
    Overload(overload::Overload),
    /// Datagrams that nobody reads.
    Unheard(unheard::Unheard),
    /// Processes and connections that live for one request.
    Churn(churn::Churn),
    /// Random conversations of threads and processes.
    Scramble(scramble::Scramble),
    /// Keeps CPUs busy.
    Hog(burn::Hog),
    /// A loop that counts its own cycles and instructions.
    Count(count::Count),
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
    /// Server with a pool, a loop, or a process for each request.
    Server(servers::Server),
    /// Client or loop of the interleaved requests.
    Pairs(crossing::Pairs),
    /// Who holds a request while a timer ticks, and its neighbours.
    Interrupted(interrupted::Part),
    /// One end of a stream both ways.
    Stream(crossing::Stream),
    /// Server that cannot keep up.
    OverloadServer(overload::Server),
    /// Client that does not wait.
    OverloadClient(overload::Client),
    /// Server of the short lives.
    ChurnServer(churn::Server),
    /// The process that forks them.
    ChurnParent(churn::Parent),
    /// The process that gives them one id.
    ChurnSameAgain(churn::SameAgain),
    /// One of them.
    ChurnLife(churn::Life),
    /// A process of a random conversation.
    Speaker(scramble::Speaker),
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
            Workload::ThreadPool(serving) => serving.run(servers::Shape::Pool),
            Workload::EpollLoop(serving) => serving.run(servers::Shape::Loop),
            Workload::ForkPerRequest(serving) => serving.run(servers::Shape::Fork),
            Workload::Interleaved(interleaved) => interleaved.run(),
            Workload::Interrupted(interrupted) => interrupted.run(),
            Workload::DuplexStream(duplex) => duplex.run(),
            Workload::Overload(overload) => overload.run(),
            Workload::Unheard(unheard) => unheard.run(),
            Workload::Churn(churn) => churn.run(),
            Workload::Scramble(scramble) => scramble.run(),
            Workload::Hog(hog) => hog.run(),
            Workload::Count(count) => count.run(),
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
            Self::Server(server) => server.play(),
            Self::Pairs(pairs) => pairs.play(),
            Self::Interrupted(part) => part.play(),
            Self::Stream(stream) => stream.play(),
            Self::OverloadServer(server) => server.play(),
            Self::OverloadClient(client) => client.play(),
            Self::ChurnServer(server) => server.play(),
            Self::ChurnParent(parent) => parent.play(),
            Self::ChurnSameAgain(parent) => parent.play(),
            Self::ChurnLife(life) => life.play(),
            Self::Speaker(speaker) => speaker.play(),
            Self::Hog(hog) => hog.run(),
        }
    }
}
