//! What is wrong is named, and what to do about it.

use std::fs;

use serde_json::Value;

use crate::shared::{FLEET, Fleet, count, failed, fleet, json, list, rows, said, text};

/// Cuts a file in the middle.
fn halve(file: &std::path::Path) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn a_half_written_file_is_named_and_the_rest_answered_on_demand() {
    let fleet = Fleet::new(5, 1, 3);
    let place = fleet.place();
    let file = fleet.some_file("edges");
    halve(&file);
    let name = file.to_str().unwrap();
    let error = failed(&["map", &place]);
    assert!(
        error.contains(name) && error.contains("--skip-bad"),
        "{error}"
    );
    let map = json(&["map", &place, "--skip-bad"]);
    let skipped = list(&map["skipped"]);
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0]["file"], name);
    assert!(!list(&map["edges"]).is_empty());
    // What needs other tables does not mind.
    let windows = rows("SELECT count(*) AS n FROM windows", &place);
    assert_eq!(count(&windows[0]["n"]), 300);
    let table = said(&["map", &place, "--skip-bad"]);
    assert!(table.contains("files left out: 1"), "{table}");
}

#[test]
fn an_empty_file_and_one_that_is_no_parquet_are_named_together() {
    let fleet = Fleet::new(5, 1, 3);
    let first = fleet.some_file("components");
    fs::write(&first, "").unwrap();
    let second = first.with_file_name("components-000060-000119.parquet");
    fs::write(&second, "no Parquet, but long enough to look at").unwrap();
    let windows = fleet.some_file("windows");
    fs::copy(
        &windows,
        windows.with_file_name("windows-000060-000119.parquet"),
    )
    .unwrap();
    let error = failed(&["sql", "SELECT count(*) FROM components", &fleet.place()]);
    for file in [first, second] {
        assert!(error.contains(file.to_str().unwrap()), "{error}");
    }
    assert!(error.starts_with("error: 2 files"), "{error}");
}

#[test]
fn an_hour_that_is_being_ended_is_not_looked_at_yet() {
    let fleet = Fleet::new(5, 1, 3);
    let windows = fleet.some_file("windows");
    fs::remove_file(&windows).unwrap();
    let part = windows.with_file_name(".courtside-77-windows.part");
    fs::write(part, "half").unwrap();
    let hosts = rows(
        "SELECT count(DISTINCT host) AS hosts FROM components",
        &fleet.place(),
    );
    assert_eq!(count(&hosts[0]["hosts"]), 4);
    let map = json(&["map", &fleet.place()]);
    assert!(count(&map["unfinished_files"]) > 0);
}

#[test]
fn missing_hours_are_counted() {
    let fleet = Fleet::new(5, 2, 3);
    let hour = fleet.some_file("windows");
    fs::remove_dir_all(hour.parent().unwrap()).unwrap();
    let map = json(&["map", &fleet.place()]);
    assert_eq!(count(&map["missing_host_hours"]), 1);
    let table = said(&["map", &fleet.place()]);
    assert!(
        table.starts_with("hosts: 5; hours: 2; hours of single hosts missing: 1"),
        "{table}"
    );
}

#[test]
fn another_version_of_the_schema_is_named() {
    let fleet = Fleet::new(5, 1, 3);
    let file = fleet.some_file("windows");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes
        .windows(18)
        .position(|some| some == b"courtside.tables/1")
        .unwrap();
    bytes[at + 17] = b'2';
    fs::write(&file, bytes).unwrap();
    let error = failed(&["sql", "SELECT count(*) FROM windows", &fleet.place()]);
    assert!(error.contains("courtside.tables/2"), "{error}");
}

#[test]
fn a_parquet_file_of_somebody_else_is_named() {
    let fleet = Fleet::new(5, 1, 3);
    let file = fleet.some_file("windows");
    let sql = "SELECT 1 AS one";
    said(&[
        "sql",
        sql,
        &fleet.place(),
        "-F",
        "parquet",
        "-o",
        file.to_str().unwrap(),
    ]);
    let error = failed(&["sql", "SELECT count(*) FROM windows", &fleet.place()]);
    assert!(
        error.contains("no export of Courtside") || error.contains("not an export of Courtside"),
        "{error}"
    );
}

#[test]
fn places_that_hold_nothing_say_what_to_give() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    let error = failed(&["map", empty]);
    assert!(error.contains("courtside serve --export"), "{error}");
    let error = failed(&["map", "s3://bucket/hosts"]);
    assert!(error.contains("s3://"), "{error}");
    let error = failed(&["map", "/no/such/folder"]);
    assert!(error.contains("/no/such/folder"), "{error}");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = failed(&["map", file.to_str().unwrap()]);
    assert!(error.contains("no folder"), "{error}");
}

#[test]
fn wrong_sql_names_the_nearest_column_and_table() {
    let place = FLEET.place();
    let error = failed(&["sql", "SELECT requests_servd FROM components", &place]);
    assert!(
        error.contains("requests_servd") && error.contains("requests_served"),
        "{error}"
    );
    let error = failed(&["sql", "SELECT * FROM component", &place]);
    assert!(error.contains("did you mean components?"), "{error}");
    let error = failed(&["sql", "SELEC 1", &place]);
    assert!(error.contains("SELEC"), "{error}");
    for writes in [
        "DROP TABLE windows",
        "CREATE TABLE x AS SELECT 1",
        "INSERT INTO windows VALUES (1)",
    ] {
        let error = failed(&["sql", writes, &place]);
        assert!(!error.is_empty(), "{writes}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.parquet");
    let copy = format!("COPY (SELECT 1) TO '{}'", file.display());
    failed(&["sql", &copy, &place]);
    assert!(!file.exists());
}

#[test]
fn an_engine_that_there_is_not_is_refused_with_what_there_is() {
    let output = fleet(&[
        "map",
        &FLEET.place(),
        "--engine",
        "ballista://10.0.0.1:50050",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(error.contains("embedded"), "{error}");
}

#[test]
fn a_made_up_fleet_is_never_written_over_something() {
    let fleet = Fleet::new(5, 1, 3);
    let error = failed(&["synth", "-o", &fleet.place()]);
    assert!(error.contains("not empty"), "{error}");
}

#[test]
fn odd_names_do_no_harm() {
    let fleet = Fleet::new(5, 1, 3);
    let root = fleet.path();
    fs::rename(root.join("host=gate-0001"), root.join("host=o'dd %2F ü")).unwrap();
    fs::rename(root.join("host=search-0001"), root.join("host=\u{1b}[31m")).unwrap();
    let sql = "SELECT DISTINCT host FROM windows ORDER BY host";
    let table = said(&["sql", sql, &fleet.place()]);
    assert!(
        table.contains("o'dd %2F ü") && !table.contains('\u{1b}'),
        "{table:?}"
    );
    let spec = json(&["specs", &fleet.place()]);
    assert!(matches!(spec["specs"], Value::Array(_)));
    let map = json(&["map", &fleet.place()]);
    assert_eq!(count(&map["hosts"]), 4);
    assert_eq!(count(&map["strange_files"]), 1);
    let error = failed(&["map", "/no/such\u{1b}[31m/folder"]);
    assert!(!error.contains('\u{1b}'), "{error:?}");
}
