//! Requests that go from thread to thread: read by one and answered by another, sent on by one and their answer read by
//! another, or logged before they are answered.
//!
//! In: how many, and how long each takes. Out: how long each was whose, by the threads' own clocks.
//! Must not know: how bytes move (that is `line`).

use std::{
    path::PathBuf,
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Cast, MESSAGE_BYTES, Part, Times, asking, connected, line, only_connection};
use crate::{
    clock::{Clocks, Span, monotonic_ns, sleep, spin, thread_cpu_ns},
    line::Line,
    ping_pong::joined,
    process::say,
    socket::{Address, Transport},
};

/// One connection, one request open at a time, and two threads: the one that reads is not always the one that answers.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct TakingTurns {
    /// Rounds of ten requests: the first is read by one thread and answered by the other, the next eight are that one's,
    /// the last is the first one's.
    #[arg(long, default_value_t = 10)]
    rounds: u64,
    /// Sleep of whoever answers.
    #[arg(long, default_value = "5ms")]
    sleep: Span,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long, default_value = "tt")]
    name: String,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Turns {
    turns: TakingTurns,
}

/// What the server did.
#[derive(Debug, Default, Serialize)]
pub struct TurnsDone {
    /// From after the receive of a request to before the send of its reply, whichever threads did that.
    answer: Times,
    /// From after the receive to where another thread has it in hand.
    handed: Times,
    /// Off the CPU on a timer.
    slept: Times,
}

/// What goes from thread to thread.
struct Baton {
    line: Line,
    step: usize,
    /// When, and by whom, the open request was read.
    read: Option<(u64, usize)>,
    done: TurnsDone,
}

/// Whose a step is, and whether it is a read; else it is an answer.
const ROUND: [(usize, bool); 20] = {
    let mut round = [(1, true); 20];
    let mut at = 0;
    while at < round.len() {
        let is_read = at % 2 == 0;
        let thread = if at == 0 || at >= 18 { 0 } else { 1 };
        round[at] = (thread, is_read);
        at += 1;
    }
    round
};

impl TakingTurns {
    /// Serves all rounds and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let mut cast = Cast::new(&self.name)?;
        let requests = self.rounds * ROUND.len() as u64 / 2;
        let server = cast.serving("server", Part::Turns(Turns { turns: self }))?;
        cast.add("client", Part::Asking(asking(server, requests)))?;
        cast.finish("taking-turns")
    }
}

impl Turns {
    pub(super) fn play(self) -> anyhow::Result<TurnsDone> {
        let baton = Baton {
            line: line(only_connection()?, Transport::Tcp4)?,
            step: 0,
            read: None,
            done: TurnsDone::default(),
        };
        let (to_first, first) = mpsc::channel();
        let (to_second, second) = mpsc::channel();
        to_first.send(Some(baton))?;
        let sleep_ns = self.turns.sleep.ns;
        let done = thread::scope(|scope| {
            let threads = [
                scope.spawn(move || take_turns(0, sleep_ns, &first, &to_second)),
                scope.spawn(move || take_turns(1, sleep_ns, &second, &to_first)),
            ];
            let mut done = None;
            for thread in threads {
                done = joined(thread.join())?.or(done);
            }
            anyhow::Ok(done)
        })?;
        done.context("no thread saw the end")
    }
}

/// Does what is this thread's to do, gives on what is not, and returns what was done if it sees the end.
fn take_turns(
    me: usize,
    sleep_ns: u64,
    mine: &Receiver<Option<Baton>>,
    other: &Sender<Option<Baton>>,
) -> anyhow::Result<Option<TurnsDone>> {
    let clocks = Clocks::of_this_thread()?;
    while let Ok(Some(mut baton)) = mine.recv() {
        let taken_ns = monotonic_ns();
        while let Some(&(thread, is_read)) = ROUND.get(baton.step % ROUND.len())
            && thread == me
        {
            if is_read {
                if !baton.line.receive(MESSAGE_BYTES)? {
                    // The other one may have seen an end of its own.
                    let _ = other.send(None);
                    return Ok(Some(baton.done));
                }
                baton.read = Some((monotonic_ns(), me));
            } else {
                let (read_ns, by) = baton.read.take().context("nothing to answer")?;
                if by != me {
                    baton.done.handed.add(taken_ns - read_ns);
                }
                let before = clocks.read()?;
                sleep(sleep_ns);
                baton.done.slept.add((clocks.read()? - before).blocked_ns);
                baton.done.answer.add(monotonic_ns() - read_ns);
                baton.line.send(MESSAGE_BYTES)?;
            }
            baton.step += 1;
        }
        other.send(Some(baton))?;
    }
    Ok(None)
}

/// One thread reads requests and asks an upstream; another reads the upstream's answers and wakes whoever answers.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct PassingOn {
    /// Requests, one after the other.
    #[arg(long, default_value_t = 40)]
    requests: u64,
    /// Sleep of the upstream.
    #[arg(long, default_value = "40ms")]
    upstream: Span,
    /// A third thread answers, not the one that read the request.
    #[arg(long)]
    third: bool,
    /// The processes are called NAME-server, NAME-upstream and NAME-client.
    #[arg(long, default_value = "po")]
    name: String,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct PassOn {
    upstream: Address,
    third: bool,
}

/// The upstream's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Upstream {
    sleep: Span,
}

/// What the server did.
#[derive(Debug, Default, Serialize)]
pub struct PassedOn {
    /// From after the receive of a request to before the send to the upstream.
    on: Times,
    /// From after the receive of the upstream's answer to before the send of ours.
    back: Times,
    /// The part of that until the thread that answers has it in hand.
    handed: Times,
}

/// What the upstream did.
#[derive(Debug, Default, Serialize)]
pub struct UpstreamDone {
    /// From after the receive to before the send.
    answer: Times,
}

impl PassingOn {
    /// Serves all requests and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let mut cast = Cast::new(&self.name)?;
        let part = Upstream {
            sleep: self.upstream,
        };
        let part = PassOn {
            upstream: cast.serving("upstream", Part::Upstream(part))?,
            third: self.third,
        };
        let server = cast.serving("server", Part::PassOn(part))?;
        cast.add("client", Part::Asking(asking(server, self.requests)))?;
        cast.finish("passing-on")
    }
}

impl Upstream {
    /// One that sleeps so long for each request.
    pub(super) fn new(sleep: Span) -> Self {
        Self { sleep }
    }

    pub(super) fn play(self) -> anyhow::Result<UpstreamDone> {
        let mut line = line(only_connection()?, Transport::Tcp4)?;
        let mut done = UpstreamDone::default();
        while line.receive(MESSAGE_BYTES)? {
            let read_ns = monotonic_ns();
            sleep(self.sleep.ns);
            done.answer.add(monotonic_ns() - read_ns);
            line.send(MESSAGE_BYTES)?;
        }
        Ok(done)
    }
}

impl PassOn {
    pub(super) fn play(self) -> anyhow::Result<PassedOn> {
        let to_upstream = connected(&self.upstream)?;
        let from_upstream = line(to_upstream.socket().try_clone()?, Transport::Tcp4)?;
        let front = only_connection()?;
        let answers = line(front.try_clone()?, Transport::Tcp4)?;
        let requests = line(front, Transport::Tcp4)?;
        let (wake, woken) = mpsc::channel();
        thread::scope(|scope| {
            let reader = scope.spawn(move || wake_for_answers(from_upstream, &wake));
            let passed = if self.third {
                let third = scope.spawn(move || {
                    let mut answers = answers;
                    let mut done = PassedOn::default();
                    while answer(&mut answers, &woken, &mut done)? {}
                    Ok(done)
                });
                let on = pass_on(requests, to_upstream, |_| Ok(()))?;
                PassedOn {
                    on,
                    ..joined(third.join())?
                }
            } else {
                let mut answers = answers;
                let mut done = PassedOn::default();
                done.on = pass_on(requests, to_upstream, |_| {
                    ensure!(answer(&mut answers, &woken, &mut done)?, "nobody wakes us");
                    Ok(())
                })?;
                done
            };
            joined(reader.join())?;
            Ok(passed)
        })
    }
}

/// Reads requests and asks the upstream, until there are no more; then shuts the upstream's connection.
fn pass_on(
    mut requests: Line,
    mut upstream: Line,
    mut then: impl FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<Times> {
    let mut on = Times::default();
    while requests.receive(MESSAGE_BYTES)? {
        let read_ns = monotonic_ns();
        on.add(monotonic_ns() - read_ns);
        upstream.send(MESSAGE_BYTES)?;
        then(read_ns)?;
    }
    upstream.socket().shutdown(std::net::Shutdown::Write)?;
    Ok(on)
}

/// Reads the upstream's answers and tells another thread when each was read.
fn wake_for_answers(mut upstream: Line, wake: &Sender<u64>) -> anyhow::Result<()> {
    while upstream.receive(MESSAGE_BYTES)? {
        wake.send(monotonic_ns())?;
    }
    Ok(())
}

/// Waits to be told of an upstream's answer, and answers; false if there are no more.
fn answer(line: &mut Line, woken: &Receiver<u64>, done: &mut PassedOn) -> anyhow::Result<bool> {
    let Ok(read_ns) = woken.recv() else {
        return Ok(false);
    };
    done.handed.add(monotonic_ns() - read_ns);
    done.back.add(monotonic_ns() - read_ns);
    line.send(MESSAGE_BYTES)?;
    Ok(true)
}

/// A thread that reads a request, logs it to a Unix datagram socket, works, and then answers.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct LoggingFirst {
    /// Requests, one after the other.
    #[arg(long, default_value_t = 100)]
    requests: u64,
    /// CPU time between the two.
    #[arg(long, default_value = "5ms")]
    spin: Span,
    /// The processes are called NAME-server, NAME-log and NAME-client.
    #[arg(long, default_value = "lf")]
    name: String,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct LogsFirst {
    log: Address,
    spin: Span,
}

/// The part of whoever takes what is logged.
#[derive(Debug, Serialize, Deserialize)]
pub struct Log {
    dir: PathBuf,
    requests: u64,
}

/// What the server did.
#[derive(Debug, Default, Serialize)]
pub struct LoggedFirst {
    /// From after the receive of a request to before the send of its reply.
    answer: Times,
    /// On a CPU meanwhile.
    on_cpu: Times,
}

/// What came in the log.
#[derive(Debug, Default, Serialize)]
pub struct Logged {
    messages: u64,
}

impl LoggingFirst {
    /// Serves all requests and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let mut cast = Cast::new(&self.name)?;
        let part = Log {
            dir: cast.dir().to_owned(),
            requests: self.requests,
        };
        let part = LogsFirst {
            log: cast.serving("log", Part::Log(part))?,
            spin: self.spin,
        };
        let server = cast.serving("server", Part::LogsFirst(part))?;
        cast.add("client", Part::Asking(asking(server, self.requests)))?;
        cast.finish("logging-first")
    }
}

impl Log {
    pub(super) fn play(self) -> anyhow::Result<Logged> {
        let (socket, address) = Transport::UnixDgram.listen(&self.dir, "log")?;
        say(&address)?;
        let mut line = line(socket, Transport::UnixDgram)?;
        let mut logged = Logged::default();
        while logged.messages < self.requests {
            ensure!(line.receive(MESSAGE_BYTES)?, "an empty message");
            logged.messages += 1;
        }
        Ok(logged)
    }
}

impl LogsFirst {
    pub(super) fn play(self) -> anyhow::Result<LoggedFirst> {
        let log = Transport::UnixDgram.connect(&self.log, "logs")?;
        let mut log = line(log, Transport::UnixDgram)?;
        let mut line = line(only_connection()?, Transport::Tcp4)?;
        let mut done = LoggedFirst::default();
        while line.receive(MESSAGE_BYTES)? {
            let (read_ns, cpu_ns) = (monotonic_ns(), thread_cpu_ns());
            log.send(MESSAGE_BYTES)?;
            spin(self.spin.ns);
            done.on_cpu.add(thread_cpu_ns() - cpu_ns);
            done.answer.add(monotonic_ns() - read_ns);
            line.send(MESSAGE_BYTES)?;
        }
        Ok(done)
    }
}
