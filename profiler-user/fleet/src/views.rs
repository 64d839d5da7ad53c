//! Views: what most questions begin with, over the tables of the export.
//!
//! In: nothing. Out: names, SQL. Must not know: how a question is answered.
//!
//! docs/fleet.md says what they mean; a test holds its list to this one.

/// A view.
pub(crate) struct View {
    pub name: &'static str,
    /// Tables and views that it is made of.
    pub needs: &'static [&'static str],
    pub sql: &'static str,
}

/// All of them.
pub(crate) const VIEWS: [View; 4] = [
    View {
        // One hour of one host: its machine, its windows, how many of them are lower bounds.
        name: "host_hours",
        needs: &["windows"],
        sql: r#"
SELECT host, hour,
    count(*) AS windows,
    min(start_unix_ns) AS start_unix_ns,
    max(start_unix_ns + duration_ns) AS end_unix_ns,
    sum(duration_ns) AS duration_ns,
    sum(CASE WHEN lower_bound THEN 1 ELSE 0 END) AS lower_bound_windows,
    max(hostname) AS hostname,
    max(kernel) AS kernel,
    max(arch) AS arch,
    max(cpus) AS cpus,
    max(tool_version) AS tool_version
FROM windows
GROUP BY host, hour"#,
    },
    View {
        // One component of one host in one hour: what it used and served; `cpi` is cycles over instructions, both summed.
        name: "services",
        needs: &["components"],
        sql: r#"
SELECT host, hour, id, max(name) AS name, max(kind) AS kind,
    count(*) AS windows,
    sum(on_cpu_ns) AS on_cpu_ns,
    sum(run_queue_ns) AS run_queue_ns,
    sum(block_io_ns) AS block_io_ns,
    sum(requests_served) AS requests_served,
    sum(service_count) AS service_count,
    sum(service_sum_ns) AS service_sum_ns,
    sum(cycles) AS cycles,
    sum(instructions) AS instructions,
    CAST(sum(cycles) AS DOUBLE) / nullif(sum(instructions), 0) AS cpi
FROM components
WHERE kind <> 'remote'
GROUP BY host, hour, id"#,
    },
    View {
        // One edge as one host saw it in one hour: `side` says which of its ends is on the host (`both`, `initiator`, `acceptor`), `address` what the other one is called there.
        name: "ends",
        needs: &["edges"],
        sql: r#"
SELECT host, hour, "from", "to", transport, port,
    CASE WHEN acceptor_only THEN 'acceptor'
         WHEN starts_with("to", 'remote:') THEN 'initiator'
         ELSE 'both' END AS side,
    CASE WHEN acceptor_only AND starts_with("from", 'remote:') THEN btrim(substr("from", 8), '[]')
         WHEN NOT acceptor_only AND starts_with("to", 'remote:') AND port > 0
             THEN btrim(substr("to", 8, greatest(character_length("to") - 8 - character_length(CAST(port AS VARCHAR)), 0)), '[]')
         ELSE NULL END AS address,
    count(*) AS windows,
    sum(roundtrips) AS roundtrips,
    sum(latency_count) AS latency_count,
    sum(latency_sum_ns) AS latency_sum_ns,
    sum(service_count) AS service_count,
    sum(service_sum_ns) AS service_sum_ns,
    sum(bytes_sent) AS bytes_sent,
    sum(bytes_received) AS bytes_received,
    sum(untimed) AS untimed,
    sum(retransmits) AS retransmits,
    sum(connects_failed) AS connects_failed,
    bool_or(lower_bound) AS lower_bound
FROM edges
GROUP BY host, hour, "from", "to", transport, port, acceptor_only"#,
    },
    View {
        // One finding of one rule about one component or edge of one host in one hour: in how many windows, since when, until when; `says` is of the last one.
        name: "found",
        needs: &["findings", "windows"],
        sql: r#"
SELECT f.host AS host, f.hour AS hour, f.rule AS rule, f.component AS component, f.edge_from AS edge_from, f.edge_to AS edge_to,
    count(*) AS windows,
    min(w.start_unix_ns) AS first_unix_ns,
    max(w.start_unix_ns + w.duration_ns) AS last_unix_ns,
    max(f.confidence) AS confidence,
    last_value(f.severity ORDER BY w.start_unix_ns) AS severity,
    last_value(f.says ORDER BY w.start_unix_ns) AS says
FROM findings f JOIN windows w ON f.host = w.host AND f.hour = w.hour AND f."window" = w."window"
GROUP BY f.host, f.hour, f.rule, f.component, f.edge_from, f.edge_to"#,
    },
];

/// The condition that leaves these hours.
pub(crate) fn hours(from: Option<&str>, to: Option<&str>) -> String {
    let mut all = vec!["true".to_owned()];
    all.extend(from.map(|hour| format!("hour >= {}", text(hour))));
    all.extend(to.map(|hour| format!("hour <= {}", text(hour))));
    all.join(" AND ")
}

/// A text as SQL has it.
pub(crate) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_view() {
        let page = include_str!("../../../docs/fleet.md");
        for view in &VIEWS {
            let row = format!("| `{}` |", view.name);
            assert!(page.contains(&row), "docs/fleet.md has no row {row}");
        }
    }

    #[test]
    fn a_text_with_a_quote_stays_one() {
        assert_eq!(text("o'dd"), "'o''dd'");
        assert_eq!(
            hours(None, Some("20261130T06")),
            "true AND hour <= '20261130T06'"
        );
    }
}
