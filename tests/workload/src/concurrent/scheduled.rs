//! An asynchronous server: one thread reads all requests, one all answers of upstreams, one waits until answers are due, and
//! workers send whatever is in their queue.
//!
//! In: how many connections and requests, and what each waits for. Out: how long each was in the server's hands, by its
//! threads' clocks. Must not know: how bytes move (that is `line`).

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use anyhow::Context as _;
use clap::Args;
use rustix::event::epoll;
use serde::{Deserialize, Serialize};

use super::{
    Asking, Cast, MESSAGE_BYTES, Part, Times, asking, connected, connections, line, loops::Poll,
};
use crate::{
    clock::{Span, monotonic_ns, sleep, sleep_until},
    line::Line,
    ping_pong::joined,
    socket::{Address, Transport},
};

/// On each connection one request at a time. Each asks an upstream, over a connection of its own, and its answer waits for a
/// timer. A worker that has not gone to sleep yet takes the next thing from the queue without being woken for it.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Scheduled {
    /// Connections.
    #[arg(long, default_value_t = 8)]
    connections: u64,
    /// Requests on each.
    #[arg(long, default_value_t = 40)]
    requests: u64,
    /// Workers.
    #[arg(long, default_value_t = 4)]
    workers: u64,
    /// Sleep of the upstream.
    #[arg(long, default_value = "10ms")]
    upstream: Span,
    /// What each answer of the upstream waits for, in the server.
    #[arg(long, default_value = "5ms")]
    delay: Span,
    /// The processes are called NAME-server, NAME-upstream and NAME-client.
    #[arg(long, default_value = "sd")]
    name: String,
}

/// The upstream's part: a thread for each connection.
#[derive(Debug, Serialize, Deserialize)]
pub struct Upstreams {
    connections: u64,
    sleep: Span,
}

/// What it did.
#[derive(Debug, Default, Serialize)]
pub struct Answered {
    /// From after the receive to before the send.
    answer: Times,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Server {
    scheduled: Scheduled,
    upstream: Address,
}

/// What it did.
#[derive(Debug, Default, Serialize)]
pub struct Done {
    /// From after the receive of a request to before the send to the upstream.
    on: Times,
    /// From after the receive of the upstream's answer to before the send of ours.
    back: Times,
}

/// What is to be done with a connection, and when what it is for was read.
struct Task {
    asks: bool,
    number: usize,
    read_ns: u64,
}

/// What workers take from; none at the end.
#[derive(Default)]
struct Queue {
    tasks: Mutex<VecDeque<Option<Task>>>,
    more: Condvar,
}

impl Queue {
    fn put(&self, task: Option<Task>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push_back(task);
        self.more.notify_one();
    }

    fn take(&self) -> Option<Task> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(task) = tasks.pop_front() {
                return task;
            }
            tasks = self
                .more
                .wait(tasks)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Scheduled {
    /// Serves all requests and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let mut cast = Cast::new(&self.name)?;
        let (connections, requests) = (self.connections, self.requests);
        let part = Upstreams {
            connections,
            sleep: self.upstream,
        };
        let part = Server {
            upstream: cast.serving("upstream", Part::Upstreams(part))?,
            scheduled: self,
        };
        let server = cast.serving("server", Part::Scheduled(part))?;
        let asking = Asking {
            connections,
            ..asking(server, requests)
        };
        cast.add("client", Part::Asking(asking))?;
        cast.finish("scheduled")
    }
}

impl Upstreams {
    pub(super) fn play(self) -> anyhow::Result<Answered> {
        let lines = connections(self.connections)?;
        let serve = |mut line: Line| -> anyhow::Result<Times> {
            let mut answer = Times::default();
            while line.receive(MESSAGE_BYTES)? {
                let read_ns = monotonic_ns();
                sleep(self.sleep.ns);
                answer.add(monotonic_ns() - read_ns);
                line.send(MESSAGE_BYTES)?;
            }
            Ok(answer)
        };
        let mut done = Answered::default();
        thread::scope(|scope| {
            let serve = &serve;
            let threads: Vec<_> = lines
                .into_iter()
                .map(|line| scope.spawn(move || serve(line)))
                .collect();
            for thread in threads {
                done.answer.merge(&joined(thread.join())?);
            }
            anyhow::Ok(done)
        })
    }
}

/// The same connections for threads that send.
fn to_send(lines: &[Line]) -> anyhow::Result<Vec<Mutex<Line>>> {
    let again = |each: &Line| {
        let socket = each.socket().try_clone()?;
        Ok(Mutex::new(line(socket, Transport::Tcp4)?))
    };
    lines.iter().map(again).collect()
}

impl Server {
    pub(super) fn play(self) -> anyhow::Result<Done> {
        let Scheduled {
            connections: number,
            workers,
            delay,
            ..
        } = self.scheduled;
        let mut upstream = (0..number)
            .map(|_| connected(&self.upstream))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut fronts = connections(number)?;
        let (asks, answers) = (&to_send(&upstream)?, &to_send(&fronts)?);
        let queue = &Queue::default();
        thread::scope(|scope| {
            let (due, to_wait) = mpsc::channel();
            let threads: Vec<_> = (0..workers)
                .map(|_| scope.spawn(move || work(queue, asks, answers)))
                .collect();
            scope.spawn(move || wait(&to_wait, delay.ns, queue));
            let listener = scope.spawn(move || listen(&mut upstream, &due));
            let read = read_all(&mut fronts, |number, read_ns| {
                queue.put(Some(Task {
                    asks: true,
                    number,
                    read_ns,
                }));
                Ok(())
            });
            for line in asks {
                let line = line.lock().unwrap_or_else(PoisonError::into_inner);
                line.socket().shutdown(std::net::Shutdown::Write)?;
            }
            (0..workers).for_each(|_| queue.put(None));
            joined(listener.join())?;
            let mut done = Done::default();
            for thread in threads {
                let of_one = joined(thread.join())?;
                done.on.merge(&of_one.on);
                done.back.merge(&of_one.back);
            }
            read.map(|()| done)
        })
    }
}

/// Reads from all lines until they are closed, and tells of each message.
fn read_all(
    lines: &mut [Line],
    mut tell: impl FnMut(usize, u64) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let poll = Poll::new(lines)?;
    let mut open = lines.len();
    while open > 0 {
        for number in poll.wait(None)? {
            let line = lines.get_mut(number).context("no such connection")?;
            if line.receive(MESSAGE_BYTES)? {
                tell(number, monotonic_ns())?;
            } else {
                epoll::delete(&poll.epoll, line.socket())?;
                open -= 1;
            }
        }
    }
    Ok(())
}

/// Reads the upstream's answers.
fn listen(upstream: &mut [Line], due: &Sender<(usize, u64)>) -> anyhow::Result<()> {
    read_all(upstream, |number, read_ns| Ok(due.send((number, read_ns))?))
}

/// Lets each answer wait; all wait for as long, so they are due in turn.
fn wait(answers: &Receiver<(usize, u64)>, delay_ns: u64, queue: &Queue) {
    for (number, read_ns) in answers {
        sleep_until(read_ns + delay_ns);
        queue.put(Some(Task {
            asks: false,
            number,
            read_ns,
        }));
    }
}

/// A worker: sends what is to be sent.
fn work(queue: &Queue, asks: &[Mutex<Line>], answers: &[Mutex<Line>]) -> anyhow::Result<Done> {
    let mut done = Done::default();
    while let Some(task) = queue.take() {
        let (lines, times) = if task.asks {
            (asks, &mut done.on)
        } else {
            (answers, &mut done.back)
        };
        let line = lines.get(task.number).context("no such connection")?;
        let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
        times.add(monotonic_ns() - task.read_ns);
        line.send(MESSAGE_BYTES)?;
    }
    Ok(done)
}
