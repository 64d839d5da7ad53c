//! `diff`: what changed from one recording to another.
//!
//! In: two recordings. Out: a table or JSON; 3 if something got worse by more than was allowed. Must not know: when a number
//! has changed, how that is shown.

use std::path::Path;

use super::{
    args::DiffArgs, args::Format, output::Output, place::Inputs, recorded, unused::Unused,
};
use crate::{
    analysis::diff::{Limits, MAX_WINDOWS, MIN_WINDOWS, Side, compare},
    export::{diff, json},
    model::View,
    pass::{Analysis as _, Pieces},
    record::{Recorded, Recording},
};

/// Something got worse.
const WORSE: u8 = 3;

pub(super) fn run(args: &DiffArgs) -> anyhow::Result<u8> {
    args.select.view().selection.check()?;
    let inputs = Inputs::of_recording(&args.a).and(Inputs::of_recording(&args.b));
    // Both are seen alike, or else what differs is how they are seen.
    let first = Recording::open(&args.a)?;
    let view = args.select.or_recorded(&first.header().view).view();
    let a = recorded::seen(&args.a, first, None, view.clone(), None)?;
    let b = recorded::seen(&args.b, Recording::open(&args.b)?, None, view.clone(), None)?;
    let mut output = Output::open(&args.output.output, args.output.color, &inputs)?;
    let mut unused = Unused::new(&args.select.entry);
    let [of_a, of_b] = together([&a, &b]);
    let a = side(&args.a, &a, &view, of_a, &mut unused)?;
    let b = side(&args.b, &b, &view, of_b, &mut unused)?;
    unused.report()?;
    let limits = Limits {
        ignore_below: args.ignore_below,
        fail_above: args.fail_above,
    };
    let found = compare(&a, &b, limits)?;
    output.write(match args.output.format() {
        Format::Json => json::to_string(&found)?,
        Format::Table => diff::render(&found, output.style()),
    })?;
    output.place()?;
    let fails = args.fail_above.is_some() && found.worse;
    Ok(if fails { WORSE } else { 0 })
}

/// How many windows of each are put together, so that pieces of both are equally long, since means over more time scatter
/// less; and so that neither has too many, as long as the other keeps twice what it needs.
fn together(both: [&Recorded; 2]) -> [u64; 2] {
    let lengths = both.map(|recorded| recorded.recording().header().interval_ns.max(1));
    let counts = both.map(|recorded| recorded.count() as u64);
    pieces(lengths, counts)
}

fn pieces(lengths: [u64; 2], counts: [u64; 2]) -> [u64; 2] {
    let [a, b] = lengths;
    let common = greatest_common_divisor(a, b);
    let each = [b / common, a / common];
    let most = |i: usize| counts[i].div_ceil(each[i].saturating_mul(MAX_WINDOWS as u64));
    let least = |i: usize| counts[i] / each[i].saturating_mul(2 * MIN_WINDOWS as u64);
    let times = most(0).max(most(1)).min(least(0)).min(least(1)).max(1);
    each.map(|each| each.saturating_mul(times))
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

fn side(
    path: &Path,
    recorded: &Recorded,
    view: &View,
    each: u64,
    unused: &mut Unused,
) -> anyhow::Result<Side> {
    let mut side = Side::new(path.display().to_string());
    let state = recorded.state_before(0);
    let mut pieces = Pieces::new(state, view.clone(), each, |piece| side.add(piece));
    recorded.pass(&mut [&mut pieces, unused])?;
    pieces.finish();
    Ok(side)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_both_are_equally_long_and_not_too_many() {
        const S: u64 = 1_000_000_000;
        assert_eq!(pieces([S, S], [60, 60]), [1, 1]);
        assert_eq!(pieces([S, S], [60, 61]), [1, 1]);
        assert_eq!(pieces([S, S], [300, 310]), [3, 3]);
        assert_eq!(pieces([S, S], [30, 600]), [1, 1]);
        assert_eq!(pieces([S, S], [70, 600]), [2, 2]);
        assert_eq!(pieces([S, 5 * S], [60, 60]), [5, 1]);
        assert_eq!(pieces([2 * S, 3 * S], [60, 40]), [3, 2]);
        assert_eq!(pieces([S, S], [0, 0]), [1, 1]);
    }
}
