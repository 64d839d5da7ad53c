//! Which known name is meant by one that is not known.
//!
//! In: a name, known names. Out: the nearest, if one is near. Must not know: names of what.

/// The nearest of the known names: at most a third of its letters differ.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = known.map(|known| (distance(&name.to_lowercase(), known), known));
    let (steps, known) = far.min_by_key(|(steps, _)| *steps)?;
    (steps * 3 <= known.len().max(3)).then_some(known)
}

/// Letters to put in, take out or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, one) in (1..).zip(a.chars()) {
        let mut last = at;
        let mut next = vec![at];
        for (other, above) in b.iter().zip(row.windows(2)) {
            let [before, above] = above else { continue };
            let steps = (before + usize::from(*other != one))
                .min(above + 1)
                .min(last + 1);
            next.push(steps);
            last = steps;
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        assert_eq!(distance("kitten", "sitting"), 3);
        let known = ["windows", "components", "edges"];
        let of = |name| nearest(name, known.into_iter());
        assert_eq!(of("windws"), Some("windows"));
        assert_eq!(of("Component"), Some("components"));
        assert_eq!(of("nothing"), None);
    }
}
