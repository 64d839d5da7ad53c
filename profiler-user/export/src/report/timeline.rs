//! Time lines: what each component did in each piece of time.
//!
//! In: snapshots in order. Out: series. Must not know: pages. Memory grows with components and pieces, not with what a
//! snapshot holds.

use std::collections::HashMap;

use courtside_core::model::Snapshot;
use courtside_core::parts::Parts;

/// All series.
#[derive(Default)]
pub(super) struct Timeline {
    /// When each piece began, and how long it was.
    pub times: Vec<(u64, u64)>,
    /// What was lost in each.
    pub lost: Vec<u64>,
    series: HashMap<String, Vec<Point>>,
}

/// One component in one piece of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Point {
    /// Number of the piece.
    pub piece: usize,
    pub served: u64,
    pub service_p50_ns: Option<u64>,
    pub service_p99_ns: Option<u64>,
    pub parts: Parts<f64>,
    pub on_cpu_ns: u64,
}

impl Timeline {
    pub fn add(&mut self, snapshot: &Snapshot) {
        let piece = self.times.len();
        self.times
            .push((snapshot.window.start_unix_ns, snapshot.window.duration_ns));
        self.lost.push(snapshot.quality.lost.values().sum());
        for component in &snapshot.components {
            let service = &component.requests.service_ns;
            let known = |ns| (service.count > 0).then_some(ns);
            let point = Point {
                piece,
                served: component.requests.served,
                service_p50_ns: known(service.p50_ns),
                service_p99_ns: known(service.p99_ns),
                parts: component.turnaround.parts.real(),
                on_cpu_ns: component.cpu.on_cpu_ns,
            };
            match self.series.get_mut(&component.id) {
                Some(points) => points.push(point),
                None => drop(self.series.insert(component.id.clone(), vec![point])),
            }
        }
    }

    /// One component's points, ascending; pieces in which it did nothing are not there.
    pub fn of(&self, id: &str) -> &[Point] {
        self.series.get(id).map_or(&[], Vec::as_slice)
    }

    /// The most CPU time that a component used in a second of a piece.
    pub fn most_cpu(&self, id: &str) -> u64 {
        let each = self.of(id).iter().map(|point| {
            let (_, length) = self.times[point.piece];
            (u128::from(point.on_cpu_ns) * 1_000_000_000 / u128::from(length.max(1))) as u64
        });
        each.max().unwrap_or(0)
    }
}
