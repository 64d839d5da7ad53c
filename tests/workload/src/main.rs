//! `courtside-workload`: small programs that say exactly what they did, so that the right answer is known.
//!
//! In: arguments. Out: one line of JSON on stdout when done. Processes that a workload needs are this same
//! program, started under other names, and end with it. Must not know: Courtside.

mod burn;
mod churn;
mod clock;
mod concurrent;
mod connects;
mod count;
mod crossing;
mod crowd;
mod foreign;
mod http;
mod interrupted;
mod line;
mod lock;
mod network;
mod overload;
mod patterns;
mod ping_pong;
mod poisson;
mod polling;
mod pool;
mod process;
mod relay;
mod scramble;
mod servers;
mod socket;
mod spliced;
mod unheard;
mod upstream;
mod work;
mod workers;

use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};

fn main() -> anyhow::Result<()> {
    Cli::parse().run()
}

/// Programs whose right answer is known.
#[derive(Debug, Parser)]
#[command(name = "courtside-workload", version)]
struct Cli {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Debug, Subcommand)]
enum Workload {
    /// A client sends, a server answers.
    PingPong(ping_pong::Game),
    /// A chain of processes: load, web, app, store.
    Relay(Box<relay::Relay>),
    /// Requests at random, whether the server keeps up or not: the load of a relay that waits for one.
    Poisson(poisson::Poisson),
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
    /// One request at a time, and two threads: who reads it is not always who answers.
    TakingTurns(concurrent::handing::TakingTurns),
    /// A thread asks an upstream, another one reads the answer and wakes whoever answers.
    PassingOn(concurrent::handing::PassingOn),
    /// A pool of threads, one that waits for upstreams, and a worker that it tells what to do.
    Runtime(concurrent::runtime::Runtime),
    /// An asynchronous server: workers send what readers and a timer put into their queue.
    Scheduled(concurrent::scheduled::Scheduled),
    /// A request is logged before it is answered.
    LoggingFirst(concurrent::handing::LoggingFirst),
    /// A loop reads all that is ready, then sends all on.
    BatchProxy(concurrent::loops::BatchProxy),
    /// A loop whose requests wait for timers, or for each other.
    WaitingLoop(concurrent::loops::WaitingLoop),
    /// Messages that come in pieces.
    InPieces(concurrent::pieces::InPieces),
    /// Requests that do not wait for each other, answered in order.
    Pipelining(concurrent::open::Pipelining),
    /// Both ends of a connection send on timers of their own.
    Ticking(concurrent::open::Ticking),
    /// Several datagrams before the first answer is read.
    SeveralDatagrams(concurrent::open::SeveralDatagrams),
    /// One UDP socket for several clients.
    Resolver(concurrent::resolver::Resolver),
    /// Both ends of a connection send as fast as they can.
    DuplexStream(crossing::Duplex),
    /// Requests come faster than they can be served.
    Overload(overload::Overload),
    /// Threads that all need one lock.
    Locked(lock::Locked),
    /// A client that looks for answers again and again.
    Polling(polling::Polling),
    /// Connects that find no room, nobody, or are never used.
    Connects(connects::Connects),
    /// A proxy that moves bytes from socket to socket within the kernel.
    Spliced(spliced::Spliced),
    /// A conversation in a protocol that nobody knows.
    Foreign(foreign::Foreign),
    /// Datagrams that nobody reads.
    Unheard(unheard::Unheard),
    /// Processes and connections that live for one request.
    Churn(churn::Churn),
    /// Processes forked from one program.
    Workers(workers::Workers),
    /// Ranks of a parallel application in a known shape.
    Patterns(patterns::Patterns),
    /// More remote ends than anybody can list.
    Crowd(crowd::Crowd),
    /// Asks an end on another host for each request.
    Upstream(upstream::Upstream),
    /// Random conversations of threads and processes.
    Scramble(scramble::Scramble),
    /// Asks an HTTP server.
    HttpLoad(http::HttpLoad),
    /// Answers HTTP after a while.
    HttpUpstream(http::HttpUpstream),
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
    /// A process of a workload in which a request is not one thread's from beginning to end.
    Concurrent(concurrent::Part),
    /// Who holds a request while a timer ticks, and its neighbours.
    Interrupted(interrupted::Part),
    /// One end of a stream both ways.
    Stream(crossing::Stream),
    /// Server whose threads need one lock.
    LockServer(lock::Server),
    /// Client that keeps all of them busy.
    LockClient(lock::Client),
    /// Server that takes a while.
    PollingServer(polling::Server),
    /// Client that looks for its answers.
    PollingClient(polling::Client),
    /// Server that cannot keep up.
    OverloadServer(overload::Server),
    /// Client that does not wait.
    OverloadClient(overload::Client),
    /// A process of the spliced conversation.
    Spliced(spliced::Part),
    /// Server that does not accept for a while.
    ConnectsServer(connects::Server),
    /// Client that connects to it, and to nobody.
    ConnectsClient(connects::Client),
    /// Server of the short lives.
    ChurnServer(churn::Server),
    /// The process that forks them.
    ChurnParent(churn::Parent),
    /// The process that gives them one id.
    ChurnSameAgain(churn::SameAgain),
    /// One of them.
    ChurnLife(churn::Life),
    /// A rank of a parallel application.
    PatternsRank(patterns::Rank),
    /// The process that forks workers.
    WorkersParent(workers::Parent),
    /// The process of this host that speaks with a crowd.
    Crowd(crowd::Local),
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
            Workload::Poisson(poisson) => poisson.run(),
            Workload::ThreadPool(serving) => serving.run(servers::Shape::Pool),
            Workload::EpollLoop(serving) => serving.run(servers::Shape::Loop),
            Workload::ForkPerRequest(serving) => serving.run(servers::Shape::Fork),
            Workload::Interleaved(interleaved) => interleaved.run(),
            Workload::Interrupted(interrupted) => interrupted.run(),
            Workload::TakingTurns(turns) => turns.run(),
            Workload::PassingOn(passing) => passing.run(),
            Workload::Runtime(runtime) => runtime.run(),
            Workload::Scheduled(scheduled) => scheduled.run(),
            Workload::LoggingFirst(logging) => logging.run(),
            Workload::BatchProxy(proxy) => proxy.run(),
            Workload::WaitingLoop(waiting) => waiting.run(),
            Workload::InPieces(pieces) => pieces.run(),
            Workload::Pipelining(pipelining) => pipelining.run(),
            Workload::Ticking(ticking) => ticking.run(),
            Workload::SeveralDatagrams(datagrams) => datagrams.run(),
            Workload::Resolver(resolver) => resolver.run(),
            Workload::DuplexStream(duplex) => duplex.run(),
            Workload::Locked(locked) => locked.run(),
            Workload::Polling(polling) => polling.run(),
            Workload::Overload(overload) => overload.run(),
            Workload::Connects(connects) => connects.run(),
            Workload::Spliced(spliced) => spliced.run(),
            Workload::Foreign(foreign) => foreign.run(),
            Workload::Unheard(unheard) => unheard.run(),
            Workload::Churn(churn) => churn.run(),
            Workload::Crowd(crowd) => crowd.run(),
            Workload::Upstream(upstream) => upstream.run(),
            Workload::Workers(workers) => workers.run(),
            Workload::Patterns(patterns) => patterns.run(),
            Workload::Scramble(scramble) => scramble.run(),
            Workload::HttpLoad(load) => load.run(),
            Workload::HttpUpstream(upstream) => upstream.run(),
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
            Self::Concurrent(part) => part.play(),
            Self::Interrupted(part) => part.play(),
            Self::Stream(stream) => stream.play(),
            Self::LockServer(server) => server.play(),
            Self::PollingServer(server) => server.play(),
            Self::PollingClient(client) => client.play(),
            Self::LockClient(client) => client.play(),
            Self::OverloadServer(server) => server.play(),
            Self::OverloadClient(client) => client.play(),
            Self::Spliced(part) => part.play(),
            Self::ConnectsServer(server) => server.play(),
            Self::ConnectsClient(client) => client.play(),
            Self::ChurnServer(server) => server.play(),
            Self::ChurnParent(parent) => parent.play(),
            Self::ChurnSameAgain(parent) => parent.play(),
            Self::ChurnLife(life) => life.play(),
            Self::Crowd(local) => local.play(),
            Self::WorkersParent(parent) => parent.play(),
            Self::PatternsRank(rank) => rank.play(),
            Self::Speaker(speaker) => speaker.play(),
            Self::Hog(hog) => hog.run(),
        }
    }
}
