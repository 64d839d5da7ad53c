//! The kernel's accounting: all programs, each hook, each program, and single events.
//!
//! In: accounts by round. Out: tables, ratios first. Pure. Must not know: the other figures.

use std::fmt::{Result, Write};

use super::super::accounts::{Accounts, HOOKS};
use super::super::attached::Variant;
use super::super::spread::Spread;

/// Run time of all programs of these, and of each of theirs.
const COMPARED: [Variant; 4] = [
    Variant::Empty,
    Variant::Courtside,
    Variant::Bpftrace,
    Variant::Short,
];

/// Every section.
pub fn write(page: &mut String, accounts: &Accounts) -> Result {
    writeln!(page, "\n## Run time of all programs in a roundtrip\n")?;
    writeln!(
        page,
        "The kernel's own accounting (`BPF_ENABLE_STATS`), read by bpftool around a TCP ping-pong on loopback, each \
         end pinned to a CPU of its own, {} rounds. The \
         accounting itself is part of every figure, which is why programs without a body on the same hooks stand beside. \
         *bpftrace* is `xtask/bench/equivalent.bt`, which asks the same questions; the short script, \
         `xtask/bench/short.bt`, does with a time and a sum at a send, a count and a histogram at a receive, and two maps \
         at a switch.\n",
        accounts.rounds.len()
    )?;
    writeln!(
        page,
        "| | × empty programs | Courtside over it | ns a roundtrip | runs |\n|---|--:|--:|--:|--:|"
    )?;
    for variant in COMPARED {
        let over = if variant == Variant::Courtside {
            "1".to_owned()
        } else {
            places(&accounts.ratio(Variant::Courtside, variant), 2)
        };
        writeln!(
            page,
            "| {} | {} | {over} | {} | {:.1} |",
            variant.name(),
            places(&accounts.ratio(variant, Variant::Empty), 2),
            places(&accounts.ns(variant), 0),
            accounts.runs(variant).median
        )?;
    }
    hooks(page, accounts)?;
    events(page, accounts)?;
    programs(page, accounts)
}

fn hooks(page: &mut String, accounts: &Accounts) -> Result {
    writeln!(page, "\n### By hook\n")?;
    writeln!(
        page,
        "| hook | above empty, ns | target | empty | Courtside | bpftrace | short bpftrace script |\n\
         |---|--:|--:|--:|--:|--:|--:|"
    )?;
    for hook in &HOOKS {
        let shown = |spread: Option<Spread>| match spread {
            Some(spread) => places(&spread, 0),
            None => "-".to_owned(),
        };
        let each = |variant| shown(accounts.each_ns(variant, hook));
        writeln!(
            page,
            "| {} (`{}`) | {} | {} | {} | {} | {} | {} |",
            hook.name,
            hook.program,
            shown(accounts.above_empty_ns(hook)),
            hook.limit_ns
                .map_or_else(|| "-".to_owned(), |limit| format!("≤ {limit:.0}")),
            each(Variant::Empty),
            each(Variant::Courtside),
            each(Variant::Bpftrace),
            each(Variant::Short)
        )?;
    }
    Ok(())
}

fn events(page: &mut String, accounts: &Accounts) -> Result {
    let (windows, events) = (Variant::Record, Variant::Events);
    writeln!(page, "\n### Single events\n")?;
    writeln!(
        page,
        "`courtside record` writes windows; with `--events` its programs hand every send, receive, arrival, switch and \
         wake-up to the recorder, too. That adds {} of what the windows' programs take above empty ones.\n",
        places(&accounts.events_to_windows(), 2)
    )?;
    writeln!(page, "| | ns a roundtrip |\n|---|--:|")?;
    for variant in [windows, events] {
        writeln!(
            page,
            "| {} | {} |",
            variant.name(),
            places(&accounts.ns(variant), 0)
        )?;
    }
    let added = accounts.added_ns(events, windows);
    writeln!(page, "| added by events | {} |", places(&added, 0))?;
    let above = accounts.added_ns(windows, Variant::Empty);
    writeln!(
        page,
        "| the windows' programs above empty ones | {} |",
        places(&above, 0)
    )
}

fn programs(page: &mut String, accounts: &Accounts) -> Result {
    writeln!(page, "\n## Run time of each program\n")?;
    writeln!(page, "In the same rounds.")?;
    for variant in COMPARED {
        writeln!(page, "\n### {}\n", variant.name())?;
        writeln!(
            page,
            "| program | runs a roundtrip | ns a run |\n|---|--:|--:|"
        )?;
        for (name, runs, ns) in accounts.programs(variant) {
            // What hardly ever runs has nothing to do with roundtrips: its runs are few and far apart.
            let runs = if runs.median < 0.005 {
                "< 0.01".to_owned()
            } else {
                format!("{:.2}", runs.median)
            };
            writeln!(page, "| `{name}` | {runs} | {} |", places(&ns, 0))?;
        }
    }
    Ok(())
}

/// Median, and least and greatest in brackets, with so many places.
fn places(spread: &Spread, places: usize) -> String {
    let Spread {
        median,
        least,
        greatest,
        ..
    } = spread;
    format!("{median:.places$} ({least:.places$}–{greatest:.places$})")
}

#[cfg(test)]
mod tests {
    use super::super::super::accounts::Account;
    use super::super::super::programs::Cost;
    use super::*;

    #[test]
    fn a_hook_that_a_variant_leaves_alone_is_a_dash() {
        let account = |variant, name: &str, run_time_ns| Account {
            variant,
            roundtrips: 1,
            programs: vec![Cost::of(name, 2, run_time_ns)],
        };
        let accounts = Accounts {
            rounds: vec![vec![
                account(Variant::Empty, "sock_recv_length", 100),
                account(Variant::Courtside, "sock_recv_length", 500),
                account(Variant::Bpftrace, "sock_recv_lengt", 900),
            ]],
        };
        let mut page = String::new();
        write(&mut page, &accounts).unwrap();
        assert!(
            page.contains(
                "| receive (`sock_recv_length`) | 200 (200–200) | ≤ 220 | 50 (50–50) | 250 (250–250) | 450 (450–450) | - |"
            ),
            "{page}"
        );
        assert!(
            page.contains("| send start (`tcp_sendmsg_locked`) | - | - | - | - | - | - |"),
            "{page}"
        );
    }
}
