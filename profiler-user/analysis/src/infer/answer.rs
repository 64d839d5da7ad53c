//! The answer, put together from what was watched.
//!
//! In: processes, links and segments. Out: an [`Inference`]. Must not know: events.

use std::collections::BTreeMap;

use courtside_core::model::{
    inference::{
        ByBlocking, ByGap, ByTurn, Court, CourtTo, INFERENCE_SCHEMA, Inference, Iterations, Link,
        Process, ReceiveWait, Time, Timeline,
    },
    snapshot::Dist,
};

use foldhash::HashMap;

use super::{
    CannotTell, Inferring,
    court::{Spread, spread},
    imbalance::{self, Told},
    links::OUTSIDE,
    members::{Members, members},
    program::Program,
    replay::hops,
    rounds::{GAP_FACTOR, cdf, per_second, stationary},
    says,
    scenarios::{Names, Simulated, simulate},
    spectrum,
    timeline::timeline,
    topology::topology,
    watch::{self, Watch},
};

/// Whoever is not on this host.
const OUTSIDE_ID: &str = "outside";
/// A process polls if it goes to sleep of its own will less often than in this share of the messages that it reads,
const SLEEPS: u64 = 50;
/// and looks for messages for more than this share of its time on a CPU.
const POLLED: u64 = 20;

/// Who is a member, and all that is asked about them.
pub(super) struct Team<'a> {
    pub(super) watch: &'a Watch,
    /// Numbers of the members, in the order in which they are shown.
    pub(super) order: Vec<u32>,
    pub(super) places: HashMap<u32, usize>,
    /// Id, name and number of each.
    pub(super) names: Vec<(String, String, u32)>,
    pub(super) polls: Vec<bool>,
    /// Its first message, and the time to its last.
    pub(super) first_ns: u64,
    pub(super) length_ns: u64,
}

impl Team<'_> {
    pub(super) fn place(&self, number: u32) -> Option<usize> {
        self.places.get(&number).copied()
    }

    pub(super) fn processes(&self) -> impl Iterator<Item = &watch::Process> {
        let numbers = self.order.iter();
        numbers.filter_map(|number| self.watch.processes.get(*number as usize))
    }

    pub(super) fn id(&self, place: usize) -> String {
        self.names
            .get(place)
            .map_or_else(String::new, |(id, ..)| id.clone())
    }
}

/// With a timeline, if lanes were wanted.
pub(super) fn answer(inferring: Inferring) -> Result<(Inference, Timeline), CannotTell> {
    let Inferring {
        watch,
        mut source,
        names,
        selection,
        selected,
        wishes,
        start_unix_ns,
        offset_ns,
        images: _,
    } = inferring;
    if watch.events == 0 {
        return Err(CannotTell::NoEvents { file: source.file });
    }
    let name = |number: u32| -> (String, String, u32) {
        let Some(process) = watch.processes.get(number as usize) else {
            return (OUTSIDE_ID.to_owned(), OUTSIDE_ID.to_owned(), 0);
        };
        let told = names.get(&process.tgid).map(String::as_str);
        let name = told.or(process.name.as_deref()).unwrap_or("unknown");
        (
            format!("{name}/{}", process.tgid),
            name.to_owned(),
            process.tgid,
        )
    };
    let messages: BTreeMap<(u32, u32), u64> = watch
        .links
        .books
        .pairs
        .iter()
        .map(|(pair, sums)| (*pair, sums.messages))
        .collect();
    let everyone = selection.names_no_component();
    let meant = |number: u32| {
        let process = watch.processes.get(number as usize);
        everyone || process.is_some_and(|process| selected.contains(&process.tgid))
    };
    let found = members(&messages, meant);
    if found.members.is_empty() {
        let seen = (0..watch.processes.len()).filter(|number| meant(*number as u32));
        return Err(CannotTell::NoMessages {
            file: source.file,
            processes: seen.count(),
            selected: !everyone,
        });
    }
    let team = team(&watch, &found, &name);
    source.application_ns = team.length_ns;
    source.segments = watch.segments.count as u64;
    source.cut = watch.segments.cut_ns.is_some();
    let books = &watch.links.books;
    let latency = |from: u32, to: u32| {
        let pair = books.pairs.get(&(from, to));
        pair.map_or(0, |pair| Dist::from(&pair.latency.clone().finish()).p50_ns)
    };
    let program = Program::new(
        &watch.segments,
        team.order.len(),
        |number| team.place(number),
        latency,
    );
    let why_not = why_not(&team, &program);
    let outside = |number: u32| {
        let process = watch.processes.get(number as usize);
        let component = process.and_then(|process| process.component.as_ref());
        let component = component.map_or("unknown", |component| component.id.as_str());
        (name(number).1, component.to_owned())
    };
    let all_names = Names {
        members: &team.names,
        outside: &outside,
    };
    let waits: Vec<u64> = team
        .processes()
        .map(|process| process.sums.run_queue_ns)
        .collect();
    let simulated = simulate(&program, &all_names, &waits, &wishes, why_not);
    let imbalance = imbalance::imbalance(&Told {
        team: &team,
        program: &program,
        simulated: &simulated,
    });
    let (trusted, event_offset_ns) = (simulated.base.is_some(), offset_ns);
    let offset_ns = start_unix_ns.map_or(0, |start_ns| start_ns.wrapping_sub(offset_ns));
    let since_start = |ns: u64| ns.saturating_sub(offset_ns);
    let place = |number: u32| {
        team.place(number)
            .and_then(|place| u32::try_from(place).ok())
    };
    let placed = |bytes: &BTreeMap<(u32, u32), u64>| -> BTreeMap<(u32, u32), u64> {
        let pairs = bytes.iter();
        let pairs = pairs.filter_map(|((a, b), bytes)| Some(((place(*a)?, place(*b)?), *bytes)));
        pairs.collect()
    };
    let bytes = books.pairs.iter().map(|(pair, sums)| (*pair, sums.bytes));
    let updates: Vec<_> = watch.updates.iter().map(&placed).collect();
    let ids: Vec<String> = team.names.iter().map(|(id, ..)| id.clone()).collect();
    let topology = topology(
        &ids,
        &placed(&bytes.collect()),
        &updates,
        since_start(watch.first_ns.unwrap_or(0)),
        team.length_ns,
    );
    let mut inference = Inference {
        schema: INFERENCE_SCHEMA.to_owned(),
        source,
        processes: processes(&team, &simulated, &name),
        topology,
        imbalance,
        network: network(&team),
        ..Inference::default()
    };
    inference.remarks = says::remarks(&inference, &team, &found, &simulated, &name);
    inference.what_if = simulated.scenarios;
    inference.self_check = simulated.self_check;
    inference.latency_tolerance = simulated.tolerance;
    inference.outsiders = simulated.outsiders;
    inference.findings = says::findings(&inference);
    let lanes = &books.lanes;
    if !lanes.wanted() {
        return Ok((inference, Timeline::default()));
    }
    // Where the simulation comes out wrong there is no path.
    let hops = match trusted {
        true => hops(&program).unwrap_or_default(),
        false => Vec::new(),
    };
    let timeline = timeline(&team, lanes, &program, &hops, event_offset_ns);
    Ok((inference, timeline))
}

fn team<'a>(
    watch: &'a Watch,
    found: &Members,
    name: &impl Fn(u32) -> (String, String, u32),
) -> Team<'a> {
    let mut named: Vec<(u32, (String, String, u32))> = found
        .members
        .iter()
        .map(|number| (*number, name(*number)))
        .collect();
    // rank2 comes before rank10.
    named.sort_by_cached_key(|(_, (_, name, tgid))| {
        let plain = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = name.get(plain.len()..).unwrap_or_default();
        (plain.to_owned(), number.parse::<u64>().ok(), *tgid)
    });
    let (order, names): (Vec<u32>, Vec<_>) = named.into_iter().unzip();
    let process = |number: &u32| watch.processes.get(*number as usize);
    let spoke = || {
        order
            .iter()
            .filter_map(process)
            .filter_map(|process| process.spoke)
    };
    let first_ns = spoke().map(|(first_ns, _)| first_ns).min().unwrap_or(0);
    let last_ns = spoke().map(|(_, last_ns)| last_ns).max().unwrap_or(0);
    let polls = order
        .iter()
        .map(|number| process(number).is_some_and(polls));
    Team {
        watch,
        polls: polls.collect(),
        names,
        first_ns,
        length_ns: last_ns.saturating_sub(first_ns),
        places: order
            .iter()
            .enumerate()
            .map(|(place, number)| (*number, place))
            .collect(),
        order,
    }
}

/// Whether a process waits for messages without going to sleep.
fn polls(process: &watch::Process) -> bool {
    process.sleeps.saturating_mul(SLEEPS) < process.reads
        && process.polled_ns.saturating_mul(POLLED) > process.sums.on_cpu_ns
}

/// Why nothing can be simulated.
fn why_not(team: &Team<'_>, program: &Program) -> Option<String> {
    let polling = team.polls.iter().filter(|polls| **polls).count();
    if polling > 0 {
        return Some(format!(
            "{polling} of {} processes wait without going to sleep (they poll), and recordings do not hold what tells that from work",
            team.order.len()
        ));
    }
    if program.segments == 0 || program.links.is_empty() {
        return Some("no segments of the application were recorded".to_owned());
    }
    None
}

fn processes(
    team: &Team<'_>,
    simulated: &Simulated,
    name: &impl Fn(u32) -> (String, String, u32),
) -> Vec<Process> {
    let mut all = Vec::new();
    for (place, (process, (id, own_name, tgid))) in team.processes().zip(&team.names).enumerate() {
        let polls = team.polls.get(place).copied().unwrap_or(false);
        let number = team.order.get(place).copied().unwrap_or(OUTSIDE);
        let samples = process
            .bins
            .as_ref()
            .map(|bins| bins.samples(team.first_ns, team.first_ns.saturating_add(team.length_ns)));
        let (period, cutoff_hz) = match samples {
            Some((step_ns, counts)) => spectrum::look(step_ns, &counts),
            None => (Err("it has no iterations".to_owned()), None),
        };
        let (period, period_unknown) = match period {
            Ok(period) => (Some(period), None),
            Err(why) => (None, Some(why)),
        };
        let component = process.component.as_ref();
        let base = simulated.base.as_ref();
        all.push(Process {
            id: id.clone(),
            name: own_name.clone(),
            tgid: *tgid,
            component: component
                .map_or("unknown", |component| component.id.as_str())
                .to_owned(),
            threads: process.threads,
            iterations: iterations(team, process, polls, cutoff_hz),
            period,
            period_unknown,
            court: court(team, number, process, name),
            time: time(team, number, process, name),
            polls,
            slack_ns: base.and_then(|base| base.slack_ns.get(place).copied()),
            critical_share: base.map(|base| base.path.share(place)),
        });
    }
    all
}

fn iterations(
    team: &Team<'_>,
    process: &watch::Process,
    polls: bool,
    cutoff_hz: Option<f64>,
) -> Iterations {
    let length_ns = team.length_ns;
    let mean_per_s = |count: u64| per_second(count, length_ns);
    let by_gap = (process.rtt_ns > 0).then(|| ByGap {
        count: process.gaps.count,
        mean_per_s: mean_per_s(process.gaps.count),
        factor: GAP_FACTOR,
        floor_ns: process.rtt_ns,
    });
    let by_blocking = (!polls).then(|| ByBlocking {
        count: process.blocking,
        mean_per_s: mean_per_s(process.blocking),
    });
    let both = process.sends > 0 && process.reads > 0;
    let by_turn = both.then(|| ByTurn {
        count: process.turns,
        mean_per_s: mean_per_s(process.turns),
    });
    let mut unknown = Vec::new();
    if by_gap.is_none() {
        unknown.push("by_gap: the kernel knew no round-trip time of its connections");
    }
    if by_blocking.is_none() {
        unknown.push("by_blocking: it polls");
    }
    if by_turn.is_none() {
        unknown.push(if process.sends > 0 {
            "by_turn: it only sends"
        } else {
            "by_turn: it only receives"
        });
    }
    let end_ns = team.first_ns.saturating_add(length_ns);
    let bins = process.bins.as_ref();
    let series = bins
        .map(|bins| bins.series(team.first_ns, end_ns))
        .unwrap_or_default();
    Iterations {
        by_gap,
        by_blocking,
        by_turn,
        cdf: cdf(&series),
        stationary: stationary(&series),
        series,
        cutoff_hz,
        unknown: (!unknown.is_empty()).then(|| unknown.join("; ")),
    }
}

fn court(
    team: &Team<'_>,
    number: u32,
    process: &watch::Process,
    name: &impl Fn(u32) -> (String, String, u32),
) -> Court {
    let books = &team.watch.links.books;
    let of = |to: String, [packet_rule_ns, queue_corrected_ns]: [u64; 2]| CourtTo {
        to,
        packet_rule_ns,
        queue_corrected_ns,
    };
    let own = books.pairs.iter().filter(|((from, _), _)| *from == number);
    let mut by_recipient: Vec<CourtTo> = own
        .map(|((_, to), pair)| of(name(*to).0, pair.court))
        .collect();
    let outside = books.outside_court.get(&number);
    by_recipient.extend(outside.map(|court| of(OUTSIDE_ID.to_owned(), *court)));
    by_recipient.sort_by(|a, b| a.to.cmp(&b.to));
    let [packet_rule_ns, queue_corrected_ns] = process.court;
    Court {
        packet_rule_ns,
        queue_corrected_ns,
        by_recipient,
    }
}

fn time(
    team: &Team<'_>,
    number: u32,
    process: &watch::Process,
    name: &impl Fn(u32) -> (String, String, u32),
) -> Time {
    let books = &team.watch.links.books;
    let sums = &process.sums;
    let own = books
        .waits
        .iter()
        .filter(|((waits, _), _)| *waits == number);
    let mut receive_wait: Vec<ReceiveWait> = own
        .map(
            |((_, from), [not_sent_ns, in_flight_ns, transfer_ns])| ReceiveWait {
                from: name(*from).0,
                not_sent_ns: *not_sent_ns,
                in_flight_ns: *in_flight_ns,
                transfer_ns: *transfer_ns,
            },
        )
        .collect();
    receive_wait.sort_by(|a, b| a.from.cmp(&b.from));
    let untold_ns = books.untold_ns.get(&number).copied().unwrap_or(0);
    // Of a wait that began before the first event, more was held back than is seen.
    let throttled_ns = sums.throttled_ns.min(sums.run_queue_ns);
    let throttled_ns = (!team.watch.misses_quotas).then_some(throttled_ns);
    Time {
        wall_ns: process.thread_ns / process.threads.max(1),
        on_cpu_ns: sums.on_cpu_ns,
        spin_ns: team.watch.sees_looks.then_some(sums.spin_ns),
        run_queue_ns: sums.run_queue_ns - throttled_ns.unwrap_or(0),
        throttled_ns,
        block_io_ns: sums.block_io_ns,
        lock_ns: sums.lock_ns,
        send_wait_ns: sums.send_wait_ns,
        other_ns: sums.other_ns.saturating_add(untold_ns),
        receive_wait,
    }
}

fn network(team: &Team<'_>) -> Vec<Link> {
    let mut links = Vec::new();
    for (from, number) in team.order.iter().enumerate() {
        for (to, other) in team.order.iter().enumerate() {
            let pair = team.watch.links.books.pairs.get(&(*number, *other));
            let Some(pair) = pair.filter(|pair| pair.messages > 0 && from != to) else {
                continue;
            };
            links.push(Link {
                from: team.id(from),
                to: team.id(to),
                min_rtt_ns: (pair.rtt_ns > 0).then_some(pair.rtt_ns),
                latency_ns: Dist::from(&pair.latency.clone().finish()),
                transfer_ns: pair.transfer_ns,
                messages: pair.messages,
                bytes: pair.bytes,
                clock_offset_ns: Some(0.0),
                ..Link::default()
            });
        }
    }
    links
}

/// Court times of the members, queue-corrected.
pub(super) fn courts(team: &Team<'_>) -> Vec<f64> {
    let court = |process: &watch::Process| {
        let [_, queue_corrected_ns] = process.court;
        queue_corrected_ns as f64
    };
    team.processes().map(court).collect()
}

/// How unevenly they are spread.
pub(super) fn spread_of(team: &Team<'_>) -> Spread {
    spread(&courts(team))
}
