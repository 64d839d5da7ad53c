//! Spliced: a proxy that moves bytes from socket to socket within the kernel, by `splice(2)`.
//!
//! In: how many roundtrips, and of what size. Out: what the client counted. Must not know: how anything is seen.

use std::{os::fd::AsFd, path::Path};

use anyhow::{Context as _, ensure};
use clap::Args;
use rustix::{
    net,
    pipe::{SpliceFlags, pipe, splice},
};
use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::{
    Role,
    process::{Hears, Stage, say},
    socket::{Address, Transport},
};

/// A client, a proxy and a server.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Spliced {
    /// Roundtrips.
    #[arg(long, default_value_t = 100)]
    messages: u64,
    /// Bytes of a request.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// Bytes of a reply.
    #[arg(long, default_value_t = 333)]
    reply_size: usize,
    /// The processes are called NAME-client, NAME-proxy and NAME-server.
    #[arg(long, default_value = "sp")]
    name: String,
}

/// What a process does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    spliced: Spliced,
    /// Whom it calls.
    next: Option<Address>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Kind {
    Client,
    Proxy,
    Server,
}

impl Spliced {
    /// Plays, and says what was moved.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let stage = Stage::until_signal()?;
        let start = |end: &str, kind, next| {
            let part = Part {
                spliced: self.clone(),
                next,
                kind,
            };
            let name = format!("{}-{end}", self.name);
            stage.start(&name, Role::Spliced(part), Hears::Nothing)
        };
        let mut server = start("server", Kind::Server, None)?;
        let mut proxy = start("proxy", Kind::Proxy, Some(server.hear()?))?;
        let client = start("client", Kind::Client, Some(proxy.hear()?))?;
        let answered: u64 = client.last_words()?;
        let moved: u64 = proxy.last_words()?;
        let served: u64 = server.last_words()?;
        say(&serde_json::json!({
            "workload": "spliced", "answered": answered, "moved": moved, "served": served,
        }))
    }
}

impl Part {
    /// Plays the part.
    ///
    /// # Errors
    /// When another one breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let transport = Transport::Tcp4;
        let Spliced {
            messages,
            size,
            reply_size,
            ..
        } = self.spliced;
        let caller = || -> anyhow::Result<Socket> {
            let (listener, address) = transport.listen(Path::new(""), "")?;
            say(&address)?;
            Ok(transport.accept(&listener)?)
        };
        let next = |address: &Option<Address>| {
            transport.connect(address.as_ref().context("nobody to call")?, "")
        };
        match self.kind {
            Kind::Client => {
                let socket = next(&self.next)?;
                for _ in 0..messages {
                    send(&socket, size)?;
                    ensure!(receive(&socket, reply_size)?, "no answer");
                }
                say(&messages)
            }
            Kind::Server => {
                let socket = caller()?;
                let mut served = 0_u64;
                while receive(&socket, size)? {
                    send(&socket, reply_size)?;
                    served += 1;
                }
                say(&served)
            }
            Kind::Proxy => {
                let client = caller()?;
                let server = next(&self.next)?;
                let mut moved = 0;
                while forward(&client, &server, size)? {
                    ensure!(forward(&server, &client, reply_size)?, "no answer");
                    moved += (size + reply_size) as u64;
                }
                say(&moved)
            }
        }
    }
}

fn send(socket: &Socket, bytes: usize) -> anyhow::Result<()> {
    let sent = net::send(socket, &vec![1; bytes], net::SendFlags::empty())?;
    ensure!(sent == bytes, "a send in pieces");
    Ok(())
}

/// Takes so many bytes; false at the end.
fn receive(socket: &Socket, bytes: usize) -> anyhow::Result<bool> {
    let mut buffer = vec![0; bytes];
    let (length, _) = net::recv(socket, &mut *buffer, net::RecvFlags::WAITALL)?;
    ensure!(length == 0 || length == bytes, "{length} bytes came");
    Ok(length > 0)
}

/// Moves so many bytes; false where there are none any more.
fn forward(from: &Socket, to: &Socket, bytes: usize) -> anyhow::Result<bool> {
    let (out, into) = pipe()?;
    let mut left = bytes;
    while left > 0 {
        let flags = SpliceFlags::empty();
        let taken = splice(from.as_fd(), None, into.as_fd(), None, left, flags)?;
        if taken == 0 {
            ensure!(left == bytes, "a message in part");
            return Ok(false);
        }
        let mut given = 0;
        while given < taken {
            given += splice(out.as_fd(), None, to.as_fd(), None, taken - given, flags)?;
        }
        left -= taken;
    }
    Ok(true)
}
