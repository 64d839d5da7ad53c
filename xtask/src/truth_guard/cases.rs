//! What is planted, what has to be said of it, how long it takes.
//!
//! In: nothing. Out: scenarios, times, the service. Must not know: how anything is started or judged.
//!
//! The whole run is to end within 12 minutes on two CPUs.

use std::time::Duration;

use crate::truth_models::plan::Tiers;

/// The service that is watched: only its first tier works.
pub const SERVICE: Tiers = Tiers {
    web: "spin=1ms,calls=0,pool=16",
    app: "calls=0,pool=1",
    store: "pool=1",
    threads: [16, 1, 1],
};
/// The same, with more to do for each request.
pub const HEAVIER: Tiers = Tiers {
    web: "spin=2500us,calls=0,pool=16",
    ..SERVICE
};
/// The same work, in four threads of a quarter each that want the same CPU.
pub const FANNED: Tiers = Tiers {
    web: "spin=1ms,fan=4,calls=0,pool=16",
    ..SERVICE
};
/// One that reads two blocks of 64 KiB past the page cache for each request, and computes little.
pub const READER: Tiers = Tiers {
    web: "spin=200us,disk=2,block=64,calls=0,pool=16",
    ..SERVICE
};
/// Size of the blocks that the disk hog writes, in KiB.
pub const HOG_BLOCK: &str = "1024";
/// Requests a second, at random: a fifth of its CPU, and a few hundred in each window.
pub const RATE: f64 = 200.0;
/// So long, for each request, the service's threads wait for a CPU if they have it for themselves and share it in slices as small as
/// can be: `s rho / (1 - rho)` with s = 1 ms and rho = 0.2 (M/G/1, processor sharing). One after the other they wait half of that.
pub const ALONE_NS: f64 = 250_000.0;
/// More than this, and what was learned is somebody else's: next to that a neighbour is not seen.
pub const NOT_ALONE_NS: f64 = 2.0 * ALONE_NS;
/// Connections of a load: two loads find room at the service.
pub const CONNECTIONS: u32 = 8;
/// CPUs that its own quota leaves it: less than it uses.
pub const QUOTA_CPUS: f64 = 0.15;
/// Length of a window.
pub const WINDOW: Duration = Duration::from_secs(1);
/// Seeds of the load are numbered from here, so that no two runs have the same.
pub const SEED: u64 = 4001;

/// To be told within so many windows.
pub const TARGET_WINDOWS: u64 = 5;
/// Of the neighbours that are planted, so many are to be named first.
pub const TARGET_FIRST: f64 = 0.9;
/// Under feedback the signal is to be back within this share of the usual.
pub const TARGET_BACK: f64 = 0.1;
/// That is asked of the mean of so many seconds: in one, chance is greater than what is asked for.
pub const BACK_SECONDS: usize = 10;

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub learn_seconds: u64,
    /// The same for the service that reads.
    pub reader_seconds: u64,
    /// From when the load comes to when something is planted.
    pub quiet_seconds: u64,
    /// The same where the guard learns by itself, from 60 windows.
    pub learning_seconds: u64,
    /// With what is planted.
    pub planted_seconds: u64,
    /// With what is planted and held back.
    pub held_seconds: u64,
    /// Only so many of the scenarios.
    pub cases: usize,
}

pub const FULL: Plan = Plan {
    learn_seconds: 60,
    reader_seconds: 35,
    // As many as it takes to be told something.
    quiet_seconds: 5,
    learning_seconds: 66,
    planted_seconds: 10,
    held_seconds: 80,
    cases: CASES.len(),
};

/// To see whether it works.
pub const QUICK: Plan = Plan {
    learn_seconds: 40,
    cases: 3,
    ..FULL
};

/// What is planted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plant {
    /// Processes that use up CPU time; those on the service's CPU have to be named.
    Hogs(&'static [Hog]),
    /// The service gets a CPU quota.
    Quota,
    /// The same load once more.
    Load,
    /// The service is replaced by one that does more for each request, or in another way.
    Work(Tiers),
    /// A process that writes to the disk that the service reads from.
    Disk(&'static str),
}

/// A process that uses up CPU time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hog {
    /// Name of its program.
    pub name: &'static str,
    /// On the CPU of the service, and not on the other one.
    pub beside: bool,
    /// How much of that CPU it wants.
    pub percent: u32,
}

const fn hog(name: &'static str, beside: bool, percent: u32) -> Hog {
    Hog {
        name,
        beside,
        percent,
    }
}

/// What has to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A neighbour that was planted is the first suspect.
    Neighbour,
    /// The service or its load made it: the reason has one of these words.
    Own(&'static [&'static str]),
    /// Nobody is blamed.
    Nobody,
}

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Of files.
    pub slug: &'static str,
    pub name: &'static str,
    /// What is expected, in words.
    pub expects: &'static str,
    pub expected: Expected,
    pub plant: Plant,
    /// It is there before the guard is.
    pub is_older: bool,
    /// It has ended by the time that it is told, or soon after: it lives this long.
    pub lives: Option<Duration>,
    /// Each process is a component, and the guard learns by itself what is usual.
    pub by_process: bool,
    /// The guard may hold it back.
    pub is_held: bool,
    /// There is a run without it, too.
    pub has_control: bool,
}

const BESIDE: Case = Case {
    slug: "hog",
    name: "a hog on the CPU of the service",
    expects: "the hog",
    expected: Expected::Neighbour,
    plant: Plant::Hogs(&[hog("hog-truth", true, 100)]),
    is_older: false,
    lives: None,
    by_process: false,
    is_held: false,
    has_control: true,
};

pub const CASES: [Case; 12] = [
    BESIDE,
    Case {
        slug: "older",
        name: "a hog that is older than the guard",
        is_older: true,
        ..BESIDE
    },
    Case {
        slug: "decoy",
        name: "a decoy: a hog on the other CPU",
        expects: "nobody is blamed",
        expected: Expected::Nobody,
        plant: Plant::Hogs(&[hog("hog-truth", false, 100)]),
        // It is a control itself.
        has_control: false,
        ..BESIDE
    },
    Case {
        slug: "quota",
        name: "the service gets a CPU quota of 0.15 CPUs",
        expects: "its own: the quota",
        expected: Expected::Own(&["quota"]),
        plant: Plant::Quota,
        ..BESIDE
    },
    Case {
        slug: "load",
        name: "twice as many requests",
        expects: "its own: the load, or waits for its own threads",
        expected: Expected::Own(&["requests came in", "its own threads"]),
        plant: Plant::Load,
        ..BESIDE
    },
    Case {
        slug: "work",
        name: "the service does 2.5 ms of work for each request instead of 1 ms",
        expects: "its own: CPU time of each request, or waits for its own threads",
        expected: Expected::Own(&["of CPU time", "its own threads"]),
        plant: Plant::Work(HEAVIER),
        ..BESIDE
    },
    Case {
        slug: "fan",
        name: "the service does the same work in four threads of a quarter each",
        expects: "its own: waits for its own threads",
        expected: Expected::Own(&["its own threads"]),
        plant: Plant::Work(FANNED),
        // Without it, it is the control of the case before.
        has_control: false,
        ..BESIDE
    },
    Case {
        slug: "disk",
        name: "a process that writes blocks of 1 MiB to the disk from which the service reads",
        expects: "that process",
        plant: Plant::Disk("disk-truth"),
        ..BESIDE
    },
    Case {
        slug: "eight",
        name: "eight hogs of 5 % on the CPU of the service",
        expects: "one of the eight",
        plant: Plant::Hogs(&[
            hog("hog-1-truth", true, 5),
            hog("hog-2-truth", true, 5),
            hog("hog-3-truth", true, 5),
            hog("hog-4-truth", true, 5),
            hog("hog-5-truth", true, 5),
            hog("hog-6-truth", true, 5),
            hog("hog-7-truth", true, 5),
            hog("hog-8-truth", true, 5),
        ]),
        ..BESIDE
    },
    Case {
        slug: "exited",
        name: "a hog that has exited after 3 s",
        lives: Some(Duration::from_secs(3)),
        ..BESIDE
    },
    Case {
        slug: "process",
        name: "one of three processes of one program (`--group-by process`, no `--spec`)",
        expects: "that process",
        plant: Plant::Hogs(&[
            hog("batch-truth", false, 5),
            hog("batch-truth", true, 100),
            hog("batch-truth", false, 5),
        ]),
        by_process: true,
        ..BESIDE
    },
    Case {
        slug: "held",
        name: "a hog in a control group of its own, with `--act cap`",
        is_held: true,
        ..BESIDE
    },
];

/// One run: a scenario, and whether it is planted.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub case: &'static Case,
    pub is_planted: bool,
}

/// What is run, in an order at random that is always the same: a host that gets slower or busier meanwhile does not take part.
pub fn slots(plan: Plan) -> Vec<Slot> {
    let cases = CASES.iter().take(plan.cases);
    let mut slots: Vec<Slot> = cases
        .flat_map(|case| [true, false].map(|is_planted| Slot { case, is_planted }))
        .filter(|slot| slot.is_planted || slot.case.has_control)
        .collect();
    fastrand::Rng::with_seed(SEED).shuffle(&mut slots);
    slots
}

impl Case {
    /// The service that is watched.
    pub fn service(&self) -> Tiers {
        match self.plant {
            Plant::Disk(_) => READER,
            _ => SERVICE,
        }
    }
}

impl Slot {
    /// From when the load comes to when something is planted, or would be.
    pub fn quiet(&self, plan: Plan) -> Duration {
        Duration::from_secs(match self.case {
            Case { is_older: true, .. } => 0,
            Case {
                by_process: true, ..
            } => plan.learning_seconds,
            _ => plan.quiet_seconds,
        })
    }

    /// From then to the end. Nobody is held back where nothing is planted, and that takes no time.
    pub fn length(&self, plan: Plan) -> Duration {
        Duration::from_secs(match self.case {
            Case { is_held: true, .. } if self.is_planted => plan.held_seconds,
            _ => plan.planted_seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everything_is_run_once_and_within_the_time() {
        let slots = slots(FULL);
        let names: BTreeSet<(&str, bool)> = slots
            .iter()
            .map(|slot| (slot.case.slug, slot.is_planted))
            .collect();
        let controls = CASES.iter().filter(|case| case.has_control).count();
        assert_eq!(names.len(), slots.len());
        assert_eq!(slots.len(), CASES.len() + controls);
        // Some seconds each to start and to end.
        let each = slots
            .iter()
            .map(|slot| slot.quiet(FULL) + slot.length(FULL) + Duration::from_secs(5));
        let learning = Duration::from_secs(FULL.learn_seconds + FULL.reader_seconds);
        let all = each.sum::<Duration>() + learning;
        assert!(all < Duration::from_secs(12 * 60), "{all:?}");
    }

    #[test]
    fn names_are_short_enough_for_the_kernel_to_keep_them() {
        for case in &CASES {
            if let Plant::Hogs(hogs) = case.plant {
                assert!(hogs.iter().all(|hog| hog.name.len() <= 15));
            }
        }
    }
}
