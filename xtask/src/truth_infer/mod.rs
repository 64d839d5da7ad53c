//! `cargo xtask truth infer`: what `courtside infer` says of parallel applications, beside what they did.
//!
//! In: the release binary, ranks in known shapes, loads beside them. Out: docs/infer-truth.md. Must not know: how anything is
//! inferred.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::truth_models::host::progress;
use crate::truth_models::used_by_others;
use crate::{bench, build, sh};

mod page;
mod run;

use run::{Answer, Row, Tools};

/// How long the host is looked at before.
const LOOK: Duration = Duration::from_secs(3);

/// An application.
#[derive(Clone, Copy)]
pub struct Case {
    /// What `topology.shape` has to be.
    pub shape: &'static str,
    pub ranks: u32,
    /// What the workload needs to know besides.
    pub extents: Option<&'static str>,
}

const CASES: [Case; 7] = [
    case("ring", 4, None),
    case("all-to-all", 4, None),
    case("hypercube", 8, None),
    case("tree", 7, None),
    case("mesh", 6, Some("3x2")),
    case("torus", 9, Some("3x3")),
    case("pipeline", 4, None),
];

const fn case(shape: &'static str, ranks: u32, extents: Option<&'static str>) -> Case {
    Case {
        shape,
        ranks,
        extents,
    }
}

/// What runs beside: nothing, or a busy loop on so many CPUs of the application.
pub const LOADS: [u32; 3] = [0, 1, 2];
/// CPUs of the application; ranks take turns on them.
pub const CPUS: u32 = 2;

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Times that each rank goes round.
    pub iterations: u32,
    /// CPU time of one, in milliseconds.
    pub compute_ms: u32,
    /// Runs without a load, whose middle one a prediction is held to.
    pub alone: usize,
}

const FULL: Plan = Plan {
    iterations: 200,
    compute_ms: 2,
    alone: 5,
};
const QUICK: Plan = Plan {
    iterations: 60,
    compute_ms: 1,
    alone: 1,
};

/// Measure, print, and write the page; a quick run is printed.
pub fn infer(is_quick: bool) -> Result<()> {
    if !sh::is_root() {
        bail!(
            "recordings are made of the kernel. Run: sudo --preserve-env env \"PATH=$PATH\" cargo xtask truth infer"
        );
    }
    let machine = bench::machine()?;
    let tools = Tools {
        courtside: build::courtside(true)?,
        workload: build::workload()?,
        folder: sh::target_dir().join("truth-infer"),
    };
    fs::create_dir_all(&tools.folder)?;
    bench::alone()?;
    let used = used_by_others(LOOK)?;
    let plan = if is_quick { QUICK } else { FULL };
    let begun = Instant::now();
    let mut rows = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        eprintln!("xtask: {}/{} {}", number + 1, CASES.len(), case.shape);
        rows.extend(rows_of(&tools, case, plan)?);
    }
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let text = page::page(&machine, used, plan, minutes, &rows);
    println!("{text}");
    if is_quick {
        eprintln!("xtask: docs/infer-truth.md is left alone: a whole run writes it");
    } else {
        let path = sh::root().join("docs/infer-truth.md");
        fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("xtask: written to docs/infer-truth.md");
    }
    eprintln!(
        "xtask: recordings and answers are in {}",
        tools.folder.display()
    );
    Ok(())
}

/// One row for each load. What is predicted is asked for before it is measured.
fn rows_of(tools: &Tools, case: &Case, plan: Plan) -> Result<Vec<Row>> {
    let mut predicted: Vec<(u32, Result<Answer>)> = Vec::new();
    for load in LOADS {
        let answer = tools.infer(case, plan, load);
        match &answer {
            Err(error) if sh::stopped() => bail!("{error:#}"),
            Err(error) => progress(&format!("{load} loaded: {error:#}")),
            Ok(answer) => progress(&format!("{load} loaded: {}", answer.what.says)),
        }
        predicted.push((load, answer));
    }
    let mut alone = Vec::new();
    for _ in 0..plan.alone {
        alone.push(tools.alone(case, plan)?);
    }
    alone.sort_unstable();
    Ok(predicted
        .into_iter()
        .map(|(load, answer)| Row {
            case: *case,
            load,
            answer: answer.map_err(|error| format!("{error:#}")),
            alone_ns: alone.clone(),
        })
        .collect())
}
