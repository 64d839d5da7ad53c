//! One request's time, split over the courts it lay in: the point of the tool, as a picture and as a sum.
//!
//! In: an entry of the snapshot. Out: lines. Must not know: keys, the view they stand in.

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use crate::{
    chart,
    shown::Shown,
    style::{ACCENT, DIM, NETWORK, PLAIN, STRONG, WARN},
    text,
};
use courtside_core::{
    model::{
        snapshot::Entry,
        words::{Names, at_least, request_notes, request_sum},
    },
    parts::Parts,
    units,
};

/// A stretch of the request's time.
struct Stretch {
    name: String,
    /// A shorter name, if it has one.
    short: &'static str,
    ns: f64,
    fill: Fill,
}

/// What a stretch is made of.
enum Fill {
    Parts(Parts<f64>),
    Unread,
    Held,
    Network,
    Unknown,
}

impl Fill {
    fn draw(&self, cells: usize) -> Vec<Span<'static>> {
        let one = |glyph: &str, style: Style| vec![Span::styled(glyph.repeat(cells), style)];
        match self {
            Self::Parts(parts) => chart::parts_bar(parts, cells),
            Self::Unread => one("·", WARN),
            Self::Held => one("–", DIM),
            Self::Network => one("╌", NETWORK),
            Self::Unknown => one("?", DIM),
        }
    }
}

/// The picture and the sum of the busiest entry, the sums of the others as far as `height` allows.
pub(crate) fn lines(shown: &Shown, width: usize, height: usize) -> Vec<Line<'static>> {
    let mut entries: Vec<&Entry> = shown
        .snapshot
        .entries
        .iter()
        .filter(|e| e.requests > 0)
        .collect();
    entries.sort_by_key(|entry| std::cmp::Reverse((entry.adds_up, entry.requests)));
    let names = Names::of(&shown.snapshot);
    let mut lines = Vec::new();
    for entry in entries {
        let mut block = sum(shown, entry, &names, width);
        if lines.is_empty() && width >= 40 {
            block.extend(picture(shown, entry, width));
        }
        if lines.len() + block.len() > height {
            break;
        }
        lines.extend(block);
    }
    lines
}

fn sum(shown: &Shown, entry: &Entry, names: &Names, width: usize) -> Vec<Line<'static>> {
    let port = if entry.port == 0 {
        String::new()
    } else {
        format!(":{}", entry.port)
    };
    let name = text::clip(shown.name(&entry.component), 24);
    let rate = units::rate(shown.per_second(entry.requests));
    let sum = request_sum(entry, names);
    let (mean, rest) = match sum.split_once(" = ") {
        Some((mean, rest)) => (mean, format!(" = {rest}")),
        None => (sum.as_str(), String::new()),
    };
    let bound = at_least(entry.lower_bound).trim_end();
    let spans = [
        Span::styled(format!("{name}{port}"), STRONG),
        Span::styled(format!("  {bound}{rate}/s   one request: "), DIM),
        Span::styled(mean.to_owned(), STRONG),
        Span::styled(rest, PLAIN),
    ];
    let mut lines = text::wrap(&Span::raw(""), 1, &spans, width);
    for note in request_notes(entry, names) {
        let note = Span::styled(note, WARN);
        lines.extend(text::wrap(&Span::raw(""), 1, &[note], width));
    }
    lines
}

/// What the glyphs mean, for beneath the picture.
pub(crate) fn legend(shown: &Shown, width: usize) -> Option<Line<'static>> {
    let entries = shown.snapshot.entries.iter();
    let bars: Vec<_> = entries
        .flat_map(|entry| entry.courts.iter().map(|court| court.parts))
        .collect();
    let mut line = chart::legend(width.saturating_sub(2), &bars)?;
    line.spans.insert(0, Span::raw(" "));
    Some(line)
}

/// A ruler with the names of the courts, and beneath it what each stretch is made of.
fn picture(shown: &Shown, entry: &Entry, width: usize) -> Vec<Line<'static>> {
    if !entry.adds_up {
        return Vec::new();
    }
    let room = width.saturating_sub(3);
    let mut stretches: Vec<Stretch> = Vec::new();
    let least = 0.005 * entry.mean_ns.unwrap_or(0.0);
    for court in &entry.courts {
        let name = shown.name(&court.component);
        let parts = court.parts;
        // The parts of a remote end's time are not known.
        let known = parts.total_ns() > 0.0;
        for (name, ns, fill) in [
            (format!("{name} unread"), court.unread_ns, Fill::Unread),
            (
                name.to_owned(),
                Some(court.turnaround_ns),
                if known {
                    Fill::Parts(parts)
                } else {
                    Fill::Unknown
                },
            ),
            (format!("{name} held"), court.held_ns, Fill::Held),
        ] {
            let beside = matches!(fill, Fill::Unread | Fill::Held);
            let ns = ns.unwrap_or(0.0);
            if !beside || ns > least {
                stretches.push(Stretch {
                    name,
                    short: "",
                    ns,
                    fill,
                });
            }
        }
    }
    for (name, short, ns, fill) in [
        ("network", "net", entry.network_ns, Fill::Network),
        ("other", "", entry.other_ns.unwrap_or(0.0), Fill::Unknown),
    ] {
        stretches.push(Stretch {
            name: name.to_owned(),
            short,
            ns,
            fill,
        });
    }
    let times: Vec<f64> = stretches.iter().map(|stretch| stretch.ns).collect();
    let cells = chart::apportion(&times, room);
    let mut ruler = vec![Span::raw(" ")];
    let mut fill = vec![Span::raw(" ")];
    let mut first = true;
    for (stretch, &cells) in stretches
        .into_iter()
        .zip(&cells)
        .filter(|(_, cells)| **cells > 0)
    {
        ruler.push(Span::styled(if first { "├" } else { "┼" }, DIM));
        ruler.extend(label(&stretch, cells - 1));
        fill.extend(stretch.fill.draw(cells));
        first = false;
    }
    if first {
        return Vec::new();
    }
    ruler.push(Span::styled("┤", DIM));
    vec![Line::from(ruler), Line::from(fill)]
}

/// A stretch's name and time in the middle of its part of the ruler, as much of it as fits.
fn label(stretch: &Stretch, cells: usize) -> [Span<'static>; 3] {
    let time = units::duration_f64(stretch.ns);
    let full = format!(" {} {time} ", stretch.name);
    let name = format!(" {} ", stretch.name);
    let clipped = match cells {
        // A few letters of a name say nothing.
        0..9 => String::new(),
        _ => format!(" {} ", text::clip(&stretch.name, cells - 2)),
    };
    let fits = |label: &&String| text::width(label) <= cells && !label.trim().is_empty();
    let short = format!(" {} ", stretch.short);
    let label = [full, name, short, clipped];
    let label = label.iter().find(fits).cloned().unwrap_or_default();
    let rest = cells - text::width(&label);
    let line = |n: usize, style: Style| Span::styled("─".repeat(n), style);
    [
        line(rest / 2, DIM),
        Span::styled(label, ACCENT),
        line(rest - rest / 2, DIM),
    ]
}
