//! What `check` found, and how it is shown.
//!
//! In: plain lines. Out: JSON and a table. Must not know: how anything was found out.

use schemars::JsonSchema;
use serde::Serialize;

use crate::frame::Host;

/// Name and version of the schema.
pub(in crate::cli) const SCHEMA: &str = "courtside.check/1";

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum State {
    /// Works in full.
    Ok,
    /// Something is less good than it could be, or not measured.
    Degraded,
    /// Without it nothing works.
    Missing,
    /// Would be attached, but was not tried.
    Untried,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
            Self::Untried => "untried",
        }
    }

    fn color(self) -> &'static str {
        match self {
            Self::Ok => "\x1b[32m",
            Self::Degraded => "\x1b[33m",
            Self::Missing => "\x1b[31m",
            Self::Untried => "\x1b[2m",
        }
    }
}

/// One thing that Courtside needs or uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::cli) struct Check {
    /// What it is.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// The command that fixes it; null if there is nothing to fix.
    pub fix: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            found: found.into(),
            fix: None,
        }
    }

    pub(super) fn bad(
        state: State,
        name: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            name,
            state,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }
}

/// One program in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::cli) struct Probe {
    /// Name of the program.
    pub name: String,
    /// Hook that was chosen for it.
    pub hook: String,
    /// How it is.
    pub state: State,
    /// Why, if it is not ok.
    pub reason: String,
    /// What is measured with it.
    pub serves: String,
    /// Instructions that the kernel went through to verify it; null if it is not loaded or the kernel is older than 5.16.
    pub verified_instructions: Option<u32>,
}

/// Everything `check` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::cli) struct Report {
    /// Always `courtside.check/1`.
    pub schema: &'static str,
    /// Version of the tool that made it.
    pub tool_version: &'static str,
    /// The machine.
    pub host: Host,
    /// Everything that is needed works.
    pub ok: bool,
    /// What Courtside needs or uses of the host.
    pub checks: Vec<Check>,
    /// Every program in the kernel.
    pub probes: Vec<Probe>,
}

impl Report {
    pub(super) fn new(host: Host, checks: Vec<Check>, probes: Vec<Probe>) -> Self {
        let works = |state| !matches!(state, State::Missing | State::Untried);
        Self {
            schema: SCHEMA,
            tool_version: env!("CARGO_PKG_VERSION"),
            host,
            ok: checks.iter().all(|check| works(check.state))
                && probes.iter().all(|probe| works(probe.state)),
            checks,
            probes,
        }
    }

    /// For people, in plain ASCII.
    pub(super) fn table(&self, color: bool, verbose: bool) -> String {
        let mut table = Table {
            text: String::new(),
            color,
            name_width: self.name_width(),
        };
        for check in &self.checks {
            table.line(check.state, check.name, &check.found);
            if let Some(fix) = &check.fix {
                table.more(&format!("fix it: {fix}"));
            }
        }
        table.text.push('\n');
        for probe in &self.probes {
            table.line(probe.state, &probe.name, &probe.hook);
            if !probe.reason.is_empty() {
                table.more(&probe.reason);
            }
            if verbose && probe.state == State::Ok {
                table.more(&format!("for {}", probe.serves));
            }
        }
        table.text.push('\n');
        table.text.push_str(self.verdict());
        table.text.push('\n');
        table.text
    }

    fn verdict(&self) -> &'static str {
        let degraded = self.checks.iter().any(|c| c.state == State::Degraded)
            || self.probes.iter().any(|p| p.state == State::Degraded);
        match (self.ok, degraded) {
            (true, false) => "Everything works here.",
            (true, true) => "Works here; what is degraded is measured less well or not at all.",
            (false, _) => "Does not work here yet; see what is missing.",
        }
    }

    fn name_width(&self) -> usize {
        let checks = self.checks.iter().map(|check| check.name.len());
        let probes = self.probes.iter().map(|probe| probe.name.len());
        checks.chain(probes).max().unwrap_or(0)
    }
}

struct Table {
    text: String,
    color: bool,
    name_width: usize,
}

impl Table {
    const STATE_WIDTH: usize = 8;

    fn line(&mut self, state: State, name: &str, rest: &str) {
        let word = format!("{:<1$}", state.word(), Self::STATE_WIDTH);
        let word = if self.color {
            format!("{}{word}\x1b[0m", state.color())
        } else {
            word
        };
        let width = self.name_width;
        self.text
            .push_str(&format!("{word}  {name:<width$}  {rest}\n"));
    }

    fn more(&mut self, text: &str) {
        let indent = Self::STATE_WIDTH + self.name_width + 4;
        self.text.push_str(&format!("{:indent$}{text}\n", ""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(state: State) -> Report {
        let checks = vec![
            Check::ok("kernel", "6.18"),
            Check::bad(State::Degraded, "pmu", "none", "buy one"),
        ];
        let probe = Probe {
            name: "sched_switch".to_owned(),
            hook: "tp_btf:sched_switch".to_owned(),
            state,
            reason: String::new(),
            serves: "CPU time".to_owned(),
            verified_instructions: None,
        };
        Report::new(Host::default(), checks, vec![probe])
    }

    #[test]
    fn only_what_is_missing_or_untried_stands_in_the_way() {
        assert!(report(State::Ok).ok);
        assert!(report(State::Degraded).ok);
        assert!(!report(State::Untried).ok);
        assert!(!report(State::Missing).ok);
    }

    #[test]
    fn the_table_shows_what_to_do() {
        insta::assert_snapshot!(report(State::Missing).table(false, false), @r"
        ok        kernel        6.18
        degraded  pmu           none
                                fix it: buy one

        missing   sched_switch  tp_btf:sched_switch

        Does not work here yet; see what is missing.
        ");
    }

    #[test]
    fn colour_is_only_there_when_it_is_wanted() {
        assert!(report(State::Ok).table(true, false).contains("\x1b[32mok"));
        assert!(!report(State::Ok).table(false, true).contains('\x1b'));
    }

    #[test]
    fn the_json_keeps_its_schema() {
        let schema = schemars::schema_for!(Report).to_value();
        let value = serde_json::to_value(report(State::Missing)).unwrap();
        jsonschema::validate(&schema, &value).unwrap();
    }
}
