//! Messages in pieces.

use super::{Kind, Run, told};

/// A request in two writes is received for as long as it takes.
pub const TWO_WRITES: Kind = Kind {
    name: "a request in two writes is received for as long as it takes",
    lines: &["in-pieces", "in-pieces --transport unix-stream --pieces 3"],
    holds: requests_in_pieces,
};

/// A request that Nagle holds back is received for as long as it takes.
pub const HELD_BACK: Kind = Kind {
    name: "a request that Nagle holds back is received for as long as it takes",
    lines: &["in-pieces --nagle --wait 0ms"],
    holds: requests_in_pieces,
};

/// A request in pieces is one request. The time from its first to its last byte is told apart from the time to answer it.
fn requests_in_pieces(run: &Run) {
    let requests = run.truth("client/latency/count");
    run.is_exact("client", "server", requests);
    run.turns_around("server", requests);
    let (turn, to_reply) = (
        run.truth("server/turn/sum_ns"),
        run.truth("client/to_reply/sum_ns"),
    );
    let server = run.component("server");
    let turnaround = &server["turnaround"];
    let total = told(turnaround, "total_ns");
    run.between("turnaround", turn, total, to_reply, requests);
    let service = told(server, "requests/service_ns/sum_ns");
    run.between("service", turn, service, to_reply, requests);
    let (receiving, in_pieces) = (
        run.truth("server/receiving/sum_ns"),
        run.truth("server/receiving/count"),
    );
    let part = told(turnaround, "receiving_ns");
    run.close("receiving", part, receiving, in_pieces, 200_000);
    run.small("sleep", told(turnaround, "sleep_ns"), total / 20);
    run.small("queued", told(turnaround, "queued_ns"), total / 20);
    let edge = run.edge("client", "server");
    let pieces = &edge["receiving_ns"];
    assert_eq!(told(pieces, "count"), in_pieces, "{edge}");
    run.close(
        "pieces",
        told(pieces, "sum_ns"),
        receiving,
        in_pieces,
        200_000,
    );
    // From the last send of a request to its reply.
    let latency = told(edge, "latency_ns/sum_ns");
    let (inside, outside) = (
        run.truth("server/answer/sum_ns"),
        run.truth("client/latency/sum_ns"),
    );
    run.between("latency", inside, latency, outside, requests);
    run.is_explained("server", requests, turn, to_reply);
}

/// A reply in pieces is one reply.
pub const REPLY_IN_PIECES: Kind = Kind {
    name: "a reply in pieces is one reply",
    lines: &[
        "in-pieces --whose server --pieces 3 --transport tcp4",
        "in-pieces --whose server --pieces 3 --transport unix-stream",
    ],
    holds: reply_in_pieces,
};

/// A reply in pieces is one reply. Its first byte is what ends the roundtrip.
fn reply_in_pieces(run: &Run) {
    let requests = run.truth("client/latency/count");
    run.is_exact("client", "server", requests);
    let (inside, outside) = (
        run.truth("server/turn/sum_ns"),
        run.truth("client/latency/sum_ns"),
    );
    let server = run.component("server");
    let turnaround = &server["turnaround"];
    assert_eq!(told(turnaround, "count"), requests, "{turnaround}");
    let total = told(turnaround, "total_ns");
    run.between("turnaround", inside, total, outside, requests);
    let edge = run.edge("client", "server");
    let latency = told(edge, "latency_ns/sum_ns");
    run.between("latency", inside, latency, outside, requests);
    let (receiving, in_pieces) = (
        run.truth("client/receiving/sum_ns"),
        run.truth("client/receiving/count"),
    );
    assert_eq!(in_pieces, requests);
    // Nobody can tell that the last one is whole: the client sends nothing after it.
    let most = receiving + in_pieces * run.allow(200_000);
    let least = receiving * (requests - 1) / requests * 9 / 10;
    let within = |what: &str, part: u64| {
        assert!(
            (least..=most).contains(&part),
            "{what}: {part} of {least} to {most}"
        );
    };
    let pieces = &edge["receiving_ns"];
    let whole = requests - 1..=requests;
    assert!(whole.contains(&told(pieces, "count")), "{edge}");
    within("pieces", told(pieces, "sum_ns"));
    let turnaround = &run.component("client")["turnaround"];
    within("the client's", told(turnaround, "receiving_ns"));
    run.is_explained("server", requests, inside, outside);
}

/// Pieces both ways are not timed.
pub const PIECES_BOTH_WAYS: Kind = Kind {
    name: "pieces both ways are not timed",
    lines: &[
        "in-pieces --whose both --transport tcp4",
        "in-pieces --whose both --transport unix-stream",
    ],
    holds: pieces_both_ways,
};

/// Pieces both ways look like requests and answers of their own: which belong together cannot be told.
fn pieces_both_ways(run: &Run) {
    run.is_interleaved("client", "server");
    let edge = run.edge("client", "server");
    assert_eq!(told(edge, "bytes_sent"), 100 * 60, "{edge}");
    assert_eq!(told(edge, "bytes_received"), 60 * 60, "{edge}");
}
