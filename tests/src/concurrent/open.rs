//! Several requests open on one connection, or messages that answer nobody: a wrong time without a mark is the worst
//! there can be.

use super::{Kind, Run, real, told};
use crate::harness::list;

/// A pipeline is marked and not timed.
pub const PIPELINE: Kind = Kind {
    name: "a pipeline is marked and not timed",
    lines: &["pipelining"],
    holds: pipeline,
};

/// Twenty requests are always open on the one connection.
fn pipeline(run: &Run) {
    let requests = run.truth("client/latency/count");
    assert!(run.truth("client/most_open") > 2);
    run.is_interleaved("client", "server");
    let edge = run.edge("client", "server");
    assert_eq!(told(edge, "bytes_sent"), 64 * requests, "{edge}");
    assert_eq!(told(edge, "bytes_received"), 64 * requests, "{edge}");
    run.small("roundtrips", told(edge, "roundtrips"), requests);
    let entry = run.entry("server");
    let court = run.court(entry, "server");
    assert!(court["held_ns"].is_null(), "{entry}");
    assert!(entry["other_ns"].is_null(), "{entry}");
}

/// What both ends send on their own answers nobody.
pub const BOTH_ON_THEIR_OWN: Kind = Kind {
    name: "what both ends send on their own answers nobody",
    lines: &[
        "ticking --transport tcp4 --client-every 50ms --server-every 50ms",
        "ticking --transport tcp4 --client-every 17ms --server-every 41ms",
        "ticking --transport tcp4 --client-every 41ms --server-every 17ms",
        "ticking --transport unix-stream --client-every 50ms --server-every 50ms",
        "ticking --transport unix-stream --client-every 17ms --server-every 41ms",
        "ticking --transport unix-stream --client-every 41ms --server-every 17ms",
    ],
    holds: both_on_their_own,
};

/// One request for the stream and its answer; after that nobody answers anybody.
fn both_on_their_own(run: &Run) {
    let edge = run.edge("client", "server");
    for (field, truth) in [
        ("bytes_sent", "client/bytes_sent"),
        ("bytes_received", "server/bytes_sent"),
    ] {
        assert_eq!(told(edge, field), run.truth(truth), "{field}: {edge}");
    }
    run.small("timed", told(edge, "latency_ns/count"), 2);
    let marked = edge["lower_bound"] == true && told(edge, "untimed") > 0;
    assert!(marked || told(edge, "roundtrips") <= 2, "{edge}");
}

/// What a server pushes is one reply.
pub const PUSHED: Kind = Kind {
    name: "what a server pushes is one reply",
    lines: &["ticking --client-ticks 0"],
    holds: pushed,
};

/// A server that goes on sending after its answer has been asked once.
fn pushed(run: &Run) {
    let edge = run.edge("client", "server");
    assert_eq!(told(edge, "roundtrips"), 1, "{edge}");
    assert_eq!(edge["lower_bound"], false, "{edge}");
    assert_eq!(told(edge, "bytes_received"), run.truth("server/bytes_sent"));
}

/// What is sent by a clock is told as such.
pub const BY_A_CLOCK: Kind = Kind {
    name: "what is sent by a clock is told with its period",
    lines: &[
        "ticking --server-ticks 0 --client-ticks 200 --client-every 10ms",
        "ticking --server-ticks 0 --client-ticks 200 --client-every 10ms --transport unix-stream",
    ],
    holds: by_a_clock,
};

/// After the request and its answer the client sends 200 times by itself: the first time after it has read the answer.
fn by_a_clock(run: &Run) {
    let turnaround = &run.component("client")["turnaround"];
    let server = run.name("server");
    let to = list(turnaround, "unprompted_to")
        .find(|to| run.snapshot.name(&to["to"]) == server)
        .unwrap();
    let between = |what: &str| run.truth(&format!("client/between/{what}"));
    let ticks = between("count") + 1;
    // The request, and all ticks but the first.
    assert_eq!(told(to, "count"), ticks, "{to}");
    assert_eq!(told(turnaround, "unprompted_count"), ticks, "{turnaround}");
    let (sum, count) = (between("sum_ns"), between("count"));
    let gap_ns = real(to, "gap_ns");
    let measured = (gap_ns * count as f64) as u64;
    run.between("gaps", sum, measured, sum, count);
    // Times of that mean, none below 0 nor above the longest, vary by no more.
    let most = (gap_ns * (between("max_ns") as f64 - gap_ns).max(0.0)).sqrt();
    let deviation = real(to, "gap_sd_ns");
    assert!(
        deviation <= most + run.allow(50_000) as f64,
        "{to}, most {most}"
    );
}

/// Several datagrams before the first answer are marked and not timed.
pub const SEVERAL_DATAGRAMS: Kind = Kind {
    name: "several datagrams before the first answer are marked and not timed",
    lines: &[
        "several-datagrams",
        "several-datagrams --ahead",
        // More than four that nobody has read yet are booked on an address: the server may not have had a CPU by then.
        "several-datagrams --together 5 --met",
        "several-datagrams --ahead --together 3",
    ],
    holds: several_datagrams,
};

fn several_datagrams(run: &Run) {
    let edge = run.edge("client", "server");
    assert_eq!(edge["lower_bound"], true, "{edge}");
    assert!(told(edge, "untimed") > 0, "{edge}");
    run.small("timed", told(edge, "latency_ns/count"), 2);
    let sent = run.truth("client/sent");
    assert_eq!(told(edge, "bytes_sent"), 64 * sent, "{edge}");
    assert_eq!(told(edge, "bytes_received"), 64 * sent, "{edge}");
    run.small("roundtrips", told(edge, "roundtrips"), sent);
}

/// One datagram at a time is timed.
pub const ONE_DATAGRAM: Kind = Kind {
    name: "one datagram at a time is timed",
    lines: &["several-datagrams --together 1"],
    holds: one_datagram,
};

/// Datagrams of which each is answered before the next is sent are timed as ever.
fn one_datagram(run: &Run) {
    run.is_exact("client", "server", run.truth("client/sent"));
}

/// Who asks one thing at a time of a busy UDP server is counted and timed.
pub const BUSY_UDP_SERVER: Kind = Kind {
    name: "who asks one thing at a time of a busy UDP server is counted and timed",
    lines: &["resolver"],
    holds: busy_udp_server,
};

/// A UDP server answers several clients at one socket, who each wait for their answer: it cannot tell which request it
/// answers, but each client can, and what all of them count is what it served.
fn busy_udp_server(run: &Run) {
    let requests = run.truth("client/latency/count");
    assert_eq!(requests, 400);
    let edge = run.edge("client", "server");
    assert_eq!(told(edge, "roundtrips"), requests, "{edge}");
    assert_eq!(told(edge, "untimed"), 0, "{edge}");
    assert_eq!(edge["lower_bound"], false, "{edge}");
    run.between(
        "latency",
        run.truth("server/taken/sum_ns"),
        told(edge, "latency_ns/sum_ns"),
        run.truth("client/latency/sum_ns"),
        requests,
    );
    assert_eq!(told(edge, "service_ns/count"), 0, "{edge}");
    let server = run.component("server");
    assert_eq!(told(server, "requests/served"), requests, "{server}");
    assert_eq!(told(server, "requests/untimed"), requests, "{server}");
    assert_eq!(server["requests"]["lower_bound"], false, "{server}");
}
