//! The dependency law: which module may name which, and what the pure ones must never reach.
//!
//! In: the sources. Out: every path that breaks the law. Tests inside the sources are free to name what they like.
#![expect(
    clippy::unwrap_used,
    reason = "sources that cannot be read fail the test"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each module and the modules of this crate that it may name. `cli` and `main` bind everything together.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("event", &[]),
    ("frame", &[]),
    ("sys", &["frame"]),
    ("probe", &["frame", "sys"]),
    ("collect", &["event", "frame", "probe", "sys"]),
    ("record", &["event", "frame"]),
    ("model", &["event", "frame", "units"]),
    ("export", &["event", "frame", "model", "units"]),
    ("tui", &["frame", "model", "units"]),
];

/// Modules that compute and nothing else: the same input gives the same output.
const PURE: &[&str] = &["units", "event", "frame", "model", "export", "tui"];

/// What reaches the kernel, the file system, the network, the clock or the surroundings of the process.
const IMPURE: &[&str] = &[
    "aya",
    "tokio",
    "libc",
    "rustix",
    "procfs",
    "caps",
    "crossterm",
    "ratatui::crossterm::terminal",
    "ratatui::crossterm::execute",
    "ratatui::crossterm::event::EventStream",
    "ratatui::crossterm::event::poll",
    "ratatui::crossterm::event::read",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// What a recording is written and read without: whoever measures or shows, and the clock.
const NOT_RECORDED_WITH: &[&str] = &[
    "aya",
    "tokio",
    "libc",
    "crossterm",
    "ratatui",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// What turns the kernel's bytes into records, and the one module that may.
const DECODING: &[&str] = &["zerocopy::FromBytes", "zerocopy::TryFromBytes"];
const DECODER: &str = "collect";

/// Every path in a source, nested imports spelled out: `use a::{b, c::d}` names `a::b` and `a::c::d`.
fn paths(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = path(&tokens, at, "", &mut found).max(at + 1);
    }
    found
}

/// Reads one path that may branch; returns where it ends.
fn path(tokens: &[String], mut at: usize, prefix: &str, found: &mut Vec<String>) -> usize {
    let mut name = prefix.to_owned();
    while let Some(word) = tokens.get(at).filter(|token| is_word(token)) {
        name = if name.is_empty() {
            word.clone()
        } else {
            format!("{name}::{word}")
        };
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
        if tokens.get(at).is_some_and(|token| token == "{") {
            at += 1;
            while tokens.get(at).is_some_and(|token| token != "}") {
                at = path(tokens, at, &name, found).max(at + 1);
                if tokens.get(at).is_some_and(|token| token == ",") {
                    at += 1;
                }
            }
            return at + 1;
        }
    }
    if !name.is_empty() && name != prefix {
        found.push(name);
    }
    at
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::` and single characters; no comments, no strings.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    for line in source.lines() {
        let code = line.split("//").next().unwrap_or_default();
        for (index, piece) in code.split('"').enumerate() {
            if index % 2 == 1 {
                continue; // inside a string
            }
            let mut rest = piece;
            while let Some(first) = rest.chars().next() {
                let word = rest
                    .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                    .unwrap_or(rest.len());
                let length = if rest.starts_with("::") {
                    2
                } else {
                    word.max(first.len_utf8())
                };
                let (token, after) = rest.split_at(length);
                if !first.is_whitespace() {
                    tokens.push(token.to_owned());
                }
                rest = after;
            }
        }
    }
    tokens
}

/// The part of a source that is not its tests.
fn without_tests(source: &str) -> &str {
    source
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
}

fn reaches(path: &str, what: &str) -> bool {
    path.strip_prefix(what)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What a path in a module breaks, if anything.
fn breaks(module: &str, path: &str) -> Option<String> {
    let own = |name: &str| name == module;
    if let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == module)
        && let Some(other) = path
            .strip_prefix("crate::")
            .and_then(|rest| rest.split("::").next())
        && !own(other)
        && !allowed.contains(&other)
    {
        return Some(format!(
            "{module} names {path}, but may only name {allowed:?}"
        ));
    }
    if PURE.contains(&module) && IMPURE.iter().any(|what| reaches(path, what)) {
        return Some(format!("{module} is pure, but names {path}"));
    }
    if own("record") && NOT_RECORDED_WITH.iter().any(|what| reaches(path, what)) {
        return Some(format!(
            "record knows frames and files only, but names {path}"
        ));
    }
    if !own(DECODER) && DECODING.iter().any(|what| reaches(path, what)) {
        return Some(format!("{path} is for {DECODER} alone, not for {module}"));
    }
    None
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy();
        if matches!(&*name, "tests" | "fixture") {
            continue;
        } else if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn module_of(source: &Path, root: &Path) -> String {
    let first = source.strip_prefix(root).unwrap().components().next();
    let name = first.unwrap().as_os_str().to_string_lossy().into_owned();
    name.trim_end_matches(".rs").to_owned()
}

#[test]
fn no_module_breaks_the_law() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut broken = Vec::new();
    for source in sources(&root) {
        let module = module_of(&source, &root);
        let text = fs::read_to_string(&source).unwrap();
        for path in paths(without_tests(&text)) {
            if let Some(why) = breaks(&module, &path) {
                broken.push(format!("{}: {why}", source.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_module_is_under_the_law() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for source in sources(&root) {
        let module = module_of(&source, &root);
        let known = ["cli", "lib", "main"].contains(&module.as_str())
            || MAY_NAME.iter().any(|(name, _)| *name == module);
        assert!(known, "{module} has no line in MAY_NAME");
    }
}

#[test]
fn nested_imports_and_inline_paths_are_seen_comments_and_strings_are_not() {
    let source = "use std::{fs, collections::BTreeMap, time::{Duration, Instant}};\n\
                  fn f() { crate::sys::host::host(x); let s = \"aya::Ebpf\"; } // tokio::spawn\n";
    let found = paths(source);
    for expected in [
        "std::fs",
        "std::collections::BTreeMap",
        "std::time::Duration",
        "std::time::Instant",
        "crate::sys::host::host",
    ] {
        assert!(found.iter().any(|path| path == expected), "{expected}");
    }
    assert!(
        !found
            .iter()
            .any(|path| path.starts_with("aya") || path.starts_with("tokio"))
    );
}

#[test]
fn what_breaks_the_law_is_told() {
    assert!(breaks("model", "std::fs::read").is_some());
    assert!(breaks("tui", "std::time::Instant").is_some());
    assert!(breaks("tui", "std::time::Duration").is_none());
    assert!(breaks("tui", "crate::export::json").is_some());
    assert!(breaks("export", "crate::tui").is_some());
    assert!(breaks("probe", "zerocopy::FromBytes").is_some());
    assert!(breaks("collect", "zerocopy::FromBytes").is_none());
    assert!(breaks("cli", "tokio::runtime").is_none());
    assert!(breaks("record", "std::fs::File").is_none());
    assert!(breaks("record", "std::time::SystemTime").is_some());
    assert!(breaks("record", "crate::model::fold").is_some());
}
