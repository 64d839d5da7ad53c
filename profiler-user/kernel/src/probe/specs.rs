//! The table of all kernel programs: where each sits, what it reads, and what it stands in for.
//!
//! In: nothing. Out: [`SPECS`]. Must not know: which of them a kernel can have (that is `plan`).

use super::hook::Hook;

/// A program and what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Name of the program in the object, and the one users see. A kprobe may sit on several functions.
    pub program: &'static str,
    /// Where it sits.
    pub hook: Hook,
    /// Least number of arguments that the tracepoint or function must have.
    pub arguments: usize,
    /// Fields it reads.
    pub fields: &'static [&'static str],
    /// What is lost without it.
    pub serves: &'static str,
    /// Only attached when this other program cannot be.
    pub instead_of: Option<&'static str>,
    /// What is less good than with that other program; empty if nothing is.
    pub less: &'static str,
    /// What is less good where the kernel does not tell interrupts from tasks; empty if nothing is.
    pub less_without_interrupts: &'static str,
    /// Kernels that lack its function have no need of it.
    pub optional: bool,
    /// A second copy, for kernels that preempt programs there.
    pub again: Option<&'static str>,
    /// Interrupts may come to the hook while the program is at work for a process: the second copy is for all kernels.
    pub interrupted: bool,
    /// Measures nothing, but is needed for what others measure.
    pub upkeep: Option<Upkeep>,
    /// It is left out unless a user asks for it.
    pub only_asked: bool,
}

/// Where a program that measures nothing is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// Where state is kept by address, and programs may sit on functions.
    StateByFentry,
    /// Where state is kept by address, and only kprobes may.
    StateByKprobe,
    /// Where kprobes see sends and receives.
    KprobeCalls,
}

impl Spec {
    const fn new(
        program: &'static str,
        hook: Hook,
        arguments: usize,
        fields: &'static [&'static str],
        serves: &'static str,
    ) -> Self {
        Self {
            program,
            hook,
            arguments,
            fields,
            serves,
            instead_of: None,
            less: "",
            less_without_interrupts: "",
            optional: false,
            again: None,
            interrupted: false,
            upkeep: None,
            only_asked: false,
        }
    }

    const fn instead_of(self, better: &'static str, less: &'static str) -> Self {
        Self {
            instead_of: Some(better),
            less,
            ..self
        }
    }

    const fn without_interrupts(self, less: &'static str) -> Self {
        Self {
            less_without_interrupts: less,
            ..self
        }
    }

    const fn twice(self, again: &'static str) -> Self {
        Self {
            again: Some(again),
            ..self
        }
    }

    const fn interrupted(self) -> Self {
        Self {
            interrupted: true,
            ..self
        }
    }

    /// A function of `sendfile`, which newer kernels do without.
    const fn pages(self) -> Self {
        Self {
            arguments: 5,
            ..self.optional()
        }
    }

    const fn only_asked(self) -> Self {
        Self {
            only_asked: true,
            ..self
        }
    }

    const fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }
}

const TASK: &[&str] = &[
    "task_pid",
    "task_tgid",
    "task_flags",
    "task_group_leader",
    "task_comm",
];
/// What is read of a socket, with more.
macro_rules! of_sockets {
    ($($more:literal),*) => {
        &[
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
            "sock_userlocks_shift",
            $($more),*
        ]
    };
}

const SOCKET: &[&str] = of_sockets!();
const STANDING: &[&str] = of_sockets!(
    "socket_sk",
    "socket_file",
    "file_private_data",
    "file_inode",
    "inode_mode"
);
const REQUEST: &[&str] = &["request_cmd_flags", "request_data_len"];

const WALK: &[&str] = &[
    "task_pid",
    "task_tgid",
    "task_flags",
    "task_group_leader",
    "task_comm",
    "task_state",
    "task_in_iowait",
    "task_in_iowait_bit",
    "task_on_cpu",
    "task_cpu",
    "task_start_boottime",
];
/// Where programs on functions get pointers without types.
const UNTYPED: &str = "by kprobes; the kernel skips some of them, and such calls are timed by the end of the system call or \
    counted as lost";
const CALL: &[&str] = &["socket_sk"];
const POLLS: &str =
    "polls that are not to wait, yields, and the time that threads spend with those";
const SENDS: &str = "sends, requests served, turnaround";
const RECEIVES: &str = "receives, roundtrips";
/// Without these, messages arrive when they are read, and whose a datagram is may not be known.
pub const ARRIVALS: &str = "arrival times; without it the receive call's return is used";
const SEND_START: &str = "start of TCP sends; without it their end is used";

const fn sends(program: &'static str, function: &'static str) -> Spec {
    Spec::new(program, Hook::Exit(function), 3, SOCKET, SENDS).instead_of("sock_send_length", "")
}

const fn receives(program: &'static str, function: &'static str) -> Spec {
    Spec::new(program, Hook::Exit(function), 4, SOCKET, RECEIVES).instead_of("sock_recv_length", "")
}

/// A send where pointers have no types: its arguments are kept at the entry for the return.
const fn probed_sends(program: &'static str, hook: Hook) -> Spec {
    Spec::new(program, hook, 3, SOCKET, SENDS).instead_of("fx_inet_sendmsg", UNTYPED)
}

const fn probed_receives(program: &'static str, hook: Hook) -> Spec {
    Spec::new(program, hook, 4, SOCKET, RECEIVES).instead_of("fx_inet_recvmsg", UNTYPED)
}

/// Every program. What stands in for another one comes after it.
pub const SPECS: &[Spec] = &[
    Spec::new(
        "sched_switch",
        Hook::BtfTracepoint("sched_switch"),
        3,
        &[
            "task_pid",
            "task_state",
            "task_in_iowait",
            "task_in_iowait_bit",
        ],
        "CPU, run queue, block and sleep time",
    ),
    Spec::new(
        "sched_migrate_task",
        Hook::BtfTracepoint("sched_migrate_task"),
        2,
        &[
            "task_state",
            "task_on_cpu",
            "task_cpu",
            "task_pid",
            "task_tgid",
            "task_flags",
        ],
        "whom a CPU was given to, where the one that waited for it was moved to another one",
    ),
    Spec::new(
        "sched_waking",
        Hook::BtfTracepoint("sched_waking"),
        1,
        &["task_tgid", "task_on_cpu"],
        "run queue time, hand-over between threads",
    )
    .without_interrupts(
        "this kernel does not show whether an interrupt runs (neither its BTF nor /proc/kallsyms, which root may read, has __preempt_count): a thread that an interrupt wakes counts as given the message that the interrupted thread of its process holds",
    ),
    Spec::new(
        "sched_process_fork",
        Hook::BtfTracepoint("sched_process_fork"),
        2,
        TASK,
        "names of short-lived processes",
    )
    .twice("sched_process_fork_again"),
    Spec::new(
        "sched_process_exec",
        Hook::BtfTracepoint("sched_process_exec"),
        1,
        TASK,
        "names of new programs",
    )
    .twice("sched_process_exec_again"),
    Spec::new(
        "sched_process_exit",
        Hook::BtfTracepoint("sched_process_exit"),
        1,
        TASK,
        "forgetting processes that ended",
    )
    .twice("sched_process_exit_again"),
    Spec::new(
        "sock_send_length",
        Hook::BtfTracepoint("sock_send_length"),
        2,
        SOCKET,
        SENDS,
    )
    .twice("sock_send_length_again"),
    sends("fx_inet_sendmsg", "inet_sendmsg"),
    sends("fx_inet6_sendmsg", "inet6_sendmsg"),
    sends("fx_unix_stream_send", "unix_stream_sendmsg"),
    sends("fx_unix_dgram_send", "unix_dgram_sendmsg"),
    sends("fx_unix_packet_send", "unix_seqpacket_sendmsg"),
    Spec::new(
        "fx_inet_sendpage",
        Hook::Exit("inet_sendpage"),
        5,
        CALL,
        SENDS,
    )
    .instead_of("sock_send_length", "")
    .optional(),
    Spec::new(
        "fx_unix_sendpage",
        Hook::Exit("unix_stream_sendpage"),
        5,
        CALL,
        SENDS,
    )
    .instead_of("sock_send_length", "")
    .optional(),
    probed_sends("kp_send", Hook::Probe("inet_sendmsg")),
    probed_sends("kr_send", Hook::ReturnProbe("inet_sendmsg")),
    probed_sends("kp_send", Hook::Probe("inet6_sendmsg")),
    probed_sends("kr_send", Hook::ReturnProbe("inet6_sendmsg")),
    probed_sends("kp_send", Hook::Probe("unix_stream_sendmsg")),
    probed_sends("kr_send", Hook::ReturnProbe("unix_stream_sendmsg")),
    probed_sends("kp_dgram_send", Hook::Probe("unix_dgram_sendmsg")),
    probed_sends("kr_send_once", Hook::ReturnProbe("unix_dgram_sendmsg")),
    probed_sends("kp_send", Hook::Probe("unix_seqpacket_sendmsg")),
    probed_sends("kr_send_once", Hook::ReturnProbe("unix_seqpacket_sendmsg")),
    probed_sends("kp_sendpage", Hook::Probe("inet_sendpage")).pages(),
    probed_sends("kr_send_once", Hook::ReturnProbe("inet_sendpage")).pages(),
    probed_sends("kp_send", Hook::Probe("unix_stream_sendpage")).pages(),
    probed_sends("kr_send", Hook::ReturnProbe("unix_stream_sendpage")).pages(),
    Spec::new(
        "sock_recv_length",
        Hook::BtfTracepoint("sock_recv_length"),
        3,
        SOCKET,
        RECEIVES,
    )
    .twice("sock_recv_length_again"),
    receives("fx_inet_recvmsg", "inet_recvmsg"),
    receives("fx_inet6_recvmsg", "inet6_recvmsg"),
    receives("fx_unix_stream_recv", "unix_stream_recvmsg"),
    receives("fx_unix_dgram_recv", "unix_dgram_recvmsg"),
    receives("fx_unix_packet_recv", "unix_seqpacket_recvmsg"),
    probed_receives("kp_receive", Hook::Probe("inet_recvmsg")),
    probed_receives("kr_receive", Hook::ReturnProbe("inet_recvmsg")),
    probed_receives("kp_receive", Hook::Probe("inet6_recvmsg")),
    probed_receives("kr_receive", Hook::ReturnProbe("inet6_recvmsg")),
    probed_receives("kp_receive", Hook::Probe("unix_stream_recvmsg")),
    probed_receives("kr_receive", Hook::ReturnProbe("unix_stream_recvmsg")),
    probed_receives("kp_dgram_receive", Hook::Probe("unix_dgram_recvmsg")),
    probed_receives("kr_receive_once", Hook::ReturnProbe("unix_dgram_recvmsg")),
    probed_receives("kp_receive", Hook::Probe("unix_seqpacket_recvmsg")),
    probed_receives(
        "kr_receive_once",
        Hook::ReturnProbe("unix_seqpacket_recvmsg"),
    ),
    Spec::new(
        "sk_data_ready",
        Hook::BtfTracepoint("sk_data_ready"),
        1,
        SOCKET,
        ARRIVALS,
    )
    .twice("sk_data_ready_again")
    .interrupted(),
    Spec::new(
        "fe_sock_readable",
        Hook::Entry("sock_def_readable"),
        1,
        SOCKET,
        ARRIVALS,
    )
    .instead_of("sk_data_ready", ""),
    Spec::new(
        "kp_sock_readable",
        Hook::Probe("sock_def_readable"),
        1,
        SOCKET,
        ARRIVALS,
    )
    .instead_of("fe_sock_readable", UNTYPED),
    Spec::new(
        "tcp_sendmsg_locked",
        Hook::BtfTracepoint("tcp_sendmsg_locked"),
        1,
        &[],
        SEND_START,
    )
    .twice("tcp_sendmsg_locked_again"),
    Spec::new(
        "fe_tcp_sendmsg",
        Hook::Entry("tcp_sendmsg_locked"),
        3,
        &[],
        SEND_START,
    )
    .instead_of("tcp_sendmsg_locked", ""),
    Spec::new(
        "fe_inet_sendpage",
        Hook::Entry("inet_sendpage"),
        5,
        CALL,
        SEND_START,
    )
    .instead_of("tcp_sendmsg_locked", "")
    .optional(),
    Spec::new(
        "kp_tcp_sendmsg",
        Hook::Probe("tcp_sendmsg_locked"),
        3,
        &[],
        SEND_START,
    )
    .instead_of("fe_tcp_sendmsg", UNTYPED),
    // A kernel without it has no MPTCP, or times its sends by their end.
    Spec::new(
        "mptcp_sendmsg_frag",
        Hook::BtfTracepoint("mptcp_sendmsg_frag"),
        1,
        &[],
        "start of MPTCP sends; without it their end is used",
    )
    .twice("mptcp_sendmsg_frag_again")
    .optional(),
    Spec::new(
        "inet_sock_set_state",
        Hook::BtfTracepoint("inet_sock_set_state"),
        3,
        &["sock_protocol", "sock_net", "net_inum", "sock_num"],
        "who connected and who accepted",
    )
    .twice("inet_sock_set_state_again"),
    Spec::new(
        "tcp_retransmit_skb",
        Hook::BtfTracepoint("tcp_retransmit_skb"),
        1,
        &[],
        "retransmits",
    )
    .twice("tcp_retransmit_skb_again"),
    Spec::new(
        "block_io_start",
        Hook::BtfTracepoint("block_io_start"),
        1,
        REQUEST,
        "which process caused block I/O",
    )
    .twice("block_io_start_again"),
    Spec::new(
        "block_rq_issue",
        Hook::BtfTracepoint("block_rq_issue"),
        1,
        REQUEST,
        "which process caused block I/O",
    )
    .instead_of(
        "block_io_start",
        "what a kernel thread issues for a process is charged to the kernel",
    ),
    Spec::new(
        "block_rq_complete",
        Hook::BtfTracepoint("block_rq_complete"),
        3,
        REQUEST,
        "bytes and latency of block I/O",
    )
    .twice("block_rq_complete_again"),
    Spec::new(
        "poll_enter",
        Hook::BtfTracepoint("sys_enter"),
        2,
        &["regs_third", "regs_fourth", "regs_fifth"],
        POLLS,
    )
    .only_asked(),
    Spec::new(
        "poll_exit",
        Hook::BtfTracepoint("sys_exit"),
        2,
        &["regs_syscall"],
        POLLS,
    )
    .only_asked(),
    Spec::new(
        "iter_tasks",
        Hook::Iterator("task"),
        0,
        WALK,
        "CPU time at the end of a window",
    ),
    Spec::new(
        "iter_sockets",
        Hook::Iterator("task_file"),
        0,
        STANDING,
        "connections that stood before the attach",
    ),
    Spec {
        upkeep: Some(Upkeep::StateByFentry),
        ..Spec::new(
            "fe_socket_gone",
            Hook::Entry("bpf_sk_storage_free"),
            1,
            &[],
            "forgetting sockets",
        )
    },
    Spec {
        upkeep: Some(Upkeep::StateByKprobe),
        ..Spec::new(
            "kp_socket_gone",
            Hook::Probe("bpf_sk_storage_free"),
            1,
            &[],
            "forgetting sockets",
        )
    },
    Spec {
        upkeep: Some(Upkeep::KprobeCalls),
        ..Spec::new(
            "sys_exit",
            Hook::BtfTracepoint("sys_exit"),
            2,
            &["regs_syscall"],
            "calls whose return the kernel tells no kprobe",
        )
    },
];
