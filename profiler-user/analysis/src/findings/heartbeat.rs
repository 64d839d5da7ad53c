//! `heartbeat`: a component sends by the clock, far more often than anybody needs to know that it is there.
//!
//! In: what a component sends to whom without being asked, and how evenly. Out: how often. Must not know: what the messages
//! say.

use courtside_core::{
    model::{
        finding::{Between, Severity},
        snapshot::{Component, Unprompted},
    },
    units::{duration_f64, percent, rate},
};

use super::{
    Rule,
    facts::Facts,
    found::{CONCLUDED, Found, count, ns, per_second, share},
};

/// The deviation of thirty times is known to an eighth.
const MIN_BEATS: u64 = 30;
/// Clocks tick with less deviation than this share of their period; what comes by chance has about one of 1.
const EVEN: f64 = 0.25;
/// Who is heard of more often than each 20 ms: failures are noticed in seconds.
const MIN_PER_SECOND: f64 = 50.0;
/// So often both ends do hardly anything else.
const WARN_PER_SECOND: f64 = 1000.0;
/// Where more of them are answered they are requests.
const MAX_ANSWERED: f64 = 0.5;

pub(super) struct Heartbeat;

/// Sends by the clock.
struct Beats<'a> {
    to: &'a Unprompted,
    period_ns: f64,
    spread: f64,
    per_second: f64,
}

impl<'a> Beats<'a> {
    fn of(component: &Component, to: &'a Unprompted, facts: &Facts<'_>) -> Option<Self> {
        let period_ns = to.gap_ns.filter(|gap| *gap > 0.0)?;
        let spread = to.gap_sd_ns? / period_ns;
        let per_second = facts.per_second(to.count);
        let answers = facts
            .edges_from(&component.id)
            .filter(|edge| edge.to == to.to);
        let answered: u64 = answers.map(|edge| edge.roundtrips).sum();
        let is_one = to.count >= MIN_BEATS
            && spread <= EVEN
            && per_second >= MIN_PER_SECOND
            && (answered as f64) < MAX_ANSWERED * to.count as f64;
        is_one.then_some(Self {
            to,
            period_ns,
            spread,
            per_second,
        })
    }
}

impl Rule for Heartbeat {
    fn name(&self) -> &'static str {
        "heartbeat"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let found = facts.local().flat_map(|component| {
            let to = component.turnaround.unprompted_to.iter();
            to.filter_map(|to| Some(found(component, &Beats::of(component, to, facts)?, facts)))
        });
        found.collect()
    }
}

fn found(component: &Component, beats: &Beats<'_>, facts: &Facts<'_>) -> Found {
    let (name, to) = (facts.name(&component.id), facts.name(&beats.to.to));
    Found {
        severity: if beats.per_second >= WARN_PER_SECOND {
            Severity::Warn
        } else {
            Severity::Info
        },
        component: component.id.clone(),
        edge: between(&component.id, &beats.to.to, facts),
        says: format!(
            "{name} sends to {to} {} times a second by a clock, each thread of it {} after its send before (give or take {}), and nobody asks for it",
            rate(beats.per_second),
            duration_f64(beats.period_ns),
            percent(beats.spread)
        ),
        evidence: vec![
            per_second("beats", beats.per_second),
            count("sends_unprompted", beats.to.count),
            ns("period", beats.period_ns),
            share("deviation_of_period", beats.spread),
        ],
        remedy: format!(
            "If these are heartbeats, let {name} send them less often, and only when it has sent nothing else meanwhile: a longer period only means that {to} notices later that it is gone. If they are data, send several at once"
        ),
        sure: CONCLUDED,
        rests_on: beats.to.count,
        at_stake_ns: None,
    }
}

/// The edge between the two, whoever asked for the connection.
fn between(id: &str, to: &str, facts: &Facts<'_>) -> Option<Between> {
    let mut out = facts.edges_from(id).filter(|edge| edge.to == to);
    let mut into = facts.edges_to(id).filter(|edge| edge.from == to);
    let edge = out.next().or_else(|| into.next())?;
    Some(Between {
        from: edge.from.clone(),
        to: edge.to.clone(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{calm, component, edge, said};
    use super::*;
    use courtside_core::model::Snapshot;

    fn beating(count: u64, gap_ns: f64, gap_sd_ns: f64) -> Snapshot {
        let mut snapshot = calm();
        component(&mut snapshot, "program:app")
            .turnaround
            .unprompted_to = vec![Unprompted {
            to: "unit:web".to_owned(),
            count,
            gap_ns: Some(gap_ns),
            gap_sd_ns: Some(gap_sd_ns),
        }];
        snapshot
    }

    pub(in super::super) fn loud() -> Snapshot {
        beating(100, 10e6, 0.3e6)
    }

    #[test]
    fn who_sends_by_a_clock_a_hundred_times_a_second_is_said() {
        let found = said("heartbeat", &loud());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "app sends to web 100 times a second by a clock, each thread of it 10.0 ms after its send before (give or take 3.0%), and nobody asks for it"
        );
        assert_eq!(found[0].severity, Severity::Info);
        assert_eq!(found[0].evidence[0].value, 100.0);
        let edge = found[0].edge.as_ref().unwrap();
        assert_eq!(
            (edge.from.as_str(), edge.to.as_str()),
            ("unit:web", "program:app")
        );
        let often = said("heartbeat", &beating(2000, 0.5e6, 0.05e6));
        assert_eq!(often[0].severity, Severity::Warn);
    }

    #[test]
    fn what_is_seldom_or_uneven_or_answered_is_no_finding() {
        for [count, gap_ns, gap_sd_ns] in [
            // Once in fifty milliseconds.
            [20.0, 50e6, 1e6],
            // By chance.
            [100.0, 10e6, 9e6],
            // Hardly any.
            [29.0, 1e6, 0.0],
        ] {
            let snapshot = beating(count as u64, gap_ns, gap_sd_ns);
            assert!(said("heartbeat", &snapshot).is_empty(), "{count}");
        }
        // Requests at a fixed rate.
        let mut asks = loud();
        asks.edges
            .push(edge("program:app", "unit:web", 80, 100, 1_000_000));
        assert!(said("heartbeat", &asks).is_empty());
        // An older recording does not tell.
        let mut old = loud();
        let app = component(&mut old, "program:app");
        app.turnaround.unprompted_to[0].gap_sd_ns = None;
        assert!(said("heartbeat", &old).is_empty());
    }
}
