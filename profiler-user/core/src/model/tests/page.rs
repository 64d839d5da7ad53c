//! docs/metrics.md: its tables are made from the fields, and every field of the JSON is in one of them.
#![expect(
    clippy::disallowed_methods,
    reason = "a page that is held to what makes it is a file"
)]

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::blame::Blame;
use super::super::fields::Fields;
use super::super::finding::Finding;
use super::super::locks::{Holder, Lock};
use super::super::schema::schema_json;
use super::super::snapshot::*;

/// The table of each place in the page that asks for one.
fn tables() -> Vec<(&'static str, String)> {
    macro_rules! of {
        ($($name:ident)+) => { vec![$((stringify!($name), $name::page())),+] };
    }
    of! {
        Snapshot Unmatched Host Window Quality Probe Pmu Cost ProgramCost
        Component Cpu Blame Waits Polls Lock Holder Counters Disk Requests Turnaround TurnaroundCounters Recipient Unprompted
        Edge Connects Entry Court Finding Dist
    }
}

/// The page with every table made anew.
fn made(page: &str) -> String {
    tables()
        .into_iter()
        .fold(page.to_owned(), |page, (name, rows)| {
            let begin = format!("<!-- fields of {name}: made by the program, begin -->\n");
            let end = "\n<!-- fields: end -->";
            let (before, rest) = page
                .split_once(&begin)
                .unwrap_or_else(|| panic!("no {begin}"));
            let (_, after) = rest.split_once(end).unwrap();
            let head = "| field | meaning | error and notes |\n|---|---|---|";
            format!("{before}{begin}\n{head}\n{rows}{end}{after}")
        })
}

#[test]
fn the_page_of_metrics_names_every_field() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap();
    let made = made(&page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &made).unwrap();
    } else {
        assert!(
            page == made,
            "make it anew: UPDATE_DOCS=1 cargo test --lib names_every"
        );
    }
    let mut names = BTreeSet::new();
    collect(&schema_json("snapshot").unwrap(), &mut names);
    names.retain(|name| !made.contains(&format!("`{name}`")));
    assert_eq!(names, BTreeSet::new());
}

/// Every name under any `properties`.
fn collect(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                names.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| collect(value, names));
        }
        Value::Array(array) => array.iter().for_each(|value| collect(value, names)),
        _ => {}
    }
}
