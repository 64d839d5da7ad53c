//! Whom to hold back, how much, for how long, and whether it has helped.
//!
//! In: a [`Guard`], and an [`Actuator`] that knows control groups. Out: orders to it, [`Interference`] about them. Must not
//! know: files, processes. Nobody is ever killed.

use std::collections::BTreeSet;

use courtside_core::{
    model::interference::{Action, DecidedBy, Effect, EventKind, Interference, Signal, Suspect},
    units::percent,
};

use super::{
    Guard,
    detect::scatter,
    search::{Level, MIN_CPUS, Search},
    stats::median,
};

/// What may be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    #[default]
    Off,
    /// Saying what would be done.
    DryRun,
    /// Holding back.
    Cap,
}

/// How much a suspect is left.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Cap {
    /// So many CPUs, for five minutes at a time (CPI2, table 2).
    Cpus(f64),
    /// Half of what it uses, and half again, until the signal is back within one standard deviation; then more and more, up to
    /// what was too much (additive increase, multiplicative decrease, with a memory of both).
    #[default]
    Feedback,
}

/// How somebody is held back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Means {
    /// It gets only the CPU time that nobody beside it wants: nothing is lost where nobody does.
    Weight,
    /// It gets so many CPUs, whether somebody else wants them or not.
    Quota(f64),
}

impl Means {
    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Quota(_) => "cap",
        }
    }
}

/// How long a limit lasts (CPI2, table 2).
const CAP_NS: u64 = 300_000_000_000;
/// Windows after which an action is judged, and a limit made anew.
const JUDGE_AFTER: usize = 5;
/// Feedback is judged after so many steps, if the signal is not back before.
const JUDGE_ROUNDS: u32 = 4;
/// A limit that is so many times what it used before limits nothing.
const NO_LIMIT: f64 = 1.25;
/// An action worked only if it took away this share of what was too much.
const GOOD_PART: f64 = 0.25;
/// Who has less of the blame, or of the disk, is not held back: little would come of it.
const MIN_PART: f64 = 0.1;
/// A weight with which so many rounds, one after the other, are nearly as usual is not enough.
const NEAR_TOO_OFTEN: u32 = 3;
/// Most that are held back at a time.
const MAX_HELD: usize = 8;
/// Between two attempts at least (CPI2, section 4.2).
const ATTEMPT_EVERY_NS: u64 = 1_000_000_000;
/// Where a signal never scattered, this share of its median stands for the standard deviation.
const STEADY: f64 = 0.1;

/// A limit in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The control group, below the root of its hierarchy.
    pub cgroup: String,
    /// The file that holds the limit.
    pub file: String,
    /// What is in it.
    pub before: String,
    /// What is to be in it.
    pub after: String,
}

/// Who knows control groups.
pub trait Actuator {
    /// How a component can be held back by these means for the sake of a victim.
    ///
    /// # Errors
    /// It must not or cannot be, and why.
    fn find(&mut self, component: &str, victim: &str, means: Means) -> Result<Order, String>;

    /// Writes the limit, and sees to it that it does not outlive us.
    ///
    /// # Errors
    /// It cannot be written, and why.
    fn set(&mut self, order: &Order) -> Result<(), String>;

    /// Writes back what was there before.
    ///
    /// # Errors
    /// It cannot be written, and why.
    fn release(&mut self, order: &Order) -> Result<(), String>;

    /// Files whose limit is no longer ours, and why.
    fn lost(&mut self) -> Vec<(String, String)>;
}

/// A suspect that is held back.
#[derive(Clone, Debug)]
struct Held {
    component: String,
    victim: String,
    signal: Signal,
    means: Means,
    order: Order,
    search: Search,
    usage_before: f64,
    value_before: f64,
    /// When it ends, as it is told, and by how long is watched, which is what counts: the wall clock may be set back.
    until_unix_ns: u64,
    until_elapsed_ns: u64,
    /// Values of the windows since, and the number of the last.
    since: Vec<f64>,
    last: u64,
    judged: bool,
    /// How often it was looked at whether that is enough, and in how many of these rounds one after the other it nearly was.
    rounds: u32,
    near: u32,
}

impl Held {
    /// From now on for as long as a limit lasts.
    fn renew(&mut self, guard: &Guard) {
        self.until_unix_ns = guard.time_unix_ns().saturating_add(CAP_NS);
        self.until_elapsed_ns = guard.elapsed_ns().saturating_add(CAP_NS);
    }
}

/// Decides.
#[derive(Debug, Default)]
pub struct Controller {
    act: Act,
    cap: Cap,
    held: Vec<Held>,
    /// Victim and suspect that have been decided about, while the victim is slow.
    tried: BTreeSet<(String, String)>,
    /// Victims for which somebody would be held back, in a dry run, while they are slow.
    pretended: BTreeSet<String>,
    last_attempt_ns: Option<u64>,
}

impl Controller {
    /// Begins with nobody held back.
    #[must_use]
    pub fn new(act: Act, cap: Cap) -> Self {
        Self {
            act,
            cap,
            ..Self::default()
        }
    }

    /// Whether anybody is held back.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// How many are held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Does what a window asks for.
    pub fn step(&mut self, guard: &Guard, actuator: &mut dyn Actuator) -> Vec<Interference> {
        let mut lines = self.note_lost(guard, actuator);
        for mut held in std::mem::take(&mut self.held) {
            let (more, goes_on) = self.attend(&mut held, guard, actuator);
            lines.extend(more);
            if goes_on {
                self.held.push(held);
            }
        }
        if self.act != Act::Off {
            let slow: BTreeSet<&str> = guard.anomalies().map(|(victim, ..)| victim).collect();
            self.tried
                .retain(|(victim, _)| slow.contains(victim.as_str()));
            self.pretended
                .retain(|victim| slow.contains(victim.as_str()));
            lines.extend(self.attempt(guard, actuator));
        }
        lines
    }

    /// Ends every limit.
    pub fn release_all(&mut self, guard: &Guard, actuator: &mut dyn Actuator) -> Vec<Interference> {
        let held = std::mem::take(&mut self.held);
        let ended = held.iter();
        ended
            .map(|held| released(held, guard, actuator, "the guard ends"))
            .collect()
    }

    /// Limits that somebody or something else has ended.
    pub fn note_lost(&mut self, guard: &Guard, actuator: &mut dyn Actuator) -> Vec<Interference> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let mut lines = Vec::new();
        for (file, reason) in actuator.lost() {
            let is_it = |held: &Held| held.order.file == file;
            for held in self.held.iter().filter(|held| is_it(held)) {
                let mut line = guard.line(EventKind::Released, &held.victim, Some(held.signal));
                line.action = Some(action(held, false));
                line.reason.clone_from(&reason);
                lines.push(line);
            }
            self.held.retain(|held| !is_it(held));
        }
        lines
    }

    /// One that is held back: judges, gives more or less, releases. Whether it is held back further.
    fn attend(
        &self,
        held: &mut Held,
        guard: &Guard,
        actuator: &mut dyn Actuator,
    ) -> (Vec<Interference>, bool) {
        let mut lines = Vec::new();
        let latest = guard.latest(&held.victim, held.signal);
        let Some((number, value, usual)) = latest else {
            let gone = released(held, guard, actuator, "the service is no longer seen");
            return (vec![gone], false);
        };
        if number != held.last {
            held.last = number;
            held.since.push(value);
        }
        if held.since.len() >= JUDGE_AFTER {
            let (middle, sigma) = match scatter(guard.mode(), &usual) {
                (middle, sigma) if sigma > 0.0 => (middle, sigma),
                (middle, _) => (middle, STEADY * middle),
            };
            let after = median(&held.since);
            held.since.clear();
            held.rounds = held.rounds.saturating_add(1);
            let feedback = self.cap == Cap::Feedback;
            let level = Level::of(after, middle, sigma);
            let by_weight = held.means == Means::Weight;
            // Feedback may need several steps; what a first, small one has brought is no verdict.
            let is_time =
                !feedback || by_weight || level == Level::Usual || held.rounds >= JUDGE_ROUNDS;
            let mut worked = true;
            if !held.judged && is_time {
                held.judged = true;
                let line = judged(held, guard, after, (middle, sigma));
                worked = line.effect.is_some_and(|effect| effect.worked);
                lines.push(line);
            }
            if by_weight {
                held.near = match level {
                    Level::Near => held.near + 1,
                    Level::Usual | Level::High => 0,
                };
                let is_enough = match level {
                    Level::Usual => true,
                    Level::Near => worked && held.near < NEAR_TOO_OFTEN,
                    Level::High => false,
                };
                if !is_enough {
                    let (more, goes_on) = quota_next(held, guard, actuator, worked);
                    lines.extend(more);
                    if !goes_on {
                        return (lines, false);
                    }
                }
            } else {
                // It is not to suffer for what somebody else does.
                if feedback && !worked {
                    let reason = "holding it back has not helped";
                    lines.push(released(held, guard, actuator, reason));
                    return (lines, false);
                }
                if feedback && let Err(reason) = search_on(held, level, actuator) {
                    lines.push(released(held, guard, actuator, &reason));
                    return (lines, false);
                }
            }
        }
        if guard.elapsed_ns() >= held.until_elapsed_ns {
            if self.cap == Cap::Feedback && held.means != Means::Weight {
                held.renew(guard);
            } else {
                let reason = "its five minutes are over";
                lines.push(released(held, guard, actuator, reason));
                return (lines, false);
            }
        }
        (lines, true)
    }

    /// A weight first, where there is one: it takes nothing that is not wanted. A quota where there is none, and where so many
    /// CPUs were asked for.
    fn order(
        &self,
        id: &str,
        victim: &str,
        cpus: f64,
        actuator: &mut dyn Actuator,
    ) -> Result<(Means, Order), String> {
        let mut by = |means| {
            let order = actuator.find(id, victim, means)?;
            if self.act == Act::Cap {
                actuator.set(&order)?;
            }
            Ok((means, order))
        };
        if self.cap == Cap::Feedback
            && let Ok(done) = by(Means::Weight)
        {
            return Ok(done);
        }
        by(Means::Quota(cpus))
    }

    /// Tries the suspects of one victim.
    fn attempt(&mut self, guard: &Guard, actuator: &mut dyn Actuator) -> Vec<Interference> {
        let now = guard.elapsed_ns();
        let soon = self
            .last_attempt_ns
            .is_some_and(|last| now.saturating_sub(last) < ATTEMPT_EVERY_NS);
        if soon || self.held.len() >= MAX_HELD {
            return Vec::new();
        }
        let mut lines = Vec::new();
        for (victim, signal, anomaly) in guard.anomalies() {
            if anomaly.excused
                || self.pretended.contains(victim)
                || self.held.iter().any(|held| held.victim == victim)
            {
                continue;
            }
            for suspect in &anomaly.suspects {
                let id = &suspect.component;
                if self.held.iter().any(|held| held.component == *id)
                    || !self.tried.insert((victim.to_owned(), id.clone()))
                {
                    continue;
                }
                self.last_attempt_ns = Some(now);
                let usage = guard.usage(id);
                let cpus = match self.cap {
                    Cap::Cpus(cpus) => cpus,
                    Cap::Feedback => (usage / 2.0).max(MIN_CPUS),
                };
                let order = evidence(signal, suspect)
                    .and_then(|()| bystander(guard, id))
                    .and_then(|()| self.order(id, victim, cpus, actuator));
                let mut line = guard.line(EventKind::Refused, victim, Some(signal));
                line.value = Some(anomaly.value);
                line.suspects = vec![suspect.clone()];
                let (means, order) = match order {
                    Err(reason) => {
                        line.reason = format!("{id} is not held back: {reason}");
                        lines.push(line);
                        continue;
                    }
                    Ok(order) => order,
                };
                let mut held = Held {
                    component: id.clone(),
                    victim: victim.to_owned(),
                    signal,
                    means,
                    order,
                    search: Search::new(cpus),
                    usage_before: usage.max(cpus),
                    value_before: anomaly.value,
                    until_unix_ns: 0,
                    until_elapsed_ns: 0,
                    since: Vec::new(),
                    last: guard.windows(),
                    judged: false,
                    rounds: 0,
                    near: 0,
                };
                held.renew(guard);
                line.event = EventKind::Capped;
                line.action = Some(action(&held, self.act != Act::Cap));
                line.reason = format!("{id} {}", what(means, self.act != Act::Cap));
                lines.push(line);
                if self.act == Act::Cap {
                    self.held.push(held);
                } else {
                    self.pretended.insert(victim.to_owned());
                }
                return lines;
            }
        }
        lines
    }
}

/// What is done, in words.
fn what(means: Means, dry_run: bool) -> String {
    match (means, dry_run) {
        (Means::Weight, false) => "gets only CPU time that nobody beside it wants".to_owned(),
        (Means::Weight, true) => "would get only CPU time that nobody beside it wants".to_owned(),
        (Means::Quota(cpus), false) => format!("is left {cpus:.3} CPUs"),
        (Means::Quota(cpus), true) => format!("would be left {cpus:.3} CPUs"),
    }
}

/// Puts a quota in the place of a weight that was not enough; a weight that has brought something stays where there can be no
/// quota. Whether it is held back further.
fn quota_next(
    held: &mut Held,
    guard: &Guard,
    actuator: &mut dyn Actuator,
    worked: bool,
) -> (Vec<Interference>, bool) {
    let cpus = (held.usage_before / 2.0).max(MIN_CPUS);
    let order = match actuator.find(&held.component, &held.victim, Means::Quota(cpus)) {
        Ok(order) => order,
        Err(_) if worked => return (Vec::new(), true),
        Err(reason) => {
            let reason =
                format!("that it gives way has not helped, and it gets no quota: {reason}");
            return (vec![released(held, guard, actuator, &reason)], false);
        }
    };
    let reason = "that it gives way is not enough; a quota follows";
    let mut lines = vec![released(held, guard, actuator, reason)];
    let mut line = guard.line(EventKind::Refused, &held.victim, Some(held.signal));
    if let Err(reason) = actuator.set(&order) {
        line.reason = format!("{} is not held back: {reason}", held.component);
        lines.push(line);
        return (lines, false);
    }
    held.means = Means::Quota(cpus);
    held.order = order;
    held.search = Search::new(cpus);
    held.renew(guard);
    (held.judged, held.rounds, held.near) = (false, 0, 0);
    line.event = EventKind::Capped;
    line.value = Some(held.value_before);
    line.action = Some(action(held, false));
    line.reason = format!("{} {}", held.component, what(held.means, false));
    lines.push(line);
    (lines, true)
}

/// Takes the next step of the search, and writes it if it is another limit; or says why there is no limit any more.
fn search_on(held: &mut Held, level: Level, actuator: &mut dyn Actuator) -> Result<(), String> {
    let before = held.search.cpus();
    let cpus = held.search.next(level);
    if cpus >= NO_LIMIT * held.usage_before {
        return Err("it has back what it used, and the signal is as usual".to_owned());
    }
    if cpus == before {
        return Ok(());
    }
    let found = actuator.find(&held.component, &held.victim, Means::Quota(cpus))?;
    // The limit of the group that it was in would stay.
    if found.file != held.order.file {
        return Err("it is in another control group by now".to_owned());
    }
    let order = Order {
        before: held.order.before.clone(),
        ..found
    };
    actuator.set(&order)?;
    held.order = order;
    Ok(())
}

/// Whether there is more than a suspicion.
fn evidence(signal: Signal, suspect: &Suspect) -> Result<(), String> {
    let of_time = matches!(signal, Signal::Service | Signal::OnCpuPerRequest);
    if of_time && suspect.decided_by == DecidedBy::Correlation {
        return Err(format!(
            "its use goes with {}, which has many causes; that is too little to act on",
            signal.name()
        ));
    }
    let of_what = match suspect.decided_by {
        DecidedBy::Blame => "what the service waited",
        DecidedBy::Exposure => "the time of others' disk requests",
        DecidedBy::Correlation | DecidedBy::Group => return Ok(()),
    };
    if suspect.score < MIN_PART {
        return Err(format!(
            "it had only {} of {of_what}",
            percent(suspect.score)
        ));
    }
    Ok(())
}

/// Those that serve requests have victims of their own.
fn bystander(guard: &Guard, id: &str) -> Result<(), String> {
    if guard.serves(id) {
        return Err(
            "it serves requests itself, and others may wait for it; move one of the two to another host"
                .to_owned(),
        );
    }
    Ok(())
}

fn action(held: &Held, dry_run: bool) -> Action {
    Action {
        kind: held.means.name().to_owned(),
        component: held.component.clone(),
        cgroup: held.order.cgroup.clone(),
        file: held.order.file.clone(),
        before: held.order.before.clone(),
        after: held.order.after.clone(),
        until_unix_ns: Some(held.until_unix_ns),
        dry_run,
    }
}

fn released(held: &Held, guard: &Guard, actuator: &mut dyn Actuator, reason: &str) -> Interference {
    let mut line = guard.line(EventKind::Released, &held.victim, Some(held.signal));
    line.action = Some(action(held, false));
    line.reason = match actuator.release(&held.order) {
        Ok(()) => reason.to_owned(),
        Err(error) => format!("{reason}; {error}"),
    };
    line
}

/// It worked if the signal fell by more than one standard deviation (CPI2, section 7.2), and by a good part of what was too
/// much: what is high scatters more than what is usual.
fn judged(held: &Held, guard: &Guard, after: f64, (median, sigma): (f64, f64)) -> Interference {
    let fell = held.value_before - after;
    let sigmas = (sigma > 0.0).then(|| fell / sigma);
    let much = fell > GOOD_PART * (held.value_before - median);
    let worked = much && sigmas.is_some_and(|sigmas| sigmas > 1.0);
    let mut line = guard.line(EventKind::Judged, &held.victim, Some(held.signal));
    line.value = Some(after);
    line.action = Some(action(held, false));
    line.effect = Some(Effect {
        before: held.value_before,
        after,
        sigmas,
        worked,
    });
    line.reason = if worked {
        format!("{} fell", held.signal.name())
    } else {
        format!(
            "{} did not fall by a good part of what was too much: it was not {}, or not enough was taken from it",
            held.signal.name(),
            held.component
        )
    };
    line
}
