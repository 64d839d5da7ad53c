//! The files of a package: where each comes from, and where it goes.
//!
//! In: a program, and one that runs here. Out: a list. Must not know: how they are packed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::vm::Arch;
use crate::{ebpf, sh};

/// One file.
pub struct Packed {
    /// Where it is now.
    pub from: PathBuf,
    /// Where it is in the tar; nowhere if none.
    pub in_tar: Option<PathBuf>,
    /// Where the Debian package puts it, below `/`; nowhere if none.
    pub in_root: Option<PathBuf>,
    /// Whether it can be run.
    pub runs: bool,
}

/// What is written by `courtside completions`, and where distributions look for it.
const SHELLS: [(&str, &str, &str); 3] = [
    (
        "bash",
        "completions/courtside.bash",
        "usr/share/bash-completion/completions/courtside",
    ),
    (
        "zsh",
        "completions/_courtside",
        "usr/share/zsh/vendor-completions/_courtside",
    ),
    (
        "fish",
        "completions/courtside.fish",
        "usr/share/fish/vendor_completions.d/courtside.fish",
    ),
];

/// Folders of dashboards and rules.
const DASHBOARDS: [&str; 5] = [
    "dashboards",
    "dashboards/grafana",
    "dashboards/grafana-native",
    "dashboards/prometheus",
    "dashboards/prometheus-native",
];

/// Units for systemd.
pub const UNITS: [&str; 2] = ["courtside.service", "courtside-recorder.service"];

/// All of them. `here` is a courtside that runs on this machine; what it prints goes into `scratch`.
pub fn all(arch: Arch, program: &Path, here: &Path, scratch: &Path) -> Result<Vec<Packed>> {
    let root = sh::root();
    let packaging = root.join("xtask/packaging");
    let mut files = vec![Packed {
        from: program.to_owned(),
        in_tar: Some("courtside".into()),
        in_root: Some("usr/bin/courtside".into()),
        runs: true,
    }];
    let mut add = |from: PathBuf, in_tar: String, in_root: Option<String>| {
        files.push(Packed {
            from,
            in_tar: Some(in_tar.into()),
            in_root: in_root.map(PathBuf::from),
            runs: false,
        });
    };
    add(
        packaging.join("courtside.toml"),
        "courtside.toml".to_owned(),
        Some("etc/courtside/courtside.toml".to_owned()),
    );
    for unit in UNITS {
        add(
            packaging.join(unit),
            format!("systemd/{unit}"),
            Some(format!("usr/lib/systemd/system/{unit}")),
        );
    }
    for (shell, in_tar, in_root) in SHELLS {
        let script = sh::output(sh::command(here).args(["completions", shell]))?;
        let from = scratch.join(format!("completions.{shell}"));
        fs::write(&from, script)?;
        add(from, in_tar.to_owned(), Some(in_root.to_owned()));
    }
    let pages = scratch.join("man");
    sh::output(sh::command(here).arg("man").arg(&pages))?;
    // Debian's pages are compressed; without its own name and time in it a file is the same each time.
    let compress = ["-9", "-n", "--recursive"];
    sh::run(sh::command("gzip").args(compress).arg(&pages))?;
    for (page, name) in listed(&pages)? {
        add(
            page,
            format!("man/{name}"),
            Some(format!("usr/share/man/man1/{name}")),
        );
    }
    for folder in DASHBOARDS {
        for (dashboard, name) in listed(&root.join(folder))? {
            add(
                dashboard,
                format!("{folder}/{name}"),
                Some(format!("usr/share/courtside/{folder}/{name}")),
            );
        }
    }
    for name in ["README.md", "CHANGELOG.md", "SECURITY.md"] {
        add(
            root.join(name),
            name.to_owned(),
            Some(format!("usr/share/doc/courtside/{name}")),
        );
    }
    for name in ["LICENSE-MIT", "LICENSE-APACHE", "LICENSE-GPL-2.0"] {
        add(
            root.join(name),
            name.to_owned(),
            Some(format!("usr/share/doc/courtside/{name}")),
        );
    }
    // For `cargo install` on machines without what builds them.
    let objects = ebpf::build_for(arch.rust())?;
    for (object, name) in listed(objects.parent().context("a file is in a folder")?)? {
        add(object, format!("ebpf/{name}"), None);
    }
    Ok(files)
}

/// The files in a folder and their names, in order.
fn listed(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push((
                entry.path(),
                entry.file_name().to_string_lossy().into_owned(),
            ));
        }
    }
    files.sort();
    Ok(files)
}
