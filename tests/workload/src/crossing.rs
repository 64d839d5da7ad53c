//! Conversations in which it is not plain what answers what: interleaved requests, and streams both ways at once.
//!
//! In: how many pairs of requests, or how many bytes. Out: what each process did.
//! Must not know: how bytes move (that is `line`).

use std::{path::PathBuf, thread};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::{
    Role,
    line::{Line, Tally, Variant},
    ping_pong::{self, Game, Side, joined},
    process::{Hears, Stage, say},
    socket::{Address, Transport},
};

const MESSAGE_BYTES: usize = 100;
const CHUNK_BYTES: usize = 16 << 10;

/// A client asks a loop two things at a time; the loop asks a backend both before it has either answer.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Interleaved {
    /// Pairs of requests.
    #[arg(long, default_value_t = 500)]
    pairs: u64,
    /// The loop has one connection to the backend instead of two, and sends both requests before it reads.
    #[arg(long)]
    pipelined: bool,
    /// The processes are called NAME-client, NAME-loop and NAME-backend.
    #[arg(long, default_value = "il")]
    name: String,
}

/// Part of one of the two that handle pairs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pairs {
    pairs: u64,
    next: Address,
    /// Connections to the next; two requests on each if it is one.
    connections: usize,
    /// The loop has callers; the client has none.
    called: bool,
}

/// What moved at both sides of a process.
#[derive(Debug, Default, Serialize, Deserialize)]
struct PairsDone {
    tgid: u32,
    pairs: u64,
    /// With those that call it.
    callers: Tally,
    /// With those that it calls.
    next: Tally,
}

impl Interleaved {
    /// Handles all pairs and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let stage = Stage::until_signal()?;
        let named = |part: &str| format!("{}-{part}", self.name);
        let connections: u8 = if self.pipelined { 1 } else { 2 };
        let game = Game::plain(
            2 * self.pairs,
            connections.into(),
            MESSAGE_BYTES,
            Variant::Plain,
        );
        let part = ping_pong::Server::new(game, stage.dir().to_owned());
        let role = Role::PingPongServer(part);
        let mut backend = stage.start(&named("backend"), role, Hears::Nothing)?;
        let addresses: Vec<Address> = backend.hear()?;
        let part = Pairs {
            pairs: self.pairs,
            next: addresses.into_iter().next().context("no address")?,
            connections: connections.into(),
            called: true,
        };
        let mut relaying = stage.start(&named("loop"), Role::Pairs(part), Hears::Nothing)?;
        let part = Pairs {
            pairs: self.pairs,
            next: relaying.hear()?,
            connections: 2,
            called: false,
        };
        let client = stage.start(&named("client"), Role::Pairs(part), Hears::Nothing)?;
        let tgids = (client.tgid(), relaying.tgid(), backend.tgid());
        let mut client: PairsDone = client.last_words()?;
        let mut relaying: PairsDone = relaying.last_words()?;
        let mut backend: Side = backend.last_words()?;
        (client.tgid, relaying.tgid, backend.tgid) = tgids;
        say(&serde_json::json!({
            "workload": "interleaved", "client": client, "loop": relaying, "backend": backend,
        }))
    }
}

impl Pairs {
    /// Handles all pairs, then says what was done.
    ///
    /// # Errors
    /// When a neighbour breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let line = |socket| Line::new(socket, Transport::Tcp4, Variant::Plain);
        let mut callers = Vec::new();
        let mut next = Vec::new();
        let connect = |next: &mut Vec<Line>| -> anyhow::Result<()> {
            for _ in 0..self.connections {
                next.push(line(Transport::Tcp4.connect(&self.next, "")?)?);
            }
            Ok(())
        };
        connect(&mut next)?;
        if self.called {
            let (listener, address) = Transport::Tcp4.listen(&PathBuf::new(), "")?;
            say(&address)?;
            for _ in 0..2 {
                callers.push(line(Transport::Tcp4.accept(&listener)?)?);
            }
        }
        for _ in 0..self.pairs {
            for caller in &mut callers {
                ensure!(caller.receive(MESSAGE_BYTES)?, "a caller closed");
            }
            for request in 0..2 {
                let line = next.get_mut(request % self.connections);
                line.context("no such line")?.send(MESSAGE_BYTES)?;
            }
            for request in 0..2 {
                let line = next.get_mut(request % self.connections);
                let came = line.context("no such line")?.receive(MESSAGE_BYTES)?;
                ensure!(came, "the next closed");
            }
            for caller in &mut callers {
                caller.send(MESSAGE_BYTES)?;
            }
        }
        let mut done = PairsDone {
            pairs: self.pairs,
            ..PairsDone::default()
        };
        callers
            .iter()
            .for_each(|line| done.callers.add(&line.tally));
        next.iter().for_each(|line| done.next.add(&line.tally));
        say(&done)
    }
}

/// Two processes send to each other as fast as they can on one connection.
#[derive(Clone, Debug, Args)]
pub struct Duplex {
    /// How the two are joined.
    #[arg(long, value_enum, default_value_t)]
    transport: Transport,
    /// Bytes each way.
    #[arg(long, default_value_t = 256 << 20)]
    bytes: u64,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long, default_value = "dx")]
    name: String,
}

/// One end's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stream {
    transport: Transport,
    chunks: u64,
    dir: PathBuf,
    /// Where to connect to; listens if there is none.
    server: Option<Address>,
}

/// What one end did.
#[derive(Debug, Default, Serialize, Deserialize)]
struct StreamDone {
    tgid: u32,
    tally: Tally,
}

impl Duplex {
    /// Streams, and says what both ends did.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        ensure!(
            self.transport.accepts(),
            "streams need a transport that loses nothing"
        );
        let stage = Stage::until_signal()?;
        let part = |server| {
            Role::Stream(Stream {
                transport: self.transport,
                chunks: self.bytes.div_ceil(CHUNK_BYTES as u64),
                dir: stage.dir().to_owned(),
                server,
            })
        };
        let named = |end: &str| format!("{}-{end}", self.name);
        let mut server = stage.start(&named("server"), part(None), Hears::Nothing)?;
        let address: Address = server.hear()?;
        let client = stage.start(&named("client"), part(Some(address)), Hears::Nothing)?;
        let tgids = (server.tgid(), client.tgid());
        let mut client: StreamDone = client.last_words()?;
        let mut server: StreamDone = server.last_words()?;
        (server.tgid, client.tgid) = tgids;
        say(&serde_json::json!({
            "workload": "duplex-stream", "transport": self.transport, "server": server, "client": client,
        }))
    }
}

impl Stream {
    /// Writes and reads at once, then says what was done.
    ///
    /// # Errors
    /// When the other end breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let socket = match &self.server {
            Some(server) => self.transport.connect(server, "")?,
            None => {
                let (listener, address) = self.transport.listen(&self.dir, "stream")?;
                say(&address)?;
                self.transport.accept(&listener)?
            }
        };
        let line = |socket: Socket| Line::new(socket, self.transport, Variant::Plain);
        let mut reader = line(socket.try_clone()?)?;
        let mut writer = line(socket)?;
        let chunks = self.chunks;
        let tally = thread::scope(|scope| {
            let reading = scope.spawn(move || {
                for _ in 0..chunks {
                    ensure!(reader.receive(CHUNK_BYTES)?, "the other end closed");
                }
                Ok(reader.tally)
            });
            for _ in 0..chunks {
                writer.send(CHUNK_BYTES)?;
            }
            let mut tally = writer.tally;
            tally.add(&joined(reading.join())?);
            anyhow::Ok(tally)
        })?;
        say(&StreamDone { tgid: 0, tally })
    }
}
