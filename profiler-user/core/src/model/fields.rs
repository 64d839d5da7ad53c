//! Fields: each number of a snapshot is declared once, and everything that says something of it is made from that.
//!
//! In: declarations (`fields!`), one entry for each number: how it is called and what it means, its unit, its error, how
//! it is taken from the Frame, and how the dashboard heads it. Out: the struct with the words of its JSON Schema, the rows
//! of docs/metrics.md, and columns with getters for tables. Must not know: any number, formats, screens.
//!
//! An entry reads:
//!
//! ```text
//! /// What it means. The words of the JSON Schema, of docs/metrics.md and of docs/models.md.
//! name: type [UNIT, "error"; option "text", …] => { CONST "HEADING" "help", … } = how it is taken from the Frame;
//! ```
//!
//! Options, `=> {…}` and `= …` may be missing; the last one where the struct has no `from (…)`.
//! The options are the methods of [`Field`] that change one.

use std::collections::BTreeMap;

use crate::frame::Process;
use crate::parts::{Part, Parts};

/// Unit: nanoseconds.
pub const NS: &str = "ns";
/// Unit: bytes.
pub const BYTES: &str = "bytes";
/// Unit: how many.
pub const NUMBER: &str = "count";
/// Unit: none, it is a name.
pub const NAME: &str = "name";
/// Unit: one number divided by another.
pub const RATIO: &str = "ratio";
/// Unit: none, it is a yes or a no.
pub const YES: &str = "true/false";
/// Unit: none, it is an object or a list with fields of its own.
pub const OBJECT: &str = "";

/// Error: none.
pub const EXACT: &str = "exact";
/// Error of an object or a list: that of its own fields.
pub const BELOW: &str = "";
/// Error of a count that can be marked as a lower bound.
pub const BOUNDED: &str = "exact; a lower bound where lower_bound";
/// Error of the parts of a turnaround.
pub const SUM: &str = "sum exact; split approximate where the loss `history` is not 0; a sleep without a told wake-up counts \
                       until the thread ran";
/// Error of the time of a court: what several entries lead to is theirs by their requests.
pub const SHARED: &str = "exact behind one entry; shared by requests behind several";
/// Error of what is computed as a rest.
pub const LEFT: &str = "what is left";
/// Error of CPU times, against /proc/PID/schedstat.
pub const TO_SCHEDSTAT: &str = "1 %";
/// Error of hardware counters.
pub const SCALED: &str = "scaled when multiplexed";
/// Error of hardware counters that are not scaled.
pub const UNSCALED: &str = "not scaled when multiplexed";
/// Error of what the kernel counts of Courtside itself.
pub const AS_KERNEL_SAYS: &str = "as the kernel says";
/// Error of what the kernel counts in clock ticks.
pub const TICK: &str = "a clock tick, mostly 10 ms";
/// Error of a quantile.
pub const QUANTILE: &str = "≤ 6.25 %";
/// Error of the smallest and the largest value.
pub const EXTREME: &str = "≤ 12.5 %, mostly exact";

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number, 64 bits, not negative.
    Count,
    /// A number with a fraction, 64 bits.
    Real,
    /// True or false.
    Flag,
    /// Text.
    Text,
    /// A list of whole numbers.
    Counts,
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Not known.
    Null,
    /// A whole number.
    Count(u64),
    /// A number with a fraction.
    Real(f64),
    /// True or false.
    Flag(bool),
    /// Text.
    Text(&'a str),
    /// A list of whole numbers.
    Counts(Vec<u64>),
}

/// How the dashboard shows a number: one column of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heading {
    /// What stands above the column.
    pub title: &'static str,
    /// What the help says of it.
    pub help: &'static str,
}

/// What is said of one field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in JSON, unit last.
    pub name: &'static str,
    meaning: &'static str,
    unit: &'static str,
    error: &'static str,
    note: &'static str,
    column: Option<&'static str>,
    prefix: Option<&'static str>,
    last: bool,
}

impl Field {
    /// A field without options.
    #[must_use]
    pub const fn new(
        name: &'static str,
        meaning: &'static str,
        unit: &'static str,
        error: &'static str,
    ) -> Self {
        Self {
            name,
            meaning,
            unit,
            error,
            note: "",
            column: None,
            prefix: None,
            last: false,
        }
    }

    /// What else there is to say, in docs/metrics.md only.
    #[must_use]
    pub const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    /// The whole name of its column, where that is not the name of the field after the prefix; none if it is empty.
    #[must_use]
    pub const fn column(self, column: &'static str) -> Self {
        Self {
            column: Some(column),
            ..self
        }
    }

    /// Of an object: what stands before the names of its columns.
    #[must_use]
    pub const fn prefix(self, prefix: &'static str) -> Self {
        Self {
            prefix: Some(prefix),
            ..self
        }
    }

    /// Its columns stand behind those of all fields without this: they came later.
    #[must_use]
    pub const fn last(self) -> Self {
        Self { last: true, ..self }
    }

    /// Whether its columns stand last.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.last
    }

    /// What it means, as a piece of a sentence.
    #[must_use]
    pub fn phrase(&self) -> String {
        phrase(self.meaning)
    }

    /// Its columns in a struct, of which `of` gives the field.
    pub fn columns<S: 'static, T: Columns>(
        &self,
        prefix: &str,
        of: for<'a> fn(&'a S) -> Option<&'a T>,
    ) -> Vec<Column<S>> {
        let name = match (self.column, self.prefix) {
            (Some(""), _) => return Vec::new(),
            (Some(column), _) => column.to_owned(),
            (None, more) => format!("{prefix}{}", more.unwrap_or(self.name)),
        };
        let columns = T::columns(self, name).into_iter();
        columns.map(|column| column.within(of)).collect()
    }

    /// Its row in docs/metrics.md.
    fn row(&self) -> String {
        let error = [self.error, self.note]
            .into_iter()
            .filter(|words| !words.is_empty())
            .collect::<Vec<_>>()
            .join(". ");
        format!("| `{}` | {} | {error} |\n", self.name, self.phrase())
    }
}

/// A sentence as a piece of another one: without the full stop at its end, and without a capital letter that is only there
/// because it begins a sentence.
fn phrase(sentence: &str) -> String {
    let words: Vec<&str> = sentence.split_whitespace().collect();
    let words = words.join(" ");
    let words = words.strip_suffix('.').unwrap_or(&words);
    let mut letters = words.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(words.chars().skip(1)).collect()
        }
        _ => words.to_owned(),
    }
}

type Getter<T> = Box<dyn for<'a> Fn(&'a T) -> Value<'a> + Send>;

/// One column of a table whose rows are of this type.
pub struct Column<T> {
    /// Its name, unit last.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// It may be null.
    pub nullable: bool,
    /// In words: the unit.
    pub unit: &'static str,
    /// In words: the meaning.
    pub meaning: String,
    /// In words: how far it can be trusted.
    pub error: &'static str,
    /// The cell of a row.
    pub get: Getter<T>,
}

impl<T: 'static> Column<T> {
    pub(in crate::model) fn of(
        field: &Field,
        name: String,
        kind: Kind,
        get: Getter<T>,
    ) -> Vec<Self> {
        vec![Self {
            name,
            kind,
            nullable: false,
            unit: field.unit,
            meaning: field.phrase(),
            error: field.error,
            get,
        }]
    }

    /// The same column where the rows only hold what it is a column of, if anything.
    fn within<S: 'static>(self, of: for<'a> fn(&'a S) -> Option<&'a T>) -> Column<S> {
        let get = self.get;
        Column {
            name: self.name,
            kind: self.kind,
            nullable: self.nullable,
            unit: self.unit,
            meaning: self.meaning,
            error: self.error,
            get: Box::new(move |row| of(row).map_or(Value::Null, &get)),
        }
    }
}

/// What can be columns of a table.
pub trait Columns: Sized + 'static {
    /// The columns of a field of this type. The name is that of the column, or what stands before those of several.
    fn columns(field: &Field, name: String) -> Vec<Column<Self>>;

    /// The rows of docs/metrics.md of a field of this type.
    fn rows(field: &Field) -> String {
        field.row()
    }
}

/// A struct made of fields.
pub trait Fields: Columns {
    /// Its fields, in order.
    const FIELDS: &'static [Field];

    /// Their rows in docs/metrics.md.
    fn page() -> String;

    /// All its columns.
    fn all_columns(prefix: &str) -> Vec<Column<Self>>;
}

/// Declares a struct and its fields; see the head of this file.
macro_rules! fields {
    (
        $(#[$of:meta])*
        pub struct $name:ident from ($($arg:ident: $from:ty),+) {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)*)])?
                $field:ident: $type:ty [$unit:expr, $error:expr $(; $($option:ident $($text:literal)?),+)?]
                $(=> { $($heading:ident $title:literal $help:literal),+ $(,)? })?
                = $take:expr;
            )+
        }
    ) => {
        $crate::model::fields::fields! {
            $(#[$of])*
            pub struct $name {
                $(
                    $(#[doc = $doc])+
                    $(#[serde($($serde)*)])?
                    $field: $type [$unit, $error $(; $($option $($text)?),+)?]
                    $(=> { $($heading $title $help),+ })?;
                )+
            }
        }

        impl $name {
            /// Takes it from what was added up.
            pub(in $crate::model) fn of($($arg: $from),+) -> Self {
                Self { $($field: $take),+ }
            }
        }
    };
    (
        $(#[$of:meta])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)*)])?
                $field:ident: $type:ty [$unit:expr, $error:expr $(; $($option:ident $($text:literal)?),+)?]
                $(=> { $($heading:ident $title:literal $help:literal),+ $(,)? })?;
            )+
        }
    ) => {
        $(#[$of])*
        pub struct $name {
            $(
                $(#[doc = $doc])+
                $(#[serde($($serde)*)])?
                pub $field: $type,
            )+
        }

        impl $name {
            $($($(
                #[doc = $help]
                pub const $heading: $crate::model::fields::Heading = $crate::model::fields::Heading {
                    title: $title,
                    help: $help,
                };
            )+)?)+
        }

        impl $crate::model::fields::Columns for $name {
            fn columns(
                field: &$crate::model::fields::Field,
                name: String,
            ) -> Vec<$crate::model::fields::Column<Self>> {
                $crate::model::fields::nested(field, &name)
            }
        }

        impl $crate::model::fields::Fields for $name {
            const FIELDS: &'static [$crate::model::fields::Field] = &[$(
                $crate::model::fields::Field::new(
                    stringify!($field),
                    concat!($($doc),+),
                    $unit,
                    $error,
                )$($(.$option($($text)?))+)?
            ),+];

            fn page() -> String {
                let mut fields = Self::FIELDS.iter();
                let mut page = String::new();
                $(if let Some(field) = fields.next() {
                    page += &<$type as $crate::model::fields::Columns>::rows(field);
                })+
                page
            }

            fn all_columns(prefix: &str) -> Vec<$crate::model::fields::Column<Self>> {
                let mut fields = Self::FIELDS.iter();
                let (mut columns, mut last) = (Vec::new(), Vec::new());
                $(if let Some(field) = fields.next() {
                    let into = if field.is_last() { &mut last } else { &mut columns };
                    into.extend(field.columns(prefix, |all: &Self| Some(&all.$field)));
                })+
                columns.append(&mut last);
                columns
            }
        }
    };
}
pub(in crate::model) use fields;

/// Types that are one column.
macro_rules! one_column {
    ($($type:ty: $kind:ident |$it:ident| $value:expr;)+) => {
        $(impl Columns for $type {
            fn columns(field: &Field, name: String) -> Vec<Column<Self>> {
                Column::of(field, name, Kind::$kind, Box::new(|$it: &Self| Value::$kind($value)))
            }
        })+
    };
}
pub(in crate::model) use one_column;

one_column! {
    u64: Count |n| *n;
    u32: Count |n| (*n).into();
    u16: Count |n| (*n).into();
    i64: Real |n| *n as f64;
    f64: Real |x| *x;
    bool: Flag |yes| *yes;
    String: Text |text| text;
}

/// Null where there is none.
impl<T: Columns> Columns for Option<T> {
    fn columns(field: &Field, name: String) -> Vec<Column<Self>> {
        let columns = T::columns(field, name).into_iter();
        columns
            .map(|column| Column {
                nullable: true,
                ..column.within(Self::as_ref)
            })
            .collect()
    }

    fn rows(field: &Field) -> String {
        T::rows(field)
    }
}

/// Types that are no column: they have a table of their own, or columns made by hand.
macro_rules! no_column {
    ($($type:ty),+ $(,)?) => {
        $(impl Columns for $type {
            fn columns(_: &Field, _: String) -> Vec<Column<Self>> {
                Vec::new()
            }
        })+
    };
}

no_column!(
    BTreeMap<String, u64>,
    Vec<Process>,
    Vec<String>,
    Vec<u16>
);

impl<T: Fields> Columns for Vec<T> {
    fn columns(_: &Field, _: String) -> Vec<Column<Self>> {
        Vec::new()
    }
}

/// The columns of an object. With a prefix they stand for themselves; without one they are called after the object, and
/// say what it means: those of a distribution.
pub(in crate::model) fn nested<T: Fields>(field: &Field, name: &str) -> Vec<Column<T>> {
    if field.prefix.is_some() {
        return T::all_columns(name);
    }
    let base = name.strip_suffix("_ns").unwrap_or(name);
    let mut columns = T::all_columns(&format!("{base}_"));
    for column in &mut columns {
        column.meaning = format!("{}: {}", field.phrase(), column.meaning);
    }
    columns
}

/// Buckets: bound and count of each.
impl Columns for Vec<(u64, u64)> {
    fn columns(field: &Field, name: String) -> Vec<Column<Self>> {
        let column = |suffix, meaning, unit, error, get| {
            let field = Field::new(field.name, meaning, unit, error);
            Column::of(&field, format!("{name}{suffix}"), Kind::Counts, get)
        };
        let upper: Getter<Self> =
            Box::new(|all| Value::Counts(all.iter().map(|&(upper, _)| upper).collect()));
        let count: Getter<Self> =
            Box::new(|all| Value::Counts(all.iter().map(|&(_, count)| count).collect()));
        let of_upper = "upper bound of each bucket that is not empty, ascending";
        let of_count = "values in each of those buckets";
        let mut columns = column("upper_ns", of_upper, NS, field.error, upper);
        columns.extend(column("count", of_count, NUMBER, EXACT, count));
        columns
    }
}

/// A column for each part.
impl<T: Columns + Copy> Columns for Parts<T> {
    fn columns(field: &Field, name: String) -> Vec<Column<Self>> {
        let of = |part: Part| {
            let columns = T::columns(field, format!("{name}{}", part.field())).into_iter();
            columns.map(move |column| {
                let get = column.get;
                let get: Getter<Self> = Box::new(move |parts| get(&parts[part]));
                Column {
                    name: column.name,
                    kind: column.kind,
                    nullable: column.nullable,
                    unit: column.unit,
                    meaning: format!("of it: {}", part.meaning()),
                    error: column.error,
                    get,
                }
            })
        };
        Part::ALL.into_iter().flat_map(of).collect()
    }

    fn rows(field: &Field) -> String {
        let row = |part: Part| {
            Field {
                name: part.field(),
                meaning: part.meaning(),
                ..*field
            }
            .row()
        };
        Part::ALL.into_iter().map(row).collect()
    }
}
