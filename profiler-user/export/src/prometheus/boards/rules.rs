//! Recording and alerting rules for Prometheus.
//!
//! In: nothing. Out: YAML. Must not know: how metrics come about.

use std::fmt::Write as _;

use super::Histograms;

/// What is computed again and again.
const RECORDED: [(&str, &str); 7] = [
    (
        "component:courtside_requests:rate5m",
        "sum by (instance, component) (rate(courtside_requests_total[5m]))",
    ),
    (
        "component:courtside_service_seconds:mean5m",
        "sum by (instance, component) (rate(courtside_service_seconds_sum[5m])) / (sum by (instance, component) (rate(courtside_service_seconds_count[5m])) > 0)",
    ),
    (
        "component:courtside_service_seconds:p99_5m",
        "histogram_quantile(0.99, sum by (instance, component, le) (rate(courtside_service_seconds_bucket[5m])))",
    ),
    (
        "component_part:courtside_turnaround_seconds:rate5m",
        "sum by (instance, component, part) (rate(courtside_turnaround_seconds_total[5m]))",
    ),
    (
        "component:courtside_turnaround_seconds:mean5m",
        "sum by (instance, component) (rate(courtside_turnaround_seconds_total[5m])) / (sum by (instance, component) (rate(courtside_turnarounds_total[5m])) > 0)",
    ),
    (
        "edge:courtside_roundtrips:rate5m",
        "sum by (instance, from, to) (rate(courtside_roundtrips_total[5m]))",
    ),
    (
        "edge:courtside_roundtrip_seconds:p99_5m",
        "histogram_quantile(0.99, sum by (instance, from, to, le) (rate(courtside_roundtrip_seconds_bucket[5m])))",
    ),
];

/// One alert.
struct Alert {
    name: &'static str,
    expression: &'static str,
    /// How long it has to be so.
    lasting: &'static str,
    severity: &'static str,
    says: &'static str,
}

const ALERTS: [Alert; 16] = [
    Alert {
        name: "CourtsideAgentDown",
        expression: "up{job=\"courtside\"} == 0",
        lasting: "5m",
        severity: "warning",
        says: "The agent on {{ $labels.instance }} does not answer.",
    },
    Alert {
        name: "CourtsideNoWindows",
        expression: "rate(courtside_windows_total[5m]) == 0",
        lasting: "5m",
        severity: "warning",
        says: "The agent on {{ $labels.instance }} answers, and measures nothing.",
    },
    Alert {
        name: "CourtsideLost",
        expression: "sum by (instance, class) (increase(courtside_lost_total{class!~\"history|remotes|connection_ends|events|unplaced_protocol|locks\"}[10m])) > 0",
        lasting: "0m",
        severity: "info",
        says: "{{ $labels.instance }} lost {{ $value }} of class {{ $labels.class }} in ten minutes: counts are lower bounds.",
    },
    Alert {
        name: "CourtsideProbeFailed",
        expression: "courtside_probe_state{state=\"failed\"} == 1",
        lasting: "5m",
        severity: "warning",
        says: "The kernel program {{ $labels.probe }} is not attached on {{ $labels.instance }}.",
    },
    Alert {
        name: "CourtsideSeriesFolded",
        expression: "courtside_folded_series > 0",
        lasting: "30m",
        severity: "info",
        says: "{{ $value }} components, edges and recipients on {{ $labels.instance }} are in the label other.",
    },
    Alert {
        name: "CourtsideRecordingFailed",
        expression: "courtside_recording == 0",
        lasting: "1m",
        severity: "warning",
        says: "The flight recorder on {{ $labels.instance }} has ended; metrics go on.",
    },
    Alert {
        name: "CourtsideFinding",
        expression: "sum by (instance, component, rule) (max_over_time(courtside_findings{severity=\"bad\"}[3m])) > 0",
        lasting: "10m",
        severity: "warning",
        says: "{{ $labels.rule }}: the rule has found something bad at {{ $labels.component }} for ten minutes.",
    },
    Alert {
        name: "CourtsideRequestsLieUnread",
        expression: "sum by (instance, component) (rate(courtside_request_unread_seconds_total[5m])) / (sum by (instance, component) (rate(courtside_service_seconds_sum[5m])) > 0) > 0.5 and sum by (instance, component) (rate(courtside_requests_total[5m])) > 1 and sum by (instance, component) (rate(courtside_requests_untimed_total[5m])) < 0.05 * sum by (instance, component) (rate(courtside_requests_total[5m]))",
        lasting: "10m",
        severity: "warning",
        says: "More than half of the service time of {{ $labels.component }} its requests lie unread: it is overloaded.",
    },
    Alert {
        name: "CourtsideWaitsForCpu",
        expression: "sum by (instance, component) (rate(courtside_turnaround_seconds_total{part=\"run_queue\"}[5m])) / (sum by (instance, component) (rate(courtside_turnaround_seconds_total[5m])) > 0) > 0.5 and sum by (instance, component) (rate(courtside_turnarounds_total[5m])) > 1",
        lasting: "10m",
        severity: "warning",
        says: "{{ $labels.component }} waits for a CPU for more than half of its turnaround.",
    },
    Alert {
        name: "CourtsideHeldBackByQuota",
        expression: "sum by (instance, component) (rate(courtside_turnaround_seconds_total{part=\"throttled\"}[5m])) / (sum by (instance, component) (rate(courtside_turnaround_seconds_total[5m])) > 0) > 0.25 and sum by (instance, component) (rate(courtside_turnarounds_total[5m])) > 1",
        lasting: "10m",
        severity: "warning",
        says: "Its own CPU quota holds {{ $labels.component }} back for more than a quarter of its turnaround.",
    },
    Alert {
        name: "CourtsideCpuTakenByHypervisor",
        expression: "rate(courtside_steal_seconds_total[5m]) / on (instance) courtside_host_cpus > 0.1",
        lasting: "10m",
        severity: "warning",
        says: "The hypervisor gives more than a tenth of the CPUs of {{ $labels.instance }} to other machines.",
    },
    Alert {
        name: "CourtsideInterference",
        expression: "sum by (instance, component, by) (max_over_time(courtside_interference[3m])) > 0",
        lasting: "5m",
        severity: "warning",
        says: "{{ $labels.component }} on {{ $labels.instance }} is slower than usual; the first suspect is {{ $labels.by }}.",
    },
    Alert {
        name: "CourtsideNeighbourHeldBack",
        expression: "courtside_guard_limits > 0",
        lasting: "0m",
        severity: "info",
        says: "Guard holds back {{ $value }} neighbours on {{ $labels.instance }}.",
    },
    Alert {
        name: "CourtsideExportLost",
        expression: "increase(courtside_export_lost_windows_total[10m]) > 0",
        lasting: "0m",
        severity: "warning",
        says: "{{ $value }} windows of {{ $labels.instance }} are in no exported file.",
    },
    Alert {
        name: "CourtsidePushLost",
        expression: "increase(courtside_otlp_lost_total[10m]) > 0",
        lasting: "0m",
        severity: "warning",
        says: "{{ $labels.instance }} gave up {{ $value }} pushes to its collector in ten minutes.",
    },
    Alert {
        name: "CourtsideConnectsFail",
        expression: "sum by (instance, from, to) (rate(courtside_connects_total{result=\"failed\"}[5m])) > 0.1",
        lasting: "5m",
        severity: "warning",
        says: "Connects of {{ $labels.from }} to {{ $labels.to }} fail: {{ $value }} a second.",
    },
];

const HEAD: &str = "# Made from code: UPDATE_DOCS=1 cargo test --lib the_dashboards\n";

pub(super) fn recording(of: Histograms) -> String {
    let mut text = format!("{HEAD}groups:\n  - name: courtside-recording\n    rules:\n");
    for (name, expression) in RECORDED {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "      - record: {name}\n        expr: {}",
            quoted(&of.ask(expression))
        );
    }
    text
}

pub(super) fn alerts(of: Histograms) -> String {
    let mut text = format!("{HEAD}groups:\n  - name: courtside-alerts\n    rules:\n");
    for alert in &ALERTS {
        let anchor = alert.name.to_lowercase();
        let _ = write!(
            text,
            "      - alert: {}\n        expr: {}\n        for: {}\n        labels:\n          severity: {}\n        annotations:\n          \
             summary: {}\n          runbook: {}\n",
            alert.name,
            quoted(&of.ask(alert.expression)),
            alert.lasting,
            alert.severity,
            quoted(alert.says),
            quoted(&format!("docs/runbook.md#{anchor}")),
        );
    }
    text
}

/// A text as YAML has it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub(super) fn expressions() -> impl Iterator<Item = String> {
    let recorded = RECORDED
        .into_iter()
        .map(|(_, expression)| expression.to_owned());
    recorded.chain(ALERTS.iter().map(|alert| alert.expression.to_owned()))
}

pub(super) fn alert_names() -> impl Iterator<Item = &'static str> {
    ALERTS.iter().map(|alert| alert.name)
}
