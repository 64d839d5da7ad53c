//! `cargo xtask truth guard`: whom `courtside guard` blames, beside what was planted.
//!
//! In: the release binary, a service, what is planted beside it. Out: docs/guard-truth.md. Must not know: how the guard judges.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::truth_models::host::{Cpus, progress};
use crate::truth_models::{service, used_by_others};
use crate::{bench, build, packages, sh};

mod cases;
mod page;
mod run;
mod told;

use cases::{CASES, Expected, Plan, Slot};
use page::{Control, Results, Row};
use run::{Tools, Usual};

/// Debian's packages of the programs that are called.
const PACKAGES: [&str; 2] = ["bpftool", "util-linux"];
/// How long the host is looked at before.
const LOOK: Duration = Duration::from_secs(3);

/// Measure, print, and write the page; a quick run is printed.
pub fn guard(is_quick: bool) -> Result<()> {
    if !sh::is_root() {
        bail!(
            "the guard measures the kernel. Run: sudo --preserve-env env \"PATH=$PATH\" cargo xtask truth guard"
        );
    }
    packages::need("The truth about the guard", &PACKAGES)?;
    let machine = bench::machine()?;
    let tools = Tools {
        inner: service::Tools {
            courtside: build::courtside(true)?,
            workload: build::workload()?,
            cpus: Cpus::take()?,
        },
        folder: sh::target_dir().join("truth-guard"),
    };
    fs::create_dir_all(&tools.folder)?;
    bench::alone()?;
    let used = used_by_others(LOOK)?;
    let plan = if is_quick { cases::QUICK } else { cases::FULL };
    let begun = Instant::now();
    eprintln!("xtask: what is usual");
    let usual = tools.learn(plan)?;
    if usual.run_queue_ns > cases::NOT_ALONE_NS {
        let what = format!(
            "while it was learned what is usual, the service waited {:.0} µs for a CPU for each request, and by itself it waits at most \
             {:.0} µs: somebody else runs on CPU {}, and beside that no neighbour is seen. End that and repeat it",
            usual.run_queue_ns / 1e3,
            cases::ALONE_NS / 1e3,
            tools.inner.cpus.service
        );
        if !is_quick {
            bail!(what);
        }
        eprintln!("xtask: {what}");
    }
    let (rows, controls) = runs(&tools, plan, &usual)?;
    let results = Results {
        machine,
        busy: used,
        minutes: begun.elapsed().as_secs_f64() / 60.0,
        learned_windows: usual.windows,
        usual_ns: usual.run_queue_ns,
        rows,
        controls,
    };
    let text = page::page(&results);
    println!("{text}");
    if is_quick {
        eprintln!("xtask: docs/guard-truth.md is left alone: a whole run writes it");
    } else {
        let path = sh::root().join("docs/guard-truth.md");
        fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("xtask: written to docs/guard-truth.md");
    }
    eprintln!(
        "xtask: what the guard said is in {}",
        tools.folder.display()
    );
    Ok(())
}

/// All of them, in the order of the scenarios. What fails is kept, and others go on; only a signal ends all.
fn runs(tools: &Tools, plan: Plan, usual: &Usual) -> Result<(Vec<Row>, Vec<Control>)> {
    let slots = cases::slots(plan);
    let (mut rows, mut controls) = (Vec::new(), Vec::new());
    for (number, slot) in slots.iter().enumerate() {
        let Slot { case, is_planted } = *slot;
        eprintln!("xtask: {}/{} {}", number + 1, slots.len(), title(slot));
        let seed = cases::SEED + 1 + number as u64;
        let seen = tools.run(slot, plan, usual, seed);
        let seen = match seen {
            Err(error) if sh::stopped() => return Err(error),
            Err(error) => {
                progress(&format!("failed: {error:#}"));
                Err(format!("{error:#}"))
            }
            Ok(seen) => Ok(seen),
        };
        if is_planted {
            let told = seen.as_ref().map(|seen| seen.judge(case.expected));
            if let Ok(told) = &told {
                progress(&format!("{}: {}", told.verdict.name(), told.what));
            }
            let of = |seen: &told::Seen| (seen.blamed_before(), seen.windows[0]);
            rows.push(Row {
                case,
                told: told.map_err(Clone::clone),
                before: seen.as_ref().map(of).unwrap_or_default(),
                held: seen.ok().and_then(|seen| seen.held(usual.run_queue_ns)),
            });
        } else {
            let told = seen.map(|seen| {
                // From the first window on.
                let windows = seen.windows.iter().sum();
                let all = told::Seen {
                    begun_unix_ns: 0,
                    ..seen
                };
                (all.judge(Expected::Nobody), windows)
            });
            controls.push(Control { case, told });
        }
    }
    let place = |slug: &str| CASES.iter().position(|case| case.slug == slug);
    rows.sort_by_key(|row| place(row.case.slug));
    controls.sort_by_key(|control| place(control.case.slug));
    Ok((rows, controls))
}

/// For progress.
fn title(slot: &Slot) -> String {
    if slot.is_planted {
        slot.case.name.to_owned()
    } else {
        format!("nothing; the control of: {}", slot.case.name)
    }
}
