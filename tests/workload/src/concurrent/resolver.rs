//! A server with one UDP socket for all who ask, as name servers have: several requests are open on it at once, though no
//! client has more than one.
//!
//! In: how many clients, and how long an answer takes. Out: the clients' own counts and clocks.
//! Must not know: how any of it is measured.

use std::{path::Path, thread};

use anyhow::ensure;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Asking, Cast, MESSAGE_BYTES, Part, Times, line};
use crate::{
    clock::{Span, monotonic_ns, sleep},
    line::Line,
    ping_pong::joined,
    process::say,
    socket::Transport,
};

/// Clients with a socket each, a server with one and a thread for each client.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Resolver {
    /// Sockets that ask, each one thing at a time.
    #[arg(long, default_value_t = 4)]
    connections: u64,
    /// Requests of each.
    #[arg(long, default_value_t = 100)]
    requests: u64,
    /// What each request takes, asleep.
    #[arg(long, default_value = "3ms")]
    take: Span,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long, default_value = "rs")]
    name: String,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Server {
    resolver: Resolver,
}

/// What the server did.
#[derive(Debug, Default, Serialize)]
pub struct Answered {
    /// From after a request's receive to before the send of its reply.
    taken: Times,
}

impl Resolver {
    /// Plays all and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let mut cast = Cast::new(&self.name)?;
        let server = Server {
            resolver: self.clone(),
        };
        let asking = Asking {
            server: cast.serving("server", Part::Resolver(server))?,
            transport: Transport::UdpConnected,
            connections: self.connections,
            requests: self.requests,
        };
        cast.add("client", Part::Asking(asking))?;
        cast.finish("resolver")
    }
}

impl Server {
    pub(super) fn play(self) -> anyhow::Result<Answered> {
        let transport = Transport::UdpUnconnected;
        let (socket, address) = transport.listen(Path::new(""), "")?;
        say(&address)?;
        let Resolver {
            connections,
            requests,
            take,
            ..
        } = self.resolver;
        // Each thread answers as often as a client asks: which client's request it gets is up to the kernel.
        let answer = |mut line: Line| -> anyhow::Result<Times> {
            let mut taken = Times::default();
            for _ in 0..requests {
                ensure!(line.receive(MESSAGE_BYTES)?, "an empty datagram");
                let received_ns = monotonic_ns();
                sleep(take.ns);
                taken.add(monotonic_ns() - received_ns);
                line.send(MESSAGE_BYTES)?;
            }
            Ok(taken)
        };
        let mut answered = Answered::default();
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for _ in 0..connections {
                let line = line(socket.try_clone()?, transport)?;
                threads.push(scope.spawn(move || answer(line)));
            }
            for thread in threads {
                answered.taken.merge(&joined(thread.join())?);
            }
            anyhow::Ok(())
        })?;
        Ok(answered)
    }
}
