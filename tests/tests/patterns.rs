//! Parallel applications in known shapes, recorded on the running kernel: in what shape they talk, how often they go round, and
//! who sends how much to whom is exactly what they say. What would have been is right by their own clocks, or it is not told
//! and the reason is.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use courtside_tests::harness::{
    Host, Running, courtside, eventually, finish, list, number, schema, workload,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Bytes of a message.
const MESSAGE: u64 = 4000;

/// From one rank to another.
type Pair = (u64, u64);

/// What an application said in the end, and what was inferred from a recording of it.
struct Run {
    said: Value,
    found: Value,
}

/// What a command that has to succeed wrote.
fn written(command: Command) -> String {
    let output = finish(command).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn pairs(value: &Value, name: &str) -> BTreeSet<Pair> {
    let end = |pair: &Value, place: usize| pair[place].as_u64().unwrap();
    list(value, name)
        .map(|pair| (end(pair, 0), end(pair, 1)))
        .collect()
}

/// An answer that is as its schema says, of which nothing was lost.
fn sound(found: &Value) {
    jsonschema::validate(&schema("inference").unwrap(), found).unwrap();
    let lost = &found["source"]["lost"];
    assert_eq!(lost["events"], Value::Null, "{lost}");
}

/// Iterations by turn of each process.
fn turns(found: &Value) -> Vec<u64> {
    list(found, "processes")
        .map(|process| {
            process["iterations"]["by_turn"]["count"]
                .as_u64()
                .unwrap_or(0)
        })
        .collect()
}

impl Run {
    fn of(host: &Host, arguments: &[&str]) -> Self {
        let file = host.dir().join("events.rec");
        let name = format!("p{}", host.tag());
        let mut record = Command::new(courtside().unwrap());
        record
            .args(["record", "--events", "--force", "-o"])
            .arg(&file)
            .arg("--")
            .arg(workload().unwrap())
            .args(["patterns", "--name", &name])
            .args(["--message", &MESSAGE.to_string()])
            .args(arguments);
        let said = written(record);
        let mut infer = Command::new(courtside().unwrap());
        infer
            .arg("infer")
            .arg(&file)
            .args(["-F", "json", "-n", &format!("{name}-[0-9]*")]);
        let found: Value = serde_json::from_str(&written(infer)).unwrap();
        let said = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        sound(&found);
        Self { said, found }
    }

    /// The same without a recording, and what was told while it ran.
    fn live(host: &Host, arguments: &[&str]) -> (Self, Vec<Value>) {
        let file = host.dir().join("live.json");
        let name = format!("p{}", host.tag());
        let mut infer = Command::new(courtside().unwrap());
        infer
            .args(["infer", "--live", "--json", "-i", "100ms", "-o"])
            .arg(&file)
            .args(["-n", &format!("{name}-[0-9]*"), "--"])
            .arg(workload().unwrap())
            .args(["patterns", "--name", &name])
            .args(["--message", &MESSAGE.to_string()])
            .args(arguments);
        let said = written(infer);
        let mut told: Vec<Value> = std::fs::read_to_string(file)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        told.iter().for_each(sound);
        let found = told.pop().unwrap();
        let said = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        (Self { said, found }, told)
    }

    /// Messages and bytes from rank to rank: one message for each edge and iteration, and of two that talk, the higher one has
    /// said who it is, in one byte.
    fn sent(&self) -> BTreeMap<Pair, (u64, u64)> {
        let iterations = number(&self.said, "iterations").unwrap();
        let edges = pairs(&self.said, "edges");
        let each = (iterations, iterations * MESSAGE);
        let mut sent: BTreeMap<Pair, (u64, u64)> = edges.iter().map(|edge| (*edge, each)).collect();
        let hellos: BTreeSet<Pair> = edges.iter().map(|&(a, b)| (a.max(b), a.min(b))).collect();
        for hello in hellos {
            let (messages, bytes) = sent.entry(hello).or_default();
            *messages += 1;
            *bytes += 1;
        }
        sent
    }

    /// The same as it was inferred.
    fn seen(&self) -> BTreeMap<Pair, (u64, u64)> {
        let ids: Vec<&Value> = list(&self.found, "processes")
            .map(|process| &process["id"])
            .collect();
        let place = |id: &Value| ids.iter().position(|other| *other == id).unwrap() as u64;
        list(&self.found, "network")
            .map(|link| {
                let pair = (place(&link["from"]), place(&link["to"]));
                let count = |name: &str| number(link, name).unwrap();
                (pair, (count("messages"), count("bytes")))
            })
            .collect()
    }

    /// Ranks, shape, messages and iterations are those of the application.
    fn holds(&self, shape: &str, dimensions: &[u64]) {
        let topology = &self.found["topology"];
        assert_eq!(topology["shape"], shape, "{topology}");
        assert_eq!(topology["match"], 1.0, "{topology}");
        assert_eq!(topology["dimensions"], json!(dimensions), "{topology}");
        let edges = pairs(&self.said, "edges");
        assert_eq!(pairs(topology, "edges"), edges, "{shape}");
        // Processes are told in the order of the ranks' numbers.
        let tgids = |of: &Value, name: &str| -> Vec<u64> {
            list(of, name)
                .map(|one| number(one, "tgid").unwrap())
                .collect()
        };
        assert_eq!(
            tgids(&self.found, "processes"),
            tgids(&self.said, "ranks"),
            "{shape}"
        );
        assert_eq!(self.seen(), self.sent(), "{shape}");
        let iterations = number(&self.said, "iterations").unwrap();
        for (rank, process) in (0..).zip(list(&self.found, "processes")) {
            // A turn answers something. A rank that nobody connects to has read nothing when it sends first.
            let connected = edges.iter().any(|&(a, b)| a.min(b) == rank);
            assert_eq!(
                number(process, "iterations/by_turn/count").unwrap(),
                iterations - u64::from(!connected),
                "{shape}, rank {rank}"
            );
            adds_up(process);
        }
        self.predicts_or_says_why();
    }

    /// How long it took by the application's own clocks, from the word to go to the end of the last rank.
    fn own_ns(&self) -> u64 {
        list(&self.said, "ranks")
            .map(|rank| number(rank, "elapsed/wall_ns").unwrap())
            .max()
            .unwrap()
    }

    /// By how much the measured run is longer than the application's own clocks say: the ranks connect before the word to go.
    fn before_ns(&self) -> u64 {
        let measured_ns = number(&self.found, "self_check/measured_ns");
        measured_ns.map_or(0, |measured_ns| measured_ns.abs_diff(self.own_ns()))
    }

    /// Nothing is predicted by a simulation that gets the run as it was wrong by more than a twentieth; and where nothing is
    /// predicted, the reason is told.
    fn predicts_or_says_why(&self) {
        let (own_ns, before_ns) = (self.own_ns(), self.before_ns());
        let check = &self.found["self_check"];
        assert!(before_ns <= own_ns / 20, "{own_ns} {check}");
        let mut scenarios = 0;
        for scenario in list(&self.found, "what_if") {
            scenarios += 1;
            if scenario["predicted_ns"].is_null() {
                let says = scenario["says"].as_str().unwrap();
                assert!(!says.is_empty(), "{scenario}");
                continue;
            }
            let name = scenario["scenario"].as_str().unwrap();
            let anew = name == "no_outside_load" || name.starts_with("without: ");
            let by = if anew { "rescheduled_ns" } else { "replay_ns" };
            let simulated_ns = number(check, by).unwrap();
            assert!(
                simulated_ns.abs_diff(own_ns) <= (own_ns + before_ns) / 20 + before_ns,
                "{name}: {own_ns} {check}"
            );
        }
        // Without outside load; without waits for a CPU, of all and of the worst; without waits for a disk.
        assert!(scenarios >= 4, "{}", self.found["what_if"]);
    }

    fn scenario(&self, name: &str) -> &Value {
        list(&self.found, "what_if")
            .find(|scenario| scenario["scenario"] == name)
            .unwrap()
    }
}

/// The parts of a process's time sum to all of it.
fn adds_up(process: &Value) {
    let time = &process["time"];
    let whole_ns = number(time, "wall_ns").unwrap() * number(process, "threads").unwrap();
    let parts = [
        "on_cpu_ns",
        "run_queue_ns",
        "block_io_ns",
        "lock_ns",
        "send_wait_ns",
        "other_ns",
    ];
    let of = |value: &Value, names: &[&str]| -> u64 {
        names.iter().map(|name| number(value, name).unwrap()).sum()
    };
    let waits = list(time, "receive_wait");
    let waits = waits.map(|wait| of(wait, &["not_sent_ns", "in_flight_ns", "transfer_ns"]));
    let sum_ns = of(time, &parts) + waits.sum::<u64>();
    assert!(
        sum_ns.abs_diff(whole_ns) <= whole_ns / 100,
        "{sum_ns} of {whole_ns}: {time}"
    );
}

fn shape(name: &str, ranks: &str, extents: Option<&str>, dimensions: &[u64]) {
    let host = Host::take().unwrap();
    let mut arguments = vec!["--shape", name, "--ranks", ranks];
    arguments.extend(extents.iter().flat_map(|extents| ["--extents", extents]));
    arguments.extend(["--iterations", "300", "--compute", "1ms"]);
    Run::of(&host, &arguments).holds(name, dimensions);
}

#[test]
fn a_ring_is_told() {
    shape("ring", "5", None, &[]);
}

#[test]
fn all_to_all_is_told() {
    shape("all-to-all", "4", None, &[]);
}

#[test]
fn a_hypercube_is_told() {
    shape("hypercube", "8", None, &[2, 2, 2]);
}

#[test]
fn a_tree_is_told() {
    shape("tree", "7", None, &[]);
}

/// A torus of 4 x 2 or of 2 x 2 x 2 is a hypercube; that of 3 x 2 is nothing else.
#[test]
fn a_torus_is_told() {
    shape("torus", "6", Some("3x2"), &[3, 2]);
}

/// The hog has a part of one CPU. The same ranks without it say how long they take then, three times, since no run takes quite
/// as long as another.
#[test]
fn without_a_hog_it_takes_as_long_as_without_the_hog_or_the_reason_is_told() {
    let host = Host::take().unwrap();
    let line = "--shape ring --ranks 4 --cores 2 --iterations 400 --compute 2ms";
    let arguments: Vec<&str> = line.split(' ').collect();
    let loaded = Run::of(&host, &[&arguments[..], &["--load", "1:100"]].concat());
    loaded.holds("ring", &[]);
    let alone: Vec<u64> = (0..3)
        .map(|_| Run::of(&host, &arguments).own_ns())
        .collect();
    let [least_ns, most_ns] = [alone.iter().min(), alone.iter().max()].map(|ns| *ns.unwrap());
    let without = loaded.scenario("no_outside_load");
    // Where it is not told, the reason was looked for above.
    if let Some(predicted_ns) = without["predicted_ns"].as_u64() {
        let most_ns = most_ns + most_ns / 20 + loaded.before_ns();
        assert!(
            (least_ns - least_ns / 20..=most_ns).contains(&predicted_ns),
            "{alone:?} {without} {}",
            loaded.found["self_check"]
        );
    }
}

/// The hog has a part of rank 1's CPU, so that rank 0 waits in most iterations: by looking again and again.
#[test]
fn ranks_that_poll_get_no_prediction_and_the_reason() {
    let host = Host::take().unwrap();
    for waits in ["--spin", "--yield"] {
        let line =
            format!("--ranks 2 --cores 2 --load 1:100 --iterations 600 --compute 1ms {waits}");
        let arguments: Vec<&str> = line.split(' ').collect();
        let run = Run::of(&host, &arguments);
        assert_eq!(run.seen(), run.sent(), "{waits}");
        let processes: Vec<&Value> = list(&run.found, "processes").collect();
        assert_eq!(processes[0]["polls"], true, "{waits}: {}", processes[0]);
        processes.into_iter().for_each(adds_up);
        assert_eq!(run.found["self_check"], Value::Null);
        for scenario in list(&run.found, "what_if") {
            assert_eq!(scenario["predicted_ns"], Value::Null);
            let says = scenario["says"].as_str().unwrap();
            assert!(says.contains("without going to sleep"), "{says}");
        }
    }
}

/// What is told in the end is what is told of a recording; what is told before is never more.
#[test]
fn while_it_runs_a_ring_is_told_again_and_again_and_in_the_end_all_of_it() {
    let host = Host::take().unwrap();
    let line = "--shape ring --ranks 4 --iterations 600 --compute 1ms";
    let arguments: Vec<&str> = line.split(' ').collect();
    let (run, before) = Run::live(&host, &arguments);
    run.holds("ring", &[]);
    assert_eq!(run.found["source"]["live"], true);
    assert!(before.len() > 1, "{}", before.len());
    let ends: Vec<u64> = before
        .iter()
        .chain([&run.found])
        .map(|found| number(found, "source/application_ns").unwrap())
        .collect();
    assert!(ends.is_sorted(), "{ends:?}");
    for found in &before {
        for (turns, all) in turns(found).iter().zip(turns(&run.found)) {
            assert!(*turns <= all, "{turns} of {all}");
        }
    }
    // The one before the last knows the shape already.
    assert_eq!(before.last().unwrap()["topology"]["shape"], "ring");
}

/// The ranks are there before it, and go on when it is ended: an answer of what was seen until then, and nothing is an error.
#[test]
fn ended_early_it_answers_of_what_it_has_seen() {
    let host = Host::take().unwrap();
    let name = format!("p{}", host.tag());
    let mut ranks = Command::new(workload().unwrap());
    ranks
        .args([
            "patterns", "--name", &name, "--shape", "ring", "--ranks", "4",
        ])
        .args(["--iterations", "30000", "--compute", "1ms"]);
    let mut infer = Command::new(courtside().unwrap());
    infer
        .args(["infer", "--live", "--json", "-i", "100ms", "-d", "600s"])
        .args(["-n", &format!("{name}-[0-9]*")]);
    let mut ranks = Running::start(&mut ranks).unwrap();
    let mut infer = Running::start(&mut infer).unwrap();
    let mut told: Vec<Value> = Vec::new();
    eventually("iterations of all ranks", || {
        let found: Value = serde_json::from_str(&infer.line().unwrap()).unwrap();
        sound(&found);
        told.push(found);
        let turns = told.last().map(turns).unwrap_or_default();
        turns.len() == 4 && turns.iter().all(|turns| *turns > 20)
    })
    .unwrap();
    infer.signal(Signal::INT).unwrap();
    loop {
        let line = infer.line().unwrap();
        if line.is_empty() {
            break;
        }
        told.push(serde_json::from_str(&line).unwrap());
    }
    assert!(infer.wait().unwrap().success());
    assert!(ranks.runs().unwrap());
    let last = told.last().unwrap();
    for process in list(last, "processes") {
        let rank = i32::try_from(number(process, "tgid").unwrap()).unwrap();
        kill_process(Pid::from_raw(rank).unwrap(), Signal::KILL).unwrap();
    }
    ranks.wait().unwrap();
    sound(last);
    assert_eq!(last["topology"]["shape"], "ring");
    assert_eq!(last["topology"]["match"], 1.0);
    let (turns, before): (Vec<u64>, Vec<u64>) = (turns(last), turns(&told[told.len() - 2]));
    assert!(turns.iter().zip(&before).all(|(now, before)| now >= before));
    list(last, "processes").for_each(adds_up);
}

/// Paraver's trace of real ranks, read by a reader that knows only the format: its states sum to the times that are told, and its
/// messages are those of the application.
#[test]
fn paravers_trace_has_every_message_and_all_the_time() {
    let host = Host::take().unwrap();
    let line = "--shape ring --ranks 4 --cores 2 --load 1:100 --iterations 300 --compute 1ms";
    let arguments: Vec<&str> = line.split(' ').collect();
    let run = Run::of(&host, &arguments);
    let base = host.dir().join("ranks");
    let mut export = Command::new(courtside().unwrap());
    export
        .arg("export")
        .arg(host.dir().join("events.rec"))
        .args([
            "-F",
            "paraver",
            "-n",
            &format!("p{}-[0-9]*", host.tag()),
            "-o",
        ])
        .arg(&base);
    written(export);
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../profiler-user/tests/commands/read_paraver.py"
    );
    let mut read = Command::new("python3");
    read.arg(script).arg(base);
    let trace: Value = serde_json::from_str(&written(read)).unwrap();
    let sent: BTreeMap<Pair, (u64, u64)> = list(&trace, "sent")
        .map(|row| {
            let [from, to, messages, bytes] =
                [0, 1, 2, 3].map(|at: usize| row[at].as_u64().unwrap());
            ((from, to), (messages, bytes))
        })
        .collect();
    assert_eq!(sent, run.sent());
    for (drawn, process) in list(&trace, "time").zip(list(&run.found, "processes")) {
        let time = &process["time"];
        let ns = |value: &Value| value.as_u64().unwrap_or(0);
        assert_eq!(ns(&drawn["on a CPU"]), ns(&time["on_cpu_ns"]));
        assert_eq!(
            ns(&drawn["runnable without a CPU"]),
            ns(&time["run_queue_ns"])
        );
        let waits = list(time, "receive_wait").map(|wait| ns(&wait["not_sent_ns"]));
        let drawn_ns = ns(&drawn["waits for a message not sent yet"]);
        assert_eq!(drawn_ns, waits.sum::<u64>());
        let all_ns: u64 = drawn.as_object().unwrap().values().map(ns).sum();
        let whole_ns = ns(&time["wall_ns"]) * ns(&process["threads"]);
        assert!(
            all_ns.abs_diff(whole_ns) <= whole_ns / 100,
            "{all_ns} of {whole_ns}"
        );
    }
}
