//! The guard over simulated services with planted neighbours, and quiet ones.

mod acting;
mod alarms;
mod cases;
mod planted;
mod ranked;
mod weights;

use courtside_core::model::interference::DecidedBy;
use fastrand::Rng;

use super::*;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * SECOND;
const MS: f64 = 1e6;

/// What makes a window of the victim and its neighbours.
struct World {
    dice: Rng,
    number: u64,
    /// Requests a second, CPU time, run queue and block I/O of each.
    rate: f64,
    on_cpu: f64,
    run_queue: f64,
    block_io: f64,
    cpi: Option<f64>,
    /// CPUs of each neighbour.
    neighbours: Vec<(String, f64)>,
    /// Of the victim's run queue.
    blame: Option<Vec<(String, f64)>>,
    throttled: Option<f64>,
    /// How likely a value is a burst that lasts for one window.
    tails: f64,
}

impl World {
    fn new(seed: u64) -> Self {
        let quiet = |id: &str, cpus| (id.to_owned(), cpus);
        Self {
            dice: Rng::with_seed(seed),
            number: 0,
            rate: 200.0,
            on_cpu: 1.2 * MS,
            run_queue: 0.15 * MS,
            block_io: 0.3 * MS,
            cpi: None,
            neighbours: vec![quiet("program:cron", 0.02), quiet("program:db", 0.3)],
            blame: None,
            throttled: None,
            tails: 0.0,
        }
    }

    /// About this much: mostly within a tenth. If one value in 66 is a burst, a single window of a signal is too high some 26
    /// times an hour.
    fn about(&mut self, value: f64) -> f64 {
        let sum: f64 = (0..3).map(|_| self.dice.f64() - 0.5).sum();
        let burst = if self.tails > 0.0 && self.dice.f64() < self.tails {
            1.0 - 0.7 * (1.0 - self.dice.f64()).ln()
        } else {
            1.0
        };
        value * (1.0 + 0.13 * sum) * burst
    }

    fn window(&mut self) -> Inputs {
        let requests = self.about(self.rate).round().max(0.0);
        let of = |world: &mut Self, each: f64| (world.about(each) * requests) as u64;
        let cpu_ns = of(self, self.on_cpu);
        let run_queue_ns = of(self, self.run_queue);
        let block_io_ns = of(self, self.block_io);
        let service = self.on_cpu + self.run_queue + self.block_io;
        let service_ns = of(self, service);
        let instructions = cpu_ns * 2;
        let counters = self.cpi.map(|cpi| {
            let cycles = self.about(cpi) * instructions as f64;
            (cycles as u64, instructions)
        });
        let blame = self.blame.as_ref().map(|blame| {
            let part =
                |(id, share): &(String, f64)| (id.clone(), (share * run_queue_ns as f64) as u64);
            blame.iter().map(part).collect()
        });
        let victim = Used {
            tasks: 1,
            cpu_ns,
            run_queue_ns,
            block_io_ns,
            throttled_ns: self.throttled.map(|each| (each * requests) as u64),
            requests: requests as u64,
            timed: (requests as u64, service_ns),
            counters,
            run_queue_by: blame,
            ..Used::default()
        };
        let mut window = Inputs {
            start_unix_ns: START + self.number * SECOND,
            duration_ns: SECOND,
            platform: "x86_64, 2 CPUs".to_owned(),
            components: [("program:victim".to_owned(), victim)].into(),
            ..Inputs::default()
        };
        for (id, cpus) in self.neighbours.clone() {
            let used = Used {
                tasks: 1,
                cpu_ns: (self.about(cpus) * SECOND as f64) as u64,
                ..Used::default()
            };
            window.components.insert(id, used);
        }
        self.number += 1;
        window
    }

    fn learned(&mut self, windows: u64) -> Spec {
        let mut learner = Learner::default();
        for _ in 0..windows {
            learner.add(&self.window(), is_victim);
        }
        learner.finish(&[], LearnOptions::default()).unwrap()
    }

    /// Lets some windows go by.
    fn pass(&mut self, guard: &mut Guard, windows: u64) -> Vec<Interference> {
        (0..windows)
            .flat_map(|_| guard.window(self.window(), &is_victim))
            .collect()
    }

    fn hog(&mut self, id: &str, cpus: f64) {
        self.neighbours.push((id.to_owned(), cpus));
    }
}

fn is_victim(id: &str) -> bool {
    id == "program:victim"
}

fn guard(spec: Spec) -> Guard {
    let options = GuardOptions {
        min_samples: MIN_SAMPLES,
        ..GuardOptions::default()
    };
    Guard::new(options, Some(spec))
}

fn of_kind(lines: &[Interference], event: EventKind) -> Vec<&Interference> {
    lines.iter().filter(|line| line.event == event).collect()
}

fn anomaly(lines: &[Interference], signal: Signal) -> &Interference {
    let found = of_kind(lines, EventKind::Anomaly);
    let mut found = found.into_iter();
    let of_signal = found.find(|line| line.signal == Some(signal));
    of_signal.unwrap_or_else(|| panic!("no anomaly of {} in {lines:#?}", signal.name()))
}

#[test]
fn a_hog_is_told_by_the_third_window_and_named_by_blame() {
    let mut world = World::new(1);
    let mut guard = guard(world.learned(60));
    assert_eq!(world.pass(&mut guard, 60), []);
    world.run_queue *= 5.3;
    world.hog("program:hog", 0.9);
    world.blame = Some(vec![
        ("program:hog".to_owned(), 0.95),
        ("program:db".to_owned(), 0.03),
        ("program:victim".to_owned(), 0.02),
    ]);
    let lines = world.pass(&mut guard, 3);
    let line = anomaly(&lines, Signal::RunQueuePerRequest);
    assert_eq!(line.suspects[0].component, "program:hog");
    assert_eq!(line.suspects[0].decided_by, DecidedBy::Blame);
    assert!(line.suspects[0].blamed_share.unwrap() > 0.9);
    assert!(!line.self_inflicted);
    assert!(line.sigmas.unwrap() > 10.0, "{line:?}");
    assert!(line.value.unwrap() > line.expected.unwrap().upper);
    // As usual again, and told once.
    world.run_queue /= 5.3;
    let lines = world.pass(&mut guard, 20);
    let cleared = of_kind(&lines, EventKind::Cleared);
    assert!(
        cleared
            .iter()
            .any(|l| l.signal == Some(Signal::RunQueuePerRequest))
    );
    assert!(of_kind(&lines, EventKind::Anomaly).is_empty(), "{lines:#?}");
}

#[test]
fn without_blame_the_hog_is_named_and_not_who_is_always_busy() {
    let mut first = 0;
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.hog("program:always", 0.8);
        let mut guard = guard(world.learned(60));
        assert_eq!(world.pass(&mut guard, 60), [], "{seed}");
        world.run_queue *= 5.0;
        world.hog("program:hog", 0.6);
        let lines = world.pass(&mut guard, 5);
        let line = anomaly(&lines, Signal::RunQueuePerRequest);
        let named = line.suspects.first();
        first += u32::from(named.is_some_and(|s| s.component == "program:hog"));
        assert!(line.reason.contains("no proof"), "{}", line.reason);
    }
    assert!(first >= 19, "{first} of 20");
}

#[test]
fn eight_hogs_of_a_twentieth_each_are_named_as_a_group() {
    let mut world = World::new(5);
    let mut guard = guard(world.learned(60));
    world.pass(&mut guard, 60);
    world.run_queue *= 3.0;
    for i in 0..8 {
        world.hog(&format!("program:hog{i}"), 0.05);
    }
    let lines = world.pass(&mut guard, 5);
    let line = anomaly(&lines, Signal::RunQueuePerRequest);
    assert_eq!(line.suspects.len(), 8, "{line:#?}");
    for suspect in &line.suspects {
        assert!(suspect.component.starts_with("program:hog"));
        assert_eq!(suspect.decided_by, DecidedBy::Group);
    }
}

#[test]
fn more_work_of_its_own_is_self_inflicted() {
    let mut world = World::new(2);
    let mut guard = guard(world.learned(60));
    world.pass(&mut guard, 20);
    world.on_cpu *= 2.0;
    world.run_queue *= 2.0;
    world.hog("program:bystander", 0.5);
    let lines = world.pass(&mut guard, 5);
    let told = of_kind(&lines, EventKind::Anomaly);
    assert!(told.len() >= 2, "{lines:#?}");
    for line in told {
        assert!(line.self_inflicted && line.suspects.is_empty(), "{line:#?}");
        assert!(line.reason.contains("CPU time"), "{}", line.reason);
    }
}

#[test]
fn slower_instructions_are_not_its_own_work_where_counters_tell() {
    let mut world = World::new(3);
    world.cpi = Some(1.0);
    let mut guard = guard(world.learned(60));
    assert_eq!(world.pass(&mut guard, 60), []);
    world.cpi = Some(1.8);
    world.on_cpu *= 1.8;
    world.hog("program:thrasher", 0.9);
    let lines = world.pass(&mut guard, 5);
    for signal in [Signal::Cpi, Signal::OnCpuPerRequest] {
        let line = anomaly(&lines, signal);
        assert!(!line.self_inflicted, "{line:#?}");
        assert_eq!(line.suspects[0].component, "program:thrasher");
    }
}

#[test]
fn its_own_quota_and_its_own_threads_exonerate_everybody() {
    let quota = |world: &mut World| world.throttled = Some(3.0 * MS);
    let threads = |world: &mut World| {
        world.blame = Some(vec![
            ("program:victim".to_owned(), 0.8),
            ("program:hog".to_owned(), 0.2),
        ]);
    };
    for (change, words) in [
        (&quota as &dyn Fn(&mut World), "quota"),
        (&threads, "its own threads"),
    ] {
        let mut world = World::new(4);
        let mut guard = guard(world.learned(60));
        world.pass(&mut guard, 20);
        world.run_queue *= 5.0;
        world.hog("program:hog", 0.9);
        change(&mut world);
        let lines = world.pass(&mut guard, 5);
        let line = anomaly(&lines, Signal::RunQueuePerRequest);
        assert!(line.self_inflicted && line.suspects.is_empty());
        assert!(line.reason.contains(words), "{}", line.reason);
    }
}

#[test]
fn more_requests_than_ever_are_a_change_of_the_load_unless_a_hog_was_seen() {
    for hog_was_seen in [false, true] {
        let mut world = World::new(6);
        let mut guard = guard(world.learned(60));
        world.pass(&mut guard, 20);
        world.rate *= 2.0;
        world.run_queue *= 4.0;
        if hog_was_seen {
            world.blame = Some(vec![("program:hog".to_owned(), 0.9)]);
        }
        let lines = world.pass(&mut guard, 5);
        let line = anomaly(&lines, Signal::RunQueuePerRequest);
        assert_eq!(line.self_inflicted, !hog_was_seen, "{line:#?}");
        assert_eq!(line.suspects.is_empty(), !hog_was_seen);
    }
}

#[test]
fn a_burst_while_learning_hides_no_hog() {
    let mut world = World::new(7);
    let mut learner = Learner::default();
    for i in 0..60 {
        world.run_queue = if i == 30 { 40.0 * MS } else { 0.15 * MS };
        learner.add(&world.window(), is_victim);
    }
    world.run_queue = 0.15 * MS;
    let spec = learner.finish(&[], LearnOptions::default()).unwrap();
    let mut guard = guard(spec);
    assert_eq!(world.pass(&mut guard, 20), []);
    world.run_queue *= 5.0;
    world.hog("program:hog", 0.9);
    let lines = world.pass(&mut guard, 5);
    anomaly(&lines, Signal::RunQueuePerRequest);
}

#[test]
fn twenty_five_quiet_hours_of_bursts_have_hardly_a_false_alarm() {
    // One window in 140 is too high by chance, in each signal; neighbours change all the time.
    let (mut single, mut alarms) = (0, 0);
    for seed in 0..25 {
        let mut world = World::new(1000 + seed);
        world.tails = 0.015;
        let spec = world.learned(300);
        let mut run_queue = spec.specs.iter();
        let run_queue = run_queue.find(|job| job.signal == Signal::RunQueuePerRequest);
        let usual = run_queue.unwrap().all;
        let upper = expected(Mode::Courtside, Signal::RunQueuePerRequest, &usual).upper;
        let mut guard = guard(spec);
        for _ in 0..3600 {
            world.neighbours[1].1 = world.dice.f64();
            let lines = world.pass(&mut guard, 1);
            alarms += of_kind(&lines, EventKind::Anomaly).len();
            let latest = guard.latest("program:victim", Signal::RunQueuePerRequest);
            single += usize::from(latest.unwrap().1 > upper);
        }
    }
    assert!(
        (15 * 25..40 * 25).contains(&single),
        "{single} single windows"
    );
    // Four signals, each 0.008 times an hour by chance.
    assert!(alarms <= 4, "{alarms} in 25 hours");
}

#[test]
fn without_a_spec_it_learns_first_and_says_so() {
    let mut world = World::new(8);
    let mut guard = Guard::new(GuardOptions::default(), None);
    let lines = world.pass(&mut guard, LEARN_WINDOWS);
    let learned = of_kind(&lines, EventKind::Learned);
    assert_eq!(learned.len(), lines.len());
    assert!(learned.len() >= 4, "{lines:#?}");
    assert!(learned[0].reason.contains("60 windows"));
    world.run_queue *= 6.0;
    world.hog("program:hog", 0.9);
    let lines = world.pass(&mut guard, 5);
    anomaly(&lines, Signal::RunQueuePerRequest);
}

#[test]
fn a_spec_of_another_machine_or_of_too_few_windows_is_not_judged_by() {
    let mut world = World::new(9);
    let mut spec = world.learned(60);
    for job in &mut spec.specs {
        "aarch64, 4 CPUs".clone_into(&mut job.platform);
    }
    let mut elsewhere = guard(spec);
    let lines = world.pass(&mut elsewhere, LEARN_WINDOWS);
    assert!(!of_kind(&lines, EventKind::Learned).is_empty());
    let mut few = Guard::new(
        GuardOptions {
            min_samples: 100,
            ..GuardOptions::default()
        },
        Some(world.learned(60)),
    );
    let lines = world.pass(&mut few, LEARN_WINDOWS);
    assert!(!of_kind(&lines, EventKind::Learned).is_empty());
}

#[test]
fn mode_paper_looks_at_ten_seconds_of_each_minute() {
    let mut world = World::new(10);
    world.cpi = Some(1.0);
    let spec = world.learned(120);
    let options = GuardOptions {
        mode: Mode::Paper,
        min_samples: MIN_SAMPLES,
    };
    let mut guard = Guard::new(options, Some(spec));
    world.number = world.number.next_multiple_of(60);
    world.number += (60 - (START / SECOND) % 60) % 60;
    world.rate = 300.0;
    world.cpi = Some(2.0);
    world.hog("program:hog", 0.9);
    let lines = world.pass(&mut guard, 129);
    assert!(lines.is_empty(), "{lines:#?}");
    let lines = world.pass(&mut guard, 60);
    let line = anomaly(&lines, Signal::Cpi);
    assert_eq!((line.windows, guard.windows()), (3, 3));
    let hog = line.suspects.iter().find(|s| s.component == "program:hog");
    assert!(
        hog.is_some_and(|hog| hog.score >= CORRELATION_THRESHOLD),
        "{line:#?}"
    );
}

/// Writes down what it is told.
#[derive(Default)]
struct Notes {
    set: Vec<String>,
    released: Vec<String>,
    lost: Vec<(String, String)>,
    refuse: Option<&'static str>,
    /// Whether there are weights, and whether there is nothing else.
    weights: bool,
    no_quotas: bool,
}

impl Actuator for Notes {
    fn find(&mut self, component: &str, _: &str, means: Means) -> Result<Order, String> {
        if let Some(reason) = self.refuse {
            return Err(reason.to_owned());
        }
        let (file, before, after) = match means {
            Means::Weight if self.weights => ("cpu.idle", "0", "1".to_owned()),
            Means::Quota(cpus) if !self.no_quotas => {
                ("cpu.max", "max 100000", format!("{:.0} 100000", cpus * 1e5))
            }
            _ => return Err("there is no such file".to_owned()),
        };
        Ok(Order {
            cgroup: format!("/{component}"),
            file: format!("{component}/{file}"),
            before: before.to_owned(),
            after,
        })
    }

    fn set(&mut self, order: &Order) -> Result<(), String> {
        self.set.push(order.after.clone());
        Ok(())
    }

    fn release(&mut self, order: &Order) -> Result<(), String> {
        self.released.push(order.before.clone());
        Ok(())
    }

    fn lost(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.lost)
    }
}

/// A hog at work, told and to be acted on.
fn slowed() -> (World, Guard) {
    slowed_by(11)
}

fn slowed_by(seed: u64) -> (World, Guard) {
    let mut world = World::new(seed);
    let mut guard = guard(world.learned(60));
    world.pass(&mut guard, 20);
    world.run_queue *= 5.0;
    world.hog("program:hog", 0.8);
    world.blame = Some(vec![("program:hog".to_owned(), 0.9)]);
    world.pass(&mut guard, 3);
    (world, guard)
}

#[test]
fn a_limit_that_works_is_judged_so_and_given_back_step_by_step() {
    let (mut world, mut guard) = slowed();
    let mut notes = Notes::default();
    let mut controller = Controller::new(Act::Cap, Cap::Feedback);
    let lines = controller.step(&guard, &mut notes);
    let capped = of_kind(&lines, EventKind::Capped);
    let action = capped[0].action.as_ref().unwrap();
    assert_eq!(action.component, "program:hog");
    assert!(!action.dry_run && controller.holds());
    assert_eq!(notes.set.len(), 1);
    // Half is not enough; a quarter is.
    let mut all = Vec::new();
    for window in 0..200 {
        world.run_queue = if window < 5 { 0.5 * MS } else { 0.15 * MS };
        world.pass(&mut guard, 1);
        all.extend(controller.step(&guard, &mut notes));
        if !controller.holds() {
            break;
        }
    }
    let judged = of_kind(&all, EventKind::Judged);
    assert_eq!(judged.len(), 1, "{all:#?}");
    assert!(judged[0].effect.unwrap().worked);
    let set: Vec<f64> = notes
        .set
        .iter()
        .map(|text| text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e5)
        .collect();
    assert!(set[1] < 0.6 * set[0], "{set:?}");
    assert!(set[2] > set[1], "{set:?}");
    assert_eq!(of_kind(&all, EventKind::Released).len(), 1);
    assert_eq!(notes.released, ["max 100000"]);
}

#[test]
fn a_fixed_limit_ends_after_five_minutes_and_one_that_does_nothing_is_judged_so() {
    let (mut world, mut guard) = slowed();
    let mut notes = Notes::default();
    let mut controller = Controller::new(Act::Cap, Cap::Cpus(0.1));
    controller.step(&guard, &mut notes);
    let mut all = Vec::new();
    for _ in 0..299 {
        world.pass(&mut guard, 1);
        all.extend(controller.step(&guard, &mut notes));
    }
    assert!(controller.holds());
    assert!(!of_kind(&all, EventKind::Judged)[0].effect.unwrap().worked);
    world.pass(&mut guard, 1);
    let lines = controller.step(&guard, &mut notes);
    assert!(lines[0].reason.contains("five minutes"), "{lines:#?}");
    assert_eq!(notes.set, ["10000 100000"]);
    assert_eq!(notes.released, ["max 100000"]);
}

#[test]
fn what_is_refused_is_told_once_with_its_reason_and_what_is_lost_too() {
    let (mut world, mut guard) = slowed();
    let mut refusing = Notes {
        refuse: Some("it is in the root control group"),
        ..Notes::default()
    };
    let mut controller = Controller::new(Act::Cap, Cap::Feedback);
    let lines = controller.step(&guard, &mut refusing);
    assert_eq!(lines[0].event, EventKind::Refused);
    assert!(lines[0].reason.contains("root control group"));
    world.pass(&mut guard, 1);
    assert_eq!(controller.step(&guard, &mut refusing), []);
    // A dry run writes nothing.
    let mut notes = Notes::default();
    let mut dry = Controller::new(Act::DryRun, Cap::Feedback);
    let lines = dry.step(&guard, &mut notes);
    assert!(lines[0].action.as_ref().unwrap().dry_run);
    assert!(notes.set.is_empty() && !dry.holds());
    // Somebody else has changed the limit.
    let mut controller = Controller::new(Act::Cap, Cap::Feedback);
    controller.step(&guard, &mut notes);
    let foreign = "somebody else has changed it".to_owned();
    notes
        .lost
        .push(("program:hog/cpu.max".to_owned(), foreign.clone()));
    let lines = controller.step(&guard, &mut notes);
    let released = of_kind(&lines, EventKind::Released);
    assert_eq!(released[0].reason, foreign);
    assert!(notes.released.is_empty());
    // A neighbour that serves requests is not held back.
    let mut window = world.window();
    let served = window.components.get_mut("program:hog").unwrap();
    served.requests = 500;
    guard.window(window, &is_victim);
    let mut controller = Controller::new(Act::Cap, Cap::Feedback);
    let lines = controller.step(&guard, &mut notes);
    assert!(
        lines[0].reason.contains("serves requests itself"),
        "{lines:#?}"
    );
}
