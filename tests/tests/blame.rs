//! Whom the CPU was given to while somebody waited for it. The answer is known from outside: who was bound to that CPU, and
//! what the scheduler charged to whom.
//!
//! What is measured stands still when the window begins and ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
};

use courtside_tests::{
    harness::{Host, Measured, Running, Snapshot, eventually, list, number, workload},
    quota::Quota,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A shell that keeps these CPUs busy, stopped.
fn hog(cpus: &str, nice: &str) -> Running {
    let mut command = Command::new("nice");
    command.args(["-n", nice, "taskset", "--cpu-list", cpus]);
    command.args(["sh", "-c", "echo; while :; do :; done"]);
    let mut hog = Running::start(&mut command).unwrap();
    hog.line().unwrap();
    stop(hog.tgid());
    hog
}

/// Stops a process and waits until it does not run.
fn stop(tgid: u32) {
    let pid = Pid::from_raw(tgid.cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    eventually("a process to stop", || {
        let status = fs::read_to_string(format!("/proc/{tgid}/status")).unwrap();
        status.contains("State:\tT")
    })
    .unwrap();
}

/// What the scheduler has charged to a process of one thread: time on a CPU, and in the run queue.
fn charged(tgid: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{tgid}/schedstat")).unwrap();
    let mut fields = text.split(' ').map(|field| field.parse().unwrap());
    (fields.next().unwrap(), fields.next().unwrap())
}

/// Lets stopped processes go on for a while, in one window.
fn let_run(host: &Host, hogs: &[&Running]) -> Snapshot {
    let play = "kill -CONT $*; sleep 2; kill -STOP $*; sleep 0.2";
    let mut command = Command::new("sh");
    command.args(["-c", play, "sh"]);
    command.args(hogs.iter().map(|hog| hog.tgid().to_string()));
    let Measured { snapshot, .. } = host.stat(&["--group-by", "process"], &mut command).unwrap();
    for component in list(&snapshot.0, "components") {
        let by = blame(component);
        let waited = number(component, "cpu/run_queue_ns").unwrap();
        assert_eq!(by.values().sum::<u64>(), waited, "{component}");
    }
    for hog in hogs {
        assert_eq!(component(&snapshot, hog)["threads"], 1);
    }
    snapshot
}

fn component<'a>(snapshot: &'a Snapshot, hog: &Running) -> &'a Value {
    let tgid = u64::from(hog.tgid());
    let is =
        |component: &Value| list(component, "processes").any(|process| process["tgid"] == tgid);
    list(&snapshot.0, "components").find(|c| is(c)).unwrap()
}

/// Nanoseconds by component.
fn blame(component: &Value) -> BTreeMap<String, u64> {
    let by = list(&component["cpu"], "run_queue_by");
    by.map(|by| {
        (
            by["component"].as_str().unwrap().to_owned(),
            by["ns"].as_u64().unwrap(),
        )
    })
    .collect()
}

/// The share of one hog's waits during which another one had the CPU.
fn share(snapshot: &Snapshot, of: &Running, because_of: &Running) -> f64 {
    let by = blame(component(snapshot, of));
    let who = component(snapshot, because_of)["id"].as_str().unwrap();
    let whole: u64 = by.values().sum();
    by.get(who).copied().unwrap_or(0) as f64 / whole.max(1) as f64
}

#[test]
fn whoever_waits_for_one_hog_waits_because_of_it_and_not_of_a_decoy() {
    let host = Host::take().unwrap();
    let (victim, hog, decoy) = (hog("0", "0"), hog("0", "0"), hog("1", "0"));
    let before = charged(victim.tgid());
    let snapshot = let_run(&host, &[&victim, &hog, &decoy]);
    let after = charged(victim.tgid());
    let waited = number(component(&snapshot, &victim), "cpu/run_queue_ns").unwrap();
    assert!(waited.abs_diff(after.1 - before.1) <= waited / 100);
    let by = blame(component(&snapshot, &victim));
    assert!(share(&snapshot, &victim, &hog) >= 0.95, "{by:?}");
    assert!(share(&snapshot, &hog, &victim) >= 0.95);
    assert!(share(&snapshot, &victim, &decoy) < 0.001, "{by:?}");
}

#[test]
fn of_two_hogs_that_get_unequal_shares_the_right_one_comes_first() {
    let host = Host::take().unwrap();
    let (victim, greedy, modest) = (hog("0", "0"), hog("0", "0"), hog("0", "10"));
    let before = [&greedy, &modest].map(|hog| charged(hog.tgid()).0);
    let snapshot = let_run(&host, &[&victim, &greedy, &modest]);
    let after = [&greedy, &modest].map(|hog| charged(hog.tgid()).0);
    let shares = [&greedy, &modest].map(|hog| share(&snapshot, &victim, hog));
    assert!(shares[0] + shares[1] >= 0.95, "{shares:?}");
    // The victim can run all the time: whenever one of the two runs, it waits for that one.
    let ran: Vec<f64> = (0..2).map(|i| (after[i] - before[i]) as f64).collect();
    let expected = ran[1] / (ran[0] + ran[1]);
    assert!((shares[1] - expected).abs() < 0.02, "{shares:?} {ran:?}");
    assert!(shares[0] > 5.0 * shares[1], "{shares:?}");
}

/// The kernel moves them about: what one waited for a CPU that it left is booked on who had that one.
#[test]
fn three_hogs_on_two_cpus_wait_for_each_other() {
    let host = Host::take().unwrap();
    let hogs = [hog("0,1", "0"), hog("0,1", "0"), hog("0,1", "0")];
    let snapshot = let_run(&host, &hogs.each_ref());
    for (place, hog) in hogs.iter().enumerate() {
        let by = blame(component(&snapshot, hog));
        for other in (0..3).filter(|other| *other != place) {
            assert!(share(&snapshot, hog, &hogs[other]) > 0.05, "{by:?}");
        }
        // It never waits for itself, and hardly for nobody.
        assert_eq!(share(&snapshot, hog, hog), 0.0, "{by:?}");
        let whole: u64 = by.values().sum();
        let nobody: u64 = ["idle", "unknown"]
            .iter()
            .filter_map(|who| by.get(*who))
            .sum();
        assert!(nobody as f64 <= 0.1 * whole as f64, "{by:?}");
    }
}

/// Whoever sleeps most of the time and is woken on an idle CPU waits for nobody.
#[test]
fn on_an_idle_cpu_nobody_is_to_blame() {
    let host = Host::take().unwrap();
    let mut command = Command::new("taskset");
    command.args([
        "--cpu-list",
        "1",
        "sh",
        "-c",
        "i=0; while [ $i -lt 200 ]; do sleep 0.005; i=$((i+1)); done",
    ]);
    let Measured { snapshot, .. } = host.stat(&["--group-by", "comm"], &mut command).unwrap();
    let all = list(&snapshot.0, "components")
        .find(|c| c["name"] == "sleep")
        .unwrap();
    let by = blame(all);
    let whole: u64 = by.values().sum();
    let known: u64 = by
        .iter()
        .filter(|(who, _)| *who != "unknown")
        .map(|(_, ns)| ns)
        .sum();
    assert!(whole > 0 && known as f64 >= 0.9 * whole as f64, "{by:?}");
}

/// A child waits for its first CPU as the program that forked it, whatever it becomes then.
#[test]
fn what_a_child_waits_before_it_runs_another_program_is_known() {
    let host = Host::take().unwrap();
    let hog = hog("0", "0");
    let mother = host.dir().join("mother");
    fs::copy("/bin/sh", &mother).unwrap();
    let play =
        "kill -CONT $1; i=0; while [ $i -lt 50 ]; do /bin/true; i=$((i+1)); done; kill -STOP $1";
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0"]).arg(&mother);
    command.args(["-c", play, "mother"]);
    command.arg(hog.tgid().to_string());
    let Measured { snapshot, .. } = host.stat(&["--group-by", "comm"], &mut command).unwrap();
    let all = list(&snapshot.0, "components")
        .find(|c| c["name"] == "mother")
        .unwrap();
    let by = blame(all);
    let whole: u64 = by.values().sum();
    let unknown = by.get("unknown").copied().unwrap_or(0);
    assert!(whole > 0 && unknown <= whole / 5, "{by:?}");
}

/// A hog with a tenth of a CPU, beside another one on the same CPU: what its own quota holds it back is nobody else's doing.
#[test]
fn its_own_quota_is_nobody_elses_doing() {
    let host = Host::take().unwrap();
    let quota = Quota::new(&host.tag(), 100);
    let (held, other) = (hog("0", "0"), hog("0", "0"));
    quota.take(held.tgid());
    let before = (charged(held.tgid()), quota.throttled_ns());
    let snapshot = let_run(&host, &[&held, &other]);
    let after = (charged(held.tgid()), quota.throttled_ns());
    let cpu = &component(&snapshot, &held)["cpu"];
    let throttled = number(cpu, "throttled_ns").unwrap();
    let waited = number(cpu, "run_queue_ns").unwrap();
    let by_kernel = after.1 - before.1;
    let delayed = after.0.1 - before.0.1;
    let what = format!("{cpu}, kernel: throttled {by_kernel}, delayed {delayed}");
    // A wait that went on when clocks were read is told as unknown, and by whom it was is not told again when it has ended.
    let by = blame(component(&snapshot, &held));
    let unknown = by.get("unknown").copied().unwrap_or(0);
    let slack = by_kernel * 3 / 100;
    assert!(throttled <= by_kernel + slack, "{what}");
    assert!(throttled + unknown + slack >= by_kernel, "{what}");
    assert!(throttled > by_kernel / 2, "{what}");
    assert!(
        (throttled + waited).abs_diff(delayed) <= delayed / 100,
        "{what}"
    );
    assert!(throttled > 0, "{what}");
    // The other one is never held back.
    let free = &component(&snapshot, &other)["cpu"];
    assert_eq!(number(free, "throttled_ns").unwrap(), 0);
    drop((held, other));
}

/// A quota that holds a hog back while the window ends does so in this window. It runs for a hundredth of each second, so a
/// window hardly ever ends while it does not wait.
#[test]
fn a_quota_that_still_holds_back_when_the_window_ends_is_told() {
    let host = Host::take().unwrap();
    let quota = Quota::new(&host.tag(), 1000);
    let held = hog("0", "0");
    quota.take(held.tgid());
    let mut command = Command::new("sh");
    command.args(["-c", "kill -CONT $1; sleep 1", "sh"]);
    command.arg(held.tgid().to_string());
    let Measured { snapshot, .. } = host.stat(&["--group-by", "process"], &mut command).unwrap();
    let held_back = component(&snapshot, &held);
    let throttled = number(&held_back["cpu"], "throttled_ns").unwrap();
    let waited = number(&held_back["cpu"], "run_queue_ns").unwrap();
    let by = blame(held_back);
    assert_eq!(by.values().sum::<u64>(), waited, "{held_back}");
    let unknown = by.get("unknown").copied().unwrap_or(0);
    assert!(throttled >= (throttled + waited) / 2, "{held_back}");
    assert!(unknown <= (throttled + waited) / 20, "{held_back}");
    drop(held);
}

/// A server needs 15 ms of a CPU for each request and has a tenth of one: what its quota held it back is a part of its
/// turnarounds, by the kernel's account of the group and by the server's own clocks.
#[test]
fn what_a_quota_holds_a_request_back_is_a_part_of_its_turnaround() {
    let host = Host::take().unwrap();
    let quota = Quota::new(&host.tag(), 100);
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0"]).arg(workload().unwrap());
    command.args(["http-upstream", "--sleep", "0ms", "--spin", "15ms"]);
    let mut server = Running::start(command.stdin(Stdio::piped())).unwrap();
    let port = server.line().unwrap();
    quota.take(server.tgid());
    let address = format!("127.0.0.1:{port}");
    let mut load = Command::new(workload().unwrap());
    load.args(["http-load", "--server", &address]);
    load.args(["--connections", "1", "--requests", "40"]);
    let before = quota.throttled_ns();
    let options = ["--group-by", "process"];
    let Measured { snapshot, .. } = host.stat(&options, &mut load).unwrap();
    let by_kernel = quota.throttled_ns() - before;
    server.stop_talking();
    let own: Value = serde_json::from_str(&server.line().unwrap()).unwrap();
    let without_cpu = number(&own, "between_answers/run_queue_ns").unwrap();
    let served = component(&snapshot, &server);
    let part = |name: &str| number(served, &format!("turnaround/{name}")).unwrap();
    let (throttled, waited) = (part("throttled_ns"), part("run_queue_ns"));
    let what = format!("{served}, kernel: throttled {by_kernel}, delayed {without_cpu}");
    assert_eq!(served["turnaround"]["throttled_told"], true, "{what}");
    assert_eq!(part("count"), 40, "{what}");
    let by = blame(served);
    let unknown = by.get("unknown").copied().unwrap_or(0);
    let slack = by_kernel * 3 / 100;
    assert!(throttled <= by_kernel + slack, "{what}");
    assert!(throttled + unknown + slack >= by_kernel, "{what}");
    assert!(throttled > by_kernel / 2, "{what}");
    assert!(
        (throttled + waited).abs_diff(without_cpu) <= without_cpu / 100,
        "{what}"
    );
    assert!(throttled <= number(served, "cpu/throttled_ns").unwrap());
    // All of it is in the court of the requests, and whoever asks is never held back.
    let entry = list(&snapshot.0, "entries").find(|entry| entry["component"] == served["id"]);
    let court = list(entry.unwrap(), "courts").find(|court| court["component"] == served["id"]);
    let each = court.unwrap()["throttled_ns"].as_f64().unwrap();
    assert!((each - throttled as f64 / 40.0).abs() < 1.0, "{what}");
    for other in list(&snapshot.0, "components").filter(|other| other["id"] != served["id"]) {
        assert_eq!(
            number(other, "turnaround/throttled_ns").unwrap_or(0),
            0,
            "{other}"
        );
    }
    let mut rules = list(&snapshot.0, "findings").map(|finding| &finding["rule"]);
    assert!(rules.any(|rule| rule == "cpu_quota"), "{what}");
    drop(server);
}
