//! A process of a parallel application: how fast it goes round, whose court the ball is in, where its time goes.
//!
//! In: nothing (plain data). Out: what file and screen show. Must not know: how anything is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A thread group: an MPI rank, a worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Name and number, `rank3/4711`.
    pub id: String,
    /// Name of its leader, as far as it is known.
    pub name: String,
    /// Its number.
    pub tgid: u32,
    /// Component id.
    pub component: String,
    /// Threads seen.
    pub threads: u64,
    /// How often it goes round.
    pub iterations: Iterations,
    /// What repeats beyond single iterations; null where nothing does, or where it cannot be told (`period_unknown`).
    pub period: Option<Period>,
    /// Why period is null.
    pub period_unknown: Option<String>,
    /// How long the ball was in its court.
    pub court: Court,
    /// Where the time of its threads went.
    pub time: Time,
    /// It receives without ever going to sleep: what it does while it waits is CPU time, and cannot be told from work.
    pub polls: bool,
    /// Time by which its messages were there before they were needed: of each burst of sends the least, all bursts together.
    /// So much later it could have sent all of them. Null where nothing could be simulated, or the self-check is off by more than 5 %.
    pub slack_ns: Option<u64>,
    /// Its share of the critical path, the chain of segments and messages that decides how long the run takes. Null as slack_ns.
    pub critical_share: Option<f64>,
}

/// How often a process goes round, by three rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Iterations {
    /// Sends that come more than factor times the round-trip time after the one before, with a receive between (RIR). Null
    /// where the kernel's round-trip time is not known.
    pub by_gap: Option<ByGap>,
    /// Receives that put the thread to sleep, followed by a send. Null for a process that polls.
    pub by_blocking: Option<ByBlocking>,
    /// Sends on the same connection after something was received since the last one on it: the connection that has most. It
    /// needs no constant, and leads. Null where the process only sends, or only receives.
    pub by_turn: Option<ByTurn>,
    /// Rate of the iterations by turn over time.
    pub series: Series,
    /// `[rate, share of windows with at most this rate]`, ascending.
    pub cdf: Vec<(f64, f64)>,
    /// Whether the first half goes as fast as the second: the means of their windows differ by less than 5 %, or by less than
    /// three standard errors. Null with fewer than 20 windows.
    pub stationary: Option<bool>,
    /// Frequency below which 95 % of the energy of the series is; null where it does not vary or is too short. Sample at 5 to 10
    /// times of it.
    pub cutoff_hz: Option<f64>,
    /// Why something above is null, in words.
    pub unknown: Option<String>,
}

/// Iterations by gaps between sends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ByGap {
    /// How many.
    pub count: u64,
    /// How many a second, from the application's first message to its last.
    pub mean_per_s: f64,
    /// How many round-trip times a gap has to be longer than.
    pub factor: f64,
    /// The round-trip time: the smallest that the kernel knew of its connections.
    pub floor_ns: u64,
}

/// Iterations by receives that block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ByBlocking {
    /// How many; a lower bound where CPUs are shared, since messages are often there already.
    pub count: u64,
    /// How many a second.
    pub mean_per_s: f64,
}

/// Iterations by turns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ByTurn {
    /// How many.
    pub count: u64,
    /// How many a second.
    pub mean_per_s: f64,
}

/// A rate over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// Time from one value to the next.
    pub step_ns: u64,
    /// Time that each value is the mean of.
    pub window_ns: u64,
    /// The rates.
    pub rates_per_s: Vec<f64>,
}

/// What repeats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Period {
    /// Length.
    pub period_ns: f64,
    /// Uncertainty of it: the frequency is known to 1 / (time measured).
    pub resolution_ns: f64,
    /// From 0 to 1: how far the peak stands out, as FTIO computes it.
    pub confidence: f64,
    /// The strongest frequencies, `[hz, share of all energy]`: what to tell this application's phases by.
    pub fingerprint: Vec<(f64, f64)>,
}

/// How long the ball was in a process's court.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Court {
    /// Time between two messages of which the second is its own, all together. A message that arrives meanwhile starts the time
    /// again.
    pub packet_rule_ns: u64,
    /// Time from the arrival of the last message that it read before a send, or from its last send if that was later, to the
    /// send.
    pub queue_corrected_ns: u64,
    /// The same by who received the send that ended it.
    pub by_recipient: Vec<CourtTo>,
}

/// Court time by recipient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CourtTo {
    /// Process id, or `outside`.
    pub to: String,
    /// By the packet rule.
    pub packet_rule_ns: u64,
    /// Queue-corrected.
    pub queue_corrected_ns: u64,
}

/// Where the time of a process's threads went. All parts that are not null, with those of receive_wait, sum to
/// wall_ns x threads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Time {
    /// How long its threads were there, on average; that of a process with one thread is its own.
    pub wall_ns: u64,
    /// On a CPU.
    pub on_cpu_ns: u64,
    /// Of that, waiting without sleep: from the first of several looks in vain to the arrival of the message that was read next.
    /// Null unless recorded with --polls.
    pub spin_ns: Option<u64>,
    /// Runnable without a CPU, and not held back by a quota of its own.
    pub run_queue_ns: u64,
    /// Runnable, and held back by a CPU quota of its own. Null where that is not told: then it is in `run_queue_ns`, as it is
    /// in traces and in what no_run_queue takes away.
    pub throttled_ns: Option<u64>,
    /// Waiting for a disk.
    pub block_io_ns: u64,
    /// Asleep until a thread of its own process woke it, and not for a message: a lock, most often.
    pub lock_ns: u64,
    /// Asleep within a send: no room at the other end.
    pub send_wait_ns: u64,
    /// Any other sleep (timers, children, accept), and what the events do not tell.
    pub other_ns: u64,
    /// Asleep until a message came, by who sent it.
    pub receive_wait: Vec<ReceiveWait>,
}

impl Time {
    /// Asleep until messages came, all together, and for whose most.
    #[must_use]
    pub fn waits(&self) -> (u64, Option<&str>) {
        let all = self.receive_wait.iter().map(ReceiveWait::all_ns);
        let most = self.receive_wait.iter().max_by_key(|wait| wait.all_ns());
        let most = most.filter(|wait| wait.all_ns() > 0);
        let all_ns = all.fold(0, u64::saturating_add);
        (all_ns, most.map(|wait| wait.from.as_str()))
    }
}

impl ReceiveWait {
    /// All of it.
    #[must_use]
    pub fn all_ns(&self) -> u64 {
        let ns = self.not_sent_ns.saturating_add(self.in_flight_ns);
        ns.saturating_add(self.transfer_ns)
    }
}

/// Waiting for a process's messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReceiveWait {
    /// Process id, or `outside`.
    pub from: String,
    /// Before the other one had begun to send: it holds this one up. For `outside` all of it.
    pub not_sent_ns: u64,
    /// From the begin of the send until the message woke the thread.
    pub in_flight_ns: u64,
    /// For the rest of a message of which a part had come.
    pub transfer_ns: u64,
}
