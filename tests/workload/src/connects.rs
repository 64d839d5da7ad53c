//! Connects: some find no room in the queue of a listener that does not accept yet, some find nobody, some are never used.
//!
//! In: how many of each, and how long nobody accepts. Out: how long each connect took, and how often the kernel sent its
//! first segment again. Must not know: what is made of a connection.

use std::{io::ErrorKind, os::fd::AsRawFd as _, path::Path, sync::mpsc, thread};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use rustix::net;
use serde::{Deserialize, Serialize};

use super::{
    Role,
    clock::{Span, monotonic_ns, sleep_until},
    process::{Hears, Stage, say},
    socket::{Address, Transport},
};

/// Connects of every fate.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Connects {
    /// Connections that ask once, all made at the same time.
    #[arg(long, default_value_t = 6)]
    used: u64,
    /// Connections that are closed without a word, after those.
    #[arg(long, default_value_t = 0)]
    unused: u64,
    /// Connects to a port that nobody listens on, after those.
    #[arg(long, default_value_t = 0)]
    refused: u64,
    /// Connections that the listener has room for before they are accepted, less one.
    #[arg(long, default_value_t = 1024)]
    backlog: i32,
    /// How long nobody accepts.
    #[arg(long, default_value = "0ms")]
    deaf: Span,
    /// How the two are joined: one of those that TCP carries.
    #[arg(long, value_enum, default_value_t)]
    transport: Transport,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long, default_value = "co")]
    name: String,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Server {
    connects: Connects,
}

/// The client's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Client {
    connects: Connects,
    server: Address,
}

/// What the client did.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Done {
    /// Each connect that made a connection.
    connect_ns: Vec<u64>,
    refused: u64,
    /// Where nobody listened.
    deaf_port: u16,
    /// SYNs that the kernel sent again for these.
    syn_retransmits: u64,
}

/// One connect.
struct Made {
    took_ns: u64,
    syn_retransmits: u64,
}

impl Done {
    fn add(&mut self, made: &Made) {
        self.connect_ns.push(made.took_ns);
        self.syn_retransmits += made.syn_retransmits;
    }
}

impl Connects {
    /// Connects, and says what came of it.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        ensure!(self.transport.is_tcp(), "only TCP connects take time");
        let stage = Stage::until_signal()?;
        let named = |end: &str| format!("{}-{end}", self.name);
        let part = Role::ConnectsServer(Server {
            connects: self.clone(),
        });
        let mut server = stage.start(&named("server"), part, Hears::Nothing)?;
        let address: Address = server.hear()?;
        let port = address.port();
        let part = Role::ConnectsClient(Client {
            connects: self.clone(),
            server: address,
        });
        let client = stage.start(&named("client"), part, Hears::Nothing)?;
        let client: Done = client.last_words()?;
        let served: u64 = server.last_words()?;
        say(&serde_json::json!({
            "workload": "connects", "port": port, "served": served, "client": client,
        }))
    }
}

impl Server {
    /// Accepts everybody after a while, and answers who asks.
    ///
    /// # Errors
    /// When the client breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let Connects {
            transport, backlog, ..
        } = self.connects;
        let (listener, address) = transport.listen(Path::new(""), "")?;
        listener.listen(backlog)?;
        say(&address)?;
        sleep_until(monotonic_ns() + self.connects.deaf.ns);
        let mut served = 0_u64;
        for _ in 0..self.connects.used + self.connects.unused {
            let socket = transport.accept(&listener)?;
            let mut request = [0; 1];
            let (length, _) = net::recv(&socket, &mut request, net::RecvFlags::empty())?;
            if length > 0 {
                net::send(&socket, &request, net::SendFlags::empty())?;
                served += 1;
            }
        }
        say(&served)
    }
}

impl Client {
    /// Connects in each way, then says how long that took.
    ///
    /// # Errors
    /// When the server breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let mut done = Done::default();
        let client = &self;
        thread::scope(|scope| -> anyhow::Result<()> {
            // The first one takes its place before the others look for one: of two at once, both would find it free.
            let mut used = Vec::new();
            for number in 0..self.connects.used {
                let (connected, waits) = mpsc::channel();
                used.push(scope.spawn(move || client.ask(&connected)));
                if number == 0 {
                    // Closed without a word where it fails, which its thread tells.
                    let _ = waits.recv();
                }
            }
            for thread in used {
                match thread.join() {
                    Ok(asked) => done.add(&asked?),
                    Err(_) => bail!("a thread has failed"),
                }
            }
            Ok(())
        })?;
        for _ in 0..self.connects.unused {
            let (_socket, made) = self.connect()?;
            done.add(&made);
        }
        let transport = self.connects.transport;
        let (_deaf, nobody) = transport.deaf()?;
        for _ in 0..self.connects.refused {
            let error = transport
                .connect(&nobody, "")
                .err()
                .context("somebody listens there")?;
            let refused = error
                .chain()
                .filter_map(|cause| cause.downcast_ref::<rustix::io::Errno>())
                .any(|errno| errno.kind() == ErrorKind::ConnectionRefused);
            ensure!(refused, "{error:#}");
            done.refused += 1;
        }
        done.deaf_port = nobody.port();
        say(&done)
    }

    fn connect(&self) -> anyhow::Result<(socket2::Socket, Made)> {
        let start_ns = monotonic_ns();
        let socket = self.connects.transport.connect(&self.server, "")?;
        let took_ns = monotonic_ns() - start_ns;
        let syn_retransmits = match self.connects.transport {
            // Its segments are those of the connections that it is made of.
            Transport::Mptcp4 => 0,
            _ => sent_again(&socket)?,
        };
        let made = Made {
            took_ns,
            syn_retransmits,
        };
        Ok((socket, made))
    }

    fn ask(&self, connected: &mpsc::Sender<()>) -> anyhow::Result<Made> {
        let (socket, made) = self.connect()?;
        // Nobody listens to the others.
        let _ = connected.send(());
        net::send(&socket, &[1], net::SendFlags::empty())?;
        let mut reply = [0; 1];
        let (length, _) = net::recv(&socket, &mut reply, net::RecvFlags::empty())?;
        ensure!(length == 1, "the server closed instead of answering");
        Ok(made)
    }
}

/// Segments that the kernel sent again for a socket: of one that has just connected, its SYNs. (`TCPSynRetrans` of the
/// network namespace counts the answers of listeners, too.)
fn sent_again(socket: &socket2::Socket) -> anyhow::Result<u64> {
    // SAFETY: all-zero is a valid `tcp_info`.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of_val(&info))?;
    // SAFETY: the buffer is as long as said, and both outlive the call.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    ensure!(got == 0, "{}", std::io::Error::last_os_error());
    Ok(info.tcpi_total_retrans.into())
}
