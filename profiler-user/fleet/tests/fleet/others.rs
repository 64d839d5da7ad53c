//! Others read the same files and count the same; and files that Courtside's own tests are made of are read.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use courtside_core::{
    fixture::{
        frames::{APP, NONE, WEB, cpu, flow, frame, image, remote},
        snapshots::normal,
    },
    frame::{Frame, Role},
    model::{Snapshot, State, View, fold},
};
use courtside_export::parquet::Parquet;
use serde_json::Value;

use crate::shared::{FLEET, count, json, list, rows, text};

fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python");
    let given = std::env::var_os("COURTSIDE_PYTHON").map(PathBuf::from);
    given.or_else(|| own.exists().then_some(own))
}

/// Columns that the engine and DuckDB call the same, and questions of all kinds.
const QUESTIONS: [&str; 6] = [
    "SELECT host, hour, count(*) AS n FROM windows GROUP BY host, hour ORDER BY host, hour",
    "SELECT id, sum(requests_served) AS served, sum(on_cpu_ns) AS ns, min(service_min_ns) AS least, max(service_max_ns) AS most FROM components WHERE kind <> 'remote' GROUP BY id ORDER BY id",
    r#"SELECT "from", "to", port, acceptor_only, sum(roundtrips) AS roundtrips, sum(latency_sum_ns) AS latency, sum(service_sum_ns) AS service FROM edges GROUP BY "from", "to", port, acceptor_only ORDER BY "from", "to", port"#,
    r#"SELECT f.rule AS rule, count(*) AS n, min(w.start_unix_ns) AS since FROM findings f JOIN windows w ON f.host = w.host AND f.hour = w.hour AND f."window" = w."window" GROUP BY f.rule ORDER BY rule"#,
    "SELECT id, sum(cycles) AS cycles, sum(instructions) AS instructions, count(cpi) AS n FROM components WHERE host LIKE 'search%' AND hour = '20260105T01' GROUP BY id ORDER BY id",
    "SELECT count(*) AS n, count(DISTINCT component) AS components FROM processes",
];

const SCRIPT: &str = r#"
import json, sys
import duckdb
root, questions = sys.argv[1], json.loads(sys.argv[2])
db = duckdb.connect()
for table in ["windows", "components", "edges", "findings", "processes"]:
    files = f"{root}/host=*/hour=*/{table}-*.parquet"
    db.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{files}', hive_partitioning=true, hive_types_autocast=false)")
answers = []
for question in questions:
    asked = db.execute(question)
    names = [column[0] for column in asked.description]
    answers.append([dict(zip(names, row)) for row in asked.fetchall()])
print(json.dumps(answers, default=int))
"#;

#[test]
fn duckdb_counts_the_same_in_the_same_files() {
    let Some(python) = python() else {
        eprintln!("not compared: no target/python; cargo xtask test makes it");
        return;
    };
    let place = FLEET.place();
    let mut command = Command::new(python);
    command.args([
        "-c",
        SCRIPT,
        &place,
        &serde_json::to_string(&QUESTIONS).unwrap(),
    ]);
    let output = command.output().unwrap();
    let error = text(&output.stderr);
    if error.contains("No module named 'duckdb'") {
        eprintln!("not compared: target/python has no duckdb; cargo xtask test installs it");
        return;
    }
    assert!(output.status.success(), "{error}");
    let answers: Vec<Vec<Value>> = serde_json::from_slice(&output.stdout).unwrap();
    for (question, answer) in QUESTIONS.iter().zip(answers) {
        assert!(!answer.is_empty(), "{question}");
        assert_eq!(rows(question, &place), answer, "{question}");
    }
}

/// Writes windows as the agent of a host would.
fn export(root: &Path, host: &str, windows: &[Snapshot]) {
    let hour = root.join(format!("host={host}")).join("hour=20261130T06");
    fs::create_dir_all(&hour).unwrap();
    let mut tables = Parquet::new(false).unwrap();
    let mut pieces = Vec::new();
    for (window, snapshot) in (0..).zip(windows) {
        pieces.extend(tables.add(window, snapshot).unwrap());
    }
    pieces.extend(tables.finish().unwrap());
    for piece in pieces {
        let table = piece.file.strip_suffix(".parquet").unwrap();
        let file = hour.join(format!("{table}-000000-{:06}.parquet", windows.len() - 1));
        let mut bytes = fs::read(&file).unwrap_or_default();
        bytes.extend(piece.bytes);
        fs::write(file, bytes).unwrap();
    }
}

/// What fold makes of what two hosts saw of the same hundred roundtrips is joined, by addresses of either kind.
#[test]
fn two_hosts_that_saw_the_same_connection_are_one_edge() {
    let folded = |frame: &Frame| fold(&mut State::default(), frame, &View::default());
    for (web, app) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        let folder = tempfile::tempdir().unwrap();
        let asks = flow((WEB, remote(1), 80), Role::Initiator, 100, 900_000, NONE);
        let asks = frame(vec![image(WEB, "web", &[])], &[(app, 80)], vec![asks]);
        let serves = flow(
            (APP, remote(1), 80),
            Role::Acceptor,
            100,
            600_000,
            cpu(1000),
        );
        let serves = frame(vec![image(APP, "app", &[80])], &[(web, 0)], vec![serves]);
        export(folder.path(), "one", &[folded(&asks)]);
        export(folder.path(), "two", &[folded(&serves)]);
        let addresses = format!("{web} one\n{app} two\n");
        fs::write(folder.path().join("hosts"), addresses).unwrap();
        let map = json(&["map", folder.path().to_str().unwrap(), "--by-host"]);
        let edges = list(&map["edges"]);
        assert_eq!(edges.len(), 1, "{map:#}");
        let edge = &edges[0];
        assert_eq!(edge["through"], "direct", "{map:#}");
        assert_eq!(
            (&edge["from_host"], &edge["to_host"]),
            (&"one".into(), &"two".into())
        );
        assert_eq!(
            (&edge["from"], &edge["to"]),
            (&"program:web".into(), &"program:app".into())
        );
        assert_eq!(edge["roundtrips"], 100);
        assert_eq!(edge["network_mean_ns"], 300_000.0);
    }
}

#[test]
fn windows_with_everything_in_them_are_read_to_the_last_column() {
    let folder = tempfile::tempdir().unwrap();
    for (host, windows) in [("one", 3), ("two", 2)] {
        let windows: Vec<Snapshot> = (0..windows).map(normal).collect();
        export(folder.path(), host, &windows);
    }
    let place = folder.path().to_str().unwrap();
    for table in courtside_export::tables::tables() {
        let read = rows(&format!("SELECT * FROM {}", table.name), place);
        let wanted: usize = [3, 2]
            .into_iter()
            .flat_map(|windows| 0..windows)
            .map(|window| table.rows(window, &normal(window)).count())
            .sum();
        assert_eq!(read.len(), wanted, "{}", table.name);
        for row in &read {
            for column in &table.columns {
                let cell = &row[&column.name];
                assert!(
                    column.nullable || !cell.is_null(),
                    "{}.{}",
                    table.name,
                    column.name
                );
            }
            assert!(row["host"].is_string() && row["hour"] == "20261130T06");
        }
    }
    let roundtrips: u64 = [3, 2]
        .into_iter()
        .flat_map(|windows| 0..windows)
        .flat_map(|window| normal(window).edges)
        .map(|edge| edge.roundtrips)
        .sum();
    let map = json(&["map", place]);
    let edges = list(&map["edges"]);
    assert!(
        edges.iter().all(|edge| edge["through"] == "local"),
        "{map:#}"
    );
    let found: u64 = edges.iter().map(|edge| count(&edge["roundtrips"])).sum();
    assert_eq!(found, roundtrips);
}
