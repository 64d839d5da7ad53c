//! Sockets of every transport behind one type.
//!
//! In: a transport, or an address of a server. Out: listening and connected sockets.
//! Must not know: what is said on them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::ValueEnum;
use rustix::net::{self, SocketAddrAny, SocketAddrUnix};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};

/// How long to wait for a port that is not free yet.
const PATIENCE: Duration = Duration::from_secs(60);

/// How two processes are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// TCP over IPv4 loopback.
    #[default]
    Tcp4,
    /// TCP over IPv6 loopback.
    Tcp6,
    /// Unix stream socket.
    UnixStream,
    /// Unix datagram sockets, one at the server, one bound by each client.
    UnixDgram,
    /// Unix sequenced packets.
    UnixSeqpacket,
    /// UDP, a socket at the server for each client, both ends connected.
    UdpConnected,
    /// UDP, one socket at the server, nobody connects.
    UdpUnconnected,
}

/// Where a server is reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// IP address and port.
    Inet(SocketAddr),
    /// Path of a Unix socket.
    Path(PathBuf),
}

impl Address {
    /// The port; 0 for a Unix socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Inet(address) => address.port(),
            Self::Path(_) => 0,
        }
    }

    /// The form that socket calls take.
    ///
    /// # Errors
    /// When a path is too long for a Unix socket.
    pub fn for_calls(&self) -> io::Result<SocketAddrAny> {
        match self {
            Self::Inet(address) => Ok((*address).into()),
            Self::Path(path) => Ok(SocketAddrUnix::new(path)?.into()),
        }
    }

    fn of(socket: &Socket) -> anyhow::Result<Self> {
        let address = socket.local_addr()?;
        if let Some(address) = address.as_socket() {
            return Ok(Self::Inet(address));
        }
        let path = address.as_pathname().context("socket without a name")?;
        Ok(Self::Path(path.to_owned()))
    }
}

impl Transport {
    /// Whether a server accepts connections.
    #[must_use]
    pub fn accepts(self) -> bool {
        matches!(
            self,
            Self::Tcp4 | Self::Tcp6 | Self::UnixStream | Self::UnixSeqpacket
        )
    }

    /// Whether one write is one read at the other end.
    #[must_use]
    pub fn keeps_boundaries(self) -> bool {
        !matches!(self, Self::Tcp4 | Self::Tcp6 | Self::UnixStream)
    }

    fn kind(self) -> (Domain, Type) {
        match self {
            Self::Tcp4 => (Domain::IPV4, Type::STREAM),
            Self::Tcp6 => (Domain::IPV6, Type::STREAM),
            Self::UnixStream => (Domain::UNIX, Type::STREAM),
            Self::UnixDgram => (Domain::UNIX, Type::DGRAM),
            Self::UnixSeqpacket => (Domain::UNIX, Type::SEQPACKET),
            Self::UdpConnected | Self::UdpUnconnected => (Domain::IPV4, Type::DGRAM),
        }
    }

    fn socket(self) -> io::Result<Socket> {
        let (domain, kind) = self.kind();
        let socket = Socket::new(domain, kind, None)?;
        if matches!(self, Self::Tcp4 | Self::Tcp6) {
            socket.set_tcp_nodelay(true)?;
        }
        Ok(socket)
    }

    /// A bound socket: this port, 0 for one of the kernel's choice, or the path `dir/name`.
    fn bound(self, dir: &Path, name: &str, port: u16) -> anyhow::Result<Socket> {
        let address = match self.kind().0 {
            Domain::IPV4 => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port).into(),
            Domain::IPV6 => SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port).into(),
            _ => SockAddr::unix(dir.join(name))?,
        };
        let socket = self.socket()?;
        socket
            .bind(&address)
            .with_context(|| format!("cannot bind {self:?}"))?;
        Ok(socket)
    }

    /// A server's socket, listening if this transport accepts connections. `name` tells Unix paths apart.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn listen(self, dir: &Path, name: &str) -> anyhow::Result<(Socket, Address)> {
        let name = format!("{name}.sock");
        let mut socket = self.bound(dir, &name, 0)?;
        let mut address = Address::of(&socket)?;
        if self.accepts() {
            socket.listen(1024)?;
        } else if let Address::Inet(free) = &address {
            // A port that was asked for is what tells a UDP server from its clients once both have been at it.
            let port = free.port();
            drop(socket);
            socket = self.bound(dir, &name, port)?;
            address = Address::of(&socket)?;
        }
        Ok((socket, address))
    }

    /// The next connection of a listening socket.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn accept(self, listener: &Socket) -> io::Result<Socket> {
        let (socket, _) = listener.accept()?;
        if matches!(self, Self::Tcp4 | Self::Tcp6) {
            socket.set_tcp_nodelay(true)?;
        }
        Ok(socket)
    }

    /// A client's socket to `server`. `name` tells Unix datagram clients apart.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(self, server: &Address, name: &str) -> anyhow::Result<Socket> {
        let socket = match (self, server) {
            // Without a name of its own a datagram client could not be answered.
            (Self::UnixDgram, Address::Path(path)) => {
                let dir = path.parent().context("socket path without a directory")?;
                self.bound(dir, name, 0)?
            }
            (Self::UdpUnconnected, _) => return self.bound(Path::new(""), name, 0),
            _ => self.socket()?,
        };
        net::connect(&socket, &server.for_calls()?)
            .with_context(|| format!("cannot connect to {server:?}"))?;
        Ok(socket)
    }

    /// A TCP client's socket to `server` from a port that was used a moment ago: waits until it can be had again.
    ///
    /// # Errors
    /// When nobody listens, or somebody else keeps the port.
    pub fn connect_from(self, server: &Address, port: u16) -> anyhow::Result<Socket> {
        let deadline = Instant::now() + PATIENCE;
        let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let mut last = None;
        while Instant::now() < deadline {
            let socket = self.socket()?;
            socket.set_reuse_address(true)?;
            let connected = socket.bind(&from.into()).and_then(|()| {
                net::connect(&socket, &server.for_calls()?).map_err(io::Error::from)
            });
            match connected {
                Ok(()) => return Ok(socket),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => last = Some(error),
                Err(error) => return Err(error).context("cannot connect"),
            }
            std::thread::yield_now();
        }
        Err(last.context("no time")?).with_context(|| format!("cannot have port {port} again"))
    }
}
