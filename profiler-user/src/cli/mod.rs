//! Arguments → run.

pub mod live;
pub mod top;
