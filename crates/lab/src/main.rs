//! Measures and torments a real Adjutant from outside, over its public protocol.
//!
//! Knows nothing of our crates: it starts the binary, talks JSON-RPC to it, and counts. `cargo xtask bench` and
//! `cargo xtask kills` are thin wrappers.

mod bench;
mod budget;
mod chaos;
mod client;
mod edge;
mod floor;
#[cfg(unix)]
mod interrupt;
#[cfg(not(unix))]
mod interrupt {
    /// Waits until the process is interrupted.
    pub(crate) async fn told_to_end() {
        drop(tokio::signal::ctrl_c().await);
    }
}
mod limits;
mod mock;
mod percentile;
mod rounds;
mod scale;
mod soak;
mod subject;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures and torments a real Adjutant")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a mock model (`OpenAI` chat completions, streamed) until killed.
    Mock {
        /// Port on loopback.
        #[arg(long, default_value_t = 18999)]
        port: u16,
        /// Milliseconds before the first byte.
        #[arg(long, default_value_t = 0)]
        latency_ms: u64,
    },
    /// Serve the floor: the least a durable chat server can do.
    Floor {
        /// Port on loopback.
        #[arg(long)]
        port: u16,
        /// Folder of its database.
        #[arg(long)]
        dir: PathBuf,
        /// Base URL of the mock model.
        #[arg(long)]
        mock: String,
    },
    /// Measure a release build against the floor, in one run, and print a table.
    Bench {
        /// The binary to measure.
        #[arg(long)]
        adjutant: PathBuf,
        /// Fewer repetitions.
        #[arg(long)]
        quick: bool,
        /// Also write the figures here, as JSON.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Kill a gateway over SQLite again and again during five-tool runs, and count what was lost or doubled: the scenario
    /// `sqlite-killed` of `chaos`.
    Kills {
        /// The binary to torment.
        #[arg(long)]
        adjutant: PathBuf,
        /// How many kills.
        #[arg(long, default_value_t = 200)]
        kills: u64,
        /// Seed of the random moments.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Do to the port what strangers, careless programs and crowds do, and check that each comes to what is promised.
    Edge {
        /// The binary to torment.
        #[arg(long)]
        adjutant: PathBuf,
        /// Smaller crowds.
        #[arg(long)]
        quick: bool,
    },
    /// Kill, freeze, cut off and starve gateway, workers and database, and count what was promised.
    Chaos(chaos::Options),
    /// Measure turns a second with one, two and four workers over PostgreSQL.
    Scale(scale::Options),
    /// Let clients come and go for a long time, and check that memory, descriptors and tasks stay where they are.
    Soak(soak::Options),
    /// Start 1,000 runs at once against a $1.00 day budget, and check that it is never passed.
    Budget {
        /// The binary to torment.
        #[arg(long)]
        adjutant: PathBuf,
        /// How many runs.
        #[arg(long, default_value_t = 1000)]
        runs: u32,
    },
}

/// Exit code of whoever was interrupted.
const INTERRUPTED: u8 = 130;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let command = Args::parse().command;
    tokio::select! {
        done = run(command) => done,
        // What was under way is dropped, and takes along its processes, folders and databases.
        () = interrupt::told_to_end() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Mock { port, latency_ms } => mock::serve(port, latency_ms).await?,
        Command::Floor { port, dir, mock } => floor::serve(port, &dir, &mock).await?,
        Command::Bench {
            adjutant,
            quick,
            out,
        } => bench::run(&adjutant, quick, out.as_deref()).await?,
        Command::Kills {
            adjutant,
            kills,
            seed,
        } => return chaos::run(chaos::Options::kills(adjutant, kills, seed)).await,
        Command::Chaos(options) => return chaos::run(options).await,
        Command::Scale(options) => scale::run(options).await?,
        Command::Soak(options) => soak::run(options).await?,
        Command::Edge { adjutant, quick } => edge::run(&adjutant, quick).await?,
        Command::Budget { adjutant, runs } => budget::run(&adjutant, runs).await?,
    }
    Ok(ExitCode::SUCCESS)
}
