//! The file and the directory: whose they are, and what becomes of damage.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use futures::executor::block_on;

use adjutant_domain::id::{OwnerId, SessionKey};
use adjutant_domain::time::Timestamp;
use adjutant_ports::store::{AuditStore, SessionStore, StoreError};
use adjutant_sim::{SimClock, SimEntropy};
use adjutant_store::{Config, FILE_NAME, LocalBus, Lock, OpenError, Sqlite, quarantine, snapshot};

fn open(dir: &Path) -> Result<Arc<Sqlite>, OpenError> {
    Sqlite::open(
        dir,
        SimClock::new(),
        Arc::new(LocalBus::new()),
        Arc::new(SimEntropy::new(1)),
        Config::default(),
    )
}

fn key() -> SessionKey {
    SessionKey::parse("agent:main:main").unwrap()
}

// covers: S48
#[test]
fn nobody_else_can_read_the_files_whatever_the_umask_says() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("state");
    let before = rustix::process::umask(rustix::fs::Mode::empty());
    let store = open(&home).unwrap();
    block_on(store.open_session(&OwnerId::local(), &key(), None, None)).unwrap();
    rustix::process::umask(before);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home), 0o700);
    let mut names: Vec<_> = Vec::new();
    for entry in std::fs::read_dir(&home).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    assert!(names.contains(&format!("{FILE_NAME}-wal")), "{names:?}");
}

// covers: R14
#[test]
fn a_second_store_on_the_same_directory_is_refused_with_the_name_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path()).unwrap();
    let begun = std::time::Instant::now();
    let refused = open(dir.path()).unwrap_err();
    assert!(begun.elapsed() < std::time::Duration::from_secs(2));
    assert!(
        refused
            .to_string()
            .contains(&std::process::id().to_string()),
        "{refused}"
    );
}

// covers: R21
#[test]
fn a_file_that_is_no_database_is_named_left_alone_and_moved_aside_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let garbage = vec![7_u8; 8_192];
    std::fs::write(&path, &garbage).unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Corrupt { path: named, .. } if *named == path),
        "{refused}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), garbage);
    let lock = Lock::acquire(dir.path()).unwrap();
    let aside = quarantine(&lock, Timestamp::from_millis(1)).unwrap();
    drop(lock);
    assert_eq!(std::fs::read(aside).unwrap(), garbage);
    open(dir.path()).unwrap();
}

// covers: R21
#[test]
fn damage_inside_the_file_is_found_and_never_served_as_data() {
    let dir = tempfile::tempdir().unwrap();
    let owner = OwnerId::local();
    let store = open(dir.path()).unwrap();
    for n in 0..200 {
        let key = SessionKey::parse(format!("agent:main:{n}")).unwrap();
        block_on(store.open_session(&owner, &key, None, None)).unwrap();
    }
    let path = store.path().to_owned();
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    // Everything behind the schema.
    let begin = bytes.len() / 2;
    bytes[begin..].fill(0xA5);
    std::fs::write(&path, &bytes).unwrap();
    let store = match open(dir.path()) {
        Ok(store) => store,
        Err(refused) => {
            assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused}");
            return;
        }
    };
    let report = block_on(store.verify());
    let found = match &report {
        Ok(report) => !report.findings.is_empty(),
        Err(error) => matches!(error, StoreError::Corrupt { .. }),
    };
    assert!(found, "{report:?}");
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|it| it.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

// covers: R23
#[test]
fn a_copy_of_the_file_is_there_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (home, copies) = (dir.path().join("home"), dir.path().join("copies"));
    std::fs::create_dir(&copies).unwrap();
    let store = open(&home).unwrap();
    for n in 0..200 {
        let key = SessionKey::parse(format!("agent:main:{n}")).unwrap();
        block_on(store.open_session(&OwnerId::local(), &key, None, None)).unwrap();
    }
    // What an earlier one left that was killed in the middle of it.
    let into = copies.join("one.db");
    std::fs::write(copies.join("one.db.partial"), b"half of it").unwrap();
    snapshot(&home, &into).unwrap();
    assert_eq!(names(&copies), ["one.db"]);
    let mode = std::fs::metadata(&into).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let n: i64 = rusqlite::Connection::open(&into)
        .unwrap()
        .query_row("select count(*) from sessions", [], |row| row.get(0))
        .unwrap();
    assert_eq!(n, 200);
    let again = snapshot(&home, &into);
    assert!(
        matches!(&again, Err(OpenError::Io { source, .. })
            if source.kind() == std::io::ErrorKind::AlreadyExists),
        "{again:?}"
    );

    // A database that can be read up to its middle.
    let path = store.path().to_owned();
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let begin = bytes.len() / 2;
    bytes[begin..].fill(0xA5);
    std::fs::write(&path, &bytes).unwrap();
    snapshot(&home, &copies.join("two.db")).unwrap_err();
    assert_eq!(names(&copies), ["one.db"]);
}

// covers: R38
#[test]
fn a_store_of_a_newer_program_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let db = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
    db.execute(
        "insert into migrations (number, name, checksum) values (99, 'later', 'x')",
        [],
    )
    .unwrap();
    drop(db);
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { .. }), "{refused}");
}
