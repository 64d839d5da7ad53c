//! Windows by number, as they are asked for on the command line.
//!
//! In: text. Out: a range of numbers, or what to give instead. Must not know: recordings.

use std::{ops::RangeInclusive, str::FromStr};

/// Windows by number, from 0: one, or the first and the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range(pub(super) RangeInclusive<usize>);

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<usize>().ok();
        let range = match text.split_once("..") {
            None => number(text).map(|n| n..=n),
            Some((first, last)) => match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => Some(first..=last),
                _ => None,
            },
        };
        range.map(Self).ok_or_else(|| {
            "give a window by its number, from 0, or a first and a last one, as in 30..90"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_named_by_number_or_first_and_last() {
        let range = |text: &str| text.parse::<Range>().map(|range| range.0);
        assert_eq!(range("0"), Ok(0..=0));
        assert_eq!(range("30..90"), Ok(30..=90));
        for bad in ["", "x", "-1", "3..", "..3", "9..3", "1..2..3", "1...3"] {
            assert!(range(bad).unwrap_err().contains("30..90"), "{bad}");
        }
    }
}
