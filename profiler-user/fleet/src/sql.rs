//! `fleet sql`: a question in SQL.
//!
//! In: the question, a folder. Out: its rows. Must not know: what it is about.

use anyhow::bail;

use crate::{
    answer::Output,
    args::{SqlArgs, SqlFormatArg},
    engine::Engine,
    rows,
};

pub(crate) async fn run(args: &SqlArgs) -> anyhow::Result<()> {
    if args.format == SqlFormatArg::Parquet && args.output.is_none() {
        bail!("Parquet is no text: name a file with -o FILE.parquet");
    }
    let mut engine = Engine::open(&args.source)?;
    let mut asked = engine.ask(&args.sql).await?;
    let mut output = Output::open(args.output.as_deref())?;
    let written = rows::write(&mut asked, args.format, &mut output.writer).await;
    output.close(written)
}
