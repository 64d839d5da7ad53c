//! Which components are watched: those that are selected, or all.
//!
//! In: a selection, windows. Out: ids of components. Must not know: what is watched of them.

use std::collections::BTreeSet;

use crate::{
    frame::Frame,
    model::{GroupBy, Selection, Snapshot, View, who_is_who},
};

/// The selection.
pub(super) struct Victims {
    selection: Selection,
    group_by: GroupBy,
}

impl Victims {
    pub(super) fn new(view: &View) -> Self {
        Self {
            selection: view.selection.clone(),
            group_by: view.group_by,
        }
    }

    /// Those of a window; nothing where every component is one.
    pub(super) fn of(&self, frame: &Frame, snapshot: &Snapshot) -> Option<BTreeSet<String>> {
        let by_port = (!self.selection.ports.is_empty()).then(|| {
            let on_port = snapshot
                .edges
                .iter()
                .filter(|edge| self.selection.shows_port(edge.port));
            on_port.map(|edge| edge.to.clone()).collect()
        });
        if self.selection.names_no_component() {
            return by_port;
        }
        let matches = self.selection.matcher();
        let images: BTreeSet<u32> = frame
            .images
            .iter()
            .filter(|image| matches(image))
            .map(|image| image.id)
            .collect();
        let named: BTreeSet<String> = who_is_who(frame, self.group_by)
            .into_iter()
            .filter(|(number, ..)| images.contains(number))
            .map(|(_, id, _)| id)
            .collect();
        Some(match by_port {
            None => named,
            Some(ids) => named.intersection(&ids).cloned().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::frames,
        model::{State, fold},
    };

    fn of(change: impl Fn(&mut Selection)) -> Option<Vec<String>> {
        let mut view = View::default();
        change(&mut view.selection);
        let frame = frames::chain(10);
        let snapshot = fold(&mut State::default(), &frame, &View::default());
        let ids = Victims::new(&view).of(&frame, &snapshot);
        ids.map(|ids| ids.into_iter().collect())
    }

    #[test]
    fn nothing_selected_is_everybody_and_names_and_ports_narrow_it_down() {
        let list = |ids: &[&str]| Some(ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(|_| {}), None);
        let two = of(|s| s.comms = vec!["web".into(), "st*".into()]);
        assert_eq!(two, list(&["program:store", "program:web"]));
        assert_eq!(of(|s| s.ports = vec![8080]), list(&["program:app"]));
        let neither = of(|s| {
            s.comms = vec!["web".into()];
            s.ports = vec![8080];
        });
        assert_eq!(neither, list(&[]));
    }
}
