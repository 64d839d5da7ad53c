//! Scale: how throughput grows with cores or workers, what is lost, and why.
//!
//! In: a [`Study`]: runs at several sizes. Out: a [`Scaling`], or why nothing can be told. Must not know: files, how runs came
//! about, how anything is shown.

mod causes;
mod events;
mod identity;
mod inflation;
mod karp_flatt;
mod loss;
pub mod makespan;
mod measured;
mod points;
mod stats;
mod steady;
#[cfg(test)]
mod tests;
pub mod usl;
#[cfg(test)]
mod waits_tests;

use std::{collections::BTreeSet, fmt};

use courtside_core::{
    model::{
        scaling::{SCALING_SCHEMA, Scaling, ScalingKind, TaskUnit},
        visible::visible,
    },
    units::{count, percent, ratio},
};

use causes::Search;
use loss::Loss;

pub use events::{Counts, Event, Used};
pub use karp_flatt::serial_fraction;
pub use measured::{Command, Run};
pub use stats::Series;
pub use steady::{EntryId, Scout, Steady, Whole};

/// Runs at one size.
#[derive(Clone, Debug, Default)]
pub struct Size {
    /// The size.
    pub n: u32,
    /// Cores that it could use.
    pub cores: Option<u32>,
    /// Workers that it was told to use.
    pub workers: Option<u32>,
    /// The recording; of several runs, of one of them; empty if none is kept.
    pub file: String,
    /// What was measured, once or more often.
    pub runs: Vec<Run>,
}

/// What a command is said to consist of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tasks {
    /// Equal tasks of one run; where the work grows with the size, for each worker.
    pub each: u64,
    /// What one takes by itself; if it is not given, what it takes at the smallest size.
    pub task_ns: Option<f64>,
}

/// All that was measured.
#[derive(Clone, Debug, Default)]
pub struct Study {
    /// How the work grows.
    pub kind: ScalingKind,
    /// What a task is.
    pub unit: TaskUnit,
    /// Where the requests enter.
    pub entry: Option<EntryId>,
    /// What a command consists of, if it was said.
    pub tasks: Option<Tasks>,
    /// The sizes, in any order.
    pub sizes: Vec<Size>,
}

impl Study {
    /// How many tasks a run of the command does at a size.
    #[must_use]
    pub fn tasks_at(&self, n: u32) -> u64 {
        let each = self.tasks.map_or(1, |tasks| tasks.each.max(1));
        match self.kind {
            ScalingKind::Strong => each,
            ScalingKind::Weak => each.saturating_mul(u64::from(n)),
        }
    }
}

/// Why nothing can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CannotTell {
    /// There is only one size, or none.
    TooFewSizes {
        /// How many there are.
        sizes: usize,
    },
    /// Two recordings are of one size.
    SameSize {
        /// The size.
        n: u32,
        /// Both files.
        files: [String; 2],
    },
    /// A recording in which no request came in.
    Nothing {
        /// Its file.
        file: String,
    },
    /// Requests enter elsewhere than in the other recordings.
    DifferentEntries {
        /// One file and its entry.
        a: (String, EntryId),
        /// The other.
        b: (String, EntryId),
    },
    /// Hardly any request came in.
    TooFewRequests {
        /// The file.
        file: String,
        /// Where they enter.
        entry: EntryId,
        /// How many there were.
        requests: u64,
    },
    /// Several requests were open at once on a connection, so that nobody can count them.
    Interleaved {
        /// The file.
        file: String,
        /// Where they enter.
        entry: EntryId,
    },
    /// The entry belongs to a service that the command did not start, so that it had all CPUs at every size.
    NotOfCommand {
        /// The entry.
        entry: EntryId,
    },
    /// A run took no time or did nothing.
    NoThroughput {
        /// The size.
        n: u32,
    },
}

impl fmt::Display for CannotTell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot tell because ")?;
        match self {
            Self::TooFewSizes { sizes } => {
                let has = match sizes {
                    0 => "there is no size",
                    _ => "there is one size only",
                };
                write!(
                    f,
                    "{has}, and scaling is between two or more; measure others with: courtside scale run --cores 1,2,4 -- COMMAND"
                )
            }
            Self::SameSize { n, files: [a, b] } => {
                let (a, b) = (visible(a), visible(b));
                match a.is_empty() && b.is_empty() {
                    true => write!(
                        f,
                        "{n} is given twice; name each size once, and measure it more often with --repeat"
                    ),
                    false => write!(
                        f,
                        "{a} and {b} are both of {n}; where they are not, say so, as in: courtside scale --at 1={a} --at 2={b}"
                    ),
                }
            }
            Self::Nothing { file } => write!(
                f,
                "no request came in anywhere in {}; record while it is under load: courtside record -d 30s -o FILE",
                visible(file)
            ),
            Self::DifferentEntries { a, b } => write!(
                f,
                "most requests of {} enter at {}, and those of {} at {}; choose one of them, as in: --entry {}",
                visible(&a.0),
                a.1,
                visible(&b.0),
                b.1,
                a.1
            ),
            Self::TooFewRequests {
                file,
                entry,
                requests,
            } => write!(
                f,
                "{} has {} requests at {entry}, too few for a rate; record under load, and for longer: courtside record -d 60s -o FILE",
                visible(file),
                count(*requests)
            ),
            Self::Interleaved { file, entry } => write!(
                f,
                "several requests were open at once on connections to {entry} in {}, so that nobody can count them; choose another entry with --entry, or let the load generator wait for each answer",
                visible(file)
            ),
            Self::NotOfCommand { entry } => write!(
                f,
                "{entry} is no process that the command started, so that it had all CPUs at every size; start the service in the command, or limit it yourself and use: courtside scale --at N=FILE"
            ),
            Self::NoThroughput { n } => write!(f, "nothing was done at {n}; measure for longer"),
        }
    }
}

impl std::error::Error for CannotTell {}

/// Refuses sizes that are too few or given twice.
///
/// # Errors
/// They are.
pub fn check_sizes<'a>(sizes: impl IntoIterator<Item = (u32, &'a str)>) -> Result<(), CannotTell> {
    let mut seen: Vec<(u32, &str)> = Vec::new();
    for (n, file) in sizes {
        if let Some((_, other)) = seen.iter().find(|(known, _)| *known == n) {
            let files = [(*other).to_owned(), file.to_owned()];
            return Err(CannotTell::SameSize { n, files });
        }
        seen.push((n, file));
    }
    match seen.len() {
        sizes @ 0..2 => Err(CannotTell::TooFewSizes { sizes }),
        _ => Ok(()),
    }
}

/// Refuses recordings whose requests enter at different places; says where those of all do.
///
/// # Errors
/// They do, or there are none.
pub fn common_entry(
    busiest: impl IntoIterator<Item = (String, Option<EntryId>)>,
) -> Result<EntryId, CannotTell> {
    let mut common: Option<(String, EntryId)> = None;
    for (file, entry) in busiest {
        let Some(entry) = entry else {
            return Err(CannotTell::Nothing { file });
        };
        match &common {
            Some(known) if known.1 != entry => {
                return Err(CannotTell::DifferentEntries {
                    a: known.clone(),
                    b: (file, entry),
                });
            }
            Some(_) => {}
            None => common = Some((file, entry)),
        }
    }
    let (_, entry) = common.ok_or(CannotTell::TooFewSizes { sizes: 0 })?;
    Ok(entry)
}

/// How it scales.
///
/// # Errors
/// That cannot be told.
pub fn study(mut study: Study) -> Result<Scaling, CannotTell> {
    check_sizes(study.sizes.iter().map(|size| (size.n, size.file.as_str())))?;
    study.sizes.sort_by_key(|size| size.n);
    for size in &study.sizes {
        let sound = |run: &Run| run.tasks > 0 && run.wall_ns > 0.0 && run.wall_ns.is_finite();
        if size.n == 0 || size.runs.is_empty() || !size.runs.iter().all(sound) {
            return Err(CannotTell::NoThroughput { n: size.n });
        }
    }
    let typical: Vec<(u32, &Run)> = study
        .sizes
        .iter()
        .filter_map(|size| Some((size.n, points::typical(&size.runs)?)))
        .collect();
    let (Some(base), Some(largest)) = (typical.first().copied(), typical.last().copied()) else {
        return Err(CannotTell::TooFewSizes { sizes: 0 });
    };
    let points = points::points(&study, base);
    let fitted: Vec<(f64, f64)> = study
        .sizes
        .iter()
        .flat_map(|size| size.runs.iter().map(|run| (size.n, run)))
        .map(|(n, run)| (f64::from(n), run.throughput_per_s()))
        .collect();
    let (usl, usl_unknown) = match usl::fit(&fitted) {
        Ok(usl) => (Some(usl), None),
        Err(why) => (None, Some(why)),
    };
    let above: Vec<(u32, &Run)> = typical.iter().skip(1).copied().collect();
    let karp_flatt = above.iter().filter_map(|(n, run)| {
        let speedup = run.throughput_per_s() / base.1.throughput_per_s();
        let fraction = serial_fraction(speedup, f64::from(*n) / f64::from(base.0))?;
        Some((*n, fraction))
    });
    let losses = above.iter().map(|at| Loss::of(base, *at));
    let mut search = Search {
        loss: Loss::of(base, largest),
        unit: study.unit,
        sure: sure(&study),
        causes: Vec::new(),
        needed: Vec::new(),
    };
    search.look();
    Ok(Scaling {
        schema: SCALING_SCHEMA.to_owned(),
        kind: study.kind,
        unit: study.unit,
        entry: study.entry.as_ref().map(|id| match id.port {
            0 => id.component.clone(),
            port => format!("{}:{port}", id.component),
        }),
        base_n: base.0,
        says: says(&search.loss),
        points,
        identity: typical
            .iter()
            .map(|at| identity::identity(base, *at))
            .collect(),
        usl,
        usl_unknown,
        karp_flatt: karp_flatt.collect(),
        inflation: losses
            .flat_map(|loss| inflation::inflation(&loss))
            .collect(),
        causes: search.causes,
        needed: search.needed,
        notes: notes(&study, base.0),
    })
}

/// How sure anything is that rests on so many tasks or windows, of which so many were lost: a mean of n things that scatter
/// as widely as they are large is known to 1/√n.
fn sure(study: &Study) -> f64 {
    let runs = || study.sizes.iter().flat_map(|size| &size.runs);
    let of_size = |size: &Size| -> u64 {
        let things = |run: &Run| run.tasks.max(run.windows);
        size.runs.iter().map(things).fold(0, u64::saturating_add)
    };
    let least = study.sizes.iter().map(of_size).min().unwrap_or(0);
    let lost = runs().map(|run| run.lost).fold(0, u64::saturating_add);
    let done = runs().map(|run| run.tasks).fold(0, u64::saturating_add);
    let kept = done.max(1) as f64 / (done.max(1) as f64 + lost as f64);
    (1.0 - 1.0 / (least.saturating_add(1) as f64).sqrt()) * kept
}

/// The result in one or two sentences.
fn says(loss: &Loss<'_>) -> String {
    let (n, base_n) = (loss.n, loss.base_n);
    let speedup = loss.run.throughput_per_s() / loss.base.throughput_per_s();
    let times = f64::from(n) / f64::from(base_n);
    let first = format!(
        "At {n} it does {} times what it does at {base_n}, {} of the ideal",
        ratio(Some(speedup)),
        percent(speedup / times)
    );
    let shares = loss
        .share(loss.cpu_ns)
        .zip(loss.share(loss.idle_ns))
        .filter(|_| loss.of_all() > 0.01);
    match shares {
        Some((cpu, idle)) if cpu > 0.0 && idle > 0.0 => format!(
            "{first}. Of what is lost, {} is more CPU time for each task, and {} is time in which cores were not busy with it.",
            percent(cpu),
            percent(idle)
        ),
        Some((cpu, idle)) if idle > 0.0 => format!(
            "{first}. All that is lost is time in which cores were not busy with it; the CPU time for each task is {}.",
            if cpu < 0.0 { "less" } else { "the same" }
        ),
        Some(_) => format!(
            "{first}. All that is lost is more CPU time for each task; cores were as busy as at {base_n}, or busier."
        ),
        None => format!("{first}."),
    }
}

/// What limits the answer.
fn notes(study: &Study, base_n: u32) -> Vec<String> {
    let mut notes = Vec::new();
    if base_n != 1 {
        notes.push(format!(
            "There is no measurement at 1: {base_n} counts as ideal, and speed-up is relative to it."
        ));
    }
    if study.unit == TaskUnit::Requests {
        notes.push(
            "Throughput is what was asked for and answered; it is the most that can be done only if the load generator always had more to ask.".to_owned(),
        );
    }
    let runs = || study.sizes.iter().flat_map(|size| &size.runs);
    let hosts: BTreeSet<_> = runs().map(|run| &run.host).collect();
    if hosts.len() > 1 {
        notes.push(
            "The recordings are not of the same host, kernel and number of CPUs: what differs may be the machine, its cache among them, and not the size.".to_owned(),
        );
    }
    let counted = study.sizes.iter();
    let counted = counted.filter_map(|size| points::typical(&size.runs));
    let said: BTreeSet<&String> = counted.flat_map(|run| &run.notes).collect();
    notes.extend(said.into_iter().cloned());
    notes
}
