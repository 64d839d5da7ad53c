//! The tables of `model`: a profile, a prediction with its curve, placements compared.
//!
//! In: a [`Profile`], a [`Prediction`] or a [`Placement`]. Out: text for a terminal or a file. Must not know: how they are made.

use courtside_core::{
    model::{
        placement::{Candidate, Placement},
        prediction::{Placed, Predicted, Prediction, PredictionPoint, Resource, RestsOn},
        profile::{Fit, Form, Profile, ProfiledComponent, ProfiledEdge},
        visible::visible,
    },
    units::{UNKNOWN, bytes_f64, count, duration_f64, percent, rate, ratio},
};

use super::Style;
use super::text::{
    ALARM, BOLD, DIM, Grid, GridColumn, HEAD, Line, PLAIN, WARN, clip, flow, joined,
};

/// Most rows of a table.
const MAX_ROWS: usize = 60;
const NAME_WIDTH: usize = 28;
/// Columns of the curve.
const CURVE_WIDTH: usize = 24;
/// Most sentences about what is not known or assumed.
const MAX_SENTENCES: usize = 16;

/// The profile as text, with a newline at the end.
#[must_use]
pub fn profile(profile: &Profile, style: Style) -> String {
    let unknown = profile
        .unknown
        .iter()
        .map(|unknown| format!("{}: {}", unknown.field, unknown.reason));
    let remarks: Vec<String> = profile.remarks.iter().cloned().chain(unknown).collect();
    let blocks = [
        title(
            "profile of",
            &profile.entry,
            profile.rate_range_per_s,
            style,
        ),
        sources(profile, style),
        components(profile, style),
        edges(profile, style),
        sentences("Not known", &remarks, style),
    ];
    joined(blocks, style)
}

/// The prediction as text, with a newline at the end.
#[must_use]
pub fn prediction(prediction: &Prediction, style: Style) -> String {
    let mut head = title(
        "prediction for",
        &prediction.entry,
        prediction.rate_range_per_s,
        style,
    );
    head.extend(rests_on(&prediction.rests_on, style));
    let blocks = [
        head,
        saturation(prediction, style),
        points(prediction, style),
        utilisations(prediction, style),
        where_to(&prediction.placement, style),
        sentences("Assumed", &prediction.assumed, style),
    ];
    joined(blocks, style)
}

/// The placements as text, with a newline at the end.
#[must_use]
pub fn placement(placement: &Placement, style: Style) -> String {
    let mut head = title(
        "placement for",
        &placement.entry,
        placement.rate_range_per_s,
        style,
    );
    head.extend(rests_on(&placement.rests_on, style));
    let mut wanted = vec![format!("wanted {}/s", rate(placement.rate_per_s))];
    if !placement.inside_fitted_range {
        wanted.push("outside the fitted rates".to_owned());
    }
    if let Some(limit) = placement.mean_limit_ns {
        wanted.push(format!("a mean of at most {}", duration_f64(limit)));
    }
    if let Some(limit) = placement.p95_limit_ns {
        wanted.push(format!("95 in 100 within {}", duration_f64(limit)));
    }
    let wanted = wanted.into_iter().map(|text| Line::new(PLAIN, text));
    head.extend(flow(wanted.collect(), "   ", style.width));
    let blocks = [
        head,
        compared(placement, style),
        where_to(&placement.best.placement, style),
        sentences("Assumed", &placement.assumed, style),
    ];
    joined(blocks, style)
}

fn name(id: &str) -> String {
    let name = id.split_once(':').map_or(id, |(_, name)| name);
    clip(&visible(name), NAME_WIDTH)
}

fn column(title: &str, right: bool, rank: u8) -> GridColumn {
    GridColumn {
        title: Line::new(HEAD, title),
        right,
        rank,
    }
}

fn plain(text: impl Into<String>) -> Line {
    Line::new(PLAIN, text)
}

fn time(ns: Option<f64>) -> Line {
    plain(ns.map_or_else(|| UNKNOWN.to_owned(), duration_f64))
}

fn title(what: &str, entry: &str, [low, high]: [f64; 2], style: Style) -> Vec<Line> {
    let mut first = Line::new(BOLD, what);
    first.push(BOLD, format!(" {}", clip(&visible(entry), 60)));
    let fitted = format!("fitted from {} to {} requests/s", rate(low), rate(high));
    flow(vec![first, plain(fitted)], "   ", style.width)
}

fn rests_on(rests: &RestsOn, style: Style) -> Vec<Line> {
    let s = if rests.recordings == 1 { "" } else { "s" };
    let lost = if rests.lost > 0 { WARN } else { PLAIN };
    let pieces = vec![
        plain(format!("{} recording{s}", count(rests.recordings))),
        plain(format!("{} windows", count(rests.windows))),
        plain(format!("{} requests", count(rests.requests))),
        Line::new(lost, format!("lost {}", count(rests.lost))),
    ];
    flow(pieces, "   ", style.width)
}

fn sources(profile: &Profile, style: Style) -> Vec<Line> {
    let rows = profile.sources.iter().take(MAX_ROWS).map(|source| {
        let lost = if source.lost > 0 { WARN } else { PLAIN };
        vec![
            plain(clip(&visible(&source.file), 48)),
            plain(count(source.windows)),
            plain(count(source.requests)),
            plain(rate(source.rate_per_s)),
            Line::new(lost, count(source.lost)),
            Line::new(
                ALARM,
                if source.left_out.is_some() {
                    "left out"
                } else {
                    ""
                },
            ),
        ]
    });
    let grid = Grid {
        columns: vec![
            column("RECORDING", false, 0),
            column("WINDOWS", true, 2),
            column("REQUESTS", true, 1),
            column("REQ/s", true, 0),
            column("LOST", true, 3),
            column("", false, 0),
        ],
        rows: rows.collect(),
    };
    grid.lines(style.width)
}

fn components(profile: &Profile, style: Style) -> Vec<Line> {
    let mut rows: Vec<Vec<Line>> = profile
        .components
        .iter()
        .take(MAX_ROWS)
        .map(component)
        .collect();
    if let Some(node) = profile.nodes.first()
        && let Some(other) = &node.other_cpu
    {
        let mut row = vec![Line::new(DIM, "(everything else)"), plain(UNKNOWN)];
        row.extend(fit(Some(other)));
        row.extend([UNKNOWN; 4].map(plain));
        rows.push(row);
    }
    let grid = Grid {
        columns: vec![
            column("COMPONENT", false, 0),
            column("VISITS", true, 1),
            column("CPU/req", true, 0),
            column("95 IN 100", true, 3),
            column("CPU IDLE", true, 4),
            column("R2", true, 5),
            column("FORM", false, 6),
            column("HOLDING", true, 2),
            column("DISK", true, 7),
            column("SWITCHES", true, 8),
            column("BYTES", true, 9),
        ],
        rows,
    };
    let mut lines = grid.lines(style.width);
    let more = profile.components.len().saturating_sub(MAX_ROWS);
    if more > 0 {
        let text = format!("… {more} more components (all of them: -F json)");
        lines.push(Line::new(DIM, text));
    }
    lines
}

/// CPU time for a request, its interval, CPU time without any, how well that fits.
fn fit(fit: Option<&Fit>) -> [Line; 5] {
    let Some(fit) = fit else {
        return [UNKNOWN; 5].map(plain);
    };
    let interval = match fit.interval95 {
        Some([low, high]) => format!("{} … {}", duration_f64(low), duration_f64(high)),
        None => UNKNOWN.to_owned(),
    };
    let (style, form) = match fit.form {
        Form::Linear => (PLAIN, "line"),
        Form::Isotonic => (WARN, "rising"),
        Form::Table => (WARN, "table"),
    };
    [
        plain(duration_f64(fit.per_request)),
        plain(interval),
        plain(percent((fit.per_second / 1e9).max(0.0))),
        plain(
            fit.r2
                .map_or_else(|| UNKNOWN.to_owned(), |r2| format!("{r2:.3}")),
        ),
        Line::new(style, form),
    ]
}

fn component(component: &ProfiledComponent) -> Vec<Line> {
    let each = |fit: &Option<Fit>| fit.as_ref().map(|fit| fit.per_request);
    let mut row = vec![
        plain(name(&component.id)),
        plain(ratio(component.visits_per_request)),
    ];
    row.extend(fit(component.cpu.as_ref()));
    row.extend([
        time(each(&component.holding)),
        time(each(&component.disk)),
        plain(ratio(each(&component.switches))),
        plain(each(&component.network_bytes).map_or_else(|| UNKNOWN.to_owned(), bytes_f64)),
    ]);
    row
}

fn edges(profile: &Profile, style: Style) -> Vec<Line> {
    if profile.edges.is_empty() {
        return Vec::new();
    }
    let row = |edge: &ProfiledEdge| {
        let parallel = match edge.parallel {
            Some(true) => "in parallel",
            _ => "",
        };
        vec![
            plain(format!("{} → {}", name(&edge.from), name(&edge.to))),
            plain(ratio(edge.roundtrips_per_request)),
            plain(ratio(Some(edge.messages_per_request))),
            plain(bytes_f64(edge.bytes_per_request)),
            time(edge.latency_ns),
            time(edge.network_ns),
            plain(parallel),
        ]
    };
    let grid = Grid {
        columns: vec![
            column("EDGE", false, 0),
            column("RT/req", true, 0),
            column("MSG/req", true, 2),
            column("BYTES/req", true, 3),
            column("LATENCY", true, 1),
            column("NETWORK", true, 1),
            column("", false, 4),
        ],
        rows: profile.edges.iter().take(MAX_ROWS).map(row).collect(),
    };
    grid.lines(style.width)
}

fn saturation(prediction: &Prediction, style: Style) -> Vec<Line> {
    let Some(end) = &prediction.saturation else {
        let why = prediction.saturation_unknown.as_deref();
        let why = why.unwrap_or("no resource is known that is used up at any rate");
        let mut lines = vec![Line::new(
            WARN,
            "At which rate it saturates cannot be told:",
        )];
        lines.extend(sentence(why, style));
        return lines;
    };
    let mut pieces = vec![Line::new(
        BOLD,
        format!("saturates at {}/s", rate(end.rate_per_s)),
    )];
    pieces.push(plain(match end.interval95 {
        Some([low, high]) => format!("95 in 100: {} … {}", rate(low), rate(high)),
        None => "how far that may be off is not known".to_owned(),
    }));
    if !end.inside_fitted_range {
        pieces.push(Line::new(WARN, "outside the fitted rates"));
    }
    let mut lines = flow(pieces, "   ", style.width);
    lines.push(plain(clip(&end.says, 120)));
    lines
}

fn points(prediction: &Prediction, style: Style) -> Vec<Line> {
    let longest = prediction
        .points
        .iter()
        .filter_map(|point| point.full.p95_ns.or(point.full.mean_ns))
        .fold(0.0, f64::max);
    let grid = Grid {
        columns: vec![
            column("REQ/s", true, 0),
            column("", false, 1),
            column("USED", true, 2),
            column("BASE", true, 4),
            column("+REMOTE", true, 5),
            column("FULL", true, 0),
            column("95 IN 100", true, 6),
            column("p50", true, 3),
            column("p95", true, 1),
            column("p99", true, 3),
            column("MEAN█ P95░", false, 7),
        ],
        rows: prediction
            .points
            .iter()
            .take(MAX_ROWS)
            .map(|point| row(point, longest))
            .collect(),
    };
    let mut lines = grid.lines(style.width);
    let mut reasons: Vec<String> = Vec::new();
    for point in &prediction.points {
        for predicted in [&point.base, &point.with_remote_invocation, &point.full] {
            if let Some(reason) = &predicted.reason
                && !reasons.contains(reason)
            {
                reasons.push(reason.clone());
            }
        }
    }
    for reason in reasons.iter().take(MAX_SENTENCES) {
        lines.extend(sentence(&format!("- {reason}"), style));
    }
    lines
}

fn row(point: &PredictionPoint, longest: f64) -> Vec<Line> {
    let full = &point.full;
    let used = point.utilisation.iter().map(|used| used.share);
    let used = used.fold(0.0, f64::max);
    let between = match full.mean_interval95_ns {
        Some([low, high]) => format!("{} … {}", duration_f64(low), duration_f64(high)),
        None => UNKNOWN.to_owned(),
    };
    let mean = |predicted: &Predicted| time(predicted.mean_ns);
    vec![
        plain(rate(point.rate_per_s)),
        Line::new(
            WARN,
            if point.inside_fitted_range {
                ""
            } else {
                "outside"
            },
        ),
        Line::new(if used >= 1.0 { ALARM } else { PLAIN }, percent(used)),
        mean(&point.base),
        mean(&point.with_remote_invocation),
        mean(full),
        plain(between),
        time(full.p50_ns),
        time(full.p95_ns),
        time(full.p99_ns),
        curve(full, longest),
    ]
}

/// Mean and P95 as a bar, the longest of all the whole width.
fn curve(full: &Predicted, longest: f64) -> Line {
    let cells = |ns: Option<f64>| match ns {
        Some(ns) if longest > 0.0 => (ns / longest * CURVE_WIDTH as f64).round() as usize,
        _ => 0,
    };
    let mean = cells(full.mean_ns).min(CURVE_WIDTH);
    let p95 = cells(full.p95_ns).clamp(mean, CURVE_WIDTH);
    plain(format!("{}{}", "█".repeat(mean), "░".repeat(p95 - mean)))
}

/// What is used at the highest rate that is asked for.
fn utilisations(prediction: &Prediction, style: Style) -> Vec<Line> {
    let Some(point) = prediction
        .points
        .iter()
        .max_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s))
    else {
        return Vec::new();
    };
    let mut pieces = vec![Line::new(
        BOLD,
        format!("used at {}/s", rate(point.rate_per_s)),
    )];
    for used in point.utilisation.iter().take(MAX_ROWS) {
        let whose = match (&used.component, used.resource) {
            (Some(component), Resource::Threads) => name(component),
            _ => clip(&visible(&used.node), NAME_WIDTH),
        };
        let text = format!("{whose} {} {}", used.resource.name(), percent(used.share));
        pieces.push(Line::new(
            if used.share >= 1.0 { ALARM } else { PLAIN },
            text,
        ));
    }
    flow(pieces, "   ", style.width)
}

fn where_to(placed: &[Placed], style: Style) -> Vec<Line> {
    let mut nodes: Vec<&str> = placed.iter().map(|placed| placed.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let mut lines = Vec::new();
    for node in nodes.into_iter().take(MAX_ROWS) {
        let mut pieces = vec![Line::new(BOLD, clip(&visible(node), NAME_WIDTH))];
        let own = placed.iter().filter(|placed| placed.node == node);
        pieces.extend(own.map(|placed| plain(name(&placed.component))));
        lines.extend(flow(pieces, "  ", style.width));
    }
    lines
}

fn compared(placement: &Placement, style: Style) -> Vec<Line> {
    let row = |candidate: &Candidate| {
        let best = candidate.method == placement.best.method;
        let throughput = candidate
            .throughput_per_s
            .map_or_else(|| UNKNOWN.to_owned(), rate);
        vec![
            Line::new(if best { BOLD } else { PLAIN }, candidate.method.words()),
            Line::new(
                if candidate.meets { PLAIN } else { ALARM },
                if candidate.meets { "yes" } else { "no" },
            ),
            plain(rate(candidate.cost)),
            plain(count(u64::from(candidate.nodes))),
            plain(throughput),
            time(candidate.mean_ns),
            time(candidate.p95_ns),
            plain(count(candidate.tried)),
            Line::new(DIM, clip(candidate.says.as_deref().unwrap_or(""), 60)),
        ]
    };
    let grid = Grid {
        columns: vec![
            column("HOW", false, 0),
            column("MEETS", false, 0),
            column("COST", true, 0),
            column("NODES", true, 1),
            column("UP TO/s", true, 0),
            column("MEAN", true, 1),
            column("p95", true, 2),
            column("TRIED", true, 4),
            column("", false, 3),
        ],
        rows: placement.compared.iter().map(row).collect(),
    };
    grid.lines(style.width)
}

fn sentence(text: &str, style: Style) -> Vec<Line> {
    let words = text.split_whitespace();
    let words = words.map(|word| Line::new(DIM, clip(&visible(word), 80)));
    flow(words.collect(), " ", style.width)
}

fn sentences(title: &str, texts: &[String], style: Style) -> Vec<Line> {
    if texts.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![Line::new(BOLD, title)];
    for text in texts.iter().take(MAX_SENTENCES) {
        lines.extend(sentence(&format!("- {text}"), style));
    }
    let more = texts.len().saturating_sub(MAX_SENTENCES);
    if more > 0 {
        let text = format!("… {more} more (all of them: -F json)");
        lines.push(Line::new(DIM, text));
    }
    lines
}

#[cfg(test)]
mod tests;
