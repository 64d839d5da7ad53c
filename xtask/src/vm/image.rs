//! Image: the one file that a machine boots with, our static programs and nothing else.
//!
//! In: the workspace. Out: an initramfs. Must not know: which kernel boots it.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::newc::{Builder, ModeFileType, trailer};

use super::cross;
use super::kernels::{Arch, dir};
use crate::{ebpf, sh};

/// What goes where.
const PROGRAMS: [(&str, &str); 3] = [
    ("vm-init", "init"),
    ("courtside", "bin/courtside"),
    ("courtside-workload", "bin/courtside-workload"),
];

/// Build the programs and pack them.
pub fn build(arch: Arch) -> Result<PathBuf> {
    let built = programs(arch)?;
    let path = dir().join(format!("{}.cpio", arch.target()));
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut archive = BufWriter::new(file);
    for name in ["bin", "dev"] {
        archive = entry(archive, name, ModeFileType::Directory, 0o755, &[])?;
    }
    for (program, to) in PROGRAMS {
        let from = built.join(program);
        let bytes = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        archive = entry(archive, to, ModeFileType::Regular, 0o755, &bytes)?;
    }
    // Before anything is mounted, an init without it has nowhere to speak to.
    let console = Builder::new("dev/console")
        .set_mode_file_type(ModeFileType::Char)
        .mode(0o020_600)
        .rdev_major(5)
        .rdev_minor(1);
    archive = console.write(archive, 0).finish()?;
    trailer(archive)?.flush()?;
    Ok(path)
}

fn entry<W: Write>(
    archive: W,
    name: &str,
    kind: ModeFileType,
    mode: u32,
    bytes: &[u8],
) -> Result<W> {
    let builder = Builder::new(name).mode(mode).set_mode_file_type(kind);
    let mut writer = builder.write(archive, u32::try_from(bytes.len())?);
    writer.write_all(bytes)?;
    Ok(writer.finish()?)
}

/// The programs, linked statically: there is no C library in the machine.
fn programs(arch: Arch) -> Result<PathBuf> {
    let object = ebpf::build_for(arch.rust())?;
    let target_dir = dir().join("build");
    fs::create_dir_all(&target_dir)?;
    sh::run(
        cross::cargo(arch)?
            .args(["build", "--profile", "vm", "--target", arch.target()])
            .args([
                "--package",
                "profiler-user",
                "--package",
                "courtside-tests",
                "--package",
                "courtside-workload",
                "--bins",
            ])
            .arg("--target-dir")
            .arg(&target_dir)
            .env("COURTSIDE_EBPF_OBJECT", absolute(&object)?),
    )?;
    Ok(target_dir.join(arch.target()).join("vm"))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("no absolute form of {}", path.display()))
}
