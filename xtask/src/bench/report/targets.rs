//! The targets, and what was reached of each.
//!
//! In: what was measured. Out: the page's first table. Pure. Must not know: how it was measured.

use std::fmt::{Result, Write};

use super::super::accounts::{Accounts, HOOKS};
use super::super::attached::Variant;
use super::super::rounds::NARROW;
use super::super::spread::{ROUNDS_FOR_INTERVAL, Spread, Verdict};
use super::{Fixed, Own, PER_SECOND, Rates, Results, megabytes};

/// A target, and whether it was reached.
struct Target {
    what: String,
    limit: String,
    measured: String,
    said: String,
}

impl Target {
    fn new(what: impl Into<String>, limit: impl Into<String>, verdict: Verdict) -> Self {
        Self {
            what: what.into(),
            limit: limit.into(),
            measured: String::new(),
            said: verdict.words().to_owned(),
        }
    }

    fn measured(self, measured: String) -> Self {
        Self { measured, ..self }
    }

    /// Say so if it was reached by more than was asked for.
    fn beyond(mut self, limit: &str, further: Verdict) -> Self {
        self.limit.push_str(&format!(", beyond: {limit}"));
        if further == Verdict::Reached {
            self.said.push_str(", and beyond");
        }
        self
    }

    /// There is no limit: it is asked for a narrow interval.
    fn only_told(self, ratio: &Spread) -> Self {
        let asked = NARROW * 100.0;
        let said = if ratio.is_narrow(NARROW) {
            "told".to_owned()
        } else if ratio.rounds < ROUNDS_FOR_INTERVAL as usize {
            "too few rounds".to_owned()
        } else {
            format!("told to {:.0} % only", ratio.width() * 100.0)
        };
        Self {
            limit: format!("told to {asked:.0} %"),
            said,
            ..self
        }
    }
}

/// The table.
pub fn write(page: &mut String, results: &Results) -> Result {
    writeln!(page, "## Targets\n")?;
    writeln!(page, "| what | target | measured | |\n|---|---|---|---|")?;
    let mut targets = Vec::new();
    if let Some(accounts) = &results.accounts {
        accounted(&mut targets, accounts);
    }
    throughput(&mut targets, results);
    for fixed in &results.fixed {
        targets.push(latency(fixed));
    }
    if let Some(own) = &results.own {
        dashboard(&mut targets, own);
    }
    for target in targets {
        writeln!(
            page,
            "| {} | {} | {} | {} |",
            target.what, target.limit, target.measured, target.said
        )?;
    }
    Ok(())
}

fn accounted(targets: &mut Vec<Target>, accounts: &Accounts) {
    let ratio = |to| accounts.ratio(Variant::Courtside, to);
    let ours = accounts.ns(Variant::Courtside).median;
    let beside = |to| format!("{ours:.0} to {:.0} ns", accounts.ns(to).median);
    for (to, what, limit, further) in [
        (Variant::Empty, "empty programs'", 2.4, 2.0),
        (Variant::Short, "the short bpftrace script's", 0.55, 0.45),
    ] {
        let ratio = ratio(to);
        targets.push(
            Target::new(
                format!(
                    "run time of all programs in a roundtrip of a loopback ping-pong, over {what}"
                ),
                format!("≤ {limit}"),
                ratio.at_most(limit),
            )
            .measured(format!("{}; {}", within(&ratio, 2), beside(to)))
            .beyond(&further.to_string(), ratio.at_most(further)),
        );
    }
    let long = ratio(Variant::Bpftrace);
    targets.push(
        Target::new(
            "the same, over that of bpftrace asking the same questions",
            "≤ half",
            long.at_most(0.5),
        )
        .measured(format!(
            "{}; {}",
            within(&long, 2),
            beside(Variant::Bpftrace)
        )),
    );
    for hook in &HOOKS {
        let (Some(limit), Some(above)) = (hook.limit_ns, accounts.above_empty_ns(hook)) else {
            continue;
        };
        let counters = if hook.program == "sched_switch" {
            ", without PMU"
        } else {
            ""
        };
        targets.push(
            Target::new(
                format!("{} program above an empty one{counters}", hook.name),
                format!("≤ {limit:.0} ns"),
                above.at_most(limit),
            )
            .measured(format!("{} ns", within(&above, 0))),
        );
    }
    let events = accounts.events_to_windows();
    let added = accounts.added_ns(Variant::Events, Variant::Record);
    let windows = accounts.added_ns(Variant::Record, Variant::Empty);
    if events.rounds > 0 {
        targets.push(
            Target::new(
                "run time that `record --events` adds to a roundtrip, over that of the windows' own programs above empty ones",
                "< 1",
                events.at_most(1.0),
            )
            .measured(format!(
                "{}; {:.0} to {:.0} ns",
                within(&events, 2),
                added.median,
                windows.median
            )),
        );
    }
}

fn throughput(targets: &mut Vec<Target>, results: &Results) {
    if let Some(rates) = results.rates.first() {
        let (ours, theirs) = (
            rates.added_us(Variant::Courtside).median,
            rates.added_us(Variant::Bpftrace).median,
        );
        targets.push(
            Target::new(
                "time added to a roundtrip of that ping-pong, saturated",
                "≤ half of what bpftrace adds",
                rates.halves_what_bpftrace_adds(),
            )
            .measured(format!("{ours:.2} µs to {theirs:.2} µs")),
        );
        targets.push(lost(
            "throughput of that ping-pong",
            rates,
            Variant::Courtside,
            5.0,
        ));
    }
    if let Some(rates) = results.rates.iter().find(|r| r.load.contains("redis")) {
        let target = lost(
            format!("throughput of {}", rates.load),
            rates,
            Variant::Courtside,
            7.0,
        );
        let further = rates.ratio(Variant::Courtside).at_least(1.0 - 0.06);
        targets.push(target.beyond("6 %", further));
    }
    if let Some(rates) = &results.wrk {
        let what = format!("throughput of {}", rates.load);
        let target = lost(what, rates, Variant::Stat, 0.0);
        targets.push(target.only_told(&rates.ratio(Variant::Stat)));
    }
}

/// The share of throughput that is lost, in percent.
fn lost(what: impl Into<String>, rates: &Rates, variant: Variant, percent: f64) -> Target {
    let ratio = rates.ratio(variant);
    let lost = ratio.map(|ratio| (1.0 - ratio) * 100.0);
    let empty = (1.0 - rates.ratio(Variant::Empty).median) * 100.0;
    Target::new(
        what,
        format!("≤ {percent} % lost"),
        ratio.at_least(1.0 - percent / 100.0),
    )
    .measured(format!(
        "{} % lost; empty programs: {empty:.1} %",
        within(&lost, 1)
    ))
}

fn latency(fixed: &Fixed) -> Target {
    let ratio = fixed.ratio();
    let change = ratio.map(|ratio| (ratio - 1.0) * 100.0);
    let [low, high] = change.interval;
    let target = Target::new(
        format!(
            "p99 of {} at {PER_SECOND} requests a second, pinned",
            fixed.server
        ),
        "≤ 1 % more",
        change.at_most(1.0),
    )
    .measured(format!("{:+.1} % ({low:+.1}–{high:+.1})", change.median));
    if fixed.has_limit {
        target
    } else {
        target.only_told(&ratio)
    }
}

fn dashboard(targets: &mut Vec<Target>, own: &Own) {
    let cpu = own.cpu_share.map(|share| share * 100.0);
    let memory = own.resident_bytes.map(megabytes);
    let name = format!("the dashboard with {} components", own.components);
    targets.push(
        Target::new(
            format!("{name}: CPU"),
            "≤ 1 % of one core",
            cpu.at_most(1.0),
        )
        .measured(format!(
            "{:.2} % ({:.2}–{:.2})",
            cpu.median, cpu.interval[0], cpu.interval[1]
        )),
    );
    targets.push(
        Target::new(format!("{name}: memory"), "≤ 50 MB", memory.at_most(50.0)).measured(format!(
            "{:.1} MB ({:.1}–{:.1})",
            memory.median, memory.interval[0], memory.interval[1]
        )),
    );
}

/// The median, and its interval in brackets.
fn within(spread: &Spread, places: usize) -> String {
    let [low, high] = spread.interval;
    format!(
        "{:.places$} ({low:.places$}–{high:.places$})",
        spread.median
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(load: &'static str, ratios: &[f64]) -> Rates {
        Rates {
            load,
            variants: &[Variant::Nothing, Variant::Empty, Variant::Courtside],
            rounds: ratios
                .iter()
                .map(|ratio| vec![1000.0, 950.0, 1000.0 * ratio])
                .collect(),
        }
    }

    #[test]
    fn what_is_lost_is_held_against_the_limit_by_its_interval() {
        for (ratios, verdict) in [
            (&[0.935, 0.94, 0.95] as &[f64], Verdict::Reached),
            (&[0.92, 0.94, 0.95], Verdict::NotTold),
            (&[0.88, 0.89, 0.9], Verdict::Missed),
        ] {
            let target = lost(
                "",
                &rates("redis-benchmark", ratios),
                Variant::Courtside,
                7.0,
            );
            assert_eq!(target.said, verdict.words(), "{}", target.measured);
        }
    }

    #[test]
    fn what_goes_beyond_a_target_says_so_and_what_misses_it_does_not() {
        let target = |ratio: f64| {
            let ratio = Spread::of([ratio].into_iter());
            Target::new("", "≤ 2.4", ratio.at_most(2.4)).beyond("2", ratio.at_most(2.0))
        };
        assert_eq!(target(1.9).limit, "≤ 2.4, beyond: 2");
        assert_eq!(target(1.9).said, "reached, and beyond");
        assert_eq!(target(2.3).said, "reached");
        assert_eq!(target(2.5).said, "**missed**");
    }

    #[test]
    fn what_has_no_limit_is_told_or_not() {
        let told = |ratios: &[f64]| {
            let ratio = Spread::of(ratios.iter().copied());
            Target::new("", "", Verdict::Missed).only_told(&ratio).said
        };
        assert_eq!(told(&[0.9; 5]), "too few rounds");
        assert_eq!(told(&[0.9; 10]), "told");
        assert_eq!(told(&[0.8, 1.0, 1.0, 1.0, 1.0, 1.2]), "told to 40 % only");
    }

    #[test]
    fn what_is_lost_stands_beside_what_empty_programs_lose() {
        let target = lost("", &rates("", &[0.9, 0.91, 0.92]), Variant::Courtside, 7.0);
        assert_eq!(
            target.measured,
            "9.0 (8.0–10.0) % lost; empty programs: 5.0 %"
        );
    }
}
