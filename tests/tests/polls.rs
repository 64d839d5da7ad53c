//! Threads that wait by looking for messages again and again. The workload counts its looks, and its own clock says between which
//! bounds the CPU time lies that went into them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use courtside_tests::harness::{Host, Measured, list, number};
use serde_json::Value;

/// What was measured of a client that looks in this way.
struct Looked {
    measured: Measured,
    name: String,
}

impl Looked {
    fn of(host: &Host, options: &[&str], how: &str, more: &[&str]) -> Self {
        let tag = host.tag();
        let mut arguments = vec!["polling", "--name", &tag, "--how", how];
        arguments.extend(more);
        let measured = host.measure_with(options, &arguments).unwrap();
        assert_eq!(measured.snapshot.lost_counts(), []);
        Self {
            measured,
            name: format!("{tag}-client"),
        }
    }

    fn client(&self) -> &Value {
        self.measured.snapshot.component(&self.name).unwrap()
    }

    fn truth(&self, what: &str) -> u64 {
        number(&self.measured.answer["client"], what).unwrap()
    }

    fn told(&self, what: &str) -> Option<u64> {
        self.client()["polls"][what].as_u64()
    }

    /// It began after the first look in vain had begun, and ended after the last one had begun: within the workload's bounds, but
    /// for a twentieth, since interrupts and what the machine takes away are no CPU time for the workload's clock.
    fn spun(&self) {
        let (least, most) = (self.truth("least_ns"), self.truth("most_ns"));
        let told = self.told("spin_ns").unwrap();
        assert!(least > 0);
        assert!(
            told >= least - least / 20 && told <= most + most / 20,
            "{told}, in truth {least} to {most}: {}",
            self.client()
        );
    }

    fn is_said(&self) -> bool {
        list(&self.measured.snapshot.0, "findings").any(|finding| {
            let id = &self.client()["id"];
            finding["rule"] == "busy_polling" && finding["component"] == *id
        })
    }
}

#[test]
fn receives_that_find_nothing_are_counted_and_what_they_cost() {
    let host = Host::take().unwrap();
    for transport in ["tcp4", "tcp6", "unix-stream", "unix-seqpacket"] {
        let looked = Looked::of(&host, &[], "receive", &["--transport", transport]);
        let found = looked.truth("empty_receives");
        assert_eq!(looked.told("empty_receives"), Some(found), "{transport}");
        looked.spun();
        assert!(looked.is_said(), "{transport}: {}", looked.client());
        let polls = &looked.client()["polls"];
        assert_eq!(polls["lower_bound"], true);
        for unknown in ["zero_timeout_polls", "yields"] {
            assert_eq!(polls[unknown], Value::Null);
        }
        assert!(polls["reason"].as_str().unwrap().contains("--polls"));
        // The server sleeps until a request comes.
        let server = looked.name.replace("client", "server");
        let server = looked.measured.snapshot.component(&server).unwrap();
        for what in ["polls/empty_receives", "polls/spin_ns"] {
            assert_eq!(number(server, what).unwrap(), 0);
        }
    }
}

#[test]
fn polls_of_all_kinds_that_do_not_wait_are_counted_where_they_are_asked_for() {
    let host = Host::take().unwrap();
    for how in [
        "poll",
        "ppoll",
        "select",
        "pselect",
        "epoll-wait",
        "epoll-pwait",
        "epoll-pwait2",
    ] {
        let looked = Looked::of(&host, &["--polls"], how, &["--requests", "50"]);
        let found = looked.truth("zero_timeout_polls");
        assert_eq!(looked.told("zero_timeout_polls"), Some(found), "{how}");
        assert_eq!(looked.told("yields"), Some(0), "{how}");
        assert_eq!(looked.told("empty_receives"), Some(0), "{how}");
        assert_eq!(looked.client()["polls"]["lower_bound"], false);
        looked.spun();
        assert!(looked.is_said(), "{how}: {}", looked.client());
    }
}

#[test]
fn yields_are_counted_where_they_are_asked_for() {
    let host = Host::take().unwrap();
    let looked = Looked::of(&host, &["--polls"], "yield", &[]);
    for what in ["empty_receives", "yields", "zero_timeout_polls"] {
        assert_eq!(looked.told(what), Some(looked.truth(what)), "{what}");
    }
    looked.spun();
}

/// Who sleeps until a message comes does not look in vain; who reads until nothing is left does so once, and works then.
#[test]
fn who_sleeps_and_who_works_do_not_spin() {
    let host = Host::take().unwrap();
    for how in ["block", "drain"] {
        let looked = Looked::of(&host, &["--polls"], how, &[]);
        for what in ["empty_receives", "yields", "zero_timeout_polls"] {
            assert_eq!(looked.told(what), Some(looked.truth(what)), "{how} {what}");
        }
        assert_eq!(looked.told("spin_ns"), Some(0), "{how}");
        assert!(!looked.is_said(), "{how}: {}", looked.client());
    }
}
