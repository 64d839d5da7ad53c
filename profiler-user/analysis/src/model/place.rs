//! Place: which machine should run which component.
//!
//! In: a [`Profile`], machines, the rate that is wanted. Out: a [`Placement`], or what makes no sense. Must not know: files, how
//! anything is shown.
//!
//! The method searches placements with the model as cost, by simulated annealing or by drawing them at random, and holds the
//! best to replicating everything and to replicating little (Stewart and Shen, 2005, section 5). What is wanted here: the rate
//! and the times that were asked for, at the least cost; among equal ones the highest throughput.

use courtside_core::model::{
    nodes::Nodes,
    placement::{Candidate, Method, PLACEMENT_SCHEMA, Placement},
    profile::Profile,
};
use courtside_core::units::{duration_f64, rate as shown_rate};
use fastrand::Rng;

use super::{
    cannot_predict::CannotPredict,
    load::{BASE, End, FITTED, FULL, REMOTE},
    machines::Model,
    predict::{SEED, placed, rests_on},
};

/// Placements that annealing looks at, and that are drawn at random.
const STEPS: usize = 12_000;
/// Brute force looks at no more than so many, and at no more components.
const MOST_BRUTE: f64 = 200_000.0;
const MOST_BRUTE_PARTS: usize = 8;
/// Requests that are simulated for a percentile.
const REQUESTS: usize = 20_000;
/// Of the exponential distribution, 95 in 100 are below so many means.
const P95_OF_MEAN: f64 = 2.995_732;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The machines.
    pub nodes: Nodes,
    /// Requests a second.
    pub rate: f64,
    /// Mean time allowed.
    pub mean_ns: Option<f64>,
    /// Time that 95 in 100 may take.
    pub p95_ns: Option<f64>,
    /// Where the search begins.
    pub seed: u64,
    /// Placements to look at; none for 12 000.
    pub steps: Option<usize>,
}

/// Where each part runs.
type On = Vec<Vec<usize>>;

/// How good a placement is.
#[derive(Clone, Copy, Debug)]
struct Score {
    /// Less is better.
    energy: f64,
    throughput: Option<f64>,
    /// What else runs there leaves nothing, so that no throughput can be told.
    is_full: bool,
    mean_ns: Option<f64>,
    meets: bool,
    cost: f64,
    nodes: u32,
}

/// The best placement that is found.
///
/// # Errors
/// The profile or what was said of machines makes no sense.
pub fn place(profile: &Profile, wish: &Wish) -> Result<Placement, CannotPredict> {
    let sound = |value: f64| value > 0.0 && value < 1e18;
    let limits = [Some(wish.rate), wish.mean_ns, wish.p95_ns];
    if limits.into_iter().flatten().any(|value| !sound(value)) {
        return Err(CannotPredict::Nonsense {
            what: "a rate or a time that is no number above 0 was asked for".to_owned(),
        });
    }
    let model = Model::new(profile, &wish.nodes, &[], true)?;
    let search = Search {
        parts: model.local().collect(),
        model: &model,
        wish,
        steps: wish.steps.unwrap_or(STEPS).max(1),
    };
    let mut found = vec![
        search.annealing(),
        search.random(),
        search.all_replicated(),
        search.low_replication(),
    ];
    found.extend(search.brute_force());
    let mut compared: Vec<Candidate> = Vec::with_capacity(found.len());
    let mut energies: Vec<f64> = Vec::with_capacity(found.len());
    let mut flows: Vec<super::load::Flows> = Vec::with_capacity(found.len());
    for (on, score, candidate) in found {
        flows.push(model.flows(&on));
        energies.push(score.energy);
        compared.push(search.told(&on, score, candidate));
    }
    let best = best_of(&compared, &energies);
    let flows = flows.into_iter().nth(best).unwrap_or_default();
    let [low, high] = model.range;
    Ok(Placement {
        schema: PLACEMENT_SCHEMA.to_owned(),
        entry: profile.entry.clone(),
        rests_on: rests_on(profile),
        rate_range_per_s: model.range,
        rate_per_s: wish.rate,
        inside_fitted_range: low <= wish.rate && wish.rate <= high,
        mean_limit_ns: wish.mean_ns,
        p95_limit_ns: wish.p95_ns,
        seed: wish.seed,
        best: compared.get(best).cloned().unwrap_or_default(),
        compared,
        assumed: search.assumed(profile, &flows),
    })
}

/// One that meets what is wanted is better than one that does not: percentiles are simulated, and the search only guesses them.
fn best_of(compared: &[Candidate], energies: &[f64]) -> usize {
    let mut best: Option<(usize, bool, f64)> = None;
    for (number, (candidate, &energy)) in compared.iter().zip(energies).enumerate() {
        let is_better = best.is_none_or(|(_, meets, least)| {
            candidate.meets && !meets || candidate.meets == meets && energy < least - 1e-12
        });
        if is_better {
            best = Some((number, candidate.meets, energy));
        }
    }
    best.map_or(0, |(number, ..)| number)
}

struct Search<'a> {
    model: &'a Model,
    /// Those that can be placed.
    parts: Vec<usize>,
    wish: &'a Wish,
    steps: usize,
}

impl Search<'_> {
    fn machines(&self) -> usize {
        self.model.machines.len()
    }

    fn nowhere(&self) -> On {
        vec![Vec::new(); self.model.parts.len()]
    }

    fn score(&self, on: &[Vec<usize>]) -> Score {
        let flows = self.model.flows(on);
        let rate = self.wish.rate;
        let counted = if flows.unknown_cpu { BASE } else { FULL };
        let end = self.model.saturation(&flows, counted, FITTED);
        let mut used = vec![false; self.machines()];
        let mut replicas = 0;
        for &machine in on.iter().flatten() {
            if let Some(used) = used.get_mut(machine) {
                *used = true;
                replicas += 1;
            }
        }
        let machines = || self.model.machines.iter().zip(&used);
        let all: f64 = machines().map(|(machine, _)| machine.cost).sum();
        let cost: f64 = machines()
            .filter(|(_, used)| **used)
            .map(|(machine, _)| machine.cost)
            .sum();
        let filled = match end {
            End::Never => 0.0,
            End::At(end, _) => rate / end.max(f64::MIN_POSITIVE),
            End::Already(_) => f64::INFINITY,
        };
        let counted = if flows.unknown_cpu { BASE } else { REMOTE };
        let mean_ns = (filled < 1.0)
            .then(|| self.model.mean_ns(&flows, rate, counted, FITTED))
            .flatten()
            .map(|mean| mean + self.model.network_ns(&flows).unwrap_or(0.0));
        let limit = match (self.wish.mean_ns, self.wish.p95_ns) {
            (Some(mean), Some(p95)) => Some(mean.min(p95 / P95_OF_MEAN)),
            (mean, p95) => mean.or(p95.map(|p95| p95 / P95_OF_MEAN)),
        };
        let late = match (mean_ns, limit) {
            (Some(mean), Some(limit)) => (mean / limit - 1.0).max(0.0),
            _ => 0.0,
        };
        let short = if filled < 1.0 && mean_ns.is_some() {
            0.0
        } else {
            filled.min(1e6)
        };
        let meets = short <= 0.0 && late <= 0.0;
        let energy = if meets {
            cost / all.max(f64::MIN_POSITIVE) + 1e-3 * filled + 1e-7 * f64::from(replicas)
        } else {
            2.0 + short + late.min(1e6)
        };
        Score {
            energy,
            throughput: end.rate(),
            is_full: matches!(end, End::Already(_)),
            mean_ns,
            meets,
            cost,
            nodes: used.iter().filter(|used| **used).count() as u32,
        }
    }

    fn candidate(method: Method, tried: usize) -> Candidate {
        Candidate {
            method,
            tried: tried as u64,
            ..Candidate::default()
        }
    }

    fn drawn(&self, rng: &mut Rng) -> On {
        let mut on = self.nowhere();
        // Few machines as often as many.
        let some = rng.usize(1..=self.machines());
        let mut order: Vec<usize> = (0..self.machines()).collect();
        rng.shuffle(&mut order);
        order.truncate(some);
        for &part in &self.parts {
            let replicas = if rng.bool() { 1 } else { rng.usize(1..=some) };
            rng.shuffle(&mut order);
            if let Some(places) = on.get_mut(part) {
                *places = order.iter().take(replicas).copied().collect();
            }
        }
        on
    }

    fn random(&self) -> (On, Score, Candidate) {
        let mut rng = Rng::with_seed(self.wish.seed.wrapping_add(1));
        let mut best = self.drawn(&mut rng);
        let mut score = self.score(&best);
        for _ in 1..self.steps {
            let on = self.drawn(&mut rng);
            let other = self.score(&on);
            if other.energy < score.energy {
                (best, score) = (on, other);
            }
        }
        (best, score, Self::candidate(Method::Random, self.steps))
    }

    fn all_replicated(&self) -> (On, Score, Candidate) {
        let mut on = self.nowhere();
        for &part in &self.parts {
            if let Some(places) = on.get_mut(part) {
                *places = (0..self.machines()).collect();
            }
        }
        let score = self.score(&on);
        (on, score, Self::candidate(Method::AllReplicated, 1))
    }

    /// The largest part first, on as few machines as carry it, each where most is free.
    fn low_replication(&self) -> (On, Score, Candidate) {
        let rate = self.wish.rate;
        let mut free: Vec<f64> = self
            .model
            .machines
            .iter()
            .map(|machine| machine.capacity() * machine.speed * 1e9 - machine.in_way_ns(rate, 0.0))
            .collect();
        let asked = |part: usize| {
            let this = self.model.parts.get(part);
            this.map_or(0.0, |this| this.cpu.value(rate))
        };
        let mut order = self.parts.clone();
        order.sort_by(|&a, &b| asked(b).total_cmp(&asked(a)));
        let mut on = self.nowhere();
        for part in order {
            let mut places: Vec<usize> = (0..free.len()).collect();
            places.sort_by(|&a, &b| free[b].total_cmp(&free[a]));
            let carried = |count: usize| {
                let each = asked(part) / count as f64;
                places
                    .iter()
                    .take(count)
                    .all(|&machine| free[machine] >= each)
            };
            let most = places.len();
            let count = (1..=most)
                .find(|&count| carried(count))
                .unwrap_or(most)
                .max(1);
            places.truncate(count);
            for &machine in &places {
                free[machine] -= asked(part) / count as f64;
            }
            if let Some(own) = on.get_mut(part) {
                *own = places;
            }
        }
        let score = self.score(&on);
        (on, score, Self::candidate(Method::LowReplication, 1))
    }

    /// From the placement that replicates little, by small changes: those for the worse are taken ever less often.
    fn annealing(&self) -> (On, Score, Candidate) {
        const HOT: f64 = 0.3;
        const COLD: f64 = 1e-5;
        let mut rng = Rng::with_seed(self.wish.seed);
        let (mut now, mut score, _) = self.low_replication();
        let (mut best, mut best_score) = (now.clone(), score);
        for step in 0..self.steps {
            let done = step as f64 / self.steps as f64;
            let heat = HOT * (COLD / HOT).powf(done);
            let mut next = now.clone();
            self.change(&mut next, &mut rng);
            let other = self.score(&next);
            let worse = other.energy - score.energy;
            if worse <= 0.0 || rng.f64() < (-worse / heat).exp() {
                (now, score) = (next, other);
                if score.energy < best_score.energy {
                    (best, best_score) = (now.clone(), score);
                }
            }
        }
        (
            best,
            best_score,
            Self::candidate(Method::Annealing, self.steps),
        )
    }

    fn change(&self, on: &mut [Vec<usize>], rng: &mut Rng) {
        let machines = self.machines();
        let (Some(part), machine) = (rng.choice(&self.parts).copied(), rng.usize(0..machines))
        else {
            return;
        };
        let what = rng.u8(0..10);
        if what == 0 {
            // Everything on one machine goes to another.
            let from = rng.usize(0..machines);
            for places in on.iter_mut() {
                if let Some(at) = places.iter().position(|&place| place == from) {
                    if places.contains(&machine) {
                        if places.len() > 1 {
                            places.swap_remove(at);
                        }
                    } else if let Some(place) = places.get_mut(at) {
                        *place = machine;
                    }
                }
            }
            return;
        }
        if what == 1 {
            // Two parts change places.
            if let Some(&other) = rng.choice(&self.parts) {
                on.swap(part, other);
            }
            return;
        }
        let Some(places) = on.get_mut(part) else {
            return;
        };
        let at = rng.usize(0..places.len().max(1));
        if let Some(there) = places.iter().position(|&place| place == machine) {
            if places.len() > 1 {
                places.swap_remove(there);
            }
        } else if what < 5 {
            places.push(machine);
        } else if let Some(place) = places.get_mut(at) {
            *place = machine;
        }
    }

    /// All placements, or all without replicas where those are too many; none where these are, too.
    fn brute_force(&self) -> Option<(On, Score, Candidate)> {
        let (parts, machines) = (self.parts.len(), self.machines());
        if parts > MOST_BRUTE_PARTS || parts == 0 {
            return None;
        }
        let count = |choices: f64| choices.powi(parts as i32);
        let sets = 2f64.powi(machines.min(1000) as i32) - 1.0;
        let with_replicas = count(sets) <= MOST_BRUTE;
        if !with_replicas && count(machines as f64) > MOST_BRUTE {
            return None;
        }
        let choices: Vec<Vec<usize>> = if with_replicas {
            (1..1_usize << machines)
                .map(|set| {
                    (0..machines)
                        .filter(|machine| set >> machine & 1 == 1)
                        .collect()
                })
                .collect()
        } else {
            (0..machines).map(|machine| vec![machine]).collect()
        };
        let mut digits = vec![0_usize; parts];
        let mut best: Option<(On, Score)> = None;
        let mut tried = 0;
        loop {
            let mut on = self.nowhere();
            for (&part, &digit) in self.parts.iter().zip(&digits) {
                if let (Some(places), Some(choice)) = (on.get_mut(part), choices.get(digit)) {
                    places.clone_from(choice);
                }
            }
            let score = self.score(&on);
            tried += 1;
            if best
                .as_ref()
                .is_none_or(|best| score.energy < best.1.energy)
            {
                best = Some((on, score));
            }
            let mut at = 0;
            loop {
                let Some(digit) = digits.get_mut(at) else {
                    let mut candidate = Self::candidate(Method::BruteForce, tried);
                    if !with_replicas {
                        candidate.says = Some(
                            "each component on one machine: with replicas there are too many"
                                .to_owned(),
                        );
                    }
                    return best.map(|(on, score)| (on, score, candidate));
                };
                *digit += 1;
                if *digit < choices.len() {
                    break;
                }
                *digit = 0;
                at += 1;
            }
        }
    }

    /// What is said of a placement.
    fn told(&self, on: &[Vec<usize>], score: Score, mut candidate: Candidate) -> Candidate {
        candidate.throughput_per_s = score.throughput;
        candidate.mean_ns = score.mean_ns;
        candidate.cost = score.cost;
        candidate.nodes = score.nodes;
        candidate.meets = score.meets;
        candidate.placement = placed(self.model, on);
        let mut says: Vec<String> = candidate.says.take().into_iter().collect();
        if let Some(end) = score.throughput.filter(|&end| end <= self.wish.rate) {
            says.push(format!("it serves {} a second", shown_rate(end)));
        }
        if score.is_full {
            says.push(
                "what was recorded without any request leaves nothing, so that it cannot be told what it serves"
                    .to_owned(),
            );
        }
        if let (Some(mean), Some(limit)) = (score.mean_ns, self.wish.mean_ns)
            && mean > limit
        {
            says.push(format!("requests take {}", duration_f64(mean)));
        }
        if let Some(limit) = self.wish.p95_ns {
            let flows = self.model.flows(on);
            let simulated = (score.mean_ns.is_some())
                .then(|| self.model.system(on, &flows, self.wish.rate).ok())
                .flatten()
                .and_then(|system| system.simulate(self.wish.rate, REQUESTS, SEED));
            candidate.p95_ns = simulated.map(|found| found.p95_ns);
            let mean_holds = match (score.mean_ns, self.wish.mean_ns) {
                (Some(mean), Some(limit)) => mean <= limit,
                (mean, None) => mean.is_some(),
                (None, Some(_)) => false,
            };
            candidate.meets = mean_holds && candidate.p95_ns.is_some_and(|p95| p95 <= limit);
            match candidate.p95_ns {
                Some(p95) if p95 > limit => {
                    says.push(format!("5 in 100 take more than {}", duration_f64(p95)));
                }
                None => says.push("percentiles are not known".to_owned()),
                _ => {}
            }
        }
        candidate.says = (!says.is_empty()).then(|| says.join("; "));
        candidate
    }

    fn assumed(&self, profile: &Profile, flows: &super::load::Flows) -> Vec<String> {
        let mut all = super::assumed::assumed(profile, self.model, flows);
        if self.model.machines.len() > 1 {
            let network = &self.wish.nodes.network;
            if network.cpu_us_per_message.is_none() && network.cpu_ns_per_byte.is_none() {
                all.insert(0, "A call to another machine costs no CPU time: it is not known, and cpu_us_per_message and cpu_ns_per_byte of the network are not given. So placements that need many such calls look better than they are.".to_owned());
            }
            if network.rtt_us.is_none() {
                all.insert(0, "A call to another machine takes no longer than one on the same: rtt_us of the network is not given.".to_owned());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_meets_the_wish_is_better_than_what_the_search_thought_of_it() {
        let candidate = |meets: bool| Candidate {
            meets,
            ..Candidate::default()
        };
        let compared = [candidate(false), candidate(true), candidate(true)];
        assert_eq!(best_of(&compared, &[0.1, 0.7, 0.5]), 2);
        assert_eq!(best_of(&compared[..1], &[0.1]), 0);
        let none = [candidate(false), candidate(false)];
        assert_eq!(best_of(&none, &[0.7, 0.5]), 1);
    }
}
