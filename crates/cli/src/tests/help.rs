//! Help, examples, reference: the tree as people see it.

use clap::Command;

use super::host::FakeHost;
use super::screen::piped;
use crate::failure::Exit;

/// Every command below `command`, with its path.
fn walk(command: &Command, path: &str, visit: &mut dyn FnMut(&str, &Command)) {
    for sub in command.get_subcommands() {
        let path = format!("{path} {}", sub.get_name()).trim().to_owned();
        visit(&path, sub);
        walk(sub, &path, visit);
    }
}

fn paths() -> Vec<String> {
    let mut paths = Vec::new();
    walk(&crate::command(), "", &mut |path, _| {
        paths.push(path.to_owned())
    });
    paths
}

#[test]
fn every_command_says_what_it_does_and_shows_examples() {
    walk(&crate::command(), "", &mut |path, command| {
        assert!(
            command.get_about().is_some(),
            "`{path}` does not say what it does"
        );
        let after = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            after.starts_with("EXAMPLES:\n  "),
            "`{path}` shows no examples"
        );
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "`{path}`: `{}` is not explained",
                argument.get_id()
            );
        }
    });
}

#[test]
fn examples_parse() {
    walk(&crate::command(), "", &mut |path, command| {
        let after = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        for line in after
            .lines()
            .skip(1)
            .filter(|line| line.trim_start().starts_with("adjutant "))
        {
            // Up to the first shell operator; a comment is set off by three spaces.
            let line = line
                .trim()
                .split(" | ")
                .next()
                .unwrap()
                .split(" > ")
                .next()
                .unwrap();
            let line = line.split("   ").next().unwrap();
            let mut words = Vec::new();
            for (index, part) in line.split(['\'', '"']).enumerate() {
                if index % 2 == 1 {
                    words.push(part.to_owned());
                } else {
                    words.extend(part.split_whitespace().map(str::to_owned));
                }
            }
            // Nested quotes are beyond this splitter; those lines are checked by the tests of their command.
            if line.matches('\'').count() > 0 && line.matches('"').count() > 0 {
                continue;
            }
            if let Err(error) = crate::command().try_get_matches_from(&words) {
                panic!("an example of `{path}` does not parse: {line}\n{error}");
            }
        }
    });
}

#[tokio::test]
async fn every_command_has_help_on_stdout() {
    let host = FakeHost::new();
    for path in paths() {
        let outcome = piped(&host, &format!("{path} --help")).await;
        assert_eq!(outcome.exit, Exit::Done, "{path}");
        assert!(
            outcome.out.contains("EXAMPLES:") && outcome.err.is_empty(),
            "{path}"
        );
    }
}

#[test]
fn help_reads_well() {
    let mut page = String::new();
    let mut root = crate::command().term_width(100);
    root.build();
    page.push_str(&root.clone().render_help().to_string());
    walk(&root, "", &mut |path, command| {
        let help = command.clone().term_width(100).render_help().to_string();
        // The global options are the same everywhere; once is enough.
        let help: String = help
            .split("\n\n")
            .filter(|block| !block.starts_with("Global options:"))
            .collect::<Vec<_>>()
            .join("\n\n");
        page.push_str(&format!("\n\n======== {path}\n{help}"));
    });
    insta::assert_snapshot!(page);
}

#[test]
fn the_reference_names_every_command_once() {
    let page = crate::reference_markdown();
    for path in paths() {
        let heading = format!("\n## `adjutant {path}`\n");
        assert_eq!(page.matches(&heading).count(), 1, "{path}");
    }
    let budget_set = page
        .split("## `adjutant budget set`")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next());
    insta::assert_snapshot!(budget_set.unwrap());
}

#[test]
fn completions_and_pages_are_made_for_every_command() {
    for shell in [
        clap_complete::Shell::Bash,
        clap_complete::Shell::Zsh,
        clap_complete::Shell::Fish,
        clap_complete::Shell::PowerShell,
    ] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut crate::command(), "adjutant", &mut script);
        assert!(
            String::from_utf8(script).unwrap().contains("approvals"),
            "{shell}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(crate::command(), folder.path()).unwrap();
    assert!(
        folder
            .path()
            .join("adjutant-approvals-rules-test.1")
            .exists()
    );
}
