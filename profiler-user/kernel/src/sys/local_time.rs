//! The time zone of this host.
//!
//! In: the C library's idea of it (`TZ`, `/etc/localtime`). Out: an offset. Must not know: what it is for.

/// Local time minus UTC at this instant, in seconds; 0 if it is not known.
#[must_use]
pub fn utc_offset_s(unix_s: u64) -> i64 {
    let Ok(time) = libc::time_t::try_from(unix_s) else {
        return 0;
    };
    // SAFETY: `tm` is plain data, for which all zeros are valid.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to values that live until the call returns.
    let known = unsafe { !libc::localtime_r(&raw const time, &raw mut local).is_null() };
    if known { local.tm_gmtoff } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_is_farther_than_a_day() {
        assert!(utc_offset_s(1_700_000_000).abs() < 86_400);
        assert_eq!(utc_offset_s(u64::MAX), 0);
    }
}
