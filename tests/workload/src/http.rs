//! HTTP/1.1, as much of it as it takes to be a client of real servers and an upstream of real proxies.
//!
//! In: whom to ask and how often, or how long an answer takes. Out: how many there were, and how long each took.
//! Must not know: what the other end makes of a request.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use super::{
    clock::{Clocks, Elapsed, Span, monotonic_ns, sleep, spin},
    concurrent::Times,
    ping_pong::joined,
    process::say,
};

/// A client: on each connection a thread that asks and waits for the whole answer.
#[derive(Clone, Debug, Args)]
pub struct HttpLoad {
    /// Whom to ask.
    #[arg(long)]
    server: SocketAddr,
    /// Connections, kept alive.
    #[arg(long, default_value_t = 4)]
    connections: u64,
    /// Requests on each.
    #[arg(long, default_value_t = 25)]
    requests: u64,
}

impl HttpLoad {
    /// Asks, and says how long that took.
    ///
    /// # Errors
    /// When the server answers anything but 200.
    pub fn run(self) -> anyhow::Result<()> {
        let ask = || -> anyhow::Result<Times> {
            let mut stream = TcpStream::connect(self.server)?;
            stream.set_nodelay(true)?;
            let mut latency = Times::default();
            for _ in 0..self.requests {
                let sent_ns = monotonic_ns();
                stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
                answered(&mut stream)?;
                latency.add(monotonic_ns() - sent_ns);
            }
            Ok(latency)
        };
        let mut latency = Times::default();
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.connections).map(|_| scope.spawn(ask)).collect();
            for thread in threads {
                latency.merge(&joined(thread.join())?);
            }
            anyhow::Ok(())
        })?;
        say(&serde_json::json!({ "workload": "http-load", "latency": latency }))
    }
}

/// Reads one whole answer.
fn answered(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(head) = end_of_head(&bytes) {
            break head;
        }
        more(stream, &mut bytes)?;
    };
    let text = String::from_utf8_lossy(bytes.get(..head).unwrap_or_default()).to_lowercase();
    ensure!(text.starts_with("http/1.1 200 "), "{text}");
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let whole = match field("content-length:") {
        Some(length) => Some(head + length.trim().parse::<usize>()?),
        None if field("transfer-encoding:").is_some() => None,
        None => bail!("an answer without a length: {text}"),
    };
    while whole.map_or(!bytes.ends_with(b"0\r\n\r\n"), |whole| bytes.len() < whole) {
        more(stream, &mut bytes)?;
    }
    Ok(())
}

/// Where the head of a message ends, if all of it is there.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(end + 4)
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut room = [0; 4096];
    let length = stream.read(&mut room)?;
    ensure!(length > 0, "closed in the middle of an answer");
    bytes.extend_from_slice(room.get(..length).context("more than there is room for")?);
    Ok(())
}

/// A server with a thread for each connection. Says its port, answers until its stdin ends, and then says what it did.
#[derive(Clone, Debug, Args)]
pub struct HttpUpstream {
    /// Sleep of each request.
    #[arg(long, default_value = "40ms")]
    sleep: Span,
    /// CPU time of each request.
    #[arg(long, default_value = "0ms")]
    spin: Span,
}

/// What the threads of an upstream did.
#[derive(Debug, Default)]
struct Done {
    /// Answers, from the read of the request.
    answers: Times,
    /// Where the time went until each answer, since the one before or since the connection was there.
    between: Elapsed,
}

impl HttpUpstream {
    /// Answers.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn run(self) -> anyhow::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        say(&listener.local_addr()?.port())?;
        let done: &'static Mutex<Done> = Box::leak(Box::default());
        let (sleep_ns, spin_ns) = (self.sleep.ns, self.spin.ns);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream, sleep_ns, spin_ns, done));
            }
        });
        // The connections end with this process.
        io::stdin().read_to_end(&mut Vec::new())?;
        let done = done.lock().unwrap_or_else(PoisonError::into_inner);
        say(&serde_json::json!({
            "workload": "http-upstream",
            "answer": done.answers,
            "between_answers": done.between,
        }))
    }
}

/// Answers one connection until it is closed.
fn serve(
    mut stream: TcpStream,
    sleep_ns: u64,
    spin_ns: u64,
    done: &Mutex<Done>,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let clocks = Clocks::of_this_thread()?;
    let mut last = clocks.read()?;
    let mut bytes = Vec::new();
    loop {
        more(&mut stream, &mut bytes)?;
        let Some(head) = end_of_head(&bytes) else {
            continue;
        };
        let read_ns = monotonic_ns();
        ensure!(head == bytes.len(), "requests have no bodies here");
        bytes.clear();
        spin(spin_ns);
        sleep(sleep_ns);
        let now = clocks.read()?;
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.answers.add(now.wall_ns - read_ns);
        done.between += now - last;
        drop(done);
        last = now;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    }
}
