//! Who may have made an anomaly.
//!
//! In: what the service waited for in the windows that were too high, what everybody used. Out: suspects, the most likely
//! first. Must not know: what is done about them.
//!
//! Facts first: whom the scheduler gave the CPU to, or whose disk requests lay before. Without those: disk requests that were
//! under way meanwhile. Then what goes with the excess: by non-negative least squares over all suspects, which a neighbour
//! that is always busy does not win, and by the paper's correlation where those explain too little.

use std::collections::{BTreeMap, BTreeSet};

use courtside_core::model::interference::{DecidedBy, Signal, Suspect};

use super::{
    blame::{Blame, is_other},
    correlation::{CORRELATION_THRESHOLD, correlation, explained},
    detect::Mode,
    inputs::{Used, share},
    past::{Past, Use},
};

/// Suspects that are named, at most.
const MAX_SUSPECTS: usize = 10;
/// Less use than this, in CPUs or disk requests under way, slows nobody.
const MIN_USE: f64 = 0.01;
/// A suspect is at work in at least this share of the windows that were too high.
const MIN_PRESENCE: f64 = 0.5;
/// Of what it waited, at least this share is for others, or blame does not decide.
const MIN_FOREIGN: f64 = 0.25;
/// A suspect with less of the blame is not named.
const MIN_BLAME: f64 = 0.01;
/// Suspects explain at least this share of the excess together, or it is the correlation that decides.
const MIN_EXPLAINED: f64 = 0.5;
/// Who contributes less than this share of the greatest contribution is not named.
const MIN_OF_MOST: f64 = 0.1;
/// One who contributes more than this is no group.
const MOST_OF_GROUP: f64 = 0.7;
/// Suspects that are regressed on, the busiest.
const MAX_REGRESSED: usize = 24;
/// Windows without which nothing is correlated.
const MIN_WINDOWS: usize = 5;
/// For each other victim of the same suspect, where nothing decides but correlation; at most four count.
const PER_OTHER_VICTIM: f64 = 0.02;

/// What is asked.
pub(super) struct Question<'a> {
    pub mode: Mode,
    pub victim: &'a str,
    pub signal: Signal,
    /// What the victim used in the windows that were too high, together.
    pub during: &'a Used,
    /// Those windows, and their length together.
    pub numbers: &'a [u64],
    pub duration_ns: u64,
    /// Window and value of each sample that is remembered.
    pub values: &'a [(u64, f64)],
    /// What is usual.
    pub median: f64,
    /// What is too much.
    pub upper: f64,
}

/// Whose victims were slowed by whom.
#[derive(Debug, Default)]
pub(super) struct Named(BTreeMap<String, BTreeSet<String>>);

impl Named {
    const MOST: usize = 4096;

    pub(super) fn note(&mut self, suspect: &str, victim: &str) {
        if self.0.len() < Self::MOST || self.0.contains_key(suspect) {
            let victims = self.0.entry(suspect.to_owned()).or_default();
            if victims.len() < 16 {
                victims.insert(victim.to_owned());
            }
        }
    }

    fn others(&self, suspect: &str, victim: &str) -> usize {
        self.0
            .get(suspect)
            .map_or(0, |victims| victims.iter().filter(|v| *v != victim).count())
    }
}

/// Who may have made it.
pub(super) fn suspects(question: &Question<'_>, past: &Past, named: &Named) -> Vec<Suspect> {
    let ids = match question.mode {
        // The paper looks at everybody who did something in its ten minutes.
        Mode::Paper => {
            let numbers = question.values.iter().map(|(number, _)| *number);
            past.at_work(&numbers.collect::<Vec<u64>>())
        }
        Mode::Courtside => past.at_work(question.numbers),
    };
    let mut all: Vec<Suspect> = ids
        .into_iter()
        .filter(|id| is_other(id, question.victim))
        .map(|id| Suspect {
            component: id.to_owned(),
            correlation: correlated(question, past, id),
            ..Suspect::default()
        })
        .collect();
    let others = all.len();
    let blame = Blame::of(question.signal, question.during);
    let decided = match (&blame, question.mode) {
        (_, Mode::Paper) => by_correlation(question, &mut all, past, named),
        (Some(blame), _) if is_told(question, blame) => by_blame(question, &mut all, blame),
        // Requests of others may hold up its own without having been started before: the blame does not acquit them.
        _ if question.signal == Signal::BlockIoPerRequest => by_disk(question, &mut all, past),
        (Some(_), _) if question.signal != Signal::Service => Vec::new(),
        _ => by_use(question, &mut all, past, named),
    };
    let mut found = decided;
    found.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| a.component.cmp(&b.component))
    });
    // Somebody blamed may have done nothing else in the windows.
    let named_in_all = found.len();
    found.truncate(MAX_SUSPECTS);
    for (place, suspect) in found.iter_mut().enumerate() {
        let rest = others.max(named_in_all).saturating_sub(1);
        suspect.percentile =
            (rest > 0).then(|| 100.0 * rest.saturating_sub(place) as f64 / rest as f64);
    }
    found
}

/// Whether blame decides: most of it is known, and of a service time, that the waits are a good part of what is too much.
fn is_told(question: &Question<'_>, blame: &Blame) -> bool {
    let foreign = blame.foreign(question.victim);
    if question.signal != Signal::Service {
        return foreign >= MIN_FOREIGN;
    }
    let waited = foreign * blame.total_ns as f64 / question.during.requests.max(1) as f64;
    let (count, sum_ns) = question.during.timed;
    let value = share(sum_ns, count).unwrap_or(0.0);
    waited >= 0.5 * (value - question.median).max(0.0) && foreign >= MIN_FOREIGN
}

fn by_blame(question: &Question<'_>, all: &mut Vec<Suspect>, blame: &Blame) -> Vec<Suspect> {
    let mut found = std::mem::take(all);
    for id in blame.by.keys().filter(|id| is_other(id, question.victim)) {
        if !found.iter().any(|suspect| suspect.component == *id) {
            found.push(Suspect {
                component: id.clone(),
                ..Suspect::default()
            });
        }
    }
    for suspect in &mut found {
        let share_of = blame.share_of(&suspect.component);
        suspect.blamed_ns = Some(blame.by.get(&suspect.component).copied().unwrap_or(0));
        suspect.blamed_share = Some(share_of);
        suspect.score = share_of;
        suspect.decided_by = DecidedBy::Blame;
    }
    found.retain(|suspect| suspect.score >= MIN_BLAME);
    found
}

/// Whether it was at work in most of the windows, and with how much.
fn present(question: &Question<'_>, past: &Past, id: &str, of: fn(&Use) -> f64) -> Option<f64> {
    let uses: Vec<f64> = past
        .series(id, question.numbers.iter().copied())
        .map(|used| of(&used))
        .collect();
    let n = uses.len().max(1) as f64;
    let often = uses.iter().filter(|used| **used >= MIN_USE).count() as f64 / n;
    let mean = uses.iter().sum::<f64>() / n;
    (often >= MIN_PRESENCE && mean >= MIN_USE).then_some(mean)
}

/// The disk requests of others while it waited for its own.
fn by_disk(question: &Question<'_>, all: &mut Vec<Suspect>, past: &Past) -> Vec<Suspect> {
    let found = std::mem::take(all);
    let mut with_use: Vec<(f64, Suspect)> = found
        .into_iter()
        .filter_map(|suspect| {
            let mean = present(question, past, &suspect.component, |used| used.disk)?;
            // Who is not there when it is bad has not made it.
            (suspect.correlation? > 0.0).then_some((mean, suspect))
        })
        .collect();
    let total: f64 = with_use.iter().map(|(mean, _)| mean).sum();
    for (mean, suspect) in &mut with_use {
        suspect.score = *mean / total.max(f64::MIN_POSITIVE);
        suspect.exposure_ns = Some(exposure_ns(*mean, question));
        suspect.decided_by = DecidedBy::Exposure;
    }
    with_use.into_iter().map(|(_, suspect)| suspect).collect()
}

/// Time of its requests in those windows, and not more than the service waited.
fn exposure_ns(mean: f64, question: &Question<'_>) -> u64 {
    let under_way = (mean * question.duration_ns as f64) as u64;
    under_way.min(question.during.block_io_ns)
}

/// What goes with the excess.
fn by_use(
    question: &Question<'_>,
    all: &mut Vec<Suspect>,
    past: &Past,
    named: &Named,
) -> Vec<Suspect> {
    let mut found: Vec<(f64, Suspect)> = std::mem::take(all)
        .into_iter()
        .filter_map(|suspect| {
            let mean = present(question, past, &suspect.component, |used| used.cpu)?;
            Some((mean, suspect))
        })
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.truncate(MAX_REGRESSED);
    let mut found: Vec<Suspect> = found.into_iter().map(|(_, suspect)| suspect).collect();
    if question.values.len() >= MIN_WINDOWS && explain(question, &mut found, past) {
        return found;
    }
    by_correlation(question, &mut found, past, named)
}

/// By least squares; whether that explains enough.
fn explain(question: &Question<'_>, found: &mut Vec<Suspect>, past: &Past) -> bool {
    let excess: Vec<f64> = question
        .values
        .iter()
        .map(|(_, value)| {
            // Scatter below that is no excess, and who is always there would explain it.
            if *value > question.upper {
                value - question.median
            } else {
                0.0
            }
        })
        .collect();
    let uses: Vec<Vec<f64>> = found
        .iter()
        .map(|suspect| {
            let numbers = question.values.iter().map(|(number, _)| *number);
            let series = past.series(&suspect.component, numbers);
            series.map(|used| used.cpu).collect()
        })
        .collect();
    let told = explained(&excess, &uses);
    let total: f64 = told.contributions.iter().sum();
    if told.explained < MIN_EXPLAINED || total <= 0.0 {
        return false;
    }
    let shares: Vec<f64> = told.contributions.iter().map(|part| part / total).collect();
    let most = shares.iter().copied().fold(0.0, f64::max);
    let members = shares
        .iter()
        .filter(|share| **share >= MIN_OF_MOST * most)
        .count();
    let group = members > 1 && most <= MOST_OF_GROUP;
    for (suspect, share) in found.iter_mut().zip(shares) {
        suspect.group_share = Some(share);
        suspect.score = share * told.explained;
        suspect.decided_by = if group {
            DecidedBy::Group
        } else {
            DecidedBy::Correlation
        };
    }
    found.retain(|suspect| {
        suspect
            .group_share
            .is_some_and(|share| share >= MIN_OF_MOST * most)
    });
    true
}

fn by_correlation(
    question: &Question<'_>,
    all: &mut Vec<Suspect>,
    past: &Past,
    named: &Named,
) -> Vec<Suspect> {
    let mut found = std::mem::take(all);
    found.retain(|suspect| {
        suspect
            .correlation
            .is_some_and(|correlation| correlation >= CORRELATION_THRESHOLD)
    });
    if question.mode == Mode::Courtside {
        found.retain(|suspect| {
            present(question, past, &suspect.component, |used| used.cpu).is_some()
        });
    }
    for suspect in &mut found {
        let others = match question.mode {
            Mode::Paper => 0,
            Mode::Courtside => named.others(&suspect.component, question.victim).min(4),
        };
        let correlation = suspect.correlation.unwrap_or(0.0);
        suspect.score = (correlation + PER_OTHER_VICTIM * others as f64).min(1.0);
        suspect.decided_by = DecidedBy::Correlation;
    }
    found
}

fn correlated(question: &Question<'_>, past: &Past, id: &str) -> Option<f64> {
    let of = match question.signal {
        Signal::BlockIoPerRequest => |used: Use| used.disk,
        _ => |used: Use| used.cpu,
    };
    let numbers = question.values.iter().map(|(number, _)| *number);
    let values = question.values.iter().map(|(_, value)| *value);
    let least = match question.mode {
        Mode::Paper => 1,
        Mode::Courtside => MIN_WINDOWS,
    };
    let series = values.zip(past.series(id, numbers).map(of));
    (question.values.len() >= least).then(|| correlation(series, question.upper))
}

#[cfg(test)]
mod tests {
    use super::{super::inputs::Inputs, *};

    /// Windows in which each suspect used so many CPUs.
    fn past(uses: &[(&str, Vec<f64>)]) -> Past {
        let mut past = Past::new(1000);
        let windows = uses.first().map_or(0, |(_, series)| series.len());
        for number in 0..windows {
            let used = |cpu: f64| Used {
                cpu_ns: (cpu * 1e9) as u64,
                disk_ns: (cpu * 1e9) as u64,
                ..Used::default()
            };
            let components = uses
                .iter()
                .map(|(id, series)| ((*id).to_owned(), used(series[number])));
            let window = Inputs {
                duration_ns: 1_000_000_000,
                components: components.collect(),
                ..Inputs::default()
            };
            past.push(number as u64, &window);
        }
        past
    }

    fn ask(
        mode: Mode,
        signal: Signal,
        values: &[f64],
        upper: f64,
        during: &Used,
        past: &Past,
    ) -> Vec<Suspect> {
        let values: Vec<(u64, f64)> = (0..).zip(values.iter().copied()).collect();
        let numbers: Vec<u64> = values
            .iter()
            .filter(|(_, value)| *value > upper)
            .map(|(number, _)| *number)
            .collect();
        let question = Question {
            mode,
            victim: "victim",
            signal,
            during,
            numbers: &numbers,
            duration_ns: numbers.len() as u64 * 1_000_000_000,
            values: &values,
            median: upper / 2.0,
            upper,
        };
        suspects(&question, past, &Named::default())
    }

    /// Ten quiet windows, then five bad ones.
    fn step(quiet: f64, bad: f64) -> Vec<f64> {
        let mut values = vec![quiet; 10];
        values.extend([bad; 5]);
        values
    }

    #[test]
    fn who_had_the_cpu_is_first_whatever_goes_with_it() {
        let past = past(&[
            ("hog", step(0.1, 0.2)),
            ("bystander", step(0.0, 1.5)),
            ("victim", step(0.2, 0.2)),
        ]);
        let during = Used {
            requests: 500,
            run_queue_by: Some(vec![
                ("hog".to_owned(), 900),
                ("victim".to_owned(), 20),
                ("bystander".to_owned(), 30),
                ("unknown".to_owned(), 50),
            ]),
            ..Used::default()
        };
        let signal = Signal::RunQueuePerRequest;
        let found = ask(
            Mode::Courtside,
            signal,
            &step(1.0, 5.0),
            2.0,
            &during,
            &past,
        );
        let names: Vec<&str> = found.iter().map(|s| s.component.as_str()).collect();
        assert_eq!(names, ["hog", "bystander"]);
        assert_eq!(found[0].decided_by, DecidedBy::Blame);
        assert_eq!(found[0].blamed_ns, Some(900));
        assert_eq!(found[0].blamed_share, Some(0.9));
        assert_eq!(found[0].percentile, Some(100.0));
        // Where it waited for itself, nobody else is named.
        let own = Used {
            run_queue_by: Some(vec![("victim".to_owned(), 990), ("hog".to_owned(), 10)]),
            ..during
        };
        assert!(ask(Mode::Courtside, signal, &step(1.0, 5.0), 2.0, &own, &past).is_empty());
    }

    #[test]
    fn who_is_always_busy_is_first_by_the_papers_formula_and_not_by_least_squares() {
        let past = past(&[("always", vec![1.0; 15]), ("hog", step(0.02, 0.9))]);
        let values = step(1.0, 6.0);
        let idle = Used::default();
        let of = |mode, values: &[f64]| ask(mode, Signal::Cpi, values, 2.0, &idle, &past);
        let ours = of(Mode::Courtside, &values);
        assert_eq!(ours[0].component, "hog", "{ours:?}");
        assert_eq!(ours[0].decided_by, DecidedBy::Correlation);
        // The victim is bad all the time: the paper's formula gives the constant user one half and more.
        let bad = of(Mode::Paper, &[4.0; 15]);
        assert!(bad.iter().any(|s| s.component == "always"), "{bad:?}");
        assert!((bad[0].score - 0.5).abs() < 1e-9);
    }

    #[test]
    fn eight_who_each_hurt_little_are_a_group() {
        let hogs: Vec<String> = (0..8).map(|i| format!("hog{i}")).collect();
        let mut uses: Vec<(&str, Vec<f64>)> = hogs
            .iter()
            .map(|hog| (hog.as_str(), step(0.0, 0.05)))
            .collect();
        uses.push(("always", vec![0.8; 15]));
        let past = past(&uses);
        let idle = Used::default();
        let signal = Signal::RunQueuePerRequest;
        let found = ask(Mode::Courtside, signal, &step(1.0, 4.0), 2.0, &idle, &past);
        assert_eq!(found.len(), 8, "{found:?}");
        assert!(found.iter().all(|s| s.component.starts_with("hog")));
        assert!(found.iter().all(|s| s.decided_by == DecidedBy::Group));
    }

    #[test]
    fn the_papers_first_case_is_led_by_its_correlation_and_the_third_names_nobody() {
        // The batch job with 0.46 stands before those with 0.44 and 0.43.
        let values = step(1.0, 5.0);
        let past = past(&[
            ("batch", step(0.10, 1.0)),
            ("serving", step(0.11, 1.0)),
            ("other", step(0.12, 1.0)),
        ]);
        let idle = Used::default();
        let found = ask(Mode::Paper, Signal::Cpi, &values, 2.0, &idle, &past);
        let names: Vec<&str> = found.iter().map(|s| s.component.as_str()).collect();
        assert_eq!(names, ["batch", "serving", "other"]);
        assert!(found.windows(2).all(|w| w[0].score > w[1].score));
        // Best correlation 0.07: no action.
        let swings: Vec<f64> = (0..20)
            .map(|i| if i % 2 == 0 { 10.0 } else { 3.0 })
            .collect();
        let past = self::past(&[("steady", vec![0.5; 20])]);
        let found = ask(Mode::Paper, Signal::Cpi, &swings, 7.0, &idle, &past);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn who_was_hardly_there_is_no_suspect() {
        let mut brief = vec![0.0; 15];
        brief[14] = 1.0;
        let past = past(&[("brief", brief), ("tiny", step(0.0, 0.004))]);
        let idle = Used::default();
        let signal = Signal::RunQueuePerRequest;
        let found = ask(Mode::Courtside, signal, &step(1.0, 5.0), 2.0, &idle, &past);
        assert!(found.is_empty(), "{found:?}");
        // The paper would name both.
        assert_eq!(
            ask(Mode::Paper, signal, &step(1.0, 5.0), 2.0, &idle, &past).len(),
            2
        );
    }

    #[test]
    fn a_service_time_is_not_explained_by_waits_of_next_to_nothing() {
        let past = past(&[("hog", step(0.0, 0.9))]);
        let mut values = step(1.0, 5.0);
        // The last window is as usual again: that makes what was too much no smaller.
        values[14] = 1.0;
        let during = Used {
            requests: 500,
            timed: (500, 2500),
            run_queue_by: Some(vec![("hog".to_owned(), 100)]),
            queued_behind: Some(Vec::new()),
            ..Used::default()
        };
        let of = |during: &Used| {
            let signal = Signal::Service;
            let found = ask(Mode::Courtside, signal, &values, 2.0, during, &past);
            found.first().map(|first| first.decided_by)
        };
        assert_eq!(of(&during), Some(DecidedBy::Correlation));
        let during = Used {
            run_queue_by: Some(vec![("hog".to_owned(), 1500)]),
            ..during
        };
        assert_eq!(of(&during), Some(DecidedBy::Blame));
    }

    #[test]
    fn who_loads_the_disk_while_it_waits_is_exposed() {
        let past = past(&[("writer", step(0.0, 2.0)), ("reader", step(0.2, 0.2))]);
        let during = Used {
            block_io_ns: 1000,
            requests: 100,
            ..Used::default()
        };
        let signal = Signal::BlockIoPerRequest;
        let found = ask(
            Mode::Courtside,
            signal,
            &step(1.0, 5.0),
            2.0,
            &during,
            &past,
        );
        assert_eq!(found[0].component, "writer");
        assert_eq!(found[0].decided_by, DecidedBy::Exposure);
        assert_eq!(found[0].exposure_ns, Some(1000));
        assert!(found[0].score > 0.9);
        // Two of its requests under way in each of five seconds, of a hundred that were waited.
        let during = Used {
            block_io_ns: 100_000_000_000,
            ..during
        };
        let values = step(1.0, 5.0);
        let found = ask(Mode::Courtside, signal, &values, 2.0, &during, &past);
        assert_eq!(found[0].exposure_ns, Some(10_000_000_000));
    }
}
