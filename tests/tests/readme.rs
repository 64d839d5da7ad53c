//! Every command line of the README that is there to be copied runs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{fs, path::Path, process::Command};

use courtside_tests::harness::{Host, courtside, finish};

/// Lines of the shell blocks, after the sentence that says that they can be copied or not.
fn examples() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(readme).unwrap();
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside && line == "```sh";
        } else if inside && !line.trim().is_empty() {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// The command of a line: the user is root already, and `courtside` is on the path.
fn measuring(line: &str) -> Option<&str> {
    let line = line.strip_prefix("sudo ").unwrap_or(line);
    line.starts_with("courtside").then_some(line)
}

#[test]
fn every_example_runs() {
    let _host = Host::take().unwrap();
    let courtside = courtside().unwrap();
    let dir = courtside.parent().unwrap();
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let examples = examples();
    let runnable: Vec<_> = examples.iter().filter_map(|line| measuring(line)).collect();
    assert!(runnable.len() > 5, "{examples:?}");
    for line in runnable {
        let mut command = Command::new("sh");
        command.args(["-c", line]).env("PATH", &path);
        let output = finish(command).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        assert!(!output.stdout.is_empty(), "{line} printed nothing");
        assert_eq!(said, "", "{line}");
    }
}

/// Whatever else is to be copied is a command of the workspace, which has tests of its own.
#[test]
fn every_other_example_is_a_task_that_there_is() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["xtask", "--help"]);
    let help = finish(command).unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for line in examples().iter().filter(|line| measuring(line).is_none()) {
        let task = line
            .strip_prefix("cargo xtask ")
            .and_then(|rest| rest.split(' ').next());
        let task = task.unwrap_or_else(|| line);
        let known = |help: &str| help.split_whitespace().next() == Some(task);
        assert!(help.lines().any(known), "{line}: {help}");
    }
}

/// The commands of the table are abbreviated; their options are parsed all the same.
#[test]
fn every_command_in_the_text_is_understood() {
    let courtside = courtside().unwrap();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(readme).unwrap();
    let commands: Vec<_> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(measuring)
        .collect();
    assert!(!commands.is_empty());
    for line in commands {
        let words = line.split_whitespace().skip(1);
        let options = words.take_while(|word| *word != "--");
        let mut command = Command::new(&courtside);
        command.args(options).arg("--help");
        let output = finish(command).unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }
}
