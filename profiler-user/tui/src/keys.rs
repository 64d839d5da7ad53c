//! What each key does.
//!
//! In: a key. Out: a changed [`UiState`], and the [`Action`] that only the outside can do.
//! Must not know: the terminal, how anything is drawn.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    help,
    replay::Target,
    state::{Action, DashboardView, UiState},
};

/// Intervals that `+` and `-` step through, milliseconds.
const INTERVALS_MS: [u64; 9] = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];

impl UiState {
    /// Does what a key asks for.
    pub fn key(&mut self, key: KeyEvent) -> Option<Action> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        self.message = None;
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return Some(Action::Quit),
                KeyCode::Char('z') => return Some(Action::Suspend),
                KeyCode::Char('l') => return Some(Action::Redraw),
                _ => {}
            }
        }
        if self
            .replay
            .as_ref()
            .is_some_and(|replay| replay.typing.is_some())
        {
            self.jump_key(key)
        } else if self.editing {
            self.edit_key(key);
            None
        } else if self.help.is_some() {
            self.help_key(key.code);
            None
        } else if let Some(action) = self.replay_key(key.code) {
            action
        } else {
            self.view_key(key)
        }
    }

    /// What a key does only in a recording, or does there in another way; `None` if it does neither.
    fn replay_key(&mut self, code: KeyCode) -> Option<Option<Action>> {
        let replay = self.replay.as_mut()?;
        let show = |window| Some(Action::Show(Target::Window(window)));
        match code {
            KeyCode::Char('t') => {
                replay.playing = false;
                Some(show(replay.stepped(1)))
            }
            KeyCode::Char('T') => {
                replay.playing = false;
                Some(show(replay.stepped(-1)))
            }
            KeyCode::Char('J') => {
                replay.typing = Some(String::new());
                Some(None)
            }
            KeyCode::Char('+' | '=') => {
                replay.step_speed(true);
                Some(None)
            }
            KeyCode::Char('-') => {
                replay.step_speed(false);
                Some(None)
            }
            KeyCode::Char('r') => Some(show(0)),
            // There is nothing newer to keep than what is recorded.
            KeyCode::Char('R') => Some(None),
            _ => None,
        }
    }

    /// Types a target to jump to.
    fn jump_key(&mut self, key: KeyEvent) -> Option<Action> {
        let replay = self.replay.as_mut()?;
        let mut text = replay.typing.take().unwrap_or_default();
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Esc => return None,
            KeyCode::Enter if text.is_empty() => return None,
            KeyCode::Backspace if text.is_empty() => return None,
            KeyCode::Enter => match text.parse() {
                Ok(target) => {
                    replay.playing = false;
                    return Some(Action::Show(target));
                }
                Err(why) => {
                    replay.typing = Some(text);
                    self.say_error(why);
                    return None;
                }
            },
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char('u') if control => text.clear(),
            KeyCode::Char(c) if !control => text.push(c),
            _ => {}
        }
        replay.typing = Some(text);
        None
    }

    fn edit_key(&mut self, key: KeyEvent) {
        let mut text = std::mem::take(&mut self.filter_text);
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => self.editing = false,
            KeyCode::Esc => {
                text.clear();
                self.editing = false;
            }
            KeyCode::Backspace if text.is_empty() => self.editing = false,
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char('u') if control => text.clear(),
            KeyCode::Char('w') if control => {
                let words = text.trim_end();
                let end = words.rfind(' ').map_or(0, |space| space + 1);
                text.truncate(end);
            }
            KeyCode::Char(c) if !control => text.push(c),
            _ => {}
        }
        self.set_filter(text);
    }

    fn help_key(&mut self, code: KeyCode) {
        let page = self.page() as u16;
        let line = self.help.unwrap_or(0);
        let lines = help::lines(self.view, self.size.0, self.replay.is_some()).len() as u16;
        let last = lines.saturating_sub(page);
        self.help = match code {
            KeyCode::Down | KeyCode::Char('j') => Some((line + 1).min(last)),
            KeyCode::Up | KeyCode::Char('k') => Some(line.saturating_sub(1)),
            KeyCode::PageDown => Some((line + page).min(last)),
            KeyCode::PageUp => Some(line.saturating_sub(page)),
            KeyCode::Home | KeyCode::Char('g') => Some(0),
            KeyCode::End | KeyCode::Char('G') => Some(last),
            _ => None,
        };
    }

    /// Rows that page keys move by: what the view has on the screen, about.
    fn page(&self) -> usize {
        self.size.1.saturating_sub(5).max(1)
    }

    fn view_key(&mut self, key: KeyEvent) -> Option<Action> {
        let page = self.page();
        match key.code {
            KeyCode::Char('q') => return Some(Action::Quit),
            KeyCode::Char('?') => self.help = Some(0),
            KeyCode::Char(' ') => self.toggle_pause(),
            KeyCode::Char('/') => self.editing = true,
            KeyCode::Esc => self.escape(),
            KeyCode::Enter => self.enter(),
            KeyCode::Tab => return self.turn_by(1),
            KeyCode::BackTab => return self.turn_by(self.views().len() - 1),
            KeyCode::Char(digit @ '0'..='9') => {
                let key = digit.to_string();
                let mut views = self.views().iter();
                let view = views.find(|view| view.key() == key).copied();
                return view.and_then(|view| self.go_to(view));
            }
            KeyCode::Down | KeyCode::Char('j') => self.select(|at, _| at + 1),
            KeyCode::Up | KeyCode::Char('k') => self.select(|at, _| at.saturating_sub(1)),
            KeyCode::Right | KeyCode::Char('l') => self.step_target(1),
            KeyCode::Left | KeyCode::Char('h') => self.step_target(-1),
            KeyCode::PageDown => self.select(|at, _| at + page),
            KeyCode::PageUp => self.select(|at, _| at.saturating_sub(page)),
            KeyCode::Home | KeyCode::Char('g') => self.select(|_, _| 0),
            KeyCode::End | KeyCode::Char('G') => self.select(|_, rows| rows.saturating_sub(1)),
            KeyCode::Char('s') => {
                let spec = self.view.spec();
                self.table_mut().next_sort(spec);
                let title = spec.columns[self.table().sort].heading.title;
                self.say(format!("sorted by {title}"));
            }
            KeyCode::Char('S') => {
                let table = self.table_mut();
                table.reversed = !table.reversed;
            }
            KeyCode::Char('r') => {
                self.forget();
                self.say("measuring anew");
                return Some(Action::Reset);
            }
            KeyCode::Char('e') => return Some(Action::Export),
            KeyCode::Char('R') => return Some(Action::Keep),
            KeyCode::Char('+' | '=') => return self.step_interval(1),
            KeyCode::Char('-') => return self.step_interval(-1),
            _ => {}
        }
        None
    }

    fn turn_by(&mut self, step: usize) -> Option<Action> {
        let views = self.views();
        let next = (self.view as usize + step) % views.len().max(1);
        views.get(next).and_then(|view| self.go_to(*view))
    }

    /// Turns to a view by its number or name: there is no way back from there. What only all of a recording tells is asked for
    /// when somebody wants to see it.
    fn go_to(&mut self, view: DashboardView) -> Option<Action> {
        self.forget_way();
        self.turn_to(view);
        let of_all = matches!(view, DashboardView::Tail | DashboardView::Parallel);
        (of_all && self.whole.ask()).then_some(Action::Ask)
    }

    /// `+` measures longer windows, `-` shorter ones.
    fn step_interval(&mut self, step: i8) -> Option<Action> {
        let now = self.interval.as_millis() as u64;
        let next = if step > 0 {
            INTERVALS_MS.into_iter().find(|&ms| ms > now)
        } else {
            INTERVALS_MS.into_iter().rev().find(|&ms| ms < now)
        };
        self.interval = Duration::from_millis(next?);
        Some(Action::Interval(self.interval))
    }
}
