//! Batches of single events: columns by kind, differences as variable-length numbers.
//!
//! In: events in the order of time. Out: the payload of one record, and back. What does not decode is an error with
//! its reason, never more memory than the payload's own length calls for. docs/recording.md has the bytes.
//! Must not know: files, the kernel.

mod decode;

use integer_encoding::VarInt;

use courtside_core::event::{Disk, Event, Flow, Off, What};

pub(super) use decode::{Batch, Told, decode, decode_into};

/// Version of the columns, first in the payload.
const VERSION: u64 = 1;
/// Most events of a batch.
pub const MAX_EVENTS: usize = 1 << 17;
/// CPUs whose running task is remembered; on further CPUs, tasks are written in full.
const CPUS: usize = 1024;
/// Flows of a batch that are remembered.
const FLOWS: usize = 256;

/// The columns, in their order in the payload.
#[derive(Clone, Copy)]
enum EventColumn {
    /// A byte each: kind, and flags above it.
    Kind,
    /// Nanoseconds since the event before.
    Time,
    /// The CPU.
    Cpu,
    /// Difference to the task that runs on that CPU according to the events before.
    Tid,
    /// The other task of a switch, wake-up, fork or exec: difference to the one before.
    Other,
    /// Connection: difference to the one before.
    Connection,
    /// Bytes.
    Bytes,
    /// How long before it began or arrived.
    Before,
    /// Floor: difference to the one before.
    Floor,
    /// What a send or receive was booked on: how many flows of the batch came since this one last, 0 the same again;
    /// one more than there are, a new one.
    Flow,
    /// Everything of the rare kinds, and each new flow.
    Rare,
}
const COLUMNS: usize = 11;

/// What the last event of each sort was: both sides keep it in the same way.
struct Last {
    time_ns: u64,
    running: Vec<u32>,
    other: u32,
    connection: u64,
    floor_ns: u32,
    /// Flows of the batch, the last one first.
    flows: Vec<Flow>,
}

impl Last {
    fn new(time_ns: u64) -> Self {
        Self {
            time_ns,
            running: vec![0; CPUS],
            other: 0,
            connection: 0,
            floor_ns: 0,
            flows: Vec::new(),
        }
    }

    fn new_flow(&mut self, flow: Flow) {
        self.flows.truncate(FLOWS - 1);
        self.flows.insert(0, flow);
    }

    fn running(&mut self, cpu: u16) -> &mut u32 {
        let at = usize::from(cpu) % CPUS;
        &mut self.running[at]
    }
}

/// A batch in the making.
#[derive(Default)]
struct Columns([Vec<u8>; COLUMNS]);

impl Columns {
    fn byte(&mut self, column: EventColumn, value: u8) {
        self.0[column as usize].push(value);
    }

    fn bytes(&mut self, column: EventColumn, value: &[u8]) {
        self.0[column as usize].extend_from_slice(value);
    }

    fn number(&mut self, column: EventColumn, value: u64) {
        let column = &mut self.0[column as usize];
        if value < 0x80 {
            column.push(value as u8);
            return;
        }
        let mut buffer = [0; 10];
        let length = value.encode_var(&mut buffer);
        column.extend_from_slice(&buffer[..length]);
    }

    /// The difference, small whichever way it goes.
    fn step(&mut self, column: EventColumn, from: u64, to: u64) {
        let by = to.wrapping_sub(from) as i64;
        self.number(column, ((by << 1) ^ (by >> 63)) as u64);
    }
}

/// The payload of a batch. `unix_offset_ns` is what makes wall-clock time of the events' time. The events should be in
/// the order of time; out of order they only take more room.
#[must_use]
pub fn encode(events: &[Event], unix_offset_ns: i64) -> Vec<u8> {
    let events = &events[..events.len().min(MAX_EVENTS)];
    let base = events.first().map_or(0, |event| event.time_ns);
    let mut last = Last::new(base);
    let mut columns = Columns::default();
    for event in events {
        encode_one(&mut columns, &mut last, event);
    }
    let total: usize = columns.0.iter().map(Vec::len).sum();
    let mut head = Columns::default();
    for number in [VERSION, events.len() as u64, base] {
        head.number(EventColumn::Kind, number);
    }
    head.step(EventColumn::Kind, 0, unix_offset_ns as u64);
    head.number(EventColumn::Kind, COLUMNS as u64);
    for column in &columns.0 {
        head.number(EventColumn::Kind, column.len() as u64);
    }
    let [mut payload, ..] = head.0;
    payload.reserve(total);
    for column in &columns.0 {
        payload.extend_from_slice(column);
    }
    payload
}

fn encode_one(columns: &mut Columns, last: &mut Last, event: &Event) {
    columns.step(EventColumn::Time, last.time_ns, event.time_ns);
    last.time_ns = event.time_ns;
    columns.number(EventColumn::Cpu, u64::from(event.cpu));
    let running = last.running(event.cpu);
    columns.step(EventColumn::Tid, u64::from(*running), u64::from(event.tid));
    *running = event.tid;
    let mut flags = 0;
    match &event.what {
        What::Task(task) => {
            flags = off_bits(task.off) | u8::from(task.prompted) << 2;
            columns.number(EventColumn::Rare, u64::from(task.tgid));
            columns.number(EventColumn::Rare, u64::from(task.image));
            for time in [task.born_ns, task.off_ns, task.wake_ns] {
                columns.number(EventColumn::Rare, time);
            }
            columns.bytes(EventColumn::Rare, &task.comm);
        }
        What::Connection(connection) => {
            flags = u8::from(connection.midlife);
            number_connection(columns, last, connection.number);
            columns.bytes(EventColumn::Rare, &connection.local);
            columns.bytes(EventColumn::Rare, &connection.remote);
            for number in [
                u32::from(connection.local_port),
                u32::from(connection.remote_port),
                connection.netns,
            ] {
                columns.number(EventColumn::Rare, u64::from(number));
            }
            write_flow(columns, &connection.flow);
        }
        What::Switch { off, next_tid } => {
            flags = off_bits(*off);
            number_other(columns, last, *next_tid);
            *last.running(event.cpu) = *next_tid;
        }
        What::Wake { tid, waited } => {
            flags = u8::from(*waited);
            number_other(columns, last, *tid);
        }
        What::Send {
            connection,
            bytes,
            began_ns,
            known,
            flow,
        } => {
            number_flow(columns, last, flow);
            flags = u8::from(*known);
            number_connection(columns, last, *connection);
            columns.number(EventColumn::Bytes, u64::from(*bytes));
            columns.number(EventColumn::Before, event.time_ns.wrapping_sub(*began_ns));
        }
        What::Receive {
            connection,
            bytes,
            arrived_ns,
            known,
            floor_ns,
            from_unprompted,
            waits,
            flow,
        } => {
            number_flow(columns, last, flow);
            flags = u8::from(*known) | u8::from(*from_unprompted) << 1 | u8::from(*waits) << 2;
            number_connection(columns, last, *connection);
            columns.number(EventColumn::Bytes, u64::from(*bytes));
            columns.number(EventColumn::Before, event.time_ns.wrapping_sub(*arrived_ns));
            columns.step(
                EventColumn::Floor,
                u64::from(last.floor_ns),
                u64::from(*floor_ns),
            );
            last.floor_ns = *floor_ns;
        }
        What::Arrival { connection } => number_connection(columns, last, *connection),
        What::State {
            connection,
            before,
            after,
        } => {
            number_connection(columns, last, *connection);
            columns.bytes(EventColumn::Rare, &[*before, *after]);
        }
        What::DiskStart(disk) => flags = number_disk(columns, disk),
        What::DiskEnd {
            disk,
            last: is_last,
        } => flags = number_disk(columns, disk) | u8::from(*is_last) << 1,
        What::Fork { tid, tgid, image } => {
            number_other(columns, last, *tid);
            columns.number(EventColumn::Rare, u64::from(*tgid));
            columns.number(EventColumn::Rare, u64::from(*image));
        }
        What::Exec {
            old_tid,
            image,
            comm,
        } => {
            number_other(columns, last, *old_tid);
            columns.number(EventColumn::Rare, u64::from(*image));
            columns.bytes(EventColumn::Rare, comm);
        }
        What::Exit => {}
        What::Throttled { ns } => own_number(columns, *ns),
        What::Look { first_ns } => own_number(columns, event.time_ns.wrapping_sub(*first_ns)),
    }
    columns.byte(EventColumn::Kind, event.kind() | flags << 4);
}

/// As all kinds that were added later: how long it is comes first.
fn own_number(columns: &mut Columns, number: u64) {
    columns.number(EventColumn::Rare, number.required_space() as u64);
    columns.number(EventColumn::Rare, number);
}

fn number_other(columns: &mut Columns, last: &mut Last, tid: u32) {
    columns.step(EventColumn::Other, u64::from(last.other), u64::from(tid));
    last.other = tid;
}

fn number_connection(columns: &mut Columns, last: &mut Last, connection: u64) {
    columns.step(EventColumn::Connection, last.connection, connection);
    last.connection = connection;
}

/// Writes a flow as how long ago it was used: those used last are the likely ones.
fn number_flow(columns: &mut Columns, last: &mut Last, flow: &Flow) {
    let known = last.flows.iter().position(|other| other == flow);
    let at = known.unwrap_or(last.flows.len());
    columns.number(EventColumn::Flow, at as u64);
    match known {
        Some(at) => last.flows[..=at].rotate_right(1),
        None => {
            write_flow(columns, flow);
            last.new_flow(*flow);
        }
    }
}

fn write_flow(columns: &mut Columns, flow: &Flow) {
    for number in [flow.image, flow.peer, u32::from(flow.port)] {
        columns.number(EventColumn::Rare, u64::from(number));
    }
    columns.bytes(EventColumn::Rare, &[flow.transport, flow.role]);
}

fn number_disk(columns: &mut Columns, disk: &Disk) -> u8 {
    columns.number(EventColumn::Rare, disk.request);
    columns.number(EventColumn::Rare, u64::from(disk.image));
    columns.number(EventColumn::Bytes, u64::from(disk.bytes));
    u8::from(disk.write)
}

fn off_bits(off: Off) -> u8 {
    match off {
        Off::RunQueue => 0,
        Off::BlockIo => 1,
        Off::Sleep => 2,
    }
}
