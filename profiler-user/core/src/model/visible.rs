//! Texts from outside as they may stand on a screen: a process names itself, a recording may come from anywhere.
//!
//! In: a text, or a snapshot. Out: the same with what could not be seen spelled out. JSON and Parquet, which programs
//! read, stay exact. Must not know: screens.

use std::{borrow::Cow, fmt::Write};

use super::snapshot::Snapshot;

/// What moves the cursor, has no width, or turns the direction of
/// writing around is shown by its number, so that no name can pass for another one or change what stands beside it.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_hidden(c) {
            // Writing into a String cannot fail.
            let _ = write!(shown, "<{:04X}>", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Whether a character is not seen, or changes how others are.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Everything in a snapshot that somebody else may have named.
macro_rules! texts {
    ($snapshot:expr, $iter:ident, $as_ref:ident, $take:expr) => {{
        let mut take = $take;
        let snapshot = $snapshot;
        take(texts!(@field $as_ref snapshot.host.hostname));
        take(texts!(@field $as_ref snapshot.host.kernel));
        take(texts!(@field $as_ref snapshot.quality.pmu.reason));
        for probe in snapshot.quality.probes.$iter() {
            take(texts!(@field $as_ref probe.reason));
        }
        for component in snapshot.components.$iter() {
            take(texts!(@field $as_ref component.id));
            take(texts!(@field $as_ref component.name));
            for process in component.processes.$iter() {
                take(texts!(@field $as_ref process.comm));
            }
            for lock in component.locks.$iter().flatten() {
                for holder in lock.holder.$iter() {
                    take(texts!(@field $as_ref holder.comm));
                }
            }
            for blame in component.cpu.run_queue_by.$iter().flatten() {
                take(texts!(@field $as_ref blame.component));
            }
            for blame in component.disk.queued_behind.$iter().flatten() {
                take(texts!(@field $as_ref blame.component));
            }
            for recipient in component.turnaround.by_recipient.$iter() {
                take(texts!(@field $as_ref recipient.to));
            }
        }
        for edge in snapshot.edges.$iter() {
            take(texts!(@field $as_ref edge.from));
            take(texts!(@field $as_ref edge.to));
        }
        for entry in snapshot.entries.$iter() {
            take(texts!(@field $as_ref entry.component));
            for court in entry.courts.$iter() {
                take(texts!(@field $as_ref court.component));
            }
        }
        for finding in snapshot.findings.$iter() {
            take(texts!(@field $as_ref finding.component));
            take(texts!(@field $as_ref finding.says));
            take(texts!(@field $as_ref finding.remedy));
            for edge in finding.edge.$iter() {
                take(texts!(@field $as_ref edge.from));
                take(texts!(@field $as_ref edge.to));
            }
        }
        for unmatched in snapshot.unmatched.$iter() {
            unmatched.components.$iter().for_each(&mut take);
        }
    }};
    (@field shared $field:expr) => { &$field };
    (@field mutable $field:expr) => { &mut $field };
}

/// The snapshot with names that can be seen; two that differ still do.
#[must_use]
pub fn for_people(snapshot: &Snapshot) -> Cow<'_, Snapshot> {
    let mut hidden = false;
    texts!(snapshot, iter, shared, |text: &String| {
        hidden |= text.chars().any(is_hidden);
    });
    if !hidden {
        return Cow::Borrowed(snapshot);
    }
    let mut snapshot = snapshot.clone();
    texts!(&mut snapshot, iter_mut, mutable, |text: &mut String| {
        if let Cow::Owned(shown) = visible(text) {
            *text = shown;
        }
    });
    Cow::Owned(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::frames;

    #[test]
    fn what_would_not_be_seen_is_shown_by_its_number() {
        assert_eq!(visible("nginx: wörker 日本"), "nginx: wörker 日本");
        assert_eq!(visible("a\u{202E}b\u{200B}c"), "a<202E>b<200B>c");
        assert_eq!(
            visible("\u{1b}[31m\r\n\t\u{9b}"),
            "<001B>[31m<000D><000A><0009><009B>"
        );
        assert_eq!(visible("\u{E0041}\u{FEFF}"), "<E0041><FEFF>");
    }

    #[test]
    fn names_stay_apart_and_lead_to_each_other() {
        use crate::model::{State, View, fold};
        let mut frame = frames::chain(10);
        for image in &mut frame.images {
            image.program.push('\u{202E}');
            for process in &mut image.processes {
                process.comm.push_str("\u{1b}]0;x\u{7}");
            }
        }
        let snapshot = fold(&mut State::default(), &frame, &View::default());
        let shown = for_people(&snapshot);
        let text = serde_json::to_string(&*shown).unwrap();
        assert!(text.contains("<202E>") && text.contains("<001B>]0;x<0007>"));
        assert!(!text.contains('\u{202E}') && !text.contains("\\u001b"));
        assert_eq!(shown.edges.len(), snapshot.edges.len());
        for edge in &shown.edges {
            assert!(shown.components.iter().any(|c| c.id == edge.from));
        }
        let exact = serde_json::to_string(&snapshot).unwrap();
        assert!(exact.contains('\u{202E}'));
        let plain = fold(&mut State::default(), &frames::chain(10), &View::default());
        assert!(matches!(for_people(&plain), Cow::Borrowed(_)));
    }
}
