//! `fleet synth`: a fleet that was made up, in the layout of agents, and the answers that its questions have.
//!
//! In: how many hosts and hours, a seed. Out: the files that agents of such hosts would have written, by the same writer, and the
//! answers. Must not know: how a question is answered.

mod answers;
mod host;
mod world;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    num::NonZero,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use courtside_export::{Piece, parquet::Parquet};

use crate::progress;
use answers::Answers;
use world::{HOUR_NS, World};

/// Arguments of `synth`.
#[derive(Clone, Debug, Args)]
pub struct SynthArgs {
    /// Hosts
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(5..=60_000))]
    pub hosts: u32,
    /// Hours
    #[arg(long, value_name = "H", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8784))]
    pub hours: u32,
    /// The same seed makes the same fleet
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Seconds of a window
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=360))]
    pub interval: u32,
    /// Write to this folder, which is made; it must not be there or be empty
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Write what the questions have to answer to this file
    #[arg(long, value_name = "FILE.json")]
    pub answers: Option<PathBuf>,
}

/// The first hour: 2026-01-05, 00:00 UTC.
const FIRST_HOUR: u64 = 1_767_571_200 / 3600;
/// Cells that wait to be written, of all tables of a host.
const MOST_CELLS: usize = 400_000;

/// Makes up a fleet.
///
/// # Errors
/// It cannot be written.
pub(crate) fn run(args: &SynthArgs) -> anyhow::Result<()> {
    let interval_ns = u64::from(args.interval) * 1_000_000_000;
    ensure!(
        HOUR_NS.is_multiple_of(interval_ns),
        "windows of {} s do not fill an hour: take 1, 10, 30 or 60",
        args.interval
    );
    let hosts = usize::try_from(args.hosts)?;
    let world = World::new(hosts, args.hours.into(), args.seed, FIRST_HOUR, interval_ns);
    let folder = &args.output;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    if fs::read_dir(folder)?.next().is_some() {
        bail!(
            "{} is not empty: name another folder, or empty it",
            folder.display()
        );
    }
    let mut links: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, link) in world.links.iter().enumerate() {
        for end in [Some(link.from), link.to].into_iter().flatten() {
            links.entry(end).or_default().push(at);
        }
    }
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= world.hosts.len() {
                    return anyhow::Ok(());
                }
                progress::hosts("wrote", number, world.hosts.len());
                let own = links.get(&number).map_or(&[][..], Vec::as_slice);
                host(&world, number, own, folder)?;
            }
        };
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        started
            .into_iter()
            .try_for_each(|thread| match thread.join() {
                Ok(done) => done,
                Err(_) => bail!("a thread that wrote failed"),
            })
    })?;
    progress::end();
    let file = folder.join("hosts");
    fs::write(&file, answers::hosts_file(&world))
        .with_context(|| format!("cannot write {}", file.display()))?;
    if let Some(file) = &args.answers {
        let text = serde_json::to_string_pretty(&Answers::of(&world))?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// All hours of one host.
fn host(world: &World, number: usize, links: &[usize], folder: &Path) -> anyhow::Result<()> {
    let Some(host) = world.hosts.get(number) else {
        return Ok(());
    };
    let folder = folder.join(format!("host={}", host.name));
    for hour in 0..world.hours {
        let at = world.start_unix_ns / HOUR_NS + hour;
        let place = folder.join(format!("hour={}", hour_name(at)));
        fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
        let mut tables = Parquet::within(MOST_CELLS)?;
        let mut files = Files {
            place,
            last: world.windows_per_hour - 1,
            open: BTreeMap::new(),
        };
        for within in 0..world.windows_per_hour {
            let window = hour * world.windows_per_hour + within;
            let snapshot = host::window(world, number, host, links, window);
            files.add(tables.add(within, &snapshot)?)?;
        }
        files.add(tables.finish()?)?;
    }
    Ok(())
}

/// The files of an hour.
struct Files {
    place: PathBuf,
    last: u64,
    open: BTreeMap<String, File>,
}

impl Files {
    fn add(&mut self, pieces: Vec<Piece>) -> anyhow::Result<()> {
        for piece in pieces {
            let table = piece.file.trim_end_matches(".parquet");
            let path = self
                .place
                .join(format!("{table}-000000-{:06}.parquet", self.last));
            let cannot = || format!("cannot write {}", path.display());
            let file = match self.open.entry(piece.file) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(File::create(&path).with_context(cannot)?)
                }
            };
            file.write_all(&piece.bytes).with_context(cannot)?;
        }
        Ok(())
    }
}

/// An hour since 1970 as a name: `20261130T06`.
fn hour_name(at: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(at.saturating_mul(3600));
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let digits = text.chars().filter(|c| !matches!(c, '-' | ':'));
    digits.take("YYYYMMDDTHH".len()).collect()
}
