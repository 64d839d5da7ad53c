//! When a signal is too high: as the paper has it, and over windows.
//!
//! In: samples, what is usual. Out: whether that is an anomaly. Must not know: who made it.

use std::collections::VecDeque;

use courtside_core::model::{
    interference::{Expected, Signal},
    spec::{JobSpec, Moments},
};

use super::{
    learn::{MIN_IN_BIN, half_cpus},
    stats::sigma,
};

/// How it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As CPI2 does: ten seconds of each minute, mean and two standard deviations, three samples in five minutes.
    Paper,
    /// Every window, median and its deviation, three of five windows.
    #[default]
    Courtside,
}

/// Samples with less use, in CPUs, are ignored (CPI2, table 2).
pub const PAPER_MIN_USAGE: f64 = 0.25;
/// More standard deviations than this are too many (table 2).
const PAPER_SIGMAS: f64 = 2.0;
/// As many flagged samples in as long a time are an anomaly (table 2).
const PAPER_FLAGS: usize = 3;
const PAPER_WINDOW_NS: u64 = 300_000_000_000;

/// Windows that are looked back on, and how many of them have to be too high.
pub(super) const RECENT: usize = 5;
const OF_RECENT: usize = 3;
/// So many windows that are not too high, one after the other, and it is as usual again.
const CALM: usize = 3;

/// Of signals that are times: this many median deviations, and at least this share of the median.
const MADS: f64 = 4.0;
const MIN_MORE_TIME: f64 = 0.5;
/// Of ratios of hardware counters, which scatter little: as many standard deviations, and this share. As many also of times
/// whose median deviation is 0.
const SIGMAS: f64 = 3.0;
const MIN_MORE_COUNTER: f64 = 0.1;

/// What is usual for a job that uses so many CPUs: of that bin, if it has enough samples. The paper has no bins.
#[must_use]
pub fn usual(mode: Mode, spec: &JobSpec, usage: f64) -> Moments {
    if mode == Mode::Paper {
        return spec.all;
    }
    let bin = half_cpus(usage);
    let mut bins = spec.bins.iter();
    let own = bins.find(|of| of.half_cpus == bin && of.moments.samples >= MIN_IN_BIN);
    own.map_or(spec.all, |of| of.moments)
}

/// What is expected, and from where on it is too much.
#[must_use]
pub fn expected(mode: Mode, signal: Signal, usual: &Moments) -> Expected {
    let upper = match mode {
        Mode::Paper => usual.mean + PAPER_SIGMAS * usual.stddev,
        Mode::Courtside if signal.is_time() => {
            // More than half of the samples are the same, often 0, and still the rest may be usual.
            let scatter = if usual.deviation > 0.0 {
                MADS * usual.deviation
            } else {
                SIGMAS * usual.stddev
            };
            usual.median + scatter.max(MIN_MORE_TIME * usual.median)
        }
        Mode::Courtside => {
            usual.median + (SIGMAS * sigma(usual)).max(MIN_MORE_COUNTER * usual.median)
        }
    };
    Expected {
        median: usual.median,
        deviation: usual.deviation,
        mean: usual.mean,
        stddev: usual.stddev,
        samples: usual.samples,
        upper,
    }
}

/// The middle and the standard deviation that it is measured by.
#[must_use]
pub(super) fn scatter(mode: Mode, usual: &Moments) -> (f64, f64) {
    match mode {
        Mode::Paper => (usual.mean, usual.stddev),
        Mode::Courtside => (usual.median, sigma(usual)),
    }
}

/// How many standard deviations a value is above the usual.
#[must_use]
pub fn sigmas(mode: Mode, usual: &Moments, value: f64) -> Option<f64> {
    let (middle, sigma) = scatter(mode, usual);
    (sigma > 0.0).then(|| (value - middle) / sigma)
}

/// The paper's detector for one task (CPI2, section 4.1).
#[derive(Clone, Debug, Default)]
pub struct PaperDetector {
    flags: VecDeque<u64>,
}

impl PaperDetector {
    /// Takes a sample; whether the task is anomalous.
    pub fn sample(&mut self, time_ns: u64, value: f64, usage: f64, usual: &Moments) -> bool {
        if usage >= PAPER_MIN_USAGE && value > usual.mean + PAPER_SIGMAS * usual.stddev {
            self.flags.push_back(time_ns);
        }
        while self
            .flags
            .front()
            .is_some_and(|&flag| time_ns.saturating_sub(flag) > PAPER_WINDOW_NS)
        {
            self.flags.pop_front();
        }
        // More than one sample a minute does not come; a clock that is set back must not fill memory.
        while self.flags.len() > 64 {
            self.flags.pop_front();
        }
        usage >= PAPER_MIN_USAGE && self.flags.len() >= PAPER_FLAGS
    }
}

/// Three of the last five windows.
#[derive(Clone, Debug, Default)]
pub struct OfFive {
    recent: VecDeque<bool>,
}

impl OfFive {
    /// Takes a window; whether it is an anomaly.
    pub fn sample(&mut self, too_high: bool) -> bool {
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(too_high);
        self.recent.iter().filter(|high| **high).count() >= OF_RECENT
    }

    /// Whether the last windows were as usual.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        let mut last = self.recent.iter().rev().take(CALM);
        self.recent.len() >= CALM && last.all(|high| !high)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stats::moments, *};

    const MINUTE: u64 = 60_000_000_000;

    fn usual(mean: f64, stddev: f64) -> Moments {
        Moments {
            samples: 500.0,
            mean,
            stddev,
            median: mean,
            deviation: stddev / 1.4826,
        }
    }

    #[test]
    fn three_flags_in_five_minutes_are_the_papers_anomaly() {
        let usual = usual(1.0, 0.1);
        let mut detector = PaperDetector::default();
        let told: Vec<bool> = [1.3, 1.1, 1.3, 1.21, 1.0]
            .iter()
            .zip(0..)
            .map(|(cpi, minute)| detector.sample(minute * MINUTE, *cpi, 1.0, &usual))
            .collect();
        assert_eq!(told, [false, false, false, true, true]);
        // Flags older than five minutes are gone: those of minutes 0 and 2.
        assert!(!detector.sample(8 * MINUTE, 1.0, 1.0, &usual));
    }

    #[test]
    fn a_flag_needs_a_quarter_of_a_cpu_and_two_sigmas() {
        let usual = usual(1.0, 0.1);
        for (cpi, usage) in [(10.0, 0.24), (1.2, 1.0)] {
            let mut detector = PaperDetector::default();
            let any = (0..10).any(|i| detector.sample(i * MINUTE, cpi, usage, &usual));
            assert!(!any, "{cpi} at {usage}");
        }
    }

    #[test]
    fn cases_of_the_paper_that_are_anomalies_and_the_one_that_is_not() {
        // Case 1: threshold 2.0, CPI rises to 5.0. Case 2: threshold 1.7, CPI 2.0. Case 4: threshold 1.05, CPI 1.6.
        for (threshold, cpi) in [(2.0, 5.0), (1.7, 2.0), (1.05, 1.6)] {
            let usual = usual(threshold - 0.2, 0.1);
            let mut detector = PaperDetector::default();
            let told: Vec<bool> = (0..3)
                .map(|i| detector.sample(i * MINUTE, cpi, 1.0, &usual))
                .collect();
            assert_eq!(told, [false, false, true], "{threshold}");
        }
        // Case 3: CPI swings between 3 and 10 while the victim's own usage is 0 or 0.4; it is high only where usage is low.
        let usual = usual(3.0, 0.3);
        let mut detector = PaperDetector::default();
        let any = (0..20).any(|i| {
            let (cpi, usage) = if i % 2 == 0 { (10.0, 0.02) } else { (3.0, 0.4) };
            detector.sample(i * MINUTE, cpi, usage, &usual)
        });
        assert!(!any);
    }

    #[test]
    fn how_often_normal_theory_is_wrong_about_the_papers_distribution() {
        // GEV(1.73, 0.133, -0.0534): mean 1.8001, sd 0.1599; 0.0404 lie above two sigmas, where normal theory says 0.0228.
        let (mu, s, xi) = (1.73f64, 0.133f64, -0.0534f64);
        let above = |x: f64| 1.0 - (-(1.0 + xi * (x - mu) / s).powf(-1.0 / xi)).exp();
        for (sigmas, wanted) in [(1.0, 0.1503), (2.0, 0.0404), (3.0, 0.0093)] {
            let found = above(1.8001 + sigmas * 0.1599);
            assert!((found - wanted).abs() < 5e-4, "{sigmas}: {found}");
        }
        // Three or more of five at that rate.
        let of_five = |p: f64| {
            let q: f64 = 1.0 - p;
            10.0 * p.powi(3) * q.powi(2) + 5.0 * p.powi(4) * q + p.powi(5)
        };
        assert!((of_five(0.0404) - 6.2e-4).abs() < 1e-5);
        assert!((of_five(0.05) - 1.16e-3).abs() < 1e-5);
    }

    #[test]
    fn five_times_the_usual_is_an_anomaly_by_the_third_window() {
        let quiet: Vec<f64> = (0..60).map(|i| 100.0 + f64::from(i % 7)).collect();
        let usual = moments(&quiet);
        let limits = expected(Mode::Courtside, Signal::RunQueuePerRequest, &usual);
        assert!(limits.upper >= 1.5 * usual.median);
        let mut of_five = OfFive::default();
        let told: Vec<bool> = [530.0; 3]
            .map(|value| of_five.sample(value > limits.upper))
            .into();
        assert_eq!(told, [false, false, true]);
        assert!(!of_five.is_calm());
        for _ in 0..3 {
            of_five.sample(false);
        }
        assert!(of_five.is_calm());
        assert!(sigmas(Mode::Courtside, &usual, 530.0).unwrap() > 10.0);
    }

    #[test]
    fn what_is_mostly_nothing_and_often_something_is_usual() {
        // A service that writes to disk in two of five windows.
        let writes: Vec<f64> = (0..100)
            .map(|i| if i % 5 < 2 { 50.0 } else { 0.0 })
            .collect();
        let usual = moments(&writes);
        assert_eq!((usual.median, usual.deviation), (0.0, 0.0));
        let upper = expected(Mode::Courtside, Signal::BlockIoPerRequest, &usual).upper;
        // Its standard deviation is 24.5.
        assert!((upper - 73.48).abs() < 0.01, "{upper}");
        let mut of_five = OfFive::default();
        assert!(!writes.iter().any(|value| of_five.sample(*value > upper)));
    }

    #[test]
    fn a_bin_with_too_few_samples_does_not_speak() {
        use courtside_core::model::spec::UsageBin;
        let bin = |half_cpus, samples| UsageBin {
            half_cpus,
            moments: Moments {
                samples,
                median: 7.0,
                ..Moments::default()
            },
        };
        let spec = JobSpec {
            job: String::new(),
            platform: String::new(),
            signal: Signal::Service,
            tasks: 1,
            windows: 100,
            usable: true,
            eligible: false,
            too_few: Vec::new(),
            cpu_usage_mean: 0.1,
            requests_per_s_high: None,
            disk_bytes_per_request: None,
            all: usual(1.0, 0.1),
            bins: vec![bin(0, 19.0), bin(1, 20.0)],
            days: Vec::new(),
        };
        let of = |usage| super::usual(Mode::Courtside, &spec, usage).median;
        assert_eq!(of(0.1), 1.0);
        assert_eq!(of(0.7), 7.0);
        assert_eq!(of(3.0), 1.0);
        // The paper has one spec for each job and type of CPU.
        assert_eq!(super::usual(Mode::Paper, &spec, 0.7).median, 1.0);
    }
}
