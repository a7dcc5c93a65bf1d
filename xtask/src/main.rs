//! Project chores: `cargo xtask <what>`.

mod dependencies;
mod floors;
mod generate;
mod manual;
mod metadata;
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
    /// Check file lengths and forbidden words.
    Tidy,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Test { arguments } => testing::run(&arguments),
        Chore::Gen => generate::write(),
        Chore::Floors => {
            metadata::read().and_then(|it| report(&floors::check(&it, &floors::table()?)))
        }
        Chore::Deps => metadata::read().and_then(|it| report(&dependencies::check(&it))),
        Chore::Tidy => tidy::check(tree::root()).and_then(|it| report(&it)),
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
