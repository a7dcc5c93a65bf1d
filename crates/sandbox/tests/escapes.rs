//! The escape suite, run for real.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use adjutant_ports::sandbox::Sandbox;
use adjutant_sandbox::{Bubblewrap, Config, NoWalls, Verdict, verify};

// covers: S35, S36, S38, D18, R32
#[tokio::test]
async fn no_attempt_to_get_out_succeeds() {
    let sandbox = Bubblewrap::new(&Config::default());
    let report = sandbox.report().await;
    if !report.available {
        println!("SKIPPED: {}", report.missing.join("; "));
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let trials = verify(&sandbox, scratch.path()).await.unwrap();
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
