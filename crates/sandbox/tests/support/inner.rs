//! Plays the inner parts of the sandbox for tests, as the product does in its own `main`.

use std::process::ExitCode;

fn main() -> ExitCode {
    adjutant_sandbox::play_inner_part().unwrap_or(ExitCode::FAILURE)
}
