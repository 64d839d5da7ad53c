//! The page docs/overhead.md.
//!
//! In: what was measured. Out: Markdown, targets beside what was reached. Pure. Must not know: how it was measured.

use std::fmt::{Result, Write};

use super::accounts::Accounts;
use super::attached::Variant;
use super::rounds::NARROW;
use super::spread::{ROUNDS_FOR_INTERVAL, Spread};

mod accounted;
mod rates;
mod targets;

pub use rates::Rates;

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

/// Requests a second, where the rate is fixed.
pub const PER_SECOND: u32 = 10_000;

/// A fixed rate.
pub struct Fixed {
    /// Who answered.
    pub server: &'static str,
    /// What was attached in every second run.
    pub variant: Variant,
    /// Whether there is a limit; else it is only to be told.
    pub has_limit: bool,
    /// 99th percentile without and with it, by round.
    pub p99_ns: Vec<[u64; 2]>,
}

impl Fixed {
    /// With it over without, round by round.
    pub fn ratio(&self) -> Spread {
        let ratio = |[without, with]: &[u64; 2]| *with as f64 / *without as f64;
        Spread::of(self.p99_ns.iter().map(ratio))
    }

    fn p99_us(&self, with: usize) -> Spread {
        Spread::of(self.p99_ns.iter().map(|pair| pair[with] as f64 / 1e3))
    }
}

/// Courtside's own process.
pub struct Own {
    /// Components shown.
    pub components: u32,
    /// CPU time over wall time.
    pub cpu_share: Spread,
    /// Resident memory.
    pub resident_bytes: Spread,
}

/// Everything measured in one run; what was not is not there.
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// Run time by program.
    pub accounts: Option<Accounts>,
    /// Throughput of the loads that take everything.
    pub rates: Vec<Rates>,
    /// Throughput of wrk.
    pub wrk: Option<Rates>,
    /// Latency at a fixed rate; none on a single CPU.
    pub fixed: Vec<Fixed>,
    /// The dashboard.
    pub own: Option<Own>,
}

/// From here to its end the page is written by hand.
const BY_HAND: &str = "<!-- From here on by hand: `cargo xtask bench` keeps it. -->";

/// What stands there when nobody has written anything.
const NOTHING_YET: &str = "\n\n## What each change brought\n\nNothing is told yet.\n";

/// The page; what was written by hand on the one before stays.
pub fn page(results: &Results, before: &str) -> String {
    let mut page = String::new();
    // Writing into a string cannot fail.
    let _ = write_page(&mut page, results);
    let by_hand = before.find(BY_HAND).and_then(|at| before.get(at..));
    page.push('\n');
    match by_hand {
        Some(kept) => page.push_str(kept),
        None => {
            page.push_str(BY_HAND);
            page.push_str(NOTHING_YET);
        }
    }
    page
}

fn write_page(page: &mut String, results: &Results) -> Result {
    let machine = &results.machine;
    writeln!(page, "# What Courtside costs\n")?;
    writeln!(
        page,
        "Written by `cargo xtask bench` on {}: {}, {} CPUs online, Linux {}, load average {} before it began. Every \
         comparison is made within this one run, in alternating order; only ratios carry over to another machine.\n",
        machine.day, machine.cpu, machine.cpus, machine.kernel, machine.load
    )?;
    writeln!(
        page,
        "Every figure is the median of its rounds. In brackets: the least and the greatest round; with the targets, where \
         the median lies with 95 %, which the verdict goes by (with fewer than six rounds the least and the greatest \
         there, too).\n"
    )?;
    targets::write(page, results)?;
    if let Some(accounts) = &results.accounts {
        accounted::write(page, accounts)?;
    }
    rates::write(page, &results.rates)?;
    if let Some(wrk) = &results.wrk {
        rates::write_wrk(page, wrk)?;
    }
    if !results.fixed.is_empty() {
        write_fixed(page, &results.fixed)?;
    }
    match &results.own {
        Some(own) => write_own(page, own),
        None => Ok(()),
    }
}

fn write_fixed(page: &mut String, all: &[Fixed]) -> Result {
    writeln!(page, "\n## {PER_SECOND} requests a second\n")?;
    writeln!(
        page,
        "One connection, client and server each on a CPU of its own, latency counted from the instant at which each \
         request was due, five seconds a run, with and without in turn. The client is the bench's own: wrk has no rate to \
         hold, and who counts from when a request was sent, not from when it should have been, hides what waited."
    )?;
    for fixed in all {
        writeln!(page, "\n### {}\n", fixed.server)?;
        writeln!(
            page,
            "| | ratio | p99 with nothing | p99 with {} |\n|---|--:|--:|--:|",
            fixed.variant.name()
        )?;
        let (ratio, without, with) = (fixed.ratio(), fixed.p99_us(0), fixed.p99_us(1));
        let row = |page: &mut String, name: &str, of: fn(&Spread) -> f64| {
            writeln!(
                page,
                "| {name} | {:.3} | {:.1} µs | {:.1} µs |",
                of(&ratio),
                of(&without),
                of(&with)
            )
        };
        row(page, "median", |spread| spread.median)?;
        row(page, "least", |spread| spread.least)?;
        row(page, "greatest", |spread| spread.greatest)?;
        writeln!(page, "\n{}", told(&ratio))?;
    }
    Ok(())
}

/// What may be said of a ratio that was repeated until its interval was narrow.
fn told(ratio: &Spread) -> String {
    let [low, high] = ratio.interval;
    let rounds = ratio.rounds;
    if rounds < ROUNDS_FOR_INTERVAL as usize {
        return format!(
            "Too few rounds ({rounds}) for an interval: the ratio was between {low:.3} and {high:.3}."
        );
    }
    let asked = NARROW * 100.0;
    if ratio.is_narrow(NARROW) {
        return format!(
            "{rounds} rounds: the ratio lies between {low:.3} and {high:.3} with 95 %, which is narrower than the {asked:.0} % \
             asked for."
        );
    }
    let width = ratio.width() * 100.0;
    format!(
        "{rounds} rounds: the ratio lies between {low:.3} and {high:.3}, which is {width:.0} % wide where {asked:.0} % were \
         asked for. This machine cannot tell more in so many rounds: what is smaller than that is not seen here."
    )
}

fn write_own(page: &mut String, own: &Own) -> Result {
    let (cpu, memory) = (own.cpu_share, own.resident_bytes.map(megabytes));
    writeln!(page, "\n## The dashboard itself\n")?;
    writeln!(
        page,
        "With {} components under light load it takes {:.2} % ({:.2}–{:.2}) of one core and {:.1} MB ({:.1}–{:.1}) of memory.",
        own.components,
        cpu.median * 100.0,
        cpu.least * 100.0,
        cpu.greatest * 100.0,
        memory.median,
        memory.least,
        memory.greatest
    )
}

fn megabytes(bytes: f64) -> f64 {
    bytes / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        Results {
            machine: Machine {
                cpu: String::new(),
                cpus: 2,
                kernel: String::new(),
                load: String::new(),
                day: String::new(),
            },
            accounts: None,
            rates: Vec::new(),
            wrk: None,
            fixed: vec![Fixed {
                server: "redis",
                variant: Variant::Courtside,
                has_limit: true,
                p99_ns: vec![[100, 102]],
            }],
            own: Some(Own {
                components: 100,
                cpu_share: Spread::of([0.005].into_iter()),
                resident_bytes: Spread::of([6e7].into_iter()),
            }),
        }
    }

    #[test]
    fn a_missed_target_says_so() {
        let page = page(&results(), "");
        assert!(
            page.contains("| ≤ 1 % more | +2.0 % (+2.0–+2.0) | **missed** |"),
            "{page}"
        );
        assert!(
            page.contains("| ≤ 1 % of one core | 0.50 % (0.50–0.50) | reached |"),
            "{page}"
        );
        assert!(
            page.contains("| ≤ 50 MB | 60.0 MB (60.0–60.0) | **missed** |"),
            "{page}"
        );
    }

    #[test]
    fn what_was_written_by_hand_stays() {
        let first = page(&results(), "");
        assert!(first.ends_with(&format!("{BY_HAND}{NOTHING_YET}")));
        let told = first.replace("Nothing is told yet.", "Mailboxes brought a third.");
        assert_eq!(page(&results(), &told), told);
    }

    #[test]
    fn what_the_machine_cannot_tell_is_said() {
        let narrow = Spread::of([1.0, 1.01, 1.0, 1.01, 1.02, 1.0].into_iter());
        assert!(told(&narrow).contains("between 1.000 and 1.020 with 95 %"));
        let wide = Spread::of([0.8, 1.0, 1.0, 1.0, 1.0, 1.3].into_iter());
        assert!(told(&wide).contains("50 % wide"), "{}", told(&wide));
    }
}
