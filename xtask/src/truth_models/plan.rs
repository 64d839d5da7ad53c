//! What is measured how long, and why just so.
//!
//! In: whether it is to be quick. Out: rates, seconds, seeds, services. Must not know: how anything is measured.
//!
//! The whole run is to end within 20 minutes on two CPUs. A mean at 80 % of saturation scatters by about `2 / ((1 - 0.8) sqrt(n))`
//! of itself over n requests at random, somewhat less where service always takes the same time: 25 s at several hundred a second tell
//! it to a few per cent, and three such runs with other seeds show by how much it really scatters.

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Seconds of a recording: with windows of a second, enough of them for an interval, and for the first one, in which turns on
    /// connections between tiers that are older are not counted, to be few of them.
    pub record_seconds: f64,
    /// Rates to record at, as shares of the real saturation. Up to half of it, as the method asks for; shuffled once and for all,
    /// since CPUs and disks get slower and faster while we measure.
    pub record_shares: &'static [f64],
    /// Seconds of a measurement of the three tiers.
    pub measure_seconds: f64,
    /// Seconds of a recording and of a measurement of the other services.
    pub short_seconds: f64,
    /// Rates to predict and to measure, as shares of the real saturation.
    pub measure_shares: &'static [f64],
    /// How often each is measured, each time with another seed and from another rate on.
    pub rounds: usize,
    /// Seconds with more requests than can be served.
    pub saturation_seconds: f64,
    /// Seconds of a step on the way there.
    pub step_seconds: f64,
}

/// For the page.
pub const FULL: Plan = Plan {
    record_seconds: 20.0,
    record_shares: &[0.3, 0.1, 0.5, 0.2, 0.4],
    measure_seconds: 25.0,
    short_seconds: 10.0,
    measure_shares: &[0.7, 0.5, 0.8, 0.6],
    rounds: 3,
    saturation_seconds: 8.0,
    step_seconds: 1.5,
};

/// To see whether it works: numbers mean little.
pub const QUICK: Plan = Plan {
    record_seconds: 8.0,
    record_shares: &[0.3, 0.1, 0.5],
    measure_seconds: 5.0,
    short_seconds: 7.0,
    measure_shares: &[0.8, 0.5],
    rounds: 2,
    saturation_seconds: 3.0,
    step_seconds: 1.0,
};

/// Before requests count: until threads, connections and caches are as they will be.
pub const WARM_UP_SECONDS: f64 = 1.0;
/// Each step on the way to saturation asks for so much more than the last.
pub const STEP: f64 = 1.5;
/// So much of what was asked for is served, or it is no longer kept up with. In a step of a second 200 requests and more come at
/// random: 7 % more or fewer.
pub const KEPT_UP: f64 = 0.85;
/// Saturation is what is served when so much more comes in.
pub const OVER: f64 = 1.5;
/// Steps until we give up.
pub const STEPS: usize = 14;
/// The share of saturation at which services with one bound are measured: well beyond what was recorded.
pub const BOUND_SHARE: f64 = 0.6;
/// The share of the lower saturation of two placements at which both are measured.
pub const PLACED_SHARE: f64 = 0.7;
/// Requests that are simulated for each predicted rate: chance in the simulation is then below 1 %.
pub const SIMULATED: &str = "200000";
/// The rate of the share that a step begins with; every service here does more.
pub const FIRST_RATE: f64 = 60.0;

/// What is to be reached: prediction over measurement.
pub const TARGET_SATURATION: f64 = 0.05;
pub const TARGET_MEAN: f64 = 0.09;
pub const TARGET_P95: f64 = 0.15;

/// Seeds are numbered from here, so that no two runs have the same.
pub const RECORD_SEED: u64 = 1;
pub const MEASURE_SEED: u64 = 1001;
pub const SATURATION_SEED: u64 = 2001;

/// Ends the names of all processes of the services, so that nobody else's are meant.
pub const SUFFIX: &str = "-truth";

/// A service of ours: a relay, whose tiers do just what they are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tiers {
    /// Work of the three tiers.
    pub web: &'static str,
    pub app: &'static str,
    pub store: &'static str,
    /// Threads of each, as in the work.
    pub threads: [u32; 3],
}

/// CPU time, timers, a disk, and a pool of threads in each tier; as much CPU time as makes a thousand requests a second the most
/// that one CPU serves, so that half a minute has enough of them.
pub const CHAIN: Tiers = Tiers {
    web: "spin=300us,calls=1,pool=16",
    app: "spin=300us,sleep=300us,calls=2,pool=8",
    store: "spin=60us,disk=1,pool=4",
    threads: [16, 8, 4],
};

/// Requests that mostly sleep, and four threads: 2 ms each, and the CPU is nearly idle.
pub const POOL: Tiers = alone("spin=50us,sleep=2ms,calls=0,pool=4", 4);
/// Requests that mostly read: two blocks of half a megabyte past the page cache.
pub const DISK: Tiers = alone("spin=20us,disk=2,block=512,calls=0,pool=16", 16);
/// The same block for the disk by itself, in KiB.
pub const DISK_BLOCK: &str = "512";
/// Requests that only compute, in a control group with a quota.
pub const QUOTA: Tiers = alone("spin=1ms,calls=0,pool=16", 16);
/// CPUs that the quota allows: less than the service could use, in periods as short as the kernel's defaults allow to be useful.
pub const QUOTA_CPUS: f64 = 0.3;
/// Length of a period of the quota, in microseconds.
pub const QUOTA_PERIOD_US: u64 = 20_000;

/// Only the first tier works; the others are there and asked nothing.
const fn alone(web: &'static str, threads: u32) -> Tiers {
    Tiers {
        web,
        app: "calls=0,pool=1",
        store: "pool=1",
        threads: [threads, 1, 1],
    }
}
