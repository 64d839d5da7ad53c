//! Which address is which host's.
//!
//! In: a file as /etc/hosts, names of hosts. Out: for an address its host, or why there is none. Must not know: who called whom.
//!
//! Exports name the far end of a connection by its address, and no host says which addresses are its own. So a file has to;
//! a host whose folder is called by its address needs none.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
};

use anyhow::Context as _;

/// What the file is called if it lies in the folder itself.
const NAME: &str = "hosts";

/// Addresses of hosts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    of: BTreeMap<String, BTreeSet<String>>,
}

/// Whose an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose<'a> {
    /// This host's.
    One(&'a str),
    /// Several hosts': a virtual address, or a mistake.
    Several,
    /// Nobody's that is known.
    Nobody,
}

impl Addresses {
    /// Reads what there is: the file that was given, or the one in the folder.
    ///
    /// # Errors
    /// The file that was given cannot be read, or has a line that is none.
    pub(crate) fn read<'a>(
        given: Option<&Path>,
        root: &Path,
        hosts: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<Self> {
        let mut found = Self::default();
        for host in hosts {
            if host.parse::<IpAddr>().is_ok() {
                found.add(host, host);
            }
        }
        let own = root.join(NAME);
        let file = given.or_else(|| own.is_file().then_some(own.as_path()));
        if let Some(file) = file {
            let cannot = || format!("cannot read {}", file.display());
            let text = std::fs::read_to_string(file).with_context(cannot)?;
            found
                .lines(&text)
                .with_context(|| format!("in {}", file.display()))?;
        }
        Ok(found)
    }

    pub(crate) fn lines(&mut self, text: &str) -> anyhow::Result<()> {
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(address) = words.next() else {
                continue;
            };
            let address: IpAddr = address.parse().with_context(|| {
                format!(
                    "line {number}: {address} is no address; write ADDRESS NAME, as in /etc/hosts"
                )
            })?;
            let name = words
                .next()
                .with_context(|| format!("line {number}: {address} has no name"))?;
            self.add(&address.to_string(), name);
        }
        Ok(())
    }

    fn add(&mut self, address: &str, host: &str) {
        let hosts = self.of.entry(plain(address)).or_default();
        hosts.insert(host.to_owned());
    }

    /// Whose it is.
    pub(crate) fn whose(&self, address: &str) -> Whose<'_> {
        let Some(hosts) = self.of.get(&plain(address)) else {
            return Whose::Nobody;
        };
        let mut hosts = hosts.iter();
        match (hosts.next(), hosts.next()) {
            (Some(host), None) => Whose::One(host),
            (Some(_), Some(_)) => Whose::Several,
            (None, _) => Whose::Nobody,
        }
    }

    /// Whether any is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

/// The one way to write an address: an IPv4 address in the dress of IPv6 is one of IPv4.
fn plain(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_as_etc_hosts_tells_whose_an_address_is() {
        let mut known = Addresses::default();
        known
            .lines("# ours\n10.0.0.1 web01 web01.example # first\n\nfd00:0::2 db01\n10.0.0.9 a\n10.0.0.9 b\n")
            .unwrap();
        assert_eq!(known.whose("10.0.0.1"), Whose::One("web01"));
        assert_eq!(known.whose("::ffff:10.0.0.1"), Whose::One("web01"));
        assert_eq!(known.whose("fd00::2"), Whose::One("db01"));
        assert_eq!(known.whose("10.0.0.9"), Whose::Several);
        assert_eq!(known.whose("192.0.2.1"), Whose::Nobody);
        let said = format!("{:#}", known.lines("web01 10.0.0.1").unwrap_err());
        assert!(said.contains("line 1") && said.contains("web01"), "{said}");
    }
}
