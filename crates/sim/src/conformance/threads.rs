//! Conversations and messages.

use std::time::Duration;

use adjutant_domain::id::{MessageId, OwnerId, RunId};
use adjutant_domain::label::Trust;
use adjutant_domain::message::{Message, Role};
use adjutant_domain::money::{Cost, Micros, Usage};
use adjutant_domain::run::Entry;
use adjutant_domain::session::Session;
use adjutant_ports::Clock;
use adjutant_ports::store::{CapScope, Claim, Hidden, HistoryAsk, Page, StoreError};

use super::world::{ROUTE, World, asked};

const ALL: Page = Page {
    limit: 100,
    offset: 0,
};

async fn texts(
    world: &World,
    session: &Session,
    limit: u32,
    before: Option<u64>,
    hidden: Hidden,
) -> Vec<String> {
    let messages = world
        .store
        .messages(&session.owner, session.thread, limit, before, hidden)
        .await
        .unwrap();
    messages.iter().map(Message::text).collect()
}

/// A turn of a conversation: a message, a reply, the end.
async fn turn(world: &World, session: &Session, text: &str, reply: &str) {
    let claim = world.begin(session, text).await;
    world.reply(&claim, reply).await;
    world.finish(&claim).await;
    world.clock.pass(Duration::from_millis(5));
}

// covers: R11
/// A message gets its position when its run begins, a reply at once.
pub async fn positions_are_gapless_and_waiting_messages_come_last(world: &World) {
    let session = world.session("main").await;
    let first = world.begin(&session, "one").await;
    world.accept(&session, "", "two").await;
    world.reply(&first, "reply to one").await;
    let owner = &session.owner;
    let messages = world
        .store
        .messages(owner, session.thread, 10, None, Hidden::Skip)
        .await
        .unwrap();
    let seen: Vec<_> = messages.iter().map(|m| (m.seq, m.text())).collect();
    let expected = [(Some(1), "one"), (Some(2), "reply to one"), (None, "two")];
    assert_eq!(seen, expected.map(|(seq, text)| (seq, text.to_owned())));
    assert_eq!(
        (messages[0].run, messages[0].role),
        (Some(first.run.id), Role::User)
    );
    world.finish(&first).await;
    let second = world.claim().await;
    world.reply(&second, "reply to two").await;
    let messages = world
        .store
        .messages(owner, session.thread, 10, None, Hidden::Skip)
        .await
        .unwrap();
    let seqs: Vec<_> = messages.iter().map(|m| m.seq).collect();
    assert_eq!(seqs, [Some(1), Some(2), Some(3), Some(4)]);
    assert_eq!(
        world
            .store
            .thread(owner, session.thread)
            .await
            .unwrap()
            .unwrap()
            .messages,
        4
    );
    // A second claim of the same run moves nothing.
    world.clock.pass(super::world::LEASE);
    world.claim().await;
    let again = world
        .store
        .messages(owner, session.thread, 10, None, Hidden::Skip)
        .await
        .unwrap();
    assert_eq!(again, messages);
}

/// Pages go backwards; each is oldest first.
pub async fn a_page_of_messages_ends_before_a_position(world: &World) {
    let session = world.session("main").await;
    turn(world, &session, "1", "2").await;
    turn(world, &session, "3", "4").await;
    assert_eq!(
        texts(world, &session, 3, None, Hidden::Skip).await,
        ["2", "3", "4"]
    );
    assert_eq!(
        texts(world, &session, 3, Some(2), Hidden::Skip).await,
        ["1"]
    );
    assert_eq!(
        texts(world, &session, 2, Some(4), Hidden::Skip).await,
        ["2", "3"]
    );
    world.accept(&session, "", "5").await;
    assert_eq!(
        texts(world, &session, 2, None, Hidden::Skip).await,
        ["4", "5"]
    );
    assert_eq!(
        texts(world, &session, 2, Some(100), Hidden::Skip).await,
        ["3", "4"]
    );
}

/// Who knows the messages up to a position asks for those from there on; what is hidden is said, not shown, and what waits
/// for others is neither.
pub async fn a_run_sees_what_came_since_a_position(world: &World) {
    let session = world.session("main").await;
    turn(world, &session, "1", "2").await;
    turn(world, &session, "3", "4").await;
    let run = world.accept(&session, "", "5").await;
    world.accept(&session, "", "for another run").await;
    let owner = &session.owner;
    let history = async |owner: &OwnerId, run, from, limit| {
        let wanted = HistoryAsk {
            thread: session.thread,
            run,
            from,
            limit,
        };
        let history = world.store.history(owner, &wanted).await.unwrap();
        let texts: Vec<_> = history.messages.iter().map(Message::text).collect();
        (history.hidden_through, texts.join(" "))
    };
    let said = |hidden: u64, texts: &str| (hidden, texts.to_owned());
    assert_eq!(history(owner, run, 0, 10).await, said(0, "1 2 3 4 5"));
    assert_eq!(history(owner, run, 3, 10).await, said(0, "3 4 5"));
    assert_eq!(history(owner, run, 9, 10).await, said(0, "5"));
    // The newest are those that fit, and what waits is not counted.
    assert_eq!(history(owner, run, 1, 2).await, said(0, "3 4 5"));
    let nobody = RunId::from_u128(0);
    assert_eq!(history(owner, nobody, 0, 10).await, said(0, "1 2 3 4"));
    let claim = world.claim().await;
    assert_eq!(claim.run.id, run);
    summarise(world, &claim, "sum").await;
    assert_eq!(history(owner, run, 2, 10).await, said(2, "3 4 5 sum"));
    assert_eq!(history(owner, run, 6, 10).await, said(2, "sum"));
    assert_eq!(history(owner, run, 9, 10).await, said(2, ""));
    let stranger = OwnerId::parse("stranger").unwrap();
    assert_eq!(history(&stranger, run, 0, 10).await, said(0, ""));
}

/// A summary takes the place of the first two messages. Returns its message.
async fn summarise(world: &World, claim: &Claim, text: &str) -> MessageId {
    let message = MessageId::mint(world.clock.now(), world.number());
    let budget = world.budget(5);
    let summary = Entry::Compacted {
        message,
        text: text.to_owned(),
        through: 2,
        trust: Trust::Model,
        route: ROUTE.to_owned(),
        usage: Usage {
            input: 3,
            ..Usage::default()
        },
        cost: Cost::Priced { micros: Micros(4) },
        budget: budget.clone(),
    };
    world.append(claim, vec![asked(&budget), summary]).await;
    message
}

/// A summary stands for what it hides, and everything can still be shown (invariant 15).
pub async fn compacted_messages_are_hidden_not_lost(world: &World) {
    let session = world.session("main").await;
    turn(world, &session, "1", "2").await;
    let claim = world.begin(&session, "3").await;
    let message = summarise(world, &claim, "sum").await;
    let spend = world
        .store
        .spend(&session.owner, &CapScope::Run { run: claim.run.id })
        .await
        .unwrap();
    assert_eq!(
        (spend.used_micros, spend.reserved_micros),
        (Micros(4), Micros::ZERO)
    );
    assert_eq!(
        texts(world, &session, 10, None, Hidden::Skip).await,
        ["3", "sum"]
    );
    assert_eq!(
        texts(world, &session, 10, None, Hidden::Show).await,
        ["1", "2", "3", "sum"]
    );
    let summary = world
        .store
        .message(&session.owner, message)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(summary.role, Role::Summary);
}

/// By a word, at once after it was said.
pub async fn messages_are_found_by_their_words(world: &World) {
    let session = world.session("main").await;
    turn(
        world,
        &session,
        "where is the blue kettle",
        "in the kitchen",
    )
    .await;
    turn(world, &session, "thanks", "welcome").await;
    let owner = &session.owner;
    let found = world
        .store
        .search_messages(owner, "kettle", 10)
        .await
        .unwrap();
    assert!(
        matches!(&found[..], [one] if one.text() == "where is the blue kettle"),
        "{found:?}"
    );
    let found = world
        .store
        .search_messages(owner, "KITCHEN", 10)
        .await
        .unwrap();
    assert!(
        matches!(&found[..], [one] if one.role == Role::Assistant),
        "{found:?}"
    );
    for nothing in ["teapot", "", "\"", "kettle\" OR \"x"] {
        let found = world
            .store
            .search_messages(owner, nothing, 10)
            .await
            .unwrap();
        assert!(found.len() <= 1, "{nothing}: {found:?}");
    }
}

/// The owner's explicit wish removes words, runs and logs, and nothing else does (invariant 15).
pub async fn a_forgotten_thread_leaves_no_words(world: &World) {
    let session = world.session("main").await;
    let other = world.session("other").await;
    turn(world, &other, "keep this one", "kept").await;
    let claim = world.begin(&session, "the secret kettle").await;
    let owner = &session.owner;
    let busy = world.store.forget_thread(owner, session.thread).await;
    assert!(matches!(busy, Err(StoreError::Conflict { .. })), "{busy:?}");
    world.reply(&claim, "a kettle indeed").await;
    world.finish(&claim).await;
    assert_eq!(
        world
            .store
            .search_messages(owner, "kettle", 10)
            .await
            .unwrap()
            .len(),
        2
    );
    assert!(
        world
            .store
            .forget_thread(owner, session.thread)
            .await
            .unwrap()
    );
    assert!(
        !world
            .store
            .forget_thread(owner, session.thread)
            .await
            .unwrap()
    );
    assert_eq!(
        world
            .store
            .search_messages(owner, "kettle", 10)
            .await
            .unwrap(),
        vec![]
    );
    assert!(
        world
            .store
            .thread(owner, session.thread)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        texts(world, &session, 10, None, Hidden::Show).await,
        Vec::<String>::new()
    );
    assert!(
        world
            .store
            .run(owner, &claim.run.id.to_string())
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        texts(world, &other, 10, None, Hidden::Show).await,
        ["keep this one", "kept"]
    );
    // The seat can be used again.
    let again = world.session("main").await;
    assert_ne!(again.thread, session.thread);
    turn(world, &again, "new", "start").await;
}

/// Last used first; a title is what the owner says.
pub async fn threads_are_listed_and_renamed(world: &World) {
    let session = world.session("main").await;
    world.clock.pass(Duration::from_millis(5));
    let other = world.session("other").await;
    world.clock.pass(Duration::from_millis(5));
    turn(world, &session, "hello", "hi").await;
    let owner = &session.owner;
    let ids: Vec<_> = world
        .store
        .threads(owner, ALL)
        .await
        .unwrap()
        .iter()
        .map(|t| t.id)
        .collect();
    assert_eq!(ids, [session.thread, other.thread]);
    let second = world
        .store
        .threads(
            owner,
            Page {
                limit: 1,
                offset: 1,
            },
        )
        .await
        .unwrap();
    assert_eq!(second[0].id, other.thread);
    world
        .store
        .rename_thread(owner, other.thread, "Kettles")
        .await
        .unwrap();
    let thread = world
        .store
        .thread(owner, other.thread)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(thread.title.as_deref(), Some("Kettles"));
}
