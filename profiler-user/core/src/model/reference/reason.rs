//! Why a thread sends: which of the messages that it, or another thread of its process, has read is the prompt.
//!
//! In: what a thread holds, and what its send found on its connection. Out: the prompt; which messages have ended. Must not
//! know: events, what is booked.

use super::{
    connection::{Connections, Request, end, is_ended},
    task::{Read, TaskState},
};
use crate::model::exchange::{Answer, Prompts};

/// What a send found when it began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// The request that its connection had not answered.
    pub(super) request: Option<Request>,
    /// Its message follows an answer that another thread read, to one that was sent in pieces.
    pub(super) skips_answers: bool,
    /// It began a message.
    pub(super) begins: bool,
    /// How the answer counts that it is.
    pub(super) answer: Option<Answer>,
    /// More than one request was open on its connection at once.
    pub(super) several: bool,
}

/// The messages that a thread has read since its last send and that nobody has ended.
pub(super) fn held(connections: &Connections, task: &TaskState) -> Prompts {
    let mut held = Prompts {
        more: task.more_reads > 0,
        ..Prompts::default()
    };
    let messages = task.reads.iter().map(|read| read.message);
    let open = messages.filter(|message| !is_ended(connections, *message));
    for (place, message) in held.messages.iter_mut().zip(open) {
        *place = Some(message);
    }
    held
}

/// Why a thread sends. A message of its own comes before one that another thread has read, and an open one before one
/// that was passed on.
pub(super) fn reason(
    connections: &mut Connections,
    task: &mut TaskState,
    tid: u32,
    sent_ns: u64,
    unseen_ns: u64,
    found: Found,
) -> Reason {
    if task.voluntary != task.sent_voluntary {
        task.batch = 0;
    }
    let request = found.request;
    let own = request.filter(|request| request.reader == tid);
    let others = request.filter(|request| request.reader != tid);
    let open = |connections: &Connections, request: Option<Request>| {
        let message = request.and_then(|request| request.message);
        message.filter(|message| !is_ended(connections, *message))
    };
    let handed = task.handed.map(|(read, _)| read);
    // A reply that came after the request which is answered now was read: somebody had asked for it on behalf of that
    // request, whoever that was.
    let reply = handed.filter(|read| {
        let is_later = |request: Request| read.arrived_ns > request.read_ns;
        let message = request.and_then(|request| request.message);
        let holds_more = task.more_reads > 0 || task.reads.len() > 1;
        !read.is_request
            && read.arrived_ns < sent_ns
            && request.is_some_and(is_later)
            && !holds_more
            && task
                .reads
                .front()
                .is_none_or(|first| Some(first.message) == message)
    });
    // A call that began after this message was read may have been for it. Who has waited since it was given it may have been
    // given something else.
    let is_doubtful = |task: &TaskState, read: Read| {
        read.read_ns <= unseen_ns && task.voluntary != task.handed_voluntary
    };
    let reason = if let Some(read) = reply {
        if let Some(message) = request.and_then(|request| request.message) {
            end(connections, message);
        }
        end(connections, read.message);
        task.handed_over(read, is_doubtful(task, read))
    } else if let Some(first) = task.reads.front().copied() {
        let is_older = task.batch > 0;
        // One of those that it holds is done with, unless it answers for another thread.
        let answers_others = open(connections, others).is_some();
        let held = task.reads.len() as u64 + task.more_reads;
        task.batch += held - u64::from(!answers_others);
        match open(connections, own) {
            Some(message) => end(connections, message),
            None if answers_others => {}
            None => end(connections, first.message),
        }
        Reason::Own { first, is_older }
    } else if let (Some(request), Some(message)) = (own, open(connections, own)) {
        task.batch = task.batch.saturating_sub(1);
        end(connections, message);
        Reason::Earlier {
            arrived_ns: request.arrived_ns,
        }
    } else if task.batch > 0 {
        task.batch -= 1;
        Reason::Earlier { arrived_ns: 0 }
    } else if let (Some(request), Some(message)) = (others, open(connections, others))
        && request.arrived_ns < sent_ns
    {
        let read = Read {
            message,
            is_request: true,
            arrived_ns: request.arrived_ns,
            read_ns: request.read_ns,
        };
        task.handed_over(read, request.read_ns <= unseen_ns)
    } else if let Some(read) = handed
        && read.arrived_ns < sent_ns
        && !is_ended(connections, read.message)
    {
        end(connections, read.message);
        task.handed_over(read, is_doubtful(task, read))
    } else if let Some(request) = own {
        let woken_ns = if task.woken_by_own { task.wake_ns } else { 0 };
        Reason::Earlier {
            arrived_ns: request.arrived_ns.max(woken_ns),
        }
    } else if let Some(request) = others {
        // Passed on, whoever by, and now answered.
        Reason::TakenUp {
            arrived_ns: task.took_up_ns(request.read_ns),
        }
    } else {
        Reason::Nothing
    };
    if let Some(message) = others.and_then(|request| request.message) {
        end(connections, message);
    }
    reason
}

/// Why a thread sends.
pub(super) enum Reason {
    /// It read messages since its last send, the first one of those that are open is this one. `is_older`: it has others from
    /// before its last send.
    Own { first: Read, is_older: bool },
    /// A message that it read before its last send.
    Earlier { arrived_ns: u64 },
    /// A message that another thread read.
    Handover { read: Read },
    /// One that another thread read and that was passed on, or may have been: what this one did since then is for that.
    TakenUp { arrived_ns: u64 },
    /// Nothing that is known of.
    Nothing,
}

impl Reason {
    /// Which messages may have been the prompt, of those that the thread held. One from before its last send is not known by
    /// its number.
    pub(super) fn prompts(&self, held: Prompts) -> Prompts {
        match self {
            Self::Own {
                is_older: false, ..
            } => held,
            Self::Handover { read } => Prompts::only(read.message),
            Self::Own { .. } | Self::Earlier { .. } | Self::TakenUp { .. } => Prompts::others(),
            Self::Nothing => Prompts::default(),
        }
    }
}

impl TaskState {
    /// When this task began what it is at, as far as can be told, if it is for a message that was read then.
    fn took_up_ns(&self, read_ns: u64) -> u64 {
        read_ns.max(self.wake_ns).max(self.born_ns)
    }

    /// A message that another thread has read prompts a send of this one. In doubt only what this one did since it took
    /// something up is for that message.
    fn handed_over(&self, read: Read, in_doubt: bool) -> Reason {
        if in_doubt {
            Reason::TakenUp {
                arrived_ns: self.took_up_ns(read.read_ns),
            }
        } else {
            Reason::Handover { read }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        event::{Event, Flow, Off, What},
        model::reference::{
            Counts,
            connection::{ACCEPTOR, INITIATOR, TCP},
            reference,
        },
        parts::{Part, Parts},
    };

    const PROCESS: u32 = 7;
    /// Reads requests; asks the upstream; reads its answers; answers.
    const READER: u32 = 8;
    const CALLER: u32 = 9;
    const LISTENER: u32 = 10;
    const ANSWERER: u32 = 11;
    const FRONT: u64 = 1;
    const BACK: u64 = 2;
    const OTHER: u64 = 3;

    fn flow(connection: u64) -> Flow {
        let role = if connection == FRONT {
            ACCEPTOR
        } else {
            INITIATOR
        };
        Flow {
            image: 1,
            peer: 2,
            port: 80 + u16::try_from(connection).unwrap(),
            transport: TCP,
            role,
        }
    }

    fn event(time_ns: u64, tid: u32, what: What) -> Event {
        Event {
            time_ns,
            tid,
            cpu: 0,
            what,
        }
    }

    fn sends(time_ns: u64, tid: u32, connection: u64) -> Event {
        let what = What::Send {
            connection,
            bytes: 1,
            began_ns: time_ns,
            known: true,
            flow: flow(connection),
        };
        event(time_ns, tid, what)
    }

    fn reads(time_ns: u64, tid: u32, connection: u64) -> Event {
        let what = What::Receive {
            connection,
            bytes: 1,
            arrived_ns: time_ns - 10,
            known: true,
            floor_ns: 0,
            from_unprompted: false,
            waits: false,
            flow: flow(connection),
        };
        event(time_ns, tid, what)
    }

    fn wakes(time_ns: u64, waker: u32, tid: u32) -> Event {
        event(time_ns, waker, What::Wake { tid, waited: true })
    }

    /// It leaves its CPU to another one and waits.
    fn leaves(time_ns: u64, tid: u32, next_tid: u32) -> Event {
        let off = Off::Sleep;
        event(time_ns, tid, What::Switch { off, next_tid })
    }

    /// After the threads were made and went to sleep one after the other, the last one at 50.
    fn counts(then: &[Event]) -> [Counts; 2] {
        let threads = [READER, CALLER, LISTENER, ANSWERER];
        let mut events = Vec::new();
        for (tid, at_ns) in threads.into_iter().zip([10, 20, 30, 40]) {
            let made = What::Fork {
                tid,
                tgid: PROCESS,
                image: 1,
            };
            events.push(event(at_ns, PROCESS, made));
            events.push(leaves(at_ns, 0, tid));
            events.push(leaves(at_ns + 10, tid, 0));
        }
        events.extend_from_slice(then);
        let counts = reference(&events);
        [FRONT, BACK].map(|connection| counts.get(&flow(connection)).copied().unwrap_or_default())
    }

    fn parts<const N: usize>(parts: [(Part, u64); N]) -> Parts<u64> {
        parts.into_iter().collect()
    }

    /// A request that arrives at 90 and is read at 100, and that is answered 4000 later by a thread that a timer woke.
    fn answered_by_timer(between: &[Event]) -> [Counts; 2] {
        let read = [
            leaves(60, 0, READER),
            wakes(70, READER, CALLER),
            reads(100, READER, FRONT),
            leaves(110, READER, CALLER),
        ];
        let answered = [
            wakes(4_000, 0, ANSWERER),
            leaves(4_030, 0, ANSWERER),
            sends(4_100, ANSWERER, FRONT),
        ];
        counts(&[&read[..], between, &answered].concat())
    }

    /// The thread that asks the upstream was woken before the request was there, and took it up all the same.
    #[test]
    fn a_request_that_a_call_may_have_been_for_was_not_with_whoever_answers_it() {
        let [front, back] = answered_by_timer(&[
            sends(200, CALLER, BACK),
            leaves(210, CALLER, LISTENER),
            reads(3_000, LISTENER, BACK),
            leaves(3_100, LISTENER, 0),
        ]);
        assert_eq!((back.turnarounds, back.unprompted), (0, 1));
        assert_eq!(back.answered_ns, 2_790);
        assert_eq!(front.answered_ns, 4_010);
        assert_eq!((front.turnarounds, front.unprompted), (1, 0));
        let since_woken = parts([(Part::RunQueue, 30), (Part::OnCpu, 70)]);
        assert_eq!(front.parts, since_woken);
        assert_eq!(front.unread_within_ns, 0);
    }

    /// What nobody asked an upstream for was in this process all the time.
    #[test]
    fn a_request_that_waits_for_a_timer_is_handed_over_to_the_thread_that_answers_it() {
        let [front, back] = answered_by_timer(&[leaves(210, CALLER, 0)]);
        assert_eq!(back, Counts::default());
        assert_eq!((front.turnarounds, front.handovers), (1, 1));
        assert_eq!(front.parts.total_ns(), 4_010);
        // Nor was it away when the upstream had answered before it was read.
        let [front, _] = counts(&[
            leaves(60, 0, READER),
            wakes(70, READER, CALLER),
            leaves(80, READER, CALLER),
            sends(200, CALLER, BACK),
            leaves(210, CALLER, LISTENER),
            reads(300, LISTENER, BACK),
            leaves(310, LISTENER, READER),
            reads(400, READER, FRONT),
            leaves(410, READER, 0),
            wakes(4_000, 0, ANSWERER),
            leaves(4_030, 0, ANSWERER),
            sends(4_100, ANSWERER, FRONT),
        ]);
        assert_eq!((front.turnarounds, front.handovers), (1, 1));
        assert_eq!(front.parts.total_ns(), 3_710);
    }

    /// The reader itself has asked the upstream; a timer wakes the thread that answers, and nobody tells it of anything.
    #[test]
    fn an_answer_to_a_request_that_was_passed_on_is_prompted() {
        let [front, back] = answered_by_timer(&[
            leaves(210, CALLER, READER),
            sends(300, READER, BACK),
            leaves(310, READER, LISTENER),
            reads(3_000, LISTENER, BACK),
            leaves(3_100, LISTENER, 0),
        ]);
        assert_eq!((back.turnarounds, back.unprompted), (1, 0));
        assert_eq!((front.turnarounds, front.unprompted), (1, 0));
        let since_woken = parts([(Part::RunQueue, 30), (Part::OnCpu, 70)]);
        assert_eq!(front.parts, since_woken);
    }

    /// A thread is woken with an answer, has done with it, and sleeps; what it asks the upstream for long after is for something
    /// else, for which nobody woke it with a message.
    #[test]
    fn what_a_thread_was_given_before_it_waited_is_in_doubt_where_work_goes_round_unseen() {
        let asked = [
            leaves(60, 0, CALLER),
            sends(200, CALLER, BACK),
            leaves(210, CALLER, LISTENER),
            reads(300, LISTENER, BACK),
            wakes(310, LISTENER, CALLER),
            leaves(320, LISTENER, CALLER),
            leaves(330, CALLER, READER),
        ];
        let unseen = [
            wakes(900, READER, ANSWERER),
            leaves(910, READER, ANSWERER),
            sends(1_000, ANSWERER, OTHER),
            leaves(1_010, ANSWERER, LISTENER),
            reads(1_100, LISTENER, OTHER),
            leaves(1_110, LISTENER, READER),
        ];
        let again = [
            wakes(9_000, READER, CALLER),
            leaves(9_010, READER, CALLER),
            sends(9_100, CALLER, BACK),
        ];
        let [_, back] = counts(&[&asked[..], &again].concat());
        assert_eq!((back.turnarounds, back.handovers), (1, 1));
        assert_eq!(back.parts.total_ns(), 8_810);
        let [_, back] = counts(&[&asked[..], &unseen, &again].concat());
        assert_eq!((back.turnarounds, back.handovers), (1, 0));
        let since_woken = parts([(Part::RunQueue, 10), (Part::OnCpu, 90)]);
        assert_eq!(back.parts, since_woken);
    }
}
