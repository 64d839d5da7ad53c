//! What each component used in the last windows.
//!
//! In: [`Inputs`], window after window. Out: series by component, with bounded memory. Must not know: who is suspected of
//! what.

use std::collections::{HashMap, VecDeque};

use super::inputs::{Inputs, Used, share};

/// Components of a window that are kept, the busiest.
const MAX_COMPONENTS: usize = 1024;
/// Names that are kept, at most; later ones are no suspects.
const MAX_NAMES: usize = 65_536;

/// What one component used in one window, in CPUs, and in disk requests under way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Use {
    pub cpu: f64,
    pub disk: f64,
}

#[derive(Debug)]
struct Window {
    number: u64,
    /// By name, ascending.
    uses: Vec<(u32, Use)>,
}

/// The last windows.
#[derive(Debug)]
pub(super) struct Past {
    windows: VecDeque<Window>,
    capacity: usize,
    names: HashMap<String, u32>,
}

impl Past {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            windows: VecDeque::new(),
            capacity,
            names: HashMap::new(),
        }
    }

    pub(super) fn push(&mut self, number: u64, window: &Inputs) {
        let of = |used: &Used| Use {
            cpu: window.usage(used),
            disk: share(used.disk_ns, window.duration_ns).unwrap_or(0.0),
        };
        let mut uses: Vec<(&String, Use)> = window
            .components
            .iter()
            .map(|(id, used)| (id, of(used)))
            .filter(|(_, used)| used.cpu > 0.0 || used.disk > 0.0)
            .collect();
        if uses.len() > MAX_COMPONENTS {
            uses.sort_by(|a, b| (b.1.cpu + b.1.disk).total_cmp(&(a.1.cpu + a.1.disk)));
            uses.truncate(MAX_COMPONENTS);
        }
        let mut uses: Vec<(u32, Use)> = uses
            .into_iter()
            .filter_map(|(id, used)| Some((self.number_of(id)?, used)))
            .collect();
        uses.sort_by_key(|(name, _)| *name);
        if self.windows.len() >= self.capacity {
            self.windows.pop_front();
        }
        self.windows.push_back(Window { number, uses });
    }

    fn number_of(&mut self, id: &str) -> Option<u32> {
        if let Some(number) = self.names.get(id) {
            return Some(*number);
        }
        if self.names.len() >= MAX_NAMES {
            return None;
        }
        let number = u32::try_from(self.names.len()).ok()?;
        self.names.insert(id.to_owned(), number);
        Some(number)
    }

    fn window(&self, number: u64) -> Option<&Window> {
        let first = self.windows.front()?.number;
        let window = self
            .windows
            .get(usize::try_from(number.checked_sub(first)?).ok()?)?;
        (window.number == number).then_some(window)
    }

    /// What a component used in these windows; 0 in those in which it did nothing.
    pub(super) fn series<'a>(
        &'a self,
        id: &str,
        numbers: impl Iterator<Item = u64> + 'a,
    ) -> impl Iterator<Item = Use> + 'a {
        let name = self.names.get(id).copied();
        numbers.map(move |number| {
            let window = self.window(number);
            let found = window.zip(name).and_then(|(window, name)| {
                let at = window.uses.binary_search_by_key(&name, |(name, _)| *name);
                window.uses.get(at.ok()?)
            });
            found.map_or_else(Use::default, |(_, used)| *used)
        })
    }

    /// The components that did something in any of these windows.
    pub(super) fn at_work(&self, numbers: &[u64]) -> Vec<&str> {
        let windows = numbers.iter().filter_map(|number| self.window(*number));
        let mut busy: Vec<u32> = windows
            .flat_map(|window| window.uses.iter().map(|(name, _)| *name))
            .collect();
        busy.sort_unstable();
        busy.dedup();
        let mut ids: Vec<&str> = self
            .names
            .iter()
            .filter(|(_, name)| busy.binary_search(name).is_ok())
            .map(|(id, _)| id.as_str())
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Whether this window is still there.
    pub(super) fn has(&self, number: u64) -> bool {
        self.window(number).is_some()
    }
}
