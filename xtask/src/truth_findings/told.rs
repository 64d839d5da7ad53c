//! What was said on top of each window, held to what was planted.
//!
//! In: the windows that `courtside stat --json` printed, and when something was planted. Out: a verdict. Pure. Must not know: how
//! either came about.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::cases::Case;

/// A window, as far as it is needed.
#[derive(Clone, Debug, Deserialize)]
pub struct Window {
    window: Span,
    #[serde(default)]
    components: Vec<Component>,
    /// The first one is what stands on top.
    #[serde(default)]
    findings: Vec<Finding>,
}

#[derive(Clone, Debug, Deserialize)]
struct Span {
    start_unix_ns: u64,
    duration_ns: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Component {
    id: String,
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Finding {
    rule: String,
    component: String,
    edge: Option<Between>,
    says: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Between {
    from: String,
    to: String,
}

/// A first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub rule: String,
    pub says: String,
}

/// What came of one case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// First lines of the windows before, and how many windows these are.
    pub before: Vec<Line>,
    pub windows_before: usize,
    /// The first window with the right first line: when it ended, in seconds from when it was planted, and the line.
    pub first: Option<(f64, Line)>,
    /// Windows from then on, and those of them with the right first line.
    pub since: usize,
    pub right_since: usize,
    /// First lines that are wrong, of windows that began after it was planted.
    pub wrong: Vec<Line>,
}

impl Window {
    fn end_unix_ns(&self) -> u64 {
        let Span {
            start_unix_ns,
            duration_ns,
        } = self.window;
        start_unix_ns.saturating_add(duration_ns)
    }

    fn line(&self) -> Option<Line> {
        let first = self.findings.first()?;
        Some(Line {
            rule: first.rule.clone(),
            says: first.says.clone(),
        })
    }

    /// Whether what stands on top names the rule and the components of a case; of the control nothing does.
    fn names(&self, case: &Case) -> bool {
        let (Some(first), Some(rule)) = (self.findings.first(), case.rule) else {
            return false;
        };
        let is = |id: &str, name: &str| {
            let mut components = self.components.iter();
            components.any(|component| component.id == id && component.name == name)
                // Of what is elsewhere the port is part of the edge.
                || id.split_once(':').is_some_and(|(_, rest)| rest == name)
        };
        let other_end = |name: &str| {
            let edge = first.edge.as_ref();
            edge.is_some_and(|edge| is(&edge.from, name) || is(&edge.to, name))
        };
        first.rule == rule
            && is(&first.component, case.component)
            && case.other_end.is_none_or(other_end)
    }
}

/// The windows in what was printed.
pub fn windows(text: &str) -> Result<Vec<Window>> {
    serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect::<serde_json::Result<_>>()
        .context("courtside stat --json printed something else")
}

/// Holds them to a case that was planted at that time.
pub fn judge(case: &Case, windows: &[Window], planted_unix_ns: u64) -> Told {
    let mut told = Told::default();
    for window in windows {
        if window.end_unix_ns() <= planted_unix_ns {
            told.windows_before += 1;
            told.before.extend(window.line());
            continue;
        }
        let is_right = window.names(case);
        if is_right && told.first.is_none() {
            let after = window.end_unix_ns().saturating_sub(planted_unix_ns) as f64 / 1e9;
            told.first = window.line().map(|line| (after, line));
        }
        if told.first.is_some() {
            told.since += 1;
            told.right_since += usize::from(is_right);
        }
        if !is_right && window.window.start_unix_ns >= planted_unix_ns {
            told.wrong.extend(window.line());
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::super::cases::CASES;
    use super::*;

    fn case(slug: &str) -> &'static Case {
        CASES.iter().find(|case| case.slug == slug).unwrap()
    }

    fn window(second: u64, findings: &str) -> String {
        format!(
            r#"{{ "window": {{ "start_unix_ns": {}, "duration_ns": 1000000000 }},
                "components": [{{ "id": "program:app.py", "name": "app.py" }}, {{ "id": "unit:redis", "name": "redis-server" }}],
                "findings": [{findings}] }}
"#,
            second * 1_000_000_000
        )
    }

    fn finding(rule: &str, from: &str, to: &str) -> String {
        format!(
            r#"{{ "rule": "{rule}", "component": "{from}", "edge": {{ "from": "{from}", "to": "{to}" }}, "says": "so" }}"#
        )
    }

    #[test]
    fn the_first_window_that_names_rule_and_both_ends_counts() {
        let chatty = finding("chatty_edge", "program:app.py", "unit:redis");
        let other = finding("chatty_edge", "program:app.py", "unit:other");
        let text = [
            window(1, &other),
            window(2, ""),
            window(3, ""),
            window(4, &other),
            window(5, &format!("{chatty},{other}")),
            window(6, &format!("{other},{chatty}")),
            window(7, &chatty),
        ];
        let windows = windows(&text.concat()).unwrap();
        let told = judge(case("queries"), &windows, 3_500_000_000);
        assert_eq!((told.windows_before, told.before.len()), (2, 1));
        let (after, line) = told.first.unwrap();
        assert_eq!((after, line.says.as_str()), (2.5, "so"));
        assert_eq!((told.since, told.right_since), (3, 2));
        // That of the window in which it was planted would be no reproach.
        assert_eq!(told.wrong.len(), 2);
    }

    #[test]
    fn where_nothing_is_planted_each_line_is_wrong() {
        let text =
            window(1, "") + &window(2, &finding("run_queue", "program:app.py", "unit:redis"));
        let told = judge(case("nothing"), &windows(&text).unwrap(), 1_000_000_000);
        assert_eq!((told.first, told.wrong.len()), (None, 1));
    }

    #[test]
    fn an_end_elsewhere_is_told_by_its_address() {
        let line = finding("slow_peer", "remote:10.77.0.2:9000", "program:app.py");
        let text = window(1, &line).replace("app.py", "up-server");
        let told = judge(case("upstream"), &windows(&text).unwrap(), 0);
        assert!(told.first.is_some());
        assert!(windows("courtside").is_err());
    }
}
