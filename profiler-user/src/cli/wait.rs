//! Waiting for whatever comes first: a time, a signal, the end of a command.
//!
//! In: a deadline, a child process. Out: what came first.
//! Must not know: what is done meanwhile (nothing is) or afterwards.

use std::{
    ffi::OsString,
    io,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    process::ExitStatus,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    runtime::{Builder, Runtime},
    signal::unix::{Signal as Signals, SignalKind, signal},
    time::sleep_until,
};

use crate::sys;

/// What ended a wait: whatever came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitEnd {
    /// The deadline.
    Time,
    /// SIGINT, SIGTERM, or SIGHUP unless it is ignored (`nohup`).
    Signal,
    /// The command ended.
    Ended(ExitStatus),
    /// SIGUSR1, where it is watched for.
    Keep,
}

/// A year: nobody waits longer.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Receives signals from when it is made.
#[derive(Debug)]
pub(super) struct Waiter {
    runtime: Runtime,
    interrupt: Signals,
    terminate: Signals,
    hang_up: Option<Signals>,
    keep: Option<Signals>,
}

impl Waiter {
    pub(super) fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (interrupt, terminate, hang_up) = {
            let _context = runtime.enter();
            // Asked before there is a handler: that would be the end of being ignored.
            let ignored = sys::signals::is_ignored(Signal::HUP);
            let hang_up = (!ignored).then(|| signal(SignalKind::hangup()));
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                hang_up.transpose()?,
            )
        };
        Ok(Self {
            runtime,
            interrupt,
            terminate,
            hang_up,
            keep: None,
        })
    }

    /// Watches for SIGUSR1, too.
    pub(super) fn watch_for_keep(&mut self) -> io::Result<()> {
        let _context = self.runtime.enter();
        self.keep = Some(signal(SignalKind::user_defined1())?);
        Ok(())
    }

    /// Starts a command. Its standard output can be led aside to our standard error.
    pub(super) fn spawn(&self, command: &[OsString], aside: bool) -> io::Result<Child> {
        let _context = self.runtime.enter();
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut command = Command::new(program);
        if aside {
            command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
        }
        command.args(arguments).spawn()
    }

    /// Waits.
    pub(super) fn until(
        &mut self,
        deadline: Option<Instant>,
        child: Option<&mut Child>,
    ) -> io::Result<WaitEnd> {
        let deadline = deadline.unwrap_or_else(|| Instant::now() + FOREVER);
        let ended = async {
            match child {
                Some(child) => child.wait().await,
                None => std::future::pending().await,
            }
        };
        let Self {
            runtime,
            interrupt,
            terminate,
            hang_up,
            keep,
        } = self;
        let asked_to_keep = received(keep);
        let hung_up = received(hang_up);
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = interrupt.recv() => Ok(WaitEnd::Signal),
                _ = terminate.recv() => Ok(WaitEnd::Signal),
                () = hung_up => Ok(WaitEnd::Signal),
                status = ended => status.map(WaitEnd::Ended),
                () = asked_to_keep => Ok(WaitEnd::Keep),
                () = sleep_until(deadline.into()) => Ok(WaitEnd::Time),
            }
        })
    }

    /// The exit code of a command that was measured, if there was one. It may go on for longer than is measured; a signal to us
    /// ends it, too.
    pub(super) fn outlast(&mut self, end: WaitEnd, child: Option<Child>) -> io::Result<u8> {
        match (end, child) {
            (WaitEnd::Ended(status), _) => Ok(exit_code(status)),
            (end, Some(mut child)) => {
                if end == WaitEnd::Signal {
                    send(&child, Signal::TERM);
                }
                Ok(exit_code(self.wait_for(&mut child)?))
            }
            (_, None) => Ok(0),
        }
    }

    /// Waits for the end of a command. A first signal is handed on as SIGTERM; the next one kills.
    pub(super) fn wait_for(&mut self, child: &mut Child) -> io::Result<ExitStatus> {
        let mut signal = Signal::TERM;
        loop {
            match self.until(None, Some(child))? {
                WaitEnd::Ended(status) => return Ok(status),
                WaitEnd::Keep => {}
                WaitEnd::Time | WaitEnd::Signal => {
                    send(child, signal);
                    signal = Signal::KILL;
                }
            }
        }
    }
}

/// Waits for a signal, if it is watched for.
async fn received(signals: &mut Option<Signals>) {
    match signals {
        Some(signals) => drop(signals.recv().await),
        None => std::future::pending().await,
    }
}

/// Sends a signal to a command.
pub(super) fn send(child: &Child, signal: Signal) {
    let pid = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(pid) = pid {
        // It may have ended just now; then there is nothing to ask.
        let _ = kill_process(pid, signal);
    }
}

/// A command's exit status as a shell reports it.
pub(super) fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Vec<OsString> {
        ["sh", "-c", line].map(OsString::from).to_vec()
    }

    fn status_of(line: &str) -> u8 {
        let mut waiter = Waiter::new().unwrap();
        let mut child = waiter.spawn(&command(line), false).unwrap();
        match waiter.until(None, Some(&mut child)).unwrap() {
            WaitEnd::Ended(status) => exit_code(status),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_status_is_the_commands_or_128_and_its_signal() {
        assert_eq!(status_of("exit 0"), 0);
        assert_eq!(status_of("exit 7"), 7);
        assert_eq!(status_of("kill -TERM $$"), 143);
    }

    #[test]
    fn a_deadline_passes_before_a_command_that_waits() {
        let mut waiter = Waiter::new().unwrap();
        let mut child = waiter.spawn(&command("exec sleep 1000"), false).unwrap();
        let soon = Some(Instant::now() + Duration::from_millis(1));
        assert_eq!(waiter.until(soon, Some(&mut child)).unwrap(), WaitEnd::Time);
        send(&child, Signal::TERM);
        match waiter.until(None, Some(&mut child)).unwrap() {
            WaitEnd::Ended(status) => assert_eq!(exit_code(status), 143),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_command_that_is_not_there_is_an_error() {
        let waiter = Waiter::new().unwrap();
        let error = waiter
            .spawn(&["/no/such/command".into()], false)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
