//! What was decided about signals before we began.
//!
//! In: /proc. Out: whether a signal is ignored. Must not know: what is done on signals.

use procfs::process::Process;
use rustix::process::Signal;

/// Whether the process that started us made us ignore this signal, as `nohup` does.
#[must_use]
pub fn is_ignored(signal: Signal) -> bool {
    let status = Process::myself().and_then(|this| this.status());
    let bit = u32::try_from(signal.as_raw() - 1).ok();
    let mask = bit.and_then(|bit| 1u64.checked_shl(bit)).unwrap_or(0);
    status.is_ok_and(|status| status.sigign & mask != 0)
}
