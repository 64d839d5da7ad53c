//! Datagrams that nobody reads, from sockets that live for a few of them.
//!
//! In: how many. Out: what was sent. Must not know: connections.

use std::net::{Ipv4Addr, UdpSocket};

use clap::Args;

use super::process::say;

/// Sockets that send to one that nobody reads from, and close.
#[derive(Clone, Debug, Args)]
pub struct Unheard {
    /// How many, one after the other.
    #[arg(long, default_value_t = 20)]
    sockets: u64,
    /// Datagrams of each.
    #[arg(long, default_value_t = 3)]
    sends: u64,
}

impl Unheard {
    /// Sends all and says how many that were.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn run(self) -> anyhow::Result<()> {
        let unheard = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = unheard.local_addr()?;
        for _ in 0..self.sockets {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            for _ in 0..self.sends {
                socket.send_to(b"nobody", address)?;
            }
        }
        say(&serde_json::json!({ "workload": "unheard", "sends": self.sockets * self.sends }))
    }
}
