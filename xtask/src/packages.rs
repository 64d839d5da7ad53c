//! Distribution packages: what is missing, and getting it.
//!
//! In: names of Debian packages. Out: they are installed, or an error that holds the commands to type.
//! Must not know: what they are for.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::sh;

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Have all of `packages` installed, for the purpose named.
pub fn need(purpose: &str, packages: &[&str]) -> Result<()> {
    if sh::find("dpkg-query").is_none() || sh::find("apt-get").is_none() {
        bail!(
            "{purpose} needs what Debian calls {}. This is no Debian: install their counterparts by hand",
            packages.join(", ")
        );
    }
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !sh::is_root() {
        bail!(
            "{purpose} needs packages that are not installed, and only root may install them. Run:\n  \
             sudo apt-get update\n  sudo apt-get install --no-install-recommends {names}"
        );
    }
    eprintln!("xtask: {purpose} needs {names}: installing");
    let _policy = NoAutostart::new();
    if apt(&["install", "--yes", "--no-install-recommends"], &missing).is_ok() {
        return Ok(());
    }
    apt(&["update"], &[])?;
    apt(&["install", "--yes", "--no-install-recommends"], &missing)
}

/// Those of `packages` that are not installed.
pub fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    // dpkg-query fails when it does not know one of the names, and still lists the others.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(packages)
        .stderr(Stdio::null())
        .output()?;
    let listed = String::from_utf8_lossy(&output.stdout);
    let installed: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .collect();
    Ok(packages
        .iter()
        .copied()
        .filter(|name| !installed.contains(name))
        .collect())
}

fn apt(verb: &[&str], packages: &[&str]) -> Result<()> {
    sh::run(
        sh::command("apt-get")
            .args(["--quiet", "-o", "DPkg::Lock::Timeout=120"])
            .args(verb)
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// While this lives, Debian's maintainer scripts start no services. A policy of the administrator's is left alone.
struct NoAutostart {
    ours: bool,
}

impl NoAutostart {
    fn new() -> Self {
        use std::io::Write;
        let ours = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(POLICY)
            .and_then(|mut file| {
                file.write_all(b"#!/bin/sh\nexit 101\n")?;
                file.set_permissions(fs::Permissions::from_mode(0o755))
            })
            .is_ok();
        Self { ours }
    }
}

impl Drop for NoAutostart {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}
