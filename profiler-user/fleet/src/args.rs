//! What can be written after `courtside fleet`.
//!
//! In: nothing. Out: the parsed arguments. Must not know: what is done with them.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::synth::SynthArgs;

const EXAMPLES: &str = "\
Examples:
  courtside serve --export /srv/hosts --host web01        on each host; DIR is what they write to, or a copy
  courtside fleet map /srv/hosts                          who calls whom over all hosts, and what the network takes
  courtside fleet findings /srv/hosts                     what is wrong, where, since when
  courtside fleet antagonists /srv/hosts --job unit:search.service --from 20261130T06 --to 20261130T09
  courtside fleet sql 'SELECT host, sum(requests_served) AS served FROM components GROUP BY host' /srv/hosts
  courtside fleet synth --hosts 20 --hours 2 --seed 1 -o made-up --answers answers.json
                                                          a fleet that was made up, and what is planted in it

DIR holds host=NAME/hour=YYYYMMDDTHH/TABLE-FIRST-LAST.parquet. It is read anew each time.
docs/fleet.md has the tables, the views and the limits.";

/// Questions over what the agents of many hosts exported
#[derive(Debug, Parser)]
#[command(name = "courtside fleet", bin_name = "courtside fleet", version, after_help = EXAMPLES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What there is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One map of all services: who calls whom, and what the network takes
    Map(MapArgs),
    /// Roundtrips of each edge: for each request of who asks, and over time
    Roundtrips(RoundtripsArgs),
    /// What is usual for each job and platform over all hosts, for `courtside guard --spec`
    Specs(SpecsArgs),
    /// Who slows a job most, over all hosts
    Antagonists(AntagonistsArgs),
    /// What is wrong: which, where, since when
    Findings(FindingsArgs),
    /// What differs between two sets of hosts, or two times
    Diff(DiffArgs),
    /// Ask in SQL
    Sql(SqlArgs),
    /// Make up a fleet whose answers are known
    Synth(SynthArgs),
}

/// Where the exports are, and how they are read.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Reading")]
pub struct SourceArgs {
    /// Folder with host=NAME/hour=YYYYMMDDTHH/ in it
    #[arg(value_name = "DIR")]
    pub dir: String,
    /// Leave out files that cannot be read, say which, and answer from the rest
    #[arg(long)]
    pub skip_bad: bool,
    /// Memory for sorting, grouping and joining; what is more goes to the disk. Reading takes some more
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "1GiB")]
    pub memory: usize,
    /// Threads [default: as many as CPUs]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// What answers
    #[arg(long, value_name = "ENGINE", default_value = "embedded")]
    pub engine: EngineArg,
}

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    /// This process
    Embedded,
}

/// How the answer is written.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Form of the answer
    #[arg(short = 'F', long, value_name = "FORM", default_value = "table")]
    pub format: FormatArg,
    /// Write to this file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Hours that are asked for.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Time")]
pub struct TimeArgs {
    /// From this hour (UTC) on, as 20261130T06
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    pub from: Option<String>,
    /// Up to this hour, itself included
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    pub to: Option<String>,
}

/// Arguments of `map`.
#[derive(Clone, Debug, ClapArgs)]
pub struct MapArgs {
    /// What is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Which address is which host's, as in /etc/hosts: ADDRESS NAME [default: DIR/hosts, if it is there]
    #[arg(long, value_name = "FILE")]
    pub hosts: Option<PathBuf>,
    /// One line for each pair of hosts, not for each pair of services
    #[arg(long)]
    pub by_host: bool,
    /// When.
    #[command(flatten)]
    pub time: TimeArgs,
    /// How it is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `roundtrips`.
#[derive(Clone, Debug, ClapArgs)]
pub struct RoundtripsArgs {
    /// What is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Which address is which host's, as in /etc/hosts: ADDRESS NAME [default: DIR/hosts, if it is there]
    #[arg(long, value_name = "FILE")]
    pub hosts: Option<PathBuf>,
    /// One line for each hour, too
    #[arg(long)]
    pub by_hour: bool,
    /// When.
    #[command(flatten)]
    pub time: TimeArgs,
    /// How it is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `specs`.
#[derive(Clone, Debug, ClapArgs)]
pub struct SpecsArgs {
    /// What is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Only these jobs, by id; * stands for any text
    #[arg(short = 'n', long, value_name = "GLOB")]
    pub job: Vec<String>,
    /// Do not judge by what was learned from fewer windows
    #[arg(long, value_name = "N", default_value_t = courtside_analysis::guard::MIN_SAMPLES)]
    pub min_samples: u64,
    /// Earlier specs, in which the samples of a day count for 0.9 times as much with each day of their age
    #[arg(long, value_name = "SPEC.json")]
    pub with: Vec<PathBuf>,
    /// When.
    #[command(flatten)]
    pub time: TimeArgs,
    /// How it is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `antagonists`.
#[derive(Clone, Debug, ClapArgs)]
pub struct AntagonistsArgs {
    /// What is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Who is slowed, by id; * stands for any text [default: everybody]
    #[arg(short = 'n', long, value_name = "GLOB")]
    pub job: Vec<String>,
    /// What is usual, as `fleet specs` or `guard learn` wrote it [default: learned from the same windows, those of the anomaly among them]
    #[arg(long, value_name = "SPEC.json")]
    pub spec: Option<PathBuf>,
    /// When a number is too high: paper is as CPI2 does it
    #[arg(long, value_name = "MODE", default_value = "courtside")]
    pub mode: ModeArg,
    /// Do not judge by what was learned from fewer windows
    #[arg(long, value_name = "N", default_value_t = courtside_analysis::guard::MIN_SAMPLES)]
    pub min_samples: u64,
    /// When.
    #[command(flatten)]
    pub time: TimeArgs,
    /// How it is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// When a number is too high.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModeArg {
    /// Median and its deviation
    Courtside,
    /// As CPI2 has it: mean and two standard deviations, CPI and correlation
    Paper,
}

/// Arguments of `findings`.
#[derive(Clone, Debug, ClapArgs)]
pub struct FindingsArgs {
    /// What is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Only findings of these rules; * stands for any text
    #[arg(long, value_name = "GLOB")]
    pub rule: Vec<String>,
    /// When.
    #[command(flatten)]
    pub time: TimeArgs,
    /// How it is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `diff`.
#[derive(Clone, Debug, ClapArgs)]
pub struct DiffArgs {
    /// What is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// One set: hosts by name (* stands for any text), and @HOUR..HOUR if it is not all time
    #[arg(short = 'a', long, value_name = "HOSTS[@FROM..TO]")]
    pub a: String,
    /// The other one
    #[arg(short = 'b', long, value_name = "HOSTS[@FROM..TO]")]
    pub b: String,
    /// How it is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `sql`.
#[derive(Clone, Debug, ClapArgs)]
pub struct SqlArgs {
    /// The question; only what reads is allowed
    #[arg(value_name = "SELECT …")]
    pub sql: String,
    /// What is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Form of the answer
    #[arg(short = 'F', long, value_name = "FORM", default_value = "table")]
    pub format: SqlFormatArg,
    /// Write to this file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Form of the answer to a question in SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SqlFormatArg {
    /// For people
    Table,
    /// An array of objects, one for each row
    Json,
    /// A file of Parquet; needs -o
    Parquet,
}

/// `20261130T06`.
fn hour(text: &str) -> Result<String, String> {
    let right = text.len() == 11
        && text.char_indices().all(|(at, c)| match at {
            8 => c == 'T',
            _ => c.is_ascii_digit(),
        });
    if right {
        Ok(text.to_owned())
    } else {
        Err("an hour is written as 20261130T06".to_owned())
    }
}

/// `512MiB`, `1G`, `1073741824`.
fn bytes(text: &str) -> Result<usize, String> {
    let wrong = || "write it as 512MiB or 2GiB".to_owned();
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, unit) = text.split_at(end.unwrap_or(text.len()));
    let number: usize = digits.parse().map_err(|_| wrong())?;
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "k" | "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(wrong()),
    };
    let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
    if bytes < 16 << 20 {
        return Err("at least 16MiB are needed".to_owned());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn hours_and_bytes_are_read_as_they_are_written() {
        assert!(hour("20261130T06").is_ok());
        assert!(hour("2026-11-30").is_err());
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert!(bytes("1").is_err() && bytes("x").is_err() && bytes("5TiB").is_err());
    }
}
