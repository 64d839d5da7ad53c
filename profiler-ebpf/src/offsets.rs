//! Offsets of kernel struct fields, resolved from the running kernel's BTF before load.
//!
//! One table says for each offset which struct and field it is (with alternatives for other kernels). User space
//! fills [`Offsets`]; the programs see it as a read-only constant. A field that is not there stays [`ABSENT`].

/// The field does not exist on this kernel.
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($( $(#[$doc:meta])* $field:ident = $($path:literal)|+ , $size:literal ; )*) => {
        /// Byte offsets into kernel structs; [`ABSENT`] where the kernel has no such field.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
        pub struct Offsets { $( $(#[$doc])* pub $field: u32, )* }

        impl Offsets {
            /// Nothing resolved.
            pub const ABSENT: Self = Self { $( $field: ABSENT, )* };

            /// Name, `struct.field` paths (first that exists wins) and expected size in bytes (0: any) of each.
            /// `variable#from:other` is the distance between two variables of each CPU.
            pub const TABLE: &'static [(&'static str, &'static [&'static str], u32)] =
                &[ $( (stringify!($field), &[$($path),+], $size), )* ];

            /// The values in the order of [`Self::TABLE`].
            #[must_use]
            pub fn from_values(values: &[u32]) -> Self {
                let mut at = values.iter().copied();
                Self { $( $field: at.next().unwrap_or(ABSENT), )* }
            }

            /// The values in the order of [`Self::TABLE`].
            pub fn values(&self) -> impl Iterator<Item = u32> + use<> {
                [ $( self.$field, )* ].into_iter()
            }
        }
    };
}

offsets! {
    /// Thread id.
    task_pid = "task_struct.pid", 4;
    /// Thread group id.
    task_tgid = "task_struct.tgid", 4;
    /// Name.
    task_comm = "task_struct.comm", 16;
    /// `PF_*` flags.
    task_flags = "task_struct.flags", 4;
    /// State (renamed in 5.14, kernel commit 2f064a59a11f).
    task_state = "task_struct.__state" | "task_struct.state", 0;
    /// Byte that holds the bit `in_iowait`.
    task_in_iowait = "task_struct.in_iowait", 0;
    /// Bit within that byte, 0 to 7.
    task_in_iowait_bit = "task_struct.in_iowait#bit", 0;
    /// Thread group leader.
    task_group_leader = "task_struct.group_leader", 8;
    /// Control groups of a task, all hierarchies together.
    task_cgroups = "task_struct.cgroups", 8;
    /// The one of version 2 among them.
    css_set_dfl_cgrp = "css_set.dfl_cgrp", 8;
    /// Directory of a control group.
    cgroup_kn = "cgroup.kn", 8;
    /// Number of that directory.
    kernfs_node_id = "kernfs_node.id", 8;
    /// 1 while the task is on a CPU. An `int`, in newer kernels a byte; the lowest byte is enough.
    task_on_cpu = "task_struct.on_cpu", 0;
    /// CPU it runs on.
    task_cpu = "task_struct.thread_info.cpu" | "task_struct.cpu", 4;
    /// How deep the CPU is in interrupts, where each task has that with it (arm64).
    task_preempt_count = "task_struct.thread_info.preempt.count", 4;
    /// How deep it is where each CPU has that (x86-64): from the CPU's run queue on.
    rq_to_preempt_count = "pcpu_hot.preempt_count#from:runqueues" | "__preempt_count#from:runqueues", 0;
    /// The part of its CPU's run queue that a task is in.
    task_cfs_rq = "task_struct.se.cfs_rq", 8;
    /// For how long quotas have held back the tasks in that part (before 6.6 by the clock of tasks, which was renamed in 5.19; then
    /// by the clock of the CPU).
    cfs_rq_throttled_ns = "cfs_rq.throttled_clock_self_time" | "cfs_rq.throttled_clock_pelt_time" | "cfs_rq.throttled_clock_task_time", 8;
    /// Since when they do, by the clock of the CPU; 0 while they do not (from 6.6 on).
    cfs_rq_throttled_since = "cfs_rq.throttled_clock_self", 8;
    /// How many quotas hold it back now.
    cfs_rq_throttle_count = "cfs_rq.throttle_count", 4;
    /// The run queue that is part of.
    cfs_rq_rq = "cfs_rq.rq", 8;
    /// The clock of that run queue, as of when its CPU was at work last.
    rq_clock = "rq.clock", 8;
    /// The control group of a task, as the scheduler has it.
    task_group = "task_struct.sched_task_group", 8;
    /// Its parts of run queues, by CPU.
    task_group_cfs_rqs = "task_group.cfs_rq", 8;
    /// Start time since boot.
    task_start_boottime = "task_struct.start_boottime" | "task_struct.real_start_time", 8;
    /// Protocol numbers and addresses of any socket.
    sock_family = "sock_common.skc_family", 2;
    /// Connection state.
    sock_state = "sock_common.skc_state", 1;
    /// Remote IPv4 address.
    sock_daddr = "sock_common.skc_daddr", 4;
    /// Local IPv4 address.
    sock_rcv_saddr = "sock_common.skc_rcv_saddr", 4;
    /// Remote port, network order.
    sock_dport = "sock_common.skc_dport", 2;
    /// Local port, host order.
    sock_num = "sock_common.skc_num", 2;
    /// Remote IPv6 address.
    sock_v6_daddr = "sock_common.skc_v6_daddr", 16;
    /// Local IPv6 address.
    sock_v6_rcv_saddr = "sock_common.skc_v6_rcv_saddr", 16;
    /// Network namespace.
    sock_net = "sock_common.skc_net", 8;
    /// Protocol (`IPPROTO_*`).
    sock_protocol = "sock.sk_protocol", 0;
    /// `SOCK_STREAM` and friends.
    sock_type = "sock.sk_type", 2;
    /// What the process fixed itself, e.g. the local port. A whole byte, or some bits of one.
    sock_userlocks = "sock.sk_userlocks", 0;
    /// The lowest of those bits, 0 to 7.
    sock_userlocks_shift = "sock.sk_userlocks#shift", 0;
    /// Datagrams or segments waiting.
    sock_receive_queue_len = "sock.sk_receive_queue.qlen", 4;
    /// The last datagram waiting.
    sock_receive_queue_last = "sock.sk_receive_queue.prev", 8;
    /// Start of a packet's memory.
    skb_head = "sk_buff.head", 8;
    /// Its transport header, from there.
    skb_transport_header = "sk_buff.transport_header", 2;
    /// Device a packet came in by.
    skb_iif = "sk_buff.skb_iif", 4;
    /// Process at the other end of a Unix connection, as it was when it listened or connected.
    sock_peer_pid = "sock.sk_peer_pid", 8;
    /// `struct socket` of the sock.
    sock_socket = "sock.sk_socket", 8;
    /// Inode number of a network namespace.
    net_inum = "net.ns.inum", 4;
    /// Next byte expected from the other end.
    tcp_rcv_nxt = "tcp_sock.rcv_nxt", 4;
    /// Next byte the process will read.
    tcp_copied_seq = "tcp_sock.copied_seq", 4;
    /// Windowed minimum of the round-trip time.
    tcp_rtt_min = "tcp_sock.rtt_min", 0;
    /// Who else handles what TCP carries: TLS in the kernel, MPTCP.
    tcp_ulp = "inet_connection_sock.icsk_ulp_ops", 8;
    /// Which ways of a connection are closed.
    sock_shutdown = "sock.sk_shutdown", 1;
    /// Whether a TCP socket carries a part of an MPTCP connection.
    tcp_is_mptcp = "tcp_sock.is_mptcp", 1;
    /// The first TCP socket of an MPTCP connection.
    mptcp_first = "mptcp_sock.first", 8;
    /// The other end of a Unix connection.
    unix_peer = "unix_sock.peer", 8;
    /// The address a Unix socket is bound to.
    unix_addr = "unix_sock.addr", 8;
    /// The sock of a `struct socket`.
    socket_sk = "socket.sk", 8;
    /// The file of a `struct socket`.
    socket_file = "socket.file", 8;
    /// What a file's kind keeps with it: of a socket's file the `struct socket`.
    file_private_data = "file.private_data", 8;
    /// The inode of a file.
    file_inode = "file.f_inode", 8;
    /// Kind of an inode, and who may do what.
    inode_mode = "inode.i_mode", 2;
    /// Number of a process id in its outermost namespace.
    pid_nr = "pid.numbers", 0;
    /// `struct upid.nr`.
    upid_nr = "upid.nr", 4;
    /// Operation and flags of a block request.
    request_cmd_flags = "request.cmd_flags", 4;
    /// The queue of a block request: one of a device.
    request_queue = "request.q", 8;
    /// Bytes of a block request.
    request_data_len = "request.__data_len", 4;
    /// Number of the system call that runs.
    regs_syscall = "pt_regs.syscallno" | "pt_regs.orig_ax", 0;
    /// Its third argument; on arm64 where the first one is.
    regs_third = "pt_regs.dx" | "pt_regs.regs", 0;
    /// Its fourth argument; on arm64 where the first one is.
    regs_fourth = "pt_regs.r10" | "pt_regs.regs", 0;
    /// Its fifth argument; on arm64 where the first one is.
    regs_fifth = "pt_regs.r8" | "pt_regs.regs", 0;
    /// What tells the system call of a 32-bit program: on x86-64 a status, on arm64 flags.
    task_compat = "task_struct.thread_info.status" | "task_struct.thread_info.flags", 0;
    /// Its first argument.
    regs_first = "pt_regs.orig_x0" | "pt_regs.di", 8;
}
