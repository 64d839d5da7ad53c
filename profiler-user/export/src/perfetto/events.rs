//! Single events in a trace: tasks as tracks with what they did, messages as arrows from sender to receiver.
//!
//! In: resolved events in the order of time. Out: packets. Must not know: windows.
//!
//! Arrows need both ends of a connection on this host. Addresses tell which belong together; Unix sockets have none, but
//! what is sent over one arrives at the other end within the send call. UDP sockets need not name the other end
//! (`datagrams`).

mod datagrams;

use std::{collections::VecDeque, rc::Rc};

use self::datagrams::{Datagrams, Pair};
use foldhash::{HashMap, HashSet};

use super::Perfetto;
use super::packets::{Annotations, Packets, Slice};
use super::proto::{EventType, Thread, Track};
use crate::Piece;
use courtside_core::event::{Connection, Off};
use courtside_core::model::idle::Idle;
use courtside_core::model::resolve::{ComponentName, ResolvedEvent};
use courtside_core::model::turnarounds::Turnaround;

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
    tasks: HashMap<u32, TaskTracks>,
    streams: HashMap<Way, Stream>,
    datagrams: Datagrams,
    /// Where the Unix data or datagram that a task sends arrived, until its send call has ended.
    arrived: HashMap<u32, u64>,
    /// The other end of each end of a Unix connection, as far as it was seen.
    opposite: HashMap<u64, u64>,
    /// By their last use: no event says that a way is not used any more.
    silent: Idle<Way>,
    silent_ends: Idle<u64>,
    pub flows: u64,
    /// Room for what a turnaround and a receive say, used again and again.
    annotations: Annotations,
    landed: Vec<u64>,
}

/// The way that bytes take.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Way {
    From(End),
    /// To the end of a Unix connection that has this number.
    To(u64),
}

/// The tracks of a task in the trace.
struct TaskTracks {
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
    early: VecDeque<(u64, Option<Said>)>,
}

/// What is to be said of a receive.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    at_ns: u64,
    thread: u64,
    bytes: u64,
    from: Option<Rc<ComponentName>>,
}

impl Said {
    /// Says it, with the arrows that end there.
    fn write(&self, packets: &mut Packets, landed: &[u64]) {
        let (mut number, from) = (itoa::Buffer::new(), name(self.from.as_ref()));
        packets.slice(&Slice {
            name: ["receive ", number.format(self.bytes), " B ← ", from],
            landed,
            ..Slice::new(self.at_ns, EventType::Instant, self.thread)
        });
    }
}

fn name(component: Option<&Rc<ComponentName>>) -> &str {
    component.map_or("unknown", |component| &component.name)
}

impl Stream {
    /// Arrows that end in a receive up to here.
    fn land(&mut self, end: u64, landed: &mut Vec<u64>) {
        landed.clear();
        while let Some((_, flow)) = self.flying.pop_front_if(|(start, _)| *start < end) {
            landed.push(flow);
        }
    }
}

const ON_CPU: &str = "on-CPU";
const RUN_QUEUE: &str = "run queue";

impl Perfetto {
    /// One more event. All windows have to be there before.
    pub fn event(&mut self, told: &ResolvedEvent) -> Option<Piece> {
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
        (self.packets.count() >= BATCH)
            .then(|| self.piece().pop())
            .flatten()
    }

    /// The turnaround that this send ended, by the wall clock; it comes after the send.
    pub fn turnaround(&mut self, told: &ResolvedEvent, turnaround: &Turnaround) {
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
        let annotations = &mut self.traced.annotations;
        annotations.clear();
        for (part, ns) in turnaround.parts {
            annotations.add([part.words(), ", ns"], ns);
        }
        annotations.add(["handed over", ""], turnaround.handed_over.into());
        self.packets.slice(&Slice {
            name: ["turnaround → ", name(told.peer.as_ref()), "", ""],
            annotations: annotations.bytes(),
            ..Slice::new(from_ns, EventType::SliceBegin, track_uuid)
        });
        let end = Slice::new(to_ns, EventType::SliceEnd, track_uuid);
        self.packets.slice(&end);
        if let Some(task) = self.traced.tasks.get_mut(&told.tid) {
            task.turnarounds = Some(track_uuid);
            task.turned_ns = to_ns;
        }
    }

    /// Whatever still waits, without its arrows, and the ends of what goes on.
    pub(super) fn finish_events(&mut self) {
        let mut tids: Vec<u32> = self.traced.tasks.keys().copied().collect();
        // The same events make the same trace.
        tids.sort_unstable();
        let end_ns = self.end_ns;
        for tid in tids {
            self.state(end_ns, tid, None);
        }
        let streams = std::mem::take(&mut self.traced.streams);
        let early = streams.into_values().flat_map(|stream| stream.early);
        let mut early: Vec<Said> = early.filter_map(|(_, said)| said).collect();
        early.sort_unstable_by_key(|said| (said.at_ns, said.thread, said.bytes));
        let datagrams = self.traced.datagrams.finish();
        for said in early.into_iter().chain(datagrams) {
            said.write(&mut self.packets, &[]);
        }
    }

    /// Makes a task's tracks when its component is known and talks.
    fn task(&mut self, told: &ResolvedEvent) {
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
            TaskTracks {
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
            let end = Slice::new(at, EventType::SliceEnd, track_uuid);
            self.packets.slice(&end);
        }
        if let Some(state) = state {
            self.packets.slice(&Slice {
                name: [state, "", "", ""],
                ..Slice::new(at, EventType::SliceBegin, track_uuid)
            });
        }
    }

    fn send(&mut self, told: &ResolvedEvent) {
        let Some(connection) = &told.connection else {
            return;
        };
        let bytes = told.bytes.unwrap_or(0);
        let mut began = told
            .since_unix_ns
            .unwrap_or(told.time_unix_ns)
            .min(told.time_unix_ns);
        let mut arrow = None;
        if connection.flow.transport == UDP {
            arrow = self.datagram(told);
        } else if let Some(way) = self.way(told.tid, connection).filter(|_| bytes > 0) {
            self.traced.flows += 1;
            let flow = self.traced.flows;
            arrow = Some(flow);
            let mut landed = std::mem::take(&mut self.traced.landed);
            let stream = Self::stream(&mut self.traced, &mut self.packets, way);
            // What was received before this call began is none of it: it was on the way before anyone looked. A Unix send
            // shows only where it announces its data, and a fast reader may have it by then: on a connection that is no
            // older than the recording, what is foreign is more than was sent.
            let by_time = connection.flow.transport != UNIX || connection.midlife;
            let is_stale = |(_, said): &(u64, Option<Said>), more: bool| {
                let is_before = said.as_ref().is_some_and(|said| said.at_ns < began);
                is_before && (by_time || more)
            };
            while let Some((end, said)) = {
                let more = stream.received > stream.sent.saturating_add(bytes);
                stream.early.pop_front_if(|early| is_stale(early, more))
            } {
                if let Some(said) = said {
                    said.write(&mut self.packets, &[]);
                }
                let foreign = end.saturating_sub(stream.sent);
                stream.received = stream.received.saturating_sub(foreign);
                for (end, _) in &mut stream.early {
                    *end = end.saturating_sub(foreign);
                }
            }
            stream.flying.push_back((stream.sent, flow));
            stream.sent = stream.sent.saturating_add(bytes);
            if stream.flying.len() > MAX_WAITING {
                stream.flying.pop_front();
            }
            while let Some((end, said)) = stream.early.pop_front_if(|(end, _)| *end <= stream.sent)
            {
                stream.land(end, &mut landed);
                // What has been read was sent before, whenever it was announced.
                if landed.last().copied() == arrow {
                    let read = said.as_ref().map(|said| said.at_ns);
                    began = read.map_or(began, |at| began.min(at.saturating_sub(1)));
                }
                if let Some(said) = said {
                    said.write(&mut self.packets, &landed);
                }
            }
            self.traced.landed = landed;
        }
        let Some(task) = self.traced.tasks.get(&told.tid) else {
            return;
        };
        let (mut number, to) = (itoa::Buffer::new(), name(told.peer.as_ref()));
        self.packets.slice(&Slice {
            name: ["send ", number.format(bytes), " B → ", to],
            flows: arrow.as_slice(),
            ..Slice::new(began, EventType::SliceBegin, task.thread)
        });
        let end = Slice::new(told.time_unix_ns, EventType::SliceEnd, task.thread);
        self.packets.slice(&end);
    }

    /// The arrow of a datagram that was sent, if it is known when and where it arrived.
    fn datagram(&mut self, told: &ResolvedEvent) -> Option<u64> {
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
        if let Some(said) = read {
            said.write(&mut self.packets, arrow.as_slice());
        }
    }

    /// Where what a task sends on a connection goes; `None` if the other end was never seen.
    fn way(&mut self, tid: u32, connection: &Connection) -> Option<Way> {
        let arrived = self.traced.arrived.remove(&tid);
        if connection.flow.transport != UNIX {
            return Some(Way::From(End::of(connection)));
        }
        if let Some(end) = arrived {
            self.traced.opposite.insert(connection.number, end);
            for gone in self.traced.silent_ends.uses(connection.number) {
                self.traced.opposite.remove(&gone);
            }
        }
        let end = self.traced.opposite.get(&connection.number);
        end.copied().map(Way::To)
    }

    /// What takes this way. Of those that nothing took for longest, when there are many, only the arrows are lost.
    fn stream<'a>(traced: &'a mut Traced, packets: &mut Packets, way: Way) -> &'a mut Stream {
        for silent in traced.silent.uses(way.clone()) {
            let stream = traced.streams.remove(&silent);
            let early = stream.into_iter().flat_map(|stream| stream.early);
            for said in early.filter_map(|(_, said)| said) {
                said.write(packets, &[]);
            }
        }
        traced.streams.entry(way).or_default()
    }

    fn receive(&mut self, told: &ResolvedEvent) {
        let Some(connection) = &told.connection else {
            return;
        };
        let bytes = told.bytes.unwrap_or(0);
        let said = self.traced.tasks.get(&told.tid).map(|task| Said {
            at_ns: told.time_unix_ns,
            thread: task.thread,
            bytes,
            from: told.peer.clone(),
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
        let mut landed = std::mem::take(&mut self.traced.landed);
        let stream = Self::stream(&mut self.traced, &mut self.packets, way);
        stream.received = stream.received.saturating_add(bytes);
        let now = if stream.received <= stream.sent {
            stream.land(stream.received, &mut landed);
            said
        } else {
            // The send call has not ended yet, or its end is not on this host.
            landed.clear();
            stream.early.push_back((stream.received, said));
            let is_full = stream.early.len() > MAX_WAITING;
            let oldest = stream.early.pop_front_if(|_| is_full);
            oldest.and_then(|(_, said)| said)
        };
        if let Some(said) = now {
            said.write(&mut self.packets, &landed);
        }
        self.traced.landed = landed;
    }
}
