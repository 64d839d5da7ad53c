//! Proves at start that the programs read the right fields: our own task and a socket of our own, against /proc and
//! the socket's own addresses. Silent corruption becomes a refusal.
//!
//! In: loaded programs. Out: nothing, or what differs. Must not know: how offsets are found.

#![expect(
    clippy::disallowed_methods,
    reason = "here bytes from the kernel are decoded"
)]

use std::{
    io,
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    path::Path,
};

use aya::maps::Array;
use courtside_wire::SelfCheck;
use zerocopy::{FromBytes, IntoBytes};

use crate::{
    probe::load::{LoadError, Loaded},
    sys::host::in_first_pid_namespace,
};

const RECORD: usize = size_of::<SelfCheck>();

/// What differs from what we know of ourselves.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The check could not be run.
    #[error("the self-check could not run: {0}")]
    Io(#[from] std::io::Error),
    /// The map is not there.
    #[error("the self-check could not run: {0}")]
    Map(#[from] aya::maps::MapError),
    /// An iterator did not run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A field is not what it should be.
    #[error(
        "self-check failed: {field} read from the kernel is {read}, but it is {known}. The kernel's BTF does not \
         describe this kernel; nothing was measured. Compare `uname -r` with the installed kernel"
    )]
    Differs {
        /// Name of the field.
        field: &'static str,
        /// As the programs read it.
        read: String,
        /// As it is.
        known: String,
    },
}

/// Looks at every task and socket once with `walk`, and compares what it read of us.
///
/// # Errors
/// When a field differs, or the check could not run.
pub fn check(
    loaded: &mut Loaded,
    walk: impl FnOnce(&mut Loaded) -> Result<(), LoadError>,
) -> Result<(), CheckError> {
    // In a network namespace where loopback is down nothing can be connected; a port can be had all the same.
    let own = Own::connected().or_else(|_| Own::bound())?;
    let (port, remote_port) = (own.port, own.remote_port);
    let tgid = std::process::id();
    let want = SelfCheck {
        want_tgid: tgid,
        want_port: port,
        ..SelfCheck::default()
    };
    write(loaded, &want)?;
    walk(loaded)?;
    let read = read(loaded)?;
    let stat = procfs::process::Process::myself()
        .and_then(|own| own.stat())
        .map_err(std::io::Error::other)?;
    // In a process-id namespace of its own this process does not know by which number the kernel knows it.
    let is_known = in_first_pid_namespace(Path::new("/")) != Some(false);
    if read.seen == 0 && (!loaded.works("iter_tasks") || !is_known) {
        return Ok(());
    }
    let tick_ns = 1_000_000_000 / procfs::ticks_per_second();
    let comm = String::from_utf8_lossy(&read.comm)
        .trim_end_matches('\0')
        .to_owned();
    let same = [
        ("task_struct.tgid", read.tgid.to_string(), tgid.to_string()),
        ("task_struct.comm", comm, stat.comm.clone()),
        (
            "task_struct.start_boottime",
            (read.start_boottime_ns / tick_ns).to_string(),
            stat.starttime.to_string(),
        ),
    ];
    let sockets = [
        (
            "sock_common.skc_num",
            read.port.to_string(),
            port.to_string(),
        ),
        (
            "sock_common.skc_dport",
            read.remote_port.to_string(),
            remote_port.to_string(),
        ),
        (
            "sock_common.skc_family",
            read.family.to_string(),
            libc::AF_INET.to_string(),
        ),
    ];
    let sockets: &[_] = if loaded.works("iter_sockets") {
        &sockets
    } else {
        &[]
    };
    match same
        .iter()
        .chain(sockets)
        .find(|(_, read, known)| read != known)
    {
        None => Ok(()),
        Some((field, read, known)) => Err(CheckError::Differs {
            field,
            read: read.clone(),
            known: known.clone(),
        }),
    }
}

/// A socket of our own, as we know it. It is open while this lives.
struct Own {
    port: u16,
    remote_port: u16,
    _sockets: (Option<(TcpListener, TcpStream)>, Option<UdpSocket>),
}

impl Own {
    fn connected() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        Ok(Self {
            port: client.local_addr()?.port(),
            remote_port: listener.local_addr()?.port(),
            _sockets: (Some((listener, client)), None),
        })
    }

    fn bound() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        Ok(Self {
            port: socket.local_addr()?.port(),
            remote_port: 0,
            _sockets: (None, Some(socket)),
        })
    }
}

fn write(loaded: &mut Loaded, want: &SelfCheck) -> Result<(), CheckError> {
    let map = loaded
        .ebpf
        .map_mut("SELF_CHECK")
        .ok_or_else(|| std::io::Error::other("no map SELF_CHECK"))?;
    let mut map: Array<_, [u8; RECORD]> = map.try_into()?;
    let mut bytes = [0; RECORD];
    bytes.copy_from_slice(want.as_bytes());
    map.set(0, bytes, 0)?;
    Ok(())
}

fn read(loaded: &Loaded) -> Result<SelfCheck, CheckError> {
    let map = loaded
        .ebpf
        .map("SELF_CHECK")
        .ok_or_else(|| std::io::Error::other("no map SELF_CHECK"))?;
    let map: Array<_, [u8; RECORD]> = map.try_into()?;
    let bytes = map.get(&0, 0)?;
    SelfCheck::read_from_bytes(&bytes)
        .map_err(|error| std::io::Error::other(error.to_string()).into())
}
