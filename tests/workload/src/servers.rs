//! Servers of several shapes: a pool of threads behind a queue, one epoll loop, a process for each request.
//!
//! In: how many requests, over how many connections, and the work of each. Out: what the server truly did.
//! Must not know: how clients ask (that is `ping_pong`).

use std::{
    collections::VecDeque,
    io::{Read as _, Write},
    path::Path,
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use rustix::{
    buffer::spare_capacity,
    event::epoll,
    process::{WaitOptions, waitpid},
};
use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::{
    Role,
    clock::{Span, monotonic_ns, thread_cpu_ns},
    line::{Line, Variant},
    ping_pong::{Client, Game, Side, joined},
    process::{Hears, Stage, say},
    socket::{Address, Transport},
    work::{Spent, Work, Worker},
};

const MESSAGE_BYTES: usize = 100;

/// A server and its clients.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Serving {
    /// Requests in all.
    #[arg(long, default_value_t = 1000)]
    requests: u64,
    /// Connections, each with one request outstanding.
    #[arg(long, default_value_t = 8)]
    connections: u64,
    /// Threads of the pool.
    #[arg(long, default_value_t = 2)]
    workers: u64,
    /// CPU time of each request.
    #[arg(long, default_value = "100us")]
    spin: Span,
    /// Sleep of each request.
    #[arg(long, default_value = "0us")]
    sleep: Span,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long)]
    name: Option<String>,
}

/// Shape of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A thread reads everything and hands requests to workers through a queue.
    Pool,
    /// One thread, one epoll, all connections.
    Loop,
    /// A process for each connection, which has one request.
    Fork,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Server {
    shape: Shape,
    serving: Serving,
}

/// What the server did.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Done {
    tgid: u32,
    port: u16,
    served: u64,
    /// Where the time between replies went, in the threads that replied.
    spent: Spent,
    /// Pool: time that requests, read already, were in nobody's hands.
    queued_sum_ns: u64,
    /// From reading a request to before the send of its reply.
    service_sum_ns: u64,
    /// Processes: their CPU time from birth to before the send of the reply.
    cpu_sum_ns: u64,
}

impl Serving {
    /// Serves all requests and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self, shape: Shape) -> anyhow::Result<()> {
        let stage = Stage::until_signal()?;
        let name = self.name.clone().unwrap_or_else(|| {
            match shape {
                Shape::Pool => "pool",
                Shape::Loop => "loop",
                Shape::Fork => "fork",
            }
            .to_owned()
        });
        let variant = if shape == Shape::Fork {
            Variant::HalfClose
        } else {
            Variant::Plain
        };
        let game = Game::plain(self.requests, self.connections, MESSAGE_BYTES, variant);
        let part = Server {
            shape,
            serving: self,
        };
        let mut server = stage.start(
            &format!("{name}-server"),
            Role::Server(part),
            Hears::Nothing,
        )?;
        let address: Address = server.hear()?;
        let (server_tgid, port) = (server.tgid(), address.port());
        let part = Role::PingPongClient(Client::new(game, address));
        let client = stage.start(&format!("{name}-client"), part, Hears::Nothing)?;
        let client_tgid = client.tgid();
        let mut client: Side = client.last_words()?;
        client.tgid = client_tgid;
        let mut done: Done = server.last_words()?;
        (done.tgid, done.port) = (server_tgid, port);
        say(&serde_json::json!({ "workload": shape, "client": client, "server": done }))
    }

    fn work(&self) -> Work {
        Work {
            spin: self.spin,
            sleep: self.sleep,
            ..Work::default()
        }
    }

    fn worker(&self) -> anyhow::Result<Worker> {
        Worker::new(&self.work(), None)
    }

    fn lines(&self, listener: &Socket) -> anyhow::Result<Vec<Line>> {
        (0..self.connections)
            .map(|_| {
                let socket = Transport::Tcp4.accept(listener)?;
                Ok(Line::new(socket, Transport::Tcp4, Variant::Plain)?)
            })
            .collect()
    }
}

impl Server {
    /// Serves until all clients have closed, then says what was done.
    ///
    /// # Errors
    /// When a client breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let (listener, address) = Transport::Tcp4.listen(Path::new(""), "")?;
        say(&address)?;
        let done = match self.shape {
            Shape::Pool => self.serve_with_pool(self.serving.lines(&listener)?)?,
            Shape::Loop => self.serve_with_loop(self.serving.lines(&listener)?)?,
            Shape::Fork => self.serve_with_processes(&listener)?,
        };
        say(&done)
    }

    fn serve_with_loop(&self, mut lines: Vec<Line>) -> anyhow::Result<Done> {
        let mut worker = self.serving.worker()?;
        let mut done = Done::default();
        for_each_readable(&mut lines, |line, _| {
            let read_ns = monotonic_ns();
            worker.work(&self.serving.work())?;
            done.service_sum_ns += monotonic_ns() - read_ns;
            done.spent
                .add(&worker.send(read_ns, || Ok(line.send(MESSAGE_BYTES)?))?);
            done.served += 1;
            Ok(())
        })?;
        Ok(done)
    }

    fn serve_with_pool(&self, mut lines: Vec<Line>) -> anyhow::Result<Done> {
        let replies = lines
            .iter()
            .map(|line| {
                let socket = line.socket().try_clone()?;
                Ok(Mutex::new(Line::new(
                    socket,
                    Transport::Tcp4,
                    Variant::Plain,
                )?))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let queue = Queue::default();
        let work = || -> anyhow::Result<Done> {
            let mut worker = self.serving.worker()?;
            let mut done = Done::default();
            while let Some((number, read_ns)) = queue.take() {
                let taken_ns = monotonic_ns();
                done.queued_sum_ns += worker.queued_ns(read_ns)?;
                worker.work(&self.serving.work())?;
                let mut line = replies
                    .get(number)
                    .context("no such connection")?
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                done.service_sum_ns += monotonic_ns() - read_ns;
                done.spent
                    .add(&worker.send(taken_ns, || Ok(line.send(MESSAGE_BYTES)?))?);
                done.served += 1;
            }
            Ok(done)
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.serving.workers)
                .map(|_| scope.spawn(work))
                .collect();
            let read = for_each_readable(&mut lines, |_, number| {
                queue.put((number, monotonic_ns()));
                Ok(())
            });
            queue.close();
            read?;
            let mut all = Done::default();
            for worker in workers {
                let done = joined(worker.join())?;
                all.served += done.served;
                all.spent.add(&done.spent);
                all.queued_sum_ns += done.queued_sum_ns;
                all.service_sum_ns += done.service_sum_ns;
            }
            Ok(all)
        })
    }

    fn serve_with_processes(&self, listener: &Socket) -> anyhow::Result<Done> {
        let mut done = Done::default();
        let mut running = 0;
        let (mut hears, mut says) = std::io::pipe()?;
        while done.served < self.serving.requests {
            if done.served + running < self.serving.requests {
                let socket = Transport::Tcp4.accept(listener)?;
                // SAFETY: this process has one thread, so the child's memory is whole.
                match unsafe { libc::fork() } {
                    -1 => return Err(std::io::Error::last_os_error()).context("cannot fork"),
                    0 => {
                        let answered = self.answer_one(socket, &mut says);
                        // SAFETY: the child ends here; nothing of the parent's is to be run or flushed.
                        unsafe { libc::_exit(i32::from(answered.is_err())) }
                    }
                    _ => running += 1,
                }
            }
            let all_started = done.served + running == self.serving.requests;
            let options = if all_started {
                WaitOptions::empty()
            } else {
                WaitOptions::NOHANG
            };
            while running > 0 {
                let Some((_, status)) = waitpid(None, options)? else {
                    break;
                };
                ensure!(status.exit_status() == Some(0), "a child failed");
                let mut cpu_ns = [0; 8];
                hears.read_exact(&mut cpu_ns)?;
                done.cpu_sum_ns += u64::from_ne_bytes(cpu_ns);
                running -= 1;
                done.served += 1;
            }
        }
        Ok(done)
    }

    fn answer_one(&self, socket: Socket, says: &mut impl Write) -> anyhow::Result<()> {
        let mut line = Line::new(socket, Transport::Tcp4, Variant::Plain)?;
        ensure!(line.receive(MESSAGE_BYTES)?, "no request came");
        self.serving.worker()?.work(&self.serving.work())?;
        let cpu_ns = thread_cpu_ns();
        line.send(MESSAGE_BYTES)?;
        Ok(says.write_all(&cpu_ns.to_ne_bytes())?)
    }
}

/// Reads a message from each line as it comes and calls `then` with the line and its number, until all are closed.
pub fn for_each_readable(
    lines: &mut [Line],
    mut then: impl FnMut(&mut Line, usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, line) in lines.iter().enumerate() {
        let number = epoll::EventData::new_u64(number as u64);
        epoll::add(&epoll, line.socket(), number, epoll::EventFlags::IN)?;
    }
    let mut open = lines.len();
    let mut events = Vec::with_capacity(lines.len());
    while open > 0 {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            let number = usize::try_from(event.data.u64())?;
            let line = lines.get_mut(number).context("no such line")?;
            if line.receive(MESSAGE_BYTES)? {
                then(line, number)?;
            } else {
                epoll::delete(&epoll, line.socket())?;
                open -= 1;
            }
        }
    }
    Ok(())
}

/// Requests that wait for a worker: number of the line, and when it was read.
#[derive(Default)]
struct Queue {
    waiting: Mutex<(VecDeque<(usize, u64)>, bool)>,
    changed: Condvar,
}

impl Queue {
    fn put(&self, request: (usize, u64)) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.0.push_back(request);
        drop(waiting);
        self.changed.notify_one();
    }

    /// The next request; none when the queue is closed and empty.
    fn take(&self) -> Option<(usize, u64)> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = self
            .changed
            .wait_while(waiting, |(requests, closed)| {
                requests.is_empty() && !*closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        waiting.0.pop_front()
    }

    fn close(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.1 = true;
        drop(waiting);
        self.changed.notify_all();
    }
}
