//! The log of a whole process: filtered, masked, on one line each, private. Alone in its file because a process has one log.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use adjutant_telemetry::{Config, Format, LogError, Target, hide, init};

#[test]
fn a_log_file_is_private_masked_and_one_line_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs/gateway.log");
    let config = Config {
        format: Format::Json,
        ..Config::default()
    };
    let guard = init(&config, Target::File(path.clone())).unwrap();
    hide("correct-horse-battery");
    let said = "with correct-horse-battery\nERROR forged";
    tracing::info!(call = %said, "a tool was refused");
    tracing::debug!("below the level");
    assert!(matches!(
        init(&config, Target::Stderr),
        Err(LogError::AlreadySet)
    ));
    drop(guard);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert_eq!(lines[0]["call"], "with [redacted]\nERROR forged");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}
