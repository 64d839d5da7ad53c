//! `export`: a recording in another form.
//!
//! In: a recording. Out: files in the form asked for. Must not know: how a form is made.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{ColorChoice, CommandFactory, error::ErrorKind};
use courtside_agent::hours::Hours;

use super::{
    args::{Cli, ExportArgs, ExportFormat},
    drawn,
    output::{Output, Reader},
    place::{Folder, Inputs, NewFile, Place, READABLE},
    recorded,
    unused::Unused,
};
use crate::{
    export::{
        Piece,
        csv::Csv,
        form::{Form, Lines},
        parquet::Parquet,
        perfetto::Perfetto,
    },
    model::inference::Timeline,
    pass::{Analysis, Consumer, Needs, PassWindow, Seen},
    record::Recorded,
};

pub(super) fn run(args: &ExportArgs) -> anyhow::Result<u8> {
    let to_stdout = args.output == Path::new("-");
    if to_stdout && !args.format.is_text() {
        return wrong_usage(&format!(
            "{} is no text for stdout; give a place for it, as in -o {}",
            args.format.name(),
            args.format.example()
        ));
    }
    if args.by_hour && args.format != ExportFormat::Parquet {
        return wrong_usage("only tables go into folders by the hour; add -F parquet");
    }
    let recorded = recorded::open(
        &args.file,
        args.window.as_ref(),
        &args.select,
        args.interval,
    )?;
    if args.by_hour {
        return by_hour(args, &recorded);
    }
    let inputs = Inputs::of_recording(&args.file);
    let form: Box<dyn Form> = match args.format {
        ExportFormat::Json => Box::new(recorded.whole()),
        ExportFormat::Ndjson => Box::new(Lines),
        ExportFormat::Csv => Box::new(Csv::new(recorded.has_events())?),
        ExportFormat::Parquet => Box::new(Parquet::new(recorded.has_events())?),
        ExportFormat::Perfetto => Box::new(Perfetto::default()),
        ExportFormat::Paraver => return drawn::paraver(args, &recorded),
    };
    let to = match args.format {
        ExportFormat::Json | ExportFormat::Ndjson => {
            let output = Output::open(&args.output, ColorChoice::Never, &inputs)?;
            To::Text(output, Reader::There)
        }
        ExportFormat::Csv | ExportFormat::Parquet => {
            To::Files(Files::folder(&args.output, inputs)?)
        }
        ExportFormat::Perfetto | ExportFormat::Paraver => {
            To::Files(Files::single(&args.output, &inputs)?)
        }
    };
    let mut unused = Unused::new(&args.select.entry);
    let mut written = Written { form, to };
    let draws = args.format == ExportFormat::Perfetto && recorded.has_events();
    let mut finding = draws.then(|| drawn::inferring(&args.file, &recorded));
    let mut consumers: Vec<&mut dyn Consumer> = vec![&mut unused, &mut written];
    if let Some(finding) = &mut finding {
        consumers.push(finding);
    }
    recorded.pass(&mut consumers)?;
    unused.report()?;
    // Where there is no such application, there is none to be shown.
    if let Some(Ok(found)) = finding.map(Analysis::finish) {
        written.application(&drawn::timeline(&args.file, &recorded, &found)?)?;
    }
    written.finish()?;
    Ok(0)
}

/// Into folders by the hour. An entry that is nowhere is known before anything is written.
fn by_hour(args: &ExportArgs, recorded: &Recorded) -> anyhow::Result<u8> {
    if !args.select.entry.is_empty() {
        let mut unused = Unused::new(&args.select.entry);
        recorded.pass(&mut [&mut unused])?;
        unused.report()?;
    }
    let mut hours = ByHour(Hours::open(&args.output, args.host.clone())?);
    recorded.pass(&mut [&mut hours])?;
    hours.0.finish()?;
    Ok(0)
}

/// Hours under way.
struct ByHour(Hours);

impl Consumer for ByHour {
    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        self.0.window(window.snapshot)
    }
}

/// An export under way.
struct Written {
    form: Box<dyn Form>,
    to: To,
}

impl Consumer for Written {
    fn needs(&self) -> Needs {
        self.form.needs()
    }

    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        self.to.add(self.form.window(window)?)
    }

    fn event(&mut self, seen: &Seen<'_>) -> anyhow::Result<()> {
        self.to.add(self.form.event(seen)?)
    }
}

impl Written {
    fn application(&mut self, timeline: &Timeline) -> anyhow::Result<()> {
        self.to.add(self.form.application(timeline)?)
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.to.add(self.form.finish()?)?;
        self.to.place()
    }
}

/// Where an export goes.
enum To {
    /// One text, maybe to stdout, as long as somebody reads it.
    Text(Output, Reader),
    /// Files.
    Files(Files),
}

impl To {
    fn add(&mut self, pieces: impl IntoIterator<Item = Piece>) -> anyhow::Result<()> {
        match self {
            Self::Files(files) => files.add(pieces),
            Self::Text(output, reader) => {
                for piece in pieces {
                    if *reader == Reader::There {
                        *reader = output.write(&piece.bytes)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn place(self) -> anyhow::Result<()> {
        match self {
            Self::Files(files) => files.place(),
            Self::Text(mut output, _) => output.place(),
        }
    }
}

fn wrong_usage(what: &str) -> anyhow::Result<u8> {
    let mut command = Cli::command();
    command.build();
    let export = command.find_subcommand_mut("export");
    let error = export
        .context("there is no command export")?
        .error(ErrorKind::ArgumentConflict, what);
    // Nothing can be done about a terminal that does not take the message.
    let _ = error.print();
    Ok(2)
}

/// The files of one export. Each begins anew, grows by pieces, and is put in place when all are whole.
pub(super) struct Files {
    place: PathBuf,
    /// `None` for a single file.
    folder: Option<Folder>,
    inputs: Inputs,
    open: BTreeMap<String, (File, Option<NewFile>)>,
}

impl Files {
    fn single(path: &Path, inputs: &Inputs) -> anyhow::Result<Self> {
        let file = Place::open(path, READABLE, inputs)?.into_file()?;
        Ok(Self {
            place: path.to_owned(),
            folder: None,
            inputs: Inputs::default(),
            open: BTreeMap::from([(String::new(), file)]),
        })
    }

    /// Files in a folder, which is made if it is not there.
    pub(super) fn folder(path: &Path, inputs: Inputs) -> anyhow::Result<Self> {
        let folder = Folder::make(path)?;
        Ok(Self {
            place: folder.path().to_owned(),
            folder: Some(folder),
            inputs,
            open: BTreeMap::new(),
        })
    }

    /// Adds to them.
    pub(super) fn add(&mut self, pieces: impl IntoIterator<Item = Piece>) -> anyhow::Result<()> {
        for Piece { file, bytes } in pieces {
            let path = self.path(&file);
            let written = self.file(file)?.write_all(&bytes);
            written.with_context(|| format!("cannot write to {}", path.display()))?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        if self.folder.is_some() {
            self.place.join(name)
        } else {
            self.place.clone()
        }
    }

    fn file(&mut self, name: String) -> anyhow::Result<&mut File> {
        use std::collections::btree_map::Entry;
        match self.open.entry(name) {
            Entry::Occupied(entry) => Ok(&mut entry.into_mut().0),
            Entry::Vacant(entry) => {
                let folder = self.folder.as_ref().context("one file only")?;
                let place = folder.begin(entry.key().as_ref(), READABLE, &self.inputs)?;
                Ok(&mut entry.insert(place.into_file()?).0)
            }
        }
    }

    /// Puts them in their places.
    pub(super) fn place(self) -> anyhow::Result<()> {
        for new in self.open.into_values().filter_map(|(_, new)| new) {
            { new }.place()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::frames;
    use std::fs;

    use clap::Parser;

    use super::super::args::Command;
    use super::*;
    use crate::model::{Snapshot, State, View, fold};
    use crate::record::{Header, Writer};

    /// A recording of the chain in windows of this many requests, and what each window means.
    fn recording(folder: &Path, requests: &[u64]) -> (PathBuf, Vec<Snapshot>) {
        let path = folder.join("shop.rec");
        let mut writer = Writer::new(File::create(&path).unwrap(), &Header::default()).unwrap();
        let mut state = State::default();
        let window = |(second, n): (u64, &u64)| {
            let mut frame = frames::chain(*n);
            frame.start_unix_ns += second * 1_000_000_000;
            writer.frame(&frame).unwrap();
            fold(&mut state, &frame, &View::default())
        };
        let snapshots = (0..).zip(requests).map(window).collect();
        writer.finish().unwrap();
        (path, snapshots)
    }

    fn export(line: &str) -> anyhow::Result<u8> {
        courtside(&format!("export {line}"))
    }

    fn courtside(line: &str) -> anyhow::Result<u8> {
        let words = format!("courtside {line}");
        match Cli::try_parse_from(words.split_whitespace())
            .unwrap()
            .command
        {
            Some(Command::Export(args)) => run(&args),
            Some(Command::Report(args)) => super::super::report::run(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn json_is_the_whole_recording_and_lines_are_its_windows() {
        let folder = tempfile::tempdir().unwrap();
        let (file, snapshots) = recording(folder.path(), &[5, 7, 11]);
        let out = folder.path().join("out.json");
        let (rec, out_name) = (file.display(), out.display());
        let read = |path: &Path| fs::read_to_string(path).unwrap();

        assert_eq!(export(&format!("{rec} -F json -o {out_name}")).unwrap(), 0);
        let whole: Snapshot = serde_json::from_str(&read(&out)).unwrap();
        assert_eq!(whole.entries[0].requests, 5 + 7 + 11);
        assert_eq!(whole.window.duration_ns, 3_000_000_000);

        export(&format!("{rec} -F json -o {out_name} --window 1")).unwrap();
        assert_eq!(
            serde_json::from_str::<Snapshot>(&read(&out)).unwrap(),
            snapshots[1]
        );

        export(&format!("{rec} -F ndjson -o {out_name} --window 1..2")).unwrap();
        let lines: Vec<Snapshot> = read(&out)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines, snapshots[1..]);
    }

    #[test]
    fn tables_are_a_folder_and_keep_the_windows_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = recording(folder.path(), &[5, 7, 11]);
        let out = folder.path().join("a/b");
        for format in ["csv", "parquet"] {
            let line = format!("{} -F {format} -o {}", file.display(), out.display());
            export(&format!("{line} --window 1..2 --entry web:80")).unwrap();
            for table in crate::export::tables::tables() {
                assert!(
                    out.join(format!("{}.{format}", table.name))
                        .metadata()
                        .unwrap()
                        .len()
                        > 0
                );
            }
        }
        let entries = fs::read_to_string(out.join("entries.csv")).unwrap();
        let column = |n| -> Vec<&str> {
            let lines = entries.lines();
            lines.map(|line| line.split(',').nth(n).unwrap()).collect()
        };
        assert_eq!(column(0), ["window", "1", "2"]);
        assert_eq!(column(4), ["requests", "7", "11"]);
    }

    #[test]
    fn tables_by_the_hour_have_a_host_and_nothing_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (file, snapshots) = recording(folder.path(), &[5, 7, 11]);
        let out = folder.path().join("hosts");
        let line = format!(
            "{} -F parquet --by-hour -o {}",
            file.display(),
            out.display()
        );
        for _ in 0..2 {
            assert_eq!(export(&format!("{line} --host web01")).unwrap(), 0);
        }
        export(&line).unwrap();
        let names = |folder: &Path| -> Vec<String> {
            let entries = fs::read_dir(folder).unwrap();
            let mut names: Vec<String> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        let own = courtside_agent::hours::host_name(&snapshots[0].host.hostname);
        let hosts = names(&out);
        assert!(hosts.contains(&"host=web01".to_owned()), "{hosts:?}");
        assert!(hosts.contains(&format!("host={own}")), "{hosts:?}");
        let web = out.join("host=web01");
        let hour = names(&web).remove(0);
        let windows = names(&web.join(hour));
        for range in ["000000-000002", "000003-000005"] {
            let name = format!("windows-{range}.parquet");
            assert!(windows.contains(&name), "{name} of {windows:?}");
        }
        // An entry that is nowhere leaves nothing, and other forms know no hours.
        let none = folder.path().join("none");
        let rec = file.display();
        let line = format!(
            "{rec} -F parquet --by-hour -o {} --entry nosuch",
            none.display()
        );
        assert!(export(&line).is_err() && !none.exists());
        assert_eq!(export(&format!("{rec} -F csv --by-hour -o x")).unwrap(), 2);
    }

    #[test]
    fn what_cannot_be_done_is_told_with_what_can() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = recording(folder.path(), &[5, 7]);
        let other = tempfile::tempdir().unwrap();
        let (none, _) = recording(other.path(), &[]);
        let rec = file.display();
        let error = |line: String| format!("{:#}", export(&line).unwrap_err());
        assert_eq!(export(&format!("{rec} -F parquet -o -")).unwrap(), 2);
        let said = error(format!("{rec} -F json -o x.json --window 2"));
        assert!(said.ends_with("has no window 2: it has 0 to 1"), "{said}");
        let said = error(format!("{rec} -F csv -o {rec}"));
        assert!(said.contains("there is a file of that name"), "{said}");
        let said = error(format!("{rec} -F perfetto -o /dev/full"));
        assert!(
            said.contains("cannot write to /dev/full: No space left"),
            "{said}"
        );
        let said = error(format!("{} -F json -o -", none.display()));
        assert!(said.contains("courtside record -o FILE"), "{said}");
    }

    #[test]
    fn a_recording_is_never_its_own_output() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = recording(folder.path(), &[5]);
        let before = fs::read(&file).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let rec = file.display().to_string();
        fs::hard_link(&file, at("hard")).unwrap();
        std::os::unix::fs::symlink(&file, at("soft")).unwrap();
        fs::create_dir(at("shop")).unwrap();
        fs::hard_link(&file, at("shop/entries.csv")).unwrap();
        fs::hard_link(&file, at("shop/entries.parquet")).unwrap();
        for out in [&rec, &at("hard"), &at("soft")] {
            for form in ["json", "ndjson", "perfetto", "csv", "parquet"] {
                assert!(export(&format!("{rec} -F {form} -o {out}")).is_err());
            }
            assert!(courtside(&format!("report {rec} -o {out}")).is_err());
            // The same by its other names.
            assert!(courtside(&format!("report {out} -o {rec}")).is_err());
        }
        for form in ["csv", "parquet"] {
            let error = export(&format!("{rec} -F {form} -o {}", at("shop"))).unwrap_err();
            assert!(format!("{error:#}").contains("the recording that is read"));
        }
        assert_eq!(fs::read(&file).unwrap(), before);
        assert_eq!(fs::read_dir(at("shop")).unwrap().count(), 2);
    }

    #[test]
    fn an_entry_that_is_nowhere_is_an_error_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = recording(folder.path(), &[5]);
        let (rec, out) = (file.display(), folder.path().join("out"));
        let forms = ["json", "ndjson", "csv", "parquet", "perfetto"];
        let exports = forms.map(|form| format!("export {rec} -F {form}"));
        for command in exports.into_iter().chain([format!("report {rec}")]) {
            let line = format!("{command} -o {} --entry nosuch", out.display());
            let said = format!("{:#}", courtside(&line).unwrap_err());
            assert!(
                said.contains("no entry nosuch") && said.contains("web:80"),
                "{said}"
            );
            assert!(!out.is_file(), "{command}");
            let written = fs::read_dir(&out).map_or(0, Iterator::count);
            assert_eq!(written, 0, "{command}");
            let _ = fs::remove_dir(&out);
        }
    }

    #[test]
    fn a_report_is_of_the_windows_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = recording(folder.path(), &[5, 7, 11]);
        let out = folder.path().join("shop.html");
        let line = format!("report {} -o {}", file.display(), out.display());
        for (more, title, requests) in [
            ("", "<h1>shop</h1>", "23 in all"),
            (" --window 1..2 --title bad", "<h1>bad</h1>", "18 in all"),
        ] {
            assert_eq!(courtside(&format!("{line}{more}")).unwrap(), 0);
            let page = fs::read_to_string(&out).unwrap();
            assert!(page.contains(title), "{title}");
            assert!(page.contains(requests), "{requests}");
        }
    }

    #[test]
    fn many_windows_are_shown_as_few_points() {
        let folder = tempfile::tempdir().unwrap();
        let requests: Vec<u64> = (1..=400).collect();
        let (file, _) = recording(folder.path(), &requests);
        let args = crate::cli::args::SelectArgs::default();
        let recorded = recorded::open(&file, None, &args, None).unwrap();
        let mut points = Vec::new();
        let mut whole = recorded.whole();
        let mut pieces = recorded.pieces(150, |piece| points.push(piece.entries[0].requests));
        recorded.pass(&mut [&mut whole, &mut pieces]).unwrap();
        pieces.finish();
        let whole = whole.finish();
        assert_eq!(points.len(), 134); // of three windows each, the last of one
        assert_eq!(points[0], 1 + 2 + 3);
        assert_eq!(points.iter().sum::<u64>(), whole.entries[0].requests);
        assert_eq!(whole.entries[0].requests, 400 * 401 / 2);
    }

    #[test]
    fn a_damaged_window_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let (file, snapshots) = recording(folder.path(), &[5, 7, 11]);
        let mut bytes = fs::read(&file).unwrap();
        let third = bytes.len() / 2;
        bytes[third] ^= 1;
        fs::write(&file, bytes).unwrap();
        let out = folder.path().join("out");
        export(&format!(
            "{} -F ndjson -o {}",
            file.display(),
            out.display()
        ))
        .unwrap();
        let text = fs::read_to_string(&out).unwrap();
        let lines: Vec<Snapshot> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| snapshots.contains(line)));
    }
}
