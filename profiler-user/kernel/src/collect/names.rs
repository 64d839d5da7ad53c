//! What the host says of program images and remote ends, remembered while anything refers to them.
//!
//! In: image records, /proc. Out: Frame's images and remotes. Must not know: counts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    iter,
    net::{IpAddr, Ipv6Addr},
    path::Path,
};

use courtside_wire::{IMAGE_KERNEL, ImageInfo, RemoteKey};

use super::forked::is_forked;
use crate::sys::{
    cgroup::Cgroup, cgroup_ids::CgroupIds, container::Containers, host::in_first_pid_namespace,
    process::Describer,
};
use courtside_core::frame::{Image, Process, Remote};

/// Names that stay known after their image is gone; the oldest go first.
const REMEMBERED: usize = 16_384;

/// Names of images.
#[derive(Debug)]
pub(super) struct Names {
    describer: Describer,
    /// Processes have the numbers in /proc that they have in the kernel.
    same_ids: bool,
    cgroups: CgroupIds,
    containers: Containers,
    known: BTreeMap<u32, Image>,
    order: Vec<u32>,
}

impl Names {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            describer: Describer::new(root),
            same_ids: in_first_pid_namespace(root) != Some(false),
            cgroups: CgroupIds::new(root),
            containers: Containers::new(root),
            known: BTreeMap::new(),
            order: Vec::new(),
        }
    }

    /// Asks the host about images that are new. `processes` are those of each image a moment ago, and `image_of` tells
    /// whose a process is now: an id may have gone to another process, and a process to another program, meanwhile.
    pub(super) fn learn(
        &mut self,
        info: &HashMap<u32, ImageInfo>,
        processes: &BTreeMap<u32, BTreeSet<u32>>,
        image_of: impl Fn(u32) -> Option<u32>,
    ) {
        self.containers.look_again();
        let mut described = Vec::new();
        // Programs come before the processes that were forked from them.
        let new: BTreeMap<_, _> = info
            .iter()
            .filter(|(id, _)| !self.known.contains_key(id))
            .collect();
        for (id, info) in new {
            let comm = text(&info.comm);
            let others = processes.get(id).into_iter().flatten().copied();
            let mut alive = iter::once(info.tgid).chain(others);
            let description = alive.find_map(|tgid| {
                let is_its_own = || self.same_ids && image_of(tgid) == Some(*id);
                let description =
                    is_its_own().then(|| self.describer.describe_image(tgid, *id, &comm));
                // It was its own all the time while it was read.
                description.filter(|_| is_its_own())
            });
            described.push((*id, *info, comm, description.unwrap_or_default()));
        }
        let gone = described
            .iter()
            .filter(|(.., description)| description.cgroup.is_empty());
        self.cgroups.learn(gone.map(|(_, info, ..)| info.cgroup_id));
        for (id, info, comm, mut description) in described {
            let mut processes = Vec::new();
            if is_forked(id) {
                // Whatever it calls itself, and it may have ended by now.
                if let Some(program) = self.known.get(&info.parent_image) {
                    description.program.clone_from(&program.program);
                }
                processes.push(Process {
                    tgid: info.tgid,
                    comm: comm.clone(),
                });
            }
            // It ended before /proc could be asked; its control group may still be there.
            if description.cgroup.is_empty()
                && let Some(path) = self.cgroups.path(info.cgroup_id)
            {
                let cgroup = Cgroup::of_path(path);
                description.cgroup = cgroup.path;
                description.unit = cgroup.unit;
                description.container = cgroup.container;
            }
            let container_name = match description.container {
                Some(_) => self.containers.name(&description.cgroup),
                None => None,
            };
            let image = Image {
                id,
                program: if description.program.is_empty() {
                    comm
                } else {
                    description.program
                },
                unit: description.unit,
                container: description.container,
                container_name,
                cgroup: description.cgroup,
                kernel: description.kernel,
                processes,
                first_tgid: (info.tgid != 0).then_some(info.tgid),
                listens: Vec::new(),
                gone: 0,
            };
            self.known.insert(id, image);
            self.order.push(id);
        }
        if self.order.len() > REMEMBERED {
            let surplus = self.order.len() - REMEMBERED;
            let old: Vec<u32> = self
                .order
                .iter()
                .filter(|id| !info.contains_key(id))
                .take(surplus)
                .copied()
                .collect();
            for id in &old {
                self.known.remove(id);
            }
            self.order.retain(|id| !old.contains(id));
        }
    }

    /// Whether this image has a name.
    pub(super) fn knows(&self, id: u32) -> bool {
        id == IMAGE_KERNEL || self.known.contains_key(&id)
    }

    /// The images that `wanted` names, with their live processes.
    pub(super) fn images(
        &mut self,
        wanted: &BTreeSet<u32>,
        processes: &BTreeMap<u32, BTreeSet<u32>>,
        listens: &BTreeMap<u32, BTreeSet<u16>>,
    ) -> Vec<Image> {
        wanted
            .iter()
            .map(|id| {
                if *id == IMAGE_KERNEL {
                    return Image {
                        id: *id,
                        program: "kernel".to_owned(),
                        kernel: true,
                        ..Image::default()
                    };
                }
                let mut image = self.known.get(id).cloned().unwrap_or_else(|| Image {
                    id: *id,
                    program: "?".to_owned(),
                    ..Image::default()
                });
                let alive = processes.get(id).into_iter().flatten();
                let alive: Vec<Process> = alive
                    .map(|tgid| Process {
                        tgid: *tgid,
                        comm: if self.same_ids {
                            let name = &image.program;
                            self.describer.describe_image(*tgid, *id, name).comm
                        } else {
                            image.program.clone()
                        },
                    })
                    .collect();
                if !alive.is_empty() || !is_forked(*id) {
                    image.processes = alive;
                }
                image.processes.sort();
                image.listens = listens.get(id).into_iter().flatten().copied().collect();
                image
            })
            .collect()
    }
}

/// A task's name as text.
pub(super) fn text(comm: &[u8]) -> String {
    let end = comm
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(comm.len());
    String::from_utf8_lossy(&comm[..end]).into_owned()
}

/// A remote end for people.
pub(super) fn remote(key: &RemoteKey, id: u32) -> Remote {
    let address = IpAddr::V6(Ipv6Addr::from(key.addr))
        .to_canonical()
        .to_string();
    Remote {
        id,
        address,
        port: key.port,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Puts a process that runs this command line.
    fn put(root: &Path, tgid: u32, start: u64, comm: &str, script: &str) {
        let dir = root.join(format!("proc/{tgid}"));
        fs::create_dir_all(&dir).unwrap();
        let stat = format!(
            "{tgid} ({comm}) S 1 1 1 0 -1 0 0 0 0 0 7 3 0 0 20 0 1 0 {start} 0 0 18446744073709551615 1 1 1 \
             0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        );
        fs::write(dir.join("stat"), stat).unwrap();
        fs::write(dir.join("cmdline"), format!("{comm}\0{script}\0")).unwrap();
        fs::write(dir.join("cgroup"), "0::/shop\n").unwrap();
    }

    fn info(tgid: u32, comm: &str) -> ImageInfo {
        let mut info = ImageInfo {
            tgid,
            ..ImageInfo::default()
        };
        info.comm[..comm.len()].copy_from_slice(comm.as_bytes());
        info
    }

    fn learned(root: &Path, id: u32, info: ImageInfo, owners: &[(u32, u32)]) -> Image {
        let mut names = Names::new(root);
        let mut processes: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for (tgid, image) in owners {
            processes.entry(*image).or_default().insert(*tgid);
        }
        let image_of = |tgid| {
            let mut owners = owners.iter();
            owners.find_map(|(owner, image)| (*owner == tgid).then_some(*image))
        };
        names.learn(&HashMap::from([(id, info)]), &processes, image_of);
        let none = BTreeMap::new();
        let images = names.images(&BTreeSet::from([id]), &processes, &none);
        images.into_iter().next().unwrap()
    }

    #[test]
    fn who_has_an_id_now_does_not_name_who_had_it_before() {
        let host = tempfile::tempdir().unwrap();
        put(host.path(), 7, 4242, "python3", "second.py");
        let of = |image, owners: &[(u32, u32)]| {
            learned(host.path(), image, info(7, "python3"), owners).program
        };
        assert_eq!(of(12, &[(7, 12)]), "second.py");
        assert_eq!(of(11, &[(7, 12)]), "python3");
        assert_eq!(of(11, &[]), "python3");
        // In a process-id namespace of our own it is not even the same process.
        let own = host.path().join("proc/self/ns");
        fs::create_dir_all(&own).unwrap();
        std::os::unix::fs::symlink("pid:[4026532000]", own.join("pid")).unwrap();
        assert_eq!(of(12, &[(7, 12)]), "python3");
    }

    #[test]
    fn a_program_whose_first_process_is_gone_is_named_by_another() {
        let host = tempfile::tempdir().unwrap();
        put(host.path(), 7, 4242, "sh", "other.sh");
        put(host.path(), 8, 4243, "python3", "daemon.py");
        let owners = [(7, 12), (8, 11)];
        let image = learned(host.path(), 11, info(7, "python3"), &owners);
        assert_eq!((&*image.program, &*image.cgroup), ("daemon.py", "/shop"));
    }

    #[test]
    fn a_program_that_has_ended_still_has_the_number_of_its_process() {
        let host = tempfile::tempdir().unwrap();
        let image = learned(host.path(), 11, info(7, "python3"), &[]);
        assert_eq!((image.first_tgid, image.processes.len()), (Some(7), 0));
    }

    #[test]
    fn a_program_that_changes_while_it_is_read_is_named_by_what_the_kernel_saw() {
        let host = tempfile::tempdir().unwrap();
        put(host.path(), 7, 4242, "second", "");
        let mut names = Names::new(host.path());
        let asked = std::cell::Cell::new(10);
        let image_of = |_| {
            asked.set(asked.get() + 1);
            Some(asked.get())
        };
        let infos = HashMap::from([(11, info(7, "first"))]);
        names.learn(&infos, &BTreeMap::new(), image_of);
        assert_eq!(names.known[&11].program, "first");
    }

    #[test]
    fn names_of_programs_that_are_gone_are_remembered_up_to_a_bound() {
        let host = tempfile::tempdir().unwrap();
        let mut names = Names::new(host.path());
        let none = BTreeMap::new();
        let each = u32::try_from(REMEMBERED / 4).unwrap();
        for round in 0..12 {
            let ids = (round * each + 1)..=((round + 1) * each);
            let infos: HashMap<u32, ImageInfo> = ids.map(|id| (id, info(7, "short"))).collect();
            names.learn(&infos, &none, |_| None);
            assert!(names.known.len() <= REMEMBERED, "{}", names.known.len());
            assert_eq!(names.known.len(), names.order.len());
            // Those that the kernel still has are not forgotten.
            assert!(infos.keys().all(|id| names.knows(*id)));
        }
    }
}
