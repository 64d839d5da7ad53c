//! Hand-made frames with known answers, for tests.

use courtside_wire::{PEER_REMOTE, hist::bucket_of};

use crate::frame::{
    Cost, Cpu, DistRaw, Flow, Frame, Host, Image, PartsRaw, Process, Remote, Role, Transport,
};

/// A distribution of the given values.
pub(crate) fn raw(values: impl IntoIterator<Item = u64>) -> DistRaw {
    let mut values: Vec<u64> = values.into_iter().collect();
    values.sort_unstable();
    let mut raw = DistRaw {
        sum_ns: values.iter().sum(),
        min_ns: values.first().copied().unwrap_or(0),
        max_ns: values.last().copied().unwrap_or(0),
        buckets: Vec::new(),
    };
    for value in values {
        let bucket = bucket_of(value) as u16;
        match raw.buckets.last_mut() {
            Some((last, n)) if *last == bucket => *n += 1,
            _ => raw.buckets.push((bucket, 1)),
        }
    }
    raw
}

/// `n` times the same value.
pub(crate) fn times(n: u64, value: u64) -> DistRaw {
    raw(std::iter::repeat_n(value, n as usize))
}

/// An image of one process; its tgid is a hundred times its number.
pub(crate) fn image(id: u32, program: &str, listens: &[u16]) -> Image {
    Image {
        id,
        program: program.to_owned(),
        cgroup: "/".to_owned(),
        processes: vec![Process {
            tgid: id * 100,
            comm: program.to_owned(),
        }],
        listens: listens.to_vec(),
        ..Image::default()
    }
}

/// Number of the n-th remote end.
pub(crate) fn remote(n: u32) -> u32 {
    PEER_REMOTE | n
}

/// What one end did on one edge: `n` exchanges of one message of 100 bytes out and one of 1000 back (for the
/// initiator), each answer after `answer_ns`, each send after the turnaround `parts` in that end's court.
pub(crate) fn flow(
    (image, peer, port): (u32, u32, u16),
    role: Role,
    n: u64,
    answer_ns: u64,
    parts: PartsRaw,
) -> Flow {
    let total =
        parts.on_cpu_ns + parts.run_queue_ns + parts.block_io_ns + parts.sleep_ns + parts.queued_ns;
    let (sent, received) = if role == Role::Acceptor {
        (1000, 100)
    } else {
        (100, 1000)
    };
    let turnarounds = if total > 0 { n } else { 0 };
    let all = |ns: u64| ns * turnarounds;
    Flow {
        image,
        peer,
        port,
        transport: if port == 0 {
            Transport::Unix
        } else {
            Transport::Tcp
        },
        role,
        messages_sent: n,
        messages_received: n,
        bytes_sent: n * sent,
        bytes_received: n * received,

        answered: if role == Role::Unknown { 0 } else { n },
        turnarounds,
        turnaround_parts: PartsRaw {
            on_cpu_ns: all(parts.on_cpu_ns),
            run_queue_ns: all(parts.run_queue_ns),
            block_io_ns: all(parts.block_io_ns),
            sleep_ns: all(parts.sleep_ns),
            queued_ns: all(parts.queued_ns),
        },
        answer: if role == Role::Unknown {
            DistRaw::default()
        } else {
            times(n, answer_ns)
        },
        turnaround: times(turnarounds, total),
        ..Flow::default()
    }
}

/// A frame of one second with these images, remote ends (`address`, `port`; numbered from 1) and flows.
pub(crate) fn frame(images: Vec<Image>, remotes: &[(&str, u16)], flows: Vec<Flow>) -> Frame {
    Frame {
        host: Host {
            hostname: "web01".to_owned(),
            kernel: "6.18".to_owned(),
            arch: "x86_64".to_owned(),
            cpus: 2,
            boot_id: "0".to_owned(),
        },
        start_unix_ns: 1_700_000_000_000_000_000,
        duration_ns: 1_000_000_000,
        cost: Cost {
            user_cpu_ns: 4_000_000,
            rss_bytes: 20_000_000,
            ..Cost::default()
        },
        images,
        remotes: (1..)
            .zip(remotes)
            .map(|(n, &(address, port))| Remote {
                id: remote(n),
                address: address.to_owned(),
                port,
            })
            .collect(),
        flows,
        ..Frame::default()
    }
}

/// Nothing in any court.
pub(crate) const NONE: PartsRaw = PartsRaw {
    on_cpu_ns: 0,
    run_queue_ns: 0,
    block_io_ns: 0,
    sleep_ns: 0,
    queued_ns: 0,
};

/// Only computing.
pub(crate) fn cpu(on_cpu_ns: u64) -> PartsRaw {
    PartsRaw { on_cpu_ns, ..NONE }
}

pub(crate) const LOAD: u32 = 2;
pub(crate) const WEB: u32 = 3;
pub(crate) const APP: u32 = 4;
pub(crate) const STORE: u32 = 5;

/// The relay chain load → web → app → store: each of `n` requests to web costs 2 roundtrips to app, each of which
/// costs 3 to store. All numbers are exactly consistent, in nanoseconds a request:
///
/// | court | once | sends a request | sum |
/// |---|---|---|---|
/// | store | 100 000 (20 000 on-CPU, 80 000 disk) | 6 | 600 000 |
/// | app towards store | 50 000 (40 000 on-CPU, 10 000 run queue) | 6 | 300 000 |
/// | app towards web | 100 000 (60 000 on-CPU, 30 000 sleep, 10 000 queued) | 2 | 200 000 |
/// | web towards app | 30 000 on-CPU | 2 | 60 000 |
/// | web towards load | 40 000 on-CPU | 1 | 40 000 |
/// | network app → store | 5 000 | 6 | 30 000 |
/// | network web → app | 20 000 | 2 | 40 000 |
///
/// Service times: store 100 000, app 3 × (50 000 + 105 000) + 100 000 = 565 000,
/// web 2 × (30 000 + 585 000) + 40 000 = 1 270 000.
pub(crate) fn chain(n: u64) -> Frame {
    let app_to_store = PartsRaw {
        on_cpu_ns: 40_000,
        run_queue_ns: 10_000,
        ..NONE
    };
    let app_to_web = PartsRaw {
        on_cpu_ns: 60_000,
        sleep_ns: 30_000,
        queued_ns: 10_000,
        ..NONE
    };
    let store = PartsRaw {
        on_cpu_ns: 20_000,
        block_io_ns: 80_000,
        ..NONE
    };
    let used = |image, on_cpu_ns| Cpu {
        image,
        on_cpu_ns,
        voluntary_switches: n,
        ..Cpu::default()
    };
    let mut frame = frame(
        vec![
            image(LOAD, "load", &[]),
            image(WEB, "web", &[80]),
            image(APP, "app", &[8080]),
            image(STORE, "store", &[]),
        ],
        &[],
        vec![
            flow((LOAD, WEB, 80), Role::Initiator, n, 1_300_000, cpu(10_000)),
            flow((WEB, LOAD, 80), Role::Acceptor, n, 1_270_000, cpu(40_000)),
            flow(
                (WEB, APP, 8080),
                Role::Initiator,
                2 * n,
                585_000,
                cpu(30_000),
            ),
            flow((APP, WEB, 8080), Role::Acceptor, 2 * n, 565_000, app_to_web),
            flow(
                (APP, STORE, 0),
                Role::Initiator,
                6 * n,
                105_000,
                app_to_store,
            ),
            flow((STORE, APP, 0), Role::Acceptor, 6 * n, 100_000, store),
        ],
    );
    frame.cpu = vec![
        used(LOAD, n * 10_000),
        used(WEB, n * 100_000),
        used(APP, n * 360_000),
        used(STORE, n * 120_000),
    ];
    frame
}
