//! Learning what is usual.
//!
//! In: [`Inputs`] of windows, earlier [`Spec`]s. Out: a [`Spec`], or why there is none. Must not know: files, how anything
//! is judged by it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use courtside_core::model::{
    interference::Signal,
    spec::{DaySpec, JobSpec, Moments, SPEC_SCHEMA, Spec, SpecSource, UsageBin},
};

use super::{
    inputs::{Inputs, share},
    stats::{median, moments, over_days},
};

/// Windows without which nothing is judged, unless another number is asked for.
pub const MIN_SAMPLES: u64 = 30;
/// Tasks of a job that the paper asks for (CPI2, section 3.1).
const MIN_TASKS: u64 = 5;
/// Samples for each of them.
const MIN_SAMPLES_PER_TASK: u64 = 100;
/// Samples without which a bin of usage is not judged by.
pub(super) const MIN_IN_BIN: f64 = 20.0;

/// Bound of memory: samples of a series on one day; of more, every second one is kept.
const MAX_SAMPLES: usize = 2048;
/// Bound of memory: series of one job and signal.
const MAX_SERIES: usize = 2048;
/// Days that are kept: the weight of the oldest is 0.9 to the power of 30, a twenty-fifth.
const MAX_DAYS: usize = 31;

const DAY_NS: u64 = 86_400_000_000_000;

/// One window of one job.
#[derive(Clone, Copy, Debug)]
struct Sample {
    value: f64,
    usage: f64,
    disk_bytes: Option<f64>,
}

/// Samples of one day, thinned where they are too many.
#[derive(Clone, Debug, Default)]
struct Day {
    samples: Vec<Sample>,
    /// Each kept sample stands for so many.
    stride: u64,
    seen: u64,
}

impl Day {
    fn add(&mut self, sample: Sample) {
        if self.samples.len() >= MAX_SAMPLES {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride = self.stride.max(1).saturating_mul(2);
        }
        if self.seen.is_multiple_of(self.stride.max(1)) {
            self.samples.push(sample);
        }
        self.seen = self.seen.saturating_add(1);
    }

    fn spec(&self, day: u64) -> DaySpec {
        let values = |of: &dyn Fn(&Sample) -> bool| {
            let kept = self.samples.iter().filter(|sample| of(sample));
            let values: Vec<f64> = kept.map(|sample| sample.value).collect();
            let mut found = moments(&values);
            found.samples *= self.seen as f64 / self.samples.len().max(1) as f64;
            found
        };
        let bins: BTreeSet<u32> = self.samples.iter().map(|s| half_cpus(s.usage)).collect();
        let usage: f64 = self.samples.iter().map(|sample| sample.usage).sum();
        DaySpec {
            day,
            cpu_usage_mean: usage / self.samples.len().max(1) as f64,
            all: values(&|_| true),
            bins: bins
                .into_iter()
                .map(|bin| UsageBin {
                    half_cpus: bin,
                    moments: values(&|sample| half_cpus(sample.usage) == bin),
                })
                .collect(),
        }
    }
}

/// The bin of so many CPUs.
pub(super) fn half_cpus(usage: f64) -> u32 {
    (usage.max(0.0) * 2.0).min(f64::from(u32::MAX)) as u32
}

/// Job, platform and signal.
type Key = (String, String, Signal);

/// What was seen of them.
#[derive(Clone, Debug, Default)]
struct Series {
    /// Most of them at a time on the machine whose windows come now.
    tasks: u64,
    /// The same of the machines before, added up.
    tasks_elsewhere: u64,
    rate_high: Option<f64>,
    days: BTreeMap<u64, Day>,
}

/// Takes windows.
#[derive(Clone, Debug, Default)]
pub struct Learner {
    series: BTreeMap<Key, Series>,
    sources: Vec<SpecSource>,
    interval_ns: Option<u64>,
    left_out: BTreeSet<Key>,
}

/// How a spec is made of what was seen.
#[derive(Clone, Copy, Debug)]
pub struct LearnOptions {
    /// Windows without which a series is not judged by.
    pub min_samples: u64,
}

impl Default for LearnOptions {
    fn default() -> Self {
        Self {
            min_samples: MIN_SAMPLES,
        }
    }
}

/// Why nothing was learned.
#[derive(Debug, PartialEq, Eq)]
pub enum CannotLearn {
    /// No component served requests or was counted.
    NothingAtWork {
        /// Windows that were seen.
        windows: u64,
    },
    /// Every series is too short.
    TooShort {
        /// Windows that were seen.
        windows: u64,
        /// Most windows of any series.
        longest: u64,
        /// How many are needed.
        needed: u64,
    },
}

impl fmt::Display for CannotLearn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingAtWork { windows } => write!(
                f,
                "in {windows} windows no component served 10 requests or had hardware counters, so there is nothing to learn; see what serves requests with: courtside stat"
            ),
            Self::TooShort {
                windows,
                longest,
                needed,
            } => write!(
                f,
                "in {windows} windows no component was at work in more than {longest}, and {needed} are needed to know what is usual; learn for longer with: courtside guard learn -d 5m -o SPEC.json"
            ),
        }
    }
}

impl std::error::Error for CannotLearn {}

impl Learner {
    /// Says where the windows that follow come from.
    pub fn begin(&mut self, file: &str) {
        self.sources.push(SpecSource {
            file: file.to_owned(),
            ..SpecSource::default()
        });
    }

    /// Says that the windows that follow are of another machine, and have the same jobs beside those of the machines before. All
    /// windows of one machine come one after the other.
    pub fn another_machine(&mut self) {
        for series in self.series.values_mut() {
            let here = std::mem::take(&mut series.tasks);
            series.tasks_elsewhere = series.tasks_elsewhere.saturating_add(here);
        }
    }

    /// Takes a window: of every component that `wanted` says yes to.
    pub fn add(&mut self, window: &Inputs, wanted: impl Fn(&str) -> bool) {
        if self.sources.is_empty() {
            self.begin("now");
        }
        if let Some(source) = self.sources.last_mut() {
            source.windows += 1;
            source.duration_ns = source.duration_ns.saturating_add(window.duration_ns);
            source.lost = source.lost.saturating_add(window.lost);
        }
        self.interval_ns = Some(match self.interval_ns {
            None => window.duration_ns,
            // Windows end a little late.
            Some(ns) if ns.abs_diff(window.duration_ns) <= ns / 10 => ns,
            Some(_) => 0,
        });
        let day = window.start_unix_ns / DAY_NS;
        for (id, used) in window.components.iter().filter(|(id, _)| wanted(id)) {
            for signal in Signal::ALL {
                let Some(value) = window.value(used, signal) else {
                    continue;
                };
                let key = (id.clone(), window.platform.clone(), signal);
                if self.series.len() >= MAX_SERIES && !self.series.contains_key(&key) {
                    if self.left_out.len() < MAX_SERIES {
                        self.left_out.insert(key);
                    }
                    continue;
                }
                let series = self.series.entry(key).or_default();
                series.tasks = series.tasks.max(used.tasks);
                if used.requests > 0 {
                    let rate = window.rate(used);
                    series.rate_high = Some(series.rate_high.map_or(rate, |high| high.max(rate)));
                }
                series.days.entry(day).or_default().add(Sample {
                    value,
                    usage: window.usage(used),
                    disk_bytes: share(used.disk_bytes, used.requests),
                });
                if series.days.len() > MAX_DAYS {
                    series.days.pop_first();
                }
            }
        }
    }

    /// Windows taken.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.sources.iter().map(|source| source.windows).sum()
    }

    /// What is usual: of the windows, and of earlier specs, in which the samples of a day count for less the older it is.
    ///
    /// # Errors
    /// Nothing was at work, or for too few windows.
    pub fn finish(&self, earlier: &[Spec], options: LearnOptions) -> Result<Spec, CannotLearn> {
        let mut all: BTreeMap<Key, JobSpec> = BTreeMap::new();
        for spec in earlier.iter().flat_map(|spec| &spec.specs) {
            let key = (spec.job.clone(), spec.platform.clone(), spec.signal);
            match all.get_mut(&key) {
                None => {
                    all.insert(key, spec.clone());
                }
                Some(known) => join(known, spec),
            }
        }
        for (key, series) in &self.series {
            let found = of_series(key, series);
            match all.get_mut(key) {
                None => {
                    all.insert(key.clone(), found);
                }
                Some(known) => join(known, &found),
            }
        }
        let newest = all.values().flat_map(|spec| &spec.days).map(|day| day.day);
        let newest = newest.max().unwrap_or(0);
        let mut specs: Vec<JobSpec> = all.into_values().collect();
        for spec in &mut specs {
            combine(spec, newest, options);
        }
        let windows = self.windows();
        let longest = specs.iter().map(|spec| spec.windows).max();
        match longest {
            None => return Err(CannotLearn::NothingAtWork { windows }),
            Some(longest) if longest < options.min_samples => {
                return Err(CannotLearn::TooShort {
                    windows,
                    longest,
                    needed: options.min_samples,
                });
            }
            Some(_) => {}
        }
        let before = earlier.iter().map(|spec| spec.interval_ns);
        let mut intervals = before.chain(self.interval_ns);
        let first = intervals.next().unwrap_or(0);
        let interval_ns = if intervals.all(|ns| ns.abs_diff(first) <= first / 10) {
            first
        } else {
            0
        };
        let sources = earlier.iter().flat_map(|spec| spec.sources.clone());
        Ok(Spec {
            schema: SPEC_SCHEMA.to_owned(),
            interval_ns,
            sources: sources.chain(self.sources.clone()).collect(),
            left_out: self.left_out.len() as u64,
            specs,
        })
    }
}

fn of_series((job, platform, signal): &Key, series: &Series) -> JobSpec {
    let samples = series.days.values().flat_map(|day| &day.samples);
    let bytes: Vec<f64> = samples.filter_map(|sample| sample.disk_bytes).collect();
    JobSpec {
        job: job.clone(),
        platform: platform.clone(),
        signal: *signal,
        tasks: series.tasks.saturating_add(series.tasks_elsewhere),
        windows: series.days.values().map(|day| day.seen).sum(),
        usable: false,
        eligible: false,
        too_few: Vec::new(),
        cpu_usage_mean: 0.0,
        requests_per_s_high: series.rate_high,
        disk_bytes_per_request: (!bytes.is_empty()).then(|| median(&bytes)),
        all: Moments::default(),
        bins: Vec::new(),
        days: series
            .days
            .iter()
            .rev()
            .map(|(day, samples)| samples.spec(*day))
            .collect(),
    }
}

/// Adds what another spec knows. The bytes of the newer one count.
fn join(known: &mut JobSpec, other: &JobSpec) {
    known.tasks = known.tasks.max(other.tasks);
    known.windows = known.windows.saturating_add(other.windows);
    known.requests_per_s_high = match (known.requests_per_s_high, other.requests_per_s_high) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    };
    known.disk_bytes_per_request = other
        .disk_bytes_per_request
        .or(known.disk_bytes_per_request);
    known.days.extend(other.days.iter().cloned());
    known.days.sort_by_key(|day| std::cmp::Reverse(day.day));
    known.days.truncate(MAX_DAYS);
}

/// Weighs the days.
fn combine(spec: &mut JobSpec, newest: u64, options: LearnOptions) {
    let age = |day: &DaySpec| newest.saturating_sub(day.day);
    let all: Vec<(u64, Moments)> = spec.days.iter().map(|day| (age(day), day.all)).collect();
    spec.all = over_days(&all);
    let usage = |day: &DaySpec| {
        let as_mean = Moments {
            mean: day.cpu_usage_mean,
            ..day.all
        };
        (age(day), as_mean)
    };
    let usages: Vec<(u64, Moments)> = spec.days.iter().map(usage).collect();
    spec.cpu_usage_mean = over_days(&usages).mean;
    let bins = spec.days.iter().flat_map(|day| &day.bins);
    let bins: BTreeSet<u32> = bins.map(|bin| bin.half_cpus).collect();
    spec.bins = bins
        .into_iter()
        .map(|half_cpus| {
            let of_bin = |day: &DaySpec| {
                let mut bins = day.bins.iter();
                let bin = bins.find(|bin| bin.half_cpus == half_cpus)?;
                Some((age(day), bin.moments))
            };
            let days: Vec<(u64, Moments)> = spec.days.iter().filter_map(of_bin).collect();
            UsageBin {
                half_cpus,
                moments: over_days(&days),
            }
        })
        .collect();
    spec.usable = spec.windows >= options.min_samples;
    let per_task = spec.windows / spec.tasks.max(1);
    spec.eligible = spec.tasks >= MIN_TASKS && per_task >= MIN_SAMPLES_PER_TASK;
    spec.too_few.clear();
    if !spec.usable {
        spec.too_few.push(format!(
            "{} windows, and {} are needed to judge by",
            spec.windows, options.min_samples
        ));
    }
    if spec.tasks < MIN_TASKS {
        spec.too_few.push(format!(
            "{} tasks, and the paper asks for {MIN_TASKS}",
            spec.tasks
        ));
    }
    if per_task < MIN_SAMPLES_PER_TASK {
        spec.too_few.push(format!(
            "{per_task} samples for each task, and the paper asks for {MIN_SAMPLES_PER_TASK}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::inputs::Used, *};

    fn window(at_day: u64, number: u64, requests: u64, run_queue_ns: u64) -> Inputs {
        let used = Used {
            tasks: 2,
            cpu_ns: 300_000_000,
            run_queue_ns,
            requests,
            ..Used::default()
        };
        Inputs {
            start_unix_ns: at_day * DAY_NS + number * 1_000_000_000,
            duration_ns: 1_000_000_000,
            platform: "x86_64, 2 CPUs".to_owned(),
            components: [("program:web".to_owned(), used)].into(),
            ..Inputs::default()
        }
    }

    fn learned(windows: impl Iterator<Item = Inputs>) -> Learner {
        let mut learner = Learner::default();
        for window in windows {
            learner.add(&window, |_| true);
        }
        learner
    }

    fn run_queue(spec: &Spec) -> &JobSpec {
        let mut specs = spec.specs.iter();
        specs
            .find(|spec| spec.signal == Signal::RunQueuePerRequest)
            .unwrap()
    }

    #[test]
    fn a_spec_of_yesterday_counts_for_nine_tenths() {
        let old = learned((0..100).map(|i| window(7, i, 100, 200)));
        let old = old.finish(&[], LearnOptions::default()).unwrap();
        let new = learned((0..100).map(|i| window(8, i, 100, 100)));
        let spec = new.finish(&[old], LearnOptions::default()).unwrap();
        let found = run_queue(&spec);
        assert!((found.all.mean - 1.473_684).abs() < 1e-6, "{found:?}");
        assert!((found.all.stddev - 0.499_307).abs() < 1e-6, "{found:?}");
        assert_eq!((found.windows, found.days.len()), (200, 2));
        assert_eq!(spec.sources.len(), 2);
        assert_eq!(spec.interval_ns, 1_000_000_000);
    }

    #[test]
    fn machines_of_two_kinds_have_two_specs() {
        let windows = (0..100).map(|i| {
            let mut window = window(7, i, 100, if i < 50 { 100 } else { 900 });
            if i >= 50 {
                "aarch64, 4 CPUs".clone_into(&mut window.platform);
            }
            window
        });
        let spec = learned(windows)
            .finish(&[], LearnOptions::default())
            .unwrap();
        let mut found: Vec<(&str, f64)> = spec
            .specs
            .iter()
            .filter(|spec| spec.signal == Signal::RunQueuePerRequest)
            .map(|spec| (spec.platform.as_str(), spec.all.mean))
            .collect();
        found.sort_by(|a, b| a.0.cmp(b.0));
        assert_eq!(found, [("aarch64, 4 CPUs", 9.0), ("x86_64, 2 CPUs", 1.0)]);
    }

    #[test]
    fn tasks_of_several_machines_are_beside_each_other() {
        let mut learner = learned((0..300).map(|i| window(7, i, 100, 100)));
        for _ in 0..2 {
            learner.another_machine();
            (0..200).for_each(|i| learner.add(&window(7, i, 100, 100), |_| true));
        }
        let spec = learner.finish(&[], LearnOptions::default()).unwrap();
        let found = run_queue(&spec);
        assert_eq!((found.tasks, found.windows), (6, 700));
        assert!(found.eligible, "{found:?}");
    }

    #[test]
    fn minimums_are_flags_and_say_what_is_missing() {
        let learner = learned((0..40).map(|i| window(7, i, 100, 100)));
        let spec = learner.finish(&[], LearnOptions::default()).unwrap();
        let found = run_queue(&spec);
        assert!(found.usable && !found.eligible);
        assert_eq!(
            found.too_few,
            [
                "2 tasks, and the paper asks for 5",
                "20 samples for each task, and the paper asks for 100"
            ]
        );
        assert_eq!(found.requests_per_s_high, Some(100.0));
        assert_eq!(found.bins.len(), 1);
    }

    #[test]
    fn too_little_is_no_spec() {
        let few = learned((0..7).map(|i| window(7, i, 100, 100)));
        let said = few.finish(&[], LearnOptions::default()).unwrap_err();
        assert_eq!(
            said,
            CannotLearn::TooShort {
                windows: 7,
                longest: 7,
                needed: 30
            }
        );
        assert!(said.to_string().contains("courtside guard learn -d"));
        let idle = learned((0..7).map(|i| window(7, i, 3, 100)));
        let said = idle.finish(&[], LearnOptions::default()).unwrap_err();
        assert_eq!(said, CannotLearn::NothingAtWork { windows: 7 });
    }

    #[test]
    fn memory_is_bounded_and_what_is_kept_stands_for_all() {
        let learner = learned((0..10_000).map(|i| window(7, i, 100, 100 + i % 3)));
        let spec = learner.finish(&[], LearnOptions::default()).unwrap();
        let found = run_queue(&spec);
        assert_eq!(found.windows, 10_000);
        assert!((found.all.samples - 10_000.0).abs() < 1e-6);
        assert!((found.all.mean - 1.01).abs() < 1e-3, "{found:?}");
        let day = &learner.series.values().next().unwrap().days[&7];
        assert!(day.samples.len() <= MAX_SAMPLES);
    }
}
