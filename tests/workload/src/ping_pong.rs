//! Ping-pong: a client sends, a server answers, so many times.
//!
//! In: transport, variant, sizes and counts. Out: what each end counted.
//! Must not know: how bytes move (that is `line`).

use std::{
    path::PathBuf,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::{
    Role,
    clock::monotonic_ns,
    line::{Line, MESSAGE_MAX_BYTES, Tally, Variant},
    process::{Hears, Stage, say, wait_for_line},
    socket::{Address, Transport},
};

/// What is played.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Game {
    /// How the two are joined.
    #[arg(long, value_enum, default_value_t)]
    transport: Transport,
    /// How bytes are handed over and taken.
    #[arg(long, value_enum, default_value_t)]
    variant: Variant,
    /// Roundtrips in all.
    #[arg(long, default_value_t = 1000)]
    messages: u64,
    /// Connections; each has one request outstanding.
    #[arg(long, default_value_t = 1)]
    connections: u64,
    /// Bytes of a request.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// Bytes of a reply; as a request if not given.
    #[arg(long)]
    reply_size: Option<usize>,
    /// One thread at each end for all connections, instead of one for each.
    #[arg(long)]
    one_loop: bool,
    /// Roundtrips on each connection before the counted ones.
    #[arg(long, default_value_t = 0)]
    warm_up: u64,
    /// After the warm-up print `ready` and wait for a line on stdin.
    #[arg(long)]
    wait_go: bool,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long, default_value = "pp")]
    name: String,
}

/// What one end did. The warm-up is not in it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Side {
    /// The process.
    pub tgid: u32,
    /// Roundtrips of the client; requests that the server answered.
    pub answered: u64,
    /// Messages and bytes.
    #[serde(flatten)]
    pub tally: Tally,
    /// Client: from before the send to after the receive of each roundtrip.
    latency_sum_ns: u64,
    latency_min_ns: u64,
    latency_max_ns: u64,
    wall_ns: u64,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Server {
    game: Game,
    dir: PathBuf,
}

/// The client's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Client {
    game: Game,
    servers: Vec<Address>,
}

impl Game {
    /// Plain requests over TCP, as clients of other servers play.
    #[must_use]
    pub fn plain(messages: u64, connections: u64, size: usize, variant: Variant) -> Self {
        Self {
            transport: Transport::Tcp4,
            variant,
            messages,
            connections,
            size,
            reply_size: None,
            one_loop: false,
            warm_up: 0,
            wait_go: false,
            name: String::new(),
        }
    }

    /// Plays, and says what both ends did.
    ///
    /// # Errors
    /// When either end fails.
    pub fn run(self) -> anyhow::Result<()> {
        self.check()?;
        let stage = Stage::until_signal()?;
        let (transport, variant) = (self.transport, self.variant);
        let (server_name, client_name) = (
            format!("{}-server", self.name),
            format!("{}-client", self.name),
        );
        let wait_go = self.wait_go;
        let part = Server {
            game: self.clone(),
            dir: stage.dir().to_owned(),
        };
        let mut server = stage.start(&server_name, Role::PingPongServer(part), Hears::Nothing)?;
        let servers: Vec<Address> = server.hear()?;
        let ports: Vec<_> = servers.iter().map(Address::port).collect();
        let part = Client {
            game: self,
            servers,
        };
        let hears = if wait_go {
            Hears::OurStdin
        } else {
            Hears::Nothing
        };
        let mut client = stage.start(&client_name, Role::PingPongClient(part), hears)?;
        let tgids = (server.tgid(), client.tgid());
        if wait_go {
            let ready: String = client.hear()?;
            println!("{ready}");
        }
        let mut client: Side = client.last_words()?;
        let mut server: Side = server.last_words()?;
        (server.tgid, client.tgid) = tgids;
        say(&serde_json::json!({
            "workload": "ping-pong", "transport": transport, "variant": variant, "ports": ports,
            "server_name": server_name, "client_name": client_name, "server": server, "client": client,
        }))
    }

    fn check(&self) -> anyhow::Result<()> {
        let tcp = self.transport.is_tcp();
        let stream = tcp || self.transport == Transport::UnixStream;
        let one_socket = matches!(
            self.transport,
            Transport::UnixDgram | Transport::UdpUnconnected | Transport::UdpliteUnconnected
        );
        let fits = match self.variant {
            Variant::Sendfile | Variant::HalfClose => stream,
            Variant::Reset => tcp,
            Variant::Writev | Variant::Recvmsg | Variant::IoUring => !one_socket,
            // The pieces of several clients would mix.
            Variant::Split => !one_socket || self.connections == 1,
            _ => true,
        };
        ensure!(fits, "{:?} is not for {:?}", self.variant, self.transport);
        ensure!(
            self.size.max(self.reply_bytes()) <= MESSAGE_MAX_BYTES,
            "messages are at most {MESSAGE_MAX_BYTES} bytes"
        );
        ensure!(
            self.connections > 0 && self.messages >= self.connections,
            "each connection needs a message"
        );
        ensure!(
            !(self.variant.reconnects() && (self.one_loop || self.wait_go || self.warm_up > 0)),
            "{:?} has no standing connections",
            self.variant
        );
        Ok(())
    }

    fn reply_bytes(&self) -> usize {
        self.reply_size.unwrap_or(self.size)
    }

    /// Messages of connection number `connection`.
    fn share(&self, connection: u64) -> u64 {
        self.messages / self.connections + u64::from(connection < self.messages % self.connections)
    }

    fn line(&self, socket: Socket) -> anyhow::Result<Line> {
        Ok(Line::new(socket, self.transport, self.variant)?)
    }
}

impl Side {
    fn roundtrip(&mut self, latency_ns: u64) {
        self.latency_min_ns = if self.answered == 0 {
            latency_ns
        } else {
            self.latency_min_ns.min(latency_ns)
        };
        self.answered += 1;
        self.latency_sum_ns += latency_ns;
        self.latency_max_ns = self.latency_max_ns.max(latency_ns);
    }

    fn add(&mut self, other: &Self) {
        self.latency_min_ns = match (self.answered, other.answered) {
            (0, _) => other.latency_min_ns,
            (_, 0) => self.latency_min_ns,
            _ => self.latency_min_ns.min(other.latency_min_ns),
        };
        self.answered += other.answered;
        self.tally.add(&other.tally);
        self.latency_sum_ns += other.latency_sum_ns;
        self.latency_max_ns = self.latency_max_ns.max(other.latency_max_ns);
    }
}

impl Server {
    /// A server whose sockets lie in `dir`.
    #[must_use]
    pub fn new(game: Game, dir: PathBuf) -> Self {
        Self { game, dir }
    }

    /// Answers everything, then says what was done.
    ///
    /// # Errors
    /// When a client breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let game = &self.game;
        let sockets = if game.transport.is_connected_udp() {
            game.connections
        } else {
            1
        };
        let (sockets, addresses): (Vec<_>, Vec<_>) = (0..sockets)
            .map(|number| {
                game.transport
                    .listen(&self.dir, &format!("server-{number}"))
            })
            .collect::<anyhow::Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        say(&addresses)?;
        let mut side = match (game.transport.accepts(), sockets) {
            (true, sockets) if game.one_loop => {
                let listener = sockets.first().context("no listener")?;
                let lines = (0..game.connections)
                    .map(|_| game.line(game.transport.accept(listener)?))
                    .collect::<anyhow::Result<_>>()?;
                self.serve_in_one_loop(lines)?
            }
            (true, sockets) => self.serve_each_accepted(sockets.first().context("no listener")?)?,
            (false, sockets) => {
                let lines = sockets
                    .into_iter()
                    .map(|socket| game.line(socket))
                    .collect::<anyhow::Result<_>>()?;
                self.serve_datagrams(lines)?
            }
        };
        let warm_up = game.warm_up * game.connections;
        side.answered -= warm_up;
        side.tally.messages_received -= warm_up;
        side.tally.messages_sent -= warm_up;
        side.tally.bytes_received -= warm_up * game.size as u64;
        side.tally.bytes_sent -= warm_up * game.reply_bytes() as u64;
        say(&side)
    }

    /// A thread for each connection that is open at a time.
    fn serve_each_accepted(&self, listener: &Socket) -> anyhow::Result<Side> {
        let game = &self.game;
        let connections = if game.variant.reconnects() {
            game.messages
        } else {
            game.connections
        };
        let taken = AtomicU64::new(0);
        in_threads(game.connections, |_| {
            let mut side = Side::default();
            while taken.fetch_add(1, Ordering::Relaxed) < connections {
                let mut line = game.line(game.transport.accept(listener)?)?;
                while self.answer(&mut line)? {
                    side.answered += 1;
                }
                side.tally.add(&line.tally);
            }
            Ok(side)
        })
    }

    /// Answers one request; false when there are no more.
    fn answer(&self, line: &mut Line) -> anyhow::Result<bool> {
        if !line.receive(self.game.size)? {
            return Ok(false);
        }
        match self.game.variant {
            Variant::HalfClose => {
                let more = line.receive(1)?;
                ensure!(!more, "the client was to close its end");
            }
            Variant::Reset if line.tally.messages_received == 2 => {
                line.socket().set_linger(Some(std::time::Duration::ZERO))?;
                return Ok(false);
            }
            _ => {}
        }
        line.send(self.game.reply_bytes())?;
        Ok(true)
    }

    fn serve_in_one_loop(&self, lines: Vec<Line>) -> anyhow::Result<Side> {
        let mut side = Side::default();
        let mut lines: Vec<Line> = lines;
        while !lines.is_empty() {
            for number in readable(&lines)?.into_iter().rev() {
                let line = lines.get_mut(number).context("no such line")?;
                if self.answer(line)? {
                    side.answered += 1;
                } else {
                    side.tally.add(&lines.swap_remove(number).tally);
                }
            }
        }
        Ok(side)
    }

    /// Datagrams have no end of file: whoever has answered its share is done.
    fn serve_datagrams(&self, lines: Vec<Line>) -> anyhow::Result<Side> {
        let game = &self.game;
        let serve = |mut line: Line, share: u64| {
            for answered in 0..share {
                ensure!(line.receive(game.size)?, "an empty datagram came");
                if game.transport.is_connected_udp() && answered == 0 {
                    line.connect_back()?;
                }
                line.send(game.reply_bytes())?;
            }
            Ok(Side {
                answered: share,
                tally: line.tally,
                ..Side::default()
            })
        };
        if !game.transport.is_connected_udp() {
            let line = lines.into_iter().next().context("no socket")?;
            return serve(line, game.messages + game.warm_up * game.connections);
        }
        let lines = std::sync::Mutex::new(lines.into_iter().map(Some).collect::<Vec<_>>());
        in_threads(game.connections, |number| {
            let line = lines
                .lock()
                .ok()
                .and_then(|mut lines| lines.get_mut(usize::try_from(number).ok()?)?.take())
                .context("no socket left")?;
            serve(line, game.share(number) + game.warm_up)
        })
    }
}

impl Client {
    /// A client of one server.
    #[must_use]
    pub fn new(game: Game, server: Address) -> Self {
        Self {
            game,
            servers: vec![server],
        }
    }

    /// Asks everything, then says what was done.
    ///
    /// # Errors
    /// When the server breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let game = &self.game;
        if game.variant.reconnects() {
            let start_ns = monotonic_ns();
            let mut side = in_threads(game.connections, |number| self.reconnect(number))?;
            side.wall_ns = monotonic_ns() - start_ns;
            return say(&side);
        }
        let mut lines = (0..game.connections)
            .map(|number| self.line(number))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for line in &mut lines {
            for _ in 0..game.warm_up {
                self.ask(line)?;
            }
            line.tally = Tally::default();
        }
        if game.wait_go {
            say(&"ready")?;
            wait_for_line()?;
        }
        let start_ns = monotonic_ns();
        let mut side = if game.one_loop {
            self.ask_in_one_loop(lines)?
        } else {
            let lines = std::sync::Mutex::new(lines.into_iter().map(Some).collect::<Vec<_>>());
            in_threads(game.connections, |number| {
                let line = lines
                    .lock()
                    .ok()
                    .and_then(|mut lines| lines.get_mut(usize::try_from(number).ok()?)?.take())
                    .context("no connection left")?;
                if game.variant == Variant::TwoThreads {
                    self.ask_with_two_threads(line, game.share(number))
                } else {
                    self.ask_in_turn(line, game.share(number))
                }
            })?
        };
        side.wall_ns = monotonic_ns() - start_ns;
        say(&side)
    }

    fn line(&self, number: u64) -> anyhow::Result<Line> {
        let address = self
            .servers
            .get(usize::try_from(number)? % self.servers.len())
            .context("no server")?;
        let socket = self
            .game
            .transport
            .connect(address, &format!("client-{number}.sock"))?;
        let mut line = self.game.line(socket)?;
        line.set_peer(address.for_calls()?);
        Ok(line)
    }

    fn ask(&self, line: &mut Line) -> anyhow::Result<u64> {
        let start_ns = monotonic_ns();
        line.send(self.game.size)?;
        ensure!(
            line.receive(self.game.reply_bytes())?,
            "the server closed instead of answering"
        );
        Ok(monotonic_ns() - start_ns)
    }

    fn ask_in_turn(&self, mut line: Line, share: u64) -> anyhow::Result<Side> {
        let mut side = Side::default();
        for _ in 0..share {
            side.roundtrip(self.ask(&mut line)?);
        }
        side.tally = line.tally;
        Ok(side)
    }

    fn ask_in_one_loop(&self, mut lines: Vec<Line>) -> anyhow::Result<Side> {
        let mut side = Side::default();
        let mut open = Vec::new();
        for (number, line) in lines.iter_mut().enumerate() {
            let sent_ns = monotonic_ns();
            line.send(self.game.size)?;
            open.push((sent_ns, self.game.share(number as u64)));
        }
        while !lines.is_empty() {
            for number in readable(&lines)?.into_iter().rev() {
                let (Some(line), Some((sent_ns, left))) =
                    (lines.get_mut(number), open.get_mut(number))
                else {
                    bail!("no such line");
                };
                ensure!(
                    line.receive(self.game.reply_bytes())?,
                    "the server closed instead of answering"
                );
                side.roundtrip(monotonic_ns() - *sent_ns);
                *left -= 1;
                if *left == 0 {
                    side.tally.add(&lines.swap_remove(number).tally);
                    open.swap_remove(number);
                } else {
                    *sent_ns = monotonic_ns();
                    line.send(self.game.size)?;
                }
            }
        }
        Ok(side)
    }

    fn ask_with_two_threads(&self, mut line: Line, share: u64) -> anyhow::Result<Side> {
        let mut reader = self.game.line(line.socket().try_clone()?)?;
        let (turn, turns) = mpsc::channel();
        thread::scope(|scope| {
            let reading = scope.spawn(move || -> anyhow::Result<Line> {
                for _ in 0..share {
                    ensure!(
                        reader.receive(self.game.reply_bytes())?,
                        "the server closed instead of answering"
                    );
                    turn.send(())?;
                }
                Ok(reader)
            });
            let mut side = Side::default();
            for _ in 0..share {
                let start_ns = monotonic_ns();
                line.send(self.game.size)?;
                turns.recv()?;
                side.roundtrip(monotonic_ns() - start_ns);
            }
            side.tally = line.tally;
            side.tally.add(&joined(reading.join())?.tally);
            Ok(side)
        })
    }

    /// A connection for each message, as [`Variant::HalfClose`] and [`Variant::Reset`] want it.
    fn reconnect(&self, number: u64) -> anyhow::Result<Side> {
        let mut side = Side::default();
        for _ in 0..self.game.share(number) {
            let mut line = self.line(number)?;
            let start_ns = monotonic_ns();
            line.send(self.game.size)?;
            if self.game.variant == Variant::HalfClose {
                line.socket().shutdown(std::net::Shutdown::Write)?;
            }
            ensure!(
                line.receive(self.game.reply_bytes())?,
                "the server closed instead of answering"
            );
            side.roundtrip(monotonic_ns() - start_ns);
            if self.game.variant == Variant::Reset {
                line.send(self.game.size)?;
                match line.receive(1) {
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
                    other => bail!("the server was to reset the connection, but: {other:?}"),
                }
            }
            side.tally.add(&line.tally);
        }
        Ok(side)
    }
}

/// Numbers of the lines that have something to read, ascending; waits for the first.
fn readable(lines: &[Line]) -> anyhow::Result<Vec<usize>> {
    let mut polled: Vec<_> = lines
        .iter()
        .map(|line| PollFd::new(line.socket(), PollFlags::IN))
        .collect();
    poll(&mut polled, None)?;
    Ok((0..)
        .zip(polled)
        .filter(|(_, fd)| !fd.revents().is_empty())
        .map(|(number, _)| number)
        .collect())
}

/// Runs `work` in `threads` threads, or right here if one is enough, and adds up what they did.
fn in_threads(
    threads: u64,
    work: impl Fn(u64) -> anyhow::Result<Side> + Sync,
) -> anyhow::Result<Side> {
    if threads == 1 {
        return work(0);
    }
    let work = &work;
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || work(number)))
            .collect();
        let mut all = Side::default();
        for thread in running {
            all.add(&joined(thread.join())?);
        }
        Ok(all)
    })
}

/// What a thread returned.
///
/// # Errors
/// When it failed or panicked.
pub fn joined<T>(result: thread::Result<anyhow::Result<T>>) -> anyhow::Result<T> {
    result.unwrap_or_else(|_| bail!("a thread panicked"))
}
