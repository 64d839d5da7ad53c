//! Crowd: more remote ends than anybody can list, each with one request.
//!
//! In: how many, and who calls whom. Out: how many requests were served. The remote ends are packets made by hand
//! (`network`).
//! Must not know: what is measured.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    time::Duration,
};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    Role,
    network::{ACK, FIN, HERE, Network, PSH, RST, SYN},
    process::{Hears, Stage, say},
};

const MESSAGE_BYTES: usize = 100;
/// Port that all of them serve.
const PORT: u16 = 8080;

/// Remote ends that nobody could list, each of them with one connection and one request.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Crowd {
    /// Remote ends.
    #[arg(long, default_value_t = 1000)]
    ends: u32,
    /// They are called by NAME-client; without this they call NAME-server.
    #[arg(long)]
    called: bool,
    #[arg(long, default_value = "crowd")]
    name: String,
}

/// Part of the process of this host.
#[derive(Debug, Serialize, Deserialize)]
pub struct Local {
    ends: u32,
    called: bool,
}

impl Crowd {
    /// Plays all remote ends, and says how many requests there were.
    ///
    /// # Errors
    /// When there can be no network of our own, or an end breaks off.
    pub fn run(self) -> anyhow::Result<()> {
        let stage = Stage::until_signal()?;
        let mut network = Network::new()?;
        let part = Role::Crowd(Local {
            ends: self.ends,
            called: self.called,
        });
        let end = if self.called { "client" } else { "server" };
        let mut local = stage.start(&format!("{}-{end}", self.name), part, Hears::Nothing)?;
        if self.called {
            answer(&mut network, self.ends)?;
        } else {
            let server: SocketAddrV4 = local.hear()?;
            for number in 0..self.ends {
                ask(
                    &mut network,
                    SocketAddrV4::new(end_of(number), 40_000),
                    server,
                )?;
            }
        }
        let served: u32 = local.last_words()?;
        say(&serde_json::json!({ "workload": "crowd", "ends": self.ends, "served": served }))
    }
}

impl Local {
    /// Serves one request of each remote end, or asks each once; then says how many.
    ///
    /// # Errors
    /// When one breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let mut message = [7; MESSAGE_BYTES];
        let mut served = 0u32;
        if self.called {
            for number in 0..self.ends {
                let mut socket = TcpStream::connect(SocketAddrV4::new(end_of(number), PORT))?;
                socket.write_all(&message)?;
                socket.read_exact(&mut message)?;
                // No end waits for the other's farewell.
                socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
                served += 1;
            }
            return say(&served);
        }
        let listener = TcpListener::bind((HERE, 0))?;
        say(&SocketAddrV4::new(HERE, listener.local_addr()?.port()))?;
        while served < self.ends {
            let (mut socket, _) = listener.accept()?;
            socket.read_exact(&mut message)?;
            socket.write_all(&message)?;
            served += 1;
        }
        say(&served)
    }
}

/// One remote end connects, asks, and hears the answer.
fn ask(network: &mut Network, from: SocketAddrV4, to: SocketAddrV4) -> anyhow::Result<()> {
    const FIRST: u32 = 1000;
    network.send(from, to, FIRST, 0, SYN, 0)?;
    let mut ack = loop {
        let segment = network.receive_for(from)?;
        if segment.flags & SYN != 0 {
            break segment.seq.wrapping_add(1);
        }
    };
    network.send(from, to, FIRST + 1, ack, ACK | PSH, MESSAGE_BYTES)?;
    let mut heard = 0;
    while heard < MESSAGE_BYTES {
        let segment = network.receive_for(from)?;
        heard += segment.bytes;
        ack = ack.max(segment.seq.wrapping_add(segment.bytes as u32));
    }
    network.send(from, to, FIRST + 101, ack, RST | ACK, 0)
}

/// All remote ends serve a request each.
fn answer(network: &mut Network, ends: u32) -> anyhow::Result<()> {
    const FIRST: u32 = 5000;
    let mut served = 0;
    while served < ends {
        let segment = network.receive()?;
        let (from, to) = (segment.to, segment.from);
        if segment.flags & (RST | FIN) != 0 {
            continue;
        } else if segment.flags & SYN != 0 {
            let ack = segment.seq.wrapping_add(1);
            network.send(from, to, FIRST, ack, SYN | ACK, 0)?;
        } else if segment.bytes > 0 {
            let ack = segment.seq.wrapping_add(segment.bytes as u32);
            network.send(from, to, FIRST + 1, ack, ACK | PSH, MESSAGE_BYTES)?;
            served += 1;
        }
    }
    Ok(())
}

/// Address of a remote end.
fn end_of(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 0).to_bits() + number)
}
