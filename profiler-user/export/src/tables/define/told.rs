//! Tables of what `guard` tells: its lines, and the suspects of each.
//!
//! In: nothing. Out: the tables interference and suspects. Must not know: formats.

use super::super::{Getter, Item, Kind, Row, Table, Value};
use super::table;
use Value::{Count, Flag, Null, Real, Text};
use courtside_core::model::fields::{EXACT, NAME, NS, NUMBER, RATIO, YES};
use courtside_core::model::interference::{
    Action, Effect, Expected, Interference, Signal, Suspect,
};

/// Unit of a signal: it depends on which.
const OF_SIGNAL: &str = "ns or ratio";
const MEASURED: &str = "that of the signal";
const JUDGED: &str = "a judgement: the reason says what it rests on";

/// Lines, and suspects.
pub(in super::super) fn told() -> [Table; 2] {
    [lines(), suspects()]
}

fn line<'a>(row: Row<'a>) -> Option<&'a Interference> {
    match row.item {
        Item::Told(line) | Item::Suspect(_, line, _) => Some(line),
        _ => None,
    }
}

fn text(text: Option<&str>) -> Value<'_> {
    text.map_or(Null, Text)
}

fn real<'a>(number: Option<f64>) -> Value<'a> {
    number.map_or(Null, Real)
}

fn count<'a>(number: Option<u64>) -> Value<'a> {
    number.map_or(Null, Count)
}

/// What both have in common: which line it is.
fn begin(name: &'static str, row_is: &'static str) -> Table {
    let mut t = table(name, row_is, |_| Vec::new());
    t.add(
        "time_unix_ns",
        Kind::Count,
        NS,
        "when: the end of the window that showed it",
        EXACT,
        Box::new(|row| count(line(row).map(|line| line.time_unix_ns))),
    );
    t.add(
        "event",
        Kind::Text,
        NAME,
        "what happened",
        EXACT,
        Box::new(|row| text(line(row).map(|line| line.event.name()))),
    );
    t.add(
        "victim",
        Kind::Text,
        NAME,
        "id of the component that is watched; empty for what an earlier guard left behind",
        EXACT,
        Box::new(|row| text(line(row).map(|line| line.victim.as_str()))),
    );
    t.add(
        "signal",
        Kind::Text,
        NAME,
        "which number of it",
        EXACT,
        Box::new(|row| text(line(row).and_then(|line| line.signal).map(Signal::name))),
    );
    t.or_null();
    t
}

fn expected(line: &Interference, of: fn(&Expected) -> f64) -> Option<f64> {
    line.expected.as_ref().map(of)
}

fn effect(line: &Interference, of: fn(&Effect) -> f64) -> Option<f64> {
    line.effect.as_ref().map(of)
}

fn lines() -> Table {
    let mut t = begin(
        "interference",
        "one line of what `guard replay --parquet` tells",
    );
    let mut value = |name: &str, meaning: &str, get: fn(&Interference) -> Option<f64>| {
        let get: Getter = Box::new(move |row| real(line(row).and_then(get)));
        t.add(name, Kind::Real, OF_SIGNAL, meaning, MEASURED, get);
        t.or_null();
    };
    value("value", "how much it was", |line| line.value);
    value("expected_median", "what it usually is", |line| {
        expected(line, |it| it.median)
    });
    value("expected_deviation", "its median deviation", |line| {
        expected(line, |it| it.deviation)
    });
    value("expected_upper", "more than this is too much", |line| {
        expected(line, |it| it.upper)
    });
    value("effect_before", "the signal before an action", |line| {
        effect(line, |it| it.before)
    });
    value("effect_after", "the signal since", |line| {
        effect(line, |it| it.after)
    });
    t.add(
        "sigmas",
        Kind::Real,
        RATIO,
        "how far above the usual, in standard deviations",
        MEASURED,
        Box::new(|row| real(line(row).and_then(|line| line.sigmas))),
    );
    t.or_null();
    t.add(
        "effect_worked",
        Kind::Flag,
        YES,
        "the action has helped",
        JUDGED,
        Box::new(|row| {
            let effect = line(row).and_then(|line| line.effect);
            effect.map_or(Null, |effect| Flag(effect.worked))
        }),
    );
    t.or_null();
    t.add(
        "self_inflicted",
        Kind::Flag,
        YES,
        "the service itself or its load made it",
        JUDGED,
        Box::new(|row| line(row).map_or(Null, |line| Flag(line.self_inflicted))),
    );
    let mut action = |name: &str, meaning: &str, get: fn(&Action) -> &str| {
        let get: Getter = Box::new(move |row| match row.item {
            Item::Told(Interference {
                action: Some(action),
                ..
            }) => Text(get(action)),
            _ => Null,
        });
        t.add(name, Kind::Text, NAME, meaning, EXACT, get);
        t.or_null();
    };
    action("action_kind", "`weight` or `cap`", |it| &it.kind);
    action("action_component", "who is held back", |it| &it.component);
    action("action_file", "the file that holds the limit", |it| {
        &it.file
    });
    action("action_before", "what was in it", |it| &it.before);
    action("action_after", "what is in it now", |it| &it.after);
    t.add(
        "reason",
        Kind::Text,
        NAME,
        "why, in words",
        EXACT,
        Box::new(|row| text(line(row).map(|line| line.reason.as_str()))),
    );
    t.add(
        "lost",
        Kind::Count,
        NUMBER,
        "what was lost so far, all classes together",
        EXACT,
        Box::new(|row| count(line(row).map(|line| line.lost))),
    );
    t
}

fn suspect<'a>(row: Row<'a>) -> Option<&'a Suspect> {
    match row.item {
        Item::Suspect(_, _, suspect) => Some(suspect),
        _ => None,
    }
}

fn suspects() -> Table {
    let mut t = begin(
        "suspects",
        "one suspect of one line of `guard replay --parquet`",
    );
    t.add(
        "place",
        Kind::Count,
        NUMBER,
        "place in the list, from 1",
        JUDGED,
        Box::new(|row| match row.item {
            Item::Suspect(place, ..) => Count(place),
            _ => Null,
        }),
    );
    t.add(
        "component",
        Kind::Text,
        NAME,
        "id of the suspect",
        EXACT,
        Box::new(|row| text(suspect(row).map(|it| it.component.as_str()))),
    );
    t.add(
        "decided_by",
        Kind::Text,
        NAME,
        "what its place rests on",
        EXACT,
        Box::new(|row| text(suspect(row).map(|it| it.decided_by.name()))),
    );
    t.add(
        "score",
        Kind::Real,
        RATIO,
        "how suspect it is, by what decided",
        JUDGED,
        Box::new(|row| real(suspect(row).map(|it| it.score))),
    );
    let mut ratio = |name: &str, meaning: &str, get: fn(&Suspect) -> Option<f64>| {
        let get: Getter = Box::new(move |row| real(suspect(row).and_then(get)));
        t.add(name, Kind::Real, RATIO, meaning, JUDGED, get);
        t.or_null();
    };
    ratio("correlation", "how its use goes with the signal", |it| {
        it.correlation
    });
    ratio(
        "blamed_share",
        "its share of what the service waited",
        |it| it.blamed_share,
    );
    ratio(
        "group_share",
        "its share in what all explain together",
        |it| it.group_share,
    );
    ratio(
        "percentile",
        "how many in a hundred are less suspect",
        |it| it.percentile,
    );
    let mut time = |name: &str, meaning: &str, get: fn(&Suspect) -> Option<u64>| {
        let get: Getter = Box::new(move |row| count(suspect(row).and_then(get)));
        t.add(name, Kind::Count, NS, meaning, MEASURED, get);
        t.or_null();
    };
    time(
        "blamed_ns",
        "time that was given to it while the service waited",
        |it| it.blamed_ns,
    );
    time(
        "exposure_ns",
        "time of its disk requests meanwhile, at most",
        |it| it.exposure_ns,
    );
    t
}
