//! Another kernel than that of Linux.

use super::Findings;

/// Nothing that the walls of Linux need is here.
pub(super) fn look(found: &mut Findings) {
    for id in [
        "kernel.version",
        "kernel.user_namespaces",
        "kernel.seccomp",
        "kernel.cgroups",
        "kernel.landlock",
    ] {
        found.skipped(id, "Linux only");
    }
}
