//! What the host says of program images and remote ends, remembered while anything refers to them.
//!
//! In: image records, /proc. Out: Frame's images and remotes. Must not know: counts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    path::Path,
};

use courtside_wire::{IMAGE_KERNEL, ImageInfo, RemoteKey};

use crate::{
    frame::{Image, Process, Remote},
    sys::{cgroup::Cgroup, cgroup_ids::CgroupIds, process::Describer},
};

/// Names that stay known after their image is gone; the oldest go first.
const REMEMBERED: usize = 16_384;

/// Names of images.
#[derive(Debug)]
pub(super) struct Names {
    describer: Describer,
    cgroups: CgroupIds,
    known: BTreeMap<u32, Image>,
    order: Vec<u32>,
}

impl Names {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            describer: Describer::new(root),
            cgroups: CgroupIds::new(root),
            known: BTreeMap::new(),
            order: Vec::new(),
        }
    }

    /// Asks the host about images that are new.
    pub(super) fn learn(&mut self, info: &HashMap<u32, ImageInfo>) {
        let new = || info.iter().filter(|(id, _)| !self.known.contains_key(id));
        let described: Vec<_> = new()
            .map(|(id, info)| {
                let comm = text(&info.comm);
                let description = self.describer.describe(info.tgid, &comm);
                (*id, info.cgroup_id, comm, description)
            })
            .collect();
        let gone = described
            .iter()
            .filter(|(.., description)| description.cgroup.is_empty());
        self.cgroups.learn(gone.map(|(_, cgroup, ..)| *cgroup));
        for (id, cgroup_id, comm, mut description) in described {
            // It ended before /proc could be asked; its control group may still be there.
            if description.cgroup.is_empty()
                && let Some(path) = self.cgroups.path(cgroup_id)
            {
                let cgroup = Cgroup::of_path(path);
                description.cgroup = cgroup.path;
                description.unit = cgroup.unit;
                description.container = cgroup.container;
            }
            let image = Image {
                id,
                program: if description.program.is_empty() {
                    comm
                } else {
                    description.program
                },
                unit: description.unit,
                container: description.container,
                cgroup: description.cgroup,
                kernel: description.kernel,
                processes: Vec::new(),
                listens: Vec::new(),
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
                image.processes = processes
                    .get(id)
                    .into_iter()
                    .flatten()
                    .map(|tgid| Process {
                        tgid: *tgid,
                        comm: self.describer.describe(*tgid, &image.program).comm,
                    })
                    .collect();
                image.processes.sort();
                image.listens = listens.get(id).into_iter().flatten().copied().collect();
                image
            })
            .collect()
    }
}

/// A task's name as text.
fn text(comm: &[u8]) -> String {
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
