//! What a component used, served and kept: the fields of a component.
//!
//! In: what [`super::super::components`] added up for a component. Out: [`Component`] and its parts. Must not know: edges,
//! entries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ComponentKind, Dist, HeldUnknown};
use crate::frame::{self, Process};
use crate::model::blame::{self, Blame};
use crate::model::components::{Sums, TurnaroundSum, UnpromptedSum, share};
use crate::model::directory::{Directory, Identity};
use crate::model::fields::{
    BELOW, BOUNDED, BYTES, EXACT, LEFT, NAME, NS, NUMBER, OBJECT, RATIO, SCALED, SUM, TO_SCHEDSTAT,
    UNSCALED, YES, fields,
};
use crate::model::locks::Lock;
use crate::parts::Parts;

/// Why polls and yields are not known.
const WITHOUT_POLLS: &str = "polls and yields are counted only with --polls, since that slows every system call of the host; whoever waits by those spins for longer than spin_ns says";

fields! {
    /// What a user thinks of as one service.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct Component from (sum: &Sums, who: &Identity, names: &Directory) {
        /// Key; what `component`, `from` and `to` hold elsewhere: `program:web`, `unit:nginx.service`, `remote:10.0.0.5:443`.
        id: String [NAME, EXACT] = who.id.clone();
        /// Name for people.
        name: String [NAME, EXACT]
        => { NAME "COMPONENT" "service: unit, container, program or remote end" }
        = who.name.clone();
        /// What it is: `unit`, `container`, `program` or `remote`.
        kind: ComponentKind [NAME, EXACT]
        => { KIND "KIND" "what it is known by" }
        = who.kind;
        /// Its processes: `tgid` and `comm` of each.
        processes: Vec<Process> [OBJECT, EXACT]
        => { PROCESSES "PROCESSES" "processes it consists of" }
        = who.processes.clone();
        /// Threads that were on a CPU; null where that was not recorded.
        threads: Option<u64> [NUMBER, EXACT; note "Of several windows as one, the most in one of them", last] = sum.cpu.threads;
        /// What its threads slept for, with or without the ball; adds up to the sleep of all of them. Null where that is not
        /// measured.
        waits: Option<Waits> [OBJECT, BELOW; note "Null in older recordings and in windows that are made of single events", prefix "waits_", last]
        = sum.cpu.waits.as_ref().map(Waits::of);
        /// How often its threads looked for messages in vain, instead of sleeping until one comes. Null where receives are not
        /// measured.
        polls: Option<Polls> [OBJECT, BELOW; note "Null in older recordings and in windows that are made of single events", prefix "polls_", last]
        = sum.cpu.polls.as_ref().map(Polls::of);
        /// The futexes that its threads waited for longest, at most 16: those first that they waited for with a message to answer.
        /// Null where that is not measured.
        #[serde(default)]
        locks: Option<Vec<Lock>> [OBJECT, BELOW; note "Null where `waits` is, and in recordings of before it was measured"]
        = sum.cpu.locks.as_ref().map(|locks| locks.iter().map(Lock::of).collect());
        /// CPU time.
        cpu: Cpu [OBJECT, BELOW; prefix ""] = Cpu::of(&sum.cpu, names);
        /// Hardware counters; null where they do not count.
        counters: Option<Counters> [OBJECT, BELOW; prefix ""] = sum.cpu.counters.as_ref().map(Counters::of);
        /// Block I/O.
        disk: Disk [OBJECT, BELOW; prefix "disk_"] = Disk::of(&sum.disk, names, &who.id);
        /// Requests it served as acceptor.
        requests: Requests [OBJECT, BELOW; prefix "requests_"] = Requests::of(sum);
        /// How long it kept the ball.
        turnaround: Turnaround [OBJECT, BELOW; prefix "turnaround_"] = Turnaround::of(sum, names);
    }
}

fields! {
    /// CPU time.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Cpu from (sum: &frame::Cpu, names: &Directory) {
        /// Time its threads were on a CPU, with or without the ball.
        on_cpu_ns: u64 [NS, TO_SCHEDSTAT]
        => { ON_CPU "ON-CPU" "time on a CPU; 100% is one core" }
        = sum.on_cpu_ns;
        /// Time they were runnable without a CPU.
        run_queue_ns: u64 [NS, TO_SCHEDSTAT]
        => { RUN_QUEUE "RUNQ" "time runnable without a CPU, all threads together" }
        = sum.run_queue_ns;
        /// Time they waited for the block layer; threads side by side add up.
        block_io_ns: u64 [NS, TO_SCHEDSTAT; note "Uninterruptible waits only. May exceed the window"]
        => { BLOCK_IO "BLOCKED" "time its threads waited on the block layer; 100% is one thread" }
        = sum.block_io_ns;
        /// Context switches they asked for.
        voluntary_switches: u64 [NUMBER, EXACT]
        => { VOLUNTARY "VOL/s" "switches per second that its threads asked for, by waiting" }
        = sum.voluntary_switches;
        /// Context switches forced on them.
        involuntary_switches: u64 [NUMBER, EXACT]
        => { INVOLUNTARY "INVOL/s" "switches per second forced on its threads" }
        = sum.involuntary_switches;
        /// Time they were runnable and held back by a CPU quota of their own control group. It is not part of `run_queue_ns`.
        /// Within turnarounds it is `turnaround.throttled_ns`. Null where it is not measured.
        throttled_ns: Option<u64> [NS, TO_SCHEDSTAT; note "Of what both a quota and others held back, the quota's share. Null in recordings of before it was measured and in windows that are made of single events: there it is in `run_queue_ns`", last]
        => { THROTTLED "QUOTA" "time runnable and held back by a CPU quota of its own" }
        = sum.throttled_ns;
        /// Whom the CPUs were given to while its threads were runnable; adds up to `run_queue_ns`. Null where it was not
        /// recorded: in older recordings, and in windows that are made of single events.
        run_queue_by: Option<Vec<Blame>> [OBJECT, BELOW; note "`idle`: the CPU was idle, on the way to it. `unknown`: the wait had not ended with the window, lay further back than the last 16 runs of a CPU, or found no room in the map of pairs"]
        = (sum.run_queue_ns == 0 || !sum.run_queue_by.is_empty())
            .then(|| blame::by_component(sum.run_queue_ns, &sum.run_queue_by, names));
    }
}

fields! {
    /// Sleep, by what it was for. Idle threads sleep, too: those of a pool for a lock (the futex by which they are given work),
    /// event loops for messages.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Waits from (sum: &frame::Waits) {
        /// For a lock, a condition, or work from another thread: by a futex.
        lock_ns: u64 [NS, TO_SCHEDSTAT] = sum.lock_ns;
        /// For a timer that the thread asked for (nanosleep).
        timer_ns: u64 [NS, TO_SCHEDSTAT] = sum.timer_ns;
        /// For a message that arrived meanwhile and was the next one that the thread read.
        socket_ns: u64 [NS, TO_SCHEDSTAT; note "Told when the message is read; what of the wait lay in earlier windows is in `other_ns` there"] = sum.socket_ns;
        /// For a pipe; null, since no kernel tells it at no cost: it is in `other_ns`.
        pipe_ns: Option<u64> [NS, TO_SCHEDSTAT] = None;
        /// For memory to be read from a disk; null, since it is in `block_io_ns` as far as it waits for a disk.
        page_fault_ns: Option<u64> [NS, TO_SCHEDSTAT] = None;
        /// For anything else: pipes, events, other processes, timeouts of event loops.
        other_ns: u64 [NS, TO_SCHEDSTAT] = sum.other_ns;
    }
}

fields! {
    /// Looks for messages in vain.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Polls from (sum: &frame::Polls) {
        /// Receives on TCP, UDP and Unix sockets that found nothing (EAGAIN), timeouts of receives among them. Who reads until nothing
        /// is left has one after each message.
        empty_receives: u64 [NUMBER, EXACT; note "recvmmsg that takes less than it could, and a receive of io_uring that has to wait, look once in vain, too"] = sum.empty_receives;
        /// Polls that were not to wait (poll, select, epoll_wait and the like with timeout 0), and found nothing. Null without
        /// `--polls`: seeing them slows every system call of the host.
        zero_timeout_polls: Option<u64> [NUMBER, EXACT; note "Without those of 32-bit programs"] = sum.zero_timeout_polls;
        /// Calls of sched_yield. Null without `--polls`.
        yields: Option<u64> [NUMBER, EXACT; note "Without those of 32-bit programs"] = sum.yields;
        /// Time on a CPU from the first look in vain after a send or receive to the arrival of the message that was read next, where
        /// there were at least two such looks. It counts in the window in which that message was read, also what lay in earlier ones;
        /// if something was sent before, or nothing was read, it does not count.
        spin_ns: u64 [NS, TO_SCHEDSTAT; note "What a thread works between two looks counts, too. Where `lower_bound` is true it is at least this"] = sum.spin_ns;
        /// Polls and yields were not seen (`--polls`): `spin_ns` is of threads that look by receives.
        lower_bound: bool [YES, EXACT] = sum.zero_timeout_polls.is_none();
        /// Why numbers above are null; null where none is.
        reason: Option<String> [NAME, EXACT; column ""]
        = sum.zero_timeout_polls.is_none().then(|| WITHOUT_POLLS.to_owned());
    }
}

fields! {
    /// Hardware counters, scaled by enabled/running.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct Counters from (sum: &frame::Counters) {
        /// CPU cycles; null where the machine has no counters.
        cycles: u64 [NUMBER, SCALED] = sum.cycles;
        /// Retired instructions.
        instructions: u64 [NUMBER, SCALED; note "Counted together with the cycles"]
        => { INSTRUCTIONS "INSTR/s" "instructions retired per second" }
        = sum.instructions;
        /// Last-level cache references.
        llc_references: Option<u64> [NUMBER, SCALED; note "Null where not offered"] = sum.llc_references;
        /// Last-level cache misses.
        llc_misses: Option<u64> [NUMBER, SCALED; note "Null where not offered"] = sum.llc_misses;
        /// Cycles divided by instructions.
        cpi: Option<f64> [RATIO, SCALED]
        => { CPI "CPI" "cycles per instruction; - where no counter counts" }
        = share(sum.cycles, sum.instructions);
        /// Share of the time the counters counted.
        running_ratio: Option<f64> [RATIO, SCALED; column "counters_running_ratio"]
        = share(sum.running_ns, sum.enabled_ns).map(|ratio| ratio.min(1.0));
    }
}

fields! {
    /// Block I/O.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Disk from (sum: &frame::Disk, names: &Directory, own: &str) {
        /// Read requests completed.
        reads: u64 [NUMBER, EXACT; note "Charged to the task that started them"]
        => { READS "READS/s" "read requests per second at the block layer" }
        = sum.reads;
        /// Write requests completed.
        writes: u64 [NUMBER, EXACT; note "Flushes and discards move no data and are not counted"]
        => { WRITES "WRITES/s" "write requests per second at the block layer" }
        = sum.writes;
        /// Bytes read.
        read_bytes: u64 [BYTES, EXACT]
        => { READ "READ/s" "bytes read per second" }
        = sum.read_bytes;
        /// Bytes written; what the kernel writes back later is charged to `kernel`.
        write_bytes: u64 [BYTES, EXACT]
        => { WRITTEN "WRITE/s" "bytes written per second" }
        = sum.write_bytes;
        /// Start in the block layer to completion.
        latency_ns: Dist [NS, BELOW; note "Includes the queue of the device"]
        => {
            P50 "p50" "latency, start in the block layer to completion: half are faster",
            P99 "p99" "latency: 99 in 100 are faster",
            MAX "MAX" "the slowest request of the window",
        }
        = (&sum.latency).into();
        /// Behind whose requests its own waited, at most: those had been started before on the same device, and were not complete.
        /// A part of `latency_ns`. Null where that is not measured.
        #[serde(default)]
        queued_behind: Option<Vec<Blame>> [OBJECT, BELOW; note "At most: a device may work on several requests at once. Of a request that was started before and is told as complete later nothing is in it. `unknown`: it lay further back than the last 32 requests of the device, a task without a name had started them, or there was no room in the map of pairs. Null in older recordings and in windows that are made of single events"]
        = (sum.reads == 0 && sum.writes == 0 || sum.queued_behind.is_some())
            .then(|| blame::behind(sum.queued_behind.as_deref().unwrap_or_default(), names, own));
    }
}

fields! {
    /// Requests served.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Requests from (sum: &Sums) {
        /// Requests served as acceptor: messages that were answered, those of handshakes (TLS, a login), too.
        served: u64 [NUMBER, BOUNDED]
        => { SERVED "REQ/s" "requests served per second, handshakes (TLS, logins) among them; ≥ is a lower bound" }
        = sum.served;
        /// Of them in no distribution: several were open at once on their connection.
        #[serde(default)]
        untimed: u64 [NUMBER, EXACT] = sum.untimed;
        /// The count of those served is a lower bound: several were open at once, a connection was older than the attach,
        /// or clients got more answers.
        #[serde(default)]
        lower_bound: bool [YES, EXACT] = sum.lower_bound;
        /// Arrival of a request to first send of its reply.
        service_ns: Dist [NS, BELOW; column "service",
            note "The send is timed at the start of the call for TCP, at its delivery for Unix sockets"]
        => {
            P50 "SVC p50" "service time, arrival of a request to its reply: half are faster",
            P99 "p99" "service time: 99 in 100 are faster",
        }
        = (&sum.service).into();
        /// Arrival of a request to its first read.
        queued_ns: Dist [NS, BELOW; column "queued",
            note "*Unread*, also while the threads were busy with other requests; 0 if the kernel did not show the arrival"]
        => { UNREAD "UNREAD" "mean time a request lay unread, also while the threads were busy with other requests" }
        = (&sum.queued).into();
        /// Time that requests were read and waited inside the component while its threads did other things: service minus
        /// unread, turnaround and latency of its calls, as sums over the window. Unread time within turnarounds counts once.
        /// Negative if it calls in parallel; null if it serves no requests, or if held_unknown says why.
        #[serde(default)]
        held_ns: Option<i64> [NS, LEFT; column "held_ns"]
        => { HELD "HELD" "of a request's service time: read, and waiting inside while the threads did other things; negative if calls run in parallel" }
        = sum.held_ns();
        /// Why held_ns is not known: `untimed_requests`, `untimed_calls` (several were open at once on a connection),
        /// `unseen_requests`, `unseen_calls` (the other end counts more, or latency is not known) or `not_recorded` (the
        /// recording is by a version that did not measure unread time).
        #[serde(default)]
        held_unknown: Option<HeldUnknown> [NAME, EXACT; column "held_unknown"] = sum.held_unknown();
    }
}

fields! {
    /// How long a component kept the ball.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct Turnaround from (sum: &Sums, names: &Directory) {
        /// Turnarounds.
        count: u64 [NUMBER, EXACT] = sum.turnaround.count;
        /// Their sum: that of the parts.
        total_ns: u64 [NS, EXACT] = sum.turnaround.total_ns();
        /// What it is made of.
        #[serde(flatten)]
        parts: Parts<u64> [NS, SUM; prefix ""]
        => { PARTS "PARTS" "what the turnaround is made of" }
        = sum.turnaround.parts;
        /// Whether `throttled_ns` of turnarounds is told. If not it is 0, and what a quota held back is in `run_queue_ns`: in
        /// recordings of before it was a part, and where the kernel does not show it.
        #[serde(default)]
        throttled_told: bool [YES, EXACT; note "In windows that are made of single events, as in the recorded ones", last] = sum.tells_throttled;
        /// Of its sleep: for a lock or for what another thread was to do (a futex). Null where that is not measured.
        lock_ns: Option<u64> [NS, SUM; note "Null in older recordings and in windows that are made of single events", last]
        = sum.cpu.waits.map(|_| sum.turnaround.lock_ns);
        /// Sends that no message prompted.
        unprompted_count: u64 [NUMBER, EXACT; column "unprompted_count"] = sum.unprompted_count;
        /// Sum of the gaps before those; not part of the turnaround.
        unprompted_ns: u64 [NS, EXACT; column "unprompted_ns"] = sum.unprompted_ns;
        /// Single turnarounds.
        each_ns: Dist [NS, BELOW; last]
        => { MEAN "TURNAROUND" "mean time the ball is in its court, arrival of a message to its next send" }
        = (&sum.turnaround.each).into();
        /// What the CPU did in them; null unless `--pmu-turnaround` asked for it.
        counters: Option<TurnaroundCounters> [OBJECT, BELOW; prefix ""] = sum.turnaround.counters();
        /// The same by recipient of the send that ended it.
        by_recipient: Vec<Recipient> [OBJECT, BELOW] = sum.by_recipient.iter()
            .map(|(&to, sum)| Recipient::of(&names.identities[to].id, sum))
            .collect();
        /// Sends that no message prompted, by recipient. Absent in older versions.
        #[serde(default)]
        unprompted_to: Vec<Unprompted> [OBJECT, BELOW] = sum.unprompted_to.iter()
            .map(|(&to, sum)| Unprompted::of(&names.identities[to].id, sum))
            .collect();
    }
}

fields! {
    /// Sends to one recipient that no message prompted: timers, heartbeats, generators.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct Unprompted from (to: &str, sum: &UnpromptedSum) {
        /// Component id of the recipient.
        to: String [NAME, EXACT] = to.to_owned();
        /// Sends.
        count: u64 [NUMBER, EXACT] = sum.count;
        /// Mean time from a thread's send before, to whomever, to such a send. Null if nothing came before any, and in older recordings.
        gap_ns: Option<f64> [NS, BELOW] = sum.gap_ns();
        /// Standard deviation of these times: small where they are sent by a clock. Times of more than a minute count as one.
        gap_sd_ns: Option<f64> [NS, BELOW] = sum.gap_sd_ns();
    }
}

fields! {
    /// Cycles and instructions of the on-CPU part of turnarounds: more cycles at the same CPI is more work, a higher CPI is
    /// a slower CPU. A thread that was on its CPU when the message arrived is counted from the read on. Not scaled where
    /// counters are multiplexed; the CPI needs no scale.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct TurnaroundCounters from (sum: frame::TurnaroundCounters) {
        /// CPU cycles while it had the ball; null without --pmu-turnaround.
        cycles: u64 [NUMBER, UNSCALED] = sum.cycles;
        /// Instructions retired while it had the ball.
        instructions: u64 [NUMBER, UNSCALED] = sum.instructions;
        /// Cycles divided by instructions of these.
        cpi: Option<f64> [RATIO, UNSCALED] = share(sum.cycles, sum.instructions);
    }
}

fields! {
    /// Turnarounds that ended in a send to one recipient.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct Recipient from (to: &str, sum: &TurnaroundSum) {
        /// Component id of the recipient of the send that ended them.
        to: String [NAME, EXACT]
        => { TO "RECIPIENT" "who received the send that ended the turnaround" }
        = to.to_owned();
        /// Turnarounds.
        count: u64 [NUMBER, EXACT]
        => { COUNT "COUNT/s" "turnarounds per second" }
        = sum.count;
        /// Their sum: that of the parts.
        total_ns: u64 [NS, EXACT] = sum.total_ns();
        /// What it is made of.
        #[serde(flatten)]
        parts: Parts<u64> [NS, SUM; prefix ""]
        => { PARTS "PARTS" "what the turnaround is made of" }
        = sum.parts;
        /// Single turnarounds.
        each_ns: Dist [NS, BELOW; last]
        => {
            MEAN "MEAN" "mean turnaround",
            P50 "p50" "half are shorter",
            P99 "p99" "99 in 100 are shorter",
        }
        = (&sum.each).into();
        /// What the CPU did in them; null unless `--pmu-turnaround` asked for it.
        counters: Option<TurnaroundCounters> [OBJECT, BELOW; prefix ""] = sum.counters();
    }
}
