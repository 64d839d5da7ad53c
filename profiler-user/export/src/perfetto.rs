//! Perfetto: components as processes, what they did in each window as counters and slices.
//!
//! In: snapshots, one after another. Out: pieces of one trace for ui.perfetto.dev. Must not know: where it goes.
//!
//! Windows hold sums, so they have no single messages. Where events were recorded, tasks become tracks with their
//! states, sends, receives and turnarounds, and messages arrows from sender to receiver.

use std::collections::{BTreeMap, HashMap};

use super::Piece;
use courtside_core::model::Snapshot;
use courtside_core::model::snapshot::{Component, Edge};
use courtside_core::model::words::Names;

mod events;
mod packets;
pub mod proto;
mod ranks;

use events::Traced;
use packets::Packets;
use proto::{
    Annotation, Clock, ClockSnapshot, Counter, EventType, Process, TracePacket, Track, TrackEvent,
    Unit,
};

/// Process ids of components without processes here begin beyond what Linux gives out.
const NO_PROCESS: i32 = 1 << 22;
/// The wall clock and the clock of the trace, in Perfetto's numbering.
const REALTIME: u32 = 1;
const BOOTTIME: u32 = 6;
/// All packets are of one writer.
const SEQUENCE: u32 = 1;

/// Writes a trace.
#[derive(Default)]
pub struct Perfetto {
    /// Number of each track by its path.
    tracks: BTreeMap<Vec<String>, u64>,
    /// Counters that stand at something else than nothing, and what they stood at.
    standing: BTreeMap<u64, f64>,
    /// Which of them have a value in this window.
    said: BTreeMap<u64, f64>,
    packets: Packets,
    /// Process id of each component's track.
    pids: HashMap<u64, i32>,
    traced: Traced,
    begun: bool,
    end_ns: u64,
}

impl Perfetto {
    /// One more window and its number.
    pub fn add(&mut self, window: u64, snapshot: &Snapshot) -> Vec<Piece> {
        let at = snapshot.window.start_unix_ns;
        self.end_ns = at.saturating_add(snapshot.window.duration_ns);
        if !std::mem::replace(&mut self.begun, true) {
            self.clock(at);
        }
        let per_second = 1e9 / snapshot.window.duration_ns.max(1) as f64;
        let rate = |n: u64| n as f64 * per_second;
        let lost = self.root("lost", Unit::Count);
        self.count(at, lost, snapshot.quality.lost_in_all() as f64);
        for component in &snapshot.components {
            self.component(at, window, component, &rate);
        }
        let names = Names::of(snapshot);
        for edge in &snapshot.edges {
            self.edge(at, edge, &names, &rate);
        }
        // What had no traffic in this window stands at nothing.
        let said = std::mem::take(&mut self.said);
        let gone: Vec<u64> = self
            .standing
            .keys()
            .filter(|track| !said.contains_key(track))
            .copied()
            .collect();
        for track in gone {
            self.push_count(at, track, 0.0);
        }
        self.standing = said;
        self.standing.retain(|_, value| *value != 0.0);
        self.piece()
    }

    /// What is left: the counters' last values up to the end of the last window.
    pub fn finish(mut self) -> Vec<Piece> {
        self.finish_events();
        for (track, value) in std::mem::take(&mut self.standing) {
            self.push_count(self.end_ns, track, value);
        }
        self.piece()
    }

    fn component(
        &mut self,
        at: u64,
        window: u64,
        component: &Component,
        rate: &dyn Fn(u64) -> f64,
    ) {
        let process = self.process(component);
        let turnaround = &component.turnaround;
        let begin = TrackEvent {
            r#type: EventType::SliceBegin.into(),
            track_uuid: process,
            name: Some(format!("window {window}")),
            annotations: annotations(component),
            ..TrackEvent::default()
        };
        self.event_at(at, begin);
        let end = TrackEvent {
            r#type: EventType::SliceEnd.into(),
            track_uuid: process,
            ..TrackEvent::default()
        };
        self.event_at(self.end_ns, end);
        for (name, unit, value) in [
            ("requests/s", Unit::Count, component.requests.served),
            (
                "untimed requests/s",
                Unit::Count,
                component.requests.untimed,
            ),
            (
                "unread, ns/s",
                Unit::TimeNs,
                component.requests.queued_ns.sum_ns,
            ),
            ("turnarounds/s", Unit::Count, turnaround.count),
            ("CPU, ns/s", Unit::TimeNs, component.cpu.on_cpu_ns),
            ("run queue, ns/s", Unit::TimeNs, component.cpu.run_queue_ns),
            (
                "disk reads, B/s",
                Unit::SizeBytes,
                component.disk.read_bytes,
            ),
            (
                "disk writes, B/s",
                Unit::SizeBytes,
                component.disk.write_bytes,
            ),
        ] {
            self.counter(at, (process, &component.id), name, unit, rate(value));
        }
        for (part, ns) in turnaround.parts {
            let name = format!("turnaround: {}, ns/s", part.words());
            self.counter(at, (process, &component.id), &name, Unit::TimeNs, rate(ns));
        }
        if let Some(held) = component.requests.held_ns {
            let size = rate(held.unsigned_abs());
            let held = if held < 0 { -size } else { size };
            self.counter(
                at,
                (process, &component.id),
                "held, ns/s",
                Unit::TimeNs,
                held,
            );
        }
    }

    /// Counters of an edge stand with its initiator.
    fn edge(&mut self, at: u64, edge: &Edge, names: &Names<'_>, rate: &dyn Fn(u64) -> f64) {
        for end in [&edge.from, &edge.to] {
            if !self.traced.talking.contains(end) {
                self.traced.talking.insert(end.clone());
            }
        }
        let Some(&process) = self.tracks.get(&vec![edge.from.clone()]) else {
            return;
        };
        let transport = edge.transport.name();
        let to = format!("→ {} {transport} {}", names.get(&edge.to), edge.port);
        let own = (process, edge.from.as_str());
        let roundtrips = format!("{to}: roundtrips/s");
        self.counter(at, own, &roundtrips, Unit::Count, rate(edge.roundtrips));
        let untimed = format!("{to}: untimed/s");
        self.counter(at, own, &untimed, Unit::Count, rate(edge.untimed));
        let bound = format!("{to}: roundtrips are a lower bound");
        self.counter(
            at,
            own,
            &bound,
            Unit::Count,
            f64::from(u8::from(edge.lower_bound)),
        );
        if edge.latency_ns.count > 0 {
            for (name, value) in [
                ("p50", edge.latency_ns.p50_ns),
                ("p99", edge.latency_ns.p99_ns),
            ] {
                let name = format!("{to}: latency {name}");
                self.counter(at, own, &name, Unit::TimeNs, value as f64);
            }
        }
    }

    /// A counter of a process. One that was never anything else than nothing is not shown.
    fn counter(&mut self, at: u64, (process, id): (u64, &str), name: &str, unit: Unit, value: f64) {
        let path = vec![id.to_owned(), name.to_owned()];
        let track = match self.tracks.get(&path) {
            Some(&track) => track,
            None if value == 0.0 => return,
            None => self.track(path, |uuid| Track {
                uuid,
                parent_uuid: Some(process),
                name: Some(name.to_owned()),
                counter: Some(Counter {
                    unit: Some(unit.into()),
                }),
                ..Track::default()
            }),
        };
        self.count(at, track, value);
    }

    fn process(&mut self, component: &Component) -> u64 {
        let path = vec![component.id.clone()];
        if let Some(&track) = self.tracks.get(&path) {
            return track;
        }
        let number = i32::try_from(self.tracks.len()).unwrap_or(0);
        let first = component.processes.first();
        let pid = first.and_then(|process| i32::try_from(process.tgid).ok());
        let pid = pid.unwrap_or(NO_PROCESS + number);
        let uuid = self.track(path, |uuid| Track {
            uuid,
            process: Some(Process {
                pid: Some(pid),
                process_name: Some(component.name.clone()),
            }),
            ..Track::default()
        });
        self.pids.insert(uuid, pid);
        uuid
    }

    fn root(&mut self, name: &str, unit: Unit) -> u64 {
        let path = vec![String::new(), name.to_owned()];
        match self.tracks.get(&path) {
            Some(&track) => track,
            None => self.track(path, |uuid| Track {
                uuid,
                name: Some(name.to_owned()),
                counter: Some(Counter {
                    unit: Some(unit.into()),
                }),
                ..Track::default()
            }),
        }
    }

    fn track(&mut self, path: Vec<String>, describe: impl FnOnce(u64) -> Track) -> u64 {
        let uuid = self.tracks.len() as u64 + 1;
        self.tracks.insert(path, uuid);
        self.packets.push(&TracePacket {
            track_descriptor: Some(describe(uuid)),
            ..packet(None)
        });
        uuid
    }

    fn count(&mut self, at: u64, track: u64, value: f64) {
        self.said.insert(track, value);
        self.push_count(at, track, value);
    }

    fn push_count(&mut self, at: u64, track_uuid: u64, value: f64) {
        let event = TrackEvent {
            r#type: EventType::Counter.into(),
            track_uuid,
            double_counter_value: Some(value),
            ..TrackEvent::default()
        };
        self.event_at(at, event);
    }

    fn event_at(&mut self, at: u64, event: TrackEvent) {
        self.packets.push(&TracePacket {
            track_event: Some(event),
            ..packet(Some(at))
        });
    }

    /// The trace's clock is the wall clock.
    fn clock(&mut self, at: u64) {
        let clocks = [REALTIME, BOOTTIME].map(|clock_id| Clock {
            clock_id: Some(clock_id),
            timestamp: Some(at),
        });
        self.packets.push(&TracePacket {
            clock_snapshot: Some(ClockSnapshot {
                clocks: clocks.into(),
            }),
            ..packet(Some(at))
        });
    }

    fn piece(&mut self) -> Vec<Piece> {
        vec![Piece {
            file: String::new(),
            bytes: self.packets.take(),
        }]
    }
}

fn packet(timestamp: Option<u64>) -> TracePacket {
    TracePacket {
        timestamp,
        trusted_packet_sequence_id: Some(SEQUENCE),
        ..TracePacket::default()
    }
}

/// What a click on a window shows.
fn annotations(component: &Component) -> Vec<Annotation> {
    let turnaround = &component.turnaround;
    let parts = turnaround.parts.into_iter();
    [
        ("requests served", component.requests.served),
        ("a lower bound", component.requests.lower_bound.into()),
        ("requests untimed", component.requests.untimed),
        ("service p50, ns", component.requests.service_ns.p50_ns),
        ("service p99, ns", component.requests.service_ns.p99_ns),
        ("turnarounds", turnaround.count),
        ("turnaround total, ns", turnaround.total_ns),
    ]
    .into_iter()
    .map(annotation)
    .chain(parts.map(|(part, ns)| annotation_of(format!("{}, ns", part.words()), ns)))
    .collect()
}

fn annotation_of(name: String, value: u64) -> Annotation {
    Annotation {
        name: Some(name),
        uint_value: Some(value),
    }
}

fn annotation((name, value): (&str, u64)) -> Annotation {
    annotation_of(name.to_owned(), value)
}
