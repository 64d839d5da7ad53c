//! Moving through the time of a recording.
//!
//! In: keys, what was typed after J, the starts of all windows. Out: which window to show, and how fast to go on.
//! Must not know: how a recording is read, the clock, the time zone (it is told the offset).

use std::str::FromStr;

const DAY_S: i64 = 24 * 3600;
const SECOND_NS: i64 = 1_000_000_000;
/// How many times faster than it happened.
const SPEEDS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];

/// Where in a recording the screen is. Windows are numbered from 0, as `export` does.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// The window shown.
    pub number: usize,
    /// How many there are; never 0.
    pub windows: usize,
    /// Whether it goes on by itself.
    pub playing: bool,
    speed: f64,
    /// Local time less UTC.
    utc_offset_s: i64,
    /// What is being typed after J.
    pub(super) typing: Option<String>,
}

impl Replay {
    /// At the beginning, playing.
    #[must_use]
    pub fn new(windows: usize, utc_offset_s: i64) -> Self {
        Self {
            number: 0,
            windows,
            playing: true,
            speed: 1.0,
            utc_offset_s,
            typing: None,
        }
    }

    /// How many times faster than it happened.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// Whether the last window is shown.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.number + 1 >= self.windows
    }

    /// The next speed up or down.
    pub(super) fn step_speed(&mut self, up: bool) {
        let next = if up {
            SPEEDS.into_iter().find(|&speed| speed > self.speed)
        } else {
            SPEEDS.into_iter().rev().find(|&speed| speed < self.speed)
        };
        self.speed = next.unwrap_or(self.speed);
    }

    /// The number of a window that is this many windows further on, or back.
    pub(super) fn stepped(&self, by: isize) -> usize {
        let last = self.windows.saturating_sub(1);
        self.number.saturating_add_signed(by).min(last)
    }

    /// `14:03:22`, local time.
    pub(super) fn clock(&self, unix_ns: u64) -> String {
        let local = i64::try_from(unix_ns / 1_000_000_000).unwrap_or(0) + self.utc_offset_s;
        let of_day = local.rem_euclid(DAY_S);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        format!("{hour:02}:{minute:02}:{second:02}")
    }

    /// `×2`.
    pub(super) fn speed_text(&self) -> String {
        format!("×{}", self.speed)
    }
}

/// Where to jump.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// The window of this number.
    Window(usize),
    /// This local time of day, seconds since midnight.
    Clock(i64),
    /// This many seconds forward, or back.
    By(f64),
    /// This share of the recording.
    Share(f64),
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.trim()).ok_or(
            "jump to a time (14:03 or 14:03:22), forward or back (+90s, -5m), a share (50%) or a window (120)",
        )
    }
}

fn parse(text: &str) -> Option<Target> {
    if let Some(share) = text.strip_suffix('%') {
        let share: f64 = share.trim().parse().ok()?;
        return (0.0..=100.0)
            .contains(&share)
            .then_some(Target::Share(share / 100.0));
    }
    if let Some((hour, rest)) = text.split_once(':') {
        let (minute, second) = rest.split_once(':').unwrap_or((rest, "0"));
        let number = |text: &str, below: i64| {
            let number: i64 = text.parse().ok()?;
            (0..below).contains(&number).then_some(number)
        };
        let time = number(hour, 24)? * 3600 + number(minute, 60)? * 60 + number(second, 60)?;
        return Some(Target::Clock(time));
    }
    let sign = match text.chars().next()? {
        '+' => 1.0,
        '-' => -1.0,
        _ => return text.parse().ok().map(Target::Window),
    };
    let amount = text[1..].trim();
    let unit = amount.find(|c: char| !(c.is_ascii_digit() || c == '.'));
    let (number, unit) = amount.split_at(unit.unwrap_or(amount.len()));
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    Some(Target::By(sign * number * seconds))
}

impl Target {
    /// The window that is meant: at or before the target, and the nearest where there is none.
    #[must_use]
    pub fn find(self, replay: &Replay, starts: &[u64]) -> usize {
        let last = starts.len().saturating_sub(1);
        let starts_ns = || {
            starts
                .iter()
                .map(|&ns| i64::try_from(ns).unwrap_or(i64::MAX))
        };
        let at = |ns: i64| {
            let after = starts_ns().position(|start| start > ns);
            after.map_or(last, |after| after.saturating_sub(1))
        };
        let (Some(first_ns), Some(last_ns)) = (starts_ns().min(), starts_ns().max()) else {
            return 0;
        };
        match self {
            Self::Window(number) => number.min(last),
            Self::Share(share) => (share * last as f64).round() as usize,
            Self::By(seconds) => {
                let now = starts_ns().nth(replay.number).unwrap_or(first_ns);
                at(now.saturating_add((seconds * SECOND_NS as f64) as i64))
            }
            Self::Clock(of_day) => {
                let local = first_ns / SECOND_NS + replay.utc_offset_s;
                let midnight = local - local.rem_euclid(DAY_S) - replay.utc_offset_s;
                let today = (midnight + of_day).saturating_mul(SECOND_NS);
                let day = DAY_S * SECOND_NS;
                // A recording may begin before midnight and go on after it.
                let tomorrow = today.saturating_add(day);
                let is_later = today < first_ns && tomorrow <= last_ns.saturating_add(SECOND_NS);
                at(if is_later { tomorrow } else { today })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Option<Target> {
        text.parse().ok()
    }

    #[test]
    fn a_target_is_a_time_a_step_a_share_or_a_number() {
        assert_eq!(target("14:03"), Some(Target::Clock(14 * 3600 + 180)));
        assert_eq!(target("00:00:09"), Some(Target::Clock(9)));
        assert_eq!(target(" +90s "), Some(Target::By(90.0)));
        assert_eq!(target("-5m"), Some(Target::By(-300.0)));
        assert_eq!(target("+1.5h"), Some(Target::By(5400.0)));
        assert_eq!(target("-3"), Some(Target::By(-3.0)));
        assert_eq!(target("50%"), Some(Target::Share(0.5)));
        assert_eq!(target("120"), Some(Target::Window(120)));
        for bad in [
            "", "x", "25:00", "12:60", "12:", "101%", "-%", "+5y", "+", "1.5", "++1", "é",
        ] {
            assert_eq!(target(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_target_finds_its_window() {
        // 22:13:20 UTC and on, a window every ten seconds, 23:13:20 where it is looked at.
        let starts: Vec<u64> = (0..600)
            .map(|n| (1_700_000_000 + n * 10) * 1_000_000_000)
            .collect();
        let mut replay = Replay::new(starts.len(), 3600);
        assert_eq!(replay.clock(starts[1]), "23:13:30");
        replay.number = 100;
        for (text, window) in [
            ("23:13:35", 1),
            ("23:13:30", 1),
            // After midnight, before the beginning, after the end.
            ("00:00:00", 280),
            ("20:00", 0),
            ("23:13", 0),
            ("05:00", 0),
            ("+1m", 106),
            ("-1h", 0),
            ("+9h", 599),
            ("0%", 0),
            ("50%", 300),
            ("100%", 599),
            ("7", 7),
            ("7000", 599),
        ] {
            let found = target(text).unwrap().find(&replay, &starts);
            assert_eq!(found, window, "{text}");
        }
    }

    #[test]
    fn speeds_have_ends() {
        let mut replay = Replay::new(5, 0);
        replay.step_speed(true);
        assert_eq!(replay.speed_text(), "×2");
        (0..20).for_each(|_| replay.step_speed(true));
        assert_eq!(replay.speed_text(), "×100");
        (0..20).for_each(|_| replay.step_speed(false));
        assert_eq!(replay.speed_text(), "×0.1");
        assert_eq!((replay.stepped(-1), replay.stepped(9)), (0, 4));
    }
}
