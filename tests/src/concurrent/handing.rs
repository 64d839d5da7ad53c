//! Requests that go from thread to thread.

use super::{Kind, Run, real, told};

/// What another thread has answered prompts nothing.
pub const ANSWERED_BY_ANOTHER: Kind = Kind {
    name: "what another thread has answered prompts nothing",
    lines: &["taking-turns --rounds 20"],
    holds: answered_by_another,
};

/// In each round of ten the first request is read by one thread and answered by another, and the last is read by the
/// first one again: what it read long ago, and has been answered, prompts nothing.
fn answered_by_another(run: &Run) {
    let requests = run.truth("client/latency/count");
    assert_eq!(requests, run.truth("server/answer/count"));
    let (inside, outside) = (
        run.truth("server/answer/sum_ns"),
        run.truth("client/latency/sum_ns"),
    );
    run.is_exact("client", "server", requests);
    run.turns_around("server", requests);
    let turnaround = &run.component("server")["turnaround"];
    run.between(
        "turnaround",
        inside,
        told(turnaround, "total_ns"),
        outside,
        requests,
    );
    // None is longer than the longest that the client waited for.
    let longest = run.truth("client/latency/max_ns");
    run.between("longest", 0, told(turnaround, "each_ns/max_ns"), longest, 1);
    let slept = run.truth("server/slept/sum_ns");
    run.close(
        "sleep",
        told(turnaround, "sleep_ns"),
        slept,
        requests,
        50_000,
    );
    // Read by one and answered by the other: one in ten, from the read until the other one is at it.
    let handed = run.truth("server/handed/sum_ns");
    assert!(told(turnaround, "handed_over_ns") > 0, "{turnaround}");
    run.between(
        "handed over",
        0,
        told(turnaround, "handed_over_ns"),
        handed,
        requests / 10,
    );
    run.small("receiving", told(turnaround, "receiving_ns"), 0);
    let entry = run.is_explained("server", requests, inside, outside);
    let court = run.court(entry, "server");
    let most = 0.02 * real(entry, "mean_ns") + run.allow(50_000) as f64;
    assert!(real(court, "held_ns").abs() <= most, "{court}");
}

/// The thread that asked the upstream is woken by the one that read its answer.
pub const WOKEN_BY_THE_READER: Kind = Kind {
    name: "the thread that asked the upstream is woken by the one that read its answer",
    lines: &["passing-on"],
    holds: upstreams_time,
};

/// A third thread answers what the first read and the second woke it for.
pub const ANSWERED_BY_A_THIRD: Kind = Kind {
    name: "a third thread answers what the first read and the second woke it for",
    lines: &["passing-on --third"],
    holds: upstreams_time,
};

/// While the upstream works, the ball is not in the server's court, whichever of its threads reads the answer.
fn upstreams_time(run: &Run) {
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
    run.between("turnaround", inside, total, outside, requests);
    assert!(told(turnaround, "handed_over_ns") > 0, "{turnaround}");
    let calls = told(run.edge("server", "upstream"), "latency_ns/sum_ns");
    run.between("calls", upstream, calls, latency, requests);
    let entry = run.is_explained("server", requests, upstream + inside, latency);
    let court = real(run.court(entry, "server"), "turnaround_ns") * requests as f64;
    run.between("court", inside, court as u64, outside, requests);
    let court = real(run.court(entry, "upstream"), "turnaround_ns") * requests as f64;
    run.between("court", upstream, court as u64, latency, requests);
    for part in ["server", "upstream"] {
        let held = real(run.court(entry, part), "held_ns").abs() * requests as f64;
        let what = format!("{part} held");
        run.small(&what, held as u64, outside + requests * run.allow(50_000));
    }
}

/// What was handed over is handed on.
pub const HANDED_ON: Kind = Kind {
    name: "what was handed over is handed on",
    lines: &[
        "runtime --every 1",
        "runtime --every 3",
        "runtime --every 1000",
    ],
    holds: handed_on,
};

/// What one thread gives to the next by waking it that one gives on by waking another: so do runtimes whose client has
/// threads of its own. A worker that has not gone to sleep yet takes what is there without being woken: nobody can tell
/// for whom it asks the upstream then.
fn handed_on(run: &Run) {
    let requests = run.truth("client/latency/count");
    let latency = run.truth("client/latency/sum_ns");
    let upstream = run.truth("upstream/answer/sum_ns");
    run.is_exact("client", "server", requests);
    run.is_exact("server", "upstream", requests);
    run.turns_around("upstream", requests);
    let turnaround = &run.component("server")["turnaround"];
    let unprompted = told(turnaround, "unprompted_count");
    run.small("unprompted", unprompted, requests / 10);
    let count = told(turnaround, "count") + unprompted;
    assert_eq!(count, 2 * requests, "{turnaround}");
    let longest = run
        .truth("server/on/max_ns")
        .max(run.truth("server/back/max_ns"));
    let inside = run.truth("server/on/sum_ns") + run.truth("server/back/sum_ns");
    let inside = inside.saturating_sub(unprompted * longest);
    let outside = latency - upstream;
    let total = told(turnaround, "total_ns");
    run.between("turnaround", inside, total, outside, requests);
    let entry = run.is_explained("server", requests, upstream + inside, latency);
    let court = real(run.court(entry, "server"), "turnaround_ns") * requests as f64;
    run.between("court", inside, court as u64, outside, requests);
}

/// What is logged first is still to be answered.
pub const LOGGED_FIRST: Kind = Kind {
    name: "what is logged first is still to be answered",
    lines: &["logging-first --requests 60"],
    holds: logged_first,
};

/// The log is told of a request long before it is answered: the work in between is for the answer.
fn logged_first(run: &Run) {
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
    run.between("turnaround", inside, total, outside, requests);
    let on_cpu = run.truth("server/on_cpu/sum_ns");
    run.close(
        "on-CPU",
        told(turnaround, "on_cpu_ns"),
        on_cpu,
        requests,
        100_000,
    );
    let entry = run.is_explained("server", requests, inside, outside);
    let court = real(run.court(entry, "server"), "turnaround_ns") * requests as f64;
    run.between("court", inside, court as u64, outside, requests);
}
