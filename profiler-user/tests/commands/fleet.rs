//! `courtside fleet`, with and without the program that answers.
//!
//! In: command lines. Out: what is said where that program is missing; what it is handed where it is there.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::shared::text;

/// The binary under a name of its own, so that nothing lies beside it.
fn alone() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let program = folder.path().join("courtside");
    fs::hard_link(env!("CARGO_BIN_EXE_courtside"), &program).unwrap();
    (folder, program)
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", "");
    command.output().unwrap()
}

#[test]
fn without_its_program_fleet_says_how_to_have_it_and_still_helps() {
    let (_folder, program) = alone();
    let output = run(&program, &["fleet", "map", "/srv/hosts"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("cargo build --release -p courtside-fleet"),
        "{said}"
    );
    let of_map = ["fleet", "map", "/srv/hosts", "--help"];
    for arguments in [
        &["fleet", "--help"][..],
        &["fleet", "-h"],
        &["fleet"],
        &of_map,
    ] {
        let output = run(&program, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let said = text(&output.stdout);
        assert!(
            said.contains("courtside fleet antagonists") && said.contains("cargo build"),
            "{said}"
        );
    }
}

#[test]
fn its_program_beside_is_handed_every_word_and_says_how_it_ended() {
    let (folder, program) = alone();
    let fake = folder.path().join("courtside-fleet");
    fs::write(&fake, "#!/bin/sh\necho \"$@\"\nexit 7\n").unwrap();
    fs::set_permissions(&fake, Permissions::from_mode(0o755)).unwrap();
    let output = run(
        &program,
        &["fleet", "sql", "SELECT 1", "/d", "-F", "json", "--help"],
    );
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(text(&output.stdout), "sql SELECT 1 /d -F json --help\n");
}
