//! A Debian package.
//!
//! In: a list of files. Out: a package. Must not know: what the files are, but for what has to be said of a package.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::files::Packed;
use super::{VERSION, pack};
use crate::sh;
use crate::vm::Arch;

/// Whoever changed it keeps what they wrote.
const CONFFILES: &str = "/etc/courtside/courtside.toml\n";

const AFTER_INSTALL: &str = "#!/bin/sh
set -e
if [ \"$1\" = configure ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    if [ -z \"$2\" ]; then
        echo 'courtside: nothing was started. The agent: systemctl enable --now courtside'
        echo 'courtside: the flight recorder: systemctl enable --now courtside-recorder'
    else
        systemctl try-restart courtside.service courtside-recorder.service
    fi
fi
";

const BEFORE_REMOVAL: &str = "#!/bin/sh
set -e
if [ \"$1\" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now courtside.service courtside-recorder.service
fi
";

const AFTER_REMOVAL: &str = "#!/bin/sh
set -e
if [ \"$1\" = purge ]; then
    for name in courtside courtside-recorder; do
        rm -rf \"/var/lib/private/$name\" \"/var/lib/$name\"
    done
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
";

/// Builds it.
pub fn build(files: &[Packed], arch: Arch, scratch: &Path, out: &Path) -> Result<PathBuf> {
    let root = scratch.join("deb");
    let mut size_bytes = 0;
    for file in files {
        if let Some(to) = &file.in_root {
            pack::place(&root, to, file)?;
            size_bytes += fs::metadata(&file.from)?.len();
        }
    }
    let about = root.join("DEBIAN");
    fs::create_dir_all(&about)?;
    fs::write(about.join("control"), control(arch, size_bytes))?;
    fs::write(about.join("conffiles"), CONFFILES)?;
    for (name, script) in [
        ("postinst", AFTER_INSTALL),
        ("prerm", BEFORE_REMOVAL),
        ("postrm", AFTER_REMOVAL),
    ] {
        let path = about.join(name);
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    let package = out.join(format!("courtside_{VERSION}_{}.deb", arch.debian()));
    sh::run(
        sh::command("dpkg-deb")
            .args(["--root-owner-group", "--build"])
            .arg(&root)
            .arg(&package)
            .env("SOURCE_DATE_EPOCH", pack::commit_time()),
    )
    .context("a Debian package is built by dpkg-deb, of Debian's package dpkg")?;
    Ok(package)
}

fn control(arch: Arch, size_bytes: u64) -> String {
    format!(
        "Package: courtside\n\
         Version: {VERSION}\n\
         Architecture: {}\n\
         Maintainer: The Courtside developers\n\
         Installed-Size: {}\n\
         Section: admin\n\
         Priority: optional\n\
         Description: who holds the ball between running services\n \
         A kernel-level profiler: it attaches to services that are already running and tells how many\n \
         roundtrips a request costs, between which components, how long each keeps a message before it\n \
         answers, and what that time was made of. Linux 5.10 or later with BTF.\n",
        arch.debian(),
        size_bytes.div_ceil(1024)
    )
}
