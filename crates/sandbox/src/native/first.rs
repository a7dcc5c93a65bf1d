//! The first process of the inside: furnishes it, starts the command, buries whoever dies there.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus};
use rustix::thread::CapabilitySet;

use super::enter::{give_up_capabilities, is_opened, named};
use super::{Plan, loopback, root};
use crate::inner::{self, Part};
use crate::plan::HOST_NAME;
use crate::spawn::keep_only;

/// Most capabilities that a kernel can have.
const CAPABILITIES_MAX: u32 = 64;

/// Plays the part; when it ends, the kernel kills everything inside.
pub(crate) fn first(
    plan: OwnedFd,
    inside: OwnedFd,
    gate: OwnedFd,
    report: OwnedFd,
    lifeline: OwnedFd,
) -> io::Result<ExitCode> {
    die_with(lifeline)?;
    // Nobody inside may look at us: our memory, our descriptors and our program are those of the host.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::setsid()?;
    let steps = inner::read::<Plan>(&plan)?.steps;
    rustix::system::sethostname(HOST_NAME.as_bytes()).map_err(named("the host name"))?;
    loopback::switch_on().map_err(named("the loopback interface"))?;
    root::furnish(&steps)?;
    let given = inner::numbers([&inside, &report]);
    keep_only(&given)?;
    give_up_everything()?;
    if !is_opened(gate)? {
        return Err(io::Error::other("the process that asked for this is gone"));
    }
    let command = Command::new("/proc/self/exe")
        .arg0("adjutant")
        .args(inner::arguments(Part::Command, &given))
        .env_clear()
        .spawn()
        .map_err(named("the last part could not be started"))?;
    drop((inside, report));
    let command = i32::try_from(command.id()).ok().and_then(Pid::from_raw);
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Some(pid) == command => {
                return Ok(ExitCode::from(as_a_shell_says(status)));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Asks the kernel to kill us when the outer part is gone; if it is gone already, its end of the pipe is closed.
fn die_with(lifeline: OwnedFd) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut ends = [PollFd::from_borrowed_fd(lifeline.as_fd(), PollFlags::IN)];
    if rustix::event::poll(&mut ends, Some(&at_once))? != 0 {
        return Err(io::Error::other("the outer part is gone"));
    }
    Ok(())
}

/// No capability, none that could come back, no new privileges.
fn give_up_everything() -> io::Result<()> {
    for number in 0..CAPABILITIES_MAX {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // The kernel has no more of them.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    give_up_capabilities()?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

fn as_a_shell_says(status: WaitStatus) -> u8 {
    let code = status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|it| 128 + it))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
