//! Services in which a request is not one thread's from beginning to end, each measured on this host by itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use courtside_tests::concurrent::{
    KINDS, Kind, OF_A_HOST, Run, handing, loops, open, pieces, scheduled,
};
use courtside_tests::harness::{Host, list};

/// Measures each of the kind's workloads, and holds it to its own clocks.
fn hold(kind: &Kind) {
    for line in kind.lines {
        let host = Host::take().unwrap();
        let name = host.tag();
        let mut arguments: Vec<&str> = line.split(' ').collect();
        arguments.extend(["--name", &name]);
        let measured = host.measure(&arguments).unwrap();
        assert_eq!(measured.snapshot.lost_counts(), [], "{line}");
        println!("{line}");
        let run = Run {
            snapshot: &measured.snapshot,
            answer: &measured.answer,
            name: &name,
            slack: OF_A_HOST,
        };
        run.hold(kind);
    }
}

macro_rules! tests {
    ($($test:ident: $kind:path;)*) => {
        $(#[test] fn $test() { hold(&$kind); })*

        #[test]
        fn every_kind_is_tested() {
            let tested = [$($kind.name),*];
            let missing: Vec<_> = KINDS.iter().filter(|kind| !tested.contains(&kind.name)).collect();
            assert!(missing.is_empty(), "{:?}", missing.iter().map(|kind| kind.name).collect::<Vec<_>>());
        }
    };
}

tests! {
    what_another_thread_has_answered_prompts_nothing: handing::ANSWERED_BY_ANOTHER;
    the_thread_that_asked_is_woken_by_the_one_that_read: handing::WOKEN_BY_THE_READER;
    a_third_thread_answers: handing::ANSWERED_BY_A_THIRD;
    what_was_handed_over_is_handed_on: handing::HANDED_ON;
    what_is_logged_first_is_still_to_be_answered: handing::LOGGED_FIRST;
    a_loop_sends_on_whatever_is_there: loops::WHATEVER_IS_THERE;
    a_loop_reads_four_and_sends_four: loops::FOUR_AT_ONCE;
    what_waits_for_a_timer_is_not_queued: loops::WAITS_FOR_A_TIMER;
    requests_lie_unread_while_the_loop_is_held_up: loops::HELD_UP;
    a_pipeline_is_marked_and_not_timed: open::PIPELINE;
    what_both_ends_send_on_their_own_answers_nobody: open::BOTH_ON_THEIR_OWN;
    what_a_server_pushes_is_one_reply: open::PUSHED;
    what_is_sent_by_a_clock_is_told: open::BY_A_CLOCK;
    several_datagrams_are_marked_and_not_timed: open::SEVERAL_DATAGRAMS;
    one_datagram_at_a_time_is_timed: open::ONE_DATAGRAM;
    who_asks_one_thing_at_a_time_is_timed: open::BUSY_UDP_SERVER;
    a_request_in_two_writes_is_one: pieces::TWO_WRITES;
    a_request_that_nagle_holds_back_is_one: pieces::HELD_BACK;
    a_reply_in_pieces_is_one_reply: pieces::REPLY_IN_PIECES;
    pieces_both_ways_are_not_timed: pieces::PIECES_BOTH_WAYS;
    an_asynchronous_server_is_not_charged_its_upstream: scheduled::ASYNCHRONOUS;
}

/// The same by its rule: who sends a hundred times a second, and whom.
#[test]
fn who_sends_by_a_clock_is_a_finding() {
    let host = Host::take().unwrap();
    let name = host.tag();
    let arguments = "ticking --server-ticks 0 --client-ticks 200 --client-every 10ms --name";
    let mut arguments: Vec<&str> = arguments.split(' ').collect();
    arguments.push(&name);
    let measured = host.measure(&arguments).unwrap();
    let snapshot = &measured.snapshot;
    let of = |end: &str| snapshot.component(&format!("{name}-{end}")).unwrap()["id"].clone();
    let (client, server) = (of("client"), of("server"));
    let found: Vec<_> = list(&snapshot.0, "findings")
        .filter(|finding| finding["rule"] == "heartbeat")
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["component"], client, "{found:?}");
    assert_eq!(found[0]["edge"]["to"], server, "{found:?}");
}
