//! What sends and receives mean, to their connection and to their thread.
//!
//! In: single events in the order of time. Out: bookings. Must not know: how steps come to be in order.

use super::{
    Model,
    connection::{ACCEPTOR, INITIATOR, Sent, TCP, UNIX, is_ended},
    reason::{Found, Reason, held, reason},
    task::{Message, Read, TaskState},
};
use crate::{
    event::{Event, Off, What},
    model::{
        exchange::{Answer, Exchange, Received, Sent as SentMessage},
        ledger::{Booking, Ledger},
    },
    parts::{Part, Parts},
};

/// Waits of a thread between two sends on its own account, at most.
const OWN_WAITS: u64 = 4;

/// Images of which it is known when they called last and nobody saw for whom; those that came first are forgotten.
const IMAGES: usize = 4096;

impl Model {
    /// Whether a message has ended.
    pub(super) fn is_ended(&self, message: Message) -> bool {
        is_ended(&self.connections, message)
    }

    /// What a send means to its connection.
    pub(super) fn send_begins(&mut self, event: &Event, ledger: &mut impl Ledger) {
        let What::Send {
            connection: number,
            bytes,
            began_ns,
            known,
            flow,
        } = event.what
        else {
            return;
        };
        self.runs_at(event, began_ns);
        let task = self.tasks.entry(event.tid).or_default();
        let connection = self.connections.entry(number).or_default();
        // On TCP only where the start is told.
        let told = flow.transport == UNIX || flow.transport == TCP && known;
        let by_several = connection.by_several || connection.sender != connection.request.reader;
        if told && by_several && connection.is_open(flow) {
            let by_another = connection.request.reader != event.tid;
            if by_another && acts_on_own_account(task, connection.request.read_ns) {
                if connection.streamed {
                    connection.interleaved = true;
                } else {
                    connection.own_account = true;
                    ledger.book(number, flow, Booking::Ambiguous);
                }
            }
        }
        let turns = connection.last_was_send != Some(true);
        let by_another = connection.request.reader != event.tid;
        let found = Found {
            request: connection.is_open(flow).then_some(connection.request),
            skips_answers: turns && connection.out_waits && by_another && flow.role == INITIATOR,
            begins: turns,
            ..Found::default()
        };
        let mut answer = None;
        let sent = Booking::Sent {
            bytes,
            message: turns,
        };
        ledger.book(number, flow, sent);
        if turns {
            let first_turn = connection.midlife && connection.last_was_send == Some(false);
            connection.midlife &= !first_turn;
            if connection.in_waits {
                let took_ns = connection
                    .piece_ns
                    .saturating_sub(connection.request.arrived_ns);
                ledger.book(number, flow, Booking::InPieces(took_ns));
            }
            // On a Unix socket, whoever was never prompted answers nothing.
            if connection.is_open(flow) && (flow.transport != UNIX || task.prompted) {
                connection.interleaved |= connection.overlap;
                let service_ns = began_ns.saturating_sub(connection.request.arrived_ns);
                let untimed = connection.interleaved;
                let how = answered(first_turn, untimed, service_ns);
                ledger.book(number, flow, how.into());
                answer = Some(how);
            }
            connection.out_waits = false;
            connection.last_was_send = Some(true);
        } else {
            let waited =
                connection.sender != event.tid || task.voluntary > connection.sent_voluntary;
            connection.sends_again(flow, waited);
        }
        connection.pending = false;
        let known = known || flow.transport == TCP;
        connection.awaiting = Some(Sent {
            began_ns,
            after_ns: if known {
                began_ns
            } else {
                connection.request.arrived_ns
            },
        });
        connection.sent_ns = began_ns;
        connection.by_several |=
            connection.request.reader != event.tid && connection.request.reader != 0;
        connection.sender = event.tid;
        task.found = Found {
            answer,
            several: connection.interleaved,
            ..found
        };
    }

    /// What a receive means to its connection and its thread.
    pub(super) fn receive(&mut self, event: &Event, ledger: &mut impl Ledger) {
        let What::Receive {
            connection: number,
            bytes,
            arrived_ns,
            known,
            floor_ns,
            from_unprompted,
            waits,
            flow,
        } = event.what
        else {
            return;
        };
        let connection = self.connections.entry(number).or_default();
        let turns = connection.last_was_send != Some(false);
        let waits = waits && turns;
        if !waits {
            ledger.book(number, flow, Booking::Received { bytes });
        }
        let first_turn = turns && connection.midlife && connection.last_was_send == Some(true);
        // TCP has more to read than was announced only where an announcement was not told.
        let told = known || flow.transport == TCP;
        let waited = !turns && told && arrived_ns > connection.read_ns;
        if turns {
            connection.interleaved |= connection.arrives_too_soon(flow, arrived_ns, known);
            connection.in_waits = false;
            let queued_ns = event.time_ns.saturating_sub(arrived_ns);
            let message = if waits {
                Booking::MessageWaits {
                    bytes,
                    queued_ns,
                    known,
                }
            } else {
                Booking::Message { queued_ns, known }
            };
            ledger.book(number, flow, message);
            connection.request.arrived_ns = arrived_ns;
            connection.request.read_ns = event.time_ns;
            connection.last_was_send = Some(false);
            connection.midlife &= !first_turn;
        } else {
            connection.receives_again(flow, arrived_ns, waited);
        }
        let mut answer = None;
        if let Some(sent) = connection.awaiting {
            connection.interleaved |= connection.overlap;
            // Where the kernel tells neither the send's start nor the arrival, either may be late.
            let too_early = arrived_ns < sent.after_ns && (flow.transport == TCP || !known);
            let latency_ns = arrived_ns.saturating_sub(sent.began_ns);
            if flow.role != INITIATOR {
            } else if too_early || latency_ns < u64::from(floor_ns) || from_unprompted {
                ledger.book(number, flow, Booking::BelowFloor);
            } else {
                connection.awaiting = None;
                if std::mem::take(&mut connection.unseen) {
                    let began_ns = self.unseen.entry(flow.image).or_default();
                    *began_ns = sent.began_ns.max(*began_ns);
                    if self.unseen.len() > IMAGES {
                        self.unseen.pop_first();
                    }
                }
                let several = connection.out_waits && connection.sender != event.tid;
                let untimed = several || connection.interleaved;
                let how = answered(first_turn, untimed, latency_ns);
                ledger.book(number, flow, how.into());
                answer = Some(how);
            }
        }
        if !connection.pending {
            connection.pending = true;
            connection.request.arrived_ns = arrived_ns;
            connection.request.read_ns = event.time_ns;
        }
        connection.read_ns = event.time_ns;
        let (arrived_ns, several) = (connection.request.arrived_ns, connection.interleaved);
        if let Some(message) = self.holds(event, turns, waited) {
            ledger.note(Exchange::Received(Received {
                begins: turns,
                message,
                arrived_ns,
                answer,
                several,
            }));
        }
    }

    /// What a receive means to its thread: it holds a message, which is returned.
    fn holds(&mut self, event: &Event, turns: bool, waited: bool) -> Option<Message> {
        let What::Receive {
            connection: number,
            arrived_ns,
            flow,
            ..
        } = event.what
        else {
            return None;
        };
        let (tid, now) = (event.tid, event.time_ns);
        let task = self.tasks.get_mut(&tid)?;
        let connection = self.connections.get_mut(&number)?;
        task.prompted = true;
        task.read_voluntary = task.voluntary;
        let request = &mut connection.request;
        let goes_on = !turns && request.reader == tid && request.sends == task.sends;
        if !goes_on {
            connection.prompts += 1;
            request.message = Some(Message {
                connection: number,
                number: connection.prompts,
            });
            request.reader = tid;
            request.sends = task.sends;
        }
        let message = request.message?;
        if task.last_read.is_none_or(|last| last.message != message) {
            task.last_read = Some(Read {
                message,
                is_request: flow.role == ACCEPTOR,
                arrived_ns: if goes_on {
                    request.arrived_ns
                } else {
                    arrived_ns
                },
                read_ns: if goes_on { request.read_ns } else { now },
            });
        }
        if goes_on {
            if task.noted == Some(message) {
                task.notes_piece(arrived_ns, waited, now);
            }
            return Some(message);
        }
        task.drop_ended(|message| is_ended(&self.connections, message));
        if task.reads.is_empty() {
            task.more_reads = 0;
        }
        if let Some(read) = task.last_read {
            task.keeps(read);
        }
        if task.reads.len() == 1 {
            task.notes(now);
        }
        Some(message)
    }

    /// What a send means to its thread: the end of a turnaround, or of a gap that nothing prompted.
    pub(super) fn sent(&mut self, event: &Event, ledger: &mut impl Ledger) {
        let What::Send {
            connection: number,
            began_ns: sent_ns,
            known,
            flow,
            ..
        } = event.what
        else {
            return;
        };
        let tid = event.tid;
        let Self {
            tasks, connections, ..
        } = self;
        let task = tasks.entry(tid).or_default();
        if let Some(connection) = connections.get_mut(&number) {
            connection.sent_voluntary = task.voluntary;
            connection.start_known = known;
        }
        let found = std::mem::take(&mut task.found);
        task.drop_ended(|message| is_ended(connections, message));
        task.keeps_last(|message| is_ended(connections, message));
        let held = held(connections, task);
        let unseen_ns = self.unseen.get(&flow.image).copied().unwrap_or_default();
        let reason = reason(connections, task, tid, sent_ns, unseen_ns, found);
        if found.begins
            && let Some(connection) = connections.get_mut(&number)
        {
            // A thread that another one of its process has woken works for somebody, and nobody saw for whom.
            connection.unseen = flow.role == INITIATOR
                && task.woken_by_own
                && match reason {
                    Reason::Nothing | Reason::TakenUp { .. } => true,
                    Reason::Handover { .. } => task.voluntary != task.handed_voluntary,
                    Reason::Own { .. } | Reason::Earlier { .. } => false,
                };
        }
        let prompts = reason.prompts(held);
        let mut book = |what| ledger.book(number, flow, what);
        match reason {
            Reason::Own { first, is_older } => {
                if task.noted != Some(first.message) {
                    task.notes(event.time_ns);
                }
                let arrived_ns = if is_older { 0 } else { first.arrived_ns };
                let read_ns = if is_older { 0 } else { first.read_ns };
                let (from_ns, mut parts) = task.own_parts(arrived_ns, read_ns, sent_ns);
                let receiving_ns = task.receiving_ns.min(parts[Part::Sleep]);
                parts[Part::Sleep] -= receiving_ns;
                parts[Part::Receiving] = receiving_ns;
                book(Booking::Turnaround(parts));
                if first.is_request && !is_older && sent_ns > from_ns {
                    let before_ns = task.before_birth_ns(first.arrived_ns);
                    let within_ns = first.read_ns.saturating_sub(from_ns) + before_ns;
                    book(Booking::Within(within_ns));
                }
                book(Booking::WaitsSinceStart(
                    task.waits_since_start.max(task.waits_since(sent_ns)),
                ));
            }
            Reason::Earlier { arrived_ns } | Reason::TakenUp { arrived_ns } => {
                let (from_ns, parts) = task.own_parts(arrived_ns, 0, sent_ns);
                book(Booking::Turnaround(parts));
                book(Booking::WaitsSinceStart(task.waits_since(from_ns)));
            }
            Reason::Handover { read } => {
                book(Booking::Handover);
                let (parts, within_ns, known_ns) = task.handed_parts(&read, sent_ns);
                book(Booking::Turnaround(parts));
                if read.is_request {
                    book(Booking::Within(within_ns));
                }
                book(Booking::WaitsSinceStart(task.waits_since(known_ns)));
            }
            Reason::Nothing => {
                let gap_ns = match task.sent_ns {
                    0 => 0,
                    before => sent_ns.saturating_sub(before),
                };
                book(Booking::Unprompted(gap_ns));
                if found.skips_answers
                    && let Some(connection) = connections.get_mut(&number)
                {
                    connection.interleaved = true;
                }
            }
        }
        task.has_sent(sent_ns);
        let answered = found.answer.and(found.request);
        ledger.note(Exchange::Sent(SentMessage {
            begins: found.begins,
            answers: answered.and_then(|request| request.message),
            answer: found.answer,
            prompts,
            several: found.several,
        }));
    }
}

impl TaskState {
    /// How long a message lay there before the task was born, if it has not sent since the arrival.
    fn before_birth_ns(&self, arrived_ns: u64) -> u64 {
        if arrived_ns > self.sent_ns {
            self.born_ns.saturating_sub(arrived_ns)
        } else {
            0
        }
    }

    /// Since when the task is at a message of its own, and the parts of the time until it sent.
    fn own_parts(&self, arrived_ns: u64, read_ns: u64, sent_ns: u64) -> (u64, Parts<u64>) {
        let from_ns = self.turnaround_start_ns(arrived_ns).min(sent_ns);
        let mut parts = self.parts(from_ns, sent_ns, read_ns);
        if sent_ns > from_ns {
            parts[Part::Queued] += self.before_birth_ns(arrived_ns);
        }
        (from_ns, parts)
    }

    /// The parts of a turnaround that began in another thread, how much of it the message lay unread, and since when this
    /// task's waits matter.
    fn handed_parts(&self, read: &Read, sent_ns: u64) -> (Parts<u64>, u64, u64) {
        let read_ns = read.read_ns.max(read.arrived_ns);
        // It took over when it was woken for it; else it had been busy with something else, or was not there yet.
        let wake_ns = self.handed.map_or(0, |(_, wake_ns)| wake_ns);
        let candidates = [wake_ns, self.sent_ns, self.born_ns];
        let taken = candidates.into_iter().find(|taken| *taken > read_ns);
        let taken_ns = taken.unwrap_or(read_ns).min(sent_ns);
        let read_ns = read_ns.min(taken_ns);
        let mut parts = self.parts(taken_ns, sent_ns, 0);
        let unread_ns = read_ns.saturating_sub(read.arrived_ns);
        parts[Part::Queued] += unread_ns;
        parts[Part::HandedOver] += taken_ns - read_ns;
        (
            parts,
            unread_ns,
            if taken.is_some() { sent_ns } else { read_ns },
        )
    }

    fn has_sent(&mut self, sent_ns: u64) {
        self.sent_ns = self.sent_ns.max(sent_ns);
        self.sent_voluntary = self.voluntary;
        self.sends += 1;
        self.reads.clear();
        self.more_reads = 0;
        self.last_read = None;
        self.noted = None;
        self.handed = None;
        self.folded = Parts::default();
        let since = self.sent_ns;
        self.waits.retain(|wait| wait.on_ns > since);
    }
}

/// Whether a thread sends on its own account, while a request is open that another thread read: a timer woke it, it had been
/// waiting for that timer since before the request was read, and no thread of its process handed it anything. A thread that
/// asks again and again whether there is something to do waits more often between two sends.
fn acts_on_own_account(task: &TaskState, read_ns: u64) -> bool {
    let waits = task.voluntary - task.sent_voluntary;
    let last = task.waits.last();
    task.sent_ns != 0
        && !task.woken_by_own
        && task.reads.is_empty()
        && task.handed.is_none()
        && (1..=OWN_WAITS).contains(&waits)
        && last.is_some_and(|wait| wait.off != Off::RunQueue && wait.off_ns < read_ns)
}

fn answered(first_turn: bool, untimed: bool, ns: u64) -> Answer {
    if first_turn {
        Answer::Midlife
    } else if untimed {
        Answer::Untimed
    } else {
        Answer::Timed(ns)
    }
}
