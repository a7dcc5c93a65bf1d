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
mod mock;
mod percentile;
mod rounds;
mod scale;
mod soak;
mod subject;

use std::path::PathBuf;

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

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    match Args::parse().command {
        Command::Mock { port, latency_ms } => mock::serve(port, latency_ms).await,
        Command::Floor { port, dir, mock } => floor::serve(port, &dir, &mock).await,
        Command::Bench {
            adjutant,
            quick,
            out,
        } => bench::run(&adjutant, quick, out.as_deref()).await,
        Command::Kills {
            adjutant,
            kills,
            seed,
        } => chaos::run(chaos::Options::kills(adjutant, kills, seed)).await,
        Command::Chaos(options) => chaos::run(options).await,
        Command::Scale(options) => scale::run(options).await,
        Command::Soak(options) => soak::run(options).await,
        Command::Edge { adjutant, quick } => edge::run(&adjutant, quick).await,
        Command::Budget { adjutant, runs } => budget::run(&adjutant, runs).await,
    }
}
