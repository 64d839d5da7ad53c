//! What can be written after `fleet`: words for another program.
//!
//! In: nothing. Out: the parsed arguments. Must not know: what is done with them, and what that program makes of them.

use std::ffi::OsString;

use clap::Args;

pub(in crate::cli) const FLEET_EXAMPLES: &str = "\
Examples:
  sudo courtside serve --export /srv/hosts --host web01     on each host; then, over all that they wrote:
  courtside fleet map /srv/hosts                            who calls whom, and what the network takes
  courtside fleet roundtrips /srv/hosts --by-hour           how many for each request, over time
  courtside fleet findings /srv/hosts                       what is wrong, where, since when
  courtside fleet specs /srv/hosts -F json -o usual.json    what is usual, for: courtside guard --spec usual.json
  courtside fleet antagonists /srv/hosts -n 'unit:search*'  who slows it most
  courtside fleet diff /srv/hosts -a 'web*' -b 'canary*'    what differs
  courtside fleet sql 'SELECT host, count(*) FROM windows GROUP BY host' /srv/hosts
  courtside fleet synth --hosts 20 --hours 2 -o made-up     a fleet to try it on

The engine is large, and a program of its own: courtside-fleet, which lies beside this one or in PATH.";

/// Arguments of `fleet`.
#[derive(Debug, Args)]
pub struct FleetArgs {
    /// A question, and where the exports are; --help says which there are
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "QUESTION"
    )]
    pub words: Vec<OsString>,
}
