//! However a measurement begins and ends: nothing stays behind, and whoever asked is told what was seen.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::{collections::BTreeMap, fs, fs::File, io::Read as _, path::Path, process::Command};

use courtside_tests::{
    harness::{
        Host, Running, Snapshot, courtside, eventually, finish, list, number, schema, workload,
    },
    sound,
};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use rustix::process::{Signal, geteuid};
use serde_json::Value;

/// Ids of programs, maps and links in the kernel.
#[derive(Debug, Default)]
struct Objects(Vec<(&'static str, u64)>);

/// What `bpftool` calls them, and the kernel's note about a descriptor of one.
const KINDS: [(&str, &str); 3] = [
    ("prog", "prog_id:"),
    ("map", "map_id:"),
    ("link", "link_id:"),
];

impl Objects {
    /// Those that a process has open, and the maps of its programs.
    fn of(tgid: u32) -> Self {
        let mut held = Self::default();
        let notes = fs::read_dir(format!("/proc/{tgid}/fdinfo"));
        for note in notes.into_iter().flatten().flatten() {
            let text = fs::read_to_string(note.path()).unwrap_or_default();
            for line in text.lines() {
                for (kind, mark) in KINDS {
                    if let Some(id) = line.strip_prefix(mark) {
                        held.0.push((kind, id.trim().parse().unwrap()));
                    }
                }
            }
        }
        for program in listed("prog").into_iter().flatten() {
            if held.has("prog", &program["id"]) {
                let maps = list(&program, "map_ids").filter_map(Value::as_u64);
                held.0.extend(maps.map(|id| ("map", id)));
            }
        }
        held
    }

    fn has(&self, kind: &str, id: &Value) -> bool {
        self.0.iter().any(|held| held.0 == kind && *id == held.1)
    }

    fn count(&self, kind: &str) -> usize {
        self.0.iter().filter(|held| held.0 == kind).count()
    }

    /// Whether none of them is in the kernel any more. It frees them some time after their last user is gone.
    fn are_gone(&self) -> bool {
        KINDS.iter().all(|(kind, _)| {
            listed(kind).is_some_and(|items| !items.iter().any(|item| self.has(kind, &item["id"])))
        })
    }
}

/// Everything of a kind that is in the kernel, as `bpftool` sees it; none if something went away while it looked.
fn listed(kind: &str) -> Option<Vec<Value>> {
    let mut command = Command::new("bpftool");
    command.args(["-j", kind, "show"]);
    serde_json::from_slice(&finish(command).unwrap().stdout).ok()
}

/// All settings of the kernel, but for those that it changes itself.
fn settings() -> BTreeMap<String, String> {
    fn gather(dir: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                gather(&path, found);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.insert(path.display().to_string(), text);
            }
        }
    }
    let mut found = BTreeMap::new();
    gather(Path::new("/proc/sys/kernel"), &mut found);
    gather(Path::new("/proc/sys/net/core"), &mut found);
    let own = [
        "random/",
        "pty/nr",
        "ns_last_pid",
        "perf_event_max_sample_rate",
    ];
    found.retain(|path, _| !own.iter().any(|name| path.contains(name)));
    found
}

/// A measurement that would go on for a minute.
fn stat(options: &[&str]) -> Command {
    let mut command = Command::new(courtside().unwrap());
    command.args(["stat", "-d", "60s"]).args(options);
    command
}

/// Waits until everything is attached.
fn attached(tgid: u32) -> Objects {
    let status = || fs::read_to_string(format!("/proc/{tgid}/status")).unwrap();
    eventually("the attach", || status().contains("NoNewPrivs:\t1")).unwrap();
    let held = Objects::of(tgid);
    for (kind, _) in KINDS {
        assert!(held.count(kind) > 5, "{kind}: {held:?}");
    }
    assert!(!held.are_gone());
    held
}

fn read(running: &mut Running) -> String {
    let mut text = String::new();
    loop {
        let line = running.line().unwrap();
        if line.is_empty() {
            return text;
        }
        text.push_str(&line);
        text.push('\n');
    }
}

fn sound(text: &str) -> Snapshot {
    let snapshot = Snapshot(serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}")));
    sound::check(&snapshot, &schema("snapshot").unwrap()).unwrap();
    snapshot
}

#[test]
fn a_killed_stat_leaves_nothing_in_the_kernel() {
    let _host = Host::take().unwrap();
    let before = settings();
    for options in [&[] as &[&str], &["-i", "50ms", "--program-cost"]] {
        let mut running = Running::start(&mut stat(options)).unwrap();
        let held = attached(running.tgid());
        running.signal(Signal::KILL).unwrap();
        running.wait().unwrap();
        eventually("the kernel to free it all", || held.are_gone()).unwrap();
    }
    assert_eq!(settings(), before);
}

#[test]
fn a_stat_killed_while_it_attaches_leaves_nothing_in_the_kernel() {
    let _host = Host::take().unwrap();
    for programs in [1, 5, 10, 15] {
        let mut running = Running::start(&mut stat(&[])).unwrap();
        let mut held = Objects::default();
        eventually("some programs", || {
            held = Objects::of(running.tgid());
            held.count("prog") >= programs
        })
        .unwrap();
        running.signal(Signal::KILL).unwrap();
        running.wait().unwrap();
        eventually("the kernel to free it all", || held.are_gone()).unwrap();
    }
}

#[test]
fn a_killed_dashboard_leaves_nothing_in_the_kernel() {
    let _host = Host::take().unwrap();
    let before = settings();
    let pair = native_pty_system().openpty(PtySize::default()).unwrap();
    let mut command = CommandBuilder::new(courtside().unwrap());
    command.args(["top", "-i", "100ms"]);
    let mut child = pair.slave.spawn_command(command).unwrap();
    let mut screen = pair.master.try_clone_reader().unwrap();
    std::thread::spawn(move || while screen.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {});
    let held = attached(child.process_id().unwrap());
    child.clone_killer().kill().unwrap();
    child.wait().unwrap();
    eventually("the kernel to free it all", || held.are_gone()).unwrap();
    assert_eq!(settings(), before);
}

#[test]
fn a_signal_ends_the_measurement_and_what_was_seen_is_printed() {
    let _host = Host::take().unwrap();
    for signal in [Signal::INT, Signal::TERM] {
        let mut running = Running::start(&mut stat(&["--json", "-i", "1h"])).unwrap();
        let held = attached(running.tgid());
        running.signal(signal).unwrap();
        let snapshot = sound(&read(&mut running));
        assert_eq!(running.wait().unwrap().code(), Some(0), "{signal:?}");
        assert!(number(&snapshot.0, "window/duration_ns").unwrap() < 60_000_000_000);
        eventually("the kernel to free it all", || held.are_gone()).unwrap();
    }
}

#[test]
fn a_signal_is_handed_on_to_the_command_whose_status_is_passed_on() {
    let host = Host::take().unwrap();
    let path = host.dir().join("ready");
    let script = format!(
        "trap 'exit 42' TERM; touch {}; while :; do sleep 0.02; done",
        path.display()
    );
    let command = ["--json", "--", "sh", "-c", &script];
    let mut running = Running::start(&mut stat(&command)).unwrap();
    eventually("the command", || path.exists()).unwrap();
    running.signal(Signal::INT).unwrap();
    sound(&read(&mut running));
    assert_eq!(running.wait().unwrap().code(), Some(42));
}

#[test]
fn the_status_of_the_command_is_passed_on() {
    let _host = Host::take().unwrap();
    for (script, status) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
    ] {
        let said = finish(stat(&["--json", "--", "sh", "-c", script])).unwrap();
        assert_eq!(said.status.code(), Some(status), "{script}");
        assert!(said.stderr.is_empty(), "{:?}", said.stderr);
        sound(&String::from_utf8(said.stdout).unwrap());
    }
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let host = Host::take().unwrap();
    for arguments in [
        "stat -d 200ms",
        "stat -d 200ms --json",
        "stat -i 50ms -d 60s",
        "stat -i 50ms --json -- sleep 0.3",
        "check",
        "check --json",
        "schema snapshot",
        "completions bash",
        "--help",
    ] {
        let path = host.dir().join("stderr");
        let mut command = Command::new(courtside().unwrap());
        command
            .args(arguments.split(' '))
            .stderr(File::create(&path).unwrap());
        let mut running = Running::start(&mut command).unwrap();
        // Some go away after a line, some before the first.
        if arguments.contains("-i") {
            running.line().unwrap();
        }
        running.stop_reading();
        assert!(running.wait().unwrap().success(), "{arguments}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "", "{arguments}");
    }
}

/// One measures the other, which measures the ping-pong.
#[test]
fn two_at_once_count_the_same() {
    let host = Host::take().unwrap();
    let inner = host.dir().join("inner.json");
    let mut command = Command::new(courtside().unwrap());
    command
        .args(["stat", "--json", "-o"])
        .arg(&inner)
        .arg("--")
        .arg(workload().unwrap())
        .args(["ping-pong", "--messages", "3001", "--connections", "3"]);
    let outer = host.stat(&[], &mut command).unwrap();
    let inner = sound(&fs::read_to_string(inner).unwrap());
    for snapshot in [&inner, &outer.snapshot] {
        let edge = snapshot.edge("pp-client", "pp-server").unwrap();
        assert_eq!(number(edge, "roundtrips").unwrap(), 3001);
        assert_eq!(number(edge, "messages_received").unwrap(), 3001);
        let server = snapshot.component("pp-server").unwrap();
        assert_eq!(number(server, "requests/served").unwrap(), 3001);
    }
}

#[test]
fn processes_that_come_and_go_are_no_trouble() {
    let host = Host::take().unwrap();
    let swarm = "for i in $(seq 300); do /bin/true & done; wait; exit 3";
    // Some are there at the attach and gone at the first window, others the other way round.
    let mut before = Command::new("sh");
    before.args(["-c", "while :; do /bin/true; done"]);
    let _before = Running::start(&mut before).unwrap();
    let path = host.dir().join("windows");
    let output = path.to_str().unwrap();
    let options = [
        "-i", "10ms", "--json", "-o", output, "--", "sh", "-c", swarm,
    ];
    let said = finish(stat(&options)).unwrap();
    assert_eq!(said.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&said.stderr), "");
    let text = fs::read_to_string(path).unwrap();
    let windows = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let schema = schema("snapshot").unwrap();
    let mut born = 0;
    for window in windows {
        let snapshot = Snapshot(window.unwrap());
        sound::check(&snapshot, &schema).unwrap();
        assert_eq!(snapshot.lost_counts(), []);
        born += list(&snapshot.0, "components")
            .filter(|component| component["name"] == "true")
            .count();
    }
    assert!(born > 0);
}

#[test]
fn a_process_may_end_while_it_is_looked_at() {
    let _host = Host::take().unwrap();
    let mut target = Running::start(Command::new("sleep").arg("60")).unwrap();
    let tgid = target.tgid().to_string();
    let mut running = Running::start(&mut stat(&["--json", "-p", &tgid])).unwrap();
    attached(running.tgid());
    target.signal(Signal::KILL).unwrap();
    target.wait().unwrap();
    running.signal(Signal::INT).unwrap();
    sound(&read(&mut running));
    assert!(running.wait().unwrap().success());
}

#[test]
fn after_the_attach_no_capability_is_left_in_any_thread() {
    let host = Host::take().unwrap();
    for options in [&[] as &[&str], &["-v", "-i", "50ms"]] {
        let errors = File::create(host.dir().join("stderr")).unwrap();
        let running = Running::start(stat(options).stderr(errors)).unwrap();
        attached(running.tgid());
        let threads = fs::read_dir(format!("/proc/{}/task", running.tgid())).unwrap();
        for thread in threads.flatten() {
            let status = fs::read_to_string(thread.path().join("status")).unwrap();
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                let none = format!("{set}:\t0000000000000000\n");
                assert!(status.contains(&none), "{options:?}: {status}");
            }
            assert!(status.contains("NoNewPrivs:\t1\n"), "{options:?}: {status}");
        }
    }
}

/// It is measured, not confined.
#[test]
fn the_command_keeps_its_capabilities() {
    let host = Host::take().unwrap();
    let of = |text: &str| -> Vec<String> {
        let of_caps = |line: &&str| line.starts_with("Cap") || line.starts_with("NoNewPrivs");
        text.lines().filter(of_caps).map(str::to_owned).collect()
    };
    let measured = host.stat(&[], Command::new("cat").arg("/proc/self/status"));
    let own = fs::read_to_string("/proc/self/status").unwrap();
    assert!(geteuid().is_root());
    assert_eq!(of(&measured.unwrap().stdout), of(&own));
}
