//! Messages in pieces, with waits between: a request, a reply, or both.
//!
//! In: whose messages, how many pieces, how long the waits. Out: how long each message took to come, and to be answered.
//! Must not know: who else uses the connection; nobody does.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use rustix::net::{self, RecvFlags, SendFlags};
use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::{Cast, Part, Times};
use crate::{
    clock::{Span, monotonic_ns, sleep},
    process::say,
    socket::{Address, Transport},
};

/// Bytes of a request, and of a reply.
const BYTES: [usize; 2] = [100, 60];
/// Bytes of the first piece.
const FIRST_BYTES: usize = 20;

/// One connection, one request open at a time.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct InPieces {
    /// Whose messages come in pieces.
    #[arg(long, value_enum, default_value_t)]
    whose: Whose,
    /// Pieces of such a message.
    #[arg(long, default_value_t = 2)]
    pieces: usize,
    /// Wait between pieces.
    #[arg(long, default_value = "20ms")]
    wait: Span,
    /// Requests.
    #[arg(long, default_value_t = 60)]
    requests: u64,
    /// The client leaves it to the kernel when a small piece goes (Nagle's algorithm). TCP only.
    #[arg(long)]
    nagle: bool,
    /// How the two are joined.
    #[arg(long, value_enum, default_value_t)]
    transport: Transport,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long, default_value = "ip")]
    name: String,
}

/// Whose messages come in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Whose {
    /// The client's: requests.
    #[default]
    Client,
    /// The server's: replies.
    Server,
    /// Both.
    Both,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Server {
    messages: InPieces,
    dir: PathBuf,
}

/// The client's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Client {
    messages: InPieces,
    server: Address,
}

/// What one end did.
#[derive(Debug, Default, Serialize)]
pub struct Done {
    /// From after the first receive of a message to after its last, of those that took more than one.
    receiving: Times,
    /// Server: from after the last receive to before the first send of the reply.
    answer: Times,
    /// Server: from after the first receive to before the first send of the reply.
    turn: Times,
    /// Client: from before the last send of a request to after the first receive of the reply.
    latency: Times,
    /// Client: from before the first send of a request to after the first receive of the reply.
    to_reply: Times,
    sends: u64,
    receives: u64,
}

impl InPieces {
    /// Plays all and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        ensure!(
            !self.transport.keeps_boundaries(),
            "only streams come in pieces"
        );
        let mut cast = Cast::new(&self.name)?;
        let part = Server {
            messages: self.clone(),
            dir: cast.dir().to_owned(),
        };
        let part = Client {
            server: cast.serving("server", Part::PiecesServer(part))?,
            messages: self,
        };
        cast.add("client", Part::PiecesClient(part))?;
        cast.finish("in-pieces")
    }

    /// Sends a message, in pieces or not, and returns when the first and the last send began.
    fn send(
        &self,
        socket: &Socket,
        bytes: usize,
        mine: Whose,
        done: &mut Done,
    ) -> anyhow::Result<[u64; 2]> {
        let pieces = if [mine, Whose::Both].contains(&self.whose) {
            self.pieces
        } else {
            1
        };
        let mut began = None;
        let mut left = bytes;
        for piece in 1..=pieces {
            let now = if piece == pieces { left } else { FIRST_BYTES };
            let room = [0x55; BYTES[0]];
            let piece_bytes = room.get(..now).context("a piece too many")?;
            let now_ns = monotonic_ns();
            began = Some([began.map_or(now_ns, |[first, _]: [u64; 2]| first), now_ns]);
            let sent = net::send(socket, piece_bytes, SendFlags::empty())?;
            ensure!(sent == now, "{sent} of {now} bytes sent");
            done.sends += 1;
            left = left.checked_sub(now).context("a piece too many")?;
            if piece < pieces {
                sleep(self.wait.ns);
            }
        }
        began.context("no pieces")
    }
}

/// Reads a message with as many calls as it takes, and returns when the first and the last returned; none at the end.
fn receive(socket: &Socket, bytes: usize, done: &mut Done) -> anyhow::Result<Option<[u64; 2]>> {
    let mut room = [0; BYTES[0]];
    let mut came = 0;
    let mut times = None;
    while came < bytes {
        let (length, _) = net::recv(socket, &mut room, RecvFlags::empty())?;
        if length == 0 {
            ensure!(came == 0, "closed in the middle of a message");
            return Ok(None);
        }
        came += length;
        done.receives += 1;
        let now_ns = monotonic_ns();
        times = Some([times.map_or(now_ns, |[first, _]: [u64; 2]| first), now_ns]);
    }
    ensure!(came == bytes, "{came} bytes of a message of {bytes}");
    if let Some([first, last]) = times
        && first < last
    {
        done.receiving.add(last - first);
    }
    Ok(times)
}

impl Server {
    pub(super) fn play(self) -> anyhow::Result<Done> {
        let transport = self.messages.transport;
        let (listener, address) = transport.listen(&self.dir, "server")?;
        if self.messages.nagle {
            // At first a kernel acknowledges at once, and nothing is held back; what is accepted here does not.
            net::sockopt::set_tcp_quickack(&listener, false)?;
        }
        say(&address)?;
        let socket = transport.accept(&listener)?;
        let mut done = Done::default();
        while let Some([first_ns, last_ns]) = receive(&socket, BYTES[0], &mut done)? {
            let [sent_ns, _] = self
                .messages
                .send(&socket, BYTES[1], Whose::Server, &mut done)?;
            done.answer.add(sent_ns - last_ns);
            done.turn.add(sent_ns - first_ns);
        }
        Ok(done)
    }
}

impl Client {
    pub(super) fn play(self) -> anyhow::Result<Done> {
        let socket = self.messages.transport.connect(&self.server, "")?;
        if self.messages.nagle {
            socket.set_tcp_nodelay(false)?;
        }
        let mut done = Done::default();
        for _ in 0..self.messages.requests {
            let [first_ns, last_ns] =
                self.messages
                    .send(&socket, BYTES[0], Whose::Client, &mut done)?;
            let [reply_ns, _] =
                receive(&socket, BYTES[1], &mut done)?.context("the server closed")?;
            done.latency.add(reply_ns - last_ns);
            done.to_reply.add(reply_ns - first_ns);
        }
        Ok(done)
    }
}
