//! Requests that go from thread to thread.

use super::{Run, between, close, real, small, told};

/// In each round of ten the first request is read by one thread and answered by another, and the last is read by the
/// first one again: what it read long ago, and has been answered, prompts nothing.
#[test]
fn what_another_thread_has_answered_prompts_nothing() {
    let run = Run::of(&["taking-turns", "--rounds", "20"]);
    let requests = run.truth("client/latency/count");
    assert_eq!(requests, run.truth("server/answer/count"));
    let (inside, outside) = (
        run.truth("server/answer/sum_ns"),
        run.truth("client/latency/sum_ns"),
    );
    run.is_exact("client", "server", requests);
    run.turns_around("server", requests);
    let turnaround = &run.component("server")["turnaround"];
    between(
        "turnaround",
        inside,
        told(turnaround, "total_ns"),
        outside,
        requests,
    );
    // None is longer than the longest that the client waited for.
    let longest = run.truth("client/latency/max_ns");
    between("longest", 0, told(turnaround, "each_ns/max_ns"), longest, 1);
    let slept = run.truth("server/slept/sum_ns");
    close(
        "sleep",
        told(turnaround, "sleep_ns"),
        slept,
        requests,
        50_000,
    );
    // Read by one and answered by the other: one in ten, from the read until the other one is at it.
    let handed = run.truth("server/handed/sum_ns");
    assert!(told(turnaround, "handed_over_ns") > 0, "{turnaround}");
    between(
        "handed over",
        0,
        told(turnaround, "handed_over_ns"),
        handed,
        requests / 10,
    );
    small("receiving", told(turnaround, "receiving_ns"), 0);
    let entry = run.is_explained("server", requests, inside, outside);
    let court = run.court(entry, "server");
    let most = 0.02 * real(entry, "mean_ns") + 50_000.0;
    assert!(real(court, "held_ns").abs() <= most, "{court}");
}

/// While the upstream works, the ball is not in the server's court, whichever of its threads reads the answer.
fn the_upstream_is_not_the_servers_court(arguments: &[&str]) {
    let run = Run::of(arguments);
    let requests = run.truth("client/latency/count");
    let latency = run.truth("client/latency/sum_ns");
    let upstream = run.truth("upstream/answer/sum_ns");
    run.is_exact("client", "server", requests);
    run.is_exact("server", "upstream", requests);
    run.turns_around("server", 2 * requests);
    run.turns_around("upstream", requests);
    assert_eq!(run.sent_to("server", "upstream"), requests);
    assert_eq!(run.sent_to("server", "client"), requests);
    let inside = run.truth("server/on/sum_ns") + run.truth("server/back/sum_ns");
    let outside = latency - upstream;
    let turnaround = &run.component("server")["turnaround"];
    let total = told(turnaround, "total_ns");
    between("turnaround", inside, total, outside, requests);
    assert!(told(turnaround, "handed_over_ns") > 0, "{turnaround}");
    let calls = told(run.edge("server", "upstream"), "latency_ns/sum_ns");
    between("calls", upstream, calls, latency, requests);
    let entry = run.is_explained("server", requests, upstream + inside, latency);
    let court = real(run.court(entry, "server"), "turnaround_ns") * requests as f64;
    between("court", inside, court as u64, outside, requests);
    let court = real(run.court(entry, "upstream"), "turnaround_ns") * requests as f64;
    between("court", upstream, court as u64, latency, requests);
    for part in ["server", "upstream"] {
        let held = real(run.court(entry, part), "held_ns").abs() * requests as f64;
        let what = format!("{part} held");
        small(&what, held as u64, outside + requests * 50_000);
    }
}

#[test]
fn the_thread_that_asked_the_upstream_is_woken_by_the_one_that_read_its_answer() {
    the_upstream_is_not_the_servers_court(&["passing-on"]);
}

#[test]
fn a_third_thread_answers_what_the_first_read_and_the_second_woke_it_for() {
    the_upstream_is_not_the_servers_court(&["passing-on", "--third"]);
}

/// What one thread gives to the next by waking it that one gives on by waking another: so do runtimes whose client has
/// threads of its own. A worker that has not gone to sleep yet takes what is there without being woken: nobody can tell
/// for whom it asks the upstream then.
#[test]
fn what_was_handed_over_is_handed_on() {
    for every in ["1", "3", "1000"] {
        let run = Run::of(&["runtime", "--every", every]);
        let requests = run.truth("client/latency/count");
        let latency = run.truth("client/latency/sum_ns");
        let upstream = run.truth("upstream/answer/sum_ns");
        run.is_exact("client", "server", requests);
        run.is_exact("server", "upstream", requests);
        run.turns_around("upstream", requests);
        let turnaround = &run.component("server")["turnaround"];
        let unprompted = told(turnaround, "unprompted_count");
        small("unprompted", unprompted, requests / 10);
        let count = told(turnaround, "count") + unprompted;
        assert_eq!(count, 2 * requests, "{turnaround}");
        let longest = run
            .truth("server/on/max_ns")
            .max(run.truth("server/back/max_ns"));
        let inside = run.truth("server/on/sum_ns") + run.truth("server/back/sum_ns");
        let inside = inside.saturating_sub(unprompted * longest);
        let outside = latency - upstream;
        let total = told(turnaround, "total_ns");
        between("turnaround", inside, total, outside, requests);
        let entry = run.is_explained("server", requests, upstream + inside, latency);
        let court = real(run.court(entry, "server"), "turnaround_ns") * requests as f64;
        between("court", inside, court as u64, outside, requests);
    }
}

/// The log is told of a request long before it is answered: the work in between is for the answer.
#[test]
fn what_is_logged_first_is_still_to_be_answered() {
    let run = Run::of(&["logging-first", "--requests", "60"]);
    let requests = run.truth("client/latency/count");
    assert_eq!(requests, run.truth("log/messages"));
    let (inside, outside) = (
        run.truth("server/answer/sum_ns"),
        run.truth("client/latency/sum_ns"),
    );
    run.is_exact("client", "server", requests);
    let logged = run.edge("server", "log");
    assert_eq!(told(logged, "bytes_sent"), 64 * requests, "{logged}");
    assert_eq!(told(logged, "roundtrips"), 0, "{logged}");
    run.turns_around("server", 2 * requests);
    // Whoever reads the log has not shown itself when the first message is sent.
    let to_log = run.sent_to("server", "log");
    let turnaround = &run.component("server")["turnaround"];
    assert!((requests - 1..=requests).contains(&to_log), "{turnaround}");
    assert_eq!(run.sent_to("server", "client"), requests);
    let total = told(turnaround, "total_ns");
    between("turnaround", inside, total, outside, requests);
    let on_cpu = run.truth("server/on_cpu/sum_ns");
    close(
        "on-CPU",
        told(turnaround, "on_cpu_ns"),
        on_cpu,
        requests,
        100_000,
    );
    let entry = run.is_explained("server", requests, inside, outside);
    let court = real(run.court(entry, "server"), "turnaround_ns") * requests as f64;
    between("court", inside, court as u64, outside, requests);
}
