//! `fleet antagonists`: who slows a job most, over all hosts.
//!
//! In: windows of all hosts, what is usual. Out: pairs of a job and a suspect, the worst first. Must not know: how a window is
//! judged: each host is judged as `guard replay` does.

use std::collections::{BTreeMap, BTreeSet};

use courtside_analysis::guard::{Guard, GuardOptions, Mode, Ranking};
use courtside_core::model::interference::{Aggression, DecidedBy};
use serde::Serialize;

use crate::{
    answer::{Answer, Lines, Of},
    args::{AntagonistsArgs, ModeArg},
    engine::Engine,
    glob::Globs,
    guarded::Windows,
    map::duration,
    progress, specs,
};

/// Name and version of the answer's schema.
const SCHEMA: &str = "courtside.fleet.antagonists/1";
/// Hosts that are named of each pair.
const HOSTS_NAMED: usize = 20;

pub(crate) async fn run(args: &AntagonistsArgs) -> anyhow::Result<()> {
    let watched = Globs::new(&args.job)?;
    let mut engine = Engine::open(&args.source)?;
    let (spec, learned_from) = match &args.spec {
        Some(path) => (specs::read(path)?, path.display().to_string()),
        None => {
            let watched = |job: &str| watched.fits(job);
            let min = args.min_samples;
            let spec = specs::learn(&mut engine, &args.time, &watched, &[], min).await?;
            (spec, SAME_WINDOWS.to_owned())
        }
    };
    let options = GuardOptions {
        mode: match args.mode {
            ModeArg::Courtside => Mode::Courtside,
            ModeArg::Paper => Mode::Paper,
        },
        min_samples: args.min_samples,
    };
    let mut all: BTreeMap<(String, String), Pair> = BTreeMap::new();
    let (mut windows, mut left_out) = (0u64, 0u64);
    let hosts: Vec<String> = engine
        .tree()
        .hours()
        .keys()
        .map(|host| (*host).to_owned())
        .collect();
    for (number, host) in hosts.iter().enumerate() {
        progress::hosts("judged", number, hosts.len());
        let mut guard = Guard::new(options, Some(spec.clone()));
        let mut ranking = Ranking::default();
        let mut of_host = Windows::of(&mut engine, host, &args.time).await?;
        while let Some(window) = of_host.next().await? {
            guard.window(window.clone(), &|job| watched.fits(job));
            ranking.window(&guard, &window);
        }
        windows = windows.saturating_add(ranking.windows());
        left_out = left_out.saturating_add(ranking.left_out());
        for found in ranking.worst() {
            let key = (found.victim.clone(), found.component.clone());
            all.entry(key).or_default().add(host, &found);
        }
    }
    progress::end();
    let mut antagonists: Vec<Antagonist> = all.into_iter().map(Antagonist::of).collect();
    antagonists.sort_by(|a, b| {
        (b.first, b.windows)
            .cmp(&(a.first, a.windows))
            .then_with(|| b.score.total_cmp(&a.score))
            .then_with(|| (&a.job, &a.suspect).cmp(&(&b.job, &b.suspect)))
    });
    let answer = Answer {
        of: Of::new(SCHEMA, &engine),
        says: Found {
            windows,
            learned_from,
            left_out,
            antagonists,
        },
    };
    answer.write(&args.output)
}

/// What was usual is of the windows that are judged.
const SAME_WINDOWS: &str = "the same windows";

/// A job and a suspect, over hosts.
#[derive(Debug, Default)]
struct Pair {
    hosts: BTreeSet<String>,
    first: u64,
    windows: u64,
    slow_windows: u64,
    score: f64,
    decided_by: DecidedBy,
    waited_ns: Option<u64>,
}

impl Pair {
    fn add(&mut self, host: &str, found: &Aggression) {
        if self.hosts.is_empty() || found.score > self.score {
            (self.score, self.decided_by) = (found.score, found.decided_by);
        }
        self.hosts.insert(host.to_owned());
        for (sum, more) in [
            (&mut self.first, found.first),
            (&mut self.windows, found.windows),
            (&mut self.slow_windows, found.slow_windows),
        ] {
            *sum = sum.saturating_add(more);
        }
        if let Some(ns) = found.waited_ns {
            self.waited_ns = Some(self.waited_ns.unwrap_or(0).saturating_add(ns));
        }
    }
}

#[derive(Debug, Serialize)]
struct Antagonist {
    /// Component id of who is slowed.
    job: String,
    /// Component id of who may do it.
    suspect: String,
    /// Hosts on which it was suspected, and their names, the first twenty.
    hosts: usize,
    host_names: Vec<String>,
    /// Windows in which it was the first suspect, and one at all.
    first: u64,
    windows: u64,
    /// Windows of these hosts in which the job was slow, and not by itself.
    slow_windows: u64,
    /// Its highest score, and what that rests on.
    score: f64,
    decided_by: &'static str,
    /// How long the job's threads were runnable in these windows while it had their CPU; null where that was not recorded.
    waited_ns: Option<u64>,
}

impl Antagonist {
    fn of(((job, suspect), pair): ((String, String), Pair)) -> Self {
        Self {
            job,
            suspect,
            hosts: pair.hosts.len(),
            host_names: pair.hosts.into_iter().take(HOSTS_NAMED).collect(),
            first: pair.first,
            windows: pair.windows,
            slow_windows: pair.slow_windows,
            score: pair.score,
            decided_by: pair.decided_by.name(),
            waited_ns: pair.waited_ns,
        }
    }
}

#[derive(Debug, Serialize)]
struct Found {
    /// Windows that were judged, of all hosts.
    windows: u64,
    /// What is usual was learned from this.
    learned_from: String,
    /// How often a pair was left out, as there were too many on a host.
    left_out: u64,
    antagonists: Vec<Antagonist>,
}

impl Lines for Found {
    fn columns(&self) -> Vec<(&'static str, bool)> {
        vec![
            ("SLOWED", false),
            ("MOST AGGRESSIVE", false),
            ("HOSTS", true),
            ("FIRST IN", true),
            ("NAMED IN", true),
            ("SLOW IN", true),
            ("HAD ITS CPU", true),
            ("BEST SCORE", true),
            ("BY", false),
        ]
    }

    fn lines(&self) -> Vec<Vec<String>> {
        let line = |found: &Antagonist| {
            vec![
                found.job.clone(),
                found.suspect.clone(),
                found.hosts.to_string(),
                found.first.to_string(),
                found.windows.to_string(),
                found.slow_windows.to_string(),
                found
                    .waited_ns
                    .map_or_else(|| "-".to_owned(), |ns| duration(ns as f64)),
                format!("{:.2}", found.score),
                found.decided_by.to_owned(),
            ]
        };
        self.antagonists.iter().map(line).collect()
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = vec![format!(
            "Of {} windows of all hosts: those in which it was the first suspect, was named at all, and in which the job was slow there.",
            self.windows
        )];
        if self.learned_from == SAME_WINDOWS {
            remarks.push(
                "What is usual was learned from the same windows; a spec of a quiet time says more: courtside fleet specs --to HOUR -F json -o usual.json"
                    .to_owned(),
            );
        }
        remarks
    }
}
