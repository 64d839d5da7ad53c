//! Queues with closed formulas, simulated.

use super::{
    queue::{tests::erlang, time_in_queue_and_service},
    simulate::{Beside, Calls, Piece, Simulated, Spot, Station, System},
};

const MS: f64 = 1e6;

fn piece(cpu_ns: f64, scv: f64) -> Piece {
    Piece {
        cpu_ns,
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

fn calls(count: f64, before: Piece, spot: usize) -> Calls {
    Calls {
        count,
        before,
        delay_ns: 0.0,
        remote_cpu_ns: 0.0,
        remote_delay_ns: 0.0,
        spots: vec![(spot, 1.0)],
    }
}

fn system(servers: u32, spots: Vec<Spot>) -> System {
    System {
        stations: vec![Station { servers }, Station { servers: 1 }],
        spots,
        entries: vec![(0, 1.0)],
        beside: Vec::new(),
    }
}

fn run(system: &System, rate: f64) -> Simulated {
    system.simulate(rate, 150_000, 7).unwrap()
}

fn near(value: f64, expected: f64, share: f64) {
    let off = value / expected - 1.0;
    println!("{value} for {expected}: {off:+.4}");
    assert!(off.abs() < share, "{value} for {expected}");
}

/// Mean 1 / (mu - lambda), and so is the whole distribution exponential.
#[test]
fn one_server_with_exponential_service_is_as_the_formula_has_it() {
    for load in [0.3, 0.5, 0.7] {
        let found = run(
            &system(1, vec![spot(piece(MS, 1.0), vec![])]),
            load * 1000.0,
        );
        let mean = MS / (1.0 - load);
        near(found.mean_ns, mean, 0.03);
        near(found.p50_ns, mean * 2f64.ln(), 0.03);
        near(found.p95_ns, mean * 20f64.ln(), 0.05);
        near(found.p99_ns, mean * 100f64.ln(), 0.07);
        assert!((found.mean_ns - mean).abs() < 1.5 * found.half_ns);
    }
}

#[test]
fn one_server_with_any_scatter_is_as_pollaczek_and_khinchine_have_it() {
    for scv in [0.0, 0.25, 1.0, 4.0] {
        let found = run(&system(1, vec![spot(piece(MS, scv), vec![])]), 600.0);
        let expected = time_in_queue_and_service(MS, 0.6, scv, 1.0).unwrap();
        near(found.mean_ns, expected, 0.05);
    }
}

#[test]
fn several_servers_are_as_erlang_has_it() {
    let found = run(&system(4, vec![spot(piece(MS, 1.0), vec![])]), 3200.0);
    near(found.mean_ns, erlang(MS, 3200e-9, 4), 0.05);
}

/// Four threads that wait 2 ms each are four servers, however little CPU time they need.
#[test]
fn a_pool_of_threads_is_a_queue_with_as_many_servers() {
    let mut one = spot(piece(1.0, 0.0), vec![]);
    one.reply.wait_ns = 2.0 * MS;
    one.threads = Some(4);
    let found = run(&system(64, vec![one.clone()]), 1000.0);
    // Half full, service without scatter: nearly no wait.
    near(found.mean_ns, 2.0 * MS, 0.06);
    let found = run(&system(64, vec![one.clone()]), 1800.0);
    let expected = time_in_queue_and_service(2.0 * MS, 0.9, 0.0, 4.0).unwrap();
    near(found.mean_ns, expected, 0.10);
    assert!(system(64, vec![one]).simulate(2500.0, 50_000, 7).is_none());
}

/// At light load the time of a chain is the sum of its pieces, calls and ways.
#[test]
fn a_chain_takes_the_sum_of_its_pieces_when_nothing_waits() {
    let mut down = calls(2.5, piece(0.1 * MS, 0.0), 1);
    down.delay_ns = 0.02 * MS;
    let chain = vec![
        spot(piece(0.3 * MS, 0.0), vec![down]),
        spot(
            Piece {
                cpu_ns: 0.05 * MS,
                disk_ns: 0.4 * MS,
                wait_ns: 0.1 * MS,
                scv: 0.0,
            },
            vec![],
        ),
    ];
    let found = run(&system(1, chain), 1.0);
    near(
        found.mean_ns,
        (0.3 + 2.5 * (0.1 + 0.02 + 0.05 + 0.4 + 0.1)) * MS,
        0.01,
    );
}

#[test]
fn calls_at_the_same_time_take_as_long_as_the_longest() {
    let mut first = spot(
        piece(0.0, 0.0),
        vec![
            calls(1.0, piece(0.0, 0.0), 1),
            calls(1.0, piece(0.0, 0.0), 2),
        ],
    );
    let waits = |wait_ns: f64| {
        spot(
            Piece {
                wait_ns,
                ..Piece::default()
            },
            vec![],
        )
    };
    let chain = |first: &Spot| vec![first.clone(), waits(2.0 * MS), waits(3.0 * MS)];
    near(run(&system(1, chain(&first)), 1.0).mean_ns, 5.0 * MS, 0.01);
    first.parallel = true;
    near(run(&system(1, chain(&first)), 1.0).mean_ns, 3.0 * MS, 0.01);
}

/// A request that comes back to the queue of its CPU waits at every piece: longer than in one piece, where service scatters less
/// than at random.
#[test]
fn a_request_in_pieces_waits_longer_than_one_in_one_piece() {
    let chain = vec![
        spot(
            piece(0.1 * MS, 0.0),
            vec![calls(4.0, piece(0.1 * MS, 0.0), 1)],
        ),
        spot(piece(0.1 * MS, 0.0), vec![]),
    ];
    let in_pieces = run(&system(1, chain), 700.0).mean_ns;
    let in_one = time_in_queue_and_service(0.9 * MS, 0.63, 0.0, 1.0).unwrap();
    println!("{in_pieces} and {in_one}");
    assert!(in_pieces > 1.1 * in_one);
}

#[test]
fn what_runs_beside_takes_its_share_of_the_cpu() {
    let mut shared = system(1, vec![spot(piece(MS, 1.0), vec![])]);
    shared.beside.push(Beside {
        station: 0,
        per_second: 300.0,
        each_ns: MS,
    });
    // Two streams of the same work are one of both rates.
    near(run(&shared, 300.0).mean_ns, MS / 0.4, 0.05);
}

#[test]
fn the_same_seed_gives_the_same_answer_and_overload_gives_none() {
    let one = system(1, vec![spot(piece(MS, 1.0), vec![])]);
    let twice = [5, 5, 6].map(|seed| one.simulate(500.0, 5000, seed).unwrap().mean_ns);
    assert_eq!(twice[0], twice[1]);
    assert_ne!(twice[0], twice[2]);
    assert!(one.simulate(1500.0, 5000, 5).is_none());
}

#[test]
fn few_events_are_said_to_be_few() {
    let chain = vec![
        spot(piece(MS, 0.0), vec![calls(3.0, piece(MS, 0.0), 1)]),
        spot(piece(MS, 0.0), vec![]),
    ];
    let each = system(1, chain).events_each(1.0);
    // A piece is an event: 4 of the caller and 3 of the callee.
    assert!((7.0..40.0).contains(&each), "{each}");
}
