//! Which control group a component is in, whether it may be held back, and doing that by the helper.
//!
//! In: windows, control groups, what is allowed. Out: orders, or why there are none. Must not know: who is suspected of what.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::Context;
use courtside_agent::actuator::{Helper, Lost};
use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::{
    analysis::guard::{Actuator, Means, Order},
    frame::Frame,
    model::{GroupBy, Snapshot, snapshot::Component, who_is_who},
    sys::{
        limit::{Change, Group, Refusal, group_of},
        unit::unit_of,
    },
};

/// Processes of a component whose control groups are looked up, at most.
const MAX_PROCESSES: usize = 256;

/// Components of the last window, and the helper.
pub(super) struct Limits {
    root: PathBuf,
    folder: PathBuf,
    allowed: GlobSet,
    /// None in a dry run, and while it cannot be started.
    helper: Option<Helper>,
    acts: bool,
    /// Name and processes of each.
    components: BTreeMap<String, (String, Vec<u32>)>,
    kernel: BTreeSet<String>,
    /// What we have written into which file.
    ours: BTreeMap<String, String>,
    lost: Vec<Lost>,
}

impl Limits {
    /// Starts the helper, if something is to be done.
    pub(super) fn new(
        root: &Path,
        folder: &Path,
        allow: &[String],
        acts: bool,
    ) -> anyhow::Result<Self> {
        let mut allowed = GlobSetBuilder::new();
        for pattern in allow {
            let glob = Glob::new(pattern).with_context(|| {
                format!(
                    "cannot read the name pattern {pattern:?}; * and ? stand for any characters"
                )
            })?;
            allowed.add(glob);
        }
        let helper = acts.then(|| Helper::start(folder)).transpose()?;
        Ok(Self {
            root: root.to_owned(),
            folder: folder.to_owned(),
            allowed: allowed
                .build()
                .context("cannot put the name patterns together")?,
            helper,
            acts,
            components: BTreeMap::new(),
            kernel: BTreeSet::new(),
            ours: BTreeMap::new(),
            lost: Vec::new(),
        })
    }

    /// Remembers who is who in a window.
    pub(super) fn see(&mut self, frame: &Frame, snapshot: &Snapshot, group_by: GroupBy) {
        let of = |component: &Component| {
            let processes = component.processes.iter().map(|process| process.tgid);
            let known = (component.name.clone(), processes.collect());
            (component.id.clone(), known)
        };
        self.components = snapshot.components.iter().map(of).collect();
        let images = frame.images.iter().filter(|image| image.kernel);
        let images: BTreeSet<u32> = images.map(|image| image.id).collect();
        self.kernel = who_is_who(frame, group_by)
            .into_iter()
            .filter(|(number, ..)| images.contains(number))
            .map(|(_, id, _)| id)
            .collect();
    }

    /// Keeps the limits for three seconds more. A helper that has ended is replaced: the new one takes back what was left.
    pub(super) fn renew(&mut self) {
        let Some(helper) = &mut self.helper else {
            return;
        };
        if let Err(error) = helper.renew() {
            let reason = format!("{error:#}");
            self.replace(&reason);
        }
    }

    /// One that has not answered may still write what was asked for: the next one takes that back.
    fn replace_if_failed(&mut self, reason: &str) {
        if self.helper.as_mut().is_some_and(Helper::has_failed) {
            self.replace(reason);
        }
    }

    fn replace(&mut self, reason: &str) {
        // The old one is gone before the new one looks for what it left.
        if let Some(helper) = self.helper.take() {
            helper.end_at_once();
        }
        match Helper::start(&self.folder) {
            Ok(helper) => self.helper = Some(helper),
            Err(error) => {
                for file in self.ours.keys() {
                    let what = format!("{reason}, and no other can be started: {error:#}");
                    self.lost.push((file.clone(), what));
                }
                self.ours.clear();
            }
        }
    }

    /// The group that all its processes are in.
    fn group(&self, component: &str) -> Result<Group, String> {
        let known = self.components.get(component);
        let (_, processes) = known.ok_or("it did nothing in the last window")?;
        let mut whole: Option<Group> = None;
        for tgid in processes.iter().take(MAX_PROCESSES) {
            // One that is gone is in no group.
            let Some(group) = group_of(&self.root, *tgid) else {
                continue;
            };
            whole = Some(match whole {
                None => group,
                Some(whole) if whole.holds(&group) => whole,
                Some(whole) if group.holds(&whole) => group,
                Some(whole) => {
                    return Err(format!(
                        "its processes are in several control groups, {} and {} among them",
                        whole.name(),
                        group.name()
                    ));
                }
            });
        }
        whole.ok_or_else(|| "none of its processes is there any more".to_owned())
    }

    /// Whoever else is in a group.
    fn strangers(&self, group: &Group, component: &str) -> Result<(), Refusal> {
        let shared = |who: &str| Refusal::Shared {
            group: group.name(),
            who: who.to_owned(),
        };
        let processes: BTreeSet<u32> = group.processes().into_iter().collect();
        let own = [
            Some(std::process::id()),
            self.helper.as_ref().map(Helper::id),
        ];
        if own.iter().flatten().any(|own| processes.contains(own)) {
            return Err(shared("Courtside itself"));
        }
        let others = self.components.iter().filter(|(id, _)| *id != component);
        for (id, (_, of_other)) in others {
            if of_other.iter().any(|tgid| processes.contains(tgid)) {
                return Err(shared(id));
            }
        }
        Ok(())
    }

    fn is_allowed(&self, component: &str) -> bool {
        let name = self.components.get(component).map(|(name, _)| name);
        self.allowed.is_match(component) || name.is_some_and(|name| self.allowed.is_match(name))
    }

    fn helper(&mut self) -> Result<&mut Helper, String> {
        self.helper
            .as_mut()
            .ok_or_else(|| "the process that holds the limits has ended".to_owned())
    }
}

impl Actuator for Limits {
    fn find(&mut self, component: &str, victim: &str, means: Means) -> Result<Order, String> {
        if self.kernel.contains(component) {
            return Err("it is the kernel's own threads".to_owned());
        }
        if !self.is_allowed(component) {
            return Err(format!(
                "no --allow names it; it may be held back with: --allow '{}'",
                self.components
                    .get(component)
                    .map_or(component, |(name, _)| name.as_str())
            ));
        }
        let group = self.group(component)?;
        let of_victim = self.group(victim).ok();
        if of_victim.as_ref().is_some_and(|it| group.holds(it)) {
            return Err(format!(
                "the service that it slows is in its control group {}, too",
                group.name()
            ));
        }
        let name = group.name();
        let ours = self
            .ours
            .iter()
            .find(|(file, _)| group.has_file(Path::new(file)))
            .map(|(_, after)| after.as_str());
        let Change {
            file,
            before,
            after,
        } = match means {
            Means::Quota(cpus) => group.change(cpus, ours),
            Means::Weight => weight(&group, of_victim.as_ref()),
        }
        .map_err(|refusal| refusal.to_string())?;
        self.strangers(&group, component)
            .map_err(|refusal| refusal.to_string())?;
        let file = file.to_str().ok_or("its path is no text")?;
        Ok(Order {
            cgroup: name,
            file: file.to_owned(),
            before,
            after,
        })
    }

    fn set(&mut self, order: &Order) -> Result<(), String> {
        let unit = unit_of(&self.root, &order.cgroup);
        let helper = self.helper()?;
        match helper.set(&order.file, &order.before, &order.after, unit.as_deref()) {
            Ok(()) => {
                self.ours.insert(order.file.clone(), order.after.clone());
                Ok(())
            }
            Err(error) => {
                let reason = format!("{error:#}");
                self.replace_if_failed(&reason);
                Err(reason)
            }
        }
    }

    fn release(&mut self, order: &Order) -> Result<(), String> {
        self.ours.remove(&order.file);
        let released = self.helper()?.release(&order.file);
        released.map_err(|error| {
            let reason = format!("{error:#}");
            self.replace_if_failed(&reason);
            reason
        })
    }

    fn lost(&mut self) -> Vec<Lost> {
        let mut lost = std::mem::take(&mut self.lost);
        if let Some(helper) = &mut self.helper {
            lost.extend(helper.lost());
        }
        for (file, _) in &lost {
            self.ours.remove(file);
        }
        lost
    }
}

/// In version 2, where weights are files of their own beside the quota, and only if both groups are known.
fn weight(group: &Group, of_victim: Option<&Group>) -> Result<Change, Refusal> {
    match of_victim.filter(|_| group.is_unified()) {
        Some(of_victim) => group.give_way(Some(of_victim)),
        None => Err(Refusal::NoController(group.name())),
    }
}

impl Limits {
    /// Whether a dry run only asks what would be done.
    pub(super) fn acts(&self) -> bool {
        self.acts
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A hog in a group of its own, a service, and two that share a group.
    fn limits(allow: &[&str]) -> (tempfile::TempDir, Limits) {
        let host = tempfile::tempdir().unwrap();
        let root = host.path();
        let components = [
            ("program:hog", vec![70], "/hog"),
            ("program:web", vec![80, 81], "/web"),
            ("program:a", vec![90], "/both"),
            ("program:b", vec![91], "/both"),
            ("program:spread", vec![92, 93], "/x"),
            ("program:us", vec![std::process::id()], "/us"),
        ];
        for (id, tgids, group) in &components {
            for (n, tgid) in tgids.iter().enumerate() {
                let group = if *id == "program:spread" {
                    format!("/x{n}")
                } else {
                    (*group).to_owned()
                };
                put(
                    root,
                    &format!("proc/{tgid}/cgroup"),
                    &format!("0::{group}\n"),
                );
                let procs = root.join(format!("sys/fs/cgroup{group}/cgroup.procs"));
                let before = fs::read_to_string(&procs).unwrap_or_default();
                let procs = format!("sys/fs/cgroup{group}/cgroup.procs");
                put(root, &procs, &format!("{before}{tgid}\n"));
                put(
                    root,
                    &format!("sys/fs/cgroup{group}/cpu.max"),
                    "max 100000\n",
                );
            }
        }
        let allow: Vec<String> = allow.iter().map(|&glob| glob.to_owned()).collect();
        let mut limits = Limits::new(root, root, &allow, false).unwrap();
        limits.components = components
            .into_iter()
            .map(|(id, tgids, _)| {
                let name = id.trim_start_matches("program:").to_owned();
                (id.to_owned(), (name, tgids))
            })
            .collect();
        limits.kernel.insert("program:kernel".to_owned());
        (host, limits)
    }

    #[test]
    fn a_hog_in_a_group_of_its_own_may_be_held_back_if_it_is_allowed() {
        let (_host, mut limits) = limits(&["h*"]);
        let order = limits
            .find("program:hog", "program:web", Means::Quota(0.1))
            .unwrap();
        assert_eq!(order.cgroup, "/hog");
        assert_eq!(order.after, "10000 100000");
        assert!(order.file.ends_with("/hog/cpu.max"));
        let refused = limits
            .find("program:web", "program:hog", Means::Quota(0.1))
            .unwrap_err();
        assert!(refused.contains("--allow 'web'"), "{refused}");
    }

    #[test]
    fn a_weight_is_found_where_it_counts_for_the_service() {
        let (host, mut limits) = limits(&["h*"]);
        let by_weight = |limits: &mut Limits| {
            let order = limits.find("program:hog", "program:web", Means::Weight)?;
            Ok::<_, String>((order.file, order.before, order.after))
        };
        assert!(by_weight(&mut limits).is_err());
        put(host.path(), "sys/fs/cgroup/hog/cpu.weight", "100\n");
        put(host.path(), "sys/fs/cgroup/hog/cpu.idle", "0\n");
        let (file, before, after) = by_weight(&mut limits).unwrap();
        assert!(file.ends_with("/hog/cpu.idle"), "{file}");
        assert_eq!((&*before, &*after), ("0", "1"));
        // It is somewhere, and nobody can say that it is beside the service.
        let gone = limits.find("program:hog", "program:gone", Means::Weight);
        assert!(gone.is_err());
    }

    #[test]
    fn whoever_else_would_be_hit_is_named() {
        let (_host, mut limits) = limits(&["*"]);
        for (component, victim, words) in [
            ("program:kernel", "program:web", "kernel's own threads"),
            ("program:a", "program:web", "holds program:b, too"),
            ("program:a", "program:b", "the service that it slows"),
            ("program:spread", "program:web", "several control groups"),
            ("program:us", "program:web", "Courtside itself"),
            ("program:gone", "program:web", "nothing in the last window"),
        ] {
            let refused = limits
                .find(component, victim, Means::Quota(0.1))
                .unwrap_err();
            assert!(refused.contains(words), "{component}: {refused}");
        }
    }
}
