//! The helper by its pipe, on files that stand for those of control groups.

use std::{
    fs,
    io::{BufRead, BufReader, PipeReader, PipeWriter, pipe},
    thread::JoinHandle,
};

use super::*;

struct Rig {
    folder: tempfile::TempDir,
    commands: Option<PipeWriter>,
    answers: BufReader<PipeReader>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cpu.max"), "max 100000\n").unwrap();
        Self::on(folder)
    }

    fn on(folder: tempfile::TempDir) -> Self {
        Self::by(folder, Systemd::at(Path::new("/no/systemctl")))
    }

    fn by(folder: tempfile::TempDir, systemd: Systemd) -> Self {
        let (input, commands) = pipe().unwrap();
        let (answers, output) = pipe().unwrap();
        let state = folder.path().to_owned();
        let mut rig = Self {
            folder,
            commands: Some(commands),
            answers: BufReader::new(answers),
            thread: Some(std::thread::spawn(move || {
                run_by(&state, systemd, input, output)
            })),
        };
        assert_eq!(rig.answer().last().unwrap(), "ok");
        rig
    }

    fn limit(&self) -> PathBuf {
        self.folder.path().join("cpu.max")
    }

    fn now(&self) -> String {
        fs::read_to_string(self.limit()).unwrap()
    }

    fn answer(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.answers.read_line(&mut line).unwrap() == 0 {
                return lines;
            }
            let line = line.trim_end().to_owned();
            let end = line == "ok" || line.starts_with("no\t");
            lines.push(line);
            if end {
                return lines;
            }
        }
    }

    fn ask(&mut self, command: &str) -> Vec<String> {
        let line = format!("{command}\n");
        self.commands
            .as_mut()
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
        self.answer()
    }

    fn set(&mut self, before: &str, after: &str) -> Vec<String> {
        let limit = self.limit();
        self.ask(&format!("set\t{before}\t{after}\t{}", limit.display()))
    }

    fn end(mut self) -> tempfile::TempDir {
        self.commands = None;
        self.thread.take().unwrap().join().unwrap().unwrap();
        self.folder
    }
}

#[test]
fn limits_end_with_the_pipe() {
    let mut rig = Rig::new();
    assert_eq!(rig.set("max 100000", "50000 100000"), ["ok"]);
    assert_eq!(rig.now(), "50000 100000");
    assert_eq!(rig.set("max 100000", "25000 100000"), ["ok"]);
    let folder = rig.end();
    let now = fs::read_to_string(folder.path().join("cpu.max")).unwrap();
    assert_eq!(now, "max 100000");
    // The journal is empty, and the next one finds nothing.
    let mut rig = Rig::on(folder);
    assert_eq!(rig.ask("renew"), ["ok"]);
    rig.end();
}

#[test]
fn a_limit_that_is_released_is_what_it_was() {
    let mut rig = Rig::new();
    rig.set("max 100000", "50000 100000");
    let limit = rig.limit();
    assert_eq!(rig.ask(&format!("release\t{}", limit.display())), ["ok"]);
    assert_eq!(rig.now(), "max 100000");
    rig.end();
}

#[test]
fn somebody_elses_change_wins_and_is_told() {
    let mut rig = Rig::new();
    rig.set("max 100000", "50000 100000");
    fs::write(rig.limit(), "70000 100000\n").unwrap();
    let told = rig.ask("renew");
    assert!(
        told[0].contains("somebody else has changed it to 70000 100000"),
        "{told:?}"
    );
    let folder = rig.end();
    let now = fs::read_to_string(folder.path().join("cpu.max")).unwrap();
    assert_eq!(now, "70000 100000\n");
}

#[test]
fn nothing_is_written_that_is_not_what_was_seen_or_no_limit() {
    let mut rig = Rig::new();
    let told = rig.set("99000 100000", "50000 100000");
    assert!(told[0].starts_with("no\tsomebody else"), "{told:?}");
    let told = rig.ask("set\tx\ty\t/etc/passwd");
    assert!(told[0].starts_with("no\t"), "{told:?}");
    assert!(rig.ask("nonsense")[0].starts_with("no\t"));
    assert_eq!(rig.now(), "max 100000\n");
    rig.end();
}

#[test]
fn a_limit_that_cannot_be_written_back_stays_in_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let limit = folder.path().join("cpu.max");
    fs::write(&limit, "max 100000\n").unwrap();
    let mut limits = Limits {
        journal: Journal::open(folder.path()).unwrap(),
        held: BTreeMap::new(),
        lost: Vec::new(),
    };
    limits
        .set(&limit, "max 100000", "50000 100000", None)
        .unwrap();
    // One that can be read only.
    let held = limits.held.get_mut(&limit).unwrap();
    held.file = File::open(&limit).unwrap();
    let error = limits.release(&limit).unwrap_err();
    assert!(error.contains("refuses max 100000"), "{error}");
    drop(limits);
    let restored = Journal::open(folder.path()).unwrap().restore();
    assert!(!restored[0].failed, "{restored:?}");
    assert_eq!(fs::read_to_string(&limit).unwrap(), "max 100000");
}

#[test]
fn without_room_for_the_journal_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let limit = folder.path().join("cpu.max");
    fs::write(&limit, "max 100000\n").unwrap();
    // A journal that takes no bytes.
    let full = Journal::on(
        File::options()
            .read(true)
            .append(true)
            .open("/dev/full")
            .unwrap(),
    );
    let mut limits = Limits {
        journal: full,
        held: BTreeMap::new(),
        lost: Vec::new(),
    };
    let error = limits
        .set(&limit, "max 100000", "50000 100000", None)
        .unwrap_err();
    assert!(error.contains("not written"), "{error}");
    assert_eq!(fs::read_to_string(&limit).unwrap(), "max 100000\n");
    assert!(limits.held.is_empty());
}

/// A unit whose group is the folder itself, and something that says and does what systemctl would.
fn of_unit() -> (tempfile::TempDir, Rig) {
    let place = tempfile::tempdir().unwrap();
    let folder = tempfile::Builder::new()
        .prefix("batch-")
        .suffix(".service")
        .tempdir_in(place.path())
        .unwrap();
    fs::write(folder.path().join("cpu.max"), "max 100000\n").unwrap();
    let program = folder.path().join("systemctl");
    let stand_in = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/actuator/helper/systemctl.sh"
    );
    std::os::unix::fs::symlink(stand_in, &program).unwrap();
    (place, Rig::by(folder, Systemd::at(&program)))
}

impl Rig {
    fn set_by_unit(&mut self, after: &str, unit: &str) -> Vec<String> {
        let limit = self.limit();
        let limit = limit.display();
        self.ask(&format!("set\tmax 100000\t{after}\t{limit}\t{unit}"))
    }

    fn unit(&self) -> String {
        let name = self.folder.path().file_name().unwrap();
        name.to_str().unwrap().to_owned()
    }

    /// What it was asked for, without who asked.
    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("asked")).unwrap();
        let unit = self.unit();
        text.lines()
            .map(|line| line.replace(&unit, "UNIT"))
            .collect()
    }

    fn say(&self, file: &str) {
        fs::write(self.folder.path().join(file), "").unwrap();
    }
}

#[test]
fn systemd_is_asked_for_a_limit_of_its_unit_and_to_take_it_back() {
    let (_place, mut rig) = of_unit();
    let unit = rig.unit();
    assert_eq!(rig.set_by_unit("25000 100000", &unit), ["ok"]);
    assert_eq!(rig.now(), "25000 100000\n");
    assert_eq!(rig.set_by_unit("12000 100000", &unit), ["ok"]);
    assert_eq!(rig.now(), "12000 100000\n");
    assert_eq!(
        rig.asked(),
        [
            "show --property=ControlGroup --value -- UNIT",
            "set-property --runtime -- UNIT CPUQuota=25.00%",
            "set-property --runtime -- UNIT CPUQuota=12.00%",
        ]
    );
    let folder = rig.end();
    let now = fs::read_to_string(folder.path().join("cpu.max")).unwrap();
    assert_eq!(now, "max 100000\n");
    let asked = fs::read_to_string(folder.path().join("asked")).unwrap();
    assert!(asked.trim_end().ends_with("CPUQuota="), "{asked}");
    let journal = fs::metadata(folder.path().join("guard.journal")).unwrap();
    assert_eq!(journal.len(), 0);
}

#[test]
fn what_systemd_or_somebody_else_writes_meanwhile_stays() {
    let (_place, mut rig) = of_unit();
    let unit = rig.unit();
    rig.set_by_unit("25000 100000", &unit);
    fs::write(rig.limit(), "70000 100000\n").unwrap();
    assert!(rig.ask("renew")[0].contains("somebody else"));
    let folder = rig.end();
    let now = fs::read_to_string(folder.path().join("cpu.max")).unwrap();
    assert_eq!(now, "70000 100000\n");
}

#[test]
fn a_unit_with_another_group_or_that_refuses_gets_no_limit() {
    let (_place, mut rig) = of_unit();
    let told = rig.set_by_unit("25000 100000", "other.service");
    assert!(told[0].contains("is another one"), "{told:?}");
    rig.say("refuse");
    let unit = rig.unit();
    let told = rig.set_by_unit("25000 100000", &unit);
    assert!(told[0].contains("it refuses"), "{told:?}");
    assert_eq!(rig.now(), "max 100000\n");
    // It could not be asked to take that back: the next one tries again.
    let folder = rig.end();
    let journal = fs::read_to_string(folder.path().join("guard.journal")).unwrap();
    assert!(journal.contains(&unit), "{journal}");
}

#[test]
fn a_change_that_systemd_makes_too_late_is_taken_back() {
    let (_place, mut rig) = of_unit();
    let unit = rig.unit();
    rig.say("late");
    let told = rig.set_by_unit("25000 100000", &unit);
    assert!(told[0].contains("does not come to an end"), "{told:?}");
    let asked = rig.asked();
    assert!(asked[2].ends_with("CPUQuota="), "{asked:?}");
    assert_eq!(rig.now(), "max 100000\n");
    // It says yes, and writes nothing.
    rig.say("lazy");
    let told = rig.set_by_unit("25000 100000", &unit);
    assert!(told[0].contains("is as before"), "{told:?}");
    rig.end();
}
