//! How often something is measured: a number of times, or until it is told well enough.
//!
//! In: what `--rounds` says, and what has been measured so far. Out: whether to go on. Must not know: what is measured.

use anyhow::{Result, bail};

use super::spread::{ROUNDS_FOR_INTERVAL, Spread};
use crate::sh;

/// The interval that is asked for, as a share of the median.
pub const NARROW: f64 = 0.05;

/// How many times as many rounds as asked for, at most.
const MOST: u32 = 4;

/// How often.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    least: u32,
    most: u32,
}

impl Rounds {
    /// So many.
    pub fn of(rounds: u32) -> Self {
        Self {
            least: rounds,
            most: rounds,
        }
    }

    /// So many, and more until the interval is narrow; so few that there is no interval are all there are.
    pub fn until_narrow(rounds: u32) -> Self {
        Self {
            least: rounds,
            most: if rounds < ROUNDS_FOR_INTERVAL {
                rounds
            } else {
                rounds.saturating_mul(MOST)
            },
        }
    }

    /// Take rounds, numbered from 0, until there are enough; each returns what is to become narrow.
    pub fn take(self, what: &str, mut round: impl FnMut(u32) -> Result<Spread>) -> Result<()> {
        for done in 0..self.most {
            if sh::stopped() {
                bail!("stopped by a signal");
            }
            let of = if self.least == self.most {
                format!("of {}", self.least)
            } else {
                format!("of {} to {}", self.least, self.most)
            };
            eprintln!("xtask: {what}, round {} {of}", done + 1);
            let told = round(done)?;
            if done + 1 >= self.least && told.is_narrow(NARROW) {
                break;
            }
        }
        Ok(())
    }
}

/// The order in which a round takes its variants: there and back, so that what drifts favours none.
pub fn in_turn<T: Copy>(variants: &[T], round: u32) -> Vec<T> {
    let mut order = variants.to_vec();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(rounds: Rounds, value: impl Fn(u32) -> f64) -> u32 {
        let mut values = Vec::new();
        rounds
            .take("test", |round| {
                values.push(value(round));
                Ok(Spread::of(values.iter().copied()))
            })
            .unwrap();
        u32::try_from(values.len()).unwrap()
    }

    #[test]
    fn a_narrow_interval_ends_the_rounds_and_a_wide_one_does_not() {
        assert_eq!(taken(Rounds::until_narrow(10), |_| 1.0), 10);
        assert_eq!(taken(Rounds::until_narrow(10), f64::from), 40);
        // Two wild rounds at first, which ten others leave outside.
        let value = |round| if round < 2 { 2.0 } else { 1.0 };
        assert_eq!(taken(Rounds::until_narrow(6), value), 12);
    }

    #[test]
    fn few_rounds_stay_few() {
        assert_eq!(taken(Rounds::until_narrow(2), f64::from), 2);
        assert_eq!(taken(Rounds::of(10), f64::from), 10);
    }

    #[test]
    fn each_second_round_goes_the_other_way() {
        assert_eq!(in_turn(&[1, 2, 3], 0), [1, 2, 3]);
        assert_eq!(in_turn(&[1, 2, 3], 1), [3, 2, 1]);
    }
}
