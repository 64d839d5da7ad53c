//! What a process's control group says about it: systemd unit, container or pod.
//!
//! In: the text of `/proc/TGID/cgroup` (version 1, 2 and both at once). Out: path, unit, container.
//! Must not know: processes, how components are named.

use std::path::Path;

/// Hex digits of a container id that are kept, as `docker ps` shows them.
const SHORT_ID: usize = 12;
const LONG_ID: usize = 64;

/// Where a process is in the control group tree, and what that means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// Path below the root of the hierarchy.
    pub path: String,
    /// systemd service or scope. Login sessions and user managers do not count.
    pub unit: Option<String>,
    /// First digits of a container id, name of an LXC container, or `pod:<uid>`.
    pub container: Option<String>,
}

impl Cgroup {
    /// Reads `/proc/TGID/cgroup`. Version 2 speaks first, then systemd's own hierarchy, then any other: the first
    /// that puts the process anywhere but in the root.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut candidates: Vec<(u8, &str)> = text
            .lines()
            .filter_map(|line| {
                let mut parts = line.splitn(3, ':');
                let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
                let rank = match controllers {
                    "" => 0,
                    "name=systemd" => 1,
                    _ => 2,
                };
                Some((rank, visible(path)))
            })
            .collect();
        candidates.sort_by_key(|&(rank, _)| rank);
        let path = candidates
            .iter()
            .map(|&(_, path)| path)
            .find(|path| *path != "/")
            .unwrap_or("/");
        Self::of_path(path)
    }

    /// What a path means.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let container = container(&parts);
        let unit = parts.iter().rposition(|part| is_unit(part)).filter(|&at| {
            // A container manager's unit is not its containers'; podman runs one container as a unit of its own.
            container.is_none() || parts[at..].iter().any(|part| part.starts_with("libpod-"))
        });
        Self {
            path: path.to_owned(),
            unit: unit.map(|at| parts[at].to_owned()),
            container,
        }
    }
}

/// Whether the control group is there, in any hierarchy. Takes a path below the hierarchy's root.
#[must_use]
pub fn exists(root: &Path, path: &str) -> bool {
    let base = root.join("sys/fs/cgroup");
    let path = path.trim_start_matches('/');
    base.join(path).join("cgroup.procs").exists()
        || std::fs::read_dir(&base).is_ok_and(|hierarchies| {
            hierarchies
                .flatten()
                .any(|hierarchy| hierarchy.path().join(path).join("cgroup.procs").exists())
        })
}

/// A process outside our control group namespace is shown below `/..`.
fn visible(mut path: &str) -> &str {
    while let Some(rest) = path.strip_prefix("/..") {
        path = rest;
    }
    if path.is_empty() { "/" } else { path }
}

fn is_unit(part: &str) -> bool {
    let not_a_service = part == "init.scope"
        || part.starts_with("user@")
        || part.starts_with("session-")
        || container_id(part.trim_end_matches(".scope")).is_some();
    !not_a_service && (part.ends_with(".service") || part.ends_with(".scope"))
}

/// The innermost container; a pod only where nothing inside it shows.
fn container(parts: &[&str]) -> Option<String> {
    let id = parts.iter().rev().find_map(|part| {
        let id = container_id(part.trim_end_matches(".scope"))?;
        Some(id.chars().take(SHORT_ID).collect())
    });
    id.or_else(|| lxc(parts)).or_else(|| pod(parts))
}

/// `docker-<id>`, `cri-containerd-<id>`, `slice:cri-containerd:<id>`, a bare `<id>` and the like.
fn container_id(part: &str) -> Option<&str> {
    let start = part.len().checked_sub(LONG_ID)?;
    let (before, id) = part.split_at_checked(start)?;
    let own = before.is_empty() || before.ends_with('-') || before.ends_with(':');
    // conmon watches a container from outside.
    let inside = own && !before.contains("conmon");
    (inside && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// The whole id of the innermost container of a path.
pub(super) fn full_id(path: &str) -> Option<&str> {
    path.rsplit('/')
        .find_map(|part| container_id(part.trim_end_matches(".scope")))
}

/// The uid of the pod of a path.
pub(super) fn pod_uid(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    let pod = pod(&parts)?;
    Some(pod.strip_prefix("pod:")?.to_owned())
}

fn lxc(parts: &[&str]) -> Option<String> {
    let prefixed = parts
        .iter()
        .find_map(|part| part.strip_prefix("lxc.payload."));
    let below = || {
        let at = parts
            .iter()
            .position(|part| matches!(*part, "lxc" | "lxc.payload"))?;
        parts.get(at + 1).copied()
    };
    prefixed.or_else(below).map(str::to_owned)
}

/// `pod<uid>` (cgroupfs) or `kubepods-burstable-pod<uid with underscores>.slice` (systemd).
fn pod(parts: &[&str]) -> Option<String> {
    let at = parts.iter().position(|part| part.starts_with("kubepods"))?;
    let uid = parts[at..].iter().rev().find_map(|part| {
        let part = part.trim_end_matches(".slice");
        part.rsplit_once("-pod")
            .map(|(_, uid)| uid)
            .or_else(|| part.strip_prefix("pod"))
    })?;
    Some(format!("pod:{}", uid.replace('_', "-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "5f3c2a10-9b7d-4c1e-8a55-0d9e8f7a6b5c";

    fn unit_and_container(path: &str) -> (Option<String>, Option<String>) {
        let path = path
            .replace("UID_", &UID.replace('-', "_"))
            .replace("UID", UID)
            .replace("ID", ID);
        let found = Cgroup::of_path(&path);
        (found.unit, found.container)
    }

    #[test]
    fn a_path_tells_its_unit_and_container() {
        let id = Some("0123456789ab");
        let pod = format!("pod:{UID}");
        for (path, unit, container) in [
            ("/", None, None),
            ("/system.slice/nginx.service", Some("nginx.service"), None),
            (
                "/system.slice/system-postgresql.slice/postgresql@15-main.service",
                Some("postgresql@15-main.service"),
                None,
            ),
            ("/system.slice/run-r1.scope", Some("run-r1.scope"), None),
            ("/init.scope", None, None),
            ("/user.slice/user-1000.slice/session-3.scope", None, None),
            (
                "/user.slice/user-1000.slice/user@1000.service/init.scope",
                None,
                None,
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
                Some("web.service"),
                None,
            ),
            ("/system.slice/docker-ID.scope", None, id),
            ("/docker/ID", None, id),
            ("/docker/ID/inner", None, id),
            ("/system.slice/docker.service", Some("docker.service"), None),
            ("/system.slice/docker.service/docker/ID", None, id),
            (
                "/kubepods.slice/kubepods-pod_UID_.slice/cri-containerd-ID.scope",
                None,
                id,
            ),
            ("/kubepods/burstable/podUID/crio-ID", None, id),
            (
                "/system.slice/containerd.service/kubepods-podUID_.slice:cri-containerd:ID",
                None,
                id,
            ),
            ("/machine.slice/libpod-ID.scope/container", None, id),
            ("/machine.slice/libpod-conmon-ID.scope", Some("x"), None),
            (
                "/system.slice/web.service/libpod-payload-ID",
                Some("web.service"),
                id,
            ),
            ("/kubepods/besteffort/podUID", None, Some(pod.as_str())),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUID_.slice",
                None,
                Some(pod.as_str()),
            ),
            ("/lxc/shop", None, Some("shop")),
            ("/lxc.payload.shop/system.slice", None, Some("shop")),
            ("/lxc.payload/shop", None, Some("shop")),
        ] {
            let expected_unit = match unit {
                Some("x") => Some(format!("libpod-conmon-{ID}.scope")),
                unit => unit.map(str::to_owned),
            };
            let expected = (expected_unit, container.map(str::to_owned));
            assert_eq!(unit_and_container(path), expected, "{path}");
        }
    }

    #[test]
    fn every_version_of_the_file_is_read() {
        let path = |text| Cgroup::parse(text).path;
        assert_eq!(
            path("0::/system.slice/a.service\n"),
            "/system.slice/a.service"
        );
        assert_eq!(
            path("9:name=systemd:/system.slice/b.service\n4:memory:/\n0::/\n"),
            "/system.slice/b.service"
        );
        assert_eq!(
            path("9:name=systemd:/old\n0::/system.slice/c.service\n"),
            "/system.slice/c.service"
        );
        assert_eq!(path("4:memory:/docker/x\n9:name=systemd:/\n"), "/docker/x");
        assert_eq!(path("0::/../../b\n"), "/b");
        assert_eq!(path("0::/..\n"), "/");
        assert_eq!(path("1:a:b:c:d\n"), "b:c:d");
        assert_eq!(path("nonsense"), "/");
        assert_eq!(path(""), "/");
    }

    #[test]
    fn a_control_group_is_looked_for_in_every_hierarchy() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("sys/fs/cgroup/unified/shop");
        std::fs::create_dir_all(&group).unwrap();
        std::fs::write(group.join("cgroup.procs"), "").unwrap();
        assert!(exists(root.path(), "/shop"));
        assert!(!exists(root.path(), "/shopping"));
    }
}
