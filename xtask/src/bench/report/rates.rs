//! Throughput: the loads that run as fast as they can.
//!
//! In: rates by round. Out: tables. Pure. Must not know: the other figures.

use std::fmt::{Result, Write};

use super::super::attached::Variant;
use super::super::spread::{ROUNDS_FOR_INTERVAL, Spread, Verdict};

/// Roundtrips per second of one load.
pub struct Rates {
    /// The load.
    pub load: &'static str,
    /// What was attached; nothing comes first.
    pub variants: &'static [Variant],
    /// One rate a variant, by round.
    pub rounds: Vec<Vec<f64>>,
}

impl Rates {
    fn each(&self, variant: Variant) -> impl Iterator<Item = (f64, f64)> {
        let at = self.variants.iter().position(|other| *other == variant);
        self.rounds
            .iter()
            .filter_map(move |rates| Some((*rates.first()?, *rates.get(at?)?)))
    }

    /// Throughput with a variant over throughput with nothing, round by round.
    pub fn ratio(&self, variant: Variant) -> Spread {
        Spread::of(self.each(variant).map(|(nothing, rate)| rate / nothing))
    }

    fn rate(&self, variant: Variant) -> Spread {
        Spread::of(self.each(variant).map(|(_, rate)| rate))
    }

    /// Microseconds that a variant adds to a roundtrip, round by round.
    pub fn added_us(&self, variant: Variant) -> Spread {
        Spread::of(self.each_added_us(variant))
    }

    fn each_added_us(&self, variant: Variant) -> impl Iterator<Item = f64> {
        self.each(variant)
            .map(|(nothing, rate)| 1e6 / rate - 1e6 / nothing)
    }

    /// Whether Courtside adds at most half of what bpftrace adds; where that adds nothing, nothing is told.
    pub fn halves_what_bpftrace_adds(&self) -> Verdict {
        let theirs = self.added_us(Variant::Bpftrace);
        if theirs.interval[0] <= 0.0 {
            return Verdict::NotTold;
        }
        let ours = self.each_added_us(Variant::Courtside);
        let above = ours
            .zip(self.each_added_us(Variant::Bpftrace))
            .map(|(ours, theirs)| ours - theirs / 2.0);
        // A picosecond, because half is half even if a sum of such numbers says otherwise.
        Spread::of(above).at_most(1e-6)
    }
}

/// The loads beside each other.
pub fn write(page: &mut String, all: &[Rates]) -> Result {
    let Some(first) = all.first() else {
        return Ok(());
    };
    writeln!(page, "\n## Throughput\n")?;
    writeln!(
        page,
        "Each load runs as fast as it can, {} rounds. *Courtside* is the dashboard, drawing every second on the same CPUs; \
         *best* is the best round.",
        first.rounds.len()
    )?;
    for rates in all {
        writeln!(page, "\n### {}\n", rates.load)?;
        table(page, rates, "roundtrip")?;
    }
    Ok(())
}

/// wrk against nginx.
pub fn write_wrk(page: &mut String, rates: &Rates) -> Result {
    writeln!(page, "\n## {}\n", rates.load)?;
    writeln!(
        page,
        "As fast as they can: a thread of wrk, and a process of nginx that answers with a line of text out of its \
         configuration. `courtside stat` prints a table every second on the same CPUs.\n"
    )?;
    table(page, rates, "request")?;
    writeln!(
        page,
        "\nWith `courtside stat`: {}",
        super::told(&rates.ratio(Variant::Stat))
    )
}

fn table(page: &mut String, rates: &Rates, unit: &str) -> Result {
    writeln!(
        page,
        "| | ratio | 95 % | {unit}s/s | best | added per {unit} |\n|---|--:|--:|--:|--:|--:|"
    )?;
    for &variant in rates.variants {
        let (rate, ratio, added) = (
            rates.rate(variant),
            rates.ratio(variant),
            rates.added_us(variant),
        );
        if variant == Variant::Nothing {
            writeln!(
                page,
                "| {} | 1 | | {:.0} ({:.0}–{:.0}) | {:.0} | |",
                variant.name(),
                rate.median,
                rate.least,
                rate.greatest,
                rate.greatest
            )?;
            continue;
        }
        let [low, high] = ratio.interval;
        let interval = if ratio.rounds >= ROUNDS_FOR_INTERVAL as usize {
            format!("{low:.3}–{high:.3}")
        } else {
            "-".to_owned()
        };
        writeln!(
            page,
            "| {} | {:.3} ({:.3}–{:.3}) | {interval} | {:.0} ({:.0}–{:.0}) | {:.0} | {:.2} µs ({:.2}–{:.2}) |",
            variant.name(),
            ratio.median,
            ratio.least,
            ratio.greatest,
            rate.median,
            rate.least,
            rate.greatest,
            rate.greatest,
            added.median,
            added.least,
            added.greatest
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIANTS: &[Variant] = &[
        Variant::Nothing,
        Variant::Empty,
        Variant::Courtside,
        Variant::Bpftrace,
    ];

    fn rates(rounds: &[[f64; 4]]) -> Rates {
        Rates {
            load: "",
            variants: VARIANTS,
            rounds: rounds.iter().map(|rates| rates.to_vec()).collect(),
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let rates = rates(&[
            [100.0, 90.0, 80.0, 50.0],
            [1000.0, 950.0, 800.0, 500.0],
            [10.0, 9.0, 8.0, 5.0],
        ]);
        assert_eq!(rates.ratio(Variant::Courtside).median, 0.8);
        assert_eq!(rates.ratio(Variant::Bpftrace).greatest, 0.5);
    }

    #[test]
    fn what_rounds_do_not_agree_on_is_not_told() {
        // Nothing, empty, Courtside, bpftrace: 10, 11 and 12 µs a roundtrip, and rounds in which bpftrace costs nothing.
        let half = [100_000.0, 95_000.0, 1e6 / 11.0, 1e6 / 12.0];
        let more = [100_000.0, 95_000.0, 1e6 / 11.5, 1e6 / 12.0];
        let nothing = [100_000.0, 95_000.0, 1e6 / 11.0, 110_000.0];
        for (rounds, verdict) in [
            (&[half, half] as &[_], Verdict::Reached),
            (&[more, more], Verdict::Missed),
            (&[half, more], Verdict::NotTold),
            (&[half, nothing], Verdict::NotTold),
        ] {
            assert_eq!(rates(rounds).halves_what_bpftrace_adds(), verdict);
        }
    }

    #[test]
    fn a_variant_that_was_not_measured_has_no_rounds() {
        assert_eq!(rates(&[[1.0; 4]]).ratio(Variant::Stat).rounds, 0);
    }
}
