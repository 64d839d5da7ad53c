//! View: how a user wants the facts grouped, which of them, and where requests enter.
//!
//! In: what was asked for on the command line. Out: the choices that `fold` needs.
//! Must not know: argument parsing, the host.

use std::{fmt, str::FromStr};

use globset::Glob;

use super::finding::Judge;
use crate::frame::Image;

/// What makes a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupBy {
    /// Container, else systemd unit, else program.
    #[default]
    Auto,
    /// Each process (a process and the children forked from it without exec stay one).
    Process,
    /// Name of the process.
    Comm,
    /// Control group.
    Cgroup,
    /// systemd unit, else program.
    Unit,
    /// Container, else program.
    Container,
}

/// Which components and edges to show. What is named by any of the lists is shown; ports narrow that down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Processes.
    pub tgids: Vec<u32>,
    /// Globs over process and program names.
    pub comms: Vec<String>,
    /// Control groups, and all below them.
    pub cgroups: Vec<String>,
    /// systemd units, with or without `.service`.
    pub units: Vec<String>,
    /// Containers, by a prefix of their id.
    pub containers: Vec<String>,
    /// Acceptors' ports: only edges on these, and the components at their ends.
    pub ports: Vec<u16>,
}

/// A glob that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read the name pattern {pattern:?}: {reason}. \
     * and ? stand for any characters; put \\ before a bracket that is part of the name"
)]
pub struct BadGlob {
    pattern: String,
    reason: String,
}

impl Selection {
    /// Whether every component is shown, ports aside.
    #[must_use]
    pub fn names_no_component(&self) -> bool {
        self.tgids.is_empty()
            && self.comms.is_empty()
            && self.cgroups.is_empty()
            && self.units.is_empty()
            && self.containers.is_empty()
    }

    /// Says which glob cannot be understood, if any. One that is not checked here selects nothing.
    ///
    /// # Errors
    /// The first such glob.
    pub fn check(&self) -> Result<(), BadGlob> {
        for pattern in &self.comms {
            Glob::new(pattern).map_err(|e| BadGlob {
                pattern: pattern.clone(),
                reason: e.kind().to_string(),
            })?;
        }
        Ok(())
    }

    /// Whether an edge on this port may be shown.
    #[must_use]
    pub fn shows_port(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.contains(&port)
    }

    /// The test for one image, globs compiled.
    pub fn matcher(&self) -> impl Fn(&Image) -> bool {
        let globs: Vec<_> = self
            .comms
            .iter()
            .filter_map(|g| Some(Glob::new(g).ok()?.compile_matcher()))
            .collect();
        move |image| {
            let processes = &image.processes;
            processes.iter().any(|p| self.tgids.contains(&p.tgid))
                || globs.iter().any(|glob| {
                    glob.is_match(&image.program)
                        || processes.iter().any(|p| glob.is_match(&p.comm))
                })
                || self
                    .cgroups
                    .iter()
                    .any(|wanted| lies_under(&image.cgroup, wanted))
                || image.unit.as_ref().is_some_and(|unit| {
                    self.units
                        .iter()
                        .any(|w| w == unit || Some(w.as_str()) == unit.strip_suffix(".service"))
                })
                || image.container.as_ref().is_some_and(|id| {
                    // The id may be known in its short form and be given in its long one.
                    self.containers.iter().any(|w| {
                        !w.is_empty() && (id.starts_with(w.as_str()) || w.starts_with(id.as_str()))
                    })
                })
        }
    }
}

fn lies_under(cgroup: &str, wanted: &str) -> bool {
    let rest = cgroup
        .trim_start_matches('/')
        .strip_prefix(wanted.trim_matches('/'));
    rest.is_some_and(|rest| {
        rest.is_empty() || rest.starts_with('/') || wanted.trim_matches('/').is_empty()
    })
}

/// Where requests enter, as given by `--entry NAME[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryWish {
    /// Name or id of the component.
    pub name: String,
    /// Its port; any if none is given.
    pub port: Option<u16>,
}

/// An entry that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read the entry {0:?}: give a component and, if it has several, its port, as in --entry web:8080"
)]
pub struct BadEntry(String);

impl FromStr for EntryWish {
    type Err = BadEntry;

    fn from_str(text: &str) -> Result<Self, BadEntry> {
        let (name, port) = match text
            .rsplit_once(':')
            .map(|(name, port)| (name, port.parse()))
        {
            Some((name, Ok(port))) => (name, Some(port)),
            _ => (text, None),
        };
        if name.is_empty() || name.ends_with(':') {
            return Err(BadEntry(text.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            port,
        })
    }
}

impl fmt::Display for EntryWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// How to look at the facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// What makes a component.
    pub group_by: GroupBy,
    /// Which of them to show.
    pub selection: Selection,
    /// Where requests enter; empty for what the traffic itself suggests.
    pub entries: Vec<EntryWish>,
    /// Who says what is wrong.
    pub judge: Judge,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Process;

    fn selects(selection: &Selection) -> bool {
        selection.matcher()(&Image {
            program: "app.py".into(),
            unit: Some("shop.service".into()),
            container: Some("0123456789ab".into()),
            cgroup: "/system.slice/shop.service".into(),
            processes: vec![Process {
                tgid: 42,
                comm: "python3".into(),
            }],
            ..Image::default()
        })
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn any_list_may_name_a_component() {
        let none = Selection::default;
        assert!(!selects(&none()));
        assert!(selects(&Selection {
            tgids: vec![1, 42],
            ..none()
        }));
        assert!(selects(&Selection {
            comms: texts(&["py*3"]),
            ..none()
        }));
        assert!(selects(&Selection {
            comms: texts(&["nginx", "app.??"]),
            ..none()
        }));
        assert!(!selects(&Selection {
            comms: texts(&["py"]),
            ..none()
        }));
        assert!(selects(&Selection {
            units: texts(&["shop"]),
            ..none()
        }));
        assert!(!selects(&Selection {
            units: texts(&["sho"]),
            ..none()
        }));
        assert!(selects(&Selection {
            containers: texts(&["0123"]),
            ..none()
        }));
        assert!(selects(&Selection {
            containers: texts(&["0123456789abcdef"]),
            ..none()
        }));
        assert!(!selects(&Selection {
            containers: texts(&[""]),
            ..none()
        }));
    }

    #[test]
    fn a_cgroup_takes_in_all_below_it() {
        let under = |wanted| {
            selects(&Selection {
                cgroups: texts(&[wanted]),
                ..Selection::default()
            })
        };
        assert!(under("/system.slice") && under("system.slice/") && under("/"));
        assert!(under("/system.slice/shop.service"));
        assert!(!under("/system.sl") && !under("/system.slice/shop.service/x"));
    }

    #[test]
    fn a_bad_glob_is_refused_with_a_hint() {
        let bad = Selection {
            comms: texts(&["[a"]),
            ..Selection::default()
        };
        insta::assert_snapshot!(bad.check().unwrap_err(), @r#"cannot read the name pattern "[a": unclosed character class; missing ']'. * and ? stand for any characters; put \ before a bracket that is part of the name"#);
        assert!(!selects(&bad));
    }

    #[test]
    fn entries_read_as_name_and_port() {
        let parse = |text: &str| text.parse::<EntryWish>().ok().map(|e| (e.name, e.port));
        assert_eq!(parse("web"), Some(("web".into(), None)));
        assert_eq!(parse("web:80"), Some(("web".into(), Some(80))));
        assert_eq!(
            parse("unit:web.service:80"),
            Some(("unit:web.service".into(), Some(80)))
        );
        assert_eq!(
            parse("unit:web.service"),
            Some(("unit:web.service".into(), None))
        );
        assert_eq!(parse(""), None);
        assert_eq!(parse(":80"), None);
        assert_eq!(parse("web:"), None);
    }
}
