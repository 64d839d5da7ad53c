//! `model`: profiles of recordings, predictions and placements from profiles.
//!
//! In: recordings, or a profile and what is said of machines. Out: a table, JSON or a page. Must not know: how anything is fitted or
//! predicted, how that is shown.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, ensure};

use super::{
    args::{
        FitArgs, Format, ModelArgs, ModelCommand, PageFormat, PlaceArgs, PredictArgs, Rate,
        nanoseconds,
    },
    output::Output,
    place::Inputs,
    recorded,
    unused::Unused,
};
use crate::{
    analysis::model::{self as analysis, FitOptions, Gathered, Question, Wish},
    export::{
        json, model as tables,
        report::{self, Measured},
    },
    model::{nodes::Nodes, profile::Profile},
    pass::{Consumer, PassWindow},
    record::Recording,
};

/// Largest file of a profile or of nodes that is read.
const MAX_BYTES: u64 = 64 << 20;

pub(super) fn run(args: &ModelArgs) -> anyhow::Result<u8> {
    match &args.command {
        ModelCommand::Fit(args) => fit(args),
        ModelCommand::Predict(args) => predict(args),
        ModelCommand::Place(args) => place(args),
    }
}

/// Takes the windows of one recording.
struct Gather<'a>(&'a mut Gathered);

impl Consumer for Gather<'_> {
    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        self.0.add(window.snapshot);
        Ok(())
    }
}

fn fit(args: &FitArgs) -> anyhow::Result<u8> {
    args.select.view().selection.check()?;
    let inputs = args
        .files
        .iter()
        .map(|file| Inputs::of_recording(file))
        .fold(Inputs::default(), Inputs::and);
    let mut unused = Unused::new(&args.select.entry);
    let mut gathered = Gathered::default();
    let mut first_view = None;
    let mut options = FitOptions {
        entries_given: false,
        all_components: true,
    };
    for file in &args.files {
        let recording = Recording::open(file)?;
        // All are seen alike, or else what differs is how they are seen.
        let select =
            first_view.get_or_insert_with(|| args.select.or_recorded(&recording.header().view));
        let mut view = select.view();
        // What is found to be wrong is not asked for.
        view.judge = crate::model::finding::Judge::default();
        options.entries_given = !view.entries.is_empty();
        options.all_components =
            view.selection.names_no_component() && view.selection.ports.is_empty();
        let recorded = recorded::seen(file, recording, None, view, None)?;
        gathered.begin(file.display().to_string());
        recorded.pass(&mut [&mut Gather(&mut gathered), &mut unused])?;
    }
    unused.report()?;
    let profile = analysis::fit(&gathered, options)?;
    let mut output = Output::open(&args.output, args.color, &inputs)?;
    output.write(match args.format(output.is_stdout()) {
        Format::Json => json::to_string(&profile)?,
        Format::Table => tables::profile(&profile, output.style()),
    })?;
    output.place()?;
    Ok(0)
}

fn predict(args: &PredictArgs) -> anyhow::Result<u8> {
    let mut inputs = Inputs::of_file(&args.profile);
    let profile = profile(&args.profile)?;
    let nodes = match &args.place {
        Some(path) => {
            inputs = inputs.and(Inputs::of_file(path));
            nodes(path)?
        }
        None => Nodes::default(),
    };
    let question = Question {
        rates: args
            .rate
            .iter()
            .filter_map(|rate| match rate {
                Rate::Auto => None,
                Rate::PerSecond(rate) => Some(*rate),
            })
            .collect(),
        cores: args.cores.clone(),
        nodes,
        requests: args.requests.map(|requests| requests as usize),
    };
    let found = analysis::predict(&profile, &question)?;
    let mut output = Output::open(&args.output.output, args.output.color, &inputs)?;
    output.write(match args.output.format() {
        PageFormat::Json => json::to_string(&found)?,
        PageFormat::Table => tables::prediction(&found, output.style()),
        PageFormat::Html => {
            let measured = Measured {
                points: &profile.measured,
                is_elsewhere: args.place.is_some() || !args.cores.is_empty(),
            };
            report::prediction(&found, measured)
        }
    })?;
    output.place()?;
    Ok(0)
}

fn place(args: &PlaceArgs) -> anyhow::Result<u8> {
    let inputs = Inputs::of_file(&args.profile).and(Inputs::of_file(&args.nodes));
    let profile = profile(&args.profile)?;
    let wish = Wish {
        nodes: nodes(&args.nodes)?,
        rate: args.rate,
        mean_ns: args.mean.map(|time| nanoseconds(time) as f64),
        p95_ns: args.p95.map(|time| nanoseconds(time) as f64),
        seed: args.seed,
        steps: None,
    };
    let found = analysis::place(&profile, &wish)?;
    let mut output = Output::open(&args.output.output, args.output.color, &inputs)?;
    output.write(match args.output.format() {
        Format::Json => json::to_string(&found)?,
        Format::Table => tables::placement(&found, output.style()),
    })?;
    output.place()?;
    Ok(0)
}

/// A file as text.
fn text(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let mut text = String::new();
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {name}"))?;
    ensure!(
        text.len() as u64 <= MAX_BYTES,
        "cannot read {name}: it is larger than {MAX_BYTES} bytes"
    );
    Ok(text)
}

fn profile(path: &Path) -> anyhow::Result<Profile> {
    let read = serde_json::from_str(&text(path)?);
    read.with_context(|| {
        format!(
            "{} is not a profile; make one with: courtside model fit FILE... -o PROFILE.json",
            path.display()
        )
    })
}

fn nodes(path: &Path) -> anyhow::Result<Nodes> {
    let text = text(path)?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        anyhow::anyhow!(
            "cannot read {}: {} in line {line}; courtside model predict --help shows such a file",
            path.display(),
            error.message()
        )
    })
}
