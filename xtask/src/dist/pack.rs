//! A tar, and a folder that holds what goes into an archive.
//!
//! In: a list of files. Out: an archive that is the same each time. Must not know: what the files are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::files::Packed;
use crate::sh;

/// Puts a file below a folder.
pub fn place(folder: &Path, to: &Path, file: &Packed) -> Result<()> {
    let to = folder.join(to);
    let parent = to.parent().context("a file is in a folder")?;
    fs::create_dir_all(parent)?;
    fs::copy(&file.from, &to).with_context(|| format!("cannot copy {}", file.from.display()))?;
    let mode = if file.runs { 0o755 } else { 0o644 };
    fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// The tar of what goes into one, all below a folder of that name.
pub fn tar(files: &[Packed], name: &str, scratch: &Path, out: &Path) -> Result<PathBuf> {
    let folder = scratch.join(name);
    for file in files {
        if let Some(to) = &file.in_tar {
            place(&folder, to, file)?;
        }
    }
    let archive = out.join(format!("{name}.tar.gz"));
    sh::run(
        sh::command("tar")
            .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
            .args(["--mtime", &format!("@{}", commit_time())])
            .arg("--directory")
            .arg(scratch)
            .args(["--use-compress-program", "gzip -9 -n"])
            .arg("--create")
            .arg("--file")
            .arg(&archive)
            .arg(name),
    )?;
    Ok(archive)
}

/// When what is packed was last changed, in seconds since 1970: archives of one state are the same whenever they are made.
pub fn commit_time() -> String {
    let time = sh::output(sh::command("git").args(["log", "-1", "--format=%ct"]));
    time.map_or_else(|_| "0".to_owned(), |time| time.trim().to_owned())
}
