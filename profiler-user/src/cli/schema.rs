//! `schema`: the JSON Schema of an output.
//!
//! In: its name. Out: its schema. Must not know: any values.

use std::io::{self, Write};

use anyhow::Context;

use super::{args::SchemaArgs, check::report::Report};
use crate::model::{SCHEMA_NAMES, schema_json};

const CHECK: &str = "check";

/// The names of all outputs that have a schema.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SCHEMA_NAMES.into_iter().chain([CHECK])
}

pub(super) fn run(args: &SchemaArgs) -> anyhow::Result<u8> {
    let schema = if args.name == CHECK {
        Some(schemars::schema_for!(Report).to_value())
    } else {
        schema_json(&args.name)
    };
    let schema = schema.with_context(|| format!("there is no output called {}", args.name))?;
    let mut text = serde_json::to_string_pretty(&schema)?;
    text.push('\n');
    let written = io::stdout().write_all(text.as_bytes());
    written.context("cannot write to stdout")?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_schema() {
        for name in names() {
            assert!(name == CHECK || schema_json(name).is_some(), "{name}");
        }
    }
}
