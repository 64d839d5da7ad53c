//! A component opened in the view CPU: whom it waited for, who waited for it, and its threads.

use courtside_core::model::{
    Blame,
    threads::{Thread, Threads, Used},
};

use super::*;

const MS: u64 = 1_000_000;

/// A host on which a hog and web displace each other.
fn displacing(n: u64) -> Snapshot {
    let mut snapshot = snapshots::normal(n);
    let mut hog = snapshot.components[2].clone();
    "program:hog".clone_into(&mut hog.id);
    "hog".clone_into(&mut hog.name);
    hog.cpu.on_cpu_ns = 900 * MS;
    snapshot.components.push(hog);
    for component in &mut snapshot.components {
        let by = match component.name.as_str() {
            "web" => ("program:hog", 640),
            "hog" => ("unit:web", 90),
            _ => ("program:hog", 0),
        };
        component.cpu.run_queue_ns = by.1 * MS;
        component.cpu.run_queue_by = Some(vec![Blame {
            component: by.0.to_owned(),
            ns: by.1 * MS,
        }]);
    }
    snapshot
}

fn thread(tid: u32, comm: &str, state: char, used: Option<(u64, u64)>) -> Thread {
    Thread {
        tgid: 40,
        tid,
        comm: comm.to_owned(),
        state,
        cpu: Some(tid % 2),
        used: used.map(|(on_cpu_ms, waited_ms)| Used {
            on_cpu_ns: on_cpu_ms * MS,
            waited_ns: waited_ms * MS,
            runs: 250,
        }),
    }
}

fn threads(component: &str) -> Threads {
    Threads {
        component: component.to_owned(),
        between_ns: Some(500 * MS),
        threads: vec![
            thread(41, "web", 'S', Some((5, 0))),
            thread(42, "worker\u{1b}[2J", 'R', Some((120, 310))),
            thread(43, "writer", 'D', Some((0, 0))),
            thread(44, "new", 'R', None),
        ],
        more: 0,
    }
}

/// At web, opened.
fn opened() -> UiState {
    let mut state = seen(displacing, 3, FULL);
    press(&mut state, "5g");
    for _ in 0..20 {
        if state
            .table()
            .selected
            .as_ref()
            .is_none_or(|(id, _)| id != "unit:web")
        {
            press(&mut state, "j");
        }
    }
    press(&mut state, "\n");
    state
}

#[test]
fn threads_of_a_component_on_enter() {
    let mut state = opened();
    assert_eq!(state.wants_threads().unwrap().0, "unit:web");
    let before = screen(&state, 80, 24);
    assert!(before.contains("Nobody has looked at them"), "{before}");
    state.observe_threads(threads("unit:web"));
    let screens =
        [(40, 20), (80, 24), (120, 40)].map(|(width, height)| screen(&state, width, height));
    insta::assert_snapshot!("threads", screens.join("\n"));
}

#[test]
fn threads_of_another_component_are_not_shown() {
    let mut state = opened();
    state.observe_threads(threads("program:hog"));
    let shown = screen(&state, 120, 40);
    assert!(shown.contains("Nobody has looked at them"), "{shown}");
    // Paused, nobody needs to look; closed, neither.
    press(&mut state, " ");
    assert!(state.wants_threads().is_none());
    press(&mut state, " ");
    assert!(state.wants_threads().is_some());
    press(&mut state, "\u{1b}");
    assert!(state.wants_threads().is_none());
}

#[test]
fn many_threads_end_in_a_number() {
    let mut state = opened();
    let mut many = threads("unit:web");
    many.threads = (0..200)
        .map(|n| thread(1000 + n, "pool", 'S', Some((u64::from(n), 0))))
        .collect();
    many.more = 7;
    state.observe_threads(many);
    let shown = screen(&state, 120, 30);
    let said = shown
        .lines()
        .find(|line| line.contains("more that used less"))
        .unwrap();
    let more: usize = said
        .trim_matches([' ', '"'])
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let listed = shown.lines().filter(|line| line.contains(" pool ")).count();
    assert_eq!(listed + more, 207, "{shown}");
    assert!(shown.contains("1199"), "{shown}");
}

/// From there Enter leads on to the turnaround, and Esc back.
#[test]
fn enter_leads_on_and_escape_back() {
    let mut state = opened();
    press(&mut state, "\n");
    assert_eq!(state.view, DashboardView::Turnaround);
    press(&mut state, "\u{1b}");
    assert_eq!(state.view, DashboardView::Cpu);
}
