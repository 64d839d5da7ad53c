//! What the guard said, held to what was planted.
//!
//! In: its lines, what was planted when. Out: verdicts. Pure. Must not know: how anything was planted.

use serde::Deserialize;

use super::cases::{BACK_SECONDS, Expected, TARGET_BACK, WINDOW};

/// A line of the guard, as far as it is looked at.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Line {
    pub time_unix_ns: u64,
    pub event: String,
    pub signal: Option<String>,
    pub self_inflicted: bool,
    #[serde(default)]
    pub suspects: Vec<Suspect>,
    pub action: Option<Action>,
    pub effect: Option<Effect>,
    pub reason: String,
}

/// Somebody it names.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Suspect {
    pub component: String,
    pub score: f64,
    pub decided_by: String,
}

/// A limit.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Action {
    pub component: String,
}

/// What a limit has brought.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Effect {
    pub worked: bool,
}

impl Line {
    fn is_anomaly(&self) -> bool {
        self.event == "anomaly"
    }

    /// A neighbour is blamed.
    pub fn blames(&self) -> bool {
        self.is_anomaly() && !self.self_inflicted && !self.suspects.is_empty()
    }
}

/// A run.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// From when on it was planted and there was a load.
    pub begun_unix_ns: u64,
    /// Windows with a load until then, and from then on.
    pub windows: [u64; 2],
    /// Component ids of the neighbours that were planted.
    pub planted: Vec<String>,
    pub lines: Vec<Line>,
    /// When, and how long the service's threads were runnable without a CPU for each request that was due in the second before,
    /// by the kernel's own account (`schedstat`).
    pub delays: Vec<(u64, f64)>,
    /// What was in the file of the limit before the guard, at its end, and after it.
    pub limits: Option<[String; 3]>,
}

/// Whether what was said was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Right,
    /// It was not said.
    Missed,
    /// Somebody else was blamed.
    False,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Missed => "missed",
            Self::False => "false",
        }
    }
}

/// What was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub verdict: Verdict,
    /// Windows until then, the one in which it was planted among them.
    pub windows: Option<u64>,
    /// The first suspect and what that rests on, or the reason.
    pub what: String,
    /// What was said besides and was not so.
    pub besides: Vec<String>,
}

impl Seen {
    fn anomalies(&self) -> impl Iterator<Item = &Line> {
        let since = self.begun_unix_ns;
        let lines = self.lines.iter();
        lines.filter(move |line| line.is_anomaly() && line.time_unix_ns > since)
    }

    fn is_planted(&self, suspect: &Suspect) -> bool {
        self.planted.contains(&suspect.component)
    }

    /// Windows from the beginning to a line.
    fn windows_until(&self, line: &Line) -> u64 {
        let ns = line.time_unix_ns.saturating_sub(self.begun_unix_ns);
        ns.div_ceil(WINDOW.as_nanos() as u64)
    }

    /// Blamed although nothing was planted yet.
    pub fn blamed_before(&self) -> Vec<String> {
        let before = self.lines.iter();
        before
            .filter(|line| line.blames() && line.time_unix_ns <= self.begun_unix_ns)
            .map(|line| self.what(line))
            .collect()
    }

    /// Holds it to what is expected.
    pub fn judge(&self, expected: Expected) -> Told {
        let blaming = self.anomalies().find(|line| line.blames());
        let first_planted = |line: &&Line| {
            let first = line.suspects.first();
            first.is_some_and(|first| self.is_planted(first))
        };
        let (verdict, line) = match expected {
            Expected::Neighbour => {
                let wrong = self
                    .anomalies()
                    .filter(|line| line.blames())
                    .find(|line| !first_planted(line));
                match (wrong, blaming) {
                    (Some(wrong), _) => (Verdict::False, Some(wrong)),
                    (None, Some(first)) => (Verdict::Right, Some(first)),
                    (None, None) => (Verdict::Missed, self.anomalies().next()),
                }
            }
            Expected::Own(words) => {
                let is_it = |line: &&Line| {
                    let says = |word: &&str| line.reason.contains(*word);
                    line.self_inflicted && words.iter().any(says)
                };
                match (blaming, self.anomalies().find(is_it)) {
                    (Some(wrong), _) => (Verdict::False, Some(wrong)),
                    (None, Some(own)) => (Verdict::Right, Some(own)),
                    (None, None) => (Verdict::Missed, self.anomalies().next()),
                }
            }
            Expected::Nobody => match blaming {
                Some(wrong) => (Verdict::False, Some(wrong)),
                None => (Verdict::Right, self.anomalies().next()),
            },
        };
        // Once it is held back, what is left may well be its own.
        let capped = self.lines.iter().find(|line| line.event == "capped");
        let until = capped.map_or(u64::MAX, |line| line.time_unix_ns);
        let own = self
            .anomalies()
            .filter(|line| line.self_inflicted && line.time_unix_ns <= until);
        let besides = match expected {
            Expected::Neighbour => own.map(|line| self.what(line)).collect(),
            Expected::Own(_) | Expected::Nobody => Vec::new(),
        };
        Told {
            verdict,
            windows: line.map(|line| self.windows_until(line)),
            what: line.map_or_else(|| "nothing was told".to_owned(), |line| self.what(line)),
            besides,
        }
    }

    /// A line in few words.
    fn what(&self, line: &Line) -> String {
        let signal = line.signal.as_deref().unwrap_or_default();
        let Some(first) = line.suspects.first().filter(|_| line.blames()) else {
            let whose = if line.self_inflicted {
                "self-inflicted"
            } else {
                "nobody"
            };
            return format!("{whose}: {} ({signal})", line.reason);
        };
        let mut what = format!(
            "{}, {} {:.2} ({signal})",
            short(&first.component),
            first.decided_by,
            first.score
        );
        if self.planted.len() > 1 {
            let named = line.suspects.iter().filter(|one| self.is_planted(one));
            let (count, share) = named.fold((0, 0.0), |(count, share), one| {
                (count + 1, share + one.score)
            });
            what += &format!(
                "; {count} of the {} planted are named, {share:.2} together",
                self.planted.len()
            );
        }
        what
    }

    /// What holding back has brought, if that was to be done.
    pub fn held(&self, usual_ns: f64) -> Option<Held> {
        let limits = self.limits.clone()?;
        let of = |event: &str| self.lines.iter().find(|line| line.event == event);
        let capped = of("capped");
        let between = |from: u64, to: u64| {
            let delays = self.delays.iter();
            let part: Vec<f64> = delays
                .filter(|(time, _)| (from..to).contains(time))
                .map(|(_, delay)| *delay)
                .collect();
            mean(&part)
        };
        let begun = self.begun_unix_ns;
        // The first second holds a part of the time before.
        let settled = begun + WINDOW.as_nanos() as u64;
        let capped_ns = capped.map(|line| line.time_unix_ns);
        let since: Vec<f64> = self
            .delays
            .iter()
            .filter(|(time, _)| capped_ns.is_some_and(|capped| *time > capped))
            .map(|(_, delay)| *delay)
            .collect();
        Some(Held {
            capped_windows: capped.map(|line| self.windows_until(line)),
            who: capped.and_then(|line| Some(line.action.as_ref()?.component.clone())),
            refused: of("refused").map(|line| line.reason.clone()),
            worked: of("judged").and_then(|line| Some(line.effect?.worked)),
            usual_ns,
            quiet_ns: between(0, begun),
            slow_ns: between(settled, capped_ns.unwrap_or(u64::MAX)),
            last_ns: mean(since.get(since.len().saturating_sub(20)..).unwrap_or(&[])),
            back_windows: back(&since, usual_ns),
            limits,
        })
    }
}

/// What holding a neighbour back has brought. Times are those for each request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// Windows until then.
    pub capped_windows: Option<u64>,
    pub who: Option<String>,
    /// Why somebody was not held back.
    pub refused: Option<String>,
    /// What the guard said of it.
    pub worked: Option<bool>,
    /// The mean of the spec.
    pub usual_ns: f64,
    /// Before anything was planted, with it, and in the last 20 s with a limit.
    pub quiet_ns: Option<f64>,
    pub slow_ns: Option<f64>,
    pub last_ns: Option<f64>,
    /// Windows with a limit until it was back.
    pub back_windows: Option<u64>,
    /// What was in the file of the limit before the guard, at its end, and after it.
    pub limits: [String; 3],
}

/// Seconds until the mean of the following ones is close to the usual.
fn back(delays: &[f64], usual_ns: f64) -> Option<u64> {
    let most = (1.0 + TARGET_BACK) * usual_ns;
    let mut spans = delays.windows(BACK_SECONDS);
    let at = spans.position(|span| mean(span).is_some_and(|mean| mean <= most))?;
    Some(at as u64)
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A component without its kind.
fn short(component: &str) -> &str {
    component
        .split_once(':')
        .map_or(component, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn line(time_s: u64, own: bool, suspects: &[(&str, f64)], reason: &str) -> Line {
        let suspects: Vec<serde_json::Value> = suspects
            .iter()
            .map(|(component, score)| {
                serde_json::json!({ "component": component, "score": score, "decided_by": "blame", "correlation": null })
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "schema": "courtside.interference/1", "time_unix_ns": time_s * SECOND, "event": "anomaly",
            "victim": "program:web-truth", "signal": "run_queue_per_request", "value": 1.0, "self_inflicted": own,
            "suspects": suspects, "action": null, "effect": null, "reason": reason,
        }))
        .unwrap()
    }

    fn seen(lines: Vec<Line>) -> Seen {
        Seen {
            begun_unix_ns: 99 * SECOND + SECOND / 2,
            planted: vec!["program:hog".to_owned()],
            lines,
            ..Seen::default()
        }
    }

    #[test]
    fn the_neighbour_is_first_or_it_is_missed_or_somebody_else_is() {
        let right = seen(vec![line(
            102,
            false,
            &[("program:hog", 0.97), ("program:x", 0.02)],
            "",
        )]);
        let told = right.judge(Expected::Neighbour);
        assert_eq!((told.verdict, told.windows), (Verdict::Right, Some(3)));
        assert_eq!(told.what, "hog, blame 0.97 (run_queue_per_request)");
        assert!(told.besides.is_empty());

        // What was said before is not counted.
        let before = seen(vec![line(99, false, &[("program:hog", 0.9)], "")]);
        let told = before.judge(Expected::Neighbour);
        assert_eq!((told.verdict, told.windows), (Verdict::Missed, None));
        assert_eq!(before.blamed_before().len(), 1);

        let own = seen(vec![line(103, true, &[], "because of itself")]);
        let told = own.judge(Expected::Neighbour);
        assert_eq!((told.verdict, told.windows), (Verdict::Missed, Some(4)));
        assert_eq!(told.besides.len(), 1);

        // Right at first is not enough.
        let wrong = seen(vec![
            line(102, false, &[("program:hog", 0.9)], ""),
            line(104, false, &[("program:x", 0.6), ("program:hog", 0.3)], ""),
        ]);
        assert_eq!(wrong.judge(Expected::Neighbour).verdict, Verdict::False);
    }

    #[test]
    fn what_is_its_own_has_to_be_said_and_blames_nobody() {
        let expected = Expected::Own(&["quota"]);
        let of = |lines| seen(lines).judge(expected).verdict;
        let quota = || line(102, true, &[], "its own CPU quota held it back");
        assert_eq!(of(vec![quota()]), Verdict::Right);
        assert_eq!(
            of(vec![line(102, true, &[], "its own threads")]),
            Verdict::Missed
        );
        assert_eq!(of(vec![]), Verdict::Missed);
        let blamed = line(103, false, &[("program:x", 0.6)], "");
        assert_eq!(of(vec![quota(), blamed]), Verdict::False);
    }

    #[test]
    fn nobody_is_to_be_blamed_where_nobody_is_planted() {
        let of = |lines| seen(lines).judge(Expected::Nobody).verdict;
        assert_eq!(of(vec![]), Verdict::Right);
        assert_eq!(
            of(vec![line(102, true, &[], "its own threads")]),
            Verdict::Right
        );
        // Nobody is named, though something is too high.
        assert_eq!(of(vec![line(102, false, &[], "unknown")]), Verdict::Right);
        assert_eq!(
            of(vec![line(102, false, &[("program:hog", 0.6)], "")]),
            Verdict::False
        );
    }

    #[test]
    fn of_a_group_it_is_told_how_many_are_named() {
        let mut group = seen(vec![line(
            102,
            false,
            &[("program:a", 0.4), ("program:x", 0.3), ("program:b", 0.2)],
            "",
        )]);
        group.planted = ["program:a", "program:b", "program:c"]
            .map(str::to_owned)
            .to_vec();
        let told = group.judge(Expected::Neighbour);
        assert_eq!(told.verdict, Verdict::Right);
        assert!(
            told.what
                .ends_with("2 of the 3 planted are named, 0.60 together"),
            "{told:?}"
        );
    }

    #[test]
    fn it_is_back_when_ten_seconds_are_as_usual() {
        let mut capped = line(103, false, &[], "");
        capped.event = "capped".to_owned();
        capped.action = Some(Action {
            component: "program:hog".to_owned(),
        });
        let own = line(106, true, &[], "its own threads");
        let mut judged = line(108, false, &[], "");
        judged.event = "judged".to_owned();
        judged.effect = Some(Effect { worked: true });
        // 100 before, 500 with the hog, 300 for 4 s with a limit, and then a twentieth more than usual.
        let delays = (90..140).map(|second| {
            let delay = match second {
                0..=100 => 100.0,
                101..=103 => 500.0,
                104..=107 => 300.0,
                _ => 105.0,
            };
            (second * SECOND, delay)
        });
        let seen = Seen {
            delays: delays.collect(),
            limits: Some(["-1", "5000", "-1"].map(str::to_owned)),
            ..seen(vec![capped, own, judged])
        };
        // What is left then may be its own.
        assert!(seen.judge(Expected::Neighbour).besides.is_empty());
        let held = seen.held(100.0).unwrap();
        assert_eq!(held.capped_windows, Some(4));
        assert_eq!(held.who.as_deref(), Some("program:hog"));
        assert_eq!((held.quiet_ns, held.last_ns), (Some(100.0), Some(105.0)));
        assert_eq!(held.slow_ns, Some(500.0));
        assert_eq!((held.back_windows, held.worked), (Some(4), Some(true)));
        // Half as much again is not back.
        assert_eq!(seen.held(70.0).unwrap().back_windows, None);
        assert_eq!(Seen::default().held(1.0), None);
    }
}
