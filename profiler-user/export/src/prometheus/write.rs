//! What numbers are written as: what every form has in common, and the two texts, Prometheus' 0.0.4 and OpenMetrics 1.0.
//!
//! In: families, labels, numbers. Out: text. Must not know: what they mean.
//!
//! The texts differ in the name that stands before a counter's help, in `# UNIT`, in what an info is, and in `# EOF`.

use std::fmt::Write as _;

use courtside_core::model::visible::visible;

use super::{
    family::{Family, Group, Kind, Unit},
    group::{Sizes, Sums, bounds_ns},
};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Prometheus' text format, version 0.0.4.
    Text,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Form {
    /// What HTTP calls it.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A number as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Count(u64),
    /// As seconds.
    Ns(u64),
}

impl Number {
    fn of(unit: Unit, sum: u64) -> Self {
        match unit {
            Unit::Ns => Self::Ns(sum),
            Unit::Number | Unit::Bytes => Self::Count(sum),
        }
    }

    fn text(self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Ns(ns) => seconds(ns),
        }
    }

    /// Where only such numbers can be written: exact up to 2^53.
    pub(super) fn real(self) -> f64 {
        match self {
            Self::Count(count) => count as f64,
            Self::Ns(ns) => ns as f64 / 1e9,
        }
    }
}

/// Nanoseconds as seconds, to the last digit.
fn seconds(ns: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let (whole, rest) = (ns / SECOND, ns % SECOND);
    if rest == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{rest:09}");
    text.trim_end_matches('0').to_owned()
}

/// A label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// A label. What cannot be seen in a value is shown by its number, as on a screen.
pub(super) fn label(name: &'static str, value: &str) -> Label {
    Label {
        name,
        value: visible(value).into_owned(),
    }
}

/// The labels of a series, and when its sums were 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) labels: Vec<Label>,
    pub(super) since_ns: u64,
}

/// What can be written to.
pub(super) trait Sink {
    /// Begins a family.
    fn head(&mut self, family: &Family);
    /// One number of the family that was begun.
    fn number(&mut self, family: &Family, key: &Key, number: Number);
    /// One histogram of the family that was begun.
    fn histogram(&mut self, family: &Family, key: &Key, sizes: &Sizes);
}

/// Writes to whatever it is.
pub(super) struct Writer<'a> {
    to: &'a mut dyn Sink,
    /// When the sums were 0 that are of no component.
    since_ns: u64,
}

impl<'a> Writer<'a> {
    pub(super) fn new(to: &'a mut dyn Sink, since_ns: u64) -> Self {
        Self { to, since_ns }
    }

    /// Begins a family.
    pub(super) fn head(&mut self, family: &Family) {
        self.to.head(family);
    }

    /// One number of a family that was begun.
    pub(super) fn number(&mut self, family: &Family, key: &Key, number: Number) {
        self.to.number(family, key, number);
    }

    /// One number of a family that was begun and is of no component.
    pub(super) fn sample(&mut self, family: &Family, labels: Vec<Label>, number: Number) {
        let since_ns = self.since_ns;
        self.to.number(family, &Key { labels, since_ns }, number);
    }

    /// A family of one number.
    pub(super) fn one(&mut self, family: &Family, labels: Vec<Label>, number: Number) {
        self.head(family);
        self.sample(family, labels, number);
    }

    /// The families of a group. A histogram without values is left out, and so is a counter that is not known.
    pub(super) fn group<T>(&mut self, group: &Group<T>, keys: &[(Key, &Sums)]) {
        let mut before = "";
        for (at, counter) in group.counters.iter().enumerate() {
            let family = &counter.family;
            if family.name == before {
                continue;
            }
            before = family.name;
            self.head(family);
            let same = group.counters.iter().enumerate().skip(at);
            let same: Vec<_> = same
                .take_while(|(_, it)| it.family.name == before)
                .collect();
            for (key, sums) in keys {
                for &(at, counter) in &same {
                    let Some(sum) = sums.counters.get(at).copied().flatten() else {
                        continue;
                    };
                    let number = Number::of(family.unit, sum);
                    match counter.label {
                        None => self.number(family, key, number),
                        Some((name, value)) => {
                            let mut key = key.clone();
                            key.labels.push(label(name, value));
                            self.number(family, &key, number);
                        }
                    }
                }
            }
        }
        for (at, histogram) in group.histograms.iter().enumerate() {
            self.head(&histogram.family);
            for (key, sums) in keys {
                if let Some(sizes) = sums.histograms.get(at).filter(|sizes| sizes.count() > 0) {
                    self.to.histogram(&histogram.family, key, sizes);
                }
            }
        }
    }
}

/// A text that grows.
#[derive(Debug)]
pub(super) struct Text {
    form: Form,
    text: String,
}

impl Text {
    pub(super) fn new(form: Form) -> Self {
        Self {
            form,
            text: String::new(),
        }
    }

    fn sample(&mut self, name: (&str, &str), labels: &str, number: Number) {
        let (open, close) = if labels.is_empty() {
            ("", "")
        } else {
            ("{", "}")
        };
        let (family, ending) = name;
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.text,
            "{family}{ending}{open}{labels}{close} {}",
            number.text()
        );
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.text += "# EOF\n";
        }
        self.text
    }
}

impl Sink for Text {
    fn head(&mut self, family: &Family) {
        let name = family.name;
        let (ending, kind) = match (self.form, family.kind) {
            (Form::Text, Kind::Counter) => ("_total", "counter"),
            (Form::Text, Kind::Info) => ("_info", "gauge"),
            (_, kind) => ("", kind.name()),
        };
        let help = help(self.form, &family.words.text());
        let _ = writeln!(self.text, "# HELP {name}{ending} {help}");
        let _ = writeln!(self.text, "# TYPE {name}{ending} {kind}");
        let unit = match family.unit {
            Unit::Ns => "seconds",
            Unit::Bytes => "bytes",
            Unit::Number => return,
        };
        if self.form == Form::OpenMetrics {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
    }

    fn number(&mut self, family: &Family, key: &Key, number: Number) {
        let ending = match family.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.sample((family.name, ending), &written(&key.labels), number);
    }

    fn histogram(&mut self, family: &Family, key: &Key, sizes: &Sizes) {
        let labels = written(&key.labels);
        let mut below = 0u64;
        for (bound, count) in bounds_ns().zip(sizes.counts) {
            below = below.saturating_add(count);
            let labels = format!("{labels},le=\"{}\"", seconds(bound));
            self.sample((family.name, "_bucket"), &labels, Number::Count(below));
        }
        let all = format!("{labels},le=\"+Inf\"");
        self.sample((family.name, "_bucket"), &all, Number::Count(sizes.count()));
        self.sample((family.name, "_sum"), &labels, Number::Ns(sizes.sum_ns));
        let count = Number::Count(sizes.count());
        self.sample((family.name, "_count"), &labels, count);
    }
}

/// Labels as they stand in a text, without the braces.
fn written(labels: &[Label]) -> String {
    let mut text = String::new();
    for label in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text += label.name;
        text += "=\"";
        for c in label.value.chars() {
            match c {
                '\\' => text += "\\\\",
                '"' => text += "\\\"",
                '\n' => text += "\\n",
                c => text.push(c),
            }
        }
        text.push('"');
    }
    text
}

/// A help as it is written. Only OpenMetrics has quotes escaped in it.
fn help(form: Form, text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    match form {
        Form::Text => text,
        Form::OpenMetrics => text.replace('"', "\\\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_become_seconds_to_the_last_digit() {
        for (ns, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (1_500_000_000, "1.5"),
            (20_000_000_000, "20"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(seconds(ns), text);
        }
    }

    #[test]
    fn labels_hold_any_text_on_one_line() {
        let text = |name, value| written(&[label(name, value)]);
        assert_eq!(text("a", "b"), "a=\"b\"");
        assert_eq!(text("a", "\\\"x\""), "a=\"\\\\\\\"x\\\"\"");
        let odd = text("a", "new\nline\u{1b}[31m");
        assert!(!odd.contains(['\n', '\u{1b}']), "{odd}");
        assert_eq!(text("a", "größe"), "a=\"größe\"");
        let two = [label("a", "b"), label("c", "")];
        assert_eq!(written(&two), "a=\"b\",c=\"\"");
    }
}
