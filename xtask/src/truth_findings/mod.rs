//! `cargo xtask truth findings`: what stands on top of `courtside stat` when a cause was planted.
//!
//! In: the release binary, real services, what is planted in them or beside. Out: the table in docs/patterns.md. Must not know: how
//! anything is found.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::truth_models::host::progress;
use crate::truth_models::used_by_others;
use crate::{bench, build, packages, sh};

mod cases;
mod page;
mod run;
mod told;

use cases::{CASES, Case};
use page::{Results, Row};
use run::Tools;

/// Debian's packages of the programs that are called.
const PACKAGES: [&str; 4] = ["iproute2", "python3", "redis-server", "util-linux"];
/// How long the host is looked at before.
const LOOK: Duration = Duration::from_secs(3);

/// Measure, print, and write the table; a quick run, or one of only some cases, is printed.
pub fn findings(is_quick: bool, only: &[String]) -> Result<()> {
    if !sh::is_root() {
        bail!(
            "what is planted is measured in the kernel. Run: sudo --preserve-env env \"PATH=$PATH\" cargo xtask truth findings"
        );
    }
    let wanted = wanted(only)?;
    packages::need("The truth about findings", &PACKAGES)?;
    let machine = bench::machine()?;
    let tools = Tools {
        courtside: build::courtside(true)?,
        workload: build::workload()?,
        folder: sh::target_dir().join("truth-findings"),
        cpu: last_cpu()?,
    };
    fs::create_dir_all(&tools.folder)?;
    let is_printed = is_quick || !only.is_empty();
    match bench::alone() {
        Err(error) if is_printed => eprintln!("xtask: {error:#}"),
        others => others?,
    }
    let busy = used_by_others(LOOK)?;
    let plan = if is_quick { cases::QUICK } else { cases::FULL };
    let begun = Instant::now();
    let mut rows = Vec::new();
    for (number, case) in wanted.iter().enumerate() {
        eprintln!("xtask: {}/{} {}", number + 1, wanted.len(), case.planted);
        let told = match tools.run(case, plan) {
            Err(error) if sh::stopped() => return Err(error),
            told => told.map_err(|error| format!("{error:#}")),
        };
        let row = Row { case, told };
        progress(&said(&row));
        rows.push(row);
    }
    let results = Results {
        machine,
        busy,
        minutes: begun.elapsed().as_secs_f64() / 60.0,
        rows,
    };
    let table = page::table(&results);
    println!("{table}");
    if is_printed {
        eprintln!("xtask: docs/patterns.md is left alone: a whole run writes it");
    } else {
        let path = sh::root().join("docs/patterns.md");
        let before =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        fs::write(&path, page::replaced(&before, &table)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("xtask: written to docs/patterns.md");
    }
    eprintln!("xtask: the windows are in {}", tools.folder.display());
    Ok(())
}

/// The cases of these names, or all.
fn wanted(only: &[String]) -> Result<Vec<&'static Case>> {
    if let Some(unknown) = only
        .iter()
        .find(|name| CASES.iter().all(|case| case.slug != name.as_str()))
    {
        let names = CASES.map(|case| case.slug);
        bail!("there is no case {unknown}; there are {}", names.join(", "));
    }
    let is_wanted = |case: &&Case| only.is_empty() || only.iter().any(|name| name == case.slug);
    Ok(CASES.iter().filter(is_wanted).collect())
}

/// What came of a case, in a line.
fn said(row: &Row) -> String {
    let verdict = if page::is_right(row) {
        "right"
    } else {
        "wrong"
    };
    match &row.told {
        Err(why) => format!("failed: {why}"),
        Ok(told) => match &told.first {
            Some((after, line)) => {
                format!("{verdict} after {after:.1} s: {}: {}", line.rule, line.says)
            }
            None => match told.wrong.last() {
                Some(line) => format!("{verdict}: {}: {}", line.rule, line.says),
                None => format!("{verdict}: nothing was said"),
            },
        },
    }
}

/// The last CPU that we may use: what is bound is bound to this one.
fn last_cpu() -> Result<usize> {
    let all = rustix::thread::sched_getaffinity(None).context("cannot ask which CPUs there are")?;
    let last = (0..rustix::thread::CpuSet::MAX_CPU).rfind(|&cpu| all.is_set(cpu));
    last.context("there is no CPU")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_chosen_by_name() {
        assert_eq!(wanted(&[]).unwrap().len(), CASES.len());
        let one = wanted(&["quota".to_owned()]).unwrap();
        assert_eq!(
            one.iter().map(|case| case.slug).collect::<Vec<_>>(),
            ["quota"]
        );
        let error = wanted(&["quotas".to_owned()]).unwrap_err().to_string();
        assert!(error.ends_with("quota, calls, nothing"), "{error}");
    }
}
