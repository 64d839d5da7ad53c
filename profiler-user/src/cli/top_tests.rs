//! The dashboard in a pseudo-terminal: the terminal is given back whatever ends it.

use crate::fixture::{frames, snapshots};
use std::{
    env, fs,
    io::{Read as _, Write as _},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};

use clap::Parser as _;

use super::{super::output::ascii_locale, *};
use crate::{
    cli::args::{Cli, Command},
    record::Writer,
};

/// Tells the child which source to show, and where to export to.
const PLAY: &str = "COURTSIDE_TEST_PLAY";
const EXPORT: &str = "COURTSIDE_TEST_EXPORT";
const PATIENCE: Duration = Duration::from_secs(30);

/// Shows windows of a healthy host, and ends as it was asked to.
struct Play {
    window: u64,
    end: String,
}

impl Source for Play {
    fn next(&mut self) -> anyhow::Result<Snapshot> {
        self.window += 1;
        match self.end.as_str() {
            "panic" if self.window > 3 => panic!("the source broke"),
            "error" if self.window > 3 => bail!("the source ended"),
            "overflow" => Ok(snapshots::overflowing(self.window)),
            "lossy" => Ok(snapshots::lossy(self.window)),
            _ => Ok(snapshots::normal(self.window)),
        }
    }

    fn reset(&mut self) {
        self.window = 0;
    }
}

/// Runs the dashboard on this terminal. Also for looking at it: `COURTSIDE_TEST_PLAY=normal cargo test … -- --ignored`.
#[test]
#[ignore = "needs a terminal; the tests below give it one"]
fn dashboard() {
    let Ok(end) = env::var(PLAY) else {
        return;
    };
    if end == "replay" {
        let file = PathBuf::from(env::var_os(EXPORT).unwrap()).join("x.rec");
        let line = ["courtside", "replay", file.to_str().unwrap()];
        let Some(Command::Replay(args)) = Cli::try_parse_from(line).unwrap().command else {
            panic!("not replay");
        };
        crate::cli::replay::run(&args).unwrap();
        return;
    }
    let options = Options {
        color: env::var_os("NO_COLOR").is_none(),
        ascii: ascii_locale(|name| env::var(name).ok()),
        duration: None,
        export_dir: env::var_os(EXPORT).map_or_else(env::temp_dir, PathBuf::from),
        entries: if end == "entry" {
            vec!["nosuch:81".parse().unwrap()]
        } else {
            Vec::new()
        },
    };
    let interval = Duration::from_millis(if end == "normal" { 500 } else { 20 });
    run(Box::new(Play { window: 0, end }), interval, &options, None).unwrap();
}

/// A child that does not outlive its test.
struct Ended(Box<dyn Child + Send + Sync>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A child in a pseudo-terminal.
struct Pty {
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn io::Write + Send>,
    child: Ended,
    output: Receiver<Vec<u8>>,
    /// What the terminal shows, and whether it is on its alternate screen.
    terminal: vt100::Parser,
    /// Terminal settings before the child began.
    before: String,
}

impl Pty {
    fn start(end: &str, export: &Path) -> Self {
        let size = PtySize {
            rows: 24,
            cols: 100,
            ..PtySize::default()
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env::current_exe().unwrap());
        command.args([
            "--exact",
            "cli::top::tests::dashboard",
            "--ignored",
            "--nocapture",
        ]);
        command.env(PLAY, end);
        command.env(EXPORT, export);
        command.env("LANG", "C.UTF-8");
        command.env("TERM", "xterm-256color");
        command.env("RUST_BACKTRACE", "0");
        let before = format!("{:?}", pair.master.get_termios());
        let child = pair.slave.spawn_command(command).unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (send, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            keys: pair.master.take_writer().unwrap(),
            master: pair.master,
            child: Ended(child),
            output,
            terminal: vt100::Parser::new(24, 100, 0),
            before,
        }
    }

    /// Waits until the terminal is as wanted.
    fn until(&mut self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(self.terminal.screen()) {
            let wait = deadline.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.output.recv_timeout(wait) else {
                panic!(
                    "{what} did not come:\n{}",
                    self.terminal.screen().contents()
                );
            };
            self.terminal.process(&bytes);
        }
    }

    /// Waits until the dashboard shows `text`.
    fn expect(&mut self, text: &str) {
        self.until(text, |screen| {
            screen.alternate_screen() && screen.contents().contains(text)
        });
    }

    /// Waits until the terminal is given back.
    fn given_back(&mut self) {
        self.until("the main screen", |screen| {
            !screen.alternate_screen() && !screen.hide_cursor()
        });
    }

    fn resize(&mut self, rows: u16, cols: u16) {
        self.terminal.screen_mut().set_size(rows, cols);
        let size = PtySize {
            rows,
            cols,
            ..PtySize::default()
        };
        self.master.resize(size).unwrap();
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.tgid(), signal).unwrap();
    }

    fn tgid(&self) -> Pid {
        Pid::from_raw(self.child.0.process_id().unwrap() as i32).unwrap()
    }

    /// Waits for the end; the terminal must be as it was before. Also what it then shows.
    fn ended(mut self) -> (ExitStatus, String) {
        let status = self.child.0.wait().unwrap();
        assert_eq!(format!("{:?}", self.master.get_termios()), self.before);
        drop(self.master);
        for bytes in &self.output {
            self.terminal.process(&bytes);
        }
        let screen = self.terminal.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        (status, screen.contents())
    }
}

#[test]
fn quitting_and_signals_give_the_terminal_back() {
    let folder = tempfile::tempdir().unwrap();
    for end in ["q", "\u{3}"] {
        let mut pty = Pty::start("run", folder.path());
        pty.expect("Components");
        pty.expect("web");
        pty.press(end);
        assert!(pty.ended().0.success());
    }
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut pty = Pty::start("run", folder.path());
        pty.expect("web");
        pty.signal(signal);
        assert!(pty.ended().0.success(), "{signal:?}");
    }
}

#[test]
fn a_recording_is_stepped_through() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("x.rec")).unwrap();
    let mut writer = Writer::new(file, &Header::default()).unwrap();
    for n in 0..5 {
        let mut frame = frames::chain(n + 1);
        // Nothing moves by itself while we look.
        frame.duration_ns = 3_600_000_000_000;
        frame.start_unix_ns += n * frame.duration_ns;
        writer.frame(&frame).unwrap();
    }
    writer.finish().unwrap();
    let mut pty = Pty::start("replay", folder.path());
    pty.expect("REPLAY");
    pty.expect("0/4");
    for (keys, place) in [
        ("t", "1/4"),
        ("J3\r", "3/4"),
        ("T", "2/4"),
        ("J+2h\r", "4/4"),
        ("r", "0/4"),
    ] {
        pty.press(keys);
        pty.expect(place);
        pty.expect("stopped");
    }
    pty.press("J99%x");
    pty.press("\r");
    pty.expect("jump to a time");
    // What needs every event says that there are none; meanwhile the dashboard goes on.
    pty.press("\u{15}\u{7f}0");
    pty.expect("has no single");
    pty.press("\u{3}");
    assert!(pty.ended().0.success());
}

#[test]
fn an_entry_that_is_nowhere_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut pty = Pty::start("entry", folder.path());
    pty.expect("there is no entry nosuch:81; requests came in at");
    pty.press("q");
    assert!(pty.ended().0.success());
}

#[test]
fn a_failing_source_gives_the_terminal_back_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    for (end, why) in [("panic", "the source broke"), ("error", "the source ended")] {
        let (status, left) = Pty::start(end, folder.path()).ended();
        assert!(!status.success(), "{end}");
        assert!(left.contains(why), "{end}: {left}");
    }
}

#[test]
fn a_terminal_that_goes_away_ends_the_dashboard() {
    let folder = tempfile::tempdir().unwrap();
    let mut pty = Pty::start("run", folder.path());
    pty.expect("web");
    let Pty {
        master,
        keys,
        mut child,
        output,
        ..
    } = pty;
    // The thread that reads holds the last end; it goes when there is no one to read for.
    drop((master, keys, output));
    child.0.wait().unwrap();
}

#[test]
fn suspending_gives_the_terminal_back_until_continued() {
    let folder = tempfile::tempdir().unwrap();
    let mut pty = Pty::start("run", folder.path());
    pty.expect("web");
    for by_key in [true, false] {
        if by_key {
            pty.press("\u{1a}");
        } else {
            pty.signal(Signal::TSTP);
        }
        pty.given_back();
        let stat = format!("/proc/{}/stat", pty.tgid().as_raw_nonzero());
        let deadline = Instant::now() + PATIENCE;
        while !fs::read_to_string(&stat).unwrap().contains(") T ") {
            assert!(Instant::now() < deadline, "not stopped");
            thread::yield_now();
        }
        assert_eq!(format!("{:?}", pty.master.get_termios()), pty.before);
        pty.signal(Signal::CONT);
        pty.expect("Components");
    }
    pty.press("q");
    assert!(pty.ended().0.success());
}

#[test]
fn keys_resize_and_export_reach_the_screen() {
    let folder = tempfile::tempdir().unwrap();
    let mut pty = Pty::start("run", folder.path());
    pty.expect("COMPONENT");
    pty.press("2");
    pty.expect("FROM");
    pty.resize(5, 10);
    pty.expect("terminal");
    pty.resize(24, 80);
    pty.expect("FROM");
    pty.press(" e");
    pty.expect("written to courtside-");
    let written: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(written.len(), 1);
    let json = fs::read(written[0].path()).unwrap();
    assert_eq!(
        serde_json::from_slice::<Snapshot>(&json)
            .unwrap()
            .edges
            .len(),
        3
    );
    pty.press("e");
    pty.expect("-2.json");
    pty.press("q");
    assert!(pty.ended().0.success());
}

#[test]
fn without_a_terminal_the_error_says_what_to_do() {
    let source = Play {
        window: 0,
        end: String::new(),
    };
    let options = Options {
        color: false,
        ascii: false,
        duration: None,
        export_dir: PathBuf::new(),
        entries: Vec::new(),
    };
    if !stdout().is_terminal() {
        let error = run(Box::new(source), Duration::from_secs(1), &options, None).unwrap_err();
        assert!(error.to_string().contains("courtside stat"), "{error}");
    }
}

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
    assert_eq!(name, "courtside-2025-11-24T160000Z.json");
    let json = fs::read(folder.path().join(&name)).unwrap();
    assert_eq!(serde_json::from_slice::<Snapshot>(&json).unwrap(), snapshot);
    let again = write_snapshot(&snapshot, folder.path()).unwrap();
    assert_eq!(again, "courtside-2025-11-24T160000Z-2.json");
    assert_eq!(fs::read(folder.path().join(&name)).unwrap(), json);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}
