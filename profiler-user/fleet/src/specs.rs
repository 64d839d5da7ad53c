//! `fleet specs`: what is usual for each job and platform, over all hosts.
//!
//! In: windows of all hosts, earlier specs. Out: a spec as `guard learn` writes it. Must not know: how it is learned.

use std::{io::Write as _, path::Path};

use anyhow::{Context as _, bail};
use courtside_analysis::guard::{LearnOptions, Learner};
use courtside_core::model::spec::{SPEC_SCHEMA, Spec};
use courtside_export::{Style, guard};

use crate::{
    answer::Output,
    args::{FormatArg, SpecsArgs, TimeArgs},
    engine::Engine,
    glob::Globs,
    guarded::Windows,
    progress,
};
pub(crate) async fn run(args: &SpecsArgs) -> anyhow::Result<()> {
    let wanted = Globs::new(&args.job)?;
    let earlier: Vec<Spec> = args
        .with
        .iter()
        .map(|path| read(path))
        .collect::<anyhow::Result<_>>()?;
    let mut engine = Engine::open(&args.source)?;
    let learned = learn(
        &mut engine,
        &args.time,
        &|job| wanted.fits(job),
        &earlier,
        args.min_samples,
    )
    .await?;
    let text = match args.output.format {
        FormatArg::Json => serde_json::to_string_pretty(&learned)?,
        FormatArg::Table => guard::spec(&learned, Style::default()),
    };
    let mut output = Output::open(args.output.output.as_deref())?;
    let written = writeln!(output.writer, "{}", text.trim_end()).map_err(Into::into);
    output.close(written)
}

/// Learns from every host.
///
/// # Errors
/// Nothing can be learned, or read.
pub(crate) async fn learn(
    engine: &mut Engine,
    time: &TimeArgs,
    wanted: &dyn Fn(&str) -> bool,
    earlier: &[Spec],
    min_samples: u64,
) -> anyhow::Result<Spec> {
    let mut learner = Learner::default();
    learner.begin(&engine.root().display().to_string());
    let hosts: Vec<String> = engine
        .tree()
        .hours()
        .keys()
        .map(|host| (*host).to_owned())
        .collect();
    for (number, host) in hosts.iter().enumerate() {
        progress::hosts("learned from", number, hosts.len());
        learner.another_machine();
        let mut windows = Windows::of(engine, host, time).await?;
        while let Some(window) = windows.next().await? {
            learner.add(&window, wanted);
        }
    }
    progress::end();
    Ok(learner.finish(earlier, LearnOptions { min_samples })?)
}

/// A spec that was written before.
///
/// # Errors
/// It is none.
pub(crate) fn read(path: &Path) -> anyhow::Result<Spec> {
    let cannot = || format!("cannot read {}", path.display());
    let text = std::fs::read_to_string(path).with_context(cannot)?;
    let spec: Spec = serde_json::from_str(&text).with_context(cannot)?;
    if spec.schema != SPEC_SCHEMA {
        bail!(
            "{} has schema {:?}, and this version knows {SPEC_SCHEMA}",
            path.display(),
            spec.schema
        );
    }
    Ok(spec)
}
