//! A connection of the calculation over events, as one of its ends sees it.
//!
//! In: nothing (plain data). Out: what it is at, and what has been seen of it. Must not know: tasks' waits, what is booked.

use foldhash::HashMap;

use super::task::Message;
use crate::event::Flow;

pub(super) const TCP: u8 = 1;
pub(super) const UDP: u8 = 2;
pub(super) const UNIX: u8 = 3;
pub(super) const INITIATOR: u8 = 1;
pub(super) const ACCEPTOR: u8 = 2;

/// The last message that an end received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    /// Arrival of its first byte, and when that was read.
    pub(super) arrived_ns: u64,
    pub(super) read_ns: u64,
    /// What its last reader knows it by.
    pub(super) message: Option<Message>,
    /// The task that read of it last, and how often that had sent by then.
    pub(super) reader: u32,
    pub(super) sends: u64,
}

/// A message sent that the other end has not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) began_ns: u64,
    /// Nothing that arrived earlier can answer it.
    pub(super) after_ns: u64,
}

/// Connections by their number.
pub(super) type Connections = HashMap<u64, Connection>;

/// Whether a message has ended: it was answered or passed on, or one that came after it on its connection was.
pub(super) fn is_ended(connections: &Connections, message: Message) -> bool {
    let connection = connections.get(&message.connection);
    connection.is_some_and(|connection| connection.ended >= message.number)
}

pub(super) fn end(connections: &mut Connections, message: Message) {
    if let Some(connection) = connections.get_mut(&message.connection) {
        connection.ended = connection.ended.max(message.number);
    }
}

#[derive(Debug, Default)]
pub(super) struct Connection {
    /// Whether the last transfer was a send.
    pub(super) last_was_send: Option<bool>,
    pub(super) midlife: bool,
    /// The last received message is not answered by this end.
    pub(super) pending: bool,
    pub(super) request: Request,
    pub(super) awaiting: Option<Sent>,
    /// The last send call: when it began, whether that was told, whose it was, and how often that task had waited when it
    /// ended.
    pub(super) sent_ns: u64,
    pub(super) start_known: bool,
    pub(super) sent_voluntary: u64,
    pub(super) sender: u32,
    /// When anything was read last; and the arrival of the last piece of a message that came in pieces.
    pub(super) read_ns: u64,
    pub(super) piece_ns: u64,
    /// Messages that tasks read here so far, and up to which they have ended.
    pub(super) prompts: u64,
    pub(super) ended: u64,
    /// The last received message, the last sent one, any received one, came in pieces with waits between.
    pub(super) in_waits: bool,
    pub(super) out_waits: bool,
    pub(super) streamed: bool,
    /// Two datagrams of one direction were on their way at once.
    pub(super) overlap: bool,
    /// Some message was sent by another thread than the one that had read last.
    pub(super) by_several: bool,
    /// More than one request was open at once.
    pub(super) interleaved: bool,
    /// This end sends on its own account, and answers nothing.
    pub(super) own_account: bool,
    /// The last message was sent by a thread that another one of its process had woken, and nobody saw for what.
    pub(super) unseen: bool,
    pub(super) closed: bool,
}

impl Connection {
    /// Whether a request waits for an answer by this end.
    pub(super) fn is_open(&self, flow: Flow) -> bool {
        self.pending && flow.role == ACCEPTOR && !self.own_account
    }

    /// The same socket is connected anew.
    pub(super) fn begin(&mut self) {
        *self = Self {
            midlife: self.midlife,
            prompts: self.prompts,
            ended: self.ended,
            ..Self::default()
        };
    }

    /// What begins a message at an acceptor cannot have arrived before the answer to the one before was sent.
    pub(super) fn arrives_too_soon(&self, flow: Flow, arrived_ns: u64, known: bool) -> bool {
        let told = if flow.transport == TCP {
            self.start_known
        } else {
            !known
        };
        told && flow.role == ACCEPTOR && flow.transport != UDP && arrived_ns <= self.sent_ns
    }

    /// A receive that begins no message; `waited`: all that came before had been read when it arrived.
    pub(super) fn receives_again(&mut self, flow: Flow, arrived_ns: u64, waited: bool) {
        if self.midlife {
            // What was in between may have gone unseen, while programs were attached one after the other.
            return;
        }
        if flow.transport == UDP && flow.role == ACCEPTOR {
            self.overlap |= self.pending;
        }
        if waited {
            self.in_waits = true;
            self.streamed = true;
            self.piece_ns = arrived_ns;
            self.interleaved |= flow.role == INITIATOR && self.out_waits;
        }
    }

    /// A send that begins no message; `waited`: its thread waited since the send before, or it is another one.
    pub(super) fn sends_again(&mut self, flow: Flow, waited: bool) {
        if self.midlife {
            return;
        }
        if flow.transport == UDP {
            self.overlap |= flow.role == INITIATOR && self.awaiting.is_some();
        } else if waited {
            self.out_waits = true;
            self.interleaved |= flow.role == ACCEPTOR && self.in_waits;
        }
    }
}
