//! Fit: recordings at several rates to a profile of every component that a request passes, in one pass.
//!
//! In: what was gathered of recordings. Out: a [`Profile`], or why there is none. Must not know: files, how anything is shown.
//!
//! After Stewart and Shen (2005, section 3): what each component takes is a function of the rate. All on-CPU time of a component
//! counts, not only that in turnarounds, and the line has an intercept, since wake-ups vanish under load.

use std::collections::{BTreeMap, BTreeSet};

use courtside_core::model::{
    profile::{
        EntryShare, Fit, MeasuredResponse, PROFILE_SCHEMA, Profile, ProfileSource,
        ProfiledComponent, ProfiledEdge, ProfiledNode, Segment,
    },
    snapshot::ComponentKind,
};

use super::{
    cannot_fit::CannotFit,
    demand::fit as demand,
    gather::{Gathered, Moments, Slot, Traffic, Turns, Used},
    groups::{AtRate, FULL, different, groups},
    path::{Path, entries_of},
    regression::Group,
    unknown::{Known, unknown},
};

/// Rates that differ, at least: through two points there is always a line.
pub const MIN_RATES: usize = 3;
/// The highest rate is at least so many times the lowest.
pub const MIN_SPAN: f64 = 1.3;
/// So few requests of a hundred without a time are left out.
const MAX_UNCERTAIN: f64 = 0.05;
/// So few in windows whose counts are lower bounds: in the first one connections may be older than the recording, whose first turns
/// are not counted.
const MAX_FLAGGED: f64 = 0.2;
/// A component that takes less than this share of the CPU time of all may take less at higher rates: it is noise.
const NOISE: f64 = 0.05;
/// Held less than this share of the service time below zero: calls run at the same time.
const PARALLEL: f64 = -0.05;
/// Courtside's own process: a service that runs unobserved has none beside it.
const OURSELVES: &str = "program:courtside";

/// How to fit.
#[derive(Clone, Copy, Debug)]
pub struct FitOptions {
    /// Entries were asked for: all of them count, however few requests they have.
    pub entries_given: bool,
    /// All components of the host were looked at, not only selected ones.
    pub all_components: bool,
}

/// What a request takes of each component.
///
/// # Errors
/// The recordings do not hold what a fit needs.
pub fn fit(gathered: &Gathered, options: FitOptions) -> Result<Profile, CannotFit> {
    let shares = entries_of(gathered, options.entries_given)?;
    let entries: BTreeSet<(usize, u16)> = shares.keys().copied().collect();
    same_host(gathered)?;
    let (groups, left_out) = groups(gathered, &entries);
    enough_rates(gathered, &groups, &left_out)?;
    let path = Path::of(gathered, &groups, &entries)?;
    let work = Work {
        gathered,
        groups: &groups,
        entries: &entries,
        path: &path,
        own: own_cost(&groups),
    };
    work.check_entries()?;
    work.profile(&shares, &left_out, options)
}

/// Recordings of two hosts cannot be put together: nobody knows which windows belong to each other.
fn same_host(gathered: &Gathered) -> Result<(), CannotFit> {
    let hosts: BTreeSet<(&str, u32)> = gathered
        .sources
        .iter()
        .map(|source| (source.host.as_str(), source.cpus))
        .collect();
    if hosts.len() > 1 {
        let name = |(host, cpus): (&str, u32)| format!("{host} with {cpus} CPUs");
        return Err(CannotFit::Hosts {
            hosts: hosts.into_iter().map(name).collect(),
        });
    }
    Ok(())
}

fn enough_rates(
    gathered: &Gathered,
    groups: &[AtRate],
    left_out: &BTreeMap<usize, String>,
) -> Result<(), CannotFit> {
    let rates = different(groups.iter().map(AtRate::rate));
    let span = rates.last().zip(rates.first());
    if rates.len() >= MIN_RATES && span.is_some_and(|(last, first)| last / first >= MIN_SPAN) {
        return Ok(());
    }
    let file = |number: &usize| {
        gathered
            .sources
            .get(*number)
            .map(|source| source.file.clone())
    };
    Err(CannotFit::TooFewRates {
        rates,
        left_out: left_out
            .iter()
            .filter_map(|(number, reason)| Some((file(number)?, reason.clone())))
            .collect(),
    })
}

/// Our own kernel programs: time for each request, if all groups tell it.
fn own_cost(groups: &[AtRate]) -> Option<f64> {
    let known = groups
        .iter()
        .all(|group| group.sum(|slot| slot.programs_known) >= group.duration);
    let requests: f64 = groups.iter().map(|group| group.requests).sum();
    let sum: f64 = groups
        .iter()
        .map(|group| group.sum(|slot| slot.programs))
        .sum();
    (known && requests > 0.0).then(|| sum / requests)
}

/// How often our programs ran for a component, about: once for a message and once for a switch.
fn weight(used: &Used) -> f64 {
    used.messages + used.switches
}

struct Work<'a> {
    gathered: &'a Gathered,
    groups: &'a [AtRate<'a>],
    entries: &'a BTreeSet<(usize, u16)>,
    path: &'a Path,
    own: Option<f64>,
}

impl Work<'_> {
    /// Whether the number of requests is known.
    fn check_entries(&self) -> Result<(), CannotFit> {
        for &(component, port) in self.entries {
            let one = BTreeSet::from([(component, port)]);
            let (mut requests, mut uncertain) = (0.0, 0.0);
            for group in self.groups {
                let entered = group.entered(&one);
                requests += entered.requests;
                uncertain += entered.uncertain;
            }
            if uncertain > MAX_FLAGGED * requests {
                return Err(CannotFit::Interleaved {
                    component: self.id(component),
                });
            }
        }
        Ok(())
    }

    fn id(&self, component: usize) -> String {
        let id = self.gathered.ids.get(component);
        id.cloned().unwrap_or_default()
    }

    fn kind(&self, component: usize) -> ComponentKind {
        let kind = self.gathered.kinds.get(component);
        kind.copied().unwrap_or_default()
    }

    /// The lowest rate at which something was asked.
    fn low(&self) -> Option<&AtRate<'_>> {
        self.groups.iter().find(|group| group.requests > 0.0)
    }

    fn series(&self, f: &dyn Fn(&Slot) -> f64) -> Vec<Group> {
        self.groups
            .iter()
            .map(|group| group.group(self.entries, f))
            .collect()
    }

    /// CPU time of components of a slot, without our own programs.
    fn on_cpu(&self, slot: &Slot, wanted: &dyn Fn(usize) -> bool) -> f64 {
        let own = match self.own {
            Some(_) => slot.programs,
            None => 0.0,
        };
        // Our programs run on this host alone: what a message costs is all of the end that is here.
        let local = slot
            .components
            .iter()
            .filter(|&(&number, _)| self.kind(number) != ComponentKind::Remote);
        let all = local.map(|(_, used)| weight(used)).sum::<f64>().max(1.0);
        slot.components
            .iter()
            .filter(|&(&number, _)| wanted(number))
            .map(|(_, used)| (used.on_cpu - own * weight(used) / all).max(0.0))
            .sum()
    }

    fn profile(
        &self,
        shares: &BTreeMap<(usize, u16), f64>,
        left_out: &BTreeMap<usize, String>,
        options: FitOptions,
    ) -> Result<Profile, CannotFit> {
        // A component that requests enter at by several ports is one entry.
        let mut by_component: BTreeMap<usize, (f64, u16)> = BTreeMap::new();
        for (&(component, port), &share) in shares {
            let entry = by_component.entry(component).or_insert((0.0, port));
            entry.0 += share;
            if entry.1 != port {
                entry.1 = 0;
            }
        }
        let entries: Vec<EntryShare> = by_component
            .into_iter()
            .map(|(component, (share, port))| EntryShare {
                component: self.id(component),
                port,
                share,
            })
            .collect();
        let name = |entry: &EntryShare| match entry.port {
            0 => entry.component.clone(),
            port => format!("{}:{port}", entry.component),
        };
        let names: Vec<String> = entries.iter().map(name).collect();
        let rates = self
            .groups
            .iter()
            .map(AtRate::rate)
            .filter(|&rate| rate > 0.0);
        let range = [
            rates.clone().fold(f64::INFINITY, f64::min),
            rates.fold(0.0, f64::max),
        ];
        let components = self.components()?;
        let edges = self.edges();
        let think_time_ns = self.think_time();
        let node = self.node(options.all_components);
        let known = Known {
            all_components: options.all_components,
            think_time: think_time_ns.is_some(),
            own_cost: self.own.is_some(),
            components: &components,
            edges: &edges,
        };
        let unknown = unknown(&known);
        Ok(Profile {
            schema: PROFILE_SCHEMA.to_owned(),
            entry: names.join(" + "),
            entries,
            sources: self.sources(left_out),
            rate_range_per_s: range,
            nodes: vec![node],
            components,
            edges,
            measured: self.measured(),
            think_time_ns,
            self_cost_ns_per_request: self.own,
            unknown,
            remarks: self.remarks(left_out),
        })
    }

    fn sources(&self, left_out: &BTreeMap<usize, String>) -> Vec<ProfileSource> {
        let each = self.gathered.sources.iter().enumerate();
        each.map(|(number, source)| {
            let slots = source.slots.iter();
            let requests: f64 = slots
                .map(|slot| super::groups::requests(slot, self.entries))
                .sum();
            let fitted = self.groups.iter().any(|group| group.source == number);
            ProfileSource {
                file: source.file.clone(),
                windows: source.windows,
                duration_ns: source.duration_ns,
                requests: requests as u64,
                rate_per_s: super::groups::per_second(requests, source.duration_ns as f64),
                lost: source.lost,
                left_out: left_out.get(&number).filter(|_| !fitted).cloned(),
            }
        })
        .collect()
    }

    fn remarks(&self, left_out: &BTreeMap<usize, String>) -> Vec<String> {
        let mut remarks = Vec::new();
        for (number, reason) in left_out {
            let file = self.gathered.sources.get(*number);
            let file = file.map_or("", |source| source.file.as_str());
            let fitted = self.groups.iter().any(|group| group.source == *number);
            let what = if fitted { "part of " } else { "" };
            remarks.push(format!("{what}{file} is left out: {reason}"));
        }
        for source in self
            .gathered
            .sources
            .iter()
            .filter(|source| source.impossible > 0)
        {
            let s = if source.impossible == 1 { "" } else { "s" };
            remarks.push(format!(
                "{} window{s} of {} left out: more CPU time is booked there than there was",
                source.impossible, source.file
            ));
        }
        let full = |group: &AtRate| {
            let source = self.gathered.sources.get(group.source);
            source.is_some_and(|source| group.cpu_share(source) >= FULL)
        };
        if self.groups.iter().all(full) {
            remarks.push("the CPUs of the host were full at all rates, with what else ran there: CPU times hold, times of requests are longer than they need be".to_owned());
        }
        if self.path.other_share > 0.0 {
            remarks.push(format!(
                "{} of all requests came in elsewhere and are not part of the profile; choose with --entry",
                courtside_core::units::percent(self.path.other_share)
            ));
        }
        remarks
    }

    fn measured(&self) -> Vec<MeasuredResponse> {
        let each = self.groups.iter().filter(|group| group.requests > 0.0);
        each.map(|group| {
            let entered = group.entered(self.entries);
            let source = self.gathered.sources.get(group.source);
            MeasuredResponse {
                rate_per_s: group.rate(),
                requests: group.requests as u64,
                mean_ns: (entered.timed > 0.0).then(|| entered.time / entered.timed),
                cpu_share: source.map_or(0.0, |source| group.cpu_share(source)),
            }
        })
        .collect()
    }

    fn node(&self, all_components: bool) -> ProfiledNode {
        let source = self.gathered.sources.first();
        let (node, cpus) = source.map_or((String::new(), 0), |source| {
            (source.host.clone(), source.cpus)
        });
        let mut profiled = ProfiledNode {
            node,
            cpus,
            ..ProfiledNode::default()
        };
        if !all_components {
            return profiled;
        }
        let ours = self.gathered.ids.iter().position(|id| id == OURSELVES);
        let other = |number: usize| !self.path.components.contains(&number) && Some(number) != ours;
        let series = self.series(&|slot| self.on_cpu(slot, &other));
        // Whatever else runs there may do what it likes.
        let fit = demand(&series, f64::INFINITY).unwrap_or_default();
        let switches: f64 = self
            .groups
            .iter()
            .map(|group| {
                group.sum(|slot| {
                    let others = slot.components.iter().filter(|&(&number, _)| other(number));
                    others.map(|(_, used)| used.switches).sum()
                })
            })
            .sum();
        let on_cpu: f64 = self
            .groups
            .iter()
            .map(|group| group.sum(|slot| self.on_cpu(slot, &other)))
            .sum();
        let all = f64::from(cpus.max(1)) * 1e9;
        profiled.share_available = Some((1.0 - fit.per_second.max(0.0) / all).clamp(0.0, 1.0));
        profiled.other_run_ns = (switches > 0.0).then(|| on_cpu / switches);
        profiled.other_cpu = Some(fit);
        profiled
    }

    fn components(&self) -> Result<Vec<ProfiledComponent>, CannotFit> {
        // Noise is held to what all of them take at the highest rate.
        let all = self.path.components.len() as f64;
        let highest = self.groups.last().map_or(0.0, |group| {
            let on_path = |number: usize| self.path.components.contains(&number);
            let sum = group.sum(|slot| self.on_cpu(slot, &on_path));
            super::groups::per_second(sum, group.duration)
        });
        let ignore = NOISE * highest.max(all);
        let numbers = self.path.components.iter();
        numbers
            .map(|&number| self.component(number, ignore))
            .collect()
    }

    fn component(&self, number: usize, ignore: f64) -> Result<ProfiledComponent, CannotFit> {
        let kind = self.kind(number);
        let mut component = ProfiledComponent {
            id: self.id(number),
            kind,
            visits_per_request: self.path.visits.get(&number).copied(),
            ..ProfiledComponent::default()
        };
        let bytes = self.series(&|slot| {
            let ends = slot.edges.iter();
            ends.filter(|((from, to), _)| *from == number || *to == number)
                .map(|(_, traffic)| traffic.bytes)
                .sum()
        });
        component.network_bytes = demand(&bytes, f64::INFINITY).ok();
        if kind == ComponentKind::Remote {
            return Ok(component);
        }
        let of = |f: fn(&Used) -> f64| {
            self.series(&move |slot| slot.components.get(&number).map_or(0.0, f))
        };
        component.node = self
            .gathered
            .sources
            .first()
            .map(|source| source.host.clone());
        let cpu = self.series(&|slot| self.on_cpu(slot, &|other| other == number));
        component.cpu = Some(demand(&cpu, ignore).map_err(|falls| CannotFit::Negative {
            component: self.id(number),
            falls,
        })?);
        component.disk = demand(&of(|used| used.disk), f64::INFINITY).ok();
        component.switches = demand(&of(|used| used.switches), f64::INFINITY).ok();
        component.throttled_ns_per_request = self.throttled(number);
        component.holding = self.holding(number);
        self.at_low(number, &mut component);
        Ok(component)
    }

    /// What a CPU quota held back for each request, where that was measured.
    fn throttled(&self, number: usize) -> Option<f64> {
        let slots = self.groups.iter().flat_map(|group| &group.slots);
        let each = slots.filter_map(|slot| slot.components.get(&number)?.throttled);
        let sum = each.reduce(|a, b| a + b)?;
        let requests: f64 = self.groups.iter().map(|group| group.requests).sum();
        (requests > 0.0).then(|| sum / requests)
    }

    /// Time that requests occupy threads, where nearly all have times.
    fn holding(&self, number: usize) -> Option<Fit> {
        let timed = self.groups.iter().all(|group| {
            let served = group.used(number, |used| used.served);
            let untimed = group.used(number, |used| used.untimed);
            let with_time = group.used(number, |used| used.service.count);
            served > 0.0 && untimed <= MAX_UNCERTAIN * served && with_time > 0.0
        });
        if !timed {
            return None;
        }
        let series = self.series(&|slot| {
            slot.components.get(&number).map_or(0.0, |used| {
                let sum = used.service.sum - used.unread - used.held.max(0.0);
                let each = sum.max(0.0) / used.service.count.max(1.0);
                each * used.served
            })
        });
        demand(&series, f64::INFINITY).ok()
    }

    /// What is taken as it is at the lowest rate, where little waits.
    fn at_low(&self, number: usize, component: &mut ProfiledComponent) {
        let Some(low) = self.low() else { return };
        let mut service = Moments::default();
        let mut turns: BTreeMap<Option<usize>, Turns> = BTreeMap::new();
        for used in low
            .slots
            .iter()
            .filter_map(|slot| slot.components.get(&number))
        {
            service.add(&used.service);
            for (&to, other) in &used.turns {
                let called = self.path.calls.contains_key(&(number, to));
                turns.entry(called.then_some(to)).or_default().add(other);
            }
        }
        let sum = |f: fn(&Used) -> f64| low.used(number, f);
        let served = sum(|used| used.served);
        if service.count >= 2.0 {
            component.scv_service = service.scv();
        }
        if sum(|used| used.held_known) >= (1.0 - MAX_UNCERTAIN) * served && served > 0.0 {
            component.held_ns = Some(sum(|used| used.held).max(0.0) / served);
        }
        if served <= 0.0 {
            return;
        }
        component.segments = turns
            .into_iter()
            .filter(|(_, turns)| turns.each.count > 0.0)
            .map(|(to, turns)| Segment {
                to: to.map(|to| self.id(to)),
                per_visit: turns.each.count / served,
                on_cpu_ns: turns.on_cpu / turns.each.count,
                wait_ns: turns.wait / turns.each.count,
                disk_ns: turns.disk / turns.each.count,
                scv: if turns.each.count >= 2.0 {
                    turns.each.scv()
                } else {
                    None
                },
            })
            .collect();
    }

    fn edges(&self) -> Vec<ProfiledEdge> {
        let each = self.path.calls.keys();
        each.map(|&(from, to)| self.edge(from, to)).collect()
    }

    fn edge(&self, from: usize, to: usize) -> ProfiledEdge {
        let key = (from, to);
        let (mut all, mut at_low, mut requests) = (Traffic::default(), Traffic::default(), 0.0);
        for group in self.groups {
            requests += group.requests;
            for traffic in group.slots.iter().filter_map(|slot| slot.edges.get(&key)) {
                all.add(traffic);
            }
        }
        let low = self.low();
        for slot in low.iter().flat_map(|low| &low.slots) {
            if let Some(traffic) = slot.edges.get(&key) {
                at_low.add(traffic);
            }
        }
        let timed = at_low.untimed <= MAX_UNCERTAIN * at_low.roundtrips;
        let latency = at_low.latency.mean().filter(|_| timed);
        let is_known = all.uncertain <= MAX_FLAGGED * all.roundtrips;
        let called = low.map_or((0.0, 0.0, 0.0), |low| {
            let sum = |f: fn(&Used) -> f64| low.used(from, f);
            (
                sum(|used| used.held),
                sum(|used| used.held_known),
                sum(|used| used.service.sum),
            )
        });
        let (held, held_known, service) = called;
        ProfiledEdge {
            from: self.id(from),
            to: self.id(to),
            roundtrips_per_request: self.path.calls.get(&key).copied().filter(|_| is_known),
            messages_per_request: all.messages / requests.max(1.0),
            bytes_per_request: all.bytes / requests.max(1.0),
            min_rtt_ns: all.min_rtt_ns,
            latency_ns: latency,
            network_ns: latency
                .zip(at_low.service.mean())
                .map(|(latency, service)| (latency - service).max(0.0)),
            remote_cpu_ns_per_message: None,
            remote_cpu_ns_per_byte: None,
            parallel: (held_known > 0.0 && service > 0.0).then(|| held / service < PARALLEL),
        }
    }

    /// From a reply to the next request of clients on this host, where messages prompt those: a client that sends by a timer, or
    /// for a request of its own, has no think time.
    fn think_time(&self) -> Option<f64> {
        let entries: BTreeSet<usize> = self.entries.iter().map(|entry| entry.0).collect();
        let low = self.low()?;
        let mut turns = Turns::default();
        for slot in &low.slots {
            for (number, used) in &slot.components {
                if self.path.components.contains(number) {
                    continue;
                }
                for (_, other) in used.turns.iter().filter(|(to, _)| entries.contains(to)) {
                    turns.add(other);
                }
            }
        }
        turns
            .each
            .mean()
            .filter(|_| turns.each.count >= 0.5 * low.requests)
    }
}
