//! What is written is what the snapshots said, and other programs read it so.

use std::collections::{BTreeMap, BTreeSet};

use courtside_core::fixture::snapshots::{lossy, normal, unknown_pmu};
use courtside_core::frame::Process;
use courtside_core::model::{
    Snapshot,
    interference::{EventKind, Signal},
};

use super::*;

mod limits;
mod messages;

const LINGER_NS: u64 = 60_000_000_000;

/// Of three numbers that are too high one has a suspect, one has none, and one service made its own.
fn guarded() -> Guarded {
    let slow = |victim: &str, signal, excused, by: Option<&str>| Slow {
        victim: victim.to_owned(),
        signal,
        excused,
        by: by.map(str::to_owned),
    };
    Guarded {
        judged: 2,
        learning: 1,
        slow: vec![
            slow(
                "program:app",
                Signal::RunQueuePerRequest,
                false,
                Some("program:load"),
            ),
            slow("program:app", Signal::Service, false, None),
            slow("program:web", Signal::OnCpuPerRequest, true, None),
        ],
        limits: 1,
        told: EventKind::ALL
            .into_iter()
            .zip([3, 3, 0, 1, 0, 0, 0])
            .collect(),
    }
}

fn agent() -> Agent {
    Agent {
        version: "0.1.0".to_owned(),
        started_unix_ns: 1_764_000_000_500_000_000,
        cpu_ns: 12_345_678,
        resident_bytes: 20_000_000,
        open_fds: Some(31),
        max_fds: Some(1024),
        recorder: Some(Recorder {
            is_well: true,
            windows: 3,
        }),
        exporter: Some(Exporter {
            is_well: true,
            windows: 2,
            lost: 1,
        }),
        pusher: Some(Pusher {
            sent: 5,
            lost: 1,
            failures: 2,
        }),
        guard: Some(guarded()),
        answers: vec![Answers {
            path: "/metrics",
            code: 200,
            count: 7,
        }],
        connections: 1,
        refused: 0,
    }
}

fn alive(_: &[u32]) -> bool {
    true
}

fn dead(_: &[u32]) -> bool {
    false
}

fn totals(most: usize, windows: &[Snapshot]) -> Totals {
    let mut totals = Totals::new(most, LINGER_NS);
    for window in windows {
        totals.add(window, &alive);
    }
    totals
}

fn written(totals: &Totals, form: Form, last: &Snapshot) -> String {
    totals.text(form, Some(last), &agent())
}

/// Every series and its number, as text.
fn series(text: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, number) = line.rsplit_once(' ').unwrap();
        let before = all.insert(name.to_owned(), number.to_owned());
        assert_eq!(before, None, "{name} twice");
    }
    all
}

/// The sum over all series of a family that have this among their labels, exact: in whole numbers or nanoseconds.
fn sum(text: &str, family: &str, with: &str) -> u128 {
    let is_its = |name: &str| {
        let (own, labels) = name.split_once('{').unwrap_or((name, ""));
        own == family && labels.contains(with)
    };
    let is_seconds = family.ends_with("_seconds_total") || family.ends_with("_seconds_sum");
    let all = series(text);
    let numbers = all
        .iter()
        .filter(|(name, _)| is_its(name))
        .map(|(_, number)| number);
    numbers.map(|number| exact(number, is_seconds)).sum()
}

fn exact(number: &str, is_seconds: bool) -> u128 {
    if !is_seconds {
        return number.parse().unwrap();
    }
    let (whole, rest) = number.split_once('.').unwrap_or((number, ""));
    format!("{whole}{rest:0<9}").parse().unwrap()
}

/// What the snapshots add up to, family by family.
fn expected(windows: &[Snapshot]) -> Vec<(&'static str, &'static str, u128)> {
    let sum = |of: &dyn Fn(&Snapshot) -> u64| -> u128 {
        windows.iter().map(|window| u128::from(of(window))).sum()
    };
    let components = |of: fn(&courtside_core::model::snapshot::Component) -> u64| {
        sum(&|window| window.components.iter().map(of).sum())
    };
    let edges = |of: fn(&courtside_core::model::snapshot::Edge) -> u64| {
        sum(&|window| window.edges.iter().map(of).sum())
    };
    vec![
        (
            "courtside_requests_total",
            "",
            components(|c| c.requests.served),
        ),
        (
            "courtside_requests_untimed_total",
            "",
            components(|c| c.requests.untimed),
        ),
        (
            "courtside_service_seconds_count",
            "",
            components(|c| c.requests.service_ns.count),
        ),
        (
            "courtside_service_seconds_sum",
            "",
            components(|c| c.requests.service_ns.sum_ns),
        ),
        (
            "courtside_service_seconds_bucket",
            "le=\"+Inf\"",
            components(|c| c.requests.service_ns.count),
        ),
        (
            "courtside_cpu_seconds_total",
            "state=\"on_cpu\"",
            components(|c| c.cpu.on_cpu_ns),
        ),
        (
            "courtside_cpu_seconds_total",
            "state=\"run_queue\"",
            components(|c| c.cpu.run_queue_ns),
        ),
        (
            "courtside_cpu_seconds_total",
            "state=\"block_io\"",
            components(|c| c.cpu.block_io_ns),
        ),
        (
            "courtside_cpu_seconds_total",
            "state=\"throttled\"",
            components(|c| c.cpu.throttled_ns.unwrap_or(0)),
        ),
        (
            "courtside_run_queue_by_seconds_total",
            "",
            components(|c| {
                c.cpu
                    .run_queue_by
                    .as_ref()
                    .map_or(0, |_| c.cpu.run_queue_ns)
            }),
        ),
        (
            "courtside_run_queue_by_seconds_total",
            "by=\"unknown\"",
            components(|c| {
                let by = c.cpu.run_queue_by.iter().flatten();
                by.filter(|one| one.component == "unknown")
                    .map(|one| one.ns)
                    .sum()
            }),
        ),
        (
            "courtside_disk_queued_behind_seconds_total",
            "",
            components(|c| {
                let by = c.disk.queued_behind.iter().flatten();
                by.map(|one| one.ns).sum()
            }),
        ),
        (
            "courtside_sleep_seconds_total",
            "for=\"message\"",
            components(|c| c.waits.map_or(0, |waits| waits.socket_ns)),
        ),
        (
            "courtside_sleep_seconds_total",
            "",
            components(|c| {
                c.waits
                    .map_or(0, |w| w.lock_ns + w.timer_ns + w.socket_ns + w.other_ns)
            }),
        ),
        (
            "courtside_disk_bytes_total",
            "op=\"read\"",
            components(|c| c.disk.read_bytes),
        ),
        (
            "courtside_disk_bytes_total",
            "op=\"write\"",
            components(|c| c.disk.write_bytes),
        ),
        (
            "courtside_cycles_total",
            "",
            components(|c| c.counters.map_or(0, |c| c.cycles)),
        ),
        (
            "courtside_instructions_total",
            "",
            components(|c| c.counters.map_or(0, |c| c.instructions)),
        ),
        (
            "courtside_turnarounds_total",
            "",
            components(|c| c.turnaround.count),
        ),
        (
            "courtside_turnaround_seconds_total",
            "",
            components(|c| c.turnaround.total_ns),
        ),
        (
            "courtside_unprompted_seconds_total",
            "",
            components(|c| c.turnaround.unprompted_ns),
        ),
        ("courtside_roundtrips_total", "", edges(|e| e.roundtrips)),
        (
            "courtside_roundtrip_seconds_sum",
            "",
            edges(|e| e.latency_ns.sum_ns),
        ),
        (
            "courtside_roundtrip_seconds_count",
            "",
            edges(|e| e.latency_ns.count),
        ),
        (
            "courtside_traffic_bytes_total",
            "direction=\"received\"",
            edges(|e| e.bytes_received),
        ),
        (
            "courtside_lost_total",
            "",
            sum(&|window| window.quality.lost_in_all()),
        ),
        (
            "courtside_measured_seconds_total",
            "",
            sum(&|window| window.window.duration_ns),
        ),
        ("courtside_windows_total", "", windows.len() as u128),
    ]
}

fn check_sums(text: &str, windows: &[Snapshot], what: &str) {
    for (family, with, expected) in expected(windows) {
        assert_eq!(sum(text, family, with), expected, "{what}: {family} {with}");
    }
}

#[test]
fn sums_over_series_are_those_of_the_snapshots_whatever_the_limit() {
    let windows = [normal(0), lossy(1), unknown_pmu(2), normal(3), normal(4)];
    for most in [1, 2, 3, 50] {
        let totals = totals(most, &windows);
        for form in [Form::Text, Form::OpenMetrics] {
            let text = written(&totals, form, &windows[4]);
            check_sums(&text, &windows, &format!("top {most}"));
        }
    }
}

/// Components come and go, the limit is low, and after each window the sums are what they have to be, and no series that is
/// still there has gone back.
#[test]
fn no_sum_falls_and_no_series_that_stays_goes_back() {
    let mut totals = Totals::new(3, 2_000_000_000);
    let mut windows = Vec::new();
    let mut before: BTreeMap<String, String> = BTreeMap::new();
    for n in 0..40u64 {
        let mut window = normal(n);
        // One program after the other has its time, and dies.
        let name = format!("program:job{}", n / 6);
        for component in &mut window.components {
            if component.id == "program:app" {
                component.id.clone_from(&name);
            }
            for recipient in &mut component.turnaround.by_recipient {
                if recipient.to == "program:app" {
                    recipient.to.clone_from(&name);
                }
            }
            let run_queue_by = component.cpu.run_queue_by.iter_mut().flatten();
            let queued_behind = component.disk.queued_behind.iter_mut().flatten();
            for one in run_queue_by.chain(queued_behind) {
                if one.component == "program:app" {
                    one.component.clone_from(&name);
                }
            }
        }
        for edge in &mut window.edges {
            for end in [&mut edge.from, &mut edge.to] {
                if end == "program:app" {
                    end.clone_from(&name);
                }
            }
        }
        totals.add(&window, &dead);
        windows.push(window);
        let text = written(&totals, Form::Text, &windows[windows.len() - 1]);
        check_sums(&text, &windows, &format!("window {n}"));
        let now = series(&text);
        for (name, number) in &now {
            let is_counter = name.contains("_total") || name.contains("_bucket");
            if let Some(old) = before.get(name).filter(|_| is_counter) {
                let (old, new): (f64, f64) = (old.parse().unwrap(), number.parse().unwrap());
                assert!(new >= old, "window {n}: {name} {old} → {new}");
            }
        }
        before = now;
    }
    let jobs = before
        .keys()
        .filter(|name| name.starts_with("courtside_requests_total{component=\"program:job"));
    assert!(jobs.count() <= 2, "those that died long ago are in other");
    assert!(before.contains_key("courtside_requests_total{component=\"other\"}"));
}

#[test]
fn a_series_stays_for_a_while_after_its_component_is_gone() {
    let mut totals = Totals::new(10, 3_000_000_000);
    totals.add(&normal(0), &dead);
    let store = "courtside_requests_total{component=\"container:store\"}";
    let number = series(&written(&totals, Form::Text, &normal(0)))[store].clone();
    let mut rest = normal(1);
    rest.components
        .retain(|component| component.id == "program:load");
    rest.edges.clear();
    for gone_for in 1..=5 {
        totals.add(&rest, &dead);
        let all = series(&written(&totals, Form::Text, &rest));
        let kept = all.get(store);
        assert_eq!(kept.is_some(), gone_for <= 3, "{gone_for} s");
        assert!(kept.is_none_or(|kept| *kept == number));
    }
    // What is only idle stays: its process lives.
    let mut totals = Totals::new(10, 3_000_000_000);
    totals.add(&normal(0), &alive);
    (0..100).for_each(|_| totals.add(&rest, &|tgids| tgids == [4203]));
    let all = series(&written(&totals, Form::Text, &rest));
    assert_eq!(all.get(store), Some(&number));
    assert!(!all.contains_key("courtside_requests_total{component=\"unit:web\"}"));
}

#[test]
fn what_the_limit_put_into_other_is_told() {
    let totals = totals(1, &[normal(0)]);
    let folded = totals.series().folded;
    assert!(folded >= 3, "{folded}");
    let text = written(&totals, Form::Text, &normal(0));
    assert_eq!(series(&text)["courtside_folded_series"], folded.to_string());
    assert_eq!(self::totals(50, &[normal(0)]).series().folded, 0);
}

#[test]
fn the_one_that_works_more_gets_the_series() {
    let mut totals = Totals::new(1, LINGER_NS);
    let mut quiet = normal(0);
    quiet
        .components
        .retain(|component| component.id == "program:load");
    quiet.edges.clear();
    totals.add(&quiet, &alive);
    let load = "courtside_requests_total{component=\"program:load\"}";
    assert!(series(&written(&totals, Form::Text, &quiet)).contains_key(load));
    let all: Vec<Snapshot> = (1..30).map(normal).collect();
    for window in &all {
        totals.add(window, &alive);
    }
    let text = written(&totals, Form::Text, &all[28]);
    assert!(!series(&text).contains_key(load));
    check_sums(
        &text,
        &[&[quiet][..], &all[..]].concat(),
        "after the exchange",
    );
}

/// Every family that is documented is written, in that order, and none besides, in both forms.
#[test]
fn what_is_written_is_what_is_documented() {
    let mut window = normal(0);
    window.findings = courtside_analysis::findings::look(&lossy(1));
    let totals = totals(50, &[window.clone()]);
    let documented: Vec<String> = families().into_iter().map(|family| family.name).collect();
    let text = written(&totals, Form::Text, &window);
    let heads = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let heads: Vec<&str> = heads.filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(heads, documented);
    let open = written(&totals, Form::OpenMetrics, &window);
    let kinds = open
        .lines()
        .filter(|line| line.starts_with("# TYPE "))
        .count();
    assert_eq!(kinds, documented.len());
    assert!(open.ends_with("\n# EOF\n") && !text.contains("# EOF"));
    // The samples of both are the same.
    let own = |text: &str| series(text).into_keys().collect::<BTreeSet<_>>();
    assert_eq!(own(&text), own(&open));
    for family in families() {
        let labels: BTreeSet<String> = series(&text)
            .into_keys()
            .filter(|name| {
                let own = name.split('{').next().unwrap();
                let endings = ["", "_bucket"].map(|ending| format!("{}{ending}", family.name));
                endings.contains(&own.to_owned())
            })
            .flat_map(|name| {
                let labels = name
                    .split_once('{')
                    .map_or("", |(_, labels)| labels)
                    .to_owned();
                let names = labels
                    .split("\",")
                    .filter_map(|label| label.split_once('='));
                names.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
            })
            .collect();
        let documented: BTreeSet<String> = family
            .labels
            .iter()
            .map(|label| (*label).to_owned())
            .collect();
        assert!(
            labels.is_empty() || labels == documented,
            "{}: {labels:?}",
            family.name
        );
    }
}

#[test]
fn names_that_somebody_chose_are_labels_on_one_line_and_no_process_id_is_one() {
    let mut window = normal(0);
    window.components[0].id = "program:a\"b\\c\nd,e=\"f".to_owned();
    window.components[0].processes = vec![Process {
        tgid: 987_654_321,
        comm: "x".to_owned(),
    }];
    let text = written(&totals(50, &[window.clone()]), Form::OpenMetrics, &window);
    assert!(
        text.contains(r#"component="program:a\"b\\c<000A>d,e=\"f""#),
        "{text}"
    );
    assert!(!text.contains("987654321"));
}

#[test]
fn before_the_first_window_there_is_what_the_agent_says_of_itself() {
    let text = Totals::new(5, LINGER_NS).text(Form::OpenMetrics, None, &agent());
    let all = series(&text);
    assert_eq!(all["courtside_windows_total"], "0");
    assert_eq!(all["courtside_build_info{version=\"0.1.0\"}"], "1");
    assert_eq!(all["process_cpu_seconds_total"], "0.012345678");
}

#[test]
fn a_window_as_text() {
    let totals = totals(3, &[normal(0), normal(1)]);
    let text = written(&totals, Form::OpenMetrics, &normal(1));
    insta::assert_snapshot!("a_window_as_text", text);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the page is compared with what is made"
)]
fn the_page_of_metrics_names_every_family() {
    const BEGIN: &str = "<!-- metrics: made by the program, begin -->\n";
    const END: &str = "<!-- metrics: end -->\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/prometheus.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    let made = format!("\n{}\n", markdown());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(
        shown, made,
        "make it anew: UPDATE_DOCS=1 cargo test --lib names_every"
    );
}
