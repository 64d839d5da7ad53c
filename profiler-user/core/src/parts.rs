//! The parts of a turnaround: one table of what they are called, how they look and what they mean.
//!
//! In: nothing. Out: [`Part`], and a number for each ([`Parts`]). Must not know: screens, pages, formats.

use std::ops::{Index, IndexMut};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A colour that every terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hue {
    /// Green.
    Green,
    /// Yellow.
    Yellow,
    /// Magenta.
    Magenta,
    /// Blue.
    Blue,
    /// Red.
    Red,
    /// Cyan.
    Cyan,
    /// White.
    White,
    /// Bright yellow.
    BrightYellow,
}

/// What is known of a part.
struct Facts {
    field: &'static str,
    name: &'static str,
    words: &'static str,
    short: &'static str,
    glyph: &'static str,
    ascii: char,
    hue: Hue,
    usual: bool,
    meaning: &'static str,
}

macro_rules! parts {
    ($($(#[$older:meta])? $part:ident $field:ident $name:literal $words:literal $short:literal $glyph:literal $ascii:literal $hue:ident $usual:literal $meaning:literal)*) => {
        /// One part of a turnaround, in the order in which they are always given.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Part {
            $(#[doc = $meaning] $part),*
        }

        impl Part {
            /// All of them.
            pub const ALL: [Self; [$(Self::$part),*].len()] = [$(Self::$part),*];

            const FACTS: [Facts; Self::COUNT] = [$(Facts {
                field: stringify!($field),
                name: $name,
                words: $words,
                short: $short,
                glyph: $glyph,
                ascii: $ascii,
                hue: Hue::$hue,
                usual: $usual,
                meaning: $meaning,
            }),*];
        }

        /// The parts by the names of their fields, as they are written.
        #[derive(Serialize, Deserialize, JsonSchema)]
        #[serde(bound(deserialize = "T: Default + Deserialize<'de>"))]
        #[schemars(bound = "T: Default + Serialize + JsonSchema")]
        struct Fields<T> {
            $($(#[$older])? #[doc = $meaning] $field: T),*
        }

        impl<T> From<Fields<T>> for Parts<T> {
            fn from(fields: Fields<T>) -> Self {
                Self([$(fields.$field),*])
            }
        }

        impl<T> From<Parts<T>> for Fields<T> {
            fn from(Parts([$($field),*]): Parts<T>) -> Self {
                Self { $($field),* }
            }
        }
    };
}

parts! {
    OnCpu on_cpu_ns "on-CPU" "on-CPU" "cpu" "█" '#' Green true "executing on a CPU"
    RunQueue run_queue_ns "run-queue" "run queue" "runq" "▓" '=' Yellow true "ready to run, waiting for a CPU"
    BlockIo block_io_ns "disk" "disk" "disk" "▒" '%' Magenta true "waiting for the block layer"
    Sleep sleep_ns "sleep" "sleep" "slp" "░" '-' Blue true "waits after the message was read: timers, locks, page faults"
    Queued queued_ns "queued" "queued" "que" "·" '.' Red true "the message lay unread"
    #[serde(default)]
    Receiving receiving_ns "receiving" "receiving" "rcv" "≡" ':' Cyan false "waits for the rest of a message whose first piece was read"
    #[serde(default)]
    HandedOver handed_over_ns "handed-over" "handed over" "hnd" "»" '/' White false "read by another thread, and this thread had not begun with it"
    #[serde(default)]
    Throttled throttled_ns "throttled" "throttled" "thr" "╳" '!' BrightYellow false "ready to run, held back by its own CPU quota"
}

impl Part {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    fn facts(self) -> &'static Facts {
        &Self::FACTS[self as usize]
    }

    /// The field that holds it, as in JSON.
    #[must_use]
    pub fn field(self) -> &'static str {
        self.facts().field
    }

    /// Its name, one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Its name in running text.
    #[must_use]
    pub fn words(self) -> &'static str {
        self.facts().words
    }

    /// Its name where there is little room.
    #[must_use]
    pub fn short(self) -> &'static str {
        self.facts().short
    }

    /// What it is drawn with.
    #[must_use]
    pub fn glyph(self) -> &'static str {
        self.facts().glyph
    }

    /// The same on a screen that has only ASCII.
    #[must_use]
    pub fn ascii(self) -> char {
        self.facts().ascii
    }

    /// Its colour.
    #[must_use]
    pub fn hue(self) -> Hue {
        self.facts().hue
    }

    /// What it means, no more than is known.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.facts().meaning
    }

    /// Whether it is named in a legend though there be none of it.
    #[must_use]
    pub fn is_usual(self) -> bool {
        self.facts().usual
    }

    /// The parts that a legend names: the usual ones, and what there is any of.
    pub fn in_legend(sums: &[Parts<f64>]) -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(|&part| part.is_usual() || sums.iter().any(|sum| sum[part] > 0.0))
    }
}

/// A number for each part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    from = "Fields<T>",
    into = "Fields<T>",
    bound(
        serialize = "T: Clone + Serialize",
        deserialize = "T: Default + Deserialize<'de>"
    )
)]
pub struct Parts<T>(pub [T; Part::COUNT]);

impl<T: Default + Serialize + JsonSchema> JsonSchema for Parts<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        Fields::<T>::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Fields::<T>::json_schema(generator)
    }
}

impl<T> Index<Part> for Parts<T> {
    type Output = T;

    fn index(&self, part: Part) -> &T {
        &self.0[part as usize]
    }
}

impl<T> IndexMut<Part> for Parts<T> {
    fn index_mut(&mut self, part: Part) -> &mut T {
        &mut self.0[part as usize]
    }
}

impl<T> Parts<T> {
    /// What becomes of each.
    pub fn map<U>(self, each: impl FnMut(T) -> U) -> Parts<U> {
        Parts(self.0.map(each))
    }

    /// Each part with its number.
    pub fn iter(&self) -> impl Iterator<Item = (Part, &T)> {
        Part::ALL.into_iter().zip(&self.0)
    }
}

impl<T> IntoIterator for Parts<T> {
    type Item = (Part, T);
    type IntoIter = std::iter::Zip<
        std::array::IntoIter<Part, { Part::COUNT }>,
        std::array::IntoIter<T, { Part::COUNT }>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        Part::ALL.into_iter().zip(self.0)
    }
}

impl<T: Default> FromIterator<(Part, T)> for Parts<T> {
    /// Parts that are not given are nothing.
    fn from_iter<I: IntoIterator<Item = (Part, T)>>(parts: I) -> Self {
        let mut all = Self(std::array::from_fn(|_| T::default()));
        for (part, value) in parts {
            all[part] = value;
        }
        all
    }
}

impl Parts<u64> {
    /// The whole, which by definition is the sum of the parts.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        self.0.into_iter().fold(0, u64::saturating_add)
    }

    /// Adds to each.
    pub fn add(&mut self, more: Self) {
        for (sum, more) in self.0.iter_mut().zip(more.0) {
            *sum = sum.saturating_add(more);
        }
    }

    /// The same as numbers with a fraction.
    #[must_use]
    pub fn real(self) -> Parts<f64> {
        self.map(|ns| ns as f64)
    }
}

impl Parts<f64> {
    /// The whole.
    #[must_use]
    pub fn total_ns(&self) -> f64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_written_by_the_names_of_their_fields() {
        let parts: Parts<u64> = Parts([1, 2, 4, 8, 16, 32, 64, 128]);
        let json = serde_json::to_value(parts).unwrap();
        for (part, value) in parts {
            assert_eq!(json[part.field()], value);
        }
        assert_eq!(serde_json::from_value::<Parts<u64>>(json).unwrap(), parts);
        assert_eq!(parts.total_ns(), 255);
    }

    #[test]
    fn what_older_versions_did_not_tell_is_nothing_and_the_rest_must_be_there() {
        let old = r#"{"on_cpu_ns":1,"run_queue_ns":2,"block_io_ns":3,"sleep_ns":4,"queued_ns":5}"#;
        let parts: Parts<u64> = serde_json::from_str(old).unwrap();
        assert_eq!(parts, Parts([1, 2, 3, 4, 5, 0, 0, 0]));
        assert!(serde_json::from_str::<Parts<u64>>(r#"{"on_cpu_ns":1}"#).is_err());
    }

    #[test]
    fn no_two_parts_look_alike() {
        for (i, part) in Part::ALL.into_iter().enumerate() {
            for other in &Part::ALL[..i] {
                assert!(
                    part.glyph() != other.glyph()
                        && part.ascii() != other.ascii()
                        && part.hue() != other.hue()
                );
            }
        }
    }
}
