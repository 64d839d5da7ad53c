//! `record` on a kernel that is made up: files, bounds, statuses, what is kept on a signal.

use crate::fixture::frames;
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use clap::Parser;
use rustix::process::{getpid, kill_process};

use super::*;
use crate::{
    cli::args::{Cli, Command},
    collect::Wishes,
    frame::{Frame, ProbeStatus},
};

/// Gives windows that follow each other by a second each, however fast they are asked for.
#[derive(Default)]
struct Fake {
    windows: Arc<AtomicU64>,
    /// At this window SIGUSR1 is sent to ourselves.
    signal_at: Option<u64>,
    fails: bool,
}

struct FakeMeasurement {
    windows: Arc<AtomicU64>,
    signal_at: Option<u64>,
}

impl Kernel for Fake {
    fn attach(&self, _wishes: &Wishes) -> anyhow::Result<Box<dyn Measurement>> {
        anyhow::ensure!(!self.fails, "no kernel");
        Ok(Box::new(FakeMeasurement {
            windows: Arc::clone(&self.windows),
            signal_at: self.signal_at,
        }))
    }

    fn drop_privileges(&self) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Measurement for FakeMeasurement {
    fn window(&mut self) -> anyhow::Result<Frame> {
        let n = self.windows.fetch_add(1, Ordering::Relaxed);
        if self.signal_at == Some(n) {
            kill_process(getpid(), Signal::USR1).unwrap();
        }
        let mut frame = frames::chain(1);
        frame.start_unix_ns += n * frame.duration_ns;
        frame.lost.insert("flows".to_owned(), 2);
        Ok(frame)
    }

    fn probes(&self) -> &[ProbeStatus] {
        &[]
    }
}

/// Runs `record` into a file of this folder.
fn record(fake: &Fake, folder: &Path, arguments: &[&str]) -> anyhow::Result<u8> {
    let file = folder.join("x.rec");
    let line = ["courtside", "record", "-o", file.to_str().unwrap()];
    let cli = Cli::try_parse_from(line.iter().chain(arguments)).unwrap();
    let Some(Command::Record(args)) = cli.command else {
        panic!("not record: {arguments:?}");
    };
    run(&args, fake, Path::new("/"))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// All but what a signal of another test had kept: all tests are one process.
fn recordings(folder: &Path) -> Vec<String> {
    let mut names = names(folder);
    names.retain(|name| !name.starts_with("x.rec-"));
    names
}

#[test]
fn every_window_is_in_the_file() {
    let fake = Fake::default();
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["-d", "30ms", "-i", "10ms", "-n", "web", "--entry", "web:80"];
    assert_eq!(record(&fake, dir.path(), &arguments).unwrap(), 0);
    let recording = Recording::open(&dir.path().join("x.rec")).unwrap();
    let windows = fake.windows.load(Ordering::Relaxed);
    assert_eq!(recording.windows().len() as u64, windows);
    assert!(recording.is_finished());
    assert_eq!(recording.verify().unwrap(), []);
    let header = recording.header();
    assert_eq!(header.interval_ns, 10_000_000);
    assert!(!header.host.kernel.is_empty());
    assert_eq!(header.view.comms, ["web"]);
    assert_eq!(header.view.entries, ["web:80"]);
    assert_eq!(recordings(dir.path()), ["x.rec"]);
}

#[test]
fn a_commands_status_is_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["--", "sh", "-c", "exit 7"];
    assert_eq!(record(&Fake::default(), dir.path(), &arguments).unwrap(), 7);
    let recording = Recording::open(&dir.path().join("x.rec")).unwrap();
    assert_eq!(recording.header().command, ["sh", "-c", "exit 7"]);
    assert!(recording.windows().len() >= 1);
}

#[test]
fn a_file_that_is_there_is_kept_unless_force_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.rec");
    fs::write(&file, "dear to me").unwrap();
    let fake = Fake::default();
    let error = record(&fake, dir.path(), &["-d", "1ms"]).unwrap_err();
    assert!(error.to_string().contains("exists; "), "{error}");
    assert!(error.to_string().contains("--force"), "{error}");
    assert_eq!(fake.windows.load(Ordering::Relaxed), 0);
    let fails = Fake {
        fails: true,
        ..Fake::default()
    };
    assert!(record(&fails, dir.path(), &["-d", "1ms", "--force"]).is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), "dear to me");
    assert_eq!(record(&fake, dir.path(), &["-d", "1ms", "-f"]).unwrap(), 0);
    assert!(Recording::open(&file).is_ok());
}

#[test]
fn nothing_is_left_of_a_recording_that_did_not_begin() {
    let dir = tempfile::tempdir().unwrap();
    let fails = Fake {
        fails: true,
        ..Fake::default()
    };
    assert!(record(&fails, dir.path(), &["--retain", "1h"]).is_err());
    let missing = ["--", "/no/such/command"];
    assert!(record(&Fake::default(), dir.path(), &missing).is_err());
    fs::write(dir.path().join("x.rec.2"), "").unwrap();
    assert!(record(&Fake::default(), dir.path(), &["--retain", "1h"]).is_err());
    assert_eq!(names(dir.path()), ["x.rec.2"]);
}

#[test]
fn a_flight_recorder_leaves_the_newest_in_two_files() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    // The made-up windows last a second each.
    let arguments = [
        "-i",
        "10ms",
        "--retain",
        "3s",
        "--",
        "sh",
        "-c",
        "sleep 0.2",
    ];
    assert_eq!(record(&fake, dir.path(), &arguments).unwrap(), 0);
    assert_eq!(recordings(dir.path()), ["x.rec", "x.rec.2"]);
    let recording = Recording::open(&dir.path().join("x.rec")).unwrap();
    let written = fake.windows.load(Ordering::Relaxed);
    let kept = recording.windows().len() as u64;
    assert!(kept <= 6 && kept >= written.min(3), "{kept} of {written}");
    let last = recording.windows().last().unwrap();
    let first_ns = frames::chain(1).start_unix_ns;
    assert_eq!(last.start_unix_ns - first_ns, (written - 1) * 1_000_000_000);
}

#[test]
fn a_signal_keeps_the_last_minutes_and_recording_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake {
        signal_at: Some(4),
        ..Fake::default()
    };
    // The command waits until the file is there.
    let wait = format!(
        "until ls {}/x.rec-*; do sleep 0.01; done",
        dir.path().display()
    );
    let arguments = ["-i", "10ms", "--keep", "2s", "--", "sh", "-c", &wait];
    assert_eq!(record(&fake, dir.path(), &arguments).unwrap(), 0);
    let names = names(dir.path());
    assert_eq!(names.len(), 2, "{names:?}");
    let kept = Recording::open(&dir.path().join(&names[1])).unwrap();
    assert!(kept.is_finished());
    assert_eq!(kept.windows().len(), 2);
    let whole = Recording::open(&dir.path().join("x.rec")).unwrap();
    assert!(whole.windows().len() > 5);
}

#[test]
fn what_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let error = record(&fake, &dir.path().join("no"), &["-d", "1ms"]).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("no/x.rec: No such file"), "{text}");
    for name in ["/", "..", "-"] {
        let error = Files::open(Path::new(name), false, false).err().unwrap();
        assert!(error.to_string().contains("-o FILE"), "{error}");
    }
    let error = Files::open(Path::new("-"), false, false).err().unwrap();
    assert!(error.to_string().contains("-o FILE"), "{error}");
}

#[test]
fn only_its_owner_reads_a_recording_and_no_link_is_followed_to_write_one() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.rec");
    let private = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777 == 0o600;
    let fake = Fake::default();
    let bounded = ["-d", "1ms", "--retain", "1h"];
    assert_eq!(record(&fake, dir.path(), &bounded).unwrap(), 0);
    assert!(private(&file) && private(&dir.path().join("x.rec.2")));
    // In the place of one that anybody may read, too; whoever holds that does not see the new one.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let before = fs::read(&file).unwrap();
    fs::hard_link(&file, dir.path().join("held")).unwrap();
    assert_eq!(record(&fake, dir.path(), &["-d", "1ms", "-f"]).unwrap(), 0);
    assert!(private(&file));
    assert_eq!(fs::read(dir.path().join("held")).unwrap(), before);
    fs::remove_file(&file).unwrap();
    symlink(dir.path().join("held"), &file).unwrap();
    for force in [&["-d", "1ms"][..], &["-d", "1ms", "-f"]] {
        assert!(record(&fake, dir.path(), force).is_err());
    }
    assert_eq!(fs::read(dir.path().join("held")).unwrap(), before);
}
