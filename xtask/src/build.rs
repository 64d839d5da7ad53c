//! The binary `courtside`, with the eBPF object inside.
//!
//! In: the sources. Out: target/{debug,release}/courtside. Must not know: how the object is made.

use std::path::PathBuf;

use anyhow::Result;

use crate::{ebpf, sh};

/// Build the object and the binary, and say where the binary is.
pub fn courtside(release: bool) -> Result<PathBuf> {
    ebpf::build()?;
    let mut cargo = sh::cargo();
    cargo.args(["build", "--package", "profiler-user", "--bin", "courtside"]);
    if release {
        cargo.arg("--release");
    }
    sh::run(&mut cargo)?;
    Ok(sh::target_dir()
        .join(if release { "release" } else { "debug" })
        .join("courtside"))
}

/// Build what the demo runs, `courtside` first, and say where it is: sooner there than the release, and slower.
pub fn demo() -> Result<[PathBuf; 2]> {
    eprintln!("xtask: 1/2 the kernel programs");
    ebpf::build()?;
    eprintln!("xtask: 2/2 courtside and the demo's service; from nothing this takes a few minutes");
    sh::run(sh::cargo().args([
        "build",
        "--profile",
        "demo",
        "--package",
        "profiler-user",
        "--package",
        "courtside-workload",
        "--bins",
    ]))?;
    Ok(["courtside", "courtside-workload"].map(|name| sh::target_dir().join("demo").join(name)))
}

/// Build the workloads, optimised, and say where they are.
pub fn workload() -> Result<PathBuf> {
    sh::run(sh::cargo().args(["build", "--release", "--package", "courtside-workload"]))?;
    Ok(release().join("courtside-workload"))
}

/// Build whatever tests start, optimised, and say in which folder it is. In one go: built one after the other, the packages
/// would want other features of what they share, and have it compiled again.
pub fn tested() -> Result<PathBuf> {
    ebpf::build()?;
    sh::run(sh::cargo().args([
        "build",
        "--release",
        "--package",
        "profiler-user",
        "--package",
        "courtside-workload",
        "--package",
        "courtside-tests",
        "--bins",
    ]))?;
    Ok(release())
}

fn release() -> PathBuf {
    sh::target_dir().join("release")
}
