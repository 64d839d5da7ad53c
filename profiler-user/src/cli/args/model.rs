//! What can be written after `model`.
//!
//! In: nothing. Out: the parsed arguments. Must not know: what is done with them.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ColorChoice, Subcommand};

use super::{Format, OutputArgs, PageOutputArgs, SelectArgs, time};

pub(in crate::cli) const MODEL_EXAMPLES: &str = "\
Examples:
  sudo courtside record -o r100.rec -d 60s         at 100 requests a second,
  sudo courtside record -o r200.rec -d 60s         at 200, and at 400
  courtside model fit r100.rec r200.rec r400.rec -o shop.json
  courtside model predict shop.json                at which rate what is used up, and how long requests take
  courtside model predict shop.json --rate 300,600,900 --cores web01=4
  courtside model place shop.json --nodes nodes.toml --rate 2000 --mean 20ms

The method is that of Stewart and Shen (NSDI 2005). Each command has more examples: --help.";

const FIT_EXAMPLES: &str = "\
Examples:
  courtside model fit r100.rec r200.rec r400.rec -o shop.json
  courtside model fit day.rec -o shop.json                  one recording whose load varies
  courtside model fit r*.rec --entry web:80 -o shop.json
  courtside model fit r*.rec                                the profile as a table

For each component that a request passes: what one more request takes of CPU, disk and network, and
what is taken without any, by least squares over the rates, with intervals. Where points bend away
from a line they are kept as a table. Also how long a request occupies a thread, calls and messages
for each request, and what all other programs on the host take.

At least 3 different rates are needed, the highest 1.3 times the lowest, all of the same mix of
requests; up to half of what the service can do is best. Recordings that are saturated are left
out. Shuffle the order of the rates: the speed of a CPU drifts. With `record --program-cost` the
time of Courtside's own programs is deducted.

What recordings do not hold is null in the profile, with the reason under `unknown`.";

const PREDICT_EXAMPLES: &str = "\
Examples:
  courtside model predict shop.json
  courtside model predict shop.json --rate 50,100,200
  courtside model predict shop.json --cores web01=1         all of it shares one CPU, clients have the others
  courtside model predict shop.json --place two.toml --json -o two.json
  courtside model predict shop.json -F html -o shop.html    the same as a page with pictures

A file for --place, all of it optional:

  [[node]]
  name = \"db01\"              # as in the profile, or a new one
  cpus = 4                   # needed for a new one
  speed = 1.2                # of a CPU; 1 is that of the recordings
  quota_cpus = 2.5           # what control groups allow the components there, all together
  disk_parallel = 8          # requests that its disk works on at a time

  [[component]]
  id = \"store\"               # or program:store
  node = \"db01\"              # or nodes = [\"db01\", \"db02\"]: one on each
  threads = 16               # that serve requests, on each node

  [network]
  rtt_us = 150.0             # between two nodes
  cpu_us_per_message = 5.0   # what a message to another node costs, at each end
  cpu_ns_per_byte = 0.3
  bytes_per_s = 125000000    # of a node, both directions

Three models stand side by side: base counts the CPU time of components; +remote adds that of calls
to other nodes; full is a simulation of all pieces of a request, which gives percentiles, and knows
pools of threads and the network. What is taken for true is said under `Assumed`.
Rates that were not fitted are marked `outside`.";

const PLACE_EXAMPLES: &str = "\
Examples:
  courtside model place shop.json --nodes nodes.toml --rate 2000
  courtside model place shop.json --nodes nodes.toml --rate 2000 --mean 20ms --p95 60ms

The file has a [[node]] with name and cpus for each machine, and may say what it costs:

  [[node]]
  name = \"small1\"
  cpus = 2
  cost = 1.0

  [network]
  rtt_us = 150.0
  cpu_us_per_message = 5.0

See `courtside model predict --help` for all of it; of a [[component]] it may have the threads.
Looked for is the least cost at which the rate and the times are kept, by simulated annealing; beside
it stand random placements, everything on every node, as few replicas as possible, and up to 8
components all there are. The same seed gives the same answer.";

/// Arguments of `model`.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ModelCommand,
}

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Make a profile of recordings at several rates: what a request takes of each component
    #[command(after_help = FIT_EXAMPLES)]
    Fit(FitArgs),
    /// Say at which rate what is used up, and how long requests take at given rates and on other machines
    #[command(after_help = PREDICT_EXAMPLES)]
    Predict(PredictArgs),
    /// Find which machine should run which component
    #[command(after_help = PLACE_EXAMPLES)]
    Place(PlaceArgs),
}

/// Arguments of `model fit`.
#[derive(Debug, Args)]
pub struct FitArgs {
    /// The recordings, each at another rate, or one whose load varies
    #[arg(value_name = "FILE", required = true, help_heading = "Arguments")]
    pub files: Vec<PathBuf>,
    /// Write to this file, completely or not at all; - is stdout. Symbolic links are not followed
    #[arg(
        short,
        long,
        value_name = "PROFILE.json",
        default_value = "-",
        help_heading = "Output"
    )]
    pub output: PathBuf,
    /// Output format [default: json for a file, table for stdout]
    #[arg(short = 'F', long, value_name = "FORM", help_heading = "Output")]
    pub format: Option<Format>,
    /// Short for --format json
    #[arg(long, conflicts_with = "format", help_heading = "Output")]
    pub json: bool,
    /// When to use colours; auto also obeys NO_COLOR
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Output"
    )]
    pub color: ColorChoice,
    /// Which components; by default those that the first file was recorded for.
    #[command(flatten)]
    pub select: SelectArgs,
}

impl FitArgs {
    /// The form asked for.
    #[must_use]
    pub fn format(&self, is_stdout: bool) -> Format {
        match self.format {
            _ if self.json => Format::Json,
            Some(format) => format,
            None if is_stdout => Format::Table,
            None => Format::Json,
        }
    }
}

/// Arguments of `model predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// The profile
    #[arg(value_name = "PROFILE.json", help_heading = "Arguments")]
    pub profile: PathBuf,
    /// Requests a second; auto is up to nine tenths of what can be served
    #[arg(long, value_name = "auto|RATE", value_delimiter = ',', value_parser = rates, default_value = "auto", help_heading = "Predicting")]
    pub rate: Vec<Rate>,
    /// How many CPUs of a node the components share; what else runs there has the others
    #[arg(long, value_name = "NODE=N", value_parser = cores, help_heading = "Predicting")]
    pub cores: Vec<(String, f64)>,
    /// Which machines there are, and where components run
    #[arg(long, value_name = "FILE.toml", help_heading = "Predicting")]
    pub place: Option<PathBuf>,
    /// Requests to simulate at each rate [default: as many as take about half a second in all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=10_000_000), help_heading = "Predicting")]
    pub requests: Option<u32>,
    /// How to print.
    #[command(flatten)]
    pub output: PageOutputArgs,
}

/// Arguments of `model place`.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The profile
    #[arg(value_name = "PROFILE.json", help_heading = "Arguments")]
    pub profile: PathBuf,
    /// Which machines there are
    #[arg(long, value_name = "NODES.toml", help_heading = "Placing")]
    pub nodes: PathBuf,
    /// Requests a second to serve
    #[arg(long, value_name = "RATE", value_parser = rate, help_heading = "Placing")]
    pub rate: f64,
    /// Mean time of a request that is allowed
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Placing")]
    pub mean: Option<Duration>,
    /// Time that 95 in 100 requests may take
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Placing")]
    pub p95: Option<Duration>,
    /// Where the search begins: the same number gives the same answer
    #[arg(long, value_name = "N", default_value = "1", help_heading = "Placing")]
    pub seed: u64,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A rate that is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Up to nine tenths of saturation.
    Auto,
    /// Requests a second.
    PerSecond(f64),
}

fn rates(text: &str) -> Result<Rate, String> {
    match text {
        "auto" => Ok(Rate::Auto),
        _ => rate(text).map(Rate::PerSecond),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate < 1e12 => Ok(rate),
        _ => Err("give a number of requests a second above 0, as in 200".to_owned()),
    }
}

fn cores(text: &str) -> Result<(String, f64), String> {
    let parsed = text.rsplit_once('=').and_then(|(node, count)| {
        let count: f64 = count.parse().ok()?;
        let is_sound = !node.is_empty() && count > 0.0 && count <= 65_536.0;
        is_sound.then(|| (node.to_owned(), count))
    });
    parsed.ok_or_else(|| "give a node and a number of CPUs, as in web01=4".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_cores_are_numbers_above_nothing() {
        assert_eq!(rates("auto"), Ok(Rate::Auto));
        assert_eq!(rates("12.5"), Ok(Rate::PerSecond(12.5)));
        for bad in ["", "0", "-1", "x", "inf", "NaN"] {
            assert!(rates(bad).is_err(), "{bad}");
        }
        assert_eq!(cores("web01=4"), Ok(("web01".to_owned(), 4.0)));
        assert_eq!(cores("a=b=0.5"), Ok(("a=b".to_owned(), 0.5)));
        for bad in ["", "web01", "=4", "web01=0", "web01=-1", "web01=x"] {
            assert!(cores(bad).is_err(), "{bad}");
        }
    }
}
