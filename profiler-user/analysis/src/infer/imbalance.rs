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
    efficiencies(told, &mut imbalance);
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
                slowdown: (imbalance_ns < length_ns)
                    .then(|| length_ns / (length_ns - imbalance_ns)),
            }
        })
        .collect()
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
fn efficiencies(told: &Told<'_>, imbalance: &mut Imbalance) {
    if let Some(why) = &told.simulated.unknown {
        imbalance.unknown = Some(format!("the factors are not known: {why}"));
        return;
    }
    let useful: Vec<f64> = told
        .program
        .useful_ns()
        .iter()
        .map(|ns| *ns as f64)
        .collect();
    let length_ns = told.program.measured_ns as f64;
    let most = useful.iter().copied().fold(0.0, f64::max);
    let (Some(balance), true) = (spread(&useful).balance, length_ns > 0.0) else {
        imbalance.unknown = Some("the factors are not known: no time on a CPU was seen".to_owned());
        return;
    };
    // Threads of one process may be on several CPUs at once.
    let communication = most / length_ns;
    imbalance.load_balance = Some(balance);
    imbalance.communication_efficiency = Some(communication);
    imbalance.parallel_efficiency = Some(balance * communication);
    // The simulated run is not exact: it is never taken to be longer than the real one.
    if let Some(ideal_ns) = told.simulated.ideal_ns.filter(|ns| *ns > 0) {
        let transfer = (ideal_ns as f64 / length_ns).min(1.0);
        imbalance.transfer_efficiency = Some(transfer);
        imbalance.serialisation_efficiency = Some(communication / transfer);
    } else if let Some(why) = told.simulated.withheld(Method::Recorded) {
        imbalance.unknown = Some(format!("transfer and serialisation are not known: {why}"));
    }
}
