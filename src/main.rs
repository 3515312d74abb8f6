//! The program: passes arguments and environment to the library, and exits with its code.

use std::process::ExitCode;

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn main() -> ExitCode {
    let environment = cdflow::ProcessEnv::new(std::env::vars_os());
    ExitCode::from(cdflow::run(std::env::args_os().collect(), environment))
}
