//! The thread that writes finished hours as Parquet, so that no disk holds the measurement up.
//!
//! In: windows. Out: files; what has become of the windows, on the board. Must not know: what is in the files, who measures.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use courtside_core::model::Snapshot;

use super::{board::Board, measuring::say};
use crate::{hours::Hours, keeper::Keeper};

/// Windows that may wait for the disk; further ones are lost.
const MOST_WAITING: usize = 16;
/// After a failure windows are lost for so long before it is tried again.
const PAUSE_NS: u64 = 60_000_000_000;

/// Where finished hours are written.
pub struct Export {
    /// The thread, which acts as the owner of the folder.
    pub keeper: Keeper,
    /// What writes.
    pub hours: Hours,
}

/// The same under way.
pub(super) struct Exporting {
    keeper: Keeper,
    work: Arc<Mutex<Work>>,
    waiting: Arc<AtomicUsize>,
    /// Windows for which there was no room.
    unheeded: Arc<AtomicU64>,
    board: Arc<Board>,
}

struct Work {
    hours: Hours,
    /// Why the last window could not be written, and until when none is tried.
    failed: Option<(String, u64)>,
    unheeded: Arc<AtomicU64>,
    board: Arc<Board>,
}

impl Exporting {
    pub(super) fn start(export: Export, board: Arc<Board>) -> Self {
        let unheeded = Arc::new(AtomicU64::new(0));
        let work = Work {
            hours: export.hours,
            failed: None,
            unheeded: Arc::clone(&unheeded),
            board: Arc::clone(&board),
        };
        Self {
            keeper: export.keeper,
            work: Arc::new(Mutex::new(work)),
            waiting: Arc::new(AtomicUsize::new(0)),
            unheeded,
            board,
        }
    }

    /// Has one more window written, when there is time for it.
    pub(super) fn window(&self, snapshot: Arc<Snapshot>) {
        if self.waiting.load(Ordering::Acquire) >= MOST_WAITING {
            self.unheeded.fetch_add(1, Ordering::AcqRel);
            self.board.export_lost_one();
            return;
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let (work, waiting) = (Arc::clone(&self.work), Arc::clone(&self.waiting));
        self.keeper.run(move || {
            lock(&work).window(&snapshot);
            waiting.fetch_sub(1, Ordering::AcqRel);
        });
    }

    /// Ends the open hour, and waits for it.
    pub(super) fn end(self) {
        let work = Arc::clone(&self.work);
        // Nothing is left to do if the thread has ended.
        let _ = self.keeper.ask(move || lock(&work).end());
    }
}

fn lock(work: &Mutex<Work>) -> std::sync::MutexGuard<'_, Work> {
    // What is open is given up with the next failure, whoever failed here.
    work.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Work {
    fn window(&mut self, snapshot: &Snapshot) {
        let now_ns = snapshot.window.start_unix_ns;
        if let Some((_, until_ns)) = &self.failed
            && now_ns < *until_ns
            // A clock that was set back is no reason to wait for longer.
            && until_ns.saturating_sub(now_ns) <= PAUSE_NS
        {
            self.hours.lose(1);
            self.tell();
            return;
        }
        let written = self.hours.window(snapshot);
        self.judge(written, now_ns);
    }

    fn end(&mut self) {
        if !self.hours.is_open() {
            return;
        }
        let ended = self.hours.finish();
        self.judge(ended, 0);
    }

    fn judge(&mut self, written: anyhow::Result<()>, now_ns: u64) {
        let before = self.failed.take().map(|(why, _)| why);
        match written {
            Err(error) => {
                let why = format!("{error:#}");
                if before.as_ref() != Some(&why) {
                    say(&format!("windows are lost for the export: {why}"));
                }
                self.failed = Some((why, now_ns.saturating_add(PAUSE_NS)));
            }
            Ok(()) if before.is_some() => say("windows are exported again"),
            Ok(()) => {}
        }
        self.tell();
    }

    fn tell(&self) {
        let counts = self.hours.counts();
        let unheeded = self.unheeded.load(Ordering::Acquire);
        let lost = counts.lost.saturating_add(unheeded);
        let why = self.failed.as_ref().map(|(why, _)| why.clone());
        self.board.exported(counts.written, lost, why);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Duration};

    use courtside_core::{
        fixture::frames,
        model::{State, View, fold},
    };

    use super::{super::Options, *};

    const START: u64 = 1_796_018_400;

    fn window(second: u64) -> Arc<Snapshot> {
        let mut frame = frames::chain(10);
        frame.start_unix_ns = second * 1_000_000_000;
        Arc::new(fold(&mut State::default(), &frame, &View::default()))
    }

    fn begin(folder: &Path) -> (Exporting, Arc<Board>) {
        let mut options = Options {
            interval: Duration::from_secs(1),
            view: View::default(),
            top: 50,
            native_histograms: false,
            linger: Duration::from_secs(60),
            duration: None,
            token: None,
            tls: None,
            recording: None,
            push: None,
            guard: None,
            export: Some(Export {
                keeper: Keeper::start(folder, Path::new("/")).unwrap(),
                hours: Hours::open(folder, Some("web01".to_owned())).unwrap(),
            }),
        };
        let board = Arc::new(Board::new(&options));
        let export = options.export.take().unwrap();
        (Exporting::start(export, Arc::clone(&board)), board)
    }

    /// Waits until all windows that were given are dealt with.
    fn settle(exporting: &Exporting) {
        exporting.keeper.ask(|| ()).unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_lost_for_a_minute_and_then_it_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let host = folder.path().join("host=web01");
        fs::write(&host, "in the way").unwrap();
        let (exporting, board) = begin(folder.path());
        let now = || board.status().export.unwrap();
        for (second, lost) in [(0, 1), (1, 2)] {
            exporting.window(window(START + second));
            settle(&exporting);
            let why = now().failed.unwrap();
            assert!(why.contains("host=web01"), "{why}");
            assert_eq!((now().windows, now().lost_windows), (0, lost));
        }
        fs::remove_file(&host).unwrap();
        exporting.window(window(START + 59));
        settle(&exporting);
        assert_eq!(now().lost_windows, 3);
        assert!(now().failed.is_some());
        for second in [60, 61] {
            exporting.window(window(START + second));
        }
        settle(&exporting);
        assert_eq!((now().failed, now().windows), (None, 0));
        exporting.end();
        assert_eq!((now().windows, now().lost_windows), (2, 3));
        assert!(
            host.join("hour=20261130T06/windows-000000-000001.parquet")
                .exists()
        );
    }

    #[test]
    fn a_disk_that_does_not_answer_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let (exporting, board) = begin(folder.path());
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        exporting.keeper.run(move || {
            // It goes on when there is nobody left who could say so.
            let _ = wait.recv();
        });
        for second in 0..100 {
            exporting.window(window(START + second));
        }
        let status = board.status().export.unwrap();
        assert_eq!(status.lost_windows, 100 - MOST_WAITING as u64);
        drop(go_on);
        exporting.end();
        let status = board.status().export.unwrap();
        assert_eq!(status.windows, MOST_WAITING as u64);
        assert_eq!(status.lost_windows, 100 - MOST_WAITING as u64);
    }
}
