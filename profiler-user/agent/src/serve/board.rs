//! What was measured so far, where whoever asks finds it.
//!
//! In: windows. Out: pages, each written once a window however many ask for it. Must not know: HTTP.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use courtside_core::model::{
    Snapshot,
    interference::Interference,
    status::{
        ExportStatus, HttpStatus, PushStatus, RecordingStatus, STATUS_SCHEMA, SeriesStatus, Status,
    },
};
use courtside_export::{
    json,
    prometheus::{Agent, Answers, Exporter, Form, Pusher, Recorder, Totals},
};
use courtside_kernel::sys::usage::usage;

use super::{
    Options,
    guarding::{Standing, Told},
    negotiate::Format,
};

/// A window may be late by this and two intervals before something is taken to be wrong.
const PATIENCE: Duration = Duration::from_secs(5);

/// A page of which all get the same copy until there is another window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Page {
    /// `/metrics`.
    Metrics(Format),
    /// `/snapshot`.
    Snapshot,
    /// `/findings`.
    Findings,
    /// `/interference`.
    Interference,
}

/// What was measured, and who asked for it.
pub(super) struct Board {
    state: Mutex<State>,
    interval: Duration,
    top: usize,
    native_histograms: bool,
    started_unix_ns: u64,
    answers: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// Connections that are open.
    connections: AtomicU64,
    refused: AtomicU64,
}

struct State {
    totals: Totals,
    last: Option<Arc<Snapshot>>,
    /// When the last window ended, or else when all began.
    progress: Instant,
    recording: Option<RecordingStatus>,
    export: Option<ExportStatus>,
    push: Option<PushStatus>,
    guard: Option<Told>,
    /// Pages as they were written, and after how many windows.
    pages: BTreeMap<Page, (u64, Bytes)>,
}

impl Board {
    pub(super) fn new(options: &Options) -> Self {
        let linger_ns = u64::try_from(options.linger.as_nanos()).unwrap_or(u64::MAX);
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let recording = options.recording.as_ref().map(|recording| RecordingStatus {
            file: recording.file.clone(),
            windows: 0,
            size_bytes: 0,
            failed: None,
        });
        let push = options.push.as_ref().map(|push| PushStatus {
            url: push.to.url(),
            sent: 0,
            lost: 0,
            failures: 0,
            failed: None,
        });
        let totals = Totals::new(options.top, linger_ns);
        let totals = if options.native_histograms {
            totals.with_native_histograms()
        } else {
            totals
        };
        let export = options.export.as_ref().map(|export| ExportStatus {
            folder: export.hours.path().display().to_string(),
            windows: 0,
            lost_windows: 0,
            failed: None,
        });
        Self {
            state: Mutex::new(State {
                totals,
                last: None,
                progress: Instant::now(),
                recording,
                export,
                push,
                guard: options
                    .guard
                    .as_ref()
                    .map(|guard| Told::new(guard.begun.clone())),
                pages: BTreeMap::new(),
            }),
            interval: options.interval,
            top: options.top,
            native_histograms: options.native_histograms,
            started_unix_ns: u64::try_from(started.as_nanos()).unwrap_or(u64::MAX),
            answers: Mutex::new(BTreeMap::new()),
            connections: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is added up is sound after each window, whoever failed there.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more window.
    pub(super) fn add(&self, snapshot: Arc<Snapshot>, lives: &dyn Fn(&[u32]) -> bool) {
        let mut state = self.lock();
        state.totals.add(&snapshot, lives);
        state.last = Some(snapshot);
        state.progress = Instant::now();
        state.pages.clear();
    }

    /// What guard has to say, and how it stands if a window has ended.
    pub(super) fn guarded(&self, lines: &[Interference], standing: Option<Standing>) {
        if lines.is_empty() && standing.is_none() {
            return;
        }
        let mut state = self.lock();
        if let Some(told) = &mut state.guard {
            told.add(lines, standing);
        }
        state.pages.clear();
    }

    /// What has become of the recording.
    pub(super) fn recorded(&self, windows: u64, size_bytes: u64, failed: Option<String>) {
        if let Some(recording) = &mut self.lock().recording {
            recording.windows = windows;
            recording.size_bytes = size_bytes;
            recording.failed = failed;
        }
    }

    /// What has become of the windows that are exported.
    pub(super) fn exported(&self, windows: u64, lost: u64, failed: Option<String>) {
        if let Some(export) = &mut self.lock().export {
            // The thread that measures may have counted one more meanwhile.
            export.lost_windows = export.lost_windows.max(lost);
            export.windows = windows;
            export.failed = failed;
        }
    }

    /// One window more is lost for the export: there was no room for it.
    pub(super) fn export_lost_one(&self) {
        if let Some(export) = &mut self.lock().export {
            export.lost_windows = export.lost_windows.saturating_add(1);
        }
    }

    /// The totals for a collector, and of how many windows they are; `None` if that were so many before.
    pub(super) fn otlp(&self, before: u64) -> Option<(u64, Bytes)> {
        let state = self.lock();
        let windows = state.totals.windows();
        let last = state.last.as_deref().filter(|_| windows != before)?;
        let body = state.totals.otlp(last, &self.agent(&state));
        Some((windows, body.into()))
    }

    /// What has become of what was pushed.
    pub(super) fn pushed(&self, change: impl FnOnce(&mut PushStatus)) {
        if let Some(push) = &mut self.lock().push {
            change(push);
        }
    }

    /// A page; `None` before there is a window that it could be of.
    pub(super) fn page(&self, page: Page) -> Option<Bytes> {
        let mut state = self.lock();
        let windows = state.totals.windows();
        if let Some((of, bytes)) = state.pages.get(&page)
            && *of == windows
            && windows > 0
        {
            return Some(bytes.clone());
        }
        let text = match page {
            Page::Metrics(format) => self.metrics(&state, format),
            // What fold makes can be written.
            Page::Snapshot => json::to_string(&**state.last.as_ref()?).ok()?.into(),
            Page::Findings => json::to_string(&state.last.as_ref()?.findings).ok()?.into(),
            Page::Interference => state.guard.as_ref()?.page(),
        };
        let bytes: Bytes = text;
        state.pages.insert(page, (windows, bytes.clone()));
        Some(bytes)
    }

    /// Whether there is a guard.
    pub(super) fn has_guard(&self) -> bool {
        self.lock().guard.is_some()
    }

    /// Whether histograms are native where the format has such.
    pub(super) fn has_native_histograms(&self) -> bool {
        self.native_histograms
    }

    fn metrics(&self, state: &State, format: Format) -> Bytes {
        let (agent, last) = (self.agent(state), state.last.as_deref());
        match format {
            Format::Text => state.totals.text(Form::Text, last, &agent).into(),
            Format::Open => state.totals.text(Form::OpenMetrics, last, &agent).into(),
            Format::Protobuf => state.totals.protobuf(last, &agent).into(),
        }
    }

    /// What the agent says of itself.
    fn agent(&self, state: &State) -> Agent {
        let own = usage(Path::new("/"));
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        Agent {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_ns: self.started_unix_ns,
            cpu_ns: own.cpu_ns,
            resident_bytes: own.rss_bytes,
            open_fds: open_fds(),
            max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            recorder: state.recording.as_ref().map(|recording| Recorder {
                is_well: recording.failed.is_none(),
                windows: recording.windows,
            }),
            exporter: state.export.as_ref().map(|export| Exporter {
                is_well: export.failed.is_none(),
                windows: export.windows,
                lost: export.lost_windows,
            }),
            pusher: state.push.as_ref().map(|push| Pusher {
                sent: push.sent,
                lost: push.lost,
                failures: push.failures,
            }),
            guard: state.guard.as_ref().map(Told::guarded),
            answers: answers
                .iter()
                .map(|(&(path, code), &count)| Answers { path, code, count })
                .collect(),
            connections: self.connections.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Why windows do not come in time, if they do not.
    pub(super) fn unwell(&self) -> Option<String> {
        let late = self.lock().progress.elapsed();
        let patience = self.interval.saturating_mul(3).saturating_add(PATIENCE);
        (late > patience).then(|| {
            format!(
                "the last window ended {} seconds ago, and one is due every {} seconds",
                late.as_secs(),
                self.interval.as_secs_f64()
            )
        })
    }

    /// How the agent is.
    pub(super) fn status(&self) -> Status {
        let reason = self.unwell();
        let requests = {
            let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.values().copied().fold(0, u64::saturating_add)
        };
        let state = self.lock();
        let last = state.last.as_deref();
        let series = state.totals.series();
        Status {
            schema: STATUS_SCHEMA.to_owned(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            healthy: reason.is_none(),
            reason,
            started_unix_ns: self.started_unix_ns,
            interval_ns: u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX),
            windows: state.totals.windows(),
            measured_ns: state.totals.measured_ns(),
            lower_bound_windows: state.totals.lower_bound_windows(),
            lost: state.totals.lost().clone(),
            window: last.map(|last| last.window),
            host: last.map(|last| last.host.clone()),
            probes: last.map_or_else(Vec::new, |last| last.quality.probes.clone()),
            pmu: last.map(|last| last.quality.pmu.clone()),
            series: SeriesStatus {
                limit: self.top as u64,
                components: series.components as u64,
                edges: series.edges as u64,
                turnarounds: series.turnarounds as u64,
                folded: series.folded as u64,
            },
            recording: state.recording.clone(),
            export: state.export.clone(),
            push: state.push.clone(),
            guard: state.guard.as_ref().map(Told::status),
            http: HttpStatus {
                connections: self.connections.load(Ordering::Relaxed),
                refused: self.refused.load(Ordering::Relaxed),
                requests,
            },
        }
    }

    /// Somebody was answered.
    pub(super) fn answered(&self, path: &'static str, code: u16) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = answers.entry((path, code)).or_default();
        *count = count.saturating_add(1);
    }

    /// A connection was opened; it is open until what this gives is dropped.
    pub(super) fn opened(self: &Arc<Self>) -> Open {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// A connection was refused.
    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// An open connection.
pub(super) struct Open(Arc<Board>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// File descriptors that this process has open.
fn open_fds() -> Option<u64> {
    let all = std::fs::read_dir("/proc/self/fd").ok()?;
    // One of them is that of the folder itself.
    Some((all.count() as u64).saturating_sub(1))
}
