//! How often everything that is counted happens for one task, against the base size.
//!
//! In: a run at the base size and one at another. Out: [`Inflation`]s, what explains most of the loss first. Must not know:
//! causes.
//!
//! Counts of a whole machine may be compared as `count(N) / (N × count(1))` only if every core does the same work. Here they
//! are held to tasks: `(count(N) / tasks(N)) / (count(1) / tasks(1))`, which is the same where throughput is N-fold.

use courtside_core::model::scaling::Inflation;

use super::{events::Event, identity::quotient, loss::Loss};

/// All events that both runs have.
#[must_use]
pub fn inflation(loss: &Loss<'_>) -> Vec<Inflation> {
    let (base, run) = (loss.base, loss.run);
    let mut all: Vec<Inflation> = run
        .counts
        .keys()
        .filter_map(|event| {
            let base_per_task = base.per_task(*event)?;
            let per_task = run.per_task(*event)?;
            (base_per_task > 0.0 || per_task > 0.0).then(|| Inflation {
                event: event.name().to_owned(),
                n: loss.n,
                base_per_task,
                per_task,
                factor: quotient(Some(per_task), Some(base_per_task)),
                loss_share: explains(loss, *event),
            })
        })
        .collect();
    all.sort_by(|a, b| {
        let share = |of: &Inflation| of.loss_share.unwrap_or(f64::NEG_INFINITY);
        // What came from nothing grew most.
        let grew = |of: &Inflation| of.factor.map_or(f64::INFINITY, |factor| factor.ln().abs());
        share(b)
            .total_cmp(&share(a))
            .then_with(|| grew(b).total_cmp(&grew(a)))
    });
    all
}

/// Share of the loss: of what is time of a core, or a wait in which a core may have been idle.
fn explains(loss: &Loss<'_>, event: Event) -> Option<f64> {
    match event {
        Event::OnCpu => loss.share(loss.cpu_ns),
        Event::RunQueue | Event::Throttled | Event::BlockIo | Event::Sleep | Event::Lock => {
            let waits = loss.grew(event)?.max(0.0);
            loss.share(Some(waits.min(loss.idle_ns?.max(0.0))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::run, *};

    #[test]
    fn a_huge_growth_of_something_rare_does_not_come_first() {
        let base = run(
            1000,
            1e9,
            &[
                (Event::OnCpu, 0.9e9),
                (Event::BlockIo, 0.05e9),
                (Event::Retransmits, 1.0),
                (Event::Voluntary, 1000.0),
                (Event::DiskReads, 0.0),
            ],
        );
        // Worker time a task: 1 ms, then 2 ms; on-CPU 0.9 and 1.3 ms, so that 0.6 of the 1 ms lost is idle.
        let many = run(
            2000,
            1e9,
            &[
                (Event::OnCpu, 2.6e9),
                (Event::BlockIo, 2.1e9),
                (Event::Retransmits, 200.0),
                (Event::Voluntary, 1000.0),
                (Event::DiskReads, 2.0),
                (Event::LlcMisses, 5.0),
            ],
        );
        let all = inflation(&Loss::of((1, &base), (4, &many)));
        let names: Vec<&str> = all.iter().map(|each| each.event.as_str()).collect();
        let wanted = [
            "block_io_ns",
            "on_cpu_ns",
            "disk_reads",
            "retransmits",
            "voluntary_switches",
        ];
        assert_eq!(names, wanted);
        let near = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-9, "{a:?} {b}");
        // Threads waited for the disk for longer than a core was idle: no more than that.
        near(all[0].loss_share, 0.6);
        near(all[0].factor, 1.05 / 0.05);
        near(all[1].loss_share, 0.4);
        near(all[3].factor, 100.0);
        near(all[4].factor, 0.5);
        assert_eq!((all[2].factor, all[2].loss_share), (None, None));
    }
}
