//! Lock: several threads that each serve a connection, and one lock that they all need.
//!
//! In: how many threads, how long each holds the lock. Out: where the lock is, how long they truly waited for it, and slept with
//! it, by their own clocks, and how often. Must not know: how any of this is measured.

use std::{
    fs,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::Args;
use rustix::net;
use serde::{Deserialize, Serialize};

use super::{
    Role,
    clock::{Span, monotonic_ns},
    ping_pong::joined,
    process::{Hears, Stage, say},
    socket::{Address, Transport},
};

/// Requests that all need one lock.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Locked {
    /// Connections, and threads that serve them.
    #[arg(long, default_value_t = 3)]
    threads: u64,
    /// Requests on each connection.
    #[arg(long, default_value_t = 100)]
    requests: u64,
    /// For how long each request sleeps with the lock.
    #[arg(long, default_value = "2ms")]
    hold: Span,
    /// For how long the thread of the first connection does, which is called `keeper` then; 0 if it is like the others.
    #[arg(long, default_value = "0ms")]
    keep: Span,
    /// For how long each request sleeps without it, before.
    #[arg(long, default_value = "0ms")]
    before: Span,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long, default_value = "lk")]
    name: String,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Server {
    locked: Locked,
}

/// The client's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Client {
    locked: Locked,
    server: Address,
}

/// What the server's threads did, and what they all needed.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    tgid: u32,
    /// Where the lock lies, and how large it is: its word is within.
    lock_address: u64,
    lock_bytes: u64,
    /// The thread of the first connection.
    keeper_tid: u32,
    #[serde(flatten)]
    done: Done,
}

/// What the server's threads did, all together.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Done {
    served: u64,
    /// From before the call that takes the lock to after it.
    lock_ns: u64,
    /// How often they went to sleep within.
    lock_waits: u64,
    /// In sleeps, with and without the lock.
    timer_ns: u64,
    /// In which the first thread waits for the others to end.
    join_ns: u64,
}

impl Locked {
    /// Lets a server's threads get in each other's way, and says for how long.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let stage = Stage::until_signal()?;
        let named = |end: &str| format!("{}-{end}", self.name);
        let part = Role::LockServer(Server {
            locked: self.clone(),
        });
        let mut server = stage.start(&named("server"), part, Hears::Nothing)?;
        let address: Address = server.hear()?;
        let part = Role::LockClient(Client {
            locked: self.clone(),
            server: address,
        });
        let client = stage.start(&named("client"), part, Hears::Nothing)?;
        let answered: u64 = client.last_words()?;
        let done: Said = server.last_words()?;
        say(&serde_json::json!({ "workload": "locked", "answered": answered, "server": done }))
    }
}

impl Server {
    /// Serves each connection by a thread of its own.
    ///
    /// # Errors
    /// When the client breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let (listener, address) = Transport::Tcp4.listen(Path::new(""), "")?;
        say(&address)?;
        let sockets = (0..self.locked.threads)
            .map(|_| Transport::Tcp4.accept(&listener))
            .collect::<std::io::Result<Vec<_>>>()?;
        let lock = Mutex::new(());
        let sleep = |span: Span, done: &mut Done| {
            let from = monotonic_ns();
            thread::sleep(Duration::from(span));
            done.timer_ns += monotonic_ns() - from;
        };
        let keeper = AtomicU32::new(0);
        let serve = |number: usize, socket: &_| -> anyhow::Result<Done> {
            let mut done = Done::default();
            let keeps = number == 0 && self.locked.keep.ns > 0;
            if number == 0 {
                keeper.store(this_thread(), Ordering::Relaxed);
            }
            if keeps {
                rustix::thread::set_name(c"keeper")?;
            }
            let hold = if keeps {
                self.locked.keep
            } else {
                self.locked.hold
            };
            let mut byte = [0; 1];
            while net::recv(socket, &mut byte, net::RecvFlags::empty())?.0 == 1 {
                if self.locked.before.ns > 0 {
                    sleep(self.locked.before, &mut done);
                }
                let slept = sleeps()?;
                let from = monotonic_ns();
                let held = lock.lock().unwrap_or_else(PoisonError::into_inner);
                done.lock_ns += monotonic_ns() - from;
                done.lock_waits += sleeps()? - slept;
                if hold.ns > 0 {
                    sleep(hold, &mut done);
                }
                drop(held);
                net::send(socket, &byte, net::SendFlags::empty())?;
                done.served += 1;
            }
            Ok(done)
        };
        let mut all = Done::default();
        thread::scope(|scope| {
            let serving: Vec<_> = sockets
                .iter()
                .enumerate()
                .map(|(number, socket)| scope.spawn(move || serve(number, socket)))
                .collect();
            let from = monotonic_ns();
            for thread in serving {
                let done = joined(thread.join())?;
                all.served += done.served;
                all.lock_ns += done.lock_ns;
                all.lock_waits += done.lock_waits;
                all.timer_ns += done.timer_ns;
            }
            all.join_ns = monotonic_ns() - from;
            anyhow::Ok(())
        })?;
        say(&Said {
            tgid: std::process::id(),
            lock_address: (&raw const lock).addr() as u64,
            lock_bytes: size_of_val(&lock) as u64,
            keeper_tid: keeper.into_inner(),
            done: all,
        })
    }
}

fn this_thread() -> u32 {
    rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs()
}

/// How often this thread has gone to sleep, as the kernel counts it.
fn sleeps() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let count = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(count
        .context("no voluntary_ctxt_switches")?
        .trim()
        .parse()?)
}

impl Client {
    /// Asks on all connections at once, one request at a time on each.
    ///
    /// # Errors
    /// When the server breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let ask = || -> anyhow::Result<u64> {
            let socket = Transport::Tcp4.connect(&self.server, "")?;
            let mut byte = [7; 1];
            for _ in 0..self.locked.requests {
                net::send(&socket, &byte, net::SendFlags::empty())?;
                let (length, _) = net::recv(&socket, &mut byte, net::RecvFlags::empty())?;
                ensure!(length == 1, "the server broke off");
            }
            Ok(self.locked.requests)
        };
        let mut answered = 0;
        thread::scope(|scope| {
            let asking: Vec<_> = (0..self.locked.threads).map(|_| scope.spawn(ask)).collect();
            for thread in asking {
                answered += joined(thread.join())?;
            }
            anyhow::Ok(())
        })?;
        say(&answered)
    }
}
