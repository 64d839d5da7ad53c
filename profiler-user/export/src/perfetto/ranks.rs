//! A parallel application in a trace: what each of its threads did and whom it waited for, and the critical path.
//!
//! In: a [`Timeline`]. Out: packets. Must not know: single events, how the timeline came about.

use courtside_core::model::{
    inference::{Doing, Span, Timeline},
    visible::visible,
};

use super::{
    NO_PROCESS, Perfetto,
    packets::Slice,
    proto::{EventType, Process, Track},
};
use crate::{Piece, text::clip};

/// Packets that are given away together.
const BATCH: usize = 4096;
/// What all tracks of the application stand below.
const ROOT: &str = "parallel application";
/// Whoever is not one of its processes.
const OUTSIDE: &str = "outside";
/// Longest name.
const NAME_WIDTH: usize = 60;

impl Perfetto {
    /// Adds an application's run: a track for each thread, and one for the critical path, with arrows from stretch to stretch.
    pub fn application(&mut self, timeline: &Timeline) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let names: Vec<String> = timeline
            .processes
            .iter()
            .map(|process| clip(&visible(&process.id), NAME_WIDTH))
            .collect();
        let root = self.group();
        let path = (!timeline.path.is_empty())
            .then(|| self.lane(&["critical path"], root, "critical path"));
        let mut tracks: Vec<Vec<u64>> = Vec::new();
        for (process, name) in timeline.processes.iter().zip(&names) {
            let many = process.tids.len() > 1;
            let threads = process.tids.iter().map(|tid| {
                let own = match many {
                    true => format!("{name} thread {tid}"),
                    false => name.clone(),
                };
                self.lane(&[&process.id, &tid.to_string()], root, &own)
            });
            tracks.push(threads.collect());
        }
        let at = |ns: u64| timeline.start_unix_ns.saturating_add(ns);
        for span in &timeline.spans {
            let threads = tracks.get(span.at.process);
            let Some(track) = threads.and_then(|threads| threads.get(span.at.thread)) else {
                continue;
            };
            self.packets.slice(&Slice {
                name: called(span, &names),
                ..Slice::new(at(span.from_ns), EventType::SliceBegin, *track)
            });
            let end = Slice::new(at(span.to_ns), EventType::SliceEnd, *track);
            self.packets.slice(&end);
            if self.packets.count() >= BATCH {
                pieces.extend(self.piece());
            }
        }
        let Some(track) = path else {
            pieces.extend(self.piece());
            return pieces;
        };
        // An arrow leads from each stretch to the next one.
        let mut landed = None;
        let mut steps = timeline.path.iter().peekable();
        while let Some(step) = steps.next() {
            // One that takes no time would lead nowhere.
            let forward = steps.peek().is_some_and(|next| next.from_ns > step.from_ns);
            let flow = forward.then(|| {
                self.traced.flows += 1;
                self.traced.flows
            });
            let name = names.get(step.at.process).map_or(OUTSIDE, String::as_str);
            self.packets.slice(&Slice {
                name: [name, "", "", ""],
                flows: flow.as_slice(),
                landed: landed.as_slice(),
                ..Slice::new(at(step.from_ns), EventType::SliceBegin, track)
            });
            let end = Slice::new(at(step.to_ns.max(step.from_ns)), EventType::SliceEnd, track);
            self.packets.slice(&end);
            landed = flow;
        }
        pieces.extend(self.piece());
        pieces
    }

    /// The application as a process of its own.
    fn group(&mut self) -> u64 {
        let number = i32::try_from(self.tracks.len()).unwrap_or(0);
        self.track(path_of(&[]), |uuid| Track {
            uuid,
            process: Some(Process {
                pid: Some(NO_PROCESS.saturating_add(number)),
                process_name: Some(ROOT.to_owned()),
            }),
            ..Track::default()
        })
    }

    fn lane(&mut self, path: &[&str], parent: u64, name: &str) -> u64 {
        self.track(path_of(path), |uuid| Track {
            uuid,
            parent_uuid: Some(parent),
            name: Some(name.to_owned()),
            ..Track::default()
        })
    }
}

/// No component has such an id.
fn path_of(path: &[&str]) -> Vec<String> {
    let own = ["", ROOT].into_iter().chain(path.iter().copied());
    own.map(str::to_owned).collect()
}

fn called<'a>(span: &Span, names: &'a [String]) -> [&'a str; 4] {
    let whom = span.whose.and_then(|whose| names.get(whose));
    let whom = whom.map_or(OUTSIDE, String::as_str);
    match span.doing {
        Doing::NotSent => ["waits for ", whom, ", which has not sent yet", ""],
        Doing::InFlight => ["waits for ", whom, ", whose message is on its way", ""],
        Doing::Transfer => ["waits for ", whom, ", for the rest of its message", ""],
        other => [other.words(), "", "", ""],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use courtside_core::model::inference::{Lane, Place, Step};
    use prost::Message as _;

    use super::*;
    use crate::perfetto::proto::Trace;

    #[test]
    fn threads_and_the_critical_path_are_tracks_and_arrows_lead_along_it() {
        let at = |process| Place { process, thread: 0 };
        let span = |process, from_ns, to_ns, doing, whose| Span {
            at: at(process),
            from_ns,
            to_ns,
            doing,
            cpu: None,
            whose,
        };
        let step = |process, from_ns, to_ns| Step {
            at: at(process),
            from_ns,
            to_ns,
        };
        let timeline = Timeline {
            start_unix_ns: 1000,
            processes: ["a/1", "b/2"]
                .map(|id| Lane {
                    id: id.to_owned(),
                    tgid: 1,
                    tids: vec![1],
                })
                .into(),
            spans: vec![
                span(0, 0, 20, Doing::OnCpu, None),
                span(1, 0, 20, Doing::NotSent, Some(0)),
                span(1, 20, 25, Doing::InFlight, None),
                span(1, 25, 50, Doing::OnCpu, None),
            ],
            path: vec![step(0, 0, 20), step(1, 25, 50)],
            ..Timeline::default()
        };
        let mut perfetto = Perfetto::default();
        let mut bytes = Vec::new();
        for piece in perfetto.application(&timeline) {
            bytes.extend(piece.bytes);
        }
        let trace = Trace::decode(&bytes[..]).unwrap();
        let mut names: BTreeMap<u64, String> = BTreeMap::new();
        let mut parents: BTreeMap<String, Option<u64>> = BTreeMap::new();
        let mut told: Vec<(String, u64, String)> = Vec::new();
        let (mut leaves, mut lands) = (Vec::new(), Vec::new());
        for packet in trace.packet {
            if let Some(track) = packet.track_descriptor {
                let group = track.process.and_then(|process| process.process_name);
                let name = track.name.or(group).unwrap();
                names.insert(track.uuid, name.clone());
                parents.insert(name, track.parent_uuid);
            }
            if let Some(event) = packet.track_event {
                let name = event.name.unwrap_or_default();
                told.push((
                    names[&event.track_uuid].clone(),
                    packet.timestamp.unwrap(),
                    name,
                ));
                leaves.extend(event.flow_ids);
                lands.extend(event.terminating_flow_ids);
            }
        }
        let root = *names.iter().find(|(_, name)| *name == ROOT).unwrap().0;
        for name in ["a/1", "b/2", "critical path"] {
            assert_eq!(parents[name], Some(root));
        }
        let of = |track: &str| -> Vec<(u64, &str)> {
            let own = told.iter().filter(|(name, ..)| name == track);
            own.map(|(_, at_ns, name)| (*at_ns, name.as_str()))
                .collect()
        };
        assert_eq!(of("a/1"), [(1000, "on a CPU"), (1020, "")]);
        let waits = [
            (1000, "waits for a/1, which has not sent yet"),
            (1020, ""),
            (1020, "waits for outside, whose message is on its way"),
            (1025, ""),
            (1025, "on a CPU"),
            (1050, ""),
        ];
        assert_eq!(of("b/2"), waits);
        let path = [(1000, "a/1"), (1020, ""), (1025, "b/2"), (1050, "")];
        assert_eq!(of("critical path"), path);
        assert_eq!((leaves.len(), &leaves), (1, &lands));
    }
}
