//! Event loops.

use super::{Kind, Run, real, told};

/// A loop sends on whatever is there.
pub const WHATEVER_IS_THERE: Kind = Kind {
    name: "a loop sends on whatever is there",
    lines: &["batch-proxy"],
    holds: one_by_one,
};

/// A loop reads four and sends four.
pub const FOUR_AT_ONCE: Kind = Kind {
    name: "a loop reads four and sends four",
    lines: &["batch-proxy --all"],
    holds: one_by_one,
};

/// The loop reads what is there, and then sends: each send is a turnaround of its own, none was handed over, and while
/// the upstream has all of them the ball is not in the loop's court.
fn one_by_one(run: &Run) {
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
    run.between("turnaround", busy, total, rounds_ns - held, 2 * requests);
    run.small("handed over", told(turnaround, "handed_over_ns"), 0);
    // The upstream answers in batches, too: what it slept it slept once for each.
    run.turns_around("upstream", requests);
    let turnaround = &run.component("upstream")["turnaround"];
    let whole = run.truth("upstream/whole/sum_ns");
    let total = told(turnaround, "total_ns");
    run.between("upstream", whole, total, rounds_ns, requests);
    let slept = run.truth("upstream/slept/sum_ns");
    // On a busy host its own clock counts what it waited for a CPU, before or after, as sleep.
    let sleep = told(turnaround, "sleep_ns") + told(turnaround, "run_queue_ns");
    run.between("upstream's sleep", slept, sleep, rounds_ns, requests);
    run.small("handed over", told(turnaround, "handed_over_ns"), 0);
    // The upstream has all requests of a round at once.
    let latency = run.truth("client/latency/sum_ns");
    let open = held * (requests / rounds);
    let entry = run.is_explained("proxy", requests, open, latency);
    let court = run.court(entry, "proxy");
    let turned = real(court, "turnaround_ns") * requests as f64;
    run.between("court", busy, turned as u64, rounds_ns - held, 2 * requests);
    let held_in_all = real(court, "held_ns").abs() * rounds as f64;
    run.small("proxy held", held_in_all as u64, rounds_ns - held);
}

/// What waits for a timer is not queued.
pub const WAITS_FOR_A_TIMER: Kind = Kind {
    name: "what waits for a timer is not queued",
    lines: &["waiting-loop --wait 50ms"],
    holds: waits_for_a_timer,
};

/// Each request waits for a timer. The loop is idle meanwhile, so it is not overloaded, and nothing says it is.
fn waits_for_a_timer(run: &Run) {
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
    run.between("service", inside, service, outside, requests);
    let queued = told(server, "requests/queued_ns/sum_ns");
    run.between("unread", 0, queued, unread, requests);
    let turnaround = &server["turnaround"];
    let total = told(turnaround, "total_ns");
    let open = run.truth("server/open/sum_ns");
    run.between("turnaround", open, total, open + unread, requests);
    let idle = run.truth("server/idle/sum_ns");
    run.close(
        "sleep",
        told(turnaround, "sleep_ns"),
        idle,
        run.truth("server/idle/count"),
        100_000,
    );
    let most = total / 100 + requests * run.allow(20_000);
    run.small("queued", told(turnaround, "queued_ns"), most);
    run.small("handed over", told(turnaround, "handed_over_ns"), 0);
    run.small("receiving", told(turnaround, "receiving_ns"), 0);
    // What is neither unread nor in the court is held: here, nearly all of it.
    let entry = run.is_explained("server", requests, inside, outside);
    let held = real(run.court(entry, "server"), "held_ns") * requests as f64;
    let rest = service.saturating_sub(total);
    run.between(
        "held",
        rest.saturating_sub(unread),
        held as u64,
        rest,
        requests,
    );
}

/// Requests lie unread while the loop is held up.
pub const HELD_UP: Kind = Kind {
    name: "requests lie unread while the loop is held up",
    lines: &["waiting-loop --connections 10 --requests 40 --every 20"],
    holds: held_up,
};

/// Each twentieth request holds up the loop: the others lie unread, as their clients' clocks have it.
fn held_up(run: &Run) {
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
    run.close("unread", told(queued, "sum_ns"), unread, requests, 200_000);
    let turnaround = &server["turnaround"];
    let total = told(turnaround, "total_ns");
    let open = run.truth("server/open/sum_ns");
    run.between("turnaround", inside, total, open + unread, requests);
    run.small("sleep", told(turnaround, "sleep_ns"), total / 20);
    let entry = run.is_explained("server", requests, inside, outside);
    let court = run.court(entry, "server");
    let of_all = |field: &str| real(court, field) * requests as f64;
    run.close(
        "unread",
        of_all("unread_ns") as u64,
        unread,
        requests,
        200_000,
    );
    run.between(
        "court",
        inside,
        of_all("turnaround_ns") as u64,
        open + unread,
        requests,
    );
    let held = of_all("held_ns").abs() as u64;
    run.small("held", held, outside / 20 + requests * run.allow(100_000));
}
