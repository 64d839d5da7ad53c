//! The harness that holds Courtside to workloads with known answers.
//!
//! In: the command line of a workload, or a built `courtside`. Out: what the workload truly did, counted by
//! itself, and what `courtside` says it did. Must not know: how Courtside measures.

pub mod agent;
pub mod concurrent;
pub mod guest;
pub mod harness;
pub mod quota;
pub mod services;
pub mod sound;
