//! Parallel applications in known shapes, recorded on the real kernel: what is inferred is held to what they did.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, process::Command};

use courtside_tests::harness::{Host, courtside, finish, list, number, schema, workload};
use recorded::record;
use serde_json::Value;

mod recorded;

/// What the application said, and what was inferred.
struct Run {
    said: Value,
    found: Value,
}

impl Run {
    fn of(host: &Host, arguments: &[&str]) -> Self {
        let name = format!("p{}", host.tag());
        let program = workload().unwrap();
        let line = [
            &[program.to_str().unwrap(), "patterns", "--name", &name],
            arguments,
        ]
        .concat();
        let recorded = record(host, "", &line);
        let mut command = Command::new(courtside().unwrap());
        let file = host.dir().join("events.rec");
        command
            .arg("infer")
            .arg(file)
            .args(["-n", &format!("{name}-[0-9]*"), "--json"]);
        let output = finish(command).unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        jsonschema::validate(&schema("inference").unwrap(), &found).unwrap();
        assert_eq!(found["source"]["lost"]["events"], Value::Null);
        Self {
            said: recorded.answer,
            found,
        }
    }

    fn processes(&self) -> Vec<&Value> {
        list(&self.found, "processes").collect()
    }

    /// Edges as pairs of places.
    fn edges(value: &Value, name: &str) -> BTreeSet<(u64, u64)> {
        let pairs = list(value, name);
        pairs
            .map(|pair| (pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap()))
            .collect()
    }

    /// Ranks are told in the order of their numbers; their messages and iterations are all there.
    fn holds(&self, shape: &str) {
        let topology = &self.found["topology"];
        assert_eq!(topology["shape"], shape, "{topology}");
        assert_eq!(topology["match"], 1.0);
        let edges = Self::edges(&self.said, "edges");
        assert_eq!(Self::edges(topology, "edges"), edges);
        let ranks: Vec<&Value> = list(&self.said, "ranks").collect();
        let tgids: Vec<_> = self
            .processes()
            .iter()
            .map(|process| &process["tgid"])
            .collect();
        assert_eq!(
            tgids,
            ranks.iter().map(|rank| &rank["tgid"]).collect::<Vec<_>>()
        );
        // Each rank that connects says who it is, once.
        let hellos = edges
            .iter()
            .filter(|(a, b)| a < b || !edges.contains(&(*b, *a)))
            .count() as u64;
        let sent: u64 = ranks
            .iter()
            .map(|rank| number(rank, "messages").unwrap())
            .sum();
        let seen: u64 = list(&self.found, "network")
            .map(|link| number(link, "messages").unwrap())
            .sum();
        assert_eq!(seen, sent + hellos);
        let iterations = number(&self.said, "iterations").unwrap();
        let turns = self
            .processes()
            .into_iter()
            .filter_map(|process| process["iterations"]["by_turn"]["count"].as_u64());
        let most = turns.max().unwrap();
        assert!(
            (iterations - 2..=iterations + 1).contains(&most),
            "{most} of {iterations}"
        );
        self.adds_up();
    }

    /// The parts of each process's time sum to all of it.
    fn adds_up(&self) {
        for process in self.processes() {
            let time = &process["time"];
            let whole = number(time, "wall_ns").unwrap() * number(process, "threads").unwrap();
            let parts = [
                "on_cpu",
                "run_queue",
                "block_io",
                "lock",
                "send_wait",
                "other",
            ];
            let mut sum: u64 = parts
                .map(|part| number(time, &format!("{part}_ns")).unwrap())
                .iter()
                .sum();
            for wait in list(time, "receive_wait") {
                for part in ["not_sent_ns", "in_flight_ns", "transfer_ns"] {
                    sum += number(wait, part).unwrap();
                }
            }
            assert!(
                sum.abs_diff(whole) <= whole / 100,
                "{sum} of {whole}: {time}"
            );
        }
    }

    fn scenario(&self, name: &str) -> &Value {
        list(&self.found, "what_if")
            .find(|scenario| scenario["scenario"] == name)
            .unwrap()
    }
}

#[test]
fn shapes_messages_and_iterations_are_those_of_the_application() {
    let host = Host::take().unwrap();
    let usual = ["--iterations", "60", "--compute", "500us"];
    for (shape, arguments) in [
        ("ring", &["--shape", "ring", "--ranks", "5"][..]),
        ("all-to-all", &["--shape", "all-to-all", "--ranks", "4"]),
        ("hypercube", &["--shape", "hypercube", "--ranks", "8"]),
        ("tree", &["--shape", "tree", "--ranks", "7"]),
        (
            "mesh",
            &["--shape", "mesh", "--extents", "3x2", "--ranks", "6"],
        ),
        (
            "torus",
            &["--shape", "torus", "--extents", "3x3", "--ranks", "9"],
        ),
        ("pipeline", &["--shape", "pipeline", "--ranks", "4"]),
    ] {
        let run = Run::of(&host, &[arguments, &usual].concat());
        run.holds(shape);
        println!("{shape}: {}", run.found["self_check"]);
    }
}

/// The hog has half of one CPU: without it, the run takes at least what the ranks need there by their own clocks, and clearly
/// less than it took.
#[test]
fn what_it_would_take_without_the_hog_is_between_its_work_and_what_it_took() {
    let host = Host::take().unwrap();
    let run = Run::of(
        &host,
        &[
            "--shape",
            "ring",
            "--ranks",
            "4",
            "--cores",
            "2",
            "--load",
            "1:100",
            "--iterations",
            "200",
            "--compute",
            "2ms",
        ],
    );
    run.holds("ring");
    let check = &run.found["self_check"];
    let error = check["replay_error"].as_f64().unwrap();
    assert!(error.abs() < 0.05, "{check}");
    let alone = run.scenario("no_outside_load");
    let predicted = number(alone, "predicted_ns").unwrap();
    let measured = number(alone, "measured_ns").unwrap();
    let on_cpu = |core: u64| -> u64 {
        let ranks =
            list(&run.said, "ranks").filter(|rank| number(rank, "rank").unwrap() % 2 == core);
        ranks
            .map(|rank| number(rank, "elapsed/on_cpu_ns").unwrap())
            .sum()
    };
    let work = on_cpu(0).max(on_cpu(1));
    println!("predicted {predicted}, measured {measured}, work {work}, {check}");
    assert!(predicted as f64 > 0.9 * work as f64, "{predicted} {work}");
    assert!(
        (predicted as f64) < 0.85 * measured as f64,
        "{predicted} {measured}"
    );
}

/// The hog has half of rank 1's CPU, so that rank 0 waits for it in most iterations.
#[test]
fn ranks_that_poll_get_no_prediction_and_the_reason() {
    let host = Host::take().unwrap();
    for waits in ["--spin", "--yield"] {
        let line = "--ranks 2 --cores 2 --load 1:100 --iterations 60 --compute 4ms";
        let line: Vec<&str> = line.split(' ').chain([waits]).collect();
        let run = Run::of(&host, &line);
        assert_eq!(run.processes()[0]["polls"], true, "{}", run.processes()[0]);
        let alone = run.scenario("no_outside_load");
        assert_eq!(alone["predicted_ns"], Value::Null);
        let says = alone["says"].as_str().unwrap();
        assert!(says.contains("without going to sleep"), "{says}");
        run.adds_up();
    }
}
