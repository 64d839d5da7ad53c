//! What a loss is made of: factors that multiply to it.
//!
//! In: a run at the base size and one at another. Out: an [`Identity`]. Must not know: causes.
//!
//! Tasks a second are `N × busy × frequency / (instructions a task × CPI)`, since busy is on-CPU time over the time of all
//! cores, frequency is cycles over on-CPU time, and CPI is cycles over instructions. Without hardware counters what is left is
//! `N × busy / on-CPU time a task`. So `S(N) / N` is a product of ratios, and each says which way a part of the loss went.
//! The product is what was measured by definition: it checks the arithmetic, and not the kernel.

use courtside_core::model::scaling::Identity;

use super::{events::Event, measured::Run};

/// Cycles a second on a CPU.
#[must_use]
pub fn frequency(run: &Run) -> Option<f64> {
    ratio(
        run.counts.get(&Event::Cycles),
        run.counts.get(&Event::OnCpu),
    )
    .map(|each| each * 1e9)
}

/// Cycles an instruction.
#[must_use]
pub fn cpi(run: &Run) -> Option<f64> {
    let counts = &run.counts;
    ratio(counts.get(&Event::Cycles), counts.get(&Event::Instructions))
}

fn ratio(a: Option<&f64>, b: Option<&f64>) -> Option<f64> {
    quotient(a.copied(), b.copied())
}

/// None where either is not known, or there is nothing to divide by.
pub(super) fn quotient(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    let by = b.filter(|b| *b > 0.0)?;
    Some(a? / by).filter(|quotient| quotient.is_finite())
}

/// The factors of one size against the base.
#[must_use]
pub fn identity((base_n, base): (u32, &Run), (n, run): (u32, &Run)) -> Identity {
    let busy_ratio = quotient(run.busy(n), base.busy(base_n));
    let frequency_ratio = quotient(frequency(run), frequency(base));
    let instruction_ratio = quotient(
        run.per_task(Event::Instructions),
        base.per_task(Event::Instructions),
    );
    let cpi_ratio = quotient(cpi(run), cpi(base));
    let work_ratio = quotient(run.per_task(Event::OnCpu), base.per_task(Event::OnCpu));
    let by_counters = || {
        let work = instruction_ratio? * cpi_ratio?;
        quotient(Some(busy_ratio? * frequency_ratio?), Some(work))
    };
    let speedup = run.throughput_per_s() / base.throughput_per_s();
    Identity {
        n,
        busy_ratio,
        frequency_ratio,
        instruction_ratio,
        cpi_ratio,
        work_ratio,
        product: by_counters().or_else(|| quotient(busy_ratio, work_ratio)),
        measured: speedup * f64::from(base_n) / f64::from(n),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::run, *};

    fn near(a: Option<f64>, b: f64) {
        assert!((a.unwrap() - b).abs() < 1e-9, "{a:?} {b}");
    }

    #[test]
    fn with_counters_four_factors_multiply_to_the_loss() {
        // One core: 1000 tasks a second, half busy at 3 GHz, 1 M instructions a task at CPI 1.5.
        let base = run(
            1000,
            1e9,
            &[
                (Event::OnCpu, 0.5e9),
                (Event::Cycles, 1.5e9),
                (Event::Instructions, 1e9),
            ],
        );
        // Four cores: 2400 a second; 90 % busy at 2.5 GHz, 1.25 M instructions a task at CPI 3.
        let many = run(
            2400,
            1e9,
            &[
                (Event::OnCpu, 3.6e9),
                (Event::Cycles, 9e9),
                (Event::Instructions, 3e9),
            ],
        );
        let found = identity((1, &base), (4, &many));
        near(found.busy_ratio, 0.9 / 0.5);
        near(found.frequency_ratio, 2.5 / 3.0);
        near(found.instruction_ratio, 1.25);
        near(found.cpi_ratio, 2.0);
        near(found.work_ratio, 1.25 * 2.0 / (2.5 / 3.0));
        near(found.product, 0.6);
        near(Some(found.measured), 0.6);
        near(frequency(&many), 2.5e9);
    }

    #[test]
    fn without_counters_there_are_two_and_without_cpu_time_none() {
        let base = run(100, 2e9, &[(Event::OnCpu, 1.8e9)]);
        let many = run(300, 2e9, &[(Event::OnCpu, 7.2e9)]);
        let found = identity((1, &base), (4, &many));
        near(found.busy_ratio, 1.0);
        near(found.work_ratio, 24.0 / 18.0);
        near(found.product, 0.75);
        near(Some(found.measured), 0.75);
        assert_eq!((found.cpi_ratio, found.frequency_ratio), (None, None));
        let found = identity((2, &run(100, 1e9, &[])), (4, &run(100, 1e9, &[])));
        assert_eq!((found.product, found.busy_ratio), (None, None));
        near(Some(found.measured), 0.5);
    }
}
