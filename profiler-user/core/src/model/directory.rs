//! Who is who: which images and remote ends make one component, and what it is called.
//!
//! In: a Frame's images and remotes. Out: a [`Directory`]. Must not know: what anybody did.

use std::collections::{BTreeMap, HashMap};

use super::snapshot::ComponentKind;
use super::view::GroupBy;
use crate::frame::{Frame, Image, Process};

/// Who one component is.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub id: String,
    pub name: String,
    pub kind: ComponentKind,
    pub processes: Vec<Process>,
    /// Its address is one of this very host, though the kernel did not say who sits there.
    pub loopback: bool,
    pub selected: bool,
}

/// Which component each image and remote end of a window belongs to: their numbers, the component's id and its name.
#[must_use]
pub fn who_is_who(frame: &Frame, group_by: GroupBy) -> Vec<(u32, String, String)> {
    let directory = Directory::new(frame, group_by, |_| false);
    let named = |(&number, &place): (&u32, &usize)| {
        let identity = &directory.identities[place];
        (number, identity.id.clone(), identity.name.clone())
    };
    directory.by_number.iter().map(named).collect()
}

/// Every component of a window, by index; indices follow the order of the ids.
pub(super) struct Directory {
    pub identities: Vec<Identity>,
    by_number: HashMap<u32, usize>,
    unknown: usize,
}

const UNKNOWN: &str = "unknown";

impl Directory {
    /// Groups what the frame names. `selected` says of one image whether the user asked for it.
    pub fn new(frame: &Frame, group_by: GroupBy, selected: impl Fn(&Image) -> bool) -> Self {
        let mut by_id: BTreeMap<String, (Identity, Vec<u32>)> = BTreeMap::new();
        let mut add = |identity: Identity, number: Option<u32>| {
            let (known, numbers) = by_id.entry(identity.id.clone()).or_insert_with(|| {
                (
                    Identity {
                        processes: Vec::new(),
                        ..Identity::default()
                    },
                    Vec::new(),
                )
            });
            let selected = known.selected || identity.selected;
            let mut processes = std::mem::take(&mut known.processes);
            processes.extend(identity.processes.iter().cloned());
            // One of its programs may have begun before the name of the container could be read.
            let bare = identity.id.strip_prefix("container:") == Some(identity.name.as_str());
            let name = if bare && !known.name.is_empty() {
                std::mem::take(&mut known.name)
            } else {
                identity.name.clone()
            };
            *known = Identity {
                processes,
                selected,
                name,
                ..identity
            };
            numbers.extend(number);
        };
        add(
            remote_identity(UNKNOWN.to_owned(), UNKNOWN.to_owned(), false),
            None,
        );
        for image in &frame.images {
            let (id, name, kind) = name_image(image, group_by);
            let processes = if image.kernel {
                Vec::new()
            } else {
                image.processes.clone()
            };
            let identity = Identity {
                id,
                name,
                kind,
                processes,
                loopback: false,
                selected: selected(image),
            };
            add(identity, Some(image.id));
        }
        for remote in &frame.remotes {
            let ip = remote.address.parse::<core::net::IpAddr>().ok();
            let name = match (remote.port, ip) {
                (0, _) => remote.address.clone(),
                (port, Some(core::net::IpAddr::V6(ip))) => format!("[{ip}]:{port}"),
                (port, _) => format!("{}:{port}", remote.address),
            };
            let loopback = ip.is_some_and(|ip| ip.to_canonical().is_loopback());
            add(
                remote_identity(format!("remote:{name}"), name, loopback),
                Some(remote.id),
            );
        }

        let mut directory = Self {
            identities: Vec::new(),
            by_number: HashMap::new(),
            unknown: 0,
        };
        for (index, (mut identity, numbers)) in by_id.into_values().enumerate() {
            if identity.id == UNKNOWN {
                directory.unknown = index;
            }
            identity.processes.sort_unstable();
            identity.processes.dedup();
            directory
                .by_number
                .extend(numbers.into_iter().map(|number| (number, index)));
            directory.identities.push(identity);
        }
        directory
    }

    /// The component of an image or remote number; 0 and numbers the frame does not explain are one, `unknown`.
    pub fn of(&self, number: u32) -> usize {
        self.by_number.get(&number).copied().unwrap_or(self.unknown)
    }

    /// Whether nobody could say who this is, though it may well be on this host.
    pub fn unresolved(&self, component: usize) -> bool {
        component == self.unknown || self.identities[component].loopback
    }

    /// Whether this end is not on this host, or not known.
    pub fn remote(&self, component: usize) -> bool {
        self.identities[component].kind == ComponentKind::Remote
    }
}

fn remote_identity(id: String, name: String, loopback: bool) -> Identity {
    Identity {
        id,
        name,
        kind: ComponentKind::Remote,
        loopback,
        ..Identity::default()
    }
}

/// Id, name and kind of the component an image belongs to.
fn name_image(image: &Image, group_by: GroupBy) -> (String, String, ComponentKind) {
    use ComponentKind::{Container, Program, Unit};

    if image.kernel {
        return ("kernel".to_owned(), "kernel".to_owned(), Program);
    }
    let program = if image.program.is_empty() {
        "unnamed"
    } else {
        &image.program
    };
    let first = image.processes.iter().min();
    let by_program = || (format!("program:{program}"), program.to_owned(), Program);
    let unit = image.unit.as_ref().map(|unit| {
        let name = unit.strip_suffix(".service").unwrap_or(unit);
        (format!("unit:{unit}"), name.to_owned(), Unit)
    });
    let container = image.container.as_ref().map(|id| {
        let name = image.container_name.as_ref().unwrap_or(id);
        (format!("container:{id}"), name.clone(), Container)
    });
    match group_by {
        GroupBy::Auto => container.or(unit).unwrap_or_else(by_program),
        GroupBy::Unit => unit.unwrap_or_else(by_program),
        GroupBy::Container => container.unwrap_or_else(by_program),
        // Nobody knows any more which they were.
        GroupBy::Comm | GroupBy::Process if image.gone > 0 => {
            let what = if group_by == GroupBy::Comm {
                "comm"
            } else {
                "process"
            };
            let name = match program {
                Image::GONE => program.to_owned(),
                _ => format!("{program} {}", Image::GONE),
            };
            (format!("{what}:{name}"), name, Program)
        }
        GroupBy::Comm => {
            let comm = first.map_or(program, |process| &process.comm);
            (format!("comm:{comm}"), comm.to_owned(), Program)
        }
        GroupBy::Process => {
            let alive = first.map(|process| process.tgid);
            let name = match alive.or(image.first_tgid) {
                Some(tgid) => format!("{program}/{tgid}"),
                None => format!("{program}#{}", image.id),
            };
            (format!("process:{name}"), name, Program)
        }
        // Gone, and its control group with it, before anybody could ask.
        GroupBy::Cgroup if image.cgroup.is_empty() => by_program(),
        GroupBy::Cgroup => {
            let kind = container.or(unit).map_or(Program, |(_, _, kind)| kind);
            (
                format!("cgroup:{}", image.cgroup),
                image.cgroup.clone(),
                kind,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::frames::{frame, image};

    #[test]
    fn a_process_that_has_ended_has_its_number() {
        let named = |first_tgid| {
            let image = Image {
                first_tgid,
                processes: Vec::new(),
                ..image(3, "mptcp.py", &[])
            };
            name_image(&image, GroupBy::Process).1
        };
        assert_eq!(
            [named(Some(70)), named(None)],
            ["mptcp.py/70", "mptcp.py#3"]
        );
    }

    #[test]
    fn a_container_is_called_what_its_runtime_calls_it_and_keeps_its_id() {
        for names in [
            [Some("shop/cart-0/web"), None],
            [None, Some("shop/cart-0/web")],
        ] {
            let images = (1..).zip(names).map(|(id, name)| Image {
                container: Some("0123456789ab".to_owned()),
                container_name: name.map(str::to_owned),
                ..image(id, "sh", &[])
            });
            let who = who_is_who(&frame(images.collect(), &[], Vec::new()), GroupBy::Auto);
            let expected = |id| {
                (
                    id,
                    "container:0123456789ab".to_owned(),
                    "shop/cart-0/web".to_owned(),
                )
            };
            let mut named: Vec<_> = who.into_iter().filter(|(id, ..)| *id != 0).collect();
            named.sort();
            assert_eq!(named, [expected(1), expected(2)]);
        }
        let unnamed = Image {
            container: Some("0123456789ab".to_owned()),
            ..image(1, "sh", &[])
        };
        let who = who_is_who(&frame(vec![unnamed], &[], Vec::new()), GroupBy::Auto);
        assert!(
            who.iter()
                .any(|(id, _, name)| (*id, name.as_str()) == (1, "0123456789ab"))
        );
    }
}
