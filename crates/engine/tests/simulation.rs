//! The real engine in a simulated world: thousands of seeds, faults on, checkers after every seed.
//!
//! `ADJUTANT_SIM_SEEDS` says how many seeds each sweep runs; `ADJUTANT_SIM_SEED` runs one and prints its history.

#![allow(clippy::unwrap_used)]

mod sim;

use sim::{Plan, World, seeds};

use adjutant_sim::Weakness;

/// Runs `n` seeds of a plan on two threads; panics with the first seed that fails and its history.
fn sweep(n: u64, plan: Plan) {
    if let Ok(seed) = std::env::var("ADJUTANT_SIM_SEED") {
        let seed = seed.parse().expect("ADJUTANT_SIM_SEED is a number");
        let report = World::new(seed, &plan).run();
        println!("{}", report.history);
        assert!(
            report.findings.is_empty(),
            "seed {seed}: {:#?}",
            report.findings
        );
        return;
    }
    let asked = std::env::var("ADJUTANT_SIM_SEEDS").ok();
    let n = asked.map_or(n, |n| n.parse().expect("ADJUTANT_SIM_SEEDS is a number"));
    let failed = seeds(n, &plan);
    if let Some(report) = failed {
        panic!(
            "seed {} failed: {:#?}\n{}",
            report.seed, report.findings, report.history
        );
    }
}

// covers: R2, R3, R4, R5, R6, R10, R15, R16, R33, S31
#[test]
fn work_survives_crashes_lapsed_leases_and_lost_hints() {
    sweep(4_000, Plan::everything());
}

// covers: R31
#[test]
fn a_model_that_often_fails_ends_every_run_honestly() {
    sweep(
        500,
        Plan {
            model_faults: 40,
            ..Plan::everything()
        },
    );
}

#[test]
fn parallel_runs_never_pass_a_cap() {
    sweep(
        500,
        Plan {
            runs: 12,
            cap: true,
            ..Plan::everything()
        },
    );
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..20 {
        let plan = Plan::everything();
        assert_eq!(
            World::new(seed, &plan).run().history,
            World::new(seed, &plan).run().history,
            "seed {seed}"
        );
    }
}

/// The checkers bite: a `Once` tool that the engine is told may be repeated is caught.
#[test]
fn repeating_a_once_call_is_caught() {
    let plan = Plan {
        once_is_declared_a_read: true,
        ..Plan::everything()
    };
    let report = seeds(2_000, &plan).expect("no seed repeated a call that must happen once");
    assert!(
        report.findings.iter().any(|f| f.contains(" times")),
        "{:#?}",
        report.findings
    );
}

/// The checkers bite: a store that does not compare the fence is caught.
#[test]
fn dropping_the_fence_comparison_is_caught() {
    let plan = Plan {
        weakness: Weakness::NoFence,
        ..Plan::everything()
    };
    let report = seeds(2_000, &plan).expect("no seed let two claims write");
    assert!(!report.findings.is_empty());
}

/// The checkers bite: a store that does not compare reservations with caps is caught.
#[test]
fn dropping_the_cap_check_is_caught() {
    let plan = Plan {
        runs: 12,
        cap: true,
        weakness: Weakness::NoCaps,
        ..Plan::everything()
    };
    let report = seeds(500, &plan).expect("no seed passed a cap");
    assert!(
        report.findings.iter().any(|f| f.contains("cap")),
        "{:#?}",
        report.findings
    );
}
