//! Nodes: what may be asked of one, for how long, and what became of it. Pure rules over what a person decided; what a
//! node says of itself only ever narrows them.

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::PlatformKind;
use crate::id::{DeviceId, InvokeId, LeaseId, OwnerId};
use crate::time::Timestamp;

/// How long a node may take when the caller does not say.
pub const INVOKE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a node may take at most.
pub const INVOKE_TIMEOUT_MAX: Duration = Duration::from_secs(35 * 60);
/// Requests one node has not answered yet.
pub const OPEN_INVOKES_MAX: u32 = 20;
/// Requests of one node that are remembered.
pub const MAILBOX_ITEMS_MAX: u32 = 1_000;
/// Bytes of the answers of one node that are remembered.
pub const MAILBOX_BYTES_MAX: u64 = 64 << 20;
/// How long an answer is remembered.
pub const ANSWERS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of a request's parameters.
pub const INVOKE_PARAMS_BYTES_MAX: usize = 512 << 10;
/// How long a lease lasts when nobody says.
pub const LEASE_LIFE: Duration = Duration::from_secs(10 * 60);
/// The shortest lease.
pub const LEASE_LIFE_MIN: Duration = Duration::from_secs(10);
/// The longest lease.
pub const LEASE_LIFE_MAX: Duration = Duration::from_secs(4 * 60 * 60);
/// Leases at the same time.
pub const LEASES_MAX: usize = 64;

/// A kind of command that captures or changes something private.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Pictures and clips.
    Camera,
    /// Pictures and films of the screen.
    Screen,
    /// Where the device is.
    Location,
    /// Writing into calendar, contacts, reminders.
    Writes,
    /// Sending messages in the owner's name.
    Messages,
    /// Reading calendar, contacts, reminders, photos, motion.
    Private,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Camera,
        Self::Screen,
        Self::Location,
        Self::Writes,
        Self::Messages,
        Self::Private,
    ];

    /// As people write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::Screen => "screen",
            Self::Location => "location",
            Self::Writes => "writes",
            Self::Messages => "messages",
            Self::Private => "private",
        }
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// What a command is, whoever offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandKind {
    /// It shows or tells nothing private.
    Plain,
    /// It runs programs, or prepares that: the approval of the very command decides, here and on the node.
    Shell,
    /// It needs a lease.
    Leased(Group),
    /// Nobody here knows it: only the owner's list lets it through.
    Unknown,
}

impl CommandKind {
    /// By name.
    #[must_use]
    pub fn of(command: &str) -> Self {
        match command {
            "system.run"
            | "system.run.prepare"
            | "system.execApprovals.get"
            | "system.execApprovals.set" => Self::Shell,
            "camera.list" | "device.info" | "device.status" | "media.read" | "system.notify"
            | "system.which" => Self::Plain,
            "canvas.eval" => Self::Unknown,
            "camera.snap" | "camera.clip" => Self::Leased(Group::Camera),
            "screen.record" | "screen.snap" => Self::Leased(Group::Screen),
            "location.get" => Self::Leased(Group::Location),
            "calendar.add" | "contacts.add" | "reminders.add" => Self::Leased(Group::Writes),
            "sms.send" => Self::Leased(Group::Messages),
            "calendar.events" | "contacts.search" | "reminders.list" | "photos.latest" => {
                Self::Leased(Group::Private)
            }
            _ if command.starts_with("canvas.") => Self::Plain,
            _ if command.starts_with("motion.") => Self::Leased(Group::Private),
            _ => Self::Unknown,
        }
    }

    /// Whether carrying it out twice does something twice.
    #[must_use]
    pub fn only_reads(command: &str) -> bool {
        matches!(
            command,
            "camera.list"
                | "device.info"
                | "device.status"
                | "media.read"
                | "system.which"
                | "location.get"
                | "system.run.prepare"
                | "system.execApprovals.get"
                | "calendar.events"
                | "contacts.search"
                | "reminders.list"
                | "photos.latest"
                | "canvas.snapshot"
        )
    }
}

/// What the owner wrote down about all nodes. Names are commands or families (`camera`).
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeRules<'a> {
    /// Let through without a lease, and where nobody here knows them.
    pub allow: &'a [String],
    /// Never let through.
    pub deny: &'a [String],
}

/// What is known of one node.
#[derive(Debug, Clone, Copy)]
pub struct NodeFacts<'a> {
    /// The device.
    pub node: &'a DeviceId,
    /// What it was when it was approved.
    pub platform: PlatformKind,
    /// What it says now.
    pub claimed: &'a BTreeSet<String>,
    /// What a person saw and approved.
    pub approved: &'a BTreeSet<String>,
}

/// Why a command is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The owner's list says no.
    #[error("the owner has denied it")]
    Denied,
    /// The node does not offer it.
    #[error("the node does not offer it")]
    NotDeclared,
    /// Nobody has approved that this node offers it.
    #[error("nobody has approved it for this node yet")]
    NotApproved,
    /// Nodes of this kind are not asked for it.
    #[error("it is not allowed for nodes of this kind")]
    NotAllowed,
    /// It needs a lease.
    #[error("`{0}` is not armed")]
    NotArmed(Group),
}

impl Refused {
    /// For programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotDeclared => "not-declared",
            Self::NotApproved => "not-approved",
            Self::NotAllowed => "not-allowed",
            Self::NotArmed(_) => "not-armed",
        }
    }
}

/// On what ground a command is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// The standing rules.
    Standing,
    /// This lease; a use of it is counted.
    Lease(LeaseId),
}

/// A permission with an end. It adds to the standing rules and is never written into them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// What it lets through.
    pub group: Group,
    /// For one node; none: for all of the owner's.
    pub node: Option<DeviceId>,
    /// Surface and principal.
    pub granted_by: String,
    /// Since when.
    pub at: Timestamp,
    /// Until when by the wall clock.
    pub expires_at: Timestamp,
    /// Until when by the monotonic clock; it is over when either says so.
    pub expires_mono: Duration,
    /// How often it may still be used; none: as often as wanted.
    pub uses_left: Option<u32>,
}

impl Lease {
    /// Whether it lets `group` through for `node` now.
    #[must_use]
    pub fn covers(&self, group: Group, node: &DeviceId, now: Timestamp, mono: Duration) -> bool {
        self.group == group
            && self.node.as_ref().is_none_or(|it| it == node)
            && self.is_live(now, mono)
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_live(&self, now: Timestamp, mono: Duration) -> bool {
        // A wall clock that was set back does not make a lease longer.
        self.at <= now
            && now < self.expires_at
            && mono < self.expires_mono
            && self.uses_left != Some(0)
    }
}

/// Whether `command` may be forwarded now, and on what ground. Deny wins over everything, a lease never helps against it.
///
/// # Errors
/// [`Refused`].
pub fn may_invoke(
    command: &str,
    facts: NodeFacts<'_>,
    rules: NodeRules<'_>,
    leases: &[Lease],
    now: Timestamp,
    mono: Duration,
) -> Result<Ground, Refused> {
    if names(rules.deny, command) {
        return Err(Refused::Denied);
    }
    if !facts.claimed.contains(command) {
        return Err(Refused::NotDeclared);
    }
    if !facts.approved.contains(command) {
        return Err(Refused::NotApproved);
    }
    if names(rules.allow, command) {
        return Ok(Ground::Standing);
    }
    match (CommandKind::of(command), facts.platform) {
        (CommandKind::Leased(group), _) => leases
            .iter()
            .find(|it| it.covers(group, facts.node, now, mono))
            .map(|it| Ground::Lease(it.id))
            .ok_or(Refused::NotArmed(group)),
        (CommandKind::Unknown, _) | (_, PlatformKind::Other) => Err(Refused::NotAllowed),
        (CommandKind::Shell, PlatformKind::Ios | PlatformKind::Android) => Err(Refused::NotAllowed),
        (CommandKind::Plain | CommandKind::Shell, _) => Ok(Ground::Standing),
    }
}

fn names(list: &[String], command: &str) -> bool {
    let family = command.split('.').next().unwrap_or(command);
    list.iter().any(|it| it == command || it == family)
}

/// A request that waits for a node, or was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoke {
    /// Whose it is.
    pub owner: OwnerId,
    /// Its name, on the wire too.
    pub id: InvokeId,
    /// Who is asked.
    pub node: DeviceId,
    /// `system.which`.
    pub command: String,
    /// The text of the parameters; none when there are none.
    pub params: Option<String>,
    /// The caller's key: the same key is the same request.
    pub key: String,
    /// Of node, command and parameters as the caller sent them.
    pub digest: String,
    /// Surface and principal, or the run.
    pub asked_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when an answer counts.
    pub deadline_at: Timestamp,
    /// What came of it; none: nothing yet.
    pub answer: Option<InvokeAnswer>,
}

impl Invoke {
    /// Whether an answer would still count.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.answer.is_none() && now < self.deadline_at
    }
}

/// What a node answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvokeAnswer {
    /// It worked; the text of the payload.
    Done(Option<String>),
    /// It did not.
    Failed {
        /// The node's word.
        code: Option<String>,
        /// What it said.
        message: String,
    },
}

impl InvokeAnswer {
    /// Bytes it takes to keep.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Done(payload) => payload.as_ref().map_or(0, String::len),
            Self::Failed { code, message } => code.as_ref().map_or(0, String::len) + message.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const MONO: Duration = Duration::from_secs(100);

    fn device(n: u8) -> DeviceId {
        DeviceId::parse(format!("{n:064x}")).unwrap()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|it| (*it).to_owned()).collect()
    }

    fn lease(group: Group, node: Option<DeviceId>, seconds: u64) -> Lease {
        let life = Duration::from_secs(seconds);
        Lease {
            id: LeaseId::from_u128(1),
            group,
            node,
            granted_by: "test".to_owned(),
            at: NOW,
            expires_at: NOW.plus(life),
            expires_mono: MONO + life,
            uses_left: None,
        }
    }

    fn ask(
        command: &str,
        platform: PlatformKind,
        (claimed, approved): (&[&str], &[&str]),
        rules: (&[&str], &[&str]),
        leases: &[Lease],
    ) -> Result<Ground, Refused> {
        let node = device(1);
        let words = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let (allow, deny) = (words(rules.0), words(rules.1));
        let facts = NodeFacts {
            node: &node,
            platform,
            claimed: &set(claimed),
            approved: &set(approved),
        };
        let rules = NodeRules {
            allow: &allow,
            deny: &deny,
        };
        may_invoke(command, facts, rules, leases, NOW, MONO)
    }

    // covers: D9
    #[test]
    fn claims_and_approvals_only_narrow() {
        let linux = PlatformKind::Linux;
        let which = "system.which";
        assert_eq!(
            ask(which, linux, (&[which], &[which]), (&[], &[]), &[]),
            Ok(Ground::Standing)
        );
        assert_eq!(
            ask(which, linux, (&[], &[which]), (&[which], &[]), &[]),
            Err(Refused::NotDeclared)
        );
        assert_eq!(
            ask(which, linux, (&[which], &[]), (&[which], &[]), &[]),
            Err(Refused::NotApproved)
        );
        assert_eq!(
            ask(
                which,
                PlatformKind::Other,
                (&[which], &[which]),
                (&[], &[]),
                &[]
            ),
            Err(Refused::NotAllowed)
        );
        let run = "system.run";
        assert_eq!(
            ask(run, PlatformKind::Ios, (&[run], &[run]), (&[], &[]), &[]),
            Err(Refused::NotAllowed)
        );
    }

    #[test]
    fn what_is_private_needs_a_lease_for_this_group_and_this_node() {
        let snap = "camera.snap";
        let own = [snap];
        let both = (own.as_slice(), own.as_slice());
        let linux = PlatformKind::Linux;
        let with = |leases: &[Lease]| ask(snap, linux, both, (&[], &[]), leases);
        assert_eq!(with(&[]), Err(Refused::NotArmed(Group::Camera)));
        assert_eq!(
            with(&[lease(Group::Screen, None, 60)]),
            Err(Refused::NotArmed(Group::Camera))
        );
        assert_eq!(
            with(&[lease(Group::Camera, Some(device(2)), 60)]),
            Err(Refused::NotArmed(Group::Camera))
        );
        let good = lease(Group::Camera, Some(device(1)), 60);
        assert_eq!(
            with(std::slice::from_ref(&good)),
            Ok(Ground::Lease(good.id))
        );
        assert_eq!(
            ask(snap, linux, both, (&[], &["camera"]), &[good]),
            Err(Refused::Denied)
        );
        assert_eq!(
            ask(snap, linux, both, (&["camera"], &[]), &[]),
            Ok(Ground::Standing)
        );
    }

    #[test]
    fn a_lease_is_over_when_either_clock_says_so_or_its_uses_are() {
        let it = lease(Group::Camera, None, 30);
        let second = Duration::from_secs(1);
        assert!(it.is_live(NOW.plus(29 * second), MONO + 29 * second));
        assert!(!it.is_live(NOW.plus(30 * second), MONO), "the wall clock");
        assert!(!it.is_live(NOW, MONO + 30 * second), "the monotonic clock");
        assert!(
            !it.is_live(Timestamp::from_millis(0), MONO),
            "the wall clock was set back"
        );
        let used = Lease {
            uses_left: Some(0),
            ..it
        };
        assert!(!used.is_live(NOW, MONO));
    }

    #[test]
    fn what_nobody_knows_is_let_through_by_the_owner_only() {
        let proxy = "browser.proxy";
        let own = [proxy];
        let both = (own.as_slice(), own.as_slice());
        let linux = PlatformKind::Linux;
        assert_eq!(
            ask(proxy, linux, both, (&[], &[]), &[]),
            Err(Refused::NotAllowed)
        );
        assert_eq!(
            ask(proxy, linux, both, (&["browser.proxy"], &[]), &[]),
            Ok(Ground::Standing)
        );
    }
}
