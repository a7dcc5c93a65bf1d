//! What must hold for any bytes that reach the frames codec. Also compiled into the ordinary tests.

use adjutant_protocol::frames::{ConnectParams, Protocol};
use adjutant_protocol::{Codec as _, Decoded, Fault, Frames, JsonRpc, Outbound, Request};
use serde_json::Value;

/// Reads `bytes` as both codecs would, answers what they say, and checks the answers.
pub(super) fn check(bytes: &[u8]) {
    for protocol in [Protocol::V3, Protocol::V4] {
        frames(Frames { protocol }, bytes);
    }
    match JsonRpc.decode(bytes) {
        Decoded::One(item) => drop(item),
        Decoded::Batch(items) => assert!(items.len() <= 256, "a batch without bound"),
    }
}

fn frames(codec: Frames, bytes: &[u8]) {
    let Decoded::One(item) = codec.decode(bytes) else {
        panic!("frames know no batches");
    };
    let (id, fault) = match *item {
        Ok(Request { id, method, params }) => {
            let id = id.expect("a request frame has an id");
            assert!(!method.is_empty() && method.len() <= 128, "{method:?}");
            if method == "connect" {
                drop(adjutant_protocol::read::<ConnectParams>("connect", &params));
            }
            (id, Fault::unknown_method(&method))
        }
        Err(refused) => {
            let message = &refused.fault.message;
            assert!(message.starts_with("invalid request frame"), "{message}");
            (refused.id, refused.fault)
        }
    };
    let reply = codec.encode(Outbound::Reply {
        id: &id,
        result: Err(&fault),
    });
    let reply: Value = serde_json::from_str(&reply).expect("an answer is JSON");
    assert_eq!(reply["type"], "res");
    assert_eq!(reply["ok"], false);
    let id = reply["id"].as_str().expect("an id is a text");
    assert!(!id.is_empty() && id.len() <= 256);
    assert!(
        reply["error"]["message"]
            .as_str()
            .is_some_and(|m| m.len() <= 4_096)
    );
}
