//! What to attach on this kernel. Pure: facts × table → plan, with a reason for everything left out or replaced.
//!
//! In: [`Facts`]. Out: a [`Planned`] for each program. Must not know: aya.

use super::facts::Facts;
use super::hook::Hook;
use super::specs::{SPECS, Spec, Upkeep};

/// A program, and whether it can be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Name of the program.
    pub program: &'static str,
    /// Where it sits.
    pub hook: Hook,
    /// `Ok` to attach; else why not.
    pub verdict: Result<(), String>,
    /// What it stands in for.
    pub stands_in: Option<StandIn>,
    /// What is less good on this kernel; empty if nothing is.
    pub less: &'static str,
    /// What is lost without it.
    pub serves: &'static str,
    /// It is to be left out unless a user asks for it.
    pub only_asked: bool,
}

/// Why a program is attached instead of a better one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// The program that cannot be attached.
    pub of: &'static str,
    /// Why not.
    pub why: String,
}

/// Decides for every program. What is not needed is left out: stand-ins where the better program can be attached, and
/// what others stand in for.
#[must_use]
pub fn plan(facts: &Facts) -> Vec<Planned> {
    let mut planned: Vec<Planned> = Vec::new();
    for spec in SPECS {
        let mut stands_in = None;
        let mut less = if facts.tells_interrupts {
            ""
        } else {
            spec.less_without_interrupts
        };
        if spec.upkeep.is_some() {
            continue;
        }
        if let Some(of) = spec.instead_of {
            let Some(better) = planned.iter().find(|other| other.program == of) else {
                continue;
            };
            let Err(why) = better.verdict.clone() else {
                continue;
            };
            less = spec.less;
            // Of a stand-in that cannot be either, it is the program that is missing in the end.
            stands_in = Some(match &better.stands_in {
                None => StandIn { of, why },
                Some(first) => StandIn {
                    of: first.of,
                    why: format!("{}, and {why}", first.why),
                },
            });
        }
        let verdict = verdict(spec, facts);
        if spec.optional && verdict.is_err() {
            continue;
        }
        planned.push(Planned {
            program: spec.program,
            hook: spec.hook,
            verdict,
            stands_in,
            less,
            serves: spec.serves,
            only_asked: spec.only_asked,
        });
    }
    let stand_ins = |program: &str, is_one: &dyn Fn(Hook) -> bool| {
        planned.iter().any(|other| {
            other.verdict.is_ok()
                && is_one(other.hook)
                && other.stands_in.as_ref().is_some_and(|it| it.of == program)
        })
    };
    let needed: Vec<bool> = planned
        .iter()
        .map(|probe| match &probe.stands_in {
            None => probe.verdict.is_ok() || !stand_ins(probe.program, &|_| true),
            // Where none of the stand-ins can be attached, what is missing is the better program. Of two kinds the
            // untyped one is for where there is nothing of the other.
            Some(it) if stand_ins(it.of, &|hook| !hook.is_untyped()) => !probe.hook.is_untyped(),
            Some(it) => probe.hook.is_untyped() && stand_ins(it.of, &|hook| hook.is_untyped()),
        })
        .collect();
    let mut needed = needed.into_iter();
    planned.retain(|_| needed.next().unwrap_or_default());
    let by_address = keeps_by_address(facts, &planned);
    let probes = has_probes(&planned);
    planned.extend(
        SPECS
            .iter()
            .filter(|spec| match spec.upkeep {
                None => false,
                Some(Upkeep::StateByFentry) => by_address && facts.hooks_functions,
                Some(Upkeep::StateByKprobe) => by_address && !facts.hooks_functions,
                Some(Upkeep::KprobeCalls) => probes,
            })
            .map(|spec| Planned {
                program: spec.program,
                hook: spec.hook,
                verdict: verdict(spec, facts),
                stands_in: None,
                less: "",
                serves: spec.serves,
                only_asked: false,
            }),
    );
    let again: Vec<_> = planned
        .iter()
        .filter_map(|first| again(first, facts))
        .collect();
    planned.extend(again);
    planned
}

/// The second copy of a program that can be attached, if it has one and this kernel skips the first. It has to be
/// attached after the first.
fn again(first: &Planned, facts: &Facts) -> Option<Planned> {
    let spec = SPECS.iter().find(|spec| spec.program == first.program)?;
    first.verdict.as_ref().ok()?;
    // That interrupts come to a hook is so on every kernel: nothing to tell.
    let stands_in = facts.preempts_programs.then(|| StandIn {
        of: spec.program,
        why: "this kernel skips a program while it is preempted".to_owned(),
    });
    if stands_in.is_none() && !spec.interrupted {
        return None;
    }
    Some(Planned {
        program: spec.again?,
        stands_in,
        less: "",
        ..first.clone()
    })
}

/// Whether the programs keep all state by address: where the kernel does not, and where they get pointers without types.
#[must_use]
pub fn keeps_by_address(facts: &Facts, planned: &[Planned]) -> bool {
    !facts.allocates_anywhere || has_probes(planned)
}

/// Whether a program of the plan gets pointers without types.
fn has_probes(planned: &[Planned]) -> bool {
    planned
        .iter()
        .any(|probe| probe.hook.is_untyped() && probe.verdict.is_ok())
}

fn verdict(spec: &Spec, facts: &Facts) -> Result<(), String> {
    if !facts.has_object {
        return Err(
            "this build has no eBPF object; build with: cargo xtask build --release".to_owned(),
        );
    }
    let enough = |what: &str, has: Option<&usize>| match has {
        None => Err(format!("this kernel has no {what}")),
        Some(has) if *has < spec.arguments => Err(format!(
            "{what} passes {has} arguments, not {}",
            spec.arguments
        )),
        Some(_) => Ok(()),
    };
    match spec.hook {
        Hook::BtfTracepoint(name) => {
            enough(&format!("tracepoint {name}"), facts.tracepoints.get(name))?;
        }
        Hook::Entry(name) | Hook::Exit(name) => {
            if !facts.hooks_functions {
                return Err("this kernel lets no program onto its functions (fentry)".to_owned());
            }
            enough(&format!("function {name}"), facts.functions.get(name))?;
        }
        Hook::Probe(name) | Hook::ReturnProbe(name) => {
            if !facts.probes_functions {
                return Err("this kernel has no kprobes".to_owned());
            }
            if !facts.has_untyped_object {
                return Err("this build has no programs for kprobes".to_owned());
            }
            enough(&format!("function {name}"), facts.functions.get(name))?;
        }
        Hook::Iterator(kind) => {
            if !facts.iterators.iter().any(|known| known == kind) {
                return Err(format!("this kernel has no iterator over {kind}"));
            }
        }
    }
    match spec
        .fields
        .iter()
        .find_map(|field| facts.missing.get_key_value(*field))
    {
        Some((field, reason)) => Err(format!("{field} is not in this kernel's BTF: {reason}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use courtside_wire::Offsets;

    use super::*;

    fn facts() -> Facts {
        Facts {
            offsets: Offsets::ABSENT,
            missing: BTreeMap::new(),
            tracepoints: SPECS
                .iter()
                .filter_map(|spec| Some((spec.hook.tracepoint()?.to_owned(), spec.arguments)))
                .collect(),
            functions: SPECS
                .iter()
                .filter_map(|spec| Some((spec.hook.function()?.to_owned(), spec.arguments)))
                .collect(),
            hooks_functions: true,
            probes_functions: true,
            iterators: vec!["task".to_owned(), "task_file".to_owned()],
            reads_other_cpus: true,
            reads_registers: true,
            finds_task_state: true,
            allocates_anywhere: true,
            request_comes_second: false,
            tells_interrupts: true,
            preempts_programs: false,
            has_object: true,
            has_untyped_object: true,
        }
    }

    #[test]
    fn second_copies_come_after_the_first() {
        let copies = |planned: &[Planned]| {
            let copies = planned.iter().map(|it| it.program);
            let copies = copies.filter(|program| program.ends_with("_again"));
            copies.collect::<Vec<_>>()
        };
        let mut facts = facts();
        let planned = plan(&facts);
        assert_eq!(copies(&planned), ["sk_data_ready_again"]);
        assert_eq!(planned[planned.len() - 1].program, "sk_data_ready_again");
        facts.preempts_programs = true;
        let preempted = plan(&facts);
        assert_eq!(preempted[..planned.len() - 1], planned[..planned.len() - 1]);
        assert_eq!(copies(&preempted[planned.len() - 1..]).len(), 12);
        assert_eq!(preempted.len(), planned.len() - 1 + 12);
    }

    #[test]
    fn a_full_kernel_gets_everything_but_the_fallbacks() {
        let planned = plan(&facts());
        assert!(
            planned
                .iter()
                .all(|probe| probe.verdict.is_ok() && probe.stands_in.is_none())
        );
        assert!(
            !planned
                .iter()
                .any(|probe| probe.program == "block_rq_issue")
        );
    }

    #[test]
    fn a_missing_tracepoint_brings_its_fallback_in() {
        let mut facts = facts();
        facts.tracepoints.remove("block_io_start");
        let planned = plan(&facts);
        let issue = planned
            .iter()
            .find(|probe| probe.program == "block_rq_issue")
            .expect("planned");
        assert!(issue.verdict.is_ok());
        let stands_in = issue.stands_in.as_ref().expect("a stand-in");
        assert_eq!(stands_in.of, "block_io_start");
        assert_eq!(
            stands_in.why,
            "this kernel has no tracepoint block_io_start"
        );
        assert!(
            !planned
                .iter()
                .any(|probe| probe.program == "block_io_start")
        );
    }

    #[test]
    fn where_interrupts_do_not_show_wake_ups_are_degraded_and_all_else_is_not() {
        let mut facts = facts();
        facts.tells_interrupts = false;
        let planned = plan(&facts);
        let less: Vec<_> = planned.iter().filter(|it| !it.less.is_empty()).collect();
        assert_eq!(less.len(), 1);
        assert_eq!(less[0].program, "sched_waking");
    }

    #[test]
    fn a_missing_field_stops_only_the_programs_that_read_it() {
        let mut facts = facts();
        facts
            .missing
            .insert("request_data_len".to_owned(), "no such field".to_owned());
        let failed: Vec<_> = plan(&facts)
            .into_iter()
            .filter(|probe| probe.verdict.is_err())
            .map(|probe| probe.program)
            .collect();
        assert_eq!(failed, ["block_io_start", "block_rq_complete"]);
    }

    /// Programs that see sends, where the kernel has no tracepoint for them.
    fn sends(facts: &mut Facts) -> Vec<(&'static str, bool)> {
        facts.tracepoints.remove("sock_send_length");
        plan(facts)
            .into_iter()
            .filter(|probe| probe.serves.starts_with("sends"))
            .map(|probe| (probe.program, probe.verdict.is_ok()))
            .collect()
    }

    #[test]
    fn functions_stand_in_for_the_tracepoint_where_programs_may_sit_on_them() {
        let found = sends(&mut facts());
        assert_eq!(found.len(), 7);
        assert!(
            found
                .iter()
                .all(|(name, works)| name.starts_with("fx_") && *works)
        );
    }

    #[test]
    fn where_no_program_may_sit_on_functions_kprobes_do() {
        let mut facts = facts();
        facts.hooks_functions = false;
        let found = sends(&mut facts);
        assert_eq!(found.len(), 14);
        assert!(
            found
                .iter()
                .all(|(name, works)| name.starts_with('k') && *works)
        );
        let planned = plan(&facts);
        assert!(keeps_by_address(&facts, &planned));
        for program in ["kp_socket_gone", "sys_exit"] {
            assert!(planned.iter().any(|probe| probe.program == program));
        }
        let send = planned.iter().find(|probe| probe.program == "kr_send");
        let stands_in = send.and_then(|send| send.stands_in.as_ref());
        assert_eq!(stands_in.map(|it| it.of), Some("sock_send_length"));
    }

    #[test]
    fn old_kernels_keep_state_by_address_and_forget_it_by_the_best_hook() {
        let mut facts = facts();
        assert!(!keeps_by_address(&facts, &plan(&facts)));
        facts.allocates_anywhere = false;
        let planned = plan(&facts);
        assert!(keeps_by_address(&facts, &planned));
        let house: Vec<_> = planned
            .iter()
            .filter(|probe| {
                SPECS
                    .iter()
                    .any(|spec| spec.program == probe.program && spec.upkeep.is_some())
            })
            .map(|probe| probe.program)
            .collect();
        assert_eq!(house, ["fe_socket_gone"]);
    }

    #[test]
    fn where_nothing_stands_in_it_is_the_tracepoint_that_is_missing() {
        let mut facts = facts();
        facts.hooks_functions = false;
        facts.probes_functions = false;
        assert_eq!(sends(&mut facts), [("sock_send_length", false)]);
    }

    #[test]
    fn a_function_that_newer_kernels_do_without_is_not_missed() {
        let mut facts = facts();
        facts.functions.remove("inet_sendpage");
        facts.functions.remove("unix_stream_sendpage");
        assert!(sends(&mut facts).iter().all(|(_, works)| *works));
    }

    #[test]
    fn what_stands_in_comes_after_what_it_stands_in_for() {
        for (at, spec) in SPECS.iter().enumerate() {
            if let Some(better) = spec.instead_of {
                assert!(SPECS.iter().take(at).any(|other| other.program == better));
            }
        }
    }

    #[test]
    fn every_field_a_program_needs_is_in_the_table() {
        for spec in SPECS {
            for field in spec.fields {
                assert!(
                    Offsets::TABLE.iter().any(|(name, _, _)| name == field),
                    "{field}"
                );
            }
        }
    }
}
