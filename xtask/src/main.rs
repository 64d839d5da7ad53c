//! Build, demo, test, measure.
fn main() {}
