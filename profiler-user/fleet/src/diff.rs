//! `fleet diff`: what differs between two sets of hosts, or two times.
//!
//! In: what services took for each request, by host and sixth of an hour. Out: how much more or less, and whether that is more
//! than hosts and times scatter by themselves. Must not know: which set has the new release.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use courtside_analysis::diff::{ALPHA, Pair, Ratio, chances, ratio};
use serde::Serialize;

use crate::{
    answer::{Answer, Lines, Of},
    args::DiffArgs,
    engine::Engine,
    glob::Globs,
    map::duration,
    rows::Rows,
};

/// Name and version of the answer's schema.
const SCHEMA: &str = "courtside.fleet.diff/1";
/// An hour is looked at in so many parts.
const PARTS: u64 = 6;
/// Fewer parts of hours of hosts on a side tell nothing.
const FEWEST: usize = 5;
/// More values than these on a side are put together, neighbours with neighbours.
const MOST: usize = 120;

/// The numbers that are compared: what is divided by what.
const METRICS: [(&str, &str, &str); 5] = [
    ("service_ns", "service_sum_ns", "service_count"),
    ("on_cpu_ns_per_request", "on_cpu_ns", "requests_served"),
    (
        "run_queue_ns_per_request",
        "run_queue_ns",
        "requests_served",
    ),
    ("block_io_ns_per_request", "block_io_ns", "requests_served"),
    ("cpi", "cycles", "instructions"),
];

/// Hosts, and a time.
#[derive(Debug)]
struct Side {
    hosts: Globs,
    from: Option<String>,
    to: Option<String>,
}

impl Side {
    /// `web*`, `web*,db1@20261130T00..20261130T06`.
    fn read(text: &str) -> anyhow::Result<Self> {
        let (hosts, time) = match text.split_once('@') {
            Some((hosts, time)) => (hosts, Some(time)),
            None => (text, None),
        };
        let patterns: Vec<&str> = hosts.split(',').filter(|host| !host.is_empty()).collect();
        let times = time
            .map(|time| {
                time.split_once("..")
                    .with_context(|| format!("{time} is no time: write HOUR..HOUR, as 20261130T00..20261130T06; either may be left out"))
            })
            .transpose()?;
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(Self {
            hosts: Globs::new(&patterns)?,
            from: times.and_then(|(from, _)| some(from)),
            to: times.and_then(|(_, to)| some(to)),
        })
    }

    fn holds(&self, host: &str, hour: &str) -> bool {
        let after = self.from.as_deref().is_none_or(|from| hour >= from);
        let before = self.to.as_deref().is_none_or(|to| hour <= to);
        after && before && self.hosts.fits(host)
    }
}

/// The question: sums for each part of an hour. A window's number says where in its hour it lies.
async fn sql(engine: &mut Engine) -> anyhow::Result<String> {
    let asked = r#"SELECT max("window") AS highest FROM windows"#;
    let mut last = 0;
    for batch in engine.rows(asked).await? {
        let most = Rows::of(&batch).sums("highest")?.into_iter().max();
        last = last.max(most.unwrap_or(0));
    }
    let windows = last.saturating_add(1);
    Ok(format!(
        r#"
SELECT host, hour, id, "window" * {PARTS} / {windows} AS part,
    sum(requests_served) AS requests_served, sum(service_count) AS service_count, sum(service_sum_ns) AS service_sum_ns,
    sum(on_cpu_ns) AS on_cpu_ns, sum(run_queue_ns) AS run_queue_ns, sum(block_io_ns) AS block_io_ns,
    sum(cycles) AS cycles, sum(instructions) AS instructions
FROM components WHERE kind <> 'remote'
GROUP BY host, hour, id, part
ORDER BY host, hour, part, id"#
    ))
}

/// What is divided, and by what, for each host and part of an hour.
type Values = Vec<(u64, u64)>;

#[derive(Debug, Default)]
struct Series {
    a: Values,
    b: Values,
}

pub(crate) async fn run(args: &DiffArgs) -> anyhow::Result<()> {
    let (a, b) = (Side::read(&args.a)?, Side::read(&args.b)?);
    let mut engine = Engine::open(&args.source)?;
    let mut series: BTreeMap<(String, usize), Series> = BTreeMap::new();
    let mut hosts = (BTreeSet::new(), BTreeSet::new());
    let sql = sql(&mut engine).await?;
    let mut asked = engine.ask(&sql).await?;
    while let Some(batch) = asked.next().await? {
        let rows = Rows::of(&batch);
        let (host, hour, id) = (rows.texts("host")?, rows.texts("hour")?, rows.texts("id")?);
        let sides: Vec<(bool, bool)> = host
            .iter()
            .zip(&hour)
            .map(|(host, hour)| (a.holds(host, hour), b.holds(host, hour)))
            .collect();
        for (host, (in_a, in_b)) in host.iter().zip(&sides) {
            if *in_a {
                hosts.0.insert(host.clone());
            }
            if *in_b {
                hosts.1.insert(host.clone());
            }
        }
        for (metric, (_, part, whole)) in METRICS.iter().enumerate() {
            let values = rows.counts(part)?.into_iter().zip(rows.counts(whole)?);
            let known = id.iter().zip(&sides).zip(values);
            for ((id, (in_a, in_b)), (part, whole)) in known {
                let Some(value) = part.zip(whole).filter(|(_, whole)| *whole > 0) else {
                    continue;
                };
                let of = series.entry((id.clone(), metric)).or_default();
                if *in_a {
                    of.a.push(value);
                }
                if *in_b {
                    of.b.push(value);
                }
            }
        }
    }
    drop(asked);
    for (name, text, hosts) in [("A", &args.a, &hosts.0), ("B", &args.b, &hosts.1)] {
        if hosts.is_empty() {
            let known: Vec<&str> = engine.tree().hours().keys().copied().take(8).collect();
            bail!(
                "{name}: no host and hour is {text}; there are hosts such as {}",
                known.join(", ")
            );
        }
    }
    let changes = changes(&series);
    let answer = Answer {
        of: Of::new(SCHEMA, &engine),
        says: Diff {
            a: args.a.clone(),
            b: args.b.clone(),
            a_hosts: hosts.0.len(),
            b_hosts: hosts.1.len(),
            compared: changes.len(),
            changes,
        },
    };
    answer.write(&args.output)
}

fn changes(series: &BTreeMap<(String, usize), Series>) -> Vec<Change> {
    let enough = |series: &Series| series.a.len() >= FEWEST && series.b.len() >= FEWEST;
    let kept: Vec<(&(String, usize), &Series)> =
        series.iter().filter(|(_, series)| enough(series)).collect();
    let pairs: Vec<Pair> = kept
        .iter()
        .map(|(_, series)| (values(&series.a), values(&series.b)))
        .collect();
    let chances = chances(&pairs);
    let all = kept.iter().zip(&pairs).zip(chances);
    let mut changes: Vec<Change> = all
        .map(|((((job, metric), series), (a, b)), p)| {
            let found = ratio(a, b);
            Change {
                job: job.clone(),
                metric: METRICS.get(*metric).map_or("", |(name, ..)| name),
                a: mean(&series.a),
                b: mean(&series.b),
                ratio: found.map(|found| found.ratio),
                interval95: found.map(|Ratio { interval95, .. }| interval95),
                p,
                changed: p < ALPHA,
                a_values: series.a.len(),
                b_values: series.b.len(),
            }
        })
        .collect();
    let size = |change: &Change| change.ratio.map_or(0.0, |ratio| ratio.ln().abs());
    changes.sort_by(|x, y| (y.changed.cmp(&x.changed)).then_with(|| size(y).total_cmp(&size(x))));
    changes
}

fn mean(values: &[(u64, u64)]) -> Option<f64> {
    let sum = |of: fn(&(u64, u64)) -> u64| values.iter().map(|value| of(value) as f64).sum::<f64>();
    let whole = sum(|(_, whole)| *whole);
    (whole > 0.0).then(|| sum(|(part, _)| *part) / whole)
}

/// One value for each host and part of an hour; of more than can be compared, neighbours as one.
fn values(values: &[(u64, u64)]) -> Vec<f64> {
    let together = values.len().div_ceil(MOST).max(1);
    let groups = values.chunks(together);
    groups.filter_map(mean).collect()
}

#[derive(Debug, Serialize)]
struct Change {
    /// Component id.
    job: String,
    /// Which number.
    metric: &'static str,
    /// Over all hosts and times of each side.
    a: Option<f64>,
    b: Option<f64>,
    /// Median of B over A, over all pairs of values, neighbours put together to 120 a side; and where it lies.
    ratio: Option<f64>,
    interval95: Option<[f64; 2]>,
    /// How likely chance makes a difference as great in any of the numbers compared.
    p: f64,
    /// It is less likely than one in a hundred.
    changed: bool,
    /// Values on each side: one for each host and sixth of an hour.
    a_values: usize,
    b_values: usize,
}

#[derive(Debug, Serialize)]
struct Diff {
    a: String,
    b: String,
    a_hosts: usize,
    b_hosts: usize,
    /// Numbers of jobs that both sides have five values of.
    compared: usize,
    changes: Vec<Change>,
}

impl Lines for Diff {
    fn columns(&self) -> Vec<(&'static str, bool)> {
        vec![
            ("JOB", false),
            ("NUMBER", false),
            ("A", true),
            ("B", true),
            ("B/A", true),
            ("95 %", false),
            ("p", true),
        ]
    }

    fn lines(&self) -> Vec<Vec<String>> {
        let changed = self.changes.iter().filter(|change| change.changed);
        changed.map(Change::line).collect()
    }

    fn remarks(&self) -> Vec<String> {
        let changed = self.changes.iter().filter(|change| change.changed).count();
        vec![format!(
            "{changed} of {} numbers differ by more than hosts and times scatter; A is {} hosts, B {}. All of them: -F json",
            self.compared, self.a_hosts, self.b_hosts
        )]
    }
}

impl Change {
    fn line(&self) -> Vec<String> {
        let show = |value: Option<f64>| match value {
            None => "-".to_owned(),
            Some(value) if self.metric.contains("ns") => duration(value),
            Some(value) => format!("{value:.2}"),
        };
        let ratio = |ratio: f64| format!("{ratio:.3}");
        vec![
            self.job.clone(),
            self.metric.to_owned(),
            show(self.a),
            show(self.b),
            self.ratio.map_or_else(|| "-".to_owned(), ratio),
            self.interval95.map_or_else(
                || "-".to_owned(),
                |[low, high]| format!("{low:.3}..{high:.3}"),
            ),
            format!("{:.1e}", self.p),
        ]
    }
}
