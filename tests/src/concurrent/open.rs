//! Several requests open on one connection, or messages that answer nobody: a wrong time without a mark is the worst
//! there can be.

use super::{Kind, Run, told};

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

/// Several datagrams before the first answer are marked and not timed.
pub const SEVERAL_DATAGRAMS: Kind = Kind {
    name: "several datagrams before the first answer are marked and not timed",
    lines: &[
        "several-datagrams",
        "several-datagrams --ahead",
        "several-datagrams --together 5",
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
