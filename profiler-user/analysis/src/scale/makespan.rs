//! A fixed number of tasks on so many workers: ideal time, efficiency, overhead, latency.
//!
//! In: tasks, workers, the time of one task, the time of all. Out: those numbers. Must not know: what was measured.
//!
//! Some reports print efficiency as actual over ideal, so that what takes twice as long has 200 %: here it is ideal over
//! actual. And the time of all divided by the number of tasks is no latency if workers do them side by side: a task's latency
//! is the time of all over the rounds that each worker made.

/// How many tasks a worker does one after the other, if they are dealt out evenly: `⌈n / W⌉`.
#[must_use]
pub fn rounds(tasks: u64, workers: u64) -> u64 {
    tasks.div_ceil(workers.max(1)).max(1)
}

/// The shortest time for all: `⌈n / W⌉ × work`.
#[must_use]
pub fn ideal_ns(tasks: u64, workers: u64, task_ns: f64) -> f64 {
    rounds(tasks, workers) as f64 * task_ns
}

/// Ideal time over actual time.
#[must_use]
pub fn efficiency(tasks: u64, workers: u64, task_ns: f64, makespan_ns: f64) -> f64 {
    ideal_ns(tasks, workers, task_ns) / makespan_ns
}

/// What a task takes more than its work, on its worker: what all took more than ideal, over the rounds.
#[must_use]
pub fn overhead_ns_per_task(tasks: u64, workers: u64, task_ns: f64, makespan_ns: f64) -> f64 {
    (makespan_ns - ideal_ns(tasks, workers, task_ns)) / rounds(tasks, workers) as f64
}

/// From the begin of a task on its worker to its end, on average.
#[must_use]
pub fn latency_ns(tasks: u64, workers: u64, makespan_ns: f64) -> f64 {
    makespan_ns / rounds(tasks, workers) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: f64 = 1e9;

    #[test]
    fn twenty_tasks_of_a_second_on_four_workers() {
        assert_eq!(ideal_ns(20, 4, SECOND), 5.0 * SECOND);
        // Workers that ask for tasks: 5.05 s. Workers that are given them: 10 s, which is half of the ideal, not twice.
        let pull = efficiency(20, 4, SECOND, 5.05 * SECOND);
        assert!((pull - 0.990_1).abs() < 1e-4, "{pull}");
        assert_eq!(efficiency(20, 4, SECOND, 10.0 * SECOND), 0.5);
        assert_eq!(overhead_ns_per_task(20, 4, SECOND, 10.0 * SECOND), SECOND);
        let pull = overhead_ns_per_task(20, 4, SECOND, 5.05 * SECOND);
        assert!((pull - 0.01 * SECOND).abs() < 1.0, "{pull}");
        // A task takes a second however many workers there are.
        for workers in [1, 2, 4, 8, 16] {
            let all = ideal_ns(5 * workers, workers, SECOND);
            assert_eq!(latency_ns(5 * workers, workers, all), SECOND);
        }
        assert_eq!(latency_ns(20, 4, 10.0 * SECOND), 2.0 * SECOND);
    }

    #[test]
    fn tasks_that_do_not_come_out_even_need_a_round_more() {
        assert_eq!(rounds(21, 4), 6);
        assert_eq!(rounds(20, 16), 2);
        assert_eq!(rounds(1, 16), 1);
        assert_eq!(rounds(0, 0), 1);
        assert_eq!(efficiency(20, 16, SECOND, 2.0 * SECOND), 1.0);
    }
}
