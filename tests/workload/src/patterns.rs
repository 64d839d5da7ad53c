//! Patterns: ranks that compute, send to their neighbours and receive from them, in a known shape, a known number of times.
//!
//! In: the shape, how many ranks, how much each computes and sends. Out: the shape's edges, iterations, and each rank's own
//! clocks. Must not know: what is measured.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{
    Role,
    burn::Hog,
    clock::{Clocks, Elapsed, Span, pin, spin},
    process::{Hears, Player, Stage, say, wait_for_line},
};

/// Who talks to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Each sends to the next one.
    Ring,
    /// Neighbours in a grid of `--extents`.
    Mesh,
    /// The same, with its ends joined.
    Torus,
    /// Neighbours differ in one bit.
    Hypercube,
    /// To the parent and back: a reduction.
    Tree,
    /// Each with each.
    AllToAll,
    /// Each passes on what it got.
    Pipeline,
}

/// Ranks in a shape.
#[derive(Clone, Debug, Args)]
pub struct Patterns {
    #[arg(long, default_value = "ring")]
    shape: Shape,
    #[arg(long, default_value_t = 4)]
    ranks: usize,
    /// Extents of a mesh or torus, as in 3x2; their product is the number of ranks.
    #[arg(long, value_delimiter = 'x')]
    extents: Vec<usize>,
    #[arg(long, default_value_t = 200)]
    iterations: u64,
    /// Bytes of a message.
    #[arg(long, default_value_t = 4000)]
    message: usize,
    /// CPU time of an iteration.
    #[arg(long, default_value = "2ms")]
    compute: Span,
    /// Do not sleep in a receive, but look again and again.
    #[arg(long)]
    spin: bool,
    /// The same, and give the CPU to others in between.
    #[arg(long)]
    r#yield: bool,
    /// A process that wants so much of a rank's CPU, as in 2:100; several.
    #[arg(long)]
    load: Vec<String>,
    /// Bind ranks to CPUs, one after the other.
    #[arg(long)]
    cores: Option<usize>,
    #[arg(long, default_value = "pat")]
    name: String,
}

/// One rank.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rank {
    rank: usize,
    to: Vec<usize>,
    from: Vec<usize>,
    shape: Shape,
    iterations: u64,
    message: usize,
    compute: Span,
    waits: Waits,
    core: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Waits {
    Sleeping,
    Spinning,
    Yielding,
}

/// What a rank says in the end.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    rank: usize,
    tgid: u32,
    iterations: u64,
    messages: u64,
    elapsed: Elapsed,
}

impl Patterns {
    /// Starts all ranks, lets them go, and says what they did.
    ///
    /// # Errors
    /// When the shape has no such number of ranks, or one breaks off.
    pub fn run(self) -> anyhow::Result<()> {
        let edges = edges(self.shape, self.ranks, &self.extents)?;
        // All send before they receive: what is under way has to fit into the sockets.
        ensure!(
            (1..=1 << 16).contains(&self.message),
            "a message has 1 to 65536 bytes"
        );
        let stage = Stage::until_signal()?;
        let waits = match (self.spin, self.r#yield) {
            (_, true) => Waits::Yielding,
            (true, false) => Waits::Spinning,
            (false, false) => Waits::Sleeping,
        };
        let mut players = Vec::new();
        for rank in 0..self.ranks {
            let to = edges.iter().filter(|(from, _)| *from == rank);
            let from = edges.iter().filter(|(_, to)| *to == rank);
            let role = Role::PatternsRank(Rank {
                rank,
                to: to.map(|(_, to)| *to).collect(),
                from: from.map(|(from, _)| *from).collect(),
                shape: self.shape,
                iterations: self.iterations,
                message: self.message,
                compute: self.compute,
                waits,
                core: self.cores.map(|cores| rank % cores.max(1)),
            });
            players.push(stage.start(&format!("{}-{rank}", self.name), role, Hears::Us)?);
        }
        let ports: Vec<u16> = players
            .iter_mut()
            .map(Player::hear)
            .collect::<anyhow::Result<_>>()?;
        let mut hogs = Vec::new();
        for load in &self.load {
            hogs.push(self.load(&stage, load)?);
        }
        // All know all ports; then all are connected; then all begin.
        for player in &mut players {
            player.tell(&ports)?;
        }
        for player in &mut players {
            let _: String = player.hear()?;
        }
        for player in &mut players {
            player.tell(&"go")?;
        }
        let ranks: Vec<Said> = players
            .into_iter()
            .map(Player::last_words)
            .collect::<anyhow::Result<_>>()?;
        drop(hogs);
        say(&serde_json::json!({
            "workload": "patterns", "shape": self.shape, "edges": edges, "iterations": self.iterations, "ranks": ranks,
        }))
    }

    /// Starts what wants a rank's CPU.
    fn load(&self, stage: &Stage, load: &str) -> anyhow::Result<Player> {
        let (rank, percent) = load
            .split_once(':')
            .with_context(|| format!("`{load}` is not RANK:PERCENT"))?;
        let (rank, percent): (usize, u32) = (rank.parse()?, percent.parse()?);
        let cores = self.cores.context("--load needs --cores")?;
        ensure!(
            percent == 100,
            "a load of {percent} % is not known; there is 100"
        );
        let name = format!("{}-hog", self.name);
        let role = Role::Hog(Hog::endless(rank % cores.max(1)));
        stage.start(&name, role, Hears::Nothing)
    }
}

impl Rank {
    /// Connects to all, goes round, and says what it took.
    ///
    /// # Errors
    /// When another rank breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        if let Some(core) = self.core {
            pin(core)?;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        say(&listener.local_addr()?.port())?;
        let ports: Vec<u16> = serde_json::from_str(&line()?)?;
        let mut peers: Vec<usize> = self.to.iter().chain(&self.from).copied().collect();
        peers.sort_unstable();
        peers.dedup();
        // The higher one connects; a byte says who it is.
        let mut sockets = Vec::new();
        for peer in peers.iter().copied().filter(|peer| *peer < self.rank) {
            let port = *ports.get(peer).context("no such rank")?;
            let mut socket = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
            socket.write_all(&[u8::try_from(self.rank)?])?;
            sockets.push((peer, socket));
        }
        while sockets.len() < peers.len() {
            let (mut socket, _) = listener.accept()?;
            let mut who = [0];
            socket.read_exact(&mut who)?;
            sockets.push((who[0].into(), socket));
        }
        for (_, socket) in &sockets {
            socket.set_nodelay(true)?;
            socket.set_nonblocking(self.waits != Waits::Sleeping)?;
        }
        sockets.sort_by_key(|(peer, _)| *peer);
        say(&"ready")?;
        wait_for_line()?;
        let clocks = Clocks::of_this_thread()?;
        let start = clocks.read()?;
        let mut messages = 0;
        for _ in 0..self.iterations {
            messages += self.step(&mut sockets)?;
        }
        say(&Said {
            rank: self.rank,
            tgid: std::process::id(),
            iterations: self.iterations,
            messages,
            elapsed: clocks.read()? - start,
        })
    }

    /// One iteration: how many messages were sent.
    fn step(&self, sockets: &mut [(usize, TcpStream)]) -> anyhow::Result<u64> {
        let rank = self.rank;
        match self.shape {
            Shape::Pipeline => {
                self.receive(sockets, |peer| peer < rank)?;
                spin(self.compute.ns);
                self.send(sockets, |peer| peer > rank)
            }
            Shape::Tree => {
                // What the children have goes up, the sum comes down.
                spin(self.compute.ns);
                self.receive(sockets, |peer| peer > rank)?;
                let up = self.send(sockets, |peer| peer < rank)?;
                self.receive(sockets, |peer| peer < rank)?;
                Ok(up + self.send(sockets, |peer| peer > rank)?)
            }
            _ => {
                spin(self.compute.ns);
                let sent = self.send(sockets, |peer| self.to.contains(&peer))?;
                self.receive(sockets, |peer| self.from.contains(&peer))?;
                Ok(sent)
            }
        }
    }

    fn send(
        &self,
        sockets: &mut [(usize, TcpStream)],
        to: impl Fn(usize) -> bool,
    ) -> anyhow::Result<u64> {
        let message = vec![7; self.message];
        let mut sent = 0;
        for (_, socket) in sockets.iter_mut().filter(|(peer, _)| to(*peer)) {
            let mut rest = &message[..];
            while !rest.is_empty() {
                match socket.write(rest) {
                    Ok(0) => bail!("the other rank has gone"),
                    Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(),
                    Err(error) => return Err(error.into()),
                }
            }
            sent += 1;
        }
        Ok(sent)
    }

    fn receive(
        &self,
        sockets: &mut [(usize, TcpStream)],
        from: impl Fn(usize) -> bool,
    ) -> anyhow::Result<()> {
        let mut message = vec![0; self.message];
        for (_, socket) in sockets.iter_mut().filter(|(peer, _)| from(*peer)) {
            let mut read = 0;
            while read < message.len() {
                match socket.read(&mut message[read..]) {
                    Ok(0) => bail!("the other rank has gone"),
                    Ok(bytes) => read += bytes,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn wait(&self) {
        match self.waits {
            Waits::Sleeping => {}
            Waits::Spinning => std::hint::spin_loop(),
            Waits::Yielding => std::thread::yield_now(),
        }
    }
}

fn line() -> anyhow::Result<String> {
    let mut line = String::new();
    ensure!(
        std::io::stdin().read_line(&mut line)? > 0,
        "stdin ended before the ports came"
    );
    Ok(line)
}

/// Who sends to whom.
fn edges(
    shape: Shape,
    ranks: usize,
    extents: &[usize],
) -> anyhow::Result<BTreeSet<(usize, usize)>> {
    ensure!((2..=64).contains(&ranks), "there are 2 to 64 ranks");
    let mut edges = BTreeSet::new();
    let mut both = |a: usize, b: usize| {
        if a != b {
            edges.extend([(a, b), (b, a)]);
        }
    };
    match shape {
        Shape::Ring => edges.extend((0..ranks).map(|rank| (rank, (rank + 1) % ranks))),
        Shape::Pipeline => edges.extend((1..ranks).map(|rank| (rank - 1, rank))),
        Shape::Tree => (1..ranks).for_each(|rank| both(rank, (rank - 1) / 2)),
        Shape::AllToAll => (0..ranks).for_each(|a| (0..a).for_each(|b| both(a, b))),
        Shape::Hypercube => {
            ensure!(ranks.is_power_of_two(), "a hypercube has 2, 4, 8, … ranks");
            for rank in 0..ranks {
                (0..ranks.ilog2()).for_each(|bit| both(rank, rank ^ (1 << bit)));
            }
        }
        Shape::Mesh | Shape::Torus => {
            let product: usize = extents.iter().product();
            ensure!(
                product == ranks && !extents.is_empty(),
                "--extents have the product {product}, and there are {ranks} ranks"
            );
            let mut stride = 1;
            for extent in extents {
                for rank in 0..ranks {
                    let place = rank / stride % extent;
                    if place + 1 < *extent {
                        both(rank, rank + stride);
                    } else if shape == Shape::Torus {
                        both(rank, rank - place * stride);
                    }
                }
                stride *= extent;
            }
        }
    }
    Ok(edges)
}
