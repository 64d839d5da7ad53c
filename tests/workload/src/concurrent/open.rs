//! Several requests open on one connection, or none at all: a pipeline, a stream both ways, datagrams sent before the
//! first is answered.
//!
//! In: how many, and how fast. Out: what both ends sent, received and waited for.
//! Must not know: which message another one answers, unless their order says so.

use std::{net::Shutdown, path::PathBuf, sync::mpsc, thread};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Cast, MESSAGE_BYTES, Part, Times, line, only_connection};
use crate::{
    clock::{Span, monotonic_ns, sleep_until},
    ping_pong::joined,
    process::say,
    socket::{Address, Transport},
};

/// Requests on one connection that do not wait for each other, answered in order. Each end has a thread for each way.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Pipelining {
    /// Requests.
    #[arg(long, default_value_t = 400)]
    requests: u64,
    /// Time from one to the next.
    #[arg(long, default_value = "2.5ms")]
    interval: Span,
    /// When each is answered, from its receive.
    #[arg(long, default_value = "50ms")]
    delay: Span,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long, default_value = "pl")]
    name: String,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct PipelineServer {
    delay: Span,
}

/// The client's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct PipelineClient {
    pipeline: Pipelining,
    server: Address,
}

/// What one end did.
#[derive(Debug, Default, Serialize)]
pub struct PipelineDone {
    /// Server: from after the receive of each to before its answer's send. Client: from before the send to after the
    /// receive.
    latency: Times,
    /// The most that were open at once.
    most_open: u64,
}

impl Pipelining {
    /// Plays all and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let mut cast = Cast::new(&self.name)?;
        let part = PipelineServer { delay: self.delay };
        let part = PipelineClient {
            server: cast.serving("server", Part::PipelineServer(part))?,
            pipeline: self,
        };
        cast.add("client", Part::PipelineClient(part))?;
        cast.finish("pipelining")
    }
}

impl PipelineServer {
    pub(super) fn play(self) -> anyhow::Result<PipelineDone> {
        let socket = only_connection()?;
        let mut requests = line(socket.try_clone()?, Transport::Tcp4)?;
        let mut answers = line(socket, Transport::Tcp4)?;
        let (put, queue) = mpsc::channel();
        thread::scope(|scope| {
            let reader = scope.spawn(move || {
                while requests.receive(MESSAGE_BYTES)? {
                    put.send(monotonic_ns())?;
                }
                anyhow::Ok(())
            });
            let mut done = PipelineDone::default();
            for read_ns in queue {
                sleep_until(read_ns + self.delay.ns);
                done.latency.add(monotonic_ns() - read_ns);
                answers.send(MESSAGE_BYTES)?;
            }
            joined(reader.join())?;
            Ok(done)
        })
    }
}

impl PipelineClient {
    pub(super) fn play(self) -> anyhow::Result<PipelineDone> {
        let socket = Transport::Tcp4.connect(&self.server, "")?;
        let mut answers = line(socket.try_clone()?, Transport::Tcp4)?;
        let mut requests = line(socket, Transport::Tcp4)?;
        let (put, sent) = mpsc::channel::<u64>();
        thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let mut latency = Times::default();
                let mut received_ns = Vec::new();
                let mut sent_ns = Vec::new();
                for sent in sent {
                    ensure!(answers.receive(MESSAGE_BYTES)?, "the server closed");
                    let now_ns = monotonic_ns();
                    latency.add(now_ns - sent);
                    sent_ns.push(sent);
                    received_ns.push(now_ns);
                }
                Ok((latency, most_open(&sent_ns, &received_ns)))
            });
            let mut due_ns = monotonic_ns();
            for _ in 0..self.pipeline.requests {
                sleep_until(due_ns);
                due_ns += self.pipeline.interval.ns;
                put.send(monotonic_ns())?;
                requests.send(MESSAGE_BYTES)?;
            }
            drop(put);
            let (latency, most_open) = joined(reader.join())?;
            Ok(PipelineDone { latency, most_open })
        })
    }
}

/// The most that were sent and not received yet; both in order.
fn most_open(sent_ns: &[u64], received_ns: &[u64]) -> u64 {
    let open = |(number, now_ns): (usize, &u64)| {
        let received = received_ns.partition_point(|at_ns| at_ns <= now_ns);
        (number + 1).saturating_sub(received) as u64
    };
    sent_ns.iter().enumerate().map(open).max().unwrap_or(0)
}

/// A request for a stream; from then on both ends send on timers of their own, and a second thread of each reads.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Ticking {
    /// How the two are joined.
    #[arg(long, value_enum, default_value_t)]
    transport: Transport,
    /// Messages of the client after its request.
    #[arg(long, default_value_t = 40)]
    client_ticks: u64,
    /// Messages of the server after its answer.
    #[arg(long, default_value_t = 40)]
    server_ticks: u64,
    /// Time from one of the client's to the next.
    #[arg(long, default_value = "50ms")]
    client_every: Span,
    /// Time from one of the server's to the next.
    #[arg(long, default_value = "50ms")]
    server_every: Span,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long, default_value = "tk")]
    name: String,
}

/// One end's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ticker {
    transport: Transport,
    ticks: u64,
    every: Span,
    dir: PathBuf,
    /// Where to connect to; listens if there is none.
    server: Option<Address>,
}

/// What one end did, the request and its answer included.
#[derive(Debug, Default, Serialize)]
pub struct Ticked {
    sent: u64,
    bytes_sent: u64,
    bytes_received: u64,
    /// From before one tick's send to before the next one's.
    between: Times,
}

impl Ticking {
    /// Plays all and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        ensure!(
            self.transport.accepts(),
            "a stream needs somebody who accepts"
        );
        let mut cast = Cast::new(&self.name)?;
        let dir = cast.dir().to_owned();
        let part = |ticks, every, server| {
            Part::Ticker(Ticker {
                transport: self.transport,
                ticks,
                every,
                dir: dir.clone(),
                server,
            })
        };
        let server = part(self.server_ticks, self.server_every, None);
        let server = cast.serving("server", server)?;
        let client = part(self.client_ticks, self.client_every, Some(server));
        cast.add("client", client)?;
        cast.finish("ticking")
    }
}

impl Ticker {
    pub(super) fn play(self) -> anyhow::Result<Ticked> {
        let (socket, asks) = match &self.server {
            Some(server) => (self.transport.connect(server, "")?, true),
            None => {
                let (listener, address) = self.transport.listen(&self.dir, "server")?;
                say(&address)?;
                (self.transport.accept(&listener)?, false)
            }
        };
        let mut reads = line(socket.try_clone()?, self.transport)?;
        let mut sends = line(socket, self.transport)?;
        if asks {
            sends.send(MESSAGE_BYTES)?;
        }
        ensure!(reads.receive(MESSAGE_BYTES)?, "closed at once");
        if !asks {
            sends.send(MESSAGE_BYTES)?;
        }
        thread::scope(|scope| {
            let reader = scope.spawn(move || {
                while reads.receive(MESSAGE_BYTES)? {}
                anyhow::Ok(reads.tally)
            });
            let mut due_ns = monotonic_ns();
            let mut between = Times::default();
            let mut before_ns = None;
            for _ in 0..self.ticks {
                due_ns += self.every.ns;
                sleep_until(due_ns);
                let now_ns = monotonic_ns();
                if let Some(before_ns) = before_ns.replace(now_ns) {
                    between.add(now_ns - before_ns);
                }
                sends.send(MESSAGE_BYTES)?;
            }
            sends.socket().shutdown(Shutdown::Write)?;
            let read = joined(reader.join())?;
            Ok(Ticked {
                sent: sends.tally.messages_sent,
                bytes_sent: sends.tally.bytes_sent,
                bytes_received: read.bytes_received,
                between,
            })
        })
    }
}

/// A client that sends several datagrams from one socket before it reads the answers, as resolvers do.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct SeveralDatagrams {
    /// How often.
    #[arg(long, default_value_t = 200)]
    rounds: u64,
    /// Datagrams before the first answer is read.
    #[arg(long, default_value_t = 2)]
    together: u64,
    /// The server reads all of them before it answers the first, instead of one after the other.
    #[arg(long)]
    ahead: bool,
    /// Before that the server answers a single one, so that it has been seen at its socket.
    #[arg(long)]
    met: bool,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long, default_value = "dg")]
    name: String,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct DatagramServer {
    datagrams: SeveralDatagrams,
}

/// The client's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct DatagramClient {
    datagrams: SeveralDatagrams,
    server: Address,
}

/// What one end did.
#[derive(Debug, Default, Serialize)]
pub struct DatagramsDone {
    sent: u64,
    received: u64,
}

impl SeveralDatagrams {
    /// Plays all and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let mut cast = Cast::new(&self.name)?;
        let part = DatagramServer {
            datagrams: self.clone(),
        };
        let part = DatagramClient {
            server: cast.serving("server", Part::DatagramServer(part))?,
            datagrams: self,
        };
        cast.add("client", Part::DatagramClient(part))?;
        cast.finish("several-datagrams")
    }
}

impl DatagramServer {
    pub(super) fn play(self) -> anyhow::Result<DatagramsDone> {
        let transport = Transport::UdpUnconnected;
        let (socket, address) = transport.listen(&PathBuf::new(), "")?;
        say(&address)?;
        let mut line = line(socket, transport)?;
        let together = self.datagrams.together;
        let reads = if self.datagrams.ahead { together } else { 1 };
        if self.datagrams.met {
            ensure!(line.receive(MESSAGE_BYTES)?, "an empty datagram");
            line.send(MESSAGE_BYTES)?;
        }
        for _ in 0..self.datagrams.rounds * together / reads {
            for _ in 0..reads {
                ensure!(line.receive(MESSAGE_BYTES)?, "an empty datagram");
            }
            for _ in 0..reads {
                line.send(MESSAGE_BYTES)?;
            }
        }
        Ok(DatagramsDone {
            sent: line.tally.messages_sent,
            received: line.tally.messages_received,
        })
    }
}

impl DatagramClient {
    pub(super) fn play(self) -> anyhow::Result<DatagramsDone> {
        let transport = Transport::UdpConnected;
        let socket = transport.connect(&self.server, "").context("no server")?;
        let mut line = line(socket, transport)?;
        if self.datagrams.met {
            line.send(MESSAGE_BYTES)?;
            ensure!(line.receive(MESSAGE_BYTES)?, "an empty datagram");
        }
        for _ in 0..self.datagrams.rounds {
            for _ in 0..self.datagrams.together {
                line.send(MESSAGE_BYTES)?;
            }
            for _ in 0..self.datagrams.together {
                ensure!(line.receive(MESSAGE_BYTES)?, "an empty datagram");
            }
        }
        Ok(DatagramsDone {
            sent: line.tally.messages_sent,
            received: line.tally.messages_received,
        })
    }
}
