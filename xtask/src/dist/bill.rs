//! The bill of materials: what a program is made of, in CycloneDX's JSON (version 1.5).
//!
//! In: what cargo says it builds, and Cargo.lock. Out: a file. Must not know: what is packed beside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::VERSION;
use crate::sh;
use crate::vm::Arch;

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    /// None for what is in this workspace.
    checksum: Option<String>,
}

/// Writes it.
pub fn write(arch: Arch, to: &Path) -> Result<PathBuf> {
    let tree = sh::output(
        sh::cargo()
            .args(["tree", "--locked", "--package", "profiler-user"])
            .args(["--edges", "normal,build", "--prefix", "none"])
            .args(["--target", arch.target(), "--format", "{p}|{l}"]),
    )?;
    let lock = fs::read_to_string(sh::root().join("Cargo.lock")).context("no Cargo.lock")?;
    let bill = serde_json::to_string_pretty(&bill(&tree, &lock)?)?;
    fs::write(to, bill + "\n").with_context(|| format!("cannot write {}", to.display()))?;
    Ok(to.to_owned())
}

fn bill(tree: &str, lock: &str) -> Result<Value> {
    let lock: Lock = toml::from_str(lock)?;
    let checksums: BTreeMap<(&str, &str), &str> = lock
        .package
        .iter()
        .filter_map(|package| {
            let checksum = package.checksum.as_deref()?;
            Some(((&*package.name, &*package.version), checksum))
        })
        .collect();
    let mut parts = BTreeMap::new();
    for line in tree.lines() {
        let (package, licence) = line.split_once('|').unwrap_or((line, ""));
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            continue;
        };
        let version = version.trim_start_matches('v');
        // What is listed again has a mark behind it.
        let licence = licence.trim_end_matches("(*)").trim().replace('/', " OR ");
        let Some(checksum) = checksums.get(&(name, version)) else {
            continue;
        };
        parts.insert((name, version), (licence, *checksum));
    }
    let components: Vec<Value> = parts
        .into_iter()
        .map(|((name, version), (licence, checksum))| {
            json!({
                "type": "library",
                "name": name,
                "version": version,
                "purl": format!("pkg:cargo/{name}@{version}"),
                "licenses": [{ "expression": licence }],
                "hashes": [{ "alg": "SHA-256", "content": checksum }],
            })
        })
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": { "type": "application", "name": "courtside", "version": VERSION },
        },
        "components": components,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_from_elsewhere_is_listed_once_with_its_licence_and_checksum() {
        let tree = "profiler-user v0.1.0 (/x)|MIT OR Apache-2.0\n\
                    anyhow v1.0.1|MIT OR Apache-2.0\n\
                    old v0.2.0|MIT/Apache-2.0\n\
                    anyhow v1.0.1|MIT OR Apache-2.0 (*)\n";
        let lock = "version = 4\n\
                    [[package]]\nname = \"anyhow\"\nversion = \"1.0.1\"\nchecksum = \"aa\"\n\
                    [[package]]\nname = \"old\"\nversion = \"0.2.0\"\nchecksum = \"bb\"\n\
                    [[package]]\nname = \"profiler-user\"\nversion = \"0.1.0\"\n";
        let bill = bill(tree, lock).unwrap();
        let parts = bill["components"].as_array().unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0]["purl"], "pkg:cargo/anyhow@1.0.1");
        assert_eq!(parts[0]["hashes"][0]["content"], "aa");
        assert_eq!(parts[1]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert!(super::bill("", "nonsense").is_err());
    }
}
