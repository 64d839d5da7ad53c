//! The timeline of a parallel application, for traces that other programs show.
//!
//! In: a recording, what is told of it. Out: a timeline; Paraver's three files. Must not know: how anything is told, what a
//! trace looks like.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context as _;

use super::{args::ExportArgs, export::Files, place::Inputs, unused::Unused};
use crate::{
    analysis::infer::{CannotTell, Inferring},
    export::paraver,
    model::inference::{Inference, Timeline},
    pass::Analysis as _,
    record::Recorded,
};

/// The application of a recording: its processes have to be known before what they do is kept.
pub(super) fn inferring(file: &Path, recorded: &Recorded) -> Inferring {
    Inferring::new(&file.display().to_string()).of(&recorded.view().selection)
}

/// What each of the application's threads did when.
pub(super) fn timeline(
    file: &Path,
    recorded: &Recorded,
    found: &Inference,
) -> anyhow::Result<Timeline> {
    let tgids = found.processes.iter().map(|process| process.tgid).collect();
    let mut drawing = inferring(file, recorded).drawing(tgids);
    recorded.pass(&mut [&mut drawing])?;
    let (_, timeline) = drawing.drawn()?;
    if let Some(cut_ns) = timeline.cut_ns {
        let cut = humantime::format_duration(Duration::from_nanos(cut_ns));
        // Remarks that nobody can read are no reason to stop.
        let _ = writeln!(
            io::stderr(),
            "courtside: {}: there are more states or messages of the parallel application than are kept: what comes after {cut} is not complete; choose fewer windows with --window",
            file.display()
        );
    }
    Ok(timeline)
}

/// Writes Paraver's files.
pub(super) fn paraver(args: &ExportArgs, recorded: &Recorded) -> anyhow::Result<u8> {
    let name = args.file.display().to_string();
    if !recorded.has_events() {
        return Err(CannotTell::NoEvents { file: name }.into());
    }
    let (folder, base) = place(&args.output)?;
    let mut finding = inferring(&args.file, recorded);
    let mut unused = Unused::new(&args.select.entry);
    recorded.pass(&mut [&mut unused, &mut finding])?;
    unused.report()?;
    let timeline = timeline(&args.file, recorded, &finding.finish()?)?;
    let mut files = Files::folder(&folder, Inputs::of_recording(&args.file))?;
    let created = created(timeline.start_unix_ns);
    paraver::write(&timeline, (&base, &created), |piece| files.add([piece]))?;
    files.place()?;
    Ok(0)
}

/// The folder, and what all three files are called without their endings.
fn place(output: &Path) -> anyhow::Result<(PathBuf, String)> {
    let name = output
        .file_name()
        .with_context(|| format!("{} has no name", output.display()))?;
    let name = name.to_string_lossy().into_owned();
    let base = name.strip_suffix(".prv").unwrap_or(&name).to_owned();
    let folder = output.parent().filter(|parent| *parent != Path::new(""));
    Ok((folder.unwrap_or(Path::new(".")).to_owned(), base))
}

/// A time as Paraver has it, in UTC.
fn created(unix_ns: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_nanos(unix_ns);
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let mut parts: Vec<&str> = date.split('-').collect();
    parts.reverse();
    let minutes = time.rsplit_once(':').map_or(time, |(minutes, _)| minutes);
    format!("{} at {minutes}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_times_are_as_paraver_has_them() {
        let of = |path: &str| {
            let (folder, base) = place(Path::new(path)).unwrap();
            (folder.display().to_string(), base)
        };
        assert_eq!(of("x"), (".".to_owned(), "x".to_owned()));
        assert_eq!(of("a/b/run.prv"), ("a/b".to_owned(), "run".to_owned()));
        assert!(place(Path::new("..")).is_err());
        assert_eq!(created(1_796_035_440_999_999_999), "30/11/2026 at 10:44");
    }
}
