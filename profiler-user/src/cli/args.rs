//! What can be written on the command line.
//!
//! In: nothing. Out: the parsed arguments, and views and wishes made of them.
//! Must not know: what is done with them.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueEnum,
    builder::PossibleValuesParser, value_parser,
};

mod diff;
mod examples;
mod exports;
mod fleet;
mod guard;
mod infer;
mod measure;
mod model;
mod page;
mod recordings;
mod scale;
mod serve;
mod tail;

pub use diff::DiffArgs;
pub use exports::{ExportArgs, ExportFormat, ReportArgs};
pub use fleet::FleetArgs;
pub use guard::{
    GuardArgs, GuardCommand, GuardReplayArgs, HelperArgs, HoldArgs, JudgeArgs, LearnArgs,
    RestoreArgs, StateArgs, WatchArgs,
};
pub use infer::{CalibrateArgs, InferArgs, InferCommand, InferCompareArgs};
pub use measure::{MeasureArgs, RttFloor};
pub use model::{FitArgs, ModelArgs, ModelCommand, PlaceArgs, PredictArgs, Rate};
pub use page::{PageFormat, PageOutputArgs};
pub use recordings::{RecordArgs, ReplayArgs, nanoseconds};
pub use scale::{At, ScaleArgs, ScaleCommand, ScaleRunArgs};
pub use serve::ServeArgs;
pub use tail::TailArgs;

use examples::{
    CHECK_EXAMPLES, COMPLETIONS_EXAMPLES, EXAMPLES, MAN_EXAMPLES, SCHEMA_EXAMPLES, STAT_EXAMPLES,
    TOP_EXAMPLES,
};

use crate::analysis::findings;
use crate::model::{EntryWish, GroupBy, SCHEMA_NAMES, Selection, View};

/// Who holds the ball? Roundtrips, turnarounds and their causes between running services, from kernel events alone.
///
/// Courtside attaches to what already runs, without changing or parsing it, and shows how many roundtrips each request
/// costs between components, how long each component keeps a message before it answers, and what that time was made
/// of: CPU, run queue, disk, sleep, waiting unread.
#[derive(Debug, Parser)]
#[command(
    name = "courtside",
    version,
    after_help = EXAMPLES,
    override_usage = "courtside [OPTIONS OF top]\n       courtside <COMMAND> [OPTIONS]",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Without a command, the arguments of `top`.
    #[command(flatten)]
    pub top: TopArgs,
}

impl Cli {
    /// The parser. Without a command the options of `top` are taken, but not all shown.
    #[must_use]
    pub fn parser() -> clap::Command {
        Self::command().mut_args(|option| option.hide(true))
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what happens now, as a live dashboard
    #[command(after_help = TOP_EXAMPLES)]
    Top(TopArgs),
    /// Measure once, and print the result
    #[command(after_help = STAT_EXAMPLES)]
    Stat(StatArgs),
    /// Record into a file, to look at it later
    #[command(after_help = recordings::RECORD_EXAMPLES)]
    Record(RecordArgs),
    /// Show a recording as a dashboard, and step through its time
    #[command(after_help = recordings::REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
    /// Convert a recording for other programs
    #[command(after_help = exports::EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// Make one HTML page with charts of a recording
    #[command(after_help = exports::REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// Compare two recordings, or one and now: what changed by more than chance, by how much, what got worse
    #[command(after_help = diff::DIFF_EXAMPLES)]
    Diff(DiffArgs),
    /// Say why the slowest requests are slow: held against the median part by part, and by whom
    #[command(after_help = tail::TAIL_EXAMPLES)]
    Tail(TailArgs),
    /// Say what a parallel application does, seen from outside: how fast, in what shape, who holds the others up, what if
    #[command(after_help = infer::INFER_EXAMPLES, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
    Infer(Box<InferArgs>),
    /// Say how something scales with cores or workers, what is lost and why
    #[command(after_help = scale::SCALE_EXAMPLES, args_conflicts_with_subcommands = true)]
    Scale(ScaleArgs),
    /// Say who slows a service, and hold that back if it may be
    #[command(after_help = guard::GUARD_EXAMPLES, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
    Guard(Box<GuardArgs>),
    /// Fit what a request takes of each component, predict other rates and machines, and place components
    #[command(after_help = model::MODEL_EXAMPLES, disable_help_subcommand = true)]
    Model(ModelArgs),
    /// Measure on and on, and answer over HTTP: metrics for Prometheus, the last window, findings
    #[command(after_help = serve::SERVE_EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Ask about many hosts at once: one map, what is usual, who slows whom, in SQL
    #[command(after_help = fleet::FLEET_EXAMPLES, disable_help_flag = true)]
    Fleet(FleetArgs),
    /// Say what works on this host, what does not and why, and which command helps
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Print the JSON Schema of an output
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema(SchemaArgs),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Write the manual pages of all commands into a folder
    #[command(after_help = MAN_EXAMPLES)]
    Man(ManArgs),
}

/// Arguments of `top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Which components.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to measure.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Time between two updates of the screen, at least 10ms
    #[arg(short, long, value_name = "TIME", value_parser = measured, default_value = "1s", help_heading = "Measuring")]
    pub interval: Duration,
    /// End after this time [default: when q is pressed]
    #[arg(short, long, value_name = "TIME", value_parser = time, help_heading = "Measuring")]
    pub duration: Option<Duration>,
    /// The dashboard.
    #[command(flatten)]
    pub screen: ScreenArgs,
}

/// Arguments of `stat`.
#[derive(Debug, Args)]
pub struct StatArgs {
    /// Which components.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to measure.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Print a result after each interval, at least 10ms, not only at the end
    #[arg(short, long, value_name = "TIME", value_parser = measured, help_heading = "Measuring")]
    pub interval: Option<Duration>,
    /// Measure for this time [default: 10s, or until COMMAND ends]
    #[arg(short, long, value_name = "TIME", value_parser = time, help_heading = "Measuring")]
    pub duration: Option<Duration>,
    /// Run this command when everything is attached, and measure until it ends
    #[arg(last = true, value_name = "COMMAND", help_heading = "Arguments")]
    pub command: Vec<OsString>,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Print more about each probe
    #[arg(short, long)]
    pub verbose: bool,
}

/// What `courtside check -F json` prints, by the name of its schema.
pub(super) const CHECK_SCHEMA: &str = "check";

/// The names of all outputs that have a schema.
pub(super) fn schema_names() -> impl Iterator<Item = &'static str> {
    SCHEMA_NAMES.into_iter().chain([CHECK_SCHEMA])
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// The output
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(schema_names()))]
    pub name: String,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder; pages that are there already are written anew
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

/// Which components are shown, and how they are named. Several options of this group add up; everything is measured.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Selection")]
pub struct SelectArgs {
    /// Only this process
    #[arg(short, long = "pid", value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Only programs with this name; * stands for any text, ? for any character
    #[arg(short = 'n', long = "comm", value_name = "GLOB")]
    pub comm: Vec<String>,
    /// Only processes in this control group
    #[arg(short, long, value_name = "PATH")]
    pub cgroup: Vec<String>,
    /// Only this systemd unit
    #[arg(long, value_name = "NAME")]
    pub unit: Vec<String>,
    /// Only the container whose id begins with this, or the pod with pod:UID
    #[arg(long, value_name = "ID")]
    pub container: Vec<String>,
    /// Only traffic to this port
    #[arg(long, value_name = "PORT", value_delimiter = ',', value_parser = value_parser!(u16).range(1..))]
    pub port: Vec<u16>,
    /// How processes are grouped into components
    #[arg(long, value_name = "WHAT", default_value = "auto")]
    pub group_by: Grouping,
    /// Count roundtrips per request that enters at this component [default: each component that no other component calls]
    #[arg(long, value_name = "NAME[:PORT]")]
    pub entry: Vec<EntryWish>,
}

/// How the dashboard looks, and where what is exported from it goes.
#[derive(Debug, Args)]
pub struct ScreenArgs {
    /// Folder for the files of the keys e (a snapshot) and R (the last minutes): courtside-TIME.json and courtside-TIME.rec
    #[arg(
        short,
        long,
        value_name = "FOLDER",
        default_value = ".",
        help_heading = "Output"
    )]
    pub output: PathBuf,
    /// When to use colours; auto also obeys NO_COLOR
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Output"
    )]
    pub color: ColorChoice,
}

/// How to print.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write to this file, completely or not at all; - is stdout. Symbolic links are not followed
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// Output format
    #[arg(short = 'F', long, value_name = "FORM", default_value = "table")]
    pub format: Format,
    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// When to use colours; auto also obeys NO_COLOR
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

impl OutputArgs {
    /// The form asked for, in either way.
    #[must_use]
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// Form of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// What makes a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Grouping {
    /// By container, else by systemd unit, else by program
    #[default]
    Auto,
    /// Each process by itself
    Process,
    /// By the name of the process
    Comm,
    /// By control group
    Cgroup,
    /// By systemd unit
    Unit,
    /// By container or pod
    Container,
}

impl From<Grouping> for GroupBy {
    fn from(grouping: Grouping) -> Self {
        match grouping {
            Grouping::Auto => Self::Auto,
            Grouping::Process => Self::Process,
            Grouping::Comm => Self::Comm,
            Grouping::Cgroup => Self::Cgroup,
            Grouping::Unit => Self::Unit,
            Grouping::Container => Self::Container,
        }
    }
}

impl SelectArgs {
    /// The view asked for.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            group_by: self.group_by.into(),
            selection: Selection {
                tgids: self.pid.clone(),
                comms: self.comm.clone(),
                cgroups: self
                    .cgroup
                    .iter()
                    .map(|path| below_mount(path).to_owned())
                    .collect(),
                units: self.unit.clone(),
                containers: self.container.clone(),
                ports: self.port.clone(),
            },
            entries: self.entry.clone(),
            judge: findings::judge(),
        }
    }
}

/// Users may give a control group by its directory.
fn below_mount(path: &str) -> &str {
    let Some(path) = path.strip_prefix("/sys/fs/cgroup") else {
        return path;
    };
    let below = ["/unified", "/systemd"]
        .iter()
        .find_map(|hierarchy| path.strip_prefix(hierarchy))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match below.unwrap_or(path) {
        "" => "/",
        path => path,
    }
}

/// A time with its unit (`500ms`, `1m30s`), or a number of seconds.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    let time = match seconds.map(Duration::try_from_secs_f64) {
        Some(Ok(time)) => time,
        _ => humantime::parse_duration(text)
            .map_err(|error| format!("{error}; give a time as in 500ms, 10s, 1m30s"))?,
    };
    if time.is_zero() {
        return Err("it must be more than zero".to_owned());
    }
    Ok(time)
}

/// Shortest window that is measured: reading the kernel's maps takes some milliseconds.
pub(super) const LEAST_MEASURED: Duration = Duration::from_millis(10);
/// Shortest window that is made of a recording: less is a few events, and a file of nothing but names.
const LEAST_CUT: Duration = Duration::from_millis(1);

/// Length of a window that is measured.
pub(super) fn measured(text: &str) -> Result<Duration, String> {
    at_least(time(text)?, LEAST_MEASURED)
}

/// Length of a window that is made of a recording.
pub(super) fn cut(text: &str) -> Result<Duration, String> {
    at_least(time(text)?, LEAST_CUT)
}

fn at_least(time: Duration, least: Duration) -> Result<Duration, String> {
    if time < least {
        let least = humantime::format_duration(least);
        return Err(format!("it must be at least {least}"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    fn top(line: &str) -> TopArgs {
        let cli = parse(line).unwrap();
        match cli.command {
            None => cli.top,
            Some(Command::Top(args)) => args,
            Some(other) => panic!("{other:?}"),
        }
    }

    fn stat(line: &str) -> StatArgs {
        match parse(line).unwrap().command {
            Some(Command::Stat(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_is_top() {
        assert_eq!(top("courtside").interval, Duration::from_secs(1));
        assert_eq!(top("courtside -p 7").select.pid, [7]);
        assert_eq!(top("courtside top -p 7").select.pid, [7]);
    }

    #[test]
    fn every_selection_reaches_the_view() {
        let args = stat(
            "courtside stat -p 1,2 -p 3 -n redis* -n app --cgroup /sys/fs/cgroup/unified/a/b -c /c \
             --unit nginx --container 0123 --port 80,443 --group-by unit --entry web:80 --entry app",
        );
        let view = args.select.view();
        assert_eq!(view.selection.tgids, [1, 2, 3]);
        assert_eq!(view.selection.comms, ["redis*", "app"]);
        assert_eq!(view.selection.cgroups, ["/a/b", "/c"]);
        assert_eq!(view.selection.units, ["nginx"]);
        assert_eq!(view.selection.containers, ["0123"]);
        assert_eq!(view.selection.ports, [80, 443]);
        assert_eq!(view.group_by, GroupBy::Unit);
        assert_eq!(view.entries[0].port, Some(80));
        assert_eq!(view.entries[1].name, "app");
    }

    #[test]
    fn control_groups_are_named_below_their_mount() {
        assert_eq!(below_mount("/sys/fs/cgroup"), "/");
        assert_eq!(below_mount("/sys/fs/cgroup/systemd"), "/");
        assert_eq!(below_mount("/sys/fs/cgroup/unifiedly/x"), "/unifiedly/x");
        assert_eq!(below_mount("/system.slice"), "/system.slice");
    }

    #[test]
    fn times_have_units_or_are_seconds() {
        assert_eq!(time("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(time("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(time("3"), Ok(Duration::from_secs(3)));
        for bad in ["0", "-1", "soon", "", "inf", "NaN"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_window_has_a_least_length_which_is_said() {
        for (line, least) in [
            ("courtside stat -i 1us", "at least 10ms"),
            ("courtside replay x -i 1us", "at least 1ms"),
        ] {
            let said = parse(line).unwrap_err().to_string();
            assert!(said.contains(least), "{said}");
        }
        let least = stat("courtside stat -i 10ms").interval;
        assert_eq!(least, Some(LEAST_MEASURED));
        assert!(parse("courtside replay x -i 1ms").is_ok());
    }

    #[test]
    fn the_floor_is_automatic_or_a_time_with_its_unit() {
        let floor = |text: &str| text.parse::<RttFloor>().map(RttFloor::constant_ns);
        assert_eq!(floor("auto"), Ok(None));
        assert_eq!(floor("150us"), Ok(Some(150_000)));
        assert!(floor("150").unwrap_err().contains("150us"));
    }

    #[test]
    fn a_command_keeps_its_own_flags() {
        let args = stat("courtside stat -F json -- redis-benchmark -n 20000 -c 1 -t get");
        assert_eq!(args.command.len(), 7);
        assert_eq!(args.output.format(), Format::Json);
        assert_eq!(stat("courtside stat --json").output.format(), Format::Json);
        assert_eq!(stat("courtside stat").output.format(), Format::Table);
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "courtside nonsense",
            "courtside stat -p x",
            "courtside stat -p -1",
            "courtside stat -d soon",
            "courtside stat -F xml",
            "courtside stat --json -F table",
            "courtside stat --entry :80",
            "courtside stat --port 70000",
            "courtside stat --port 0",
            "courtside stat redis-benchmark",
            "courtside schema",
            "courtside schema nonsense",
            "courtside completions tcsh",
            "courtside -p 7 stat",
            "courtside -i 1us",
            "courtside top -i 9999us",
            "courtside stat -i 1us",
            "courtside record -o x -i 9ms",
            "courtside replay x -i 1us",
            "courtside export x -F json -o y -i 999us",
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn every_command_shows_examples() {
        for command in Cli::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Examples:"), "{}", command.get_name());
        }
    }
}
