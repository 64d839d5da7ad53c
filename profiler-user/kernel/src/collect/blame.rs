//! Whom CPUs were given to: totals by who waited and who ran, read at two instants, to what each image waited between.
//!
//! In: totals now and before. Out: time by image that adds up to an image's time in the run queue. Pure. Must not know: maps,
//! components.

use std::collections::{BTreeMap, HashMap};

use courtside_core::frame::Cpu;
use courtside_wire::{BlameKey, IMAGE_IDLE};

/// Time by who ran, of each image that waited.
pub(super) type ByImage = BTreeMap<u32, Vec<(u32, u64)>>;

/// What was added since.
pub(super) fn gained(now: &HashMap<BlameKey, u64>, before: &HashMap<BlameKey, u64>) -> ByImage {
    let mut by_image = ByImage::new();
    for (key, total) in now {
        let gained = total.saturating_sub(before.get(key).copied().unwrap_or(0));
        if gained > 0 {
            by_image
                .entry(key.image)
                .or_default()
                .push((key.by, gained));
        }
    }
    by_image
}

/// Notes who ran while an image waited in this window, and `idle_ns` of an idle CPU. A wait is booked when it ends: what of
/// it lay in earlier windows was told as unknown there, so what is too much here is left out, of everybody alike.
pub(super) fn book(cpu: &mut Cpu, idle_ns: u64, by: Vec<(u32, u64)>) {
    let mut all = by;
    all.push((IMAGE_IDLE, idle_ns));
    cpu.run_queue_by = divided(cpu.run_queue_ns, all);
}

/// Time by image that adds up to the whole: what is missing is of 0, and what is too much is left out of all alike.
pub(super) fn divided(whole: u64, by: Vec<(u32, u64)>) -> Vec<(u32, u64)> {
    let mut all = by;
    all.retain(|(_, ns)| *ns > 0);
    all.sort_unstable();
    let told: u128 = all.iter().map(|(_, ns)| u128::from(*ns)).sum();
    if told > u128::from(whole) {
        for (_, ns) in &mut all {
            let share = u128::from(*ns) * u128::from(whole) / told;
            *ns = u64::try_from(share).unwrap_or(whole);
        }
        all.retain(|(_, ns)| *ns > 0);
    }
    let told = all.iter().map(|(_, ns)| *ns).fold(0, u64::saturating_add);
    if whole > told {
        all.insert(0, (0, whole - told));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booked(run_queue_ns: u64, idle_ns: u64, by: &[(u32, u64)]) -> Vec<(u32, u64)> {
        let mut cpu = Cpu {
            run_queue_ns,
            ..Cpu::default()
        };
        book(&mut cpu, idle_ns, by.to_vec());
        assert_eq!(
            cpu.run_queue_by.iter().map(|(_, ns)| ns).sum::<u64>(),
            run_queue_ns
        );
        cpu.run_queue_by
    }

    #[test]
    fn what_was_not_booked_yet_is_unknown() {
        assert_eq!(
            booked(100, 10, &[(7, 60)]),
            [(0, 30), (7, 60), (IMAGE_IDLE, 10)]
        );
        assert_eq!(booked(5, 0, &[]), [(0, 5)]);
        assert!(booked(0, 0, &[]).is_empty());
    }

    #[test]
    fn what_earlier_windows_told_as_unknown_is_not_told_again() {
        assert_eq!(booked(100, 0, &[(7, 150), (9, 50)]), [(7, 75), (9, 25)]);
        // What is lost by rounding is unknown.
        assert_eq!(
            booked(10, 0, &[(7, 10), (9, 10), (11, 10)]),
            [(0, 1), (7, 3), (9, 3), (11, 3)]
        );
        // Half each, and one nanosecond that no half holds.
        assert_eq!(booked(u64::MAX, u64::MAX, &[(7, u64::MAX)]).len(), 3);
    }

    #[test]
    fn only_what_was_added_counts() {
        let key = |image, by| BlameKey { image, by };
        let before = HashMap::from([(key(2, 7), 5), (key(2, 9), 8)]);
        let now = HashMap::from([(key(2, 7), 25), (key(2, 9), 8), (key(3, 2), 4)]);
        let gained = gained(&now, &before);
        assert_eq!(
            gained,
            ByImage::from([(2, vec![(7, 20)]), (3, vec![(2, 4)])])
        );
    }
}
