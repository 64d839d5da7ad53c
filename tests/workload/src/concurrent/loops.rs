//! Event loops: one that reads all that is ready and then writes all, and one whose requests wait for timers or for each
//! other.
//!
//! In: how many connections and requests, and what each takes. Out: what the loop was at, by its own clocks.
//! Must not know: how bytes move (that is `line`).

use std::collections::VecDeque;

use anyhow::{Context as _, ensure};
use clap::Args;
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
};
use serde::{Deserialize, Serialize};

use super::{Asking, Cast, MESSAGE_BYTES, Part, Times, connected, connections};
use crate::{
    clock::{Clocks, Span, monotonic_ns, sleep, spin},
    line::Line,
    socket::{Address, Transport},
};

/// A loop between a client and an upstream, a connection of each for each of several requests that are open at once.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct BatchProxy {
    /// How often the client asks on all connections, and waits for all answers.
    #[arg(long, default_value_t = 50)]
    rounds: u64,
    /// Connections.
    #[arg(long, default_value_t = 4)]
    connections: u64,
    /// Sleep of the upstream, which answers all at once.
    #[arg(long, default_value = "40ms")]
    upstream: Span,
    /// The loop waits until it has read from all, instead of sending on what was ready.
    #[arg(long)]
    all: bool,
    /// The processes are called NAME-upstream, NAME-proxy and NAME-client.
    #[arg(long, default_value = "bp")]
    name: String,
}

/// The loop's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Proxy {
    connections: u64,
    upstream: Address,
    all: bool,
}

/// The upstream's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Batches {
    connections: u64,
    sleep: Span,
}

/// The client's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct AskingAtOnce {
    rounds: u64,
    connections: u64,
    proxy: Address,
}

/// What the loop did.
#[derive(Debug, Default, Serialize)]
pub struct Proxied {
    /// From after the first receive of a batch to before the last send of it.
    busy: Times,
    sends: u64,
    largest_batch: usize,
}

/// What the upstream did.
#[derive(Debug, Default, Serialize)]
pub struct Batched {
    /// From after the first receive of a batch to before the last send of it.
    whole: Times,
    /// From after the last receive of a batch to before the first send of it.
    held: Times,
    /// Off the CPU on a timer.
    slept: Times,
    sends: u64,
}

/// What the client did.
#[derive(Debug, Default, Serialize)]
pub struct AskedAtOnce {
    /// From before the first send to after the last receive.
    rounds: Times,
    /// From before each send to after its receive.
    latency: Times,
}

impl BatchProxy {
    /// Plays all rounds and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let mut cast = Cast::new(&self.name)?;
        let connections = self.connections;
        let part = Batches {
            connections,
            sleep: self.upstream,
        };
        let part = Proxy {
            connections,
            upstream: cast.serving("upstream", Part::Batches(part))?,
            all: self.all,
        };
        let part = AskingAtOnce {
            rounds: self.rounds,
            connections,
            proxy: cast.serving("proxy", Part::Proxy(part))?,
        };
        cast.add("client", Part::AskingAtOnce(part))?;
        cast.finish("batch-proxy")
    }
}

impl Batches {
    pub(super) fn play(self) -> anyhow::Result<Batched> {
        let clocks = Clocks::of_this_thread()?;
        let mut lines = connections(self.connections)?;
        let mut done = Batched::default();
        while let Some(first_ns) = read_all(&mut lines)? {
            let last_ns = monotonic_ns();
            let before = clocks.read()?;
            sleep(self.sleep.ns);
            done.slept.add((clocks.read()? - before).blocked_ns);
            done.held.add(monotonic_ns() - last_ns);
            for line in &mut lines {
                done.whole.max_ns = monotonic_ns() - first_ns;
                line.send(MESSAGE_BYTES)?;
                done.sends += 1;
            }
            let whole_ns = done.whole.max_ns;
            done.whole.add(whole_ns);
        }
        Ok(done)
    }
}

/// Reads from each, and returns when the first was read; none if they are closed.
fn read_all(lines: &mut [Line]) -> anyhow::Result<Option<u64>> {
    let mut first_ns = None;
    for line in lines {
        if !line.receive(MESSAGE_BYTES)? {
            ensure!(first_ns.is_none(), "closed in the middle of a batch");
            return Ok(None);
        }
        first_ns = first_ns.or_else(|| Some(monotonic_ns()));
    }
    Ok(first_ns)
}

impl AskingAtOnce {
    pub(super) fn play(self) -> anyhow::Result<AskedAtOnce> {
        let mut lines = (0..self.connections)
            .map(|_| connected(&self.proxy))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut asked = AskedAtOnce::default();
        for _ in 0..self.rounds {
            let start_ns = monotonic_ns();
            let mut sent_ns = Vec::new();
            for line in &mut lines {
                sent_ns.push(monotonic_ns());
                line.send(MESSAGE_BYTES)?;
            }
            for (line, sent_ns) in lines.iter_mut().zip(sent_ns) {
                ensure!(line.receive(MESSAGE_BYTES)?, "the proxy closed");
                asked.latency.add(monotonic_ns() - sent_ns);
            }
            asked.rounds.add(monotonic_ns() - start_ns);
        }
        Ok(asked)
    }
}

impl Proxy {
    pub(super) fn play(self) -> anyhow::Result<Proxied> {
        let upstream = (0..self.connections)
            .map(|_| connected(&self.upstream))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut lines = connections(self.connections)?;
        let fronts = lines.len();
        lines.extend(upstream);
        let mut done = Proxied::default();
        if self.all {
            loop {
                let (callers, upstream) = lines.split_at_mut(fronts);
                let Some(read_ns) = read_all(callers)? else {
                    return Ok(done);
                };
                done.send_all(read_ns, upstream.iter_mut())?;
                let read_ns = read_all(upstream)?.context("the upstream closed")?;
                done.send_all(read_ns, callers.iter_mut())?;
            }
        }
        let poll = Poll::new(&lines)?;
        let mut open = fronts;
        while open > 0 {
            let mut read_ns = None;
            let mut batch = Vec::new();
            for number in poll.wait(None)? {
                let line = lines.get_mut(number).context("no such connection")?;
                if line.receive(MESSAGE_BYTES)? {
                    read_ns = read_ns.or_else(|| Some(monotonic_ns()));
                    batch.push((number + fronts) % (2 * fronts));
                } else {
                    epoll::delete(&poll.epoll, line.socket())?;
                    open -= 1;
                }
            }
            let Some(read_ns) = read_ns else { continue };
            let mut others: Vec<Option<&mut Line>> = lines.iter_mut().map(Some).collect();
            let others = batch.iter().filter_map(|to| others.get_mut(*to)?.take());
            done.send_all(read_ns, others)?;
        }
        Ok(done)
    }
}

impl Proxied {
    fn send_all<'a>(
        &mut self,
        read_ns: u64,
        lines: impl Iterator<Item = &'a mut Line>,
    ) -> anyhow::Result<()> {
        let mut batch = 0;
        let mut busy_ns = 0;
        for line in lines {
            busy_ns = monotonic_ns() - read_ns;
            line.send(MESSAGE_BYTES)?;
            batch += 1;
        }
        self.busy.add(busy_ns);
        self.sends += batch as u64;
        self.largest_batch = self.largest_batch.max(batch);
        Ok(())
    }
}

/// One loop that serves all connections. A request waits for a timer, or is answered at once; some take long.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct WaitingLoop {
    /// Connections, with one request open at a time on each.
    #[arg(long, default_value_t = 20)]
    connections: u64,
    /// Requests on each.
    #[arg(long, default_value_t = 20)]
    requests: u64,
    /// What each request waits for, while the loop does other things.
    #[arg(long, default_value = "0ms")]
    wait: Span,
    /// Each so many requests the loop is held up; never if 0.
    #[arg(long, default_value_t = 0)]
    every: u64,
    /// CPU time of that.
    #[arg(long, default_value = "100ms")]
    spin: Span,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long, default_value = "wl")]
    name: String,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct TimerLoop {
    waiting: WaitingLoop,
}

/// What the loop did.
#[derive(Debug, Default, Serialize)]
pub struct TimerDone {
    /// From the client's clock before its send to after the receive.
    unread: Times,
    /// From after the receive to before the send.
    answer: Times,
    /// Off the CPU while at least one request was open.
    idle: Times,
    /// The longest requests were open without a break: the sum is how long at least one was.
    open: Times,
}

impl WaitingLoop {
    /// Serves all requests and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let mut cast = Cast::new(&self.name)?;
        let (connections, requests) = (self.connections, self.requests);
        let part = TimerLoop { waiting: self };
        let client = Asking {
            server: cast.serving("server", Part::TimerLoop(part))?,
            transport: Transport::Tcp4,
            connections,
            requests,
        };
        cast.add("client", Part::Asking(client))?;
        cast.finish("waiting-loop")
    }
}

/// A request that waits: its connection, when it was read, and when it is due.
struct Open {
    number: usize,
    read_ns: u64,
    due_ns: u64,
}

impl TimerLoop {
    pub(super) fn play(self) -> anyhow::Result<TimerDone> {
        let waiting = &self.waiting;
        let clocks = Clocks::of_this_thread()?;
        let mut lines = connections(waiting.connections)?;
        let poll = Poll::new(&lines)?;
        let mut open = lines.len();
        let mut pending: VecDeque<Open> = VecDeque::new();
        let mut done = TimerDone::default();
        // Since when at least one request is open.
        let mut since_ns = None;
        while open > 0 {
            let before = clocks.read()?;
            let until = pending.front().map(|first| first.due_ns);
            let ready = poll.wait(until)?;
            if until.is_some() {
                done.idle.add((clocks.read()? - before).blocked_ns);
            }
            for number in ready {
                let line = lines.get_mut(number).context("no such connection")?;
                if !line.receive(MESSAGE_BYTES)? {
                    epoll::delete(&poll.epoll, line.socket())?;
                    open -= 1;
                    continue;
                }
                let read_ns = monotonic_ns();
                since_ns.get_or_insert(read_ns);
                done.unread.add(read_ns - line.stamped_ns());
                if waiting.every > 0 && done.unread.count.is_multiple_of(waiting.every) {
                    spin(waiting.spin.ns);
                }
                if waiting.wait.ns == 0 {
                    done.answer.add(monotonic_ns() - read_ns);
                    line.send(MESSAGE_BYTES)?;
                } else {
                    pending.push_back(Open {
                        number,
                        read_ns,
                        due_ns: read_ns + waiting.wait.ns,
                    });
                }
            }
            while let Some(first) = pending.pop_front_if(|first| first.due_ns <= monotonic_ns()) {
                let line = lines.get_mut(first.number).context("no such connection")?;
                done.answer.add(monotonic_ns() - first.read_ns);
                line.send(MESSAGE_BYTES)?;
            }
            if let Some(begin_ns) = since_ns.take_if(|_| pending.is_empty()) {
                done.open.add(monotonic_ns() - begin_ns);
            }
        }
        Ok(done)
    }
}

/// An epoll of some lines.
pub(super) struct Poll {
    pub(super) epoll: std::os::fd::OwnedFd,
    room: usize,
}

impl Poll {
    pub(super) fn new(lines: &[Line]) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (number, line) in lines.iter().enumerate() {
            let number = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, line.socket(), number, epoll::EventFlags::IN)?;
        }
        Ok(Self {
            epoll,
            room: lines.len(),
        })
    }

    /// Numbers of the lines that are ready, waiting for some until then if it is said.
    pub(super) fn wait(&self, until_ns: Option<u64>) -> anyhow::Result<Vec<usize>> {
        let mut events = Vec::with_capacity(self.room);
        let left = until_ns.map(|until_ns| {
            // Some kernels round down to milliseconds: those that are left are waited for again.
            let left_ns = until_ns.saturating_sub(monotonic_ns());
            Timespec {
                tv_sec: (left_ns / 1_000_000_000).cast_signed(),
                tv_nsec: (left_ns % 1_000_000_000).cast_signed(),
            }
        });
        epoll::wait(&self.epoll, spare_capacity(&mut events), left.as_ref())?;
        events
            .iter()
            .map(|event| Ok(usize::try_from(event.data.u64())?))
            .collect()
    }
}
