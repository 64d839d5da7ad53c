//! One component and its neighbours: who had the CPU while it waited, and whom guard suspects on what evidence.
//!
//! In: one component of the snapshot, guard's judgement where it runs. Out: a drawn screen. Must not know: keys, other views,
//! how it is judged.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::neighbours::{NOT_RECORDED, second, signal_words, waited, who};
use crate::{
    chart,
    shown::kind,
    style::{ACCENT, BAD, CALM, DIM, LINE, PLAIN, STRONG, WARN},
    table::Context,
    text,
};
use courtside_core::{
    model::{
        blame::Waited,
        interference::{EventKind, Interference, Signal, Suspect},
        judgement::Standing,
        snapshot::{Component, ComponentKind},
    },
    units::{count, duration, duration_f64, percent, ratio},
};

/// Rows of neighbours, at most: the rest is one row.
const MAX_NEIGHBOURS: usize = 12;
/// Of those whose disk requests lay before, so many are named.
const MAX_BEHIND: usize = 3;
/// Columns of a name.
const NAME: usize = 26;
/// Columns of a bar, at most.
const BAR: usize = 60;

/// Draws everything about the component in this row.
pub(crate) fn draw(frame: &mut Frame, area: Rect, cx: &Context, row: usize) {
    let Some(component) = cx.shown.snapshot.components.get(row) else {
        return;
    };
    let width = usize::from(area.width).saturating_sub(1);
    let judged = guard(cx, component, width);
    let height = usize::from(area.height);
    // What guard says is not to be pushed off the screen by a long list of neighbours.
    let room = height
        .saturating_sub(judged.len().min(height / 2) + 6)
        .clamp(2, MAX_NEIGHBOURS);
    let mut lines = waits(cx, component, row, width, room);
    lines.extend(judged);
    if lines.len() > height {
        let hidden = lines.len() + 1 - height;
        lines.truncate(height.saturating_sub(1));
        let said = format!(" … {hidden} more lines: they need a higher terminal");
        lines.push(Line::styled(text::clip_end(&said, width), DIM));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn heading(text: &str) -> Line<'static> {
    Line::styled(format!(" {text}"), ACCENT)
}

fn sentence(text: impl Into<String>, style: Style, width: usize) -> Vec<Line<'static>> {
    text::wrap(
        &Span::raw(""),
        1,
        &[Span::styled(text.into(), style)],
        width,
    )
}

/// Who had the CPU, and what else it waited for.
fn waits(
    cx: &Context,
    component: &Component,
    row: usize,
    width: usize,
    room: usize,
) -> Vec<Line<'static>> {
    let name = text::clip(cx.shown.name_at(row), width.saturating_sub(14));
    let mut lines = text::wrap(
        &Span::raw(""),
        1,
        &[
            Span::styled(name, STRONG),
            Span::styled(format!("  {}", kind(component)), DIM),
        ],
        width,
    );
    if component.kind == ComponentKind::Remote {
        let said = "It is on another host: what it waits for there is not seen from here.";
        lines.extend(sentence(said, DIM, width));
        return lines;
    }
    let cpu = &component.cpu;
    let mut said = match waited(component) {
        None => format!("Cannot tell whom it waited for: {NOT_RECORDED}."),
        Some(waited) if waited.total_ns == 0 => "It did not wait for a CPU.".to_owned(),
        Some(waited) => format!(
            "It was ready to run and waited for {} a second, {} of that for others.",
            second(cx, waited.total_ns),
            waited
                .share(waited.others_ns)
                .map_or_else(String::new, percent)
        ),
    };
    said += &match cpu.throttled_ns {
        Some(0) => " No CPU quota of its own held it back.".to_owned(),
        Some(ns) => format!(
            " A CPU quota of its own held it back for {}.",
            second(cx, ns)
        ),
        None => " Whether a CPU quota of its own held it back is not measured.".to_owned(),
    };
    said += &match cpu.block_io_ns {
        0 => " It did not wait for the disk.".to_owned(),
        ns => format!(
            " It waited for the disk for {}; {}.",
            second(cx, ns),
            behind(cx, component)
        ),
    };
    lines.extend(sentence(said, PLAIN, width));
    if let Some(waited) = waited(component).filter(|waited| waited.total_ns > 0) {
        lines.push(Line::default());
        lines.push(heading("On the CPU meanwhile, a second"));
        lines.extend(bars(cx, &waited, width, room));
    }
    lines
}

/// Behind whose disk requests its own lay.
fn behind(cx: &Context, component: &Component) -> String {
    let Some(by) = &component.disk.queued_behind else {
        return "behind whose requests is not recorded".to_owned();
    };
    let each = by.iter().take(MAX_BEHIND).map(|blame| {
        let name = text::clip(cx.shown.name(&blame.component), NAME);
        format!("{name} (at most {})", second(cx, blame.ns))
    });
    let each: Vec<String> = each.collect();
    if each.is_empty() {
        return "no requests of others lay before its own".to_owned();
    }
    let more = by.len() - each.len();
    let more = if more > 0 {
        format!(" and {} more", count(more as u64))
    } else {
        String::new()
    };
    format!("its requests lay behind those of {}{more}", each.join(", "))
}

/// Each with its time and its share.
fn bars(cx: &Context, waited: &Waited<'_>, width: usize, room: usize) -> Vec<Line<'static>> {
    let all = who(cx, waited);
    // The rest is a row as well.
    let shown = if all.len() > room {
        room - 1
    } else {
        all.len()
    };
    let (top, rest) = all.split_at(shown.min(all.len()));
    let named = NAME.min(width / 3);
    let bar_room = width.saturating_sub(named + 24).min(BAR);
    let line = |name: &str, ns: u64, style| {
        let share = waited.share(ns).unwrap_or(0.0);
        let name = text::clip(name, named);
        let pad = " ".repeat(named.saturating_sub(text::width(&name)));
        let bar = chart::share_bar(share, bar_room);
        Line::from(vec![
            Span::styled(format!("   {name}{pad}"), style),
            Span::raw(format!("{:>9}", duration_f64(cx.shown.per_second(ns)))),
            Span::styled(format!("{:>7}  ", percent(share)), DIM),
            Span::styled(bar, if style == PLAIN { LINE } else { DIM }),
        ])
    };
    let others = waited.others.len();
    let mut lines: Vec<Line> = top
        .iter()
        .enumerate()
        .map(|(place, (name, ns))| line(name, *ns, if place < others { PLAIN } else { DIM }))
        .collect();
    if !rest.is_empty() {
        let ns = rest
            .iter()
            .fold(0u64, |sum, (_, ns)| sum.saturating_add(*ns));
        let name = format!("{} more", count(rest.len() as u64));
        lines.push(line(&name, ns, DIM));
    }
    lines
}

/// What guard says of it.
fn guard(cx: &Context, component: &Component, width: usize) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default(), heading("Guard")];
    let Some(judgement) = &cx.shown.judgement else {
        let said =
            "It does not run beside this screen. For a recording: courtside guard replay FILE";
        lines.extend(sentence(said, DIM, width));
        return lines;
    };
    let Some(standing) = judgement.standing.get(&component.id) else {
        lines.extend(sentence("It says nothing of this component.", DIM, width));
        return lines;
    };
    let told = judgement.of(&component.id);
    lines.extend(match standing {
        Standing::TooLittle => {
            sentence("It cannot judge this window: too few requests served, and no counters.", DIM, width)
        }
        Standing::Learning(windows) => sentence(
            format!(
                "It learns what is usual: {windows} of {} windows so far. Who slows it already counts as usual then; a spec of a quiet time tells: courtside guard learn, courtside guard --spec",
                judgement.needed
            ),
            PLAIN,
            width,
        ),
        Standing::Judged if told.is_empty() => {
            sentence("Everything that it watches is as usual.", CALM, width)
        }
        Standing::Judged => Vec::new(),
    });
    for line in told {
        lines.extend(said(cx, line, judgement.windows, width));
    }
    lines
}

fn value(signal: Option<Signal>, value: f64) -> String {
    let text = match signal {
        Some(Signal::LlcMissesPerInstruction) => format!("{value:.5}"),
        Some(signal) if signal.is_time() => duration_f64(value),
        _ => ratio(Some(value)),
    };
    text.replace(' ', "\u{a0}")
}

/// One word of it: what is too high or is over, why, and who is suspected on what evidence.
fn said(cx: &Context, line: &Interference, now: u64, width: usize) -> Vec<Line<'static>> {
    let lasts = line.event == EventKind::Anomaly;
    let (sign, style) = match (lasts, line.suspects.is_empty()) {
        (false, _) => ("✓", CALM),
        (true, true) => ("▲", WARN),
        (true, false) => ("✗", BAD),
    };
    let per_request = match line.signal {
        Some(Signal::RunQueuePerRequest | Signal::BlockIoPerRequest | Signal::OnCpuPerRequest) => {
            " a request"
        }
        _ => "",
    };
    let mut words = vec![Span::styled(
        format!("{sign} {}{per_request}", signal_words(line.signal)),
        style,
    )];
    if let Some(value_now) = line.value {
        let mut text = format!(" {}", value(line.signal, value_now));
        if let Some(expected) = line.expected {
            text += &format!(
                ", mostly {}, at most {}",
                value(line.signal, expected.median),
                value(line.signal, expected.upper)
            );
        }
        if let Some(sigmas) = line.sigmas.filter(|_| lasts) {
            text += &format!(", +{sigmas:.0} sigma");
        }
        words.push(Span::styled(text, PLAIN));
    }
    let ago = now.saturating_sub(line.windows);
    let when = match ago {
        0 => "in this window".to_owned(),
        1 => "1 window ago".to_owned(),
        _ => format!("{} windows ago", count(ago)),
    };
    words.push(Span::styled(format!(" (told {when})"), DIM));
    let mut lines = text::wrap(&Span::raw(""), 3, &words, width);
    lines.extend(text::wrap(
        &Span::raw(""),
        5,
        &[Span::styled(line.reason.clone(), DIM)],
        width,
    ));
    for (place, suspect) in line.suspects.iter().enumerate() {
        let label = Span::styled(format!("     {}.", place + 1), DIM);
        lines.extend(text::wrap(&label, 8, &evidence(cx, suspect), width));
    }
    lines
}

/// A suspect, and what its place rests on.
fn evidence(cx: &Context, suspect: &Suspect) -> Vec<Span<'static>> {
    let name = cx.shown.name(&suspect.component);
    let mut facts = vec![format!(
        "by {} {:.2}",
        suspect.decided_by.name(),
        suspect.score
    )];
    if let Some(ns) = suspect.blamed_ns {
        let share = suspect.blamed_share.map_or_else(String::new, |share| {
            format!(" ({} of its waits)", percent(share))
        });
        facts.push(format!("had the CPU for {}{share}", duration(ns)));
    }
    if let Some(ns) = suspect.exposure_ns {
        facts.push(format!("at most {} of its disk waits", duration(ns)));
    }
    if let Some(share) = suspect.group_share {
        facts.push(format!("{} of what all suspects explain", percent(share)));
    }
    if let Some(correlation) = suspect.correlation {
        facts.push(format!("correlation {correlation:.2}"));
    }
    if let Some(percentile) = suspect.percentile {
        facts.push(format!("more suspect than {percentile:.0}% of the others"));
    }
    vec![
        Span::styled(text::clip(name, 40), STRONG),
        Span::styled(format!("  {}", facts.join(", ")), PLAIN),
    ]
}
