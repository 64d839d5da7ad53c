//! Wall-clock time that goes on evenly, even if someone sets the clock meanwhile.
//!
//! In: the clocks of the kernel. Out: what makes wall-clock time of `CLOCK_MONOTONIC`. Must not know: what it is for.
//! The clock is asked once, at the beginning: one that is set later, back or forward, changes no time stamp, so that what
//! follows comes later, and nothing lasts an hour because of it. Only while the machine sleeps, which `CLOCK_MONOTONIC`
//! does not count, time stamps go on as well.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// The clocks are read one after the other: what they differ by less than this is no sleep.
const SLEEP_MIN_NS: i64 = 1_000_000;
/// Readings that took this long or less are as good as at one instant.
const ONE_INSTANT_NS: i64 = 10_000;
/// How often the clocks are read for that.
const READINGS: usize = 8;

/// Wall-clock time as it was set when this was made.
#[derive(Clone, Debug)]
pub struct Wall {
    /// Wall-clock time less `CLOCK_MONOTONIC` at the beginning.
    begun_ns: i64,
    /// How long the machine had slept by then, and by the last look.
    slept_before_ns: i64,
    slept_ns: i64,
}

impl Wall {
    /// Reads the clock.
    #[must_use]
    pub fn start() -> Self {
        let slept_ns = ahead(ClockId::Boottime, now);
        Self {
            begun_ns: ahead(ClockId::Realtime, now),
            slept_before_ns: slept_ns,
            slept_ns,
        }
    }

    /// What makes wall-clock time of `CLOCK_MONOTONIC`.
    pub fn offset_ns(&mut self) -> i64 {
        self.saw(ahead(ClockId::Boottime, now))
    }

    /// This instant on `CLOCK_MONOTONIC`, and as wall-clock time since 1970.
    pub fn now_ns(&mut self) -> (u64, u64) {
        let offset = self.offset_ns();
        let monotonic = now(ClockId::Monotonic);
        let unix = monotonic.saturating_add(offset);
        let positive = |ns| u64::try_from(ns).unwrap_or(0);
        (positive(monotonic), positive(unix))
    }

    fn saw(&mut self, slept_ns: i64) -> i64 {
        if slept_ns.saturating_sub(self.slept_ns) > SLEEP_MIN_NS {
            self.slept_ns = slept_ns;
        }
        let slept_since = self.slept_ns.saturating_sub(self.slept_before_ns);
        self.begun_ns.saturating_add(slept_since)
    }
}

/// How far a clock is at least ahead of `CLOCK_MONOTONIC`. We may lose the CPU between two readings, for longer than any
/// bound: so the monotonic clock is read after the other, and what passes between them is never taken for sleep. Of
/// several readings the one that took the shortest counts.
fn ahead(clock: ClockId, mut read: impl FnMut(ClockId) -> i64) -> i64 {
    let mut best = (i64::MAX, 0);
    for _ in 0..READINGS {
        let before = read(ClockId::Monotonic);
        let other = read(clock);
        let after = read(ClockId::Monotonic);
        let took = after.saturating_sub(before);
        if took < best.0 {
            best = (took, other.saturating_sub(after));
        }
        if took <= ONE_INSTANT_NS {
            break;
        }
    }
    best.1
}

fn now(clock: ClockId) -> i64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    tv_sec.saturating_mul(1_000_000_000).saturating_add(tv_nsec)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn it_is_the_time_of_the_clock() {
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let before = since(SystemTime::now());
        let told = u128::from(Wall::start().now_ns().1);
        let after = since(SystemTime::now());
        // The two clocks were not read at the same instant.
        let slack = 1_000_000_000;
        assert!((before - slack..=after + slack).contains(&told));
    }

    #[test]
    fn only_sleep_moves_it() {
        let mut wall = Wall {
            begun_ns: 100,
            slept_before_ns: 5_000,
            slept_ns: 5_000,
        };
        assert_eq!(wall.saw(5_000), 100);
        // Another instant between the two readings is none.
        assert_eq!(wall.saw(5_900), 100);
        assert_eq!(wall.saw(4_200), 100);
        let asleep = 3_600_000_000_000;
        assert_eq!(wall.saw(5_000 + asleep), 100 + asleep);
        assert_eq!(wall.saw(5_300 + asleep), 100 + asleep);
    }

    /// Seen in an emulated machine: 2.8 ms between two readings were taken for sleep, and a window began that much late.
    #[test]
    fn losing_the_cpu_between_two_readings_is_no_sleep() {
        const MS: i64 = 1_000_000;
        const SLEPT_NS: i64 = 500 * MS;
        for lost_at in 0..3 {
            // Each reading takes 100 ns; the CPU is away for 30 ms before one of them, every time or only the first.
            for always in [false, true] {
                let mut monotonic = 7_000 * MS;
                let mut count = 0;
                let told = ahead(ClockId::Boottime, |clock| {
                    let is_lost = count % 3 == lost_at && (always || count < 3);
                    monotonic += if is_lost { 30 * MS } else { 100 };
                    count += 1;
                    match clock {
                        ClockId::Monotonic => monotonic,
                        _ => monotonic + SLEPT_NS,
                    }
                });
                assert!(told <= SLEPT_NS, "{told}");
                if !always {
                    assert!(SLEPT_NS - told < 1_000, "{told}");
                }
                assert!(count <= 3 * READINGS);
            }
        }
    }

    #[test]
    fn two_readings_agree() {
        let mut wall = Wall::start();
        let mut other = wall.clone();
        assert_eq!(wall.offset_ns(), other.offset_ns());
    }
}
