#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use adjutant_domain::code::Code;

use super::*;
use crate::fault::{CODES, Fault};
use crate::frames::Protocol;

const FRAMES: Frames = Frames {
    protocol: Protocol::V4,
};

fn one(decoded: Decoded) -> Result<Request, Refused> {
    match decoded {
        Decoded::One(item) => *item,
        Decoded::Batch(_) => panic!("a batch"),
    }
}

fn rpc(text: &str) -> Result<Request, Refused> {
    one(JsonRpc.decode(text.as_bytes()))
}

fn frame(text: &str) -> Result<Request, Refused> {
    one(FRAMES.decode(text.as_bytes()))
}

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

#[test]
fn the_examples_of_the_json_rpc_specification_get_their_codes() {
    let cases = [
        (
            r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#,
            Code::Unparsable,
        ),
        (
            r#"[{"jsonrpc": "2.0", "method": "sum"}, {"jsonrpc": "2.0", "method""#,
            Code::Unparsable,
        ),
        (
            r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#,
            Code::InvalidRequest,
        ),
        ("[]", Code::InvalidRequest),
        ("1", Code::InvalidRequest),
    ];
    for (text, code) in cases {
        let refused = rpc(text).unwrap_err();
        assert_eq!(
            (refused.fault.code, refused.id),
            (code, RequestId::Null),
            "{text}"
        );
    }
    let Decoded::Batch(items) = JsonRpc.decode(b"[1,2,3]") else {
        panic!("not a batch")
    };
    assert!(items.iter().all(|item| {
        item.as_ref()
            .is_err_and(|r| r.fault.code == Code::InvalidRequest)
    }));
}

#[test]
fn a_request_without_id_is_a_notification_and_one_with_null_is_not() {
    assert_eq!(
        rpc(r#"{"jsonrpc":"2.0","method":"health"}"#).unwrap().id,
        None
    );
    let null = rpc(r#"{"jsonrpc":"2.0","method":"health","id":null}"#).unwrap();
    assert_eq!(null.id, Some(RequestId::Null));
    let big = rpc(r#"{"jsonrpc":"2.0","method":"health","id":12345678901234567890}"#).unwrap();
    assert_eq!(big.id.unwrap().to_json(), "12345678901234567890");
}

#[test]
fn a_refused_request_is_answered_with_its_own_id() {
    let refused = rpc(r#"{"jsonrpc":"2.0","id":"x","method":"health","extra":1}"#).unwrap_err();
    assert_eq!(refused.id, RequestId::Text("x".to_owned()));
    let refused = frame(r#"{"type":"req","id":"x","method":"health","extra":1}"#).unwrap_err();
    assert_eq!(refused.id, RequestId::Text("x".to_owned()));
    let refused = frame(r#"{"type":"req","method":"health"}"#).unwrap_err();
    assert_eq!(refused.id, RequestId::Text("invalid".to_owned()));
    assert!(refused.fault.message.starts_with("invalid request frame:"));
}

#[test]
fn the_same_conversation_gives_handlers_the_same_input_in_both_formats() {
    let calls = [
        ("health", json!({})),
        (
            "chat.send",
            json!({ "sessionKey": "main", "message": "hé\n\"x\"", "idempotencyKey": "k" }),
        ),
        (
            "agent.wait",
            json!({ "runId": "k", "timeoutMs": 9_007_199_254_740_991_u64 }),
        ),
        (
            "memory.add",
            json!({ "text": "{\"type\":\"req\"}", "nested": [[[{"a": null}]]] }),
        ),
    ];
    for (method, params) in calls {
        let a = rpc(
            &json!({ "jsonrpc": "2.0", "id": "7", "method": method, "params": params }).to_string(),
        )
        .unwrap();
        let b = frame(
            &json!({ "type": "req", "id": "7", "method": method, "params": params }).to_string(),
        )
        .unwrap();
        assert_eq!(
            (&a.id, &a.method, a.params.get()),
            (&b.id, &b.method, b.params.get())
        );
    }
    let a = rpc(r#"{"jsonrpc":"2.0","id":"7","method":"health"}"#).unwrap();
    for text in [
        r#"{"type":"req","id":"7","method":"health"}"#,
        r#"{"type":"req","id":"7","method":"health","params":null}"#,
    ] {
        let b = frame(text).unwrap();
        assert_eq!((&a.id, a.params.get()), (&b.id, b.params.get()));
    }
}

#[test]
fn answers_look_as_the_protocols_say() {
    let id = RequestId::Text("1".to_owned());
    let result = raw(&json!({ "ok": true }));
    let ok = Outbound::Reply {
        id: &id,
        result: Ok(&result),
    };
    assert_eq!(
        JsonRpc.encode(ok),
        r#"{"jsonrpc":"2.0","id":"1","result":{"ok":true}}"#
    );
    assert_eq!(
        FRAMES.encode(ok),
        r#"{"type":"res","id":"1","ok":true,"payload":{"ok":true}}"#
    );
    let event = Outbound::Event {
        name: "tick",
        payload: &result,
        seq: Some(3),
        state_version: None,
    };
    assert_eq!(
        JsonRpc.encode(event),
        r#"{"jsonrpc":"2.0","method":"tick","params":{"ok":true}}"#
    );
    assert_eq!(
        FRAMES.encode(event),
        r#"{"type":"event","event":"tick","payload":{"ok":true},"seq":3}"#
    );
    let fault = Fault::unknown_method("no.such.method");
    let failed = Outbound::Reply {
        id: &id,
        result: Err(&fault),
    };
    assert_eq!(
        FRAMES.encode(failed),
        r#"{"type":"res","id":"1","ok":false,"error":{"code":"INVALID_REQUEST","message":"unknown method: no.such.method"}}"#
    );
    let fault = Fault::new(Code::Forbidden, "missing scope: operator.read");
    let failed = Outbound::Reply {
        id: &id,
        result: Err(&fault),
    };
    assert!(
        Frames {
            protocol: Protocol::V3
        }
        .encode(failed)
        .contains(r#""code":"INVALID_REQUEST""#)
    );
    assert!(FRAMES.encode(failed).contains(r#""code":"FORBIDDEN""#));
}

#[test]
fn every_fault_is_written_in_both_formats() {
    let mut table = String::new();
    let id = RequestId::Number(7.into());
    for code in CODES {
        let fault = Fault::new(*code, "a sentence")
            .with_hint("a hint")
            .with_retry_after(std::time::Duration::from_millis(1_500))
            .with_trace("t-1");
        let out = Outbound::Reply {
            id: &id,
            result: Err(&fault),
        };
        table.push_str(&format!(
            "{}\n{}\n",
            JsonRpc.encode(out),
            FRAMES.encode(out)
        ));
    }
    insta::assert_snapshot!(table);
}

#[test]
fn too_large_batches_are_refused_as_one() {
    let text = format!(
        "[{}]",
        vec![r#"{"jsonrpc":"2.0","method":"health"}"#; BATCH_CALLS_MAX + 1].join(",")
    );
    assert_eq!(rpc(&text).unwrap_err().fault.code, Code::InvalidRequest);
    let text = format!(
        "[{}]",
        vec![r#"{"jsonrpc":"2.0","method":"health"}"#; BATCH_CALLS_MAX].join(",")
    );
    assert!(
        matches!(JsonRpc.decode(text.as_bytes()), Decoded::Batch(items) if items.len() == BATCH_CALLS_MAX)
    );
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_a_codec_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        // covers: D7
        drop(JsonRpc.decode(&bytes));
        drop(FRAMES.decode(&bytes));
    }

    #[test]
    fn no_json_makes_a_codec_panic(value in json_value()) {
        let text = value.to_string();
        drop(JsonRpc.decode(text.as_bytes()));
        drop(FRAMES.decode(text.as_bytes()));
    }

    #[test]
    fn what_a_client_writes_is_what_a_handler_reads(
        id in "[a-z0-9:-]{1,40}",
        method in "[a-z.]{1,40}",
        params in prop::collection::btree_map("[a-zA-Z]{1,8}", json_value(), 0..5),
    ) {
        let params = Value::Object(params.into_iter().collect());
        let a = rpc(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()).unwrap();
        let b = frame(&json!({ "type": "req", "id": id, "method": method, "params": params }).to_string()).unwrap();
        prop_assert_eq!(&a.method, &method);
        prop_assert_eq!(&b.method, &method);
        prop_assert_eq!(a.id, Some(RequestId::Text(id.clone())));
        prop_assert_eq!(b.id, Some(RequestId::Text(id)));
        prop_assert_eq!(serde_json::from_str::<Value>(a.params.get()).unwrap(), params.clone());
        prop_assert_eq!(serde_json::from_str::<Value>(b.params.get()).unwrap(), params);
    }

    #[test]
    fn answers_are_json_whatever_is_in_them(message in ".{0,60}", hint in ".{0,60}", id in ".{0,20}", result in json_value()) {
        let id = RequestId::Text(id);
        let result = raw(&result);
        let fault = Fault::new(Code::Conflict, message.clone()).with_hint(hint);
        for codec in [&JsonRpc as &dyn Codec, &FRAMES] {
            for out in [Outbound::Reply { id: &id, result: Ok(&result) }, Outbound::Reply { id: &id, result: Err(&fault) }] {
                let text = codec.encode(out);
                let value: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(RequestId::Text(value["id"].as_str().unwrap().to_owned()), id.clone());
                if value.get("error").is_some() {
                    prop_assert_eq!(&value["error"]["message"], &message);
                }
            }
        }
    }
}

#[test]
fn what_the_codec_writes_is_what_the_frame_types_say() {
    use crate::envelope::{Frame, FrameError};

    let codec = Frames {
        protocol: Protocol::V4,
    };
    let id = RequestId::Text("7".to_owned());
    let payload = serde_json::value::to_raw_value(&serde_json::json!({ "a": 1 })).unwrap();
    let read = |out: Outbound<'_>| serde_json::from_str::<Frame>(&codec.encode(out)).unwrap();
    let answer = read(Outbound::Reply {
        id: &id,
        result: Ok(&payload),
    });
    assert!(matches!(
        answer,
        Frame::Res {
            ok: true,
            error: None,
            payload: Some(_),
            ..
        }
    ));
    let fault = Fault::new(adjutant_domain::code::Code::Unavailable, "later")
        .with_retry_after(std::time::Duration::from_secs(2));
    let answer = read(Outbound::Reply {
        id: &id,
        result: Err(&fault),
    });
    let Frame::Res {
        ok: false,
        error: Some(error),
        ..
    } = answer
    else {
        panic!("{answer:?}");
    };
    let FrameError {
        retry_after_ms,
        retryable,
        ..
    } = error;
    assert_eq!((retryable, retry_after_ms), (Some(true), Some(2_000)));
    let event = read(Outbound::Event {
        name: "health",
        payload: &payload,
        seq: Some(3),
        state_version: Some((1, 2)),
    });
    let Frame::Event {
        seq, state_version, ..
    } = event
    else {
        panic!("{event:?}");
    };
    assert_eq!(seq, Some(3));
    assert_eq!(
        state_version.map(|it| (it.presence, it.health)),
        Some((1, 2))
    );
}
