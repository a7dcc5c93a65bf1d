//! The fuzz targets' harnesses over their committed corpus and over inputs made here: every run of the tests fuzzes a
//! little; `fuzz/` says how to do it for long.

use std::path::Path;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use crate::world::World;

#[path = "../../../../fuzz/src/connect.rs"]
mod connect;
#[path = "../../../../fuzz/src/frames.rs"]
mod frames;

use crate::world;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut inputs: Vec<Vec<u8>> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    inputs.sort();
    assert!(inputs.len() > 20, "the corpus of {target} is lost");
    inputs
}

/// An input of the corpus with some bytes put, left out, doubled or replaced by pieces of another.
fn bent(inputs: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let pick = prop::sample::select(inputs);
    let cuts = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    (
        pick.clone(),
        pick,
        cuts,
        prop::collection::vec(any::<u8>(), 0..8),
        0..5u8,
    )
        .prop_map(|(mut one, two, (a, b), bytes, how)| {
            let at = if one.is_empty() {
                0
            } else {
                a.index(one.len())
            };
            let from = if two.is_empty() {
                0
            } else {
                b.index(two.len())
            };
            match how {
                0 => one.truncate(at),
                1 => drop(one.splice(at..at, bytes)),
                2 => drop(one.splice(at..at, two[from..].to_vec())),
                3 => {
                    one.truncate(at);
                    one.extend_from_slice(&two[from..]);
                }
                _ => {
                    let end = (at + bytes.len()).min(one.len());
                    drop(one.splice(at..end, bytes));
                }
            }
            one
        })
}

#[test]
fn any_bytes_are_a_request_or_a_refusal_with_an_answer() {
    // covers: D7
    let inputs = corpus("frames");
    inputs.iter().for_each(|input| frames::check(input));
    let mut runner = TestRunner::new(Config::with_cases(4_000));
    let mut bend = |strategy: BoxedStrategy<Vec<u8>>| {
        runner
            .run(&strategy, |input| {
                frames::check(&input);
                Ok(())
            })
            .unwrap();
    };
    bend(bent(inputs).boxed());
    bend(prop::collection::vec(any::<u8>(), 0..200).boxed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_conversation_gets_in_without_a_credential_or_hurts_the_gateway() {
    // covers: S7, D2, D7
    let world = World::new().await;
    let inputs = corpus("connect");
    for input in &inputs {
        connect::check(&world, input).await;
    }
    let strategy = bent(inputs);
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..300 {
        let input = strategy.new_tree(&mut runner).unwrap().current();
        connect::check(&world, &input).await;
    }
    world.assert_healthy().await;
}
