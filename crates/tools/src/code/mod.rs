//! Programs in some language.

mod run;

pub(crate) use run::Run;
