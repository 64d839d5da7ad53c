//! The tables in words, for docs/models.md.
//!
//! In: the tables. Out: Markdown. Must not know: rows.

use std::fmt::Write;

use super::{Kind, events, tables, told};

/// Every table and every column as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::new();
    for table in tables().into_iter().chain([events()]).chain(told()) {
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "### `{}`\n\nA row is {}.\n\n| column | type | unit | meaning | error |\n|---|---|---|---|---|\n",
            table.name, table.row_is
        );
        for column in &table.columns {
            let kind = match column.kind {
                Kind::Count => "whole number",
                Kind::Real => "number",
                Kind::Flag => "flag",
                Kind::Text => "text",
                Kind::Counts => "list of whole numbers",
            };
            let or_null = if column.nullable { " or null" } else { "" };
            let _ = writeln!(
                page,
                "| `{}` | {kind}{or_null} | {} | {} | {} |",
                column.name, column.unit, column.meaning, column.error
            );
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}
