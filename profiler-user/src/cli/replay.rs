//! `replay`: a recording on the dashboard, or as one table where there is no terminal.
//!
//! In: a recording. Out: as `top`, or as `stat`. Must not know: how a recording is read, what a window means.

use super::{
    args::ReplayArgs,
    output::{Output, Reader},
    recorded::Recorded,
};
use crate::export::table;

pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<u8> {
    let recorded = Recorded::open(&args.file, None, &args.select)?;
    let mut output = Output::open("-".as_ref(), args.color)?;
    let text = table::render(&recorded.whole()?, output.style());
    match output.write(&text)? {
        Reader::There | Reader::Gone => Ok(0),
    }
}
