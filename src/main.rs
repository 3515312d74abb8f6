//! A doorway: arguments and environment in, exit code out.

use std::process::ExitCode;

#[expect(clippy::disallowed_methods, reason = "the environment is read here, once")]
fn main() -> ExitCode {
    let environment = cdflow::ProcessEnv::new(std::env::vars_os());
    ExitCode::from(cdflow::run(std::env::args_os().collect(), environment))
}
