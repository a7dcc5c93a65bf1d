//! Where walls cannot be built, commands are refused and do not run on the host.

use std::ffi::OsString;

use adjutant_ports::sandbox::{Sandbox, SandboxError, WorkspaceAccess};
use adjutant_sandbox::{BestWalls, Bubblewrap, Config, Native};

use crate::{inner, profile, sh, text};

// covers: S34
#[tokio::test]
async fn without_bubblewrap_a_command_is_refused_and_not_run_on_the_host() {
    let dir = tempfile::tempdir().unwrap();
    for search_path in [
        None,
        Some(OsString::from("/nonexistent")),
        Some(OsString::from("relative/bin")),
    ] {
        let sandbox = Bubblewrap::with(&Config::default(), search_path, None);
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
    let sandbox = Bubblewrap::with(&Config::default(), Some(dir.path().into()), None);
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

// covers: S34
#[tokio::test]
async fn a_program_that_cannot_play_the_inner_parts_builds_no_walls_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Native::with_inner(&Config::default(), None);
    let command = sh(dir.path(), "touch ran");
    let profile = profile(dir.path(), WorkspaceAccess::ReadWrite);
    let result = sandbox.run(command, &profile).await;
    assert!(matches!(result, Err(SandboxError::Unavailable { .. })));
    assert!(!dir.path().join("ran").exists());
}

#[tokio::test]
async fn without_bubblewrap_the_walls_of_this_program_take_its_place() {
    let config = Config::default();
    let native = Native::with_inner(&config, Some(inner()));
    let report = native.report().await;
    if !report.available {
        println!("SKIPPED: {}", report.missing.join("; "));
        return;
    }
    let hidden = Bubblewrap::with(&config, Some("/nonexistent".into()), Some(inner()));
    let sandbox = BestWalls::new(hidden, native);
    assert_eq!(sandbox.report().await.driver, "native");
    let dir = tempfile::tempdir().unwrap();
    let command = sh(dir.path(), "echo from inside");
    let profile = profile(dir.path(), WorkspaceAccess::ReadOnly);
    let outcome = sandbox.run(command, &profile).await.unwrap();
    assert_eq!(text(&outcome.stdout), "from inside");
}

/// Without user namespaces, and with bubblewrap hidden, as a child of the next test sees the machine.
#[tokio::test]
#[ignore = "runs only as a child of another test"]
async fn with_neither_bubblewrap_nor_user_namespaces() {
    let config = Config::default();
    let sandbox = BestWalls::new(
        Bubblewrap::with(&config, Some("/nonexistent".into()), Some(inner())),
        Native::with_inner(&config, Some(inner())),
    );
    let dir = tempfile::tempdir().unwrap();
    let command = sh(dir.path(), "touch ran");
    let profile = profile(dir.path(), WorkspaceAccess::ReadWrite);
    let result = sandbox.run(command, &profile).await;
    assert!(!dir.path().join("ran").exists());
    let Err(SandboxError::Unavailable { reason }) = result else {
        panic!("{result:?}")
    };
    println!("refused: {reason}");
    assert!(reason.contains("apt install bubblewrap"), "{reason}");
    assert!(reason.contains("user namespace"), "{reason}");
}

// covers: S34
#[tokio::test]
async fn with_bubblewrap_hidden_and_no_user_namespaces_a_command_is_refused() {
    // One namespace more for an ordinary user inside, and then no more: writing the limit needs a capability, which the
    // second one takes away.
    let script = "echo 1 > /proc/sys/user/max_user_namespaces && \
                  exec unshare --user --map-user=1000 --map-group=1000 \"$@\"";
    let this = std::env::current_exe().unwrap();
    let output = tokio::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", script, "sh"])
        .arg(this)
        .args([
            "--exact",
            "refusals::with_neither_bubblewrap_nor_user_namespaces",
        ])
        .args(["--ignored", "--nocapture"])
        .output()
        .await;
    let Ok(output) = output else {
        println!("SKIPPED: `unshare` is missing");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    if said.is_empty() && complained.contains("unshare: ") {
        println!("SKIPPED: {complained}");
        return;
    }
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(
        said.contains("refused: ") && said.contains("1 passed"),
        "{said}"
    );
}
