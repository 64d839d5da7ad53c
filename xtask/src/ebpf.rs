//! The eBPF object: from profiler-ebpf to target/bpf/courtside.bpf.o, for another architecture to target/bpf-ARCH/.
//!
//! In: the sources, and one of two compilers that have a `core` for bpfel-unknown-none. Out: the object, touched only
//! when its bytes changed. Must not know: what the programs do.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{packages, sh};

const TARGET: &str = "bpfel-unknown-none";
const LINKER_VERSION: &str = "0.10.2";
pub const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
/// Features of profiler-ebpf: programs on functions get pointers with types, or without.
const TYPED: &str = "programs";
const UNTYPED: &str = "untyped";
/// Debian's newest rustc, with a prebuilt `core` for BPF.
const DEBIAN_PACKAGES: [&str; 3] = [
    "rustc-web",
    "libstd-rust-web-dev",
    "libstd-rust-web-dev-bpf",
];

/// Has copies and zeroes of known length written out. Else each is a call of a function that goes byte by byte, and the
/// verifier with it. Not in the object without types, where ways through the programs are not cut short by global functions.
const WRITES_OUT_COPIES: &str = "-Clink-arg=--disable-expand-memcpy-in-order";

/// Where the compiler's `core` comes from.
enum Core {
    /// The distribution's rustc ships it.
    Distribution,
    /// A rustup nightly builds it from rust-src.
    Nightly,
}

/// Build the object for this machine and say where it is.
pub fn build() -> Result<PathBuf> {
    build_for(env::consts::ARCH)
}

/// Build the object for an architecture, as Rust calls it: what differs is where a call's arguments lie. Beside it lies
/// the one for kernels whose programs on functions get pointers without types.
pub fn build_for(arch: &str) -> Result<PathBuf> {
    let dir = sh::target_dir().join(own_dir("bpf", arch));
    let bin = "courtside-bpf";
    object_for(arch, bin, UNTYPED, &dir.join("courtside-untyped.bpf.o"))?;
    object_for(arch, bin, TYPED, &dir.join("courtside.bpf.o"))
}

/// Build the object of one binary of profiler-ebpf into `to`.
pub fn object(bin: &str, to: &Path) -> Result<PathBuf> {
    object_for(env::consts::ARCH, bin, TYPED, to)
}

/// The folder of that name for an architecture. Another one's is beside this machine's and not in it: whoever watches
/// that one for changes sees none.
fn own_dir(name: &str, arch: &str) -> String {
    if arch == env::consts::ARCH {
        name.to_owned()
    } else {
        format!("{name}-{arch}")
    }
}

fn object_for(arch: &str, bin: &str, feature: &str, to: &Path) -> Result<PathBuf> {
    let dir = sh::target_dir().join(own_dir("bpf-build", arch));
    let mut cargo = compiler(arch, feature)?;
    cargo.arg("build").args(selection(bin, feature, &dir));
    sh::run(&mut cargo).context("the eBPF object was not built")?;

    let built = dir.join(TARGET).join("release").join(bin);
    let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    if fs::read(to).ok().as_deref() == Some(&bytes) {
        eprintln!("xtask: {} is up to date", shown(to));
    } else {
        if let Some(dir) = to.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        fs::write(to, &bytes).with_context(|| format!("cannot write {}", to.display()))?;
        eprintln!("xtask: {}: {} bytes", shown(to), bytes.len());
    }
    Ok(to.to_owned())
}

/// Lint the programs. The compiler that builds them has no clippy, so they are linted as if for this host.
pub fn clippy() -> Result<()> {
    for feature in [TYPED, UNTYPED] {
        lint(feature)?;
    }
    Ok(())
}

fn lint(feature: &str) -> Result<()> {
    sh::run(
        sh::cargo()
            .args([
                "clippy",
                "--package",
                "profiler-ebpf",
                "--features",
                feature,
                "--bins",
                "--target-dir",
            ])
            .arg(sh::target_dir().join("bpf-build"))
            .args(["--", "--deny", "warnings"])
            // aya's macros hand the context over by value.
            .args(["--allow", "clippy::needless_pass_by_value"])
            .env("CARGO_PROFILE_DEV_PANIC", "abort")
            .env("RUSTC_BOOTSTRAP", "1"),
    )
}

fn selection(bin: &str, feature: &str, dir: &Path) -> Vec<String> {
    let dir = dir.display().to_string();
    [
        "--release",
        "--target",
        TARGET,
        "--package",
        "profiler-ebpf",
        "--bin",
        bin,
    ]
    .into_iter()
    .chain(["--features", feature, "--target-dir", &dir])
    .map(str::to_owned)
    .collect()
}

/// A cargo set up with a compiler that can build for BPF on this architecture, and the linker.
fn compiler(arch: &str, feature: &str) -> Result<Command> {
    let mut cargo = match find_core()? {
        Core::Distribution => {
            eprintln!("xtask: eBPF by {SYSTEM_RUSTC} and the distribution's core for {TARGET}");
            let mut cargo = sh::cargo();
            cargo.env("RUSTC", SYSTEM_RUSTC).env("RUSTC_BOOTSTRAP", "1");
            // bpf-linker loads the LLVM of the toolchain it was built by, and looks for it here.
            if let Some(root) = sysroot(&mut sh::command("rustc")) {
                cargo.env("LD_LIBRARY_PATH", root.join("lib"));
            }
            cargo
        }
        Core::Nightly => {
            eprintln!("xtask: eBPF by rustup's nightly, core built from rust-src");
            let mut cargo = sh::command("rustup");
            cargo
                .args(["run", "nightly", "cargo", "-Zbuild-std=core"])
                .env_remove("RUSTC");
            cargo
        }
    };
    let linker = linker()?;
    let mut flags = vec![
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("-Clinker={}", linker.display()),
    ];
    if feature == TYPED {
        flags.push(WRITES_OUT_COPIES.to_owned());
    }
    cargo
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    Ok(cargo)
}

fn find_core() -> Result<Core> {
    if distribution_has_core() {
        return Ok(Core::Distribution);
    }
    if nightly_has_source() {
        return Ok(Core::Nightly);
    }
    packages::need("The eBPF compiler", &DEBIAN_PACKAGES).context(
        "no compiler here can build for BPF (the other way: rustup toolchain install nightly --component rust-src)",
    )?;
    if !distribution_has_core() {
        bail!(
            "{SYSTEM_RUSTC} has no core for {TARGET}, though {} are installed",
            DEBIAN_PACKAGES.join(", ")
        );
    }
    Ok(Core::Distribution)
}

fn distribution_has_core() -> bool {
    sysroot(Command::new(SYSTEM_RUSTC).env_remove("RUSTC"))
        .is_some_and(|root| root.join("lib/rustlib").join(TARGET).join("lib").is_dir())
}

fn nightly_has_source() -> bool {
    sysroot(sh::command("rustup").args(["run", "nightly", "rustc"]))
        .is_some_and(|root| root.join("lib/rustlib/src/rust/library/core").is_dir())
}

/// Where a compiler has its libraries.
pub fn sysroot(rustc: &mut Command) -> Option<PathBuf> {
    let output = rustc
        .args(["--print", "sysroot"])
        .output()
        .ok()
        .filter(|o| o.status.success())?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

/// bpf-linker, of the version that works without a system LLVM.
fn linker() -> Result<PathBuf> {
    let tools = sh::target_dir().join("tools");
    let linker = tools.join("bin/bpf-linker");
    let version = Command::new(&linker).arg("--version").output();
    if version.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains(LINKER_VERSION)) {
        return Ok(linker);
    }
    eprintln!(
        "xtask: installing bpf-linker {LINKER_VERSION} into {} (about two minutes)",
        shown(&tools)
    );
    sh::run(
        sh::cargo()
            .args([
                "install",
                "bpf-linker",
                "--locked",
                "--force",
                "--version",
                LINKER_VERSION,
                "--root",
            ])
            .arg(&tools),
    )
    .context("bpf-linker was not installed")?;
    Ok(linker)
}

fn shown(path: &Path) -> String {
    path.strip_prefix(sh::root())
        .unwrap_or(path)
        .display()
        .to_string()
}
