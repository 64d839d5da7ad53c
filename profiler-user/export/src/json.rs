//! JSON of what has a schema.

use courtside_core::model::Snapshot;
use serde::Serialize;

/// An output as indented JSON, with a newline at the end.
///
/// # Errors
/// Only if a number cannot be written as JSON, which what `fold` and the analyses make never holds.
pub fn to_string(output: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(output)?;
    text.push('\n');
    Ok(text)
}

/// The snapshot as JSON on one line, with a newline at the end.
///
/// # Errors
/// As for [`to_string`].
pub fn to_line(snapshot: &Snapshot) -> Result<String, serde_json::Error> {
    line_of(snapshot)
}

/// Any output as JSON on one line, with a newline at the end.
///
/// # Errors
/// As for [`to_string`].
pub fn line_of(output: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(output)?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use courtside_core::fixture::frames;
    use courtside_core::model::{State, View, fold};

    #[test]
    fn what_is_written_reads_back_the_same() {
        let snapshot = fold(&mut State::default(), &frames::chain(10), &View::default());
        let text = to_string(&snapshot).unwrap();
        assert!(text.ends_with("}\n"));
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
    }
}
