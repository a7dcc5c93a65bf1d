//! The outer part: makes the namespaces, starts their first process, waits for its end.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};

use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

use super::Plan;
use crate::inner::{self, Part};
use crate::plan::USER_ID;
use crate::spawn::keep_only;

/// What the first process needs to furnish the inside, and gives away before the command starts: to mount, to switch on
/// the loopback, to give up the rest.
const TO_FURNISH: [CapabilitySet; 3] = [
    CapabilitySet::SYS_ADMIN,
    CapabilitySet::NET_ADMIN,
    CapabilitySet::SETPCAP,
];

/// The descriptors of this part.
pub(crate) struct Ends {
    /// The [`Plan`].
    pub(crate) plan: OwnedFd,
    /// What the last part reads.
    pub(crate) inside: OwnedFd,
    /// Where we tell the number of the first process and how it ended.
    pub(crate) status: OwnedFd,
    /// What the first process waits for.
    pub(crate) gate: OwnedFd,
    /// Where the last part says that all walls stand.
    pub(crate) report: OwnedFd,
}

/// Plays the part; the exit code is that of the command.
pub(crate) fn enter(ends: Ends) -> io::Result<ExitCode> {
    let plan: Plan = inner::read(&ends.plan)?;
    die_with(plan.parent)?;
    make_namespaces()?;
    // A change of identity makes the kernel forget.
    die_with(plan.parent)?;
    keep_capabilities_across_exec()?;
    let Ends {
        plan,
        inside,
        status,
        gate,
        report,
    } = ends;
    // Held open until we die; the first process cannot ask who its parent is, for it is not in its world.
    let (lifeline, _held) = rustix::pipe::pipe_with(PipeFlags::empty())?;
    let given = inner::numbers([&plan, &inside, &gate, &report, &lifeline]);
    keep_only(&given)?;
    let mut first = Command::new("/proc/self/exe")
        .arg0("adjutant")
        .args(inner::arguments(Part::First, &given))
        .env_clear()
        .spawn()?;
    drop((plan, inside, gate, report, lifeline));
    give_up_capabilities()?;
    let mut status = fs::File::from(status);
    writeln!(status, r#"{{"child-pid":{}}}"#, first.id())?;
    let code = as_a_shell_says(first.wait()?);
    writeln!(status, r#"{{"exit-code":{code}}}"#)?;
    Ok(ExitCode::from(code))
}

/// Asks the kernel to kill us when `parent` is gone; it may be gone already.
fn die_with(parent: i32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid()
        .map(Pid::as_raw_nonzero)
        .map(i32::from)
        != Some(parent)
    {
        return Err(io::Error::other(
            "the process that started this one is gone",
        ));
    }
    Ok(())
}

fn make_namespaces() -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let all = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    unshare(all).map_err(named("no user namespace could be made"))?;
    // Nobody inside may drop a group: one that keeps somebody out of a file would no longer do so.
    write("/proc/self/setgroups", "deny")?;
    write(
        "/proc/self/uid_map",
        &format!("{USER_ID} {} 1", user.as_raw()),
    )?;
    write(
        "/proc/self/gid_map",
        &format!("{USER_ID} {} 1", group.as_raw()),
    )?;
    // The number counts for this namespace and all within, and nobody inside will be able to raise it.
    write("/proc/sys/user/max_user_namespaces", "0")
}

#[allow(unsafe_code)]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: unsafe only for `FILES`, which is not among them; this process has one thread besides.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

/// We are not uid 0 inside, so only what is *ambient* survives the start of the next part.
fn keep_capabilities_across_exec() -> io::Result<()> {
    let held = rustix::thread::capabilities(None)?;
    let needed = TO_FURNISH
        .into_iter()
        .fold(CapabilitySet::empty(), CapabilitySet::union);
    let inheritable = needed;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            inheritable,
            ..held
        },
    )?;
    TO_FURNISH.into_iter().try_for_each(|it| {
        rustix::thread::configure_capability_in_ambient_set(it, true)
            .map_err(named("a capability could not be kept"))
    })
}

/// Gives up every capability there is, for good.
pub(super) fn give_up_capabilities() -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    let none = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    rustix::thread::set_capabilities(None, none)?;
    Ok(())
}

fn write(path: &str, text: &str) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(path);
    file.and_then(|mut it| it.write_all(text.as_bytes()))
        .map_err(|error| io::Error::new(error.kind(), format!("{path} cannot be set: {error}")))
}

/// Puts what failed before why.
pub(super) fn named<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> io::Error {
    move |error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("{what}: {error}"))
    }
}

/// 128 plus the number of the signal, or the exit code.
pub(super) fn as_a_shell_says(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|it| 128 + it))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Waits for one byte; false if the other end was closed without one.
pub(super) fn is_opened(gate: OwnedFd) -> io::Result<bool> {
    Ok(fs::File::from(gate).read(&mut [0])? == 1)
}
