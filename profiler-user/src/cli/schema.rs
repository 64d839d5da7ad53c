//! `schema`: the JSON Schema of an output.
//!
//! In: its name. Out: its schema. Must not know: any values.

use std::io::{self, Write};

use anyhow::Context;

use super::{
    args::{CHECK_SCHEMA, SchemaArgs},
    check::report::Report,
};
use crate::model::schema_json;

pub(super) fn run(args: &SchemaArgs) -> anyhow::Result<u8> {
    let schema = if args.name == CHECK_SCHEMA {
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
    use super::{super::args::schema_names, *};

    #[test]
    fn every_name_has_a_schema() {
        for name in schema_names() {
            assert!(
                name == CHECK_SCHEMA || schema_json(name).is_some(),
                "{name}"
            );
        }
    }
}
