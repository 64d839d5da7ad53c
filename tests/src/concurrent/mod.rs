//! Services in which a request is not one thread's from beginning to end, against their own clocks.
//!
//! In: what a workload said of itself, and what Courtside said of it. Out: nothing, or a panic that says what does not hold.
//! Must not know: whether it was measured on this host or in a machine.
//!
//! Most truths are two: what a process timed itself, from after a receive to before a send, lies within what is measured;
//! and that lies within what the client timed around it, however busy the host is.
#![expect(
    clippy::unwrap_used,
    reason = "a check that cannot go on does not hold"
)]

pub mod handing;
pub mod loops;
pub mod open;
pub mod pieces;
pub mod scheduled;

use serde_json::Value;

use crate::harness::{Snapshot, list, number};

/// A kind of service, and what has to be said of it.
pub struct Kind {
    /// What holds.
    pub name: &'static str,
    /// The workload's command lines, of each of which it holds.
    pub lines: &'static [&'static str],
    holds: fn(&Run<'_>),
}

/// All of them.
pub const KINDS: [Kind; 21] = [
    handing::ANSWERED_BY_ANOTHER,
    handing::WOKEN_BY_THE_READER,
    handing::ANSWERED_BY_A_THIRD,
    handing::HANDED_ON,
    handing::LOGGED_FIRST,
    loops::WHATEVER_IS_THERE,
    loops::FOUR_AT_ONCE,
    loops::WAITS_FOR_A_TIMER,
    loops::HELD_UP,
    open::PIPELINE,
    open::BOTH_ON_THEIR_OWN,
    open::PUSHED,
    open::BY_A_CLOCK,
    open::SEVERAL_DATAGRAMS,
    open::ONE_DATAGRAM,
    open::BUSY_UDP_SERVER,
    pieces::TWO_WRITES,
    pieces::HELD_BACK,
    pieces::REPLY_IN_PIECES,
    pieces::PIECES_BOTH_WAYS,
    scheduled::ASYNCHRONOUS,
];

/// How far a time may be beside the truth: a clock is read some time before or after the kernel is told.
#[derive(Clone, Copy, Debug)]
pub struct Slack {
    /// How many times as long a call takes as on a CPU of silicon.
    pub times: u64,
    /// Of the whole, in thousandths.
    pub of_whole: u64,
}

/// On a CPU of silicon.
pub const OF_A_HOST: Slack = Slack {
    times: 1,
    of_whole: 2,
};

/// For each of what was timed: clocks are read in turn, and not for nothing.
const READING_NS: u64 = 5_000;

fn told(value: &Value, path: &str) -> u64 {
    number(value, path).unwrap()
}

/// A number that may have a fraction, or be negative.
fn real(value: &Value, path: &str) -> f64 {
    let found = value.pointer(&format!("/{path}")).and_then(Value::as_f64);
    assert!(found.is_some(), "no number at {path} in {value}");
    found.unwrap()
}

/// A workload that was measured under a name of its own: its processes are called NAME-server and so on.
pub struct Run<'a> {
    /// What Courtside said.
    pub snapshot: &'a Snapshot,
    /// What the workload said of itself.
    pub answer: &'a Value,
    /// What it was called.
    pub name: &'a str,
    /// How far times may be beside the truth.
    pub slack: Slack,
}

impl Run<'_> {
    /// Holds what was said to the truth.
    ///
    /// # Panics
    /// Where it does not hold.
    pub fn hold(&self, kind: &Kind) {
        (kind.holds)(self);
    }

    /// What is allowed where a CPU of silicon is allowed so much.
    fn allow(&self, ns: u64) -> u64 {
        ns * self.slack.times
    }

    /// Within what was timed inside and what was timed outside, `count` times.
    fn between(&self, what: &str, inside: u64, measured: u64, outside: u64, count: u64) {
        let slack = count * self.allow(READING_NS) + outside * self.slack.of_whole / 1000;
        assert!(
            inside <= measured + slack && measured <= outside + slack,
            "{what}: measured {measured}, inside {inside}, outside {outside}"
        );
    }

    /// Within 5 %, and `slack_ns` for each of `count`.
    fn close(&self, what: &str, measured: u64, truth: u64, count: u64, slack_ns: u64) {
        let allowed = truth / 20 + count * self.allow(slack_ns);
        assert!(
            measured.abs_diff(truth) <= allowed,
            "{what}: measured {measured}, truth {truth}, allowed difference {allowed}"
        );
    }

    /// At most so much, for a number that is none or next to none.
    fn small(&self, what: &str, measured: u64, most: u64) {
        assert!(measured <= most, "{what}: measured {measured}, most {most}");
    }

    fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    /// What a process said of itself.
    fn truth(&self, path: &str) -> u64 {
        told(self.answer, path)
    }

    fn component(&self, part: &str) -> &Value {
        self.snapshot.component(&self.name(part)).unwrap()
    }

    fn edge(&self, from: &str, to: &str) -> &Value {
        let (from, to) = (self.name(from), self.name(to));
        self.snapshot.edge(&from, &to).unwrap()
    }

    fn entry(&self, part: &str) -> &Value {
        self.snapshot.entry(&self.name(part)).unwrap()
    }

    /// The court of a component in the entry's requests.
    fn court<'a>(&self, entry: &'a Value, part: &str) -> &'a Value {
        let name = self.name(part);
        let is_it = |court: &&Value| self.snapshot.name(&court["component"]) == name;
        list(entry, "courts").find(is_it).unwrap()
    }

    /// How many turnarounds ended in a send to this component.
    fn sent_to(&self, from: &str, to: &str) -> u64 {
        let name = self.name(to);
        let is_it = |to: &&Value| self.snapshot.name(&to["to"]) == name;
        list(&self.component(from)["turnaround"], "by_recipient")
            .find(is_it)
            .map_or(0, |to| told(to, "count"))
    }

    /// One request at a time on each connection: counts are exact, all is timed, and nothing says it is not.
    fn is_exact(&self, from: &str, to: &str, roundtrips: u64) {
        let edge = self.edge(from, to);
        assert_eq!(told(edge, "roundtrips"), roundtrips, "{edge}");
        assert_eq!(told(edge, "latency_ns/count"), roundtrips, "{edge}");
        assert_eq!(told(edge, "service_ns/count"), roundtrips, "{edge}");
        assert_eq!(told(edge, "messages_sent"), roundtrips, "{edge}");
        assert_eq!(told(edge, "messages_received"), roundtrips, "{edge}");
        assert_eq!(told(edge, "untimed"), 0, "{edge}");
        assert_eq!(edge["lower_bound"], false, "{edge}");
        let server = self.component(to);
        assert_eq!(told(server, "requests/served"), roundtrips, "{server}");
        assert_eq!(told(server, "requests/untimed"), 0, "{server}");
    }

    /// So many turnarounds, and no send without a prompt.
    fn turns_around(&self, part: &str, count: u64) {
        let turnaround = &self.component(part)["turnaround"];
        assert_eq!(told(turnaround, "count"), count, "{turnaround}");
        assert_eq!(told(turnaround, "unprompted_count"), 0, "{turnaround}");
    }

    /// Which requests answer which cannot be told: marked, and next to nothing of it timed.
    fn is_interleaved(&self, from: &str, to: &str) {
        let edge = self.edge(from, to);
        assert_eq!(edge["lower_bound"], true, "{edge}");
        assert_eq!(self.snapshot.0["quality"]["lower_bound"], true);
        assert!(told(edge, "untimed") > 0, "{edge}");
        // What came before the first sign of it may have been timed.
        self.small("timed", told(edge, "latency_ns/count"), 2);
        self.small("timed services", told(edge, "service_ns/count"), 2);
        let server = self.component(to);
        assert!(told(server, "requests/untimed") > 0, "{server}");
        self.small(
            "timed services",
            told(server, "requests/service_ns/count"),
            2,
        );
        assert!(server["requests"]["held_ns"].is_null(), "{server}");
    }

    /// The entry's mean lies between two sums of as many requests, and nothing of it is left over.
    fn is_explained(&self, part: &str, requests: u64, inside: u64, outside: u64) -> &Value {
        let entry = self.entry(part);
        assert_eq!(told(entry, "requests"), requests, "{entry}");
        let mean_ns = real(entry, "mean_ns");
        let sum_ns = mean_ns * requests as f64;
        self.between("entry", inside, sum_ns as u64, outside, requests);
        let other_ns = real(entry, "other_ns");
        let most = 0.02 * mean_ns + self.allow(50_000) as f64;
        assert!(
            other_ns.abs() <= most,
            "other {other_ns}, most {most}: {entry}"
        );
        entry
    }
}
