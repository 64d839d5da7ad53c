//! Who is who: programs that change, and processes that are found rather than seen to begin.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use courtside::record::Recording;
use courtside_tests::harness::{
    Host, Measured, Running, Snapshot, courtside, eventually, finish, number, workload,
};
use rustix::process::Signal;

/// Where control groups of the second version are.
fn cgroup2() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = fields.next()?;
        (fields.next()? == "cgroup2").then(|| path.into())
    })
}

/// From a process-id namespace of its own Courtside asks /proc about nobody: the kernel's word is all there is.
#[test]
fn who_is_found_by_a_walk_is_in_its_own_control_group() {
    const MESSAGES: u64 = 1003;
    let Some(root) = cgroup2() else { return };
    let host = Host::take().unwrap();
    let group = format!("courtside-{}", host.tag());
    let path = root.join(&group);
    let play = "mkdir $1 && echo 0 >$1/cgroup.procs && exec $0 ping-pong --wait-go --warm-up 3 --messages 1003";
    let mut game = Command::new("sh");
    game.args(["-c", play]).arg(workload().unwrap()).arg(&path);
    let mut game = Running::start(game.stdin(Stdio::piped())).unwrap();
    assert_eq!(game.line().unwrap(), "ready");
    let told = host.dir().join("told.json");
    let mut alone = Command::new("unshare");
    alone.args(["--pid", "--fork", "--kill-child=INT"]);
    alone.arg(courtside().unwrap());
    alone.args(["stat", "--json", "--group-by", "cgroup", "-d", "1h", "-o"]);
    let mut running = Running::start(alone.arg(&told)).unwrap();
    let children = format!("/proc/{0}/task/{0}/children", running.tgid());
    let mut courtside = 0;
    eventually("the attach", || {
        let child = fs::read_to_string(&children).unwrap_or_default();
        let status = format!("/proc/{}/status", child.trim());
        courtside = child.trim().parse().unwrap_or(0);
        fs::read_to_string(status).is_ok_and(|text| text.contains("NoNewPrivs:\t1\n"))
    })
    .unwrap();
    game.tell("go").unwrap();
    assert!(game.wait().unwrap().success());
    fs::remove_dir(&path).unwrap();
    let courtside = rustix::process::Pid::from_raw(courtside).unwrap();
    rustix::process::kill_process(courtside, Signal::INT).unwrap();
    assert!(running.wait().unwrap().success());
    let text = fs::read_to_string(&told).unwrap();
    let snapshot = Snapshot(serde_json::from_str(&text).unwrap());
    let component = snapshot.component(&format!("/{group}")).unwrap();
    let sent = number(component, "turnaround/count").unwrap();
    assert!(sent >= MESSAGES, "{component}");
    assert_eq!(snapshot.lost_counts(), []);
}

#[test]
fn workers_forked_after_the_attach_are_told_apart_and_by_default_one() {
    let host = Host::take().unwrap();
    let name = format!("w-{}", host.tag());
    let server = format!("{name}-server");
    let arguments = ["workers", "--name", &name];
    let measured = host.measure_with(&["--group-by", "process"], &arguments);
    let Measured {
        snapshot, answer, ..
    } = measured.unwrap();
    let workers = answer["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 4);
    for worker in workers {
        let [tgid, requests] = [&worker[0], &worker[2]];
        let component = snapshot.component(&format!("{server}/{tgid}")).unwrap();
        assert_eq!(component["requests"]["served"], *requests, "{component}");
        assert_eq!(component["processes"][0]["tgid"], *tgid);
        assert_eq!(component["processes"].as_array().unwrap().len(), 1);
    }
    assert_eq!(snapshot.lost_counts(), []);
    let Measured { snapshot, .. } = host.measure(&arguments).unwrap();
    let component = snapshot.component(&server).unwrap();
    assert_eq!(number(component, "requests/served").unwrap(), 1000);
    assert_eq!(snapshot.lost_counts(), []);
}

/// Writes a Python script into the host's directory.
fn script(host: &Host, name: &str, text: &str) -> String {
    let path = host.dir().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Sums a field over all edges of these names in all windows.
fn sum(windows: &[Snapshot], from: &str, to: &str, field: &str) -> u64 {
    let edges = windows.iter().flat_map(|window| window.edges(from, to));
    edges.map(|edge| number(edge, field).unwrap()).sum()
}

const SERVER: &str = "
import os, socket, sys
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    while connection.recv(1):
        connection.sendall(b'a')
";

/// Asks, waits to be told, and is another program.
const CLIENT: &str = "
import os, socket, sys
port, rounds, *rest = sys.argv[1:]
connection = socket.create_connection(('127.0.0.1', int(port)))
for _ in range(int(rounds)):
    connection.sendall(b'q')
    assert connection.recv(1) == b'a'
connection.close()
print('done', flush=True)
sys.stdin.readline()
if rest:
    os.execvp('python3', ['python3', rest[0], port, rest[1]])
";

#[test]
fn an_exec_that_keeps_the_name_of_the_process_is_another_program() {
    const ROUNDS: [u64; 2] = [137, 211];
    let host = Host::take().unwrap();
    let tag = host.tag();
    let [a, b, server] = ["a", "b", "s"].map(|name| format!("{name}-{tag}.py"));
    let server_path = script(&host, &server, SERVER);
    let [a_path, b_path] = [&a, &b].map(|name| script(&host, name, CLIENT));
    let mut serving = Running::start(Command::new("python3").arg(server_path)).unwrap();
    let port = serving.line().unwrap();
    let mut stat = Command::new(courtside().unwrap());
    stat.args(["stat", "-F", "json", "-i", "50ms", "-d", "1h"]);
    let mut stat = Running::start(&mut stat).unwrap();
    let mut windows = Vec::new();
    let mut until = |seen: &dyn Fn(&[Snapshot]) -> bool| {
        while !seen(&windows) {
            let mut text = String::new();
            // A snapshot ends with the only brace that is not indented.
            let window = loop {
                let line = stat.line().unwrap();
                assert_ne!(line, "", "{text}");
                text.push_str(&line);
                text.push('\n');
                if line == "}" {
                    break serde_json::from_str(&text).unwrap();
                }
            };
            windows.push(Snapshot(window));
        }
    };
    until(&|windows| !windows.is_empty());
    let mut client = Command::new("python3");
    client.arg(a_path).arg(&port).arg(ROUNDS[0].to_string());
    client.arg(b_path).arg(ROUNDS[1].to_string());
    let mut client = Running::start(client.stdin(Stdio::piped())).unwrap();
    assert_eq!(client.line().unwrap(), "done");
    until(&|windows| sum(windows, &a, &server, "roundtrips") == ROUNDS[0]);
    client.tell("go").unwrap();
    assert_eq!(client.line().unwrap(), "done");
    until(&|windows| sum(windows, &b, &server, "roundtrips") == ROUNDS[1]);
    client.tell("go").unwrap();
    assert!(client.wait().unwrap().success());
    assert_eq!(sum(&windows, &a, &server, "roundtrips"), ROUNDS[0]);
    assert!(windows.iter().all(|window| window.lost_counts().is_empty()));
}

/// Listens, and starts the service only when the client has sent all.
const ACTIVATOR: &str = "
import socket, subprocess, sys
service, service_text, client, client_text = sys.argv[1:]
listener = socket.create_server(('127.0.0.1', 0))
port = str(listener.getsockname()[1])
asking = subprocess.Popen([client, '-c', client_text, port], stdout=subprocess.PIPE)
assert asking.stdout.readline().strip() == b'sent'
fd = str(listener.fileno())
serving = subprocess.Popen([service, '-c', service_text, fd], pass_fds=[listener.fileno()])
assert asking.wait() == 0 and serving.wait() == 0
";

const ACTIVATED: &str = "
import socket, sys
connection, _ = socket.socket(fileno=int(sys.argv[1])).accept()
left = 200000
while left:
    left -= len(connection.recv(min(left, 65536)))
connection.sendall(b'a')
assert connection.recv(1) == b''
";

const ACTIVATOR_CLIENT: &str = "
import socket, sys
connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
for _ in range(50):
    connection.sendall(bytes(4000))
print('sent', flush=True)
assert connection.recv(1) == b'a'
connection.close()
";

#[test]
fn a_service_that_inherits_its_socket_gets_what_was_sent_before_it_began() {
    let host = Host::take().unwrap();
    let tag = host.tag();
    // Under names of their own: they have ended when they are asked who they were.
    let names = ["l", "s", "c"].map(|name| format!("{name}-{tag}"));
    for name in &names {
        std::os::unix::fs::symlink("/usr/bin/python3", host.dir().join(name)).unwrap();
    }
    let program = |name: &String| host.dir().join(name);
    let [activator, service, client] = &names;
    let mut command = Command::new(program(activator));
    command.args(["-c", ACTIVATOR]);
    command.arg(program(service)).arg(ACTIVATED);
    command.arg(program(client)).arg(ACTIVATOR_CLIENT);
    let snapshot = host.stat(&[], &mut command).unwrap().snapshot;
    assert_eq!(snapshot.lost_counts(), []);
    let edge = snapshot.edge(client, service).unwrap();
    let counts = [
        "bytes_sent",
        "bytes_received",
        "messages_sent",
        "roundtrips",
    ];
    let counts = counts.map(|field| number(edge, field).unwrap());
    assert_eq!(counts, [200_000, 1, 1, 1], "{edge}");
    assert_eq!(edge["service_ns"]["count"], 1, "{edge}");
    assert_eq!(snapshot.edges(client, activator).len(), 0);
}

/// Accepts each connection when the client has sent much, and starts a service for it that has it as its input and output, as
/// inetd does.
const INETD: &str = "
import socket, subprocess, sys
service, service_text, client, client_text, times = sys.argv[1:]
listener = socket.create_server(('127.0.0.1', 0))
port = str(listener.getsockname()[1])
for _ in range(int(times)):
    asking = subprocess.Popen([client, '-c', client_text, port], stdout=subprocess.PIPE)
    assert asking.stdout.readline().strip() == b'sent'
    connection, _ = listener.accept()
    serving = subprocess.Popen([service, '-c', service_text], stdin=connection, stdout=connection)
    connection.close()
    assert asking.wait() == 0 and serving.wait() == 0
";

const INETD_SERVICE: &str = "
import os
for _ in range(3):
    left = 200000
    while left:
        left -= len(os.read(0, min(left, 65536)))
    os.write(1, b'a')
assert os.read(0, 1) == b''
";

const INETD_CLIENT: &str = "
import socket, sys
connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
for turn in range(3):
    for _ in range(50):
        connection.sendall(bytes(4000))
    if turn == 0:
        print('sent', flush=True)
    assert connection.recv(1) == b'a'
connection.close()
";

#[test]
fn a_service_that_is_given_an_accepted_connection_is_the_one_that_was_asked() {
    const CONNECTIONS: u64 = 5;
    let host = Host::take().unwrap();
    let tag = host.tag();
    let names = ["l", "s", "c"].map(|name| format!("{name}-{tag}"));
    for name in &names {
        std::os::unix::fs::symlink("/usr/bin/python3", host.dir().join(name)).unwrap();
    }
    let program = |name: &String| host.dir().join(name);
    let [parent, service, client] = &names;
    let mut command = Command::new(program(parent));
    command.args(["-c", INETD]);
    command.arg(program(service)).arg(INETD_SERVICE);
    command.arg(program(client)).arg(INETD_CLIENT);
    command.arg(CONNECTIONS.to_string());
    let snapshot = host.stat(&[], &mut command).unwrap().snapshot;
    assert_eq!(snapshot.lost_counts(), []);
    let edge = snapshot.edge(client, service).unwrap();
    let counts = [
        "bytes_sent",
        "bytes_received",
        "messages_sent",
        "roundtrips",
        "service_ns/count",
        "connects/count",
        "untimed",
    ];
    let counts = counts.map(|field| number(edge, field).unwrap());
    let requests = 3 * CONNECTIONS;
    let bytes = requests * 200_000;
    let expected = [
        bytes,
        requests,
        requests,
        requests,
        requests,
        CONNECTIONS,
        0,
    ];
    assert_eq!(counts, expected, "{edge}");
    assert_eq!(edge["lower_bound"], false, "{edge}");
    let served = number(snapshot.component(service).unwrap(), "requests/served");
    assert_eq!(served.unwrap(), requests);
    assert_eq!(snapshot.edges(client, parent).len(), 0);
}

#[test]
fn no_number_of_a_program_that_has_ended_comes_again() {
    const PROGRAMS: usize = 100;
    let host = Host::take().unwrap();
    let name = format!("n{}-", host.tag());
    let path = host.dir().join("programs.rec");
    let play = "for i in $(seq $1); do ln -s $(command -v sleep) $0$i; $0$i 0.02; done";
    let mut record = Command::new(courtside().unwrap());
    record.args(["record", "-i", "50ms", "-o"]).arg(&path);
    record.args(["--", "sh", "-c", play]);
    record.arg(host.dir().join(&name)).arg(PROGRAMS.to_string());
    let output = finish(record).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let recording = Recording::open(&path).unwrap();
    // Who had each number. Those who ended were forgotten two windows later, and the maps had room for others.
    let mut had: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    let mut windows = 0;
    for frame in recording.frames() {
        windows += 1;
        for image in frame.unwrap().images {
            if image.program.starts_with(&name) {
                had.entry(image.id).or_default().insert(image.program);
            }
        }
    }
    assert!(windows > 10, "{windows} windows");
    assert_eq!(had.len(), PROGRAMS);
    assert!(had.values().all(|programs| programs.len() == 1), "{had:?}");
}
