//! docs/metrics.md names every field of the JSON.
//!
//! In: the JSON Schema that the binary prints, the page. Out: nothing, or the names that are missing.
//! Must not know: what the fields mean.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::sh;

/// Fail if a field of the snapshot is not on the page.
pub fn check(courtside: &Path) -> Result<()> {
    let schema = sh::output(sh::command(courtside).args(["schema", "snapshot"]))?;
    let schema: Value = serde_json::from_str(&schema).context("the schema is no JSON")?;
    let page = fs::read_to_string(sh::root().join("docs/metrics.md"))
        .context("cannot read docs/metrics.md")?;
    let missing = missing(&schema, &page);
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.into_iter().collect();
    bail!(
        "docs/metrics.md does not name {}: say there what it means",
        names.join(", ")
    );
}

fn missing<'a>(schema: &'a Value, page: &str) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    collect(schema, &mut names);
    names.retain(|name| !page.contains(&format!("`{name}`")));
    names
}

/// Every name under any `properties`.
fn collect<'a>(schema: &'a Value, names: &mut BTreeSet<&'a str>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                names.extend(properties.keys().map(String::as_str));
            }
            object.values().for_each(|value| collect(value, names));
        }
        Value::Array(array) => array.iter().for_each(|value| collect(value, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_anywhere_in_the_schema_must_be_named() {
        let schema = serde_json::json!({
            "properties": { "cpu": { "$ref": "#/$defs/Cpu" } },
            "$defs": { "Cpu": { "properties": { "on_cpu_ns": {}, "run_queue_ns": {} } } },
        });
        assert_eq!(
            Vec::from_iter(missing(&schema, "`cpu`, `on_cpu_ns`, on_cpu")),
            ["run_queue_ns"]
        );
    }
}
