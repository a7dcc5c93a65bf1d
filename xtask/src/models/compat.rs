//! What a client of an older release would miss: everything that was removed or narrowed.
//!
//! Parameters may be widened and results may gain members; the other way round somebody breaks.

use crate::models::plain::{Event, Field, Object, Protocol, Shape, Type};

/// Whether a type is what clients say or what they hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Said,
    Heard,
}

/// What the new protocol takes away from the old one, a sentence each.
pub(crate) fn breaks(old: &Protocol, new: &Protocol) -> Vec<String> {
    let mut comparison = Comparison {
        old,
        new,
        seen: Vec::new(),
        found: Vec::new(),
    };
    for version in old.versions.iter().filter(|it| !new.versions.contains(it)) {
        comparison
            .found
            .push(format!("protocol version {version} is gone"));
    }
    for code in old.codes.iter().filter(|it| !new.codes.contains(it)) {
        comparison.found.push(format!("the code {code} is gone"));
    }
    for method in &old.methods {
        match new.methods.iter().find(|it| it.name == method.name) {
            None => comparison
                .found
                .push(format!("the method {} is gone", method.name)),
            Some(now) => {
                let at = format!("{}.params", method.name);
                comparison.kinds(&at, &method.params, &now.params, Side::Said);
                let at = format!("{}.result", method.name);
                comparison.kinds(&at, &method.result, &now.result, Side::Heard);
            }
        }
    }
    comparison.events(&old.events, &new.events);
    comparison.events(&old.notifications, &new.notifications);
    for (name, kind) in &old.connect {
        match new.connect.iter().find(|(it, _)| it == name) {
            None => comparison.found.push(format!("connect.{name} is gone")),
            Some((_, now)) => {
                let side = if name == "params" {
                    Side::Said
                } else {
                    Side::Heard
                };
                comparison.kinds(&format!("connect.{name}"), kind, now, side);
            }
        }
    }
    comparison.found
}

struct Comparison<'a> {
    old: &'a Protocol,
    new: &'a Protocol,
    seen: Vec<(&'a str, &'a str, Side)>,
    found: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn events(&mut self, old: &'a [Event], new: &'a [Event]) {
        for event in old {
            match new.iter().find(|it| it.name == event.name) {
                None => self.found.push(format!("the event {} is gone", event.name)),
                Some(now) => self.kinds(&event.name, &event.payload, &now.payload, Side::Heard),
            }
        }
    }

    fn kinds(&mut self, at: &str, old: &'a Type, new: &'a Type, side: Side) {
        match (old, new) {
            (Type::Named(was), Type::Named(is)) => self.named(at, was, is, side),
            (Type::List(was), Type::List(is))
            | (Type::Map(was), Type::Map(is))
            | (Type::Nullable(was), Type::Nullable(is)) => {
                self.kinds(at, was, is, side);
            }
            // Null may be said where it was not, and need not be heard where it was.
            (was, Type::Nullable(is)) if side == Side::Said => self.kinds(at, was, is, side),
            (Type::Nullable(was), is) if side == Side::Heard => self.kinds(at, was, is, side),
            (
                Type::Integer { min, max },
                Type::Integer {
                    min: low,
                    max: high,
                },
            ) => {
                if side == Side::Said && (min < low || high < max) {
                    self.found
                        .push(format!("{at}: {min} to {max} became {low} to {high}"));
                }
            }
            (Type::Text { pattern }, Type::Text { pattern: now }) => {
                if side == Side::Said && now.is_some() && pattern != now {
                    self.found.push(format!("{at}: fewer texts are accepted"));
                }
            }
            // Anything may be said where something was asked; a type where anything was promised takes nothing away.
            (_, Type::Any) if side == Side::Said => {}
            (Type::Any, _) if side == Side::Heard => {}
            (was, is) if std::mem::discriminant(was) == std::mem::discriminant(is) => {}
            (was, is) => self.resolved(at, was, is, side),
        }
    }

    /// A name on one side only may stand for the same thing.
    fn resolved(&mut self, at: &str, old: &'a Type, new: &'a Type, side: Side) {
        let follow = |kind: &'a Type, protocol: &'a Protocol| match kind {
            Type::Named(name) => match protocol.find(name) {
                Some(Shape::Alias(inner)) => Some(inner),
                _ => None,
            },
            _ => None,
        };
        let (was, is) = (follow(old, self.old), follow(new, self.new));
        if was.is_none() && is.is_none() {
            self.found.push(format!("{at}: the type is another one"));
        } else {
            self.kinds(at, was.unwrap_or(old), is.unwrap_or(new), side);
        }
    }

    fn named(&mut self, at: &str, was: &'a str, is: &'a str, side: Side) {
        if self.seen.contains(&(was, is, side)) {
            return;
        }
        self.seen.push((was, is, side));
        let (Some(old), Some(new)) = (self.old.find(was), self.new.find(is)) else {
            self.found.push(format!("{at}: {was} is gone"));
            return;
        };
        match (old, new) {
            (Shape::Alias(was), Shape::Alias(is)) => self.kinds(at, was, is, side),
            (Shape::Words(was), Shape::Words(is)) => {
                for (word, _) in was
                    .iter()
                    .filter(|(word, _)| !is.iter().any(|(it, _)| it == word))
                {
                    self.found.push(format!("{at}: the word {word} is gone"));
                }
            }
            (Shape::Object(was), Shape::Object(is)) => self.objects(at, was, is, side),
            (Shape::Union(was), Shape::Union(is)) => {
                for variant in was {
                    let at = format!("{at}.{}", variant.word);
                    match is.iter().find(|it| it.word == variant.word) {
                        None => self.found.push(format!("{at} is gone")),
                        Some(now) => self.objects(&at, &variant.object, &now.object, side),
                    }
                }
            }
            _ => self.found.push(format!("{at}: the type is another one")),
        }
    }

    fn objects(&mut self, at: &str, old: &'a Object, new: &'a Object, side: Side) {
        if side == Side::Said && new.closed && !old.closed {
            self.found
                .push(format!("{at}: members that are not listed are refused now"));
        }
        for field in &old.fields {
            match new.fields.iter().find(|it| it.name == field.name) {
                None => self.found.push(format!("{at}.{} is gone", field.name)),
                Some(now) => self.field(at, field, now, side),
            }
        }
        if side == Side::Said {
            for field in new.fields.iter().filter(|it| it.required) {
                if !old.fields.iter().any(|it| it.name == field.name) {
                    self.found
                        .push(format!("{at}.{} is new and required", field.name));
                }
            }
        }
    }

    fn field(&mut self, at: &str, old: &'a Field, new: &'a Field, side: Side) {
        let at = format!("{at}.{}", old.name);
        match (side, old.required, new.required) {
            (Side::Said, false, true) => self.found.push(format!("{at} is required now")),
            (Side::Heard, true, false) => self.found.push(format!("{at} may be absent now")),
            _ => {}
        }
        self.kinds(&at, &old.kind, &new.kind, side);
    }
}
