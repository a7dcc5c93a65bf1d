//! A gateway whose output goes to a disk without space.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::OpenOptions;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

// covers: R19
#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let home = tempfile::tempdir().unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_adjutant"))
        .args(["gateway", "run", "--port", "0"])
        .env("ADJUTANT_HOME", home.path())
        .stdin(Stdio::null())
        .stdout(full.try_clone().unwrap())
        .stderr(full)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let said = home.path().join("gateway.pid");
    let mut is_ready = false;
    while !is_ready && gateway.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never ready");
        is_ready = said.exists();
        std::thread::sleep(Duration::from_millis(20));
    }
    // It says that it is ready after that file is written.
    std::thread::sleep(Duration::from_millis(300));
    let ended = gateway.try_wait().unwrap();
    drop(gateway.kill());
    drop(gateway.wait());
    assert!(is_ready && ended.is_none(), "{ended:?}");
}
