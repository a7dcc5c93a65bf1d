//! Random operations against memory, SQLite and PostgreSQL: whatever is asked, all three say the same.
//!
//! What a store makes up itself (identifiers of sessions and threads, cursors) is compared by its place, not by its name.

use std::sync::Arc;

use futures::executor::block_on;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestCaseError, TestRunner};

use adjutant_sim::{MemoryStore, SimBus, SimClock, SimEntropy};
use adjutant_store::{Config, LocalBus, Sqlite};

use crate::cluster::{cluster, open, runtime};
use crate::side::{DATABASES, Side};

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Open(u8, u8),
    Accept(u8, u8, Option<u8>, u8),
    Claim(u8),
    ClaimAs(u8),
    Move(u8, u8, u8),
    HandOver(u8, Option<u8>, u8),
    Gone(u8),
    Reply(u8, u16),
    Reserve(u8, u16, u16),
    Ask(u8),
    Resolve(u8, bool),
    Park(u8, u8, bool),
    Finish(u8),
    Nothing(u8),
    Extend(u8),
    Cancel(u8, u8),
    Steer(u8, u8),
    Reset(u8, u8),
    Patch(u8, u8, u8),
    Delete(u8, u8),
    Forget(u8, u8),
    Remember(u8, u8, Option<u8>, u8),
    Recall(u8, u8),
    Search(u8, u8),
    Audit(u8),
    Take(u8),
    Pass(u16),
    Look(u8),
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let (owner, seat, word, n) = (0..2_u8, 0..3_u8, 0..4_u8, any::<u8>());
    prop_oneof![
        4 => (owner.clone(), seat.clone()).prop_map(|(a, b)| Op::Open(a, b)),
        12 => (owner.clone(), seat.clone(), proptest::option::weighted(0.3, 0..4_u8), word.clone())
            .prop_map(|(a, b, c, d)| Op::Accept(a, b, c, d)),
        12 => (1..4_u8).prop_map(Op::Claim),
        6 => (0..3_u8).prop_map(Op::ClaimAs),
        3 => (owner.clone(), n, 0..3_u8).prop_map(|(a, b, c)| Op::Move(a, b, c)),
        4 => (n, proptest::option::weighted(0.8, 0..3_u8), 0..20_u8)
            .prop_map(|(a, b, c)| Op::HandOver(a, b, c)),
        2 => (0..3_u8).prop_map(Op::Gone),
        6 => (n, any::<u16>()).prop_map(|(a, b)| Op::Reply(a, b)),
        4 => (n, 0..500_u16, 0..2_000_u16).prop_map(|(a, b, c)| Op::Reserve(a, b, c)),
        4 => n.prop_map(Op::Ask),
        4 => (n, any::<bool>()).prop_map(|(a, b)| Op::Resolve(a, b)),
        6 => (n, 0..100_u8, any::<bool>()).prop_map(|(a, b, c)| Op::Park(a, b, c)),
        8 => n.prop_map(Op::Finish),
        2 => n.prop_map(Op::Nothing),
        2 => n.prop_map(Op::Extend),
        4 => (owner.clone(), n).prop_map(|(a, b)| Op::Cancel(a, b)),
        4 => (owner.clone(), n).prop_map(|(a, b)| Op::Steer(a, b)),
        2 => (owner.clone(), seat.clone()).prop_map(|(a, b)| Op::Reset(a, b)),
        2 => (owner.clone(), seat.clone(), word.clone()).prop_map(|(a, b, c)| Op::Patch(a, b, c)),
        1 => (owner.clone(), seat.clone()).prop_map(|(a, b)| Op::Delete(a, b)),
        1 => (owner.clone(), seat.clone()).prop_map(|(a, b)| Op::Forget(a, b)),
        3 => (owner.clone(), 0..3_u8, proptest::option::of(0..2_u8), word.clone())
            .prop_map(|(a, b, c, d)| Op::Remember(a, b, c, d)),
        2 => (owner.clone(), word.clone()).prop_map(|(a, b)| Op::Recall(a, b)),
        2 => (owner.clone(), word).prop_map(|(a, b)| Op::Search(a, b)),
        1 => owner.clone().prop_map(Op::Audit),
        2 => (0..4_u8).prop_map(Op::Take),
        6 => (1..40_000_u16).prop_map(Op::Pass),
        6 => owner.prop_map(Op::Look),
    ]
}

fn memory() -> Side {
    let clock = SimClock::new();
    let entropy = Arc::new(SimEntropy::new(1));
    let store = MemoryStore::new(Arc::clone(&clock) as _, entropy, SimBus::reliable());
    Side::new("memory", Arc::new(store), clock)
}

// covers: S50
#[test]
fn all_three_stores_say_the_same() {
    let Some(cluster) = cluster() else { return };
    let cases = if std::env::var_os("ADJUTANT_TEST_LONG").is_some() {
        500
    } else {
        24
    };
    let mut runner = TestRunner::new(Cases {
        cases,
        failure_persistence: None,
        max_shrink_iters: 24,
        ..Cases::default()
    });
    let done = runner.run(&proptest::collection::vec(op(), 10..80), |ops| {
        let dir = tempfile::tempdir().unwrap();
        let clock = SimClock::new();
        let sqlite = Sqlite::open(
            dir.path(),
            Arc::clone(&clock) as _,
            Arc::new(LocalBus::new()),
            Arc::new(SimEntropy::new(2)),
            Config::default(),
        )
        .unwrap();
        let sqlite = Side::new("SQLite", sqlite, clock);
        let database = cluster.database();
        let clock = SimClock::new();
        let postgres = runtime().block_on(open(&database.url, Arc::clone(&clock), true));
        let postgres = Side::new("PostgreSQL", postgres, clock);
        compare(&ops, [sqlite, postgres, memory()])
    });
    if let Err(error) = done {
        panic!("{error}");
    }
}

fn compare(ops: &[Op], mut sides: [Side; 3]) -> Result<(), TestCaseError> {
    let last = [Op::Look(0), Op::Look(1)];
    let mut n_sides = sides.len();
    for (i, op) in ops.iter().chain(&last).enumerate() {
        let said: Vec<String> = sides.iter_mut().map(|side| side.does(op)).collect();
        // From here on memory has its own mind: it gives up the seats of a thread that is forgotten, where the databases give
        // them a new one; it accepts for seats that are gone; and it finds other places for words that are said to a run that
        // is under way or in the queue.
        let is_own = match op {
            Op::Forget(..) | Op::Delete(..) => said[0] == "true",
            Op::Steer(..) => said[0].starts_with("true"),
            Op::Cancel(..) => said[0] == "true queued",
            Op::Accept(..) => said[0].starts_with("steered"),
            _ => false,
        };
        if is_own {
            n_sides = 2;
        }
        for (side, words) in sides.iter().zip(&said).take(n_sides).skip(1) {
            let is_told = |line: &&str| side.name != "memory" || !line.starts_with(DATABASES);
            let mut lines = words.lines().filter(is_told);
            let mut expected = said[0].lines().filter(is_told);
            let differs = lines.by_ref().zip(expected.by_ref()).find(|(a, b)| a != b);
            let is_same = differs.is_none() && lines.next().is_none() && expected.next().is_none();
            prop_assert!(
                is_same,
                "after {i} operations, at {op:?}, {} says\n  {}\nand {}\n  {}",
                side.name,
                differs.map_or(words.as_str(), |it| it.0),
                sides[0].name,
                differs.map_or(said[0].as_str(), |it| it.1),
            );
        }
    }
    for side in &sides {
        let found = block_on(side.store.verify()).unwrap().findings;
        prop_assert_eq!(found, Vec::<String>::new(), "{}", side.name);
    }
    Ok(())
}
