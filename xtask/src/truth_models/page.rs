//! The page docs/models-truth.md.
//!
//! In: what was predicted and measured. Out: Markdown; what was missed in words. Pure. Must not know: how it was measured.

use std::fmt::Write;

use super::courtside::Times;
use super::plan::{
    BOUND_SHARE, CHAIN, OVER, PLACED_SHARE, Plan, TARGET_MEAN, TARGET_P95, TARGET_SATURATION,
};
use super::results::{
    AtRate, Bound, Chain, Most, Outcome, Placed, Results, Spread, better, outside_ns,
};
use super::service::Load;
use crate::bench::Machine;

/// What the host did before.
pub struct Before {
    /// Share of all CPU time that was used, of 1.
    pub busy: f64,
    /// In this many seconds.
    pub seconds: f64,
}

/// All of it, and what was missed.
pub fn page(
    machine: &Machine,
    before: &Before,
    plan: &Plan,
    is_quick: bool,
    results: &Results,
) -> (String, Vec<String>) {
    let mut missed = Vec::new();
    let mut page = head(machine, before, plan, is_quick, results);
    page += &chain(&results.chain, &mut missed);
    page += &bounds(&results.bounds, &mut missed);
    page += &placed(&results.placed, &mut missed);
    page += "\n## What was missed\n\n";
    let asked = !matches!(results.chain, Outcome::NotAsked)
        || !matches!(results.placed, Outcome::NotAsked)
        || results
            .bounds
            .iter()
            .any(|(_, bound)| !matches!(bound, Outcome::NotAsked));
    match missed.as_slice() {
        [] if asked => page += "Nothing of what was measured.\n",
        [] => page += "Nothing was measured.\n",
        missed => {
            for line in missed {
                // Writing to a String cannot fail.
                let _ = writeln!(page, "- {line}");
            }
        }
    }
    (page, missed)
}

fn head(
    machine: &Machine,
    before: &Before,
    plan: &Plan,
    is_quick: bool,
    results: &Results,
) -> String {
    let shares = |shares: &[f64]| {
        let each: Vec<_> = shares
            .iter()
            .map(|share| format!("{:.0}", share * 100.0))
            .collect();
        format!("{} %", each.join(", "))
    };
    let quick = if is_quick {
        "\n\n**This was a quick run: to see that it works, not what it says.**"
    } else {
        ""
    };
    format!(
        "# Predicted and measured\n\n\
         Written by `cargo xtask truth models`, which took {:.0} minutes. Services whose work is known are recorded at low rates, \
         `courtside model` predicts them at higher ones, and then they are measured there.{quick}\n\n\
         {}, {} × {}, Linux {}; load average before it began: {}; in {:.0} s before the first measurement {:.1} % of all CPU time \
         was used.\n\n\
         - The load comes at random (Poisson), and the time of a request counts from when it was due. It has one CPU, which \
         Courtside and everything else share; the service has another.\n\
         - *Real* saturation is what is served when {OVER} times as much comes in.\n\
         - Recorded for {:.0} s each at {} of that, in this order (services with one bound: {:.0} s), with `--program-cost`: the time \
         of Courtside's own programs is deducted, and nothing is attached while the truth is measured.\n\
         - Measured {} times for {:.0} s each, with other seeds, in another order each time; beside each mean stands the least and \
         the greatest of these. A prediction among them is as right as can be told here.\n\
         - Given with `--cores` and `--place`: that the tiers share one CPU, their threads, the quota, and how many requests the disk \
         works on at a time. Recordings hold none of these.\n",
        results.minutes,
        machine.day,
        machine.cpus,
        machine.cpu,
        machine.kernel,
        machine.load,
        before.seconds,
        before.busy * 100.0,
        plan.record_seconds,
        shares(plan.record_shares),
        plan.short_seconds,
        plan.rounds,
        plan.measure_seconds,
    )
}

/// Why there is no answer, if there is none.
fn without<T>(outcome: &Outcome<T>, what: &str, missed: &mut Vec<String>) -> Option<String> {
    match outcome {
        Outcome::Done(_) => None,
        Outcome::NotAsked => Some("Not measured this time.\n".to_owned()),
        Outcome::Skipped(why) => {
            missed.push(format!("{what}: cannot be measured on this host: {why}"));
            Some(format!("Cannot be measured on this host: {why}\n"))
        }
        Outcome::Failed(why) => {
            missed.push(format!("{what}: the measurement failed, and says nothing"));
            Some(format!("The measurement failed:\n\n```text\n{why}\n```\n"))
        }
    }
}

fn chain(outcome: &Outcome<Chain>, missed: &mut Vec<String>) -> String {
    let mut page = format!(
        "\n## Three tiers\n\nEach request passes web (`{}`), app (`{}`) and store (`{}`), all on one CPU: CPU time is burnt, sleep is a \
         timer, each read of the disk is a block of 4 KiB past the page cache, calls are requests to the next tier over TCP, and a pool \
         is threads.\n\n",
        CHAIN.web, CHAIN.app, CHAIN.store
    );
    if let Some(why) = without(outcome, "three tiers", missed) {
        return page + &why;
    }
    let Outcome::Done(chain) = outcome else {
        return page;
    };
    page += "| tier | for one request | CPU burnt | CPU fitted (95 %) | R² | disk fitted |\n|---|---|---|---|---|---|\n";
    for component in &chain.profile.components {
        let name = component.id.rsplit(':').next().unwrap_or_default();
        let name = name.trim_end_matches(super::plan::SUFFIX);
        let burnt = match name {
            "web" | "app" => "300 µs",
            "store" => "2 × 60 µs",
            _ => "",
        };
        let cpu = component.cpu.as_ref();
        let interval = cpu.and_then(|fit| fit.interval95);
        let disk = component.disk.as_ref().filter(|fit| fit.per_request > 0.0);
        let _ = writeln!(
            page,
            "| {name} | {} | {burnt} | {}{}{} | {} | {} |",
            component
                .visits_per_request
                .map_or_else(String::new, |visits| format!("{visits:.2} requests")),
            cpu.map_or_else(String::new, |fit| us(fit.per_request)),
            interval.map_or_else(String::new, |[low, high]| format!(
                " ({}–{})",
                us(low),
                us(high)
            )),
            cpu.filter(|fit| fit.form != "linear")
                .map_or_else(String::new, |fit| format!(", kept as {}", fit.form)),
            cpu.and_then(|fit| fit.r2)
                .map_or_else(String::new, |r2| format!("{r2:.4}")),
            disk.map_or_else(String::new, |fit| us(fit.per_request)),
        );
    }
    let [low, high] = chain.profile.rate_range_per_s;
    let _ = write!(page, "\nFitted to {low:.0} to {high:.0} requests a second.");
    page += " What is fitted is more than what is burnt: receiving, sending, switching and reading clocks take CPU time, too.";
    if let Some(own) = chain.profile.self_cost_ns_per_request {
        let _ = write!(
            page,
            " Courtside's own programs took {} a request; that is deducted.",
            us(own)
        );
    }
    if let Some(outside) = outside_ns(&chain.profile, &chain.recorded) {
        let _ = write!(
            page,
            " The generator saw {} more of a request than the service did, in the mean: late timers, and the way. Predictions are of the \
             service, and measurements are the generator's.",
            us(outside)
        );
    }
    for remark in &chain.profile.remarks {
        let _ = write!(page, " The profile remarks: {remark}.");
    }
    page += "\n\n";
    page += &saturation_line(&chain.most, "three tiers", true, missed);
    page += "\n| rate | | base | with remote | full | measured | full is off |\n|---|---|---|---|---|---|---|\n";
    for at in &chain.rates {
        rows(&mut page, chain, at, missed);
    }
    page
}

type Number = fn(&Load) -> f64;

fn rows(page: &mut String, chain: &Chain, at: &AtRate, missed: &mut Vec<String>) {
    let share = chain
        .most
        .real()
        .map_or(f64::NAN, |real| at.per_s / real.mean);
    let title = format!("{:.0}/s, {:.0} %", at.per_s, share * 100.0);
    let full = &at.predicted.full;
    let each: [(&str, Number, Option<f64>, Option<f64>); 4] = [
        ("mean", |load| load.mean_ns, full.mean_ns, Some(TARGET_MEAN)),
        ("P50", |load| load.p50_ns, full.p50_ns, None),
        ("P95", |load| load.p95_ns, full.p95_ns, Some(TARGET_P95)),
        ("P99", |load| load.p99_ns, full.p99_ns, None),
    ];
    for (name, of, predicted, target) in each {
        let Some(measured) = at.spread(of) else {
            continue;
        };
        let is_mean = name == "mean";
        let closed = |times: &Times| match times.mean_ns {
            Some(mean) if is_mean => ms(mean),
            _ => String::new(),
        };
        let interval = full.mean_interval95_ns.filter(|_| is_mean);
        let interval = interval.map_or_else(String::new, |[low, high]| {
            format!(" ({}–{})", ms(low), ms(high))
        });
        let _ = writeln!(
            page,
            "| {} | {name} | {} | {} | {}{interval} | {} | {} |",
            if is_mean { title.as_str() } else { "" },
            closed(&at.predicted.base),
            closed(&at.predicted.with_remote_invocation),
            predicted.map_or_else(|| "–".to_owned(), ms),
            spread(&measured, ms),
            predicted.map_or_else(String::new, |predicted| off(&measured, predicted)),
        );
        if let Some(target) = target {
            let what = format!("three tiers at {title}, {name}");
            judge(
                &what,
                predicted,
                full.reason.as_deref(),
                &measured,
                target,
                ms,
                missed,
            );
        }
    }
    let kept_up = at
        .runs
        .iter()
        .all(|load| load.unsent < 0.001 * load.count && load.late < 0.01 * load.count);
    if !kept_up {
        missed.push(format!(
            "three tiers at {title}: the generator was late with more than one in a hundred requests, or did not send all: what it measured is \
             not all the service's doing"
        ));
    }
}

/// What is missed, if anything is.
fn judge(
    what: &str,
    predicted: Option<f64>,
    reason: Option<&str>,
    measured: &Spread,
    target: f64,
    shown: fn(f64) -> String,
    missed: &mut Vec<String>,
) {
    let Some(predicted) = predicted else {
        missed.push(format!(
            "{what}: nothing is predicted: {}",
            reason.unwrap_or("no reason is given")
        ));
        return;
    };
    if measured.off(predicted).abs() > target {
        let half = (measured.greatest - measured.least) / 2.0 / measured.mean;
        let inside = if measured.holds(predicted) {
            ", but no farther than single measurements are"
        } else {
            ""
        };
        missed.push(format!(
            "{what}: {} predicted, {} measured, off by {}; the target is {:.0} %, and measurements scatter by ± {:.1} %{inside}",
            shown(predicted),
            shown(measured.mean),
            percent(measured.off(predicted)),
            target * 100.0,
            half * 100.0,
        ));
    }
}

/// That there is no prediction, and why.
fn nothing(most: &Most, what: &str) -> String {
    match &most.unknown {
        Some(why) => format!("{what} ({why})"),
        None => what.to_owned(),
    }
}

fn saturation_line(most: &Most, what: &str, has_target: bool, missed: &mut Vec<String>) -> String {
    let Some(real) = most.real() else {
        return String::new();
    };
    let Some(predicted) = &most.predicted else {
        missed.push(format!(
            "{what}: {}",
            nothing(most, "no saturation is predicted")
        ));
        return format!(
            "Saturation: none predicted, {} measured.\n",
            spread(&real, per_s)
        );
    };
    if has_target {
        let name = format!("{what}, saturation");
        judge(
            &name,
            Some(predicted.rate_per_s),
            None,
            &real,
            TARGET_SATURATION,
            per_s,
            missed,
        );
    }
    format!(
        "Saturation: {}{} predicted, of {}; {} measured: {}.\n",
        per_s(predicted.rate_per_s),
        predicted
            .interval95
            .map_or_else(String::new, |[low, high]| format!(" ({low:.0}–{high:.0})")),
        predicted.resource,
        spread(&real, per_s),
        off(&real, predicted.rate_per_s),
    )
}

fn bounds(all: &[(&'static str, Outcome<Bound>)], missed: &mut Vec<String>) -> String {
    let mut page = format!(
        "\n## What a service runs out of\n\nEach of these services has one bound. Times are those at {:.0} % of the real saturation.\n\n\
         | service | named | right | predicted | measured | off | mean, base | full | measured | P95, full | measured |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
        BOUND_SHARE * 100.0
    );
    let mut notes = String::new();
    for (name, outcome) in all {
        if let Some(why) = without(outcome, &format!("the service bound by its {name}"), missed) {
            let _ = writeln!(page, "| {name} |  |  |  |  |  |  |  |  |  |  |");
            let _ = write!(notes, "\n{name}: {why}");
        }
        let Outcome::Done(bound) = outcome else {
            continue;
        };
        let named = bound.most.predicted.as_ref();
        let real = bound.most.real();
        let number = |of: Number, shown: fn(f64) -> String| {
            bound
                .at
                .spread(of)
                .map_or_else(String::new, |measured| spread(&measured, shown))
        };
        let times = &bound.at.predicted;
        let _ = writeln!(
            page,
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            named.map_or("nothing", |named| named.resource.as_str()),
            if bound.is_named() { "yes" } else { "no" },
            named.map_or_else(String::new, |named| per_s(named.rate_per_s)),
            real.map_or_else(String::new, |real| spread(&real, per_s)),
            real.zip(named)
                .map_or_else(String::new, |(real, named)| off(&real, named.rate_per_s)),
            times.base.mean_ns.map_or_else(|| "–".to_owned(), ms),
            times.full.mean_ns.map_or_else(|| "–".to_owned(), ms),
            number(|load| load.mean_ns, ms),
            times.full.p95_ns.map_or_else(|| "–".to_owned(), ms),
            number(|load| load.p95_ns, ms),
        );
        let _ = writeln!(notes, "\n{name}: {}.", bound.note);
        if !bound.is_named() {
            let said = named.map_or_else(
                || nothing(&bound.most, "nothing is named"),
                |named| {
                    format!(
                        "{} of {} is named",
                        named.resource,
                        named.component.as_deref().unwrap_or("the node")
                    )
                },
            );
            missed.push(format!(
                "the service bound by its {name}: {said}, and not {}",
                bound.expected
            ));
        }
    }
    page + &notes
}

fn placed(outcome: &Outcome<[Placed; 2]>, missed: &mut Vec<String>) -> String {
    let mut page = format!(
        "\n## Which placement is better\n\nThe same three tiers, recorded on one CPU, on two: each CPU is a node. The load and all else share \
         the CPU that web is on. Times are those at {:.0} % of the lower of the two real saturations.\n\n",
        PLACED_SHARE * 100.0
    );
    if let Some(why) = without(outcome, "placement", missed) {
        return page + &why;
    }
    let Outcome::Done(two) = outcome else {
        return page;
    };
    page += "| placement | saturation predicted | measured | off | mean predicted (full) | measured | off |\n|---|---|---|---|---|---|---|\n";
    for placed in two {
        let predicted = placed.most.predicted.as_ref().map(|most| most.rate_per_s);
        let real = placed.most.real();
        let mean = placed.at.predicted.full.mean_ns;
        let measured = placed.at.spread(|load| load.mean_ns);
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} |",
            placed.what,
            predicted.map_or_else(|| "–".to_owned(), per_s),
            real.map_or_else(String::new, |real| spread(&real, per_s)),
            real.zip(predicted)
                .map_or_else(String::new, |(real, predicted)| off(&real, predicted)),
            mean.map_or_else(|| "–".to_owned(), ms),
            measured.map_or_else(String::new, |measured| spread(&measured, ms)),
            measured
                .zip(mean)
                .map_or_else(String::new, |(measured, mean)| off(&measured, mean)),
        );
    }
    let saturation = [
        better(
            two.each_ref()
                .map(|placed| Some(placed.most.predicted.as_ref()?.rate_per_s)),
        ),
        better(two.each_ref().map(|placed| Some(placed.most.real()?.mean))),
    ];
    let time = [
        better(
            two.each_ref()
                .map(|placed| placed.at.predicted.full.mean_ns.map(|ns| -ns)),
        ),
        better(
            two.each_ref()
                .map(|placed| Some(-placed.at.spread(|load| load.mean_ns)?.mean)),
        ),
    ];
    page += "\n";
    for (what, [predicted, real]) in [("throughput", saturation), ("the mean time", time)] {
        let name = |number: Option<usize>| {
            number
                .and_then(|number| two.get(number))
                .map(|placed| placed.what)
        };
        let sentence = match (name(predicted), name(real)) {
            (Some(predicted), Some(real)) if predicted == real => {
                format!("By {what}, {predicted} is predicted to be better, and is.")
            }
            (Some(predicted), Some(real)) => {
                missed.push(format!(
                    "placement: by {what}, {predicted} is predicted to be better, and {real} is"
                ));
                format!("By {what}, {predicted} is predicted to be better, and {real} is.")
            }
            _ => {
                missed.push(format!(
                    "placement: by {what}, which is better is not predicted for both"
                ));
                format!("By {what} there is no prediction of both.")
            }
        };
        let _ = writeln!(page, "{sentence}");
    }
    page
}

fn spread(spread: &Spread, shown: fn(f64) -> String) -> String {
    match spread.count {
        1 => shown(spread.mean),
        _ => format!(
            "{} ({}–{})",
            shown(spread.mean),
            shown(spread.least),
            shown(spread.greatest)
        ),
    }
}

fn off(measured: &Spread, predicted: f64) -> String {
    percent(measured.off(predicted))
}

fn percent(share: f64) -> String {
    format!("{:+.1} %", share * 100.0)
}

fn ms(ns: f64) -> String {
    format!("{:.2} ms", ns / 1e6)
}

fn us(ns: f64) -> String {
    format!("{:.0} µs", ns / 1e3)
}

fn per_s(rate: f64) -> String {
    format!("{rate:.0}/s")
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
