//! One application, recorded and asked about, or run by itself.
//!
//! In: a case, a load. Out: what the application says of itself, and what Courtside says of it. Must not know: how they are
//! shown.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{CPUS, Case, Plan};
use crate::sh;
use crate::truth_models::host::said;

/// As long as one run, or one answer, may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// What the ranks are called, and what loads their CPUs.
const NAME: &str = "truth";

/// The programs, and where recordings go.
pub struct Tools {
    pub courtside: PathBuf,
    pub workload: PathBuf,
    pub folder: PathBuf,
}

/// A line of the page.
pub struct Row {
    pub case: Case,
    /// CPUs with a busy loop.
    pub load: u32,
    /// What was said, or why nothing was.
    pub answer: Result<Answer, String>,
    /// How long it takes by itself, each run, the shortest first.
    pub alone_ns: Vec<u64>,
}

/// What an application and Courtside say of one run.
pub struct Answer {
    /// By the application's own clock.
    pub own: Own,
    pub told: Told,
    /// Of what is told, the answer to what would be without the load.
    pub what: Scenario,
}

/// What the application says.
#[derive(Debug, Deserialize)]
pub struct Own {
    pub ranks: Vec<OwnRank>,
    pub edges: Vec<(u64, u64)>,
}

#[derive(Debug, Deserialize)]
pub struct OwnRank {
    pub tgid: u32,
    pub messages: u64,
    elapsed: OwnElapsed,
}

#[derive(Debug, Deserialize)]
struct OwnElapsed {
    wall_ns: u64,
}

impl Own {
    /// Of the rank that took longest.
    pub fn wall_ns(&self) -> u64 {
        let each = self.ranks.iter().map(|rank| rank.elapsed.wall_ns);
        each.max().unwrap_or_default()
    }

    pub fn messages(&self) -> u64 {
        self.ranks.iter().map(|rank| rank.messages).sum()
    }

    /// Pairs of ranks that have a connection: over each, one of the two says once who it is.
    pub fn connections(&self) -> u64 {
        let once = self
            .edges
            .iter()
            .filter(|(a, b)| a < b || !self.edges.contains(&(*b, *a)));
        once.count() as u64
    }
}

/// What `courtside infer` says, as far as the page shows it.
#[derive(Debug, Deserialize)]
pub struct Told {
    pub processes: Vec<Process>,
    pub topology: Topology,
    pub what_if: Vec<Scenario>,
    pub self_check: Option<SelfCheck>,
    pub network: Vec<Link>,
    source: Source,
}

#[derive(Debug, Deserialize)]
struct Source {
    events: u64,
}

#[derive(Debug, Deserialize)]
pub struct Process {
    pub tgid: u32,
    pub iterations: Iterations,
}

#[derive(Debug, Deserialize)]
pub struct Iterations {
    pub by_turn: Option<Counted>,
    pub by_gap: Option<Counted>,
    pub by_blocking: Option<Counted>,
}

#[derive(Debug, Deserialize)]
pub struct Counted {
    pub count: u64,
}

#[derive(Debug, Deserialize)]
pub struct Topology {
    pub shape: String,
    #[serde(default)]
    pub also: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Scenario {
    pub scenario: String,
    pub predicted_ns: Option<u64>,
    pub measured_ns: u64,
    pub says: String,
}

#[derive(Debug, Deserialize)]
pub struct SelfCheck {
    pub rescheduled_error: f64,
    pub replay_error: f64,
}

#[derive(Debug, Deserialize)]
pub struct Link {
    pub messages: u64,
}

impl Told {
    pub fn messages(&self) -> u64 {
        self.network.iter().map(|link| link.messages).sum()
    }

    pub fn events(&self) -> u64 {
        self.source.events
    }
}

impl Tools {
    fn application(&self, case: &Case, plan: Plan, load: u32) -> Command {
        let mut command = sh::command(&self.workload);
        command
            .args(["patterns", "--name", NAME, "--shape", case.shape])
            .args(["--ranks", &case.ranks.to_string()])
            .args(["--iterations", &plan.iterations.to_string()])
            .args(["--compute", &format!("{}ms", plan.compute_ms)])
            .args(["--cores", &CPUS.to_string()]);
        if let Some(extents) = case.extents {
            command.args(["--extents", extents]);
        }
        for rank in 0..load {
            command.args(["--load", &format!("{rank}:100")]);
        }
        command
    }

    /// How long it takes by itself, by its own clock.
    pub fn alone(&self, case: &Case, plan: Plan) -> Result<u64> {
        let text = said(&self.application(case, plan, 0), PATIENCE)?;
        Ok(own(&text)?.wall_ns())
    }

    /// Records it beside a load, and asks what it did and how long it would have taken without.
    pub fn infer(&self, case: &Case, plan: Plan, load: u32) -> Result<Answer> {
        let name = format!("{}-{load}", case.shape);
        let file = self.folder.join(format!("{name}.rec"));
        let application = self.application(case, plan, load);
        let mut record = sh::command(&self.courtside);
        record
            .args(["record", "--events", "--force", "--output"])
            .arg(&file)
            .arg("--")
            .arg(application.get_program())
            .args(application.get_args());
        let own = own(&said(&record, PATIENCE)?)?;
        let wish = format!("without: {NAME}-hog");
        let mut infer = sh::command(&self.courtside);
        infer
            .arg("infer")
            .arg(&file)
            .args(["--comm", &format!("{NAME}-[0-9]*"), "--json"])
            .args(["--what-if", &wish]);
        let text = said(&infer, PATIENCE)?;
        std::fs::write(self.folder.join(format!("{name}.json")), &text)?;
        let told: Told = serde_json::from_str(&text).context("what infer says is not read")?;
        let wanted = if load == 0 { "no_outside_load" } else { &wish };
        let what = told.what_if.iter().find(|what| what.scenario == wanted);
        let what = what
            .with_context(|| format!("infer says nothing of `{wanted}`"))?
            .clone();
        Ok(Answer { own, told, what })
    }
}

fn own(text: &str) -> Result<Own> {
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("the application said `{line}`"))
}
