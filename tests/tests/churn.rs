//! Many, short, and elsewhere: processes and connections that hardly live, a thousand of each at once, other namespaces,
//! control groups that come and go, a Courtside that was stopped, and one that runs for long.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use courtside_tests::harness::{
    Host, Measured, Running, Snapshot, courtside, eventually, list, number, workload,
};
use rustix::process::Signal;

/// What a Courtside that measures may take of memory, whatever it measures.
const RSS_BYTES: u64 = 64 << 20;

/// Process ids are used again three times over, and so are ports: this host has fewer of both.
#[test]
fn a_hundred_thousand_processes_and_connections_are_counted_exactly() {
    const LIVES: u64 = 100_000;
    let host = Host::take().unwrap();
    let name = format!("c-{}", host.tag());
    let lives = LIVES.to_string();
    let Measured {
        snapshot, answer, ..
    } = host
        .measure(&["churn", "--lives", &lives, "--name", &name])
        .unwrap();
    assert_eq!(answer["served"], LIVES);
    let (client, server) = (format!("{name}-client"), format!("{name}-server"));
    let edge = snapshot.edge(&client, &server).unwrap();
    let told = |path: &str| number(edge, path).unwrap();
    assert_eq!(told("roundtrips"), LIVES, "{edge}");
    assert_eq!(told("bytes_sent"), 100 * LIVES);
    assert_eq!(told("bytes_received"), 100 * LIVES);
    assert_eq!(told("service_ns/count"), LIVES);
    assert_eq!(snapshot.lost_counts(), []);
    let rss = number(&snapshot.0, "cost/rss_bytes").unwrap();
    assert!(rss < RSS_BYTES, "{rss}");
}

/// More programs than the kernel's map holds flows; each is forgotten in time, and named before.
#[test]
fn six_thousand_programs_keep_their_names() {
    const LIVES: u64 = 6000;
    let host = Host::take().unwrap();
    let name = format!("c-{}", host.tag());
    let lives = LIVES.to_string();
    let Measured { snapshot, .. } = host
        .measure(&["churn", "--exec", "--lives", &lives, "--name", &name])
        .unwrap();
    let server = format!("{name}-server");
    for client in 0..10 {
        let edge = snapshot.edge(&format!("{name}-{client}"), &server).unwrap();
        assert_eq!(number(edge, "roundtrips").unwrap(), LIVES / 10, "{edge}");
    }
    assert_eq!(snapshot.lost_counts(), []);
    let rss = number(&snapshot.0, "cost/rss_bytes").unwrap();
    assert!(rss < RSS_BYTES, "{rss}");
}

/// A thread at each end for each of them.
#[test]
fn a_thousand_connections_at_once_are_counted_exactly() {
    let host = Host::take().unwrap();
    let name = format!("m-{}", host.tag());
    let play =
        "ulimit -n 4096; exec \"$0\" ping-pong --connections 1000 --messages 50000 --name $1";
    let mut command = Command::new("sh");
    command
        .args(["-c", play])
        .arg(workload().unwrap())
        .arg(&name);
    let Measured { snapshot, .. } = host.stat(&[], &mut command).unwrap();
    let edge = snapshot
        .edge(&format!("{name}-client"), &format!("{name}-server"))
        .unwrap();
    assert_eq!(number(edge, "roundtrips").unwrap(), 50_000);
    assert_eq!(number(edge, "service_ns/count").unwrap(), 50_000);
    assert_eq!(snapshot.lost_counts(), []);
}

/// Two hosts of their own on this one, with the same addresses and, out of a range of a few, the same ports.
#[test]
fn namespaces_with_the_same_addresses_are_not_mixed_up() {
    const MESSAGES: u64 = 5003;
    let host = Host::take().unwrap();
    let names = ["a", "b"].map(|end| format!("{end}-{}", host.tag()));
    let alone = "ip link set lo up && echo 50000 50009 >/proc/sys/net/ipv4/ip_local_port_range \
                 && exec \"$0\" ping-pong --connections 4 --messages 5003 --name $1";
    let both = "for name in $2 $3; do unshare --net --mount sh -c \"$1\" \"$0\" $name & done; wait";
    let mut command = Command::new("sh");
    command.args(["-c", both]).arg(workload().unwrap());
    command.arg(alone).args(&names);
    let Measured { snapshot, .. } = host.stat(&[], &mut command).unwrap();
    for name in names {
        let (client, server) = (format!("{name}-client"), format!("{name}-server"));
        let edge = snapshot.edge(&client, &server).unwrap();
        assert_eq!(number(edge, "roundtrips").unwrap(), MESSAGES, "{edge}");
        assert_eq!(number(edge, "service_ns/count").unwrap(), MESSAGES);
        for end in [&client, &server] {
            assert_eq!(snapshot.neighbours(end).len(), 1, "{}", snapshot.0["edges"]);
        }
    }
    assert_eq!(snapshot.lost_counts(), []);
}

/// Where control groups of the second version are.
fn cgroup2() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = fields.next()?;
        (fields.next()? == "cgroup2").then(|| path.into())
    })
}

/// One is there until the end, the other is removed before; traffic is counted in both, and by the name of the first.
#[test]
fn control_groups_come_and_go() {
    let Some(root) = cgroup2() else { return };
    let host = Host::take().unwrap();
    let groups = ["stays", "goes"].map(|end| format!("courtside-{}-{end}", host.tag()));
    let paths = groups.each_ref().map(|group| root.join(group));
    let play = "for group in $1 $2; do mkdir $group; sh -c \"echo 0 >$group/cgroup.procs; exec $0 ping-pong\"; done; \
                until rmdir $2; do :; done";
    let mut command = Command::new("sh");
    command
        .args(["-c", play])
        .arg(workload().unwrap())
        .args(&paths);
    let measured = host.stat(&["--group-by", "cgroup"], &mut command);
    let _ = fs::remove_dir(&paths[0]);
    assert!(!paths[1].exists());
    let Measured { snapshot, .. } = measured.unwrap();
    let name = format!("/{}", groups[0]);
    let group = snapshot.component(&name).unwrap();
    assert_eq!(number(group, "requests/served").unwrap(), 1000, "{group}");
    let served: u64 = list(&snapshot.0, "components")
        .map(|component| number(component, "requests/served").unwrap())
        .sum();
    assert!(served >= 2000, "{served}");
    assert_eq!(snapshot.lost_counts(), []);
}

fn stat(options: &[&str]) -> Command {
    let mut command = Command::new(courtside().unwrap());
    command.args(["stat", "--json"]).args(options);
    command
}

/// Waits until a measurement has begun: the first of the signals that it then minds.
fn begun(running: &Running) {
    let status = format!("/proc/{}/status", running.tgid());
    eventually("the attach", || {
        let status = fs::read_to_string(&status).unwrap();
        status.contains("NoNewPrivs:\t1\n")
    })
    .unwrap();
}

/// The kernel goes on counting while nobody collects.
#[test]
fn a_courtside_that_is_stopped_for_a_while_loses_nothing() {
    const MESSAGES: u64 = 50_000;
    const CONNECTIONS: u64 = 4;
    let host = Host::take().unwrap();
    let name = format!("s-{}", host.tag());
    let mut game = Command::new(workload().unwrap());
    game.args(["ping-pong", "--wait-go", "--warm-up", "3", "--name", &name])
        .args(["--connections", &CONNECTIONS.to_string()])
        .args(["--messages", &MESSAGES.to_string()])
        .stdin(Stdio::piped());
    let mut game = Running::start(&mut game).unwrap();
    assert_eq!(game.line().unwrap(), "ready");
    let path = host.dir().join("stopped.json");
    let output = path.to_str().unwrap();
    let mut running = Running::start(&mut stat(&["-d", "1h", "-o", output])).unwrap();
    begun(&running);
    running.signal(Signal::STOP).unwrap();
    game.tell("go").unwrap();
    assert!(game.wait().unwrap().success());
    running.signal(Signal::CONT).unwrap();
    running.signal(Signal::INT).unwrap();
    assert!(running.wait().unwrap().success());
    let text = fs::read_to_string(path).unwrap();
    let snapshot = Snapshot(serde_json::from_str(&text).unwrap());
    let edge = snapshot
        .edge(&format!("{name}-client"), &format!("{name}-server"))
        .unwrap();
    assert_eq!(number(edge, "messages_sent").unwrap(), MESSAGES);
    assert_eq!(number(edge, "roundtrips").unwrap(), MESSAGES - CONNECTIONS);
    assert_eq!(snapshot.lost_counts(), []);
}

/// What a process holds while it lives: descriptors, and resident memory.
fn holds(tgid: u32) -> Option<(usize, u64)> {
    let descriptors = fs::read_dir(format!("/proc/{tgid}/fd")).ok()?.count();
    let status = fs::read_to_string(format!("/proc/{tgid}/status")).ok()?;
    let rss = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = rss.trim_end_matches("kB").trim().parse().ok()?;
    Some((descriptors, kib << 10))
}

/// As fast as two processes can play, for a minute, or for the seconds that COURTSIDE_SOAK says.
#[test]
fn memory_and_descriptors_stay_as_they_are() {
    let host = Host::take().unwrap();
    let seconds = std::env::var("COURTSIDE_SOAK").unwrap_or_else(|_| "60".to_owned());
    let mut game = Command::new(workload().unwrap());
    game.args([
        "ping-pong",
        "--messages",
        "1000000000000",
        "--connections",
        "2",
    ]);
    let _game = Running::start(&mut game).unwrap();
    let path = host.dir().join("windows.json");
    let output = path.to_str().unwrap();
    let options = ["-i", "200ms", "-d", &format!("{seconds}s"), "-o", output];
    let mut running = Running::start(&mut stat(&options)).unwrap();
    let windows = || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        text.matches("\"courtside.snapshot/1\"").count()
    };
    eventually("ten windows", || windows() >= 10).unwrap();
    let before = holds(running.tgid()).unwrap();
    let mut after = None;
    while let Some(now) = holds(running.tgid()) {
        let seen = windows();
        // After the next window there is one more: it still measured when this was read. What is read while it ends is only
        // what it has not given back yet.
        eventually("two more windows", || {
            windows() >= seen + 2 || holds(running.tgid()).is_none()
        })
        .unwrap();
        if windows() >= seen + 2 {
            after = Some(now);
        }
    }
    assert!(running.wait().unwrap().success());
    let after = after.unwrap();
    assert_eq!(before.0, after.0);
    assert!(after.1 < before.1 + (2 << 20), "{before:?} {after:?}");
    println!("{seconds} s: from {before:?} to {after:?} descriptors and bytes");
}
