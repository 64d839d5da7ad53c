//! Every export, read back, says the same as the snapshots.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "other people's programs read what is written, from files"
)]

use courtside_core::fixture::frames;
use std::collections::BTreeMap;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use prost::Message;

use super::csv::Csv;
use super::parquet::Parquet;
use super::perfetto::{Perfetto, proto::Trace};
use super::tables::{Kind, Table, Value, tables};
use super::{Piece, json};
use courtside_core::fixture::snapshots::{lossy, normal, overflowing, unknown_pmu};
use courtside_core::model::finding::Between;
use courtside_core::model::snapshot::{HeldUnknown, TurnaroundCounters};
use courtside_core::model::visible::for_people;
use courtside_core::model::{Snapshot, State, View, fold};

mod columns;
mod events;
mod python;
mod rebuilt;

/// One cell that was read back.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    Count(u64),
    Real(f64),
    Flag(bool),
    Text(String),
    Counts(Vec<u64>),
}

type Rows = Vec<BTreeMap<String, Cell>>;

/// A recording in which nearly everything occurs: losses, nulls, remote ends, names that are no ASCII.
fn windows() -> Vec<Snapshot> {
    let mut chain = fold(&mut State::default(), &frames::chain(10), &View::default());
    chain.components[0].name = "a,\"b\"\n<c>;=d".to_owned();
    chain.components[0].id = "program:odd".to_owned();
    chain.host.hostname = String::new();
    chain.edges[0].acceptor_only = true;
    let mut counted = normal(0);
    for component in &mut counted.components {
        let counters = TurnaroundCounters {
            cycles: 3_000,
            instructions: 2_000,
            cpi: Some(1.5),
        };
        component.turnaround.counters = Some(counters);
        for to in &mut component.turnaround.by_recipient {
            to.counters = Some(counters);
        }
    }
    let mut untimed = lossy(1);
    untimed.components[0].requests.held_unknown = Some(HeldUnknown::UntimedCalls);
    untimed.entries[0].courts[0].held_unknown = Some(HeldUnknown::UnseenCalls);
    untimed.edges[0].receiving_ns = Some(untimed.edges[0].latency_ns.clone());
    let mut windows = vec![counted, untimed, unknown_pmu(2), overflowing(3), chain];
    for window in &mut windows {
        window.findings = courtside_analysis::findings::look(window);
    }
    let found = || windows.iter().flat_map(|window| &window.findings);
    let edge = found().next().map(|first| Between {
        from: "a".to_owned(),
        to: first.component.clone(),
    });
    assert!(found().any(|finding| finding.evidence.len() > 1));
    assert!(found().count() > 1);
    for (number, finding) in windows
        .iter_mut()
        .flat_map(|window| &mut window.findings)
        .enumerate()
    {
        finding.edge = edge.clone().filter(|_| number % 2 == 0);
    }
    windows
}

/// The files that pieces add up to.
fn files(pieces: impl IntoIterator<Item = Vec<Piece>>) -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for piece in pieces.into_iter().flatten() {
        files.entry(piece.file).or_default().extend(piece.bytes);
    }
    files
}

fn as_csv(windows: &[Snapshot]) -> BTreeMap<String, Vec<u8>> {
    let mut csv = Csv::new(false).unwrap();
    let mut pieces: Vec<_> = (0..)
        .zip(windows)
        .map(|(n, w)| csv.add(n, w).unwrap())
        .collect();
    pieces.push(csv.finish().unwrap());
    files(pieces)
}

fn as_parquet(windows: &[Snapshot]) -> BTreeMap<String, Vec<u8>> {
    let mut parquet = Parquet::new(false).unwrap();
    let mut pieces: Vec<_> = (0..)
        .zip(windows)
        .map(|(n, w)| parquet.add(n, w).unwrap())
        .collect();
    pieces.push(parquet.finish().unwrap());
    files(pieces)
}

fn as_trace(windows: &[Snapshot]) -> Vec<u8> {
    let mut perfetto = Perfetto::default();
    let mut pieces: Vec<_> = (0..)
        .zip(windows)
        .map(|(n, w)| perfetto.add(n, w))
        .collect();
    pieces.push(perfetto.finish());
    files(pieces).remove("").unwrap()
}

fn read_csv(table: &Table, bytes: &[u8]) -> Rows {
    let mut reader = ::csv::Reader::from_reader(bytes);
    let header = reader.headers().unwrap().clone();
    let names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(header.iter().collect::<Vec<_>>(), names);
    let cell = |kind: Kind, nullable: bool, text: &str| match kind {
        _ if nullable && text.is_empty() => Cell::Null,
        Kind::Count => Cell::Count(text.parse().unwrap()),
        Kind::Real => Cell::Real(text.parse().unwrap()),
        Kind::Flag => Cell::Flag(text.parse().unwrap()),
        Kind::Text => Cell::Text(text.to_owned()),
        Kind::Counts => {
            let numbers = text.split_whitespace().map(|n| n.parse().unwrap());
            Cell::Counts(numbers.collect())
        }
    };
    let row = |record: ::csv::StringRecord| {
        let cells = table.columns.iter().zip(&record);
        cells
            .map(|(c, text)| (c.name.clone(), cell(c.kind, c.nullable, text)))
            .collect()
    };
    reader
        .records()
        .map(|record| row(record.unwrap()))
        .collect()
}

fn read_parquet(bytes: Vec<u8>) -> Rows {
    fn cell(field: &Field) -> Cell {
        match field {
            Field::Null => Cell::Null,
            Field::ULong(n) => Cell::Count(*n),
            Field::Double(x) => Cell::Real(*x),
            Field::Bool(yes) => Cell::Flag(*yes),
            Field::Str(text) => Cell::Text(text.clone()),
            Field::ListInternal(list) => {
                let numbers = list.elements().iter().map(|element| match element {
                    Field::ULong(n) => *n,
                    other => panic!("{other:?}"),
                });
                Cell::Counts(numbers.collect())
            }
            other => panic!("{other:?}"),
        }
    }
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| {
        let row = row.unwrap();
        let cells = row.get_column_iter();
        cells
            .map(|(name, field)| (name.clone(), cell(field)))
            .collect()
    })
    .collect()
}

#[test]
fn no_spreadsheet_runs_what_a_process_is_called() {
    let mut window = windows().remove(0);
    let names = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\u{1b}[2J",
        "a\u{202E}b",
        "＝1",
        "'=1",
        "x=1",
        "a-b",
        "'x",
        "",
    ];
    let written = [
        "'=1+1",
        "'+1",
        "'-1",
        "'@SUM(A1)",
        "<0009>=1",
        "<001B>[2J",
        "a<202E>b",
        "'＝1",
        "''=1",
        "x=1",
        "a-b",
        "'x",
        "",
    ];
    let mut component = window.components[0].clone();
    component.processes.clear();
    window.components = names
        .iter()
        .map(|name| {
            let mut component = component.clone();
            (*name).clone_into(&mut component.name);
            component
        })
        .collect();
    // Numbers below zero stay numbers.
    window.entries[0].other_ns = Some(-1234.5);
    let files = as_csv(&[window]);
    let column = |table: &str, name: &str| -> Vec<String> {
        let mut reader = ::csv::Reader::from_reader(files[table].as_slice());
        let at = reader.headers().unwrap().iter().position(|h| h == name);
        let records = reader.records().map(|record| record.unwrap());
        records.map(|r| r[at.unwrap()].to_owned()).collect()
    };
    assert_eq!(column("components.csv", "name"), written);
    assert_eq!(column("entries.csv", "other_ns")[0], "-1234.5");
}

#[test]
fn csv_reads_back_as_the_same_snapshots() {
    let windows = windows();
    let files = as_csv(&windows);
    let read = |t: &Table| (t.name, read_csv(t, &files[&format!("{}.csv", t.name)]));
    let tables: BTreeMap<_, _> = tables().iter().map(read).collect();
    let windows: Vec<Snapshot> = windows
        .iter()
        .map(|window| for_people(window).into_owned())
        .collect();
    assert_eq!(rebuilt::snapshots(&tables), windows);
}

#[test]
fn parquet_reads_back_as_the_same_snapshots() {
    let windows = windows();
    let mut files = as_parquet(&windows);
    let mut read = |t: &Table| {
        let bytes = files.remove(&format!("{}.parquet", t.name)).unwrap();
        (t.name, read_parquet(bytes))
    };
    let tables: BTreeMap<_, _> = tables().iter().map(&mut read).collect();
    assert_eq!(rebuilt::snapshots(&tables), windows);
}

#[test]
fn json_lines_read_back_as_the_same_snapshots() {
    let windows = windows();
    let text: String = windows.iter().map(|w| json::to_line(w).unwrap()).collect();
    let read = text.lines().map(|line| serde_json::from_str(line).unwrap());
    assert_eq!(read.collect::<Vec<Snapshot>>(), windows);
}

#[test]
fn nothing_recorded_still_makes_every_file() {
    for (files, ending) in [(as_csv(&[]), "csv"), (as_parquet(&[]), "parquet")] {
        let names: Vec<&String> = files.keys().collect();
        let mut expected: Vec<String> = tables()
            .iter()
            .map(|t| format!("{}.{ending}", t.name))
            .collect();
        expected.sort();
        assert_eq!(names, expected.iter().collect::<Vec<_>>());
    }
}

/// Names of all fields under `value`, and whether any of them is ever something else than null.
fn fields(value: &serde_json::Value, place: &str, known: &mut BTreeMap<String, bool>) {
    match value {
        serde_json::Value::Object(object) => {
            for (name, value) in object {
                let place = format!("{place}.{name}");
                *known.entry(place.clone()).or_default() |= !value.is_null();
                fields(value, &place, known);
            }
        }
        serde_json::Value::Array(list) => {
            list.iter().for_each(|value| fields(value, place, known));
        }
        _ => {}
    }
}

#[test]
fn every_field_has_a_value_here_so_that_none_can_be_forgotten() {
    let mut known = BTreeMap::new();
    for window in windows() {
        fields(&serde_json::to_value(window).unwrap(), "", &mut known);
    }
    let forgotten = known.iter().filter(|(_, has_value)| !**has_value);
    assert_eq!(forgotten.collect::<Vec<_>>(), []);
}

#[test]
fn many_windows_leave_row_groups_behind_instead_of_filling_memory() {
    let mut parquet = Parquet::new(false).unwrap();
    let busy = overflowing(0);
    // Some 20 000 cells of components a window: the limit is passed after about a hundred.
    let written: usize = (0..300)
        .flat_map(|n| parquet.add(n, &busy).unwrap())
        .filter(|piece| piece.file == "components.parquet")
        .map(|piece| piece.bytes.len())
        .sum();
    assert!(written > 100_000, "{written}");
}

#[test]
fn every_cell_is_of_its_columns_kind() {
    for table in tables() {
        let mut names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), table.columns.len(), "{}", table.name);
        for (n, window) in (0..).zip(&windows()) {
            for row in table.rows(n, window) {
                for column in &table.columns {
                    let fits = match (column.kind, column.value(row)) {
                        (_, Value::Null) => column.nullable,
                        (Kind::Count, Value::Count(_))
                        | (Kind::Real, Value::Real(_))
                        | (Kind::Flag, Value::Flag(_))
                        | (Kind::Text, Value::Text(_))
                        | (Kind::Counts, Value::Counts(_)) => true,
                        _ => false,
                    };
                    assert!(fits, "{}.{}", table.name, column.name);
                }
            }
        }
    }
}

/// The value at which each counter stands in the window that begins at `at`, by process and name.
fn counters(trace: &Trace, at: u64) -> BTreeMap<(String, String), f64> {
    let mut processes = BTreeMap::new();
    let mut names = BTreeMap::new();
    let mut values = BTreeMap::new();
    for packet in &trace.packet {
        if let Some(track) = &packet.track_descriptor {
            if let Some(process) = &track.process {
                processes.insert(track.uuid, process.process_name.clone().unwrap());
            } else {
                let process = track.parent_uuid.map(|uuid| processes[&uuid].clone());
                let name = track.name.clone().unwrap();
                names.insert(track.uuid, (process.unwrap_or_default(), name));
            }
        }
        if let Some(event) = &packet.track_event
            && let Some(value) = event.double_counter_value
            && packet.timestamp.unwrap() <= at
        {
            values.insert(names[&event.track_uuid].clone(), value);
        }
    }
    values
}

#[test]
fn a_trace_decodes_to_the_same_sums() {
    // One host in time: what a window does not hold stands at nothing.
    let windows = [
        normal(0),
        lossy(1),
        courtside_core::fixture::snapshots::empty(),
        normal(3),
    ];
    let mut windows = windows.to_vec();
    windows[2].window.start_unix_ns = windows[1].window.start_unix_ns + 1_000_000_000;
    let trace = Trace::decode(as_trace(&windows).as_slice()).unwrap();
    for window in &windows {
        let counters = counters(&trace, window.window.start_unix_ns);
        let seconds = window.window.duration_ns as f64 / 1e9;
        let value = |process: &str, name: &str| {
            let key = (process.to_owned(), name.to_owned());
            (counters.get(&key).copied().unwrap_or(0.0) * seconds).round() as u64
        };
        assert_eq!(value("", "lost"), window.quality.lost.values().sum::<u64>());
        for c in &window.components {
            let t = &c.turnaround;
            for (name, expected) in [
                ("requests/s", c.requests.served),
                ("turnarounds/s", t.count),
                ("CPU, ns/s", c.cpu.on_cpu_ns),
                ("disk reads, B/s", c.disk.read_bytes),
            ] {
                assert_eq!(value(&c.name, name), expected, "{} {name}", c.name);
            }
            for (part, expected) in t.parts {
                let name = format!("turnaround: {}, ns/s", part.words());
                assert_eq!(value(&c.name, &name), expected, "{} {name}", c.name);
            }
        }
        let roundtrips: u64 = window.edges.iter().map(|edge| edge.roundtrips).sum();
        let ends = |(_, name): &(String, String)| name.ends_with("roundtrips/s");
        let shown: f64 = counters
            .iter()
            .filter(|(k, _)| ends(k))
            .map(|(_, v)| v)
            .sum();
        assert_eq!((shown * seconds).round() as u64, roundtrips);
    }
    let slices = trace.packet.iter().filter_map(|p| p.track_event.as_ref());
    let begun = slices.filter(|e| e.name.is_some()).count();
    let components: usize = windows.iter().map(|w| w.components.len()).sum();
    assert_eq!(begun, components);
}

#[test]
fn the_page_for_model_builders_names_every_column() {
    const BEGIN: &str = "<!-- columns: made by the program, begin -->\n";
    const END: &str = "<!-- columns: end -->\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/models.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    let made = format!("\n{}\n", super::tables::markdown());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(
        shown, made,
        "make it anew: UPDATE_DOCS=1 cargo test --lib names_every"
    );
}
