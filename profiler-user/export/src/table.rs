//! The table of `stat`: components, edges, the map and a request's time, and what to know about their quality.
//!
//! In: a snapshot. Out: text for a terminal or a file. Must not know: where it goes.

use std::collections::HashMap;

use anstyle::{AnsiColor, Style as Ansi};

use super::map;
use super::text::{
    ALARM, BOLD, DIM, Grid, GridColumn, HEAD, Line, PLAIN, WARN, clip, flow, joined,
};
use courtside_core::frame::{PmuState, ProbeState, Transport};
use courtside_core::model::finding::Severity;
use courtside_core::model::snapshot::{Component, ComponentKind, Dist, Edge, Snapshot, Turnaround};
use courtside_core::model::visible::for_people;
use courtside_core::model::words::{
    LOSSES, Names, at_least, mean_held, mostly_untimed, request_notes, request_sum, unmatched,
};
use courtside_core::parts::{Hue, Part, Parts};
use courtside_core::units::{
    UNKNOWN, apportion, bytes, count, duration, per_second, percent, rate, ratio,
};

/// How to draw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Columns of the screen; none for a file, where nothing gives way.
    pub width: Option<usize>,
    /// Escape codes may be used.
    pub color: bool,
    /// Only ASCII may be used.
    pub ascii: bool,
}

/// Most rows of a table, and most entries.
const MAX_ROWS: usize = 40;
const MAX_ENTRIES: usize = 5;
/// Most findings that are shown: fix the worst first.
const MAX_FINDINGS: usize = 3;
/// From this share of one core on a component is worth a line though it has no traffic.
const NOTABLE_CPU: f64 = 0.01;
const NAME_WIDTH: usize = 28;

/// A part's colour.
fn ink(part: Part) -> Ansi {
    match part.hue() {
        Hue::Green => AnsiColor::Green,
        Hue::Yellow => AnsiColor::Yellow,
        Hue::Magenta => AnsiColor::Magenta,
        Hue::Blue => AnsiColor::Blue,
        Hue::Red => AnsiColor::Red,
        Hue::Cyan => AnsiColor::Cyan,
        Hue::White => AnsiColor::White,
    }
    .on_default()
}

/// The snapshot as text, with a newline at the end.
#[must_use]
pub fn render(snapshot: &Snapshot, style: Style) -> String {
    let snapshot = &*for_people(snapshot);
    let page = Page::new(snapshot, style);
    let blocks = [
        page.status(),
        page.findings(),
        page.components(),
        page.edges(),
        page.entries(),
        page.reservations(),
    ];
    joined(blocks, style)
}

struct Page<'a> {
    snapshot: &'a Snapshot,
    names: Names<'a>,
    style: Style,
    /// Where each component stands on the way of a request.
    places: HashMap<&'a str, usize>,
    /// Roundtrips that each end of an edge makes for one request at the entry, and whether that is a lower bound.
    per_request: HashMap<&'a str, (Option<f64>, bool)>,
}

impl<'a> Page<'a> {
    fn new(snapshot: &'a Snapshot, style: Style) -> Self {
        let mut places = HashMap::new();
        for court in snapshot.entries.iter().flat_map(|entry| &entry.courts) {
            let next = places.len();
            places.entry(court.component.as_str()).or_insert(next);
        }
        let mut per_request: HashMap<&str, (Option<f64>, bool)> = HashMap::new();
        for edge in &snapshot.edges {
            // One on a request's way that calls nobody makes no roundtrips; of others nothing is known.
            for end in [&edge.from, &edge.to] {
                let none = places.contains_key(end.as_str()).then_some(0.0);
                per_request.entry(end).or_insert((none, false));
            }
            if let (Some(more), Some(sum)) = (
                edge.roundtrips_per_request,
                per_request.get_mut(edge.from.as_str()),
            ) {
                *sum = (Some(sum.0.unwrap_or(0.0) + more), sum.1 | edge.lower_bound);
            }
        }
        Self {
            snapshot,
            names: Names::of(snapshot),
            style,
            places,
            per_request,
        }
    }

    fn status(&self) -> Vec<Line> {
        let Snapshot {
            host,
            window,
            quality,
            ..
        } = self.snapshot;
        let lost = quality.lost_in_all();
        let (bound, own) = self.snapshot.cost.own();
        let own = format!("self {bound}{}", percent(self.share(own)));
        let pmu = match quality.pmu.state {
            PmuState::Ok => "ok".to_owned(),
            PmuState::Multiplexed => match quality.pmu.running_ratio {
                Some(share) => format!("multiplexed {}", percent(share)),
                None => "multiplexed".to_owned(),
            },
            PmuState::None => "none".to_owned(),
            PmuState::Disabled => "off".to_owned(),
        };
        let mut title = Line::new(BOLD, "courtside");
        title.push(PLAIN, format!(" {}", duration(window.duration_ns)));
        let plain = |text: String| Line::new(PLAIN, text);
        let (components, edges) = (self.snapshot.components.len(), self.snapshot.edges.len());
        let pieces = vec![
            title,
            plain(clip(
                format!("{} {}", host.hostname, host.kernel).trim(),
                60,
            )),
            plain(format!(
                "{} {}",
                counted(components, "component"),
                counted(edges, "edge")
            )),
            Line::new(
                if lost > 0 { WARN } else { PLAIN },
                format!("lost {}", count(lost)),
            ),
            plain(format!("midlife {}", count(quality.midlife_connections))),
            match quality.folded_remotes {
                0 => plain(String::new()),
                folded => plain(format!("remotes folded {}", count(folded))),
            },
            plain(own),
            plain(format!("PMU {pmu}")),
        ];
        let pieces = pieces
            .into_iter()
            .filter(|piece| piece.width() > 0)
            .collect();
        flow(pieces, "   ", self.style.width)
    }

    /// What is wrong, the worst first; nothing where nothing is found.
    fn findings(&self) -> Vec<Line> {
        let findings = &self.snapshot.findings;
        let words = |style, text: &str| -> Vec<Line> {
            let words = text.split_whitespace();
            words.map(|word| Line::new(style, clip(word, 80))).collect()
        };
        let mut lines = Vec::new();
        for finding in findings.iter().take(MAX_FINDINGS) {
            let style = match finding.severity {
                Severity::Bad => ALARM,
                Severity::Warn => WARN,
                Severity::Info => PLAIN,
            };
            let mut pieces = words(
                style,
                &format!("{}: {}.", finding.severity.name(), finding.says),
            );
            pieces.extend(words(DIM, &format!("{}.", finding.remedy)));
            lines.extend(flow(pieces, " ", self.style.width));
        }
        let more = findings.len().saturating_sub(MAX_FINDINGS);
        if more > 0 {
            let text = format!("… {} (all of them: -F json)", counted(more, "more finding"));
            lines.push(Line::new(DIM, text));
        }
        lines
    }

    fn components(&self) -> Vec<Line> {
        let local = || {
            self.snapshot
                .components
                .iter()
                .filter(|c| c.kind != ComponentKind::Remote)
        };
        let mut shown: Vec<&Component> = local().filter(|c| self.is_notable(c)).collect();
        shown.sort_by_key(|c| {
            let busy = (c.requests.served, c.cpu.on_cpu_ns);
            (self.place(&c.id), std::cmp::Reverse(busy), &c.id)
        });
        if let Some(said) = unmatched(self.snapshot) {
            return vec![Line::new(WARN, said)];
        }
        if shown.is_empty() && self.snapshot.edges.is_empty() {
            return vec![Line::new(
                PLAIN,
                "No traffic in this window. Measure longer (-d), or give fewer of -p, -n, -c, --unit, --container, --port.",
            )];
        }
        let hidden = local().count() - shown.len().min(MAX_ROWS);
        shown.truncate(MAX_ROWS);

        let bar_width = if self.style.width.is_some_and(|max| max < 140) {
            26
        } else {
            40
        };
        let bars: Vec<Parts<f64>> = shown.iter().map(|c| c.turnaround.parts.real()).collect();
        let column = |title: &str, rank| GridColumn {
            title: Line::new(HEAD, title),
            right: true,
            rank,
        };
        let grid = Grid {
            columns: vec![
                GridColumn {
                    right: false,
                    ..column("COMPONENT", 0)
                },
                column("REQ/s", 0),
                column("SVC p50", 3),
                column("SVC p99", 5),
                column("UNREAD", 4),
                column("HELD", 4),
                column("TURNAROUND", 0),
                GridColumn {
                    title: legend(bar_width, &bars),
                    right: false,
                    rank: 1,
                },
                column("RT/req", 2),
                column("CPU", 6),
                column("CPI", 7),
            ],
            rows: shown.iter().map(|c| self.component(c, bar_width)).collect(),
        };
        let mut lines = grid.lines(self.style.width);
        if hidden > 0 {
            let text = format!(
                "… {} (idle or without traffic)",
                counted(hidden, "more component")
            );
            lines.push(Line::new(DIM, text));
        }
        lines
    }

    fn component(&self, component: &Component, bar_width: usize) -> Vec<Line> {
        let Component {
            requests,
            turnaround,
            cpu,
            counters,
            ..
        } = component;
        let serves = requests.served > 0;
        let number = |text: String| Line::new(if text == UNKNOWN { DIM } else { PLAIN }, text);
        let mean = turnaround.total_ns.checked_div(turnaround.count);
        let unread = requests
            .queued_ns
            .sum_ns
            .checked_div(requests.queued_ns.count);
        let untimed = (requests.untimed, requests.served);
        vec![
            Line::new(BOLD, clip(self.names.get(&component.id), NAME_WIDTH)),
            number(known(serves.then(|| {
                at_least(requests.lower_bound).to_owned() + &self.rate(requests.served)
            }))),
            number(median(untimed, &requests.service_ns)),
            number(p99(untimed, &requests.service_ns)),
            number(known(unread.map(duration))),
            number(mean_held(requests)),
            number(known(mean.map(duration))),
            bar(turnaround, bar_width),
            number(match self.per_request.get(component.id.as_str()) {
                Some(&(Some(n), bound)) => at_least(bound).to_owned() + &ratio(Some(n)),
                _ => UNKNOWN.to_owned(),
            }),
            number(percent(self.share(cpu.on_cpu_ns))),
            number(ratio(counters.and_then(|c| c.cpi))),
        ]
    }

    fn edges(&self) -> Vec<Line> {
        let mut shown: Vec<&Edge> = self.snapshot.edges.iter().collect();
        shown.sort_by_key(|edge| (self.place(&edge.to), std::cmp::Reverse(edge.roundtrips)));
        let hidden = shown.len().saturating_sub(MAX_ROWS);
        shown.truncate(MAX_ROWS);
        if shown.is_empty() {
            return Vec::new();
        }
        let column = |title: &str, rank| GridColumn {
            title: Line::new(HEAD, title),
            right: true,
            rank,
        };
        let grid = Grid {
            columns: vec![
                GridColumn {
                    right: false,
                    ..column("FROM → TO", 0)
                },
                GridColumn {
                    right: false,
                    ..column("VIA", 3)
                },
                column("ROUNDTRIPS", 0),
                column("/s", 4),
                column("/req", 0),
                column("LATENCY p50", 1),
                column("p99", 2),
                column("SENT", 5),
                column("RECEIVED", 6),
                column("RETRANS", 7),
            ],
            rows: shown.iter().map(|edge| self.edge(edge)).collect(),
        };
        let mut lines = grid.lines(self.style.width);
        if hidden > 0 {
            let text = format!("… {} (all of them: -F json)", counted(hidden, "more edge"));
            lines.push(Line::new(DIM, text));
        }
        lines
    }

    fn edge(&self, edge: &Edge) -> Vec<Line> {
        let number = |text: String| Line::new(if text == UNKNOWN { DIM } else { PLAIN }, text);
        let mut ends = Line::new(BOLD, clip(self.names.get(&edge.from), NAME_WIDTH));
        ends.push(DIM, " → ");
        ends.push(BOLD, clip(self.names.get(&edge.to), NAME_WIDTH));
        let via = match edge.transport {
            Transport::Tcp => format!("tcp:{}", edge.port),
            Transport::Udp => format!("udp:{}", edge.port),
            Transport::Unix => "unix".to_owned(),
        };
        let bound = at_least(edge.lower_bound);
        let untimed = (edge.untimed, edge.roundtrips);
        let per_request = edge.roundtrips_per_request;
        vec![
            ends,
            Line::new(PLAIN, via),
            number(format!("{bound}{}", count(edge.roundtrips))),
            number(format!("{bound}{}", self.rate(edge.roundtrips))),
            number(known(
                per_request.map(|n| bound.to_owned() + &ratio(Some(n))),
            )),
            number(median(untimed, &edge.latency_ns)),
            number(p99(untimed, &edge.latency_ns)),
            number(bytes(edge.bytes_sent)),
            number(bytes(edge.bytes_received)),
            Line::new(
                if edge.retransmits > 0 { WARN } else { DIM },
                count(edge.retransmits),
            ),
        ]
    }

    fn entries(&self) -> Vec<Line> {
        const LABEL: &str = "Map  ";
        let mut lines = Vec::new();
        for entry in self.snapshot.entries.iter().take(MAX_ENTRIES) {
            let room = self.style.width.map(|max| max.saturating_sub(LABEL.len()));
            for (i, drawn) in map::draw(self.snapshot, entry, &self.names, room)
                .into_iter()
                .enumerate()
            {
                let mut line = Line::new(HEAD, if i == 0 { LABEL } else { "" });
                line.pad_to(LABEL.len());
                line.append(drawn);
                lines.push(line);
            }
            let sum = request_sum(entry, &self.names);
            let mut words = sum
                .split(" + ")
                .map(|term| Line::new(PLAIN, clip(term, 60)));
            let mut first = Line::new(BOLD, "one request: ");
            first.append(words.next().unwrap_or_default());
            let terms = words.map(|term| {
                let mut line = Line::new(PLAIN, "+ ");
                line.append(term);
                line
            });
            lines.extend(flow(
                std::iter::once(first).chain(terms).collect(),
                " ",
                self.style.width,
            ));
            let timed = entry.requests.saturating_sub(entry.untimed);
            let of = if timed == 0 {
                let bound = at_least(entry.lower_bound);
                format!("{bound}{} requests, served by ", count(entry.requests))
            } else {
                let bound = at_least(entry.lower_bound && entry.untimed == 0);
                format!("mean of {bound}{} requests served by ", count(timed))
            };
            let port = if entry.port > 0 {
                format!(":{}", entry.port)
            } else {
                String::new()
            };
            let name = clip(self.names.get(&entry.component), NAME_WIDTH);
            lines.push(Line::new(DIM, format!("{of}{name}{port}")));
            for note in request_notes(entry, &self.names) {
                let words = note.split_whitespace();
                let words = words.map(|word| Line::new(DIM, clip(word, 80))).collect();
                lines.extend(flow(words, " ", self.style.width));
            }
            lines.push(Line::default());
        }
        let hidden = self.snapshot.entries.len().saturating_sub(MAX_ENTRIES);
        if hidden > 0 {
            let text = format!("… {hidden} more entries (choose one with --entry NAME:PORT)");
            lines.push(Line::new(DIM, text));
        } else {
            lines.pop();
        }
        lines
    }

    /// What to know before trusting the numbers.
    fn reservations(&self) -> Vec<Line> {
        let quality = &self.snapshot.quality;
        let mut notes: Vec<(Ansi, String)> = Vec::new();
        for loss in &LOSSES {
            if let Some(&n) = quality.lost.get(loss.class).filter(|n| **n > 0) {
                let text = format!(
                    "lost {} ({}): {}; {}",
                    count(n),
                    loss.class,
                    loss.meaning_in(quality),
                    loss.remedy
                );
                notes.push((WARN, text));
            }
        }
        let lesser = |state| matches!(state, ProbeState::Degraded | ProbeState::Failed);
        for probe in quality.probes.iter().filter(|probe| lesser(probe.state)) {
            let state = if probe.state == ProbeState::Failed {
                "failed"
            } else {
                "degraded"
            };
            let text = format!(
                "probe {} ({}) {state}: {}",
                probe.name, probe.hook, probe.reason
            );
            notes.push((WARN, text));
        }
        if quality.probes.iter().any(|probe| lesser(probe.state)) {
            notes.push((
                PLAIN,
                "what is missing and how to fix it: courtside check".to_owned(),
            ));
        }
        let components = &self.snapshot.components;
        if self.snapshot.edges.iter().any(|edge| edge.lower_bound)
            || components.iter().any(|c| c.requests.lower_bound)
        {
            let text = "≥ is a lower bound: several requests were open at once, a connection is older than the attach, or its two ends count differently";
            notes.push((DIM, text.to_owned()));
        }
        notes
            .into_iter()
            .flat_map(|(style, text)| {
                let words = text
                    .split_whitespace()
                    .map(|word| Line::new(style, clip(word, 80)));
                flow(words.collect(), " ", self.style.width)
            })
            .collect()
    }

    /// Where a component stands on the way of a request; what is on none comes last.
    fn place(&self, id: &str) -> usize {
        self.places.get(id).copied().unwrap_or(usize::MAX)
    }

    fn is_notable(&self, component: &Component) -> bool {
        component.requests.served > 0
            || self.share(component.cpu.on_cpu_ns) >= NOTABLE_CPU
            || self.per_request.contains_key(component.id.as_str())
    }

    fn rate(&self, n: u64) -> String {
        rate(per_second(n, self.snapshot.window.duration_ns))
    }

    /// A time as a share of the window.
    fn share(&self, ns: u64) -> f64 {
        per_second(ns, self.snapshot.window.duration_ns) / 1e9
    }
}

/// A number of things.
pub(crate) fn counted(n: usize, thing: &str) -> String {
    format!(
        "{} {thing}{}",
        count(n as u64),
        if n == 1 { "" } else { "s" }
    )
}

fn known(text: Option<String>) -> String {
    text.unwrap_or_else(|| UNKNOWN.to_owned())
}

/// The median; where most are untimed, how many.
fn median((untimed, of): (u64, u64), dist: &Dist) -> String {
    if mostly_untimed(untimed, of) {
        return format!("{} untimed", count(untimed));
    }
    known((dist.count > 0).then(|| duration(dist.p50_ns)))
}

/// What 99 in 100 do not pass; unknown where most are untimed.
fn p99((untimed, of): (u64, u64), dist: &Dist) -> String {
    let known_of_most = dist.count > 0 && !mostly_untimed(untimed, of);
    known(known_of_most.then(|| duration(dist.p99_ns)))
}
/// What the glyphs of these bars mean.
fn legend(width: usize, bars: &[Parts<f64>]) -> Line {
    let mut line = Line::default();
    for (i, part) in Part::in_legend(bars).enumerate() {
        let name = if width < 40 {
            part.short()
        } else {
            part.name()
        };
        line.push(HEAD, format!("{}{name}", if i > 0 { " " } else { "" }));
        line.push(ink(part), part.glyph());
    }
    line
}

/// What a turnaround was made of.
fn bar(turnaround: &Turnaround, width: usize) -> Line {
    let mut line = Line::default();
    for (cells, part) in apportion(turnaround.parts.real().0, width)
        .into_iter()
        .zip(Part::ALL)
    {
        line.push(ink(part), part.glyph().repeat(cells));
    }
    line
}

#[cfg(test)]
mod tests;
