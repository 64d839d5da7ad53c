//! Exchange: what a send or a receive was in the conversation on its connection, one by one.
//!
//! In: nothing (plain data, filled by the calculation over events). Out: the same. Must not know: components, what is made
//! of it.

/// A message that a task read: its connection, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// Number of the connection, at the end that read.
    pub connection: u64,
    /// Which one there. The rest of a message that another task reads has a number of its own.
    pub number: u64,
}

/// How a roundtrip or a request served counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With this latency or service time.
    Timed(u64),
    /// Several requests were open at once on its connection: how long it took has no meaning.
    Untimed,
    /// Not at all: the first turn of a connection older than the attach.
    Midlife,
}

/// What may have prompted a send: messages that its thread held and nobody had ended, the first of them first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompts {
    /// Those that are known one by one.
    pub messages: [Option<Message>; 4],
    /// There were others, which are not known one by one.
    pub more: bool,
}

impl Prompts {
    /// This one, and no other.
    #[must_use]
    pub fn only(message: Message) -> Self {
        Self {
            messages: [Some(message), None, None, None],
            more: false,
        }
    }

    /// Those that are not known one by one.
    #[must_use]
    pub fn others() -> Self {
        Self {
            more: true,
            ..Self::default()
        }
    }
}

/// A send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// It began a message.
    pub begins: bool,
    /// The open request on its own connection that it answers.
    pub answers: Option<Message>,
    /// How that answer counts.
    pub answer: Option<Answer>,
    /// What may have prompted it, where it ended a turnaround.
    pub prompts: Prompts,
    /// Its connection has shown that more than one request was open on it.
    pub several: bool,
}

/// A receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// It began a message.
    pub begins: bool,
    /// The message that it is of.
    pub message: Message,
    /// When the first byte of that arrived.
    pub arrived_ns: u64,
    /// The roundtrip that it ended.
    pub answer: Option<Answer>,
    /// Its connection has shown that more than one request was open on it.
    pub several: bool,
}

/// A send or a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// A send.
    Sent(Sent),
    /// A receive.
    Received(Received),
}
