//! `vm-init`: the first and only program of a virtual machine that boots to test Courtside on its kernel.
//!
//! In: the kernel's command line. Out: a line of JSON on the console for each test; then the machine is off.
//! Must not know: which tests there are (that is `guest`).

use std::process::ExitCode;

use courtside_tests::guest;

fn main() -> ExitCode {
    guest::main()
}
