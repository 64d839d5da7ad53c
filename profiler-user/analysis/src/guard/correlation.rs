//! The paper's correlation, and what several suspects explain together.
//!
//! In: series of the victim and of suspects, over the same windows. Out: numbers from -1 to 1, and contributions. Must not
//! know: who the suspects are.

/// From here on the paper calls a suspect an antagonist (CPI2, table 2).
pub const CORRELATION_THRESHOLD: f64 = 0.35;

/// How much a suspect's use goes with how far the victim's signal is off its threshold, as in CPI2 section 4.2: the use is
/// normalised to sum 1; each window adds its use times `1 - threshold / value` if the signal is above the threshold, and
/// `value / threshold - 1` if it is below. 0 for a suspect that did nothing, and without a threshold above 0.
#[must_use]
pub fn correlation(series: impl Iterator<Item = (f64, f64)>, threshold: f64) -> f64 {
    let mut sum = 0.0;
    let mut all = 0.0;
    for (value, usage) in series {
        if !(usage > 0.0 && usage.is_finite() && value.is_finite()) {
            continue;
        }
        all += usage;
        if value > threshold {
            sum += usage * (1.0 - threshold / value);
        } else if value < threshold {
            sum += usage * (value / threshold - 1.0);
        }
    }
    if all > 0.0 && threshold > 0.0 {
        sum / all
    } else {
        0.0
    }
}

/// What non-negative least squares made of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explained {
    /// Mean contribution of each suspect, in units of the excess.
    pub contributions: Vec<f64>,
    /// Share of the variance around zero that they explain together, from 0 to 1.
    pub explained: f64,
}

/// Sweeps over all suspects, at most: a dozen of them need some forty.
const SWEEPS: usize = 200;

/// The excess of each window as a sum of each suspect's use times a factor that is not negative: least squares by going down
/// along one coordinate after the other (Franc, Hlavac and Navara, 2005). `uses` has a row for each suspect.
#[must_use]
pub fn non_negative(excess: &[f64], uses: &[Vec<f64>]) -> Explained {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let total = dot(excess, excess);
    let n = uses.len();
    if total <= 0.0 || n == 0 {
        return Explained {
            contributions: vec![0.0; n],
            explained: 0.0,
        };
    }
    let squares: Vec<f64> = uses.iter().map(|use_of| dot(use_of, use_of)).collect();
    let mut factors = vec![0.0f64; n];
    let mut rest = excess.to_vec();
    for _ in 0..SWEEPS {
        let mut moved = 0.0f64;
        for ((factor, use_of), square) in factors.iter_mut().zip(uses).zip(&squares) {
            if *square <= 0.0 {
                continue;
            }
            let next = (*factor + dot(use_of, &rest) / square).max(0.0);
            let step = next - *factor;
            if step != 0.0 {
                for (left, used) in rest.iter_mut().zip(use_of) {
                    *left -= step * used;
                }
                moved = moved.max(step * step * square);
                *factor = next;
            }
        }
        if moved <= total * 1e-14 {
            break;
        }
    }
    let windows = excess.len().max(1) as f64;
    let contributions = factors
        .iter()
        .zip(uses)
        .map(|(factor, use_of)| factor * use_of.iter().sum::<f64>() / windows)
        .collect();
    Explained {
        contributions,
        explained: (1.0 - dot(&rest, &rest) / total).clamp(0.0, 1.0),
    }
}

/// Series that are more alike than this (by the cosine between them) cannot be told apart.
const ALIKE: f64 = 0.95;

/// The same, where those whose series cannot be told apart stand for one, and share its contribution by their use.
#[must_use]
pub fn explained(excess: &[f64], uses: &[Vec<f64>]) -> Explained {
    let mut groups: Vec<(Vec<f64>, Vec<usize>)> = Vec::new();
    for (number, use_of) in uses.iter().enumerate() {
        match groups
            .iter_mut()
            .find(|(sum, _)| cosine(sum, use_of) >= ALIKE)
        {
            Some((sum, members)) => {
                for (all, more) in sum.iter_mut().zip(use_of) {
                    *all += more;
                }
                members.push(number);
            }
            None => groups.push((use_of.clone(), vec![number])),
        }
    }
    let (sums, members): (Vec<Vec<f64>>, Vec<Vec<usize>>) = groups.into_iter().unzip();
    let told = non_negative(excess, &sums);
    let mut contributions = vec![0.0; uses.len()];
    for ((contribution, sum), members) in told.contributions.iter().zip(&sums).zip(members) {
        let whole: f64 = sum.iter().sum();
        for number in members {
            let own: f64 = uses.get(number).map_or(0.0, |use_of| use_of.iter().sum());
            if let Some(part) = contributions.get_mut(number).filter(|_| whole > 0.0) {
                *part = contribution * own / whole;
            }
        }
    }
    Explained {
        contributions,
        explained: told.explained,
    }
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let length = (dot(a, a) * dot(b, b)).sqrt();
    if length > 0.0 {
        dot(a, b) / length
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64], threshold: f64, uses: &[f64]) -> f64 {
        correlation(values.iter().copied().zip(uses.iter().copied()), threshold)
    }

    #[track_caller]
    fn is(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-6, "{found} for {wanted}");
    }

    #[test]
    fn known_answers_of_the_papers_formula() {
        let swings = [1.0, 3.0, 1.0, 3.0];
        is(of(&swings, 2.0, &[0.0, 1.0, 0.0, 1.0]), 1.0 / 3.0);
        is(of(&swings, 2.0, &[1.0, 0.0, 1.0, 0.0]), -0.5);
        is(of(&swings, 2.0, &[1.0; 4]), -1.0 / 12.0);
        is(of(&[4.0; 10], 2.0, &[0.7; 10]), 0.5);
        is(of(&[2.0; 10], 2.0, &[0.7; 10]), 0.0);
        is(
            of(
                &[1.0, 1.0, 1.0, 1.0, 1.0, 4.0, 5.0, 5.0, 4.0, 1.0],
                2.0,
                &[0.1, 0.1, 0.1, 0.1, 0.1, 5.0, 6.0, 6.0, 5.0, 0.1],
            ),
            0.526_549,
        );
    }

    #[test]
    fn who_did_nothing_is_not_suspect_and_no_answer_is_not_a_number() {
        is(of(&[1.0, 3.0], 2.0, &[0.0, 0.0]), 0.0);
        is(of(&[0.0, f64::NAN], 0.0, &[1.0, 1.0]), 0.0);
        is(of(&[], 2.0, &[]), 0.0);
    }

    #[test]
    fn two_who_each_hurt_little_explain_it_together_and_a_bystander_nothing() {
        let a: Vec<f64> = (0..40).map(|i| f64::from(i % 2)).collect();
        let b: Vec<f64> = (0..40).map(|i| f64::from(i / 2 % 2)).collect();
        let bystander: Vec<f64> = (0..40).map(|i| f64::from(i / 4 % 2)).collect();
        let excess: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 3.0 * a + 2.0 * b).collect();
        let found = non_negative(&excess, &[a, b, bystander]);
        is(found.explained, 1.0);
        let [x, y, z]: [f64; 3] = found.contributions.try_into().unwrap();
        is(x, 1.5);
        is(y, 1.0);
        is(z, 0.0);
    }

    #[test]
    fn who_cannot_be_told_apart_share_by_their_use() {
        let a = vec![0.0, 1.0, 0.0, 1.0];
        let b: Vec<f64> = a.iter().map(|x| 3.0 * x).collect();
        let found = explained(&[0.0, 4.0, 0.0, 4.0], &[a, b, vec![1.0, 0.0, 1.0, 0.0]]);
        let [x, y, z]: [f64; 3] = found.contributions.try_into().unwrap();
        is(x, 0.5);
        is(y, 1.5);
        is(z, 0.0);
        is(found.explained, 1.0);
    }

    #[test]
    fn what_goes_the_other_way_gets_no_negative_share() {
        let idle_when_bad = vec![1.0, 0.0, 1.0, 0.0];
        let found = non_negative(&[0.0, 1.0, 0.0, 1.0], &[idle_when_bad]);
        assert_eq!(found.contributions, [0.0]);
        is(found.explained, 0.0);
        assert_eq!(non_negative(&[], &[]).explained, 0.0);
    }
}
