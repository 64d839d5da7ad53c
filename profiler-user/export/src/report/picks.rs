//! Which components and edges a picture shows, and the words for what it leaves out.
//!
//! In: a view of a snapshot. Out: their places, and a sentence. Must not know: pictures.

use std::cmp::Reverse;

use maud::{Markup, html};
use serde::Serialize;

use super::{Group, ReportView};
use courtside_core::model::snapshot::{Component, Edge};
use courtside_core::model::words::mostly_untimed;

/// Most rows of a picture with distributions.
const MAX_SPREADS: usize = 8;
/// Most lines of a picture over time: there are as many colours.
const MAX_LINES: usize = 6;
/// Most bars of a picture.
const MAX_BARS: usize = 30;

/// What one picture shows: places in the view's list, of how many.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Pick {
    pub shown: Vec<usize>,
    #[serde(skip)]
    pub of: usize,
}

impl Pick {
    fn new(mut all: Vec<usize>, most: usize, of: usize) -> Self {
        let of = of.max(all.len());
        all.truncate(most);
        Self { shown: all, of }
    }

    /// Says what is not there and where it is.
    pub fn rest(&self, what: &str, which: &str, place: &str) -> Markup {
        rest(self.shown.len(), self.of, what, which, place)
    }
}

/// `8 of 18 edges are shown, the busiest. The other 10: in the table of edges.`; nothing if all are.
pub(super) fn rest(shown: usize, of: usize, what: &str, which: &str, place: &str) -> Markup {
    html! {
        @if of > shown {
            p.more {
                (shown) " of " (of) " " (what) @if shown == 1 { " is shown, " } @else { " are shown, " } (which)
                ". The other" @if of - shown > 1 { " " (of - shown) } ": " (place) "."
            }
        }
    }
}

/// What each picture shows.
#[derive(Default, Serialize)]
pub(super) struct Picks {
    /// Latency of edges.
    pub latencies: Pick,
    /// Turnaround of services, and of components that serve no requests.
    pub turnarounds: Pick,
    pub thinks: Pick,
    /// Over time: requests served, service time at entries, CPU use.
    pub rates: Pick,
    pub services: Pick,
    pub cpus: Pick,
    /// Mean turnarounds of services, and of components that serve no requests.
    #[serde(skip)]
    pub means: Pick,
    #[serde(skip)]
    pub client_means: Pick,
}

impl Picks {
    pub fn of(view: &ReportView<'_>) -> Self {
        let those = |is: &dyn Fn(&Component) -> bool| -> Vec<usize> {
            let all = view.components.iter().enumerate();
            all.filter(|(_, c)| is(c)).map(|(n, _)| n).collect()
        };
        let turns = |group| those(&|c| view.group(c) == group && c.turnaround.count > 0);
        let turns_in_all = |group| {
            let all = view.whole.components.iter();
            all.filter(|c| view.group(c) == group && c.turnaround.count > 0)
                .count()
        };
        let (services, clients) = (turns(Group::Service), turns(Group::Client));
        let (all_services, all_clients) =
            (turns_in_all(Group::Service), turns_in_all(Group::Client));
        let is_timed =
            |e: &Edge| e.latency_ns.count > 0 && !mostly_untimed(e.untimed, e.roundtrips);
        let timed = |n: &usize| is_timed(view.edges[*n]);
        let all_timed = view.whole.edges.iter().filter(|e| is_timed(e));

        let over_time = |mut list: Vec<usize>, most, size: &dyn Fn(usize) -> u64| {
            list.retain(|n| !view.timeline.of(&view.components[*n].id).is_empty());
            list.sort_by_key(|n| (Reverse(size(*n)), *n));
            let of = list.len();
            Pick::new(list, most, of)
        };
        let served = |n: usize| view.components[n].requests.served;
        let entry = |c: &Component| view.whole.entries.iter().any(|e| e.component == c.id);
        Self {
            latencies: Pick::new(
                (0..view.edges.len()).filter(timed).collect(),
                MAX_SPREADS,
                all_timed.count(),
            ),
            turnarounds: Pick::new(services.clone(), MAX_SPREADS, all_services),
            thinks: Pick::new(clients.clone(), MAX_SPREADS, all_clients),
            rates: over_time(those(&|c| c.requests.served > 0), MAX_LINES, &served),
            services: over_time(
                those(&|c| c.requests.served > 0 && entry(c)),
                MAX_LINES,
                &served,
            ),
            cpus: over_time(those(&|_| true), MAX_LINES, &|n| {
                view.timeline.most_cpu(&view.components[n].id)
            }),
            means: Pick::new(services, MAX_BARS, all_services),
            client_means: Pick::new(clients, MAX_BARS, all_clients),
        }
    }
}
