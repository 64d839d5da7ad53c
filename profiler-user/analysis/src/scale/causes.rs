//! Why something does not scale better.
//!
//! In: a [`Loss`] at the largest size. Out: [`Cause`]s, ranked, and what cannot be told ([`Needed`]). Must not know: how
//! anything is shown. Truth first: a cause is named only if nothing else that was not measured could look the same. What a
//! CPU quota held back is never called run queue, and CPUs that were idle are not called a lock, unless that was measured.

mod waits;

use courtside_core::{
    model::{
        finding::Evidence,
        scaling::{Cause, CauseKind, Needed, TaskUnit},
        visible::visible,
    },
    units::{duration_f64, percent, rate, ratio},
};

use super::{
    events::Event,
    identity::{cpi, frequency, quotient},
    loss::Loss,
};

/// What loses less than this of the ideal scales.
const SCALES: f64 = 0.05;
/// What explains less than this of the loss is no cause.
const MIN_SHARE: f64 = 0.1;
/// From this share of their time on CPUs are full: interrupts and switches take the rest.
const FULL: f64 = 0.85;
/// A thread that never waits is on its CPU for so much of the time of one core.
const ONE_CORE: std::ops::Range<f64> = 0.85..1.1;
/// One thread alone waits less often than this in a second on its CPU; a lock that several want makes thousands.
const FEW_WAITS_A_SECOND: f64 = 50.0;
/// Off a CPU and on again, without what caches lose: about two microseconds on hosts of today.
const SWITCH_NS: f64 = 2_000.0;
/// So much more misses for each instruction are the cache's; less, and each miss costs more.
const MORE_MISSES: f64 = 1.2;
/// Misses for each instruction from which memory may be what is waited for.
const MANY_MISSES: f64 = 0.001;

/// What the kernel booked itself.
const MEASURED: f64 = 0.9;
/// What is concluded from several numbers.
const CONCLUDED: f64 = 0.7;
/// What rests on a usual price.
const ESTIMATED: f64 = 0.5;

/// Looks for causes.
pub(super) struct Search<'a> {
    pub loss: Loss<'a>,
    pub unit: TaskUnit,
    /// How sure anything is that rests on these runs.
    pub sure: f64,
    pub causes: Vec<Cause>,
    pub needed: Vec<Needed>,
}

fn number(name: &str, value: f64, unit: &str) -> Evidence {
    Evidence {
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
    }
}

impl Search<'_> {
    /// Looks at everything.
    pub fn look(&mut self) {
        if self.scales() {
            return;
        }
        self.quota();
        self.run_queue();
        self.disk();
        self.lock();
        self.one_thread();
        self.switches();
        self.cycles();
        self.rules();
        self.unexplained();
        self.causes.sort_by(|a, b| {
            let weight = |cause: &Cause| cause.loss_share.unwrap_or(0.0) * cause.confidence;
            weight(b).total_cmp(&weight(a))
        });
        self.needed.sort_by(|a, b| {
            b.loss_share
                .unwrap_or(0.0)
                .total_cmp(&a.loss_share.unwrap_or(0.0))
        });
    }

    fn name(&mut self, cause: Cause) {
        self.causes.push(Cause {
            confidence: (cause.confidence * self.sure).clamp(0.0, 1.0),
            loss_share: cause.loss_share.map(|share| share.clamp(0.0, 1.0)),
            ..cause
        });
    }

    fn need(&mut self, causes: &[CauseKind], share: Option<f64>, says: String) {
        self.needed.push(Needed {
            causes: causes.to_vec(),
            loss_share: share.map(|share| share.clamp(0.0, 1.0)),
            says,
        });
    }

    fn at(&self) -> String {
        format!("at {}", self.loss.n)
    }

    fn has(&self, kind: CauseKind) -> bool {
        self.causes.iter().any(|cause| cause.cause == kind)
    }

    /// Share of the loss of a wait: no more than CPUs were idle.
    fn of_idle(&self, ns: f64) -> Option<f64> {
        let idle = self.loss.idle_ns?.max(0.0);
        self.loss.share(Some(ns.min(idle)))
    }

    /// The component of which it grew most, by id and name.
    fn whose(&self, event: Event) -> Option<(String, String)> {
        let per_task = |run: &super::Run, id: &str| {
            let used = run.used.iter().find(|used| used.id == id)?;
            let count = used.counts.get(&event)?;
            Some(count / run.tasks.max(1) as f64)
        };
        let grown = self.loss.run.used.iter().filter_map(|used| {
            let now = per_task(self.loss.run, &used.id)?;
            let before = per_task(self.loss.base, &used.id).unwrap_or(0.0);
            (now > before).then_some((now - before, used))
        });
        let (_, most) = grown.max_by(|a, b| a.0.total_cmp(&b.0))?;
        Some((most.id.clone(), visible(&most.name).into_owned()))
    }

    fn scales(&mut self) -> bool {
        let lost = self.loss.of_all();
        if lost > SCALES {
            return false;
        }
        let at = self.at();
        let says = if lost < -SCALES {
            format!("It scales better than ideal {at}: each does more than one alone")
        } else {
            format!("It scales: {} of the ideal {at}", percent(1.0 - lost))
        };
        self.name(Cause {
            cause: CauseKind::None,
            component: None,
            loss_share: None,
            confidence: MEASURED,
            evidence: vec![number("efficiency", 1.0 - lost, "share")],
            says,
            remedy: "Measure at more cores or workers to see how far that goes".to_owned(),
        });
        true
    }

    /// On-CPU time as cores.
    fn cores(&self, run: &super::Run) -> Option<f64> {
        Some(run.counts.get(&Event::OnCpu)? / run.wall_ns)
    }

    /// Nothing but one thread's work, whatever it is given.
    fn one_thread(&mut self) {
        let (base, run) = (self.loss.base, self.loss.run);
        let (Some(before), Some(now)) = (self.cores(base), self.cores(run)) else {
            return;
        };
        let waits = run.counts.get(&Event::Voluntary);
        let on_cpu = run.counts.get(&Event::OnCpu).copied();
        let waits = quotient(waits.copied(), on_cpu).map(|each| each * 1e9);
        let alone = self.loss.base_n == 1 && ONE_CORE.contains(&before) && ONE_CORE.contains(&now);
        let idle = self.loss.share(self.loss.idle_ns);
        let Some((waits, idle)) = waits.zip(idle).filter(|_| alone) else {
            return;
        };
        if waits >= FEW_WAITS_A_SECOND || idle < MIN_SHARE {
            return;
        }
        let whose = self.whose(Event::OnCpu).or_else(|| {
            let most = run.used.iter().max_by(|a, b| {
                let on_cpu = |used: &super::Used| used.counts.get(&Event::OnCpu).copied();
                on_cpu(a)
                    .unwrap_or(0.0)
                    .total_cmp(&on_cpu(b).unwrap_or(0.0))
            })?;
            Some((most.id.clone(), visible(&most.name).into_owned()))
        });
        let says = format!(
            "It uses one core however many it has ({} {}), and hardly ever waits: one thread does the work",
            ratio(Some(now)),
            self.at()
        );
        self.name(Cause {
            cause: CauseKind::SaturatedComponent,
            component: whose.map(|(id, _)| id),
            loss_share: Some(idle),
            confidence: CONCLUDED,
            evidence: vec![
                number("cores_used", now, "count"),
                number("waits_per_second_on_cpu", waits, "per_second"),
            ],
            says,
            remedy: "Let more threads or processes share the work; more cores change nothing"
                .to_owned(),
        });
    }

    fn switches(&mut self) {
        let grew = |event| self.loss.grew(event).unwrap_or(0.0);
        let more = grew(Event::Voluntary) + grew(Event::Involuntary);
        let cost = (more * SWITCH_NS).min(self.loss.cpu_ns.unwrap_or(0.0));
        let share = self.loss.share(Some(cost));
        let Some(share) = share.filter(|share| *share >= MIN_SHARE) else {
            return;
        };
        let event = if grew(Event::Voluntary) >= grew(Event::Involuntary) {
            Event::Voluntary
        } else {
            Event::Involuntary
        };
        let whose = self.whose(event);
        let who = whose.as_ref().map_or("its", |(_, name)| name.as_str());
        let says = format!(
            "{} switches more for each task {}, most of them of {who}: about {} of CPU time",
            rate(more),
            self.at(),
            duration_f64(more * SWITCH_NS)
        );
        let remedy = match event {
            Event::Voluntary => {
                "Look for locks, hand-overs between threads and short timers, and let one thread do more at a time"
            }
            _ => "Run fewer threads than CPUs",
        };
        self.name(Cause {
            cause: CauseKind::ContextSwitches,
            component: whose.map(|(id, _)| id),
            loss_share: Some(share),
            confidence: ESTIMATED,
            evidence: vec![
                number("switches_per_task_more", more, "per_request"),
                number("usual_price", SWITCH_NS, "ns"),
            ],
            says,
            remedy: remedy.to_owned(),
        });
    }

    /// More on-CPU time for each task: instructions, cycles for each of them, or frequency.
    fn cycles(&mut self) {
        let share = self.loss.share(self.loss.cpu_ns);
        let Some(share) = share.filter(|share| *share >= MIN_SHARE) else {
            return;
        };
        let (base, run) = (self.loss.base, self.loss.run);
        let growth = |event| quotient(run.per_task(event), base.per_task(event));
        let work = growth(Event::OnCpu).unwrap_or(1.0);
        let instructions = growth(Event::Instructions);
        let (cpis, frequencies) = (
            quotient(cpi(run), cpi(base)),
            quotient(frequency(run), frequency(base)),
        );
        let (Some(instructions), Some(cpis), Some(frequencies)) = (instructions, cpis, frequencies)
        else {
            self.need(
                &[
                    CauseKind::CpuCache,
                    CauseKind::MemoryBandwidth,
                    CauseKind::BusyPolling,
                ],
                Some(share),
                format!(
                    "Each task takes {} times the CPU time {}: without hardware counters slower memory and caches look the same as more work, polling, spinning on a lock, a lower frequency or two threads on one core; measure on a machine with hardware counters",
                    ratio(Some(work)),
                    self.at()
                ),
            );
            return;
        };
        // Factors multiply: each has the share of the loss that its logarithm has of all.
        let part = |factor: f64| share * factor.ln() / work.ln();
        if part(cpis) >= MIN_SHARE {
            self.memory(part(cpis), cpis);
        }
        if part(instructions) >= MIN_SHARE {
            self.need(
                &[CauseKind::BusyPolling],
                Some(part(instructions)),
                format!(
                    "Each task takes {} times the instructions {}: whether that is polling, spinning on a lock or more work is not in these measurements; a profile of where its threads are tells",
                    ratio(Some(instructions)),
                    self.at()
                ),
            );
        }
        if part(1.0 / frequencies) >= MIN_SHARE {
            self.need(
                &[],
                Some(part(1.0 / frequencies)),
                format!(
                    "CPUs ran at {} of the frequency {}: that is the hardware's own, or its power limit",
                    percent(frequencies),
                    self.at()
                ),
            );
        }
    }

    /// More cycles for each instruction.
    fn memory(&mut self, share: f64, cpis: f64) {
        let misses = |run: &super::Run| {
            let instructions = run.counts.get(&Event::Instructions).copied();
            quotient(run.counts.get(&Event::LlcMisses).copied(), instructions)
        };
        let (before, now) = (misses(self.loss.base), misses(self.loss.run));
        let Some((before, now)) = before.zip(now) else {
            self.need(
                &[CauseKind::CpuCache, CauseKind::MemoryBandwidth],
                Some(share),
                format!(
                    "Each instruction takes {} times the cycles {}: which of the two it is would need counts of last-level cache misses, which this machine does not give",
                    ratio(Some(cpis)),
                    self.at()
                ),
            );
            return;
        };
        let more = quotient(Some(now), Some(before));
        let mut evidence = vec![
            number("cpi_ratio", cpis, "share"),
            number("llc_misses_per_instruction", now, "per_instruction"),
        ];
        evidence.extend(more.map(|more| number("llc_misses_per_instruction_ratio", more, "share")));
        if now < MANY_MISSES {
            self.need(
                &[],
                Some(share),
                format!(
                    "Each instruction takes {} times the cycles {}, with hardly any cache misses: two threads on one core, or shared cache lines, look so",
                    ratio(Some(cpis)),
                    self.at()
                ),
            );
            return;
        }
        let whose = self.whose(Event::Cycles).map(|(id, _)| id);
        let at = self.at();
        let (cause, says, remedy, sure) = if more.is_none_or(|more| more >= MORE_MISSES) {
            (
                CauseKind::CpuCache,
                format!(
                    "Each instruction takes {} times the cycles {at}, with {} times the cache misses: what runs side by side does not fit into the cache",
                    ratio(Some(cpis)),
                    ratio(more)
                ),
                "Let each touch less memory, share what is read only, or spread over more caches",
                CONCLUDED,
            )
        } else {
            (
                CauseKind::MemoryBandwidth,
                format!(
                    "Each instruction takes {} times the cycles {at}, with no more cache misses: each miss takes longer, memory is busy",
                    ratio(Some(cpis))
                ),
                "Move less data for each task, or spread over more memory channels",
                CONCLUDED,
            )
        };
        self.name(Cause {
            cause,
            component: whose,
            loss_share: Some(share),
            confidence: sure,
            evidence,
            says,
            remedy: remedy.to_owned(),
        });
    }

    /// What rules found at the largest size and not at the base.
    fn rules(&mut self) {
        let (base, run) = (self.loss.base, self.loss.run);
        for finding in &run.findings {
            let kind = match finding.rule.as_str() {
                "single_thread_limit" => CauseKind::SaturatedComponent,
                "retransmits" | "slow_peer" => CauseKind::Network,
                "slow_disk" => CauseKind::Disk,
                "context_switches" => CauseKind::ContextSwitches,
                "busy_polling" => CauseKind::BusyPolling,
                _ => continue,
            };
            let same = |other: &courtside_core::model::finding::Finding| {
                other.rule == finding.rule && other.component == finding.component
            };
            let on_way =
                run.used.iter().any(|used| used.id == finding.component) || finding.edge.is_some();
            if self.has(kind) || base.findings.iter().any(same) || !on_way {
                continue;
            }
            // Nothing that is idle is explained, and how much of the loss it is, is not known.
            self.causes.push(Cause {
                cause: kind,
                component: Some(finding.component.clone()),
                loss_share: None,
                confidence: finding.confidence,
                evidence: finding.evidence.clone(),
                says: format!(
                    "{} ({}, and not at {})",
                    finding.says,
                    self.at(),
                    self.loss.base_n
                ),
                remedy: finding.remedy.clone(),
            });
        }
    }

    /// CPUs that were idle, and no cause of it was named.
    fn unexplained(&mut self) {
        let idle = self.loss.share(self.loss.idle_ns);
        let Some(idle) = idle.filter(|idle| *idle >= MIN_SHARE) else {
            if self.loss.cpu_ns.is_none() {
                self.need(
                    &[],
                    Some(1.0),
                    "The CPU time of what does the work is not known, so that the loss cannot be divided into more CPU time and idle CPUs".to_owned(),
                );
            }
            return;
        };
        let waits = [
            CauseKind::Quota,
            CauseKind::RunQueue,
            CauseKind::Disk,
            CauseKind::Lock,
            CauseKind::SaturatedComponent,
        ];
        let explained: f64 = self
            .causes
            .iter()
            .filter(|cause| waits.contains(&cause.cause))
            .filter_map(|cause| cause.loss_share)
            .sum();
        let asked: f64 = self
            .needed
            .iter()
            .filter(|needed| needed.causes.contains(&CauseKind::Quota))
            .filter_map(|needed| needed.loss_share)
            .sum();
        let left = idle - explained - asked;
        if left < MIN_SHARE {
            return;
        }
        let load = match self.unit {
            TaskUnit::Requests => {
                "; and so does too little load: only a load generator that always has more to ask shows how something scales"
            }
            TaskUnit::Commands => ", a part that only one thread does among them",
        };
        let switches = self
            .loss
            .grew(Event::Voluntary)
            .map_or_else(String::new, |more| {
                format!(
                    " (waits for each task: {} more than at {})",
                    rate(more.max(0.0)),
                    self.loss.base_n
                )
            });
        let mut kinds = vec![CauseKind::Lock, CauseKind::Heartbeat, CauseKind::Network];
        if self.loss.grew(Event::RunQueue).is_none() {
            kinds.extend([CauseKind::RunQueue, CauseKind::Disk]);
        }
        let (locks, other) = match self.loss.grew(Event::Lock) {
            Some(_) => (
                "locks that threads wait for before they have a request",
                "what else threads slept for",
            ),
            None => ("locks", "what threads slept for"),
        };
        self.need(
            &kinds,
            Some(left),
            format!(
                "Cores were not busy for {} of the loss {}{switches}: {locks}, timers and waiting for others look the same{load}; {other} is not in these measurements",
                percent(left),
                self.at()
            ),
        );
    }
}
