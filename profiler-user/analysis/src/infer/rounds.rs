//! How often a process goes round: iterations by gaps between sends, by receives that block, and by turns; and their rate
//! over time.
//!
//! In: its sends and receives, in the order of time. Out: counts, and counts by time. Must not know: processes, connections.

use courtside_core::model::inference::Series;

/// A gap counts if it is longer than so many round-trip times (Gupta 2008, used for NAS MG).
pub(super) const GAP_FACTOR: f64 = 1.1;
/// Counts by time, at most; when there are more, two become one.
const MOST_BINS: usize = 1 << 14;
/// Length of a bin at first.
const BIN_NS: u64 = 1_000_000;
/// Values of a series, at most.
const MOST_VALUES: u64 = 1000;
/// Windows from which on it is said whether a rate is stationary.
const MIN_WINDOWS: usize = 20;
/// Iterations that a step of a spectrum has on average, at least.
const EACH: u64 = 8;
/// Windows that a short recording has.
const WINDOWS: u64 = 50;
const SECOND_NS: u64 = 1_000_000_000;

/// Iterations by gaps: sends more than `factor` round-trip times after the one before, with a receive between.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    last_ns: Option<u64>,
    received: bool,
    pub(super) count: u64,
}

impl Gaps {
    /// Data came.
    pub(super) fn receive(&mut self) {
        self.received = true;
    }

    /// A send began; the round-trip time is the smallest known so far, 0 if none is.
    pub(super) fn send(&mut self, at_ns: u64, rtt_ns: u64) {
        let gap_ns = self.last_ns.map(|last_ns| at_ns.saturating_sub(last_ns));
        let longer = gap_ns.is_some_and(|gap_ns| gap_ns as f64 > GAP_FACTOR * rtt_ns as f64);
        if longer && self.received && rtt_ns > 0 {
            self.count += 1;
        }
        self.last_ns = Some(self.last_ns.map_or(at_ns, |last_ns| last_ns.max(at_ns)));
        self.received = false;
    }
}

/// Counts by time: equal bins from the first one on, which get longer as time goes on.
#[derive(Clone, Debug)]
pub(super) struct Bins {
    start_ns: u64,
    bin_ns: u64,
    counts: Vec<u32>,
}

impl Bins {
    pub(super) fn new(start_ns: u64) -> Self {
        Self {
            start_ns,
            bin_ns: BIN_NS,
            counts: Vec::new(),
        }
    }

    /// One more at this time.
    pub(super) fn add(&mut self, at_ns: u64) {
        let since_ns = at_ns.saturating_sub(self.start_ns);
        while since_ns / self.bin_ns >= MOST_BINS as u64 {
            self.bin_ns = self.bin_ns.saturating_mul(2);
            let half = self.counts.len().div_ceil(2);
            for place in 0..half {
                let pair = self.counts.get(2 * place..).unwrap_or_default();
                let sum = pair.iter().take(2).copied().fold(0, u32::saturating_add);
                if let Some(bin) = self.counts.get_mut(place) {
                    *bin = sum;
                }
            }
            self.counts.truncate(half);
        }
        let place = usize::try_from(since_ns / self.bin_ns).unwrap_or(MOST_BINS);
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        if let Some(bin) = self.counts.get_mut(place) {
            *bin = bin.saturating_add(1);
        }
    }

    /// Counts in steps of about this length, from here to there; also the length of a step.
    fn steps(&self, from_ns: u64, to_ns: u64, about_ns: u64) -> (u64, Vec<f64>) {
        let each = (about_ns / self.bin_ns).max(1);
        let step_ns = each.saturating_mul(self.bin_ns);
        let first = from_ns.saturating_sub(self.start_ns) / self.bin_ns;
        // Most begin later than the application: they have no bins for the time before.
        let before = self.start_ns.saturating_sub(from_ns) / self.bin_ns;
        let count = to_ns.saturating_sub(from_ns) / step_ns;
        let sum = |step: u64| {
            let begin = first.saturating_add(step.saturating_mul(each));
            let bins = begin..begin.saturating_add(each);
            let bin = |place: u64| {
                let place = usize::try_from(place.checked_sub(before)?).ok()?;
                self.counts.get(place).copied()
            };
            bins.filter_map(bin).map(f64::from).sum()
        };
        (step_ns, (0..count).map(sum).collect())
    }

    /// The rate over time, from the application's first message to its last: windows of a second, shorter in a short
    /// recording.
    pub(super) fn series(&self, from_ns: u64, to_ns: u64) -> Series {
        let length_ns = to_ns.saturating_sub(from_ns);
        let window_ns = SECOND_NS.min(length_ns / WINDOWS).max(self.bin_ns);
        let about_ns = (window_ns / 5).max(length_ns / MOST_VALUES);
        let (step_ns, counts) = self.steps(from_ns, to_ns, about_ns);
        let each = usize::try_from((window_ns / step_ns).max(1)).unwrap_or(1);
        let window_ns = step_ns.saturating_mul(each as u64);
        let rate =
            |window: &[f64]| window.iter().sum::<f64>() * SECOND_NS as f64 / window_ns as f64;
        Series {
            step_ns,
            window_ns,
            rates_per_s: counts.windows(each).map(rate).collect(),
        }
    }

    /// Counts in equal steps for a spectrum: a tenth of a second, shorter in a short recording, and long enough that each has
    /// several, or else the beat of steps and iterations would look like a period.
    pub(super) fn samples(&self, from_ns: u64, to_ns: u64) -> (u64, Vec<f64>) {
        let length_ns = to_ns.saturating_sub(from_ns);
        let counts = self.counts.iter();
        let all = counts.fold(0u64, |sum, count| sum.saturating_add((*count).into()));
        let enough_ns = (length_ns / all.max(1)).saturating_mul(EACH);
        let about_ns = (SECOND_NS / 10).min(length_ns / 200);
        let about_ns = about_ns.max(length_ns / 4096).max(enough_ns);
        self.steps(from_ns, to_ns, about_ns)
    }
}

/// Share of the windows with at most each rate.
pub(super) fn cdf(series: &Series) -> Vec<(f64, f64)> {
    const MOST: usize = 100;
    let mut rates = series.rates_per_s.clone();
    rates.sort_by(f64::total_cmp);
    let count = rates.len();
    let mut cdf: Vec<(f64, f64)> = Vec::new();
    for (place, rate) in rates.into_iter().enumerate() {
        let share = (place + 1) as f64 / count as f64;
        match cdf.last_mut() {
            Some((last, sum)) if *last == rate => *sum = share,
            _ => cdf.push((rate, share)),
        }
    }
    let each = cdf.len().div_ceil(MOST).max(1);
    let last = cdf.len().saturating_sub(1);
    let kept = cdf.into_iter().enumerate();
    kept.filter(|(place, _)| place % each == 0 || *place == last)
        .map(|(_, point)| point)
        .collect()
}

/// Whether the first half goes as fast as the second, by windows that do not overlap.
pub(super) fn stationary(series: &Series) -> Option<bool> {
    let each = usize::try_from((series.window_ns / series.step_ns.max(1)).max(1)).ok()?;
    let apart: Vec<f64> = series.rates_per_s.iter().copied().step_by(each).collect();
    if apart.len() < MIN_WINDOWS {
        return None;
    }
    let (first, second) = apart.split_at(apart.len() / 2);
    let (a, a_error) = mean_and_error(first);
    let (b, b_error) = mean_and_error(second);
    let difference = (a - b).abs();
    let error = libm::sqrt(a_error * a_error + b_error * b_error);
    Some(difference <= 0.05 * ((a + b) / 2.0) || difference <= 3.0 * error)
}

/// Mean and standard error.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    let squares: f64 = values
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum();
    (
        mean,
        libm::sqrt(squares / (count - 1.0).max(1.0) / count.max(1.0)),
    )
}

/// How many a second.
pub(super) fn per_second(count: u64, length_ns: u64) -> f64 {
    courtside_core::units::per_second(count, length_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;

    /// Packets of process 0 of a ring of 4 that computes for so long, 300 times, with a latency of 100 us and a round-trip time of
    /// 250 us: its sends, and what its neighbour sent.
    fn ring(compute_ns: u64) -> Gaps {
        let (latency_ns, rtt_ns) = (100 * US, 250 * US);
        let mut gaps = Gaps::default();
        let mut start_ns = 0;
        for _ in 0..300 {
            let send_ns = start_ns + compute_ns;
            gaps.send(send_ns, rtt_ns);
            gaps.receive();
            start_ns = send_ns + latency_ns;
        }
        gaps
    }

    #[test]
    fn a_ring_of_6_ms_and_300_iterations_has_299_gaps() {
        assert_eq!(ring(6_000 * US).count, 299);
    }

    #[test]
    fn what_is_quicker_than_the_round_trip_is_not_seen() {
        assert_eq!(ring(100 * US).count, 0);
    }

    #[test]
    fn a_gap_has_to_be_longer_and_hold_a_receive() {
        let mut gaps = Gaps::default();
        gaps.send(0, 1_000);
        gaps.receive();
        gaps.send(1_100, 1_000);
        assert_eq!(gaps.count, 0, "exactly 1.1 times is not longer");
        gaps.receive();
        gaps.send(2_201, 1_000);
        assert_eq!(gaps.count, 1);
        gaps.send(9_000, 1_000);
        assert_eq!(gaps.count, 1, "nothing was received");
        gaps.receive();
        gaps.send(19_000, 0);
        assert_eq!(gaps.count, 1, "no round-trip time is known");
    }

    #[test]
    fn bins_get_longer_and_lose_nothing() {
        let mut bins = Bins::new(0);
        for n in 0..100_000u64 {
            bins.add(n * 10 * BIN_NS);
        }
        assert!(bins.counts.len() <= MOST_BINS);
        assert_eq!(
            bins.counts.iter().map(|n| u64::from(*n)).sum::<u64>(),
            100_000
        );
    }

    #[test]
    fn who_begins_late_has_no_rate_before() {
        let (begin_ns, end_ns) = (6 * SECOND_NS, 10 * SECOND_NS);
        let mut bins = Bins::new(begin_ns);
        for n in 0..400 {
            bins.add(begin_ns + n * 10_000_000);
        }
        let found = bins.series(0, end_ns);
        let each_ns = found.step_ns;
        for (place, rate) in (0..).zip(&found.rates_per_s) {
            let from_ns = place * each_ns;
            if from_ns + found.window_ns < begin_ns {
                assert_eq!(*rate, 0.0, "{place}");
            } else if from_ns > begin_ns {
                assert!((90.0..=110.0).contains(rate), "{place}: {rate}");
            }
        }
        let counted: f64 = bins.samples(0, end_ns).1.iter().sum();
        assert_eq!(counted, 400.0);
    }

    #[test]
    fn a_steady_rate_is_stationary_and_a_halved_one_is_not() {
        let series = |slow: u64| {
            let mut bins = Bins::new(0);
            let mut at_ns = 0;
            while at_ns < 60 * SECOND_NS {
                bins.add(at_ns);
                let late = at_ns > 30 * SECOND_NS;
                at_ns += 10_000_000 * if late { slow } else { 1 };
            }
            bins.series(0, 60 * SECOND_NS)
        };
        let steady = series(1);
        assert_eq!(
            (steady.window_ns, stationary(&steady)),
            (SECOND_NS, Some(true))
        );
        assert!(
            steady
                .rates_per_s
                .iter()
                .all(|rate| (99.0..=101.0).contains(rate))
        );
        let halved = series(2);
        assert_eq!(stationary(&halved), Some(false));
        let cdf = cdf(&halved);
        assert_eq!(cdf.last().unwrap().1, 1.0);
        assert!(cdf.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
        let short = Bins::new(0).series(0, 3 * BIN_NS);
        assert_eq!(stationary(&short), None);
    }
}
