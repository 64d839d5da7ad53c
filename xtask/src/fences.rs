//! The fences of the crates that compute only: what they are built without, and what they may not call.
//!
//! In: their manifests and their `clippy.toml`. Out: nothing, or the fence that has a hole. Each forbidden call is put
//! into a copy of its crate, and the lint must name it. Must not know: what the crates do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::sh;

/// Crates with fences of their own, and what none of them is built with.
const FENCED: [&str; 6] = ["analysis", "core", "export", "kernel", "record", "tui"];
/// Crates that must build without the kernel side.
const PURE: [&str; 5] = ["analysis", "core", "export", "record", "tui"];
const KERNEL_SIDE: [&str; 3] = ["aya", "tokio", "courtside-kernel"];
/// The program on each host stays small: the engine of questions over many hosts is built with another one only.
const AGENT: &str = "profiler-user";
const ENGINE: [&str; 2] = ["datafusion", "courtside-fleet"];

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Fence {
    #[serde(default)]
    disallowed_methods: Vec<Forbidden>,
    #[serde(default)]
    disallowed_types: Vec<Forbidden>,
}

#[derive(Deserialize)]
struct Forbidden {
    path: String,
}

/// Fail if a fence has a hole.
pub fn check() -> Result<()> {
    for name in PURE {
        trees(&format!("courtside-{name}"), &KERNEL_SIDE)?;
    }
    trees(AGENT, &ENGINE)?;
    let scratch = tempfile::tempdir().context("no folder for a copy")?;
    copy(scratch.path())?;
    let mut wanted = BTreeSet::new();
    for name in FENCED {
        let folder = scratch.path().join("profiler-user").join(name);
        wanted.extend(trespass(&folder)?);
    }
    let said = lint(scratch.path())?;
    let silent: Vec<&str> = wanted
        .iter()
        .filter(|line| !said.contains(*line))
        .map(String::as_str)
        .collect();
    if !silent.is_empty() {
        eprintln!("{}", said.iter().cloned().collect::<Vec<_>>().join("\n"));
        bail!("the lint let through: {}", silent.join(", "));
    }
    eprintln!(
        "xtask: {} forbidden calls and types, each refused",
        wanted.len()
    );
    Ok(())
}

/// What a package is built with must be none of these.
fn trees(package: &str, forbidden: &[&str]) -> Result<()> {
    let tree = sh::output(sh::cargo().args([
        "tree",
        "--package",
        package,
        "--edges",
        "normal,build",
        "--prefix",
        "none",
    ]))?;
    let within = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .find(|name| forbidden.contains(name));
    ensure!(
        within.is_none(),
        "{package} is built with {}",
        within.unwrap_or_default()
    );
    Ok(())
}

/// The workspace without what was built.
fn copy(to: &Path) -> Result<()> {
    let from = sh::root();
    let files = sh::output(sh::command("git").args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))
    .or_else(|_| {
        sh::output(sh::command("find").args([
            ".",
            "-type",
            "f",
            "-not",
            "-path",
            "./target/*",
            "-printf",
            "%P\n",
        ]))
    })?;
    for file in files.lines() {
        let needed =
            file.ends_with(".rs") || file.ends_with(".toml") || file.ends_with("Cargo.lock");
        let included = file.starts_with("profiler-user/") || file.starts_with("xtask/");
        let source = from.join(file);
        if (needed || included) && source.is_file() {
            let place = to.join(file);
            let folder = place.parent().context("a file without a folder")?;
            fs::create_dir_all(folder)?;
            fs::copy(&source, &place).with_context(|| format!("cannot copy {file}"))?;
        }
    }
    Ok(())
}

/// Puts one use of everything forbidden into a crate; what the lint is to say of each.
fn trespass(folder: &Path) -> Result<Vec<String>> {
    let place = folder.join("clippy.toml");
    let text =
        fs::read_to_string(&place).with_context(|| format!("{} has no fence", folder.display()))?;
    let fence: Fence = toml::from_str(&text).context("a fence that is no TOML")?;
    let mut uses = String::from("//! What must be refused.\n");
    let mut wanted = Vec::new();
    let name = folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    for (number, forbidden) in fence.disallowed_methods.iter().enumerate() {
        let path = &forbidden.path;
        uses.push_str(&format!("fn method_{number}() {{ {} }}\n", mention(path)));
        wanted.push(format!("{name}: method `{path}`"));
    }
    for (number, forbidden) in fence.disallowed_types.iter().enumerate() {
        let path = &forbidden.path;
        uses.push_str(&format!("fn type_{number}(_: &{path}) {{}}\n"));
        wanted.push(format!("{name}: type `{path}`"));
    }
    ensure!(!wanted.is_empty(), "{} forbids nothing", place.display());
    fs::write(folder.join("src/trespass.rs"), uses)?;
    let lib = folder.join("src/lib.rs");
    let mut text = fs::read_to_string(&lib)?;
    text.push_str(
        "\n#[expect(dead_code, reason = \"only the lint looks at it\")]\nmod trespass;\n",
    );
    fs::write(&lib, text)?;
    Ok(wanted)
}

/// Names a function, with the types that it leaves open.
fn mention(path: &str) -> String {
    let last = path.rsplit("::").next().unwrap_or_default();
    match path {
        "std::thread::spawn" => return "let _ = std::thread::spawn(|| ());".to_owned(),
        "std::thread::scope" => return "std::thread::scope(|_| ());".to_owned(),
        _ => {}
    }
    if let Some(method) = path.strip_prefix("zerocopy::FromBytes::") {
        return format!("let _ = <u8 as zerocopy::FromBytes>::{method};");
    }
    let open = match last {
        "copy" | "rename" | "write" | "hard_link" => "::<&str, &str>",
        "var" | "var_os" => "::<&str>",
        _ if path.starts_with("std::fs::") => "::<&str>",
        _ => "",
    };
    format!("let _ = {path}{open};")
}

/// What the lint says of the copy: crate, kind and path of each thing that it refused.
fn lint(workspace: &Path) -> Result<BTreeSet<String>> {
    let mut command = sh::cargo();
    command.current_dir(workspace);
    command.args([
        "clippy",
        "--keep-going",
        "--lib",
        "--message-format",
        "short",
    ]);
    for name in FENCED {
        command.args(["--package", &format!("courtside-{name}")]);
    }
    // What is not of the workspace is built already.
    command.env("CARGO_TARGET_DIR", std::path::absolute(sh::target_dir())?);
    let output = command.output().context("cannot start clippy")?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let refused = refusals(&text);
    if refused.is_empty() {
        bail!("the lint refused nothing:\n{text}");
    }
    Ok(refused)
}

/// Reads the lint's lines, such as `profiler-user/core/src/trespass.rs:3:9: warning: use of a disallowed method …`.
fn refusals(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| {
            let (place, said) = line.split_once(": ")?;
            let place: PathBuf = place.split(':').next()?.into();
            let name = place.iter().rev().nth(2)?.to_string_lossy().into_owned();
            let (_, what) = said.split_once("use of a disallowed ")?;
            let (kind, rest) = what.split_once(" `")?;
            let (path, _) = rest.split_once('`')?;
            Some(format!("{name}: {kind} `{path}`"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_crate_kind_and_path() {
        let text = "    Checking x\n\
            profiler-user/core/src/trespass.rs:2:24: warning: use of a disallowed method `std::fs::read`: no\n\
            warning: `courtside-core` (lib) generated 1 warning\n";
        let found: Vec<_> = refusals(text).into_iter().collect();
        assert_eq!(found, ["core: method `std::fs::read`"]);
    }

    #[test]
    fn functions_are_named_with_what_they_leave_open() {
        assert_eq!(
            mention("std::fs::copy"),
            "let _ = std::fs::copy::<&str, &str>;"
        );
        assert_eq!(mention("std::env::args"), "let _ = std::env::args;");
    }
}
