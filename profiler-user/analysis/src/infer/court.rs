//! In whose court the ball is, for how long, and how unevenly that is spread.
//!
//! In: a process's sends and receives, in the order of time; court times of several processes. Out: time in its court by two
//! rules, and measures of imbalance. Must not know: connections, CPUs.

use std::collections::VecDeque;

/// Messages that are remembered, since a send is told when it ends.
const REMEMBERED: usize = 16;
/// Epochs of a process that are kept, at most.
const MOST_EPOCHS: usize = 1 << 16;

/// The packet rule (ball in the court, Gupta 2008): time from a message to the next one, if that is its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Packets {
    /// The newest times, oldest first.
    times: VecDeque<u64>,
}

impl Packets {
    /// Something came.
    pub(super) fn came(&mut self, at_ns: u64) {
        self.note(at_ns);
    }

    /// Its own message: how long the ball was in its court.
    pub(super) fn own(&mut self, at_ns: u64) -> u64 {
        let mut before = self.times.iter().rev();
        let last_ns = before.find(|time_ns| **time_ns <= at_ns).copied();
        self.note(at_ns);
        last_ns.map_or(0, |last_ns| at_ns.saturating_sub(last_ns))
    }

    fn note(&mut self, at_ns: u64) {
        let newer = self
            .times
            .iter()
            .rev()
            .take_while(|time_ns| **time_ns > at_ns);
        let place = self.times.len() - newer.count();
        self.times.insert(place, at_ns);
        if self.times.len() > REMEMBERED {
            self.times.pop_front();
        }
    }
}

/// The queue-corrected rule: time from the arrival of the last message that was read before a send, or from the last send if
/// that was later. What arrives meanwhile and is not read yet does not count.
#[derive(Clone, Debug, Default)]
pub(super) struct Queued {
    sent_ns: Option<u64>,
    ready_ns: u64,
}

impl Queued {
    /// A message was read that had arrived then.
    pub(super) fn read(&mut self, arrived_ns: u64) {
        self.ready_ns = self.ready_ns.max(arrived_ns);
    }

    /// A send began: how long the ball was in its court. The first send has no begin.
    pub(super) fn send(&mut self, at_ns: u64) -> u64 {
        let since_ns = self.sent_ns.map(|sent_ns| sent_ns.max(self.ready_ns));
        self.sent_ns = Some(self.sent_ns.map_or(at_ns, |sent_ns| sent_ns.max(at_ns)));
        since_ns.map_or(0, |since_ns| at_ns.saturating_sub(since_ns))
    }
}

/// Court time by epoch: one a turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Epochs {
    now_ns: u64,
    done: Vec<u64>,
}

impl Epochs {
    pub(super) fn add(&mut self, ns: u64) {
        self.now_ns = self.now_ns.saturating_add(ns);
    }

    /// The epoch ends.
    pub(super) fn end(&mut self) {
        if self.done.len() < MOST_EPOCHS {
            self.done.push(self.now_ns);
        }
        self.now_ns = 0;
    }

    pub(super) fn done(&self) -> &[u64] {
        &self.done
    }
}

/// For each process, what the others wait for it, as a range: the sum over epochs of how much longer it took than the slowest
/// other, and than the quickest other.
pub(super) fn ranges(epochs: &[&[u64]]) -> Vec<(u64, u64)> {
    let count = epochs.iter().map(|epochs| epochs.len()).min().unwrap_or(0);
    let mut ranges = vec![(0u64, 0u64); epochs.len()];
    if epochs.len() < 2 {
        return ranges;
    }
    for epoch in 0..count {
        let courts = epochs.iter().map(|epochs| epochs.get(epoch).copied());
        let courts: Vec<u64> = courts.map(|ns| ns.unwrap_or(0)).collect();
        let mut sorted = courts.clone();
        sorted.sort_unstable();
        let ([least, second_least, ..], [.., second_most, most]) = (&sorted[..], &sorted[..])
        else {
            return ranges;
        };
        for (own, (lower, upper)) in courts.iter().zip(&mut ranges) {
            // Without the process itself.
            let most = if own == most { second_most } else { most };
            let least = if own == least { second_least } else { least };
            *lower = lower.saturating_add(own.saturating_sub(*most));
            *upper = upper.saturating_add(own.saturating_sub(*least));
        }
    }
    ranges
}

/// Measures of how unevenly court times are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spread {
    /// Standard deviation.
    pub(super) deviation: f64,
    /// Sum over all pairs of the square of the difference.
    pub(super) squared: f64,
    /// Mean over maximum.
    pub(super) balance: Option<f64>,
}

pub(super) fn spread(values: &[f64]) -> Spread {
    let count = values.len() as f64;
    if values.is_empty() {
        return Spread::default();
    }
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum();
    let most = values.iter().copied().fold(0.0, f64::max);
    Spread {
        deviation: libm::sqrt(squares / count),
        squared: count * squares,
        balance: (most > 0.0).then(|| mean / most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_rule_books_on_who_gets_the_next_own_message() {
        // Receive from A, acknowledge, send to B, B acknowledges, receive from A, acknowledge, send to B; in us.
        let mut packets = Packets::default();
        packets.came(0);
        let mut buckets = [0, 0];
        buckets[0] += packets.own(50);
        buckets[1] += packets.own(6050);
        packets.came(6300);
        packets.came(9000);
        buckets[0] += packets.own(9060);
        buckets[1] += packets.own(15060);
        assert_eq!(buckets, [110, 12_000]);
        assert_eq!(buckets[0] + buckets[1], 12_110);
    }

    #[test]
    fn what_is_told_late_takes_its_place() {
        let mut packets = Packets::default();
        packets.came(100);
        packets.came(180);
        // It began before the second arrival and is told after it.
        assert_eq!(packets.own(150), 50);
        assert_eq!(packets.own(200), 20);
        assert_eq!(Packets::default().own(7), 0);
    }

    /// A ring or all to all of 4 that compute 6 ms and wait for a CPU besides, 300 times, with a latency of 100 us: what the
    /// queue-corrected rule says of each, and what is true.
    fn simulated(all: bool, work_us: [u64; 4], loaded: [bool; 4]) -> [[u64; 2]; 4] {
        let mut random = fastrand::Rng::with_seed(7);
        let sources = |i: usize| -> Vec<usize> {
            if all {
                (0..4).filter(|j| *j != i).collect()
            } else {
                vec![(i + 3) % 4]
            }
        };
        let mut said = [[0; 2]; 4];
        let mut queued: [Queued; 4] = Default::default();
        let mut start = [0u64; 4];
        for epoch in 0..300 {
            let mut send = [0; 4];
            for i in 0..4 {
                let wait = if loaded[i] {
                    (-50_000.0 * random.f64().max(1e-9).ln()) as u64
                } else {
                    0
                };
                let court = work_us[i] + wait;
                send[i] = start[i] + court;
                said[i][0] += queued[i].send(send[i]);
                if epoch > 0 {
                    said[i][1] += court;
                }
            }
            for i in 0..4 {
                let arrived: Vec<u64> = sources(i).into_iter().map(|j| send[j] + 100).collect();
                start[i] = arrived.iter().copied().fold(send[i], u64::max);
                queued[i].read(start[i]);
            }
        }
        said
    }

    #[test]
    fn the_queue_corrected_rule_finds_work_and_waits_exactly() {
        for all in [false, true] {
            for loaded in [
                [false, false, true, false],
                [true, false, true, false],
                [true; 4],
            ] {
                for [found, truth] in simulated(all, [6_000; 4], loaded) {
                    assert_eq!(found, truth);
                }
            }
        }
    }

    #[test]
    fn the_known_measures_of_spread() {
        let found = spread(&[2.0, 4.0, 4.0, 6.0]);
        assert!((found.deviation - std::f64::consts::SQRT_2).abs() < 1e-6);
        assert!((found.squared - 32.0).abs() < 1e-9);
        assert!((found.balance.unwrap() - 0.6667).abs() < 1e-4);
        assert_eq!(spread(&[]), Spread::default());
    }

    #[test]
    fn the_range_holds_the_waits_for_one_loaded_process_and_not_those_for_two() {
        let quiet = [6, 6, 6];
        let loaded = [56, 6, 106];
        let found = ranges(&[&quiet, &loaded, &quiet]);
        assert_eq!(found, [(0, 0), (150, 150), (0, 0)]);
        // The one that has most to do anyway: no partner does its work.
        let small = [3, 3, 3];
        let found = ranges(&[&small, &loaded, &quiet]);
        assert_eq!(found[1], (150, 159));
        assert_eq!(found[2], (0, 9));
        // Two loaded at once hide each other in the lower number.
        let found = ranges(&[&loaded, &loaded, &quiet]);
        assert_eq!(found[0], (0, 150));
        assert_eq!(ranges(&[&quiet[..]]), [(0, 0)]);
    }
}
