//! Limits of `courtside guard` when something goes wrong: whatever is killed, stopped or changed, no limit is left behind and
//! none of somebody else is written over.
//!
//! In: a control group made here, of whichever version can be written. Out: what is in its file. Where no control group can be
//! made, as for others than root, there is nothing to test, and that is said.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal},
};
use serde_json::Value;

use crate::shared::text;

/// A control group with a limit.
struct Group {
    folder: PathBuf,
    name: String,
    file: &'static str,
}

static MADE: AtomicU32 = AtomicU32::new(0);

impl Group {
    /// None, and a word about it, where none can be made.
    fn new() -> Option<Self> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("courtside-test-{}-{number}", std::process::id());
        for (mount, file) in [
            ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us"),
            ("/sys/fs/cgroup/cpu,cpuacct", "cpu.cfs_quota_us"),
            ("/sys/fs/cgroup", "cpu.max"),
            ("/sys/fs/cgroup/unified", "cpu.max"),
        ] {
            let group = Self {
                folder: Path::new(mount).join(&name),
                name: format!("/{name}"),
                file,
            };
            if fs::create_dir(&group.folder).is_ok() && group.path().is_file() {
                return Some(group);
            }
        }
        eprintln!("no control group with a limit of CPU time can be made here: nothing is tested");
        None
    }

    fn path(&self) -> PathBuf {
        self.folder.join(self.file)
    }

    fn now(&self) -> String {
        fs::read_to_string(self.path()).unwrap().trim().to_owned()
    }

    /// Another value that the kernel takes, as it is read back.
    fn foreign(&self) -> &'static str {
        match self.file {
            "cpu.max" => "70000 100000",
            "cpu.shares" | "cpu.weight" => "700",
            _ => "70000",
        }
    }

    /// The same group by its weight, which the kernel is asked to be another one than usual; none where there is none.
    fn by_weight(mut self) -> Option<Self> {
        let files = ["cpu.weight", "cpu.shares"];
        let file = files
            .into_iter()
            .find(|file| self.folder.join(file).is_file());
        self.file = file?;
        fs::write(self.path(), "300").unwrap();
        Some(self)
    }

    /// The same group by whether it is idle; none where the kernel does not have that.
    fn by_idle(mut self) -> Option<Self> {
        self.file = "cpu.idle";
        if !self.path().is_file() {
            eprintln!("this kernel has no cpu.idle: nothing is tested");
            return None;
        }
        Some(self)
    }

    /// How it is held back.
    fn how(&self) -> &'static [&'static str] {
        match self.file {
            "cpu.idle" | "cpu.shares" | "cpu.weight" => &["--weight"],
            _ => &["--cap", "0.1"],
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It may have been removed by the test.
        let _ = fs::remove_dir(self.folder.join("inner"));
        let _ = fs::remove_dir(&self.folder);
    }
}

/// A guard that holds a group.
struct Guard {
    process: Child,
    lines: BufReader<ChildStdout>,
}

fn command(arguments: &[&str], state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_courtside"));
    command
        .arg("guard")
        .args(arguments)
        .arg("--state")
        .arg(state);
    command
}

fn run(arguments: &[&str], state: &Path) -> Output {
    command(arguments, state).output().unwrap()
}

impl Guard {
    fn hold(group: &Group, state: &Path) -> Self {
        let arguments = [&["hold", &*group.name, "--json"][..], group.how()].concat();
        let mut process = command(&arguments, state)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Self { process, lines }
    }

    /// One that has written its limit.
    fn holding(group: &Group, state: &Path) -> Self {
        let before = group.now();
        let mut guard = Self::hold(group, state);
        let line = guard.line();
        assert_eq!(line["event"], "capped", "{line}");
        assert_eq!(line["action"]["before"], before);
        assert_eq!(line["action"]["after"], group.now());
        assert_ne!(group.now(), before);
        guard
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    fn helper(&self) -> Pid {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        Pid::from_raw(children.trim().parse().unwrap()).unwrap()
    }

    fn status(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits for something that has to come.
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "waited for {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn journal_is_empty(state: &Path) -> bool {
    fs::metadata(state.join("guard.journal")).unwrap().len() == 0
}

#[test]
fn a_guard_that_is_asked_to_end_takes_its_limit_back() {
    let Some(group) = Group::new() else { return };
    let state = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let before = group.now();
        let mut guard = Guard::holding(&group, state.path());
        kill_process(guard.pid(), signal).unwrap();
        assert_eq!(guard.line()["event"], "released");
        assert_eq!(guard.status(), Some(0));
        assert_eq!(group.now(), before);
        wait_for("an empty journal", || journal_is_empty(state.path()));
    }
}

#[test]
fn a_guard_that_is_killed_leaves_nothing_behind() {
    let Some(group) = Group::new() else { return };
    let state = tempfile::tempdir().unwrap();
    let before = group.now();
    let mut guard = Guard::holding(&group, state.path());
    kill_process(guard.pid(), Signal::KILL).unwrap();
    guard.status();
    wait_for("the limit to be taken back", || group.now() == before);
    wait_for("an empty journal", || journal_is_empty(state.path()));
}

#[test]
fn a_guard_that_is_stopped_loses_its_limit_and_says_so_later() {
    let Some(group) = Group::new() else { return };
    let state = tempfile::tempdir().unwrap();
    let before = group.now();
    let mut guard = Guard::holding(&group, state.path());
    kill_process(guard.pid(), Signal::STOP).unwrap();
    wait_for("the limit to be taken back", || group.now() == before);
    kill_process(guard.pid(), Signal::CONT).unwrap();
    let line = guard.line();
    assert_eq!(line["event"], "released");
    assert!(line["reason"].as_str().unwrap().contains("three seconds"));
    assert_eq!(guard.status(), Some(1));
    assert_eq!(group.now(), before);
}

#[test]
fn when_the_helper_is_killed_another_one_takes_the_limit_back() {
    let Some(group) = Group::new() else { return };
    let state = tempfile::tempdir().unwrap();
    let before = group.now();
    let mut guard = Guard::holding(&group, state.path());
    // What ends others does not end it: the guard is there to end it.
    kill_process(guard.helper(), Signal::TERM).unwrap();
    kill_process(guard.helper(), Signal::KILL).unwrap();
    let line = guard.line();
    assert_eq!(line["event"], "released", "{line}");
    assert_eq!(guard.status(), Some(1));
    assert_eq!(group.now(), before);
}

#[test]
fn when_the_helper_stands_still_another_one_takes_the_limit_back() {
    let Some(group) = Group::new() else { return };
    let state = tempfile::tempdir().unwrap();
    let before = group.now();
    let mut guard = Guard::holding(&group, state.path());
    // It keeps the journal for as long as it lives.
    kill_process(guard.helper(), Signal::STOP).unwrap();
    let line = guard.line();
    assert_eq!(line["event"], "released", "{line}");
    assert_eq!(guard.status(), Some(1));
    assert_eq!(group.now(), before);
    assert!(journal_is_empty(state.path()));
}

/// Kills the guard and its helper, and comes back when neither is there any more.
fn kill_both(mut guard: Guard) {
    kill_process(guard.pid(), Signal::STOP).unwrap();
    let helper = pidfd_open(guard.helper(), PidfdFlags::empty()).unwrap();
    pidfd_send_signal(&helper, Signal::KILL).unwrap();
    kill_process(guard.pid(), Signal::KILL).unwrap();
    guard.status();
    // The journal is the helper's until it has ended, which is later than the signal.
    poll(&mut [PollFd::new(&helper, PollFlags::IN)], None).unwrap();
}

/// Kills the guard and its helper, so that the limit is left behind.
fn left_behind(group: &Group, state: &Path) {
    let guard = Guard::holding(group, state);
    let ours = group.now();
    kill_both(guard);
    assert_eq!(group.now(), ours);
    assert!(!journal_is_empty(state));
}

#[test]
fn what_both_have_left_is_taken_back_by_restore_and_only_once() {
    let Some(group) = Group::new() else { return };
    let state = tempfile::tempdir().unwrap();
    let before = group.now();
    left_behind(&group, state.path());
    let output = run(&["restore", "--json"], state.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(group.now(), before);
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["event"], "released");
    let output = run(&["restore"], state.path());
    assert!(text(&output.stderr).contains("nothing was left behind"));
    assert!(output.stdout.is_empty());
}

#[test]
fn restore_waits_for_a_helper_that_has_not_ended_yet() {
    let Some(group) = Group::new() else { return };
    let state = tempfile::tempdir().unwrap();
    let before = group.now();
    let mut guard = Guard::holding(&group, state.path());
    let helper = guard.helper();
    // It keeps the journal for as long as it lives, and does not live to take its limit back.
    kill_process(helper, Signal::STOP).unwrap();
    let stat = format!("/proc/{}/stat", helper.as_raw_nonzero());
    wait_for("a helper that stands still", || {
        fs::read_to_string(&stat).unwrap().contains(") T ")
    });
    kill_process(guard.pid(), Signal::KILL).unwrap();
    guard.status();
    let restore = command(&["restore", "--json"], state.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It has the lock of guards for as long as it waits.
    let locker = format!("FLOCK  ADVISORY  WRITE {} ", restore.id());
    wait_for("restore to begin", || {
        fs::read_to_string("/proc/locks").unwrap().contains(&locker)
    });
    kill_process(helper, Signal::KILL).unwrap();
    let output = restore.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["event"], "released");
    assert_eq!(group.now(), before);
}

#[test]
fn what_both_have_left_is_taken_back_by_the_next_guard() {
    let (Some(group), Some(other)) = (Group::new(), Group::new()) else {
        return;
    };
    let state = tempfile::tempdir().unwrap();
    let before = group.now();
    left_behind(&group, state.path());
    let mut next = Guard::hold(&other, state.path());
    let line = next.line();
    assert_eq!(line["event"], "released", "{line}");
    assert!(
        line["reason"]
            .as_str()
            .unwrap()
            .contains("an earlier guard")
    );
    assert_eq!(group.now(), before);
    assert_eq!(next.line()["event"], "capped");
}

#[test]
fn what_somebody_else_writes_stays() {
    let Some(group) = Group::new() else { return };
    let state = tempfile::tempdir().unwrap();
    let mut guard = Guard::holding(&group, state.path());
    fs::write(group.path(), group.foreign()).unwrap();
    let line = guard.line();
    assert_eq!(line["event"], "released");
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.contains("somebody else"), "{reason}");
    assert_eq!(guard.status(), Some(1));
    assert_eq!(group.now(), group.foreign());
    // Also if both are killed before they see it.
    fs::write(group.path(), group.foreign()).unwrap();
    let mut guard = Guard::hold(&group, state.path());
    assert_eq!(guard.line()["event"], "capped");
    kill_both(guard);
    let other = group.foreign().replace('7', "8");
    fs::write(group.path(), &other).unwrap();
    let output = run(&["restore"], state.path());
    let said = text(&output.stdout);
    assert!(said.contains("left as it is"), "{output:?}");
    assert_eq!(group.now(), other);
}

#[test]
fn a_group_that_is_removed_or_made_anew_while_it_is_held_is_let_go() {
    let Some(group) = Group::new() else { return };
    let state = tempfile::tempdir().unwrap();
    let before = group.now();
    let mut guard = Guard::holding(&group, state.path());
    fs::remove_dir(&group.folder).unwrap();
    fs::create_dir(&group.folder).unwrap();
    let line = guard.line();
    assert_eq!(line["event"], "released");
    assert!(line["reason"].as_str().unwrap().contains("gone"), "{line}");
    assert_eq!(guard.status(), Some(1));
    assert_eq!(group.now(), before);
    // Left behind in the one that was removed: the new one is not touched.
    left_behind(&group, state.path());
    fs::remove_dir(&group.folder).unwrap();
    fs::create_dir(&group.folder).unwrap();
    let output = run(&["restore"], state.path());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(group.now(), before);
}

#[test]
fn a_second_guard_ends_at_once_and_disturbs_nothing() {
    let Some(group) = Group::new() else { return };
    let state = tempfile::tempdir().unwrap();
    let mut guard = Guard::holding(&group, state.path());
    let ours = group.now();
    let output = run(&["hold", &group.name, "--cap", "0.2"], state.path());
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another guard is at work"), "{said}");
    let output = run(&["restore"], state.path());
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("belongs to a guard that is at work"),
        "{said}"
    );
    assert_eq!(group.now(), ours);
    kill_process(guard.pid(), Signal::TERM).unwrap();
    assert_eq!(guard.status(), Some(0));
}

#[test]
fn what_must_not_be_held_back_is_refused_with_its_reason() {
    let Some(group) = Group::new() else { return };
    let state = tempfile::tempdir().unwrap();
    let inner = group.folder.join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(group.path(), group.foreign().replace('7', "1")).unwrap();
    let mut refused = vec![("/".to_owned(), "root control group")];
    if inner.join(group.file).is_file() {
        refused.push((format!("{}/inner", group.name), "around it has a limit"));
    }
    refused.push((group.name.clone(), "it has a limit of 0.10 CPUs already"));
    refused.push(("/no-such-group".to_owned(), "no control group"));
    for (name, words) in refused {
        let output = run(&["hold", &name, "--cap", "0.3"], state.path());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(words), "{name}: {said}");
    }
    fs::remove_dir(inner).unwrap();
}

/// One by its weight, and one by whether it is idle, as far as the kernel has them.
fn soft_ones() -> Vec<Group> {
    let weight = Group::new().and_then(Group::by_weight);
    let idle = Group::new().and_then(Group::by_idle);
    weight.into_iter().chain(idle).collect()
}

#[test]
fn a_weight_is_taken_back_when_its_guard_ends_or_is_killed_or_its_helper_is() {
    for group in soft_ones() {
        let state = tempfile::tempdir().unwrap();
        let before = group.now();
        for signal in [Signal::TERM, Signal::KILL] {
            let mut guard = Guard::holding(&group, state.path());
            kill_process(guard.pid(), signal).unwrap();
            guard.status();
            wait_for("the weight to be taken back", || group.now() == before);
            wait_for("an empty journal", || journal_is_empty(state.path()));
        }
        let mut guard = Guard::holding(&group, state.path());
        kill_process(guard.helper(), Signal::KILL).unwrap();
        assert_eq!(guard.line()["event"], "released");
        assert_eq!(guard.status(), Some(1));
        assert_eq!(group.now(), before);
    }
}

#[test]
fn a_weight_that_both_have_left_is_taken_back_by_restore() {
    for group in soft_ones() {
        let state = tempfile::tempdir().unwrap();
        let before = group.now();
        left_behind(&group, state.path());
        let output = run(&["restore"], state.path());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(group.now(), before);
    }
}

#[test]
fn a_weight_that_somebody_else_has_changed_stays() {
    for group in soft_ones() {
        let state = tempfile::tempdir().unwrap();
        let mut guard = Guard::holding(&group, state.path());
        let foreign = if group.file == "cpu.idle" {
            "0"
        } else {
            group.foreign()
        };
        fs::write(group.path(), foreign).unwrap();
        let line = guard.line();
        assert_eq!(line["event"], "released");
        let reason = line["reason"].as_str().unwrap();
        assert!(reason.contains("somebody else"), "{reason}");
        assert_eq!(guard.status(), Some(1));
        assert_eq!(group.now(), foreign);
    }
}

#[test]
fn a_weight_of_its_own_is_not_forgotten() {
    // A group that is no longer idle has the usual weight; so one with another is not made idle.
    let Some(group) = Group::new().and_then(Group::by_weight) else {
        return;
    };
    let state = tempfile::tempdir().unwrap();
    let idle = group.folder.join("cpu.idle");
    let guard = Guard::holding(&group, state.path());
    if idle.is_file() {
        assert_eq!(fs::read_to_string(&idle).unwrap().trim(), "0");
    }
    drop(guard);
    wait_for("the weight to be taken back", || group.now() == "300");
}

/// The same command where control groups can be read only, for it alone; none where that cannot be made.
fn read_only(group: &Group, arguments: &[&str], state: &Path) -> Option<Output> {
    let mount = group.folder.parent()?;
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" && exec \"$@\"";
    let inner = command(arguments, state);
    let mut outer = Command::new("unshare");
    outer
        .args(["--mount", "sh", "-c", script])
        .arg(mount)
        .arg(inner.get_program())
        .args(inner.get_args());
    let output = outer.output().ok()?;
    let said = text(&output.stderr);
    let is_made = output.status.code() == Some(1) && said.contains("courtside");
    if !is_made {
        eprintln!("control groups cannot be made read-only here ({said}): nothing is tested");
    }
    is_made.then_some(output)
}

#[test]
fn control_groups_that_can_be_read_only_get_no_limit_and_keep_what_was_left_noted() {
    let Some(group) = Group::new() else { return };
    let state = tempfile::tempdir().unwrap();
    let before = group.now();
    let hold = ["hold", &group.name, "--cap", "0.1"];
    let Some(output) = read_only(&group, &hold, state.path()) else {
        return;
    };
    let said = text(&output.stderr);
    assert!(said.contains("Read-only file system"), "{said}");
    assert_eq!(group.now(), before);
    assert!(journal_is_empty(state.path()));
    // Left behind by others: it cannot be taken back, which is said, and later it can.
    left_behind(&group, state.path());
    let output = read_only(&group, &["restore"], state.path()).unwrap();
    let said = text(&output.stderr);
    assert!(said.contains("stay noted"), "{said}");
    assert!(!journal_is_empty(state.path()));
    let output = run(&["restore"], state.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(group.now(), before);
}

#[test]
fn a_limit_of_the_group_around_that_comes_meanwhile_stays_and_ours_goes() {
    let Some(group) = Group::new() else { return };
    let folder = group.folder.join("inner");
    fs::create_dir(&folder).unwrap();
    let inner = Group {
        name: format!("{}/inner", group.name),
        folder,
        file: group.file,
    };
    if !inner.path().is_file() {
        eprintln!("groups inside of others have no limit here: nothing is tested");
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let before = inner.now();
    let guard = Guard::holding(&inner, state.path());
    fs::write(group.path(), group.foreign()).unwrap();
    // By SIGKILL.
    drop(guard);
    wait_for("the limit to be taken back", || inner.now() == before);
    assert_eq!(group.now(), group.foreign());
}

#[test]
fn without_room_for_the_journal_no_limit_is_set() {
    let Some(group) = Group::new() else { return };
    let state = tempfile::tempdir().unwrap();
    let before = group.now();
    // A disk of one page, which the lock and another file fill.
    let script = "mount -t tmpfs -o size=4k,mode=700 none \"$0\" && head -c 4096 /dev/zero >\"$0\"/full && exec \"$@\"";
    let hold = command(&["hold", &group.name, "--cap", "0.1"], state.path());
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(state.path())
        .arg(hold.get_program())
        .args(hold.get_args())
        .output();
    let said = output
        .map(|output| text(&output.stderr))
        .unwrap_or_default();
    if !said.contains("courtside") {
        eprintln!("no small disk can be made here ({said}): nothing is tested");
        return;
    }
    assert!(said.contains("No space left"), "{said}");
    assert_eq!(group.now(), before);
}
