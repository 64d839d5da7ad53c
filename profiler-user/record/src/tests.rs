//! Recordings: what goes in comes out, and whatever happens to the bytes, the rest is read and the damage named.

use courtside_core::fixture::frames;
use std::{fs::File, path::Path};

use super::{
    Bounds, Header, Kind, OpenError, ReadError, Reason, Recorder, Recording, Ring, Summary, Writer,
    format::{FILE_HEAD, HEAD, Head, MARK},
    keep,
};
use courtside_core::frame::{Frame, Host};

/// A kind of record that a later version may have.
const OTHER: Kind = Kind(77);

fn header() -> Header {
    Header {
        tool_version: "0.1.0".to_owned(),
        host: Host {
            hostname: "web01".to_owned(),
            cpus: 2,
            ..Host::default()
        },
        started_unix_ns: 1_700_000_000_000_000_000,
        interval_ns: 1_000_000_000,
        command: vec!["sleep".to_owned(), "1".to_owned()],
        ..Header::default()
    }
}

/// The n-th window of a recording.
fn window(n: u64) -> Frame {
    let mut frame = frames::chain(n + 1);
    frame.start_unix_ns += n * frame.duration_ns;
    // A number that does not survive being read carelessly.
    frame.pmu.running_ratio = Some(0.1 + 0.2 / (n as f64 + 1.0));
    frame
}

/// A small window, for tests that try every byte.
fn small(n: u64) -> Frame {
    let mut frame = window(n);
    frame.flows.truncate(1);
    frame.images.truncate(2);
    frame.cpu.clear();
    frame
}

/// A recording of these windows, with some other record between the first and the second.
fn recorded(windows: &[Frame], finish: bool) -> (Vec<u8>, Summary) {
    let mut file = tempfile::tempfile().unwrap();
    let mut writer = Writer::new(file.try_clone().unwrap(), &header()).unwrap();
    for (n, frame) in windows.iter().enumerate() {
        writer.frame(frame).unwrap();
        if n == 0 {
            writer.record(OTHER, 7, 8, b"something else").unwrap();
        }
    }
    let summary = if finish {
        writer.finish().unwrap()
    } else {
        writer.summary()
    };
    (contents(&mut file), summary)
}

fn contents(file: &mut File) -> Vec<u8> {
    use std::io::{Read, Seek, SeekFrom};
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn open(bytes: &[u8]) -> Result<Recording, OpenError> {
    Recording::from_source(Path::new("x.rec"), Box::new(bytes.to_vec()))
}

fn sound_frames(recording: &Recording) -> Vec<Frame> {
    recording.frames().filter_map(Result::ok).collect()
}

/// Where each record begins, and where the last one ends.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut at = FILE_HEAD;
    let mut all = vec![at];
    while at < bytes.len() {
        at += HEAD + Head::decode(&bytes[at..]).unwrap().stored as usize;
        all.push(at);
    }
    all
}

#[test]
fn what_was_written_is_read() {
    let frames: Vec<Frame> = (0..5).map(window).collect();
    for finish in [true, false] {
        let (bytes, summary) = recorded(&frames, finish);
        assert_eq!((summary.windows, summary.bytes), (5, bytes.len() as u64));
        let recording = open(&bytes).unwrap();
        assert_eq!(recording.header(), &header());
        assert_eq!(sound_frames(&recording), frames);
        assert_eq!(recording.frame(3).unwrap(), frames[3]);
        assert_eq!(
            (recording.is_finished(), recording.is_indexed()),
            (finish, finish)
        );
        assert_eq!(recording.verify().unwrap(), []);
        let windows: Vec<_> = recording.windows().collect();
        assert_eq!(windows.len(), 5);
        for (window, frame) in windows.iter().zip(&frames) {
            assert_eq!(window.start_unix_ns, frame.start_unix_ns);
            assert_eq!(window.duration_ns, frame.duration_ns);
        }
        let events: Vec<_> = recording
            .records()
            .filter(|record| record.kind() == OTHER)
            .collect();
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].start_unix_ns(), events[0].duration_ns()), (7, 8));
        assert_eq!(recording.payload(&events[0]).unwrap(), b"something else");
        assert!(matches!(
            recording.frame(5),
            Err(ReadError::NoSuchWindow { windows: 5, .. })
        ));
    }
}

#[test]
fn an_index_covers_any_number_of_records() {
    let frame = small(0);
    let mut file = tempfile::tempfile().unwrap();
    let mut writer = Writer::new(file.try_clone().unwrap(), &header()).unwrap();
    for n in 0..1000u64 {
        let mut frame = frame.clone();
        frame.start_unix_ns = n;
        writer.frame(&frame).unwrap();
    }
    // Still being written: the last windows are not in any index yet.
    let unfinished = open(&contents(&mut file)).unwrap();
    writer.finish().unwrap();
    let finished = open(&contents(&mut file)).unwrap();
    for recording in [unfinished, finished] {
        assert!(recording.is_indexed());
        assert_eq!(recording.verify().unwrap(), []);
        assert!(
            recording
                .windows()
                .map(|window| window.start_unix_ns)
                .eq(0..1000)
        );
        assert_eq!(recording.frame(777).unwrap().start_unix_ns, 777);
    }
}

#[test]
fn cut_anywhere_every_whole_record_before_is_read() {
    let frames: Vec<Frame> = (0..3).map(small).collect();
    let (bytes, _) = recorded(&frames, true);
    let records = boundaries(&bytes);
    // Header, window, events, window, window, index, end.
    let whole_windows = |length: usize| {
        [2, 4, 5]
            .iter()
            .filter(|&&record| records[record] <= length)
            .count()
    };
    assert!(matches!(open(&[]), Err(OpenError::Empty { .. })));
    for length in 1..bytes.len() {
        let recording = open(&bytes[..length]).unwrap();
        let windows = whole_windows(length);
        assert_eq!(sound_frames(&recording), frames[..windows], "{length}");
        let faults = recording.verify().unwrap();
        if records.contains(&length) {
            assert_eq!(faults, [], "{length}");
        } else {
            let last = records
                .iter()
                .rfind(|&&record| record <= length)
                .map_or(0, |&record| record);
            assert_eq!(faults.len(), 1, "{length}");
            assert_eq!(
                (faults[0].offset, faults[0].length, &faults[0].reason),
                (last as u64, (length - last) as u64, &Reason::Cut)
            );
        }
        assert!(!recording.is_finished());
    }
}

#[test]
fn every_flipped_bit_is_found_and_costs_one_record() {
    let frames: Vec<Frame> = (0..3).map(small).collect();
    let (bytes, _) = recorded(&frames, true);
    let records = boundaries(&bytes);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let recording = open(&damaged).unwrap();
        let faults = recording.verify().unwrap();
        assert_eq!(faults.len(), 1, "bit {bit}: {faults:?}");
        let at = bit as u64 / 8;
        let fault = &faults[0];
        assert!(
            (fault.offset..fault.offset + fault.length).contains(&at),
            "bit {bit}: {fault}"
        );
        let hit = records.iter().rposition(|&record| record as u64 <= at);
        let expected: Vec<_> = [(1, 0), (3, 1), (4, 2)]
            .into_iter()
            .filter(|&(record, _)| Some(record) != hit)
            .map(|(_, frame)| frames[frame].clone())
            .collect();
        assert_eq!(sound_frames(&recording), expected, "bit {bit}");
    }
}

/// A record with a sound head that says what it likes.
fn lie(head: Head, payload: &[u8]) -> Vec<u8> {
    let head = Head {
        payload_crc: crc32fast::hash(payload),
        ..head
    };
    [&head.encode()[..], payload].concat()
}

#[test]
fn lengths_that_lie_are_believed_neither_in_the_file_nor_in_memory() {
    let frames: Vec<Frame> = (0..2).map(small).collect();
    let (bytes, _) = recorded(&frames, false);
    let before = Head {
        kind: Kind::WINDOW.0,
        flags: 1,
        stored: 5,
        raw: 5,
        ..Head::default()
    };
    let packed = zstd::bulk::compress(&[0; 100_000], 3).unwrap();
    let length = packed.len() as u32;
    for (head, payload) in [
        // More than is there, more than may be, other than is packed.
        (
            Head {
                stored: 1 << 20,
                ..before
            },
            &b"12345"[..],
        ),
        (
            Head {
                stored: u32::MAX,
                ..before
            },
            b"12345",
        ),
        (
            Head {
                stored: length,
                raw: u32::MAX,
                ..before
            },
            &packed,
        ),
        (
            Head {
                stored: length,
                raw: 0,
                ..before
            },
            &packed,
        ),
        (
            Head {
                stored: length,
                raw: 99_999,
                ..before
            },
            &packed,
        ),
        (
            Head {
                stored: length,
                raw: 100_001,
                ..before
            },
            &packed,
        ),
        (
            Head {
                flags: 0,
                raw: 4,
                ..before
            },
            b"12345",
        ),
        (
            Head {
                flags: 77,
                ..before
            },
            b"12345",
        ),
        (Head { flags: 0, ..before }, b"{\"a\":"),
    ] {
        let record = lie(head, payload);
        // The lie stands between two windows.
        let second = boundaries(&bytes)[3];
        let all = [&bytes[..second], &record, &bytes[second..]].concat();
        let recording = open(&all).unwrap();
        assert_eq!(sound_frames(&recording), frames, "{head:?}");
        let faults = recording.verify().unwrap();
        assert_eq!(faults.len(), 1, "{head:?} {faults:?}");
        assert_eq!(faults[0].offset, second as u64);
    }
}

#[test]
fn an_index_that_lies_is_not_believed() {
    let frames: Vec<Frame> = (0..3).map(small).collect();
    let (bytes, _) = recorded(&frames, true);
    let records = boundaries(&bytes);
    let index = records[5];
    let sound = Head::decode(&bytes[index..]).unwrap();
    let payload = super::format::unseal(&sound, bytes[index + HEAD..records[6]].to_vec()).unwrap();
    // Every field of every entry, and the offset of the index before.
    for at in 0..payload.len() {
        let mut payload = payload.clone();
        payload[at] ^= 0x40;
        let head = Head {
            flags: 0,
            stored: payload.len() as u32,
            raw: payload.len() as u32,
            ..sound
        };
        let all = [&bytes[..index], &lie(head, &payload), &bytes[records[6]..]].concat();
        let recording = open(&all).unwrap();
        let faults = recording.verify().unwrap();
        // Padding is not looked at; else the lie is found at once, or when the record is read.
        let padding = at >= 8 && (at - 8) % 32 > 28;
        assert_eq!(faults.is_empty(), padding, "{at}: {faults:?}");
    }
}

#[test]
fn what_is_no_recording_is_told_apart() {
    for bytes in [
        &b"{\"schema\":\"courtside.snapshot/1\"}"[..],
        b"x",
        &[0; 100],
        &MARK.repeat(1000),
    ] {
        let error = open(bytes).err().unwrap();
        assert!(matches!(error, OpenError::NotARecording { .. }), "{error}");
        assert!(error.to_string().contains("courtside record"), "{error}");
    }
    let (bytes, _) = recorded(&[], true);
    let mut newer = bytes;
    newer[8..12].copy_from_slice(&2u32.to_le_bytes());
    let crc = crc32fast::hash(&newer[..12]);
    newer[12..16].copy_from_slice(&crc.to_le_bytes());
    let error = open(&newer).err().unwrap();
    assert!(
        matches!(error, OpenError::Newer { found: 2, .. }),
        "{error}"
    );
    let missing = Recording::open(Path::new("/no/such/file")).err().unwrap();
    assert!(missing.to_string().contains("/no/such/file: No such file"));
    let folder = Recording::open(Path::new("/")).err().unwrap();
    assert!(folder.to_string().contains("is a directory"), "{folder}");
    let device = Recording::open(Path::new("/dev/zero")).err().unwrap();
    assert!(device.to_string().contains("regular file"), "{device}");
}

#[test]
fn no_windows_are_a_recording_too() {
    let (bytes, _) = recorded(&[], true);
    let recording = open(&bytes).unwrap();
    assert_eq!(recording.windows().len(), 0);
    assert!(recording.is_finished());
    assert_eq!(recording.verify().unwrap(), []);
}

#[test]
fn unknown_kinds_are_passed_over_and_counted() {
    let frame = small(0);
    let mut file = tempfile::tempfile().unwrap();
    let mut writer = Writer::new(file.try_clone().unwrap(), &header()).unwrap();
    writer.record(Kind(200), 1, 2, b"of a later time").unwrap();
    writer.frame(&frame).unwrap();
    writer.finish().unwrap();
    let recording = open(&contents(&mut file)).unwrap();
    assert_eq!(sound_frames(&recording), [frame]);
    assert_eq!(recording.unknown_records(), 1);
    assert_eq!(recording.verify().unwrap(), []);
}

#[test]
fn a_field_of_a_later_version_does_not_hinder_this_one() {
    let mut json = serde_json::to_value(small(0)).unwrap();
    json["of_a_later_time"] = serde_json::json!({ "a": [1, 2] });
    let mut file = tempfile::tempfile().unwrap();
    let mut writer = Writer::new(file.try_clone().unwrap(), &header()).unwrap();
    let payload = serde_json::to_vec(&json).unwrap();
    writer.record(Kind::WINDOW, 0, 0, &payload).unwrap();
    writer.finish().unwrap();
    let recording = open(&contents(&mut file)).unwrap();
    assert_eq!(sound_frames(&recording), [small(0)]);
}

#[test]
fn what_a_full_disk_did_not_take_is_said_and_the_rest_is_sound() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let error = Writer::new(full, &header()).err().unwrap().to_string();
    assert!(error.contains("cannot write to the recording"), "{error}");
}

#[test]
fn a_payload_too_long_is_refused_and_the_recording_goes_on() {
    let mut file = tempfile::tempfile().unwrap();
    let mut writer = Writer::new(file.try_clone().unwrap(), &header()).unwrap();
    let long = vec![0; super::MAX_PAYLOAD + 1];
    assert!(writer.record(OTHER, 0, 0, &long).is_err());
    writer.frame(&small(0)).unwrap();
    writer.finish().unwrap();
    let recording = open(&contents(&mut file)).unwrap();
    assert_eq!(sound_frames(&recording), [small(0)]);
}

#[test]
fn two_recordings_one_after_the_other_are_read_but_for_the_seam() {
    let (first, _) = recorded(&[small(0)], true);
    let (second, _) = recorded(&[small(1), small(2)], true);
    let recording = open(&[&first[..], &second].concat()).unwrap();
    assert_eq!(sound_frames(&recording), [small(0), small(1), small(2)]);
    assert!(!recording.faults().is_empty());
}

/// A flight recorder's two files.
fn pair() -> [File; 2] {
    [(); 2].map(|()| tempfile::tempfile().unwrap())
}

fn open_pair(files: &mut [File; 2]) -> Recording {
    let [first, second] = files;
    let [first, second] = [first, second].map(|file| Box::new(contents(file)));
    Recording::from_parts(Path::new("x.rec"), first, second).unwrap()
}

fn recorder(files: &[File; 2], bounds: Bounds) -> Recorder {
    let [first, second] = [&files[0], &files[1]].map(|file| file.try_clone().unwrap());
    Recorder::new(first, Some(second), &header(), bounds).unwrap()
}

#[test]
fn a_flight_recorder_keeps_the_newest_time() {
    let mut files = pair();
    let bounds = Bounds {
        retain_ns: Some(10_000_000_000),
        size_bytes: None,
    };
    let mut recorder = recorder(&files, bounds);
    for n in 0..35 {
        recorder.frame(&small(n)).unwrap();
        // Whenever somebody looks, or everything ends: no gap, the newest windows, at least as long as asked for.
        let recording = open_pair(&mut files);
        let starts: Vec<u64> = recording.windows().map(|w| w.start_unix_ns).collect();
        let expected: Vec<u64> = (0..=n).map(|n| small(n).start_unix_ns).collect();
        assert!(expected.ends_with(&starts), "{n}");
        assert!(
            starts.len() as u64 >= (n + 1).min(10),
            "{n}: {}",
            starts.len()
        );
        assert!(starts.len() <= 20, "{n}: {}", starts.len());
        assert_eq!(recording.verify().unwrap(), []);
    }
    assert_eq!(recorder.windows(), 35);
    let summary = recorder.finish().unwrap();
    let recording = open_pair(&mut files);
    assert_eq!(summary.windows, recording.windows().len() as u64);
    assert_eq!(summary.bytes, recording.bytes());
    assert!(recording.is_finished());
}

#[test]
fn a_flight_recorder_never_exceeds_its_size() {
    let mut files = pair();
    let size = super::MIN_SIZE_BYTES;
    let bounds = Bounds {
        retain_ns: None,
        size_bytes: Some(size),
    };
    let mut recorder = recorder(&files, bounds);
    // Does not compress.
    let mut x = 1u64;
    let noise = || {
        (0..40_000).map(move |_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (x >> 56) as u8
        })
    };
    let held = |bytes: &mut u64| {
        let [a, b] = [&files[0], &files[1]].map(|file| file.metadata().unwrap().len());
        *bytes = (*bytes).max(a + b);
    };
    let mut most = 0;
    for n in 0..100 {
        let payload: Vec<u8> = noise().collect();
        recorder.record(OTHER, n, 1, &payload).unwrap();
        held(&mut most);
    }
    recorder.finish().unwrap();
    held(&mut most);
    assert!(most <= size, "{most}");
    assert!(most >= size * 8 / 10, "{most}");
    let recording = open_pair(&mut files);
    let starts: Vec<u64> = recording
        .records()
        .map(|record| record.start_unix_ns())
        .collect();
    assert!(starts.len() as u64 * 40_000 >= size / 2 - 80_000);
    assert!((0..100).collect::<Vec<_>>().ends_with(&starts));
}

#[test]
fn only_parts_of_one_recording_are_put_together() {
    let mut files = pair();
    let bounds = Bounds {
        retain_ns: Some(2_000_000_000),
        size_bytes: None,
    };
    let mut recorder = recorder(&files, bounds);
    for n in 0..4 {
        recorder.frame(&small(n)).unwrap();
    }
    recorder.finish().unwrap();
    assert_eq!(open_pair(&mut files).windows().len(), 4);
    let (foreign, _) = recorded(&[small(7)], true);
    let [first, second] = &mut files;
    let (first, second) = (contents(first), contents(second));
    let open = |other: &[u8]| {
        let other = Box::new(other.to_vec());
        let all = Recording::from_parts(Path::new("x.rec"), Box::new(first.clone()), other);
        let all = all.unwrap();
        (all.windows().len(), all.faults().len())
    };
    assert_eq!(open(&second), (4, 0));
    for other in [&b""[..], b"something else", &foreign] {
        assert_eq!(open(other), (2, 0));
    }
    // Damage to what tells whether it belongs here is told.
    let mut damaged = second;
    damaged[FILE_HEAD + HEAD] ^= 1;
    assert_eq!(open(&damaged), (2, 1));
}

#[test]
fn the_last_minutes_are_kept_out_of_a_recording_that_goes_on() {
    let (bytes, _) = recorded(&(0..10).map(small).collect::<Vec<_>>(), false);
    let mut file = tempfile::tempfile().unwrap();
    let recording = open(&bytes).unwrap();
    let summary = keep(&recording, 3_000_000_000, file.try_clone().unwrap()).unwrap();
    assert_eq!(summary.windows, 3);
    let kept = open(&contents(&mut file)).unwrap();
    assert_eq!(sound_frames(&kept), [small(7), small(8), small(9)]);
    assert!(kept.is_finished());
    assert_eq!(kept.verify().unwrap(), []);
}

#[test]
fn the_last_minutes_are_kept_in_memory_within_bounds() {
    let mut ring = Ring::new(3_000_000_000, 1 << 20).unwrap();
    assert!(ring.is_empty());
    for n in 0..10 {
        ring.push(&small(n)).unwrap();
    }
    // Those that began within the time before the newest one, which may have begun just now.
    assert_eq!(ring.len(), 4);
    let mut file = tempfile::tempfile().unwrap();
    ring.write(file.try_clone().unwrap(), &header()).unwrap();
    let kept = open(&contents(&mut file)).unwrap();
    assert_eq!(sound_frames(&kept), [6, 7, 8, 9].map(small));
    let mut tiny = Ring::new(u64::MAX, 1).unwrap();
    tiny.push(&small(0)).unwrap();
    tiny.push(&small(1)).unwrap();
    assert_eq!(tiny.len(), 1);
}
