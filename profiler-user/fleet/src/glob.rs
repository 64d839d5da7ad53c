//! Names with `*` in them.
//!
//! In: patterns, a name. Out: whether one of them fits. Must not know: names of what.

use anyhow::Context as _;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Patterns; without any, everything fits.
#[derive(Clone, Debug)]
pub(crate) struct Globs(Option<GlobSet>);

impl Globs {
    /// # Errors
    /// One of them is no pattern.
    pub(crate) fn new<T: AsRef<str>>(patterns: &[T]) -> anyhow::Result<Self> {
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let glob = GlobBuilder::new(pattern).literal_separator(false).build();
            set.add(glob.with_context(|| format!("{pattern} is no pattern"))?);
        }
        Ok(Self(Some(set.build()?)))
    }

    pub(crate) fn fits(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|set| set.is_match(name))
    }
}
