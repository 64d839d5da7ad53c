//! The table as people see it.

use super::*;
use courtside_core::fixture::frames::{
    APP, LOAD, STORE, WEB, chain, cpu, flow, frame, image, remote, times,
};
use courtside_core::fixture::{frames, snapshots};
use courtside_core::frame::{Counters, Cpu, Frame, Pmu, ProbeStatus, Role};
use courtside_core::model::{State, View, fold};
use courtside_core::parts::{Part, Parts};

fn drawn(frame: &Frame, style: Style) -> String {
    let text = render(&fold(&mut State::default(), frame, &View::default()), style);
    if let Some(max) = style.width {
        for line in text.lines() {
            assert!(line.chars().count() <= max, "{max}: {line}");
        }
    }
    text
}

#[test]
fn the_relay_chain_in_full() {
    insta::assert_snapshot!(drawn(&chain(1204), Style::default()));
}

#[test]
fn the_relay_chain_on_a_small_terminal() {
    insta::assert_snapshot!(drawn(
        &chain(1204),
        Style {
            width: Some(80),
            ..Style::default()
        }
    ));
}

#[test]
fn the_relay_chain_in_ascii() {
    let style = Style {
        width: Some(100),
        ascii: true,
        ..Style::default()
    };
    let text = drawn(&chain(1204), style);
    assert!(text.is_ascii());
    insta::assert_snapshot!(text);
}

#[test]
fn nothing_to_see_says_what_to_do() {
    insta::assert_snapshot!(drawn(&Frame::default(), Style::default()));
}

/// Clients elsewhere, a database elsewhere, branches, counters, losses, a probe that failed, idle programs.
fn troubled() -> Frame {
    let mut frame = frame(
        vec![
            image(WEB, "web", &[80]),
            image(APP, "a-service-with-a-really-long-name", &[8080]),
            image(STORE, "store", &[]),
            image(20, "idle", &[]),
            image(21, "busy", &[]),
        ],
        &[("10.0.0.7", 0), ("10.0.0.8", 0), ("2001:db8::5", 5432)],
        vec![
            flow(
                (WEB, remote(1), 80),
                Role::Acceptor,
                30,
                9_000_000,
                cpu(1_000_000),
            ),
            flow(
                (WEB, remote(2), 80),
                Role::Acceptor,
                10,
                9_000_000,
                cpu(1_000_000),
            ),
            flow((WEB, APP, 8080), Role::Initiator, 40, 900_000, cpu(100_000)),
            flow((APP, WEB, 8080), Role::Acceptor, 40, 800_000, cpu(800_000)),
            flow(
                (WEB, remote(3), 5432),
                Role::Initiator,
                80,
                4_000_000,
                cpu(0),
            ),
            flow((APP, STORE, 0), Role::Unknown, 7, 0, cpu(0)),
        ],
    );
    frame.flows[2].ambiguous = 1;
    frame.flows[4].retransmits = 3;
    frame.cpu = vec![
        Cpu {
            image: 20,
            on_cpu_ns: 1_000_000,
            ..Cpu::default()
        },
        Cpu {
            image: 21,
            on_cpu_ns: 800_000_000,
            ..Cpu::default()
        },
        Cpu {
            image: WEB,
            on_cpu_ns: 44_000_000,
            counters: Some(Counters {
                cycles: 150,
                instructions: 100,
                ..Counters::default()
            }),
            ..Cpu::default()
        },
    ];
    frame.midlife_connections = 2;
    frame.lost.insert("flows".into(), 12);
    frame.pmu = Pmu {
        state: PmuState::Multiplexed,
        running_ratio: Some(0.63),
        ..Pmu::default()
    };
    frame.probes = vec![
        ProbeStatus {
            name: "retransmit".into(),
            hook: "tp_btf:tcp_retransmit_skb".into(),
            state: ProbeState::Failed,
            reason: "not permitted".into(),
        },
        ProbeStatus {
            name: "send".into(),
            hook: "tp_btf:sock_send_length".into(),
            state: ProbeState::Attached,
            reason: String::new(),
        },
    ];
    frame
}

#[test]
fn trouble_is_said_with_what_it_means_and_what_to_do() {
    let style = Style {
        width: Some(120),
        ..Style::default()
    };
    insta::assert_snapshot!(drawn(&troubled(), style));
}

#[test]
fn a_map_too_wide_for_the_screen_becomes_a_tree() {
    let style = Style {
        width: Some(60),
        ..Style::default()
    };
    let text = drawn(&troubled(), style);
    insta::assert_snapshot!(text.split("\n\n").nth(3).unwrap());
}

#[test]
fn escape_codes_come_only_with_colour() {
    let mut frame = troubled();
    frame.images[0].program = "we\u{1b}[31mb".into();
    frame.probes[0].reason = "bad\u{1b}[31m".into();
    assert!(!drawn(&frame, Style::default()).contains('\u{1b}'));
    let colored = drawn(
        &frame,
        Style {
            color: true,
            ..Style::default()
        },
    );
    assert!(colored.contains("\u{1b}[1m") && !colored.contains("\u{1b}[31mb"));
}

#[test]
fn long_lists_are_cut_and_say_so() {
    let clients: Vec<(String, u16)> = (0..100).map(|i| (format!("10.0.0.{i}"), 0)).collect();
    let clients: Vec<(&str, u16)> = clients.iter().map(|(a, p)| (a.as_str(), *p)).collect();
    let flows = (1..=100).map(|n| {
        flow(
            (WEB, remote(n), 80),
            Role::Acceptor,
            n.into(),
            5_000,
            cpu(10),
        )
    });
    let frame = frame(vec![image(WEB, "web", &[80])], &clients, flows.collect());
    let text = drawn(&frame, Style::default());
    assert!(text.contains("… 60 more edges"), "{text}");
    assert!(text.contains("clients ──1.00──▶ web"), "{text}");
}

#[test]
fn a_selection_that_matches_nothing_says_so_and_what_there_is() {
    use courtside_core::model::{State, View, fold};
    let table = |change: &dyn Fn(&mut View)| {
        let mut view = View::default();
        change(&mut view);
        let snapshot = fold(&mut State::default(), &frames::chain(10), &view);
        render(&snapshot, Style::default())
    };
    for text in [
        table(&|view| view.selection.comms.push("zzz*".to_owned())),
        table(&|view| view.selection.tgids.push(1)),
        table(&|view| view.selection.cgroups.push("/nowhere".to_owned())),
        table(&|view| view.selection.units.push("zzz".to_owned())),
        table(&|view| view.selection.containers.push("zzz".to_owned())),
        table(&|view| view.selection.ports.push(9)),
    ] {
        assert!(text.contains("Nothing matched what was selected"), "{text}");
        assert!(text.contains("web") && text.contains("80, 8080"), "{text}");
        assert!(!text.contains("No traffic"), "{text}");
    }
    let text = table(&|view| view.selection.comms.push("web".to_owned()));
    assert!(!text.contains("Nothing matched"), "{text}");
}

#[test]
fn no_name_turns_the_direction_of_writing_or_hides() {
    use courtside_core::model::{State, View, fold};
    let mut frame = frames::chain(10);
    for image in &mut frame.images {
        image.program.insert_str(1, "\u{202E}\u{200B}");
    }
    let snapshot = fold(&mut State::default(), &frame, &View::default());
    let text = render(&snapshot, Style::default());
    assert!(text.contains("w<202E><200B>eb"), "{text}");
    assert!(!text.chars().any(|c| c == '\u{202E}' || c == '\u{200B}'));
}

/// Many requests open at once on each connection, and time in every part.
fn interleaved() -> Frame {
    let parts = Parts([100_000; Part::COUNT]);
    let mut frame = frame(
        vec![image(LOAD, "load", &[]), image(WEB, "web", &[80])],
        &[],
        vec![
            flow((LOAD, WEB, 80), Role::Initiator, 400, 50_000_000, cpu(0)),
            flow((WEB, LOAD, 80), Role::Acceptor, 400, 50_000_000, parts),
        ],
    );
    for flow in &mut frame.flows {
        flow.untimed = 280;
        flow.answer = times(120, 50_000_000);
        flow.queued = times(400, 2_000_000);
        flow.unread_within_ns = 400;
    }
    frame
}

#[test]
fn there_is_no_mean_of_requests_that_have_no_times() {
    let mut snapshot = fold(&mut State::default(), &interleaved(), &View::default());
    for entry in &mut snapshot.entries {
        entry.untimed = entry.requests;
    }
    let text = render(&snapshot, Style::default());
    assert!(text.contains("≥ 400 requests, served by web:80"), "{text}");
    assert!(!text.contains("mean of"), "{text}");
}

#[test]
fn interleaved_requests_are_marked_wherever_they_are_shown_and_have_no_times() {
    let text = drawn(&interleaved(), Style::default());
    for said in [
        "≥ 400  280 untimed",
        "≥ 400  ≥ 1.00  280 untimed",
        "receiving≡ handed-over»",
        "load ──≥1.00──▶ web",
        "+ what is not known",
        "mean of 120 requests served by web:80",
        "280 of 400 requests untimed: several were open at once on one connection",
        "≥ is a lower bound",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let style = Style {
        ascii: true,
        ..Style::default()
    };
    let text = drawn(&interleaved(), style);
    assert!(
        text.contains("receiving: handed-over/") && text.is_ascii(),
        "{text}"
    );
}

#[test]
fn what_is_wrong_stands_on_top_and_a_calm_host_has_nothing_there() {
    let mut snapshot = snapshots::normal(0);
    let calm = render(&snapshot, Style::default());
    snapshot.findings = courtside_analysis::findings::look(&snapshot);
    let text = render(&snapshot, Style::default());
    let mut blocks = text.split("\n\n");
    let status = blocks.next().unwrap();
    insta::assert_snapshot!(blocks.next().unwrap());
    let rest: Vec<&str> = blocks.collect();
    assert_eq!(format!("{status}\n\n{}", rest.join("\n\n")), calm);
}

#[test]
fn at_most_three_findings_are_told_and_how_many_more_there_are() {
    let mut snapshot = snapshots::normal(0);
    let worst = courtside_analysis::findings::look(&snapshot)[0].clone();
    snapshot.findings = vec![worst; 5];
    let style = Style {
        width: Some(80),
        ascii: true,
        ..Style::default()
    };
    let text = render(&snapshot, style);
    assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 80));
    assert_eq!(text.matches("waits for a CPU").count(), 3, "{text}");
    assert!(
        text.contains("2 more findings (all of them: -F json)"),
        "{text}"
    );
}
