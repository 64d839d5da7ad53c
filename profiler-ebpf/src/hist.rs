//! Histogram geometry (H2, grouping power 3): exact below 16, then eight buckets an octave.
//!
//! The middle of a bucket is at most 6.25 % from any value in it. Values of 2^40 ns (18 minutes) and more
//! share the last bucket. The same geometry as the crate `histogram` with `(grouping_power 3, max_value_power 40)`.

/// Number of buckets.
pub const HIST_BUCKETS: usize = 304;
/// Buckets an octave, as a power of two.
pub const GROUPING_POWER: u8 = 3;
/// Values at or above two to this power share the last bucket.
pub const MAX_VALUE_POWER: u8 = 40;

/// Bucket of a value; always below [`HIST_BUCKETS`].
#[inline(always)]
#[must_use]
pub fn bucket_of(value_ns: u64) -> usize {
    let index = index_of(value_ns);
    if index < HIST_BUCKETS {
        index
    } else {
        HIST_BUCKETS - 1
    }
}

/// The same as [`bucket_of`], but for the bound that a verifier wants to see, and no value ever reaches.
#[inline(always)]
#[must_use]
pub fn index_of(value_ns: u64) -> usize {
    if value_ns < 16 {
        return value_ns as usize;
    }
    if value_ns >> MAX_VALUE_POWER != 0 {
        return HIST_BUCKETS - 1;
    }
    let power = 63 - log2_helper(value_ns);
    (16 + (power - 4) * 8 + ((value_ns >> (power - 3)) & 7)) as usize
}

/// Leading zeros by halving: the kernel's instruction set has no such instruction, and LLVM's expansion is longer.
#[inline(always)]
fn log2_helper(value: u64) -> u64 {
    let mut v = value;
    let mut zeros = 63u64;
    if v >> 32 != 0 {
        v >>= 32;
        zeros -= 32;
    }
    if v >> 16 != 0 {
        v >>= 16;
        zeros -= 16;
    }
    if v >> 8 != 0 {
        v >>= 8;
        zeros -= 8;
    }
    if v >> 4 != 0 {
        v >>= 4;
        zeros -= 4;
    }
    if v >> 2 != 0 {
        v >>= 2;
        zeros -= 2;
    }
    if v >> 1 != 0 {
        zeros -= 1;
    }
    zeros
}

/// Lowest and highest value of a bucket.
#[must_use]
pub fn bounds_of(bucket: usize) -> (u64, u64) {
    if bucket < 16 {
        return (bucket as u64, bucket as u64);
    }
    let power = 4 + (bucket as u64 - 16) / 8;
    let step = 1u64 << (power - 3);
    let low = (1u64 << power) + (bucket as u64 - 16) % 8 * step;
    if bucket >= HIST_BUCKETS - 1 {
        (low, u64::MAX)
    } else {
        (low, low + step - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_its_bucket() {
        let mut v = 0u64;
        while v < 1 << 41 {
            let (low, high) = bounds_of(bucket_of(v));
            assert!(low <= v && v <= high, "{v} in {low}..={high}");
            v = v + v / 37 + 1;
        }
        assert_eq!(bucket_of(u64::MAX), HIST_BUCKETS - 1);
    }

    #[test]
    fn buckets_join_without_gap_or_overlap() {
        for b in 1..HIST_BUCKETS {
            assert_eq!(bounds_of(b - 1).1 + 1, bounds_of(b).0, "bucket {b}");
        }
    }
}
