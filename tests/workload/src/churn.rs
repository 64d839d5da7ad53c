//! Churn: short lives of one request each.
//!
//! In: how many, and whether each is a program of its own. Out: how many were lived.
//! Must not know: what is measured.

use std::{ffi::CString, io, os::unix::ffi::OsStrExt as _, path::PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use rustix::process::{Pid, WaitOptions, waitpid};
use serde::{Deserialize, Serialize};

use super::{
    Role,
    line::{Line, Variant},
    process::{Hears, PART, Part, Stage, say},
    socket::{Address, Transport},
};

const MESSAGE_BYTES: usize = 100;
/// How many programs take turns.
const PROGRAMS: u64 = 10;

/// A process is made, connects, asks once, and ends; again and again.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Churn {
    /// Processes, each with a connection.
    #[arg(long, default_value_t = 1000)]
    lives: u64,
    /// Each process is a program of its own, NAME-0 to NAME-9 in turn; without this all are forked from NAME-client.
    #[arg(long)]
    exec: bool,
    /// Each process has the id and the port of the one before; with --exec. Needs root.
    #[arg(long, requires = "exec")]
    again: bool,
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

/// Part of the process that gives all others one id and one port.
#[derive(Debug, Serialize, Deserialize)]
pub struct SameAgain {
    lives: u64,
    server: Address,
    /// Programs that they are in turn.
    programs: Vec<PathBuf>,
}

/// Part of a process that lives once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Life {
    server: Address,
    /// The port it speaks from, if it is not to be the kernel's choice.
    port: Option<u16>,
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
        let mut again = 0;
        if self.again {
            let names = (0..PROGRAMS).map(|number| format!("{}-{number}", self.name));
            let part = SameAgain {
                lives: self.lives,
                server: address,
                programs: names
                    .map(|name| stage.program(&name))
                    .collect::<Result<_, _>>()?,
            };
            let name = format!("{}-parent", self.name);
            let parent = stage.start(&name, Role::ChurnSameAgain(part), Hears::Nothing)?;
            again = parent.last_words()?;
        } else if self.exec {
            for life in 0..self.lives {
                let role = Role::ChurnLife(Life {
                    server: address.clone(),
                    port: None,
                });
                let name = format!("{}-{}", self.name, life % PROGRAMS);
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
        say(
            &serde_json::json!({ "workload": "churn", "lives": self.lives, "served": served, "again": again }),
        )
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
            port: None,
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
                _ => wait_for_child()?,
            }
        }
        Ok(())
    }
}

fn wait_for_child() -> anyhow::Result<()> {
    let ended = waitpid(None, WaitOptions::empty())?;
    let status = ended.and_then(|(_, status)| status.exit_status());
    ensure!(status == Some(0), "a child failed");
    Ok(())
}

/// An id that no process has just now.
fn free_id() -> anyhow::Result<i32> {
    // SAFETY: this process has one thread, and the child does nothing.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).context("cannot fork"),
        // SAFETY: the child ends here.
        0 => unsafe { libc::_exit(0) },
        child => {
            waitpid(Pid::from_raw(child), WaitOptions::empty())?;
            Ok(child)
        }
    }
}

/// Forks a process that has this id. Returns 0 in the child.
fn fork_as(id: i32) -> io::Result<libc::c_long> {
    let ids = [id];
    // SAFETY: all-zero arguments ask for nothing special.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.set_tid = ids.as_ptr() as u64;
    arguments.set_tid_size = 1;
    // SAFETY: the arguments are complete and outlive the call; without shared memory it is a fork.
    let child = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(child)
}

impl SameAgain {
    /// Makes one process after the other, all with one id and one port, and says how many had those of the one before.
    ///
    /// # Errors
    /// When one fails, or ids cannot be chosen.
    pub fn play(self) -> anyhow::Result<()> {
        let (free, address) = Transport::Tcp4.listen("".as_ref(), "")?;
        drop(free);
        let life = Life {
            server: self.server,
            port: Some(address.port()),
        };
        let part = serde_json::to_string(&Part::of_ours(Role::ChurnLife(life)))?;
        let [command, part] = [PART, &part].map(CString::new);
        let (command, part) = (command?, part?);
        let programs = self.programs.iter().map(|path| path.as_os_str().as_bytes());
        let programs = programs.map(CString::new).collect::<Result<Vec<_>, _>>()?;
        let (mut id, mut again) = (free_id()?, 0u64);
        for (_, program) in (0..self.lives).zip(programs.iter().cycle()) {
            let words = [program.as_ptr(), command.as_ptr(), part.as_ptr()];
            let words = [&words[..], &[std::ptr::null()]].concat();
            again += 1;
            let child = loop {
                match fork_as(id) {
                    // Somebody else has it now.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        id = free_id()?;
                        again -= 1;
                    }
                    other => break other.context("cannot choose a process id")?,
                }
            };
            if child == 0 {
                // SAFETY: all words end with a zero, the list with a null; the child does nothing else.
                unsafe {
                    libc::execv(program.as_ptr(), words.as_ptr());
                    libc::_exit(127);
                }
            }
            wait_for_child()?;
        }
        say(&again)
    }
}

impl Life {
    /// Connects, asks, and waits for the server to close.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn play(&self) -> anyhow::Result<()> {
        let socket = match self.port {
            Some(port) => Transport::Tcp4.connect_from(&self.server, port)?,
            None => Transport::Tcp4.connect(&self.server, "")?,
        };
        let mut line = Line::new(socket, Transport::Tcp4, Variant::Plain)?;
        line.send(MESSAGE_BYTES)?;
        ensure!(line.receive(MESSAGE_BYTES)?, "no answer");
        ensure!(!line.receive(MESSAGE_BYTES)?, "more than one answer");
        Ok(())
    }
}
