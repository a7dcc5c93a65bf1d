//! Kills and full disks, in a process of its own each.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;

use adjutant_domain::event::EventKind;
use adjutant_domain::id::{OwnerId, SessionKey};
use adjutant_ports::store::{AuditStore, EventStore, SessionStore, StoreError};
use adjutant_sim::{SimClock, SimEntropy};
use adjutant_store::{Config, LocalBus, Sqlite};

/// Set in the child: the directory of its store.
const CHILD: &str = "ADJUTANT_STORE_TEST_DIR";

fn open(dir: &Path) -> Arc<Sqlite> {
    Sqlite::open(
        dir,
        SimClock::new(),
        Arc::new(LocalBus::new()),
        Arc::new(SimEntropy::new(1)),
        Config::default(),
    )
    .unwrap()
}

fn said(name: &str) -> EventKind {
    EventKind::Changed {
        what: "test".to_owned(),
        name: name.to_owned(),
    }
}

/// This very test, in a process of its own.
fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, dir);
    command
}

fn child_dir() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

// covers: R1, R22
#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let owner = OwnerId::local();
    if let Some(dir) = child_dir() {
        let store = open(&dir);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (store, owner) = (&store, &owner);
                scope.spawn(move || {
                    for n in 0.. {
                        let name = format!("{writer}-{n}");
                        block_on(store.announce(owner, None, said(&name))).unwrap();
                        // One write per line, so that a line is whole or not there.
                        std::io::stdout()
                            .write_all(format!("ack {name}\n").as_bytes())
                            .unwrap();
                    }
                });
            }
        });
        return;
    }
    for n_acks in [1, 57, 400] {
        let dir = tempfile::tempdir().unwrap();
        let mut process = child(
            "a_kill_at_any_moment_loses_nothing_that_was_acknowledged",
            dir.path(),
        )
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ack = |line: std::io::Result<String>| {
            line.ok()
                .and_then(|l| l.split("ack ").nth(1).map(str::to_owned))
        };
        let mut acknowledged: Vec<String> = lines.by_ref().filter_map(ack).take(n_acks).collect();
        process.kill().unwrap();
        process.wait().unwrap();
        // What was in the pipe when it died was acknowledged as well; the last line may be cut.
        let mut rest: Vec<String> = lines.filter_map(ack).collect();
        rest.pop();
        acknowledged.extend(rest);
        let store = open(dir.path());
        let events = block_on(store.events_since(&owner, 0, u32::MAX)).unwrap();
        let there: std::collections::BTreeSet<String> = events
            .into_iter()
            .filter_map(|event| match event.kind {
                EventKind::Changed { name, .. } => Some(name),
                _ => None,
            })
            .collect();
        assert!(acknowledged.len() >= n_acks);
        for name in &acknowledged {
            assert!(there.contains(name), "{name} was acknowledged and is lost");
        }
        assert_eq!(
            block_on(store.verify()).unwrap().findings,
            Vec::<String>::new()
        );
    }
}

// covers: R19, R20
#[test]
fn a_disk_that_fills_up_and_empties_again_needs_no_restart() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let owner = OwnerId::local();
    if let Some(dir) = child_dir() {
        let store = open(&dir);
        let key = SessionKey::parse("agent:main:main").unwrap();
        block_on(store.open_session(&owner, &key, None, None)).unwrap();
        let before = getrlimit(Resource::Fsize);
        // From here on no file may grow beyond 256 KiB, as on a disk without space.
        setrlimit(
            Resource::Fsize,
            Rlimit {
                current: Some(256 << 10),
                maximum: before.maximum,
            },
        )
        .unwrap();
        let big = "x".repeat(64 << 10);
        let (mut n_written, mut n_refused) = (0, 0);
        // The first refusal moves the log into the database, which makes room in the log once more.
        while n_refused < 3 {
            match block_on(store.announce(&owner, None, said(&big))) {
                Ok(()) => (n_written, n_refused) = (n_written + 1, 0),
                Err(StoreError::Degraded { .. }) => n_refused += 1,
                Err(other) => panic!("{other:?}"),
            }
            assert!(n_written < 1_000, "the limit was never reached");
        }
        assert!(block_on(store.session(&owner, &key)).unwrap().is_some());
        let ready = block_on(store.writable());
        assert!(
            matches!(ready, Err(StoreError::Degraded { .. })),
            "{ready:?}"
        );
        setrlimit(Resource::Fsize, before).unwrap();
        block_on(store.announce(&owner, None, said("space again"))).unwrap();
        let events = block_on(store.events_since(&owner, 0, u32::MAX)).unwrap();
        // The session's event, what was acknowledged, and the one after.
        assert_eq!(events.len(), 1 + n_written + 1);
        assert_eq!(
            block_on(store.verify()).unwrap().findings,
            Vec::<String>::new()
        );
        println!("survived");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let inner = child(
        "a_disk_that_fills_up_and_empties_again_needs_no_restart",
        dir.path(),
    );
    // The signal of a file that grows too far would end the process; ignored, the write fails instead.
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(r#"trap "" XFSZ; exec "$0" "$@""#)
        .arg(inner.get_program())
        .args(inner.get_args());
    let output = shell.env(CHILD, dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("survived"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

// covers: R14
#[test]
fn the_lock_of_a_killed_process_is_free_at_once() {
    if let Some(dir) = child_dir() {
        let _store = open(&dir);
        println!("ready");
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut process = child("the_lock_of_a_killed_process_is_free_at_once", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("ready")));
    let refused = Sqlite::open(
        dir.path(),
        SimClock::new(),
        Arc::new(LocalBus::new()),
        Arc::new(SimEntropy::new(1)),
        Config::default(),
    )
    .unwrap_err();
    assert!(
        refused.to_string().contains(&process.id().to_string()),
        "{refused}"
    );
    process.kill().unwrap();
    process.wait().unwrap();
    open(dir.path());
}
