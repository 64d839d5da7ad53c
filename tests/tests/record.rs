//! Recordings of the running kernel: they count what happened, and survive however recording ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use courtside_tests::{
    harness::{
        Host, Running, Snapshot, courtside, eventually, finish, list, number, schema, workload,
    },
    sound,
};
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
    // The command that it was about goes on, and its end does not hide what happened.
    let mut command = record(
        &disk.0.join("x.rec"),
        &["--force", "-i", "10ms", "--", "sh", "-c"],
    );
    command.arg(format!(
        "sleep 2; touch {}",
        host.dir().join("done").display()
    ));
    let output = finish(command).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(host.dir().join("done").exists());
}
