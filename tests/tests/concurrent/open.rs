//! Several requests open on one connection, or messages that answer nobody: a wrong time without a mark is the worst
//! there can be.

use super::{Run, between, small, told};

/// Twenty requests are always open on the one connection.
#[test]
fn a_pipeline_is_marked_and_not_timed() {
    let run = Run::of(&["pipelining"]);
    let requests = run.truth("client/latency/count");
    assert!(run.truth("client/most_open") > 2);
    run.is_interleaved("client", "server");
    let edge = run.edge("client", "server");
    assert_eq!(told(edge, "bytes_sent"), 64 * requests, "{edge}");
    assert_eq!(told(edge, "bytes_received"), 64 * requests, "{edge}");
    small("roundtrips", told(edge, "roundtrips"), requests);
    let entry = run.entry("server");
    let court = run.court(entry, "server");
    assert!(court["held_ns"].is_null(), "{entry}");
    assert!(entry["other_ns"].is_null(), "{entry}");
}

/// One request for the stream and its answer; after that nobody answers anybody.
#[test]
fn what_both_ends_send_on_their_own_answers_nobody() {
    for transport in ["tcp4", "unix-stream"] {
        for [client, server] in [["50ms", "50ms"], ["17ms", "41ms"], ["41ms", "17ms"]] {
            let run = Run::of(&[
                "ticking",
                "--transport",
                transport,
                "--client-every",
                client,
                "--server-every",
                server,
            ]);
            let edge = run.edge("client", "server");
            for (field, truth) in [
                ("bytes_sent", "client/bytes_sent"),
                ("bytes_received", "server/bytes_sent"),
            ] {
                assert_eq!(told(edge, field), run.truth(truth), "{field}: {edge}");
            }
            let what = format!("{transport} {client} {server}: timed");
            small(&what, told(edge, "latency_ns/count"), 2);
            let marked = edge["lower_bound"] == true && told(edge, "untimed") > 0;
            assert!(marked || told(edge, "roundtrips") <= 2, "{edge}");
        }
    }
}

/// A server that goes on sending after its answer has been asked once.
#[test]
fn what_a_server_pushes_is_one_reply() {
    let run = Run::of(&["ticking", "--client-ticks", "0"]);
    let edge = run.edge("client", "server");
    assert_eq!(told(edge, "roundtrips"), 1, "{edge}");
    assert_eq!(edge["lower_bound"], false, "{edge}");
    assert_eq!(told(edge, "bytes_received"), run.truth("server/bytes_sent"));
}

#[test]
fn several_datagrams_before_the_first_answer_are_marked_and_not_timed() {
    for arguments in [
        &[] as &[&str],
        &["--ahead"],
        &["--together", "5"],
        &["--ahead", "--together", "3"],
    ] {
        let run = Run::of(&[&["several-datagrams"], arguments].concat());
        let edge = run.edge("client", "server");
        assert_eq!(edge["lower_bound"], true, "{arguments:?} {edge}");
        assert!(told(edge, "untimed") > 0, "{arguments:?} {edge}");
        small("timed", told(edge, "latency_ns/count"), 2);
        let sent = run.truth("client/sent");
        assert_eq!(told(edge, "bytes_sent"), 64 * sent, "{edge}");
        assert_eq!(told(edge, "bytes_received"), 64 * sent, "{edge}");
        small("roundtrips", told(edge, "roundtrips"), sent);
    }
}

/// Datagrams of which each is answered before the next is sent are timed as ever.
#[test]
fn one_datagram_at_a_time_is_timed() {
    let run = Run::of(&["several-datagrams", "--together", "1"]);
    run.is_exact("client", "server", run.truth("client/sent"));
}

/// A UDP server answers several clients at one socket, who each wait for their answer: it cannot tell which request it
/// answers, but each client can, and what all of them count is what it served.
#[test]
fn who_asks_one_thing_at_a_time_of_a_busy_udp_server_is_counted_and_timed() {
    let run = Run::of(&["resolver"]);
    let requests = run.truth("client/latency/count");
    assert_eq!(requests, 400);
    let edge = run.edge("client", "server");
    assert_eq!(told(edge, "roundtrips"), requests, "{edge}");
    assert_eq!(told(edge, "untimed"), 0, "{edge}");
    assert_eq!(edge["lower_bound"], false, "{edge}");
    between(
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
