//! Batches of single events: columns by kind, differences as variable-length numbers.
//!
//! In: events in the order of time. Out: the payload of one record, and back. What does not decode is an error with
//! its reason, never more memory than the payload's own length calls for. docs/recording.md has the bytes.
//! Must not know: files, the kernel.

use integer_encoding::VarInt;

use crate::event::{Connection, Disk, Event, Flow, Off, Task, What};

/// Version of the columns, first in the payload.
const VERSION: u64 = 1;
/// Most events of a batch.
pub const MAX_EVENTS: usize = 1 << 17;
/// CPUs whose running task is remembered; of more, tasks are told in full.
const CPUS: usize = 1024;
/// Flows of a batch that are remembered.
const FLOWS: usize = 256;

/// The columns, in their order in the payload.
#[derive(Clone, Copy)]
enum Column {
    /// A byte each: kind, and flags above it.
    Kind,
    /// Nanoseconds since the event before.
    Time,
    /// The CPU.
    Cpu,
    /// Difference to the task that runs on that CPU, as far as the events before tell.
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
    fn byte(&mut self, column: Column, value: u8) {
        self.0[column as usize].push(value);
    }

    fn bytes(&mut self, column: Column, value: &[u8]) {
        self.0[column as usize].extend_from_slice(value);
    }

    fn number(&mut self, column: Column, value: u64) {
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
    fn step(&mut self, column: Column, from: u64, to: u64) {
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
        head.number(Column::Kind, number);
    }
    head.step(Column::Kind, 0, unix_offset_ns as u64);
    head.number(Column::Kind, COLUMNS as u64);
    for column in &columns.0 {
        head.number(Column::Kind, column.len() as u64);
    }
    let [mut payload, ..] = head.0;
    payload.reserve(total);
    for column in &columns.0 {
        payload.extend_from_slice(column);
    }
    payload
}

fn encode_one(columns: &mut Columns, last: &mut Last, event: &Event) {
    columns.step(Column::Time, last.time_ns, event.time_ns);
    last.time_ns = event.time_ns;
    columns.number(Column::Cpu, u64::from(event.cpu));
    let running = last.running(event.cpu);
    columns.step(Column::Tid, u64::from(*running), u64::from(event.tid));
    *running = event.tid;
    let mut flags = 0;
    match &event.what {
        What::Task(task) => {
            flags = off_bits(task.off) | u8::from(task.prompted) << 2;
            columns.number(Column::Rare, u64::from(task.tgid));
            columns.number(Column::Rare, u64::from(task.image));
            for time in [task.born_ns, task.off_ns, task.wake_ns] {
                columns.number(Column::Rare, time);
            }
            columns.bytes(Column::Rare, &task.comm);
        }
        What::Connection(connection) => {
            flags = u8::from(connection.midlife);
            number_connection(columns, last, connection.number);
            columns.bytes(Column::Rare, &connection.local);
            columns.bytes(Column::Rare, &connection.remote);
            for number in [
                u32::from(connection.local_port),
                u32::from(connection.remote_port),
                connection.netns,
            ] {
                columns.number(Column::Rare, u64::from(number));
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
            columns.number(Column::Bytes, u64::from(*bytes));
            columns.number(Column::Before, event.time_ns.wrapping_sub(*began_ns));
        }
        What::Receive {
            connection,
            bytes,
            arrived_ns,
            known,
            floor_ns,
            from_unprompted,
            flow,
        } => {
            number_flow(columns, last, flow);
            flags = u8::from(*known) | u8::from(*from_unprompted) << 1;
            number_connection(columns, last, *connection);
            columns.number(Column::Bytes, u64::from(*bytes));
            columns.number(Column::Before, event.time_ns.wrapping_sub(*arrived_ns));
            columns.step(
                Column::Floor,
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
            columns.bytes(Column::Rare, &[*before, *after]);
        }
        What::DiskStart(disk) => flags = number_disk(columns, disk),
        What::DiskEnd {
            disk,
            last: is_last,
        } => flags = number_disk(columns, disk) | u8::from(*is_last) << 1,
        What::Fork { tid, tgid, image } => {
            number_other(columns, last, *tid);
            columns.number(Column::Rare, u64::from(*tgid));
            columns.number(Column::Rare, u64::from(*image));
        }
        What::Exec {
            old_tid,
            image,
            comm,
        } => {
            number_other(columns, last, *old_tid);
            columns.number(Column::Rare, u64::from(*image));
            columns.bytes(Column::Rare, comm);
        }
        What::Exit => {}
    }
    columns.byte(Column::Kind, event.kind() | flags << 4);
}

fn number_other(columns: &mut Columns, last: &mut Last, tid: u32) {
    columns.step(Column::Other, u64::from(last.other), u64::from(tid));
    last.other = tid;
}

fn number_connection(columns: &mut Columns, last: &mut Last, connection: u64) {
    columns.step(Column::Connection, last.connection, connection);
    last.connection = connection;
}

/// Tells a flow by how long ago it was used: the last ones are the likely ones.
fn number_flow(columns: &mut Columns, last: &mut Last, flow: &Flow) {
    let known = last.flows.iter().position(|other| other == flow);
    let at = known.unwrap_or(last.flows.len());
    columns.number(Column::Flow, at as u64);
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
        columns.number(Column::Rare, u64::from(number));
    }
    columns.bytes(Column::Rare, &[flow.transport, flow.role]);
}

fn number_disk(columns: &mut Columns, disk: &Disk) -> u8 {
    columns.number(Column::Rare, disk.request);
    columns.number(Column::Rare, u64::from(disk.image));
    columns.number(Column::Bytes, u64::from(disk.bytes));
    u8::from(disk.write)
}

fn off_bits(off: Off) -> u8 {
    match off {
        Off::RunQueue => 0,
        Off::BlockIo => 1,
        Off::Sleep => 2,
    }
}

/// What is wrong with a batch.
pub(super) type Wrong = &'static str;

const SHORT: Wrong = "a column of its events ends too early";
const RANGE: Wrong = "a number of its events is too large";

/// What is left to read of each column.
struct Cursors<'a>([&'a [u8]; COLUMNS]);

impl<'a> Cursors<'a> {
    fn byte(&mut self, column: Column) -> Result<u8, Wrong> {
        let column = &mut self.0[column as usize];
        let (first, rest) = column.split_first().ok_or(SHORT)?;
        *column = rest;
        Ok(*first)
    }

    fn bytes<const N: usize>(&mut self, column: Column) -> Result<[u8; N], Wrong> {
        let column = &mut self.0[column as usize];
        let (first, rest) = column.split_first_chunk().ok_or(SHORT)?;
        *column = rest;
        Ok(*first)
    }

    #[inline]
    fn number(&mut self, column: Column) -> Result<u64, Wrong> {
        let column = &mut self.0[column as usize];
        if let Some((&first, rest)) = column.split_first()
            && first < 0x80
        {
            *column = rest;
            return Ok(u64::from(first));
        }
        if let [first, second, rest @ ..] = *column
            && second & 0x80 == 0
        {
            *column = rest;
            return Ok(u64::from(first & 0x7f) | u64::from(*second) << 7);
        }
        let (value, length) = u64::decode_var(column).ok_or(SHORT)?;
        *column = column.get(length..).unwrap_or_default();
        Ok(value)
    }

    fn small<T: TryFrom<u64>>(&mut self, column: Column) -> Result<T, Wrong> {
        T::try_from(self.number(column)?).map_err(|_| RANGE)
    }

    #[inline]
    fn step(&mut self, column: Column, from: u64) -> Result<u64, Wrong> {
        let coded = self.number(column)?;
        Ok(from.wrapping_add((coded >> 1) ^ (coded & 1).wrapping_neg()))
    }

    fn small_step(&mut self, column: Column, from: u32) -> Result<u32, Wrong> {
        u32::try_from(self.step(column, u64::from(from))?).map_err(|_| RANGE)
    }
}

/// A batch as it was encoded.
#[derive(Debug)]
pub(super) struct Batch {
    /// In the order of time.
    pub events: Vec<Event>,
    /// What makes wall-clock time of the events' time.
    pub unix_offset_ns: i64,
}

/// The events of a payload.
pub(super) fn decode(payload: &[u8]) -> Result<Batch, Wrong> {
    let mut head = Cursors([&[]; COLUMNS]);
    head.0[0] = payload;
    if head.number(Column::Kind)? != VERSION {
        return Err("its events are of a version that this courtside does not know");
    }
    let count: usize = head.small(Column::Kind)?;
    let base = head.number(Column::Kind)?;
    let unix_offset_ns = head.step(Column::Kind, 0)? as i64;
    let columns: usize = head.small(Column::Kind)?;
    if columns < COLUMNS || count > MAX_EVENTS {
        return Err("its events have lengths that cannot be");
    }
    let mut lengths = [0; COLUMNS];
    for length in &mut lengths {
        *length = head.small(Column::Kind)?;
    }
    // Columns that a later version added are passed over.
    for _ in COLUMNS..columns {
        head.number(Column::Kind)?;
    }
    let mut rest = head.0[0];
    let mut cursors = Cursors([&[]; COLUMNS]);
    for (cursor, length) in cursors.0.iter_mut().zip(lengths) {
        (*cursor, rest) = rest.split_at_checked(length).ok_or(SHORT)?;
    }
    // Each event has a byte in the first column: what is allocated is bounded by the payload.
    if cursors.0[Column::Kind as usize].len() != count {
        return Err("its events are not as many as it says");
    }
    let mut last = Last::new(base);
    let mut events = Vec::with_capacity(count);
    for _ in 0..count {
        events.push(decode_one(&mut cursors, &mut last)?);
    }
    if cursors.0.iter().any(|column| !column.is_empty()) {
        return Err("a column of its events holds more than they do");
    }
    Ok(Batch {
        events,
        unix_offset_ns,
    })
}

#[inline]
fn decode_one(columns: &mut Cursors<'_>, last: &mut Last) -> Result<Event, Wrong> {
    let kind = columns.byte(Column::Kind)?;
    let flags = kind >> 4;
    last.time_ns = columns.step(Column::Time, last.time_ns)?;
    let time_ns = last.time_ns;
    let cpu: u16 = columns.small(Column::Cpu)?;
    let running = last.running(cpu);
    *running = columns.small_step(Column::Tid, *running)?;
    let tid = *running;
    let what = match kind & 15 {
        0 => What::Task(Box::new(Task {
            tgid: columns.small(Column::Rare)?,
            image: columns.small(Column::Rare)?,
            born_ns: columns.number(Column::Rare)?,
            off_ns: columns.number(Column::Rare)?,
            wake_ns: columns.number(Column::Rare)?,
            off: off(flags & 3)?,
            prompted: flags & 4 != 0,
            comm: columns.bytes(Column::Rare)?,
        })),
        1 => What::Connection(Box::new(decode_connection(columns, last, flags)?)),
        2 => {
            let next_tid = other(columns, last)?;
            *last.running(cpu) = next_tid;
            What::Switch {
                off: off(flags)?,
                next_tid,
            }
        }
        3 => What::Wake {
            tid: other(columns, last)?,
            waited: flags & 1 != 0,
        },
        4 => What::Send {
            connection: connection(columns, last)?,
            bytes: columns.small(Column::Bytes)?,
            began_ns: time_ns.wrapping_sub(columns.number(Column::Before)?),
            known: flags & 1 != 0,
            flow: flow(columns, last)?,
        },
        5 => {
            let connection = connection(columns, last)?;
            last.floor_ns = columns.small_step(Column::Floor, last.floor_ns)?;
            What::Receive {
                connection,
                bytes: columns.small(Column::Bytes)?,
                arrived_ns: time_ns.wrapping_sub(columns.number(Column::Before)?),
                known: flags & 1 != 0,
                floor_ns: last.floor_ns,
                from_unprompted: flags & 2 != 0,
                flow: flow(columns, last)?,
            }
        }
        6 => What::Arrival {
            connection: connection(columns, last)?,
        },
        7 => What::State {
            connection: connection(columns, last)?,
            before: columns.byte(Column::Rare)?,
            after: columns.byte(Column::Rare)?,
        },
        8 => What::DiskStart(disk(columns, flags)?),
        9 => What::DiskEnd {
            disk: disk(columns, flags)?,
            last: flags & 2 != 0,
        },
        10 => What::Fork {
            tid: other(columns, last)?,
            tgid: columns.small(Column::Rare)?,
            image: columns.small(Column::Rare)?,
        },
        11 => What::Exec {
            old_tid: other(columns, last)?,
            image: columns.small(Column::Rare)?,
            comm: columns.bytes(Column::Rare)?,
        },
        12 => What::Exit,
        _ => return Err("an event is of a kind that this courtside does not know"),
    };
    Ok(Event {
        time_ns,
        tid,
        cpu,
        what,
    })
}

fn other(columns: &mut Cursors<'_>, last: &mut Last) -> Result<u32, Wrong> {
    last.other = columns.small_step(Column::Other, last.other)?;
    Ok(last.other)
}

fn connection(columns: &mut Cursors<'_>, last: &mut Last) -> Result<u64, Wrong> {
    last.connection = columns.step(Column::Connection, last.connection)?;
    Ok(last.connection)
}

fn decode_connection(
    columns: &mut Cursors<'_>,
    last: &mut Last,
    flags: u8,
) -> Result<Connection, Wrong> {
    Ok(Connection {
        number: connection(columns, last)?,
        local: columns.bytes(Column::Rare)?,
        remote: columns.bytes(Column::Rare)?,
        local_port: columns.small(Column::Rare)?,
        remote_port: columns.small(Column::Rare)?,
        netns: columns.small(Column::Rare)?,
        flow: read_flow(columns)?,
        midlife: flags & 1 != 0,
    })
}

fn flow(columns: &mut Cursors<'_>, last: &mut Last) -> Result<Flow, Wrong> {
    let at: usize = columns.small(Column::Flow)?;
    if at < last.flows.len() {
        last.flows[..=at].rotate_right(1);
    } else {
        let new = read_flow(columns)?;
        last.new_flow(new);
    }
    last.flows.first().copied().ok_or(SHORT)
}

fn read_flow(columns: &mut Cursors<'_>) -> Result<Flow, Wrong> {
    Ok(Flow {
        image: columns.small(Column::Rare)?,
        peer: columns.small(Column::Rare)?,
        port: columns.small(Column::Rare)?,
        transport: columns.byte(Column::Rare)?,
        role: columns.byte(Column::Rare)?,
    })
}

fn disk(columns: &mut Cursors<'_>, flags: u8) -> Result<Disk, Wrong> {
    Ok(Disk {
        request: columns.number(Column::Rare)?,
        image: columns.small(Column::Rare)?,
        bytes: columns.small(Column::Bytes)?,
        write: flags & 1 != 0,
    })
}

fn off(bits: u8) -> Result<Off, Wrong> {
    match bits {
        0 => Ok(Off::RunQueue),
        1 => Ok(Off::BlockIo),
        2 => Ok(Off::Sleep),
        _ => Err("a task waits for what this courtside does not know"),
    }
}
