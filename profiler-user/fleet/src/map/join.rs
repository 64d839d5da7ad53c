//! Both ends of connections between hosts, put together.
//!
//! In: what each host saw of its ends, whose each address is. Out: links, each with what is known of both ends, or why one is
//! missing. Must not know: files, time, how it is shown.
//!
//! Ends meet by host, host, transport and port. No time stamp of one host is ever set against one of another: latency and
//! service are lengths, each on one clock, so clocks that differ change nothing but which hour a window near its edge is in.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::hosts::{Addresses, Whose};

/// One end of an edge, as its host saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct End {
    pub host: String,
    /// The component on this host.
    pub component: String,
    /// Of an edge that has both ends here, the acceptor.
    pub other: Option<String>,
    /// What the far end is called here.
    pub address: String,
    pub transport: String,
    pub port: u64,
    pub sums: Sums,
}

/// What is added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub roundtrips: u64,
    pub latency: Timed,
    pub service: Timed,
    pub lower_bound: bool,
}

/// How many have a time, and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timed {
    pub count: u64,
    pub sum_ns: u64,
}

impl Timed {
    pub(crate) fn mean_ns(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_ns as f64 / self.count as f64)
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }
}

impl Sums {
    pub(crate) fn add(&mut self, other: Self) {
        self.roundtrips = self.roundtrips.saturating_add(other.roundtrips);
        self.latency.add(other.latency);
        self.service.add(other.service);
        self.lower_bound |= other.lower_bound;
    }
}

/// How both ends were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Through {
    /// Both are on one host.
    Local,
    /// Each knows the other by an address of its host.
    Direct,
    /// The acceptor sees the address of a translator; the counts of both sides agree.
    Nat,
    /// The initiator calls an address that no host has; the counts of both sides agree.
    VirtualAddress,
    /// Only the initiator was seen.
    InitiatorOnly,
    /// Only the acceptor was seen.
    AcceptorOnly,
}

/// Why there is no network time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NetworkUnknown {
    /// No host is known to have the address.
    AddressUnknown,
    /// Several hosts have the address.
    AddressOfSeveral,
    /// The host of the other end has told nothing of it.
    OtherEndUnseen,
    /// The two ends count differently, by more than two and a twentieth.
    CountsDiffer,
    /// More than a twentieth of the roundtrips have no time.
    Untimed,
    /// The acceptor took longer than the initiator waited: they timed different requests.
    ServiceLonger,
}

/// Who called whom.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub from_host: Option<String>,
    pub from: Option<String>,
    pub to_host: Option<String>,
    pub to: Option<String>,
    /// Of an end that was not seen; of a translator or a virtual address.
    pub address: Option<String>,
    pub transport: String,
    pub port: u64,
    pub through: Through,
    /// As the initiator counts and times; the acceptor's where only that was seen.
    pub sums: Sums,
    pub network_mean_ns: Result<f64, NetworkUnknown>,
}

/// Whether two ends count the same, but for what was under way when windows ended.
fn agree(a: u64, b: u64) -> bool {
    a.abs_diff(b) <= 2 + a.max(b) / 20
}

fn network(latency: Timed, asked: u64, service: Timed, served: u64) -> Result<f64, NetworkUnknown> {
    let partly = |timed: Timed, all: u64| timed.count < all - all / 20;
    if !agree(asked, served) {
        return Err(NetworkUnknown::CountsDiffer);
    }
    if partly(latency, asked) || partly(service, served) {
        return Err(NetworkUnknown::Untimed);
    }
    let (Some(latency), Some(service)) = (latency.mean_ns(), service.mean_ns()) else {
        return Err(NetworkUnknown::Untimed);
    };
    if service > latency {
        return Err(NetworkUnknown::ServiceLonger);
    }
    Ok(latency - service)
}

/// What is joined by: hosts, or one host, and transport and port.
type Key<'a> = (&'a str, &'a str, &'a str, u64);
type Group<'a> = BTreeMap<Key<'a>, Vec<&'a End>>;

fn total(ends: &[&End]) -> Sums {
    let mut sums = Sums::default();
    ends.iter().for_each(|end| sums.add(end.sums));
    sums
}

/// All that one of them is, in order: `unit:a`, seldom `unit:a | unit:b`.
fn all_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: BTreeSet<&str> = names.collect();
    names.into_iter().collect::<Vec<_>>().join(" | ")
}

/// Joins the ends: those of edges with both ends on one host, of initiators, of acceptors.
pub(crate) fn join(
    both: &[End],
    calling: &[End],
    called: &[End],
    addresses: &Addresses,
) -> Vec<Link> {
    let mut links: Vec<Link> = both.iter().map(local).collect();
    let mut asked: Group<'_> = BTreeMap::new();
    let mut served: Group<'_> = BTreeMap::new();
    let mut asking_nobody = Vec::new();
    let mut served_nobody = Vec::new();
    for end in calling {
        match addresses.whose(&end.address) {
            Whose::One(host) => asked
                .entry(key(&end.host, host, end))
                .or_default()
                .push(end),
            other => asking_nobody.push((end, unknown(&other))),
        }
    }
    for end in called {
        match addresses.whose(&end.address) {
            Whose::One(host) => served
                .entry(key(host, &end.host, end))
                .or_default()
                .push(end),
            other => served_nobody.push((end, unknown(&other))),
        }
    }
    asked.retain(|key, asking| match served.remove(key) {
        Some(serving) => {
            links.extend(joined(asking, &serving, Through::Direct, key.1));
            false
        }
        None => true,
    });
    let (asked, served_nobody) = translated(asked, served_nobody, &mut links);
    let (asking_nobody, served) = virtual_addresses(asking_nobody, served, &mut links);
    for (key, asking) in asked {
        let unseen = asking.into_iter().map(|end| Link {
            to_host: Some(key.1.to_owned()),
            ..initiator_only(end, NetworkUnknown::OtherEndUnseen)
        });
        links.extend(unseen);
    }
    links.extend(
        asking_nobody
            .into_iter()
            .map(|(end, why)| initiator_only(end, why)),
    );
    for (key, serving) in served {
        let unseen = serving.into_iter().map(|end| Link {
            from_host: Some(key.0.to_owned()),
            ..acceptor_only(end, NetworkUnknown::OtherEndUnseen)
        });
        links.extend(unseen);
    }
    links.extend(
        served_nobody
            .into_iter()
            .map(|(end, why)| acceptor_only(end, why)),
    );
    links
}

fn key<'a>(from: &'a str, to: &'a str, end: &'a End) -> Key<'a> {
    (from, to, &end.transport, end.port)
}

fn unknown(whose: &Whose<'_>) -> NetworkUnknown {
    match whose {
        Whose::Several => NetworkUnknown::AddressOfSeveral,
        Whose::One(_) | Whose::Nobody => NetworkUnknown::AddressUnknown,
    }
}

type Alone<'a> = Vec<(&'a End, NetworkUnknown)>;
/// Ends whose counterpart was not found, each with what it is joined by.
type Unmet<'a> = Vec<(Key<'a>, &'a End)>;
/// One host, transport and port.
type Place<'a> = (&'a str, &'a str, u64);

/// Initiators that no acceptor knows by their host, and acceptors on that host and port that know nobody by the address they
/// see: a translator lies between if the counts of all of them agree.
fn translated<'a>(
    asked: Group<'a>,
    served: Alone<'a>,
    links: &mut Vec<Link>,
) -> (Group<'a>, Alone<'a>) {
    let mut by_acceptor: BTreeMap<Place<'a>, (Unmet<'a>, Alone<'a>)> = BTreeMap::new();
    for (key, ends) in asked {
        let place = by_acceptor.entry((key.1, key.2, key.3)).or_default();
        place.0.extend(ends.into_iter().map(|end| (key, end)));
    }
    for (end, why) in served {
        let place = by_acceptor.entry((end.host.as_str(), end.transport.as_str(), end.port));
        place.or_default().1.push((end, why));
    }
    let mut left_asked: Group<'a> = BTreeMap::new();
    let mut left_served = Vec::new();
    for ((host, ..), (asking, serving)) in by_acceptor {
        let ends: Vec<&End> = asking.iter().map(|(_, end)| *end).collect();
        let seen: Vec<&End> = serving.iter().map(|(end, _)| *end).collect();
        let counts = (total(&ends).roundtrips, total(&seen).roundtrips);
        if ends.is_empty() || seen.is_empty() || !agree(counts.0, counts.1) {
            for (key, end) in asking {
                left_asked.entry(key).or_default().push(end);
            }
            left_served.extend(serving);
            continue;
        }
        links.extend(joined(&ends, &seen, Through::Nat, host));
    }
    (left_asked, left_served)
}

/// Initiators that call an address nobody has, and acceptors that know their host: the address stands for the acceptors' hosts
/// if the counts of all of them agree, and it is one.
fn virtual_addresses<'a>(
    asking: Alone<'a>,
    served: Group<'a>,
    links: &mut Vec<Link>,
) -> (Alone<'a>, Group<'a>) {
    let mut by_initiator: BTreeMap<Place<'a>, (Alone<'a>, Unmet<'a>)> = BTreeMap::new();
    for (end, why) in asking {
        let place = by_initiator.entry((end.host.as_str(), end.transport.as_str(), end.port));
        place.or_default().0.push((end, why));
    }
    for (key, ends) in served {
        let place = by_initiator.entry((key.0, key.2, key.3)).or_default();
        place.1.extend(ends.into_iter().map(|end| (key, end)));
    }
    let mut left_asking = Vec::new();
    let mut left_served: Group<'a> = BTreeMap::new();
    for (_, (asking, serving)) in by_initiator {
        let ends: Vec<&End> = asking.iter().map(|(end, _)| *end).collect();
        let seen: Vec<&End> = serving.iter().map(|(_, end)| *end).collect();
        let counts = (total(&ends).roundtrips, total(&seen).roundtrips);
        let addresses: BTreeSet<&str> = ends.iter().map(|end| end.address.as_str()).collect();
        if addresses.len() != 1 || seen.is_empty() || !agree(counts.0, counts.1) {
            left_asking.extend(asking);
            for (key, end) in serving {
                left_served.entry(key).or_default().push(end);
            }
            continue;
        }
        let hosts = all_of(seen.iter().map(|end| end.host.as_str()));
        links.extend(joined(&ends, &seen, Through::VirtualAddress, &hosts));
    }
    (left_asking, left_served)
}

/// A link for each initiator. What the acceptors took is known of all of them together.
fn joined(asking: &[&End], serving: &[&End], through: Through, host: &str) -> Vec<Link> {
    let (asked, served) = (total(asking), total(serving));
    let to = all_of(serving.iter().map(|end| end.component.as_str()));
    let agreed = network(
        asked.latency,
        asked.roundtrips,
        served.service,
        served.roundtrips,
    );
    let seen_as = match through {
        Through::Nat => serving,
        _ => asking,
    };
    let between = matches!(through, Through::Nat | Through::VirtualAddress)
        .then(|| all_of(seen_as.iter().map(|end| end.address.as_str())));
    let link = |end: &&End| {
        let own = match (
            asking.len(),
            end.sums.latency.mean_ns(),
            served.service.mean_ns(),
        ) {
            (2.., Some(latency), Some(service)) if agreed.is_ok() => {
                let network = latency - service;
                if network >= 0.0 {
                    Ok(network)
                } else {
                    Err(NetworkUnknown::ServiceLonger)
                }
            }
            _ => agreed,
        };
        // Of several initiators each is given its share of what the acceptors timed.
        let share = end.sums.roundtrips as f64 / asked.roundtrips.max(1) as f64;
        let part = |whole: u64| {
            if asking.len() == 1 {
                whole
            } else {
                (whole as f64 * share).round() as u64
            }
        };
        Link {
            from_host: Some(end.host.clone()),
            from: Some(end.component.clone()),
            to_host: Some(host.to_owned()),
            to: Some(to.clone()),
            address: between.clone(),
            transport: end.transport.clone(),
            port: end.port,
            through,
            sums: Sums {
                service: Timed {
                    count: part(served.service.count),
                    sum_ns: part(served.service.sum_ns),
                },
                lower_bound: end.sums.lower_bound | served.lower_bound,
                ..end.sums
            },
            network_mean_ns: own,
        }
    };
    asking.iter().map(link).collect()
}

fn local(end: &End) -> Link {
    let sums = end.sums;
    Link {
        from_host: Some(end.host.clone()),
        from: Some(end.component.clone()),
        to_host: Some(end.host.clone()),
        to: end.other.clone(),
        address: None,
        transport: end.transport.clone(),
        port: end.port,
        through: Through::Local,
        sums,
        network_mean_ns: network(sums.latency, sums.roundtrips, sums.service, sums.roundtrips),
    }
}

fn initiator_only(end: &End, why: NetworkUnknown) -> Link {
    Link {
        from_host: Some(end.host.clone()),
        from: Some(end.component.clone()),
        to_host: None,
        to: None,
        address: Some(end.address.clone()),
        transport: end.transport.clone(),
        port: end.port,
        through: Through::InitiatorOnly,
        sums: end.sums,
        network_mean_ns: Err(why),
    }
}

fn acceptor_only(end: &End, why: NetworkUnknown) -> Link {
    Link {
        from_host: None,
        from: None,
        to_host: Some(end.host.clone()),
        to: Some(end.component.clone()),
        address: Some(end.address.clone()),
        transport: end.transport.clone(),
        port: end.port,
        through: Through::AcceptorOnly,
        sums: end.sums,
        network_mean_ns: Err(why),
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
