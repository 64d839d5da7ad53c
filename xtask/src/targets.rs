//! The files of tests that the workspace has, by what they need.
//!
//! In: what cargo says of the workspace. Out: names for `cargo test --workspace --test NAME`. With `--workspace` every test is
//! built with the same features of the same crates; a package alone has others, and all it stands on is compiled once more.
//! Must not know: what is tested.

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::sh;

/// The package whose tests measure this host, and need root.
const TRUTH: &str = "courtside-tests";
/// The package whose engine takes longer to build than all others together: built and tested in a step of its own.
pub const FLEET: &str = "courtside-fleet";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Those that measure this host, one at a time.
pub fn truth_tests() -> Result<Vec<String>> {
    Ok(metadata()?.tests(|package| package == TRUTH))
}

/// All others.
pub fn rootless_tests() -> Result<Vec<String>> {
    Ok(metadata()?.tests(|package| package != TRUTH && package != FLEET))
}

fn metadata() -> Result<Metadata> {
    let said = sh::output(sh::cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata =
        serde_json::from_str(&said).context("cargo tells of the workspace in another way")?;
    let truth = metadata.tests(|package| package == TRUTH);
    let twice = metadata
        .tests(|package| package != TRUTH)
        .into_iter()
        .find(|name| truth.contains(name));
    // By its name alone, a test of the one kind would be run with those of the other.
    ensure!(
        twice.is_none(),
        "two packages have tests in a file called {}",
        twice.unwrap_or_default()
    );
    Ok(metadata)
}

impl Metadata {
    fn tests(&self, of: impl Fn(&str) -> bool) -> Vec<String> {
        let packages = self.packages.iter().filter(|package| of(&package.name));
        let targets = packages.flat_map(|package| &package.targets);
        targets
            .filter(|target| target.kind.iter().any(|kind| kind == "test"))
            .map(|target| target.name.clone())
            .collect()
    }
}
