//! Kernels: Debian's, of several releases, unpacked into target/vm/.
//!
//! In: the machine's own package source. Out: a file to boot from. Must not know: what is run on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sh;

/// What a kernel runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    X86_64,
}

impl Arch {
    /// As Debian calls it.
    fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
        }
    }

    /// As Rust calls it.
    pub fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
        }
    }
}

/// A kernel, and the Debian release that has it.
pub struct Kernel {
    pub name: &'static str,
    pub suite: &'static str,
    pub arch: Arch,
    /// What its command line says besides.
    pub parameters: &'static str,
    /// Booted when no kernel is named.
    pub usual: bool,
}

/// The machine has no `cmpxchg16b`, without which a kernel that takes a task's state from `kmalloc_nolock` has none to give,
/// unless the allocator works with locks: it does where it looks after its red zones.
const SLAB_WITHOUT_CX16: &str = "slab_debug=Z,kmalloc-*";

/// Every kernel, the nearest to today's first.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        name: "6.12",
        suite: "trixie",
        arch: Arch::X86_64,
        parameters: "",
        usual: true,
    },
    Kernel {
        name: "6.1",
        suite: "bookworm",
        arch: Arch::X86_64,
        parameters: "",
        usual: true,
    },
    Kernel {
        name: "7.2",
        suite: "sid",
        arch: Arch::X86_64,
        parameters: SLAB_WITHOUT_CX16,
        usual: true,
    },
    Kernel {
        name: "5.10",
        suite: "bullseye",
        arch: Arch::X86_64,
        parameters: "",
        usual: true,
    },
];

/// Where everything for machines lies.
pub fn dir() -> PathBuf {
    sh::target_dir().join("vm")
}

impl Kernel {
    fn dir(&self) -> PathBuf {
        dir()
            .join("kernels")
            .join(format!("{}-{}", self.name, self.arch.debian()))
    }

    /// The file to boot from.
    pub fn file(&self) -> PathBuf {
        self.dir().join("vmlinuz")
    }

    /// Have the kernel here, and say which release it is. What is here stays: no network is needed then.
    pub fn fetch(&self) -> Result<String> {
        let note = self.dir().join("release");
        if let Ok(release) = fs::read_to_string(&note) {
            return Ok(release);
        }
        eprintln!("xtask: fetching Linux {} ({})", self.name, self.suite);
        let apt = Apt::new(self.suite, self.arch)?;
        // The one for the cloud is small and has what an emulated machine has.
        let mut package = apt.dependency(
            &format!("linux-image-cloud-{}", self.arch.debian()),
            "linux-image-",
        )?;
        let release = package.trim_start_matches("linux-image-").to_owned();
        // Since 7.x the image is in a package that this one needs.
        if let Ok(binary) = apt.dependency(&package, "linux-binary-") {
            package = binary;
        }
        let unpacked = apt.unpack(&package)?;
        let places = [
            format!("boot/vmlinuz-{release}"),
            format!("usr/lib/modules/{release}/vmlinuz"),
            format!("lib/modules/{release}/vmlinuz"),
        ];
        let Some(image) = places
            .iter()
            .map(|at| unpacked.join(at))
            .find(|at| at.is_file())
        else {
            bail!("{package} holds none of {}", places.join(", "));
        };
        fs::create_dir_all(self.dir())?;
        fs::copy(&image, self.file())
            .with_context(|| format!("cannot copy {}", image.display()))?;
        fs::remove_dir_all(&unpacked)?;
        fs::write(&note, &release)?;
        Ok(release)
    }
}

/// apt with a package source of its own, which the machine's own settings do not see.
struct Apt {
    dir: PathBuf,
    arch: Arch,
}

impl Apt {
    fn new(suite: &str, arch: Arch) -> Result<Self> {
        let dir = dir().join("apt").join(format!("{suite}-{}", arch.debian()));
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part))?;
        }
        let source = format!("deb [signed-by={KEYRING}] {} {suite} main\n", own_source()?);
        fs::write(dir.join("sources.list"), source)?;
        let apt = Self { dir, arch };
        sh::run(
            apt.command("apt-get")
                .args(["--quiet", "--quiet", "update"]),
        )?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = sh::command(program);
        command.current_dir(&self.dir);
        let at = |part: &str| self.dir.join(part).display().to_string();
        for (option, value) in [
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
            ("Dir::State::lists", at("lists")),
            ("Dir::State::status", "/dev/null".to_owned()),
            ("Dir::Cache", at("cache")),
            ("Acquire::Languages", "none".to_owned()),
            ("APT::Architecture", self.arch.debian().to_owned()),
            ("APT::Architectures", self.arch.debian().to_owned()),
            // What is downloaded lies where only root may read.
            ("APT::Sandbox::User", "root".to_owned()),
        ] {
            command.arg("-o").arg(format!("{option}={value}"));
        }
        command
    }

    /// The first package with this beginning that `package` depends on.
    fn dependency(&self, package: &str, beginning: &str) -> Result<String> {
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

    /// Download a package and unpack it.
    fn unpack(&self, package: &str) -> Result<PathBuf> {
        sh::run(
            self.command("apt-get")
                .args(["--quiet", "--quiet", "download", package]),
        )?;
        let archive = fs::read_dir(&self.dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| is_package(path, package))
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

/// Keys of all of Debian's releases.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

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
        .context("this machine has no Debian package source to get kernels from")
}
