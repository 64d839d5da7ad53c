//! What is lost at a size, as time of a core or worker for one task, and how it divides.
//!
//! In: a run at the base size and one at another. Out: [`Loss`]. Must not know: causes.
//!
//! A task takes `N × time / tasks` of the time of all N. What it takes more than at the base size is lost. On-CPU time for a
//! task is a part of it at both sizes, so the loss divides exactly into more on-CPU time and more idle time.

use super::{events::Event, measured::Run};

/// What is lost at one size.
#[derive(Clone, Copy, Debug)]
pub struct Loss<'a> {
    /// At the base size.
    pub base: &'a Run,
    /// At this one.
    pub run: &'a Run,
    /// The size.
    pub n: u32,
    /// The base size.
    pub base_n: u32,
    /// Time of a core for one task.
    pub task_ns: f64,
    /// What that is more than at the base size.
    pub lost_ns: f64,
    /// Of it: more time on a CPU.
    pub cpu_ns: Option<f64>,
    /// Of it: more time not on a CPU.
    pub idle_ns: Option<f64>,
}

/// Time of a core or worker that one task takes.
#[must_use]
pub fn task_ns(n: u32, run: &Run) -> f64 {
    f64::from(n) * run.wall_ns / run.tasks as f64
}

impl<'a> Loss<'a> {
    /// Compares two runs.
    #[must_use]
    pub fn of((base_n, base): (u32, &'a Run), (n, run): (u32, &'a Run)) -> Self {
        let mut loss = Self {
            base,
            run,
            n,
            base_n,
            task_ns: task_ns(n, run),
            lost_ns: task_ns(n, run) - task_ns(base_n, base),
            cpu_ns: None,
            idle_ns: None,
        };
        loss.cpu_ns = loss.grew(Event::OnCpu);
        loss.idle_ns = loss.cpu_ns.map(|cpu| loss.lost_ns - cpu);
        loss
    }

    /// How much more there is of it for each task.
    #[must_use]
    pub fn grew(&self, event: Event) -> Option<f64> {
        Some(self.run.per_task(event)? - self.base.per_task(event)?)
    }

    /// A time for each task as a share of the loss; none where nothing is lost.
    #[must_use]
    pub fn share(&self, ns: Option<f64>) -> Option<f64> {
        let share = ns? / self.lost_ns;
        (self.lost_ns > 0.0 && share.is_finite()).then_some(share)
    }

    /// What is lost of all that could be: 0 is none, 1 all.
    #[must_use]
    pub fn of_all(&self) -> f64 {
        self.lost_ns / self.task_ns
    }
}
