//! `courtside top`: the dashboard on a real terminal.
//!
//! In: a [`Source`] or a recording, and keys. Out: the screen, exported snapshots, the last minutes as a recording. The
//! terminal is given back as it was on quit, error, panic and every signal that can be caught. Must not know: what is
//! drawn, where snapshots come from.

use courtside_agent::{
    keeper::{Keeper, names},
    live::{Live, Source},
};
use std::{
    env,
    io::{self, IsTerminal as _, Write, stdout},
    mem, panic,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{Event, EventStream},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
    layout::{Position, Rect},
};
use rustix::process::{Signal, getpid, kill_process};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};

use super::{
    args::ScreenArgs,
    output,
    place::{Folder, PRIVATE, READABLE},
    player::Player,
    unused::Unused,
    whole::Asking,
};
use crate::{
    model::{EntryWish, Snapshot},
    record::{Header, Ring},
    sys::threads::Looks,
    tui::{Action, Target, Theme, UiState, render},
};

/// How the dashboard looks, and where it exports to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Use colours.
    pub color: bool,
    /// Write only ASCII.
    pub ascii: bool,
    /// Time after which it ends by itself.
    pub duration: Option<Duration>,
    /// Folder that `e` and `R` write to.
    pub export_dir: PathBuf,
    /// Entries that were asked for.
    pub entries: Vec<EntryWish>,
}

impl Options {
    /// As asked for, on this terminal.
    #[must_use]
    pub fn new(screen: &ScreenArgs, entries: &[EntryWish], duration: Option<Duration>) -> Self {
        let variable = |name: &str| env::var(name).ok();
        Self {
            color: output::wants_color(screen.color, io::stdout().is_terminal(), variable),
            ascii: output::ascii_locale(variable),
            duration,
            export_dir: screen.output.clone(),
            entries: entries.to_vec(),
        }
    }
}

/// Shows the dashboard until the user quits, a signal ends it, or the source fails.
///
/// # Errors
/// When standard output is no terminal, the terminal cannot be set up, or the source fails.
pub fn run(
    source: Box<dyn Source>,
    interval: Duration,
    options: &Options,
    keep: Option<Keep>,
) -> anyhow::Result<()> {
    if !stdout().is_terminal() {
        bail!(
            "the dashboard needs a terminal, and standard output is not one; `courtside stat` prints the same numbers"
        );
    }
    let runtime = runtime()?;
    let live = Live::start(source, interval)?;
    let state = UiState::new(options.theme(), interval);
    let keep = keep.map(Box::new);
    let looks = Box::new(Looks::new(Path::new("/")));
    let feed = Feed::Live { live, keep, looks };
    runtime.block_on(drive(feed, state, options))
}

/// Shows the dashboard over a recording until the user quits or a signal ends it.
///
/// # Errors
/// When the terminal cannot be set up, or the recording cannot be read any more.
pub(super) fn replay(
    player: Player,
    asking: Asking,
    state: UiState,
    options: &Options,
) -> anyhow::Result<()> {
    let mut state = state;
    let mut player = Box::new(player);
    player.show(&mut state, Target::Window(0))?;
    runtime()?.block_on(drive(Feed::Replay { player, asking }, state, options))
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")
}

impl Options {
    /// How everything is drawn.
    #[must_use]
    pub fn theme(&self) -> Theme {
        Theme {
            color: self.color,
            ascii: self.ascii,
        }
    }
}

/// What the last minutes can be kept with.
pub struct Keep {
    pub(super) ring: Arc<Mutex<Ring>>,
    pub(super) header: Header,
    /// Creates files in the folder for exports.
    pub(super) keeper: Keeper,
}

/// Where windows come from.
enum Feed {
    Live {
        live: Live,
        keep: Option<Box<Keep>>,
        looks: Box<Looks>,
    },
    Replay {
        player: Box<Player>,
        asking: Asking,
    },
}

impl Feed {
    /// Waits for the next window and hands it to the dashboard. Nothing is lost if the wait is given up.
    async fn next(&mut self, state: &mut UiState) -> anyhow::Result<()> {
        match self {
            Self::Live { live, looks, .. } => {
                let update = live.next().await;
                let window = update.context("the thread that collects has ended")??;
                state.observe_judged(window.snapshot, window.judgement, window.missed);
                if let Some((component, tgids)) = state.wants_threads() {
                    state.observe_threads(looks.look(&component, &tgids));
                }
            }
            Self::Replay { player, asking } => {
                let due = player.due(state);
                let due = async {
                    match due {
                        Some(due) => tokio::time::sleep_until(due.into()).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = due => player.advance(state)?,
                    (tail, parallel) = asking.told() => state.answer(tail, parallel),
                }
            }
        }
        Ok(())
    }

    /// Begins to look at threads when they are asked for, and ends that.
    fn look(&mut self, state: &mut UiState) {
        let Self::Live { looks, .. } = self else {
            return;
        };
        match state.wants_threads() {
            Some((component, _)) if looks.is_at(&component) => {}
            Some((component, tgids)) => {
                state.observe_threads(looks.look(&component, &tgids));
            }
            None => looks.forget(),
        }
    }

    /// Does what only this kind of source can do.
    fn act(&mut self, action: Action, state: &mut UiState, folder: &Path) -> anyhow::Result<()> {
        match (self, action) {
            (Self::Live { live, .. }, Action::Reset) => live.reset(),
            (Self::Live { live, .. }, Action::Interval(interval)) => live.set_interval(interval),
            (
                Self::Live {
                    keep: Some(keep), ..
                },
                Action::Keep,
            ) => keep_last(state, keep, folder),
            (Self::Replay { player, .. }, Action::Show(target)) => player.show(state, target)?,
            (Self::Replay { asking, .. }, Action::Ask) => asking.ask()?,
            (feed, Action::Export) => export(state, folder, feed.keeper()),
            _ => {}
        }
        Ok(())
    }

    fn keeper(&self) -> Option<&Keeper> {
        match self {
            Self::Live { keep, .. } => keep.as_ref().map(|keep| &keep.keeper),
            Self::Replay { .. } => None,
        }
    }
}

/// Writes the last minutes into a recording and says so, or says why not.
fn keep_last(state: &mut UiState, keep: &Keep, folder: &Path) {
    let (ring, header) = (Arc::clone(&keep.ring), keep.header.clone());
    let shown = state.snapshot();
    let time = shown.map_or_else(SystemTime::now, |snapshot| start(snapshot));
    let folder = folder.to_owned();
    let kept = keep.keeper.ask(move || -> anyhow::Result<(u64, String)> {
        let new = Folder::open(&folder)?.begin_new(PRIVATE)?;
        let ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
        let windows = ring.write(new.file().try_clone()?, &header)?.windows;
        Ok((windows, new.place_new(names(time, "rec"))?))
    });
    match kept {
        Some(Ok((windows, name))) => state.say(format!("{windows} windows kept in {name}")),
        Some(Err(error)) => state.say_error(format!("not kept: {error:#}")),
        None => state.say_error("not kept: the thread that keeps the last minutes has ended"),
    }
}

/// Whether the terminal is ours: in raw mode, on its alternate screen. Held while something is written to it.
static TAKEN: Mutex<bool> = Mutex::new(false);

fn taken() -> MutexGuard<'static, bool> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take() -> io::Result<()> {
    let mut taken = taken();
    *taken = true;
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen)
}

/// Gives the terminal back as it was, once.
fn give_back() -> io::Result<()> {
    let mut taken = taken();
    if mem::replace(&mut *taken, false) {
        disable_raw_mode()?;
        execute!(stdout(), LeaveAlternateScreen, Show)?;
    }
    Ok(())
}

/// What is drawn, until it is all there; then it goes to the terminal if that is still ours. A thread that panics gives
/// the terminal back while another one draws: its message would be drawn over.
#[derive(Default)]
struct Drawn(Vec<u8>);

impl Write for Drawn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let taken = taken();
        let drawn = mem::take(&mut self.0);
        if *taken {
            let mut terminal = stdout();
            terminal.write_all(&drawn)?;
            terminal.flush()?;
        }
        Ok(())
    }
}

/// The terminal while it is ours. A panic of any thread gives it back before its message is printed.
struct Screen {
    terminal: Terminal<CrosstermBackend<Drawn>>,
}

impl Screen {
    fn open() -> anyhow::Result<Self> {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back().ok();
            report(info);
        }));
        let terminal = take().and_then(|()| Terminal::new(CrosstermBackend::new(Drawn::default())));
        if terminal.is_err() {
            give_back().ok();
        }
        let terminal = terminal.context("cannot set up the terminal")?;
        Ok(Self { terminal })
    }

    fn draw(&mut self, state: &UiState) -> anyhow::Result<()> {
        let drawn = self.terminal.draw(|frame| render(frame, state));
        drawn.map(drop).context("cannot draw on the terminal")
    }

    /// Gives the terminal back, stops this process as Ctrl-Z does, and takes the terminal again once continued.
    async fn suspend(&mut self) -> anyhow::Result<()> {
        let mut continued = watch(Signal::CONT)?;
        give_back().context("cannot give the terminal back")?;
        kill_process(getpid(), Signal::STOP).context("cannot stop")?;
        // Another thread may take the signal, and this one run on for a moment.
        continued.recv().await;
        take().context("cannot take the terminal again")?;
        self.redraw()
    }

    /// Draws every cell next time, whatever the terminal shows. `Terminal::clear` would ask the terminal where its
    /// cursor is, and the answer would be read as keys.
    fn redraw(&mut self) -> anyhow::Result<()> {
        let whole = self
            .terminal
            .size()
            .map(|size| Rect::from((Position::ORIGIN, size)));
        let redrawn = whole.and_then(|whole| self.terminal.resize(whole));
        redrawn.context("cannot draw on the terminal")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is no one left to tell if the terminal is gone.
        self.terminal.show_cursor().ok();
        give_back().ok();
    }
}

fn watch(kind: Signal) -> anyhow::Result<tokio::signal::unix::Signal> {
    signal(SignalKind::from_raw(kind.as_raw())).context("cannot watch for signals")
}

async fn drive(mut feed: Feed, mut state: UiState, options: &Options) -> anyhow::Result<()> {
    let mut terminate = watch(Signal::TERM)?;
    let mut interrupt = watch(Signal::INT)?;
    let mut hang_up = watch(Signal::HUP)?;
    let mut stop = watch(Signal::TSTP)?;
    let mut screen = Screen::open()?;
    let mut events = EventStream::new();
    let size = screen
        .terminal
        .size()
        .context("cannot ask the terminal for its size")?;
    state.resize(size.width, size.height);
    let end = async {
        match options.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let mut unused = Some(Unused::new(&options.entries));
    loop {
        if let Some(snapshot) = state.snapshot()
            && let Some(mut unused) = unused.take()
        {
            // Once: whoever asked for it may know that it comes later.
            unused.look(snapshot);
            if let Some(said) = unused.nowhere() {
                state.say_error(said);
            }
        }
        feed.look(&mut state);
        screen.draw(&state)?;
        tokio::select! {
            () = &mut end => return Ok(()),
            next = feed.next(&mut state) => next?,
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) => match state.key(key) {
                    None => {}
                    Some(Action::Quit) => return Ok(()),
                    Some(Action::Suspend) => screen.suspend().await?,
                    Some(Action::Redraw) => screen.redraw()?,
                    Some(action) => feed.act(action, &mut state, &options.export_dir)?,
                },
                Some(Ok(Event::Resize(width, height))) => state.resize(width, height),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error).context("cannot read from the terminal"),
                None => return Ok(()),
            },
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
            _ = stop.recv() => screen.suspend().await?,
        }
    }
}

/// Writes the snapshot shown and says so, or says why not.
fn export(state: &mut UiState, folder: &Path, keeper: Option<&Keeper>) {
    let Some(snapshot) = state.snapshot() else {
        state.say_error("nothing measured yet, nothing to export");
        return;
    };
    let (snapshot, folder) = (Arc::clone(snapshot), folder.to_owned());
    let write = move || write_snapshot(&snapshot, &folder);
    let written = match keeper {
        Some(keeper) => keeper
            .ask(write)
            .unwrap_or_else(|| bail!("the thread that keeps the last minutes has ended")),
        None => write(),
    };
    match written {
        Ok(name) => state.say(format!("written to {name}")),
        Err(error) => state.say_error(format!("not exported: {error:#}")),
    }
}

/// Writes a snapshot to a new file named after its window; returns the name.
fn write_snapshot(snapshot: &Snapshot, folder: &Path) -> anyhow::Result<String> {
    let json = serde_json::to_vec_pretty(snapshot).context("cannot make JSON")?;
    let new = Folder::open(folder)?.begin_new(READABLE)?;
    let written = new.file().write_all(&json);
    written.context("cannot write the snapshot")?;
    new.place_new(names(start(snapshot), "json"))
}

/// When the window of a snapshot began.
fn start(snapshot: &Snapshot) -> SystemTime {
    let since = Duration::from_nanos(snapshot.window.start_unix_ns);
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
#[path = "top_tests.rs"]
mod tests;
