//! `scale run` over a kernel that is none, with commands that are real.

use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
};

use clap::Parser;

use super::*;
use crate::{
    cli::args::{Command as CliCommand, ScaleCommand},
    collect::Wishes,
    fixture::frames,
    frame::ProbeStatus,
    model::scaling::Scaling,
};

/// Gives the same frame again and again.
#[derive(Default)]
struct Fake {
    drops: AtomicU32,
    attached: AtomicU32,
}

struct FakeMeasurement;

impl Kernel for Fake {
    fn attach(&self, _wishes: &Wishes) -> anyhow::Result<Box<dyn Measurement>> {
        self.attached.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(FakeMeasurement))
    }

    fn drop_privileges(&self) -> anyhow::Result<()> {
        self.drops.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Measurement for FakeMeasurement {
    fn window(&mut self) -> anyhow::Result<Frame> {
        Ok(frames::chain(10))
    }

    fn probes(&self) -> &[ProbeStatus] {
        &[]
    }
}

/// Runs `scale run` with these arguments; returns the JSON.
fn scale_run(fake: &Fake, arguments: &[&str]) -> anyhow::Result<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.json");
    let line = [
        "courtside",
        "scale",
        "run",
        "--json",
        "-o",
        file.to_str().unwrap(),
    ];
    let cli = Cli::try_parse_from(line.iter().chain(arguments)).unwrap();
    let Some(CliCommand::Scale(args)) = cli.command else {
        panic!("not scale: {arguments:?}");
    };
    let Some(ScaleCommand::Run(args)) = args.command else {
        panic!("not run: {arguments:?}");
    };
    let status = run(&args, fake, Path::new("/"));
    let text = fs::read_to_string(&file);
    // Without an answer nothing is written.
    assert_eq!(text.is_ok(), status.as_ref().is_ok_and(|code| *code == 0));
    status.map(|_| text.unwrap_or_default())
}

#[test]
fn sizes_are_cores_or_workers_on_the_same_cores() {
    let step = |n, cores, workers| Step { n, cores, workers };
    let of = |cores: &[u32], workers: &[u32]| steps(cores, workers).unwrap();
    assert_eq!(of(&[1, 2], &[]), [step(1, 1, 1), step(2, 2, 2)]);
    assert_eq!(of(&[1, 2], &[4, 8]), [step(1, 1, 4), step(2, 2, 8)]);
    assert_eq!(of(&[2], &[1, 4]), [step(1, 2, 1), step(4, 2, 4)]);
    assert_eq!(steps(&[1, 2, 3], &[1, 2]), None);
    let said = words(
        &["x".into(), "-j{workers}/{cores}".into(), "{}".into()],
        step(2, 2, 8),
    );
    assert_eq!(said, ["x", "-j8/2", "{}"]);
}

#[test]
fn a_command_is_run_at_each_size_and_privileges_go_with_the_last_run() {
    let fake = Fake::default();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let keep = dir.path().join("kept");
    let line = format!("echo {{workers}} >> {}", log.display());
    let arguments = ["--cores", "1", "--workers", "1,2,3", "--repeat", "2"];
    let keeping = ["--keep", keep.to_str().unwrap(), "--", "sh", "-c", &line];
    let text = scale_run(&fake, &[&arguments[..], &keeping].concat()).unwrap();
    assert_eq!(fs::read_to_string(log).unwrap(), "1\n2\n3\n3\n2\n1\n");
    assert_eq!(fake.drops.load(Ordering::Relaxed), 1);
    assert_eq!(fake.attached.load(Ordering::Relaxed), 1);
    let found: Scaling = serde_json::from_str(&text).unwrap();
    let sizes: Vec<_> = found
        .points
        .iter()
        .map(|p| (p.n, p.cores, p.workers))
        .collect();
    let wanted = [1, 2, 3].map(|n| (n, Some(1), Some(n)));
    assert_eq!(sizes, wanted);
    assert_eq!(found.unit, TaskUnit::Commands);
    assert!(found.usl.is_some() && found.points[0].makespan.is_some());
    // Nothing of what is in the frames began with the command.
    assert!(found.points.iter().all(|point| point.others_busy.is_none()));
    let mut kept: Vec<_> = fs::read_dir(keep)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    kept.sort();
    assert_eq!(kept.len(), 6);
    assert_eq!(kept[0], "1-1.rec");
}

#[test]
fn what_cannot_be_measured_is_said_before_anything_is_attached() {
    let fake = Fake::default();
    let more = (CpuSet::MAX_CPU + 1).to_string();
    for (cores, words) in [
        ("1", "one size only"),
        ("1,1", "1 is given twice"),
        (&*format!("1,{more}"), "this process may use"),
    ] {
        let error = scale_run(&fake, &["--cores", cores, "--", "true"]).unwrap_err();
        let said = format!("{error:#}");
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(fake.attached.load(Ordering::Relaxed), 0);
}

#[test]
fn a_command_that_fails_is_no_measurement() {
    let fake = Fake::default();
    let run = |command: &[&str]| {
        let arguments = ["--cores", "1", "--workers", "1,2", "--repeat", "1", "--"];
        let error = scale_run(&fake, &[&arguments[..], command].concat()).unwrap_err();
        format!("{error:#}")
    };
    let said = run(&["sh", "-c", "exit 7"]);
    assert!(said.contains("ended with status 7 on 1 cores"), "{said}");
    let said = run(&["/no/such/command"]);
    assert!(
        said.starts_with("cannot run /no/such/command: No such file"),
        "{said}"
    );
}

#[test]
fn images_are_the_commands_if_they_began_with_it() {
    let mut frame = frames::chain(1);
    let before = BTreeSet::from([frames::LOAD]);
    let mut own = Own::new(Some(frames::APP * 100));
    let row = |tgid, ppid| ProcessRow {
        tgid,
        ppid,
        comm: String::new(),
        start_ticks: 0,
        kernel: false,
    };
    // The store is a grandchild of the command; its parent is listed after it.
    own.learn(&[row(frames::STORE * 100, 7), row(7, frames::APP * 100)]);
    let mut other = frames::image(frames::STORE + 1, "cron", &[]);
    frame.images.push(other.clone());
    own.note(&frame, &before);
    // Web is older than the command, and was idle before.
    // And cron began with it, but is none of its descendants.
    assert_eq!(own.images(), BTreeSet::from([frames::APP, frames::STORE]));
    // What was gone when it was looked at may be.
    other.id += 1;
    other.processes.clear();
    frame.images.push(other);
    own.note(&frame, &before);
    assert!(own.images().contains(&(frames::STORE + 2)));
    frame.images[1].id = IMAGE_FORKED + 3;
    own.note(&frame, &before);
    assert!(own.images().contains(&(IMAGE_FORKED + 3)));
    let mut unknown = Own::new(None);
    unknown.all = BTreeSet::from([3, 4]);
    assert_eq!(unknown.images().len(), 2);
}
