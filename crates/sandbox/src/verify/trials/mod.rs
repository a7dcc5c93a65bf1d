//! The attempts. One entry each: what is tried, how, and how to tell from outside that it failed.

mod kernel;
mod limits;
mod reach;

use adjutant_ports::sandbox::{ProcessLimits, WorkspaceAccess};

use super::Seen;
use super::scene::Scene;

/// What an attempt is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Shell,
    /// For system calls that have no program.
    Perl,
}

type Judge = Box<dyn Fn(&Scene, &Seen<'_>) -> Result<String, String> + Send + Sync>;

/// One attempt.
pub(super) struct Trial {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) tool: Tool,
    pub(super) access: WorkspaceAccess,
    pub(super) script: String,
    pub(super) adjust: fn(&mut ProcessLimits),
    pub(super) judge: Judge,
}

impl Trial {
    fn new(
        name: &'static str,
        what: &'static str,
        tool: Tool,
        script: impl Into<String>,
        judge: impl Fn(&Scene, &Seen<'_>) -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            what,
            tool,
            access: WorkspaceAccess::ReadWrite,
            script: script.into(),
            adjust: |_| {},
            judge: Box::new(judge),
        }
    }

    /// An attempt whose every line must end in `refused`, down to the last one.
    fn refused(
        name: &'static str,
        what: &'static str,
        tool: Tool,
        script: impl Into<String>,
    ) -> Self {
        let script = script.into();
        let end = match tool {
            Tool::Shell => "echo 'end refused'",
            Tool::Perl => "print \"end refused\\n\";",
        };
        Self::new(name, what, tool, format!("{script}\n{end}"), all_refused)
    }

    fn with(self, adjust: fn(&mut ProcessLimits)) -> Self {
        Self { adjust, ..self }
    }
}

/// All attempts, against this scenery.
pub(super) fn all(scene: &Scene) -> Vec<Trial> {
    let mut all = reach::reading(scene);
    all.extend(reach::writing(scene));
    all.extend(reach::processes(scene));
    all.extend(reach::network(scene));
    all.extend(kernel::kernel_walls());
    all.extend(kernel::kernel_rooms());
    all.extend(kernel::inheritance());
    all.extend(limits::ceilings());
    all.extend(limits::ending(scene));
    all
}

/// Held when the planted text was not printed.
fn no_secret(scene: &Scene, seen: &Seen<'_>) -> Result<String, String> {
    match seen.said.contains(&scene.secret) {
        true => Err("the planted text was read".to_owned()),
        false => Ok("the planted text was not readable".to_owned()),
    }
}

/// `observed` is worded as it is when the walls hold.
fn held_if(holds: bool, observed: impl Into<String>) -> Result<String, String> {
    let observed = observed.into();
    match holds {
        true => Ok(observed),
        false => Err(format!("this does not hold: {observed}")),
    }
}

/// Held when every line the attempt printed says that a call was refused, and it came to its end.
fn all_refused(_: &Scene, seen: &Seen<'_>) -> Result<String, String> {
    let Some(tried) = seen.said.strip_suffix("end refused") else {
        return Err(format!(
            "it broke off: {} {}",
            seen.said,
            super::text(&seen.outcome.stderr)
        ));
    };
    let (refused, through): (Vec<&str>, Vec<&str>) =
        tried.lines().partition(|it| it.ends_with("refused"));
    match through.is_empty() {
        true => Ok(refused.join(", ")),
        false => Err(through.join(", ")),
    }
}

/// A script that makes each call and says whether it was refused.
fn calls(list: &[(&str, i64, &str)]) -> String {
    let line = |(name, number, arguments): &(&str, i64, &str)| {
        // The arguments stand in an array because a system call may change them, and constants cannot be changed.
        format!("@a = ({arguments}); say_refused('{name}', syscall({number}, @a));")
    };
    let lines: Vec<String> = list.iter().map(line).collect();
    // Only a wall says `EPERM`, `EACCES` or `ENOSYS`; any other error means that the kernel looked at the arguments.
    let judge = "sub say_refused { my ($n, $r) = @_; my $e = $! + 0; my $wall = $r == -1 && ($e == 1 || $e == 13 || $e == 38); \
                 print \"$n \", ($wall ? 'refused' : \"went through ($r, errno $e)\"), \"\\n\"; }";
    format!("{judge}\n{}", lines.join("\n"))
}
