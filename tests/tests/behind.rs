//! Behind whose disk requests others waited. The answer is known from outside: a loop device serves one request after the other,
//! so whatever reads take longer beside somebody else than alone, by the reader's own clock, they waited behind that one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use courtside_tests::harness::{
    Host, Measured, Running, eventually, finish, list, number, workload,
};
use rustix::mount::{UnmountFlags, unmount};
use serde_json::Value;
use tempfile::TempDir;

/// A file system on a loop device, whose file lies in memory. Gone with its guard.
struct Disk {
    device: String,
    folder: TempDir,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let file = folder.path().join("disk");
        fs::File::create(&file).unwrap().set_len(512 << 20).unwrap();
        let mut command = Command::new("losetup");
        command.args(["--find", "--show"]).arg(&file);
        let device = run(command);
        let disk = Self { device, folder };
        let mut command = Command::new("mkfs.ext4");
        command.args(["-q", "-E", "nodiscard", &disk.device]);
        run(command);
        fs::create_dir(disk.dir()).unwrap();
        let mut command = Command::new("mount");
        command.arg(&disk.device).arg(disk.dir());
        run(command);
        disk
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever left it busy has failed already.
        let _ = unmount(self.dir(), UnmountFlags::DETACH);
        let mut command = Command::new("losetup");
        command.args(["--detach", &self.device]);
        let _ = finish(command);
    }
}

fn run(command: Command) -> String {
    let name = command.get_program().to_owned();
    let output = finish(command).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", name.display());
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The workload under a name of its own.
fn program(host: &Host, name: &str) -> PathBuf {
    let path = host.dir().join(format!("{name}-{}", host.tag()));
    symlink(workload().unwrap(), &path).unwrap();
    path
}

fn name(program: &Path) -> String {
    program.file_name().unwrap().to_string_lossy().into_owned()
}

/// Reads so many small blocks, one after the other: its component, and how long the reads took by its own clock.
fn reads(host: &Host, program: &Path, disk: &Disk, count: u64) -> (Value, u64) {
    let mut command = Command::new(program);
    command.args(["disk-io", "--writes", "0", "--reads"]);
    command.arg(count.to_string()).arg("--dir").arg(disk.dir());
    let Measured {
        snapshot, answer, ..
    } = host.stat(&[], &mut command).unwrap();
    let component = snapshot.component(&name(program)).unwrap().clone();
    let took_ns = number(&answer, "elapsed/wall_ns").unwrap();
    (component, took_ns)
}

/// Nanoseconds that it waited behind each, and behind all of them.
fn behind(component: &Value) -> (Vec<(String, u64)>, u64) {
    let by = list(&component["disk"], "queued_behind");
    let by = by.map(|by| {
        let who = by["component"].as_str().unwrap().to_owned();
        (who, number(by, "ns").unwrap())
    });
    let by: Vec<(String, u64)> = by.collect();
    let sum = by.iter().map(|(_, ns)| ns).sum();
    let disk_ns = number(component, "disk/latency_ns/sum_ns").unwrap();
    assert!(sum <= disk_ns, "{}", component["disk"]);
    (by, sum)
}

/// Somebody reads alone, and then beside one that does this: of what the disk takes longer then, at least this share was behind
/// that one. It is not all: there is time in which no request of others is under way, and a flush is none that is seen. So many
/// reads that neither a host that is busy for a moment nor a pause of the other one is most of their time.
fn beside(does: &[&str], count: u64, least: f64) {
    let host = Host::take().unwrap();
    let disk = Disk::new();
    let (victim, hog) = (program(&host, "victim"), program(&host, "hog"));
    let hogs = format!("program:{}", name(&hog));
    // What else the host does makes one of them longer, and none shorter.
    let alone = (0..3).map(|_| {
        let (component, took_ns) = reads(&host, &victim, &disk, count);
        let (by, _) = behind(&component);
        assert!(by.iter().all(|(who, _)| *who != hogs), "{by:?}");
        (component, took_ns)
    });
    let (alone, alone_ns) = alone.min_by_key(|(_, took_ns)| *took_ns).unwrap();

    let mut command = Command::new(&hog);
    command
        .arg("disk-io")
        .args(does)
        .arg("--dir")
        .arg(disk.dir());
    let running = Running::start(&mut command).unwrap();
    let io = format!("/proc/{}/io", running.tgid());
    eventually("the hog to be at work", || {
        let io = fs::read_to_string(&io).unwrap();
        let bytes = |name: &str| {
            let line = io.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().parse::<u64>().unwrap()
        };
        // Its files are made by then.
        bytes("read_bytes:") + bytes("write_bytes:") > 200 << 20
    })
    .unwrap();
    let (beside, beside_ns) = reads(&host, &victim, &disk, count);
    drop(running);

    let (by, all_ns) = behind(&beside);
    let more_ns = beside_ns.saturating_sub(alone_ns);
    let says = format!("{by:?}, reads: {alone_ns} ns alone, {beside_ns} ns beside");
    println!("{does:?}: {says}");
    let nobody = (String::new(), 0);
    let (first, hog_ns) = by.first().unwrap_or(&nobody);
    assert_eq!(first, &hogs, "{says}");
    assert!(*hog_ns as f64 >= 0.9 * all_ns as f64, "{says}");
    // It was slowed, by its own clock, and by the disk.
    assert!(more_ns > alone_ns, "{says}");
    let disk = |component: &Value| {
        let latency = &component["disk"]["latency_ns"];
        let ns = number(latency, "sum_ns").unwrap() as f64;
        (ns, number(latency, "count").unwrap() as f64)
    };
    let ((alone_ns, alone_count), (beside_ns, count)) = (disk(&alone), disk(&beside));
    let more_ns = beside_ns - alone_ns / alone_count.max(1.0) * count;
    assert!(all_ns as f64 >= least * more_ns, "{more_ns} more: {says}");
}

#[test]
fn small_reads_wait_behind_large_writes() {
    beside(
        &["--reads", "0", "--writes", "1000000000", "--block", "4096"],
        6_000,
        0.5,
    );
}

#[test]
fn small_reads_wait_behind_many_readers() {
    let reads = ["--writes", "0", "--reads", "1000000000"];
    beside(
        &[&reads[..], &["--block", "256", "--threads", "8"]].concat(),
        3_000,
        0.7,
    );
}

#[test]
fn small_reads_wait_behind_whoever_makes_sure_that_it_has_written() {
    let writes = ["--reads", "0", "--writes", "1000000000"];
    beside(
        &[&writes[..], &["--block", "4096", "--fsync"]].concat(),
        20_000,
        0.25,
    );
}
