//! Guard: who slows a service, and whether holding it back has helped.
//!
//! In: windows as [`Inputs`], a [`Spec`] or none. Out: [`Interference`], line by line; a [`Spec`]. Must not know: files,
//! clocks, control groups, how anything is shown.

mod act;
mod beside;
mod blame;
mod correlation;
mod detect;
mod excuse;
mod inputs;
mod learn;
mod learned;
mod over;
mod past;
mod ranking;
mod search;
mod stats;
mod suspects;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use courtside_core::{
    model::{
        interference::{EventKind, Expected, INTERFERENCE_SCHEMA, Interference, Signal, Suspect},
        judgement::Standing,
        spec::{JobSpec, Moments, Spec},
    },
    units::{duration, percent},
};

pub use act::{Act, Actuator, Cap, Controller, Means, Order};
pub use beside::Beside;
pub use correlation::{CORRELATION_THRESHOLD, correlation, non_negative};
pub use detect::{Mode, PAPER_MIN_USAGE, PaperDetector, expected, sigmas, usual};
pub use inputs::{Inputs, MIN_REQUESTS, Minutes, Used, inputs, is_sound, platform};
pub use learn::{CannotLearn, LearnOptions, Learner, MIN_SAMPLES};
pub use over::{Over, Said};
pub use ranking::Ranking;
pub use stats::{MAD_TO_SIGMA, median, moments, over_days, sigma};
pub use watch::Anomaly;

use blame::Blame;
use detect::RECENT;
use excuse::{Case, excuse};
use learned::Learned;
use past::{Past, Use};
use suspects::{Named, Question, suspects};
use watch::{Change, GONE_AFTER, Sample, Watch};

/// Windows that are looked back on: two minutes of a second each.
const LOOK_BACK: usize = 120;
/// Samples that the paper looks back on: ten minutes (CPI2, table 2).
const PAPER_LOOK_BACK: usize = 10;
/// Windows from which it is learned what is usual of a service that no spec knows.
pub const LEARN_WINDOWS: u64 = 60;
/// The same in samples, one a minute.
const PAPER_LEARN_WINDOWS: u64 = 10;
/// Services that are watched, at most.
const MAX_VICTIMS: usize = 512;
/// All requests of a window together have to take at least this share of it longer, or it is not worth a line.
const MIN_OF_WINDOW: f64 = 0.005;

/// How it is judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct GuardOptions {
    /// As the paper has it, or as we do.
    pub mode: Mode,
    /// A spec of fewer windows is not judged by.
    pub min_samples: u64,
}

/// Watches services.
#[derive(Debug)]
pub struct Guard {
    options: GuardOptions,
    given: Option<Spec>,
    /// Length of the windows that it was learned from; none where that is not known or not one.
    given_interval_ns: Option<u64>,
    specs: BTreeMap<(String, Signal), JobSpec>,
    learned: Learned,
    /// Each with the last window that it took.
    learners: BTreeMap<String, (u64, Learner)>,
    watches: BTreeMap<(String, Signal), Watch>,
    minutes: Minutes,
    past: Past,
    named: Named,
    serving: BTreeMap<String, u64>,
    windows: u64,
    lost: u64,
    time_unix_ns: u64,
    /// From the beginning, and the end of the last window.
    elapsed_ns: u64,
    end_unix_ns: u64,
}

impl Guard {
    /// Begins; without a spec, or for services that it does not know, with learning.
    #[must_use]
    pub fn new(options: GuardOptions, given: Option<Spec>) -> Self {
        let look_back = match options.mode {
            Mode::Courtside => LOOK_BACK,
            Mode::Paper => PAPER_LOOK_BACK,
        };
        let given_interval_ns = given.as_ref().map(|spec| spec.interval_ns);
        Self {
            options,
            given_interval_ns: given_interval_ns.filter(|ns| *ns > 0),
            given,
            specs: BTreeMap::new(),
            learned: Learned::new(MAX_VICTIMS),
            learners: BTreeMap::new(),
            watches: BTreeMap::new(),
            minutes: Minutes::default(),
            past: Past::new(look_back),
            named: Named::default(),
            serving: BTreeMap::new(),
            windows: 0,
            lost: 0,
            time_unix_ns: 0,
            elapsed_ns: 0,
            end_unix_ns: 0,
        }
    }

    /// How it is judged.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.options.mode
    }

    /// Windows judged so far; samples in mode paper.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// How long it has watched: the windows and what lies between them. A wall clock that is set back does not make that less.
    #[must_use]
    pub fn elapsed_ns(&self) -> u64 {
        self.elapsed_ns
    }

    /// End of the last window.
    #[must_use]
    pub fn time_unix_ns(&self) -> u64 {
        self.time_unix_ns
    }

    /// What is wrong now.
    pub fn anomalies(&self) -> impl Iterator<Item = (&str, Signal, &Anomaly)> {
        self.watches.iter().filter_map(|((victim, signal), watch)| {
            Some((victim.as_str(), *signal, watch.anomaly.as_ref()?))
        })
    }

    /// Value of the last window that has one, its number, and what is usual.
    #[must_use]
    pub fn latest(&self, victim: &str, signal: Signal) -> Option<(u64, f64, Moments)> {
        let watch = self.watches.get(&(victim.to_owned(), signal))?;
        let (number, value) = watch.latest()?;
        Some((number, value, watch.usual))
    }

    /// Whether a component served requests in the last windows: others may wait for it.
    #[must_use]
    pub fn serves(&self, component: &str) -> bool {
        let last = self.serving.get(component);
        last.is_some_and(|last| self.windows.saturating_sub(*last) < RECENT as u64)
    }

    /// Most CPUs that a component used in one of the last windows: a single one may be a pause.
    #[must_use]
    pub fn usage(&self, component: &str) -> f64 {
        let first = self.windows.saturating_sub(RECENT as u64 - 1);
        let uses = self.past.series(component, first..=self.windows);
        uses.map(|used| used.cpu).fold(0.0, f64::max)
    }

    /// A line without anything to say yet.
    #[must_use]
    pub fn line(&self, event: EventKind, victim: &str, signal: Option<Signal>) -> Interference {
        Interference {
            schema: INTERFERENCE_SCHEMA.to_owned(),
            time_unix_ns: self.time_unix_ns,
            event,
            victim: victim.to_owned(),
            signal,
            value: None,
            expected: None,
            sigmas: None,
            self_inflicted: false,
            suspects: Vec::new(),
            action: None,
            effect: None,
            reason: String::new(),
            windows: self.windows,
            lost: self.lost,
        }
    }

    /// Takes a window. Those that `watched` says yes to are victims, everybody else is a suspect.
    pub fn window(&mut self, window: Inputs, watched: &dyn Fn(&str) -> bool) -> Vec<Interference> {
        let last = std::mem::replace(&mut self.end_unix_ns, window.end_unix_ns());
        let step = match last {
            0 => 0,
            last => self.end_unix_ns.saturating_sub(last),
        };
        let step = step.max(window.duration_ns);
        self.elapsed_ns = self.elapsed_ns.saturating_add(step);
        match self.options.mode {
            Mode::Courtside => self.sample(&window, watched),
            Mode::Paper => match self.minutes.add(window) {
                Some(sample) => self.sample(&sample, watched),
                None => Vec::new(),
            },
        }
    }

    fn sample(&mut self, window: &Inputs, watched: &dyn Fn(&str) -> bool) -> Vec<Interference> {
        self.windows += 1;
        self.lost = self.lost.saturating_add(window.lost);
        self.time_unix_ns = window.end_unix_ns();
        self.past.push(self.windows, window);
        self.note_serving(window);
        if let Some(given) = self.given.take() {
            self.adopt(given, Some(&window.platform));
        }
        let mut lines = Vec::new();
        for (id, used) in &window.components {
            // The paper drops such a sample: it neither teaches, flags nor clears, and nothing is correlated with it.
            let dropped = self.options.mode == Mode::Paper && window.usage(used) < PAPER_MIN_USAGE;
            if !watched(id) || dropped {
                continue;
            }
            if !self.knows(id) {
                lines.extend(self.learn(id, window));
                continue;
            }
            if window.has_value(used) {
                self.learned.see(id, self.windows);
            }
            for signal in Signal::ALL {
                lines.extend(self.judge(id, signal, window, used));
            }
        }
        lines.extend(self.forget());
        lines
    }

    fn note_serving(&mut self, window: &Inputs) {
        let now = self.windows;
        self.serving
            .retain(|_, last| now.saturating_sub(*last) < RECENT as u64);
        let serving = window.components.iter();
        for (id, _) in serving.filter(|(_, used)| used.requests >= MIN_REQUESTS) {
            self.serving.insert(id.clone(), now);
        }
    }

    /// How far a service can be judged that had enough requests in the last window.
    #[must_use]
    pub fn standing(&self, job: &str) -> Standing {
        if self.knows(job) {
            return Standing::Judged;
        }
        let learner = self.learners.get(job);
        Standing::Learning(learner.map_or(0, |(_, learner)| learner.windows()))
    }

    fn knows(&self, job: &str) -> bool {
        Signal::ALL
            .iter()
            .any(|signal| self.specs.contains_key(&(job.to_owned(), *signal)))
    }

    /// Takes over what is usable.
    fn adopt(&mut self, spec: Spec, platform: Option<&str>) {
        for job in spec.specs {
            let enough = job.windows >= self.options.min_samples || platform.is_none();
            let same = platform.is_none_or(|platform| platform == job.platform);
            if enough && same {
                self.specs.insert((job.job.clone(), job.signal), job);
            }
        }
    }

    /// Learns what is usual of a service that nobody knows yet.
    fn learn(&mut self, id: &str, window: &Inputs) -> Vec<Interference> {
        let needed = match self.options.mode {
            Mode::Courtside => LEARN_WINDOWS,
            Mode::Paper => PAPER_LEARN_WINDOWS,
        };
        if self.learners.len() >= MAX_VICTIMS && !self.learners.contains_key(id) {
            return Vec::new();
        }
        let (last, learner) = self.learners.entry(id.to_owned()).or_default();
        *last = self.windows;
        learner.add(window, |component| component == id);
        if learner.windows() < needed {
            return Vec::new();
        }
        let options = LearnOptions {
            min_samples: needed / 2,
        };
        let learned = learner.finish(&[], options);
        self.learners.remove(id);
        // Who did too little is learned anew.
        let Ok(mut spec) = learned else {
            return Vec::new();
        };
        spec.specs.retain(|job| job.usable);
        let lines = spec.specs.iter().map(|job| {
            let mut line = self.line(EventKind::Learned, id, Some(job.signal));
            line.value = Some(job.all.median);
            line.expected = Some(expected(self.options.mode, job.signal, &job.all));
            line.reason = format!(
                "learned from {} windows; who slowed it already then counts as usual (a spec of a quiet time tells: courtside guard learn)",
                job.windows
            );
            line
        });
        let lines = lines.collect();
        if !spec.specs.is_empty()
            && let Some(oldest) = self.learned.add(id, self.windows)
        {
            self.specs.retain(|(job, _), _| *job != oldest);
        }
        self.adopt(spec, None);
        lines
    }

    fn judge(
        &mut self,
        id: &str,
        signal: Signal,
        window: &Inputs,
        used: &Used,
    ) -> Option<Interference> {
        let key = (id.to_owned(), signal);
        let spec = self.specs.get(&key)?;
        let value = window.value(used, signal)?;
        let mode = self.options.mode;
        let usual = usual(mode, spec, window.usage(used));
        let limits = expected(mode, signal, &usual);
        let too_high = match mode {
            Mode::Paper => value > limits.upper,
            Mode::Courtside => {
                value > limits.upper && is_worth(signal, value - usual.median, window, used)
            }
        };
        let capacity = match mode {
            Mode::Courtside => LOOK_BACK,
            Mode::Paper => PAPER_LOOK_BACK,
        };
        if self.watches.len() >= MAX_VICTIMS * Signal::ALL.len() && !self.watches.contains_key(&key)
        {
            return None;
        }
        let watch = self
            .watches
            .entry(key.clone())
            .or_insert_with(|| Watch::new(capacity));
        let change = watch.sample(
            mode,
            &Sample {
                number: self.windows,
                value,
                too_high,
                usual,
                window,
                used,
            },
        );
        match change {
            Change::None => None,
            Change::Cleared => {
                watch.anomaly = None;
                let mut line = self.line(EventKind::Cleared, id, Some(signal));
                line.value = Some(value);
                line.expected = Some(limits);
                line.sigmas = sigmas(mode, &usual, value);
                "it is as usual again".clone_into(&mut line.reason);
                Some(line)
            }
            Change::Anomalous => self.anomalous(id, signal, limits, &usual, &window.platform),
        }
    }

    /// Says what is wrong, if that is new, or if somebody else is the first suspect now.
    fn anomalous(
        &mut self,
        id: &str,
        signal: Signal,
        limits: Expected,
        usual: &Moments,
        platform: &str,
    ) -> Option<Interference> {
        let mode = self.options.mode;
        let key = (id.to_owned(), signal);
        let watch = self.watches.get(&key)?;
        let value = watch.high_value();
        let numbers = watch.high_windows();
        let (during, duration_ns) = watch.high_use();
        let values: Vec<(u64, f64)> = watch
            .values()
            .into_iter()
            .filter(|(number, _)| self.past.has(*number))
            .collect();
        let windows = Inputs {
            duration_ns,
            steal_ns: watch.high_steal(),
            platform: platform.to_owned(),
            ..Inputs::default()
        };
        let spec = self.specs.get(&key)?;
        let case = Case {
            mode,
            victim: id,
            signal,
            windows: &windows,
            used: &during,
            cpu_of_all_ns: self.of_all(&numbers, duration_ns, |used| used.cpu),
            disk_of_all_ns: self.of_all(&numbers, duration_ns, |used| used.disk),
            spec,
            on_cpu: self.specs.get(&(id.to_owned(), Signal::OnCpuPerRequest)),
            cpi: self.specs.get(&(id.to_owned(), Signal::Cpi)),
        };
        let excused = match mode {
            // The paper has its floor of usage, and nothing else.
            Mode::Paper => None,
            Mode::Courtside => excuse(&case),
        };
        let found = match &excused {
            Some(_) => Vec::new(),
            None => suspects(
                &Question {
                    mode,
                    victim: id,
                    signal,
                    during: &during,
                    numbers: &numbers,
                    duration_ns,
                    values: &values,
                    median: usual.median,
                    upper: limits.upper,
                },
                &self.past,
                &self.named,
            ),
        };
        let mut reason = match &excused {
            Some(excuse) => excuse.reason.clone(),
            None => why(mode, signal, &found, Blame::of(signal, &during).as_ref()),
        };
        if mode == Mode::Paper && !spec.eligible {
            reason += "; the paper would not judge by so little";
            if !spec.too_few.is_empty() {
                reason += &format!(": {}", spec.too_few.join(", "));
            }
        }
        reason += &self.other_length(duration_ns / numbers.len().max(1) as u64);
        let own = excused.as_ref().is_some_and(|excuse| excuse.own);
        if let Some(first) = found.first() {
            self.named.note(&first.component, id);
        }
        let now = self.windows;
        let watch = self.watches.get_mut(&key)?;
        let same = watch.anomaly.as_ref().is_some_and(|before| {
            let first = |of: &[Suspect]| of.first().map(|suspect| suspect.component.clone());
            let alike =
                first(&before.suspects) == first(&found) && before.excused == excused.is_some();
            alike || now.saturating_sub(before.told) < RECENT as u64
        });
        let told = match &watch.anomaly {
            Some(before) if same => before.told,
            _ => now,
        };
        watch.anomaly = Some(Anomaly {
            value,
            excused: excused.is_some(),
            suspects: found.clone(),
            told,
        });
        if same {
            return None;
        }
        let mut line = self.line(EventKind::Anomaly, id, Some(signal));
        line.value = Some(value);
        line.expected = Some(limits);
        line.sigmas = sigmas(mode, usual, value);
        line.self_inflicted = own;
        line.suspects = found;
        line.reason = reason;
        Some(line)
    }

    /// Says so if what is usual was learned from windows of another length: longer ones scatter less.
    fn other_length(&self, now_ns: u64) -> String {
        let other = self.given_interval_ns;
        let other = other.filter(|given| given.abs_diff(now_ns) > given / 10);
        other.map_or_else(String::new, |given_ns| {
            format!(
                "; the spec was learned from windows of {}, and these are of {}",
                duration(given_ns),
                duration(now_ns)
            )
        })
    }

    /// What everybody used in these windows together: of the CPUs, or of the disk.
    fn of_all(&self, numbers: &[u64], duration_ns: u64, of: fn(&Use) -> f64) -> u64 {
        let each = duration_ns as f64 / numbers.len().max(1) as f64;
        let ids = self.past.at_work(numbers);
        let all: f64 = ids
            .into_iter()
            .flat_map(|id| self.past.series(id, numbers.iter().copied()))
            .map(|used| of(&used))
            .sum();
        (all * each) as u64
    }

    /// Ends the watch of services that are no longer seen, and the learning.
    fn forget(&mut self) -> Vec<Interference> {
        let now = self.windows;
        // Those that come and go are not to take the places of others.
        self.learners
            .retain(|_, (last, _)| now.saturating_sub(*last) <= GONE_AFTER);
        let gone: BTreeSet<(String, Signal)> = self
            .watches
            .iter()
            .filter(|(_, watch)| watch.is_gone(self.windows))
            .map(|(key, _)| key.clone())
            .collect();
        let mut lines = Vec::new();
        for key in gone {
            let watch = self.watches.remove(&key);
            if watch.is_some_and(|watch| watch.anomaly.is_some()) {
                let mut line = self.line(EventKind::Cleared, &key.0, Some(key.1));
                "it has served too few requests to be judged for a while"
                    .clone_into(&mut line.reason);
                lines.push(line);
            }
        }
        lines
    }
}

/// Whether all requests of the window together took long enough for a line.
fn is_worth(signal: Signal, more: f64, window: &Inputs, used: &Used) -> bool {
    if !signal.is_time() {
        return true;
    }
    let all = more * used.requests as f64;
    all >= MIN_OF_WINDOW * window.duration_ns as f64
}

/// What the first suspect's place rests on, or why there is none.
fn why(mode: Mode, signal: Signal, found: &[Suspect], blame: Option<&Blame>) -> String {
    use courtside_core::model::interference::DecidedBy;
    let Some(first) = found.first() else {
        // The paper does not ask for blame, and of a service time it may be a small part.
        let decides = mode == Mode::Courtside && signal != Signal::Service;
        return match blame.filter(|_| decides) {
            Some(blame) if blame.unknown() > 0.5 => format!(
                "cannot tell who it waited for: {} of that was not seen",
                percent(blame.unknown())
            ),
            Some(_) => "no neighbour was given the time that it waited".to_owned(),
            None => "no neighbour was at work whose use goes with it".to_owned(),
        };
    };
    let unknown = blame.map_or(0.0, Blame::unknown);
    let unseen = if unknown > 0.2 {
        format!("; {} of the waits could not be told", percent(unknown))
    } else {
        String::new()
    };
    match first.decided_by {
        DecidedBy::Blame => format!(
            "{} of what it waited was given to {}{unseen}",
            percent(first.blamed_share.unwrap_or(0.0)),
            first.component
        ),
        DecidedBy::Exposure => format!(
            "{} of the time of others' disk requests meanwhile was that of {}; that is no proof: it was not seen that those were served first",
            percent(first.score),
            first.component
        ),
        DecidedBy::Group => format!(
            "{} neighbours explain it together, and none of them alone",
            found.len()
        ),
        DecidedBy::Correlation => {
            let missing = if signal == Signal::RunQueuePerRequest && blame.is_none() {
                ": who had the CPU was not recorded"
            } else {
                ""
            };
            format!(
                "the use of {} goes with it; that is no proof{missing}",
                first.component
            )
        }
    }
}
