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

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use rustix::net::{self, SocketAddrAny, SocketAddrUnix};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

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
    /// MPTCP over IPv4 loopback.
    Mptcp4,
    /// MPTCP over IPv6 loopback.
    Mptcp6,
    /// MPTCP at the client, TCP at the server.
    MptcpTcp,
    /// TCP at the client, MPTCP at the server.
    TcpMptcp,
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
    /// UDP-Lite, as UDP connected at both ends.
    UdpliteConnected,
    /// UDP-Lite, as UDP that nobody connects.
    UdpliteUnconnected,
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
            Self::Tcp4
                | Self::Tcp6
                | Self::Mptcp4
                | Self::Mptcp6
                | Self::MptcpTcp
                | Self::TcpMptcp
                | Self::UnixStream
                | Self::UnixSeqpacket
        )
    }

    /// Whether one write is one read at the other end.
    #[must_use]
    pub fn keeps_boundaries(self) -> bool {
        !self.is_tcp() && self != Self::UnixStream
    }

    /// Whether TCP carries it.
    #[must_use]
    pub fn is_tcp(self) -> bool {
        matches!(
            self,
            Self::Tcp4 | Self::Tcp6 | Self::Mptcp4 | Self::Mptcp6 | Self::MptcpTcp | Self::TcpMptcp
        )
    }

    /// Whether there is a socket at the server for each client.
    #[must_use]
    pub fn is_connected_udp(self) -> bool {
        matches!(self, Self::UdpConnected | Self::UdpliteConnected)
    }

    /// The protocol, where it is not the usual one of its kind: of the server, or of the client.
    fn protocol(self, server: bool) -> Option<Protocol> {
        let is_mptcp = match self {
            Self::Mptcp4 | Self::Mptcp6 => true,
            Self::MptcpTcp => !server,
            Self::TcpMptcp => server,
            Self::UdpliteConnected | Self::UdpliteUnconnected => return Some(Protocol::UDPLITE),
            _ => false,
        };
        is_mptcp.then_some(Protocol::MPTCP)
    }

    fn kind(self) -> (Domain, Type) {
        match self {
            Self::Tcp4 | Self::Mptcp4 | Self::MptcpTcp | Self::TcpMptcp => {
                (Domain::IPV4, Type::STREAM)
            }
            Self::Tcp6 | Self::Mptcp6 => (Domain::IPV6, Type::STREAM),
            Self::UnixStream => (Domain::UNIX, Type::STREAM),
            Self::UnixDgram => (Domain::UNIX, Type::DGRAM),
            Self::UnixSeqpacket => (Domain::UNIX, Type::SEQPACKET),
            Self::UdpConnected
            | Self::UdpUnconnected
            | Self::UdpliteConnected
            | Self::UdpliteUnconnected => (Domain::IPV4, Type::DGRAM),
        }
    }

    fn socket(self, server: bool) -> io::Result<Socket> {
        let (domain, kind) = self.kind();
        let socket = Socket::new(domain, kind, self.protocol(server))?;
        if self.is_tcp() {
            socket.set_tcp_nodelay(true)?;
        }
        Ok(socket)
    }

    /// A bound socket: this port, 0 for one of the kernel's choice, or the path `dir/name`.
    fn bound(self, dir: &Path, name: &str, port: u16, server: bool) -> anyhow::Result<Socket> {
        let address = match self.kind().0 {
            Domain::IPV4 | Domain::IPV6 => self.loopback(port).into(),
            _ => SockAddr::unix(dir.join(name))?,
        };
        let socket = self.socket(server)?;
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
        let mut socket = self.bound(dir, &name, 0, true)?;
        let mut address = Address::of(&socket)?;
        if self.accepts() {
            socket.listen(1024)?;
        } else if let Address::Inet(free) = &address {
            // A port that was asked for is what tells a UDP server from its clients once both have been at it.
            let port = free.port();
            drop(socket);
            socket = self.bound(dir, &name, port, true)?;
            address = Address::of(&socket)?;
        }
        Ok((socket, address))
    }

    /// A socket with a port of the kernel's choice on which nobody listens any more while it lives; somebody did before.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn deaf(self) -> anyhow::Result<(Socket, Address)> {
        let listener = self.socket(true)?;
        listener.set_reuse_address(true)?;
        listener.bind(&self.loopback(0).into())?;
        let address = Address::of(&listener)?;
        let Address::Inet(of_listener) = &address else {
            bail!("{self:?} has no ports");
        };
        // Takes the port with it, and keeps it.
        let deaf = self.socket(true)?;
        deaf.set_reuse_address(true)?;
        deaf.bind(&self.loopback(of_listener.port()).into())?;
        listener.listen(1)?;
        Ok((deaf, address))
    }

    /// A port of the loopback device.
    fn loopback(self, port: u16) -> SocketAddr {
        if self.kind().0 == Domain::IPV6 {
            SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port)
        } else {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
        }
    }

    /// The next connection of a listening socket.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn accept(self, listener: &Socket) -> io::Result<Socket> {
        let (socket, _) = listener.accept()?;
        if self.is_tcp() {
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
                self.bound(dir, name, 0, false)?
            }
            (Self::UdpUnconnected | Self::UdpliteUnconnected, _) => {
                return self.bound(Path::new(""), name, 0, false);
            }
            _ => self.socket(false)?,
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
            let socket = self.socket(false)?;
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
