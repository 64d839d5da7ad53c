use super::*;
use crate::fixture::frames::{raw, remote};
use crate::frame::{Cpu, Disk, Process};
use crate::model::{GroupBy, Snapshot, State, View, fold};

const WINDOWS: u32 = 1000;
const EACH: u32 = 10;
/// Records that are kept at least.
const FEW: usize = 250;

fn image(id: u32, program: &str, cgroup: &str) -> Image {
    Image {
        id,
        program: program.to_owned(),
        cgroup: cgroup.to_owned(),
        processes: vec![Process {
            tgid: id,
            comm: program.to_owned(),
        }],
        ..Image::default()
    }
}

fn flow((image, peer, port): (u32, u32, u16), role: Role) -> Flow {
    Flow {
        image,
        peer,
        port,
        role,
        answered: 1,
        messages_sent: 2,
        bytes_sent: 3,
        answer: raw([u64::from(image) % 1000]),
        ..Flow::default()
    }
}

/// A server that lives, and in each window new programs that call it, call each other and an end far away, and are gone;
/// every one of them in a control group of its own if `alone`.
fn frame(window: u32, alone: bool) -> Frame {
    let server = image(2, "web", "/web");
    let mut frame = Frame {
        start_unix_ns: u64::from(window) * 1_000_000_000,
        duration_ns: 1_000_000_000,
        images: vec![server],
        tells_unread_within: true,
        ..Frame::default()
    };
    for n in 0..EACH {
        let id = 10 + window * EACH + n;
        let cgroup = if alone {
            format!("/{id}")
        } else {
            "/".to_owned()
        };
        frame
            .images
            .push(image(id, ["curl", "sh"][n as usize % 2], &cgroup));
        let far = remote(1 + window * EACH + n);
        frame.remotes.push(Remote {
            id: far,
            address: format!("10.0.{}.{}", id / 256, id % 256),
            port: if n % 2 == 0 { 443 } else { 0 },
        });
        let far_role = [Role::Initiator, Role::Acceptor][n as usize % 2];
        frame.flows.extend([
            flow((id, 2, 80), Role::Initiator),
            flow((2, id, 80), Role::Acceptor),
            flow((id, far, 443), far_role),
        ]);
        frame.cpu.push(Cpu {
            image: id,
            on_cpu_ns: 7,
            ..Cpu::default()
        });
        frame.disk.push(Disk {
            image: id,
            reads: 1,
            latency: raw([5]),
            ..Disk::default()
        });
    }
    // The server's own port for each.
    let port = 1024 + u16::try_from(window).unwrap();
    frame.flows.push(flow((2, 2, port), Role::Initiator));
    frame.flows.push(flow((2, 2, port), Role::Acceptor));
    frame
}

fn merged(most: usize, alone: bool) -> (Frame, usize) {
    let mut merge = Merge {
        named: Named::keeping(most),
        ..Merge::default()
    };
    let mut records = 0;
    for window in 0..WINDOWS {
        merge.add(frame(window, alone));
        let named = merge.named.numbers.len() + merge.named.talks.len();
        let now = merge.images.len() + merge.remotes.len() + merge.flows.len() + named;
        records = records.max(now + merge.cpu.len() + merge.disk.len());
    }
    (merge.finish(), records)
}

/// What must not depend on what was forgotten.
fn totals(frame: &Frame) -> [u64; 9] {
    let of = |get: fn(&Flow) -> u64| frame.flows.iter().map(get).sum::<u64>();
    let acceptor = |flow: &&Flow| flow.role == Role::Acceptor;
    [
        of(|flow| flow.answered),
        of(|flow| flow.messages_sent),
        of(|flow| flow.bytes_sent),
        of(|flow| flow.answer.sum_ns),
        of(|flow| flow.answer.buckets.iter().map(|(_, n)| n).sum()),
        frame
            .flows
            .iter()
            .filter(acceptor)
            .map(|f| f.answered)
            .sum(),
        frame.cpu.iter().map(|cpu| cpu.on_cpu_ns).sum(),
        frame.disk.iter().map(|disk| disk.reads).sum(),
        frame.duration_ns,
    ]
}

fn snapshot(frame: &Frame, group_by: GroupBy) -> Snapshot {
    let view = View {
        group_by,
        ..View::default()
    };
    fold(&mut State::default(), frame, &view)
}

#[test]
fn a_thousand_windows_of_ever_new_programs_take_no_more_than_what_lives() {
    for alone in [false, true] {
        let (all, many) = merged(usize::MAX, alone);
        let (few, records) = merged(FEW, alone);
        // 61 windows are not gone; twice that may be there before it is asked what is.
        let of_one = many / (WINDOWS * EACH) as usize;
        let kept = 61 * EACH as usize + MOST_STAND_INS;
        assert!(records < 2 * kept * (of_one + 1), "{records}");
        assert_eq!(totals(&few), totals(&all));
        let images = |frame: &Frame| -> u64 { frame.images.iter().map(|i| i.gone.max(1)).sum() };
        assert_eq!(images(&few), images(&all));
        let remotes = few.remotes.len() as u64 + few.folded_remotes;
        assert_eq!(remotes - 1, all.remotes.len() as u64);
    }
}

#[test]
fn components_of_programs_that_are_gone_stay_what_they_were() {
    let (all, few) = (merged(usize::MAX, false).0, merged(FEW, false).0);
    let (all, few) = (snapshot(&all, GroupBy::Auto), snapshot(&few, GroupBy::Auto));
    let counts = |snapshot: &Snapshot| {
        let of = snapshot
            .components
            .iter()
            .filter(|c| !c.id.starts_with("remote:"));
        of.map(|c| {
            (
                c.id.clone(),
                c.requests.clone(),
                c.cpu.clone(),
                c.disk.clone(),
            )
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(counts(&few), counts(&all));
    let served = |snapshot: &Snapshot| {
        let web = snapshot.edges.iter().filter(|e| e.to == "program:web");
        web.map(|e| (e.from.clone(), e.roundtrips, e.lower_bound))
            .filter(|(from, ..)| from != "program:web")
            .collect::<Vec<_>>()
    };
    let each = u64::from(WINDOWS * EACH / 2);
    let expected = ["curl", "sh"].map(|name| (format!("program:{name}"), each, false));
    assert_eq!(served(&few), expected);
    assert_eq!(served(&all), expected);
}

#[test]
fn who_is_gone_and_has_no_name_of_its_own_any_more_says_so() {
    let frame = merged(FEW, false).0;
    let by_process = snapshot(&frame, GroupBy::Process);
    let gone = by_process
        .components
        .iter()
        .find(|c| c.name == "curl (gone)");
    assert!(gone.unwrap().cpu.on_cpu_ns > 0);
    let alone = merged(FEW, true).0;
    let by_cgroup = snapshot(&alone, GroupBy::Cgroup);
    let gone = by_cgroup.components.iter().find(|c| c.name == "(gone)");
    assert!(gone.unwrap().cpu.on_cpu_ns > 0);
    let names: Vec<&str> = by_cgroup
        .components
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    assert!(names.contains(&"(other remote ends)"), "{names:?}");
}

#[test]
fn what_lives_keeps_its_name_and_its_port_however_long_that_takes() {
    let frame = merged(FEW, true).0;
    let web = frame.images.iter().find(|image| image.id == 2).unwrap();
    assert_eq!((web.program.as_str(), web.gone), ("web", 0));
    let last = 10 + WINDOWS * EACH - 1;
    assert!(frame.images.iter().any(|image| image.id == last));
    assert!(
        frame
            .flows
            .iter()
            .any(|f| (f.image, f.peer, f.port) == (last, 2, 80))
    );
    // Of those that are over the ports are not kept.
    let own = frame.flows.iter().filter(|f| (f.image, f.peer) == (2, 2));
    assert!(own.count() < 2 * 200);
}

#[test]
fn merges_of_merges_keep_who_stands_for_whom() {
    let (part, whole) = (merged(FEW, false).0, merged(FEW, true).0);
    let parts = [part.clone(), whole.clone(), part.clone()];
    let sum = crate::frame::merge(parts.clone());
    let each = parts.iter().map(totals);
    let expected = each.reduce(|a, b| std::array::from_fn(|n| a[n] + b[n]));
    assert_eq!(totals(&sum), expected.unwrap());
    let cpu = |snapshot: &Snapshot, id: &str| {
        let of = snapshot.components.iter().filter(|c| c.id == id);
        of.map(|c| c.cpu.on_cpu_ns).sum::<u64>()
    };
    let of = |frame: &Frame| cpu(&snapshot(frame, GroupBy::Auto), "program:curl");
    assert_eq!(of(&sum), 2 * of(&part) + of(&whole));
    assert_eq!(crate::frame::merge([part.clone()]), part);
}

#[test]
fn processes_of_an_image_that_lives_are_not_kept_for_ever() {
    let mut merge = Merge::default();
    for tgid in 0..10_000 {
        let mut frame = Frame::default();
        frame.images.push(image(2, "web", "/"));
        frame.images[0].processes[0].tgid = tgid;
        merge.add(frame);
    }
    let frame = merge.finish();
    assert!(frame.images[0].processes.len() <= MOST_PROCESSES);
    assert!(frame.images[0].processes.iter().any(|p| p.tgid == 9999));
}
