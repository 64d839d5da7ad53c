//! A thread that its timer wakes, on the CPU of another one of its process that is busy with a request: the timer's
//! interrupt falls into the busy one's time, and hands nothing over.
//!
//! In: how many ticks. Out: how many messages the woken thread sent. Must not know: how bytes move (that is `line`).

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::ensure;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    Role,
    clock::pin,
    line::{Line, Variant},
    ping_pong::joined,
    process::{Hears, Stage, say},
    socket::{Address, Transport},
};

const MESSAGE_BYTES: usize = 100;
const CPU: usize = 0;
const TICK: Duration = Duration::from_millis(1);

/// A client asks; before it is answered, a timer of the same process has ticked so often.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Interrupted {
    /// Ticks; a message to somebody else in each.
    #[arg(long, default_value_t = 50)]
    ticks: u64,
    /// The processes are called NAME-client, NAME-busy and NAME-sink.
    #[arg(long, default_value = "in")]
    name: String,
}

/// Part of one of the processes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Asks once.
    Client {
        /// Whom.
        busy: Address,
    },
    /// Is busy with the request, and ticks.
    Busy {
        /// Where the ticks go.
        sink: Address,
        /// How many.
        ticks: u64,
    },
    /// Reads ticks.
    Sink {
        /// How many.
        ticks: u64,
    },
}

impl Interrupted {
    /// Plays it once and says what was done.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        let stage = Stage::until_signal()?;
        let start = |name: &str, part| {
            let name = format!("{}-{name}", self.name);
            stage.start(&name, Role::Interrupted(part), Hears::Nothing)
        };
        let ticks = self.ticks;
        let mut sink = start("sink", Part::Sink { ticks })?;
        let address = sink.hear()?;
        let part = Part::Busy {
            sink: address,
            ticks,
        };
        let mut busy = start("busy", part)?;
        let client = start("client", Part::Client { busy: busy.hear()? })?;
        client.finish()?;
        let sent: u64 = busy.last_words()?;
        sink.finish()?;
        say(&serde_json::json!({ "workload": "interrupted", "ticks": sent }))
    }
}

impl Part {
    /// Plays it.
    ///
    /// # Errors
    /// When a neighbour breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let transport = Transport::Tcp4;
        let line = |socket| Line::new(socket, transport, Variant::Plain);
        match self {
            Self::Client { busy } => {
                let mut busy = line(transport.connect(&busy, "")?)?;
                busy.send(MESSAGE_BYTES)?;
                ensure!(busy.receive(MESSAGE_BYTES)?, "no answer");
            }
            Self::Busy { sink, ticks } => {
                let sink = line(transport.connect(&sink, "")?)?;
                let (listener, address) = transport.listen(&PathBuf::new(), "")?;
                say(&address)?;
                let client = line(transport.accept(&listener)?)?;
                say(&busy_with(client, sink, ticks)?)?;
            }
            Self::Sink { ticks } => {
                let (listener, address) = transport.listen(&PathBuf::new(), "")?;
                say(&address)?;
                let mut busy = line(transport.accept(&listener)?)?;
                for _ in 0..ticks {
                    ensure!(busy.receive(MESSAGE_BYTES)?, "ticks are missing");
                }
            }
        }
        Ok(())
    }
}

/// Holds the client's request until the timer has ticked often enough, and never waits meanwhile.
fn busy_with(mut client: Line, mut sink: Line, ticks: u64) -> anyhow::Result<u64> {
    /// Nobody holds a request yet.
    const IDLE: u64 = u64::MAX;
    let ticked = AtomicU64::new(IDLE);
    pin(CPU)?;
    thread::scope(|scope| {
        let ticking = scope.spawn(|| -> anyhow::Result<()> {
            let mut sent = 0;
            while sent < ticks {
                thread::sleep(TICK);
                if ticked.load(Ordering::Acquire) == IDLE {
                    continue;
                }
                sink.send(MESSAGE_BYTES)?;
                sent += 1;
                ticked.store(sent, Ordering::Release);
            }
            Ok(())
        });
        ensure!(client.receive(MESSAGE_BYTES)?, "no request");
        ticked.store(0, Ordering::Release);
        while ticked.load(Ordering::Acquire) < ticks && !ticking.is_finished() {
            std::hint::spin_loop();
        }
        client.send(MESSAGE_BYTES)?;
        joined(ticking.join())
    })?;
    Ok(ticked.into_inner())
}
