//! Where this gateway answers differently from the recorded one, on purpose, and why. Everything else must be answered
//! in the recorded shape.

/// Methods of recorded gateways that this one does not have: the answer is `unknown method`, which every recorded
/// client copes with.
pub(crate) const NOT_HERE: &[(&str, &str)] = &[
    ("board.get", "boards of the newest Control UI"),
    (
        "chat.metadata",
        "models and commands have methods of their own",
    ),
    (
        "controlUi.sessionPullRequests.subscribe",
        "pull requests of the newest Control UI",
    ),
    ("cron.add", "no scheduler yet"),
    ("mentions.list", "one owner, nobody to mention"),
    ("models.authStatus", "`models.status` says it"),
    ("openclaw.approval.list", "approvals of the vendor's cloud"),
    ("plugin.surface.refresh", "no plugins"),
    ("plugins.controlUi.list", "no plugins"),
    ("projects.list", "no projects"),
    ("session.discussion.info", "one owner, no discussion"),
    ("session.members.listEvidence", "one owner, no members"),
    ("sessions.catalog.list", "sessions of other machines"),
    ("sessions.github.options", "no repositories"),
    ("sessions.groups.defaults", "no groups"),
    ("sessions.observer.visibility", "no observer"),
    ("sessions.viewers.set", "one owner, no viewers"),
    ("system.info", "`status` says it"),
    ("talk.catalog", "no voice yet"),
    ("tools.effective", "`tools.catalog` says it"),
    ("tts.status", "no voice yet"),
    ("update.status", "the gateway does not update itself"),
    ("users.self", "one owner, no users"),
];

/// Calls that recorded gateways answered and this one refuses: method, how our message begins, why.
pub(crate) const REFUSED: &[(&str, &str, &str)] = &[
    (
        "wake",
        "agents of this gateway do not wake by themselves yet",
        "no heartbeat yet",
    ),
    (
        "set-heartbeats",
        "agents of this gateway do not wake by themselves yet",
        "no heartbeat yet: on is refused",
    ),
];

/// Messages of refusals: how the recorded one begins, how ours may begin.
pub(crate) const MESSAGES: &[(&str, &str)] = &[
    (
        "Error: Channel is required",
        "Channel is required (no configured channels detected)",
    ),
    (
        "unsupported channel",
        "Channel is required (no configured channels detected)",
    ),
    ("unknown approval id", "unknown or expired approval id"),
    (
        "node pairing changed while invocation was active",
        "node not connected",
    ),
    ("node command not allowed", "node command not allowed"),
    ("unauthorized", "unauthorized"),
    ("pairing required", "pairing required"),
];

/// Sockets of which only `connect` is played: conversation, number, why.
pub(crate) const NOT_PLAYED: &[(&str, u64, &str)] = &[(
    "2026.9.6--rpc-batch",
    3,
    "the recorded gateway did not find the open question; ours does, and nothing would be left for the next answer",
)];

/// Whether only the `connect` of this socket is played.
pub(crate) fn not_played(name: &str, conn: u64) -> bool {
    NOT_PLAYED
        .iter()
        .any(|(known, number, _)| (*known, *number) == (name, conn))
}

/// Why a method is not here.
pub(crate) fn not_here(method: &str) -> Option<&'static str> {
    NOT_HERE
        .iter()
        .find(|(name, _)| *name == method)
        .map(|(_, why)| *why)
}

/// How our refusal of an answered method begins.
pub(crate) fn refused(method: &str) -> Option<&'static str> {
    REFUSED
        .iter()
        .find(|(name, ..)| *name == method)
        .map(|(_, message, _)| *message)
}

/// Whether two refusals mean the same.
pub(crate) fn same_refusal(recorded: &str, ours: &str) -> bool {
    if let Some((_, ours_begins)) = MESSAGES
        .iter()
        .find(|(begins, _)| recorded.starts_with(begins))
    {
        return ours.starts_with(ours_begins);
    }
    recorded == ours
}
