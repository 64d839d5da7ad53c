//! Batches of events: what goes in comes out in the order of time, whatever the bytes are nothing panics.

use std::path::Path;

use super::{
    Header, Kind, ReadError, Recording, Writer,
    events::{MAX_EVENTS, decode, encode},
};
use crate::event::{Connection, Disk, Event, Flow, Off, Task, What};

/// Any event, of every kind, with numbers of every size.
pub(crate) fn any(random: &mut fastrand::Rng, time_ns: u64) -> Event {
    let mut number = || random.u64(..) >> random.u32(..64);
    let (a, b, c) = (number(), number(), number());
    let off = [Off::RunQueue, Off::BlockIo, Off::Sleep][random.usize(..3)];
    let disk = Disk {
        request: a,
        bytes: b as u32,
        image: c as u32,
        write: random.bool(),
    };
    // Some flows come again and again.
    let flow = Flow {
        image: random.u32(..4),
        peer: random.u32(..4) << random.u32(..32),
        port: a as u16 & 1,
        transport: random.u8(1..4),
        role: random.u8(..3),
    };
    let what = match random.u8(..13) {
        0 => What::Task(Box::new(Task {
            tgid: a as u32,
            image: b as u32,
            born_ns: c,
            off_ns: a,
            wake_ns: b,
            off,
            prompted: random.bool(),
            comm: [random.u8(..); 16],
        })),
        1 => What::Connection(Box::new(Connection {
            number: a,
            local: [random.u8(..); 16],
            remote: [random.u8(..); 16],
            local_port: b as u16,
            remote_port: c as u16,
            netns: a as u32,
            flow,
            midlife: random.bool(),
        })),
        2 => What::Switch {
            off,
            next_tid: a as u32,
        },
        3 => What::Wake {
            tid: a as u32,
            waited: random.bool(),
        },
        4 => What::Send {
            connection: a,
            bytes: b as u32,
            began_ns: time_ns.wrapping_sub(c),
            known: random.bool(),
            flow,
        },
        5 => What::Receive {
            connection: a,
            bytes: b as u32,
            arrived_ns: time_ns.wrapping_sub(c),
            known: random.bool(),
            floor_ns: a as u32,
            from_unprompted: random.bool(),
            flow,
        },
        6 => What::Arrival { connection: a },
        7 => What::State {
            connection: a,
            before: b as u8,
            after: c as u8,
        },
        8 => What::DiskStart(disk),
        9 => What::DiskEnd {
            disk,
            last: random.bool(),
        },
        10 => What::Fork {
            tid: a as u32,
            tgid: b as u32,
            image: c as u32,
        },
        11 => What::Exec {
            old_tid: a as u32,
            image: b as u32,
            comm: [random.u8(..); 16],
        },
        _ => What::Exit,
    };
    Event {
        time_ns,
        tid: random.u32(..) >> random.u32(..32),
        cpu: random.u16(..) >> random.u32(..16),
        what,
    }
}

fn some(random: &mut fastrand::Rng, count: usize, from_ns: u64) -> Vec<Event> {
    let mut time = from_ns;
    (0..count)
        .map(|_| {
            time += random.u64(..2000);
            any(random, time)
        })
        .collect()
}

#[test]
fn a_batch_holds_any_events() {
    let mut random = fastrand::Rng::with_seed(1);
    for count in [0, 1, 2, 100, 3000] {
        let mut events = some(&mut random, count, 1 << 40);
        for offset in [0, 1, -1, i64::MAX, i64::MIN, 1_700_000_000_000_000_000] {
            let batch = decode(&encode(&events, offset)).unwrap();
            assert_eq!(batch.unix_offset_ns, offset);
            assert!(batch.events == events);
        }
        // Out of order, and with times of any size.
        random.shuffle(&mut events);
        for event in &mut events {
            if random.u8(..) == 0 {
                event.time_ns = random.u64(..);
            }
        }
        assert!(decode(&encode(&events, 0)).unwrap().events == events);
    }
    let many = vec![any(&mut random, 1); MAX_EVENTS + 1];
    assert_eq!(decode(&encode(&many, 0)).unwrap().events.len(), MAX_EVENTS);
}

#[test]
fn bytes_that_are_no_batch_are_an_error() {
    let mut random = fastrand::Rng::with_seed(2);
    let events = some(&mut random, 40, 1 << 40);
    let payload = encode(&events, 5);
    for length in 0..payload.len() {
        assert!(decode(&payload[..length]).is_err(), "cut at {length}");
    }
    for _ in 0..100_000 {
        let mut damaged = payload.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..damaged.len());
            damaged[at] = random.u8(..);
        }
        // It may still be a batch, of other events.
        if let Ok(batch) = decode(&damaged) {
            assert!(batch.events.len() <= payload.len());
        }
    }
    for _ in 0..10_000 {
        let length = random.usize(..60);
        let noise: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        let _ = decode(&noise);
    }
    // A promise of more than there is: nothing is allocated for it.
    let promise = [1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 11];
    assert!(decode(&promise).is_err());
}

fn recorded(batches: &[&[Event]], offset: i64) -> Vec<u8> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = tempfile::tempfile().unwrap();
    let mut writer = Writer::new(file.try_clone().unwrap(), &Header::default()).unwrap();
    for batch in batches {
        let first = batch.iter().map(|event| event.time_ns).min().unwrap();
        let last = batch.iter().map(|event| event.time_ns).max().unwrap();
        let start = first.wrapping_add_signed(offset);
        let payload = encode(batch, offset);
        writer
            .record(Kind::EVENTS, start, last - first, &payload)
            .unwrap();
    }
    writer.finish().unwrap();
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn events_are_read_in_the_order_of_time_across_batches() {
    let mut random = fastrand::Rng::with_seed(3);
    for offset in [0, 1_700_000_000_000_000_000, -1000] {
        let mut events = some(&mut random, 2000, 1 << 40);
        let whole = events.clone();
        // Stragglers: some events are told a little late, a few of them batches later.
        for at in 0..events.len() - 600 {
            if random.u8(..10) == 0 {
                let late = events.remove(at);
                events.insert(at + random.usize(..600), late);
            }
        }
        let batches: Vec<&[Event]> = events.chunks(100).collect();
        let bytes = recorded(&batches, offset);
        let recording = Recording::from_source(Path::new("x"), Box::new(bytes)).unwrap();
        let read: Vec<Event> = recording.events().map(Result::unwrap).collect();
        assert_eq!(read.len(), whole.len());
        assert!(
            read.windows(2)
                .all(|pair| pair[0].time_ns <= pair[1].time_ns)
        );
        let mut sorted = events.clone();
        sorted.sort_by_key(|event| event.time_ns);
        let times = |events: &[Event]| events.iter().map(|e| e.time_ns).collect::<Vec<_>>();
        assert_eq!(times(&read), times(&sorted));
    }
}

#[test]
fn a_damaged_batch_is_named_and_the_rest_is_read() {
    let mut random = fastrand::Rng::with_seed(4);
    let events = some(&mut random, 300, 1 << 40);
    let batches: Vec<&[Event]> = events.chunks(100).collect();
    let mut bytes = recorded(&batches, 0);
    // Three batches of about the same size: the middle is in the second one.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let recording = Recording::from_source(Path::new("x"), Box::new(bytes)).unwrap();
    let mut faults = 0;
    let mut read = 0;
    for event in recording.events() {
        match event {
            Ok(_) => read += 1,
            Err(ReadError::Fault(_)) => faults += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((read, faults), (200, 1));
}
