//! `export`: a recording in another form.
//!
//! In: a recording. Out: files in the form asked for. Must not know: how a form is made.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::{ColorChoice, CommandFactory, error::ErrorKind};

use super::{
    args::{Cli, ExportArgs, ExportFormat},
    output::{Output, Reader},
    recorded::Recorded,
    stat::Unused,
};
use crate::export::{Piece, csv::Csv, json, parquet::Parquet, perfetto::Perfetto};

pub(super) fn run(args: &ExportArgs) -> anyhow::Result<u8> {
    let to_stdout = args.output == Path::new("-");
    if to_stdout && !args.format.is_text() {
        return wrong_usage(&format!(
            "{} is no text for stdout; give a place for it, as in -o {}",
            args.format.name(),
            args.format.example()
        ));
    }
    let recorded = Recorded::open(
        &args.file,
        args.window.as_ref(),
        &args.select,
        args.interval,
    )?;
    let mut unused = Unused::new(&args.select.entry);
    match args.format {
        ExportFormat::Json => {
            let mut output = Output::open(&args.output, ColorChoice::Never)?;
            let snapshot = recorded.whole()?;
            unused.look(&snapshot);
            output.write(&json::to_string(&snapshot)?)?;
        }
        ExportFormat::Ndjson => {
            let mut output = Output::open(&args.output, ColorChoice::Never)?;
            let mut reader = Reader::There;
            recorded.snapshots(|_, snapshot| {
                unused.look(snapshot);
                if reader == Reader::There {
                    reader = output.write(&json::to_line(snapshot)?)?;
                }
                Ok(())
            })?;
        }
        ExportFormat::Csv => {
            let mut files = Files::folder(&args.output)?;
            let mut csv = Csv::new(recorded.has_events())?;
            recorded.snapshots(|number, snapshot| {
                unused.look(snapshot);
                files.add(csv.add(number as u64, snapshot)?)
            })?;
            recorded.events(|number, event| files.add(csv.event(number as u64, event)?))?;
            files.add(csv.finish()?)?;
        }
        ExportFormat::Parquet => {
            let mut files = Files::folder(&args.output)?;
            let mut parquet = Parquet::new(recorded.has_events())?;
            recorded.snapshots(|number, snapshot| {
                unused.look(snapshot);
                files.add(parquet.add(number as u64, snapshot)?)
            })?;
            recorded.events(|number, event| files.add(parquet.event(number as u64, event)?))?;
            files.add(parquet.finish()?)?;
        }
        ExportFormat::Perfetto => {
            let (mut files, mut trace) = (Files::single(&args.output)?, Perfetto::default());
            recorded.snapshots(|number, snapshot| {
                unused.look(snapshot);
                files.add(trace.add(number as u64, snapshot))
            })?;
            recorded.turnarounds(|event, turnaround| {
                files.add(trace.event(event))?;
                if let Some(turnaround) = turnaround {
                    trace.turnaround(event, turnaround);
                }
                Ok(())
            })?;
            files.add(trace.finish())?;
        }
    }
    unused.report();
    Ok(0)
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

/// The files of one export. Each begins anew, and grows by pieces.
struct Files {
    place: PathBuf,
    folder: bool,
    open: HashMap<String, File>,
}

impl Files {
    fn single(path: &Path) -> anyhow::Result<Self> {
        let mut files = Self {
            place: path.to_owned(),
            folder: false,
            open: HashMap::new(),
        };
        files.file(String::new())?;
        Ok(files)
    }

    fn folder(path: &Path) -> anyhow::Result<Self> {
        ensure!(
            path.is_dir() || !path.exists(),
            "cannot make the folder {}: there is a file of that name; give another with -o",
            path.display()
        );
        fs::create_dir_all(path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self {
            place: path.to_owned(),
            folder: true,
            open: HashMap::new(),
        })
    }

    fn add(&mut self, pieces: impl IntoIterator<Item = Piece>) -> anyhow::Result<()> {
        for Piece { file, bytes } in pieces {
            let path = self.path(&file);
            let written = self.file(file)?.write_all(&bytes);
            written.with_context(|| format!("cannot write to {}", path.display()))?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        if self.folder {
            self.place.join(name)
        } else {
            self.place.clone()
        }
    }

    fn file(&mut self, name: String) -> anyhow::Result<&mut File> {
        use std::collections::hash_map::Entry;
        let path = self.path(&name);
        match self.open.entry(name) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let file: io::Result<File> = File::create(&path);
                let file = file.with_context(|| format!("cannot write to {}", path.display()))?;
                Ok(entry.insert(file))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::Command;
    use super::*;
    use crate::model::{Snapshot, State, View, fixture, fold};
    use crate::record::{Header, Writer};

    /// A recording of the chain in windows of this many requests, and what each window means.
    fn recording(folder: &Path, requests: &[u64]) -> (PathBuf, Vec<Snapshot>) {
        let path = folder.join("shop.rec");
        let mut writer = Writer::new(File::create(&path).unwrap(), &Header::default()).unwrap();
        let mut state = State::default();
        let window = |(second, n): (u64, &u64)| {
            let mut frame = fixture::chain(*n);
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
        let recorded = Recorded::open(&file, None, &args, None).unwrap();
        let mut points = Vec::new();
        let take = |piece: &Snapshot| points.push(piece.entries[0].requests);
        let whole = recorded.whole_and_pieces(150, take).unwrap();
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
