//! Single events, resolved: who did it, in which component, on which connection, to whom.
//!
//! In: events in the order of time, and who is who. Out: each with what earlier ones said of its task and connection.
//! Must not know: formats. Memory grows with the tasks and connections that exist at a time.

use std::{collections::VecDeque, rc::Rc};

use foldhash::{HashMap, HashSet};

use super::idle::Idle;
use crate::event::{Connection, Event, KINDS, Off, What};

const TCP: u8 = 1;
const CLOSED: u8 = 7;
/// A connection that was closed this long ago does nothing any more.
const CLOSED_NS: u64 = 10_000_000_000;

/// A component that an image or a remote end belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentName {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
}

/// Which component each image and each remote end belongs to.
pub type ComponentNames = HashMap<u32, Rc<ComponentName>>;

/// An event with all that is known about it. What is not known, or makes no sense for its kind, is `None`.
#[derive(Clone, Debug, Default)]
pub struct ResolvedEvent {
    /// Wall-clock time.
    pub time_unix_ns: u64,
    /// Its kind: index into [`KINDS`].
    pub kind: u8,
    /// The CPU.
    pub cpu: u16,
    /// The task.
    pub tid: u32,
    /// Its process.
    pub tgid: Option<u32>,
    /// Its name.
    pub comm: Option<Rc<str>>,
    /// Its component.
    pub component: Option<Rc<ComponentName>>,
    /// What is known of the connection.
    pub connection: Option<Rc<Connection>>,
    /// Component of the other end.
    pub peer: Option<Rc<ComponentName>>,
    /// Bytes sent, received, or moved.
    pub bytes: Option<u64>,
    /// When the send call began, the first byte received had arrived, if the kernel shows it, or the first look in vain was over.
    pub since_unix_ns: Option<u64>,
    /// Another task: who runs next, who was woken or made, or the number before an exec.
    pub other_tid: Option<u32>,
    /// Why the task left its CPU.
    pub off: Option<Off>,
    /// States of a TCP connection before and after.
    pub states: Option<(u8, u8)>,
    /// A disk request.
    pub request: Option<u64>,
    /// It is a write.
    pub write: Option<bool>,
    /// For how long a CPU quota held the task back.
    pub throttled_ns: Option<u64>,
}

impl ResolvedEvent {
    /// Name of its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        KINDS
            .get(usize::from(self.kind))
            .copied()
            .unwrap_or("unknown")
    }
}

/// What the events so far said of a task.
struct ResolvedTask {
    tgid: Option<u32>,
    comm: Option<Rc<str>>,
    component: Option<Rc<ComponentName>>,
}

/// Adds to each event what earlier events said of its task and connection.
pub struct Resolver {
    who: ComponentNames,
    tasks: HashMap<u32, ResolvedTask>,
    connections: HashMap<u64, (Rc<Connection>, Option<Rc<ComponentName>>)>,
    /// Those whose end no event marks, by their last use.
    silent: Idle<u64>,
    /// Those that were closed, and when: what was read late still names them.
    closed: VecDeque<(u64, u64)>,
    ended: HashSet<u64>,
}

impl Resolver {
    /// Knows nothing but who is who.
    #[must_use]
    pub fn new(who: ComponentNames) -> Self {
        Self {
            who,
            tasks: HashMap::default(),
            connections: HashMap::default(),
            silent: Idle::default(),
            closed: VecDeque::new(),
            ended: HashSet::default(),
        }
    }

    /// An image or a remote end that has come since, and which component it belongs to.
    pub fn name(&mut self, number: u32, component: Rc<ComponentName>) {
        self.who.insert(number, component);
    }

    fn named(&self, image: u32) -> Option<Rc<ComponentName>> {
        self.who.get(&image).cloned()
    }

    /// Whose end of a connection it is.
    fn owner(&self, told: &ResolvedEvent) -> Option<Rc<ComponentName>> {
        let connection = told.connection.as_ref()?;
        self.named(connection.flow.image)
    }

    /// Resolves the next event; `unix_offset_ns` is added to its time to get wall-clock time.
    pub fn resolve(&mut self, event: &Event, unix_offset_ns: i64) -> ResolvedEvent {
        let unix = |ns: u64| ns.wrapping_add_signed(unix_offset_ns);
        self.learn(event);
        let mut told = ResolvedEvent {
            time_unix_ns: unix(event.time_ns),
            kind: event.kind(),
            cpu: event.cpu,
            tid: event.tid,
            ..ResolvedEvent::default()
        };
        if let Some(task) = self.tasks.get(&event.tid) {
            told.tgid = task.tgid;
            told.comm.clone_from(&task.comm);
            told.component.clone_from(&task.component);
        }
        let connection = event
            .connection()
            .and_then(|number| self.connections.get(&number));
        if let Some((connection, peer)) = connection {
            told.connection = Some(Rc::clone(connection));
            told.peer.clone_from(peer);
        }
        if let Some(connection) = &told.connection {
            self.forget(event, connection);
        }
        match &event.what {
            What::Task(_) | What::Connection(_) => {}
            // It happens in whatever context; the connection's owner is meant.
            What::Arrival { .. } => told.component = self.owner(&told),
            What::Switch { off, next_tid } => {
                told.off = Some(*off);
                told.other_tid = Some(*next_tid);
            }
            What::Wake { tid, .. } | What::Fork { tid, .. } => told.other_tid = Some(*tid),
            What::Send {
                bytes,
                began_ns,
                known,
                ..
            } => {
                told.bytes = Some((*bytes).into());
                told.since_unix_ns = known.then(|| unix(*began_ns));
            }
            What::Receive {
                bytes,
                arrived_ns,
                known,
                ..
            } => {
                told.bytes = Some((*bytes).into());
                told.since_unix_ns = known.then(|| unix(*arrived_ns));
            }
            What::State { before, after, .. } => {
                told.states = Some((*before, *after));
                told.component = self.owner(&told);
            }
            What::DiskStart(disk) | What::DiskEnd { disk, .. } => {
                told.bytes = Some(disk.bytes.into());
                told.request = Some(disk.request);
                told.write = Some(disk.write);
                // A request ends in whatever context; it is charged to who started it.
                told.component = self.named(disk.image);
            }
            What::Exec { old_tid, .. } => told.other_tid = Some(*old_tid),
            What::Throttled { ns } => told.throttled_ns = Some(*ns),
            What::Look { first_ns } => told.since_unix_ns = Some(unix(*first_ns)),
            What::Exit => {
                self.tasks.remove(&event.tid);
            }
        }
        told
    }

    /// Forgets connections that nobody will name again: a TCP connection tells its end, of the others those that have been
    /// silent for longest go when there are many.
    fn forget(&mut self, event: &Event, connection: &Connection) {
        let number = connection.number;
        match event.what {
            What::State { after: CLOSED, .. } => {
                self.closed.push_back((event.time_ns, number));
                self.ended.insert(number);
            }
            // The same socket may be connected once more.
            What::State { .. } | What::Connection(_) => {
                self.ended.remove(&number);
            }
            _ if connection.flow.transport != TCP => {
                for silent in self.silent.uses(connection.number) {
                    self.connections.remove(&silent);
                }
            }
            _ => {}
        }
        while let Some((_, number)) = self
            .closed
            .pop_front_if(|(at, _)| event.time_ns.saturating_sub(*at) > CLOSED_NS)
        {
            if self.ended.remove(&number) {
                self.connections.remove(&number);
            }
        }
    }

    /// Notes what an event says of tasks and connections.
    fn learn(&mut self, event: &Event) {
        match &event.what {
            What::Task(task) => {
                let component = self.named(task.image);
                let task = ResolvedTask {
                    tgid: Some(task.tgid),
                    comm: Some(text(&task.comm)),
                    component,
                };
                self.tasks.insert(event.tid, task);
            }
            What::Connection(connection) => {
                let peer = self.named(connection.flow.peer);
                let known = (Rc::new((**connection).clone()), peer);
                self.connections.insert(connection.number, known);
            }
            What::Fork { tid, tgid, image } => {
                let comm = self
                    .tasks
                    .get(&event.tid)
                    .and_then(|task| task.comm.clone());
                let task = ResolvedTask {
                    tgid: Some(*tgid),
                    comm,
                    component: self.named(*image),
                };
                self.tasks.insert(*tid, task);
            }
            What::Exec {
                image,
                comm,
                old_tid,
            } => {
                let component = self.named(*image);
                let before = self.tasks.remove(old_tid);
                let task = ResolvedTask {
                    tgid: before.and_then(|task| task.tgid),
                    comm: Some(text(comm)),
                    component,
                };
                self.tasks.insert(event.tid, task);
            }
            _ => {}
        }
    }
}

/// A name as the kernel keeps it: up to the first zero.
fn text(comm: &[u8; 16]) -> Rc<str> {
    let end = comm
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(comm.len());
    String::from_utf8_lossy(&comm[..end]).into()
}
