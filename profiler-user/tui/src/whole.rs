//! What a whole recording tells beside its windows: why its slowest requests are slow, what a parallel application in it does.
//!
//! In: answers from outside. Out: what the views Tail and Parallel show. Must not know: how anything is found out, how it is
//! shown.

use std::sync::Arc;

use courtside_core::model::{inference::Inference, tail::Tail, visible::visible};

/// An answer about all of a recording.
#[derive(Clone, Debug)]
pub(super) enum Answer<T> {
    /// Nobody has asked yet.
    NotAsked,
    /// It is being found out.
    Asked,
    /// What was found.
    Told(Arc<T>),
    /// Why nothing can be told.
    Cannot(String),
}

impl<T> Answer<T> {
    /// What was found.
    pub fn told(&self) -> Option<&T> {
        match self {
            Self::Told(found) => Some(found),
            _ => None,
        }
    }

    fn of(found: Result<T, String>) -> Self {
        match found {
            Ok(found) => Self::Told(Arc::new(found)),
            Err(why) => Self::Cannot(why),
        }
    }

    /// What to say as long as nothing is told.
    pub fn words(&self) -> Option<String> {
        match self {
            Self::NotAsked | Self::Asked => {
                Some("Following every single event of the recording…".to_owned())
            }
            Self::Told(_) => None,
            Self::Cannot(why) => Some(format!("Cannot tell: {}.", visible(why))),
        }
    }
}

/// What is known of the whole recording.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub tail: Answer<Tail>,
    pub parallel: Answer<Inference>,
}

impl Default for Whole {
    fn default() -> Self {
        Self {
            tail: Answer::NotAsked,
            parallel: Answer::NotAsked,
        }
    }
}

impl Whole {
    /// Whether it has to be asked for now.
    pub fn ask(&mut self) -> bool {
        let first = matches!(self.tail, Answer::NotAsked);
        if first {
            self.tail = Answer::Asked;
            self.parallel = Answer::Asked;
        }
        first
    }

    /// Takes what was found.
    pub fn answer(&mut self, tail: Result<Tail, String>, parallel: Result<Inference, String>) {
        self.tail = Answer::of(tail);
        self.parallel = Answer::of(parallel);
    }
}
