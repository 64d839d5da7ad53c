//! Addresses of the kernel's own functions and variables.
//!
//! In: `/proc/kallsyms` below a root. Out: how far apart two of them lie. Must not know: what for.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

/// How far `to` lies behind `from`. `None` if either is not told: the kernel has none of
/// that name, or shows no addresses to this process (all are 0 then).
#[must_use]
pub fn distance(root: &Path, from: &str, to: &str) -> Option<i64> {
    let lines = BufReader::new(File::open(root.join("proc/kallsyms")).ok()?);
    let (mut start, mut end) = (None, None);
    for line in lines.lines() {
        let line = line.ok()?;
        let mut words = line.split_ascii_whitespace();
        let (address, Some(name)) = (words.next()?, words.nth(1)) else {
            continue;
        };
        if name == from || name == to {
            let address = u64::from_str_radix(address, 16)
                .ok()
                .filter(|address| *address != 0);
            *(if name == from { &mut start } else { &mut end }) = Some(address?);
        }
        if let (Some(start), Some(end)) = (start, end) {
            return Some(u64::wrapping_sub(end, start).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(symbols: &str) -> Option<i64> {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("proc")).expect("a directory");
        std::fs::write(root.path().join("proc/kallsyms"), symbols).expect("a file");
        distance(root.path(), "runqueues", "__preempt_count")
    }

    #[test]
    fn addresses_are_told_apart() {
        let symbols = "0000000000018000 A __preempt_count\n\
            0000000000018004 A __preempt_count_of\tother\n\
            0000000000032100 A runqueues\n";
        assert_eq!(apart(symbols), Some(0x18000 - 0x32100));
    }

    #[test]
    fn what_is_not_shown_is_not_known() {
        let hidden = "0000000000000000 A __preempt_count\n0000000000000000 A runqueues\n";
        for symbols in [hidden, "", "0000000000032100 A runqueues\n", "no symbols\n"] {
            assert_eq!(apart(symbols), None, "{symbols}");
        }
    }

    #[test]
    fn agrees_with_the_types_of_the_running_kernel() {
        let root = Path::new("/");
        let told = distance(root, "runqueues", "__preempt_count");
        let btf = crate::sys::btf::Btf::load(root).ok();
        let typed = btf.and_then(|btf| btf.distance("runqueues", "__preempt_count").ok());
        if let (Some(told), Some(typed)) = (told, typed) {
            assert_eq!(told, i64::from(typed.cast_signed()));
        }
    }
}
