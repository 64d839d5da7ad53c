//! Groups: control groups of version 1, of version 2, and of both at once, as hosts have them.
//!
//! In: a built `courtside`, a machine whose control groups are ours to mount. Out: which names were right in which layout.
//! Must not know: how a name comes out of a path.

use std::{
    env,
    ffi::CStr,
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};

use super::traffic::LET_GO;
use crate::harness::{Host, Measured, Running, Snapshot, list, number, workload};

/// First argument of this program when it is to run a command in control groups, which come before `--`.
pub const IN_GROUPS: &str = "--in-groups";
const TOP: &str = "/sys/fs/cgroup";
/// A service, and a container, as their managers call them.
const SERVICE: &str = "system.slice/shop.service";
const CONTAINER: &str = "docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const MESSAGES: u64 = 203;
const CONNECTIONS: u64 = 3;

/// A hierarchy: where it is below [`TOP`], and which controller of version 1 it has; version 2 if none.
type Hierarchy = (&'static str, Option<&'static CStr>);

/// A way in which hosts mount them.
struct Layout {
    name: &'static str,
    hierarchies: &'static [Hierarchy],
    /// In which hierarchies whoever makes the group puts it.
    service: &'static [&'static str],
    container: &'static [&'static str],
}

const LAYOUTS: [Layout; 3] = [
    Layout {
        name: "version 2",
        hierarchies: &[("", None)],
        service: &[""],
        container: &[""],
    },
    Layout {
        name: "version 1",
        hierarchies: &[
            ("systemd", Some(c"none,name=systemd")),
            ("cpu", Some(c"cpu")),
        ],
        service: &["systemd"],
        container: &["cpu"],
    },
    Layout {
        name: "both",
        hierarchies: &[
            ("systemd", Some(c"none,name=systemd")),
            ("cpu", Some(c"cpu")),
            ("unified", None),
        ],
        service: &["systemd", "unified"],
        container: &["systemd", "cpu"],
    },
];

/// In each layout processes are called by their control group, by their unit and by their container, selected by their
/// group, and counted exactly; also those that were gone before anybody asked, where the kernel tells their group.
///
/// # Errors
/// Names the layout and what was wrong.
pub fn in_every_layout(host: &Host) -> anyhow::Result<Value> {
    unmount(TOP, UnmountFlags::empty()).context("cannot unmount what the machine began with")?;
    let mut figures = Vec::new();
    let mut failed = Vec::new();
    for layout in &LAYOUTS {
        layout.set_up().context(layout.name)?;
        match layout.holds(host) {
            Ok(found) => figures.push(json!({ "layout": layout.name, "found": found })),
            Err(error) => failed.push(format!("{}: {error:#}", layout.name)),
        }
        layout.take_down().context(layout.name)?;
    }
    // As it was before.
    mount(
        "cgroup2",
        TOP,
        "cgroup2",
        MountFlags::empty(),
        None::<&CStr>,
    )?;
    ensure!(failed.is_empty(), "{}", failed.join(" | "));
    Ok(Value::Array(figures))
}

impl Layout {
    fn set_up(&self) -> anyhow::Result<()> {
        if self.hierarchies.iter().any(|(at, _)| !at.is_empty()) {
            mount("tmpfs", TOP, "tmpfs", MountFlags::empty(), None::<&CStr>)?;
        }
        for (at, controller) in self.hierarchies {
            let at = Path::new(TOP).join(at);
            fs::create_dir_all(&at)?;
            let kind = if controller.is_some() {
                "cgroup"
            } else {
                "cgroup2"
            };
            mount(kind, &at, kind, MountFlags::empty(), *controller)
                .with_context(|| format!("cannot mount {}", at.display()))?;
        }
        for (hierarchies, path) in [(self.service, SERVICE), (self.container, CONTAINER)] {
            for group in paths(hierarchies, path) {
                fs::create_dir_all(&group)
                    .with_context(|| format!("cannot create {}", group.display()))?;
            }
        }
        Ok(())
    }

    /// Groups have to go before their hierarchy does, else it keeps its controllers.
    fn take_down(&self) -> anyhow::Result<()> {
        for (hierarchies, path) in [(self.service, SERVICE), (self.container, CONTAINER)] {
            for group in paths(hierarchies, path) {
                let parent = group.parent().context("a group has a parent")?;
                fs::remove_dir(&group)
                    .with_context(|| format!("cannot remove {}", group.display()))?;
                fs::remove_dir(parent)?;
            }
        }
        for (at, _) in self.hierarchies {
            unmount(Path::new(TOP).join(at), UnmountFlags::empty())?;
        }
        if self.hierarchies.iter().any(|(at, _)| !at.is_empty()) {
            unmount(TOP, UnmountFlags::empty())?;
        }
        Ok(())
    }

    fn has_version_2(&self) -> bool {
        self.hierarchies
            .iter()
            .any(|(_, controller)| controller.is_none())
    }

    fn holds(&self, host: &Host) -> anyhow::Result<Value> {
        let mut found = Vec::new();
        let [service, container] = [SERVICE, CONTAINER].map(|path| format!("/{path}"));
        let in_service = paths(self.service, SERVICE);
        let in_container = paths(self.container, CONTAINER);
        for (options, games) in [
            (
                &["--group-by", "cgroup"] as &[&str],
                &[(&*service, &in_service), (&*container, &in_container)] as &[(&str, _)],
            ),
            (
                &[],
                &[("shop", &in_service), ("0123456789ab", &in_container)],
            ),
            (&["-c", &service], &[("shop", &in_service)]),
        ] {
            let groups: Vec<&[PathBuf]> = games.iter().map(|(_, groups)| &groups[..]).collect();
            let measured =
                standing(host, options, &groups).with_context(|| format!("{options:?}"))?;
            let answers: Vec<&str> = measured.stdout.lines().collect();
            ensure!(answers.len() == games.len(), "not all games ended");
            for ((name, _), answer) in games.iter().zip(answers) {
                let truth = Truth {
                    answer: serde_json::from_str(answer)?,
                    turns: MESSAGES - CONNECTIONS,
                    edges: games.len() as u64,
                };
                found.push(exact(&measured.snapshot, options, name, &truth)?);
            }
        }
        if self.has_version_2() {
            let options = ["--group-by", "cgroup"];
            let messages = MESSAGES.to_string();
            let game = ["ping-pong", "--messages", &messages, "--connections", "1"];
            let mut command = in_groups(&in_service, &game)?;
            let measured = host.stat(&options, &mut command)?;
            let truth = Truth {
                answer: measured.answer,
                turns: MESSAGES,
                edges: 1,
            };
            found.push(exact(&measured.snapshot, &options, &service, &truth)?);
        }
        Ok(Value::Array(found))
    }
}

fn paths(hierarchies: &[&str], path: &str) -> Vec<PathBuf> {
    hierarchies
        .iter()
        .map(|hierarchy| Path::new(TOP).join(hierarchy).join(path))
        .collect()
}

/// A workload in control groups.
fn in_groups(groups: &[PathBuf], arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg(IN_GROUPS)
        .args(groups)
        .arg("--")
        .arg(workload()?)
        .args(arguments);
    Ok(command)
}

/// Measures ping-pongs whose processes stood before, each in some groups, one after the other.
fn standing(host: &Host, options: &[&str], games: &[&[PathBuf]]) -> anyhow::Result<Measured> {
    let (messages, connections) = (MESSAGES.to_string(), CONNECTIONS.to_string());
    let game = ["ping-pong", "--wait-go", "--warm-up", "3"];
    let shape = ["--messages", &messages, "--connections", &connections];
    let mut stand = Vec::new();
    for groups in games {
        let mut game = in_groups(groups, &[&game[..], &shape].concat())?;
        let mut game = Running::start(game.stdin(Stdio::piped()))?;
        let ready = game.line()?;
        ensure!(ready == "ready", "the workload said `{ready}`");
        stand.push(game);
    }
    let mut command = Command::new(env::current_exe()?);
    command
        .arg(LET_GO)
        .args(stand.iter().map(|game| game.tgid().to_string()));
    host.stat(options, &mut command)
}

/// What is to be found of a game.
struct Truth {
    /// What the workload counted.
    answer: Value,
    turns: u64,
    /// All edges that are shown.
    edges: u64,
}

/// Both ends are in one component of this name, and nothing is in another.
fn exact(
    snapshot: &Snapshot,
    options: &[&str],
    name: &str,
    truth: &Truth,
) -> anyhow::Result<Value> {
    let turns = truth.turns;
    let inside = || -> anyhow::Result<Value> {
        let component = snapshot.component(name)?;
        let edge = snapshot.edge(name, name)?;
        for (found, truth) in [
            (number(component, "requests/served")?, turns),
            (number(edge, "roundtrips")?, turns),
            (number(edge, "messages_sent")?, MESSAGES),
            (
                number(edge, "bytes_sent")?,
                number(&truth.answer["client"], "bytes_sent")?,
            ),
            (list(&snapshot.0, "edges").count() as u64, truth.edges),
        ] {
            ensure!(found == truth, "{found}, truth {truth}");
        }
        ensure!(snapshot.lost_counts().is_empty(), "lost");
        Ok(json!({ "options": options, "name": name, "served": turns }))
    };
    inside().with_context(|| {
        let edges = &snapshot.0["edges"];
        format!(
            "{options:?}: {name}: {edges}, lost {:?}",
            snapshot.lost_counts()
        )
    })
}

/// Puts this process into control groups and becomes a command.
///
/// # Errors
/// When there is no such group, or no such command.
pub fn become_in_groups(arguments: &[String]) -> anyhow::Result<()> {
    let (groups, command) = arguments
        .iter()
        .position(|word| word == "--")
        .and_then(|at| Some((arguments.get(..at)?, arguments.get(at + 1..)?)))
        .context("no command")?;
    for group in groups {
        fs::write(Path::new(group).join("cgroup.procs"), "0")
            .with_context(|| format!("cannot enter {group}"))?;
    }
    let [program, rest @ ..] = command else {
        bail!("no command");
    };
    Err(Command::new(program).args(rest).exec().into())
}
