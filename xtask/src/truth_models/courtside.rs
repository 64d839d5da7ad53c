//! Courtside as a user calls it: record, fit, predict.
//!
//! In: a service under load; recordings; a profile and what is said of machines. Out: what the JSON says. Must not know: what the
//! truth is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::host::said;
use super::plan::{SIMULATED, SUFFIX};
use super::service::{Load, Service, Tools, spoken};
use crate::sh;

/// As long as a fit or a prediction may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of a profile, what the page shows.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Profile {
    pub nodes: Vec<Node>,
    pub components: Vec<Component>,
    pub measured: Vec<MeasuredResponse>,
    pub self_cost_ns_per_request: Option<f64>,
    pub rate_range_per_s: [f64; 2],
    #[serde(default)]
    pub remarks: Vec<String>,
}

/// A machine.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Node {
    pub node: String,
}

/// What a request takes of a tier.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Component {
    pub id: String,
    pub visits_per_request: Option<f64>,
    pub cpu: Option<Fit>,
    pub disk: Option<Fit>,
}

/// A fit.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Fit {
    pub form: String,
    pub per_request: f64,
    pub interval95: Option<[f64; 2]>,
    pub r2: Option<f64>,
}

/// What was measured at the entry.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct MeasuredResponse {
    pub requests: f64,
    pub mean_ns: Option<f64>,
}

/// Of a prediction, what the page shows.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Prediction {
    pub saturation: Option<Saturation>,
    /// Why there is none.
    pub saturation_unknown: Option<String>,
    pub points: Vec<Point>,
}

/// Which rate uses up what.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Saturation {
    pub rate_per_s: f64,
    pub resource: String,
    pub component: Option<String>,
    pub interval95: Option<[f64; 2]>,
}

/// What is predicted for one rate.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Point {
    pub base: Times,
    pub with_remote_invocation: Times,
    pub full: Times,
}

/// By one of the models.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Times {
    pub mean_ns: Option<f64>,
    pub mean_interval95_ns: Option<[f64; 2]>,
    pub p50_ns: Option<f64>,
    pub p95_ns: Option<f64>,
    pub p99_ns: Option<f64>,
    pub reason: Option<String>,
}

/// Record a service under load; what the generator saw meanwhile.
pub fn record(
    tools: &Tools,
    service: &Service,
    rate: f64,
    seconds: f64,
    seed: u64,
    file: &Path,
) -> Result<Load> {
    // Connections are made once everything is attached, so that nothing is older than the recording.
    let generator = service.generator(tools, rate, seconds, 0.0, seed);
    let mut command = sh::command(&tools.courtside);
    command
        .args(["record", "--program-cost", "--force", "--output"])
        .arg(file)
        .arg("--")
        .arg(generator.get_program())
        .args(generator.get_args());
    let patience = Duration::from_secs_f64(seconds + 60.0);
    let text = said(&command, patience)
        .context("cannot record. What works on this kernel says: target/release/courtside check")?;
    spoken(&text)
}

/// A profile of recordings, and where it is.
pub fn fit(tools: &Tools, files: &[PathBuf], profile: &Path) -> Result<Profile> {
    let mut command = sh::command(&tools.courtside);
    command.args(["model", "fit"]).args(files);
    command.args(["--entry", &format!("web{SUFFIX}"), "--json", "--output"]);
    said(command.arg(profile), PATIENCE)?;
    let text = fs::read_to_string(profile)?;
    let fitted: Profile = serde_json::from_str(&text)
        .with_context(|| format!("{} is no profile", profile.display()))?;
    let is_web = |component: &Component| component.id == format!("program:web{SUFFIX}");
    if !fitted.components.iter().any(is_web) {
        bail!(
            "the tiers are not components by themselves: {} Run it outside of containers and systemd services",
            fitted
                .components
                .iter()
                .map(|component| component.id.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    Ok(fitted)
}

/// What is asked of a profile.
pub struct Question<'a> {
    /// Where the profile is.
    pub profile: &'a Path,
    /// Requests a second.
    pub rates: &'a [f64],
    /// The file of `--place`.
    pub place: String,
    /// The node whose components share one CPU.
    pub one_core: Option<&'a str>,
}

/// A prediction; what was asked and said lies beside the profile.
pub fn predict(tools: &Tools, question: &Question, name: &str) -> Result<Prediction> {
    let folder = question
        .profile
        .parent()
        .context("a profile has a folder")?;
    let [place, answer] =
        ["place.toml", "prediction.json"].map(|end| folder.join(format!("{name}-{end}")));
    fs::write(&place, &question.place)?;
    let rates: Vec<String> = question.rates.iter().map(ToString::to_string).collect();
    let mut command = sh::command(&tools.courtside);
    command
        .args(["model", "predict"])
        .arg(question.profile)
        .args(["--rate", &rates.join(","), "--requests", SIMULATED])
        .arg("--place")
        .arg(&place);
    if let Some(node) = question.one_core {
        command.args(["--cores", &format!("{node}=1")]);
    }
    said(command.args(["--json", "--output"]).arg(&answer), PATIENCE)?;
    let text = fs::read_to_string(&answer)?;
    let prediction: Prediction = serde_json::from_str(&text)
        .with_context(|| format!("{} is no prediction", answer.display()))?;
    if prediction.points.len() != question.rates.len() {
        bail!(
            "{} rates were asked for, and {} answered",
            question.rates.len(),
            prediction.points.len()
        );
    }
    Ok(prediction)
}

/// Threads of the tiers that a request passes, for `--place`.
pub fn threads(profile: &Profile, threads: [u32; 3]) -> String {
    let mut text = String::new();
    for (name, threads) in ["web", "app", "store"].into_iter().zip(threads) {
        let id = format!("program:{name}{SUFFIX}");
        if profile
            .components
            .iter()
            .any(|component| component.id == id)
        {
            text += &format!("[[component]]\nid = \"{id}\"\nthreads = {threads}\n\n");
        }
    }
    text
}
