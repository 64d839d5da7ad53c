//! Upstream: a service of this host that asks an end on another one for each request, which is slow from a signal on.
//!
//! In: how many requests, and how long the other end takes before and after SIGUSR1. Out: nothing but the traffic, until it is
//! ended. The other end is packets made by hand (`network`): it acknowledges each request at once, and answers it later. Must
//! not know: what is measured.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Args;
use rustix::process::setpriority_process;
use signal_hook::consts::SIGUSR1;

use super::{
    Role,
    clock::{Span, monotonic_ns},
    network::{ACK, FIN, Network, PSH, RST, SYN, Segment},
    process::{Hears, Stage},
    relay::{Load, REPLY_BYTES, Tier},
    socket::{Address, Transport},
};

/// Where the other end listens.
const FAR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 2), 9000);
/// Number of its first byte, on each connection.
const FIRST: u32 = 5000;
/// Priority of the other end: a nice value.
const PRIORITY: i32 = -15;
/// Longest sleep.
const PATIENCE: Duration = Duration::from_millis(100);

/// A service, its load, and an end on another host that it asks once for each request.
#[derive(Clone, Debug, Args)]
pub struct Upstream {
    /// Requests a second.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// Clients, and connections to the other end.
    #[arg(long, default_value_t = 4)]
    clients: u64,
    /// How long the other end takes.
    #[arg(long, default_value = "0.2ms")]
    fast: Span,
    /// The same after SIGUSR1.
    #[arg(long, default_value = "10ms")]
    slow: Span,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long, default_value = "up")]
    name: String,
}

/// An answer that is due.
struct Due {
    at_ns: u64,
    to: SocketAddrV4,
    seq: u32,
    ack: u32,
}

impl Upstream {
    /// Serves until it is killed.
    ///
    /// # Errors
    /// When there can be no network of our own.
    pub fn run(self) -> anyhow::Result<()> {
        let is_slow = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGUSR1, Arc::clone(&is_slow))?;
        let stage = Stage::until_signal()?;
        let mut network = Network::new()?;
        let named = |end: &str| format!("{}-{end}", self.name);
        let tier = Tier::before(&named("server"), Address::Inet(FAR.into()), self.clients)?;
        let mut server = stage.start(&named("server"), Role::RelayTier(tier), Hears::Nothing)?;
        let address: Address = server.hear()?;
        let load = Load::endless(Transport::Tcp4, address, self.clients, self.rate);
        // It ends when its stdin does.
        let _client = stage.start(&named("client"), Role::RelayLoad(load), Hears::Us)?;
        // Another host does not wait for CPUs of this one. Where we may not say so, it may be slower than it should.
        let _ = setpriority_process(None, PRIORITY);
        println!("ready");
        let mut due = VecDeque::new();
        loop {
            let takes = if is_slow.load(Ordering::Relaxed) {
                self.slow
            } else {
                self.fast
            };
            answer(&mut network, &mut due)?;
            let first = due.front().map(|due: &Due| due.at_ns);
            let left =
                first.map(|at_ns| Duration::from_nanos(at_ns.saturating_sub(monotonic_ns())));
            if network.wait(left.unwrap_or(PATIENCE).min(PATIENCE))? {
                let segment = network.receive()?;
                due.extend(heard(&mut network, &segment, takes)?);
            }
        }
    }
}

/// Sends the answers whose time has come.
fn answer(network: &mut Network, due: &mut VecDeque<Due>) -> anyhow::Result<()> {
    while let Some(first) = due.pop_front_if(|first| first.at_ns <= monotonic_ns()) {
        let Due { to, seq, ack, .. } = first;
        network.send(FAR, to, seq, ack, ACK | PSH, REPLY_BYTES)?;
    }
    Ok(())
}

/// Acknowledges a segment; the answer to it, if it is a request.
fn heard(network: &mut Network, segment: &Segment, takes: Span) -> anyhow::Result<Option<Due>> {
    let to = segment.from;
    if segment.flags & (RST | FIN) != 0 || segment.to != FAR {
        return Ok(None);
    }
    if segment.flags & SYN != 0 {
        let ack = segment.seq.wrapping_add(1);
        network.send(FAR, to, FIRST, ack, SYN | ACK, 0)?;
        return Ok(None);
    }
    if segment.bytes == 0 {
        return Ok(None);
    }
    let ack = segment.seq.wrapping_add(u32::try_from(segment.bytes)?);
    network.send(FAR, to, segment.ack, ack, ACK, 0)?;
    Ok(Some(Due {
        at_ns: monotonic_ns() + takes.ns,
        to,
        seq: segment.ack,
        ack,
    }))
}
