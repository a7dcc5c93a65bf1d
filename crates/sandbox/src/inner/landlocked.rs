//! Landlock: what may be touched, said once more to a part of the kernel that knows nothing of mounts.
//!
//! A rule holds for what lies beneath a directory *as seen from the inside*. Should a process get hold of a directory of
//! the host by a hole in mounts or namespaces, no rule leads there, so it reads and writes nothing.

use std::io;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
    path_beneath_rules,
};

use crate::plan::Reach;

/// The newest version whose rights were looked at, one by one. Older kernels get what they have of it.
const KNOWN: ABI = ABI::V7;

/// Confines this process and all it starts; the version that is enforced, or 0.
///
/// A kernel without Landlock is no error, because it is the second wall. A kernel with it that refuses is one.
pub(super) fn confine(reach: &Reach) -> io::Result<u32> {
    let status = restrict(reach).map_err(io::Error::other)?;
    Ok(match (status.ruleset, status.landlock) {
        (landlock::RulesetStatus::NotEnforced, _) => 0,
        (_, LandlockStatus::Available { effective_abi, .. }) => effective_abi as u32,
        (_, _) => 0,
    })
}

fn restrict(reach: &Reach) -> Result<RestrictionStatus, RulesetError> {
    let read = AccessFs::from_read(KNOWN);
    // Sockets and devices are no business of a command: the one leads to others, the other to the kernel.
    let made = AccessFs::MakeSock | AccessFs::MakeChar | AccessFs::MakeBlock;
    let write = AccessFs::from_all(KNOWN) & !made & !AccessFs::IoctlDev;
    let device = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::IoctlDev;
    let ruleset = Ruleset::default()
        // Before version 2 nothing could be moved from one directory to another, which breaks honest programs.
        .set_compatibility(CompatLevel::SoftRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?;
    // The names at the top of the inside are no secret.
    let ruleset = allow(ruleset, &["/".into()], AccessFs::ReadDir.into())?;
    let ruleset = allow(ruleset, &reach.readable, read)?;
    let ruleset = allow(ruleset, &reach.writable, write)?;
    let ruleset = allow(ruleset, &reach.devices, device)?;
    ruleset.restrict_self()
}

/// A path that is not there needs no rule.
fn allow(
    ruleset: RulesetCreated,
    paths: &[std::path::PathBuf],
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    ruleset.add_rules(path_beneath_rules(paths, access))
}
