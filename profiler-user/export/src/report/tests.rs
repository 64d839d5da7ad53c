//! The page: what stands in it, that no name escapes from its place, and what a real browser makes of it.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "other people's programs read what is written, from files"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use courtside_core::fixture::snapshots::{
    crowded, empty, lossy, normal, overflowing, shop, unknown_pmu,
};
use courtside_core::model::snapshot::Court;
use courtside_core::parts::Part;

const HOSTILE: &str = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--";

fn report(windows: &[Snapshot], whole: &Snapshot) -> String {
    let mut report = Report::default();
    windows.iter().for_each(|window| report.add(window));
    report.finish("shop", whole).unwrap()
}

/// Everything named by someone who means harm.
fn hostile() -> Snapshot {
    let mut snapshot = normal(0);
    let id = format!("program:{HOSTILE}");
    let old = std::mem::replace(&mut snapshot.components[0].id, id.clone());
    HOSTILE.clone_into(&mut snapshot.components[0].name);
    HOSTILE.clone_into(&mut snapshot.components[0].processes[0].comm);
    HOSTILE.clone_into(&mut snapshot.host.hostname);
    HOSTILE.clone_into(&mut snapshot.quality.probes[0].reason);
    for edge in &mut snapshot.edges {
        for end in [&mut edge.from, &mut edge.to] {
            if *end == old {
                end.clone_from(&id);
            }
        }
    }
    for component in &mut snapshot.components {
        for to in &mut component.turnaround.by_recipient {
            if to.to == old {
                to.to.clone_from(&id);
            }
        }
    }
    for court in &mut snapshot.entries[0].courts {
        if court.component == old {
            court.component.clone_from(&id);
        }
    }
    snapshot
}

/// Pages of every kind, by name.
fn pages() -> Vec<(&'static str, String)> {
    let minute: Vec<Snapshot> = (0..60).map(normal).collect();
    let bad: Vec<Snapshot> = (0..10).map(lossy).collect();
    let busy: Vec<Snapshot> = (0..3).map(overflowing).collect();
    let hour: Vec<Snapshot> = (0..12).map(crowded).collect();
    vec![
        ("normal", report(&minute, &normal(0))),
        ("lossy", report(&bad, &lossy(0))),
        ("unknown-pmu", report(&[unknown_pmu(0)], &unknown_pmu(0))),
        ("shop", report(&[shop()], &shop())),
        ("crowded", report(&hour, &crowded(0))),
        ("overflowing", report(&busy, &overflowing(0))),
        ("hostile", report(&[hostile(), hostile()], &hostile())),
        ("empty", report(&[empty()], &empty())),
        ("nothing", report(&[], &empty())),
    ]
}

#[test]
fn a_page_is_whole_and_small() {
    for (name, page) in pages() {
        assert!(page.len() < 2_000_000, "{name}: {}", page.len());
        assert!(page.ends_with("</html>"), "{name}");
        for (id, _) in sections::CONTENTS {
            assert!(
                page.contains(&format!("<section id=\"{id}\">")),
                "{name}: {id}"
            );
        }
    }
}

#[test]
fn what_is_wrong_stands_on_top_with_what_to_do() {
    let calm = report(&[normal(0)], &normal(0));
    assert!(calm.contains("Nothing was found."));
    let mut whole = normal(0);
    whole.findings = courtside_analysis::findings::look(&whole);
    let page = report(&[normal(0)], &whole);
    let (above, _) = page.split_once("<section id=\"requests\">").unwrap();
    let worst = &whole.findings[0];
    assert!(above.contains(&format!("{}.", worst.says)) && above.contains(&worst.remedy));
    assert!(above.contains("request mean <span class=\"nowrap\">3.22 ms</span>"));
    assert!(!page.contains("Nothing was found."));
    // As many as a page bears.
    whole.findings = vec![worst.clone(); 40];
    let many = report(&[normal(0)], &whole);
    assert_eq!(many.matches("<div class=\"finding warn\">").count(), 12);
    assert!(many.contains(
        "12 of 40 findings are shown, the worst. The other 28: courtside export -F json."
    ));
}

#[test]
fn why_the_slowest_are_slow_is_told_or_why_that_is_not_known() {
    let none = report(&[normal(0)], &normal(0));
    assert!(none.contains("courtside record --events -o FILE."));
    let page = |tail| {
        let mut report = Report::default();
        report.set_tail(tail);
        report.finish("shop", &normal(0)).unwrap()
    };
    let page_of = page(Err(format!("web served <3> requests{HOSTILE}")));
    assert!(page_of.contains("It cannot be told: web served &lt;3&gt; requests"));
    let mut tail = crate::tail::tests::tail();
    HOSTILE.clone_into(&mut tail.exemplars[0].waker.as_mut().unwrap().component);
    let page = page(Ok(tail));
    for said in [
        "program:batch",
        "13 of 1 234 requests",
        "<td>sleep</td>",
        "batch 3.90 ms",
        "12 of 13",
        "7 of 80 turnarounds",
    ] {
        let said = said.trim_start_matches("program:");
        assert!(page.contains(said), "{said}");
    }
    assert!(!page.contains("<script>alert") && !page_of.contains("<script>alert"));
}

#[test]
fn no_name_leaves_its_place() {
    let page = report(&[hostile()], &hostile());
    for harm in ["<script>alert", "<img src", "</script><script>a"] {
        assert!(!page.contains(harm), "{harm}");
    }
    // The scripts of the page itself, and the data.
    assert_eq!(page.matches("<script").count(), 3);
    assert_eq!(page.matches("</script").count(), 3);
    assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(1)"));
}

#[test]
fn nothing_is_fetched() {
    let page = report(&[normal(0)], &normal(0));
    let (own, _) = page.split_once("id=\"data\"").unwrap();
    for way in ["src=", "@import", "url(", "http://", "https://"] {
        assert!(!own.contains(way), "{way}");
    }
    assert!(own.contains("default-src 'none'"));
}

#[test]
fn the_page_says_what_the_snapshot_says() {
    let snapshot = lossy(0);
    let page = report(std::slice::from_ref(&snapshot), &snapshot);
    for said in [
        "<b>Lost 1 284</b> (flows)",
        "3 edges count lower bounds",
        "web waits for calls in parallel",
        "multiplexed 63%",
        "the kernel has no such tracepoint",
        "1 720 connections are older than the recording",
        "3.22 ms = web 0.41",
        "2025-11-24 16:00:00 UTC",
    ] {
        assert!(page.contains(said), "{said}");
    }
    let page = report(&[empty()], &empty());
    assert!(page.contains("Nothing was lost."));
    assert!(page.contains("No request came in"));
}

/// Every line that says what is not shown.
fn omissions(page: &str) -> Vec<&str> {
    let lines = page.split("<p class=\"more\">").skip(1);
    lines
        .filter_map(|line| line.split("</p>").next())
        .filter(|line| line.contains(" shown, "))
        .collect()
}

#[test]
fn what_is_not_shown_is_counted_and_placed() {
    let page = report(&[crowded(0), crowded(1)], &crowded(0));
    let said = omissions(&page);
    for line in [
        "8 of 21 edges with a latency are shown, the busiest. The other 13: their median and 99th percentile are in the \
         table Edges.",
        "8 of 14 components are shown, the first of the table Components. The other 6: a click on a component there \
         shows its own.",
        "6 of 14 components that serve are shown, the busiest. The other 8: courtside export -F csv has every component \
         in every window.",
    ] {
        assert!(said.contains(&line), "{line}: {said:?}");
    }
    // Little is shown in full, and nothing is said of it.
    assert_eq!(omissions(&report(&[], &normal(0))), [""; 0]);
    let page = report(&[overflowing(0)], &overflowing(0));
    let said = omissions(&page).join("\n");
    for line in [
        "60 of 304 components are shown",
        "60 of 303 edges are shown",
        "32 of 296 components that talk are shown",
        "24 of 301 edges are shown",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

fn view<'a>(whole: &'a Snapshot, timeline: &'a Timeline) -> ReportView<'a> {
    ReportView::new(whole, timeline)
}

#[test]
fn a_request_over_many_courts_is_a_row_for_each_in_call_order_and_adds_up_to_the_mean() {
    let (whole, timeline) = (crowded(0), Timeline::default());
    let entry = &whole.entries[0];
    let view = view(&whole, &timeline);
    let rows = waterfall::rows(&view, entry);
    assert_eq!(rows.len(), 17);
    let mut at = 0.0;
    for row in &rows {
        assert!((row.begin - at).abs() < 1.0, "{}", row.name);
        at += row.total();
    }
    assert!((at - entry.mean_ns.unwrap()).abs() < 1.0, "{at}");
    let begin: Vec<(&str, usize)> = rows.iter().map(|r| (r.name.as_str(), r.depth)).collect();
    assert_eq!(
        begin[..5],
        [
            ("edge-proxy", 0),
            ("web-frontend-production-7f9c8d6b54-x2kqz", 1),
            ("catalog", 2),
            ("postgres@14-main", 3),
            ("redis", 3),
        ]
    );
    assert_eq!(begin[15..], [("network", 0), ("other", 0)]);
    // A remote end's time is not split, and still has its bar.
    let bank = rows.iter().find(|row| row.name.contains("2001:db8"));
    assert_eq!(bank.unwrap().segments[0].name, "not known here");
}

#[test]
fn a_court_has_what_lay_unread_before_it_and_what_was_held_after_it() {
    let (whole, timeline) = (crowded(0), Timeline::default());
    let view = view(&whole, &timeline);
    let rows = waterfall::rows(&view, &whole.entries[0]);
    let names = |name: &str| -> Vec<&str> {
        let row = rows.iter().find(|row| row.name.starts_with(name)).unwrap();
        row.segments.iter().map(|segment| segment.name).collect()
    };
    assert_eq!(names("search")[..2], ["unread", "on-CPU"]);
    assert_eq!(names("checkout").last(), Some(&"held"));
    assert_eq!(names("web-frontend").last(), Some(&"in parallel"));
}

#[test]
fn what_is_no_sum_is_not_drawn_as_one() {
    let (mut whole, timeline) = (crowded(0), Timeline::default());
    whole.entries[0].adds_up = false;
    let apart = view(&whole, &timeline);
    let rows = waterfall::rows(&apart, &whole.entries[0]);
    assert!(
        rows.iter()
            .all(|row| row.begin == 0.0 && row.note.is_empty())
    );
    let drawn = waterfall::draw(&apart, &whole.entries[0]).into_string();
    assert!(!drawn.contains("on average"));

    // What nobody can tell is what is left, under that name.
    let mut whole = crowded(0);
    whole.entries[0].courts[9].held_ns = None;
    whole.entries[0].other_ns = None;
    let untold = view(&whole, &timeline);
    let rows = waterfall::rows(&untold, &whole.entries[0]);
    let last = rows.last().unwrap();
    assert_eq!(last.name, "what is not known");
    assert!((last.total() - 5e6).abs() < 1.0, "{}", last.total());
}

#[test]
fn edges_without_times_show_none() {
    let mut whole = crowded(0);
    let edge = &mut whole.edges[6];
    edge.untimed = edge.roundtrips;
    let page = report(&[], &whole);
    assert!(page.contains("3 000 untimed"));
    let said = omissions(&page).join("\n");
    assert!(said.contains("8 of 20 edges with a latency"), "{said}");
}

/// The few requests of a component that got a time by chance do not stand for all.
#[test]
fn components_without_times_show_none() {
    let mut whole = crowded(0);
    let component = &mut whole.components[0];
    component.requests.served = 4_321;
    component.requests.untimed = 4_320;
    component.requests.service_ns.count = 1;
    component.requests.service_ns.p50_ns = 77_000_000;
    component.requests.service_ns.p99_ns = 77_000_000;
    let page = report(&[], &whole);
    assert!(page.contains("4 320 untimed"));
    assert!(!page.contains("77.0 ms"));
}

#[test]
fn courts_without_a_row_of_their_own_share_one() {
    let (mut whole, timeline) = (crowded(0), Timeline::default());
    let courts = (0..100).map(|n| Court {
        component: format!("program:c{n}"),
        turnaround_ns: f64::from(n + 1),
        parts: [(Part::OnCpu, f64::from(n + 1))].into_iter().collect(),
        ..Court::default()
    });
    whole.entries[0].courts = courts.collect();
    let view = view(&whole, &timeline);
    let rows = waterfall::rows(&view, &whole.entries[0]);
    assert_eq!(rows.len(), waterfall::MAX_COURTS + 3);
    assert_eq!(rows[0].name, "c60");
    assert_eq!(rows[40].name, "60 more courts, the shortest");
    assert_eq!(rows[40].total(), f64::from(60 * 61 / 2));
    let page = waterfall::draw(&view, &whole.entries[0]).into_string();
    assert!(page.contains("40 of 100 courts have a row, the longest; the other 60 share one."));
}

#[test]
fn clients_stand_apart_from_services() {
    let (whole, timeline) = (crowded(0), Timeline::default());
    let view = view(&whole, &timeline);
    let groups: Vec<Group> = view.components.iter().map(|c| view.group(c)).collect();
    assert!(groups.is_sorted());
    let names = |pick: &picks::Pick| -> Vec<String> {
        let shown = pick.shown.iter();
        shown.map(|n| view.components[*n].name.clone()).collect()
    };
    let thinker = "a-person-who-reads-for-a-long-time".to_owned();
    assert!(!names(&view.picks.means).contains(&thinker));
    assert_eq!(names(&view.picks.client_means), [thinker.as_str()]);
    assert_eq!(names(&view.picks.thinks), [thinker]);
}

#[test]
fn cpu_use_is_a_percentage_of_a_core_everywhere() {
    let page = report(&[normal(0), normal(1)], &normal(0));
    assert!(!page.contains("CPUs</th>") && page.matches(">CPU</th>").count() == 2);
    // In both tables and in the detail.
    assert!(
        page.matches(">68%<").count() == 3,
        "{}",
        page.matches(">68%<").count()
    );
}

#[test]
fn names_that_would_be_cut_to_the_same_stay_whole() {
    let mut whole = normal(0);
    let long = |middle: &str| format!("{}{middle}{}", "a".repeat(40), "z".repeat(40));
    for (component, middle) in whole.components.iter_mut().zip(["one", "two", "cut"]) {
        component.name = long(middle);
    }
    whole.components[2].name.insert(0, '0');
    let timeline = Timeline::default();
    let view = view(&whole, &timeline);
    assert_eq!(view.name(&whole.components[0].id), long("one"));
    assert_eq!(view.name(&whole.components[1].id), long("two"));
    assert_eq!(view.name(&whole.components[2].id).chars().count(), 48);
}

/// A Python that drives a browser: `cargo xtask test` installs both.
fn python() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let given = std::env::var_os("COURTSIDE_PYTHON").map(PathBuf::from);
    let own = workspace.join("target/python/bin/python");
    let python = given.or_else(|| own.exists().then_some(own));
    let driver = Path::new("/usr/bin/chromedriver").exists();
    if python.is_none() || !driver {
        eprintln!("not run: no target/python or no chromedriver; cargo xtask test makes them");
        return None;
    }
    python
}

#[test]
fn a_browser_draws_every_picture_and_opens_details() {
    let mut all = pages();
    all.push(("comparison", comparison(&comparison::tests::many())));
    if let Some(said) = browse("", &all) {
        assert_eq!(
            said,
            "10 pages: every picture is there, and nobody complains\n"
        );
    }
}

/// What a browser says of pages; nothing if there is none.
pub(super) fn browse(under: &str, pages: &[(&str, String)]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    // Whoever wants to look at the pages says where they may stay.
    let kept = std::env::var_os("REPORT_PAGES").map(PathBuf::from);
    let place = kept.as_deref().unwrap_or(folder.path()).join(under);
    std::fs::create_dir_all(&place).unwrap();
    for (name, page) in pages {
        std::fs::write(place.join(format!("{name}.html")), page).unwrap();
    }
    let python = python()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/report/check_page.py");
    let output = Command::new(python)
        .arg(script)
        .arg(place)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_browser_cuts_nothing_off_the_pages_with_curves() {
    let measured = Measured {
        points: &prediction::tests::SEEN,
        is_elsewhere: true,
    };
    let pages = [
        ("scaling", scaling(&crate::scale::tests::scaling())),
        ("scaling-hostile", scaling(&scaling::tests::hostile())),
        ("scaling-large", scaling(&scaling::tests::large())),
        ("scaling-nothing", scaling(&Default::default())),
        (
            "prediction",
            prediction(&prediction::tests::four(), measured),
        ),
        (
            "prediction-hostile",
            prediction(&prediction::tests::hostile(), measured),
        ),
        (
            "prediction-nothing",
            prediction(&Default::default(), Measured::default()),
        ),
    ];
    let Some(said) = browse("curves", &pages) else {
        return;
    };
    assert_eq!(
        said,
        "7 pages: every picture is there, and nobody complains\n"
    );
}
