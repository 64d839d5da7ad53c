//! The six cases that CPI2 tells of (EuroSys 2013, section 6), over samples of a minute: thresholds and correlations are the
//! paper's, and what the tenants used is solved from them.

use super::*;

const MINUTE: u64 = 60 * SECOND;
const FIRST: u64 = 28_000_000 * MINUTE;
const SAMPLES: u64 = 10;

/// The victim's CPI over the ten minutes that are looked back on.
struct Story {
    threshold: f64,
    high: f64,
    low: f64,
    is_bad: fn(u64) -> bool,
}

impl Story {
    /// The last three of ten samples are bad.
    fn rise(threshold: f64, low: f64, high: f64) -> Self {
        Self {
            threshold,
            high,
            low,
            is_bad: |minute| minute >= 7,
        }
    }

    fn cpi(&self, minute: u64) -> f64 {
        if (self.is_bad)(minute) {
            self.high
        } else {
            self.low
        }
    }

    /// CPUs that a tenant uses in a good and in a bad sample, so that its correlation is as wanted: the formula solved for the
    /// share of its use that lies in bad samples. It uses one CPU in all ten of them together.
    fn uses(&self, wanted: f64) -> (f64, f64) {
        let up = 1.0 - self.threshold / self.high;
        let down = 1.0 - self.low / self.threshold;
        let share = (wanted + down) / (up + down);
        let bad = (0..SAMPLES).filter(|minute| (self.is_bad)(*minute)).count() as f64;
        ((1.0 - share) / (SAMPLES as f64 - bad), share / bad)
    }

    /// What each tenant uses in a sample.
    fn tenants(&self, minute: u64, wanted: &[(String, f64)]) -> Vec<(String, f64)> {
        let used = |(id, correlation): &(String, f64)| {
            let (good, bad) = self.uses(*correlation);
            let used = if (self.is_bad)(minute) { bad } else { good };
            (id.clone(), used)
        };
        wanted.iter().map(used).collect()
    }

    fn sample(&self, minute: u64, wanted: &[(String, f64)]) -> Inputs {
        sample(minute, self.cpi(minute), 0.5, &self.tenants(minute, wanted))
    }

    /// Ten samples go by.
    fn told(&self, guard: &mut Guard, wanted: &[(String, f64)]) -> Vec<Interference> {
        (0..SAMPLES)
            .flat_map(|minute| guard.window(self.sample(minute, wanted), &is_victim))
            .collect()
    }
}

fn sample(minute: u64, cpi: f64, usage: f64, tenants: &[(String, f64)]) -> Inputs {
    let cpu = |cpus: f64| (cpus * 10.0 * SECOND as f64) as u64;
    let tenant = |(id, cpus): &(String, f64)| {
        let used = Used {
            tasks: 8,
            cpu_ns: cpu(*cpus),
            ..Used::default()
        };
        (id.clone(), used)
    };
    let mut components: BTreeMap<String, Used> = tenants.iter().map(tenant).collect();
    let victim = Used {
        tasks: 5,
        cpu_ns: cpu(usage),
        counters: Some(((cpi * 1e9).round() as u64, 1_000_000_000)),
        ..Used::default()
    };
    components.insert("program:victim".to_owned(), victim);
    Inputs {
        start_unix_ns: FIRST + minute * MINUTE,
        duration_ns: 10 * SECOND,
        platform: "x86_64, 2 CPUs".to_owned(),
        components,
        ..Inputs::default()
    }
}

/// A spec whose mean and two standard deviations are the threshold.
fn spec(threshold: f64) -> Spec {
    let all = Moments {
        samples: 500.0,
        mean: 0.9 * threshold,
        stddev: 0.05 * threshold,
        median: 0.9 * threshold,
        deviation: 0.05 * threshold / MAD_TO_SIGMA,
    };
    let job = JobSpec {
        job: "program:victim".to_owned(),
        platform: "x86_64, 2 CPUs".to_owned(),
        signal: Signal::Cpi,
        tasks: 5,
        windows: 500,
        usable: true,
        eligible: true,
        too_few: Vec::new(),
        cpu_usage_mean: 0.5,
        requests_per_s_high: None,
        disk_bytes_per_request: None,
        all,
        bins: Vec::new(),
        days: Vec::new(),
    };
    Spec {
        specs: vec![job],
        ..Spec::default()
    }
}

fn paper(spec: Spec) -> Guard {
    let options = GuardOptions {
        mode: Mode::Paper,
        min_samples: MIN_SAMPLES,
    };
    Guard::new(options, Some(spec))
}

fn named(wanted: &[(&str, f64)]) -> Vec<(String, f64)> {
    let named = wanted.iter();
    named
        .map(|(name, correlation)| (format!("program:{name}"), *correlation))
        .collect()
}

/// Who is suspected after the last sample.
fn suspected(guard: &Guard) -> Vec<Suspect> {
    let mut anomalies = guard.anomalies();
    let (_, _, anomaly) = anomalies.next().expect("an anomaly");
    anomaly.suspects.clone()
}

#[track_caller]
fn scores_are(found: &[Suspect], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (suspect, wanted) in found.iter().zip(wanted) {
        assert!((suspect.score - wanted).abs() < 1e-6, "{suspect:#?}");
        assert_eq!(suspect.correlation, Some(suspect.score));
        assert_eq!(suspect.decided_by, DecidedBy::Correlation);
    }
}

/// Allows one component only.
struct Only {
    id: &'static str,
    notes: Notes,
}

impl Actuator for Only {
    fn find(&mut self, component: &str, victim: &str, means: Means) -> Result<Order, String> {
        if component != self.id {
            return Err("no --allow names it".to_owned());
        }
        self.notes.find(component, victim, means)
    }

    fn set(&mut self, order: &Order) -> Result<(), String> {
        self.notes.set(order)
    }

    fn release(&mut self, order: &Order) -> Result<(), String> {
        self.notes.release(order)
    }

    fn lost(&mut self) -> Vec<(String, String)> {
        self.notes.lost()
    }
}

#[test]
fn case_1_the_batch_job_of_57_tenants_is_first_and_gets_a_tenth_of_a_cpu() {
    let story = Story::rise(2.0, 1.0, 5.0);
    let mut tenants = named(&[
        ("batch", 0.46),
        ("a", 0.44),
        ("b", 0.43),
        ("c", 0.39),
        ("d", 0.39),
    ]);
    tenants.extend((0..52).map(|i| (format!("program:other{i}"), 0.005 * f64::from(i))));
    assert_eq!(tenants.len(), 57);
    let mut guard = paper(spec(2.0));
    let lines = story.told(&mut guard, &tenants);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(lines[0].event, EventKind::Anomaly);
    assert_eq!(lines[0].windows, SAMPLES);
    assert!((lines[0].expected.unwrap().upper - 2.0).abs() < 1e-9);
    assert_eq!(lines[0].value, Some(5.0));
    let found = suspected(&guard);
    scores_are(&found, &[0.46, 0.44, 0.43, 0.39, 0.39]);
    assert_eq!(found[0].component, "program:batch");
    assert_eq!(found[0].percentile, Some(100.0));
    let mut notes = Notes::default();
    let mut controller = Controller::new(Act::Cap, Cap::Cpus(0.1));
    let lines = controller.step(&guard, &mut notes);
    assert_eq!(lines.len(), 1);
    let action = lines[0].action.as_ref().unwrap();
    assert_eq!(action.component, "program:batch");
    assert_eq!(
        action.until_unix_ns,
        Some(guard.time_unix_ns() + 300 * SECOND)
    );
    assert_eq!(notes.set, ["10000 100000"]);
}

#[test]
fn case_2_correlations_below_the_threshold_name_nobody() {
    let story = Story::rise(1.7, 1.0, 3.4);
    let wanted = [0.34, 0.33, 0.32, 0.32, 0.31];
    for wanted in wanted {
        let (good, bad) = story.uses(wanted);
        let series = (0..SAMPLES).map(|minute| {
            let used = if (story.is_bad)(minute) { bad } else { good };
            (story.cpi(minute), used)
        });
        assert!((correlation(series, 1.7) - wanted).abs() < 1e-9);
    }
    let names = ["a", "b", "c", "d", "e"];
    let tenants: Vec<(&str, f64)> = names.into_iter().zip(wanted).collect();
    let mut guard = paper(spec(1.7));
    let lines = story.told(&mut guard, &named(&tenants));
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(suspected(&guard).is_empty());
    assert!(
        lines[0].reason.contains("no neighbour"),
        "{}",
        lines[0].reason
    );
    let mut notes = Notes::default();
    let mut controller = Controller::new(Act::Cap, Cap::Cpus(0.01));
    assert_eq!(controller.step(&guard, &mut notes), []);
    assert!(notes.set.is_empty());
}

#[test]
fn case_3_a_victim_that_swings_by_itself_blames_nobody() {
    // CPI is 10 whenever it hardly does anything: no sample counts.
    let tenants = named(&[("steady", 0.07)]);
    let story = Story {
        threshold: 5.0,
        high: 10.0,
        low: 3.0,
        is_bad: |minute| minute % 2 == 1,
    };
    let mut guard = paper(spec(5.0));
    for minute in 0..20 {
        let usage = if (story.is_bad)(minute) { 0.02 } else { 0.4 };
        let others = story.tenants(minute, &tenants);
        let sample = sample(minute, story.cpi(minute), usage, &others);
        assert_eq!(guard.window(sample, &is_victim), []);
    }
    // Without that floor it is an anomaly, whose best correlation is 0.07.
    let mut guard = paper(spec(5.0));
    let lines = story.told(&mut guard, &tenants);
    assert_eq!(of_kind(&lines, EventKind::Anomaly).len(), 1, "{lines:#?}");
    assert!(suspected(&guard).is_empty());
    let (good, bad) = story.uses(0.07);
    let series = (0..SAMPLES).map(|minute| {
        let used = if (story.is_bad)(minute) { bad } else { good };
        (story.cpi(minute), used)
    });
    assert!((correlation(series, 5.0) - 0.07).abs() < 1e-9);
}

#[test]
fn case_4_the_only_one_that_may_be_held_back_is_tried_once_and_not_for_long() {
    let story = Story::rise(1.05, 0.525, 4.2);
    let scores = [0.66, 0.6, 0.55, 0.5, 0.46, 0.43, 0.4, 0.38, 0.36];
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "batch"];
    let tenants: Vec<(&str, f64)> = names.into_iter().zip(scores).collect();
    let tenants = named(&tenants);
    let mut guard = paper(spec(1.05));
    story.told(&mut guard, &tenants);
    scores_are(&suspected(&guard), &scores);
    let mut only = Only {
        id: "program:batch",
        notes: Notes::default(),
    };
    let mut controller = Controller::new(Act::Cap, Cap::Cpus(0.1));
    let lines = controller.step(&guard, &mut only);
    assert_eq!(of_kind(&lines, EventKind::Refused).len(), 8);
    assert_eq!(of_kind(&lines, EventKind::Capped).len(), 1);
    // Nothing comes of it: judged so, over after five minutes, and not tried again.
    let mut all = Vec::new();
    for minute in SAMPLES..SAMPLES + 15 {
        guard.window(story.sample(minute, &tenants), &is_victim);
        all.extend(controller.step(&guard, &mut only));
    }
    let judged = of_kind(&all, EventKind::Judged);
    let effect = judged[0].effect.unwrap();
    assert_eq!((effect.before, effect.after), (4.2, 4.2));
    assert!(!effect.worked && judged.len() == 1);
    assert_eq!(of_kind(&all, EventKind::Released).len(), 1);
    assert!(of_kind(&all, EventKind::Capped).is_empty(), "{all:#?}");
    assert_eq!(only.notes.set.len(), 1);
    assert!(!controller.holds());
}

#[test]
fn case_5_a_suspect_that_starts_more_threads_while_it_is_held_back_changes_nothing() {
    let story = Story::rise(2.0, 1.0, 5.0);
    let tenants = named(&[("batch", 0.46)]);
    let mut guard = paper(spec(2.0));
    story.told(&mut guard, &tenants);
    let mut notes = Notes::default();
    let mut controller = Controller::new(Act::Cap, Cap::Cpus(0.1));
    controller.step(&guard, &mut notes);
    let mut all = Vec::new();
    for (minute, tasks) in (SAMPLES..).zip([8, 80, 80, 80, 2, 2, 2, 2]) {
        let mut window = sample(minute, 1.0, 0.5, &named(&[("batch", 0.1)]));
        let batch = window.components.get_mut("program:batch").unwrap();
        batch.tasks = tasks;
        guard.window(window, &is_victim);
        all.extend(controller.step(&guard, &mut notes));
    }
    let judged = of_kind(&all, EventKind::Judged);
    let effect = judged[0].effect.unwrap();
    assert_eq!((effect.before, effect.after), (5.0, 1.0));
    // A standard deviation is 0.1.
    assert!((effect.sigmas.unwrap() - 40.0).abs() < 1e-6, "{effect:?}");
    assert!(effect.worked);
    assert_eq!(notes.set, ["10000 100000"]);
    assert_eq!(notes.released, ["max 100000"]);
}

#[test]
fn case_6_a_worker_that_dies_at_its_second_limit_leaves_nothing_to_take_back() {
    let story = Story::rise(2.0, 1.0, 5.0);
    let tenants = named(&[("worker", 0.46)]);
    let mut guard = paper(spec(2.0));
    story.told(&mut guard, &tenants);
    let mut notes = Notes::default();
    let mut controller = Controller::new(Act::Cap, Cap::Cpus(0.1));
    controller.step(&guard, &mut notes);
    let (good, bad) = story.uses(0.46);
    let mut all = Vec::new();
    // Five minutes with the limit, and three bad samples without it.
    for minute in SAMPLES..SAMPLES + 8 {
        let (cpi, used) = if minute < SAMPLES + 5 {
            (1.0, good)
        } else {
            (5.0, bad)
        };
        let window = sample(minute, cpi, 0.5, &[("program:worker".to_owned(), used)]);
        guard.window(window, &is_victim);
        all.extend(controller.step(&guard, &mut notes));
    }
    assert_eq!(of_kind(&all, EventKind::Released).len(), 1, "{all:#?}");
    assert_eq!(of_kind(&all, EventKind::Capped).len(), 1, "{all:#?}");
    assert_eq!(notes.set.len(), 2);
    let gone = "its control group is gone".to_owned();
    notes
        .lost
        .push(("program:worker/cpu.max".to_owned(), gone.clone()));
    guard.window(sample(SAMPLES + 8, 1.0, 0.5, &[]), &is_victim);
    let lines = controller.step(&guard, &mut notes);
    assert_eq!(of_kind(&lines, EventKind::Released)[0].reason, gone);
    assert!(!controller.holds());
    assert_eq!(notes.released.len(), 1);
}

#[test]
fn a_sample_of_too_little_use_neither_flags_nor_clears() {
    let story = Story::rise(2.0, 1.0, 5.0);
    let tenants = named(&[("batch", 0.46)]);
    let mut guard = paper(spec(2.0));
    story.told(&mut guard, &tenants);
    let idle = sample(SAMPLES, 1.0, 0.2, &story.tenants(0, &tenants));
    assert_eq!(guard.window(idle, &is_victim), []);
    scores_are(&suspected(&guard), &[0.46]);
    // Nor is anything learned from it.
    let mut guard = Guard::new(
        GuardOptions {
            mode: Mode::Paper,
            min_samples: MIN_SAMPLES,
        },
        None,
    );
    for minute in 0..40 {
        assert_eq!(guard.window(sample(minute, 1.0, 0.2, &[]), &is_victim), []);
    }
}

#[test]
fn everybody_of_the_ten_minutes_is_a_suspect() {
    let mut guard = paper(spec(2.0));
    for minute in 0..SAMPLES {
        let cpi = if (2..7).contains(&minute) { 1.0 } else { 5.0 };
        let early = if minute < 2 { 0.5 } else { 0.0 };
        let tenants = [("program:early".to_owned(), early)];
        guard.window(sample(minute, cpi, 0.5, &tenants), &is_victim);
    }
    scores_are(&suspected(&guard), &[0.6]);
}

#[test]
fn the_papers_spec_has_no_bins_and_says_when_it_is_too_small_for_the_paper() {
    use courtside_core::model::spec::UsageBin;
    let story = Story::rise(2.0, 1.0, 5.0);
    let tenants = named(&[("batch", 0.46)]);
    let mut small = spec(2.0);
    let job = &mut small.specs[0];
    job.eligible = false;
    job.too_few = vec!["1 tasks, and the paper asks for 5".to_owned()];
    // At half a CPU everything up to 100 would be usual.
    job.bins = vec![UsageBin {
        half_cpus: 1,
        moments: Moments {
            samples: 500.0,
            mean: 100.0,
            median: 100.0,
            ..Moments::default()
        },
    }];
    let lines = story.told(&mut paper(small), &tenants);
    let line = anomaly(&lines, Signal::Cpi);
    assert!(
        line.reason
            .ends_with("the paper would not judge by so little: 1 tasks, and the paper asks for 5"),
        "{}",
        line.reason
    );
}
