//! From a script to its simple commands: parsing, limits, and the constructs of the shell around them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use brush_parser::ast::{
    AndOr, AssignmentName, AssignmentValue, Command, CommandPrefixOrSuffixItem, CompoundCommand,
    CompoundList, FunctionDefinition, IoFileRedirectKind, IoFileRedirectTarget, IoRedirect,
    Pipeline, SeparatorOperator, SimpleCommand,
};
use brush_parser::{ParserOptions, Token, parse_tokens, uncached_tokenize_str};

use super::deny::Ground;
use super::document;
use super::limits::{expansions_limit, has_long_descriptor, nesting_limit, too_deep};
use super::word::{Known, Word};
use super::{Class, Finding, NESTING_MAX, Redirection, SEGMENTS_MAX, Segment, Surroundings, lex};

/// A reading of a script in progress.
pub(super) struct Walk<'a> {
    pub(super) around: &'a Surroundings<'a>,
    home: String,
    cwd: String,
    /// Every directory the next command may find itself in.
    pub(super) cwds: Vec<PathBuf>,
    pub(super) findings: Vec<Finding>,
    pub(super) segments: Vec<Segment>,
    depth: usize,
}

/// What a finished walk found.
pub(super) struct Walked {
    pub(super) findings: Vec<Finding>,
    pub(super) segments: Vec<Segment>,
}

/// A simple command, decoded.
pub(super) struct Simple {
    pub(super) words: Vec<Word>,
    pub(super) assignments: Vec<(String, Word)>,
    pub(super) redirections: Vec<Redirect>,
}

/// A redirection, decoded.
pub(super) struct Redirect {
    pub(super) shown: Redirection,
    pub(super) target: Target,
}

/// What a redirection does.
pub(super) enum Target {
    Reads(Word),
    Writes(Word),
    /// Another descriptor, or closing one.
    Descriptor,
    /// Something that cannot be judged.
    Opaque(&'static str),
}

impl<'a> Walk<'a> {
    pub(super) fn new(around: &'a Surroundings<'a>) -> Self {
        Self {
            around,
            home: around.home.to_string_lossy().into_owned(),
            cwd: around.cwd.to_string_lossy().into_owned(),
            cwds: vec![around.cwd.to_path_buf()],
            findings: Vec::new(),
            segments: Vec::new(),
            depth: 0,
        }
    }

    pub(super) fn finish(self) -> Walked {
        Walked {
            findings: self.findings,
            segments: self.segments,
        }
    }

    pub(super) fn ground(&self) -> Ground<'_> {
        Ground {
            around: self.around,
            cwds: &self.cwds,
        }
    }

    pub(super) fn decode(&self, raw: &str) -> Word {
        Word::decode(
            raw,
            Known {
                home: &self.home,
                cwd: &self.cwd,
            },
        )
    }

    pub(super) fn note(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Reads a whole script, the outermost one or one inside another.
    pub(super) fn script(&mut self, script: &str) {
        if NESTING_MAX <= self.depth {
            return self.note(too_deep());
        }
        self.depth += 1;
        self.read(script);
        self.depth -= 1;
    }

    fn read(&mut self, script: &str) {
        if let Some(finding) = expansions_limit(script) {
            return self.note(finding);
        }
        if let Some(split) = document::split(script) {
            return self.documents(&split);
        }
        let unreadable = || {
            Finding::opaque(
                "parse.failed",
                "The command could not be read completely, so nobody can say what it does.",
            )
            .and_writes()
        };
        // A panic inside the parser must not end more than this one question.
        let tokens = if has_long_descriptor(script) {
            None
        } else {
            catch_unwind(AssertUnwindSafe(|| tokenize(script)))
                .ok()
                .flatten()
        };
        let Some(tokens) = tokens else {
            self.note(unreadable());
            return self.suspect_lines(script);
        };
        if let Some(finding) = nesting_limit(&tokens) {
            return self.note(finding);
        }
        let program = catch_unwind(AssertUnwindSafe(|| parse_tokens(&tokens, &options()).ok()))
            .ok()
            .flatten();
        let Some(program) = program else {
            self.note(unreadable());
            return self.suspect_lines(script);
        };
        let n_before = self.segments.len();
        for list in &program.complete_commands {
            self.list(list);
        }
        if self.segments.len() == n_before && self.findings.is_empty() {
            return self.note(Finding::asks("parse.nothing", "There is no command in it."));
        }
        if !agrees(script, &tokens) && !self.findings.iter().any(|finding| finding.opaque) {
            self.note(Finding::opaque(
                "parse.unusual",
                "It uses parts of the shell that are not judged by their letters.",
            ));
        }
    }

    fn list(&mut self, list: &CompoundList) {
        for item in &list.0 {
            if matches!(item.1, SeparatorOperator::Async) {
                self.note(Finding::opaque(
                    "shell.background",
                    "Part of it keeps running in the background.",
                ));
            }
            self.pipeline(&item.0.first);
            for next in &item.0.additional {
                match next {
                    AndOr::And(pipeline) | AndOr::Or(pipeline) => self.pipeline(pipeline),
                }
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline) {
        let n_before = self.segments.len();
        for command in &pipeline.seq {
            self.command(command);
        }
        // To the shell `time` is a word of its grammar; to a reader it is a wrapper like the others.
        if pipeline.timed.is_some()
            && let Some(first) = self.segments.get_mut(n_before)
        {
            first.wrappers.insert(0, "time".to_owned());
        }
    }

    fn command(&mut self, command: &Command) {
        match command {
            Command::Simple(simple) => {
                if SEGMENTS_MAX <= self.segments.len() {
                    if !self
                        .findings
                        .iter()
                        .any(|finding| finding.rule == "limit.segments")
                    {
                        self.note(Finding::refuses(
                            "limit.segments",
                            "There are more commands in it than anyone could check.",
                        ));
                    }
                    return;
                }
                let simple = self.simple(simple);
                self.judge(simple);
            }
            Command::Compound(compound, redirects) => {
                self.compound(compound);
                self.outer_redirects(redirects.iter().flat_map(|list| &list.0));
            }
            Command::Function(function) => self.function(function),
            Command::ExtendedTest(_, redirects) => {
                self.note(Finding::opaque(
                    "shell.extended-test",
                    "The test in double brackets can evaluate its text.",
                ));
                self.outer_redirects(redirects.iter().flat_map(|list| &list.0));
            }
        }
    }

    fn compound(&mut self, compound: &CompoundCommand) {
        let mut opaque =
            |rule: &str, reason: &str| self.findings.push(Finding::opaque(rule, reason));
        match compound {
            CompoundCommand::BraceGroup(group) => self.list(&group.list),
            CompoundCommand::Subshell(group) => self.list(&group.list),
            CompoundCommand::IfClause(clause) => {
                self.list(&clause.condition);
                self.list(&clause.then);
                for other in clause.elses.iter().flatten() {
                    if let Some(condition) = &other.condition {
                        self.list(condition);
                    }
                    self.list(&other.body);
                }
            }
            CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
                self.list(&clause.0);
                self.list(&clause.1.list);
            }
            CompoundCommand::ForClause(clause) => {
                let plain = clause
                    .variable_name
                    .chars()
                    .all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
                    && !super::variables::is_control_variable(&clause.variable_name);
                if !plain || clause.values.is_none() {
                    opaque(
                        "shell.loop",
                        "A loop sets a variable that other commands may act on.",
                    );
                }
                for value in clause.values.iter().flatten() {
                    let word = self.decode(&value.value);
                    self.word_issues(&word);
                }
                self.list(&clause.body.list);
            }
            CompoundCommand::CaseClause(clause) => {
                opaque("shell.case", "Which commands run is decided by a pattern.");
                for case in &clause.cases {
                    if let Some(list) = &case.cmd {
                        self.list(list);
                    }
                }
            }
            CompoundCommand::Arithmetic(command) => {
                opaque(
                    "shell.arithmetic",
                    "Shell arithmetic can run commands of its own.",
                );
                self.suspect(&command.expr.value);
            }
            CompoundCommand::ArithmeticForClause(clause) => {
                opaque(
                    "shell.arithmetic",
                    "Shell arithmetic can run commands of its own.",
                );
                self.list(&clause.body.list);
            }
            CompoundCommand::Coprocess(clause) => {
                opaque(
                    "shell.background",
                    "Part of it keeps running in the background.",
                );
                self.command(&clause.body);
            }
        }
    }

    /// Reads text that the parser took for arithmetic, in case it is a group within a group. Only refusals count.
    fn suspect(&mut self, text: &str) {
        let n_findings = self.findings.len();
        let n_segments = self.segments.len();
        self.script(text);
        self.segments.truncate(n_segments);
        let refusals: Vec<Finding> = self
            .findings
            .drain(n_findings..)
            .filter(|finding| finding.class == Class::AlwaysDeny)
            .collect();
        self.findings.extend(refusals);
    }

    /// A script with documents: opaque, but its commands are known.
    fn documents(&mut self, split: &document::Split) {
        self.note(Finding::opaque(
            "shell.document",
            "It is fed with text from the script itself.",
        ));
        self.script(&split.outer);
        for document in &split.documents {
            if document.is_script {
                self.suspect(&document.body);
            }
            if document.expands {
                let quoted = format!("\"{}\"", document.body.replace('"', "\\\""));
                for script in self.decode(&quoted).nested {
                    self.script(&script);
                }
            }
        }
    }

    /// Looks for refusals in the lines of a script that cannot be read as a whole.
    fn suspect_lines(&mut self, script: &str) {
        if script.contains('\n') {
            for line in script.lines().take(SEGMENTS_MAX) {
                self.suspect(line);
            }
        }
    }

    fn function(&mut self, function: &FunctionDefinition) {
        let name = &function.fname.value;
        let body = function.body.to_string();
        self.note(Finding::opaque(
            "shell.function",
            "It defines a function, so a name may mean something else afterwards.",
        ));
        // A function that starts itself in the background or in a pipe doubles until the machine stands still.
        let calls_itself = body
            .split(|c: char| {
                c.is_whitespace() || matches!(c, ';' | '|' | '&' | '(' | ')' | '{' | '}')
            })
            .any(|word| word == name);
        if calls_itself && body.contains(['|', '&']) {
            self.note(Finding::refuses(
                "deny.fork-bomb",
                "It starts copies of itself without end.",
            ));
        }
        self.compound(&function.body.0);
        self.outer_redirects(function.body.1.iter().flat_map(|list| &list.0));
    }

    /// Redirections of a group, a loop or a function.
    fn outer_redirects<'r>(&mut self, redirects: impl Iterator<Item = &'r IoRedirect>) {
        for redirect in redirects {
            let redirect = self.redirect(redirect);
            self.judge_redirect(&redirect);
        }
    }

    fn simple(&mut self, simple: &SimpleCommand) -> Simple {
        let mut decoded = Simple {
            words: Vec::new(),
            assignments: Vec::new(),
            redirections: Vec::new(),
        };
        for item in simple.prefix.iter().flat_map(|prefix| &prefix.0) {
            self.item(item, false, &mut decoded);
        }
        if let Some(name) = &simple.word_or_name {
            decoded.words.push(self.decode(&name.value));
        }
        for item in simple.suffix.iter().flat_map(|suffix| &suffix.0) {
            self.item(item, true, &mut decoded);
        }
        decoded
    }

    fn item(&mut self, item: &CommandPrefixOrSuffixItem, is_argument: bool, decoded: &mut Simple) {
        match item {
            CommandPrefixOrSuffixItem::Word(word) => decoded.words.push(self.decode(&word.value)),
            CommandPrefixOrSuffixItem::IoRedirect(redirect) => {
                decoded.redirections.push(self.redirect(redirect))
            }
            CommandPrefixOrSuffixItem::ProcessSubstitution(_, group) => {
                self.note(Finding::opaque(
                    "shell.process-substitution",
                    "Another command takes the place of a file.",
                ));
                self.list(&group.list);
            }
            CommandPrefixOrSuffixItem::AssignmentWord(assignment, word) => {
                if matches!(assignment.value, AssignmentValue::Array(_))
                    || matches!(assignment.name, AssignmentName::ArrayElementName(..))
                {
                    self.note(Finding::opaque(
                        "shell.array",
                        "It assigns to an array, which can run commands in its subscripts.",
                    ));
                }
                let decoded_word = self.decode(&word.value);
                match &assignment.name {
                    AssignmentName::VariableName(name) if !is_argument => {
                        let value = decoded_word
                            .from(name.chars().count() + if assignment.append { 2 } else { 1 });
                        decoded.assignments.push((name.clone(), value));
                    }
                    _ => decoded.words.push(decoded_word),
                }
            }
        }
    }

    fn redirect(&mut self, redirect: &IoRedirect) -> Redirect {
        let shown = |descriptor: Option<i32>, operator: &str, target: String| Redirection {
            descriptor,
            operator: operator.to_owned(),
            target,
        };
        match redirect {
            IoRedirect::File(descriptor, kind, target) => {
                let operator = kind.to_string();
                let (text, target) = match target {
                    IoFileRedirectTarget::Filename(word) => {
                        let word = self.decode(&word.value);
                        let text = word.text();
                        let reads = matches!(
                            kind,
                            IoFileRedirectKind::Read | IoFileRedirectKind::DuplicateInput
                        );
                        (
                            text,
                            if reads {
                                Target::Reads(word)
                            } else {
                                Target::Writes(word)
                            },
                        )
                    }
                    IoFileRedirectTarget::Fd(number) => (number.to_string(), Target::Descriptor),
                    IoFileRedirectTarget::Duplicate(word) => {
                        let word = self.decode(&word.value);
                        let text = word.text();
                        let number = text.strip_suffix('-').unwrap_or(&text);
                        let is_descriptor = text == "-"
                            || (!number.is_empty() && number.chars().all(|c| c.is_ascii_digit()));
                        let target = if is_descriptor && !word.is_opaque() {
                            Target::Descriptor
                        } else if matches!(kind, IoFileRedirectKind::DuplicateInput) {
                            Target::Opaque("A descriptor is chosen when the command runs.")
                        } else {
                            Target::Writes(word)
                        };
                        (text, target)
                    }
                    IoFileRedirectTarget::ProcessSubstitution(_, group) => {
                        self.list(&group.list);
                        (
                            "(…)".to_owned(),
                            Target::Opaque("Another command takes the place of a file."),
                        )
                    }
                };
                Redirect {
                    shown: shown(*descriptor, &operator, text),
                    target,
                }
            }
            IoRedirect::OutputAndError(word, append) => {
                let word = self.decode(&word.value);
                Redirect {
                    shown: shown(None, if *append { "&>>" } else { "&>" }, word.text()),
                    target: Target::Writes(word),
                }
            }
            IoRedirect::HereDocument(descriptor, document) => {
                // Documents were cut out before; this one came some other way and is only named.
                let tag = document.here_end.value.clone();
                Redirect {
                    shown: shown(*descriptor, "<<", tag),
                    target: Target::Opaque("It is fed with text from the script itself."),
                }
            }
            IoRedirect::HereString(descriptor, word) => {
                let word = self.decode(&word.value);
                self.word_issues(&word);
                Redirect {
                    shown: shown(*descriptor, "<<<", word.text()),
                    target: Target::Opaque("It is fed with text from the script itself."),
                }
            }
        }
    }

    /// Records what the shell would compute in `word`, and reads the scripts inside it.
    pub(super) fn word_issues(&mut self, word: &Word) {
        for issue in &word.issues {
            let finding = if issue.is_opaque() {
                Finding::opaque(issue.rule(), issue.reason())
            } else {
                Finding::asks(issue.rule(), issue.reason())
            };
            self.note(finding);
        }
        for script in &word.nested {
            self.script(script);
        }
    }
}

fn options() -> ParserOptions {
    ParserOptions {
        enable_extended_globbing: false,
        ..ParserOptions::default()
    }
}

fn tokenize(script: &str) -> Option<Vec<Token>> {
    uncached_tokenize_str(script, &options().tokenizer_options()).ok()
}

/// Whether both readers see the same tokens.
fn agrees(script: &str, tokens: &[Token]) -> bool {
    let Some(ours) = lex::split(script) else {
        return false;
    };
    ours.len() == tokens.len()
        && ours.iter().zip(tokens).all(|pair| match pair {
            (lex::Token::Operator(ours), Token::Operator(theirs, _))
            | (lex::Token::Word(ours), Token::Word(theirs, _)) => ours == theirs,
            _ => false,
        })
}
