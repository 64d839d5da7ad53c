//! `fleet map`: one map of all services, over all hosts.
//!
//! In: the table of edges of all hosts, whose each address is. Out: who calls whom, how often, and what the network takes. Must
//! not know: how ends are joined; one clock from another.

pub(crate) mod join;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::Serialize;

use crate::{
    answer::{Answer, Lines, Of},
    args::{MapArgs, TimeArgs},
    engine::Engine,
    hosts::Addresses,
    rows::Rows,
    views,
};
use join::{End, Link, NetworkUnknown, Sums, Through, Timed, join};

/// Name and version of the answer's schema.
const SCHEMA: &str = "courtside.fleet.map/1";

pub(crate) async fn run(args: &MapArgs) -> anyhow::Result<()> {
    let mut engine = Engine::open(&args.source)?;
    let addresses = addresses(args.hosts.as_deref(), &engine)?;
    let ends = ends(&mut engine, &args.time, false).await?;
    let links: Vec<Link> = ends
        .into_values()
        .flat_map(|ends| ends.join(&addresses))
        .collect();
    let mut edges = edges(&links, args.by_host);
    edges.sort_by(|a, b| {
        let order = |edge: &Edge| {
            (
                std::cmp::Reverse(edge.roundtrips),
                edge.from.clone(),
                edge.to.clone(),
            )
        };
        order(a).cmp(&order(b))
    });
    let map = Map {
        edges,
        by_host: args.by_host,
        addresses_known: !addresses.is_empty(),
    };
    let answer = Answer {
        of: Of::new(SCHEMA, &engine),
        says: map,
    };
    answer.write(&args.output)
}

pub(crate) fn addresses(given: Option<&Path>, engine: &Engine) -> anyhow::Result<Addresses> {
    let hosts = engine.tree().hours();
    Addresses::read(given, engine.root(), hosts.keys().copied())
}

/// The ends of one time.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    both: Vec<End>,
    calling: Vec<End>,
    called: Vec<End>,
}

impl Ends {
    pub(crate) fn join(&self, addresses: &Addresses) -> Vec<Link> {
        join(&self.both, &self.calling, &self.called, addresses)
    }
}

/// What each host saw of its edges: of each hour, or of all time under an empty name.
pub(crate) async fn ends(
    engine: &mut Engine,
    time: &TimeArgs,
    by_hour: bool,
) -> anyhow::Result<BTreeMap<String, Ends>> {
    let hour = if by_hour { "hour" } else { "''" };
    let asked = views::hours(time.from.as_deref(), time.to.as_deref());
    let sql = format!(
        r#"
SELECT {hour} AS slot, host, "from", "to", transport, port, side, address,
    sum(roundtrips) AS roundtrips,
    sum(latency_count) AS latency_count, sum(latency_sum_ns) AS latency_sum_ns,
    sum(service_count) AS service_count, sum(service_sum_ns) AS service_sum_ns,
    bool_or(lower_bound) AS lower_bound
FROM ends WHERE {asked}
GROUP BY slot, host, "from", "to", transport, port, side, address
ORDER BY slot, host, "from", "to", transport, port"#
    );
    let mut ends: BTreeMap<String, Ends> = BTreeMap::new();
    let mut answer = engine.ask(&sql).await?;
    while let Some(batch) = answer.next().await? {
        let rows = Rows::of(&batch);
        let [at, host, from, to, transport, side, address] =
            ["slot", "host", "from", "to", "transport", "side", "address"]
                .map(|name| rows.texts(name));
        let (at, host, from, to) = (at?, host?, from?, to?);
        let (transport, side, address) = (transport?, side?, address?);
        let port = rows.sums("port")?;
        let roundtrips = rows.sums("roundtrips")?;
        let latency = timed(&rows, "latency")?;
        let service = timed(&rows, "service")?;
        let lower_bound = rows.flags("lower_bound")?;
        for row in 0..rows.count() {
            let text = |column: &[String]| column.get(row).cloned().unwrap_or_default();
            let of = ends.entry(text(&at)).or_default();
            let side = text(&side);
            let (component, other) = match side.as_str() {
                "acceptor" => (text(&to), None),
                "both" => (text(&from), Some(text(&to))),
                _ => (text(&from), None),
            };
            let end = End {
                host: text(&host),
                component,
                other,
                address: text(&address),
                transport: text(&transport),
                port: port.get(row).copied().unwrap_or(0),
                sums: Sums {
                    roundtrips: roundtrips.get(row).copied().unwrap_or(0),
                    latency: latency.get(row).copied().unwrap_or_default(),
                    service: service.get(row).copied().unwrap_or_default(),
                    lower_bound: lower_bound.get(row).copied().unwrap_or(false),
                },
            };
            match side.as_str() {
                "acceptor" => of.called.push(end),
                "both" => of.both.push(end),
                _ => of.calling.push(end),
            }
        }
    }
    Ok(ends)
}

fn timed(rows: &Rows<'_>, name: &str) -> anyhow::Result<Vec<Timed>> {
    let counts = rows.sums(&format!("{name}_count"))?;
    let sums = rows.sums(&format!("{name}_sum_ns"))?;
    let both = counts.into_iter().zip(sums);
    Ok(both
        .map(|(count, sum_ns)| Timed { count, sum_ns })
        .collect())
}

/// Links of the same services as one.
#[derive(Debug, Default, Serialize)]
struct Edge {
    /// Component id of the initiator; null where only the acceptor was seen.
    from: Option<String>,
    /// Component id of the acceptor; null where only the initiator was seen.
    to: Option<String>,
    transport: String,
    port: u64,
    through: Option<Through>,
    /// Hosts on either side.
    from_hosts: usize,
    to_hosts: usize,
    /// Of these hosts alone, if one line is one pair of hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    from_host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_host: Option<String>,
    /// Far ends that were not seen, translators, virtual addresses: one of them, and how many there are.
    address: Option<String>,
    addresses: usize,
    roundtrips: u64,
    latency_count: u64,
    latency_mean_ns: Option<f64>,
    service_count: u64,
    service_mean_ns: Option<f64>,
    /// Mean of the initiator's latency without the acceptor's service time: of the roundtrips whose ends agree.
    network_mean_ns: Option<f64>,
    /// Roundtrips of which it is known.
    network_roundtrips: u64,
    /// Why it is not known of the others.
    network_unknown: BTreeSet<NetworkUnknown>,
    /// Counts are lower bounds.
    lower_bound: bool,
}

type Key<'a> = (
    Option<&'a str>,
    Option<&'a str>,
    &'a str,
    u64,
    Through,
    Option<(Option<&'a str>, Option<&'a str>)>,
);

fn edges(links: &[Link], by_host: bool) -> Vec<Edge> {
    let mut groups: BTreeMap<Key<'_>, Vec<&Link>> = BTreeMap::new();
    for link in links {
        let hosts = by_host.then_some((link.from_host.as_deref(), link.to_host.as_deref()));
        let key = (
            link.from.as_deref(),
            link.to.as_deref(),
            link.transport.as_str(),
            link.port,
            link.through,
            hosts,
        );
        groups.entry(key).or_default().push(link);
    }
    groups
        .into_values()
        .map(|links| edge(&links, by_host))
        .collect()
}

fn edge(links: &[&Link], by_host: bool) -> Edge {
    let mut sums = Sums::default();
    let mut network_ns = 0.0;
    let mut edge = Edge::default();
    for link in links {
        sums.add(link.sums);
        match link.network_mean_ns {
            Ok(mean_ns) => {
                network_ns += mean_ns * link.sums.roundtrips as f64;
                edge.network_roundtrips =
                    edge.network_roundtrips.saturating_add(link.sums.roundtrips);
            }
            Err(why) => {
                edge.network_unknown.insert(why);
            }
        }
    }
    let hosts = |of: fn(&Link) -> Option<&str>| {
        let hosts: BTreeSet<&str> = links.iter().filter_map(|link| of(link)).collect();
        hosts
    };
    let addresses = hosts(|link| link.address.as_deref());
    let known = edge.network_roundtrips;
    let first = links.first();
    Edge {
        from: first.and_then(|link| link.from.clone()),
        to: first.and_then(|link| link.to.clone()),
        transport: first.map(|link| link.transport.clone()).unwrap_or_default(),
        port: first.map_or(0, |link| link.port),
        through: first.map(|link| link.through),
        from_hosts: hosts(|link| link.from_host.as_deref()).len(),
        to_hosts: hosts(|link| link.to_host.as_deref()).len(),
        from_host: first
            .filter(|_| by_host)
            .and_then(|link| link.from_host.clone()),
        to_host: first
            .filter(|_| by_host)
            .and_then(|link| link.to_host.clone()),
        address: addresses.first().map(|address| (*address).to_owned()),
        addresses: addresses.len(),
        roundtrips: sums.roundtrips,
        latency_count: sums.latency.count,
        latency_mean_ns: sums.latency.mean_ns(),
        service_count: sums.service.count,
        service_mean_ns: sums.service.mean_ns(),
        network_mean_ns: (known > 0).then(|| network_ns / known as f64),
        lower_bound: sums.lower_bound,
        ..edge
    }
}

#[derive(Debug, Serialize)]
struct Map {
    edges: Vec<Edge>,
    #[serde(skip)]
    by_host: bool,
    #[serde(skip)]
    addresses_known: bool,
}

impl Lines for Map {
    fn columns(&self) -> Vec<(&'static str, bool)> {
        let hosts = if self.by_host {
            [("HOST", false), ("TO HOST", false)]
        } else {
            [("HOSTS", true), ("TO HOSTS", true)]
        };
        let mut columns = vec![
            ("FROM", false),
            ("TO", false),
            ("PORT", true),
            ("THROUGH", false),
        ];
        columns.extend(hosts);
        columns.extend([
            ("ROUNDTRIPS", true),
            ("LATENCY", true),
            ("SERVICE", true),
            ("NETWORK", true),
            ("", false),
        ]);
        columns
    }

    fn lines(&self) -> Vec<Vec<String>> {
        self.edges
            .iter()
            .map(|edge| edge.line(self.by_host))
            .collect()
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let unjoined = |edge: &&Edge| edge.through.is_some_and(is_one_sided);
        if !self.addresses_known && self.edges.iter().any(|edge| unjoined(&edge)) {
            remarks.push(
                "no address of any host is known, so edges between hosts have one end: write ADDRESS NAME for each host into DIR/hosts, or give --hosts FILE"
                    .to_owned(),
            );
        }
        remarks
    }
}

fn is_one_sided(through: Through) -> bool {
    matches!(through, Through::InitiatorOnly | Through::AcceptorOnly)
}

impl Edge {
    fn line(&self, by_host: bool) -> Vec<String> {
        let address = match (&self.address, self.addresses) {
            (Some(address), 0 | 1) => address.clone(),
            (Some(address), more) => format!("{address} and {} more", more - 1),
            (None, _) => "-".to_owned(),
        };
        let end = |name: &Option<String>| name.clone().unwrap_or_else(|| address.clone());
        let mean = |ns: Option<f64>| ns.map_or_else(|| "-".to_owned(), duration);
        let hosts = if by_host {
            [&self.from_host, &self.to_host]
                .map(|host| host.clone().unwrap_or_else(|| "-".to_owned()))
        } else {
            [self.from_hosts, self.to_hosts].map(|hosts| hosts.to_string())
        };
        let mut line = vec![
            end(&self.from),
            end(&self.to),
            self.port.to_string(),
            self.through.map_or("", word).to_owned(),
        ];
        line.extend(hosts);
        let bound = if self.lower_bound { "≥" } else { "" };
        let why: Vec<&str> = self
            .network_unknown
            .iter()
            .map(|why| reason(*why))
            .collect();
        line.extend([
            format!("{bound}{}", self.roundtrips),
            mean(self.latency_mean_ns),
            mean(self.service_mean_ns),
            mean(self.network_mean_ns),
            why.join("; "),
        ]);
        line
    }
}

pub(crate) fn duration(ns: f64) -> String {
    courtside_core::units::duration_f64(ns)
}

fn word(through: Through) -> &'static str {
    match through {
        Through::Local => "local",
        Through::Direct => "direct",
        Through::Nat => "NAT",
        Through::VirtualAddress => "virtual address",
        Through::InitiatorOnly => "initiator only",
        Through::AcceptorOnly => "acceptor only",
    }
}

fn reason(why: NetworkUnknown) -> &'static str {
    match why {
        NetworkUnknown::AddressUnknown => "no host is known to have the address",
        NetworkUnknown::AddressOfSeveral => "several hosts have the address",
        NetworkUnknown::OtherEndUnseen => "the other end's host has told nothing of it",
        NetworkUnknown::CountsDiffer => "the two ends count differently",
        NetworkUnknown::Untimed => "some roundtrips have no time",
        NetworkUnknown::ServiceLonger => "the ends timed different requests",
    }
}
