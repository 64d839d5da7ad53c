//! Kernels: Debian's, of several releases, unpacked into target/vm/.
//!
//! In: the machine's own package source. Out: a file to boot from. Must not know: what is run on it.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::apt::Apt;
use crate::sh;

/// What a kernel runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    #[value(name = "aarch64")]
    Aarch64,
}

impl Arch {
    /// That of this machine.
    pub fn of_this_machine() -> Result<Self> {
        match env::consts::ARCH {
            "x86_64" => Ok(Self::X86_64),
            "aarch64" => Ok(Self::Aarch64),
            other => bail!("nothing is built for {other}"),
        }
    }

    /// As Debian calls it.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// As Rust calls it.
    pub fn rust(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// As Rust calls it, with a Linux on it.
    pub fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The package that can emulate it.
    pub fn emulator(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86",
            Self::Aarch64 => "qemu-system-arm",
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
    /// Whether its clock counts instructions, a nanosecond each, and does not wait when there is nothing to do. So a program
    /// is as long as it is on a CPU of silicon, and it is nothing to the machine if its host has other things to do.
    /// Kernels that start one CPU after the other (before 6.5, x86-64) never start the second one so.
    pub counts_instructions: bool,
    /// One CPU whose counters count exactly: cycles per instruction, as a power of two. Only counters are tested there.
    pub cpi_shift: Option<u32>,
}

/// The machine has no `cmpxchg16b`, without which a kernel that takes a task's state from `kmalloc_nolock` has none to give,
/// unless the allocator works with locks: it does where it looks after its red zones.
const SLAB_WITHOUT_CX16: &str = "slab_debug=Z,kmalloc-*";

/// The same kernel in a machine with one CPU that takes 2^`shift` cycles for each instruction.
const fn counting(name: &'static str, shift: u32) -> Kernel {
    Kernel {
        name,
        suite: "trixie",
        arch: Arch::Aarch64,
        parameters: "",
        counts_instructions: true,
        cpi_shift: Some(shift),
    }
}

/// Every kernel, the nearest to today's first.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        name: "6.12",
        suite: "trixie",
        arch: Arch::X86_64,
        parameters: "",
        counts_instructions: true,
        cpi_shift: None,
    },
    Kernel {
        name: "6.1",
        suite: "bookworm",
        arch: Arch::X86_64,
        parameters: "",
        counts_instructions: false,
        cpi_shift: None,
    },
    Kernel {
        name: "7.2",
        suite: "sid",
        arch: Arch::X86_64,
        parameters: SLAB_WITHOUT_CX16,
        counts_instructions: true,
        cpi_shift: None,
    },
    Kernel {
        name: "5.10",
        suite: "bullseye",
        arch: Arch::X86_64,
        parameters: "",
        counts_instructions: false,
        cpi_shift: None,
    },
    Kernel {
        name: "6.12-arm64",
        suite: "trixie",
        arch: Arch::Aarch64,
        parameters: "",
        counts_instructions: true,
        cpi_shift: None,
    },
    Kernel {
        name: "6.1-arm64",
        suite: "bookworm",
        arch: Arch::Aarch64,
        parameters: "",
        counts_instructions: true,
        cpi_shift: None,
    },
    counting("6.12-arm64-cpi1", 0),
    counting("6.12-arm64-cpi2", 1),
    counting("6.12-arm64-cpi4", 2),
];

/// Where everything for machines lies.
pub fn dir() -> PathBuf {
    sh::target_dir().join("vm")
}

impl Kernel {
    fn dir(&self) -> PathBuf {
        let version = self.name.split('-').next().unwrap_or(self.name);
        dir()
            .join("kernels")
            .join(format!("{version}-{}", self.arch.debian()))
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
        let apt = Apt::of_suite(&dir().join("apt"), self.suite, self.arch.debian())?;
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
