//! Messages in pieces.

use super::{Run, between, close, small, told};

/// A request in pieces is one request. The time from its first to its last byte is told apart from the time to answer it.
fn requests_in_pieces(arguments: &[&str]) {
    let run = Run::of(&[&["in-pieces"], arguments].concat());
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
    between("turnaround", turn, total, to_reply, requests);
    let service = told(server, "requests/service_ns/sum_ns");
    between("service", turn, service, to_reply, requests);
    let (receiving, in_pieces) = (
        run.truth("server/receiving/sum_ns"),
        run.truth("server/receiving/count"),
    );
    let part = told(turnaround, "receiving_ns");
    close("receiving", part, receiving, in_pieces, 200_000);
    small("sleep", told(turnaround, "sleep_ns"), total / 20);
    small("queued", told(turnaround, "queued_ns"), total / 20);
    let edge = run.edge("client", "server");
    let pieces = &edge["receiving_ns"];
    assert_eq!(told(pieces, "count"), in_pieces, "{edge}");
    close(
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
    between("latency", inside, latency, outside, requests);
    run.is_explained("server", requests, turn, to_reply);
}

#[test]
fn a_request_in_two_writes_is_received_for_as_long_as_it_takes() {
    requests_in_pieces(&[]);
    requests_in_pieces(&["--transport", "unix-stream", "--pieces", "3"]);
}

#[test]
fn a_request_that_nagle_holds_back_is_received_for_as_long_as_it_takes() {
    requests_in_pieces(&["--nagle", "--wait", "0ms"]);
}

/// A reply in pieces is one reply. Its first byte is what ends the roundtrip.
#[test]
fn a_reply_in_pieces_is_one_reply() {
    for transport in ["tcp4", "unix-stream"] {
        let arguments = ["--whose", "server", "--pieces", "3"];
        let arguments = [&arguments[..], &["--transport", transport]].concat();
        let run = Run::of(&[&["in-pieces"], &arguments[..]].concat());
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
        between("turnaround", inside, total, outside, requests);
        let edge = run.edge("client", "server");
        let latency = told(edge, "latency_ns/sum_ns");
        between("latency", inside, latency, outside, requests);
        let (receiving, in_pieces) = (
            run.truth("client/receiving/sum_ns"),
            run.truth("client/receiving/count"),
        );
        assert_eq!(in_pieces, requests);
        // Nobody can tell that the last one is whole: the client sends nothing after it.
        let most = receiving + in_pieces * 200_000;
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
}

/// Pieces both ways look like requests and answers of their own: which belong together cannot be told.
#[test]
fn pieces_both_ways_are_not_timed() {
    for transport in ["tcp4", "unix-stream"] {
        let run = Run::of(&["in-pieces", "--whose", "both", "--transport", transport]);
        run.is_interleaved("client", "server");
        let edge = run.edge("client", "server");
        assert_eq!(told(edge, "bytes_sent"), 100 * 60, "{edge}");
        assert_eq!(told(edge, "bytes_received"), 60 * 60, "{edge}");
    }
}
