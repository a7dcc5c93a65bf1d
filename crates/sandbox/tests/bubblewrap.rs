//! The walls of bubblewrap, tried for real.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;

use adjutant_ports::sandbox::{
    Command, Ending, ProcessLimits, ProcessOutcome, Profile, Sandbox, SandboxError, WorkspaceAccess,
};
use adjutant_sandbox::{Bubblewrap, Config};

/// The driver, or `None` with a printed reason when this machine has no walls.
async fn walls() -> Option<Bubblewrap> {
    let sandbox = Bubblewrap::new(&Config::default());
    let report = sandbox.report().await;
    if !report.available {
        println!("SKIPPED: {}", report.missing.join("; "));
        return None;
    }
    Some(sandbox)
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

async fn run(sandbox: &Bubblewrap, script: &str) -> ProcessOutcome {
    let dir = tempfile::tempdir().unwrap();
    sandbox
        .run(
            sh(dir.path(), script),
            &profile(dir.path(), WorkspaceAccess::ReadWrite),
        )
        .await
        .unwrap()
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Processes of the host whose command line contains `mark`.
fn alive(mark: &str) -> usize {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = pids.filter_map(|it| std::fs::read(it.path().join("cmdline")).ok());
    lines
        .filter(|it| String::from_utf8_lossy(it).contains(mark))
        .count()
}

#[tokio::test]
async fn a_command_runs_and_its_output_status_and_input_come_through() {
    let Some(sandbox) = walls().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut command = sh(dir.path(), "cat; echo \"$GREETING\" >&2; pwd; exit 7");
    command.stdin = Bytes::from_static(b"from outside\n");
    command.env = vec![("GREETING".into(), "good day".into())];
    let outcome = sandbox
        .run(command, &profile(dir.path(), WorkspaceAccess::ReadOnly))
        .await
        .unwrap();
    assert_eq!(outcome.ending, Ending::Exited { code: 7 });
    let here = dir.path().canonicalize().unwrap();
    assert_eq!(
        text(&outcome.stdout),
        format!("from outside\n{}", here.display())
    );
    assert_eq!(text(&outcome.stderr), "good day");
    assert_eq!(outcome.stderr_total, 9);
}

#[tokio::test]
async fn a_signal_a_missing_program_and_a_file_that_is_no_program_are_told_apart() {
    let Some(sandbox) = walls().await else { return };
    let outcome = run(&sandbox, "kill -SEGV $$").await;
    assert_eq!(outcome.ending, Ending::Signalled { signal: 11 });
    let dir = tempfile::tempdir().unwrap();
    let profile = profile(dir.path(), WorkspaceAccess::ReadOnly);
    for (program, code) in [("no-such-program", 127), ("/etc/passwd", 126)] {
        let command = Command {
            argv: vec![program.into()],
            ..sh(dir.path(), "")
        };
        let outcome = sandbox.run(command, &profile).await.unwrap();
        assert_eq!(
            outcome.ending,
            Ending::Exited { code },
            "{}",
            text(&outcome.stderr)
        );
        assert!(text(&outcome.stderr).contains(program));
    }
}

#[tokio::test]
async fn the_workspace_is_writable_only_when_the_profile_says_so() {
    let Some(sandbox) = walls().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let script = "echo x > file";
    let read_only = sandbox
        .run(
            sh(dir.path(), script),
            &profile(dir.path(), WorkspaceAccess::ReadOnly),
        )
        .await
        .unwrap();
    assert_ne!(read_only.ending, Ending::Exited { code: 0 });
    assert!(!dir.path().join("file").exists());
    let writable = sandbox
        .run(
            sh(dir.path(), script),
            &profile(dir.path(), WorkspaceAccess::ReadWrite),
        )
        .await
        .unwrap();
    assert_eq!(
        writable.ending,
        Ending::Exited { code: 0 },
        "{}",
        text(&writable.stderr)
    );
    assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"x\n");
}

// covers: S34
#[tokio::test]
async fn without_bubblewrap_a_command_is_refused_and_not_run_on_the_host() {
    let dir = tempfile::tempdir().unwrap();
    for search_path in [
        None,
        Some(OsString::from("/nonexistent")),
        Some(OsString::from("relative/bin")),
    ] {
        let sandbox = Bubblewrap::with_search_path(&Config::default(), search_path);
        let result = sandbox
            .run(
                sh(dir.path(), "touch ran"),
                &profile(dir.path(), WorkspaceAccess::ReadWrite),
            )
            .await;
        let Err(SandboxError::Unavailable { reason }) = result else {
            panic!("{result:?}")
        };
        assert!(reason.contains("apt install bubblewrap"), "{reason}");
        assert!(!sandbox.report().await.available);
    }
    assert!(!dir.path().join("ran").exists());
}

// covers: S34
#[tokio::test]
async fn without_user_namespaces_a_command_is_refused_and_not_run_on_the_host() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let fake = dir.path().join("bwrap");
    let switches =
        "--args --add-seccomp-fd --block-fd --json-status-fd --perms --size --disable-userns";
    let refusal = "bwrap: No permissions to create new namespace";
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --help ] && echo '{switches}' && exit 0\necho '{refusal}' >&2\nexit 1\n"
    );
    std::fs::write(&fake, script).unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let sandbox = Bubblewrap::with_search_path(&Config::default(), Some(dir.path().into()));
    let result = sandbox
        .run(
            sh(dir.path(), "touch ran"),
            &profile(dir.path(), WorkspaceAccess::ReadWrite),
        )
        .await;
    let Err(SandboxError::Unavailable { reason }) = result else {
        panic!("{result:?}")
    };
    assert!(
        reason.contains(refusal) && reason.contains("user namespaces"),
        "{reason}"
    );
    assert!(!dir.path().join("ran").exists());
}

// covers: R32, S38
#[tokio::test]
async fn a_command_that_hangs_and_ignores_signals_is_gone_at_its_limit() {
    let Some(sandbox) = walls().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut profile = profile(dir.path(), WorkspaceAccess::ReadOnly);
    profile.limits.wall = Duration::from_millis(700);
    let script = "trap '' TERM INT HUP QUIT; (setsid sh -c 'trap \"\" TERM HUP; exec sleep 7301.11' &) ; sleep 7301.11";
    let started = Instant::now();
    let outcome = sandbox.run(sh(dir.path(), script), &profile).await.unwrap();
    assert_eq!(outcome.ending, Ending::TimedOut);
    assert!(
        started.elapsed() < profile.limits.wall + Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(alive("7301.11"), 0);
}

// covers: R32
#[tokio::test]
async fn a_grandchild_that_holds_the_pipes_does_not_keep_us_waiting_and_does_not_survive() {
    let Some(sandbox) = walls().await else { return };
    let started = Instant::now();
    let outcome = run(&sandbox, "setsid sh -c 'sleep 7302.22' & echo done").await;
    assert_eq!(outcome.ending, Ending::Exited { code: 0 });
    assert_eq!(text(&outcome.stdout), "done");
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(alive("7302.22"), 0);
}

// covers: R32, S38
#[tokio::test]
async fn a_command_that_prints_a_gigabyte_is_killed_and_only_the_bound_is_kept() {
    let Some(sandbox) = walls().await else { return };
    let outcome = run(&sandbox, "head -c 1073741824 /dev/zero; echo survived >&2").await;
    assert_eq!(outcome.ending, Ending::OutputFlood);
    let limits = ProcessLimits::default();
    assert_eq!(outcome.stdout.len() as u64, limits.kept_output_bytes);
    assert!(
        limits.output_bytes_max < outcome.stdout_total
            && outcome.stdout_total < 2 * limits.output_bytes_max
    );
    assert_eq!(outcome.stderr_total, 0);
}

// covers: S38, R32
#[tokio::test]
async fn a_fork_bomb_stays_below_its_ceiling_and_is_gone_at_its_limit() {
    let Some(sandbox) = walls().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut profile = profile(dir.path(), WorkspaceAccess::ReadOnly);
    profile.limits.wall = Duration::from_secs(2);
    profile.limits.pids = 40;
    let script = "(for i in 1 2 3 4; do (while :; do sleep 7303.33 & done) & done; wait) & exec sleep 7303.33";
    let started = Instant::now();
    let command = sh(dir.path(), script);
    let running = sandbox.run(command, &profile);
    let watching = async {
        let mut most = 0;
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            most = most.max(alive("7303.33"));
        }
        most
    };
    let (outcome, most) = tokio::join!(running, watching);
    println!("{most} processes at most, {:?}", outcome.unwrap().ending);
    assert!((1..=45).contains(&most), "{most}");
    assert!(started.elapsed() < profile.limits.wall + Duration::from_secs(3));
    assert_eq!(alive("7303.33"), 0);
}

// covers: S26
#[tokio::test]
async fn dropping_the_future_kills_the_tree() {
    let Some(sandbox) = walls().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let profile = profile(dir.path(), WorkspaceAccess::ReadWrite);
    let script = "trap '' TERM; (setsid sleep 7304.44 &); touch started; sleep 7304.44";
    let running = sandbox.run(sh(dir.path(), script), &profile);
    let started = async {
        while !dir.path().join("started").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        outcome = running => panic!("{outcome:?}"),
        () = started => {}
    }
    let end = Instant::now() + Duration::from_secs(3);
    while 0 < alive("7304.44") {
        assert!(Instant::now() < end, "the tree is still alive");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

// covers: S38
#[tokio::test]
async fn memory_is_bounded_for_one_process_and_for_all_together() {
    let Some(sandbox) = walls().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut profile = profile(dir.path(), WorkspaceAccess::ReadOnly);
    profile.limits.memory_bytes = 64 << 20;
    let one = "head -c 200000000 /dev/zero | tail -c 150000000 | wc -c";
    let outcome = sandbox.run(sh(dir.path(), one), &profile).await.unwrap();
    assert_ne!(text(&outcome.stdout), "150000000");
    let fits = "head -c 20000000 /dev/zero | tail -c 10000000 | wc -c";
    let outcome = sandbox.run(sh(dir.path(), fits), &profile).await.unwrap();
    assert_eq!(text(&outcome.stdout), "10000000");

    // No single one of these is too large. The kernel kills some of them, we kill all.
    let one = "perl -e '$n = 20 << 20; $x = \"x\" x $n; sleep 2; print \"kept\n\"'";
    let many = format!("for i in 1 2 3 4 5 6; do {one} & done; wait");
    let outcome = sandbox.run(sh(dir.path(), &many), &profile).await.unwrap();
    if text(&outcome.stderr).contains("not found") {
        println!("SKIPPED: `perl` is missing");
        return;
    }
    let n_kept = text(&outcome.stdout).matches("kept").count();
    println!("{n_kept} of 6 survived, {:?}", outcome.ending);
    assert!(n_kept < 6);
    profile.limits.memory_bytes = 1 << 30;
    let outcome = sandbox.run(sh(dir.path(), &many), &profile).await.unwrap();
    assert_eq!(text(&outcome.stdout).matches("kept").count(), 6);
}

// covers: S33
#[tokio::test]
async fn the_environment_is_made_up_and_control_variables_are_refused() {
    let Some(sandbox) = walls().await else { return };
    let outcome = run(&sandbox, "env").await;
    let mut names: Vec<String> = text(&outcome.stdout)
        .lines()
        .filter_map(|it| it.split_once('='))
        .map(|(name, _)| name.to_owned())
        .collect();
    names.sort();
    // The git settings are the neutral ones: no repository runs a program of its own.
    for line in [
        "GIT_CONFIG_KEY_1=core.hooksPath",
        "GIT_CONFIG_VALUE_1=/dev/null",
    ] {
        assert!(text(&outcome.stdout).lines().any(|it| it == line), "{line}");
    }
    names.retain(|name| !name.starts_with("GIT_") && name != "PAGER");
    assert_eq!(
        names,
        [
            "HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "USER"
        ]
    );
    let dir = tempfile::tempdir().unwrap();
    let mut command = sh(dir.path(), "true");
    command.env = vec![("LD_PRELOAD".into(), "/tmp/x.so".into())];
    let result = sandbox
        .run(command, &profile(dir.path(), WorkspaceAccess::ReadOnly))
        .await;
    assert!(matches!(result, Err(SandboxError::Refused { .. })));
}

// covers: S35
#[tokio::test]
async fn hidden_paths_inside_the_workspace_are_empty() {
    let Some(sandbox) = walls().await else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("state")).unwrap();
    std::fs::write(dir.path().join("state/token"), "planted").unwrap();
    std::fs::write(dir.path().join("secret"), "planted").unwrap();
    let mut profile = profile(dir.path(), WorkspaceAccess::ReadWrite);
    profile.hidden = vec![dir.path().join("state"), dir.path().join("secret")];
    let outcome = sandbox
        .run(
            sh(dir.path(), "ls state; cat secret; echo x > state/y"),
            &profile,
        )
        .await
        .unwrap();
    assert_eq!(text(&outcome.stdout), "");
    assert_ne!(outcome.ending, Ending::Exited { code: 0 });
    assert!(!dir.path().join("state/y").exists());
}

#[tokio::test]
async fn many_commands_at_once_do_not_mix() {
    let Some(sandbox) = walls().await else { return };
    let all = (0..16).map(|n| {
        let sandbox = &sandbox;
        async move { text(&run(sandbox, &format!("echo {n}")).await.stdout) }
    });
    let all = futures::future::join_all(all).await;
    assert_eq!(all, (0..16).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_walls_cost_milliseconds() {
    let Some(sandbox) = walls().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let profile = profile(dir.path(), WorkspaceAccess::ReadOnly);
    let command = Command {
        argv: vec!["/bin/true".into()],
        ..sh(dir.path(), "")
    };
    let mut with = Vec::new();
    let mut without = Vec::new();
    for _ in 0..40 {
        let started = Instant::now();
        sandbox.run(command.clone(), &profile).await.unwrap();
        with.push(started.elapsed());
        let started = Instant::now();
        tokio::process::Command::new("/bin/true")
            .output()
            .await
            .unwrap();
        without.push(started.elapsed());
    }
    with.sort();
    without.sort();
    println!("median behind walls {:?}, bare {:?}", with[20], without[20]);
    // Generous, because tests share the machine: this catches an accidental wait, not a slow day.
    assert!(with[10] < Duration::from_millis(500), "{:?}", with[10]);
}

/// Not a test of its own: the process that the next test kills.
#[tokio::test]
#[ignore = "runs only as a child of another test"]
async fn hold_a_command_open() {
    let Some(sandbox) = walls().await else { return };
    run(
        &sandbox,
        "trap '' TERM HUP; (setsid sleep 7305.55 &); sleep 7305.55",
    )
    .await;
}

// covers: R35
#[tokio::test]
async fn a_command_does_not_outlive_a_caller_that_is_killed() {
    let Some(_) = walls().await else { return };
    let mut caller = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hold_a_command_open", "--ignored"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let until = |wanted: fn(usize) -> bool| async move {
        let end = Instant::now() + Duration::from_secs(10);
        while !wanted(alive("7305.55")) {
            assert!(Instant::now() < end, "{} alive", alive("7305.55"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // The launcher, its inner twin, the shell and both sleeps carry the mark.
    until(|n| 4 <= n).await;
    caller.kill().unwrap();
    caller.wait().unwrap();
    until(|n| n == 0).await;
}
