//! Servers of the shapes in which it is hard to tell what answers what.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use courtside_tests::harness::{Host, Measured, number};
use serde_json::Value;

fn told(value: &Value, path: &str) -> u64 {
    number(value, path).unwrap()
}

/// Within 5 %, and `slack_ns` for each of `count`.
fn close(what: &str, measured: u64, truth: u64, count: u64, slack_ns: u64) {
    let allowed = truth / 20 + count * slack_ns;
    assert!(
        measured.abs_diff(truth) <= allowed,
        "{what}: measured {measured}, truth {truth}, allowed difference {allowed}"
    );
}

/// A workload, measured under a name of its own: its processes are called NAME-server and so on.
struct Run {
    measured: Measured,
    name: String,
}

impl Run {
    fn of(host: &Host, options: &[&str], arguments: &[&str]) -> Self {
        let name = host.tag();
        let arguments = [arguments, &["--name", &name]].concat();
        Self {
            measured: host.measure_with(options, &arguments).unwrap(),
            name,
        }
    }

    fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    fn component(&self, part: &str) -> &Value {
        self.measured.snapshot.component(&self.name(part)).unwrap()
    }

    fn edge(&self, from: &str, to: &str) -> &Value {
        let edge = self
            .measured
            .snapshot
            .edge(&self.name(from), &self.name(to));
        edge.unwrap()
    }
}

/// One edge, as many roundtrips as requests, as many served.
fn served_exactly(run: &Run) {
    let measured = &run.measured;
    let served = told(&measured.answer, "server/served");
    assert_eq!(told(&measured.answer, "client/answered"), served);
    let edge = run.edge("client", "server");
    assert_eq!(told(edge, "roundtrips"), served);
    assert_eq!(told(edge, "messages_sent"), served);
    assert_eq!(told(edge, "messages_received"), served);
    assert_eq!(told(edge, "service_ns/count"), served);
    assert_eq!(measured.snapshot.neighbours(&run.name("server")).len(), 1);
    let server = run.component("server");
    assert_eq!(told(server, "requests/served"), served);
    assert_eq!(told(server, "turnaround/count"), served);
    assert_eq!(measured.snapshot.lost_counts(), []);
}

/// Time on a CPU within turnarounds is time on a CPU.
fn on_cpu_is_within_the_whole(run: &Run) {
    let server = run.component("server");
    let (part, whole) = (
        told(server, "turnaround/on_cpu_ns"),
        told(server, "cpu/on_cpu_ns"),
    );
    assert!(part <= whole, "{part} of {whole}");
}

#[test]
fn requests_handed_over_through_a_queue_are_served_by_the_thread_that_replies() {
    let host = Host::take().unwrap();
    for work in [
        &["--spin", "500us", "--sleep", "0us"] as &[&str],
        &["--spin", "100us", "--sleep", "3ms"],
    ] {
        let arguments = [
            &["thread-pool", "--requests", "400", "--connections", "8"],
            work,
        ]
        .concat();
        let run = Run::of(&host, &[], &arguments);
        served_exactly(&run);
        on_cpu_is_within_the_whole(&run);
        let server = run.component("server");
        let truth = &run.measured.answer["server"];
        let (turnaround, count) = (&server["turnaround"], told(truth, "served"));
        close(
            "on-CPU",
            told(turnaround, "on_cpu_ns"),
            told(truth, "spent/on_cpu_ns"),
            count,
            50_000,
        );
        close(
            "sleep",
            told(turnaround, "sleep_ns"),
            told(truth, "spent/timer_ns"),
            count,
            50_000,
        );
        // Read by the reader, not yet taken by a worker: in nobody's hands.
        close(
            "handed over",
            told(turnaround, "handed_over_ns"),
            told(truth, "queued_sum_ns"),
            count,
            100_000,
        );
    }
}

#[test]
fn one_loop_serves_fifty_connections() {
    let host = Host::take().unwrap();
    let arguments = [
        "epoll-loop",
        "--connections",
        "50",
        "--requests",
        "2000",
        "--spin",
        "300us",
    ];
    let run = Run::of(&host, &[], &arguments);
    served_exactly(&run);
    on_cpu_is_within_the_whole(&run);
    let server = run.component("server");
    let truth = &run.measured.answer["server"];
    let turnaround = &server["turnaround"];
    close(
        "on-CPU",
        told(turnaround, "on_cpu_ns"),
        told(truth, "spent/on_cpu_ns"),
        2000,
        30_000,
    );
    // One thread: its turnarounds follow one another, while the requests that wait for it overlap.
    let wall_ns = told(&run.measured.snapshot.0, "window/duration_ns");
    assert!(told(turnaround, "total_ns") <= wall_ns, "{turnaround}");
    assert!(
        told(server, "requests/service_ns/sum_ns") > 10 * wall_ns,
        "{server}"
    );
}

#[test]
fn a_process_for_each_request_is_one_component() {
    let host = Host::take().unwrap();
    let arguments = ["fork-per-request", "--requests", "300", "--spin", "1ms"];
    let run = Run::of(&host, &[], &arguments);
    served_exactly(&run);
    on_cpu_is_within_the_whole(&run);
    // Each works for a millisecond, and takes longer for its own birth; its clock knows how much.
    let on_cpu_ns = told(run.component("server"), "turnaround/on_cpu_ns");
    let cpu_ns = told(&run.measured.answer, "server/cpu_sum_ns");
    assert!(on_cpu_ns >= 300_000_000, "{on_cpu_ns} of {cpu_ns}");
    assert!(on_cpu_ns <= cpu_ns + cpu_ns / 20, "{on_cpu_ns} of {cpu_ns}");
}

/// The loop reads A and B, then asks the backend for both, and answers both when it has both answers. Each request has a
/// connection of its own, so each answer is known; what the loop reads together it turns around one after the other.
#[test]
fn requests_that_one_loop_handles_two_at_a_time_are_each_turned_around() {
    let host = Host::take().unwrap();
    let run = Run::of(&host, &[], &["interleaved", "--pairs", "500"]);
    let calls = run.edge("loop", "backend");
    assert_eq!(told(calls, "roundtrips"), 1000);
    assert_eq!(told(run.edge("client", "loop"), "roundtrips"), 1000);
    for name in ["loop", "backend"] {
        let component = run.component(name);
        assert_eq!(told(component, "requests/served"), 1000, "{name}");
    }
    let turnaround = &run.component("loop")["turnaround"];
    assert_eq!(told(turnaround, "count"), 2000, "{turnaround}");
    assert_eq!(told(turnaround, "unprompted_count"), 0, "{turnaround}");
}

/// A thread that its timer wakes is given nothing by the thread whose time the interrupt falls into, though that one
/// belongs to its process and holds a request.
#[test]
fn what_a_timer_wakes_was_handed_nothing() {
    let host = Host::take().unwrap();
    let run = Run::of(&host, &[], &["interrupted"]);
    let ticks = told(&run.measured.answer, "ticks");
    assert_eq!(ticks, 50);
    let turnaround = &run.component("busy")["turnaround"];
    assert_eq!(told(turnaround, "count"), 1, "{turnaround}");
    assert_eq!(told(turnaround, "unprompted_count"), ticks, "{turnaround}");
}

/// Two requests sent before either reply is read look like one message: fewer roundtrips than there were, and it says so.
#[test]
fn pipelined_requests_are_marked_as_a_lower_bound() {
    let host = Host::take().unwrap();
    let run = Run::of(
        &host,
        &[],
        &["interleaved", "--pairs", "500", "--pipelined"],
    );
    let calls = run.edge("loop", "backend");
    assert_eq!(calls["lower_bound"], true, "{calls}");
    let roundtrips = told(calls, "roundtrips");
    assert!((500..=1000).contains(&roundtrips), "{calls}");
    assert_eq!(told(calls, "bytes_sent"), 100_000);
    assert_eq!(told(calls, "bytes_received"), 100_000);
}

/// Both ends send all the time and read all the time, and no byte answers another. What is right: bytes exactly; as
/// for roundtrips, none was meant. The kernel sees a receive that follows a send, and by the definition it is an
/// answer if its data arrived, on an empty queue, later than the floor after that send. At full speed the queue is
/// mostly not empty, so only the few arrivals after one end had drained it can count: far fewer than the transfers. Over
/// a Unix socket there is no floor, but its sender is known at each arrival: a thread that nothing ever prompted answers
/// nothing.
#[test]
fn a_stream_both_ways_is_not_a_flood_of_roundtrips() {
    let host = Host::take().unwrap();
    for transport in ["tcp4", "unix-stream"] {
        let arguments = [
            "duplex-stream",
            "--bytes",
            "536870912",
            "--transport",
            transport,
        ];
        let run = Run::of(&host, &[], &arguments);
        let edge = run.edge("client", "server");
        let client = &run.measured.answer["client"]["tally"];
        assert_eq!(told(edge, "bytes_sent"), told(client, "bytes_sent"));
        assert_eq!(told(edge, "bytes_received"), told(client, "bytes_received"));
        let transfers = told(client, "sends");
        let roundtrips = told(edge, "roundtrips");
        assert!(
            roundtrips <= transfers / 10,
            "{transport}: {roundtrips} of {transfers}"
        );
        let served = told(edge, "service_ns/count");
        assert!(transport == "tcp4" || served <= transfers / 10, "{edge}");
        // A constant floor above any scheduling delay leaves none.
        let run = Run::of(&host, &["--rtt-floor", "1s"], &arguments);
        let edge = run.edge("client", "server");
        assert_eq!(told(edge, "roundtrips"), 0, "{transport}");
    }
}

#[test]
fn requests_that_wait_unread_are_queued() {
    let host = Host::take().unwrap();
    let run = Run::of(&host, &[], &["overload", "--requests", "300"]);
    served_exactly(&run);
    let server = run.component("server");
    let truth = &run.measured.answer["server"];
    let queued = &server["requests"]["queued_ns"];
    assert_eq!(told(queued, "count"), 300);
    close(
        "queued",
        told(queued, "sum_ns"),
        told(truth, "unread_sum_ns"),
        300,
        50_000,
    );
    close(
        "longest",
        told(queued, "max_ns"),
        told(truth, "unread_max_ns"),
        1,
        1_000_000,
    );
    // The thread itself was never idle: its turnarounds are its work, one after the other.
    let turnaround = &server["turnaround"];
    close(
        "on-CPU",
        told(turnaround, "on_cpu_ns"),
        600_000_000,
        300,
        30_000,
    );
}
