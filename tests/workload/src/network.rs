//! A network of our own with hosts that there are not: a tun device in a network namespace, and packets made by hand.
//!
//! In: segments of TCP to send. Out: segments that this host sends. This host has no socket of the other ends, as with real ones.
//! Must not know: what is said, and what is measured.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd as _,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    thread::{UnshareFlags, unshare_unsafe},
};

/// Name of the device.
const DEVICE: &str = "crowd0";
/// What this host is called on its network.
pub const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

/// The far side of the device: what this host sends is read from it.
pub struct Network {
    device: File,
}

/// What matters of a segment.
pub struct Segment {
    pub from: SocketAddrV4,
    pub to: SocketAddrV4,
    pub seq: u32,
    /// What this host has got of the other end's bytes.
    pub ack: u32,
    pub flags: u8,
    pub bytes: usize,
}

impl Network {
    /// A network for this process, and for those that it starts from now on.
    ///
    /// # Errors
    /// When there can be none: it takes root, a tun device and `ip`.
    pub fn new() -> anyhow::Result<Self> {
        // SAFETY: the threads that there are have nothing to do with the network.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("cannot have a network")?;
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

    /// The next segment that this host sends to one end.
    ///
    /// # Errors
    /// When the device fails.
    pub fn receive_for(&mut self, end: SocketAddrV4) -> anyhow::Result<Segment> {
        loop {
            let segment = self.receive()?;
            if segment.to == end {
                return Ok(segment);
            }
        }
    }

    /// The next segment of TCP that this host sends.
    ///
    /// # Errors
    /// When the device fails.
    pub fn receive(&mut self) -> anyhow::Result<Segment> {
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

    /// Waits until this host sends something; whether it has before `time` is over. A signal ends it early.
    ///
    /// # Errors
    /// When the device fails.
    pub fn wait(&self, time: Duration) -> anyhow::Result<bool> {
        let time = Timespec::try_from(time)?;
        let mut device = [PollFd::new(&self.device, PollFlags::IN)];
        match poll(&mut device, Some(&time)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a segment to this host.
    ///
    /// # Errors
    /// When the device fails.
    pub fn send(
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
            ack: u32::from_be_bytes(tcp.get(8..12)?.try_into().ok()?),
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
