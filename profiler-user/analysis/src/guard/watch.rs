//! One signal of one service, window after window.
//!
//! In: values, what is usual. Out: whether it is too high, since when, and by which windows. Must not know: who made it.

use std::collections::VecDeque;

use courtside_core::model::{interference::Suspect, spec::Moments};

use super::{
    detect::{Mode, OfFive, PaperDetector, RECENT},
    inputs::{Inputs, Used},
    stats::median,
};

/// Windows without a value after which a service is no longer watched.
pub(super) const GONE_AFTER: u64 = 60;

/// A window of the service.
#[derive(Clone, Debug)]
struct Look {
    number: u64,
    value: f64,
    too_high: bool,
    duration_ns: u64,
    steal_ns: Option<u64>,
    used: Used,
}

/// An anomaly that lasts.
#[derive(Clone, Debug, Default)]
pub struct Anomaly {
    /// Median of the windows that were too high.
    pub value: f64,
    /// The service itself made it, or the hypervisor.
    pub excused: bool,
    /// Who may have made it.
    pub suspects: Vec<Suspect>,
    /// Window in which it was last told.
    pub(super) told: u64,
}

/// What is watched.
#[derive(Debug)]
pub(super) struct Watch {
    recent: VecDeque<Look>,
    /// Window and value, for as long as is looked back.
    values: VecDeque<(u64, f64)>,
    capacity: usize,
    of_five: OfFive,
    paper: PaperDetector,
    /// What is usual at the use of the last window.
    pub usual: Moments,
    pub anomaly: Option<Anomaly>,
}

/// What a window has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// It is too high, for the first time or still.
    Anomalous,
    Cleared,
}

/// A value to be judged.
pub(super) struct Sample<'a> {
    pub number: u64,
    pub value: f64,
    pub too_high: bool,
    pub usual: Moments,
    pub window: &'a Inputs,
    pub used: &'a Used,
}

impl Watch {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            recent: VecDeque::new(),
            values: VecDeque::new(),
            capacity,
            of_five: OfFive::default(),
            paper: PaperDetector::default(),
            usual: Moments::default(),
            anomaly: None,
        }
    }

    pub(super) fn sample(&mut self, mode: Mode, sample: &Sample<'_>) -> Change {
        self.usual = sample.usual;
        if self.values.len() >= self.capacity {
            self.values.pop_front();
        }
        self.values.push_back((sample.number, sample.value));
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Look {
            number: sample.number,
            value: sample.value,
            too_high: sample.too_high,
            duration_ns: sample.window.duration_ns,
            steal_ns: sample.window.steal_ns,
            used: sample.used.clone(),
        });
        let usage = sample.window.usage(sample.used);
        let anomalous = match mode {
            Mode::Courtside => self.of_five.sample(sample.too_high),
            Mode::Paper => {
                let time = sample.window.end_unix_ns();
                self.paper.sample(time, sample.value, usage, &sample.usual)
            }
        };
        let over = match mode {
            Mode::Courtside => self.of_five.is_calm(),
            Mode::Paper => !anomalous,
        };
        match (&self.anomaly, anomalous) {
            (Some(_), _) if over => Change::Cleared,
            (_, true) => Change::Anomalous,
            _ => Change::None,
        }
    }

    /// Whether it is no longer seen.
    pub(super) fn is_gone(&self, number: u64) -> bool {
        let last = self.recent.back().map_or(0, |look| look.number);
        number.saturating_sub(last) > GONE_AFTER
    }

    fn too_high(&self) -> impl Iterator<Item = &Look> {
        self.recent.iter().filter(|look| look.too_high)
    }

    /// Median of the recent windows that were too high.
    pub(super) fn high_value(&self) -> f64 {
        let values: Vec<f64> = self.too_high().map(|look| look.value).collect();
        median(&values)
    }

    /// Numbers of those windows.
    pub(super) fn high_windows(&self) -> Vec<u64> {
        self.too_high().map(|look| look.number).collect()
    }

    /// What the service used in those windows, as one.
    pub(super) fn high_use(&self) -> (Used, u64) {
        let mut looks = self.too_high();
        let Some(first) = looks.next() else {
            return (Used::default(), 0);
        };
        let mut used = first.used.clone();
        let mut duration_ns = first.duration_ns;
        for look in looks {
            used.add(look.used.clone());
            duration_ns = duration_ns.saturating_add(look.duration_ns);
        }
        (used, duration_ns)
    }

    /// What the hypervisor gave to others in those windows; none where that is not known.
    pub(super) fn high_steal(&self) -> Option<u64> {
        self.too_high().try_fold(0u64, |sum, look| {
            look.steal_ns.map(|steal| sum.saturating_add(steal))
        })
    }

    pub(super) fn values(&self) -> Vec<(u64, f64)> {
        self.values.iter().copied().collect()
    }

    /// The value of the last window, and its number.
    pub(super) fn latest(&self) -> Option<(u64, f64)> {
        self.values.back().copied()
    }
}
