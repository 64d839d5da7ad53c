//! Rounds of the ping-pong under the kernel's own accounting of programs.
//!
//! In: what can be attached. Out: what each of its programs took, by round. Must not know: what the figures are to be.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::accounts::{Account, Accounts};
use super::attached::{Attached, Variant};
use super::pinned::Pinned;
use super::rounds::{Rounds, in_turn};
use super::{Built, alone, programs};

/// In one run.
const ROUNDTRIPS: u64 = 50_000;

/// What is compared, each in every round.
const VARIANTS: [Variant; 6] = [
    Variant::Empty,
    Variant::Courtside,
    Variant::Bpftrace,
    Variant::Short,
    Variant::Record,
    Variant::Events,
];

/// Measure. The accounting costs time itself, so it is never on while rates are measured.
pub fn measure(built: &Built, rounds: Rounds) -> Result<Accounts> {
    let mut accounts = Accounts::default();
    rounds.take("run time of programs", |round| {
        let mut taken = Vec::new();
        for variant in in_turn(&VARIANTS, round) {
            taken.push(account(variant, built)?);
        }
        accounts.rounds.push(taken);
        let ratio = accounts.ratio(Variant::Courtside, Variant::Empty);
        eprintln!(
            "xtask:   {:.2} × empty hooks, {:.2} × the short bpftrace script",
            ratio.median,
            accounts.ratio(Variant::Courtside, Variant::Short).median
        );
        Ok(ratio)
    })?;
    Ok(accounts)
}

fn account(variant: Variant, built: &Built) -> Result<Account> {
    alone()?;
    let before = programs::ids()?;
    let attached = Attached::new(variant, built)?;
    let ours: BTreeSet<u32> = programs::ids()?.difference(&before).copied().collect();
    if ours.is_empty() {
        bail!("{} has no programs", variant.name());
    }
    let load = Pinned::start(&built.workload, ROUNDTRIPS)?;
    let stats = programs::Accounting::start()?;
    let start = programs::costs(&ours)?;
    let done = load.run()?;
    let end = programs::costs(&ours)?;
    drop((stats, attached));
    Ok(Account {
        variant,
        roundtrips: done.roundtrips,
        programs: programs::between(&start, &end),
    })
}
