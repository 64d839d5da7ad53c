//! The binary as its users call it, as far as that needs no privileges.
//!
//! In: command lines. Out: exit status, stdout, stderr.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::shared::{courtside, text};

#[test]
fn wrong_usage_is_status_2_and_says_what_would_be_right() {
    for (arguments, says) in [
        (&["stat", "-d", "soon"][..], "10s"),
        (&["stat", "-F", "xml"], "table, json"),
        (&["stat", "redis-benchmark"], "[-- <COMMAND>...]"),
        (&["stat", "--rtt-floor", "150"], "150us"),
        (&["stat", "--entry", ":80"], "--entry web:8080"),
        (&["schema", "nonsense"], "snapshot, findings, diff, check"),
        (&["chekc"], "check"),
    ] {
        let output = courtside(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        let said = text(&output.stderr);
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

#[test]
fn what_is_not_there_is_status_1_and_names_the_command_that_finds_it() {
    let output = courtside(&["stat", "-p", "4294967295"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.starts_with("courtside: there is no process 4294967295; "),
        "{said}"
    );
}

#[test]
fn help_goes_to_stdout_without_escape_codes() {
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["stat", "--help"],
        &["--version"],
    ] {
        let output = courtside(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && !output.stdout.contains(&0x1b));
    }
}

#[test]
fn check_keeps_its_schema_wherever_it_runs() {
    let schema = courtside(&["schema", "check"]);
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    let output = courtside(&["check", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    jsonschema::validate(&schema, &report).unwrap();
    let expected = if report["ok"] == true { 0 } else { 1 };
    assert_eq!(output.status.code(), Some(expected), "{report}");
}

#[test]
fn what_is_not_a_terminal_gets_no_escape_codes() {
    let output = courtside(&["check", "-v"]);
    assert!(!output.stdout.is_empty());
    assert!(!output.stdout.contains(&0x1b));
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = courtside(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(text(&output.stdout).contains("rtt-floor"), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("new");
    let output = courtside(&["man", at.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for page in ["courtside", "courtside-serve", "courtside-guard-learn"] {
        let page = std::fs::read_to_string(at.join(format!("{page}.1"))).unwrap();
        assert!(
            page.contains(".SH OPTIONS") && page.contains("Examples:"),
            "{page}"
        );
    }
    let output = courtside(&["man", "/proc/none/such"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot write into /proc/none/such"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_courtside"))
        .args(["schema", "snapshot"])
        .stdout(Stdio::from(writer))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(status.status.code(), Some(0));
    assert_eq!(text(&status.stderr), "");
}

#[test]
fn what_is_no_recording_is_status_1_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/v1/relay.rec");
    let sound = std::fs::read(golden).unwrap();
    let mut newer = sound.clone();
    newer[8] = 7;
    // CRC-32 of the head with version 7.
    newer[12..16].copy_from_slice(&0x8DC9_F331u32.to_le_bytes());
    for (bytes, says) in [
        (&b""[..], "is empty"),
        (
            b"{}",
            "is not a recording; record one with: courtside record",
        ),
        (&newer, "has format 7"),
        (&sound[..100], "holds no whole window"),
    ] {
        let file = dir.path().join("x.rec");
        std::fs::write(&file, bytes).unwrap();
        let output = courtside(&["replay", file.to_str().unwrap()]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(says), "{said}");
        assert!(output.stdout.is_empty());
    }
    let output = courtside(&["replay", golden, "--entry", "web", "-n", "web"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("web → app"));
    assert_eq!(text(&output.stderr), "");
}
