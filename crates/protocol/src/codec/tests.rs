#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use adjutant_domain::code::Code;

use super::*;
use crate::frames::Protocol;

fn one(decoded: Decoded) -> Result<Request, Refused> {
    match decoded {
        Decoded::One(item) => *item,
        Decoded::Batch(_) => panic!("a batch"),
    }
}
