//! `busy_polling`: threads look for messages again and again, instead of sleeping until one comes.
//!
//! In: how often a component looked in vain, and its CPU time. Out: how much of that went into looking. Must not know: why it
//! looks.

use courtside_core::{
    model::{finding::Severity, snapshot::Component},
    units::{percent, rate},
};

use super::{
    Rule,
    facts::Facts,
    found::{CONCLUDED, Found, MEASURED, count, number, per_second, share},
};

/// Who looks less often than once in a millisecond does not do it without a pause.
const MIN_LOOKS_PER_SECOND: f64 = 1000.0;
/// Of one core: less than that is hardly worth a person's time.
const MIN_CORES: f64 = 0.05;
/// And less of its own CPU time than that is beside the point.
const MIN_OF_CPU: f64 = 0.2;
/// From this part of a core on others could have used it.
const WARN_CORES: f64 = 0.25;
/// A thread that has so little time for each look does hardly anything else.
const LOOK_NS: f64 = 10_000.0;
/// So many looks for each message that came are no way of reading messages.
const LOOKS_PER_MESSAGE: f64 = 100.0;

pub(super) struct BusyPolling;

/// Looks in vain of a window.
struct Looks {
    all: u64,
    per_second: f64,
    on_cpu_ns: u64,
}

impl Looks {
    fn of(component: &Component, facts: &Facts<'_>) -> Option<Self> {
        let polls = component.polls.as_ref()?;
        let all = polls
            .empty_receives
            .saturating_add(polls.zero_timeout_polls.unwrap_or(0))
            .saturating_add(polls.yields.unwrap_or(0));
        let per_second = facts.per_second(all);
        (per_second >= MIN_LOOKS_PER_SECOND).then_some(Self {
            all,
            per_second,
            on_cpu_ns: component.cpu.on_cpu_ns,
        })
    }

    /// What it spent until messages came, if it is enough: as parts of one core, and of its own CPU time.
    fn spun(&self, spin_ns: u64, facts: &Facts<'_>) -> Option<(f64, f64)> {
        // What lay in earlier windows is told in that of the message.
        let spun_ns = spin_ns.min(self.on_cpu_ns);
        let cores = facts.of_window(spun_ns);
        let of_cpu = spun_ns as f64 / self.on_cpu_ns.max(1) as f64;
        (cores >= MIN_CORES && of_cpu >= MIN_OF_CPU).then_some((cores, of_cpu))
    }

    /// Whether it does nothing else, whatever comes of it: parts of a core.
    fn only_looks(&self, messages: u64, facts: &Facts<'_>) -> Option<f64> {
        let cores = facts.of_window(self.on_cpu_ns);
        let each_ns = self.on_cpu_ns as f64 / self.all.max(1) as f64;
        let in_vain = self.all as f64 >= LOOKS_PER_MESSAGE * messages.max(1) as f64;
        (cores >= WARN_CORES && each_ns <= LOOK_NS && in_vain).then_some(cores)
    }
}

impl Rule for BusyPolling {
    fn name(&self) -> &'static str {
        "busy_polling"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let found = facts.local().filter_map(|component| {
            let looks = Looks::of(component, facts)?;
            let polls = component.polls.as_ref()?;
            let name = facts.name(&component.id);
            let often = rate(looks.per_second);
            let sent = facts.edges_to(&component.id).map(|edge| edge.messages_sent);
            let answers = facts.edges_from(&component.id).map(|edge| edge.messages_received);
            let (cores, sure, says, more) =
                if let Some((cores, of_cpu)) = looks.spun(polls.spin_ns, facts) {
                    let at_least = if polls.lower_bound { "at least " } else { "" };
                    let says = format!(
                        "{name} looks for messages {often} times a second in vain: {at_least}{} of its CPU time, {} of one core, went by until they came",
                        percent(of_cpu),
                        percent(cores)
                    );
                    (cores, MEASURED, says, share("spin_of_cpu_time", of_cpu))
                } else {
                    let messages = sent.chain(answers).fold(0, u64::saturating_add);
                    let cores = looks.only_looks(messages, facts)?;
                    let each = looks.all as f64 / messages.max(1) as f64;
                    let came = if messages == 0 {
                        "none".to_owned()
                    } else {
                        messages.to_string()
                    };
                    let says = format!(
                        "{name} looks for messages {often} times a second in vain, while it takes {} of one core, and {came} came",
                        percent(cores)
                    );
                    (cores, CONCLUDED, says, number("looks_per_message", each, "count"))
                };
            let mut evidence = vec![
                per_second("looks_in_vain", looks.per_second),
                share("of_one_core", cores),
                more,
                count("empty_receives", polls.empty_receives),
            ];
            let asked = [
                ("zero_timeout_polls", polls.zero_timeout_polls),
                ("yields", polls.yields),
            ];
            evidence.extend(asked.into_iter().filter_map(|(what, n)| Some(count(what, n?))));
            Some(Found {
                severity: if cores >= WARN_CORES {
                    Severity::Warn
                } else {
                    Severity::Info
                },
                component: component.id.clone(),
                edge: None,
                says,
                evidence,
                remedy: format!(
                    "Let threads of {name} sleep until a message comes, by receives that block or polls with a timeout; if they are to look all the time, give them CPUs that nobody else needs"
                ),
                sure,
                rests_on: looks.all,
                at_stake_ns: None,
            })
        });
        found.collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{calm, component, said};
    use super::*;
    use courtside_core::model::{Snapshot, snapshot::Polls};

    /// App looks so often in vain, and spends so long with it.
    fn looking(empty_receives: u64, spin_ns: u64) -> Snapshot {
        let mut snapshot = calm();
        component(&mut snapshot, "program:app").polls = Some(Polls {
            empty_receives,
            spin_ns,
            lower_bound: true,
            ..Polls::default()
        });
        snapshot
    }

    pub(in super::super) fn loud() -> Snapshot {
        looking(100_000, 400_000_000)
    }

    #[test]
    fn time_that_goes_by_until_messages_come_is_said() {
        let found = said("busy_polling", &loud());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "app looks for messages 100 000 times a second in vain: at least 80% of its CPU time, 40% of one core, went by until they came"
        );
        assert_eq!(found[0].severity, Severity::Warn);
        let little = said("busy_polling", &looking(100_000, 110_000_000));
        assert_eq!(little[0].severity, Severity::Info);
        // All ways of looking together are often enough.
        let mut others = looking(400, 400_000_000);
        let app = component(&mut others, "program:app");
        app.polls = app.polls.take().map(|polls| Polls {
            zero_timeout_polls: Some(400),
            yields: Some(200),
            lower_bound: false,
            ..polls
        });
        let found = said("busy_polling", &others);
        assert!(found[0].says.contains("in vain: 80%"), "{}", found[0].says);
        assert_eq!(found[0].evidence.len(), 6);
    }

    #[test]
    fn who_looks_and_nothing_comes_is_said() {
        let mut nothing = looking(500_000, 0);
        nothing.edges.truncate(1);
        nothing.entries.clear();
        let found = said("busy_polling", &nothing);
        assert_eq!(
            found[0].says,
            "app looks for messages 500 000 times a second in vain, while it takes 50% of one core, and none came"
        );
        // The CPU time went into something else.
        component(&mut nothing, "program:app").cpu.on_cpu_ns = 6_000_000_000;
        assert!(said("busy_polling", &nothing).is_empty());
    }

    #[test]
    fn who_reads_until_nothing_is_left_and_who_hardly_looks_are_no_finding() {
        // One look in vain after each message.
        assert!(said("busy_polling", &looking(2_000, 1_000_000)).is_empty());
        // Long, and not often: there are pauses.
        assert!(said("busy_polling", &looking(900, 400_000_000)).is_empty());
        // A little beside much work.
        let mut works = looking(100_000, 400_000_000);
        component(&mut works, "program:app").cpu.on_cpu_ns = 3_000_000_000;
        assert!(said("busy_polling", &works).is_empty());
        // Nobody knows.
        let mut unknown = loud();
        component(&mut unknown, "program:app").polls = None;
        assert!(said("busy_polling", &unknown).is_empty());
    }
}
