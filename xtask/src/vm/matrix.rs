//! The page docs/kernels.md: what is attached to what on which kernel, and what holds there.
//!
//! In: what each machine said, and the verdict over it. Out: Markdown. Must not know: machines, what a test does.

use std::fmt::Write as _;

use serde_json::Value;

use super::ledger::Holds;
use super::machine::Told;

/// Instructions that the verifier may go through for a program. It gives up at a million, and what it takes differs
/// between kernels: enough is left for one that is not tried here. The most is what `sock_send_length` takes: 166 807 on
/// 6.12, and 176 580 on 6.18 with events and counters of turnarounds.
const BUDGET: u64 = 200_000;

/// One kernel that was booted: a column of the page.
pub struct KernelColumn {
    /// As in `kernels.rs`.
    pub name: &'static str,
    /// The whole release.
    pub release: String,
    /// What it said.
    pub told: Told,
    /// Each test, and whether it holds.
    pub holds: Vec<(String, Holds)>,
    /// Cycles that an instruction takes there, where that is known. Only counters are tested then.
    pub cpi: Option<u64>,
}

/// The page.
pub fn page(columns: Vec<KernelColumn>) -> String {
    let (mut counting, mut columns): (Vec<KernelColumn>, Vec<KernelColumn>) =
        columns.into_iter().partition(|column| column.cpi.is_some());
    columns.sort_by(|a, b| version(a.name).cmp(&version(b.name)));
    counting.sort_by_key(|column| column.cpi);
    let mut page = String::from(
        "# Kernels\n\nWritten by `cargo xtask vm` from what emulated machines said. `courtside check` tells the same of the\n\
         kernel it runs on.\n\n| kernel | release |\n|---|---|\n",
    );
    for column in &columns {
        line(&mut page, [column.name, &column.release]);
    }
    page.push_str("\n## What is attached to what\n\n");
    let mut notes = Notes::default();
    head(&mut page, "what it serves", &names(&columns));
    for serves in rows(&columns, |column| {
        probes(column)
            .map(|probe| text(probe, "serves").to_owned())
            .collect()
    }) {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| cell(column, &serves, &mut notes))
            .collect();
        let cells = cells.iter().map(String::as_str);
        let serves = match serves.as_str() {
            "" => "what their first copies were skipped for",
            serves => serves,
        };
        line(&mut page, [serves].into_iter().chain(cells));
    }
    notes.write(&mut page);
    let _ = write!(
        page,
        "\n## What the verifier went through\n\nInstructions of each program; the kernel gives up at a million, and `cargo xtask \
         vm` at {BUDGET}. Kernels before 5.16 do not tell.\n\n"
    );
    head(&mut page, "program", &names(&columns));
    for program in rows(&columns, |column| {
        verified(column)
            .map(|(program, _)| program.to_owned())
            .collect()
    }) {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| {
                let mut found = verified(column).filter(|(name, _)| *name == program);
                found
                    .next()
                    .map_or("-".to_owned(), |(_, count)| count.to_string())
            })
            .collect();
        let program = format!("`{program}`");
        let cells = cells.iter().map(String::as_str);
        line(&mut page, [program.as_str()].into_iter().chain(cells));
    }
    page.push_str("\n## What holds\n\n");
    holds(&mut page, &columns, &names(&columns));
    if let Some(first) = counting.first() {
        let _ = write!(
            page,
            "\n## Counters\n\nOn machines whose CPU takes a known number of cycles for each instruction (Linux {}).\n\n",
            first.release
        );
        let names: Vec<String> = counting
            .iter()
            .map(|column| format!("CPI {}", column.cpi.unwrap_or_default()))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        holds(&mut page, &counting, &names);
    }
    page
}

/// Programs for which the verifier went through more instructions than it may, and how many.
pub fn over_budget(told: &Told) -> Vec<String> {
    told_verified(told)
        .filter(|(_, count)| *count > BUDGET)
        .map(|(program, count)| {
            format!("{program}: {count} instructions verified, {BUDGET} are allowed")
        })
        .collect()
}

/// Programs that are loaded, and the instructions that the verifier went through.
fn verified(column: &KernelColumn) -> impl Iterator<Item = (&str, u64)> {
    told_verified(&column.told)
}

fn told_verified(told: &Told) -> impl Iterator<Item = (&str, u64)> {
    told_probes(told).filter_map(|probe| {
        Some((
            text(probe, "name"),
            probe["verified_instructions"].as_u64()?,
        ))
    })
}

/// A table of tests.
fn holds(page: &mut String, columns: &[KernelColumn], names: &[&str]) {
    let mut notes = Notes::default();
    head(page, "test", names);
    for test in rows(columns, |column| {
        column.holds.iter().map(|(test, _)| test.clone()).collect()
    }) {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| {
                let found = column.holds.iter().find(|(name, _)| *name == test);
                match found.map(|(_, holds)| holds) {
                    None => "not run".to_owned(),
                    Some(Holds::Yes) => "holds".to_owned(),
                    Some(Holds::No(why)) => format!("no{}", notes.number(why)),
                }
            })
            .collect();
        let cells = cells.iter().map(String::as_str);
        line(page, [test.as_str()].into_iter().chain(cells));
    }
    notes.write(page);
}

fn names(columns: &[KernelColumn]) -> Vec<&'static str> {
    columns.iter().map(|column| column.name).collect()
}

/// Hooks by which something is served on a kernel.
fn cell(column: &KernelColumn, serves: &str, notes: &mut Notes) -> String {
    let hooks: Vec<String> = probes(column)
        .filter(|probe| text(probe, "serves") == serves)
        .map(|probe| {
            let hook = format!("`{}`", text(probe, "hook"));
            let (state, reason) = (text(probe, "state"), text(probe, "reason"));
            match state {
                "ok" => hook,
                _ => format!("{hook}, {state}{}", notes.number(reason)),
            }
        })
        .collect();
    if hooks.is_empty() {
        "-".to_owned()
    } else {
        hooks.join("<br>")
    }
}

/// Reasons, each told once.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    /// The mark of a reason; nothing for none.
    fn number(&mut self, reason: &str) -> String {
        if reason.is_empty() {
            return String::new();
        }
        let known = self.0.iter().position(|note| note == reason);
        let at = known.unwrap_or_else(|| {
            self.0.push(reason.to_owned());
            self.0.len() - 1
        });
        format!(" ({})", at + 1)
    }

    fn write(&self, page: &mut String) {
        for (at, note) in self.0.iter().enumerate() {
            let before = if at == 0 { "\n" } else { "" };
            let _ = writeln!(page, "{before}{}. {note}", at + 1);
        }
    }
}

fn head(page: &mut String, first: &str, names: &[&str]) {
    line(page, [first].into_iter().chain(names.iter().copied()));
    line(page, std::iter::repeat_n("---", names.len() + 1));
}

fn line<'a>(page: &mut String, cells: impl IntoIterator<Item = &'a str>) {
    let cells: Vec<&str> = cells.into_iter().collect();
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

/// The rows of all columns, each once, in the order of the first column that has it.
fn rows(columns: &[KernelColumn], of: impl Fn(&KernelColumn) -> Vec<String>) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for row in columns.iter().flat_map(of) {
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows
}

fn probes(column: &KernelColumn) -> impl Iterator<Item = &Value> {
    told_probes(&column.told)
}

fn told_probes(told: &Told) -> impl Iterator<Item = &Value> {
    told.results
        .iter()
        .filter_map(|result| result["figures"]["probes"].as_array())
        .flatten()
}

/// A text in a record of a machine; empty if there is none.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// What a column is sorted by: of each architecture, the oldest kernel first.
fn version(name: &str) -> (&str, Vec<u32>) {
    let (version, architecture) = name.split_once('-').unwrap_or((name, ""));
    let parts = version.split('.').filter_map(|part| part.parse().ok());
    (architecture, parts.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn column(name: &'static str, probe: &Value, holds: Holds) -> KernelColumn {
        KernelColumn {
            name,
            release: format!("{name}.1"),
            told: Told {
                results: vec![json!({ "test": "check", "figures": { "probes": [probe] } })],
                done: true,
                failed: None,
            },
            holds: vec![("loss".to_owned(), holds)],
            cpi: None,
        }
    }

    #[test]
    fn machines_whose_counters_are_known_have_a_table_of_their_own() {
        let mut counting = column("6.12-arm64-cpi2", &json!({}), Holds::Yes);
        counting.cpi = Some(2);
        let page = page(vec![column("6.12", &json!({}), Holds::Yes), counting]);
        assert!(page.contains("| test | 6.12 |\n"), "{page}");
        assert!(page.contains("| test | CPI 2 |\n"), "{page}");
    }

    #[test]
    fn a_program_that_is_hard_to_verify_is_named() {
        let probe = |count: u64| json!({ "name": "sched_switch", "verified_instructions": count });
        let told = |count| column("6.12", &probe(count), Holds::Yes);
        assert_eq!(over_budget(&told(BUDGET).told), [""; 0]);
        assert_eq!(over_budget(&told(BUDGET + 1).told).len(), 1);
        let page = page(vec![told(1234)]);
        assert!(page.contains("| `sched_switch` | 1234 |"), "{page}");
    }

    #[test]
    fn kernels_of_one_architecture_stand_side_by_side() {
        let mut names = ["6.12-arm64", "7.2", "6.1-arm64", "6.12", "6.1"];
        names.sort_by(|a, b| version(a).cmp(&version(b)));
        assert_eq!(names, ["6.1", "6.12", "7.2", "6.1-arm64", "6.12-arm64"]);
    }

    #[test]
    fn every_kernel_has_a_column_and_every_reason_a_note() {
        let tracepoint = json!({
            "hook": "tp_btf:block_io_start", "serves": "disk", "state": "ok", "reason": "",
        });
        let stand_in = json!({
            "hook": "tp_btf:block_rq_issue", "serves": "disk", "state": "degraded", "reason": "no start",
        });
        let page = page(vec![
            column("6.12", &tracepoint, Holds::No("it is busy".to_owned())),
            column("6.1", &stand_in, Holds::Yes),
        ]);
        assert!(
            page.contains(
                "| disk | `tp_btf:block_rq_issue`, degraded (1) | `tp_btf:block_io_start` |"
            ),
            "{page}"
        );
        assert!(page.contains("\n1. no start\n"), "{page}");
        assert!(page.contains("| loss | holds | no (1) |"), "{page}");
        assert!(page.contains("\n1. it is busy\n"), "{page}");
    }
}
