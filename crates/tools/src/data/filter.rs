//! jq filters from a model, run with a bound on steps, time, size and depth.

use jaq_core::load::lex::Lexer;
use jaq_core::load::parse::{Def, Parser, Term};
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Bind, Compiler, Ctx, Vars, data, native};
use jaq_json::Val;

use crate::data::meter::{self, Meter};
use crate::data::table;
use crate::data::weave;
use crate::thread::Until;

/// What filters work on.
pub(super) type Value = Val;

type Kind = data::JustLut<Val>;

/// Longest filter, in bytes. The parser descends once per bracket.
const FILTER_BYTES_MAX: usize = 4 << 10;

/// A filter ready to run.
pub(super) struct Filter {
    compiled: jaq_core::Filter<Kind>,
    steps_max: u64,
}

impl Filter {
    /// Compiles a filter, or says what is wrong with it.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        if FILTER_BYTES_MAX < source.len() {
            return Err(format!(
                "it is {} bytes long, the most is {FILTER_BYTES_MAX}",
                source.len()
            ));
        }
        let main = weave::own(parse(source)?)?;
        let library = jaq_core::defs()
            .chain(jaq_std::defs())
            .chain(jaq_json::defs());
        let mut defs: Vec<Def<&str>> = Vec::new();
        for def in library {
            defs.push(weave::library(def));
        }
        defs.push(Def {
            name: MAIN,
            args: Vec::new(),
            body: main,
        });
        let loader = Loader::new(defs);
        let arena = Arena::default();
        let modules = loader
            .load(
                &arena,
                File {
                    code: MAIN,
                    path: (),
                },
            )
            .map_err(|_errors| "its definitions cannot be loaded".to_owned())?;
        let functions = jaq_core::funs()
            .chain(jaq_std::funs())
            .chain(jaq_json::funs())
            .filter(|(name, ..)| *name != "fromjson")
            .chain(own_functions());
        let compiled = Compiler::default()
            .with_funs(functions)
            .compile(modules)
            .map_err(|errors| {
                let missing = errors.into_iter().flat_map(|(_, missing)| missing);
                let names: Vec<String> = missing
                    .map(|(name, kind)| format!("undefined {} `{name}`", kind.as_str()))
                    .collect();
                names.join(", ")
            })?;
        Ok(Self {
            compiled,
            steps_max: meter::STEPS_MAX,
        })
    }

    /// Runs the filter and hands every result to `take`. Must be called on a thread that is made for it.
    pub(super) fn run(
        &self,
        document: Val,
        until: &Until,
        take: &mut dyn FnMut(Val),
    ) -> Result<(), String> {
        Meter::watch(self.steps_max, until, || {
            let cx = Ctx::<Kind>::new(&self.compiled.lut, Vars::new([]));
            for result in self.compiled.id.run((cx, document)) {
                match result {
                    Ok(value) => {
                        meter::count(&value);
                        take(value);
                    }
                    Err(exception) => {
                        let error = exception
                            .get_err()
                            .map_err(|_other| "the filter was left by a break".to_owned())?;
                        return Err(meter::shortened(&error));
                    }
                }
            }
            Ok(())
        })
    }
}

/// The name under which the filter is loaded.
const MAIN: &str = "adjutant_main";

fn parse(source: &str) -> Result<Term<&str>, String> {
    let near = |rest: &str| match rest.chars().take(24).collect::<String>() {
        it if it.is_empty() => "at the end".to_owned(),
        it => format!("near `{it}`"),
    };
    let tokens = Lexer::new(source).lex().map_err(|errors| {
        let first = errors.into_iter().next();
        first.map_or_else(String::new, |(expected, rest)| {
            format!("expected {} {}", expected.as_str(), near(rest))
        })
    })?;
    Parser::new(&tokens).parse(Parser::term).map_err(|errors| {
        let first = errors.into_iter().next();
        first.map_or_else(String::new, |(expected, found)| {
            let at = found.map_or_else(|| near(""), |token| near(token.as_str()));
            format!("expected {} {at}", expected.as_str())
        })
    })
}

/// Counting, and the one function of the library that must not see a depth from outside.
fn own_functions() -> impl Iterator<Item = native::Fun<Kind>> {
    let none = || -> Box<[Bind]> { Box::new([]) };
    let counts: [native::Filter<jaq_core::RunPtr<Kind>>; 4] = [
        (weave::COUNT, none(), |cv| {
            meter::count(&cv.1);
            native::bome(Ok(Val::Null))
        }),
        (weave::COUNT_DEEP, none(), |cv| {
            meter::count_deep(&cv.1);
            native::bome(Ok(Val::Null))
        }),
        (weave::FACTOR, none(), |cv| {
            native::bome(match &cv.1 {
                Val::TStr(_) | Val::BStr(_) => {
                    Err(jaq_core::Error::str("text cannot be multiplied here"))
                }
                _ => Ok(Val::Null),
            })
        }),
        ("fromjson", none(), |cv| {
            native::bome(match &cv.1 {
                // The reader of the library descends as deep as the text says; this one has a bound.
                Val::TStr(text) => serde_json::from_slice(text)
                    .map(table::from_json)
                    .map_err(|error| jaq_core::Error::str(format_args!("not valid JSON: {error}"))),
                _ => Err(jaq_core::Error::str("fromjson needs text")),
            })
        }),
    ];
    counts.into_iter().map(native::run::<Kind>)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use futures::executor::block_on;

    use crate::thread::apart;
    use crate::tool::Halt;

    use super::*;

    fn query(source: &str, document: &str) -> Result<String, String> {
        let (source, document) = (source.to_owned(), document.to_owned());
        let run = apart(Duration::from_secs(20), move |until| {
            let filter = Filter {
                steps_max: 300_000,
                ..Filter::compile(&source).map_err(Halt::Failed)?
            };
            let document =
                table::read(&document, table::Form::of("", &document)).map_err(Halt::Failed)?;
            let mut out = Vec::new();
            filter
                .run(document, until, &mut |it| out.push(it.to_string()))
                .map_err(Halt::Failed)?;
            Ok(out.join(" "))
        });
        block_on(run).map_err(|halt| match halt {
            Halt::Failed(text) => text,
            Halt::Broken(error) => panic!("{error}"),
        })
    }

    #[test]
    fn usual_filters_work() {
        let rows =
            r#"[{"n":"a","v":1.5,"t":"x1"},{"n":"b","v":2,"t":"y2"},{"n":"a","v":4,"t":"x3"}]"#;
        for (filter, wanted) in [
            ("length", "3"),
            ("map(.v) | add", "7.5"),
            ("map(.v) | add / length", "2.5"),
            (
                "group_by(.n) | map({n: .[0].n, sum: (map(.v) | add)})",
                r#"[{"n":"a","sum":5.5},{"n":"b","sum":2}]"#,
            ),
            (".[] | select(.v > 1.5) | .n", r#""b" "a""#),
            ("max_by(.v).v, (sort_by(.v) | first.v)", "4 1.5"),
            (
                "reduce .[] as $r ({}; .[$r.n] += $r.v)",
                r#"{"a":5.5,"b":2}"#,
            ),
            ("[.[].n] | unique | join(\",\")", r#""a,b""#),
            ("map(select(.t | test(\"^x\"))) | length", "2"),
            ("def double: . * 2; map(.v | double) | add", "15.0"),
            (".[0] | to_entries | map(.key)", r#"["n","v","t"]"#),
            ("map(.v *= 1 | .v)", ""),
            ("[limit(2; .[])] | length", "2"),
            (".[0].t | gsub(\"x\"; \"z\")", r#""z1""#),
            ("\"1\" | tonumber + 1", "2"),
            ("[.. | numbers] | add", "7.5"),
            ("[paths] | length", "12"),
            ("del(.[0].t) | .[0]", r#"{"n":"a","v":1.5}"#),
            ("first(.[] | select(.v > 1)).n", r#""a""#),
            ("[range(3)] | map(. * 2)", "[0,2,4]"),
            ("try error(\"x\") catch .", r#""x""#),
            (".[0] | with_entries(.value |= tostring) | .v", r#""1.5""#),
            ("any(.[]; .v == 4), all(.[]; .v > 1)", "true true"),
            ("[.[] | .v] | (min, max)", "1.5 4"),
            ("\"\\(.[0].n)-\\(length)\"", r#""a-3""#),
        ] {
            match query(filter, rows) {
                Ok(result) => assert_eq!(result, wanted, "{filter}"),
                Err(error) => assert!(wanted.is_empty(), "{filter}: {error}"),
            }
        }
    }

    // covers: S38
    #[test]
    fn a_filter_without_end_ends() {
        for filter in [
            "[range(1e18)]",
            "reduce range(1e18) as $i (0; . + 1)",
            "reduce range(100) as $i (\"x\"; . + .)",
            "reduce range(100) as $i ([0]; . + .)",
            "reduce range(1e9) as $i (0; [.])",
            "reduce range(1e9) as $i ({}; .a = .)",
            "reduce range(1e9) as $i ([0]; group_by(.))",
            "reduce range(100) as $i (2; . * .)",
            "reduce range(60) as $i (1; [., .]) | tojson",
            "[range(1e6) | range(1e6) | range(1e6)] | length",
            "[(range(1e18))?]",
            "last(range(1e18))",
            "first(range(1e18) | select(. < 0))",
            "isempty(range(1e18) | select(. < 0))",
            "[\"x\" * 1000000000]",
            "(\"[\" * 1000000) | fromjson",
            "reduce range(17) as $i (\"[[[[[[[[\"; . + .) | fromjson",
            "reduce range(20) as $i (\"x\"; . + .) as $x | [range(1e5) | $x] | sort | length",
            "reduce range(20) as $i (\"x\"; . + .) as $x | [range(1e6) | $x == \"y\"] | length",
            "any(range(1e18); . < 0)",
            "[range(1e18) as $x | $x]",
            "label $out | foreach range(1e18) as $i (0; . + 1; empty)",
        ] {
            let error = query(filter, "null").expect_err(filter);
            // Its own bound stops it, not the clock.
            assert!(!error.contains("time is over"), "{filter}: {error}");
        }
    }

    // covers: S38
    #[test]
    fn a_filter_ends_when_its_time_is_over() {
        let run = apart(Duration::ZERO, |until| {
            let filter = Filter::compile("[range(100000)]").map_err(Halt::Failed)?;
            filter
                .run(Val::Null, until, &mut |_| {})
                .map_err(Halt::Failed)
        });
        assert!(matches!(block_on(run), Err(Halt::Failed(text)) if text.contains("time is over")));
    }

    #[test]
    fn what_reaches_outside_or_runs_on_is_not_offered() {
        for filter in [
            "env",
            "$ENV",
            "input",
            "inputs",
            "halt",
            "now",
            "debug",
            "stderr",
            "repeat(.)",
            "def f: f; f",
            "def f: def g: f; g; f",
            "until(false; .)",
            "recurse(.)",
            "include \"x\"; .",
            "setpath([\"a\"]; 1)",
            "(reduce range(9) as $i (.; .a)) |= 1",
            "del(reduce range(9) as $i (.; .a))",
            "getpath([])",
        ] {
            assert!(query(filter, "{}").is_err(), "{filter}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_filter_is_said() {
        assert!(query(".[", "1").unwrap_err().contains("expected"));
        assert!(query("map(nosuch)", "[]").unwrap_err().contains("nosuch"));
        assert!(query(".a.b", "[]").unwrap_err().contains("index"));
    }
}
