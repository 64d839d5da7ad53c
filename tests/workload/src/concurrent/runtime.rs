//! A server as runtimes with a client of their own make it: a pool of threads of which one after the other has the
//! connection, one thread that waits for all upstreams, and a worker that does what that one tells it to.
//!
//! In: how many requests. Out: how long each was in the server's hands, by the threads' own clocks.
//! Must not know: how bytes move (that is `line`).

use std::{
    os::fd::OwnedFd,
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    io::{read, write},
};
use serde::{Deserialize, Serialize};

use super::{Cast, MESSAGE_BYTES, Part, Times, asking, connected, handing, line, only_connection};
use crate::{
    clock::{Span, monotonic_ns, spin},
    line::Line,
    ping_pong::joined,
    socket::{Address, Transport},
};

/// Requests of one client, one at a time, each of which asks an upstream. A thread of the pool reads it. It asks the
/// upstream itself, or tells the thread that waits for upstreams, which tells a worker, which does. The thread that waits
/// reads the answer and tells the worker, which wakes the thread of the pool, which answers and wakes the next one.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Runtime {
    /// Requests.
    #[arg(long, default_value_t = 60)]
    requests: u64,
    /// Each so many requests the worker asks the upstream, else the thread that has read the request.
    #[arg(long, default_value_t = 3)]
    every: u64,
    /// Threads of the pool.
    #[arg(long, default_value_t = 3)]
    pool: u64,
    /// CPU time before the upstream is asked, and again after it has answered.
    #[arg(long, default_value = "1ms")]
    spin: Span,
    /// Sleep of the upstream.
    #[arg(long, default_value = "20ms")]
    upstream: Span,
    /// The processes are called NAME-server, NAME-upstream and NAME-client.
    #[arg(long, default_value = "rt")]
    name: String,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Server {
    runtime: Runtime,
    upstream: Address,
}

/// What the server did.
#[derive(Debug, Default, Serialize)]
pub struct Done {
    /// From after the receive of a request to before the send to the upstream.
    on: Times,
    /// From after the receive of the upstream's answer to before the send of ours.
    back: Times,
}

/// What the worker is told.
enum Task {
    /// Ask the upstream, for a request that was read then.
    Ask(u64),
    /// The upstream's answer was read then: wake this thread of the pool.
    Wake(u64),
}

/// The connection of the client, and which request is next: with the thread of the pool whose turn it is.
struct Turn {
    line: Line,
    request: u64,
    done: Done,
}

impl Runtime {
    /// Serves all requests and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let mut cast = Cast::new(&self.name)?;
        let requests = self.requests;
        let part = handing::Upstream::new(self.upstream);
        let part = Server {
            upstream: cast.serving("upstream", Part::Upstream(part))?,
            runtime: self,
        };
        let server = cast.serving("server", Part::Runtime(part))?;
        cast.add("client", Part::Asking(asking(server, requests)))?;
        cast.finish("runtime")
    }
}

impl Server {
    pub(super) fn play(self) -> anyhow::Result<Done> {
        let asks = connected(&self.upstream)?;
        let answers = line(asks.socket().try_clone()?, Transport::Tcp4)?;
        let asks = std::sync::Mutex::new(asks);
        let bell = eventfd(0, EventfdFlags::CLOEXEC)?;
        let (to_worker, tasks) = mpsc::channel();
        let (to_owner, woken) = mpsc::channel();
        let turn = Turn {
            line: line(only_connection()?, Transport::Tcp4)?,
            request: 0,
            done: Done::default(),
        };
        // Whoever waits for an answer has the only receiver with it.
        let first = (turn, woken);
        let ask = |read_ns: u64, on: &mut Times| -> anyhow::Result<()> {
            let mut asks = asks.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
            on.add(monotonic_ns() - read_ns);
            Ok(asks.send(MESSAGE_BYTES)?)
        };
        let (ask, bell, runtime) = (&ask, &bell, &self.runtime);
        thread::scope(|scope| {
            let waiting = scope.spawn(move || wait_for_upstream(answers, bell, &to_worker));
            let worker = scope.spawn(move || {
                let mut on = Times::default();
                for task in tasks {
                    match task {
                        Task::Ask(read_ns) => ask(read_ns, &mut on)?,
                        // The last one may have gone.
                        Task::Wake(read_ns) => drop(to_owner.send(read_ns)),
                    }
                }
                Ok(on)
            });
            let mut threads = Vec::new();
            let mut give = Vec::new();
            let mut take = Vec::new();
            for _ in 0..runtime.pool {
                let (to_it, its) = mpsc::channel::<(Turn, Receiver<u64>)>();
                give.push(to_it);
                take.push(its);
            }
            let given = give.first().context("no pool")?.send(first);
            ensure!(given.is_ok(), "nobody takes the first turn");
            give.rotate_left(1);
            for (mine, next) in take.into_iter().zip(give) {
                threads.push(scope.spawn(move || serve(runtime, &mine, &next, bell, ask)));
            }
            let mut done = None;
            for thread in threads {
                done = joined(thread.join())?.or(done);
            }
            asks.lock()
                .map_err(|_| anyhow::anyhow!("poisoned"))?
                .socket()
                .shutdown(std::net::Shutdown::Write)?;
            joined(waiting.join())?;
            let mut done: Done = done.context("no thread saw the end")?;
            done.on.merge(&joined(worker.join())?);
            Ok(done)
        })
    }
}

/// A thread of the pool: serves one request when it is its turn, and gives the turn on.
fn serve(
    runtime: &Runtime,
    mine: &Receiver<(Turn, Receiver<u64>)>,
    next: &Sender<(Turn, Receiver<u64>)>,
    bell: &OwnedFd,
    ask: &(impl Fn(u64, &mut Times) -> anyhow::Result<()> + Sync),
) -> anyhow::Result<Option<Done>> {
    while let Ok((mut turn, woken)) = mine.recv() {
        if !turn.line.receive(MESSAGE_BYTES)? {
            return Ok(Some(turn.done));
        }
        let read_ns = monotonic_ns();
        spin(runtime.spin.ns);
        turn.request += 1;
        if turn.request.is_multiple_of(runtime.every) {
            write(bell, &read_ns.to_ne_bytes())?;
        } else {
            ask(read_ns, &mut turn.done.on)?;
        }
        let answer_ns = woken.recv()?;
        spin(runtime.spin.ns);
        turn.done.back.add(monotonic_ns() - answer_ns);
        turn.line.send(MESSAGE_BYTES)?;
        if next.send((turn, woken)).is_err() {
            break;
        }
    }
    Ok(None)
}

/// Waits for the upstream's answers and for the bell, and tells the worker of both.
fn wait_for_upstream(
    mut answers: Line,
    bell: &OwnedFd,
    worker: &Sender<Task>,
) -> anyhow::Result<()> {
    loop {
        let mut ready = [
            PollFd::new(answers.socket(), PollFlags::IN),
            PollFd::new(bell, PollFlags::IN),
        ];
        poll(&mut ready, None)?;
        let [from_upstream, rung] = ready.map(|one| !one.revents().is_empty());
        if rung {
            let mut since = [0; 8];
            ensure!(read(bell, &mut since)? == since.len(), "half a bell");
            worker.send(Task::Ask(u64::from_ne_bytes(since)))?;
        }
        if from_upstream {
            if !answers.receive(MESSAGE_BYTES)? {
                return Ok(());
            }
            worker.send(Task::Wake(monotonic_ns()))?;
        }
    }
}
