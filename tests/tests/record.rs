//! Recordings of the running kernel: they count what happened, and survive however recording ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use courtside::{
    event::What,
    record::{Kind, Recording},
};
use courtside_tests::{
    harness::{
        Host, Running, Snapshot, courtside, eventually, finish, list, number, schema, workload,
    },
    sound,
};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::Signal,
};
use serde_json::Value;

fn record(file: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(courtside().unwrap());
    command.args(["record", "-o"]).arg(file).args(arguments);
    command
}

/// What a recording holds: as one snapshot, and as one for each window.
fn exported(file: &Path) -> (Snapshot, Vec<Value>, String) {
    let export = |format: &str| -> Output {
        let mut command = Command::new(courtside().unwrap());
        command
            .arg("export")
            .arg(file)
            .args(["-F", format, "-o", "-"]);
        let output = finish(command).unwrap();
        assert!(output.status.success(), "{}", said(&output));
        output
    };
    let whole = export("json");
    let windows = export("ndjson").stdout;
    let windows = serde_json::Deserializer::from_slice(&windows).into_iter();
    (
        Snapshot(serde_json::from_slice(&whole.stdout).unwrap()),
        windows.map(Result::unwrap).collect(),
        said(&whole),
    )
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_recording_counts_what_a_chain_of_programs_did() {
    let host = Host::take().unwrap();
    let file = host.dir().join("x.rec");
    let mut command = record(&file, &["-i", "200ms", "--"]);
    command.arg(workload().unwrap());
    command.args(["relay", "--requests", "300", "--rate", "200"]);
    let output = finish(command).unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("courtside replay"),
        "{}",
        said(&output)
    );

    let (whole, windows, faults) = exported(&file);
    assert_eq!(faults, "");
    assert!(windows.len() > 3, "{}", windows.len());
    sound::check(&whole, &schema("snapshot").unwrap()).unwrap();
    for (from, to, roundtrips) in [
        ("load", "web", 300),
        ("web", "app", 600),
        ("app", "store", 1800),
    ] {
        let edge = whole.edge(from, to).unwrap();
        assert_eq!(number(edge, "roundtrips").unwrap(), roundtrips);
        let ends = (&edge["from"], &edge["to"]);
        let sum: u64 = windows
            .iter()
            .flat_map(|window| list(window, "edges"))
            .filter(|edge| (&edge["from"], &edge["to"]) == ends)
            .map(|edge| number(edge, "roundtrips").unwrap())
            .sum();
        assert_eq!(sum, roundtrips, "{from} → {to}");
    }
    let spans: u64 = windows
        .iter()
        .map(|w| number(w, "window/duration_ns").unwrap())
        .sum();
    assert_eq!(spans, number(&whole.0, "window/duration_ns").unwrap());
    // The same recording says the same again, byte for byte.
    let again = exported(&file);
    assert_eq!(again.0.0.to_string(), whole.0.to_string());
    assert_eq!(again.1, windows);
}

#[test]
fn what_was_recorded_before_kill_9_is_read_and_no_thread_had_power() {
    let host = Host::take().unwrap();
    let file = host.dir().join("x.rec");
    let mut running = Running::start(&mut record(&file, &["-i", "50ms"])).unwrap();
    let length = || fs::metadata(&file).map_or(0, |metadata| metadata.len());
    eventually("some windows", || length() > 20_000).unwrap();
    let threads = fs::read_dir(format!("/proc/{}/task", running.tgid())).unwrap();
    let mut seen = 0;
    for thread in threads {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            let line = status.lines().find(|line| line.starts_with(set)).unwrap();
            assert!(line.ends_with("\t0000000000000000"), "{line}");
        }
        seen += 1;
    }
    // One collects, one keeps.
    assert!(seen >= 2, "{seen}");
    running.signal(Signal::KILL).unwrap();
    running.wait().unwrap();
    let (_, windows, faults) = exported(&file);
    assert!(windows.len() > 3, "{}", windows.len());
    // At most the window that was being written is cut.
    assert!(
        faults.is_empty() || faults.contains("ends within a record"),
        "{faults}"
    );
}

/// A small disk, gone with its guard.
struct Disk(PathBuf);

impl Disk {
    fn of(path: PathBuf, size: &str) -> Self {
        fs::create_dir(&path).unwrap();
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        mount(
            "tmpfs",
            &path,
            "tmpfs",
            MountFlags::empty(),
            options.as_c_str(),
        )
        .unwrap();
        Self(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever left it busy has failed already.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_ends_recording_with_a_clear_error_and_a_sound_file() {
    let host = Host::take().unwrap();
    let disk = Disk::of(host.dir().join("disk"), "64k");
    let file = disk.0.join("x.rec");
    let output = finish(record(&file, &["-i", "10ms"])).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(
        said.contains("x.rec") && said.contains("No space left"),
        "{said}"
    );
    assert!(said.contains("df -h"), "{said}");
    let (_, windows, faults) = exported(&file);
    assert!(windows.len() > 3, "{}", windows.len());
    assert_eq!(faults, "");
    // What is there gives way to what has begun only, and here nothing can.
    let output = finish(record(&file, &["--force", "-i", "10ms"])).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(exported(&file).1.len(), windows.len());
    fs::remove_file(&file).unwrap();
    // The command that it was about goes on, and its end does not hide what happened.
    let mut command = record(&file, &["-i", "10ms", "--", "sh", "-c"]);
    command.arg(format!(
        "sleep 2; touch {}",
        host.dir().join("done").display()
    ));
    let output = finish(command).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(host.dir().join("done").exists());
}

/// That a recording was ended, and everything in it is whole.
fn is_whole(file: &Path) {
    let recording = Recording::open(file).unwrap();
    assert!(recording.is_finished());
    assert_eq!(recording.verify().unwrap(), []);
    assert!(recording.windows().len() > 3);
    assert!(recording.events().map(Result::unwrap).count() > 0);
}

#[test]
fn a_terminal_that_is_closed_ends_a_recording_as_ctrl_c_does() {
    let host = Host::take().unwrap();
    let file = host.dir().join("x.rec");
    let pair = native_pty_system().openpty(PtySize::default()).unwrap();
    let mut command = CommandBuilder::new(courtside().unwrap());
    command.args(["record", "--events", "-i", "50ms", "-o"]);
    command.arg(&file);
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let length = || fs::metadata(&file).map_or(0, |metadata| metadata.len());
    eventually("some windows", || length() > 40_000).unwrap();
    // The kernel hangs up on whoever has it for its terminal.
    drop(pair.master);
    let status = child.wait().unwrap();
    assert!(status.success(), "{status:?}");
    is_whole(&file);
}

#[test]
fn a_hang_up_ends_a_recording_unless_it_is_to_be_ignored() {
    let host = Host::take().unwrap();
    let [file, other] = ["x.rec", "ignoring.rec"].map(|name| host.dir().join(name));
    let length = |file: &Path| fs::metadata(file).map_or(0, |metadata| metadata.len());
    let mut running = Running::start(&mut record(&file, &["--events", "-i", "50ms"])).unwrap();
    eventually("some windows", || length(&file) > 40_000).unwrap();
    running.signal(Signal::HUP).unwrap();
    assert!(running.wait().unwrap().success());
    is_whole(&file);

    let mut ignoring = Command::new("sh");
    ignoring.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]);
    ignoring.arg(courtside().unwrap());
    ignoring.args(["record", "--events", "-i", "50ms", "-o"]);
    ignoring.arg(&other);
    let mut running = Running::start(&mut ignoring).unwrap();
    eventually("some windows", || length(&other) > 40_000).unwrap();
    running.signal(Signal::HUP).unwrap();
    let before = length(&other);
    eventually("more windows", || length(&other) > before + 40_000).unwrap();
    running.signal(Signal::INT).unwrap();
    assert!(running.wait().unwrap().success());
    is_whole(&other);
}

/// Of the events that name a task that runs, or a connection, how many there are; each was told before.
fn told(recording: &Recording) -> usize {
    let (mut tasks, mut connections) = (HashSet::new(), HashSet::new());
    let mut count = 0;
    for event in recording.events().map(Result::unwrap) {
        match &event.what {
            What::Task(_) => drop(tasks.insert(event.tid)),
            What::Connection(told) => drop(connections.insert(told.number)),
            What::Fork { tid, .. } => drop(tasks.insert(*tid)),
            What::Exec { .. } => drop(tasks.insert(event.tid)),
            What::Switch { .. } if event.tid != 0 => {
                assert!(tasks.contains(&event.tid), "{event:?}");
            }
            What::Send { connection, .. } | What::Receive { connection, .. } => {
                assert!(tasks.contains(&event.tid), "{event:?}");
                assert!(connections.contains(connection), "{event:?}");
                count += 1;
            }
            What::Arrival { connection } | What::State { connection, .. } => {
                assert!(connections.contains(connection), "{event:?}");
            }
            _ => {}
        }
    }
    count
}

#[test]
fn one_part_of_a_flight_recorder_is_enough_to_know_who_did_what() {
    let host = Host::take().unwrap();
    let file = host.dir().join("x.rec");
    let limit = ["--events", "-i", "50ms", "--size-limit", "1MiB", "--"];
    let mut command = record(&file, &limit);
    command.arg(workload().unwrap());
    // One pair of ends for all of it: what is told at first is soon given up.
    command.args(["ping-pong", "--messages", "150000"]);
    let output = finish(command).unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let other = host.dir().join("x.rec.2");
    for (part, alone) in [(&file, "first.rec"), (&other, "second.rec")] {
        let alone = host.dir().join(alone);
        fs::copy(part, &alone).unwrap();
        let recording = Recording::open(&alone).unwrap();
        assert!(recording.header().part > 1, "{}", said(&output));
        assert!(recording.records().any(|r| r.kind() == Kind::KNOWN));
        assert_eq!(recording.verify().unwrap(), []);
        assert!(told(&recording) > 1000);
    }
    told(&Recording::open(&file).unwrap());
}

/// A window ends when its clocks are read, and not when Courtside has begun to take its programs off.
#[test]
fn no_window_has_more_cpu_time_than_there_was() {
    let host = Host::take().unwrap();
    let cpus = std::thread::available_parallelism().unwrap().get();
    let busy = || {
        let mut command = Command::new("nice");
        command.args(["-n", "19", "sh", "-c", "echo; while :; do :; done"]);
        let mut hog = Running::start(&mut command).unwrap();
        hog.line().unwrap();
        hog
    };
    let hogs: Vec<Running> = (0..cpus).map(|_| busy()).collect();
    let file = host.dir().join("busy.rec");
    let output = finish(record(&file, &["-d", "1s", "-i", "300ms"])).unwrap();
    assert!(output.status.success(), "{}", said(&output));
    drop(hogs);
    let (_, windows, _) = exported(&file);
    assert!(windows.len() >= 3, "{}", windows.len());
    for window in windows {
        let ran = list(&window, "components").map(|c| number(c, "cpu/on_cpu_ns").unwrap());
        let ran: u64 = ran.sum();
        let most = number(&window, "window/duration_ns").unwrap() * cpus as u64;
        assert!(ran <= most + most / 20, "{ran} of {most}");
    }
}
