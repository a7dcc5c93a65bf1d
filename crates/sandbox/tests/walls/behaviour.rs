//! What a command sees and does behind walls, whoever built them.

use std::time::{Duration, Instant};

use bytes::Bytes;

use adjutant_ports::sandbox::{
    Command, Ending, ProcessLimits, ProcessOutcome, Sandbox, SandboxError, WorkspaceAccess,
};

use crate::{Walls, profile, sh, text};

async fn run(sandbox: &dyn Sandbox, script: &str) -> ProcessOutcome {
    let dir = tempfile::tempdir().unwrap();
    sandbox
        .run(
            sh(dir.path(), script),
            &profile(dir.path(), WorkspaceAccess::ReadWrite),
        )
        .await
        .unwrap()
}

/// Processes of the host whose command line contains `mark`.
fn alive(mark: &str) -> usize {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = pids.filter_map(|it| std::fs::read(it.path().join("cmdline")).ok());
    lines
        .filter(|it| String::from_utf8_lossy(it).contains(mark))
        .count()
}

pub(crate) async fn a_command_runs_and_its_output_status_and_input_come_through(walls: &Walls) {
    let sandbox = &*walls.sandbox;
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

pub(crate) async fn a_signal_a_missing_program_and_a_file_that_is_no_program_are_told_apart(
    walls: &Walls,
) {
    let sandbox = &*walls.sandbox;
    let outcome = run(sandbox, "kill -SEGV $$").await;
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

pub(crate) async fn the_workspace_is_writable_only_when_the_profile_says_so(walls: &Walls) {
    let sandbox = &*walls.sandbox;
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

// covers: R32, S38
pub(crate) async fn a_command_that_hangs_and_ignores_signals_is_gone_at_its_limit(walls: &Walls) {
    let sandbox = &*walls.sandbox;
    let dir = tempfile::tempdir().unwrap();
    let mut profile = profile(dir.path(), WorkspaceAccess::ReadOnly);
    profile.limits.wall = Duration::from_millis(700);
    let script = walls.marked(7301, "trap '' TERM INT HUP QUIT; (setsid sh -c 'trap \"\" TERM HUP; exec sleep MARK' &) ; sleep MARK");
    let started = Instant::now();
    let outcome = sandbox
        .run(sh(dir.path(), &script), &profile)
        .await
        .unwrap();
    assert_eq!(outcome.ending, Ending::TimedOut);
    assert!(
        started.elapsed() < profile.limits.wall + Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(alive(&walls.mark(7301)), 0);
}

// covers: R32
pub(crate) async fn a_grandchild_that_holds_the_pipes_does_not_keep_us_waiting_and_does_not_survive(
    walls: &Walls,
) {
    let sandbox = &*walls.sandbox;
    let started = Instant::now();
    let outcome = run(
        sandbox,
        &walls.marked(7302, "setsid sh -c 'sleep MARK' & echo done"),
    )
    .await;
    assert_eq!(outcome.ending, Ending::Exited { code: 0 });
    assert_eq!(text(&outcome.stdout), "done");
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(alive(&walls.mark(7302)), 0);
}

// covers: R32, S38
pub(crate) async fn a_command_that_prints_a_gigabyte_is_killed_and_only_the_bound_is_kept(
    walls: &Walls,
) {
    let sandbox = &*walls.sandbox;
    let outcome = run(sandbox, "head -c 1073741824 /dev/zero; echo survived >&2").await;
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
pub(crate) async fn a_fork_bomb_stays_below_its_ceiling_and_is_gone_at_its_limit(walls: &Walls) {
    let sandbox = &*walls.sandbox;
    let dir = tempfile::tempdir().unwrap();
    let mut profile = profile(dir.path(), WorkspaceAccess::ReadOnly);
    profile.limits.wall = Duration::from_secs(2);
    profile.limits.pids = 40;
    let script = walls.marked(
        7303,
        "(for i in 1 2 3 4; do (while :; do sleep MARK & done) & done; wait) & exec sleep MARK",
    );
    let started = Instant::now();
    let command = sh(dir.path(), &script);
    let running = sandbox.run(command, &profile);
    let watching = async {
        let mut most = 0;
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            most = most.max(alive(&walls.mark(7303)));
        }
        most
    };
    let (outcome, most) = tokio::join!(running, watching);
    println!("{most} processes at most, {:?}", outcome.unwrap().ending);
    assert!((1..=45).contains(&most), "{most}");
    assert!(started.elapsed() < profile.limits.wall + Duration::from_secs(3));
    assert_eq!(alive(&walls.mark(7303)), 0);
}

// covers: S26
pub(crate) async fn dropping_the_future_kills_the_tree(walls: &Walls) {
    let sandbox = &*walls.sandbox;
    let dir = tempfile::tempdir().unwrap();
    let profile = profile(dir.path(), WorkspaceAccess::ReadWrite);
    let script = walls.marked(
        7304,
        "trap '' TERM; (setsid sleep MARK &); touch started; sleep MARK",
    );
    let running = sandbox.run(sh(dir.path(), &script), &profile);
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
    while 0 < alive(&walls.mark(7304)) {
        assert!(Instant::now() < end, "the tree is still alive");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

// covers: S38
pub(crate) async fn memory_is_bounded_for_one_process_and_for_all_together(walls: &Walls) {
    let sandbox = &*walls.sandbox;
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
pub(crate) async fn the_environment_is_made_up_and_control_variables_are_refused(walls: &Walls) {
    let sandbox = &*walls.sandbox;
    let outcome = run(sandbox, "env").await;
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
pub(crate) async fn hidden_paths_inside_the_workspace_are_empty(walls: &Walls) {
    let sandbox = &*walls.sandbox;
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

pub(crate) async fn many_commands_at_once_do_not_mix(walls: &Walls) {
    let sandbox = &*walls.sandbox;
    let all =
        (0..16).map(|n| async move { text(&run(sandbox, &format!("echo {n}")).await.stdout) });
    let all = futures::future::join_all(all).await;
    assert_eq!(all, (0..16).map(|n| n.to_string()).collect::<Vec<_>>());
}

pub(crate) async fn the_walls_cost_milliseconds(walls: &Walls) {
    let sandbox = &*walls.sandbox;
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

// covers: R35
pub(crate) async fn a_command_does_not_outlive_a_caller_that_is_killed(walls: &Walls) {
    let mut caller = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("{}::hold_a_command_open", walls.name),
            "--ignored",
        ])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mark = walls.mark(7305);
    let until = async |wanted: fn(usize) -> bool| {
        let end = Instant::now() + Duration::from_secs(10);
        while !wanted(alive(&mark)) {
            assert!(Instant::now() < end, "{} alive", alive(&mark));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // The shell and both sleeps carry the mark.
    until(|n| 3 <= n).await;
    caller.kill().unwrap();
    caller.wait().unwrap();
    until(|n| n == 0).await;
}

/// Not a test of its own: the process that the next test kills.
pub(crate) async fn hold_a_command_open(walls: &Walls) {
    let script = "trap '' TERM HUP; (setsid sleep MARK &); sleep MARK";
    run(&*walls.sandbox, &walls.marked(7305, script)).await;
}

// covers: D18
pub(crate) async fn programs_inside_can_talk_to_themselves_over_the_loopback(walls: &Walls) {
    let script = r#"
        use Socket; socket(L, PF_INET, SOCK_STREAM, 0) or die "socket $!";
        bind(L, sockaddr_in(0, INADDR_LOOPBACK)) or die "bind $!"; listen(L, 1) or die "listen $!";
        my ($port) = sockaddr_in(getsockname(L));
        socket(C, PF_INET, SOCK_STREAM, 0); connect(C, sockaddr_in($port, INADDR_LOOPBACK)) or die "connect $!";
        print "connected";
    "#;
    let dir = tempfile::tempdir().unwrap();
    let command = Command {
        argv: ["perl", "-e", script].map(String::from).to_vec(),
        ..sh(dir.path(), "")
    };
    let profile = profile(dir.path(), WorkspaceAccess::ReadOnly);
    let outcome = walls.sandbox.run(command, &profile).await.unwrap();
    if outcome.ending == (Ending::Exited { code: 127 }) {
        println!("SKIPPED: `perl` is missing");
        return;
    }
    assert_eq!(
        text(&outcome.stdout),
        "connected",
        "{}",
        text(&outcome.stderr)
    );
}

pub(crate) async fn ordinary_work_with_files_devices_and_terminals_goes_on(walls: &Walls) {
    let script = "set -e; mkdir -p a/b; echo x > a/b/f; mv a/b/f a/f; ln a/f a/g; ln -s f a/h; cat a/h; rm -r a; \
        echo y > /tmp/t; mv /tmp/t /tmp/home/t; cat /tmp/home/t; echo z > /dev/shm/s; cat /dev/shm/s; \
        echo gone > /dev/null; head -c 4 /dev/urandom | wc -c; cat /proc/self/comm; ls -d /; mkfifo p; \
        echo through > /dev/stderr; test -c /dev/ptmx; ls /dev/pts; hostname 2>/dev/null || cat /proc/sys/kernel/hostname";
    let outcome = run(&*walls.sandbox, script).await;
    assert_eq!(
        outcome.ending,
        Ending::Exited { code: 0 },
        "{}",
        text(&outcome.stderr)
    );
    let said = text(&outcome.stdout);
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said, ["x", "y", "z", "4", "cat", "/", "ptmx", "sandbox"]);
    assert_eq!(text(&outcome.stderr), "through");
}

// covers: S35
pub(crate) async fn a_granted_directory_inside_the_workspace_stays_read_only(walls: &Walls) {
    let dir = tempfile::tempdir().unwrap();
    let given = dir.path().join("given");
    std::fs::create_dir(&given).unwrap();
    std::fs::write(given.join("notes"), "as they were").unwrap();
    let mut profile = profile(dir.path(), WorkspaceAccess::ReadWrite);
    profile.read_only = vec![given.clone()];
    let script = "cat given/notes; echo x > given/notes; echo x > given/new; echo x > mine";
    walls
        .sandbox
        .run(sh(dir.path(), script), &profile)
        .await
        .unwrap();
    assert_eq!(std::fs::read(given.join("notes")).unwrap(), b"as they were");
    assert!(!given.join("new").exists());
    assert!(dir.path().join("mine").exists());
}

// covers: D18
pub(crate) async fn with_landlock_nobody_inside_can_signal_the_process_that_holds_the_walls(
    walls: &Walls,
) {
    let outcome = run(
        &*walls.sandbox,
        "kill -0 1 && echo signalled; kill -0 $$ && echo own",
    )
    .await;
    let report = walls.sandbox.report().await;
    let landlock = report.floor.last().unwrap();
    println!("{landlock:?}");
    assert_eq!(
        landlock.1,
        walls.name != "bubblewrap_alone" && landlock.0.contains("ABI")
    );
    // Signals are what version 6 added.
    let version = landlock
        .0
        .split_once("ABI ")
        .map_or(0, |(_, it)| it.trim_end_matches(')').parse().unwrap());
    let expected = if 6 <= version {
        "own"
    } else {
        "signalled\nown"
    };
    assert_eq!(text(&outcome.stdout), expected);
}

pub(crate) async fn a_workspace_in_var_tmp_is_there_and_beside_one_elsewhere_it_is_the_private_tmp(
    walls: &Walls,
) {
    let outcome = run(&*walls.sandbox, "echo x > /var/tmp/f && cat /tmp/f").await;
    assert_eq!(text(&outcome.stdout), "x", "{}", text(&outcome.stderr));
    let Ok(dir) = tempfile::tempdir_in("/var/tmp") else {
        println!("SKIPPED: there is no /var/tmp");
        return;
    };
    let profile = profile(dir.path(), WorkspaceAccess::ReadWrite);
    let script = "echo x > mine; ls -A /var/tmp | wc -l";
    let outcome = walls
        .sandbox
        .run(sh(dir.path(), script), &profile)
        .await
        .unwrap();
    assert_eq!(text(&outcome.stdout), "1", "{}", text(&outcome.stderr));
    assert!(dir.path().join("mine").exists());
}
