//! What a rule hands on, and how sure that is.
//!
//! In: what one rule found. Out: a [`Finding`]. Must not know: the rules.

use courtside_core::model::finding::{Between, Evidence, Finding, Severity};

use super::facts::Facts;

/// What the kernel booked itself, so that only chance and losses can make it wrong.
pub(super) const MEASURED: f64 = 0.9;
/// What is concluded from the shape of several numbers: another cause can look the same.
pub(super) const CONCLUDED: f64 = 0.7;
/// What rests on a figure that was not measured here, such as the usual price of a switch.
pub(super) const ESTIMATED: f64 = 0.5;

/// What a rule has to say.
pub(super) struct Found {
    pub severity: Severity,
    pub component: String,
    pub edge: Option<Between>,
    pub says: String,
    pub evidence: Vec<Evidence>,
    pub remedy: String,
    /// How sure the rule is of it where there is plenty of evidence.
    pub sure: f64,
    /// How many requests, roundtrips or other things it rests on.
    pub rests_on: u64,
    pub at_stake_ns: Option<f64>,
}

impl Found {
    pub fn into_finding(self, rule: &str, facts: &Facts<'_>) -> Finding {
        // A mean of n things that scatter as widely as they are large is known to 1/√n.
        let chance = 1.0 / (self.rests_on.max(1) as f64).sqrt();
        let confidence = self.sure * (1.0 - chance) * (1.0 - facts.lost_share());
        Finding {
            rule: rule.to_owned(),
            severity: self.severity,
            component: self.component,
            edge: self.edge,
            says: self.says,
            evidence: self.evidence,
            confidence: confidence.clamp(0.0, 1.0),
            remedy: self.remedy,
            at_stake_ns: self.at_stake_ns,
        }
    }
}

/// A number with its name and unit.
pub(super) fn number(name: &str, value: f64, unit: &str) -> Evidence {
    Evidence {
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
    }
}

/// A time.
pub(super) fn ns(name: &str, value: f64) -> Evidence {
    number(name, value, "ns")
}

/// A part of one.
pub(super) fn share(name: &str, value: f64) -> Evidence {
    number(name, value, "share")
}

/// How many.
pub(super) fn count(name: &str, value: u64) -> Evidence {
    number(name, value as f64, "count")
}

/// How many for each request.
pub(super) fn per_request(name: &str, value: f64) -> Evidence {
    number(name, value, "per_request")
}

/// How many for each instruction.
pub(super) fn per_instruction(name: &str, value: f64) -> Evidence {
    number(name, value, "per_instruction")
}

/// How many a second.
pub(super) fn per_second(name: &str, value: f64) -> Evidence {
    number(name, value, "per_second")
}

/// The severity of a share: none below the first bound.
pub(super) fn graded(value: f64, warn: f64, bad: f64) -> Option<Severity> {
    if value >= bad {
        Some(Severity::Bad)
    } else if value >= warn {
        Some(Severity::Warn)
    } else {
        None
    }
}
