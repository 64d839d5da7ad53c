//! `record`: windows into a file.
//!
//! In: what to measure, for how long or while which command runs, and how much to keep. Out: a recording, words about
//! it on stderr, and the command's exit status. Must not know: the bytes of a recording, what a window means.

use courtside_agent::{
    keeper::{Keeper, folder_of, stamp},
    measure::{Kernel, Measurement},
    recorder::Shared,
};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail, ensure};
use rustix::process::Signal;
use tokio::process::Child;

use super::{
    args::{RecordArgs, SelectArgs, nanoseconds},
    clock::Clock,
    place::{Folder, Inputs, NewFile, PRIVATE},
    report_probes, target, wait,
    wait::{WaitEnd, Waiter},
};
use crate::{
    frame::ProbeStatus,
    frame::{Frame, Merge},
    record::{self, Bounds, Header, Recorder, Recording, WriteError},
    sys, units,
};

/// How often the kernel's maps are read while a window lasts longer, so that they do not fill with what is gone.
pub(super) const DRAIN_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(args: &RecordArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    target::check(root, &args.select.view())?;
    let mut files = Files::open(&args.output, args.force, args.bounds().is_some())?;
    let begun = begin(args, kernel, root, &mut files);
    if begun.is_err() {
        files.discard();
    }
    let (mut session, mut waiter, mut child, keeper) = begun?;
    let recorded = session.record(&mut waiter, child.as_mut(), &keeper);
    session.clock.clear_progress();
    let written = session.recorder.windows();
    let recorded = recorded.and_then(|event| {
        let summary = session.recorder.finish()?;
        Ok((event, summary))
    });
    drop(keeper); // what was asked for is kept before we end
    drop(session.measurement); // detaches before the command is waited for any longer
    let recorded = recorded.with_context(|| format!("recording {}", args.output.display()));
    match &recorded {
        Ok((_, summary)) => report(&args.output, summary, written, &session.lost),
        // The command runs on; its end is not to hide what happened.
        Err(error) if child.is_some() => {
            let error = super::in_one_line(error);
            let _ = writeln!(io::stderr(), "courtside: {error}");
        }
        Err(_) => {}
    }
    let event = recorded.as_ref().map_or(WaitEnd::Time, |(event, _)| *event);
    let status = match (event, child) {
        (WaitEnd::Ended(status), _) => wait::exit_code(status),
        (event, Some(mut child)) => {
            if event == WaitEnd::Signal {
                wait::send(&child, Signal::TERM);
            }
            let status = wait::exit_code(waiter.wait_for(&mut child)?);
            if recorded.is_err() {
                return Ok(1);
            }
            status
        }
        (_, None) => 0,
    };
    recorded.map(|_| status)
}

type Begun = (Session, Waiter, Option<Child>, Keeper);

/// Attaches, starts the command, and gives privileges up.
fn begin(
    args: &RecordArgs,
    kernel: &dyn Kernel,
    root: &Path,
    files: &mut Files,
) -> anyhow::Result<Begun> {
    let mut waiter = Waiter::new().context("cannot receive signals")?;
    waiter.watch_for_keep().context("cannot receive SIGUSR1")?;
    let recorder = Shared::default();
    let wishes = args.measure.wishes();
    let measurement = if args.events {
        kernel.attach_with_events(&wishes, recorder.sink())
    } else {
        kernel.attach(&wishes)
    }?;
    report_probes(measurement.probes(), args.measure.verbose);
    let header = header(
        &args.select,
        args.interval,
        &args.command,
        measurement.probes(),
        root,
    );
    let bounds = args.bounds().unwrap_or_default();
    files
        .recorder(&header, bounds)
        .and_then(|begun| Ok(recorder.begin(begun)?))
        .with_context(|| format!("recording {}", args.output.display()))?;
    let keeper = Keeper::start(&folder_of(&args.output), root)?;
    let child = match args.command.first() {
        Some(name) => Some(
            waiter
                .spawn(&args.command, false)
                .with_context(|| format!("cannot run {}", name.display()))?,
        ),
        None => None,
    };
    files.place()?;
    kernel.drop_privileges()?;
    let show_progress = child.is_none() && io::stderr().is_terminal();
    let clock = Clock::start(args.duration, Some(args.interval), show_progress);
    let clock = if args.interval > DRAIN_EVERY {
        clock.draining(DRAIN_EVERY)
    } else {
        clock
    };
    let session = Session {
        measurement,
        recorder,
        clock,
        begun: Merge::default(),
        lost: BTreeMap::new(),
        saver: Saver {
            path: args.output.clone(),
            first: files.first.try_clone()?,
            second: files.second.as_ref().map(File::try_clone).transpose()?,
            keep_ns: nanoseconds(args.keep),
        },
    };
    Ok((session, waiter, child, keeper))
}

/// How and where recording begins now.
pub(super) fn header(
    select: &SelectArgs,
    interval: Duration,
    command: &[OsString],
    probes: &[ProbeStatus],
    root: &Path,
) -> Header {
    let started = SystemTime::now().duration_since(UNIX_EPOCH);
    Header {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        host: sys::host::host(root),
        started_unix_ns: started.map_or(0, nanoseconds),
        interval_ns: nanoseconds(interval),
        command: command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        part: 0,
        probes: probes.to_vec(),
        view: select.wish(),
        limit: None,
    }
}

/// A recording under way.
struct Session {
    measurement: Box<dyn Measurement>,
    recorder: Shared,
    clock: Clock,
    /// Parts of the window that were read before its end.
    begun: Merge,
    lost: BTreeMap<String, u64>,
    saver: Saver,
}

impl Session {
    /// Records window after window until it is over.
    fn record(
        &mut self,
        waiter: &mut Waiter,
        mut child: Option<&mut Child>,
        keeper: &Keeper,
    ) -> anyhow::Result<WaitEnd> {
        loop {
            let event = waiter.until(self.clock.next(), child.as_deref_mut())?;
            match event {
                WaitEnd::Keep => {
                    self.window()?;
                    self.saver.save(keeper)?;
                    continue;
                }
                WaitEnd::Time if !self.clock.is_over() => {
                    if self.clock.interval_is_over() {
                        self.window()?;
                    } else if self.clock.drain_is_over() {
                        self.begun.add(self.measurement.window()?);
                    }
                }
                _ => {
                    let frame = self.measurement.finish()?;
                    self.write(frame)?;
                    return Ok(event);
                }
            }
            let summary = self.recorder.summary();
            let lost: u64 = self.lost.values().sum();
            let limit = self.clock.limit().map(humantime::format_duration);
            self.clock.show_progress(|elapsed| {
                let of = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
                format!(
                    "recording: {elapsed}s{of}, {} windows, {}, lost {}; Ctrl-C ends it",
                    units::count(summary.windows),
                    units::bytes(summary.bytes),
                    units::count(lost)
                )
            });
        }
    }

    /// Ends a window and writes it.
    fn window(&mut self) -> anyhow::Result<()> {
        let frame = self.measurement.window()?;
        self.write(frame)
    }

    fn write(&mut self, mut frame: Frame) -> anyhow::Result<()> {
        if self.begun.windows() > 0 {
            self.begun.add(frame);
            frame = std::mem::take(&mut self.begun).finish();
        }
        let early = self.recorder.take_lost();
        if early > 0 {
            let events = frame.lost.entry("events".to_owned()).or_default();
            *events = events.saturating_add(early);
        }
        for (class, count) in &frame.lost {
            *self.lost.entry(class.clone()).or_default() += count;
        }
        match self.recorder.frame(&frame) {
            Err(error @ WriteError::Io { .. }) => Err(error.into()),
            Err(error) => {
                // One window is lost, and the next may fit again.
                *self.lost.entry("windows".to_owned()).or_default() += 1;
                let _ = writeln!(io::stderr(), "courtside: a window is not recorded: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// Says what was recorded, and how to look at it.
fn report(path: &Path, summary: &record::Summary, written: u64, lost: &BTreeMap<String, u64>) {
    let windows = |count: u64| match count {
        1 => "1 window".to_owned(),
        count => format!("{} windows", units::count(count)),
    };
    let kept = match written.saturating_sub(summary.windows) {
        0 => String::new(),
        given_up => format!(" (the newest; {} given up)", windows(given_up)),
    };
    let classes: Vec<String> = lost
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(class, count)| format!("{class} {}", units::count(*count)))
        .collect();
    let lost = match &classes[..] {
        [] => "lost 0".to_owned(),
        classes => format!("lost: {}", classes.join(", ")),
    };
    // A summary that nobody can read is no reason to fail.
    let _ = writeln!(
        io::stderr(),
        "courtside: recorded {}{kept}, {}, {lost}; look at it with: courtside replay {}",
        windows(summary.windows),
        units::bytes(summary.bytes),
        path.display()
    );
}

/// What a recording goes into.
pub(super) struct Files {
    folder: Folder,
    first: File,
    second: Option<File>,
    /// Those that were not there before.
    created: Vec<OsString>,
    /// Those that will be in the place of others once recording has begun.
    replacing: Vec<NewFile>,
}

impl Files {
    /// Opens them, so that what cannot be written is known before anything is measured.
    pub(super) fn open(path: &Path, force: bool, two: bool) -> anyhow::Result<Self> {
        let name = path.file_name().filter(|_| path != Path::new("-"));
        let Some(name) = name else {
            bail!(
                "a recording needs a file, and {} is not one; give a name with: -o FILE",
                path.display()
            );
        };
        let folder = Folder::open(&folder_of(path))
            .with_context(|| format!("cannot write to {}", path.display()))?;
        let mut files = Self {
            first: folder.as_file()?,
            folder,
            second: None,
            created: Vec::new(),
            replacing: Vec::new(),
        };
        let mut other = name.to_owned();
        other.push(".2");
        let opened = files.open_one(path, name, force).and_then(|first| {
            files.first = first;
            if two {
                let path = record::other_part(path);
                files.second = Some(files.open_one(&path, &other, force)?);
            }
            Ok(())
        });
        if let Err(error) = opened {
            files.discard();
            return Err(error);
        }
        Ok(files)
    }

    fn open_one(&mut self, path: &Path, name: &OsStr, force: bool) -> anyhow::Result<File> {
        let file = match self.folder.create_new(name, PRIVATE) {
            Ok(file) => {
                self.created.push(name.to_owned());
                file
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot write to {}", path.display()));
            }
            Err(_) if !force => bail!(
                "{} exists; give another name, or replace it with: --force",
                path.display()
            ),
            Err(_) => {
                let found = std::fs::symlink_metadata(path);
                ensure!(
                    found.is_ok_and(|found| found.is_file() || found.is_symlink()),
                    "{} is not a regular file; give the name of one with: -o FILE",
                    path.display()
                );
                // It keeps its contents until there is something to put in their place.
                let place = self.folder.begin(name, PRIVATE, &Inputs::default())?;
                let (file, new) = place.into_file()?;
                self.replacing.extend(new);
                file
            }
        };
        self.folder.give_to_sudo_user(&file);
        Ok(file)
    }

    pub(super) fn recorder(&self, header: &Header, bounds: Bounds) -> anyhow::Result<Recorder> {
        let second = self.second.as_ref().map(File::try_clone).transpose()?;
        Ok(Recorder::new(
            self.first.try_clone()?,
            second,
            header,
            bounds,
        )?)
    }

    /// Recording has begun: what was there before gives way.
    fn place(&mut self) -> anyhow::Result<()> {
        self.replacing.iter_mut().try_for_each(NewFile::place)
    }

    /// Nothing was recorded: what was created for it goes again.
    pub(super) fn discard(&mut self) {
        for name in self.created.drain(..) {
            self.folder.remove(&name);
        }
        self.replacing.clear();
    }
}

/// Keeps the last minutes in a file of their own.
struct Saver {
    path: PathBuf,
    first: File,
    second: Option<File>,
    keep_ns: u64,
}

impl Saver {
    /// Has it done; says on stderr what came of it.
    fn save(&self, keeper: &Keeper) -> anyhow::Result<()> {
        let first = self.first.try_clone()?;
        let second = self.second.as_ref().map(File::try_clone).transpose()?;
        let (path, keep_ns) = (self.path.clone(), self.keep_ns);
        let mut name = path.clone().into_os_string();
        name.push(format!("-{}", stamp(SystemTime::now())));
        let target = PathBuf::from(name);
        keeper.run(move || {
            let kept = save(&path, first, second, keep_ns, &target);
            let said = match kept {
                Ok(summary) => format!(
                    "kept {} windows, {}, in {}",
                    summary.windows,
                    units::bytes(summary.bytes),
                    target.display()
                ),
                Err(error) => format!("not kept: {}", super::in_one_line(&error)),
            };
            let _ = writeln!(io::stderr(), "courtside: {said}");
        });
        Ok(())
    }
}

fn save(
    path: &Path,
    first: File,
    second: Option<File>,
    keep_ns: u64,
    target: &Path,
) -> anyhow::Result<record::Summary> {
    let first = Box::new(first);
    let recording = match second {
        Some(second) => Recording::from_parts(path, first, Box::new(second)),
        None => Recording::from_source(path, first),
    }?;
    let created = target
        .file_name()
        .context("it has no name")
        .and_then(|name| {
            let folder = Folder::open(&folder_of(target))?;
            Ok(folder.create_new(name, PRIVATE)?)
        });
    let file = created.with_context(|| format!("cannot create {}", target.display()))?;
    Ok(record::keep(&recording, keep_ns, file)?)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
