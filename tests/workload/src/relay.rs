//! Relay: load → web → app → store, a chain of processes that know where their time went.
//!
//! In: the work of each tier, how the tiers are joined, how many requests. Out: what each tier truly did.
//! Must not know: how work is done (that is `work`).

use std::{
    env,
    io::Read as _,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use socket2::Socket;

use super::{
    Role,
    burn::Hog,
    clock::{monotonic_ns, pin, sleep_until},
    line::{Line, Variant},
    ping_pong::joined,
    process::{Hears, Stage, say},
    socket::{Address, Transport},
    work::{Disk, Spent, Work, Worker},
};

const REQUEST_BYTES: usize = 200;
const REPLY_BYTES: usize = 1000;

/// A chain of tiers.
#[derive(Clone, Debug, Args)]
pub struct Relay {
    /// Requests in all.
    #[arg(long, default_value_t = 200)]
    requests: u64,
    /// Clients, each with one request outstanding.
    #[arg(long, default_value_t = 1)]
    clients: u64,
    /// Requests a second in all, paced; as fast as answers come if not given.
    #[arg(long)]
    rate: Option<u32>,
    /// Run until SIGTERM or SIGINT: prints `ready`, then 100 requests a second unless `--rate` says otherwise.
    #[arg(long, conflicts_with = "requests")]
    serve: bool,
    /// Work of the first tier.
    #[arg(long, default_value = "spin=1ms,sleep=0.5ms,calls=2")]
    web: Work,
    /// Work of the second tier.
    #[arg(long, default_value = "spin=0.5ms,sleep=0.5ms,lock=0.3ms,calls=3")]
    app: Work,
    /// Work of the third tier.
    #[arg(long, default_value = "spin=0.1ms,disk=1")]
    store: Work,
    /// Transports of load→web, web→app, app→store.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["tcp4", "tcp4", "unix-stream"])]
    hops: Vec<Transport>,
    /// Bind the tiers (not the load) to this CPU.
    #[arg(long)]
    core: Option<usize>,
    /// Keep that CPU busy with a process called `hog`.
    #[arg(long, requires = "core")]
    hog: bool,
    /// Directory on a disk, for the files that are read; that of this program if not given.
    #[arg(long)]
    disk_dir: Option<PathBuf>,
    /// The processes are called web…, app…, store…, load… with this at the end.
    #[arg(long, default_value = "")]
    suffix: String,
}

/// A tier's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tier {
    name: String,
    work: Work,
    transport: Transport,
    callers: u64,
    next: Option<(Transport, Address)>,
    dir: PathBuf,
    disk_dir: PathBuf,
    core: Option<usize>,
}

/// The load's part.
#[derive(Debug, Serialize, Deserialize)]
pub struct Load {
    transport: Transport,
    server: Address,
    clients: u64,
    /// Until stdin ends if not given.
    requests: Option<u64>,
    rate: Option<u32>,
}

/// What a tier did.
#[derive(Debug, Default, Serialize, Deserialize)]
struct TierDone {
    name: String,
    tgid: u32,
    port: u16,
    threads: u64,
    requests: u64,
    calls: u64,
    /// From after the receive of a request to before the send of its reply.
    service_sum_ns: u64,
    /// Turnarounds that ended in a call to the next tier.
    to_next: Spent,
    /// Turnarounds that ended in a reply.
    to_caller: Spent,
}

/// What the load did.
#[derive(Debug, Default, Serialize, Deserialize)]
struct LoadDone {
    tgid: u32,
    requests: u64,
    latency_sum_ns: u64,
    wall_ns: u64,
}

impl Relay {
    /// Runs the chain and says what each tier did.
    ///
    /// # Errors
    /// When a process fails.
    pub fn run(mut self) -> anyhow::Result<()> {
        let &[first, second, third] = self.hops.as_slice() else {
            bail!("three hops are needed");
        };
        ensure!(
            self.hops.iter().all(|hop| hop.accepts()),
            "tiers are joined by transports that accept connections"
        );
        self.store.calls = 0;
        let (stage, stop) = if self.serve {
            (Stage::new()?, Some(Signals::new([SIGTERM, SIGINT])?))
        } else {
            (Stage::until_signal()?, None)
        };
        let hog = match self.core.filter(|_| self.hog) {
            Some(core) => Some(stage.start(
                &self.called("hog"),
                Role::Hog(Hog::endless(core)),
                Hears::Nothing,
            )?),
            None => None,
        };
        let mut tiers = Vec::new();
        let mut next = None;
        for (name, work, transport) in [
            ("store", self.store, third),
            ("app", self.app, second),
            ("web", self.web, first),
        ] {
            let tier = self.tier(name, work, transport, next.take(), &stage)?;
            let mut player =
                stage.start(&self.called(name), Role::RelayTier(tier), Hears::Nothing)?;
            let address: Address = player.hear()?;
            tiers.push((player, address.port()));
            next = Some((transport, address));
        }
        let (transport, server) = next.context("no tier was started")?;
        let load = Load {
            transport,
            server,
            clients: self.clients,
            requests: stop.is_none().then_some(self.requests),
            rate: self.rate.or(stop.is_some().then_some(100)),
        };
        let mut load = stage.start(&self.called("load"), Role::RelayLoad(load), Hears::Us)?;
        if let Some(mut stop) = stop {
            println!("ready");
            stop.forever().next();
            load.stop_talking();
        }
        let load_tgid = load.tgid();
        let mut load: LoadDone = load.last_words()?;
        load.tgid = load_tgid;
        let mut done = Vec::new();
        for (player, port) in tiers.into_iter().rev() {
            let tgid = player.tgid();
            let mut tier: TierDone = player.last_words()?;
            (tier.tgid, tier.port) = (tgid, port);
            done.push(tier);
        }
        drop(hog);
        say(&serde_json::json!({ "workload": "relay", "load": load, "tiers": done }))
    }

    fn called(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }

    fn tier(
        &self,
        name: &str,
        work: Work,
        transport: Transport,
        next: Option<(Transport, Address)>,
        stage: &Stage,
    ) -> anyhow::Result<Tier> {
        let disk_dir = match &self.disk_dir {
            Some(dir) => dir.clone(),
            None => env::current_exe()?
                .parent()
                .context("program without a directory")?
                .to_owned(),
        };
        Ok(Tier {
            name: self.called(name),
            work,
            transport,
            callers: self.clients,
            next,
            dir: stage.dir().to_owned(),
            disk_dir,
            core: self.core,
        })
    }
}

impl Tier {
    /// Serves every caller to its end, a thread for each.
    ///
    /// # Errors
    /// When a neighbour breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        if let Some(core) = self.core {
            pin(core)?;
        }
        let (listener, address) = self.transport.listen(&self.dir, &self.name)?;
        let disks = (0..self.callers)
            .map(|_| self.work.disk_in(&self.disk_dir))
            .collect::<anyhow::Result<Vec<_>>>()?;
        say(&address)?;
        let mut all = TierDone {
            name: self.name.clone(),
            threads: self.callers,
            ..TierDone::default()
        };
        let done = thread::scope(|scope| {
            let serving = (0..)
                .zip(disks)
                .map(|(number, disk)| {
                    let (tier, caller) = (&self, self.transport.accept(&listener)?);
                    Ok(scope.spawn(move || tier.serve(caller, number, disk)))
                })
                .collect::<anyhow::Result<Vec<_>>>()?;
            serving
                .into_iter()
                .map(|thread| joined(thread.join()))
                .collect::<anyhow::Result<Vec<_>>>()
        })?;
        for one in done {
            all.requests += one.requests;
            all.calls += one.calls;
            all.service_sum_ns += one.service_sum_ns;
            all.to_next.add(&one.to_next);
            all.to_caller.add(&one.to_caller);
        }
        say(&all)
    }

    /// Answers one caller until it closes.
    fn serve(&self, caller: Socket, number: u64, disk: Option<Disk>) -> anyhow::Result<TierDone> {
        let line = |socket, transport| Line::new(socket, transport, Variant::Plain);
        let mut caller = line(caller, self.transport)?;
        let mut next = match &self.next {
            Some((transport, address)) => {
                let socket = transport.connect(address, &format!("caller-{number}"))?;
                Some(line(socket, *transport)?)
            }
            None => None,
        };
        let mut worker = Worker::new(&self.work, disk)?;
        let mut done = TierDone::default();
        let slices = self.work.calls + 1;
        while caller.receive(REQUEST_BYTES)? {
            let received_ns = monotonic_ns();
            let mut prompt_ns = caller.stamped_ns();
            for _ in 0..self.work.calls {
                let next = next.as_mut().context("no tier to call")?;
                worker.work(&self.work.slice(slices, false))?;
                next.stamp();
                let spent = worker.send(prompt_ns, || Ok(next.send(REQUEST_BYTES)?))?;
                done.to_next.add(&spent);
                ensure!(next.receive(REPLY_BYTES)?, "the next tier closed");
                prompt_ns = next.stamped_ns();
                done.calls += 1;
            }
            worker.work(&self.work.slice(slices, true))?;
            done.service_sum_ns += monotonic_ns() - received_ns;
            caller.stamp();
            let spent = worker.send(prompt_ns, || Ok(caller.send(REPLY_BYTES)?))?;
            done.to_caller.add(&spent);
            done.requests += 1;
        }
        Ok(done)
    }
}

impl Load {
    /// Asks until all is asked, or until stdin ends.
    ///
    /// # Errors
    /// When the first tier breaks off.
    pub fn play(self) -> anyhow::Result<()> {
        let stop = AtomicBool::new(false);
        let start_ns = monotonic_ns();
        let mut all = LoadDone::default();
        let done = thread::scope(|scope| {
            let asking = (0..self.clients)
                .map(|number| {
                    scope.spawn({
                        let (load, stop) = (&self, &stop);
                        move || load.ask(number, start_ns, stop)
                    })
                })
                .collect::<Vec<_>>();
            if self.requests.is_none() {
                // Whatever ends the reading, there is nobody left to load for.
                let _ = std::io::stdin().read_to_end(&mut Vec::new());
                stop.store(true, Ordering::Relaxed);
            }
            asking
                .into_iter()
                .map(|thread| joined(thread.join()))
                .collect::<anyhow::Result<Vec<_>>>()
        })?;
        for one in done {
            all.requests += one.requests;
            all.latency_sum_ns += one.latency_sum_ns;
        }
        all.wall_ns = monotonic_ns() - start_ns;
        say(&all)
    }

    fn ask(&self, number: u64, start_ns: u64, stop: &AtomicBool) -> anyhow::Result<LoadDone> {
        let socket = self
            .transport
            .connect(&self.server, &format!("load-{number}"))?;
        let mut line = Line::new(socket, self.transport, Variant::Plain)?;
        let share = self
            .requests
            .map(|all| all / self.clients + u64::from(number < all % self.clients));
        let gap_ns = self
            .rate
            .map(|rate| 1_000_000_000 * self.clients / u64::from(rate.max(1)));
        let mut due_ns = start_ns + gap_ns.unwrap_or_default() * number / self.clients;
        let mut done = LoadDone::default();
        while share.is_none_or(|share| done.requests < share) && !stop.load(Ordering::Relaxed) {
            if let Some(gap_ns) = gap_ns {
                sleep_until(due_ns);
                due_ns += gap_ns;
            }
            let sent_ns = monotonic_ns();
            line.stamp();
            line.send(REQUEST_BYTES)?;
            ensure!(line.receive(REPLY_BYTES)?, "the first tier closed");
            done.latency_sum_ns += monotonic_ns() - sent_ns;
            done.requests += 1;
        }
        Ok(done)
    }
}
