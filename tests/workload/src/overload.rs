//! Overload: requests come faster than one thread can serve them, so they wait unread.
//!
//! In: how fast they come, how long each takes. Out: how long each truly waited for the server to read it.
//! Must not know: how the server's threads are measured.

use std::path::Path;

use anyhow::{Context as _, ensure};
use clap::Args;
use rustix::{buffer::spare_capacity, event::epoll, net};
use serde::{Deserialize, Serialize};

use super::{
    Role,
    clock::{Span, monotonic_ns, sleep_until, spin},
    process::{Hears, Stage, say},
    socket::{Address, Transport},
};

/// Arrivals that a server cannot keep up with.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Overload {
    /// Requests, each on a connection of its own.
    #[arg(long, default_value_t = 200)]
    requests: u64,
    /// Time from one request to the next, whether or not it was answered.
    #[arg(long, default_value = "1ms")]
    interval: Span,
    /// CPU time of each request.
    #[arg(long, default_value = "2ms")]
    service: Span,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long, default_value = "ol")]
    name: String,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Server {
    overload: Overload,
}

/// The client's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Client {
    overload: Overload,
    server: Address,
}

/// What the server did.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Done {
    tgid: u32,
    port: u16,
    served: u64,
    /// From before the client's send to after the server's receive.
    unread_sum_ns: u64,
    unread_max_ns: u64,
    /// Each wait, in order of service.
    unread_ns: Vec<u64>,
}

impl Overload {
    /// Overloads a server and says how long requests waited.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let stage = Stage::until_signal()?;
        let named = |end: &str| format!("{}-{end}", self.name);
        let part = Role::OverloadServer(Server {
            overload: self.clone(),
        });
        let mut server = stage.start(&named("server"), part, Hears::Nothing)?;
        let address: Address = server.hear()?;
        let (tgid, port) = (server.tgid(), address.port());
        let part = Role::OverloadClient(Client {
            overload: self.clone(),
            server: address,
        });
        let client = stage.start(&named("client"), part, Hears::Nothing)?;
        let client_tgid = client.tgid();
        let answered: u64 = client.last_words()?;
        let mut server: Done = server.last_words()?;
        (server.tgid, server.port) = (tgid, port);
        say(&serde_json::json!({
            "workload": "overload", "client": { "tgid": client_tgid, "answered": answered }, "server": server,
        }))
    }
}

impl Server {
    /// Serves one request after the other, then says how long they had waited.
    ///
    /// # Errors
    /// When the client breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let (listener, address) = Transport::Tcp4.listen(Path::new(""), "")?;
        say(&address)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut sockets = Vec::new();
        for number in 0..self.overload.requests {
            let socket = Transport::Tcp4.accept(&listener)?;
            let number = epoll::EventData::new_u64(number);
            epoll::add(&epoll, &socket, number, epoll::EventFlags::IN)?;
            sockets.push(socket);
        }
        let mut done = Done::default();
        let mut events = Vec::with_capacity(1);
        while done.served < self.overload.requests {
            events.clear();
            // One at a time: what is not asked for yet stays where it is, unread.
            epoll::wait(&epoll, spare_capacity(&mut events), None)?;
            let event: &epoll::Event = events.first().context("no event")?;
            let socket = sockets
                .get(usize::try_from(event.data.u64())?)
                .context("no such connection")?;
            let mut stamp = [0; 8];
            let (length, _) = net::recv(socket, &mut stamp, net::RecvFlags::empty())?;
            ensure!(length == stamp.len(), "a request in pieces");
            let unread_ns = monotonic_ns() - u64::from_ne_bytes(stamp);
            done.unread_sum_ns += unread_ns;
            done.unread_max_ns = done.unread_max_ns.max(unread_ns);
            done.unread_ns.push(unread_ns);
            spin(self.overload.service.ns);
            net::send(socket, &stamp, net::SendFlags::empty())?;
            epoll::delete(&epoll, socket)?;
            done.served += 1;
        }
        say(&done)
    }
}

impl Client {
    /// Sends all requests at their times, then reads all answers.
    ///
    /// # Errors
    /// When the server breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let sockets = (0..self.overload.requests)
            .map(|_| Transport::Tcp4.connect(&self.server, ""))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut due_ns = monotonic_ns();
        for socket in &sockets {
            sleep_until(due_ns);
            due_ns += self.overload.interval.ns;
            let stamp = monotonic_ns().to_ne_bytes();
            net::send(socket, &stamp, net::SendFlags::empty())?;
        }
        let mut answered = 0_u64;
        for socket in &sockets {
            let mut reply = [0; 8];
            let (length, _) = net::recv(socket, &mut reply, net::RecvFlags::empty())?;
            ensure!(length == reply.len(), "an answer in pieces");
            answered += 1;
        }
        say(&answered)
    }
}
