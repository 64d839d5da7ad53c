//! `scale run`: a command at several sizes, each measured.
//!
//! In: a command, and numbers of cores and workers. Out: the study of its runs. Must not know: what a loss is made of.
//!
//! Privileges are given up as soon as the last run has been started: a command gets those that we were started with, at every
//! size, as it does from `stat`.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::{CommandFactory, error::ErrorKind};
use courtside_agent::measure::{Kernel, Measurement};
use courtside_wire::{IMAGE_FORKED, IMAGE_KERNEL, PEER_REMOTE};
use rustix::{
    process::Signal,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use tokio::process::Child;

use super::{kind, print, whole};
use crate::{
    analysis::scale::{self, CannotTell, Command, EntryId, Run, Scout, Size, Study, Tasks},
    cli::{
        args::{Cli, PageFormat, ScaleRunArgs, nanoseconds},
        output::Output,
        place::{Folder, Inputs, PRIVATE},
        record, report_probes, target,
        unused::Unused,
        wait::{self, WaitEnd, Waiter},
    },
    frame::Frame,
    model::{View, scaling::TaskUnit},
    record::{Limit, Recorded, Recording, Remarks, Writer},
    sys::{
        process::{ProcessRow, processes},
        throttle::Throttled,
        usage::children_ns,
    },
};

/// Length of a window; the first one is shorter, so that what ends soon is seen alive.
const INTERVAL: Duration = Duration::from_secs(1);
const FIRST: Duration = Duration::from_millis(100);

/// One size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    n: u32,
    cores: u32,
    workers: u32,
}

pub(super) fn run(args: &ScaleRunArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    let view = args.select.view();
    target::check(root, &view)?;
    let Some(steps) = steps(&args.cores, &args.workers) else {
        return wrong_usage(
            "--workers takes one number for each of --cores, or several for one number of cores",
        );
    };
    scale::check_sizes(steps.iter().map(|step| (step.n, "")))?;
    let allowed = Allowed::read()?;
    for step in &steps {
        allowed.first(step.cores)?;
    }
    let mut output = Output::open_for_later(
        &args.output.output,
        args.output.color,
        &Inputs::default(),
        root,
    )?;
    let keep = args.keep.as_deref().map(Folder::make).transpose()?;
    let waiter = Waiter::new().context("cannot receive signals")?;
    let measurement = kernel.attach(&args.measure.wishes())?;
    report_probes(measurement.probes(), args.measure.verbose);
    let format = args.output.format();
    let mut bench = Bench {
        args,
        root,
        view,
        waiter,
        measurement,
        allowed,
        keep,
        aside: format != PageFormat::Table && output.is_stdout(),
        seen: BTreeSet::new(),
        unused: Unused::new(&args.select.entry),
    };
    let mut study = Study {
        kind: kind(args.weak),
        unit: match args.select.entry.is_empty() {
            true => TaskUnit::Commands,
            false => TaskUnit::Requests,
        },
        tasks: args.tasks.map(|each| Tasks {
            each,
            task_ns: args.task_time.map(|time| nanoseconds(time) as f64),
        }),
        ..Study::default()
    };
    let ran = bench.all(&steps, &study, kernel);
    bench.progress(None);
    let ran = ran?;
    bench.unused.report()?;
    drop(bench);
    if study.unit == TaskUnit::Requests {
        let entries = ran
            .iter()
            .map(|ran| (format!("the run at {}", ran.step.n), ran.entry.clone()));
        study.entry = Some(scale::common_entry(entries)?);
    }
    study.sizes = steps.iter().map(|step| size(*step, &ran)).collect();
    let found = scale::study(study)?;
    print(&found, &mut output, format)?;
    Ok(0)
}

/// All runs of a size together.
fn size(step: Step, ran: &[Ran]) -> Size {
    let runs: Vec<&Ran> = ran.iter().filter(|ran| ran.step == step).collect();
    let kept = runs.first().and_then(|ran| ran.kept.as_ref());
    Size {
        n: step.n,
        cores: Some(step.cores),
        workers: Some(step.workers),
        file: kept.map_or_else(String::new, |path| path.display().to_string()),
        runs: runs.into_iter().map(|ran| ran.run.clone()).collect(),
    }
}

/// The sizes: cores, or workers where the cores are the same. None if the two lists do not fit.
fn steps(cores: &[u32], workers: &[u32]) -> Option<Vec<Step>> {
    let step = |n, cores, workers| Step { n, cores, workers };
    match (cores, workers) {
        (cores, []) => Some(cores.iter().map(|&n| step(n, n, n)).collect()),
        ([cores], workers) => Some(workers.iter().map(|&n| step(n, *cores, n)).collect()),
        (cores, workers) if cores.len() == workers.len() => {
            let both = cores.iter().zip(workers);
            Some(both.map(|(&n, &workers)| step(n, n, workers)).collect())
        }
        _ => None,
    }
}

fn wrong_usage(what: &str) -> anyhow::Result<u8> {
    let mut command = Cli::command();
    command.build();
    let run = command
        .find_subcommand_mut("scale")
        .and_then(|scale| scale.find_subcommand_mut("run"));
    let error = run
        .context("there is no command scale run")?
        .error(ErrorKind::WrongNumberOfValues, what);
    // Nothing can be done about a terminal that does not take the message.
    let _ = error.print();
    Ok(2)
}

/// The command with the numbers of this size.
fn words(command: &[OsString], step: Step) -> Vec<OsString> {
    let put = |word: &OsString| match word.to_str() {
        Some(text) => OsString::from(
            text.replace("{workers}", &step.workers.to_string())
                .replace("{cores}", &step.cores.to_string()),
        ),
        None => word.clone(),
    };
    command.iter().map(put).collect()
}

/// The CPUs that this process may use.
struct Allowed {
    set: CpuSet,
    cpus: Vec<usize>,
}

impl Allowed {
    fn read() -> anyhow::Result<Self> {
        let set = sched_getaffinity(None).context("cannot tell which CPUs may be used")?;
        let cpus = (0..CpuSet::MAX_CPU)
            .filter(|&cpu| set.is_set(cpu))
            .collect();
        Ok(Self { set, cpus })
    }

    /// The first so many of them.
    fn first(&self, count: u32) -> anyhow::Result<CpuSet> {
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        ensure!(
            wanted <= self.cpus.len(),
            "{count} cores were asked for, and this process may use {}; see which with: taskset -cp $$",
            self.cpus.len()
        );
        let mut set = CpuSet::new();
        for &cpu in self.cpus.iter().take(wanted) {
            set.set(cpu);
        }
        Ok(set)
    }

    /// The same as a list, as other programs take it.
    fn list(&self, count: u32) -> String {
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        let cpus: Vec<String> = self
            .cpus
            .iter()
            .take(wanted)
            .map(usize::to_string)
            .collect();
        cpus.join(",")
    }
}

/// What a run left.
struct Ran {
    step: Step,
    entry: Option<EntryId>,
    kept: Option<PathBuf>,
    run: Run,
}

/// What all runs share.
struct Bench<'a> {
    args: &'a ScaleRunArgs,
    root: &'a Path,
    view: View,
    waiter: Waiter,
    measurement: Box<dyn Measurement>,
    allowed: Allowed,
    keep: Option<Folder>,
    /// What the command prints must not stand between the JSON or the page on stdout.
    aside: bool,
    /// Images that were there before the run.
    seen: BTreeSet<u32>,
    unused: Unused,
}

/// Nothing is damaged in what was written just now.
struct Silent;

impl Remarks for Silent {
    fn say(&self, _what: &str) {}
}

/// A recording of a run, and what belongs to the run in it.
struct Taken {
    recording: Recording,
    kept: Option<PathBuf>,
    command: Command,
    own: BTreeSet<u32>,
}

impl Bench<'_> {
    /// All sizes, up and down in turn.
    fn all(
        &mut self,
        steps: &[Step],
        study: &Study,
        kernel: &dyn Kernel,
    ) -> anyhow::Result<Vec<Ran>> {
        let rounds = self.args.repeat;
        let runs = steps.len() * rounds as usize;
        let mut ran = Vec::new();
        for round in 1..=rounds {
            let mut order = steps.to_vec();
            if round % 2 == 0 {
                order.reverse();
            }
            for step in order {
                let number = ran.len() + 1;
                self.progress(Some((number, runs, step)));
                let last = (number == runs).then_some(kernel);
                let taken = self.once(step, round, last)?;
                ran.push(self.look(step, taken, study)?);
            }
        }
        Ok(ran)
    }

    /// A line about what runs now, in place of the last one.
    fn progress(&self, now: Option<(usize, usize, Step)>) {
        let mut stderr = io::stderr();
        if !stderr.is_terminal() {
            return;
        }
        // A progress line that cannot be shown is no reason to stop.
        let _ = match now {
            Some((number, of, step)) => write!(
                stderr,
                "\r\x1b[Krun {number} of {of}: {} cores, {} workers; Ctrl-C ends it",
                step.cores, step.workers
            ),
            None => write!(stderr, "\r\x1b[K"),
        };
    }

    /// Runs the command once, and records what happens meanwhile.
    fn once(&mut self, step: Step, round: u32, last: Option<&dyn Kernel>) -> anyhow::Result<Taken> {
        let words = words(&self.args.command, step);
        let name = words.first().cloned().unwrap_or_default();
        let (file, kept) = self.file(step, round)?;
        let mut header = record::header(
            &self.args.select,
            INTERVAL,
            &words,
            self.measurement.probes(),
            self.root,
        );
        header.limit = Some(Limit {
            n: step.n,
            cores: step.cores,
            workers: step.workers,
        });
        let mut writer = Writer::new(file.try_clone()?, &header)?;
        let cpus = self.allowed.first(step.cores)?;
        // What happened before the run is no part of it.
        let before = self.measurement.window()?;
        self.seen.extend(before.images.iter().map(|image| image.id));
        let mut throttled = Throttled::begin(self.root);
        let accounted = children_ns(self.root);
        let started = Instant::now();
        let mut child = self
            .spawn_on(&cpus, &words)
            .with_context(|| format!("cannot run {}", name.display()))?;
        if let Some(kernel) = last {
            kernel.drop_privileges()?;
        }
        let mut own = Own::new(child.id());
        let watched = self.watch(&mut child, &mut writer, &mut own, &mut throttled);
        let wall = started.elapsed();
        if watched.is_err() {
            wait::send(&child, Signal::TERM);
            self.waiter.wait_for(&mut child)?;
        }
        let code = watched?;
        ensure!(
            code == 0,
            "{} ended with status {code} on {} cores, and a run that fails is no measurement; see why by itself: taskset -c {} {}",
            name.display(),
            step.cores,
            self.allowed.list(step.cores),
            name.display()
        );
        let frame = self.measurement.window()?;
        own.note(&frame, &self.seen);
        writer.frame(&frame)?;
        writer.finish()?;
        let accounted = children_ns(self.root)
            .zip(accounted)
            .map(|(after, before)| after.saturating_sub(before));
        let label = kept
            .clone()
            .unwrap_or_else(|| PathBuf::from(format!("the run at {}", step.n)));
        let taken = Taken {
            recording: Recording::from_source(&label, Box::new(file))?,
            kept,
            command: Command {
                wall_ns: nanoseconds(wall),
                accounted_ns: accounted,
                throttled_ns: throttled.end(),
            },
            own: own.images(),
        };
        self.seen.extend(&own.all);
        Ok(taken)
    }

    /// Starts the command on these CPUs: it inherits those of this thread, which gets its own back.
    fn spawn_on(&self, cpus: &CpuSet, words: &[OsString]) -> anyhow::Result<Child> {
        sched_setaffinity(None, cpus).context("cannot limit it to its cores")?;
        let child = self.waiter.spawn(words, self.aside);
        let restored = sched_setaffinity(None, &self.allowed.set);
        let child = child?;
        restored.context("cannot use all CPUs again")?;
        Ok(child)
    }

    /// Waits for its end, window by window; says its exit status.
    fn watch(
        &mut self,
        child: &mut Child,
        writer: &mut Writer,
        own: &mut Own,
        throttled: &mut Throttled,
    ) -> anyhow::Result<u8> {
        let mut next = Instant::now() + FIRST;
        loop {
            match self.waiter.until(Some(next), Some(&mut *child))? {
                WaitEnd::Ended(status) => return Ok(wait::exit_code(status)),
                WaitEnd::Signal => {
                    bail!("interrupted: nothing can be told from a part of the runs")
                }
                WaitEnd::Keep => {}
                WaitEnd::Time => {
                    let frame = self.measurement.window()?;
                    // Where the processes cannot be listed, all that began meanwhile counts.
                    own.learn(&processes(self.root).unwrap_or_default());
                    own.note(&frame, &self.seen);
                    writer.frame(&frame)?;
                    child.id().into_iter().for_each(|tgid| throttled.look(tgid));
                    next = Instant::now() + INTERVAL;
                }
            }
        }
    }

    /// Where a run is recorded: a file that is kept, or one without a name.
    fn file(&self, step: Step, round: u32) -> anyhow::Result<(File, Option<PathBuf>)> {
        let Some(folder) = &self.keep else {
            let file = tempfile::tempfile().context(
                "cannot make a file for the windows; name a folder with enough room with: TMPDIR=FOLDER",
            )?;
            return Ok((file, None));
        };
        let name = format!("{}-{round}.rec", step.n);
        let path = folder.path().join(&name);
        let file = folder
            .create_new(OsStr::new(&name), PRIVATE)
            .with_context(|| format!("cannot create {}", path.display()))?;
        folder.give_to_sudo_user(&file);
        Ok((file, Some(path)))
    }

    /// What a run says.
    fn look(&mut self, step: Step, taken: Taken, study: &Study) -> anyhow::Result<Ran> {
        let view = &self.view;
        let silent = Box::new(Silent);
        let recorded = Recorded::new(taken.recording, None, None, view.clone(), silent)?;
        let mut scout = Scout::default();
        recorded.pass(&mut [&mut scout, &mut self.unused])?;
        let own = Some(taken.own);
        let (entry, run) = match study.unit {
            TaskUnit::Requests => {
                let file = format!("the run at {}", step.n);
                let Some(entry) = scout.busiest() else {
                    return Err(CannotTell::Nothing { file }.into());
                };
                let whole = whole(&recorded, &scout, view, Some(&entry), own)?;
                let mut run = Run::of_requests(&file, &whole, &entry)?;
                run.say_throttled(&taken.command);
                (Some(entry), run)
            }
            TaskUnit::Commands => {
                let whole = whole(&recorded, &scout, view, None, own)?;
                let tasks = study.tasks_at(step.n);
                (None, Run::of_command(&whole, &taken.command, tasks))
            }
        };
        Ok(Ran {
            step,
            entry,
            kept: taken.kept,
            run,
        })
    }
}

/// Images that began with the run.
struct Own {
    child: Option<u32>,
    /// The image of the command itself, once it was seen.
    first: Option<u32>,
    all: BTreeSet<u32>,
    /// Those of which a process was seen that the command started, itself or through others.
    sure: BTreeSet<u32>,
    /// Those of which only processes were seen that it did not.
    strange: BTreeSet<u32>,
    /// The command and what descends from it, as far as it was seen.
    descend: BTreeSet<u32>,
}

impl Own {
    fn new(child: Option<u32>) -> Self {
        Self {
            child,
            first: None,
            all: BTreeSet::new(),
            sure: BTreeSet::new(),
            strange: BTreeSet::new(),
            descend: child.into_iter().collect(),
        }
    }

    /// Notes who descends from the command now. Whose parent ends goes to another one, and stays known.
    fn learn(&mut self, rows: &[ProcessRow]) {
        loop {
            let known = self.descend.len();
            let new = rows.iter().filter(|row| self.descend.contains(&row.ppid));
            let new: Vec<u32> = new.map(|row| row.tgid).collect();
            self.descend.extend(new);
            if self.descend.len() == known {
                return;
            }
        }
    }

    fn note(&mut self, frame: &Frame, before: &BTreeSet<u32>) {
        for image in &frame.images {
            if image.id == IMAGE_KERNEL || before.contains(&image.id) {
                continue;
            }
            self.all.insert(image.id);
            let mut processes = image.processes.iter();
            if processes.any(|process| self.descend.contains(&process.tgid)) {
                self.sure.insert(image.id);
            } else if !image.processes.is_empty() && !is_forked(image.id) {
                self.strange.insert(image.id);
            }
            let mut processes = image.processes.iter();
            let is_child = processes.any(|process| Some(process.tgid) == self.child);
            if is_child && !is_forked(image.id) {
                let known = self.first.unwrap_or(image.id);
                self.first = Some(known.min(image.id));
            }
        }
    }

    /// Numbers of images grow: what has a lower one than the command is older, and was idle until now. What ended before
    /// anybody could ask whose it was is taken for the command's.
    fn images(&self) -> BTreeSet<u32> {
        let first = self.first.unwrap_or(0);
        let began = |id: &u32| is_forked(*id) || *id >= first;
        let strange = |id: &u32| self.strange.contains(id) && !self.sure.contains(id);
        let all = self.all.iter().copied();
        all.filter(|id| began(id) && !strange(id)).collect()
    }
}

/// Forked processes have numbers of their own.
fn is_forked(image: u32) -> bool {
    image & (PEER_REMOTE | IMAGE_FORKED) == IMAGE_FORKED
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
