//! The dashboard as a whole: every view at every size in every state, and what keys do to it.

use courtside_core::fixture::snapshots;
use std::{sync::Arc, time::Duration};

use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    style::Color,
};

mod neighbours;
mod threads;
mod whole;

use super::{Action, DashboardView, Replay, Target, Theme, UiState, render};
use courtside_core::model::Snapshot;

const FULL: Theme = Theme {
    color: true,
    ascii: false,
};

fn seen(snapshot: fn(u64) -> Snapshot, windows: u64, theme: Theme) -> UiState {
    let mut state = UiState::new(theme, Duration::from_secs(1));
    for snapshot in snapshots::windows(snapshot, windows) {
        state.observe(snapshot, 0);
    }
    state
}

fn press(state: &mut UiState, keys: &str) -> Option<Action> {
    let mut last = None;
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\x1b' => KeyCode::Esc,
            '\x08' => KeyCode::Backspace,
            c => KeyCode::Char(c),
        };
        last = state.key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    last
}

fn screen(state: &UiState, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| render(frame, state)).unwrap();
    terminal.backend().to_string()
}

/// Name, what the host shows in each window, how many windows.
type State = (&'static str, fn(u64) -> Snapshot, u64);

const STATES: [State; 5] = [
    ("empty", |_| snapshots::empty(), 3),
    ("normal", snapshots::normal, 50),
    ("overflowing", snapshots::overflowing, 3),
    ("unknown_pmu", snapshots::unknown_pmu, 5),
    ("lossy", snapshots::lossy, 5),
];

#[test]
fn every_view_in_every_state_at_three_sizes() {
    for (name, snapshot, windows) in STATES {
        let mut state = seen(snapshot, windows, FULL);
        for (number, view) in DashboardView::LIVE.into_iter().enumerate() {
            press(&mut state, &(number + 1).to_string());
            let sizes = [(40, 20), (80, 24), (120, 40)];
            let screens = sizes.map(|(width, height)| screen(&state, width, height));
            insta::assert_snapshot!(
                format!("{view:?}_{name}").to_lowercase(),
                screens.join("\n")
            );
        }
    }
}

#[test]
fn a_quota_of_its_own_is_told_beneath_the_cpus() {
    fn capped(window: u64) -> Snapshot {
        let mut snapshot = snapshots::normal(window);
        let app = snapshot.components.iter_mut().find(|c| c.name == "app");
        let cpu = &mut app.unwrap().cpu;
        cpu.throttled_ns = Some(300_000_000);
        cpu.run_queue_ns = 0;
        cpu.run_queue_by = Some(Vec::new());
        snapshot
    }
    let mut state = seen(capped, 1, FULL);
    press(&mut state, "5");
    let shown = screen(&state, 120, 40);
    let says = "app is held back by a CPU quota of its own for 30%.";
    assert!(shown.contains(says), "{shown}");
}

/// None were counted, and there may have been some: that is not zero.
#[test]
fn none_counted_is_marked_where_counts_are_lower_bounds() {
    fn none(window: u64) -> Snapshot {
        let mut snapshot = snapshots::normal(window);
        for edge in &mut snapshot.edges {
            (edge.roundtrips, edge.lower_bound) = (0, true);
        }
        for component in &mut snapshot.components {
            (component.requests.served, component.requests.lower_bound) = (0, true);
        }
        snapshot
    }
    let mut state = seen(none, 3, FULL);
    for view in ["1", "2"] {
        press(&mut state, view);
        let shown = screen(&state, 120, 40);
        assert!(shown.contains("≥0 "), "{shown}");
    }
}

#[test]
fn an_open_edge_in_every_state() {
    for (name, snapshot, windows) in STATES {
        let mut state = seen(snapshot, windows, FULL);
        press(&mut state, "2j\n");
        let screens =
            [(40, 20), (80, 24), (120, 40)].map(|(width, height)| screen(&state, width, height));
        insta::assert_snapshot!(format!("edge_{name}"), screens.join("\n"));
    }
}

/// A host of which the rules have something to say.
fn troubled(n: u64) -> Snapshot {
    let mut snapshot = snapshots::normal(n);
    for component in &mut snapshot.components {
        component.requests.queued_ns = component.requests.service_ns.clone();
    }
    snapshot.edges[1].retransmits = 140;
    snapshot.findings = courtside_analysis::findings::look(&snapshot);
    snapshot
}

#[test]
fn findings_are_told_on_every_screen_and_shown_in_their_view() {
    let mut state = seen(troubled, 3, FULL);
    let count = state.snapshot().unwrap().findings.len();
    assert!(screen(&state, 80, 24).contains(&format!("{count} findings")));
    press(&mut state, "8");
    let screens =
        [(40, 20), (80, 24), (120, 40)].map(|(width, height)| screen(&state, width, height));
    insta::assert_snapshot!("findings_troubled", screens.join("\n"));
    // What is selected is shown in full, and opened.
    let worst = state.snapshot().unwrap().findings[0].clone();
    press(&mut state, "\n");
    assert_eq!(state.view, DashboardView::Turnaround);
    assert_eq!(state.target.as_ref(), Some(&worst.component));
    press(&mut state, "\x1b");
    assert_eq!(state.view, DashboardView::Findings);
    press(&mut state, "/retransmits\n");
    assert!(screen(&state, 120, 24).contains("is sent again"));
    assert!(!screen(&state, 120, 24).contains("lie unread"));
    for width in (1..=130).step_by(3) {
        screen(&state, width, 1 + width % 40);
    }
}

#[test]
fn help_of_every_view() {
    let mut state = seen(snapshots::normal, 1, FULL);
    for (number, view) in DashboardView::LIVE.into_iter().enumerate() {
        press(&mut state, &format!("{}?", number + 1));
        let screens = [(40, 20), (80, 40)].map(|(width, height)| screen(&state, width, height));
        insta::assert_snapshot!(format!("help_{view:?}").to_lowercase(), screens.join("\n"));
        press(&mut state, "?");
    }
}

#[test]
fn without_utf8_everything_is_ascii() {
    let ascii = Theme {
        color: false,
        ascii: true,
    };
    for (name, snapshot, windows) in STATES {
        let mut state = seen(snapshot, windows, ascii);
        for number in 1..=DashboardView::LIVE.len() {
            press(&mut state, &number.to_string());
            let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
            terminal.draw(|frame| render(frame, &state)).unwrap();
            for cell in terminal.backend().buffer().content() {
                assert!(cell.symbol().is_ascii(), "{name}: {:?}", cell.symbol());
                assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{name}");
            }
        }
    }
    let mut state = seen(snapshots::normal, 50, ascii);
    let screens = ["1", "3", "4"].map(|view| {
        press(&mut state, view);
        screen(&state, 80, 24)
    });
    insta::assert_snapshot!("ascii", screens.join("\n"));
}

#[test]
fn nothing_breaks_at_any_size() {
    for (_, snapshot, windows) in [STATES[0], STATES[2], STATES[4]] {
        let mut state = seen(snapshot, windows, FULL);
        for (i, keys) in [
            "1", "2", "2\n", "3", "4", "5", "6", "7", "7?", "8", "9", "9\n",
        ]
        .into_iter()
        .enumerate()
        {
            press(&mut state, "\x1b\x1b");
            press(&mut state, keys);
            // Odd widths in one view, even ones in the next, with every height.
            for width in (1 + i as u16 % 2..=130).step_by(2) {
                screen(&state, width, 1 + (width * 7 + i as u16) % 45);
            }
        }
    }
}

#[test]
fn a_screen_that_is_too_small_says_so() {
    let state = seen(snapshots::normal, 1, FULL);
    assert!(screen(&state, 20, 5).contains("terminal too"));
    assert!(screen(&state, 30, 7).contains("30×8"));
    assert!(screen(&state, 30, 8).contains("LIVE"));
}

#[test]
fn before_the_first_window_and_without_a_match_the_screen_explains() {
    let mut state = UiState::new(FULL, Duration::from_secs(1));
    assert!(screen(&state, 80, 24).contains("Measuring the first window…"));
    assert_eq!(state.snapshot(), None);
    for keys in [
        "1", "2", "3", "4", "5", "6", "7", "\n", "j", "G", "s", "S", " ", "\x1b",
    ] {
        press(&mut state, keys);
        screen(&state, 80, 24);
    }
    let mut state = seen(snapshots::normal, 1, FULL);
    press(&mut state, "/nobody\n");
    assert!(screen(&state, 80, 24).contains("Nothing matches “nobody”. Esc clears the filter."));
}

/// Names of the components or edges listed, in order.
fn listed(state: &UiState) -> Vec<String> {
    let shown = state.shown();
    let rows = state.rows();
    rows.into_iter()
        .map(|row| match state.view {
            DashboardView::Edges => shown.name(&shown.snapshot.edges[row].to).to_owned(),
            _ => shown.name_at(row).to_owned(),
        })
        .collect()
}

#[test]
fn views_turn_by_number_and_tab() {
    let mut state = seen(snapshots::normal, 1, FULL);
    for (number, view) in DashboardView::LIVE.into_iter().enumerate() {
        press(&mut state, &(number + 1).to_string());
        assert_eq!(state.view, view);
    }
    // There is no view of this number.
    press(&mut state, "0");
    assert_eq!(state.view, DashboardView::Neighbours);
    press(&mut state, "\t");
    assert_eq!(state.view, DashboardView::Components);
    state.key(KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT));
    assert_eq!(state.view, DashboardView::Neighbours);
}

#[test]
fn sorting_goes_through_the_columns_and_back() {
    let mut state = seen(snapshots::normal, 1, FULL);
    assert_eq!(listed(&state), ["store", "app", "web", "load"]);
    press(&mut state, "S");
    assert_eq!(listed(&state), ["load", "web", "app", "store"]);
    press(&mut state, "s");
    // By service time, the largest first; who serves nothing has none and comes last in either order.
    assert_eq!(listed(&state), ["web", "app", "store", "load"]);
    press(&mut state, "S");
    assert_eq!(listed(&state), ["store", "app", "web", "load"]);
    let columns = DashboardView::Components.spec().columns.len();
    for _ in 0..columns {
        press(&mut state, "s");
    }
    press(&mut state, "2");
    assert_eq!(listed(&state), ["store", "app", "web"]);
}

#[test]
fn a_selection_stays_with_its_row() {
    let mut state = seen(snapshots::normal, 1, FULL);
    let selected = |state: &UiState| {
        state
            .selected()
            .map(|row| state.shown().name_at(row).to_owned())
    };
    assert_eq!(selected(&state).as_deref(), Some("store"));
    press(&mut state, "jj");
    assert_eq!(selected(&state).as_deref(), Some("web"));
    press(&mut state, "S");
    assert_eq!(selected(&state).as_deref(), Some("web"));
    press(&mut state, "Gjjj");
    assert_eq!(selected(&state).as_deref(), Some("store"));
    press(&mut state, "gk");
    assert_eq!(selected(&state).as_deref(), Some("load"));
    // What is gone leaves the selection where it was.
    state.observe(std::sync::Arc::new(snapshots::empty()), 0);
    assert_eq!(selected(&state), None);
    press(&mut state, "jk\n");
}

#[test]
fn a_filter_narrows_every_view_and_escape_clears_it() {
    let mut state = seen(snapshots::normal, 1, FULL);
    press(&mut state, "/name:web");
    assert_eq!(listed(&state), ["web"]);
    // Keys are text while the filter is typed.
    press(&mut state, "q");
    assert!(listed(&state).is_empty());
    press(&mut state, "\x08\n2");
    assert_eq!(listed(&state), ["app", "web"]);
    press(&mut state, "\x1b");
    assert_eq!(listed(&state), ["store", "app", "web"]);
    for (filter, names) in [
        ("to:store", vec!["store"]),
        ("port:8080", vec!["app"]),
        ("transport:unix", vec!["store"]),
        ("kind:container", vec!["store"]),
        ("comm:load port:80", vec!["web"]),
        ("tgid:4201 from:web", vec!["app"]),
        ("WEB", vec!["app", "web"]),
    ] {
        press(&mut state, &format!("/{filter}\n"));
        assert_eq!(listed(&state), names, "{filter}");
        press(&mut state, "\x1b");
    }
    press(&mut state, "1/from:web port:8080 kind:prog");
    assert_eq!(listed(&state), ["app"]);
    state.key(KeyEvent::new(KeyCode::Char('w'), KeyModifiers::CONTROL));
    assert_eq!(state.filter_text, "from:web port:8080 ");
    state.key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
    assert_eq!(state.filter_text, "");
    press(&mut state, "\x08");
    assert!(!state.editing);
    press(&mut state, "7/state:attached hook:sock_");
    assert_eq!(state.rows().len(), 2);
}

#[test]
fn enter_follows_the_ball_and_escape_returns() {
    let mut state = seen(snapshots::normal, 1, FULL);
    let target = |state: &UiState| {
        let target = state.context().target.unwrap();
        (state.view, state.shown().name_at(target).to_owned())
    };
    press(&mut state, "jj\n");
    assert_eq!(
        target(&state),
        (DashboardView::Turnaround, "web".to_owned())
    );
    press(&mut state, "\n");
    assert_eq!(
        target(&state),
        (DashboardView::Turnaround, "app".to_owned())
    );
    press(&mut state, "\n");
    assert_eq!(
        target(&state),
        (DashboardView::Turnaround, "store".to_owned())
    );
    press(&mut state, "\x1b\x1b");
    assert_eq!(
        target(&state),
        (DashboardView::Turnaround, "web".to_owned())
    );
    press(&mut state, "\x1b");
    assert_eq!(state.view, DashboardView::Components);
    press(&mut state, "4");
    assert_eq!(
        target(&state),
        (DashboardView::Turnaround, "web".to_owned())
    );
    press(&mut state, "l");
    assert_eq!(
        target(&state),
        (DashboardView::Turnaround, "load".to_owned())
    );
    press(&mut state, "hhhhh");
    assert_eq!(
        target(&state),
        (DashboardView::Turnaround, "store".to_owned())
    );
}

#[test]
fn an_open_edge_stays_the_same_edge() {
    let mut state = seen(snapshots::normal, 1, FULL);
    press(&mut state, "2j\n");
    assert!(screen(&state, 80, 24).contains("web ──▶ app"));
    press(&mut state, "S");
    assert!(screen(&state, 80, 24).contains("web ──▶ app"));
    let mut other = snapshots::normal(1);
    other.edges.remove(1);
    state.observe(std::sync::Arc::new(other), 0);
    assert!(screen(&state, 80, 24).contains("No traffic on this edge in this window."));
    press(&mut state, "\x1b");
    assert!(screen(&state, 80, 24).contains("RT/s"));
}

#[test]
fn a_pause_holds_the_screen_but_not_the_measuring() {
    let mut state = seen(snapshots::normal, 3, FULL);
    press(&mut state, " ");
    let paused = screen(&state, 120, 40);
    assert!(paused.contains("PAUSED"));
    for snapshot in snapshots::windows(snapshots::lossy, 20) {
        state.observe(snapshot, 0);
    }
    assert_eq!(screen(&state, 120, 40), paused);
    press(&mut state, " ");
    let live = screen(&state, 120, 40);
    assert!(live.contains("LIVE") && live.contains("lost 1 315"));
    assert_eq!(state.shown().windows, 23);
}

#[test]
fn actions_are_for_the_outside() {
    let mut state = seen(snapshots::normal, 3, FULL);
    assert_eq!(press(&mut state, "q"), Some(Action::Quit));
    assert_eq!(press(&mut state, "e"), Some(Action::Export));
    assert_eq!(
        press(&mut state, "+"),
        Some(Action::Interval(Duration::from_secs(2)))
    );
    assert_eq!(
        press(&mut state, "--"),
        Some(Action::Interval(Duration::from_millis(500)))
    );
    assert_eq!(press(&mut state, "-----"), None);
    assert_eq!(press(&mut state, "r"), Some(Action::Reset));
    assert!(screen(&state, 80, 24).contains("measuring anew"));
    for (key, action) in [
        ('c', Action::Quit),
        ('z', Action::Suspend),
        ('l', Action::Redraw),
    ] {
        let key = KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL);
        press(&mut state, "/");
        assert_eq!(state.key(key), Some(action));
        press(&mut state, "\x1b");
    }
    press(&mut state, "?");
    assert_eq!(press(&mut state, "q"), None);
    assert_eq!(state.help, None);
}

#[test]
fn messages_show_in_the_bottom_line_and_go_by_themselves() {
    let mut state = seen(snapshots::normal, 1, FULL);
    state.say_error("not exported: cannot create x.json: no space left on device");
    assert!(screen(&state, 80, 24).contains("no space left"));
    for snapshot in snapshots::windows(snapshots::normal, 5) {
        state.observe(snapshot, 0);
    }
    assert!(!screen(&state, 80, 24).contains("no space left"));
}

#[test]
fn every_key_is_seen_without_scrolling_the_help() {
    let mut state = seen(snapshots::normal, 1, FULL);
    for number in 1..=DashboardView::LIVE.len() {
        press(&mut state, &format!("{number}?"));
        let screen = screen(&state, 80, 24);
        for key in [
            "Tab 1–9",
            "PgUp",
            "Enter",
            "Esc",
            "sort by",
            "Space",
            "  R  ",
            "  e  ",
            "+ -",
            "Ctrl-L",
            "Ctrl-Z",
            "q Ctrl-C",
        ] {
            assert!(screen.contains(key), "{key}\n{screen}");
        }
        press(&mut state, "?");
    }
}

#[test]
fn a_selection_that_matches_nothing_says_so_and_what_there_is() {
    let mut snapshot = snapshots::empty();
    snapshot.unmatched = Some(courtside_core::model::snapshot::Unmatched {
        components: vec!["web".to_owned(), "store".to_owned()],
        ports: vec![80],
    });
    let mut state = UiState::new(FULL, std::time::Duration::from_secs(1));
    state.observe(Arc::new(snapshot), 0);
    let screen = screen(&state, 80, 24);
    assert!(screen.contains("Nothing matched"), "{screen}");
    assert!(screen.contains("web, store"), "{screen}");
    assert!(!screen.contains("No traffic"), "{screen}");
}

#[test]
fn a_name_cannot_turn_the_screen_around_and_is_exported_as_it_is() {
    let mut snapshot = snapshots::normal(0);
    snapshot.components[0].name = "a\u{202E}b\u{200B}\u{1b}[2J".to_owned();
    let exact = snapshot.clone();
    let mut state = UiState::new(FULL, std::time::Duration::from_secs(1));
    state.observe(Arc::new(snapshot), 0);
    let screen = screen(&state, 120, 40);
    assert!(screen.contains("a<202E>b<200B><001B>[2J"), "{screen}");
    assert_eq!(**state.snapshot().unwrap(), exact);
}

#[test]
fn help_scrolls_no_further_than_its_end() {
    let mut state = seen(snapshots::normal, 1, FULL);
    state.resize(40, 20);
    press(&mut state, "?");
    for _ in 0..100 {
        press(&mut state, "j");
    }
    let end = screen(&state, 40, 20);
    assert!(end.contains("hook:"));
    press(&mut state, "k");
    assert_ne!(screen(&state, 40, 20), end);
}

#[test]
fn callers_in_a_circle_have_a_map() {
    let mut snapshot = snapshots::normal(0);
    let mut back = snapshot.edges[1].clone();
    std::mem::swap(&mut back.from, &mut back.to);
    let mut own = back.clone();
    own.to = own.from.clone();
    back.roundtrips_per_request = Some(0.25);
    snapshot.edges.extend([back, own]);
    let mut state = UiState::new(FULL, Duration::from_secs(1));
    state.observe(std::sync::Arc::new(snapshot), 0);
    press(&mut state, "3");
    let screens = [(50, 16), (90, 20)].map(|(width, height)| screen(&state, width, height));
    insta::assert_snapshot!("map_circle", screens.join("\n"));
}

#[test]
fn a_shop_of_many_services_has_a_map() {
    let mut state = UiState::new(FULL, Duration::from_secs(1));
    state.observe(std::sync::Arc::new(snapshots::shop()), 0);
    press(&mut state, "3jjj");
    let screens =
        [(80, 24), (120, 40), (160, 60)].map(|(width, height)| screen(&state, width, height));
    insta::assert_snapshot!("map_shop", screens.join("\n"));
}

/// A recording of windows from 22:13:20 UTC on, looked at where it is an hour later.
fn recorded(windows: u64) -> UiState {
    let mut state = UiState::new(FULL, Duration::from_secs(1)).replaying(Replay::new(300, 3600));
    for (number, snapshot) in snapshots::windows(snapshots::normal, windows).enumerate() {
        state.observe(snapshot, 0);
        state.at(number);
    }
    state
}

#[test]
fn a_recording_says_where_it_is() {
    let mut state = recorded(50);
    let sizes = [(40, 20), (80, 24), (120, 40)];
    let playing = sizes.map(|(width, height)| screen(&state, width, height));
    press(&mut state, " ++J+9");
    let jumping = screen(&state, 80, 24);
    press(&mut state, "x\n");
    let refused = screen(&state, 80, 24);
    press(&mut state, "\x1b?");
    let help = screen(&state, 80, 40);
    let screens = [&playing[..], &[jumping, refused, help]].concat();
    insta::assert_snapshot!("replay", screens.join("\n"));
}

#[test]
fn keys_move_through_a_recording() {
    let mut state = recorded(50);
    let show = |number| Some(Action::Show(Target::Window(number)));
    assert_eq!(press(&mut state, "t"), show(50));
    assert!(!state.replay().unwrap().playing);
    assert_eq!(press(&mut state, "T"), show(48));
    assert_eq!(press(&mut state, " "), None);
    assert!(state.replay().unwrap().playing);
    assert_eq!(
        press(&mut state, "J-5m\n"),
        Some(Action::Show(Target::By(-300.0)))
    );
    assert_eq!(press(&mut state, "J\x1b"), None);
    assert_eq!(press(&mut state, "J\n"), None);
    // Digits are no views and q does not quit while typing.
    assert_eq!(press(&mut state, "J2q"), None);
    assert_eq!(press(&mut state, "\x08\n"), show(2));
    assert_eq!(state.view, DashboardView::Components);
    assert_eq!(press(&mut state, "r"), show(0));
    assert_eq!(press(&mut state, "e"), Some(Action::Export));
    assert_eq!(press(&mut state, "R"), None);
    press(&mut state, "+");
    assert_eq!(state.replay().unwrap().speed(), 2.0);
    // Nothing goes on behind the end.
    state.at(299);
    press(&mut state, " ");
    assert!(!state.replay().unwrap().playing);
    assert_eq!(press(&mut state, "t"), show(299));
    // Live, none of this is there.
    let mut live = seen(snapshots::normal, 1, FULL);
    assert_eq!(press(&mut live, "tTJ"), None);
    assert_eq!(press(&mut live, "R"), Some(Action::Keep));
}
