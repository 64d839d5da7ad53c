//! What it needs to be allowed, and nothing else: the capabilities that the README names, one by one and all of them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use courtside_tests::harness::{
    Host, Running, Snapshot, courtside, eventually, finish, list, number, workload,
};
use rustix::process::Signal;
use serde_json::Value;

/// A user that owns nothing.
const NOBODY: u32 = 65534;

/// The capabilities that the README says a user needs, by name.
fn named() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let (_, line) = readme.split_once("sudo setcap ").unwrap();
    let (names, _) = line.split_once("+ep ").unwrap();
    names.split(',').map(str::to_owned).collect()
}

/// A directory that everybody may use, with a copy of `courtside`.
fn copy(host: &Host) -> PathBuf {
    let everybody = fs::Permissions::from_mode(0o777);
    fs::set_permissions(host.dir(), everybody).unwrap();
    let path = host.dir().join("courtside");
    fs::copy(courtside().unwrap(), &path).unwrap();
    path
}

/// A program as run by a user without any privileges but these, which are its ambient ones.
fn unprivileged(program: &Path, capabilities: &[String]) -> Command {
    let bare = |name: &String| format!("+{}", name.trim_start_matches("cap_"));
    let sets: Vec<String> = capabilities.iter().map(bare).collect();
    let sets = ["-all".to_owned()].into_iter().chain(sets);
    let sets = sets.collect::<Vec<_>>().join(",");
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")])
        .arg("--clear-groups")
        .args([
            format!("--inh-caps={sets}"),
            format!("--ambient-caps={sets}"),
        ])
        .arg(program);
    command
}

#[test]
fn each_capability_that_is_missing_is_named_alone() {
    let host = Host::take().unwrap();
    let program = copy(&host);
    let all = named();
    assert_eq!(all.len(), 4);
    let to_grant = format!("run as root, or: sudo setcap {}+ep ", all.join(","));
    for missing in &all {
        let rest: Vec<String> = all
            .iter()
            .filter(|name| *name != missing)
            .cloned()
            .collect();
        let file = host.dir().join("x.rec");
        for arguments in [
            &["stat", "-d", "50ms"] as &[&str],
            &["record", "-d", "50ms", "-o", file.to_str().unwrap()],
        ] {
            let mut command = unprivileged(&program, &rest);
            command.args(arguments);
            let output = finish(command).unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            let reason = format!("needs {missing}; ");
            assert!(said.contains(&reason) && said.contains(&to_grant), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            // Nothing is begun that cannot be done.
            assert!(!file.exists());
        }
        let mut command = unprivileged(&program, &rest);
        command.args(["check", "--json"]);
        let output = finish(command).unwrap();
        assert_eq!(output.status.code(), Some(1));
        let check: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = list(&check, "checks").find(|check| check["name"] == "capabilities");
        let found = found.unwrap().to_string();
        for name in &all {
            let is_named = found.contains(&format!("{name} missing"));
            assert_eq!(is_named, name == missing, "{name}: {found}");
        }
    }
}

/// Both ways to have them: from whoever starts it, and from the file.
#[test]
fn with_exactly_those_anybody_measures_what_belongs_to_others() {
    const MESSAGES: u64 = 5003;
    const CONNECTIONS: u64 = 4;
    let host = Host::take().unwrap();
    let program = copy(&host);
    let all = named();
    let granted = host.dir().join("granted");
    fs::copy(&program, &granted).unwrap();
    let mut setcap = Command::new("setcap");
    setcap.arg(format!("{}+ep", all.join(","))).arg(&granted);
    assert!(finish(setcap).unwrap().status.success());
    for (way, mut command) in [
        ("ambient", unprivileged(&program, &all)),
        ("setcap", unprivileged(&granted, &[])),
    ] {
        // A name that the kernel does not keep whole, of processes that are root's.
        let name = format!("somebody-{}-{way}", host.tag());
        let mut game = Command::new(workload().unwrap());
        game.args(["ping-pong", "--wait-go", "--warm-up", "3", "--name", &name])
            .args(["--connections", &CONNECTIONS.to_string()])
            .args(["--messages", &MESSAGES.to_string()])
            .stdin(Stdio::piped());
        let mut game = Running::start(&mut game).unwrap();
        assert_eq!(game.line().unwrap(), "ready");
        let mut running = Running::start(command.args(["stat", "--json", "-d", "1h"])).unwrap();
        let status = || fs::read_to_string(format!("/proc/{}/status", running.tgid())).unwrap();
        eventually("the attach", || status().contains("NoNewPrivs:\t1\n")).unwrap();
        let status = status();
        assert!(
            status.contains(&format!("Uid:\t{NOBODY}\t{NOBODY}\t")),
            "{status}"
        );
        assert!(status.contains("CapEff:\t0000000000000000\n"), "{status}");
        game.tell("go").unwrap();
        assert!(game.wait().unwrap().success());
        running.signal(Signal::INT).unwrap();
        let mut text = String::new();
        loop {
            let line = running.line().unwrap();
            if line.is_empty() {
                break;
            }
            text.push_str(&line);
        }
        assert!(running.wait().unwrap().success());
        let snapshot = Snapshot(serde_json::from_str(&text).unwrap());
        let edge = snapshot.edge(&format!("{name}-client"), &format!("{name}-server"));
        let edge = edge.unwrap();
        let turns = MESSAGES - CONNECTIONS;
        assert_eq!(number(edge, "messages_sent").unwrap(), MESSAGES, "{way}");
        assert_eq!(number(edge, "roundtrips").unwrap(), turns, "{way}");
        assert_eq!(number(edge, "service_ns/count").unwrap(), turns, "{way}");
        assert_eq!(snapshot.lost_counts(), [], "{way}");
        println!("{way}: {} for {MESSAGES} messages of others", all.join(","));
    }
}

/// A program that was granted everything reads for its user what that user may read, and no more.
#[test]
fn what_measures_nothing_opens_no_file_of_others() {
    let host = Host::take().unwrap();
    let program = copy(&host);
    let granted = host.dir().join("granted");
    fs::copy(&program, &granted).unwrap();
    let mut setcap = Command::new("setcap");
    setcap
        .arg(format!("{}+ep", named().join(",")))
        .arg(&granted);
    assert!(finish(setcap).unwrap().status.success());
    let recording = host.dir().join("roots.rec");
    let mut record = Command::new(&program);
    record.args(["record", "-d", "50ms", "-i", "10ms", "-o"]);
    assert!(finish_ok(record.arg(&recording)));
    let mode = fs::metadata(&recording).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let rec = recording.to_str().unwrap();
    let out = host.dir().join("out").display().to_string();
    let commands: [&[&str]; 6] = [
        &["replay", rec],
        &["diff", rec, rec, "-o", &out],
        // This one measures, too.
        &["diff", rec, "-o", &out],
        &["export", rec, "-F", "json", "-o", "-"],
        &["export", rec, "-F", "csv", "-o", &out],
        &["report", rec, "-o", &out],
    ];
    for arguments in commands {
        for (way, mut command) in [
            ("setcap", unprivileged(&granted, &[])),
            ("ambient", unprivileged(&program, &named())),
        ] {
            let output = finish({
                command.args(arguments);
                command
            })
            .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{way} {arguments:?}: {said}");
            assert!(said.contains("Permission denied"), "{way}: {said}");
            assert!(output.stdout.is_empty() && !Path::new(&out).exists());
        }
    }
    // Root reads its own.
    let mut command = Command::new(&program);
    command.args(["export", rec, "-F", "json", "-o", "-"]);
    assert!(finish_ok(&mut command));
}

/// What root compares with now was mostly recorded with `sudo`, and belongs to whoever called that.
#[test]
fn root_compares_what_belongs_to_another_user_with_now() {
    const RATE: &str = "400";
    let host = Host::take().unwrap();
    let program = copy(&host);
    let mut relay = Command::new(workload().unwrap());
    relay.args(["relay", "--serve", "--rate", RATE, "--suffix", &host.tag()]);
    let work = [
        "--web",
        "spin=50us,calls=1",
        "--app",
        "spin=50us",
        "--store",
        "",
    ];
    let mut relay = Running::start(relay.args(work)).unwrap();
    assert_eq!(relay.line().unwrap(), "ready");
    let recording = host.dir().join("x.rec");
    let mut record = Command::new(&program);
    record.args(["record", "-d", "2s", "-i", "20ms", "-o"]);
    assert!(finish_ok(record.arg(&recording)));
    std::os::unix::fs::chown(&recording, Some(NOBODY), Some(NOBODY)).unwrap();
    let rec = recording.to_str().unwrap();
    let mut command = Command::new(&program);
    command.args(["diff", rec, "--json", "-d", "2s"]);
    let output = finish(command).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let diff: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&diff["a"]["live"], &diff["b"]["live"]),
        (&false.into(), &true.into())
    );
    for side in ["a", "b"] {
        // Of each request there are two: the one at the first tier, and the one that it makes.
        let requests = number(&diff[side], "requests").unwrap();
        println!(
            "{side}: {} windows, {requests} requests",
            diff[side]["windows"]
        );
        assert!(requests > 200, "{diff}");
        assert!(number(&diff[side], "windows").unwrap() >= 15, "{diff}");
    }
    assert!(number(&diff, "compared").unwrap() > 5, "{diff}");
    relay.signal(Signal::TERM).unwrap();
    relay.wait().unwrap();
}

/// While a command is at work it holds nothing; seen where it waits for whoever reads its output.
#[test]
fn what_measures_nothing_holds_no_privilege() {
    let host = Host::take().unwrap();
    let program = copy(&host);
    let fifo = host.dir().join("fifo");
    let path = std::ffi::CString::new(fifo.to_str().unwrap()).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path.as_c_str(),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    fs::set_permissions(&fifo, fs::Permissions::from_mode(0o666)).unwrap();
    let recording = host.dir().join("x.rec");
    let mut record = Command::new(&program);
    record.args(["record", "-d", "50ms", "-i", "10ms", "-o"]);
    assert!(finish_ok(record.arg(&recording)));
    fs::set_permissions(&recording, fs::Permissions::from_mode(0o644)).unwrap();
    let root = Command::new(&program);
    for mut command in [root, unprivileged(&program, &named())] {
        command.arg("report").arg(&recording).arg("-o").arg(&fifo);
        let mut running = Running::start(&mut command).unwrap();
        // It waits for a reader of the pipe.
        let status = || fs::read_to_string(format!("/proc/{}/status", running.tgid())).unwrap();
        eventually("no_new_privs", || status().contains("NoNewPrivs:\t1\n")).unwrap();
        eventually("no capability", || {
            let status = status();
            ["CapInh", "CapPrm", "CapEff", "CapAmb"]
                .iter()
                .all(|set| status.contains(&format!("{set}:\t0000000000000000\n")))
        })
        .unwrap();
        assert!(!fs::read(&fifo).unwrap().is_empty());
        assert!(running.wait().unwrap().success());
    }
}

fn finish_ok(command: &mut Command) -> bool {
    let output = command.output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stderr));
    output.status.success()
}
