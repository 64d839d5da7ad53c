//! JSON Schemas of the outputs.
//!
//! In: the name of an output. Out: its schema. Must not know: any values.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::snapshot::{SCHEMA, Snapshot};

/// Names that [`schema_json`] knows.
pub const SCHEMA_NAMES: [&str; 1] = ["snapshot"];

/// The JSON Schema of an output, by name; None for a name that is not in [`SCHEMA_NAMES`].
#[must_use]
pub fn schema_json(name: &str) -> Option<Value> {
    if name != "snapshot" {
        return None;
    }
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Snapshot>();
    schema.insert("title".to_owned(), json!("Courtside snapshot"));
    schema.insert(
        "description".to_owned(),
        json!(
            "What one window of time shows: who talked to whom, how many roundtrips it took, and in whose court \
             a request's time was spent. Durations are in nanoseconds (_ns), sizes in bytes (_bytes)."
        ),
    );
    if let Some(name) = schema
        .pointer_mut("/properties/schema")
        .and_then(Value::as_object_mut)
    {
        name.insert("const".to_owned(), json!(SCHEMA));
    }
    Some(schema.to_value())
}
