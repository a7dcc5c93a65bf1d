//! The walls, tried for real, once for every way in which they can be built.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod behaviour;
mod refusals;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use adjutant_ports::sandbox::{Command, ProcessLimits, Profile, Sandbox, WorkspaceAccess};
use adjutant_sandbox::{Bubblewrap, Config, Inner, Native};

/// One way to build walls that works on this machine.
struct Walls {
    name: &'static str,
    number: u8,
    sandbox: Box<dyn Sandbox>,
}

impl Walls {
    /// `None` with a printed reason when this machine cannot build them.
    async fn try_build(name: &'static str) -> Option<Self> {
        let config = Config::default();
        let path = std::env::var_os("PATH");
        let (number, sandbox): (u8, Box<dyn Sandbox>) = match name {
            "bubblewrap_alone" => (11, Box::new(Bubblewrap::with(&config, path, None))),
            "bubblewrap_with_landlock" => {
                (22, Box::new(Bubblewrap::with(&config, path, Some(inner()))))
            }
            "native" => (33, Box::new(Native::with_inner(&config, Some(inner())))),
            other => panic!("{other}"),
        };
        let report = sandbox.report().await;
        if !report.available {
            println!("SKIPPED: {}", report.missing.join("; "));
            return None;
        }
        Some(Self {
            name,
            number,
            sandbox,
        })
    }

    /// A mark for the command line of `sleep` that nobody else uses.
    fn mark(&self, base: u32) -> String {
        format!("{base}.{}", self.number)
    }

    /// `script` with that mark for `MARK`.
    fn marked(&self, base: u32, script: &str) -> String {
        script.replace("MARK", &self.mark(base))
    }
}

/// The program that plays the inner parts in tests.
fn inner() -> Inner {
    Inner::at(Path::new(env!("CARGO_BIN_EXE_sandbox-inner"))).unwrap()
}

fn sh(cwd: &Path, script: &str) -> Command {
    let argv = ["sh", "-c", script].map(String::from).to_vec();
    Command {
        argv,
        cwd: cwd.into(),
        env: vec![],
        stdin: Bytes::new(),
    }
}

fn profile(workspace: &Path, access: WorkspaceAccess) -> Profile {
    Profile {
        workspace: workspace.into(),
        access,
        read_only: vec![],
        hidden: vec![],
        limits: ProcessLimits {
            wall: Duration::from_secs(20),
            ..ProcessLimits::default()
        },
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// One module per way, with a test per behaviour.
macro_rules! behind {
    ($($way:ident),* => $behaviours:tt) => { $(behind!(@ $way $behaviours);)* };
    (@ $way:ident { $($behaviour:ident,)* }) => {
        mod $way {
            use crate::{Walls, behaviour};

            $(
                #[tokio::test]
                async fn $behaviour() {
                    let Some(walls) = Walls::try_build(stringify!($way)).await else { return };
                    behaviour::$behaviour(&walls).await;
                }
            )*

            #[tokio::test]
            #[ignore = "runs only as a child of another test"]
            async fn hold_a_command_open() {
                let Some(walls) = Walls::try_build(stringify!($way)).await else { return };
                behaviour::hold_a_command_open(&walls).await;
            }
        }
    };
}

behind!(bubblewrap_alone, bubblewrap_with_landlock, native => {
    a_command_runs_and_its_output_status_and_input_come_through,
    a_signal_a_missing_program_and_a_file_that_is_no_program_are_told_apart,
    the_workspace_is_writable_only_when_the_profile_says_so,
    a_command_that_hangs_and_ignores_signals_is_gone_at_its_limit,
    a_grandchild_that_holds_the_pipes_does_not_keep_us_waiting_and_does_not_survive,
    a_command_that_prints_a_gigabyte_is_killed_and_only_the_bound_is_kept,
    a_fork_bomb_stays_below_its_ceiling_and_is_gone_at_its_limit,
    dropping_the_future_kills_the_tree,
    memory_is_bounded_for_one_process_and_for_all_together,
    the_environment_is_made_up_and_control_variables_are_refused,
    hidden_paths_inside_the_workspace_are_empty,
    many_commands_at_once_do_not_mix,
    the_walls_cost_milliseconds,
    a_command_does_not_outlive_a_caller_that_is_killed,
    programs_inside_can_talk_to_themselves_over_the_loopback,
    ordinary_work_with_files_devices_and_terminals_goes_on,
    a_granted_directory_inside_the_workspace_stays_read_only,
    a_workspace_in_var_tmp_is_there_and_beside_one_elsewhere_it_is_the_private_tmp,
    with_landlock_nobody_inside_can_signal_the_process_that_holds_the_walls,
});
