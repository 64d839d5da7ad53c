//! The dashboard on a terminal: what it shows for each key, at any size, and that it gives the terminal back.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{Read as _, Write},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use courtside_tests::{
    harness::{Host, Running, Snapshot, courtside, eventually, schema, workload},
    sound,
};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};
use vt100::{Color, Parser};

const WIDE: (u16, u16) = (120, 40);

/// A terminal with the dashboard on it, which is killed when dropped.
struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    parser: Arc<Mutex<Parser>>,
    /// How the terminal was before.
    settings: String,
}

fn size_of((cols, rows): (u16, u16)) -> PtySize {
    PtySize {
        rows,
        cols,
        ..PtySize::default()
    }
}

fn settings(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().unwrap())
}

impl Terminal {
    fn start(options: &[&str], environment: &[(&str, &str)]) -> Self {
        let pair = native_pty_system().openpty(size_of(WIDE)).unwrap();
        let settings = settings(&*pair.master);
        let mut command = CommandBuilder::new(courtside().unwrap());
        command.args([&["top", "-i", "200ms"], options].concat());
        command.env_remove("NO_COLOR");
        for (name, value) in [("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8")] {
            command.env(name, value);
        }
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        let parser = Arc::new(Mutex::new(Parser::new(WIDE.1, WIDE.0, 0)));
        let mut output = pair.master.try_clone_reader().unwrap();
        let shared = Arc::clone(&parser);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                shared.lock().unwrap().process(&bytes[..read]);
            }
        });
        let keyboard = pair.master.take_writer().unwrap();
        let mut terminal = Self {
            master: pair.master,
            keyboard,
            child,
            parser,
            settings,
        };
        terminal.shows(&["LIVE"]);
        terminal
    }

    fn text(&self) -> String {
        self.parser.lock().unwrap().screen().contents()
    }

    /// Waits until all of this is on the screen.
    fn shows(&mut self, words: &[&str]) {
        self.becomes(&format!("{words:?}"), |text| {
            words.iter().all(|word| text.contains(word))
        });
    }

    fn becomes(&mut self, what: &str, is_so: impl Fn(&str) -> bool) {
        let mut ended = None;
        let waited = eventually(what, || {
            ended = self.child.try_wait().unwrap();
            ended.is_some() || is_so(&self.text())
        });
        let text = self.text();
        assert!(waited.is_ok() && is_so(&text), "{what}, {ended:?}:\n{text}");
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    fn resize(&mut self, size: (u16, u16)) {
        // An empty screen, so that what is on it was drawn for the new size.
        *self.parser.lock().unwrap() = Parser::new(size.1, size.0, 0);
        self.master.resize(size_of(size)).unwrap();
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.process_id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    fn is_as_before(&self) -> bool {
        let parser = self.parser.lock().unwrap();
        let screen = parser.screen();
        !screen.alternate_screen()
            && !screen.hide_cursor()
            && !screen.bracketed_paste()
            && settings(&*self.master) == self.settings
    }

    /// Waits for the end, which must be a good one.
    fn ends(&mut self) {
        let mut ended = None;
        eventually("the end", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        })
        .unwrap();
        assert!(
            ended.as_ref().unwrap().success(),
            "{ended:?}: {}",
            self.text()
        );
        eventually("the terminal as it was", || self.is_as_before()).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail if it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The service of three tiers, until dropped.
fn service() -> Running {
    let mut command = Command::new(workload().unwrap());
    command.args(["relay", "--serve", "--rate", "50"]);
    let mut service = Running::start(command.stdin(Stdio::null())).unwrap();
    assert!(service.line().unwrap().contains("ready"));
    service
}

fn end(mut service: Running) {
    // So that it ends its tiers as well.
    service.signal(Signal::TERM).unwrap();
    service.wait().unwrap();
}

#[test]
fn every_key_does_what_it_says() {
    let host = Host::take().unwrap();
    let service = service();
    let folder = host.dir().to_str().unwrap();
    let mut terminal = Terminal::start(&["-o", folder], &[]);
    terminal.shows(&["store", "one request:", "lost 0", "self", "PMU", "midlife"]);
    for (key, words) in [
        ("2", &["FROM", "TO", "RT/req"] as &[&str]),
        ("3", &["─▶", "load", "store"]),
        ("4", &["turnaround mean", "RECIPIENT"]),
        ("5", &["ON-CPU", "INVOL/s"]),
        ("6", &["READS/s", "store"]),
        ("7", &["Own cost", "sock_send_length", "✓ nothing"]),
        ("1", &["SVC p50", "TURNAROUND"]),
        ("\t", &["FROM", "TO", "RT/req"]),
        ("\x1b[Z", &["SVC p50", "TURNAROUND"]),
        ("?", &["Parts of a turnaround", "Keys", "Ctrl-Z"]),
        ("x", &["SVC p50", "one request:"]),
        ("s", &["sorted by"]),
        ("+", &["LIVE 500ms"]),
        ("-", &["LIVE 200ms"]),
        (" ", &["PAUSED"]),
        (" ", &["LIVE"]),
        ("e", &["written to courtside-"]),
    ] {
        terminal.press(key);
        terminal.shows(words);
    }
    let exported: Vec<_> = fs::read_dir(folder).unwrap().flatten().collect();
    let [file] = exported.as_slice() else {
        panic!("{exported:?}");
    };
    let snapshot = Snapshot(serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap());
    sound::check(&snapshot, &schema("snapshot").unwrap()).unwrap();
    terminal.press("q");
    terminal.ends();
    end(service);
}

#[test]
fn a_filter_hides_what_it_does_not_match() {
    let _host = Host::take().unwrap();
    let service = service();
    let mut terminal = Terminal::start(&["-n", "store", "-n", "app", "-n", "web"], &[]);
    let has_row = |text: &str, name: &str| {
        text.lines().any(|line| {
            let line = line.trim_start_matches(['▸', ' ']);
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with("  "))
        })
    };
    terminal.becomes("all rows", |text| {
        ["store", "app", "web"]
            .iter()
            .all(|name| has_row(text, name))
    });
    terminal.press("/sto");
    terminal.becomes("one row", |text| {
        has_row(text, "store") && !has_row(text, "app")
    });
    terminal.press("\r");
    terminal.shows(&["filter “sto”"]);
    terminal.press("\x1b");
    terminal.becomes("all rows", |text| {
        has_row(text, "store") && has_row(text, "app")
    });
    terminal.press("/name:nobody\r");
    terminal.shows(&["Nothing matches", "Esc clears"]);
    terminal.press("\x1bq");
    terminal.ends();
    end(service);
}

#[test]
fn any_size_will_do() {
    let _host = Host::take().unwrap();
    let service = service();
    let mut terminal = Terminal::start(&[], &[]);
    terminal.shows(&["one request:"]);
    for view in ["1", "2", "3", "4", "5", "6", "7"] {
        terminal.press(view);
        for (size, word) in [
            ((40, 20), "LIVE"),
            ((10, 5), "too"),
            ((1, 1), ""),
            ((80, 24), "LIVE"),
        ] {
            terminal.resize(size);
            terminal.becomes(&format!("view {view} at {size:?}"), |text| {
                text.contains(word)
            });
        }
    }
    terminal.resize(WIDE);
    terminal.press("1");
    terminal.shows(&["LIVE", "one request:", "SVC p50"]);
    terminal.press("q");
    terminal.ends();
    end(service);
}

#[test]
fn the_terminal_is_given_back_however_it_ends() {
    let _host = Host::take().unwrap();
    for key in ["q", "\x03"] {
        let mut terminal = Terminal::start(&[], &[]);
        assert!(!terminal.is_as_before());
        terminal.press(key);
        terminal.ends();
    }
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut terminal = Terminal::start(&[], &[]);
        terminal.signal(signal);
        terminal.ends();
    }
}

#[test]
fn it_can_be_put_aside_and_taken_up_again() {
    let _host = Host::take().unwrap();
    let mut terminal = Terminal::start(&[], &[]);
    let status = format!("/proc/{}/stat", terminal.child.process_id().unwrap());
    terminal.press("\x1a");
    eventually("the stop", || {
        fs::read_to_string(&status).unwrap().contains(") T ")
    })
    .unwrap();
    eventually("the terminal as it was", || terminal.is_as_before()).unwrap();
    terminal.signal(Signal::CONT);
    eventually("the screen", || !terminal.is_as_before()).unwrap();
    terminal.shows(&["LIVE", "COMPONENT"]);
    terminal.press("q");
    terminal.ends();
}

/// Views with their colours, and whether any cell has one; and whether all of it is ASCII.
fn drawn(environment: &[(&str, &str)], options: &[&str]) -> (bool, bool) {
    let mut terminal = Terminal::start(options, environment);
    terminal.shows(&["one request:"]);
    let (mut coloured, mut ascii) = (false, true);
    for (view, word) in [
        ("2", "FROM"),
        ("3", "load"),
        ("4", "RECIPIENT"),
        ("5", "INVOL"),
        ("7", "Own cost"),
        ("1", "SVC"),
    ] {
        terminal.press(view);
        terminal.shows(&[word]);
        let parser = terminal.parser.lock().unwrap();
        let screen = parser.screen();
        let (rows, cols) = screen.size();
        let cells = (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col)));
        coloured |= cells
            .filter_map(|(row, col)| screen.cell(row, col))
            .any(|cell| [cell.fgcolor(), cell.bgcolor()] != [Color::Default; 2]);
        ascii &= screen.contents().is_ascii();
    }
    terminal.press("q");
    terminal.ends();
    (coloured, ascii)
}

#[test]
fn colours_and_signs_are_those_that_the_user_wants() {
    let _host = Host::take().unwrap();
    let service = service();
    assert_eq!(drawn(&[], &[]), (true, false));
    assert_eq!(drawn(&[("NO_COLOR", "1")], &[]), (false, false));
    assert_eq!(drawn(&[], &["--color", "never"]), (false, false));
    assert_eq!(drawn(&[("LC_ALL", "C")], &[]), (true, true));
    end(service);
}
