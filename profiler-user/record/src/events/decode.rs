//! The way back: events of a batch's columns.
//!
//! In: the payload of one record. Out: its events, or why it is none. Must not know: files, the kernel.

use std::collections::VecDeque;

use integer_encoding::VarInt;

use courtside_core::event::{Connection, Disk, Event, Flow, Off, Task, What};

use super::{COLUMNS, EventColumn, Last, MAX_EVENTS, VERSION};

/// What is wrong with a batch.
pub(in super::super) type Wrong = &'static str;

const SHORT: Wrong = "a column of its events ends too early";
const RANGE: Wrong = "a number of its events is too large";

/// What is left to read of each column.
struct Cursors<'a>([&'a [u8]; COLUMNS]);

impl<'a> Cursors<'a> {
    fn byte(&mut self, column: EventColumn) -> Result<u8, Wrong> {
        let column = &mut self.0[column as usize];
        let (first, rest) = column.split_first().ok_or(SHORT)?;
        *column = rest;
        Ok(*first)
    }

    fn bytes<const N: usize>(&mut self, column: EventColumn) -> Result<[u8; N], Wrong> {
        let column = &mut self.0[column as usize];
        let (first, rest) = column.split_first_chunk().ok_or(SHORT)?;
        *column = rest;
        Ok(*first)
    }

    /// So many bytes as the number before them says.
    fn piece(&mut self, column: EventColumn) -> Result<&'a [u8], Wrong> {
        let length: usize = self.small(column)?;
        let column = &mut self.0[column as usize];
        let (piece, rest) = column.split_at_checked(length).ok_or(SHORT)?;
        *column = rest;
        Ok(piece)
    }

    #[inline(always)]
    fn number(&mut self, column: EventColumn) -> Result<u64, Wrong> {
        let column = &mut self.0[column as usize];
        match *column {
            [first, rest @ ..] if *first < 0x80 => {
                *column = rest;
                Ok(u64::from(*first))
            }
            [first, second, rest @ ..] if *second < 0x80 => {
                *column = rest;
                Ok(u64::from(first & 0x7f) | u64::from(*second) << 7)
            }
            _ => long_number(column),
        }
    }

    #[inline(always)]
    fn small<T: TryFrom<u64>>(&mut self, column: EventColumn) -> Result<T, Wrong> {
        T::try_from(self.number(column)?).map_err(|_| RANGE)
    }

    #[inline(always)]
    fn step(&mut self, column: EventColumn, from: u64) -> Result<u64, Wrong> {
        let coded = self.number(column)?;
        Ok(from.wrapping_add((coded >> 1) ^ (coded & 1).wrapping_neg()))
    }

    #[inline(always)]
    fn small_step(&mut self, column: EventColumn, from: u32) -> Result<u32, Wrong> {
        u32::try_from(self.step(column, u64::from(from))?).map_err(|_| RANGE)
    }
}

/// A number of more than two bytes.
#[inline(never)]
fn long_number(column: &mut &[u8]) -> Result<u64, Wrong> {
    let (value, length) = u64::decode_var(column).ok_or(SHORT)?;
    *column = column.get(length..).unwrap_or_default();
    Ok(value)
}

/// A batch as it was encoded.
#[derive(Debug)]
pub(in super::super) struct Batch {
    /// In the order of time.
    pub events: Vec<Event>,
    /// What makes wall-clock time of the events' time.
    pub unix_offset_ns: i64,
}

/// What a batch tells besides its events.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Told {
    /// What makes wall-clock time of the events' time.
    pub unix_offset_ns: i64,
    /// Events of kinds that this version does not know, which are passed over.
    pub unknown: u64,
}

/// The events of a payload.
pub(in super::super) fn decode(payload: &[u8]) -> Result<Batch, Wrong> {
    let mut events = VecDeque::new();
    let told = decode_into(payload, &mut events)?;
    Ok(Batch {
        events: events.into(),
        unix_offset_ns: told.unix_offset_ns,
    })
}

/// Adds the events of a payload to others, all of them or none.
pub(in super::super) fn decode_into(
    payload: &[u8],
    events: &mut VecDeque<Event>,
) -> Result<Told, Wrong> {
    let before = events.len();
    let decoded = decode_all(payload, events);
    if decoded.is_err() {
        events.truncate(before);
    }
    decoded
}

fn decode_all(payload: &[u8], events: &mut VecDeque<Event>) -> Result<Told, Wrong> {
    let mut head = Cursors([&[]; COLUMNS]);
    head.0[0] = payload;
    if head.number(EventColumn::Kind)? != VERSION {
        return Err("its events are of a version that this courtside does not know");
    }
    let count: usize = head.small(EventColumn::Kind)?;
    let base = head.number(EventColumn::Kind)?;
    let unix_offset_ns = head.step(EventColumn::Kind, 0)? as i64;
    let columns: usize = head.small(EventColumn::Kind)?;
    if columns < COLUMNS || count > MAX_EVENTS {
        return Err("its events have lengths that cannot be");
    }
    let mut lengths = [0; COLUMNS];
    for length in &mut lengths {
        *length = head.small(EventColumn::Kind)?;
    }
    // Columns that a later version added are passed over.
    for _ in COLUMNS..columns {
        head.number(EventColumn::Kind)?;
    }
    let mut rest = head.0[0];
    let mut cursors = Cursors([&[]; COLUMNS]);
    for (cursor, length) in cursors.0.iter_mut().zip(lengths) {
        (*cursor, rest) = rest.split_at_checked(length).ok_or(SHORT)?;
    }
    // Each event has a byte in the first column: what is allocated is bounded by the payload.
    if cursors.0[EventColumn::Kind as usize].len() != count {
        return Err("its events are not as many as it says");
    }
    let mut last = Last::new(base);
    events.reserve(count);
    let before = events.len();
    for _ in 0..count {
        decode_one(&mut cursors, &mut last, events)?;
    }
    if cursors.0.iter().any(|column| !column.is_empty()) {
        return Err("a column of its events holds more than they do");
    }
    let known = events.len() - before;
    Ok(Told {
        unix_offset_ns,
        unknown: (count - known) as u64,
    })
}

/// Adds the next event, if it is not of a kind that a later version added.
#[inline]
fn decode_one(
    columns: &mut Cursors<'_>,
    last: &mut Last,
    events: &mut VecDeque<Event>,
) -> Result<(), Wrong> {
    let kind = columns.byte(EventColumn::Kind)?;
    let flags = kind >> 4;
    last.time_ns = columns.step(EventColumn::Time, last.time_ns)?;
    let time_ns = last.time_ns;
    let cpu: u16 = columns.small(EventColumn::Cpu)?;
    let running = last.running(cpu);
    *running = columns.small_step(EventColumn::Tid, *running)?;
    let tid = *running;
    let what = match kind & 15 {
        0 => What::Task(Box::new(Task {
            tgid: columns.small(EventColumn::Rare)?,
            image: columns.small(EventColumn::Rare)?,
            born_ns: columns.number(EventColumn::Rare)?,
            off_ns: columns.number(EventColumn::Rare)?,
            wake_ns: columns.number(EventColumn::Rare)?,
            off: off(flags & 3)?,
            prompted: flags & 4 != 0,
            comm: columns.bytes(EventColumn::Rare)?,
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
            bytes: columns.small(EventColumn::Bytes)?,
            began_ns: time_ns.wrapping_sub(columns.number(EventColumn::Before)?),
            known: flags & 1 != 0,
            flow: flow(columns, last)?,
        },
        5 => {
            let connection = connection(columns, last)?;
            last.floor_ns = columns.small_step(EventColumn::Floor, last.floor_ns)?;
            What::Receive {
                connection,
                bytes: columns.small(EventColumn::Bytes)?,
                arrived_ns: time_ns.wrapping_sub(columns.number(EventColumn::Before)?),
                known: flags & 1 != 0,
                floor_ns: last.floor_ns,
                from_unprompted: flags & 2 != 0,
                waits: flags & 4 != 0,
                flow: flow(columns, last)?,
            }
        }
        6 => What::Arrival {
            connection: connection(columns, last)?,
        },
        7 => What::State {
            connection: connection(columns, last)?,
            before: columns.byte(EventColumn::Rare)?,
            after: columns.byte(EventColumn::Rare)?,
        },
        8 => What::DiskStart(disk(columns, flags)?),
        9 => What::DiskEnd {
            disk: disk(columns, flags)?,
            last: flags & 2 != 0,
        },
        10 => What::Fork {
            tid: other(columns, last)?,
            tgid: columns.small(EventColumn::Rare)?,
            image: columns.small(EventColumn::Rare)?,
        },
        11 => What::Exec {
            old_tid: other(columns, last)?,
            image: columns.small(EventColumn::Rare)?,
            comm: columns.bytes(EventColumn::Rare)?,
        },
        12 => What::Exit,
        // Whatever later kinds hold is in one piece, its length before it.
        13 => {
            let mut own = columns.piece(EventColumn::Rare)?;
            What::Throttled {
                ns: long_number(&mut own)?,
            }
        }
        14 => {
            let mut own = columns.piece(EventColumn::Rare)?;
            What::Look {
                first_ns: time_ns.wrapping_sub(long_number(&mut own)?),
            }
        }
        _ => {
            columns.piece(EventColumn::Rare)?;
            return Ok(());
        }
    };
    events.push_back(Event {
        time_ns,
        tid,
        cpu,
        what,
    });
    Ok(())
}

fn other(columns: &mut Cursors<'_>, last: &mut Last) -> Result<u32, Wrong> {
    last.other = columns.small_step(EventColumn::Other, last.other)?;
    Ok(last.other)
}

fn connection(columns: &mut Cursors<'_>, last: &mut Last) -> Result<u64, Wrong> {
    last.connection = columns.step(EventColumn::Connection, last.connection)?;
    Ok(last.connection)
}

fn decode_connection(
    columns: &mut Cursors<'_>,
    last: &mut Last,
    flags: u8,
) -> Result<Connection, Wrong> {
    Ok(Connection {
        number: connection(columns, last)?,
        local: columns.bytes(EventColumn::Rare)?,
        remote: columns.bytes(EventColumn::Rare)?,
        local_port: columns.small(EventColumn::Rare)?,
        remote_port: columns.small(EventColumn::Rare)?,
        netns: columns.small(EventColumn::Rare)?,
        flow: read_flow(columns)?,
        midlife: flags & 1 != 0,
    })
}

fn flow(columns: &mut Cursors<'_>, last: &mut Last) -> Result<Flow, Wrong> {
    let at: usize = columns.small(EventColumn::Flow)?;
    if at == 0 && !last.flows.is_empty() {
        // The same again.
    } else if at < last.flows.len() {
        last.flows[..=at].rotate_right(1);
    } else {
        let new = read_flow(columns)?;
        last.new_flow(new);
    }
    last.flows.first().copied().ok_or(SHORT)
}

fn read_flow(columns: &mut Cursors<'_>) -> Result<Flow, Wrong> {
    Ok(Flow {
        image: columns.small(EventColumn::Rare)?,
        peer: columns.small(EventColumn::Rare)?,
        port: columns.small(EventColumn::Rare)?,
        transport: columns.byte(EventColumn::Rare)?,
        role: columns.byte(EventColumn::Rare)?,
    })
}

fn disk(columns: &mut Cursors<'_>, flags: u8) -> Result<Disk, Wrong> {
    Ok(Disk {
        request: columns.number(EventColumn::Rare)?,
        image: columns.small(EventColumn::Rare)?,
        bytes: columns.small(EventColumn::Bytes)?,
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
