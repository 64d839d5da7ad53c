//! Steps in the order in which they began: a send is told when it has ended, and by then its message may have been read, and
//! answered.
//!
//! In: steps, each with the time at which it takes its place. Out: the same in that order. Must not know: what they are.

use std::collections::BTreeMap;

/// How long a step waits for others that began before it and have not been told. A call that lasts longer takes its place
/// late.
const PATIENCE_NS: u64 = 100_000_000;
/// Steps that wait, at most.
const PATIENCE: usize = 1 << 16;

/// Steps that wait.
#[derive(Debug)]
pub(super) struct Order<T> {
    waiting: BTreeMap<(u64, u64), T>,
    count: u64,
    newest_ns: u64,
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            count: 0,
            newest_ns: 0,
        }
    }
}

impl<T> Order<T> {
    /// Takes a step with its place; of one instant, those that came first are first.
    pub(super) fn add(&mut self, at_ns: u64, told_ns: u64, step: T) {
        self.newest_ns = self.newest_ns.max(told_ns);
        self.count += 1;
        self.waiting.insert((at_ns, self.count), step);
    }

    /// The next step, and when it was, if nothing that came before it can be told any more; at the end nothing can.
    pub(super) fn next(&mut self, at_end: bool) -> Option<(u64, T)> {
        let (first_ns, _) = *self.waiting.first_key_value()?.0;
        let waited = self.newest_ns.saturating_sub(first_ns) > PATIENCE_NS;
        if at_end || waited || self.waiting.len() > PATIENCE {
            let ((at_ns, _), step) = self.waiting.pop_first()?;
            return Some((at_ns, step));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_takes_its_place_and_waits_for_what_may_have_come_before() {
        let mut order = Order::default();
        order.add(10, 10, 'a');
        order.add(30, 30, 'c');
        // It began before, and was told later.
        order.add(20, 40, 'b');
        order.add(20, 41, 'B');
        assert_eq!(order.next(false), None);
        order.add(PATIENCE_NS + 25, PATIENCE_NS + 25, 'd');
        let next: Vec<_> = std::iter::from_fn(|| order.next(false)).collect();
        assert_eq!(next, [(10, 'a'), (20, 'b'), (20, 'B')]);
        let rest: Vec<_> = std::iter::from_fn(|| order.next(true)).collect();
        assert_eq!(rest, [(30, 'c'), (PATIENCE_NS + 25, 'd')]);
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let mut order = Order::default();
        for n in 0..2 * PATIENCE as u64 {
            order.add(n % 7, 7, ());
            while order.next(false).is_some() {}
            assert!(order.waiting.len() <= PATIENCE);
        }
    }
}
