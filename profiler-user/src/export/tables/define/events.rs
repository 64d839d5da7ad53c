//! The table of single events.
//!
//! In: nothing. Out: the table. Must not know: formats.

use super::super::{Getter, Item, Kind, Table, Value};
use super::{BYTES, EXACT, NAME, NS, NUMBER, YES, count, table};
use crate::event::Off;
use crate::export::events::{Named, Told};
use Value::{Count, Flag, Null, Text};

const TIME: &str = "as the hook read it";

pub(in super::super) fn events() -> Table {
    let row_is = "one event, if the recording holds them (`record --events`)";
    let mut t = table("events", row_is, |_| Vec::new());
    fn event(get: for<'a> fn(&'a Told) -> Value<'a>) -> Getter {
        Box::new(move |row| match row.item {
            Item::Event(it) => get(it),
            _ => Null,
        })
    }
    fn id(named: Option<&std::rc::Rc<Named>>) -> Value<'_> {
        named.map_or(Null, |named| Text(&named.id))
    }
    for (name, kind, unit, meaning, error, get) in [
        (
            "time_unix_ns",
            Kind::Count,
            NS,
            "when, since 1970; on the monotonic clock, which was told the time when measuring began",
            TIME,
            event(|e| Count(e.time_unix_ns)),
        ),
        (
            "kind",
            Kind::Text,
            NAME,
            "task, connection, switch, wake, send, receive, arrival, state, disk_start, disk_end, fork, exec or exit",
            EXACT,
            event(|e| Text(e.kind())),
        ),
        (
            "cpu",
            Kind::Count,
            NUMBER,
            "the CPU",
            EXACT,
            event(|e| Count(e.cpu.into())),
        ),
        (
            "tid",
            Kind::Count,
            NUMBER,
            "the task it is about, or in whose context it happened; 0 is the idle task, and who wakes when an interrupt does",
            EXACT,
            event(|e| Count(e.tid.into())),
        ),
    ] {
        t.add(name, kind, unit, meaning, error, get);
    }
    for (name, kind, unit, meaning, error, get) in [
        (
            "tgid",
            Kind::Count,
            NUMBER,
            "its process",
            EXACT,
            event(|e| count(e.tgid.map(u64::from))),
        ),
        (
            "comm",
            Kind::Text,
            NAME,
            "its name when it was seen first or became another program",
            EXACT,
            event(|e| e.comm.as_deref().map_or(Null, Text)),
        ),
        (
            "component",
            Kind::Text,
            NAME,
            "id of the task's component; of arrival and state, of the connection's owner; of disk events, of who is charged",
            EXACT,
            event(|e| id(e.component.as_ref())),
        ),
        (
            "connection",
            Kind::Count,
            NUMBER,
            "number of the connection; each end has its own",
            EXACT,
            event(|e| count(e.connection.as_ref().map(|c| c.number))),
        ),
        (
            "peer",
            Kind::Text,
            NAME,
            "id of the component at the other end, as far as it was known then",
            EXACT,
            event(|e| id(e.peer.as_ref())),
        ),
        (
            "transport",
            Kind::Text,
            NAME,
            "tcp, udp or unix",
            EXACT,
            event(|e| match e.connection.as_ref().map(|c| c.flow.transport) {
                Some(1) => Text("tcp"),
                Some(2) => Text("udp"),
                Some(3) => Text("unix"),
                _ => Null,
            }),
        ),
        (
            "port",
            Kind::Count,
            NUMBER,
            "the acceptor's port; 0 for Unix sockets",
            EXACT,
            event(|e| count(e.connection.as_ref().map(|c| c.flow.port.into()))),
        ),
        (
            "role",
            Kind::Text,
            NAME,
            "initiator or acceptor: this end",
            EXACT,
            event(|e| match e.connection.as_ref().map(|c| c.flow.role) {
                Some(1) => Text("initiator"),
                Some(2) => Text("acceptor"),
                _ => Null,
            }),
        ),
        (
            "bytes",
            Kind::Count,
            BYTES,
            "bytes that the call took or gave, or the request moves",
            EXACT,
            event(|e| count(e.bytes)),
        ),
        (
            "since_unix_ns",
            Kind::Count,
            NS,
            "when the send call began, or the first byte received had arrived; null where the kernel does not tell",
            TIME,
            event(|e| count(e.since_unix_ns)),
        ),
        (
            "other_tid",
            Kind::Count,
            NUMBER,
            "who runs next (switch), who was woken (wake) or made (fork), the number before (exec)",
            EXACT,
            event(|e| count(e.other_tid.map(u64::from))),
        ),
        (
            "off",
            Kind::Text,
            NAME,
            "why the task left its CPU: run_queue, block_io or sleep",
            EXACT,
            event(|e| match e.off {
                Some(Off::RunQueue) => Text("run_queue"),
                Some(Off::BlockIo) => Text("block_io"),
                Some(Off::Sleep) => Text("sleep"),
                None => Null,
            }),
        ),
        (
            "state_before",
            Kind::Count,
            NUMBER,
            "state of a TCP connection before, as the kernel numbers them: 1 established, 2 SYN sent, 7 closed",
            EXACT,
            event(|e| count(e.states.map(|(before, _)| before.into()))),
        ),
        (
            "state_after",
            Kind::Count,
            NUMBER,
            "and after",
            EXACT,
            event(|e| count(e.states.map(|(_, after)| after.into()))),
        ),
        (
            "request",
            Kind::Count,
            NUMBER,
            "tells a disk request from the others that are under way",
            EXACT,
            event(|e| count(e.request)),
        ),
        (
            "write",
            Kind::Flag,
            YES,
            "the disk request is a write",
            EXACT,
            event(|e| e.write.map_or(Null, Flag)),
        ),
    ] {
        t.add(name, kind, unit, meaning, error, get);
        t.or_null();
    }
    t
}
