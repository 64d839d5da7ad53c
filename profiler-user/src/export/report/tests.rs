//! The page: what stands in it, that no name escapes from its place, and what a real browser makes of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::tui::fixtures::{empty, lossy, normal, overflowing, shop, unknown_pmu};

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
    vec![
        ("normal", report(&minute, &normal(0))),
        ("lossy", report(&bad, &lossy(0))),
        ("unknown-pmu", report(&[unknown_pmu(0)], &unknown_pmu(0))),
        ("shop", report(&[shop()], &shop())),
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
        "add up to 310 µs more than the request took",
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

/// A Python that drives a browser: `cargo xtask test` installs both.
fn python() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
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
    let folder = tempfile::tempdir().unwrap();
    // Whoever wants to look at the pages says where they may stay.
    let kept = std::env::var_os("REPORT_PAGES").map(PathBuf::from);
    let place = kept.as_deref().unwrap_or(folder.path());
    for (name, page) in pages() {
        std::fs::write(place.join(format!("{name}.html")), page).unwrap();
    }
    let Some(python) = python() else { return };
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/export/report/check_page.py"
    );
    let output = Command::new(python)
        .arg(script)
        .arg(place)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "8 pages: every picture is there, and nobody complains\n"
    );
}
