//! The serial fraction that a speed-up shows.
//!
//! In: a speed-up and a size. Out: the fraction. Must not know: what was measured.

/// `e = (1/S − 1/N) / (1 − 1/N)`: the share of the work that seems to be done by one while the others wait (Karp and Flatt,
/// Measuring Parallel Processor Performance, 1990). Both numbers are relative to the base. Where it is below 0, more was
/// gained than there are workers. None for one worker.
#[must_use]
pub fn serial_fraction(speedup: f64, n: f64) -> Option<f64> {
    let fraction = (1.0 / speedup - 1.0 / n) / (1.0 - 1.0 / n);
    (n > 1.0 && speedup > 0.0 && fraction.is_finite()).then_some(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_those_computed_by_hand() {
        for (n, one, many, fraction) in [
            (16.0, 0.66, 8.75, 0.013_79),
            (64.0, 0.66, 19.56, 0.018_40),
            (16.0, 0.3, 3.37, 0.028_29),
        ] {
            let found = serial_fraction(many / one, n).unwrap();
            assert!((found - fraction).abs() < 6e-6, "{n}: {found}");
        }
        // Amdahl's own fraction comes back, whatever the size.
        for n in [2.0, 8.0, 1000.0] {
            let amdahl = 1.0 / (0.2 + 0.8 / n);
            let found = serial_fraction(amdahl, n).unwrap();
            assert!((found - 0.2).abs() < 1e-12, "{found}");
        }
        assert_eq!(serial_fraction(4.0, 4.0), Some(0.0));
        assert!(serial_fraction(4.4, 4.0).unwrap() < 0.0);
        assert_eq!(serial_fraction(1.0, 1.0), None);
        assert_eq!(serial_fraction(0.0, 4.0), None);
    }
}
