//! Why a signal may be too high without any neighbour: the service's own quota, threads, work, disk and load, and the
//! hypervisor.
//!
//! In: what the service used in the windows that were too high, what is usual. Out: the reason in words, if there is one.
//! Must not know: neighbours, except as far as blame names them.

use courtside_core::{
    model::{interference::Signal, spec::JobSpec},
    units::{self, percent},
};

use super::{
    blame::Blame,
    detect::{Mode, expected, usual},
    inputs::{Inputs, Used, share},
};

/// More than this share of the waits, and it is what they were for.
const MOST: f64 = 0.5;
/// More requests a second than ever before by this factor are a change of the load.
const MORE_LOAD: f64 = 1.25;
/// More bytes for each request by this factor are other work.
const MORE_BYTES: f64 = 1.5;

/// Why it was no neighbour.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Excuse {
    /// The service itself or its load; not so for the hypervisor.
    pub own: bool,
    pub reason: String,
}

/// What is known of the windows.
pub(super) struct Case<'a> {
    pub mode: Mode,
    pub victim: &'a str,
    pub signal: Signal,
    /// The windows that were too high, as one, with the victim alone.
    pub windows: &'a Inputs,
    pub used: &'a Used,
    /// All that everybody used of the CPUs in them.
    pub cpu_of_all_ns: u64,
    /// All that everybody used of the disk in them, in the same unit as the victim's.
    pub disk_of_all_ns: u64,
    pub spec: &'a JobSpec,
    /// What is usual of these two, where that is known.
    pub on_cpu: Option<&'a JobSpec>,
    pub cpi: Option<&'a JobSpec>,
}

/// Looks for a reason in the service itself; none where it has to be sought outside.
pub(super) fn excuse(case: &Case<'_>) -> Option<Excuse> {
    let own = |reason: String| Excuse { own: true, reason };
    let waits = matches!(case.signal, Signal::RunQueuePerRequest | Signal::Service);
    if let Some(reason) = steal(case).filter(|_| waits) {
        return Some(Excuse { own: false, reason });
    }
    let blame = Blame::of(case.signal, case.used);
    let most = |part: f64| {
        let all = blame.as_ref().map_or(0, |blame| blame.total_ns);
        part > MOST && matters(case, part * all as f64)
    };
    // Facts about others are not explained away: what a quota held back is no part of this wait.
    let foreign = blame.as_ref().map(|blame| blame.foreign(case.victim));
    if foreign.is_some_and(most) {
        return None;
    }
    if let Some(reason) = quota(case).filter(|_| waits) {
        return Some(own(reason));
    }
    let itself = blame.as_ref().map(|blame| blame.share_of(case.victim));
    if let Some(itself) = itself.filter(|itself| most(*itself)) {
        return Some(own(format!(
            "{} of what it waited was for its own threads",
            percent(itself)
        )));
    }
    work(case)
        .or_else(|| disk(case))
        .or_else(|| load(case))
        .map(own)
}

/// Whether a time in all requests is a good part of what is too much. A service time has many other parts than waits.
fn matters(case: &Case<'_>, ns: f64) -> bool {
    if case.signal != Signal::Service {
        return true;
    }
    let usual = usual(case.mode, case.spec, case.windows.usage(case.used));
    let value = case.windows.value(case.used, case.signal);
    let more = (value.unwrap_or(0.0) - usual.median).max(0.0);
    ns / case.used.requests.max(1) as f64 >= MOST * more
}

/// Its own quota held it back for longer than it waited for a CPU.
fn quota(case: &Case<'_>) -> Option<String> {
    let throttled = case.used.throttled_ns?;
    let all = throttled.saturating_add(case.used.run_queue_ns);
    let part = share(throttled, all).filter(|part| *part > MOST)?;
    matters(case, throttled as f64).then(|| {
        format!(
            "its own CPU quota held it back for {} of the time that it was ready to run",
            percent(part)
        )
    })
}

/// The hypervisor gave others more than half of the CPU time that was wanted here: most of what anybody waits is due to it.
fn steal(case: &Case<'_>) -> Option<String> {
    let steal = case.windows.steal_ns?;
    let wanted = steal.saturating_add(case.cpu_of_all_ns);
    let part = share(steal, wanted).filter(|part| *part > MOST)?;
    Some(format!(
        "the hypervisor gave the CPUs to others for {} of the time that they were wanted",
        percent(part)
    ))
}

/// Each request takes more CPU time than usual, and not because instructions became slower.
fn work(case: &Case<'_>) -> Option<String> {
    if matches!(case.signal, Signal::Cpi | Signal::LlcMissesPerInstruction) {
        return None;
    }
    let over = |spec: &JobSpec, signal| {
        let value = case.windows.value(case.used, signal)?;
        let usual = usual(case.mode, spec, case.windows.usage(case.used));
        Some((value, expected(case.mode, signal, &usual)))
    };
    let (value, limits) = over(case.on_cpu?, Signal::OnCpuPerRequest)?;
    if value <= limits.upper {
        return None;
    }
    let cpi = case.cpi.and_then(|spec| over(spec, Signal::Cpi));
    let how = match cpi {
        Some((cpi, limits)) if cpi > limits.upper => return None,
        Some(_) => "its instructions are as fast as usual",
        None => {
            "no hardware counters tell whether its instructions became slower, so it counts as its own work"
        }
    };
    Some(format!(
        "each request takes {} of CPU time and mostly takes {}; {how}",
        units::duration_f64(value),
        units::duration_f64(limits.median)
    ))
}

/// Its own requests to the disk are more than they were, and most of what the disk does.
fn disk(case: &Case<'_>) -> Option<String> {
    if case.signal != Signal::BlockIoPerRequest {
        return None;
    }
    let usual = case.spec.disk_bytes_per_request?;
    let now = share(case.used.disk_bytes, case.used.requests)?;
    let part = share(case.used.disk_ns, case.disk_of_all_ns)?;
    (now > MORE_BYTES * usual && part > MOST).then(|| {
        format!(
            "each request moves {} on disk and mostly moves {}, and {} of the time of all disk requests is of its own",
            units::bytes_f64(now),
            units::bytes_f64(usual),
            percent(part)
        )
    })
}

/// More requests come in than ever while it was learned.
fn load(case: &Case<'_>) -> Option<String> {
    let high = case.spec.requests_per_s_high?;
    let now = case.windows.rate(case.used);
    (high > 0.0 && now > MORE_LOAD * high).then(|| {
        format!(
            "{}/s requests came in, and at most {}/s while it was learned what is usual",
            units::rate(now),
            units::rate(high)
        )
    })
}
