//! Project chores: `cargo xtask <what>`.

mod clients;
mod dependencies;
#[cfg(test)]
mod deploy;
mod floors;
mod generate;
mod lab;
mod manual;
mod metadata;
mod models;
mod portable;
mod testing;
mod tidy;
mod tree;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Project chores.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Look for what the tests need, say how to get what is missing, and run them all.
    Test {
        /// Arguments for `cargo test`, such as a filter.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Write the generated files: schemas and the reference manual.
    Gen,
    /// Compare the dependency graph with `crates/floors.toml`.
    Floors,
    /// Check licences, banned crates and the versions that matter.
    Deps,
    /// Compare the protocol with the last release: what was removed or narrowed.
    Compat,
    /// Check file lengths, forbidden words, and that parts of Unix stay behind `#[cfg(unix)]`.
    Tidy,
    /// Measure a release build beside the floor and print the table (`--quick`, `--out FILE`).
    Bench {
        /// Arguments for the lab.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Kill a gateway over SQLite again and again during five-tool runs, and count what was lost or doubled (`--kills N`,
    /// `--seed N`): the scenario `sqlite-killed` of `chaos`.
    Kills {
        /// Arguments for the lab.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Kill, freeze, cut off and starve gateway, workers and database, and count what was promised (`--short`: at most ten
    /// minutes; `--seed N`, `--only NAME,…`, `--list`, `--json`; `--dev` first: a development build). Ends with 1 when something
    /// broke, with 2 when something was not tried.
    Chaos {
        /// Arguments for the lab.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure turns a second of a release build with one, two and four workers over PostgreSQL (`--workers`, `--delay-ms`,
    /// `--seconds`, `--json`).
    Scale {
        /// Arguments for the lab.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Let clients come and go at a release build for a long time, and check that memory, descriptors, threads and tasks stay
    /// where they are (`--minutes`, `--sqlite`, `--clients`, `--out FILE`).
    Soak {
        /// Arguments for the lab.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Do to the port of a release build what strangers, careless programs and crowds do, and print a table (`--quick`).
    Edge {
        /// Arguments for the lab.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Install unmodified programs of the OpenClaw family and drive them against a release build, a line for each action
    /// (`--release now,fork,jan26`, `--only ACTION`, `--gateway-bin PATH`, `--cache DIR`, `--record DIR`, `--original`).
    Clients {
        /// Arguments for `e2e/clients/run.mjs`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Start 1,000 runs at once against a budget of $1.00, and check that it is never passed (`--runs N`).
    Budget {
        /// Arguments for the lab.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Test { arguments } => testing::run(&arguments),
        Chore::Gen => generate::write(),
        Chore::Floors => {
            metadata::read().and_then(|it| report(&floors::check(&it, &floors::table()?)))
        }
        Chore::Deps => metadata::read().and_then(|it| report(&dependencies::check(&it))),
        Chore::Compat => models::released::check().and_then(|it| report(&it)),
        Chore::Tidy => tidy::check(tree::root())
            .and_then(|mut it| {
                it.extend(portable::check(tree::root())?);
                Ok(it)
            })
            .and_then(|it| report(&it)),
        Chore::Bench { arguments } => lab::run("bench", &arguments),
        Chore::Kills { arguments } => lab::run("kills", &arguments),
        Chore::Clients { arguments } => clients::run(&arguments),
        Chore::Chaos { arguments } => lab::chaos(&arguments),
        Chore::Scale { arguments } => lab::run("scale", &arguments),
        Chore::Soak { arguments } => lab::run("soak", &arguments),
        Chore::Edge { arguments } => lab::run("edge", &arguments),
        Chore::Budget { arguments } => lab::run("budget", &arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn report(findings: &[String]) -> anyhow::Result<ExitCode> {
    for finding in findings {
        eprintln!("error: {finding}");
    }
    Ok(if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
