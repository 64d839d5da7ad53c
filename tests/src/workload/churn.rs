//! Churn: short lives of one request each.
//!
//! In: how many, and whether each is a program of its own. Out: how many were lived.
//! Must not know: what is measured.

use anyhow::{Context as _, ensure};
use clap::Args;
use rustix::process::{WaitOptions, waitpid};
use serde::{Deserialize, Serialize};

use super::{
    Role,
    line::{Line, Variant},
    process::{Hears, Stage, say},
    socket::{Address, Transport},
};

const MESSAGE_BYTES: usize = 100;

/// A process is made, connects, asks once, and ends; again and again.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Churn {
    /// Processes, each with a connection.
    #[arg(long, default_value_t = 1000)]
    lives: u64,
    /// Each process is a program of its own, NAME-0 to NAME-9 in turn; without this all are forked from NAME-client.
    #[arg(long)]
    exec: bool,
    /// The server is called NAME-server.
    #[arg(long, default_value = "churn")]
    name: String,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Server {
    lives: u64,
}

/// Part of the process that forks the others.
#[derive(Debug, Serialize, Deserialize)]
pub struct Parent {
    lives: u64,
    server: Address,
}

/// Part of a process that lives once.
#[derive(Debug, Serialize, Deserialize)]
pub struct Life {
    server: Address,
}

impl Churn {
    /// Lets all of them live and says how many did.
    ///
    /// # Errors
    /// When one fails.
    pub fn run(self) -> anyhow::Result<()> {
        let stage = Stage::until_signal()?;
        let part = Role::ChurnServer(Server { lives: self.lives });
        let mut server = stage.start(&format!("{}-server", self.name), part, Hears::Nothing)?;
        let address: Address = server.hear()?;
        if self.exec {
            for life in 0..self.lives {
                let role = Role::ChurnLife(Life {
                    server: address.clone(),
                });
                let name = format!("{}-{}", self.name, life % 10);
                stage.start(&name, role, Hears::Nothing)?.finish()?;
            }
        } else {
            let part = Parent {
                lives: self.lives,
                server: address,
            };
            let name = format!("{}-client", self.name);
            let parent = stage.start(&name, Role::ChurnParent(part), Hears::Nothing)?;
            parent.finish()?;
        }
        let served: u64 = server.last_words()?;
        say(&serde_json::json!({ "workload": "churn", "lives": self.lives, "served": served }))
    }
}

impl Server {
    /// Answers one request on each connection, then says how many.
    ///
    /// # Errors
    /// When a client breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let (listener, address) = Transport::Tcp4.listen("".as_ref(), "")?;
        say(&address)?;
        let mut served = 0u64;
        while served < self.lives {
            let socket = Transport::Tcp4.accept(&listener)?;
            let mut line = Line::new(socket, Transport::Tcp4, Variant::Plain)?;
            ensure!(line.receive(MESSAGE_BYTES)?, "a client did not ask");
            line.send(MESSAGE_BYTES)?;
            served += 1;
            // This end closes first: the ports that wait for stray segments are not the clients', who run out of them.
        }
        say(&served)
    }
}

impl Parent {
    /// Forks a process for each life, one after the other.
    ///
    /// # Errors
    /// When one fails.
    pub fn play(self) -> anyhow::Result<()> {
        let life = Life {
            server: self.server,
        };
        for _ in 0..self.lives {
            // SAFETY: this process has one thread, so the child's memory is whole.
            match unsafe { libc::fork() } {
                -1 => return Err(std::io::Error::last_os_error()).context("cannot fork"),
                0 => {
                    let lived = life.play();
                    // SAFETY: the child ends here; nothing of the parent's is to be run or flushed.
                    unsafe { libc::_exit(i32::from(lived.is_err())) }
                }
                _ => {
                    let ended = waitpid(None, WaitOptions::empty())?;
                    let status = ended.and_then(|(_, status)| status.exit_status());
                    ensure!(status == Some(0), "a child failed");
                }
            }
        }
        Ok(())
    }
}

impl Life {
    /// Connects, asks, and waits for the server to close.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn play(&self) -> anyhow::Result<()> {
        let socket = Transport::Tcp4.connect(&self.server, "")?;
        let mut line = Line::new(socket, Transport::Tcp4, Variant::Plain)?;
        line.send(MESSAGE_BYTES)?;
        ensure!(line.receive(MESSAGE_BYTES)?, "no answer");
        ensure!(!line.receive(MESSAGE_BYTES)?, "more than one answer");
        Ok(())
    }
}
