//! What the host has of all that Courtside needs or uses.
//!
//! In: files below a root. Out: one [`Check`] each. Must not know: how it is shown.

use std::{fs, path::Path};

use caps::Capability;
use courtside_wire::Offsets;

use super::report::{Check, State};
use crate::{
    probe::{self, facts::Facts},
    sys::{
        btf::BtfError,
        host::{
            KernelVersion, MEMLOCK_FREE_SINCE, in_first_pid_namespace, lift_locked_memory, line,
        },
        privileges::Privileges,
    },
};

/// What the kernel maps may take where they are charged to it.
const MEMLOCK_BYTES: u64 = 256 << 20;

/// Everything that can be checked without attaching, in the order in which it is needed.
pub(super) fn checks(root: &Path, cpus: u32, facts: &Result<Facts, BtfError>) -> Vec<Check> {
    let privileges = Privileges::read(root);
    [
        Some(kernel(root)),
        Some(object()),
        Some(capabilities(&privileges)),
        lockdown(root),
        pid_namespace(root),
        memlock(root),
        Some(btf(facts)),
        Some(tracefs(root)),
        paranoid(root, &privileges),
        Some(pmu(&privileges, cpus)),
        protocols(root),
        Some(spliced(facts)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn kernel(root: &Path) -> Check {
    let release = line(&root.join("proc/sys/kernel/osrelease")).unwrap_or_default();
    Check::ok("kernel", release)
}

fn object() -> Check {
    const NAME: &str = "eBPF object";
    match probe::OBJECT.len() {
        0 => Check::bad(
            State::Missing,
            NAME,
            "this build has none in it",
            "cargo xtask build --release",
        ),
        bytes => Check::ok(NAME, format!("in this build, {} KiB", bytes >> 10)),
    }
}

fn capabilities(privileges: &Privileges) -> Check {
    const NAME: &str = "capabilities";
    match privileges.missing() {
        Some(missing) => Check::bad(
            State::Missing,
            NAME,
            format!("{} missing", missing.names.join(", ")),
            format!("run as root, or once: {}", missing.command),
        ),
        None => Check::ok(NAME, "all that are needed; given up after the attach"),
    }
}

/// A locked kernel shows nothing of itself, whatever the capabilities.
fn lockdown(root: &Path) -> Option<Check> {
    const NAME: &str = "lockdown";
    let modes = line(&root.join("sys/kernel/security/lockdown"))?;
    Some(if modes.contains("[confidentiality]") {
        Check::bad(
            State::Missing,
            NAME,
            "the kernel is locked down for confidentiality and refuses programs that read its memory",
            "boot with lockdown=integrity on the kernel's command line",
        )
    } else {
        Check::ok(NAME, modes)
    })
}

fn pid_namespace(root: &Path) -> Option<Check> {
    const NAME: &str = "process ids";
    Some(if in_first_pid_namespace(root)? {
        Check::ok(NAME, "as the kernel counts them")
    } else {
        Check::bad(
            State::Degraded,
            NAME,
            "this is a process-id namespace of its own: other processes are shown with short names, and -p means other processes",
            "run on the host, or in a container started with --pid=host",
        )
    })
}

fn memlock(root: &Path) -> Option<Check> {
    const NAME: &str = "locked memory";
    if KernelVersion::read(root)? >= MEMLOCK_FREE_SINCE {
        return None;
    }
    let _lifted = lift_locked_memory(root);
    let limits = fs::read_to_string(root.join("proc/self/limits")).ok()?;
    let soft = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))?
        .split_whitespace()
        .next()?;
    let enough = soft == "unlimited" || soft.parse().is_ok_and(|bytes: u64| bytes >= MEMLOCK_BYTES);
    Some(if enough {
        Check::ok(NAME, soft)
    } else {
        Check::bad(
            State::Missing,
            NAME,
            format!("{soft} bytes; before kernel 5.11 maps are charged to it"),
            "ulimit -l unlimited",
        )
    })
}

fn btf(facts: &Result<Facts, BtfError>) -> Check {
    const NAME: &str = "BTF";
    let missing = match facts {
        Ok(facts) => &facts.missing,
        Err(error) => {
            return Check::bad(
                State::Missing,
                NAME,
                error.to_string(),
                "boot a kernel of your distribution; all recent ones have BTF",
            );
        }
    };
    let all = Offsets::TABLE.len();
    if missing.is_empty() {
        return Check::ok(NAME, format!("all {all} fields found"));
    }
    let names: Vec<&str> = missing.keys().map(String::as_str).collect();
    Check::bad(
        State::Degraded,
        NAME,
        format!(
            "{} of {all} fields not found: {}",
            names.len(),
            names.join(", ")
        ),
        "a newer kernel; see below which probes need them",
    )
}

fn tracefs(root: &Path) -> Check {
    let mounted = ["sys/kernel/tracing", "sys/kernel/debug/tracing"]
        .iter()
        .any(|path| root.join(path).join("events").exists());
    Check::ok(
        "tracefs",
        if mounted {
            "mounted, but not needed"
        } else {
            "not mounted, and not needed: the hooks are found in BTF"
        },
    )
}

/// How much of the machine's counters is for processes without the capability.
fn paranoid(root: &Path, privileges: &Privileges) -> Option<Check> {
    const NAME: &str = "perf_event_paranoid";
    let level = line(&root.join("proc/sys/kernel/perf_event_paranoid"))?;
    Some(if privileges.permits(Capability::CAP_PERFMON) {
        Check::ok(NAME, format!("{level}, not in the way"))
    } else {
        Check::bad(
            State::Degraded,
            NAME,
            format!("{level}: hardware counters are refused without cap_perfmon"),
            privileges.command(),
        )
    })
}

fn pmu(privileges: &Privileges, cpus: u32) -> Check {
    const NAME: &str = "PMU";
    if !privileges.permits(Capability::CAP_PERFMON) {
        return Check::bad(
            State::Degraded,
            NAME,
            "not known without cap_perfmon",
            privileges.command(),
        );
    }
    match probe::pmu::open(cpus) {
        Ok(counters) if counters.has_llc => Check::ok(NAME, "cycles, instructions, cache"),
        Ok(_) => Check::ok(NAME, "cycles, instructions; no cache events"),
        Err(reason) => Check::bad(
            State::Degraded,
            NAME,
            format!("{reason}; CPI stays unknown"),
            "run on hardware, or give the virtual machine a PMU (QEMU: -cpu host,pmu=on)",
        ),
    }
}

/// Protocols that are placed, and those of sockets that are no connections, as the kernel names them.
const NOT_AMISS: [&str; 23] = [
    "TCP",
    "TCPv6",
    "MPTCP",
    "MPTCPv6",
    "UDP",
    "UDPv6",
    "UDP-Lite",
    "UDPLITE",
    "UDPLITEv6",
    "UNIX",
    "UNIX-STREAM",
    "UNIX-DGRAM",
    "NETLINK",
    "PACKET",
    "PING",
    "PINGv6",
    "RAW",
    "RAWv6",
    "XDP",
    "ALG",
    "aead",
    "KEY",
    "BPF",
];

/// What no hook sees: calls that take data from a socket and are not receives.
fn spliced(facts: &Result<Facts, BtfError>) -> Check {
    let seen = facts.as_ref().is_ok_and(|facts| {
        ["tcp_copied_seq", "tcp_ulp", "sock_shutdown"]
            .iter()
            .all(|field| !facts.missing.contains_key(*field))
    });
    Check::ok(
        "splice, sendfile",
        if seen {
            "only the bytes of what they take from TCP sockets are counted; its edges are lower bounds"
        } else {
            "what they take from sockets is not counted"
        },
    )
}

/// Protocols that programs use here, in this network namespace, and that are on no edge.
fn protocols(root: &Path) -> Option<Check> {
    let text = fs::read_to_string(root.join("proc/net/protocols")).ok()?;
    let used: Vec<&str> = text
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, sockets) = (words.next()?, words.nth(1)?);
            let sockets: i64 = sockets.parse().ok()?;
            (sockets > 0 && !NOT_AMISS.contains(&name)).then_some(name)
        })
        .collect();
    let said = "sends and receives on them are on no edge and count as lost (unplaced_protocol)";
    Some(Check::ok(
        "protocols",
        if used.is_empty() {
            "TCP, MPTCP, UDP, UDP-Lite, Unix; no others are in use here".to_owned()
        } else {
            format!("in use here and not placed: {}; {said}", used.join(", "))
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_locked_kernel_is_told_apart_from_an_open_one() {
        let with = |modes| {
            let root = host(&[("sys/kernel/security/lockdown", modes)]);
            lockdown(root.path()).unwrap().state
        };
        assert_eq!(with("none integrity [confidentiality]\n"), State::Missing);
        assert_eq!(with("none [integrity] confidentiality\n"), State::Ok);
        assert_eq!(lockdown(host(&[]).path()), None);
    }

    #[test]
    fn locked_memory_matters_on_old_kernels_only() {
        let with = |release, limit| {
            let limits =
                format!("Limit  Soft Hard\nMax locked memory         {limit}   {limit}   bytes\n");
            let files = [
                ("proc/sys/kernel/osrelease", release),
                ("proc/self/limits", limits.as_str()),
            ];
            memlock(host(&files).path()).map(|check| check.state)
        };
        assert_eq!(with("5.10.0", "65536"), Some(State::Missing));
        assert_eq!(with("5.10.0", "unlimited"), Some(State::Ok));
        assert_eq!(with("5.11.0", "65536"), None);
    }

    #[test]
    fn without_capabilities_the_command_that_grants_them_is_shown() {
        let root = host(&[("proc/self/status", "CapEff:\t0\n")]);
        let check = capabilities(&Privileges::read(root.path()));
        assert_eq!(check.state, State::Missing);
        assert!(check.fix.unwrap().contains("sudo setcap cap_bpf"));
    }

    #[test]
    fn a_process_id_namespace_of_its_own_is_noticed() {
        let root = host(&[("proc/self/ns/x", "")]);
        let link = root.path().join("proc/self/ns/pid");
        std::os::unix::fs::symlink("pid:[4026532000]", &link).unwrap();
        assert_eq!(pid_namespace(root.path()).unwrap().state, State::Degraded);
    }

    #[test]
    fn protocols_that_are_on_no_edge_are_named() {
        let table = "protocol  size sockets  memory press\nSCTP 1 2 0 no\nTCP 1 9 0 no\nAF_VSOCK 1 0 0 no\n";
        let root = host(&[("proc/net/protocols", table)]);
        let check = protocols(root.path()).unwrap();
        assert!(
            check
                .found
                .starts_with("in use here and not placed: SCTP; ")
        );
        let root = host(&[("proc/net/protocols", "protocol\nTCP 1 9 0 no\n")]);
        assert!(protocols(root.path()).unwrap().found.contains("no others"));
    }

    #[test]
    fn a_host_without_btf_is_told_so() {
        let root = host(&[]);
        let check = btf(&Facts::read(root.path()));
        assert_eq!(check.state, State::Missing);
        assert!(check.found.contains("CONFIG_DEBUG_INFO_BTF"));
    }
}
