//! JSON of the schema `courtside.snapshot/1`.

use crate::model::Snapshot;

/// The snapshot as indented JSON, with a newline at the end.
///
/// # Errors
/// Only if a number cannot be written as JSON, which a snapshot of `fold` never holds.
pub fn to_string(snapshot: &Snapshot) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(snapshot)?;
    text.push('\n');
    Ok(text)
}

/// The snapshot as JSON on one line, with a newline at the end.
///
/// # Errors
/// As for [`to_string`].
pub fn to_line(snapshot: &Snapshot) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(snapshot)?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{State, View, fixture, fold};

    #[test]
    fn what_is_written_reads_back_the_same() {
        let snapshot = fold(&mut State::default(), &fixture::chain(10), &View::default());
        let text = to_string(&snapshot).unwrap();
        assert!(text.ends_with("}\n"));
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
    }
}
