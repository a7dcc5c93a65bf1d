//! `adjutant db`: what is said, what is asked, and the exit codes.

use super::host::FakeHost;
use super::screen::{piped, typed};
use crate::failure::Exit;

#[tokio::test]
async fn the_status_names_the_database_its_schema_and_who_may_what() {
    let host = FakeHost::new();
    let ready = piped(&host, "db status").await;
    assert_eq!(ready.exit, Exit::Done);
    insta::assert_snapshot!(ready.out);
    let behind = piped(&host, "db status --database env:OLD --json").await;
    assert_eq!(behind.exit, Exit::Partial);
    let document: serde_json::Value = serde_json::from_str(&behind.out).unwrap();
    assert_eq!(document["schema"]["pending"][0], "0002_more");
}

#[tokio::test]
async fn nothing_is_migrated_before_somebody_said_so() {
    let host = FakeHost::new();
    let nothing = piped(&host, "db migrate --database sqlite").await;
    assert!(nothing.out.contains("nothing to do"), "{}", nothing.out);
    let dry = piped(&host, "db migrate --dry-run").await;
    assert_eq!(dry.exit, Exit::Done);
    assert!(
        dry.out
            .starts_with("would apply 1 migration to /state/adjutant.db: 0006_more\n"),
        "{}",
        dry.out
    );
    let dry = piped(&host, "db migrate --dry-run --json").await.document();
    assert_eq!(
        (&dry["dryRun"], &dry["plan"]["version"]),
        (&true.into(), &5.into())
    );
    let nothing = piped(&host, "db migrate --database sqlite --dry-run --json").await;
    let nothing = nothing.document();
    assert_eq!(
        (&nothing["dryRun"], &nothing["would"]),
        (&true.into(), &serde_json::json!([]))
    );
    let unasked = piped(&host, "db migrate").await;
    assert_eq!(unasked.exit, Exit::Usage);
    assert!(unasked.err.contains("--yes"), "{}", unasked.err);
    let no = typed(&host, "db migrate", &["n"]).await;
    assert_eq!(no.exit, Exit::Usage);
    assert!(host.asked().is_empty(), "{:?}", host.asked());
    let yes = typed(&host, "db migrate", &["y"]).await;
    assert_eq!(yes.exit, Exit::Done);
    piped(&host, "db migrate --yes --without-copy").await;
    assert_eq!(host.asked(), ["migrate None Yes", "migrate None No"]);
}

#[tokio::test]
async fn a_copy_says_what_it_moves_and_what_makes_it_count() {
    let host = FakeHost::new();
    let dry = piped(&host, "db copy --to env:DB --dry-run").await;
    assert_eq!(
        dry.out,
        "would copy 3 rows of 1 table from /state/adjutant.db to db.example.com:5432/adjutant\n"
    );
    let dry = piped(&host, "db copy --to env:DB --dry-run --json").await;
    let document = dry.document();
    assert_eq!(document["dryRun"], true);
    assert_eq!(document["plan"]["rows"]["threads"], 3);
    assert!(
        document["would"][0]
            .as_str()
            .unwrap()
            .starts_with("copy 3 rows")
    );
    let asked = host.asked();
    assert!(
        asked.iter().all(|it| it.starts_with("plan Yes")),
        "{asked:?}"
    );
    let done = piped(&host, "db copy --to env:DB --yes").await;
    assert_eq!(done.exit, Exit::Done);
    insta::assert_snapshot!(done.out);
    let document = piped(&host, "db copy --to env:DB --yes --json").await.out;
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(
        document["next"],
        "adjutant config set store.database_url env:DB"
    );
    let nowhere = piped(&host, "db copy").await;
    assert_eq!(nowhere.exit, Exit::Usage);
}

#[tokio::test]
async fn an_export_to_stdout_says_nothing_else_there() {
    let host = FakeHost::new();
    let streamed = piped(&host, "db export --jsonl").await;
    assert!(streamed.out.is_empty(), "{}", streamed.out);
    assert!(streamed.err.contains("wrote 3 rows of 1 table"));
    let file = piped(
        &host,
        "db export --out /tmp/x.jsonl --table threads --force",
    )
    .await;
    assert!(file.out.contains("to /tmp/x.jsonl"), "{}", file.out);
    let asked = host.asked().pop().unwrap();
    assert!(
        asked.contains("Replace") && asked.contains("threads"),
        "{asked}"
    );
    let alone = piped(&host, "db export --force").await;
    assert_eq!(alone.exit, Exit::Usage);
}

#[tokio::test]
async fn a_dry_run_of_a_restore_asks_for_the_plan_and_restores_nothing() {
    let host = FakeHost::new();
    let dry = piped(&host, "restore a.tar --database env:DB --dry-run").await;
    assert_eq!(dry.exit, Exit::Done);
    insta::assert_snapshot!(dry.out, @r"
    would fill env:DB with its rows
    would set `store.database_url` in the restored settings
    would move everything in /state aside, and delete nothing
    would restore 3 files to /state, as of 2023-11-14T22:13:20.000Z
    ");
    let document = piped(&host, "restore a.tar --dry-run --json")
        .await
        .document();
    assert_eq!(
        (&document["dryRun"], &document["plan"]["files"]),
        (&true.into(), &3.into())
    );
    assert_eq!(host.asked(), ["plan a.tar", "plan a.tar"]);
    let done = piped(&host, "restore a.tar --database env:DB --yes").await;
    assert!(
        done.out.contains(
            "its rows are in env:DB; the restored settings were changed to name it: `store.database_url`"
        ),
        "{}",
        done.out
    );
    assert_eq!(host.asked().last().unwrap(), "restore a.tar");
}
