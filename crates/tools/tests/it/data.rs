//! Questions to tables and documents.

use adjutant_domain::label::Origin;
use adjutant_domain::tool::ToolOutcome;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_question_about_a_table_gets_the_right_number() {
    let mut world = World::new();
    let mut table = "date,region,product,amount\n".to_owned();
    let mut wanted = 0u64;
    for n in 0..5_000u64 {
        let region = if n % 3 == 0 { "north" } else { "south" };
        table.push_str(&format!(
            "2026-01-{:02},{region},\"p,{n}\",{}\n",
            n % 28 + 1,
            n * 7
        ));
        wanted += if region == "north" { n * 7 } else { 0 };
    }
    world.put("sales.csv", table);
    let sum =
        json!({"path": "sales.csv", "filter": "map(select(.region == \"north\").amount) | add"});
    let outcome = world.run("json_query", sum).await;
    let ToolOutcome::Done { text, label } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(text, wanted.to_string());
    assert_eq!(
        label.origin,
        Origin::File {
            path: "sales.csv".to_owned()
        }
    );
    let groups = json!({"path": "sales.csv", "filter": "group_by(.region)[] | \"\\(.[0].region) \\(length)\""});
    assert_eq!(
        world.done("json_query", groups).await,
        "\"north 1667\"\n\"south 3333\""
    );
}

#[tokio::test]
async fn json_and_json_lines_are_read_too() {
    let mut world = World::new();
    world.put(
        "a.json",
        r#"{"users":[{"name":"Ada","age":36},{"name":"Bob","age":17}]}"#,
    );
    world.put("b.jsonl", "{\"v\":1}\n{\"v\":2}\n");
    let adults = json!({"path": "a.json", "filter": ".users[] | select(.age >= 18).name"});
    assert_eq!(world.done("json_query", adults).await, "\"Ada\"");
    assert_eq!(
        world
            .done(
                "json_query",
                json!({"path": "b.jsonl", "filter": "map(.v) | add"})
            )
            .await,
        "3"
    );
    assert_eq!(
        world
            .done("json_query", json!({"json": "[1,2,3.5]", "filter": "add"}))
            .await,
        "6.5"
    );
    assert_eq!(
        world
            .done("json_query", json!({"json": "[]", "filter": ".[]"}))
            .await,
        "[no result]"
    );
}

#[tokio::test]
async fn what_goes_wrong_is_said() {
    let mut world = World::new();
    world.put("bad.json", "{");
    for (args, wanted) in [
        (json!({"path": "bad.json", "filter": "."}), "not valid JSON"),
        (json!({"json": "1", "filter": ".["}), "`filter`"),
        (json!({"json": "1", "filter": "env"}), "not offered"),
        (json!({"json": "1", "filter": ".a"}), "failed"),
        (json!({"filter": "."}), "either"),
        (
            json!({"path": "bad.json", "json": "1", "filter": "."}),
            "either",
        ),
    ] {
        let said = world.failed("json_query", args.clone()).await;
        assert!(said.contains(wanted), "{args}: {said}");
    }
}

#[tokio::test]
async fn an_answer_is_cut_with_its_size() {
    let mut world = World::new();
    let many = world
        .done(
            "json_query",
            json!({"json": "null", "filter": "range(10000)"}),
        )
        .await;
    assert!(many.len() < (16 << 10) + 100, "{}", many.len());
    assert!(
        many.contains("of 10000 results are not shown in full"),
        "{}",
        &many[many.len() - 100..]
    );
}
