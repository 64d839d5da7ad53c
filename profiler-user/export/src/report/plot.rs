//! Lines over a size or a rate, as a picture in the page itself.
//!
//! In: curves, each value with what it means or null. Out: SVG that needs no script. Must not know: what is measured and what is
//! calculated. A line is broken where a value is null, and at what is no number or below 0: neither is drawn as 0.

use std::fmt::Write;

use courtside_core::units::TimeUnit;
use maud::{Markup, html};

use super::super::text::clip;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 36.0;
/// About as many marks fit on an axis.
const MARKS: f64 = 5.0;
/// Marks an axis has at most, whatever its numbers are.
const MAX_MARKS: usize = 12;
/// Most columns of the words at an upright line: so many fit on either side of it.
const LABEL_WIDTH: usize = 32;
/// An interval that goes higher than so many times the highest value is cut off there.
const HIGHEST_INTERVAL: f64 = 2.0;

/// What the numbers of an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Whole ones.
    Count,
    /// Numbers with a fraction.
    Number,
    /// Nanoseconds.
    Time,
    /// Shares of 1.
    Share,
}

/// A value of a curve.
#[derive(Clone, Debug, Default)]
pub(super) struct Point {
    pub x: f64,
    pub y: Option<f64>,
    /// Where it lies, with 95 in 100.
    pub between: Option<[f64; 2]>,
    /// What is said of it when it is pointed at.
    pub says: String,
}

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// A line with a dot at each value.
    Dots,
    /// The same, dashed.
    DashedDots,
    /// Only a line.
    Line,
    /// A dashed line that helps to read the others; it is no reason for a picture by itself.
    Aid,
    /// Only circles.
    Circles,
}

/// Values that belong together.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    /// As in the legend.
    pub name: String,
    /// Class of its colour: `c0` to `c5`, or `aid`.
    pub colour: &'static str,
    pub look: Look,
    /// By ascending x.
    pub points: Vec<Point>,
}

/// An upright line with words on top.
#[derive(Clone, Debug)]
pub(super) struct Upright {
    pub x: f64,
    pub between: Option<[f64; 2]>,
    pub says: String,
    /// Whether it lies where nothing was measured.
    pub is_guess: bool,
}

/// A picture.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    /// What goes up, in words.
    pub title: &'static str,
    /// More about it; may be empty.
    pub lead: String,
    /// What goes to the right, in words.
    pub along: &'static str,
    pub x: Unit,
    pub y: Unit,
    pub curves: Vec<Curve>,
    /// Parts of the axis to the right that are shaded, and why.
    pub outside: Option<(Vec<[f64; 2]>, &'static str)>,
    pub upright: Option<Upright>,
    /// Why values are missing.
    pub gaps: Vec<String>,
}

/// A number that can be drawn.
fn drawable(value: f64) -> Option<f64> {
    (value.is_finite() && value >= 0.0).then_some(value)
}

impl Curve {
    fn is_aid(&self) -> bool {
        self.look == Look::Aid
    }

    /// What can be drawn of it.
    fn drawn(&self) -> impl Iterator<Item = (f64, f64, &Point)> {
        self.points
            .iter()
            .filter_map(|point| Some((drawable(point.x)?, drawable(point.y?)?, point)))
    }
}

/// An axis from 0 on.
struct Axis {
    high: f64,
    step: f64,
    /// What a number is divided by, and what stands behind it then.
    size: f64,
    suffix: &'static str,
}

impl Axis {
    /// Nothing, if nothing above 0 is on it. With `whole` it ends at a mark.
    fn new(unit: Unit, values: impl Iterator<Item = f64>, whole: bool) -> Option<Self> {
        let high = values.filter_map(drawable).fold(0.0, f64::max);
        if high <= 0.0 {
            return None;
        }
        let (size, suffix) = match unit {
            Unit::Share => (0.01, "%"),
            Unit::Time => {
                let unit = TimeUnit::of(high);
                (unit.size(), unit.symbol)
            }
            Unit::Count | Unit::Number => match high {
                0.0..10_000.0 => (1.0, ""),
                10_000.0..1e6 => (1e3, "k"),
                1e6..1e9 => (1e6, "M"),
                _ => (1e9, "G"),
            },
        };
        let shown = high / size;
        let raw = shown / MARKS;
        let power = 10f64.powf(raw.log10().floor());
        let nice = [1.0, 2.0, 5.0].into_iter().map(|times| times * power);
        // One part in a million more is rounding.
        let nice = nice.into_iter().find(|step| *step * (1.0 + 1e-6) >= raw);
        let step = nice.unwrap_or(10.0 * power);
        let step = if unit == Unit::Count && size <= 1.0 {
            step.max(1.0)
        } else {
            step
        };
        let high = if whole {
            (shown / step - 1e-6).ceil().max(1.0) * step * size
        } else {
            high
        };
        let axis = Self {
            high,
            step: step * size,
            size,
            suffix,
        };
        (axis.high.is_finite() && axis.step > 0.0).then_some(axis)
    }

    fn share(&self, value: f64) -> f64 {
        (value / self.high).clamp(0.0, 1.0)
    }

    /// Where marks are, and what stands there.
    fn marks(&self) -> impl Iterator<Item = (f64, String)> {
        (0..MAX_MARKS)
            .map(|n| n as f64 * self.step)
            .take_while(|value| *value <= self.high * (1.0 + 1e-6))
            .map(|value| (value, self.label(value)))
    }

    fn label(&self, value: f64) -> String {
        let (shown, step) = (value / self.size, self.step / self.size);
        let number = if shown == 0.0 {
            "0".to_owned()
        } else if !(1e-6..1e7).contains(&step) {
            format!("{shown:.0e}")
        } else {
            // Rounding must not ask for a digit more.
            let digits = (-(step.log10() + 1e-6).floor()).max(0.0) as usize;
            format!("{shown:.digits$}")
        };
        match self.suffix {
            "" => number,
            "%" => format!("{number}%"),
            suffix => format!("{number} {suffix}"),
        }
    }
}

/// Both axes.
struct Ground {
    x: Axis,
    y: Axis,
}

impl Ground {
    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.share(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.share(value) * (HEIGHT - TOP - BOTTOM)
    }

    /// A line through the values, broken where there is none.
    fn line(&self, points: &[Point]) -> String {
        let mut path = String::new();
        let mut goes_on = false;
        for point in points {
            let (Some(x), Some(y)) = (drawable(point.x), point.y.and_then(drawable)) else {
                goes_on = false;
                continue;
            };
            let command = if goes_on { 'L' } else { 'M' };
            let space = if path.is_empty() { "" } else { " " };
            let (x, y) = (self.x(x), self.y(y));
            // Writing to a string cannot fail.
            let _ = write!(path, "{space}{command}{x:.1} {y:.1}");
            goes_on = true;
        }
        path
    }
}

fn short(number: f64) -> String {
    format!("{number:.1}")
}

impl Plot {
    /// Whether there is any value.
    fn has_values(&self) -> bool {
        let own = self.curves.iter().filter(|curve| !curve.is_aid());
        own.flat_map(Curve::drawn).next().is_some()
    }

    fn ground(&self) -> Option<Ground> {
        if !self.has_values() {
            return None;
        }
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let upright = self.upright.iter().map(|upright| upright.x);
        let x = Axis::new(self.x, points().map(|point| point.x).chain(upright), false)?;
        let values = || points().filter_map(|point| point.y);
        let highest = values().filter_map(drawable).fold(0.0, f64::max);
        let ends = points().filter_map(|point| point.between.map(|[_, high]| high));
        let ends = ends
            .filter_map(drawable)
            .map(|high| high.min(highest * HIGHEST_INTERVAL));
        let y = Axis::new(self.y, values().chain(ends), true)?;
        Some(Ground { x, y })
    }

    /// The picture with its legend, or why there is none.
    pub fn draw(&self) -> Markup {
        html! {
            figure {
                figcaption { b { (self.title) } @if !self.lead.is_empty() { ", " (self.lead) } }
                @match self.ground() {
                    Some(ground) => {
                        (self.legend())
                        (self.svg(&ground))
                    }
                    None => p.none { "There is nothing to draw." },
                }
                @if !self.gaps.is_empty() {
                    ul.plain.reasons { @for gap in &self.gaps { li { (gap) } } }
                }
            }
        }
    }

    fn legend(&self) -> Markup {
        html! {
            ul.legend aria-label="what the lines mean" {
                @for curve in &self.curves {
                    @if curve.drawn().next().is_some() {
                        li { span class={ "swatch " (curve.colour) " " (swatch(curve.look)) } {} (curve.name) }
                    }
                }
                @if let Some((_, why)) = &self.outside { li { span.swatch.outside {} (why) } }
            }
        }
    }

    fn svg(&self, ground: &Ground) -> Markup {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        html! {
            svg.plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label={ (self.title) " over " (self.along) } {
                @if let Some((ranges, _)) = &self.outside {
                    @for [low, high] in ranges {
                        rect.outside x=(short(ground.x(*low))) width=(short(ground.x(*high) - ground.x(*low))) y=(TOP) height=(bottom - TOP) {}
                    }
                }
                @for (value, label) in ground.y.marks() {
                    @let y = short(ground.y(value));
                    line.grid x1=(LEFT) x2=(right) y1=(y) y2=(y) {}
                    text x=(LEFT - 7.0) y=(short(ground.y(value) + 4.0)) text-anchor="end" { (label) }
                }
                @for (value, label) in ground.x.marks() {
                    @let x = short(ground.x(value));
                    line.axis x1=(x) x2=(x) y1=(bottom) y2=(bottom + 4.0) {}
                    text x=(x) y=(bottom + 17.0) text-anchor="middle" { (label) }
                }
                line.axis x1=(LEFT) x2=(right) y1=(bottom) y2=(bottom) {}
                text x=(short((LEFT + right) / 2.0)) y=(HEIGHT - 3.0) text-anchor="middle" { (self.along) }
                @if let Some(upright) = self.upright.as_ref().filter(|upright| drawable(upright.x).is_some()) {
                    (upright_line(upright, ground))
                }
                @for curve in &self.curves { (draw(curve, ground)) }
            }
        }
    }
}

fn swatch(look: Look) -> &'static str {
    match look {
        Look::Dots | Look::Line => "line",
        Look::DashedDots | Look::Aid => "line dashed",
        Look::Circles => "hollow",
    }
}

fn upright_line(upright: &Upright, ground: &Ground) -> Markup {
    let x = ground.x(upright.x);
    let anchor = if x > WIDTH / 2.0 { "end" } else { "start" };
    let range = upright.between.filter(|[low, high]| low <= high);
    html! {
        @if let Some([low, high]) = range {
            rect.upright x=(short(ground.x(low))) width=(short(ground.x(high) - ground.x(low))) y=(TOP) height=(HEIGHT - BOTTOM - TOP) {}
        }
        line.upright.guess[upright.is_guess] x1=(short(x)) x2=(short(x)) y1=(TOP - 4.0) y2=(HEIGHT - BOTTOM) {}
        text.upright x=(short(x)) y=(TOP - 9.0) text-anchor=(anchor) { (clip(&upright.says, LABEL_WIDTH)) }
    }
}

fn draw(curve: &Curve, ground: &Ground) -> Markup {
    let dashed = matches!(curve.look, Look::DashedDots | Look::Aid);
    let dots = !matches!(curve.look, Look::Line | Look::Aid);
    html! {
        g class=(curve.colour) {
            @if curve.look != Look::Circles { path.dashed[dashed] d=(ground.line(&curve.points)) {} }
            @if dots {
                @for (x, y, point) in curve.drawn() {
                    @if let Some([low, high]) = point.between.filter(|ends| ends.iter().all(|end| end.is_finite())) {
                        @let x = short(ground.x(x));
                        path.between d={ "M" (x) " " (short(ground.y(low))) " L" (x) " " (short(ground.y(high))) } {}
                    }
                    circle.hollow[curve.look == Look::Circles] cx=(short(ground.x(x))) cy=(short(ground.y(y))) r="4" { title { (point.says) } }
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn curve(look: Look, values: &[(f64, Option<f64>)]) -> Curve {
        let point = |&(x, y)| Point {
            x,
            y,
            ..Point::default()
        };
        Curve {
            name: "measured".to_owned(),
            colour: "c0",
            look,
            points: values.iter().map(point).collect(),
        }
    }

    fn plot(curves: Vec<Curve>) -> Plot {
        Plot {
            title: "Speed-up",
            lead: String::new(),
            along: "cores",
            x: Unit::Count,
            y: Unit::Number,
            curves,
            outside: None,
            upright: None,
            gaps: Vec::new(),
        }
    }

    /// The axis to the right ends at 4 and is 360 long from 60 on; the one upwards ends at 4 and is 200 long from 224 on.
    #[test]
    fn a_value_is_where_it_belongs() {
        let values = [(1.0, Some(1.0)), (2.0, Some(1.7)), (4.0, Some(3.2))];
        let svg = plot(vec![curve(Look::Dots, &values)]).draw().into_string();
        // 60 + 360 x 2 / 4 and 224 - 200 x 1.7 / 4.
        assert!(svg.contains("cx=\"240.0\" cy=\"139.0\" r=\"4\">"), "{svg}");
        assert!(svg.contains("d=\"M150.0 174.0 L240.0 139.0 L420.0 64.0\""));
        for label in [">0<", ">1<", ">4<"] {
            assert_eq!(svg.matches(label).count(), 2, "{label}: {svg}");
        }
    }

    #[test]
    fn a_line_is_broken_where_there_is_no_value_and_that_is_not_0() {
        let values = [
            (1.0, Some(1.0)),
            (2.0, Some(2.0)),
            (3.0, None),
            (4.0, Some(f64::NAN)),
            (5.0, Some(-1.0)),
            (6.0, Some(3.0)),
            (8.0, Some(4.0)),
        ];
        let svg = plot(vec![curve(Look::Dots, &values)]).draw().into_string();
        assert!(
            svg.contains("d=\"M105.0 174.0 L150.0 124.0 M330.0 74.0 L420.0 24.0\""),
            "{svg}"
        );
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn without_a_value_there_is_no_picture_whatever_helps_to_read_it() {
        let aid = curve(Look::Aid, &[(0.0, Some(0.0)), (4.0, Some(4.0))]);
        let none = curve(Look::Dots, &[(1.0, None), (4.0, Some(f64::INFINITY))]);
        let mut plot = plot(vec![aid, none]);
        plot.gaps.push("At 1: <nobody> knows".to_owned());
        let said = plot.draw().into_string();
        assert!(!said.contains("<svg") && said.contains("There is nothing to draw."));
        assert!(said.contains("At 1: &lt;nobody&gt; knows"));
        // Nothing but 0 has no scale.
        plot.curves = vec![curve(Look::Dots, &[(0.0, Some(0.0))])];
        assert!(!plot.draw().into_string().contains("<svg"));
    }

    #[test]
    fn shades_and_upright_lines_stand_at_their_rates() {
        let mut plot = plot(vec![curve(
            Look::Dots,
            &[(100.0, Some(1.0)), (200.0, Some(2.0))],
        )]);
        plot.outside = Some((
            vec![[0.0, 100.0], [300.0, f64::INFINITY]],
            "outside the fitted rates",
        ));
        plot.upright = Some(Upright {
            x: 400.0,
            between: Some([380.0, f64::INFINITY]),
            says: "<cpu> of web01".to_owned(),
            is_guess: true,
        });
        let svg = plot.draw().into_string();
        assert!(
            svg.contains("<rect class=\"outside\" x=\"60.0\" width=\"90.0\""),
            "{svg}"
        );
        assert!(svg.contains("<rect class=\"outside\" x=\"330.0\" width=\"90.0\""));
        assert!(svg.contains("<line class=\"upright guess\" x1=\"420.0\" x2=\"420.0\""));
        assert!(svg.contains("text-anchor=\"end\">&lt;cpu&gt; of web01</text>"));
        assert!(svg.contains("<rect class=\"upright\" x=\"402.0\" width=\"18.0\""));
    }

    #[test]
    fn an_axis_has_few_round_marks_whatever_its_numbers_are() {
        let labels = |unit, high: f64| -> Vec<String> {
            let axis = Axis::new(unit, [high].into_iter(), true).unwrap();
            axis.marks().map(|(_, label)| label).collect()
        };
        assert_eq!(
            labels(Unit::Share, 1.0),
            ["0%", "20%", "40%", "60%", "80%", "100%"]
        );
        assert_eq!(
            labels(Unit::Time, 3.4e6),
            ["0 ms", "1 ms", "2 ms", "3 ms", "4 ms"]
        );
        assert_eq!(labels(Unit::Number, 0.3), ["0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(Unit::Count, 2.0), ["0", "1", "2"]);
        assert_eq!(
            labels(Unit::Number, 15_000.0),
            ["0 k", "5 k", "10 k", "15 k"]
        );
        for high in [1e-300, 1e-9, 0.07, 1.0, 9.99, 123.0, 9_999.0, 1e12, 1e300] {
            for unit in [Unit::Count, Unit::Number, Unit::Time, Unit::Share] {
                let Some(axis) = Axis::new(unit, [high].into_iter(), true) else {
                    continue;
                };
                let marks: Vec<(f64, String)> = axis.marks().collect();
                assert!((2..=7).contains(&marks.len()), "{high} {unit:?}: {marks:?}");
                assert!(axis.high >= high * 0.999, "{high} {unit:?}");
                assert!(marks.iter().all(|(_, label)| label.len() <= 9), "{marks:?}");
            }
        }
        assert!(Axis::new(Unit::Count, std::iter::empty(), true).is_none());
        assert!(Axis::new(Unit::Count, [f64::NAN, -1.0].into_iter(), true).is_none());
    }
}
