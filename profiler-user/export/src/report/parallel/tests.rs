//! The section about an application: its numbers, when it is there, that it stays small, what a browser makes of it.

use courtside_core::{
    fixture::snapshots::normal,
    model::{
        finding::{Finding, Severity},
        inference::{
            ByTurn, Court, Inference, InferenceSource, Iterations, Link, Period, Process,
            ReceiveWait, Scenario, SelfCheck, Series, Time, Topology,
        },
    },
};

use super::super::{Report, tests::browse};
use super::*;

const SECOND: u64 = 1_000_000_000;
const HOSTILE: &str = "</script><b>&\"'";

/// Process `n` of a ring, which has twenty iterations a second for ten seconds, and waits for the one before it.
fn process(n: u64, of: u64) -> Process {
    let before = (n + of - 1) % of;
    Process {
        id: format!("rank{n}/{}", 700 + n),
        name: format!("rank{n}"),
        tgid: 700 + n as u32,
        threads: 1,
        iterations: Iterations {
            by_turn: Some(ByTurn {
                count: 200,
                mean_per_s: 20.0,
            }),
            series: Series {
                step_ns: SECOND,
                window_ns: SECOND,
                rates_per_s: vec![19.0, 21.0, 20.0, 20.0],
            },
            ..Iterations::default()
        },
        period_unknown: Some("it is too short".to_owned()),
        court: Court {
            queue_corrected_ns: n * SECOND,
            ..Court::default()
        },
        time: Time {
            wall_ns: 10 * SECOND,
            on_cpu_ns: 2 * SECOND,
            run_queue_ns: 3 * SECOND,
            block_io_ns: SECOND,
            lock_ns: SECOND / 2,
            send_wait_ns: SECOND / 4,
            other_ns: SECOND / 4,
            receive_wait: vec![ReceiveWait {
                from: format!("rank{before}/{}", 700 + before),
                not_sent_ns: 2 * SECOND,
                in_flight_ns: SECOND / 2,
                transfer_ns: SECOND / 2,
            }],
            ..Time::default()
        },
        critical_share: Some(0.25),
        ..Process::default()
    }
}

/// Processes in a ring: each sends the next one ten times as many thousand bytes as its number, and the first one forty.
fn ring(of: u64) -> Inference {
    let id = |n: u64| format!("rank{n}/{}", 700 + n);
    let link = |n: u64| Link {
        from: id(n),
        to: id((n + 1) % of),
        messages: 200,
        bytes: if n == 0 { 40_000 } else { n * 10_000 },
        ..Link::default()
    };
    Inference {
        source: InferenceSource {
            windows: 10,
            duration_ns: 10 * SECOND,
            events: 12_345,
            application_ns: 10 * SECOND,
            ..InferenceSource::default()
        },
        processes: (0..of).map(|n| process(n, of)).collect(),
        topology: Topology {
            processes: (0..of).map(id).collect(),
            shape: "ring".to_owned(),
            match_score: 1.0,
            ..Topology::default()
        },
        network: (0..of).map(link).collect(),
        what_if: vec![
            scenario("no_outside_load", Some(4 * SECOND), "it is alone"),
            scenario("without: stress", Some(8 * SECOND), "stress is gone"),
            scenario("no_disk_wait", None, "cannot tell, because it polls"),
        ],
        self_check: Some(SelfCheck {
            measured_ns: 10 * SECOND,
            replay_ns: 10_010_000_000,
            replay_error: 0.001,
            rescheduled_ns: 9_970_000_000,
            rescheduled_error: -0.003,
        }),
        remarks: vec!["helpers were left out".to_owned()],
        ..Inference::default()
    }
}

fn scenario(name: &str, predicted_ns: Option<u64>, says: &str) -> Scenario {
    Scenario {
        scenario: name.to_owned(),
        processes: vec!["rank0/700".to_owned(), "rank1/701".to_owned()],
        predicted_ns,
        measured_ns: 10 * SECOND,
        speedup: predicted_ns.map(|ns| 10.0 * SECOND as f64 / ns as f64),
        bounded_by: predicted_ns.map(|_| "rank1/701".to_owned()),
        says: says.to_owned(),
    }
}

fn finding(says: &str) -> Finding {
    Finding {
        rule: "imbalance".to_owned(),
        severity: Severity::Bad,
        component: "program:rank".to_owned(),
        edge: None,
        says: says.to_owned(),
        evidence: Vec::new(),
        confidence: 0.84,
        remedy: "give it a CPU of its own".to_owned(),
        at_stake_ns: None,
    }
}

fn drawn(inference: &Inference) -> String {
    parallel(Some(inference)).unwrap().into_string()
}

fn page(inference: Inference) -> String {
    let mut report = Report::default();
    report.add(&normal(0));
    report.set_application(inference);
    report.finish("shop", &normal(0)).unwrap()
}

#[test]
fn an_application_has_its_numbers_on_the_page() {
    let page = page(ring(4));
    assert!(page.contains("<a href=\"#parallel\">Parallel</a>"));
    for said in [
        // What matters.
        "<b>Without load from outside the run would take 4.00 s and not 10.0 s (self-check 0.3%).</b>",
        "<b>4 processes</b> · <b>ring</b>, match 100% · went round 200 times, 20.0 a second · 10.0 s from the first",
        // Who talks to whom: the greatest is darkest, half of it in the middle.
        "<title>rank0/700 → rank1/701: 40.0 KB, messages: 200</title>",
        "fill-opacity=\"0.60\"></rect><text class=\"value\"",
        "<title>rank2/702 → rank3/703: 20.0 KB, messages: 200</title>",
        "fill-opacity=\"0.35\"",
        ">20.0 KB</text>",
        "The darkest place is 40.0 KB in all",
        // Where the time went.
        "title=\"on CPU 2.00 s\"",
        "title=\"run queue 3.00 s\"",
        "title=\"block I/O 1.00 s\"",
        "title=\"lock 500 ms\"",
        "title=\"receive wait 3.00 s\"",
        "title=\"send 250 ms\"",
        "title=\"other 250 ms\"",
        "<td class=\"n time\">10.0 s</td><td class=\"n note\">25%</td>",
        // What if.
        "<td class=\"wrap\">without: stress</td><td class=\"p2\">2 processes</td><td class=\"n\">8.00 s</td><td \
         class=\"n\">10.0 s</td><td class=\"n\">×1.25</td><td class=\"p2\">rank1/701</td>",
        "<td class=\"n\">-</td><td class=\"n\">10.0 s</td><td class=\"n\">-</td><td class=\"p2\">-</td></tr><tr><td \
         class=\"text says\" colspan=\"6\">cannot tell, because it polls</td>",
        "it took 10.0 s; with waits as recorded 10.0 s (+0.1%), put on the CPUs anew 9.97 s (-0.3%).",
        // Over time: the middles of four seconds of ten, on an axis that ends at 25.
        "points=\"50.0,24.0 150.0,16.0 250.0,20.0 350.0,20.0\"",
        "the mean of all 4 processes; each point is the mean of 1.00 s",
        "Lowest 19.0, mean 20.0, highest 21.0 a second.",
        "No period beyond single iterations was found: it is too short.",
        "12 345 single events in 10 windows, 10.0 s in all; nothing was lost.",
        "helpers were left out.",
    ] {
        assert!(page.contains(said), "{said}");
    }
    // All four rows, and a title for each place.
    assert_eq!(page.matches("<td class=\"n note\">25%</td>").count(), 4);
    assert_eq!(page.matches(", messages: ").count(), 4);
    assert!(!page.contains("processes are shown"));
}

#[test]
fn what_is_no_application_has_no_section() {
    assert!(parallel(None).is_none());
    assert!(parallel(Some(&Inference::default())).is_none());
    assert!(parallel(Some(&ring(2))).is_none());
    let mut few = ring(4);
    few.topology.shape = "irregular".to_owned();
    assert!(drawn(&few).contains("no known shape"));
    for process in few.processes.iter_mut().take(2) {
        process.iterations.by_turn = Some(ByTurn {
            count: 9,
            mean_per_s: 0.9,
        });
    }
    assert!(parallel(Some(&few)).is_none());
    let page = page(few);
    assert!(!page.contains("id=\"parallel\"") && !page.contains("#parallel\""));
}

#[test]
fn the_worst_is_said_in_one_sentence_with_what_would_help() {
    let mut worse = ring(4);
    worse.findings = vec![
        finding("rank2/702 holds the others up: one of them waits for it for 7.00 s of 10.0 s"),
        finding("something else"),
    ];
    let said = drawn(&worse);
    assert!(said.contains(
        "<b>bad</b> rank2/702 holds the others up: one of them waits for it for 7.00 s of 10.0 s; without load from outside the \
         run would take 4.00 s and not 10.0 s (self-check 0.3%).</p><p>give it a CPU of its own.</p>"
    ));
    assert!(said.contains("1 of 2 findings is shown, the worst. The other: courtside infer FILE."));
    // Nothing is said twice, and no gain that the simulation may be off by.
    worse.findings[0].says = "without it the run would take 4.00 s".to_owned();
    assert!(drawn(&worse).contains("</b> without it the run would take 4.00 s.</p>"));
    worse.findings.clear();
    worse.self_check.as_mut().unwrap().rescheduled_error = 0.4;
    assert!(drawn(&worse).contains("may be off by (self-check 40%)."));
    assert!(
        drawn(&worse).contains("What rests on a check that is off by more than 5.0% is not told.")
    );
}

#[test]
fn processes_that_go_round_at_different_rates_have_the_span_and_the_fastest() {
    let mut pace = ring(3);
    pace.processes[1].iterations.by_turn = Some(ByTurn {
        count: 1_800,
        mean_per_s: 180.0,
    });
    let said = drawn(&pace);
    assert!(
        said.contains("went round 200 to 1 800 times, at most 180 a second"),
        "{said}"
    );
}

/// All ranks are one program, so that no component talks to another one.
#[test]
fn a_component_that_talks_to_itself_alone_has_no_map() {
    let mut alone = normal(0);
    for edge in &mut alone.edges {
        edge.from.clone_from(&edge.to);
    }
    let mut report = Report::default();
    report.add(&alone);
    let page = report.finish("ring", &alone).unwrap();
    assert!(page.contains("No component talked to another while this was recorded."));
    assert!(!page.contains("data-chart=\"map\""));
}

#[test]
fn what_cannot_be_told_has_its_reason() {
    let mut polls = ring(3);
    polls.self_check = None;
    polls.remarks = vec!["nothing could be simulated: 3 of 3 processes poll".to_owned()];
    for scenario in &mut polls.what_if {
        scenario.predicted_ns = None;
        scenario.speedup = None;
    }
    for process in &mut polls.processes {
        process.polls = true;
        process.critical_share = None;
        process.iterations.series = Series::default();
    }
    polls.network.clear();
    polls.source.lost.insert("events".to_owned(), 17);
    let said = drawn(&polls);
    for reason in [
        "what would have been cannot be told: nothing could be simulated: 3 of 3 processes poll.",
        "There is no self-check: nothing could be simulated.",
        "The critical path cannot be told",
        "3 of 3 processes wait without sleep: their time on a CPU is work and waiting.",
        "It cannot be told over time",
        "No messages between them are known.",
        "<b>lost 17</b>",
    ] {
        assert!(said.contains(reason), "{reason}: {said}");
    }
    for process in &mut polls.processes {
        process.iterations.by_turn = None;
    }
    let said = drawn(&polls);
    assert!(
        said.contains("cannot be told: its processes went round 0 times at most, and it takes 10.")
    );
    assert!(said.contains("how often they went round is not known"));
}

#[test]
fn a_period_is_that_which_stands_out_most() {
    let mut beats = ring(4);
    for (process, confidence) in beats.processes.iter_mut().zip([0.5, 0.9, 0.7]) {
        process.period = Some(Period {
            period_ns: confidence * 1e9,
            resolution_ns: 2e6,
            confidence,
            ..Period::default()
        });
    }
    let said = drawn(&beats);
    assert!(said.contains(
        "<b>It repeats every 900 ms</b> ± 2.00 ms (confidence 0.90 of 1; it stands out most in rank1/701)."
    ));
    // One whose rates are in other steps has no part in the line.
    beats.processes[3].iterations.series.step_ns = SECOND / 2;
    assert!(drawn(&beats).contains("the mean of 3 of 4 processes"));
}

#[test]
fn a_long_line_has_few_points() {
    let mut long = ring(3);
    for process in &mut long.processes {
        process.iterations.series.rates_per_s = [10.0, 30.0].repeat(500);
    }
    let rates = drawn(&long);
    let (_, points) = rates.split_once("<polyline points=\"").unwrap();
    let (points, _) = points.split_once('"').unwrap();
    assert_eq!(points.split(' ').count(), 250);
    // Each is the mean of four.
    assert!(
        rates.contains("each point is the mean of 4.00 s")
            && rates.contains("mean 20.0, highest 20.0")
    );
}

/// Everything named by someone who means harm.
fn hostile(of: u64) -> Inference {
    let mut hostile = ring(of);
    let name = |id: &mut String| id.insert_str(0, HOSTILE);
    for process in &mut hostile.processes {
        name(&mut process.id);
    }
    for link in &mut hostile.network {
        name(&mut link.from);
        name(&mut link.to);
    }
    for scenario in &mut hostile.what_if {
        name(&mut scenario.scenario);
        name(&mut scenario.says);
        scenario.bounded_by = Some(HOSTILE.to_owned());
    }
    name(&mut hostile.topology.shape);
    hostile.remarks = vec![HOSTILE.to_owned()];
    hostile.findings = vec![finding(HOSTILE)];
    hostile
}

#[test]
fn no_name_leaves_its_place() {
    let said = drawn(&hostile(3));
    assert!(!said.contains(HOSTILE) && !said.contains("</script>"));
    assert!(said.contains("&lt;/script&gt;&lt;b&gt;&amp;&quot;"));
    assert!(said.contains("<title>&lt;/script&gt;&lt;"));
}

#[test]
fn a_hundred_processes_stay_bounded() {
    let mut crowd = hostile(100);
    let ids: Vec<String> = crowd.processes.iter().map(|p| p.id.clone()).collect();
    let pairs = ids
        .iter()
        .flat_map(|from| ids.iter().map(move |to| (from, to)));
    let link = |(from, to): (&String, &String)| Link {
        from: from.clone(),
        to: to.clone(),
        messages: 1,
        bytes: if [from, to].contains(&&ids[7]) {
            1
        } else {
            1_000
        },
        ..Link::default()
    };
    crowd.network = pairs.filter(|(from, to)| from != to).map(link).collect();
    crowd.what_if = vec![scenario("no_disk_wait", None, HOSTILE); 100];
    crowd.remarks = vec!["a remark".to_owned(); 100];
    crowd.findings = vec![finding("it is slow"); 100];
    let said = drawn(&crowd);
    for line in [
        "64 of 100 processes are shown, those with most traffic. The other 36: courtside infer FILE -F json.",
        "64 of 100 processes are shown, those with most court time. The other 36: courtside infer FILE -F json.",
        "32 of 100 scenarios are shown, the first.",
        "16 of 100 remarks are shown, the first.",
        "1 of 100 findings is shown, the worst.",
    ] {
        assert!(said.contains(line), "{line}");
    }
    // Without the quiet one, and without those that had the ball least.
    assert_eq!(said.matches(", messages: 1<").count(), 64 * 63);
    assert_eq!(said.matches("<td class=\"n note\">").count(), 64);
    assert!(said.len() < 1_300_000, "{}", said.len());
}

#[test]
fn colours_of_the_parts_are_those_of_the_page() {
    let css = [
        super::super::parts::style(),
        include_str!("../report.css").to_owned(),
    ]
    .concat();
    for kind in &KINDS {
        assert!(css.contains(&format!(".{}", kind.class)), "{}", kind.name);
    }
}

#[test]
fn a_browser_shows_the_section_on_wide_and_narrow_pages() {
    let mut long = ring(12);
    long.findings = vec![finding("rank2/702 holds the others up")];
    let pages = [
        ("parallel-ring", page(ring(4))),
        ("parallel-twelve", page(long)),
        ("parallel-hostile", page(hostile(5))),
        ("parallel-crowd", page(ring(100))),
    ];
    if let Some(said) = browse("parallel", &pages) {
        assert!(said.starts_with("4 pages: "), "{said}");
    }
}
