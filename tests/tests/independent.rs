//! Others keep books too: the scheduler's and the block layer's in /proc, bpftrace on the same tracepoints, the CPU's
//! clock. Courtside says what they say.
//!
//! What is measured stands still when the books are read, and when the window begins and ends: nothing is between.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    os::{linux::fs::MetadataExt as _, unix::fs::symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use courtside_tests::{
    harness::{Host, Measured, Running, Snapshot, eventually, list, number, workload},
    services::Service,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What the kernel has charged to all threads of a process.
#[derive(Debug, Default)]
struct Charged {
    on_cpu_ns: u64,
    run_queue_ns: u64,
    voluntary_switches: u64,
    involuntary_switches: u64,
}

impl Charged {
    /// Reads the books of a process whose threads stand still.
    fn to(tgid: u32) -> Self {
        let mut all = Self::default();
        for task in fs::read_dir(format!("/proc/{tgid}/task")).unwrap() {
            let task = task.unwrap().path();
            let schedstat = fs::read_to_string(task.join("schedstat")).unwrap();
            let mut fields = schedstat.split(' ').map(str::parse::<u64>);
            all.on_cpu_ns += fields.next().unwrap().unwrap();
            all.run_queue_ns += fields.next().unwrap().unwrap();
            let status = fs::read_to_string(task.join("status")).unwrap();
            all.voluntary_switches += field(&status, "voluntary_ctxt_switches:");
            all.involuntary_switches += field(&status, "nonvoluntary_ctxt_switches:");
        }
        all
    }
}

/// The number after `name` at the start of a line.
fn field(text: &str, name: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    rest.unwrap().trim().parse().unwrap()
}

/// Stops a process and waits until no thread of it runs.
fn stop(tgid: u32) {
    let pid = Pid::from_raw(tgid.cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    eventually("a process to stop", || {
        fs::read_dir(format!("/proc/{tgid}/task"))
            .unwrap()
            .all(|task| {
                let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
                status.contains("State:\tT")
            })
    })
    .unwrap();
}

/// Measures while stopped processes go on for `seconds`.
fn measure(host: &Host, tgids: &[u32], seconds: &str, environment: &[(&str, &str)]) -> Measured {
    let play = format!("kill -CONT $*; sleep {seconds}; kill -STOP $*; sleep 0.2");
    let mut command = Command::new("sh");
    command.args(["-c", &play, "sh"]);
    command.args(tgids.iter().map(u32::to_string));
    command.envs(environment.iter().copied());
    host.stat(&["--group-by", "process"], &mut command).unwrap()
}

/// The component that is this process.
fn process(snapshot: &Snapshot, tgid: u32) -> &Value {
    list(&snapshot.0, "components")
        .find(|component| {
            list(component, "processes").any(|process| process["tgid"] == u64::from(tgid))
        })
        .unwrap()
}

/// A process that keeps the first CPU busy; stopped.
fn hog() -> Running {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0", "sh", "-c", "while :; do :; done"]);
    let hog = Running::start(&mut command).unwrap();
    eventually("the hog", || Charged::to(hog.tgid()).on_cpu_ns > 50_000_000).unwrap();
    stop(hog.tgid());
    hog
}

/// Within one percent.
fn close(measured: u64, truth: u64) -> bool {
    measured.abs_diff(truth) <= truth / 100
}

/// Two processes that both want the one CPU: each waits for it half of the time.
#[test]
fn time_of_cpu_hogs_is_what_the_scheduler_says() {
    let host = Host::take().unwrap();
    let hogs = [hog(), hog()];
    let tgids = hogs.each_ref().map(Running::tgid);
    let before = tgids.map(Charged::to);
    let Measured { snapshot, .. } = measure(&host, &tgids, "2", &[]);
    for (tgid, before) in tgids.into_iter().zip(before) {
        let after = Charged::to(tgid);
        let cpu = &process(&snapshot, tgid)["cpu"];
        let what = || format!("{cpu}\nbefore {before:?}\nafter {after:?}");
        for (measured, truth) in [
            ("on_cpu_ns", after.on_cpu_ns - before.on_cpu_ns),
            ("run_queue_ns", after.run_queue_ns - before.run_queue_ns),
        ] {
            let measured = number(cpu, measured).unwrap();
            assert!(close(measured, truth), "{truth}: {}", what());
        }
        assert_switches(cpu, &before, &after);
    }
}

/// Each switch is counted once, and as what it was.
fn assert_switches(cpu: &Value, before: &Charged, after: &Charged) {
    for (measured, truth) in [
        (
            "voluntary_switches",
            after.voluntary_switches - before.voluntary_switches,
        ),
        (
            "involuntary_switches",
            after.involuntary_switches - before.involuntary_switches,
        ),
    ] {
        assert_eq!(
            number(cpu, measured).unwrap(),
            truth,
            "{measured}: {cpu}\nbefore {before:?}\nafter {after:?}"
        );
    }
}

/// Many threads that sleep and wake all the time. The scheduler's own account of such is too coarse to compare with:
/// it closes when it begins to look for the next task, Courtside's when that one takes over, as bpftrace's does.
#[test]
fn time_of_a_ping_pong_is_what_bpftrace_adds_up() {
    let script = "tracepoint:sched:sched_switch {
        $now = nsecs;
        if (@start[cpu]) { @on[pid] = sum($now - @start[cpu]); }
        @start[cpu] = $now;
    }";
    let host = Host::take().unwrap();
    let bpftrace = bpftrace(&host, script);
    let mut command = Command::new(workload().unwrap());
    command
        .args(["ping-pong", "--name", &host.tag(), "--wait-go"])
        .args(["--connections", "4", "--messages", "1000000000"])
        .stdin(Stdio::piped());
    let mut game = Running::start(&mut command).unwrap();
    assert_eq!(game.line().unwrap(), "ready");
    let tgid = game.tgid();
    let children = fs::read_to_string(format!("/proc/{tgid}/task/{tgid}/children")).unwrap();
    let tgids: Vec<u32> = children
        .split_whitespace()
        .map(|child| child.parse().unwrap())
        .collect();
    assert_eq!(tgids.len(), 2);
    for &tgid in &tgids {
        stop(tgid);
    }
    game.tell("go").unwrap();
    let before: Vec<_> = tgids.iter().map(|&tgid| Charged::to(tgid)).collect();
    let Measured { snapshot, .. } = measure(&host, &tgids, "1", &[]);
    let after: Vec<_> = tgids.iter().map(|&tgid| Charged::to(tgid)).collect();
    let added_up = bpftrace.finish().unwrap();
    for ((tgid, before), after) in tgids.into_iter().zip(before).zip(after) {
        let cpu = &process(&snapshot, tgid)["cpu"];
        let measured = number(cpu, "on_cpu_ns").unwrap();
        // bpftrace has seen the process from its birth.
        let truth = field(&added_up, &format!("@on[{tgid}]:")) - before.on_cpu_ns;
        assert!(close(measured, truth), "{truth}: {cpu}\n{before:?}");
        assert_switches(cpu, &before, &after);
    }
}

/// The workload reads and writes past the page cache, and reads its own /proc/self/io.
#[test]
fn disk_bytes_are_what_the_kernel_charges() {
    let host = Host::take().unwrap();
    let device = device_of(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let requests = |path: &Path| -> (u64, u64) {
        let text = fs::read_to_string(path).unwrap();
        let fields: Vec<&str> = text.split_whitespace().collect();
        (fields[0].parse().unwrap(), fields[4].parse().unwrap())
    };
    let before = device.as_deref().map(requests);
    let blocks = 500;
    // A program of this name runs only here.
    let program = host.dir().join(format!("disk-{}", host.tag()));
    symlink(workload().unwrap(), &program).unwrap();
    let mut command = Command::new(&program);
    command.args(["disk-io", "--dir", env!("CARGO_TARGET_TMPDIR")]);
    let Measured {
        snapshot, answer, ..
    } = host.stat(&[], &mut command).unwrap();
    let component = snapshot.component(&format!("disk-{}", host.tag())).unwrap();
    let told = |path: &str| number(component, path).unwrap();
    for field in ["read_bytes", "write_bytes"] {
        let charged = number(&answer, &format!("{field}_from_start")).unwrap();
        assert!(charged >= blocks * 4096, "{answer}");
        assert!(
            close(told(&format!("disk/{field}")), charged),
            "{field} of {}\n{answer}",
            component["disk"]
        );
    }
    let (reads, writes) = (told("disk/reads"), told("disk/writes"));
    assert!(reads >= blocks && writes >= blocks, "{}", component["disk"]);
    if let (Some(device), Some(before)) = (device, before) {
        let after = requests(&device);
        // Others may use the disk too.
        assert!(
            reads <= after.0 - before.0 && writes <= after.1 - before.1,
            "{}, the device: {before:?} to {after:?}",
            component["disk"]
        );
    }
    // One thread that waits for each request: it waited as long as the disk took, less what it ran or queued meanwhile.
    let (waited, took) = (told("cpu/block_io_ns"), told("disk/latency_ns/sum_ns"));
    assert!(
        waited > took / 2 && waited < took * 3 / 2,
        "{waited} ns waited, the disk took {took} ns"
    );
}

/// The device's counters of completed requests, if the directory is on a device.
fn device_of(dir: &Path) -> Option<PathBuf> {
    let device = fs::metadata(dir).unwrap().st_dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let path = format!("/sys/dev/block/{major}:{minor}/stat");
    fs::exists(&path).unwrap().then(|| path.into())
}

/// The same with a program that is not ours, and whose blocks are large.
#[test]
fn disk_bytes_of_dd_are_what_it_moved() {
    let host = Host::take().unwrap();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = dir.path().join("file");
    let file = file.display();
    let bytes = 256 << 16;
    for (arguments, moved, requests) in [
        (
            format!("if=/dev/zero of={file} oflag=direct"),
            "write_bytes",
            "writes",
        ),
        (
            format!("if={file} of=/dev/null iflag=direct"),
            "read_bytes",
            "reads",
        ),
    ] {
        let mut command = Command::new("dd");
        command.args(["bs=64k", "count=256", "status=none"]);
        command.args(arguments.split(' '));
        let Measured { snapshot, .. } = host.stat(&[], &mut command).unwrap();
        let dd = snapshot.component("dd").unwrap();
        let told = |path: &str| number(dd, path).unwrap();
        assert!(close(told(&format!("disk/{moved}")), bytes), "{dd}");
        assert!(told(&format!("disk/{requests}")) >= 256, "{dd}");
        assert!(told("cpu/block_io_ns") > 0, "{dd}");
    }
}

/// A running bpftrace.
fn bpftrace(host: &Host, script: &str) -> Service {
    // It looks for tracefs where many hosts do not mount it: it gets one of its own, gone when it ends.
    let own = "mount -t tracefs tracefs /sys/kernel/tracing && exec bpftrace -B none -e \"$0\"";
    let script = format!("{script} BEGIN {{ printf(\"ready\\n\"); }}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", own, &script]);
    let bpftrace = Service::start(host, "bpftrace", &command).unwrap();
    eventually("bpftrace", || bpftrace.said().unwrap().contains("ready")).unwrap();
    bpftrace
}

/// bpftrace counts calls; of a plain ping-pong each is a message.
#[test]
fn messages_are_the_calls_that_bpftrace_counts() {
    let script = "
        tracepoint:sock:sock_send_length /args->ret > 0/ { @sends[pid] = count(); @sent[pid] = sum(args->ret); }
        tracepoint:sock:sock_recv_length /args->ret > 0/ { @receives[pid] = count(); @received[pid] = sum(args->ret); }";
    let host = Host::take().unwrap();
    let bpftrace = bpftrace(&host, script);
    let Measured {
        snapshot, answer, ..
    } = host
        .measure(&["ping-pong", "--name", &host.tag(), "--messages", "20000"])
        .unwrap();
    let counted = bpftrace.finish().unwrap();
    let name = |end: &str| format!("{}-{end}", host.tag());
    let edge = snapshot.edge(&name("client"), &name("server")).unwrap();
    for (map, measured) in [
        ("sends", "messages_sent"),
        ("receives", "messages_received"),
        ("sent", "bytes_sent"),
        ("received", "bytes_received"),
    ] {
        assert_eq!(
            field(&counted, &format!("@{map}[{}]:", answer["client"]["tgid"])),
            number(edge, measured).unwrap(),
            "{map}: {edge}\n{counted}"
        );
    }
}

/// With the CPU's clock in place of the counters, a program's cycles are its nanoseconds on the CPU, whoever shares it.
#[test]
fn counters_are_charged_to_whom_they_belong() {
    let host = Host::take().unwrap();
    let hogs = [hog(), hog()];
    let tgids = hogs.each_ref().map(Running::tgid);
    let Measured { snapshot, .. } = measure(&host, &tgids, "2", &[("COURTSIDE_PMU_CLOCK", "1")]);
    assert_eq!(snapshot.0["quality"]["pmu"]["state"], "ok");
    for tgid in tgids {
        let hog = process(&snapshot, tgid);
        let cycles = number(hog, "counters/cycles").unwrap();
        let on_cpu_ns = number(hog, "cpu/on_cpu_ns").unwrap();
        assert!(close(cycles, on_cpu_ns), "{cycles} of {on_cpu_ns} ns");
        let cpi = hog["counters"]["cpi"].as_f64().unwrap();
        assert!((0.99..=1.01).contains(&cpi), "{cpi}");
        assert_eq!(hog["counters"]["llc_references"], Value::Null);
        assert_eq!(hog["counters"]["llc_misses"], Value::Null);
    }
}

/// With the CPU's clock in place of the counters, the cycles of a turnaround are its time on the CPU: of threads that
/// are woken by a message, that spin, sleep, lock and read a disk in between, and that take over from others.
#[test]
fn cycles_of_turnarounds_are_their_time_on_the_cpu() {
    let host = Host::take().unwrap();
    for workload in [
        &["relay", "--requests", "100"] as &[&str],
        &["thread-pool", "--requests", "500", "--spin", "1ms"],
    ] {
        let mut command = Command::new(courtside_tests::harness::workload().unwrap());
        command.args(workload).env("COURTSIDE_PMU_CLOCK", "1");
        let Measured { snapshot, .. } = host.stat(&["--pmu-turnaround"], &mut command).unwrap();
        let mut seen = 0;
        for component in list(&snapshot.0, "components") {
            let turnaround = &component["turnaround"];
            let recipients = list(turnaround, "by_recipient").chain([turnaround]);
            for sum in recipients.filter(|sum| number(sum, "on_cpu_ns").unwrap() > 50_000_000) {
                let (cycles, on_cpu_ns) = (
                    number(sum, "counters/cycles").unwrap(),
                    number(sum, "on_cpu_ns").unwrap(),
                );
                // Sends and receives are timed before the counters are read.
                let allowed = on_cpu_ns / 20;
                assert!(
                    cycles.abs_diff(on_cpu_ns) <= allowed,
                    "{cycles} of {on_cpu_ns} ns: {component}"
                );
                let cpi = sum["counters"]["cpi"].as_f64().unwrap();
                assert!((0.98..=1.02).contains(&cpi), "{cpi}: {component}");
                seen += 1;
            }
        }
        assert!(seen >= 2, "{}", snapshot.0["components"]);
    }
    // Not asked for, not known.
    let Measured { snapshot, .. } = host.measure(&["ping-pong"]).unwrap();
    for component in list(&snapshot.0, "components") {
        assert_eq!(component["turnaround"]["counters"], Value::Null);
    }
}

/// A machine whose PMU has no driver, as most virtual ones, has no counters: unknown, with a reason, never zero.
#[test]
fn counters_are_there_if_the_machine_has_them() {
    let devices = fs::read_dir("/sys/bus/event_source/devices").unwrap();
    let has_pmu = devices
        .map(|device| device.unwrap().file_name().into_string().unwrap())
        .any(|name| name.starts_with("cpu") || name.starts_with("armv8_"));
    let host = Host::take().unwrap();
    let hog = hog();
    let Measured { snapshot, .. } = measure(&host, &[hog.tgid()], "0.5", &[]);
    let pmu = &snapshot.0["quality"]["pmu"];
    let counters = &process(&snapshot, hog.tgid())["counters"];
    if has_pmu {
        assert_ne!(pmu["state"], "none", "{pmu}");
        assert!(number(counters, "instructions").unwrap() > 0, "{counters}");
        return;
    }
    assert_eq!(pmu["state"], "none");
    assert_ne!(pmu["reason"], "");
    for component in list(&snapshot.0, "components") {
        assert_eq!(component["counters"], Value::Null, "{component}");
    }
}
