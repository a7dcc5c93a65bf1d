//! Patches: both forms, all or nothing, and finding out afterwards.

use adjutant_domain::tool::ToolOutcome;
use serde_json::json;

use crate::world::World;

const UNIFIED: &str = "\
diff --git a/a.txt b/a.txt
--- a/a.txt
+++ b/a.txt
@@ -1,3 +1,3 @@
 one
--- two
+2
 three
--- /dev/null
+++ b/new/b.txt
@@ -0,0 +1,2 @@
+hello
+you
--- a/gone.txt
+++ /dev/null
@@ -1 +0,0 @@
-bye
";

fn with_files() -> World {
    let world = World::new();
    world.put("a.txt", "one\n-- two\nthree\n");
    world.put("gone.txt", "bye\n");
    world
}

#[tokio::test]
async fn a_unified_diff_changes_makes_and_removes_files() {
    let mut world = with_files();
    let said = world.done("apply_patch", json!({"patch": UNIFIED})).await;
    assert_eq!(
        said,
        "changed `a.txt`\ncreated `new/b.txt`\nremoved `gone.txt`"
    );
    assert_eq!(world.get("a.txt"), "one\n2\nthree\n");
    assert_eq!(world.get("new/b.txt"), "hello\nyou\n");
    assert!(!world.has("gone.txt"));
}

#[tokio::test]
async fn the_begin_patch_form_changes_makes_moves_and_removes_files() {
    let mut world = with_files();
    world.put("old.rs", "fn a() {\n    1\n}\n");
    let patch = "*** Begin Patch\n*** Update File: a.txt\n@@\n one\n--- two\n+2\n*** Add File: new/b.txt\n+hello\n\
        *** Update File: old.rs\n*** Move to: src/new.rs\n@@ fn a() {\n-    1\n+    2\n*** Delete File: gone.txt\n*** End Patch";
    let said = world.done("apply_patch", json!({"patch": patch})).await;
    assert_eq!(
        said,
        "changed `a.txt`\ncreated `new/b.txt`\ncreated `src/new.rs`\nremoved `old.rs`\nremoved `gone.txt`"
    );
    assert_eq!(world.get("a.txt"), "one\n2\nthree\n");
    assert_eq!(world.get("src/new.rs"), "fn a() {\n    2\n}\n");
    assert!(!world.has("old.rs") && !world.has("gone.txt"));
}

#[tokio::test]
async fn a_patch_that_does_not_fit_changes_nothing() {
    let mut world = with_files();
    world.put("gone.txt", "bye\nand more\n");
    let said = world.failed("apply_patch", json!({"patch": UNIFIED})).await;
    assert!(
        said.contains("gone.txt") && said.contains("no file was changed"),
        "{said}"
    );
    assert_eq!(world.get("a.txt"), "one\n-- two\nthree\n");
    assert!(!world.has("new/b.txt"));
    let both = "*** Begin Patch\n*** Add File: x\n+1\n*** Update File: a.txt\n-nothing like it\n+2\n*** End Patch";
    assert!(
        world
            .failed("apply_patch", json!({"patch": both}))
            .await
            .contains("not found")
    );
    assert!(!world.has("x"));
}

#[tokio::test]
async fn a_write_that_fails_half_way_is_taken_back() {
    let mut world = with_files();
    // The last file cannot be made: a file stands where its folder should be.
    let patch = "*** Begin Patch\n*** Update File: a.txt\n-one\n+1\n*** Add File: x.txt\n+x\n\
        *** Delete File: gone.txt\n*** Add File: y/z.txt\n+y\n*** End Patch";
    std::os::unix::fs::symlink("/nonexistent", world.workspace().join("y")).unwrap();
    let outcome = world.run("apply_patch", json!({"patch": patch})).await;
    assert!(outcome.is_error(), "{outcome:?}");
    assert_eq!(world.get("a.txt"), "one\n-- two\nthree\n");
    assert_eq!(world.get("gone.txt"), "bye\n");
    assert!(!world.has("x.txt"));
}

#[tokio::test]
async fn patches_that_cannot_be_read_are_refused_in_a_sentence() {
    let mut world = with_files();
    for (patch, wanted) in [
        ("", "names no file"),
        ("just words", "names no file"),
        ("--- a/a.txt\n+++ b/a.txt\n", "hunk"),
        (
            "--- a/a.txt\n+++ b/b.txt\n@@ -1 +1 @@\n-one\n+1\n",
            "Move to",
        ),
        ("rename from a.txt\nrename to b.txt\n", "not supported"),
        (
            "*** Begin Patch\n*** Update File: a.txt\n*** End Patch",
            "no change",
        ),
        (
            "*** Begin Patch\n*** Add File: n\nplain\n*** End Patch",
            "must begin with `+`",
        ),
        (
            "*** Begin Patch\n*** Add File: n\n+1\n*** Delete File: n\n*** End Patch",
            "twice",
        ),
        (
            "*** Begin Patch\n*** Add File: a.txt\n+1\n*** End Patch",
            "exists already",
        ),
    ] {
        let said = world.failed("apply_patch", json!({"patch": patch})).await;
        assert!(said.contains(wanted), "{patch:?}: {said}");
    }
    assert_eq!(world.get("a.txt"), "one\n-- two\nthree\n");
}

// covers: S29, S39
#[tokio::test]
async fn a_patch_may_not_name_a_file_outside() {
    let mut world = with_files();
    for patch in [
        "*** Begin Patch\n*** Add File: ../x\n+1\n*** End Patch",
        "--- /dev/null\n+++ b/../x\n@@ -0,0 +1 @@\n+1\n",
        "*** Begin Patch\n*** Update File: a.txt\n*** Move to: ../../x\n-one\n+1\n*** End Patch",
    ] {
        let call = world.call("apply_patch", json!({"patch": patch}));
        assert!(world.permit(call).is_err(), "{patch}");
    }
    std::os::unix::fs::symlink(world.dir.path(), world.workspace().join("up")).unwrap();
    let patch = "*** Begin Patch\n*** Add File: up/x\n+1\n*** End Patch";
    world.failed("apply_patch", json!({"patch": patch})).await;
    assert!(!world.dir.path().join("x").exists());
}

// covers: R4
#[tokio::test]
async fn an_interrupted_patch_is_found_out_about() {
    let mut world = with_files();
    let blocks =
        "*** Begin Patch\n*** Update File: a.txt\n-one\n+1\n*** Add File: n.txt\n+n\n*** End Patch";
    for patch in [UNIFIED, blocks] {
        let call = world.call("apply_patch", json!({"patch": patch}));
        let tool = world.tool("apply_patch");
        let before = tool.probe(&call, &world.cx()).await;
        assert!(
            matches!(before, Some(ToolOutcome::Failed { .. })),
            "{before:?}"
        );
        world.repeat(call.clone()).await.unwrap();
        let after = tool.probe(&call, &world.cx()).await;
        assert!(matches!(after, Some(ToolOutcome::Done { .. })), "{after:?}");
        world.put("a.txt", "one\n-- two\nthree\n");
        assert_eq!(tool.probe(&call, &world.cx()).await, None, "half of it");
    }
}
