//! The table of single events.
//!
//! In: nothing. Out: the table. Must not know: formats.

use super::super::{Cells, Getter, Kind, Table, Value};
use super::table;
use courtside_core::event::Off;
use courtside_core::model::fields::{BYTES, EXACT, NAME, NS, NUMBER, TO_SCHEDSTAT, YES};
use courtside_core::model::resolve::ResolvedEvent;

const TIME: &str = "as the hook read it";

/// A column of events; [`cells`] gives the cells of all of them.
fn add(
    table: &mut Table,
    name: &str,
    kind: Kind,
    unit: &'static str,
    meaning: &str,
    error: &'static str,
) {
    // No row asks for it: events are too many to be asked column by column.
    let get: Getter = Box::new(|_| Value::Null);
    table.add(name, kind, unit, meaning, error, get);
}

/// All cells of an event, in the order of the columns of [`events`].
#[inline]
pub(in super::super) fn cells<'a>(window: u64, event: &'a ResolvedEvent, to: &mut impl Cells<'a>) {
    let number = |number: Option<u32>| number.map(u64::from);
    let connection = event.connection.as_deref();
    to.count(Some(window));
    to.count(Some(event.time_unix_ns));
    to.word(Some(event.kind()));
    to.count(Some(event.cpu.into()));
    to.count(Some(event.tid.into()));
    to.count(number(event.tgid));
    to.text(event.comm.as_deref());
    to.text(event.component.as_ref().map(|named| named.id.as_str()));
    to.count(connection.map(|connection| connection.number));
    to.text(event.peer.as_ref().map(|named| named.id.as_str()));
    to.word(match connection.map(|c| c.flow.transport) {
        Some(1) => Some("tcp"),
        Some(2) => Some("udp"),
        Some(3) => Some("unix"),
        _ => None,
    });
    to.count(connection.map(|c| c.flow.port.into()));
    to.word(match connection.map(|c| c.flow.role) {
        Some(1) => Some("initiator"),
        Some(2) => Some("acceptor"),
        _ => None,
    });
    to.count(event.bytes);
    to.count(event.since_unix_ns);
    to.count(number(event.other_tid));
    to.word(event.off.map(|off| match off {
        Off::RunQueue => "run_queue",
        Off::BlockIo => "block_io",
        Off::Sleep => "sleep",
    }));
    to.count(event.states.map(|(before, _)| before.into()));
    to.count(event.states.map(|(_, after)| after.into()));
    to.count(event.request);
    to.flag(event.write);
    to.count(event.throttled_ns);
}

pub(in super::super) fn events() -> Table {
    let row_is = "one event, if the recording holds them (`record --events`)";
    let mut t = table("events", row_is, |_| Vec::new());
    for (name, kind, unit, meaning, error) in [
        (
            "time_unix_ns",
            Kind::Count,
            NS,
            "when, since 1970; on the monotonic clock, which was told the time when measuring began",
            TIME,
        ),
        (
            "kind",
            Kind::Text,
            NAME,
            "task, connection, switch, wake, send, receive, arrival, state, disk_start, disk_end, fork, exec, exit or throttled",
            EXACT,
        ),
        ("cpu", Kind::Count, NUMBER, "the CPU", EXACT),
        (
            "tid",
            Kind::Count,
            NUMBER,
            "the task it is about, or in whose context it happened; 0 is the idle task, and who wakes when an interrupt does",
            EXACT,
        ),
    ] {
        add(&mut t, name, kind, unit, meaning, error);
    }
    for (name, kind, unit, meaning, error) in [
        ("tgid", Kind::Count, NUMBER, "its process", EXACT),
        (
            "comm",
            Kind::Text,
            NAME,
            "its name when it was seen first or became another program",
            EXACT,
        ),
        (
            "component",
            Kind::Text,
            NAME,
            "id of the task's component; of arrival and state, of the connection's owner; of disk events, of who is charged",
            EXACT,
        ),
        (
            "connection",
            Kind::Count,
            NUMBER,
            "number of the connection; each end has its own",
            EXACT,
        ),
        (
            "peer",
            Kind::Text,
            NAME,
            "id of the component at the other end, as far as it was known then",
            EXACT,
        ),
        ("transport", Kind::Text, NAME, "tcp, udp or unix", EXACT),
        (
            "port",
            Kind::Count,
            NUMBER,
            "the acceptor's port; 0 for Unix sockets",
            EXACT,
        ),
        (
            "role",
            Kind::Text,
            NAME,
            "initiator or acceptor: this end",
            EXACT,
        ),
        (
            "bytes",
            Kind::Count,
            BYTES,
            "bytes that the call took or gave, or the request moves",
            EXACT,
        ),
        (
            "since_unix_ns",
            Kind::Count,
            NS,
            "when the send call began, or the first byte received had arrived; null where the kernel does not tell",
            TIME,
        ),
        (
            "other_tid",
            Kind::Count,
            NUMBER,
            "who runs next (switch), who was woken (wake) or made (fork), the number before (exec)",
            EXACT,
        ),
        (
            "off",
            Kind::Text,
            NAME,
            "why the task left its CPU: run_queue, block_io or sleep",
            EXACT,
        ),
        (
            "state_before",
            Kind::Count,
            NUMBER,
            "state of a TCP connection before, as the kernel numbers them: 1 established, 2 SYN sent, 7 closed",
            EXACT,
        ),
        ("state_after", Kind::Count, NUMBER, "and after", EXACT),
        (
            "request",
            Kind::Count,
            NUMBER,
            "tells a disk request from the others that are under way",
            EXACT,
        ),
        (
            "write",
            Kind::Flag,
            YES,
            "the disk request is a write",
            EXACT,
        ),
        (
            "throttled_ns",
            Kind::Count,
            NS,
            "for how long a CPU quota held the task back in the wait that brought it to its CPU last (throttled)",
            TO_SCHEDSTAT,
        ),
    ] {
        add(&mut t, name, kind, unit, meaning, error);
        t.or_null();
    }
    t
}
