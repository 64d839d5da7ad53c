//! What repeats in a rate over time, by its power spectrum (Gupta 2008; Tarraf et al., FTIO, for the confidence).
//!
//! In: counts in equal steps. Out: the period, how sure it is, the strongest frequencies, the frequency below which most of
//! the energy is. Must not know: what is counted.

use std::collections::BTreeMap;

use courtside_core::{model::inference::Period, units::duration_f64};
use rustfft::{FftPlanner, num_complex::Complex};

/// Steps that are needed to say anything.
const MIN_STEPS: usize = 32;
/// A period has to be there so often.
const MIN_PERIODS: f64 = 3.0;
/// The padded series is at least so many times as long.
const PADDING: usize = 8;
/// Frequencies of a fingerprint.
const FINGERPRINT: usize = 10;
/// FTIO: a frequency may be dominant from so many standard deviations on,
const Z: f64 = 3.0;
/// and from this share of the greatest on.
const Z_SHARE: f64 = 0.8;
/// More dominant frequencies than these are no period.
const MOST_DOMINANT: usize = 2;
/// How likely chance alone may make the peak, by Fisher's test (1929).
const CHANCE: f64 = 1e-3;
/// Counts in steps of a steady rate vary by less than one; what varies by no more than this (variance) is steady.
const STEADY: f64 = 1.0;
/// Share of the energy below the cut-off.
const CUTOFF: f64 = 0.95;

const SECOND_NS: f64 = 1e9;

/// What the spectrum of counts in steps of this length says: the period or why there is none, and the cut-off in Hz.
pub(super) fn look(step_ns: u64, counts: &[f64]) -> (Result<Period, String>, Option<f64>) {
    let length_ns = step_ns as f64 * counts.len() as f64;
    if counts.len() < MIN_STEPS || step_ns == 0 {
        let why = format!("{} are too short for a spectrum", duration_f64(length_ns));
        return (Err(why), None);
    }
    let centred = centred(counts);
    let squares: f64 = centred.iter().map(|value| value * value).sum();
    if squares / centred.len() as f64 <= STEADY {
        return (Err("the rate does not vary".to_owned()), None);
    }
    let hz = SECOND_NS / step_ns as f64;
    let plain = power(&centred, centred.len());
    let cutoff_hz = cutoff(&plain, hz / centred.len() as f64);
    (period(&centred, &plain, hz), cutoff_hz)
}

fn period(centred: &[f64], plain: &[f64], hz: f64) -> Result<Period, String> {
    let seconds = centred.len() as f64 / hz;
    let (peak_hz, padded, grid_hz) = peak(centred, hz).ok_or("the rate does not vary")?;
    if peak_hz * seconds < MIN_PERIODS {
        return Err(format!(
            "not resolved: the strongest frequency would be there {:.1} times in {}, and {MIN_PERIODS} times are needed; record for longer",
            peak_hz * seconds,
            duration_f64(seconds * SECOND_NS)
        ));
    }
    let chance = fisher(plain);
    if chance > CHANCE {
        return Err(format!(
            "no frequency stands out: chance alone makes such a peak in {:.0} of 1000 recordings",
            (chance * 1000.0).max(1.0)
        ));
    }
    let dominant = dominant(plain);
    let confidence = match dominant.as_slice() {
        [] => 0.0,
        some if some.len() > MOST_DOMINANT => {
            return Err(format!(
                "{} frequencies stand out alike: not periodic",
                some.len()
            ));
        }
        some => some
            .iter()
            .map(|(_, confidence)| *confidence)
            .fold(0.0, f64::max),
    };
    let period_ns = SECOND_NS / peak_hz;
    Ok(Period {
        period_ns,
        resolution_ns: period_ns / (peak_hz * seconds),
        confidence: confidence.min(1.0),
        fingerprint: fingerprint(&padded, grid_hz, 1.0 / seconds),
    })
}

fn centred(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    values.iter().map(|value| value - mean).collect()
}

/// Power by frequency, from 0 to half the sampling rate, padded with zeroes to this length.
fn power(values: &[f64], length: usize) -> Vec<f64> {
    let mut buffer: Vec<Complex<f64>> = values.iter().map(|re| Complex::new(*re, 0.0)).collect();
    buffer.resize(length.max(values.len()), Complex::new(0.0, 0.0));
    FftPlanner::new()
        .plan_fft_forward(buffer.len())
        .process(&mut buffer);
    buffer.truncate(buffer.len() / 2 + 1);
    buffer.iter().map(Complex::norm_sqr).collect()
}

/// The strongest frequency, with the power and the grid that it was found on: Hann's window, zeroes to at least eight times the
/// next power of two, a parabola through the peak.
fn peak(centred: &[f64], hz: f64) -> Option<(f64, Vec<f64>, f64)> {
    let last = centred.len().saturating_sub(1).max(1) as f64;
    let hann = |place: usize| 0.5 - 0.5 * libm::cos(std::f64::consts::TAU * place as f64 / last);
    let windowed: Vec<f64> = centred
        .iter()
        .enumerate()
        .map(|(place, value)| value * hann(place))
        .collect();
    let length = PADDING * centred.len().next_power_of_two();
    let power = power(&windowed, length);
    let (place, most) = greatest(power.iter().copied())?;
    if most <= 0.0 || place == 0 {
        return None;
    }
    let grid_hz = hz / length as f64;
    let at = |place: usize| power.get(place).copied().unwrap_or(0.0);
    let (left, right) = (at(place - 1), at(place + 1));
    let bend = left - 2.0 * most + right;
    let off = if bend < 0.0 {
        0.5 * (left - right) / bend
    } else {
        0.0
    };
    let frequency = (place as f64 + off.clamp(-0.5, 0.5)) * grid_hz;
    Some((frequency, power, grid_hz))
}

/// The greatest value but that at 0, and its place.
fn greatest(values: impl Iterator<Item = f64>) -> Option<(usize, f64)> {
    values
        .enumerate()
        .skip(1)
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// How likely the greatest of these would be in noise.
fn fisher(plain: &[f64]) -> f64 {
    let values = plain.get(1..).unwrap_or_default();
    let sum: f64 = values.iter().sum();
    let most = values.iter().copied().fold(0.0, f64::max);
    if sum <= 0.0 {
        return 1.0;
    }
    let count = values.len() as f64;
    (count * libm::pow(1.0 - most / sum, count - 1.0)).min(1.0)
}

/// Dominant frequencies as FTIO finds them, by their places in the spectrum, with their confidence; without multiples of others.
fn dominant(plain: &[f64]) -> Vec<(usize, f64)> {
    let amplitudes: Vec<f64> = plain
        .iter()
        .skip(1)
        .map(|power| libm::sqrt(*power))
        .collect();
    let sum: f64 = amplitudes.iter().sum();
    let count = amplitudes.len() as f64;
    if sum <= 0.0 {
        return Vec::new();
    }
    let shares: Vec<f64> = amplitudes.iter().map(|amplitude| amplitude / sum).collect();
    let mean = shares.iter().sum::<f64>() / count;
    let squares: f64 = shares
        .iter()
        .map(|share| (share - mean) * (share - mean))
        .sum();
    let deviation = libm::sqrt(squares / count);
    if deviation <= 0.0 {
        return Vec::new();
    }
    let z: Vec<f64> = shares
        .iter()
        .map(|share| (share - mean).abs() / deviation)
        .collect();
    let most = z.iter().copied().fold(0.0, f64::max);
    let near: f64 = z.iter().filter(|z| **z / most > Z_SHARE).sum();
    let far: f64 = z.iter().filter(|z| **z > Z).sum();
    let mut found: Vec<(usize, f64)> = Vec::new();
    for (place, z) in z.iter().enumerate() {
        let multiple = found.iter().any(|(base, _)| (place + 1) % base == 0);
        if *z > Z && z / most > Z_SHARE && !multiple {
            found.push((place + 1, 0.5 * (z / near + z / far)));
        }
    }
    found
}

/// Frequency below which 95 % of the energy is.
fn cutoff(plain: &[f64], grid_hz: f64) -> Option<f64> {
    let sum: f64 = plain.iter().skip(1).sum();
    if sum <= 0.0 {
        return None;
    }
    let mut below = 0.0;
    for (place, power) in plain.iter().enumerate().skip(1) {
        below += power;
        if below >= CUTOFF * sum {
            return Some(place as f64 * grid_hz);
        }
    }
    None
}

/// The strongest frequencies with their shares of the energy, on a grid as fine as the recording resolves.
fn fingerprint(padded: &[f64], grid_hz: f64, resolution_hz: f64) -> Vec<(f64, f64)> {
    // The finer grid does not divide this one: each of its places goes to the nearest.
    let mut sums: BTreeMap<u64, f64> = BTreeMap::new();
    for (place, power) in padded.iter().enumerate() {
        let band = libm::round(place as f64 * grid_hz / resolution_hz) as u64;
        *sums.entry(band).or_default() += power;
    }
    let all: f64 = padded.iter().sum();
    let mut bands: Vec<(f64, f64)> = sums
        .into_iter()
        .filter(|(band, _)| *band > 0)
        .map(|(band, power)| (band as f64 * resolution_hz, power))
        .collect();
    bands.sort_by(|a, b| b.1.total_cmp(&a.1));
    bands.truncate(FINGERPRINT);
    let share = |(hz, power): (f64, f64)| (hz, if all > 0.0 { power / all } else { 0.0 });
    bands.into_iter().map(share).collect()
}

/// How little two fingerprints have in common, from 0 to 1: half the sum of the differences of their shares, on a grid of
/// this width. What is in neither counts as the same.
pub(super) fn distance(a: &[(f64, f64)], b: &[(f64, f64)], grid_hz: f64) -> f64 {
    let mut bands: BTreeMap<i64, [f64; 2]> = BTreeMap::new();
    for (side, fingerprint) in [a, b].into_iter().enumerate() {
        let all: f64 = fingerprint.iter().map(|(_, share)| share).sum();
        for (hz, share) in fingerprint {
            let band = bands.entry(libm::round(hz / grid_hz) as i64).or_default();
            if let Some(sum) = band.get_mut(side)
                && all > 0.0
            {
                *sum += share / all;
            }
        }
    }
    bands.values().map(|[a, b]| (a - b).abs()).sum::<f64>() / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 30 + 10 sin(2 pi 0.244 t), ten times a second, for 20 seconds.
    fn wave() -> Vec<f64> {
        let turn = std::f64::consts::TAU * 0.244 / 10.0;
        (0..200)
            .map(|k| 30.0 + 10.0 * libm::sin(turn * f64::from(k)))
            .collect()
    }

    const STEP_NS: u64 = 100_000_000;

    #[test]
    fn a_planted_period_of_4_1_s_is_found() {
        let centred = centred(&wave());
        let (hz, power, grid_hz) = peak(&centred, 10.0).unwrap();
        assert_eq!(power.len(), 1025);
        let (place, _) = greatest(power.iter().copied()).unwrap();
        assert!((place as f64 * grid_hz - 0.24414).abs() < 1e-5);
        assert!((hz - 0.24414).abs() < grid_hz / 2.0, "{hz}");
        // Without zeroes the grid is 0.05 Hz.
        let plain = super::power(&centred, 200);
        let (place, _) = greatest(plain.iter().copied()).unwrap();
        assert!((place as f64 * 0.05 - 0.25).abs() < 1e-9);
        let (found, cutoff_hz) = look(STEP_NS, &wave());
        let found = found.unwrap();
        assert!(
            (found.period_ns - 4.096e9).abs() < 0.05e9,
            "{}",
            found.period_ns
        );
        assert!((found.period_ns - 1e9 / 0.244).abs() < found.resolution_ns);
        let (strongest, share) = found.fingerprint[0];
        assert!(
            (strongest - 0.25).abs() < 0.051 && share > 0.3,
            "{:?}",
            found.fingerprint
        );
        assert!((0.2..1.0).contains(&cutoff_hz.unwrap()), "{cutoff_hz:?}");
    }

    #[test]
    fn the_confidence_is_that_of_ftio() {
        let plain = super::power(&centred(&wave()), 200);
        let found = dominant(&plain);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, 5, "0.25 Hz on a grid of 0.05");
        assert!((found[0].1 - 1.0).abs() < 1e-9, "{found:?}");
        let amplitudes: Vec<f64> = plain.iter().skip(1).map(|power| power.sqrt()).collect();
        let mean = amplitudes.iter().sum::<f64>() / 100.0;
        let squares: f64 = amplitudes.iter().map(|a| (a - mean) * (a - mean)).sum();
        let z = (amplitudes[4] - mean) / (squares / 100.0).sqrt();
        assert!((z - 9.77).abs() < 0.01, "{z}");
    }

    #[test]
    fn noise_and_what_is_too_long_for_the_recording_are_no_periods() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20 {
            let noise: Vec<f64> = (0..600).map(|_| 20.0 * random.f64()).collect();
            let (found, _) = look(STEP_NS, &noise);
            assert!(found.is_err(), "{found:?}");
        }
        let turn = std::f64::consts::TAU / 150.0;
        let slow: Vec<f64> = (0..200)
            .map(|k| 9.0 * libm::sin(turn * f64::from(k)))
            .collect();
        let (found, _) = look(STEP_NS, &slow);
        assert!(found.unwrap_err().starts_with("not resolved"));
        assert_eq!(
            look(STEP_NS, &[5.0; 100]).0.unwrap_err(),
            "the rate does not vary"
        );
        assert!(
            look(STEP_NS, &[5.0; 10])
                .0
                .unwrap_err()
                .contains("too short")
        );
    }

    /// However long the recording is, a fast wave has its own frequency in the fingerprint, and none is above half the sampling
    /// rate.
    #[test]
    fn a_fingerprint_names_the_frequency_that_is_there() {
        for steps in [150, 200, 241, 256, 400] {
            let turn = std::f64::consts::TAU * 4.4 / 10.0;
            let fast: Vec<f64> = (0..steps)
                .map(|k| 30.0 + 10.0 * libm::sin(turn * f64::from(k)))
                .collect();
            let (found, _) = look(STEP_NS, &fast);
            let found = found.unwrap();
            let resolution_hz = 10.0 / f64::from(steps);
            let (strongest, _) = found.fingerprint[0];
            assert!(
                (strongest - 4.4).abs() <= 0.51 * resolution_hz,
                "{steps}: {:?}",
                found.fingerprint
            );
            let highest = found.fingerprint.iter().map(|(hz, _)| *hz);
            assert!(highest.fold(0.0, f64::max) < 5.0 + resolution_hz);
        }
    }

    #[test]
    fn the_same_is_0_apart_and_nothing_in_common_is_1() {
        let (a, _) = look(STEP_NS, &wave());
        let a = a.unwrap().fingerprint;
        assert!(distance(&a, &a, 0.05) < 1e-9);
        let b: Vec<(f64, f64)> = a.iter().map(|(hz, share)| (hz + 3.0, *share)).collect();
        assert!((distance(&a, &b, 0.05) - 1.0).abs() < 1e-9);
    }
}
