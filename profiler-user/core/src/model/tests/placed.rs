//! Known answers: every stretch of a service time has a place, or a reason why it has none.

use super::super::snapshot::{Court, Entry, HeldUnknown};
use super::super::words::{Names, request_notes, request_sum};
use super::super::*;
use super::{component, edge, folded};
use crate::fixture::frames::{APP, LOAD, NONE, WEB, chain, cpu, flow, frame, image, times};
use crate::frame::{Flow, Frame, Role, Transport};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// Each of its messages lay unread for `unread`, of which `within` is in turnarounds.
fn unread(mut flow: Flow, unread: u64, within: u64) -> Flow {
    flow.queued = times(flow.answered, unread);
    flow.unread_within_ns = flow.answered * within;
    flow
}

/// load → web, both here, `n` requests: service time, and of that the turnaround, unread, unread within the turnaround.
fn one_server(n: u64, service: u64, court: u64, lay: u64, within: u64) -> Frame {
    let web = flow((WEB, LOAD, 80), Role::Acceptor, n, service, cpu(court));
    frame(
        vec![image(LOAD, "load", &[]), image(WEB, "web", &[80])],
        &[],
        vec![
            flow((LOAD, WEB, 80), Role::Initiator, n, service + 10 * US, NONE),
            unread(web, lay, within),
        ],
    )
}

fn only(snapshot: &Snapshot) -> &Entry {
    let [entry] = snapshot.entries.as_slice() else {
        panic!("{:#?}", snapshot.entries)
    };
    entry
}

/// Unread, turnaround and held of one court, in microseconds.
fn court(entry: &Entry, id: &str) -> (Option<f64>, f64, Option<f64>) {
    let court: &Court = entry.courts.iter().find(|c| c.component == id).unwrap();
    let us = |ns: f64| (ns / 1e3 * 1e6).round() / 1e6;
    (
        court.unread_ns.map(us),
        us(court.turnaround_ns),
        court.held_ns.map(us),
    )
}

fn sum(snapshot: &Snapshot) -> String {
    request_sum(only(snapshot), &Names::of(snapshot))
}

fn notes(snapshot: &Snapshot) -> Vec<String> {
    request_notes(only(snapshot), &Names::of(snapshot))
}

#[test]
fn a_proxy_that_reads_and_writes_in_batches_keeps_little_and_holds_the_rest() {
    // Of 40 570 µs: 20 unread beyond its turnarounds, 80 + 70 at work, 400 held, 40 000 in its call, of which the
    // upstream was at work for 100, held 39 800, and 100 were network.
    let proxy = flow(
        (WEB, LOAD, 80),
        Role::Acceptor,
        400,
        40_570 * US,
        cpu(70 * US),
    );
    let mut call = flow(
        (WEB, APP, 81),
        Role::Initiator,
        400,
        40_000 * US,
        cpu(80 * US),
    );
    call.unread_within_ns = 400 * 30 * US;
    let up = flow(
        (APP, WEB, 81),
        Role::Acceptor,
        400,
        39_900 * US,
        cpu(100 * US),
    );
    let snapshot = folded(&frame(
        vec![
            image(LOAD, "load", &[]),
            image(WEB, "proxy", &[80]),
            image(APP, "up", &[81]),
        ],
        &[],
        vec![
            flow((LOAD, WEB, 80), Role::Initiator, 400, 40_600 * US, NONE),
            unread(proxy, 50 * US, 0),
            call,
            unread(up, 10 * US, 10 * US),
        ],
    ));
    let entry = only(&snapshot);
    assert_eq!(
        court(entry, "program:proxy"),
        (Some(20.0), 150.0, Some(400.0))
    );
    assert_eq!(
        court(entry, "program:up"),
        (Some(0.0), 100.0, Some(39_800.0))
    );
    assert_eq!(entry.network_ns, 100e3);
    assert!(entry.other_ns.unwrap().abs() < 1.0 && entry.adds_up);
    let proxy = component(&snapshot, "program:proxy");
    assert_eq!(proxy.requests.held_ns, Some(400 * 400 * 1_000));
    assert_eq!(proxy.requests.queued_ns.sum_ns, 400 * 50 * US);
    assert_eq!(
        sum(&snapshot),
        "40.6 ms = proxy unread 0.02 + proxy 0.15 + proxy held 0.40 + up 0.10 + up held 39.8 \
         + network 0.10 + other 0.00"
    );
}

#[test]
fn overload_is_unread_time() {
    // Of 61.6 ms 56 unread, of which 0.1 lies within the turnaround of 5.5; 0.2 held.
    let snapshot = folded(&one_server(60, 61_600 * US, 5_500 * US, 56 * MS, 100 * US));
    let entry = only(&snapshot);
    assert_eq!(
        court(entry, "program:web"),
        (Some(55_900.0), 5_500.0, Some(200.0))
    );
    assert_eq!(
        sum(&snapshot),
        "61.6 ms = web unread 55.9 + web 5.50 + web held 0.20 + network 0.00 + other 0.00"
    );
}

#[test]
fn a_timer_on_an_event_loop_is_held_and_neither_unread_nor_court() {
    let snapshot = folded(&one_server(20, 52_800 * US, 400 * US, 2_500 * US, 100 * US));
    assert_eq!(
        court(only(&snapshot), "program:web"),
        (Some(2_400.0), 400.0, Some(50_000.0))
    );
}

#[test]
fn a_client_holds_nothing() {
    let snapshot = folded(&one_server(20, MS, MS, 0, 0));
    let load = &component(&snapshot, "program:load").requests;
    assert_eq!((load.held_ns, load.held_unknown), (None, None));
    assert_eq!(
        component(&snapshot, "program:web").requests.held_ns,
        Some(0)
    );
}

#[test]
fn calls_side_by_side_make_held_negative_and_are_named() {
    let mut frame = chain(100);
    // Web asks app twice at once, so each request is over one roundtrip earlier.
    frame.flows[1].answer = times(100, 1_270_000 - 585_000);
    let snapshot = folded(&frame);
    let entry = only(&snapshot);
    assert_eq!(court(entry, "program:web").2, Some(-585.0));
    assert!(entry.other_ns.unwrap().abs() < 1.0 && entry.adds_up);
    assert!(
        sum(&snapshot).contains("- web in parallel 585 +"),
        "{}",
        sum(&snapshot)
    );
    assert_eq!(
        notes(&snapshot),
        ["web waits for calls in parallel: they add up to more than it waited"]
    );
}

#[test]
fn what_was_under_way_at_the_ends_of_a_window_is_no_call_in_parallel() {
    let mut frame = chain(100);
    frame.flows[1].answer = times(100, 1_270_000 - 10_000);
    let snapshot = folded(&frame);
    assert!(
        sum(&snapshot).contains("- web under way 0.01 +"),
        "{}",
        sum(&snapshot)
    );
    assert_eq!(notes(&snapshot), Vec::<String>::new());
}

/// Of all answers of a flow, so many are in no distribution.
fn untime(flow: &mut Flow, untimed: u64, each: u64) {
    flow.untimed = untimed;
    flow.answer = times(flow.answered - untimed, each);
}

#[test]
fn untimed_requests_leave_held_and_other_open_and_say_why() {
    let mut frame = one_server(400, 50 * MS, 20 * US, 10 * US, 10 * US);
    untime(&mut frame.flows[0], 280, 50 * MS);
    untime(&mut frame.flows[1], 280, 50 * MS);
    let snapshot = folded(&frame);
    let web = &component(&snapshot, "program:web").requests;
    assert_eq!((web.served, web.untimed, web.lower_bound), (400, 280, true));
    assert_eq!(web.service_ns.count, 120);
    assert_eq!(
        (web.held_ns, web.held_unknown),
        (None, Some(HeldUnknown::UntimedRequests))
    );
    let edge = edge(&snapshot, "program:load", "program:web");
    assert_eq!((edge.roundtrips, edge.untimed), (400, 280));
    assert_eq!(edge.latency_ns.count, 120);
    assert!(edge.lower_bound && snapshot.quality.lower_bound);
    let entry = only(&snapshot);
    assert_eq!((entry.untimed, entry.lower_bound), (280, true));
    assert_eq!((entry.courts[0].held_ns, entry.other_ns), (None, None));
    assert_eq!(
        sum(&snapshot),
        "50.0 ms = web 0.02 + network 0.00 + what is not known"
    );
    assert_eq!(
        notes(&snapshot),
        ["280 of 400 requests untimed: several were open at once on one connection"]
    );

    untime(&mut frame.flows[0], 400, 1);
    untime(&mut frame.flows[1], 400, 1);
    let snapshot = folded(&frame);
    assert_eq!(only(&snapshot).mean_ns, None);
    assert_eq!(sum(&snapshot), "not timed");
}

#[test]
fn untimed_calls_leave_open_what_the_caller_held() {
    let mut frame = chain(100);
    untime(&mut frame.flows[2], 150, 585_000);
    untime(&mut frame.flows[3], 150, 565_000);
    let snapshot = folded(&frame);
    let held = |id| {
        let requests = &component(&snapshot, id).requests;
        (requests.held_ns, requests.held_unknown)
    };
    assert_eq!(held("program:web"), (None, Some(HeldUnknown::UntimedCalls)));
    assert_eq!(
        held("program:app"),
        (None, Some(HeldUnknown::UntimedRequests))
    );
    assert_eq!(held("program:store"), (Some(0), None));
    assert_eq!(only(&snapshot).other_ns, None);
    assert_eq!(
        notes(&snapshot),
        [
            "the time that web held requests is not known: several of its calls were open at once on one connection",
            "the time that app held requests is not known: several were open at once on one connection"
        ]
    );
}

#[test]
fn ends_of_an_edge_that_disagree_are_marked() {
    let counts = |initiator: u64, acceptor: u64| {
        let mut frame = one_server(acceptor, 50 * MS, 20 * US, 0, 0);
        frame.flows[0] = flow((LOAD, WEB, 80), Role::Initiator, initiator, 51 * MS, NONE);
        let snapshot = folded(&frame);
        let edge = edge(&snapshot, "program:load", "program:web").clone();
        let web = &component(&snapshot, "program:web").requests;
        (
            edge.roundtrips,
            edge.lower_bound,
            web.lower_bound,
            web.held_unknown,
        )
    };
    // What was under way when the window began or ended is no disagreement.
    assert_eq!(counts(398, 400), (398, false, false, None));
    assert_eq!(counts(400, 381), (400, false, false, None));
    assert_eq!(counts(4, 2), (4, false, false, None));
    assert_eq!(counts(374, 400), (374, true, false, None));
    let unseen = Some(HeldUnknown::UnseenRequests);
    // The acceptor was seen to send that much less: the ends are not read at one instant.
    assert_eq!(counts(400, 374), (400, true, true, unseen));
    assert_eq!(counts(5, 2), (5, true, true, unseen));
}

/// A server pushes on its own account 49 times, and has answered once: the other end took each for an answer. Nobody can
/// tell which one was, so none is timed, and what is shown adds up.
#[test]
fn more_answers_than_were_given_are_not_timed() {
    for (initiator, acceptor) in [(49, 1), (16, 10), (5, 0)] {
        let mut frame = one_server(acceptor, 50 * MS, 20 * US, 0, 0);
        frame.flows[0] = flow((LOAD, WEB, 80), Role::Initiator, initiator, 48 * MS, NONE);
        frame.flows[1].messages_sent = initiator;
        frame.flows[1].bytes_sent = frame.flows[0].bytes_received;
        let snapshot = folded(&frame);
        let edge = edge(&snapshot, "program:load", "program:web");
        assert_eq!((edge.roundtrips, edge.untimed), (acceptor, acceptor));
        assert_eq!(edge.latency_ns.count, 0);
        assert!(edge.lower_bound);
    }
}

/// A server that was seen to send on its own account has answered once. That the client took two more of what it sent for
/// answers is no matter of windows that end while a request is under way.
#[test]
fn who_sends_on_its_own_account_has_given_no_more_answers_than_it_counts() {
    for (ambiguous, roundtrips, latencies) in [(1, 1, 0), (0, 3, 3)] {
        let mut frame = one_server(1, 50 * MS, 20 * US, 0, 0);
        frame.flows[0] = flow((LOAD, WEB, 80), Role::Initiator, 3, 48 * MS, NONE);
        frame.flows[1].ambiguous = ambiguous;
        let snapshot = folded(&frame);
        let edge = edge(&snapshot, "program:load", "program:web");
        assert_eq!(
            (edge.roundtrips, edge.latency_ns.count),
            (roundtrips, latencies)
        );
        assert_eq!(edge.lower_bound, ambiguous > 0);
    }
}

/// Both ends interleaved: one has no time, so the half that the other has is by chance.
#[test]
fn no_time_at_one_end_leaves_none_at_the_other() {
    let mut frame = one_server(400, 50 * MS, 20 * US, 0, 0);
    untime(&mut frame.flows[0], 200, 50 * MS);
    untime(&mut frame.flows[1], 400, 1);
    let snapshot = folded(&frame);
    let told = edge(&snapshot, "program:load", "program:web");
    assert_eq!((told.untimed, told.latency_ns.count), (400, 0));
}

/// One UDP socket for four clients: the server saw several requests at once, no client had two open.
#[test]
fn callers_of_a_udp_server_know_better_unless_they_are_uncertain_themselves() {
    let shown = |by_itself: u64, untimed: u64| {
        let mut frame = one_server(115, 5 * MS, 20 * US, 0, 0);
        frame.flows[0] = flow((LOAD, WEB, 80), Role::Initiator, 400, 2_000 * MS, NONE);
        untime(&mut frame.flows[0], untimed, 5 * MS);
        untime(&mut frame.flows[1], 115, 1);
        frame.flows[1].ambiguous = by_itself;
        for flow in &mut frame.flows {
            flow.transport = Transport::Udp;
        }
        let snapshot = folded(&frame);
        let edge = edge(&snapshot, "program:load", "program:web");
        let requests = &component(&snapshot, "program:web").requests;
        (
            (edge.roundtrips, edge.latency_ns.count, edge.lower_bound),
            (requests.served, requests.untimed, requests.lower_bound),
        )
    };
    assert_eq!(shown(0, 0), ((400, 400, false), (400, 400, false)));
    assert_eq!(shown(1, 0), ((115, 0, true), (115, 115, true)));
    let ((_, timed, marked), server) = shown(0, 10);
    assert_eq!((timed, marked, server), (0, true, (115, 115, true)));
}

#[test]
fn calls_that_were_not_all_seen_leave_held_open() {
    let mut frame = chain(100);
    frame.flows[2] = flow((WEB, APP, 8080), Role::Initiator, 150, 585_000, cpu(30_000));
    let snapshot = folded(&frame);
    let held = |id| component(&snapshot, id).requests.held_unknown;
    assert_eq!(held("program:web"), Some(HeldUnknown::UnseenCalls));
    assert_eq!(held("program:app"), None);
    // Nor does anybody know how long a connection older than the attach made it wait.
    let mut frame = chain(100);
    frame.flows[2].role = Role::Unknown;
    frame.flows[2].answered = 0;
    let snapshot = folded(&frame);
    let held = component(&snapshot, "program:web").requests.held_unknown;
    assert_eq!(held, Some(HeldUnknown::UnseenCalls));
}

#[test]
fn one_end_that_cannot_be_timed_takes_the_others_times_along() {
    let mut frame = one_server(400, 50 * MS, 20 * US, 0, 0);
    untime(&mut frame.flows[1], 400, 1);
    let snapshot = folded(&frame);
    let told = edge(&snapshot, "program:load", "program:web");
    assert_eq!((told.untimed, told.latency_ns.count), (400, 0));

    let mut frame = one_server(400, 50 * MS, 20 * US, 0, 0);
    untime(&mut frame.flows[0], 290, 50 * MS);
    let snapshot = folded(&frame);
    let told = edge(&snapshot, "program:load", "program:web");
    assert_eq!((told.untimed, told.latency_ns.count), (290, 110));
    assert_eq!(told.service_ns.as_ref().unwrap().count, 0);
    let web = &component(&snapshot, "program:web").requests;
    assert_eq!((web.untimed, web.service_ns.count), (400, 0));
    assert_eq!(only(&snapshot).mean_ns, None);

    // Few that are timed were so by chance.
    let mut frame = one_server(400, 50 * MS, 20 * US, 0, 0);
    untime(&mut frame.flows[0], 301, 50 * MS);
    let snapshot = folded(&frame);
    let told = edge(&snapshot, "program:load", "program:web");
    assert_eq!((told.untimed, told.latency_ns.count), (400, 0));

    // A few are no reason to doubt the rest.
    let mut frame = one_server(400, 50 * MS, 20 * US, 0, 0);
    untime(&mut frame.flows[0], 20, 50 * MS);
    let snapshot = folded(&frame);
    let told = edge(&snapshot, "program:load", "program:web");
    assert_eq!(told.service_ns.as_ref().unwrap().count, 400);
}

#[test]
fn an_entry_that_works_on_after_its_replies_is_no_sum_and_comes_last() {
    // 376 µs to the reply, 8 182 µs at work.
    let mut frame = one_server(400, 376 * US, 8_182 * US, 0, 0);
    frame.images.push(image(APP, "app", &[81]));
    frame
        .flows
        .push(flow((LOAD, APP, 81), Role::Initiator, 9, 2 * MS, NONE));
    frame.flows.push(flow(
        (APP, LOAD, 81),
        Role::Acceptor,
        9,
        2 * MS,
        cpu(2 * MS),
    ));
    let snapshot = folded(&frame);
    let [app, web] = snapshot.entries.as_slice() else {
        panic!("{:#?}", snapshot.entries)
    };
    assert_eq!((app.component.as_str(), app.adds_up), ("program:app", true));
    assert_eq!((web.requests, web.adds_up), (400, false));
    let names = Names::of(&snapshot);
    assert_eq!(request_sum(web, &names), "376 µs; its parts do not add up");
    assert_eq!(
        request_notes(web, &names),
        [
            "web was at work for 8.18 ms a request: it works on after its replies, or for sends that answer no request"
        ]
    );
}

#[test]
fn recordings_from_before_unread_time_was_told_apart_say_what_they_said() {
    let mut frame = one_server(60, 61_600 * US, 5_500 * US, 56 * MS, 100 * US);
    for flow in &mut frame.flows {
        flow.unread_within_ns = 0;
    }
    let snapshot = folded(&frame);
    let entry = only(&snapshot);
    assert_eq!(court(entry, "program:web"), (None, 5_500.0, None));
    assert_eq!(entry.courts[0].held_unknown, Some(HeldUnknown::NotRecorded));
    assert_eq!(entry.other_ns, Some(56_100e3));
}

#[test]
fn pieces_of_messages_are_told_of_both_directions() {
    let mut frame = one_server(20, MS, MS, 0, 0);
    assert_eq!(
        edge(&folded(&frame), "program:load", "program:web").receiving_ns,
        None
    );
    frame.flows[0].receiving = times(20, 7 * MS);
    frame.flows[1].receiving = times(5, 44 * MS);
    let snapshot = folded(&frame);
    let receiving = &edge(&snapshot, "program:load", "program:web").receiving_ns;
    let receiving = receiving.as_ref().unwrap();
    assert_eq!(
        (receiving.count, receiving.sum_ns),
        (25, (20 * 7 + 5 * 44) * MS)
    );
}
