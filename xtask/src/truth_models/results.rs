//! What was predicted, and what was measured.
//!
//! In: numbers. Out: means, spreads, deviations. Pure. Must not know: where numbers come from.

use super::courtside::{Point, Profile, Saturation};
use super::service::Load;

/// A part of the run.
#[derive(Clone, Debug)]
pub enum Outcome<T> {
    /// It was not asked for.
    NotAsked,
    /// It was measured.
    Done(T),
    /// It cannot be measured here, and why.
    Skipped(String),
    /// It failed, and how.
    Failed(String),
}

/// All of it.
pub struct Results {
    pub chain: Outcome<Chain>,
    pub bounds: Vec<(&'static str, Outcome<Bound>)>,
    pub placed: Outcome<[Placed; 2]>,
    /// From the start to the end.
    pub minutes: f64,
}

/// Several values of the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub mean: f64,
    pub least: f64,
    pub greatest: f64,
    pub count: usize,
}

impl Spread {
    /// Of these; none of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().collect();
        let count = values.len();
        (count > 0).then(|| Self {
            mean: values.iter().sum::<f64>() / count as f64,
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            greatest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            count,
        })
    }

    /// How far a prediction is off, as a share of the mean.
    pub fn off(&self, predicted: f64) -> f64 {
        predicted / self.mean - 1.0
    }

    /// Whether it lies among what was measured.
    pub fn holds(&self, predicted: f64) -> bool {
        (self.least..=self.greatest).contains(&predicted)
    }
}

/// One rate.
#[derive(Clone, Debug)]
pub struct AtRate {
    pub per_s: f64,
    pub predicted: Point,
    pub runs: Vec<Load>,
}

impl AtRate {
    /// One number of each run.
    pub fn spread(&self, of: fn(&Load) -> f64) -> Option<Spread> {
        Spread::of(self.runs.iter().map(of))
    }
}

/// Saturation.
#[derive(Clone, Debug)]
pub struct Most {
    pub predicted: Option<Saturation>,
    /// Why nothing is predicted.
    pub unknown: Option<String>,
    /// Requests a second served while more came in, each time.
    pub real_per_s: Vec<f64>,
}

impl Most {
    pub fn real(&self) -> Option<Spread> {
        Spread::of(self.real_per_s.iter().copied())
    }
}

/// The three tiers.
#[derive(Clone, Debug)]
pub struct Chain {
    pub profile: Profile,
    /// What the generator saw while it was recorded.
    pub recorded: Vec<Load>,
    pub most: Most,
    /// Lowest rate first.
    pub rates: Vec<AtRate>,
}

/// What the generator sees more of a request than the service, in the mean over recordings: its timers, wake-ups, the way. None
/// where the service has no times.
pub fn outside_ns(profile: &Profile, recorded: &[Load]) -> Option<f64> {
    let seen: f64 = recorded.iter().map(|load| load.mean_ns * load.count).sum();
    let requests: f64 = recorded.iter().map(|load| load.count).sum();
    let (mut own, mut timed) = (0.0, 0.0);
    for measured in &profile.measured {
        own += measured.mean_ns? * measured.requests;
        timed += measured.requests;
    }
    (requests > 0.0 && timed > 0.0).then(|| seen / requests - own / timed)
}

/// A service with one bound.
#[derive(Clone, Debug)]
pub struct Bound {
    /// What it runs out of.
    pub expected: &'static str,
    pub most: Most,
    pub at: AtRate,
    /// What a reader has to know of it.
    pub note: String,
}

impl Bound {
    /// Whether the right resource was named.
    pub fn is_named(&self) -> bool {
        let named = self.most.predicted.as_ref();
        named.is_some_and(|named| named.resource == self.expected)
    }
}

/// A placement.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Which tier runs where.
    pub what: &'static str,
    pub most: Most,
    pub at: AtRate,
}

/// Which of two is better, by a number that is to be high.
pub fn better(numbers: [Option<f64>; 2]) -> Option<usize> {
    let [Some(a), Some(b)] = numbers else {
        return None;
    };
    Some(usize::from(b > a))
}

#[cfg(test)]
mod tests {
    use super::super::courtside::MeasuredResponse;
    use super::*;

    #[test]
    fn a_spread_says_how_far_off_a_prediction_is() {
        let spread = Spread::of([10.0, 12.0, 11.0]).unwrap();
        assert_eq!(
            (spread.mean, spread.least, spread.greatest),
            (11.0, 10.0, 12.0)
        );
        assert!((spread.off(12.1) - 0.1).abs() < 1e-12);
        assert!(spread.holds(10.0) && !spread.holds(12.1));
        assert_eq!(Spread::of([]), None);
        assert_eq!(better([Some(1.0), Some(2.0)]), Some(1));
        assert_eq!(better([None, Some(2.0)]), None);
    }

    #[test]
    fn the_generator_sees_more_than_the_service() {
        let load = |mean_ns, count| Load {
            mean_ns,
            count,
            ..Load::default()
        };
        let measured = |requests, mean_ns| MeasuredResponse { requests, mean_ns };
        let mut profile = Profile {
            measured: vec![measured(100.0, Some(1e6)), measured(300.0, Some(2e6))],
            ..Profile::default()
        };
        let recorded = [load(1.1e6, 100.0), load(2.1e6, 300.0)];
        assert!((outside_ns(&profile, &recorded).unwrap() - 1e5).abs() < 1.0);
        profile.measured[0].mean_ns = None;
        assert_eq!(outside_ns(&profile, &recorded), None);
    }
}
