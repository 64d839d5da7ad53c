//! What the plan needs to know of the running kernel.
//!
//! In: BTF. Out: plain facts. Must not know: aya.

use std::{collections::BTreeMap, path::Path};

use courtside_wire::{Offsets, offsets::ABSENT};

use crate::sys::{
    btf::{Btf, BtfError, resolve_offsets},
    host::KernelVersion,
    symbols::distance,
};

/// The first kernel that preempts programs on tracepoints.
const PREEMPTS_PROGRAMS: KernelVersion = KernelVersion { major: 7, minor: 0 };

/// The first kernel that has memory for programs, wherever they run. Before that an allocation may wake the thread that
/// frees memory, which a program of the scheduler must not do.
const ALLOCATES_ANYWHERE: KernelVersion = KernelVersion { major: 6, minor: 1 };

/// What shows whether an interrupt runs.
const OF_INTERRUPTS: [&str; 4] = [
    "task_preempt_count",
    "rq_to_preempt_count",
    "task_cfs_rq",
    "cfs_rq_rq",
];

/// Since when a quota holds tasks back: kernels show it from 6.6 on.
const SINCE: &str = "cfs_rq_throttled_since";

/// For tests: kprobes are used as where there is no fentry.
pub const NO_FENTRY: &str = "COURTSIDE_NO_FENTRY";

/// Facts about the running kernel.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Offsets of the struct fields that the programs read.
    pub offsets: Offsets,
    /// Name and reason of each field that is not there.
    pub missing: BTreeMap<String, String>,
    /// Tracepoints that the kernel has, and how many arguments each passes.
    pub tracepoints: BTreeMap<String, usize>,
    /// Functions that stand in for tracepoints, as far as the kernel has them, and how many arguments each takes.
    pub functions: BTreeMap<String, usize>,
    /// Programs can be put on functions, with typed arguments (fentry and fexit).
    pub hooks_functions: bool,
    /// Programs can be put on functions by breakpoints (kprobe and kretprobe).
    pub probes_functions: bool,
    /// Kinds of iterator that the kernel has.
    pub iterators: Vec<String>,
    /// Programs can read another CPU's slot of a map (5.19).
    pub reads_other_cpus: bool,
    /// A program can see the registers with which a task entered the kernel (5.15).
    pub reads_registers: bool,
    /// A task's state is found wherever there is any; before 6.2 not while this CPU is at work on another's.
    pub finds_task_state: bool,
    /// Maps may allocate what programs put into them (6.1), and the kernel keeps state with tasks and sockets (5.11).
    pub allocates_anywhere: bool,
    /// `block_rq_issue` passes the queue before the request (before 5.11).
    pub request_comes_second: bool,
    /// Programs can tell what an interrupt does from what the interrupted task does.
    pub tells_interrupts: bool,
    /// A program on a tracepoint may be preempted (7.0), and is skipped meanwhile.
    pub preempts_programs: bool,
    /// Whether this build carries the programs.
    pub has_object: bool,
    /// Whether it carries those for kprobes and old kernels.
    pub has_untyped_object: bool,
}

impl Facts {
    /// Reads the facts of the kernel whose `/sys` lies under `root`.
    ///
    /// # Errors
    /// When the kernel has no BTF or it cannot be read.
    pub fn read(root: &Path) -> Result<Self, BtfError> {
        let btf = Btf::load(root)?;
        let (mut offsets, mut missing) = resolve_offsets(&btf);
        if offsets.rq_to_preempt_count == ABSENT && cfg!(target_arch = "x86_64") {
            // The types of some kernels before 6.1 leave out what each CPU has of its own.
            offsets.rq_to_preempt_count = distance(root, "runqueues", "__preempt_count")
                .and_then(|bytes| i32::try_from(bytes).ok())
                .map_or(ABSENT, i32::cast_unsigned);
        }
        let tells_interrupts = tells_interrupts(&offsets);
        // There are two ways; a kernel has one of them.
        missing.retain(|missing| !tells_interrupts || !OF_INTERRUPTS.contains(&missing.field));
        // Older kernels do without: there all of a throttle counts that ends within a wait.
        missing.retain(|missing| missing.field != SINCE || offsets.cfs_rq_throttled_ns == ABSENT);
        let tracepoints: BTreeMap<String, usize> = super::specs::SPECS
            .iter()
            .filter_map(|spec| {
                Some((
                    spec.hook.tracepoint()?.to_owned(),
                    btf.trace_args(spec.hook.tracepoint()?)?,
                ))
            })
            .collect();
        let functions = super::specs::SPECS
            .iter()
            .filter_map(|spec| {
                let function = spec.hook.function()?;
                Some((function.to_owned(), btf.func_args(function)?))
            })
            .collect();
        let iterators = ["task", "task_file"]
            .into_iter()
            .filter(|kind| btf.has_func(&format!("bpf_iter_{kind}")))
            .map(str::to_owned)
            .collect();
        let version = KernelVersion::read(root);
        let no_fentry = std::env::var_os(NO_FENTRY).is_some();
        Ok(Self {
            reads_registers: btf.has_func("bpf_task_pt_regs") && offsets.regs_syscall != ABSENT,
            offsets,
            missing: missing
                .into_iter()
                .map(|field| (field.field.to_string(), field.reason.to_string()))
                .collect(),
            request_comes_second: tracepoints.get("block_rq_issue") == Some(&2),
            tracepoints,
            functions,
            // What puts a trampoline into a function's first bytes; without it fentry programs cannot be attached.
            // Older kernels describe no functions of ftrace itself, but its records.
            hooks_functions: !no_fentry
                && (btf.has_func("register_ftrace_direct")
                    || btf.field("ftrace_direct_func.addr").is_ok()),
            probes_functions: root
                .join("sys/bus/event_source/devices/kprobe/type")
                .exists(),
            iterators,
            reads_other_cpus: btf.has_func("bpf_map_lookup_percpu_elem"),
            finds_task_state: btf.has_func("bpf_task_storage_get_recur"),
            allocates_anywhere: version.is_none_or(|version| version >= ALLOCATES_ANYWHERE),
            tells_interrupts,
            // Nothing in its BTF tells: tracepoints are guarded by SRCU there instead of by disabling preemption.
            preempts_programs: version.is_some_and(|version| version >= PREEMPTS_PROGRAMS),
            has_object: !super::OBJECT.is_empty(),
            has_untyped_object: !super::UNTYPED_OBJECT.is_empty(),
        })
    }

    /// Whether the kernel shows for how long CPU quotas held tasks back.
    #[must_use]
    pub fn tells_throttled(&self) -> bool {
        self.offsets.cfs_rq_throttled_ns != ABSENT && self.offsets.task_cfs_rq != ABSENT
    }
}

/// With each task, or with each CPU by way of its run queue.
fn tells_interrupts(offsets: &Offsets) -> bool {
    let way = [
        offsets.rq_to_preempt_count,
        offsets.task_cfs_rq,
        offsets.cfs_rq_rq,
    ];
    offsets.task_preempt_count != ABSENT || !way.contains(&ABSENT)
}
