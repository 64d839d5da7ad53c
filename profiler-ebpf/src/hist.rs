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
    let power = log2(value_ns);
    (16 + (power - 4) * 8 + ((value_ns >> (power - 3)) & 7)) as usize
}

/// Any 64 bits that hold every sequence of six bits once.
const SEQUENCE: u64 = 0x03f7_9d71_b4cb_0a89;

/// The number of the highest bit, by the six bits of [`SEQUENCE`] that it leads to.
static LOG2: [u8; 64] = {
    let mut table = [0; 64];
    let mut power = 0;
    while power < 64 {
        table[(SEQUENCE.wrapping_mul(filled(1 << power)) >> 58) as usize] = power;
        power += 1;
    }
    table
};

/// The value with all bits below its highest one set.
#[inline(always)]
const fn filled(mut value: u64) -> u64 {
    value |= value >> 1;
    value |= value >> 2;
    value |= value >> 4;
    value |= value >> 8;
    value |= value >> 16;
    value | value >> 32
}

/// The number of the highest bit of a value that is not 0, without a branch: the kernel's instruction set has no such
/// instruction, and of halving by branches the verifier follows each of the 64 ways, for each value that is counted.
#[inline(always)]
fn log2(value: u64) -> u64 {
    u64::from(LOG2[(SEQUENCE.wrapping_mul(filled(value)) >> 58) as usize])
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
    fn the_highest_bit_is_found() {
        for power in 0..64 {
            for value in [1 << power, 1 << power | 1, u64::MAX >> (63 - power)] {
                assert_eq!(log2(value), power, "{value}");
            }
        }
    }

    #[test]
    fn buckets_join_without_gap_or_overlap() {
        for b in 1..HIST_BUCKETS {
            assert_eq!(bounds_of(b - 1).1 + 1, bounds_of(b).0, "bucket {b}");
        }
    }
}
