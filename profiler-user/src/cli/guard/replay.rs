//! `guard replay`: judges a recording.
//!
//! In: a recording, what is usual, which windows. Out: lines; who was most aggressive in these windows; tables. Must not know: how
//! it is told who slows whom.

use std::collections::BTreeMap;

use super::{
    super::{
        args::{Format, GuardReplayArgs},
        export::Files,
        output::{Output, Reader},
        place::Inputs,
        range::Range,
        recorded,
    },
    Printer, begin, everything,
    victims::Victims,
};
use crate::{
    analysis::guard::{Guard, Ranking, inputs},
    export::{guard as tables, parquet::Told},
    model::interference::{EventKind, Interference, Signal},
    pass::{Consumer, PassWindow},
    record::Recording,
};

/// Lines that are kept for the summary, at most.
const MAX_TOLD: usize = 100_000;

/// Judges window after window.
struct Judge<'a> {
    guard: Guard,
    victims: Victims,
    printer: &'a mut Printer,
    tables: Option<(Told, Files)>,
    /// Windows that are told of; all of them if none.
    range: Option<&'a Range>,
    /// What was wrong already before the first of them, as it was told then.
    lasting: BTreeMap<(String, Option<Signal>), Interference>,
    ranking: Ranking,
    told: Vec<Interference>,
    reader: Reader,
}

impl Judge<'_> {
    fn note(&mut self, lines: &[Interference]) {
        for line in lines {
            let key = (line.victim.clone(), line.signal);
            match line.event {
                EventKind::Anomaly => {
                    self.lasting.insert(key, line.clone());
                }
                EventKind::Cleared => {
                    self.lasting.remove(&key);
                }
                _ => {}
            }
        }
    }

    fn tell(&mut self, lines: Vec<Interference>) -> anyhow::Result<()> {
        self.reader = self.printer.print(&lines)?;
        if let Some((tables, files)) = &mut self.tables {
            for line in &lines {
                files.add(tables.add(line)?)?;
            }
        }
        if self.told.len() < MAX_TOLD {
            self.told.extend(lines);
        }
        Ok(())
    }
}

impl Consumer for Judge<'_> {
    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        if self.reader == Reader::Gone {
            return Ok(());
        }
        let victims = self.victims.of(window.frame, window.snapshot);
        let watched = |id: &str| victims.as_ref().is_none_or(|ids| ids.contains(id));
        let inputs = inputs(window.snapshot);
        let lines = self.guard.window(inputs.clone(), &watched);
        let is_told = |Range(range): &Range| range.contains(&window.number);
        if !self.range.is_none_or(is_told) {
            self.note(&lines);
            return Ok(());
        }
        self.ranking.window(&self.guard, &inputs);
        let mut all: Vec<Interference> = std::mem::take(&mut self.lasting).into_values().collect();
        all.extend(lines);
        self.tell(all)
    }
}

pub(super) fn run(args: &GuardReplayArgs) -> anyhow::Result<u8> {
    args.select.view().selection.check()?;
    let (guard, inputs) = begin(&args.judge)?;
    let inputs = inputs.and(Inputs::of_recording(&args.file));
    let recording = Recording::open(&args.file)?;
    let view = args.select.or_recorded(&recording.header().view).view();
    // What comes after is not needed, and what comes before is judged by.
    let needed = args.window.as_ref();
    let needed = needed.map(|Range(range)| Range(0..=*range.end()));
    let view_of_all = everything(&view);
    let seen = recorded::seen(&args.file, recording, needed.as_ref(), view_of_all, None)?;
    let mut printer = Printer {
        output: Output::open(&args.output.output, args.output.color, &inputs)?,
        format: args.output.format(),
    };
    let files = args.parquet.as_deref();
    let files = files
        .map(|folder| Files::folder(folder, inputs))
        .transpose()?;
    let tables = files.map(|files| anyhow::Ok((Told::new()?, files)));
    let mut judge = Judge {
        guard,
        victims: Victims::new(&view),
        printer: &mut printer,
        tables: tables.transpose()?,
        range: args.window.as_ref(),
        lasting: BTreeMap::new(),
        ranking: Ranking::default(),
        told: Vec::new(),
        reader: Reader::There,
    };
    seen.pass(&mut [&mut judge])?;
    let Judge {
        guard,
        tables: written,
        ranking,
        told,
        ..
    } = judge;
    if printer.format == Format::Table {
        let style = printer.output.style();
        let windows = args
            .window
            .as_ref()
            .map_or(guard.windows(), |_| ranking.windows());
        let mut text = tables::summary(&told, windows, style);
        text += &tables::aggressors(&ranking.worst(), windows, ranking.left_out(), style);
        printer.output.write(text)?;
    }
    if let Some((tables, mut files)) = written {
        files.add(tables.finish()?)?;
        files.place()?;
    }
    printer.output.place()?;
    Ok(0)
}
