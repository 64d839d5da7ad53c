//! What judging costs beyond measuring: one correlation, and a window of a hundred components.
//!
//! In: nothing. Out: one JSON object on stdout, in CPU time of this thread, so that others on the host do not count. Run by
//! `cargo bench -p profiler-user --bench guard`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot run fails"
)]

use std::{hint::black_box, iter};

use courtside::{
    analysis::guard::{Guard, GuardOptions, LEARN_WINDOWS, correlation, inputs, non_negative},
    model::{Snapshot, State, View, fold},
};
use courtside_core::fixture::frames;
use fastrand::Rng;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// Goals: algorithms.md and the paper's own figure for a correlation, a thousandth of a CPU for windows of a second.
const COMPONENTS: usize = 100;
const WINDOWS: u64 = 600;
const SECOND: u64 = 1_000_000_000;

fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.unsigned_abs() * SECOND + time.tv_nsec.unsigned_abs()
}

/// CPU time of one of many.
fn each(times: u64, mut something: impl FnMut(u64)) -> f64 {
    let begun = cpu_ns();
    for number in 0..times {
        something(number);
    }
    (cpu_ns() - begun) as f64 / times as f64
}

fn correlations() -> serde_json::Value {
    let mut dice = Rng::with_seed(1);
    let mut series = |windows: usize| -> Vec<f64> {
        let value = |dice: &mut Rng| 1.0 + dice.f64();
        iter::repeat_with(|| value(&mut dice))
            .take(windows)
            .collect()
    };
    let paper = (series(10), series(10));
    let ours = (series(120), series(120));
    let uses: Vec<Vec<f64>> = (0..24).map(|_| series(120)).collect();
    let one = |(values, uses): &(Vec<f64>, Vec<f64>)| {
        each(100_000, |_| {
            let pairs = values.iter().copied().zip(uses.iter().copied());
            black_box(correlation(black_box(pairs), 1.5));
        })
    };
    json!({
        "correlation_of_10_samples_ns": one(&paper),
        "correlation_of_120_windows_ns": one(&ours),
        "least_squares_of_24_suspects_over_120_windows_ns": each(200, |_| {
            black_box(non_negative(black_box(&ours.0), black_box(&uses)));
        }),
    })
}

/// A window of so many components that all serve requests; all of them are watched.
fn host(dice: &mut Rng, number: u64, is_slow: bool) -> Snapshot {
    let mut frame = frames::chain(dice.u64(95..=105));
    frame.start_unix_ns += number * SECOND;
    let mut snapshot = fold(&mut State::default(), &frame, &View::default());
    let four = std::mem::take(&mut snapshot.components);
    let here: Vec<_> = four.iter().filter(|of| of.requests.served > 0).collect();
    snapshot.components = (0..COMPONENTS)
        .map(|copy| {
            let mut component = here[copy % here.len()].clone();
            component.id = format!("program:service{copy}");
            component.cpu.run_queue_ns = dice.u64(10_000_000..=12_000_000);
            component.cpu.on_cpu_ns = dice.u64(90_000_000..=100_000_000);
            if is_slow && copy < 10 {
                component.cpu.run_queue_ns *= 8;
            }
            component
        })
        .collect();
    snapshot
}

fn windows(is_slow: bool) -> serde_json::Value {
    let mut dice = Rng::with_seed(2);
    let mut guard = Guard::new(GuardOptions::default(), None);
    for number in 0..LEARN_WINDOWS + 1 {
        guard.window(inputs(&host(&mut dice, number, false)), &|_| true);
    }
    let later: Vec<Snapshot> = (0..WINDOWS)
        .map(|number| host(&mut dice, LEARN_WINDOWS + 1 + number, is_slow))
        .collect();
    let mut told = 0;
    let window_ns = each(WINDOWS, |number| {
        let window = inputs(&later[usize::try_from(number).unwrap()]);
        told += guard.window(window, &|_| true).len();
    });
    let slow = guard.anomalies().count();
    assert_eq!(slow > 0, is_slow, "{told} lines");
    json!({
        "components": COMPONENTS,
        "numbers_that_are_too_high": slow,
        "window_ns": window_ns,
        "share_of_a_core_with_windows_of_a_second": window_ns / SECOND as f64,
    })
}

fn main() {
    let all = json!({
        "correlations": correlations(),
        "nothing_is_slow": windows(false),
        "ten_services_are_slow": windows(true),
    });
    println!("{all:#}");
}
