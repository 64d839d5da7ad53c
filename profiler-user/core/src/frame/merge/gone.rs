//! What is gone: the records of a merge that are put together, so that a merge which never ends holds no more than what exists.
//!
//! In: which records each window named. Out: fewer records, with the same sums. Images of one kind that are gone become
//! one image that says so, remote ends that are gone become those without a number of their own, as in the kernel, and
//! traffic that is over on ever new ports loses its port. Must not know: what the sums mean.

use std::{cmp::Reverse, collections::BTreeMap};

use courtside_wire::{IMAGE_FIRST, IMAGE_FORKED, PEER_OTHERS};
use foldhash::{HashMap, HashSet};

use super::{FlowId, Merge, add_by_image, add_cpu, add_disk, add_flow, plus};
use crate::frame::{Cpu, Disk, Flow, Frame, Image, Remote, Role, Transport};

/// What no window has named for this number of windows is gone: the fold remembers for as long which components serve.
const SILENT_WINDOWS: u64 = 60;
/// Records that are kept before it is asked what is gone: shorter merges keep every name.
const MOST_RECORDS: usize = 8192;
/// Images that stand for others. Of more, those that took somebody in last stay.
const MOST_STAND_INS: usize = 256;
/// Ports of two ends between which nothing happens any more that are kept: those that had traffic last.
const MOST_PORTS: usize = 16;
/// Processes that are kept of an image. Of more, those of the last window are.
pub(super) const MOST_PROCESSES: usize = 256;

/// A conversation, whichever end it was measured at: both ends are put together with others at the same time.
type Talk = (u32, u32, u16, Transport);

fn talk((image, peer, port, transport, _): FlowId) -> Talk {
    (image.min(peer), image.max(peer), port, transport)
}

/// What makes images one component, however components are grouped, by process and by name of the leader excepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    program: String,
    unit: Option<String>,
    container: Option<String>,
    container_name: Option<String>,
    cgroup: String,
    kernel: bool,
}

impl Kind {
    fn of(image: &Image) -> Self {
        Self {
            program: image.program.clone(),
            unit: image.unit.clone(),
            container: image.container.clone(),
            container_name: image.container_name.clone(),
            cgroup: image.cgroup.clone(),
            kernel: image.kernel,
        }
    }

    /// All kinds together.
    fn any() -> Self {
        Self {
            program: Image::GONE.to_owned(),
            ..Self::default()
        }
    }
}

/// When each record was named last, and who stands for those that are gone.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// The window in which each image and remote end was named last.
    numbers: HashMap<u32, u64>,
    talks: HashMap<Talk, u64>,
    stand_ins: BTreeMap<Kind, u32>,
    /// The number that such an image got last.
    lowest: u32,
    /// Records that are kept before it is asked what is gone, at least, and next time.
    most: usize,
    limit: usize,
}

impl Default for Named {
    fn default() -> Self {
        Self::keeping(MOST_RECORDS)
    }
}

impl Named {
    pub(super) fn keeping(most: usize) -> Self {
        Self {
            numbers: HashMap::default(),
            talks: HashMap::default(),
            stand_ins: BTreeMap::new(),
            lowest: IMAGE_FORKED,
            most,
            limit: most,
        }
    }

    /// Notes what a window names.
    pub(super) fn note(&mut self, frame: &Frame, window: u64) {
        let ends = frame.flows.iter().flat_map(|flow| [flow.image, flow.peer]);
        let named = frame.images.iter().map(|image| image.id);
        let named = named.chain(frame.remotes.iter().map(|remote| remote.id));
        let owners = frame.cpu.iter().map(|cpu| cpu.image);
        let owners = owners.chain(frame.disk.iter().map(|disk| disk.image));
        let numbers = named
            .chain(ends)
            .chain(owners)
            .filter(|number| *number != 0);
        self.numbers.extend(numbers.map(|number| (number, window)));
        let talks = frame.flows.iter().map(|flow| (talk(flow.id()), window));
        self.talks.extend(talks);
    }

    fn last(&self, number: u32) -> u64 {
        self.numbers.get(&number).copied().unwrap_or(0)
    }
}

/// Which number each record gets whose own is given up.
#[derive(Debug, Default)]
pub(super) struct Renumbered(HashMap<u32, u32>);

impl Renumbered {
    pub(super) fn insert(&mut self, from: u32, to: u32) {
        self.0.insert(from, to);
    }

    pub(super) fn of(&self, number: u32) -> u32 {
        self.0.get(&number).copied().unwrap_or(number)
    }

    fn cpu(&self, cpu: &mut Cpu) {
        cpu.image = self.of(cpu.image);
        for (by, _) in &mut cpu.run_queue_by {
            *by = self.of(*by);
        }
        add_by_image(&mut cpu.run_queue_by, &[]);
    }

    /// In all that a window counted.
    pub(super) fn apply(&self, frame: &mut Frame) {
        if self.0.is_empty() {
            return;
        }
        for flow in &mut frame.flows {
            flow.image = self.of(flow.image);
            flow.peer = self.of(flow.peer);
        }
        for cpu in &mut frame.cpu {
            self.cpu(cpu);
        }
        for disk in &mut frame.disk {
            disk.renumber(|image| self.of(image));
        }
    }
}

impl Merge {
    /// Who stands here for images that were gone when this window, itself a merge, was made.
    pub(super) fn stand_ins(&mut self, images: &mut [Image], renumbered: &mut Renumbered) {
        for image in images.iter_mut().filter(|image| image.gone > 0) {
            let id = self.stand_in(Kind::of(image), Some(image.id));
            if id != image.id {
                renumbered.insert(image.id, id);
                image.id = id;
            }
        }
    }

    /// The image that stands for those of a kind that are gone. A new one takes the number that is wished for, if it is free.
    fn stand_in(&mut self, kind: Kind, wish: Option<u32>) -> u32 {
        if let Some(&id) = self.named.stand_ins.get(&kind) {
            return id;
        }
        // The kernel counts from below.
        let free = |id: &u32| !self.images.contains_key(id);
        let below = (IMAGE_FIRST..self.named.lowest).rev();
        let mut below = below.chain((IMAGE_FIRST..IMAGE_FORKED).rev());
        let id = match wish.filter(free) {
            Some(id) => id,
            None => below.find(free).unwrap_or(0),
        };
        self.named.lowest = id;
        let image = Image {
            id,
            program: kind.program.clone(),
            unit: kind.unit.clone(),
            container: kind.container.clone(),
            container_name: kind.container_name.clone(),
            cgroup: kind.cgroup.clone(),
            kernel: kind.kernel,
            ..Image::default()
        };
        self.images.insert(id, image);
        self.named.stand_ins.insert(kind, id);
        id
    }

    /// Puts together what is gone, once there is much.
    pub(super) fn forget(&mut self) {
        let records = |merge: &Self| merge.images.len() + merge.remotes.len() + merge.flows.len();
        if records(self) <= self.named.limit {
            return;
        }
        let mut gone = Renumbered::default();
        self.images_gone(&mut gone);
        self.remotes_gone(&mut gone);
        self.nobody_gone(&mut gone);
        self.renumber(|flow| {
            flow.image = gone.of(flow.image);
            flow.peer = gone.of(flow.peer);
            if flow.peer == PEER_OTHERS && flow.role == Role::Initiator {
                flow.port = 0;
            }
        });
        let mut cpu = std::mem::take(&mut self.cpu);
        for cpu in cpu.values_mut() {
            gone.cpu(cpu);
        }
        cpu.into_values().for_each(|cpu| self.cpu(cpu));
        let mut disk = std::mem::take(&mut self.disk);
        for disk in disk.values_mut() {
            disk.renumber(|image| gone.of(image));
        }
        disk.into_values().for_each(|disk| self.disk(disk));
        let ports = self.ports_gone();
        if !ports.is_empty() {
            self.renumber(|flow| {
                if ports.contains(&talk(flow.id())) {
                    flow.port = 0;
                }
            });
        }
        self.named.limit = self.named.most.max(2 * records(self));
    }

    fn is_gone(&self, last: u64) -> bool {
        last + SILENT_WINDOWS < self.windows
    }

    fn images_gone(&mut self, gone: &mut Renumbered) {
        let silent = self.images.values().filter(|image| image.gone == 0);
        let silent = silent.filter(|image| self.is_gone(self.named.last(image.id)));
        let silent: Vec<(u32, Kind)> = silent.map(|i| (i.id, Kind::of(i))).collect();
        for (id, kind) in silent {
            let stand_in = self.stand_in(kind, None);
            self.take_in(id, stand_in, gone);
        }
        let too_many = self.named.stand_ins.len().saturating_sub(MOST_STAND_INS);
        if too_many == 0 {
            return;
        }
        let all = self.stand_in(Kind::any(), None);
        let named = &self.named;
        let mut oldest: Vec<(u64, u32)> = named
            .stand_ins
            .values()
            .filter(|id| **id != all)
            .map(|&id| (named.last(id), id))
            .collect();
        oldest.sort_unstable();
        for (_, id) in oldest.into_iter().take(too_many + MOST_STAND_INS / 2) {
            self.take_in(id, all, gone);
        }
        let images = &self.images;
        self.named.stand_ins.retain(|_, id| images.contains_key(id));
        // Who was taken in by one that was taken in itself.
        let last = gone.0.clone();
        for to in gone.0.values_mut() {
            *to = last.get(to).copied().unwrap_or(*to);
        }
    }

    /// An image is gone; another one stands for it.
    fn take_in(&mut self, id: u32, stand_in: u32, gone: &mut Renumbered) {
        let Some(image) = self.images.remove(&id) else {
            return;
        };
        let last = self.named.numbers.remove(&id).unwrap_or(0);
        let newest = self.named.last(stand_in).max(last);
        self.named.numbers.insert(stand_in, newest);
        if let Some(stand_in) = self.images.get_mut(&stand_in) {
            plus(&mut stand_in.gone, image.gone.max(1));
        }
        gone.insert(id, stand_in);
    }

    fn remotes_gone(&mut self, gone: &mut Renumbered) {
        let silent = self.remotes.keys().filter(|id| **id != PEER_OTHERS);
        let silent = silent.filter(|id| self.is_gone(self.named.last(**id)));
        let silent: Vec<u32> = silent.copied().collect();
        if silent.is_empty() {
            return;
        }
        plus(&mut self.frame.folded_remotes, silent.len() as u64);
        for id in silent {
            self.remotes.remove(&id);
            self.named.numbers.remove(&id);
            gone.insert(id, PEER_OTHERS);
        }
        self.remotes.insert(PEER_OTHERS, Remote::others());
    }

    /// A record with a number that no window explained belongs to no known image.
    fn nobody_gone(&mut self, gone: &mut Renumbered) {
        let silent = self.named.numbers.iter().filter(|(id, last)| {
            let is_known = self.images.contains_key(id) || self.remotes.contains_key(id);
            !is_known && self.is_gone(**last)
        });
        let silent: Vec<u32> = silent.map(|(id, _)| *id).collect();
        for id in silent {
            self.named.numbers.remove(&id);
            gone.insert(id, 0);
        }
    }

    /// Conversations that are over, of two ends that had many.
    fn ports_gone(&self) -> HashSet<Talk> {
        let over = self.named.talks.iter();
        let over = over.filter(|((.., port, _), last)| *port != 0 && self.is_gone(**last));
        let mut over: Vec<_> = over.map(|(talk, last)| (*talk, *last)).collect();
        over.sort_unstable_by_key(|((a, b, port, transport), last)| {
            (*a, *b, *transport, Reverse(*last), *port)
        });
        let same = |((a, b, _, t), _): &(Talk, u64), ((c, d, _, u), _): &(Talk, u64)| {
            (a, b, t) == (c, d, u)
        };
        let of_two = over.chunk_by(same);
        let old = of_two.flat_map(|talks| talks.iter().skip(MOST_PORTS));
        old.map(|(talk, _)| *talk).collect()
    }

    /// Gives traffic other numbers, and puts together what is the same then.
    fn renumber(&mut self, change: impl Fn(&mut Flow)) {
        let mut talks = HashMap::default();
        for (id, mut flow) in std::mem::take(&mut self.flows) {
            let last = self.named.talks.get(&talk(id)).copied().unwrap_or(0);
            change(&mut flow);
            let newest: &mut u64 = talks.entry(talk(flow.id())).or_default();
            *newest = last.max(*newest);
            self.flow(flow);
        }
        self.named.talks = talks;
    }

    /// Adds traffic.
    pub(super) fn flow(&mut self, flow: Flow) {
        match self.flows.get_mut(&flow.id()) {
            Some(sum) => add_flow(sum, &flow),
            None => drop(self.flows.insert(flow.id(), flow)),
        }
    }

    /// Adds CPU time.
    pub(super) fn cpu(&mut self, cpu: Cpu) {
        match self.cpu.get_mut(&cpu.image) {
            Some(sum) => {
                let threads = sum.threads.max(cpu.threads);
                add_cpu(sum, &cpu);
                sum.threads = threads;
            }
            None => drop(self.cpu.insert(cpu.image, cpu)),
        }
    }

    /// Adds block I/O.
    pub(super) fn disk(&mut self, disk: Disk) {
        match self.disk.get_mut(&disk.image) {
            Some(sum) => add_disk(sum, &disk),
            None => drop(self.disk.insert(disk.image, disk)),
        }
    }
}

#[cfg(test)]
mod tests;
