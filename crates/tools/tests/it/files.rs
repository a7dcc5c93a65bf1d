//! Reading, listing, searching, writing, editing.

use adjutant_domain::label::{Origin, Trust};
use adjutant_domain::tool::ToolOutcome;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_file_is_read_with_its_label() {
    let mut world = World::new();
    world.put("notes/a.md", "one\ntwo\n");
    let outcome = world.run("file_read", json!({"path": "notes/a.md"})).await;
    let ToolOutcome::Done { text, label } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(text, "one\ntwo\n");
    assert_eq!(
        label.origin,
        Origin::File {
            path: "notes/a.md".to_owned()
        }
    );
    assert_eq!(label.trust, Trust::Workspace);
}

#[tokio::test]
async fn lines_are_read_in_part_and_the_rest_is_named() {
    let mut world = World::new();
    let lines: String = (1..=5000).map(|n| format!("line {n}\n")).collect();
    world.put("long.txt", &lines);
    let some = world
        .done(
            "file_read",
            json!({"path": "long.txt", "offset": 10, "limit": 2}),
        )
        .await;
    assert_eq!(
        some,
        format!(
            "line 10\nline 11\n[lines 10-11 of 5000, {} bytes; next: offset 12]",
            lines.len()
        )
    );
    let start = world.done("file_read", json!({"path": "long.txt"})).await;
    assert!(
        start.len() < (16 << 10) + 100
            && start.contains("of 5000")
            && start.contains("next: offset"),
        "{start}"
    );
    let end = world
        .done("file_read", json!({"path": "long.txt", "offset": 5000}))
        .await;
    assert_eq!(
        end,
        format!(
            "line 5000\n[lines 5000-5000 of 5000, {} bytes]",
            lines.len()
        )
    );
    let beyond = world
        .failed("file_read", json!({"path": "long.txt", "offset": 5001}))
        .await;
    assert!(beyond.contains("5000 lines"), "{beyond}");
}

#[tokio::test]
async fn a_line_that_is_too_long_is_cut_at_a_character() {
    let mut world = World::new();
    world.put("one.txt", "é".repeat(20_000));
    let text = world.done("file_read", json!({"path": "one.txt"})).await;
    assert!(
        text.starts_with("éé") && text.contains("longer than can be shown"),
        "{}",
        &text[text.len() - 200..]
    );
}

#[tokio::test]
async fn what_is_not_text_is_refused_in_a_sentence() {
    let mut world = World::new();
    world.put("a.bin", [0u8, 1, 2, 3]);
    assert!(
        world
            .failed("file_read", json!({"path": "a.bin"}))
            .await
            .contains("not text")
    );
    assert!(
        world
            .failed("file_read", json!({"path": "none"}))
            .await
            .contains("not found")
    );
    assert!(
        world
            .failed("file_read", json!({"path": "."}))
            .await
            .contains("directory")
    );
}

// covers: S39
#[tokio::test]
async fn a_link_out_of_the_workspace_leads_nowhere() {
    let mut world = World::new();
    std::fs::write(world.dir.path().join("secret"), "s3cret").unwrap();
    std::os::unix::fs::symlink(
        world.dir.path().join("secret"),
        world.workspace().join("link"),
    )
    .unwrap();
    std::os::unix::fs::symlink(world.dir.path(), world.workspace().join("up")).unwrap();
    for path in ["link", "up/secret"] {
        let said = world.failed("file_read", json!({"path": path})).await;
        assert!(!said.contains("s3cret"), "{said}");
        world
            .failed("file_write", json!({"path": path, "content": "x"}))
            .await;
        world
            .failed(
                "file_edit",
                json!({"path": path, "old": "s3cret", "new": "x"}),
            )
            .await;
        world
            .failed("json_query", json!({"path": path, "filter": "."}))
            .await;
    }
    let found = world.done("file_search", json!({"query": "s3cret"})).await;
    assert_eq!(found, "[no match]");
    assert_eq!(
        std::fs::read_to_string(world.dir.path().join("secret")).unwrap(),
        "s3cret"
    );
    let call = world.call("file_read", json!({"path": "../secret"}));
    assert!(world.permit(call).unwrap_err().contains("outside"));
}

#[tokio::test]
async fn a_folder_is_listed_to_the_depth_asked_for() {
    let mut world = World::new();
    assert_eq!(world.done("file_list", json!({})).await, "[empty]");
    world.put("b.txt", "12345");
    world.put("a/c.txt", "1");
    world.put("target/x", "1");
    assert_eq!(
        world.done("file_list", json!({})).await,
        "a/\nb.txt\t5\ntarget/"
    );
    let deep = world
        .done("file_list", json!({"path": ".", "depth": 3}))
        .await;
    assert!(
        deep.contains("a/c.txt\t1") && !deep.contains("target/x"),
        "{deep}"
    );
    for n in 0..1100 {
        world.put(&format!("many/{n:04}"), "");
    }
    let many = world.done("file_list", json!({"path": "many"})).await;
    assert!(
        many.contains("more than 1000 entries"),
        "{}",
        &many[many.len() - 100..]
    );
    assert!(
        world
            .failed("file_list", json!({"path": "b.txt"}))
            .await
            .contains("not a directory")
    );
}

#[tokio::test]
async fn lines_are_found_with_file_and_number() {
    let mut world = World::new();
    world.put("src/a.rs", "fn Main() {}\nlet x = 1;\n");
    world.put("src/b.md", "main thing\n");
    world.put("bin", b"main\0");
    let all = world.done("file_search", json!({"query": "main"})).await;
    assert_eq!(
        all,
        "src/a.rs:1: fn Main() {}\nsrc/b.md:1: main thing\n[2 matching lines in 2 files]"
    );
    let exact = world.done("file_search", json!({"query": "Main"})).await;
    assert_eq!(
        exact,
        "src/a.rs:1: fn Main() {}\n[1 matching lines in 1 files]"
    );
    let globbed = world
        .done("file_search", json!({"query": "main", "glob": "*.md"}))
        .await;
    assert_eq!(
        globbed,
        "src/b.md:1: main thing\n[1 matching lines in 1 files]"
    );
    let pattern = world
        .done(
            "file_search",
            json!({"query": r"x = \d", "regex": true, "path": "src"}),
        )
        .await;
    assert_eq!(
        pattern,
        "src/a.rs:2: let x = 1;\n[1 matching lines in 1 files]"
    );
    let literal = world.done("file_search", json!({"query": r"x = \d"})).await;
    assert_eq!(literal, "[no match]");
    let one = world
        .done("file_search", json!({"query": "thing", "path": "src/b.md"}))
        .await;
    assert!(one.starts_with("src/b.md:1:"), "{one}");
    assert!(
        world
            .failed("file_search", json!({"query": "(", "regex": true}))
            .await
            .contains("regular expression")
    );
    assert!(
        world
            .failed("file_search", json!({"query": "x", "path": "none"}))
            .await
            .contains("not found")
    );
}

#[tokio::test]
async fn a_search_stops_at_its_bounds() {
    let mut world = World::new();
    world.put("many.txt", "hit\n".repeat(1000));
    let many = world.done("file_search", json!({"query": "hit"})).await;
    assert!(
        many.ends_with("[200 matching lines in 1 files; stopped: there are more matches]"),
        "{many}"
    );
    world.put(
        "wide.txt",
        format!("{}needle{}", "x".repeat(5000), "y".repeat(5000)),
    );
    let wide = world.done("file_search", json!({"query": "needle"})).await;
    assert!(wide.contains("needle") && wide.len() < 500, "{wide}");
    world.deadline = std::time::Duration::ZERO;
    let late = world.done("file_search", json!({"query": "needle"})).await;
    assert!(late.contains("time for the search is over"), "{late}");
}

// covers: R4
#[tokio::test]
async fn a_write_says_what_it_did_and_may_be_repeated() {
    let mut world = World::new();
    let call = world.call("file_write", json!({"path": "a/b.txt", "content": "hi"}));
    let first = world.repeat(call.clone()).await.unwrap();
    assert_eq!(first.text(), "created `a/b.txt` (2 bytes)");
    let second = world.repeat(call).await.unwrap();
    assert_eq!(second.text(), "replaced `a/b.txt` (2 bytes)");
    assert_eq!(world.get("a/b.txt"), "hi");
    assert!(
        world
            .failed("file_write", json!({"path": "a", "content": ""}))
            .await
            .contains("directory")
    );
}

// covers: R4
#[tokio::test]
async fn an_edit_changes_one_place_and_may_be_repeated() {
    let mut world = World::new();
    world.put("a.txt", "red green blue green");
    let call = world.call(
        "file_edit",
        json!({"path": "a.txt", "old": "red", "new": "red and pink"}),
    );
    assert_eq!(
        world.repeat(call.clone()).await.unwrap().text(),
        "changed 1 place in `a.txt`"
    );
    assert_eq!(
        world.repeat(call).await.unwrap().text(),
        "`a.txt` already has this change"
    );
    assert_eq!(world.get("a.txt"), "red and pink green blue green");
    let twice = world
        .failed(
            "file_edit",
            json!({"path": "a.txt", "old": "green", "new": "x"}),
        )
        .await;
    assert!(twice.contains("2 times"), "{twice}");
    let all = world
        .done(
            "file_edit",
            json!({"path": "a.txt", "old": "green", "new": "x", "all": true}),
        )
        .await;
    assert_eq!(all, "changed 2 places in `a.txt`");
    assert!(
        world
            .failed(
                "file_edit",
                json!({"path": "a.txt", "old": "none", "new": "y"})
            )
            .await
            .contains("not found")
    );
    world.put("b.bin", [0xff, 0xfe, b'a']);
    assert!(
        world
            .failed(
                "file_edit",
                json!({"path": "b.bin", "old": "a", "new": "b"})
            )
            .await
            .contains("UTF-8")
    );
}
