//! Whether what was asked for is there at all, before anything is attached.
//!
//! In: the selection, `/proc` and control groups below a root. Out: nothing, or what is not there and how to find it.
//! Must not know: what is measured.

use std::path::Path;

use anyhow::{Context, bail, ensure};

use crate::{
    model::View,
    sys::{
        cgroup,
        process::{Describer, Description, processes},
    },
};

/// Checks every process, unit, container and control group that is named. Names of programs and ports may turn up later.
pub(super) fn check(root: &Path, view: &View) -> anyhow::Result<()> {
    let selection = &view.selection;
    selection.check()?;
    for &tgid in &selection.tgids {
        process(root, tgid)?;
    }
    for path in &selection.cgroups {
        ensure!(
            cgroup::exists(root, path),
            "there is no control group {path}; list them with: systemd-cgls"
        );
    }
    if selection.units.is_empty() && selection.containers.is_empty() {
        return Ok(());
    }
    let running = running(root)?;
    for unit in &selection.units {
        ensure!(
            running.iter().any(|process| in_unit(process, unit)),
            "no running process belongs to the unit {unit}; list those that run with: \
             systemctl list-units --state=running"
        );
    }
    for container in &selection.containers {
        ensure!(
            running
                .iter()
                .any(|process| in_container(process, container)),
            "no running process belongs to the container {container}; list those that run with: \
             docker ps, podman ps or crictl ps"
        );
    }
    Ok(())
}

fn process(root: &Path, tgid: u32) -> anyhow::Result<()> {
    let status = root.join(format!("proc/{tgid}/status"));
    let Ok(status) = std::fs::read_to_string(status) else {
        bail!("there is no process {tgid}; find one by name with: pgrep -a NAME");
    };
    let group = status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:"))
        .map_or("", str::trim);
    ensure!(
        group == tgid.to_string(),
        "{tgid} is a thread of process {group}; use: -p {group}"
    );
    Ok(())
}

fn running(root: &Path) -> anyhow::Result<Vec<Description>> {
    let mut describer = Describer::new(root);
    let rows = processes(root).context("cannot list the processes of this host")?;
    Ok(rows
        .iter()
        .filter(|row| !row.kernel)
        .map(|row| describer.describe(row.tgid, &row.comm))
        .collect())
}

fn in_unit(process: &Description, wanted: &str) -> bool {
    process
        .unit
        .as_deref()
        .is_some_and(|unit| unit == wanted || unit.strip_suffix(".service") == Some(wanted))
}

/// Either may be the short form of the other.
fn in_container(process: &Description, wanted: &str) -> bool {
    process
        .container
        .as_deref()
        .is_some_and(|id| id.starts_with(wanted) || wanted.starts_with(id))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::Selection;

    fn host() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (tgid, cgroup) in [
            (7, "/system.slice/web.service"),
            (8, &*format!("/docker/{}", "0123456789abcdef".repeat(4))),
        ] {
            put(
                &format!("proc/{tgid}/stat"),
                &format!(
                    "{tgid} (x) S 1 1 1 0 -1 0 0 0 0 0 7 3 0 0 20 0 1 0 4242 0 0 18446744073709551615 1 1 1 \
                     0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
                ),
            );
            put(
                &format!("proc/{tgid}/status"),
                &format!("Name:\tx\nTgid:\t{tgid}\n"),
            );
            put(&format!("proc/{tgid}/cmdline"), "x\0");
            put(&format!("proc/{tgid}/cgroup"), &format!("0::{cgroup}\n"));
        }
        put("proc/9/status", "Name:\tx\nTgid:\t7\n");
        put("sys/fs/cgroup/shop/cgroup.procs", "");
        root
    }

    fn said(selection: Selection) -> String {
        let view = View {
            selection,
            ..View::default()
        };
        check(host().path(), &view)
            .err()
            .map_or_else(String::new, |error| format!("{error:#}"))
    }

    #[test]
    fn what_is_there_is_accepted() {
        let text = said(Selection {
            tgids: vec![7, 8],
            comms: vec!["not-yet*".into()],
            cgroups: vec!["/shop".into(), "shop/".into()],
            units: vec!["web".into(), "web.service".into()],
            containers: vec!["0123".into(), "0123456789abcdef".repeat(4)],
            ports: vec![1],
        });
        assert_eq!(text, "");
    }

    #[test]
    fn what_is_not_there_is_named_with_the_command_that_finds_it() {
        let of = |change: fn(&mut Selection)| {
            let mut selection = Selection::default();
            change(&mut selection);
            said(selection)
        };
        for (text, parts) in [
            (of(|s| s.tgids = vec![70]), ["process 70", "pgrep"]),
            (of(|s| s.tgids = vec![9]), ["thread of process 7", "-p 7"]),
            (
                of(|s| s.cgroups = vec!["/no".into()]),
                ["group /no", "systemd-cgls"],
            ),
            (
                of(|s| s.units = vec!["we".into()]),
                ["unit we", "systemctl"],
            ),
            (
                of(|s| s.containers = vec!["ff".into()]),
                ["container ff", "docker ps"],
            ),
            (of(|s| s.comms = vec!["a[".into()]), ["a[", "pattern"]),
        ] {
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }
}
