//! Queues that two programs of other people solved: ciw, which simulates, and LINE, which calculates. `solvers.py` ran them and wrote
//! what they found into `solvers.json`; times there are in milliseconds.

use serde_json::Value;

use super::{
    queue::{tests::erlang, time_in_queue_and_service},
    simulate::{Calls, Piece, Spot, Station, System},
};

const MS: f64 = 1e6;

/// What was found of a queue.
fn found(program: &str, queue: &str, number: &str) -> f64 {
    let all: Value = serde_json::from_str(include_str!("solvers.json")).unwrap();
    all[program][queue][number].as_f64().unwrap()
}

fn near(what: &str, ours: f64, theirs: f64, share: f64) {
    let off = ours / theirs - 1.0;
    println!("{what}: {ours} and {theirs}: {off:+.4}");
    assert!(off.abs() <= share, "{what}: {ours} and {theirs}");
}

fn cpu(each_ns: f64, scv: f64) -> Piece {
    Piece {
        cpu_ns: each_ns,
        scv,
        ..Piece::default()
    }
}

fn spot(reply: Piece, calls: Vec<Calls>) -> Spot {
    Spot {
        machine: 0,
        cpu: 0,
        disk: 1,
        threads: None,
        calls,
        reply,
        parallel: false,
    }
}

fn calls(count: f64, before: Piece) -> Calls {
    Calls {
        count,
        before,
        delay_ns: 0.0,
        remote_cpu_ns: 0.0,
        remote_delay_ns: 0.0,
        spots: vec![(1, 1.0)],
    }
}

/// On a machine with one CPU and one disk, or with so many CPUs that none is waited for.
fn on(cpus: u32, spots: Vec<Spot>) -> System {
    System {
        stations: vec![Station { servers: cpus }, Station { servers: 1 }],
        spots,
        entries: vec![(0, 1.0)],
        beside: Vec::new(),
    }
}

/// Mean and percentiles of what is simulated, within 3 %.
fn as_simulated(queue: &str, system: &System, per_second: f64) {
    let ours = system.simulate(per_second, 400_000, 11).unwrap();
    for (number, ns) in [
        ("mean", ours.mean_ns),
        ("p50", ours.p50_ns),
        ("p95", ours.p95_ns),
        ("p99", ours.p99_ns),
    ] {
        let theirs = found("ciw", queue, number) * MS;
        near(&format!("{queue}, {number}"), ns, theirs, 0.03);
    }
}

#[test]
fn one_server_is_as_another_simulation_has_it() {
    for (queue, scv, per_second) in [
        ("mm1", 1.0, 500.0),
        ("md1", 0.0, 600.0),
        ("mg1", 2.0, 400.0),
    ] {
        as_simulated(queue, &on(1, vec![spot(cpu(MS, scv), vec![])]), per_second);
    }
}

#[test]
fn a_pool_is_as_another_simulation_has_it() {
    let mut one = spot(Piece::default(), vec![]);
    one.reply.wait_ns = 2.0 * MS;
    one.threads = Some(4);
    as_simulated("pool", &on(64, vec![one]), 1600.0);
}

#[test]
fn a_request_that_comes_back_to_its_cpu_is_as_another_simulation_has_it() {
    let each = cpu(0.1 * MS, 0.0);
    let chain = vec![spot(each, vec![calls(4.0, each)]), spot(each, vec![])];
    as_simulated("pieces", &on(1, chain), 600.0);
}

#[test]
fn a_chain_with_a_disk_is_as_another_simulation_has_it() {
    let each = cpu(0.2 * MS, 1.0);
    let mut store = spot(each, vec![]);
    store.reply.disk_ns = 0.3 * MS;
    let chain = vec![spot(each, vec![calls(1.0, each)]), store];
    as_simulated("disk", &on(1, chain), 800.0);
}

/// Means that are calculated, within 1 %.
#[test]
fn closed_formulas_are_as_another_solver_has_them() {
    let at =
        |e: f64, rate: f64, scv: f64| time_in_queue_and_service(e, rate * e, scv, 1.0).unwrap();
    let theirs = |queue: &str| found("line", queue, "mean");
    near("M/M/1", at(1.0, 0.7, 1.0), theirs("mm1"), 0.01);
    near("M/G/1, less", at(1.0, 0.6, 0.25), theirs("mg1"), 0.01);
    near("M/G/1, more", at(1.0, 0.6, 4.0), theirs("hyper"), 0.01);
    let two = at(0.2, 4.0, 1.0) + at(0.1, 4.0, 1.0);
    near("two nodes", two, theirs("two"), 0.01);
    near("M/M/4", erlang(0.2, 16.0, 4), theirs("mm4"), 0.01);
}
