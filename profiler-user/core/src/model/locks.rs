//! Locks: by which futexes the threads of a component slept, and who had those meanwhile.
//!
//! In: sleeps by futex of its images. Out: [`Lock`] with its [`Holder`]. Must not know: what a futex is part of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::{BELOW, EXACT, NAME, NS, NUMBER, OBJECT, TO_SCHEDSTAT, fields};
use crate::frame;

fields! {
    /// A futex by which threads slept: a lock, a condition, the end of a thread, or the place where a thread of a pool is parked.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Lock {
        /// Where its word lies in the memory of the process, hexadecimal: 0x and digits.
        address: String [NAME, EXACT; note "As the sleeper's system call names it. Calls that wait for several futexes at once are in `waits` only"];
        /// The process whose threads slept.
        tgid: u32 [NUMBER, EXACT];
        /// Sleeps that ended.
        waits: u64 [NUMBER, EXACT; note "One that goes on when the window ends is told when it ends"];
        /// For how long they were.
        wait_ns: u64 [NS, TO_SCHEDSTAT; note "Of what began in an earlier window only what lies in this one"];
        /// Of `wait_ns`: while the thread had a message to answer, which it had read or been given before.
        with_ball_ns: u64 [NS, TO_SCHEDSTAT; note "What a thread holds is known as for turnarounds"];
        /// The thread that had it for most of `wait_ns`, as wake-ups tell: until a thread wakes a sleeper, it has had the futex since
        /// another one woke one. Null where no thread of the process woke any, such as after timeouts.
        holder: Option<Holder> [OBJECT, BELOW; prefix "holder_", note "Of a lock it is who held it, of a condition who gave the sign, of a thread that ended that thread. Who took a lock while it was free and let it go before anybody slept is not told. Further back than the last 8 wake-ups of other threads than the one before it is nobody"];
    }
}

fields! {
    /// A thread that had a futex for which others waited.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Holder {
        /// Id of the thread that had it.
        tid: u32 [NUMBER, EXACT];
        /// Name of the thread that had it, as it was when it first woke a sleeper.
        comm: String [NAME, EXACT];
        /// Of the lock's wait_ns: while this thread had it.
        wait_ns: u64 [NS, TO_SCHEDSTAT];
    }
}

impl Lock {
    /// As the kernel told it.
    pub(super) fn of(lock: &frame::Lock) -> Self {
        Self {
            address: format!("{:#x}", lock.address),
            tgid: lock.tgid,
            waits: lock.waits,
            wait_ns: lock.wait_ns,
            with_ball_ns: lock.with_ball_ns,
            holder: lock.holders.first().map(|holder| Holder {
                tid: holder.tid,
                comm: holder.comm.clone(),
                wait_ns: holder.wait_ns,
            }),
        }
    }
}
