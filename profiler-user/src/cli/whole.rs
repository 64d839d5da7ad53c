//! What all of a recording tells, for the dashboard over it: found out on a thread of its own while that goes on.
//!
//! In: how to open the recording once more. Out: why its slowest requests are slow, and what a parallel application in it does,
//! or why that cannot be told. Must not know: the screen, how anything is found out.

use std::{future::pending, thread};

use anyhow::Context as _;
use tokio::sync::oneshot;

use crate::{
    analysis::{
        infer::{self, Inferring},
        tail::{self, Slowest},
    },
    model::{inference::Inference, tail::Tail},
    pass::Analysis as _,
    record::Recorded,
};

/// Slowest requests that are shown one by one.
const EXEMPLARS: usize = 10;

/// What was found, or why not.
pub(super) type Told = (Result<Tail, String>, Result<Inference, String>);

/// Opens the recording once more.
pub(super) type Open = Box<dyn FnOnce() -> anyhow::Result<Recorded> + Send>;

/// Asks once.
pub(super) struct Asking {
    /// Name of the recording.
    file: String,
    open: Option<Open>,
    answer: Option<oneshot::Receiver<Told>>,
}

impl Asking {
    pub(super) fn new(file: String, open: Open) -> Self {
        Self {
            file,
            open: Some(open),
            answer: None,
        }
    }

    /// Begins to find it out, if that has not begun yet.
    pub(super) fn ask(&mut self) -> anyhow::Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let (send, answer) = oneshot::channel();
        let file = self.file.clone();
        // It ends with the process, if nobody waits for it any more.
        thread::Builder::new()
            .name("follow".to_owned())
            .stack_size(8 << 20)
            .spawn(move || {
                drop(send.send(find(&file, open)));
            })
            .context("cannot start the thread that follows events; raise the limit of threads (ulimit -u)")?;
        self.answer = Some(answer);
        Ok(())
    }

    /// Waits for what is found; for ever if nobody has asked, or it was given already.
    pub(super) async fn told(&mut self) -> Told {
        let Some(answer) = &mut self.answer else {
            return pending().await;
        };
        let told = answer.await;
        self.answer = None;
        told.unwrap_or_else(|_| failed("the thread that follows events has ended"))
    }
}

fn failed(why: &str) -> Told {
    (Err(why.to_owned()), Err(why.to_owned()))
}

/// One pass over all of it.
fn find(file: &str, open: Open) -> Told {
    let found = open().and_then(|recorded| {
        let no_events = || file.to_owned();
        if !recorded.has_events() {
            let tail = tail::CannotTell::NoEvents { file: no_events() };
            let parallel = infer::CannotTell::NoEvents { file: no_events() };
            return Ok((Err(tail.to_string()), Err(parallel.to_string())));
        }
        let mut slowest = Slowest::new(EXEMPLARS);
        slowest.begin(file);
        let mut inferring = Inferring::new(file).of(&recorded.view().selection);
        recorded.pass(&mut [&mut slowest, &mut inferring])?;
        Ok((
            slowest.finish().map_err(|why| why.to_string()),
            inferring.finish().map_err(|why| why.to_string()),
        ))
    });
    found.unwrap_or_else(|error| failed(&format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        path::{Path, PathBuf},
    };

    use courtside_agent::recorder::Shared;

    use super::*;
    use crate::{
        cli::{args::SelectArgs, recorded},
        event::Event,
        fixture::{
            frames,
            requests::{BATCH, HOG, Meets, events},
        },
        record::{Bounds, Header, Recorder},
    };

    const SECOND: u64 = 1_000_000_000;
    const TCP: u8 = 1;
    const BEGIN_NS: u64 = 1000 * SECOND;

    /// Records these events in a window.
    fn recorded_with(folder: &Path, events: &[Event]) -> PathBuf {
        let path = folder.join("x.rec");
        let recorder = Shared::default();
        let file = File::create(&path).unwrap();
        let begun = Recorder::new(file, None, &Header::default(), Bounds::default());
        recorder.begin(begun.unwrap()).unwrap();
        let mut frame = frames::chain(100);
        frame.duration_ns = 20 * SECOND;
        frame.images.push(frames::image(HOG, "hog", &[]));
        frame.images.push(frames::image(BATCH, "batch", &[]));
        let offset_ns = i64::try_from(frame.start_unix_ns - BEGIN_NS).unwrap();
        let mut sink = recorder.sink();
        for batch in events.chunks(1000) {
            sink(batch, offset_ns).unwrap();
        }
        recorder.frame(&frame).unwrap();
        recorder.finish().unwrap();
        path
    }

    /// Asks, and waits for the answer.
    fn asked(path: &Path) -> Told {
        let file = path.to_owned();
        let open = move || recorded::again(&file, &SelectArgs::default());
        let mut asking = Asking::new("x.rec".to_owned(), Box::new(open));
        asking.ask().unwrap();
        // Once is enough.
        asking.ask().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(asking.told())
    }

    #[test]
    fn all_of_a_recording_is_followed_on_a_thread_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let meets = |n: usize| match n % 100 {
            37 => Meets::Hog(7_000_000),
            _ => Meets::Nothing,
        };
        let events = events(BEGIN_NS + 1, TCP, (0..500).map(meets));
        let (tail, parallel) = asked(&recorded_with(folder.path(), &events));
        let tail = tail.unwrap();
        assert_eq!(tail.requests, 500);
        let first = &tail.differences[0];
        assert_eq!(first.part, "run_queue");
        assert_eq!(first.by[0].component, "program:hog");
        // Web asks store, and that is all of the application.
        assert_eq!(parallel.unwrap().processes.len(), 2);
    }

    #[test]
    fn what_cannot_be_told_is_told_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = recorded_with(folder.path(), &[]);
        let (tail, parallel) = asked(&path);
        for why in [tail.unwrap_err(), parallel.unwrap_err()] {
            assert!(why.contains("x.rec has no single events"), "{why}");
            assert!(why.contains("courtside record --events"), "{why}");
        }
        let (tail, parallel) = asked(&folder.path().join("gone.rec"));
        for why in [tail.unwrap_err(), parallel.unwrap_err()] {
            assert!(why.contains("gone.rec"), "{why}");
        }
    }
}
