//! Foreign: a conversation in a protocol of the internet's that nobody knows, by raw sockets.
//!
//! In: how often. Out: how many sends and receives that took. Must not know: who listens in.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsFd as _,
};

use anyhow::ensure;
use clap::Args;
use rustix::net;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::process::say;

/// One of those that are kept free for experiments.
const PROTOCOL: i32 = 253;
/// What a raw socket reads begins with the header of the packet.
const HEADER_BYTES: usize = 20;

/// A conversation with oneself.
#[derive(Clone, Debug, Args)]
pub struct Foreign {
    /// Roundtrips.
    #[arg(long, default_value_t = 100)]
    messages: u64,
}

impl Foreign {
    /// Talks, and says how many calls that took.
    ///
    /// # Errors
    /// When this process may not.
    pub fn run(self) -> anyhow::Result<()> {
        let ends = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
        let [one, other] = ends.map(|end| SockAddr::from(SocketAddr::from((end, 0))));
        let socket = |own: &SockAddr, other: &SockAddr| -> anyhow::Result<Socket> {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(PROTOCOL)))?;
            socket.bind(own)?;
            socket.connect(other)?;
            Ok(socket)
        };
        let (client, server) = (socket(&one, &other)?, socket(&other, &one)?);
        for _ in 0..self.messages {
            for (from, to) in [(&client, &server), (&server, &client)] {
                net::send(from.as_fd(), b"x", net::SendFlags::empty())?;
                let mut packet = [0; 64];
                let (length, _) = net::recv(to.as_fd(), &mut packet, net::RecvFlags::empty())?;
                ensure!(length == HEADER_BYTES + 1, "{length} bytes came");
            }
        }
        let calls = 4 * self.messages;
        say(&serde_json::json!({ "workload": "foreign", "protocol": PROTOCOL, "calls": calls }))
    }
}
