//! Relay: load → web → app → store, a chain of processes that know where their time went.
//!
//! In: the work of each tier, how the tiers are joined, how many requests. Out: what each tier truly did; or, with a load of
//! somebody else, where the first tier listens.
//! Must not know: how work is done (that is `work`).

use std::{
    collections::BTreeMap,
    env,
    io::Read as _,
    path::PathBuf,
    process::exit,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
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
    pool::{Next, Pool},
    process::{Hears, Stage, say},
    socket::{Address, Transport},
    work::{Disk, Spent, Work, Worker},
};

/// Length of a request.
pub const REQUEST_BYTES: usize = 200;
/// Length of a reply.
pub const REPLY_BYTES: usize = 1000;

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
    /// No load of its own: prints where the first tier listens, and serves whoever connects until SIGTERM or SIGINT.
    #[arg(long, conflicts_with_all = ["requests", "serve", "rate"])]
    await_load: bool,
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
    /// Bind web, app and store to these CPUs.
    #[arg(long, value_delimiter = ',', conflicts_with = "core")]
    cores: Vec<usize>,
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
    /// Where the next tier listens, and how many threads it has.
    next: Option<(Transport, Address, u64)>,
    dir: PathBuf,
    disk_dir: PathBuf,
    core: Option<usize>,
    /// Serves one caller after the other until it is killed.
    standing: bool,
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

/// What a thread of a tier works with.
struct Seat<'a> {
    next: Next<'a>,
    worker: Worker,
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
        ensure!(
            matches!(self.cores.len(), 0 | 3),
            "--cores takes three CPUs: of web, app and store"
        );
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
        let [web, app, store] = self.threads();
        let mut tiers = Vec::new();
        let mut next = None;
        for (number, name, work, transport, threads) in [
            (2, "store", self.store, third, store),
            (1, "app", self.app, second, app),
            (0, "web", self.web, first, web),
        ] {
            let tier = Tier {
                next: next.take(),
                core: self.cores.get(number).copied().or(self.core),
                ..self.tier(name, work, transport, threads, &stage)?
            };
            let mut player =
                stage.start(&self.called(name), Role::RelayTier(tier), Hears::Nothing)?;
            let address: Address = player.hear()?;
            tiers.push((player, address.port()));
            next = Some((transport, address, threads));
        }
        let (transport, server, clients) = next.context("no tier was started")?;
        if self.await_load {
            let Address::Inet(address) = server else {
                bail!("a load of somebody else needs tcp4 or tcp6 as the first hop");
            };
            let names = ["store", "app", "web"].into_iter().zip(&tiers);
            let tgids: BTreeMap<_, _> = names
                .map(|(name, (player, _))| (name, player.tgid()))
                .collect();
            say(
                &serde_json::json!({ "address": address, "connections": clients, "tgids": tgids }),
            )?;
            for (player, _) in tiers.into_iter().rev() {
                player.finish()?;
            }
            bail!("a tier ended by itself");
        }
        let load = Load {
            transport,
            server,
            clients,
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

    /// Threads of web, app and store, which are the connections that each accepts: as many as there are clients, unless the work
    /// says how many; never more than could call at once.
    fn threads(&self) -> [u64; 3] {
        let of = |work: &Work, most: u64| match work.pool {
            0 => most,
            pool => pool,
        };
        let web = of(&self.web, self.clients);
        let app = of(&self.app, web).min(web);
        [web, app, of(&self.store, app).min(app)]
    }

    fn called(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }

    fn tier(
        &self,
        name: &str,
        work: Work,
        transport: Transport,
        threads: u64,
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
            callers: threads,
            next: None,
            dir: stage.dir().to_owned(),
            disk_dir,
            core: self.core,
            standing: self.await_load,
        })
    }
}

impl Tier {
    /// One that asks `next` once for each request, and has nothing else to do; callers reach it by TCP and may come and go.
    ///
    /// # Errors
    /// When this program has no folder.
    pub fn before(name: &str, next: Address, callers: u64) -> anyhow::Result<Self> {
        let dir = env::current_exe()?;
        let dir = dir.parent().context("program without a directory")?;
        Ok(Self {
            name: name.to_owned(),
            work: Work {
                calls: 1,
                ..Work::default()
            },
            transport: Transport::Tcp4,
            callers,
            next: Some((Transport::Tcp4, next, callers)),
            dir: dir.to_owned(),
            disk_dir: dir.to_owned(),
            core: None,
            standing: true,
        })
    }

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
        let pool = self.pool()?;
        if self.standing {
            return self.stand(&listener, disks, pool.as_ref());
        }
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
                    let pool = pool.as_ref();
                    Ok(scope.spawn(move || {
                        let mut seat = Seat {
                            next: tier.next_for(number, pool)?,
                            worker: Worker::new(&tier.work, disk)?,
                        };
                        tier.serve(caller, &mut seat)
                    }))
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

    /// Serves callers that come and go, as many at a time as it has threads, until it is killed.
    fn stand(
        &self,
        listener: &Socket,
        disks: Vec<Option<Disk>>,
        pool: Option<&Pool>,
    ) -> anyhow::Result<()> {
        let nobody = || anyhow::anyhow!("nobody waits for callers any more");
        let (free, seats) = mpsc::channel();
        for (number, disk) in (0..).zip(disks) {
            let seat = (self.next_for(number, pool)?, disk);
            free.send(seat).map_err(|_| nobody())?;
        }
        thread::scope(|scope| {
            loop {
                let caller = self.transport.accept(listener)?;
                let (next, disk) = seats.recv()?;
                let free = free.clone();
                scope.spawn(move || {
                    let served = || {
                        // A worker has the clocks of its own thread.
                        let worker = Worker::new(&self.work, disk)?;
                        let mut seat = Seat { next, worker };
                        self.serve(caller, &mut seat)?;
                        let seat = (seat.next, seat.worker.into_disk());
                        free.send(seat).map_err(|_| nobody())?;
                        anyhow::Ok(())
                    };
                    if let Err(error) = served() {
                        // Who waits for us has to see it.
                        eprintln!("{}: {error:#}", self.name);
                        exit(1);
                    }
                });
            }
        })
    }

    /// Lines to the next tier that threads share, if there are fewer than threads.
    fn pool(&self) -> anyhow::Result<Option<Pool>> {
        let Some((_, _, threads)) = self.next.as_ref().filter(|next| next.2 < self.callers) else {
            return Ok(None);
        };
        let lines = (0..*threads).map(|number| self.connect(number));
        let lines = lines.collect::<anyhow::Result<Option<Vec<_>>>>()?;
        Ok(lines.map(Pool::new))
    }

    fn next_for<'a>(&self, number: u64, pool: Option<&'a Pool>) -> anyhow::Result<Next<'a>> {
        Ok(match pool {
            Some(pool) => Next::shared(pool),
            None => Next::own(self.connect(number)?),
        })
    }

    fn connect(&self, number: u64) -> anyhow::Result<Option<Line>> {
        let Some((transport, address, _)) = &self.next else {
            return Ok(None);
        };
        let socket = transport.connect(address, &format!("caller-{number}"))?;
        Ok(Some(Line::new(socket, *transport, Variant::Plain)?))
    }

    /// Answers one caller until it closes.
    fn serve(&self, caller: Socket, seat: &mut Seat<'_>) -> anyhow::Result<TierDone> {
        let Seat { next, worker } = seat;
        let mut caller = Line::new(caller, self.transport, Variant::Plain)?;
        let mut done = TierDone::default();
        let slices = self.work.calls + 1;
        while caller.receive(REQUEST_BYTES)? {
            let received_ns = monotonic_ns();
            let mut prompt_ns = caller.stamped_ns();
            for _ in 0..self.work.calls {
                worker.work(&self.work.slice(slices, false))?;
                let mut line = next.take()?;
                line.stamp();
                let spent = worker.send(prompt_ns, || Ok(line.send(REQUEST_BYTES)?))?;
                done.to_next.add(&spent);
                ensure!(line.receive(REPLY_BYTES)?, "the next tier closed");
                prompt_ns = line.stamped_ns();
                next.give(line);
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
    /// One that asks until its stdin ends, so many times a second.
    #[must_use]
    pub fn endless(transport: Transport, server: Address, clients: u64, rate: u32) -> Self {
        Self {
            transport,
            server,
            clients,
            requests: None,
            rate: Some(rate),
        }
    }

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
