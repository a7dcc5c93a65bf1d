//! Questions of agents, as the terminals of other makes show and answer them.

use serde_json::{Value, json};

use crate::rpc::ask;
use crate::world::{Client, TOKEN, World, connect};

const ALL: [&str; 3] = ["operator.read", "operator.write", "operator.approvals"];

/// A newer terminal, which shows only questions of plugins.
async fn newer_terminal(world: &World) -> Client {
    let mut client = world.ws("/", &[]).await.unwrap();
    client.next().await;
    let mut hello = connect(4, TOKEN, &ALL);
    hello["params"]["caps"] = json!(["plugin-approvals"]);
    client.say(hello).await;
    assert_eq!(client.next().await["ok"], true);
    client
}

fn is(name: &'static str) -> impl Fn(&Value) -> bool {
    move |frame| frame["event"] == name
}

#[tokio::test]
async fn a_newer_terminal_hears_a_question_as_one_of_plugins_and_answers_it_so() {
    let world = World::new().await;
    let mut terminal = newer_terminal(&world).await;
    world.send("main", "write it").await;
    let id = ask(&world, &world.claim().await).await.to_string();
    let asked = terminal.until(is("plugin.approval.requested")).await;
    let payload = &asked["payload"];
    assert_eq!(payload["id"], json!(id));
    let request = &payload["request"];
    assert_eq!(request["sessionKey"], "agent:main:main");
    assert!(request["title"].as_str().unwrap().contains("file_write"));
    assert!(
        request["description"]
            .as_str()
            .unwrap()
            .contains("write 1 byte to a")
    );
    assert_eq!(
        request["allowedDecisions"],
        json!(["allow-once", "deny"]),
        "what must be asked each time cannot be allowed for ever"
    );
    let listed = terminal.req("plugin.approval.list", json!({})).await;
    assert_eq!(&listed["payload"][0], payload);
    let answer = json!({ "id": id, "decision": "allow-once" });
    terminal.req("plugin.approval.resolve", answer).await;
    let history = world.ok("approvals.history", json!({})).await;
    assert_eq!(history["approvals"][0]["state"], "allowed");
}

#[tokio::test]
async fn a_surface_with_a_place_of_its_own_is_not_asked_twice() {
    let world = World::new().await;
    let (mut page, _) = world.frames(4, &ALL).await;
    world.send("main", "write it").await;
    ask(&world, &world.claim().await).await;
    let heard = page.all_until(is("exec.approval.requested")).await;
    let listed = page.req("plugin.approval.list", json!({})).await;
    assert_eq!(listed["payload"], json!([]));
    let twice = |frame: &Value| {
        frame["event"] == "plugin.approval.requested"
            || frame["payload"]["message"]["content"][0]["text"]
                .as_str()
                .is_some_and(|text| text.contains("/approve"))
    };
    assert!(!heard.iter().any(twice), "{heard:?}");
}

/// The question as an older terminal shows it: at the end of the conversation.
async fn in_the_chat(terminal: &mut Client) -> String {
    let said = terminal
        .until(|frame| {
            frame["event"] == "chat"
                && frame["payload"]["message"]["content"][0]["text"]
                    .as_str()
                    .is_some_and(|text| text.contains("/approve"))
        })
        .await;
    said["payload"]["message"]["content"][0]["text"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn an_older_terminal_sees_the_question_in_the_chat_and_answers_by_a_message() {
    let world = World::new().await;
    let (mut terminal, _) = world.frames(3, &ALL).await;
    let run = world.send("main", "write it").await;
    let id = ask(&world, &world.claim().await).await.to_string();
    let shown = in_the_chat(&mut terminal).await;
    assert!(shown.contains("write 1 byte to a"), "{shown}");
    assert!(
        shown.contains(&format!("/approve {id} allow-once|deny")),
        "{shown}"
    );
    let message = format!("/approve {id} allow-once");
    let params = json!({ "sessionKey": "main", "message": message, "idempotencyKey": "k9" });
    terminal
        .say(json!({ "type": "req", "id": "9", "method": "chat.send", "params": params }))
        .await;
    let said = terminal.all_until(|frame| frame["id"] == "9").await;
    assert_eq!(said.last().unwrap()["payload"]["status"], "started");
    let told = said
        .iter()
        .find(|frame| frame["payload"]["runId"] == "k9" && frame["payload"]["state"] == "final");
    assert_eq!(
        told.unwrap()["payload"]["message"]["content"][0]["text"],
        "Answered: allow-once."
    );
    let history = world.ok("approvals.history", json!({})).await;
    assert_eq!(history["approvals"][0]["state"], "allowed");
    assert_eq!(
        world.claim().await.run.name(),
        run,
        "no run but the asker's"
    );
}

#[tokio::test]
async fn a_message_answers_nothing_without_the_scope_or_with_another_name() {
    // covers: S10
    let world = World::new().await;
    world.send("main", "write it").await;
    let id = ask(&world, &world.claim().await).await.to_string();
    let send = |key: &str, message: String| json!({ "sessionKey": "main", "message": message, "idempotencyKey": key });
    let (mut writer, _) = world.frames(3, &["operator.read", "operator.write"]).await;
    let refused = writer
        .req("chat.send", send("k1", format!("/approve {id} allow-once")))
        .await;
    assert_eq!(
        refused["error"]["message"],
        "missing scope: operator.approvals"
    );
    let (mut terminal, _) = world.frames(3, &ALL).await;
    for message in ["/approve", "/approve nothing allow-once", "/approve x y z"] {
        let answer = terminal
            .req("chat.send", send(message, message.to_owned()))
            .await;
        assert_eq!(answer["payload"]["status"], "started", "{message}");
    }
    let open = world.ok("approvals.list", json!({})).await;
    assert_eq!(open["approvals"][0]["id"], json!(id));
}
