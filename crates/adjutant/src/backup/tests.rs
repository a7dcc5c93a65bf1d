//! A backup and its way back, with a SQLite file.
#![allow(clippy::unwrap_used)]

use std::future::{pending, ready};
use std::sync::Arc;

use adjutant_domain::id::{OwnerId, SessionKey};
use adjutant_ports::store::SessionStore as _;
use adjutant_store::{Config, LocalBus, OpenError, Sqlite};

use super::error::BackupError;
use super::restore::{Restored, rehearse};
use super::*;
use crate::doors::{OsEntropy, SystemClock};

async fn home() -> (tempfile::TempDir, PathBuf, Arc<Sqlite>) {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let store = open(&home);
    seat(&store, "agent:main:one").await;
    fs::write(home.join("token"), "secret").unwrap();
    fs::create_dir_all(home.join("workspace/notes")).unwrap();
    fs::write(home.join("workspace/notes/a.md"), "words").unwrap();
    fs::create_dir_all(home.join("logs")).unwrap();
    fs::write(home.join("logs/gateway.log"), "noise").unwrap();
    (dir, home, store)
}

fn open(home: &Path) -> Arc<Sqlite> {
    let clock = Arc::new(SystemClock::new());
    let bus = Arc::new(LocalBus::new());
    Sqlite::open(home, clock, bus, Arc::new(OsEntropy), Config::default()).unwrap()
}

async fn seat(store: &Sqlite, key: &str) {
    let key = SessionKey::parse(key).unwrap();
    store
        .open_session(&OwnerId::local(), &key, None, None)
        .await
        .unwrap();
}

fn manifest() -> Manifest {
    Manifest::new(Timestamp::from_millis(1_700_000_000_000))
}

static GOING: AtomicBool = AtomicBool::new(false);

fn order(home: &Path, file: &Path, workspaces: Workspaces) -> Order {
    Order {
        home: home.to_owned(),
        file: file.to_owned(),
        workspaces,
        manifest: manifest(),
        store: Image::File,
    }
}

fn back_up(home: &Path, file: &Path, workspaces: Workspaces) -> Result<Made, BackupError> {
    create(&order(home, file, workspaces), &GOING)
}

async fn restore(
    home: &Path,
    file: &Path,
    database: Option<&str>,
) -> Result<Restored, BackupError> {
    restore::restore(home, file, database, pending::<()>).await
}

#[tokio::test]
async fn what_is_taken_while_the_store_is_in_use_comes_back_whole() {
    // covers: R23
    let (dir, home, store) = home().await;
    let file = dir.path().join("a.tar");
    let made = back_up(&home, &file, Workspaces::With).unwrap();
    assert_eq!(made.files, 3);
    seat(&store, "agent:main:later").await;
    drop(store);

    let back = restore(&home, &file, None).await.unwrap();
    let aside = back.aside.unwrap();
    assert!(aside.join("logs/gateway.log").exists());
    assert_eq!(fs::read_to_string(home.join("token")).unwrap(), "secret");
    let note = home.join("workspace/notes/a.md");
    assert_eq!(fs::read_to_string(note).unwrap(), "words");
    assert!(!home.join("logs").exists());
    let store = open(&home);
    let n = store.count_sessions(&OwnerId::local()).await.unwrap();
    assert_eq!(n, 1, "as of the moment of the backup");
    #[cfg(unix)]
    for private in [&file, &home.join("token")] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(private).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", private.display());
    }
}

#[tokio::test]
async fn workspaces_can_stay_behind_and_nothing_is_overwritten() {
    let (dir, home, _store) = home().await;
    let file = dir.path().join("a.tar");
    let made = back_up(&home, &file, Workspaces::Without).unwrap();
    assert_eq!(made.files, 2);
    let again = back_up(&home, &file, Workspaces::With);
    assert!(matches!(again, Err(BackupError::Exists { .. })));
    let inside = back_up(&home, &home.join("b.tar"), Workspaces::With);
    assert!(matches!(inside, Err(BackupError::Inside { .. })));
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "no scraps: {left:?}");
}

#[tokio::test]
async fn a_store_that_is_in_use_is_not_replaced() {
    let (dir, home, _store) = home().await;
    let file = dir.path().join("a.tar");
    back_up(&home, &file, Workspaces::With).unwrap();
    let refused = restore(&home, &file, None).await;
    assert!(
        matches!(refused, Err(BackupError::Store(OpenError::Locked(_)))),
        "{refused:?}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

/// An archive with these entries after a good first one.
fn archive(path: &Path, entries: &[(&str, tar::EntryType)]) {
    let mut archive = Archive {
        tar: tar::Builder::new(File::create(path).unwrap()),
        at: Timestamp::default(),
        files: 0,
        is_stopped: &GOING,
    };
    archive.manifest(&manifest(), path).unwrap();
    for (name, kind) in entries {
        let mut header = archive.header(1, 0o600);
        header.set_entry_type(*kind);
        // `set_path` refuses what a liar would write.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.tar.append(&header, b"x".as_slice()).unwrap();
    }
    archive.tar.finish().unwrap();
}

#[tokio::test]
async fn an_archive_cannot_write_outside_or_bring_links() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let file = dir.path().join("a.tar");
    for (name, kind) in [
        ("../out", tar::EntryType::Regular),
        ("/tmp/out", tar::EntryType::Regular),
        ("a/../../out", tar::EntryType::Regular),
        ("link", tar::EntryType::Symlink),
        ("hard", tar::EntryType::Link),
        ("dev", tar::EntryType::Char),
    ] {
        archive(&file, &[(name, kind)]);
        let refused = restore(&home, &file, None).await;
        assert!(
            matches!(refused, Err(BackupError::Foreign { .. })),
            "{name}: {refused:?}"
        );
    }
    archive(&file, &[]);
    let empty = restore(&home, &file, None).await;
    assert!(
        matches!(empty, Err(BackupError::Foreign { .. })),
        "{empty:?}"
    );
    fs::write(&file, "not an archive").unwrap();
    let junk = restore(&home, &file, None).await;
    assert!(matches!(junk, Err(BackupError::Foreign { .. })), "{junk:?}");
    assert!(!home.exists() && fs::read_dir(dir.path()).unwrap().count() == 1);
}

#[tokio::test]
async fn a_damaged_store_is_not_put_in_place() {
    let (dir, home, store) = home().await;
    drop(store);
    let file = dir.path().join("a.tar");
    fs::write(home.join("filler"), vec![0; 4096]).unwrap();
    back_up(&home, &file, Workspaces::With).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    // Within the pages of the store, behind its header.
    bytes[4_096..40_960].fill(0x5a);
    fs::write(&file, bytes).unwrap();
    assert!(restore(&home, &file, None).await.is_err());
    assert_eq!(fs::read_to_string(home.join("token")).unwrap(), "secret");
}

/// What lies in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|it| it.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_dry_run_refuses_what_a_restore_refuses_and_leaves_nothing() {
    let (dir, home, store) = home().await;
    let (file, bad) = (dir.path().join("a.tar"), dir.path().join("bad.tar"));
    back_up(&home, &file, Workspaces::With).unwrap();
    let in_use = rehearse(&home, &file, None, pending::<()>).await;
    assert!(
        matches!(in_use, Err(BackupError::Store(OpenError::Locked(_)))),
        "{in_use:?}"
    );
    drop(store);
    let mut bytes = fs::read(&file).unwrap();
    bytes[4_096..40_960].fill(0x5a);
    fs::write(&bad, bytes).unwrap();
    let broken = rehearse(&home, &bad, None, pending::<()>).await;
    assert!(broken.is_err(), "{broken:?}");
    let no_rows = rehearse(&home, &file, Some("env:DB"), pending::<()>).await;
    assert!(matches!(no_rows, Err(BackupError::NoRows { .. })));
    let nothing = rehearse(&home, &dir.path().join("no.tar"), None, pending::<()>).await;
    assert!(matches!(nothing, Err(BackupError::Io { .. })));

    fs::write(home.join("token"), "another").unwrap();
    let would = rehearse(&home, &file, None, pending::<()>).await.unwrap();
    assert_eq!((would.files, would.database), (3, None));
    assert!(would.aside.is_some());
    assert_eq!(fs::read(home.join("token")).unwrap(), b"another");
    assert_eq!(names(dir.path()), ["a.tar", "bad.tar", "home"]);

    let elsewhere = dir.path().join("elsewhere");
    let would = rehearse(&elsewhere, &file, None, pending::<()>).await;
    assert_eq!(would.unwrap().aside, None);
    assert!(!elsewhere.exists());
}

#[tokio::test]
async fn a_backup_that_is_stopped_leaves_nothing() {
    let (dir, home, _store) = home().await;
    let file = dir.path().join("a.tar");
    let order = || order(&home, &file, Workspaces::With);
    let stopped = make(order(), ready(())).await;
    assert!(
        matches!(stopped, Err(BackupError::Interrupted)),
        "{stopped:?}"
    );
    assert_eq!(names(dir.path()), ["home"]);
    assert!(make(order(), pending::<()>()).await.is_ok());
    assert_eq!(names(dir.path()), ["a.tar", "home"]);
}

#[tokio::test]
async fn a_restore_that_is_stopped_changes_nothing() {
    let (dir, home, store) = home().await;
    drop(store);
    let file = dir.path().join("a.tar");
    back_up(&home, &file, Workspaces::With).unwrap();
    fs::write(home.join("token"), "another").unwrap();
    let stopped = restore::restore(&home, &file, None, || ready(())).await;
    assert!(
        matches!(stopped, Err(BackupError::Interrupted)),
        "{stopped:?}"
    );
    assert_eq!(fs::read(home.join("token")).unwrap(), b"another");
    assert_eq!(names(dir.path()), ["a.tar", "home"]);
}

#[test]
fn a_state_directory_that_was_moved_aside_comes_back_if_the_new_one_cannot_take_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (home, aside) = (dir.path().join("home"), dir.path().join("aside"));
    fs::create_dir(&home).unwrap();
    fs::write(home.join("token"), "secret").unwrap();
    let gone = restore::Staging::make(dir.path().join("gone")).unwrap();
    fs::remove_dir(dir.path().join("gone")).unwrap();
    let refused = restore::put_in_place(&home, &gone, Some(&aside));
    assert!(
        matches!(refused, Err(BackupError::Io { .. })),
        "{refused:?}"
    );
    assert_eq!(fs::read(home.join("token")).unwrap(), b"secret");
    assert_eq!(names(dir.path()), ["home"]);
}

#[test]
fn after_the_rows_are_there_nobody_says_that_nothing_was_changed() {
    let home = PathBuf::from("/home/me/.adjutant");
    let filled = |ready: Option<&str>, source| BackupError::Filled {
        at: "db:5432/x".to_owned(),
        ready: ready.map(PathBuf::from),
        home: home.clone(),
        source: Box::new(source),
    };
    let ready = "/home/me/.adjutant.restoring-7";
    let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
    let broken = BackupError::Broken {
        path: PathBuf::from("a.tar"),
        finding: "a gap".to_owned(),
        more: 0,
    };
    let all = [
        filled(Some(ready), io_error(&home)(denied())),
        filled(Some(ready), BackupError::Interrupted),
        filled(None, broken),
        BackupError::Unflushed {
            home: home.clone(),
            source: denied(),
        },
        BackupError::Aside {
            home: home.clone(),
            aside: PathBuf::from("/home/me/.adjutant.before-restore-1"),
            source: denied(),
        },
    ];
    let said: Vec<String> = all
        .iter()
        .map(|error| error::failure(error).text())
        .collect();
    for text in &said {
        assert!(!text.contains("nothing was changed"), "{text}");
    }
    assert!(said[0].contains(&format!("move `{ready}` to `{}`", home.display())));
    assert_eq!(
        error::failure(&all[1]).exit,
        adjutant_cli::Exit::Interrupted
    );
    assert!(
        said[2].contains("drop schema adjutant cascade"),
        "{}",
        said[2]
    );
    assert!(said[3].contains("everything is restored"), "{}", said[3]);
    assert!(said[4].contains("nothing is lost: move `"), "{}", said[4]);
}
