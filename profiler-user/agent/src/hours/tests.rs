//! Hours of windows that are made up: what is where, under which name, and what is counted where the disk fails.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use courtside_core::{
    fixture::frames,
    model::{State, View, fold},
};

use super::*;

/// 30 November 2026, 06:00 UTC.
const SIX: u64 = 1_796_018_400;

fn window(second: u64, requests: u64) -> Snapshot {
    let mut frame = frames::chain(requests);
    frame.start_unix_ns = second * 1_000_000_000;
    fold(&mut State::default(), &frame, &View::default())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// What becomes of windows that begin at these seconds.
fn write(folder: &Path, seconds: &[u64]) -> Counts {
    let mut hours = Hours::open(folder, Some("web01".to_owned())).unwrap();
    for second in seconds {
        hours.window(&window(*second, 10)).unwrap();
    }
    hours.finish().unwrap();
    hours.counts()
}

#[test]
fn each_hour_has_a_folder_and_its_windows_are_numbered_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let seconds = [SIX, SIX + 1800, SIX + 3599, SIX + 3600, SIX + 24 * 3600];
    let counts = write(folder.path(), &seconds);
    assert_eq!((counts.written, counts.lost), (5, 0));
    let host = folder.path().join("host=web01");
    let hours = ["hour=20261130T06", "hour=20261130T07", "hour=20261201T06"];
    assert_eq!(names(&host), hours);
    let tables = courtside_export::tables::tables();
    for (hour, range) in hours
        .iter()
        .zip(["000000-000002", "000000-000000", "000000-000000"])
    {
        let mut expected: Vec<String> = tables
            .iter()
            .map(|table| format!("{}-{range}.parquet", table.name))
            .collect();
        expected.sort();
        assert_eq!(names(&host.join(hour)), expected);
    }
}

#[test]
fn who_comes_later_in_the_same_hour_replaces_nothing_and_goes_on_counting() {
    let folder = tempfile::tempdir().unwrap();
    let hour = folder.path().join("host=web01/hour=20261130T06");
    write(folder.path(), &[SIX, SIX + 1]);
    let before = fs::read(hour.join("windows-000000-000001.parquet")).unwrap();
    write(folder.path(), &[SIX + 5]);
    // Also after an hour that another clock had.
    write(folder.path(), &[SIX + 7, SIX + 7200, SIX + 8, SIX + 9]);
    let windows: Vec<String> = names(&hour)
        .into_iter()
        .filter(|name| name.starts_with("windows-"))
        .collect();
    let expected = [
        "000000-000001",
        "000002-000002",
        "000003-000003",
        "000004-000005",
    ];
    let expected = expected.map(|range| format!("windows-{range}.parquet"));
    assert_eq!(windows, expected);
    let after = fs::read(hour.join("windows-000000-000001.parquet")).unwrap();
    assert_eq!(before, after);
}

/// What describes row groups would grow until the end of the hour.
#[test]
fn however_long_an_hour_goes_on_its_files_describe_so_many_chunks_and_others_follow() {
    const WINDOWS: u64 = 40;
    const CHUNKS: usize = 500;
    let folder = tempfile::tempdir().unwrap();
    let mut hours = Hours::open(folder.path(), Some("web01".to_owned())).unwrap();
    // Each window is a row group of each table with rows.
    hours.bounds = Bounds {
        cells: 0,
        chunks: CHUNKS,
    };
    let columns = courtside_export::tables::tables();
    let of_a_window = columns
        .iter()
        .map(|table| table.columns.len())
        .sum::<usize>();
    let mut most = 0;
    for second in 0..WINDOWS {
        hours.window(&window(SIX + second, 10)).unwrap();
        let open = hours.hour.as_ref().map_or(0, |hour| hour.tables.0.chunks());
        assert!(open < CHUNKS, "{open}");
        most = most.max(open);
    }
    // It is not ended sooner than it has to be.
    assert!(most + of_a_window >= CHUNKS, "{most}");
    hours.finish().unwrap();
    assert_eq!((hours.counts().written, hours.counts().lost), (WINDOWS, 0));
    let hour = folder.path().join("host=web01/hour=20261130T06");
    let mut next = 0;
    let mut files = 0;
    for name in names(&hour) {
        let Some(range) = name.strip_prefix("windows-") else {
            continue;
        };
        let (first, last) = range.trim_end_matches(".parquet").split_once('-').unwrap();
        assert_eq!(first.parse::<u64>().unwrap(), next, "{name}");
        next = last.parse::<u64>().unwrap() + 1;
        files += 1;
    }
    assert_eq!(next, WINDOWS);
    assert!(files > 3, "{files}");
}

#[test]
fn a_host_has_one_writer_and_what_a_killed_one_left_goes() {
    let folder = tempfile::tempdir().unwrap();
    let hour = folder.path().join("host=web01/hour=20261130T06");
    fs::create_dir_all(&hour).unwrap();
    let left = format!(".courtside-{}-windows.part", std::process::id());
    fs::write(hour.join(&left), "half").unwrap();
    fs::write(hour.join(".courtside-1-edges.part"), "half").unwrap();
    fs::write(hour.join("notes"), "mine").unwrap();
    let mut first = Hours::open(folder.path(), Some("web01".to_owned())).unwrap();
    first.window(&window(SIX, 10)).unwrap();
    let mut second = Hours::open(folder.path(), Some("web01".to_owned())).unwrap();
    let error = second.window(&window(SIX, 10)).unwrap_err();
    assert!(error.to_string().contains("another courtside"), "{error}");
    assert_eq!(
        second.counts(),
        Counts {
            written: 0,
            lost: 1
        }
    );
    first.finish().unwrap();
    assert!(!names(&hour).iter().any(|name| name.ends_with(".part")));
    assert_eq!(fs::read_to_string(hour.join("notes")).unwrap(), "mine");
    // Once the first one has ended, there is room.
    drop(first);
    second.window(&window(SIX, 10)).unwrap();
    second.finish().unwrap();
    assert_eq!(
        second.counts(),
        Counts {
            written: 1,
            lost: 1
        }
    );
}

#[test]
fn an_hour_that_is_not_ended_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut hours = Hours::open(folder.path(), None).unwrap();
    hours.window(&window(SIX, 10)).unwrap();
    hours.window(&window(SIX + 1, 10)).unwrap();
    drop(hours);
    let host = names(folder.path()).remove(0);
    let hour = folder.path().join(host).join("hour=20261130T06");
    assert_eq!(names(&hour), [""; 0]);
}

#[test]
fn what_is_in_the_way_is_counted_and_the_next_window_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let host = folder.path().join("host=web01");
    fs::create_dir_all(&host).unwrap();
    // A file where a folder should be, and a link that would lead elsewhere.
    fs::write(host.join("hour=20261130T06"), "").unwrap();
    std::os::unix::fs::symlink("/tmp", host.join("hour=20261130T07")).unwrap();
    let mut hours = Hours::open(folder.path(), Some("web01".to_owned())).unwrap();
    for second in [SIX, SIX + 3600] {
        let error = format!("{:#}", hours.window(&window(second, 10)).unwrap_err());
        assert!(error.contains("cannot open the folder"), "{error}");
    }
    hours.window(&window(SIX + 7200, 10)).unwrap();
    hours.window(&window(SIX + 7201, 10)).unwrap();
    // Its folder is gone: what it held is lost, and the hour after it is not.
    fs::remove_dir_all(host.join("hour=20261130T08")).unwrap();
    let error = hours.window(&window(SIX + 10_800, 10)).unwrap_err();
    assert!(format!("{error:#}").contains("cannot create"), "{error:#}");
    hours.finish().unwrap();
    assert_eq!(
        hours.counts(),
        Counts {
            written: 1,
            lost: 4
        }
    );
}

#[test]
fn a_host_has_a_name_that_can_be_that_of_a_folder() {
    for (name, folder) in [
        ("web01.example.org", "web01.example.org"),
        ("a/b=c d", "a_b_c_d"),
        ("..", "_."),
        ("", "unknown"),
        ("größe", "gr__e"),
    ] {
        assert_eq!(host_name(name), folder);
    }
    assert_eq!(host_name(&"x".repeat(1000)).len(), LONGEST_NAME);
    assert_eq!(hour_name(SIX / 3600), "20261130T06");
    assert_eq!(hour_name(0), "19700101T00");
}

/// More windows than an hour has: row groups are written as they fill.
#[test]
fn other_programs_read_all_hours_as_one_data_set() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python");
    let given = std::env::var_os("COURTSIDE_PYTHON").map(std::path::PathBuf::from);
    let Some(python) = given.or_else(|| own.exists().then_some(own)) else {
        eprintln!("not run: no target/python; cargo xtask test makes it");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let seconds: Vec<u64> = (0..3700).map(|n| SIX + n).collect();
    write(folder.path(), &seconds);
    write(folder.path(), &[SIX + 3599, SIX + 3700]);
    let mut other = Hours::open(folder.path(), Some("web02".to_owned())).unwrap();
    other.window(&window(SIX, 7)).unwrap();
    other.finish().unwrap();
    const SCRIPT: &str = r#"
import sys
import pyarrow.dataset as ds, pyarrow.parquet as pq
from pathlib import Path
root = Path(sys.argv[1])
files = sorted(root.rglob("*.parquet"))
for file in files:
    names = pq.ParquetFile(file).schema_arrow.names
    assert "host" not in names and "hour" not in names, file
def table(name):
    mine = [str(file) for file in files if file.name.startswith(name + "-")]
    return ds.dataset(mine, partitioning=ds.partitioning(flavor="hive"), partition_base_dir=str(root)).to_table()
windows = table("windows")
keys = set(zip(*(windows[name].to_pylist() for name in ("host", "hour", "window"))))
assert len(keys) == windows.num_rows, "a window has the number of another"
per = {}
for host, hour, _ in keys:
    per[f"{host} {hour}"] = per.get(f"{host} {hour}", 0) + 1
components = table("components")
served = sum(components["requests_served"].to_pylist())
groups = max(pq.ParquetFile(file).num_row_groups for file in files if file.name.startswith("edges-"))
print(windows.num_rows, served, groups > 1, sorted(per.items()))
"#;
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let per: BTreeMap<&str, u64> = [
        ("web01 20261130T06", 3601),
        ("web01 20261130T07", 101),
        ("web02 20261130T06", 1),
    ]
    .into();
    let per: Vec<String> = per
        .iter()
        .map(|(key, n)| format!("('{key}', {n})"))
        .collect();
    // One request at the entry is one at web, two at app and six at store.
    let served = (3702 * 10 + 7) * 9;
    let expected = format!("3703 {served} True [{}]\n", per.join(", "));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}
