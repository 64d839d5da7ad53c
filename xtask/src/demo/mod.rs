//! `cargo xtask demo`: a small service under load, and Courtside attached to it.
//!
//! In: the workspace, a terminal or none. Out: the dashboard, or the table of five seconds; nothing keeps running.
//! Must not know: how a request is measured.

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::services::Services;
use crate::{build, packages, sh};

mod real;

/// What is shown: the chain of our own workloads, or services from the distribution.
pub fn demo(real: bool) -> Result<()> {
    if !sh::is_root() {
        let real = if real { " --real" } else { "" };
        bail!(
            "the demo loads programs into the kernel. Run: sudo --preserve-env env \"PATH=$PATH\" cargo xtask demo{real}"
        );
    }
    if real {
        packages::need("The demo", &real::PACKAGES)?;
    }
    let begun = Instant::now();
    let [courtside, workload] = build::demo()?;
    eprintln!("xtask: built after {:.0} s", begun.elapsed().as_secs_f64());
    let mut services = Services::new()?;
    let entry = if real {
        real::start(&mut services)?
    } else {
        relay(&mut services, &workload)?
    };

    let mut courtside = sh::command(courtside);
    if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
        courtside.args(["top", "--entry", entry]);
    } else {
        eprintln!("xtask: no terminal here: five seconds as a table");
        courtside
            .args(["stat", "-d", "5s", "-F", "table", "--entry", entry])
            .stdin(Stdio::null());
    }
    sh::run(&mut courtside)
}

/// load → web → app → store, each a process, over TCP and a Unix socket.
fn relay(services: &mut Services, workload: &Path) -> Result<&'static str> {
    services
        .start("relay", Command::new(workload).args(["relay", "--serve"]))
        .context("the demo's own service did not start")?;
    services.wait_for_text("relay", "ready")?;
    Ok("web")
}
