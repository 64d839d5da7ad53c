//! The page docs/overhead.md.
//!
//! In: what was measured. Out: Markdown, targets beside what was reached. Pure. Must not know: how it was measured.

use std::{collections::BTreeSet, fmt::Write};

use super::attached::Variant;
use super::programs::Cost;

/// Where it was measured.
pub struct Machine {
    /// Model of the CPU.
    pub cpu: String,
    /// CPUs online.
    pub cpus: usize,
    /// Kernel release.
    pub kernel: String,
    /// Load average before the bench: what else ran.
    pub load: String,
    /// Day.
    pub day: String,
}

/// Roundtrips per second of one load.
pub struct Rates {
    /// The load.
    pub load: &'static str,
    /// One rate a variant, by round.
    pub rounds: Vec<[f64; 4]>,
}

/// The kernel's accounting of one variant.
pub struct Accounted {
    /// The variant.
    pub variant: Variant,
    /// Roundtrips while it ran.
    pub roundtrips: u64,
    /// Its programs.
    pub programs: Vec<Cost>,
}

/// A fixed rate.
pub struct Fixed {
    /// Requests per second.
    pub per_second: u32,
    /// 99th percentile without and with Courtside, by round.
    pub p99_ns: Vec<[u64; 2]>,
}

/// Courtside's own process.
pub struct Own {
    /// Components shown.
    pub components: u32,
    /// CPU time over wall time.
    pub cpu_share: f64,
    /// Resident memory.
    pub resident_bytes: u64,
}

/// Everything measured in one run.
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// Throughput.
    pub rates: Vec<Rates>,
    /// Run time by program.
    pub accounted: Vec<Accounted>,
    /// Latency at a fixed rate; none on a single CPU.
    pub fixed: Option<Fixed>,
    /// The dashboard.
    pub own: Own,
}

/// Median, least and greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    least: f64,
    greatest: f64,
}

fn spread(values: impl Iterator<Item = f64>) -> Spread {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        at(middle)
    } else {
        f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
    };
    Spread {
        median,
        least: at(0),
        greatest: at(values.len().wrapping_sub(1)),
    }
}

impl Rates {
    /// Throughput with a variant over throughput with nothing, round by round.
    fn ratio(&self, variant: Variant) -> Spread {
        spread(self.each_ratio(variant))
    }

    fn each_ratio(&self, variant: Variant) -> impl Iterator<Item = f64> {
        let ratio = move |rates: &[f64; 4]| rates[variant as usize] / rates[0];
        self.rounds.iter().map(ratio)
    }

    fn rate(&self, variant: Variant) -> Spread {
        spread(self.rounds.iter().map(|rates| rates[variant as usize]))
    }

    /// Microseconds that a variant adds to a roundtrip, round by round.
    fn added_us(&self, variant: Variant) -> Spread {
        spread(self.each_added_us(variant))
    }

    fn each_added_us(&self, variant: Variant) -> impl Iterator<Item = f64> {
        let added = move |rates: &[f64; 4]| 1e6 / rates[variant as usize] - 1e6 / rates[0];
        self.rounds.iter().map(added)
    }

    /// Whether Courtside adds at most half of what bpftrace adds; a round in which that adds nothing tells nothing.
    fn halves_what_bpftrace_adds(&self) -> Verdict {
        let ours = self.each_added_us(Variant::Courtside);
        let pairs: Vec<_> = ours.zip(self.each_added_us(Variant::Bpftrace)).collect();
        if pairs.iter().any(|(_, theirs)| *theirs <= 0.0) {
            return Verdict::NotTold;
        }
        Verdict::of_rounds(pairs.iter().map(|(ours, theirs)| *ours <= theirs / 2.0))
    }
}

/// A target, and whether it was reached.
struct Target {
    what: String,
    limit: String,
    measured: String,
    verdict: Verdict,
}

/// Whether a target was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Reached,
    Missed,
    /// Some rounds say so, others not.
    NotTold,
}

impl Verdict {
    fn of(reached: bool) -> Self {
        if reached { Self::Reached } else { Self::Missed }
    }

    /// What all rounds say.
    fn of_rounds(rounds: impl Iterator<Item = bool>) -> Self {
        let said: BTreeSet<bool> = rounds.collect();
        match (said.contains(&true), said.contains(&false)) {
            (true, false) => Self::Reached,
            (false, true) => Self::Missed,
            _ => Self::NotTold,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Missed => "**missed**",
            Self::NotTold => "not told: the rounds lie on both sides",
        }
    }
}

/// The page.
pub fn page(results: &Results) -> String {
    let mut page = String::new();
    // Writing into a string cannot fail.
    let _ = write_page(&mut page, results);
    page
}

fn write_page(page: &mut String, results: &Results) -> std::fmt::Result {
    let machine = &results.machine;
    writeln!(page, "# What Courtside costs\n")?;
    writeln!(
        page,
        "Written by `cargo xtask bench` on {}: {}, {} CPUs online, Linux {}, load average {} before it began. Every \
         comparison is made within this one run, in alternating order; only ratios carry over to another machine.\n",
        machine.day, machine.cpu, machine.cpus, machine.kernel, machine.load
    )?;
    writeln!(page, "## Targets\n")?;
    writeln!(page, "| what | target | measured | |\n|---|---|---|---|")?;
    for Target {
        what,
        limit,
        measured,
        verdict,
    } in targets(results)
    {
        writeln!(
            page,
            "| {what} | {limit} | {measured} | {} |",
            verdict.words()
        )?;
    }
    writeln!(page, "\n## Throughput\n")?;
    writeln!(
        page,
        "Each load runs as fast as it can. *Courtside* is the dashboard, drawing every second on the same CPUs. \
         Rates, ratios and added time are medians over {} rounds, with the least and the greatest in brackets; *best* is \
         the best round.",
        results.rates.first().map_or(0, |rates| rates.rounds.len())
    )?;
    for rates in &results.rates {
        writeln!(page, "\n### {}\n", rates.load)?;
        writeln!(
            page,
            "| | roundtrips/s | best | ratio | added per roundtrip |\n|---|--:|--:|--:|--:|"
        )?;
        for variant in Variant::ALL {
            let (rate, ratio, added) = (
                rates.rate(variant),
                rates.ratio(variant),
                rates.added_us(variant),
            );
            if variant == Variant::Nothing {
                writeln!(
                    page,
                    "| {} | {:.0} | {:.0} | 1 | |",
                    variant.name(),
                    rate.median,
                    rate.greatest
                )?;
            } else {
                writeln!(
                    page,
                    "| {} | {:.0} | {:.0} | {:.3} ({:.3}–{:.3}) | {:.2} µs ({:.2}–{:.2}) |",
                    variant.name(),
                    rate.median,
                    rate.greatest,
                    ratio.median,
                    ratio.least,
                    ratio.greatest,
                    added.median,
                    added.least,
                    added.greatest
                )?;
            }
        }
    }
    write_programs(page, results)?;
    write_rest(page, results)
}

fn write_programs(page: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(page, "\n## Run time of each program\n")?;
    writeln!(
        page,
        "The kernel's own accounting (`BPF_ENABLE_STATS`), read by bpftool during the first load above. The accounting \
         itself is part of every figure, which is why the empty programs stand beside."
    )?;
    for accounted in &results.accounted {
        let total: u64 = accounted
            .programs
            .iter()
            .map(|program| program.run_time_ns)
            .sum();
        let runs: u64 = accounted.programs.iter().map(|program| program.runs).sum();
        let each = accounted.roundtrips.max(1) as f64;
        writeln!(
            page,
            "\n### {}: {:.0} ns in {:.1} runs per roundtrip\n",
            accounted.variant.name(),
            total as f64 / each,
            runs as f64 / each
        )?;
        writeln!(page, "| program | runs | ns a run |\n|---|--:|--:|")?;
        for program in &accounted.programs {
            writeln!(
                page,
                "| `{}` | {} | {:.0} |",
                program.name,
                program.runs,
                program.each_ns()
            )?;
        }
    }
    Ok(())
}

fn write_rest(page: &mut String, results: &Results) -> std::fmt::Result {
    if let Some(fixed) = &results.fixed {
        writeln!(page, "\n## {} requests a second\n", fixed.per_second)?;
        writeln!(
            page,
            "One connection to redis, client and server each on a CPU of its own, latency counted from the instant at \
             which each request was due.\n\n| round | p99 with nothing | p99 with Courtside |\n|--:|--:|--:|"
        )?;
        for (round, [without, with]) in fixed.p99_ns.iter().enumerate() {
            writeln!(
                page,
                "| {} | {:.1} µs | {:.1} µs |",
                round + 1,
                us(*without),
                us(*with)
            )?;
        }
    }
    writeln!(page, "\n## The dashboard itself\n")?;
    writeln!(
        page,
        "With {} components under light load it takes {:.2} % of one core and {:.1} MB of memory.",
        results.own.components,
        results.own.cpu_share * 100.0,
        megabytes(results.own.resident_bytes)
    )
}

fn targets(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    for (program, what, limit) in [
        (
            "sched_switch",
            "`sched_switch` program above an empty one, without PMU",
            60.0,
        ),
        ("sock_send_length", "send program above an empty one", 150.0),
        (
            "sock_recv_length",
            "receive program above an empty one",
            150.0,
        ),
        ("sk_data_ready", "arrival program above an empty one", 150.0),
    ] {
        if let Some(above) = above_empty(&results.accounted, program) {
            targets.push(Target {
                what: what.to_owned(),
                limit: format!("≤ {limit} ns"),
                measured: format!("{above:.0} ns"),
                verdict: Verdict::of(above <= limit),
            });
        }
    }
    if let (Some(ours), Some(theirs)) = (
        run_time_us(&results.accounted, Variant::Courtside),
        run_time_us(&results.accounted, Variant::Bpftrace),
    ) {
        targets.push(Target {
            what: "run time of all programs in a roundtrip of a loopback ping-pong".to_owned(),
            limit: "≤ half of bpftrace's".to_owned(),
            measured: format!("{ours:.2} µs to {theirs:.2} µs"),
            verdict: Verdict::of(ours <= theirs / 2.0),
        });
    }
    if let Some(rates) = results.rates.first() {
        let (ours, theirs) = (
            rates.added_us(Variant::Courtside).median,
            rates.added_us(Variant::Bpftrace).median,
        );
        targets.push(Target {
            what: "time added to a roundtrip of that ping-pong, saturated".to_owned(),
            limit: "≤ half of what bpftrace adds".to_owned(),
            measured: format!("{ours:.2} µs to {theirs:.2} µs"),
            verdict: rates.halves_what_bpftrace_adds(),
        });
        let lost = 1.0 - rates.ratio(Variant::Courtside).median;
        targets.push(Target {
            what: "throughput of that ping-pong".to_owned(),
            limit: "≤ 5 % lost".to_owned(),
            measured: format!("{:.1} % lost", lost * 100.0),
            verdict: Verdict::of_rounds(
                rates
                    .each_ratio(Variant::Courtside)
                    .map(|ratio| ratio >= 0.95),
            ),
        });
    }
    if let Some(fixed) = &results.fixed {
        let changes = || {
            fixed
                .p99_ns
                .iter()
                .map(|[without, with]| *with as f64 / *without as f64 - 1.0)
        };
        let change = spread(changes()).median;
        targets.push(Target {
            what: format!("p99 at {} requests a second, pinned", fixed.per_second),
            limit: "≤ 1 % more".to_owned(),
            measured: format!("{:+.1} %", change * 100.0),
            verdict: Verdict::of_rounds(changes().map(|change| change <= 0.01)),
        });
    }
    let own = &results.own;
    targets.push(Target {
        what: format!("the dashboard with {} components: CPU", own.components),
        limit: "≤ 1 % of one core".to_owned(),
        measured: format!("{:.2} %", own.cpu_share * 100.0),
        verdict: Verdict::of(own.cpu_share <= 0.01),
    });
    targets.push(Target {
        what: format!("the dashboard with {} components: memory", own.components),
        limit: "≤ 50 MB".to_owned(),
        measured: format!("{:.1} MB", megabytes(own.resident_bytes)),
        verdict: Verdict::of(megabytes(own.resident_bytes) <= 50.0),
    });
    targets
}

/// Nanoseconds a run of Courtside's program less those of the empty one on the same hook.
fn above_empty(accounted: &[Accounted], program: &str) -> Option<f64> {
    let each = |variant: Variant| {
        let accounted = accounted.iter().find(|a| a.variant == variant)?;
        // The kernel keeps 15 characters of a name.
        let found = accounted
            .programs
            .iter()
            .find(|p| !p.name.is_empty() && program.starts_with(&p.name))?;
        Some(found.each_ns())
    };
    Some(each(Variant::Courtside)? - each(Variant::Empty)?)
}

/// Run time of all programs of a variant, per roundtrip.
fn run_time_us(accounted: &[Accounted], variant: Variant) -> Option<f64> {
    let accounted = accounted.iter().find(|a| a.variant == variant)?;
    let total: u64 = accounted.programs.iter().map(|p| p.run_time_ns).sum();
    Some(us(total) / accounted.roundtrips.max(1) as f64)
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_of_an_odd_and_an_even_number_of_values() {
        let of = |values: &[f64]| spread(values.iter().copied());
        assert_eq!(
            of(&[3.0, 1.0, 2.0]),
            Spread {
                median: 2.0,
                least: 1.0,
                greatest: 3.0
            }
        );
        assert_eq!(
            of(&[4.0, 1.0, 2.0, 3.0]),
            Spread {
                median: 2.5,
                least: 1.0,
                greatest: 4.0
            }
        );
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let rates = Rates {
            load: "",
            rounds: vec![
                [100.0, 90.0, 80.0, 50.0],
                [1000.0, 950.0, 800.0, 500.0],
                [10.0, 9.0, 8.0, 5.0],
            ],
        };
        assert_eq!(rates.ratio(Variant::Courtside).median, 0.8);
        assert_eq!(rates.ratio(Variant::Bpftrace).greatest, 0.5);
    }

    #[test]
    fn what_rounds_do_not_agree_on_is_not_told() {
        // Nothing, empty, Courtside, bpftrace: 10, 11 and 12 µs a roundtrip, and rounds in which bpftrace costs nothing.
        let rates = |rounds: &[[f64; 4]]| Rates {
            load: "",
            rounds: rounds.to_vec(),
        };
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
    fn a_missed_target_says_so() {
        let results = Results {
            machine: Machine {
                cpu: String::new(),
                cpus: 2,
                kernel: String::new(),
                load: String::new(),
                day: String::new(),
            },
            rates: Vec::new(),
            accounted: Vec::new(),
            fixed: Some(Fixed {
                per_second: 10_000,
                p99_ns: vec![[100, 102]],
            }),
            own: Own {
                components: 100,
                cpu_share: 0.005,
                resident_bytes: 60_000_000,
            },
        };
        let page = page(&results);
        assert!(page.contains("| ≤ 1 % more | +2.0 % | **missed** |"));
        assert!(page.contains("| ≤ 1 % of one core | 0.50 % | reached |"));
        assert!(page.contains("| ≤ 50 MB | 60.0 MB | **missed** |"));
    }
}
