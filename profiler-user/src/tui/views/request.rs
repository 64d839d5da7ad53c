//! One request's time, split over the courts it lay in: the point of the tool, as a picture and as a sum.
//!
//! In: an entry of the snapshot. Out: lines. Must not know: keys, the view they stand in.

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use crate::{
    model::{
        snapshot::Entry,
        words::{Names, request_sum},
    },
    tui::{
        chart,
        shown::{Parts as _, Shown},
        style::{ACCENT, DIM, NETWORK, PLAIN, STRONG},
        text,
    },
    units,
};

/// A stretch of the request's time.
struct Stretch {
    name: String,
    /// A shorter name, if it has one.
    short: &'static str,
    ns: f64,
    fill: Vec<Span<'static>>,
}

/// The picture and the sum of the busiest entry, the sums of the others as far as `height` allows.
pub(in crate::tui) fn lines(shown: &Shown, width: usize, height: usize) -> Vec<Line<'static>> {
    let mut entries: Vec<&Entry> = shown
        .snapshot
        .entries
        .iter()
        .filter(|e| e.requests > 0)
        .collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.requests));
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
    let (mean, rest) = sum.split_once(" = ").unwrap_or((&sum, ""));
    let spans = [
        Span::styled(format!("{name}{port}"), STRONG),
        Span::styled(format!("  {rate}/s   one request: "), DIM),
        Span::styled(mean.to_owned(), STRONG),
        Span::styled(format!(" = {rest}"), PLAIN),
    ];
    text::wrap(&Span::raw(""), 1, &spans, width)
}

/// What the glyphs mean, for beneath the picture.
pub(in crate::tui) fn legend(width: usize) -> Option<Line<'static>> {
    let mut line = chart::legend(width.saturating_sub(2))?;
    line.spans.insert(0, Span::raw(" "));
    Some(line)
}

/// A ruler with the names of the courts, and beneath it what each stretch is made of.
fn picture(shown: &Shown, entry: &Entry, width: usize) -> Vec<Line<'static>> {
    let room = width.saturating_sub(3);
    let mut stretches: Vec<Stretch> = Vec::new();
    for court in &entry.courts {
        stretches.push(Stretch {
            name: shown.name(&court.component).to_owned(),
            short: "",
            ns: court.turnaround_ns,
            fill: Vec::new(),
        });
    }
    for (name, short, ns) in [
        ("network", "net", entry.network_ns),
        ("other", "", entry.other_ns),
    ] {
        stretches.push(Stretch {
            name: name.to_owned(),
            short,
            ns,
            fill: Vec::new(),
        });
    }
    let times: Vec<f64> = stretches.iter().map(|stretch| stretch.ns).collect();
    let cells = chart::apportion(&times, room);
    let fills = entry.courts.iter().map(Some).chain([None, None]);
    for ((stretch, &cells), court) in stretches.iter_mut().zip(&cells).zip(fills) {
        stretch.fill = match court {
            Some(court) if court.parts().iter().sum::<f64>() > 0.0 => {
                chart::parts_bar(&court.parts(), cells)
            }
            None if stretch.short == "net" => vec![Span::styled("╌".repeat(cells), NETWORK)],
            // The parts of a remote end's time are not known, nor is what the rest was.
            _ => vec![Span::styled("?".repeat(cells), DIM)],
        };
    }
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
        fill.extend(stretch.fill);
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
