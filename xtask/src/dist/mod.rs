//! `cargo xtask dist`: what people install.
//!
//! In: the workspace. Out: in target/dist, for each architecture a tar of static programs, a Debian package, and a bill of
//! materials; checksums of all. Must not know: how a program is built for another architecture.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::vm::{Arch, cross};
use crate::{build, ebpf, sh};

mod bill;
pub mod check;
mod deb;
mod files;
mod pack;

/// Architectures that are built for.
const ARCHS: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

/// Build and pack everything, or only what is for these architectures.
pub fn dist(archs: &[Arch]) -> Result<()> {
    let archs = if archs.is_empty() { &ARCHS } else { archs };
    let out = sh::target_dir().join("dist");
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    // Manual pages and completions are made by a program that runs here.
    let here = build::courtside(true)?;
    let mut made = Vec::new();
    for (number, arch) in archs.iter().enumerate() {
        eprintln!(
            "\nxtask: {}/{} programs for {}",
            number + 1,
            archs.len(),
            arch.rust()
        );
        made.extend(pack_all(*arch, &program(*arch)?, &here, &out)?);
    }
    made.push(checksums(&out, &made)?);
    for file in &made {
        let bytes = fs::metadata(file)?.len();
        println!("{:>12} bytes  {}", bytes, file.display());
    }
    Ok(())
}

/// Packs one program; returns what was made.
fn pack_all(arch: Arch, program: &Path, here: &Path, out: &Path) -> Result<Vec<PathBuf>> {
    let scratch = tempfile::tempdir().context("no folder to pack in")?;
    let files = files::all(arch, program, here, scratch.path())?;
    let name = format!("courtside-{VERSION}-{}", arch.rust());
    Ok(vec![
        pack::tar(&files, &name, scratch.path(), out)?,
        deb::build(&files, arch, scratch.path(), out)?,
        bill::write(arch, &out.join(format!("{name}.cdx.json")))?,
    ])
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The program for an architecture, which needs no library where it runs.
fn program(arch: Arch) -> Result<PathBuf> {
    let object = std::path::absolute(ebpf::build_for(arch.rust())?)?;
    let target_dir = sh::target_dir().join("dist").join("build");
    fs::create_dir_all(&target_dir)?;
    sh::run(
        cross::cargo(arch)?
            .args(["build", "--release", "--locked"])
            .args(["--target", arch.target()])
            .args(["--package", "profiler-user", "--bin", "courtside"])
            .arg("--target-dir")
            .arg(&target_dir)
            .env("COURTSIDE_EBPF_OBJECT", object),
    )?;
    Ok(target_dir
        .join(arch.target())
        .join("release")
        .join("courtside"))
}

/// A file with the checksum of each of these.
fn checksums(out: &Path, made: &[PathBuf]) -> Result<PathBuf> {
    let names = made.iter().filter_map(|path| path.file_name());
    let sums = sh::output(sh::command("sha256sum").current_dir(out).args(names))?;
    let path = out.join("SHA256SUMS");
    fs::write(&path, sums).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
