//! What the dashboard remembers between two screens.
//!
//! In: snapshots, keys, what came of actions. Out: everything [`super::render`] needs.
//! Must not know: the terminal, the clock, how anything is drawn.

use std::{borrow::Cow, sync::Arc, time::Duration};

use super::{
    filter::Filter,
    replay::{Replay, Target},
    shown::Shown,
    style::Theme,
    table::{self, Context, Spec, TableState},
    views::{self, map::Map},
    whole::Whole,
};
use courtside_core::model::{
    Snapshot, inference::Inference, judgement::Judgement, tail::Tail, threads::Threads,
    visible::visible,
};

/// What the dashboard can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DashboardView {
    /// Rates, service times and turnarounds of each component.
    Components,
    /// Who talks to whom.
    Edges,
    /// Who calls whom, and where a request's time goes.
    Map,
    /// Turnaround of one component.
    Turnaround,
    /// CPU time and hardware counters.
    Cpu,
    /// Block I/O.
    Disk,
    /// Probes, losses, own cost.
    Health,
    /// What is wrong, and what to do about it.
    Findings,
    /// Who slows whom.
    Neighbours,
    /// Why the slowest requests of a recording are slow.
    Tail,
    /// What an application of several processes does in a recording.
    Parallel,
}

impl DashboardView {
    /// All views, in the order of their numbers. The last two need every single event, and so a recording.
    pub const ALL: [Self; 11] = [
        Self::Components,
        Self::Edges,
        Self::Map,
        Self::Turnaround,
        Self::Cpu,
        Self::Disk,
        Self::Health,
        Self::Findings,
        Self::Neighbours,
        Self::Tail,
        Self::Parallel,
    ];

    /// Those of what is measured now.
    pub const LIVE: [Self; 9] = [
        Self::Components,
        Self::Edges,
        Self::Map,
        Self::Turnaround,
        Self::Cpu,
        Self::Disk,
        Self::Health,
        Self::Findings,
        Self::Neighbours,
    ];

    /// What stands before its name: the key that leads there, where there is one.
    pub(super) fn key(self) -> &'static str {
        const KEYS: [&str; 10] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"];
        KEYS.get(self as usize).copied().unwrap_or("Tab")
    }

    /// Long and short name.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Components => ("Components", "Comp"),
            Self::Edges => ("Edges", "Edges"),
            Self::Map => ("Map", "Map"),
            Self::Turnaround => ("Turnaround", "Turn"),
            Self::Cpu => ("CPU", "CPU"),
            Self::Disk => ("Disk", "Disk"),
            Self::Health => ("Health", "Health"),
            Self::Findings => ("Findings", "Find"),
            Self::Neighbours => ("Neighbours", "Neigh"),
            Self::Tail => ("Tail", "Tail"),
            Self::Parallel => ("Parallel", "Par"),
        }
    }

    /// What it answers.
    pub(super) fn purpose(self) -> &'static str {
        match self {
            Self::Components => "who holds the ball, and what the time is spent on",
            Self::Edges => "who talks to whom, how often and how fast",
            Self::Map => "who calls whom, and where a request's time goes",
            Self::Turnaround => "what one component's time is made of",
            Self::Cpu => "who runs, who waits for a CPU",
            Self::Disk => "who reads and writes",
            Self::Health => "how far the numbers can be trusted",
            Self::Findings => "what is wrong, and what to do about it",
            Self::Neighbours => "who slows whom",
            Self::Tail => "why the slowest requests of the recording are slow",
            Self::Parallel => "what a parallel application does, and who holds it up",
        }
    }

    /// The view's table.
    pub(super) fn spec(self) -> &'static Spec {
        match self {
            Self::Components => &views::components::SPEC,
            Self::Edges => &views::edges::SPEC,
            Self::Map => &views::map::SPEC,
            Self::Turnaround => &views::turnaround::SPEC,
            Self::Cpu => &views::cpu::SPEC,
            Self::Disk => &views::disk::SPEC,
            Self::Health => &views::health::SPEC,
            Self::Findings => &views::findings::SPEC,
            Self::Neighbours => &views::neighbours::SPEC,
            Self::Tail => &views::tail::SPEC,
            Self::Parallel => &views::parallel::SPEC,
        }
    }
}

/// What only the outside can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// End the dashboard.
    Quit,
    /// Give the terminal back and stop until continued.
    Suspend,
    /// Draw everything anew, whatever the terminal shows.
    Redraw,
    /// Write the snapshot shown ([`UiState::snapshot`]), and show the result.
    Export,
    /// Begin to measure anew.
    Reset,
    /// Measure windows of this length from now on.
    Interval(Duration),
    /// Keep the last minutes as a recording, and show the result.
    Keep,
    /// Find out what all of the recording tells, and give it to [`UiState::answer`].
    Ask,
    /// Show another window of the recording ([`UiState::replay`]).
    Show(Target),
}

/// A word in the bottom line about something that just happened.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub text: String,
    pub bad: bool,
    /// Windows it has been shown for.
    age: u32,
    /// How long they took, about.
    seconds: f64,
}

/// Windows after which a message goes by itself.
const MESSAGE_WINDOWS: u32 = 5;
/// And what they must have taken: short windows go by before anything can be read.
const MESSAGE_SECONDS: f64 = 3.0;

/// Everything the dashboard remembers.
#[derive(Clone, Debug)]
pub struct UiState {
    pub(super) theme: Theme,
    pub(super) interval: Duration,
    live: Shown,
    frozen: Option<Shown>,
    pub(super) view: DashboardView,
    tables: Vec<TableState>,
    /// Id of the component that the turnaround view is about; by default the one selected among the components.
    pub(super) target: Option<String>,
    /// The edge, or the component that waits for CPUs or its neighbours, that is selected is shown by itself.
    pub(super) open: bool,
    /// Views that Enter led away from, with their targets.
    back: Vec<(DashboardView, Option<String>)>,
    pub(super) filter_text: String,
    pub(super) filter: Filter,
    pub(super) editing: bool,
    /// First line shown of the help, if it is open.
    pub(super) help: Option<u16>,
    pub(super) message: Option<Message>,
    /// Columns and rows of the screen.
    pub(super) size: (usize, usize),
    /// Where in a recording this is.
    pub(super) replay: Option<Replay>,
    /// What all of that recording tells.
    pub(super) whole: Whole,
}

impl UiState {
    /// A dashboard that has seen nothing yet.
    #[must_use]
    pub fn new(theme: Theme, interval: Duration) -> Self {
        Self {
            theme,
            interval,
            live: Shown::default(),
            frozen: None,
            view: DashboardView::Components,
            tables: DashboardView::ALL
                .map(|view| TableState::new(view.spec()))
                .into(),
            target: None,
            open: false,
            back: Vec::new(),
            filter_text: String::new(),
            filter: Filter::default(),
            editing: false,
            help: None,
            message: None,
            size: (80, 24),
            replay: None,
            whole: Whole::default(),
        }
    }

    /// The views that there are.
    pub(super) fn views(&self) -> &'static [DashboardView] {
        if self.replay.is_some() {
            &DashboardView::ALL
        } else {
            &DashboardView::LIVE
        }
    }

    /// Takes what all of the recording tells: why its slowest requests are slow, and what a parallel application in it does;
    /// or why that cannot be told.
    pub fn answer(&mut self, tail: Result<Tail, String>, parallel: Result<Inference, String>) {
        self.whole.answer(tail, parallel);
    }

    /// Takes the next window. `missed` windows before it were measured but never arrived here.
    pub fn observe(&mut self, snapshot: Arc<Snapshot>, missed: u64) {
        self.observe_judged(snapshot, None, missed);
    }

    /// Takes the next window, and how guard sees it where that runs.
    pub fn observe_judged(
        &mut self,
        snapshot: Arc<Snapshot>,
        judgement: Option<Arc<Judgement>>,
        missed: u64,
    ) {
        self.live.observe(snapshot, missed);
        self.live.judgement = judgement.map(|judgement| judgement.for_people());
        let speed = self.replay.as_ref().map_or(1.0, Replay::speed);
        if let Some(message) = &mut self.message {
            message.age += 1;
            message.seconds += self.interval.as_secs_f64() / speed;
        }
        self.message.take_if(|message| {
            message.age >= MESSAGE_WINDOWS && message.seconds >= MESSAGE_SECONDS
        });
    }

    /// The component whose threads somebody should look at, and its processes: the one that is open in the view CPU, while the
    /// screen goes on.
    #[must_use]
    pub fn wants_threads(&self) -> Option<(String, Vec<u32>)> {
        let looks = self.view == DashboardView::Cpu && self.open && self.frozen.is_none();
        if !looks || self.replay.is_some() {
            return None;
        }
        let (id, _) = self.table().selected.as_ref()?;
        let component = self.live.component(id)?;
        let component = self.live.snapshot.components.get(component)?;
        let tgids = component.processes.iter().map(|process| process.tgid);
        Some((id.clone(), tgids.collect()))
    }

    /// Takes what somebody saw of those.
    pub fn observe_threads(&mut self, threads: Threads) {
        let mut threads = threads;
        for thread in &mut threads.threads {
            if let Cow::Owned(shown) = visible(&thread.comm) {
                thread.comm = shown;
            }
        }
        self.live.threads = Some(Arc::new(threads));
    }

    /// Sets the size of the screen, by which page keys move.
    pub fn resize(&mut self, width: u16, height: u16) {
        self.size = (usize::from(width), usize::from(height));
    }

    /// The snapshot on the screen, as it is; `None` before the first.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        let shown = self.shown();
        (shown.windows > 0).then_some(&shown.exact)
    }

    /// Says that something was done.
    pub fn say(&mut self, text: impl Into<String>) {
        self.message = Some(Message {
            text: text.into(),
            bad: false,
            age: 0,
            seconds: 0.0,
        });
    }

    /// Says that something failed.
    pub fn say_error(&mut self, text: impl Into<String>) {
        self.say(text);
        if let Some(message) = &mut self.message {
            message.bad = true;
        }
    }

    /// What is on the screen: the newest window, or the one at which it was paused.
    pub(super) fn shown(&self) -> &Shown {
        self.frozen.as_ref().unwrap_or(&self.live)
    }

    /// Whether the screen stands still.
    pub(super) fn paused(&self) -> bool {
        match &self.replay {
            Some(replay) => !replay.playing,
            None => self.frozen.is_some(),
        }
    }

    pub(super) fn toggle_pause(&mut self) {
        if let Some(replay) = &mut self.replay {
            replay.playing = !replay.playing && !replay.is_at_end();
            return;
        }
        self.frozen = match self.frozen {
            Some(_) => None,
            None => Some(self.live.clone()),
        };
    }

    /// Forgets all windows: those before another one come next.
    pub fn rewind(&mut self) {
        self.live = Shown::default();
    }

    pub(super) fn forget(&mut self) {
        self.live.forget();
        self.frozen = None;
    }

    pub(super) fn context(&self) -> Context<'_> {
        let shown = self.shown();
        Context {
            shown,
            whole: &self.whole,
            target: match &self.target {
                Some(id) => shown.component(id),
                None => self.selected_component(),
            },
        }
    }

    /// What the user chose in the table of the current view.
    pub(super) fn table(&self) -> &TableState {
        &self.tables[self.view as usize]
    }

    pub(super) fn table_mut(&mut self) -> &mut TableState {
        &mut self.tables[self.view as usize]
    }

    /// The rows of the current view, in the order shown.
    pub(super) fn rows(&self) -> Vec<usize> {
        match self.view {
            DashboardView::Map => Map::of(&self.context(), &self.filter).order(),
            DashboardView::Turnaround => table::rows(
                self.view.spec(),
                &self.context(),
                self.table(),
                &self.filter,
            ),
            view => self.rows_of(view),
        }
    }

    /// The rows of a view that is not about one component.
    fn rows_of(&self, view: DashboardView) -> Vec<usize> {
        let cx = Context {
            shown: self.shown(),
            whole: &self.whole,
            target: None,
        };
        table::rows(view.spec(), &cx, &self.tables[view as usize], &self.filter)
    }

    /// The component that is selected among the components.
    fn selected_component(&self) -> Option<usize> {
        let cx = Context {
            shown: self.shown(),
            whole: &self.whole,
            target: None,
        };
        let rows = self.rows_of(DashboardView::Components);
        let table = &self.tables[DashboardView::Components as usize];
        let position = table.position(DashboardView::Components.spec(), &cx, &rows);
        rows.get(position).copied()
    }

    /// The row that is selected in the current view.
    pub(super) fn selected(&self) -> Option<usize> {
        let rows = self.rows();
        let position = self
            .table()
            .position(self.view.spec(), &self.context(), &rows);
        rows.get(position).copied()
    }

    /// Opens what is selected: an edge by itself, a component's turnaround.
    pub(super) fn enter(&mut self) {
        let Some(row) = self.selected() else {
            return;
        };
        let cx = self.context();
        let component = |row: usize| cx.shown.snapshot.components.get(row).map(|c| c.id.clone());
        let target = match self.view {
            DashboardView::Components | DashboardView::Map | DashboardView::Disk => component(row),
            DashboardView::Turnaround => Some((self.view.spec().id)(&cx, row)),
            DashboardView::Edges => {
                // The selection now stays with this edge, whatever the order becomes.
                self.select(|at, _| at);
                self.open = true;
                None
            }
            DashboardView::Cpu | DashboardView::Neighbours if self.open => component(row),
            DashboardView::Cpu | DashboardView::Neighbours => {
                self.select(|at, _| at);
                self.open = true;
                None
            }
            DashboardView::Findings => {
                let finding = cx.shown.snapshot.findings.get(row);
                let index = finding.and_then(|finding| cx.shown.component(&finding.component));
                index.and_then(component)
            }
            DashboardView::Tail => {
                let tail = cx.whole.tail.told();
                let difference = tail.and_then(|tail| tail.differences.get(row));
                let id = difference.and_then(|one| one.component.as_deref());
                id.and_then(|id| cx.shown.component(id)).and_then(component)
            }
            DashboardView::Health | DashboardView::Parallel => None,
        };
        if target.is_some() {
            self.back.push((self.view, self.target.take()));
            self.turn_to(DashboardView::Turnaround);
            self.target = target;
        }
    }

    /// Closes what is open, goes back where Enter came from, or clears the filter.
    pub(super) fn escape(&mut self) {
        let may_open = matches!(
            self.view,
            DashboardView::Edges | DashboardView::Cpu | DashboardView::Neighbours
        );
        if may_open && self.open {
            self.open = false;
        } else if let (DashboardView::Turnaround, Some((view, target))) =
            (self.view, self.back.pop())
        {
            self.turn_to(view);
            self.target = target;
        } else {
            self.set_filter(String::new());
        }
    }

    /// Shows another view.
    pub(super) fn turn_to(&mut self, view: DashboardView) {
        self.view = view;
        // Recipients of one component are not those of another.
        self.tables[DashboardView::Turnaround as usize].selected = None;
    }

    /// Forgets where Enter came from.
    pub(super) fn forget_way(&mut self) {
        self.back.clear();
        self.open = false;
    }

    /// Makes the turnaround view about the component listed `step` further on.
    pub(super) fn step_target(&mut self, step: isize) {
        if self.view != DashboardView::Turnaround {
            return;
        }
        let rows = self.rows_of(DashboardView::Components);
        let now = self.context().target;
        let now = rows.iter().position(|row| Some(*row) == now).unwrap_or(0);
        let next = now
            .saturating_add_signed(step)
            .min(rows.len().saturating_sub(1));
        let id = rows
            .get(next)
            .map(|&row| self.shown().snapshot.components[row].id.clone());
        if id.is_some() {
            self.target = id;
            self.turn_to(DashboardView::Turnaround);
        }
    }

    /// Moves the selection: `to` gets the present position and the number of rows.
    pub(super) fn select(&mut self, to: impl Fn(usize, usize) -> usize) {
        let spec = self.view.spec();
        let rows = self.rows();
        let mut table = self.table().clone();
        let position = table.position(spec, &self.context(), &rows);
        table.select(spec, &self.context(), &rows, to(position, rows.len()));
        *self.table_mut() = table;
    }

    pub(super) fn set_filter(&mut self, text: String) {
        self.filter = Filter::parse(&text);
        self.filter_text = text;
    }

    /// Makes this the dashboard of a recording.
    #[must_use]
    pub fn replaying(mut self, replay: Replay) -> Self {
        self.replay = Some(replay);
        self
    }

    /// Where in a recording the screen is; `None` if it is live.
    #[must_use]
    pub fn replay(&self) -> Option<&Replay> {
        self.replay.as_ref()
    }

    /// Notes that the window of this number is shown. The last one ends the playing.
    pub fn at(&mut self, number: usize) {
        if let Some(replay) = &mut self.replay {
            replay.number = number;
            replay.playing &= !replay.is_at_end();
        }
    }
}
