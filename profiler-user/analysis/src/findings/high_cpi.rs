//! `high_cpi`: the CPU gets little done in its cycles.
//!
//! In: a component's hardware counters. Out: its cycles per instruction, and whether memory may be why. Must not know: what
//! runs beside it on the same core or cache.

use courtside_core::{
    frame::PmuState,
    model::finding::Severity,
    parts::Part,
    units::{percent, rate, ratio},
};

use super::{
    Rule,
    facts::Facts,
    found::{CONCLUDED, Found, per_instruction, share},
};

/// Servers of whole fleets run at one to two cycles an instruction; well above that most cycles go into waiting.
const HIGH: f64 = 3.0;
/// In a thousand instructions: each miss costs some hundred cycles, so ten explain one cycle an instruction.
const MANY_MISSES: f64 = 10.0;
/// What is on a CPU for less than this share of one core gains nothing by a better CPI.
const MIN_CORE: f64 = 0.1;
/// And nothing a request, if it is on a CPU for less than this share of its time.
const MIN_OF_REQUEST: f64 = 0.2;
/// Counters that counted for less of the time are scaled up too much to be relied on.
const MIN_COUNTED: f64 = 0.5;

pub(super) struct HighCpi;

impl Rule for HighCpi {
    fn name(&self) -> &'static str {
        "high_cpi"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let pmu = &facts.snapshot.quality.pmu;
        if !matches!(pmu.state, PmuState::Ok | PmuState::Multiplexed) {
            return Vec::new();
        }
        let found = facts.local().filter_map(|component| {
            let counters = component.counters?;
            let cpi = counters.cpi.filter(|cpi| *cpi >= HIGH)?;
            let on_cpu = facts.of_window(component.cpu.on_cpu_ns);
            let counted = counters.running_ratio.unwrap_or(1.0);
            if on_cpu < MIN_CORE || counted < MIN_COUNTED {
                return None;
            }
            let misses = counters
                .llc_misses
                .map(|misses| misses as f64 * 1000.0 / counters.instructions.max(1) as f64);
            let way = facts.on_way(&component.id);
            let at_stake_ns = way.map(|way| way.at_stake_ns(way.court.parts[Part::OnCpu]));
            let of_request = way.zip(at_stake_ns).map(|(way, ns)| ns / way.mean_ns);
            let by_memory = misses.is_some_and(|misses| misses >= MANY_MISSES);
            let matters = of_request.is_some_and(|share| share >= MIN_OF_REQUEST);
            let name = facts.name(&component.id);
            let mut evidence = vec![
                per_instruction("cpi", cpi),
                share("on_cpu", on_cpu),
                share("counted", counted),
            ];
            let missed = misses.map_or_else(String::new, |misses| {
                evidence.push(per_instruction("llc_misses_per_instruction", misses / 1000.0));
                format!(", with {} last-level cache misses in 1000 instructions", rate(misses))
            });
            let remedy = if by_memory {
                format!(
                    "{name} waits for memory: see whether its data grew, and whether it gets better when you stop what runs beside it"
                )
            } else {
                format!(
                    "Compare with a quiet time: if {name}'s CPI was lower then, see what runs on the same cores now"
                )
            };
            Some(Found {
                severity: if by_memory && matters {
                    Severity::Warn
                } else {
                    Severity::Info
                },
                component: component.id.clone(),
                edge: None,
                says: format!(
                    "{name} needs {} cycles for each instruction{missed}, and is on a CPU for {} of one core",
                    ratio(Some(cpi)),
                    percent(on_cpu)
                ),
                evidence,
                remedy,
                sure: CONCLUDED,
                // Millions of instructions: fewer are a start, not a habit.
                rests_on: counters.instructions / 1_000_000,
                at_stake_ns,
            })
        });
        found.collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{calm, component, said};
    use super::*;
    use courtside_core::model::{Snapshot, snapshot::Counters};

    fn counting(cpi: f64, misses: u64) -> Snapshot {
        let mut snapshot = calm();
        snapshot.quality.pmu.state = PmuState::Ok;
        component(&mut snapshot, "program:app").counters = Some(Counters {
            cycles: (500e6 * cpi) as u64,
            instructions: 500_000_000,
            llc_misses: Some(misses),
            cpi: Some(cpi),
            running_ratio: Some(1.0),
            ..Counters::default()
        });
        snapshot
    }

    pub(in super::super) fn loud() -> Snapshot {
        counting(4.2, 9_000_000)
    }

    #[test]
    fn cycles_without_instructions_are_said() {
        let found = said("high_cpi", &loud());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "app needs 4.20 cycles for each instruction, with 18.0 last-level cache misses in 1000 instructions, and is on a CPU for 50% of one core"
        );
        assert_eq!(found[0].severity, Severity::Warn);
        let other = said("high_cpi", &counting(4.2, 1000));
        assert_eq!(other[0].severity, Severity::Info);
        assert!(other[0].remedy.starts_with("Compare with a quiet time"));
    }

    #[test]
    fn a_usual_cpi_and_counters_that_hardly_count_are_no_finding() {
        assert!(said("high_cpi", &calm()).is_empty());
        assert!(said("high_cpi", &counting(1.9, 9_000_000)).is_empty());
        let mut multiplexed = loud();
        let counters = component(&mut multiplexed, "program:app").counters.as_mut();
        counters.unwrap().running_ratio = Some(0.2);
        assert!(said("high_cpi", &multiplexed).is_empty());
        let mut idle = loud();
        component(&mut idle, "program:app").cpu.on_cpu_ns = 1_000_000;
        assert!(said("high_cpi", &idle).is_empty());
        let mut none = loud();
        none.quality.pmu.state = PmuState::None;
        assert!(said("high_cpi", &none).is_empty());
    }
}
