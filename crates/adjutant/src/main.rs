//! The `adjutant` binary: reads the configuration, builds the parts, hands them to each other. Decides nothing.

mod backup;
mod canvas;
mod config;
mod daemon;
mod db;
mod demo;
mod doctor;
mod doors;
mod escape;
mod failures;
mod gateway;
mod home;
mod host;
mod node;
mod parts;
mod platform;
mod scrap;
mod setup;
mod takeover;
mod worker;

use std::process::ExitCode;

/// Version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    // Before any thread exists, and before anything is read that was not meant for a part of the sandbox.
    if let Some(code) = adjutant_sandbox::play_inner_part() {
        return code;
    }
    #[cfg(feature = "failpoints")]
    if let Some(code) = points_asked_for() {
        return code;
    }
    daemon::leave_terminal_if_daemon();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(adjutant_cli::main(
        &host::Machine::new(),
        std::env::args_os().collect(),
    ));
    // Blocking reads of a terminal must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    code
}

/// A build for tests says which fail points it has, and refuses to start with one that it has not.
#[cfg(feature = "failpoints")]
fn points_asked_for() -> Option<ExitCode> {
    use adjutant_ports::failpoint::{Point, VARIABLE, refusal};
    if std::env::var(VARIABLE).is_ok_and(|it| it == "list") {
        for point in Point::ALL {
            println!("{}", point.name());
        }
        return Some(ExitCode::SUCCESS);
    }
    let reason = refusal()?;
    eprintln!("error: {VARIABLE}: {reason}");
    Some(ExitCode::FAILURE)
}
