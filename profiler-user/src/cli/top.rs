//! `courtside top`: the dashboard on a real terminal.
//!
//! In: a [`Source`] and keys. Out: the screen, exported snapshots. The terminal is given back as it was on quit, error,
//! panic and every signal that can be caught. Must not know: what is drawn, where snapshots come from.

use std::{
    fs::File,
    io::{IsTerminal as _, Write as _, stdout},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use ratatui::{
    DefaultTerminal,
    crossterm::{
        event::{Event, EventStream},
        execute,
        terminal::{EnterAlternateScreen, enable_raw_mode},
    },
};
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::live::{Live, Source};
use crate::{
    model::Snapshot,
    tui::{Action, Theme, UiState, render},
};

/// How the dashboard looks, and where it exports to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Use colours.
    pub color: bool,
    /// Write only ASCII.
    pub ascii: bool,
    /// Folder that `e` writes snapshots to.
    pub export_dir: PathBuf,
}

/// Whether the locale of these environment variables is one without UTF-8.
#[must_use]
pub fn ascii_locale(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| {
        let value = variable(name)?;
        (!value.is_empty()).then_some(value)
    });
    let locale = locale.unwrap_or_default().to_lowercase();
    !(locale.contains("utf-8") || locale.contains("utf8"))
}

/// Shows the dashboard until the user quits, a signal ends it, or the source fails.
///
/// # Errors
/// When standard output is no terminal, the terminal cannot be set up, or the source fails.
pub fn run(source: Box<dyn Source>, interval: Duration, options: &Options) -> anyhow::Result<()> {
    if !stdout().is_terminal() {
        bail!(
            "the dashboard needs a terminal, and standard output is none; `courtside stat` prints the same numbers"
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    let live = Live::start(source, interval)?;
    let theme = Theme {
        color: options.color,
        ascii: options.ascii,
    };
    runtime.block_on(drive(live, UiState::new(theme, interval), options))
}

/// The terminal in raw mode on its alternate screen; given back when dropped. A panic gives it back before its message.
struct Screen {
    // Dropped in this order: the cursor comes back first, then the terminal.
    terminal: DefaultTerminal,
    _give_back: GiveBack,
}

/// Gives the terminal back when dropped, even if setting it up failed half-way.
struct GiveBack;

impl Drop for GiveBack {
    fn drop(&mut self) {
        // There is no one left to tell if the terminal is gone.
        drop(ratatui::try_restore());
    }
}

impl Screen {
    fn open() -> anyhow::Result<Self> {
        let give_back = GiveBack;
        Ok(Self {
            terminal: ratatui::try_init().context("cannot set up the terminal")?,
            _give_back: give_back,
        })
    }

    fn draw(&mut self, state: &UiState) -> anyhow::Result<()> {
        let drawn = self.terminal.draw(|frame| render(frame, state));
        drawn.map(drop).context("cannot draw on the terminal")
    }

    /// Gives the terminal back, stops this process as Ctrl-Z does, and takes the terminal again once continued.
    fn suspend(&mut self) -> anyhow::Result<()> {
        self.terminal
            .show_cursor()
            .context("cannot give the terminal back")?;
        ratatui::try_restore().context("cannot give the terminal back")?;
        kill_process(getpid(), Signal::STOP).context("cannot stop")?;
        enable_raw_mode().context("cannot take the terminal again")?;
        execute!(stdout(), EnterAlternateScreen).context("cannot take the terminal again")?;
        self.terminal.clear().context("cannot draw on the terminal")
    }
}

async fn drive(mut live: Live, mut state: UiState, options: &Options) -> anyhow::Result<()> {
    let watch = |kind| signal(kind).context("cannot watch for signals");
    let mut terminate = watch(SignalKind::terminate())?;
    let mut interrupt = watch(SignalKind::interrupt())?;
    let mut hang_up = watch(SignalKind::hangup())?;
    let mut stop = watch(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
    let mut screen = Screen::open()?;
    let mut events = EventStream::new();
    let size = screen
        .terminal
        .size()
        .context("cannot ask the terminal for its size")?;
    state.resize(size.width, size.height);
    loop {
        screen.draw(&state)?;
        tokio::select! {
            update = live.next() => {
                let window = update.context("the thread that collects has ended")??;
                state.observe(window.snapshot, window.missed);
            }
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) => match state.key(key) {
                    None => {}
                    Some(Action::Quit) => return Ok(()),
                    Some(Action::Suspend) => screen.suspend()?,
                    Some(Action::Redraw) => screen.terminal.clear()?,
                    Some(Action::Export) => export(&mut state, &options.export_dir),
                    Some(Action::Reset) => live.reset(),
                    Some(Action::Interval(interval)) => live.set_interval(interval),
                },
                Some(Ok(Event::Resize(width, height))) => state.resize(width, height),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error).context("cannot read from the terminal"),
                None => return Ok(()),
            },
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
            _ = stop.recv() => screen.suspend()?,
        }
    }
}

/// Writes the snapshot shown and says so, or says why not.
fn export(state: &mut UiState, folder: &Path) {
    let Some(snapshot) = state.snapshot() else {
        state.say_error("nothing measured yet, nothing to export");
        return;
    };
    match write_snapshot(snapshot, folder) {
        Ok(name) => state.say(format!("written to {name}")),
        Err(error) => state.say_error(format!("not exported: {error:#}")),
    }
}

/// Writes a snapshot to a new file named after its window; returns the name.
fn write_snapshot(snapshot: &Snapshot, folder: &Path) -> anyhow::Result<String> {
    let name = format!(
        "courtside-{}.json",
        snapshot.window.start_unix_ns / 1_000_000_000
    );
    let json = serde_json::to_vec_pretty(snapshot).context("cannot make JSON")?;
    let file = File::create_new(folder.join(&name));
    let mut file = file.with_context(|| format!("cannot create {name}"))?;
    file.write_all(&json)
        .with_context(|| format!("cannot write {name}"))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_tells_the_locale() {
        let ascii = |set: &[(&str, &str)]| {
            ascii_locale(|name| {
                let found = set.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(!ascii(&[("LANG", "en_US.UTF-8")]));
        assert!(!ascii(&[
            ("LC_ALL", ""),
            ("LC_CTYPE", "C.utf8"),
            ("LANG", "C")
        ]));
        assert!(ascii(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]));
        assert!(ascii(&[]));
    }

    #[test]
    fn a_snapshot_is_written_once_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut snapshot = Snapshot::default();
        snapshot.window.start_unix_ns = 1_764_000_000_123_456_789;
        let name = write_snapshot(&snapshot, folder.path()).unwrap();
        assert_eq!(name, "courtside-1764000000.json");
        let json = std::fs::read(folder.path().join(&name)).unwrap();
        assert_eq!(serde_json::from_slice::<Snapshot>(&json).unwrap(), snapshot);
        let error = write_snapshot(&snapshot, folder.path()).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "cannot create courtside-1764000000.json: File exists (os error 17)"
        );
    }
}
