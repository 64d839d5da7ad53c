//! A made-up fleet: which hosts there are, who calls whom, and what is planted.
//!
//! In: numbers and a seed. Out: the plan, and what happens on each link and host in each window: the same for the same seed,
//! whoever asks. Must not know: snapshots, files.

use fastrand::Rng;

/// Component ids.
pub(super) const GATE: &str = "unit:gate.service";
pub(super) const CACHE: &str = "unit:cache.service";
pub(super) const SEARCH: &str = "unit:search.service";
pub(super) const STORE: &str = "unit:store.service";
pub(super) const BATCH: &str = "program:batch";
pub(super) const BACKUP: &str = "program:backup";
pub(super) const LOGGER: &str = "program:logger";

pub(super) const GATE_PORT: u16 = 443;
pub(super) const SEARCH_PORT: u16 = 8080;
pub(super) const STORE_PORT: u16 = 6379;
pub(super) const QUIET_PORT: u16 = 9200;
pub(super) const FAR_PORT: u16 = 5432;

/// Addresses that no host has.
pub(super) const CLIENT: &str = "198.51.100.7";
pub(super) const TRANSLATOR: &str = "192.0.2.1";
pub(super) const VIRTUAL: &str = "10.255.0.1";
pub(super) const FAR: &str = "203.0.113.5";
/// A host that is known by its address and exports nothing.
pub(super) const QUIET: (&str, &str) = ("quiet-0001", "10.250.0.9");

/// How long the network takes on the slow edge.
pub(super) const SLOW_NS: u64 = 5_000_000;
/// How much longer requests take while the antagonist is at work: by this factor, CPI and CPU time too.
pub(super) const FACTOR: f64 = 2.0;
/// The bad release takes so much more CPU and so much more time for each request.
pub(super) const RELEASE_CPU: f64 = 1.6;
pub(super) const RELEASE_SERVICE: f64 = 1.5;

pub(super) const HOUR_NS: u64 = 3_600_000_000_000;

/// What a host is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Gate,
    Search,
    /// With the bad release or without.
    Store {
        next: bool,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Host {
    pub name: String,
    pub address: String,
    pub role: Role,
    /// Its clock is ahead by so much.
    pub ahead_ns: u64,
    pub arch: &'static str,
    pub cpus: u32,
    /// A neighbour is planted on it.
    pub antagonised: bool,
}

/// Who calls whom over the network.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub from: usize,
    /// None for an end that exports nothing.
    pub to: Option<usize>,
    /// What the initiator calls, and what the acceptor sees.
    pub called: String,
    pub seen: String,
    pub port: u16,
    pub network_ns: u64,
}

/// The plan.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub seed: u64,
    pub hosts: Vec<Host>,
    pub links: Vec<Link>,
    pub interval_ns: u64,
    pub windows_per_hour: u64,
    pub hours: u64,
    /// When the first window begins, by a right clock.
    pub start_unix_ns: u64,
    /// Of `links`.
    pub slow: usize,
}

/// What a link carries in a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic {
    pub roundtrips: u64,
    pub service_mean_ns: u64,
    pub network_ns: u64,
}

impl World {
    pub(super) fn new(
        hosts: usize,
        hours: u64,
        seed: u64,
        start_hour: u64,
        interval_ns: u64,
    ) -> Self {
        let stores = (hosts * 3 / 10).max(2);
        let gates = (hosts / 5).max(1);
        let searches = hosts.saturating_sub(stores + gates).max(1);
        let mut world = Self {
            seed,
            hosts: Vec::new(),
            links: Vec::new(),
            interval_ns,
            windows_per_hour: HOUR_NS / interval_ns.max(1),
            hours,
            start_unix_ns: start_hour * HOUR_NS,
            slow: 0,
        };
        for number in 0..gates {
            world.host(format!("gate-{:04}", number + 1), Role::Gate);
        }
        for number in 0..searches {
            world.host(format!("search-{:04}", number + 1), Role::Search);
        }
        for number in 0..stores {
            let next = number % 2 == 1;
            let name = if next { "store-next" } else { "store" };
            world.host(
                format!("{name}-{:04}", number / 2 + 1),
                Role::Store { next },
            );
        }
        world.link(gates, searches, stores);
        world
    }

    fn host(&mut self, name: String, role: Role) {
        let number = self.hosts.len();
        let is_search = role == Role::Search;
        let arm = is_search && number.is_multiple_of(3);
        self.hosts.push(Host {
            name,
            address: format!(
                "10.{}.{}.{}",
                number >> 16,
                (number >> 8) & 255,
                number & 255
            ),
            role,
            // Less than a window: what belongs to an hour stays in it.
            ahead_ns: if number % 7 == 3 {
                self.interval_ns / 8 * (1 + number as u64 % 5)
            } else {
                0
            },
            arch: if arm { "aarch64" } else { "x86_64" },
            cpus: if arm { 64 } else { 16 },
            antagonised: is_search && number % 4 == 2,
        });
    }

    fn link(&mut self, gates: usize, searches: usize, stores: usize) {
        let mut rng = Rng::with_seed(self.seed ^ 0x6c69_6e6b);
        for gate in 0..gates {
            for step in 0..searches.min(3) {
                let to = gates + (gate * 3 + step) % searches;
                self.add(gate, to, SEARCH_PORT, &mut rng);
            }
        }
        self.slow = self.links.len();
        for search in 0..searches {
            for step in 0..stores.min(2) {
                let to = gates + searches + (search * 2 + step) % stores;
                self.add(gates + search, to, STORE_PORT, &mut rng);
            }
        }
        if let Some(slow) = self.links.get_mut(self.slow) {
            slow.network_ns = SLOW_NS;
        }
        // The first gate is behind a translator; the last search calls its last store by a virtual address.
        for link in self.links.iter_mut().filter(|link| link.from == 0) {
            TRANSLATOR.clone_into(&mut link.seen);
        }
        if let Some(last) = self.links.last_mut() {
            VIRTUAL.clone_into(&mut last.called);
        }
        for search in 0..searches {
            self.links.push(Link {
                from: gates + search,
                to: None,
                called: FAR.to_owned(),
                seen: String::new(),
                port: FAR_PORT,
                network_ns: 0,
            });
        }
        self.links.push(Link {
            from: gates,
            to: None,
            called: QUIET.1.to_owned(),
            seen: String::new(),
            port: QUIET_PORT,
            network_ns: 0,
        });
    }

    fn add(&mut self, from: usize, to: usize, port: u16, rng: &mut Rng) {
        let address = |host: usize| {
            let host = self.hosts.get(host);
            host.map(|host| host.address.clone()).unwrap_or_default()
        };
        let link = Link {
            from,
            to: Some(to),
            called: address(to),
            seen: address(from),
            port,
            network_ns: 150_000 + rng.u64(0..150_000),
        };
        self.links.push(link);
    }

    pub(super) fn windows(&self) -> u64 {
        self.windows_per_hour * self.hours
    }

    /// Chance for one thing in one window.
    pub(super) fn chance(&self, what: u64, of: usize, window: u64) -> Rng {
        let mut mixed = self.seed;
        for part in [what, of as u64, window] {
            mixed = (mixed ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^= mixed >> 29;
        }
        Rng::with_seed(mixed)
    }

    /// A count of this many a minute, give or take a third.
    fn some(&self, a_minute: u64, rng: &mut Rng) -> u64 {
        let mean = (a_minute * self.interval_ns / 60_000_000_000).max(20);
        mean - mean / 3 + rng.u64(0..=mean * 2 / 3)
    }

    /// Whether the planted neighbour is at work on a host.
    pub(super) fn burst(&self, host: usize, window: u64) -> bool {
        let antagonised = self.hosts.get(host).is_some_and(|host| host.antagonised);
        let (hour, within) = (
            window / self.windows_per_hour,
            window % self.windows_per_hour,
        );
        // The first hour is a quiet one, if there is another.
        if !antagonised || (hour == 0 && self.hours > 1) {
            return false;
        }
        let length = self.windows_per_hour / 5;
        let room = self.windows_per_hour - length;
        let begin = room / 2 + self.chance(1, host, hour).u64(0..=room / 2);
        (begin..begin + length).contains(&within)
    }

    /// By what factor a service of a host takes longer in a window.
    pub(super) fn slowed(&self, host: usize, window: u64) -> f64 {
        if self.burst(host, window) {
            FACTOR
        } else {
            1.0
        }
    }

    /// What a link carries.
    pub(super) fn traffic(&self, link: usize, window: u64) -> Traffic {
        let mut rng = self.chance(2, link, window);
        let Some(of) = self.links.get(link) else {
            return Traffic {
                roundtrips: 0,
                service_mean_ns: 0,
                network_ns: 0,
            };
        };
        let role = of
            .to
            .and_then(|to| self.hosts.get(to))
            .map(|host| host.role);
        let (a_minute, base, factor) = match role {
            Some(Role::Search) => (600, 40_000_000.0, self.slowed(of.to.unwrap_or(0), window)),
            Some(Role::Store { next: true }) => (900, 2_000_000.0, RELEASE_SERVICE),
            Some(_) => (900, 2_000_000.0, 1.0),
            None => (30, 8_000_000.0, 1.0),
        };
        let jitter = 0.95 + 0.1 * rng.f64();
        Traffic {
            roundtrips: self.some(a_minute, &mut rng),
            service_mean_ns: (base * factor * jitter) as u64,
            network_ns: of.network_ns,
        }
    }

    /// Requests from outside at a gate, and their mean service time.
    pub(super) fn outside(&self, host: usize, window: u64) -> Traffic {
        let mut rng = self.chance(3, host, window);
        Traffic {
            roundtrips: self.some(700, &mut rng),
            service_mean_ns: 90_000_000 + rng.u64(0..5_000_000),
            network_ns: 0,
        }
    }

    /// What a gate asks its cache, on the same host.
    pub(super) fn cache(&self, host: usize, window: u64) -> Traffic {
        let mut rng = self.chance(4, host, window);
        Traffic {
            roundtrips: self.some(1400, &mut rng),
            service_mean_ns: 60_000 + rng.u64(0..5_000),
            network_ns: 20_000,
        }
    }
}
