//! The table of docs/patterns.md: planted, said, after how many seconds.
//!
//! In: what was planted and what was told, the page as it is. Out: the page with a new table. Pure. Must not know: how either came
//! about.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::cases::Case;
use super::told::{Line, Told};
use crate::bench::Machine;

/// What stands around the table.
const BEGIN: &str = "<!-- from here on by cargo xtask truth findings -->\n";
const END: &str = "<!-- up to here by cargo xtask truth findings -->\n";

/// A case that was run.
pub struct Row {
    pub case: &'static Case,
    /// What was told, or why nothing was measured.
    pub told: Result<Told, String>,
}

/// All that was measured.
pub struct Results {
    pub machine: Machine,
    /// Share of all CPU time that others used before.
    pub busy: f64,
    pub minutes: f64,
    pub rows: Vec<Row>,
}

/// The page with another table.
pub fn replaced(page: &str, table: &str) -> Result<String> {
    let missing = "docs/patterns.md has no marks of where the table begins and ends";
    let (before, rest) = page.split_once(BEGIN).context(missing)?;
    let (_, after) = rest.split_once(END).context(missing)?;
    Ok(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

/// Whether the first line named what was planted, or of the control named nothing.
pub fn is_right(row: &Row) -> bool {
    row.told.as_ref().is_ok_and(|told| match row.case.rule {
        Some(_) => told.first.is_some(),
        None => told.before.is_empty() && told.wrong.is_empty(),
    })
}

/// What stands between the marks.
pub fn table(results: &Results) -> String {
    let Results {
        machine,
        busy,
        minutes,
        rows,
    } = results;
    let (planted, controls): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| row.case.rule.is_some());
    let mut page = format!(
        "Made by `cargo xtask truth findings` on {}, in {minutes:.0} minutes. {}, Linux {}, {} CPUs; before it, {:.1} % of all CPU \
         time was used by others.\n\n\
         A cause is planted in a service, or beside it, while `courtside stat -i 1s` is running. The table has the first line of \
         the first window that names the right rule and the right component, and how many seconds after the planting that window \
         ended; a window takes a second. Then how many of the windows from there on say the same, and in how many windows before \
         the planting the first line said anything. Named: {} of {}.\n\n\
         | planted | first line | after | stays | before |\n\
         |---|---|--:|--:|--:|\n",
        machine.day,
        machine.cpu,
        machine.kernel,
        machine.cpus,
        busy * 100.0,
        planted.iter().filter(|row| is_right(row)).count(),
        planted.len(),
    );
    for row in &planted {
        self::planted(&mut page, row);
    }
    for row in controls {
        control(&mut page, row);
    }
    let mut said = Vec::new();
    for Row { case, told } in rows {
        let Ok(told) = told else {
            continue;
        };
        let lines = |lines: &[Line], when: &str, said: &mut Vec<String>| {
            for (line, count) in counted(lines) {
                let s = if count == 1 { "" } else { "s" };
                said.push(format!(
                    "- {} ({when}, {count} window{s}): {line}",
                    case.planted
                ));
            }
        };
        lines(&told.before, "before", &mut said);
        lines(&told.wrong, "planted", &mut said);
    }
    if !said.is_empty() {
        page += "\nOther first lines, one of each rule:\n\n";
        page += &said.join("\n");
        page.push('\n');
    }
    page
}

fn planted(page: &mut String, Row { case, told }: &Row) {
    let _ = match told {
        Err(why) => writeln!(
            page,
            "| {} | not measured: {} | | | |",
            case.planted,
            cell(why)
        ),
        Ok(told) => {
            let Told {
                before,
                windows_before,
                since,
                right_since,
                ..
            } = told;
            let (line, after, stays) = match &told.first {
                Some((after, line)) => (
                    shown(line),
                    format!("{after:.1} s"),
                    format!("{right_since} of {since}"),
                ),
                None => {
                    let wrong = told.wrong.last();
                    let wrong = wrong.map_or_else(|| "nothing was said".to_owned(), shown);
                    (format!("**wrong**: {wrong}"), String::new(), String::new())
                }
            };
            writeln!(
                page,
                "| {} | {line} | {after} | {stays} | {} of {windows_before} |",
                case.planted,
                before.len()
            )
        }
    };
}

fn control(page: &mut String, row: &Row) {
    let Row { case, told } = row;
    let _ = match told {
        Err(why) => writeln!(
            page,
            "| {} | not measured: {} | | | |",
            case.planted,
            cell(why)
        ),
        Ok(told) => {
            let line = match told.before.first().or(told.wrong.first()) {
                None => "nothing, as is right".to_owned(),
                Some(line) => format!("**wrong**: {}", shown(line)),
            };
            writeln!(
                page,
                "| {} | {line} | | | {} of {} |",
                case.planted,
                told.before.len(),
                told.windows_before
            )
        }
    };
}

/// The first of each rule, and how many there are of it.
fn counted(lines: &[Line]) -> Vec<(String, usize)> {
    let mut rules: Vec<&str> = Vec::new();
    for line in lines {
        if !rules.contains(&line.rule.as_str()) {
            rules.push(&line.rule);
        }
    }
    let of = |rule: &str| {
        let mut same = lines.iter().filter(|line| line.rule == rule);
        let first = same.next()?;
        Some((shown(first), 1 + same.count()))
    };
    rules.into_iter().filter_map(of).collect()
}

fn shown(line: &Line) -> String {
    format!("`{}`: {}", line.rule, cell(&line.says))
}

/// As it may stand in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::super::cases::CASES;
    use super::*;

    fn line(rule: &str) -> Line {
        Line {
            rule: rule.to_owned(),
            says: "a | b".to_owned(),
        }
    }

    fn results(told: impl Fn(&Case) -> Result<Told, String>) -> Results {
        Results {
            machine: Machine {
                cpu: "a CPU".to_owned(),
                cpus: 2,
                kernel: "6.18".to_owned(),
                load: String::new(),
                day: "2026-11-30".to_owned(),
            },
            busy: 0.01,
            minutes: 3.0,
            rows: CASES
                .iter()
                .map(|case| Row {
                    case,
                    told: told(case),
                })
                .collect(),
        }
    }

    #[test]
    fn what_is_named_what_is_wrong_and_what_failed_is_written_so() {
        let told = |case: &Case| {
            let named = Told {
                windows_before: 4,
                first: Some((1.25, line(case.rule.unwrap_or_default()))),
                since: 8,
                right_since: 7,
                ..Told::default()
            };
            match case.slug {
                "lock" => Ok(Told {
                    wrong: vec![line("run_queue"), line("run_queue")],
                    first: None,
                    ..named
                }),
                "disk" => Err("no disk".to_owned()),
                "nothing" => Ok(Told::default()),
                _ => Ok(named),
            }
        };
        let text = table(&results(told));
        assert!(text.contains("Named: 6 of 8."), "{text}");
        assert!(
            text.contains(" | `cpu_quota`: a \\| b | 1.2 s | 7 of 8 | 0 of 4 |"),
            "{text}"
        );
        assert!(
            text.contains(" | **wrong**: `run_queue`: a \\| b |"),
            "{text}"
        );
        assert!(text.contains("not measured: no disk"), "{text}");
        assert!(text.contains(" | nothing, as is right | "), "{text}");
        assert!(text.contains("(planted, 2 windows): `run_queue`"), "{text}");
        // Each row is one of the table: no rule's row is.
        assert!(!text.contains("\n| `"));
    }

    #[test]
    fn a_control_that_says_something_is_wrong() {
        let told = |_: &Case| {
            Ok(Told {
                before: vec![line("run_queue")],
                windows_before: 4,
                ..Told::default()
            })
        };
        let results = results(told);
        assert!(!results.rows.iter().any(is_right));
        let text = table(&results);
        assert!(text.contains("**wrong**: nothing was said"), "{text}");
        assert!(text.contains("(before, 1 window): `run_queue`"), "{text}");
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let page = format!("a\n{BEGIN}old\n{END}z\n");
        let new = replaced(&page, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\nnew\n\n{END}z\n"));
        assert_eq!(replaced(&new, "new\n").unwrap(), new);
        assert!(replaced("a\n", "new\n").is_err());
        let there = include_str!("../../../docs/patterns.md");
        assert!(replaced(there, "new\n").is_ok());
    }
}
