//! What can be written after `serve`.
//!
//! In: nothing. Out: the parsed arguments. Must not know: what is done with them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use clap::Args;

use super::{MeasureArgs, SelectArgs, WatchArgs, exports::host, measured, recordings::size, time};
use crate::record::Bounds;

pub(in crate::cli) const SERVE_EXAMPLES: &str = "\
Examples:
  sudo courtside serve                             http://127.0.0.1:9464/metrics, for Prometheus on this host
  sudo courtside serve --listen 127.0.0.1:9999 --unit nginx.service
  sudo courtside serve --listen 0.0.0.0:9464 --token-file token --tls-cert cert.pem --tls-key key.pem
                                                   for others, who have to know the token
  sudo courtside serve --record /var/lib/courtside --retain 2h --size-limit 1GB
                                                   and a flight recorder beside
  sudo courtside serve --export /var/lib/courtside/export
                                                   and each finished hour as Parquet, for questions over many hosts
  sudo courtside serve --otlp http://127.0.0.1:4318
                                                   and the same numbers to an OpenTelemetry collector
  sudo courtside serve --guard --spec usual.json --act dry-run --allow 'batch*'
                                                   and who slows whom, and what could be done about it
  sudo courtside serve --config /etc/courtside/courtside.toml
                                                   with options from a file
  curl -s http://127.0.0.1:9464/findings           what is wrong now

  /metrics   counters since the agent began: Prometheus' text format, or OpenMetrics by Accept
  /snapshot  the last window, as stat --json prints it
  /findings  what is wrong in it
  /interference  who slows whom, as guard prints it (with --guard)
  /status    how the agent is: windows, losses, probes, series, recording
  /healthz   200 while windows come in time, else 503; it asks for no token

Counters never go back while the agent lives, and their sums over all series are what the windows add
up to, exactly. The components that do most, as many as --top allows, have series of their own; all
others are in the label other. If a component is gone, its series stay for the time of --linger and
go into other then. No process id is a label, so there is no --group-by process.

With --export each hour that has ended (UTC) is written as host=NAME/hour=YYYYMMDDTHH/TABLE-FIRST-LAST.parquet,
the tables of export -F parquet, and when the agent ends what there is of the present hour. Files have their
names when they are whole, and none is ever replaced. What cannot be written is lost, and counted in
courtside_export_lost_windows_total; measuring goes on.

It listens on this host only, unless there is a token. At most 64 connections are open at once;
requests have to be small, and readers may not be slow. The metrics are in docs/prometheus.md.";

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Take options from this file, too: the long names of options, as TOML. What is typed is stronger
    #[arg(long, value_name = "FILE", help_heading = "Serving")]
    pub config: Option<PathBuf>,
    /// Listen on this address and port; other addresses than those of this host itself need --token-file
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen, default_value = "127.0.0.1:9464", help_heading = "Serving")]
    pub listen: SocketAddr,
    /// Answer only those who send the token in this file (Authorization: Bearer TOKEN)
    #[arg(long, value_name = "FILE", help_heading = "Serving")]
    pub token_file: Option<PathBuf>,
    /// Speak TLS, with the certificates in this file (PEM)
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "Serving"
    )]
    pub tls_cert: Option<PathBuf>,
    /// The private key that belongs to the certificate (PEM)
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "Serving"
    )]
    pub tls_key: Option<PathBuf>,
    /// How many components have series of their own, and four times as many edges; all others are in the label other
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "50",
        help_heading = "Serving"
    )]
    pub top: NonZeroUsize,
    /// Tell native histograms to scrapers that take protobuf; all others get classic ones, whose buckets are a factor of two apart
    #[arg(long, help_heading = "Serving")]
    pub native_histograms: bool,
    /// How long the series of a component that is gone are kept; at least as long as Prometheus waits between two scrapes
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1m", help_heading = "Serving")]
    pub linger: Duration,
    /// Record into a new file in this folder, too: the newest time only, bounded by --retain and --size-limit
    #[arg(long, value_name = "FOLDER", help_heading = "Recording")]
    pub record: Option<PathBuf>,
    /// Keep at least this much of the newest time, at most twice as much
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1h", requires = "record", help_heading = "Recording")]
    pub retain: Duration,
    /// Keep at most this size, at least half of it
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1GB", requires = "record", help_heading = "Recording")]
    pub size_limit: u64,
    /// Write each hour that has ended as Parquet below this folder: host=NAME/hour=YYYYMMDDTHH, in UTC
    #[arg(long, value_name = "FOLDER", help_heading = "Exporting")]
    pub export: Option<PathBuf>,
    /// What this host is called there [default: its name]
    #[arg(long, value_name = "NAME", value_parser = host, requires = "export", help_heading = "Exporting")]
    pub host: Option<String>,
    /// Push the numbers of /metrics to this collector, by OpenTelemetry's protocol (http/protobuf): http://HOST:4318, or https
    #[arg(long, value_name = "URL", help_heading = "Pushing")]
    pub otlp: Option<String>,
    /// Time from one push to the next
    #[arg(long, value_name = "TIME", value_parser = measured, default_value = "10s", requires = "otlp", help_heading = "Pushing")]
    pub otlp_every: Duration,
    /// Whom to trust, with https: the certificates in this file (PEM) [default: /etc/ssl/certs/ca-certificates.crt]
    #[arg(long, value_name = "FILE", requires = "otlp", help_heading = "Pushing")]
    pub otlp_ca: Option<PathBuf>,
    /// Send the token in this file to the collector (Authorization: Bearer TOKEN)
    #[arg(long, value_name = "FILE", requires = "otlp", help_heading = "Pushing")]
    pub otlp_token_file: Option<PathBuf>,
    /// Judge each window, too: who slows a service (courtside guard); told at /interference and in the metrics
    #[arg(long, help_heading = "Judging")]
    pub guard: bool,
    /// How to judge, and what to do.
    #[command(flatten)]
    pub watch: WatchArgs,
    /// Which components are told of; a recording has all of them, and to guard everybody stays a suspect.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to measure.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Length of a window, at least 10ms
    #[arg(short, long, value_name = "TIME", value_parser = measured, default_value = "1s", help_heading = "Measuring")]
    pub interval: Duration,
    /// End after this time [default: at Ctrl-C or SIGTERM]
    #[arg(short, long, value_name = "TIME", value_parser = time, help_heading = "Measuring")]
    pub duration: Option<Duration>,
}

impl ServeArgs {
    /// How much of a recording is kept.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds {
            retain_ns: Some(super::nanoseconds(self.retain)),
            size_bytes: Some(self.size_limit),
        }
    }
}

/// An address and a port; `localhost` is this host itself.
fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:") {
        let port: u16 = port.parse().map_err(|_| format!("{port} is no port"))?;
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let parsed = text.parse();
    parsed.map_err(|_| "give an address and a port, as in 127.0.0.1:9464 or [::1]:9464".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn serve(line: &str) -> Result<ServeArgs, clap::Error> {
        let cli = Cli::try_parse_from(line.split_whitespace())?;
        match cli.command {
            Some(Command::Serve(args)) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_options_it_is_for_this_host_only() {
        let args = serve("courtside serve").unwrap();
        assert_eq!(args.listen, "127.0.0.1:9464".parse().unwrap());
        assert_eq!((args.top.get(), args.linger), (50, Duration::from_secs(60)));
        assert!(args.record.is_none() && args.token_file.is_none());
        assert_eq!(args.interval, Duration::from_secs(1));
        let args = serve("courtside serve --listen localhost:80").unwrap();
        assert_eq!(args.listen, "127.0.0.1:80".parse().unwrap());
        assert!(serve("courtside serve --listen [::1]:80").is_ok());
    }

    #[test]
    fn it_judges_only_if_it_is_asked_to() {
        assert!(!serve("courtside serve").unwrap().guard);
        let args = serve("courtside serve --guard --spec x.json --act dry-run --allow a*").unwrap();
        assert!(args.guard);
        assert_eq!(args.watch.allow, ["a*"]);
    }

    #[test]
    fn a_recording_is_bounded() {
        let args = serve("courtside serve --record /x --retain 2h --size-limit 2GB").unwrap();
        let bounds = args.bounds();
        assert_eq!(bounds.retain_ns, Some(7_200_000_000_000));
        assert_eq!(bounds.size_bytes, Some(2_000_000_000));
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "courtside serve --listen 80",
            "courtside serve --listen web:80",
            "courtside serve --listen localhost:x",
            "courtside serve --top 0",
            "courtside serve --tls-cert x",
            "courtside serve --tls-key x",
            "courtside serve --retain 1h",
            "courtside serve --size-limit 1",
            "courtside serve --host web01",
            "courtside serve --otlp-every 5s",
            "courtside serve --otlp-ca x",
            "courtside serve --export x --host a/b",
            "courtside serve --export x --host ..",
            "courtside serve --guard --cap 0",
            "courtside serve something",
        ] {
            assert_eq!(serve(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
