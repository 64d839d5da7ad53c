//! A Python with other people's readers of what Courtside exports, in target/python; and a browser for the report.
//!
//! In: Debian's python3-venv and the Python package index. Out: an environment that the unit tests find, or words about
//! why there is none. Must not know: what is read.

use anyhow::Result;

use crate::{packages, sh};

/// What the tests import: readers of Parquet (one of them asks in SQL), of Perfetto traces, of OpenMetrics and of OpenTelemetry's messages, and what drives
/// a browser.
const PACKAGES: [&str; 6] = [
    "pyarrow==26.0.1",
    "duckdb==2.0.1",
    "perfetto==0.59.1",
    "prometheus-client==0.26.0",
    "opentelemetry-proto==1.45.2",
    "selenium==4.51.0",
];
/// The browser, and Python itself.
const DEBIAN: [&str; 3] = ["chromium", "chromium-driver", "python3-venv"];

/// Have the environment, if it can be had; the tests that need it say when it is not there.
pub fn need() -> Result<()> {
    if let Err(error) = install() {
        eprintln!(
            "xtask: no other program reads the exports back, and no browser the report: {error:#}"
        );
    }
    Ok(())
}

fn install() -> Result<()> {
    packages::need("Reading back what is exported", &DEBIAN)?;
    let home = sh::target_dir().join("python");
    let python = home.join("bin/python");
    let mark = home.join("installed");
    let wanted = PACKAGES.join("\n");
    if std::fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    sh::run(
        sh::command("/usr/bin/python3")
            .args(["-m", "venv"])
            .arg(&home),
    )?;
    sh::run(
        sh::command(python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(PACKAGES),
    )?;
    std::fs::write(mark, wanted)?;
    Ok(())
}
