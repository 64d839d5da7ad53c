//! Polling: a client that looks for answers again and again, in one of many ways, and a server that answers after a while.
//!
//! In: how the client looks, how long answers take. Out: how often it looked in vain, and the least and the most CPU time that can
//! have gone by from the first such look to the answer's arrival, by the thread's own clock. Must not know: how any of this is
//! measured.

use std::{io, os::fd::AsRawFd as _, ptr::null_mut};

use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};
use rustix::{
    event::epoll,
    net::{self, RecvFlags},
};
use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::{
    Role,
    clock::{Span, sleep, spin, thread_cpu_ns},
    process::{Hears, Stage, say},
    socket::{Address, Transport},
};

/// Answers that somebody looks for.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Polling {
    /// How the client looks for an answer.
    #[arg(long, value_enum, default_value_t)]
    how: How,
    /// How the two are joined.
    #[arg(long, value_enum, default_value_t)]
    transport: Transport,
    /// Requests, one after the other; messages, where nobody asks for each.
    #[arg(long, default_value_t = 100)]
    requests: u64,
    /// How long an answer takes; the server sleeps.
    #[arg(long, default_value = "3ms")]
    after: Span,
    /// The processes are called NAME-server and NAME-client.
    #[arg(long, default_value = "po")]
    name: String,
}

/// A way to look for an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Receives that do not wait.
    #[default]
    Receive,
    /// The same, and lets others have the CPU each time.
    Yield,
    /// By `poll` that does not wait; then a receive.
    Poll,
    /// The same by `ppoll`.
    Ppoll,
    /// The same by `select`.
    Select,
    /// The same by `pselect`.
    Pselect,
    /// The same by `epoll_wait`.
    EpollWait,
    /// The same by `epoll_pwait`.
    EpollPwait,
    /// The same by `epoll_pwait2`.
    EpollPwait2,
    /// Sleeps until it comes.
    Block,
    /// Looks once in vain after each message, and works then; nobody asks for the messages.
    Drain,
}

/// The server's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Server {
    polling: Polling,
}

/// The client's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Client {
    polling: Polling,
    server: Address,
}

/// What the client did.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Done {
    answers: u64,
    /// Receives that found nothing.
    empty_receives: u64,
    /// Polls that found nothing, and the one by which Rust's standard library asks at start whether its three descriptors are
    /// open.
    zero_timeout_polls: u64,
    yields: u64,
    /// From the end of the first look in vain to the beginning of the last one, of each answer.
    least_ns: u64,
    /// From before the first look in vain to after the receive.
    most_ns: u64,
}

impl Polling {
    /// Lets a client look for answers, and says how often it did in vain.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(self) -> anyhow::Result<()> {
        ensure!(self.transport.accepts(), "only transports with connections");
        let stage = Stage::until_signal()?;
        let named = |end: &str| format!("{}-{end}", self.name);
        let part = Role::PollingServer(Server {
            polling: self.clone(),
        });
        let mut server = stage.start(&named("server"), part, Hears::Nothing)?;
        let address: Address = server.hear()?;
        let part = Role::PollingClient(Client {
            polling: self.clone(),
            server: address,
        });
        let client = stage.start(&named("client"), part, Hears::Nothing)?;
        let done: Done = client.last_words()?;
        server.finish()?;
        say(&serde_json::json!({ "workload": "polling", "client": done }))
    }
}

impl Server {
    /// Answers each request after a while, or sends without being asked.
    ///
    /// # Errors
    /// When the client breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let polling = self.polling;
        let dir = tempfile::tempdir()?;
        let (listener, address) = polling.transport.listen(dir.path(), "polling")?;
        say(&address)?;
        let socket = polling.transport.accept(&listener)?;
        let mut byte = [0; 1];
        for _ in 0..polling.requests {
            if polling.how != How::Drain {
                let (length, _) = net::recv(&socket, &mut byte, RecvFlags::empty())?;
                ensure!(length == 1, "the client broke off");
            }
            sleep(polling.after.ns);
            net::send(&socket, &byte, net::SendFlags::empty())?;
        }
        // Until the client has gone.
        let (length, _) = net::recv(&socket, &mut byte, RecvFlags::empty())?;
        ensure!(length == 0, "the client goes on");
        Ok(())
    }
}

impl Client {
    /// Looks for answers.
    ///
    /// # Errors
    /// When the server breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let polling = self.polling;
        let socket = polling.transport.connect(&self.server, "")?;
        let eyes = Eyes::on(&socket)?;
        let mut done = Done {
            zero_timeout_polls: 1,
            ..Done::default()
        };
        while done.answers < polling.requests {
            match polling.how {
                How::Drain => drained(&socket, polling.after.ns, &mut done)?,
                how => {
                    net::send(&socket, &[7], net::SendFlags::empty())?;
                    asked(how, &socket, &eyes, &mut done)?;
                }
            }
        }
        say(&done)
    }
}

/// Takes one message, if it is there; `None` if it is not.
fn receive(socket: &Socket, flags: RecvFlags) -> anyhow::Result<Option<()>> {
    match net::recv(socket, &mut [0; 1], flags) {
        Ok((1, _)) => Ok(Some(())),
        Ok(_) => bail!("the server broke off"),
        Err(error) if error == rustix::io::Errno::AGAIN => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits for one message, looks whether there is another one, and works.
fn drained(socket: &Socket, work_ns: u64, done: &mut Done) -> anyhow::Result<()> {
    receive(socket, RecvFlags::empty())?;
    done.answers += 1;
    match receive(socket, RecvFlags::DONTWAIT)? {
        Some(()) => done.answers += 1,
        None => done.empty_receives += 1,
    }
    spin(work_ns * 3 / 2);
    Ok(())
}

/// Looks for one answer until it is there.
fn asked(how: How, socket: &Socket, eyes: &Eyes, done: &mut Done) -> anyhow::Result<()> {
    let before_ns = thread_cpu_ns();
    let mut in_vain = 0;
    let (mut first_ns, mut last_ns) = (0, 0);
    loop {
        let now_ns = thread_cpu_ns();
        if eyes.look(how, socket, done)? {
            break;
        }
        last_ns = now_ns;
        in_vain += 1;
        if in_vain == 1 {
            first_ns = thread_cpu_ns();
        }
    }
    done.answers += 1;
    let after_ns = thread_cpu_ns();
    if in_vain > 1 {
        done.least_ns += last_ns - first_ns;
        done.most_ns += after_ns - before_ns;
    }
    Ok(())
}

/// What a client looks with.
struct Eyes {
    epoll: rustix::fd::OwnedFd,
    socket: i32,
}

impl Eyes {
    fn on(socket: &Socket) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(0);
        epoll::add(&epoll, socket, data, epoll::EventFlags::IN)?;
        Ok(Self {
            epoll,
            socket: socket.as_raw_fd(),
        })
    }

    /// Looks once; whether the answer is taken.
    fn look(&self, how: How, socket: &Socket, done: &mut Done) -> anyhow::Result<bool> {
        let flags = match how {
            How::Block => RecvFlags::empty(),
            How::Receive | How::Yield => RecvFlags::DONTWAIT,
            _ => {
                if !self.poll(how)? {
                    done.zero_timeout_polls += 1;
                    return Ok(false);
                }
                RecvFlags::empty()
            }
        };
        if receive(socket, flags)?.is_some() {
            return Ok(true);
        }
        done.empty_receives += 1;
        if how == How::Yield {
            rustix::thread::sched_yield();
            done.yields += 1;
        }
        Ok(false)
    }

    /// Whether there is something to read, by a call that does not wait.
    fn poll(&self, how: How) -> io::Result<bool> {
        let mut fd = libc::pollfd {
            fd: self.socket,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let epoll = self.epoll.as_raw_fd();
        let at_once = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: all bits zero are an empty set.
        let mut set: libc::fd_set = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is a small number.
        unsafe { libc::FD_SET(self.socket, &raw mut set) };
        // SAFETY: all pointers are null or to what lives here, for one descriptor and one event each.
        let found = unsafe {
            match how {
                How::Poll => libc::poll(&raw mut fd, 1, 0),
                How::Ppoll => libc::ppoll(&raw mut fd, 1, &raw const at_once, null_mut()),
                How::Select => {
                    let mut at_once = libc::timeval {
                        tv_sec: 0,
                        tv_usec: 0,
                    };
                    libc::select(
                        self.socket + 1,
                        &raw mut set,
                        null_mut(),
                        null_mut(),
                        &raw mut at_once,
                    )
                }
                How::Pselect => libc::pselect(
                    self.socket + 1,
                    &raw mut set,
                    null_mut(),
                    null_mut(),
                    &raw const at_once,
                    null_mut(),
                ),
                How::EpollPwait => libc::epoll_pwait(epoll, &raw mut event, 1, 0, null_mut()),
                How::EpollPwait2 => {
                    let none: *const libc::sigset_t = null_mut();
                    let (at_once, size) = (&raw const at_once, 8_usize);
                    let found = libc::syscall(
                        libc::SYS_epoll_pwait2,
                        epoll,
                        &raw mut event,
                        1,
                        at_once,
                        none,
                        size,
                    );
                    i32::from(found > 0) - i32::from(found < 0)
                }
                _ => libc::epoll_wait(epoll, &raw mut event, 1, 0),
            }
        };
        match found {
            0 => Ok(false),
            1.. => Ok(true),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
