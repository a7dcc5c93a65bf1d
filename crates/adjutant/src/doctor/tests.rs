#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::daemon::{PidFile, SOCKET_FILE};
use crate::doors::SystemClock;

fn subject(home: &Path) -> Subject {
    Subject {
        place: Place {
            home: home.to_owned(),
            socket: home.join(SOCKET_FILE),
            log: home.join("logs/gateway.log"),
            config: None,
            credential: adjutant_client::Credential::None,
            tls: adjutant_tls::Config::default(),
            drain: std::time::Duration::from_secs(10),
            service: None,
        },
        config_file: home.join("config.toml"),
        config: Config::default(),
        config_problem: None,
        address: ([127, 0, 0, 1], 0).into(),
        env: std::env::vars()
            .filter(|(name, _)| !name.starts_with("ADJUTANT_"))
            .collect(),
        user_home: None,
        version: "0.1.0".to_owned(),
        clock: Arc::new(SystemClock::new()),
    }
}

async fn run(subject: &Subject, fixing: Fixing) -> Report {
    look(subject, fixing, async { Ok(Report::default()) }.boxed()).await
}

fn find<'a>(report: &'a Report, id: &str) -> &'a Check {
    report
        .checks
        .iter()
        .find(|it| it.id == id)
        .unwrap_or_else(|| panic!("no check `{id}`"))
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

// covers: CC-16
#[tokio::test]
async fn more_than_forty_checks_take_less_than_ten_seconds_and_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let begun = std::time::Instant::now();
    let report = run(&subject(dir.path()), Fixing::No).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(40 <= report.checks.len(), "{}", report.checks.len());
    let mut ids: Vec<&str> = report.checks.iter().map(|it| it.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), report.checks.len(), "identifiers are unique");
    for check in &report.checks {
        let bad = matches!(check.severity, Severity::Warning | Severity::Error);
        assert!(!bad || check.fix.is_some(), "{check:?}");
    }
}

// covers: S48
#[tokio::test]
async fn open_permissions_are_found_and_mended_only_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join(crate::setup::TOKEN_FILE);
    std::fs::write(&token, "h2Yw0bJm3QvKc8sPzRt5nXaLd7GfEu1o\n").unwrap();
    set_mode(&token, 0o644);
    set_mode(dir.path(), 0o755);
    let subject = subject(dir.path());
    let before = run(&subject, Fixing::No).await;
    assert_eq!(find(&before, "state.permissions").severity, Severity::Error);
    assert_eq!(find(&before, "token.permissions").severity, Severity::Error);
    let mended = run(&subject, Fixing::Yes).await;
    assert!(find(&mended, "state.permissions").fixed && find(&mended, "token.permissions").fixed);
    let after = run(&subject, Fixing::No).await;
    assert_eq!(find(&after, "state.permissions").severity, Severity::Ok);
    assert_eq!(find(&after, "token.content").severity, Severity::Ok);
}

#[tokio::test]
async fn what_a_dead_process_left_is_removed_and_contents_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let left = PidFile {
        pid: 1,
        fingerprint: None,
        address: None,
        socket: None,
        database: None,
        version: None,
        started_at: None,
    };
    left.write(dir.path()).unwrap();
    std::fs::write(dir.path().join("adjutant.db"), "not a database").unwrap();
    let subject = subject(dir.path());
    let mended = run(&subject, Fixing::Yes).await;
    assert!(find(&mended, "lock.owner").fixed);
    assert_eq!(PidFile::read(dir.path()), None);
    assert_eq!(find(&mended, "store.format").severity, Severity::Error);
    assert_eq!(
        std::fs::read_to_string(dir.path().join("adjutant.db")).unwrap(),
        "not a database"
    );
}

#[tokio::test]
async fn a_certificate_that_cannot_be_shown_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut subject = subject(dir.path());
    let severity = async |subject: &Subject| {
        let report = run(subject, Fixing::No).await;
        find(&report, "tls.certificate").severity
    };
    assert_eq!(severity(&subject).await, Severity::Ok);
    let tls = &mut subject.config.gateway.tls;
    tls.mode = adjutant_tls::Mode::SelfSigned;
    adjutant_tls::Server::open(tls, dir.path()).unwrap();
    assert_eq!(severity(&subject).await, Severity::Ok);
    // The same as files of one's own, and then with a key that is no key.
    let tls = &mut subject.config.gateway.tls;
    tls.mode = adjutant_tls::Mode::Files;
    tls.certificate = Some(dir.path().join("tls/self-signed.pem"));
    tls.key = Some(dir.path().join("tls/self-signed.key"));
    assert_eq!(severity(&subject).await, Severity::Ok);
    std::fs::write(dir.path().join("tls/self-signed.key"), "no key").unwrap();
    assert_eq!(severity(&subject).await, Severity::Error);
}

// covers: S45
#[tokio::test]
async fn a_key_in_the_configuration_is_found_and_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let key = "sk-planted471147114711471147114711";
    std::fs::write(
        dir.path().join("config.toml"),
        format!("# note\nx = \"{key}\"\n"),
    )
    .unwrap();
    let report = run(&subject(dir.path()), Fixing::No).await;
    let check = find(&report, "config.secrets");
    assert_eq!(check.severity, Severity::Error);
    assert!(check.message.contains("line 2"), "{}", check.message);
    assert!(!format!("{report:?}").contains(key));
}

#[tokio::test]
async fn a_taken_port_an_unknown_variable_and_a_store_that_does_not_open_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    std::fs::write(dir.path().join("adjutant.db"), "").unwrap();
    let mut subject = subject(dir.path());
    subject.address = other.local_addr().unwrap();
    subject
        .env
        .insert("ADJUTANT_PROT".to_owned(), "1".to_owned());
    let refused = async {
        Err(Failure::new(
            adjutant_cli::Exit::Failed,
            "STORE",
            "schema version 9, known 1",
        ))
    };
    let report = look(&subject, Fixing::No, refused.boxed()).await;
    assert_eq!(find(&report, "port.free").severity, Severity::Error);
    assert!(
        find(&report, "config.variables")
            .message
            .contains("ADJUTANT_PROT")
    );
    assert!(
        find(&report, "store.opens")
            .message
            .contains("schema version 9")
    );
}

#[test]
fn sizes_are_for_people() {
    assert_eq!(size(1_023), "1023 bytes");
    assert_eq!(size(1_536), "1.5 KiB");
    assert_eq!(size(64 << 20), "64 MiB");
}
