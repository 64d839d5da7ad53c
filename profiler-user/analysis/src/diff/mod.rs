//! Diff: what changed between two recordings, and whether that is more than they scatter by themselves.
//!
//! In: two [`Side`]s, each of the windows of one recording, or of what is measured now. Out: a [`Diff`], or why there is none. Must not know: files, how
//! anything is shown.

mod rank;
mod series;
#[cfg(test)]
mod tests;

use std::{cmp::Reverse, fmt};

use courtside_core::{
    model::{
        difference::{Change, DIFF_SCHEMA, Diff},
        finding::Evidence,
        visible::visible,
    },
    units::percent,
};

use rank::median;
use series::{Field, Key};

pub use rank::{Pair, Ratio, chances, ratio};
pub use series::Side;

/// With fewer windows not even a change that is greater than all scatter can be told from chance, among hundreds of numbers.
pub const MIN_WINDOWS: usize = 15;
/// More windows than these are put together: so much the less is one like the one before it.
pub const MAX_WINDOWS: usize = 120;
/// A difference that chance makes less often than this, in any of the numbers compared, is a change.
pub const ALPHA: f64 = 0.01;
/// How many roundtrips a request takes does not depend on how fast the host is just now: less than this is no change.
const MIN_OF_ROUNDTRIPS: f64 = 0.02;

/// What counts.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Changes of less than this share are left out.
    pub ignore_below: f64,
    /// What gets worse by more than this share makes it worse as a whole; none for anything that does.
    pub fail_above: Option<f64>,
}

/// Why nothing can be told.
#[derive(Debug, PartialEq, Eq)]
pub enum CannotTell {
    /// The recording has too few windows.
    TooShort {
        /// Its file.
        file: String,
        /// How many it has.
        windows: u64,
    },
    /// Too few windows were measured now.
    TooBrief {
        /// How many.
        windows: u64,
    },
    /// No component that is in both did anything in enough windows.
    NothingInCommon {
        /// The other one is what was measured now.
        live: bool,
        /// Components of the one.
        a: Vec<String>,
        /// Components of the other.
        b: Vec<String>,
    },
}

impl fmt::Display for CannotTell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { file, windows } => {
                let s = if *windows == 1 { "" } else { "s" };
                write!(
                    f,
                    "{file} has {windows} window{s} to compare, and at least {MIN_WINDOWS} are needed to tell a change from chance; record for longer with: courtside record -d 60s -o FILE"
                )
            }
            Self::TooBrief { windows } => {
                let were = if *windows == 1 { " was" } else { "s were" };
                write!(
                    f,
                    "{windows} window{were} measured, and at least {MIN_WINDOWS} are needed to tell a change from chance; measure for longer with: courtside diff A -d 60s"
                )
            }
            Self::NothingInCommon { live, a, b } => {
                let (both, other, command) = if *live {
                    (
                        "the recording and what was measured now",
                        "now",
                        "courtside diff A",
                    )
                } else {
                    ("the two recordings", "in the other", "courtside diff A B")
                };
                write!(
                    f,
                    "{both} have nothing in common that was at work in at least {MIN_WINDOWS} windows of each: in the one there are {}, {other} {}; where names are alike and ids are not, compare with: {command} --group-by comm",
                    listed(a),
                    listed(b)
                )
            }
        }
    }
}

impl std::error::Error for CannotTell {}

fn listed(ids: &[String]) -> String {
    const MOST: usize = 12;
    let names: Vec<_> = ids.iter().take(MOST).map(|id| visible(id)).collect();
    match ids.len() {
        0 => "none".to_owned(),
        n if n > MOST => format!("{} and {} more", names.join(", "), n - MOST),
        _ => names.join(", "),
    }
}

/// What changed from `a` to `b`.
///
/// # Errors
/// A recording is too short, or they have nothing in common.
pub fn compare(a: &Side, b: &Side, limits: Limits) -> Result<Diff, CannotTell> {
    for side in [a, b] {
        let windows = side.recorded.windows;
        if windows < MIN_WINDOWS as u64 {
            return Err(if side.recorded.live {
                CannotTell::TooBrief { windows }
            } else {
                let file = visible(&side.recorded.file).into_owned();
                CannotTell::TooShort { file, windows }
            });
        }
    }
    let common = a.common(b, MIN_WINDOWS);
    if common.is_empty() {
        return Err(CannotTell::NothingInCommon {
            live: a.recorded.live || b.recorded.live,
            a: a.components.iter().cloned().collect(),
            b: b.components.iter().cloned().collect(),
        });
    }
    let (keys, pairs): (Vec<Key>, Vec<Pair>) = common.into_iter().unzip();
    let usual = |wanted: &Key| {
        let found = keys.iter().position(|key| key == wanted)?;
        Some(median(&pairs[found].0))
    };
    let mut changes: Vec<Change> = keys
        .iter()
        .zip(&pairs)
        .zip(chances(&pairs))
        .filter(|(_, p)| *p < ALPHA)
        .map(|((key, pair), p)| change(key, pair, p, a.serves(&key.component)))
        .zip(&keys)
        .filter(|(change, key)| {
            let whole = key.field.whole().and_then(|field| {
                usual(&Key {
                    field,
                    ..(*key).clone()
                })
            });
            is_enough(change, key, whole, limits.ignore_below)
        })
        .map(|(change, _)| change)
        .collect();
    let worse = changes
        .iter()
        .any(|change| is_worse(change, limits.fail_above.unwrap_or(0.0)));
    changes.sort_by(|x, y| {
        let much = |change: &Change| change.ratio.map_or(f64::INFINITY, |ratio| ratio.ln().abs());
        let rank = |change: &Change| Reverse(change.worse == Some(true));
        rank(x)
            .cmp(&rank(y))
            .then_with(|| much(y).total_cmp(&much(x)))
    });
    let recorded = |of: &Side, other: &Side| {
        let mut recorded = of.recorded.clone();
        let only = of.components.difference(&other.components);
        recorded.only_here = only.cloned().collect();
        recorded
    };
    Ok(Diff {
        schema: DIFF_SCHEMA.to_owned(),
        a: recorded(a, b),
        b: recorded(b, a),
        compared: keys.len() as u64,
        changes,
        worse,
        ignore_below: limits.ignore_below,
        fail_above: limits.fail_above,
    })
}

fn is_worse(change: &Change, fail_above: f64) -> bool {
    // Where some windows have nothing, the ratio has no limit; that of the medians may have one.
    let of_medians = || (change.a > 0.0).then(|| change.b / change.a);
    let ratio = change.ratio.or_else(of_medians);
    change.worse == Some(true) && ratio.is_none_or(|ratio| ratio > 1.0 + fail_above)
}

/// Whether a change is great enough to be told. That of a part is held to the whole: twice next to nothing is nothing.
fn is_enough(change: &Change, key: &Key, whole: Option<f64>, ignore_below: f64) -> bool {
    let by = (change.b - change.a).abs();
    match (&key.field, whole) {
        (Field::Finding(_), _) => by >= ignore_below,
        (Field::Roundtrips, _) => by >= ignore_below.min(MIN_OF_ROUNDTRIPS) * change.a,
        (_, whole) => by > 0.0 && by >= ignore_below * whole.unwrap_or(change.a),
    }
}

fn change(key: &Key, (a, b): &Pair, p: f64, serves: bool) -> Change {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (value_a, value_b, ratio) = if matches!(key.field, Field::Finding(_)) {
        let (a, b) = (mean(a), mean(b));
        (a, b, (a > 0.0).then(|| (b / a, None)))
    } else {
        let ratio = ratio(a, b).map(|found| (found.ratio, Some(found.interval95)));
        (median(a), median(b), ratio)
    };
    let more = value_b > value_a;
    let name = |id: &str| {
        let name = id.split_once(':').map_or(id, |(_, name)| name);
        visible(name).into_owned()
    };
    let whose = match &key.to {
        Some(to) => format!("{} → {}", name(&key.component), name(to)),
        None => name(&key.component),
    };
    let unit = key.field.unit();
    let show = |value: f64| {
        let name = String::new();
        let unit = unit.to_owned();
        Evidence { name, value, unit }.how_much()
    };
    let how_much = match ratio {
        Some((ratio, _)) if ratio >= 1.0 => format!("{} more", percent(ratio - 1.0)),
        Some((ratio, _)) => format!("{} less", percent(1.0 - ratio)),
        None if more => "more".to_owned(),
        None => "less".to_owned(),
    };
    Change {
        component: key.component.clone(),
        edge: key.edge(),
        field: key.field.name(),
        unit: unit.to_owned(),
        a: value_a,
        b: value_b,
        ratio: ratio.map(|(ratio, _)| ratio),
        interval95: ratio.and_then(|(_, interval95)| interval95),
        p,
        worse: more_is_worse(&key.field, serves).then_some(more),
        says: match &key.field {
            Field::Finding(rule) => format!(
                "{whose}: the finding {rule} is in {} of the windows, and was in {}",
                show(value_b),
                show(value_a)
            ),
            field => format!(
                "{whose}: {} is {how_much}, {} and was {}",
                field.words(),
                show(value_b),
                show(value_a)
            ),
        },
    }
}

/// Whether more of it is worse. More requests are neither, nor is a turnaround of a client, which may only wait before it asks
/// again; and parts of a turnaround say why it changed.
fn more_is_worse(field: &Field, serves: bool) -> bool {
    match field {
        Field::Requests | Field::Part(_) => false,
        Field::Turnaround => serves,
        _ => true,
    }
}
