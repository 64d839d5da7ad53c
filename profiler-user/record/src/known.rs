//! What events have said of tasks and connections, for a reader that does not get those events.
//!
//! In: events in the order in which they are recorded. Out: at any time, the events that describe what still exists, as
//! they would be if recording began then. Must not know: files, what is done with them.

use std::collections::HashMap;

use courtside_core::event::{Connection, Event, Off, Task, What};

/// State of a TCP connection that is closed.
const CLOSED: u8 = 7;
/// Connections that are remembered. No event marks the end of those that are not TCP; beyond this the ones that have been
/// silent for longest are forgotten.
const CONNECTIONS: usize = 1 << 16;

/// Tasks and connections that are there.
#[derive(Default)]
pub(super) struct Known {
    tasks: HashMap<u32, (Task, bool)>,
    connections: HashMap<u64, Remembered>,
    /// How often they were told.
    round: u64,
}

struct Remembered {
    connection: Box<Connection>,
    closed: bool,
    /// When in the order of batches it was last named.
    used: u64,
}

impl Known {
    /// Learns from the next events.
    pub(super) fn see(&mut self, events: &[Event]) {
        self.round += 1;
        for event in events {
            self.learn(event);
        }
        if self.connections.len() > CONNECTIONS {
            let mut used: Vec<u64> = self.connections.values().map(|c| c.used).collect();
            let (_, oldest, _) = used.select_nth_unstable(CONNECTIONS / 4);
            let oldest = *oldest;
            self.connections.retain(|_, c| c.used > oldest);
        }
    }

    fn learn(&mut self, event: &Event) {
        let now = event.time_ns;
        if let Some(known) = event
            .connection()
            .and_then(|number| self.connections.get_mut(&number))
        {
            known.used = self.round;
        }
        match &event.what {
            What::Task(task) => {
                self.tasks.insert(event.tid, ((**task).clone(), false));
            }
            What::Connection(connection) => {
                let known = Remembered {
                    connection: connection.clone(),
                    closed: false,
                    used: self.round,
                };
                self.connections.insert(connection.number, known);
            }
            What::Switch { off, next_tid } => {
                if let Some((task, _)) = self.tasks.get_mut(&event.tid) {
                    (task.off_ns, task.off) = (now, *off);
                }
                if let Some((task, _)) = self.tasks.get_mut(next_tid) {
                    task.off_ns = 0;
                }
            }
            What::Wake { tid, waited: true } => {
                if let Some((task, _)) = self.tasks.get_mut(tid) {
                    task.wake_ns = now;
                }
            }
            What::Fork { tid, tgid, image } => {
                let parent = self.tasks.get(&event.tid);
                let child = Task {
                    tgid: *tgid,
                    image: *image,
                    born_ns: now,
                    off_ns: now,
                    off: Off::RunQueue,
                    comm: parent.map_or([0; 16], |(parent, _)| parent.comm),
                    ..Task::default()
                };
                self.tasks.insert(*tid, (child, false));
            }
            What::Exec {
                old_tid,
                image,
                comm,
            } => {
                let (mut task, _) = self.tasks.remove(old_tid).unwrap_or_default();
                (task.image, task.comm) = (*image, *comm);
                self.tasks.insert(event.tid, (task, false));
            }
            What::Exit => {
                if let Some((_, ended)) = self.tasks.get_mut(&event.tid) {
                    *ended = true;
                }
            }
            What::State {
                connection, after, ..
            } => {
                if let Some(known) = self.connections.get_mut(connection) {
                    known.closed = *after == CLOSED;
                }
            }
            _ => {}
        }
    }

    /// Everything that is there, told at this time. What has ended is told once more, for the little that it may still
    /// do, and then forgotten.
    pub(super) fn tell(&mut self, time_ns: u64) -> Vec<Event> {
        let event = |tid, what| Event {
            time_ns,
            tid,
            cpu: 0,
            what,
        };
        let mut tasks: Vec<_> = self.tasks.iter().collect();
        tasks.sort_unstable_by_key(|(tid, _)| **tid);
        let tasks = tasks.into_iter().map(|(tid, (task, _))| {
            // As of a task that is older than the attach: who prompted it is not known.
            let task = Task {
                prompted: true,
                ..task.clone()
            };
            event(*tid, What::Task(Box::new(task)))
        });
        let mut connections: Vec<_> = self.connections.values().collect();
        connections.sort_unstable_by_key(|known| known.connection.number);
        let connections = connections.into_iter().map(|known| {
            // Whose turn it is is not known either.
            let connection = Connection {
                midlife: true,
                ..(*known.connection).clone()
            };
            event(0, What::Connection(Box::new(connection)))
        });
        let told = tasks.chain(connections).collect();
        self.tasks.retain(|_, (_, ended)| !*ended);
        self.connections.retain(|_, known| !known.closed);
        told
    }
}
