//! `serve`: an agent without a screen that answers over HTTP.
//!
//! In: what to measure, where to listen, who may ask. Out: answers until a signal; one line on stdout that says where.
//! Must not know: what is answered, how anything is measured.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    thread,
    time::SystemTime,
};

use anyhow::{Context, anyhow, ensure};
use clap::{CommandFactory, error::ErrorKind};
use courtside_agent::{
    hours::Hours,
    keeper::{Keeper, stamp},
    measure::Kernel,
    recorder::Shared,
    serve::{self, Begun, Collector, Export, Guarding, Options, Push, Recording, Token},
};

use super::{
    args::{Cli, ServeArgs},
    guard::Watching,
    record::{self, Files},
    report_probes, target,
};
use crate::{frame::ProbeStatus, model::GroupBy, sys::privileges};

/// Those who are trusted by this host, on most systems.
const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Longer files are no tokens, certificates or keys.
const MOST_BYTES: u64 = 1 << 20;

pub(super) fn run(args: &ServeArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    let address = args.listen;
    if !address.ip().to_canonical().is_loopback() && args.token_file.is_none() {
        let why = format!(
            "whoever reaches {address} could read what runs on this host: give a token with --token-file FILE, or listen \
             on this host only with --listen 127.0.0.1:{}",
            address.port()
        );
        return wrong_usage(ErrorKind::MissingRequiredArgument, &why);
    }
    let view = args.select.view();
    if view.group_by == GroupBy::Process {
        let why = "with --group-by process there would be new series for each process that begins, and process ids for labels: \
                   leave it out, or choose another, such as --group-by comm";
        return wrong_usage(ErrorKind::InvalidValue, why);
    }
    if let (false, Some(option)) = (args.guard, args.watch.first_given()) {
        let why = format!("{option} is for a guard: give --guard, too");
        return wrong_usage(ErrorKind::MissingRequiredArgument, &why);
    }
    target::check(root, &view)?;
    let token = args.token_file.as_deref().map(token).transpose()?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => {
            let read = serve::tls(&read(certificate)?, &read(key)?);
            Some(read.with_context(|| format!("{} and {}", certificate.display(), key.display()))?)
        }
        _ => None,
    };
    let push = push(args)?;
    // Known before anything is attached.
    let (listener, address) = listen(address)?;
    let hours = args.export.as_deref();
    let hours = hours.map(|folder| Hours::open(folder, args.host.clone()));
    let hours = hours.transpose()?;
    // While there are privileges, and before anything is attached.
    let watching = args
        .guard
        .then(|| Watching::begin(&args.watch, &view, root));
    let watching = watching.transpose()?.map(|(watching, _)| watching);
    let mut files = args.record.as_deref().map(Recorded::open).transpose()?;
    let attached = kernel
        .attach(&args.measure.wishes())
        .and_then(|measurement| {
            report_probes(measurement.probes(), args.measure.verbose);
            let recording = match &mut files {
                Some(files) => Some(files.begin(args, measurement.probes(), root)?),
                None => None,
            };
            Ok((measurement, recording))
        });
    if attached.is_err()
        && let Some(files) = &mut files
    {
        files.files.discard();
    }
    let (measurement, recording) = attached?;
    let export = match hours {
        // Begun while there still are privileges, to act as the owner of the folder.
        Some(hours) => Some(Export {
            keeper: Keeper::start(&hours.path(), root)?,
            hours,
        }),
        None => None,
    };
    kernel.drop_privileges()?;
    if tls.is_none() && token.is_some() && !address.ip().to_canonical().is_loopback() {
        let _ = writeln!(
            io::stderr(),
            "courtside: without TLS the token can be read on its way; give --tls-cert and --tls-key"
        );
    }
    let guard = watching.map(|watching| {
        watching.say_how_it_learns(&args.watch);
        Guarding {
            guards: Box::new(watching),
            begun: Begun {
                act: args.watch.act.name().to_owned(),
                spec: args
                    .watch
                    .judge
                    .spec
                    .as_ref()
                    .map(|path| path.display().to_string()),
            },
        }
    });
    let scheme = if tls.is_some() { "https" } else { "http" };
    // Whoever does not read this knows it already.
    let _ = writeln!(io::stdout(), "serving {scheme}://{address}/metrics")
        .and_then(|()| io::stdout().flush());
    let options = Options {
        interval: args.interval,
        view,
        top: args.top.get(),
        native_histograms: args.native_histograms,
        linger: args.linger,
        duration: args.duration,
        token,
        tls,
        recording,
        export,
        push,
        guard,
    };
    serve::run(listener, measurement, options)?;
    Ok(0)
}

fn wrong_usage(kind: ErrorKind, what: &str) -> anyhow::Result<u8> {
    let mut command = Cli::command();
    command.build();
    let serve = command.find_subcommand_mut("serve");
    let error = serve
        .context("there is no command serve")?
        .error(kind, what);
    // Nothing can be done about a terminal that does not take the message.
    let _ = error.print();
    Ok(2)
}

/// The socket, and where it really listens: port 0 is any that is free.
fn listen(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.with_context(|| {
        format!(
            "cannot listen on {address}; see who does with: ss -ltnp 'sport = :{}', or choose another port with: --listen",
            address.port()
        )
    })
}

/// Where the totals are pushed to.
fn push(args: &ServeArgs) -> anyhow::Result<Option<Push>> {
    let Some(url) = &args.otlp else {
        return Ok(None);
    };
    let trusted = args.otlp_ca.as_deref().unwrap_or(Path::new(TRUSTED));
    let token = match &args.otlp_token_file {
        Some(path) => Some(token(path)?),
        None => None,
    };
    Ok(Some(Push {
        to: Collector::parse(url, || read(trusted))?,
        every: args.otlp_every,
        token,
    }))
}

fn token(path: &Path) -> anyhow::Result<Token> {
    let text = String::from_utf8(read(path)?)
        .map_err(|_| anyhow!("the token in {} is no text", path.display()))?;
    Token::parse(&text).map_err(|why| anyhow!("no token in {}: {why}", path.display()))
}

/// A file as its owner may read it, or else as whoever calls may: the privileges are for measuring.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let body = || -> anyhow::Result<Vec<u8>> {
        if rustix::process::getuid().is_root() {
            privileges::act_as_owner_of(path);
        }
        privileges::give_up()?;
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        ensure!(bytes.len() as u64 <= MOST_BYTES, "it is too long");
        Ok(bytes)
    };
    let read = thread::scope(|scope| {
        let thread = thread::Builder::new().name("read".to_owned());
        let reading = thread
            .spawn_scoped(scope, body)
            .context("cannot start a thread; raise the limit of threads (ulimit -u)")?;
        // A panic has already been reported by the panic hook.
        let read = reading.join();
        read.map_err(|_| anyhow!("the thread that reads it has ended"))?
    });
    read.with_context(|| format!("cannot read {}", path.display()))
}

/// The files of a recording beside.
struct Recorded {
    files: Files,
    name: String,
}

impl Recorded {
    /// New ones, named after the time: what an agent before this one recorded stays.
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(format!("courtside-{}.rec", stamp(SystemTime::now())));
        Ok(Self {
            files: Files::open(&path, false, true)?,
            name: path.display().to_string(),
        })
    }

    fn begin(
        &mut self,
        args: &ServeArgs,
        probes: &[ProbeStatus],
        root: &Path,
    ) -> anyhow::Result<Recording> {
        let header = record::header(&args.select, args.interval, &[], probes, root);
        let recorder = Shared::default();
        let begun = self.files.recorder(&header, args.bounds());
        begun
            .and_then(|begun| Ok(recorder.begin(begun)?))
            .with_context(|| format!("recording {}", self.name))?;
        Ok(Recording {
            recorder,
            file: self.name.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use courtside_agent::measure::Measurement;

    use super::*;
    use crate::collect::Wishes;

    /// A kernel that must not be asked.
    struct Untouched;

    impl Kernel for Untouched {
        fn attach(&self, _: &Wishes) -> anyhow::Result<Box<dyn Measurement>> {
            anyhow::bail!("attached")
        }

        fn drop_privileges(&self) -> anyhow::Result<()> {
            Ok(())
        }
    }

    fn told(line: &str) -> anyhow::Result<u8> {
        use clap::Parser as _;

        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        match cli.command {
            Some(super::super::args::Command::Serve(args)) => {
                run(&args, &Untouched, Path::new("/"))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn others_are_not_let_in_without_a_token() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            assert_eq!(
                told(&format!("courtside serve --listen {address}")).unwrap(),
                2
            );
        }
        for address in ["127.0.0.1:0", "127.8.9.1:0", "[::ffff:127.0.0.1]:0"] {
            let said = told(&format!("courtside serve --listen {address}"));
            assert!(said.is_err(), "{address}");
        }
    }

    #[test]
    fn process_ids_are_no_labels() {
        let line = "courtside serve --listen 127.0.0.1:0 --group-by";
        assert_eq!(told(&format!("{line} process")).unwrap(), 2);
        let said = told(&format!("{line} comm")).unwrap_err();
        assert_eq!(said.to_string(), "attached");
    }

    #[test]
    fn what_is_for_a_guard_is_refused_without_one() {
        let line = "courtside serve --listen 127.0.0.1:0";
        for option in [
            "--spec x.json",
            "--mode paper",
            "--min-samples 3",
            "--act cap",
            "--allow x",
            "--cap 0.1",
            "--state /x",
        ] {
            assert_eq!(told(&format!("{line} {option}")).unwrap(), 2, "{option}");
        }
    }

    #[test]
    fn one_guard_is_at_work_whether_it_serves_or_not_and_its_spec_has_to_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let shown = folder.path().display();
        let line = format!("courtside serve --listen 127.0.0.1:0 --guard --state {shown}");
        let said = told(&line).unwrap_err();
        assert_eq!(said.to_string(), "attached");
        let said = format!(
            "{:#}",
            told(&format!("{line} --spec /nowhere")).unwrap_err()
        );
        assert!(said.contains("cannot read /nowhere"), "{said}");
        let args = super::super::args::StateArgs {
            state: Some(folder.path().to_owned()),
        };
        let folder = super::super::guard::state::folder(&args, Path::new("/")).unwrap();
        let _other = super::super::guard::state::lock(&folder).unwrap();
        let said = format!("{:#}", told(&line).unwrap_err());
        assert!(said.contains("another guard is at work"), "{said}");
    }

    #[test]
    fn a_port_in_use_is_told_before_anything_is_attached() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = told(&format!("courtside serve --listen 127.0.0.1:{port}")).unwrap_err();
        let said = super::super::in_one_line(&error);
        assert!(
            said.contains("in use") && said.contains("ss -ltnp"),
            "{said}"
        );
    }

    #[test]
    fn what_is_no_token_or_no_certificate_is_told_and_its_text_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let shown = path.display();
        let line = format!("courtside serve --listen 127.0.0.1:0 --token-file {shown}");
        assert!(told(&line).unwrap_err().to_string().contains("cannot read"));
        std::fs::write(&path, "abc").unwrap();
        let said = told(&line).unwrap_err().to_string();
        assert!(
            said.contains("at least 8") && !said.contains("abc"),
            "{said}"
        );
        let line =
            format!("courtside serve --listen 127.0.0.1:0 --tls-cert {shown} --tls-key {shown}");
        let said = format!("{:#}", told(&line).unwrap_err());
        assert!(said.contains("certificate"), "{said}");
    }

    #[test]
    fn a_collector_has_a_url_and_for_tls_somebody_who_is_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let none = folder.path().join("none");
        std::fs::write(&none, "nonsense").unwrap();
        let line = "courtside serve --listen 127.0.0.1:0 --otlp";
        let untrusted = format!("https://x --otlp-ca {}", none.display());
        for (more, words) in [
            ("ftp://x", "no URL of a collector"),
            ("localhost:4318", "no URL"),
            ("http://me:secret@x", "in a file"),
            (untrusted.as_str(), "no certificate"),
            ("https://x --otlp-ca /nowhere", "cannot read /nowhere"),
            ("http://127.0.0.1", "attached"),
            ("http://[::1]:4318/x", "attached"),
        ] {
            let said = format!("{:#}", told(&format!("{line} {more}")).unwrap_err());
            assert!(said.contains(words), "{more}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn an_export_needs_a_folder_that_can_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "").unwrap();
        let line = "courtside serve --listen 127.0.0.1:0 --export";
        let said = format!(
            "{:#}",
            told(&format!("{line} {}/x", path.display())).unwrap_err()
        );
        assert!(said.contains("cannot open the folder"), "{said}");
        let new = folder.path().join("a/b");
        let said = told(&format!("{line} {}", new.display())).unwrap_err();
        assert_eq!(said.to_string(), "attached");
        assert!(new.is_dir());
    }

    #[test]
    fn what_was_created_for_a_recording_goes_again_if_nothing_is_attached() {
        let folder = tempfile::tempdir().unwrap();
        let shown = folder.path().display();
        let error = told(&format!(
            "courtside serve --listen 127.0.0.1:0 --record {shown}"
        ));
        assert_eq!(error.unwrap_err().to_string(), "attached");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
