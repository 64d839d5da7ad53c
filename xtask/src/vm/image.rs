//! Image: the one file that a machine boots with, our programs and what they are linked to.
//!
//! In: the workspace. Out: an initramfs. Must not know: which kernel boots it.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::newc::{Builder, ModeFileType, trailer};

use super::cross;
use super::kernels::{Arch, dir};
use crate::{build, ebpf, sh};

/// What goes where.
const PROGRAMS: [(&str, &str); 3] = [
    ("vm-init", "init"),
    ("courtside", "bin/courtside"),
    ("courtside-workload", "bin/courtside-workload"),
];

/// Build the programs and pack them.
pub fn build(arch: Arch) -> Result<PathBuf> {
    let built = if arch.rust() == env::consts::ARCH {
        build::tested()?
    } else {
        for_another(arch)?
    };
    fs::create_dir_all(dir())?;
    let path = dir().join(format!("{}.cpio", arch.target()));
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut archive = BufWriter::new(file);
    let mut files: Vec<(PathBuf, PathBuf)> = PROGRAMS
        .iter()
        .map(|(program, to)| (built.join(program), PathBuf::from(to)))
        .collect();
    let mut libraries = BTreeSet::new();
    for (program, _) in &files {
        libraries.extend(linked_to(program)?);
    }
    for library in libraries {
        let to = library.strip_prefix("/")?.to_owned();
        files.push((library, to));
    }
    let mut folders = BTreeSet::from([Path::new("dev")]);
    for (_, to) in &files {
        folders.extend(to.ancestors().skip(1).filter(|at| *at != Path::new("")));
    }
    // A folder stands before what is in it.
    for folder in folders {
        archive = entry(archive, folder, ModeFileType::Directory, 0o755, &[])?;
    }
    for (from, to) in &files {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
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
    name: &Path,
    kind: ModeFileType,
    mode: u32,
    bytes: &[u8],
) -> Result<W> {
    let name = name.to_str().context("a name in an image is text")?;
    let builder = Builder::new(name).mode(mode).set_mode_file_type(kind);
    let mut writer = builder.write(archive, u32::try_from(bytes.len())?);
    writer.write_all(bytes)?;
    Ok(writer.finish()?)
}

/// The libraries of a program for this machine, the loader among them, where they are looked for; none for a static one.
fn linked_to(program: &Path) -> Result<Vec<PathBuf>> {
    let output = sh::command("ldd").arg(program).output()?;
    // It fails for a static program, and prints nothing of it.
    let text = String::from_utf8(output.stdout)?;
    let found = text.lines().filter_map(|line| {
        // `name => /path (address)`, or `/path (address)`
        let line = line.rsplit("=>").next()?.trim();
        let path = line.split(' ').next()?;
        path.starts_with('/').then(|| PathBuf::from(path))
    });
    Ok(found.collect())
}

/// The programs, linked statically: of another architecture there is no C library here.
fn for_another(arch: Arch) -> Result<PathBuf> {
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
