//! An nginx of our own, which answers with a line of text.
//!
//! In: where services run. Out: its port, and the id of the process that answers. Must not know: who asks, and the nginx
//! that the host may be running already.

use std::fs;

use anyhow::{Context, Result};

use crate::services::{Services, free_port};
use crate::sh;

/// What every answer ends with; as in xtask/bench/nginx.conf.
pub const END: &[u8] = b"as short as they come\n";

/// Start one with everything it writes in the services' folder; returns its port.
pub fn start(services: &mut Services) -> Result<u16> {
    let (dir, port) = (services.dir().to_owned(), free_port()?);
    let conf = include_str!("../../bench/nginx.conf")
        .replace("DIR", &dir.display().to_string())
        .replace("PORT", &port.to_string());
    let path = dir.join("nginx.conf");
    fs::write(&path, conf).with_context(|| format!("cannot write {}", path.display()))?;
    services.start("nginx", sh::command("nginx").arg("-c").arg(&path))?;
    services.wait_for_port(port)?;
    Ok(port)
}

/// The one process that answers.
pub fn worker(services: &Services) -> Result<u32> {
    let master = services.id("nginx").context("nginx is gone")?;
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
    children
        .split_whitespace()
        .next()
        .and_then(|id| id.parse().ok())
        .context("nginx has no worker")
}
