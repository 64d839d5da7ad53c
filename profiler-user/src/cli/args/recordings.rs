//! What can be written on the command line about recordings.
//!
//! In: nothing. Out: the parsed arguments, bounds made of them, and the view that goes into a recording and comes back.
//! Must not know: what is done with them.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{Grouping, MeasureArgs, ScreenArgs, SelectArgs, cut, measured, time};
use crate::record::{Bounds, MIN_SIZE_BYTES, ViewWish};

/// Examples of `record`.
pub(super) const RECORD_EXAMPLES: &str = "\
Examples:
  sudo courtside record -o x.rec                     until Ctrl-C, a window every second
  sudo courtside record -o x.rec -d 10m -i 5s        ten minutes, in windows of five seconds
  sudo courtside record -o x.rec -- ./load-test      while a program runs
  sudo courtside record --events -o x.rec -d 10s     every single event as well
  sudo courtside record -o x.rec --retain 1h --size-limit 2GB
                                                     a flight recorder: the newest hour, at most 2 GB
  sudo pkill -USR1 -xf 'courtside record .*'         keep the last five minutes in x.rec-TIME, and go on
  courtside replay x.rec                             look at it

Everything is recorded; the selection decides what `replay` shows at first. With --retain or
--size-limit there are two files, FILE and FILE.2, which `replay FILE` puts together.
Exit status as that of `stat`.";

/// Examples of `replay`.
pub(super) const REPLAY_EXAMPLES: &str = "\
Examples:
  courtside replay x.rec                     the dashboard; t and T step, J jumps, ? tells more
  courtside replay x.rec --entry web:8080    with another entry than it was recorded with
  courtside replay x.rec -n '*'              all of it, whatever was selected when it was recorded
  courtside replay x.rec -i 10ms             in shorter windows, made from its single events
  courtside replay x.rec | less              the whole recording as one table";

/// Arguments of `record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Which components `replay` shows at first.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to measure.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Write to this file, which only you may read. Symbolic links are not followed
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: PathBuf,
    /// Replace the file if there is one
    #[arg(short, long, help_heading = "Output")]
    pub force: bool,
    /// Keep only the newest data: at least this much time, at most twice as much
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Output")]
    pub retain: Option<Duration>,
    /// Keep only the newest data: at most this size, at least half of it
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Output")]
    pub size_limit: Option<u64>,
    /// Record each single event, too: sends, receives, arrivals, switches, wake-ups, disk requests, processes
    #[arg(long, help_heading = "Output")]
    pub events: bool,
    /// How much of the newest time SIGUSR1 saves into a separate file
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5m", help_heading = "Output")]
    pub keep: Duration,
    /// Length of a window, at least 10ms
    #[arg(short, long, value_name = "TIME", value_parser = measured, default_value = "1s", help_heading = "Measuring")]
    pub interval: Duration,
    /// Stop after this time [default: at Ctrl-C, or when COMMAND ends]
    #[arg(short, long, value_name = "TIME", value_parser = time, help_heading = "Measuring")]
    pub duration: Option<Duration>,
    /// Run this command when everything is attached, and record until it ends
    #[arg(last = true, value_name = "COMMAND", help_heading = "Arguments")]
    pub command: Vec<OsString>,
}

impl RecordArgs {
    /// How much is kept; `None` for everything.
    #[must_use]
    pub fn bounds(&self) -> Option<Bounds> {
        (self.retain.is_some() || self.size_limit.is_some()).then(|| Bounds {
            retain_ns: self.retain.map(nanoseconds),
            size_bytes: self.size_limit,
        })
    }
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The recording
    #[arg(value_name = "FILE", help_heading = "Arguments")]
    pub file: PathBuf,
    /// Which components.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Length of a window, at least 1ms: a multiple of the recorded length, or any length if the recording has single events [default: as recorded]
    #[arg(short, long, value_name = "TIME", value_parser = cut, help_heading = "Output")]
    pub interval: Option<Duration>,
    /// The dashboard.
    #[command(flatten)]
    pub screen: ScreenArgs,
}

impl SelectArgs {
    /// What goes into a recording, so that it can be shown as it was asked for.
    #[must_use]
    pub fn wish(&self) -> ViewWish {
        let group_by = self.group_by.to_possible_value();
        ViewWish {
            group_by: group_by.map_or_else(String::new, |value| value.get_name().to_owned()),
            tgids: self.pid.clone(),
            comms: self.comm.clone(),
            cgroups: self.cgroup.clone(),
            units: self.unit.clone(),
            containers: self.container.clone(),
            ports: self.port.clone(),
            entries: self.entry.iter().map(ToString::to_string).collect(),
        }
    }

    /// These, or where nothing at all was given, those that were recorded. What cannot be understood was not written by
    /// any version so far, and asks for nothing.
    #[must_use]
    pub fn or_recorded(&self, recorded: &ViewWish) -> Self {
        let given = self.wish();
        if given != Self::default().wish() {
            return Self::from(&given);
        }
        Self::from(recorded)
    }
}

impl From<&ViewWish> for SelectArgs {
    fn from(wish: &ViewWish) -> Self {
        Self {
            pid: wish.tgids.clone(),
            comm: wish.comms.clone(),
            cgroup: wish.cgroups.clone(),
            unit: wish.units.clone(),
            container: wish.containers.clone(),
            port: wish.ports.clone(),
            group_by: Grouping::from_str(&wish.group_by, true).unwrap_or_default(),
            entry: wish
                .entries
                .iter()
                .filter_map(|entry| entry.parse().ok())
                .collect(),
        }
    }
}

/// A duration in nanoseconds.
#[must_use]
pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A size with its unit (`500MB`, `2GiB`), or a number of bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let size: bytesize::ByteSize = text
        .parse()
        .map_err(|_| "give a size as in 500MB, 2GB, 1GiB".to_owned())?;
    if size.as_u64() < MIN_SIZE_BYTES {
        return Err("it must be at least 1MiB".to_owned());
    }
    Ok(size.as_u64())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        cli::args::{Cli, Command},
        model::GroupBy,
    };

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    fn record(line: &str) -> RecordArgs {
        match parse(line).unwrap().command {
            Some(Command::Record(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    fn replay(line: &str) -> ReplayArgs {
        match parse(line).unwrap().command {
            Some(Command::Replay(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sizes_have_units_or_are_bytes() {
        assert_eq!(size("2GB"), Ok(2_000_000_000));
        assert_eq!(size("2gib"), Ok(2 << 30));
        assert_eq!(size("5000000"), Ok(5_000_000));
        for bad in ["2", "0", "1kB", "-1GB", "big", ""] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bounds_are_there_if_asked_for() {
        assert_eq!(record("courtside record -o x").bounds(), None);
        let args = record("courtside record -o x --retain 1h --size-limit 2GB -- sleep 1 -o y");
        let bounds = args.bounds().unwrap();
        assert_eq!(bounds.retain_ns, Some(3_600_000_000_000));
        assert_eq!(bounds.size_bytes, Some(2_000_000_000));
        assert_eq!(args.command.len(), 4);
    }

    #[test]
    fn a_recording_is_shown_as_it_was_asked_for_unless_something_else_is() {
        let recorded = record(
            "courtside record -o x -p 1 -n a* --cgroup /c --unit u --container c --port 80 --group-by unit --entry w:80",
        );
        let wish = recorded.select.wish();
        let plain = replay("courtside replay x").select.or_recorded(&wish);
        assert_eq!(plain.view(), recorded.select.view());
        // And judged by the same rules as what is measured now.
        assert_eq!(plain.view().judge, crate::analysis::findings::judge());
        let other = replay("courtside replay x -p 7")
            .select
            .or_recorded(&wish)
            .view();
        assert_eq!(other.selection.tgids, [7]);
        assert!(other.selection.comms.is_empty());
        assert_eq!(other.group_by, GroupBy::Auto);
        let unknown = ViewWish::default();
        let plain = replay("courtside replay x").select.or_recorded(&unknown);
        assert_eq!(plain.view(), SelectArgs::default().view());
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "courtside record",
            "courtside record -o x --retain soon",
            "courtside record -o x --size-limit 1",
            "courtside record -o x sleep 1",
            "courtside replay",
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
