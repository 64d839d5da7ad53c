//! The filter behind `/`: words that must all match, each a substring or `key:value`.
//!
//! In: what the user typed. Out: yes or no for a row that tells its texts and fields.
//! Must not know: what the rows are.

/// Keys that a term may name. Anything else before a colon is ordinary text, such as an address with a port.
pub(super) const KEYS: [&str; 10] = [
    "name",
    "kind",
    "comm",
    "tgid",
    "from",
    "to",
    "port",
    "transport",
    "state",
    "hook",
];

/// A parsed filter. The empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Text(String),
    Field(&'static str, String),
}

impl Filter {
    /// Never fails: every text is a filter.
    pub fn parse(text: &str) -> Self {
        let term = |word: &str| {
            let word = word.to_lowercase();
            let known = word.split_once(':').and_then(|(key, value)| {
                let key = KEYS.iter().find(|known| **known == key)?;
                Some(Term::Field(key, value.to_owned()))
            });
            known.unwrap_or(Term::Text(word))
        };
        Self {
            terms: text.split_whitespace().map(term).collect(),
        }
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether a row matches. `text` answers for a lower-case substring; `field` for a key and a lower-case value,
    /// `None` where such rows have no such field: the term then does not apply to them.
    pub fn matches(
        &self,
        text: impl Fn(&str) -> bool,
        field: impl Fn(&str, &str) -> Option<bool>,
    ) -> bool {
        self.terms.iter().all(|term| match term {
            Term::Text(word) => text(word),
            Term::Field(key, value) => value.is_empty() || field(key, value).unwrap_or(true),
        })
    }
}

/// Whether `text` contains the lower-case `word`, in any case.
pub(super) fn contains(text: &str, word: &str) -> bool {
    text.to_lowercase().contains(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str) -> bool {
        Filter::parse(filter).matches(
            |word| contains("Redis-Server", word),
            |key, value| match key {
                "name" => Some(contains("Redis-Server", value)),
                "port" => Some(value == "6379"),
                _ => None,
            },
        )
    }

    #[test]
    fn all_terms_must_match() {
        assert!(matches(""));
        assert!(matches("redis"));
        assert!(matches("  name:SERVER   port:6379 "));
        assert!(!matches("name:server port:80"));
        assert!(!matches("postgres"));
    }

    #[test]
    fn a_key_still_being_typed_or_not_of_these_rows_hides_nothing() {
        assert!(matches("port:"));
        assert!(matches("hook:sched"));
    }

    #[test]
    fn an_unknown_key_is_text() {
        assert!(!matches("10.0.0.5:443"));
        assert_eq!(
            Filter::parse("10.0.0.5:443").terms,
            [Term::Text("10.0.0.5:443".to_owned())]
        );
    }
}
