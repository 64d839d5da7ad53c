//! The offsets that the kernel programs want, looked up in the kernel's types.
//!
//! In: the table in [`Offsets`], types. Out: offsets, and what this kernel does not have. Must not know: what for.

use courtside_wire::{Offsets, offsets::ABSENT};

use super::{Btf, FieldError};

/// A field of [`Offsets`] that this kernel does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Name in [`Offsets`].
    pub field: &'static str,
    /// Why.
    pub reason: String,
}

/// Every offset the kernel programs want, and those this kernel cannot give.
#[must_use]
pub fn resolve_offsets(btf: &Btf) -> (Offsets, Vec<Missing>) {
    let mut missing = Vec::new();
    let values: Vec<u32> = Offsets::TABLE
        .iter()
        .map(|&(field, paths, size_bytes)| {
            first_that_exists(btf, paths, size_bytes).unwrap_or_else(|reason| {
                missing.push(Missing { field, reason });
                ABSENT
            })
        })
        .collect();
    (Offsets::from_values(&values), missing)
}

fn first_that_exists(btf: &Btf, paths: &[&str], size_bytes: u32) -> Result<u32, String> {
    let mut reasons = Vec::new();
    for path in paths {
        match offset(btf, path, size_bytes) {
            Ok(value) => return Ok(value),
            Err(reason) => reasons.push(reason.to_string()),
        }
    }
    Err(reasons.join("; "))
}

fn offset(btf: &Btf, path: &str, size_bytes: u32) -> Result<u32, FieldError> {
    if let Some(path) = path.strip_suffix("#bit") {
        return btf
            .field(path)?
            .bit_in_byte
            .ok_or_else(|| FieldError::NotABitField(path.to_owned()));
    }
    if let Some(path) = path.strip_suffix("#shift") {
        // A field of whole bytes has nothing below it.
        return Ok(btf.field(path)?.bit_in_byte.unwrap_or(0));
    }
    if let Some((to, from)) = path.split_once("#from:") {
        return btf.distance(from, to);
    }
    let field = btf.field(path)?;
    if size_bytes != 0 && field.size_bytes != size_bytes {
        return Err(FieldError::Size {
            path: path.to_owned(),
            found: field.size_bytes,
            expected: size_bytes,
        });
    }
    Ok(field.byte_offset)
}
