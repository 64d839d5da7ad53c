//! The numbers of each size.
//!
//! In: a [`Study`] and the run that others are compared with. Out: [`ScalingPoint`]s. Must not know: causes.

use courtside_core::model::scaling::{ScalingKind, ScalingPoint, TaskUnit, Unknown};

use super::{
    Run, Size, Study, events::Event, identity, loss, makespan, measured::makespan as makespan_of,
    stats::interval_of_runs,
};

/// The run with the median throughput; of an even number the lower one.
#[must_use]
pub(super) fn typical(runs: &[Run]) -> Option<&Run> {
    let mut sorted: Vec<&Run> = runs.iter().collect();
    sorted.sort_by(|a, b| a.throughput_per_s().total_cmp(&b.throughput_per_s()));
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

/// All sizes.
pub(super) fn points(study: &Study, base: (u32, &Run)) -> Vec<ScalingPoint> {
    let each = study.sizes.iter();
    each.filter_map(|size| point(study, base, size)).collect()
}

fn point(study: &Study, (base_n, base): (u32, &Run), size: &Size) -> Option<ScalingPoint> {
    let run = typical(&size.runs)?;
    let n = f64::from(size.n);
    let throughput = run.throughput_per_s();
    let speedup = throughput / base.throughput_per_s() * f64::from(base_n);
    let dealt = Dealt::of(study, (base_n, base));
    let is_command = study.unit == TaskUnit::Commands;
    let rates: Vec<f64> = size.runs.iter().map(Run::throughput_per_s).collect();
    let (efficiency, overhead_ns_per_task) = match &dealt {
        Some(dealt) => dealt.efficiency_and_overhead(size.n, run),
        None => (
            speedup / n,
            loss::task_ns(size.n, run) - loss::task_ns(base_n, base),
        ),
    };
    let latency_ns = if is_command {
        let rounds = dealt.map_or(1, |_| makespan::rounds(run.tasks, u64::from(size.n)));
        Some(run.wall_ns / rounds as f64)
    } else {
        run.latency_ns
    };
    let others_busy = run
        .others_on_cpu_ns
        .map(|others| others / run.wall_ns / n)
        .filter(|_| run.counts.contains_key(&Event::OnCpu));
    let mut point = ScalingPoint {
        n: size.n,
        cores: size.cores,
        workers: size.workers,
        file: size.file.clone(),
        runs: size.runs.len() as u64,
        windows: run.windows,
        duration_ns: run.wall_ns as u64,
        tasks: run.tasks,
        lost: run.lost,
        throughput_per_s: throughput,
        throughput_interval95: interval_of_runs(&rates)
            .or_else(|| run.rates.interval95())
            .filter(|interval| interval.iter().all(|end| end.is_finite())),
        throughput_per_worker_per_s: throughput / n,
        speedup,
        efficiency,
        overhead_ns_per_task,
        latency_ns,
        makespan: is_command.then(|| makespan_of(&size.runs)).flatten(),
        busy: run.busy(size.n),
        others_busy,
        frequency: identity::frequency(run),
        instructions_per_task: run.per_task(Event::Instructions),
        cpi: identity::cpi(run),
        on_cpu_ns_per_task: run.per_task(Event::OnCpu),
        throttled_ns_per_task: run.throttled_ns.map(|ns| ns / run.tasks as f64),
        unknown: run.unknown.clone(),
    };
    if point.throughput_interval95.is_none() {
        point.unknown.push(Unknown {
            field: "throughput_interval95".to_owned(),
            why:
                "fewer than three runs and fewer than five windows do not tell how far they scatter"
                    .to_owned(),
        });
    }
    Some(point)
}

/// A command that is said to consist of equal tasks, which are dealt out to workers.
#[derive(Clone, Copy, Debug)]
struct Dealt {
    task_ns: f64,
}

impl Dealt {
    /// None for requests, and for one piece of work that can be divided as one likes.
    fn of(study: &Study, (base_n, base): (u32, &Run)) -> Option<Self> {
        let consists = study.tasks.is_some() || study.kind == ScalingKind::Weak;
        if study.unit != TaskUnit::Commands || !consists {
            return None;
        }
        let given = study.tasks.and_then(|tasks| tasks.task_ns);
        let at_base = makespan::latency_ns(base.tasks, u64::from(base_n), base.wall_ns);
        Some(Self {
            task_ns: given.unwrap_or(at_base),
        })
    }

    fn efficiency_and_overhead(self, n: u32, run: &Run) -> (f64, f64) {
        let (tasks, workers) = (run.tasks, u64::from(n));
        (
            makespan::efficiency(tasks, workers, self.task_ns, run.wall_ns),
            makespan::overhead_ns_per_task(tasks, workers, self.task_ns, run.wall_ns),
        )
    }
}
