//! Services in which a request is not one thread's from beginning to end: threads that hand over, loops that do many
//! things at once, messages in pieces, several requests open on one connection.
//!
//! In: how many requests, and what is done with each. Out: what each process did, by its own counts and clocks.
//! Must not know: how any of it is measured.

pub mod handing;
pub mod loops;
pub mod open;
pub mod pieces;
pub mod resolver;
pub mod runtime;
pub mod scheduled;

use std::{path::Path, thread};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use socket2::Socket;

use super::{
    Role,
    clock::monotonic_ns,
    line::{Line, Variant},
    ping_pong::joined,
    process::{Hears, Player, Stage, say},
    socket::{Address, Transport},
};

/// Length of requests and of replies, where nothing else is said. The first eight bytes are the time they were sent at.
const MESSAGE_BYTES: usize = 64;

/// What a process does.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Asks, and waits for each answer.
    Asking(Asking),
    /// Two threads that take turns.
    Turns(handing::Turns),
    /// Threads that ask somebody else before they answer.
    PassOn(handing::PassOn),
    /// Whoever they ask.
    Upstream(handing::Upstream),
    /// A pool, a thread that waits for upstreams, and a worker.
    Runtime(runtime::Server),
    /// Threads that read, wait for timers, and send what is in a queue.
    Scheduled(scheduled::Server),
    /// Whom they ask.
    Upstreams(scheduled::Upstreams),
    /// Logs a request before it is answered.
    LogsFirst(handing::LogsFirst),
    /// Takes what is logged.
    Log(handing::Log),
    /// Sends on whatever is there.
    Proxy(loops::Proxy),
    /// Takes a batch, and answers it at once.
    Batches(loops::Batches),
    /// Asks for a batch.
    AskingAtOnce(loops::AskingAtOnce),
    /// One loop with timers.
    TimerLoop(loops::TimerLoop),
    /// Takes and gives messages in pieces.
    PiecesServer(pieces::Server),
    /// Asks for them.
    PiecesClient(pieces::Client),
    /// Answers in order, later.
    PipelineServer(open::PipelineServer),
    /// Does not wait for answers.
    PipelineClient(open::PipelineClient),
    /// One end of a stream both ways.
    Ticker(open::Ticker),
    /// Answers datagrams.
    DatagramServer(open::DatagramServer),
    /// Sends several before it reads.
    DatagramClient(open::DatagramClient),
    /// Answers several clients at one socket.
    Resolver(resolver::Server),
}

impl Part {
    /// Plays it, then says what was done.
    ///
    /// # Errors
    /// When another process breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        match self {
            Self::Asking(part) => say(&part.play()?),
            Self::Turns(part) => say(&part.play()?),
            Self::PassOn(part) => say(&part.play()?),
            Self::Upstream(part) => say(&part.play()?),
            Self::Runtime(part) => say(&part.play()?),
            Self::Scheduled(part) => say(&part.play()?),
            Self::Upstreams(part) => say(&part.play()?),
            Self::LogsFirst(part) => say(&part.play()?),
            Self::Log(part) => say(&part.play()?),
            Self::Proxy(part) => say(&part.play()?),
            Self::Batches(part) => say(&part.play()?),
            Self::AskingAtOnce(part) => say(&part.play()?),
            Self::TimerLoop(part) => say(&part.play()?),
            Self::PiecesServer(part) => say(&part.play()?),
            Self::PiecesClient(part) => say(&part.play()?),
            Self::PipelineServer(part) => say(&part.play()?),
            Self::PipelineClient(part) => say(&part.play()?),
            Self::Ticker(part) => say(&part.play()?),
            Self::DatagramServer(part) => say(&part.play()?),
            Self::DatagramClient(part) => say(&part.play()?),
            Self::Resolver(part) => say(&part.play()?),
        }
    }
}

/// The processes of a workload, in the order in which they were started.
struct Cast {
    stage: Stage,
    name: String,
    players: Vec<(&'static str, Player)>,
}

impl Cast {
    /// Nobody yet; processes will be called NAME-part.
    fn new(name: &str) -> anyhow::Result<Self> {
        Ok(Self {
            stage: Stage::until_signal()?,
            name: name.to_owned(),
            players: Vec::new(),
        })
    }

    fn dir(&self) -> &Path {
        self.stage.dir()
    }

    /// Starts a process.
    fn add(&mut self, called: &'static str, part: Part) -> anyhow::Result<&mut Player> {
        let name = format!("{}-{called}", self.name);
        let player = self
            .stage
            .start(&name, Role::Concurrent(part), Hears::Nothing)?;
        self.players.push((called, player));
        let (_, player) = self.players.last_mut().context("just started")?;
        Ok(player)
    }

    /// Starts a process that says first where it is reached.
    fn serving(&mut self, called: &'static str, part: Part) -> anyhow::Result<Address> {
        self.add(called, part)?.hear()
    }

    /// Waits for all, the last started first, and says what each of them did.
    fn finish(self, workload: &str) -> anyhow::Result<()> {
        let mut all = Map::from_iter([("workload".to_owned(), workload.into())]);
        for (called, player) in self.players.into_iter().rev() {
            let tgid = player.tgid();
            let mut words: Value = player.last_words()?;
            if let Some(words) = words.as_object_mut() {
                words.insert("tgid".to_owned(), tgid.into());
            }
            all.insert(called.to_owned(), words);
        }
        say(&all)
    }
}

/// A number of times, by a process's own clock.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// How many.
    pub count: u64,
    /// All together.
    pub sum_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Times {
    /// Adds one.
    pub fn add(&mut self, ns: u64) {
        self.count += 1;
        self.sum_ns += ns;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }
}

fn line(socket: Socket, transport: Transport) -> anyhow::Result<Line> {
    Ok(Line::new(socket, transport, Variant::Plain)?)
}

/// A TCP server's only connection; says first where it is reached.
fn only_connection() -> anyhow::Result<Socket> {
    let (listener, address) = Transport::Tcp4.listen(Path::new(""), "")?;
    say(&address)?;
    Ok(Transport::Tcp4.accept(&listener)?)
}

/// The same for several.
fn connections(number: u64) -> anyhow::Result<Vec<Line>> {
    let (listener, address) = Transport::Tcp4.listen(Path::new(""), "")?;
    say(&address)?;
    (0..number)
        .map(|_| line(Transport::Tcp4.accept(&listener)?, Transport::Tcp4))
        .collect()
}

fn connected(server: &Address) -> anyhow::Result<Line> {
    line(Transport::Tcp4.connect(server, "")?, Transport::Tcp4)
}

fn asking(server: Address, requests: u64) -> Asking {
    Asking {
        server,
        transport: Transport::Tcp4,
        connections: 1,
        requests,
    }
}

/// A client: on each connection a thread that asks and waits for the answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Asking {
    server: Address,
    transport: Transport,
    connections: u64,
    /// On each connection.
    requests: u64,
}

/// What it did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Asked {
    /// From before a request's send to after the receive of its reply.
    latency: Times,
}

impl Asking {
    fn play(self) -> anyhow::Result<Asked> {
        let lines = (0..self.connections)
            .map(|_| line(self.transport.connect(&self.server, "")?, self.transport))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let requests = self.requests;
        let ask = |mut line: Line| -> anyhow::Result<Times> {
            let mut latency = Times::default();
            for _ in 0..requests {
                line.stamp();
                let sent_ns = line.stamped_ns();
                line.send(MESSAGE_BYTES)?;
                ensure!(line.receive(MESSAGE_BYTES)?, "the server closed");
                latency.add(monotonic_ns() - sent_ns);
            }
            Ok(latency)
        };
        let mut asked = Asked::default();
        thread::scope(|scope| {
            let threads: Vec<_> = lines
                .into_iter()
                .map(|line| scope.spawn(move || ask(line)))
                .collect();
            for thread in threads {
                asked.latency.merge(&joined(thread.join())?);
            }
            anyhow::Ok(())
        })?;
        Ok(asked)
    }
}
