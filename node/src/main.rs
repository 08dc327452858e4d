//! The program `selvedge`: see `selvedge --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    selvedge::cli::main()
}
