//! What cannot work ends with what failed, why, and what mends it; what can, works with less.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use courtside_tests::harness::{Host, Snapshot, courtside, finish, list, number, workload};
use serde_json::Value;

/// All that attaching needs, as `setpriv` takes it.
const NEEDED: &str = "-all,+bpf,+perfmon,+sys_ptrace,+dac_read_search";

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(courtside().unwrap());
    command.args(arguments);
    finish(command).unwrap()
}

/// Runs `courtside` behind another command.
fn run_behind(before: &[&str], arguments: &[&str]) -> Output {
    let mut command = Command::new(before[0]);
    command
        .args(&before[1..])
        .arg(courtside().unwrap())
        .args(arguments);
    finish(command).unwrap()
}

/// Runs `courtside` as a user without any privileges but these.
fn run_unprivileged(capabilities: &str, arguments: &[&str]) -> Output {
    let [inheritable, ambient] =
        ["inh", "ambient"].map(|set| format!("--{set}-caps={capabilities}"));
    let before = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        &inheritable,
        &ambient,
    ];
    run_behind(&before, arguments)
}

/// Runs `courtside` where `path` shows `instead`.
fn run_where(path: &str, instead: &Path, arguments: &[&str]) -> Output {
    let script = r#"mount --bind "$1" "$0" && shift && exec "$@""#;
    let instead = instead.to_str().unwrap();
    let before = ["unshare", "--mount", "sh", "-c", script, path, instead];
    run_behind(&before, arguments)
}

/// Holds a failure to its exit status, its one line, and the words that must be in it.
fn says(output: &Output, status: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{text}");
    for word in words {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
    if status == 1 {
        assert!(text.starts_with("courtside: "), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    assert!(!text.contains("panic"), "{text}");
}

fn text(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The kernel's type information, with these names exchanged for each other.
fn btf_with(host: &Host, names: [&str; 2]) -> std::path::PathBuf {
    let mut btf = fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let places = names.map(|name| {
        let name = format!("\0{name}\0");
        btf.windows(name.len())
            .position(|bytes| bytes == name.as_bytes())
    });
    for (place, name) in places.into_iter().zip([names[1], names[0]]) {
        if let Some(place) = place {
            btf[place + 1..][..name.len()].copy_from_slice(name.as_bytes());
        }
    }
    let path = host.dir().join("btf");
    fs::write(&path, btf).unwrap();
    path
}

#[test]
fn what_is_not_there_is_named_with_the_command_that_finds_it() {
    let missing = i32::MAX.to_string();
    let cases: [(&[&str], &[&str]); 6] = [
        (&["-p", &missing], &[&missing, "pgrep -a"]),
        (&["--unit", "no-such"], &["no-such", "systemctl list-units"]),
        (&["-c", "/no/such"], &["/no/such", "systemd-cgls"]),
        (&["--container", "ffff"], &["ffff", "docker ps"]),
        (&["-n", "web["], &["web[", "unclosed"]),
        (
            &["--", "/no/such"],
            &["cannot run /no/such", "No such file"],
        ),
    ];
    for (arguments, words) in cases {
        says(&run(&[&["stat"], arguments].concat()), 1, words);
        if arguments[0] != "--" {
            says(&run(&[&["top"], arguments].concat()), 1, words);
            says(&run(arguments), 1, words);
        }
    }
}

#[test]
fn wrong_usage_is_explained() {
    for (line, words) in [
        ("nonsense", &["nonsense", "Usage:", "--help"] as &[&str]),
        ("stat --intervall 1s", &["--interval", "similar", "--help"]),
        ("stat --interval 0", &["--interval", "more than zero"]),
        ("stat --interval soon", &["soon", "500ms"]),
        ("stat -d -1", &["-1", "--help"]),
        ("stat --rtt-floor banana", &["banana", "150us"]),
        ("stat --rtt-floor 150", &["150", "150us"]),
        ("stat -F xml", &["xml", "table, json"]),
        ("stat --group-by colour", &["colour", "container"]),
        ("stat -p one", &["one", "--pid"]),
        ("stat --port 0", &["--port", "1..=65535"]),
        ("stat --port 65536", &["65536", "1..=65535"]),
        ("stat --entry :80", &[":80", "--entry web:8080"]),
        ("stat --json -F table", &["--json", "cannot be used with"]),
        (
            "stat redis-benchmark -n 3",
            &["redis-benchmark", "-- <COMMAND>"],
        ),
        ("top --json", &["--json", "--help"]),
        ("-p 1 stat", &["stat", "Usage:"]),
        ("schema", &["<NAME>", "Usage:"]),
        (
            "schema snapshots",
            &["snapshots", "snapshot, findings, diff, check"],
        ),
        ("completions tcsh", &["tcsh", "bash", "zsh"]),
    ] {
        let arguments: Vec<_> = line.split(' ').collect();
        let output = run(&arguments);
        says(&output, 2, words);
        assert!(output.stdout.is_empty(), "{line}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let host = Host::take().unwrap();
    let ran = host.dir().join("ran");
    let touch = ["--", "touch", ran.to_str().unwrap()];
    for (path, why) in [
        ("/proc/no", "No such file"),
        ("/", "it is a folder"),
        ("/no/such/file", "No such file"),
    ] {
        let arguments = [&["stat", "-o", path] as &[&str], &touch].concat();
        says(&run(&arguments), 1, &["cannot write to", path, why]);
        says(&run(&["check", "-o", path]), 1, &[path, why]);
    }
    // It was known before anything began.
    assert!(!ran.exists());
    for arguments in ["stat -d 50ms -o /dev/full", "check --json -o /dev/full"] {
        let arguments: Vec<_> = arguments.split(' ').collect();
        says(&run(&arguments), 1, &["/dev/full", "No space left"]);
    }
    for arguments in [
        "stat -d 50ms",
        "check",
        "schema snapshot",
        "completions bash",
    ] {
        let script = r#"exec "$0" "$@" > /dev/full"#;
        let arguments: Vec<_> = arguments.split(' ').collect();
        let output = run_behind(&["sh", "-c", script], &arguments);
        says(&output, 1, &["cannot write to stdout", "No space left"]);
    }
}

#[test]
fn an_entry_where_nothing_came_in_is_named() {
    let host = Host::take().unwrap();
    let path = host.dir().join("snapshot");
    let output = ["stat", "--json", "-o", path.to_str().unwrap()];
    let entries = ["--entry", "pp-server", "--entry", "pp-sever:80"];
    let workload = workload().unwrap();
    let command = ["--", workload.to_str().unwrap(), "ping-pong"];
    let output = run(&[&output as &[&str], &entries, &command].concat());
    let words = ["there is no entry pp-sever:80", "came in at: pp-server:"];
    says(&output, 1, &words);
    // What was measured is not lost for that.
    assert!(fs::read_to_string(path).unwrap().contains("pp-server"));
}

#[test]
fn the_dashboard_without_a_terminal_names_stat() {
    let _host = Host::take().unwrap();
    says(&run(&["top"]), 1, &["needs a terminal", "courtside stat"]);
}

/// Whatever is written, and wherever.
#[test]
fn what_cannot_be_written_for_want_of_room_is_named() {
    let host = Host::take().unwrap();
    let recording = host.dir().join("x.rec");
    let recording = recording.to_str().unwrap();
    text(&run(&["record", "-d", "300ms", "-o", recording]));
    for arguments in [
        &["stat", "-d", "50ms"] as &[&str],
        &["stat", "-d", "50ms", "--json"],
        &["export", recording, "-F", "json"],
        &["export", recording, "-F", "ndjson"],
        &["export", recording, "-F", "perfetto"],
        &["report", recording],
    ] {
        let output = run(&[arguments, &["-o", "/dev/full"]].concat());
        says(&output, 1, &["/dev/full", "No space left on device"]);
    }
    let script = r#"exec "$@" >/dev/full"#;
    for arguments in [
        &["stat", "-d", "50ms"] as &[&str],
        &["check"],
        &["export", recording, "-F", "json", "-o", "-"],
    ] {
        let output = run_behind(&["sh", "-c", script, "sh"], arguments);
        says(
            &output,
            1,
            &["cannot write to stdout: No space left on device"],
        );
    }
}

#[test]
fn without_privileges_those_missing_are_named_with_the_command_that_grants_them() {
    let _host = Host::take().unwrap();
    let all = "setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search+ep /";
    let missing = ["cap_bpf, cap_perfmon, cap_sys_ptrace", "run as root", all];
    says(
        &run_unprivileged("-all", &["stat", "-d", "50ms"]),
        1,
        &missing,
    );
    says(&run_unprivileged("-all", &["top"]), 1, &missing);
    let all_but_one = NEEDED.replace(",+perfmon", "");
    let output = run_unprivileged(&all_but_one, &["stat", "-d", "50ms"]);
    says(&output, 1, &["needs cap_perfmon; run as root", all]);
    let output = run_unprivileged("-all", &["check", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let check: Value = serde_json::from_slice(&output.stdout).unwrap();
    let capabilities = list(&check, "checks").find(|check| check["name"] == "capabilities");
    assert_eq!(capabilities.unwrap()["state"], "missing");
    assert!(capabilities.unwrap()["fix"].as_str().unwrap().contains(all));
}

/// The four capabilities are all that a user needs: as many roundtrips, under the same names.
#[test]
fn with_the_capabilities_it_names_any_user_measures() {
    let host = Host::take().unwrap();
    let workload = workload().unwrap();
    let arguments = [
        "stat",
        "--json",
        "--",
        workload.to_str().unwrap(),
        "ping-pong",
    ];
    let output = run_unprivileged(NEEDED, &arguments);
    drop(host);
    let snapshot = Snapshot(serde_json::from_str(&text(&output)).unwrap());
    let edge = snapshot.edge("pp-client", "pp-server").unwrap();
    assert_eq!(number(edge, "roundtrips").unwrap(), 1000);
}

#[test]
fn a_kernel_that_does_not_describe_itself_is_told_which_option_it_lacks() {
    let host = Host::take().unwrap();
    let empty = host.dir().join("empty");
    fs::create_dir(&empty).unwrap();
    let without_btf = |arguments: &[&str]| run_where("/sys/kernel/btf", &empty, arguments);
    let option = "CONFIG_DEBUG_INFO_BTF";
    let words = ["/sys/kernel/btf/vmlinux: No such file", option];
    let output = without_btf(&["stat", "-d", "50ms"]);
    says(&output, 1, &words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
    let output = without_btf(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(option), "{said}");
}

#[test]
fn tracefs_is_not_needed() {
    let host = Host::take().unwrap();
    let empty = host.dir().join("empty");
    fs::create_dir(&empty).unwrap();
    for path in ["/sys/kernel/tracing", "/sys/kernel/debug"] {
        let output = run_where(path, &empty, &["stat", "-d", "50ms", "--json"]);
        let snapshot: Value = serde_json::from_str(&text(&output)).unwrap();
        for probe in list(&snapshot["quality"], "probes") {
            assert_eq!(probe["state"], "attached", "{probe}");
        }
    }
}

/// A kernel whose types know no such tracepoint.
#[test]
fn without_one_hook_the_rest_goes_on() {
    let host = Host::take().unwrap();
    let name = "tcp_retransmit_skb";
    let hook = format!("btf_trace_{name}");
    let btf = btf_with(&host, [&hook, &hook.replace("skb", "xyz")]);
    let btf = |arguments: &[&str]| run_where("/sys/kernel/btf/vmlinux", &btf, arguments);
    let workload = workload().unwrap();
    let arguments = [
        "stat",
        "--json",
        "--",
        workload.to_str().unwrap(),
        "ping-pong",
    ];
    let output = btf(&arguments);
    let words = [name, "is not attached", "lost: retransmits"];
    says(&output, 0, &words);
    let snapshot = Snapshot(serde_json::from_str(&text(&output)).unwrap());
    for probe in list(&snapshot.0["quality"], "probes") {
        let failed = probe["name"] == name;
        let state = if failed { "failed" } else { "attached" };
        assert_eq!(probe["state"], state, "{probe}");
        assert_eq!(probe["reason"].as_str().unwrap().is_empty(), !failed);
    }
    let edge = snapshot.edge("pp-client", "pp-server").unwrap();
    assert_eq!(number(edge, "roundtrips").unwrap(), 1000);
    let check = text(&btf(&["check"]));
    assert!(check.contains("what is degraded"), "{check}");
    assert!(check.contains("lost: retransmits"), "{check}");
}

/// Types that do not fit the kernel: a task's group is where its priority is.
#[test]
fn a_kernel_that_is_described_wrongly_is_not_measured() {
    let host = Host::take().unwrap();
    let btf = btf_with(&host, ["tgid", "prio"]);
    let btf = |arguments: &[&str]| run_where("/sys/kernel/btf/vmlinux", &btf, arguments);
    let output = btf(&["stat", "-d", "50ms"]);
    says(
        &output,
        1,
        &[
            "self-check",
            "task_struct.tgid",
            "nothing was measured",
            "uname -r",
        ],
    );
    assert!(output.stdout.is_empty());
    let output = btf(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("self-check"));
}

/// What every subcommand prints, with traffic that fills the tables.
fn everything_printed(before: &[&str], color: &[&str]) -> String {
    let workload = workload().unwrap();
    let workload = workload.to_str().unwrap();
    let relay = ["--", workload, "relay", "--requests", "20"];
    let mut said = String::new();
    for arguments in [
        [&["stat"], color, &relay].concat(),
        [&["stat", "--json"], color, &relay].concat(),
        [&["check"], color].concat(),
        [&["check", "-v"], color].concat(),
        vec!["schema", "snapshot"],
        vec!["completions", "zsh"],
        vec!["--help"],
        vec!["stat", "--help"],
        vec!["top"],
        vec!["stat", "-p", "2147483647"],
        vec!["stat", "--nonsense"],
    ] {
        let output = run_behind(before, &arguments);
        said.push_str(&String::from_utf8(output.stdout).unwrap());
        said.push_str(&String::from_utf8(output.stderr).unwrap());
    }
    assert!(said.contains("one request"), "{said}");
    said
}

#[test]
fn a_locale_without_utf_8_gets_plain_ascii() {
    let _host = Host::take().unwrap();
    let said = everything_printed(&["env", "LC_ALL=C"], &[]);
    let line = said.lines().find(|line| !line.is_ascii());
    assert_eq!(line, None);
}

#[test]
fn what_is_no_terminal_gets_no_escape_codes() {
    let _host = Host::take().unwrap();
    let terminal = ["env", "-u", "NO_COLOR", "TERM=xterm-256color", "CLICOLOR=1"];
    let none = |said: &str| said.lines().find(|line| line.contains('\x1b')).is_none();
    assert!(none(&everything_printed(&terminal, &[])));
    assert!(!none(&everything_printed(
        &terminal,
        &["--color", "always"]
    )));
    assert!(none(&everything_printed(
        &["env", "NO_COLOR=1"],
        &["--color", "auto"]
    )));
}
