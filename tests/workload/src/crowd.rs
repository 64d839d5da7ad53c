//! Crowd: more remote ends than anybody can list, each with one request.
//!
//! In: how many, and who calls whom. Out: how many requests were served. The remote ends are packets made by hand, on a
//! network of our own (a tun device in a network namespace): this host has no socket of theirs, as with real ones.
//! Must not know: what is measured.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde::{Deserialize, Serialize};

use super::{
    Role,
    process::{Hears, Stage, say},
};

const MESSAGE_BYTES: usize = 100;
/// Name of the device, and what this host is called on its network.
const DEVICE: &str = "crowd0";
const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Port that all of them serve.
const PORT: u16 = 8080;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

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
        // SAFETY: the threads that there are have nothing to do with the network.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("cannot have a network")?;
        let mut network = Network::new()?;
        let part = Role::Crowd(Local {
            ends: self.ends,
            called: self.called,
        });
        let end = if self.called { "client" } else { "server" };
        let mut local = stage.start(&format!("{}-{end}", self.name), part, Hears::Nothing)?;
        if self.called {
            network.answer(self.ends)?;
        } else {
            let server: SocketAddrV4 = local.hear()?;
            for number in 0..self.ends {
                network.ask(SocketAddrV4::new(end_of(number), 40_000), server)?;
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

/// Address of a remote end.
fn end_of(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 0).to_bits() + number)
}

/// The far side of the device: what this host sends is read from it.
struct Network {
    device: File,
}

/// What matters of a segment.
struct Segment {
    from: SocketAddrV4,
    to: SocketAddrV4,
    seq: u32,
    flags: u8,
    bytes: usize,
}

impl Network {
    fn new() -> anyhow::Result<Self> {
        let path = "/dev/net/tun";
        let device = OpenOptions::new().read(true).write(true).open(path);
        let device = device.with_context(|| format!("cannot open {path}"))?;
        // SAFETY: all-zero is a request that asks for nothing.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(DEVICE.bytes()) {
            // A C character has a sign on some architectures.
            *to = libc::c_char::from_ne_bytes([from]);
        }
        request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI)?;
        // SAFETY: the request is complete and outlives the call.
        let made = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
        ensure!(made == 0, "cannot make a device");
        let here = format!("{HERE}/8");
        for arguments in [
            &["link", "set", "lo", "up"][..],
            &["address", "add", &here, "dev", DEVICE],
            &["link", "set", DEVICE, "up"],
        ] {
            let status = Command::new("ip").args(arguments).status()?;
            ensure!(status.success(), "ip {arguments:?}: {status}");
        }
        Ok(Self { device })
    }

    /// One remote end connects, asks, and hears the answer.
    fn ask(&mut self, from: SocketAddrV4, to: SocketAddrV4) -> anyhow::Result<()> {
        const FIRST: u32 = 1000;
        self.send(from, to, FIRST, 0, SYN, 0)?;
        let mut ack = loop {
            let segment = self.receive_for(from)?;
            if segment.flags & SYN != 0 {
                break segment.seq.wrapping_add(1);
            }
        };
        self.send(from, to, FIRST + 1, ack, ACK | PSH, MESSAGE_BYTES)?;
        let mut heard = 0;
        while heard < MESSAGE_BYTES {
            let segment = self.receive_for(from)?;
            heard += segment.bytes;
            ack = ack.max(segment.seq.wrapping_add(segment.bytes as u32));
        }
        self.send(from, to, FIRST + 101, ack, RST | ACK, 0)
    }

    /// All remote ends serve a request each.
    fn answer(&mut self, ends: u32) -> anyhow::Result<()> {
        const FIRST: u32 = 5000;
        let mut served = 0;
        while served < ends {
            let segment = self.receive()?;
            let (from, to) = (segment.to, segment.from);
            if segment.flags & (RST | FIN) != 0 {
                continue;
            } else if segment.flags & SYN != 0 {
                let ack = segment.seq.wrapping_add(1);
                self.send(from, to, FIRST, ack, SYN | ACK, 0)?;
            } else if segment.bytes > 0 {
                let ack = segment.seq.wrapping_add(segment.bytes as u32);
                self.send(from, to, FIRST + 1, ack, ACK | PSH, MESSAGE_BYTES)?;
                served += 1;
            }
        }
        Ok(())
    }

    fn receive_for(&mut self, end: SocketAddrV4) -> anyhow::Result<Segment> {
        loop {
            let segment = self.receive()?;
            if segment.to == end {
                return Ok(segment);
            }
        }
    }

    /// The next segment of TCP that this host sends.
    fn receive(&mut self) -> anyhow::Result<Segment> {
        let mut packet = [0; 2048];
        loop {
            let length = self.device.read(&mut packet)?;
            if length >= 40
                && packet[0] >> 4 == 4
                && i32::from(packet[9]) == libc::IPPROTO_TCP
                && let Some(segment) = Segment::read(&packet[..length])
            {
                return Ok(segment);
            }
        }
    }

    fn send(
        &mut self,
        from: SocketAddrV4,
        to: SocketAddrV4,
        seq: u32,
        ack: u32,
        flags: u8,
        bytes: usize,
    ) -> anyhow::Result<()> {
        let packet = packet(from, to, seq, ack, flags, bytes)?;
        let sent = self.device.write(&packet)?;
        ensure!(sent == packet.len(), "a packet was cut");
        Ok(())
    }
}

impl Segment {
    fn read(packet: &[u8]) -> Option<Self> {
        let ip_bytes = usize::from(packet[0] & 15) * 4;
        let address = |at: usize| {
            let bits: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
            Some(Ipv4Addr::from(bits))
        };
        let (ip, tcp) = packet.split_at_checked(ip_bytes)?;
        let short = |of: &[u8], at: usize| {
            let bits: [u8; 2] = of.get(at..at + 2)?.try_into().ok()?;
            Some(u16::from_be_bytes(bits))
        };
        let length = usize::from(short(ip, 2)?);
        let tcp_bytes = usize::from(tcp.get(12)? >> 4) * 4;
        Some(Self {
            from: SocketAddrV4::new(address(12)?, short(tcp, 0)?),
            to: SocketAddrV4::new(address(16)?, short(tcp, 2)?),
            seq: u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?),
            flags: *tcp.get(13)?,
            bytes: length.checked_sub(ip_bytes + tcp_bytes)?,
        })
    }
}

/// A segment of TCP over IPv4.
fn packet(
    from: SocketAddrV4,
    to: SocketAddrV4,
    seq: u32,
    ack: u32,
    flags: u8,
    bytes: usize,
) -> anyhow::Result<Vec<u8>> {
    const HEADERS: usize = 40;
    const LIVES: u8 = 64;
    const TCP: u8 = libc::IPPROTO_TCP as u8;
    let mut packet = vec![0x45, 0];
    packet.extend(u16::try_from(HEADERS + bytes)?.to_be_bytes());
    packet.extend([0, 0, 0, 0, LIVES, TCP, 0, 0]);
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    let sum = checksum(&packet, 0);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(seq.to_be_bytes());
    packet.extend(ack.to_be_bytes());
    packet.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet.resize(HEADERS + bytes, 7);
    // Both addresses, the protocol and the length are under the sum, too.
    let pseudo = u32::from(TCP) + u32::try_from(HEADERS - 20 + bytes)?;
    let sum = checksum(&packet[12..], pseudo);
    packet[36..38].copy_from_slice(&sum.to_be_bytes());
    Ok(packet)
}

/// The Internet's checksum.
fn checksum(bytes: &[u8], more: u32) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)));
    let mut sum = words.sum::<u32>() + more;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
