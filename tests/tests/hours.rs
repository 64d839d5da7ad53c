//! Hours that the agent exports: what others read in them is what the workload counts, and a full disk hurts nobody.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use courtside_tests::{
    agent::{Agent, series},
    harness::{Host, eventually, finish, number, workload},
};
use rustix::process::Signal;

const REQUESTS: u64 = 100;

fn relay() -> Command {
    let mut command = Command::new(workload().unwrap());
    let requests = REQUESTS.to_string();
    command.args(["relay", "--rate", "200", "--requests", &requests]);
    command
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all
}

fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    let given = std::env::var_os("COURTSIDE_PYTHON").map(PathBuf::from);
    given.or_else(|| own.exists().then_some(own))
}

/// An agent that is ended in the middle of an hour, and begun again: twice as much, and nothing of it twice.
#[test]
fn a_second_agent_in_the_same_hour_adds_to_what_the_first_one_left() {
    let host = Host::take().unwrap();
    let folder = host.dir().join("hosts");
    let place = folder.display().to_string();
    let mut windows = 0;
    for _ in 0..2 {
        let options = ["-i", "100ms", "--export", &place, "--host", "web01"];
        let mut agent = Agent::start(&options).unwrap();
        assert!(finish(relay()).unwrap().status.success());
        let all = series(&agent.settle().unwrap());
        assert_eq!(all["courtside_exporting"], 1.0);
        assert_eq!(all["courtside_export_lost_windows_total"], 0.0);
        let status = agent.json("/status").unwrap();
        assert_eq!(status["export"]["folder"], place.as_str());
        windows += number(&status, "windows").unwrap();
        agent.running.signal(Signal::TERM).unwrap();
        assert!(agent.running.wait().unwrap().success());
    }
    let all = files(&folder);
    let is_whole = |file: &PathBuf| file.extension().is_some_and(|end| end == "parquet");
    assert!(all.iter().all(is_whole), "{all:?}");
    let Some(python) = python() else {
        eprintln!("not read: no target/python; cargo xtask test makes it");
        return;
    };
    const SCRIPT: &str = r#"
import sys
import pyarrow.dataset as ds
from pathlib import Path
root = Path(sys.argv[1])
def table(name):
    files = [str(file) for file in root.rglob(name + "-*.parquet")]
    hive = ds.partitioning(flavor="hive")
    return ds.dataset(files, partitioning=hive, partition_base_dir=str(root)).to_table().to_pylist()
windows = table("windows")
keys = {(row["host"], row["hour"], row["window"]) for row in windows}
assert len(keys) == len(windows)
assert {row["host"] for row in windows} == {"web01"}
names = {row["id"]: row["name"] for row in table("components")}
ends = lambda row: (names.get(row["from"]), names.get(row["to"]))
web = [row for row in table("edges") if ends(row) == ("load", "web")]
print(len(windows), sum(row["roundtrips"] for row in web))
"#;
    let mut read = Command::new(python);
    read.args(["-c", SCRIPT]).arg(&folder);
    let output = finish(read).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (read, roundtrips) = said.trim().split_once(' ').unwrap();
    assert_eq!(roundtrips, (2 * REQUESTS).to_string());
    // The windows that ended after the status was asked for are there, too.
    assert!(
        read.parse::<u64>().unwrap() >= windows + 2,
        "{said} {windows}"
    );
}

/// A file system of its own, gone with the test.
struct Full(PathBuf);

impl Full {
    /// It has room for nothing but its own folder.
    fn new(host: &Host) -> Self {
        let place = host.dir().join("full");
        fs::create_dir(&place).unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "nr_inodes=1,size=64k", "tmpfs"])
            .arg(&place);
        assert!(finish(mount).unwrap().status.success());
        Self(place)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let mut end = Command::new("umount");
        end.arg(&self.0);
        let _ = finish(end);
    }
}

#[test]
fn a_full_disk_is_told_and_everything_else_goes_on() {
    let host = Host::take().unwrap();
    let full = Full::new(&host);
    let place = full.0.display().to_string();
    let mut agent = Agent::start(&["-i", "100ms", "--export", &place]).unwrap();
    let mut last = String::new();
    eventually("lost windows", || {
        last = agent.metrics().unwrap_or_default();
        let lost = series(&last)
            .get("courtside_export_lost_windows_total")
            .copied();
        lost.is_some_and(|lost| lost >= 3.0)
    })
    .unwrap();
    let all = series(&last);
    assert_eq!(all["courtside_exporting"], 0.0);
    assert_eq!(all["courtside_exported_windows_total"], 0.0);
    let why = agent.json("/status").unwrap()["export"]["failed"].to_string();
    assert!(why.contains("No space left"), "{why}");
    assert_eq!(agent.get("/healthz", "").unwrap().code, 200);
    assert!(finish(relay()).unwrap().status.success());
    agent.settle().unwrap();
    agent.running.signal(Signal::TERM).unwrap();
    assert!(agent.running.wait().unwrap().success());
    assert!(files(&full.0).is_empty());
}
