#![no_main]

#[path = "../src/connect.rs"]
mod connect;
#[allow(dead_code)]
#[path = "../../crates/gateway/tests/gateway/world.rs"]
mod world;

use std::sync::OnceLock;

use tokio::runtime::Runtime;

/// One gateway for all inputs: what one conversation leaves behind must not hurt the next.
static GATEWAY: OnceLock<(Runtime, world::World)> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (runtime, world) = GATEWAY.get_or_init(|| {
        let runtime = Runtime::new().expect("a runtime");
        let world = runtime.block_on(world::World::new());
        (runtime, world)
    });
    runtime.block_on(connect::check(world, bytes));
});
