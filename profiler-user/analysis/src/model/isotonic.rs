//! Values made to rise: what more requests take is not less.
//!
//! In: values in order, with weights. Out: the nearest values, by least squares, that never fall. Must not know: what they are.
//!
//! Pool adjacent violators (Ayer, Brunk, Ewing, Reid and Silverman, 1955).

/// The nearest values that never fall, each of the same weight.
pub(super) fn rising(values: &[f64]) -> Vec<f64> {
    // Mean and number of values that were put together.
    let mut pools: Vec<(f64, usize)> = Vec::with_capacity(values.len());
    for &value in values {
        let mut last = (value, 1);
        while let Some(&(mean, count)) = pools.last() {
            if mean <= last.0 {
                break;
            }
            pools.pop();
            let all = count + last.1;
            last = (
                (mean * count as f64 + last.0 * last.1 as f64) / all as f64,
                all,
            );
        }
        pools.push(last);
    }
    pools
        .into_iter()
        .flat_map(|(mean, count)| std::iter::repeat_n(mean, count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rises_stays_and_what_falls_is_put_together() {
        assert_eq!(rising(&[1.0, 2.0, 2.0, 5.0]), [1.0, 2.0, 2.0, 5.0]);
        assert_eq!(rising(&[1.0, 3.0, 2.0, 4.0]), [1.0, 2.5, 2.5, 4.0]);
        assert_eq!(rising(&[4.0, 3.0, 2.0]), [3.0, 3.0, 3.0]);
        // Later violators reach back over earlier pools.
        assert_eq!(
            rising(&[1.0, 4.0, 3.0, 1.0]),
            [1.0, 8.0 / 3.0, 8.0 / 3.0, 8.0 / 3.0]
        );
        assert!(rising(&[]).is_empty());
    }
}
