//! Blame: how long a component waited because of whom.
//!
//! In: time by program image. Out: [`Blame`] by component, what could not be told among it. Must not know: what was waited
//! for.

use std::collections::BTreeMap;

use courtside_wire::IMAGE_IDLE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::fields::{EXACT, NAME, NS, TO_SCHEDSTAT, fields};

/// The component that stands for a CPU on which nobody ran: the time to wake it up, or to get to it.
pub const IDLE: &str = "idle";
/// The component that stands for what could not be told.
pub const UNKNOWN: &str = "unknown";

fields! {
    /// Time that a component waited because of another one, or of itself.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Blame {
        /// Who: id of a component, `idle` for a CPU on which nobody ran, or `unknown` for what could not be told.
        component: String [NAME, EXACT];
        /// How long.
        ns: u64 [NS, TO_SCHEDSTAT];
    }
}

/// Time by image as time by component, most first. It adds up to `whole_ns`: what is missing is `unknown`.
pub(super) fn by_component(whole_ns: u64, by: &[(u32, u64)], names: &Directory) -> Vec<Blame> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let mut left_ns = whole_ns;
    for &(image, ns) in by {
        // A damaged recording may say anything.
        let ns = ns.min(left_ns);
        left_ns -= ns;
        let who = match image {
            IMAGE_IDLE => IDLE,
            0 => UNKNOWN,
            image => names
                .identities
                .get(names.of(image))
                .map_or(UNKNOWN, |who| who.id.as_str()),
        };
        *sums.entry(who).or_default() += ns;
    }
    *sums.entry(UNKNOWN).or_default() += left_ns;
    let mut blame: Vec<Blame> = sums
        .into_iter()
        .filter(|&(_, ns)| ns > 0)
        .map(|(component, ns)| Blame {
            component: component.to_owned(),
            ns,
        })
        .collect();
    blame.sort_by_key(|one| std::cmp::Reverse(one.ns));
    blame
}

/// Time behind others by image as time by component, most first: the component's own requests are no others.
pub(super) fn behind(by: &[(u32, u64)], names: &Directory, own: &str) -> Vec<Blame> {
    let whole_ns = by
        .iter()
        .fold(0, |sum: u64, (_, ns)| sum.saturating_add(*ns));
    let mut blame = by_component(whole_ns, by, names);
    blame.retain(|one| one.component != own);
    blame
}

/// What a component waited for a CPU, told apart by whom for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waited<'a> {
    /// All of it.
    pub total_ns: u64,
    /// Its neighbours, most first.
    pub others: Vec<&'a Blame>,
    /// What those had, together.
    pub others_ns: u64,
    /// Its own threads had the CPU.
    pub own_ns: u64,
    /// Nobody ran there: the CPU was on its way to it.
    pub idle_ns: u64,
    /// It could not be told.
    pub unknown_ns: u64,
}

impl<'a> Waited<'a> {
    /// Of the component with this id, which waited this long because of these.
    #[must_use]
    pub fn of(id: &str, by: &'a [Blame]) -> Self {
        let mut waited = Self::default();
        for blame in by {
            let sum = match blame.component.as_str() {
                IDLE => &mut waited.idle_ns,
                UNKNOWN => &mut waited.unknown_ns,
                own if own == id => &mut waited.own_ns,
                _ => {
                    waited.others.push(blame);
                    &mut waited.others_ns
                }
            };
            *sum = sum.saturating_add(blame.ns);
            waited.total_ns = waited.total_ns.saturating_add(blame.ns);
        }
        waited.others.sort_by_key(|one| std::cmp::Reverse(one.ns));
        waited
    }

    /// A time as a share of all that it waited; none if it did not wait.
    #[must_use]
    pub fn share(&self, ns: u64) -> Option<f64> {
        (self.total_ns > 0).then(|| ns as f64 / self.total_ns as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::frames::{APP, STORE, chain};
    use crate::model::GroupBy;

    fn blame(whole_ns: u64, by: &[(u32, u64)]) -> Vec<(String, u64)> {
        let frame = chain(1);
        let names = Directory::new(&frame, GroupBy::Auto, |_| false);
        let blame = by_component(whole_ns, by, &names);
        blame
            .into_iter()
            .map(|one| (one.component, one.ns))
            .collect()
    }

    #[test]
    fn what_is_not_told_is_unknown_and_the_sum_is_the_whole() {
        let told = blame(100, &[(APP, 60), (STORE, 5), (IMAGE_IDLE, 20), (7777, 3)]);
        let expected = [
            ("program:app", 60),
            ("idle", 20),
            ("unknown", 15),
            ("program:store", 5),
        ];
        assert_eq!(told, expected.map(|(who, ns)| (who.to_owned(), ns)));
        assert!(blame(0, &[]).is_empty());
        assert_eq!(blame(9, &[]), [("unknown".to_owned(), 9)]);
    }

    #[test]
    fn nobody_waits_behind_itself() {
        let frame = chain(1);
        let names = Directory::new(&frame, GroupBy::Auto, |_| false);
        let by = [(0, 7), (APP, 60), (STORE, 50), (7777, 3)];
        let told = behind(&by, &names, "program:store");
        let told: Vec<(&str, u64)> = told
            .iter()
            .map(|one| (one.component.as_str(), one.ns))
            .collect();
        assert_eq!(told, [("program:app", 60), ("unknown", 10)]);
        assert!(behind(&[], &names, "program:store").is_empty());
        let too_much = [(APP, u64::MAX), (0, u64::MAX)];
        assert_eq!(behind(&too_much, &names, "").len(), 1);
    }

    #[test]
    fn no_more_is_blamed_than_there_was() {
        assert_eq!(
            blame(9, &[(APP, u64::MAX), (STORE, u64::MAX)]),
            [("program:app".to_owned(), 9)]
        );
    }

    #[test]
    fn neighbours_are_told_apart_from_itself_from_nobody_and_from_what_is_not_known() {
        let by = [
            ("program:store", 10),
            ("idle", 5),
            ("program:hog", 60),
            ("program:app", 20),
            // A program that is called so is no state of a CPU.
            ("program:idle", 2),
            ("unknown", 3),
        ];
        let by = by.map(|(component, ns)| Blame {
            component: component.to_owned(),
            ns,
        });
        let waited = Waited::of("program:app", &by);
        let others: Vec<(&str, u64)> = waited
            .others
            .iter()
            .map(|blame| (blame.component.as_str(), blame.ns))
            .collect();
        let expected = [
            ("program:hog", 60),
            ("program:store", 10),
            ("program:idle", 2),
        ];
        assert_eq!(others, expected);
        assert_eq!((waited.others_ns, waited.own_ns), (72, 20));
        assert_eq!((waited.idle_ns, waited.unknown_ns), (5, 3));
        assert_eq!((waited.total_ns, waited.share(60)), (100, Some(0.6)));
        assert_eq!(Waited::of("program:app", &[]).share(0), None);
    }
}
