//! The Grafana dashboards: which panels each has.
//!
//! In: nothing. Out: tables of panels. Must not know: how Grafana writes them down.

use super::{
    Look::{Lines, Number, Stacked, Table},
    Page, Panel, Query,
};

macro_rules! c {
    ($metric:literal $(, $more:literal)?) => {
        concat!("rate(", $metric, "{instance=~\"$instance\",component=~\"$component\"", $(",", $more,)? "}[$__rate_interval])")
    };
}

macro_rules! e {
    ($metric:literal $(, $more:literal)?) => {
        concat!(
            "rate(", $metric, "{instance=~\"$instance\",from=~\"$component\"", $(",", $more,)? "}[$__rate_interval])"
        )
    };
}

macro_rules! by {
    ($labels:literal, $rate:expr) => {
        concat!("sum by (", $labels, ") (", $rate, ")")
    };
}

macro_rules! mean {
    ($labels:literal, $sum:expr, $count:expr) => {
        concat!(
            "sum by (",
            $labels,
            ") (",
            $sum,
            ") / (sum by (",
            $labels,
            ") (",
            $count,
            ") > 0)"
        )
    };
}

macro_rules! quantile {
    ($q:literal, $labels:literal, $rate:expr) => {
        concat!(
            "histogram_quantile(",
            $q,
            ", sum by (le,",
            $labels,
            ") (",
            $rate,
            "))"
        )
    };
}

mod host;

const fn panel(
    title: &'static str,
    unit: &'static str,
    look: super::Look,
    width: u32,
    says: &'static str,
    queries: &'static [Query],
) -> Panel {
    Panel {
        title,
        says,
        unit,
        look,
        width,
        queries,
    }
}

const REQUESTS: Panel = panel(
    "Requests served",
    "reqps",
    Lines,
    12,
    "Messages that were answered, whatever their content; those of handshakes, too.",
    &[(
        by!("component", c!("courtside_requests_total")),
        "{{component}}",
    )],
);

const MEAN_SERVICE: Panel = panel(
    "Mean service time",
    "s",
    Lines,
    12,
    "Arrival of a request to the first send of its reply.",
    &[(
        mean!(
            "component",
            c!("courtside_service_seconds_sum"),
            c!("courtside_service_seconds_count")
        ),
        "{{component}}",
    )],
);

const TURNAROUND_PARTS: Panel = panel(
    "Turnaround by part",
    "s",
    Stacked,
    12,
    "Time with the ball in a second, and what it was made of: on-CPU is the code, run queue is too few free CPUs, block I/O the disk, sleep waits after the message was read, queued the message was not read yet, throttled its own CPU quota.",
    &[(
        by!("part", c!("courtside_turnaround_seconds_total")),
        "{{part}}",
    )],
);

const FINDINGS: Panel = panel(
    "What is wrong now",
    "short",
    Table,
    12,
    "Findings of the last window; docs/patterns.md has a row for each rule.",
    &[(
        "courtside_findings{instance=~\"$instance\",component=~\"$component\"}",
        "{{rule}} {{component}}",
    )],
);

/// All of them.
pub(super) const ALL: &[Page] = &[
    OVERVIEW,
    COMPONENT,
    EDGES,
    TURNAROUND,
    host::CPU,
    host::DISK,
    host::NEIGHBOURS,
    host::FINDINGS,
    host::AGENT,
];

const OVERVIEW: Page = Page {
    name: "overview",
    title: "Overview",
    says: "Who is asked how much, how long it takes, and whether it can be trusted.",
    panels: &[
        REQUESTS,
        MEAN_SERVICE,
        panel(
            "Service time, 99 in 100 are faster",
            "s",
            Lines,
            12,
            "From buckets a factor of two apart; untimed requests are in none of them.",
            &[(
                quantile!("0.99", "component", c!("courtside_service_seconds_bucket")),
                "{{component}}",
            )],
        ),
        TURNAROUND_PARTS,
        panel(
            "On-CPU",
            "short",
            Lines,
            12,
            "Cores that each component keeps busy.",
            &[(
                by!(
                    "component",
                    c!("courtside_cpu_seconds_total", "state=\"on_cpu\"")
                ),
                "{{component}}",
            )],
        ),
        FINDINGS,
        panel(
            "Lost",
            "short",
            Number,
            6,
            "What happened and is in no count, of all classes, in five minutes.",
            &[(
                "sum(increase(courtside_lost_total{instance=~\"$instance\"}[5m]))",
                "lost",
            )],
        ),
        panel(
            "Lower bounds",
            "percentunit",
            Number,
            6,
            "Share of windows in which some count may be too low.",
            &[(
                "sum(rate(courtside_lower_bound_windows_total{instance=~\"$instance\"}[5m])) / sum(rate(courtside_windows_total{instance=~\"$instance\"}[5m]))",
                "windows",
            )],
        ),
        panel(
            "Agents",
            "short",
            Number,
            6,
            "Hosts that tell something.",
            &[(
                "count(courtside_build_info{instance=~\"$instance\"})",
                "agents",
            )],
        ),
        panel(
            "Folded",
            "short",
            Number,
            6,
            "Components, edges and recipients in the label other, because of --top.",
            &[(
                "sum(courtside_folded_series{instance=~\"$instance\"})",
                "folded",
            )],
        ),
    ],
};

const COMPONENT: Page = Page {
    name: "component",
    title: "Component",
    says: "One component: its requests, its time, what it used.",
    panels: &[
        REQUESTS,
        panel(
            "Service time",
            "s",
            Lines,
            12,
            "Arrival of a request to the first send of its reply.",
            &[
                (
                    quantile!("0.5", "component", c!("courtside_service_seconds_bucket")),
                    "p50 {{component}}",
                ),
                (
                    quantile!("0.9", "component", c!("courtside_service_seconds_bucket")),
                    "p90 {{component}}",
                ),
                (
                    quantile!("0.99", "component", c!("courtside_service_seconds_bucket")),
                    "p99 {{component}}",
                ),
            ],
        ),
        TURNAROUND_PARTS,
        panel(
            "Unread, per request",
            "s",
            Lines,
            12,
            "How long a request lay unread. It grows under overload.",
            &[(
                mean!(
                    "component",
                    c!("courtside_request_unread_seconds_total"),
                    c!("courtside_requests_total")
                ),
                "{{component}}",
            )],
        ),
        panel(
            "Untimed, and lower bounds",
            "short",
            Lines,
            12,
            "Requests in no distribution because several were open at once, and windows in which counts may be too low.",
            &[
                (
                    by!("component", c!("courtside_requests_untimed_total")),
                    "untimed/s {{component}}",
                ),
                (
                    by!(
                        "component",
                        c!("courtside_requests_lower_bound_windows_total")
                    ),
                    "windows/s with a lower bound {{component}}",
                ),
            ],
        ),
        panel(
            "Sends that nothing prompted",
            "cps",
            Lines,
            12,
            "Timers, heartbeats, generators; they are in no turnaround.",
            &[(
                by!("component", c!("courtside_unprompted_total")),
                "{{component}}",
            )],
        ),
    ],
};

const EDGES: Page = Page {
    name: "edges",
    title: "Edges",
    says: "Who talks to whom, how often, and how long an answer takes.",
    panels: &[
        panel(
            "Roundtrips",
            "cps",
            Lines,
            12,
            "Messages sent that were followed by one received.",
            &[(
                by!("from,to", e!("courtside_roundtrips_total")),
                "{{from}} → {{to}}",
            )],
        ),
        panel(
            "Mean latency",
            "s",
            Lines,
            12,
            "Send of a request to arrival of its reply.",
            &[(
                mean!(
                    "from,to",
                    e!("courtside_roundtrip_seconds_sum"),
                    e!("courtside_roundtrip_seconds_count")
                ),
                "{{from}} → {{to}}",
            )],
        ),
        panel(
            "Latency, 99 in 100 are faster",
            "s",
            Lines,
            12,
            "From buckets a factor of two apart.",
            &[(
                quantile!("0.99", "from,to", e!("courtside_roundtrip_seconds_bucket")),
                "{{from}} → {{to}}",
            )],
        ),
        panel(
            "Roundtrips for each request served",
            "short",
            Lines,
            12,
            "How many calls a component makes for each request that it serves.",
            &[(
                "sum by (from) (rate(courtside_roundtrips_total{instance=~\"$instance\",from=~\"$component\"}[$__rate_interval])) / (sum by (from) (label_replace(rate(courtside_requests_total{instance=~\"$instance\",component=~\"$component\"}[$__rate_interval]), \"from\", \"$1\", \"component\", \"(.*)\")) > 0)",
                "{{from}}",
            )],
        ),
        panel(
            "Traffic",
            "Bps",
            Lines,
            12,
            "Bytes that the initiator sent and received.",
            &[(
                by!("from,to,direction", e!("courtside_traffic_bytes_total")),
                "{{from}} → {{to}} {{direction}}",
            )],
        ),
        panel(
            "Retransmits and failed connects",
            "cps",
            Lines,
            12,
            "TCP segments sent again, and connects that made no connection.",
            &[
                (
                    by!("from,to", e!("courtside_retransmits_total")),
                    "retransmits {{from}} → {{to}}",
                ),
                (
                    by!(
                        "from,to",
                        e!("courtside_connects_total", "result=\"failed\"")
                    ),
                    "failed connects {{from}} → {{to}}",
                ),
            ],
        ),
        panel(
            "All edges now",
            "cps",
            Table,
            24,
            "Roundtrips a second.",
            &[(
                "sum by (instance,from,to,transport,port) (rate(courtside_roundtrips_total{instance=~\"$instance\",from=~\"$component\"}[5m]))",
                "",
            )],
        ),
    ],
};

const TURNAROUND: Page = Page {
    name: "turnaround",
    title: "Turnaround",
    says: "How long a component keeps the ball, and what that time is made of.",
    panels: &[
        TURNAROUND_PARTS,
        panel(
            "Mean turnaround",
            "s",
            Lines,
            12,
            "From the arrival of a message until the component sends the next one, to any recipient.",
            &[(
                mean!(
                    "component",
                    c!("courtside_turnaround_seconds_total"),
                    c!("courtside_turnarounds_total")
                ),
                "{{component}}",
            )],
        ),
        panel(
            "Mean turnaround by recipient",
            "s",
            Lines,
            12,
            "By who received the send that ended it.",
            &[(
                mean!(
                    "component,to",
                    c!("courtside_turnaround_seconds_total"),
                    c!("courtside_turnarounds_total")
                ),
                "{{component}} → {{to}}",
            )],
        ),
        panel(
            "Share that waited for a CPU",
            "percentunit",
            Lines,
            12,
            "Run queue of the turnaround: the host has too few free CPUs.",
            &[(
                mean!(
                    "component",
                    c!("courtside_turnaround_seconds_total", "part=\"run_queue\""),
                    c!("courtside_turnaround_seconds_total")
                ),
                "{{component}}",
            )],
        ),
        panel(
            "Share that its own quota held back",
            "percentunit",
            Lines,
            12,
            "Nobody else is to blame for it: a higher quota, or fewer threads at a time.",
            &[(
                mean!(
                    "component",
                    c!("courtside_turnaround_seconds_total", "part=\"throttled\""),
                    c!("courtside_turnaround_seconds_total")
                ),
                "{{component}}",
            )],
        ),
        panel(
            "Each part per turnaround",
            "s",
            Stacked,
            24,
            "The parts add up to the mean turnaround.",
            &[(
                "sum by (component,part) (rate(courtside_turnaround_seconds_total{instance=~\"$instance\",component=~\"$component\"}[$__rate_interval])) / on (component) group_left () (sum by (component) (rate(courtside_turnarounds_total{instance=~\"$instance\",component=~\"$component\"}[$__rate_interval])) > 0)",
                "{{component}} {{part}}",
            )],
        ),
    ],
};
