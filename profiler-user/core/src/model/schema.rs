//! JSON Schemas of the outputs.
//!
//! In: the name of an output. Out: its schema. Must not know: any values.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::{
    difference::{DIFF_SCHEMA, Diff},
    finding::Finding,
    inference::{
        CALIBRATION_SCHEMA, COMPARED_SCHEMA, Calibration, Compared, INFERENCE_SCHEMA, Inference,
    },
    interference::{INTERFERENCE_SCHEMA, Interference},
    placement::{PLACEMENT_SCHEMA, Placement},
    prediction::{PREDICTION_SCHEMA, Prediction},
    profile::{PROFILE_SCHEMA, Profile},
    scaling::{SCALING_SCHEMA, Scaling},
    snapshot::{SCHEMA, Snapshot},
    spec::{SPEC_SCHEMA, Spec},
    status::{STATUS_SCHEMA, Status},
    tail::{TAIL_SCHEMA, Tail},
};

/// Names that [`schema_json`] knows.
pub const SCHEMA_NAMES: [&str; 14] = [
    "tail",
    "inference",
    "inference-compare",
    "inference-calibration",
    "scaling",
    "profile",
    "prediction",
    "placement",
    "interference",
    "spec",
    "status",
    "snapshot",
    "findings",
    "diff",
];

/// The JSON Schema of an output, by name; None for a name that is not in [`SCHEMA_NAMES`].
#[must_use]
pub fn schema_json(name: &str) -> Option<Value> {
    match name {
        "snapshot" => {
            let schema = described::<Snapshot>(
                "Courtside snapshot",
                "What one window of time shows: who talked to whom, how many roundtrips it took, and in whose court \
                 a request's time was spent. Durations are in nanoseconds (_ns), sizes in bytes (_bytes).",
            );
            Some(of_version(schema, SCHEMA))
        }
        "diff" => {
            let schema = described::<Diff>(
                "Courtside diff",
                "What `courtside diff A B -F json` prints: what changed between two recordings by more than their windows \
                 scatter. Durations are in nanoseconds (_ns).",
            );
            Some(of_version(schema, DIFF_SCHEMA))
        }
        "tail" => {
            let schema = described::<Tail>(
                "Courtside tail",
                "What `courtside tail FILE -F json` prints: the slowest requests at an entry held against the median, part by \
                 part. Durations are in nanoseconds (_ns).",
            );
            Some(of_version(schema, TAIL_SCHEMA))
        }
        "inference" => {
            let schema = described::<Inference>(
                "Courtside inference",
                "What `courtside infer FILE -F json` prints: what a parallel application does, seen from outside. Durations are in \
                 nanoseconds (_ns), sizes in bytes (_bytes).",
            );
            Some(of_version(schema, INFERENCE_SCHEMA))
        }
        "inference-compare" => {
            let schema = described::<Compared>(
                "Courtside inference, compared",
                "What `courtside infer compare A B -F json` prints: how two runs of an application differ.",
            );
            Some(of_version(schema, COMPARED_SCHEMA))
        }
        "inference-calibration" => {
            let schema = described::<Calibration>(
                "Courtside inference, calibrated",
                "What `courtside infer calibrate -F json` prints: how much of its speed an application keeps under a load, by its \
                 rate of iterations.",
            );
            Some(of_version(schema, CALIBRATION_SCHEMA))
        }
        "scaling" => {
            let schema = described::<Scaling>(
                "Courtside scaling",
                "What `courtside scale -F json` prints: how throughput grows with cores or workers, and where the rest is lost. \
                 Durations are in nanoseconds (_ns).",
            );
            Some(of_version(schema, SCALING_SCHEMA))
        }
        "profile" => {
            let schema = described::<Profile>(
                "Courtside profile",
                "What `courtside model fit FILE... -o PROFILE.json` writes: what a request takes of each component, as functions \
                 of the rate. Durations are in nanoseconds (_ns), sizes in bytes (_bytes).",
            );
            Some(of_version(schema, PROFILE_SCHEMA))
        }
        "prediction" => {
            let schema = described::<Prediction>(
                "Courtside prediction",
                "What `courtside model predict PROFILE.json -F json` prints: at which rate which resource is used up, and how \
                 long requests take at given rates. Durations are in nanoseconds (_ns).",
            );
            Some(of_version(schema, PREDICTION_SCHEMA))
        }
        "placement" => {
            let schema = described::<Placement>(
                "Courtside placement",
                "What `courtside model place PROFILE.json --nodes NODES.toml --rate R -F json` prints: which machine should run \
                 which component. Durations are in nanoseconds (_ns).",
            );
            Some(of_version(schema, PLACEMENT_SCHEMA))
        }
        "interference" => {
            let schema = described::<Interference>(
                "Courtside interference",
                "A line of what `courtside guard -F json` prints: a service that became slower than usual, who may have made it, \
                 and what was done. Durations are in nanoseconds (_ns).",
            );
            Some(of_version(schema, INTERFERENCE_SCHEMA))
        }
        "spec" => {
            let schema = described::<Spec>(
                "Courtside spec",
                "What `courtside guard learn -o SPEC.json` writes: what is usual for each service. Durations are in \
                 nanoseconds (_ns).",
            );
            Some(of_version(schema, SPEC_SCHEMA))
        }
        "status" => {
            let schema = described::<Status>(
                "Courtside status",
                "What `/status` of `courtside serve` shows: how the agent is. Durations are in nanoseconds (_ns), sizes in bytes \
                 (_bytes).",
            );
            Some(of_version(schema, STATUS_SCHEMA))
        }
        "findings" => Some(described::<Vec<Finding>>(
            "Courtside findings",
            "What is wrong in one window of time, the worst first: the field `findings` of a snapshot.",
        )),
        _ => None,
    }
}

/// The field `schema` always says this.
fn of_version(mut schema: Value, version: &str) -> Value {
    let name = schema.pointer_mut("/properties/schema");
    if let Some(name) = name.and_then(Value::as_object_mut) {
        name.insert("const".to_owned(), json!(version));
    }
    schema
}

fn described<T: JsonSchema>(title: &str, description: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), json!(title));
    schema.insert("description".to_owned(), json!(description));
    schema.to_value()
}
