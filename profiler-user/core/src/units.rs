//! Numbers for people: three significant digits and a unit, never wider than [`WIDTH`] columns.
//!
//! In: plain numbers. Out: short strings, to be right-aligned by the code that draws them.
//! Must not know: what the numbers mean, where they are shown.
//!
//! `µ` is the only character outside ASCII; an ASCII screen replaces it by `u`, which keeps the width.

/// Widest string that any function here returns, in columns.
pub const WIDTH: usize = 7;

/// What is shown for a number that is not known.
pub const UNKNOWN: &str = "-";

/// A unit of time to show several durations in, so that they can be compared and added by eye.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeUnit {
    /// Its symbol.
    pub symbol: &'static str,
    ns: f64,
}

const TIME_UNITS: [TimeUnit; 7] = [
    TimeUnit {
        symbol: "ns",
        ns: 1.0,
    },
    TimeUnit {
        symbol: "µs",
        ns: 1e3,
    },
    TimeUnit {
        symbol: "ms",
        ns: 1e6,
    },
    TimeUnit {
        symbol: "s",
        ns: 1e9,
    },
    TimeUnit {
        symbol: "min",
        ns: 60e9,
    },
    TimeUnit {
        symbol: "h",
        ns: 3600e9,
    },
    TimeUnit {
        symbol: "d",
        ns: 86400e9,
    },
];

impl TimeUnit {
    /// The unit in which a duration shows as one to three digits before the point.
    #[must_use]
    pub fn of(ns: f64) -> Self {
        let ns = ns.abs();
        let mut unit = TIME_UNITS[0];
        for (smaller, larger) in TIME_UNITS.iter().zip(&TIME_UNITS[1..]) {
            // From seconds on a unit gives way at its real length, not at a thousand.
            let full = (larger.ns / smaller.ns).min(1000.0) - 0.5;
            if ns < full * smaller.ns {
                break;
            }
            unit = *larger;
        }
        unit
    }

    /// How many nanoseconds it has.
    #[must_use]
    pub const fn size(self) -> f64 {
        self.ns
    }

    /// A duration in this unit, without the symbol: `2.04`, `-0.31`, `0.00`.
    #[must_use]
    pub fn show(self, ns: f64) -> String {
        significant(ns / self.ns)
    }
}

/// A duration with its unit: `640 ns`, `3.21 ms`, `12.0 s`.
#[must_use]
pub fn duration(ns: u64) -> String {
    if ns < 1000 {
        return format!("{ns} ns");
    }
    duration_f64(ns as f64)
}

/// A mean or a difference of durations, which may have a fraction or be negative. Negative ones may be a column wider.
#[must_use]
pub fn duration_f64(ns: f64) -> String {
    if !ns.is_finite() {
        return UNKNOWN.to_owned();
    }
    let unit = TimeUnit::of(ns);
    match unit.symbol {
        "d" if ns.abs() >= 999.5 * unit.ns => ">999 d".to_owned(),
        // Minutes are three letters: no room for a fraction.
        "min" => format!("{:.0} min", ns / unit.ns),
        symbol => format!("{} {symbol}", unit.show(ns)),
    }
}

/// A size with its unit, in powers of a thousand: `0 B`, `512 B`, `1.50 KB`, `20.0 MB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    bytes_f64(bytes as f64)
}

/// A size per second or per request: as [`bytes`], with a fraction.
#[must_use]
pub fn bytes_f64(bytes: f64) -> String {
    if !bytes.is_finite() {
        return UNKNOWN.to_owned();
    }
    let mut value = bytes;
    for unit in ["B", "KB", "MB", "GB", "TB", "PB"] {
        if value < 999.5 {
            let text = if unit == "B" {
                format!("{value:.0}")
            } else {
                significant(value)
            };
            return format!("{text} {unit}");
        }
        value /= 1000.0;
    }
    format!("{} EB", significant(value.min(999.0)))
}

/// A count: exact with groups of three up to 999 999, then rounded: `7 512`, `1.23 M`.
#[must_use]
pub fn count(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{} {:03}", count / 1000, count % 1000),
        _ => {
            let mut value = count as f64 / 1e6;
            for unit in ["M", "G", "T", "P"] {
                if value < 999.5 {
                    return format!("{} {unit}", significant(value));
                }
                value /= 1000.0;
            }
            format!("{} E", significant(value))
        }
    }
}

/// Something per second, or any other number with a fraction: `0`, `0.25`, `31.2`, `1 204`.
#[must_use]
pub fn rate(rate: f64) -> String {
    if !rate.is_finite() || rate < 0.0 {
        return UNKNOWN.to_owned();
    }
    if rate == 0.0 {
        "0".to_owned()
    } else if rate < 0.005 {
        "<0.01".to_owned()
    } else if rate < 999.5 {
        significant(rate)
    } else {
        count(rate.round() as u64)
    }
}

/// Something per request, or cycles per instruction: two decimals while there is room, `-` where unknown.
#[must_use]
pub fn ratio(ratio: Option<f64>) -> String {
    match ratio {
        Some(r) if (0.0..999.995).contains(&r) => format!("{r:.2}"),
        Some(r) => rate(r),
        None => UNKNOWN.to_owned(),
    }
}

/// A share of one as a percentage: `0%`, `0.4%`, `63%`, `150%`. Shares other than none never show as none.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if !percent.is_finite() || percent < 0.0 {
        UNKNOWN.to_owned()
    } else if percent == 0.0 {
        "0%".to_owned()
    } else if percent < 0.05 {
        "<0.1%".to_owned()
    } else if percent < 9.95 {
        format!("{percent:.1}%")
    } else {
        format!("{:.0}%", percent.min(99_999.0))
    }
}

/// The same of a share that may be less than none: `-12%`. Of less than 0.1 % either way only that is told.
#[must_use]
pub fn signed_percent(share: f64) -> String {
    let size = percent(share.abs());
    if share < 0.0 && !size.starts_with('<') {
        format!("-{size}")
    } else {
        size
    }
}

/// How many a second, over a window. Zero for an empty window.
#[must_use]
pub fn per_second(count: u64, window_ns: u64) -> f64 {
    if window_ns == 0 {
        0.0
    } else {
        count as f64 * 1e9 / window_ns as f64
    }
}

/// Splits `cells` in proportion to `values`, adding up exactly unless nothing is positive. The largest remainders win.
#[must_use]
pub fn apportion<const N: usize>(values: [f64; N], cells: usize) -> [usize; N] {
    let values = values.map(|v| if v.is_finite() { v.max(0.0) } else { 0.0 });
    let total: f64 = values.iter().sum();
    if total <= 0.0 {
        return [0; N];
    }
    let exact = values.map(|v| v / total * cells as f64);
    let mut shares = exact.map(|e| e as usize);
    let mut order: [usize; N] = std::array::from_fn(|i| i);
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let rest = cells.saturating_sub(shares.iter().sum());
    for &i in order.iter().take(rest) {
        shares[i] += 1;
    }
    shares
}

/// Three significant digits, at most two of them after the point; never `-0.00`.
fn significant(value: f64) -> String {
    let size = value.abs();
    if size < 0.005 {
        "0.00".to_owned()
    } else if size < 9.995 {
        format!("{value:.2}")
    } else if size < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_the_unit_that_fits() {
        let shown: Vec<String> = [
            0,
            999,
            1_000,
            1_500,
            99_949,
            999_499,
            999_500,
            3_210_000,
            12_000_000_000,
            60_000_000_000,
            3_600_000_000_000,
            86_400_000_000_000,
            u64::MAX,
        ]
        .map(duration)
        .into();
        assert_eq!(
            shown,
            [
                "0 ns", "999 ns", "1.00 µs", "1.50 µs", "99.9 µs", "999 µs", "1.00 ms", "3.21 ms",
                "12.0 s", "1 min", "1.00 h", "1.00 d", ">999 d"
            ]
        );
    }

    #[test]
    fn negative_durations_keep_their_sign_and_zero_has_none() {
        assert_eq!(duration_f64(-310_000.0), "-310 µs");
        assert_eq!(TimeUnit::of(3.2e6).show(-310_000.0), "-0.31");
        assert_eq!(TimeUnit::of(3.2e6).show(-1.0), "0.00");
    }

    #[test]
    fn sizes_counts_and_rates() {
        assert_eq!(
            [0, 512, 1_500, 999_600].map(bytes),
            ["0 B", "512 B", "1.50 KB", "1.00 MB"]
        );
        assert_eq!(
            [7, 7_512, 999_999, 1_234_567].map(count),
            ["7", "7 512", "999 999", "1.23 M"]
        );
        assert_eq!(
            [0.0, 0.001, 0.25, 31.24, 999.6, 1_204.4].map(rate),
            ["0", "<0.01", "0.25", "31.2", "1 000", "1 204"]
        );
        assert_eq!(
            [-0.12, -0.000_4, 0.0, 0.000_4, 0.12].map(signed_percent),
            ["-12%", "<0.1%", "0%", "<0.1%", "12%"]
        );
        assert_eq!(
            [Some(2.0), Some(31.249), None].map(ratio),
            ["2.00", "31.25", "-"]
        );
    }

    #[test]
    fn shares_never_hide_a_little() {
        assert_eq!(
            [0.0, 0.0001, 0.004, 0.6349, 1.5].map(percent),
            ["0%", "<0.1%", "0.4%", "63%", "150%"]
        );
    }

    #[test]
    fn nothing_is_wider_than_promised() {
        let mut n = 1u64;
        while n < u64::MAX / 2 {
            for value in [n - 1, n, n + n / 3] {
                let shown = [
                    duration(value),
                    bytes(value),
                    count(value),
                    rate(value as f64 / 1000.0),
                    ratio(Some(value as f64 / 1000.0)),
                    percent(value as f64 / 1e6),
                ];
                for text in shown {
                    assert!(text.chars().count() <= WIDTH, "{value}: {text:?}");
                }
            }
            n += n / 9 + 1;
        }
    }

    #[test]
    fn shares_of_a_bar_add_up() {
        for cells in 0..50 {
            let shares = apportion([0.4, 2.04, 0.56, 0.0, -0.3], cells);
            assert_eq!(shares.iter().sum::<usize>(), cells);
            assert_eq!(shares[3..], [0, 0]);
        }
        assert_eq!(apportion([0.0, f64::NAN], 9), [0, 0]);
        assert_eq!(apportion([1.0, 1.0], 3), [2, 1]);
    }

    #[test]
    fn what_is_not_a_number_is_unknown() {
        assert_eq!(rate(f64::NAN), "-");
        assert_eq!(duration_f64(f64::INFINITY), "-");
        assert_eq!(percent(f64::NAN), "-");
    }
}
