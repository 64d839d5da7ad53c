//! Puts the eBPF objects where `include_bytes_aligned!` finds them.
//!
//! In: target/bpf/courtside.bpf.o (made by `cargo xtask build-ebpf`) or the file that `COURTSIDE_EBPF_OBJECT` names, and
//! courtside-untyped.bpf.o beside it. Out: both in OUT_DIR; empty when there is no object, so that checking, linting and
//! unit tests need no eBPF toolchain. Must not know: what is in the objects.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

const OBJECT: &str = "courtside.bpf.o";
const UNTYPED_OBJECT: &str = "courtside-untyped.bpf.o";

fn object() -> io::Result<PathBuf> {
    println!("cargo::rerun-if-env-changed=COURTSIDE_EBPF_OBJECT");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    if let Some(path) = env::var_os("COURTSIDE_EBPF_OBJECT") {
        println!("cargo::rerun-if-changed={}", Path::new(&path).display());
        return Ok(path.into());
    }
    // Asked at run time: a shared target folder may hold this script compiled for another checkout.
    let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let workspace = Path::new(&package).join("../..");
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let dir = workspace.join(target).join("bpf");
    // The folder is watched, not the file: a file that is not there yet would make every build a new one.
    fs::create_dir_all(&dir)?;
    println!("cargo::rerun-if-changed={}", dir.display());
    Ok(dir.join(OBJECT))
}

fn main() -> io::Result<()> {
    let from = object()?;
    put(&from, OBJECT)?;
    let untyped = from.with_file_name(UNTYPED_OBJECT);
    // The folder of the other one is watched where nobody named a file.
    if env::var_os("COURTSIDE_EBPF_OBJECT").is_some() && untyped.exists() {
        println!("cargo::rerun-if-changed={}", untyped.display());
    }
    put(&untyped, UNTYPED_OBJECT)
}

fn put(from: &Path, name: &str) -> io::Result<()> {
    let bytes = match fs::read(from) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if name == OBJECT && env::var_os("COURTSIDE_EBPF_OBJECT").is_some() {
                return Err(io::Error::new(
                    error.kind(),
                    format!("COURTSIDE_EBPF_OBJECT: no {}", from.display()),
                ));
            }
            if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
                println!(
                    "cargo::warning=built without the eBPF object {name}; use `cargo xtask build --release`"
                );
            }
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let to = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join(name);
    fs::write(to, bytes)
}
