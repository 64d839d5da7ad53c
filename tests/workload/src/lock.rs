//! Lock: several threads that each serve a connection, and one lock that they all need.
//!
//! In: how many threads, how long each holds the lock. Out: how long they truly waited for it, and slept with it, by their own
//! clocks. Must not know: how any of this is measured.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::ensure;
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

/// What the server's threads did, all together.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Done {
    served: u64,
    /// From before the call that takes the lock to after it.
    lock_ns: u64,
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
        let done: Done = server.last_words()?;
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
        let serve = |socket: &_| -> anyhow::Result<Done> {
            let mut done = Done::default();
            let mut byte = [0; 1];
            while net::recv(socket, &mut byte, net::RecvFlags::empty())?.0 == 1 {
                if self.locked.before.ns > 0 {
                    sleep(self.locked.before, &mut done);
                }
                let from = monotonic_ns();
                let held = lock.lock().unwrap_or_else(PoisonError::into_inner);
                done.lock_ns += monotonic_ns() - from;
                sleep(self.locked.hold, &mut done);
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
                .map(|socket| scope.spawn(move || serve(socket)))
                .collect();
            let from = monotonic_ns();
            for thread in serving {
                let done = joined(thread.join())?;
                all.served += done.served;
                all.lock_ns += done.lock_ns;
                all.timer_ns += done.timer_ns;
            }
            all.join_ns = monotonic_ns() - from;
            anyhow::Ok(())
        })?;
        say(&all)
    }
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
