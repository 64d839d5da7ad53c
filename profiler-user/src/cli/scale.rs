//! `scale`: how something scales, over recordings at several sizes or over runs that it makes itself.
//!
//! In: recordings, or a command. Out: a table, JSON or a page. Must not know: what a loss is made of, how that is shown.

mod run;

use std::{collections::BTreeSet, path::Path};

use anyhow::Context;

use super::{
    args::{PageFormat, ScaleArgs, ScaleCommand},
    output::Output,
    place::Inputs,
    recorded,
    unused::Unused,
};
use crate::{
    analysis::scale::{self, CannotTell, Command, EntryId, Run, Scout, Size, Steady, Study, Whole},
    export,
    frame::Image,
    model::{
        View,
        scaling::{Scaling, ScalingKind, TaskUnit},
    },
    pass::{Consumer, PassWindow},
    record::{Header, Recorded, Recording},
};
use courtside_agent::measure::Kernel;

pub(super) fn run(args: &ScaleArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    match &args.command {
        Some(ScaleCommand::Run(args)) => run::run(args, kernel, root),
        None => recordings(args),
    }
}

/// A recording and its size.
struct Opened {
    n: u32,
    file: String,
    header: Header,
    recorded: Recorded,
    scout: Scout,
}

fn recordings(args: &ScaleArgs) -> anyhow::Result<u8> {
    args.select.view().selection.check()?;
    let plain = args.files.iter().map(|file| (None, file));
    let sized = args.at.iter().map(|at| (Some(at.n), &at.file));
    let files: Vec<_> = plain.chain(sized).collect();
    let Some((_, first)) = files.first() else {
        return Err(CannotTell::TooFewSizes { sizes: 0 }.into());
    };
    let inputs = files
        .iter()
        .map(|(_, file)| Inputs::of_recording(file))
        .fold(Inputs::default(), Inputs::and);
    // All are seen alike, or else what differs is how they are seen.
    let recorded_for = Recording::open(first)?.header().view.clone();
    let view = args.select.or_recorded(&recorded_for).view();
    let mut unused = Unused::new(&args.select.entry);
    let mut all = Vec::new();
    for (n, file) in files {
        all.push(open(n, file, &view)?);
    }
    scale::check_sizes(all.iter().map(|each| (each.n, each.file.as_str())))?;
    let mut output = Output::open(&args.output.output, args.output.color, &inputs)?;
    for each in &mut all {
        let Opened {
            recorded, scout, ..
        } = each;
        recorded.pass(&mut [scout, &mut unused])?;
    }
    unused.report()?;
    let unit = unit(&all, !view.entries.is_empty());
    let mut study = Study {
        kind: kind(args.weak),
        unit,
        ..Study::default()
    };
    if unit == TaskUnit::Requests {
        let busiest = all
            .iter()
            .map(|each| (each.file.clone(), each.scout.busiest()));
        study.entry = Some(scale::common_entry(busiest)?);
    }
    for each in &all {
        let tasks = study.tasks_at(each.n);
        let run = of_recording(each, &view, study.entry.as_ref(), tasks)?;
        let limit = each.header.limit;
        study.sizes.push(Size {
            n: each.n,
            cores: limit.map(|limit| limit.cores),
            workers: limit.map(|limit| limit.workers),
            file: each.file.clone(),
            runs: vec![run],
        });
    }
    let found = scale::study(study)?;
    print(&found, &mut output, args.output.format())?;
    Ok(0)
}

fn kind(weak: bool) -> ScalingKind {
    if weak {
        ScalingKind::Weak
    } else {
        ScalingKind::Strong
    }
}

fn print(found: &Scaling, output: &mut Output, format: PageFormat) -> anyhow::Result<()> {
    output.write(match format {
        PageFormat::Json => export::json::to_string(found)?,
        PageFormat::Table => export::scale::render(found, output.style()),
        PageFormat::Html => export::report::scaling(found),
    })?;
    output.place()
}

fn open(n: Option<u32>, path: &Path, view: &View) -> anyhow::Result<Opened> {
    let recording = Recording::open(path)?;
    let header = recording.header().clone();
    let limit = header.limit.map(|limit| limit.n);
    let n = n.or(limit).unwrap_or(header.host.cpus);
    let file = path.display().to_string();
    if n == 0 {
        anyhow::bail!(
            "{file} does not say how many CPUs its host had; say the size, as in: courtside scale --at 4={file}"
        );
    }
    Ok(Opened {
        n,
        file,
        header,
        recorded: recorded::seen(path, recording, None, view.clone(), None)?,
        scout: Scout::default(),
    })
}

/// Commands, if that is what was run and nobody asked for an entry.
fn unit(all: &[Opened], entry_wished: bool) -> TaskUnit {
    let limited = all.iter().all(|each| each.header.limit.is_some());
    let nothing_served = all.iter().all(|each| each.scout.busiest().is_none());
    let commands = all.iter().all(|each| !each.header.command.is_empty());
    if !entry_wished && (limited || (nothing_served && commands)) {
        TaskUnit::Commands
    } else {
        TaskUnit::Requests
    }
}

fn of_recording(
    each: &Opened,
    view: &View,
    entry: Option<&EntryId>,
    tasks: u64,
) -> anyhow::Result<Run> {
    if let Some(entry) = entry {
        let whole = whole(&each.recorded, &each.scout, view, Some(entry), None)?;
        return Ok(Run::of_requests(&each.file, &whole, entry)?);
    }
    // What was selected is the command; otherwise nobody knows what belongs to it.
    let mut chosen = Chosen {
        is_chosen: Box::new(view.selection.matcher()),
        images: BTreeSet::new(),
    };
    let own = match view.selection.names_no_component() {
        true => None,
        false => {
            each.recorded.pass(&mut [&mut chosen])?;
            Some(chosen.images)
        }
    };
    let whole = whole(&each.recorded, &each.scout, view, None, own)?;
    let command = Command {
        wall_ns: whole.snapshot.window.duration_ns,
        ..Command::default()
    };
    Ok(Run::of_command(&whole, &command, tasks))
}

/// The windows that count, as one.
fn whole(
    recorded: &Recorded,
    scout: &Scout,
    view: &View,
    entry: Option<&EntryId>,
    own: Option<BTreeSet<u32>>,
) -> anyhow::Result<Whole> {
    let windows = match entry {
        Some(entry) => scout.windows_of(entry),
        None => scout.all_windows(),
    };
    let windows = windows.context("there is no window to look at")?;
    let state = recorded.state_before(*windows.start());
    let mut steady = Steady::new(state, view.clone(), windows, entry.cloned(), own);
    recorded.pass(&mut [&mut steady])?;
    Ok(steady.finish())
}

/// Images that were selected, without those that they talk to.
struct Chosen<'a> {
    is_chosen: Box<dyn Fn(&Image) -> bool + 'a>,
    images: BTreeSet<u32>,
}

impl Consumer for Chosen<'_> {
    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        let images = window.frame.images.iter();
        let chosen = images.filter(|image| (self.is_chosen)(image));
        self.images.extend(chosen.map(|image| image.id));
        Ok(())
    }
}
