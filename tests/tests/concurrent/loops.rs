//! Event loops.

use super::{Run, between, close, real, small, told};

/// The loop reads what is there, and then sends: each send is a turnaround of its own, none was handed over, and while
/// the upstream has all of them the ball is not in the loop's court.
fn batches_are_turned_around_one_by_one(arguments: &[&str]) {
    let run = Run::of(&[&["batch-proxy"], arguments].concat());
    let requests = run.truth("client/latency/count");
    let rounds = run.truth("client/rounds/count");
    let rounds_ns = run.truth("client/rounds/sum_ns");
    let held = run.truth("upstream/held/sum_ns");
    assert_eq!(run.truth("proxy/sends"), 2 * requests);
    run.is_exact("client", "proxy", requests);
    run.is_exact("proxy", "upstream", requests);
    run.turns_around("proxy", 2 * requests);
    assert_eq!(run.sent_to("proxy", "upstream"), requests);
    assert_eq!(run.sent_to("proxy", "client"), requests);
    let turnaround = &run.component("proxy")["turnaround"];
    let busy = run.truth("proxy/busy/sum_ns");
    let total = told(turnaround, "total_ns");
    between("turnaround", busy, total, rounds_ns - held, 2 * requests);
    small("handed over", told(turnaround, "handed_over_ns"), 0);
    // The upstream answers in batches, too: what it slept it slept once for each.
    run.turns_around("upstream", requests);
    let turnaround = &run.component("upstream")["turnaround"];
    let whole = run.truth("upstream/whole/sum_ns");
    let total = told(turnaround, "total_ns");
    between("upstream", whole, total, rounds_ns, requests);
    let slept = run.truth("upstream/slept/sum_ns");
    // On a busy host its own clock counts what it waited for a CPU, before or after, as sleep.
    let sleep = told(turnaround, "sleep_ns") + told(turnaround, "run_queue_ns");
    between("upstream's sleep", slept, sleep, rounds_ns, requests);
    small("handed over", told(turnaround, "handed_over_ns"), 0);
    // The upstream has all requests of a round at once.
    let latency = run.truth("client/latency/sum_ns");
    let open = held * (requests / rounds);
    let entry = run.is_explained("proxy", requests, open, latency);
    let court = run.court(entry, "proxy");
    let turned = real(court, "turnaround_ns") * requests as f64;
    between("court", busy, turned as u64, rounds_ns - held, 2 * requests);
    let held_in_all = real(court, "held_ns").abs() * rounds as f64;
    small("proxy held", held_in_all as u64, rounds_ns - held);
}

#[test]
fn a_loop_sends_on_whatever_is_there() {
    batches_are_turned_around_one_by_one(&[]);
}

#[test]
fn a_loop_reads_four_and_sends_four() {
    batches_are_turned_around_one_by_one(&["--all"]);
}

/// Each request waits for a timer. The loop is idle meanwhile, so it is not overloaded, and nothing says it is.
#[test]
fn what_waits_for_a_timer_is_not_queued() {
    let run = Run::of(&["waiting-loop", "--wait", "50ms"]);
    let requests = run.truth("client/latency/count");
    let (inside, outside) = (
        run.truth("server/answer/sum_ns"),
        run.truth("client/latency/sum_ns"),
    );
    let unread = run.truth("server/unread/sum_ns");
    run.is_exact("client", "server", requests);
    run.turns_around("server", requests);
    let server = run.component("server");
    let service = told(server, "requests/service_ns/sum_ns");
    between("service", inside, service, outside, requests);
    let queued = told(server, "requests/queued_ns/sum_ns");
    between("unread", 0, queued, unread, requests);
    let turnaround = &server["turnaround"];
    let total = told(turnaround, "total_ns");
    let open = run.truth("server/open/sum_ns");
    between("turnaround", open, total, open + unread, requests);
    let idle = run.truth("server/idle/sum_ns");
    close(
        "sleep",
        told(turnaround, "sleep_ns"),
        idle,
        run.truth("server/idle/count"),
        100_000,
    );
    let most = total / 100 + requests * 20_000;
    small("queued", told(turnaround, "queued_ns"), most);
    small("handed over", told(turnaround, "handed_over_ns"), 0);
    small("receiving", told(turnaround, "receiving_ns"), 0);
    // What is neither unread nor in the court is held: here, nearly all of it.
    let entry = run.is_explained("server", requests, inside, outside);
    let held = real(run.court(entry, "server"), "held_ns") * requests as f64;
    let rest = service.saturating_sub(total);
    between(
        "held",
        rest.saturating_sub(unread),
        held as u64,
        rest,
        requests,
    );
}

/// Each twentieth request holds up the loop: the others lie unread, as their clients' clocks have it.
#[test]
fn requests_lie_unread_while_the_loop_is_held_up() {
    let run = Run::of(&[
        "waiting-loop",
        "--connections",
        "10",
        "--requests",
        "40",
        "--every",
        "20",
    ]);
    let requests = run.truth("client/latency/count");
    let (inside, outside) = (
        run.truth("server/answer/sum_ns"),
        run.truth("client/latency/sum_ns"),
    );
    let unread = run.truth("server/unread/sum_ns");
    run.is_exact("client", "server", requests);
    run.turns_around("server", requests);
    let server = run.component("server");
    let queued = &server["requests"]["queued_ns"];
    assert_eq!(told(queued, "count"), requests, "{server}");
    close("unread", told(queued, "sum_ns"), unread, requests, 200_000);
    let turnaround = &server["turnaround"];
    let total = told(turnaround, "total_ns");
    let open = run.truth("server/open/sum_ns");
    between("turnaround", inside, total, open + unread, requests);
    small("sleep", told(turnaround, "sleep_ns"), total / 20);
    let entry = run.is_explained("server", requests, inside, outside);
    let court = run.court(entry, "server");
    let of_all = |field: &str| real(court, field) * requests as f64;
    close(
        "unread",
        of_all("unread_ns") as u64,
        unread,
        requests,
        200_000,
    );
    between(
        "court",
        inside,
        of_all("turnaround_ns") as u64,
        open + unread,
        requests,
    );
    let held = of_all("held_ns").abs() as u64;
    small("held", held, outside / 20 + requests * 100_000);
}
