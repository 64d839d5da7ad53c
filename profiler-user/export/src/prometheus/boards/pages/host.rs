//! Dashboards of the host, of findings and of the agent.
//!
//! In: nothing. Out: tables of panels. Must not know: how Grafana writes them down.

use super::{FINDINGS as FOUND, panel};
use crate::prometheus::boards::{
    Look::{Lines, Stacked, Table},
    Page,
};

pub(super) const CPU: Page = Page {
    name: "cpu",
    title: "CPU",
    says: "Who uses the CPUs, who waits for them, and how fast they are.",
    panels: &[
        panel(
            "On-CPU",
            "short",
            Stacked,
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
        panel(
            "Waiting for a CPU",
            "short",
            Lines,
            12,
            "Threads that were runnable without a CPU, on average.",
            &[(
                by!(
                    "component",
                    c!("courtside_cpu_seconds_total", "state=\"run_queue\"")
                ),
                "{{component}}",
            )],
        ),
        panel(
            "Because of whom they wait",
            "short",
            Stacked,
            12,
            "Threads that were runnable without a CPU, on average, by whom the CPU was given to meanwhile. Idle: nobody ran on it. Unknown: it could not be told. Other: all who have no series.",
            &[(
                by!("component,by", c!("courtside_run_queue_by_seconds_total")),
                "{{component}} ← {{by}}",
            )],
        ),
        panel(
            "Held back by a CPU quota",
            "short",
            Lines,
            12,
            "Threads that were runnable and held back by a quota of their own control group, on average; nobody else is to blame for it. Empty where it is not measured.",
            &[(
                by!(
                    "component",
                    c!("courtside_cpu_seconds_total", "state=\"throttled\"")
                ),
                "{{component}}",
            )],
        ),
        panel(
            "Asleep, by what for",
            "short",
            Stacked,
            12,
            "Threads that slept, on average: for a lock or for work from another thread, a timer, a message, anything else. Idle threads sleep, too. Empty where it is not measured.",
            &[(by!("for", c!("courtside_sleep_seconds_total")), "{{for}}")],
        ),
        panel(
            "Looking for messages in vain",
            "short",
            Lines,
            12,
            "Threads on a CPU that wait by asking again and again, on average: at least so many. With --polls also how often they poll without waiting, and yield.",
            &[
                (
                    by!("component", c!("courtside_spin_seconds_total")),
                    "spins {{component}}",
                ),
                (
                    by!("component", c!("courtside_empty_receives_total")),
                    "empty receives/s {{component}}",
                ),
                (
                    by!("component", c!("courtside_zero_timeout_polls_total")),
                    "polls/s {{component}}",
                ),
                (
                    by!("component", c!("courtside_yields_total")),
                    "yields/s {{component}}",
                ),
            ],
        ),
        panel(
            "Taken by the hypervisor",
            "percentunit",
            Lines,
            12,
            "Share of the host's CPUs that went to other machines while something here was ready to run. Empty where the hypervisor has never told of any.",
            &[(
                "rate(courtside_steal_seconds_total{instance=~\"$instance\"}[$__rate_interval]) / on (instance) courtside_host_cpus{instance=~\"$instance\"}",
                "{{instance}}",
            )],
        ),
        panel(
            "Share of the host's CPUs in use",
            "percentunit",
            Lines,
            12,
            "On-CPU time of all components over the CPUs that there are.",
            &[(
                "sum by (instance) (rate(courtside_cpu_seconds_total{instance=~\"$instance\",state=\"on_cpu\"}[$__rate_interval])) / on (instance) courtside_host_cpus{instance=~\"$instance\"}",
                "{{instance}}",
            )],
        ),
        panel(
            "Context switches",
            "cps",
            Lines,
            12,
            "Voluntary: a thread waits. Involuntary: the CPU was taken from it.",
            &[(
                by!("component,kind", c!("courtside_context_switches_total")),
                "{{component}} {{kind}}",
            )],
        ),
        panel(
            "Cycles for each instruction",
            "short",
            Lines,
            12,
            "Empty where the machine has no hardware counters.",
            &[(
                mean!(
                    "component",
                    c!("courtside_cycles_total"),
                    c!("courtside_instructions_total")
                ),
                "{{component}}",
            )],
        ),
        panel(
            "Cache misses for each thousand instructions",
            "short",
            Lines,
            12,
            "Misses of the last cache. Empty where the machine has no hardware counters.",
            &[(
                "1000 * sum by (component) (rate(courtside_llc_misses_total{instance=~\"$instance\",component=~\"$component\"}[$__rate_interval])) / (sum by (component) (rate(courtside_instructions_total{instance=~\"$instance\",component=~\"$component\"}[$__rate_interval])) > 0)",
                "{{component}}",
            )],
        ),
    ],
};

pub(super) const DISK: Page = Page {
    name: "disk",
    title: "Disk",
    says: "Who reads and writes, how much, and how long a request to the disk takes.",
    panels: &[
        panel(
            "Bytes",
            "Bps",
            Lines,
            12,
            "At the block layer: what the page cache has is not here.",
            &[(
                by!("component,op", c!("courtside_disk_bytes_total")),
                "{{component}} {{op}}",
            )],
        ),
        panel(
            "Requests",
            "iops",
            Lines,
            12,
            "Requests completed; flushes and discards are not counted.",
            &[(
                by!("component,op", c!("courtside_disk_requests_total")),
                "{{component}} {{op}}",
            )],
        ),
        panel(
            "Latency",
            "s",
            Lines,
            12,
            "Start in the block layer to completion, the queue of the device included.",
            &[
                (
                    quantile!("0.5", "component", c!("courtside_disk_seconds_bucket")),
                    "p50 {{component}}",
                ),
                (
                    quantile!("0.99", "component", c!("courtside_disk_seconds_bucket")),
                    "p99 {{component}}",
                ),
            ],
        ),
        panel(
            "Threads that wait for the disk",
            "short",
            Lines,
            12,
            "On average; threads side by side add up.",
            &[(
                by!(
                    "component",
                    c!("courtside_cpu_seconds_total", "state=\"block_io\"")
                ),
                "{{component}}",
            )],
        ),
        panel(
            "Whose requests lay before",
            "short",
            Stacked,
            12,
            "Requests that waited on average, by whose requests lay at the device before them; at most, since a device may work on several at once. Empty where nobody waited for others.",
            &[(
                by!(
                    "component,by",
                    c!("courtside_disk_queued_behind_seconds_total")
                ),
                "{{component}} ← {{by}}",
            )],
        ),
    ],
};

pub(super) const NEIGHBOURS: Page = Page {
    name: "neighbours",
    title: "Neighbours",
    says: "Who slows whom, as the guard of the agent sees it (courtside serve --guard).",
    panels: &[
        panel(
            "Too high now, because of a neighbour",
            "short",
            Table,
            24,
            "Numbers of a service that are further above its usual than they ever are by chance, and who is suspected first. /interference has the evidence.",
            &[(
                "courtside_interference{instance=~\"$instance\",component=~\"$component\"}",
                "",
            )],
        ),
        panel(
            "Slowed by others",
            "short",
            Stacked,
            12,
            "Numbers of services that are too high, by the first suspect.",
            &[(
                "sum by (component,by) (courtside_interference{instance=~\"$instance\",component=~\"$component\"})",
                "{{component}} ← {{by}}",
            )],
        ),
        panel(
            "Too high by itself",
            "short",
            Stacked,
            12,
            "Numbers of services that are too high by their own doing, their load or the hypervisor.",
            &[(
                "sum by (component,signal) (courtside_interference_excused{instance=~\"$instance\",component=~\"$component\"})",
                "{{component}} {{signal}}",
            )],
        ),
        panel(
            "Because of whom they wait for a CPU",
            "short",
            Stacked,
            12,
            "Threads that were runnable without a CPU, on average, by whom the CPU was given to meanwhile.",
            &[(
                by!("component,by", c!("courtside_run_queue_by_seconds_total")),
                "{{component}} ← {{by}}",
            )],
        ),
        panel(
            "Services that are judged",
            "short",
            Stacked,
            12,
            "Of the last window. Of those that are being learned nothing is told yet.",
            &[(
                "sum by (standing) (courtside_guard_services{instance=~\"$instance\"})",
                "{{standing}}",
            )],
        ),
        panel(
            "What guard told",
            "cps",
            Lines,
            12,
            "Lines a second, by event.",
            &[(
                "sum by (event) (rate(courtside_interference_events_total{instance=~\"$instance\"}[$__rate_interval]))",
                "{{event}}",
            )],
        ),
        panel(
            "Held back now",
            "short",
            Lines,
            12,
            "Neighbours that have a limit of CPU time by guard (--act cap).",
            &[(
                "courtside_guard_limits{instance=~\"$instance\"}",
                "{{instance}}",
            )],
        ),
    ],
};

pub(super) const FINDINGS: Page = Page {
    name: "findings",
    title: "Findings",
    says: "What the rules find, now and over time.",
    panels: &[
        FOUND,
        panel(
            "Findings over time",
            "short",
            Stacked,
            12,
            "By rule; each window is judged by itself.",
            &[(
                "sum by (rule,severity) (courtside_findings{instance=~\"$instance\",component=~\"$component\"})",
                "{{rule}} ({{severity}})",
            )],
        ),
        panel(
            "Share of the last hour",
            "percentunit",
            Table,
            24,
            "In how much of the last hour a rule found something.",
            &[(
                "sum by (instance,component,rule,severity) (count_over_time(courtside_findings{instance=~\"$instance\",component=~\"$component\"}[1h])) / on (instance) group_left () count_over_time(courtside_windows_total{instance=~\"$instance\"}[1h])",
                "",
            )],
        ),
    ],
};

pub(super) const AGENT: Page = Page {
    name: "agent",
    title: "Agent",
    says: "How the agent itself is, and what it costs.",
    panels: &[
        panel(
            "Windows",
            "cps",
            Lines,
            12,
            "Windows measured a second.",
            &[(
                "rate(courtside_windows_total{instance=~\"$instance\"}[$__rate_interval])",
                "{{instance}}",
            )],
        ),
        panel(
            "Lost",
            "cps",
            Lines,
            12,
            "What happened and is in no count, by class; docs/metrics.md has the classes.",
            &[(
                "rate(courtside_lost_total{instance=~\"$instance\"}[$__rate_interval]) > 0",
                "{{instance}} {{class}}",
            )],
        ),
        panel(
            "Probes that are not attached in full",
            "short",
            Table,
            12,
            "Programs in the kernel that are degraded, failed or disabled; /status says why.",
            &[(
                "courtside_probe_state{instance=~\"$instance\",state!=\"attached\"} == 1",
                "",
            )],
        ),
        panel(
            "CPU of the agent's process",
            "percentunit",
            Lines,
            12,
            "Share of one core. The time of its programs in the kernel is not in it.",
            &[(
                "rate(process_cpu_seconds_total{instance=~\"$instance\"}[$__rate_interval]) and on (instance) courtside_build_info",
                "{{instance}}",
            )],
        ),
        panel(
            "CPU of the agent's programs in the kernel",
            "percentunit",
            Lines,
            12,
            "Share of one core; only with --program-cost.",
            &[(
                "sum by (instance) (rate(courtside_program_seconds_total{instance=~\"$instance\"}[$__rate_interval]))",
                "{{instance}}",
            )],
        ),
        panel(
            "Memory",
            "bytes",
            Lines,
            12,
            "Resident memory of the process, and maps in the kernel.",
            &[
                (
                    "process_resident_memory_bytes{instance=~\"$instance\"} and on (instance) courtside_build_info",
                    "process {{instance}}",
                ),
                (
                    "courtside_map_bytes{instance=~\"$instance\"}",
                    "maps {{instance}}",
                ),
            ],
        ),
        panel(
            "File descriptors",
            "short",
            Lines,
            12,
            "Those that are open; process_max_fds has how many may be.",
            &[(
                "process_open_fds{instance=~\"$instance\"} and on (instance) courtside_build_info",
                "{{instance}}",
            )],
        ),
        panel(
            "Who asks",
            "reqps",
            Lines,
            12,
            "Requests to the agent, and connections refused because too many were open.",
            &[
                (
                    "sum by (path,code) (rate(courtside_http_requests_total{instance=~\"$instance\"}[$__rate_interval]))",
                    "{{path}} {{code}}",
                ),
                (
                    "sum(rate(courtside_http_connections_refused_total{instance=~\"$instance\"}[$__rate_interval]))",
                    "refused",
                ),
            ],
        ),
        panel(
            "Series",
            "short",
            Lines,
            12,
            "What --top put into the label other in the last window.",
            &[(
                "courtside_folded_series{instance=~\"$instance\"}",
                "folded {{instance}}",
            )],
        ),
    ],
};
