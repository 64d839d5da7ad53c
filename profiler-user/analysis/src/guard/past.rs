//! What each component used in the last windows.
//!
//! In: [`Inputs`], window after window. Out: series by component, with bounded memory. Must not know: who is suspected of
//! what.

use std::collections::{HashMap, HashSet, VecDeque};

use super::inputs::{Inputs, Used, share};

/// Components of a window that are kept, the busiest.
const MAX_COMPONENTS: usize = 1024;
/// Names that are kept, at most, unless more are in the last windows.
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
    /// Number of the next name.
    next: u32,
}

impl Past {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            windows: VecDeque::new(),
            capacity,
            names: HashMap::new(),
            next: 0,
        }
    }

    pub(super) fn push(&mut self, number: u64, window: &Inputs) {
        if self.names.len() >= MAX_NAMES {
            self.forget_names();
        }
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
        let number = self.next;
        self.next = number.checked_add(1)?;
        self.names.insert(id.to_owned(), number);
        Some(number)
    }

    /// Those that did nothing in the last windows make room for others.
    fn forget_names(&mut self) {
        let uses = self.windows.iter().flat_map(|window| &window.uses);
        let used: HashSet<u32> = uses.map(|(name, _)| *name).collect();
        self.names.retain(|_, name| used.contains(name));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_come_and_go_make_room_for_others() {
        let mut past = Past::new(3);
        for number in 0..80 {
            let used = |i: u32| {
                let used = Used {
                    cpu_ns: 500,
                    ..Used::default()
                };
                (format!("program:{number}-{i}"), used)
            };
            let window = Inputs {
                duration_ns: 1000,
                components: (0..1000).map(used).collect(),
                ..Inputs::default()
            };
            past.push(number, &window);
        }
        let of = |id: &str, number: u64| past.series(id, std::iter::once(number)).next().unwrap();
        assert_eq!(of("program:79-999", 79).cpu, 0.5);
        assert_eq!(of("program:77-0", 77).cpu, 0.5);
        assert_eq!(of("program:79-999", 78).cpu, 0.0);
        assert!(past.names.len() <= MAX_NAMES + 1000);
    }
}
