//! A recording on the dashboard: windows one after the other at their own pace, or the one that is asked for.
//!
//! In: a recording, and where the dashboard is told to go. Out: what the dashboard observes. Must not know: the terminal, how
//! windows are read and folded.

use std::time::{Duration, Instant};

use crate::{
    record::{ByNumber, Recorded},
    tui::{PAST_WINDOWS, Target, UiState},
};

/// Shortest time between two screens. At higher speeds windows go by unseen, but not out of the past.
const SHORTEST: Duration = Duration::from_millis(20);
/// Longest time between two screens: nobody waits for an hour of silence.
const LONGEST: Duration = Duration::from_secs(10);
/// Snapshots that are kept, in case somebody steps back.
const KEPT: usize = 2 * PAST_WINDOWS;

/// Plays a recording.
pub(super) struct Player {
    windows: ByNumber,
    starts_ns: Vec<u64>,
    durations_ns: Vec<u64>,
    /// When the window on the screen was put there.
    shown: Instant,
    /// Windows left out since the last one that could be read.
    missed: u64,
}

impl Player {
    pub(super) fn new(recorded: Recorded) -> Self {
        let windows = recorded.recording().windows();
        let (starts_ns, durations_ns) = windows
            .map(|window| (window.start_unix_ns, window.duration_ns))
            .unzip();
        Self {
            windows: ByNumber::new(recorded, KEPT),
            starts_ns,
            durations_ns,
            shown: Instant::now(),
            missed: 0,
        }
    }

    /// When the next window is to be shown; `None` while it stands still.
    pub(super) fn due(&self, ui: &UiState) -> Option<Instant> {
        let replay = ui.replay().filter(|replay| replay.playing)?;
        let pace = self.pace(replay.number + 1, replay.speed());
        Some(self.shown + pace.clamp(SHORTEST, LONGEST))
    }

    /// How long a window takes at this speed.
    fn pace(&self, number: usize, speed: f64) -> Duration {
        let ns = self.durations_ns.get(number).copied().unwrap_or(0);
        Duration::try_from_secs_f64(ns as f64 / 1e9 / speed).unwrap_or(LONGEST)
    }

    /// Shows the next window, or at high speed the next ones.
    pub(super) fn advance(&mut self, ui: &mut UiState) -> anyhow::Result<()> {
        let Some((number, speed)) = ui.replay().map(|replay| (replay.number, replay.speed()))
        else {
            return Ok(());
        };
        let mut passed = Duration::ZERO;
        for number in number + 1..self.starts_ns.len() {
            self.observe(ui, number)?;
            ui.at(number);
            passed += self.pace(number, speed);
            if passed >= SHORTEST {
                break;
            }
        }
        self.shown = Instant::now();
        Ok(())
    }

    /// Shows the window that is meant, with the past that led to it.
    pub(super) fn show(&mut self, ui: &mut UiState, target: Target) -> anyhow::Result<()> {
        let Some(replay) = ui.replay() else {
            return Ok(());
        };
        let number = target.find(replay, &self.starts_ns);
        ui.rewind();
        self.missed = 0;
        for number in number.saturating_sub(PAST_WINDOWS - 1)..=number {
            self.observe(ui, number)?;
        }
        ui.at(number);
        self.shown = Instant::now();
        Ok(())
    }

    fn observe(&mut self, ui: &mut UiState, number: usize) -> anyhow::Result<()> {
        match self.windows.snapshot(number)? {
            Ok(snapshot) => {
                ui.observe(snapshot, self.missed);
                self.missed = 0;
            }
            Err(why) => {
                self.missed += 1;
                ui.say_error(format!("window {number} is left out: {why}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::frames;
    use std::path::Path;

    use super::*;
    use crate::{
        cli::{args::SelectArgs, recorded},
        frame::Frame,
        model::{State, View, fold},
        record::{Header, Recording, Writer},
        tui::{Replay, Theme},
    };

    /// What happens depends on what happened before: web serves in some windows only.
    fn window(n: u64) -> Frame {
        let mut frame = frames::chain(1 + n % 7);
        frame.start_unix_ns += n * frame.duration_ns;
        if n % 90 > 20 {
            frame
                .flows
                .retain(|flow| flow.image != frames::LOAD && flow.peer != frames::LOAD);
            frame
                .flows
                .retain(|flow| flow.role != crate::frame::Role::Acceptor);
        }
        frame
    }

    fn recorded(path: &Path, windows: u64) -> Vec<u64> {
        let file = std::fs::File::create(path).unwrap();
        let mut writer = Writer::new(file, &Header::default()).unwrap();
        let mut ends = Vec::new();
        for n in 0..windows {
            writer.frame(&window(n)).unwrap();
            ends.push(writer.summary().bytes);
        }
        writer.finish().unwrap();
        ends
    }

    fn player(path: &Path) -> (Player, UiState) {
        let recorded = recorded::open(path, None, &SelectArgs::default(), None).unwrap();
        let windows = recorded.recording().windows().len();
        let theme = Theme {
            color: false,
            ascii: true,
        };
        let ui = UiState::new(theme, Duration::from_secs(1)).replaying(Replay::new(windows, 0));
        (Player::new(recorded), ui)
    }

    fn shown(ui: &UiState) -> String {
        serde_json::to_string(ui.snapshot().unwrap()).unwrap()
    }

    /// All windows as they would have been live.
    fn live(path: &Path) -> Vec<String> {
        let recording = Recording::open(path).unwrap();
        let mut state = State::default();
        recording
            .frames()
            .map(|frame| fold(&mut state, &frame.unwrap(), &View::default()))
            .map(|snapshot| serde_json::to_string(&snapshot).unwrap())
            .collect()
    }

    #[test]
    fn a_window_is_the_same_however_it_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.rec");
        recorded(&path, 400);
        let live = live(&path);
        // The frames themselves came back unchanged.
        let mut state = State::default();
        for (n, expected) in (0..).zip(&live) {
            let snapshot = fold(&mut state, &window(n), &View::default());
            assert_eq!(&serde_json::to_string(&snapshot).unwrap(), expected);
        }
        let (mut player, mut ui) = player(&path);
        player.show(&mut ui, Target::Window(0)).unwrap();
        assert_eq!(shown(&ui), live[0]);
        for (n, expected) in live.iter().enumerate().skip(1) {
            player.advance(&mut ui).unwrap();
            assert_eq!(ui.replay().unwrap().number, n);
            assert_eq!(&shown(&ui), expected, "{n}");
        }
        assert!(!ui.replay().unwrap().playing);
        assert_eq!(player.due(&ui), None);
        let mut at = 17;
        for _ in 0..60 {
            at = (at * 31 + 7) % 400;
            player.show(&mut ui, Target::Window(at)).unwrap();
            assert_eq!(shown(&ui), live[at], "{at}");
        }
    }

    #[test]
    fn a_damaged_window_is_told_and_the_others_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.rec");
        let ends = recorded(&path, 5);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[ends[2] as usize - 9] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (mut player, mut ui) = player(&path);
        player.show(&mut ui, Target::Window(2)).unwrap();
        let of = |n: u64| window(n).start_unix_ns;
        // The window before it stays.
        assert_eq!(ui.snapshot().unwrap().window.start_unix_ns, of(1));
        assert_eq!(ui.replay().unwrap().number, 2);
        player.advance(&mut ui).unwrap();
        assert_eq!(ui.snapshot().unwrap().window.start_unix_ns, of(3));
    }
}
