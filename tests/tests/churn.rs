//! Many, short, and elsewhere: processes and connections that hardly live, a thousand of each at once, other namespaces
//! and roots, control groups that come and go, a Courtside that was stopped, and one that runs for long.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use courtside_tests::harness::{
    Host, Measured, Running, Snapshot, courtside, eventually, number, workload,
};
use rustix::process::Signal;

/// What a Courtside that measures may take of memory, whatever it measures.
const RSS_BYTES: u64 = 64 << 20;
/// How long a Courtside is stopped.
const STOPPED: Duration = Duration::from_secs(10);

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
    println!("{LIVES} processes and connections, none lost, {rss} bytes resident");
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
    println!("{LIVES} programs, none lost, {rss} bytes resident");
}

/// Ten programs take turns, and all of them have one process id and one port: what goes by either is booked on whoever had
/// it then, and nobody is called by the name of who had it later.
#[test]
fn who_has_the_id_and_the_port_of_another_is_not_taken_for_it() {
    const LIVES: u64 = 1000;
    let host = Host::take().unwrap();
    let name = format!("c-{}", host.tag());
    let lives = LIVES.to_string();
    let arguments = ["churn", "--exec", "--again", "--lives", &lives];
    let arguments = [&arguments[..], &["--name", &name]].concat();
    let Measured {
        snapshot, answer, ..
    } = host.measure(&arguments).unwrap();
    // Others on this host may take an id in between.
    let again = number(&answer, "again").unwrap();
    assert!(again > LIVES / 2, "{answer}");
    let server = format!("{name}-server");
    for client in 0..10 {
        let edge = snapshot.edge(&format!("{name}-{client}"), &server).unwrap();
        let told = |path: &str| number(edge, path).unwrap();
        assert_eq!(told("roundtrips"), LIVES / 10, "{edge}");
        assert_eq!(told("bytes_sent"), 100 * LIVES / 10);
        assert_eq!(told("service_ns/count"), LIVES / 10);
    }
    assert_eq!(snapshot.neighbours(&server).len(), 10);
    assert_eq!(snapshot.lost_counts(), []);
    println!("{LIVES} processes, {again} of them with one id and one port");
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
    println!("1000 connections, 2000 threads, 50000 roundtrips, none lost");
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

/// It sees the sockets of all network namespaces, also from one of its own in which nothing is up.
#[test]
fn from_a_network_namespace_of_its_own_it_sees_all_others() {
    const MESSAGES: u64 = 5003;
    let host = Host::take().unwrap();
    let name = format!("n-{}", host.tag());
    let mut game = Standing::start(&workload().unwrap(), &[], &name, "tcp4", MESSAGES);
    let path = host.dir().join("alone.json");
    let mut alone = Command::new("unshare");
    alone.arg("--net").arg(courtside().unwrap());
    alone.args(["stat", "--json", "-d", "1h", "-o"]).arg(&path);
    let mut running = Running::start(&mut alone).unwrap();
    begun(&running);
    game.play();
    running.signal(Signal::INT).unwrap();
    assert!(running.wait().unwrap().success());
    game.is_counted(&read(&path));
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

/// One is there until the end and talks all the time; twenty others are made, talk, and are removed meanwhile. Traffic is
/// counted in all of them, and by the name of the first.
#[test]
fn control_groups_come_and_go() {
    let Some(root) = cgroup2() else { return };
    let host = Host::take().unwrap();
    let groups = ["stays", "goes"].map(|end| format!("courtside-{}-{end}", host.tag()));
    let paths = groups.each_ref().map(|group| root.join(group));
    // The one that stays has to be looked at while it is there; whoever goes is seen or not.
    let play = "inside() { sh -c \"echo 0 >$1/cgroup.procs; exec $0 ping-pong --name $3 --messages $2\"; }; \
                mkdir $1; inside $1 200000 stays & \
                for count in $(seq 20); do mkdir $2; inside $2 1000 $3; until rmdir $2; do :; done; done; wait";
    let mut command = Command::new("sh");
    command
        .args(["-c", play])
        .arg(workload().unwrap())
        .args(&paths)
        .arg(host.tag());
    let measured = host.stat(&["--group-by", "cgroup"], &mut command);
    let _ = fs::remove_dir(&paths[0]);
    assert!(!paths[1].exists());
    let Measured { snapshot, .. } = measured.unwrap();
    let name = format!("/{}", groups[0]);
    let group = snapshot.component(&name).unwrap();
    let served = number(group, "requests/served").unwrap();
    assert_eq!(served, 200_000, "{group}");
    // Of a group that was gone before it was looked for nothing but the programs are known.
    let names = [format!("/{}", groups[1]), format!("{}-server", host.tag())];
    let gone: u64 = names
        .iter()
        .filter_map(|name| snapshot.component(name).ok())
        .map(|component| number(component, "requests/served").unwrap())
        .sum();
    assert_eq!(gone, 20 * 1000, "{}", snapshot.0["components"]);
    assert_eq!(snapshot.lost_counts(), []);
    println!("{served} requests in the group that stays, {gone} in twenty that were removed");
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
    let host = Host::take().unwrap();
    let name = format!("s-{}", host.tag());
    let mut game = Standing::start(&workload().unwrap(), &[], &name, "tcp4", MESSAGES);
    let path = host.dir().join("stopped.json");
    let output = path.to_str().unwrap();
    let mut running = Running::start(&mut stat(&["-d", "1h", "-o", output])).unwrap();
    begun(&running);
    running.signal(Signal::STOP).unwrap();
    let stopped = Instant::now();
    game.play();
    thread::sleep(STOPPED.saturating_sub(stopped.elapsed()));
    running.signal(Signal::CONT).unwrap();
    let stopped = stopped.elapsed();
    running.signal(Signal::INT).unwrap();
    assert!(running.wait().unwrap().success());
    game.is_counted(&read(&path));
    println!("{MESSAGES} messages while stopped for {stopped:?}, none lost");
}

/// They live in a mount namespace, below another root, and have their own process ids, their own /proc and a /tmp that
/// nobody else sees; their names are longer than what the kernel keeps of them.
#[test]
fn processes_below_another_root_keep_their_names() {
    const MESSAGES: u64 = 5003;
    let host = Host::take().unwrap();
    let root = host.dir().join("root");
    fs::create_dir(&root).unwrap();
    let play = "mount -t tmpfs none $0 && mkdir $0/root && mount --rbind / $0/root \
                && mount -t tmpfs none $0/root/tmp && mount -t proc none $0/root/proc && cp \"$1\" $0/root/tmp/program \
                && shift && exec env TMPDIR=/tmp chroot $0/root /tmp/program \"$@\"";
    let before = ["unshare", "--mount", "--pid", "--fork", "--kill-child"];
    let before = [&before[..], &["sh", "-c", play, root.to_str().unwrap()]].concat();
    for transport in ["tcp4", "unix-stream"] {
        let name = format!("name-of-someone-{}-{transport}", host.tag());
        let mut game = Standing::start(&workload().unwrap(), &before, &name, transport, MESSAGES);
        let path = host.dir().join("elsewhere.json");
        let output = path.to_str().unwrap();
        let mut running = Running::start(&mut stat(&["-d", "1h", "-o", output])).unwrap();
        begun(&running);
        game.play();
        running.signal(Signal::INT).unwrap();
        assert!(running.wait().unwrap().success());
        game.is_counted(&read(&path));
    }
}

fn read(path: &Path) -> Snapshot {
    let text = fs::read_to_string(path).unwrap();
    Snapshot(serde_json::from_str(&text).unwrap())
}

/// A ping-pong whose connections stand before the attach.
struct Standing {
    game: Running,
    name: String,
    messages: u64,
}

impl Standing {
    const CONNECTIONS: u64 = 4;

    /// Starts it behind another command, and waits until it is ready.
    fn start(program: &Path, before: &[&str], name: &str, transport: &str, messages: u64) -> Self {
        let mut words = before.to_vec();
        words.push(program.to_str().unwrap());
        let mut game = Command::new(words[0]);
        game.args(&words[1..])
            .args(["ping-pong", "--wait-go", "--warm-up", "3", "--name", name])
            .args(["--connections", &Self::CONNECTIONS.to_string()])
            .args(["--messages", &messages.to_string()])
            .args(["--transport", transport])
            .stdin(Stdio::piped());
        let mut game = Running::start(&mut game).unwrap();
        assert_eq!(game.line().unwrap(), "ready");
        Self {
            game,
            name: name.to_owned(),
            messages,
        }
    }

    fn play(&mut self) {
        self.game.tell("go").unwrap();
        assert!(self.game.wait().unwrap().success());
    }

    /// All of it, but for the first turn of each connection: nobody saw how that began.
    fn is_counted(&self, snapshot: &Snapshot) {
        let [client, server] = ["client", "server"].map(|end| format!("{}-{end}", self.name));
        let edge = snapshot.edge(&client, &server).unwrap();
        let turns = self.messages - Self::CONNECTIONS;
        assert_eq!(number(edge, "messages_sent").unwrap(), self.messages);
        assert_eq!(number(edge, "roundtrips").unwrap(), turns, "{edge}");
        assert_eq!(number(edge, "service_ns/count").unwrap(), turns, "{edge}");
        assert_eq!(snapshot.lost_counts(), []);
    }
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
    game.args(["ping-pong", "--messages", "1000000000000"]);
    game.args(["--connections", "2", "--name", &host.tag()]);
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
    // What is open for a moment, while a window is made, is in some looks and not in others: the least of ten is what stays.
    let mut looks: Vec<(usize, u64)> = Vec::new();
    while let Some(now) = holds(running.tgid()) {
        let seen = windows();
        // After the next window there is one more: it still measured when this was read. What is read while it ends is only
        // what it has not given back yet.
        eventually("two more windows", || {
            windows() >= seen + 2 || holds(running.tgid()).is_none()
        })
        .unwrap();
        if windows() >= seen + 2 {
            looks.push(now);
        }
    }
    assert!(running.wait().unwrap().success());
    let least = |looks: &[(usize, u64)]| {
        let descriptors = looks.iter().map(|look| look.0).min().unwrap();
        (descriptors, looks.iter().map(|look| look.1).min().unwrap())
    };
    assert!(looks.len() >= 20, "{} looks", looks.len());
    let (before, after) = (least(&looks[..10]), least(&looks[looks.len() - 10..]));
    assert_eq!(before.0, after.0);
    assert!(after.1 < before.1 + (2 << 20), "{before:?} {after:?}");
    println!("{seconds} s: from {before:?} to {after:?} descriptors and bytes");
}
