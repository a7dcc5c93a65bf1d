//! Talking to the owner.

mod ask_user;

pub(crate) use ask_user::AskUser;
