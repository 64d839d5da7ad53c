//! The table of `tail`: the slow requests, what they have more of than the median, and the slowest one by one.
//!
//! In: a [`Tail`]. Out: text for a terminal or a file. Must not know: how a request is followed.

use std::time::{Duration, UNIX_EPOCH};

use courtside_core::{
    model::{
        tail::{By, Difference, Exemplar, Tail, TailCourt},
        visible::visible,
    },
    parts::Part,
    units::{UNKNOWN, count, duration, duration_f64, percent},
};
use humantime::format_rfc3339_millis;

use super::Style;
use super::text::{
    ALARM, BOLD, DIM, Grid, GridColumn, HEAD, Line, PLAIN, WARN, clip, flow, joined,
};

/// Most differences that are shown.
const MAX_ROWS: usize = 20;
/// Most requests that are shown one by one.
const MAX_EXEMPLARS: usize = 10;
const NAME_WIDTH: usize = 28;
/// Those whose doing it is, and parts of a request, that are named.
const MAX_NAMES: usize = 3;
/// A difference of at least this share of the whole is what to look at.
const GREAT: f64 = 0.2;

/// The answer as text, with a newline at the end.
#[must_use]
pub fn render(tail: &Tail, style: Style) -> String {
    let blocks = [
        heading(tail, style),
        differences(tail, style),
        exemplars(tail, style),
        remarks(tail, style),
    ];
    joined(blocks, style)
}

/// What people call a component.
pub(crate) fn name(id: &str) -> String {
    let name = id.split_once(':').map_or(id, |(_, name)| name);
    clip(&visible(name), NAME_WIDTH)
}

fn heading(tail: &Tail, style: Style) -> Vec<Line> {
    let entry = match tail.port {
        0 => name(&tail.entry),
        port => format!("{}:{port}", name(&tail.entry)),
    };
    let source = &tail.source;
    let lost = source.lost.values().copied().fold(0, u64::saturating_add);
    let of = |text: String| Line::new(PLAIN, text);
    let mut lines = flow(
        vec![
            Line::new(BOLD, entry),
            of(format!("{} requests", count(tail.requests))),
            of(format!(
                "{} in {} windows, {} events",
                duration(source.duration_ns),
                count(source.windows),
                count(source.events)
            )),
            Line::new(
                if lost > 0 { WARN } else { PLAIN },
                format!("lost {}", count(lost)),
            ),
        ],
        "   ",
        style.width,
    );
    let service = &tail.service_ns;
    lines.extend(flow(
        vec![
            of(format!("service time p50 {}", duration(service.p50_ns))),
            of(format!("p90 {}", duration(service.p90_ns))),
            of(format!("p99 {}", duration(service.p99_ns))),
            of(format!("max {}", duration(service.max_ns))),
        ],
        "   ",
        style.width,
    ));
    let mut slow = Line::new(BOLD, format!("slow {}", duration_f64(tail.slow.mean_ns)));
    slow.push(
        PLAIN,
        format!(
            ": the slowest {}, {} requests of {} or more",
            percent(tail.slow_share),
            count(tail.slow.count),
            duration(tail.threshold_ns)
        ),
    );
    let mut median = Line::new(
        BOLD,
        format!("median {}", duration_f64(tail.median.mean_ns)),
    );
    median.push(
        PLAIN,
        format!(": the middle fifth, {} requests", count(tail.median.count)),
    );
    lines.extend(flow(vec![slow, median], "   ", style.width));
    lines
}

fn grid(columns: &[(&str, bool, u8)], rows: Vec<Vec<Line>>) -> Grid {
    let column = |&(title, right, rank): &(&str, bool, u8)| GridColumn {
        title: Line::new(HEAD, title),
        right,
        rank,
    };
    Grid {
        columns: columns.iter().map(column).collect(),
        rows,
    }
}

fn differences(tail: &Tail, style: Style) -> Vec<Line> {
    let shown = tail.differences.iter().take(MAX_ROWS);
    let rows: Vec<_> = shown.map(|row| difference(tail, row)).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let columns = [
        ("WHERE", false, 0),
        ("WHAT", false, 0),
        ("SLOW", true, 1),
        ("MEDIAN", true, 1),
        ("MORE", true, 0),
        ("SHARE", true, 0),
        ("SEEN IN", true, 2),
        ("BY WHOM", false, 3),
    ];
    let mut lines = grid(&columns, rows).lines(style.width);
    let more = tail.differences.len().saturating_sub(MAX_ROWS);
    if more > 0 {
        lines.push(Line::new(
            DIM,
            format!("… {more} more differences (all of them: -F json)"),
        ));
    }
    lines
}

fn difference(tail: &Tail, difference: &Difference) -> Vec<Line> {
    let style = match difference.share {
        Some(share) if share >= GREAT => ALARM,
        _ => PLAIN,
    };
    let time = |ns: f64| Line::new(PLAIN, signed(ns));
    vec![
        Line::new(
            PLAIN,
            difference
                .component
                .as_deref()
                .map_or_else(|| "between them".to_owned(), name),
        ),
        Line::new(PLAIN, words(&difference.part)),
        time(difference.slow_ns),
        time(difference.median_ns),
        Line::new(style, signed(difference.more_ns)),
        Line::new(
            style,
            difference
                .share
                .map_or_else(|| UNKNOWN.to_owned(), signed_percent),
        ),
        Line::new(
            PLAIN,
            format!(
                "{} of {}",
                count(difference.seen_in),
                count(tail.slow.count)
            ),
        ),
        Line::new(PLAIN, by_whom(&difference.by)),
    ]
}

/// A part in running text.
pub(crate) fn words(part: &str) -> String {
    let known = Part::ALL
        .into_iter()
        .find(|known| known.field().strip_suffix("_ns") == Some(part));
    known.map_or_else(
        || visible(part).into_owned(),
        |part| part.words().to_owned(),
    )
}

/// A time that may be less than nothing.
pub(crate) fn signed(ns: f64) -> String {
    match ns {
        0.0 => "0".to_owned(),
        ns if ns < 0.0 => format!("-{}", duration_f64(-ns)),
        ns => duration_f64(ns),
    }
}

fn signed_percent(share: f64) -> String {
    if share >= 0.0 || share.is_nan() {
        return percent(share);
    }
    let less = percent(-share);
    match less.strip_prefix('<') {
        Some(least) => format!(">-{least}"),
        None => format!("-{less}"),
    }
}

/// Whose doing it is, the greatest first.
pub(crate) fn by_whom(by: &[By]) -> String {
    let more = by.iter().filter(|by| by.ns > 0.0);
    let named: Vec<String> = more
        .take(MAX_NAMES)
        .map(|by| format!("{} {}", name(&by.component), duration_f64(by.ns)))
        .collect();
    named.join(", ")
}

fn exemplars(tail: &Tail, style: Style) -> Vec<Line> {
    let shown = tail.exemplars.iter().take(MAX_EXEMPLARS);
    let rows: Vec<_> = shown.map(exemplar).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let columns = [
        ("ARRIVED (UTC)", false, 0),
        ("SERVICE", true, 0),
        ("MOST OF IT", false, 0),
        ("WOKEN BY", false, 1),
    ];
    grid(&columns, rows).lines(style.width)
}

fn exemplar(exemplar: &Exemplar) -> Vec<Line> {
    let waker = exemplar.waker.as_ref().map_or_else(String::new, |waker| {
        let who = match waker.tid {
            0 => String::new(),
            tid => {
                let comm = waker.comm.as_deref().unwrap_or("?");
                format!(" ({} {tid})", clip(&visible(comm), 16))
            }
        };
        format!("{}{who}", name(&waker.component))
    });
    vec![
        Line::new(PLAIN, time_of_day(exemplar.start_unix_ns)),
        Line::new(PLAIN, duration(exemplar.service_ns)),
        Line::new(PLAIN, most_of_it(exemplar)),
        Line::new(PLAIN, waker),
    ]
}

/// When it was, in UTC.
pub(crate) fn when(unix_ns: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_nanos(unix_ns);
    format_rfc3339_millis(time).to_string()
}

/// The same without the day.
fn time_of_day(unix_ns: u64) -> String {
    let when = when(unix_ns);
    when.get(11..23).unwrap_or(&when).to_owned()
}

/// The greatest parts of a request.
pub(crate) fn most_of_it(exemplar: &Exemplar) -> String {
    let mut all: Vec<(f64, String)> = exemplar.courts.iter().flat_map(parts).collect();
    all.push((exemplar.network_ns, "network".to_owned()));
    all.push((exemplar.other_ns, "other".to_owned()));
    all.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let least_ns = exemplar.service_ns as f64 / 20.0;
    let great = all.into_iter().filter(|(ns, _)| *ns >= least_ns);
    let named: Vec<String> = great
        .take(MAX_NAMES)
        .map(|(ns, what)| format!("{what} {}", duration_f64(ns)))
        .collect();
    named.join(", ")
}

fn parts(court: &TailCourt) -> Vec<(f64, String)> {
    let TailCourt { court, .. } = court;
    let component = name(&court.component);
    let own = court.parts.into_iter();
    let mut parts: Vec<_> = own
        .map(|(part, ns)| (ns, format!("{component} {}", part.words())))
        .collect();
    let remote_ns = court.turnaround_ns - court.parts.total_ns();
    parts.push((remote_ns, component.clone()));
    parts.push((
        court.unread_ns.unwrap_or(0.0),
        format!("{component} unread"),
    ));
    parts.push((court.held_ns.unwrap_or(0.0), format!("{component} held")));
    parts
}

fn remarks(tail: &Tail, style: Style) -> Vec<Line> {
    let said = tail.not_told.iter().map(|not_told| &not_told.says);
    let texts = said.chain(&tail.remarks);
    let words = |text: &String| -> Vec<Line> {
        let text = visible(text);
        let mut words = text.split_whitespace();
        let first = words.next().map(|word| Line::new(DIM, format!("- {word}")));
        let rest = words.map(|word| Line::new(DIM, clip(word, 80)));
        first.into_iter().chain(rest).collect()
    };
    texts
        .flat_map(|text| flow(words(text), " ", style.width))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use courtside_core::{
        model::{
            snapshot::{Court, Dist},
            tail::{NotTold, TAIL_SCHEMA, TailGroup, TailSource, Waker},
        },
        parts::Parts,
    };

    use super::*;

    fn court(id: &str, parts: &[(Part, f64)]) -> TailCourt {
        let parts: Parts<f64> = parts.iter().copied().collect();
        TailCourt {
            court: Court {
                component: id.to_owned(),
                unread_ns: Some(0.0),
                turnaround_ns: parts.total_ns(),
                parts,
                held_ns: Some(0.0),
                held_unknown: None,
            },
            ..TailCourt::default()
        }
    }

    fn by(who: &str, ns: f64) -> By {
        By {
            component: who.to_owned(),
            ns,
        }
    }

    fn difference(id: Option<&str>, part: &str, ns: f64, by: Vec<By>) -> Difference {
        Difference {
            component: id.map(str::to_owned),
            part: part.to_owned(),
            more_ns: ns,
            slow_ns: ns.max(0.0) + 1000.0,
            median_ns: ns.max(0.0) + 1000.0 - ns,
            share: Some(ns / 5e6),
            seen_in: 12,
            by,
            says: String::new(),
        }
    }

    pub(crate) fn tail() -> Tail {
        let web = "program:web\u{1b}[31m";
        Tail {
            schema: TAIL_SCHEMA.to_owned(),
            source: TailSource {
                files: vec!["x.rec".to_owned()],
                windows: 60,
                duration_ns: 60_000_000_000,
                events: 1_234_567,
                lost: [("events".to_owned(), 12)].into(),
            },
            entry: web.to_owned(),
            port: 80,
            requests: 1234,
            untimed: 3,
            unfinished: 0,
            service_ns: Dist {
                p50_ns: 90_000,
                p90_ns: 100_000,
                p99_ns: 5_000_000,
                max_ns: 6_000_000,
                ..Dist::default()
            },
            slow_share: 0.0105,
            threshold_ns: 4_900_000,
            slow: TailGroup {
                count: 13,
                mean_ns: 5_090_000.0,
                ..TailGroup::default()
            },
            median: TailGroup {
                count: 246,
                mean_ns: 90_000.0,
                ..TailGroup::default()
            },
            differences: vec![
                difference(
                    Some(web),
                    "sleep",
                    4e6,
                    vec![by("program:batch", 3.9e6), by("interrupt", 1e5)],
                ),
                difference(
                    Some("program:store"),
                    "run_queue",
                    1.1e6,
                    vec![by("program:hog", 1.2e6), by("idle", -1e5)],
                ),
                difference(None, "network", -1e5, Vec::new()),
            ],
            exemplars: vec![Exemplar {
                start_unix_ns: 1_700_000_000_123_000_000,
                service_ns: 6_000_000,
                courts: vec![
                    court(web, &[(Part::Sleep, 4_900_000.0), (Part::OnCpu, 1000.0)]),
                    court("program:store", &[(Part::RunQueue, 1e6)]),
                ],
                network_ns: 2e3,
                other_ns: 0.0,
                waker: Some(Waker {
                    component: "program:batch".to_owned(),
                    tid: 50,
                    comm: Some("batch".to_owned()),
                    sleeper: web.to_owned(),
                    sleep_ns: 4_900_000,
                }),
            }],
            not_told: vec![NotTold {
                says: "web: 7 of 80 turnarounds cannot be told to belong to one request".to_owned(),
                ..NotTold::default()
            }],
            remarks: vec!["12 lost while recording".to_owned()],
        }
    }

    #[test]
    fn what_makes_requests_slow_stands_in_rows_and_controls_no_terminal() {
        let text = render(&tail(), Style::default());
        insta::assert_snapshot!(text);
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn on_a_narrow_screen_columns_give_way() {
        let style = Style {
            width: Some(60),
            ..Style::default()
        };
        let text = render(&tail(), style);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(!text.contains("BY WHOM") && text.contains("MORE"), "{text}");
    }

    #[test]
    fn a_share_that_is_a_little_less_is_more_than_its_least() {
        let shown = [0.4, 0.0, -0.004, -0.0001].map(signed_percent);
        assert_eq!(shown, ["40%", "0%", "-0.4%", ">-0.1%"]);
        assert_eq!(signed_percent(f64::NAN), UNKNOWN);
    }
}
