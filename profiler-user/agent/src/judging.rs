//! A judge beside what is shown: it sees every window, and everybody in it, whatever is selected.
//!
//! In: a [`Judges`], windows. Out: its newest [`Judgement`]. Must not know: how it is judged, the screen.

use std::{fmt, sync::Arc};

use courtside_core::{
    frame::Frame,
    model::{
        Selection, Snapshot, State, View, fold,
        judgement::{Judgement, Judges},
    },
};

/// A judge at work.
pub struct Judging {
    judge: Box<dyn Judges>,
    /// How everybody is seen, where a selection hides some.
    everybody: Option<(State, View)>,
    newest: Option<Arc<Judgement>>,
}

impl fmt::Debug for Judging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judging").finish_non_exhaustive()
    }
}

impl Judging {
    /// Of a measurement that is shown so.
    #[must_use]
    pub fn new(judge: Box<dyn Judges>, view: &View) -> Self {
        let everybody = View {
            group_by: view.group_by,
            ..View::default()
        };
        Self {
            judge,
            everybody: (view.selection != Selection::default())
                .then(|| (State::default(), everybody)),
            newest: None,
        }
    }

    /// Takes a window, which is shown as this snapshot.
    pub fn window(&mut self, frame: &Frame, shown: &Snapshot) {
        self.newest = Some(match &mut self.everybody {
            None => self.judge.window(shown),
            Some((state, view)) => self.judge.window(&fold(state, frame, view)),
        });
    }

    /// What was said of the last window.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<Judgement>> {
        self.newest.clone()
    }

    /// Begins anew.
    pub fn restart(&mut self) {
        self.judge.restart();
        if let Some((state, _)) = &mut self.everybody {
            *state = State::default();
        }
        self.newest = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use courtside_core::fixture::frames;

    use super::*;

    /// Notes whom it sees.
    #[derive(Clone, Default)]
    struct Noting(Arc<Mutex<Vec<String>>>);

    impl Judges for Noting {
        fn window(&mut self, all: &Snapshot) -> Arc<Judgement> {
            let names = all.components.iter().map(|c| c.name.clone()).collect();
            *self.0.lock().unwrap() = names;
            Arc::new(Judgement {
                windows: 7,
                ..Judgement::default()
            })
        }

        fn restart(&mut self) {}
    }

    #[test]
    fn everybody_is_judged_whoever_is_selected() {
        let frame = frames::chain(10);
        let mut view = View::default();
        view.selection.comms = vec!["nobody".to_owned()];
        let shown = fold(&mut State::default(), &frame, &view);
        assert!(shown.components.is_empty());
        let noting = Noting::default();
        let mut judging = Judging::new(Box::new(noting.clone()), &view);
        judging.window(&frame, &shown);
        let all = fold(&mut State::default(), &frame, &View::default());
        let names: Vec<String> = all.components.iter().map(|c| c.name.clone()).collect();
        assert!(names.len() > 1);
        assert_eq!(*noting.0.lock().unwrap(), names);
        assert_eq!(judging.newest().unwrap().windows, 7);
        judging.restart();
        assert!(judging.newest().is_none());
    }
}
