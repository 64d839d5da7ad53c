//! Workers: processes forked from one program, each of which serves a known number of requests.
//!
//! In: how many. Out: their ids and how many requests each served. Must not know: what is measured.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
};

use anyhow::Context as _;
use clap::Args;
use rustix::process::{WaitOptions, waitpid};
use serde::{Deserialize, Serialize};

use super::{
    Role,
    process::{Hears, Stage, say},
};

const MESSAGE_BYTES: usize = 100;

/// Worker N of NAME-server serves 100 times N requests.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Workers {
    #[arg(long, default_value_t = 4)]
    workers: u32,
    #[arg(long, default_value = "workers")]
    name: String,
}

/// Part of the process that forks them.
#[derive(Debug, Serialize, Deserialize)]
pub struct Parent {
    workers: u32,
}

/// What a worker says of itself: its id, its port, and how many requests it will serve.
type Worker = (u32, u16, u32);

impl Workers {
    /// Asks each worker as often as it wants, and says who they were.
    ///
    /// # Errors
    /// When one breaks off.
    pub fn run(self) -> anyhow::Result<()> {
        let stage = Stage::until_signal()?;
        let part = Role::WorkersParent(Parent {
            workers: self.workers,
        });
        let name = format!("{}-server", self.name);
        let mut parent = stage.start(&name, part, Hears::Nothing)?;
        let mut workers = Vec::new();
        for _ in 0..self.workers {
            let worker: Worker = parent.hear()?;
            workers.push(worker);
        }
        for (_, port, requests) in &workers {
            let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?;
            let mut message = [7; MESSAGE_BYTES];
            for _ in 0..*requests {
                socket.write_all(&message)?;
                socket.read_exact(&mut message)?;
            }
        }
        parent.finish()?;
        say(&serde_json::json!({ "workload": "workers", "workers": workers }))
    }
}

impl Parent {
    /// Forks all workers and waits for their ends.
    ///
    /// # Errors
    /// When one fails.
    pub fn play(self) -> anyhow::Result<()> {
        for number in 1..=self.workers {
            // SAFETY: this process has one thread, so the child's memory is whole.
            match unsafe { libc::fork() } {
                -1 => return Err(std::io::Error::last_os_error()).context("cannot fork"),
                0 => {
                    let served = serve(100 * number);
                    // SAFETY: the child ends here; nothing of the parent's is to be run or flushed.
                    unsafe { libc::_exit(i32::from(served.is_err())) }
                }
                _ => {}
            }
        }
        for _ in 0..self.workers {
            waitpid(None, WaitOptions::empty())?;
        }
        Ok(())
    }
}

fn serve(requests: u32) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let worker: Worker = (std::process::id(), listener.local_addr()?.port(), requests);
    say(&worker)?;
    let (mut socket, _) = listener.accept()?;
    let mut message = [0; MESSAGE_BYTES];
    for _ in 0..requests {
        socket.read_exact(&mut message)?;
        socket.write_all(&message)?;
    }
    Ok(())
}
