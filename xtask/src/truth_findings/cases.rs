//! What is planted, and what the first line has to say of it.
//!
//! In: nothing. Out: cases, times. Must not know: how anything is started or judged.
//!
//! The whole run is to end within four minutes on two CPUs.

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Windows before something is planted.
    pub quiet: usize,
    /// Windows from then on, the one in which it is planted not among them.
    pub planted: usize,
}

pub const FULL: Plan = Plan {
    quiet: 4,
    planted: 8,
};

/// To see whether it works.
pub const QUICK: Plan = Plan {
    quiet: 2,
    planted: 4,
};

/// How it is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// `app.py` does as its first argument says from SIGUSR1 on.
    Told(&'static str),
    /// The same, and somebody writes to the same disk.
    ToldBesideWrites(&'static str),
    /// A process takes the CPU of `app.py`, which spins.
    Hog,
    /// More requests come to `app.py`, which serves one after the other.
    MoreRequests,
    /// `app.py`, which spins, gets a CPU quota.
    Quota,
    /// A chain of tiers is started anew, of which the first one asks the second more often.
    MoreCalls,
    /// An end on another host gets slow.
    SlowUpstream,
    /// Nothing.
    Nothing,
}

/// A planted cause.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Of options and files.
    pub slug: &'static str,
    /// In words.
    pub planted: &'static str,
    pub plant: Plant,
    /// The rule that has to have the first line; none where nothing may be said.
    pub rule: Option<&'static str>,
    /// The component that it has to name.
    pub component: &'static str,
    /// Whom this one asks too often, or by whom it is asked.
    pub other_end: Option<&'static str>,
}

/// Name of the service in Python.
pub const APP: &str = "app.py";
/// Name of the process that takes a CPU.
pub const HOG: &str = "hog-truth";
/// Its threads.
pub const HOG_THREADS: u32 = 4;
/// What a relay's processes are called after.
pub const SUFFIX: &str = "-truth";
/// CPUs that the quota leaves: half of what is used.
pub const QUOTA_CPUS: f64 = 0.1;

pub const CASES: [Case; 9] = [
    Case {
        slug: "queries",
        planted: "N + 1 queries: a service in Python asks redis 25 times for a request, and asked once before",
        plant: Plant::Told("queries"),
        rule: Some("chatty_edge"),
        component: APP,
        other_end: Some("redis-server"),
    },
    Case {
        slug: "hog",
        planted: "a program that does nothing but take CPU time, four threads bound to the CPU of a service",
        plant: Plant::Hog,
        rule: Some("antagonist"),
        component: HOG,
        other_end: None,
    },
    Case {
        slug: "lock",
        planted: "two threads hold one lock for 3 ms each; before, they sleep as long without it",
        plant: Plant::Told("lock"),
        rule: Some("lock_convoy"),
        component: APP,
        other_end: None,
    },
    Case {
        slug: "disk",
        planted: "an `fsync` for each request, while others write to the same disk",
        plant: Plant::ToldBesideWrites("fsync"),
        rule: Some("slow_disk"),
        component: APP,
        other_end: None,
    },
    Case {
        slug: "upstream",
        planted: "an upstream on another host answers after 10 ms, and after 0.2 ms before",
        plant: Plant::SlowUpstream,
        rule: Some("slow_peer"),
        component: "10.77.0.2:9000",
        other_end: Some("up-server"),
    },
    Case {
        slug: "overload",
        planted: "a server with one thread takes 2 ms for a request, and a new one comes every millisecond; before, every 10 ms",
        plant: Plant::MoreRequests,
        rule: Some("single_thread_limit"),
        component: APP,
        other_end: None,
    },
    Case {
        slug: "quota",
        planted: "a CPU quota of 0.1 CPUs for a service that uses 0.2",
        plant: Plant::Quota,
        rule: Some("cpu_quota"),
        component: APP,
        other_end: None,
    },
    Case {
        slug: "calls",
        planted: "a tier that asks the next one 20 times for a request, and once before, started anew",
        plant: Plant::MoreCalls,
        rule: Some("chatty_edge"),
        component: "web-truth",
        other_end: Some("app-truth"),
    },
    Case {
        slug: "nothing",
        planted: "nothing (the control): a service in Python that asks redis once for each request",
        plant: Plant::Nothing,
        rule: None,
        component: "",
        other_end: None,
    },
];

/// How `app.py` and its load are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct App {
    pub does: &'static str,
    /// Requests a second.
    pub rate: u32,
    pub connections: u32,
}

impl Plant {
    /// The service in Python that it is planted in, if any.
    pub fn app(self) -> Option<App> {
        let app = |does, rate, connections| {
            Some(App {
                does,
                rate,
                connections,
            })
        };
        match self {
            // Both threads always have a request.
            Self::Told("lock") => app("lock", 600, 2),
            Self::Told(does) | Self::ToldBesideWrites(does) => app(does, 200, 4),
            // One request at a time: none of its threads waits for another one of them.
            Self::Hog => app("spin", 100, 1),
            Self::Quota => app("spin", 200, 4),
            Self::MoreRequests => app("loop", 100, 2),
            Self::Nothing => app("queries", 200, 4),
            Self::MoreCalls | Self::SlowUpstream => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_of_it_takes_less_than_four_minutes() {
        // Some seconds each to start, to attach and to end.
        let each = FULL.quiet + FULL.planted + 1 + 9;
        assert!(CASES.len() * each < 240);
    }

    #[test]
    fn each_is_planted_once_and_one_is_the_control() {
        let slugs: BTreeSet<&str> = CASES.iter().map(|case| case.slug).collect();
        assert_eq!(slugs.len(), CASES.len());
        let is_one = |case: &Case| case.rule.is_none() == (case.plant == Plant::Nothing);
        assert!(CASES.iter().all(is_one));
        assert!(APP.len() <= 15 && HOG.len() <= 15);
    }
}
