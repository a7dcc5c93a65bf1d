//! The reference of the command line as Markdown, made from the command tree.

use clap::Command;

/// Every command with its arguments and examples, as one Markdown page.
#[must_use]
pub fn reference_markdown() -> String {
    let mut root = crate::command();
    root.build();
    let mut page = String::from("# Command line\n\n");
    page.push_str("Made from the command tree; `adjutant <command> --help` says the same.\n");
    section(&mut page, &root, &mut Vec::new());
    page
}

fn section(page: &mut String, command: &Command, path: &mut Vec<String>) {
    path.push(command.get_name().to_owned());
    let name = path.join(" ");
    page.push_str(&format!("\n## `{name}`\n\n"));
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        page.push_str(&format!("{}\n\n", escaped(&about.to_string())));
    }
    let usage = command.clone().render_usage().to_string();
    page.push_str(&format!(
        "```text\n{}\n```\n",
        usage.trim_start_matches("Usage: ").trim()
    ));
    arguments(page, command, path.len() == 1);
    if let Some(more) = command.get_after_help() {
        extra(page, &more.to_string());
    }
    for sub in command
        .get_subcommands()
        .filter(|it| it.get_name() != "help")
    {
        section(page, sub, path);
    }
    path.pop();
}

/// The command's own arguments; the global ones are listed once, at the root.
fn arguments(page: &mut String, command: &Command, is_root: bool) {
    let own: Vec<_> = command
        .get_arguments()
        .filter(|it| !it.is_hide_set() && (is_root || !it.is_global_set()))
        .filter(|it| is_root || !matches!(it.get_id().as_str(), "help" | "version"))
        .collect();
    if own.is_empty() {
        return;
    }
    page.push_str("\n| argument | meaning |\n|---|---|\n");
    for it in own {
        let mut meaning = it.get_help().map(ToString::to_string).unwrap_or_default();
        let values: Vec<String> = it
            .get_possible_values()
            .iter()
            .filter(|_| it.get_action().takes_values())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        if !values.is_empty() {
            meaning.push_str(&format!(" One of {}.", values.join(", ")));
        }
        let defaults: Vec<_> = it
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        if !defaults.is_empty() && it.get_action().takes_values() {
            meaning.push_str(&format!(" Default: `{}`.", defaults.join(",")));
        }
        let meaning = escaped(&meaning).replace('|', "\\|").replace('\n', " ");
        page.push_str(&format!(
            "| `{}` | {meaning} |\n",
            it.to_string().replace('|', "\\|")
        ));
    }
}

/// `EXAMPLES:` and the like become a heading and a block.
fn extra(page: &mut String, text: &str) {
    for block in text.split("\n\n") {
        match block.split_once(":\n") {
            Some((title, body)) if title.chars().all(|c| c.is_uppercase() || c == ' ') => {
                let title = title.to_lowercase();
                let mut letters = title.chars();
                let title: String = letters
                    .next()
                    .map(|c| c.to_uppercase().collect::<String>())
                    .unwrap_or_default()
                    + letters.as_str();
                let body: Vec<&str> = body
                    .lines()
                    .map(|line| line.strip_prefix("  ").unwrap_or(line))
                    .collect();
                page.push_str(&format!(
                    "\n{title}:\n\n```text\n{}\n```\n",
                    body.join("\n")
                ));
            }
            _ => page.push_str(&format!("\n{}\n", escaped(block))),
        }
    }
}

/// Angle brackets outside of code would be taken for HTML.
fn escaped(text: &str) -> String {
    text.replace('<', "&lt;")
}
