//! Why there is no prediction or placement.
//!
//! In: what is wrong. Out: one sentence that says so, and what to do. Must not know: how it is found out.

use std::fmt;

use courtside_core::model::visible::visible;

/// Why nothing can be predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CannotPredict {
    /// The profile does not hold what a prediction needs.
    Profile {
        /// What is wrong with it.
        what: String,
    },
    /// What was said of machines makes no sense.
    Nonsense {
        /// Of which machine or component, and what.
        what: String,
    },
    /// No such component.
    UnknownComponent {
        /// The name given.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// No such machine.
    UnknownNode {
        /// The name given.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
}

fn listed(names: &[String]) -> String {
    const MOST: usize = 12;
    let shown: Vec<_> = names.iter().take(MOST).map(|name| visible(name)).collect();
    match names.len() {
        0 => "none".to_owned(),
        n if n > MOST => format!("{} and {} more", shown.join(", "), n - MOST),
        _ => shown.join(", "),
    }
}

impl fmt::Display for CannotPredict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile { what } => write!(
                f,
                "cannot predict because of the profile: {}; make one with: courtside model fit FILE... -o PROFILE.json",
                visible(what)
            ),
            Self::Nonsense { what } => write!(
                f,
                "cannot predict because {}; courtside model predict --help shows such a file",
                visible(what)
            ),
            Self::UnknownComponent { name, known } => write!(
                f,
                "cannot predict because there is no component {} in the profile: it has {}",
                visible(name),
                listed(known)
            ),
            Self::UnknownNode { name, known } => write!(
                f,
                "cannot predict because there is no node {}: there are {}",
                visible(name),
                listed(known)
            ),
        }
    }
}

impl std::error::Error for CannotPredict {}
