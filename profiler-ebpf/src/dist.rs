//! Distributions of times.
//!
//! In: a distribution in a map, a value. Out: the distribution with it. Must not know: what was measured.

use courtside_wire::{Dist, index_of};

use crate::{
    atomic::{add, add_one},
    kernel::bounded_bucket,
};

/// Adds one value to a distribution.
#[inline(always)]
pub fn record(dist: *mut Dist, value_ns: u64, epoch: u32) {
    // SAFETY: a live map value.
    unsafe { add(&raw mut (*dist).sum_ns, value_ns) };
    count(dist, value_ns, epoch);
}

/// Adds one value to a distribution but for its sum; extremes start anew with each window.
#[inline(always)]
pub fn count(dist: *mut Dist, value_ns: u64, epoch: u32) {
    let bucket = bounded_bucket(index_of(value_ns));
    // SAFETY: a live map value. Extremes are plain stores: two CPUs may race, and then one extreme of one window
    // is lost; sums and counts are atomic and exact.
    unsafe {
        add_one((&raw mut (*dist).buckets).cast::<u32>().add(bucket));
        if (*dist).epoch != epoch {
            (*dist).epoch = epoch;
            (*dist).min_ns = value_ns;
            (*dist).max_ns = value_ns;
        } else {
            if value_ns < (*dist).min_ns {
                (*dist).min_ns = value_ns;
            }
            if value_ns > (*dist).max_ns {
                (*dist).max_ns = value_ns;
            }
        }
    }
}
