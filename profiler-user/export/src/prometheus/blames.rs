//! Because of whom all components waited, for one kind of wait.
//!
//! In: what windows blame. Out: a family with a series for each component and each one that it blames. Must not know: what was
//! waited for, who has series.

use std::{collections::BTreeMap, sync::Arc};

use courtside_core::model::{
    Blame,
    blame::{IDLE, UNKNOWN},
};

use super::{
    blamed::Blamed,
    family::{Family, Kind, Unit::Ns, Words::Are, family},
    shown::{Id, Shown},
    write::{Key, Number, Writer, label},
};

/// Because of whom threads waited for a CPU.
pub(super) const RUN_QUEUE_BY: Family = family(
    "courtside_run_queue_by_seconds",
    Kind::Counter,
    Ns,
    Are(
        "time its threads were runnable without a CPU, by whom the CPU was given to meanwhile: a component (also itself), idle for a CPU on which nobody ran, unknown for what could not be told, other for all who have no series here; adds up to the state run_queue of courtside_cpu_seconds, where it is measured",
    ),
);

/// Whose requests lay before at a disk.
pub(super) const QUEUED_BEHIND: Family = family(
    "courtside_disk_queued_behind_seconds",
    Kind::Counter,
    Ns,
    Are(
        "time its requests to disks took while requests of others that were started before lay there, too, by whose they were: a component, unknown for what could not be told, other for all who have no series here; at most, since a device may work on several at once",
    ),
);

/// All that have the labels of component and who was blamed.
pub(super) const FAMILIES: [Family; 2] = [RUN_QUEUE_BY, QUEUED_BEHIND];

/// Who was blamed, by component.
#[derive(Debug, Default)]
pub(super) struct Blames(BTreeMap<Id, Blamed>);

impl Blames {
    /// Begins a window: what was lately counts less, by this factor.
    pub(super) fn age(&mut self, less: f64, now_ns: u64) {
        for blamed in self.0.values_mut() {
            blamed.age(less, now_ns);
        }
    }

    /// Adds whom a component blames in the window that began then. Those without series of their own are `other` here, too.
    pub(super) fn add(&mut self, id: &Id, by: &[Blame], shown: &Shown, now_ns: u64) {
        let other = shown.other();
        let blamed = self.0.entry(Arc::clone(id));
        let blamed = blamed.or_insert_with(|| Blamed::from(now_ns));
        for one in by {
            let who = match one.component.as_str() {
                name @ (IDLE | UNKNOWN) => name.into(),
                name => shown.label(name),
            };
            blamed.add(&who, &other, one.ns);
        }
    }

    /// Ends a window.
    pub(super) fn exchange(&mut self, other: &Id) {
        for blamed in self.0.values_mut() {
            blamed.exchange(other);
        }
    }

    /// What a component blamed, and was blamed for, goes into `other`.
    pub(super) fn give_up(&mut self, id: &Id, other: &Id, now_ns: u64) {
        if let Some(blamed) = self.0.remove(id) {
            let sum = self.0.entry(Arc::clone(other));
            let sum = sum.or_insert_with(|| Blamed::from(now_ns));
            sum.merge(&blamed, other);
        }
        for blamed in self.0.values_mut() {
            blamed.give_up(id, other);
        }
    }

    /// All of it.
    pub(super) fn write(&self, family: &Family, to: &mut Writer<'_>) {
        to.head(family);
        for (id, blamed) in &self.0 {
            for (by, ns, since_ns) in blamed.all() {
                let labels = vec![label("component", id), label("by", by)];
                to.number(family, &Key { labels, since_ns }, Number::Ns(ns));
            }
        }
    }
}
