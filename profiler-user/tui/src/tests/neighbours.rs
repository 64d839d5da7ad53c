//! The view Neighbours: who waited for whom, and what guard says of it.

use courtside_core::model::{
    Blame,
    blame::{IDLE, UNKNOWN},
    interference::{
        DecidedBy, EventKind, Expected, INTERFERENCE_SCHEMA, Interference, Signal, Suspect,
    },
    judgement::{Judgement, Standing},
    snapshot::ComponentKind,
};

use super::*;

const MS: u64 = 1_000_000;

fn blame(of: &[(&str, u64)]) -> Vec<Blame> {
    let one = |&(component, ms): &(&str, u64)| Blame {
        component: component.to_owned(),
        ns: ms * MS,
    };
    of.iter().map(one).collect()
}

/// A host on which a hog slows web, app waits for its own threads, and store is held back by a quota.
fn slowed(n: u64) -> Snapshot {
    let mut snapshot = snapshots::normal(n);
    let mut hog = snapshot.components[2].clone();
    "program:hog".clone_into(&mut hog.id);
    "hog".clone_into(&mut hog.name);
    hog.cpu.on_cpu_ns = 900 * MS;
    let mut remote = hog.clone();
    remote.kind = ComponentKind::Remote;
    "remote:10.0.0.5:443".clone_into(&mut remote.id);
    "10.0.0.5:443".clone_into(&mut remote.name);
    for component in &mut snapshot.components {
        let cpu = &mut component.cpu;
        let by = match component.name.as_str() {
            "web" => blame(&[
                ("program:hog", 640),
                ("program:app", 80),
                ("unit:web", 30),
                (IDLE, 4),
                (UNKNOWN, 46),
            ]),
            "app" => blame(&[("program:app", 500), ("program:hog", 100)]),
            _ => Vec::new(),
        };
        cpu.run_queue_ns = by.iter().map(|one| one.ns).sum();
        cpu.run_queue_by = Some(by);
        cpu.throttled_ns = Some(0);
        if component.name == "store" {
            cpu.throttled_ns = Some(450 * MS);
        }
    }
    snapshot.components.extend([hog, remote]);
    snapshot
}

fn line(event: EventKind, victim: &str, signal: Signal) -> Interference {
    Interference {
        schema: INTERFERENCE_SCHEMA.to_owned(),
        time_unix_ns: 0,
        event,
        victim: victim.to_owned(),
        signal: Some(signal),
        value: Some(664_000.0),
        expected: Some(Expected {
            median: 83_000.0,
            upper: 125_000.0,
            ..Expected::default()
        }),
        sigmas: Some(41.0),
        self_inflicted: false,
        suspects: Vec::new(),
        action: None,
        effect: None,
        reason: "80% of what it waited was given to hog".to_owned(),
        windows: 97,
        lost: 0,
    }
}

fn judgement() -> Judgement {
    let mut slow = line(EventKind::Anomaly, "unit:web", Signal::RunQueuePerRequest);
    let suspect = |component: &str, score| Suspect {
        component: component.to_owned(),
        score,
        decided_by: DecidedBy::Blame,
        correlation: Some(0.93),
        blamed_ns: Some((score * 2400.0) as u64 * MS),
        blamed_share: Some(score),
        exposure_ns: None,
        group_share: None,
        percentile: Some(100.0),
    };
    slow.suspects = vec![suspect("program:hog", 0.8), suspect("program:app", 0.1)];
    let mut own = line(EventKind::Anomaly, "program:app", Signal::OnCpuPerRequest);
    own.self_inflicted = true;
    "each request takes 664 µs of CPU time and mostly takes 83 µs".clone_into(&mut own.reason);
    let mut over = line(EventKind::Cleared, "unit:web", Signal::Service);
    "it is as usual again".clone_into(&mut over.reason);
    let standing = [
        ("unit:web", Standing::Judged),
        ("program:app", Standing::Judged),
        ("container:store", Standing::Learning(12)),
        ("program:load", Standing::TooLittle),
        ("program:hog", Standing::Judged),
    ];
    Judgement {
        windows: 100,
        needed: 60,
        standing: standing
            .into_iter()
            .map(|(id, how)| (id.to_owned(), how))
            .collect(),
        told: [over, own, slow].map(Arc::new).into(),
    }
}

fn judged(theme: Theme) -> UiState {
    let mut state = UiState::new(theme, Duration::from_secs(1));
    for snapshot in snapshots::windows(slowed, 20) {
        state.observe_judged(snapshot, Some(Arc::new(judgement())), 0);
    }
    press(&mut state, "9");
    state
}

const SIZES: [(u16, u16); 4] = [(40, 20), (80, 24), (120, 40), (200, 50)];

fn screens(state: &UiState) -> String {
    SIZES
        .map(|(width, height)| screen(state, width, height))
        .join("\n")
}

#[test]
fn who_slows_whom_is_shown_with_what_guard_says() {
    let mut state = judged(FULL);
    insta::assert_snapshot!("neighbours_slowed", screens(&state));
    press(&mut state, "\n");
    insta::assert_snapshot!("victim_slowed", screens(&state));
    // The next one down, without going back.
    press(&mut state, "j");
    insta::assert_snapshot!("victim_own", screen(&state, 120, 40));
    press(&mut state, "\n");
    assert_eq!(state.view, DashboardView::Turnaround);
    press(&mut state, "\x1b");
    assert_eq!(state.view, DashboardView::Neighbours);
    assert!(screen(&state, 120, 40).contains("On the CPU meanwhile"));
    press(&mut state, "\x1b");
    assert!(screen(&state, 120, 40).contains("MOST TO"));
}

#[test]
fn a_victim_in_every_state() {
    for (name, snapshot, windows) in STATES {
        let mut state = seen(snapshot, windows, FULL);
        press(&mut state, "9j\n");
        let screens =
            [(40, 20), (80, 24), (120, 40)].map(|(width, height)| screen(&state, width, height));
        insta::assert_snapshot!(format!("victim_{name}"), screens.join("\n"));
    }
}

#[test]
fn what_is_not_known_is_not_zero() {
    fn old(n: u64) -> Snapshot {
        let mut snapshot = slowed(n);
        for component in &mut snapshot.components {
            component.cpu.run_queue_by = None;
            component.cpu.throttled_ns = None;
        }
        snapshot
    }
    let mut state = seen(old, 3, FULL);
    press(&mut state, "9/name:web\n");
    let table = screen(&state, 120, 40);
    assert!(table.contains("was not recorded"), "{table}");
    let row = table.lines().find(|line| line.contains("▸ web")).unwrap();
    assert!(!row.contains("0.00") && !row.contains("ms"), "{row}");
    press(&mut state, "\n");
    let victim = screen(&state, 120, 40);
    assert!(
        victim.contains("Cannot tell whom it waited for"),
        "{victim}"
    );
    assert!(victim.contains("is not measured"), "{victim}");
    assert!(
        victim.contains("does not run beside this screen"),
        "{victim}"
    );
}

#[test]
fn times_of_a_short_window_are_for_a_second() {
    fn short(n: u64) -> Snapshot {
        let mut snapshot = slowed(n);
        snapshot.window.duration_ns = 100 * MS;
        for component in &mut snapshot.components {
            for blame in component.cpu.run_queue_by.iter_mut().flatten() {
                blame.ns /= 10;
            }
        }
        snapshot
    }
    let mut state = seen(short, 2, FULL);
    press(&mut state, "9");
    let table = screen(&state, 120, 40);
    let row = table.lines().find(|line| line.contains("▸ web")).unwrap();
    // 640 ms of the hog and 80 ms of app in each second.
    assert!(row.contains("720 ms") && row.contains("640 ms"), "{row}");
    assert!(row.contains("80%") && row.contains("hog"), "{row}");
}

#[test]
fn it_is_sorted_filtered_and_drawn_like_the_other_views() {
    let mut state = judged(FULL);
    assert_eq!(listed(&state)[..2], ["web", "app"]);
    press(&mut state, "S");
    assert_eq!(listed(&state)[..1], ["store"]);
    press(&mut state, "S/name:app\n");
    assert_eq!(listed(&state), ["app"]);
    press(&mut state, "\x1b");
    // By what guard says: the most urgent first.
    for _ in 0..9 {
        press(&mut state, "s");
    }
    assert_eq!(listed(&state)[..2], ["web", "app"]);
    for keys in ["", "\n"] {
        press(&mut state, keys);
        for width in (1..=210).step_by(3) {
            screen(&state, width, 1 + width % 47);
        }
    }
    // Who is gone in a later window is said to be gone.
    state.observe(Arc::new(snapshots::empty()), 0);
    assert!(screen(&state, 80, 24).contains("did nothing in this window"));
}

#[test]
fn in_ascii_and_with_names_that_hide_something() {
    let ascii = Theme {
        color: false,
        ascii: true,
    };
    let mut state = judged(ascii);
    for keys in ["", "\n"] {
        press(&mut state, keys);
        let shown = screen(&state, 120, 40);
        let unknown = shown.chars().filter(|c| *c == '?').count();
        assert!(shown.is_ascii(), "{shown}");
        // Only the hint for the help.
        assert!(unknown <= 2, "{shown}");
    }
    let mut hidden = judgement();
    let name = "program:h\u{202E}og";
    for told in &mut hidden.told {
        for suspect in &mut Arc::make_mut(told).suspects {
            name.clone_into(&mut suspect.component);
        }
    }
    let mut state = judged(FULL);
    state.observe_judged(Arc::new(slowed(3)), Some(Arc::new(hidden)), 0);
    press(&mut state, "\n");
    let shown = screen(&state, 120, 40);
    assert!(shown.contains("h<202E>og"), "{shown}");
    assert!(!shown.contains('\u{202E}'));
}
