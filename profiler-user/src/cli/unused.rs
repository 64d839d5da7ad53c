//! Entries that were asked for and that there are not.
//!
//! In: what was asked for, snapshots. Out: words on stderr about those where nothing came in; an error, with what there
//! is, about those that nobody saw at all. Must not know: where snapshots come from.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use anyhow::bail;

use crate::{
    model::{EntryWish, Snapshot, snapshot::Component, visible::visible, words::Names},
    pass::{Consumer, PassWindow},
};

/// Known entries that are named, at most.
const MOST: usize = 20;

/// Those of which nothing was seen so far.
pub(super) struct Unused {
    wishes: Vec<Wish>,
    /// Where requests came in.
    known: BTreeSet<String>,
}

struct Wish {
    wish: EntryWish,
    /// There is such a component, and traffic to the port: it may have had nothing to do.
    there: bool,
}

impl Unused {
    pub(super) fn new(wishes: &[EntryWish]) -> Self {
        let new = |wish: &EntryWish| Wish {
            wish: wish.clone(),
            there: false,
        };
        Self {
            wishes: wishes.iter().map(new).collect(),
            known: BTreeSet::new(),
        }
    }

    /// Forgets those that are in this snapshot.
    pub(super) fn look(&mut self, snapshot: &Snapshot) {
        if self.wishes.is_empty() {
            return;
        }
        self.wishes.retain(|wish| !is_used(&wish.wish, snapshot));
        for wish in &mut self.wishes {
            wish.there |= is_there(&wish.wish, snapshot);
        }
        let names = Names::of(snapshot);
        for edge in snapshot.edges.iter().filter(|edge| edge.roundtrips > 0) {
            let name = visible(names.get(&edge.to));
            self.known.insert(match edge.port {
                0 => name.into_owned(),
                port => format!("{name}:{port}"),
            });
        }
    }

    /// Says which had no request.
    ///
    /// # Errors
    /// Those of which nothing was seen.
    pub(super) fn report(&self) -> anyhow::Result<()> {
        for Wish { wish, .. } in self.wishes.iter().filter(|wish| wish.there) {
            let _ = writeln!(
                io::stderr(),
                "courtside: no request came in at {wish}; see what serves requests with: courtside stat"
            );
        }
        match self.nowhere() {
            Some(said) => bail!(said),
            None => Ok(()),
        }
    }

    /// Those of which nothing was seen so far, with what there is instead; `None` if something was seen of each.
    pub(super) fn nowhere(&self) -> Option<String> {
        let nowhere = self.wishes.iter().filter(|wish| !wish.there);
        let nowhere: Vec<String> = nowhere.map(|wish| wish.wish.to_string()).collect();
        if nowhere.is_empty() {
            return None;
        }
        let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
        let more = known.len().saturating_sub(MOST);
        let known = match known.as_slice() {
            [] => "no requests were seen anywhere".to_owned(),
            some => format!(
                "requests came in at: {}",
                some[..some.len().min(MOST)].join(", ")
            ),
        };
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "there is no entry {}; {known}{more}",
            nowhere.join(", ")
        ))
    }
}

impl Consumer for Unused {
    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        self.look(window.snapshot);
        Ok(())
    }
}

fn is_named(component: &Component, name: &str) -> bool {
    component.id == name || component.name == name
}

/// Whether requests came in here.
fn is_used(wish: &EntryWish, snapshot: &Snapshot) -> bool {
    let named = |id: &str| {
        let mut components = snapshot.components.iter();
        components.any(|component| component.id == id && is_named(component, &wish.name))
    };
    snapshot
        .entries
        .iter()
        .any(|entry| wish.port.is_none_or(|port| port == entry.port) && named(&entry.component))
}

/// Whether there is such a component, and traffic to the port that was named.
fn is_there(wish: &EntryWish, snapshot: &Snapshot) -> bool {
    let mut components = snapshot.components.iter();
    components.any(|component| {
        is_named(component, &wish.name)
            && wish.port.is_none_or(|port| {
                let mut edges = snapshot.edges.iter();
                edges.any(|edge| edge.to == component.id && edge.port == port)
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::frames;
    use crate::model::{State, View, fold};

    #[test]
    fn an_entry_is_used_if_requests_came_in_there() {
        let snapshot = fold(&mut State::default(), &frames::chain(10), &View::default());
        let entry = &snapshot.entries[0];
        let (id, port) = (&entry.component, entry.port);
        for (wish, used) in [
            (id.clone(), true),
            (format!("{id}:{port}"), true),
            (format!("{id}:{}", port + 1), false),
            ("nobody".to_owned(), false),
        ] {
            assert_eq!(is_used(&wish.parse().unwrap(), &snapshot), used, "{wish}");
            let mut unused = Unused::new(&[wish.parse().unwrap()]);
            unused.look(&snapshot);
            assert_eq!(unused.report().is_ok(), used, "{wish}");
        }
    }
}
