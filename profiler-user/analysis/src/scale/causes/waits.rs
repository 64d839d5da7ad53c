//! What is waited for while cores are idle: a quota, CPUs, the disk, a lock.
//!
//! In: a [`Search`]. Out: its [`Cause`]s of this kind. Must not know: what takes CPU time.

use courtside_core::{
    model::scaling::{Cause, CauseKind},
    units::duration_f64,
};

use super::{
    super::{events::Event, measured::Run},
    CONCLUDED, FULL, MEASURED, MIN_SHARE, Search, number,
};

impl Search<'_> {
    /// Held back by a CPU quota, for each task more than at the base size.
    fn throttled(&self) -> Option<f64> {
        let (base, run) = (self.loss.base, self.loss.run);
        let each = |run: &Run| Some(run.throttled_ns? / run.tasks.max(1) as f64);
        Some((each(run)? - each(base)?).max(0.0))
    }

    pub(super) fn quota(&mut self) {
        let Some(more) = self.throttled() else {
            return;
        };
        let share = self.of_idle(more).or_else(|| self.loss.share(Some(more)));
        if share.is_none_or(|share| share < MIN_SHARE) {
            return;
        }
        let at = self.at();
        self.name(Cause {
            cause: CauseKind::Quota,
            component: None,
            loss_share: share,
            confidence: MEASURED,
            evidence: vec![
                number("throttled_per_task_more", more, "ns"),
                number("lost_per_task", self.loss.lost_ns, "ns"),
            ],
            says: format!(
                "A CPU quota holds it back {at}: {} for each task more than at {}",
                duration_f64(more),
                self.loss.base_n
            ),
            remedy: "Raise the quota of its control group (cpu.max, CPUQuota=, --cpus), or use fewer cores"
                .to_owned(),
        });
    }

    /// Share of the host's CPUs that were busy, where it had all of them.
    fn taken(&self) -> Option<f64> {
        let run = self.loss.run;
        let (_, _, cpus) = run.host;
        let on_cpu = run.counts.get(&Event::OnCpu)? + run.others_on_cpu_ns?;
        (cpus > 0 && self.loss.n >= cpus).then(|| on_cpu / run.wall_ns / f64::from(cpus))
    }

    /// Ready to run and not held back by a quota, for each task more than at the base size. Where it was not told apart, what a
    /// quota held back is a part of the time in run queues.
    fn waits_for_cpus(&self) -> Option<f64> {
        let each = |run: &Run| {
            let within = match run.counts.contains_key(&Event::Throttled) {
                true => 0.0,
                false => run.throttled_ns.unwrap_or(0.0) / run.tasks.max(1) as f64,
            };
            Some(run.per_task(Event::RunQueue)? - within)
        };
        Some(each(self.loss.run)? - each(self.loss.base)?)
    }

    pub(super) fn run_queue(&mut self) {
        let Some(waits) = self.waits_for_cpus() else {
            return;
        };
        let held_back = self.throttled();
        let share = self.of_idle(waits);
        let Some(share) = share.filter(|share| *share >= MIN_SHARE) else {
            return;
        };
        let full = self.taken().filter(|taken| *taken >= FULL);
        if held_back.is_none() && full.is_none() {
            self.need(
                &[CauseKind::Quota, CauseKind::RunQueue],
                Some(share),
                format!(
                    "Threads were ready to run for {} longer for each task, while CPUs were not seen to be full: a CPU quota looks the same, and how long one held threads back is not in these measurements; see throttled_usec in cpu.stat of its control group, or measure with: courtside scale run",
                    duration_f64(waits)
                ),
            );
            return;
        }
        let whose = self.whose(Event::RunQueue);
        let who = whose.as_ref().map_or("It", |(_, name)| name.as_str());
        let mut evidence = vec![number("run_queue_per_task_more", waits, "ns")];
        evidence.extend(full.map(|taken| number("cpus_taken", taken, "share")));
        let says = format!(
            "{who} waits for a CPU {}: {} for each task more than at {}, {}",
            self.at(),
            duration_f64(waits),
            self.loss.base_n,
            match (full, held_back) {
                (Some(_), _) => "while others have it",
                (None, Some(ns)) if ns > 0.0 => "besides what a quota held back",
                (None, _) => "and no quota held it back",
            }
        );
        self.name(Cause {
            cause: CauseKind::RunQueue,
            component: whose.map(|(id, _)| id),
            loss_share: Some(share),
            confidence: if full.is_some() { MEASURED } else { CONCLUDED },
            evidence,
            says,
            remedy: "See who else runs there, the load generator among them, and give them CPUs of their own"
                .to_owned(),
        });
    }

    pub(super) fn disk(&mut self) {
        let Some(waits) = self.loss.grew(Event::BlockIo).filter(|ns| *ns > 0.0) else {
            return;
        };
        let Some(share) = self.of_idle(waits).filter(|share| *share >= MIN_SHARE) else {
            return;
        };
        let whose = self.whose(Event::BlockIo);
        let who = whose.as_ref().map_or("It", |(_, name)| name.as_str());
        let mut evidence = vec![
            number("block_io_per_task_more", waits, "ns"),
            number("idle_per_task_more", self.loss.idle_ns.unwrap_or(0.0), "ns"),
        ];
        for (event, name) in [
            (Event::DiskReads, "disk_reads_per_task"),
            (Event::DiskWrites, "disk_writes_per_task"),
        ] {
            let each = self.loss.run.per_task(event).filter(|each| *each > 0.0);
            evidence.extend(each.map(|each| number(name, each, "per_request")));
        }
        let says = format!(
            "{who} waits for the disk {}: {} for each task more than at {}",
            self.at(),
            duration_f64(waits),
            self.loss.base_n
        );
        self.name(Cause {
            cause: CauseKind::Disk,
            component: whose.map(|(id, _)| id),
            loss_share: Some(share),
            confidence: MEASURED,
            evidence,
            says,
            remedy: "Ask the disk less often for each task, or spread the work over several"
                .to_owned(),
        });
    }

    /// What threads that had a request waited for other threads of their process. While such a one waits for a CPU or for the disk
    /// itself, that is the cause, and not the lock.
    pub(super) fn lock(&mut self) {
        let Some(grew) = self.loss.grew(Event::Lock) else {
            return;
        };
        let behind = [
            self.waits_for_cpus(),
            self.throttled(),
            self.loss.grew(Event::BlockIo),
        ];
        let behind: f64 = behind.into_iter().flatten().map(|ns| ns.max(0.0)).sum();
        let waits = grew - behind;
        let Some(share) = self.of_idle(waits).filter(|share| *share >= MIN_SHARE) else {
            return;
        };
        let whose = self.whose(Event::Lock);
        let who = whose.as_ref().map_or("it", |(_, name)| name.as_str());
        let says = format!(
            "Threads of {who} that have a request wait for a lock, or for another thread, {}: {} for each task more than at {}",
            self.at(),
            duration_f64(waits),
            self.loss.base_n
        );
        self.name(Cause {
            cause: CauseKind::Lock,
            component: whose.map(|(id, _)| id),
            loss_share: Some(share),
            confidence: CONCLUDED,
            evidence: vec![
                number("lock_per_task_more", grew, "ns"),
                number("waits_for_cpus_and_disk_per_task_more", behind, "ns"),
                number("idle_per_task_more", self.loss.idle_ns.unwrap_or(0.0), "ns"),
            ],
            says,
            remedy: "Hold the lock for less time, or use several; where a thread gives its request to another one and waits for that, see what the other one does"
                .to_owned(),
        });
    }
}
