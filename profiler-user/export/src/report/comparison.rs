//! The page of `diff`: what changed, as bars of ratios with the intervals that they lie in, for each component and edge.
//!
//! In: a [`Diff`]. Out: HTML that needs no script and loads nothing. Must not know: when a number has changed.

use maud::{Markup, html};

use super::super::{diff::signed, text::clip};
use super::frame::{frame, section};
use super::picks::rest;
use super::ratios::Axis;
use courtside_core::{
    model::{
        difference::{Change, Diff, Recorded},
        finding::{Between, Evidence},
        visible::visible,
    },
    parts::Part,
    units::{count, duration, percent},
};

const OWN_STYLE: &str = include_str!("comparison.css");

/// Most changes with a bar.
const MAX_ROWS: usize = 200;
/// Most changes that are told in words.
const MAX_SAID: usize = 5;
/// Most components that are named which only one has.
const MAX_NAMES: usize = 60;
const NAME_WIDTH: usize = 48;

/// What changed, as a page.
#[must_use]
pub fn comparison(diff: &Diff) -> String {
    let title = format!("{} → {}", title(&diff.a), title(&diff.b));
    let header = html! {
        p.sub { "What changed from A to B, by more than windows scatter" }
        (chips(diff))
    };
    let main = html! {
        (verdict(diff))
        @if !diff.changes.is_empty() { (changes(diff)) }
        (compared(diff))
        (reading(diff))
    };
    frame(&title, &[OWN_STYLE], header, main)
}

/// A file without its folders.
fn title(recorded: &Recorded) -> String {
    let name = recorded.file.rsplit('/').next().unwrap_or_default();
    clip(&visible(name), NAME_WIDTH)
}

/// How many got worse, better, or neither.
fn tally(diff: &Diff) -> [usize; 3] {
    [Some(true), Some(false), None]
        .map(|worse| diff.changes.iter().filter(|c| c.worse == worse).count())
}

fn chips(diff: &Diff) -> Markup {
    let [worse, better, neither] = tally(diff);
    let lost = diff.a.lost.saturating_add(diff.b.lost);
    html! {
        ul.chips {
            li { (count(diff.compared)) " numbers compared" }
            li.warn[worse > 0] { (worse) " worse" }
            li { (better) " better" }
            li { (neither) " neither" }
            li.warn[lost > 0] { "lost " (count(lost)) }
        }
    }
}

fn verdict(diff: &Diff) -> Markup {
    let least = percent(diff.ignore_below);
    let worse: Vec<&Change> = diff
        .changes
        .iter()
        .filter(|c| c.worse == Some(true))
        .collect();
    section(
        "verdict",
        "Verdict",
        html! {
            @if diff.changes.is_empty() {
                p.good { "Of " (count(diff.compared)) " numbers none changed by " (least) " or more and by more than its windows scatter." }
            } @else if worse.is_empty() {
                p.good { "Nothing got worse." }
            }
            @for change in worse.iter().take(MAX_SAID) {
                div.finding.warn { p { b { "worse" } " " (change.says) "." } }
            }
            (rest(worse.len().min(MAX_SAID), worse.len(), "numbers that got worse", "the worst", "in the bars below"))
            @if let Some(limit) = diff.fail_above {
                p.more {
                    @if diff.worse { "Something got worse by more than " (percent(limit)) ": exit status 3." }
                    @else { "Nothing got worse by more than " (percent(limit)) "." }
                }
            }
        },
    )
}

/// Whose number it is: a component, or an edge.
type Whose<'a> = (&'a str, Option<&'a Between>);

/// Changes of the same component or edge, in the order in which those come first.
fn groups(changes: &[Change]) -> Vec<(Whose<'_>, Vec<&Change>)> {
    let mut groups: Vec<(Whose<'_>, Vec<&Change>)> = Vec::new();
    for change in changes {
        let whose = (change.component.as_str(), change.edge.as_ref());
        match groups.iter_mut().find(|(known, _)| *known == whose) {
            Some((_, changes)) => changes.push(change),
            None => groups.push((whose, vec![change])),
        }
    }
    groups
}

fn changes(diff: &Diff) -> Markup {
    let shown = diff.changes.get(..MAX_ROWS).unwrap_or(&diff.changes);
    let axis = Axis::of(shown);
    section(
        "changes",
        "What changed",
        html! {
            p.lead {
                "How many times as much it is in B as in A, what got worse first; the axis is logarithmic. The thin line is where the true ratio lies, \
                 with 95 in 100. More of it is worse for times, for CPU time and roundtrips of a request, and for findings; rates, and parts \
                 of a turnaround, which say why it changed, are neither worse nor better."
            }
            ul.legend aria-label="what the colours mean" {
                li { span.swatch.worse {} "worse" }
                li { span.swatch.better {} "better" }
                li { span.swatch.neither {} "neither" }
            }
            table.bars.log {
                thead {
                    tr {
                        th.label { "number" }
                        (axis.head("B / A"))
                        th.n.time { "change" }
                        th.n.was { "A → B" }
                        th.n.p { "by chance" }
                    }
                }
                @for ((component, edge), changes) in groups(shown) {
                    tbody {
                        tr.group {
                            th colspan="5" scope="rowgroup" {
                                @match edge {
                                    Some(edge) => { (name(&edge.from)) " → " (name(&edge.to)) },
                                    None => { (name(component)) " " small { (kind(component)) } },
                                }
                            }
                        }
                        @for change in changes { (row(change, &axis)) }
                    }
                }
            }
            (rest(shown.len(), diff.changes.len(), "changes", "what got worse first", "courtside diff -F json"))
        },
    )
}

fn row(change: &Change, axis: &Axis) -> Markup {
    let class = match change.worse {
        Some(true) => "worse",
        Some(false) => "better",
        None => "neither",
    };
    let value = |value: f64| {
        let (name, unit) = (String::new(), change.unit.clone());
        Evidence { name, value, unit }.how_much()
    };
    html! {
        tr title=(change.says) {
            td.label style=[is_part(&change.field).then_some("--depth:1")] { (words(&change.field)) }
            (axis.bar(class, change.ratio, change.b > change.a, change.interval95))
            td.n.time.(class) {
                @match change.ratio {
                    Some(ratio) => (signed(ratio)),
                    None if change.b > change.a => "more",
                    None => "less",
                }
            }
            td.n.was { (value(change.a)) " → " (value(change.b)) }
            td.n.p { @if change.p < 0.0001 { "<0.0001" } @else { (format!("{:.4}", change.p)) } }
        }
    }
}

/// A component without its kind.
pub(super) fn name(id: &str) -> String {
    let name = id.split_once(':').map_or(id, |(_, name)| name);
    clip(&visible(name), NAME_WIDTH)
}

fn kind(id: &str) -> String {
    let kind = id.split_once(':').map_or("", |(kind, _)| kind);
    clip(&visible(kind), NAME_WIDTH)
}

fn part(field: &str) -> Option<&str> {
    field.strip_prefix("turnaround.")
}

fn is_part(field: &str) -> bool {
    part(field).is_some()
}

/// A number as people call it.
fn words(field: &str) -> String {
    let words = match field {
        "requests_per_s" => "requests a second",
        "service_ns" => "service time",
        "unread_ns" => "time unread",
        "on_cpu_ns_per_request" => "CPU time for each request",
        "turnaround_ns" => "turnaround",
        "latency_ns" => "latency",
        "roundtrips_per_request" => "roundtrips for each request",
        _ => {
            if let Some(name) = part(field) {
                let known = Part::ALL.into_iter().find(|part| part.field() == name);
                return match known {
                    Some(part) => format!("of it {}", part.words()),
                    None => visible(field).into_owned(),
                };
            }
            return match field.strip_prefix("findings.") {
                Some(rule) => format!("windows with {}", visible(rule)),
                None => visible(field).into_owned(),
            };
        }
    };
    words.to_owned()
}

fn compared(diff: &Diff) -> Markup {
    section(
        "compared",
        "What was compared",
        html! {
            div.table {
                table.sides {
                    thead { tr { th {} th { "from" } th.n { "time" } th.n { "windows" } th.n { "requests" } th.n { "lost" } } }
                    tbody {
                        @for (side, recorded) in [("A", &diff.a), ("B", &diff.b)] {
                            tr {
                                td { b { (side) } }
                                td.file {
                                    @if recorded.live { "measured when this page was made" } @else { (visible(&recorded.file)) }
                                }
                                td.n { (duration(recorded.duration_ns)) }
                                td.n { (count(recorded.windows)) }
                                td.n { (count(recorded.requests)) }
                                td.n.warn[recorded.lost > 0] { (count(recorded.lost)) }
                            }
                        }
                    }
                }
            }
            @for (side, recorded) in [("A", &diff.a), ("B", &diff.b)] {
                @if !recorded.only_here.is_empty() {
                    p.more { "Only in " (side) ": " (only(recorded)) "." }
                }
            }
        },
    )
}

fn only(recorded: &Recorded) -> String {
    let ids = &recorded.only_here;
    let names: Vec<_> = ids
        .iter()
        .take(MAX_NAMES)
        .map(|id| clip(&visible(id), NAME_WIDTH))
        .collect();
    match ids.len().saturating_sub(MAX_NAMES) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

fn reading(diff: &Diff) -> Markup {
    section(
        "reading",
        "What to trust",
        html! {
            p {
                "A number has changed when its values in the windows of A and of B differ by more than they scatter: by the rank test of Mann \
                 and Whitney, in less than 1 of 100 comparisons by chance, however many numbers are compared (Holm). Windows that are like the \
                 one before count for less than one each (Bayley and Hammersley). The ratio is the median over all pairs of windows (Hodges \
                 and Lehmann); A and B are medians over windows."
            }
            p {
                "Changes of less than " (percent(diff.ignore_below)) " are left out; parts of a turnaround are held to the whole, time unread to \
                 the service time, and roundtrips for each request need only 2%. What is not here has not changed by that much, or did too little in \
                 one of both to tell."
            }
            p {
                "The same service measured twice is not quite the same: caches, neighbours and the speed of the CPU differ. Measure under the same \
                 load, and more than once, before a change is put down to something."
            }
        },
    )
}

impl Axis {
    /// An axis on which each ratio and its interval can be seen.
    fn of(changes: &[Change]) -> Self {
        Self::that_shows(changes.iter().flat_map(|change| {
            let ends = change.interval95.into_iter().flatten();
            change.ratio.into_iter().chain(ends)
        }))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::ratios::{APART, LADDER};
    use super::*;

    fn change(component: &str, to: Option<&str>, field: &str, ratio: Option<f64>) -> Change {
        Change {
            component: component.to_owned(),
            edge: to.map(|to| Between {
                from: component.to_owned(),
                to: to.to_owned(),
            }),
            field: field.to_owned(),
            unit: "ns".to_owned(),
            a: 1_310_000.0,
            b: 1_310_000.0 * ratio.unwrap_or(2.0),
            ratio,
            interval95: ratio.map(|ratio| [ratio * 0.95, ratio * 1.05]),
            p: 1e-9,
            worse: ratio.map(|ratio| ratio > 1.0),
            says: format!("{component}: {field} is not as it was"),
        }
    }

    fn diff(changes: Vec<Change>) -> Diff {
        let recorded = |file: &str| Recorded {
            file: file.to_owned(),
            windows: 60,
            duration_ns: 60_000_000_000,
            requests: 72_240,
            ..Recorded::default()
        };
        Diff {
            a: recorded("/tmp/before.rec"),
            b: recorded("after.rec"),
            compared: 48,
            worse: changes.iter().any(|change| change.worse == Some(true)),
            changes,
            ignore_below: 0.1,
            fail_above: Some(0.1),
            ..Diff::default()
        }
    }

    /// Something of everything.
    pub(in super::super) fn many() -> Diff {
        let long = format!("container:{}", "a-very-long-name-".repeat(8));
        let mut all = vec![
            change("program:app", None, "service_ns", Some(1.25)),
            change(
                "program:app",
                Some("container:store"),
                "latency_ns",
                Some(3.4),
            ),
            change("program:app", None, "turnaround.run_queue_ns", Some(12.0)),
            change("program:app", None, "findings.run_queue", None),
            change("program:app", None, "unread_ns", Some(0.4)),
            change(&long, Some(&long), "roundtrips_per_request", Some(1.03)),
            change(
                "remote:[2001:db8::1]:443",
                None,
                "requests_per_s",
                Some(0.0),
            ),
        ];
        all[2].worse = None;
        all[3].worse = Some(true);
        all[6].worse = None;
        let mut diff = diff(all);
        diff.b.only_here = vec!["program:new".to_owned(), long];
        diff.b.lost = 17;
        diff
    }

    #[test]
    fn a_bar_goes_from_the_same_to_the_ratio_with_its_interval_across() {
        let page = comparison(&diff(vec![change(
            "program:app",
            None,
            "service_ns",
            Some(1.5),
        )]));
        // The axis ends at twice as much.
        let at = |ratio: f64| 50.0 + 50.0 * ratio.ln() / 2f64.ln();
        let bar = format!(
            "<span class=\"worse\" style=\"left:50.00%;width:{:.2}%\">",
            at(1.5) - 50.0
        );
        assert!(page.contains(&bar), "{bar}");
        let (low, high) = (at(1.5 * 0.95), at(1.5 * 1.05));
        let between = format!(
            "<span class=\"between\" style=\"left:{low:.2}%;width:{:.2}%\">",
            high - low
        );
        assert!(page.contains(&between), "{between}");
        assert!(page.contains("<td class=\"n time worse\">+50%</td>"));
        assert!(page.contains("1.31 ms → 1.9") && page.contains("service time"));
        assert!(page.contains("<h1>before.rec → after.rec</h1>"));
        // The other way round it goes back from there, and is better.
        let page = comparison(&diff(vec![change(
            "program:app",
            None,
            "service_ns",
            Some(0.5),
        )]));
        assert!(page.contains("<span class=\"better\" style=\"left:") && page.contains("-50%"));
    }

    #[test]
    fn what_belongs_together_stands_together_and_nothing_is_left_out() {
        let page = comparison(&many());
        assert_eq!(page.matches("<tr class=\"group\">").count(), 4);
        assert_eq!(page.matches("<span class=\"between\"").count(), 6);
        for says in [
            "app → store",
            "of it run queue",
            "windows with run_queue",
            "Only in B: program:new",
            "worse open",
            "lost 17",
            "exit status 3",
        ] {
            assert!(page.contains(says), "{says}");
        }
        let all = (0..MAX_ROWS + 50)
            .map(|n| change(&format!("program:c{n}"), None, "latency_ns", Some(2.0)));
        let page = comparison(&diff(all.collect()));
        assert!(page.contains("200 of 250 changes are shown"));
        assert!(page.contains("5 of 250 numbers that got worse are shown"));
        assert!(page.len() < 400_000, "{}", page.len());
    }

    #[test]
    fn no_change_is_said_in_words_and_what_is_measured_now_is_called_so() {
        let mut same = diff(Vec::new());
        same.b.file = "now".to_owned();
        same.b.live = true;
        let page = comparison(&same);
        assert!(page.contains("Of 48 numbers none changed by 10% or more"));
        assert!(page.contains("Nothing got worse by more than 10%."));
        assert!(
            page.contains("before.rec → now") && page.contains("measured when this page was made")
        );
        assert!(!page.contains("id=\"changes\""));
        let better = comparison(&diff(vec![change(
            "program:a",
            None,
            "latency_ns",
            Some(0.5),
        )]));
        assert!(better.contains("Nothing got worse."));
    }

    #[test]
    fn no_name_leaves_its_place_and_nothing_is_fetched() {
        const HOSTILE: &str =
            "</style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--";
        let id = format!("program:{HOSTILE}");
        let mut diff = diff(vec![change(&id, Some(&id), HOSTILE, Some(2.0))]);
        diff.a.file = HOSTILE.to_owned();
        diff.b.only_here = vec![id];
        let page = comparison(&diff);
        for harm in ["<script", "<img", "</style><"] {
            let known = usize::from(harm == "</style><");
            assert_eq!(page.matches(harm).count(), known, "{harm}");
        }
        for way in ["@import", "url(", "http://", "https://"] {
            assert!(!page.contains(way), "{way}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn an_axis_has_few_marks_that_do_not_run_into_each_other() {
        for most in LADDER {
            let axis = Axis { most };
            let marks = axis.marks();
            assert!((3..=7).contains(&marks.len()), "{most}: {marks:?}");
            let places: Vec<f64> = marks.iter().map(|(ratio, _)| axis.at(*ratio)).collect();
            assert!(
                places.windows(2).all(|two| two[1] - two[0] >= APART - 1e-9),
                "{places:?}"
            );
            let (first, last) = (places[0], places[places.len() - 1]);
            assert!(
                first.abs() < 1e-9 && (last - 100.0).abs() < 1e-9,
                "{places:?}"
            );
        }
        let names: Vec<String> = Axis { most: 3.0 }
            .marks()
            .into_iter()
            .map(|mark| mark.1)
            .collect();
        assert_eq!(names, ["×0.33", "×0.5", "same", "×2", "×3"]);
        let axis = Axis::of(&[change("a", None, "latency_ns", Some(0.0))]);
        assert_eq!((axis.most, axis.at(0.0)), (1.25, 0.0));
    }
}
