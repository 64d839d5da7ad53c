//! Random conversations: threads of several processes that send, read, work, wait and hand over as a seed has it.
//!
//! In: seeds. Out: what was played. The same seed gives the same plan, never the same times. Must not know: what a plan
//! is good for (that is `plan`).

mod plan;

use std::{
    io::{self, Read as _},
    path::PathBuf,
    sync::{Condvar, Mutex, OnceLock, PoisonError, mpsc},
    thread,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use rustix::net::{self, RecvFlags, SendFlags, SocketAddrAny};
use serde::{Deserialize, Serialize};
use socket2::Socket;

use self::plan::{Connection, Plan, Step};
use super::{
    Role,
    clock::{sleep, spin},
    ping_pong::joined,
    process::{Hears, Player, Stage, say},
    socket::{Address, Transport},
};

/// Random conversations, one after the other.
#[derive(Clone, Debug, Args)]
pub struct Scramble {
    /// Seed of the first; the next ones have the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many.
    #[arg(long, default_value_t = 1)]
    plays: u64,
    /// Steps of each, about.
    #[arg(long, default_value_t = 150)]
    steps: usize,
}

/// One process of one conversation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Speaker {
    seed: u64,
    steps: usize,
    process: usize,
    dir: PathBuf,
    /// Where the connections of this process are accepted, by their numbers.
    addresses: Vec<Option<Address>>,
}

impl Scramble {
    /// Plays all and says what was played. The processes are called `sSEED-NUMBER`.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        for seed in self.seed..self.seed + self.plays {
            self.play(seed).with_context(|| format!("seed {seed}"))?;
        }
        say(&serde_json::json!({
            "workload": "scramble", "seed": self.seed, "plays": self.plays, "steps": self.steps,
        }))
    }

    fn play(&self, seed: u64) -> anyhow::Result<()> {
        let stage = Stage::until_signal()?;
        let plan = Plan::new(seed, self.steps);
        let mut addresses: Vec<Option<Address>> = vec![None; plan.connections.len()];
        let mut players = Vec::new();
        for process in 0..plan.processes.len() {
            let part = Speaker {
                seed,
                steps: self.steps,
                process,
                dir: stage.dir().to_owned(),
                addresses: addresses.clone(),
            };
            let name = format!("s{seed}-{process}");
            let mut player = stage.start(&name, Role::Speaker(part), Hears::Us)?;
            let accepts: Vec<(usize, Address)> = player.hear()?;
            for (connection, address) in accepts {
                *addresses
                    .get_mut(connection)
                    .context("no such connection")? = Some(address);
            }
            players.push(player);
        }
        played(players)?.into_iter().try_for_each(Player::finish)
    }
}

/// Waits until all have played their parts, or one has failed: the others may wait for that one for ever then. None ends
/// before, since another may have yet to connect to it.
fn played(players: Vec<Player>) -> anyhow::Result<Vec<Player>> {
    let (done, dones) = mpsc::channel();
    let number = players.len();
    for mut player in players {
        let done = done.clone();
        thread::spawn(move || {
            let heard = player.hear::<bool>().map(|_| player);
            // Nobody listens after a failure.
            let _ = done.send(heard);
        });
    }
    dones.into_iter().take(number).collect()
}

impl Speaker {
    /// Plays one part of a conversation.
    ///
    /// # Errors
    /// When another one breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let plan = Plan::new(self.seed, self.steps);
        let ends = self.ends(&plan)?;
        let posts: Vec<Gate> = (0..plan.posts).map(|_| Gate::default()).collect();
        let threads = plan
            .processes
            .get(self.process)
            .context("no such process")?;
        let part = Part {
            plan: &plan,
            ends: &ends,
            posts: &posts,
            threads,
        };
        part.play()?;
        say(&true)?;
        io::stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    }

    /// The ends of this process, by the numbers of their connections.
    fn ends(&self, plan: &Plan) -> anyhow::Result<Vec<Option<End>>> {
        let mut listening = Vec::new();
        let mut addresses = Vec::new();
        for (number, connection) in plan.connections.iter().enumerate() {
            let accepts = connection.processes[0] == self.process;
            let named = || connection.transport.listen(&self.dir, &format!("{number}"));
            let (socket, address) = accepts.then(named).transpose()?.unzip();
            listening.push(socket);
            addresses.extend(address.map(|address| (number, address)));
        }
        say(&addresses)?;
        let mut ends = Vec::new();
        for (number, connection) in plan.connections.iter().enumerate() {
            if connection.processes[1] != self.process {
                ends.push(None);
                continue;
            }
            let address = self.addresses.get(number).and_then(Option::as_ref);
            let address = address.context("nobody accepts")?;
            let name = format!("{number}.client");
            let socket = connection.transport.connect(address, &name)?;
            ends.push(Some(End::new(socket, connection, 1, Some(address))?));
        }
        for ((end, listening), connection) in ends.iter_mut().zip(listening).zip(&plan.connections)
        {
            let Some(listening) = listening else { continue };
            let socket = if connection.transport.accepts() {
                connection.transport.accept(&listening)?
            } else {
                listening
            };
            *end = Some(End::new(socket, connection, 0, None)?);
        }
        Ok(ends)
    }
}

/// What a process does.
struct Part<'a> {
    plan: &'a Plan,
    ends: &'a [Option<End>],
    posts: &'a [Gate],
    threads: &'a [Vec<Step>],
}

impl Part<'_> {
    fn play(&self) -> anyhow::Result<()> {
        thread::scope(|scope| {
            let mut started = Vec::new();
            for step in self.threads.first().into_iter().flatten() {
                if let Step::Start(thread) = step {
                    let steps = self.threads.get(*thread).context("no such thread")?;
                    started.push(scope.spawn(|| steps.iter().try_for_each(|step| self.take(step))));
                } else {
                    self.take(step)?;
                }
            }
            started
                .into_iter()
                .try_for_each(|thread| joined(thread.join()))
        })
    }

    fn end(&self, connection: usize) -> anyhow::Result<&End> {
        let end = self.ends.get(connection).and_then(Option::as_ref);
        end.context("not an end of this process")
    }

    fn take(&self, step: &Step) -> anyhow::Result<()> {
        match *step {
            Step::Send {
                connection,
                turn,
                pieces,
                wait_us,
            } => self.end(connection)?.send(turn, pieces, wait_us * 1000),
            Step::Receive {
                connection,
                messages,
                turn,
            } => self.end(connection)?.receive(messages, turn),
            Step::Spin(us) => {
                spin(us * 1000);
                Ok(())
            }
            Step::Sleep(us) => {
                sleep(us * 1000);
                Ok(())
            }
            Step::Yield => {
                thread::yield_now();
                Ok(())
            }
            Step::Post(number) => self.post(number, Gate::open),
            Step::Take(number) => self.post(number, |gate| gate.wait(1)),
            // Only the first thread starts others.
            Step::Start(thread) => anyhow::bail!("thread {thread} of {:?}", self.plan),
        }
    }

    fn post(&self, number: usize, what: impl Fn(&Gate)) -> anyhow::Result<()> {
        what(self.posts.get(number).context("no such post")?);
        Ok(())
    }
}

/// A number that threads wait for. Whoever raises it wakes them.
#[derive(Default)]
struct Gate {
    reached: Mutex<usize>,
    changed: Condvar,
}

impl Gate {
    fn wait(&self, until: usize) {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = self.changed.wait_while(reached, |reached| *reached < until);
        drop(reached.unwrap_or_else(PoisonError::into_inner));
    }

    fn open(&self) {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }
}

/// One end of a connection, shared by the threads of a process.
struct End {
    socket: Socket,
    transport: Transport,
    sends_bytes: usize,
    hears_bytes: usize,
    piece_bytes: usize,
    /// How much of what is done in order has been done.
    turns: Gate,
    /// Where a socket that is not connected sends to; nowhere if it has been connected meanwhile.
    peer: OnceLock<Option<SocketAddrAny>>,
    /// Whom it answers it learns from the first message.
    learns: bool,
}

impl End {
    fn new(
        socket: Socket,
        connection: &Connection,
        end: usize,
        server: Option<&Address>,
    ) -> anyhow::Result<Self> {
        let peer = OnceLock::new();
        let transport = connection.transport;
        if let (Transport::UdpUnconnected, Some(server)) = (transport, server) {
            let _ = peer.set(Some(server.for_calls()?));
        }
        let [sends_bytes, hears_bytes] = if end == 0 {
            connection.message_bytes
        } else {
            let [first, second] = connection.message_bytes;
            [second, first]
        };
        Ok(Self {
            socket,
            transport,
            sends_bytes,
            hears_bytes,
            piece_bytes: connection.piece_bytes[end],
            turns: Gate::default(),
            peer,
            learns: end == 0 && !transport.accepts(),
        })
    }

    fn send(&self, turn: Option<usize>, pieces: usize, wait_ns: u64) -> anyhow::Result<()> {
        if let Some(turn) = turn {
            self.turns.wait(turn);
        }
        let bytes = vec![0x55; self.sends_bytes];
        let flags = SendFlags::empty();
        for (number, piece) in bytes.chunks(bytes.len().div_ceil(pieces)).enumerate() {
            if number > 0 {
                sleep(wait_ns);
            }
            let sent = match self.peer.get() {
                Some(Some(peer)) => net::sendto(&self.socket, piece, flags, peer)?,
                _ => net::send(&self.socket, piece, flags)?,
            };
            ensure!(sent == piece.len(), "{sent} of {} bytes sent", piece.len());
        }
        if turn.is_some() {
            self.turns.open();
        }
        Ok(())
    }

    fn receive(&self, messages: usize, turn: usize) -> anyhow::Result<()> {
        self.turns.wait(turn);
        let mut room = vec![0; self.hears_bytes * messages];
        let mut came = 0;
        while came < room.len() {
            let until = room.len().min(came.saturating_add(self.piece_bytes));
            let piece = room.get_mut(came..until).unwrap_or_default();
            let (_, received, from) = net::recvfrom(&self.socket, piece, RecvFlags::empty())?;
            ensure!(received > 0, "the other end closed");
            came += received;
            self.learn(from)?;
        }
        self.turns.open();
        Ok(())
    }

    fn learn(&self, from: Option<SocketAddrAny>) -> io::Result<()> {
        if !self.learns || self.peer.get().is_some() {
            return Ok(());
        }
        let mut peer = from;
        if self.transport == Transport::UdpConnected
            && let Some(from) = peer.take()
        {
            net::connect(&self.socket, &from)?;
        }
        // It is empty: threads that learn take turns.
        let _ = self.peer.set(peer);
        Ok(())
    }
}
