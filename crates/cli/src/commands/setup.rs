//! `adjutant setup` and `adjutant demo`: the first minutes.

use serde_json::json;

use crate::args::{DemoArgs, SetupArgs};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::host::{
    Asking, DemoFolder, DemoOptions, ProviderFound, RouteChoice, SetupAnswers, SetupDone, Stage,
};
use crate::lines::{Remember, Typed};
use crate::render::facts;
use crate::terminal::Terminal;
use crate::view::prose;

/// The level offered to a new agent: it reads and writes, and asks before it writes.
const LEVEL_OFFERED: &str = "4";

pub(super) async fn setup(cx: &Cx<'_>, args: SetupArgs) -> Result<Exit, Failure> {
    let asks = !args.non_interactive && cx.terminal.can_ask() && !cx.global.json;
    let mut answers = SetupAnswers {
        route: RouteChoice {
            provider: args.route.provider,
            model: args.route.model,
            base_url: args.route.base_url,
        },
        agent_workspace: args.agent_workspace,
        trust_level: args.trust_level,
    };
    if asks {
        ask(cx, &mut answers).await?;
    } else if answers.route.provider.is_none() {
        return Err(Failure::usage("`--provider` is missing, and nobody is asked here").with_hint(
            "add `--provider offline`, or one of openai, anthropic, gemini, groq, openrouter, ollama with its key set",
        ));
    }
    let done = cx.host.setup(answers).await?;
    cx.terminal.show(&done, || describe(cx, &done))?;
    Ok(Exit::Done)
}

/// The first run, before the first chat.
pub(super) async fn guided(cx: &Cx<'_>) -> Result<Exit, Failure> {
    cx.terminal.say(
        &cx.terminal
            .paint_err()
            .bold("Welcome. A few questions first; Enter takes what is in parentheses."),
    );
    let args = SetupArgs {
        non_interactive: false,
        route: crate::args::RouteArgs::default(),
        agent_workspace: None,
        trust_level: None,
    };
    setup(cx, args).await
}

async fn ask(cx: &Cx<'_>, answers: &mut SetupAnswers) -> Result<(), Failure> {
    if answers.route.provider.is_none() {
        let found = cx.host.discover_providers().await?;
        let chosen = choose(cx, &found).await?;
        if answers.route.model.is_none()
            && let Some(default) = &chosen.default_model
        {
            answers.route.model = Some(cx.ask("Model", default).await?);
        }
        answers.route.provider = Some(chosen.name.clone());
    }
    if answers.trust_level.is_none() {
        cx.terminal.say("How much may the agent do? 1 talk, 2 read, 3 write, 4 run commands in the sandbox, 5 also act unasked if you set it so");
        answers.trust_level = loop {
            let typed = cx.ask("Level", LEVEL_OFFERED).await?;
            match typed.parse::<u8>() {
                Ok(level @ 1..=5) => break Some(level),
                _ => cx.terminal.say("Please type a number from 1 to 5."),
            }
        };
    }
    Ok(())
}

async fn choose<'a>(cx: &Cx<'_>, found: &'a [ProviderFound]) -> Result<&'a ProviderFound, Failure> {
    cx.terminal.say("Which provider shall answer?");
    for (index, it) in found.iter().enumerate() {
        let paint = cx.terminal.paint_err();
        let ready = if it.ready {
            paint.green("ready")
        } else {
            paint.dim("not ready")
        };
        cx.terminal.say(&format!(
            "  {}  {:<12} {ready}, {}",
            index + 1,
            it.name,
            it.evidence
        ));
    }
    let best = found
        .iter()
        .position(|it| it.ready)
        .map_or(1, |index| index + 1)
        .to_string();
    loop {
        let typed = cx.ask("Number or name", &best).await?;
        let by_number = typed
            .parse::<usize>()
            .ok()
            .and_then(|n| found.get(n.checked_sub(1)?));
        if let Some(it) = by_number.or_else(|| found.iter().find(|it| it.name == typed)) {
            return Ok(it);
        }
        cx.terminal.say("Please type one of the numbers or names.");
    }
}

fn describe(cx: &Cx<'_>, done: &SetupDone) -> String {
    let mut text = facts(
        cx.terminal.paint(),
        &[
            ("state directory", done.state_dir.display().to_string()),
            ("configuration", done.config.display().to_string()),
            ("provider", done.provider.clone()),
            ("model", done.model.clone().unwrap_or_default()),
            (
                "agent",
                format!("{}, trust level {}", done.agent, done.trust_level),
            ),
            ("workspace", done.workspace.display().to_string()),
        ],
    );
    for note in &done.notes {
        text.push_str(&format!("\n{} {note}", cx.terminal.paint().yellow("note:")));
    }
    text.push_str("\n\nReady. Try `adjutant chat`, or `adjutant run \"list the files\"`.");
    text
}

pub(super) async fn demo(cx: &Cx<'_>, args: &DemoArgs) -> Result<Exit, Failure> {
    let asks = cx.terminal.can_ask() && !cx.global.yes && !cx.global.json;
    if !asks && !cx.global.yes {
        return Err(Failure::usage(
            "the demonstration asks questions, and nobody can be asked here",
        )
        .with_hint("add `--yes` to let it go on by itself"));
    }
    let options = DemoOptions {
        asking: if asks { Asking::Person } else { Asking::Nobody },
        folder: if args.keep {
            DemoFolder::Keep
        } else {
            DemoFolder::Remove
        },
    };
    let lines = if asks { Some(cx.lines().await?) } else { None };
    let mut stage = Shown {
        terminal: &cx.terminal,
        lines,
        chapters: 0,
    };
    let done = cx.host.demo(options, &mut stage).await?;
    let document = json!({ "ok": true, "proven": done.proven, "folder": done.folder });
    cx.terminal.show(&document, || {
        let paint = cx.terminal.paint();
        let mut lines: Vec<String> = done
            .proven
            .iter()
            .map(|it| format!("{} {it}", paint.green("✓")))
            .collect();
        if let Some(folder) = &done.folder {
            lines.push(format!("kept in {}", folder.display()));
        }
        lines.join("\n")
    })?;
    Ok(Exit::Done)
}

/// The stage of the demonstration: this terminal. With `--json` it is stderr, so that stdout stays one document.
struct Shown<'a> {
    terminal: &'a Terminal,
    lines: Option<&'a crate::lines::Lines>,
    chapters: u32,
}

impl Shown<'_> {
    fn put(&self, text: &str) {
        match self.terminal.form {
            crate::terminal::Form::Json => self.terminal.note(text),
            // A reader that has gone is noticed when the result is printed.
            crate::terminal::Form::Human => drop(self.terminal.data(text)),
        }
    }
}

#[async_trait::async_trait]
impl Stage for Shown<'_> {
    fn chapter(&mut self, title: &str) {
        self.chapters = self.chapters.saturating_add(1);
        let paint = self.terminal.paint();
        self.put(&format!(
            "\n{}",
            paint.bold(&format!("{}. {title}", self.chapters))
        ));
    }

    fn say(&mut self, text: &str) {
        self.put(&prose(self.terminal, text));
    }

    async fn ask(&mut self, shown: &str) -> bool {
        self.put(&crate::render::safe(shown));
        let Some(lines) = self.lines else {
            self.put("(allowed: `--yes`)");
            return true;
        };
        match lines.line("[y]es, [n]o> ", Remember::No).await {
            Typed::Line(line) => matches!(line.trim(), "" | "y" | "yes" | "o" | "once"),
            Typed::Interrupt | Typed::End => false,
        }
    }
}
