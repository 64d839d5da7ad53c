//! Because of whom a component waited, added up: those blamed most have series of their own, all others are `other`.
//!
//! In: what a window blames, with the label of each. Out: sums that add up to all that was blamed. Must not know: who has
//! series, text.
//!
//! A series that is given up goes into `other` and, if it comes back, begins at nothing. So it is given up only for one that was
//! blamed for much more lately.

use std::{collections::BTreeMap, sync::Arc};

use courtside_core::model::blame::{IDLE, UNKNOWN};

use super::{
    OTHER,
    shown::{Id, MORE},
};

/// So many have series of their own at each component, beside `idle`, `unknown` and `other`.
pub(super) const MOST_BLAMED: usize = 8;
/// So many without are remembered, to know who was blamed for more.
const MOST_WAITING: usize = 32;

/// One that has a series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct One {
    ns: u64,
    /// When it was 0.
    since_ns: u64,
    /// What was added lately; half of it counts after the half-life.
    lately: f64,
}

/// Who was blamed by one component, and for how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Blamed {
    series: BTreeMap<Id, One>,
    waiting: BTreeMap<Id, f64>,
    /// When the present window began.
    now_ns: u64,
}

/// Whether it needs no place of its own.
fn is_fixed(by: &str) -> bool {
    [IDLE, UNKNOWN, OTHER].contains(&by)
}

impl Blamed {
    /// Who is blamed from the window on that begins now.
    pub(super) fn from(now_ns: u64) -> Self {
        Self {
            now_ns,
            ..Self::default()
        }
    }

    /// Begins a window: what was lately counts less, by this factor.
    pub(super) fn age(&mut self, less: f64, now_ns: u64) {
        self.now_ns = now_ns;
        for one in self.series.values_mut() {
            one.lately *= less;
        }
        for lately in self.waiting.values_mut() {
            *lately *= less;
        }
    }

    /// Adds what a window says of one.
    pub(super) fn add(&mut self, by: &Id, other: &Id, ns: u64) {
        let lately = ns as f64;
        if self.has_place(by) {
            self.place(by, ns, lately);
        } else {
            *self.waiting.entry(Arc::clone(by)).or_default() += lately;
            self.book(other, ns, lately);
        }
    }

    /// Adds to one that has a place. It may have waited for one until now, and must not get it once more.
    fn place(&mut self, by: &Id, ns: u64, lately: f64) {
        let waited = self.waiting.remove(by).unwrap_or(0.0);
        self.book(by, ns, lately + waited);
    }

    fn book(&mut self, to: &Id, ns: u64, lately: f64) {
        let one = self.series.entry(Arc::clone(to)).or_insert(One {
            since_ns: self.now_ns,
            ..One::default()
        });
        one.ns = one.ns.saturating_add(ns);
        one.lately += lately;
    }

    fn has_place(&self, by: &Id) -> bool {
        let named = self.series.keys().filter(|by| !is_fixed(by)).count();
        is_fixed(by) || self.series.contains_key(by) || named < MOST_BLAMED
    }

    /// Ends a window: the one without a series that was blamed most takes the place of the one that was blamed least, if it was
    /// for much more.
    pub(super) fn exchange(&mut self, other: &Id) {
        let named = self.series.iter().filter(|(by, _)| !is_fixed(by));
        let least = named.min_by(|(_, x), (_, y)| x.lately.total_cmp(&y.lately));
        let most = self.waiting.iter().max_by(|(_, x), (_, y)| x.total_cmp(y));
        if let Some(((least, x), (most, &y))) = least.zip(most)
            && y > x.lately * MORE
        {
            let (least, most) = (Arc::clone(least), Arc::clone(most));
            self.give_up(&least, other);
            self.waiting.remove(&most);
            self.book(&most, 0, y);
        }
        if self.waiting.len() > MOST_WAITING {
            let mut lately: Vec<f64> = self.waiting.values().copied().collect();
            lately.sort_by(|a, b| b.total_cmp(a));
            let least = lately.get(MOST_WAITING).copied().unwrap_or(0.0);
            self.waiting.retain(|_, lately| *lately > least);
        }
    }

    /// What one was blamed for goes into `other`.
    pub(super) fn give_up(&mut self, by: &Id, other: &Id) {
        self.waiting.remove(by);
        if let Some(ns) = self.series.remove(by).map(|one| one.ns) {
            self.book(other, ns, 0.0);
        }
    }

    /// Adds all that another component blamed.
    pub(super) fn merge(&mut self, more: &Self, other: &Id) {
        for (by, one) in &more.series {
            if self.has_place(by) {
                self.place(by, one.ns, one.lately);
            } else {
                self.book(other, one.ns, one.lately);
            }
        }
    }

    /// Who, for how long, and since when.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Id, u64, u64)> {
        let all = self.series.iter();
        all.map(|(by, one)| (by, one.ns, one.since_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: usize) -> Vec<Id> {
        (0..count)
            .map(|n| format!("program:p{n:03}").into())
            .collect()
    }

    fn sum(blamed: &Blamed) -> u64 {
        blamed.all().map(|(_, ns, _)| ns).sum()
    }

    fn of(blamed: &Blamed, id: &str) -> Option<u64> {
        let mut all = blamed.all();
        all.find(|(by, ..)| ***by == *id).map(|(_, ns, _)| ns)
    }

    #[test]
    fn so_many_have_series_and_nothing_is_missing() {
        let other: Id = OTHER.into();
        let mut blamed = Blamed::default();
        let mut expected = 0;
        for window in 0..50 {
            blamed.age(0.99, window);
            for (n, by) in ids(200).iter().enumerate() {
                let ns = 1 + (n as u64 * 7 + window) % 13;
                blamed.add(by, &other, ns);
                expected += ns;
            }
            for by in [IDLE, UNKNOWN] {
                blamed.add(&by.into(), &other, 5);
                expected += 5;
            }
            blamed.exchange(&other);
            assert_eq!(sum(&blamed), expected, "{window}");
            assert!(blamed.all().count() <= MOST_BLAMED + 3);
            assert!(blamed.waiting.len() <= MOST_WAITING);
        }
        assert_eq!(
            (of(&blamed, IDLE), of(&blamed, UNKNOWN)),
            (Some(250), Some(250))
        );
    }

    #[test]
    fn who_is_blamed_for_much_more_gets_a_series_and_other_never_falls() {
        let other: Id = OTHER.into();
        let mut blamed = Blamed::default();
        let few = ids(MOST_BLAMED);
        for by in &few {
            blamed.add(by, &other, 100);
        }
        let hog: Id = "program:hog".into();
        let mut before = 0;
        for n in 1..=4u64 {
            blamed.age(1.0, n);
            blamed.add(&hog, &other, 90);
            blamed.exchange(&other);
            let now = of(&blamed, OTHER).unwrap();
            assert!(now >= before);
            before = now;
            assert_eq!(sum(&blamed), 100 * MOST_BLAMED as u64 + 90 * n);
        }
        // Three times 90 is more than twice 100: from then on it has its own, and one that had 100 is in other.
        assert_eq!(of(&blamed, "program:hog"), Some(90));
        assert_eq!(of(&blamed, OTHER), Some(3 * 90 + 100));
        assert_eq!(blamed.all().count(), MOST_BLAMED + 1);
    }

    /// A place may come free because somebody is gone, and not by an exchange.
    #[test]
    fn who_waited_and_found_a_free_place_keeps_what_it_was_blamed_for_there() {
        let other: Id = OTHER.into();
        let mut blamed = Blamed::default();
        let few = ids(MOST_BLAMED);
        for by in &few {
            blamed.add(by, &other, 10);
        }
        let (first, second): (Id, Id) = ("program:x".into(), "program:y".into());
        blamed.add(&first, &other, 1000);
        blamed.add(&second, &other, 900);
        blamed.exchange(&other);
        assert_eq!(of(&blamed, "program:x"), Some(0));
        assert_eq!(of(&blamed, "program:y"), None);
        let before = sum(&blamed);
        let gone = few.iter().find(|by| of(&blamed, by).is_some()).unwrap();
        blamed.give_up(gone, &other);
        blamed.add(&second, &other, 500);
        blamed.exchange(&other);
        assert_eq!(sum(&blamed), before + 500);
        assert_eq!(of(&blamed, "program:y"), Some(500));
        assert!(blamed.waiting.is_empty());
        // The same where a place comes free for what another component blamed.
        let mut more = Blamed::default();
        more.add(&"program:z".into(), &other, 7);
        blamed.add(&"program:z".into(), &other, 1);
        blamed.give_up(&second, &other);
        blamed.merge(&more, &other);
        blamed.exchange(&other);
        assert_eq!(of(&blamed, "program:z"), Some(7));
        assert_eq!(sum(&blamed), before + 500 + 1 + 7);
    }

    #[test]
    fn what_is_given_up_and_what_is_merged_is_kept() {
        let other: Id = OTHER.into();
        let all = ids(MOST_BLAMED + 4);
        let (mut a, mut b) = (Blamed::default(), Blamed::default());
        for by in &all[..MOST_BLAMED] {
            a.add(by, &other, 10);
        }
        for by in &all[4..] {
            b.add(by, &other, 3);
        }
        a.merge(&b, &other);
        assert_eq!(sum(&a), sum(&b) + 10 * MOST_BLAMED as u64);
        assert_eq!(of(&a, OTHER), Some(3 * 4));
        a.give_up(&all[0], &other);
        assert_eq!((of(&a, &all[0]), of(&a, OTHER)), (None, Some(22)));
    }
}
