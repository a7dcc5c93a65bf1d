#![allow(clippy::unwrap_used)]

use super::*;

const BASIC: &str = "https://a2ui.org/specification/v0_9/catalogs/basic/catalog.json";

fn create(id: &str) -> Value {
    json!({ "version": "v0.9", "createSurface": { "surfaceId": id, "catalogId": BASIC } })
}

fn components(id: &str, components: Value) -> Value {
    json!({ "version": "v0.9", "updateComponents": { "surfaceId": id, "components": components } })
}

fn button() -> Value {
    json!([
        { "id": "root", "component": "Column", "children": ["b"] },
        { "id": "b", "component": "Button", "child": "t", "action": { "event": { "name": "go" } } },
        { "id": "t", "component": "Text", "text": "Go" },
    ])
}

/// Pushes all; gives path and reason of each that is refused.
#[track_caller]
fn push(surfaces: &mut Surfaces, messages: &[Value]) -> Vec<(String, String)> {
    let (report, news) = surfaces.push(messages.to_vec(), Duration::ZERO);
    assert_eq!(report.accepted, news.len());
    let flaws = report.rejected.into_iter();
    flaws.map(|it| (it.path, it.reason)).collect()
}

#[track_caller]
fn refused(messages: &[Value], path: &str, word: &str) {
    let flaws = push(&mut Surfaces::default(), messages);
    let found = flaws
        .iter()
        .any(|(at, reason)| at == path && reason.contains(word));
    assert!(found, "{path} {word}: {flaws:?}");
}

#[test]
fn a_surface_of_each_version_is_taken_and_told_again_as_it_is() {
    let mut surfaces = Surfaces::default();
    let old = json!({ "surfaceUpdate": { "surfaceId": "o", "components": [
        { "id": "r", "component": { "Button": { "child": "t", "action": { "name": "old", "context": [
            { "key": "a", "value": { "path": "/a" } } ] } } } },
        { "id": "t", "component": { "Text": { "text": { "literalString": "Old" } } } },
    ] } });
    let data = json!({ "dataModelUpdate": { "surfaceId": "o", "path": "/a", "contents": [
        { "key": ".", "valueString": "x" } ] } });
    let begin = json!({ "beginRendering": { "surfaceId": "o", "root": "r" } });
    let value = json!({ "version": "v0.9", "updateDataModel": { "surfaceId": "n", "path": "/a/b", "value": 1 } });
    let all = [
        old.clone(),
        data.clone(),
        begin.clone(),
        create("n"),
        components("n", button()),
        value,
    ];
    assert_eq!(push(&mut surfaces, &all), []);
    let told = surfaces.snapshot();
    let [
        News::Surface { messages: new, .. },
        News::Surface {
            messages: before,
            version,
            rev,
        },
    ] = told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert_eq!((*version, *rev), ("v0.8", 6));
    assert_eq!(*before, [old, data, begin]);
    assert_eq!(new[0], create("n"));
    assert_eq!(
        new[1]["updateDataModel"]["value"],
        json!({ "a": { "b": 1 } })
    );
    // What is told builds the same again.
    let mut again = Surfaces::default();
    let told: Vec<Value> = before.iter().chain(new).cloned().collect();
    assert_eq!(push(&mut again, &told), []);
    assert_eq!(again.surfaces, surfaces.surfaces);
}

#[test]
fn what_is_kept_survives_being_written_down() {
    let mut surfaces = Surfaces::default();
    push(&mut surfaces, &[create("n"), components("n", button())]);
    let text = serde_json::to_string(&surfaces).unwrap();
    let read: Surfaces = serde_json::from_str(&text).unwrap();
    assert_eq!((read.rev, read.surfaces), (surfaces.rev, surfaces.surfaces));
}

#[test]
fn a_wrong_message_says_where_and_changes_nothing() {
    let begun = |component: Value| [create("n"), components("n", json!([component]))];
    let at = |name: &str| format!("/updateComponents/components/0{name}");
    refused(
        &begun(json!({ "id": "a", "component": "Nope" })),
        &at("/component"),
        "not a component",
    );
    refused(
        &begun(json!({ "id": "a", "component": "Text" })),
        &at(""),
        "must have `text`",
    );
    refused(
        &begun(json!({ "id": "a", "component": "Text", "text": 1 })),
        &at("/text"),
        "object",
    );
    refused(
        &begun(json!({ "id": "a", "component": "Text", "text": "x", "html": "y" })),
        &at("/html"),
        "not known",
    );
    refused(
        &begun(json!({ "id": "a", "component": "Text", "text": { "call": "steal" } })),
        &at("/text/call"),
        "no such function",
    );
    refused(
        &begun(json!({ "id": "a", "component": "Image", "url": "http://x/" })),
        &at("/url"),
        "https",
    );
    refused(
        &begun(json!({ "id": "a", "component": "Image", "url": "javascript:x" })),
        &at("/url"),
        "https",
    );
    refused(
        &[json!({ "version": "v1", "deleteSurface": { "surfaceId": "x" } })],
        "/version",
        "v0.9",
    );
    refused(&[json!({ "html": {} })], "/html", "not a message");
    refused(&[json!({ "version": "v0.9" })], "", "must have one of");
    refused(&[json!(1)], "", "object");
    let two = json!({ "surfaceUpdate": { "surfaceId": "o", "components": [
        { "id": "a", "component": { "Text": { "text": { "path": "/x" } }, "Card": { "child": "b" } } } ] } });
    refused(
        &[two],
        "/surfaceUpdate/components/0/component",
        "exactly one",
    );
    refused(
        &[json!({ "beginRendering": {}, "deleteSurface": {} })],
        "",
        "exactly one",
    );
}

#[test]
fn versions_are_not_mixed_and_v09_begins_with_a_surface() {
    refused(
        &[components("n", button())],
        "/updateComponents/surfaceId",
        "no surface",
    );
    refused(&[create("n"), create("n")], "", "exists already");
    let old = json!({ "beginRendering": { "surfaceId": "n", "root": "r" } });
    refused(&[create("n"), old], "", "A2UI_VERSION_MIX");
}

#[test]
fn a_component_within_itself_or_too_deep_is_refused() {
    let circle = json!([
        { "id": "root", "component": "Card", "child": "b" }, { "id": "b", "component": "Card", "child": "root" } ]);
    refused(
        &[create("n"), components("n", circle)],
        "/updateComponents/components",
        "within itself",
    );
    let chain = |n: usize| {
        let all = (0..n).map(|i| json!({ "id": format!("c{i:03}"), "component": "Card", "child": format!("c{:03}", i + 1) }));
        Value::Array(all.collect())
    };
    refused(
        &[create("n"), components("n", chain(DEPTH_MAX + 1))],
        "/updateComponents/components",
        "deep",
    );
    assert_eq!(
        push(
            &mut Surfaces::default(),
            &[create("n"), components("n", chain(DEPTH_MAX))]
        ),
        []
    );
    // Shown twice at each of many levels: counted once.
    let diamonds = (0..DEPTH_MAX - 1).map(|i| {
        let next = format!("d{}", i + 1);
        json!({ "id": format!("d{i}"), "component": "Row", "children": [next, next] })
    });
    let diamonds = Value::Array(diamonds.collect());
    assert_eq!(
        push(
            &mut Surfaces::default(),
            &[create("n"), components("n", diamonds)]
        ),
        []
    );
}

#[test]
fn bounds_hold_and_a_refusal_keeps_what_was() {
    let many: Vec<Value> = (0..=SURFACES_MAX).map(|n| create(&n.to_string())).collect();
    let mut surfaces = Surfaces::default();
    let flaws = push(&mut surfaces, &many);
    assert!(
        matches!(flaws.as_slice(), [(_, reason)] if reason.contains("surfaces")),
        "{flaws:?}"
    );
    let big = "x".repeat(DATA_BYTES_MAX);
    let message =
        json!({ "version": "v0.9", "updateDataModel": { "surfaceId": "0", "value": big } });
    assert_eq!(push(&mut surfaces, &[message]).len(), 1);
    assert_eq!(surfaces.surfaces["0"].data, json!({}));
    let delete = json!({ "version": "v0.9", "deleteSurface": { "surfaceId": "none" } });
    let (report, _) = surfaces.push(vec![delete; MESSAGES_MAX + 1], Duration::ZERO);
    let last = &report.rejected[MESSAGES_MAX].reason;
    assert!(last.contains("a second"), "{last}");
    let (report, _) = surfaces.push(vec![create("20")], Duration::from_secs(1));
    assert!(!report.rejected[0].reason.contains("a second"));
}

#[test]
fn only_what_a_component_says_may_be_sent() {
    let mut surfaces = Surfaces::default();
    push(&mut surfaces, &[create("n"), components("n", button())]);
    assert_eq!(surfaces.withheld("n", "b", "go"), Some(vec![]));
    for (surface, component, action) in [("x", "b", "go"), ("n", "t", "go"), ("n", "b", "stop")] {
        assert_eq!(surfaces.withheld(surface, component, action), None);
    }
}

#[test]
fn what_is_typed_into_a_hidden_field_is_withheld() {
    let mut surfaces = Surfaces::default();
    let new = json!([
        { "id": "root", "component": "Column", "children": ["f", "b"] },
        { "id": "f", "component": "TextField", "label": "Password", "value": { "path": "/login/password" }, "variant": "obscured" },
        { "id": "b", "component": "Button", "child": "t", "action": { "event": { "name": "login", "context": {
            "user": { "path": "/login/user" }, "secret": { "path": "/login/password" }, "all": { "path": "/login" },
            "said": { "call": "formatString", "args": { "value": "it is ${/login/password}" } },
            "relative": { "path": "password" }, "kind": "form" } } } },
    ]);
    let old = json!({ "surfaceUpdate": { "surfaceId": "o", "components": [
        { "id": "f", "component": { "TextField": { "label": { "literalString": "Password" }, "text": { "path": "/password" },
            "textFieldType": "obscured" } } },
        { "id": "b", "component": { "Button": { "child": "t", "action": { "name": "login", "context": [
            { "key": "user", "value": { "path": "/user" } }, { "key": "secret", "value": { "path": "/password" } } ] } } } },
    ] } });
    assert_eq!(
        push(&mut surfaces, &[create("n"), components("n", new), old]),
        []
    );
    let withheld = ["secret", "all", "said", "relative"].map(str::to_owned);
    assert_eq!(
        surfaces.withheld("n", "b", "login"),
        Some(withheld.to_vec())
    );
    assert_eq!(
        surfaces.withheld("o", "b", "login"),
        Some(vec!["secret".to_owned()])
    );
}

#[test]
fn messages_are_read_as_lines_as_a_list_or_alone() {
    for text in [
        "{\"a\":1}\n\n{\"b\":2}\n",
        "[{\"a\":1},{\"b\":2}]",
        "{\"messages\":[{\"a\":1},{\"b\":2}]}",
    ] {
        assert_eq!(
            read(text),
            Ok(vec![json!({ "a": 1 }), json!({ "b": 2 })]),
            "{text}"
        );
    }
    assert_eq!(read("{\"a\":1}"), Ok(vec![json!({ "a": 1 })]));
    assert!(read("{\"a\":1}\n{nope").unwrap_err().starts_with("line 2"));
    assert!(read("[1,").unwrap_err().starts_with("this is not JSON"));
    assert!(read("").is_err() && read("7").is_err());
}
