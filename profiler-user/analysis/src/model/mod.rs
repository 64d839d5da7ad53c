//! Model: what a request takes of each component, fitted to recordings at several rates; from that, what happens at other rates and
//! on other machines.
//!
//! In: snapshots of windows; or a profile, rates and machines. Out: a profile, a prediction, a placement, or why there is none. Must
//! not know: files, how anything is shown.
//!
//! The method is that of Stewart and Shen, *Performance Modeling and System Management for Multi-component Online Services*
//! (NSDI 2005). Beyond it: all components in one pass, forms that bend, intervals, pools of threads, and percentiles by
//! simulation.

mod assumed;
mod cannot_fit;
mod cannot_predict;
mod curve;
mod demand;
mod fit;
mod gather;
mod groups;
mod isotonic;
mod load;
mod machines;
mod path;
mod place;
mod predict;
#[cfg(test)]
mod profile_tests;
mod queue;
#[cfg(test)]
mod quota_tests;
mod regression;
mod respond;
mod simulate;
#[cfg(test)]
mod simulate_tests;
#[cfg(test)]
mod solvers;
mod system;
#[cfg(test)]
mod tests;
mod unknown;

pub use cannot_fit::CannotFit;
pub use cannot_predict::CannotPredict;
pub use demand::Falls;
pub use fit::{FitOptions, MIN_RATES, MIN_SPAN, fit};
pub use gather::Gathered;
pub use place::{Wish, place};
pub use predict::{Question, SEED, predict};
