//! The escape suite, run for real.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::path::Path;

use adjutant_ports::sandbox::Sandbox;
use adjutant_sandbox::{Bubblewrap, Config, Inner, Native, NoWalls, Verdict, verify};

fn inner() -> Inner {
    Inner::at(Path::new(env!("CARGO_BIN_EXE_sandbox-inner"))).unwrap()
}

// covers: S35, S36, S38, D18, R32
#[tokio::test]
async fn no_attempt_to_get_out_of_bubblewrap_succeeds() {
    let path = std::env::var_os("PATH");
    nothing_gets_out(&Bubblewrap::with(&Config::default(), path, None)).await;
}

// covers: S35, S36, S38, D18, R32
#[tokio::test]
async fn no_attempt_to_get_out_of_bubblewrap_with_landlock_succeeds() {
    let path = std::env::var_os("PATH");
    nothing_gets_out(&Bubblewrap::with(&Config::default(), path, Some(inner()))).await;
}

// covers: S35, S36, S38, D18, R32
#[tokio::test]
async fn no_attempt_to_get_out_of_the_walls_of_this_program_succeeds() {
    nothing_gets_out(&Native::with_inner(&Config::default(), Some(inner()))).await;
}

async fn nothing_gets_out(sandbox: &dyn Sandbox) {
    let report = sandbox.report().await;
    if !report.available {
        println!("SKIPPED: {}", report.missing.join("; "));
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let trials = verify(sandbox, scratch.path()).await.unwrap();
    for trial in &trials {
        println!(
            "{:?} {}: {} ({})",
            trial.verdict, trial.name, trial.what, trial.detail
        );
    }
    let escaped: Vec<_> = trials
        .iter()
        .filter(|it| it.verdict == Verdict::Escaped)
        .collect();
    assert!(escaped.is_empty(), "{escaped:#?}");
    let n_held = trials.iter().filter(|it| it.held()).count();
    assert!(20 <= n_held, "only {n_held} attempts were made");
}

#[tokio::test]
async fn without_walls_every_attempt_is_skipped_and_none_counts_as_held() {
    let scratch = tempfile::tempdir().unwrap();
    let trials = verify(&NoWalls::new("nothing here"), scratch.path())
        .await
        .unwrap();
    assert!(
        trials
            .iter()
            .all(|it| it.verdict == Verdict::Skipped && it.detail.contains("nothing here"))
    );
}
