//! Apt: Debian packages of other releases and other architectures, unpacked and not installed.
//!
//! In: the machine's own package sources. Out: a directory with a package's files. Must not know: what they are for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::sh;

/// Keys of all of Debian's releases.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// apt with state of its own, which the machine's own settings do not see.
pub struct Apt {
    dir: PathBuf,
    architecture: &'static str,
    /// Whether its package source is its own, too; else those of the machine.
    own_source: bool,
}

impl Apt {
    /// For packages of one release; `below` is where everything lies.
    pub fn of_suite(below: &Path, suite: &str, architecture: &'static str) -> Result<Self> {
        let apt = Self::in_dir(below, suite, architecture, true)?;
        let source = format!("deb [signed-by={KEYRING}] {} {suite} main\n", own_source()?);
        fs::write(apt.dir.join("sources.list"), source)?;
        apt.update()?;
        Ok(apt)
    }

    /// For packages from where this machine has its own, but of another architecture.
    pub fn of_this_machine(below: &Path, architecture: &'static str) -> Result<Self> {
        let apt = Self::in_dir(below, "here", architecture, false)?;
        apt.update()?;
        Ok(apt)
    }

    fn in_dir(
        below: &Path,
        name: &str,
        architecture: &'static str,
        own_source: bool,
    ) -> Result<Self> {
        let dir = below.join(format!("{name}-{architecture}"));
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part))?;
        }
        Ok(Self {
            dir,
            architecture,
            own_source,
        })
    }

    fn update(&self) -> Result<()> {
        sh::run(
            self.command("apt-get")
                .args(["--quiet", "--quiet", "update"]),
        )
    }

    fn command(&self, program: &str) -> Command {
        let mut command = sh::command(program);
        command.current_dir(&self.dir);
        let at = |part: &str| self.dir.join(part).display().to_string();
        let mut options = vec![
            ("Dir::State::lists", at("lists")),
            ("Dir::State::status", "/dev/null".to_owned()),
            ("Dir::Cache", at("cache")),
            ("Acquire::Languages", "none".to_owned()),
            ("APT::Architecture", self.architecture.to_owned()),
            ("APT::Architectures", self.architecture.to_owned()),
            // What is downloaded lies where only root may read.
            ("APT::Sandbox::User", "root".to_owned()),
        ];
        if self.own_source {
            options.push(("Dir::Etc::sourcelist", at("sources.list")));
            options.push(("Dir::Etc::sourceparts", "/dev/null".to_owned()));
        }
        for (option, value) in options {
            command.arg("-o").arg(format!("{option}={value}"));
        }
        command
    }

    /// The first package with this beginning that `package` depends on.
    pub fn dependency(&self, package: &str, beginning: &str) -> Result<String> {
        let text =
            sh::output(
                self.command("apt-cache")
                    .args(["show", "--no-all-versions", package]),
            )?;
        text.lines()
            .filter_map(|line| line.strip_prefix("Depends:"))
            .flat_map(|line| line.split([',', '|']))
            .filter_map(|dependency| dependency.split_whitespace().next())
            .find(|name| name.starts_with(beginning))
            .map(str::to_owned)
            .with_context(|| format!("{package} depends on no {beginning}…"))
    }

    /// Download a package (`name`, or `name=version`) and unpack it.
    pub fn unpack(&self, package: &str) -> Result<PathBuf> {
        sh::run(
            self.command("apt-get")
                .args(["--quiet", "--quiet", "download", package]),
        )?;
        let name = package.split('=').next().unwrap_or(package);
        let archive = fs::read_dir(&self.dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| is_package(path, name))
            .with_context(|| format!("apt-get downloaded no {package}"))?;
        let unpacked = self.dir.join("unpacked");
        sh::run(
            sh::command("dpkg-deb")
                .arg("--extract")
                .arg(&archive)
                .arg(&unpacked),
        )?;
        fs::remove_file(archive)?;
        Ok(unpacked)
    }
}

fn is_package(path: &Path, package: &str) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        name.starts_with(&format!("{package}_")) && name.ends_with(".deb")
    })
}

/// Where this machine gets Debian from.
fn own_source() -> Result<String> {
    let format = "$(ORIGIN)|$(COMPONENT)|$(CREATED_BY)|$(CODENAME)|$(REPO_URI)";
    let text = sh::output(sh::command("apt-get").args(["indextargets", "--format", format]))?;
    text.lines()
        .find_map(|line| {
            let parts: Vec<&str> = line.split('|').collect();
            match parts.as_slice() {
                ["Debian", "main", "Packages", suite, uri] if !suite.contains('-') => {
                    Some((*uri).to_owned())
                }
                _ => None,
            }
        })
        .context("this machine has no Debian package source to get packages of other releases from")
}
