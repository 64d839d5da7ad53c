//! Bars of named segments, one a row: each row has its label, its bar on an axis that all share, and its time in words.
//!
//! In: rows, and a scale. Out: HTML that needs no script, wraps its labels and grows with the page. Must not know: what
//! the rows stand for.

use maud::{Markup, html};

use super::parts::class;
use courtside_core::parts::Parts;
use courtside_core::units::{TimeUnit, duration_f64};

/// From this ratio of the longest bar to the shortest on the axis is logarithmic: the shortest would not be seen.
const SPAN: f64 = 30.0;
/// Where a logarithmic axis may have a mark: tens, and from a second on what people count in.
const MARKS: [f64; 20] = [
    1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 60e9, 600e9, 3600e9, 36e12, 864e11,
    864e12, 864e13, 864e14, 864e15,
];
/// Most marks of an axis.
const MAX_MARKS: usize = 6;

/// A piece of a bar. A negative one goes back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segment {
    pub name: &'static str,
    /// Its class, which gives the colour.
    pub class: String,
    pub ns: f64,
}

/// A row: what is called so began there and is made of that.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub name: String,
    /// Rows that it is within.
    pub depth: usize,
    /// The component's place, if it has a detail.
    pub detail: Option<usize>,
    /// Where its bar begins; 0 on a logarithmic axis.
    pub begin: f64,
    pub segments: Vec<Segment>,
    /// One more cell: a count, a share.
    pub note: String,
}

impl Row {
    /// How long all of it took.
    pub fn total(&self) -> f64 {
        self.segments.iter().map(|segment| segment.ns).sum()
    }

    /// The segment that took longest.
    fn longest(&self) -> Option<&Segment> {
        let longest = |a: &&Segment, b: &&Segment| a.ns.total_cmp(&b.ns);
        self.segments.iter().max_by(longest).filter(|s| s.ns > 0.0)
    }
}

/// The segments that the parts of a turnaround make.
pub(super) fn segments(values: Parts<f64>) -> Vec<Segment> {
    let parts = values.into_iter().filter(|(_, ns)| *ns > 0.0);
    parts
        .map(|(part, ns)| Segment {
            name: part.words(),
            class: class(part),
            ns,
        })
        .collect()
}

/// What the axis shows, from where to where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    pub log: bool,
    /// Where the marks are.
    marks: Vec<f64>,
}

impl Scale {
    /// An axis on which each of these can be seen: from 0 on, or logarithmic where they differ much.
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let values = values.filter(|ns| *ns > 0.0);
        let high = values.clone().fold(1.0, f64::max);
        let low = values.fold(high, f64::min);
        if high / low > SPAN {
            Self::log(low, high)
        } else {
            Self::linear(0.0, high)
        }
    }

    fn log(shortest: f64, high: f64) -> Self {
        // The shortest bar has some length, too.
        let below = |mark: &&f64| **mark <= shortest / 1.5;
        let low = MARKS.iter().rev().find(below).copied().unwrap_or(0.1);
        let within: Vec<f64> = MARKS
            .into_iter()
            .filter(|mark| (low..=high).contains(mark))
            .collect();
        let each = within.len().div_ceil(MAX_MARKS).max(1);
        Self {
            low,
            high,
            log: true,
            marks: within.into_iter().step_by(each).collect(),
        }
    }

    /// An axis from the one to the other, 0 included.
    pub fn linear(low: f64, high: f64) -> Self {
        let high = high.max(1.0);
        let span = high - low.min(0.0);
        let unit = TimeUnit::of(span).size();
        let least = span / unit / (MAX_MARKS - 1) as f64;
        let ten = 10f64.powf(least.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|n| n * ten)
            .into_iter()
            .find(|step| *step >= least)
            .unwrap_or(10.0 * ten)
            * unit;
        let low = low.min(0.0);
        let (first, last) = ((low / step).ceil(), (high / step).floor());
        Self {
            low,
            high,
            log: false,
            marks: (first as i64..=last as i64)
                .map(|n| n as f64 * step)
                .collect(),
        }
    }

    /// Where on the axis a time is, in per cent.
    pub fn at(&self, ns: f64) -> f64 {
        let share = if self.log {
            (ns.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (ns - self.low) / (self.high - self.low)
        };
        (share * 100.0).clamp(0.0, 100.0)
    }

    /// Its marks: where in per cent, and what is said there.
    pub fn labels(&self) -> Vec<(f64, String)> {
        let marks = self.marks.iter();
        marks.map(|ns| (self.at(*ns), mark(*ns))).collect()
    }

    /// A row's segments, from where to where in per cent, and which. On a logarithmic axis the whole bar's length is
    /// on the axis, and segments are shares of it.
    fn places<'a>(&self, row: &'a Row) -> Vec<(f64, f64, &'a Segment)> {
        let (total, end) = (row.total(), self.at(row.total()));
        let mut at = row.begin;
        let mut places = Vec::new();
        for segment in &row.segments {
            let from = at;
            at += segment.ns;
            let (from, to) = if self.log {
                let share = |ns: f64| (ns - row.begin) / total * end;
                (share(from), share(at))
            } else {
                (self.at(from), self.at(at))
            };
            places.push((from.min(to), from.max(to), segment));
        }
        places
    }
}

/// A mark's time, as short as it can be said.
fn mark(ns: f64) -> String {
    if ns == 0.0 {
        return "0".to_owned();
    }
    let unit = TimeUnit::of(ns);
    let text = unit.show(ns);
    let short = match text.split_once('.') {
        Some((whole, rest)) if rest.bytes().all(|b| b == b'0') => whole,
        Some(_) => text.trim_end_matches('0'),
        None => &text,
    };
    format!("{short} {}", unit.symbol)
}

/// What stands over the columns, and at the end.
#[derive(Clone, Copy, Default)]
pub(super) struct Frame<'a> {
    /// What a row is.
    pub what: &'a str,
    /// What its note is; no notes without.
    pub note: Option<&'a str>,
    /// A time that every row shows as a line.
    pub line: Option<f64>,
    /// The last row, for the sum.
    pub sum: Option<&'a Row>,
}

/// The bars.
pub(super) fn draw(rows: &[Row], scale: &Scale, frame: Frame<'_>) -> Markup {
    let step = match scale.marks[..] {
        [first, second, ..] if !scale.log => scale.at(second) - scale.at(first),
        _ => 100.0,
    };
    let from = scale.marks.first().map_or(0.0, |ns| scale.at(*ns));
    html! {
        table.bars.log[scale.log] style={ "--from:" (fixed(from)) "%;--step:" (fixed(step)) "%" } {
            thead {
                tr {
                    th.label { (frame.what) }
                    th.track aria-label="time" {
                        div {
                            @for ns in &scale.marks {
                                @let at = scale.at(*ns);
                                span.mark.last[at > 92.0].first[at < 4.0] style={ "left:" (fixed(at)) "%" } { (mark(*ns)) }
                            }
                        }
                    }
                    th.n.time { "time" }
                    @if let Some(note) = frame.note { th.n.note { (note) } }
                    th.mostly { "mostly" }
                }
            }
            tbody {
                @for row in rows { (draw_row(row, scale, frame)) }
            }
            @if let Some(sum) = frame.sum {
                tfoot { (draw_row(sum, scale, frame)) }
            }
        }
    }
}

/// Bars on an axis that suits them, and what must be known if it is no usual one.
pub(super) fn lengths(rows: &[Row], what: &str) -> Markup {
    let scale = Scale::of(rows.iter().map(Row::total));
    html! {
        (draw(rows, &scale, Frame { what, note: Some("times"), ..Frame::default() }))
        @if scale.log {
            p.more { "These times differ so much that the axis is logarithmic: a mark is ten times or more the one before. \
                      Within a bar the colours are shares of it." }
        }
    }
}

fn draw_row(row: &Row, scale: &Scale, frame: Frame<'_>) -> Markup {
    html! {
        tr data-detail=[row.detail] {
            td.label style=[(row.depth > 0).then(|| format!("--depth:{}", row.depth.min(8)))] {
                @match row.detail {
                    Some(number) => a href={ "#detail-" (number) } { (row.name) },
                    None => (row.name),
                }
            }
            td.track {
                div {
                    @for (from, to, segment) in scale.places(row) {
                        span.(segment.class).back[segment.ns < 0.0]
                            style={ "left:" (fixed(from)) "%;width:" (fixed(to - from)) "%" }
                            title={ (segment.name) " " (duration_f64(segment.ns)) } {}
                    }
                    @if let Some(ns) = frame.line {
                        i style={ "left:" (fixed(scale.at(ns))) "%" } {}
                    }
                }
            }
            td.n.time { (duration_f64(row.total())) }
            @if frame.note.is_some() { td.n.note { (row.note) } }
            td.mostly {
                @if row.segments.len() > 1 && let Some(longest) = row.longest() {
                    (longest.name) " " (duration_f64(longest.ns))
                }
            }
        }
    }
}

fn fixed(percent: f64) -> String {
    let text = format!("{percent:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(parts: &[f64]) -> Row {
        let segment = |&ns: &f64| Segment {
            name: "sleep",
            class: "sleep".to_owned(),
            ns,
        };
        Row {
            segments: parts.iter().map(segment).collect(),
            ..Row::default()
        }
    }

    #[test]
    fn times_that_are_alike_share_a_linear_axis_from_zero() {
        let scale = Scale::of([2e6, 3.2e6, 0.2e6].into_iter());
        assert!(!scale.log);
        assert_eq!((scale.at(0.0), scale.at(1.6e6)), (0.0, 50.0));
        let marks: Vec<String> = scale.marks.iter().copied().map(mark).collect();
        assert_eq!(marks, ["0", "1 ms", "2 ms", "3 ms"]);
    }

    #[test]
    fn a_think_time_of_a_hundred_seconds_leaves_a_court_of_a_tenth_of_a_millisecond_its_bar() {
        let scale = Scale::of([100e9, 1e5, 3e6].into_iter());
        assert!(scale.log);
        assert_eq!(scale.at(100e9), 100.0);
        assert!(scale.at(1e5) > 10.0, "{}", scale.at(1e5));
        let marks: Vec<String> = scale.marks.iter().copied().map(mark).collect();
        assert_eq!(marks, ["10 µs", "1 ms", "100 ms", "10 s"]);
    }

    #[test]
    fn on_a_logarithmic_axis_segments_are_shares_of_the_bar() {
        let scale = Scale::log(15.0, 1000.0);
        let row = row(&[75.0, 25.0]);
        let places = scale.places(&row);
        let [(begin, middle, _), (again, end, _)] = places[..] else {
            panic!("{places:?}")
        };
        assert_eq!((begin, middle), (0.0, again));
        assert!((end - 50.0).abs() < 1e-9 && (middle - 37.5).abs() < 1e-9);
    }

    #[test]
    fn a_negative_segment_goes_back_from_where_the_bar_was() {
        let scale = Scale::linear(0.0, 100.0);
        let row = Row {
            begin: 80.0,
            ..row(&[20.0, -50.0])
        };
        let places: Vec<(f64, f64)> = scale.places(&row).iter().map(|p| (p.0, p.1)).collect();
        assert_eq!(places, [(80.0, 100.0), (50.0, 100.0)]);
        assert_eq!(row.total(), -30.0);
    }

    #[test]
    fn an_axis_that_goes_below_nothing_wastes_no_room() {
        let scale = Scale::linear(-7.4e6, 136e6);
        assert_eq!(scale.at(-7.4e6), 0.0);
        assert_eq!(scale.marks, [0.0, 50e6, 100e6]);
    }

    #[test]
    fn an_axis_has_few_marks_and_plain_ones() {
        for power in 0..19 {
            for high in [1.0, 1.7, 3.0, 9.9].map(|n| n * 10f64.powi(power)) {
                for scale in [Scale::linear(0.0, high), Scale::log(1.0, high.max(31.0))] {
                    let marks: Vec<String> = scale.marks.iter().copied().map(mark).collect();
                    assert!((1..=7).contains(&marks.len()), "{high}: {marks:?}");
                    assert!(marks.iter().all(|m| m.len() <= 8), "{high}: {marks:?}");
                }
            }
        }
    }
}
