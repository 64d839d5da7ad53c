//! Neighbours: who slows whom. Each component with what it waited for a CPU because of others, and how guard sees it.
//!
//! In: the snapshot's components, guard's judgement where it runs. Out: a table, and beneath it what one component waits for.
//! Must not know: keys, other views, how it is judged.

use std::borrow::Cow;

use ratatui::{
    Frame,
    layout::{Alignment, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{component_busy, component_count, component_id, component_matches, component_name};
use crate::{
    style::{BAD, CALM, DIM, PLAIN, STRONG, WARN},
    table::{self, ColumnSpec, Content, Context, Spec, TableState},
    text,
};
use courtside_core::{
    model::{
        blame::Waited,
        fields::Heading,
        interference::{EventKind, Interference, Signal},
        judgement::Standing,
        snapshot::{Component, ComponentKind},
    },
    units::{self, UNKNOWN, duration_f64, percent, ratio},
};

/// The table, the one that waits longest for others first.
pub(crate) static SPEC: Spec = Spec {
    columns: &COLUMNS,
    sort: 1,
    len: component_count,
    id: component_id,
    matches: component_matches,
    busy: component_busy,
};

fn component<'a>(cx: &'a Context, row: usize) -> &'a Component {
    &cx.shown.snapshot.components[row]
}

/// What a component waited for; none where it runs elsewhere, or it was not recorded.
pub(crate) fn waited(component: &Component) -> Option<Waited<'_>> {
    let here = component.kind != ComponentKind::Remote;
    let by = component.cpu.run_queue_by.as_deref().filter(|_| here)?;
    Some(Waited::of(&component.id, by))
}

/// A time of this window, for each second of it.
fn each_second(cx: &Context, row: usize, of: impl Fn(&Waited<'_>) -> Option<u64>) -> Option<f64> {
    let ns = of(&waited(component(cx, row))?)?;
    Some(cx.shown.per_second(ns))
}

/// A time of a component of this host, for each second.
fn of_component(cx: &Context, row: usize, of: fn(&Component) -> Option<u64>) -> Option<f64> {
    let component = component(cx, row);
    let ns = of(component).filter(|_| component.kind != ComponentKind::Remote)?;
    Some(cx.shown.per_second(ns))
}

/// A number of a service in a few words.
pub(super) fn signal_words(signal: Option<Signal>) -> &'static str {
    match signal {
        Some(Signal::Cpi) => "CPI",
        Some(Signal::LlcMissesPerInstruction) => "LLC misses",
        Some(Signal::RunQueuePerRequest) => "run queue",
        Some(Signal::BlockIoPerRequest) => "disk wait",
        Some(Signal::OnCpuPerRequest) => "CPU time",
        Some(Signal::Service) => "service",
        None => "",
    }
}

/// How guard sees a component: in words, how that looks, and how urgent it is.
pub(super) fn state(cx: &Context, row: usize) -> Option<(Cow<'static, str>, Style, u8)> {
    let judgement = cx.shown.judgement.as_ref()?;
    let id = &component(cx, row).id;
    let standing = judgement.standing.get(id)?;
    if let Some(worst) = judgement.of(id).first() {
        return Some(of_line(worst));
    }
    Some(match standing {
        Standing::TooLittle => (Cow::Borrowed("too few requests"), DIM, 0),
        Standing::Learning(windows) => {
            let text = format!("learning {windows} of {}", judgement.needed);
            (Cow::Owned(text), PLAIN, 1)
        }
        Standing::Judged => (Cow::Borrowed("as usual"), CALM, 2),
    })
}

fn of_line(line: &Interference) -> (Cow<'static, str>, Style, u8) {
    let signal = signal_words(line.signal);
    if line.event != EventKind::Anomaly {
        return (Cow::Borrowed("✓ cleared"), CALM, 3);
    }
    let usual = line.expected.map(|expected| expected.median);
    let times = line.value.zip(usual.filter(|usual| *usual > 0.0));
    let how = times.map_or_else(
        || "too high".to_owned(),
        |(value, usual)| format!("×{}", ratio(Some(value / usual))),
    );
    if line.self_inflicted {
        (Cow::Owned(format!("▲ {signal}, its own")), WARN, 4)
    } else if line.suspects.is_empty() {
        (Cow::Owned(format!("▲ {signal} {how}")), WARN, 5)
    } else {
        (Cow::Owned(format!("✗ {signal} {how}")), BAD, 6)
    }
}

/// A time that may be nothing.
fn time(ns: f64) -> String {
    if ns == 0.0 {
        "0".to_owned()
    } else {
        duration_f64(ns)
    }
}

static COLUMNS: [ColumnSpec; 12] = [
    ColumnSpec {
        heading: Heading {
            title: "COMPONENT",
            help: "who waits: unit, container or program of this host",
        },
        min: 13,
        max: 26,
        rank: 0,
        content: Content::Name(component_name),
    },
    ColumnSpec {
        heading: Heading {
            title: "OTHERS/s",
            help: "time a second for which its threads were ready to run and other components had the CPU; threads side by side add up",
        },
        min: 9,
        max: 9,
        rank: 1,
        content: Content::Number(
            |cx, row| each_second(cx, row, |waited| Some(waited.others_ns)),
            time,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "MOST TO",
            help: "the neighbour that had most of that",
        },
        min: 10,
        max: 26,
        rank: 2,
        content: Content::Text(|cx, row| {
            let waited = waited(component(cx, row));
            let most = waited.as_ref().and_then(|waited| waited.others.first());
            most.map_or_else(
                || UNKNOWN.to_owned(),
                |most| text::clip(cx.shown.name(&most.component), 26),
            )
        }),
    },
    ColumnSpec {
        heading: Heading {
            title: "ITS/s",
            help: "what that neighbour had, a second",
        },
        min: 7,
        max: 7,
        rank: 4,
        content: Content::Number(
            |cx, row| each_second(cx, row, |waited| Some(waited.others.first()?.ns)),
            time,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "SHARE",
            help: "the same of all that the component waited for a CPU",
        },
        min: 6,
        max: 6,
        rank: 3,
        content: Content::Number(
            |cx, row| {
                let waited = waited(component(cx, row))?;
                waited.share(waited.others.first()?.ns)
            },
            percent,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "OWN/s",
            help: "its own threads had the CPU meanwhile",
        },
        min: 7,
        max: 7,
        rank: 5,
        content: Content::Number(
            |cx, row| each_second(cx, row, |waited| Some(waited.own_ns)),
            time,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "IDLE/s",
            help: "nobody had the CPU: it was on its way to the component",
        },
        min: 7,
        max: 7,
        rank: 8,
        content: Content::Number(
            |cx, row| each_second(cx, row, |waited| Some(waited.idle_ns)),
            time,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "UNKNOWN/s",
            help: "who had the CPU could not be told: waits that go on when the window ends, or lie too far back",
        },
        min: 9,
        max: 9,
        rank: 6,
        content: Content::Number(
            |cx, row| each_second(cx, row, |waited| Some(waited.unknown_ns)),
            time,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "QUOTA/s",
            help: "a CPU quota of its own held it back: no neighbour; - where that is not measured",
        },
        min: 7,
        max: 7,
        rank: 4,
        content: Content::Number(
            |cx, row| of_component(cx, row, |component| component.cpu.throttled_ns),
            time,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "DISK/s",
            help: "its threads waited for the block layer; Enter tells behind whose requests its own lay",
        },
        min: 7,
        max: 7,
        rank: 7,
        content: Content::Number(
            |cx, row| of_component(cx, row, |component| Some(component.cpu.block_io_ns)),
            time,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "GUARD",
            help: "what guard says of it beside this screen: still learning what is usual, as usual, what is too high, or what is over; it holds nobody back; - where it does not run",
        },
        min: 18,
        max: 26,
        rank: 3,
        content: Content::Marked(
            |cx, row| state(cx, row).map(|(.., urgency)| f64::from(urgency)),
            |cx, row| match state(cx, row) {
                Some((text, style, _)) => Span::styled(text, style),
                None => Span::styled(UNKNOWN, DIM),
            },
            Alignment::Left,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "OTHERS, PAST",
            help: "time for which others had the CPU, newest at the right",
        },
        min: 12,
        max: 40,
        rank: 9,
        content: Content::History(|cx, row, windows| {
            let past = cx.shown.components.last(&component(cx, row).id, windows);
            past.map(|sample| sample.and_then(|s| s.others)).collect()
        }),
    },
];

/// Draws the table, and beneath it whom the selected component waits for, or the first one if none is selected.
pub(crate) fn draw(
    frame: &mut Frame,
    area: Rect,
    cx: &Context,
    table: &TableState,
    rows: &[usize],
) {
    let position = table.position(&SPEC, cx, rows);
    let below = rows
        .get(position)
        .map_or_else(Vec::new, |&row| in_short(cx, row, usize::from(area.width)));
    let [upper, lower] = table::above(area, rows.len(), below.len().min(4));
    table::draw(frame, upper, &SPEC, cx, table, rows);
    frame.render_widget(Paragraph::new(below), lower);
}

/// Whom one component waits for, in a sentence.
fn in_short(cx: &Context, row: usize, width: usize) -> Vec<Line<'static>> {
    let component = component(cx, row);
    let mut words = vec![Span::styled(component_name(cx, row).to_owned(), STRONG)];
    let mut say = |text: String| words.push(Span::styled(text, DIM));
    match waited(component) {
        None if component.kind == ComponentKind::Remote => {
            say(" is on another host: what it waits for there is not seen from here.".to_owned());
        }
        None => say(format!(": {NOT_RECORDED}.")),
        Some(waited) if waited.total_ns == 0 => say(" did not wait for a CPU.".to_owned()),
        Some(waited) => {
            let all = second(cx, waited.total_ns);
            say(format!(
                " was ready to run and waited for {all} a second. On the CPU meanwhile:"
            ));
            for (name, ns) in who(cx, &waited) {
                let share = waited.share(ns).map_or_else(String::new, percent);
                words.push(Span::styled(format!("  {name}"), PLAIN));
                words.push(Span::styled(format!("\u{a0}{share}"), DIM));
            }
        }
    }
    words.push(Span::styled("  Enter: more of it".to_owned(), DIM));
    text::wrap(&Span::raw(" "), 1, &words, width)
}

/// Why it may not be known who had the CPU.
pub(super) const NOT_RECORDED: &str = "who had the CPU while it waited was not recorded (recordings of older versions, windows made of single events)";

/// A time of this window for each second of it, in one word.
pub(super) fn second(cx: &Context, ns: u64) -> String {
    units::duration_f64(cx.shown.per_second(ns)).replace(' ', "\u{a0}")
}

/// Everybody that had the CPU: neighbours first, the rest by what it is.
pub(super) fn who<'a>(cx: &'a Context, waited: &Waited<'a>) -> Vec<(&'a str, u64)> {
    let others = waited.others.iter();
    let others = others.map(|blame| (cx.shown.name(&blame.component), blame.ns));
    let rest = [
        ("its own threads", waited.own_ns),
        ("nobody (on the way to it)", waited.idle_ns),
        ("unknown", waited.unknown_ns),
    ];
    others
        .chain(rest.into_iter().filter(|(_, ns)| *ns > 0))
        .collect()
}
