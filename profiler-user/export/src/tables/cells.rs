//! The cells of a row one after the other, for rows that are many: nothing is asked column by column.
//!
//! In: cells, in the order of the columns. Out: whatever a format makes of them. Must not know: which columns there are.

/// Takes the cells of a row, in the order of the columns. `None` is null.
pub(crate) trait Cells<'a> {
    /// A whole number.
    fn count(&mut self, count: Option<u64>);
    /// A text that somebody may have chosen.
    fn text(&mut self, text: Option<&'a str>);
    /// One of a few words of ours, none of which needs care.
    fn word(&mut self, word: Option<&'static str>);
    /// True or false.
    fn flag(&mut self, flag: Option<bool>);
}
