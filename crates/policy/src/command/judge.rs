//! One simple command: wrappers, table, operands, redirections.

use super::args::{self, Reading};
use super::kinds::{self, Answer};
use super::path::{HARMLESS_DEVICES, normalised};
use super::row::{Check, Program};
use super::table;
use super::variables;
use super::walk::{Redirect, Simple, Target, Walk};
use super::word::Word;
use super::wrapper::{self, Step};
use super::{Class, Finding, Segment, WRAPPERS_MAX, checks, deny, worst};

/// Directories whose programs are meant when a name is given with its path.
const SYSTEM_DIRECTORIES: &[&str] = &["/bin/", "/usr/bin/"];

impl Walk<'_> {
    /// Judges `simple` and records it as a segment.
    pub(super) fn judge(&mut self, simple: Simple) {
        let n_before = self.findings.len();
        let index = self.segments.len();
        let argv = simple
            .words
            .iter()
            .map(|word| {
                if word.unknown {
                    word.raw.clone()
                } else {
                    word.text()
                }
            })
            .collect();
        self.segments.push(Segment {
            argv,
            program: String::new(),
            wrappers: Vec::new(),
            class: Class::SafeRead,
            rule: String::new(),
            reason: String::new(),
            redirections: simple
                .redirections
                .iter()
                .map(|redirect| redirect.shown.clone())
                .collect(),
        });
        for word in &simple.words {
            self.word_issues(word);
        }
        for (name, value) in &simple.assignments {
            self.word_issues(value);
            self.assignment(name, value);
        }
        if simple.words.is_empty() && !simple.assignments.is_empty() {
            self.note(Finding::asks(
                "shell.assignment",
                "It sets a variable for the commands that follow.",
            ));
        }
        let mut wrappers = Vec::new();
        let (program, rule) = match simple.words.split_first() {
            Some((name, rest)) => self.line(name, rest, &mut wrappers),
            None => (String::new(), "shell.redirection".to_owned()),
        };
        for redirect in &simple.redirections {
            self.judge_redirect(redirect);
        }
        let decided = worst(self.findings.get(n_before..).unwrap_or_default()).cloned();
        if let Some(segment) = self.segments.get_mut(index) {
            segment.program = program;
            segment.wrappers = wrappers;
            match decided {
                Some(finding) => {
                    segment.class = finding.class;
                    segment.rule = finding.rule;
                    segment.reason = finding.reason;
                }
                None => {
                    segment.rule = rule;
                    "It only reads, and only inside the workspace.".clone_into(&mut segment.reason);
                }
            }
        }
    }

    /// Looks through wrappers and judges what is run in the end. Returns its name and the rule that allows it.
    fn line(
        &mut self,
        first: &Word,
        rest: &[Word],
        wrappers: &mut Vec<String>,
    ) -> (String, String) {
        let mut name = first.clone();
        let mut args = rest.to_vec();
        loop {
            let program = self.program_name(&name);
            match wrapper::unwrap(&program, &args) {
                Step::Bare => {
                    let rule = self.program(&program, &args);
                    return (program, rule);
                }
                Step::Query => return (program, "table.command.read".to_owned()),
                Step::Stuck(reason) => {
                    self.refusals(&program, &args);
                    self.inline_script(&program, &args);
                    self.suspect_line(&args);
                    self.note(Finding::opaque(format!("wrapper.{program}"), reason).and_writes());
                    return (program, String::new());
                }
                Step::Inner {
                    rest,
                    variables,
                    asks,
                } => {
                    self.refusals(&program, &args);
                    self.inline_script(&program, &args);
                    if let Some(asks) = asks {
                        let rule = format!("wrapper.{program}");
                        let finding = if asks.is_opaque {
                            Finding::opaque(rule, asks.reason)
                        } else {
                            Finding::asks(rule, asks.reason)
                        };
                        self.note(finding.and_writes());
                    }
                    for variable in &variables {
                        let text = variable.text();
                        let name = text.split('=').next().unwrap_or_default().to_owned();
                        let value = variable.from(name.chars().count() + 1);
                        self.assignment(&name, &value);
                    }
                    wrappers.push(program);
                    if WRAPPERS_MAX < wrappers.len() {
                        self.note(Finding::refuses(
                            "limit.wrappers",
                            "Too many programs are stacked in front of the command.",
                        ));
                        return (String::new(), String::new());
                    }
                    let mut rest = rest.into_iter();
                    let Some(next) = rest.next() else {
                        return (String::new(), String::new());
                    };
                    name = next;
                    args = rest.collect();
                }
            }
        }
    }

    /// The plain name of a program, or a finding about why it has none.
    fn program_name(&mut self, word: &Word) -> String {
        let text = word.text();
        if word.unknown || word.has_glob() {
            self.note(
                Finding::opaque(
                    "program.computed",
                    "Which program runs is only decided when it runs.",
                )
                .and_writes(),
            );
            return if word.unknown { word.raw.clone() } else { text };
        }
        let system = SYSTEM_DIRECTORIES
            .iter()
            .find_map(|directory| text.strip_prefix(directory));
        match system {
            Some(name) if !name.contains('/') => name.to_owned(),
            _ => text,
        }
    }

    fn assignment(&mut self, name: &str, value: &Word) {
        if variables::is_control_variable(name) {
            let reason = format!("Setting {name} changes which programs run or what they load.");
            self.note(Finding::opaque("shell.control-variable", reason).and_writes());
        } else if !variables::is_harmless_assignment(name, &value.text()) {
            self.note(Finding::asks(
                "shell.assignment",
                format!("It sets {name}, whose effect is not known."),
            ));
        }
    }

    /// Judges the program itself. Returns the rule that allows it.
    fn program(&mut self, program: &str, args: &[Word]) -> String {
        let base = program.rsplit('/').next().unwrap_or(program);
        self.inline_script(base, args);
        if self.refusals(base, args) {
            return String::new();
        }
        match table::program(program) {
            Some(row) => self.row(row, args),
            None => self.other(program, base, args),
        }
        if program == "cd" {
            self.change_directory(args);
        }
        format!("table.{program}.read")
    }

    /// Looks for refusals in a line of which nobody can say where its command begins.
    fn suspect_line(&mut self, args: &[Word]) {
        for index in 0..args.len().min(SUSPECTS_MAX) {
            if let Some((name, rest)) = args.get(index..).and_then(<[Word]>::split_first) {
                let program = name.text();
                let base = program.rsplit('/').next().unwrap_or(&program);
                if !self.refusals(base, rest) {
                    self.inline_script(base, rest);
                }
            }
        }
    }

    /// Records why `program` is refused outright, if it is.
    fn refusals(&mut self, program: &str, args: &[Word]) -> bool {
        let refusal = deny::catastrophe(program, args, self.ground());
        if let Some((rule, reason)) = refusal {
            self.note(Finding::refuses(rule, reason));
        }
        refusal.is_some()
    }

    fn row(&mut self, row: &Program, args: &[Word]) {
        match row.check {
            Check::Find => match checks::find(args) {
                Ok(paths) => paths.iter().for_each(|path| self.operand(path)),
                Err(objection) => {
                    self.found_command(args);
                    self.objection(row.name, args, objection.reason(row.name));
                }
            },
            Check::Git => self.git(row, args),
            _ => {
                let read = args::read(row, args).and_then(|reading| {
                    checks::apply(row.check, &reading)?;
                    Ok(reading)
                });
                match read {
                    Ok(reading) => self.reading(&reading),
                    Err(objection) => self.objection(row.name, args, objection.reason(row.name)),
                }
            }
        }
    }

    fn reading(&mut self, reading: &Reading) {
        for path in &reading.paths {
            self.operand(path);
        }
        for revision in &reading.revisions {
            self.operand(revision);
            let text = revision.text();
            if let Some((before, after)) = text.split_once(':')
                && !after.is_empty()
            {
                self.operand(&revision.from(before.chars().count() + 1));
            }
        }
    }

    /// A known reader used in a way its row does not list.
    fn objection(&mut self, program: &str, args: &[Word], reason: String) {
        self.note(Finding::asks(format!("table.{program}.option"), reason).and_writes());
        self.sweep(args);
    }

    /// The command after `-exec` of `find`, judged for itself.
    fn found_command(&mut self, args: &[Word]) {
        let mut rest = args.iter();
        while let Some(word) = rest.next() {
            if !matches!(
                word.text().as_str(),
                "-exec" | "-execdir" | "-ok" | "-okdir"
            ) {
                continue;
            }
            let command: Vec<Word> = rest
                .by_ref()
                .take_while(|word| !matches!(word.text().as_str(), ";" | "+"))
                .cloned()
                .collect();
            if let Some((name, args)) = command.split_first() {
                self.note(
                    Finding::opaque(
                        "table.find.exec",
                        "find runs a command for everything it finds.",
                    )
                    .and_writes(),
                );
                self.line(name, args, &mut Vec::new());
            }
        }
    }

    fn git(&mut self, row: &Program, args: &[Word]) {
        let mut rest = args;
        let mut elsewhere = false;
        let ask = |walk: &mut Self, reason: &str| walk.objection("git", args, reason.to_owned());
        let sub = loop {
            let Some((word, after)) = rest.split_first() else {
                return ask(self, "It names no sub-command of git.");
            };
            rest = after;
            match word.text().as_str() {
                "--no-pager" | "-P" | "--no-optional-locks" | "--literal-pathspecs" => {}
                "--version" if rest.is_empty() => return,
                "-C" => {
                    let Some((directory, after)) = rest.split_first() else {
                        return ask(self, "It names no directory.");
                    };
                    self.operand(directory);
                    elsewhere = true;
                    rest = after;
                }
                name if name.starts_with('-') => {
                    return ask(
                        self,
                        "An option before the sub-command can make git run other programs.",
                    );
                }
                name => break row.subcommands.iter().find(|sub| sub.name == name).copied(),
            }
        };
        let Some(sub) = sub else {
            return ask(
                self,
                "This sub-command of git is not among those known to only read.",
            );
        };
        if rest
            .iter()
            .any(|word| word.text().contains("%G") || word.text().contains("%(signature"))
        {
            return ask(self, "Showing signatures runs another program.");
        }
        if elsewhere && rest.iter().any(|word| word.text().contains("..")) {
            return ask(self, "It looks outside the directory it was sent to.");
        }
        let read = args::read(&sub, rest).and_then(|reading| {
            checks::apply(sub.check, &reading)?;
            Ok(reading)
        });
        match read {
            Ok(reading) => self.reading(&reading),
            Err(objection) => ask(self, &objection.reason(&format!("git {}", sub.name))),
        }
    }

    /// A program that is not in the table.
    fn other(&mut self, program: &str, base: &str, args: &[Word]) {
        let texts: Vec<String> = args.iter().map(Word::text).collect();
        let finding = match kinds::kind(base) {
            Some(kind) => match kind.answer {
                Answer::Asks => Finding::asks(kind.rule, kind.reason),
                Answer::AsksOpaque => Finding::opaque(kind.rule, kind.reason),
                Answer::Interprets if kinds::hides_script(&texts) => {
                    Finding::opaque(kind.rule, kind.reason)
                }
                Answer::Interprets => Finding::asks(kind.rule, kind.reason),
                Answer::Refused => Finding::refuses(kind.rule, kind.reason),
            },
            None => Finding::asks(
                "program.unknown",
                format!("Nothing is known about {}.", super::escape(program)),
            ),
        };
        let hides = finding.rule == "program.runs-others";
        self.note(finding.and_writes());
        self.sweep(args);
        if hides {
            self.suspect_line(args);
        }
    }

    /// Scripts given on the line itself: `sh -c …`, `eval …`, `env -S …`. They are read for what they would do.
    fn inline_script(&mut self, program: &str, args: &[Word]) {
        let script = if program == "eval" {
            (!args.is_empty()).then(|| args.iter().map(Word::text).collect::<Vec<_>>().join(" "))
        } else if kinds::is_shell(program) {
            let at = args.iter().position(|arg| {
                let text = arg.text();
                text == "--command"
                    || (text.starts_with('-') && !text.starts_with("--") && text.contains('c'))
            });
            at.and_then(|at| args.get(at + 1)).map(Word::text)
        } else if program == "env" {
            split_string(args)
        } else {
            None
        };
        if let Some(script) = script {
            self.note(
                Finding::opaque(
                    "program.inline-script",
                    "A script inside the command is run by another program.",
                )
                .and_writes(),
            );
            self.script(&script);
        }
    }

    /// The directory the following commands may find themselves in.
    fn change_directory(&mut self, args: &[Word]) {
        let operands: Vec<&Word> = args
            .iter()
            .filter(|word| !word.text().starts_with('-'))
            .collect();
        let Some(target) = operands.first() else {
            self.note(Finding::asks(
                "operand.home",
                "It goes to the home directory.",
            ));
            self.cwds.push(self.around.home.to_path_buf());
            return;
        };
        let mut reached = Vec::new();
        for cwd in &self.cwds {
            let text = target.text();
            // It may fail and stay, so the old one remains possible.
            reached.push(cwd.clone());
            reached.push(normalised(&cwd.join(text)));
        }
        reached.sort();
        reached.dedup();
        if CWDS_MAX < reached.len() {
            self.note(Finding::refuses(
                "limit.directories",
                "It changes directory too often to be followed.",
            ));
            reached.truncate(CWDS_MAX);
        }
        self.cwds = reached;
    }

    /// An operand that is read.
    fn operand(&mut self, word: &Word) {
        let text = word.text();
        if word.unknown || text == "-" || HARMLESS_DEVICES.contains(&text.as_str()) {
            return;
        }
        let ground = self.ground();
        if let Some((rule, reason)) = ground.forbids_reading(word) {
            return self.note(Finding::refuses(rule, reason));
        }
        let places = ground.places(word);
        let moved = 1 < self.cwds.len();
        if places
            .iter()
            .any(|place| !place.is_beneath(self.around.workspace) || (moved && place.climbs))
        {
            let reason = format!("{} is outside the workspace.", super::escape(&text));
            self.note(Finding::asks("operand.outside", reason));
        }
        if places
            .iter()
            .any(|place| place.looks_secret(self.around.workspace))
        {
            let reason = format!("{} looks like the name of a secret.", super::escape(&text));
            self.note(Finding::asks("operand.secret", reason));
        }
    }

    /// Looks for places that may not even be read, in all arguments of a program whose options are not known.
    fn sweep(&mut self, args: &[Word]) {
        for word in args {
            let text = word.text();
            let mut starts = vec![0];
            for (index, c) in text.chars().enumerate() {
                if matches!(c, '=' | ':' | '@' | ',') {
                    starts.push(index + 1);
                }
            }
            if text.starts_with('-') {
                starts.push(2);
            }
            if STARTS_MAX < starts.len() {
                // Text with this much punctuation is data; only what looks like a path in it is followed.
                let looks = |at: &usize| {
                    word.glyphs
                        .get(*at)
                        .is_some_and(|g| matches!(g.c, '/' | '.' | '*' | '?' | '['))
                };
                starts.retain(looks);
            }
            let refusal = starts
                .iter()
                .find_map(|start| self.ground().forbids_reading(&word.from(*start)));
            if let Some((rule, reason)) = refusal {
                self.note(Finding::refuses(rule, reason));
            }
        }
    }

    pub(super) fn judge_redirect(&mut self, redirect: &Redirect) {
        match &redirect.target {
            Target::Descriptor => {}
            Target::Opaque(reason) => self.note(Finding::opaque("redirect.opaque", *reason)),
            Target::Reads(word) => {
                self.word_issues(word);
                if word.has_glob() {
                    self.note(Finding::opaque(
                        "redirect.pattern",
                        "A pattern decides where its input comes from.",
                    ));
                }
                self.network(word);
                self.operand(word);
            }
            Target::Writes(word) => {
                self.word_issues(word);
                self.written(word);
            }
        }
    }

    fn written(&mut self, word: &Word) {
        let text = word.text();
        if HARMLESS_DEVICES.contains(&text.as_str()) {
            return;
        }
        self.network(word);
        if let Some((rule, reason)) = self.ground().forbids_writing(word) {
            return self.note(Finding::refuses(rule, reason));
        }
        let outside = word.unknown
            || self
                .ground()
                .places(word)
                .iter()
                .any(|place| !place.is_beneath(self.around.workspace));
        let finding = if outside {
            Finding::asks(
                "redirect.outside",
                format!(
                    "It writes to {}, outside the workspace.",
                    super::escape(&text)
                ),
            )
        } else {
            Finding::asks(
                "redirect.write",
                format!("It writes to {}.", super::escape(&text)),
            )
        };
        self.note(finding.and_writes());
    }

    fn network(&mut self, word: &Word) {
        let text = word.text();
        if text.starts_with("/dev/tcp/") || text.starts_with("/dev/udp/") {
            self.note(Finding::opaque(
                "redirect.network",
                "It opens a connection to another machine.",
            ));
        }
    }
}

/// Most places in one argument at which a path is suspected without looking like one.
const STARTS_MAX: usize = 64;
/// Most words of a line at which a command is suspected to begin.
const SUSPECTS_MAX: usize = 16;
/// Most directories that are followed at once.
const CWDS_MAX: usize = 32;

/// The script in `env -S …`, with whatever follows it.
fn split_string(args: &[Word]) -> Option<String> {
    let at = args.iter().position(|arg| {
        let text = arg.text();
        text.starts_with("--split-string")
            || (text.starts_with('-') && !text.starts_with("--") && text.contains('S'))
    })?;
    let option = args.get(at)?.text();
    let attached = option
        .split_once('=')
        .map(|(_, script)| script)
        .or_else(|| option.split_once('S').map(|(_, script)| script));
    let mut parts: Vec<String> = attached
        .filter(|script| !script.is_empty())
        .map(str::to_owned)
        .into_iter()
        .collect();
    parts.extend(args.iter().skip(at + 1).map(Word::text));
    Some(parts.join(" "))
}
