//! The guided demonstration, as a stranger runs it first.

use std::process::Command;

// covers: R2, R4, R36
#[test]
fn the_demo_shows_the_kill_and_the_resume_and_leaves_nothing_behind() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(env!("CARGO_BIN_EXE_adjutant"))
        .args(["demo", "--yes"])
        .env("TMPDIR", temp.path())
        .env("NO_COLOR", "1")
        .env_remove("ADJUTANT_HOME")
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(
        said.contains("taken over after the kill") || said.contains("skipped"),
        "{said}"
    );
    let left = std::fs::read_dir(temp.path())
        .expect("the folder is there")
        .count();
    assert_eq!(left, 0, "the demonstration left files behind");
}
