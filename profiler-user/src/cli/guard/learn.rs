//! `guard learn`: what is usual, from recordings or from what is measured now.
//!
//! In: windows, earlier specs. Out: a spec, or a table of it. Must not know: how it is learned.

use std::{path::Path, time::Duration};

use courtside_agent::measure::Kernel;

use super::{
    super::{
        args::{Format, LearnArgs},
        now::{NOW, Wanted, measure},
        output::Output,
        place::Inputs,
        recorded, target,
    },
    everything, spec,
    victims::Victims,
};
use crate::{
    analysis::guard::{CannotLearn, LearnOptions, Learner, inputs},
    export::{guard as tables, json},
    model::{View, spec::Spec},
    pass::{Consumer, PassWindow},
    record::{Recorded, Recording},
};

const DURATION_DEFAULT: Duration = Duration::from_secs(300);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

/// Takes windows of the selected services.
struct Learning<'a> {
    learner: &'a mut Learner,
    victims: Victims,
}

impl Consumer for Learning<'_> {
    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        let victims = self.victims.of(window.frame, window.snapshot);
        let wanted = |id: &str| victims.as_ref().is_none_or(|ids| ids.contains(id));
        self.learner.add(&inputs(window.snapshot), wanted);
        Ok(())
    }
}

pub(super) fn run(args: &LearnArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    args.select.view().selection.check()?;
    let earlier: Vec<Spec> = args
        .with
        .iter()
        .map(|path| spec(path))
        .collect::<anyhow::Result<_>>()?;
    let recordings = args.files.iter().map(|file| Inputs::of_recording(file));
    let specs = args.with.iter().map(|file| Inputs::of_file(file));
    let files = recordings.chain(specs).fold(Inputs::default(), Inputs::and);
    let mut learner = Learner::default();
    let mut output = if args.files.is_empty() {
        live(args, &files, &mut learner, kernel, root)?
    } else {
        let output = Output::open(&args.output, args.color, &files)?;
        for file in &args.files {
            let recording = Recording::open(file)?;
            let view = args.select.or_recorded(&recording.header().view).view();
            let seen = recorded::seen(file, recording, None, everything(&view), args.interval)?;
            learner.begin(&file.display().to_string());
            take(&seen, &view, &mut learner)?;
        }
        output
    };
    let options = LearnOptions {
        min_samples: args.min_samples,
    };
    let learned = learner.finish(&earlier, options)?;
    output.write(match args.format(output.is_stdout()) {
        Format::Json => json::to_string(&learned)?,
        Format::Table => tables::spec(&learned, output.style()),
    })?;
    output.place()?;
    Ok(0)
}

fn take(seen: &Recorded, view: &View, learner: &mut Learner) -> anyhow::Result<()> {
    let mut learning = Learning {
        learner,
        victims: Victims::new(view),
    };
    seen.pass(&mut [&mut learning])
}

/// Measures first, and learns then.
fn live(
    args: &LearnArgs,
    files: &Inputs,
    learner: &mut Learner,
    kernel: &dyn Kernel,
    root: &Path,
) -> anyhow::Result<Output> {
    let view = args.select.view();
    target::check(root, &view)?;
    let output = Output::open_for_later(&args.output, args.color, files, root)?;
    let wanted = Wanted {
        select: &args.select,
        measure: &args.measure,
        interval: args.interval.unwrap_or(INTERVAL_DEFAULT),
        limit: Some(args.duration.unwrap_or(DURATION_DEFAULT)),
        command: &[],
        aside: false,
        events: false,
    };
    let measured = measure(&wanted, kernel, root)?;
    let Some(recording) = measured.recording else {
        return Err(CannotLearn::NothingAtWork { windows: 0 }.into());
    };
    let seen = recorded::seen(Path::new(NOW), recording, None, everything(&view), None)?;
    learner.begin(NOW);
    take(&seen, &view, learner)?;
    Ok(output)
}
