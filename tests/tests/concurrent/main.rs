//! Services in which a request is not one thread's from beginning to end, against their own clocks.
//!
//! Most truths are two: what a process timed itself, from after a receive to before a send, lies within what is measured;
//! and that lies within what the client timed around it, however busy the host is.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod handing;
mod loops;
mod open;
mod pieces;
mod scheduled;

use courtside_tests::harness::{Host, Measured, list, number};
use serde_json::Value;

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

/// Within what was timed inside and what was timed outside, `count` times.
fn between(what: &str, inside: u64, measured: u64, outside: u64, count: u64) {
    let slack = count * READING_NS + outside / 500;
    assert!(
        inside <= measured + slack && measured <= outside + slack,
        "{what}: measured {measured}, inside {inside}, outside {outside}"
    );
}

/// Within 5 %, and `slack_ns` for each of `count`.
fn close(what: &str, measured: u64, truth: u64, count: u64, slack_ns: u64) {
    let allowed = truth / 20 + count * slack_ns;
    assert!(
        measured.abs_diff(truth) <= allowed,
        "{what}: measured {measured}, truth {truth}, allowed difference {allowed}"
    );
}

/// At most so much, for a number that is none or next to none.
fn small(what: &str, measured: u64, most: u64) {
    assert!(measured <= most, "{what}: measured {measured}, most {most}");
}

/// A workload, measured under a name of its own: its processes are called NAME-server and so on.
struct Run {
    measured: Measured,
    name: String,
}

impl Run {
    fn of(arguments: &[&str]) -> Self {
        let host = Host::take().unwrap();
        let name = host.tag();
        let arguments = [arguments, &["--name", &name]].concat();
        let measured = host.measure(&arguments).unwrap();
        assert_eq!(measured.snapshot.lost_counts(), []);
        Self { measured, name }
    }

    fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    /// What a process said of itself.
    fn truth(&self, path: &str) -> u64 {
        told(&self.measured.answer, path)
    }

    fn component(&self, part: &str) -> &Value {
        self.measured.snapshot.component(&self.name(part)).unwrap()
    }

    fn edge(&self, from: &str, to: &str) -> &Value {
        let (from, to) = (self.name(from), self.name(to));
        self.measured.snapshot.edge(&from, &to).unwrap()
    }

    fn entry(&self, part: &str) -> &Value {
        self.measured.snapshot.entry(&self.name(part)).unwrap()
    }

    /// The court of a component in the entry's requests.
    fn court<'a>(&self, entry: &'a Value, part: &str) -> &'a Value {
        let name = self.name(part);
        let is_it = |court: &&Value| self.measured.snapshot.name(&court["component"]) == name;
        list(entry, "courts").find(is_it).unwrap()
    }

    /// How many turnarounds ended in a send to this component.
    fn sent_to(&self, from: &str, to: &str) -> u64 {
        let name = self.name(to);
        let is_it = |to: &&Value| self.measured.snapshot.name(&to["to"]) == name;
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
        assert_eq!(self.measured.snapshot.0["quality"]["lower_bound"], true);
        assert!(told(edge, "untimed") > 0, "{edge}");
        // What came before the first sign of it may have been timed.
        small("timed", told(edge, "latency_ns/count"), 2);
        small("timed services", told(edge, "service_ns/count"), 2);
        let server = self.component(to);
        assert!(told(server, "requests/untimed") > 0, "{server}");
        small(
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
        between("entry", inside, sum_ns as u64, outside, requests);
        let other_ns = real(entry, "other_ns");
        let most = 0.02 * mean_ns + 50_000.0;
        assert!(
            other_ns.abs() <= most,
            "other {other_ns}, most {most}: {entry}"
        );
        entry
    }
}
