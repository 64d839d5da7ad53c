//! `fleet roundtrips`: how many of each edge, for each request of who asks, and over time.
//!
//! In: the tables of edges and components of all hosts. Out: counts by services, and by hours. Must not know: how ends are
//! joined.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    answer::{Answer, Lines, Of},
    args::RoundtripsArgs,
    engine::Engine,
    map::{self, duration, join::Link, join::Sums},
    rows::Rows,
    views,
};

/// Name and version of the answer's schema.
const SCHEMA: &str = "courtside.fleet.roundtrips/1";

pub(crate) async fn run(args: &RoundtripsArgs) -> anyhow::Result<()> {
    let mut engine = Engine::open(&args.source)?;
    let addresses = map::addresses(args.hosts.as_deref(), &engine)?;
    let ends = map::ends(&mut engine, &args.time, args.by_hour).await?;
    let requests = requests(&mut engine, args).await?;
    let mut edges = Vec::new();
    for (hour, ends) in &ends {
        edges.extend(of_time(hour, &ends.join(&addresses), &requests));
    }
    let answer = Answer {
        of: Of::new(SCHEMA, &engine),
        says: Roundtrips {
            edges,
            by_hour: args.by_hour,
        },
    };
    answer.write(&args.output)
}

/// Requests that each component served on each host, by hour or of all time under an empty name.
type Requests = BTreeMap<(String, String, String), u64>;

async fn requests(engine: &mut Engine, args: &RoundtripsArgs) -> anyhow::Result<Requests> {
    let hour = if args.by_hour { "hour" } else { "''" };
    let asked = views::hours(args.time.from.as_deref(), args.time.to.as_deref());
    let sql = format!(
        "SELECT {hour} AS slot, host, id, sum(requests_served) AS served FROM services WHERE {asked} GROUP BY slot, host, id"
    );
    let mut served = BTreeMap::new();
    for batch in engine.rows(&sql).await? {
        let rows = Rows::of(&batch);
        let (at, host) = (rows.texts("slot")?, rows.texts("host")?);
        let (id, count) = (rows.texts("id")?, rows.sums("served")?);
        let keys = at.into_iter().zip(host).zip(id);
        served.extend(
            keys.zip(count)
                .map(|(((at, host), id), count)| ((at, host, id), count)),
        );
    }
    Ok(served)
}

type Key<'a> = (Option<&'a str>, Option<&'a str>, &'a str, u64);

fn of_time(hour: &str, links: &[Link], requests: &Requests) -> Vec<Edge> {
    let mut groups: BTreeMap<Key<'_>, (Sums, BTreeSet<&str>)> = BTreeMap::new();
    for link in links {
        let key = (
            link.from.as_deref(),
            link.to.as_deref(),
            link.transport.as_str(),
            link.port,
        );
        let (sums, hosts) = groups.entry(key).or_default();
        sums.add(link.sums);
        hosts.extend(link.from_host.as_deref());
    }
    let mut edges: Vec<Edge> = groups
        .into_iter()
        .map(|((from, to, transport, port), (sums, hosts))| {
            let served = from.map(|from| {
                let of = |host: &str| {
                    let key = (hour.to_owned(), host.to_owned(), from.to_owned());
                    requests.get(&key).copied().unwrap_or(0)
                };
                hosts
                    .iter()
                    .map(|host| of(host))
                    .fold(0, u64::saturating_add)
            });
            let served = served.filter(|served| *served > 0);
            Edge {
                hour: (!hour.is_empty()).then(|| hour.to_owned()),
                from: from.map(str::to_owned),
                to: to.map(str::to_owned),
                transport: transport.to_owned(),
                port,
                hosts: hosts.len(),
                roundtrips: sums.roundtrips,
                requests: served,
                roundtrips_per_request: served.map(|served| sums.roundtrips as f64 / served as f64),
                latency_mean_ns: sums.latency.mean_ns(),
                lower_bound: sums.lower_bound,
            }
        })
        .collect();
    edges.sort_by_key(|edge| std::cmp::Reverse(edge.roundtrips));
    edges
}

#[derive(Debug, Serialize)]
struct Edge {
    /// The hour; absent where all hours are one.
    #[serde(skip_serializing_if = "Option::is_none")]
    hour: Option<String>,
    /// Component id of the initiator; null where only the acceptor was seen.
    from: Option<String>,
    /// Component id of the acceptor; null where only the initiator was seen.
    to: Option<String>,
    transport: String,
    port: u64,
    /// Hosts of the initiator.
    hosts: usize,
    roundtrips: u64,
    /// Requests that the initiator served itself on these hosts; null if none.
    requests: Option<u64>,
    roundtrips_per_request: Option<f64>,
    latency_mean_ns: Option<f64>,
    lower_bound: bool,
}

#[derive(Debug, Serialize)]
struct Roundtrips {
    edges: Vec<Edge>,
    #[serde(skip)]
    by_hour: bool,
}

impl Lines for Roundtrips {
    fn columns(&self) -> Vec<(&'static str, bool)> {
        let mut columns = Vec::new();
        if self.by_hour {
            columns.push(("HOUR", false));
        }
        columns.extend([
            ("FROM", false),
            ("TO", false),
            ("PORT", true),
            ("HOSTS", true),
            ("ROUNDTRIPS", true),
            ("REQUESTS", true),
            ("RT/req", true),
            ("LATENCY", true),
        ]);
        columns
    }

    fn lines(&self) -> Vec<Vec<String>> {
        let none = || "-".to_owned();
        let line = |edge: &Edge| {
            let bound = if edge.lower_bound { "≥" } else { "" };
            let mut line: Vec<String> = edge.hour.iter().cloned().collect();
            line.extend([
                edge.from.clone().unwrap_or_else(none),
                edge.to.clone().unwrap_or_else(none),
                edge.port.to_string(),
                edge.hosts.to_string(),
                format!("{bound}{}", edge.roundtrips),
                edge.requests.map_or_else(none, |served| served.to_string()),
                edge.roundtrips_per_request
                    .map_or_else(none, |ratio| format!("{ratio:.2}")),
                edge.latency_mean_ns.map_or_else(none, duration),
            ]);
            line
        };
        self.edges.iter().map(line).collect()
    }
}
