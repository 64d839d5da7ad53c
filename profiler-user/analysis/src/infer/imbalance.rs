//! How unevenly the time of an application is spread, and what that costs.
//!
//! In: court times and epochs of the members, the simulated run. Out: an [`Imbalance`]. Must not know: events.

use courtside_core::model::inference::{GlobalImbalance, Imbalance, ProcessRange};

use super::{
    answer::{Team, courts, spread_of},
    court::{ranges, spread},
    program::Program,
    scenarios::{Method, Simulated},
};

/// What it is told from.
pub(super) struct Told<'a> {
    pub(super) team: &'a Team<'a>,
    pub(super) program: &'a Program,
    pub(super) simulated: &'a Simulated,
}

pub(super) fn imbalance(told: &Told<'_>) -> Imbalance {
    let team = told.team;
    let courts = courts(team);
    let spread = spread_of(team);
    let epochs: Vec<&[u64]> = team
        .processes()
        .map(|process| process.epochs.done())
        .collect();
    let ranges = ranges(&epochs).into_iter().enumerate();
    let mut imbalance = Imbalance {
        global: global(team, &courts),
        process_level: ranges
            .map(|(place, (lower_ns, upper_ns))| ProcessRange {
                process: team.id(place),
                lower_ns,
                upper_ns,
            })
            .collect(),
        deviation_ns: spread.deviation,
        squared_ns2: spread.squared,
        pairwise_ns: pairwise(team),
        ..Imbalance::default()
    };
    efficiencies(told.program, told.simulated, &mut imbalance);
    imbalance
}

/// The one with most court time against each other one.
fn global(team: &Team<'_>, courts: &[f64]) -> Vec<GlobalImbalance> {
    let most = courts
        .iter()
        .enumerate()
        .max_by(|(_, a), (_, b)| a.total_cmp(b));
    let Some((process, most_ns)) = most else {
        return Vec::new();
    };
    let partners = courts
        .iter()
        .enumerate()
        .filter(|(place, _)| *place != process);
    partners
        .map(|(partner, court_ns)| {
            let imbalance_ns = (most_ns - court_ns).max(0.0);
            let length_ns = team.length_ns as f64;
            GlobalImbalance {
                process: team.id(process),
                partner: team.id(partner),
                imbalance_ns: imbalance_ns as u64,
                slowdown: slowdown(length_ns, imbalance_ns),
            }
        })
        .collect()
}

/// Run time over run time without the difference; none where nothing would be left.
fn slowdown(length_ns: f64, imbalance_ns: f64) -> Option<f64> {
    (imbalance_ns < length_ns).then(|| length_ns / (length_ns - imbalance_ns))
}

/// Sum over all pairs of the difference of what each owes the other.
fn pairwise(team: &Team<'_>) -> f64 {
    let books = &team.watch.links.books;
    let owes = |from: u32, to: u32| {
        let pair = books.pairs.get(&(from, to));
        pair.map_or(0, |pair| {
            let [_, queue_corrected_ns] = pair.court;
            queue_corrected_ns
        })
    };
    let mut sum = 0.0;
    for (place, a) in team.order.iter().enumerate() {
        for b in team.order.iter().skip(place + 1) {
            sum += owes(*a, *b).abs_diff(owes(*b, *a)) as f64;
        }
    }
    sum
}

/// The factors of POP, which multiply: parallel = load balance x communication, communication = serialisation x transfer.
fn efficiencies(program: &Program, simulated: &Simulated, imbalance: &mut Imbalance) {
    if let Some(why) = &simulated.unknown {
        imbalance.unknown = Some(format!("the factors are not known: {why}"));
        return;
    }
    let useful: Vec<f64> = program.useful_ns().iter().map(|ns| *ns as f64).collect();
    let length_ns = program.measured_ns as f64;
    let most = useful.iter().copied().fold(0.0, f64::max);
    let (Some(balance), true) = (spread(&useful).balance, length_ns > 0.0) else {
        imbalance.unknown = Some("the factors are not known: no time on a CPU was seen".to_owned());
        return;
    };
    let ideal_ns = simulated.ideal_ns.filter(|ns| *ns > 0);
    let shortest_ns = ideal_ns.map_or(length_ns, |ns| length_ns.min(ns as f64));
    let communication = most / length_ns;
    if most > shortest_ns {
        let why = "the factors are not known: threads of one process were on several CPUs at once, and the factors are those of processes that are on one";
        imbalance.unknown = Some(why.to_owned());
        return;
    }
    imbalance.load_balance = Some(balance);
    imbalance.communication_efficiency = Some(communication);
    imbalance.parallel_efficiency = Some(balance * communication);
    // The simulated run is not exact: it is never taken to be longer than the real one.
    if let Some(ideal_ns) = ideal_ns {
        let transfer = (ideal_ns as f64 / length_ns).min(1.0);
        imbalance.transfer_efficiency = Some(transfer);
        imbalance.serialisation_efficiency = Some(communication / transfer);
    } else if let Some(why) = simulated.withheld(Method::Recorded) {
        imbalance.unknown = Some(format!("transfer and serialisation are not known: {why}"));
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{program::Part, segments::Op},
        *,
    };

    /// NAS IS: 14.36 s balanced, 152.67 s with one loaded, an imbalance of 124.49 s where it is 138.31 s.
    #[test]
    fn a_tenth_off_in_the_imbalance_is_twice_off_in_the_slowdown() {
        let said = slowdown(152.67e9, 124.49e9).unwrap();
        let truth = slowdown(152.67e9, 152.67e9 - 14.36e9).unwrap();
        assert!((said - 5.42).abs() < 0.005, "{said}");
        assert!((truth - 10.63).abs() < 0.005, "{truth}");
        assert_eq!(slowdown(1e9, 1e9), None);
    }

    /// Processes by the time that each of their threads has on a CPU, in a run of 100 ns.
    fn factors(processes: &[&[u64]], ideal_ns: u64) -> Imbalance {
        let mut parts = Vec::new();
        for (process, threads) in processes.iter().enumerate() {
            parts.extend(threads.iter().map(|ns| Part {
                process,
                tid: 0,
                start_ns: 0,
                ops: vec![Op::Run {
                    cpu: 0,
                    ns: *ns,
                    queue_ns: 0,
                }],
            }));
        }
        let program = Program {
            processes: processes.len(),
            parts,
            measured_ns: 100,
            ..Program::default()
        };
        let simulated = Simulated {
            ideal_ns: Some(ideal_ns),
            ..Simulated::default()
        };
        let mut imbalance = Imbalance::default();
        efficiencies(&program, &simulated, &mut imbalance);
        imbalance
    }

    #[test]
    fn the_factors_are_those_of_pop() {
        // Useful time 20, 40, 40 and 60 of 100, 80 with messages that take no time.
        let found = factors(&[&[20], &[40], &[10, 30], &[60]], 80);
        let factor = |found: Option<f64>, expected: f64| {
            let found = found.unwrap();
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        };
        factor(found.load_balance, 2.0 / 3.0);
        factor(found.serialisation_efficiency, 0.75);
        factor(found.transfer_efficiency, 0.8);
        factor(found.communication_efficiency, 0.6);
        factor(found.parallel_efficiency, 0.4);
        assert_eq!(found.unknown, None);
    }

    #[test]
    fn no_efficiency_is_above_1() {
        // More than the run, and more than the run with messages that take no time.
        for (threads, ideal_ns) in [([80, 80], 100), ([40, 40], 60)] {
            let found = factors(&[&threads, &[50]], ideal_ns);
            assert_eq!(found.load_balance, None);
            assert_eq!(found.serialisation_efficiency, None);
            assert_eq!(found.communication_efficiency, None);
            assert_eq!(found.parallel_efficiency, None);
            assert!(found.unknown.unwrap().contains("several CPUs at once"));
        }
    }
}
