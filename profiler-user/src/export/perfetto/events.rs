//! Single events in a trace: tasks as tracks with what they did, messages as arrows from sender to receiver.
//!
//! In: told events in the order of time. Out: packets. Must not know: windows.
//!
//! Arrows need both ends of a connection on this host. Addresses tell which belong together; Unix sockets have none, but
//! what is sent over one arrives at the other end within the send call. UDP sockets need not name the other end
//! (`datagrams`).

mod datagrams;

use std::collections::VecDeque;

use self::datagrams::{Datagrams, Pair};
use foldhash::{HashMap, HashSet};

use super::proto::{Event, EventType, Thread, TracePacket, Track};
use super::{Perfetto, annotation, packet};
use crate::event::{Connection, Off};
use crate::export::Piece;
use crate::export::events::Told;
use crate::model::turnarounds::Turnaround;

/// Packets that are given away together.
const BATCH: usize = 4096;
/// Most messages of a connection that wait for their receiver, and receives that wait for their sender's word.
const MAX_WAITING: usize = 10_000;
/// Its sockets may be connected to nobody.
const UDP: u8 = 2;
/// Connections to Unix sockets have no addresses.
const UNIX: u8 = 3;

/// What is known of tasks and messages on the way.
#[derive(Default)]
pub(super) struct Traced {
    /// Components that talk: only their tasks are shown.
    pub talking: HashSet<String>,
    tasks: HashMap<u32, Task>,
    streams: HashMap<Way, Stream>,
    datagrams: Datagrams,
    /// Where the Unix data or datagram that a task sends arrived, until its send call has ended.
    arrived: HashMap<u32, u64>,
    /// The other end of each end of a Unix connection, as far as it was seen.
    opposite: HashMap<u64, u64>,
    flows: u64,
}

/// The way that bytes take.
#[derive(PartialEq, Eq, Hash)]
enum Way {
    From(End),
    /// To the end of a Unix connection that has this number.
    To(u64),
}

struct Task {
    thread: u64,
    states: u64,
    state: Option<&'static str>,
    /// Its track of turnarounds, if it has had any, and where the last one ended.
    turnarounds: Option<u64>,
    turned_ns: u64,
    /// Tells it from others that have had its number.
    path: Vec<String>,
}

/// One end of a connection, as it names itself and the other one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct End {
    transport: u8,
    netns: u32,
    own: ([u8; 16], u16),
    other: ([u8; 16], u16),
}

impl End {
    fn of(connection: &Connection) -> Self {
        Self {
            transport: connection.flow.transport,
            netns: connection.netns,
            own: (connection.local, connection.local_port),
            other: (connection.remote, connection.remote_port),
        }
    }

    fn opposite(self) -> Self {
        Self {
            own: self.other,
            other: self.own,
            ..self
        }
    }
}

/// The bytes that one end sends to the other.
#[derive(Default)]
struct Stream {
    sent: u64,
    received: u64,
    /// Where each send begins whose first byte was not received yet, and its arrow.
    flying: VecDeque<(u64, u64)>,
    /// Receives whose send call has not ended yet: up to where they reach, and what to say of them.
    early: VecDeque<(u64, Option<TracePacket>)>,
}

impl Stream {
    /// Arrows that end in a receive up to here.
    fn land(&mut self, end: u64) -> Vec<u64> {
        let landed = self
            .flying
            .iter()
            .take_while(|(start, _)| *start < end)
            .count();
        self.flying.drain(..landed).map(|(_, flow)| flow).collect()
    }
}

const ON_CPU: &str = "on-CPU";
const RUN_QUEUE: &str = "run queue";

impl Perfetto {
    /// One more event. All windows have to be there before.
    pub fn event(&mut self, told: &Told) -> Option<Piece> {
        self.task(told);
        let at = told.time_unix_ns;
        match told.kind() {
            "switch" => {
                let off = match told.off {
                    Some(Off::BlockIo) => "disk",
                    Some(Off::Sleep) => "sleep",
                    _ => RUN_QUEUE,
                };
                self.state(at, told.tid, Some(off));
                if let Some(next) = told.other_tid {
                    self.state(at, next, Some(ON_CPU));
                }
            }
            "wake" => {
                let woken = told.other_tid.unwrap_or_default();
                let task = self.traced.tasks.get(&woken);
                if task.is_some_and(|task| task.state.is_some_and(|state| state != ON_CPU)) {
                    self.state(at, woken, Some(RUN_QUEUE));
                }
            }
            "exit" => {
                self.state(at, told.tid, None);
                self.traced.tasks.remove(&told.tid);
            }
            "arrival" => {
                let connection = told.connection.as_ref();
                if let Some(end) = connection.filter(|c| [UDP, UNIX].contains(&c.flow.transport)) {
                    self.traced.arrived.insert(told.tid, end.number);
                }
            }
            "send" => self.send(told),
            "receive" => self.receive(told),
            _ => {}
        }
        (self.packets.len() >= BATCH)
            .then(|| self.piece().pop())
            .flatten()
    }

    /// The turnaround that this send ended, told after it, by the wall clock.
    pub fn turnaround(&mut self, told: &Told, turnaround: &Turnaround) {
        let Some(task) = self.traced.tasks.get(&told.tid) else {
            return;
        };
        let (thread, turned_ns) = (task.thread, task.turned_ns);
        let track_uuid = match task.turnarounds {
            Some(track) => track,
            None => {
                let mut path = task.path.clone();
                path.push("turnarounds".to_owned());
                self.track(path, |uuid| Track {
                    uuid,
                    parent_uuid: Some(thread),
                    name: Some("turnaround".to_owned()),
                    ..Track::default()
                })
            }
        };
        // Those of a thread do not overlap, but for what waited before another thread handed it over.
        let to_ns = turnaround.to_ns.max(turned_ns);
        let from_ns = turnaround.from_ns.clamp(turned_ns, to_ns);
        let to = told.peer.as_ref().map_or("unknown", |peer| &peer.name);
        let parts = &turnaround.parts;
        let begin = Event {
            r#type: EventType::SliceBegin.into(),
            track_uuid,
            name: Some(format!("turnaround → {to}")),
            annotations: [
                ("on-CPU, ns", parts.on_cpu_ns),
                ("run queue, ns", parts.run_queue_ns),
                ("disk, ns", parts.block_io_ns),
                ("sleep, ns", parts.sleep_ns),
                ("queued, ns", parts.queued_ns),
                ("handed over", turnaround.handed_over.into()),
            ]
            .map(annotation)
            .into(),
            ..Event::default()
        };
        self.event_at(from_ns, begin);
        self.slice(to_ns, EventType::SliceEnd, track_uuid, None);
        if let Some(task) = self.traced.tasks.get_mut(&told.tid) {
            task.turnarounds = Some(track_uuid);
            task.turned_ns = to_ns;
        }
    }

    /// Whatever still waits, without its arrows, and the ends of what goes on.
    pub(super) fn finish_events(&mut self) {
        let tids: Vec<u32> = self.traced.tasks.keys().copied().collect();
        let end_ns = self.end_ns;
        for tid in tids {
            self.state(end_ns, tid, None);
        }
        let streams = std::mem::take(&mut self.traced.streams);
        let early = streams.into_values().flat_map(|stream| stream.early);
        self.packets.extend(early.filter_map(|(_, packet)| packet));
        self.packets.extend(self.traced.datagrams.finish());
    }

    /// Makes a task's tracks when its component is known and talks.
    fn task(&mut self, told: &Told) {
        let tid = match told.kind() {
            // These happen in the context of a task that has nothing to do with them.
            "arrival" | "state" | "disk_start" | "disk_end" => return,
            "fork" => told.other_tid.unwrap_or_default(),
            "exec" => {
                for tid in [Some(told.tid), told.other_tid].into_iter().flatten() {
                    self.state(told.time_unix_ns, tid, None);
                    self.traced.tasks.remove(&tid);
                }
                told.tid
            }
            _ => told.tid,
        };
        let Some(component) = &told.component else {
            return;
        };
        let known = self.traced.tasks.contains_key(&tid);
        if known || tid == 0 || !self.traced.talking.contains(&component.id) {
            return;
        }
        let Some(&process) = self.tracks.get(&vec![component.id.clone()]) else {
            return;
        };
        let pid = self.pids.get(&process).copied();
        let name = told.comm.as_deref().unwrap_or_default().to_owned();
        // A number is given to many tasks in the course of time.
        let own = vec![component.id.clone(), format!("{tid} {}", told.time_unix_ns)];
        let path = |what: &str| [&own[..], &[what.to_owned()]].concat();
        let thread = self.track(path("thread"), |uuid| Track {
            uuid,
            parent_uuid: Some(process),
            thread: Some(Thread {
                pid,
                tid: Some(tid.into()),
                thread_name: Some(name),
            }),
            ..Track::default()
        });
        let states = self.track(path("states"), |uuid| Track {
            uuid,
            parent_uuid: Some(thread),
            name: Some("state".to_owned()),
            ..Track::default()
        });
        self.traced.tasks.insert(
            tid,
            Task {
                thread,
                states,
                state: None,
                turnarounds: None,
                turned_ns: 0,
                path: own,
            },
        );
    }

    /// A task is in this state from now on.
    fn state(&mut self, at: u64, tid: u32, state: Option<&'static str>) {
        let Some(task) = self.traced.tasks.get_mut(&tid) else {
            return;
        };
        let (track_uuid, before) = (task.states, std::mem::replace(&mut task.state, state));
        if before.is_some() {
            self.slice(at, EventType::SliceEnd, track_uuid, None);
        }
        if let Some(state) = state {
            self.slice(
                at,
                EventType::SliceBegin,
                track_uuid,
                Some(state.to_owned()),
            );
        }
    }

    fn slice(&mut self, at: u64, kind: EventType, track_uuid: u64, name: Option<String>) {
        let event = Event {
            r#type: kind.into(),
            track_uuid,
            name,
            ..Event::default()
        };
        self.event_at(at, event);
    }

    fn send(&mut self, told: &Told) {
        let Some(connection) = &told.connection else {
            return;
        };
        let bytes = told.bytes.unwrap_or(0);
        let mut began = told
            .since_unix_ns
            .unwrap_or(told.time_unix_ns)
            .min(told.time_unix_ns);
        let mut flow_ids = Vec::new();
        if connection.flow.transport == UDP {
            flow_ids.extend(self.datagram(told));
        } else if let Some(way) = self.way(told.tid, connection).filter(|_| bytes > 0) {
            self.traced.flows += 1;
            flow_ids.push(self.traced.flows);
            let stream = self.traced.streams.entry(way).or_default();
            // What was received before this call began is none of it: it was on the way before anyone looked. A Unix send
            // shows only where it announces its data, and a fast reader may have it by then: on a connection that is no
            // older than the recording, what is foreign is more than was sent.
            let by_time = connection.flow.transport != UNIX || connection.midlife;
            let is_stale = |(_, packet): &(u64, Option<TracePacket>), more: bool| {
                let told = packet.as_ref().and_then(|packet| packet.timestamp);
                told.is_some_and(|at| at < began) && (by_time || more)
            };
            while let Some((end, packet)) = {
                let more = stream.received > stream.sent + bytes;
                stream.early.pop_front_if(|early| is_stale(early, more))
            } {
                self.packets.extend(packet);
                let foreign = end.saturating_sub(stream.sent);
                stream.received = stream.received.saturating_sub(foreign);
                for (end, _) in &mut stream.early {
                    *end = end.saturating_sub(foreign);
                }
            }
            stream.flying.push_back((stream.sent, self.traced.flows));
            stream.sent += bytes;
            if stream.flying.len() > MAX_WAITING {
                stream.flying.pop_front();
            }
            while let Some((end, packet)) =
                stream.early.pop_front_if(|(end, _)| *end <= stream.sent)
            {
                let landed = stream.land(end);
                // What has been read was sent before, whenever it was announced.
                if landed.last() == flow_ids.last() {
                    let read = packet.as_ref().and_then(|packet| packet.timestamp);
                    began = read.map_or(began, |at| began.min(at.saturating_sub(1)));
                }
                self.packets
                    .extend(packet.map(|packet| with_arrows(packet, landed)));
            }
        }
        let Some(task) = self.traced.tasks.get(&told.tid) else {
            return;
        };
        let to = told.peer.as_ref().map_or("unknown", |peer| &peer.name);
        let begin = Event {
            r#type: EventType::SliceBegin.into(),
            track_uuid: task.thread,
            name: Some(format!("send {bytes} B → {to}")),
            flow_ids,
            ..Event::default()
        };
        let end = Event {
            r#type: EventType::SliceEnd.into(),
            track_uuid: task.thread,
            ..Event::default()
        };
        self.event_at(began, begin);
        self.event_at(told.time_unix_ns, end);
    }

    /// The arrow of a datagram that was sent, if it is known when and where it arrived.
    fn datagram(&mut self, told: &Told) -> Option<u64> {
        let socket = self.traced.arrived.remove(&told.tid)?;
        let arrived_ns = told.since_unix_ns?;
        self.traced.flows += 1;
        let arrow = self.traced.flows;
        let pair = self.traced.datagrams.sent(socket, arrived_ns, arrow);
        self.pair(pair);
        Some(arrow)
    }

    /// Says what was read, with its arrow if there is one.
    fn pair(&mut self, Pair { read, arrow }: Pair) {
        let landed = arrow.into_iter().collect();
        self.packets
            .extend(read.map(|packet| with_arrows(packet, landed)));
    }

    /// Where what a task sends on a connection goes; `None` if the other end was never seen.
    fn way(&mut self, tid: u32, connection: &Connection) -> Option<Way> {
        let arrived = self.traced.arrived.remove(&tid);
        if connection.flow.transport != UNIX {
            return Some(Way::From(End::of(connection)));
        }
        if let Some(end) = arrived {
            self.traced.opposite.insert(connection.number, end);
        }
        let end = self.traced.opposite.get(&connection.number);
        end.copied().map(Way::To)
    }

    fn receive(&mut self, told: &Told) {
        let Some(connection) = &told.connection else {
            return;
        };
        let bytes = told.bytes.unwrap_or(0);
        let from = told.peer.as_ref().map_or("unknown", |peer| &peer.name);
        let said = self.traced.tasks.get(&told.tid).map(|task| TracePacket {
            track_event: Some(Event {
                r#type: EventType::Instant.into(),
                track_uuid: task.thread,
                name: Some(format!("receive {bytes} B ← {from}")),
                ..Event::default()
            }),
            ..packet(Some(told.time_unix_ns))
        });
        if connection.flow.transport == UDP {
            let datagrams = &mut self.traced.datagrams;
            let pair = datagrams.read(connection.number, told.since_unix_ns, said);
            self.pair(pair);
            return;
        }
        let way = if connection.flow.transport == UNIX {
            Way::To(connection.number)
        } else {
            Way::From(End::of(connection).opposite())
        };
        let stream = self.traced.streams.entry(way).or_default();
        stream.received += bytes;
        if stream.received <= stream.sent {
            let landed = stream.land(stream.received);
            self.packets
                .extend(said.map(|packet| with_arrows(packet, landed)));
            return;
        }
        // The send call has not ended yet, or its end is not on this host.
        stream.early.push_back((stream.received, said));
        if stream.early.len() > MAX_WAITING {
            let oldest = stream.early.pop_front();
            self.packets.extend(oldest.and_then(|(_, packet)| packet));
        }
    }
}

fn with_arrows(mut packet: TracePacket, landed: Vec<u64>) -> TracePacket {
    if let Some(event) = &mut packet.track_event {
        event.terminating_flow_ids = landed;
    }
    packet
}
