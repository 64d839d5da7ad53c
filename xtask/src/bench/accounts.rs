//! What the kernel's accounting says: per roundtrip, per hook, and as ratios within a round.
//!
//! In: the programs of each variant, by round. Out: figures with their spread. Pure. Must not know: how it was measured.

use super::attached::Variant;
use super::programs::Cost;
use super::spread::Spread;

/// A hook that every roundtrip passes, and what a program there may take above an empty one.
pub struct Hook {
    /// For people.
    pub name: &'static str,
    /// How the names of programs on it begin.
    pub program: &'static str,
    /// Nanoseconds above an empty program, if there is a target.
    pub limit_ns: Option<f64>,
}

/// Every one of them.
pub const HOOKS: [Hook; 6] = [
    hook("receive", "sock_recv_length", Some(220.0)),
    hook("send", "sock_send_length", Some(120.0)),
    hook("arrival", "sk_data_ready", Some(90.0)),
    hook("waking", "sched_waking", Some(65.0)),
    hook("switch", "sched_switch", Some(60.0)),
    hook("send start", "tcp_sendmsg_locked", None),
];

const fn hook(name: &'static str, program: &'static str, limit_ns: Option<f64>) -> Hook {
    Hook {
        name,
        program,
        limit_ns,
    }
}

/// The kernel's accounting of one variant in one round.
pub struct Account {
    /// The variant.
    pub variant: Variant,
    /// Roundtrips while it ran.
    pub roundtrips: u64,
    /// Its programs.
    pub programs: Vec<Cost>,
}

impl Account {
    /// Run time of all programs, per roundtrip.
    pub fn ns(&self) -> f64 {
        let total: u64 = self.programs.iter().map(|p| p.run_time_ns).sum();
        total as f64 / self.roundtrips.max(1) as f64
    }

    /// Runs of all programs, per roundtrip.
    pub fn runs(&self) -> f64 {
        let runs: u64 = self.programs.iter().map(|p| p.runs).sum();
        runs as f64 / self.roundtrips.max(1) as f64
    }

    /// Nanoseconds that its programs on a hook take each time the kernel comes by; none if it has none there.
    fn each_ns(&self, hook: &Hook) -> Option<f64> {
        let there = || self.programs.iter().filter(|p| is_on(p, hook));
        // Where there are two on one hook, both run each time.
        let passed = there().map(|program| program.runs).max()?;
        let total: u64 = there().map(|program| program.run_time_ns).sum();
        Some(total as f64 / passed as f64)
    }
}

fn is_on(program: &Cost, hook: &Hook) -> bool {
    // The kernel keeps 15 characters of a name where it has no other.
    let name = &program.name;
    name.starts_with(hook.program) || (name.len() == 15 && hook.program.starts_with(name.as_str()))
}

/// All that was accounted for.
#[derive(Default)]
pub struct Accounts {
    /// Every variant, by round.
    pub rounds: Vec<Vec<Account>>,
}

impl Accounts {
    /// One figure a round, of those rounds that have it.
    fn each<'a, T>(
        &'a self,
        of: impl Fn(&'a [Account]) -> Option<T> + 'a,
    ) -> impl Iterator<Item = T> + 'a {
        self.rounds.iter().filter_map(move |round| of(round))
    }

    /// Run time of all programs of a variant, per roundtrip.
    pub fn ns(&self, variant: Variant) -> Spread {
        Spread::of(self.each(|round| Some(find(round, variant)?.ns())))
    }

    /// Runs of all its programs, per roundtrip.
    pub fn runs(&self, variant: Variant) -> Spread {
        Spread::of(self.each(|round| Some(find(round, variant)?.runs())))
    }

    /// Run time of one variant over that of another, round by round.
    pub fn ratio(&self, of: Variant, to: Variant) -> Spread {
        Spread::of(self.each(|round| Some(find(round, of)?.ns() / find(round, to)?.ns())))
    }

    /// Run time that one variant has above another, per roundtrip.
    pub fn added_ns(&self, of: Variant, to: Variant) -> Spread {
        Spread::of(self.each(|round| Some(find(round, of)?.ns() - find(round, to)?.ns())))
    }

    /// What recording single events adds to a window's programs, over what those have above empty ones.
    pub fn events_to_windows(&self) -> Spread {
        Spread::of(self.each(|round| {
            let windows = find(round, Variant::Record)?.ns();
            let added = find(round, Variant::Events)?.ns() - windows;
            Some(added / (windows - find(round, Variant::Empty)?.ns()))
        }))
    }

    /// Nanoseconds of a variant's programs on a hook; none if it has none there.
    pub fn each_ns(&self, variant: Variant, hook: &Hook) -> Option<Spread> {
        some(self.each(|round| find(round, variant)?.each_ns(hook)))
    }

    /// Nanoseconds of Courtside's programs on a hook above those of the empty one.
    pub fn above_empty_ns(&self, hook: &Hook) -> Option<Spread> {
        some(self.each(|round| {
            let ours = find(round, Variant::Courtside)?.each_ns(hook)?;
            Some(ours - find(round, Variant::Empty)?.each_ns(hook)?)
        }))
    }

    /// Every program of a variant: its name, runs in a roundtrip, and nanoseconds a run; the dearest first.
    pub fn programs(&self, variant: Variant) -> Vec<(String, Spread, Spread)> {
        let mut names: Vec<&str> = self
            .each(|round| Some(&find(round, variant)?.programs))
            .flatten()
            .map(|program| program.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        let mut all: Vec<_> = names
            .into_iter()
            .map(|name| {
                let each = |of: fn(&Cost, u64) -> f64| {
                    Spread::of(self.each(move |round| {
                        let account = find(round, variant)?;
                        let program = account.programs.iter().find(|p| p.name == name)?;
                        Some(of(program, account.roundtrips.max(1)))
                    }))
                };
                let runs = each(|program, roundtrips| program.runs as f64 / roundtrips as f64);
                (name.to_owned(), runs, each(|program, _| program.each_ns()))
            })
            .collect();
        let took = |(_, runs, ns): &(String, Spread, Spread)| runs.median * ns.median;
        all.sort_by(|a, b| took(b).total_cmp(&took(a)));
        all
    }
}

fn find(round: &[Account], variant: Variant) -> Option<&Account> {
    round.iter().find(|account| account.variant == variant)
}

fn some(values: impl Iterator<Item = f64>) -> Option<Spread> {
    let spread = Spread::of(values);
    (spread.rounds > 0).then_some(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(variant: Variant, programs: &[(&str, u64, u64)]) -> Account {
        Account {
            variant,
            roundtrips: 10,
            programs: programs
                .iter()
                .map(|&(name, runs, ns)| Cost::of(name, runs, ns))
                .collect(),
        }
    }

    fn accounts() -> Accounts {
        let round = |receive| {
            vec![
                account(Variant::Empty, &[("sock_recv_length", 20, 1000)]),
                account(
                    Variant::Courtside,
                    &[
                        ("sock_recv_length", 20, receive),
                        ("sock_recv_length_again", 20, 200),
                    ],
                ),
                account(Variant::Record, &[("sock_recv_length", 20, 3000)]),
                account(Variant::Events, &[("sock_recv_length", 20, 4000)]),
            ]
        };
        Accounts {
            rounds: vec![round(2800), round(3800), round(1800)],
        }
    }

    #[test]
    fn two_programs_on_one_hook_are_one_cost() {
        let above = accounts().above_empty_ns(&HOOKS[0]).unwrap();
        // 150 − 50, 200 − 50 and 100 − 50.
        assert_eq!(
            (above.median, above.least, above.greatest),
            (100.0, 50.0, 150.0)
        );
        assert!(accounts().above_empty_ns(&HOOKS[1]).is_none());
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let ratio = accounts().ratio(Variant::Courtside, Variant::Empty);
        assert_eq!((ratio.median, ratio.least, ratio.greatest), (3.0, 2.0, 4.0));
    }

    #[test]
    fn events_are_held_against_what_windows_take_above_empty_hooks() {
        // 100 ns more, where windows take 300 and the empty hooks 100.
        assert_eq!(accounts().events_to_windows().median, 0.5);
    }

    #[test]
    fn a_name_that_the_kernel_cut_is_known() {
        let cut = account(Variant::Bpftrace, &[("sock_recv_lengt", 2, 10)]);
        assert_eq!(cut.each_ns(&HOOKS[0]), Some(5.0));
        assert_eq!(cut.each_ns(&HOOKS[1]), None);
    }

    #[test]
    fn the_dearest_program_is_first() {
        let names: Vec<_> = accounts()
            .programs(Variant::Courtside)
            .into_iter()
            .map(|(name, _, _)| name)
            .collect();
        assert_eq!(names, ["sock_recv_length", "sock_recv_length_again"]);
    }
}
