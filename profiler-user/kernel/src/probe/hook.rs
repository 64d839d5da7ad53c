//! Where a kernel program sits.
//!
//! In: nothing. Out: the kinds of hooks, and their names. Must not know: programs.

/// Where a program sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A tracepoint with typed arguments.
    BtfTracepoint(&'static str),
    /// A function, when it is called.
    Entry(&'static str),
    /// A function, when it returns.
    Exit(&'static str),
    /// A function, when it is called, by a breakpoint; pointers have no type there.
    Probe(&'static str),
    /// The same when it returns.
    ReturnProbe(&'static str),
    /// An iterator that user space runs.
    Iterator(&'static str),
}

impl Hook {
    /// Name of the tracepoint, if it is one.
    #[must_use]
    pub fn tracepoint(self) -> Option<&'static str> {
        match self {
            Self::BtfTracepoint(name) => Some(name),
            Self::Entry(_)
            | Self::Exit(_)
            | Self::Probe(_)
            | Self::ReturnProbe(_)
            | Self::Iterator(_) => None,
        }
    }

    /// Name of the function, if it is one.
    #[must_use]
    pub fn function(self) -> Option<&'static str> {
        match self {
            Self::Entry(name) | Self::Exit(name) | Self::Probe(name) | Self::ReturnProbe(name) => {
                Some(name)
            }
            Self::BtfTracepoint(_) | Self::Iterator(_) => None,
        }
    }

    /// Whether its program is one of those that get pointers without types.
    #[must_use]
    pub fn is_untyped(self) -> bool {
        matches!(self, Self::Probe(_) | Self::ReturnProbe(_))
    }
}

impl std::fmt::Display for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BtfTracepoint(name) => write!(f, "tp_btf:{name}"),
            Self::Entry(name) => write!(f, "fentry:{name}"),
            Self::Exit(name) => write!(f, "fexit:{name}"),
            Self::Probe(name) => write!(f, "kprobe:{name}"),
            Self::ReturnProbe(name) => write!(f, "kretprobe:{name}"),
            Self::Iterator(name) => write!(f, "iter:{name}"),
        }
    }
}
