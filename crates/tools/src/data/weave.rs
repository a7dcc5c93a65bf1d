//! Puts counting steps into the syntax tree of a filter wherever it can go round, grow or nest.
//!
//! The definitions of the library get the same steps. Names that could go on without passing a step, and names that
//! reach outside, are not offered to a model.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

/// Charges for the value that passes. No filter text can name it.
pub(super) const COUNT: &str = "!count";
/// Charges for everything in the value that passes, and measures its depth.
pub(super) const COUNT_DEEP: &str = "!count_deep";
/// Refuses text as a factor: its product may be of any size.
pub(super) const FACTOR: &str = "!factor";

/// The variable that holds nothing.
const NOTHING: &str = "$!";

/// What a filter may call. Everything else in the library reaches outside, goes on by itself, or works on paths of any
/// length.
const OFFERED: &[&str] = &[
    "abs",
    "add",
    "all",
    "any",
    "arrays",
    "ascii_downcase",
    "ascii_upcase",
    "booleans",
    "capture",
    "ceil",
    "contains",
    "del",
    "empty",
    "endswith",
    "error",
    "explode",
    "false",
    "finites",
    "first",
    "flatten",
    "floor",
    "fromdate",
    "fromdateiso8601",
    "fromjson",
    "from_entries",
    "group_by",
    "gsub",
    "has",
    "implode",
    "in",
    "index",
    "indices",
    "infinite",
    "inside",
    "isarray",
    "isboolean",
    "isempty",
    "isfinite",
    "isinfinite",
    "isnan",
    "isnormal",
    "isnumber",
    "isobject",
    "isstring",
    "iterables",
    "join",
    "keys",
    "keys_unsorted",
    "last",
    "length",
    "limit",
    "log",
    "log10",
    "log2",
    "ltrim",
    "ltrimstr",
    "map",
    "map_values",
    "match",
    "max",
    "max_by",
    "min",
    "min_by",
    "mktime",
    "nan",
    "not",
    "nth",
    "null",
    "nulls",
    "numbers",
    "objects",
    "path",
    "paths",
    "pow",
    "range",
    "reverse",
    "rindex",
    "round",
    "rtrim",
    "rtrimstr",
    "scalars",
    "scan",
    "select",
    "skip",
    "sort",
    "sort_by",
    "split",
    "splits",
    "sqrt",
    "startswith",
    "strftime",
    "strings",
    "strptime",
    "sub",
    "test",
    "to_entries",
    "toboolean",
    "todate",
    "tojson",
    "tonumber",
    "tostring",
    "transpose",
    "trim",
    "true",
    "type",
    "unique",
    "unique_by",
    "utf8bytelength",
    "values",
    "walk",
    "with_entries",
];

/// Calls that compare or write out everything they get.
const THOROUGH: &[&str] = &[
    "contains",
    "group_by",
    "implode",
    "index",
    "indices",
    "inside",
    "join",
    "max",
    "max_by",
    "min",
    "min_by",
    "rindex",
    "sort",
    "sort_by",
    "tojson",
    "tostring",
    "unique",
    "unique_by",
    "min_by_or_empty",
    "max_by_or_empty",
];

/// Calls that make a value deeper than what they get.
const DEEPENING: &[&str] = &[
    "fromjson",
    "group_by",
    "key_values",
    "path",
    "path_value",
    "matches",
];

/// A filter of a model with counting steps, or what keeps it from being run.
pub(super) fn own(term: Term<&str>) -> Result<Term<&str>, String> {
    Weaver {
        whose: Whose::Model,
        inside: Vec::new(),
        local: Vec::new(),
        in_path: false,
    }
    .term(term)
}

/// A definition of the library with counting steps.
pub(super) fn library(def: Def<&'static str>) -> Def<&'static str> {
    let name = def.name;
    let mut weaver = Weaver {
        whose: Whose::Library,
        inside: Vec::new(),
        local: Vec::new(),
        in_path: false,
    };
    weaver.def(def).unwrap_or_else(|_refusal| Def {
        name,
        args: Vec::new(),
        body: Term::Id,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Model,
    Library,
}

/// Walks a syntax tree and puts the counting steps in.
struct Weaver<'s> {
    whose: Whose,
    /// Definitions that are being walked, outermost first.
    inside: Vec<&'s str>,
    /// Names the filter defined itself, arguments included.
    local: Vec<&'s str>,
    /// Whether the place is a path to something that is changed.
    in_path: bool,
}

type Woven<T> = Result<T, String>;

fn boxed(term: Term<&str>) -> Box<Term<&str>> {
    Box::new(term)
}

/// `!count as $! | .`
fn step(name: &str) -> Term<&str> {
    let bind = BinaryOp::Pipe(Some(Pattern::Var(NOTHING)));
    Term::BinOp(boxed(Term::Call(name, Vec::new())), bind, boxed(Term::Id))
}

fn pipe<'s>(first: Term<&'s str>, then: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(boxed(first), BinaryOp::Pipe(None), boxed(then))
}

fn counted(term: Term<&str>) -> Term<&str> {
    pipe(term, step(COUNT))
}

fn counted_deep(term: Term<&str>) -> Term<&str> {
    pipe(term, step(COUNT_DEEP))
}

impl<'s> Weaver<'s> {
    fn term(&mut self, term: Term<&'s str>) -> Woven<Term<&'s str>> {
        Ok(match term {
            Term::Id | Term::Num(_) | Term::Break(_) => term,
            Term::Recurse => counted(term),
            // The names of definitions bind nothing here, so a variable is only looked at.
            Term::Var(_) => counted(term),
            Term::Str(form, parts) => {
                let parts = parts
                    .into_iter()
                    .map(|it| self.part(it))
                    .collect::<Woven<_>>()?;
                counted(Term::Str(form, parts))
            }
            Term::Arr(None) => term,
            Term::Arr(Some(items)) => counted_deep(Term::Arr(Some(self.boxed(*items)?))),
            Term::Obj(members) => {
                let members = members
                    .into_iter()
                    .map(|(key, value)| {
                        Ok((self.key(key)?, value.map(|it| self.term(it)).transpose()?))
                    })
                    .collect::<Woven<_>>()?;
                counted_deep(Term::Obj(members))
            }
            Term::Neg(term) => Term::Neg(self.boxed(*term)?),
            Term::BinOp(left, op, right) => self.operation(*left, op, *right)?,
            Term::Label(name, term) => Term::Label(name, self.boxed(*term)?),
            Term::Fold(name, source, pattern, parts) => {
                if self.in_path && self.whose == Whose::Model {
                    return Err(format!("`{name}` cannot be used to say what is changed"));
                }
                let parts = parts
                    .into_iter()
                    .map(|it| self.term(it))
                    .collect::<Woven<_>>()?;
                Term::Fold(name, self.boxed(*source)?, self.pattern(pattern)?, parts)
            }
            Term::TryCatch(body, catch) => Term::TryCatch(
                self.boxed(*body)?,
                catch.map(|it| self.boxed(*it)).transpose()?,
            ),
            Term::IfThenElse(branches, otherwise) => {
                let branches = branches
                    .into_iter()
                    .map(|(a, b)| Ok((self.term(a)?, self.term(b)?)));
                Term::IfThenElse(
                    branches.collect::<Woven<_>>()?,
                    otherwise.map(|it| self.boxed(*it)).transpose()?,
                )
            }
            Term::Def(defs, term) => {
                let before = self.local.len();
                let defs = defs
                    .into_iter()
                    .map(|it| self.def(it))
                    .collect::<Woven<Vec<_>>>()?;
                let term = self.boxed(*term)?;
                self.local.truncate(before);
                Term::Def(defs, term)
            }
            Term::Call(name, args) => self.call(name, args)?,
            Term::Path(term, path) => {
                let path = Path(
                    path.0
                        .into_iter()
                        .map(|(part, opt)| Ok((self.path_part(part)?, opt)))
                        .collect::<Woven<_>>()?,
                );
                counted(Term::Path(self.boxed(*term)?, path))
            }
        })
    }

    fn boxed(&mut self, term: Term<&'s str>) -> Woven<Box<Term<&'s str>>> {
        self.term(term).map(Box::new)
    }

    /// A key of an object. A bare name or variable says how the member is called, so it must stay as it is.
    fn key(&mut self, key: Term<&'s str>) -> Woven<Term<&'s str>> {
        match key {
            Term::Var(_) => Ok(key),
            Term::Str(form, parts) => Ok(Term::Str(
                form,
                parts
                    .into_iter()
                    .map(|it| self.part(it))
                    .collect::<Woven<_>>()?,
            )),
            other => self.term(other),
        }
    }

    fn part(
        &mut self,
        part: StrPart<&'s str, Term<&'s str>>,
    ) -> Woven<StrPart<&'s str, Term<&'s str>>> {
        match part {
            StrPart::Term(term) => self.term(term).map(StrPart::Term),
            StrPart::Str(_) | StrPart::Char(_) => Ok(part),
        }
    }

    fn path_part(&mut self, part: Part<Term<&'s str>>) -> Woven<Part<Term<&'s str>>> {
        Ok(match part {
            Part::Index(index) => Part::Index(self.term(index)?),
            Part::Range(from, to) => {
                let from = from.map(|it| self.term(it)).transpose()?;
                Part::Range(from, to.map(|it| self.term(it)).transpose()?)
            }
        })
    }

    fn pattern(&mut self, pattern: Pattern<&'s str>) -> Woven<Pattern<&'s str>> {
        Ok(match pattern {
            Pattern::Var(_) => pattern,
            Pattern::Arr(parts) => Pattern::Arr(
                parts
                    .into_iter()
                    .map(|it| self.pattern(it))
                    .collect::<Woven<_>>()?,
            ),
            Pattern::Obj(members) => {
                let members = members
                    .into_iter()
                    .map(|(key, it)| Ok((self.key(key)?, self.pattern(it)?)));
                Pattern::Obj(members.collect::<Woven<_>>()?)
            }
        })
    }

    fn operation(
        &mut self,
        left: Term<&'s str>,
        op: BinaryOp<&'s str>,
        right: Term<&'s str>,
    ) -> Woven<Term<&'s str>> {
        Ok(match op {
            BinaryOp::Pipe(pattern) => {
                let pattern = pattern.map(|it| self.pattern(it)).transpose()?;
                Term::BinOp(
                    boxed(self.term(left)?),
                    BinaryOp::Pipe(pattern),
                    boxed(self.term(right)?),
                )
            }
            BinaryOp::Comma | BinaryOp::Alt | BinaryOp::Or | BinaryOp::And => {
                Term::BinOp(boxed(self.term(left)?), op, boxed(self.term(right)?))
            }
            BinaryOp::Cmp(_) => {
                let (left, right) = (
                    counted_deep(self.term(left)?),
                    counted_deep(self.term(right)?),
                );
                Term::BinOp(boxed(left), op, boxed(right))
            }
            BinaryOp::Math(Math::Mul) => {
                let (left, right) = (self.term(left)?, self.term(right)?);
                let (left, right) = (pipe(left, step(FACTOR)), pipe(right, step(FACTOR)));
                counted_deep(Term::BinOp(boxed(left), op, boxed(right)))
            }
            BinaryOp::Math(_) => counted(Term::BinOp(
                boxed(self.term(left)?),
                op,
                boxed(self.term(right)?),
            )),
            BinaryOp::UpdateMath(Math::Mul) if self.whose == Whose::Model => {
                return Err("`*=` is not offered; write `.x |= . * 2`".to_owned());
            }
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => {
                let left = self.path(left)?;
                counted_deep(Term::BinOp(boxed(left), op, boxed(self.term(right)?)))
            }
        })
    }

    /// A term that says what is changed.
    fn path(&mut self, term: Term<&'s str>) -> Woven<Term<&'s str>> {
        let before = std::mem::replace(&mut self.in_path, true);
        let term = self.term(term);
        self.in_path = before;
        term
    }

    fn def(&mut self, def: Def<&'s str>) -> Woven<Def<&'s str>> {
        let Def { name, args, body } = def;
        self.local.push(name);
        let before = self.local.len();
        self.local.extend(args.iter().copied());
        self.inside.push(name);
        let body = self.term(body);
        self.inside.pop();
        self.local.truncate(before);
        Ok(Def {
            name,
            args,
            body: body?,
        })
    }

    fn call(&mut self, name: &'s str, args: Vec<Term<&'s str>>) -> Woven<Term<&'s str>> {
        let is_local = self.local.contains(&name);
        let goes_round = self.inside.contains(&name);
        if self.whose == Whose::Model {
            if goes_round {
                return Err(format!(
                    "`{name}` calls itself, which is not offered; use `reduce`, `range` or `..`"
                ));
            }
            if is_local && self.in_path {
                return Err(format!("`{name}` cannot be used to say what is changed"));
            }
            if !is_local && !OFFERED.contains(&name) {
                return Err(format!("`{name}` is not offered here"));
            }
        }
        let says_where = ["del", "path", "paths"].contains(&name);
        let weave = |it| {
            if says_where {
                self.path(it)
            } else {
                self.term(it)
            }
        };
        let args = args.into_iter().map(weave).collect::<Woven<_>>()?;
        let call = Term::Call(name, args);
        if goes_round {
            // Counted before the call: a step after it would keep every round on the stack.
            return Ok(pipe(step(COUNT), call));
        }
        let before = if !is_local && THOROUGH.contains(&name) {
            COUNT_DEEP
        } else {
            COUNT
        };
        let call = pipe(step(before), call);
        Ok(if DEEPENING.contains(&name) {
            counted_deep(call)
        } else {
            counted(call)
        })
    }
}
