//! Why there is no profile.
//!
//! In: what is missing. Out: one sentence that says so, and the command that mends it. Must not know: how it is found out.

use std::fmt;

use courtside_core::{
    model::visible::visible,
    units::{percent, rate, ratio},
};

use super::{
    demand::Falls,
    fit::{MIN_RATES, MIN_SPAN},
};

/// Why recordings cannot be fitted.
#[derive(Clone, Debug, PartialEq)]
pub enum CannotFit {
    /// No request came in.
    NoRequests {
        /// The recording.
        file: String,
        /// Where requests came in elsewhere.
        entries: Vec<String>,
    },
    /// The rates do not differ, or do not differ enough.
    TooFewRates {
        /// Those that there are.
        rates: Vec<f64>,
        /// Recordings that are left out, and why.
        left_out: Vec<(String, String)>,
    },
    /// Recordings of different hosts.
    Hosts {
        /// Which.
        hosts: Vec<String>,
    },
    /// Requests come in at several places, and not always in the same shares.
    EntriesChange {
        /// All of them.
        entries: Vec<String>,
        /// One of them.
        entry: String,
        /// Its lowest and highest share.
        shares: [f64; 2],
    },
    /// A request does not always make the same calls.
    MixChanges {
        /// Who calls.
        from: String,
        /// Whom.
        to: String,
        /// How often for each request, least and most.
        per_request: [f64; 2],
    },
    /// How many requests came in is not known.
    Interleaved {
        /// Where.
        component: String,
    },
    /// More requests take less.
    Negative {
        /// Of whom.
        component: String,
        /// How much.
        falls: Falls,
    },
}

fn listed(names: &[String]) -> String {
    const MOST: usize = 8;
    let shown: Vec<_> = names.iter().take(MOST).map(|name| visible(name)).collect();
    match names.len() {
        0 => "nowhere".to_owned(),
        n if n > MOST => format!("{} and {} more", shown.join(", "), n - MOST),
        _ => shown.join(", "),
    }
}

impl fmt::Display for CannotFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot fit because ")?;
        match self {
            Self::NoRequests { file, entries } => write!(
                f,
                "{} holds no request at the entry (elsewhere they come in at {}); record under load with: courtside record -o FILE -d 60s, or choose with: courtside model fit --entry NAME",
                visible(file),
                listed(entries)
            ),
            Self::TooFewRates { rates, left_out } => {
                let shown: Vec<String> = rates
                    .iter()
                    .map(|&one| format!("{}/s", rate(one)))
                    .collect();
                let s = if rates.len() == 1 { "" } else { "s" };
                write!(
                    f,
                    "there {} {} different rate{s} ({}), and at least {MIN_RATES} are needed, the highest {MIN_SPAN} times the lowest",
                    if rates.len() == 1 { "is" } else { "are" },
                    rates.len(),
                    listed(&shown)
                )?;
                for (file, reason) in left_out {
                    write!(f, "; {} is left out: {}", visible(file), visible(reason))?;
                }
                write!(
                    f,
                    "; record at other rates with: courtside record -o FILE -d 60s"
                )
            }
            Self::Hosts { hosts } => write!(
                f,
                "the recordings are of different hosts ({}), and which windows belong to each other is not known; give recordings of one host",
                listed(hosts)
            ),
            Self::EntriesChange {
                entries,
                entry,
                shares: [least, most],
            } => write!(
                f,
                "the mix of requests changes: they come in at {}, and {} has {} to {} of them; choose one with: courtside model fit --entry NAME[:PORT]",
                listed(entries),
                visible(entry),
                percent(*least),
                percent(*most)
            ),
            Self::MixChanges {
                from,
                to,
                per_request: [least, most],
            } => write!(
                f,
                "the mix of requests changes: one request makes {} to {} roundtrips from {} to {}; record the same mix at each rate, or choose one way in with: courtside model fit --entry NAME:PORT",
                ratio(Some(*least)),
                ratio(Some(*most)),
                visible(from),
                visible(to)
            ),
            Self::Interleaved { component } => write!(
                f,
                "it is not known how many requests {} served: several are open at once on its connections, or connections are older than the recording, and the count is a lower bound; choose a component with one request at a time with: courtside model fit --entry NAME[:PORT]",
                visible(component)
            ),
            Self::Negative { component, falls } => write!(
                f,
                "{} takes less CPU time as the rate rises ({} of a CPU at the lowest rate, {} at the highest): something else than requests decides; record each rate for longer, with the host otherwise idle: courtside record -o FILE -d 60s",
                visible(component),
                percent(falls.at_lowest / 1e9),
                percent(falls.at_highest / 1e9)
            ),
        }
    }
}

impl std::error::Error for CannotFit {}
