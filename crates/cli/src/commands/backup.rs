//! `adjutant backup`, `adjutant restore`: one file with everything, and the way back.

use crate::args::{BackupArgs, RestoreArgs};
use crate::confirm::{self, Go};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::host_backup::{BackupOptions, RestoreOptions, RestorePlan};
use crate::render::{size, words};

pub(super) async fn backup(cx: &Cx<'_>, args: BackupArgs) -> Result<Exit, Failure> {
    let options = BackupOptions {
        file: args.file,
        without_workspaces: args.without_workspaces,
    };
    let done = cx.host.backup(options).await?;
    cx.terminal.show(&done, || {
        format!(
            "wrote {} ({}, {}{})\nIt holds your conversations and the gateway's token: keep it as safe as the machine itself.",
            done.file.display(),
            words(done.files, "file", "files"),
            size(done.bytes),
            done.database
                .as_ref()
                .map(|it| format!(", with the rows of {it}"))
                .unwrap_or_default(),
        )
    })?;
    Ok(Exit::Done)
}

pub(super) async fn restore(cx: &Cx<'_>, args: RestoreArgs) -> Result<Exit, Failure> {
    let options = RestoreOptions {
        file: args.file,
        database: args.database,
    };
    if args.removal.dry_run {
        let plan = cx.host.restore_plan(&options).await?;
        confirm::change(cx, true, &steps(&plan), &plan).await?;
        return Ok(Exit::Done);
    }
    if let Some(home) = cx.host.in_the_way()? {
        let what = [format!(
            "everything in {} from its place; it is moved aside, not deleted",
            home.display()
        )];
        if confirm::removal(cx, args.removal, "restore", &what).await? == Go::NoFurther {
            return Ok(Exit::Done);
        }
    }
    let done = cx.host.restore(options).await?;
    cx.terminal.show(&done, || {
        let mut lines = vec![format!(
            "restored {} to {}, as of {}",
            words(done.files, "file", "files"),
            done.home.display(),
            done.made_at,
        )];
        if let Some(database) = &done.database {
            lines.push(format!("its rows are in {database}{}", set(&done.settings)));
        }
        if let Some(other) = &done.overruled_by {
            lines.push(format!(
                "but the settings in force here name {other}: look with `adjutant config explain store.database_url`"
            ));
        }
        if let Some(aside) = &done.aside {
            lines.push(format!("what was there before is in {}", aside.display()));
        }
        lines.push("`adjutant gateway start` goes on from there".to_owned());
        lines.join("\n")
    })?;
    Ok(Exit::Done)
}

/// What a restore would do, in its order.
fn steps(plan: &RestorePlan) -> Vec<String> {
    let mut steps = Vec::new();
    if let Some(database) = &plan.database {
        steps.push(format!("fill {database} with its rows"));
    }
    steps.extend(
        plan.settings
            .iter()
            .map(|key| format!("set `{key}` in the restored settings")),
    );
    if plan.replaces {
        steps.push(format!(
            "move everything in {} aside, and delete nothing",
            plan.home.display()
        ));
    }
    steps.push(format!(
        "restore {} to {}, as of {}",
        words(plan.files, "file", "files"),
        plan.home.display(),
        plan.made_at,
    ));
    steps
}

/// What became of the settings.
fn set(settings: &[&str]) -> String {
    if settings.is_empty() {
        return String::new();
    }
    let keys: Vec<String> = settings.iter().map(|key| format!("`{key}`")).collect();
    format!(
        "; the restored settings were changed to name it: {}",
        keys.join(", ")
    )
}
