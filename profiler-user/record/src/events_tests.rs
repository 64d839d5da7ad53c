//! Batches of events: what goes in comes out in the order of time, whatever the bytes are nothing panics.

use std::{
    collections::{HashSet, VecDeque},
    fs::File,
    path::Path,
};

use super::{
    Bounds, Header, Kind, ReadError, Reason, Recorder, Recording, Writer,
    events::{MAX_EVENTS, decode, decode_into, encode},
    keep,
};
use courtside_core::{
    event::{Connection, Disk, Event, Flow, Off, Task, What},
    frame::Frame,
};

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
    let what = match random.u8(..15) {
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
            waits: random.bool(),
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
        12 => What::Throttled { ns: a },
        13 => What::Look {
            first_ns: time_ns.wrapping_sub(c),
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

/// A batch of three exits, of which the second is of a kind that no version has yet, with four bytes of its own.
fn with_a_later_kind(kind: u8, own: &[u8]) -> Vec<u8> {
    let exit = |time_ns| Event {
        time_ns,
        tid: 7,
        cpu: 1,
        what: What::Exit,
    };
    let payload = encode(&[exit(100), exit(110), exit(125)], 0);
    // All numbers of this head are one byte long: version, count, base, offset, columns, and then their lengths.
    let (head, columns) = payload.split_at(5 + 11);
    let mut head = head.to_vec();
    let mut columns = columns.to_vec();
    columns[1] = kind;
    assert_eq!(
        (head[4], head[15]),
        (11, 0),
        "eleven columns, the last one empty"
    );
    head[15] = own.len() as u8;
    columns.extend_from_slice(own);
    [head, columns].concat()
}

#[test]
fn kinds_that_a_later_version_added_are_passed_over_and_counted() {
    for kind in [15, 0xff] {
        let mut events = VecDeque::new();
        let told = decode_into(&with_a_later_kind(kind, &[3, 1, 2, 3]), &mut events).unwrap();
        let times: Vec<_> = events.iter().map(|event| event.time_ns).collect();
        assert_eq!((times, told.unknown), (vec![100, 125], 1));
        assert!(events.iter().all(|event| event.tid == 7));
        // What it holds must be there.
        assert!(decode(&with_a_later_kind(kind, &[3, 1, 2])).is_err());
        assert!(decode(&with_a_later_kind(kind, &[0x80, 0x80, 0x80, 0x80, 0x80])).is_err());
    }
    let file = tempfile::tempfile().unwrap();
    let mut writer = Writer::new(file.try_clone().unwrap(), &Header::default()).unwrap();
    for _ in 0..2 {
        let payload = with_a_later_kind(15, &[1, 0]);
        writer.record(Kind::EVENTS, 100, 25, &payload).unwrap();
    }
    writer.finish().unwrap();
    let recording = Recording::from_source(Path::new("later.rec"), Box::new(file)).unwrap();
    let mut events = recording.events();
    assert_eq!(events.by_ref().filter(Result::is_ok).count(), 4);
    assert_eq!(events.unknown(), 2);
    assert_eq!(recording.verify().unwrap(), []);
}

/// What was added to the format as a kind is as long as it says, so that it may grow.
#[test]
fn what_a_later_version_adds_to_an_added_kind_is_passed_over() {
    let read = |own: &[u8]| decode(&with_a_later_kind(13, own)).map(|batch| batch.events);
    for own in [&[1, 7][..], &[3, 7, 2, 3]] {
        let whats: Vec<What> = read(own)
            .unwrap()
            .into_iter()
            .map(|event| event.what)
            .collect();
        assert_eq!(whats, [What::Exit, What::Throttled { ns: 7 }, What::Exit]);
    }
    // It holds less than it says, or more.
    assert!(read(&[3, 7, 2]).is_err());
    assert!(read(&[1, 0x80, 1]).is_err());
    assert!(read(&[0]).is_err());
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

/// Records that are sound, and hold batches that are not: what a mistake in whoever wrote them leaves.
#[test]
fn verifying_decodes_batches_and_names_the_place_of_each_that_is_none() {
    let mut random = fastrand::Rng::with_seed(5);
    let mut found = 0;
    for _ in 0..300 {
        let mut file = tempfile::tempfile().unwrap();
        let mut writer = Writer::new(file.try_clone().unwrap(), &Header::default()).unwrap();
        let mut expected = Vec::new();
        for number in 0..4 {
            let mut payload = encode(&some(&mut random, 50, 1 << 40), 0);
            if random.bool() {
                let at = random.usize(..payload.len());
                if random.bool() {
                    payload[at] ^= 1 << random.u8(..8);
                } else {
                    payload.remove(at);
                }
            }
            let offset = writer.summary().bytes;
            writer.record(Kind::EVENTS, number, 1, &payload).unwrap();
            if let Err(why) = decode(&payload) {
                expected.push((offset, writer.summary().bytes - offset, why));
            }
        }
        writer.finish().unwrap();
        let recording = open(&mut file);
        assert_eq!(recording.faults(), []);
        let faults = recording.verify().unwrap();
        let named = faults.iter().map(|fault| match &fault.reason {
            Reason::Payload(why) => (fault.offset, fault.length, why.as_str()),
            other => panic!("{other}"),
        });
        assert_eq!(named.collect::<Vec<_>>(), expected);
        found += expected.len();
    }
    // Else this says nothing.
    assert!(found > 100, "{found}");
}

fn open(file: &mut File) -> Recording {
    use std::io::{Read, Seek, SeekFrom};
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    Recording::from_source(Path::new("x"), Box::new(bytes)).unwrap()
}

/// Events of tasks and connections that come and go; each is told before it is named, as the kernel does.
struct Life {
    random: fastrand::Rng,
    now: u64,
    tasks: Vec<u32>,
    connections: Vec<u64>,
    next: u32,
}

impl Life {
    fn event(&mut self, tid: u32, what: What) -> Event {
        self.now += self.random.u64(..2000);
        Event {
            time_ns: self.now,
            tid,
            cpu: 0,
            what,
        }
    }

    fn task(&mut self) -> Event {
        self.next += 1;
        let task = Task {
            tgid: self.next,
            image: 7,
            ..Task::default()
        };
        self.tasks.push(self.next);
        self.event(self.next, What::Task(Box::new(task)))
    }

    fn connection(&mut self) -> Event {
        self.next += 1;
        let number = u64::from(self.next);
        self.connections.push(number);
        let connection = Connection {
            number,
            ..Connection::default()
        };
        self.event(0, What::Connection(Box::new(connection)))
    }

    fn step(&mut self, events: &mut Vec<Event>) {
        let at = self.random.usize(..self.tasks.len());
        let tid = self.tasks[at];
        let with = self.random.usize(..self.connections.len());
        let connection = self.connections[with];
        let what = match self.random.u32(..1000) {
            0..10 => return events.push(self.task()),
            10..20 => return events.push(self.connection()),
            20..27 if self.tasks.len() > 3 => {
                self.tasks.swap_remove(at);
                let exit = self.event(tid, What::Exit);
                // It still leaves its CPU.
                let last = self.event(
                    tid,
                    What::Switch {
                        off: Off::Sleep,
                        next_tid: 0,
                    },
                );
                return events.extend([exit, last]);
            }
            27..35 if self.connections.len() > 3 => {
                self.connections.swap_remove(with);
                What::State {
                    connection,
                    before: 1,
                    after: 7,
                }
            }
            35..40 => {
                self.next += 1;
                self.tasks.push(self.next);
                What::Fork {
                    tid: self.next,
                    tgid: self.next,
                    image: 7,
                }
            }
            40..45 => {
                // A thread that calls exec takes its leader's number.
                self.next += 1;
                self.tasks[at] = self.next;
                let what = What::Exec {
                    old_tid: tid,
                    image: 8,
                    comm: [b'x'; 16],
                };
                return events.push(self.event(self.next, what));
            }
            45..500 => What::Send {
                connection,
                bytes: 1,
                began_ns: self.now,
                known: true,
                flow: Flow::default(),
            },
            _ => What::Wake {
                tid: self.tasks[0],
                waited: true,
            },
        };
        events.push(self.event(tid, what));
    }
}

/// That everything is told before it is named; returns how many events there are.
fn everything_is_told(recording: &Recording) -> usize {
    let (mut tasks, mut connections) = (HashSet::new(), HashSet::new());
    let mut count = 0;
    for event in recording.events().map(Result::unwrap) {
        count += 1;
        match &event.what {
            What::Task(_) => drop(tasks.insert(event.tid)),
            What::Connection(told) => drop(connections.insert(told.number)),
            What::Fork { tid, .. } => drop(tasks.insert(*tid)),
            What::Exec { old_tid, .. } => {
                assert!(tasks.contains(old_tid), "{event:?}");
                tasks.insert(event.tid);
            }
            _ => {}
        }
        assert!(event.tid == 0 || tasks.contains(&event.tid), "{event:?}");
        let number = event.connection();
        assert!(number.is_none_or(|n| connections.contains(&n)), "{event:?}");
    }
    count
}

#[test]
fn a_part_of_a_flight_recorder_tells_by_itself_who_is_who() {
    for seed in 0..20 {
        let mut life = Life {
            random: fastrand::Rng::with_seed(seed),
            now: 1 << 40,
            tasks: Vec::new(),
            connections: Vec::new(),
            next: 0,
        };
        let mut files = [(); 2].map(|()| tempfile::tempfile().unwrap());
        let [first, second] = [&files[0], &files[1]].map(|file| file.try_clone().unwrap());
        let bounds = Bounds {
            retain_ns: Some(3_000_000),
            size_bytes: None,
        };
        let header = Header::default();
        let mut recorder = Recorder::new(first, Some(second), &header, bounds).unwrap();
        let mut all = 0;
        let mut batch = vec![life.task(), life.task(), life.connection()];
        for number in 0..40 {
            while batch.len() < 400 {
                life.step(&mut batch);
            }
            // A window may be what begins the next part, too.
            if number % 3 == 0 {
                let frame = Frame {
                    start_unix_ns: life.now,
                    ..Frame::default()
                };
                recorder.frame(&frame).unwrap();
            }
            let payload = encode(&batch, 0);
            recorder.events(&batch, 0, &payload).unwrap();
            all += batch.len();
            batch.clear();
        }
        recorder.finish().unwrap();
        let parts = [0, 1].map(|at| open(&mut files[at]));
        assert!(parts.iter().all(|part| part.header().part > 1));
        let alone = parts.each_ref().map(everything_is_told);
        // Together nothing is told twice.
        let [first, second] = parts.map(|part| {
            let records = part.records().filter(|r| r.kind() == Kind::EVENTS);
            let batches = records.map(|record| decode(&part.payload(&record).unwrap()).unwrap());
            batches.map(|batch| batch.events.len()).sum::<usize>()
        });
        let both = files
            .each_ref()
            .map(|file| Box::new(file.try_clone().unwrap()));
        let [a, b] = both;
        let both = Recording::from_parts(Path::new("x"), a, b).unwrap();
        let count = everything_is_told(&both);
        assert!(count < alone[0] + alone[1], "{count} {alone:?}");
        assert!(count >= first + second && first + second < all);
        // What is kept of it stands for itself, too, wherever it begins.
        for newest_ns in [100_000, 1_000_000, 4_000_000] {
            let mut kept = tempfile::tempfile().unwrap();
            keep(&both, newest_ns, kept.try_clone().unwrap()).unwrap();
            everything_is_told(&open(&mut kept));
        }
    }
}
