//! What the tests need.
//!
//! In: command lines. Out: what the program said, a fleet and its answers. Must not know: a question.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use serde_json::Value;
use tempfile::TempDir;

pub fn fleet(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_courtside-fleet"))
        .args(arguments)
        .output()
        .unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it printed, where it ended well.
pub fn said(arguments: &[&str]) -> String {
    let output = fleet(arguments);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {error}");
    text(&output.stdout)
}

pub fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&said(&[arguments, &["-F", "json"]].concat())).unwrap()
}

/// The rows that a question in SQL has.
pub fn rows(sql: &str, folder: &str) -> Vec<Value> {
    match json(&["sql", sql, folder]) {
        Value::Array(rows) => rows,
        other => panic!("no array: {other}"),
    }
}

/// What it said where it failed.
pub fn failed(arguments: &[&str]) -> String {
    let output = fleet(arguments);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    error
}

/// A fleet, and what its questions have to answer.
pub struct Fleet {
    folder: TempDir,
    pub answers: Value,
}

impl Fleet {
    pub fn new(hosts: u32, hours: u32, seed: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let answers = folder.path().join("answers.json");
        let [hosts, hours, seed] = [hosts, hours, seed].map(|number| number.to_string());
        let place = folder.path().join("fleet");
        let arguments = [
            "synth",
            "--hosts",
            &hosts,
            "--hours",
            &hours,
            "--seed",
            &seed,
            "-o",
            place.to_str().unwrap(),
            "--answers",
            answers.to_str().unwrap(),
        ];
        said(&arguments);
        let answers = serde_json::from_slice(&std::fs::read(answers).unwrap()).unwrap();
        Self { folder, answers }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("fleet")
    }

    pub fn place(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    /// A file of a table of some host.
    pub fn some_file(&self, table: &str) -> PathBuf {
        let mut files = files(&self.path());
        files.retain(|file| {
            let name = file.file_name().unwrap().to_str().unwrap();
            name.starts_with(&format!("{table}-0"))
        });
        files.into_iter().next().unwrap()
    }
}

/// All files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}

/// The one that most tests ask.
pub static FLEET: LazyLock<Fleet> = LazyLock::new(|| Fleet::new(20, 2, 7));

pub fn count(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no count: {value}"))
}

pub fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no array: {value}"))
}

/// That two numbers, or nulls, are the same but for rounding.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1.0),
        (a, b) => a.is_none() && b.is_none(),
    }
}
