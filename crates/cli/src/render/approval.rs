//! A question to the owner, in full.

use adjutant_domain::time::Timestamp;

use super::paint::Paint;
use super::safe::{one_line, safe};
use super::values::in_time;

/// What an agent wants to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) id: String,
    pub(crate) agent: String,
    pub(crate) session: String,
    pub(crate) tool: String,
    pub(crate) class: String,
    pub(crate) reason: String,
    /// The complete text of the call: never shortened.
    pub(crate) shown: String,
    /// What a lasting answer would cover; none when it must be asked each time.
    pub(crate) covers: Option<String>,
    pub(crate) expires_at: Timestamp,
}

/// The question as a block of text, without the prompt.
pub(crate) fn question(paint: Paint, it: &Question, now: Timestamp) -> String {
    let bar = paint.yellow("│");
    let mut lines = vec![format!(
        "{} {} wants to use {} ({})",
        paint.yellow("┌ approval:"),
        paint.bold(&safe(&it.agent)),
        paint.bold(&safe(&it.tool)),
        safe(&it.class)
    )];
    for line in safe(&it.shown).lines() {
        lines.push(format!("{bar}   {line}"));
    }
    lines.push(format!("{bar} why       {}", one_line(&it.reason, 300)));
    lines.push(format!("{bar} session   {}", one_line(&it.session, 200)));
    let covers = it.covers.as_ref().map_or_else(
        || "nothing: it is asked each time".to_owned(),
        |key| safe(key),
    );
    lines.push(format!(
        "{bar} a lasting answer covers   {}",
        covers.replace('\n', " ")
    ));
    lines.push(format!(
        "{} {}, denied {}",
        paint.yellow("└"),
        it.id,
        in_time(it.expires_at, now)
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    // covers: S29
    #[test]
    fn the_exact_command_is_shown_with_its_hidden_characters() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let it = Question {
            id: "appr_01".to_owned(),
            agent: "main".to_owned(),
            session: "agent:main:main".to_owned(),
            tool: "shell_run".to_owned(),
            class: "exec_sandbox".to_owned(),
            reason: "the command is not known to only read".to_owned(),
            shown: "command: rm -r build\u{1b}[2K\nfolder: /home/me/work".to_owned(),
            covers: Some("rm -r build in /home/me/work".to_owned()),
            expires_at: now.plus(Duration::from_secs(600)),
        };
        insta::assert_snapshot!(question(Paint::None, &it, now), @r"
        ┌ approval: main wants to use shell_run (exec_sandbox)
        │   command: rm -r build\u{1b}[2K
        │   folder: /home/me/work
        │ why       the command is not known to only read
        │ session   agent:main:main
        │ a lasting answer covers   rm -r build in /home/me/work
        └ appr_01, denied in 10 min
        ");
    }
}
