//! Independent readers: pyarrow reads the Parquet files, Perfetto's own messages read the trace, and the example in
//! docs/models.md computes what is known.
//!
//! `cargo xtask test` installs them into target/python; without them these tests say so and hold nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// A Python that has the readers.
fn python() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let given = std::env::var_os("COURTSIDE_PYTHON").map(PathBuf::from);
    let own = workspace.join("target/python/bin/python");
    let python = given.or_else(|| own.exists().then_some(own));
    if python.is_none() {
        eprintln!("not run: no target/python; cargo xtask test makes it");
    }
    python
}

fn write(folder: &Path, files: BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn others_read_the_same() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut windows = windows();
    windows[4].window.start_unix_ns = windows[3].window.start_unix_ns + 1_000_000_000;
    write(folder.path(), as_parquet(&windows));
    write(folder.path(), as_csv(&windows));
    let lines: String = windows.iter().map(|w| json::to_line(w).unwrap()).collect();
    std::fs::write(folder.path().join("windows.ndjson"), lines).unwrap();
    std::fs::write(folder.path().join("trace"), as_trace(&windows)).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/read_back.py");
    let said = run(Command::new(python).arg(script).arg(folder.path()));
    assert_eq!(said, "5 windows: csv, parquet and perfetto say the same\n");
}

#[test]
fn the_example_for_model_builders_computes_what_is_known() {
    let Some(python) = python() else { return };
    let page = include_str!("../../../../docs/models.md");
    let (_, rest) = page
        .split_once("<!-- example: run by a test -->\n```python\n")
        .unwrap();
    let (script, rest) = rest.split_once("```").unwrap();
    let (_, rest) = rest.split_once("```text\n").unwrap();
    let (expected, _) = rest.split_once("```").unwrap();

    let mut state = State::default();
    let windows = [1, 20, 300].map(|n| {
        let mut frame = frames::chain(n);
        frame.disk = vec![courtside_core::frame::Disk {
            image: frames::STORE,
            reads: 6 * n,
            latency: frames::times(6 * n, 80_000),
            ..courtside_core::frame::Disk::default()
        }];
        fold(&mut state, &frame, &View::default())
    });
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), as_parquet(&windows));
    let said = run(Command::new(python).args(["-c", script]).arg(folder.path()));
    assert_eq!(said, expected);
}
