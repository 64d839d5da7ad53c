//! Cross: a cargo that builds static programs for the architecture of a machine.
//!
//! In: an architecture, Debian's packages. Out: a command, set up. Must not know: what is built.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::apt::Apt;
use super::kernels::{Arch, dir};
use crate::{ebpf, packages, sh};

const STATIC: &str = "-Ctarget-feature=+crt-static";

/// Debian's compilers: of Rust, whose library for the other architecture is had besides, and of C.
const PACKAGES: [&str; 4] = [
    "rustc-web",
    "libstd-rust-web-dev",
    "gcc-aarch64-linux-gnu",
    "libc6-dev-arm64-cross",
];
const LIBRARY: &str = "libstd-rust-web-dev";
/// Links, and compiles the C that crates bring along.
const CC: &str = "aarch64-linux-gnu-gcc";

/// Cargo, which links statically: where its programs run there may be another C library, or none.
pub fn cargo(arch: Arch) -> Result<Command> {
    let mut cargo = sh::cargo();
    cargo.env_remove("RUSTFLAGS");
    if arch.rust() == env::consts::ARCH {
        cargo.env("CARGO_ENCODED_RUSTFLAGS", STATIC);
        return Ok(cargo);
    }
    ensure!(
        arch == Arch::Aarch64,
        "programs for {} are built on such a machine only",
        arch.rust()
    );
    packages::need("Building for another architecture", &PACKAGES)?;
    let sysroot = sysroot(arch)?;
    cargo
        .env("RUSTC", ebpf::SYSTEM_RUSTC)
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            format!("{STATIC}\x1f--sysroot={}", sysroot.display()),
        );
    let target = arch.target().replace('-', "_");
    cargo
        .env(format!("CARGO_TARGET_{}_LINKER", target.to_uppercase()), CC)
        .env(format!("CC_{target}"), CC);
    Ok(cargo)
}

/// Where the library of the system's Rust lies, as it is for this architecture. Of exactly the same version: the
/// compiler reads no other one's.
fn sysroot(arch: Arch) -> Result<PathBuf> {
    let format = "${Version}";
    let version =
        sh::output(sh::command("dpkg-query").args(["--show", "--showformat", format, LIBRARY]))?;
    let sysroot = dir().join("sysroot").join(arch.target());
    let note = sysroot.join("version");
    if fs::read_to_string(&note).is_ok_and(|here| here == version) {
        return Ok(sysroot);
    }
    if sysroot.exists() {
        fs::remove_dir_all(&sysroot)?;
    }
    fs::create_dir_all(sysroot.join("lib"))?;
    eprintln!(
        "xtask: fetching the library of Rust {version} for {}",
        arch.rust()
    );
    let apt = Apt::of_this_machine(&dir().join("apt"), arch.debian())?;
    let unpacked = apt.unpack(&format!("{LIBRARY}={version}"))?;
    let (from, to) = (
        unpacked.join("usr/lib/rustlib"),
        sysroot.join("lib/rustlib"),
    );
    fs::rename(&from, &to).with_context(|| format!("cannot move {}", from.display()))?;
    fs::remove_dir_all(&unpacked)?;
    fs::write(&note, version)?;
    Ok(sysroot)
}
