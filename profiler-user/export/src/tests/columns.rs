//! Names and types of columns do not change within a version of the tables: other programs hold files of many versions of
//! Courtside together.

use crate::tables::{SCHEMA, events, tables};

const FROZEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/columns.txt");

fn now() -> Vec<String> {
    let tables = tables().into_iter().chain([events()]);
    let columns = tables.flat_map(|table| {
        let name = table.name;
        table.columns.into_iter().map(move |column| {
            let null = if column.nullable { "?" } else { "" };
            format!("{name}.{} {:?}{null}", column.name, column.kind)
        })
    });
    columns.collect()
}

/// A column that may be null from now on is another type for a reader, too. New ones are added to the list, with
/// `UPDATE_DOCS=1`; none is ever taken off it.
#[test]
fn no_column_of_this_version_has_another_name_or_type_than_before() {
    assert_eq!(
        SCHEMA, "courtside.tables/1",
        "begin a list for the new version"
    );
    let known = std::fs::read_to_string(FROZEN).unwrap_or_default();
    let known: Vec<&str> = known.lines().collect();
    let now = now();
    let changed: Vec<&&str> = known
        .iter()
        .filter(|line| !now.iter().any(|column| column == *line))
        .collect();
    assert!(changed.is_empty(), "{changed:#?}");
    assert!(!known.is_empty() || std::env::var_os("UPDATE_DOCS").is_some());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let new = now
            .iter()
            .filter(|column| !known.contains(&column.as_str()));
        let new = new.map(String::as_str);
        let all: Vec<&str> = known.iter().copied().chain(new).collect();
        std::fs::write(FROZEN, all.join("\n") + "\n").unwrap();
    }
}
