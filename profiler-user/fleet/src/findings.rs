//! `fleet findings`: what is wrong, where, since when.
//!
//! In: the tables of findings and windows of all hosts. Out: findings of the same rule about the same component as one, with its
//! hosts and times. Must not know: how something is found.

use serde::Serialize;

use crate::{
    answer::{Answer, Lines, Of},
    args::FindingsArgs,
    engine::Engine,
    glob::Globs,
    rows::Rows,
    views,
};

/// Name and version of the answer's schema.
const SCHEMA: &str = "courtside.fleet.findings/1";

pub(crate) async fn run(args: &FindingsArgs) -> anyhow::Result<()> {
    let rules = Globs::new(&args.rule)?;
    let mut engine = Engine::open(&args.source)?;
    let hours = views::hours(args.time.from.as_deref(), args.time.to.as_deref());
    let sql = format!(
        r#"
SELECT rule, component, edge_from, edge_to,
    count(DISTINCT host) AS hosts,
    sum(windows) AS windows,
    min(first_unix_ns) AS first_unix_ns,
    max(last_unix_ns) AS last_unix_ns,
    first_value(host ORDER BY first_unix_ns, host) AS first_host,
    max(confidence) AS confidence,
    last_value(severity ORDER BY last_unix_ns, host) AS severity,
    last_value(says ORDER BY last_unix_ns, host) AS says
FROM found
WHERE {hours}
GROUP BY rule, component, edge_from, edge_to
ORDER BY hosts DESC, windows DESC, rule, component"#
    );
    let mut findings = Vec::new();
    for batch in engine.rows(&sql).await? {
        let found = found(&Rows::of(&batch))?;
        findings.extend(found.into_iter().filter(|found| rules.fits(&found.rule)));
    }
    let answer = Answer {
        of: Of::new(SCHEMA, &engine),
        says: Findings { findings },
    };
    answer.write(&args.output)
}

fn found(rows: &Rows<'_>) -> anyhow::Result<Vec<Found>> {
    let texts = |name: &str| rows.texts(name).map(Vec::into_iter);
    let or_null = |name: &str| rows.texts_or_null(name).map(Vec::into_iter);
    let counts = |name: &str| rows.sums(name).map(Vec::into_iter);
    let (mut rule, mut component) = (texts("rule")?, texts("component")?);
    let (mut from, mut to) = (or_null("edge_from")?, or_null("edge_to")?);
    let (mut severity, mut says) = (texts("severity")?, texts("says")?);
    let mut first_host = texts("first_host")?;
    let (mut hosts, mut windows) = (counts("hosts")?, counts("windows")?);
    let (mut first, mut last) = (counts("first_unix_ns")?, counts("last_unix_ns")?);
    let mut confidence = rows.reals("confidence")?.into_iter();
    let mut next = || {
        Some(Found {
            rule: rule.next()?,
            component: component.next()?,
            edge_from: from.next()?,
            edge_to: to.next()?,
            severity: severity.next()?,
            hosts: hosts.next()?,
            windows: windows.next()?,
            first_unix_ns: first.next()?,
            last_unix_ns: last.next()?,
            first_host: first_host.next()?,
            confidence: confidence.next()?,
            says: says.next()?,
        })
    };
    Ok(std::iter::from_fn(&mut next).collect())
}

#[derive(Debug, Serialize)]
struct Found {
    rule: String,
    /// Component id.
    component: String,
    /// Component ids of an edge; null where it is about no edge.
    edge_from: Option<String>,
    edge_to: Option<String>,
    /// As it was said last.
    severity: String,
    hosts: u64,
    /// Windows of all hosts.
    windows: u64,
    /// Since when, and until when, by the clocks of the hosts.
    first_unix_ns: u64,
    last_unix_ns: u64,
    /// Where it was first.
    first_host: String,
    confidence: Option<f64>,
    /// As it was said last.
    says: String,
}

#[derive(Debug, Serialize)]
struct Findings {
    findings: Vec<Found>,
}

impl Lines for Findings {
    fn columns(&self) -> Vec<(&'static str, bool)> {
        vec![
            ("RULE", false),
            ("COMPONENT", false),
            ("HOSTS", true),
            ("WINDOWS", true),
            ("SINCE", false),
            ("UNTIL", false),
            ("FIRST ON", false),
            ("SAYS", false),
        ]
    }

    fn lines(&self) -> Vec<Vec<String>> {
        let line = |found: &Found| {
            vec![
                found.rule.clone(),
                found.component.clone(),
                found.hosts.to_string(),
                found.windows.to_string(),
                time(found.first_unix_ns),
                time(found.last_unix_ns),
                found.first_host.clone(),
                found.says.clone(),
            ]
        };
        self.findings.iter().map(line).collect()
    }
}

/// A time as `2026-11-30T06:00:00Z`.
fn time(unix_ns: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(unix_ns);
    humantime::format_rfc3339_seconds(time).to_string()
}
