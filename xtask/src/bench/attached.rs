//! What is attached while a load runs; dropped, nothing is.
//!
//! In: one of the variants. Out: it is attached and works. Must not know: the loads.

use std::path::Path;

use anyhow::{Context, Result};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf};

use super::Built;
use crate::services::Services;
use crate::sh;

/// What can be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Nothing.
    Nothing,
    /// Programs without a body on the hooks that Courtside uses.
    Empty,
    /// Courtside's dashboard, drawing every second.
    Courtside,
    /// A bpftrace script for the same questions.
    Bpftrace,
    /// The shortest bpftrace script that tells something of the same.
    Short,
    /// `courtside stat`, printing every second.
    Stat,
    /// `courtside record`.
    Record,
    /// `courtside record --events`.
    Events,
}

impl Variant {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing attached",
            Self::Empty => "empty programs",
            Self::Courtside => "Courtside",
            Self::Bpftrace => "bpftrace",
            Self::Short => "short bpftrace script",
            Self::Stat => "`courtside stat`",
            Self::Record => "`courtside record`",
            Self::Events => "`courtside record --events`",
        }
    }
}

/// An attached variant.
pub enum Attached {
    /// Nothing.
    Nothing,
    /// The programs go with this.
    Empty(#[expect(dead_code, reason = "held for its destructor")] Box<Ebpf>),
    /// The process goes with this.
    Process(#[expect(dead_code, reason = "held for its destructor")] Services),
}

impl Attached {
    /// Attach one.
    pub fn new(variant: Variant, built: &Built) -> Result<Self> {
        match variant {
            Variant::Nothing => Ok(Self::Nothing),
            Variant::Empty => empty(built).map(|ebpf| Self::Empty(Box::new(ebpf))),
            Variant::Courtside => {
                let mut services = Services::new()?;
                start_courtside(&mut services, built)?;
                Ok(Self::Process(services))
            }
            Variant::Bpftrace => bpftrace("equivalent.bt").map(Self::Process),
            Variant::Short => bpftrace("short.bt").map(Self::Process),
            Variant::Stat => stat(&built.courtside).map(Self::Process),
            Variant::Record => record(&built.courtside, &[]).map(Self::Process),
            Variant::Events => record(&built.courtside, &["--events"]).map(Self::Process),
        }
    }
}

fn empty(built: &Built) -> Result<Ebpf> {
    let mut ebpf = Ebpf::load_file(&built.empty).context("the empty programs do not load")?;
    let btf = Btf::from_sys_fs().context("the kernel has no BTF")?;
    for (hook, program) in ebpf.programs_mut() {
        let hook = hook.to_owned();
        let program: &mut BtfTracePoint = program.try_into()?;
        // A kernel without one of the hooks is no obstacle: Courtside has nothing there either.
        if program.load(&hook, &btf).is_ok() {
            program
                .attach()
                .with_context(|| format!("cannot attach to {hook}"))?;
        }
    }
    Ok(ebpf)
}

/// Courtside's dashboard in a terminal of its own; named `courtside` among the services.
pub fn start_courtside(services: &mut Services, built: &Built) -> Result<()> {
    let dashboard = format!(
        "stty rows 40 cols 120; exec '{}' top",
        built.courtside.display()
    );
    services.start(
        "courtside",
        sh::command("script").args([
            "--quiet",
            "--flush",
            "--return",
            "--command",
            &dashboard,
            "/dev/null",
        ]),
    )?;
    services
        .wait_for_text("courtside", "LIVE")
        .context("Courtside does not start")
}

/// As long as any load may take: its end is our signal.
const LONG: &str = "24h";

fn stat(courtside: &Path) -> Result<Services> {
    let mut services = Services::new()?;
    let mut stat = sh::command(courtside);
    stat.args(["stat", "--interval", "1s", "--duration", LONG]);
    services.start("courtside", &stat)?;
    services
        .wait_for_text("courtside", " components ")
        .context("courtside stat does not start")?;
    Ok(services)
}

/// The recording lies in the services' folder and goes with it.
fn record(courtside: &Path, wishes: &[&str]) -> Result<Services> {
    let mut services = Services::new()?;
    let recording = services.dir().join("bench.rec");
    let mut record = sh::command(courtside);
    record.args(["record", "--verbose", "--duration", LONG]);
    record.args(wishes).arg("--output").arg(&recording);
    services.start("courtside", &record)?;
    // It tells of its probes when it has tried them all.
    services
        .wait_for_text("courtside", "is attached")
        .context("courtside record does not start")?;
    Ok(services)
}

fn bpftrace(script: &str) -> Result<Services> {
    let script = sh::root().join("xtask/bench").join(script);
    let mut services = Services::new()?;
    // bpftrace looks for tracefs where many hosts do not mount it: it gets one of its own, gone when it ends.
    let shell = "mount -t tracefs tracefs /sys/kernel/tracing && exec bpftrace \"$0\"";
    services.start(
        "bpftrace",
        sh::command("unshare")
            .args(["--mount", "sh", "-c", shell])
            .arg(script),
    )?;
    services
        .wait_for_text("bpftrace", "ready")
        .context("bpftrace does not start")?;
    Ok(services)
}
