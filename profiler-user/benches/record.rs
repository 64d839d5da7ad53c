//! What recordings cost: how fast windows are written and read, how long a gigabyte takes to open.
//!
//! In: a golden recording, a folder for files (first argument, or the folder for temporary files). Out: one JSON object
//! on stdout. Run by `cargo xtask bench record`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot run fails"
)]

use std::{
    convert::Infallible,
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use courtside::{
    event::Event,
    export::{Piece, csv::Csv, parquet::Parquet, perfetto::Perfetto},
    frame::{Flow, Frame, merge},
    model::resolve::{ComponentName, Resolver},
    model::{GroupBy, State, View, fold, recut::Recut, turnarounds::Turnarounds, who_is_who},
    parts::Part,
    record::{Header, Kind, Recording, Ring, Writer, encode_events},
};
use rustix::fs::{Advice, fadvise};
use serde_json::json;

const GIGABYTE: u64 = 1_000_000_000;
const FOR: Duration = Duration::from_secs(2);

fn golden() -> Vec<Frame> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/v1/relay.rec");
    let recording = Recording::open(&path).unwrap();
    recording.frames().map(Result::unwrap).collect()
}

/// The chain of four programs so many times over, each with numbers of its own.
fn host(frames: &[Frame], copies: u32) -> Vec<Frame> {
    let mut dice = 1u64;
    let mut noise = move |value: u64| {
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        value + value * (dice >> 40) / (1 << 24) / 4
    };
    (0..32)
        .map(|n| {
            let frame = &frames[n % frames.len()];
            let mut all = frame.clone();
            (all.images, all.flows) = (Vec::new(), Vec::new());
            (all.cpu, all.disk) = (Vec::new(), Vec::new());
            for copy in 0..copies {
                let moved = |id: u32| if id == 0 { 0 } else { id + copy * 1000 };
                all.images
                    .extend(frame.images.iter().cloned().map(|mut image| {
                        image.id = moved(image.id);
                        image.program = format!("{}-{copy}", image.program);
                        image
                    }));
                all.flows.extend(frame.flows.iter().map(|flow| {
                    let mut flow = Flow {
                        image: moved(flow.image),
                        peer: moved(flow.peer),
                        bytes_sent: noise(flow.bytes_sent),
                        bytes_received: noise(flow.bytes_received),
                        ..flow.clone()
                    };
                    flow.turnaround_parts[Part::OnCpu] = noise(flow.turnaround_parts[Part::OnCpu]);
                    flow.turnaround_parts[Part::Sleep] = noise(flow.turnaround_parts[Part::Sleep]);
                    for dist in [&mut flow.answer, &mut flow.turnaround, &mut flow.queued] {
                        dist.sum_ns = noise(dist.sum_ns);
                        for (_, count) in &mut dist.buckets {
                            *count = noise(*count);
                        }
                    }
                    flow
                }));
                all.cpu.extend(frame.cpu.iter().cloned().map(|mut cpu| {
                    cpu.image = moved(cpu.image);
                    cpu.on_cpu_ns = noise(cpu.on_cpu_ns);
                    cpu
                }));
            }
            all
        })
        .collect()
}

/// How often something can be done in a second.
fn per_second(mut something: impl FnMut(usize)) -> f64 {
    let begun = Instant::now();
    let mut times = 0;
    while begun.elapsed() < FOR {
        something(times);
        times += 1;
    }
    times as f64 / begun.elapsed().as_secs_f64()
}

fn file(path: &Path) -> File {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(true);
    options.open(path).unwrap()
}

fn windows(folder: &Path, frames: &[Frame]) -> serde_json::Value {
    let path = folder.join("windows.rec");
    let mut writer = Writer::new(file(&path), &Header::default()).unwrap();
    let written = per_second(|n| writer.frame(&frames[n % frames.len()]).unwrap());
    let summary = writer.finish().unwrap();
    let mut ring = Ring::new(300_000_000_000, 16 << 20).unwrap();
    let kept = per_second(|n| ring.push(&frames[n % frames.len()]).unwrap());
    let recording = Recording::open(&path).unwrap();
    let count = recording.windows().len();
    let read = per_second(|n| drop(recording.frame(n % count).unwrap()));
    let mut state = State::default();
    let view = View::default();
    let folded = per_second(|n| {
        let frame = recording.frame(n % count).unwrap();
        fold(&mut state, &frame, &view);
    });
    drop(recording);
    fs::remove_file(&path).unwrap();
    let text: usize = frames
        .iter()
        .map(|f| serde_json::to_vec(f).unwrap().len())
        .sum();
    json!({
        "components": frames[0].images.len(),
        "flows": frames[0].flows.len(),
        "bytes_a_window": summary.bytes / summary.windows,
        "json_bytes_a_window": text / frames.len(),
        "written_a_second": written,
        "kept_a_second": kept,
        "read_a_second": read,
        "read_and_folded_a_second": folded,
    })
}

fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let resident = pages.split_whitespace().nth(1).unwrap();
    resident.parse::<u64>().unwrap() * 4096
}

fn timed<T>(something: impl FnOnce() -> T) -> (T, u64) {
    let begun = Instant::now();
    let result = something();
    (result, begun.elapsed().as_nanos() as u64)
}

/// A recording of a gigabyte in windows of this kind.
fn gigabyte(folder: &Path, frame: &Frame) -> serde_json::Value {
    let path = folder.join("gigabyte.rec");
    let file = file(&path);
    let mut writer = Writer::new(file.try_clone().unwrap(), &Header::default()).unwrap();
    let text = serde_json::to_vec(frame).unwrap();
    let mut second = 0;
    while writer.summary().bytes < GIGABYTE {
        writer
            .record(Kind::WINDOW, second * 1_000_000_000, 1_000_000_000, &text)
            .unwrap();
        second += 1;
    }
    let summary = writer.finish().unwrap();
    let forget = || {
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    };
    forget();
    let before = resident_bytes();
    let (recording, cold_ns) = timed(|| Recording::open(&path).unwrap());
    let resident = resident_bytes().saturating_sub(before);
    assert!(recording.is_indexed() && recording.windows().len() as u64 == summary.windows);
    let (_, window_ns) = timed(|| recording.frame(recording.windows().len() / 2).unwrap());
    drop(recording);
    let (_, warm_ns) = timed(|| Recording::open(&path).unwrap());
    // As after kill -9: the last index has to be looked for, and the records behind it.
    let length = fs::metadata(&path).unwrap().len();
    file.set_len(length - 200_000).unwrap();
    let (cut, cut_ns) = timed(|| Recording::open(&path).unwrap());
    assert!(cut.is_indexed() && !cut.is_finished());
    drop(cut);
    // A damaged index in the middle: every head is looked at.
    let at = index_in_the_middle(&path, length / 2);
    std::os::unix::fs::FileExt::write_at(&file, b"x", at).unwrap();
    let (hopped, hop_ns) = timed(|| Recording::open(&path).unwrap());
    assert!(!hopped.is_indexed() && hopped.faults().len() == 2);
    forget();
    let (_, cold_hop_ns) = timed(|| Recording::open(&path).unwrap());
    fs::remove_file(&path).unwrap();
    json!({
        "bytes": length,
        "windows": summary.windows,
        "open_cold_ns": cold_ns,
        "open_warm_ns": warm_ns,
        "open_cut_ns": cut_ns,
        "open_without_index_ns": hop_ns,
        "open_without_index_cold_ns": cold_hop_ns,
        "resident_bytes": resident,
        "one_window_ns": window_ns,
    })
}

/// Where the first index record behind this offset is: its mark, and kind 3.
fn index_in_the_middle(path: &Path, from: u64) -> u64 {
    let mut bytes = vec![0; 8 << 20];
    let file = File::open(path).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, from).unwrap();
    let found = bytes.windows(5).position(|five| five == b"\xC5Rec\x03");
    from + found.unwrap() as u64
}

/// What single events take, by a recording of this host.
fn events(folder: &Path, recorded: &Path) -> serde_json::Value {
    let recording = Recording::open(recorded).unwrap();
    let events: Vec<Event> = recording.events().map(Result::unwrap).collect();
    let whole = merge(recording.frames().map(Result::unwrap));
    let stored: u64 = recording
        .records()
        .filter(|record| record.kind() == Kind::EVENTS)
        .map(|record| record.stored_bytes())
        .sum();
    // The busiest tenth of a second says what these cores can make.
    let busiest = events
        .chunk_by(|a, b| a.time_ns / 100_000_000 == b.time_ns / 100_000_000)
        .map(<[Event]>::len)
        .max();
    let (read, read_ns) = timed(|| recording.events().filter(Result::is_ok).count());
    assert_eq!(read, events.len());
    let path = folder.join("events.rec");
    let mut writer = Writer::new(file(&path), &Header::default()).unwrap();
    let (_, written_ns) = timed(|| {
        for batch in events.chunks(1 << 16) {
            let payload = encode_events(batch, 0);
            let start = batch[0].time_ns;
            writer.record(Kind::EVENTS, start, 0, &payload).unwrap();
        }
    });
    fs::remove_file(&path).unwrap();
    let each = |ns: u64| events.len() as f64 * 1e9 / ns as f64;
    let (_, recut_ns) = timed(|| recut(&recording));
    let exports = ["csv", "parquet", "perfetto"].map(|format| {
        let (bytes, ns) = timed(|| export(&recording, format));
        json!({ "format": format, "a_second": each(ns), "bytes_an_event": bytes as f64 / events.len() as f64 })
    });
    json!({
        "recut_a_second": each(recut_ns),
        "exports": exports,
        "events": events.len(),
        "happened": whole.events.values().sum::<u64>(),
        "lost": whole.lost["events"],
        "busiest_a_second": busiest.unwrap_or(0) * 10,
        "bytes_an_event": stored as f64 / events.len() as f64,
        "user_ns_an_event": whole.cost.user_cpu_ns as f64 / events.len() as f64,
        "written_a_second": each(written_ns),
        "read_a_second": each(read_ns),
    })
}

/// Cuts a recording into windows of a length that its own cannot be put together to.
fn recut(recording: &Recording) {
    let mut frames = recording.frames().map(Result::unwrap);
    let mut recut = Recut::new(recording.header().interval_ns * 7 / 10);
    let mut go_on = |recut: &mut Recut| {
        recut
            .go_on(|| Ok::<_, Infallible>(frames.next()), |_| Ok(()))
            .unwrap();
    };
    let mut events = recording.events();
    while let Some(event) = events.next() {
        recut.event(event.unwrap(), events.unix_offset_ns());
        go_on(&mut recut);
    }
    recut.no_more_events();
    go_on(&mut recut);
}

/// Reads a recording and writes its single events in another form; how many bytes that takes.
fn export(recording: &Recording, format: &str) -> usize {
    let mut who = courtside::model::resolve::ComponentNames::default();
    let mut trace = Perfetto::default();
    let mut state = State::default();
    for (number, frame) in (0..).zip(recording.frames()) {
        let frame = frame.unwrap();
        for (number, id, name) in who_is_who(&frame, GroupBy::default()) {
            who.insert(number, ComponentName { id, name }.into());
        }
        trace.add(number, &fold(&mut state, &frame, &View::default()));
    }
    let (mut csv, mut parquet) = (Csv::new(true).unwrap(), Parquet::new(true).unwrap());
    let (mut resolver, mut turnarounds) = (Resolver::new(who), Turnarounds::default());
    let bytes_of = |piece: Option<Piece>| piece.map_or(0, |piece| piece.bytes.len());
    let mut bytes = 0;
    let mut events = recording.events();
    while let Some(event) = events.next() {
        let (event, offset_ns) = (event.unwrap(), events.unix_offset_ns());
        match format {
            "csv" => {
                let told = resolver.resolve(&event, offset_ns);
                bytes += bytes_of(csv.event(0, &told).unwrap());
            }
            "parquet" => {
                let told = resolver.resolve(&event, offset_ns);
                bytes += bytes_of(parquet.event(0, &told).unwrap());
            }
            _ => {
                turnarounds.add(event);
                while let Some((event, turnaround)) = turnarounds.next(false) {
                    let told = resolver.resolve(&event, offset_ns);
                    bytes += bytes_of(trace.event(&told));
                    if let Some(turnaround) = turnaround {
                        trace.turnaround(&told, &turnaround);
                    }
                }
            }
        }
    }
    let rest = match format {
        "csv" => csv.finish().unwrap(),
        "parquet" => parquet.finish().unwrap(),
        _ => trace.finish(),
    };
    bytes + rest.iter().map(|piece| piece.bytes.len()).sum::<usize>()
}

fn main() {
    let folder = env::args()
        .nth(1)
        .filter(|argument| !argument.starts_with('-'));
    let folder = folder.map_or_else(env::temp_dir, PathBuf::from);
    let small = golden();
    let large = host(&small, 25);
    let result = json!({
        "small": windows(&folder, &small),
        "large": windows(&folder, &large),
        "gigabyte": gigabyte(&folder, &small[1]),
        "events": env::args().nth(2).map(|recorded| events(&folder, Path::new(&recorded))),
    });
    println!("{result}");
}
