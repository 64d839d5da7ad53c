//! What to attach on this kernel. Pure: facts × table → plan, with a reason for everything left out.
//!
//! In: [`Facts`]. Out: a [`Planned`] for each program. Must not know: aya.

use super::facts::Facts;

/// Where a program sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A tracepoint with typed arguments.
    BtfTracepoint(&'static str),
    /// An iterator that user space runs.
    Iterator(&'static str),
}

impl Hook {
    /// Name of the tracepoint, if it is one.
    #[must_use]
    pub fn tracepoint(self) -> Option<&'static str> {
        match self {
            Self::BtfTracepoint(name) => Some(name),
            Self::Iterator(_) => None,
        }
    }
}

impl std::fmt::Display for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BtfTracepoint(name) => write!(f, "tp_btf:{name}"),
            Self::Iterator(name) => write!(f, "iter:{name}"),
        }
    }
}

/// A program and what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Name of the program in the object, and the one users see.
    pub program: &'static str,
    /// Where it sits.
    pub hook: Hook,
    /// Least number of arguments that the tracepoint must pass.
    pub arguments: usize,
    /// Fields it reads.
    pub fields: &'static [&'static str],
    /// What is lost without it.
    pub serves: &'static str,
    /// Only attached when this other program cannot be.
    pub instead_of: Option<&'static str>,
}

const TASK: &[&str] = &[
    "task_pid",
    "task_tgid",
    "task_flags",
    "task_group_leader",
    "task_comm",
];
const SOCKET: &[&str] = &[
    "task_pid",
    "task_tgid",
    "task_flags",
    "sock_family",
    "sock_state",
    "sock_daddr",
    "sock_rcv_saddr",
    "sock_dport",
    "sock_num",
    "sock_v6_daddr",
    "sock_v6_rcv_saddr",
    "sock_net",
    "sock_protocol",
    "sock_type",
    "sock_receive_queue_len",
    "net_inum",
    "tcp_rcv_nxt",
    "tcp_copied_seq",
    "tcp_rtt_min",
    "unix_peer",
    "unix_addr",
    "sock_userlocks",
];
const REQUEST: &[&str] = &["request_cmd_flags", "request_data_len"];

/// Every program.
pub const SPECS: &[Spec] = &[
    Spec {
        program: "sched_switch",
        hook: Hook::BtfTracepoint("sched_switch"),
        arguments: 3,
        fields: &[
            "task_pid",
            "task_state",
            "task_in_iowait",
            "task_in_iowait_bit",
        ],
        serves: "CPU, run queue, block and sleep time",
        instead_of: None,
    },
    Spec {
        program: "sched_waking",
        hook: Hook::BtfTracepoint("sched_waking"),
        arguments: 1,
        fields: &["task_tgid", "task_on_cpu"],
        serves: "run queue time, hand-over between threads",
        instead_of: None,
    },
    Spec {
        program: "sched_process_fork",
        hook: Hook::BtfTracepoint("sched_process_fork"),
        arguments: 2,
        fields: TASK,
        serves: "names of short-lived processes",
        instead_of: None,
    },
    Spec {
        program: "sched_process_exec",
        hook: Hook::BtfTracepoint("sched_process_exec"),
        arguments: 1,
        fields: TASK,
        serves: "names of new programs",
        instead_of: None,
    },
    Spec {
        program: "sched_process_exit",
        hook: Hook::BtfTracepoint("sched_process_exit"),
        arguments: 1,
        fields: TASK,
        serves: "forgetting processes that ended",
        instead_of: None,
    },
    Spec {
        program: "sock_send_length",
        hook: Hook::BtfTracepoint("sock_send_length"),
        arguments: 2,
        fields: SOCKET,
        serves: "sends, requests served, turnaround",
        instead_of: None,
    },
    Spec {
        program: "sock_recv_length",
        hook: Hook::BtfTracepoint("sock_recv_length"),
        arguments: 3,
        fields: SOCKET,
        serves: "receives, roundtrips",
        instead_of: None,
    },
    Spec {
        program: "sk_data_ready",
        hook: Hook::BtfTracepoint("sk_data_ready"),
        arguments: 1,
        fields: SOCKET,
        serves: "arrival times; without it the receive call's return is used",
        instead_of: None,
    },
    Spec {
        program: "tcp_sendmsg_locked",
        hook: Hook::BtfTracepoint("tcp_sendmsg_locked"),
        arguments: 1,
        fields: &[],
        serves: "start of TCP sends; without it their end is used",
        instead_of: None,
    },
    Spec {
        program: "inet_sock_set_state",
        hook: Hook::BtfTracepoint("inet_sock_set_state"),
        arguments: 3,
        fields: &["sock_protocol", "sock_net", "net_inum", "sock_num"],
        serves: "who connected and who accepted",
        instead_of: None,
    },
    Spec {
        program: "tcp_retransmit_skb",
        hook: Hook::BtfTracepoint("tcp_retransmit_skb"),
        arguments: 1,
        fields: &[],
        serves: "retransmits",
        instead_of: None,
    },
    Spec {
        program: "block_io_start",
        hook: Hook::BtfTracepoint("block_io_start"),
        arguments: 1,
        fields: REQUEST,
        serves: "which process caused block I/O",
        instead_of: None,
    },
    Spec {
        program: "block_rq_issue",
        hook: Hook::BtfTracepoint("block_rq_issue"),
        arguments: 1,
        fields: REQUEST,
        serves: "which process caused block I/O, unless a kernel thread issued it",
        instead_of: Some("block_io_start"),
    },
    Spec {
        program: "block_rq_complete",
        hook: Hook::BtfTracepoint("block_rq_complete"),
        arguments: 3,
        fields: REQUEST,
        serves: "bytes and latency of block I/O",
        instead_of: None,
    },
    Spec {
        program: "iter_tasks",
        hook: Hook::Iterator("task"),
        arguments: 0,
        fields: TASK,
        serves: "CPU time at the end of a window",
        instead_of: None,
    },
    Spec {
        program: "iter_sockets",
        hook: Hook::Iterator("task_file"),
        arguments: 0,
        fields: SOCKET,
        serves: "connections that stood before the attach",
        instead_of: None,
    },
];

/// A program, and whether it can be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Name of the program.
    pub program: &'static str,
    /// Where it sits.
    pub hook: Hook,
    /// `Ok` to attach; else why not.
    pub verdict: Result<(), String>,
    /// It stands in for a better one.
    pub fallback: bool,
    /// What is lost without it.
    pub serves: &'static str,
}

/// Decides for every program. Fallbacks that are not needed are left out.
#[must_use]
pub fn plan(facts: &Facts) -> Vec<Planned> {
    let mut planned: Vec<Planned> = Vec::new();
    for spec in SPECS {
        let mut fallback = false;
        if let Some(better) = spec.instead_of {
            if planned
                .iter()
                .any(|other| other.program == better && other.verdict.is_ok())
            {
                continue;
            }
            fallback = true;
        }
        planned.push(Planned {
            program: spec.program,
            hook: spec.hook,
            verdict: verdict(spec, facts),
            fallback,
            serves: spec.serves,
        });
    }
    planned
}

fn verdict(spec: &Spec, facts: &Facts) -> Result<(), String> {
    if !facts.has_object {
        return Err(
            "this build has no eBPF object; build with: cargo xtask build --release".to_owned(),
        );
    }
    match spec.hook {
        Hook::BtfTracepoint(name) => match facts.tracepoints.get(name) {
            None => return Err(format!("this kernel has no tracepoint {name}")),
            Some(arguments) if *arguments < spec.arguments => {
                return Err(format!(
                    "tracepoint {name} passes {arguments} arguments, not {}",
                    spec.arguments
                ));
            }
            Some(_) => {}
        },
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
            iterators: vec!["task".to_owned(), "task_file".to_owned()],
            reads_other_cpus: true,
            has_object: true,
        }
    }

    #[test]
    fn a_full_kernel_gets_everything_but_the_fallbacks() {
        let planned = plan(&facts());
        assert!(
            planned
                .iter()
                .all(|probe| probe.verdict.is_ok() && !probe.fallback)
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
        assert!(issue.fallback && issue.verdict.is_ok());
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
        assert_eq!(
            failed,
            ["block_io_start", "block_rq_issue", "block_rq_complete"]
        );
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
