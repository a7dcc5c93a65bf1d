//! Counts what a filter does, and stops it when that is too much.
//!
//! The library evaluates lazily and without bounds, in this process. The steps that `weave` puts into a filter end here:
//! they look at the value that passes, charge for it, and stop everything when the charge, the time, the size or the
//! depth is too much.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};

use jaq_json::{Num, Val};

use crate::cut;
use crate::thread::Until;

/// Most charges of one run: two or three seconds of work.
pub(super) const STEPS_MAX: u64 = 20_000_000;
/// How many charges lie between two looks at the clock.
const STEPS_PER_LOOK: u64 = 4_096;
/// Longest text that a step may make, in bytes.
const TEXT_BYTES_MAX: usize = 2 << 20;
/// Most members of an array or object that a step may make.
const MEMBERS_MAX: usize = 1 << 20;
/// Most bits of a whole number.
const NUMBER_BITS_MAX: u64 = 1 << 14;
/// Deepest nesting of a value. Values are compared, written and dropped by descent.
const DEPTH_MAX: usize = 256;
/// How many bytes of text one charge pays for.
const TEXT_BYTES_PER_STEP: usize = 16;
/// How many members one charge pays for when only the outside of a value matters.
const MEMBERS_PER_STEP: usize = 8;

/// Why a run was stopped; travels as the payload of an unwinding that no `try` in a filter can hold up.
#[derive(Debug, Clone, Copy)]
enum Stop {
    Steps,
    Time,
    Size,
    Depth,
}

impl Stop {
    fn sentence(self) -> &'static str {
        match self {
            Self::Steps => "it takes too many steps; select less, or write a program",
            Self::Time => "its time is over",
            Self::Size => "a value in between is too large",
            Self::Depth => "a value in between nests too deep",
        }
    }
}

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
    static UNTIL: RefCell<Option<Until>> = const { RefCell::new(None) };
}

/// The counter of this thread.
pub(super) struct Meter;

impl Meter {
    /// Runs `work` with a fresh count of steps and says why it was stopped, if it was.
    pub(super) fn watch(
        steps_max: u64,
        until: &Until,
        work: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        LEFT.set(steps_max);
        UNTIL.set(Some(until.clone()));
        let result = panic::catch_unwind(AssertUnwindSafe(work));
        UNTIL.set(None);
        match result {
            Ok(result) => result,
            Err(payload) => match payload.downcast_ref::<Stop>() {
                Some(stop) => Err(stop.sentence().to_owned()),
                None => panic::resume_unwind(payload),
            },
        }
    }
}

/// Ends the run. Not an error of the filter language: a filter could catch that and go on.
fn stop(why: Stop) -> ! {
    panic::resume_unwind(Box::new(why))
}

fn charge(steps: usize) {
    let steps = u64::try_from(steps).unwrap_or(u64::MAX);
    let before = LEFT.get();
    let Some(left) = before.checked_sub(steps) else {
        stop(Stop::Steps)
    };
    LEFT.set(left);
    let looks = before / STEPS_PER_LOOK != left / STEPS_PER_LOOK;
    if looks && UNTIL.with_borrow(|until| until.as_ref().is_some_and(Until::is_over)) {
        stop(Stop::Time);
    }
}

fn check_size(size: usize, max: usize) {
    if max < size {
        stop(Stop::Size);
    }
}

/// Charges for one value as a whole.
pub(super) fn count(value: &Val) {
    charge(1);
    match value {
        Val::Null | Val::Bool(_) | Val::Num(Num::Int(_) | Num::Float(_)) => {}
        Val::Num(Num::BigInt(it)) => {
            if NUMBER_BITS_MAX < it.bits() {
                stop(Stop::Size);
            }
        }
        Val::Num(Num::Dec(it)) => charge(it.len() / TEXT_BYTES_PER_STEP),
        Val::TStr(it) | Val::BStr(it) => {
            check_size(it.len(), TEXT_BYTES_MAX);
            charge(it.len() / TEXT_BYTES_PER_STEP);
        }
        Val::Arr(it) => {
            check_size(it.len(), MEMBERS_MAX);
            charge(it.len() / MEMBERS_PER_STEP);
        }
        Val::Obj(it) => {
            check_size(it.len(), MEMBERS_MAX);
            charge(it.len() / MEMBERS_PER_STEP);
        }
    }
}

/// Charges for a value and everything in it.
pub(super) fn count_deep(value: &Val) {
    descend(value, 0);
}

fn descend(value: &Val, depth: usize) {
    if DEPTH_MAX < depth {
        stop(Stop::Depth);
    }
    count(value);
    match value {
        Val::Arr(items) => items.iter().for_each(|it| descend(it, depth + 1)),
        Val::Obj(members) => {
            for (key, value) in members.iter() {
                descend(key, depth + 1);
                descend(value, depth + 1);
            }
        }
        Val::Null | Val::Bool(_) | Val::Num(_) | Val::BStr(_) | Val::TStr(_) => {}
    }
}

/// An error of the filter, whose message may hold a whole document.
pub(super) fn shortened(error: &impl Display) -> String {
    cut::head(&error.to_string(), 500).to_owned()
}
