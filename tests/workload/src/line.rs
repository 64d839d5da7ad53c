//! One end of a connection, and the many ways of moving a message over it.
//!
//! In: a socket, a way, and how long messages are. Out: messages moved, and a tally of them.
//! Must not know: who is at the other end, or in which order messages go.

use std::{
    fs::File,
    io::{self, ErrorKind, IoSlice, IoSliceMut, Write as _},
    num::NonZeroUsize,
    os::fd::AsRawFd as _,
};

use clap::ValueEnum;
use io_uring::{IoUring, opcode, squeue, types};
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{self, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrAny},
};
use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::{clock::monotonic_ns, socket::Transport};

/// The largest message.
pub const MESSAGE_MAX_BYTES: usize = 4 << 20;

/// How bytes are handed over and taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// `sendto` and `recvfrom`.
    #[default]
    Plain,
    /// `sendfile` from a file, plain receive.
    Sendfile,
    /// `writev` and `readv` of three pieces.
    Writev,
    /// `sendmsg` and `recvmsg` of two pieces.
    Recvmsg,
    /// A `MSG_PEEK` before every receive.
    Peek,
    /// Sockets that return EAGAIN; waits in `poll`.
    Nonblocking,
    /// Sockets that return EAGAIN, and are asked again at once: what comes is read before the kernel has announced it.
    Busy,
    /// Every message written in pieces and read in other pieces.
    Split,
    /// A connection for each message, half closed after the request.
    HalfClose,
    /// A connection for each message; the server resets it upon a second request.
    Reset,
    /// One thread writes and another reads at the client's end.
    TwoThreads,
    /// Sends and receives submitted through io_uring.
    IoUring,
}

impl Variant {
    /// Whether every message has a connection of its own.
    #[must_use]
    pub fn reconnects(self) -> bool {
        matches!(self, Self::HalfClose | Self::Reset)
    }
}

/// What moved, as counted by the end that moved it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Whole messages sent.
    pub messages_sent: u64,
    /// Whole messages received.
    pub messages_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Calls that moved bytes out.
    pub sends: u64,
    /// Calls that moved bytes in.
    pub receives: u64,
    /// Calls that returned EAGAIN.
    pub not_ready: u64,
}

impl Tally {
    /// Adds another end's tally.
    pub fn add(&mut self, other: &Self) {
        self.messages_sent += other.messages_sent;
        self.messages_received += other.messages_received;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.sends += other.sends;
        self.receives += other.receives;
        self.not_ready += other.not_ready;
    }
}

/// One end of a connection.
pub struct Line {
    socket: Socket,
    variant: Variant,
    /// Longest piece of one call; messages are longer in [`Variant::Split`].
    piece_bytes: (usize, usize),
    /// Where a socket that is not connected sends to: where the last message came from.
    peer: Option<SocketAddrAny>,
    connected: bool,
    buffer: Vec<u8>,
    file: Option<File>,
    ring: Option<IoUring>,
    /// What moved so far.
    pub tally: Tally,
}

impl Line {
    /// Takes over one end.
    ///
    /// # Errors
    /// When a variant cannot be set up.
    pub fn new(socket: Socket, transport: Transport, variant: Variant) -> io::Result<Self> {
        if matches!(variant, Variant::Nonblocking | Variant::Busy) {
            socket.set_nonblocking(true)?;
        }
        let file = if variant == Variant::Sendfile {
            let mut file = tempfile::tempfile()?;
            file.write_all(&vec![0x55; MESSAGE_MAX_BYTES])?;
            Some(file)
        } else {
            None
        };
        let ring = if variant == Variant::IoUring {
            Some(IoUring::new(2)?)
        } else {
            None
        };
        let connected = socket.peer_addr().is_ok();
        Ok(Self {
            socket,
            variant,
            piece_bytes: match (variant, transport.keeps_boundaries()) {
                (Variant::Split, false) => (37, 23),
                (Variant::Split, true) => (37, MESSAGE_MAX_BYTES),
                _ => (MESSAGE_MAX_BYTES, MESSAGE_MAX_BYTES),
            },
            peer: None,
            connected,
            buffer: Vec::new(),
            file,
            ring,
            tally: Tally::default(),
        })
    }

    /// The socket itself.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Connects to whoever sent the last message.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn connect_back(&mut self) -> io::Result<()> {
        if let Some(peer) = &self.peer {
            net::connect(&self.socket, peer)?;
            self.connected = true;
        }
        Ok(())
    }

    /// Names the other end of a socket that is not connected.
    pub fn set_peer(&mut self, peer: SocketAddrAny) {
        self.peer = Some(peer);
    }

    /// Writes the time into the next message; its first eight bytes are the time from then on.
    pub fn stamp(&mut self) {
        self.room_for(8);
        if let Some(first) = self.buffer.first_chunk_mut() {
            *first = monotonic_ns().to_ne_bytes();
        }
    }

    /// The time in the last received message.
    #[must_use]
    pub fn stamped_ns(&self) -> u64 {
        self.buffer
            .first_chunk()
            .map_or(0, |first| u64::from_ne_bytes(*first))
    }

    /// Sends one message.
    ///
    /// # Errors
    /// When the kernel does not take it all.
    pub fn send(&mut self, message_bytes: usize) -> io::Result<()> {
        self.room_for(message_bytes);
        let mut sent = 0;
        while sent < message_bytes {
            let until = message_bytes.min(sent + self.piece_bytes.0);
            match self.send_some(sent, until) {
                Ok(moved) => {
                    sent += moved;
                    self.tally.sends += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(PollFlags::OUT)?;
                }
                Err(error) => return Err(error),
            }
        }
        self.tally.messages_sent += 1;
        self.tally.bytes_sent += message_bytes as u64;
        Ok(())
    }

    /// Receives one message; false if the other end has closed instead.
    ///
    /// # Errors
    /// When it ends in the middle.
    pub fn receive(&mut self, message_bytes: usize) -> io::Result<bool> {
        self.room_for(message_bytes);
        let mut received = 0;
        while received < message_bytes {
            let until = message_bytes.min(received + self.piece_bytes.1);
            match self.receive_some(received, until) {
                Ok(0) if received == 0 => return Ok(false),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(moved) => {
                    received += moved;
                    self.tally.receives += 1;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.variant != Variant::Busy {
                        self.wait(PollFlags::IN)?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.tally.messages_received += 1;
        self.tally.bytes_received += message_bytes as u64;
        Ok(true)
    }

    fn room_for(&mut self, message_bytes: usize) {
        if self.buffer.len() < message_bytes {
            self.buffer.resize(message_bytes, 0x55);
        }
    }

    fn wait(&mut self, flags: PollFlags) -> io::Result<()> {
        self.tally.not_ready += 1;
        poll(&mut [PollFd::new(&self.socket, flags)], None)?;
        Ok(())
    }

    fn send_some(&mut self, from: usize, until: usize) -> io::Result<usize> {
        let bytes = self.buffer.get(from..until).unwrap_or_default();
        match self.variant {
            Variant::Sendfile => match &self.file {
                Some(file) => self
                    .socket
                    .sendfile(file, 0, NonZeroUsize::new(until - from)),
                None => Err(ErrorKind::InvalidInput.into()),
            },
            Variant::Writev if self.connected => {
                let (head, rest) = bytes.split_at(bytes.len() / 3);
                let (middle, tail) = rest.split_at(rest.len() / 2);
                let pieces = [head, middle, tail].map(IoSlice::new);
                Ok(rustix::io::writev(&self.socket, &pieces)?)
            }
            Variant::Recvmsg if self.connected => {
                let (head, tail) = bytes.split_at(bytes.len() / 2);
                let pieces = [head, tail].map(IoSlice::new);
                Ok(net::sendmsg(
                    &self.socket,
                    &pieces,
                    &mut SendAncillaryBuffer::default(),
                    SendFlags::empty(),
                )?)
            }
            Variant::IoUring if self.connected => {
                let fd = types::Fd(self.socket.as_raw_fd());
                let length = (until - from).try_into().unwrap_or(u32::MAX);
                submit(
                    self.ring.as_mut(),
                    &opcode::Send::new(fd, bytes.as_ptr(), length).build(),
                )
            }
            _ => match &self.peer {
                Some(peer) if !self.connected => {
                    Ok(net::sendto(&self.socket, bytes, SendFlags::empty(), peer)?)
                }
                _ => Ok(net::send(&self.socket, bytes, SendFlags::empty())?),
            },
        }
    }

    fn receive_some(&mut self, from: usize, until: usize) -> io::Result<usize> {
        let room = self.buffer.get_mut(from..until).unwrap_or_default();
        match self.variant {
            Variant::Writev if self.connected => {
                let (head, rest) = room.split_at_mut(room.len() / 3);
                let (middle, tail) = rest.split_at_mut(rest.len() / 2);
                let mut pieces = [head, middle, tail].map(IoSliceMut::new);
                Ok(rustix::io::readv(&self.socket, &mut pieces)?)
            }
            Variant::Recvmsg if self.connected => {
                let (head, tail) = room.split_at_mut(room.len() / 2);
                let mut pieces = [head, tail].map(IoSliceMut::new);
                let received = net::recvmsg(
                    &self.socket,
                    &mut pieces,
                    &mut RecvAncillaryBuffer::default(),
                    RecvFlags::empty(),
                )?;
                Ok(received.bytes)
            }
            Variant::IoUring if self.connected => {
                let fd = types::Fd(self.socket.as_raw_fd());
                let length = (until - from).try_into().unwrap_or(u32::MAX);
                submit(
                    self.ring.as_mut(),
                    &opcode::Recv::new(fd, room.as_mut_ptr(), length).build(),
                )
            }
            variant => {
                if variant == Variant::Peek {
                    net::recv(&self.socket, &mut *room, RecvFlags::PEEK)?;
                }
                if self.connected {
                    return Ok(net::recv(&self.socket, room, RecvFlags::empty())?.1);
                }
                let (_, moved, peer) = net::recvfrom(&self.socket, room, RecvFlags::empty())?;
                self.peer = peer;
                Ok(moved)
            }
        }
    }
}

/// Runs one operation through the ring to its end.
fn submit(ring: Option<&mut IoUring>, entry: &squeue::Entry) -> io::Result<usize> {
    let ring = ring.ok_or(ErrorKind::InvalidInput)?;
    // SAFETY: the buffer and the socket belong to a line that waits here until the operation has completed.
    unsafe { ring.submission().push(entry) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let result = ring
        .completion()
        .next()
        .ok_or_else(|| io::Error::other("no completion"))?
        .result();
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
