//! Finding: what is wrong in a window, in one sentence, with the numbers that it rests on.
//!
//! In: nothing (plain data, filled by the rules of the crate `analysis`). Out: what screen, file and page show, and
//! [`Judge`], by which a view brings the rules along. Must not know: the rules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::{
    BELOW, Column, Columns, EXACT, Field, Kind, NAME, NS, OBJECT, RATIO, Value, fields, one_column,
};
use super::snapshot::Snapshot;
use crate::units;

/// How bad it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; it need not be a fault.
    Info,
    /// It takes a good part of a request's time, or will soon.
    Warn,
    /// It takes the greater part of a request's time, or work is waiting.
    Bad,
}

impl Severity {
    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

one_column! {
    Severity: Text |severity| severity.name();
}

fields! {
    /// Something that takes time, and what to do about it.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct Finding {
        /// The rule that found it, e.g. `run_queue`.
        rule: String [NAME, EXACT]
        => { RULE "RULE" "which rule found it; docs/patterns.md has a row for each" };
        /// How bad it is: `info` is worth knowing, `warn` takes a good part of a request's time or will soon, `bad` takes most
        /// of it, or work is waiting.
        severity: Severity [NAME, EXACT]
        => { SEVERITY "HOW BAD" "bad: most of a request's time, or work is waiting; warn: a good part; info: worth knowing" };
        /// Component id of the one that it is about.
        component: String [NAME, EXACT]
        => { COMPONENT "COMPONENT" "the one that it is about; Enter opens its turnaround" };
        /// The edge that it is about, by `from` and `to`; null where it is about the component as a whole.
        edge: Option<Between> [OBJECT, EXACT];
        /// What is wrong, one sentence with its numbers.
        says: String [NAME, EXACT]
        => { SAYS "WHAT IS WRONG" "in one sentence; the selected one is shown in full below, with what to do" };
        /// The numbers that it rests on, each with `name`, `value` and `unit` (`ns`, `share` of 1, `count`, `per_request`,
        /// `per_instruction`, `per_second`).
        evidence: Vec<Evidence> [OBJECT, BELOW];
        /// How sure it is, from 0 to 1: the rule's own (0.9 for what is measured, 0.7 for what is concluded, 0.5 for what rests
        /// on a usual figure), times 1 - 1/sqrt(n) for the n requests or other things that it rests on, times the share of
        /// messages that were not lost.
        confidence: f64 [RATIO, "a grade, not a probability"]
        => { SURE "SURE" "how sure it is: less where it is concluded and not measured, and where it rests on few requests" };
        /// What to do next, one sentence.
        remedy: String [NAME, EXACT];
        /// Time of a mean request at the entry that is at stake; null if it is not known.
        at_stake_ns: Option<f64> [NS, "at least: if calls run in parallel, only the part that is longer than what this saved"]
        => { AT_STAKE "AT STAKE" "time of a mean request at the entry that lies there, at least; - if it is not known" };
    }
}

fields! {
    /// The ends of an edge.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Between {
        /// Component id of the initiator.
        from: String [NAME, EXACT];
        /// Component id of the acceptor.
        to: String [NAME, EXACT];
    }
}

fields! {
    /// A number that a finding rests on.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct Evidence {
        /// What it is.
        name: String [NAME, EXACT];
        /// How much.
        value: f64 ["as `unit` says", EXACT];
        /// `ns`, `share` (of 1), `count`, `per_request`, `per_instruction` or `per_second`.
        unit: String [NAME, EXACT];
    }
}

impl Evidence {
    /// How much, with its unit, as people read it.
    #[must_use]
    pub fn how_much(&self) -> String {
        match self.unit.as_str() {
            "ns" => units::duration_f64(self.value),
            "share" => units::percent(self.value),
            "count" => units::rate(self.value),
            "per_second" => format!("{}/s", units::rate(self.value)),
            _ => units::ratio(Some(self.value)),
        }
    }

    /// What it is, as people read it.
    #[must_use]
    pub fn what(&self) -> String {
        self.name.replace('_', " ")
    }
}

/// Who judges a window: the rules, as `fold` gets them. Without any, nothing is found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Judge(Option<fn(&Snapshot) -> Vec<Finding>>);

impl Judge {
    /// Judges by these rules.
    #[must_use]
    pub fn by(rules: fn(&Snapshot) -> Vec<Finding>) -> Self {
        Self(Some(rules))
    }

    /// What they find.
    pub(super) fn look(self, snapshot: &Snapshot) -> Vec<Finding> {
        self.0.map_or_else(Vec::new, |rules| rules(snapshot))
    }
}

/// There is one set of rules: a view has it or has not.
impl PartialEq for Judge {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_some() == other.0.is_some()
    }
}

impl Eq for Judge {}
