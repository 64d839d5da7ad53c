//! Single events out of the kernel's ring, on a thread of its own.
//!
//! In: the ring. Out: batches of [`Event`]s in the order of time, to the function that takes them. While that takes long, the
//! ring fills; then the kernel drops and counts. Must not know: what becomes of the events.

#![expect(
    clippy::disallowed_methods,
    reason = "here bytes from the kernel are decoded"
)]

use std::{
    io,
    os::fd::AsFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use aya::maps::{MapData, RingBuf};
use courtside_wire::{
    FlowKey,
    events::{
        ArrivalEvent, CONNECTION_MIDLIFE, ConnectionEvent, DISK_LAST, DISK_WRITE, DiskEvent,
        EVENT_ARRIVAL, EVENT_CONNECTION, EVENT_DISK_END, EVENT_DISK_START, EVENT_EXEC, EVENT_EXIT,
        EVENT_FORK, EVENT_HELD, EVENT_LOOK, EVENT_RECEIVE, EVENT_SEND, EVENT_STATE, EVENT_SWITCH,
        EVENT_TASK, EVENT_WAKE, EventHead, ExecEvent, ForkEvent, HeldEvent, LookEvent,
        RECEIVE_HELD, RECEIVE_KNOWN, RECEIVE_UNPROMPTED, ReceiveEvent, SEND_KNOWN, SWITCH_KIND,
        SendEvent, StateEvent, SwitchEvent, TASK_PROMPTED, TaskEvent, WAKE_WAITED, WakeEvent,
    },
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{CollectError, Session};
use crate::sys::{privileges, wall::Wall};
use courtside_core::event::{Connection, Disk, Event, Flow, Off, Task, What};
use courtside_core::frame::{Frame, Merge};

/// Events of one batch, at most.
const BATCH: usize = 1 << 16;
/// A batch is handed on after this time, however few events it has.
const BATCH_TIME: Duration = Duration::from_millis(500);
/// How long to wait for the ring to fill before looking all the same.
const LOOK: Duration = Duration::from_millis(50);
/// A hook reads the clock before it takes its place in the ring; what is younger than this waits for stragglers.
const STRAGGLERS_NS: u64 = 10_000_000;

/// Size of the ring: a quarter of a second at the highest rate that was seen.
pub(super) fn ring_bytes(cpus: u32) -> u32 {
    const EACH_CPU: u32 = 16 << 20;
    EACH_CPU * cpus.clamp(1, 16).next_power_of_two()
}

/// Takes batches of events, in the order of time except for a few late ones, and what has to be added to their times to get
/// wall-clock time. An error ends the thread.
pub type Sink = Box<dyn FnMut(&[Event], i64) -> io::Result<()> + Send>;

/// The thread that empties the ring.
pub(super) struct Drain {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<u64>>>,
}

impl Drain {
    pub(super) fn start(ring: RingBuf<MapData>, sink: Sink, wall: Wall) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || {
                // Attaching may need privileges, reading the ring does not.
                privileges::drop_all(Path::new("/")).map_err(io::Error::other)?;
                drain(ring, sink, wall, &flag)
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Empties the ring a last time; returns how many events were taken. The programs must be off their hooks.
    pub(super) fn finish(&mut self) -> io::Result<u64> {
        self.stop.store(true, Ordering::Release);
        match self.thread.take() {
            Some(thread) => thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that takes events failed"))),
            None => Ok(0),
        }
    }

    /// Whether the thread has ended by itself: only an error can do that.
    pub(super) fn has_failed(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        // An error was for whoever asked for the end.
        let _ = self.finish();
    }
}

impl Session {
    /// Takes every program off its hook, and empties the ring: returns the last window, and how many events were taken
    /// in all.
    ///
    /// Clocks of tasks are read while the programs still see who is on a CPU: to take them off takes some hundredths of a
    /// second, and on a busy host longer, in which tasks come and go unseen. What happens meanwhile is in the sums of traffic
    /// only where single events are recorded, which are to agree with them.
    ///
    /// # Errors
    /// As [`Self::window`].
    pub fn finish(&mut self) -> Result<(Frame, u64), CollectError> {
        let window = self.window()?;
        self.loaded.detach();
        if self.drain.is_none() {
            return Ok((window, 0));
        }
        let mut last = Merge::default();
        last.add(window);
        last.add(self.read()?);
        let taken = match &mut self.drain {
            Some(drain) => drain.finish()?,
            None => 0,
        };
        Ok((last.finish(), taken))
    }
}

fn drain(
    mut ring: RingBuf<MapData>,
    mut sink: Sink,
    mut wall: Wall,
    stop: &AtomicBool,
) -> io::Result<u64> {
    let mut events: Vec<Event> = Vec::with_capacity(BATCH);
    let mut taken = 0;
    let mut handed = Instant::now();
    loop {
        let stopping = stop.load(Ordering::Acquire);
        let mut emptied = true;
        while let Some(item) = ring.next() {
            events.push(decode(&item)?);
            if events.len() >= BATCH {
                emptied = false;
                break;
            }
        }
        let end = stopping && emptied;
        if !emptied || end || handed.elapsed() >= BATCH_TIME {
            // Nearly in order: a stable sort that knows runs has little to do.
            events.sort_by_key(|event| event.time_ns);
            let newest = events.last().map_or(0, |event| event.time_ns);
            let ready = if end {
                events.len()
            } else {
                let until = newest.saturating_sub(STRAGGLERS_NS);
                let ready = events.partition_point(|event| event.time_ns <= until);
                // A whole batch within that time: whoever is late is put into the next one.
                if ready == 0 && events.len() >= BATCH {
                    BATCH / 2
                } else {
                    ready
                }
            };
            if ready > 0 {
                sink(&events[..ready], wall.offset_ns())?;
                taken += ready as u64;
                events.drain(..ready);
            }
            handed = Instant::now();
        }
        if end {
            return Ok(taken);
        }
        if emptied && !stopping {
            wait(&ring)?;
        }
    }
}

/// Until the kernel says that a share of the ring is full, or for a while.
fn wait(ring: &RingBuf<MapData>) -> io::Result<()> {
    let mut fds = [rustix::event::PollFd::from_borrowed_fd(
        ring.as_fd(),
        rustix::event::PollFlags::IN,
    )];
    let timeout = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: i64::try_from(LOOK.as_nanos()).unwrap_or(i64::MAX),
    };
    match rustix::event::poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn read<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> io::Result<T> {
    T::read_from_prefix(bytes)
        .map(|(event, _)| event)
        .map_err(|_| odd())
}

fn odd() -> io::Error {
    io::Error::other(
        "the kernel programs send events of another version; build both with: cargo xtask build --release",
    )
}

/// One event as the kernel programs wrote it.
fn decode(bytes: &[u8]) -> io::Result<Event> {
    let head: EventHead = read(bytes)?;
    let flag = |bit: u8| head.flags & bit != 0;
    let what = match head.kind {
        EVENT_TASK => {
            let event: TaskEvent = read(bytes)?;
            What::Task(Box::new(Task {
                tgid: event.tgid,
                image: event.image,
                born_ns: event.born_ns,
                off_ns: event.off_ns,
                wake_ns: event.wake_ns,
                off: off(event.off_kind)?,
                prompted: flag(TASK_PROMPTED),
                comm: event.comm,
            }))
        }
        EVENT_CONNECTION => {
            let event: ConnectionEvent = read(bytes)?;
            What::Connection(Box::new(Connection {
                number: event.connection,
                local: event.local,
                remote: event.remote,
                local_port: event.local_port,
                remote_port: event.remote_port,
                netns: event.netns,
                flow: flow(event.key),
                midlife: flag(CONNECTION_MIDLIFE),
            }))
        }
        EVENT_SWITCH => What::Switch {
            off: off(u32::from(head.flags & SWITCH_KIND))?,
            next_tid: read::<SwitchEvent>(bytes)?.next_tid,
        },
        EVENT_WAKE => What::Wake {
            tid: read::<WakeEvent>(bytes)?.woken_tid,
            waited: flag(WAKE_WAITED),
        },
        EVENT_SEND => {
            let event: SendEvent = read(bytes)?;
            What::Send {
                connection: event.connection,
                bytes: event.bytes,
                began_ns: head.time_ns.wrapping_sub(event.began_before_ns),
                known: flag(SEND_KNOWN),
                flow: flow(event.key),
            }
        }
        EVENT_RECEIVE => {
            let event: ReceiveEvent = read(bytes)?;
            What::Receive {
                connection: event.connection,
                bytes: event.bytes,
                arrived_ns: head.time_ns.wrapping_sub(event.arrived_before_ns),
                known: flag(RECEIVE_KNOWN),
                floor_ns: event.floor_ns,
                from_unprompted: flag(RECEIVE_UNPROMPTED),
                waits: flag(RECEIVE_HELD),
                flow: flow(event.key),
            }
        }
        EVENT_ARRIVAL => What::Arrival {
            connection: read::<ArrivalEvent>(bytes)?.connection,
        },
        EVENT_STATE => {
            let event: StateEvent = read(bytes)?;
            What::State {
                connection: event.connection,
                before: event.before as u8,
                after: event.after as u8,
            }
        }
        EVENT_DISK_START | EVENT_DISK_END => {
            let event: DiskEvent = read(bytes)?;
            let disk = Disk {
                request: event.request,
                bytes: event.bytes,
                image: event.image,
                write: flag(DISK_WRITE),
            };
            if head.kind == EVENT_DISK_START {
                What::DiskStart(disk)
            } else {
                What::DiskEnd {
                    disk,
                    last: flag(DISK_LAST),
                }
            }
        }
        EVENT_FORK => {
            let event: ForkEvent = read(bytes)?;
            What::Fork {
                tid: event.tid,
                tgid: event.tgid,
                image: event.image,
            }
        }
        EVENT_EXEC => {
            let event: ExecEvent = read(bytes)?;
            What::Exec {
                old_tid: event.old_tid,
                image: event.image,
                comm: event.comm,
            }
        }
        EVENT_EXIT => What::Exit,
        EVENT_HELD => What::Throttled {
            ns: read::<HeldEvent>(bytes)?.held_ns,
        },
        EVENT_LOOK => What::Look {
            first_ns: head
                .time_ns
                .wrapping_sub(read::<LookEvent>(bytes)?.first_before_ns),
        },
        _ => return Err(odd()),
    };
    Ok(Event {
        time_ns: head.time_ns,
        tid: head.tid,
        cpu: head.cpu,
        what,
    })
}

fn flow(key: FlowKey) -> Flow {
    Flow {
        image: key.image,
        peer: key.peer,
        port: key.port,
        transport: key.transport,
        role: key.role,
    }
}

fn off(kind: u32) -> io::Result<Off> {
    match kind {
        0 => Ok(Off::RunQueue),
        1 => Ok(Off::BlockIo),
        2 => Ok(Off::Sleep),
        _ => Err(odd()),
    }
}
