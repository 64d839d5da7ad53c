//! Asynchronous servers: which thread does what for whom is not to be seen where workers take what is in a queue.

use super::{Kind, Run, real, told};

/// An asynchronous server is not charged what its upstream takes.
pub const ASYNCHRONOUS: Kind = Kind {
    name: "an asynchronous server is not charged what its upstream takes",
    lines: &[
        "scheduled --connections 1",
        "scheduled --connections 2",
        "scheduled --connections 8",
    ],
    holds: asynchronous,
};

/// However many are under way, the server is charged no more than what its own clocks say and the client waits for, and
/// while the upstream works the ball is not in the server's court.
fn asynchronous(run: &Run) {
    let requests = run.truth("client/latency/count");
    let latency = run.truth("client/latency/sum_ns");
    let upstream = run.truth("upstream/answer/sum_ns");
    run.is_exact("client", "server", requests);
    run.is_exact("server", "upstream", requests);
    run.turns_around("upstream", requests);
    let turnaround = &run.component("server")["turnaround"];
    let unprompted = told(turnaround, "unprompted_count");
    assert_eq!(
        told(turnaround, "count") + unprompted,
        2 * requests,
        "{turnaround}"
    );
    // Whoever answers a request does that for the request, whoever it was read by.
    assert_eq!(run.sent_to("server", "client"), requests, "{turnaround}");
    let inside = run.truth("server/on/sum_ns") + run.truth("server/back/sum_ns");
    let outside = latency - upstream;
    let total = told(turnaround, "total_ns");
    run.between("turnaround", 0, total, outside, requests);
    let entry = run.is_explained("server", requests, upstream + inside, latency);
    let court = run.court(entry, "server");
    let whole = ["unread_ns", "turnaround_ns", "held_ns"];
    let whole: f64 = whole.iter().map(|part| real(court, part)).sum();
    let whole = (whole * requests as f64) as u64;
    run.between("unread, court and held", inside, whole, outside, requests);
}
