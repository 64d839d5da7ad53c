//! Parallel: what an application of several processes does in a recording: how fast, in what shape, who holds everybody up.
//!
//! In: what was found in the whole recording. Out: a table of processes, and who sends how much to whom as a heat map. Must
//! not know: keys, other views, how anything is inferred.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::findings::severity;
use crate::{
    filter::contains,
    style::{ACCENT, BAD, DIM, LINE, PLAIN, STRONG},
    table::{self, ColumnSpec, Content, Context, Spec, TableState},
    text,
};
use courtside_core::{
    model::{
        fields::Heading,
        inference::{Inference, Process, ReceiveWait},
        visible::visible,
    },
    units::{self, bytes_f64, count, duration, percent},
};

/// Shades of the heat map, the faintest first.
const SHADES: [&str; 4] = ["░░", "▒▒", "▓▓", "██"];
/// Processes in the heat map, at most.
const MAX_MATRIX: usize = 32;
/// Columns of their names.
const NAME: usize = 18;

/// The table, the one that goes round most often first.
pub(crate) static SPEC: Spec = Spec {
    columns: &COLUMNS,
    sort: 1,
    len: |cx| {
        cx.whole
            .parallel
            .told()
            .map_or(0, |found| found.processes.len())
    },
    id: |cx, row| process(cx, row).map_or_else(String::new, |process| process.id.clone()),
    matches: |cx, row, filter| {
        let Some(process) = process(cx, row) else {
            return false;
        };
        let named = |word: &str| contains(&process.id, word) || contains(&process.component, word);
        filter.matches(named, |key, value| match key {
            "name" => Some(named(value)),
            "comm" => Some(contains(&process.name, value)),
            "tgid" => Some(process.tgid.to_string() == value),
            _ => None,
        })
    },
    busy: |_, _| true,
};

fn process<'a>(cx: &'a Context, row: usize) -> Option<&'a Process> {
    cx.whole.parallel.told()?.processes.get(row)
}

/// What a process spent waiting for messages of another one.
fn waited(wait: &ReceiveWait) -> u64 {
    wait.not_sent_ns
        .saturating_add(wait.in_flight_ns)
        .saturating_add(wait.transfer_ns)
}

/// A time of a process as a share of all the time of its threads.
fn share(cx: &Context, row: usize, of: fn(&Process) -> u64) -> Option<f64> {
    let process = process(cx, row)?;
    let all = process.time.wall_ns.saturating_mul(process.threads.max(1));
    (all > 0).then(|| of(process) as f64 / all as f64)
}

fn for_messages(process: &Process) -> u64 {
    let each = process.time.receive_wait.iter().map(waited);
    each.fold(0, u64::saturating_add)
}

/// Whom it waits for most.
fn most(process: &Process) -> Option<&ReceiveWait> {
    let most = process
        .time
        .receive_wait
        .iter()
        .max_by_key(|one| waited(one));
    most.filter(|one| waited(one) > 0)
}

fn name(id: &str, room: usize) -> String {
    text::clip(&visible(id), room)
}

static COLUMNS: [ColumnSpec; 10] = [
    ColumnSpec {
        heading: Heading {
            title: "PROCESS",
            help: "name and number of a process of the application that talks most",
        },
        min: 13,
        max: 26,
        rank: 0,
        content: Content::Text(|cx, row| {
            process(cx, row).map_or_else(String::new, |process| name(&process.id, 26))
        }),
    },
    ColumnSpec {
        heading: Heading {
            title: "ITER/s",
            help: "how often it goes round, a second: sends after something was received, on the connection that has most; - where it only sends or only receives",
        },
        min: 7,
        max: 7,
        rank: 1,
        content: Content::Number(
            |cx, row| Some(process(cx, row)?.iterations.by_turn.as_ref()?.mean_per_s),
            units::rate,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "ITER",
            help: "how often in all",
        },
        min: 7,
        max: 7,
        rank: 6,
        content: Content::Number(
            |cx, row| Some(process(cx, row)?.iterations.by_turn.as_ref()?.count as f64),
            |iterations| count(iterations as u64),
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "ON-CPU",
            help: "share of its threads' time on a CPU; of a process that polls, its waiting is in it",
        },
        min: 6,
        max: 6,
        rank: 2,
        content: Content::Number(
            |cx, row| share(cx, row, |process| process.time.on_cpu_ns),
            percent,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "RUNQ",
            help: "share runnable without a CPU",
        },
        min: 6,
        max: 6,
        rank: 2,
        content: Content::Number(
            |cx, row| share(cx, row, |process| process.time.run_queue_ns),
            percent,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "MESSAGES",
            help: "share asleep until a message came",
        },
        min: 8,
        max: 8,
        rank: 2,
        content: Content::Number(|cx, row| share(cx, row, for_messages), percent),
    },
    ColumnSpec {
        heading: Heading {
            title: "MOST FROM",
            help: "the process whose messages it waited for most",
        },
        min: 10,
        max: 24,
        rank: 3,
        content: Content::Text(|cx, row| {
            let most = process(cx, row).and_then(most);
            most.map_or_else(|| units::UNKNOWN.to_owned(), |most| name(&most.from, 24))
        }),
    },
    ColumnSpec {
        heading: Heading {
            title: "CRITICAL",
            help: "its share of the chain of work and messages that decides how long the run takes: who has most holds everybody up; - where nothing could be simulated",
        },
        min: 8,
        max: 8,
        rank: 1,
        content: Content::Number(|cx, row| process(cx, row)?.critical_share, percent),
    },
    ColumnSpec {
        heading: Heading {
            title: "SLACK",
            help: "so much later it could have sent everything without holding anybody up; - as CRITICAL",
        },
        min: 7,
        max: 7,
        rank: 5,
        content: Content::Number(
            |cx, row| Some(process(cx, row)?.slack_ns? as f64),
            units::duration_f64,
        ),
    },
    ColumnSpec {
        heading: Heading {
            title: "COURT",
            help: "time from the last message that it read, or from its last send, to a send, all together",
        },
        min: 7,
        max: 7,
        rank: 6,
        content: Content::Number(
            |cx, row| Some(process(cx, row)?.court.queue_corrected_ns as f64),
            units::duration_f64,
        ),
    },
];

/// Draws the shape and who holds everybody up, the table, and below it the heat map.
pub(crate) fn draw(
    frame: &mut Frame,
    area: Rect,
    cx: &Context,
    table: &TableState,
    rows: &[usize],
) {
    let Some(found) = cx.whole.parallel.told() else {
        return;
    };
    let width = usize::from(area.width).saturating_sub(1);
    let height = usize::from(area.height);
    let mut head = head(found, width);
    head.truncate((height / 3).max(2));
    head.push(Line::default());
    let rest = height.saturating_sub(head.len());
    // The table comes first, and the picture needs all of its rows.
    let spare = rest.saturating_sub(rows.len().min(rest / 2) + 2);
    let selected = rows.get(table.position(&SPEC, cx, rows)).copied();
    let selected = selected.and_then(|row| process(cx, row));
    let below = below(found, selected, width, spare);
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(head.len() as u16),
        Constraint::Min(1),
        Constraint::Length(below.len() as u16),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head), top);
    table::draw(frame, middle, &SPEC, cx, table, rows);
    frame.render_widget(Paragraph::new(below), bottom);
}

/// In what shape, how much was lost, and what is wrong.
fn head(found: &Inference, width: usize) -> Vec<Line<'static>> {
    let topology = &found.topology;
    let source = &found.source;
    let lost = source.lost.values().copied().fold(0, u64::saturating_add);
    let mut shape = visible(&topology.shape).into_owned();
    if !topology.dimensions.is_empty() {
        let extents: Vec<String> = topology.dimensions.iter().map(u64::to_string).collect();
        shape += &format!(" {}", extents.join("×"));
    }
    let also: Vec<String> = topology
        .also
        .iter()
        .map(|also| visible(also).into_owned())
        .collect();
    let mut said = format!(
        " of {} processes, match {:.2}",
        count(found.processes.len() as u64),
        topology.match_score
    );
    if !also.is_empty() {
        said += &format!(", also {}", also.join(", "));
    }
    said += &format!(
        "; {} from first to last message, the whole recording.",
        duration(source.application_ns).replace(' ', "\u{a0}")
    );
    let mut words = vec![Span::styled(shape, STRONG), Span::styled(said, PLAIN)];
    if let Some(check) = &found.self_check {
        let off = format!(" Self-check {}.", percent(check.replay_error.abs()));
        words.push(Span::styled(off, DIM));
    }
    if lost > 0 {
        words.push(Span::styled(format!(" Lost {}.", count(lost)), BAD));
    }
    let mut lines = text::wrap(&Span::raw(""), 1, &words, width);
    for finding in &found.findings {
        let (sign, style, _) = severity(finding.severity);
        let label = Span::styled(format!(" {sign}"), style);
        let says = Span::styled(visible(&finding.says).into_owned(), PLAIN);
        lines.extend(text::wrap(&label, 3, &[says], width));
    }
    lines
}

/// The heat map, and whom the selected process waits for, each if there is room for all of it.
fn below(
    found: &Inference,
    selected: Option<&Process>,
    width: usize,
    spare: usize,
) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default()];
    lines.extend(selected.map_or_else(Vec::new, |process| waits(process, width)));
    let map = matrix(found, width);
    if lines.len() + map.len() < spare {
        lines.push(Line::default());
        lines.extend(map);
    }
    if let Some(remark) = found.remarks.first().filter(|_| lines.len() + 2 < spare) {
        lines.push(Line::default());
        let remark = Span::styled(visible(remark).into_owned(), DIM);
        lines.extend(text::wrap(&Span::raw(""), 1, &[remark], width));
    }
    lines.truncate(spare);
    lines
}

/// Whom a process waits for, in a sentence.
fn waits(process: &Process, width: usize) -> Vec<Line<'static>> {
    let mut words = vec![Span::styled(name(&process.id, 40), STRONG)];
    let mut say = |text: String, style: Style| words.push(Span::styled(text, style));
    if process.polls {
        say(
            " polls: its waiting is CPU time and cannot be told from work.".to_owned(),
            DIM,
        );
    } else if for_messages(process) == 0 {
        say(" never slept for a message.".to_owned(), DIM);
    } else {
        say(" waits for messages of".to_owned(), DIM);
        let mut waits: Vec<&ReceiveWait> = process.time.receive_wait.iter().collect();
        waits.sort_by_key(|one| std::cmp::Reverse(waited(one)));
        for one in waits.iter().take(4).filter(|one| waited(one) > 0) {
            let time = |ns: u64| duration(ns).replace(' ', "\u{a0}");
            say(format!("  {}", name(&one.from, 24)), PLAIN);
            let not_sent = time(one.not_sent_ns);
            let all = time(waited(one));
            say(
                format!("\u{a0}{all} ({not_sent} before they were sent)"),
                DIM,
            );
        }
    }
    if let Some(unknown) = &process.iterations.unknown {
        say(format!("  {}", visible(unknown)), DIM);
    }
    text::wrap(&Span::raw(" "), 1, &words, width)
}

/// Who sends how much to whom; nothing if there is no room for all of it.
fn matrix(found: &Inference, width: usize) -> Vec<Line<'static>> {
    let topology = &found.topology;
    let size = topology.processes.len();
    if size == 0 || size > MAX_MATRIX || NAME + 4 + 2 * size > width {
        return Vec::new();
    }
    let rates = topology.bytes_per_s.iter().flatten();
    let greatest = rates.copied().fold(0.0, f64::max);
    let said = format!(
        " Who sends to whom: rows send; ██ is {}/s, the most",
        bytes_f64(greatest)
    );
    let mut lines = vec![Line::styled(text::clip_end(&said, width), ACCENT)];
    let numbers: String = (0..size)
        .map(|column| format!("{:>2}", column % 100))
        .collect();
    lines.push(Line::styled(format!("{:>1$}{numbers}", "", NAME + 4), DIM));
    for (row, (id, rates)) in topology
        .processes
        .iter()
        .zip(&topology.bytes_per_s)
        .enumerate()
    {
        let name = name(id, NAME - 4);
        let pad = " ".repeat((NAME - 4).saturating_sub(text::width(&name)));
        let mut spans = vec![
            Span::styled(format!(" {row:>3} "), DIM),
            Span::styled(format!("{name}{pad}   "), PLAIN),
        ];
        spans.extend(rates.iter().map(|rate| match shade(*rate, greatest) {
            Some(shade) => Span::styled(shade, LINE),
            None => Span::styled(" ·", DIM),
        }));
        lines.push(Line::from(spans));
    }
    lines
}

/// How dark a place is; none where nothing was sent.
fn shade(rate: f64, greatest: f64) -> Option<&'static str> {
    if rate <= 0.0 || greatest <= 0.0 {
        return None;
    }
    let step = (rate / greatest * SHADES.len() as f64).ceil() as usize;
    SHADES.get(step.clamp(1, SHADES.len()) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_as_dark_as_what_was_sent() {
        assert_eq!(shade(0.0, 8.0), None);
        assert_eq!(shade(0.001, 8.0), Some("░░"));
        assert_eq!(shade(4.1, 8.0), Some("▓▓"));
        assert_eq!(shade(8.0, 8.0), Some("██"));
        assert_eq!(shade(1.0, 0.0), None);
    }
}
