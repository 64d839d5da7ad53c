//! What threads sleep for: a lock, a timer, a message. The workload's own clocks say for how long it was each.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use courtside_tests::harness::{Host, Measured, list, number};
use serde_json::Value;

const REQUESTS: u64 = 100;

fn locked(host: &Host, more: &[&str]) -> Measured {
    let (tag, requests) = (host.tag(), REQUESTS.to_string());
    let mut arguments = vec!["locked", "--name", &tag, "--requests", &requests];
    arguments.extend(more);
    host.measure(&arguments).unwrap()
}

fn server<'a>(host: &Host, measured: &'a Measured) -> &'a Value {
    let name = format!("{}-server", host.tag());
    measured.snapshot.component(&name).unwrap()
}

/// A thread's own clocks see a wait end when it runs again. So it slept for no longer, and for that but what it waited for a
/// CPU then, and a twentieth.
fn slept(what: &str, server: &Value, measured: u64, truth: u64) {
    let waited = number(server, "cpu/run_queue_ns").unwrap();
    assert!(measured <= truth, "{what}: {measured}, in truth {truth}");
    assert!(
        measured + waited >= truth - truth / 20,
        "{what}: {measured}, in truth {truth}, in the run queue {waited}"
    );
}

#[test]
fn a_lock_that_three_threads_need_is_what_they_wait_for() {
    let host = Host::take().unwrap();
    let measured = locked(&host, &["--threads", "3"]);
    let truth = &measured.answer["server"];
    let server = server(&host, &measured);
    let waits = 3 * REQUESTS;
    assert_eq!(number(server, "requests/served").unwrap(), waits);
    let lock_ns = number(truth, "lock_ns").unwrap();
    let timer_ns = number(truth, "timer_ns").unwrap();
    let join_ns = number(truth, "join_ns").unwrap();
    // Who waits for a thread to end does so by a futex, too.
    slept(
        "lock",
        server,
        number(server, "waits/lock_ns").unwrap(),
        lock_ns + join_ns,
    );
    slept(
        "timer",
        server,
        number(server, "waits/timer_ns").unwrap(),
        timer_ns,
    );
    // Each had a request while it waited for the lock, and slept for nothing else but with the lock.
    let turnaround = &server["turnaround"];
    slept(
        "with the ball",
        server,
        number(turnaround, "lock_ns").unwrap(),
        lock_ns,
    );
    slept(
        "in all",
        server,
        number(turnaround, "sleep_ns").unwrap(),
        lock_ns + timer_ns,
    );
    let says = list(&measured.snapshot.0, "findings").next().unwrap();
    assert_eq!(says["rule"], "lock_convoy", "{says}");
}

/// Who only sleeps by timers, and waits for messages, waits for no lock.
#[test]
fn timers_and_messages_are_no_locks() {
    let host = Host::take().unwrap();
    let measured = locked(
        &host,
        &["--threads", "1", "--hold", "1ms", "--before", "3ms"],
    );
    let truth = &measured.answer["server"];
    let server = server(&host, &measured);
    let timer_ns = number(truth, "timer_ns").unwrap();
    slept(
        "timer",
        server,
        number(server, "waits/timer_ns").unwrap(),
        timer_ns,
    );
    assert_eq!(number(&server["turnaround"], "lock_ns").unwrap(), 0);
    // The client sleeps for one message after the other.
    let name = format!("{}-client", host.tag());
    let client = measured.snapshot.component(&name).unwrap();
    let socket_ns = number(client, "waits/socket_ns").unwrap();
    assert!(
        socket_ns >= timer_ns - timer_ns / 20,
        "{socket_ns}, {timer_ns}"
    );
    let other_ns = number(client, "waits/other_ns").unwrap();
    assert!(other_ns <= socket_ns / 10, "{socket_ns}, {other_ns}");
    assert!(list(&measured.snapshot.0, "findings").all(|says| says["rule"] != "lock_convoy"));
    assert!(locks(client).iter().all(|lock| lock["with_ball_ns"] == 0));
}

/// The futexes of a component.
fn locks(component: &Value) -> Vec<&Value> {
    list(component, "locks").collect()
}

/// The lock of the workload among them, by where the workload says that it is.
fn the_lock<'a>(server: &'a Value, truth: &Value) -> &'a Value {
    let from = number(truth, "lock_address").unwrap();
    let bytes = number(truth, "lock_bytes").unwrap();
    let is = |lock: &&Value| {
        let address = lock["address"].as_str().unwrap();
        let address = u64::from_str_radix(address.strip_prefix("0x").unwrap(), 16).unwrap();
        lock["tgid"] == truth["tgid"] && (from..from + bytes).contains(&address)
    };
    let mut found = locks(server).into_iter().filter(is);
    let lock = found.next().ok_or_else(|| server.to_string()).unwrap();
    assert!(found.next().is_none(), "one word: {server}");
    lock
}

/// A thread that is woken while it is on its way to sleep has not slept.
fn counted(lock: &Value, truth: &Value) {
    let (waits, truly) = (number(lock, "waits"), number(truth, "lock_waits"));
    let (waits, truly) = (waits.unwrap(), truly.unwrap());
    assert!(
        waits <= truly && waits >= truly - truly / 20,
        "{waits}, in truth {truly}"
    );
}

/// One thread has the lock for a long time, two others hardly ever: whoever waits for it waits for that thread.
#[test]
fn the_lock_is_named_with_the_thread_that_holds_it() {
    let host = Host::take().unwrap();
    let more = ["--threads", "3", "--keep", "3ms", "--hold", "0ms"];
    let measured = locked(&host, &more);
    let truth = &measured.answer["server"];
    let server = server(&host, &measured);
    let lock = the_lock(server, truth);
    counted(lock, truth);
    let (wait_ns, lock_ns) = (number(lock, "wait_ns"), number(truth, "lock_ns"));
    let (wait_ns, lock_ns) = (wait_ns.unwrap(), lock_ns.unwrap());
    slept("lock", server, wait_ns, lock_ns);
    // Each had a request while it waited.
    assert_eq!(number(lock, "with_ball_ns").unwrap(), wait_ns);
    // It costs more than the join in which the first thread waits for the others.
    assert_eq!(locks(server)[0], lock);
    let holder = &lock["holder"];
    assert_eq!(holder["tid"], truth["keeper_tid"], "{lock}");
    assert_eq!(holder["comm"], "keeper", "{lock}");
    let because_of_it = number(holder, "wait_ns").unwrap();
    assert!(because_of_it >= wait_ns / 10 * 9, "{lock}");
}

/// Of three that hold it equally long, each has it for about a third of what is waited.
#[test]
fn a_lock_that_all_hold_alike_has_a_holder_among_them_and_the_finding_names_it() {
    let host = Host::take().unwrap();
    let measured = locked(&host, &["--threads", "3"]);
    let truth = &measured.answer["server"];
    let server = server(&host, &measured);
    let lock = the_lock(server, truth);
    counted(lock, truth);
    let wait_ns = number(lock, "wait_ns").unwrap();
    slept("lock", server, wait_ns, number(truth, "lock_ns").unwrap());
    let because_of_it = number(&lock["holder"], "wait_ns").unwrap();
    let third = wait_ns * 3 / 10..wait_ns / 2;
    assert!(third.contains(&because_of_it), "{lock}");
    let says = list(&measured.snapshot.0, "findings")
        .find(|says| says["rule"] == "lock_convoy")
        .unwrap();
    let remedy = says["remedy"].as_str().unwrap();
    assert!(
        remedy.contains(lock["address"].as_str().unwrap()),
        "{remedy}"
    );
}
