//! System: what an init does, and the kernel's log.
//!
//! In: a machine that has just booted. Out: mounts, loopback, complaints of the kernel. Must not know: Courtside.

use std::{
    env,
    ffi::CStr,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read as _},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rustix::{
    mount::{MountFlags, mount},
    net::{AddressFamily, SocketType, socket},
    system::{RebootCommand, reboot},
};

const MOUNTS: [(&str, &str); 6] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tracefs", "/sys/kernel/tracing"),
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
];
/// Kernel messages from this level up are complaints; less is less (`KERN_WARNING`).
const WARNING: u64 = 4;
/// What a kernel complains of when the machine is slow: it is emulated, and its host has other things to do.
const SLOWNESS: [&str; 5] = [
    "clocksource: ",
    "hrtimer: interrupt took",
    "perf: interrupt took too long",
    "sched_clock: Marking unstable",
    "TSC found unstable after boot",
];

/// Mounts what programs expect, and brings loopback up.
///
/// # Errors
/// When the kernel lacks something of that.
pub fn set_up() -> anyhow::Result<()> {
    for (kind, at) in MOUNTS {
        fs::create_dir_all(at).with_context(|| format!("cannot create {at}"))?;
        match mount(kind, at, kind, MountFlags::empty(), None::<&CStr>) {
            // The kernel mounts some file systems itself.
            Ok(()) | Err(rustix::io::Errno::BUSY) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot mount {at}")),
        }
    }
    fs::create_dir_all("/tmp")?;
    loopback_up().context("cannot bring loopback up")?;
    // SAFETY: no other thread runs yet.
    unsafe {
        env::set_var("COURTSIDE", "/bin/courtside");
        env::set_var("COURTSIDE_WORKLOAD", "/bin/courtside-workload");
        env::set_var("PATH", "/bin");
        env::set_var("TMPDIR", "/tmp");
    }
    Ok(())
}

fn loopback_up() -> anyhow::Result<()> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: all-zero is a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING)?;
    // SAFETY: the request is complete and outlives the call.
    let result = unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) };
    ensure!(result == 0, std::io::Error::last_os_error());
    Ok(())
}

/// Ends the machine.
pub fn power_off() -> ! {
    // The console is slow; what was said must be out before the power is.
    let _ = std::io::Write::flush(&mut std::io::stdout());
    std::thread::sleep(Duration::from_millis(100));
    let _ = reboot(RebootCommand::PowerOff);
    std::process::exit(1)
}

/// The kernel's log, from where it was last read.
pub struct KernelLog {
    messages: File,
}

impl KernelLog {
    /// The log from its beginning.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open() -> anyhow::Result<Self> {
        let messages = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .context("cannot open /dev/kmsg")?;
        Ok(Self { messages })
    }

    /// Complaints since it was last read.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&mut self) -> anyhow::Result<Vec<String>> {
        let mut complaints = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.messages.read(&mut record) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
                    complaints.extend(complaint(&text));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(complaints),
                // Overwritten before it was read.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {
                    complaints.push("messages of the kernel were lost".to_owned());
                }
                Err(error) => return Err(error).context("cannot read /dev/kmsg"),
            }
        }
    }
}

/// The text of a record `priority,sequence,time,flags;text` if it is a complaint.
fn complaint(record: &str) -> Option<String> {
    let (head, text) = record.split_once(';')?;
    let priority: u64 = head.split(',').next()?.parse().ok()?;
    // The facility is in the upper bits.
    let slow = SLOWNESS.iter().any(|slow| text.starts_with(slow));
    (priority & 7 <= WARNING && !slow).then(|| text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_and_worse_are_complaints() {
        assert_eq!(complaint("6,339,514,-;all is well\n"), None);
        let found = complaint("4,340,515,-;WARNING: CPU: 0\n SUBSYSTEM=x\n");
        assert_eq!(found.as_deref(), Some("WARNING: CPU: 0"));
        assert_eq!(
            complaint("4,1,5,-;clocksource: Long readout interval\n"),
            None
        );
        let of_a_program = complaint("11,341,516,-;systemd: no\n");
        assert_eq!(of_a_program.as_deref(), Some("systemd: no"));
    }
}
