//! `guard hold`, `guard restore` and the helper: limits without a guard that decides.
//!
//! In: a control group and how much it is left, or a journal. Out: a limit while this runs; what was left behind taken back.
//! Must not know: who slows whom.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail, ensure};
use courtside_agent::actuator::{Helper, helper as work};

use super::{
    super::{
        args::{HelperArgs, HoldArgs, OutputArgs, RestoreArgs, nanoseconds},
        output::Output,
        place::Inputs,
        wait::{WaitEnd, Waiter},
    },
    Printer, state,
};
use crate::{
    model::interference::{Action, EventKind, INTERFERENCE_SCHEMA, Interference},
    sys::{
        journal::{JOURNAL, Restored},
        limit::group_at,
        unit::unit_of,
    },
};

/// Limits end three seconds after they were renewed last.
const RENEW_EVERY: Duration = Duration::from_secs(1);

fn printer(args: &OutputArgs) -> anyhow::Result<Printer> {
    let mut output = Output::open(&args.output, args.color, &Inputs::default())?;
    output.place()?;
    Ok(Printer {
        output,
        format: args.format(),
    })
}

/// What happened now, to no service that is watched.
pub(super) fn line(event: EventKind, action: Option<Action>, reason: &str) -> Interference {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Interference {
        schema: INTERFERENCE_SCHEMA.to_owned(),
        time_unix_ns: nanoseconds(now.unwrap_or_default()),
        event,
        victim: String::new(),
        signal: None,
        value: None,
        expected: None,
        sigmas: None,
        self_inflicted: false,
        suspects: Vec::new(),
        action,
        effect: None,
        reason: reason.to_owned(),
        windows: 0,
        lost: 0,
    }
}

pub(super) fn run(args: &HoldArgs, root: &Path) -> anyhow::Result<u8> {
    let folder = state::folder(&args.state, root)?;
    let _only = state::lock(&folder)?;
    let mut printer = printer(&args.output)?;
    let mut waiter = Waiter::new().context("cannot receive signals")?;
    let group = group_at(root, &args.group).with_context(|| {
        format!(
            "there is no control group {} with a limit of CPU time; list control groups with: systemd-cgls",
            args.group
        )
    })?;
    let mut helper = Helper::start(&folder)?;
    let left: Vec<Interference> = helper
        .lost()
        .into_iter()
        .map(|(file, reason)| line(EventKind::Released, None, &format!("{file}: {reason}")))
        .collect();
    printer.print(&left)?;
    let (kind, what, change) = match args.cap {
        Some(cpus) => (
            "cap",
            format!("is left {cpus} CPUs"),
            group.change(cpus, None),
        ),
        None => {
            let what = "gets only CPU time that nobody beside it wants";
            ("weight", what.to_owned(), group.give_way(None))
        }
    };
    let change =
        change.map_err(|refusal| anyhow::anyhow!("{} is not held back: {refusal}", args.group))?;
    let inside = group.processes();
    ensure!(
        ![std::process::id(), helper.id()]
            .iter()
            .any(|own| inside.contains(own)),
        "{} is not held back: Courtside itself is in it",
        args.group
    );
    let file = change.file.to_str().context("its path is no text")?;
    let unit = unit_of(root, &group.name());
    helper.set(file, &change.before, &change.after, unit.as_deref())?;
    let action = Action {
        kind: kind.to_owned(),
        component: String::new(),
        cgroup: group.name(),
        file: file.to_owned(),
        before: change.before.clone(),
        after: change.after.clone(),
        until_unix_ns: None,
        dry_run: false,
    };
    let what = format!("{} {what}", group.name());
    printer.print(&[line(EventKind::Capped, Some(action.clone()), &what)])?;
    let end = args
        .duration
        .and_then(|duration| Instant::now().checked_add(duration));
    loop {
        let next = Instant::now() + RENEW_EVERY;
        let event = waiter.until(Some(end.map_or(next, |end| end.min(next))), None)?;
        if event != WaitEnd::Time || end.is_some_and(|end| Instant::now() >= end) {
            helper.release(file)?;
            let ended = line(EventKind::Released, Some(action), "as it was before");
            printer.print(&[ended])?;
            return Ok(0);
        }
        let renewed = helper.renew();
        if let Err(error) = renewed {
            // The next one takes back what this one has left.
            helper.end_at_once();
            let mut next = Helper::start(&folder).context(error.to_string())?;
            let what = next.lost().into_iter().map(|(_, reason)| reason).next();
            let what = format!("{error:#}; {}", what.unwrap_or_default());
            printer.print(&[line(EventKind::Released, Some(action), &what)])?;
            bail!("{what}");
        }
        if let Some((_, reason)) = helper.lost().into_iter().next() {
            printer.print(&[line(EventKind::Released, Some(action), &reason)])?;
            bail!("{} is no longer held back: {reason}", group.name());
        }
    }
}

/// What an earlier guard left behind, taken back, if nobody else is at it. A helper whose guard has just ended is waited for, as
/// the next helper would; whoever calls has the lock.
pub(super) fn left_behind(folder: &Path, _lock: &state::Lock) -> anyhow::Result<Vec<Restored>> {
    take_back(folder, work::WAIT_FOR_OTHER)
}

fn take_back(folder: &Path, patience: Duration) -> anyhow::Result<Vec<Restored>> {
    if !folder.join(JOURNAL).exists() {
        return Ok(Vec::new());
    }
    let mut journal = work::journal(folder, patience)?;
    Ok(journal.restore())
}

/// What became of a limit, in words.
pub(super) fn words(restored: &Restored) -> String {
    format!("{}: {}", restored.file.display(), restored.how)
}

pub(super) fn restore(args: &RestoreArgs, root: &Path) -> anyhow::Result<u8> {
    let folder = state::folder(&args.state, root)?;
    let mut printer = printer(&args.output)?;
    let restored = match state::lock(&folder) {
        Ok(lock) => left_behind(&folder, &lock)?,
        // A guard is at work: its helper does not end for our sake.
        Err(_) => take_back(&folder, Duration::ZERO)?,
    };
    if restored.is_empty() {
        // Words that nobody reads are no reason to stop.
        let _ = writeln!(
            io::stderr(),
            "courtside: nothing was left behind in {}",
            folder.display()
        );
    }
    let (failed, done): (Vec<_>, Vec<_>) = restored.iter().partition(|limit| limit.failed);
    let lines: Vec<Interference> = done
        .into_iter()
        .map(|limit| line(EventKind::Released, None, &words(limit)))
        .collect();
    printer.print(&lines)?;
    if let Some(limit) = failed.first() {
        bail!(
            "{}; {} in all could not be taken back and stay noted in {}",
            words(limit),
            failed.len(),
            folder.display()
        );
    }
    Ok(0)
}

/// Holds limits until its input ends.
pub(super) fn helper(args: &HelperArgs) -> anyhow::Result<u8> {
    // What ends the session of whoever started us is not to end us, and no signal is: limits would stay behind.
    let _ = rustix::process::setsid();
    let _signals = Waiter::new().context("cannot receive signals")?;
    let input = io::stdin().as_fd().try_clone_to_owned();
    let input = File::from(input.context("cannot read commands")?);
    work::run(&args.state, input, io::stdout().lock())?;
    Ok(0)
}
