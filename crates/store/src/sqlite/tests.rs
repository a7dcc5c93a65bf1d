//! What only SQLite promises: plans, faults of the disk, what is on the disk.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use rusqlite::ffi;

use adjutant_domain::event::EventKind;
use adjutant_domain::id::{ClientKey, OwnerId, SessionKey};
use adjutant_ports::store::{
    AuditStore, EventStore, Page, RunIndex, RunStore, SessionPatch, SessionStore, StoreError,
    ThreadStore,
};
use adjutant_sim::conformance::{self, World};
use adjutant_sim::{SimClock, SimEntropy};

use crate::bus::LocalBus;
use crate::config::Config;
use crate::error::Fault;
use crate::health::Look;
use crate::sql::{NOTED, Sql};
use crate::sqlite::{Sqlite, tidy};
use crate::writer::Chores;

struct Bench {
    // Before the directory that it is in.
    store: Option<Arc<Sqlite>>,
    clock: Arc<SimClock>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = SimClock::new();
        let store = Some(open(dir.path(), &clock));
        Self { store, clock, dir }
    }

    fn store(&self) -> &Arc<Sqlite> {
        self.store.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(open(self.dir.path(), &self.clock));
    }

    fn world(&self) -> World {
        World::new(Arc::clone(self.store()) as _, Arc::clone(&self.clock), ())
    }

    /// Changes the file behind the store's back.
    fn tamper(&self, sql: &str) {
        let db = rusqlite::Connection::open(self.store().path()).unwrap();
        db.execute_batch(sql).unwrap();
    }

    fn findings(&self) -> Vec<String> {
        block_on(self.store().verify()).unwrap().findings
    }
}

fn open(dir: &std::path::Path, clock: &Arc<SimClock>) -> Arc<Sqlite> {
    Sqlite::open(
        dir,
        Arc::clone(clock) as _,
        Arc::new(LocalBus::new()),
        Arc::new(SimEntropy::new(7)),
        Config::default(),
    )
    .unwrap()
}

/// Tables that grow with use, and the short names that statements give them.
const BIG: &[&str] = &[
    "threads",
    "messages",
    "sessions",
    "runs",
    "entries",
    "events",
    "ledger",
    "spend",
    "approvals",
    "memories",
    "answers",
    "audit",
    "m",
    "r",
    "q",
    "a",
    "s",
    "t",
    "u",
    "v",
    "l",
];

/// Indexes that hold only what is under way, and are as short as the bounds of the queue say.
const SHORT: &[&str] = &["runs_queue", "runs_due", "runs_seat"];

/// A conversation is removed at the owner's explicit wish only, and takes its time.
const EXCUSED: &[&str] = &[
    "delete from threads where id = ?",
    "delete from events where owner = ? and run = ?",
    "select id, n, status <> 'finished' from runs where owner = ? and thread = ?",
    // Walks no further than to its limit.
    "select count(*) from (select 1 from memories limit ?)",
    // The plan has a step that runs only while a child without its parent is open in the same transaction.
    "insert into threads (id, owner, agent, created_at, updated_at) values (?, ?, ?, ?, ?)",
];

/// The table that a step of a plan walks through from one end to the other.
fn walked(step: &str) -> Option<&str> {
    let table = step.strip_prefix("SCAN ")?.split(' ').next()?;
    let index = step
        .split("INDEX ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let short = index.is_some_and(|index| SHORT.contains(&index));
    (BIG.contains(&table) && !short).then_some(table)
}

/// Runs cases of the contract, each over a store of its own.
macro_rules! run_cases {
    ($($module:ident::$case:ident)+) => { $(
        let bench = Bench::new();
        let world = bench.world();
        block_on(conformance::$module::$case(&world));
    )+ };
}

// covers: R29
#[test]
fn no_statement_of_daily_use_walks_through_a_big_table() {
    let bench = Bench::new();
    let world = bench.world();
    block_on(async {
        conformance::runs::words_go_to_the_run_that_waits_for_them(&world).await;
    });
    run_cases! {
        runs::signals_are_heard_once_per_claim_until_they_are_written runs::claims_of_the_dead_are_released_at_once
        runs::runs_are_found_by_name_and_listed runs::a_parked_run_rests_until_its_time
        money::a_reservation_over_a_cap_writes_nothing money::settled_money_moves_from_held_to_used
        money::a_run_that_ends_holds_no_money money::a_bucket_empties_and_refills
        approvals::the_first_answer_wins_and_reaches_the_run approvals::questions_lapse_with_their_run
        approvals::grants_are_kept_listed_and_revoked
        threads::positions_are_gapless_and_waiting_messages_come_last threads::compacted_messages_are_hidden_not_lost
        threads::messages_are_found_by_their_words threads::threads_are_listed_and_renamed
        seats::a_reset_gives_a_new_thread_and_keeps_the_old seats::sessions_are_listed_by_last_use
        memories::recall_follows_scope memories::a_fact_with_the_same_key_is_replaced
        feed::cursors_rise_and_nothing_is_missed answers::an_answer_is_remembered_for_its_key_and_body
        answers::the_audit_chain_grows_in_order
    }
    let db = crate::file::open_reader(bench.store().path()).unwrap();
    let statements = NOTED.lock().unwrap().clone();
    let (mut walks, mut n_asked) = (Vec::new(), 0);
    for sql in &statements {
        let text = format!("explain query plan {sql}");
        let Ok(mut plan) = db.prepare(&text) else {
            continue;
        };
        n_asked += 1;
        // Unbound parameters are null, which changes no plan here.
        let mut rows = plan.raw_query();
        let mut n_by_hour = 0;
        while let Ok(Some(row)) = rows.next() {
            let step: String = row.get(3).unwrap();
            let sorts = step.contains("TEMP B-TREE") && sql.contains("from messages m");
            n_by_hour += u32::from(step.contains("threads_by_hour"));
            if (walked(&step).is_some() || sorts) && !EXCUSED.contains(&sql.as_str()) {
                walks.push(format!("{step}: {sql}"));
            }
        }
        // The hours that are shown, and where they begin.
        if sql.contains("hour >=") && n_by_hour != 2 {
            walks.push(format!("{n_by_hour} steps by hour: {sql}"));
        }
    }
    assert!(n_asked > 60, "{n_asked}");
    assert!(walks.is_empty(), "{walks:#?}");
}

/// How statements begin that write and make a table in memory all the same: of quiet moments, and of the owner's explicit wish.
const MAKES_TABLE: &[&str] = &["delete from events\n", "delete from runs where id = ?"];

/// Each costs some 13,000 instructions (`returning`, lists of more than two words in checks, a table that is read and
/// written by one statement).
#[test]
fn no_statement_that_writes_makes_a_table_in_memory() {
    let bench = Bench::new();
    run_cases! {
        money::settled_money_moves_from_held_to_used money::a_run_that_ends_holds_no_money
        runs::words_go_to_the_run_that_waits_for_them runs::a_parked_run_rests_until_its_time
        approvals::the_first_answer_wins_and_reaches_the_run
    }
    let db = crate::file::open_reader(bench.store().path()).unwrap();
    let (mut tables, mut n_asked) = (Vec::new(), 0);
    for sql in NOTED.lock().unwrap().iter() {
        let writes = ["insert", "update", "delete"]
            .iter()
            .any(|it| sql.starts_with(it));
        let Some(mut program) = db
            .prepare(&format!("explain {sql}"))
            .ok()
            .filter(|_| writes)
        else {
            continue;
        };
        n_asked += 1;
        let mut steps = program.raw_query();
        while let Ok(Some(step)) = steps.next() {
            let makes_table = step.get::<_, String>(1).unwrap() == "OpenEphemeral";
            if makes_table && !MAKES_TABLE.iter().any(|it| sql.starts_with(it)) {
                tables.push(sql.clone());
            }
        }
    }
    assert!(n_asked > 10, "{n_asked}");
    assert!(tables.is_empty(), "{tables:#?}");
}

// covers: R38
#[test]
fn rules_that_were_written_anew_still_hold() {
    let bench = Bench::new();
    let db = rusqlite::Connection::open(bench.store().path()).unwrap();
    for wrong in [
        "insert into spend (owner, scope, key) values ('o', 'year', 'k')",
        "insert into approvals (id, owner, run, state, expires_at, body) values ('i', 'o', 'r', 'shut', 1, '')",
        "insert into runs (id, owner, agent, session, session_key, thread, priority, method, digest, status, detail, ready_at,
                           accepted_at)
         values ('i', 'o', 'a', 's', 'k', 't', 0, 'm', 'd', 'gone', '', 0, 0)",
    ] {
        let error = db.execute(wrong, []).unwrap_err().to_string();
        assert!(error.contains("CHECK constraint failed"), "{error}");
    }
    assert_eq!(bench.findings(), Vec::<String>::new());
}

fn key() -> SessionKey {
    SessionKey::parse("agent:main:main").unwrap()
}

fn flush_failed() -> Fault {
    let code = ffi::Error::new(ffi::SQLITE_IOERR_FSYNC);
    Fault::Sql(rusqlite::Error::SqliteFailure(code, None))
}

// covers: R18
#[test]
fn after_a_failed_flush_nothing_of_that_transaction_is_acknowledged_and_the_next_works() {
    let bench = Bench::new();
    let owner = OwnerId::local();
    let failed = block_on(bench.store().flushed(|tx| {
        tx.exec("insert into tools (name, body) values ('x', '{}')", [])?;
        Err::<(), _>(flush_failed())
    }));
    assert!(
        matches!(failed, Err(StoreError::Degraded { .. })),
        "{failed:?}"
    );
    assert_eq!(
        block_on(bench.store().session(&owner, &key())).unwrap(),
        None
    );
    // What others write proves nothing: it may be nothing. Somebody has to try, and that is a write to the disk.
    block_on(bench.store().flushed(|_tx| Ok(()))).unwrap();
    let is_well = || matches!(bench.store().writer.health().look(), Look::Well);
    assert!(!is_well());
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let log = || std::fs::read(bench.store().path().with_extension("db-wal")).unwrap();
    let before = log();
    block_on(bench.store().writable()).unwrap();
    assert!(before != log(), "nothing was written");
    assert!(is_well());
    block_on(bench.store().open_session(&owner, &key(), None, None)).unwrap();
    assert_eq!(bench.findings(), Vec::<String>::new());
}

// covers: R19
#[test]
fn a_full_store_refuses_writes_goes_on_reading_and_recovers_by_itself() {
    let bench = Bench::new();
    let owner = OwnerId::local();
    block_on(bench.store().open_session(&owner, &key(), None, None)).unwrap();
    let full = block_on(bench.store().flushed(|tx| {
        tx.db
            .pragma_update_and_check(None, "max_page_count", 1, |_row| Ok(()))?;
        let big = "x".repeat(4 << 20);
        tx.exec("insert into tools (name, body) values ('x', ?)", [big])?;
        Ok(())
    }));
    assert!(matches!(full, Err(StoreError::Degraded { .. })), "{full:?}");
    assert!(
        block_on(bench.store().session(&owner, &key()))
            .unwrap()
            .is_some()
    );
    let other = SessionKey::parse("agent:main:other").unwrap();
    block_on(bench.store().open_session(&owner, &other, None, None)).unwrap();
}

// covers: R34
#[test]
fn a_write_that_panics_is_undone_and_harms_nobody_else() {
    let bench = Bench::new();
    let panicked = block_on(bench.store().flushed(|tx| {
        tx.exec("insert into tools (name, body) values ('x', '{}')", [])?;
        if tx.cursor() < u64::MAX {
            panic!("a bug");
        }
        Ok(())
    }));
    assert!(
        matches!(panicked, Err(StoreError::Failed { .. })),
        "{panicked:?}"
    );
    let n: u64 = block_on(bench.store().read(|db| {
        Ok(db
            .one("select count(*) from tools", [], |row| row.get(0))?
            .unwrap())
    }))
    .unwrap();
    assert_eq!(n, 0);
    block_on(
        bench
            .store()
            .open_session(&OwnerId::local(), &key(), None, None),
    )
    .unwrap();
}

// covers: R42
#[test]
fn the_check_names_what_was_changed_behind_our_back() {
    let wrongs = [
        (
            "update spend set used = used + 1 where scope = 'day'",
            "sums",
        ),
        (
            "update messages set parts = '[]' where role = 'assistant'",
            "is not what the log says",
        ),
        ("update messages set seq = 9 where seq = 1", "positions"),
        ("update threads set messages = messages + 1", "are counted"),
        ("delete from entries where place % 1048576 = 2", "gaps"),
        (
            "insert into entries (place, at, kind, body) values (99000001, 0, '', '')",
            "belong to no run",
        ),
        (
            "update runs set status = 'queued', detail = '{\"type\":\"queued\"}'",
            "its log says otherwise",
        ),
        (
            "update approvals set state = 'expired'",
            "is not where the log says",
        ),
        (
            "update ledger set cost = 1 where settled = 1",
            "ledger line",
        ),
        (
            "update spend set last = last - 1 where scope = 'day'",
            "no sum looks",
        ),
        (
            "update threads set hour = hour - 1",
            "hour of their last use",
        ),
        (
            "drop trigger audit_stays; update audit set by = 'me'",
            "chain is broken at 1",
        ),
        ("delete from messages_text_docsize", "in the index"),
    ];
    for (sql, word) in wrongs {
        let bench = Bench::new();
        block_on(conformance::answers::a_store_in_use_verifies(
            &bench.world(),
        ));
        block_on(bench.store().search_messages(&OwnerId::local(), "hi", 1)).unwrap();
        assert_eq!(bench.findings(), Vec::<String>::new());
        bench.tamper(sql);
        let findings = bench.findings();
        assert!(
            findings.iter().any(|finding| finding.contains(word)),
            "{sql}: {findings:?}"
        );
    }
}

// covers: S49
#[test]
fn the_audit_chain_cannot_be_rewritten_by_a_statement() {
    let bench = Bench::new();
    let owner = OwnerId::local();
    block_on(
        bench
            .store()
            .audit(&owner, "cli", "x", "y", serde_json::json!({})),
    )
    .unwrap();
    for sql in ["update audit set by = 'me'", "delete from audit"] {
        let refused = block_on(bench.store().flushed(move |tx| Ok(tx.db.execute(sql, [])?)));
        assert!(refused.is_err());
    }
}

#[test]
fn pages_of_threads_and_seats_follow_each_other_across_hours() {
    let bench = Bench::new();
    let (store, owner) = (bench.store(), OwnerId::local());
    let name = |n| SessionKey::parse(format!("agent:main:{n}")).unwrap();
    for n in 0..9 {
        block_on(store.open_session(&owner, &name(n), None, None)).unwrap();
        bench.clock.pass(Duration::from_secs(25 * 60));
    }
    // The oldest is used again; another thread has lost its seat.
    block_on(store.patch_session(&owner, &name(0), SessionPatch::default())).unwrap();
    block_on(store.reset_session(&owner, &name(5))).unwrap();
    let page = |limit, offset| Page { limit, offset };
    let seats = block_on(store.sessions(&owner, page(100, 0))).unwrap();
    let threads = block_on(store.threads(&owner, page(100, 0))).unwrap();
    let keys: Vec<&str> = seats.iter().map(|it| it.key.as_str()).collect();
    let wanted = [5, 0, 8, 7, 6, 4, 3, 2, 1].map(|n| name(n).as_str().to_owned());
    assert_eq!(keys, wanted);
    assert_eq!(threads.len(), 10);
    for limit in 1..4 {
        let (mut in_pages, mut threads_in_pages) = (Vec::new(), Vec::new());
        for offset in (0..12).step_by(limit) {
            let page = page(u32::try_from(limit).unwrap(), offset);
            in_pages.extend(block_on(store.sessions(&owner, page)).unwrap());
            threads_in_pages.extend(block_on(store.threads(&owner, page)).unwrap());
        }
        assert_eq!(
            (in_pages, threads_in_pages),
            (seats.clone(), threads.clone()),
            "{limit}"
        );
    }
}

#[test]
fn cursors_are_never_given_out_twice_not_even_after_removals_and_restarts() {
    let mut bench = Bench::new();
    let owner = OwnerId::local();
    let said = EventKind::Changed {
        what: "x".to_owned(),
        name: "y".to_owned(),
    };
    block_on(bench.store().announce(&owner, None, said.clone())).unwrap();
    let before = block_on(bench.store().cursor(&owner)).unwrap();
    bench.reopen();
    block_on(bench.store().announce(&owner, None, said)).unwrap();
    let after = block_on(bench.store().cursor(&owner)).unwrap();
    // Events of relaxed commits after `before` may have been seen and lost with the power.
    assert!(after > before + 900, "{before} {after}");
}

// covers: R2, R36
#[test]
fn everything_is_there_after_a_restart_and_dead_claims_go_on_at_once() {
    let mut bench = Bench::new();
    block_on(conformance::runs::a_lease_that_lapses_gives_the_run_to_the_next(&bench.world()));
    bench.reopen();
    let store = bench.store();
    assert_eq!(block_on(store.queue_depth()).unwrap(), (0, 1, 0));
    assert_eq!(block_on(store.release_dead_claims()).unwrap(), 1);
    let worker = adjutant_domain::WorkerId::mint(adjutant_domain::Timestamp::default(), 1);
    let offer = adjutant_ports::store::Offer::one(worker);
    let mut claims = block_on(store.claim(&offer, Duration::from_secs(30))).unwrap();
    let claim = claims.pop().unwrap();
    assert_eq!((claim.fence.0, claim.log.len()), (3, 4));
}

#[test]
fn forgotten_words_are_not_in_the_file_any_more() {
    let mut bench = Bench::new();
    let world = bench.world();
    block_on(conformance::threads::messages_are_found_by_their_words(
        &world,
    ));
    drop(world);
    let words = |bench: &Bench| {
        let mut bytes = std::fs::read(bench.store().path()).unwrap();
        let wal = bench.store().path().with_extension("db-wal");
        bytes.extend(std::fs::read(wal).unwrap_or_default());
        // The text index keeps stems and leaves out what a word has in common with the one before.
        let text = String::from_utf8_lossy(&bytes);
        // `settled` is in the schema.
        text.matches("ettl").count() - text.matches("settl").count()
    };
    assert!(words(&bench) > 0);
    let owner = OwnerId::local();
    let page = adjutant_ports::store::Page {
        limit: 9,
        offset: 0,
    };
    for thread in block_on(bench.store().threads(&owner, page)).unwrap() {
        assert!(block_on(bench.store().forget_thread(&owner, thread.id)).unwrap());
    }
    // The WAL goes when the store is closed, or in a quiet moment.
    bench.reopen();
    assert_eq!(words(&bench), 0);
    assert_eq!(bench.findings(), Vec::<String>::new());
}

#[test]
fn old_events_and_answers_go_and_the_newest_event_stays() {
    let bench = Bench::new();
    let (owner, key) = (OwnerId::local(), ClientKey::parse("k").unwrap());
    let said = EventKind::Changed {
        what: "x".to_owned(),
        name: "y".to_owned(),
    };
    let store = bench.store();
    for _ in 0..3 {
        block_on(store.announce(&owner, None, said.clone())).unwrap();
    }
    let last = block_on(store.cursor(&owner)).unwrap();
    block_on(store.remember_answer(&owner, "m", &key, "d", &serde_json::json!(1))).unwrap();
    let tidy = || {
        let mut tidy = tidy::Tidy::new(&Config::default(), Arc::default());
        block_on(store.relaxed(move |tx| tidy.tidy(tx))).unwrap()
    };
    const HOUR: Duration = Duration::from_secs(60 * 60);
    bench.clock.pass(47 * HOUR);
    tidy();
    assert!(
        block_on(store.answered(&owner, "m", &key, "d"))
            .unwrap()
            .is_some()
    );
    bench.clock.pass(2 * HOUR);
    tidy();
    assert!(
        block_on(store.answered(&owner, "m", &key, "d"))
            .unwrap()
            .is_none()
    );
    assert_eq!(block_on(store.events_since(&owner, 0, 9)).unwrap().len(), 3);
    bench.clock.pass(90 * 24 * HOUR);
    tidy();
    let left = block_on(store.events_since(&owner, 0, 9)).unwrap();
    assert_eq!(
        left.iter().map(|event| event.cursor).collect::<Vec<_>>(),
        [last]
    );
}

// covers: R1
#[test]
fn what_must_be_flushed_is_flushed_whatever_came_before_it() {
    let bench = Bench::new();
    let level = |tx: &mut crate::tx::Tx<'_>| {
        Ok(tx
            .db
            .query_row("pragma synchronous", [], |row| row.get::<_, u8>(0))?)
    };
    const NORMAL: u8 = 1;
    const FULL: u8 = 2;
    for _ in 0..3 {
        assert_eq!(block_on(bench.store().relaxed(level)).unwrap(), NORMAL);
        assert_eq!(block_on(bench.store().flushed(level)).unwrap(), FULL);
    }
}
